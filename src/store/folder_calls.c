/* A file of a call: a line that says whose it is and what came of it, the message, the answer. */
#include "store/folder_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define CALLS "calls"
#define HEAD_BYTES 512
#define ANSWER_BYTES_MAX ((size_t)1 << 20) /* src/wasm/tool_call.h */

static void call_path(const dw_actor_folder *folder, const char *id, uint32_t index,
                      char place[DW_FOLDER_PATH_MAX], char path[DW_FOLDER_PATH_MAX])
{
    char number[16];
    (void)snprintf(number, sizeof number, "%" PRIu32, index);
    dw__folder_join(folder, place, CALLS, id, NULL);
    dw__folder_join(folder, path, CALLS, id, number);
}

/* The line without what came of it: the same for the same call. */
static void describe(char head[HEAD_BYTES], const dw_kept_call *call)
{
    (void)snprintf(head, HEAD_BYTES, "call 1 %c %" PRIu64 " %" PRIu64 " %s %s ",
                   (char)call->work.kind, call->work.number, call->work.inside, call->name,
                   call->request);
}

static void drop_from(dw_actor_folder *folder, const char *id, uint32_t index)
{
    char place[DW_FOLDER_PATH_MAX];
    char path[DW_FOLDER_PATH_MAX];
    do {
        call_path(folder, id, index++, place, path);
    } while (unlink(path) == 0);
}

/* -> bytes [*count] with a zero behind; NULL: it cannot be read, or is too long. */
static unsigned char *read_all(const char *path, size_t *count, bool *absent)
{
    int fd = dw_os_open(path, O_RDONLY, 0);
    *absent = fd < 0 && errno == ENOENT;
    if (fd < 0) {
        return NULL;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    unsigned char *bytes = NULL;
    if (size >= 0 && (size_t)size <= HEAD_BYTES + sizeof(dw_error) + ANSWER_BYTES_MAX) {
        bytes = dw_alloc((size_t)size + 1, 1);
    }
    *count = (size_t)size;
    if (bytes != NULL && (pread(fd, bytes, *count, 0) != (ssize_t)*count)) {
        dw_free(bytes);
        bytes = NULL;
    }
    dw_os_close(fd);
    return bytes;
}

/* What the file says came of the call; false: it is of another call. */
static bool take(const unsigned char *bytes, size_t count, const dw_kept_call *call,
                 dw_call_result *result)
{
    char head[HEAD_BYTES];
    int status;
    size_t message_bytes;
    size_t answer_bytes;
    describe(head, call);
    const char *text = (const char *)bytes;
    size_t length = strlen(head);
    const char *end = memchr(text, '\n', count);
    if (end == NULL || count < length || memcmp(text, head, length) != 0 ||
        sscanf(text + length, "%d %zu %zu", &status, &message_bytes, &answer_bytes) != 3) {
        return false;
    }
    size_t rest = count - (size_t)(end + 1 - text);
    if (message_bytes >= sizeof result->message || answer_bytes > ANSWER_BYTES_MAX ||
        message_bytes + answer_bytes != rest) {
        return false;
    }
    *result = (dw_call_result){.status = (dw_status)status, .bytes = answer_bytes};
    memcpy(result->message, end + 1, message_bytes);
    result->answer = dw_alloc(answer_bytes + 1, 1);
    if (result->answer != NULL) {
        memcpy(result->answer, end + 1 + message_bytes, answer_bytes);
    }
    return true;
}

dw_status dw_actor_folder_find_call(dw_actor_folder *folder, const char *id,
                                    const dw_kept_call *call, bool *found, dw_call_result *result,
                                    dw_error *err)
{
    char place[DW_FOLDER_PATH_MAX];
    char path[DW_FOLDER_PATH_MAX];
    size_t count = 0;
    bool absent = false;
    *found = false;
    call_path(folder, id, call->index, place, path);
    unsigned char *bytes = read_all(path, &count, &absent);
    if (bytes == NULL) {
        return absent ? DW_OK : dw__folder_fail("reading", path, err);
    }
    *found = take(bytes, count, call, result);
    dw_free(bytes);
    if (!*found) {
        drop_from(folder, id, call->index);
    } else if (result->answer == NULL) {
        *found = false;
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of an answer", result->bytes);
    }
    return DW_OK;
}

dw_status dw_actor_folder_note_call(dw_actor_folder *folder, const char *id,
                                    const dw_kept_call *call, const dw_call_result *result,
                                    dw_error *err)
{
    char place[DW_FOLDER_PATH_MAX];
    char path[DW_FOLDER_PATH_MAX];
    char head[HEAD_BYTES];
    size_t message_bytes = result->status != DW_OK ? strlen(result->message) : 0;
    call_path(folder, id, call->index, place, path);
    describe(head, call);
    size_t length = strlen(head);
    length += (size_t)snprintf(head + length, sizeof head - length, "%d %zu %zu\n",
                               (int)result->status, message_bytes, result->bytes);
    size_t count = length + message_bytes + result->bytes;
    unsigned char *bytes = dw_alloc(count, 1);
    if (bytes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of an answer", count);
    }
    memcpy(bytes, head, length);
    memcpy(bytes + length, result->message, message_bytes);
    if (result->bytes > 0) {
        memcpy(bytes + length + message_bytes, result->answer, result->bytes);
    }
    dw_status status = dw__folder_make_all(place, err);
    if (status == DW_OK) {
        status = dw__folder_write_file(folder, place, path, bytes, count, err);
    }
    if (status == DW_OK && call->index == 0) { /* the folders may be new */
        dw__folder_join(folder, place, CALLS, NULL, NULL);
        status = dw__folder_sync(place, err);
        status = status == DW_OK ? dw__folder_sync(folder->path, err) : status;
    }
    dw_free(bytes);
    return status;
}

void dw_actor_folder_drop_calls(dw_actor_folder *folder, const char *id)
{
    char place[DW_FOLDER_PATH_MAX];
    dw__folder_join(folder, place, CALLS, id, NULL);
    drop_from(folder, id, 0);
    (void)rmdir(place);
}

/* One of an actor that is gone. */
static dw_status sweep_one(void *user, const char *name, dw_error *err)
{
    dw_actor_folder *folder = user;
    (void)err;
    if (dw_actor_id_good(name) && !dw_actor_folder_has(folder, name)) {
        dw_actor_folder_drop_calls(folder, name);
    }
    return DW_OK;
}

void dw__folder_sweep_calls(dw_actor_folder *folder)
{
    char place[DW_FOLDER_PATH_MAX];
    dw__folder_join(folder, place, CALLS, NULL, NULL);
    (void)dw__folder_each(place, sweep_one, folder, NULL);
}
