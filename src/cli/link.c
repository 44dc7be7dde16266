#include "cli/link.h"

#include <stdlib.h>
#include <string.h>

#include "cli/remote.h"

/* ---- asking --------------------------------------------------------------------------------- */

/* A number that may have come as text. */
static uint64_t count_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? strtoull(json_string_value(value), NULL, 10)
                                 : (uint64_t)json_integer_value(value);
}

#define DESCRIPTION_BYTES ((size_t)1 << 16) /* at first */
#define DESCRIPTION_BYTES_MAX ((size_t)16 << 20)

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* "/v1/actors/ID" and what follows. */
static dw_status ask(const dw_cli_actors *actors, const char *method, const char *id,
                     const char *rest, json_t **answer, dw_error *err)
{
    char path[2048];
    (void)snprintf(path, sizeof path, "/v1/actors%s%s%s", id != NULL ? "/" : "",
                   id != NULL ? id : "", rest);
    return dw_cli_remote_call(actors->remote, method, path, NULL, answer, err);
}

static void take_id(const json_t *answer, char id[DW_ACTOR_ID_CHARS + 1])
{
    (void)snprintf(id, DW_ACTOR_ID_CHARS + 1, "%s", text_of(answer, "id"));
}

/* ---- changes -------------------------------------------------------------------------------- */

dw_status dw_cli_at_stop(dw_cli_actors *actors, const char *id, dw_error *err)
{
    return actors->remote != NULL ? ask(actors, "DELETE", id, "", NULL, err)
                                  : dw_runtime_stop(actors->runtime, id, err);
}

static dw_status stop_many(dw_cli_actors *actors, const char *id, const char *rest, uint64_t *count,
                           dw_error *err)
{
    json_t *answer = NULL;
    dw_status status = ask(actors, "DELETE", id, rest, &answer, err);
    *count = count_of(answer, "stopped");
    json_decref(answer);
    return status;
}

dw_status dw_cli_at_stop_tree(dw_cli_actors *actors, const char *id, uint64_t *count, dw_error *err)
{
    return actors->remote != NULL ? stop_many(actors, id, "?tree=true", count, err)
                                  : dw_runtime_stop_tree(actors->runtime, id, count, err);
}

dw_status dw_cli_at_stop_all(dw_cli_actors *actors, uint64_t *count, dw_error *err)
{
    return actors->remote != NULL ? stop_many(actors, NULL, "", count, err)
                                  : dw_runtime_stop_all(actors->runtime, count, err);
}

dw_status dw_cli_at_rewind(dw_cli_actors *actors, const char *id, uint64_t number, dw_error *err)
{
    char path[128];
    if (actors->remote == NULL) {
        return dw_runtime_rewind(actors->runtime, id, number, err);
    }
    (void)snprintf(path, sizeof path, "/v1/actors/%s/rewind", id);
    return dw_cli_remote_call(actors->remote, "POST", path,
                              json_pack("{s:I}", "number", (json_int_t)number), NULL, err);
}

dw_status dw_cli_at_fork(dw_cli_actors *actors, const char *id, char child[DW_ACTOR_ID_CHARS + 1],
                         dw_error *err)
{
    json_t *answer = NULL;
    if (actors->remote == NULL) {
        return dw_runtime_fork(actors->runtime, id, child, err);
    }
    dw_status status = ask(actors, "POST", id, "/fork", &answer, err);
    take_id(answer, child);
    json_decref(answer);
    return status;
}

/* How it ended, and what it has written. */
typedef struct frozen {
    dw_error error;
    uint64_t number;
    dw_freeze_stats *stats;
} frozen;

static void on_frozen(void *user, const dw_runtime_end *end)
{
    frozen *to = user;
    if (end->status != DW_OK) {
        to->error = *end->error;
    } else if (end->written != NULL) {
        *to->stats = *end->written;
    }
    to->error.code = end->status;
    to->number = end->number;
}

static dw_status freeze_here(dw_cli_actors *actors, const char *id, uint64_t *number,
                             dw_freeze_stats *stats, dw_error *err)
{
    frozen to = {.error = {.message = ""}, .stats = stats};
    dw_status status = dw_runtime_begin_freeze(actors->runtime, id, on_frozen, &to, err);
    if (status == DW_OK) {
        status = dw_runtime_wait(actors->runtime, 0, err);
    }
    if (status == DW_OK && to.error.code != DW_OK) {
        *err = to.error;
        status = err->code;
    }
    *number = to.number;
    return status;
}

dw_status dw_cli_at_freeze(dw_cli_actors *actors, const char *id, uint64_t *number,
                           dw_freeze_stats *stats, dw_error *err)
{
    json_t *answer = NULL;
    if (actors->remote == NULL) {
        return freeze_here(actors, id, number, stats, err);
    }
    dw_status status = ask(actors, "POST", id, "/freeze", &answer, err);
    *number = count_of(answer, "number");
    (void)snprintf(stats->identity, sizeof stats->identity, "%s", text_of(answer, "identity"));
    stats->file_bytes = count_of(answer, "file_bytes");
    stats->kv_bytes = count_of(answer, "kv_bytes");
    stats->memory_bytes = count_of(answer, "memory_bytes");
    json_decref(answer);
    return status;
}

dw_status dw_cli_at_work(dw_cli_actors *actors, dw_work_kind what, dw_error *err)
{
    if (actors->remote == NULL) {
        return dw_runtime_work(actors->runtime, what, err);
    }
    return what == DW_WORK_ALL
               ? dw_cli_remote_call(actors->remote, "POST", "/v1/runtime/wait", NULL, NULL, err)
               : DW_OK;
}

/* ---- messages ------------------------------------------------------------------------------- */

/* Events of an answer, as they come. */
typedef struct stream {
    const dw_request *request;
    char *line; /* [count] */
    size_t count;
    size_t capacity;
    char type[16];
    bool ended;
    dw_status status;
    dw_error error;
} stream;

static int digit_of(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* In place; -> bytes. */
static size_t from_base64(char *text)
{
    size_t count = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (const char *at = text; *at != '\0' && digit_of(*at) >= 0; at++) {
        bits = bits << 6 | (uint32_t)digit_of(*at);
        held += 6;
        if (held >= 8) {
            held -= 8;
            text[count++] = (char)(bits >> held & 0xFF);
        }
    }
    return count;
}

/* All of it, however slowly it is taken. */
static bool pass_on(stream *to, const char *bytes, size_t count)
{
    while (count > 0 && to->request->on_answer != NULL) {
        ptrdiff_t taken =
            to->request->on_answer(to->request->user, (const unsigned char *)bytes, count);
        if (taken < 0) {
            return false;
        }
        bytes += taken;
        count -= (size_t)taken;
    }
    return true;
}

static bool take_event(stream *to, json_t *event)
{
    const json_t *text = json_object_get(event, "text");
    const char *coded = json_string_value(json_object_get(event, "base64"));
    bool good = true;
    if (strcmp(to->type, "end") == 0) {
        to->ended = true;
    } else if (strcmp(to->type, "error") == 0) {
        to->ended = true;
        to->status = dw_cli_remote_failure(event, &to->error);
    } else if (coded != NULL) {
        char *bytes = strdup(coded);
        good = bytes != NULL && pass_on(to, bytes, from_base64(bytes));
        free(bytes);
    } else if (json_is_string(text)) {
        good = pass_on(to, json_string_value(text), json_string_length(text));
    }
    return good;
}

static bool take_line(stream *to)
{
    static const char event[] = "event: ";
    static const char data[] = "data: ";
    to->line[to->count] = '\0';
    bool good = true;
    if (strncmp(to->line, event, sizeof event - 1) == 0) {
        (void)snprintf(to->type, sizeof to->type, "%s", to->line + sizeof event - 1);
    } else if (strncmp(to->line, data, sizeof data - 1) == 0) {
        json_t *value = json_loadb(to->line + sizeof data - 1, to->count - (sizeof data - 1),
                                   JSON_ALLOW_NUL, NULL);
        good = value != NULL && take_event(to, value);
        json_decref(value);
    }
    to->count = 0;
    return good;
}

static ptrdiff_t on_piece(void *user, const unsigned char *bytes, size_t count)
{
    stream *to = user;
    if (to->count + count + 1 > to->capacity) {
        size_t capacity = 2 * (to->count + count + 1);
        char *grown = dw_cli_realloc(to->line, capacity, 1);
        if (grown == NULL) {
            return -1;
        }
        to->line = grown;
        to->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != '\n') {
            to->line[to->count++] = (char)bytes[i];
        } else if (!take_line(to)) {
            return -1;
        }
    }
    return (ptrdiff_t)count;
}

static dw_status call_there(dw_cli_actors *actors, const char *id, const dw_request *request,
                            dw_error *err)
{
    char path[160];
    stream to = {.request = request, .error = {.message = ""}};
    (void)snprintf(path, sizeof path, "/v1/actors/%s/messages?timeout_ms=%llu", id,
                   (unsigned long long)request->timeout_ms);
    const dw_cli_asked what = {.method = "POST",
                               .path = path,
                               .accept = "text/event-stream",
                               .body = request->message,
                               .bytes = request->message_bytes,
                               .fd = -1,
                               .on_piece = on_piece,
                               .user = &to};
    dw_status status = dw_cli_remote_ask(actors->remote, &what, NULL, err);
    free(to.line);
    if (status == DW_OK && to.status != DW_OK) {
        *err = to.error;
        status = to.status;
    }
    if (status == DW_OK && !to.ended) {
        status = dw_fail(err, DW_E_IO, "the answer broke off");
    }
    if (request->on_answered != NULL && status == DW_OK) {
        status = request->on_answered(request->user, status, err);
    }
    return status;
}

dw_status dw_cli_at_call(dw_cli_actors *actors, const char *id, const dw_request *request,
                         dw_error *err)
{
    return actors->remote != NULL ? call_there(actors, id, request, err)
                                  : dw_runtime_call(actors->runtime, id, request, err);
}

/* ---- looking -------------------------------------------------------------------------------- */

static dw_runtime_actor_info info_of(const json_t *one)
{
    dw_runtime_actor_info info = {.struct_bytes = sizeof info,
                                  .depth = (uint32_t)count_of(one, "depth"),
                                  .snapshot_count = count_of(one, "snapshots"),
                                  .snapshot_bytes = count_of(one, "bytes"),
                                  .snapshot_done = count_of(one, "done"),
                                  .waiting = count_of(one, "waiting"),
                                  .set_aside = count_of(one, "set_aside")};
    (void)snprintf(info.parent, sizeof info.parent, "%s", text_of(one, "parent"));
    (void)snprintf(info.tenant, sizeof info.tenant, "%s", text_of(one, "tenant"));
    (void)snprintf(info.name, sizeof info.name, "%s", text_of(one, "name"));
    return info;
}

static dw_status list_there(dw_cli_actors *actors, const char *after, size_t max,
                            dw_runtime_info_fn take, void *user, dw_error *err)
{
    char rest[96];
    json_t *answer = NULL;
    size_t i;
    json_t *one;
    size_t told = 0;
    char last[DW_ACTOR_ID_CHARS + 1] = "";
    bool more = true;
    dw_status status = DW_OK;
    (void)snprintf(last, sizeof last, "%s", after != NULL ? after : "");
    while (status == DW_OK && more && told < max) {
        (void)snprintf(rest, sizeof rest, "?limit=%zu%s%s", max - told < 1000 ? max - told : 1000,
                       last[0] != '\0' ? "&after=" : "", last);
        status = ask(actors, "GET", NULL, rest, &answer, err);
        more = json_is_true(json_object_get(answer, "has_more"));
        json_array_foreach(json_object_get(answer, "data"), i, one)
        {
            const dw_runtime_actor_info info = info_of(one);
            const json_t *problem = json_object_get(one, "problem");
            dw_error error = {.message = ""};
            if (problem != NULL) {
                json_t *failure = json_pack("{s:O}", "error", problem);
                (void)dw_cli_remote_failure(failure, &error);
                json_decref(failure);
            }
            (void)snprintf(last, sizeof last, "%s", text_of(one, "id"));
            take(user, last, &info, problem != NULL ? &error : NULL);
            told++;
        }
        json_decref(answer);
        answer = NULL;
    }
    return status;
}

dw_status dw_cli_at_list_infos(dw_cli_actors *actors, const char *after, size_t max,
                               dw_runtime_info_fn take, void *user, dw_error *err)
{
    return actors->remote != NULL
               ? list_there(actors, after, max, take, user, err)
               : dw_runtime_list_infos(actors->runtime, after, max, take, user, err);
}

dw_status dw_cli_at_get_info(dw_cli_actors *actors, const char *id, dw_runtime_actor_info *info,
                             dw_error *err)
{
    json_t *answer = NULL;
    if (actors->remote == NULL) {
        return dw_runtime_get_actor_info(actors->runtime, id, info, err);
    }
    dw_status status = ask(actors, "GET", id, "", &answer, err);
    *info = info_of(answer);
    json_decref(answer);
    return status;
}

static dw_status describe_here(dw_cli_actors *actors, const char *id, json_t **about, dw_error *err)
{
    dw_text_room text = {.capacity = DESCRIPTION_BYTES / 2};
    dw_status status = DW_E_SPACE;
    while (status == DW_E_SPACE && text.capacity < DESCRIPTION_BYTES_MAX) {
        free(text.items);
        text.capacity *= 2;
        text.items = dw_cli_alloc(text.capacity, 1);
        status = text.items != NULL ? dw_runtime_describe(actors->runtime, id, &text, err)
                                    : dw_fail(err, DW_E_MEMORY, "no memory for a description");
    }
    *about = status == DW_OK ? json_loadb(text.items, text.count, 0, NULL) : NULL;
    free(text.items);
    return status == DW_OK && *about == NULL
               ? dw_fail(err, DW_E_MEMORY, "no memory for a description")
               : status;
}

dw_status dw_cli_at_describe(dw_cli_actors *actors, const char *id, json_t **about, dw_error *err)
{
    *about = NULL;
    return actors->remote != NULL ? ask(actors, "GET", id, "", about, err)
                                  : describe_here(actors, id, about, err);
}

dw_status dw_cli_at_list_freezes(dw_cli_actors *actors, const char *id, uint64_t *numbers,
                                 size_t capacity, size_t *count, dw_error *err)
{
    json_t *answer = NULL;
    if (actors->remote == NULL) {
        return dw_runtime_list_freezes(actors->runtime, id, numbers, capacity, count, err);
    }
    dw_status status = ask(actors, "GET", id, "/freezes", &answer, err);
    const json_t *list = json_object_get(answer, "data");
    *count = json_array_size(list) < capacity ? json_array_size(list) : capacity;
    for (size_t i = 0; i < *count; i++) {
        const json_t *one = json_array_get(list, i);
        numbers[i] = json_is_string(one) ? strtoull(json_string_value(one), NULL, 10)
                                         : (uint64_t)json_integer_value(one);
    }
    json_decref(answer);
    return status;
}

dw_status dw_cli_at_list_paths(dw_cli_actors *actors, const char *id,
                               void (*take)(void *user, const char *path), void *user,
                               dw_error *err)
{
    json_t *answer = NULL;
    size_t i;
    json_t *one;
    if (actors->remote == NULL) {
        return dw_runtime_list_paths(actors->runtime, id, take, user, err);
    }
    dw_status status = ask(actors, "GET", id, "/files", &answer, err);
    json_array_foreach(json_object_get(answer, "paths"), i, one)
    {
        if (json_is_string(one)) {
            take(user, json_string_value(one));
        }
    }
    json_decref(answer);
    return status;
}

dw_status dw_cli_at_find(dw_cli_actors *actors, const char *start, char id[DW_ACTOR_ID_CHARS + 1],
                         dw_error *err)
{
    char escaped[1024];
    json_t *answer = NULL;
    dw_cli_escape(start, escaped, sizeof escaped);
    dw_status status = ask(actors, "GET", escaped, "", &answer, err);
    take_id(answer, id);
    json_decref(answer);
    return status;
}

/* ---- mail ----------------------------------------------------------------------------------- */

dw_status dw_cli_at_list_mail(dw_cli_actors *actors, const char *id,
                              void (*take)(void *user, const dw_runtime_message *message),
                              void *user, dw_error *err)
{
    json_t *answer = NULL;
    size_t i;
    json_t *one;
    if (actors->remote == NULL) {
        return dw_runtime_list_mail(actors->runtime, id, take, user, err);
    }
    dw_status status = ask(actors, "GET", id, "/messages", &answer, err);
    json_array_foreach(json_object_get(answer, "data"), i, one)
    {
        const dw_runtime_message message = {.struct_bytes = sizeof message,
                                            .number = count_of(one, "number"),
                                            .from = text_of(one, "from"),
                                            .bytes = count_of(one, "bytes"),
                                            .set_aside =
                                                strcmp(text_of(one, "state"), "set aside") == 0,
                                            .attempts = (uint32_t)count_of(one, "attempts"),
                                            .reason = text_of(one, "reason")};
        take(user, &message);
    }
    json_decref(answer);
    return status;
}

dw_status dw_cli_at_read_mail(dw_cli_actors *actors, const char *id, uint64_t number,
                              dw_write_fn take, void *user, dw_error *err)
{
    char path[128];
    if (actors->remote == NULL) {
        return dw_runtime_read_mail(actors->runtime, id, number, take, user, err);
    }
    (void)snprintf(path, sizeof path, "/v1/actors/%s/messages/%llu", id,
                   (unsigned long long)number);
    const dw_cli_asked what = {
        .method = "GET", .path = path, .fd = -1, .on_piece = take, .user = user};
    return dw_cli_remote_ask(actors->remote, &what, NULL, err);
}

static dw_status settle(dw_cli_actors *actors, const char *id, uint64_t number, bool retry,
                        uint64_t *count, dw_error *err)
{
    char rest[64];
    char text[24] = "all";
    json_t *answer = NULL;
    if (number != DW_MAIL_ALL) {
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    }
    (void)snprintf(rest, sizeof rest, "/messages/%s%s", text, retry ? "/retry" : "");
    dw_status status = ask(actors, retry ? "POST" : "DELETE", id, rest, &answer, err);
    *count = count_of(answer, retry ? "waiting" : "dropped");
    json_decref(answer);
    return status;
}

dw_status dw_cli_at_drop_mail(dw_cli_actors *actors, const char *id, uint64_t number,
                              uint64_t *count, dw_error *err)
{
    return actors->remote != NULL ? settle(actors, id, number, false, count, err)
                                  : dw_runtime_drop_mail(actors->runtime, id, number, count, err);
}

dw_status dw_cli_at_retry_mail(dw_cli_actors *actors, const char *id, uint64_t number,
                               uint64_t *count, dw_error *err)
{
    return actors->remote != NULL ? settle(actors, id, number, true, count, err)
                                  : dw_runtime_retry_mail(actors->runtime, id, number, count, err);
}
