/* Guests' modules in the folder, each a file that is named by its hash, as long as an actor has
 * it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/hash.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define MODULE_BYTES_MAX ((size_t)256 << 20)
#define WASM ".wasm"
#define HASH_CHARS (DW_SHA256_TEXT - 1)

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

static dw__wanted_module *find_wanted(const dw_actor_folder *folder, const char *hash)
{
    for (size_t i = 0; i < folder->wanted_count; i++) {
        if (strcmp(folder->wanted[i].hash, hash) == 0) {
            return &folder->wanted[i];
        }
    }
    return NULL;
}

static dw_status want(dw_actor_folder *folder, const char *hash, dw_error *err)
{
    dw__wanted_module *wanted = find_wanted(folder, hash);
    if (wanted == NULL) {
        if (!DW_ARRAY_RESERVE(folder->wanted, folder->wanted_capacity, folder->wanted_count + 1,
                              SIZE_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a list of modules");
        }
        wanted = &folder->wanted[folder->wanted_count++];
        *wanted = (dw__wanted_module){.users = 0};
        (void)snprintf(wanted->hash, sizeof wanted->hash, "%s", hash);
    }
    wanted->users++;
    return DW_OK;
}

static dw_status use(dw_actor_folder *folder, const dw_module_file *module, bool *wanted,
                     dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char modules[DW_FOLDER_PATH_MAX];
    module_path(folder, module->hash, path);
    dw__folder_join(folder, modules, DW__FOLDER_MODULES, NULL, NULL);
    (void)pthread_mutex_lock(&folder->making);
    dw_status status = want(folder, module->hash, err);
    *wanted = status == DW_OK;
    if (status == DW_OK && access(path, F_OK) != 0) {
        status = dw__folder_write_file(folder, modules, path, module->wasm, module->bytes, err);
    }
    (void)pthread_mutex_unlock(&folder->making);
    return status;
}

dw_status dw_actor_folder_use_module(dw_actor_folder *folder, dw_new_actor *made,
                                     const dw_module_file *module, dw_error *err)
{
    return use(folder, module, &made->uses_module, err);
}

dw_status dw_actor_folder_change_module(dw_actor_folder *folder, dw_turn *turn,
                                        const dw_module_file *module, dw_error *err)
{
    bool wanted = false;
    dw_status status = use(folder, module, &wanted, err);
    (void)snprintf(turn->next_module, sizeof turn->next_module, "%s", wanted ? module->hash : "");
    return status;
}

static void unuse(dw_actor_folder *folder, const char *hash)
{
    (void)pthread_mutex_lock(&folder->making);
    dw__wanted_module *wanted = find_wanted(folder, hash);
    DW_ASSERT(wanted != NULL);
    if (--wanted->users == 0) {
        *wanted = folder->wanted[--folder->wanted_count];
    }
    (void)pthread_mutex_unlock(&folder->making);
}

void dw__folder_unuse_module(dw_actor_folder *folder, const dw_new_actor *made)
{
    if (made->uses_module) {
        unuse(folder, made->module);
    }
}

void dw__folder_unuse_changed(dw_actor_folder *folder, const dw_turn *turn)
{
    if (turn->next_module[0] != '\0') {
        unuse(folder, turn->next_module);
    }
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

typedef struct user_search {
    const char *hash;
    bool found;
} user_search;

static dw_status find_user(void *user, dw_journal_tx *tx, dw_error *err)
{
    user_search *search = user;
    dw_query *query = dw_journal_query(tx, DW__SQL_MODULE_USER);
    dw_query_text(query, search->hash);
    return dw_query_next(query, &search->found, err);
}

bool dw__folder_release_module(dw_actor_folder *folder, const char *hash)
{
    char path[DW_FOLDER_PATH_MAX];
    user_search search = {.hash = hash};
    if (!is_hash(hash)) {
        return true;
    }
    module_path(folder, hash, path);
    (void)pthread_mutex_lock(&folder->making);
    search.found = find_wanted(folder, hash) != NULL;
    bool known =
        search.found || dw_journal_read(folder->journal, find_user, &search, NULL) == DW_OK;
    bool released = known && (search.found || unlink(path) == 0 || errno == ENOENT);
    (void)pthread_mutex_unlock(&folder->making);
    return released;
}

typedef struct release {
    dw_actor_folder *folder;
    bool all;
} release;

static dw_status release_name(void *user, const char *name, dw_error *err)
{
    release *all = user;
    char hash[HASH_CHARS + 1];
    (void)err;
    if (strlen(name) == HASH_CHARS + sizeof WASM - 1 && strcmp(name + HASH_CHARS, WASM) == 0) {
        (void)snprintf(hash, sizeof hash, "%.*s", HASH_CHARS, name);
        all->all = dw__folder_release_module(all->folder, hash) && all->all;
    }
    return DW_OK;
}

bool dw__folder_release_modules(dw_actor_folder *folder)
{
    char path[DW_FOLDER_PATH_MAX];
    release all = {.folder = folder, .all = true};
    dw__folder_join(folder, path, DW__FOLDER_MODULES, NULL, NULL);
    return dw__folder_each(path, release_name, &all, NULL) == DW_OK && all.all;
}
