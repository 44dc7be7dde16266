/* What a snapshot describes against the limits in force, before memory or disk is taken for any of
 * it: what a file brings with it has no more rights than what a guest makes. The loaders of the
 * parts check the same things again where they use them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "snapshot/snapshot_parts_internal.h"

typedef struct rights {
    const dw__thaw *t;
    dw_limits limits; /* every member is set */
    uint64_t message_count_max;
    uint64_t message_bytes_max;
} rights;

static dw_status refuse(const char *what, uint64_t value, const char *limit, uint64_t most,
                        dw_error *err)
{
    return dw_fail(err, DW_E_LIMIT, "thaw: %s: %" PRIu64 ", limit '%s' is %" PRIu64, what, value,
                   limit, most);
}

/* A list of the description; one that is missing or none is its loader's to tell of. */
static const json_t *list_of(const rights *r, const char *key)
{
    return json_object_get(r->t->about, key);
}

static uint64_t number_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

/* ---- memories and tables ------------------------------------------------------------------ */

static dw_status check_memories(const rights *r, dw_error *err)
{
    const json_t *list = list_of(r, "memories");
    uint64_t bytes = 0;
    size_t count = json_array_size(list);
    if (count > r->limits.memories) {
        return refuse("linear memories", count, "memories", r->limits.memories, err);
    }
    for (size_t i = 0; i < count; i++) {
        json_int_t pages = json_integer_value(json_array_get(list, i));
        bytes += pages > 0 && pages <= 65536 ? (uint64_t)pages * DW__WASM_PAGE_BYTES : 0;
    }
    if (bytes > r->limits.linear_bytes) {
        return refuse("bytes of linear memory", bytes, "linear_bytes", r->limits.linear_bytes, err);
    }
    return bytes <= r->limits.memory_bytes ? DW_OK
                                           : refuse("bytes of linear memory", bytes, "memory_bytes",
                                                    r->limits.memory_bytes, err);
}

static dw_status check_tables(const rights *r, dw_error *err)
{
    const dw_snapshot_file *file = dw__thaw_last_file(r->t);
    uint64_t count = 0;
    for (size_t i = 0; i < dw_snapshot_file_count(file); i++) {
        const dw_snapshot_entry *entry = dw_snapshot_file_at(file, i);
        if (strncmp(entry->name, "table.", 6) != 0) {
            continue;
        }
        if (++count > r->limits.tables) {
            return refuse("tables", count, "tables", r->limits.tables, err);
        }
        if (entry->dimension_count == 1 && entry->shape[0] > r->limits.table_elements) {
            return refuse(entry->name, entry->shape[0], "table_elements", r->limits.table_elements,
                          err);
        }
    }
    return DW_OK;
}

/* ---- handles ------------------------------------------------------------------------------ */

/* What a context holds that the one it is like, which must come before it, does not. What a file
 * says of that it gets as well, where it can be shared: else its loader charges the whole. */
static uint64_t own_length(const json_t *list, size_t at)
{
    const json_t *entry = json_array_get(list, at);
    uint64_t length = number_of(entry, "length");
    uint64_t record_bytes = number_of(entry, "record_bytes");
    const json_t *slot = json_object_get(entry, "like");
    if (!json_is_integer(slot) || record_bytes == 0) {
        return length;
    }
    for (size_t i = 0; i < at; i++) {
        const json_t *other = json_array_get(list, i);
        if (!json_equal(json_object_get(other, "slot"), slot) ||
            number_of(other, "record_bytes") != record_bytes) {
            continue;
        }
        uint64_t common = number_of(entry, "like_bytes") / record_bytes;
        common = common < number_of(other, "length") ? common : number_of(other, "length");
        return length - (common < length ? common : length);
    }
    return length;
}

static dw_status check_context(const json_t *list, size_t at, uint64_t *kv_bytes,
                               const dw_limits *limits, dw_error *err)
{
    const json_t *entry = json_array_get(list, at);
    uint64_t tokens = number_of(entry, "tokens_max");
    uint64_t length = number_of(entry, "length");
    uint64_t record_bytes = number_of(entry, "record_bytes");
    uint64_t bytes;
    if (tokens > limits->context_tokens) {
        return refuse("tokens of a context", tokens, "context_tokens", limits->context_tokens, err);
    }
    if (__builtin_mul_overflow(own_length(list, at), record_bytes, &bytes) ||
        __builtin_add_overflow(*kv_bytes, bytes, kv_bytes) || *kv_bytes > limits->kv_bytes) {
        return refuse("tokens in contexts whose keys and values take more", length, "kv_bytes",
                      limits->kv_bytes, err);
    }
    return DW_OK;
}

static dw_status check_handles(const rights *r, dw_error *err)
{
    const json_t *list = list_of(r, "open");
    size_t count = json_array_size(list);
    uint64_t contexts = 0;
    uint64_t graphs = 0;
    uint64_t kv_bytes = 0;
    if (count > r->limits.handles) {
        return refuse("open handles", count, "handles", r->limits.handles, err);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(list, i);
        const char *kind = json_string_value(json_object_get(entry, "kind"));
        dw_status status = DW_OK;
        kind = kind != NULL ? kind : "";
        if (strcmp(kind, dw_handle_types[DW_HANDLE_CONTEXT].name) == 0) {
            contexts++;
            status = contexts <= r->limits.contexts
                         ? check_context(list, i, &kv_bytes, &r->limits, err)
                         : refuse("open contexts", contexts, "contexts", r->limits.contexts, err);
        }
        graphs += strcmp(kind, dw_handle_types[DW_HANDLE_GRAPH].name) == 0;
        if (status != DW_OK) {
            return status;
        }
    }
    return graphs <= r->limits.graphs
               ? DW_OK
               : refuse("open tensor graphs", graphs, "graphs", r->limits.graphs, err);
}

/* ---- messages and counters ---------------------------------------------------------------- */

static dw_status check_messages(const rights *r, const char *key, const char *limit, uint64_t most,
                                uint64_t *mail_bytes, dw_error *err)
{
    const json_t *list = list_of(r, key);
    size_t count = json_array_size(list);
    if (count > most) {
        return refuse(key, count, limit, most, err);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(list, i);
        uint64_t bytes = number_of(entry, "bytes");
        uint64_t number = number_of(entry, "number");
        if (bytes > r->message_bytes_max) {
            return refuse("bytes of a message", bytes, "message_bytes", r->message_bytes_max, err);
        }
        *mail_bytes += bytes; /* at most 2^20 of below 2^32 */
        if (number > DW_ACTOR_COUNTER_MAX) {
            return dw_fail(err, DW_E_LIMIT, "thaw: %s: number %" PRIu64 ", limit %" PRIu64, key,
                           number, DW_ACTOR_COUNTER_MAX);
        }
    }
    return *mail_bytes <= r->limits.mail_bytes
               ? DW_OK
               : refuse("bytes of messages", *mail_bytes, "mail_bytes", r->limits.mail_bytes, err);
}

/* The next effect's number must be larger than this, and the one after it. */
static dw_status check_counters(const rights *r, dw_error *err)
{
    static const char *const keys[] = {"effect_number", "received"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        uint64_t value = number_of(r->t->about, keys[i]);
        if (value > DW_ACTOR_COUNTER_MAX) {
            return dw_fail(err, DW_E_LIMIT, "thaw: '%s' is %" PRIu64 ", limit %" PRIu64, keys[i],
                           value, DW_ACTOR_COUNTER_MAX);
        }
    }
    return DW_OK;
}

static dw_status check_mail(const rights *r, dw_error *err)
{
    const struct {
        const char *key;
        const char *limit;
        uint64_t most;
    } lists[] = {
        {"mailbox", "messages", r->message_count_max},
        {"timers", "timers", r->limits.timers},
        {"effects", "effects", r->limits.effects},
        {"tickets", "tickets", r->limits.tickets},
    };
    uint64_t mail_bytes = 0;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        dw_status status =
            check_messages(r, lists[i].key, lists[i].limit, lists[i].most, &mail_bytes, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return check_counters(r, err);
}

dw_status dw__rights_check(const dw__thaw *t, dw_error *err)
{
    const dw_actor_settings *settings = t->settings;
    rights r = {.t = t,
                .message_count_max = settings->options.message_count_max,
                .message_bytes_max = settings->options.message_bytes_max};
    dw_status status = dw_instance_limits_of(&r.limits, &settings->instance, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_memories(&r, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_tables(&r, err);
    if (status != DW_OK) {
        return status;
    }
    status = check_handles(&r, err);
    return status == DW_OK ? check_mail(&r, err) : status;
}
