/* Guests' modules in the folder, and who uses them: modules/.users/SHA256/ID is an empty file for
 * each actor ID of a module. The list says cheaply that a module may be unused; before one is
 * removed the actors themselves are asked, since earlier programs kept no list, and a machine that
 * loses its power may lose entries. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor/mailbox.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define MODULE_BYTES_MAX ((size_t)256 << 20)
#define WASM ".wasm"
#define HASH_CHARS (DW_SHA256_TEXT - 1)

/* ---- paths --------------------------------------------------------------------------------- */

static bool is_hash(const char *text)
{
    return strspn(text, "0123456789abcdef") == HASH_CHARS && text[HASH_CHARS] == '\0';
}

static void module_path(const dw_actor_folder *folder, const char *hash,
                        char path[DW_FOLDER_PATH_MAX])
{
    char name[HASH_CHARS + sizeof WASM];
    (void)snprintf(name, sizeof name, "%.*s" WASM, HASH_CHARS, hash);
    dw__folder_join(folder, path, DW__FOLDER_MODULES, name, NULL);
}

static void users_path(const dw_actor_folder *folder, const char *hash,
                       char path[DW_FOLDER_PATH_MAX])
{
    dw__folder_join(folder, path, DW__FOLDER_MODULES, DW__FOLDER_USERS, hash);
}

static void user_path(const dw_actor_folder *folder, const char *hash, const char *id,
                      char path[DW_FOLDER_PATH_MAX])
{
    char name[HASH_CHARS + sizeof "/" + DW_ACTOR_ID_CHARS];
    (void)snprintf(name, sizeof name, "%.*s/%.*s", HASH_CHARS, hash, DW_ACTOR_ID_CHARS, id);
    users_path(folder, name, path);
}

/* ---- users --------------------------------------------------------------------------------- */

static dw_status add_user(dw_actor_folder *folder, const char *hash, const char *id, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    users_path(folder, NULL, path);
    dw_status status = dw__folder_make(path, err);
    if (status != DW_OK) {
        return status;
    }
    users_path(folder, hash, path);
    status = dw__folder_make(path, err);
    if (status != DW_OK) {
        return status;
    }
    user_path(folder, hash, id, path);
    int fd = dw_os_open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) {
        return dw__folder_fail("making", path, err);
    }
    dw_os_close(fd);
    return DW_OK;
}

typedef struct user_search {
    dw_actor_folder *folder;
    const char *besides; /* an id that does not count */
    bool found;
} user_search;

static dw_status find_user(void *user, const char *name, dw_error *err)
{
    user_search *search = user;
    search->found = strcmp(name, search->besides) != 0 && dw_actor_folder_has(search->folder, name);
    return search->found ? dw_fail(err, DW_E_END, "one is enough") : DW_OK;
}

/* Whether an actor that is there, other than `besides`, is noted as a user. */
static bool has_users(dw_actor_folder *folder, const char *hash, const char *besides)
{
    char path[DW_FOLDER_PATH_MAX];
    user_search search = {.folder = folder, .besides = besides};
    users_path(folder, hash, path);
    (void)dw__folder_each(path, find_user, &search, NULL);
    return search.found;
}

static dw_status remove_name(void *user, const char *name, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", (const char *)user, name);
    (void)err;
    if (length > 0 && (size_t)length < sizeof path) {
        (void)unlink(path);
    }
    return DW_OK;
}

/* The module's file first: killed before the list is gone, the process leaves what tells of it. */
static void remove_module(const dw_actor_folder *folder, const char *hash)
{
    char path[DW_FOLDER_PATH_MAX];
    module_path(folder, hash, path);
    (void)unlink(path);
    users_path(folder, hash, path);
    (void)dw__folder_each(path, remove_name, path, NULL);
    (void)rmdir(path);
}

typedef struct indexing {
    dw_actor_folder *folder;
    const char *leaving; /* an actor that is being removed, or "" */
    bool unsure;         /* an actor does not tell its module */
} indexing;

/* The module of an actor's newest snapshot. */
static dw_status read_module_hash(dw_actor_folder *folder, const char *id,
                                  char hash[DW_SHA256_TEXT], dw_error *err)
{
    dw_snapshot_file *file = NULL;
    dw_snapshot_chain *chain = dw_alloc(1, sizeof *chain);
    if (chain == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
    }
    dw_status status = dw_actor_folder_read_chain(folder, id, chain, err);
    if (status == DW_OK) {
        status = dw_snapshot_file_open(&file, chain->list[chain->count - 1], 0, err);
    }
    if (status == DW_OK) {
        const char *module = dw_snapshot_file_meta(file, "module");
        if (module != NULL && is_hash(module)) {
            memcpy(hash, module, DW_SHA256_TEXT);
        } else {
            status = dw_fail(err, DW_E_FORMAT, "actor %s: its snapshot names no module", id);
        }
    }
    dw_snapshot_file_close(file);
    dw_free(chain);
    return status;
}

static dw_status index_actor(void *user, const char *name, dw_error *err)
{
    indexing *all = user;
    char hash[DW_SHA256_TEXT];
    if (!dw_actor_id_good(name)) {
        return DW_OK;
    }
    if (read_module_hash(all->folder, name, hash, NULL) != DW_OK) {
        all->unsure = true;
        return DW_OK;
    }
    return add_user(all->folder, hash, name, err);
}

/* A module that nobody uses, and what a killed earlier program left of one. */
static dw_status remove_unused(void *user, const char *name, dw_error *err)
{
    const indexing *all = user;
    char hash[DW_SHA256_TEXT];
    char path[DW_FOLDER_PATH_MAX];
    (void)err;
    (void)snprintf(hash, sizeof hash, "%s", name);
    if (strlen(name) < HASH_CHARS || !is_hash(hash)) {
        return DW_OK;
    }
    if (strcmp(name + HASH_CHARS, WASM ".part") == 0) {
        dw__folder_join(all->folder, path, DW__FOLDER_MODULES, name, NULL);
        (void)unlink(path);
    } else if (strcmp(name + HASH_CHARS, WASM) == 0 &&
               !has_users(all->folder, hash, all->leaving)) {
        remove_module(all->folder, hash);
    }
    return DW_OK;
}

/* All actors are asked for their modules; modules that none names are removed. */
static dw_status index_all(dw_actor_folder *folder, const char *leaving, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    indexing all = {.folder = folder, .leaving = leaving};
    users_path(folder, NULL, path);
    dw_status status = dw__folder_make(path, err);
    if (status != DW_OK) {
        return status;
    }
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, NULL, NULL);
    status = dw__folder_each(path, index_actor, &all, err);
    if (status != DW_OK || all.unsure) {
        return status;
    }
    dw__folder_join(folder, path, DW__FOLDER_MODULES, NULL, NULL);
    return dw__folder_each(path, remove_unused, &all, err);
}

dw_status dw__folder_index_modules(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    users_path(folder, NULL, path);
    return access(path, F_OK) == 0 ? DW_OK : index_all(folder, "", err);
}

typedef struct search {
    dw_actor_folder *folder;
    const char *id;
    char hash[DW_SHA256_TEXT]; /* of the actor's module; "": not noted */
} search;

static dw_status find_module(void *user, const char *hash, dw_error *err)
{
    search *from = user;
    char path[DW_FOLDER_PATH_MAX];
    if (!is_hash(hash)) {
        return DW_OK;
    }
    user_path(from->folder, hash, from->id, path);
    if (access(path, F_OK) != 0) {
        users_path(from->folder, hash, path);
        (void)rmdir(path); /* killed before its first user was noted */
        return DW_OK;
    }
    memcpy(from->hash, hash, DW_SHA256_TEXT);
    return dw_fail(err, DW_E_END, "an actor has one module");
}

dw_status dw__folder_release_module(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    search from = {.folder = folder, .id = id};
    dw_status status = DW_OK;
    users_path(folder, NULL, path);
    (void)dw__folder_each(path, find_module, &from, NULL);
    if (from.hash[0] == '\0') {
        return DW_OK;
    }
    if (!has_users(folder, from.hash, id)) {
        status = index_all(folder, id, err);
    }
    user_path(folder, from.hash, id, path);
    if (status == DW_OK && unlink(path) != 0 && errno != ENOENT) {
        status = dw__folder_fail("removing", path, err);
    }
    users_path(folder, from.hash, path);
    (void)rmdir(path); /* unless others are in it */
    return status;
}

/* ---- modules ------------------------------------------------------------------------------- */

dw_status dw_actor_folder_use_module(dw_actor_folder *folder, const char *id,
                                     const dw_module_file *module, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char modules[DW_FOLDER_PATH_MAX];
    dw_status status = add_user(folder, module->hash, id, err);
    if (status != DW_OK) {
        return status;
    }
    module_path(folder, module->hash, path);
    dw__folder_join(folder, modules, DW__FOLDER_MODULES, NULL, NULL);
    return access(path, F_OK) == 0
               ? DW_OK
               : dw__folder_write_file(folder, modules, path, module->wasm, module->bytes, err);
}

dw_status dw_actor_folder_read_module(dw_actor_folder *folder, const char *hash, char **wasm,
                                      size_t *bytes, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    *wasm = NULL;
    *bytes = 0;
    if (!is_hash(hash)) {
        return dw_fail(err, DW_E_NOT_FOUND, "'%.64s' is no SHA-256 hash of a module", hash);
    }
    module_path(folder, hash, path);
    return dw_os_read_file(path, MODULE_BYTES_MAX, wasm, bytes, err);
}
