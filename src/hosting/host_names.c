/* Names and groups of actors; their mail. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "hosting/host.h"

#define MEMBERS_MAX 4096

/* ---- names and groups ----------------------------------------------------------------------- */

static dw_status find_work(dw__op *op, dw_error *err)
{
    op->param = "name";
    return dw_runtime_find(op->runtime, op->tenant, op->parts[0], op->actor, err);
}

DW__HANDLER(dw__on_names_find)
{
    (void)server;
    (void)exchange;
    op->work = find_work;
    op->on_end = dw__op_answer_actor;
    dw__op_begin(op);
}

static dw_status join_work(dw__op *op, dw_error *err)
{
    dw_status status = dw__op_find(op, err);
    if (status != DW_OK) {
        return status;
    }
    op->param = "group";
    return op->flag ? dw_runtime_join(op->runtime, op->actor, op->parts[1], err)
                    : dw_runtime_quit(op->runtime, op->actor, op->parts[1], err);
}

static void begin_join(dw__op *op, bool joins)
{
    op->flag = joins;
    op->work = join_work;
    op->on_end = dw__op_answer_actor;
    dw__op_begin(op);
}

DW__HANDLER(dw__on_actors_join)
{
    (void)server;
    (void)exchange;
    begin_join(op, true);
}

DW__HANDLER(dw__on_actors_quit)
{
    (void)server;
    (void)exchange;
    begin_join(op, false);
}

static dw_status group_work(dw__op *op, dw_error *err)
{
    char name[DW__PART_BYTES];
    size_t count = 0;
    json_t *list = json_array();
    char(*ids)[DW_ACTOR_ID_CHARS + 1] = dw_alloc(MEMBERS_MAX, sizeof *ids);
    dw_status status =
        ids != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for a group's members");
    op->param = "group";
    if (status == DW_OK) {
        status = dw__op_group(op, op->parts[0], name, err);
    }
    if (status == DW_OK) {
        status = dw_runtime_list_group(op->runtime, name, ids, MEMBERS_MAX, &count, err);
    }
    for (size_t i = 0; status == DW_OK && i < count && i < MEMBERS_MAX; i++) {
        (void)json_array_append_new(list, json_string(ids[i]));
    }
    dw_free(ids);
    op->result = json_pack("{s:s, s:o, s:o}", "object", "list", "data", list, "count",
                           dw__count_json(count));
    return status;
}

DW__HANDLER(dw__on_groups_show)
{
    (void)server;
    (void)exchange;
    op->work = group_work;
    dw__op_begin(op);
}

static dw_status send_group_work(dw__op *op, dw_error *err)
{
    char name[DW__PART_BYTES];
    uint64_t accepted = 0;
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = op->news.bytes,
                                .message_bytes = op->news.count,
                                .timeout_ms = op->timeout_ms};
    op->param = "group";
    dw_status status = dw__op_group(op, op->parts[0], name, err);
    if (status == DW_OK) {
        status = dw_runtime_send_group(op->runtime, name, &request, &accepted, err);
    }
    op->result = json_pack("{s:o}", "accepted", dw__count_json(accepted));
    return status;
}

DW__HANDLER(dw__on_groups_send)
{
    size_t bytes = 0;
    const char *message = dw_exchange_body(exchange, &bytes);
    dw_fault fault = {.status = 0};
    (void)server;
    op->timeout_ms = dw_url_whole(exchange, "timeout_ms", 0, UINT64_C(86400000), 0, &fault);
    if (!dw_text_add(&op->news, message, bytes)) {
        dw_fault_set(&fault, 503, NULL, "no memory for a message");
    }
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    op->http = 202;
    op->work = send_group_work;
    dw__op_begin(op);
}

/* ---- mail ----------------------------------------------------------------------------------- */

static void add_message(void *user, const dw_runtime_message *message)
{
    json_t *reason = json_string(message->reason);
    (void)json_array_append_new(
        user, json_pack("{s:o, s:s, s:o, s:s, s:i, s:o}", "number", dw__count_json(message->number),
                        "from", message->from, "bytes", dw__count_json(message->bytes), "state",
                        message->set_aside ? "set aside" : "waiting", "attempts",
                        (int)message->attempts, "reason", reason != NULL ? reason : json_null()));
}

static dw_status list_work(dw__op *op, dw_error *err)
{
    json_t *list = json_array();
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        status = dw_runtime_list_mail(op->runtime, op->actor, add_message, list, err);
    }
    op->result = json_pack("{s:s, s:o}", "object", "list", "data", list);
    return status;
}

DW__HANDLER(dw__on_mail_list)
{
    (void)server;
    (void)exchange;
    op->work = list_work;
    dw__op_begin(op);
}

/* The path's number, or "all" -> op->number. */
static bool read_number(dw__op *op, bool may_be_all)
{
    dw_fault fault = {.status = 0};
    const char *text = op->parts[1];
    char *end = NULL;
    errno = 0;
    op->number = strtoull(text, &end, 10);
    if (may_be_all && strcmp(text, "all") == 0) {
        op->number = DW_MAIL_ALL;
    } else if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || op->number == 0 ||
               op->number == DW_MAIL_ALL) {
        dw_fault_set(&fault, 400, "number", "'%.40s' is no message's number%s", text,
                     may_be_all ? ", nor all" : "");
        dw__op_refuse(op, &fault);
        return false;
    }
    return true;
}

static ptrdiff_t take_content(void *user, const unsigned char *bytes, size_t count)
{
    return dw_text_add(user, bytes, count) ? (ptrdiff_t)count : -1;
}

static dw_status read_work(dw__op *op, dw_error *err)
{
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        op->param = "number";
        status =
            dw_runtime_read_mail(op->runtime, op->actor, op->number, take_content, &op->news, err);
    }
    return status;
}

static void answer_content(dw__op *op)
{
    if (op->status != DW_OK) {
        dw__op_answer_failure(op);
    } else {
        dw_exchange_answer(op->exchange, 200, "application/octet-stream",
                           op->news.bytes != NULL ? op->news.bytes : "", op->news.count);
    }
}

DW__HANDLER(dw__on_mail_read)
{
    (void)server;
    (void)exchange;
    if (read_number(op, false)) {
        op->work = read_work;
        op->on_end = answer_content;
        dw__op_begin(op);
    }
}

static dw_status settle(dw__op *op, const char *word,
                        dw_status (*act)(dw_runtime *runtime, const char *id, uint64_t number,
                                         uint64_t *count, dw_error *err),
                        dw_error *err)
{
    uint64_t count = 0;
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        op->param = "number";
        status = act(op->runtime, op->actor, op->number, &count, err);
    }
    op->result = json_pack("{s:s, s:o}", "id", op->actor, word, dw__count_json(count));
    return status;
}

static dw_status drop_work(dw__op *op, dw_error *err)
{
    return settle(op, "dropped", dw_runtime_drop_mail, err);
}

static dw_status retry_work(dw__op *op, dw_error *err)
{
    return settle(op, "waiting", dw_runtime_retry_mail, err);
}

static dw_status cancel_work(dw__op *op, dw_error *err)
{
    dw_status status = dw__op_find(op, err);
    if (status == DW_OK) {
        op->param = "number";
        status = dw_runtime_cancel(op->runtime, op->actor, op->number, err);
    }
    op->result = json_pack("{s:s, s:o}", "id", op->actor, "cancelled", dw__count_json(op->number));
    return status;
}

DW__HANDLER(dw__on_mail_drop)
{
    (void)server;
    (void)exchange;
    if (read_number(op, true)) {
        op->work = drop_work;
        dw__op_begin(op);
    }
}

DW__HANDLER(dw__on_mail_retry)
{
    (void)server;
    (void)exchange;
    if (read_number(op, true)) {
        op->work = retry_work;
        dw__op_begin(op);
    }
}

DW__HANDLER(dw__on_actors_cancel)
{
    (void)server;
    (void)exchange;
    if (read_number(op, false)) {
        op->work = cancel_work;
        dw__op_begin(op);
    }
}
