/* driftwood chat: the guest `chat`, fed with lines. */
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
    "\n" DW_CLI_SESSION_HELP "  -h, --help           this text\n";

/* The line that waits for the guest, who may have to ask twice. */
typedef struct line_source {
    char *line; /* owned; NULL: none waits */
    bool interactive;
} line_source;

static char *read_plain(void)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length = getline(&line, &capacity, stdin);
    if (length < 0) {
        free(line);
        return NULL;
    }
    if (length > 0 && line[length - 1] == '\n') {
        line[length - 1] = '\0';
    }
    return line;
}

static char *read_line(const line_source *source)
{
    if (!source->interactive) {
        return read_plain();
    }
    char *line = readline("> ");
    if (line == NULL) {
        dw_cli_put("\n", 1);
    } else if (line[0] != '\0') {
        (void)add_history(line);
    }
    return line;
}

static ptrdiff_t on_input(void *user, char *buffer, size_t capacity)
{
    line_source *source = user;
    dw_cli_session_calm();
    if (source->line == NULL) {
        source->line = read_line(source);
    }
    if (source->line == NULL) {
        return -1;
    }
    size_t length = strlen(source->line);
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
            dw_cli_print("%s", usage);
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
out:
    free(source.line);
    dw_cli_session_release(&session);
    return exit_code;
}
