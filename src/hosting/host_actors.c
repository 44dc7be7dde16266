/* Actors looked at and changed. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "hosting/host.h"

#define LIST_MAX 1000
#define PAGE 256
#define ANSWER_BYTES_MAX ((size_t)64 << 20)

/* ---- which actor ---------------------------------------------------------------------------- */

/* "@NAME", or for the user himself "TENANT@NAME". */
static dw_status find_name(dw__op *op, const char *at, dw_error *err)
{
    char tenant[DW_TENANT_NAME_MAX + 1];
    size_t length = (size_t)(at - op->parts[0]);
    if (length > DW_TENANT_NAME_MAX) {
        return dw_fail(err, DW_E_NOT_FOUND, "no tenant '%.80s'", op->parts[0]);
    }
    memcpy(tenant, op->parts[0], length);
    tenant[length] = '\0';
    bool own = op->own_user || length == 0 || strcmp(tenant, op->tenant) == 0;
    if (!own) {
        return dw_fail(err, DW_E_NOT_FOUND, "no actor '%.80s'", op->parts[0]);
    }
    return dw_runtime_find(op->runtime, op->own_user ? tenant : op->tenant, at + 1, op->actor, err);
}

dw_status dw__op_find(dw__op *op, dw_error *err)
{
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    const char *given = op->parts[0];
    const char *at = strrchr(given, '@');
    dw_status status = DW_OK;
    op->param = "id";
    if (at != NULL) {
        status = find_name(op, at, err);
    } else if (op->own_user && strlen(given) < DW_ACTOR_ID_CHARS) {
        status = dw_runtime_find_id(op->runtime, given, op->actor, err);
    } else if (strlen(given) != DW_ACTOR_ID_CHARS) {
        status = dw_fail(err, DW_E_ARG,
                         "'%.40s' is neither an id, of %d hexadecimal digits, nor "
                         "@NAME",
                         given, DW_ACTOR_ID_CHARS);
    } else {
        memcpy(op->actor, given, sizeof op->actor);
    }
    if (status == DW_OK && !op->own_user) {
        status = dw_runtime_get_actor_info(op->runtime, op->actor, &info, err);
        if (status == DW_OK && strcmp(info.tenant, op->tenant) != 0) { /* as if it were not there */
            status = dw_fail(err, DW_E_NOT_FOUND, "no actor %s", op->actor);
        }
    }
    if (status == DW_OK) {
        op->param = NULL;
    }
    return status;
}

dw_status dw__op_group(const dw__op *op, const char *given, char *text, dw_error *err)
{
    if (strchr(given, '#') != NULL && op->own_user) {
        (void)snprintf(text, DW__PART_BYTES, "%s", given);
        return DW_OK;
    }
    if (strchr(given, '#') != NULL) {
        return dw_fail(err, DW_E_ARG, "'%.60s': a group's name has no '#'", given);
    }
    int length = snprintf(text, DW__PART_BYTES, "%s#%s", op->tenant, given);
    return length < DW__PART_BYTES ? DW_OK : dw_fail(err, DW_E_ARG, "the group's name is too long");
}

bool dw__op_is_own_user(dw__op *op)
{
    dw_fault fault = {.status = 0};
    if (op->own_user) {
        return true;
    }
    dw_fault_set(&fault, 403, NULL, "this concerns all tenants: ask at the state folder's socket");
    dw__op_refuse(op, &fault);
    return false;
}

json_t *dw__count_json(uint64_t count)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)count);
    return count <= INT64_MAX ? json_integer((json_int_t)count) : json_string(text);
}

void dw__op_answer_actor(dw__op *op)
{
    if (op->status == DW_OK && op->result == NULL) {
        op->result = json_pack("{s:s}", "id", op->actor);
        if (op->number != 0) {
            (void)json_object_set_new(op->result, "number", dw__count_json(op->number));
        }
        if (op->written.struct_bytes != 0) {
            (void)json_object_update_new(
                op->result, json_pack("{s:s, s:o, s:o, s:o}", "identity", op->written.identity,
                                      "file_bytes", dw__count_json(op->written.file_bytes),
                                      "kv_bytes", dw__count_json(op->written.kv_bytes),
                                      "memory_bytes", dw__count_json(op->written.memory_bytes)));
        }
    }
    dw__op_answer(op);
}

/* ---- one ------------------------------------------------------------------------------------ */

json_t *dw__op_describe(dw__op *op, const char *id, dw_error *err)
{
    dw_text_room text = {.capacity = 16384};
    json_t *value = NULL;
    dw_status status = DW_E_SPACE;
    while (status == DW_E_SPACE && text.capacity <= ANSWER_BYTES_MAX) {
        dw_free(text.items);
        text.capacity *= 2;
        text.items = dw_alloc(text.capacity, 1);
        status = text.items != NULL ? dw_runtime_describe(op->runtime, id, &text, err)
                                    : dw_fail(err, DW_E_MEMORY, "no memory for a description");
    }
    if (status == DW_OK) {
        value = json_loadb(text.items, text.count, 0, NULL);
    }
    dw_free(text.items);
    return value;
}

static dw_status show_work(dw__op *op, dw_error *err)
{
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        op->result = dw__op_describe(op, op->actor, err);
        status = op->result != NULL ? DW_OK : err->code != DW_OK ? err->code : DW_E_MEMORY;
    }
    if (status == DW_OK) {
        status = dw_runtime_get_actor_info(op->runtime, op->actor, &info, err);
    }
    if (status == DW_OK) {
        (void)json_object_update_new(
            op->result,
            json_pack("{s:o, s:o, s:o}", "snapshots", dw__count_json(info.snapshot_count),
                      "snapshot_bytes", dw__count_json(info.snapshot_bytes), "done",
                      dw__count_json(info.snapshot_done)));
    }
    return status;
}

DW__HANDLER(dw__on_actors_show)
{
    (void)server;
    (void)exchange;
    op->work = show_work;
    dw__op_begin(op);
}

static void add_path(void *user, const char *path)
{
    json_t *text = json_string(path); /* a folder may be called what is no UTF-8 */
    (void)json_array_append_new(user, text != NULL ? text : json_null());
}

static dw_status files_work(dw__op *op, dw_error *err)
{
    json_t *list = json_array();
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        status = dw_runtime_list_paths(op->runtime, op->actor, add_path, list, err);
    }
    op->result = json_pack("{s:s, s:o}", "id", op->actor, "paths", list);
    return status;
}

/* Where its files are is for the user himself. */
DW__HANDLER(dw__on_actors_files)
{
    (void)server;
    (void)exchange;
    if (dw__op_is_own_user(op)) {
        op->work = files_work;
        dw__op_begin(op);
    }
}

static dw_status freezes_work(dw__op *op, dw_error *err)
{
    uint64_t numbers[64];
    size_t count = 0;
    json_t *list = json_array();
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        status = dw_runtime_list_freezes(op->runtime, op->actor, numbers,
                                         sizeof numbers / sizeof numbers[0], &count, err);
    }
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(list, dw__count_json(numbers[i]));
    }
    op->result = json_pack("{s:s, s:o}", "object", "list", "data", list);
    return status;
}

DW__HANDLER(dw__on_actors_freezes)
{
    (void)server;
    (void)exchange;
    op->work = freezes_work;
    dw__op_begin(op);
}

/* ---- many ----------------------------------------------------------------------------------- */

typedef struct listing {
    dw__op *op;
    json_t *list;
    size_t wanted;
    bool all; /* tenants' */
    char last[DW_ACTOR_ID_CHARS + 1];
    size_t seen; /* in the page */
    bool more;
} listing;

static json_t *info_json(const char *id, const dw_runtime_actor_info *info)
{
    json_t *one =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:b, s:b, s:b}", "id", id, "parent", info->parent,
                  "depth", (int)info->depth, "tenant", info->tenant, "name", info->name, "working",
                  info->working, "resident", info->resident, "pinned", info->pinned);
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"snapshots", info->snapshot_count},
        {"bytes", info->snapshot_bytes},
        {"waiting", info->waiting},
        {"set_aside", info->set_aside},
        {"done", info->snapshot_done},
        {"messages", info->done},
        {"failed", info->failed},
        {"restarts", info->restarts},
        {"freezes", info->freezes},
        {"memory_bytes", info->memory_bytes},
        {"prompt_tokens", info->prompt_tokens},
        {"generated_tokens", info->generated_tokens},
    };
    for (size_t i = 0; one != NULL && i < sizeof numbers / sizeof numbers[0]; i++) {
        (void)json_object_set_new(one, numbers[i].name, dw__count_json(numbers[i].value));
    }
    return one;
}

static void take_info(void *user, const char *id, const dw_runtime_actor_info *info,
                      const dw_error *problem)
{
    listing *to = user;
    to->seen++;
    if (json_array_size(to->list) >= to->wanted) {
        to->more =
            to->more || to->all || (problem == NULL && strcmp(info->tenant, to->op->tenant) == 0);
        return;
    }
    (void)snprintf(to->last, sizeof to->last, "%s", id);
    if (problem != NULL) {
        if (to->all) {
            (void)json_array_append_new(
                to->list, json_pack("{s:s, s:{s:s, s:s}}", "id", id, "problem", "code",
                                    dw_status_name(problem->code), "message", problem->message));
        }
    } else if (to->all || strcmp(info->tenant, to->op->tenant) == 0) {
        json_t *one = info_json(id, info);
        if (one == NULL) { /* a tenant's name that is no UTF-8 */
            one = json_pack("{s:s}", "id", id);
        }
        (void)json_array_append_new(to->list, one);
    }
}

static dw_status list_work(dw__op *op, dw_error *err)
{
    listing to = {.op = op, .list = json_array(), .wanted = op->number, .all = op->flag};
    dw_status status = DW_OK;
    (void)snprintf(to.last, sizeof to.last, "%s", op->actor);
    do {
        to.seen = 0;
        status = dw_runtime_list_infos(op->runtime, to.last[0] != '\0' ? to.last : NULL, PAGE,
                                       take_info, &to, err);
    } while (status == DW_OK && to.seen == PAGE && !to.more && !dw__op_is_left(op) &&
             (json_array_size(to.list) < to.wanted || !to.more));
    if (status != DW_OK) {
        op->param = status == DW_E_ARG ? "after" : NULL;
    }
    op->result =
        json_pack("{s:s, s:o, s:b}", "object", "list", "data", to.list, "has_more", to.more);
    return status;
}

DW__HANDLER(dw__on_actors_list)
{
    char after[DW_ACTOR_ID_CHARS + 2] = "";
    char tenant[DW_TENANT_NAME_MAX + 1];
    dw_fault fault = {.status = 0};
    (void)server;
    op->number = dw_url_whole(exchange, "limit", 1, LIST_MAX, 100, &fault);
    (void)dw_url_text(exchange, "after", after, sizeof after, &fault);
    size_t length = strlen(after);
    if (length != 0 &&
        (length != DW_ACTOR_ID_CHARS || strspn(after, "0123456789abcdef") != DW_ACTOR_ID_CHARS)) {
        dw_fault_set(&fault, 400, "after", "after is '%.20s'; an actor's id is wanted", after);
    }
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    memcpy(op->actor, after, sizeof op->actor);
    op->flag = op->own_user && !dw_url_text(exchange, "tenant", tenant, sizeof tenant, &fault);
    op->is_long = true; /* it looks at other tenants' as well */
    op->work = list_work;
    dw__op_begin(op);
}

/* ---- changes -------------------------------------------------------------------------------- */

static bool read_priority(const char *text, dw_priority *priority)
{
    static const char *const names[] = {"normal", "high", "low"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], text) == 0) {
            *priority = (dw_priority)i;
            return true;
        }
    }
    return false;
}

static dw_status change_work(dw__op *op, dw_error *err)
{
    const json_t *name = json_object_get(op->body, "name");
    const json_t *pinned = json_object_get(op->body, "pinned");
    const json_t *priority = json_object_get(op->body, "priority");
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK && name != NULL) {
        op->param = "name";
        status = dw_runtime_set_name(op->runtime, op->actor, json_string_value(name), err);
    }
    if (status == DW_OK && pinned != NULL) {
        op->param = "pinned";
        status = dw_runtime_set_pinned(op->runtime, op->actor, json_is_true(pinned), err);
    }
    dw_priority value = DW_PRIORITY_NORMAL;
    if (status == DW_OK && priority != NULL && read_priority(json_string_value(priority), &value)) {
        op->param = "priority";
        status = dw_runtime_set_priority(op->runtime, op->actor, value, err);
    }
    return status;
}

DW__HANDLER(dw__on_actors_change)
{
    static const char *const names[] = {"name", "pinned", "priority"};
    dw_fault fault = {.status = 0};
    dw_priority value;
    (void)server;
    (void)exchange;
    dw__only(op->body, names, sizeof names / sizeof names[0], &fault);
    (void)dw_params_string(op->body, "name", &fault);
    (void)dw_params_truth(op->body, "pinned", false, &fault);
    const char *priority = dw_params_string(op->body, "priority", &fault);
    if (priority != NULL && !read_priority(priority, &value)) {
        dw_fault_set(&fault, 400, "priority", "priority is '%.40s'; high, normal or low is wanted",
                     priority);
    }
    if (dw_params_has(op->body, "name") == false) { /* null takes the name away */
        const json_t *name = json_object_get(op->body, "name");
        if (name != NULL && !json_is_null(name)) {
            dw_fault_set(&fault, 400, "name", "name is a text or null");
        }
    }
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    op->work = change_work;
    op->on_end = dw__op_answer_actor;
    dw__op_begin(op);
}

static dw_status stop_work(dw__op *op, dw_error *err)
{
    uint64_t count = 1;
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        status = op->flag ? dw_runtime_stop_tree(op->runtime, op->actor, &count, err)
                          : dw_runtime_stop(op->runtime, op->actor, err);
    }
    op->result = json_pack("{s:s, s:o}", "id", op->actor, "stopped", dw__count_json(count));
    return status;
}

DW__HANDLER(dw__on_actors_stop)
{
    dw_fault fault = {.status = 0};
    (void)server;
    op->flag = dw_url_truth(exchange, "tree", false, &fault);
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    op->work = stop_work;
    dw__op_begin(op);
}

static dw_status stop_all_work(dw__op *op, dw_error *err)
{
    uint64_t count = 0;
    dw_status status = dw_runtime_stop_all(op->runtime, &count, err);
    op->result = json_pack("{s:o}", "stopped", dw__count_json(count));
    return status;
}

DW__HANDLER(dw__on_actors_stop_all)
{
    (void)server;
    (void)exchange;
    if (dw__op_is_own_user(op)) {
        op->work = stop_all_work;
        dw__op_begin(op);
    }
}

static dw_status interrupt_work(dw__op *op, dw_error *err)
{
    dw_status status = dw__op_find(op, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_runtime_interrupt(op->runtime, op->actor, err);
    return status == DW_E_END ? dw_fail(err, DW_E_STATE, "the actor works on nothing") : status;
}

DW__HANDLER(dw__on_actors_interrupt)
{
    (void)server;
    (void)exchange;
    op->work = interrupt_work;
    op->on_end = dw__op_answer_actor;
    dw__op_begin(op);
}

/* ---- what ends later ------------------------------------------------------------------------ */

typedef dw_status (*beginning)(dw_runtime *runtime, const char *id, dw_runtime_end_fn on_end,
                               void *user, dw_error *err);

static dw_status begin_with(dw__op *op, beginning begin, dw_error *err)
{
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        dw__op_expect(op);
        status = begin(op->runtime, op->actor, dw__op_on_end, op, err);
        if (status != DW_OK) {
            dw__op_part(op);
        }
    }
    return status;
}

static dw_status freeze_work(dw__op *op, dw_error *err)
{
    return begin_with(op, dw_runtime_begin_freeze, err);
}

static dw_status park_work(dw__op *op, dw_error *err)
{
    return begin_with(op, dw_runtime_begin_park, err);
}

static dw_status thaw_work(dw__op *op, dw_error *err)
{
    return begin_with(op, dw_runtime_begin_thaw, err);
}

static dw_status rewind_work(dw__op *op, dw_error *err)
{
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        dw__op_expect(op);
        op->param = "number";
        status =
            dw_runtime_begin_rewind(op->runtime, op->actor, op->number, dw__op_on_end, op, err);
        if (status != DW_OK) {
            dw__op_part(op);
        }
    }
    return status;
}

static dw_status fork_work(dw__op *op, dw_error *err)
{
    char child[DW_ACTOR_ID_CHARS + 1];
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        dw__op_expect(op);
        status = dw_runtime_begin_fork(op->runtime, op->actor, child, dw__op_on_end, op, err);
        if (status != DW_OK) {
            dw__op_part(op);
        }
    }
    return status;
}

static void begin(dw__op *op, dw_status (*work)(dw__op *op, dw_error *err))
{
    op->work = work;
    op->on_end = dw__op_answer_actor;
    dw__op_begin(op);
}

DW__HANDLER(dw__on_actors_freeze)
{
    (void)server;
    (void)exchange;
    begin(op, freeze_work);
}

DW__HANDLER(dw__on_actors_park)
{
    (void)server;
    (void)exchange;
    begin(op, park_work);
}

DW__HANDLER(dw__on_actors_thaw)
{
    (void)server;
    (void)exchange;
    begin(op, thaw_work);
}

DW__HANDLER(dw__on_actors_fork)
{
    (void)server;
    (void)exchange;
    op->http = 201;
    begin(op, fork_work);
}

DW__HANDLER(dw__on_actors_rewind)
{
    static const char *const names[] = {"number"};
    dw_fault fault = {.status = 0};
    (void)server;
    (void)exchange;
    dw__only(op->body, names, 1, &fault);
    op->number = (uint64_t)dw_params_whole(op->body, "number", 0, INT64_MAX, 0, &fault);
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    begin(op, rewind_work);
}

static dw_status upgrade_work(dw__op *op, dw_error *err)
{
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        status = dw__op_find_module(op, err);
    }
    if (status == DW_OK) {
        dw__op_expect(op);
        status =
            dw_runtime_begin_upgrade(op->runtime, op->actor, op->module, dw__op_on_end, op, err);
        if (status != DW_OK) {
            dw__op_part(op);
        }
    }
    return status;
}

DW__HANDLER(dw__on_actors_upgrade)
{
    static const char *const names[] = {"module", "guest"};
    dw_fault fault = {.status = 0};
    (void)server;
    (void)exchange;
    dw__only(op->body, names, sizeof names / sizeof names[0], &fault);
    const char *module = dw_params_string(op->body, "module", &fault);
    const char *guest = dw_params_string(op->body, "guest", &fault);
    if ((module != NULL) == (guest != NULL)) {
        dw_fault_set(&fault, 400, "module", "module, a hash, or guest, a name, is wanted");
    }
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    op->is_long = true; /* it may be compiled */
    begin(op, upgrade_work);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static dw_status wait_work(dw__op *op, dw_error *err)
{
    dw_status status = DW_E_LIMIT;
    while (status == DW_E_LIMIT && !dw__op_is_left(op)) { /* by and by: the server may leave */
        status = dw_runtime_wait(op->runtime, 100, err);
    }
    return status == DW_E_LIMIT ? dw_fail(err, DW_E_STATE, "the server is shutting down") : status;
}

DW__HANDLER(dw__on_runtime_wait)
{
    (void)server;
    (void)exchange;
    if (dw__op_is_own_user(op)) {
        op->is_long = true;
        op->work = wait_work;
        dw__op_begin(op);
    }
}

/* Only what is the tenant's. */
static void keep_own(const dw__op *op, json_t *root, const char *list, const char *member)
{
    json_t *items = json_object_get(root, list);
    size_t i = json_array_size(items);
    while (i-- > 0) {
        const char *of = json_string_value(json_object_get(json_array_get(items, i), member));
        if (of == NULL || strcmp(of, op->tenant) != 0) {
            (void)json_array_remove(items, i);
        }
    }
}

static ptrdiff_t take_text(void *user, const unsigned char *bytes, size_t count)
{
    return dw_text_add(user, bytes, count) ? (ptrdiff_t)count : -1;
}

static dw_status overview_work(dw__op *op, dw_error *err)
{
    const dw_overview_options how = {.struct_bytes = sizeof how,
                                     .order = (dw_overview_order)op->timeout_ms,
                                     .actors_max = (uint32_t)op->number};
    dw_text text = {.bytes = NULL};
    dw_status status = dw_runtime_overview(op->runtime, &how, take_text, &text, err);
    if (status == DW_OK) {
        op->result = json_loadb(text.bytes, text.count, 0, NULL);
        status = op->result != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for an answer");
    }
    dw_text_free(&text);
    if (status == DW_OK && op->flag) { /* of others it says nothing, nor how much there is */
        keep_own(op, op->result, "actors", "tenant");
        keep_own(op, op->result, "tenants", "name");
        (void)json_object_del(op->result, "runtime");
        (void)json_object_del(op->result, "scheduler");
        (void)json_object_del(op->result, "actors_left_out");
        (void)json_object_del(op->result, "resident_bytes");
    }
    return status;
}

DW__HANDLER(dw__on_overview_show)
{
    static const char *const orders[] = {"device", "guest", "tokens", "memory", "waiting"};
    char order[16] = "device";
    dw_fault fault = {.status = 0};
    op->number = dw_url_whole(exchange, "actors", 1, 4096, 256, &fault);
    bool given = dw_url_text(exchange, "order", order, sizeof order, &fault);
    size_t index = 0;
    while (index < sizeof orders / sizeof orders[0] && strcmp(orders[index], order) != 0) {
        index++;
    }
    if (given && index == sizeof orders / sizeof orders[0]) {
        dw_fault_set(&fault, 400, "order",
                     "order is '%.14s'; device, guest, tokens, memory or "
                     "waiting is wanted",
                     order);
    }
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    op->timeout_ms = index;
    op->flag = !op->own_user && server->keys != NULL;
    op->work = overview_work;
    dw__op_begin(op);
}
