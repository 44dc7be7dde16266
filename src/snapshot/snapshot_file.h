/* A snapshot as a file: named tensors behind a header with checksums, in the safetensors format.
 * docs/snapshot.md has it byte by byte. What the tensors mean is told elsewhere.
 *
 * Writing: create, meta and tensor as often as needed, then write_file or write_stream. Reading:
 * open checks header, seal and layout without touching the data; with DW_SNAPSHOT_VERIFY, or
 * dw_snapshot_file_verify_tensor, the data too. A file is untrusted input: what it says is checked
 * before it is used. Nothing is mapped, so that a file cut while it is read gives an error.
 *
 * The identity of a snapshot, 32 hexadecimal digits, is its seal: the XXH3-128 of all that stands
 * before the data, which holds the checksums of the data.
 *
 * Thread: a writer belongs to one; a file may be read by several at once. Blocks: on the disk. */
#ifndef DW_SNAPSHOT_SNAPSHOT_FILE_H
#define DW_SNAPSHOT_SNAPSHOT_FILE_H

#include "base/hash.h"
#include "base/json_bounds.h"
#include "base/sink.h"
#include "snapshot/series_index.h"

#define DW_SNAPSHOT_VERSION "2"       /* of full ones */
#define DW_SNAPSHOT_VERSION_DELTA "3" /* of deltas */
#define DW_SNAPSHOT_VERSION_FIRST "1" /* is read as well */
/* Where aligned tensors begin, from the file's start: a whole number of pages everywhere. */
#define DW_SNAPSHOT_ALIGNMENT 65536u
#define DW_SNAPSHOT_DELTA_UNIT 64u /* of the length of a header of version 3 */
#define DW_SNAPSHOT_NAME_BYTES_MAX 64u
#define DW_SNAPSHOT_DIMENSIONS_MAX 8u
#define DW_SNAPSHOT_TENSORS_MAX 65536u           /* with fillers and seal */
#define DW_SNAPSHOT_META_MAX 4096u               /* lines of metadata that a writer takes */
#define DW_SNAPSHOT_HEADER_BYTES_MAX (16u << 20) /* with the 8 bytes of its length */
/* Of the metadata "actor", the JSON that describes one, as src/base/json_bounds.h counts: readers
 * refuse more, and so does a freeze. */
#define DW_SNAPSHOT_ABOUT_VALUES_MAX 4194304u
#define DW_SNAPSHOT_ABOUT_DEPTH_MAX 16u
#define DW_SNAPSHOT_ABOUT_OBJECT 24u /* values that an object counts beside its members */
extern const dw_json_bounds dw_snapshot_about_bounds;
#define DW_SNAPSHOT_FILE_BYTES_MAX (UINT64_C(1) << 40)
#define DW_SNAPSHOT_IDENTITY DW_HASH128_TEXT

/* ---- series -------------------------------------------------------------------------------- */

/* Snapshots in one file, each as it would be in its own, beginning at a multiple of
 * DW_SNAPSHOT_ALIGNMENT; what is between them is holes. The path of one is FILE.series/BEGIN+BYTES,
 * which names no file otherwise; of one that is to be written behind others BYTES is 0. */
typedef struct dw_snapshot_place {
    size_t path_bytes; /* of the file's own */
    uint64_t begin;
    uint64_t bytes;
} dw_snapshot_place;
/* false: it is the path of a file. */
bool dw_snapshot_place_read(const char *path, dw_snapshot_place *place);
/* Where the next begins. */
uint64_t dw_snapshot_place_end(uint64_t begin, uint64_t bytes);

/* ---- writing ------------------------------------------------------------------------------- */

typedef struct dw_snapshot_writer dw_snapshot_writer;

/* Bytes [offset, offset + bytes) of the tensor, for `to`. Called in the order of the file, from the
 * writing thread; for a stream twice over, and the bytes must be the same. */
typedef dw_status (*dw_snapshot_read)(void *user, uint64_t offset, size_t bytes, void *to,
                                      dw_error *err);

/* All of the tensor's bytes, for a sink: for what can give them to several threads at once. Called
 * from the writing thread; for a stream twice over, as above. */
typedef dw_status (*dw_snapshot_stream)(void *user, const dw_sink *sink, dw_error *err);

typedef struct dw_snapshot_tensor {
    const char *name;  /* 1 to 64 of [a-z0-9._-], but not "seal" nor "pad." and more; copied */
    const char *dtype; /* "U8", "I32", "U32", "I64", "F16" or "F32"; little-endian */
    uint64_t shape[DW_SNAPSHOT_DIMENSIONS_MAX]; /* the slowest first */
    uint32_t dimension_count;                   /* 0: one number */
    bool aligned;                               /* begins at a multiple of DW_SNAPSHOT_ALIGNMENT, */
    uint32_t phase;            /* or in a delta so many bytes behind one, less than it */
    const void *bytes;         /* all of it, borrowed until the write is done; or NULL and: */
    bool lasting;              /* they stay so long, whatever their owner does */
    dw_snapshot_read read;     /* with user; or NULL and: */
    dw_snapshot_stream stream; /* with */
    void *user;
} dw_snapshot_tensor;

/* Errors: DW_E_MEMORY. */
dw_status dw_snapshot_writer_create(dw_snapshot_writer **out, dw_error *err);
void dw_snapshot_writer_destroy(dw_snapshot_writer *writer);
/* A line of metadata, UTF-8; both are copied. Keys as tensor names; "format", "version" and
 * "checksums" are the writer's own. "kind" is "full" (as it is without one) or "delta", and a delta
 * needs a "base", the identity of the file that it builds upon. A delta's header is as short as it
 * can be.
 * Errors: DW_E_ARG (key, value, given twice), DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_snapshot_writer_meta(dw_snapshot_writer *writer, const char *key, const char *value,
                                  dw_error *err);
/* The next tensor. `tensor` itself is not needed any longer.
 * Errors: DW_E_ARG (name, no source), DW_E_UNSUPPORTED (dtype), DW_E_LIMIT (dimensions, 2^40
 * bytes, tensors), DW_E_MEMORY. */
dw_status dw_snapshot_writer_tensor(dw_snapshot_writer *writer, const dw_snapshot_tensor *tensor,
                                    dw_error *err);
/* The same with a copy of its bytes, unless they last.
 * Errors: likewise. */
dw_status dw_snapshot_writer_tensor_copied(dw_snapshot_writer *writer,
                                           const dw_snapshot_tensor *tensor, dw_error *err);
/* Called when all bytes were read, before a file gets its name: whether they may be used. */
typedef dw_status (*dw_snapshot_check)(void *user, dw_error *err);
void dw_snapshot_writer_set_check(dw_snapshot_writer *writer, dw_snapshot_check check, void *user);
/* Write the file at `path`, or put it in the place of the one there, whole or not at all: it grows
 * as PATH.tmp-PID-RANDOM beside it, goes to the disk, and is renamed. Mode 0600. Each byte is read
 * once. A process killed meanwhile leaves that file behind. Of a link, what it leads to is
 * replaced.
 *   identity [DW_SNAPSHOT_IDENTITY], or NULL
 * Errors: DW_E_IO (path, bytes, errno's text), DW_E_ARG (two tensors of one name, delta without
 * base, a pipe, device or folder at `path`), DW_E_LIMIT (header, tensors, file), DW_E_MEMORY, and
 * those of `read`. After one there is what was there before; if only the folder did not reach the
 * disk, the new file. */
dw_status dw_snapshot_writer_write_file(dw_snapshot_writer *writer, const char *path,
                                        char *identity, dw_error *err);
/* The same; the file grows under the name `part`, on the same file system, and takes the place of
 * what is there. NULL: as above. With a path in a series it is written there, and what stood from
 * there on goes, also after an error: whoever knows of a place knows that it was written. */
dw_status dw_snapshot_writer_write_part(dw_snapshot_writer *writer, const char *path,
                                        const char *part, char *identity, dw_error *err);
/* The same bytes into a pipe or socket, which must block. Each byte is read twice, since checksums
 * go first. Errors: as above, and DW_E_STATE (the two times differ). SIGPIPE is the caller's. */
dw_status dw_snapshot_writer_write_stream(dw_snapshot_writer *writer, int fd, dw_error *err);

/* How long the file is that was written last; and how much of it was written: fillers are holes. */
uint64_t dw_snapshot_writer_bytes(const dw_snapshot_writer *writer);
uint64_t dw_snapshot_writer_written(const dw_snapshot_writer *writer);

/* ---- reading ------------------------------------------------------------------------------- */

/* One tensor of a file; fillers and the seal are not among them. */
typedef struct dw_snapshot_entry {
    char name[DW_SNAPSHOT_NAME_BYTES_MAX + 1];
    char dtype[4];
    uint32_t dimension_count;
    uint64_t shape[DW_SNAPSHOT_DIMENSIONS_MAX];
    uint64_t offset; /* from the file's start */
    uint64_t bytes;  /* what dtype and shape make */
    uint8_t checksum[DW_HASH128_BYTES];
} dw_snapshot_entry;

/* dw_snapshot_file_open, _close, _meta: include/driftwood.h. */

/* All of these are borrowed until the file is closed. */
/* NULL: no such tensor. */
const dw_snapshot_entry *dw_snapshot_file_tensor(const dw_snapshot_file *file, const char *name);
/* In the order of their names: the place of the first that is not before `name`; what is there,
 * NULL behind the last. */
size_t dw_snapshot_file_first(const dw_snapshot_file *file, const char *name);
const dw_snapshot_entry *dw_snapshot_file_by_name(const dw_snapshot_file *file, size_t index);
/* In the file's order; index < count. */
size_t dw_snapshot_file_count(const dw_snapshot_file *file);
const dw_snapshot_entry *dw_snapshot_file_at(const dw_snapshot_file *file, size_t index);
const char *dw_snapshot_file_identity(const dw_snapshot_file *file);
/* The open file: for mapping aligned tensors, by those who bear that it may be cut; where in it the
 * snapshot begins, whose offsets count from there. */
int dw_snapshot_file_fd(const dw_snapshot_file *file);
uint64_t dw_snapshot_file_begin(const dw_snapshot_file *file);
/* What is known of a file before it is opened; each may be NULL. */
typedef struct dw_snapshot_known {
    const dw_snapshot_file *beside; /* is open, and shares its descriptor where both are in one
                                         series */
    struct dw_kept_heads *heads;    /* kept_heads.h: of files that are trusted */
    const char *identity;           /* the one that is meant; "": it is not known */
    const dw_series_index *index;   /* of the series that the path is in: the file is all of the
                                         snapshots that this is of, the last of which is at the
                                         path, and gives its identity; its offsets count from the
                                         series' start, and its blocks are in
                                         dw_snapshot_file_series; outlasts it */
} dw_snapshot_known;
/* dw_snapshot_file_open. Without DW_SNAPSHOT_VERIFY a header that is kept under `identity` is not
 * read again: dw_snapshot_file_identity is then what is meant, not what the file has. */
dw_status dw_snapshot_file_open_known(dw_snapshot_file **out, const char *path, unsigned flags,
                                      const dw_snapshot_known *known, dw_error *err);
uint64_t dw_snapshot_file_bytes(const dw_snapshot_file *file);
/* What it was opened with; NULL: it is one snapshot. */
const dw_series_contents *dw_snapshot_file_series(const dw_snapshot_file *file);
/* Errors: DW_E_FORMAT (it is another than `wanted`). */
dw_status dw_snapshot_file_check_identity(const dw_snapshot_file *file, const char *wanted,
                                          dw_error *err);
/* Whether it is of the version of deltas, in which only what changed of the settings is told. */
bool dw_snapshot_file_closely(const dw_snapshot_file *file);

/* Errors: DW_E_FORMAT (the data is not what the header says), DW_E_IO, DW_E_MEMORY. */
dw_status dw_snapshot_file_verify_tensor(const dw_snapshot_file *file,
                                         const dw_snapshot_entry *tensor, dw_error *err);
/* Bytes of the file from `offset` on, which a tensor of it has. Errors: DW_E_IO. */
dw_status dw_snapshot_file_read_at(const dw_snapshot_file *file, uint64_t offset, size_t bytes,
                                   void *to, dw_error *err);
/* Bytes [offset, offset + bytes) of a tensor. Errors: DW_E_RANGE, DW_E_IO (also: cut since). */
dw_status dw_snapshot_file_read(const dw_snapshot_file *file, const dw_snapshot_entry *tensor,
                                uint64_t offset, size_t bytes, void *to, dw_error *err);

#endif
