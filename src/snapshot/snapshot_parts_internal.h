/* The parts of a snapshot. Each part of an actor's state has one file that both writes and reads
 * it: snapshot_settings.c, snapshot_memory.c, snapshot_globals.c, snapshot_handles.c,
 * snapshot_context.c, snapshot_messages.c. docs/snapshot.md describes what is written.
 *
 * The `save` functions add tensors and JSON of the host's own state; they fail for want of memory
 * (DW_E_MEMORY) or as noted. The `load` functions read untrusted files: whatever these hold is
 * checked before it is used (DW_E_FORMAT, DW_E_LIMIT, DW_E_IO, DW_E_MEMORY). */
#ifndef DW_SNAPSHOT_SNAPSHOT_PARTS_INTERNAL_H
#define DW_SNAPSHOT_SNAPSHOT_PARTS_INTERNAL_H

#include "snapshot/snapshot_job_internal.h"

extern const dw__choices dw__kv_choices; /* names of dw_kv_type */

json_t *dw__settings_save(const dw_actor_settings *settings); /* NULL: no memory */
/* The hash of an object with members "settings" and "models". false: no memory. */
bool dw__settings_hash(const json_t *of, char hash[DW_HASH128_TEXT]);
/* Errors: also DW_E_IO (fingerprints), DW_E_UNSUPPORTED (a name that is not UTF-8). */
dw_status dw__models_save(const dw_actor *actor, json_t *to, dw_error *err);
/* t->settings of t->about. Errors: also DW_E_NOT_FOUND (a model). */
dw_status dw__settings_load(dw__thaw *t, dw_error *err);
/* What t->about describes against the limits in force. Errors: DW_E_LIMIT (which, the value). */
dw_status dw__rights_check(const dw__thaw *t, dw_error *err);
/* A granted model's place among the actor's models, in a handle's entry. */
bool dw__model_put(const dw__freeze *f, json_t *entry, const char *key, const dw_model *model);
dw_status dw__model_get(const dw__thaw *t, const json_t *entry, const char *key, dw_model **model,
                        dw_error *err);

dw_status dw__memories_save(dw__freeze *f, json_t *to, dw_error *err);
dw_status dw__memories_load(dw__thaw *t, dw_error *err);
/* What a delta has of a memory: the numbers of its blocks, and as many blocks; `*blocks` NULL:
 * nothing. Errors: DW_E_FORMAT. */
dw_status dw__memory_find_delta(const dw_snapshot_file *file, size_t number,
                                const dw_snapshot_entry **blocks, const dw_snapshot_entry **data,
                                dw_error *err);

dw_status dw__globals_save(dw_actor *actor, json_t *to, dw_error *err);
dw_status dw__globals_load(const dw__thaw *t, dw_error *err);
dw_status dw__tables_save(dw__freeze *f, dw_error *err);
dw_status dw__tables_load(const dw__thaw *t, dw_error *err);

dw_status dw__handles_save(dw__freeze *f, json_t *open, json_t *generations, dw_error *err);
dw_status dw__handles_load(dw__thaw *t, dw_error *err);

/* A context's entry, its tokens and its log; `object` is a dw_context. */
dw_status dw__context_save(dw__freeze *f, json_t *entry, int32_t handle, void *object,
                           dw_error *err);
dw_status dw__context_load(dw__thaw *t, const json_t *entry, int32_t handle, void **out,
                           dw_error *err);

/* The number behind a tensor's name and a dot; false: there is none. */
bool dw__part_number(const char *text, uint64_t *number);

bool dw__repeatable_save(const dw_actor *actor, json_t *about);
dw_status dw__repeatable_load(const dw__thaw *t, dw_error *err);
bool dw__messages_describe(const dw_mailbox *mailbox, json_t *to);
dw_status dw__messages_save(dw__freeze *f, dw_error *err);
dw_status dw__messages_load(const dw__thaw *t, dw_error *err);

#endif
