/* How much of the disk the folder takes. What is written is added; what goes is noticed when all is
 * measured again, once the sum is over its limit. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/os.h"
#include "store/actor_folder_internal.h"

#define BLOCK_BYTES 512   /* of st_blocks, by POSIX */
#define MEASURED_SHARE 10 /* of the time, at most, is spent on measuring */
#define LEVELS_MAX 4      /* of folders in the state folder */
#define UNMEASURED_BYTES (UINT64_C(64) << 20)

typedef struct measuring {
    const char *path;
    int levels; /* below it */
    uint64_t bytes;
} measuring;

static uint64_t shared_bytes(const struct stat *info)
{
    const uint64_t bytes = (uint64_t)info->st_blocks * BLOCK_BYTES;
    const uint64_t names = info->st_nlink > 0 ? (uint64_t)info->st_nlink : 1;
    return bytes / names; /* forks share files */
}

static dw_status measure_one(void *user, const char *name, dw_error *err)
{
    measuring *all = user;
    char path[DW_FOLDER_PATH_MAX];
    struct stat info;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", all->path, name) >= sizeof path ||
        lstat(path, &info) != 0) {
        return DW_OK;
    }
    if (!S_ISDIR(info.st_mode)) {
        all->bytes += shared_bytes(&info);
        return DW_OK;
    }
    measuring below = {.path = path, .levels = all->levels - 1};
    if (all->levels > 0) {
        dw_status status = dw__folder_each(path, measure_one, &below, err);
        all->bytes += below.bytes;
        return status;
    }
    return DW_OK;
}

static dw__folder_usage usage_of(dw_actor_folder *folder)
{
    (void)pthread_mutex_lock(&folder->counting);
    dw__folder_usage usage = folder->usage;
    (void)pthread_mutex_unlock(&folder->counting);
    return usage;
}

/* All of it; a file that cannot be looked at counts as nothing. What is written meanwhile is
 * counted, and waits for nothing: the journal's thread counts, too. */
static dw_status measure(dw_actor_folder *folder, dw_error *err)
{
    const uint64_t begun = dw_os_clock_ns();
    const dw__folder_usage before = usage_of(folder);
    measuring all = {.path = folder->path, .levels = LEVELS_MAX};
    dw_status status = dw__folder_each(folder->path, measure_one, &all, err);
    if (status == DW_OK) {
        const uint64_t now = dw_os_clock_ns();
        (void)pthread_mutex_lock(&folder->counting);
        folder->usage =
            (dw__folder_usage){.known = true,
                               .bytes = all.bytes + folder->usage.bytes - before.bytes,
                               .measure_again_ns = now + (now - begun) * MEASURED_SHARE};
        (void)pthread_mutex_unlock(&folder->counting);
    }
    return status;
}

void dw_actor_folder_add_bytes(dw_actor_folder *folder, uint64_t bytes)
{
    (void)pthread_mutex_lock(&folder->counting);
    folder->usage.bytes += bytes < UINT64_MAX / 4 ? bytes : 0;
    (void)pthread_mutex_unlock(&folder->counting);
}

/* Whether so little was written by this process that it does not matter what was there before. */
static bool is_idle(const dw__folder_usage *usage, uint64_t limit)
{
    const uint64_t little = limit / 16 < UNMEASURED_BYTES ? limit / 16 : UNMEASURED_BYTES;
    return !usage->known && usage->bytes < little;
}

static bool is_outdated(const dw__folder_usage *usage, uint64_t limit)
{
    return !usage->known || (usage->bytes >= limit && dw_os_clock_ns() >= usage->measure_again_ns);
}

dw_status dw_actor_folder_check_bytes(dw_actor_folder *folder, uint64_t limit, bool exactly,
                                      dw_error *err)
{
    dw_status status = DW_OK;
    dw__folder_usage usage = usage_of(folder);
    if (!exactly && is_idle(&usage, limit)) {
        return DW_OK;
    }
    if (is_outdated(&usage, limit)) {
        (void)pthread_mutex_lock(&folder->measuring); /* once for all who want it */
        usage = usage_of(folder);
        if (is_outdated(&usage, limit)) {
            status = measure(folder, err);
            usage = usage_of(folder);
        }
        (void)pthread_mutex_unlock(&folder->measuring);
    }
    if (status == DW_OK && usage.bytes >= limit) {
        char text[2][DW_LIMIT_TEXT_BYTES];
        dw_limit_format(DW_LIMIT_BYTES, usage.bytes, text[0]);
        dw_limit_format(DW_LIMIT_BYTES, limit, text[1]);
        return dw_fail(err, DW_E_LIMIT, "state folder: its files take %s, limit %s (folder_bytes)",
                       text[0], text[1]);
    }
    return status;
}
