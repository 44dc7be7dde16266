/* driftwood run: one guest, once. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/session.h"
#include "cli/tools.h"

#define PROMPT_BYTES_MAX ((size_t)16 << 20)

static const char usage[] =
    "usage: driftwood run [GUEST] [OPTION...] [-- ARGUMENT...]\n"
    "\n"
    "Runs a guest: a .wasm file, or the name of one that came along (generate, chat, embed, "
    "...).\n"
    "Without GUEST it is `generate`, which answers --prompt and streams the text.\n"
    "\n"
    "  --prompt P           the prompt; -: standard input\n"
    "  --raw                continue the prompt as it is, without the model's chat "
    "template\n";
static const char usage_behind[] = DW_CLI_TOOLS_HELP
    "  --dir HOST[::GUEST][:ro]  grant the guest a folder\n"
    "  --contexts DIR[:ro]  let the guest save contexts under names, and open them, in that "
    "folder\n"
    "  --env NAME=VALUE     set a variable of the guest's environment\n"
    "  --nn-preload NAME:GGML:DEVICE:MODEL\n"
    "                       as --model NAME=MODEL, the way guests of wasi-nn are run elsewhere;\n"
    "                       DEVICE is AUTO, CPU or GPU\n"
    "  --trace              tell each call of the host's functions on standard error, with those "
    "of\n"
    "                       WASI that it answers itself: arguments, result, time\n"
    "  --profile FILE       where the guest's time goes, for https://profiler.firefox.com\n"
    "  --perf-map           name its functions for perf, in /tmp/perf-PID.map\n"
    "  --strict-align       refuse logits and tensors that do not begin at a multiple of 64, as\n"
    "                       other devices than this one may\n"
    "  --repeatable N       the guest does the same each time: its random numbers follow from N,\n"
    "                       its clocks begin in 2020 and go on by what it reads and sleeps\n"
    "  -h, --help           this text\n"
    "\n"
    "The exit status is the guest's; 1 if it failed, 2 for a wrong command line, 130 after "
    "Ctrl-C.\n";

enum {
    OPT_PROMPT = DW_CLI_OPT_OWN,
    OPT_RAW,
    OPT_DIR,
    OPT_CONTEXTS,
    OPT_ENV,
    OPT_TOOL,
    OPT_TOOL_TIMEOUT,
    OPT_NN_PRELOAD,
    OPT_TRACE,
    OPT_PROFILE,
    OPT_PERF_MAP,
    OPT_STRICT_ALIGN,
    OPT_REPEATABLE,
};

static dw_status take_prompt(dw_cli_session *session, const char *text, dw_error *err)
{
    if (strcmp(text, "-") != 0) {
        return dw_cli_session_set(session, "--prompt", "DRIFTWOOD_PROMPT", text, err);
    }
    char *bytes = NULL;
    size_t count = 0;
    dw_status status =
        dw_cli_read_stream(stdin, "standard input", PROMPT_BYTES_MAX, &bytes, &count, err);
    if (status != DW_OK) {
        return status;
    }
    if (strlen(bytes) != count) {
        status = dw_fail(err, DW_E_ARG, "--prompt: standard input has a zero byte at %zu",
                         strlen(bytes));
    } else {
        status = dw_cli_session_set(session, "--prompt", "DRIFTWOOD_PROMPT", bytes, err);
    }
    free(bytes);
    session->inherit_stdin = false;
    return status;
}

static dw_status take_option(dw_cli_session *session, int option, const char *value, dw_error *err)
{
    switch (option) {
    case OPT_RAW:
        return dw_cli_session_set(session, "--raw", "DRIFTWOOD_RAW", "1", err);
    case OPT_DIR:
        return dw_cli_session_dir(session, value, err);
    case OPT_CONTEXTS:
        return dw_cli_session_contexts(session, value, err);
    case OPT_NN_PRELOAD:
        return dw_cli_session_preload(session, value, err);
    case OPT_TRACE:
        session->traces = true;
        return DW_OK;
    case OPT_PROFILE:
        session->profile_path = value;
        return DW_OK;
    case OPT_PERF_MAP:
        session->perf_map = true;
        return DW_OK;
    case OPT_STRICT_ALIGN:
        session->strict_align = true;
        return DW_OK;
    case OPT_REPEATABLE:
        session->repeats = true;
        return dw_cli_whole("--repeatable", value, 0, UINT64_MAX - 1, &session->repeat_seed, err);
    case OPT_ENV:
        return dw_cli_session_env_text(session, value, err);
    case OPT_TOOL:
        return dw_cli_tool_grant(value, err);
    case OPT_TOOL_TIMEOUT:
        return dw_cli_tool_timeout(value, err);
    default:
        return dw_cli_session_option(session, option, value, err);
    }
}

/* Where "--" stands: what is behind it is the guest's. */
static int own_argument_count(int argc, char **argv)
{
    int i = 1;
    while (i < argc && strcmp(argv[i], "--") != 0) {
        i++;
    }
    return i;
}

static int run(dw_cli_session *session, const char *prompt)
{
    dw_error error;
    if (dw_cli_session_check(session, &error) != DW_OK) {
        return dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
    }
    if (prompt == NULL && strcmp(session->guest, "generate") == 0) {
        return dw_cli_fail(DW_CLI_USAGE, "no prompt: give --prompt TEXT, or --prompt - to read it "
                                         "from standard input");
    }
    if (prompt != NULL && take_prompt(session, prompt, &error) != DW_OK) {
        return dw_cli_fail_with(&error);
    }
    return dw_cli_session_run(session);
}

static const struct option options[] = {DW_CLI_SESSION_OPTIONS,
                                        {"prompt", required_argument, NULL, OPT_PROMPT},
                                        {"raw", no_argument, NULL, OPT_RAW},
                                        {"dir", required_argument, NULL, OPT_DIR},
                                        {"contexts", required_argument, NULL, OPT_CONTEXTS},
                                        {"env", required_argument, NULL, OPT_ENV},
                                        {"tool", required_argument, NULL, OPT_TOOL},
                                        {"tool-timeout", required_argument, NULL, OPT_TOOL_TIMEOUT},
                                        {"nn-preload", required_argument, NULL, OPT_NN_PRELOAD},
                                        {"trace", no_argument, NULL, OPT_TRACE},
                                        {"profile", required_argument, NULL, OPT_PROFILE},
                                        {"perf-map", no_argument, NULL, OPT_PERF_MAP},
                                        {"strict-align", no_argument, NULL, OPT_STRICT_ALIGN},
                                        {"repeatable", required_argument, NULL, OPT_REPEATABLE},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

int dw_cli_run(int argc, char **argv)
{
    dw_cli_session session = {
        .guest = "generate", .inherit_stdin = true, .on_interrupt = dw_instance_interrupt};
    const char *prompt = NULL;
    dw_error error;
    int exit_code = 0;
    int option;
    int own_count = own_argument_count(argc, argv);
    while ((option = getopt_long(own_count, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            dw_cli_print("%s%s%s%s", usage, DW_CLI_SESSION_HELP, DW_CLI_LIMITS_HELP, usage_behind);
            goto out;
        }
        if (option == '?') {
            exit_code = DW_CLI_USAGE;
            goto out;
        }
        if (option == OPT_PROMPT) {
            prompt = optarg;
        } else if (take_option(&session, option, optarg, &error) != DW_OK) {
            exit_code = dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
            goto out;
        }
    }
    if (optind + 1 < own_count) {
        exit_code = dw_cli_fail(DW_CLI_USAGE,
                                "run takes one guest, '%s' is one too many; arguments for it stand "
                                "behind --",
                                argv[optind + 1]);
        goto out;
    }
    if (optind < own_count) {
        session.guest = argv[optind];
    }
    if (own_count < argc) {
        session.args = argv + own_count + 1;
        session.arg_count = (size_t)(argc - own_count - 1);
    }
    exit_code = run(&session, prompt);
out:
    dw_cli_session_release(&session);
    return exit_code;
}
