/* driftwood chat: the guest `chat`, fed with lines. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <editline/readline.h>

#include "cli/session.h"

static const char usage[] =
    "usage: driftwood chat [OPTION...]\n"
    "\n"
    "Talks with a model; what was said stays in its context. Ctrl-C ends an answer, Ctrl-D the\n"
    "chat, /clear forgets what was said.\n"
    "\n";

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

static void read_line(line_source *source)
{
    if (!source->interactive) {
        read_plain(source);
        return;
    }
    source->line = readline("> ");
    if (source->line == NULL) {
        dw_cli_put("\n", 1);
        return;
    }
    source->length = strlen(source->line);
    if (source->length > 0) {
        (void)add_history(source->line);
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

int dw_cli_chat(int argc, char **argv)
{
    static const struct option options[] = {
        DW_CLI_SESSION_OPTIONS, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    line_source source = {.interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    dw_cli_session session = {
        .guest = "chat", .on_input = on_input, .user = &source, .on_interrupt = dw_instance_cancel};
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
        if (dw_cli_session_option(&session, option, optarg, &error) != DW_OK) {
            exit_code = dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
            goto out;
        }
    }
    if (optind < argc) {
        exit_code = dw_cli_fail(DW_CLI_USAGE, "chat takes no argument '%s'", argv[optind]);
        goto out;
    }
    exit_code = dw_cli_session_check(&session, &error) == DW_OK
                    ? dw_cli_session_run(&session)
                    : dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
    if (exit_code == 0 && source.failure != 0) {
        exit_code = dw_cli_fail(1, "standard input: %s", strerror(source.failure));
    }
out:
    free(source.line);
    dw_cli_session_release(&session);
    return exit_code;
}
