#include "cli/session.h"
#include "cli/tools.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_TOKENS_MIN 256
#define READERLESS_S 1 /* that a guest goes on for when nobody reads its output any more */
/* Where clocks begin of guests that are to do the same each time: 1 January 2020. */
#define REPEATABLE_MS UINT64_C(1577836800000)

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
    if (usage.matrices > 0) {
        (void)fprintf(stderr,
                      "products   of %llu matrices %llu by kernels for few tokens, which have %.1f "
                      "MB of weights a second time, %llu by nodes for many\n",
                      (unsigned long long)usage.matrices, (unsigned long long)usage.matrices_served,
                      (double)usage.repacked_bytes / 1e6, (unsigned long long)usage.matrices_wide);
    }
    if (usage.expert_matrices > 0) {
        (void)fprintf(
            stderr, "experts    of %llu matrices %llu by kernels for few tokens, else by ggml's\n",
            (unsigned long long)usage.expert_matrices,
            (unsigned long long)usage.expert_matrices_served);
    }
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

static json_t *account_json(const dw_instance *instance)
{
    json_t *account = json_object();
    for (size_t i = 0; i < dw_account_info_count(); i++) {
        dw_account_info info = {.struct_bytes = sizeof info};
        if (dw_instance_get_account(instance, i, &info, NULL) == DW_OK) {
            (void)json_object_set_new(account, info.name,
                                      json_pack("{s:I, s:I, s:I}", "now", (json_int_t)info.now,
                                                "most", (json_int_t)info.most, "limit",
                                                (json_int_t)info.limit));
        }
    }
    return account;
}

/* What the guest has taken, and may. */
static void print_account(const dw_instance *instance)
{
    for (size_t i = 0; i < dw_account_info_count(); i++) {
        dw_account_info info = {.struct_bytes = sizeof info};
        char limit[DW_LIMIT_TEXT_BYTES];
        if (dw_instance_get_account(instance, i, &info, NULL) != DW_OK) {
            continue;
        }
        dw_limit_format(info.unit, info.limit, limit);
        if (info.unit == DW_LIMIT_BYTES) {
            (void)fprintf(stderr, "%-18s %.1f MB, at most %.1f MB, limit %s\n", info.name,
                          (double)info.now / 1e6, (double)info.most / 1e6, limit);
        } else {
            (void)fprintf(stderr, "%-18s %llu, at most %llu, limit %s\n", info.name,
                          (unsigned long long)info.now, (unsigned long long)info.most, limit);
        }
    }
}

static json_t *kv_memory_json(const dw_kv_stats *kv)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "limit_bytes",
                     (json_int_t)kv->limit_bytes, "device_bytes", (json_int_t)kv->device_bytes,
                     "pages_bytes", (json_int_t)kv->pages_bytes, "mapped_bytes",
                     (json_int_t)kv->mapped_bytes, "host_bytes", (json_int_t)kv->host_bytes,
                     "eviction_count", (json_int_t)kv->eviction_count, "evicted_bytes",
                     (json_int_t)kv->evicted_bytes, "restore_count", (json_int_t)kv->restore_count,
                     "restored_bytes", (json_int_t)kv->restored_bytes, "growth_count",
                     (json_int_t)kv->growth_count, "wait_count", (json_int_t)kv->wait_count);
}

static void print_kv_memory(const dw_kv_stats *kv)
{
    if (kv->limit_bytes > 0) {
        (void)fprintf(stderr, "contexts   %.1f MB of at most %.1f MB\n",
                      (double)(kv->device_bytes + kv->pages_bytes) / 1e6,
                      (double)kv->limit_bytes / 1e6);
    }
    if (kv->growth_count == 0) { /* they lie in no address ranges */
        return;
    }
    (void)fprintf(stderr,
                  "contexts   %.1f MB of the device's memory, %.1f MB evicted; %llu left it, %llu "
                  "came back\n"
                  "growth     %llu pieces, %llu of them waited for\n",
                  (double)kv->device_bytes / 1e6, (double)kv->host_bytes / 1e6,
                  (unsigned long long)kv->eviction_count, (unsigned long long)kv->restore_count,
                  (unsigned long long)kv->growth_count, (unsigned long long)kv->wait_count);
}

/* Time in steps of contexts is the device's; all else is the guest's, with other host functions. */
static void add_times(json_t *line, const dw_instance_stats *stats, double run_ms)
{
    double device_ms = (double)(stats->prompt_ns + stats->decode_ns) / 1e6;
    double guest_ms = run_ms > device_ms ? run_ms - device_ms : 0.0;
    (void)json_object_set_new(line, "run_ms", json_real(rounded(run_ms, 0.001)));
    (void)json_object_set_new(line, "device_ms", json_real(rounded(device_ms, 0.001)));
    (void)json_object_set_new(line, "guest_ms", json_real(rounded(guest_ms, 0.001)));
    (void)json_object_set_new(line, "host_calls", json_integer((json_int_t)stats->host_calls));
    (void)json_object_set_new(line, "graph_runs", json_integer((json_int_t)stats->graph_runs));
}

typedef struct granted_models {
    dw_model *models[DW_CLI_MODELS_MAX]; /* [count], counted */
    size_t count;
} granted_models;

static json_t *adapters_json(const granted_models *models)
{
    json_t *list = json_array();
    for (size_t i = 0; i < models->count; i++) {
        for (size_t k = 0; k < dw_model_adapter_count(models->models[i]); k++) {
            dw_adapter_info info = {.struct_bytes = sizeof info};
            if (dw_model_get_adapter(models->models[i], k, &info, NULL) == DW_OK) {
                (void)json_array_append_new(
                    list, json_pack("{s:s, s:I, s:f, s:I, s:I, s:I}", "name", info.name, "model",
                                    (json_int_t)i, "scale", (double)info.scale, "rank",
                                    (json_int_t)info.rank, "matrices", (json_int_t)info.pair_count,
                                    "bytes", (json_int_t)info.bytes));
            }
        }
    }
    return list;
}

/* What a run was of. */
typedef struct run_of {
    dw_engine *engine;
    const granted_models *models;
    double load_ms;
    double run_ms;
} run_of;

static void print_stats(dw_cli_stats how, const dw_instance *instance, const run_of *of)
{
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_kv_stats kv = {.struct_bytes = sizeof kv};
    (void)dw_engine_get_kv_stats(of->engine, &kv);
    dw_engine_stats usage = {.struct_bytes = sizeof usage};
    dw_engine_get_stats(of->engine, &usage);
    dw_instance_get_stats(instance, &stats);
    double prompt_speed = per_second(stats.prompt_tokens, stats.prompt_ns);
    double decode_speed = per_second(stats.decoded_tokens, stats.decode_ns);
    size_t rss_bytes = dw_resident_bytes();
    if (how == DW_CLI_STATS_JSON) {
        json_t *line = json_pack(
            "{s:f, s:I, s:f, s:I, s:f, s:I, s:I, s:I, s:I}", "load_ms", rounded(of->load_ms, 0.001),
            "prompt_tokens", (json_int_t)stats.prompt_tokens, "prompt_tokens_per_s",
            rounded(prompt_speed, 0.01), "generated_tokens", (json_int_t)stats.generated_tokens,
            "generated_tokens_per_s", rounded(decode_speed, 0.01), "device_staged_bytes",
            (json_int_t)stats.device_staged_bytes, "rss_bytes", (json_int_t)rss_bytes,
            "modules_compiled", (json_int_t)usage.modules_compiled, "modules_found",
            (json_int_t)usage.modules_found);
        add_times(line, &stats, of->run_ms);
        (void)json_object_set_new(line, "kv_memory", kv_memory_json(&kv));
        (void)json_object_set_new(line, "adapters", adapters_json(of->models));
        (void)json_object_set_new(line, "account", account_json(instance));
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
                  of->load_ms, (unsigned long long)stats.prompt_tokens, prompt_speed,
                  (unsigned long long)stats.generated_tokens, decode_speed,
                  (unsigned long long)stats.device_staged_bytes, (double)rss_bytes / 1e6);
    print_account(instance);
    print_usage(instance, &stats, of->engine);
    for (size_t i = 0; i < of->models->count; i++) {
        dw_cli_loras_print(of->models->models[i]);
    }
    print_kv_memory(&kv);
}

static void on_alarm(int number)
{
    (void)number;
    dw_instance *instance = interrupted_instance;
    if (instance != NULL) {
        dw_instance_interrupt(instance);
    }
}

/* SIGPIPE would end a program whose reader is gone. A guest gets EPIPE, and a while to end by
 * itself: its further writes fail without coming here. */
static ptrdiff_t on_stdout(void *user, const unsigned char *bytes, size_t count)
{
    ptrdiff_t written = dw_cli_output_guest(user, bytes, count);
    if (written == -EPIPE) {
        struct sigaction action = {.sa_handler = on_alarm};
        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(SIGALRM, &action, NULL);
        (void)alarm(READERLESS_S);
    }
    return written;
}

static void show_call(void *user, const char *line)
{
    (void)user;
    (void)fprintf(stderr, "trace: %s\n", line);
}

static ptrdiff_t write_profile(void *user, const unsigned char *bytes, size_t count)
{
    return (ptrdiff_t)fwrite(bytes, 1, count, user);
}

static dw_status end_profile(const char *path, dw_instance *instance, dw_error *err)
{
    FILE *stream = fopen(path, "wbe");
    if (stream == NULL) {
        return dw_fail(err, DW_E_IO, "--profile %.160s: %s", path, strerror(errno));
    }
    dw_status status = dw_instance_end_profile(instance, write_profile, stream, err);
    if (fclose(stream) != 0 && status == DW_OK) {
        status = dw_fail(err, DW_E_IO, "--profile %.160s: %s", path, strerror(errno));
    }
    return status;
}

/* The guest's run, with a profile if one is wanted. */
static dw_status run_profiled(const dw_cli_session *session, dw_instance *instance, int *exit_code,
                              dw_error *err)
{
    if (session->profile_path == NULL) {
        return dw_instance_run(instance, exit_code, err);
    }
    dw_status status = dw_instance_begin_profile(instance, session->guest, err);
    if (status != DW_OK) {
        return status;
    }
    dw_error ended;
    status = dw_instance_run(instance, exit_code, err);
    dw_status kept = end_profile(session->profile_path, instance, &ended);
    return status == DW_OK && kept != DW_OK ? dw_fail(err, kept, "%s", ended.message) : status;
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

static dw_status create_instance(dw_cli_session *session, dw_module *module,
                                 const granted_models *models, const char *path,
                                 dw_instance **instance, dw_error *err)
{
    const char *names[DW_CLI_MODELS_MAX] = {NULL};
    dw_cli_session_model_names(session, names);
    const char **args = guest_args(session, path);
    if (args == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the guest's arguments");
    }
    dw_instance_options options = {
        .struct_bytes = sizeof options,
        .models = models->models,
        .model_count = models->count,
        .model_names = names,
        .args = args,
        .arg_count = session->arg_count + 1,
        .env_names = session->env_names,
        .env_values = session->env_values,
        .env_count = session->env_count,
        .dirs = session->dirs,
        .dir_count = session->dir_count,
        .inherit_stdin = session->inherit_stdin,
        /* A terminal is inherited, so that the guest finds one. */
        .on_stdout = isatty(STDOUT_FILENO) ? NULL : on_stdout,
        .on_input = session->on_input,
        .on_progress = show_progress,
        .on_call = dw_cli_tools(),
        .user = session->user,
        .memory_bytes_max = session->memory_bytes_max,
        .context_tokens_max = session->context_tokens_max,
        .kv_type = session->kv_type,
        .timeout_ms = session->timeout_ms,
        .limits = &session->limits,
        .on_trace = session->traces ? show_call : NULL,
    };
    dw_status status = dw_instance_create(instance, module, &options, err);
    free(args);
    if (status == DW_OK && session->repeats) {
        status = dw_instance_repeat(*instance, session->repeat_seed, REPEATABLE_MS, err);
    }
    return status;
}

/* --contexts: all names, for nobody's tenant. */
static dw_status grant_contexts(dw_cli_session *session, dw_instance *instance, dw_error *err)
{
    static const char *const any[] = {"*"};
    if (session->contexts_path == NULL) {
        return DW_OK;
    }
    dw_status status = dw_contexts_open(&session->contexts, session->contexts_path, err);
    const dw_contexts_grant grant = {.struct_bytes = sizeof grant,
                                     .contexts = session->contexts,
                                     .reads = any,
                                     .read_count = 1,
                                     .writes = any,
                                     .write_count = session->contexts_read_only ? 0 : 1};
    return status == DW_OK ? dw_instance_grant_contexts(instance, &grant, err) : status;
}

/* Models are loaded for guests that use models, and where they were named. */
static dw_status open_models(const dw_cli_session *session, dw_engine *engine,
                             const dw_module *module, granted_models *models, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    dw_status status = DW_OK;
    size_t count = session->model_count;
    if (count == 0 && dw_module_uses_models(module)) {
        count = 1; /* the default */
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = dw_cli_find_model(path, sizeof path, session->models[i].from, err);
        if (status == DW_OK) {
            status =
                dw_cli_open_model(&models->models[i], engine, path, session->chat_template, err);
        }
        models->count += status == DW_OK;
        if (status == DW_OK) {
            status = dw_cli_loras_add(&session->loras, i, models->models[i], err);
        }
    }
    if (count == 0 && session->loras.count > 0) {
        dw_cli_note("--lora: no effect, the guest uses no models");
    }
    return status;
}

static int run_instance(dw_cli_session *session, dw_instance *instance, run_of *of)
{
    dw_error error;
    int exit_code = 0;
    catch_interrupts(instance, session->on_interrupt);
    uint64_t start_ns = dw_cli_clock_ns();
    dw_status status = run_profiled(session, instance, &exit_code, &error);
    uint64_t run_ns = dw_cli_clock_ns() - start_ns;
    catch_interrupts(NULL, NULL);
    if (session->stats != DW_CLI_STATS_NONE) {
        of->run_ms = (double)run_ns / 1e6;
        print_stats(session->stats, instance, of);
    }
    if (dw_cli_output_failed()) {
        return 1;
    }
    if (status == DW_E_CANCELLED) {
        (void)fputc('\n', stderr);
        return DW_CLI_INTERRUPTED;
    }
    if (status == DW_E_TRAP && strstr(error.message, "< ...") != NULL) {
        (void)dw_cli_fail_with(&error);
        (void)fputs(dw_instance_backtrace(instance), stderr);
        return 1;
    }
    return status == DW_OK ? exit_code : dw_cli_fail_with(&error);
}

dw_status dw_cli_session_engine(dw_engine **engine, const dw_cli_session *session,
                                dw_engine_options *options, dw_error *err)
{
    char usual[DW_CLI_PATH_MAX];
    options->module_cache = session->module_cache;
    if (session->module_cache != NULL && strcmp(session->module_cache, "off") == 0) {
        options->module_cache = NULL;
    }
    if (session->module_cache != NULL || dw_cli_module_folder(usual, sizeof usual, NULL) != DW_OK) {
        return dw_engine_create(engine, options, err);
    }
    options->module_cache = usual;
    dw_error local;
    dw_status status = dw_engine_create(engine, options, &local);
    options->module_cache = NULL;
    if (status == DW_OK || strncmp(local.message, "module cache", 12) != 0) {
        return status == DW_OK ? status : dw_fail(err, status, "%s", local.message);
    }
    if (status == DW_E_DENIED) {
        dw_cli_note("%s", local.message);
    }
    return dw_engine_create(engine, options, err);
}

int dw_cli_session_run(dw_cli_session *session)
{
    dw_error error;
    dw_engine *engine = NULL;
    dw_module *module = NULL;
    granted_models models = {.count = 0};
    dw_instance *instance = NULL;
    char path[DW_CLI_PATH_MAX];
    uint64_t start_ns = dw_cli_clock_ns();
    dw_engine_options options = {.struct_bytes = sizeof options,
                                 .device = session->device,
                                 .threads = session->threads,
                                 .kv_bytes_max = session->kv_bytes_max,
                                 .counts_fuel = session->limits.fuel != 0 &&
                                                session->limits.fuel != DW_LIMIT_NONE,
                                 .traces_calls = session->traces,
                                 .perf_map = session->perf_map,
                                 .strict_align = session->strict_align,
                                 .limits = &session->limits};
    int exit_code = 1;

    dw_status status = dw_cli_find_guest(path, sizeof path, session->guest, &error);
    if (status == DW_OK) {
        status = dw_cli_session_engine(&engine, session, &options, &error);
    }
    if (status == DW_OK) {
        status = dw_module_open(&module, engine, path, &error);
    }
    if (status == DW_OK) {
        dw_cli_session_tell_idle(session, module, path);
        status = open_models(session, engine, module, &models, &error);
    }
    if (status == DW_OK) {
        status = create_instance(session, module, &models, path, &instance, &error);
    }
    if (status == DW_OK) {
        status = grant_contexts(session, instance, &error);
    }
    if (status == DW_OK) {
        run_of of = {.engine = engine,
                     .models = &models,
                     .load_ms = (double)(dw_cli_clock_ns() - start_ns) / 1e6};
        exit_code = run_instance(session, instance, &of);
    } else {
        (void)dw_cli_fail_with(&error);
        exit_code = status == DW_E_CANCELLED ? DW_CLI_INTERRUPTED : 1;
    }
    dw_instance_destroy(instance);
    dw_contexts_close(session->contexts);
    session->contexts = NULL;
    if (!dw_cli_frees()) {
        return exit_code;
    }
    for (size_t i = 0; i < models.count; i++) {
        dw_model_unref(models.models[i]);
    }
    dw_module_unref(module);
    dw_engine_destroy(engine);
    return exit_code;
}
