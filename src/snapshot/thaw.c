/* Thawing: an actor of snapshot files, which are untrusted. Whatever they say goes through the
 * checks that a guest's own calls go through. */
#include "snapshot/thaw.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actor/actor_state.h"
#include "base/alloc.h"
#include "base/public_struct.h"
#include "base/hash.h"
#include "gguf/fingerprint.h"
#include "inference/context.h"
#include "kv/kv_log.h"
#include "snapshot/json_read.h"
#include "snapshot/snapshot_file.h"
#include "snapshot/snapshot_names.h"
#include "wasm/instance_state.h"

#define FILES_MAX 64
#define MODELS_MAX 64
#define TEXTS_MAX 4096
#define MODULE_BYTES_MAX ((size_t)256 << 20)
#define TABLE_ENTRIES_MAX 1000000

static const dw__choices handle_choices = DW__CHOICES(dw__handle_names);
static const dw__choices kv_choices = DW__CHOICES(dw__kv_names);

typedef struct thaw {
    dw_wasm_host *host;
    const dw_thaw_options *options;
    dw_thaw_stats stats;
    dw_snapshot_file *files[FILES_MAX]; /* [file_count], a full one and deltas upon it */
    size_t file_count;
    json_t *about; /* of the last file */
    dw_actor_settings *settings;
    dw_module *module;
    dw_actor *actor;
} thaw;

static const dw_snapshot_file *last_file(const thaw *t)
{
    return t->files[t->file_count - 1];
}

/* ---- files ------------------------------------------------------------------------------ */

static dw_status check_link(const thaw *t, size_t index, dw_error *err)
{
    const dw_snapshot_file *file = t->files[index];
    const char *kind = dw_snapshot_file_meta(file, "kind");
    const char *base = kind != NULL && strcmp(kind, "delta") == 0
                           ? dw_snapshot_file_meta(file, "base")
                           : NULL; /* a full one */
    const char *path = t->options->paths[index];
    if (index == 0) {
        return base == NULL
                   ? DW_OK
                   : dw_fail(err, DW_E_FORMAT, "%.100s: a delta upon %s, which must come before it",
                             path, base);
    }
    if (base == NULL) {
        return dw_fail(err, DW_E_FORMAT, "%.100s: a full snapshot, only the first can be one",
                       path);
    }
    const char *before = dw_snapshot_file_identity(t->files[index - 1]);
    if (strcmp(base, before) != 0) {
        return dw_fail(err, DW_E_FORMAT, "%.100s: a delta upon %s, not upon %s", path, base,
                       before);
    }
    const char *module = dw_snapshot_file_meta(file, DW__META_MODULE);
    const char *first = dw_snapshot_file_meta(t->files[0], DW__META_MODULE);
    if (module == NULL || first == NULL || strcmp(module, first) != 0) {
        return dw_fail(err, DW_E_FORMAT, "%.100s: of another module than its base", path);
    }
    return DW_OK;
}

static dw_status open_files(thaw *t, dw_error *err)
{
    unsigned flags = t->options->trusted ? 0 : DW_SNAPSHOT_VERIFY;
    if (t->options->path_count == 0 || t->options->path_count > FILES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "thaw: %zu files, from 1 to %d are allowed",
                       t->options->path_count, FILES_MAX);
    }
    for (size_t i = 0; i < t->options->path_count; i++) {
        dw_status status = dw_snapshot_file_open(&t->files[i], t->options->paths[i], flags, err);
        if (status != DW_OK) {
            return status;
        }
        t->file_count++;
        status = check_link(t, i, err);
        if (status != DW_OK) {
            return status;
        }
    }
    const char *text = dw_snapshot_file_meta(last_file(t), DW__META_ACTOR);
    json_error_t why;
    t->about = text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, &why) : NULL;
    if (!json_is_object(t->about)) {
        return dw_fail(err, DW_E_FORMAT, "%.100s: metadata '%s' %s",
                       t->options->paths[t->file_count - 1], DW__META_ACTOR,
                       text == NULL ? "is missing" : "is no JSON object");
    }
    return DW_OK;
}

/* ---- settings --------------------------------------------------------------------------- */

static dw_status find_model(const thaw *t, const json_t *entry, dw_model **model, dw_error *err)
{
    const char *fingerprint;
    const char *name;
    dw_status status = dw__json_text(entry, "models", "fingerprint", &fingerprint, err);
    if (status == DW_OK) {
        status = dw__json_text(entry, "models", "name", &name, err);
    }
    for (size_t i = 0; status == DW_OK && i < t->options->model_count; i++) {
        char known[DW_FINGERPRINT_BYTES];
        status = dw_model_fingerprint(t->options->models[i], known, err);
        if (status == DW_OK && strcmp(known, fingerprint) == 0) {
            *model = t->options->models[i];
            return DW_OK;
        }
    }
    if (status == DW_OK && t->options->find_model != NULL) {
        return t->options->find_model(t->options->find_user, name, fingerprint, model, err);
    }
    return status != DW_OK ? status
                           : dw_fail(err, DW_E_NOT_FOUND,
                                     "the snapshot's model '%.80s' (%.60s) is not among the %zu "
                                     "at hand",
                                     name, fingerprint, t->options->model_count);
}

static dw_status read_texts(const json_t *settings, const char *key, const char **texts,
                            size_t *count, dw_error *err)
{
    const json_t *list;
    dw_status status = dw__json_array(settings, "settings", key, TEXTS_MAX, &list, err);
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        const json_t *text = json_array_get(list, i);
        if (!json_is_string(text) || strlen(json_string_value(text)) != json_string_length(text)) {
            return dw_fail(err, DW_E_FORMAT, "settings: '%s' holds what is no text", key);
        }
        texts[i] = json_string_value(text);
    }
    *count = status == DW_OK ? json_array_size(list) : 0;
    return status;
}

static dw_status read_limits(const json_t *saved, dw_actor_options *options,
                             dw_instance_options *own, dw_error *err)
{
    uint64_t context_tokens_max = 0;
    uint64_t context_count_max = 0;
    uint64_t message_count_max = 0;
    uint64_t message_bytes_max = 0;
    const struct {
        const char *key;
        uint64_t max;
        uint64_t *to;
    } rules[] = {
        {"memory_bytes_max", UINT64_C(1) << 32, &own->memory_bytes_max},
        {"context_tokens_max", INT32_MAX, &context_tokens_max},
        {"context_count_max", 4096, &context_count_max},
        {"timeout_ms", INT64_MAX / 1000000, &own->timeout_ms},
        {"message_count_max", 1000000, &message_count_max},
        {"message_bytes_max", UINT32_MAX, &message_bytes_max},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        dw_status status =
            dw__json_whole(saved, "settings", rules[i].key, rules[i].max, rules[i].to, err);
        if (status != DW_OK) {
            return status;
        }
    }
    own->context_tokens_max = (uint32_t)context_tokens_max;
    own->context_count_max = (uint32_t)context_count_max;
    options->message_count_max = (uint32_t)message_count_max;
    options->message_bytes_max = (size_t)message_bytes_max;
    return DW_OK;
}

/* Lists of texts that `options` borrows until the settings are made. */
typedef struct borrowed {
    const char *args[TEXTS_MAX];
    const char *env_names[TEXTS_MAX];
    const char *env_values[TEXTS_MAX];
    dw_model *models[MODELS_MAX];
} borrowed;

static dw_status read_lists(const thaw *t, const json_t *saved, borrowed *lists,
                            dw_instance_options *own, dw_error *err)
{
    const json_t *models;
    size_t value_count = 0;
    dw_status status = dw__json_array(t->about, "actor", "models", MODELS_MAX, &models, err);
    for (size_t i = 0; status == DW_OK && i < json_array_size(models); i++) {
        status = find_model(t, json_array_get(models, i), &lists->models[i], err);
        own->model_count = i + 1;
    }
    if (status == DW_OK) {
        status = read_texts(saved, "args", lists->args, &own->arg_count, err);
    }
    if (status == DW_OK) {
        status = read_texts(saved, "env_names", lists->env_names, &own->env_count, err);
    }
    if (status == DW_OK) {
        status = read_texts(saved, "env_values", lists->env_values, &value_count, err);
    }
    if (status == DW_OK && value_count != own->env_count) {
        status = dw_fail(err, DW_E_FORMAT, "settings: %zu names of the environment, %zu values",
                         own->env_count, value_count);
    }
    own->models = lists->models;
    own->args = lists->args;
    own->env_names = lists->env_names;
    own->env_values = lists->env_values;
    return status;
}

static dw_status read_settings(thaw *t, dw_error *err)
{
    const json_t *saved;
    size_t kv_type = 0;
    dw_instance_options own = {.struct_bytes = sizeof own,
                               .on_stdout = t->options->on_stdout,
                               .on_stderr = t->options->on_stderr,
                               .on_progress = t->options->on_progress,
                               .user = t->options->user};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &own};
    borrowed *lists = dw_alloc(1, sizeof *lists);
    dw_status status = lists != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for settings");
    if (status == DW_OK) {
        status = dw__json_object(t->about, "actor", "settings", &saved, err);
    }
    if (status == DW_OK) {
        status = read_limits(saved, &options, &own, err);
    }
    if (status == DW_OK) {
        status = dw__json_choice(saved, "settings", "kv_type", &kv_choices, &kv_type, err);
    }
    own.kv_type = t->options->kv_type != NULL ? *t->options->kv_type : (dw_kv_type)kv_type;
    if (status == DW_OK) {
        status = read_lists(t, saved, lists, &own, err);
    }
    if (status == DW_OK) {
        status = dw_actor_settings_create(&t->settings, &options, err);
    }
    dw_free(lists);
    return status;
}

/* ---- the module ------------------------------------------------------------------------- */

static dw_status compile_saved(thaw *t, const char *hash, dw_error *err)
{
    const dw_snapshot_entry *tensor = dw_snapshot_file_tensor(t->files[0], DW__TENSOR_MODULE);
    char own[65];
    if (tensor == NULL && t->options->find_module != NULL) {
        dw_module *found = NULL;
        dw_status status = t->options->find_module(t->options->find_user, hash, &found, err);
        t->module = status == DW_OK ? dw_module_ref(found) : NULL;
        return status;
    }
    if (tensor == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "the snapshot names its module by hash only, %.64s, and it is not at hand",
                       hash);
    }
    if (tensor->bytes > MODULE_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "module: %llu bytes, limit %zu",
                       (unsigned long long)tensor->bytes, MODULE_BYTES_MAX);
    }
    unsigned char *bytes = dw_alloc((size_t)tensor->bytes + 1, 1);
    if (bytes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a module of %llu bytes",
                       (unsigned long long)tensor->bytes);
    }
    dw_status status =
        dw_snapshot_file_read(t->files[0], tensor, 0, (size_t)tensor->bytes, bytes, err);
    if (status == DW_OK) {
        dw_sha256_text(own, bytes, (size_t)tensor->bytes);
        if (strcmp(own, hash) != 0) {
            status = dw_fail(err, DW_E_FORMAT, "module: its hash is %s, not %.64s", own, hash);
        }
    }
    if (status == DW_OK) {
        status = dw_module_compile(&t->module, t->host, bytes, (size_t)tensor->bytes, err);
    }
    dw_free(bytes);
    return status;
}

static dw_status find_module(thaw *t, dw_error *err)
{
    const char *hash = dw_snapshot_file_meta(last_file(t), DW__META_MODULE);
    if (hash == NULL || strlen(hash) != 64) {
        return dw_fail(err, DW_E_FORMAT, "metadata 'module' is no SHA-256 hash");
    }
    if (t->options->module == NULL) {
        return compile_saved(t, hash, err);
    }
    if (strcmp(dw_module_hash(t->options->module), hash) != 0) {
        return dw_fail(err, DW_E_FORMAT, "the snapshot is of module %.64s, the one given is %s",
                       hash, dw_module_hash(t->options->module));
    }
    t->module = dw_module_ref(t->options->module);
    return DW_OK;
}

/* ---- memories --------------------------------------------------------------------------- */

static void memory_name(char *name, size_t capacity, size_t number, const char *part)
{
    if (number == 0) {
        (void)snprintf(name, capacity, "memory%s", part);
    } else {
        (void)snprintf(name, capacity, "memory.%zu%s", number, part);
    }
}

/* `name` with this type, row and count of dimensions; NULL where there is none. */
static dw_status find_tensor(const dw_snapshot_file *file, const char *name, const char *dtype,
                             uint64_t row, const dw_snapshot_entry **out, dw_error *err)
{
    const dw_snapshot_entry *found = dw_snapshot_file_tensor(file, name);
    *out = found;
    if (found == NULL) {
        return DW_OK;
    }
    size_t dimensions = row > 1 ? 2 : 1;
    if (strcmp(found->dtype, dtype) != 0 || found->dimension_count != dimensions ||
        (row > 1 && found->shape[1] != row)) {
        return dw_fail(err, DW_E_FORMAT, "%s: of another type or shape than %s [n%s%llu]", name,
                       dtype, row > 1 ? ", " : "] by ", (unsigned long long)row);
    }
    return DW_OK;
}

static dw_status whole_image(const thaw *t, size_t number, uint64_t pages_max,
                             dw_memory_image **image, dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *tensor;
    memory_name(name, sizeof name, number, "");
    dw_status status = find_tensor(t->files[0], name, "U8", DW__WASM_PAGE_BYTES, &tensor, err);
    if (status == DW_OK && (tensor == NULL || tensor->shape[0] > pages_max)) {
        status = dw_fail(err, DW_E_FORMAT, "%s: %s", name,
                         tensor == NULL ? "missing" : "larger than the memory it is of");
    }
    return status == DW_OK ? dw_memory_image_of_file(image, dw_snapshot_file_fd(t->files[0]),
                                                     tensor->offset, (size_t)tensor->bytes, err)
                           : status;
}

/* What a delta changed, over the memory as its base had it. */
static dw_status put_blocks(thaw *t, const dw_snapshot_file *file, size_t number, dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *blocks;
    const dw_snapshot_entry *data = NULL;
    dw_region *region = dw_state_memory(t->actor->instance, number);
    size_t limit = dw_region_committed_bytes(region) / DW_IMAGE_BLOCK_BYTES;
    memory_name(name, sizeof name, number, ".blocks");
    dw_status status = find_tensor(file, name, "U32", 1, &blocks, err);
    if (status != DW_OK || blocks == NULL) {
        return status;
    }
    memory_name(name, sizeof name, number, ".data");
    status = find_tensor(file, name, "U8", DW_IMAGE_BLOCK_BYTES, &data, err);
    if (status == DW_OK &&
        (data == NULL || data->shape[0] != blocks->shape[0] || blocks->shape[0] > limit)) {
        status =
            dw_fail(err, DW_E_FORMAT, "%s: not as many blocks as are listed, or too many", name);
    }
    uint32_t *list = status == DW_OK ? dw_alloc(limit + 1, sizeof *list) : NULL;
    if (status == DW_OK) {
        status = list != NULL
                     ? dw_snapshot_file_read(file, blocks, 0, (size_t)blocks->bytes, list, err)
                     : dw_fail(err, DW_E_MEMORY, "no memory for a list of blocks");
    }
    for (size_t i = 0; status == DW_OK && i < blocks->shape[0]; i++) {
        if (list[i] >= limit || (i > 0 && list[i] <= list[i - 1])) {
            status = dw_fail(err, DW_E_FORMAT, "%s: block %u at %zu, the memory has %zu", name,
                             list[i], i, limit);
        } else {
            unsigned char *to = dw_region_base(region);
            status = dw_snapshot_file_read(file, data, i * (uint64_t)DW_IMAGE_BLOCK_BYTES,
                                           DW_IMAGE_BLOCK_BYTES,
                                           to + (size_t)list[i] * DW_IMAGE_BLOCK_BYTES, err);
        }
    }
    dw_free(list);
    return status;
}

static dw_status read_memory(thaw *t, size_t number, uint64_t pages, dw_error *err)
{
    dw_memory_image *image = NULL;
    dw_instance *instance = t->actor->instance;
    dw_status status = whole_image(t, number, pages, &image, err);
    if (status == DW_OK) {
        status = dw_state_memory_grow(instance, number, (size_t)pages * DW__WASM_PAGE_BYTES, err);
    }
    if (status == DW_OK) {
        status = dw_memory_image_map(image, dw_state_memory(instance, number), err);
    }
    for (size_t i = 1; i < t->file_count && status == DW_OK; i++) {
        status = put_blocks(t, t->files[i], number, err);
    }
    if (status == DW_OK && t->file_count == 1) {
        t->actor->images[number] = dw_memory_image_ref(image);
    } else if (status == DW_OK) {
        status = dw_memory_image_take(&t->actor->images[number], dw_state_memory(instance, number),
                                      image, NULL, err);
    }
    dw_memory_image_unref(image);
    t->stats.memory_bytes += pages * DW__WASM_PAGE_BYTES;
    return status;
}

static dw_status read_memories(thaw *t, dw_error *err)
{
    const json_t *list;
    size_t count = dw_state_memory_count(t->actor->instance);
    dw_status status = dw__json_array(t->about, "actor", "memories", count, &list, err);
    if (status == DW_OK && json_array_size(list) != count) {
        status = dw_fail(err, DW_E_FORMAT, "actor: %zu memories, the module has %zu",
                         json_array_size(list), count);
    }
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        const json_t *pages = json_array_get(list, i);
        json_int_t value = json_is_integer(pages) ? json_integer_value(pages) : -1;
        if (value < 0 || value > 65536) {
            return dw_fail(err, DW_E_FORMAT, "actor: memory %zu is of no number of pages up to %d",
                           i, 65536);
        }
        status = read_memory(t, i, (uint64_t)value, err);
    }
    return status;
}

/* ---- globals and tables ----------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static dw_status read_global(const json_t *saved, size_t number, dw_global_value *value,
                             dw_error *err)
{
    const char *text = json_string_value(saved);
    if (text == NULL || json_string_length(saved) != 2 * sizeof value->bytes) {
        return dw_fail(err, DW_E_FORMAT, "actor: global %zu is no text of %zu digits", number,
                       2 * sizeof value->bytes);
    }
    for (size_t i = 0; i < sizeof value->bytes; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return dw_fail(err, DW_E_FORMAT, "actor: global %zu is not hexadecimal", number);
        }
        value->bytes[i] = (unsigned char)(high * 16 + low);
    }
    return DW_OK;
}

static dw_status read_globals(const thaw *t, dw_error *err)
{
    const json_t *list;
    dw_instance *instance = t->actor->instance;
    size_t count = dw_state_global_count(instance);
    dw_status status = dw__json_array(t->about, "actor", "globals", count, &list, err);
    if (status == DW_OK && json_array_size(list) != count) {
        status = dw_fail(err, DW_E_FORMAT, "actor: %zu globals, the module has %zu",
                         json_array_size(list), count);
    }
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        dw_global_value value;
        status = read_global(json_array_get(list, i), i, &value, err);
        if (status == DW_OK) {
            status = dw_state_set_global(instance, i, &value, err);
        }
    }
    return status;
}

static dw_status read_table(const thaw *t, size_t number, dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *tensor;
    (void)snprintf(name, sizeof name, "table.%zu", number);
    dw_status status = find_tensor(last_file(t), name, "U32", 1, &tensor, err);
    if (status == DW_OK && (tensor == NULL || tensor->shape[0] > TABLE_ENTRIES_MAX)) {
        status = dw_fail(err, DW_E_FORMAT, "%s: missing, or more than %d entries", name,
                         TABLE_ENTRIES_MAX);
    }
    if (status != DW_OK) {
        return status;
    }
    uint32_t *entries = dw_alloc((size_t)tensor->shape[0] + 1, sizeof *entries);
    if (entries == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a table");
    }
    status = dw_snapshot_file_read(last_file(t), tensor, 0, (size_t)tensor->bytes, entries, err);
    if (status == DW_OK) {
        status =
            dw_state_set_table(t->actor->instance, number, entries, (size_t)tensor->shape[0], err);
    }
    dw_free(entries);
    return status;
}

static dw_status read_tables(const thaw *t, dw_error *err)
{
    uint64_t count;
    size_t wanted = dw_state_table_count(t->actor->instance);
    dw_status status = dw__json_whole(t->about, "actor", "tables", UINT32_MAX, &count, err);
    if (status == DW_OK && count != wanted) {
        status = dw_fail(err, DW_E_FORMAT, "actor: %llu tables, the module has %zu that change",
                         (unsigned long long)count, wanted);
    }
    for (size_t i = 0; status == DW_OK && i < wanted; i++) {
        status = read_table(t, i, err);
    }
    return status;
}

/* ---- contexts --------------------------------------------------------------------------- */

/* The part of a log that `file` holds, and where in the log it begins. */
static const dw_snapshot_entry *find_part(const dw_snapshot_file *file, int32_t handle,
                                          uint64_t *from)
{
    char name[DW__NAME_BYTES];
    int length = snprintf(name, sizeof name, "kv.%" PRId32, handle);
    const dw_snapshot_entry *whole = dw_snapshot_file_tensor(file, name);
    *from = 0;
    for (size_t i = 0; whole == NULL && i < dw_snapshot_file_count(file); i++) {
        const dw_snapshot_entry *part = dw_snapshot_file_at(file, i);
        unsigned long long at;
        char rest;
        if (strncmp(part->name, name, (size_t)length) == 0 && part->name[length] == '.' &&
            sscanf(part->name + length + 1, "%20llu%c", &at, &rest) == 1) {
            *from = at;
            return part;
        }
    }
    return whole;
}

/* The segments of a log of `bytes` bytes, from the last file to the first that is needed, put in
 * order. */
static dw_status find_segments(const thaw *t, int32_t handle, uint64_t bytes,
                               dw_kv_segment *segments, size_t *count, dw_error *err)
{
    uint64_t end = bytes;
    *count = 0;
    for (size_t i = t->file_count; i > 0 && end > 0; i--) {
        uint64_t from;
        const dw_snapshot_entry *part = find_part(t->files[i - 1], handle, &from);
        if (part == NULL || from >= end) {
            continue;
        }
        if (part->bytes < end - from) {
            return dw_fail(err, DW_E_FORMAT, "kv.%d: %llu bytes from %llu on, %llu are needed",
                           (int)handle, (unsigned long long)part->bytes, (unsigned long long)from,
                           (unsigned long long)(end - from));
        }
        segments[(*count)++] = (dw_kv_segment){.fd = dw_snapshot_file_fd(t->files[i - 1]),
                                               .file_offset = part->offset,
                                               .log_offset = from,
                                               .bytes = end - from};
        end = from;
    }
    if (end > 0) {
        return dw_fail(err, DW_E_FORMAT, "kv.%d: its first %llu bytes are in no file", (int)handle,
                       (unsigned long long)end);
    }
    for (size_t i = 0; i < *count / 2; i++) {
        dw_kv_segment other = segments[i];
        segments[i] = segments[*count - 1 - i];
        segments[*count - 1 - i] = other;
    }
    return DW_OK;
}

static dw_status read_tokens(const thaw *t, int32_t handle, uint32_t length, int32_t **tokens,
                             dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *tensor = NULL;
    (void)snprintf(name, sizeof name, "tokens.%" PRId32, handle);
    *tokens = NULL;
    dw_status status = length > 0 ? find_tensor(last_file(t), name, "I32", 1, &tensor, err) : DW_OK;
    if (status == DW_OK && length > 0 && (tensor == NULL || tensor->shape[0] != length)) {
        status = dw_fail(err, DW_E_FORMAT, "%s: missing, or not %u of them", name, length);
    }
    if (status == DW_OK) {
        *tokens = dw_alloc((size_t)length + 1, sizeof **tokens);
        status = *tokens == NULL ? dw_fail(err, DW_E_MEMORY, "no memory for %u tokens", length)
                 : length > 0    ? dw_snapshot_file_read(last_file(t), tensor, 0,
                                                         (size_t)tensor->bytes, *tokens, err)
                                 : DW_OK;
    }
    return status;
}

static dw_status model_of(const thaw *t, const json_t *entry, dw_model **model, dw_error *err)
{
    uint64_t index;
    const dw_instance_options *own = &t->settings->instance;
    *model = NULL;
    if (own->model_count == 0) {
        return dw_fail(err, DW_E_FORMAT, "open: a model's handle, and no models");
    }
    dw_status status = dw__json_whole(entry, "open", "model", own->model_count - 1, &index, err);
    *model = status == DW_OK ? own->models[index] : NULL;
    return status;
}

/* What a context's description says. */
typedef struct saved_context {
    dw_model *model;
    uint64_t tokens_max;
    uint64_t length;
    uint64_t record_bytes;
    size_t kv_type;
} saved_context;

static dw_status describe_context(const thaw *t, const json_t *entry, saved_context *saved,
                                  dw_error *err)
{
    dw_status status = model_of(t, entry, &saved->model, err);
    if (status == DW_OK) {
        status = dw__json_whole(entry, "open", "tokens_max", INT32_MAX, &saved->tokens_max, err);
    }
    if (status == DW_OK) {
        status = dw__json_whole(entry, "open", "length", saved->tokens_max, &saved->length, err);
    }
    if (status == DW_OK) {
        status =
            dw__json_whole(entry, "open", "record_bytes", UINT32_MAX, &saved->record_bytes, err);
    }
    if (status == DW_OK) {
        status = dw__json_choice(entry, "open", "kv_type", &kv_choices, &saved->kv_type, err);
    }
    size_t record_bytes = status == DW_OK ? dw_model_kv_layout(dw_model_shape_of(saved->model),
                                                               (dw_kv_type)saved->kv_type)
                                                .record_bytes
                                          : 0;
    if (status == DW_OK && saved->record_bytes != record_bytes) {
        status = dw_fail(err, DW_E_FORMAT, "open: records of %llu bytes, the model's have %zu",
                         (unsigned long long)saved->record_bytes, record_bytes);
    }
    uint32_t limit = t->settings->instance.context_tokens_max;
    if (status == DW_OK && limit > 0 && saved->tokens_max > limit) {
        status = dw_fail(err, DW_E_LIMIT, "open: a context for %llu tokens, the actor may have %u",
                         (unsigned long long)saved->tokens_max, limit);
    }
    return status;
}

static dw_status load_context(thaw *t, const json_t *entry, int32_t handle, void **out,
                              dw_error *err)
{
    saved_context saved = {.model = NULL};
    dw_kv_segment segments[FILES_MAX];
    size_t segment_count = 0;
    int32_t *tokens = NULL;
    dw_context *context = NULL;
    dw_status status = describe_context(t, entry, &saved, err);
    if (status == DW_OK) {
        status = read_tokens(t, handle, (uint32_t)saved.length, &tokens, err);
    }
    if (status == DW_OK) {
        status = find_segments(t, handle, saved.length * saved.record_bytes, segments,
                               &segment_count, err);
    }
    if (status == DW_OK) {
        dw_context_thaw_options options = {
            .tokens_max = (uint32_t)saved.tokens_max,
            .kv_type =
                t->options->kv_type != NULL ? *t->options->kv_type : (dw_kv_type)saved.kv_type,
            .stored_kv_type = (dw_kv_type)saved.kv_type,
            .tokens = tokens,
            .frozen = {segments, segment_count, (uint32_t)saved.length}};
        bool converted = false;
        status = dw_context_thaw(&context, saved.model, &options, &converted, err);
        uint64_t bytes = saved.length * saved.record_bytes;
        t->stats.kv_converted_bytes += converted ? bytes : 0;
        t->stats.kv_mapped_bytes += converted ? 0 : bytes;
    }
    dw_free(tokens);
    *out = context;
    return status == DW_OK ? DW_OK : dw_fail_within(err, status, "context %d", (int)handle);
}

/* ---- handles ---------------------------------------------------------------------------- */

static dw_status load_sampler(const thaw *t, const json_t *entry, void **out, dw_error *err)
{
    dw_model *model;
    const json_t *saved;
    dw_sampler *sampler = NULL;
    dw_guest_sampler *object = NULL;
    dw_status status = model_of(t, entry, &model, err);
    if (status == DW_OK) {
        status = dw__json_object(entry, "open", "state", &saved, err);
    }
    if (status == DW_OK) {
        status = dw_sampler_load(&sampler, dw_model_vocab(model), saved, err);
    }
    if (status == DW_OK) {
        status = dw_guest_sampler_create(&object, sampler, model, err);
    }
    *out = object;
    return status;
}

static dw_status load_graph(thaw *t, const json_t *saved, void **out, dw_error *err)
{
    dw_tensor_graph *graph = NULL;
    dw_status status = dw_guest_graph_load(&graph, saved, t->actor->instance, err);
    *out = graph;
    return status;
}

static dw_status load_object(thaw *t, const json_t *entry, size_t kind, int32_t handle, void **out,
                             dw_error *err)
{
    dw_model *model;
    const json_t *saved;
    dw_status status;
    *out = NULL;
    switch (kind) {
    case DW_HANDLE_MODEL:
        status = model_of(t, entry, &model, err);
        *out = status == DW_OK ? dw_model_ref(model) : NULL;
        return status;
    case DW_HANDLE_CONTEXT:
        return load_context(t, entry, handle, out, err);
    case DW_HANDLE_SAMPLER:
        return load_sampler(t, entry, out, err);
    default:
        status = dw__json_object(entry, "open", "state", &saved, err);
        return status == DW_OK ? load_graph(t, saved, out, err) : status;
    }
}

static dw_status read_generations(thaw *t, dw_error *err)
{
    const json_t *list;
    dw_handle_table *table = dw_instance_handles(t->actor->instance);
    dw_status status = dw__json_array(t->about, "actor", "generations", table->limit, &list, err);
    if (status == DW_OK) {
        status = dw_handle_table_size(table, json_array_size(list), err);
    }
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t value = json_is_integer(item) ? json_integer_value(item) : 0;
        if (value < 1 || value > 0x7fff) {
            return dw_fail(err, DW_E_FORMAT, "actor: generation %zu is not from 1 to %d", i,
                           0x7fff);
        }
        table->slots[i].generation = (uint16_t)value;
    }
    return status;
}

static dw_status read_handle(thaw *t, const json_t *entry, dw_error *err)
{
    dw_handle_table *table = dw_instance_handles(t->actor->instance);
    uint64_t slot;
    size_t kind;
    dw_status status = dw__json_whole(entry, "open", "slot", table->limit, &slot, err);
    if (status == DW_OK) {
        status = dw__json_choice(entry, "open", "kind", &handle_choices, &kind, err);
    }
    if (status == DW_OK && (slot >= table->capacity || table->slots[slot].object != NULL)) {
        status = dw_fail(err, DW_E_FORMAT, "open: slot %llu is taken, or beyond the %zu there are",
                         (unsigned long long)slot, table->capacity);
    }
    if (status == DW_OK) {
        dw_handle_slot *place = &table->slots[slot];
        void *object;
        status = load_object(t, entry, kind, dw_handle_number((size_t)slot, place->generation),
                             &object, err);
        if (status == DW_OK) {
            place->object = object;
            place->kind = (uint8_t)kind;
        }
    }
    return status;
}

static dw_status read_handles(thaw *t, dw_error *err)
{
    const json_t *list;
    dw_status status = read_generations(t, err);
    if (status == DW_OK) {
        status = dw__json_array(t->about, "actor", "open", 65536, &list, err);
    }
    size_t contexts = 0;
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *kind = json_string_value(json_object_get(entry, "kind"));
        contexts += kind != NULL && strcmp(kind, dw__handle_names[DW_HANDLE_CONTEXT]) == 0;
        if (contexts > dw_instance_context_count_max(t->actor->instance)) {
            return dw_fail(err, DW_E_LIMIT, "open: more than %u contexts",
                           dw_instance_context_count_max(t->actor->instance));
        }
        status = read_handle(t, entry, err);
    }
    return status;
}

/* ---- messages --------------------------------------------------------------------------- */

/* A cursor over the messages' bytes. */
typedef struct messages {
    const unsigned char *bytes; /* [count] */
    size_t count;
    size_t used;
} messages;

static dw_status read_message(const json_t *entry, messages *from, size_t bytes_max,
                              dw_message **message, dw_error *err)
{
    const char *actor;
    const char *guest;
    uint64_t kind;
    uint64_t number;
    uint64_t bytes;
    dw_status status = dw__json_text(entry, "messages", "actor", &actor, err);
    if (status == DW_OK) {
        status = dw__json_text(entry, "messages", "guest", &guest, err);
    }
    if (status == DW_OK) {
        status = dw__json_whole(entry, "messages", "kind", DW_EFFECT_STOP, &kind, err);
    }
    if (status == DW_OK) {
        status = dw__json_whole(entry, "messages", "number", INT64_MAX, &number, err);
    }
    if (status == DW_OK) {
        status = dw__json_whole(entry, "messages", "bytes", bytes_max, &bytes, err);
    }
    if (status != DW_OK) {
        return status;
    }
    if (bytes > from->count - from->used || (actor[0] != '\0' && !dw_actor_id_good(actor)) ||
        strlen(guest) > DW_GUEST_NAME_MAX) {
        return dw_fail(err, DW_E_FORMAT, "messages: more bytes than there are, or no actor's id");
    }
    status = dw_message_create(message, actor, from->bytes + from->used, (size_t)bytes, err);
    if (status == DW_OK) {
        (void)snprintf((*message)->guest, sizeof(*message)->guest, "%s", guest);
        (*message)->kind = (int32_t)kind;
        (*message)->number = number;
        from->used += (size_t)bytes;
    }
    return status;
}

static dw_status read_list(const thaw *t, const char *key, messages *from, dw_mailbox *to,
                           dw_error *err)
{
    const json_t *list;
    dw_status status = dw__json_array(t->about, "actor", key, 1000000, &list, err);
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        dw_message *message;
        status = read_message(json_array_get(list, i), from, t->settings->options.message_bytes_max,
                              &message, err);
        if (status == DW_OK) {
            dw_mailbox_put(to, message);
        }
    }
    return status;
}

static dw_status read_messages(const thaw *t, dw_error *err)
{
    const dw_snapshot_entry *tensor;
    dw_actor *actor = t->actor;
    messages from = {.count = 0};
    unsigned char *bytes = NULL;
    dw_status status = find_tensor(last_file(t), DW__TENSOR_MESSAGES, "U8", 1, &tensor, err);
    if (status == DW_OK && tensor != NULL) {
        bytes = tensor->bytes <= SIZE_MAX / 2 ? dw_alloc((size_t)tensor->bytes + 1, 1) : NULL;
        from.count = (size_t)tensor->bytes;
        status = bytes != NULL
                     ? dw_snapshot_file_read(last_file(t), tensor, 0, from.count, bytes, err)
                     : dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of messages", from.count);
    }
    from.bytes = bytes;
    if (status == DW_OK) {
        status = read_list(t, "mailbox", &from, &actor->mailbox, err);
    }
    if (status == DW_OK) {
        status = read_list(t, "timers", &from, &actor->timers, err);
    }
    if (status == DW_OK) {
        status = read_list(t, "effects", &from, &actor->effects, err);
    }
    if (status == DW_OK) {
        status = dw__json_whole(t->about, "actor", "effect_number", INT64_MAX,
                                &actor->effect_number, err);
    }
    if (status == DW_OK) {
        status = dw__json_whole(t->about, "actor", "received", INT64_MAX, &actor->received, err);
    }
    dw_free(bytes);
    return status;
}

/* ---- the whole -------------------------------------------------------------------------- */

static dw_status make_actor(thaw *t, dw_error *err)
{
    const char *id = t->options->id;
    dw_status status = id == NULL ? dw__json_text(t->about, "actor", "id", &id, err) : DW_OK;
    if (status == DW_OK && !dw_actor_id_good(id)) {
        status = dw_fail(err, DW_E_FORMAT, "actor: '%.40s' is no id of %d hexadecimal digits", id,
                         DW_ACTOR_ID_CHARS);
    }
    if (status == DW_OK) {
        status = dw_actor_create_bare(&t->actor, t->module, t->settings, id, err);
    }
    return status;
}

static dw_status put_state(thaw *t, dw_error *err)
{
    dw_status status = read_memories(t, err);
    if (status == DW_OK) {
        status = read_globals(t, err);
    }
    if (status == DW_OK) {
        status = read_tables(t, err);
    }
    if (status == DW_OK) {
        status = read_handles(t, err);
    }
    if (status == DW_OK) {
        status = read_messages(t, err);
    }
    return status;
}

static void release(thaw *t)
{
    dw_actor_destroy(t->actor);
    dw_module_unref(t->module);
    dw_actor_settings_unref(t->settings);
    json_decref(t->about);
    for (size_t i = 0; i < t->file_count; i++) {
        dw_snapshot_file_close(t->files[i]);
    }
}

dw_status dw_snapshot_thaw(dw_actor **out, dw_wasm_host *host, const dw_thaw_options *options,
                           dw_thaw_stats *stats, dw_error *err)
{
    dw_thaw_options own;
    thaw t = {.host = host, .options = &own};
    *out = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, options, "dw_thaw_options", err);
    if (status == DW_OK) {
        status = dw_struct_check(stats, "dw_thaw_stats", err);
    }
    if (status == DW_OK) {
        status = open_files(&t, err);
    }
    if (status == DW_OK) {
        status = read_settings(&t, err);
    }
    if (status == DW_OK) {
        status = find_module(&t, err);
    }
    if (status == DW_OK) {
        status = make_actor(&t, err);
    }
    if (status == DW_OK) {
        status = put_state(&t, err);
    }
    if (status == DW_OK && t.options->kv_type == NULL) {
        (void)dw_actor_note_frozen(t.actor, dw_snapshot_file_identity(last_file(&t)), NULL);
    }
    if (status == DW_OK) {
        dw_struct_write(stats, &t.stats, sizeof t.stats);
        *out = t.actor;
        t.actor = NULL;
    }
    release(&t);
    return status;
}
