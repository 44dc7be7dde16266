/* Headers of snapshots that were read, by what the snapshots are (dw_snapshot_file_identity, which
 * is their hash): an actor that has left memory has the same files when it is read again. The ones
 * that were asked for last are kept, up to a number of bytes. Thread: any. */
#ifndef DW_SNAPSHOT_KEPT_HEADS_H
#define DW_SNAPSHOT_KEPT_HEADS_H

#include "base/status.h"

typedef struct dw_kept_heads dw_kept_heads;

/* `bytes_max`: of memory, about. NULL: there is none. */
dw_kept_heads *dw_kept_heads_create(size_t bytes_max);
/* NULL is fine. */
void dw_kept_heads_destroy(dw_kept_heads *heads);
typedef struct dw_kept_heads_counts {
    size_t count;
    size_t bytes;
    uint64_t found;
    uint64_t missed;
} dw_kept_heads_counts;
dw_kept_heads_counts dw_kept_heads_count(dw_kept_heads *heads);

struct dw__snapshot_head;
/* Private to src/snapshot. Of a snapshot of so many bytes; counted; NULL: it is not kept. */
struct dw__snapshot_head *dw__kept_head_find(dw_kept_heads *heads, const char *identity,
                                             uint64_t bytes);
/* Where there is no memory for that it is not kept. */
void dw__kept_head_put(dw_kept_heads *heads, struct dw__snapshot_head *head);

#endif
