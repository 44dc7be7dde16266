#include "cli/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)64 << 10)
#define ANSWER_BYTES_MAX ((size_t)1 << 30)
#define HEAD_BYTES_MAX ((size_t)64 << 10)

/* An answer that is being read. */
typedef struct reading {
    dw_cli_remote *remote;
    int fd;
    unsigned char *room; /* [PIECE_BYTES]: [at, end) was read and not taken */
    size_t at;
    size_t end;
    int status;
    bool chunked;
    uint64_t left; /* of the body, or of its chunk; UINT64_MAX: it is not known */
    bool is_json;
} reading;

static dw_status broken(dw_error *err)
{
    return dw_fail(err, DW_E_IO, "the server that works in the state folder broke off");
}

/* ---- the socket ----------------------------------------------------------------------------- */

static int dial(const char *path, unsigned patience_s)
{
    const struct timeval patience = {.tv_sec = (time_t)patience_s};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return -1;
    }
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        dw_cli_close(fd);
        return -1;
    }
    return fd;
}

bool dw_cli_remote_find(dw_cli_remote *remote, const char *folder)
{
    int length = snprintf(remote->path, sizeof remote->path, "%s/server", folder);
    int fd = length > 0 && (size_t)length < sizeof remote->path
                 ? dial(remote->path, remote->patience_s)
                 : -1;
    dw_cli_close(fd);
    return fd >= 0;
}

static bool send_all(int fd, const void *bytes, size_t count)
{
    const char *at = bytes;
    while (count > 0) {
        ssize_t sent = send(fd, at, count, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        at += sent;
        count -= (size_t)sent;
    }
    return true;
}

/* A body that is refused is not taken to its end: the answer says why. */
static void send_file(int fd, int file, unsigned char *room)
{
    off_t at = 0;
    ssize_t got;
    while ((got = pread(file, room, PIECE_BYTES, at)) > 0 && send_all(fd, room, (size_t)got)) {
        at += got;
    }
}

static dw_status send_request(int fd, const dw_cli_asked *what, unsigned char *room, dw_error *err)
{
    struct stat about = {.st_size = 0};
    char head[DW_CLI_PATH_MAX + 512];
    if (what->fd >= 0 && fstat(what->fd, &about) != 0) {
        return dw_fail(err, DW_E_IO, "the file cannot be looked at: %s", strerror(errno));
    }
    uint64_t bytes = what->fd >= 0 ? (uint64_t)about.st_size : what->bytes;
    int length = snprintf(head, sizeof head,
                          "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                          "Accept: %s\r\nContent-Type: %s\r\nContent-Length: %llu\r\n\r\n",
                          what->method, what->path, what->accept != NULL ? what->accept : "*/*",
                          what->type != NULL ? what->type : "application/octet-stream",
                          (unsigned long long)bytes);
    if (length < 0 || (size_t)length >= sizeof head) {
        return dw_fail(err, DW_E_LIMIT, "the request's path is too long");
    }
    if (!send_all(fd, head, (size_t)length)) {
        return broken(err);
    }
    if (what->fd >= 0) {
        send_file(fd, what->fd, room);
    } else {
        (void)send_all(fd, what->body, what->bytes);
    }
    return DW_OK;
}

/* ---- the answer ----------------------------------------------------------------------------- */

/* More into the room. false: there is no more. */
static bool read_more(reading *from)
{
    ssize_t got;
    if (from->at == from->end) {
        from->at = from->end = 0;
    }
    do {
        got = recv(from->fd, from->room + from->end, PIECE_BYTES - from->end, 0);
        if (got < 0 && errno == EINTR && from->remote->on_signal != NULL) {
            from->remote->on_signal(from->remote->user);
            errno = EINTR;
        }
    } while (got < 0 && errno == EINTR);
    from->end += got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* A line without its end -> line [capacity]. */
static bool read_line(reading *from, char *line, size_t capacity)
{
    size_t count = 0;
    for (;;) {
        if (from->at == from->end && !read_more(from)) {
            return false;
        }
        char c = (char)from->room[from->at++];
        if (c == '\n') {
            line[count > 0 && line[count - 1] == '\r' ? count - 1 : count] = '\0';
            return true;
        }
        if (count + 1 >= capacity) {
            return false;
        }
        line[count++] = c;
    }
}

static dw_status read_head(reading *from, dw_error *err)
{
    char line[4096];
    size_t total = 0;
    if (!read_line(from, line, sizeof line) || sscanf(line, "HTTP/1.1 %3d", &from->status) != 1) {
        return broken(err);
    }
    from->left = UINT64_MAX;
    while (read_line(from, line, sizeof line)) {
        total += strlen(line);
        if (line[0] == '\0') {
            return DW_OK;
        }
        if (total > HEAD_BYTES_MAX) {
            break;
        }
        unsigned long long length;
        if (sscanf(line, "X-Driftwood-Message: %20llu", &length) == 1) {
            from->remote->message = length;
        } else if (sscanf(line, "Content-Length: %20llu", &length) == 1) {
            from->left = length;
        } else if (strcmp(line, "Transfer-Encoding: chunked") == 0) {
            from->chunked = true;
            from->left = 0;
        } else if (strncmp(line, "Content-Type: application/json", 30) == 0) {
            from->is_json = true;
        }
    }
    return broken(err);
}

/* Some of the body -> *bytes [*count], in the room; 0: it has ended. */
static dw_status read_body(reading *from, const unsigned char **bytes, size_t *count, dw_error *err)
{
    char line[64];
    *count = 0;
    if (from->chunked && from->left == 0) {
        unsigned long long chunk = 0;
        if (!read_line(from, line, sizeof line) || sscanf(line, "%16llx", &chunk) != 1) {
            return broken(err);
        }
        from->left = chunk;
        if (chunk == 0) {
            return DW_OK;
        }
    }
    if (from->left == 0) {
        return DW_OK;
    }
    if (from->at == from->end && !read_more(from)) {
        return from->left == UINT64_MAX ? DW_OK : broken(err);
    }
    size_t there = from->end - from->at;
    size_t taken = from->left < there ? (size_t)from->left : there;
    *bytes = from->room + from->at;
    *count = taken;
    from->at += taken;
    if (from->left != UINT64_MAX) {
        from->left -= taken;
    }
    if (from->chunked && from->left == 0 && !read_line(from, line, sizeof line)) {
        return broken(err);
    }
    return DW_OK;
}

/* The whole body -> *text, for free(). */
static dw_status keep_body(reading *from, char **text, size_t *bytes, dw_error *err)
{
    size_t capacity = 0;
    size_t count = 1;
    const unsigned char *piece = NULL;
    dw_status status = DW_OK;
    *bytes = 0;
    while (status == DW_OK && count > 0) {
        status = read_body(from, &piece, &count, err);
        if (status == DW_OK && *bytes + count + 1 > capacity) {
            capacity = 2 * (*bytes + count + 1);
            char *grown = capacity <= ANSWER_BYTES_MAX ? dw_cli_realloc(*text, capacity, 1) : NULL;
            if (grown == NULL) {
                return dw_fail(err, DW_E_MEMORY, "no memory for an answer");
            }
            *text = grown;
        }
        if (status == DW_OK) {
            memcpy(*text + *bytes, piece != NULL ? piece : (const unsigned char *)"", count);
            *bytes += count;
        }
    }
    return status;
}

static dw_status hand_on(reading *from, const dw_cli_asked *what, dw_error *err)
{
    const unsigned char *piece = NULL;
    size_t count = 1;
    dw_status status = DW_OK;
    while (status == DW_OK && count > 0) {
        status = read_body(from, &piece, &count, err);
        if (status == DW_OK && count > 0 && what->on_piece(what->user, piece, count) < 0) {
            status = dw_fail(err, DW_E_IO, "the answer could not be passed on");
        }
    }
    return status;
}

dw_status dw_cli_remote_failure(const json_t *failure, dw_error *err)
{
    const json_t *error = json_object_get(failure, "error");
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));
    dw_status status = DW_E_IO;
    for (int i = DW_E_ARG; i >= DW_E_END; i--) {
        if (code != NULL && strcmp(dw_status_name((dw_status)i), code) == 0) {
            status = (dw_status)i;
        }
    }
    return dw_fail(err, status, "%s", message != NULL ? message : "the server refused");
}

static dw_status take_json(const reading *from, const char *text, size_t bytes, json_t **answer,
                           dw_error *err)
{
    json_t *value = from->is_json ? json_loadb(text, bytes, JSON_DECODE_ANY, NULL) : NULL;
    dw_status status = DW_OK;
    if (from->status >= 300) {
        status = dw_cli_remote_failure(value, err);
    } else if (value == NULL) {
        status = dw_fail(err, DW_E_FORMAT, "the server's answer is no JSON");
    }
    if (status == DW_OK && answer != NULL) {
        *answer = json_incref(value);
    }
    json_decref(value);
    return status;
}

dw_status dw_cli_remote_ask(dw_cli_remote *remote, const dw_cli_asked *what, json_t **answer,
                            dw_error *err)
{
    reading from = {.remote = remote,
                    .fd = dial(remote->path, remote->patience_s),
                    .room = dw_cli_alloc(PIECE_BYTES, 1)};
    char *text = NULL;
    size_t bytes = 0;
    dw_status status = DW_OK;
    if (answer != NULL) {
        *answer = NULL;
    }
    if (from.room == NULL) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for a request");
    } else if (from.fd < 0) {
        status = dw_fail(err, DW_E_IO, "%.150s: nobody answers: %s", remote->path, strerror(errno));
    }
    if (status == DW_OK) {
        status = send_request(from.fd, what, from.room, err);
    }
    if (status == DW_OK) {
        status = read_head(&from, err);
    }
    if (status == DW_OK && from.status < 300 && what->on_piece != NULL) {
        status = hand_on(&from, what, err);
    } else if (status == DW_OK) {
        status = keep_body(&from, &text, &bytes, err);
        status = status == DW_OK ? take_json(&from, text, bytes, answer, err) : status;
    }
    free(text);
    free(from.room);
    dw_cli_close(from.fd);
    return status;
}

dw_status dw_cli_remote_call(dw_cli_remote *remote, const char *method, const char *path,
                             json_t *body, json_t **answer, dw_error *err)
{
    json_t *own = NULL;
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    dw_cli_asked what = {.method = method,
                         .path = path,
                         .type = "application/json",
                         .body = text,
                         .bytes = text != NULL ? strlen(text) : 0,
                         .fd = -1};
    dw_status status = dw_cli_remote_ask(remote, &what, &own, err);
    if (answer != NULL) {
        *answer = own;
    } else {
        json_decref(own);
    }
    json_decref(body);
    free(text);
    return status;
}

void dw_cli_escape(const char *text, char *to, size_t capacity)
{
    size_t count = 0;
    for (const char *at = text; *at != '\0' && count + 4 < capacity; at++) {
        unsigned char c = (unsigned char)*at;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '_' || c == '.';
        if (plain) {
            to[count++] = (char)c;
        } else {
            count += (size_t)snprintf(to + count, capacity - count, "%%%02X", c);
        }
    }
    to[count] = '\0';
}
