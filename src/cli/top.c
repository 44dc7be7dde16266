/* driftwood top: what a runtime that runs does, again and again. */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/actor_state.h"
#include "cli/top.h"

static const char usage[] =
    "usage: driftwood top [OPTION...]\n"
    "\n"
    "Shows what the actors of a runtime, its tenants and its device do, and beside a server its\n"
    "models, anew every second: at a terminal as a table, elsewhere as lines. Rates are of the "
    "last\n"
    "interval, at first since the runtime was opened. docs/seeing.md tells what the numbers are.\n"
    "\n"
    "  --control PATH    the runtime's control socket; default: `control` in the state folder\n"
    "  --state DIR       the state folder; default $XDG_STATE_HOME/driftwood, or\n"
    "                    ~/.local/state/driftwood\n"
    "  --sort KEY        device (the default), guest, tokens, memory or waiting\n"
    "  --delay SECONDS   between two looks; default 1\n"
    "  --actors N        actors that are shown at most, 1 to 4096; default 256\n"
    "  -1, --once        look once\n"
    "  -j, --json        print what the runtime says, as JSON, one line a look\n"
    "  -h, --help        this text\n"
    "\n"
    "Keys: q quits; d, g, t, m and w sort by device, guest, tokens, memory and waiting messages.\n";

enum { OPT_CONTROL = 256, OPT_STATE, OPT_SORT, OPT_DELAY, OPT_ACTORS };

#define DELAY_S_MIN 0.1
#define DELAY_S_MAX 3600.0
#define ACTORS_MAX 4096

typedef struct top {
    char path[DW_CLI_PATH_MAX + 16];
    char folder[DW_CLI_PATH_MAX + 16]; /* that it is in: a server's socket may be there too */
    const char *control;
    const char *state;
    dw_cli_order order;
    double delay_s;
    uint64_t actors;
    bool once;
    bool json;
    bool screen;
    json_t *now;
    json_t *before;
} top;

/* ---- the command line ------------------------------------------------------------------------ */

static dw_status take_order(top *t, const char *text, dw_error *err)
{
    for (int i = 0; i < DW_CLI_ORDERS; i++) {
        if (strcmp(text, dw_cli_order_names[i]) == 0) {
            t->order = (dw_cli_order)i;
            return DW_OK;
        }
    }
    return dw_fail(err, DW_E_ARG,
                   "--sort: '%.40s', device, guest, tokens, memory or waiting is "
                   "needed",
                   text);
}

static dw_status take_option(top *t, int option, dw_error *err)
{
    switch (option) {
    case OPT_CONTROL:
        t->control = optarg;
        return DW_OK;
    case OPT_STATE:
        t->state = optarg;
        return DW_OK;
    case OPT_SORT:
        return take_order(t, optarg, err);
    case OPT_DELAY:
        return dw_cli_number("--delay", optarg, DELAY_S_MIN, DELAY_S_MAX, &t->delay_s, err);
    case OPT_ACTORS:
        return dw_cli_whole("--actors", optarg, 1, ACTORS_MAX, &t->actors, err);
    case '1':
        t->once = true;
        return DW_OK;
    default:
        t->json = true;
        return DW_OK;
    }
}

static void find_folder(top *t)
{
    const char *slash = strrchr(t->path, '/');
    size_t length = slash != NULL ? (size_t)(slash - t->path) : 0;
    memcpy(t->folder, t->path, length);
    (void)snprintf(t->folder + length, sizeof t->folder - length, "%s", slash != NULL ? "" : ".");
}

static dw_status find_socket(top *t, dw_error *err)
{
    char *folder = NULL;
    if (t->control != NULL && t->state != NULL) {
        return dw_fail(err, DW_E_ARG, "--control beside --state: one of the two is allowed");
    }
    if (t->control != NULL) {
        if (strlen(t->control) >= sizeof t->path) {
            return dw_fail(err, DW_E_LIMIT, "--control: the path is too long");
        }
        (void)snprintf(t->path, sizeof t->path, "%s", t->control);
        return DW_OK;
    }
    dw_status status = dw_cli_state_folder(t->state, &folder, err);
    if (status == DW_OK) {
        (void)snprintf(t->path, sizeof t->path, "%s/control", folder);
    }
    free(folder);
    return status;
}

/* ---- looking --------------------------------------------------------------------------------- */

static dw_status look(top *t, dw_error *err)
{
    json_t *fetched = NULL;
    dw_status status = dw_cli_top_fetch(t->path, t->order, (unsigned)t->actors, &fetched, err);
    if (status == DW_OK) {
        dw_cli_top_fetch_models(t->folder, fetched);
        json_decref(t->before);
        t->before = t->now;
        t->now = fetched;
    }
    if (status == DW_OK && t->before != NULL &&
        json_integer_value(json_object_get(t->before, "uptime_ns")) >=
            json_integer_value(json_object_get(t->now, "uptime_ns"))) {
        json_decref(t->before); /* another runtime is there now */
        t->before = NULL;
    }
    return status;
}

static bool show(const top *t)
{
    dw_cli_view view = {.now = t->now, .before = t->before, .order = t->order, .keys = t->screen};
    char *text = NULL;
    size_t bytes = 0;
    if (t->json) {
        dw_cli_print_json(json_incref(t->now), JSON_COMPACT);
        return dw_cli_output_flush();
    }
    if (t->screen) {
        dw_cli_screen_size(&view.rows, &view.columns);
    }
    FILE *page = open_memstream(&text, &bytes);
    if (page == NULL) {
        return true; /* the next may be shown again */
    }
    dw_cli_top_view(page, &view);
    if (fclose(page) == 0) {
        dw_cli_print("%s", t->screen ? "\033[H\033[2J" : "");
        dw_cli_put(text, bytes);
        dw_cli_print("%s", t->screen || t->once ? "" : "\n");
    }
    free(text);
    return dw_cli_output_flush();
}

/* Whether it goes on. */
static bool take_key(top *t, int key)
{
    static const char keys[DW_CLI_ORDERS] = {'d', 'g', 't', 'm', 'w'};
    for (int i = 0; i < DW_CLI_ORDERS; i++) {
        if (key == keys[i]) {
            t->order = (dw_cli_order)i;
        }
    }
    return key != 'q' && key != 'Q';
}

/* Until the next look is due; true: it goes on. */
static bool pass_time(top *t, uint64_t until_ns, int *signal_number)
{
    for (;;) {
        int what = 0;
        switch (dw_cli_screen_wait(until_ns, &what)) {
        case DW_CLI_TIME_IS_UP:
            return true;
        case DW_CLI_SIGNAL:
            *signal_number = what;
            return false;
        case DW_CLI_KEY:
            if (!take_key(t, what)) {
                return false;
            }
            break;
        case DW_CLI_SIZE:
            break;
        }
        if (!show(t)) {
            return false;
        }
    }
}

/* What was looked at is shown, then the next. */
static dw_status look_on(top *t, int *signal_number, dw_error *err)
{
    dw_status status = DW_OK;
    while (status == DW_OK && show(t) && !t->once) {
        uint64_t until_ns = dw_cli_clock_ns() + (uint64_t)(t->delay_s * 1e9);
        if (!pass_time(t, until_ns, signal_number)) {
            break;
        }
        status = look(t, err);
    }
    return status;
}

static int run(top *t)
{
    dw_error error;
    int signal_number = 0;
    dw_status status = find_socket(t, &error);
    find_folder(t);
    if (status == DW_OK) {
        status = look(t, &error); /* an error is told before the screen is another */
    }
    t->screen = !t->once && !t->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    dw_cli_screen_catch();
    if (status == DW_OK && t->screen) {
        status = dw_cli_screen_open(&error);
    }
    if (status == DW_OK) {
        status = look_on(t, &signal_number, &error);
    }
    dw_cli_screen_close();
    json_decref(t->now);
    json_decref(t->before);
    if (status != DW_OK) {
        return dw_cli_fail_with(&error);
    }
    if (signal_number != 0 && signal_number != SIGINT) {
        (void)signal(signal_number, SIG_DFL);
        (void)raise(signal_number);
    }
    return signal_number != 0 ? DW_CLI_INTERRUPTED : 0;
}

int dw_cli_top(int argc, char **argv)
{
    static const struct option options[] = {{"control", required_argument, NULL, OPT_CONTROL},
                                            {"state", required_argument, NULL, OPT_STATE},
                                            {"sort", required_argument, NULL, OPT_SORT},
                                            {"delay", required_argument, NULL, OPT_DELAY},
                                            {"actors", required_argument, NULL, OPT_ACTORS},
                                            {"once", no_argument, NULL, '1'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    top t = {.delay_s = 1.0, .actors = 256};
    dw_error error;
    int option;
    while ((option = getopt_long(argc, argv, "h1j", options, NULL)) != -1) {
        if (option == 'h') {
            dw_cli_print("%s", usage);
            return 0;
        }
        if (option == '?') {
            return DW_CLI_USAGE;
        }
        if (take_option(&t, option, &error) != DW_OK) {
            return dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
        }
    }
    if (optind < argc) {
        return dw_cli_fail(DW_CLI_USAGE, "top takes no argument '%s'", argv[optind]);
    }
    return run(&t);
}
