/* Fingerprints that are kept from one process to the next: a folder with a small file for each
 * model, named by a hash of the identity of its files.
 *
 *   driftwood fingerprint 2
 *   file DEVICE INODE BYTES CHANGED_NS DESCRIBED_NS      of each part, in order
 *   gguf2:...
 *   the XXH3-128 of the lines above
 *
 * A file is believed if all of it is as this process would write it. What a write into a model
 * leaves unchanged, size and both times, is not noticed: mtime can be set back by programs, ctime
 * by the system's clock only. Files are written beside their place and renamed, so that processes
 * do not see each other's halves; the last one wins, with the same content. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "gguf/fingerprint_internal.h"

#define ENTRIES_MAX 512u
#define LINE_BYTES 128u
#define PATH_BYTES 4096u
#define LEFT_OVER_S 3600 /* a process that writes for so long was killed */
/* A file that was changed within a tick of its file system's clock may change again unnoticed. */
#define TICK_NS INT64_C(50000000)
#define COARSE_TICK_NS INT64_C(2000000000)

/* The lines that say which files these are; the caller's. */
static char *describe(const dw_file_identity *files, uint32_t count)
{
    size_t capacity = (count + (size_t)4) * LINE_BYTES;
    char *text = dw_alloc(capacity, 1);
    int used = text != NULL ? snprintf(text, capacity, "driftwood fingerprint 2\n") : 0;
    for (uint32_t i = 0; i < count && text != NULL; i++) {
        const dw_file_identity *f = &files[i];
        used += snprintf(text + used, capacity - (size_t)used,
                         "file %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 "\n",
                         f->device, f->inode, f->bytes, f->changed_ns, f->described_ns);
    }
    return text;
}

static bool entry_path(char path[PATH_BYTES], const char *folder, const char *description)
{
    char name[DW_HASH128_TEXT];
    dw_hash128_text(name, description, strlen(description));
    int length = snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return length > 0 && (size_t)length < PATH_BYTES;
}

/* Put the last two lines behind the description, in its own room. */
static void complete(char *description, const char *text)
{
    char sum[DW_HASH128_TEXT];
    size_t used = strlen(description);
    used += (size_t)snprintf(description + used, LINE_BYTES, "%s\n", text);
    dw_hash128_text(sum, description, used);
    (void)snprintf(description + used, LINE_BYTES, "%s\n", sum);
}

static bool is_fingerprint(const char *text)
{
    size_t kind = strlen(DW__FINGERPRINT_WHOLE);
    return strncmp(text, DW__FINGERPRINT_WHOLE, kind) == 0 && strlen(text) == kind + 64 &&
           strspn(text + kind, "0123456789abcdef") == 64;
}

bool dw__fingerprint_kept(const char *folder, const dw_file_identity *files, uint32_t count,
                          char text[DW_FINGERPRINT_BYTES])
{
    char path[PATH_BYTES];
    char *there = NULL;
    size_t bytes = 0;
    bool good = false;
    char *expected = describe(files, count);
    if (expected == NULL || !entry_path(path, folder, expected)) {
        goto out;
    }
    size_t length = strlen(expected);
    if (dw_os_read_file(path, length + 2 * (size_t)LINE_BYTES, &there, &bytes, NULL) != DW_OK ||
        bytes <= length || strncmp(there, expected, length) != 0) {
        goto out;
    }
    size_t line = strcspn(there + length, "\n");
    if (line >= DW_FINGERPRINT_BYTES) {
        goto out;
    }
    memcpy(text, there + length, line);
    text[line] = '\0';
    if (is_fingerprint(text)) {
        complete(expected, text);
        good = strcmp(expected, there) == 0;
    }
out:
    dw_free(expected);
    dw_free(there);
    return good;
}

/* Remove what killed processes left, and the oldest entry where there are too many. */
static void prune(const char *folder)
{
    int fd = dw_os_open(folder, O_RDONLY | O_DIRECTORY, 0);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    char oldest[PATH_BYTES] = "";
    char path[PATH_BYTES];
    time_t oldest_time = 0;
    time_t now = time(NULL);
    size_t count = 0;
    for (struct dirent *entry = NULL; list != NULL && (entry = readdir(list)) != NULL;) {
        struct stat info;
        int length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || (size_t)length >= sizeof path || stat(path, &info) != 0 ||
            !S_ISREG(info.st_mode)) {
            continue;
        }
        bool partial = strncmp(entry->d_name, "tmp-", 4) == 0;
        if (partial && now - info.st_mtime > LEFT_OVER_S) {
            (void)unlink(path);
        }
        if (!partial && strlen(entry->d_name) == DW_HASH128_TEXT - 1) {
            count++;
            if (oldest[0] == '\0' || info.st_mtime < oldest_time) {
                oldest_time = info.st_mtime;
                memcpy(oldest, path, sizeof oldest);
            }
        }
    }
    if (list == NULL) {
        dw_os_close(fd);
    } else {
        (void)closedir(list);
    }
    if (count > ENTRIES_MAX) {
        (void)unlink(oldest);
    }
}

static bool is_settled(const dw_file_identity *files, uint32_t count)
{
    int64_t now_ns = (int64_t)dw_os_wall_ms() * 1000000;
    for (uint32_t i = 0; i < count; i++) {
        int64_t last_ns = files[i].described_ns > files[i].changed_ns ? files[i].described_ns
                                                                      : files[i].changed_ns;
        int64_t tick_ns = last_ns % 1000000000 == 0 ? COARSE_TICK_NS : TICK_NS;
        if (now_ns - last_ns < tick_ns) {
            return false;
        }
    }
    return true;
}

void dw__fingerprint_keep(const char *folder, const dw_file_identity *files, uint32_t count,
                          const char *text)
{
    char path[PATH_BYTES];
    char temporary[PATH_BYTES];
    uint8_t random[8];
    char digits[2 * sizeof random + 1];
    dw_error error = {.message = ""};
    char *content = is_settled(files, count) ? describe(files, count) : NULL;
    if (content == NULL || !entry_path(path, folder, content)) {
        dw_free(content);
        return;
    }
    complete(content, text);
    dw_os_random(random, sizeof random);
    dw_hex(digits, random, sizeof random);
    int length = snprintf(temporary, sizeof temporary, "%s/tmp-%s", folder, digits);
    dw_status status =
        (size_t)length < sizeof temporary ? dw_os_make_folder(folder, &error) : DW_E_LIMIT;
    if (status == DW_OK) {
        status = dw_os_replace_file(path, temporary, content, strlen(content), &error);
    }
    if (status == DW_OK) {
        prune(folder);
    } else {
        dw_log(DW_LOG_INFO, "fingerprint: not kept: %s", error.message);
    }
    dw_free(content);
}
