/* Actors over HTTP: requests as work off the loop. A route's function reads the request on the
 * loop's thread and fills in an op; `work` does it on another thread, where it may wait for the
 * disk; calls of the runtime's that go on by themselves end on a thread of its own; then the loop
 * answers. Nothing but the op goes from one to the other.
 *
 * Thread: the loop's, but for what says otherwise. */
#ifndef DW_HOSTING_HOST_H
#define DW_HOSTING_HOST_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "serving/params.h"
#include "serving/url.h"
#include "serving/serving.h"

#define DW__PART_BYTES 640 /* of a path's part, decoded: "TENANT@NAME" */

typedef struct dw_host dw_host;
typedef struct dw__op dw__op;

/* A request, its work and its answer. Who has it: `work`, until it returns; callbacks, until the
 * last; then the loop. */
struct dw__op {
    dw_host *host; /* counted */
    dw_runtime *runtime;
    dw_exchange *exchange; /* the loop's; NULL: nobody is there any more */
    dw__op *before;        /* of all there are, the loop's */
    dw__op *next;
    char tenant[DW_TENANT_NAME_MAX + 1]; /* of who asks */
    bool own_user;                       /* who may do everything, with all tenants' */
    char parts[2][DW__PART_BYTES];       /* of the path */
    json_t *body;                        /* an object, or NULL */
    dw_module *module;                   /* counted, or NULL */

    /* Off the loop, once. DW_OK: `result` is the answer, unless callbacks are expected. */
    dw_status (*work)(dw__op *op, dw_error *err);
    /* On the loop: something came for it (dw__op_stir); may be NULL. */
    void (*on_news)(dw__op *op);
    /* On the loop, at its end: it answers. NULL: with `result`, or the failure. */
    void (*on_end)(dw__op *op);
    /* The other side has gone, or the server leaves and the op is without an end; may be NULL. */
    void (*on_gone)(dw__op *op);
    bool endless; /* it ends by on_gone alone */
    bool goes_on; /* set by on_end: the op is not gone, but works again (dw__op_again) or waits */
    bool waits;   /* for on_news, when the other side has taken something */
    uv_work_t queued;
    bool is_long;          /* on a thread of the host's: it may take seconds */
    atomic_int parts_left; /* `work`, and callbacks that are expected */

    dw_status status; /* of all of it: the first that failed */
    dw_error error;
    const char *param; /* what it is about; static, or NULL */
    int http;          /* of a good answer; 0: 200 */
    json_t *result;

    char actor[DW_ACTOR_ID_CHARS + 1]; /* that it is about, or that was made */
    uint64_t number;
    uint64_t timeout_ms;
    int fd; /* -1: none */
    bool flag;
    dw_freeze_stats written;
    uint64_t subscription;
    size_t sent_bytes; /* of an answer; of a file */
    bool begun;        /* its head is out */
    bool is_stream;    /* server-sent events */
    uint64_t quiet_ms; /* when something was last sent */

    pthread_mutex_t lock; /* guards the next */
    dw_text news;
    uint64_t lost; /* events that there was no room for */
    void *extra;   /* dw_free */

    dw__op *next_ready; /* the host's lock guards it and the next two */
    bool is_ready;
    bool has_ended;
    dw__op *next_queued; /* the queue of long work */
};

/* ---- host.c ---- */

dw_status dw_host_create(dw_host **out, dw_server *server, dw_error *err);
/* No more streams without an end. */
void dw_host_leave(dw_host *host);
/* What keeps the loop closes. */
void dw_host_close_handles(dw_host *host);
/* Once the loop has ended: work under way is waited for, what waits is left. */
void dw_host_destroy(dw_host *host);
/* Of uploaded modules, in a folder of the state folder's; NULL: in memory alone. */
dw_status dw_host_open_modules(dw_host *host, const char *path, dw_error *err);
dw_server *dw__host_server(dw_host *host);
/* Bytes of actors' answers that came from their guests, and are not written yet. */
size_t dw_host_held_bytes(dw_host *host);
/* All ops there are. */
dw__op *dw__host_first(dw_host *host);

/* NULL: no memory, or the server is leaving, which was answered. */
dw__op *dw__op_create(dw_server *server, dw_exchange *exchange);
/* Let its work begin. Not the caller's any more. */
void dw__op_begin(dw__op *op);
/* From on_end, or on_news of one that waits: its work, once more. */
void dw__op_again(dw__op *op);
/* It cannot begin: answered, and gone. */
void dw__op_refuse(dw__op *op, const dw_fault *fault);
/* A callback will come: before the call that it is of. Thread: any. */
void dw__op_expect(dw__op *op);
/* It came, or never will. Thread: any. */
void dw__op_part(dw__op *op);
/* on_news is wanted. Thread: any, before its last part. */
void dw__op_stir(dw__op *op);
/* The server leaves: what waits should not. Thread: any. */
bool dw__op_is_left(const dw__op *op);
/* Note a failure, unless there is one. Thread: who has it. */
void dw__op_fail(dw__op *op, dw_status status, const dw_error *error);
/* An end of the runtime's -> actor, number, written, failure. `user` is the op; it was expected. */
void dw__op_on_end(void *user, const dw_runtime_end *end);
/* An event of a stream, which is begun if it was not; `type` NULL: none. */
void dw__op_put_event(dw__op *op, const char *type, const char *data, size_t bytes);
/* on_news of an endless stream: each line of `news` is an event, `lost` one of its own. */
void dw__op_stream_news(dw__op *op);
/* Answer as on_end NULL does. */
void dw__op_answer(dw__op *op);
void dw__op_answer_failure(dw__op *op);

/* The failure, in the shape of all routes of actors: {"error": {"message", "type", "param",
 * "code"}}, code being the name of a dw_status. */
void dw_host_fail(dw_exchange *exchange, dw_status status, const char *param, const char *what);
int dw__host_http(dw_status status);

/* ---- host_routes.c ---- */

typedef struct dw_route_row {
    dw_http_method method;
    const char *path; /* parts in braces are any */
    void (*handle)(dw_server *server, dw_exchange *exchange, dw__op *op);
    unsigned takes; /* DW_TAKES_* */
} dw_route_row;

enum {
    DW_TAKES_JSON = 1,   /* an object, or nothing */
    DW_TAKES_BYTES = 2,  /* any bytes */
    DW_TAKES_MODULE = 4, /* bytes that go to a file, as the next */
    DW_TAKES_SNAPSHOT = 8,
    DW_GIVES_BYTES = 16,
    DW_GIVES_EVENTS = 32,
    DW_GIVES_TEXT = 64,
};
/* Row `index`; NULL: there are no more. */
const dw_route_row *dw_host_row(size_t index);
/* The one of these routes that the request is for -> *form, its path's; NULL: there is none of that
 * path, or, where *form is set, none of that method. */
const dw_route_row *dw_host_find(const dw_exchange *exchange, const char **form);
/* Answer what is for that row; NULL: for none of this method. */
void dw_host_handle(dw_server *server, dw_exchange *exchange, const dw_route_row *row);
/* dw_http_options.body_file. */
int dw_host_body_file(void *user, const dw_exchange *exchange, uint64_t *bytes_max);
/* The body has no members but these [count]. */
void dw__only(const json_t *body, const char *const *names, size_t count, dw_fault *fault);

/* ---- off the loop: host_actors.c ---- */

/* parts[0], an id, the start of one, or a name, as an actor that who asks may know of ->
 * op->actor. Errors: DW_E_NOT_FOUND, DW_E_ARG. */
dw_status dw__op_find(dw__op *op, dw_error *err);
/* "TENANT#GROUP" of a group's name -> text [DW__PART_BYTES]. */
dw_status dw__op_group(const dw__op *op, const char *given, char *text, dw_error *err);
/* What a runtime or an actor says of itself, as JSON; NULL: it failed. `id` NULL: all. */
json_t *dw__op_describe(dw__op *op, const char *id, dw_error *err);

/* A count; as text where it is more than JSON's readers take for a whole number, 2^63 - 1. */
json_t *dw__count_json(uint64_t count);
/* Bytes as a value: text where they are UTF-8, else base64 -> *member, "text" or "base64". */
json_t *dw__bytes_json(const unsigned char *bytes, size_t count, const char **member);
/* A file without a name for bytes that come or go; -1: there is no room. */
int dw__host_spool(const dw_server *server);
/* on_end of what ends with an actor: {"id": ...}, and with a freeze's number. */
void dw__op_answer_actor(dw__op *op);
/* May who asks do what concerns all tenants? Else refused. */
bool dw__op_is_own_user(dw__op *op);
/* Of the body's `module` (a hash) or `guest` (a name) -> op->module, counted. Off the loop. */
dw_status dw__op_find_module(dw__op *op, dw_error *err);

/* ---- handlers ---- */

#define DW__HANDLER(name) void name(dw_server *server, dw_exchange *exchange, dw__op *op)
DW__HANDLER(dw__on_actors_list);
DW__HANDLER(dw__on_actors_show);
DW__HANDLER(dw__on_actors_change);
DW__HANDLER(dw__on_actors_stop);
DW__HANDLER(dw__on_actors_stop_all);
DW__HANDLER(dw__on_actors_freeze);
DW__HANDLER(dw__on_actors_freezes);
DW__HANDLER(dw__on_actors_rewind);
DW__HANDLER(dw__on_actors_park);
DW__HANDLER(dw__on_actors_thaw);
DW__HANDLER(dw__on_actors_fork);
DW__HANDLER(dw__on_actors_interrupt);
DW__HANDLER(dw__on_actors_upgrade);
DW__HANDLER(dw__on_actors_files);
DW__HANDLER(dw__on_actors_join);
DW__HANDLER(dw__on_actors_quit);
DW__HANDLER(dw__on_actors_spawn);
DW__HANDLER(dw__on_actors_send);
DW__HANDLER(dw__on_actors_cancel);
DW__HANDLER(dw__on_actors_export);
DW__HANDLER(dw__on_actors_import);
DW__HANDLER(dw__on_actors_events);
DW__HANDLER(dw__on_actors_logs);
DW__HANDLER(dw__on_events);
DW__HANDLER(dw__on_logs);
DW__HANDLER(dw__on_mail_list);
DW__HANDLER(dw__on_mail_read);
DW__HANDLER(dw__on_mail_drop);
DW__HANDLER(dw__on_mail_retry);
DW__HANDLER(dw__on_names_find);
DW__HANDLER(dw__on_groups_show);
DW__HANDLER(dw__on_groups_send);
DW__HANDLER(dw__on_modules_add);
DW__HANDLER(dw__on_modules_list);
DW__HANDLER(dw__on_modules_show);
DW__HANDLER(dw__on_modules_drop);
DW__HANDLER(dw__on_overview_show);
DW__HANDLER(dw__on_runtime_wait);

/* ---- host_modules.c: those that were uploaded ---- */

typedef struct dw__modules dw__modules;
/* `path`: a folder of the state folder's; NULL: in memory alone. */
dw_status dw__modules_create(dw__modules **out, dw_server *server, const char *path, dw_error *err);
void dw__modules_destroy(dw__modules *modules);
dw__modules *dw__host_modules(dw_host *host);
/* The tenant's of this hash, compiled when it is first asked for; counted. Off the loop. Errors:
 * DW_E_NOT_FOUND, those of dw_module_create. */
dw_status dw__modules_find(dw__modules *modules, const char *tenant, const char *sha256,
                           dw_module **module, dw_error *err);

/* ---- host_log.c ---- */

typedef struct dw__log dw__log;
dw__log *dw__log_create(void);
void dw__log_destroy(dw__log *log);
dw__log *dw_host_log(dw_host *host);
/* Thread: any. */
void dw_log_take(dw__log *log, const dw_log_entry *entry);

#endif
