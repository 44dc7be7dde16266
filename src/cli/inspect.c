/* driftwood inspect: what a model file holds, and whether it runs here. */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/actor_state.h"

#define TYPES_MAX 64

static const char usage[] =
    "usage: driftwood inspect MODEL|SNAPSHOT [--json] [--fingerprint]\n"
    "       driftwood inspect MODEL --template\n"
    "\n"
    "Of a snapshot file, compressed or not, it tells what the actor in it consists of, contexts\n"
    "with their text.\n"
    "Tells what a GGUF file holds and whether it runs on this machine's CPU: it loads, and it "
    "fits\n"
    "(weights and a whole context) into the memory that is free. MODEL is a path or a name in the\n"
    "cache (`driftwood models`). Exit status 1 if it does not load.\n"
    "\n"
    "  -j, --json         one object, with the chat template\n"
    "  -f, --fingerprint  hash all of a model, whatever is kept of it from before\n"
    "  -t, --template     the chat templates of a model, and how its answers are read\n"
    "  -h, --help         this text\n";

/* A file's text that is no UTF-8 becomes null. */
static json_t *text_of(const dw_gguf *gguf, const char *key)
{
    dw_gguf_string text;
    json_t *value =
        dw_gguf_text(gguf, key, &text, NULL) == DW_OK ? json_stringn(text.text, text.bytes) : NULL;
    return value != NULL ? value : json_null();
}

static void set(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

static void set_count(json_t *object, const char *key, uint64_t count)
{
    set(object, key, json_integer((json_int_t)count));
}

/* The key of that name after the architecture's; null where it is missing or no integer. */
static void set_key(json_t *root, const dw_gguf *gguf, const char *name, const char *suffix)
{
    const char *architecture = json_string_value(json_object_get(root, "architecture"));
    char key[256];
    uint32_t value = 0;
    (void)snprintf(key, sizeof key, "%s.%s", architecture != NULL ? architecture : "", suffix);
    bool known = dw_gguf_u32(gguf, key, &value, NULL) == DW_OK;
    set(root, name, known ? json_integer(value) : json_null());
}

static void describe_keys(json_t *root, const dw_gguf *gguf)
{
    set_key(root, gguf, "layers", "block_count");
    set_key(root, gguf, "embedding", "embedding_length");
    set_key(root, gguf, "context", "context_length");
    set_key(root, gguf, "heads", "attention.head_count");
    set_key(root, gguf, "kv_heads", "attention.head_count_kv");
    set_key(root, gguf, "head_size", "attention.key_length");
    set_key(root, gguf, "window", "attention.sliding_window");
    set_key(root, gguf, "experts", "expert_count");
    set_key(root, gguf, "experts_used", "expert_used_count");
}

/* What the engine makes of the keys, defaults and all. */
static void describe_shape(json_t *root, const dw_model_info *info)
{
    set_count(root, "layers", info->layer_count);
    set_count(root, "embedding", info->embedding_length);
    set_count(root, "context", info->context_length);
    set_count(root, "heads", info->head_count);
    set_count(root, "kv_heads", info->kv_head_count);
    set_count(root, "head_size", info->head_length);
    set_count(root, "window", info->window);
    set_count(root, "experts", info->expert_count);
    set_count(root, "experts_used", info->expert_used_count);
}

typedef struct type_total {
    const char *type;
    uint32_t number; /* the file format's */
    uint64_t tensors;
    uint64_t bytes;
} type_total;

/* By the type's name; types that the list has no room for are left out. */
static void add_tensor(type_total list[TYPES_MAX], const dw_gguf_tensor_info *tensor)
{
    size_t at = 0;
    while (at < TYPES_MAX && list[at].type != NULL && strcmp(list[at].type, tensor->type) != 0) {
        at++;
    }
    if (at < TYPES_MAX) {
        list[at].type = tensor->type;
        list[at].number = tensor->type_number;
        list[at].tensors++;
        list[at].bytes += tensor->bytes;
    }
}

static int by_type_number(const void *a, const void *b)
{
    const type_total *left = a;
    const type_total *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

static void describe_weights(json_t *root, const dw_gguf *gguf)
{
    type_total totals[TYPES_MAX] = {{.type = NULL}};
    dw_gguf_info info = {.struct_bytes = sizeof info};
    dw_gguf_get_info(gguf, &info);
    for (size_t i = 0; i < info.tensor_count; i++) {
        dw_gguf_tensor_info tensor = {.struct_bytes = sizeof tensor};
        if (dw_gguf_get_tensor_info(gguf, i, &tensor, NULL) == DW_OK) {
            add_tensor(totals, &tensor);
        }
    }
    size_t count = 0;
    while (count < TYPES_MAX && totals[count].type != NULL) {
        count++;
    }
    qsort(totals, count, sizeof totals[0], by_type_number);
    json_t *types = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(types, json_pack("{s:s, s:I, s:I}", "type", totals[i].type,
                                                     "tensors", (json_int_t)totals[i].tensors,
                                                     "bytes", (json_int_t)totals[i].bytes));
    }
    set_count(root, "parameters", info.parameter_count);
    set_count(root, "weights_bytes", info.weights_bytes);
    set_count(root, "file_bytes", info.bytes);
    set_count(root, "parts", info.part_count);
    set(root, "weight_types", types);
}

static void describe_vocab(json_t *root, const dw_gguf *gguf)
{
    static const char list[] = "tokenizer.ggml.tokens";
    static const char *const names[] = {"bos", "eos", "eot", "unknown", "padding"};
    size_t count = 0;
    bool listed = dw_gguf_text_at(gguf, list, 0, NULL, &count, NULL) == DW_OK;
    json_t *special = json_object();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char key[64];
        uint32_t id = 0;
        dw_gguf_string token;
        (void)snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", names[i]);
        if (dw_gguf_u32(gguf, key, &id, NULL) == DW_OK &&
            dw_gguf_text_at(gguf, list, id, &token, &count, NULL) == DW_OK) {
            json_t *text = json_stringn(token.text, token.bytes);
            set(special, names[i],
                json_pack("{s:I, s:o}", "id", (json_int_t)id, "text",
                          text != NULL ? text : json_null()));
        }
    }
    set(root, "vocabulary", listed ? json_integer((json_int_t)count) : json_null());
    set(root, "tokenizer", text_of(gguf, "tokenizer.ggml.model"));
    set(root, "special_tokens", special);
    set(root, "chat_template", text_of(gguf, "tokenizer.chat_template"));
}

static bool is_adapter(const dw_gguf *gguf)
{
    dw_gguf_string type;
    return dw_gguf_text(gguf, "general.type", &type, NULL) == DW_OK && type.bytes == 7 &&
           memcmp(type.text, "adapter", 7) == 0;
}

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name);
    return length >= strlen(end) && strcmp(name + length - strlen(end), end) == 0;
}

/* Of a file that is no model, but is loaded beside one: whether it suits that is told there. */
static void describe_adapter(json_t *root, const dw_gguf *gguf)
{
    dw_gguf_info info = {.struct_bytes = sizeof info};
    uint64_t matrices = 0;
    uint64_t rank = 0;
    dw_gguf_get_info(gguf, &info);
    for (size_t i = 0; i < info.tensor_count; i++) {
        dw_gguf_tensor_info tensor = {.struct_bytes = sizeof tensor};
        if (dw_gguf_get_tensor_info(gguf, i, &tensor, NULL) != DW_OK) {
            continue;
        }
        matrices += ends_with(tensor.name, ".lora_a");
        if (ends_with(tensor.name, ".lora_b") && tensor.shape[0] > rank) {
            rank = tensor.shape[0];
        }
    }
    set(root, "type", json_string("adapter"));
    set(root, "adapter", text_of(gguf, "adapter.type"));
    set_count(root, "matrices", matrices);
    set_count(root, "rank", rank);
}

/* Load it on the CPU, where that maps the file and copies nothing. */
static void try_load(json_t *root, const char *path)
{
    dw_error error = {.code = DW_OK};
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    dw_device_info device = {.struct_bytes = sizeof device};
    dw_status status = dw_engine_create(&engine, &options, &error);
    if (status == DW_OK) {
        dw_engine_get_device_info(engine, &device);
        set_count(root, "memory_bytes", device.memory_bytes);
        set_count(root, "memory_free_bytes", device.memory_free_bytes);
        status = dw_model_open(&model, engine, path, &error);
    }
    if (status == DW_OK) { /* a model is open before its vocabulary is there */
        dw_vocab_info vocab = {.struct_bytes = sizeof vocab};
        status = dw_model_get_vocab_info(model, &vocab, &error);
    }
    if (status == DW_OK) {
        dw_model_info info = {.struct_bytes = sizeof info};
        dw_model_get_info(model, &info);
        uint64_t context_bytes = info.kv_bytes_per_token * info.context_length;
        uint64_t needed_bytes = info.weights_bytes + context_bytes;
        set_count(root, "kv_bytes_per_token", info.kv_bytes_per_token);
        set_count(root, "kv_bytes_whole_context", context_bytes);
        set_count(root, "memory_needed_bytes", needed_bytes);
        set(root, "fits", json_boolean(needed_bytes <= device.memory_free_bytes));
        set(root, "encoder", json_boolean(info.encoder));
        describe_shape(root, &info);
    }
    dw_model_unref(model);
    dw_engine_destroy(engine);
    set(root, "loads", json_boolean(status == DW_OK));
    set(root, "error", status == DW_OK ? json_null() : json_string(error.message));
}

/* A value on one line; a file's control characters must not reach the terminal. */
static void print_value(const char *key, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    dw_cli_print("%-22s %s\n", key, text != NULL ? text : "?");
    free(text);
}

static void print_text(json_t *root)
{
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        size_t i;
        json_t *type;
        if (strcmp(key, "chat_template") == 0) {
            dw_cli_print("%-22s %s\n", key, json_is_string(value) ? "yes" : "no");
        } else if (strcmp(key, "weight_types") == 0) {
            json_array_foreach(value, i, type)
            {
                dw_cli_print("%-22s %s: %lld tensors, %.1f MB\n", i == 0 ? key : "",
                             json_string_value(json_object_get(type, "type")),
                             (long long)json_integer_value(json_object_get(type, "tensors")),
                             (double)json_integer_value(json_object_get(type, "bytes")) / 1e6);
            }
        } else if (!json_is_null(value)) {
            print_value(key, value);
        }
    }
}

/* A snapshot begins with its header's length in 8 bytes and JSON, a GGUF file with its name. */
static bool is_snapshot(const char *path)
{
    char start[9] = "";
    FILE *file = fopen(path, "rbe");
    bool found = file != NULL && fread(start, 1, sizeof start, file) == sizeof start &&
                 start[8] == '{' && memcmp(start, "GGUF", 4) != 0;
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

static int inspect_snapshot(const char *path, bool as_json)
{
    dw_error error;
    json_t *about = NULL;
    if (dw_cli_snapshot_about(path, &about, &error) != DW_OK) {
        return dw_cli_fail_with(&error);
    }
    if (as_json) {
        dw_cli_print_json(json_incref(about), JSON_INDENT(2));
    } else {
        dw_cli_actors_print(about);
    }
    json_decref(about);
    return 0;
}

static int inspect_packed(const char *path, bool as_json)
{
    char plain[DW_CLI_PATH_MAX] = "";
    int fd = -1;
    dw_error error;
    if (dw_cli_unpack(path, plain, sizeof plain, &fd, &error) != DW_OK) {
        return dw_cli_fail_with(&error);
    }
    int exit_code = is_snapshot(plain) ? inspect_snapshot(plain, as_json)
                                       : dw_cli_fail(1, "%s: no snapshot inside", path);
    dw_cli_remove_temporary(plain, fd);
    return exit_code;
}

/* All of the file is hashed, whatever is kept of it. */
static dw_status add_fingerprint(json_t *root, const dw_gguf *gguf, dw_error *err)
{
    char text[DW_FINGERPRINT_BYTES];
    dw_fingerprint_options options = {.struct_bytes = sizeof options,
                                      .folder = dw_cli_fingerprint_folder(),
                                      .ignore_kept = true,
                                      .on_progress = dw_cli_on_fingerprint};
    dw_fingerprint_stats stats = {.struct_bytes = sizeof stats};
    dw_status status = dw_gguf_fingerprint_with(gguf, &options, text, &stats, err);
    if (status == DW_OK) {
        set(root, "fingerprint", json_string(text));
        set(root, "fingerprint_ms", json_integer((json_int_t)(stats.hash_ns / 1000000)));
        set(root, "fingerprint_threads", json_integer(stats.threads));
    }
    return status;
}

static int inspect(const char *name, bool as_json, bool fingerprint)
{
    char path[DW_CLI_PATH_MAX];
    dw_error error;
    dw_gguf *gguf;
    dw_status status = dw_cli_open_gguf(&gguf, path, name, &error);
    if (status != DW_OK) {
        return dw_cli_fail_with(&error);
    }
    json_t *root = json_object();
    set(root, "path", dw_cli_path_json(path));
    set(root, "name", text_of(gguf, "general.name"));
    set(root, "architecture", text_of(gguf, "general.architecture"));
    describe_weights(root, gguf);
    const bool adapter = is_adapter(gguf);
    if (adapter) {
        describe_adapter(root, gguf);
    } else {
        describe_keys(root, gguf);
        describe_vocab(root, gguf);
    }
    status = fingerprint ? add_fingerprint(root, gguf, &error) : DW_OK;
    dw_gguf_close(gguf);
    if (status != DW_OK) {
        json_decref(root);
        return dw_cli_fail_with(&error);
    }
    if (!adapter) {
        try_load(root, path);
    }
    if (as_json) {
        dw_cli_print_json(json_incref(root), JSON_INDENT(2));
    } else {
        print_text(root);
    }
    int exit_code = adapter || json_is_true(json_object_get(root, "loads")) ? 0 : 1;
    json_decref(root);
    return exit_code;
}

int dw_cli_inspect(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"fingerprint", no_argument, NULL, 'f'},
                                            {"template", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool as_json = false;
    bool fingerprint = false;
    bool template = false;
    int option;
    while ((option = getopt_long(argc, argv, "jfth", options, NULL)) != -1) {
        switch (option) {
        case 't':
            template = true;
            break;
        case 'j':
            as_json = true;
            break;
        case 'f':
            fingerprint = true;
            break;
        case 'h':
            dw_cli_print("%s", usage);
            return 0;
        default:
            return DW_CLI_USAGE;
        }
    }
    if (optind + 1 != argc) {
        return dw_cli_fail(DW_CLI_USAGE, "inspect takes one model, %d given", argc - optind);
    }
    if (template && (as_json || fingerprint)) {
        return dw_cli_fail(DW_CLI_USAGE, "--template stands alone");
    }
    if (template) {
        return dw_cli_inspect_template(argv[optind]);
    }
    return dw_cli_is_compressed(argv[optind]) ? inspect_packed(argv[optind], as_json)
           : is_snapshot(argv[optind])        ? inspect_snapshot(argv[optind], as_json)
                                              : inspect(argv[optind], as_json, fingerprint);
}
