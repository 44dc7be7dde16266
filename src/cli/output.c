#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/util.h"

/* Of the process, as standard output is. */
static int failure; /* errno of the first write that failed; 0: none has */
static char explanation[160];

static void note(int reason)
{
    if (failure == 0) {
        failure = reason != 0 ? reason : EIO;
    }
}

bool dw_cli_output_begin(void)
{
    /* Standard output for reading, so that whoever writes is told, guests and libraries too. */
    static const int modes[] = {O_RDONLY, O_RDONLY, O_WRONLY};
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd) { /* the lowest is free */
            return false;
        }
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return true;
}

int dw_cli_output_end(int exit_code)
{
    if (dw_cli_output_flush()) {
        return exit_code;
    }
    (void)fprintf(stderr, "driftwood: standard output: %s%s%s\n", strerror(failure),
                  explanation[0] != '\0' ? ": " : "", explanation);
    return 1;
}

void dw_cli_print(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (failure == 0 && vprintf(format, args) < 0) {
        note(errno);
    }
    va_end(args);
}

void dw_cli_put(const void *bytes, size_t count)
{
    if (failure == 0 && count > 0 && fwrite(bytes, 1, count, stdout) != count) {
        note(errno);
    }
}

static int put_piece(const char *bytes, size_t count, void *user)
{
    (void)user;
    dw_cli_put(bytes, count);
    return failure == 0 ? 0 : -1;
}

void dw_cli_print_json(json_t *value, size_t flags)
{
    int written = value != NULL ? json_dump_callback(value, put_piece, NULL, flags) : -1;
    json_decref(value);
    if (written != 0) {
        note(ENOMEM); /* jansson's own; a failed write was noted before */
    }
    dw_cli_put("\n", 1);
}

void dw_cli_print_json_item(json_t *value, size_t *count)
{
    char *text = value != NULL ? json_dumps(value, JSON_INDENT(2)) : NULL;
    json_decref(value);
    if (text == NULL) {
        note(ENOMEM);
        return;
    }
    dw_cli_put((*count)++ == 0 ? "[" : ",", 1);
    for (const char *line = text; line != NULL;) {
        const char *end = strchr(line, '\n');
        dw_cli_put("\n  ", 3);
        dw_cli_put(line, end != NULL ? (size_t)(end - line) : strlen(line));
        line = end != NULL ? end + 1 : NULL;
    }
    free(text);
}

void dw_cli_print_json_end(size_t count)
{
    dw_cli_put(count == 0 ? "[]\n" : "\n]\n", 3);
}

json_t *dw_cli_path_json(const char *path)
{
    json_t *value = json_string(path);
    return value != NULL ? value : json_null();
}

json_t *dw_cli_text_json(const char *text)
{
    json_t *value = json_string(text);
    char *plain = value == NULL ? dw_cli_plain(text) : NULL;
    value = plain != NULL ? json_string(plain) : value;
    free(plain);
    return value;
}

bool dw_cli_output_flush(void)
{
    if (failure == 0 && fflush(stdout) != 0) {
        note(errno);
    }
    return failure == 0;
}

bool dw_cli_output_failed(void)
{
    return failure != 0;
}

void dw_cli_output_explain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(explanation, sizeof explanation, format, args);
    va_end(args);
}

ptrdiff_t dw_cli_output_guest(void *user, const unsigned char *bytes, size_t count)
{
    struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
    struct stat info;
    (void)user;
    if (poll(&ready, 1, 0) == 0) {
        return -EAGAIN;
    }
    /* What takes anything takes so much without a wait; a file takes all. */
    bool file = fstat(STDOUT_FILENO, &info) == 0 && S_ISREG(info.st_mode);
    ssize_t wrote = write(STDOUT_FILENO, bytes, file || count < PIPE_BUF ? count : PIPE_BUF);
    if (wrote >= 0) {
        return wrote;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        return -EAGAIN;
    }
    int reason = errno;
    note(reason);
    return -reason;
}

/* A character that a terminal obeys, or that moves others: C1 controls, and marks of direction,
 * which are U+200B to U+200F, U+2028 to U+202E, U+2060 to U+206F, U+061C and U+FEFF. */
static bool is_odd(const unsigned char *c, size_t bytes)
{
    switch (bytes) {
    case 1:
        return c[0] < ' ' || c[0] == 0x7f;
    case 2:
        return (c[0] == 0xc2 && c[1] < 0xa0) || (c[0] == 0xd8 && c[1] == 0x9c);
    case 3:
        return (c[0] == 0xe2 && ((c[1] == 0x80 && ((c[2] >= 0x8b && c[2] <= 0x8f) ||
                                                   (c[2] >= 0xa8 && c[2] <= 0xae))) ||
                                 (c[1] == 0x81 && c[2] >= 0xa0 && c[2] <= 0xaf))) ||
               (c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf);
    default:
        return false;
    }
}

/* Longer than need be, half of a pair, or beyond U+10FFFF: by its first two bytes. */
static bool is_wrong(const unsigned char *c)
{
    return (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] >= 0xa0) ||
           (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] >= 0x90);
}

size_t dw_cli_character(const char *text, bool *plain)
{
    const unsigned char *c = (const unsigned char *)text;
    size_t wanted = c[0] < 0xc2 ? 1 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 1;
    size_t bytes = 1;
    while (bytes < wanted && c[bytes] >= 0x80 && c[bytes] < 0xc0) {
        bytes++;
    }
    *plain = bytes == wanted && (bytes > 1 || c[0] < 0x80) && !is_wrong(c) && !is_odd(c, bytes);
    return bytes;
}

char *dw_cli_plain(const char *text)
{
    char *own = dw_cli_alloc(strlen(text) + 1, 1);
    for (char *to = own; own != NULL && *text != '\0';) {
        bool plain;
        size_t bytes = dw_cli_character(text, &plain);
        memcpy(to, plain ? text : "?", plain ? bytes : 1);
        to += plain ? bytes : 1;
        text += bytes;
    }
    return own;
}

void dw_cli_put_plain(const char *text)
{
    char *plain = dw_cli_plain(text);
    if (plain != NULL) {
        dw_cli_put(plain, strlen(plain));
    } else {
        note(ENOMEM);
    }
    free(plain);
}
