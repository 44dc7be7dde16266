#include "serving/task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "model/model.h"
#include "serving/line.h"
#include "serving/steady.h"

#define TASKS_MAX 4096
#define KEPT_MAX ((size_t)1 << 20)   /* bytes of an answer that nobody has read */
#define SPARE_MAX ((size_t)16 << 10) /* of a buffer that is kept for what comes next */
#define DAY_S 86400

struct dw_task {
    dw_server *server;
    dw_task *before; /* under way */
    dw_task *next;
    dw_model_waiter waiter; /* has the model, once it is loaded */
    dw_named_model *model;
    const dw_task_ops *ops; /* NULL: nobody waits for it */
    void *user;
    char tenant[DW_TENANT_NAME_MAX + 1];
    char traceparent[64];
    /* what its conversations are kept apart by */
    char scope[DW_SCOPE_BYTES + DW_FINGERPRINT_BYTES + DW_TENANT_NAME_MAX + 2];
    json_t *lora;            /* adapters that were asked for; NULL: the model's usual ones */
    char *adapters;          /* those that its context has, JSON; NULL: the model has none */
    const char *fault_param; /* what `error` is of; NULL: nothing in particular */
    char *chat;              /* with the time in it; NULL: it is none */
    char *rest;
    uint32_t n;
    uv_work_t work;   /* looking for its conversation; keeping it */
    bool works;       /* that is under way */
    dw_status status; /* of it */
    dw_error error;
    dw_text prompt;                          /* of a chat: its text */
    dw_chat_answer *answers[DW_CHOICES_MAX]; /* [n], of a chat */
    uint32_t reasoned[DW_CHOICES_MAX];       /* [n]: tokens up to the last that was reasoning */
    char *message;                           /* of the first answer, when it has ended: JSON */
    bool whole;                              /* and it has */
    dw_index_found found[DW_INDEX_FOUND_MAX];
    size_t found_count;
    dw_terms terms;
    json_t *steady;                     /* dw_steady_apply's; NULL: nothing */
    char named[DW_ACTOR_ID_CHARS + 1];  /* the session's actor; "": there is none */
    char parent[DW_ACTOR_ID_CHARS + 1]; /* its parent's; likewise */
    bool is_named;                      /* the actor has the session's name */
    bool tries_anew;                    /* with a new actor: the one that was found failed */
    bool is_made;                       /* the actor was, for it */
    bool told;                          /* of its beginning */
    bool paused;
    bool is_broken; /* its answer cannot be read: `error` says why */
    char actor[DW_ACTOR_ID_CHARS + 1];
    uint64_t number;      /* of the message */
    bool sent;            /* and its end was not told */
    dw_text line;         /* of the answer, as far as it came */
    dw_text piece;        /* of it, that is told: kept for its memory, as the next */
    dw_text spare;        /* empty: for the next `news` */
    pthread_mutex_t lock; /* guards what follows, which the guest's thread fills in */
    dw_text news;
    bool is_ready;
    bool has_ended;
    dw_status end;
    dw_error end_error;
    dw_task *next_ready; /* the server's lock */
};

static void finish(dw_task *task, dw_status status, const dw_error *error);
static void on_model(dw_model_waiter *waiter);

/* ---- beginnings and ends -------------------------------------------------------------------- */

static void unlink_task(dw_task *task)
{
    dw_server *server = task->server;
    if (task->before != NULL) {
        task->before->next = task->next;
    } else {
        server->tasks = task->next;
    }
    if (task->next != NULL) {
        task->next->before = task->before;
    }
    server->task_count--;
}

static void destroy(dw_task *task)
{
    for (uint32_t i = 0; i < task->n; i++) {
        dw_chat_answer_destroy(task->answers[i]);
    }
    (void)pthread_mutex_destroy(&task->lock);
    dw_text_free(&task->prompt);
    dw_text_free(&task->line);
    dw_text_free(&task->piece);
    dw_text_free(&task->spare);
    dw_text_free(&task->news);
    dw_models_give(&task->waiter);
    dw_free(task->message);
    json_decref(task->steady);
    json_decref(task->lora);
    free(task->adapters);
    dw_free(task->chat);
    dw_free(task->rest);
    dw_free(task);
}

/* The chat with the day in it, for templates that tell the date: the same text all day. */
static char *with_day(const char *chat)
{
    char day[48];
    dw_text text = {.bytes = NULL};
    size_t length = strlen(chat);
    long long now = (long long)time(NULL);
    (void)snprintf(day, sizeof day, ",\"now\":%lld}", now - now % DAY_S);
    if (!dw_text_add(&text, chat, length - 1) || !dw_text_add(&text, day, strlen(day))) {
        dw_text_free(&text);
    }
    return text.bytes;
}

dw_status dw_task_begin(dw_task **out, dw_server *server, const dw_task_request *request,
                        dw_error *err)
{
    char what[DW_MODELS_MISSING_BYTES];
    dw_named_model *model = dw_models_find(server, request->tenant, request->model);
    if (server->leaving) {
        return dw_fail(err, DW_E_STATE, "the server is shutting down");
    }
    if (model == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "%s", dw_models_missing(request->model, what));
    }
    if (server->task_count >= TASKS_MAX) {
        return dw_fail(err, DW_E_BUSY, "%d requests are under way", TASKS_MAX);
    }
    dw_task *task = dw_alloc(1, sizeof *task);
    if (task == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a request");
    }
    (void)pthread_mutex_init(&task->lock, NULL);
    task->server = server;
    task->model = model;
    (void)snprintf(task->tenant, sizeof task->tenant, "%s", request->tenant);
    (void)snprintf(task->traceparent, sizeof task->traceparent, "%s",
                   request->traceparent != NULL ? request->traceparent : "");
    task->ops = request->ops;
    task->user = request->user;
    task->n = request->n;
    task->terms =
        request->terms != NULL ? *request->terms : (dw_terms){.priority = -1, .pinned = -1};
    task->chat = request->chat != NULL ? with_day(request->chat) : NULL;
    task->rest = dw_strdup(request->rest);
    task->lora = json_incref((json_t *)(uintptr_t)request->lora);
    if (task->rest == NULL || (request->chat != NULL && task->chat == NULL)) {
        destroy(task);
        return dw_fail(err, DW_E_MEMORY, "no memory for a request");
    }
    task->next = server->tasks;
    if (server->tasks != NULL) {
        server->tasks->before = task;
    }
    server->tasks = task;
    server->task_count++;
    *out = task;
    task->waiter = (dw_model_waiter){.on_model = on_model, .owner = task};
    dw_models_want(model, &task->waiter);
    return DW_OK;
}

/* Everything about it has ended: who asked is told, and it is gone. */
static void finish(dw_task *task, dw_status status, const dw_error *error)
{
    const dw_task_ops *ops = task->ops;
    void *user = task->user;
    const char *param = task->fault_param;
    dw_error own = error != NULL ? *error : (dw_error){.code = status};
    unlink_task(task);
    destroy(task);
    if (ops != NULL && status != DW_OK && param != NULL && ops->on_fault != NULL) {
        ops->on_fault(user, param);
    }
    if (ops != NULL) {
        ops->on_end(user, status, &own);
    }
}

void dw_task_leave(dw_task *task)
{
    task->ops = NULL;
    task->paused = false;
    if (task->sent) {
        (void)!dw_runtime_cancel(task->server->runtime, task->actor, task->number, NULL);
    }
}

/* ---- the actor ------------------------------------------------------------------------------ */

/* With the task's lock. true: the loop is to be woken; for others it was already. */
static bool mark_ready(dw_task *task)
{
    dw_server *server = task->server;
    if (task->is_ready) {
        return false;
    }
    task->is_ready = true;
    (void)pthread_mutex_lock(&server->lock);
    bool first = server->ready == NULL;
    task->next_ready = server->ready;
    server->ready = task;
    (void)pthread_mutex_unlock(&server->lock);
    return first;
}

/* On the thread that runs the guest. */
static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    dw_task *task = user;
    dw_server *server = task->server;
    ptrdiff_t taken = (ptrdiff_t)count;
    bool wakes = false;
    (void)pthread_mutex_lock(&task->lock);
    if (task->news.count > KEPT_MAX) {
        taken = -EAGAIN; /* the guest waits until some of it was read */
    } else if (!dw_text_add(&task->news, bytes, count)) {
        taken = -ENOMEM;
    } else {
        wakes = mark_ready(task);
    }
    (void)pthread_mutex_unlock(&task->lock);
    if (wakes) { /* without the lock, for which the loop would wait at once */
        dw_waker_wake(&server->news);
    }
    return taken;
}

/* On a thread of the runtime's. */
static void on_message_end(void *user, const dw_runtime_end *end)
{
    dw_task *task = user;
    (void)pthread_mutex_lock(&task->lock);
    task->has_ended = true;
    task->end = end->status;
    if (end->error != NULL) {
        task->end_error = *end->error;
    }
    /* Before the lock is free: then the loop may end the task, and the server may go. */
    if (mark_ready(task)) {
        dw_waker_wake(&task->server->news);
    }
    (void)pthread_mutex_unlock(&task->lock);
}

static bool is_busy(const dw_task *own, const char *actor)
{
    for (const dw_task *task = own->server->tasks; task != NULL; task = task->next) {
        if (task != own && strcmp(task->actor, actor) == 0) {
            return true;
        }
    }
    return false;
}

/* Of the scope, without the tenant behind it. */
static size_t scope_bytes(const dw_task *task)
{
    return strlen(task->scope) - strlen(task->tenant) - 1;
}

/* What a session's actor is called: of one model with its adapters, so that another's is
 * another. */
static void session_name(const dw_task *task, const char *session, char name[DW_NAME_MAX + 1])
{
    uint8_t digest[DW_HASH128_BYTES];
    char digits[2 * DW_HASH128_BYTES + 1];
    dw_hash128 *hash = dw_hash128_create();
    digest[0] = 0;
    if (hash != NULL) {
        dw_hash128_add(hash, task->scope, scope_bytes(task));
        dw_hash128_finish(hash, digest);
        dw_hash128_destroy(hash);
    }
    dw_hex(digits, digest, sizeof digest);
    (void)snprintf(name, DW_NAME_MAX + 1, "%s.%.8s", session, digits);
}

static dw_status make_actor(dw_task *task, dw_error *err)
{
    dw_server *server = task->server;
    dw_instance_options instance = server->instance;
    instance.models = &task->waiter.model;
    instance.model_count = 1;
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    char name[DW_NAME_MAX + 1] = "";
    bool names = task->terms.session[0] != '\0' && task->named[0] == '\0' && task->chat != NULL;
    session_name(task, task->terms.session, name);
    dw_spawn_options options = {
        .struct_bytes = sizeof options,
        .actor = &actor,
        .tenant = task->tenant,
        .name = names ? name : NULL,
        .priority =
            task->terms.priority >= 0 ? (dw_priority)task->terms.priority : DW_PRIORITY_NORMAL,
        .pinned = task->terms.pinned == 1,
    };
    task->is_named = names;
    task->is_made = true;
    task->tries_anew = true;
    dw_status status =
        dw_runtime_begin_spawn(server->runtime, server->conversation, &options, task->actor, err);
    if (status == DW_E_STATE && names) { /* another request of the session has made it meanwhile */
        options.name = NULL;
        task->is_named = false;
        status = dw_runtime_begin_spawn(server->runtime, server->conversation, &options,
                                        task->actor, err);
    }
    return status;
}

/* One of the tenant's that has nothing to do, for a text that is no chat. */
static bool take_idle(dw_task *task)
{
    dw_named_model *model = task->model;
    for (size_t i = 0; i < model->idle_count; i++) {
        if (strcmp(model->idle[i].tenant, task->tenant) == 0) {
            memcpy(task->actor, model->idle[i].actor, sizeof task->actor);
            model->idle[i] = model->idle[--model->idle_count];
            return true;
        }
    }
    return false;
}

/* The actor that the conversation goes on with; a branch gets a copy. */
static dw_status choose_actor(dw_task *task, dw_error *err)
{
    if (task->named[0] != '\0' && !task->tries_anew && !is_busy(task, task->named)) {
        task->is_named = true;
        memcpy(task->actor, task->named, sizeof task->actor);
        return DW_OK;
    }
    if (task->named[0] == '\0' && task->parent[0] != '\0' && !task->tries_anew &&
        dw_runtime_begin_fork(task->server->runtime, task->parent, task->actor, NULL, NULL, NULL) ==
            DW_OK) {
        task->is_made = true;
        return DW_OK;
    }
    for (size_t i = 0; i < task->found_count && !task->tries_anew; i++) {
        const dw_index_found *found = &task->found[i];
        if (is_busy(task, found->actor)) {
            continue;
        }
        if (found->goes_on) {
            memcpy(task->actor, found->actor, sizeof task->actor);
            return DW_OK;
        }
        if (dw_runtime_begin_fork(task->server->runtime, found->actor, task->actor, NULL, NULL,
                                  NULL) == DW_OK) {
            task->is_made = true;
            return DW_OK;
        }
    }
    if (task->chat == NULL && take_idle(task)) {
        return DW_OK;
    }
    return make_actor(task, err);
}

static void forget_actor(dw_task *task)
{
    dw_server *server = task->server;
    if (server->index != NULL && task->actor[0] != '\0') {
        (void)!dw_index_drop(server->index, task->actor, NULL);
    }
}

/* The message goes to its actor; one that is no longer there is forgotten, and another made. */
static void send_message(dw_task *task)
{
    dw_text message = {.bytes = NULL};
    dw_error error = {.code = DW_OK};
    static const char start[] = "{\"request\":";
    static const char lora[] = ",\"lora\":";
    bool made = task->chat == NULL ? dw_text_add(&message, "{", 1)
                                   : dw_text_add(&message, start, sizeof start - 1) &&
                                         dw_text_add(&message, task->chat, strlen(task->chat)) &&
                                         dw_text_add(&message, ",", 1);
    made = made && dw_text_add(&message, task->rest, strlen(task->rest)) &&
           (task->adapters == NULL ||
            (dw_text_add(&message, lora, sizeof lora - 1) &&
             dw_text_add(&message, task->adapters, strlen(task->adapters)))) &&
           dw_text_add(&message, "}", 1);
    dw_request request = {.struct_bytes = sizeof request,
                          .message = message.bytes,
                          .message_bytes = message.count,
                          .on_answer = on_answer,
                          .on_end = on_message_end,
                          .user = task,
                          .traceparent = task->traceparent};
    dw_status status =
        made ? choose_actor(task, &error) : dw_fail(&error, DW_E_MEMORY, "no memory for a message");
    if (status == DW_OK) {
        status =
            dw_runtime_send(task->server->runtime, task->actor, &request, &task->number, &error);
        if (status == DW_E_NOT_FOUND && !task->tries_anew) {
            forget_actor(task);
            status = make_actor(task, &error);
            status = status == DW_OK ? dw_runtime_send(task->server->runtime, task->actor, &request,
                                                       &task->number, &error)
                                     : status;
        }
    }
    dw_text_free(&message);
    if (status != DW_OK) {
        finish(task, status, &error);
        return;
    }
    task->sent = true;
    if (task->ops == NULL) {
        dw_task_leave(task);
    }
}

/* ---- looking for the conversation ----------------------------------------------------------- */

/* The chat with the lines of its system prompt that change where they came first. */
static void keep_steady(dw_task *task)
{
    json_t *chat = json_loads(task->chat, JSON_ALLOW_NUL, NULL);
    task->steady = dw_steady_apply(task->server->index, task->scope, chat);
    char *text = task->steady != NULL ? json_dumps(chat, JSON_COMPACT) : NULL;
    char *own = text != NULL ? dw_strdup(text) : NULL;
    if (own != NULL) {
        dw_free(task->chat);
        task->chat = own;
    }
    free(text);
    json_decref(chat);
}

static dw_status read_prompt(dw_task *task, dw_error *err)
{
    if (task->server->index != NULL) {
        keep_steady(task);
    }
    dw_chat_prompt *prompt = NULL;
    size_t length = strlen(task->chat);
    size_t bytes = 0;
    dw_model *model = task->waiter.model;
    dw_status status = dw_chat_render(&prompt, model, task->chat, length, (int64_t)time(NULL), err);
    if (status != DW_OK) {
        return status;
    }
    const char *text = dw_chat_prompt_text(prompt, &bytes);
    if (!dw_text_add(&task->prompt, text, bytes)) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for a prompt");
    }
    dw_chat_prompt_destroy(prompt);
    for (uint32_t i = 0; i < task->n && status == DW_OK; i++) {
        status = dw_chat_answer_create(&task->answers[i], model, task->chat, length, err);
    }
    return status;
}

/* The actor of a session, if there is one. */
static void find_session(const dw_task *task, const char *session,
                         char actor[DW_ACTOR_ID_CHARS + 1])
{
    char name[DW_NAME_MAX + 1];
    if (session[0] != '\0') {
        session_name(task, session, name);
        (void)!dw_runtime_find(task->server->runtime, task->tenant, name, actor, NULL);
    }
}

/* What is asked of an actor that is there already, or no longer at work. */
static void fulfil(dw_task *task, const char *actor)
{
    dw_runtime *runtime = task->server->runtime;
    if (task->terms.priority >= 0) {
        (void)!dw_runtime_set_priority(runtime, actor, (dw_priority)task->terms.priority, NULL);
    }
    if (task->terms.pinned >= 0) {
        (void)!dw_runtime_set_pinned(runtime, actor, task->terms.pinned == 1, NULL);
    }
}

/* The adapters that were asked for, or else the usual ones: what contexts were computed with others
 * is none of its conversation's. */
static dw_status get_adapters(const dw_task *task, dw_adapter_set **set, dw_error *err)
{
    dw_adapter_choice choices[DW_ADAPTERS_MAX];
    dw_adapters *adapters = dw_model_adapters(task->waiter.model);
    const size_t known = dw_adapters_count(adapters);
    const size_t count = json_array_size(task->lora);
    if (task->lora == NULL) {
        return dw_adapter_set_usual(set, adapters, err);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(task->lora, i);
        const json_int_t id = json_integer_value(json_object_get(one, "id"));
        if ((uint64_t)id >= known) {
            return dw_fail(err, DW_E_RANGE, "lora: there is no adapter %lld, the model has %zu",
                           (long long)id, known);
        }
        choices[i] = (dw_adapter_choice){(uint32_t)id,
                                         (float)json_number_value(json_object_get(one, "scale"))};
    }
    return dw_adapter_set_get(set, adapters, choices, (uint32_t)count, err);
}

/* -> JSON for the guest; NULL: there is no memory. `set` NULL: none. */
static char *adapters_text(const dw_adapter_set *set)
{
    json_t *list = json_array();
    for (uint32_t i = 0; set != NULL && i < set->count; i++) {
        (void)json_array_append_new(list, json_pack("[I, f]", (json_int_t)set->choices[i].index,
                                                    (double)set->choices[i].scale));
    }
    char *text = list != NULL ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

/* What the guest is told of adapters, and the scope, which has those that are not the usual. */
static dw_status choose_adapters(dw_task *task, dw_error *err)
{
    char fingerprint[DW_FINGERPRINT_BYTES];
    dw_adapter_set *usual = NULL;
    dw_adapter_set *set = NULL;
    dw_model *model = task->waiter.model;
    const char *scope = task->waiter.scope;
    (void)snprintf(task->scope, sizeof task->scope, "%s/%s", scope, task->tenant);
    task->fault_param = "lora";
    dw_status status = dw_adapter_set_usual(&usual, dw_model_adapters(model), err);
    if (status == DW_OK) {
        status = get_adapters(task, &set, err);
    }
    if (status == DW_OK && set != usual) { /* equal ones are the same */
        status = dw_model_fingerprint_with(model, set, fingerprint, err);
        (void)snprintf(task->scope, sizeof task->scope, "%s+%s/%s", scope, fingerprint,
                       task->tenant);
    }
    if (status == DW_OK && dw_adapters_count(dw_model_adapters(model)) > 0) {
        task->adapters = adapters_text(set);
        status = task->adapters != NULL
                     ? DW_OK
                     : dw_fail(err, DW_E_MEMORY, "no memory for a list of adapters");
    }
    dw_adapter_set_unref(set);
    dw_adapter_set_unref(usual);
    task->fault_param = status == DW_OK ? NULL : task->fault_param;
    return status;
}

static void search(uv_work_t *work)
{
    dw_task *task = work->data;
    dw_server *server = task->server;
    task->status = choose_adapters(task, &task->error);
    if (task->status != DW_OK) {
        return;
    }
    find_session(task, task->terms.session, task->named);
    find_session(task, task->terms.parent, task->parent);
    if (task->named[0] != '\0') {
        fulfil(task, task->named);
    }
    task->status = task->chat != NULL ? read_prompt(task, &task->error) : DW_OK;
    if (task->status == DW_OK && task->chat != NULL && server->index != NULL) {
        /* What cannot be found is computed again. */
        const dw_index_text text = {task->scope, task->prompt.bytes, task->prompt.count};
        (void)!dw_index_find(server->index, &text, task->found, &task->found_count, NULL);
    }
}

static void on_searched(uv_work_t *work, int result)
{
    dw_task *task = work->data;
    (void)result;
    task->works = false;
    if (task->status != DW_OK || task->ops == NULL) {
        finish(task, task->status, &task->error);
    } else {
        send_message(task);
    }
}

static void look_for(dw_task *task)
{
    task->works = true;
    task->work.data = task;
    if (uv_queue_work(&task->server->loop, &task->work, search, on_searched) < 0) {
        search(&task->work);
        on_searched(&task->work, 0);
    }
}

static void on_model(dw_model_waiter *waiter)
{
    dw_task *task = waiter->owner;
    if (waiter->model == NULL || task->ops == NULL) {
        finish(task, waiter->status, &waiter->error);
    } else {
        look_for(task);
    }
}

/* ---- keeping it ----------------------------------------------------------------------------- */

/* The chat with its answer, as the client will tell it. */
static dw_status told_again(const dw_task *task, dw_chat_prompt **prompt, dw_error *err)
{
    json_t *chat = json_loads(task->chat, JSON_ALLOW_NUL, NULL);
    json_t *message = json_loads(task->message, JSON_ALLOW_NUL, NULL);
    json_t *messages = json_object_get(chat, "messages");
    (void)json_object_del(message, "note");
    char *text = NULL;
    if (json_array_append(messages, message) == 0 &&
        json_object_set_new(chat, "add_generation_prompt", json_false()) == 0) {
        text = json_dumps(chat, JSON_COMPACT);
    }
    json_decref(chat);
    json_decref(message);
    if (text == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a conversation");
    }
    dw_status status =
        dw_chat_render(prompt, task->waiter.model, text, strlen(text), (int64_t)time(NULL), err);
    free(text);
    return status;
}

/* Conversations beyond the bound: those used longest ago end. */
static void end_surplus(dw_server *server)
{
    char actor[DW_ACTOR_ID_CHARS + 1];
    bool found = false;
    for (int i = 0; i < 4; i++) {
        if (dw_index_surplus(server->index, server->conversations_max, actor, &found, NULL) !=
                DW_OK ||
            !found || dw_index_drop(server->index, actor, NULL) != DW_OK) {
            return;
        }
        (void)!dw_runtime_stop(server->runtime, actor, NULL);
    }
}

static void keep(uv_work_t *work)
{
    dw_task *task = work->data;
    dw_server *server = task->server;
    dw_chat_prompt *prompt = NULL;
    dw_index_text text = {task->scope, task->prompt.bytes, task->prompt.count};
    if (task->message != NULL && told_again(task, &prompt, NULL) == DW_OK) {
        text.text = dw_chat_prompt_text(prompt, &text.bytes);
    } /* else the template has no such message: its prompt is found again */
    (void)!dw_index_save(server->index, &text, task->actor, task->prompt.count, NULL);
    dw_chat_prompt_destroy(prompt);
    if (task->steady != NULL && task->message != NULL) {
        json_t *answer = json_loads(task->message, JSON_ALLOW_NUL, NULL);
        dw_steady_save(server->index, task->scope, task->steady, answer, task->actor);
        json_decref(answer);
    }
    if (!task->is_named) {
        char name[DW_NAME_MAX + 1];
        fulfil(task, task->actor);
        session_name(task, task->terms.session, name);
        if (task->terms.session[0] != '\0' && task->named[0] == '\0') {
            (void)!dw_runtime_set_name(server->runtime, task->actor, name, NULL);
        }
    }
    end_surplus(server);
}

static void on_kept(uv_work_t *work, int result)
{
    dw_task *task = work->data;
    (void)result;
    task->works = false;
    finish(task, task->end, &task->end_error);
}

/* The actor of a text that is no chat serves others; one that nobody would find ends. */
static void leave_actor(dw_task *task)
{
    dw_named_model *model = task->model;
    if (task->chat == NULL && task->end == DW_OK && model->idle_count < DW_IDLE_MAX) {
        dw_idle_actor *idle = &model->idle[model->idle_count++];
        memcpy(idle->actor, task->actor, sizeof idle->actor);
        memcpy(idle->tenant, task->tenant, sizeof idle->tenant);
    } else if (task->chat == NULL || task->is_made) {
        (void)!dw_runtime_stop(task->server->runtime, task->actor, NULL);
    }
}

/* The message has ended, and all of its answer was told. */
static void conclude(dw_task *task)
{
    dw_server *server = task->server;
    task->sent = false;
    if (task->is_broken) {
        task->end = task->error.code;
    }
    if (task->end == DW_OK && !task->whole && task->ops != NULL) {
        task->end = dw_fail(&task->end_error, DW_E_TRAP, "the guest gave no answer");
    }
    if (task->end != DW_OK && !task->told && !task->tries_anew && task->ops != NULL &&
        task->error.code == DW_OK) {
        /* What was kept could not be used: it is computed again. */
        forget_actor(task);
        task->tries_anew = true;
        task->has_ended = false;
        send_message(task);
        return;
    }
    /* An answer that was broken off leaves its prompt, which the next request may begin with. */
    if (task->told && server->index != NULL && task->chat != NULL &&
        (task->end == DW_OK || task->end == DW_E_CANCELLED)) {
        task->works = true;
        task->work.data = task;
        if (uv_queue_work(&server->loop, &task->work, keep, on_kept) == 0) {
            return;
        }
    }
    leave_actor(task);
    finish(task, task->end, task->error.code != DW_OK ? &task->error : &task->end_error);
}

/* ---- the answer ----------------------------------------------------------------------------- */

/* The answer cannot be read on: the actor stops, and who asked is told why. */
static void break_off(dw_task *task)
{
    task->is_broken = true;
    (void)!dw_runtime_cancel(task->server->runtime, task->actor, task->number, NULL);
}

/* Whether the delta is reasoning alone. In its texts no quote stands without a backslash. */
static bool is_reasoning(const char *delta)
{
    static const char start[] = "{\"reasoning_content\":";
    return strncmp(delta, start, sizeof start - 1) == 0 &&
           strstr(delta, "\",\"content\":") == NULL && strstr(delta, "\",\"tool_calls\":") == NULL;
}

/* `tokens` of the answer so far; text [count] is the piece. */
static void tell_piece(dw_task *task, uint32_t choice, uint32_t tokens, const char *bytes,
                       size_t count, json_t *logprobs)
{
    const char *delta = NULL;
    dw_chat_answer *answer = task->answers[choice];
    if (bytes == NULL || task->is_broken) {
        return;
    }
    if (answer != NULL &&
        dw_chat_answer_feed(answer, bytes, count, &delta, &task->error) != DW_OK) {
        break_off(task); /* too long to be read */
        return;
    }
    if (delta != NULL && is_reasoning(delta)) {
        task->reasoned[choice] = tokens;
    }
    if (task->ops != NULL && (delta != NULL || answer == NULL || logprobs != NULL)) {
        task->ops->on_piece(task->user, choice, delta, bytes, count, logprobs);
    }
}

static const char *reason_of(const char *end, const char *message)
{
    if (strcmp(end, "length") == 0) {
        return "length";
    }
    return message != NULL && strstr(message, "\"tool_calls\":[") != NULL ? "tool_calls" : "stop";
}

static void tell_choice_end(dw_task *task, uint32_t choice, const json_t *line)
{
    const char *delta = NULL;
    const char *message = NULL;
    const char *end = json_string_value(json_object_get(line, "end"));
    uint32_t tokens = (uint32_t)json_integer_value(json_object_get(line, "tokens"));
    dw_chat_answer *answer = task->answers[choice];
    if (answer != NULL) {
        if (dw_chat_answer_finish(answer, &delta, &message, &task->error) != DW_OK) {
            break_off(task);
            return;
        }
        if (delta != NULL && is_reasoning(delta)) {
            task->reasoned[choice] = tokens;
        }
        if (delta != NULL && task->ops != NULL) {
            task->ops->on_piece(task->user, choice, delta, "", 0, NULL);
        }
        if (choice == 0) {
            task->message = dw_strdup(message);
        }
    }
    task->whole = task->whole || choice == 0;
    if (task->ops != NULL && end != NULL) {
        const dw_choice_end about = {
            .reason = reason_of(end, message),
            .stop = json_string_value(json_object_get(line, "stop")),
            .message = message,
            .tokens = tokens,
            .reasoning_tokens = task->reasoned[choice] < tokens ? task->reasoned[choice] : tokens,
        };
        task->ops->on_choice_end(task->user, choice, &about);
    }
}

/* One line of the guest's: a token's, as most are, or another. */
static void take_line(dw_task *task, const char *bytes, size_t count)
{
    dw_line plain = {.text = &task->piece};
    if (dw_line_read(&plain, bytes, count) && plain.choice < task->n) {
        tell_piece(task, plain.choice, plain.tokens, task->piece.bytes, task->piece.count, NULL);
        return;
    }
    json_t *line = json_loadb(bytes, count, JSON_ALLOW_NUL, NULL);
    json_t *choice = json_object_get(line, "c");
    json_int_t index = json_integer_value(choice);
    const json_t *failed = json_object_get(line, "error");
    if (failed != NULL) {
        const char *what = json_string_value(json_object_get(line, "what"));
        (void)dw_fail(&task->error, (dw_status)json_integer_value(failed), "%s",
                      what != NULL ? what : "");
    } else if (choice != NULL && index >= 0 && index < task->n) {
        if (json_object_get(line, "end") != NULL) {
            tell_choice_end(task, (uint32_t)index, line);
        } else {
            const json_t *text = json_object_get(line, "t");
            tell_piece(
                task, (uint32_t)index, (uint32_t)json_integer_value(json_object_get(line, "k")),
                json_string_value(text), json_string_length(text), json_object_get(line, "l"));
        }
    } else if (json_object_get(line, "e") != NULL) {
        if (task->ops != NULL && task->ops->on_line != NULL) {
            task->ops->on_line(task->user, line);
        }
        task->whole = true;
    } else if (json_object_get(line, "prompt") != NULL && task->ops != NULL && !task->told) {
        task->told = true;
        task->ops->on_begin(task->user,
                            (uint32_t)json_integer_value(json_object_get(line, "prompt")),
                            (uint32_t)json_integer_value(json_object_get(line, "cached")));
    }
    json_decref(line);
}

static void take_lines(dw_task *task, const dw_text *news)
{
    const char *at = news->bytes;
    const char *end = at + news->count;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (task->line.count == 0 && line_end != NULL) { /* whole, where it is */
            take_line(task, at, (size_t)(line_end - at));
            at = line_end + 1;
            continue;
        }
        if (!dw_text_add(&task->line, at, (size_t)((line_end != NULL ? line_end : end) - at))) {
            (void)dw_fail(&task->error, DW_E_MEMORY, "no memory for an answer");
            break_off(task);
            return;
        }
        if (line_end == NULL) {
            return;
        }
        take_line(task, task->line.bytes, task->line.count);
        task->line.count = 0;
        at = line_end + 1;
    }
}

/* What came for it since the last look. */
static void look(dw_task *task)
{
    dw_text news = {.bytes = NULL};
    (void)pthread_mutex_lock(&task->lock);
    if (!task->paused) {
        news = task->news;
        task->news = task->spare;
        task->spare = (dw_text){.bytes = NULL};
    }
    bool ended = task->has_ended && task->news.count == 0;
    task->is_ready = false;
    (void)pthread_mutex_unlock(&task->lock);
    if (news.count > 0) {
        take_lines(task, &news);
    }
    news.count = 0;
    if (news.capacity <= SPARE_MAX && task->spare.bytes == NULL) {
        task->spare = news;
    } else {
        dw_text_free(&news);
    }
    if (ended) {
        conclude(task);
    }
}

void dw_task_pause(dw_task *task, bool paused)
{
    if (task->paused && !paused) {
        task->paused = false;
        (void)pthread_mutex_lock(&task->lock);
        if (mark_ready(task)) {
            dw_waker_wake(&task->server->news);
        }
        (void)pthread_mutex_unlock(&task->lock);
    }
    task->paused = paused;
}

void dw_tasks_look(dw_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    dw_task *ready = server->ready;
    server->ready = NULL;
    (void)pthread_mutex_unlock(&server->lock);
    while (ready != NULL) {
        dw_task *task = ready;
        ready = task->next_ready;
        look(task);
    }
}

size_t dw_tasks_held_bytes(dw_server *server)
{
    size_t bytes = 0;
    for (dw_task *task = server->tasks; task != NULL; task = task->next) {
        (void)pthread_mutex_lock(&task->lock);
        bytes += task->news.count;
        (void)pthread_mutex_unlock(&task->lock);
    }
    return bytes;
}

void dw_tasks_cancel(dw_server *server)
{
    for (dw_task *task = server->tasks; task != NULL; task = task->next) {
        if (task->sent) {
            (void)!dw_runtime_cancel(server->runtime, task->actor, task->number, NULL);
        }
    }
}
