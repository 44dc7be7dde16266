/* Routes of actors: which function a request goes to, and what it is given. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/os.h"
#include "hosting/host.h"
#include "serving/openai.h"

#define MODULE_BYTES_MAX ((uint64_t)128 << 20)

static const dw_route_row rows[] = {
    {DW_HTTP_POST, "/v1/modules", dw__on_modules_add, DW_TAKES_MODULE},
    {DW_HTTP_GET, "/v1/modules", dw__on_modules_list, 0},
    {DW_HTTP_GET, "/v1/modules/{sha256}", dw__on_modules_show, 0},
    {DW_HTTP_DELETE, "/v1/modules/{sha256}", dw__on_modules_drop, 0},
    {DW_HTTP_POST, "/v1/actors", dw__on_actors_spawn, DW_TAKES_JSON},
    {DW_HTTP_GET, "/v1/actors", dw__on_actors_list, 0},
    {DW_HTTP_DELETE, "/v1/actors", dw__on_actors_stop_all, 0},
    {DW_HTTP_POST, "/v1/actors/import", dw__on_actors_import, DW_TAKES_SNAPSHOT},
    {DW_HTTP_GET, "/v1/actors/{id}", dw__on_actors_show, 0},
    {DW_HTTP_POST, "/v1/actors/{id}", dw__on_actors_change, DW_TAKES_JSON},
    {DW_HTTP_DELETE, "/v1/actors/{id}", dw__on_actors_stop, 0},
    {DW_HTTP_POST, "/v1/actors/{id}/messages", dw__on_actors_send,
     DW_TAKES_BYTES | DW_GIVES_BYTES | DW_GIVES_EVENTS},
    {DW_HTTP_GET, "/v1/actors/{id}/messages", dw__on_mail_list, 0},
    {DW_HTTP_GET, "/v1/actors/{id}/messages/{number}", dw__on_mail_read, DW_GIVES_BYTES},
    {DW_HTTP_DELETE, "/v1/actors/{id}/messages/{number}", dw__on_mail_drop, 0},
    {DW_HTTP_POST, "/v1/actors/{id}/messages/{number}/retry", dw__on_mail_retry, 0},
    {DW_HTTP_POST, "/v1/actors/{id}/messages/{number}/cancel", dw__on_actors_cancel, 0},
    {DW_HTTP_POST, "/v1/actors/{id}/freeze", dw__on_actors_freeze, 0},
    {DW_HTTP_GET, "/v1/actors/{id}/freezes", dw__on_actors_freezes, 0},
    {DW_HTTP_POST, "/v1/actors/{id}/rewind", dw__on_actors_rewind, DW_TAKES_JSON},
    {DW_HTTP_POST, "/v1/actors/{id}/park", dw__on_actors_park, 0},
    {DW_HTTP_POST, "/v1/actors/{id}/thaw", dw__on_actors_thaw, 0},
    {DW_HTTP_POST, "/v1/actors/{id}/fork", dw__on_actors_fork, 0},
    {DW_HTTP_POST, "/v1/actors/{id}/interrupt", dw__on_actors_interrupt, 0},
    {DW_HTTP_POST, "/v1/actors/{id}/upgrade", dw__on_actors_upgrade, DW_TAKES_JSON},
    {DW_HTTP_GET, "/v1/actors/{id}/export", dw__on_actors_export, DW_GIVES_BYTES},
    {DW_HTTP_GET, "/v1/actors/{id}/files", dw__on_actors_files, 0},
    {DW_HTTP_GET, "/v1/actors/{id}/events", dw__on_actors_events, DW_GIVES_EVENTS},
    {DW_HTTP_GET, "/v1/actors/{id}/logs", dw__on_actors_logs, DW_GIVES_EVENTS},
    {DW_HTTP_PUT, "/v1/actors/{id}/groups/{group}", dw__on_actors_join, 0},
    {DW_HTTP_DELETE, "/v1/actors/{id}/groups/{group}", dw__on_actors_quit, 0},
    {DW_HTTP_GET, "/v1/names/{name}", dw__on_names_find, 0},
    {DW_HTTP_GET, "/v1/groups/{group}", dw__on_groups_show, 0},
    {DW_HTTP_POST, "/v1/groups/{group}/messages", dw__on_groups_send, DW_TAKES_BYTES},
    {DW_HTTP_GET, "/v1/events", dw__on_events, DW_GIVES_EVENTS},
    {DW_HTTP_GET, "/v1/logs", dw__on_logs, DW_GIVES_EVENTS},
    {DW_HTTP_GET, "/v1/overview", dw__on_overview_show, 0},
    {DW_HTTP_POST, "/v1/runtime/wait", dw__on_runtime_wait, 0},
};

const dw_route_row *dw_host_row(size_t index)
{
    return index < sizeof rows / sizeof rows[0] ? &rows[index] : NULL;
}

/* ---- paths ---------------------------------------------------------------------------------- */

/* The path up to its query has the row's form; its parts in braces -> parts, decoded, if any are
 * wanted. `*bad`: one cannot be. */
static bool matches(const char *form, const char *path, char parts[2][DW__PART_BYTES], bool *bad)
{
    size_t index = 0;
    while (*form != '\0') {
        if (*form != '{') {
            if (*form++ != *path++) {
                return false;
            }
            continue;
        }
        size_t length = strcspn(path, "/?");
        form = strchr(form, '}') + 1;
        if (length == 0) {
            return false;
        }
        if (parts != NULL &&
            dw_percent_decode(path, length, parts[index++], DW__PART_BYTES) != NULL) {
            *bad = true;
        }
        path += length;
    }
    return *path == '\0' || *path == '?';
}

/* Forms without braces come first in the table where both would do. */
const dw_route_row *dw_host_find(const dw_exchange *exchange, const char **form)
{
    const char *path = dw_exchange_path(exchange);
    dw_http_method method = dw_exchange_method(exchange);
    bool bad = false;
    method = method == DW_HTTP_HEAD ? DW_HTTP_GET : method;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (matches(rows[i].path, path, NULL, &bad)) {
            *form = rows[i].path;
            if (rows[i].method == method) {
                return &rows[i];
            }
        }
    }
    return NULL;
}

/* ---- bodies --------------------------------------------------------------------------------- */

void dw__only(const json_t *body, const char *const *names, size_t count, dw_fault *fault)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < count && !known; i++) {
            known = strcmp(names[i], key) == 0;
        }
        if (!known) {
            dw_fault_set(fault, 400, NULL, "'%.80s' is no member that this request may have", key);
        }
    }
}

/* A file without a name. */
static int open_spool(const dw_server *server)
{
    char path[PATH_MAX];
    const char *given = getenv("TMPDIR");
    const char *folder = server->folder != NULL         ? server->folder
                         : given != NULL && *given != 0 ? given
                                                        : "/tmp";
    uint8_t random[8];
    char name[2 * sizeof random + 1];
    dw_os_random(random, sizeof random);
    dw_hex(name, random, sizeof random);
    int length = snprintf(path, sizeof path, "%s/.body-%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path) {
        return -1;
    }
    int fd = dw_os_open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)unlink(path);
    }
    return fd;
}

int dw__host_spool(const dw_server *server)
{
    return open_spool(server);
}

int dw_host_body_file(void *user, const dw_exchange *exchange, uint64_t *bytes_max)
{
    const dw_server *server = user;
    const char *form = NULL;
    const dw_route_row *row = dw_host_find(exchange, &form);
    if (row == NULL || (row->takes & (DW_TAKES_MODULE | DW_TAKES_SNAPSHOT)) == 0 ||
        server->leaving || dw_tenant_of(server, exchange) == NULL) {
        return -1;
    }
    *bytes_max =
        (row->takes & DW_TAKES_MODULE) != 0 ? MODULE_BYTES_MAX : server->snapshot_bytes_max;
    return open_spool(server);
}

/* ---- requests ------------------------------------------------------------------------------- */

/* A body that may be left out. */
static void take_body(dw__op *op, const dw_route_row *row, dw_fault *fault)
{
    size_t bytes = 0;
    (void)dw_exchange_body(op->exchange, &bytes);
    if ((row->takes & DW_TAKES_JSON) != 0) {
        op->body = bytes > 0 ? dw_params_body(op->exchange, fault) : json_object();
    } else if ((row->takes & (DW_TAKES_MODULE | DW_TAKES_SNAPSHOT)) != 0) {
        op->fd = dw_exchange_take_body_file(op->exchange);
        if (op->fd < 0) {
            dw_fault_set(fault, 507, NULL, "there is no room for the body in the state folder");
        }
    }
}

/* The tenant that the user himself speaks for. */
static void take_tenant(dw__op *op, dw_fault *fault)
{
    if (op->own_user) {
        (void)dw_url_text(op->exchange, "tenant", op->tenant, sizeof op->tenant, fault);
    }
}

static void refuse_method(dw_exchange *exchange)
{
    char allowed[64] = "";
    const char *path = dw_exchange_path(exchange);
    static const struct {
        dw_http_method method;
        const char *names;
    } methods[] = {{DW_HTTP_GET, "GET, HEAD"},
                   {DW_HTTP_POST, "POST"},
                   {DW_HTTP_PUT, "PUT"},
                   {DW_HTTP_DELETE, "DELETE"}};
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            bool bad = false;
            size_t length = strlen(allowed);
            if (rows[i].method == methods[m].method && matches(rows[i].path, path, NULL, &bad)) {
                (void)snprintf(allowed + length, sizeof allowed - length, "%s%s",
                               length > 0 ? ", " : "", methods[m].names);
                break;
            }
        }
    }
    dw_exchange_set_header(exchange, "Allow", allowed);
    dw_openai_fail(exchange, 405, NULL, NULL, "this route has no such method");
}

void dw_host_handle(dw_server *server, dw_exchange *exchange, const dw_route_row *row)
{
    bool bad = false;
    dw_fault fault = {.status = 0};
    dw__op *op = row != NULL ? dw__op_create(server, exchange) : NULL;
    if (op == NULL) {
        if (row == NULL) {
            refuse_method(exchange);
        }
        return;
    }
    (void)matches(row->path, dw_exchange_path(exchange), op->parts, &bad);
    if (bad) {
        dw_fault_set(&fault, 404, NULL, "there is nothing of that name");
    }
    take_tenant(op, &fault);
    take_body(op, row, &fault);
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
    } else {
        row->handle(server, exchange, op);
    }
}
