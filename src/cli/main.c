/* driftwood: which command was asked for. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} command;

static const command commands[] = {
    {"run", dw_cli_run, "run a guest: by default one that generates text from a prompt"},
    {"chat", dw_cli_chat, "talk with a model"},
    {"actor", dw_cli_actor, "guests that live between messages, and their snapshots"},
    {"serve", dw_cli_serve, "serve models over HTTP, as OpenAI and Anthropic do"},
    {"top", dw_cli_top, "show what the actors of a runtime do"},
    {"doctor", dw_cli_doctor, "check the chain from guest memory to the device"},
    {"devices", dw_cli_devices, "list the devices there are"},
    {"models", dw_cli_models, "list the models in the cache"},
    {"pull", dw_cli_pull, "fetch a model into the cache"},
    {"inspect", dw_cli_inspect, "tell what a model file holds and whether it runs here"},
    {"eval", dw_cli_eval, "tell how well a model predicts a text"},
    {"limits", dw_cli_limits, "list the limits that guests meet, with their defaults"},
    {"new", dw_cli_new, "make a project of a guest in a language of your choice"},
    {"build", dw_cli_build, "build such a project"},
    {"check", dw_cli_check, "go through a snapshot file and tell whether it is whole"},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static int help(void)
{
    dw_cli_print(
        "usage: driftwood COMMAND [OPTION...]\n"
        "\n"
        "Runs sandboxed WebAssembly guests that drive language models and tensor work on a\n"
        "compute device, with no copy between the two.\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        dw_cli_print("  %-9s %s\n", commands[i].name, commands[i].summary);
    }
    dw_cli_print("\n"
                 "  --help, --version\n"
                 "`driftwood COMMAND --help` tells about one. See also driftwood(1).\n");
    return 0;
}

static const command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* DRIFTWOOD_LOG=error|warn|info|debug; another word changes nothing. */
static void set_log_level(void)
{
    static const char *const names[] = {"none", "error", "warn", "info", "debug"};
    const char *wanted = getenv("DRIFTWOOD_LOG");
    for (size_t i = 0; wanted != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(wanted, names[i]) == 0) {
            dw_log_set((dw_log_level)i, NULL, NULL);
        }
    }
}

static int run(int argc, char **argv)
{
    static char program[] = "driftwood";
    static char help_option[] = "--help";
    if (argc < 2) {
        return dw_cli_fail(DW_CLI_USAGE, "no command given; `driftwood --help` lists them");
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        dw_cli_print("driftwood %s\n", DW_VERSION);
        return 0;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        (strcmp(name, "help") == 0 && argc == 2)) {
        return help();
    }
    if (strcmp(name, "help") == 0 && argc == 3 && find(argv[2]) != NULL) {
        char *arguments[] = {program, help_option, NULL};
        return find(argv[2])->run(2, arguments);
    }
    const command *chosen = find(name);
    if (chosen == NULL) {
        return dw_cli_fail(DW_CLI_USAGE, "no %s '%s'; `driftwood --help` lists those there are",
                           name[0] == '-' ? "option" : "command", name);
    }
    argv[1] = program;
    return chosen->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    if (!dw_cli_output_begin()) {
        return dw_cli_fail(1, "/dev/null cannot be opened in the place of a closed descriptor");
    }
    set_log_level();
    /* Wasmtime reads it when an engine is made: lines of source in traps. No thread is there. */
    (void)setenv("WASMTIME_BACKTRACE_DETAILS", "1", 0);
    const int code = dw_cli_output_end(run(argc, argv));
    if (!dw_cli_frees()) {
        _exit(code); /* C++ would free what threads still have */
    }
    return code;
}
