/* /v1/links: what the doctor finds on this machine, with the runtime beside it. */
#include <string.h>

#include "base/alloc.h"
#include "routes/routes.h"
#include "serving/openai.h"

/* The doctor works, one at a time in a process, and all that ask meanwhile are told the same. */
typedef struct asker {
    struct asker *next;
    dw_links *links;
    dw_exchange *exchange; /* NULL: it has gone */
} asker;

struct dw_links {
    char *guest; /* doctor_chain.wasm's path */
    uv_work_t queued;
    asker *first; /* NULL: nobody asks, and nothing works */
    json_t *result;
    dw_status status;
    dw_error error;
};

static json_t *check_json(const dw_doctor_report *report, size_t index)
{
    dw_doctor_check_info check = {.struct_bytes = sizeof check};
    if (dw_doctor_get_check(report, index, &check, NULL) != DW_OK) {
        return NULL;
    }
    return json_pack("{s:s, s:s, s:b, s:f, s:s, s:s?, s:s, s:s}", "name", check.name, "link",
                     check.link, "ok", check.ok, "value", check.value, "unit", check.unit, "goal",
                     check.goal, "what", check.what, "note", check.note);
}

static json_t *report_json(const dw_doctor_report *report)
{
    dw_doctor_info info = {.struct_bytes = sizeof info};
    dw_device_info device = {.struct_bytes = sizeof device};
    (void)!dw_doctor_get_info(report, &info);
    for (size_t i = 0; dw_device_get_info(i, &device, NULL) == DW_OK; i++) {
        if (strcmp(device.name, info.device) == 0) {
            break;
        }
    }
    json_t *checks = json_array();
    for (size_t i = 0; i < info.check_count; i++) {
        (void)json_array_append_new(checks, check_json(report, i));
    }
    return json_pack("{s:b, s:s, s:s, s:s, s:b, s:o}", "ok", info.ok, "device", info.device,
                     "description", device.description, "backend", device.backend, "unified",
                     device.unified, "checks", checks);
}

static void work(uv_work_t *queued)
{
    dw_links *links = queued->data;
    dw_doctor_report *report = NULL;
    links->status = dw_doctor_examine(&report, NULL, links->guest, &links->error);
    if (links->status == DW_OK) {
        links->result = report_json(report);
    }
    dw_doctor_report_destroy(report);
}

static void answer(dw_links *links, asker *one)
{
    if (one->exchange != NULL) {
        dw_exchange_watch(one->exchange, NULL, NULL, NULL);
        if (links->status == DW_OK) {
            dw_send_json(one->exchange, 200, json_incref(links->result));
        } else {
            dw_openai_fail(one->exchange, dw_http_status(links->status), NULL, NULL,
                           links->error.message);
        }
    }
    dw_free(one);
}

static void on_worked(uv_work_t *queued, int result)
{
    dw_links *links = queued->data;
    (void)result;
    asker *next = links->first;
    links->first = NULL;
    while (next != NULL) {
        asker *one = next;
        next = one->next;
        answer(links, one);
    }
    json_decref(links->result);
    links->result = NULL;
}

static void on_gone(void *owner)
{
    ((asker *)owner)->exchange = NULL;
}

void dw_links_show(dw_server *server, dw_exchange *exchange)
{
    dw_links *links = server->links;
    asker *one = links->guest != NULL ? dw_alloc(1, sizeof *one) : NULL;
    if (one == NULL) {
        dw_openai_fail(exchange, links->guest == NULL ? 404 : 503, NULL, NULL,
                       links->guest == NULL ? "this server was given no doctor_guest"
                                            : "no memory for a request");
        return;
    }
    *one = (asker){.links = links, .exchange = exchange, .next = links->first};
    bool works = links->first != NULL;
    links->first = one;
    dw_exchange_watch(exchange, on_gone, NULL, one);
    links->queued.data = links;
    if (!works && uv_queue_work(&server->loop, &links->queued, work, on_worked) < 0) {
        links->status = dw_fail(&links->error, DW_E_MEMORY, "no thread for a request");
        on_worked(&links->queued, 0);
    }
}

dw_status dw_links_create(dw_links **out, const char *guest, dw_error *err)
{
    dw_links *links = dw_alloc(1, sizeof *links);
    if (links == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a server");
    }
    links->guest = guest != NULL ? dw_strdup(guest) : NULL;
    *out = links;
    return DW_OK;
}

void dw_links_destroy(dw_links *links)
{
    if (links != NULL) {
        dw_free(links->guest);
        dw_free(links);
    }
}
