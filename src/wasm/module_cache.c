#include "wasm/module_cache.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/os.h"
#include "wasm/module_cache_internal.h"

#define ANCESTORS_MAX 256
#define USED_AGAIN_S 60 /* a use is not noted anew for so long */

/* An entry's file: this head, what is kept beside the module, the module as Wasmtime wrote it.
 *
 *   | byte | what                                                  |
 *   | 0    | MAGIC                                                 |
 *   | 8    | VERSION                                               |
 *   | 12   | 0                                                     |
 *   | 16   | the key                                               |
 *   | 48   | bytes beside the module                               |
 *   | 56   | bytes of the module                                   |
 *   | 64   | XXH3-128 of the 64 bytes before, and of all that follows |
 */
#define MAGIC "DWMODULE"
#define VERSION 1

typedef struct entry_head {
    char magic[8];
    uint32_t version;
    uint32_t zero;
    uint8_t key[DW_SHA256_BYTES];
    uint64_t beside_bytes;
    uint64_t code_bytes;
    uint8_t digest[DW_HASH128_BYTES];
} entry_head;

static_assert(sizeof(entry_head) == 80, "the table above says so");

/* ---- who can write ------------------------------------------------------------------------- */

static bool is_own(const struct stat *info)
{
    return info->st_uid == geteuid() && (info->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Whoever can write a folder above can put another one in this one's place; with the sticky bit
 * they cannot. */
static bool is_safe_above(const struct stat *info)
{
    return (info->st_uid == 0 || info->st_uid == geteuid()) &&
           ((info->st_mode & (S_IWGRP | S_IWOTH)) == 0 || (info->st_mode & S_ISVTX) != 0);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Go from the folder `fd`, which is closed, to the root; false: `visit` said so, or it cannot be
 * gone. */
static bool visit_above(int fd, bool (*visit)(void *user, const struct stat *info), void *user)
{
    struct stat info;
    struct stat before = {0};
    bool good = fd >= 0 && fstat(fd, &info) == 0;
    for (int i = 0; good && i < ANCESTORS_MAX; i++) {
        good = visit(user, &info);
        before = info;
        int above = good ? dw_os_open_at(fd, "..", O_RDONLY | O_DIRECTORY, 0) : -1;
        dw_os_close(fd);
        fd = above;
        good = fd >= 0 && fstat(fd, &info) == 0;
        if (good && is_same(&info, &before)) { /* the root is its own parent */
            dw_os_close(fd);
            return true;
        }
    }
    if (fd >= 0) {
        dw_os_close(fd);
    }
    return false;
}

typedef struct folder_check {
    bool first;
    struct stat bad;
} folder_check;

static bool check_folder(void *user, const struct stat *info)
{
    folder_check *check = user;
    bool good = check->first ? is_own(info) : is_safe_above(info);
    check->first = false;
    check->bad = *info;
    return good;
}

static dw_status check_folders(int fd, dw_error *err)
{
    folder_check check = {.first = true};
    if (visit_above(dw_os_open_at(fd, ".", O_RDONLY | O_DIRECTORY, 0), check_folder, &check)) {
        return DW_OK;
    }
    return dw_fail(
        err, DW_E_DENIED,
        "it or a folder above it is of user %lu with rights %03o: user %lu alone must be "
        "able to write there",
        (unsigned long)check.bad.st_uid, (unsigned)(check.bad.st_mode & 07777),
        (unsigned long)geteuid());
}

/* ---- the cache ----------------------------------------------------------------------------- */

static void add_identity(dw_sha256_state *hash, const dw_file_identity *identity)
{
    dw_sha256_add(hash, &identity->bytes, sizeof identity->bytes);
    dw_sha256_add(hash, &identity->changed_ns, sizeof identity->changed_ns);
}

/* What code depends on beside the module and its limits. */
static dw_status identify(uint8_t identity[DW_SHA256_BYTES], const char *settings, dw_error *err)
{
    char processor[DW_OS_PROCESSOR_BYTES];
    dw_file_identity wasmtime;
    dw_file_identity own;
    dw_status status =
        dw_os_identify_code((const void *)(uintptr_t)wasmtime_module_serialize, &wasmtime, err);
    if (status == DW_OK) {
        status = dw_os_identify_code((const void *)(uintptr_t)dw_module_cache_open, &own, err);
    }
    dw_sha256_state *hash = status == DW_OK ? dw_sha256_create() : NULL;
    if (hash == NULL) {
        return status != DW_OK ? status : dw_fail(err, DW_E_MEMORY, "no memory for a hash");
    }
    dw_os_processor(processor);
    dw_sha256_add(hash, MAGIC WASMTIME_VERSION, sizeof(MAGIC WASMTIME_VERSION));
    add_identity(hash, &wasmtime);
    add_identity(hash, &own);
    dw_sha256_add(hash, processor, strlen(processor) + 1);
    dw_sha256_add(hash, settings, strlen(settings) + 1);
    dw_sha256_finish(hash, identity);
    dw_sha256_destroy(hash);
    return DW_OK;
}

static dw_status open_folder(dw_module_cache *cache, dw_error *err)
{
    dw_status status = dw_os_make_folder(cache->path, err);
    if (status != DW_OK) {
        return status;
    }
    cache->fd = dw_os_open(cache->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (cache->fd >= 0) {
        return check_folders(cache->fd, err);
    }
    return errno == ELOOP || errno == ENOTDIR ? dw_fail(err, DW_E_DENIED, "a link, or no folder")
                                              : dw_fail(err, DW_E_IO, "%s", strerror(errno));
}

dw_status dw_module_cache_open(dw_module_cache **out, const char *path, uint64_t bytes_max,
                               const char *settings, dw_error *err)
{
    *out = NULL;
    dw_module_cache *cache = dw_alloc(1, sizeof *cache);
    char *own = dw_strdup(path);
    if (cache == NULL || own == NULL) {
        dw_free(cache);
        dw_free(own);
        return dw_fail(err, DW_E_MEMORY, "no memory for the module cache");
    }
    *cache = (dw_module_cache){.path = own, .bytes_max = bytes_max, .fd = -1};
    dw_status status = open_folder(cache, err);
    if (status == DW_OK) {
        status = identify(cache->identity, settings, err);
    }
    if (status != DW_OK) {
        dw_module_cache_close(cache);
        return dw_fail_within(err, status, "module cache %.120s", path);
    }
    *out = cache;
    return DW_OK;
}

void dw_module_cache_close(dw_module_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    if (cache->fd >= 0) {
        dw_os_close(cache->fd);
    }
    dw_free(cache->path);
    dw_free(cache);
}

const char *dw_module_cache_path(const dw_module_cache *cache)
{
    return cache->path;
}

void dw_module_cache_key(const dw_module_cache *cache, const uint8_t hash[DW_SHA256_BYTES],
                         const uint64_t *limits, size_t limit_count, uint8_t key[DW_SHA256_BYTES])
{
    uint8_t all[2 * DW_SHA256_BYTES + DW__MODULE_LIMITS_MAX * sizeof(uint64_t)];
    DW_ASSERT(limit_count <= DW__MODULE_LIMITS_MAX);
    memcpy(all, cache->identity, DW_SHA256_BYTES);
    memcpy(all + DW_SHA256_BYTES, hash, DW_SHA256_BYTES);
    if (limit_count > 0) {
        memcpy(all + (size_t)2 * DW_SHA256_BYTES, limits, limit_count * sizeof *limits);
    }
    dw_sha256(key, all, 2 * DW_SHA256_BYTES + limit_count * sizeof *limits);
}

/* ---- an entry ------------------------------------------------------------------------------ */

static bool digest_of(uint8_t digest[DW_HASH128_BYTES], const void *head, const void *rest,
                      size_t rest_bytes)
{
    dw_hash128 *hash = dw_hash128_create();
    if (hash == NULL) {
        return false;
    }
    dw_hash128_add(hash, head, offsetof(entry_head, digest));
    dw_hash128_add(hash, rest, rest_bytes);
    dw_hash128_finish(hash, digest);
    dw_hash128_destroy(hash);
    return true;
}

bool dw_module_entry_read(dw_module_entry *entry, const unsigned char *bytes, size_t count,
                          const uint8_t key[DW_SHA256_BYTES], const char **why)
{
    entry_head head;
    uint8_t digest[DW_HASH128_BYTES];
    *entry = (dw_module_entry){0};
    *why = "cut off";
    if (count < sizeof head) {
        return false;
    }
    memcpy(&head, bytes, sizeof head);
    if (memcmp(head.magic, MAGIC, sizeof head.magic) != 0 || head.version != VERSION ||
        head.zero != 0) {
        *why = "no entry of this version";
        return false;
    }
    size_t rest = count - sizeof head;
    if (head.beside_bytes > rest || head.code_bytes != rest - head.beside_bytes) {
        return false;
    }
    if (memcmp(head.key, key, sizeof head.key) != 0) {
        *why = "the entry of another module";
        return false;
    }
    *why = "damaged";
    if (!digest_of(digest, &head, bytes + sizeof head, rest) ||
        memcmp(digest, head.digest, sizeof digest) != 0) {
        return false;
    }
    *entry = (dw_module_entry){.beside = bytes + sizeof head,
                               .beside_bytes = (size_t)head.beside_bytes,
                               .code = bytes + sizeof head + head.beside_bytes,
                               .code_bytes = (size_t)head.code_bytes};
    return true;
}

static void name_of(char name[DW__MODULE_NAME_BYTES], const uint8_t key[DW_SHA256_BYTES])
{
    dw_hex(name, key, DW_SHA256_BYTES);
    memcpy(name + DW__MODULE_NAME_BYTES - sizeof DW__MODULE_ENDING, DW__MODULE_ENDING,
           sizeof DW__MODULE_ENDING);
}

static void drop(dw_module_cache *cache, const char *name, const char *why)
{
    dw_log(DW_LOG_WARN, "module cache: %s/%s: %s: thrown away", cache->path, name, why);
    (void)unlinkat(cache->fd, name, 0);
}

void dw_module_cache_drop(dw_module_cache *cache, const uint8_t key[DW_SHA256_BYTES],
                          const char *why)
{
    char name[DW__MODULE_NAME_BYTES];
    name_of(name, key);
    drop(cache, name, why);
}

/* Why a file is not read; NULL: it is. A second name of it could lie where a guest writes. */
static const char *distrusted(const struct stat *info)
{
    if (!S_ISREG(info->st_mode)) {
        return "no regular file";
    }
    if (info->st_uid != geteuid()) {
        return "another user's";
    }
    if ((info->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return "others can write it";
    }
    return info->st_nlink != 1 ? "it has another name (a hard link)" : NULL;
}

/* All of an entry's file, for dw_free; NULL: it is not there, or not to be used. */
static unsigned char *read_entry(dw_module_cache *cache, const char *name, size_t *bytes)
{
    struct stat info;
    int fd = dw_os_open_at(cache->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0) {
        if (errno == ELOOP) {
            drop(cache, name, "a link");
        }
        return NULL;
    }
    unsigned char *read = NULL;
    const char *why = fstat(fd, &info) == 0 ? distrusted(&info) : strerror(errno);
    if (why == NULL && (uint64_t)info.st_size > cache->bytes_max) {
        why = "larger than the whole cache may be";
    }
    if (why != NULL) {
        drop(cache, name, why);
        goto out;
    }
    *bytes = (size_t)info.st_size;
    read = dw_alloc(*bytes + 1, 1);
    if (read != NULL && dw_os_read_at(fd, 0, read, *bytes, NULL) != DW_OK) {
        dw_free(read);
        read = NULL;
    }
    if (read != NULL && dw_os_wall_ms() / 1000 > (uint64_t)info.st_mtime + USED_AGAIN_S) {
        (void)futimens(fd, NULL); /* its use, for the next that lets some go */
    }
out:
    dw_os_close(fd);
    return read;
}

bool dw_module_cache_find(dw_module_cache *cache, const uint8_t key[DW_SHA256_BYTES],
                          wasm_engine_t *engine, wasmtime_module_t **module, unsigned char **beside,
                          size_t *beside_bytes)
{
    char name[DW__MODULE_NAME_BYTES];
    size_t bytes = 0;
    dw_module_entry entry;
    const char *why;
    *module = NULL;
    *beside = NULL;
    *beside_bytes = 0;
    name_of(name, key);
    unsigned char *read = read_entry(cache, name, &bytes);
    if (read == NULL) {
        return false;
    }
    if (!dw_module_entry_read(&entry, read, bytes, key, &why)) {
        drop(cache, name, why);
        goto out;
    }
    if (entry.beside_bytes > 0) {
        *beside = dw_alloc(entry.beside_bytes, 1);
        if (*beside == NULL) {
            goto out;
        }
        memcpy(*beside, entry.beside, entry.beside_bytes);
        *beside_bytes = entry.beside_bytes;
    }
    wasmtime_error_t *error =
        wasmtime_module_deserialize(engine, entry.code, entry.code_bytes, module);
    if (error != NULL) { /* an engine made otherwise: our key should have told them apart */
        *module = NULL;
        wasmtime_error_delete(error);
        drop(cache, name, "Wasmtime does not take it");
        dw_free(*beside);
        *beside = NULL;
    }
out:
    dw_free(read);
    return *module != NULL;
}

/* ---- keeping ------------------------------------------------------------------------------- */

static bool write_entry(int fd, const entry_head *head, const unsigned char *beside,
                        const wasm_byte_vec_t *code, dw_error *err)
{
    return dw_os_write_at(fd, 0, head, sizeof *head, err) == DW_OK &&
           dw_os_write_at(fd, sizeof *head, beside, head->beside_bytes, err) == DW_OK &&
           dw_os_write_at(fd, sizeof *head + head->beside_bytes, code->data, code->size, err) ==
               DW_OK;
}

static bool make_head(entry_head *head, const uint8_t key[DW_SHA256_BYTES],
                      const unsigned char *beside, size_t beside_bytes, const wasm_byte_vec_t *code)
{
    *head =
        (entry_head){.version = VERSION, .beside_bytes = beside_bytes, .code_bytes = code->size};
    memcpy(head->magic, MAGIC, sizeof head->magic);
    memcpy(head->key, key, sizeof head->key);
    dw_hash128 *hash = dw_hash128_create();
    if (hash == NULL) {
        return false;
    }
    dw_hash128_add(hash, head, offsetof(entry_head, digest));
    dw_hash128_add(hash, beside, beside_bytes);
    dw_hash128_add(hash, code->data, code->size);
    dw_hash128_finish(hash, head->digest);
    dw_hash128_destroy(hash);
    return true;
}

static void put(dw_module_cache *cache, const char *name, const entry_head *head,
                const unsigned char *beside, const wasm_byte_vec_t *code)
{
    char temporary[DW__MODULE_NAME_BYTES];
    uint64_t random;
    dw_error err = {.message = ""};
    dw_os_random(&random, sizeof random);
    (void)snprintf(temporary, sizeof temporary, DW__MODULE_TEMPORARY "%016" PRIx64, random);
    int fd = dw_os_open_at(cache->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && write_entry(fd, head, beside, code, &err);
    if (fd >= 0) {
        dw_os_close(fd);
    }
    if (!good || renameat(cache->fd, temporary, cache->fd, name) != 0) {
        dw_log(DW_LOG_WARN, "module cache: %s/%s cannot be written: %s", cache->path, name,
               err.message[0] != '\0' ? err.message : strerror(errno));
        if (fd >= 0) {
            (void)unlinkat(cache->fd, temporary, 0);
        }
    }
}

void dw_module_cache_keep(dw_module_cache *cache, const uint8_t key[DW_SHA256_BYTES],
                          const wasmtime_module_t *module, const unsigned char *beside,
                          size_t beside_bytes)
{
    char name[DW__MODULE_NAME_BYTES];
    wasm_byte_vec_t code;
    entry_head head;
    wasmtime_error_t *error = wasmtime_module_serialize(module, &code);
    if (error != NULL) {
        wasmtime_error_delete(error);
        return;
    }
    name_of(name, key);
    uint64_t bytes = sizeof head + beside_bytes + code.size;
    if (bytes <= cache->bytes_max && make_head(&head, key, beside, beside_bytes, &code)) {
        put(cache, name, &head, beside, &code);
        dw__module_cache_trim(cache, name);
    }
    wasm_byte_vec_delete(&code);
}

/* ---- guests' folders ----------------------------------------------------------------------- */

static bool is_other(void *user, const struct stat *info)
{
    return !is_same(user, info);
}

bool dw_module_cache_is_reached(const dw_module_cache *cache, const char *host_path)
{
    struct stat granted;
    struct stat own;
    int fd = dw_os_open(host_path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 || fstat(fd, &granted) != 0 || fstat(cache->fd, &own) != 0) {
        if (fd >= 0) {
            dw_os_close(fd);
        }
        return fd >= 0; /* what cannot be opened is no folder to grant, which is told elsewhere */
    }
    return !visit_above(fd, is_other, &own) ||
           !visit_above(dw_os_open_at(cache->fd, ".", O_RDONLY | O_DIRECTORY, 0), is_other,
                        &granted);
}
