#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/top.h"

#define ANSWER_BYTES_MAX ((size_t)64 << 20)
#define PATIENCE_S 5

static dw_status dial(const char *path, int *out, dw_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    if (strlen(path) >= sizeof address.sun_path) {
        return dw_fail(err, DW_E_LIMIT, "%.100s...: a socket's path has at most %zu bytes", path,
                       sizeof address.sun_path - 1);
    }
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        dw_cli_close(fd);
        return dw_fail(err, DW_E_IO, "a socket: %s", strerror(errno));
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int reason = errno;
        dw_cli_close(fd);
        bool nobody = reason == ENOENT || reason == ECONNREFUSED || reason == ENOTSOCK;
        return dw_fail(err, nobody ? DW_E_NOT_FOUND : DW_E_IO, "%s: %s%s", path,
                       nobody ? "no runtime answers there: " : "", strerror(reason));
    }
    *out = fd;
    return DW_OK;
}

/* A line -> *text [*bytes], for free(), without its end. */
static dw_status read_line(int fd, char **text, size_t *bytes, dw_error *err)
{
    size_t capacity = (size_t)1 << 16;
    size_t count = 0;
    char *room = dw_cli_alloc(capacity, 1);
    while (room != NULL) {
        ssize_t got = recv(fd, room + count, capacity - count, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            dw_status status = dw_fail(err, DW_E_IO, "no whole answer came: %s",
                                       got == 0 ? "the connection was ended" : strerror(errno));
            free(room);
            return status;
        }
        count += (size_t)got;
        if (room[count - 1] == '\n') {
            *text = room;
            *bytes = count - 1;
            return DW_OK;
        }
        if (count >= ANSWER_BYTES_MAX) {
            free(room);
            return dw_fail(err, DW_E_LIMIT, "the answer has more than %zu bytes", ANSWER_BYTES_MAX);
        }
        if (count == capacity) {
            capacity *= 2;
            char *grown = dw_cli_realloc(room, capacity, 1);
            if (grown == NULL) {
                free(room);
            }
            room = grown;
        }
    }
    return dw_fail(err, DW_E_MEMORY, "no memory for an overview");
}

static dw_status check(const json_t *root, const json_error_t *bad, dw_error *err)
{
    if (root == NULL) {
        return dw_fail(err, DW_E_FORMAT, "the answer is no JSON: %.160s", bad->text);
    }
    const char *refused = json_string_value(json_object_get(root, "error"));
    if (refused != NULL) {
        return dw_fail(err, DW_E_IO, "the runtime refused: %.200s", refused);
    }
    const char *format = json_string_value(json_object_get(root, "format"));
    json_int_t version = json_integer_value(json_object_get(root, "version"));
    if (format == NULL || strcmp(format, "driftwood-overview") != 0 || version != 1) {
        return dw_fail(err, DW_E_FORMAT, "what answers there is no runtime of this version");
    }
    return DW_OK;
}

dw_status dw_cli_top_fetch(const char *path, dw_cli_order order, unsigned actors, json_t **root,
                           dw_error *err)
{
    char request[64];
    char *text = NULL;
    size_t bytes = 0;
    int fd = -1;
    *root = NULL;
    dw_status status = dial(path, &fd, err);
    if (status != DW_OK) {
        return status;
    }
    int length =
        snprintf(request, sizeof request, "overview %s %u\n", dw_cli_order_names[order], actors);
    if (send(fd, request, (size_t)length, 0) != length) {
        status = dw_fail(err, DW_E_IO, "%s: %s", path, strerror(errno));
    } else {
        status = read_line(fd, &text, &bytes, err);
    }
    dw_cli_close(fd);
    if (status == DW_OK) {
        json_error_t bad;
        *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &bad);
        status = check(*root, &bad, err);
    }
    free(text);
    if (status != DW_OK) {
        json_decref(*root);
        *root = NULL;
    }
    return status;
}
