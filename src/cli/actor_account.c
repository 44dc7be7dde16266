/* What an actor takes of its limits while it lies in its snapshots, told from their description. */
#include <string.h>

#include "cli/actor_state.h"

static uint64_t whole(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

/* Those of `list`, names to texts. */
static void take_limits(dw_limits *limits, const json_t *list)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)list, name, value)
    {
        const char *text = json_string_value(value);
        if (text != NULL && dw_limits_set(limits, name, text, NULL) != DW_OK) {
            continue; /* a later version's */
        }
    }
}

dw_limits dw_cli_actor_limits(const json_t *actor)
{
    dw_limits limits = {.struct_bytes = sizeof limits};
    const json_t *settings = json_object_get(actor, "settings");
    take_limits(&limits, json_object_get(settings, "limits"));
    const struct {
        const char *key; /* where it stands by itself */
        uint64_t *limit;
    } alone[] = {
        {"memory_bytes_max", &limits.memory_bytes},     {"context_count_max", &limits.contexts},
        {"context_tokens_max", &limits.context_tokens}, {"timeout_ms", &limits.timeout_ms},
        {"message_bytes_max", &limits.message_bytes},   {"message_count_max", &limits.messages}};
    for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++) {
        uint64_t set = whole(settings, alone[i].key);
        *alone[i].limit = set != 0 ? set : *alone[i].limit;
    }
    take_limits(&limits, json_object_get(actor, "limits"));
    return limits;
}

static uint64_t usual_limit(const char *name)
{
    for (size_t i = 0; i < dw_limit_count(); i++) {
        dw_limit_info info = {.struct_bytes = sizeof info};
        if (dw_limit_get_info(i, &info, NULL) == DW_OK && strcmp(info.name, name) == 0) {
            return info.usual;
        }
    }
    return DW_LIMIT_NONE;
}

static void put(json_t *account, const char *name, uint64_t now, uint64_t given)
{
    uint64_t limit = given != 0 ? given : usual_limit(name);
    (void)json_object_set_new(
        account, name,
        json_pack("{s:o, s:o}", "now", dw_cli_count_json(now), "limit", dw_cli_count_json(limit)));
}

static uint64_t mail_bytes(const json_t *actor)
{
    static const char *const lists[] = {"mailbox", "timers", "effects"};
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        size_t k;
        const json_t *message;
        json_array_foreach(json_object_get(actor, lists[i]), k, message)
        {
            bytes += whole(message, "bytes");
        }
    }
    return bytes;
}

static uint64_t open_of(const json_t *actor, const char *kind)
{
    size_t i;
    uint64_t count = 0;
    const json_t *item;
    json_array_foreach(json_object_get(actor, "open"), i, item)
    {
        const char *of = json_string_value(json_object_get(item, "kind"));
        count += of != NULL && strcmp(of, kind) == 0;
    }
    return count;
}

static void put_counts(json_t *account, const json_t *actor, const dw_limits *limits)
{
    put(account, "handles", json_array_size(json_object_get(actor, "open")), limits->handles);
    put(account, "contexts", open_of(actor, "context"), limits->contexts);
    put(account, "graphs", open_of(actor, "graph"), limits->graphs);
    put(account, "messages", json_array_size(json_object_get(actor, "mailbox")), limits->messages);
    put(account, "timers", json_array_size(json_object_get(actor, "timers")), limits->timers);
    put(account, "effects", json_array_size(json_object_get(actor, "effects")), limits->effects);
}

/* Of what takes memory only once the actor is loaded: the limit alone. */
static void put_unknown(json_t *account, const char *name, uint64_t given)
{
    uint64_t limit = given != 0 ? given : usual_limit(name);
    (void)json_object_set_new(account, name, json_pack("{s:o}", "limit", dw_cli_count_json(limit)));
}

json_t *dw_cli_actor_account(const json_t *actor)
{
    const dw_limits limits = dw_cli_actor_limits(actor);
    uint64_t linear = 0;
    uint64_t keys = 0;
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(actor, "memories"), i, item)
    {
        linear += (uint64_t)json_integer_value(item) * 65536;
    }
    json_array_foreach(json_object_get(actor, "open"), i, item)
    {
        keys += whole(item, "length") * whole(item, "record_bytes");
    }
    uint64_t mail = mail_bytes(actor);
    json_t *account = json_object();
    put(account, "memory_bytes", linear + keys + mail, limits.memory_bytes);
    put(account, "linear_bytes", linear, limits.linear_bytes);
    put(account, "kv_bytes", keys, limits.kv_bytes);
    put(account, "mail_bytes", mail, limits.mail_bytes);
    put_unknown(account, "tables_bytes", limits.tables_bytes);
    put_unknown(account, "code_bytes", limits.code_bytes);
    put_unknown(account, "samplers_bytes", limits.samplers_bytes);
    put_unknown(account, "texts_bytes", limits.texts_bytes);
    put_unknown(account, "graphs_bytes", limits.graphs_bytes);
    put_counts(account, actor, &limits);
    return account;
}

void dw_cli_actor_account_print(const json_t *account)
{
    const char *name;
    json_t *entry;
    json_object_foreach((json_t *)(uintptr_t)account, name, entry)
    {
        char limit[DW_LIMIT_TEXT_BYTES];
        uint64_t now = whole(entry, "now");
        bool bytes = strstr(name, "_bytes") != NULL;
        dw_limit_format(bytes ? DW_LIMIT_BYTES : DW_LIMIT_COUNT, whole(entry, "limit"), limit);
        if (json_object_get(entry, "now") == NULL) {
            dw_cli_print("taken     %s once it is loaded, limit %s\n", name, limit);
        } else if (bytes) {
            dw_cli_print("taken     %s %.1f MB, limit %s\n", name, (double)now / 1e6, limit);
        } else {
            dw_cli_print("taken     %s %llu, limit %s\n", name, (unsigned long long)now, limit);
        }
    }
}
