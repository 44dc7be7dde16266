/* Modules that tenants have uploaded: compiled once, kept by their hashes in the state folder.
 * Each tenant's are his own, also where another has the same: nobody learns from the time that an
 * upload takes what others have. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/hash.h"
#include "base/os.h"
#include "hosting/host.h"
#include "wasm/module.h"

#define PATH_BYTES 4096
#define MODULE_BYTES_MAX ((size_t)128 << 20)
#define TENANT_MODULES_MAX 256u
#define TENANT_BYTES_MAX ((uint64_t)1 << 30)
#define COMPILED_MAX 256u /* of all tenants, in memory */
#define FOLDER_NAME_BYTES (2 * DW_TENANT_NAME_MAX + 2)

typedef struct module_entry {
    char tenant[DW_TENANT_NAME_MAX + 1];
    char sha256[DW_SHA256_TEXT];
    uint64_t bytes;
    uint64_t created_s;  /* since 1970 */
    uint64_t used;       /* the higher, the later */
    dw_module *compiled; /* NULL: not now */
} module_entry;

struct dw__modules {
    dw_wasm_host *host;
    char *path;           /* NULL: there is no folder */
    pthread_mutex_t lock; /* guards what follows */
    module_entry *items;  /* [count] */
    size_t count;
    size_t capacity;
    size_t compiled;
    uint64_t clock;
};

/* ---- files ---------------------------------------------------------------------------------- */

/* A tenant's name as one of a folder. */
static void folder_name(const char *tenant, char name[FOLDER_NAME_BYTES])
{
    name[0] = '-';
    name[1] = '\0';
    if (tenant[0] != '\0') {
        dw_hex(name, (const uint8_t *)tenant, strlen(tenant));
    }
}

static dw_status path_of(const dw__modules *modules, const char *tenant, const char *sha256,
                         char path[PATH_BYTES], dw_error *err)
{
    char name[FOLDER_NAME_BYTES];
    folder_name(tenant, name);
    int length =
        snprintf(path, PATH_BYTES, "%s/%s%s%s%s", modules->path, name, sha256 != NULL ? "/" : "",
                 sha256 != NULL ? sha256 : "", sha256 != NULL ? ".wasm" : "");
    return length > 0 && length < PATH_BYTES
               ? DW_OK
               : dw_fail(err, DW_E_LIMIT, "the path of a module is too long");
}

static module_entry *add_entry(dw__modules *modules, const char *tenant, const char *sha256)
{
    if (!DW_ARRAY_RESERVE(modules->items, modules->capacity, modules->count + 1, SIZE_MAX)) {
        return NULL;
    }
    module_entry *entry = &modules->items[modules->count++];
    *entry = (module_entry){.created_s = dw_os_wall_ms() / 1000};
    (void)snprintf(entry->tenant, sizeof entry->tenant, "%s", tenant);
    (void)snprintf(entry->sha256, sizeof entry->sha256, "%s", sha256);
    return entry;
}

static DIR *open_folder(const char *path)
{
    int fd = dw_os_open(path, O_RDONLY | O_DIRECTORY, 0);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (list == NULL) {
        dw_os_close(fd);
    }
    return list;
}

/* What the folder of a tenant holds. */
static dw_status scan_tenant(dw__modules *modules, const char *name, dw_error *err)
{
    char path[PATH_BYTES];
    char tenant[DW_TENANT_NAME_MAX + 1] = "";
    size_t digits = strlen(name);
    dw_status status = DW_OK;
    if (strcmp(name, "-") != 0) {
        if (digits % 2 != 0 || digits / 2 > DW_TENANT_NAME_MAX ||
            !dw_hex_parse((uint8_t *)tenant, digits / 2, name)) {
            return DW_OK;
        }
        tenant[digits / 2] = '\0';
    }
    (void)snprintf(path, sizeof path, "%s/%s", modules->path, name);
    DIR *list = open_folder(path);
    for (struct dirent *at = NULL; list != NULL && (at = readdir(list)) != NULL;) {
        struct stat about;
        char hash[DW_SHA256_TEXT];
        uint8_t digest[DW_SHA256_BYTES];
        size_t length = strlen(at->d_name);
        (void)snprintf(hash, sizeof hash, "%.64s", at->d_name);
        if (length != sizeof hash - 1 + 5 || strcmp(at->d_name + sizeof hash - 1, ".wasm") != 0 ||
            !dw_hex_parse(digest, sizeof digest, hash) ||
            fstatat(dirfd(list), at->d_name, &about, 0) != 0) {
            continue;
        }
        module_entry *entry = add_entry(modules, tenant, hash);
        if (entry == NULL) {
            status = dw_fail(err, DW_E_MEMORY, "no memory for a list of modules");
            break;
        }
        entry->bytes = (uint64_t)about.st_size;
        entry->created_s = (uint64_t)about.st_mtime;
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    return status;
}

static dw_status scan(dw__modules *modules, dw_error *err)
{
    DIR *list = open_folder(modules->path);
    dw_status status = DW_OK;
    for (struct dirent *at = NULL;
         status == DW_OK && list != NULL && (at = readdir(list)) != NULL;) {
        if (at->d_name[0] != '.') {
            status = scan_tenant(modules, at->d_name, err);
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    return status;
}

dw_status dw__modules_create(dw__modules **out, dw_server *server, const char *path, dw_error *err)
{
    dw__modules *modules = dw_alloc(1, sizeof *modules);
    if (modules == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of modules");
    }
    (void)pthread_mutex_init(&modules->lock, NULL);
    modules->host = dw_module_host(server->conversation);
    dw_status status = DW_OK;
    if (path != NULL) {
        char folder[PATH_BYTES];
        (void)snprintf(folder, sizeof folder, "%s/uploads", path);
        modules->path = dw_strdup(folder);
        status = modules->path != NULL ? scan(modules, err)
                                       : dw_fail(err, DW_E_MEMORY, "no memory for a path");
    }
    if (status != DW_OK) {
        dw__modules_destroy(modules);
        return status;
    }
    *out = modules;
    return DW_OK;
}

void dw__modules_destroy(dw__modules *modules)
{
    if (modules == NULL) {
        return;
    }
    for (size_t i = 0; i < modules->count; i++) {
        dw_module_unref(modules->items[i].compiled);
    }
    (void)pthread_mutex_destroy(&modules->lock);
    dw_free(modules->items);
    dw_free(modules->path);
    dw_free(modules);
}

/* ---- with the lock -------------------------------------------------------------------------- */

static module_entry *find_entry(dw__modules *modules, const char *tenant, const char *sha256)
{
    for (size_t i = 0; i < modules->count; i++) {
        if (strcmp(modules->items[i].sha256, sha256) == 0 &&
            strcmp(modules->items[i].tenant, tenant) == 0) {
            modules->items[i].used = ++modules->clock;
            return &modules->items[i];
        }
    }
    return NULL;
}

/* The entry has it from now on; where as many are compiled as may be, another's goes, which is read
 * again when it is wanted. */
static void keep_compiled(dw__modules *modules, module_entry *entry, dw_module *module)
{
    if (entry->compiled != NULL) {
        return;
    }
    entry->compiled = dw_module_ref(module);
    modules->compiled++;
    while (modules->path != NULL && modules->compiled > COMPILED_MAX) {
        module_entry *oldest = NULL;
        for (size_t i = 0; i < modules->count; i++) {
            module_entry *at = &modules->items[i];
            if (at->compiled != NULL && at != entry &&
                (oldest == NULL || at->used < oldest->used)) {
                oldest = at;
            }
        }
        if (oldest == NULL) {
            return;
        }
        dw_module_unref(oldest->compiled);
        oldest->compiled = NULL;
        modules->compiled--;
    }
}

static dw_status check_room(const dw__modules *modules, const char *tenant, uint64_t bytes,
                            dw_error *err)
{
    uint64_t taken = bytes;
    unsigned count = 1;
    for (size_t i = 0; i < modules->count; i++) {
        if (strcmp(modules->items[i].tenant, tenant) == 0) {
            count++;
            taken += modules->items[i].bytes;
        }
    }
    if (count > TENANT_MODULES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "modules: %u, which is the limit; drop some",
                       TENANT_MODULES_MAX);
    }
    return taken > TENANT_BYTES_MAX
               ? dw_fail(err, DW_E_LIMIT, "modules: %llu bytes with this one, limit %llu",
                         (unsigned long long)taken, (unsigned long long)TENANT_BYTES_MAX)
               : DW_OK;
}

/* ---- finding -------------------------------------------------------------------------------- */

static dw_status compile_file(dw__modules *modules, const char *tenant, const char *sha256,
                              dw_module **module, dw_error *err)
{
    char path[PATH_BYTES];
    char *wasm = NULL;
    size_t bytes = 0;
    dw_status status = path_of(modules, tenant, sha256, path, err);
    if (status == DW_OK) {
        status = dw_os_read_file(path, MODULE_BYTES_MAX, &wasm, &bytes, err);
    }
    if (status == DW_OK) {
        status = dw_module_compile(module, modules->host, wasm, bytes, err);
    }
    if (status == DW_OK && strcmp(dw_module_hash(*module), sha256) != 0) {
        dw_module_unref(*module);
        *module = NULL;
        status = dw_fail(err, DW_E_FORMAT, "module %.64s: its file is damaged", sha256);
    }
    dw_free(wasm);
    return status;
}

dw_status dw__modules_find(dw__modules *modules, const char *tenant, const char *sha256,
                           dw_module **module, dw_error *err)
{
    *module = NULL;
    (void)pthread_mutex_lock(&modules->lock);
    const module_entry *entry = find_entry(modules, tenant, sha256);
    if (entry != NULL && entry->compiled != NULL) {
        *module = dw_module_ref(entry->compiled);
    }
    (void)pthread_mutex_unlock(&modules->lock);
    if (entry == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "no module %.64s was uploaded", sha256);
    }
    if (*module != NULL) {
        return DW_OK;
    }
    dw_status status = compile_file(modules, tenant, sha256, module, err);
    if (status == DW_OK) {
        (void)pthread_mutex_lock(&modules->lock);
        module_entry *again = find_entry(modules, tenant, sha256);
        if (again != NULL) {
            keep_compiled(modules, again, *module);
        }
        (void)pthread_mutex_unlock(&modules->lock);
    }
    return status;
}

/* ---- requests ------------------------------------------------------------------------------- */

static json_t *entry_json(const module_entry *entry)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:b}", "object", "module", "sha256", entry->sha256,
                     "bytes", dw__count_json(entry->bytes), "created",
                     dw__count_json(entry->created_s), "compiled", entry->compiled != NULL);
}

/* In the folder, and in the list. */
static dw_status keep(dw__modules *modules, dw__op *op, dw_module *module, dw_error *err)
{
    char folder[PATH_BYTES];
    char path[PATH_BYTES];
    char part[PATH_BYTES + 8];
    size_t bytes = 0;
    const unsigned char *wasm = dw_module_wasm(module, &bytes);
    const char *hash = dw_module_hash(module);
    (void)pthread_mutex_lock(&modules->lock);
    module_entry *entry = find_entry(modules, op->tenant, hash);
    dw_status status = entry == NULL ? check_room(modules, op->tenant, bytes, err) : DW_OK;
    if (entry == NULL && status == DW_OK && modules->path != NULL) {
        status = path_of(modules, op->tenant, NULL, folder, err);
        status = status == DW_OK ? dw_os_make_folder(folder, err) : status;
        status = status == DW_OK ? path_of(modules, op->tenant, hash, path, err) : status;
        if (status == DW_OK) {
            (void)snprintf(part, sizeof part, "%s/.part", folder);
            status = dw_os_replace_file(path, part, wasm, bytes, err);
        }
    }
    if (entry == NULL && status == DW_OK) {
        op->http = 201;
        entry = add_entry(modules, op->tenant, hash);
        if (entry == NULL) {
            status = dw_fail(err, DW_E_MEMORY, "no memory for a list of modules");
        } else {
            entry->bytes = bytes;
            entry->used = ++modules->clock;
        }
    }
    if (status == DW_OK) {
        keep_compiled(modules, entry, module);
        op->result = entry_json(entry);
    }
    (void)pthread_mutex_unlock(&modules->lock);
    return status;
}

/* One that is there already is not compiled again. -> whether */
static bool is_there(dw__modules *modules, dw__op *op, const void *wasm, size_t bytes)
{
    char hash[DW_SHA256_TEXT];
    dw_sha256_text(hash, wasm, bytes);
    (void)pthread_mutex_lock(&modules->lock);
    const module_entry *entry = find_entry(modules, op->tenant, hash);
    if (entry != NULL) {
        op->result = entry_json(entry);
    }
    (void)pthread_mutex_unlock(&modules->lock);
    return entry != NULL;
}

static dw_status add_work(dw__op *op, dw_error *err)
{
    dw__modules *modules = dw__host_modules(op->host);
    dw_module *module = NULL;
    uint64_t bytes = 0;
    void *wasm = NULL;
    dw_status status = dw_os_file_bytes(op->fd, &bytes, err);
    if (status == DW_OK && bytes == 0) {
        status = dw_fail(err, DW_E_FORMAT, "the body is empty; a WebAssembly module is wanted");
    }
    if (status == DW_OK) {
        wasm = dw_alloc((size_t)bytes, 1);
        status = wasm != NULL ? dw_os_read_at(op->fd, 0, wasm, (size_t)bytes, err)
                              : dw_fail(err, DW_E_MEMORY, "no memory for a module");
    }
    if (status == DW_OK && !is_there(modules, op, wasm, (size_t)bytes)) {
        status = dw_module_compile(&module, modules->host, wasm, (size_t)bytes, err);
        status = status == DW_OK ? dw_module_check_actor(module, err) : status;
        status = status == DW_OK ? keep(modules, op, module, err) : status;
    }
    dw_free(wasm);
    dw_module_unref(module);
    return status;
}

DW__HANDLER(dw__on_modules_add)
{
    (void)server;
    (void)exchange;
    op->is_long = true;
    op->work = add_work;
    dw__op_begin(op);
}

static dw_status list_work(dw__op *op, dw_error *err)
{
    dw__modules *modules = dw__host_modules(op->host);
    json_t *list = json_array();
    (void)err;
    (void)pthread_mutex_lock(&modules->lock);
    for (size_t i = 0; i < modules->count; i++) {
        if (strcmp(modules->items[i].tenant, op->tenant) == 0) {
            (void)json_array_append_new(list, entry_json(&modules->items[i]));
        }
    }
    (void)pthread_mutex_unlock(&modules->lock);
    op->result = json_pack("{s:s, s:o}", "object", "list", "data", list);
    return DW_OK;
}

DW__HANDLER(dw__on_modules_list)
{
    (void)server;
    (void)exchange;
    op->work = list_work;
    dw__op_begin(op);
}

static dw_status show_work(dw__op *op, dw_error *err)
{
    dw__modules *modules = dw__host_modules(op->host);
    op->param = "sha256";
    (void)pthread_mutex_lock(&modules->lock);
    const module_entry *entry = find_entry(modules, op->tenant, op->parts[0]);
    op->result = entry != NULL ? entry_json(entry) : NULL;
    (void)pthread_mutex_unlock(&modules->lock);
    return entry != NULL
               ? DW_OK
               : dw_fail(err, DW_E_NOT_FOUND, "no module %.64s was uploaded", op->parts[0]);
}

DW__HANDLER(dw__on_modules_show)
{
    (void)server;
    (void)exchange;
    op->work = show_work;
    dw__op_begin(op);
}

/* Actors that were made of it keep theirs. */
static dw_status drop_work(dw__op *op, dw_error *err)
{
    dw__modules *modules = dw__host_modules(op->host);
    char path[PATH_BYTES];
    dw_status status = DW_OK;
    op->param = "sha256";
    (void)pthread_mutex_lock(&modules->lock);
    module_entry *entry = find_entry(modules, op->tenant, op->parts[0]);
    if (entry == NULL) {
        status = dw_fail(err, DW_E_NOT_FOUND, "no module %.64s was uploaded", op->parts[0]);
    } else if (modules->path != NULL) {
        status = path_of(modules, op->tenant, entry->sha256, path, err);
        if (status == DW_OK && unlink(path) != 0 && errno != ENOENT) {
            status = dw_fail(err, DW_E_IO, "the module cannot be dropped: %s", strerror(errno));
        }
    }
    if (status == DW_OK) {
        op->result = json_pack("{s:s, s:b}", "sha256", entry->sha256, "deleted", true);
        modules->compiled -= entry->compiled != NULL;
        dw_module_unref(entry->compiled);
        *entry = modules->items[--modules->count];
    }
    (void)pthread_mutex_unlock(&modules->lock);
    return status;
}

DW__HANDLER(dw__on_modules_drop)
{
    (void)server;
    (void)exchange;
    op->work = drop_work;
    dw__op_begin(op);
}
