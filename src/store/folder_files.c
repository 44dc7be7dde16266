#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define COPY_BYTES ((size_t)1 << 20) /* read and written at once */

dw_status dw__folder_fail(const char *doing, const char *path, dw_error *err)
{
    int reason = errno;
    return dw_fail(err, reason == ENOENT ? DW_E_NOT_FOUND : DW_E_IO, "%s %.150s: %s", doing, path,
                   strerror(reason));
}

void dw__folder_join(const dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX], const char *a,
                     const char *b, const char *c)
{
    (void)snprintf(path, DW_FOLDER_PATH_MAX, "%s/%s%s%s%s%s", folder->path, a, b != NULL ? "/" : "",
                   b != NULL ? b : "", c != NULL ? "/" : "", c != NULL ? c : "");
}

dw_status dw__folder_make(const char *path, dw_error *err)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST ? DW_OK : dw__folder_fail("making", path, err);
}

dw_status dw__folder_make_all(const char *path, dw_error *err)
{
    char part[DW_FOLDER_PATH_MAX];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST && errno != EROFS) {
            return dw__folder_fail("making", part, err);
        }
        *slash = '/';
    }
    return dw__folder_make(part, err);
}

dw_status dw__folder_sync(const char *path, dw_error *err)
{
    int fd = dw_os_open(path, O_RDONLY | O_DIRECTORY, 0);
    dw_status status = fd >= 0 && fsync(fd) == 0 ? DW_OK : dw__folder_fail("syncing", path, err);
    dw_os_close(fd);
    return status;
}

dw_status dw__folder_each(const char *path, dw__folder_name_fn take, void *user, dw_error *err)
{
    int fd = dw_os_open(path, O_RDONLY | O_DIRECTORY, 0);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (list == NULL) {
        dw_status failed = dw__folder_fail("reading", path, err);
        dw_os_close(fd);
        return failed;
    }
    dw_status status = DW_OK;
    for (struct dirent *entry = NULL; status == DW_OK && (entry = readdir(list)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            status = take(user, entry->d_name, err);
        }
    }
    (void)closedir(list);
    return status;
}

void dw__folder_part_path(dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX])
{
    char name[sizeof DW_FOLDER_TMP "part-" + 20];
    (void)snprintf(name, sizeof name, DW_FOLDER_TMP "part-%" PRIu64,
                   (uint64_t)atomic_fetch_add(&folder->part_count, 1) + 1);
    dw__folder_join(folder, path, name, NULL, NULL);
}

bool dw__folder_number(const char **text, uint64_t *value)
{
    const char *next = *text;
    *value = 0;
    for (; *next >= '0' && *next <= '9'; next++) {
        uint64_t digit = (uint64_t)(*next - '0');
        if (*value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        *value = *value * 10 + digit;
    }
    bool any = next != *text;
    *text = next;
    return any;
}

dw_status dw__folder_write_file(dw_actor_folder *folder, const char *place, const char *path,
                                const void *bytes, size_t count, dw_error *err)
{
    char part[DW_FOLDER_PATH_MAX];
    dw__folder_part_path(folder, part);
    int fd = dw_os_open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dw_status status =
        fd >= 0 ? dw_os_write_at(fd, 0, bytes, count, err) : dw__folder_fail("making", part, err);
    if (status == DW_OK && (fsync(fd) != 0 || rename(part, path) != 0)) {
        status = dw__folder_fail("writing", path, err);
    }
    dw_os_close(fd);
    if (status != DW_OK) {
        (void)unlink(part);
        return status;
    }
    dw_actor_folder_add_bytes(folder, count);
    status = dw__folder_sync(place, err);
    /* The caller reports that nothing was written, so it must not be there; where it cannot be
     * taken back, it is written. */
    return status != DW_OK && unlink(path) != 0 && errno != ENOENT ? DW_OK : status;
}

dw_status dw__folder_copy_file(const char *from, const char *to, dw_error *err)
{
    dw_status status = DW_OK;
    int target = -1;
    unsigned char *buffer = NULL;
    int source = dw_os_open(from, O_RDONLY, 0);
    if (source < 0) {
        return dw__folder_fail("opening", from, err);
    }
    target = dw_os_open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (target < 0) {
        status = dw__folder_fail("making", to, err);
        goto out;
    }
    buffer = dw_alloc(1, COPY_BYTES);
    if (buffer == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "no memory to copy a file");
        goto out;
    }
    for (uint64_t at = 0;;) {
        ssize_t got = pread(source, buffer, COPY_BYTES, (off_t)at);
        if (got < 0) {
            status = dw__folder_fail("reading", from, err);
            goto out;
        }
        if (got == 0) {
            break;
        }
        status = dw_os_write_at(target, at, buffer, (size_t)got, err);
        if (status != DW_OK) {
            goto out;
        }
        at += (uint64_t)got;
    }
    if (fsync(target) != 0) {
        status = dw__folder_fail("writing", to, err);
    }
out:
    dw_free(buffer);
    dw_os_close(source);
    dw_os_close(target);
    return status;
}

static dw_status remove_one(void *user, const char *name, dw_error *err)
{
    const char *folder = user;
    char path[DW_FOLDER_PATH_MAX];
    struct stat info;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) {
        return dw_fail(err, DW_E_LIMIT, "%.150s: a longer path than %zu bytes", folder,
                       sizeof path - 1);
    }
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        /* Two levels, and no more: an actor's folder and its mail in earlier programs'. */
        return strcmp(name, "mail") == 0
                   ? dw__folder_remove_tree(path, err)
                   : dw_fail(err, DW_E_IO, "%.150s: not a folder of this program", path);
    }
    return unlink(path) == 0 || errno == ENOENT ? DW_OK : dw__folder_fail("removing", path, err);
}

dw_status dw__folder_remove_tree(const char *path, dw_error *err)
{
    char folder[DW_FOLDER_PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%s", path);
    dw_status status = dw__folder_each(folder, remove_one, folder, err);
    if (status != DW_OK) {
        return status;
    }
    return rmdir(path) == 0 || errno == ENOENT ? DW_OK : dw__folder_fail("removing", path, err);
}
