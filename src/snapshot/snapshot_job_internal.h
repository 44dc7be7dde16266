/* A freeze or a thaw under way, as the parts of a snapshot see it. */
#ifndef DW_SNAPSHOT_SNAPSHOT_JOB_INTERNAL_H
#define DW_SNAPSHOT_SNAPSHOT_JOB_INTERNAL_H

#include <jansson.h>

#include "actor/actor_state.h"
#include "inference/context.h"
#include "snapshot/json_read.h"
#include "snapshot/snapshot_file.h"

#define DW__META_ACTOR "actor"
#define DW__META_MODULE "module"
#define DW__META_SETTINGS "settings"
#define DW__TENSOR_MODULE "module"
#define DW__TENSOR_MESSAGES "messages"
#define DW__NAME_BYTES 48
#define DW__WASM_PAGE_BYTES 65536u
#define DW__FILES_MAX 64 /* of a delta chain, but where each file's identity is known */

/* ---- freezing ----------------------------------------------------------------------------- */

/* What a freeze writes of a memory: blocks, or runs of them where all is written. */
typedef struct dw__written_blocks {
    const uint32_t *blocks; /* [count] */
    const dw_block_run *runs;
    size_t count;
} dw__written_blocks;

/* Of a log: [from, end). */
typedef struct dw__written_part {
    int32_t handle;
    uint64_t record_bytes;
    uint64_t from;
    uint64_t end;
} dw__written_part;

/* One freeze. The writer borrows what is kept until the file is written: from the actor, or, where
 * that goes on meanwhile, from what is its own (`apart`): copies, images, and forks of logs. */
typedef struct dw__freeze {
    dw_actor *actor;   /* not looked at between a freeze's begin and its end, where it goes on */
    dw_module *module; /* counted */
    dw_snapshot_writer *writer;
    dw_frozen_point point;
    bool apart;
    struct dw_kv_log **logs; /* [log_count]: forks, where apart */
    size_t log_count;
    size_t log_capacity;
    bool has_base;                  /* files hold what it was before */
    bool delta;                     /* upon these */
    char settings[DW_HASH128_TEXT]; /* the hash of its settings and models */
    bool writes_settings;
    const bool *carried; /* [files of actor->frozen.map]: written once more; NULL: none */
    dw__written_blocks memories[DW_GUEST_MEMORIES_MAX];
    dw__written_part *parts; /* [part_count] */
    size_t part_count;
    size_t part_capacity;
    dw_freeze_stats stats;
    unsigned char *messages; /* [message_bytes] */
    size_t message_bytes;
    void **kept; /* [kept_count]: freed at the end */
    size_t kept_count;
    size_t kept_capacity;
} dw__freeze;

dw_status dw__freeze_no_memory(dw_error *err);
/* Takes `memory`, also on failure, to be freed with the freeze. Errors: DW_E_MEMORY. */
dw_status dw__freeze_keep(dw__freeze *f, void *memory, dw_error *err);
/* Errors: those of dw_snapshot_writer_tensor. */
dw_status dw__freeze_tensor(dw__freeze *f, const dw_snapshot_tensor *tensor, dw_error *err);

/* Of the freeze's actor, before anything is written: which files are to be written once more, so
 * that they can go. Errors: DW_E_MEMORY. */
dw_status dw__freeze_choose(dw__freeze *f, dw_error *err);
/* The file was written: note what it holds. */
void dw__freeze_note(dw__freeze *f);
/* Tests only: what may lie in files beside what is needed, beyond twice as much as that. */
extern uint64_t dw__freeze_spare_bytes;

/* Take `value`, which may be NULL for want of memory. false: no memory. */
static inline bool dw__json_append(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}

static inline bool dw__json_put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static inline json_t *dw__json_number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* ---- thawing ------------------------------------------------------------------------------ */

typedef struct dw__thaw {
    dw_wasm_host *host;
    struct dw_kept_heads *heads; /* NULL: none */
    const void *home;            /* dw_thaw_host */
    const dw_thaw_options *options;
    dw_thaw_stats stats;
    dw_snapshot_file **files; /* [file_count], a full one and deltas upon it */
    size_t file_count;
    size_t spare_files; /* that each memory and log may keep open */
    dw_frozen_map *map; /* what each has; NULL: it is not noted */
    json_t *about;      /* the description in the last file, with the newest settings and models */
    char settings_hash[DW_HASH128_TEXT];
    dw_actor_settings *settings;
    dw_module *module;
    dw_actor *actor;
    uint64_t grammar_steps; /* of the samplers so far */
} dw__thaw;

const dw_snapshot_file *dw__thaw_last_file(const dw__thaw *t);
bool dw__thaw_is_delta(const dw_snapshot_file *file);
/* The tensor `name` of `file`, [n] or with `row` > 1 [n, row]; NULL: there is none.
 * Errors: DW_E_FORMAT (another type or shape). */
dw_status dw__thaw_find_tensor(const dw_snapshot_file *file, const char *name, const char *dtype,
                               uint64_t row, const dw_snapshot_entry **out, dw_error *err);

#endif
