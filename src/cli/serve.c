/* driftwood serve: models over HTTP, for clients of OpenAI's, Anthropic's, Ollama's and llama.cpp's
 * routes. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/actor_state.h"
#include "cli/config.h"
#include "cli/session.h"
#include "cli/tools.h"

#define MODELS_MAX 64
#define ORIGINS_MAX 64
#define KEYS_BYTES_MAX ((size_t)16 << 20)
#define LISTEN_DEFAULT "127.0.0.1:8080"

static const char usage[] =
    "usage: driftwood serve [--model [NAME=]M]... [OPTION...]\n"
    "\n"
    "Serves models over HTTP: the routes of OpenAI (chats, responses, texts, embeddings), of\n"
    "Anthropic (messages), Ollama and llama.cpp's server. Conversations are actors in the state\n"
    "folder: one that a request goes on with is found by its text, after a restart too, and is "
    "not\n"
    "computed again.\n"
    "\n"
    "  --model [NAME=]M     a GGUF file, or a name in the cache, and what clients call it; may be\n"
    "                       repeated; the first is for requests that name none. Default: the\n"
    "                       default model. Models are loaded when they are asked "
    "for\n" DW_CLI_LORA_HELP
    "  --model-idle S       unload a model that nobody has used for S seconds; default never\n"
    "  --model-memory BYTES of models that are loaded; those used longest ago give way to one "
    "that\n"
    "                       is asked for; default no limit\n"
    "  --config FILE        options in a file, a line each: NAME = VALUE, without dashes\n"
    "  --listen ADDRESS     HOST:PORT, [IPV6]:PORT or unix:PATH; default " LISTEN_DEFAULT "\n"
    "  --state DIR          the state folder; default $XDG_STATE_HOME/driftwood, or\n"
    "                       ~/.local/state/driftwood\n"
    "  --conversations N    kept in it; of more those used longest ago go; default 100000\n"
    "  --heartbeat S        after S seconds without a word tell a stream's client that somebody "
    "is\n"
    "                       there; default 10\n"
    "  --keys FILE          who may ask: lines \"TENANT SHA256\", the latter of a key\n"
    "  --new-key TENANT     print a new key, and its line for that file\n"
    "  --allow-origin O     let pages of another site ask, \"https://chat.example\" or \"*\"; may "
    "be\n"
    "                       repeated\n"
    "  --open               let anybody ask, also at an address that others "
    "reach\n" DW_CLI_TOOLS_HELP "  --manifest FILE      tenants, what they may, limits, in JSON\n"
    "  --chat-template T    a template in Jinja in place of the models': a file, or a name\n"
    "  --context N          tokens a conversation may hold; default: the model's own length\n"
    "  --kv-type T          how keys and values are kept: f16, q8_0 or f32; default f16\n"
    "  --kv-memory BYTES    all contexts together; default: the device's own memory, or three\n"
    "                       quarters of the host's where they lie there\n"
    "  --device D           see `driftwood devices`; default: the first GPU, else the CPU\n"
    "  --threads N          CPU threads; default: the machine's cores\n"
    "  --timeout S          end an answer after S seconds; default 3600\n"
    "  --limit NAME=VALUE, --limits FILE\n"
    "                       limits of conversations; `driftwood limits` lists them\n"
    "  --module-cache DIR   where compiled guests are kept, or off; default\n"
    "                       $XDG_CACHE_HOME/driftwood/modules or ~/.cache/driftwood/modules\n"
    "  -h, --help           this text\n"
    "\n"
    "Ctrl-C and SIGTERM end it when what is under way has ended, after 30 seconds at most.\n"
    "Exit status: 0 good, 1 it failed, 2 a wrong command line.\n";

enum {
    OPT_LISTEN = DW_CLI_OPT_OWN,
    OPT_STATE,
    OPT_MANIFEST,
    OPT_CONVERSATIONS,
    OPT_KEYS,
    OPT_NEW_KEY,
    OPT_OPEN,
    OPT_ALLOW_ORIGIN,
    OPT_MODEL_IDLE,
    OPT_MODEL_MEMORY,
    OPT_CONFIG,
    OPT_HEARTBEAT,
    OPT_TOOL,
    OPT_TOOL_TIMEOUT,
};

static const struct option options[] = {
    {"model", required_argument, NULL, DW_CLI_OPT_MODEL},
    {"lora", required_argument, NULL, DW_CLI_OPT_LORA},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"model-idle", required_argument, NULL, OPT_MODEL_IDLE},
    {"model-memory", required_argument, NULL, OPT_MODEL_MEMORY},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"state", required_argument, NULL, OPT_STATE},
    {"conversations", required_argument, NULL, OPT_CONVERSATIONS},
    {"heartbeat", required_argument, NULL, OPT_HEARTBEAT},
    {"manifest", required_argument, NULL, OPT_MANIFEST},
    {"keys", required_argument, NULL, OPT_KEYS},
    {"new-key", required_argument, NULL, OPT_NEW_KEY},
    {"allow-origin", required_argument, NULL, OPT_ALLOW_ORIGIN},
    {"open", no_argument, NULL, OPT_OPEN},
    {"tool", required_argument, NULL, OPT_TOOL},
    {"tool-timeout", required_argument, NULL, OPT_TOOL_TIMEOUT},
    {"chat-template", required_argument, NULL, DW_CLI_OPT_CHAT_TEMPLATE},
    {"context", required_argument, NULL, DW_CLI_OPT_CONTEXT},
    {"kv-type", required_argument, NULL, DW_CLI_OPT_KV_TYPE},
    {"kv-memory", required_argument, NULL, DW_CLI_OPT_KV_MEMORY},
    {"device", required_argument, NULL, DW_CLI_OPT_DEVICE},
    {"threads", required_argument, NULL, DW_CLI_OPT_THREADS},
    {"timeout", required_argument, NULL, DW_CLI_OPT_TIMEOUT},
    {"limit", required_argument, NULL, DW_CLI_OPT_LIMIT},
    {"limits", required_argument, NULL, DW_CLI_OPT_LIMITS},
    {"module-cache", required_argument, NULL, DW_CLI_OPT_MODULE_CACHE},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

#define GUESTS_MAX 64

typedef struct dw_cli_guest {
    char *name;
    dw_module *module;
} dw_cli_guest;

/* A model that is served. */
typedef struct served {
    char *name;
    char *path;
} served;

typedef struct serving {
    dw_cli_session session;
    dw_cli_terms terms;
    const char *listen;
    const char *state;
    const char *keys_path; /* NULL: there are none */
    char *config;          /* its text, which options point into; NULL: there is none */
    char *keys;
    size_t keys_bytes;
    bool open;
    const char *origins[ORIGINS_MAX]; /* [origin_count] */
    size_t origin_count;
    uint64_t conversations;
    double heartbeat_s;
    served models[MODELS_MAX]; /* [model_count] */
    dw_cli_loras loras;        /* of these */
    size_t model_count;
    uint64_t model_idle_s; /* 0: never */
    uint64_t model_bytes;  /* 0: no limit */
    dw_model_pool *pool;
    char *chat_template; /* its source, or NULL: the session's is a name */
    dw_engine *engine;
    dw_runtime *runtime;
    dw_server *server;
    dw_module *conversation;
    char *folder;
    pthread_mutex_t lock;            /* guards the next two */
    dw_cli_guest guests[GUESTS_MAX]; /* [guest_count], by name, loaded so far */
    size_t guest_count;
    pthread_mutex_t log_lock; /* guards the next */
    dw_server *logged;        /* who is told of the runtime's log; NULL: nobody */
} serving;

static dw_server *signalled; /* what a signal ends */

static void on_signal(int number)
{
    (void)number;
    if (signalled != NULL) {
        dw_server_stop(signalled);
    }
}

/* ---- models --------------------------------------------------------------------------------- */

/* The file of an actor's model that is not among those that are served. */
static dw_status find_path(void *user, const char *fingerprint, char *path, size_t capacity,
                           dw_error *err)
{
    (void)user;
    (void)err; /* who asks knows what it is for, and says so */
    return dw_cli_find_fingerprint(fingerprint, path, capacity) ? DW_OK : DW_E_NOT_FOUND;
}

static void on_change(void *user, const char *name, dw_model_state state, const dw_error *error)
{
    (void)user;
    if (error != NULL && error->code != DW_OK) {
        (void)fprintf(stderr, "driftwood: %s: not loaded: %s\n", name, error->message);
    } else {
        (void)fprintf(stderr, "driftwood: %s is %s\n", name,
                      state == DW_MODEL_LOADED ? "loaded" : "unloaded");
    }
}

static dw_status on_load(void *user, const char *name, dw_model *model, dw_error *err)
{
    const serving *s = user;
    for (size_t i = 0; name != NULL && i < s->model_count; i++) {
        if (strcmp(s->models[i].name, name) == 0) {
            return dw_cli_loras_add(&s->loras, i, model, err);
        }
    }
    return DW_OK;
}

static bool has_adapters(void *user, const char *name)
{
    const serving *s = user;
    size_t i = 0;
    while (i < s->loras.count && strcmp(s->models[s->loras.list[i].model].name, name) != 0) {
        i++;
    }
    return i < s->loras.count;
}

static dw_status open_pool(serving *s, dw_error *err)
{
    const char *given = s->chat_template != NULL ? s->chat_template : s->session.chat_template;
    const dw_model_pool_options how = {.struct_bytes = sizeof how,
                                       .bytes_max = s->model_bytes,
                                       .idle_ms = s->model_idle_s * 1000,
                                       .chat_template = given,
                                       .fingerprint_folder = dw_cli_fingerprint_folder(),
                                       .find_path = find_path,
                                       .on_change = on_change,
                                       .on_load = s->loras.count > 0 ? on_load : NULL,
                                       .has_adapters = has_adapters,
                                       .user = s};
    dw_status status = dw_model_pool_create(&s->pool, s->engine, &how, err);
    for (size_t i = 0; i < s->model_count && status == DW_OK; i++) {
        status = dw_model_pool_add(s->pool, s->models[i].name, s->models[i].path, err);
    }
    return status;
}

/* For actors that are made of a guest by its name: those that came along. */
static dw_status find_guest(void *user, const char *name, dw_module **module, dw_error *err)
{
    serving *s = user;
    char path[DW_CLI_PATH_MAX];
    dw_status status = DW_OK;
    if (strchr(name, '/') != NULL) {
        return dw_fail(err, DW_E_DENIED, "guest '%.80s': actors spawn guests by bare names", name);
    }
    (void)pthread_mutex_lock(&s->lock);
    size_t i = 0;
    while (i < s->guest_count && strcmp(s->guests[i].name, name) != 0) {
        i++;
    }
    if (i == s->guest_count && i == GUESTS_MAX) {
        status = dw_fail(err, DW_E_LIMIT, "more than %d guests at a time", GUESTS_MAX);
    } else if (i == s->guest_count) {
        s->guests[i].name = strdup(name);
        status = s->guests[i].name != NULL ? dw_cli_find_guest(path, sizeof path, name, err)
                                           : dw_fail(err, DW_E_MEMORY, "no memory for a name");
        if (status == DW_OK) {
            status = dw_module_open(&s->guests[i].module, s->engine, path, err);
        }
        if (status == DW_OK) {
            s->guest_count++;
        } else {
            free(s->guests[i].name);
        }
    }
    *module = status == DW_OK ? s->guests[i].module : NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return status;
}

/* What the file is called, without its ending. */
static char *name_of_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash != NULL ? slash + 1 : path);
    char *ending = name != NULL ? strstr(name, ".gguf") : NULL;
    if (ending != NULL && ending[5] == '\0') {
        *ending = '\0';
    }
    return name;
}

/* "NAME=FILE", "FILE", or a name in the cache. */
static dw_status add_model(serving *s, const char *given, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    const char *equals = given != NULL ? strchr(given, '=') : NULL;
    const char *slash = given != NULL ? strchr(given, '/') : NULL;
    bool named = equals != NULL && equals != given && (slash == NULL || equals < slash);
    if (s->model_count == MODELS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "--model: more than %d", MODELS_MAX);
    }
    dw_status status = dw_cli_find_model(path, sizeof path, named ? equals + 1 : given, err);
    if (status != DW_OK) {
        return status;
    }
    served *one = &s->models[s->model_count++];
    one->name = named ? strndup(given, (size_t)(equals - given)) : name_of_file(path);
    one->path = strdup(path);
    if (one->name == NULL || one->path == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a name");
    }
    for (size_t i = 0; i + 1 < s->model_count; i++) {
        if (strcmp(s->models[i].name, one->name) == 0) {
            return dw_fail(err, DW_E_ARG, "--model: two are called '%.80s'; NAME=%.80s names one",
                           one->name, path);
        }
    }
    return DW_OK;
}

/* ---- opening -------------------------------------------------------------------------------- */

static void tell_problem(void *user, const char *id, const dw_error *problem)
{
    (void)user;
    (void)fprintf(stderr, "driftwood: actor %s: %s\n", id, problem->message);
}

/* Of actors in the folder; the log has it, and tells whose it is. */
static ptrdiff_t on_stderr(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    (void)bytes;
    return (ptrdiff_t)count;
}

/* What a guest says, as a line of the server's. */
static void print_guest_line(const dw_log_entry *entry)
{
    static const char *const levels[] = {
        [DW_LOG_ERROR] = "error", [DW_LOG_WARN] = "warn", [DW_LOG_INFO] = "info"};
    const char *level = entry->level <= DW_LOG_INFO ? levels[entry->level] : "debug";
    char text[512];
    size_t count = 0;
    for (const char *from = entry->text; *from != '\0' && count + 5 < sizeof text;) {
        bool plain; /* a guest does not command the terminal */
        size_t bytes = dw_cli_character(from, &plain);
        memcpy(text + count, plain ? from : "?", plain ? bytes : 1);
        count += plain ? bytes : 1;
        from += bytes;
    }
    text[count] = '\0';
    (void)fprintf(stderr, "driftwood: actor %s: %s: %s\n", entry->actor, level, text);
}

/* On a thread of the log's. */
static void on_log(void *user, const dw_log_entry *entry)
{
    serving *s = user;
    if (entry->event != NULL && strcmp(entry->event, "guest-log") == 0) {
        print_guest_line(entry);
    }
    (void)pthread_mutex_lock(&s->log_lock);
    if (s->logged != NULL) {
        dw_server_take_log(s->logged, entry);
    }
    (void)pthread_mutex_unlock(&s->log_lock);
}

static void set_logged(serving *s, dw_server *server)
{
    (void)pthread_mutex_lock(&s->log_lock);
    s->logged = server;
    (void)pthread_mutex_unlock(&s->log_lock);
}

/* Of an actor in the folder. */
static dw_status find_model(void *user, const dw_model_wanted *wanted, dw_model **model,
                            dw_error *err)
{
    serving *s = user;
    dw_status status = dw_model_pool_find_granted(s->pool, wanted, model, err);
    if (status == DW_OK || s->keys_path == NULL) {
        return status;
    }
    /* Actors' owners are told; on_change has told the user himself which file it was, and which
     * models have its room. */
    return dw_fail(err, status,
                   status == DW_E_NOT_FOUND
                       ? "the actor's model '%.80s' is neither served nor in the cache"
                   : status == DW_E_BUSY
                       ? "the actor's model '%.80s' has no room now: others are in use that have it"
                       : "the actor's model '%.80s' could not be loaded",
                   wanted->name);
}

static dw_status open_runtime(serving *s, dw_error *err)
{
    char control[DW_CLI_PATH_MAX];
    char *manifest = NULL;
    /* Keys are given to others: what is left of them in the folder may converse, as those that have
     * keys now. Without keys all that there is is the user's own. */
    const char *const none[] = {NULL};
    const dw_tenant_options others = {.struct_bytes = sizeof others,
                                      .tools = none,
                                      .context_reads = none,
                                      .context_writes = none};
    bool makes = s->terms.manifest == NULL;
    dw_runtime_options how = {.struct_bytes = sizeof how,
                              .path = s->folder,
                              .find_granted = find_model,
                              .find_guest = find_guest,
                              .on_log = on_log,
                              .log_level = DW_LOG_INFO,
                              .on_problem = tell_problem,
                              .on_stderr = on_stderr,
                              .on_call = dw_cli_tools(),
                              .user = s,
                              .limits = &s->session.limits,
                              .control_path = control,
                              .makes_tenants = makes,
                              .made_tenants = makes && s->keys_path != NULL ? &others : NULL};
    (void)snprintf(control, sizeof control, "%s/control", s->folder);
    dw_status status = dw_cli_terms_read(&s->terms, &manifest, &how.manifest_bytes, err);
    if (status == DW_OK) {
        how.manifest = manifest;
        status = dw_runtime_open(&s->runtime, s->engine, &how, err);
    }
    if (status == DW_OK) {
        dw_model_pool_serve(s->pool, s->runtime);
    }
    free(manifest);
    return status;
}

static dw_status open_conversation(serving *s, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    dw_status status = dw_cli_find_guest(path, sizeof path, "conversation", err);
    return status == DW_OK ? dw_module_open(&s->conversation, s->engine, path, err) : status;
}

static dw_status open_server(serving *s, dw_error *err)
{
    char doctor[DW_CLI_PATH_MAX];
    bool has_doctor = dw_cli_find_guest(doctor, sizeof doctor, "doctor_chain", NULL) == DW_OK;
    char own[DW_CLI_PATH_MAX];
    (void)snprintf(own, sizeof own, "%s/server", s->folder);
    const dw_server_options how = {.struct_bytes = sizeof how,
                                   .find_guest = find_guest,
                                   .own_socket = own,
                                   .listen = s->listen,
                                   .models = s->pool,
                                   .user = s,
                                   .conversation = s->conversation,
                                   .path = s->folder,
                                   .conversations_max = s->conversations,
                                   .heartbeat_ms = (uint32_t)(s->heartbeat_s * 1000),
                                   .keys = s->keys,
                                   .keys_bytes = s->keys_bytes,
                                   .context_tokens_max = s->session.context_tokens_max,
                                   .kv_type = s->session.kv_type,
                                   .limits = &s->session.limits,
                                   .doctor_guest = has_doctor ? doctor : NULL,
                                   .allowed_origins = s->origins,
                                   .allowed_origin_count = s->origin_count,
                                   .any_host = s->open,
                                   .on_call = dw_cli_tools()};
    dw_status status = dw_server_open(&s->server, s->runtime, &how, err);
    set_logged(s, s->server);
    return status;
}

/* Whether none but this machine reaches the address. */
static bool is_own(const char *address)
{
    return strncmp(address, "unix:", 5) == 0 || strncmp(address, "127.", 4) == 0 ||
           strncmp(address, "localhost:", 10) == 0 || strncmp(address, "[::1]:", 6) == 0;
}

static dw_status read_keys(serving *s, dw_error *err)
{
    if (s->keys_path != NULL) {
        return dw_cli_read_file(s->keys_path, KEYS_BYTES_MAX, &s->keys, &s->keys_bytes, err);
    }
    return s->open || is_own(s->listen)
               ? DW_OK
               : dw_fail(err, DW_E_DENIED,
                         "--listen %.100s: others reach it; give --keys FILE, or --open to let "
                         "anybody ask",
                         s->listen);
}

/* --new-key: nothing of the key is kept but its hash. */
static int print_key(const char *tenant)
{
    json_t *text = json_string(tenant);
    if (text == NULL || strlen(tenant) > DW_TENANT_NAME_MAX || strchr(tenant, ' ') != NULL) {
        json_decref(text);
        return dw_cli_fail(DW_CLI_USAGE,
                           "--new-key: tenant '%.80s': at most %d bytes of UTF-8 without blanks "
                           "are allowed",
                           tenant, DW_TENANT_NAME_MAX);
    }
    json_decref(text);
    unsigned char random[24];
    char key[8 + 2 * sizeof random] = "dw-";
    char hash[DW_CLI_SHA256_TEXT];
    if (getentropy(random, sizeof random) != 0) {
        return dw_cli_fail(1, "no random bytes: %s", strerror(errno));
    }
    for (size_t i = 0; i < sizeof random; i++) {
        (void)snprintf(key + 3 + 2 * i, 3, "%02x", random[i]);
    }
    dw_cli_sha256_text(hash, key, strlen(key));
    dw_cli_print("%s\n%s %s\n", key, tenant[0] != '\0' ? tenant : "-", hash);
    return 0;
}

static dw_status open_all(serving *s, dw_error *err)
{
    dw_engine_options engine = {.struct_bytes = sizeof engine,
                                .device = s->session.device,
                                .threads = s->session.threads,
                                .kv_bytes_max = s->session.kv_bytes_max,
                                .limits = &s->session.limits};
    dw_status status = dw_cli_read_template(s->session.chat_template, &s->chat_template, err);
    if (status == DW_OK) {
        status = read_keys(s, err);
    }
    if (status == DW_OK && s->model_count == 0) {
        status = add_model(s, NULL, err);
    }
    if (status == DW_OK) {
        status = dw_cli_state_folder(s->state, &s->folder, err);
    }
    if (status == DW_OK) {
        status = dw_cli_session_engine(&s->engine, &s->session, &engine, err);
    }
    if (status == DW_OK) {
        status = open_pool(s, err);
    }
    if (status == DW_OK) {
        status = open_conversation(s, err);
    }
    if (status == DW_OK) {
        status = open_runtime(s, err);
    }
    return status == DW_OK ? open_server(s, err) : status;
}

static void close_all(serving *s)
{
    signalled = NULL;
    set_logged(s, NULL);
    dw_server_close(s->server);
    if (s->pool != NULL) {
        dw_model_pool_stop(s->pool); /* who waits for a model does so no more */
    }
    dw_runtime_close(s->runtime);
    dw_model_pool_destroy(s->pool);
    dw_module_unref(s->conversation);
    for (size_t i = 0; i < s->model_count; i++) {
        free(s->models[i].name);
        free(s->models[i].path);
    }
    dw_cli_loras_release(&s->loras);
    for (size_t i = 0; i < s->guest_count; i++) {
        dw_module_unref(s->guests[i].module);
        free(s->guests[i].name);
    }
    dw_engine_destroy(s->engine);
    free(s->keys);
    free(s->config);
    free(s->chat_template);
    free(s->folder);
}

static int serve(serving *s)
{
    dw_error error;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    dw_status status = open_all(s, &error);
    if (status == DW_OK) {
        signalled = s->server;
        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
        dw_cli_print("serving %s at %s%s\n", s->models[0].name,
                     strncmp(dw_server_address(s->server), "unix:", 5) == 0 ? "" : "http://",
                     dw_server_address(s->server));
        if (!dw_cli_output_flush()) { /* nobody would learn where it listens */
            return 1;
        }
        status = dw_server_run(s->server, &error);
    }
    return status == DW_OK ? 0 : dw_cli_fail_with(&error);
}

/* ---- the command line ----------------------------------------------------------------------- */

/* "https://HOST[:PORT]" as browsers write it, or "*". */
static dw_status add_origin(serving *s, const char *origin, dw_error *err)
{
    bool known = strncmp(origin, "http://", 7) == 0 || strncmp(origin, "https://", 8) == 0;
    if (strcmp(origin, "*") != 0 && (!known || strchr(strstr(origin, "://") + 3, '/') != NULL)) {
        return dw_fail(err, DW_E_ARG, "--allow-origin %.100s: http://HOST[:PORT], https://... or *",
                       origin);
    }
    if (s->origin_count == ORIGINS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "--allow-origin: at most %d", ORIGINS_MAX);
    }
    s->origins[s->origin_count++] = origin;
    return DW_OK;
}

static dw_status take_option(serving *s, int option, const char *value, dw_error *err);

static dw_status take_from_config(void *user, int option, const char *value, dw_error *err)
{
    return take_option(user, option, value, err);
}

/* What follows on the command line counts after it. */
static dw_status read_config(serving *s, const char *path, dw_error *err)
{
    static const int refused[] = {OPT_CONFIG, OPT_NEW_KEY, 'h', 0};
    const dw_cli_config config = {
        .options = options, .refused = refused, .take = take_from_config, .user = s};
    return s->config == NULL ? dw_cli_config_read(&config, path, &s->config, err)
                             : dw_fail(err, DW_E_ARG, "--config: one is allowed");
}

static dw_status take_option(serving *s, int option, const char *value, dw_error *err)
{
    switch (option) {
    case DW_CLI_OPT_MODEL:
        return add_model(s, value, err);
    case DW_CLI_OPT_LORA:
        return dw_cli_lora_take(&s->loras, s->model_count > 0 ? s->model_count - 1 : 0, value, err);
    case OPT_CONFIG:
        return read_config(s, value, err);
    case OPT_MODEL_IDLE:
        return dw_cli_whole("--model-idle", value, 1, UINT32_MAX, &s->model_idle_s, err);
    case OPT_MODEL_MEMORY:
        return dw_cli_bytes("--model-memory", value, 1 << 20, UINT64_C(1) << 50, &s->model_bytes,
                            err);
    case OPT_LISTEN:
        s->listen = value;
        return DW_OK;
    case OPT_STATE:
        s->state = value;
        return DW_OK;
    case OPT_MANIFEST:
        s->terms.manifest = value;
        return DW_OK;
    case OPT_KEYS:
        s->keys_path = value;
        return DW_OK;
    case OPT_ALLOW_ORIGIN:
        return add_origin(s, value, err);
    case OPT_TOOL:
        return dw_cli_tool_grant(value, err);
    case OPT_TOOL_TIMEOUT:
        return dw_cli_tool_timeout(value, err);
    case OPT_OPEN:
        s->open = true;
        return DW_OK;
    case OPT_HEARTBEAT:
        return dw_cli_number("--heartbeat", value, 0.01, 86400, &s->heartbeat_s, err);
    case OPT_CONVERSATIONS:
        return dw_cli_whole("--conversations", value, 1, UINT32_MAX, &s->conversations, err);
    default:
        return dw_cli_session_option(&s->session, option, value, err);
    }
}

int dw_cli_serve(int argc, char **argv)
{
    serving *s = dw_cli_alloc(1, sizeof *s);
    dw_error error;
    int exit_code = 0;
    int option;
    if (s == NULL) {
        return dw_cli_fail(1, "no memory");
    }
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_mutex_init(&s->log_lock, NULL);
    s->listen = LISTEN_DEFAULT;
    s->session.timeout_ms = 3600000;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            dw_cli_print("%s", usage);
            goto out;
        }
        if (option == OPT_NEW_KEY) {
            exit_code = print_key(optarg);
            goto out;
        }
        if (option == '?') {
            exit_code = DW_CLI_USAGE;
            goto out;
        }
        if (take_option(s, option, optarg, &error) != DW_OK) {
            exit_code = dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
            goto out;
        }
    }
    if (optind != argc) {
        exit_code = dw_cli_fail(DW_CLI_USAGE, "serve takes no arguments, only options");
    } else if (dw_cli_session_check(&s->session, &error) != DW_OK) {
        exit_code = dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
    } else {
        exit_code = serve(s);
    }
out:
    close_all(s);
    dw_cli_session_release(&s->session);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_mutex_destroy(&s->log_lock);
    free(s);
    return exit_code;
}
