/* A tool is a command or an address. A command is a process group of its own, whose input is the
 * request and whose output the answer, until it ends, is not waited for any more, or takes too
 * long. To an address of HTTP the request is posted. Guests name tools; which programs they are,
 * and with which words, or where the address is, is the operator's alone. */
#include "cli/tools.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/fetch.h"

#define TOOLS_MAX 64
#define NAME_MAX_BYTES 63
#define WORDS_MAX 64
#define COMMAND_BYTES_MAX 4096
#define LOOK_MS 20 /* how often one looks whether the guest still waits */

typedef struct tool {
    char name[NAME_MAX_BYTES + 1];
    bool is_address;            /* `text` is one, and there are no words */
    char *words[WORDS_MAX + 1]; /* into `text`, ended by NULL */
    char text[COMMAND_BYTES_MAX];
} tool;

/* Of the process, as its command line is: set before any guest runs, and only read then. */
static tool *tools[TOOLS_MAX];
static size_t tool_count;
static uint64_t timeout_s = DW_CLI_TOOL_TIMEOUT_S;

/* ---- granting ----------------------------------------------------------------------------- */

/* Words apart by blanks; within ' or " blanks count, and \ before any character but within '. */
static dw_status split(tool *one, const char *command, dw_error *err)
{
    char *to = one->text;
    size_t count = 0;
    char quote = '\0';
    bool in_word = false;
    for (const char *from = command; *from != '\0'; from++) {
        if (quote == '\0' && (*from == ' ' || *from == '\t')) {
            *to = '\0';
            to += in_word;
            in_word = false;
            continue;
        }
        if (!in_word) {
            if (count == WORDS_MAX) {
                return dw_fail(err, DW_E_LIMIT, "--tool %s: more than %d words", one->name,
                               WORDS_MAX);
            }
            one->words[count++] = to;
            in_word = true;
        }
        if (*from == quote) {
            quote = '\0';
        } else if (quote == '\0' && (*from == '\'' || *from == '"')) {
            quote = *from;
        } else if (*from == '\\' && quote != '\'' && from[1] != '\0') {
            *to++ = *++from;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    if (quote != '\0') {
        return dw_fail(err, DW_E_ARG, "--tool %s: a %c has no end", one->name, quote);
    }
    return count > 0 ? DW_OK : dw_fail(err, DW_E_ARG, "--tool %s: no command", one->name);
}

/* "http://..." or "https://...", alone. */
static bool is_address(const char *command)
{
    return (strncmp(command, "http://", 7) == 0 || strncmp(command, "https://", 8) == 0) &&
           strpbrk(command, " \t") == NULL;
}

static dw_status take_address(tool *one, const char *address, dw_error *err)
{
    one->is_address = true;
    (void)snprintf(one->text, sizeof one->text, "%s", address);
    return dw_cli_can_fetch()
               ? DW_OK
               : dw_fail(err, DW_E_UNSUPPORTED,
                         "--tool %s: this driftwood was built without libcurl and reaches no "
                         "address; install its development files and build again",
                         one->name);
}

static dw_status take_name(tool *one, const char *text, size_t bytes, dw_error *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (bytes == 0 || bytes > NAME_MAX_BYTES || strspn(text, letters) != bytes) {
        return dw_fail(err, DW_E_ARG,
                       "--tool: '%.80s': a name of 1 to %d letters, digits, '.', '_' and '-' is "
                       "needed before '='",
                       text, NAME_MAX_BYTES);
    }
    memcpy(one->name, text, bytes);
    return DW_OK;
}

static size_t find(const char *name)
{
    size_t i = 0;
    while (i < tool_count && strcmp(tools[i]->name, name) != 0) {
        i++;
    }
    return i;
}

dw_status dw_cli_tool_grant(const char *text, dw_error *err)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || strlen(equals) >= COMMAND_BYTES_MAX) {
        return dw_fail(err, DW_E_ARG,
                       "--tool: '%.80s': NAME=COMMAND or NAME=URL of at most %d bytes is "
                       "needed",
                       text, COMMAND_BYTES_MAX - 1);
    }
    tool *one = dw_cli_alloc(1, sizeof *one);
    if (one == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for --tool");
    }
    dw_status status = take_name(one, text, (size_t)(equals - text), err);
    if (status == DW_OK) {
        status = is_address(equals + 1) ? take_address(one, equals + 1, err)
                                        : split(one, equals + 1, err);
    }
    size_t at = status == DW_OK ? find(one->name) : 0;
    if (status == DW_OK && at == TOOLS_MAX) {
        status = dw_fail(err, DW_E_LIMIT, "--tool: more than %d", TOOLS_MAX);
    }
    if (status != DW_OK) {
        free(one);
        return status;
    }
    if (at < tool_count) {
        free(tools[at]);
    } else {
        tool_count++;
    }
    tools[at] = one;
    return DW_OK;
}

dw_status dw_cli_tool_timeout(const char *text, dw_error *err)
{
    return dw_cli_whole("--tool-timeout", text, 1, 31536000, &timeout_s, err);
}

/* ---- calling ------------------------------------------------------------------------------ */

typedef struct running {
    pid_t pid; /* and its group; 0: it was not started */
    int to;    /* its standard input; -1: closed */
    int from;  /* its standard output */
    const char *request;
    size_t left; /* of that */
    dw_tool_call *call;
    const char *name;
} running;

static void close_end(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

/* Pipes that no other child gets. */
static dw_status open_pipes(int in[2], int out[2], dw_error *err)
{
    if (pipe(in) != 0) {
        return dw_fail(err, DW_E_IO, "no pipe: %s", strerror(errno));
    }
    if (pipe(out) != 0) {
        close_end(&in[0]);
        close_end(&in[1]);
        return dw_fail(err, DW_E_IO, "no pipe: %s", strerror(errno));
    }
    const int all[] = {in[0], in[1], out[0], out[1]};
    for (int i = 0; i < 4; i++) {
        (void)fcntl(all[i], F_SETFD, FD_CLOEXEC);
    }
    (void)fcntl(in[1], F_SETFL, O_NONBLOCK);
    (void)fcntl(out[0], F_SETFL, O_NONBLOCK);
    return DW_OK;
}

extern char **environ;

/* With no signal blocked or ignored, whatever is here. */
static int spawn(pid_t *pid, const tool *one, int in, int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none;
    sigset_t usual;
    (void)sigemptyset(&none);
    (void)sigemptyset(&usual);
    (void)sigaddset(&usual, SIGPIPE);
    (void)sigaddset(&usual, SIGINT);
    if (posix_spawn_file_actions_init(&files) != 0) {
        return ENOMEM;
    }
    if (posix_spawnattr_init(&how) != 0) {
        (void)posix_spawn_file_actions_destroy(&files);
        return ENOMEM;
    }
    (void)posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                             POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawnattr_setpgroup(&how, 0);
    (void)posix_spawnattr_setsigmask(&how, &none);
    (void)posix_spawnattr_setsigdefault(&how, &usual);
    int failed = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    failed = failed != 0 ? failed : posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    failed =
        failed != 0 ? failed : posix_spawnp(pid, one->words[0], &files, &how, one->words, environ);
    (void)posix_spawnattr_destroy(&how);
    (void)posix_spawn_file_actions_destroy(&files);
    return failed;
}

static dw_status start(running *r, const tool *one, dw_error *err)
{
    int in[2] = {-1, -1};
    int out[2] = {-1, -1};
    dw_status status = open_pipes(in, out, err);
    if (status != DW_OK) {
        return status;
    }
    int failed = spawn(&r->pid, one, in[0], out[1]);
    close_end(&in[0]);
    close_end(&out[1]);
    r->to = in[1];
    r->from = out[0];
    if (failed != 0) {
        r->pid = 0;
        return dw_fail(err, DW_E_IO, "'%.80s' cannot be started: %s", one->words[0],
                       strerror(failed));
    }
    return DW_OK;
}

/* What the command takes of the request; one that wants no more of it may. */
static void give(running *r)
{
    ssize_t count = r->left > 0 ? write(r->to, r->request, r->left) : 0;
    if (count > 0) {
        r->request += count;
        r->left -= (size_t)count;
    }
    if (r->left == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
        close_end(&r->to);
    }
}

/* What it has printed; `*ended`: there is no more. */
static dw_status take(running *r, bool *ended, dw_error *err)
{
    char bytes[16384];
    ssize_t count = read(r->from, bytes, sizeof bytes);
    *ended = count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
    return count > 0 ? dw_tool_call_answer(r->call, bytes, (size_t)count, err) : DW_OK;
}

static dw_status talk(running *r, dw_error *err)
{
    uint64_t until_ns = dw_cli_clock_ns() + timeout_s * UINT64_C(1000000000);
    bool ended = false;
    dw_status status = DW_OK;
    while (status == DW_OK && !ended) {
        struct pollfd fds[2] = {{.fd = r->from, .events = POLLIN},
                                {.fd = r->to, .events = POLLOUT}};
        (void)poll(fds, r->to >= 0 ? 2 : 1, LOOK_MS);
        if (r->to >= 0 && fds[1].revents != 0) {
            give(r);
        }
        if (fds[0].revents != 0) {
            status = take(r, &ended, err);
        } else if (dw_tool_call_is_left(r->call)) {
            status = dw_fail(err, DW_E_CANCELLED, "cancelled");
        } else if (dw_cli_clock_ns() > until_ns) {
            status = dw_fail(err, DW_E_LIMIT, "it ran longer than %llu s (--tool-timeout)",
                             (unsigned long long)timeout_s);
        }
    }
    return status;
}

/* Its end, which is not waited for where the answer failed, nor longer than the guest waits. */
static dw_status finish(running *r, dw_status status, dw_error *err)
{
    int how = 0;
    uint64_t until_ns = dw_cli_clock_ns() + timeout_s * UINT64_C(1000000000);
    close_end(&r->to);
    close_end(&r->from);
    while (status == DW_OK && waitpid(r->pid, &how, WNOHANG) == 0) {
        if (dw_tool_call_is_left(r->call) || dw_cli_clock_ns() > until_ns) {
            status = dw_fail(err, DW_E_LIMIT, "it closed its output and went on");
        } else {
            (void)poll(NULL, 0, 1);
        }
    }
    if (status != DW_OK) {
        (void)kill(-r->pid, SIGKILL);
        while (waitpid(r->pid, &how, 0) < 0 && errno == EINTR) {}
        return status;
    }
    if (WIFSIGNALED(how)) {
        return dw_fail(err, DW_E_IO, "it was ended by signal %d", WTERMSIG(how));
    }
    return WEXITSTATUS(how) == 0 ? DW_OK
                                 : dw_fail(err, DW_E_IO, "it ended with %d", WEXITSTATUS(how));
}

/* ---- asking an address ---------------------------------------------------------------------- */

typedef struct asking {
    dw_tool_call *call;
    uint64_t until_ns;
    dw_status status; /* of what it did with the answer */
    dw_error error;
} asking;

static ptrdiff_t on_bytes(void *user, uint64_t first, const unsigned char *bytes, size_t count)
{
    asking *a = user;
    (void)first;
    a->status = dw_tool_call_answer(a->call, bytes, count, &a->error);
    return a->status == DW_OK ? (ptrdiff_t)count : -1;
}

static bool is_left(void *user)
{
    const asking *a = user;
    return dw_tool_call_is_left(a->call) || dw_cli_clock_ns() > a->until_ns;
}

static dw_status ask(const tool *one, dw_tool_call *call, dw_error *err)
{
    asking a = {.call = call,
                .until_ns = dw_cli_clock_ns() + timeout_s * UINT64_C(1000000000),
                .status = DW_OK};
    dw_cli_fetched result;
    dw_cli_fetch what = {.url = one->text, .on_bytes = on_bytes, .is_left = is_left, .user = &a};
    what.body = dw_tool_call_get_request(call, &what.body_bytes);
    what.body = what.body_bytes > 0 ? what.body : "";
    dw_status status = dw_cli_fetch_url(&what, &result, err);
    if (a.status != DW_OK) {
        return dw_fail(err, a.status, "%s", a.error.message);
    }
    if (status == DW_E_CANCELLED && !dw_tool_call_is_left(call)) {
        return dw_fail(err, DW_E_LIMIT, "it took longer than %llu s (--tool-timeout)",
                       (unsigned long long)timeout_s);
    }
    return status;
}

static dw_status on_call(void *user, dw_tool_call *call, dw_error *err)
{
    sigset_t pipes;
    size_t at = find(dw_tool_call_get_name(call));
    running r = {.to = -1, .from = -1, .call = call};
    (void)user;
    if (at == tool_count) {
        return dw_fail(err, DW_E_DENIED, "no such tool was granted (--tool)");
    }
    if (tools[at]->is_address) {
        return ask(tools[at], call, err);
    }
    r.request = dw_tool_call_get_request(call, &r.left);
    (void)sigemptyset(&pipes); /* on this thread, which is the call's */
    (void)sigaddset(&pipes, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipes, NULL);
    dw_status status = start(&r, tools[at], err);
    if (status == DW_OK) {
        status = talk(&r, err);
    }
    if (r.pid != 0) {
        return finish(&r, status, err);
    }
    close_end(&r.to);
    close_end(&r.from);
    return status;
}

dw_call_fn dw_cli_tools(void)
{
    return tool_count > 0 ? on_call : NULL;
}
