/* A store: the state folder with an engine, and what is done with one actor of it at a time. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/callback.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "store/store_internal.h"

/* Deltas upon a full snapshot before the next is a full one again. */
#define DELTAS_MAX 12
#define LISTED_MAX 4096 /* actors at a time */

dw_status dw_store_open(dw_store **out, dw_engine *engine, const dw_store_options *options,
                        dw_error *err)
{
    dw_store_options own;
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_store_options", err);
    if (status != DW_OK) {
        return status;
    }
    if (own.path == NULL) {
        return dw_fail(err, DW_E_ARG, "dw_store_options.path: NULL");
    }
    dw_limits limits;
    status = dw_limits_take(&limits, own.limits, err);
    if (status != DW_OK) {
        return status;
    }
    dw_store *store = dw_alloc(1, sizeof *store);
    if (store == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a store");
    }
    store->engine = engine;
    store->options = own;
    store->options.limits = &store->limits;
    store->limits = limits;
    store->own_limits = limits;
    dw_limits_fill(&store->own_limits, &dw_limits_usual);
    unsigned flags = (own.read_only ? DW_FOLDER_READ_ONLY : 0u) |
                     (own.accept_older ? DW_FOLDER_ACCEPT_OLDER : 0u);
    status = dw_actor_folder_open(&store->folder, own.path, flags, err);
    if (status != DW_OK) {
        dw_store_close(store);
        return status;
    }
    *out = store;
    return DW_OK;
}

void dw_store_close(dw_store *store)
{
    if (store == NULL) {
        return;
    }
    if (store->working || dw_callback_under_way()) {
        dw_log(DW_LOG_ERROR, "dw_store_close: from a callback of the store: it stays open");
        return;
    }
    for (size_t i = 0; i < store->module_count; i++) {
        dw_module_unref(store->modules[i]);
    }
    dw_free(store->modules);
    dw_free(store->todo);
    dw_free(store->failed);
    dw_actor_folder_close(store->folder);
    dw_free(store);
}

void dw__store_report(const dw_store *store, const char *id, const dw_error *problem)
{
    if (store->options.on_problem != NULL) {
        store->options.on_problem(store->options.user, id, problem);
    }
}

static bool has_name(const dw_actor_name *names, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

dw_status dw__store_add_todo(dw_store *store, const char *id, dw_error *err)
{
    if (has_name(store->todo + store->todo_first, dw__store_todo_count(store), id) ||
        has_name(store->failed, store->failed_count, id)) {
        return DW_OK;
    }
    if (store->todo_first > store->todo_count / 2) { /* what was taken is as long as the rest */
        store->todo_count -= store->todo_first;
        memmove(store->todo, store->todo + store->todo_first,
                store->todo_count * sizeof *store->todo);
        store->todo_first = 0;
    }
    if (!DW_ARRAY_RESERVE(store->todo, store->todo_capacity, store->todo_count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
    }
    (void)snprintf(store->todo[store->todo_count++].id, sizeof store->todo[0].id, "%s", id);
    return DW_OK;
}

bool dw__store_any_todo(const dw_store *store)
{
    return dw__store_todo_count(store) > 0;
}

size_t dw__store_todo_count(const dw_store *store)
{
    return store->todo_count - store->todo_first;
}

dw_actor_name dw__store_take_todo(dw_store *store)
{
    DW_ASSERT(dw__store_any_todo(store));
    return store->todo[store->todo_first++];
}

dw_status dw__store_add_failed(dw_store *store, const char *id, dw_error *err)
{
    size_t kept = store->todo_first;
    for (size_t i = kept; i < store->todo_count; i++) {
        if (strcmp(store->todo[i].id, id) != 0) {
            store->todo[kept++] = store->todo[i];
        }
    }
    store->todo_count = kept;
    if (!DW_ARRAY_RESERVE(store->failed, store->failed_capacity, store->failed_count + 1,
                          SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
    }
    (void)snprintf(store->failed[store->failed_count++].id, sizeof store->failed[0].id, "%s", id);
    return DW_OK;
}

void dw__store_end_failed(dw_store *store)
{
    store->failed_count = 0;
}

/* ---- modules and models ------------------------------------------------------------------ */

/* Counts the module, and keeps it in memory. */
static dw_status keep_module(dw_store *store, dw_module *module, dw_error *err)
{
    for (size_t i = 0; i < store->module_count; i++) {
        if (store->modules[i] == module) {
            return DW_OK;
        }
    }
    if (!DW_ARRAY_RESERVE(store->modules, store->module_capacity, store->module_count + 1,
                          SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of modules");
    }
    store->modules[store->module_count++] = dw_module_ref(module);
    return DW_OK;
}

/* The folder's module, compiled; the caller's reference. */
static dw_status compile_module(dw_store *store, const char *sha256, dw_module **module,
                                dw_error *err)
{
    char *wasm = NULL;
    size_t bytes = 0;
    char hash[DW_SHA256_TEXT];
    dw_status status = dw_actor_folder_read_module(store->folder, sha256, &wasm, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    dw_sha256_text(hash, wasm, bytes);
    status = strcmp(hash, sha256) == 0
                 ? dw_module_create(module, store->engine, wasm, bytes, err)
                 : dw_fail(err, DW_E_FORMAT, "the folder's module %s is damaged", sha256);
    dw_free(wasm);
    return status;
}

static dw_status find_module(void *user, const char *sha256, dw_module **module, dw_error *err)
{
    dw_store *store = user;
    dw_module *compiled = NULL;
    *module = NULL;
    for (size_t i = 0; i < store->module_count; i++) {
        if (strcmp(dw_module_hash(store->modules[i]), sha256) == 0) {
            *module = store->modules[i];
            return DW_OK;
        }
    }
    dw_status status = compile_module(store, sha256, &compiled, err);
    if (status != DW_OK) {
        return status;
    }
    status = keep_module(store, compiled, err);
    if (status == DW_OK) {
        *module = compiled;
    }
    dw_module_unref(compiled); /* the store counts it */
    return status;
}

static dw_status find_model(void *user, const char *name, const char *fingerprint, dw_model **model,
                            dw_error *err)
{
    const dw_store *store = user;
    if (store->options.find_model == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "the actor's model '%.80s' (%.60s): there are none",
                       name, fingerprint);
    }
    return store->options.find_model(store->options.user, name, fingerprint, model, err);
}

dw_status dw_store_find_module(dw_store *store, const char *sha256, dw_module **module,
                               dw_error *err)
{
    return find_module(store, sha256, module, err);
}

/* ---- looking ----------------------------------------------------------------------------- */

dw_status dw_store_find(dw_store *store, const char *start, char id[DW_ACTOR_ID_CHARS + 1],
                        dw_error *err)
{
    dw_actor_name name;
    dw_status status = dw_actor_folder_find(store->folder, start, &name, err);
    if (status != DW_OK) {
        return status;
    }
    memcpy(id, name.id, sizeof name.id);
    return DW_OK;
}

dw_status dw_store_list(dw_store *store, void (*take)(void *user, const char *id), void *user,
                        dw_error *err)
{
    dw_actor_name *names = NULL;
    size_t count = 0;
    dw_status status = dw_actor_folder_list(store->folder, &names, &count, err);
    if (status != DW_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        take(user, names[i].id);
    }
    dw_free(names);
    return DW_OK;
}

static void take_row(dw_store_info *info, const dw_actor_row *row)
{
    info->struct_bytes = sizeof *info;
    info->waiting = row->waiting;
    info->set_aside = row->set_aside;
    info->done = row->done;
    info->depth = row->depth;
    memcpy(info->parent, row->parent, sizeof info->parent);
}

static void tell_page(const dw_actor_item *items, size_t count, dw_store_info_fn take, void *user)
{
    for (size_t i = 0; i < count; i++) {
        dw_store_info info = {.snapshot_count = items[i].snapshot_count, .bytes = items[i].bytes};
        bool known = items[i].status == DW_OK;
        take_row(&info, &items[i].row);
        take(user, items[i].row.id, known ? &info : NULL, known ? NULL : &items[i].problem);
    }
}

dw_status dw_store_list_infos(dw_store *store, const char *after, size_t max, dw_store_info_fn take,
                              void *user, dw_error *err)
{
    char from[DW_ACTOR_ID_CHARS + 1] = "0000000000000000";
    dw_actor_item *items = NULL;
    size_t count = 0;
    if (after != NULL && !dw_actor_id_good(after)) {
        return dw_fail(err, DW_E_ARG, "'%.40s' is no actor's id", after);
    }
    if (max == 0 || max > LISTED_MAX) {
        return dw_fail(err, DW_E_ARG, "max: %zu, from 1 to %d", max, LISTED_MAX);
    }
    if (after != NULL) {
        uint64_t number = strtoull(after, NULL, 16);
        if (number == UINT64_MAX) {
            return DW_OK; /* behind the last there can be */
        }
        (void)snprintf(from, sizeof from, "%016" PRIx64, number + 1);
    }
    items = dw_alloc(max, sizeof *items);
    if (items == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of %zu actors", max);
    }
    dw_status status = dw_actor_folder_page(store->folder, from, items, max, &count, err);
    if (status == DW_OK) {
        tell_page(items, count, take, user);
    }
    dw_free(items);
    return status;
}

dw_status dw_store_get_info(dw_store *store, const char *id, dw_store_info *info, dw_error *err)
{
    dw_actor_row row;
    dw_store_info own = {.snapshot_count = 0};
    dw_status status = dw_struct_check(info, "dw_store_info", err);
    if (status == DW_OK) {
        status = dw_actor_folder_read_chain(store->folder, id, &store->shown, err);
    }
    if (status == DW_OK) {
        status = dw_actor_folder_row(store->folder, id, &row, err);
    }
    if (status != DW_OK) {
        return status;
    }
    take_row(&own, &row);
    own.snapshot_count = store->shown.count;
    own.done = store->shown.done;
    for (size_t i = 0; i < store->shown.count; i++) {
        own.bytes += store->shown.rows[i].bytes;
    }
    dw_struct_write(info, &own, sizeof own);
    return DW_OK;
}

dw_status dw_store_paths(dw_store *store, const char *id, const char *const **paths, size_t *count,
                         dw_error *err)
{
    dw_status status = dw_actor_folder_read_chain(store->folder, id, &store->shown, err);
    *paths = store->shown.list;
    *count = status == DW_OK ? store->shown.count : 0;
    return status;
}

/* ---- thawing and freezing ---------------------------------------------------------------- */

dw_status dw__store_check_writable(const dw_store *store, dw_error *err)
{
    return !store->options.read_only
               ? DW_OK
               : dw_fail(err, DW_E_DENIED, "store: it was opened for looking only");
}

dw_status dw__store_enter_to_change(dw_store *store, dw_error *err)
{
    dw_status status = dw__store_check_writable(store, err);
    return status == DW_OK ? dw__store_enter(store, err) : status;
}

dw_status dw__store_enter(dw_store *store, dw_error *err)
{
    dw_status status = dw_callback_check(err);
    if (status != DW_OK) {
        return status;
    }
    if (store->working) {
        return dw_fail(err, DW_E_STATE, "store: it works on an actor: not from its callbacks");
    }
    store->working = true;
    store->now_ms = dw_os_wall_ms();
    return DW_OK;
}

void dw__store_leave(dw_store *store)
{
    DW_ASSERT(store->working);
    store->working = false;
}

dw_status dw_store_thaw(dw_store *store, const char *id, const dw_kv_type *kv_type,
                        dw_actor **actor, dw_thaw_stats *stats, dw_error *err)
{
    *actor = NULL;
    dw_status status = dw__store_enter(store, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__store_thaw(store, id, kv_type, actor, stats, err);
    dw__store_leave(store);
    return status;
}

dw_status dw__store_thaw(dw_store *store, const char *id, const dw_kv_type *kv_type,
                         dw_actor **actor, dw_thaw_stats *stats, dw_error *err)
{
    *actor = NULL;
    dw_status status = dw_actor_folder_read_chain(store->folder, id, &store->chain, err);
    if (status != DW_OK) {
        return status;
    }
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = store->chain.list,
                               .path_count = store->chain.count,
                               .find_model = find_model,
                               .find_module = find_module,
                               .find_user = store,
                               .id = id,
                               .trusted = true,
                               .kv_type = kv_type,
                               .on_stderr = store->options.on_stderr,
                               .user = store->options.user,
                               .limits = store->options.limits};
    return dw_actor_thaw(actor, store->engine, &options, stats, err);
}

/* Long chains, and deltas that outweigh what they build upon, become one full snapshot. */
static bool wants_full(const dw_snapshot_chain *chain)
{
    uint64_t deltas = 0;
    for (size_t i = 1; i < chain->count; i++) {
        deltas += chain->rows[i].bytes;
    }
    return chain->incomplete || chain->count > DELTAS_MAX ||
           (chain->count > 0 && deltas > chain->rows[0].bytes);
}

/* `full`: as a full snapshot, also where a delta would do. */
static dw_status write_state(dw_store *store, dw_actor *actor, bool full, dw_turn *turn,
                             dw_freeze_stats *stats, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char part[DW_FOLDER_PATH_MAX];
    dw_freeze_options options = {.struct_bytes = sizeof options,
                                 .delta = !full && dw_actor_has_base(actor),
                                 .without_module = true,
                                 .part_path = part};
    uint64_t timer_ms = dw_actor_timer_ms(actor);
    memcpy(turn->id, dw_actor_id(actor), sizeof turn->id);
    turn->inside = dw_actor_waiting(actor);
    turn->timer_ms = timer_ms != 0 ? timer_ms : UINT64_MAX;
    turn->snapshot.full = !options.delta;
    turn->has_state = true;
    dw_status status = dw_actor_folder_next_snapshot(store->folder, turn->id, &store->chain,
                                                     &turn->snapshot, path, err);
    if (status != DW_OK) {
        return status;
    }
    dw_actor_folder_part_path(store->folder, part);
    status = dw_actor_freeze(actor, path, &options, stats, err);
    return status == DW_OK ? dw_actor_folder_add_snapshot(store->folder, &store->chain,
                                                          &turn->snapshot, path, err)
                           : status;
}

dw_status dw__store_write_state(dw_store *store, dw_actor *actor, dw_turn *turn, dw_error *err)
{
    turn->repeats = store->chain.pending;
    return write_state(store, actor, wants_full(&store->chain), turn, NULL, err);
}

dw_status dw__store_descent(dw_store *store, const char *id, const dw_descent **descent,
                            dw_error *err)
{
    *descent = &store->descent;
    if (strcmp(store->descent_of, id) == 0) {
        return DW_OK;
    }
    store->descent_of[0] = '\0';
    dw_status status = dw_actor_folder_read_descent(store->folder, id, &store->descent, err);
    if (status == DW_OK) {
        (void)snprintf(store->descent_of, sizeof store->descent_of, "%s", id);
    }
    return status;
}

dw_status dw__store_write_new_actor(dw_store *store, dw_actor *actor,
                                    const dw_snapshot_chain *chain, dw_new_actor *made,
                                    dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char part[DW_FOLDER_PATH_MAX];
    dw_freeze_options options = {.struct_bytes = sizeof options,
                                 .delta = chain != NULL,
                                 .without_module = true,
                                 .part_path = part};
    dw_module_file module = {.hash = dw_module_hash(dw_actor_module(actor))};
    uint64_t timer_ms = dw_actor_timer_ms(actor);
    module.wasm = dw_module_wasm(dw_actor_module(actor), &module.bytes);
    memcpy(made->id, dw_actor_id(actor), sizeof made->id);
    (void)snprintf(made->module, sizeof made->module, "%s", module.hash);
    made->inside = dw_actor_waiting(actor);
    made->timer_ms = timer_ms != 0 ? timer_ms : UINT64_MAX;
    dw_status status = keep_module(store, dw_actor_module(actor), err);
    if (status == DW_OK) {
        status = dw_actor_folder_make(store->folder, made, chain, path, err);
    }
    if (status == DW_OK) {
        status = dw_actor_folder_use_module(store->folder, made, &module, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_actor_folder_part_path(store->folder, part);
    status = dw_actor_freeze(actor, path, &options, NULL, err);
    return status == DW_OK ? dw_actor_folder_made(store->folder, made, path, err) : status;
}

dw_status dw__store_write_fork(dw_store *store, dw_actor *parent, const char *id,
                               dw_new_actor *made, dw_error *err)
{
    dw_actor *child = NULL;
    dw_status status = dw_actor_fork(&child, parent, id, err);
    if (status != DW_OK) {
        return status;
    }
    /* A delta upon what the parent's folder holds, if the chain is not too long for that. */
    bool delta = store->chain.count + 1 < DELTAS_MAX && dw_actor_has_base(child);
    status = dw__store_write_new_actor(store, child, delta ? &store->chain : NULL, made, err);
    dw_actor_destroy(child);
    return status;
}

dw_status dw__store_descend(dw_store *store, const char *parent, bool from_outside, dw_error *err)
{
    const dw_descent *descent = NULL;
    dw_status status = dw__store_descent(store, parent, &descent, err);
    if (status == DW_OK) {
        dw_descent_of_child(&store->childs, descent, parent, from_outside);
    }
    return status;
}

/* Nothing but the new actor comes of this. */
static dw_status commit_new_actor(dw_store *store, dw_status written, dw_new_actor *made,
                                  dw_error *err)
{
    dw_turn turn = {.made = made, .made_count = 1};
    dw_status status =
        written == DW_OK ? dw_actor_folder_commit(store->folder, &turn, err) : written;
    if (status != DW_OK && made->id[0] != '\0') {
        /* A full disk is not to be filled with halves of actors. */
        dw_actor_folder_take_back(store->folder, &turn);
    }
    return status;
}

/* ---- one actor --------------------------------------------------------------------------- */

dw_status dw_store_spawn(dw_store *store, dw_module *module, const dw_actor_options *options,
                         char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    dw_actor *actor = NULL;
    dw_new_actor made = {.descent = NULL};
    dw_status status = dw__store_enter_to_change(store, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__store_check_folder(store, 1, false, err);
    if (status == DW_OK) {
        status = dw_actor_spawn(&actor, module, options, err);
    }
    if (status == DW_OK) {
        status = dw__store_write_new_actor(store, actor, NULL, &made, err);
        status = commit_new_actor(store, status, &made, err);
    }
    if (status == DW_OK) {
        memcpy(id, dw_actor_id(actor), DW_ACTOR_ID_CHARS + 1);
    }
    dw_actor_destroy(actor);
    dw__store_leave(store);
    return status;
}

dw_status dw_store_fork(dw_store *store, const char *id, char child[DW_ACTOR_ID_CHARS + 1],
                        dw_error *err)
{
    dw_actor *parent = NULL;
    dw_new_actor made = {.descent = &store->childs};
    char fresh[DW_ACTOR_ID_CHARS + 1];
    dw_status status = dw__store_enter_to_change(store, err);
    if (status != DW_OK) {
        return status;
    }
    dw_actor_new_id(fresh);
    status = dw__store_check_folder(store, 1, false, err);
    if (status == DW_OK) {
        status = dw__store_thaw(store, id, NULL, &parent, NULL, err);
    }
    if (status != DW_OK) {
        goto out;
    }
    status = dw__store_descend(store, id, true, err);
    if (status == DW_OK) {
        status = dw__store_write_fork(store, parent, fresh, &made, err);
        status = commit_new_actor(store, status, &made, err);
    }
    if (status == DW_OK) {
        memcpy(child, fresh, sizeof fresh);
    }
out:
    dw_actor_destroy(parent);
    dw__store_leave(store);
    return status;
}

/* Under an id that is its own as long as it is written. */
static dw_status add(dw_store *store, dw_actor *actor, char id[DW_ACTOR_ID_CHARS + 1],
                     dw_error *err)
{
    char before[DW_ACTOR_ID_CHARS + 1];
    char fresh[DW_ACTOR_ID_CHARS + 1];
    dw_new_actor made = {.descent = NULL};
    dw_status status = dw__store_check_folder(store, 1, false, err);
    if (status != DW_OK) {
        return status;
    }
    memcpy(before, dw_actor_id(actor), sizeof before);
    dw_actor_new_id(fresh);
    dw_actor_set_id(actor, fresh);
    status = dw__store_write_new_actor(store, actor, NULL, &made, err);
    status = commit_new_actor(store, status, &made, err);
    dw_actor_set_id(actor, before);
    if (status == DW_OK) {
        memcpy(id, fresh, sizeof fresh);
    }
    return status;
}

dw_status dw_store_add(dw_store *store, dw_actor *actor, char id[DW_ACTOR_ID_CHARS + 1],
                       dw_error *err)
{
    dw_status status = dw__store_enter_to_change(store, err);
    if (status != DW_OK) {
        return status;
    }
    status = add(store, actor, id, err);
    dw__store_leave(store);
    return status;
}

/* All it is, as one file in the place of its snapshots. */
static dw_status freeze_whole(dw_store *store, dw_actor *actor, dw_freeze_stats *stats,
                              dw_error *err)
{
    dw_turn turn = {.snapshot = {.done = store->chain.done, .pending = store->chain.pending}};
    dw_status status = dw_actor_folder_try(store->folder, dw_actor_id(actor), NULL, err);
    if (status != DW_OK) {
        return status;
    }
    status = write_state(store, actor, true, &turn, stats, err);
    if (status == DW_OK) {
        status = dw_actor_folder_commit(store->folder, &turn, err);
    }
    if (status != DW_OK) {
        dw_actor_folder_take_back(store->folder, &turn);
    }
    return status;
}

dw_status dw_store_freeze(dw_store *store, const char *id, dw_freeze_stats *stats, dw_error *err)
{
    dw_actor *actor = NULL;
    dw_status status = dw__store_enter_to_change(store, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__store_thaw(store, id, NULL, &actor, NULL, err);
    if (status == DW_OK) {
        status = freeze_whole(store, actor, stats, err);
    }
    dw_actor_destroy(actor);
    dw__store_leave(store);
    return status;
}

dw_status dw_store_stop(dw_store *store, const char *id, dw_error *err)
{
    dw_status status = dw__store_enter_to_change(store, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_actor_folder_remove(store->folder, id, err);
    dw__store_leave(store);
    return status;
}

/* `id` NULL: all there are. */
static dw_status stop_many(dw_store *store, const char *id, uint64_t *count, dw_error *err)
{
    dw_actor_name *names = NULL;
    size_t found = 0;
    dw_status status = dw__store_enter_to_change(store, err);
    if (count != NULL) {
        *count = 0;
    }
    if (status != DW_OK) {
        return status;
    }
    if (id == NULL) {
        status = dw_actor_folder_list(store->folder, &names, &found, err);
    } else {
        status = dw_actor_folder_check(store->folder, id, err);
        if (status == DW_OK) {
            status = dw_actor_folder_list_tree(store->folder, id, &names, &found, err);
        }
    }
    if (status == DW_OK) {
        status = dw_actor_folder_remove_all(store->folder, names, found, err);
    }
    if (status == DW_OK && count != NULL) {
        *count = found;
    }
    dw_free(names);
    dw__store_leave(store);
    return status;
}

dw_status dw_store_stop_tree(dw_store *store, const char *id, uint64_t *count, dw_error *err)
{
    return stop_many(store, id, count, err);
}

dw_status dw_store_stop_all(dw_store *store, uint64_t *count, dw_error *err)
{
    return stop_many(store, NULL, count, err);
}
