#include "cli/session.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRAMMAR_BYTES_MAX ((size_t)1 << 20) /* that the library takes */
#define PROGRESS_TOKENS_MIN 256

/* ---- options ------------------------------------------------------------------------------ */

void dw_cli_session_release(dw_cli_session *session)
{
    for (size_t i = 0; i < session->env_count; i++) {
        free((void *)(uintptr_t)session->env_names[i]);
        free((void *)(uintptr_t)session->env_values[i]);
    }
    for (size_t i = 0; i < session->dir_count; i++) {
        free((void *)(uintptr_t)session->dirs[i].host_path);
        free((void *)(uintptr_t)session->dirs[i].guest_path);
    }
    session->env_count = 0;
    session->dir_count = 0;
}

dw_status dw_cli_session_env(dw_cli_session *session, const char *name, const char *value,
                             dw_error *err)
{
    if (session->env_count == DW_CLI_ENV_MAX) {
        return dw_fail(err, DW_E_LIMIT, "--env: more than %d", DW_CLI_ENV_MAX);
    }
    if (name[0] == '\0' || strchr(name, '=') != NULL) {
        return dw_fail(err, DW_E_ARG, "--env: '%.60s' is no name, NAME=VALUE is needed", name);
    }
    char *own_name = strdup(name);
    char *own_value = strdup(value);
    if (own_name == NULL || own_value == NULL) {
        free(own_name);
        free(own_value);
        return dw_fail(err, DW_E_MEMORY, "no memory for the guest's environment");
    }
    session->env_names[session->env_count] = own_name;
    session->env_values[session->env_count++] = own_value;
    return DW_OK;
}

dw_status dw_cli_session_env_text(dw_cli_session *session, const char *text, dw_error *err)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL) {
        return dw_fail(err, DW_E_ARG, "--env: '%.60s', NAME=VALUE is needed", text);
    }
    char *name = dw_cli_alloc((size_t)(equals - text) + 1, 1);
    if (name == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for --env");
    }
    memcpy(name, text, (size_t)(equals - text));
    dw_status status = dw_cli_session_env(session, name, equals + 1, err);
    free(name);
    return status;
}

dw_status dw_cli_session_dir(dw_cli_session *session, const char *text, dw_error *err)
{
    if (session->dir_count == DW_CLI_DIRS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "--dir: more than %d", DW_CLI_DIRS_MAX);
    }
    size_t length = strlen(text);
    bool writable = true;
    if (length > 3 && strcmp(text + length - 3, ":ro") == 0) {
        writable = false;
        length -= 3;
    }
    char *host = dw_cli_alloc(length + 1, 1);
    char *guest = dw_cli_alloc(length + 1, 1);
    if (host == NULL || guest == NULL) {
        free(host);
        free(guest);
        return dw_fail(err, DW_E_MEMORY, "no memory for --dir");
    }
    memcpy(host, text, length);
    char *split = strstr(host, "::");
    if (split != NULL) {
        *split = '\0';
        (void)snprintf(guest, length + 1, "%s", split + 2);
    } else {
        memcpy(guest, host, length);
    }
    session->dirs[session->dir_count++] =
        (dw_dir){.host_path = host, .guest_path = guest, .writable = writable};
    if (host[0] == '\0' || guest[0] == '\0') {
        return dw_fail(err, DW_E_ARG, "--dir: '%.80s', HOST[::GUEST][:ro] is needed", text);
    }
    return DW_OK;
}

/* A number for the guest: checked here, handed on as it was typed. */
typedef struct number_option {
    int option;
    const char *what;
    const char *env;
    double min;
    double max;
    bool whole;
} number_option;

static const number_option number_options[] = {
    {DW_CLI_OPT_MAX_TOKENS, "--max-tokens", "DRIFTWOOD_MAX_TOKENS", 0, INT32_MAX, true},
    {DW_CLI_OPT_TEMP, "--temp", "DRIFTWOOD_TEMP", 0, 100, false},
    {DW_CLI_OPT_TOP_K, "--top-k", "DRIFTWOOD_TOP_K", 0, INT32_MAX, true},
    {DW_CLI_OPT_TOP_P, "--top-p", "DRIFTWOOD_TOP_P", 0, 1, false},
    {DW_CLI_OPT_MIN_P, "--min-p", "DRIFTWOOD_MIN_P", 0, 1, false},
    {DW_CLI_OPT_REPEAT_PENALTY, "--repeat-penalty", "DRIFTWOOD_REPEAT_PENALTY", 0, 10, false},
    {DW_CLI_OPT_FREQUENCY_PENALTY, "--frequency-penalty", "DRIFTWOOD_FREQUENCY_PENALTY", -10, 10,
     false},
    {DW_CLI_OPT_PRESENCE_PENALTY, "--presence-penalty", "DRIFTWOOD_PRESENCE_PENALTY", -10, 10,
     false},
    {DW_CLI_OPT_REPEAT_LAST_N, "--repeat-last-n", "DRIFTWOOD_REPEAT_LAST_N", 0, 4096, true},
    {DW_CLI_OPT_DYNATEMP_RANGE, "--dynatemp-range", "DRIFTWOOD_DYNATEMP_RANGE", 0, 100, false},
    {DW_CLI_OPT_DYNATEMP_EXP, "--dynatemp-exp", "DRIFTWOOD_DYNATEMP_EXP", 0, 10, false},
    {DW_CLI_OPT_TYPICAL_P, "--typical-p", "DRIFTWOOD_TYPICAL_P", 0, 1, false},
    {DW_CLI_OPT_TOP_N_SIGMA, "--top-n-sigma", "DRIFTWOOD_TOP_N_SIGMA", 0, 100, false},
    {DW_CLI_OPT_XTC_PROBABILITY, "--xtc-probability", "DRIFTWOOD_XTC_PROBABILITY", 0, 1, false},
    {DW_CLI_OPT_XTC_THRESHOLD, "--xtc-threshold", "DRIFTWOOD_XTC_THRESHOLD", 0, 1, false},
    {DW_CLI_OPT_DRY_MULTIPLIER, "--dry-multiplier", "DRIFTWOOD_DRY_MULTIPLIER", 0, 100, false},
    {DW_CLI_OPT_DRY_BASE, "--dry-base", "DRIFTWOOD_DRY_BASE", 1, 100, false},
    {DW_CLI_OPT_DRY_ALLOWED_LENGTH, "--dry-allowed-length", "DRIFTWOOD_DRY_ALLOWED_LENGTH", 1, 4096,
     true},
    {DW_CLI_OPT_DRY_PENALTY_LAST_N, "--dry-penalty-last-n", "DRIFTWOOD_DRY_PENALTY_LAST_N", 0, 4096,
     true},
    {DW_CLI_OPT_MIROSTAT_TAU, "--mirostat-tau", "DRIFTWOOD_MIROSTAT_TAU", 0, 100, false},
    {DW_CLI_OPT_MIROSTAT_ETA, "--mirostat-eta", "DRIFTWOOD_MIROSTAT_ETA", 0, 1, false},
};

static dw_status take_number(dw_cli_session *session, const number_option *rule, const char *value,
                             dw_error *err)
{
    uint64_t whole;
    double number;
    dw_status status =
        rule->whole
            ? dw_cli_whole(rule->what, value, (uint64_t)rule->min, (uint64_t)rule->max, &whole, err)
            : dw_cli_number(rule->what, value, rule->min, rule->max, &number, err);
    return status == DW_OK ? dw_cli_session_env(session, rule->env, value, err) : status;
}

static dw_status take_stop(dw_cli_session *session, const char *value, dw_error *err)
{
    char name[32];
    size_t bytes = strlen(value);
    if (session->stop_count == DW_CLI_STOPS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "--stop: more than %d", DW_CLI_STOPS_MAX);
    }
    if (bytes == 0 || bytes > DW_CLI_STOP_BYTES_MAX) {
        return dw_fail(err, DW_E_RANGE, "--stop: %zu bytes, from 1 to %d is allowed", bytes,
                       DW_CLI_STOP_BYTES_MAX);
    }
    (void)snprintf(name, sizeof name, "DRIFTWOOD_STOP_%zu", session->stop_count++);
    return dw_cli_session_env(session, name, value, err);
}

/* A text for the guest, from a file. */
static dw_status take_file(dw_cli_session *session, const char *what, const char *env,
                           const char *path, dw_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    dw_status status = dw_cli_read_file(path, GRAMMAR_BYTES_MAX, &text, &bytes, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "%s", what);
    }
    if (bytes == 0 || memchr(text, '\0', bytes) != NULL) {
        status = dw_fail(err, DW_E_ARG, "%s %s: %s", what, path,
                         bytes == 0 ? "it is empty" : "a zero byte in it");
    } else {
        status = dw_cli_session_env(session, env, text, err);
    }
    free(text);
    return status;
}

/* TOKEN=BIAS, added to those before: the guest gets one list. */
static dw_status take_bias(dw_cli_session *session, const char *value, dw_error *err)
{
    char token[16] = "";
    uint64_t whole;
    double bias;
    size_t length = strcspn(value, "=");
    if (value[length] != '=' || length >= sizeof token) {
        return dw_fail(err, DW_E_ARG, "--logit-bias: '%.40s', TOKEN=BIAS is needed", value);
    }
    memcpy(token, value, length);
    dw_status status = dw_cli_whole("--logit-bias", token, 0, INT32_MAX, &whole, err);
    if (status == DW_OK && strcmp(value + length + 1, "-inf") != 0) {
        status = dw_cli_number("--logit-bias", value + length + 1, -10000, 10000, &bias, err);
    }
    if (status != DW_OK) {
        return status;
    }
    size_t used = strlen(session->biases);
    int needed = snprintf(session->biases + used, sizeof session->biases - used, "%s%s",
                          used > 0 ? "," : "", value);
    if (needed < 0 || (size_t)needed >= sizeof session->biases - used) {
        session->biases[used] = '\0';
        return dw_fail(err, DW_E_LIMIT, "--logit-bias: more than %zu characters in all",
                       sizeof session->biases - 1);
    }
    return DW_OK;
}

static dw_status take_stats(dw_cli_session *session, const char *value, dw_error *err)
{
    if (value != NULL && strcmp(value, "json") != 0 && strcmp(value, "text") != 0) {
        return dw_fail(err, DW_E_ARG, "--stats: '%.40s', json or text is allowed", value);
    }
    session->stats =
        value != NULL && strcmp(value, "json") == 0 ? DW_CLI_STATS_JSON : DW_CLI_STATS_TEXT;
    return DW_OK;
}

dw_status dw_cli_session_option(dw_cli_session *session, int option, const char *value,
                                dw_error *err)
{
    uint64_t whole = 0;
    dw_status status;
    for (size_t i = 0; i < sizeof number_options / sizeof number_options[0]; i++) {
        if (number_options[i].option == option) {
            return take_number(session, &number_options[i], value, err);
        }
    }
    switch (option) {
    case DW_CLI_OPT_MODEL:
        session->model = value;
        return DW_OK;
    case DW_CLI_OPT_DEVICE:
        session->device = value;
        return DW_OK;
    case DW_CLI_OPT_SYSTEM:
        return dw_cli_session_env(session, "DRIFTWOOD_SYSTEM", value, err);
    case DW_CLI_OPT_LOGIT_BIAS:
        return take_bias(session, value, err);
    case DW_CLI_OPT_STOP:
        return take_stop(session, value, err);
    case DW_CLI_OPT_GRAMMAR:
        return dw_cli_session_env(session, "DRIFTWOOD_GRAMMAR", value, err);
    case DW_CLI_OPT_GRAMMAR_FILE:
        return take_file(session, "--grammar-file", "DRIFTWOOD_GRAMMAR", value, err);
    case DW_CLI_OPT_JSON_SCHEMA:
        return dw_cli_session_env(session, "DRIFTWOOD_JSON_SCHEMA", value, err);
    case DW_CLI_OPT_JSON_SCHEMA_FILE:
        return take_file(session, "--json-schema-file", "DRIFTWOOD_JSON_SCHEMA", value, err);
    case DW_CLI_OPT_DRY_BREAKER:
        return dw_cli_session_env(session, "DRIFTWOOD_DRY_SEQUENCE_BREAKER", value, err);
    case DW_CLI_OPT_STATS:
        return take_stats(session, value, err);
    case DW_CLI_OPT_SEED:
        status = dw_cli_whole("--seed", value, 0, UINT64_MAX, &whole, err);
        return status == DW_OK ? dw_cli_session_env(session, "DRIFTWOOD_SEED", value, err) : status;
    case DW_CLI_OPT_THREADS:
        status = dw_cli_whole("--threads", value, 1, 512, &whole, err);
        session->threads = (int)whole;
        return status;
    case DW_CLI_OPT_CONTEXT:
        status = dw_cli_whole("--context", value, 1, INT32_MAX, &whole, err);
        session->context_tokens_max = (uint32_t)whole;
        return status;
    case DW_CLI_OPT_KV_TYPE:
        session->kv_type_given = true;
        return dw_cli_kv_type(value, &session->kv_type, err);
    case DW_CLI_OPT_KV_MEMORY:
        return dw_cli_bytes("--kv-memory", value, 1 << 20, UINT64_C(1) << 50,
                            &session->kv_bytes_max, err);
    case DW_CLI_OPT_MEMORY_MAX:
        return dw_cli_bytes("--memory-max", value, 65536, UINT64_C(4) << 30,
                            &session->memory_bytes_max, err);
    default:
        return DW_E_STATE;
    }
}

/* ---- running ------------------------------------------------------------------------------ */

/* The instance that Ctrl-C is meant for. A signal handler has no argument of its own. */
static dw_instance *volatile interrupted_instance;
static void (*volatile interrupt)(dw_instance *instance);
static volatile sig_atomic_t interrupt_count;

static void on_sigint(int number)
{
    (void)number;
    dw_instance *instance = interrupted_instance;
    if (instance != NULL) {
        interrupt(instance);
    }
    if (++interrupt_count >= 3) {
        _exit(DW_CLI_INTERRUPTED); /* the guest waits in a call that does not end */
    }
}

static void catch_interrupts(dw_instance *instance, void (*on_interrupt)(dw_instance *))
{
    struct sigaction action = {.sa_handler = instance != NULL ? on_sigint : SIG_DFL};
    (void)sigemptyset(&action.sa_mask);
    interrupt_count = 0;
    interrupt = on_interrupt;
    interrupted_instance = instance;
    (void)sigaction(SIGINT, &action, NULL);
}

void dw_cli_session_calm(void)
{
    interrupt_count = 0;
}

static void show_progress(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    if (total < PROGRESS_TOKENS_MIN || !isatty(STDERR_FILENO)) {
        return;
    }
    if (done < total) {
        (void)fprintf(stderr, "\rprompt: %u of %u tokens", done, total);
    } else {
        (void)fprintf(stderr, "\r\033[K");
    }
    (void)fflush(stderr);
}

static double per_second(uint64_t count, uint64_t ns)
{
    return ns > 0 ? (double)count * 1e9 / (double)ns : 0.0;
}

static double rounded(double value, double unit)
{
    return (double)(long long)(value / unit + 0.5) * unit;
}

static void print_usage(const dw_instance *instance, const dw_instance_stats *stats,
                        dw_engine *engine)
{
    dw_engine_stats usage = {.struct_bytes = sizeof usage};
    dw_engine_get_stats(engine, &usage);
    double kv_bytes = (double)usage.kv_bytes + (double)usage.kv_host_bytes;
    (void)fprintf(stderr, "device     %.1f MB weights%s, %.1f MB keys and values, %.1f MB work\n",
                  (double)(usage.weights_bytes + usage.weights_mapped_bytes) / 1e6,
                  usage.weights_mapped_bytes > 0 ? " (mapped)" : "", kv_bytes / 1e6,
                  (double)usage.work_bytes / 1e6);
    if (usage.registered_bytes > 0) {
        (void)fprintf(stderr, "registered %.1f MB of guest memory\n",
                      (double)usage.registered_bytes / 1e6);
    }
    const char *why = dw_instance_staging(instance);
    if (why != NULL) {
        (void)fprintf(stderr, "staged     %llu bytes copied to the device and back: %s\n",
                      (unsigned long long)stats->device_staged_bytes, why);
    }
}

static json_t *kv_memory_json(const dw_kv_stats *kv)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "limit_bytes",
                     (json_int_t)kv->limit_bytes, "device_bytes", (json_int_t)kv->device_bytes,
                     "host_bytes", (json_int_t)kv->host_bytes, "eviction_count",
                     (json_int_t)kv->eviction_count, "evicted_bytes", (json_int_t)kv->evicted_bytes,
                     "restore_count", (json_int_t)kv->restore_count, "restored_bytes",
                     (json_int_t)kv->restored_bytes, "growth_count", (json_int_t)kv->growth_count,
                     "wait_count", (json_int_t)kv->wait_count);
}

static void print_kv_memory(const dw_kv_stats *kv)
{
    (void)fprintf(stderr,
                  "contexts   %.1f MB of the device's memory, %.1f MB evicted; %llu left it, %llu "
                  "came back\n"
                  "growth     %llu pieces, %llu of them waited for\n",
                  (double)kv->device_bytes / 1e6, (double)kv->host_bytes / 1e6,
                  (unsigned long long)kv->eviction_count, (unsigned long long)kv->restore_count,
                  (unsigned long long)kv->growth_count, (unsigned long long)kv->wait_count);
}

static void print_stats(dw_cli_stats how, const dw_instance *instance, dw_engine *engine,
                        double load_ms)
{
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_kv_stats kv = {.struct_bytes = sizeof kv};
    bool has_kv = dw_engine_get_kv_stats(engine, &kv) == DW_OK;
    dw_instance_get_stats(instance, &stats);
    double prompt_speed = per_second(stats.prompt_tokens, stats.prompt_ns);
    double decode_speed = per_second(stats.decoded_tokens, stats.decode_ns);
    size_t rss_bytes = dw_resident_bytes();
    if (how == DW_CLI_STATS_JSON) {
        json_t *line = json_pack(
            "{s:f, s:I, s:f, s:I, s:f, s:I, s:I}", "load_ms", rounded(load_ms, 0.001),
            "prompt_tokens", (json_int_t)stats.prompt_tokens, "prompt_tokens_per_s",
            rounded(prompt_speed, 0.01), "generated_tokens", (json_int_t)stats.generated_tokens,
            "generated_tokens_per_s", rounded(decode_speed, 0.01), "device_staged_bytes",
            (json_int_t)stats.device_staged_bytes, "rss_bytes", (json_int_t)rss_bytes);
        if (has_kv) {
            (void)json_object_set_new(line, "kv_memory", kv_memory_json(&kv));
        }
        (void)json_dumpf(line, stderr, JSON_COMPACT | JSON_REAL_PRECISION(9));
        (void)fputc('\n', stderr);
        json_decref(line);
        return;
    }
    (void)fprintf(stderr,
                  "load       %.1f ms\n"
                  "prompt     %llu tokens, %.1f a second\n"
                  "generated  %llu tokens, %.1f a second\n"
                  "copied     %llu bytes of payload by the host\n"
                  "memory     %.1f MB resident\n",
                  load_ms, (unsigned long long)stats.prompt_tokens, prompt_speed,
                  (unsigned long long)stats.generated_tokens, decode_speed,
                  (unsigned long long)stats.device_staged_bytes, (double)rss_bytes / 1e6);
    print_usage(instance, &stats, engine);
    if (has_kv) {
        print_kv_memory(&kv);
    }
}

/* The guest's argv: its name, then what stood behind "--". */
static const char **guest_args(const dw_cli_session *session, const char *path)
{
    const char **args = dw_cli_alloc(session->arg_count + 1, sizeof *args);
    if (args != NULL) {
        const char *slash = strrchr(path, '/');
        args[0] = slash != NULL ? slash + 1 : path;
        for (size_t i = 0; i < session->arg_count; i++) {
            args[i + 1] = session->args[i];
        }
    }
    return args;
}

static dw_status create_instance(dw_cli_session *session, dw_module *module, dw_model *model,
                                 const char *path, dw_instance **instance, dw_error *err)
{
    const char **args = guest_args(session, path);
    if (args == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the guest's arguments");
    }
    dw_instance_options options = {
        .struct_bytes = sizeof options,
        .models = &model,
        .model_count = model != NULL,
        .args = args,
        .arg_count = session->arg_count + 1,
        .env_names = session->env_names,
        .env_values = session->env_values,
        .env_count = session->env_count,
        .dirs = session->dirs,
        .dir_count = session->dir_count,
        .inherit_stdin = session->inherit_stdin,
        .on_input = session->on_input,
        .on_progress = show_progress,
        .user = session->user,
        .memory_bytes_max = session->memory_bytes_max,
        .context_tokens_max = session->context_tokens_max,
        .kv_type = session->kv_type,
        .timeout_ms = session->timeout_ms,
    };
    dw_status status = dw_instance_create(instance, module, &options, err);
    free(args);
    return status;
}

/* The model is loaded for guests that use models, and where one was named. */
static dw_status open_model(const dw_cli_session *session, dw_engine *engine,
                            const dw_module *module, dw_model **model, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    if (session->model == NULL && !dw_module_imports_any(module, "model_open")) {
        return DW_OK;
    }
    dw_status status = dw_cli_find_model(path, sizeof path, session->model, err);
    if (status == DW_OK) {
        status = dw_cli_open_model(model, engine, path, err);
    }
    return status;
}

static int run_instance(dw_cli_session *session, dw_engine *engine, dw_instance *instance,
                        double load_ms)
{
    dw_error error;
    int exit_code = 0;
    catch_interrupts(instance, session->on_interrupt);
    dw_status status = dw_instance_run(instance, &exit_code, &error);
    catch_interrupts(NULL, NULL);
    if (session->stats != DW_CLI_STATS_NONE) {
        print_stats(session->stats, instance, engine, load_ms);
    }
    if (status == DW_E_CANCELLED) {
        (void)fputc('\n', stderr);
        return DW_CLI_INTERRUPTED;
    }
    return status == DW_OK ? exit_code : dw_cli_fail_with(&error);
}

int dw_cli_session_run(dw_cli_session *session)
{
    dw_error error;
    dw_engine *engine = NULL;
    dw_module *module = NULL;
    dw_model *model = NULL;
    dw_instance *instance = NULL;
    char path[DW_CLI_PATH_MAX];
    uint64_t start_ns = dw_cli_clock_ns();
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = session->device,
                                 .threads = session->threads,
                                 .kv_bytes_max = session->kv_bytes_max};
    int exit_code = 1;

    dw_status status = dw_cli_find_guest(path, sizeof path, session->guest, &error);
    if (status == DW_OK && session->biases[0] != '\0') {
        status = dw_cli_session_env(session, "DRIFTWOOD_LOGIT_BIAS", session->biases, &error);
    }
    if (status == DW_OK) {
        status = dw_engine_create(&engine, &options, &error);
    }
    if (status == DW_OK) {
        status = dw_module_open(&module, engine, path, &error);
    }
    if (status == DW_OK) {
        status = open_model(session, engine, module, &model, &error);
    }
    if (status == DW_OK) {
        status = create_instance(session, module, model, path, &instance, &error);
    }
    if (status == DW_OK) {
        double load_ms = (double)(dw_cli_clock_ns() - start_ns) / 1e6;
        exit_code = run_instance(session, engine, instance, load_ms);
    } else {
        (void)dw_cli_fail_with(&error);
        exit_code = status == DW_E_CANCELLED ? DW_CLI_INTERRUPTED : 1;
    }
    dw_instance_destroy(instance);
    dw_model_unref(model);
    dw_module_unref(module);
    dw_engine_destroy(engine);
    return exit_code;
}
