/* driftwood chat: the guest `chat`, fed with lines. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <editline/readline.h>

#include "cli/chat_actor.h"
#include "cli/late.h"
#include "cli/session.h"

static const char usage[] =
    "usage: driftwood chat [OPTION...]\n"
    "\n"
    "Talks with a model; what was said stays in its context. Ctrl-C ends an answer, Ctrl-D the\n"
    "chat, /clear forgets what was said. Where a server works in the state folder, it is asked: "
    "the\n"
    "conversation is an actor there, with a model of its own (--model: one of their names), unless "
    "an\n"
    "option says how a model is to be run here.\n"
    "\n"
    "  --state DIR          the state folder; default $XDG_STATE_HOME/driftwood, or\n"
    "                       ~/.local/state/driftwood. Without a server there: an actor of the "
    "folder\n"
    "  --actor ID           go on with this actor of the guest `chat`: an id's first digits, or\n"
    "                       TENANT@NAME\n"
    "  --alone              ask no server\n"
    "\n";

enum { OPT_STATE = DW_CLI_OPT_OWN, OPT_ACTOR, OPT_ALONE };

/* The line that waits for the guest, who may have to ask twice. */
typedef struct line_source {
    char *line; /* [length], owned; NULL: none waits */
    size_t length;
    bool interactive;
    int failure; /* errno of standard input, 0: it has none */
} line_source;

/* Zero bytes are handed on: what they mean is the guest's to say. */
static void read_plain(line_source *source)
{
    size_t capacity = 0;
    ssize_t length = getline(&source->line, &capacity, stdin);
    if (length < 0) {
        source->failure = ferror(stdin) ? errno : 0;
        free(source->line);
        source->line = NULL;
        return;
    }
    source->length = (size_t)length;
    source->length -= length > 0 && source->line[length - 1] == '\n';
}

static struct {
    __typeof__(&readline) read;
    __typeof__(&add_history) add_history;
} edited;

#ifdef DW_CLI_EDITLINE /* libedit's name; otherwise it is linked */
static dw_status find_edited(dw_error *err)
{
    const dw_cli_late_function functions[] = {{"readline", &edited.read},
                                              {"add_history", &edited.add_history}};
    return dw_cli_late_find(DW_CLI_EDITLINE, "lines cannot be edited without libedit", functions, 2,
                            err);
}
#else
static dw_status find_edited(dw_error *err)
{
    (void)err;
    edited.read = readline;
    edited.add_history = add_history;
    return DW_OK;
}
#endif

static void read_line(line_source *source)
{
    dw_error error;
    if (source->interactive && edited.read == NULL && find_edited(&error) != DW_OK) {
        dw_cli_note("%s", error.message);
        source->interactive = false;
    }
    if (!source->interactive) {
        read_plain(source);
        return;
    }
    source->line = edited.read("> ");
    if (source->line == NULL) {
        dw_cli_put("\n", 1);
        return;
    }
    source->length = strlen(source->line);
    if (source->length > 0) {
        (void)edited.add_history(source->line);
    }
}

static ptrdiff_t on_input(void *user, char *buffer, size_t capacity)
{
    line_source *source = user;
    dw_cli_session_calm();
    if (source->line == NULL) {
        read_line(source);
    }
    if (source->line == NULL) {
        return -1;
    }
    size_t length = source->length;
    if (length <= capacity) {
        memcpy(buffer, source->line, length);
        free(source->line);
        source->line = NULL;
    }
    return (ptrdiff_t)length;
}

/* The same for who takes whole lines. */
static bool take_whole_line(void *user, char **line, size_t *length)
{
    line_source *source = user;
    read_line(source);
    *line = source->line;
    *length = source->length;
    source->line = NULL;
    return *line != NULL;
}

/* Whether the options say how a model is to be run by this process. */
static bool is_for_own(const dw_cli_session *session)
{
    return session->device != NULL || session->threads != 0 || session->kv_bytes_max != 0 ||
           session->module_cache != NULL || session->stats != DW_CLI_STATS_NONE;
}

typedef struct chat_options {
    dw_cli_chat_where where;
    bool alone;
} chat_options;

static dw_status take_option(dw_cli_session *session, chat_options *to, int option,
                             const char *value, dw_error *err)
{
    switch (option) {
    case OPT_STATE:
        to->where.state = value;
        return DW_OK;
    case OPT_ACTOR:
        to->where.actor = value;
        return DW_OK;
    case OPT_ALONE:
        to->alone = true;
        return DW_OK;
    default:
        return dw_cli_session_option(session, option, value, err);
    }
}

static int run_chat(dw_cli_session *session, const chat_options *how, line_source *source)
{
    const dw_cli_chat_source lines = {.read = take_whole_line, .user = source};
    const dw_cli_chat_where *where = &how->where;
    bool named = where->state != NULL || where->actor != NULL;
    if (how->alone && named) {
        return dw_cli_fail(DW_CLI_USAGE, "--alone beside --state or --actor: one is allowed");
    }
    bool asks = named || (!how->alone && !is_for_own(session) && dw_cli_chat_server(NULL));
    int exit_code =
        asks ? dw_cli_chat_with_actor(session, where, &lines) : dw_cli_session_run(session);
    return exit_code == 0 && source->failure != 0
               ? dw_cli_fail(1, "standard input: %s", strerror(source->failure))
               : exit_code;
}

int dw_cli_chat(int argc, char **argv)
{
    static const struct option options[] = {DW_CLI_SESSION_OPTIONS,
                                            {"state", required_argument, NULL, OPT_STATE},
                                            {"actor", required_argument, NULL, OPT_ACTOR},
                                            {"alone", no_argument, NULL, OPT_ALONE},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    line_source source = {.interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    dw_cli_session session = {
        .guest = "chat", .on_input = on_input, .user = &source, .on_interrupt = dw_instance_cancel};
    chat_options how = {.alone = false};
    dw_error error;
    int exit_code = 0;
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            dw_cli_print("%s%s%s%s", usage, DW_CLI_SESSION_HELP, DW_CLI_LIMITS_HELP,
                         "  -h, --help           this text\n");
            goto out;
        }
        if (option == '?') {
            exit_code = DW_CLI_USAGE;
            goto out;
        }
        if (take_option(&session, &how, option, optarg, &error) != DW_OK) {
            exit_code = dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
            goto out;
        }
    }
    if (optind < argc) {
        exit_code = dw_cli_fail(DW_CLI_USAGE, "chat takes no argument '%s'", argv[optind]);
    } else if (dw_cli_session_check(&session, &error) != DW_OK) {
        exit_code = dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
    } else {
        exit_code = run_chat(&session, &how, &source);
    }
out:
    free(source.line);
    dw_cli_session_release(&session);
    return exit_code;
}
