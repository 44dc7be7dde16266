/* driftwood actor: guests that live between messages, in a state folder. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/actor_answer.h"
#include "cli/link.h"
#include "cli/session.h"
#include "cli/tools.h"

#define MESSAGE_BYTES_MAX ((size_t)64 << 20)
#define VERIFY_TOKENS 64

static const char usage[] =
    "usage: driftwood actor COMMAND [ARGUMENT...] [OPTION...]\n"
    "\n"
    "Actors are guests that live between messages: memory, globals, contexts (KV caches), "
    "samplers\n"
    "and mailbox are kept in a state folder. ID may be the first digits of an id, or TENANT@NAME.\n"
    "\n"
    "  spawn --guest G      a new actor of guest G, a .wasm file or the name of one that came\n"
    "                       along; prints its id. Takes the options of `driftwood run`\n"
    "  send ID TEXT         send it a message and print its answer; TEXT -: standard input\n"
    "  list                 the actors there are\n"
    "  show ID              what one consists of\n"
    "  run                  work on all that waits: messages, timers that are due\n"
    "  freeze ID            write it as one full snapshot in the place of its deltas, and keep "
    "that\n"
    "                       as a freeze, the last 8 of which there are; prints its number\n"
    "  rewind ID N          let it be what it was at freeze N; 0: at the last, or at first\n"
    "  thaw ID              load it, and tell how long that took\n"
    "  fork ID              a copy that goes on by itself; prints its id\n"
    "  export ID FILE       write it to FILE, -: standard output\n"
    "  import FILE          take in an exported actor, -: standard input; prints its new id\n"
    "  verify ID            run it and a frozen and thawed copy side by side: on a message\n"
    "                       (--message TEXT), then each context for N tokens (--tokens N), and\n"
    "                       compare answers, every logit and all state\n"
    "  diff ID ID           which memory blocks and tokens of two actors differ\n"
    "  mail ID              its messages that wait or were set aside: number, sender, bytes,\n"
    "                       attempts, the reason of the last failure\n"
    "  contexts             what actors have saved under names (context_save), of all tenants or "
    "of\n"
    "                       --tenant; --remove NAME removes one\n"
    "  logs ID              what a server logged of it, what its guest wrote to standard error "
    "too\n"
    "  stop ID              end it; its files go. With --tree also all that descend from it, with\n"
    "                       --all and without ID all actors there are: as one operation\n"
    "\n";
static const char usage_of_options[] =
    "  --state DIR          the state folder; default $XDG_STATE_HOME/driftwood, or\n"
    "                       ~/.local/state/driftwood\n"
    "  --guest G            for spawn\n"
    "  --tenant NAME        spawn, import, contexts: whose it is; default: nobody's\n"
    "  --priority P         spawn, import: high, normal or low, beside its tenant's others\n"
    "  --durability D       spawn, import: when what it did is on the disk: each (message; the\n"
    "                       default), seconds:N (so much later at most), park (when it leaves\n"
    "                       memory)\n"
    "  --manifest FILE      what makes or runs actors: tenants, what they may, limits, in JSON;\n"
    "                       default: tenants are as actors have them, and may do all\n"
    "  --zstd               export: compressed; import sees by itself that a file is\n"
    "  --by-hash            export: name the module by its hash only\n"
    "  --module FILE        import: the module of a file that names it by its hash, where it is\n"
    "                       neither in the state folder nor a guest that came along\n"
    "  --force              go on from the newest state that is there, where an actor's newest\n"
    "                       snapshots are missing\n"
    "  --message TEXT       verify: a message to both; default: none\n"
    "  --tokens N           verify: tokens that each context goes on for; default 64\n"
    "  --show N             mail: print message N\n"
    "  --drop N|all         mail: drop message N, or all that were set aside\n"
    "  --retry N|all        mail: let what was set aside wait again\n"
    "  --remove NAME        contexts: see there\n"
    "  --last N             logs: entries of before; default 100\n"
    "  --follow             logs: then those that come, until Ctrl-C\n"
    "  --tree, --all        stop: see there\n"
    "  --log FILE           append what happens to FILE, as JSON, one a line; -: standard error\n"
    "  --log-level LEVEL    error, warn (the default), info or debug\n"
    "  --trace FILE         write what becomes of messages to FILE, for https://ui.perfetto.dev\n"
    "  --control            let `driftwood top` look meanwhile, at the socket `control` in the\n"
    "                       state folder\n"
    "  -j, --json           one object in place of text\n";
/* A string may have 4,095 characters. */
static const char usage_of_guests[] = DW_CLI_LIMITS_HELP DW_CLI_TOOLS_HELP
    "  --dir HOST[::GUEST][:ro]  a folder of the host for the actors of this command, by the name\n"
    "                       GUEST, not to be written with :ro; may be repeated. Not beside\n"
    "                       --manifest, which has its own\n"
    "  --folder GUEST       spawn: of the folders that are granted those that it gets; '' is "
    "none;\n"
    "                       default: all. May be repeated\n"
    "  --env NAME=VALUE     set a variable of the guest's environment\n"
    "  -h, --help           this text\n"
    "\n"
    "Exit status: 0 good, 1 it failed, 2 a wrong command line.\n";

enum {
    OPT_STATE = DW_CLI_OPT_OWN,
    OPT_GUEST,
    OPT_BY_HASH,
    OPT_MESSAGE,
    OPT_TOKENS,
    OPT_ENV,
    OPT_ZSTD,
    OPT_MODULE,
    OPT_FORCE,
    OPT_SHOW,
    OPT_DROP,
    OPT_RETRY,
    OPT_REMOVE,
    OPT_LAST,
    OPT_FOLLOW,
    OPT_ALL,
    OPT_TREE,
    OPT_TENANT,
    OPT_PRIORITY,
    OPT_DURABILITY,
    OPT_MANIFEST,
    OPT_LOG,
    OPT_LOG_LEVEL,
    OPT_TRACE,
    OPT_CONTROL,
    OPT_TOOL,
    OPT_TOOL_TIMEOUT,
    OPT_DIR,
    OPT_FOLDER,
    OPT_COUNT
};

/* What the commands go by, and with that which options have an effect on them. */
enum {
    USES_SPAWN = 1 << 0, /* what an actor is made with and keeps */
    USES_MODEL = 1 << 1, /* loads actors with their models */
    USES_KV_TYPE = 1 << 2,
    USES_EXPORT = 1 << 3,
    USES_VERIFY = 1 << 4,
    USES_JSON = 1 << 5,
    USES_IMPORT = 1 << 6,
    USES_STATE = 1 << 7,   /* of an actor that is there */
    USES_NOTHING = 1 << 8, /* no command does */
    USES_MAIL = 1 << 9,
    USES_STOP = 1 << 10,
    USES_TERMS = 1 << 11,   /* an actor is made under */
    USES_RUNTIME = 1 << 12, /* makes actors, or has them in memory */
    USES_LOGS = 1 << 13,
    USES_CONTEXTS = 1 << 14,
    USES_LIMITS = 1 << 15, /* tells what an actor may take */
};

static const struct option options[] = {
    DW_CLI_SESSION_OPTIONS,
    {"state", required_argument, NULL, OPT_STATE},
    {"guest", required_argument, NULL, OPT_GUEST},
    {"by-hash", no_argument, NULL, OPT_BY_HASH},
    {"zstd", no_argument, NULL, OPT_ZSTD},
    {"module", required_argument, NULL, OPT_MODULE},
    {"force", no_argument, NULL, OPT_FORCE},
    {"show", required_argument, NULL, OPT_SHOW},
    {"drop", required_argument, NULL, OPT_DROP},
    {"retry", required_argument, NULL, OPT_RETRY},
    {"remove", required_argument, NULL, OPT_REMOVE},
    {"last", required_argument, NULL, OPT_LAST},
    {"follow", no_argument, NULL, OPT_FOLLOW},
    {"all", no_argument, NULL, OPT_ALL},
    {"tree", no_argument, NULL, OPT_TREE},
    {"tenant", required_argument, NULL, OPT_TENANT},
    {"priority", required_argument, NULL, OPT_PRIORITY},
    {"durability", required_argument, NULL, OPT_DURABILITY},
    {"manifest", required_argument, NULL, OPT_MANIFEST},
    {"log", required_argument, NULL, OPT_LOG},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"trace", required_argument, NULL, OPT_TRACE},
    {"control", no_argument, NULL, OPT_CONTROL},
    {"message", required_argument, NULL, OPT_MESSAGE},
    {"tokens", required_argument, NULL, OPT_TOKENS},
    {"env", required_argument, NULL, OPT_ENV},
    {"tool", required_argument, NULL, OPT_TOOL},
    {"tool-timeout", required_argument, NULL, OPT_TOOL_TIMEOUT},
    {"dir", required_argument, NULL, OPT_DIR},
    {"folder", required_argument, NULL, OPT_FOLDER},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

typedef struct request {
    dw_cli_session session; /* of spawn, and which device */
    dw_cli_actors actors;
    dw_cli_terms terms;
    dw_cli_seeing seeing;
    const char *state;
    const char *message;
    uint64_t tokens;
    char spooled[DW_CLI_PATH_MAX]; /* standard input of `import -`, as a file; "": none */
    int spooled_fd;                /* -1: none */
    const char *module;            /* of import; NULL: none was given */
    bool force;
    dw_cli_mail mail;
    dw_cli_logs logs;
    dw_cli_contexts contexts;
    bool all; /* stop */
    bool tree;
    bool by_hash;
    bool zstd;
    bool json;
    bool given[OPT_COUNT]; /* by option */
    char **args;           /* [arg_count]: what stands behind the command */
    int arg_count;
} request;

/* ---- output ------------------------------------------------------------------------------ */

static int print_json(json_t *object)
{
    dw_cli_print_json(object, JSON_INDENT(2));
    return 0;
}

/* The id of a new actor. One of which nobody has been told is ended again. */
static int tell_new(request *r, const char *id)
{
    dw_error error;
    if (r->json) {
        (void)print_json(json_pack("{s:s}", "id", id));
    } else {
        dw_cli_print("%s\n", id);
    }
    if (dw_cli_output_flush()) {
        return 0;
    }
    if (dw_cli_at_stop(&r->actors, id, &error) == DW_OK) {
        dw_cli_output_explain("the new actor is gone again");
    } else {
        dw_cli_output_explain("the new actor is %s", id);
    }
    return 1;
}

static int fail(const dw_error *error)
{
    return dw_cli_fail_with(error);
}

/* ---- commands ---------------------------------------------------------------------------- */

static int spawn(request *r)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error;
    if (r->session.guest == NULL) {
        return dw_cli_fail(DW_CLI_USAGE, "actor spawn: --guest is needed");
    }
    if (r->given[OPT_TOOL]) {
        dw_cli_note("--tool: not kept, it is for send, run and the server to give");
    }
    dw_status status = dw_cli_actors_spawn(&r->actors, &r->session, &r->terms, id, &error);
    return status == DW_OK ? tell_new(r, id) : fail(&error);
}

typedef struct output {
    bool json;
    char last;
    dw_cli_answer answer; /* with --json */
    dw_error error;       /* why it could not be kept */
} output;

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    output *to = user;
    if (count == 0) {
        return 0;
    }
    if (to->json) {
        return dw_cli_answer_add(&to->answer, bytes, count, &to->error) == DW_OK ? (ptrdiff_t)count
                                                                                 : -EIO;
    }
    ptrdiff_t taken = dw_cli_output_flush() ? dw_cli_output_guest(NULL, bytes, count) : -EIO;
    to->last = taken > 0 ? (char)bytes[taken - 1] : to->last;
    return taken;
}

/* Before the message counts as worked on: one whose answer cannot be told does not. */
static dw_status tell_answer(void *user, dw_status result, dw_error *err)
{
    output *to = user;
    if (to->json && result == DW_OK && to->error.code == DW_OK) {
        (void)dw_cli_answer_print(&to->answer, &to->error);
    } else if (!to->json && to->last != '\n') {
        dw_cli_put("\n", 1);
    }
    return dw_cli_output_flush() && to->error.code == DW_OK
               ? DW_OK
               : dw_fail(err, DW_E_IO, "the answer could not be written");
}

static int send_message(request *r, const char *id, const char *text, size_t bytes)
{
    dw_error error;
    output to = {.json = r->json, .last = '\n', .error = {.code = DW_OK}};
    const dw_request message = {.struct_bytes = sizeof message,
                                .message = text,
                                .message_bytes = bytes,
                                .on_answer = on_answer,
                                .on_answered = tell_answer,
                                .user = &to};
    dw_status status = dw_cli_answer_open(&to.answer, id, &error);
    if (status == DW_OK) {
        status = dw_cli_at_call(&r->actors, id, &message, &error);
        /* Whoever got something meanwhile; what goes wrong there is told by itself. */
        (void)!dw_cli_at_work(&r->actors, DW_WORK_TURN, NULL);
    }
    dw_cli_answer_close(&to.answer);
    if (dw_cli_output_failed()) {
        dw_cli_output_explain(r->actors.remote != NULL
                                  ? "the server was told to leave the message"
                                  : "the message was not worked on, the actor is as it was");
    }
    if (status != DW_OK) {
        return fail(to.error.code != DW_OK ? &to.error : &error);
    }
    return 0;
}

static int send_to(request *r, const char *id)
{
    dw_error error;
    char *text = NULL;
    size_t bytes = 0;
    if (strcmp(r->args[1], "-") != 0) {
        return send_message(r, id, r->args[1], strlen(r->args[1]));
    }
    if (dw_cli_read_stream(stdin, "standard input", MESSAGE_BYTES_MAX, &text, &bytes, &error) !=
        DW_OK) {
        return fail(&error);
    }
    int exit_code = send_message(r, id, text, bytes);
    free(text);
    return exit_code;
}

#define LISTED 1024 /* actors at a time */

typedef struct listing {
    bool json;
    size_t printed; /* json: so many */
    int exit_code;
    size_t count;                     /* in this page */
    char last[DW_ACTOR_ID_CHARS + 1]; /* of it */
} listing;

static void list_one(void *user, const char *id, const dw_runtime_actor_info *info,
                     const dw_error *problem)
{
    listing *to = user;
    to->count++;
    (void)snprintf(to->last, sizeof to->last, "%s", id);
    if (problem != NULL) {
        to->exit_code = fail(problem);
    } else if (to->json) { /* one by one: there may be more than fit into memory */
        dw_cli_print_json_item(
            json_pack("{s:s, s:s, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:o}", "id", id, "parent",
                      info->parent, "depth", (json_int_t)info->depth, "tenant",
                      dw_cli_text_json(info->tenant), "name", dw_cli_text_json(info->name),
                      "snapshots", (json_int_t)info->snapshot_count, "bytes",
                      (json_int_t)info->snapshot_bytes, "waiting", (json_int_t)info->waiting,
                      "set_aside", (json_int_t)info->set_aside, "done",
                      dw_cli_count_json(info->snapshot_done)),
            &to->printed);
    } else {
        dw_cli_print("%s  %llu snapshots, %.1f MB, %llu messages done, %llu waiting", id,
                     (unsigned long long)info->snapshot_count, (double)info->snapshot_bytes / 1e6,
                     (unsigned long long)info->snapshot_done, (unsigned long long)info->waiting);
        if (info->set_aside > 0) {
            dw_cli_print(", %llu set aside", (unsigned long long)info->set_aside);
        }
        if (info->name[0] != '\0') {
            dw_cli_print(", %s@%s", info->tenant, info->name);
        }
        dw_cli_print("\n");
    }
}

static int list(request *r)
{
    dw_error error;
    listing to = {.json = r->json};
    do {
        to.count = 0;
        if (dw_cli_at_list_infos(&r->actors, to.last[0] != '\0' ? to.last : NULL, LISTED, list_one,
                                 &to, &error) != DW_OK) {
            to.exit_code = fail(&error);
            break;
        }
    } while (to.count == LISTED);
    if (r->json) {
        dw_cli_print_json_end(to.printed);
    }
    return to.exit_code;
}

static int show(request *r, const char *id)
{
    dw_error error;
    json_t *about = NULL;
    if (dw_cli_actors_show(&r->actors, id, &about, &error) != DW_OK) {
        return fail(&error);
    }
    if (r->json) {
        return print_json(about);
    }
    dw_cli_actors_print(about);
    json_decref(about);
    return 0;
}

static int run_all(request *r, const char *id)
{
    dw_error error;
    (void)id;
    return dw_cli_at_work(&r->actors, DW_WORK_ALL, &error) == DW_OK ? 0 : fail(&error);
}

static int freeze(request *r, const char *id)
{
    dw_error error;
    uint64_t number = 0;
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    uint64_t started = dw_cli_clock_ns();
    if (dw_cli_at_freeze(&r->actors, id, &number, &stats, &error) != DW_OK) {
        return fail(&error);
    }
    double took_ms = (double)(dw_cli_clock_ns() - started) / 1e6;
    if (r->json) {
        return print_json(json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:f}", "id", id, "number",
                                    dw_cli_count_json(number), "identity", stats.identity,
                                    "file_bytes", (json_int_t)stats.file_bytes, "kv_bytes",
                                    (json_int_t)stats.kv_bytes, "memory_bytes",
                                    (json_int_t)stats.memory_bytes, "ms", took_ms));
    }
    dw_cli_print("freeze %llu: %s  %llu bytes in %.1f ms\n", (unsigned long long)number,
                 stats.identity, (unsigned long long)stats.file_bytes, took_ms);
    return 0;
}

static int rewind_one(request *r, const char *id)
{
    dw_error error;
    uint64_t number = 0;
    if (dw_cli_whole("rewind", r->args[1], 0, UINT64_MAX, &number, &error) != DW_OK) {
        return dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
    }
    return dw_cli_at_rewind(&r->actors, id, number, &error) == DW_OK ? 0 : fail(&error);
}

static int thaw(request *r, const char *id)
{
    dw_error error;
    dw_actor *actor = NULL;
    dw_thaw_stats stats = {.struct_bytes = sizeof stats};
    /* Once before: the module and the model are loaded then, as in a process that goes on. */
    dw_status status = dw_cli_actors_copy(&r->actors, id, NULL, &actor, NULL, &error);
    dw_actor_destroy(actor);
    uint64_t started = dw_cli_clock_ns();
    if (status == DW_OK) {
        status = dw_cli_actors_copy(&r->actors, id, NULL, &actor, &stats, &error);
    }
    double took_us = (double)(dw_cli_clock_ns() - started) / 1e3;
    dw_actor_destroy(status == DW_OK ? actor : NULL);
    if (status != DW_OK) {
        return fail(&error);
    }
    if (r->json) {
        return print_json(json_pack("{s:s, s:f, s:I, s:I, s:I}", "id", id, "us", took_us,
                                    "kv_mapped_bytes", (json_int_t)stats.kv_mapped_bytes,
                                    "kv_converted_bytes", (json_int_t)stats.kv_converted_bytes,
                                    "memory_bytes", (json_int_t)stats.memory_bytes));
    }
    dw_cli_print(
        "thawed in %.0f us: %llu bytes of KV cache mapped, %llu converted, %llu of memory\n",
        took_us, (unsigned long long)stats.kv_mapped_bytes,
        (unsigned long long)stats.kv_converted_bytes, (unsigned long long)stats.memory_bytes);
    return 0;
}

static int fork_one(request *r, const char *id)
{
    char child[DW_ACTOR_ID_CHARS + 1];
    dw_error error;
    return dw_cli_at_fork(&r->actors, id, child, &error) == DW_OK ? tell_new(r, child)
                                                                  : fail(&error);
}

static int export_one(request *r, const char *id)
{
    dw_error error;
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    if (r->json && strcmp(r->args[1], "-") == 0) {
        dw_cli_note("--json: no effect on what is exported to standard output");
    }
    const dw_cli_export how = {.path = r->args[1],
                               .kv_type = r->session.kv_type_given ? &r->session.kv_type : NULL,
                               .by_hash = r->by_hash,
                               .compressed = r->zstd};
    if (dw_cli_actors_export(&r->actors, id, &how, &stats, &error) != DW_OK) {
        return fail(&error);
    }
    return r->json && strcmp(how.path, "-") != 0
               ? print_json(json_pack("{s:s, s:o, s:s, s:I}", "id", id, "path",
                                      dw_cli_path_json(how.path), "identity", stats.identity,
                                      "file_bytes", (json_int_t)stats.file_bytes))
               : 0;
}

static int import_one(request *r, const char *none)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error;
    (void)none;
    const dw_kv_type *kv_type = r->session.kv_type_given ? &r->session.kv_type : NULL;
    bool spooled = r->spooled[0] != '\0';
    const dw_cli_import what = {.path = spooled ? r->spooled : r->args[0],
                                .given = spooled ? "standard input" : r->args[0],
                                .module = r->module,
                                .limits = &r->session.limits,
                                .terms = &r->terms,
                                .kv_type = kv_type};
    dw_status status = dw_cli_actors_import(&r->actors, &what, id, &error);
    return status == DW_OK ? tell_new(r, id) : fail(&error);
}

static int verify(request *r, const char *id)
{
    dw_error error;
    dw_cli_verdict verdict;
    const dw_cli_trial trial = {.message = r->message, .token_count = (uint32_t)r->tokens};
    if (dw_cli_actors_verify(&r->actors, id, &trial, &verdict, &error) != DW_OK) {
        return fail(&error);
    }
    if (r->json) {
        (void)print_json(json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:s}", "id", id, "equal",
                                   verdict.equal, "answer_bytes", (json_int_t)verdict.answer_bytes,
                                   "tokens", (json_int_t)verdict.tokens, "logits",
                                   (json_int_t)verdict.logits, "state_bytes",
                                   (json_int_t)verdict.state_bytes, "difference", verdict.where));
    } else if (verdict.equal) {
        dw_cli_print("equal: %llu bytes of answer, %llu logits of %llu tokens, %llu bytes of state "
                     "(KV cache, memory, samplers)\n",
                     (unsigned long long)verdict.answer_bytes, (unsigned long long)verdict.logits,
                     (unsigned long long)verdict.tokens, (unsigned long long)verdict.state_bytes);
    } else {
        dw_cli_print("they differ: %s\n", verdict.where);
    }
    return verdict.equal ? 0 : 1;
}

static int diff(request *r, const char *id)
{
    dw_error error;
    json_t *about = NULL;
    char other[DW_ACTOR_ID_CHARS + 1];
    dw_status status = dw_cli_actors_find(&r->actors, r->args[1], other, &error);
    if (status == DW_OK) {
        status = dw_cli_actors_diff(&r->actors, id, other, &about, &error);
    }
    return status == DW_OK ? print_json(about) : fail(&error);
}

static int mail(request *r, const char *id)
{
    r->mail.json = r->json;
    return dw_cli_actors_mail(&r->actors, id, &r->mail);
}

static int contexts(request *r, const char *none)
{
    (void)none;
    r->contexts.json = r->json;
    r->contexts.tenant = r->terms.tenant;
    return dw_cli_actors_contexts(&r->actors, &r->contexts);
}

static int stop(request *r, const char *id)
{
    dw_error error;
    uint64_t count = 0;
    if (!r->all && !r->tree) {
        return dw_cli_at_stop(&r->actors, id, &error) == DW_OK ? 0 : fail(&error);
    }
    dw_status status = r->all ? dw_cli_at_stop_all(&r->actors, &count, &error)
                              : dw_cli_at_stop_tree(&r->actors, id, &count, &error);
    if (status != DW_OK) {
        return fail(&error);
    }
    dw_cli_print("%llu stopped\n", (unsigned long long)count);
    return 0;
}

static int logs(request *r, const char *id)
{
    dw_error error;
    r->logs.json = r->json;
    return dw_cli_actors_logs(&r->actors, id, &r->logs, &error) == DW_OK ? 0 : fail(&error);
}

static int spawn_without_id(request *r, const char *none)
{
    (void)none;
    return spawn(r);
}

static int list_without_id(request *r, const char *none)
{
    (void)none;
    return list(r);
}

typedef struct subcommand {
    const char *name;
    int (*run)(request *r, const char *id);
    int arg_count;
    bool takes_id; /* its first argument */
    bool reads;    /* changes nothing in the folder */
    unsigned uses;
} subcommand;

static const subcommand subcommands[] = {
    {"spawn", spawn_without_id, 0, false, false,
     USES_SPAWN | USES_MODEL | USES_KV_TYPE | USES_JSON | USES_TERMS | USES_RUNTIME},
    {"send", send_to, 2, true, false, USES_STATE | USES_MODEL | USES_JSON | USES_RUNTIME},
    {"list", list_without_id, 0, false, true, USES_STATE | USES_JSON},
    {"show", show, 1, true, true, USES_STATE | USES_LIMITS | USES_JSON},
    {"run", run_all, 0, false, false, USES_STATE | USES_MODEL | USES_RUNTIME},
    {"freeze", freeze, 1, true, false, USES_STATE | USES_MODEL | USES_JSON | USES_RUNTIME},
    {"rewind", rewind_one, 2, true, false, USES_STATE | USES_MODEL | USES_RUNTIME},
    {"thaw", thaw, 1, true, true, USES_STATE | USES_MODEL | USES_JSON},
    {"fork", fork_one, 1, true, false, USES_STATE | USES_MODEL | USES_JSON | USES_RUNTIME},
    {"export", export_one, 2, true, true,
     USES_STATE | USES_MODEL | USES_KV_TYPE | USES_EXPORT | USES_JSON},
    {"import", import_one, 1, false, false,
     USES_MODEL | USES_KV_TYPE | USES_IMPORT | USES_JSON | USES_TERMS | USES_RUNTIME},
    {"verify", verify, 1, true, true, USES_STATE | USES_MODEL | USES_VERIFY | USES_JSON},
    {"diff", diff, 2, true, true, USES_STATE | USES_MODEL | USES_JSON},
    {"mail", mail, 1, true, true, USES_STATE | USES_MAIL | USES_JSON},
    {"contexts", contexts, 0, false, true, USES_CONTEXTS | USES_JSON},
    {"logs", logs, 1, true, true, USES_LOGS | USES_JSON},
    {"stop", stop, 1, true, false, USES_STOP},
};

/* ---- the command line -------------------------------------------------------------------- */

/* What an actor is made under, and what is to be seen. */
static dw_status take_terms(request *r, int option, const char *value, dw_error *err)
{
    switch (option) {
    case OPT_TENANT:
        r->terms.tenant = value;
        return DW_OK;
    case OPT_PRIORITY:
        return dw_cli_terms_priority(&r->terms, value, err);
    case OPT_DURABILITY:
        return dw_cli_terms_durability(&r->terms, value, err);
    case OPT_MANIFEST:
        r->terms.manifest = value;
        return DW_OK;
    case OPT_LAST:
        return dw_cli_whole("--last", value, 1, 4096, &r->logs.last, err);
    case OPT_FOLLOW:
        r->logs.follow = true;
        return DW_OK;
    case OPT_DIR:
        return dw_cli_session_dir(&r->session, value, err);
    case OPT_FOLDER:
        return dw_cli_terms_folder(&r->terms, value, err);
    case OPT_LOG:
        r->seeing.log = value;
        return DW_OK;
    case OPT_LOG_LEVEL:
        return dw_cli_seeing_level(&r->seeing, value, err);
    case OPT_TRACE:
        r->seeing.trace = value;
        return DW_OK;
    case OPT_CONTROL:
        r->seeing.control = true;
        return DW_OK;
    default:
        return dw_cli_session_option(&r->session, option, value, err);
    }
}

static dw_status take_option(request *r, int option, const char *value, dw_error *err)
{
    switch (option) {
    case OPT_STATE:
        r->state = value;
        return DW_OK;
    case OPT_GUEST:
        r->session.guest = value;
        return DW_OK;
    case OPT_BY_HASH:
        r->by_hash = true;
        return DW_OK;
    case OPT_ZSTD:
        r->zstd = true;
        return DW_OK;
    case OPT_MODULE:
        r->module = value;
        return DW_OK;
    case OPT_FORCE:
        r->force = true;
        return DW_OK;
    case OPT_SHOW:
        r->mail.show = value;
        return DW_OK;
    case OPT_DROP:
        r->mail.drop = value;
        return DW_OK;
    case OPT_RETRY:
        r->mail.retry = value;
        return DW_OK;
    case OPT_REMOVE:
        r->contexts.remove = value;
        return DW_OK;
    case OPT_ALL:
        r->all = true;
        return DW_OK;
    case OPT_TREE:
        r->tree = true;
        return DW_OK;
    case OPT_MESSAGE:
        r->message = value;
        return DW_OK;
    case OPT_TOKENS:
        return dw_cli_whole("--tokens", value, 0, INT32_MAX, &r->tokens, err);
    case OPT_ENV:
        return dw_cli_session_env_text(&r->session, value, err);
    case OPT_TOOL:
        return dw_cli_tool_grant(value, err);
    case OPT_TOOL_TIMEOUT:
        return dw_cli_tool_timeout(value, err);
    case 'j':
        r->json = true;
        return DW_OK;
    default:
        return take_terms(r, option, value, err);
    }
}

static unsigned use_of_one(int option);

/* What an option is good for; 0: for every command. */
static unsigned use_of(int option)
{
    return option == OPT_REMOVE     ? USES_CONTEXTS
           : option == OPT_TENANT   ? USES_TERMS | USES_CONTEXTS
           : option == OPT_MANIFEST ? USES_RUNTIME | USES_LIMITS
                                    : use_of_one(option);
}

static unsigned use_of_one(int option)
{
    switch (option) {
    case OPT_STATE:
    case DW_CLI_OPT_DEVICE:
    case DW_CLI_OPT_THREADS:
    case DW_CLI_OPT_MODULE_CACHE:
        return 0;
    case DW_CLI_OPT_MODEL:
    case DW_CLI_OPT_LORA:
    case DW_CLI_OPT_KV_MEMORY:
        return USES_MODEL;
    case DW_CLI_OPT_LIMIT: /* what loads or makes actors */
    case DW_CLI_OPT_LIMITS:
    case DW_CLI_OPT_TIMEOUT:
    case DW_CLI_OPT_CPU_TIME:
    case DW_CLI_OPT_FUEL:
        return USES_MODEL | USES_LIMITS;
    case DW_CLI_OPT_KV_TYPE:
        return USES_KV_TYPE;
    case OPT_BY_HASH:
    case OPT_ZSTD:
        return USES_EXPORT;
    case OPT_MESSAGE:
    case OPT_TOKENS:
        return USES_VERIFY;
    case OPT_MODULE:
        return USES_IMPORT;
    case OPT_SHOW:
    case OPT_DROP:
    case OPT_RETRY:
        return USES_MAIL;
    case OPT_LAST:
    case OPT_FOLLOW:
        return USES_LOGS;
    case OPT_ALL:
    case OPT_TREE:
        return USES_STOP;
    case OPT_PRIORITY:
    case OPT_DURABILITY:
        return USES_TERMS;
    case OPT_LOG:
    case OPT_LOG_LEVEL:
    case OPT_TRACE:
    case OPT_CONTROL:
    case OPT_TOOL:
    case OPT_TOOL_TIMEOUT:
    case OPT_DIR:
        return USES_RUNTIME;
    case OPT_FORCE:
        return USES_STATE;
    case 'j':
        return USES_JSON;
    case DW_CLI_OPT_STATS:
        return USES_NOTHING;
    default:
        return USES_SPAWN;
    }
}

static void tell_idle_options(request *r, const subcommand *chosen)
{
    dw_cli_names names = {.text = ""};
    for (const struct option *known = options; known->name != NULL; known++) {
        unsigned use = use_of(known->val);
        if (r->given[known->val] && use != 0 && (chosen->uses & use) == 0) {
            char name[64];
            (void)snprintf(name, sizeof name, "--%s", known->name);
            dw_cli_names_add(&names, name);
            r->given[known->val] = false; /* one that has two names is told once */
        }
    }
    if ((chosen->uses & USES_MODEL) == 0) {
        r->session.kv_bytes_max = 0;
    }
    if ((chosen->uses & USES_RUNTIME) == 0) {
        r->seeing = (dw_cli_seeing){.log = NULL};
    }
    if ((chosen->uses & (USES_RUNTIME | USES_LIMITS)) == 0) {
        r->terms.manifest = NULL;
    }
    if (names.text[0] != '\0') {
        dw_cli_note("%s: no effect on actor %s", names.text, chosen->name);
    }
}

static dw_status open_for(request *r, const subcommand *chosen, dw_error *err)
{
    dw_status status = DW_OK;
    if (chosen->run == import_one && strcmp(r->args[0], "-") == 0) {
        /* Before the folder is locked: what writes the pipe may work in it. */
        status = dw_cli_spool(stdin, r->spooled, sizeof r->spooled, &r->spooled_fd, err);
    }
    if (status == DW_OK && r->session.dir_count > 0 && r->terms.manifest != NULL) {
        status = dw_fail(err, DW_E_ARG,
                         "--dir beside --manifest, which says what its tenants grant (folders)");
    }
    if ((chosen->uses & USES_RUNTIME) != 0) {
        r->terms.dirs = r->session.dirs;
        r->terms.dir_count = r->session.dir_count;
    }
    const dw_cli_opening how = {.state = r->state,
                                .session = &r->session,
                                .terms = &r->terms,
                                .seeing = &r->seeing,
                                .reads = chosen->reads,
                                .accept_older = r->force};
    return status == DW_OK ? dw_cli_actors_open(&r->actors, &how, err) : status;
}

static int close_after(request *r, int exit_code)
{
    dw_error error;
    if (dw_cli_actors_close(&r->actors, &error) != DW_OK) {
        exit_code = exit_code != 0 ? exit_code : fail(&error);
    }
    dw_cli_remove_temporary(r->spooled, r->spooled_fd);
    return exit_code;
}

static int perform(request *r, const char *name)
{
    char id[DW_ACTOR_ID_CHARS + 1] = "";
    dw_error error;
    const subcommand *chosen = NULL;
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++) {
        chosen = strcmp(subcommands[i].name, name) == 0 ? &subcommands[i] : chosen;
    }
    if (chosen == NULL) {
        return dw_cli_fail(DW_CLI_USAGE, "actor: no command '%s'; `driftwood actor --help`", name);
    }
    bool all = chosen->run == stop && r->all;
    int arg_count = all ? 0 : chosen->arg_count;
    if (r->arg_count != arg_count || (all && r->tree)) {
        return dw_cli_fail(DW_CLI_USAGE, "actor %s takes %d arguments, %d were given", name,
                           arg_count, r->arg_count);
    }
    dw_status status = dw_cli_session_check(&r->session, &error);
    if (status != DW_OK) {
        return dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
    }
    tell_idle_options(r, chosen);
    status = open_for(r, chosen, &error);
    if (status == DW_OK && chosen->takes_id && !all) {
        status = dw_cli_actors_find(&r->actors, r->args[0], id, &error);
    }
    return close_after(r, status == DW_OK ? chosen->run(r, id) : fail(&error));
}

int dw_cli_actor(int argc, char **argv)
{
    request *r = dw_cli_alloc(1, sizeof *r);
    dw_error error;
    int exit_code = 0;
    int option;
    if (r == NULL) {
        return dw_cli_fail(1, "no memory");
    }
    r->tokens = VERIFY_TOKENS;
    r->logs.last = 100;
    r->spooled_fd = -1;
    r->actors.seen = (dw_cli_seen){.log_fd = -1, .trace_fd = -1};
    while ((option = getopt_long(argc, argv, "hj", options, NULL)) != -1) {
        if (option == 'h') {
            dw_cli_print("%s%s%s%s", usage, usage_of_options, DW_CLI_SESSION_HELP, usage_of_guests);
            goto out;
        }
        if (option == '?') {
            exit_code = DW_CLI_USAGE;
            goto out;
        }
        r->given[option] = true;
        if (take_option(r, option, optarg, &error) != DW_OK) {
            exit_code = dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
            goto out;
        }
    }
    if (optind == argc) {
        exit_code = dw_cli_fail(DW_CLI_USAGE, "actor: no command; `driftwood actor --help`");
        goto out;
    }
    r->args = argv + optind + 1;
    r->arg_count = argc - optind - 1;
    exit_code = perform(r, argv[optind]);
out:
    dw_cli_session_release(&r->session);
    free(r);
    return exit_code;
}
