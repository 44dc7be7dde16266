/* Actors kept in a state folder: a dw__keeper over src/store's. */
#include "runtime/folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/hash.h"
#include "kv/kv_kept.h"
#include "runtime/guests.h"
#include "runtime/runtime_internal.h"
#include "snapshot/snapshot_file.h"
#include "snapshot/thaw.h"

/* An actor's snapshots, each a file that is open while it is read: as many as descriptors allow.
 * With each freeze beyond that one is written once more, so it is as many as the turns that a
 * context of 131,072 tokens has at 16 each. */
#define FILES_MAX 8192u
#define FILES_LEAST 16u
#define DESCRIPTORS_WANTED 65536u

struct dw__folder {
    dw_engine *engine;
    dw_runtime_options options;
    dw_limits limits; /* what is set of actors that are read */
    uint64_t folder_bytes;
    uint32_t files_max; /* of an actor */
    dw_actor_folder *folder;
    dw_journal *journal;
    struct dw__host *host; /* whose workers read actors; NULL: nobody's */
    pthread_mutex_t lock;  /* guards what follows */
    dw_module **modules;   /* [module_count]: compiled so far; counted */
    size_t module_count;
    size_t module_capacity;
};

/* ---- modules and models ---------------------------------------------------------------------- */

static dw_module *find_kept(struct dw__folder *f, const char *sha256)
{
    dw_module *found = NULL;
    (void)pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->module_count && found == NULL; i++) {
        found = strcmp(dw_module_hash(f->modules[i]), sha256) == 0 ? f->modules[i] : NULL;
    }
    (void)pthread_mutex_unlock(&f->lock);
    return found;
}

/* Counts the module, and keeps it in memory; or, where another was quicker, `*module` is that. */
static dw_status keep_module(struct dw__folder *f, dw_module **module, dw_error *err)
{
    dw_status status = DW_OK;
    (void)pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->module_count; i++) {
        if (strcmp(dw_module_hash(f->modules[i]), dw_module_hash(*module)) == 0) {
            *module = f->modules[i];
            (void)pthread_mutex_unlock(&f->lock);
            return DW_OK;
        }
    }
    if (DW_ARRAY_RESERVE(f->modules, f->module_capacity, f->module_count + 1, SIZE_MAX)) {
        f->modules[f->module_count++] = dw_module_ref(*module);
    } else {
        status = dw_fail(err, DW_E_MEMORY, "no memory for a list of modules");
    }
    (void)pthread_mutex_unlock(&f->lock);
    return status;
}

static dw_status compile_module(struct dw__folder *f, const char *sha256, dw_module **module,
                                dw_error *err)
{
    char *wasm = NULL;
    size_t bytes = 0;
    char hash[DW_SHA256_TEXT];
    dw_status status = dw_actor_folder_read_module(f->folder, sha256, &wasm, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    dw_sha256_text(hash, wasm, bytes);
    status = strcmp(hash, sha256) == 0
                 ? dw_module_create(module, f->engine, wasm, bytes, err)
                 : dw_fail(err, DW_E_FORMAT, "the folder's module %s is damaged", sha256);
    dw_free(wasm);
    return status;
}

static dw_status find_module(struct dw__folder *f, const char *sha256, dw_module **module,
                             dw_error *err)
{
    dw_module *compiled = NULL;
    *module = find_kept(f, sha256);
    if (*module != NULL) {
        return DW_OK;
    }
    dw_status status = compile_module(f, sha256, &compiled, err);
    if (status != DW_OK) {
        return status;
    }
    *module = compiled;
    status = keep_module(f, module, err);
    dw_module_unref(compiled);
    return status;
}

/* Whose an actor is that is read; `search` is the first member. */
typedef struct reading {
    dw__model_search search;
    struct dw__folder *folder;
} reading;

static dw_status find_actors_module(void *user, const char *sha256, dw_module **module,
                                    dw_error *err)
{
    return find_module(((reading *)user)->folder, sha256, module, err);
}

void dw__folder_use_workers(struct dw__folder *folder, struct dw__host *host)
{
    folder->host = host;
}

/* ---- looking --------------------------------------------------------------------------------- */

static dw_status look(void *user, const char *id, dw_actor_row *row, dw_error *err)
{
    return dw_actor_folder_row(((struct dw__folder *)user)->folder, id, row, err);
}

static dw_status list(void *user, const char *from, dw_actor_name *names, size_t max, size_t *count,
                      dw_error *err)
{
    return dw_actor_folder_list_from(((struct dw__folder *)user)->folder, from, names, max, count,
                                     err);
}

static dw_status page(void *user, const char *from, dw_actor_item *items, size_t max, size_t *count,
                      dw_error *err)
{
    return dw_actor_folder_page(((struct dw__folder *)user)->folder, from, items, max, count, err);
}

static dw_status list_paths(void *user, const char *id, void (*take)(void *to, const char *path),
                            void *to, dw_error *err)
{
    dw_snapshot_chain chain = {.count = 0};
    dw_actor_folder *folder = ((struct dw__folder *)user)->folder;
    dw_status status = dw_actor_folder_read_chain(folder, id, &chain, err);
    for (size_t i = 0; i < chain.count && status == DW_OK; i++) {
        if (chain.rows[i].covers == 0) {
            take(to, chain.list[i]);
        } else {
            dw__series_list(folder, id, &chain.rows[i], take, to);
        }
    }
    dw_snapshot_chain_release(&chain);
    return status;
}

static dw_status list_waiting(void *user, const char *from, dw_actor_name *names, size_t max,
                              size_t *count, dw_error *err)
{
    return dw_actor_folder_list_waiting(((struct dw__folder *)user)->folder, from, names, max,
                                        count, err);
}

static dw_status list_timed(void *user, dw_timed_cursor *cursor, dw_actor_name *names, size_t max,
                            size_t *count, dw_error *err)
{
    return dw_actor_folder_list_timed(((struct dw__folder *)user)->folder, cursor, names, max,
                                      count, err);
}

static dw_status next_timer(void *user, uint64_t after_ms, uint64_t *timer_ms, dw_error *err)
{
    return dw_actor_folder_next_timer(((struct dw__folder *)user)->folder, after_ms, timer_ms, err);
}

static dw_status list_mail(void *user, const char *id, dw_mail_row **rows, size_t *count,
                           dw_error *err)
{
    return dw_actor_folder_list_mail(((struct dw__folder *)user)->folder, id, rows, count, err);
}

static dw_status read_message(void *user, const char *id, uint64_t number, char **content,
                              size_t *bytes, dw_error *err)
{
    return dw_actor_folder_read_message(((struct dw__folder *)user)->folder, id, number, content,
                                        bytes, err);
}

static dw_status count_tree(void *user, const char *head, size_t *count, dw_error *err)
{
    return dw_actor_folder_count_tree(((struct dw__folder *)user)->folder, head, count, err);
}

static dw_status find_name(void *user, const char *tenant, const char *name, dw_actor_name *found,
                           dw_error *err)
{
    return dw_actor_folder_find_name(((struct dw__folder *)user)->folder, tenant, name, found, err);
}

static dw_status read_names(void *user, const char *id, dw_actor_names *names, dw_error *err)
{
    return dw_actor_folder_read_names(((struct dw__folder *)user)->folder, id, names, err);
}

static dw_status look_at_group(void *user, const char *tenant, const char *group, const char *id,
                               dw_group_look *how, dw_error *err)
{
    return dw_actor_folder_look_at_group(((struct dw__folder *)user)->folder, tenant, group, id,
                                         how, err);
}

static dw_status read_watches(void *user, const char *id, dw_actor_watches *watches, dw_error *err)
{
    return dw_actor_folder_read_watches(((struct dw__folder *)user)->folder, id, watches, err);
}

static dw_status look_at_watch(void *user, const char *watcher, const char *watched,
                               dw_watch_look *look, dw_error *err)
{
    return dw_actor_folder_look_at_watch(((struct dw__folder *)user)->folder, watcher, watched,
                                         look, err);
}

static dw_status list_group(void *user, dw_group_list *group, dw_error *err)
{
    return dw_actor_folder_list_group(((struct dw__folder *)user)->folder, group, err);
}

static dw_status list_tree(void *user, const char *id, dw_actor_name **names, size_t *count,
                           dw_error *err)
{
    return dw_actor_folder_list_tree(((struct dw__folder *)user)->folder, id, names, count, err);
}

static dw_status check_bytes(void *user, dw_error *err)
{
    const struct dw__folder *f = user;
    return dw_actor_folder_check_bytes(f->folder, f->folder_bytes, false, err);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* All of these on the journal's thread; `user` is a landing, the first member of what it is of. */
static void landed(void *user, dw_status status, const dw_error *problem)
{
    dw__land(user, status, problem);
}

static dw_status submit(struct dw__folder *f, dw__landing *landing, dw_journal_work_fn work,
                        dw_journal_done_fn done, dw_error *err)
{
    landing->piece = (dw_journal_piece){.work = work, .done = done, .user = landing};
    return dw_journal_submit(f->journal, &landing->piece, err);
}

static dw_status accept_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    return dw_actor_folder_accept_work(&((dw__posting *)user)->sent, tx, err);
}

static void accepted(void *user, dw_status status, const dw_error *problem)
{
    const dw__posting *posting = user;
    const struct dw__folder *f = posting->landing.runtime->keeper->user;
    if (status == DW_OK) {
        dw_actor_folder_add_bytes(f->folder, posting->sent.message.bytes);
    }
    landed(user, status, problem);
}

static dw_status accept(void *user, dw__posting *posting, dw_error *err)
{
    return submit(user, &posting->landing, accept_work, accepted, err);
}

static dw_status drop_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    return dw_actor_folder_drop_work(&((dw__posting *)user)->sent, tx, err);
}

static void dropped(void *user, dw_status status, const dw_error *problem)
{
    const dw__posting *posting = user;
    const struct dw__folder *f = posting->landing.runtime->keeper->user;
    bool marked =
        status != DW_OK && dw_actor_folder_mark_withdrawn(f->folder, posting->sent.to,
                                                          posting->sent.message.number, NULL);
    landed(user, marked ? DW_OK : status, marked ? NULL : problem);
}

static dw_status drop(void *user, dw__posting *posting, dw_error *err)
{
    return submit(user, &posting->landing, drop_work, dropped, err);
}

static dw_status commit_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    return dw_actor_folder_commit_work(&((dw__turn *)user)->folder, tx, err);
}

static dw_status commit(void *user, dw__turn *turn, dw_error *err)
{
    return submit(user, &turn->landing, commit_work, landed, err);
}

static dw_status commit_waiting(void *user, dw__turn *turn, dw_error *err)
{
    return dw_journal_write(((struct dw__folder *)user)->journal, commit_work, turn, false, err);
}

/* ---- reading and writing actors -------------------------------------------------------------- */

static dw_status try(void *user, const char *id, const dw_attempted *work, dw_error *err)
{
    return dw_actor_folder_try(((struct dw__folder *)user)->folder, id, work, err);
}

static void tried(void *user, const char *id)
{
    dw_actor_folder_tried(((struct dw__folder *)user)->folder, id, true);
}

static void take_chain(dw__kept *kept, const dw_snapshot_chain *chain)
{
    const dw_snapshot_row *last = &chain->rows[chain->count - 1];
    *kept = (dw__kept){.sequence = chain->sequence,
                       .done = chain->done,
                       .count = (uint32_t)chain->count,
                       .series = last->series,
                       .end = dw_snapshot_place_end(last->begin, last->length),
                       .incomplete = chain->incomplete,
                       .pending = chain->pending};
}

/* Whether each is known by its identity; those of earlier programs are not. */
static bool knows_all(const dw_snapshot_chain *chain)
{
    size_t count = 0;
    while (count < chain->count && chain->rows[count].identity[0] != '\0') {
        count++;
    }
    return count == chain->count;
}

/* The actor has the numbers of its files. Where one is known by its base alone, that must not go:
 * it is written whole the next time. */
static void number_files(struct dw__folder *f, const char *id, dw_actor *actor,
                         const dw_snapshot_chain *chain)
{
    dw_series_look look = {.taken = 0};
    dw_actor_map_files(actor, f->files_max);
    if (!knows_all(chain)) {
        dw_actor_forget_files(actor);
    }
    for (size_t i = 0; i < chain->count; i++) {
        const dw_snapshot_row *row = &chain->rows[i];
        dw_actor_number_file(actor, i, row->sequence, row->bytes);
        if (row->series != 0 && (i == 0 || row[-1].series != row->series)) {
            dw_actor_folder_look_at_series(f->folder, id, row->series, &look);
        }
        const bool last = i + 1 == chain->count || row[1].series != row->series;
        if (row->series != 0) {
            dw_actor_place_file(actor, i, row->series, last ? look.taken : 0);
        }
    }
}

/* The models of an actor that was read are those that its tenant may have. */
static dw_status check_models(dw_runtime *runtime, const dw__record *record, const dw_actor *actor,
                              dw_error *err)
{
    const dw_instance_options *instance = &dw_actor_settings_of(actor)->instance;
    return dw__tenant_may_have(runtime, record->tenant->name, instance->models,
                               instance->model_count, err);
}

/* `folders`: granted now; may be NULL. */
static dw_status read_actor(reading *of, const char *id, uint64_t number,
                            const dw__folders *folders, dw__thawed *thawed, dw_error *err)
{
    struct dw__folder *f = of->folder;
    dw_actor *actor = NULL;
    char path[DW_FOLDER_PATH_MAX];
    const char *const paths[] = {path};
    dw_snapshot_chain chain = {.count = 0};
    dw_status status = dw_actor_folder_read_chain(f->folder, id, &chain, err);
    if (status == DW_OK) {
        const bool newest = number == 0;
        take_chain(&thawed->kept, &chain);
        dw_actor_folder_kept_path(f->folder, id, number, path);
        const dw_thaw_options options = {.struct_bytes = sizeof options,
                                         .paths = newest ? chain.list : paths,
                                         .path_count = newest ? chain.count : 1,
                                         .identities = newest ? chain.identities : NULL,
                                         .indexes = newest ? chain.indexes : NULL,
                                         .find_wanted = dw__model_search_find,
                                         .find_module = find_actors_module,
                                         .find_user = of,
                                         .id = id,
                                         .trusted = true,
                                         .on_stderr = f->options.on_stderr,
                                         .on_call = f->options.on_call,
                                         .user = f->options.user,
                                         .limits = &f->limits,
                                         .dirs = folders != NULL ? folders->dirs : NULL,
                                         .dir_count = folders != NULL ? folders->count : 0};
        status = dw_engine_bring_back(&actor, f->engine, f, &options, err);
    }
    if (status == DW_OK) {
        number_files(f, id, actor, &chain);
        dw_kv_kept_forget(dw_engine_device(f->engine), f, id); /* of others, or ill fitting */
    }
    thawed->given = actor;
    dw_snapshot_chain_release(&chain);
    return status;
}

static dw_status thaw(void *user, dw__record *record, const char *id, uint64_t number,
                      dw__thawed *thawed, dw_error *err)
{
    struct dw__folder *f = user;
    dw__seed *own = NULL;
    dw_runtime *runtime = record->own->runtime;
    reading of = {.folder = f};
    dw__model_search_begin(&of.search, runtime, record->tenant->name);
    of.search.options = &f->options;
    of.search.host = f->host;
    dw__folders *folders = dw__tenant_folders(runtime, record->tenant->name);
    dw_status status = read_actor(&of, id, number, folders, thawed, err);
    dw_actor *actor = thawed->given;
    dw__folders_unref(folders);
    if (status == DW_OK) {
        status = check_models(runtime, record, actor, err);
    }
    if (status == DW_OK) {
        const dw__host *host = dw__runtime_platform(runtime);
        dw_actor_settings *settings = dw_actor_settings_ref(dw_actor_settings_of(actor));
        dw__prefixes_load(host->prefixes, &settings->instance);
        status = dw__seed_create(&own, dw_actor_module(actor), settings, err);
        if (status != DW_OK) {
            dw_actor_settings_unref(settings);
        }
    }
    if (status != DW_OK) {
        dw_actor_destroy(actor);
        thawed->given = NULL;
        return status;
    }
    thawed->seed = own;
    return DW_OK;
}

static dw_status list_kept(void *user, const char *id, uint64_t numbers[DW_FOLDER_KEPT_MAX],
                           size_t *count, dw_error *err)
{
    return dw_actor_folder_list_kept(((struct dw__folder *)user)->folder, id, numbers, count, err);
}

/* A delta needs to know which file holds what: not so after a failure, nor of earlier programs. One
 * that may not have much more makes room first: a full one is in the place of all others. */
static bool wants_full(const dw__kept *kept, dw_actor *actor)
{
    const size_t count = dw_actor_file_count(actor);
    const uint64_t limit = dw_instance_limits(dw_actor_instance(actor))->actor_bytes;
    const uint64_t taken = dw_actor_file_bytes(actor);
    const uint64_t needed = dw_actor_needed_bytes(actor, 0);
    return kept->incomplete || count == 0 || count + 1 >= DW_SNAPSHOT_CHAIN_MAX ||
           (taken > limit / 2 && needed < taken - taken / 4);
}

static void note_file(dw_snapshot_row *row, dw_actor *actor, const dw_freeze_stats *stats)
{
    row->bytes = stats->written_bytes;
    row->length = row->series != 0 ? stats->file_bytes : 0;
    memcpy(row->identity, stats->identity, sizeof row->identity);
    dw_actor_number_newest(actor, row->sequence);
}

/* Files that hold nothing of the actor any more go with the turn. For want of memory they stay
 * until it is read again. */
static void let_go(dw__turn *turn, dw_actor *actor)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    if (dw_actor_drop_files(actor, &numbers, &count, NULL) == DW_OK && count > 0) {
        turn->folder.gone = dw_alloc(count, sizeof *turn->folder.gone);
        turn->folder.gone_count = turn->folder.gone != NULL ? count : 0;
        turn->folder.snapshot.drops = turn->folder.gone_count > 0;
    }
    for (size_t i = 0; i < turn->folder.gone_count; i++) {
        turn->folder.gone[i] = (dw_snapshot_row){.sequence = numbers[i]};
    }
    dw_free(numbers);
}

static void note_bytes(dw__written *written, const dw_freeze_stats *stats)
{
    written->freezes++;
    written->last = *stats;
    written->bytes += stats->written_bytes;
    written->new_bytes += stats->new_bytes;
}

/* Another module than before goes into the folder with the actor's state. */
static dw_status change_module(struct dw__folder *f, dw__turn *turn, const dw_actor *actor,
                               dw_error *err)
{
    dw_module *module = dw_actor_module(actor);
    dw_module_file file = {.hash = dw_module_hash(module)};
    file.wasm = dw_module_wasm(module, &file.bytes);
    dw_status status = keep_module(f, &module, err);
    return status == DW_OK ? dw_actor_folder_change_module(f->folder, &turn->folder, &file, err)
                           : status;
}

/* With the file that was written now. */
static dw_status check_files(dw_actor *actor, const char *id, dw_error *err)
{
    const uint64_t limit = dw_instance_limits(dw_actor_instance(actor))->actor_bytes;
    const uint64_t bytes = dw_actor_file_bytes(actor);
    if (bytes <= limit) {
        return DW_OK;
    }
    char text[2][DW_LIMIT_TEXT_BYTES];
    dw_limit_format(DW_LIMIT_BYTES, bytes, text[0]);
    dw_limit_format(DW_LIMIT_BYTES, limit, text[1]);
    return dw_fail(err, DW_E_LIMIT, "actor %s: its files would take %s, limit %s (actor_bytes)", id,
                   text[0], text[1]);
}

static dw_status freeze(void *user, dw__turn *turn, void *body, dw_error *err)
{
    struct dw__folder *f = user;
    dw_actor *actor = dw__body_actor(body);
    dw__kept *kept = &turn->kept;
    dw_snapshot_row *row = &turn->folder.snapshot;
    char path[DW_FOLDER_PATH_MAX];
    char part[DW_FOLDER_PATH_MAX];
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    dw_freeze_options options = {.struct_bytes = sizeof options,
                                 .delta = dw_actor_has_base(actor) && !turn->whole &&
                                          !wants_full(kept, actor),
                                 .without_module = true,
                                 .part_path = part};
    uint64_t timer_ms = dw_actor_timer_ms(actor);
    if (kept->sequence == UINT64_MAX) {
        return dw_fail(err, DW_E_LIMIT, "actor %s: %" PRIu64 " snapshots, which is the limit",
                       turn->folder.id, kept->sequence);
    }
    turn->folder.inside = dw_actor_waiting(actor);
    turn->folder.timer_ms = timer_ms != 0 ? timer_ms : UINT64_MAX;
    turn->folder.has_state = true;
    row->full = !options.delta;
    row->sequence = kept->sequence + 1;
    if (options.delta) {
        dw__series_choose(f->folder, turn, actor);
    }
    dw_actor_folder_snapshot_path(f->folder, turn->folder.id, row, path);
    dw_actor_folder_part_path(f->folder, part);
    dw_actor_map_files(actor, f->files_max);
    dw_status status = turn->upgrades ? change_module(f, turn, actor, err) : DW_OK;
    if (status == DW_OK) {
        status = dw_actor_freeze(actor, path, &options, &stats, err);
    }
    if (status == DW_OK) {
        note_file(row, actor, &stats);
        status = dw_actor_folder_snapshot_written(f->folder, row, path, err);
    }
    if (status == DW_OK) {
        dw__series_note(f->folder, turn, actor);
        status = check_files(actor, turn->folder.id, err);
    }
    if (status == DW_OK && turn->keeps) {
        turn->folder.keeps = row->sequence;
        status = dw_actor_folder_keep(f->folder, turn->folder.id, row->sequence, path, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (!row->full) {
        let_go(turn, actor);
        dw__series_cover(f->folder, turn, actor, &stats);
    }
    note_bytes(&turn->written, &stats);
    kept->sequence = row->sequence;
    kept->done = row->done;
    kept->count = (uint32_t)dw_actor_file_count(actor);
    kept->incomplete = false;
    return DW_OK;
}

static dw_status write_new(struct dw__folder *f, const dw__making *making,
                           const dw_snapshot_chain *chain, dw_error *err)
{
    dw_new_actor *made = making->made;
    dw_actor *actor = dw__body_actor(making->body);
    char path[DW_FOLDER_PATH_MAX];
    char part[DW_FOLDER_PATH_MAX];
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    dw_freeze_options options = {.struct_bytes = sizeof options,
                                 .delta = chain != NULL,
                                 .without_module = true,
                                 .part_path = part};
    dw_module *module = dw_actor_module(actor);
    dw_module_file file = {.hash = dw_module_hash(module)};
    uint64_t timer_ms = dw_actor_timer_ms(actor);
    file.wasm = dw_module_wasm(module, &file.bytes);
    (void)snprintf(made->module, sizeof made->module, "%s", file.hash);
    made->inside = dw_actor_waiting(actor);
    made->timer_ms = timer_ms != 0 ? timer_ms : UINT64_MAX;
    dw_status status = keep_module(f, &module, err);
    if (status == DW_OK) {
        status = dw_actor_folder_make(f->folder, made, chain, path, err);
    }
    if (status == DW_OK) {
        status = dw_actor_folder_use_module(f->folder, made, &file, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_actor_folder_part_path(f->folder, part);
    dw_actor_map_files(actor, f->files_max);
    for (size_t i = 0; chain != NULL && i < chain->count; i++) {
        dw_actor_renumber_file(actor, chain->rows[i].sequence, made->rows[i].sequence,
                               made->rows[i].series);
    }
    status = dw_actor_freeze(actor, path, &options, &stats, err);
    if (status == DW_OK) {
        note_file(&made->rows[made->row_count], actor, &stats);
        made->rows[made->row_count].drops = chain != NULL; /* no state of its own is before that */
        note_bytes(making->written, &stats);
        made->keeps = making->keeps;
        status = making->keeps ? dw_actor_folder_keep(f->folder, made->id, 1, path, err) : DW_OK;
    }
    if (status == DW_OK) {
        status = dw_actor_folder_made(f->folder, made, path, err);
    }
    return status;
}

/* What a fork of `parent` can be a delta upon, with what `turn` has written: as many files as it
 * knows to hold something of it, or none. */
static dw_status read_parent(struct dw__folder *f, const dw__making *making, const dw_actor *actor,
                             dw_snapshot_chain *chain, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    const dw_turn *turn = making->turn;
    dw_status status = dw_actor_folder_read_chain(f->folder, making->parent, chain, err);
    if (status == DW_OK && turn != NULL && turn->has_state) {
        dw_snapshot_row row = turn->snapshot;
        dw_actor_folder_snapshot_path(f->folder, making->parent, &row, path);
        status = dw_actor_folder_add_snapshot(f->folder, chain, &row, path, err);
        if (status == DW_OK && turn->covered.covers > 0) {
            dw_snapshot_chain_cover(chain, &turn->covered);
        }
    }
    if (status == DW_OK) {
        dw_snapshot_chain_select(chain, dw__is_file_of, (void *)(uintptr_t)actor);
    }
    return status;
}

static dw_status make(void *user, const dw__making *making, dw_error *err)
{
    struct dw__folder *f = user;
    dw_actor *actor = dw__body_actor(making->body);
    dw_snapshot_chain chain = {.count = 0};
    const size_t known = dw_actor_file_count(actor);
    dw_status status = dw_actor_folder_check_bytes(f->folder, f->folder_bytes, true, err);
    if (status == DW_OK && making->parent != NULL && dw_actor_has_base(actor) && known > 0) {
        status = read_parent(f, making, actor, &chain, err);
    }
    if (status == DW_OK) { /* a delta upon what its parent has */
        bool delta = chain.count > 0 && chain.count == known && !chain.incomplete &&
                     chain.count + 1 < DW_SNAPSHOT_CHAIN_MAX;
        status = write_new(f, making, delta ? &chain : NULL, err);
    }
    if (status == DW_OK) {
        *making->kept = (dw__kept){.sequence = making->made->row_count,
                                   .count = (uint32_t)making->made->row_count};
    }
    dw_snapshot_chain_release(&chain);
    return status;
}

static void committed(void *user, dw__turn *turn)
{
    dw_actor_folder_committed(((struct dw__folder *)user)->folder, &turn->folder);
}

static dw_status find_call(void *user, const char *id, const dw_kept_call *call, bool *found,
                           dw_call_result *result, dw_error *err)
{
    return dw_actor_folder_find_call(((struct dw__folder *)user)->folder, id, call, found, result,
                                     err);
}

static dw_status note_call(void *user, const char *id, const dw_kept_call *call,
                           const dw_call_result *result, dw_error *err)
{
    return dw_actor_folder_note_call(((struct dw__folder *)user)->folder, id, call, result, err);
}

static void drop_calls(void *user, const char *id)
{
    dw_actor_folder_drop_calls(((struct dw__folder *)user)->folder, id);
}

static void take_back(void *user, const dw_turn *turn)
{
    dw_actor_folder_take_back(((struct dw__folder *)user)->folder, turn);
}

static bool was_delivered(void *user, const dw_sent *sent)
{
    return dw_actor_folder_was_delivered(((struct dw__folder *)user)->folder, sent);
}

static dw_status descent(void *user, const char *id, dw_descent *of, dw_error *err)
{
    return dw_actor_folder_read_descent(((struct dw__folder *)user)->folder, id, of, err);
}

/* ---- attempts and removals ------------------------------------------------------------------- */

static dw_status get_attempts(void *user, const char *id, const dw_attempted *work,
                              dw_attempts *attempts, dw_error *err)
{
    return dw_actor_folder_get_attempts(((struct dw__folder *)user)->folder, id, work, attempts,
                                        err);
}

static dw_status note_attempt(void *user, const char *id, dw_attempts *attempts, const char *reason,
                              dw_error *err)
{
    return dw_actor_folder_note_attempt(((struct dw__folder *)user)->folder, id, attempts, reason,
                                        err);
}

static dw_status set_aside(void *user, const char *id, uint64_t number, const dw_attempts *why,
                           dw_ending *ending, dw_error *err)
{
    return dw_actor_folder_set_aside(((struct dw__folder *)user)->folder, id, number, why, ending,
                                     err);
}

static dw_status tell_watchers(void *user, const char *id, dw_ending *event, dw_error *err)
{
    return dw_actor_folder_tell_watchers(((struct dw__folder *)user)->folder, id, event, err);
}

static dw_status set_traits(void *user, const char *id, const dw_actor_traits *traits,
                            dw_error *err)
{
    return dw_actor_folder_set_traits(((struct dw__folder *)user)->folder, id, traits, err);
}

static dw_status set_name(void *user, const char *id, const char *name, dw_error *err)
{
    return dw_actor_folder_set_name(((struct dw__folder *)user)->folder, id, name, err);
}

static dw_status change_group(void *user, const char *id, dw_group_change *change, dw_error *err)
{
    return dw_actor_folder_change_group(((struct dw__folder *)user)->folder, id, change, err);
}

static bool withdraw(void *user, const char *id, uint64_t number, const dw_actor_counts *counts)
{
    return dw_actor_folder_withdraw(((struct dw__folder *)user)->folder, id, number, counts);
}

static dw_status drop_aside(void *user, const char *id, uint64_t number, dw_error *err)
{
    return dw_actor_folder_drop_message(((struct dw__folder *)user)->folder, id, number, err);
}

static dw_status retry(void *user, const char *id, uint64_t number, uint64_t *fresh, dw_error *err)
{
    return dw_actor_folder_retry(((struct dw__folder *)user)->folder, id, number, fresh, err);
}

static dw_status remove_actors(void *user, const dw_actor_name *names, size_t count,
                               dw_ending *ending, dw_error *err)
{
    return dw_actor_folder_remove_all(((struct dw__folder *)user)->folder, names, count, ending,
                                      err);
}

static void forget_logs(void *user, const char *id)
{
    const struct dw__folder *f = user;
    dw_kv_kept_forget(dw_engine_device(f->engine), f, id);
}

static const dw__keeper functions = {.look = look,
                                     .list = list,
                                     .page = page,
                                     .list_paths = list_paths,
                                     .list_waiting = list_waiting,
                                     .list_timed = list_timed,
                                     .next_timer = next_timer,
                                     .list_mail = list_mail,
                                     .read_message = read_message,
                                     .count_tree = count_tree,
                                     .find_name = find_name,
                                     .read_names = read_names,
                                     .look_at_group = look_at_group,
                                     .list_group = list_group,
                                     .look_at_watch = look_at_watch,
                                     .read_watches = read_watches,
                                     .list_tree = list_tree,
                                     .accept = accept,
                                     .drop = drop,
                                     .commit = commit,
                                     .try = try,
                                     .tried = tried,
                                     .thaw = thaw,
                                     .list_kept = list_kept,
                                     .freeze = freeze,
                                     .make = make,
                                     .commit_waiting = commit_waiting,
                                     .committed = committed,
                                     .find_call = find_call,
                                     .note_call = note_call,
                                     .drop_calls = drop_calls,
                                     .take_back = take_back,
                                     .was_delivered = was_delivered,
                                     .descent = descent,
                                     .get_attempts = get_attempts,
                                     .note_attempt = note_attempt,
                                     .set_aside = set_aside,
                                     .tell_watchers = tell_watchers,
                                     .set_traits = set_traits,
                                     .set_name = set_name,
                                     .change_group = change_group,
                                     .withdraw = withdraw,
                                     .drop_aside = drop_aside,
                                     .retry = retry,
                                     .remove = remove_actors,
                                     .forget_logs = forget_logs,
                                     .check_bytes = check_bytes};

/* ---- life ------------------------------------------------------------------------------------ */

/* Each file of an actor is open while it is read, and some while it is in memory: the process may
 * have as many as the system lets it. */
static uint32_t files_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return FILES_LEAST;
    }
    const rlim_t wanted = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
    struct rlimit more = {.rlim_cur = wanted, .rlim_max = limit.rlim_max};
    if (limit.rlim_cur < wanted && setrlimit(RLIMIT_NOFILE, &more) == 0) {
        limit.rlim_cur = wanted;
    }
    const rlim_t share = limit.rlim_cur / 8;
    return share > FILES_MAX ? FILES_MAX : share < FILES_LEAST ? FILES_LEAST : (uint32_t)share;
}

dw_status dw__folder_open(struct dw__folder **out, dw_engine *engine,
                          const dw_runtime_options *options, const dw_limits *limits, dw_error *err)
{
    *out = NULL;
    struct dw__folder *f = dw_alloc(1, sizeof *f);
    if (f == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a runtime");
    }
    dw_limits own = *limits;
    dw_limits_fill(&own, &dw_limits_usual);
    f->engine = engine;
    f->options = *options;
    f->limits = *limits;
    f->folder_bytes = own.folder_bytes;
    f->files_max = files_max();
    (void)pthread_mutex_init(&f->lock, NULL);
    unsigned flags = (options->accept_older ? DW_FOLDER_ACCEPT_OLDER : 0u) |
                     (options->read_only ? DW_FOLDER_READ_ONLY : 0u);
    dw_status status = dw_actor_folder_open(&f->folder, options->path, flags, err);
    if (status != DW_OK) {
        dw__folder_close(f);
        return status;
    }
    f->journal = dw_actor_folder_journal(f->folder);
    *out = f;
    return DW_OK;
}

void dw__folder_close(struct dw__folder *f)
{
    if (f == NULL) {
        return;
    }
    dw_kv_kept_forget(dw_engine_device(f->engine), f, NULL); /* nobody comes for them */
    dw_actor_folder_close(f->folder);
    for (size_t i = 0; i < f->module_count; i++) {
        dw_module_unref(f->modules[i]);
    }
    dw_free(f->modules);
    (void)pthread_mutex_destroy(&f->lock);
    dw_free(f);
}

dw__keeper dw__folder_keeper(struct dw__folder *f)
{
    dw__keeper keeper = functions;
    keeper.user = f;
    return keeper;
}

dw_actor_folder *dw__folder_actors(struct dw__folder *f)
{
    return f->folder;
}

dw_status dw__folder_count(struct dw__folder *f,
                           void (*take)(void *user, const char *tenant, uint64_t actors),
                           void *user, dw_error *err)
{
    return dw_actor_folder_count_tenants(f->folder, take, user, err);
}

dw_status dw__folder_find(struct dw__folder *f, const char *start, char id[DW_ACTOR_ID_CHARS + 1],
                          dw_error *err)
{
    dw_actor_name name;
    dw_status status = dw_actor_folder_find(f->folder, start, &name, err);
    if (status == DW_OK) {
        memcpy(id, name.id, sizeof name.id);
    }
    return status;
}

dw_status dw__folder_find_module(struct dw__folder *f, const char *sha256, dw_module **module,
                                 dw_error *err)
{
    return find_module(f, sha256, module, err);
}
