/* OpenAI's responses and conversations that are kept: told, changed, deleted. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "routes/responses.h"
#include "routes/routes.h"
#include "serving/job.h"
#include "serving/url.h"

/* A request that waits for the disk. */
typedef struct lookup {
    dw_server *server;
    dw_exchange *exchange; /* NULL: nobody is there any more */
    uv_work_t work;
    dw_status (*find)(struct lookup *lookup, dw_error *err);
    char tenant[DW_TENANT_NAME_MAX + 1];
    char id[128];
    char item[128];
    dw__page page; /* of a list */
    dw_fault page_fault;
    json_t *body;   /* of the request; NULL: it has none */
    json_t *result; /* what is answered */
    dw_fault fault;
    dw_status status;
    dw_error error;
} lookup;

static void on_gone(void *owner)
{
    ((lookup *)owner)->exchange = NULL;
}

static void work(uv_work_t *queued)
{
    lookup *l = queued->data;
    l->status = l->server->archive != NULL
                    ? l->find(l, &l->error)
                    : dw_fail(&l->error, DW_E_NOT_FOUND, "nothing is kept by this server");
}

static void on_worked(uv_work_t *queued, int result)
{
    lookup *l = queued->data;
    dw_exchange *exchange = l->exchange;
    (void)result;
    if (exchange != NULL) {
        dw_exchange_watch(exchange, NULL, NULL, NULL);
        if (dw_fault_is_set(&l->fault)) {
            dw_openai_fault(exchange, &l->fault);
        } else if (l->status != DW_OK) {
            dw_openai_fail(exchange, dw_http_status(l->status), NULL, NULL, l->error.message);
        } else {
            dw_send_json(exchange, 200, json_incref(l->result));
        }
    }
    json_decref(l->body);
    json_decref(l->result);
    dw_free(l);
}

static void begin(dw_server *server, dw_exchange *exchange, const char *id, const char *item,
                  dw_status (*find)(lookup *lookup, dw_error *err))
{
    size_t bytes = 0;
    (void)dw_exchange_body(exchange, &bytes);
    lookup *l = dw_alloc(1, sizeof *l);
    if (l == NULL) {
        dw_openai_fail(exchange, 503, NULL, NULL, "no memory for a request");
        return;
    }
    l->server = server;
    l->exchange = exchange;
    l->find = find;
    (void)snprintf(l->tenant, sizeof l->tenant, "%s", dw_tenant_of(server, exchange));
    (void)snprintf(l->id, sizeof l->id, "%s", id);
    (void)snprintf(l->item, sizeof l->item, "%s", item);
    l->page = dw__page_read(exchange, &l->page_fault);
    l->body = bytes > 0 ? dw_params_body(exchange, &l->fault) : json_object();
    l->work.data = l;
    dw_exchange_watch(exchange, on_gone, NULL, l);
    if (dw_fault_is_set(&l->fault)) {
        on_worked(&l->work, 0);
    } else if (uv_queue_work(&server->loop, &l->work, work, on_worked) < 0) {
        work(&l->work);
        on_worked(&l->work, 0);
    }
}

static void give_page(lookup *l, const json_t *items)
{
    l->fault = l->page_fault;
    l->result = dw__items_page(items, &l->page);
}

/* ---- responses ------------------------------------------------------------------------------ */

/* One that was under way when the server's process ended has failed. */
static dw_status get_response(lookup *l, dw_error *err)
{
    dw_status status = dw_archive_get(l->server->archive, l->tenant, l->id, &l->result, NULL, err);
    const char *state = json_string_value(json_object_get(l->result, "status"));
    if (status == DW_OK && state != NULL &&
        (strcmp(state, "queued") == 0 || strcmp(state, "in_progress") == 0)) {
        (void)json_object_set_new(l->result, "status", json_string("failed"));
        (void)json_object_set_new(l->result, "error",
                                  json_pack("{s:s, s:s}", "code", "server_error", "message",
                                            "the server ended before the response did"));
    }
    return status;
}

static dw_status cancel_response(lookup *l, dw_error *err)
{
    dw_status status = get_response(l, err);
    if (status == DW_OK && !json_is_true(json_object_get(l->result, "background"))) {
        dw_fault_set(&l->fault, 400, NULL,
                     "only a response in the background can be cancelled by its id");
    }
    return status;
}

static dw_status delete_response(lookup *l, dw_error *err)
{
    dw_status status = dw_archive_delete(l->server->archive, l->tenant, l->id, err);
    l->result = json_pack("{s:s, s:s, s:b}", "id", l->id, "object", "response", "deleted", 1);
    return status;
}

static dw_status list_input(lookup *l, dw_error *err)
{
    json_t *input = NULL;
    dw_status status = dw_archive_get(l->server->archive, l->tenant, l->id, NULL, &input, err);
    if (status == DW_OK) {
        give_page(l, input);
    }
    json_decref(input);
    return status;
}

/* One that is under way, as a stream from an event on. */
static void take_up(dw_reply *reply, dw_exchange *exchange)
{
    dw_fault fault = {.status = 0};
    int64_t after = dw_reply_after(exchange, "starting_after", &fault);
    if (!dw_fault_is_set(&fault) && !dw_reply_attach(reply, exchange, after)) {
        dw_fault_set(&fault, 400, "starting_after",
                     "starting_after: there is no such event, or none is kept");
    }
    if (dw_fault_is_set(&fault)) {
        dw_openai_fault(exchange, &fault);
    }
}

static void get_one(dw_server *server, dw_exchange *exchange, const char *id)
{
    dw_fault fault = {.status = 0};
    dw_reply *reply = dw_reply_find(server, dw_tenant_of(server, exchange), id);
    bool streams = dw_url_truth(exchange, "stream", false, &fault);
    if (dw_fault_is_set(&fault)) {
        dw_openai_fault(exchange, &fault);
    } else if (reply != NULL && streams && reply->streams) {
        take_up(reply, exchange);
    } else if (streams) {
        dw_openai_fail(exchange, 400, "stream", NULL,
                       "only a response in the background that was asked for as a stream can be "
                       "taken up, up to five minutes after its end");
    } else if (reply != NULL && !reply->ended) {
        dw_send_json(exchange, 200, dw__response_now(reply));
    } else {
        begin(server, exchange, id, "", get_response);
    }
}

static void cancel_one(dw_server *server, dw_exchange *exchange, const char *id)
{
    dw_reply *reply = dw_reply_find(server, dw_tenant_of(server, exchange), id);
    json_t *now = reply != NULL && reply->endures && !reply->ended ? dw__response_now(reply) : NULL;
    if (now == NULL) {
        begin(server, exchange, id, "", cancel_response);
        return;
    }
    (void)json_object_set_new(now, "status", json_string("cancelled"));
    dw_reply_cancel(reply);
    dw_send_json(exchange, 200, now);
}

/* How many tokens a request's prompt is, of one that goes on from nothing that is kept. */
static dw_status count_input(dw_job *job, dw_error *err)
{
    dw_fault fault = {.status = 0};
    dw_chat_prompt *prompt = NULL;
    dw_token_room tokens = {.items = NULL};
    const json_t *body = job->input;
    json_t *items = dw__items_read(json_object_get(body, "input"), "input", NULL, &fault);
    json_t *chat = items != NULL ? dw__response_chat(body, NULL, items, &fault) : NULL;
    json_decref(items);
    if (dw_params_has(body, "previous_response_id") || dw_params_has(body, "conversation")) {
        dw_fault_set(&fault, 400, "previous_response_id",
                     "what goes on from something that is kept cannot be counted");
        json_decref(chat);
        chat = NULL;
    }
    dw_status status = dw_job_render(job, chat, &fault, &prompt, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_chat_prompt_tokens(prompt, 0, &tokens, err);
    dw_chat_prompt_destroy(prompt);
    if (status == DW_OK || status == DW_E_SPACE) { /* how many they are is told all the same */
        job->result = json_pack("{s:s, s:I}", "object", "response.input_tokens", "input_tokens",
                                (json_int_t)tokens.count);
        status = DW_OK;
    }
    return status;
}

static void fail_plainly(dw_exchange *exchange, int status, const char *what)
{
    dw_openai_fail(exchange, status, NULL, NULL, what);
}

/* The parts of what is behind a route: ID[/WHAT[/ITEM]]; false: they are too long, or too many. */
static bool split(const char *rest, char id[128], char what[32], char item[128])
{
    int count = 0;
    id[0] = what[0] = item[0] = '\0';
    (void)sscanf(rest, "%127[^/]%n", id, &count);
    if (count == 0 || (rest[count] != '/' && rest[count] != '\0')) {
        return false;
    }
    rest += count;
    if (*rest == '\0') {
        return true;
    }
    count = 0;
    (void)sscanf(rest, "/%31[^/]%n", what, &count);
    rest += count;
    if (count == 0 || *rest == '\0') {
        return count > 0;
    }
    count = 0;
    (void)sscanf(rest, "/%127[^/]%n", item, &count);
    return count > 0 && rest[count] == '\0';
}

void dw_responses_one(dw_server *server, dw_exchange *exchange, const char *rest)
{
    char id[128];
    char what[32];
    char item[128];
    dw_http_method method = dw_exchange_method(exchange);
    bool known = split(rest, id, what, item) && item[0] == '\0';
    if (known && method == DW_HTTP_POST && strcmp(rest, "input_tokens") == 0) {
        dw_job_begin(server, exchange, count_input, fail_plainly);
    } else if (known && method == DW_HTTP_GET && what[0] == '\0') {
        get_one(server, exchange, id);
    } else if (known && method == DW_HTTP_DELETE && what[0] == '\0') {
        begin(server, exchange, id, "", delete_response);
    } else if (known && method == DW_HTTP_POST && strcmp(what, "cancel") == 0) {
        cancel_one(server, exchange, id);
    } else if (known && method == DW_HTTP_GET && strcmp(what, "input_items") == 0) {
        begin(server, exchange, id, "", list_input);
    } else {
        dw_openai_fail(exchange, 404, NULL, "unknown_url", "there is no such route");
    }
}

/* ---- conversations -------------------------------------------------------------------------- */

static dw_status create_conversation(lookup *l, dw_error *err)
{
    const json_t *given = json_object_get(l->body, "items");
    json_t *metadata = json_object_get(l->body, "metadata");
    json_t *items = json_is_array(given) ? dw__items_read(given, "items", NULL, &l->fault) : NULL;
    if (dw_fault_is_set(&l->fault)) {
        return DW_OK;
    }
    dw_make_id(l->id, sizeof l->id, "conv_");
    l->result = json_pack("{s:s, s:s, s:I, s:o}", "id", l->id, "object", "conversation",
                          "created_at", (json_int_t)time(NULL), "metadata",
                          json_is_object(metadata) ? json_incref(metadata) : json_object());
    dw_status status =
        dw_archive_put_conversation(l->server->archive, l->tenant, l->id, l->result, err);
    if (status == DW_OK && items != NULL) {
        status = dw_archive_add_items(l->server->archive, l->tenant, l->id, items, err);
    }
    (void)!dw_archive_trim_conversations(l->server->archive, l->server->conversations_max, NULL);
    json_decref(items);
    return status;
}

static dw_status get_conversation(lookup *l, dw_error *err)
{
    return dw_archive_get_conversation(l->server->archive, l->tenant, l->id, &l->result, err);
}

static dw_status update_conversation(lookup *l, dw_error *err)
{
    json_t *metadata = json_object_get(l->body, "metadata");
    dw_status status = get_conversation(l, err);
    if (!json_is_object(metadata)) {
        dw_fault_set(&l->fault, 400, "metadata", "metadata: an object is wanted");
    } else if (status == DW_OK) {
        (void)json_object_set(l->result, "metadata", metadata);
        status = dw_archive_put_conversation(l->server->archive, l->tenant, l->id, l->result, err);
    }
    return status;
}

static dw_status delete_conversation(lookup *l, dw_error *err)
{
    l->result =
        json_pack("{s:s, s:s, s:b}", "id", l->id, "object", "conversation.deleted", "deleted", 1);
    return dw_archive_delete_conversation(l->server->archive, l->tenant, l->id, err);
}

static dw_status add_items(lookup *l, dw_error *err)
{
    json_t *items = dw__items_read(json_object_get(l->body, "items"), "items", NULL, &l->fault);
    if (items == NULL) {
        return DW_OK;
    }
    dw_status status = dw_archive_add_items(l->server->archive, l->tenant, l->id, items, err);
    static const dw__page all = {.limit = 100};
    l->result = dw__items_page(items, &all);
    json_decref(items);
    return status;
}

static dw_status list_items(lookup *l, dw_error *err)
{
    json_t *items = json_array();
    dw_status status = dw_archive_get_items(l->server->archive, l->tenant, l->id, items, err);
    if (status == DW_OK) {
        give_page(l, items);
    }
    json_decref(items);
    return status;
}

static dw_status get_item(lookup *l, dw_error *err)
{
    json_t *items = json_array();
    dw_status status = dw_archive_get_items(l->server->archive, l->tenant, l->id, items, err);
    for (size_t i = 0; i < json_array_size(items) && status == DW_OK; i++) {
        json_t *item = json_array_get(items, i);
        const char *id = json_string_value(json_object_get(item, "id"));
        if (id != NULL && strcmp(id, l->item) == 0) {
            l->result = json_incref(item);
        }
    }
    json_decref(items);
    if (status == DW_OK && l->result == NULL) {
        status = dw_fail(err, DW_E_NOT_FOUND, "Item with id '%.80s' not found", l->item);
    }
    return status;
}

static dw_status delete_item(lookup *l, dw_error *err)
{
    dw_status status = get_conversation(l, err);
    if (status == DW_OK) {
        status = dw_archive_delete_item(l->server->archive, l->tenant, l->id, l->item, err);
    }
    return status;
}

void dw_conversations_create(dw_server *server, dw_exchange *exchange)
{
    begin(server, exchange, "", "", create_conversation);
}

void dw_conversations_one(dw_server *server, dw_exchange *exchange, const char *rest)
{
    char id[128];
    char what[32];
    char item[128];
    static const struct {
        dw_http_method method;
        int depth; /* 0: itself; 1: its items; 2: one of them */
        dw_status (*find)(lookup *lookup, dw_error *err);
    } ways[] = {
        {DW_HTTP_GET, 0, get_conversation},
        {DW_HTTP_POST, 0, update_conversation},
        {DW_HTTP_DELETE, 0, delete_conversation},
        {DW_HTTP_GET, 1, list_items},
        {DW_HTTP_POST, 1, add_items},
        {DW_HTTP_GET, 2, get_item},
        {DW_HTTP_DELETE, 2, delete_item},
    };
    if (split(rest, id, what, item) && (what[0] == '\0' || strcmp(what, "items") == 0)) {
        int depth = item[0] != '\0' ? 2 : what[0] != '\0' ? 1 : 0;
        for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
            if (ways[i].method == dw_exchange_method(exchange) && ways[i].depth == depth) {
                begin(server, exchange, id, item, ways[i].find);
                return;
            }
        }
    }
    dw_openai_fail(exchange, 404, NULL, "unknown_url", "there is no such route");
}
