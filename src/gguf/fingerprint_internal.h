/* What fingerprint.c (what is hashed), fingerprint_job.c (hashing) and fingerprint_folder.c (what
 * is kept) share. */
#ifndef DW_GGUF_FINGERPRINT_INTERNAL_H
#define DW_GGUF_FINGERPRINT_INTERNAL_H

#include "base/hash.h"
#include "base/os.h"
#include "gguf/fingerprint.h"
#include "gguf/gguf_internal.h"

#define DW__FINGERPRINT_SAMPLED "gguf1:" /* of version 1 of snapshots */
#define DW__FINGERPRINT_WHOLE "gguf2:"
#define DW__SAMPLED_DIGITS 16u /* of the sampled hash, in front of the whole one */
#define DW__FINGERPRINT_PIECE ((size_t)1 << 20)

typedef struct dw__tensor_part {
    size_t offset;
    size_t bytes;
} dw__tensor_part;

static inline size_t dw__fingerprint_pieces(const dw_gguf_tensor *tensor)
{
    return tensor->bytes / DW__FINGERPRINT_PIECE + (tensor->bytes % DW__FINGERPRINT_PIECE != 0);
}

/* Bytes [offset, offset + bytes) of a tensor: read into `room` [bytes] from the file where there is
 * one, else where they are mapped. *data: until either changes. Errors: DW_E_IO. */
dw_status dw__fingerprint_read(const dw_gguf *gguf, const dw_gguf_tensor *tensor,
                               dw__tensor_part part, unsigned char *room,
                               const unsigned char **data, dw_error *err);
/* Errors: DW_E_MEMORY, DW_E_IO. */
dw_status dw__fingerprint_sampled(const dw_gguf *gguf, char hex[DW_HASH128_TEXT], dw_error *err);
/* `pieces`: the SHA-256 of each piece of each tensor, these in the order of their names.
 * Errors: DW_E_MEMORY. */
dw_status dw__fingerprint_whole(const dw_gguf *gguf, const uint8_t (*pieces)[DW_SHA256_BYTES],
                                const char *sampled, char text[DW_FINGERPRINT_BYTES],
                                dw_error *err);

typedef enum dw__fingerprint_match {
    DW__NO_MATCH,
    DW__MATCH,
    DW__MATCH_OF_SAMPLES, /* the whole ones must be compared */
} dw__fingerprint_match;

dw__fingerprint_match dw__fingerprint_compare(const char *fingerprint, const char *sampled);

/* What is known of the files as `files` [count] says they are; false: nothing. */
bool dw__fingerprint_kept(const char *folder, const dw_file_identity *files, uint32_t count,
                          char text[DW_FINGERPRINT_BYTES]);
/* Best effort: a folder that cannot be written to is left as it is. */
void dw__fingerprint_keep(const char *folder, const dw_file_identity *files, uint32_t count,
                          const char *text);

#endif
