/* A file with a context: its head, of whole 64 KiB, with the tokens; behind it the records, so that
 * they can be mapped. Numbers are little-endian, as the machines are that it runs on.
 *
 *     0  magic "DWCONTXT"
 *     8  version, kv_type, length, vocab_count, sink, window, adapter_count, 0: u32 each
 *    40  record_bytes, head_bytes, saved_ms: u64 each
 *    64  hash [16]: XXH3-128 of all bytes of the head, these being 0
 *    80  fingerprint [80], of the model with the adapters, tenant [64], name [64]: texts, zeros
 *        behind
 *   288  adapters [adapter_count]: fingerprint [80], scale, f32, 0, u32
 *        tokens [length], i32 each; -1: a row of an embedding
 *
 * Private to src/contexts. Thread: any. */
#ifndef DW_CONTEXTS_CONTEXT_FILE_H
#define DW_CONTEXTS_CONTEXT_FILE_H

#include <assert.h>

#include "contexts/contexts.h"

#define DW__CONTEXT_MAGIC "DWCONTXT"
#define DW__CONTEXT_VERSION 1u
#define DW__CONTEXT_UNIT ((uint64_t)65536) /* a whole number of pages on every platform */
#define DW__CONTEXT_MODEL_BYTES 80

typedef struct dw__context_head {
    char magic[8];
    uint32_t version;
    uint32_t kv_type;
    uint32_t length;
    uint32_t vocab_count;
    uint32_t sink;
    uint32_t window;
    uint32_t adapter_count;
    uint32_t zero;
    uint64_t record_bytes;
    uint64_t head_bytes;
    uint64_t saved_ms; /* since 1970 */
    uint8_t hash[16];
    char fingerprint[DW__CONTEXT_MODEL_BYTES];
    char tenant[DW_TENANT_NAME_MAX + 1];
    char name[DW_NAME_MAX + 1];
} dw__context_head;
static_assert(sizeof(dw__context_head) == 288, "the layout above");
typedef struct dw__context_adapter {
    char fingerprint[DW__CONTEXT_MODEL_BYTES];
    float scale;
    uint32_t zero;
} dw__context_adapter;
static_assert(sizeof(dw__context_adapter) == 88, "likewise");
static_assert(DW_FINGERPRINT_BYTES <= DW__CONTEXT_MODEL_BYTES, "fingerprints have room");

/* The head of what is to be written, without its hash. Errors: DW_E_STATE (it holds nothing),
 * dw_model_fingerprint's. */
dw_status dw__context_describe(dw__context_head *head, const dw_context_place *place,
                               dw_context *context, dw_error *err);
uint64_t dw__context_file_bytes(const dw__context_head *head);
/* Write the file and sync it; the head gets its hash. Errors: DW_E_IO, DW_E_MEMORY, DW_E_DEVICE,
 * DW_E_CANCELLED. */
dw_status dw__context_write(int fd, dw__context_head *head, dw_context *context, dw_stop *stop,
                            dw_error *err);
/* What a head has behind it. */
typedef struct dw__context_rest {
    int32_t *tokens;               /* [length] */
    dw__context_adapter *adapters; /* [adapter_count]; texts that end, scales that are finite */
} dw__context_rest;
void dw__context_rest_release(dw__context_rest *rest);
/* The head of an open file, and what is behind it, to be released (`rest` NULL: not wanted).
 * Errors: DW_E_FORMAT, DW_E_UNSUPPORTED (of a newer version), DW_E_IO, DW_E_MEMORY. */
dw_status dw__context_read(int fd, dw__context_head *head, dw__context_rest *rest, dw_error *err);
/* The context. Errors: dw_contexts_load's. */
dw_status dw__context_thaw(int fd, const dw__context_head *head, const dw__context_rest *rest,
                           const dw_context_wanted *wanted, dw_context **out, dw_error *err);

#endif
