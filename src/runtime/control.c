#include "runtime/control.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/stop.h"
#include "runtime/describe.h"
#include "seeing/outlet.h"

#define CLIENTS_MAX 16u
#define LINE_BYTES_MAX 256u
#define ACTORS_MAX 4096u
/* How long a whole line may take to come, and an answer to be read: then who asks is left. */
#define PATIENCE_NS UINT64_C(5000000000)

typedef struct client {
    int fd; /* -1: nobody */
    char line[LINE_BYTES_MAX];
    size_t line_bytes;
    dw_json_text answer; /* count > 0: it is being written */
    size_t written;
    bool leaves;       /* once that is */
    uint64_t since_ns; /* its line, or its answer, is under way */
} client;

struct dw__control {
    dw_runtime *runtime;
    int fd;
    dw_os_local local;
    dw_waker waker;
    _Atomic bool ends;
    pthread_t thread;
    client clients[CLIENTS_MAX];
};

static void drop(client *c)
{
    dw_os_close(c->fd);
    c->fd = -1;
    dw_json_text_release(&c->answer);
}

static void refuse(client *c, const char *why)
{
    dw_json_open(&c->answer, '{');
    dw_json_add_string(&c->answer, "error", why);
    dw_json_close(&c->answer, '}');
    c->leaves = true;
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool order_of(const char *name, dw_overview_order *order)
{
    for (unsigned i = 0; i < DW__ORDERS; i++) {
        if (strcmp(name, dw__order_names[i]) == 0) {
            *order = (dw_overview_order)i;
            return true;
        }
    }
    return false;
}

/* "overview", "overview ORDER" or "overview ORDER ACTORS"; what does not begin so is no request. */
static bool parse(char *line, dw_overview_options *options, const char **why)
{
    char *rest = NULL;
    char *word = strtok_r(line, " ", &rest);
    *why = "no such request: 'overview [ORDER [ACTORS]]' is one";
    if (word == NULL || strcmp(word, "overview") != 0) {
        return false;
    }
    word = strtok_r(NULL, " ", &rest);
    if (word != NULL && !order_of(word, &options->order)) {
        *why = "no such order: device, guest, tokens, memory and waiting are";
        return false;
    }
    word = word != NULL ? strtok_r(NULL, " ", &rest) : NULL;
    if (word == NULL) {
        return true;
    }
    size_t digits = strspn(word, "0123456789");
    unsigned long count = digits <= 5 ? strtoul(word, NULL, 10) : 0;
    *why = "actors: a whole number from 1 to 4096 is needed, and nothing behind it";
    options->actors_max = (uint32_t)count;
    return digits > 0 && word[digits] == '\0' && count >= 1 && count <= ACTORS_MAX &&
           strtok_r(NULL, " ", &rest) == NULL;
}

static void answer(dw__control *control, client *c)
{
    dw_overview_options options = {.struct_bytes = sizeof options};
    dw_error error = {.message = ""};
    const char *why = NULL;
    c->answer = dw_json_text_growing();
    c->written = 0;
    c->since_ns = dw_os_clock_ns();
    if (!parse(c->line, &options, &why)) {
        refuse(c, why);
    } else if (dw__overview(control->runtime, &options, &c->answer, &error) != DW_OK) {
        dw_json_text_release(&c->answer);
        refuse(c, error.message);
    }
    dw_json_raw(&c->answer, "\n", 1);
    if (c->answer.failed) {
        drop(c);
    }
}

/* ---- clients --------------------------------------------------------------------------------- */

/* What a line asks is answered before the next is looked at. */
static void take_lines(dw__control *control, client *c)
{
    char *end = memchr(c->line, '\n', c->line_bytes);
    if (end == NULL && c->line_bytes < sizeof c->line) {
        return;
    }
    size_t taken = end != NULL ? (size_t)(end - c->line) + 1 : c->line_bytes;
    c->line[taken - 1] = '\0';
    if (end == NULL || memchr(c->line, '\0', taken - 1) != NULL) {
        c->answer = dw_json_text_growing();
        c->written = 0;
        refuse(c, end == NULL ? "a line has at most 255 bytes" : "a line has no NUL");
        dw_json_raw(&c->answer, "\n", 1);
        if (c->answer.failed) {
            drop(c);
        }
    } else {
        answer(control, c);
    }
    c->line_bytes -= taken;
    memmove(c->line, c->line + taken, c->line_bytes);
}

static void read_from(dw__control *control, client *c)
{
    ssize_t got = recv(c->fd, c->line + c->line_bytes, sizeof c->line - c->line_bytes, 0);
    if (got > 0) {
        c->line_bytes += (size_t)got;
        take_lines(control, c);
    } else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        drop(c);
    }
}

static void write_to(dw__control *control, client *c)
{
    ssize_t sent = send(c->fd, c->answer.items + c->written, c->answer.count - c->written, 0);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            drop(c);
        }
        return;
    }
    c->written += (size_t)sent;
    if (c->written < c->answer.count) {
        return;
    }
    dw_json_text_release(&c->answer);
    c->since_ns = dw_os_clock_ns();
    if (c->leaves) {
        drop(c);
    } else {
        take_lines(control, c); /* the next may be there */
    }
}

static void accept_one(dw__control *control)
{
    int fd = dw_os_accept_local(control->fd);
    if (fd < 0) {
        return;
    }
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (control->clients[i].fd < 0) {
            control->clients[i] = (client){.fd = fd, .since_ns = dw_os_clock_ns()};
            return;
        }
    }
    dw_os_close(fd); /* there are as many as may be */
}

/* ---- the thread ------------------------------------------------------------------------------ */

static uint64_t set_up(dw__control *control, struct pollfd *fds, client **owners, unsigned *count)
{
    uint64_t until_ns = UINT64_MAX;
    fds[0] = (struct pollfd){.fd = control->waker.read_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = control->fd, .events = POLLIN};
    *count = 2;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        client *c = &control->clients[i];
        if (c->fd >= 0) {
            bool writes = c->answer.count > 0;
            owners[*count] = c;
            fds[(*count)++] =
                (struct pollfd){.fd = c->fd, .events = (short)(writes ? POLLOUT : POLLIN)};
            uint64_t over_ns = c->since_ns + PATIENCE_NS;
            until_ns = over_ns < until_ns ? over_ns : until_ns;
        }
    }
    return until_ns;
}

static void serve(dw__control *control, client *c, short events)
{
    if (events != 0 && c->answer.count > 0) {
        write_to(control, c);
    } else if (events != 0) {
        read_from(control, c);
    } else if (dw_os_clock_ns() - c->since_ns >= PATIENCE_NS) {
        drop(c);
    }
}

static void *run(void *arg)
{
    dw__control *control = arg;
    struct pollfd fds[CLIENTS_MAX + 2];
    client *owners[CLIENTS_MAX + 2];
    unsigned count = 0;
    dw_outlet_prepare();
    while (!atomic_load(&control->ends)) {
        uint64_t until_ns = set_up(control, fds, owners, &count);
        if (dw_os_poll(fds, count, until_ns) < 0) {
            continue;
        }
        for (unsigned i = 2; i < count; i++) {
            serve(control, owners[i], fds[i].revents);
        }
        if (fds[1].revents != 0) {
            accept_one(control);
        }
    }
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (control->clients[i].fd >= 0) {
            drop(&control->clients[i]);
        }
    }
    return NULL;
}

/* ---- its life -------------------------------------------------------------------------------- */

dw_status dw__control_open(dw__control **out, dw_runtime *runtime, const char *path, dw_error *err)
{
    *out = NULL;
    dw__control *control = dw_alloc(1, sizeof *control);
    if (control == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a control socket");
    }
    control->runtime = runtime;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        control->clients[i].fd = -1;
    }
    dw_status status = dw_waker_open(&control->waker, err);
    if (status != DW_OK) {
        dw_free(control);
        return status;
    }
    status = dw_os_listen_local(&control->fd, &control->local, path, err);
    if (status == DW_OK && dw_os_start_thread(&control->thread, run, control) != 0) {
        dw_os_unlisten_local(control->fd, &control->local);
        status = dw_fail(err, DW_E_MEMORY, "no thread for a control socket");
    }
    if (status != DW_OK) {
        dw_waker_close(&control->waker);
        dw_free(control);
        return status;
    }
    *out = control;
    return DW_OK;
}

void dw__control_close(dw__control *control)
{
    if (control == NULL) {
        return;
    }
    atomic_store(&control->ends, true);
    dw_waker_wake(&control->waker);
    (void)pthread_join(control->thread, NULL);
    dw_os_unlisten_local(control->fd, &control->local);
    dw_waker_close(&control->waker);
    dw_free(control);
}
