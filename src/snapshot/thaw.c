/* Thawing: an actor of snapshot files, which are untrusted. Whatever they say goes through the
 * checks that a guest's own calls go through. */
#include "snapshot/thaw.h"

#include <string.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/public_struct.h"
#include "base/stack.h"
#include "snapshot/snapshot_parts_internal.h"

/* ---- files -------------------------------------------------------------------------------- */

/* "": it is not known. */
static const char *identity_of(const dw__thaw *t, size_t index)
{
    const char *identity = t->options->identities != NULL ? t->options->identities[index] : NULL;
    return identity != NULL ? identity : "";
}

/* That it is the one that is meant; then what it builds upon need not be among the files. */
static dw_status check_identity(const dw__thaw *t, size_t index, const char *wanted, dw_error *err)
{
    dw_status status = dw_snapshot_file_check_identity(t->files[index], wanted, err);
    if (status != DW_OK) {
        return status;
    }
    return index == 0 || dw__thaw_is_delta(t->files[index])
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "%.100s: a full snapshot, only the first can be one",
                         t->options->paths[index]);
}

/* That it is a delta upon the one before it, or full. */
static dw_status check_base(const dw__thaw *t, size_t index, dw_error *err)
{
    const dw_snapshot_file *file = t->files[index];
    const char *base =
        dw__thaw_is_delta(file) ? dw_snapshot_file_meta(file, "base") : NULL; /* a full one */
    const char *path = t->options->paths[index];
    if (index == 0) {
        return base == NULL
                   ? DW_OK
                   : dw_fail(err, DW_E_FORMAT, "%.100s: a delta upon %s, which must come before it",
                             path, base);
    }
    if (base == NULL) {
        return dw_fail(err, DW_E_FORMAT, "%.100s: a full snapshot, only the first can be one",
                       path);
    }
    const char *before = dw_snapshot_file_identity(t->files[index - 1]);
    return strcmp(base, before) == 0
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "%.100s: a delta upon %s, not upon %s", path, base,
                         before);
}

static dw_status check_link(const dw__thaw *t, size_t index, dw_error *err)
{
    const char *identity = identity_of(t, index);
    dw_status status =
        identity[0] != '\0' ? check_identity(t, index, identity, err) : check_base(t, index, err);
    if (status != DW_OK || index == 0) {
        return status;
    }
    const char *module = dw_snapshot_file_meta(t->files[index], DW__META_MODULE);
    const char *first = dw_snapshot_file_meta(t->files[0], DW__META_MODULE);
    return module != NULL && first != NULL && strcmp(module, first) == 0
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "%.100s: of another module than its base",
                         t->options->paths[index]);
}

static dw_status note_file(dw__thaw *t, size_t index, dw_error *err)
{
    uint32_t place;
    return t->map != NULL ? dw_frozen_map_add_file(t->map, dw_snapshot_file_bytes(t->files[index]),
                                                   &place, err)
                          : DW_OK;
}

static dw_status make_lists(dw__thaw *t, dw_error *err)
{
    if (t->options->indexes != NULL && !t->options->trusted) {
        return dw_fail(err, DW_E_ARG, "thaw: indexes are of files that are trusted");
    }
    const size_t max = t->options->identities != NULL ? DW_FROZEN_FILES_MAX : DW__FILES_MAX;
    if (t->options->path_count == 0 || t->options->path_count > max) {
        return dw_fail(err, DW_E_LIMIT, "thaw: %zu files, from 1 to %zu are allowed",
                       t->options->path_count, max);
    }
    t->files = dw_alloc(t->options->path_count, sizeof(dw_snapshot_file *));
    if (t->files == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu files", t->options->path_count);
    }
    return t->options->identities != NULL && t->options->kv_type == NULL
               ? dw_frozen_map_create(&t->map, err)
               : DW_OK;
}

/* Those that stay open are not to use up the process's descriptors: the lowest is given first, so
 * that a new one tells about how many there are. Past half of them all is read. */
static void count_spare(dw__thaw *t)
{
    struct rlimit limit;
    int highest = 0;
    if (t->options->unmapped) {
        return;
    }
    for (size_t i = 0; i < t->file_count; i++) {
        int fd = dw_snapshot_file_fd(t->files[i]);
        highest = fd > highest ? fd : highest;
    }
    const rlim_t half = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur / 2 : 0;
    t->spare_files = half > (rlim_t)highest ? (size_t)((half - (rlim_t)highest) / 8) : 0;
}

static dw_status open_files(dw__thaw *t, dw_error *err)
{
    unsigned flags = t->options->trusted ? 0 : DW_SNAPSHOT_VERIFY;
    dw_status status = make_lists(t, err);
    for (size_t i = 0; i < t->options->path_count && status == DW_OK; i++) {
        const dw_snapshot_known known = {
            .beside = i > 0 ? t->files[i - 1] : NULL,
            .heads = t->heads,
            .identity = identity_of(t, i),
            .index = t->options->indexes != NULL ? t->options->indexes[i] : NULL};
        status =
            dw_snapshot_file_open_known(&t->files[i], t->options->paths[i], flags, &known, err);
        if (status == DW_OK) {
            t->file_count++;
            status = check_link(t, i, err);
        }
        if (status == DW_OK) {
            status = note_file(t, i, err);
        }
    }
    count_spare(t);
    return status;
}

/* A line of metadata that is JSON. */
static dw_status read_object(const dw__thaw *t, size_t file, const char *key, json_t **object,
                             dw_error *err)
{
    json_error_t why;
    const char *text = dw_snapshot_file_meta(t->files[file], key);
    *object = text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, &why) : NULL;
    return json_is_object(*object)
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "%.100s: metadata '%s' %s", t->options->paths[file], key,
                         text == NULL ? "is missing" : "is no JSON object");
}

/* Where there is one: what must be there is told where it is used. */
static bool take_member(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    return value == NULL || json_object_set(to, key, value) == 0;
}

/* The newest settings and models, which a delta has where they changed, become members of the
 * description, as a full snapshot has them. */
static dw_status find_settings(dw__thaw *t, dw_error *err)
{
    size_t at = t->file_count;
    json_t *found = NULL;
    while (at > 1 && dw_snapshot_file_meta(t->files[at - 1], DW__META_SETTINGS) == NULL &&
           dw_snapshot_file_closely(t->files[at - 1])) {
        at--;
    }
    const bool apart = dw_snapshot_file_meta(t->files[at - 1], DW__META_SETTINGS) != NULL;
    dw_status status = DW_OK;
    if (at == t->file_count && !apart) {
        found = json_incref(t->about);
    } else {
        status = read_object(t, at - 1, apart ? DW__META_SETTINGS : DW__META_ACTOR, &found, err);
    }
    json_t *own = json_object();
    if (status == DW_OK && t->map != NULL) {
        t->map->settings = (uint32_t)(at - 1);
    }
    if (status == DW_OK &&
        !(take_member(own, found, "settings") && take_member(own, found, "models") &&
          json_object_update(t->about, own) == 0 && dw__settings_hash(own, t->settings_hash))) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for settings");
    }
    json_decref(own);
    json_decref(found);
    return status;
}

static dw_status read_about(dw__thaw *t, dw_error *err)
{
    dw_status status = read_object(t, t->file_count - 1, DW__META_ACTOR, &t->about, err);
    return status == DW_OK ? find_settings(t, err) : status;
}

/* ---- the module --------------------------------------------------------------------------- */

/* A module of the embedder's. */
static dw_status take_module(dw__thaw *t, dw_module *module, const char *hash, dw_error *err)
{
    if (module == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "the snapshot's module, %.64s, was not found", hash);
    }
    if (dw_module_host(module) != t->host) {
        return dw_fail(err, DW_E_ARG, "the module was compiled for another engine");
    }
    t->module = dw_module_ref(module);
    return DW_OK;
}

static dw_status compile_saved(dw__thaw *t, const char *hash, dw_error *err)
{
    const dw_snapshot_entry *tensor = dw_snapshot_file_tensor(t->files[0], DW__TENSOR_MODULE);
    char own[65];
    if (tensor == NULL && t->options->find_module != NULL) {
        dw_module *found = NULL;
        dw_status status = t->options->find_module(t->options->find_user, hash, &found, err);
        return status == DW_OK ? take_module(t, found, hash, err) : status;
    }
    if (tensor == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "the snapshot names its module by hash only, %.64s, and it is not at hand",
                       hash);
    }
    if (tensor->bytes > dw_limits_usual.module_bytes) {
        return dw_fail(err, DW_E_LIMIT, "module: %llu bytes, limit %llu",
                       (unsigned long long)tensor->bytes,
                       (unsigned long long)dw_limits_usual.module_bytes);
    }
    unsigned char *bytes = dw_alloc((size_t)tensor->bytes + 1, 1);
    if (bytes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a module of %llu bytes",
                       (unsigned long long)tensor->bytes);
    }
    dw_status status =
        dw_snapshot_file_read(t->files[0], tensor, 0, (size_t)tensor->bytes, bytes, err);
    if (status == DW_OK) {
        dw_sha256_text(own, bytes, (size_t)tensor->bytes);
        if (strcmp(own, hash) != 0) {
            status = dw_fail(err, DW_E_FORMAT, "module: its hash is %s, not %.64s", own, hash);
        }
    }
    if (status == DW_OK) {
        status = dw_module_compile(&t->module, t->host, bytes, (size_t)tensor->bytes, err);
    }
    dw_free(bytes);
    return status;
}

static dw_status find_module(dw__thaw *t, dw_error *err)
{
    const char *hash = dw_snapshot_file_meta(dw__thaw_last_file(t), DW__META_MODULE);
    if (hash == NULL || strlen(hash) != 64) {
        return dw_fail(err, DW_E_FORMAT, "metadata 'module' is no SHA-256 hash");
    }
    if (t->options->module == NULL) {
        return compile_saved(t, hash, err);
    }
    if (strcmp(dw_module_hash(t->options->module), hash) != 0) {
        return dw_fail(err, DW_E_FORMAT, "the snapshot is of module %.64s, the one given is %s",
                       hash, dw_module_hash(t->options->module));
    }
    return take_module(t, t->options->module, hash, err);
}

/* ---- the whole ---------------------------------------------------------------------------- */

static dw_status make_actor(dw__thaw *t, dw_error *err)
{
    const char *id = t->options->id;
    dw_status status = id == NULL ? dw__json_text(t->about, "actor", "id", &id, err) : DW_OK;
    if (status == DW_OK && !dw_actor_id_good(id)) {
        status = dw_fail(err, t->options->id != NULL ? DW_E_ARG : DW_E_FORMAT,
                         "actor: '%.40s' is no id of %d hexadecimal digits", id, DW_ACTOR_ID_CHARS);
    }
    if (status == DW_OK) {
        status = dw_actor_create_bare(&t->actor, t->module, t->settings, id, err);
    }
    return status;
}

/* Memories first: graphs stand over them. */
static dw_status put_state(dw__thaw *t, dw_error *err)
{
    dw_status status = dw__memories_load(t, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__globals_load(t, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__tables_load(t, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__repeatable_load(t, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__handles_load(t, err);
    if (status == DW_OK) {
        dw_account *account = dw_instance_account(t->actor->instance);
        dw_account_scope before = dw_account_enter(account, DW_PART_MAIL);
        status = dw__messages_load(t, err);
        dw_account_leave(before);
    }
    return status;
}

/* The actor goes on with what is known of its files. */
static void take_map(dw__thaw *t)
{
    if (t->map != NULL && t->actor->frozen.identity[0] != '\0') {
        t->map->newest = (uint32_t)(t->file_count - 1);
        (void)dw_frozen_map_look(t->map, NULL); /* else files go one freeze later */
        t->actor->frozen.map = t->map;
        t->map = NULL;
    }
}

static dw_status load(dw__thaw *t, dw_error *err)
{
    dw_status status = open_files(t, err);
    if (status == DW_OK) {
        status = read_about(t, err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw__settings_load(t, err);
    if (status != DW_OK) {
        return status;
    }
    if (!t->options->trusted) {
        status = dw__rights_check(t, err);
        if (status != DW_OK) {
            return status;
        }
    }
    status = find_module(t, err);
    if (status != DW_OK) {
        return status;
    }
    status = make_actor(t, err);
    if (status != DW_OK) {
        return status;
    }
    dw_account *account = dw_instance_account(t->actor->instance);
    dw_account_forget(account);
    status = dw_account_explain(account, put_state(t, err), err);
    dw_frozen_point point = {.open = false};
    if (status == DW_OK && t->options->kv_type == NULL &&
        dw_actor_point_open(&point, t->actor, NULL) == DW_OK) { /* else the next freeze is full */
        dw_actor_note_frozen(t->actor, &point, dw_snapshot_file_identity(dw__thaw_last_file(t)),
                             t->settings_hash);
        dw_actor_point_close(&point, t->actor);
        take_map(t);
    }
    return status;
}

static void release(dw__thaw *t)
{
    dw_actor_destroy(t->actor);
    dw_module_unref(t->module);
    dw_actor_settings_unref(t->settings);
    json_decref(t->about);
    for (size_t i = 0; i < t->file_count; i++) {
        dw_snapshot_file_close(t->files[i]);
    }
    dw_free(t->files);
    dw_frozen_map_destroy(t->map);
}

static dw_status load_here(void *arg, dw_error *err)
{
    return load(arg, err);
}

dw_status dw_snapshot_thaw(dw_actor **out, const dw_thaw_host *host, const dw_thaw_options *options,
                           dw_thaw_stats *stats, dw_error *err)
{
    dw_thaw_options own;
    dw__thaw t = {.host = host->wasm, .heads = host->heads, .home = host->home, .options = &own};
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_thaw_options", err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_struct_check(stats, "dw_thaw_stats", err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_stack_run(load_here, &t, err); /* what a file describes may be nested */
    if (status == DW_OK) {
        dw_struct_write(stats, &t.stats, sizeof t.stats);
        *out = t.actor;
        t.actor = NULL;
    }
    release(&t);
    return status;
}
