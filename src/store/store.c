/* Actors in a folder: accepted messages are worked on, and what came of them is written, so that at
 * any moment the folder holds an actor before a message or after it. In this order:
 *   a message is accepted, a file of its own;
 *   the actor works on it, and is frozen: the new snapshot's name says which message is done, and
 *   whether effects wait, which are in the snapshot;
 *   effects are carried out, each in a way that a second time changes nothing;
 *   the actor is frozen without them, and the message's file is removed. */
#include <stdio.h>
#include <string.h>

#include "actor/actor.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
#include "store/actor_folder.h"

/* Deltas upon a full snapshot before the next is a full one again. */
#define DELTAS_MAX 12

struct dw_store {
    dw_engine *engine;
    dw_store_options options; /* path is not kept */
    dw_actor_folder *folder;
    dw_folder_chain chain;  /* of the actor in hand */
    dw_folder_chain parent; /* of a fork's */
    dw_module **modules;    /* [module_count]: compiled so far */
    size_t module_count;
    dw_actor_name *todo; /* [todo_count]: actors that messages may wait for */
    size_t todo_count;
    size_t todo_capacity;
};

/* The message that somebody waits for. */
typedef struct awaited {
    const char *id;
    uint64_t number;
    dw_write_fn on_answer;
    void *user;
    bool settled; /* `status` stands, whatever fails from here on */
    dw_status status;
    dw_error *err;
} awaited;

dw_status dw_store_open(dw_store **out, dw_engine *engine, const dw_store_options *options,
                        dw_error *err)
{
    *out = NULL;
    dw_store *store = dw_alloc(1, sizeof *store);
    if (store == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a store");
    }
    store->engine = engine;
    store->options = *options;
    dw_status status = dw_actor_folder_open(&store->folder, options->path, err);
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
    for (size_t i = 0; i < store->module_count; i++) {
        dw_module_unref(store->modules[i]);
    }
    dw_free(store->modules);
    dw_free(store->todo);
    dw_actor_folder_close(store->folder);
    dw_free(store);
}

/* ---- modules ---------------------------------------------------------------------------- */

/* Counts the module, and keeps it in memory and in the folder. */
static dw_status keep_module(dw_store *store, dw_module *module, dw_error *err)
{
    for (size_t i = 0; i < store->module_count; i++) {
        if (store->modules[i] == module) {
            return DW_OK;
        }
    }
    dw_module **grown = dw_realloc(store->modules, store->module_count + 1, sizeof *grown);
    if (grown == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of modules");
    }
    store->modules = grown;
    size_t bytes = 0;
    const void *wasm = dw_module_wasm(module, &bytes);
    dw_status status =
        dw_actor_folder_keep_module(store->folder, dw_module_hash(module), wasm, bytes, err);
    if (status == DW_OK) {
        store->modules[store->module_count++] = dw_module_ref(module);
    }
    return status;
}

static dw_status find_module(void *user, const char *sha256, dw_module **module, dw_error *err)
{
    dw_store *store = user;
    char *wasm = NULL;
    size_t bytes = 0;
    char hash[DW_SHA256_TEXT];
    for (size_t i = 0; i < store->module_count; i++) {
        if (strcmp(dw_module_hash(store->modules[i]), sha256) == 0) {
            *module = store->modules[i];
            return DW_OK;
        }
    }
    dw_module *compiled = NULL;
    dw_status status = dw_actor_folder_module(store->folder, sha256, &wasm, &bytes, err);
    if (status == DW_OK) {
        dw_sha256_text(hash, wasm, bytes);
        status = strcmp(hash, sha256) == 0
                     ? dw_module_create(&compiled, store->engine, wasm, bytes, err)
                     : dw_fail(err, DW_E_FORMAT, "the folder's module %s is damaged", sha256);
    }
    if (status == DW_OK) {
        status = keep_module(store, compiled, err);
    }
    dw_free(wasm);
    dw_module_unref(compiled); /* the store counts it */
    *module = status == DW_OK ? compiled : NULL;
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

/* ---- looking ---------------------------------------------------------------------------- */

dw_status dw_store_find(dw_store *store, const char *start, char id[DW_ACTOR_ID_CHARS + 1],
                        dw_error *err)
{
    dw_actor_name name;
    dw_status status = dw_actor_folder_find(store->folder, start, &name, err);
    if (status == DW_OK) {
        memcpy(id, name.id, sizeof name.id);
    }
    return status;
}

dw_status dw_store_list(dw_store *store, void (*take)(void *user, const char *id), void *user,
                        dw_error *err)
{
    dw_actor_name *names = NULL;
    size_t count = 0;
    dw_status status = dw_actor_folder_list(store->folder, &names, &count, err);
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        take(user, names[i].id);
    }
    dw_free(names);
    return status;
}

dw_status dw_store_get_info(dw_store *store, const char *id, dw_store_info *info, dw_error *err)
{
    dw_message_file *files = NULL;
    size_t waiting = 0;
    *info = (dw_store_info){0};
    dw_status status = dw_actor_folder_chain(store->folder, id, &store->chain, err);
    if (status == DW_OK) {
        status = dw_actor_folder_files(store->folder, id, store->chain.done, &files, &waiting, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_free(files);
    info->snapshot_count = store->chain.count;
    info->waiting = waiting;
    info->done = store->chain.done;
    for (size_t i = 0; i < store->chain.count; i++) {
        info->bytes += store->chain.bytes[i];
    }
    return DW_OK;
}

dw_status dw_store_paths(dw_store *store, const char *id, const char *const **paths, size_t *count,
                         dw_error *err)
{
    dw_status status = dw_actor_folder_chain(store->folder, id, &store->chain, err);
    *paths = store->chain.list;
    *count = status == DW_OK ? store->chain.count : 0;
    return status;
}

/* ---- thawing and freezing --------------------------------------------------------------- */

/* The actor, and its chain in store->chain. */
static dw_status thaw(dw_store *store, const char *id, const dw_kv_type *kv_type, dw_actor **actor,
                      dw_thaw_stats *stats, dw_error *err)
{
    *actor = NULL;
    dw_status status = dw_actor_folder_chain(store->folder, id, &store->chain, err);
    if (status != DW_OK) {
        return status;
    }
    dw_thaw_options options = {.paths = store->chain.list,
                               .path_count = store->chain.count,
                               .find_model = find_model,
                               .find_module = find_module,
                               .find_user = store,
                               .id = id,
                               .trusted = true,
                               .kv_type = kv_type,
                               .on_stderr = store->options.on_stderr,
                               .user = store->options.user};
    return dw_actor_thaw(actor, store->engine, &options, stats, err);
}

/* Long chains, and deltas that outweigh what they build upon, become one full snapshot. */
static bool wants_full(const dw_folder_chain *chain)
{
    uint64_t deltas = 0;
    for (size_t i = 1; i < chain->count; i++) {
        deltas += chain->bytes[i];
    }
    return chain->count > DELTAS_MAX || (chain->count > 0 && deltas > chain->bytes[0]);
}

/* Write the actor as it is now; the chain follows. */
static dw_status freeze(dw_store *store, dw_actor *actor, uint64_t done, bool full,
                        dw_freeze_stats *stats, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    dw_freeze_options options = {.delta = !full && dw_actor_has_base(actor),
                                 .without_module = true};
    dw_folder_kind kind = {
        .done = done, .pending = dw_actor_effect_count(actor) > 0, .full = !options.delta};
    dw_actor_folder_next(store->folder, dw_actor_id(actor), &store->chain, &kind, path);
    dw_status status = dw_actor_freeze(actor, path, &options, stats, err);
    if (status != DW_OK) {
        return status;
    }
    if (!options.delta) {
        dw_actor_folder_drop(&store->chain);
    }
    return dw_actor_folder_chain(store->folder, dw_actor_id(actor), &store->chain, err);
}

/* A new actor's folder: upon the chain of another, or all of it. */
static dw_status write_new_actor(dw_store *store, dw_actor *actor, const dw_folder_chain *chain,
                                 dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    dw_freeze_options options = {.delta = chain != NULL, .without_module = true};
    dw_status status = keep_module(store, dw_actor_module(actor), err);
    if (status == DW_OK) {
        status = dw_actor_folder_make(store->folder, dw_actor_id(actor), chain, path, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw_actor_freeze(actor, path, &options, NULL, err);
    if (status == DW_OK) {
        status = dw_actor_folder_show(store->folder, dw_actor_id(actor), err);
    }
    if (status != DW_OK) { /* a full disk is not to be filled with halves of actors */
        (void)dw_actor_folder_remove(store->folder, dw_actor_id(actor), NULL);
    }
    return status;
}

dw_status dw_store_spawn(dw_store *store, dw_module *module, const dw_actor_options *options,
                         char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    dw_actor *actor = NULL;
    dw_status status = dw_actor_spawn(&actor, module, options, err);
    if (status == DW_OK) {
        status = write_new_actor(store, actor, NULL, err);
    }
    if (status == DW_OK) {
        memcpy(id, dw_actor_id(actor), DW_ACTOR_ID_CHARS + 1);
    }
    dw_actor_destroy(actor);
    return status;
}

/* A fork's snapshot is a delta upon what the parent's folder holds, which must be the parent as it
 * is. */
static dw_status settle_fork(dw_store *store, dw_actor *parent, const char *id, dw_error *err)
{
    dw_actor *child = NULL;
    dw_status status = dw_actor_fork(&child, parent, id, err);
    if (status == DW_OK) {
        status = dw_actor_folder_chain(store->folder, dw_actor_id(parent), &store->parent, err);
    }
    bool room = store->parent.count + 1 < DELTAS_MAX && child != NULL && dw_actor_has_base(child);
    if (status == DW_OK) {
        status = write_new_actor(store, child, room ? &store->parent : NULL, err);
    }
    dw_actor_destroy(child);
    return status;
}

dw_status dw_store_fork(dw_store *store, const char *id, char child[DW_ACTOR_ID_CHARS + 1],
                        dw_error *err)
{
    dw_actor *parent = NULL;
    char made[DW_ACTOR_ID_CHARS + 1];
    dw_actor_new_id(made);
    dw_status status = thaw(store, id, NULL, &parent, NULL, err);
    if (status == DW_OK) {
        status = settle_fork(store, parent, made, err);
    }
    if (status == DW_OK) {
        memcpy(child, made, sizeof made);
    }
    dw_actor_destroy(parent);
    return status;
}

dw_status dw_store_add(dw_store *store, dw_actor *actor, char id[DW_ACTOR_ID_CHARS + 1],
                       dw_error *err)
{
    char before[DW_ACTOR_ID_CHARS + 1];
    char fresh[DW_ACTOR_ID_CHARS + 1];
    memcpy(before, dw_actor_id(actor), sizeof before);
    dw_actor_new_id(fresh);
    dw_actor_set_id(actor, fresh);
    dw_status status = write_new_actor(store, actor, NULL, err);
    if (status == DW_OK) {
        memcpy(id, fresh, sizeof fresh);
    }
    dw_actor_set_id(actor, before);
    return status;
}

dw_status dw_store_freeze(dw_store *store, const char *id, dw_freeze_stats *stats, dw_error *err)
{
    dw_actor *actor = NULL;
    dw_status status = thaw(store, id, NULL, &actor, NULL, err);
    if (status == DW_OK) {
        status = freeze(store, actor, store->chain.done, true, stats, err);
    }
    dw_actor_destroy(actor);
    return status;
}

dw_status dw_store_thaw(dw_store *store, const char *id, const dw_kv_type *kv_type,
                        dw_actor **actor, dw_thaw_stats *stats, dw_error *err)
{
    return thaw(store, id, kv_type, actor, stats, err);
}

dw_status dw_store_stop(dw_store *store, const char *id, dw_error *err)
{
    return dw_actor_folder_remove(store->folder, id, err);
}

/* ---- effects ---------------------------------------------------------------------------- */

static dw_status add_todo(dw_store *store, const char *id, dw_error *err)
{
    if (store->todo_count == store->todo_capacity) {
        size_t capacity = store->todo_capacity == 0 ? 16 : store->todo_capacity * 2;
        dw_actor_name *grown = dw_realloc(store->todo, capacity, sizeof *grown);
        if (grown == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
        }
        store->todo = grown;
        store->todo_capacity = capacity;
    }
    (void)snprintf(store->todo[store->todo_count++].id, sizeof store->todo[0].id, "%s", id);
    return DW_OK;
}

static void tell_problem(dw_store *store, const char *id, const dw_error *problem)
{
    if (store->options.on_problem != NULL) {
        store->options.on_problem(store->options.user, id, problem);
    }
}

static dw_status deliver(dw_store *store, dw_message_file *file, const dw_actor_effect *effect,
                         dw_error *err)
{
    dw_status status = dw_actor_folder_accept(store->folder, effect->actor, file, effect->message,
                                              effect->message_bytes, err);
    return status == DW_OK ? add_todo(store, effect->actor, err) : status;
}

static dw_status spawn_for(dw_store *store, const dw_actor *parent, const dw_actor_effect *effect,
                           dw_error *err)
{
    dw_module *module = dw_actor_module(parent);
    dw_actor *actor = NULL;
    dw_status status = DW_OK;
    if (!dw_actor_id_good(effect->actor)) {
        return dw_fail(err, DW_E_FORMAT, "spawn: '%.40s' is no actor's id", effect->actor);
    }
    if (effect->guest[0] != '\0') {
        status = store->options.find_guest != NULL
                     ? store->options.find_guest(store->options.user, effect->guest, &module, err)
                     : dw_fail(err, DW_E_NOT_FOUND, "no guest '%.80s'", effect->guest);
        if (status != DW_OK) { /* whatever the reason: it will be no other the next time */
            return dw_fail_within(err, DW_E_NOT_FOUND, "spawn");
        }
    }
    if (status == DW_OK) {
        status = dw_actor_spawn(&actor, module, dw_actor_granted(parent), err);
    }
    if (status == DW_OK) {
        dw_actor_set_id(actor, effect->actor);
        status = write_new_actor(store, actor, NULL, err);
    }
    dw_actor_destroy(actor);
    return status;
}

static dw_status carry_out(dw_store *store, dw_actor *actor, const dw_actor_effect *effect,
                           bool *stop, dw_error *err)
{
    dw_status status = DW_OK;
    dw_message_file file = {.effect = effect->number};
    (void)snprintf(file.from, sizeof file.from, "%s", dw_actor_id(actor));
    if (effect->kind == DW_EFFECT_STOP) {
        *stop = true;
        return DW_OK;
    }
    if (dw_actor_folder_was_delivered(store->folder, effect->actor, &file)) {
        return DW_OK; /* carried out before; who was made or told has ended since */
    }
    switch (effect->kind) {
    case DW_EFFECT_SPAWN:
    case DW_EFFECT_FORK:
        if (!dw_actor_folder_has(store->folder, effect->actor)) {
            status = effect->kind == DW_EFFECT_SPAWN
                         ? spawn_for(store, actor, effect, err)
                         : settle_fork(store, actor, effect->actor, err);
        }
        break;
    default:
        break;
    }
    return status == DW_OK ? deliver(store, &file, effect, err) : status;
}

/* The folder's failure, not the effect's: it may be carried out another time. */
static bool is_transient(dw_status status)
{
    return status == DW_E_IO || status == DW_E_MEMORY;
}

/* All effects of an actor that was just frozen with them. One that cannot be carried out is told of
 * and dropped, since it would fail again; but where the disk is full, say, all are kept for the
 * next time, when those carried out already change nothing. `*stop`: the actor is to end. */
static dw_status carry_out_all(dw_store *store, dw_actor *actor, uint64_t done, bool *stop,
                               dw_error *err)
{
    size_t count = dw_actor_effect_count(actor);
    for (size_t i = 0; i < count; i++) {
        dw_actor_effect effect;
        dw_error problem;
        dw_status status = dw_actor_effect_at(actor, i, &effect, err);
        if (status != DW_OK) {
            return status;
        }
        status = carry_out(store, actor, &effect, stop, &problem);
        if (is_transient(status)) {
            *stop = false;
            return dw_fail(err, status, "what the actor asked for waits: %s", problem.message);
        }
        if (status != DW_OK) {
            tell_problem(store, dw_actor_id(actor), &problem);
        }
    }
    if (count == 0 || *stop) {
        return DW_OK;
    }
    dw_actor_drop_effects(actor, count);
    return freeze(store, actor, done, wants_full(&store->chain), NULL, err);
}

/* ---- work ------------------------------------------------------------------------------- */

/* An actor in memory, from its thawing until nothing waits for it; again if it breaks off. */
typedef struct session {
    dw_store *store;
    dw_actor *actor;
    awaited *waits;  /* NULL: nobody does */
    uint64_t now_ms; /* when its timers were last looked at */
    bool broke;      /* it broke off: the folder has it as it was before the message */
    bool inside;     /* the message last worked on was in the actor itself */
    bool stop;       /* it asked for its end */
} session;

static bool is_awaited(const session *r, const dw_message_file *file)
{
    return r->waits != NULL && file != NULL && r->waits->number == file->number &&
           strcmp(r->waits->id, dw_actor_id(r->actor)) == 0;
}

/* Work on the actor's next message, write what came of it, and carry out what it asked for.
 * `file`: the file that it came in, NULL for one that was in the actor. */
static dw_status receive_message(session *r, const dw_message_file *file, dw_error *err)
{
    dw_store *store = r->store;
    dw_error problem = {.code = DW_OK};
    awaited *waits = is_awaited(r, file) ? r->waits : NULL;
    uint64_t done = file != NULL ? file->number : store->chain.done;
    dw_status answer = dw_actor_receive(r->actor, waits != NULL ? waits->on_answer : NULL,
                                        waits != NULL ? waits->user : NULL, &problem);
    r->broke = dw_actor_is_broken(r->actor);
    r->inside = file == NULL;
    if (answer != DW_OK && waits != NULL) {
        waits->status = dw_fail(waits->err, answer, "%s", problem.message);
    } else if (answer != DW_OK) {
        tell_problem(store, dw_actor_id(r->actor), &problem);
    }
    dw_status status = DW_OK;
    if (!r->broke) {
        status = freeze(store, r->actor, done, wants_full(&store->chain), NULL, err);
    }
    if (status == DW_OK && file != NULL) {
        dw_status removed =
            dw_actor_folder_delivered(store->folder, dw_actor_id(r->actor), file, err);
        status = r->broke ? removed : DW_OK; /* else the snapshot's name says that it is done */
    }
    if (status == DW_OK && waits != NULL) {
        waits->settled = true;
    }
    if (status == DW_OK && !r->broke) {
        status = carry_out_all(store, r->actor, done, &r->stop, err);
    }
    return status;
}

/* What waits in the actor itself: timers that are due, messages that came with it. `drop`: it broke
 * off at the first of them, which no file holds that could be removed, so it goes from the
 * snapshot; else it would be worked on for ever. */
static dw_status process_pending(session *r, bool drop, dw_error *err)
{
    uint64_t now_ms = dw_os_wall_ms();
    r->now_ms = now_ms > r->now_ms ? now_ms : r->now_ms; /* what was due stays due */
    dw_status status = dw_actor_fire_timers(r->actor, r->now_ms, err);
    status = status == DW_E_BUSY ? DW_OK : status;
    if (status == DW_OK && drop) {
        dw_folder_chain *chain = &r->store->chain;
        dw_actor_drop_message(r->actor);
        status = freeze(r->store, r->actor, chain->done, wants_full(chain), NULL, err);
    }
    while (status == DW_OK && dw_actor_waiting(r->actor) > 0 && !r->broke && !r->stop) {
        status = receive_message(r, NULL, err);
    }
    return status;
}

/* One message that waits in the folder. */
static dw_status process_message(session *r, const dw_message_file *file, dw_error *err)
{
    dw_store *store = r->store;
    char *message = NULL;
    size_t bytes = 0;
    dw_error problem;
    dw_status status =
        dw_actor_folder_read(store->folder, dw_actor_id(r->actor), file, &message, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_actor_send(r->actor, file->from, message, bytes, &problem);
    dw_free(message);
    if (status == DW_OK) {
        return receive_message(r, file, err);
    }
    if (is_transient(status)) {
        return dw_fail(err, status, "%s", problem.message);
    }
    /* One that it does not take, being too long, would never be taken. */
    bool awaits = is_awaited(r, file);
    if (awaits) {
        r->waits->status = dw_fail(r->waits->err, status, "%s", problem.message);
    } else {
        tell_problem(store, dw_actor_id(r->actor), &problem);
    }
    status = dw_actor_folder_delivered(store->folder, dw_actor_id(r->actor), file, err);
    if (status == DW_OK && awaits) {
        r->waits->settled = true;
    }
    return status;
}

static dw_status process_messages(session *r, dw_error *err)
{
    dw_status status = DW_OK;
    bool more = true;
    while (status == DW_OK && more && !r->broke && !r->stop) {
        dw_message_file *files = NULL;
        size_t count = 0;
        status = dw_actor_folder_files(r->store->folder, dw_actor_id(r->actor),
                                       r->store->chain.done, &files, &count, err);
        more = count > 0;
        for (size_t i = 0; status == DW_OK && i < count && !r->broke && !r->stop; i++) {
            status = process_message(r, &files[i], err);
        }
        dw_free(files);
    }
    return status;
}

static dw_status process_actor(session *r, const char *id, dw_error *err)
{
    dw_store *store = r->store;
    bool drop = r->broke && r->inside;
    r->broke = false;
    dw_status status = thaw(store, id, NULL, &r->actor, NULL, err);
    if (status == DW_OK && store->chain.pending) {
        status = carry_out_all(store, r->actor, store->chain.done, &r->stop, err);
    }
    if (status == DW_OK && !r->stop) {
        status = process_pending(r, drop, err);
    }
    if (status == DW_OK && !r->broke) {
        status = process_messages(r, err);
    }
    dw_actor_destroy(r->actor);
    if (status == DW_OK && r->stop) {
        status = dw_actor_folder_remove(store->folder, id, err);
    }
    return status;
}

/* One that breaks off is thawed again: more may wait for it. */
static dw_status process_actor_until_done(dw_store *store, const char *id, awaited *waits,
                                          dw_error *err)
{
    session r = {.store = store, .waits = waits};
    dw_status status = DW_OK;
    bool again = true;
    while (again && status == DW_OK && dw_actor_folder_has(store->folder, id)) {
        status = process_actor(&r, id, err);
        again = r.broke;
    }
    return status;
}

/* One actor's failure (its model is not here, say) holds up no other: it is told of and counted,
 * and what waits for that actor goes on waiting. The awaited one's is the result, unless its
 * message is settled: what came of it waits, too. */
static dw_status process_all(dw_store *store, awaited *waits, size_t *failed, dw_error *err)
{
    dw_status status = DW_OK;
    *failed = 0;
    for (size_t i = 0; i < store->todo_count && status == DW_OK; i++) {
        char id[DW_ACTOR_ID_CHARS + 1]; /* the list may move */
        dw_error problem;
        memcpy(id, store->todo[i].id, sizeof id);
        status = process_actor_until_done(store, id, waits, &problem);
        bool awaits = waits != NULL && !waits->settled && strcmp(waits->id, id) == 0;
        if (status != DW_OK && awaits) {
            (void)dw_fail(err, status, "%s", problem.message);
        } else if (status != DW_OK) {
            tell_problem(store, id, &problem);
            (*failed)++;
            status = DW_OK;
        }
    }
    store->todo_count = 0;
    return status;
}

dw_status dw_store_send(dw_store *store, const char *id, const dw_actor_effect *message,
                        dw_write_fn on_answer, void *user, dw_error *err)
{
    dw_message_file file = {.effect = 0};
    dw_error answer = {.code = DW_OK};
    size_t failed = 0;
    awaited waits = {.id = id, .on_answer = on_answer, .user = user, .err = &answer};
    if (!dw_actor_folder_has(store->folder, id)) {
        return dw_fail(err, DW_E_NOT_FOUND, "no actor '%.40s'", id);
    }
    dw_status status = dw_actor_folder_accept(store->folder, id, &file, message->message,
                                              message->message_bytes, err);
    if (status == DW_OK) {
        waits.number = file.number;
        status = add_todo(store, id, err);
    }
    if (status == DW_OK) {
        status = process_all(store, &waits, &failed, err);
    }
    if (status != DW_OK && file.number > 0) {
        /* Who is told that it failed sends it again: it must not be worked on twice. */
        (void)dw_actor_folder_delivered(store->folder, id, &file, NULL);
    }
    if (status == DW_OK && !waits.settled) {
        return dw_fail(err, DW_E_NOT_FOUND, "actor %.40s ended before this message", id);
    }
    return status == DW_OK && waits.status != DW_OK
               ? dw_fail(err, waits.status, "%s", answer.message)
               : status;
}

dw_status dw_store_run(dw_store *store, dw_error *err)
{
    dw_actor_name *names = NULL;
    size_t count = 0;
    size_t failed = 0;
    dw_status status = dw_actor_folder_list(store->folder, &names, &count, err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = add_todo(store, names[i].id, err);
    }
    dw_free(names);
    if (status == DW_OK) {
        status = process_all(store, NULL, &failed, err);
    }
    return status == DW_OK && failed > 0
               ? dw_fail(err, DW_E_STATE, "%zu of %zu actors could not work", failed, count)
               : status;
}
