/* The options that `run`, `chat` and `actor spawn` share, as settings of the guest's environment.
 *
 * Of an option that stands twice the last counts; --stop, --logit-bias, --dir and --env of another
 * name make a list. Two options that say the same thing in two ways, or contradict one another, are
 * refused. What can have no effect is told, in one line, before anything runs. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cli/pack.h"
#include "cli/session.h"

#define TIMEOUT_S_MAX 31536000.0
#define GRAMMAR_BYTES_MAX ((size_t)1 << 20) /* that the library takes */
#define TOOLS_BYTES_MAX ((size_t)1 << 20)
#define MANIFEST_BYTES_MAX ((size_t)1 << 20) /* that the library takes */
#define STOP_PREFIX "DRIFTWOOD_STOP_"
#define GUEST_BYTES_MAX ((size_t)256 << 20) /* looked through for names of settings */

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
    dw_cli_loras_release(&session->loras);
    free(session->contexts_path);
    session->contexts_path = NULL;
    session->env_count = 0;
    session->dir_count = 0;
}

/* Where the setting stands; env_count: nowhere. */
static size_t find_setting(const dw_cli_session *session, const char *name)
{
    size_t i = 0;
    while (i < session->env_count && strcmp(session->env_names[i], name) != 0) {
        i++;
    }
    return i;
}

/* The option that made the setting, as errors name it. */
static const char *option_of(const dw_cli_session *session, size_t setting)
{
    return session->env_options[setting] != NULL ? session->env_options[setting] : "--env";
}

static dw_status replace_setting(dw_cli_session *session, size_t at, const char *option,
                                 const char *value, dw_error *err)
{
    const char *before = session->env_options[at];
    if (before != NULL && option != NULL && strcmp(before, option) != 0) {
        return dw_fail(err, DW_E_ARG, "%s beside %s: one of the two is allowed", option, before);
    }
    char *own_value = strdup(value);
    if (own_value == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the guest's environment");
    }
    free((void *)(uintptr_t)session->env_values[at]);
    session->env_values[at] = own_value;
    session->env_options[at] = option;
    return DW_OK;
}

dw_status dw_cli_session_set(dw_cli_session *session, const char *option, const char *name,
                             const char *value, dw_error *err)
{
    size_t at = find_setting(session, name);
    if (at < session->env_count) {
        return replace_setting(session, at, option, value, err);
    }
    if (session->env_count == DW_CLI_ENV_MAX) {
        return dw_fail(err, DW_E_LIMIT, "--env: more than %d", DW_CLI_ENV_MAX);
    }
    char *own_name = strdup(name);
    char *own_value = strdup(value);
    if (own_name == NULL || own_value == NULL) {
        free(own_name);
        free(own_value);
        return dw_fail(err, DW_E_MEMORY, "no memory for the guest's environment");
    }
    session->env_names[at] = own_name;
    session->env_values[at] = own_value;
    session->env_options[at] = option;
    session->env_count++;
    return DW_OK;
}

static dw_status add_model(dw_cli_session *session, const char *option, const char *name,
                           size_t name_bytes, const char *from, dw_error *err)
{
    if (session->model_count == DW_CLI_MODELS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "%s: more than %d models", option, DW_CLI_MODELS_MAX);
    }
    if (name_bytes > DW_CLI_MODEL_NAME_MAX) {
        return dw_fail(err, DW_E_LIMIT, "%s: a name of %zu bytes, limit %d", option, name_bytes,
                       DW_CLI_MODEL_NAME_MAX);
    }
    dw_cli_model *model = &session->models[session->model_count];
    *model = (dw_cli_model){.from = from};
    memcpy(model->name, name, name_bytes);
    for (size_t i = 0; i < session->model_count && name_bytes > 0; i++) {
        if (strcmp(session->models[i].name, model->name) == 0) {
            return dw_fail(err, DW_E_ARG, "%s: '%.80s' stands twice", option, model->name);
        }
    }
    session->model_count++;
    return DW_OK;
}

size_t dw_cli_name_bytes(const char *text)
{
    size_t bytes = strcspn(text, "=");
    bool named =
        bytes > 0 && text[bytes] == '=' && strcspn(text, "/:\\") > bytes && access(text, F_OK) != 0;
    return named ? bytes : 0;
}

dw_status dw_cli_session_model(dw_cli_session *session, const char *text, dw_error *err)
{
    size_t bytes = dw_cli_name_bytes(text);
    return add_model(session, "--model", text, bytes, bytes > 0 ? text + bytes + 1 : text, err);
}

dw_status dw_cli_session_preload(dw_cli_session *session, const char *text, dw_error *err)
{
    static const char *const devices[] = {"AUTO", "CPU", "GPU"};
    size_t name_bytes = strcspn(text, ":");
    const char *encoding = text + name_bytes + (text[name_bytes] == ':');
    size_t encoding_bytes = strcspn(encoding, ":");
    const char *device = encoding + encoding_bytes + (encoding[encoding_bytes] == ':');
    size_t device_bytes = strcspn(device, ":");
    bool known = false;
    if (name_bytes == 0 || device[device_bytes] != ':' || device[device_bytes + 1] == '\0') {
        return dw_fail(err, DW_E_ARG, "--nn-preload: '%.80s', NAME:GGML:DEVICE:MODEL is needed",
                       text);
    }
    if (encoding_bytes != 4 || strncasecmp(encoding, "GGML", 4) != 0) {
        return dw_fail(err, DW_E_UNSUPPORTED, "--nn-preload: encoding '%.*s', GGML is served",
                       (int)(encoding_bytes < 40 ? encoding_bytes : 40), encoding);
    }
    for (size_t i = 0; i < sizeof devices / sizeof devices[0] && !known; i++) {
        known = strlen(devices[i]) == device_bytes &&
                strncasecmp(device, devices[i], device_bytes) == 0;
    }
    if (!known) {
        return dw_fail(err, DW_E_ARG, "--nn-preload: device '%.*s', AUTO, CPU or GPU is needed",
                       (int)(device_bytes < 40 ? device_bytes : 40), device);
    }
    return add_model(session, "--nn-preload", text, name_bytes, device + device_bytes + 1, err);
}

void dw_cli_session_model_names(const dw_cli_session *session, const char **names)
{
    for (size_t i = 0; i < session->model_count; i++) {
        names[i] = session->models[i].name;
    }
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
    dw_status status =
        name[0] != '\0'
            ? dw_cli_session_set(session, NULL, name, equals + 1, err)
            : dw_fail(err, DW_E_ARG, "--env: '%.60s' has no name, NAME=VALUE is needed", text);
    free(name);
    return status;
}

dw_status dw_cli_session_contexts(dw_cli_session *session, const char *text, dw_error *err)
{
    size_t length = strlen(text);
    if (session->contexts_path != NULL) {
        return dw_fail(err, DW_E_ARG, "--contexts: it stands twice");
    }
    session->contexts_read_only = length > 3 && strcmp(text + length - 3, ":ro") == 0;
    length -= session->contexts_read_only ? 3 : 0;
    session->contexts_path = length > 0 ? dw_cli_alloc(length + 1, 1) : NULL;
    if (session->contexts_path == NULL) {
        return length > 0 ? dw_fail(err, DW_E_MEMORY, "no memory for --contexts")
                          : dw_fail(err, DW_E_ARG, "--contexts: '', a folder is needed");
    }
    memcpy(session->contexts_path, text, length);
    return DW_OK;
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
    for (size_t i = 0; i + 1 < session->dir_count; i++) {
        if (strcmp(session->dirs[i].guest_path, guest) == 0) {
            return dw_fail(err, DW_E_ARG, "--dir: the guest's '%.80s' is given twice", guest);
        }
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
    return status == DW_OK ? dw_cli_session_set(session, rule->what, rule->env, value, err)
                           : status;
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
    (void)snprintf(name, sizeof name, STOP_PREFIX "%zu", session->stop_count++);
    return dw_cli_session_set(session, "--stop", name, value, err);
}

/* A text for the guest: as it was typed, or from a file. */
typedef struct text_option {
    int option;
    const char *what;
    const char *env;
    bool in_file;
} text_option;

static const text_option text_options[] = {
    {DW_CLI_OPT_SYSTEM, "--system", "DRIFTWOOD_SYSTEM", false},
    {DW_CLI_OPT_GRAMMAR, "--grammar", "DRIFTWOOD_GRAMMAR", false},
    {DW_CLI_OPT_GRAMMAR_FILE, "--grammar-file", "DRIFTWOOD_GRAMMAR", true},
    {DW_CLI_OPT_JSON_SCHEMA, "--json-schema", "DRIFTWOOD_JSON_SCHEMA", false},
    {DW_CLI_OPT_JSON_SCHEMA_FILE, "--json-schema-file", "DRIFTWOOD_JSON_SCHEMA", true},
    {DW_CLI_OPT_DRY_BREAKER, "--dry-sequence-breaker", "DRIFTWOOD_DRY_SEQUENCE_BREAKER", false},
};

static dw_status take_file(dw_cli_session *session, const text_option *rule, const char *path,
                           dw_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    dw_status status = dw_cli_read_file(path, GRAMMAR_BYTES_MAX, &text, &bytes, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "%s", rule->what);
    }
    if (bytes == 0 || memchr(text, '\0', bytes) != NULL) {
        status = dw_fail(err, DW_E_ARG, "%s %s: %s", rule->what, path,
                         bytes == 0 ? "it is empty" : "a zero byte in it");
    } else {
        status = dw_cli_session_set(session, rule->what, rule->env, text, err);
    }
    free(text);
    return status;
}

/* Of one token the last bias counts. `token`: with its =. */
static void drop_bias(char *biases, const char *token)
{
    for (char *entry = biases; *entry != '\0';) {
        char *next = entry + strcspn(entry, ",");
        next += *next == ',';
        if (strncmp(entry, token, strlen(token)) == 0) {
            memmove(entry, next, strlen(next) + 1);
            size_t left = strlen(biases);
            if (left > 0 && biases[left - 1] == ',') {
                biases[left - 1] = '\0';
            }
            return;
        }
        entry = next;
    }
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
    (void)snprintf(token, sizeof token, "%llu=", (unsigned long long)whole);
    drop_bias(session->biases, token);
    size_t used = strlen(session->biases);
    int needed = snprintf(session->biases + used, sizeof session->biases - used, "%s%s%s",
                          used > 0 ? "," : "", token, value + length + 1);
    if (needed < 0 || (size_t)needed >= sizeof session->biases - used) {
        session->biases[used] = '\0';
        return dw_fail(err, DW_E_LIMIT, "--logit-bias: more than %zu characters in all",
                       sizeof session->biases - 1);
    }
    return dw_cli_session_set(session, "--logit-bias", "DRIFTWOOD_LOGIT_BIAS", session->biases,
                              err);
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

/* FILE: a JSON list of tools. */
static dw_status take_tools(dw_cli_session *session, const char *path, dw_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    json_error_t error;
    dw_status status = dw_cli_read_file(path, TOOLS_BYTES_MAX, &text, &bytes, err);
    if (status != DW_OK) {
        return dw_fail_within(err, status, "--tools");
    }
    const char *nul = bytes > 0 ? memchr(text, '\0', bytes) : NULL;
    json_t *tools = json_loadb(text, bytes, JSON_DECODE_INT_AS_REAL, &error);
    if (nul != NULL) {
        status = dw_fail(err, DW_E_ARG, "--tools %s: byte %td is NUL", path, nul - text);
    } else if (tools == NULL) {
        status = dw_fail(err, DW_E_ARG, "--tools %s: line %d, column %d: %s", path, error.line,
                         error.column, error.text);
    } else if (!json_is_array(tools) || json_array_size(tools) == 0) {
        status = dw_fail(err, DW_E_ARG, "--tools %s: a list of at least one tool is wanted", path);
    } else {
        status = dw_cli_session_set(session, "--tools", "DRIFTWOOD_TOOLS", text, err);
    }
    json_decref(tools);
    free(text);
    return status;
}

/* One of a few words. */
static dw_status take_word(dw_cli_session *session, const char *const words[4], const char *value,
                           dw_error *err)
{
    bool known = false;
    for (size_t i = 0; i < 3; i++) {
        known = known || strcmp(words[i], value) == 0;
    }
    bool reasoning = strcmp(words[3], "--reasoning") == 0;
    return known ? dw_cli_session_set(session, words[3],
                                      reasoning ? "DRIFTWOOD_REASONING" : "DRIFTWOOD_TOOL_CHOICE",
                                      value, err)
                 : dw_fail(err, DW_E_ARG, "%s: '%.40s', %s, %s or %s is allowed", words[3], value,
                           words[0], words[1], words[2]);
}

static dw_status take_seed(dw_cli_session *session, const char *value, dw_error *err)
{
    uint64_t whole;
    dw_status status = dw_cli_whole("--seed", value, 0, UINT64_MAX, &whole, err);
    return status == DW_OK ? dw_cli_session_set(session, "--seed", "DRIFTWOOD_SEED", value, err)
                           : status;
}

/* NAME=VALUE, read once all options are there. */
static dw_status keep_limit(dw_cli_session *session, const char *value, dw_error *err)
{
    if (session->limit_count == DW_CLI_LIMITS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "--limit: more than %d", DW_CLI_LIMITS_MAX);
    }
    session->limit_texts[session->limit_count++] = value;
    return DW_OK;
}

static dw_status take_time(const char *option, const char *value, uint64_t *ms, dw_error *err)
{
    double seconds = 0.0;
    dw_status status = dw_cli_number(option, value, 0.001, TIMEOUT_S_MAX, &seconds, err);
    *ms = (uint64_t)(seconds * 1000.0);
    return status;
}

static dw_status take_bound(dw_cli_session *session, int option, const char *value, dw_error *err)
{
    switch (option) {
    case DW_CLI_OPT_LIMIT:
        return keep_limit(session, value, err);
    case DW_CLI_OPT_LIMITS:
        session->limits_path = value;
        return DW_OK;
    case DW_CLI_OPT_MODULE_CACHE:
        session->module_cache = value;
        return DW_OK;
    case DW_CLI_OPT_TIMEOUT:
        return take_time("--timeout", value, &session->timeout_ms, err);
    case DW_CLI_OPT_CPU_TIME:
        return take_time("--cpu-time", value, &session->cpu_timeout_ms, err);
    case DW_CLI_OPT_FUEL:
        return dw_cli_whole("--fuel", value, 1, UINT64_MAX - 1, &session->fuel, err);
    default:
        return DW_E_STATE;
    }
}

/* What the host itself goes by. */
static dw_status take_own(dw_cli_session *session, int option, const char *value, dw_error *err)
{
    uint64_t whole = 0;
    dw_status status;
    switch (option) {
    case DW_CLI_OPT_MODEL:
        return dw_cli_session_model(session, value, err);
    case DW_CLI_OPT_LORA:
        return dw_cli_lora_take(
            &session->loras, session->model_count > 0 ? session->model_count - 1 : 0, value, err);
    case DW_CLI_OPT_DEVICE:
        session->device = value;
        return DW_OK;
    case DW_CLI_OPT_LOGIT_BIAS:
        return take_bias(session, value, err);
    case DW_CLI_OPT_STOP:
        return take_stop(session, value, err);
    case DW_CLI_OPT_CHAT_TEMPLATE:
        session->chat_template = value;
        return DW_OK;
    case DW_CLI_OPT_TOOLS:
        return take_tools(session, value, err);
    case DW_CLI_OPT_TOOL_CHOICE:
        return take_word(session, (const char *[]){"auto", "required", "none", "--tool-choice"},
                         value, err);
    case DW_CLI_OPT_REASONING:
        return take_word(session, (const char *[]){"on", "off", "hide", "--reasoning"}, value, err);
    case DW_CLI_OPT_SHOW_PROMPT:
        return dw_cli_session_set(session, "--show-prompt", "DRIFTWOOD_SHOW_PROMPT", "1", err);
    case DW_CLI_OPT_STATS:
        return take_stats(session, value, err);
    case DW_CLI_OPT_SEED:
        return take_seed(session, value, err);
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
        return take_bound(session, option, value, err);
    }
}

dw_status dw_cli_session_option(dw_cli_session *session, int option, const char *value,
                                dw_error *err)
{
    for (size_t i = 0; i < sizeof number_options / sizeof number_options[0]; i++) {
        if (number_options[i].option == option) {
            return take_number(session, &number_options[i], value, err);
        }
    }
    for (size_t i = 0; i < sizeof text_options / sizeof text_options[0]; i++) {
        const text_option *rule = &text_options[i];
        if (rule->option == option) {
            return rule->in_file ? take_file(session, rule, value, err)
                                 : dw_cli_session_set(session, rule->what, rule->env, value, err);
        }
    }
    return take_own(session, option, value, err);
}

/* ---- limits ------------------------------------------------------------------------------ */

/* NAME=VALUE */
static dw_status take_limit(dw_limits *limits, const char *text, dw_error *err)
{
    char name[64];
    size_t length = strcspn(text, "=");
    if (text[length] != '=' || length >= sizeof name) {
        return dw_fail(err, DW_E_ARG, "--limit: '%.80s', NAME=VALUE is needed", text);
    }
    memcpy(name, text, length);
    name[length] = '\0';
    dw_status status = dw_limits_set(limits, name, text + length + 1, err);
    return status == DW_OK
               ? DW_OK
               : dw_fail_within(err, status,
                                status == DW_E_NOT_FOUND ? "--limit: `driftwood limits` lists them"
                                                         : "--limit");
}

/* An option of its own beside --limit for the same. */
static dw_status check_twice(const dw_cli_session *session, dw_error *err)
{
    const struct {
        const char *option;
        const char *name;
        bool both;
    } pairs[] = {
        {"--memory-max", "memory_bytes",
         session->memory_bytes_max != 0 && session->limits.memory_bytes != 0},
        {"--context", "context_tokens",
         session->context_tokens_max != 0 && session->limits.context_tokens != 0},
        {"--timeout", "timeout_ms", session->timeout_ms != 0 && session->limits.timeout_ms != 0},
        {"--cpu-time", "cpu_timeout_ms",
         session->cpu_timeout_ms != 0 && session->limits.cpu_timeout_ms != 0},
        {"--fuel", "fuel", session->fuel != 0 && session->limits.fuel != 0},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i].both) {
            return dw_fail(err, DW_E_ARG, "%s beside --limit %s: one of the two is allowed",
                           pairs[i].option, pairs[i].name);
        }
    }
    return DW_OK;
}

static dw_status read_manifest(dw_cli_session *session, dw_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    dw_status status =
        dw_cli_read_file(session->limits_path, MANIFEST_BYTES_MAX, &text, &bytes, err);
    if (status == DW_OK) {
        status = dw_limits_read(&session->limits, text, bytes, err);
        free(text);
        if (status != DW_OK) {
            status = dw_fail_within(err, status, "%.100s", session->limits_path);
        }
    }
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "--limits");
}

/* The file's, and over these the options', wherever they stand. */
static dw_status take_limits(dw_cli_session *session, dw_error *err)
{
    session->limits = (dw_limits){.struct_bytes = sizeof session->limits};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < session->limit_count; i++) {
            dw_status status = take_limit(&session->limits, session->limit_texts[i], err);
            if (status != DW_OK) {
                return status;
            }
        }
        dw_status status = round == 0 ? check_twice(session, err) : DW_OK;
        if (status == DW_OK && round == 0 && session->limits_path != NULL) {
            status = read_manifest(session, err);
        }
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* Those of these limits that have options of their own, which say more than a file. */
static void put_own_limits(dw_cli_session *session)
{
    dw_limits *limits = &session->limits;
    limits->timeout_ms = session->timeout_ms != 0 ? session->timeout_ms : limits->timeout_ms;
    limits->cpu_timeout_ms =
        session->cpu_timeout_ms != 0 ? session->cpu_timeout_ms : limits->cpu_timeout_ms;
    limits->fuel = session->fuel != 0 ? session->fuel : limits->fuel;
}

dw_status dw_cli_session_check(dw_cli_session *session, dw_error *err)
{
    dw_status taken = take_limits(session, err);
    if (taken != DW_OK) {
        return taken;
    }
    put_own_limits(session);
    static const char *const pairs[][2] = {
        {"DRIFTWOOD_GRAMMAR", "DRIFTWOOD_JSON_SCHEMA"},
        {"DRIFTWOOD_GRAMMAR", "DRIFTWOOD_TOOLS"},
        {"DRIFTWOOD_JSON_SCHEMA", "DRIFTWOOD_TOOLS"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        size_t first = find_setting(session, pairs[i][0]);
        size_t second = find_setting(session, pairs[i][1]);
        if (first < session->env_count && second < session->env_count) {
            return dw_fail(err, DW_E_ARG, "%s beside %s (%s, %s): one of the two is allowed",
                           option_of(session, first), option_of(session, second), pairs[i][0],
                           pairs[i][1]);
        }
    }
    return DW_OK;
}

/* ---- settings without effect -------------------------------------------------------------- */

static double setting_number(const dw_cli_session *session, const char *name, double fallback)
{
    size_t at = find_setting(session, name);
    return at < session->env_count ? strtod(session->env_values[at], NULL) : fallback;
}

static bool is_greedy(const dw_cli_session *session)
{
    return setting_number(session, "DRIFTWOOD_TEMP", 1.0) == 0.0;
}

static bool is_mirostat(const dw_cli_session *session)
{
    return setting_number(session, "DRIFTWOOD_MIROSTAT_TAU", 0.0) > 0.0;
}

static bool is_no_mirostat(const dw_cli_session *session)
{
    return !is_mirostat(session);
}

static bool is_no_xtc(const dw_cli_session *session)
{
    return setting_number(session, "DRIFTWOOD_XTC_PROBABILITY", 0.0) == 0.0;
}

static bool is_no_dynatemp(const dw_cli_session *session)
{
    return setting_number(session, "DRIFTWOOD_DYNATEMP_RANGE", 0.0) == 0.0;
}

static bool is_no_dry(const dw_cli_session *session)
{
    return setting_number(session, "DRIFTWOOD_DRY_MULTIPLIER", 0.0) == 0.0;
}

static bool is_no_penalty(const dw_cli_session *session)
{
    return setting_number(session, "DRIFTWOOD_REPEAT_PENALTY", 1.0) == 1.0 &&
           setting_number(session, "DRIFTWOOD_FREQUENCY_PENALTY", 0.0) == 0.0 &&
           setting_number(session, "DRIFTWOOD_PRESENCE_PENALTY", 0.0) == 0.0;
}

/* Settings that do nothing while others are as `applies` says. A greedy sampler minds biases and
 * the grammar alone (dw_sampler_params); that it needs no seed is not worth a word. */
typedef struct idle_rule {
    bool (*applies)(const dw_cli_session *session);
    const char *why;
    const char *settings[20]; /* ended by NULL, without DRIFTWOOD_ */
} idle_rule;

static const idle_rule idle_rules[] = {
    {is_greedy,
     "with --temp 0, which takes the likeliest token",
     {"TOP_K",
      "TOP_P",
      "MIN_P",
      "REPEAT_PENALTY",
      "REPEAT_LAST_N",
      "FREQUENCY_PENALTY",
      "PRESENCE_PENALTY",
      "DYNATEMP_RANGE",
      "DYNATEMP_EXP",
      "TYPICAL_P",
      "TOP_N_SIGMA",
      "XTC_PROBABILITY",
      "XTC_THRESHOLD",
      "DRY_MULTIPLIER",
      "DRY_BASE",
      "DRY_ALLOWED_LENGTH",
      "DRY_PENALTY_LAST_N",
      "DRY_SEQUENCE_BREAKER",
      "MIROSTAT_TAU",
      "MIROSTAT_ETA"}},
    {is_mirostat,
     "with --mirostat-tau, which takes the place of the other cuts",
     {"TOP_K", "TOP_P", "MIN_P", "TYPICAL_P", "TOP_N_SIGMA", "XTC_PROBABILITY", "XTC_THRESHOLD",
      NULL}},
    {is_no_mirostat, "without --mirostat-tau", {"MIROSTAT_ETA", NULL}},
    {is_no_xtc, "without --xtc-probability", {"XTC_THRESHOLD", NULL}},
    {is_no_dynatemp, "without --dynatemp-range", {"DYNATEMP_EXP", NULL}},
    {is_no_dry,
     "without --dry-multiplier",
     {"DRY_BASE", "DRY_ALLOWED_LENGTH", "DRY_PENALTY_LAST_N", "DRY_SEQUENCE_BREAKER", NULL}},
    {is_no_penalty,
     "without --repeat-penalty, --frequency-penalty or --presence-penalty",
     {"REPEAT_LAST_N", NULL}},
};

static void tell_idle(const dw_cli_session *session, const idle_rule *rule)
{
    dw_cli_names names = {.text = ""};
    for (size_t i = 0; i < 20 && rule->settings[i] != NULL; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "DRIFTWOOD_%s", rule->settings[i]);
        size_t at = find_setting(session, name);
        if (at < session->env_count && session->env_options[at] != NULL) {
            dw_cli_names_add(&names, session->env_options[at]);
        }
    }
    if (names.text[0] != '\0') {
        dw_cli_note("%s: no effect %s", names.text, rule->why);
    }
}

/* Whether a module's file has the name in it, in UTF-8, or in UTF-16 as AssemblyScript's texts
 * are. */
static bool names_it(const char *file, size_t bytes, const char *name)
{
    char wide[256];
    size_t length = strlen(name);
    if (memmem(file, bytes, name, length) != NULL || 2 * length > sizeof wide) {
        return true;
    }
    for (size_t i = 0; i < length; i++) {
        wide[2 * i] = name[i];
        wide[2 * i + 1] = '\0';
    }
    return memmem(file, bytes, wide, 2 * length) != NULL;
}

/* A guest that reads a setting names it somewhere in its file, but one that runs a program of other
 * files. */
static void tell_unread(const dw_cli_session *session, const char *guest)
{
    dw_cli_names names = {.text = ""};
    char *file = NULL;
    size_t bytes = 0;
    if (dw_cli_read_file(guest, GUEST_BYTES_MAX, &file, &bytes, NULL) != DW_OK) {
        return; /* the module was loaded from there; what is wrong with it now is no one's error */
    }
    size_t count = dw_cli_runs_files(file, bytes) ? 0 : session->env_count;
    for (size_t i = 0; i < count; i++) {
        const char *option = session->env_options[i];
        const char *name = session->env_names[i];
        bool list = strncmp(name, STOP_PREFIX, strlen(STOP_PREFIX)) == 0;
        const char *needle = list ? STOP_PREFIX : name;
        if (option != NULL && !names_it(file, bytes, needle) &&
            (!list || strcmp(name, STOP_PREFIX "0") == 0)) {
            dw_cli_names_add(&names, option);
        }
    }
    free(file);
    if (names.text[0] != '\0') {
        dw_cli_note("%s: no effect, the guest knows no such setting", names.text);
    }
}

static void tell_ungranted(const dw_cli_session *session, const dw_module *module)
{
    dw_cli_names names = {.text = ""};
    if (session->model_count > 0 && !dw_module_uses_models(module)) {
        dw_cli_names_add(&names, "--model");
    }
    if (session->chat_template != NULL && !dw_module_imports_any(module, "chat_")) {
        dw_cli_names_add(&names, "--chat-template");
    }
    bool uses_nn = dw_module_uses_models(module) && !dw_module_imports_any(module, "model_");
    if (!dw_module_imports_any(module, "context_") && !uses_nn) {
        if (session->context_tokens_max > 0) {
            dw_cli_names_add(&names, "--context");
        }
        if (session->kv_type_given) {
            dw_cli_names_add(&names, "--kv-type");
        }
        if (session->kv_bytes_max > 0) {
            dw_cli_names_add(&names, "--kv-memory");
        }
    }
    if (names.text[0] != '\0') {
        dw_cli_note("%s: no effect, the guest uses no such thing", names.text);
    }
}

/* What of its schema an answer is not held to. What is wrong with it is the guest's to tell. */
static void tell_schema(const dw_cli_session *session)
{
    char notes[8192];
    size_t at = find_setting(session, "DRIFTWOOD_JSON_SCHEMA");
    if (at == session->env_count || session->env_options[at] == NULL ||
        dw_json_schema_check(session->env_values[at], notes, sizeof notes, NULL) != DW_OK) {
        return;
    }
    for (const char *line = notes; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        dw_cli_note("%s: %.*s", session->env_options[at], (int)length, line);
        line += length + (line[length] == '\n');
    }
}

void dw_cli_session_tell_idle(const dw_cli_session *session, const dw_module *module,
                              const char *guest)
{
    tell_schema(session);
    bool options = false;
    for (size_t i = 0; i < session->env_count; i++) {
        options = options || session->env_options[i] != NULL;
    }
    tell_ungranted(session, module);
    if (!options) {
        return;
    }
    tell_unread(session, guest);
    size_t count = sizeof idle_rules / sizeof idle_rules[0];
    for (size_t i = 0; i < count; i++) {
        if (idle_rules[i].applies(session)) {
            tell_idle(session, &idle_rules[i]);
            count = idle_rules[i].applies == is_greedy ? 0 : count; /* the rest were named */
        }
    }
}
