/* The runtime's log, for clients: the last entries, and those that come. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "hosting/host.h"

#define ENTRIES_MAX 4096u
#define FOLLOW_BYTES_MAX ((size_t)1 << 20)

typedef struct entry {
    char *text; /* JSON */
    char actor[DW_ACTOR_ID_CHARS + 1];
    char tenant[DW_TENANT_NAME_MAX + 1];
} entry;

typedef struct follower {
    struct follower *next;
    dw__op *op;
} follower;

struct dw__log {
    pthread_mutex_t lock; /* guards all */
    entry entries[ENTRIES_MAX];
    uint64_t count; /* there have been */
    follower *followers;
};

dw__log *dw__log_create(void)
{
    dw__log *log = dw_alloc(1, sizeof *log);
    if (log != NULL) {
        (void)pthread_mutex_init(&log->lock, NULL);
    }
    return log;
}

void dw__log_destroy(dw__log *log)
{
    if (log == NULL) {
        return;
    }
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        free(log->entries[i].text);
    }
    while (log->followers != NULL) {
        follower *gone = log->followers;
        log->followers = gone->next;
        dw_free(gone);
    }
    (void)pthread_mutex_destroy(&log->lock);
    dw_free(log);
}

/* A text of anybody's; where it is no UTF-8, what is not ASCII in it is '?'. */
static json_t *text_of(const char *text)
{
    char plain[512];
    size_t count = 0;
    json_t *value = json_string(text);
    if (value != NULL) {
        return value;
    }
    for (; text[count] != '\0' && count + 1 < sizeof plain; count++) {
        plain[count] = (unsigned char)text[count] < 0x80 ? text[count] : '?';
    }
    return json_stringn(plain, count);
}

static void put_text(json_t *to, const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0') {
        (void)json_object_set_new(to, name, text_of(text));
    }
}

static char *to_json(const dw_log_entry *from)
{
    json_t *line = json_object();
    (void)json_object_set_new(line, "time_ms", json_integer((json_int_t)from->time_ms));
    put_text(line, "level",
             from->level == DW_LOG_ERROR  ? "error"
             : from->level == DW_LOG_WARN ? "warn"
             : from->level == DW_LOG_INFO ? "info"
                                          : "debug");
    put_text(line, "event", from->event);
    put_text(line, "actor", from->actor);
    put_text(line, "tenant", from->tenant);
    if (from->message != 0) {
        (void)json_object_set_new(line, "message", json_integer((json_int_t)from->message));
    }
    if (from->status != DW_OK) {
        put_text(line, "status", dw_status_name(from->status));
    }
    put_text(line, "limit", from->limit);
    put_text(line, "text", from->text);
    put_text(line, "trace_id", from->trace_id);
    put_text(line, "span_id", from->span_id);
    for (size_t i = 0; i < from->field_count; i++) {
        (void)json_object_set_new(line, from->fields[i].name,
                                  json_integer((json_int_t)from->fields[i].value));
    }
    char *text = json_dumps(line, JSON_COMPACT);
    json_decref(line);
    return text;
}

/* Whether who asks may see it, and asked for it. */
static bool is_for(const dw__op *op, const entry *of)
{
    return (op->actor[0] == '\0' || strcmp(op->actor, of->actor) == 0) &&
           (op->own_user || (of->actor[0] != '\0' && strcmp(op->tenant, of->tenant) == 0));
}

static void give(dw__op *op, const char *text)
{
    (void)pthread_mutex_lock(&op->lock);
    bool taken = op->news.count < FOLLOW_BYTES_MAX && dw_text_add(&op->news, text, strlen(text)) &&
                 dw_text_add(&op->news, "\n", 1);
    op->lost += !taken;
    (void)pthread_mutex_unlock(&op->lock);
    dw__op_stir(op);
}

void dw_log_take(dw__log *log, const dw_log_entry *from)
{
    char *text = to_json(from);
    if (text == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&log->lock);
    entry *to = &log->entries[log->count++ % ENTRIES_MAX];
    free(to->text);
    *to = (entry){.text = text};
    (void)snprintf(to->actor, sizeof to->actor, "%s", from->actor);
    (void)snprintf(to->tenant, sizeof to->tenant, "%s", from->tenant);
    for (const follower *at = log->followers; at != NULL; at = at->next) {
        if (is_for(at->op, to)) {
            give(at->op, text);
        }
    }
    (void)pthread_mutex_unlock(&log->lock);
}

/* ---- requests ------------------------------------------------------------------------------- */

/* What there is, the last `number` of them; with the lock. */
static void list_entries(const dw__log *log, dw__op *op)
{
    uint64_t first = log->count > ENTRIES_MAX ? log->count - ENTRIES_MAX : 0;
    uint64_t wanted = op->number;
    uint64_t from = log->count;
    while (from > first && wanted > 0) {
        from--;
        wanted -= is_for(op, &log->entries[from % ENTRIES_MAX]);
    }
    json_t *list = json_array();
    for (; from < log->count; from++) {
        const entry *at = &log->entries[from % ENTRIES_MAX];
        if (is_for(op, at)) {
            (void)json_array_append_new(list, json_loads(at->text, 0, NULL));
        }
    }
    op->result = json_pack("{s:s, s:o}", "object", "list", "data", list);
}

static dw_status list_work(dw__op *op, dw_error *err)
{
    dw__log *log = dw_host_log(op->host);
    dw_status status = op->parts[0][0] != '\0' ? dw__op_find(op, err) : DW_OK;
    if (status != DW_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&log->lock);
    list_entries(log, op);
    (void)pthread_mutex_unlock(&log->lock);
    return DW_OK;
}

/* Nothing more for it. */
static void unfollow(dw__log *log, const dw__op *op)
{
    (void)pthread_mutex_lock(&log->lock);
    follower **link = &log->followers;
    while (*link != NULL && (*link)->op != op) {
        link = &(*link)->next;
    }
    follower *gone = *link;
    if (gone != NULL) {
        *link = gone->next;
        dw_free(gone);
    }
    (void)pthread_mutex_unlock(&log->lock);
}

static dw_status follow_work(dw__op *op, dw_error *err)
{
    dw__log *log = dw_host_log(op->host);
    dw_status status = op->parts[0][0] != '\0' ? dw__op_find(op, err) : DW_OK;
    follower *made = status == DW_OK ? dw_alloc(1, sizeof *made) : NULL;
    if (status != DW_OK || made == NULL) {
        return status != DW_OK ? status : dw_fail(err, DW_E_MEMORY, "no memory for a log");
    }
    dw__op_expect(op);
    made->op = op;
    (void)pthread_mutex_lock(&log->lock);
    bool gone = op->flag;
    if (!gone) {
        made->next = log->followers;
        log->followers = made;
        op->subscription = 1;
    }
    (void)pthread_mutex_unlock(&log->lock);
    if (gone) {
        dw_free(made);
        dw__op_part(op);
    } else {
        dw__op_stir(op); /* it begins */
    }
    return DW_OK;
}

static void on_follow_gone(dw__op *op)
{
    dw__log *log = dw_host_log(op->host);
    (void)pthread_mutex_lock(&log->lock);
    bool followed = op->subscription != 0;
    op->subscription = 0;
    op->flag = true;
    (void)pthread_mutex_unlock(&log->lock);
    if (followed) {
        unfollow(log, op);
        dw__op_part(op);
    }
}

static void begin(dw_exchange *exchange, dw__op *op)
{
    dw_fault fault = {.status = 0};
    op->number = dw_url_whole(exchange, "limit", 0, ENTRIES_MAX, 100, &fault);
    bool follows = dw_url_truth(exchange, "follow", false, &fault);
    if (follows && dw_exchange_is_head(exchange)) {
        dw_fault_set(&fault, 405, NULL, "a stream without an end has no head alone");
    }
    if (dw_fault_is_set(&fault)) {
        dw__op_refuse(op, &fault);
        return;
    }
    op->work = follows ? follow_work : list_work;
    if (follows) {
        op->is_stream = op->endless = true;
        op->on_news = dw__op_stream_news;
        op->on_gone = on_follow_gone;
    }
    dw__op_begin(op);
}

DW__HANDLER(dw__on_actors_logs)
{
    (void)server;
    begin(exchange, op);
}

DW__HANDLER(dw__on_logs)
{
    (void)server;
    begin(exchange, op);
}
