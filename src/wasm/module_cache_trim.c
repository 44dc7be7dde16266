/* What goes when a module cache is full. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/os.h"
#include "wasm/module_cache_internal.h"

#define FILES_MAX 100000 /* that are looked at */
#define LEFT_S 3600      /* a writer takes no longer */

typedef struct entry {
    char name[DW__MODULE_NAME_BYTES];
    uint64_t bytes;
    int64_t used_s;
} entry;

typedef struct entries {
    entry *list;
    size_t count;
    size_t capacity;
    uint64_t bytes;
} entries;

static bool is_hex(const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (dw_hex_digit((unsigned char)text[i]) < 0) {
            return false;
        }
    }
    return true;
}

static bool is_entry(const char *name)
{
    size_t digits = (size_t)2 * DW_SHA256_BYTES;
    return strlen(name) == DW__MODULE_NAME_BYTES - 1 && is_hex(name, digits) &&
           strcmp(name + digits, DW__MODULE_ENDING) == 0;
}

static bool is_temporary(const char *name)
{
    size_t prefix = strlen(DW__MODULE_TEMPORARY);
    return strncmp(name, DW__MODULE_TEMPORARY, prefix) == 0 && strlen(name) == prefix + 16 &&
           is_hex(name + prefix, 16);
}

/* false: no memory. */
static bool look_at(dw_module_cache *cache, entries *all, const char *name)
{
    struct stat info;
    bool temporary = is_temporary(name);
    if ((!temporary && !is_entry(name)) ||
        fstatat(cache->fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return true;
    }
    if (temporary) {
        if (dw_os_wall_ms() / 1000 > (uint64_t)info.st_mtime + LEFT_S) {
            (void)unlinkat(cache->fd, name, 0);
        }
        return true;
    }
    if (!DW_ARRAY_RESERVE(all->list, all->capacity, all->count + 1, FILES_MAX)) {
        return false;
    }
    entry *at = &all->list[all->count++];
    *at = (entry){.bytes = (uint64_t)info.st_size, .used_s = info.st_mtime};
    memcpy(at->name, name, strlen(name) + 1);
    all->bytes += at->bytes;
    return true;
}

static int older_first(const void *left, const void *right)
{
    const entry *a = left;
    const entry *b = right;
    return a->used_s < b->used_s ? -1 : a->used_s > b->used_s;
}

void dw__module_cache_trim(dw_module_cache *cache, const char *kept)
{
    entries all = {0};
    int fd = dw_os_open_at(cache->fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *item;
    if (folder == NULL) {
        if (fd >= 0) {
            dw_os_close(fd);
        }
        return;
    }
    for (size_t i = 0; i < FILES_MAX && (item = readdir(folder)) != NULL; i++) {
        if (!look_at(cache, &all, item->d_name)) {
            break;
        }
    }
    (void)closedir(folder);
    if (all.bytes > cache->bytes_max) {
        qsort(all.list, all.count, sizeof *all.list, older_first);
    }
    for (size_t i = 0; i < all.count && all.bytes > cache->bytes_max; i++) {
        if (strcmp(all.list[i].name, kept) != 0) {
            (void)unlinkat(cache->fd, all.list[i].name,
                           0); /* another process may have been first */
            all.bytes -= all.list[i].bytes;
        }
    }
    dw_free(all.list);
}
