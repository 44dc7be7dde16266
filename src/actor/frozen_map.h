/* Which of an actor's files hold what of it, as it was frozen last: blocks of memories, parts of
 * logs, settings. A file that holds nothing of it any more may go; of one that holds little, that
 * can be written once more.
 * Thread: one at a time, its actor's. */
#ifndef DW_ACTOR_FROZEN_MAP_H
#define DW_ACTOR_FROZEN_MAP_H

#include "actor/actor.h"

/* Of snapshots, which the next calls files, also where several are in one. */
#define DW_FROZEN_FILES_MAX 1048576u
#define DW_FROZEN_NONE UINT32_MAX

typedef struct dw_frozen_file {
    bool used;       /* false: the place is free */
    bool idle;       /* it held nothing the last time that was looked at */
    uint64_t number; /* its owner's name for it, ascending by age */
    uint64_t bytes;  /* that it took to write it */
    uint64_t series; /* its owner's number of the file that it is in with others; 0: it is one */
    uint64_t series_bytes; /* that this takes: one of those in it has it, the others 0 */
    uint64_t blocks;       /* of memories that are in it */
} dw_frozen_file;

/* Bytes [from, end) of a log. */
typedef struct dw_frozen_part {
    uint64_t from;
    uint64_t end;
    uint32_t file;
} dw_frozen_part;

typedef struct dw_frozen_log {
    int32_t handle;
    uint64_t record_bytes;
    dw_frozen_part *parts; /* [count], apart, the first part first */
    size_t count;
    size_t capacity;
} dw_frozen_log;

/* Of each block the place of its file and 1; 0: it is in none, and zero. */
typedef struct dw_frozen_blocks {
    uint32_t *files; /* [count] */
    size_t count;
    size_t capacity;
} dw_frozen_blocks;

typedef struct dw_frozen_map {
    dw_frozen_file *files; /* [file_count] */
    size_t file_count;
    size_t file_capacity;
    size_t used_end; /* all places before it are in use */
    dw_frozen_blocks memories[DW_GUEST_MEMORIES_MAX];
    dw_frozen_log *logs; /* [log_count] */
    size_t log_count;
    size_t log_capacity;
    uint32_t settings; /* the file that has them */
    uint32_t newest;   /* the file that was written last */
} dw_frozen_map;

/* What a file holds. */
typedef struct dw_frozen_share {
    uint64_t bytes; /* that would have to be written once more */
    bool settings_alone;
} dw_frozen_share;

/* Errors of all: DW_E_MEMORY, after which the map is of no use; DW_E_LIMIT (too many files). */
dw_status dw_frozen_map_create(dw_frozen_map **out, dw_error *err);
void dw_frozen_map_destroy(dw_frozen_map *map);
dw_status dw_frozen_map_copy(dw_frozen_map **out, const dw_frozen_map *from, dw_error *err);
/* A place for one more file. */
dw_status dw_frozen_map_add_file(dw_frozen_map *map, uint64_t bytes, uint32_t *file, dw_error *err);
/* The block is in this file, and no more in another. */
dw_status dw_frozen_map_set_block(dw_frozen_map *map, size_t memory, size_t block, uint32_t file,
                                  dw_error *err);
/* DW_FROZEN_NONE: in none. */
uint32_t dw_frozen_map_block(const dw_frozen_map *map, size_t memory, size_t block);
/* NULL: none. */
dw_frozen_log *dw_frozen_map_log(const dw_frozen_map *map, int32_t handle);
/* [from, end) of a log is in this file, and no more in another. */
dw_status dw_frozen_map_add_part(dw_frozen_map *map, int32_t handle, uint64_t record_bytes,
                                 const dw_frozen_part *part, dw_error *err);
/* Forget a log from `end` on. */
void dw_frozen_map_cut(dw_frozen_map *map, int32_t handle, uint64_t end);
/* Forget all logs but those of `handles` [count]. */
void dw_frozen_map_keep(dw_frozen_map *map, const int32_t *handles, size_t count);
/* What each file holds, into `shares` [map->file_count]. */
void dw_frozen_map_shares(const dw_frozen_map *map, dw_frozen_share *shares);
/* Look at which files hold nothing, for the next. */
dw_status dw_frozen_map_look(dw_frozen_map *map, dw_error *err);
/* Forget files, but not the newest, that held nothing the last time either: what was before the
 * newest is still whole. Their numbers [*count], the caller's to dw_free. */
dw_status dw_frozen_map_drop(dw_frozen_map *map, uint64_t **numbers, size_t *count, dw_error *err);
/* The file of number `to` of a series holds what those before it in the series did, which are
 * forgotten. */
void dw_frozen_map_merge(dw_frozen_map *map, uint64_t series, uint64_t to);
/* Files that are in use. */
size_t dw_frozen_map_count(const dw_frozen_map *map);

#endif
