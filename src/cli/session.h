/* What `run` and `chat` have in common: the options that say how a guest shall run, and the run
 * itself, from the engine to the statistics. */
#ifndef DW_CLI_SESSION_H
#define DW_CLI_SESSION_H

#include <getopt.h>

#include "cli/cli.h"
#include "cli/lora.h"

#define DW_CLI_ENV_MAX 128
#define DW_CLI_STOPS_MAX 16
#define DW_CLI_STOP_BYTES_MAX 255
#define DW_CLI_LIMITS_MAX 256
#define DW_CLI_MODELS_MAX 16
#define DW_CLI_MODEL_NAME_MAX 200 /* that the library takes */

typedef enum dw_cli_stats {
    DW_CLI_STATS_NONE,
    DW_CLI_STATS_TEXT,
    DW_CLI_STATS_JSON,
} dw_cli_stats;

/* A model that is granted: [NAME=]MODEL of the command line. */
typedef struct dw_cli_model {
    const char *from; /* a path, or a name in the cache; borrowed; NULL: the default */
    char name[DW_CLI_MODEL_NAME_MAX + 1]; /* by which the guest finds it; empty: its own */
} dw_cli_model;

typedef struct dw_cli_session {
    const char *guest; /* a path or a bare name */
    /* [model_count], --model, borrowed; none: the default, if the guest uses models */
    dw_cli_model models[DW_CLI_MODELS_MAX];
    size_t model_count;
    dw_cli_loras loras; /* --lora */
    const char *device;
    const char *chat_template; /* a name, or a file; NULL: the model's own */
    int threads;
    dw_cli_stats stats;
    const char *env_names[DW_CLI_ENV_MAX]; /* [env_count], owned, as their values */
    const char *env_values[DW_CLI_ENV_MAX];
    const char *env_options[DW_CLI_ENV_MAX]; /* what set it, as "--temp", static; NULL: --env */
    size_t env_count;
    dw_dir dirs[DW_CLI_DIRS_MAX]; /* [dir_count], strings owned */
    size_t dir_count;
    char *contexts_path; /* --contexts; owned; NULL: none */
    bool contexts_read_only;
    dw_contexts *contexts; /* of the guest that runs */
    char **args;           /* [arg_count], argv of the guest without its name; borrowed */
    size_t arg_count;
    size_t stop_count;
    char biases[4096]; /* of --logit-bias, comma-separated */
    uint64_t memory_bytes_max;
    uint32_t context_tokens_max;
    dw_kv_type kv_type;
    bool kv_type_given;
    uint64_t kv_bytes_max;
    const char *module_cache; /* a folder, or "off"; NULL: the usual one */
    uint64_t timeout_ms;      /* 0: none was given; so the next two */
    uint64_t cpu_timeout_ms;
    uint64_t fuel;
    const char *limits_path;                    /* --limits; NULL: none */
    const char *limit_texts[DW_CLI_LIMITS_MAX]; /* [limit_count], --limit; borrowed */
    size_t limit_count;
    dw_limits limits;         /* dw_cli_session_check makes them of these */
    const char *profile_path; /* NULL: none is made */
    bool traces;
    bool perf_map;
    bool strict_align;
    bool repeats; /* the guest has random numbers and clocks of its own */
    uint64_t repeat_seed;
    bool inherit_stdin;
    dw_input_fn on_input;
    void *user;
    void (*on_interrupt)(dw_instance *instance); /* Ctrl-C; async-signal-safe */
} dw_cli_session;

/* The long options that both commands take, ended by a zero one; their values start here. */
enum {
    DW_CLI_OPT_MODEL = 256,
    DW_CLI_OPT_LORA,
    DW_CLI_OPT_MAX_TOKENS,
    DW_CLI_OPT_TEMP,
    DW_CLI_OPT_TOP_K,
    DW_CLI_OPT_TOP_P,
    DW_CLI_OPT_MIN_P,
    DW_CLI_OPT_REPEAT_PENALTY,
    DW_CLI_OPT_SEED,
    DW_CLI_OPT_FREQUENCY_PENALTY,
    DW_CLI_OPT_PRESENCE_PENALTY,
    DW_CLI_OPT_REPEAT_LAST_N,
    DW_CLI_OPT_DYNATEMP_RANGE,
    DW_CLI_OPT_DYNATEMP_EXP,
    DW_CLI_OPT_TYPICAL_P,
    DW_CLI_OPT_TOP_N_SIGMA,
    DW_CLI_OPT_XTC_PROBABILITY,
    DW_CLI_OPT_XTC_THRESHOLD,
    DW_CLI_OPT_DRY_MULTIPLIER,
    DW_CLI_OPT_DRY_BASE,
    DW_CLI_OPT_DRY_ALLOWED_LENGTH,
    DW_CLI_OPT_DRY_PENALTY_LAST_N,
    DW_CLI_OPT_MIROSTAT_TAU,
    DW_CLI_OPT_MIROSTAT_ETA,
    DW_CLI_OPT_LOGIT_BIAS,
    DW_CLI_OPT_DRY_BREAKER,
    DW_CLI_OPT_STOP,
    DW_CLI_OPT_GRAMMAR,
    DW_CLI_OPT_GRAMMAR_FILE,
    DW_CLI_OPT_JSON_SCHEMA,
    DW_CLI_OPT_JSON_SCHEMA_FILE,
    DW_CLI_OPT_SYSTEM,
    DW_CLI_OPT_CHAT_TEMPLATE,
    DW_CLI_OPT_TOOLS,
    DW_CLI_OPT_TOOL_CHOICE,
    DW_CLI_OPT_REASONING,
    DW_CLI_OPT_SHOW_PROMPT,
    DW_CLI_OPT_DEVICE,
    DW_CLI_OPT_THREADS,
    DW_CLI_OPT_CONTEXT,
    DW_CLI_OPT_KV_TYPE,
    DW_CLI_OPT_KV_MEMORY,
    DW_CLI_OPT_MEMORY_MAX,
    DW_CLI_OPT_LIMIT,
    DW_CLI_OPT_LIMITS,
    DW_CLI_OPT_TIMEOUT,
    DW_CLI_OPT_CPU_TIME,
    DW_CLI_OPT_FUEL,
    DW_CLI_OPT_STATS,
    DW_CLI_OPT_MODULE_CACHE,
    DW_CLI_OPT_OWN, /* a command's own follow */
};
#define DW_CLI_SESSION_OPTIONS                                                                     \
    {"model", required_argument, NULL, DW_CLI_OPT_MODEL},                                          \
        {"lora", required_argument, NULL, DW_CLI_OPT_LORA},                                        \
        {"max-tokens", required_argument, NULL, DW_CLI_OPT_MAX_TOKENS},                            \
        {"temp", required_argument, NULL, DW_CLI_OPT_TEMP},                                        \
        {"top-k", required_argument, NULL, DW_CLI_OPT_TOP_K},                                      \
        {"top-p", required_argument, NULL, DW_CLI_OPT_TOP_P},                                      \
        {"min-p", required_argument, NULL, DW_CLI_OPT_MIN_P},                                      \
        {"repeat-penalty", required_argument, NULL, DW_CLI_OPT_REPEAT_PENALTY},                    \
        {"temperature", required_argument, NULL, DW_CLI_OPT_TEMP},                                 \
        {"frequency-penalty", required_argument, NULL, DW_CLI_OPT_FREQUENCY_PENALTY},              \
        {"presence-penalty", required_argument, NULL, DW_CLI_OPT_PRESENCE_PENALTY},                \
        {"repeat-last-n", required_argument, NULL, DW_CLI_OPT_REPEAT_LAST_N},                      \
        {"dynatemp-range", required_argument, NULL, DW_CLI_OPT_DYNATEMP_RANGE},                    \
        {"dynatemp-exp", required_argument, NULL, DW_CLI_OPT_DYNATEMP_EXP},                        \
        {"typical-p", required_argument, NULL, DW_CLI_OPT_TYPICAL_P},                              \
        {"top-n-sigma", required_argument, NULL, DW_CLI_OPT_TOP_N_SIGMA},                          \
        {"xtc-probability", required_argument, NULL, DW_CLI_OPT_XTC_PROBABILITY},                  \
        {"xtc-threshold", required_argument, NULL, DW_CLI_OPT_XTC_THRESHOLD},                      \
        {"dry-multiplier", required_argument, NULL, DW_CLI_OPT_DRY_MULTIPLIER},                    \
        {"dry-base", required_argument, NULL, DW_CLI_OPT_DRY_BASE},                                \
        {"dry-allowed-length", required_argument, NULL, DW_CLI_OPT_DRY_ALLOWED_LENGTH},            \
        {"dry-penalty-last-n", required_argument, NULL, DW_CLI_OPT_DRY_PENALTY_LAST_N},            \
        {"mirostat-tau", required_argument, NULL, DW_CLI_OPT_MIROSTAT_TAU},                        \
        {"mirostat-eta", required_argument, NULL, DW_CLI_OPT_MIROSTAT_ETA},                        \
        {"logit-bias", required_argument, NULL, DW_CLI_OPT_LOGIT_BIAS},                            \
        {"dry-sequence-breaker", required_argument, NULL, DW_CLI_OPT_DRY_BREAKER},                 \
        {"stop", required_argument, NULL, DW_CLI_OPT_STOP},                                        \
        {"grammar", required_argument, NULL, DW_CLI_OPT_GRAMMAR},                                  \
        {"grammar-file", required_argument, NULL, DW_CLI_OPT_GRAMMAR_FILE},                        \
        {"json-schema", required_argument, NULL, DW_CLI_OPT_JSON_SCHEMA},                          \
        {"json-schema-file", required_argument, NULL, DW_CLI_OPT_JSON_SCHEMA_FILE},                \
        {"seed", required_argument, NULL, DW_CLI_OPT_SEED},                                        \
        {"system", required_argument, NULL, DW_CLI_OPT_SYSTEM},                                    \
        {"chat-template", required_argument, NULL, DW_CLI_OPT_CHAT_TEMPLATE},                      \
        {"tools", required_argument, NULL, DW_CLI_OPT_TOOLS},                                      \
        {"tool-choice", required_argument, NULL, DW_CLI_OPT_TOOL_CHOICE},                          \
        {"reasoning", required_argument, NULL, DW_CLI_OPT_REASONING},                              \
        {"show-prompt", no_argument, NULL, DW_CLI_OPT_SHOW_PROMPT},                                \
        {"device", required_argument, NULL, DW_CLI_OPT_DEVICE},                                    \
        {"threads", required_argument, NULL, DW_CLI_OPT_THREADS},                                  \
        {"context", required_argument, NULL, DW_CLI_OPT_CONTEXT},                                  \
        {"kv-type", required_argument, NULL, DW_CLI_OPT_KV_TYPE},                                  \
        {"kv-memory", required_argument, NULL, DW_CLI_OPT_KV_MEMORY},                              \
        {"memory-max", required_argument, NULL, DW_CLI_OPT_MEMORY_MAX},                            \
        {"limit", required_argument, NULL, DW_CLI_OPT_LIMIT},                                      \
        {"limits", required_argument, NULL, DW_CLI_OPT_LIMITS},                                    \
        {"timeout", required_argument, NULL, DW_CLI_OPT_TIMEOUT},                                  \
        {"cpu-time", required_argument, NULL, DW_CLI_OPT_CPU_TIME},                                \
        {"fuel", required_argument, NULL, DW_CLI_OPT_FUEL},                                        \
        {"module-cache", required_argument, NULL, DW_CLI_OPT_MODULE_CACHE},                        \
    {                                                                                              \
        "stats", optional_argument, NULL, DW_CLI_OPT_STATS                                         \
    }
/* Behind the others: a string may have 4,095 characters. */
#define DW_CLI_LIMITS_HELP                                                                         \
    DW_CLI_LORA_HELP                                                                               \
    "  --timeout S          end the guest after S seconds, whatever it is in; an actor after S\n"  \
    "                       seconds of a message, which is 600 unless it is set\n"                 \
    "  --cpu-time S         the same by the processor time of the thread that runs it\n"           \
    "  --fuel N             the same after N instructions, the same ones on every machine\n"       \
    "  --limit NAME=VALUE   set a limit, as texts_bytes=64M or timers=8; may be repeated;\n"       \
    "                       `driftwood limits` lists them\n"                                       \
    "  --limits FILE        set limits from a file, a JSON object of names to values; what\n"      \
    "                       other options say counts\n"                                            \
    "  --module-cache DIR   where compiled guests are kept, or off; default\n"                     \
    "                       $XDG_CACHE_HOME/driftwood/modules or ~/.cache/driftwood/modules\n"
#define DW_CLI_SESSION_HELP                                                                        \
    "  --model [NAME=]M     a GGUF file, or a name in the cache (`driftwood models`); may be\n"    \
    "                       repeated: the guest finds them by NAME, the first is its default\n"    \
    "  --system TEXT        what the model is told before anything else\n"                         \
    "  --chat-template T    a template in Jinja in place of the model's: a file, or a name\n"      \
    "                       (chatml, llama3, hermes ..., or one of the model's own)\n"             \
    "  --tools FILE         tools that the model may call: a JSON list as OpenAI has it\n"         \
    "  --tool-choice C      auto, required or none; default auto\n"                                \
    "  --reasoning R        on: shown; hide: not shown; off: the model is told not to think\n"     \
    "                       aloud; default on\n"                                                   \
    "  --show-prompt        print what the model gets, special tokens marked\n"                    \
    "  --max-tokens N       end an answer after N tokens\n"                                        \
    "  --temp, --temperature T\n"                                                                  \
    "                       0: always the likeliest token; default 0.8\n"                          \
    "  --top-k K            choose among the K likeliest; 0: all; default 40\n"                    \
    "  --top-p P            choose among the likeliest that make up P; default 0.95\n"             \
    "  --min-p P            none less likely than P times the likeliest; default 0.05\n"           \
    "  --repeat-penalty R   make what was said less likely; 1: off, the default\n"                 \
    "  --repeat-last-n N    how far back penalties look; default 64\n"                             \
    "  --frequency-penalty F, --presence-penalty F\n"                                              \
    "                       likewise, by how often it was said, or whether; default 0\n"           \
    "  --dynatemp-range R   temperature +- R, by how sure the model is; default 0\n"               \
    "  --dynatemp-exp E     exponent of that; default 1\n"                                         \
    "  --typical-p P        locally typical sampling; 1: off, the default\n"                       \
    "  --top-n-sigma N      within N deviations of the likeliest; 0: off, the default\n"           \
    "  --xtc-probability P  how often XTC leaves out all but the least of the likely;\n"           \
    "                       default 0: off\n"                                                      \
    "  --xtc-threshold T    likely, for XTC, is from T on; default 0.1\n"                          \
    "  --dry-multiplier M   DRY: make longer repetitions less likely; 0: off, the default\n"       \
    "  --dry-base B         its growth with length; default 1.75\n"                                \
    "  --dry-allowed-length N\n"                                                                   \
    "                       repetitions shorter than this are let be; default 2\n"                 \
    "  --dry-penalty-last-n N\n"                                                                   \
    "                       how far back DRY looks; 0: 4096, the default\n"                        \
    "  --dry-sequence-breaker S\n"                                                                 \
    "                       DRY looks no further back than S; none: no such string;\n"             \
    "                       default: line end, colon, quote and asterisk\n"                        \
    "  --mirostat-tau T     Mirostat 2 in place of the cuts above, aiming at T bits;\n"            \
    "                       0: off, the default\n"                                                 \
    "  --mirostat-eta E     how fast it learns; default 0.1\n"                                     \
    "  --logit-bias TOKEN=BIAS\n"                                                                  \
    "                       add BIAS to a token's logit; -inf: never; may be repeated\n"           \
    "  --stop TEXT          end an answer before TEXT; may be repeated\n"                          \
    "  --grammar GBNF, --grammar-file FILE\n"                                                      \
    "                       answers keep to this grammar, in llama.cpp's notation\n"               \
    "  --json-schema SCHEMA, --json-schema-file FILE\n"                                            \
    "                       answers are JSON, valid against this schema\n"                         \
    "  --seed S             the same seed gives the same text; default: another each time\n"       \
    "  --device D           see `driftwood devices`; default: the first GPU, else the CPU\n"       \
    "  --threads N          CPU threads; default: the machine's cores\n"                           \
    "  --context N          tokens a context may hold; default: the model's own length\n"          \
    "  --kv-type T          how contexts keep keys and values: f16, q8_0 (half the memory) or "    \
    "f32;\n"                                                                                       \
    "                       default f16\n"                                                         \
    "  --kv-memory BYTES    all contexts together, as 512M or 8G; default: the device's own\n"     \
    "                       memory, or three quarters of the host's where they lie there\n"        \
    "  --memory-max BYTES   all that the guest takes of the host, as 64M or 1G; default: its "     \
    "parts\n"                                                                                      \
    "                       have limits of their own, memories 4G; see --limit\n"                  \
    "  --stats[=json]       what it took, on standard error\n"

void dw_cli_session_release(dw_cli_session *session);

/* Take one of the common options; any other is DW_E_STATE. Errors: what is wrong with `value`. */
dw_status dw_cli_session_option(dw_cli_session *session, int option, const char *value,
                                dw_error *err);
/* A setting of the guest's environment, the only place that makes one. `option`: what asked for it,
 * as "--temp", static; NULL: --env. The last value of a name counts.
 * Errors: DW_E_ARG (another option has set it: the two contradict each other), DW_E_LIMIT,
 * DW_E_MEMORY. */
dw_status dw_cli_session_set(dw_cli_session *session, const char *option, const char *name,
                             const char *value, dw_error *err);
/* Once all options are taken: those that exclude one another, and the limits. Errors: DW_E_ARG,
 * those of dw_limits_set and dw_limits_read. */
dw_status dw_cli_session_check(dw_cli_session *session, dw_error *err);
/* Notes on standard error about options that have no effect: on this guest, whose file is at
 * `guest`, or beside others. */
void dw_cli_session_tell_idle(const dw_cli_session *session, const dw_module *module,
                              const char *guest);
/* Of NAME in [NAME=]FILE, which ends at the first '=', before which nothing of a path or an address
 * stands; 0: there is none. A file that is called so is a file. */
size_t dw_cli_name_bytes(const char *text);
/* [NAME=]MODEL */
dw_status dw_cli_session_model(dw_cli_session *session, const char *text, dw_error *err);
/* NAME:GGML:DEVICE:MODEL, as WasmEdge has it: the device stays --device's. */
dw_status dw_cli_session_preload(dw_cli_session *session, const char *text, dw_error *err);
/* Its models as dw_instance_options has their names: `names` [DW_CLI_MODELS_MAX], borrowed. */
void dw_cli_session_model_names(const dw_cli_session *session, const char **names);
/* NAME=VALUE */
dw_status dw_cli_session_env_text(dw_cli_session *session, const char *text, dw_error *err);
/* HOST[::GUEST][:ro] */
dw_status dw_cli_session_dir(dw_cli_session *session, const char *text, dw_error *err);
/* --contexts: DIR, or DIR:ro. */
dw_status dw_cli_session_contexts(dw_cli_session *session, const char *text, dw_error *err);

/* dw_engine_create with the session's module cache. Where the usual one cannot be used there is
 * none, and a note where others can write it. */
dw_status dw_cli_session_engine(dw_engine **engine, const dw_cli_session *session,
                                dw_engine_options *options, dw_error *err);

/* Load what is needed and run the guest; the exit code of the command. */
int dw_cli_session_run(dw_cli_session *session);
/* Three interrupts in a row end the program, whatever the guest does; this forgets those so far. */
void dw_cli_session_calm(void);

#endif
