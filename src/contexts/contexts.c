/* A folder of contexts under names, and who may use which. */
#include "contexts/contexts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/name.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "contexts/context_file.h"

#define PATH_BYTES 4096
#define SUFFIX ".context"
#define TEMPORARY ".tmp-"
#define PATTERNS_MAX 256u

struct dw_contexts {
    char path[PATH_BYTES / 2];
};

/* ---- names ----------------------------------------------------------------------------------- */

dw_status dw_context_pattern_check(const char *pattern, dw_error *err)
{
    size_t bytes = pattern != NULL ? strnlen(pattern, DW_NAME_MAX + 2) : 0;
    const bool open = bytes > 0 && pattern[bytes - 1] == '*';
    return bytes > 0 && bytes - open <= DW_NAME_MAX && dw_name_letters(pattern, bytes - open)
               ? DW_OK
               : dw_fail(err, DW_E_ARG,
                         "contexts: '%.80s': a name, or the beginning of one and '*' are needed",
                         pattern != NULL ? pattern : "(NULL)");
}

bool dw_context_name_granted(const char *const *patterns, size_t count, const char *name)
{
    bool granted = patterns == NULL;
    for (size_t i = 0; i < count && !granted; i++) {
        size_t bytes = strlen(patterns[i]);
        granted = bytes > 0 && patterns[i][bytes - 1] == '*'
                      ? strncmp(patterns[i], name, bytes - 1) == 0
                      : strcmp(patterns[i], name) == 0;
    }
    return granted;
}

/* ---- grants ---------------------------------------------------------------------------------- */

struct dw_context_grants {
    _Atomic size_t references;
    dw_contexts *contexts;
    char tenant[DW_TENANT_NAME_MAX + 1];
    dw_context_may_fn may;
    void *user;
    char **patterns[2]; /* [counts]: to open, to save; of those that `may` is NULL for */
    size_t counts[2];
};

dw_status dw_context_grants_create(dw_context_grants **out, dw_contexts *contexts,
                                   const char *tenant, dw_context_may_fn may, void *user,
                                   dw_error *err)
{
    dw_context_grants *grants = dw_alloc(1, sizeof *grants);
    *out = grants;
    if (grants == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to grant contexts");
    }
    atomic_store(&grants->references, 1);
    grants->contexts = contexts;
    grants->may = may;
    grants->user = user;
    (void)snprintf(grants->tenant, sizeof grants->tenant, "%s", tenant);
    return DW_OK;
}

static dw_status copy_patterns(dw_context_grants *grants, size_t which, const char *const *patterns,
                               size_t count, dw_error *err)
{
    if (count > PATTERNS_MAX || (patterns == NULL && count > 0)) {
        return dw_fail(err, count > PATTERNS_MAX ? DW_E_LIMIT : DW_E_ARG,
                       "contexts: %zu patterns, limit %u", count, PATTERNS_MAX);
    }
    grants->patterns[which] = dw_alloc(count + 1, sizeof(char *));
    if (grants->patterns[which] == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to grant contexts");
    }
    for (size_t i = 0; i < count; i++) {
        dw_status status = dw_context_pattern_check(patterns[i], err);
        if (status != DW_OK) {
            return status;
        }
        grants->patterns[which][i] = dw_strdup(patterns[i]);
        if (grants->patterns[which][i] == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory to grant contexts");
        }
        grants->counts[which]++;
    }
    return DW_OK;
}

static dw_status check_tenant(const char *tenant, dw_error *err)
{
    return strnlen(tenant, DW_TENANT_NAME_MAX + 1) <= DW_TENANT_NAME_MAX
               ? DW_OK
               : dw_fail(err, DW_E_ARG, "tenant: a name has at most %d bytes", DW_TENANT_NAME_MAX);
}

dw_status dw_context_grants_of(dw_context_grants **out, const dw_contexts_grant *grant,
                               dw_error *err)
{
    const char *tenant = grant->tenant != NULL ? grant->tenant : "";
    *out = NULL;
    dw_status status = check_tenant(tenant, err);
    if (status == DW_OK) {
        status = dw_context_grants_create(out, grant->contexts, tenant, NULL, NULL, err);
    }
    if (status == DW_OK) {
        status = copy_patterns(*out, 0, grant->reads, grant->read_count, err);
    }
    if (status == DW_OK) {
        status = copy_patterns(*out, 1, grant->writes, grant->write_count, err);
    }
    if (status != DW_OK) {
        dw_context_grants_unref(*out);
        *out = NULL;
    }
    return status;
}

dw_context_grants *dw_context_grants_ref(dw_context_grants *grants)
{
    if (grants != NULL) {
        (void)atomic_fetch_add(&grants->references, 1);
    }
    return grants;
}

void dw_context_grants_unref(dw_context_grants *grants)
{
    if (grants == NULL || atomic_fetch_sub(&grants->references, 1) != 1) {
        return;
    }
    for (size_t which = 0; which < 2; which++) {
        for (size_t i = 0; i < grants->counts[which]; i++) {
            dw_free(grants->patterns[which][i]);
        }
        dw_free(grants->patterns[which]);
    }
    dw_free(grants);
}

dw_status dw_context_grants_check(const dw_context_grants *grants, dw_context_place *place,
                                  bool saves, dw_error *err)
{
    const char *name = place->name;
    if (grants != NULL && grants->may != NULL) {
        return grants->may(grants->user, place, saves, err);
    }
    const size_t which = saves ? 1 : 0;
    return grants != NULL && dw_context_name_granted((const char *const *)grants->patterns[which],
                                                     grants->counts[which], name)
               ? DW_OK
               : dw_fail(err, DW_E_DENIED, "context '%s': it was not granted to be %s", name,
                         saves ? "saved" : "opened");
}

dw_contexts *dw_context_grants_folder(const dw_context_grants *grants)
{
    return grants->contexts;
}

const char *dw_context_grants_tenant(const dw_context_grants *grants)
{
    return grants != NULL ? grants->tenant : "";
}

/* ---- paths ----------------------------------------------------------------------------------- */

dw_status dw_contexts_open(dw_contexts **out, const char *path, dw_error *err)
{
    *out = NULL;
    if (path == NULL || path[0] == '\0') {
        return dw_fail(err, DW_E_ARG, "contexts: no folder was named");
    }
    if (strlen(path) >= sizeof((dw_contexts *)NULL)->path) {
        return dw_fail(err, DW_E_LIMIT, "contexts: a path of %zu bytes, limit %zu", strlen(path),
                       sizeof((dw_contexts *)NULL)->path - 1);
    }
    dw_contexts *contexts = dw_alloc(1, sizeof *contexts);
    if (contexts == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a folder of contexts");
    }
    (void)snprintf(contexts->path, sizeof contexts->path, "%s", path);
    *out = contexts;
    return DW_OK;
}

void dw_contexts_close(dw_contexts *contexts)
{
    dw_free(contexts);
}

static void tenant_path(const dw_contexts *contexts, const char *tenant, char path[PATH_BYTES])
{
    char digits[2 * DW_TENANT_NAME_MAX + 1];
    dw_hex(digits, (const uint8_t *)tenant, strlen(tenant));
    (void)snprintf(path, PATH_BYTES, "%s/-%s", contexts->path, digits);
}

static void file_path(const char *folder, const char *name, char path[PATH_BYTES])
{
    char digits[2 * DW_NAME_MAX + 1];
    dw_hex(digits, (const uint8_t *)name, strlen(name));
    (void)snprintf(path, PATH_BYTES, "%.3000s/%s" SUFFIX, folder, digits);
}

static dw_status fail_path(const char *doing, const char *path, dw_error *err)
{
    int failure = errno;
    return dw_fail(err, failure == ENOENT ? DW_E_NOT_FOUND : DW_E_IO, "%s %.120s: %s", doing, path,
                   strerror(failure));
}

static dw_status fail_of(const char *name, dw_status status, const dw_error *why, dw_error *err)
{
    return dw_fail(err, status, "context '%s': %s", name, why->message);
}

/* ---- one tenant's folder, under its lock ----------------------------------------------------- */

static dw_status lock_folder(const char *folder, int *lock, dw_error *err)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%.3000s/.lock", folder);
    *lock = dw_os_open(path, O_RDWR | O_CREAT, 0600);
    if (*lock < 0) {
        return fail_path("opening", path, err);
    }
    int failed;
    do {
        failed = flock(*lock, LOCK_EX);
    } while (failed != 0 && errno == EINTR);
    if (failed != 0) {
        dw_status status = fail_path("locking", path, err);
        dw_os_close(*lock);
        *lock = -1;
        return status;
    }
    return DW_OK;
}

static void unlock_folder(int *lock)
{
    if (*lock >= 0) {
        dw_os_close(*lock);
        *lock = -1;
    }
}

static DIR *open_list(const char *folder)
{
    int fd = dw_os_open(folder, O_RDONLY | O_DIRECTORY, 0);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && list == NULL) {
        int failure = errno;
        dw_os_close(fd);
        errno = failure;
    }
    return list;
}

static bool has_suffix(const char *name)
{
    size_t bytes = strlen(name);
    return bytes > sizeof SUFFIX - 1 && strcmp(name + bytes - (sizeof SUFFIX - 1), SUFFIX) == 0;
}

/* How large a file is to be that somebody writes. One whose lock nobody holds is of a process that
 * was killed, and goes. */
static uint64_t measure_unfinished(const char *path)
{
    struct stat info = {.st_size = 0};
    int fd = dw_os_open(path, O_RDWR, 0);
    if (fd < 0) {
        return 0;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        (void)unlink(path);
    } else if (fstat(fd, &info) != 0) {
        info.st_size = 0;
    }
    dw_os_close(fd);
    return (uint64_t)info.st_size;
}

/* What there is beside `own`, the names of the file and of what is to take its place ("": it does
 * not exist yet). What others are writing has its bytes, but may be in another's place. */
static dw_status measure(const char *folder, const char *const own[2], uint64_t *count,
                         uint64_t *bytes, dw_error *err)
{
    *count = *bytes = 0;
    DIR *list = open_list(folder);
    if (list == NULL) {
        return fail_path("reading", folder, err);
    }
    for (const struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
        char path[PATH_BYTES];
        struct stat info;
        if (strcmp(entry->d_name, own[0]) == 0 || strcmp(entry->d_name, own[1]) == 0) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%.3000s/%.255s", folder, entry->d_name);
        if (strncmp(entry->d_name, TEMPORARY, sizeof TEMPORARY - 1) == 0) {
            *bytes += measure_unfinished(path);
        } else if (has_suffix(entry->d_name) && stat(path, &info) == 0) {
            (*count)++;
            *bytes += (uint64_t)info.st_size;
        }
    }
    (void)closedir(list);
    return DW_OK;
}

/* ---- saving ---------------------------------------------------------------------------------- */

/* A file that is being written. */
typedef struct new_file {
    char folder[PATH_BYTES];
    char path[PATH_BYTES];      /* where it is to be */
    char temporary[PATH_BYTES]; /* where it is; "": it is not */
    uint64_t bytes;             /* that it is to have */
    int fd;
    int lock; /* the folder's; -1: not held */
} new_file;

/* Whether there is room for it in the place of the one that it replaces. */
static dw_status check_room(const new_file *file, const dw_context_place *place, dw_error *err)
{
    uint64_t count = 0;
    uint64_t bytes = 0;
    const char *const own[2] = {strrchr(file->path, '/') + 1,
                                file->temporary[0] != '\0' ? strrchr(file->temporary, '/') + 1
                                                           : ""};
    dw_status status = measure(file->folder, own, &count, &bytes, err);
    if (status == DW_OK && count >= place->count_max) {
        return dw_fail(err, DW_E_LIMIT,
                       "%" PRIu64 " others are saved, limit %" PRIu64 " (saved_contexts)", count,
                       place->count_max);
    }
    if (status == DW_OK && (bytes > place->bytes_max || file->bytes > place->bytes_max - bytes)) {
        return dw_fail(err, DW_E_LIMIT,
                       "%" PRIu64 " bytes beside %" PRIu64 " of others, limit %" PRIu64
                       " (saved_context_bytes)",
                       file->bytes, bytes, place->bytes_max);
    }
    return status;
}

/* Under another name, with all the bytes that it is to have: so others count them. */
static dw_status make_temporary(new_file *file, dw_error *err)
{
    uint64_t random;
    dw_os_random(&random, sizeof random);
    (void)snprintf(file->temporary, sizeof file->temporary, "%.3000s/" TEMPORARY "%016" PRIx64,
                   file->folder, random);
    file->fd = dw_os_open(file->temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file->fd >= 0 && flock(file->fd, LOCK_EX | LOCK_NB) == 0 &&
        ftruncate(file->fd, (off_t)file->bytes) == 0) {
        return DW_OK;
    }
    dw_status status = fail_path("writing", file->temporary, err);
    return status == DW_E_NOT_FOUND ? DW_E_IO : status;
}

static dw_status begin_file(dw_contexts *contexts, const dw_context_place *place, new_file *file,
                            dw_error *err)
{
    tenant_path(contexts, place->tenant, file->folder);
    file_path(file->folder, place->name, file->path);
    dw_status status = dw_os_make_folder(file->folder, err);
    if (status == DW_OK) {
        status = lock_folder(file->folder, &file->lock, err);
    }
    if (status == DW_OK) {
        status = check_room(file, place, err);
    }
    if (status == DW_OK) {
        status = make_temporary(file, err);
    }
    unlock_folder(&file->lock);
    return status;
}

/* The entries of a file in a tenant's folder, of that one and of the folder of all: the last two
 * may be new. What is above them may be somebody's who lets nobody open it. */
static dw_status sync_entries(const char *folder, dw_error *err)
{
    char path[PATH_BYTES];
    int failure = 0;
    (void)snprintf(path, sizeof path, "%s", folder);
    for (unsigned level = 0; level < 3 && failure == 0; level++) {
        int fd = dw_os_open(path, O_RDONLY | O_DIRECTORY, 0);
        failure = fd >= 0 ? dw_os_sync(fd) : (level < 2 ? errno : 0);
        if (fd >= 0) {
            dw_os_close(fd);
        }
        char *slash = strrchr(path, '/');
        if (slash != NULL) {
            slash[slash == path] = '\0';
        } else {
            (void)snprintf(path, sizeof path, ".");
        }
    }
    return failure == 0
               ? DW_OK
               : dw_fail(err, DW_E_IO, "it is in its place, but its folder could not be synced: %s",
                         strerror(failure));
}

/* In the place of the one before. */
static dw_status finish_file(const dw_context_place *place, new_file *file, dw_error *err)
{
    dw_status status = lock_folder(file->folder, &file->lock, err);
    if (status == DW_OK) { /* others may have saved meanwhile */
        status = check_room(file, place, err);
    }
    if (status == DW_OK && rename(file->temporary, file->path) != 0) {
        status = fail_path("renaming", file->temporary, err);
        status = status == DW_E_NOT_FOUND ? DW_E_IO : status;
    }
    if (status != DW_OK) {
        return status;
    }
    file->temporary[0] = '\0';
    return sync_entries(file->folder, err);
}

static void release_file(new_file *file)
{
    if (file->temporary[0] != '\0') {
        (void)unlink(file->temporary);
    }
    if (file->fd >= 0) {
        dw_os_close(file->fd);
    }
    unlock_folder(&file->lock);
}

dw_status dw_contexts_save(dw_contexts *contexts, const dw_context_place *place,
                           dw_context *context, dw_error *err)
{
    dw__context_head head;
    dw_error why = {.message = ""};
    dw_status status = dw_name_check("context", place->name, err);
    if (status != DW_OK) {
        return status;
    }
    new_file *file = dw_alloc(1, sizeof *file);
    if (file == NULL) {
        return dw_fail(err, DW_E_MEMORY, "context '%s': no memory to save it", place->name);
    }
    file->fd = file->lock = -1;
    status = dw__context_describe(&head, place, context, &why);
    if (status == DW_OK) {
        file->bytes = dw__context_file_bytes(&head);
        status = begin_file(contexts, place, file, &why);
    }
    if (status == DW_OK) {
        status = dw__context_write(file->fd, &head, context, place->stop, &why);
    }
    if (status == DW_OK) {
        status = finish_file(place, file, &why);
    }
    release_file(file);
    dw_free(file);
    return status == DW_OK ? DW_OK : fail_of(place->name, status, &why, err);
}

/* ---- opening --------------------------------------------------------------------------------- */

dw_status dw_contexts_load(dw_contexts *contexts, const dw_context_place *place,
                           const dw_context_wanted *wanted, dw_context **out, dw_error *err)
{
    char folder[PATH_BYTES];
    char path[PATH_BYTES];
    dw__context_head head;
    dw__context_rest rest = {.tokens = NULL};
    dw_error why = {.message = ""};
    *out = NULL;
    dw_status status = dw_name_check("context", place->name, err);
    if (status != DW_OK) {
        return status;
    }
    tenant_path(contexts, place->tenant, folder);
    file_path(folder, place->name, path);
    int fd = dw_os_open(path, O_RDONLY, 0);
    if (fd < 0) {
        status = fail_path("opening", path, &why);
        return status == DW_E_NOT_FOUND
                   ? dw_fail(err, DW_E_NOT_FOUND, "context '%s': none is saved", place->name)
                   : fail_of(place->name, status, &why, err);
    }
    status = dw__context_read(fd, &head, &rest, &why);
    if (status == DW_OK &&
        (strcmp(head.name, place->name) != 0 || strcmp(head.tenant, place->tenant) != 0)) {
        status = dw_fail(&why, DW_E_FORMAT, "it is another one's");
    }
    if (status == DW_OK) {
        dw_context_wanted own = *wanted;
        own.stop = place->stop;
        status = dw__context_thaw(fd, &head, &rest, &own, out, &why);
    }
    dw__context_rest_release(&rest);
    dw_os_close(fd);
    return status == DW_OK ? DW_OK : fail_of(place->name, status, &why, err);
}

/* ---- looking --------------------------------------------------------------------------------- */

typedef struct listing {
    void (*take)(void *user, const dw_saved_context *saved);
    void *user;
} listing;

static void list_file(const char *folder, const char *file, const listing *to)
{
    char path[PATH_BYTES];
    dw__context_head head;
    (void)snprintf(path, sizeof path, "%.3000s/%.255s", folder, file);
    int fd = dw_os_open(path, O_RDONLY, 0);
    if (fd < 0) { /* it has gone meanwhile */
        return;
    }
    if (dw__context_read(fd, &head, NULL, NULL) == DW_OK) {
        const dw_saved_context saved = {.struct_bytes = sizeof saved,
                                        .tenant = head.tenant,
                                        .name = head.name,
                                        .model = head.fingerprint,
                                        .kv_type = (dw_kv_type)head.kv_type,
                                        .token_count = head.length,
                                        .bytes = dw__context_file_bytes(&head),
                                        .saved_ms = head.saved_ms};
        to->take(to->user, &saved);
    }
    dw_os_close(fd);
}

/* Call `each` for what is in a folder; one that is not there is empty. */
static dw_status each_name(const char *folder,
                           void (*each)(const char *folder, const char *name, const listing *to),
                           const listing *to, dw_error *err)
{
    DIR *list = open_list(folder);
    if (list == NULL) {
        return errno == ENOENT ? DW_OK : fail_path("reading", folder, err);
    }
    for (const struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
        each(folder, entry->d_name, to);
    }
    (void)closedir(list);
    return DW_OK;
}

static void list_name(const char *folder, const char *name, const listing *to)
{
    if (has_suffix(name)) {
        list_file(folder, name, to);
    }
}

static void list_tenant(const char *folder, const char *name, const listing *to)
{
    char path[PATH_BYTES];
    if (name[0] == '-') {
        (void)snprintf(path, sizeof path, "%.3000s/%.255s", folder, name);
        (void)!each_name(path, list_name, to, NULL);
    }
}

dw_status dw_contexts_list(dw_contexts *contexts, const char *tenant,
                           void (*take)(void *user, const dw_saved_context *saved), void *user,
                           dw_error *err)
{
    char folder[PATH_BYTES];
    const listing to = {.take = take, .user = user};
    if (tenant == NULL) {
        return each_name(contexts->path, list_tenant, &to, err);
    }
    dw_status status = check_tenant(tenant, err);
    if (status != DW_OK) {
        return status;
    }
    tenant_path(contexts, tenant, folder);
    return each_name(folder, list_name, &to, err);
}

dw_status dw_contexts_remove(dw_contexts *contexts, const char *tenant, const char *name,
                             dw_error *err)
{
    char folder[PATH_BYTES];
    char path[PATH_BYTES];
    int lock = -1;
    dw_error why = {.message = ""};
    dw_status status = check_tenant(tenant != NULL ? tenant : "", err);
    if (status == DW_OK) {
        status = dw_name_check("context", name, err);
    }
    if (status != DW_OK) {
        return status;
    }
    tenant_path(contexts, tenant != NULL ? tenant : "", folder);
    file_path(folder, name, path);
    status = lock_folder(folder, &lock, &why);
    if (status == DW_OK && unlink(path) != 0) {
        status = fail_path("removing", path, &why);
    }
    unlock_folder(&lock);
    if (status == DW_E_NOT_FOUND) {
        return dw_fail(err, DW_E_NOT_FOUND, "context '%s': none is saved", name);
    }
    return status == DW_OK ? DW_OK : fail_of(name, status, &why, err);
}
