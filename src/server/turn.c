#include "server/turn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"

#define TURNS_MAX 4096
#define KEPT_MAX ((size_t)1 << 20) /* bytes of an answer that nobody has read */
#define DAY_S 86400

struct dw_turn {
    dw_server *server;
    dw_turn *before; /* under way */
    dw_turn *next;
    dw_model_waiter waiter; /* until that is loaded */
    dw_named_model *model;
    const dw_turn_ops *ops; /* NULL: nobody waits for it */
    void *user;
    char tenant[DW_TENANT_NAME_MAX + 1];
    char scope[DW_SCOPE_BYTES + DW_TENANT_NAME_MAX + 1]; /* what its conversations are kept apart
                                                             by */
    char *chat;                                          /* with the time in it; NULL: it is none */
    char *rest;
    uint32_t n;
    uv_work_t work;   /* looking for its conversation; keeping it */
    bool works;       /* that is under way */
    dw_status status; /* of it */
    dw_error error;
    dw__text prompt;                         /* of a chat: its text */
    dw_chat_answer *answers[DW_CHOICES_MAX]; /* [n], of a chat */
    char *message;                           /* of the first answer, when it has ended: JSON */
    bool whole;                              /* and it has */
    dw_index_found found[DW_INDEX_FOUND_MAX];
    size_t found_count;
    bool tries_anew; /* with a new actor: the one that was found failed */
    bool is_made;    /* the actor was, for it */
    bool told;       /* of its beginning */
    bool paused;
    bool is_broken; /* its answer cannot be read: `error` says why */
    char actor[DW_ACTOR_ID_CHARS + 1];
    uint64_t number;      /* of the message */
    bool sent;            /* and its end was not told */
    dw__text line;        /* of the answer, as far as it came */
    pthread_mutex_t lock; /* guards what follows, which the guest's thread fills in */
    dw__text news;
    bool is_ready;
    bool has_ended;
    dw_status end;
    dw_error end_error;
    dw_turn *next_ready; /* the server's lock */
};

static void finish(dw_turn *turn, dw_status status, const dw_error *error);
static void on_model(dw_model_waiter *waiter);

/* ---- beginnings and ends -------------------------------------------------------------------- */

static void unlink_turn(dw_turn *turn)
{
    dw_server *server = turn->server;
    if (turn->before != NULL) {
        turn->before->next = turn->next;
    } else {
        server->turns = turn->next;
    }
    if (turn->next != NULL) {
        turn->next->before = turn->before;
    }
    server->turn_count--;
}

static void destroy(dw_turn *turn)
{
    for (uint32_t i = 0; i < turn->n; i++) {
        dw_chat_answer_destroy(turn->answers[i]);
    }
    (void)pthread_mutex_destroy(&turn->lock);
    dw__text_free(&turn->prompt);
    dw__text_free(&turn->line);
    dw__text_free(&turn->news);
    dw_free(turn->message);
    dw_free(turn->chat);
    dw_free(turn->rest);
    dw_free(turn);
}

/* The chat with the day in it, for templates that tell the date: the same text all day. */
static char *with_day(const char *chat)
{
    char day[48];
    dw__text text = {.bytes = NULL};
    size_t length = strlen(chat);
    long long now = (long long)time(NULL);
    (void)snprintf(day, sizeof day, ",\"now\":%lld}", now - now % DAY_S);
    if (!dw__text_add(&text, chat, length - 1) || !dw__text_add(&text, day, strlen(day))) {
        dw__text_free(&text);
    }
    return text.bytes;
}

dw_status dw_turn_begin(dw_turn **out, dw_server *server, const dw_turn_request *request,
                        dw_error *err)
{
    dw_named_model *model = dw_models_find(server, request->model);
    if (server->leaving) {
        return dw_fail(err, DW_E_STATE, "the server is shutting down");
    }
    if (model == NULL) {
        return dw_fail(err, DW_E_NOT_FOUND, "The model '%.100s' does not exist",
                       request->model != NULL ? request->model : "");
    }
    if (server->turn_count >= TURNS_MAX) {
        return dw_fail(err, DW_E_BUSY, "%d requests are under way", TURNS_MAX);
    }
    dw_turn *turn = dw_alloc(1, sizeof *turn);
    if (turn == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a request");
    }
    (void)pthread_mutex_init(&turn->lock, NULL);
    turn->server = server;
    turn->model = model;
    (void)snprintf(turn->tenant, sizeof turn->tenant, "%s", request->tenant);
    turn->ops = request->ops;
    turn->user = request->user;
    turn->n = request->n;
    turn->chat = request->chat != NULL ? with_day(request->chat) : NULL;
    turn->rest = dw_strdup(request->rest);
    if (turn->rest == NULL || (request->chat != NULL && turn->chat == NULL)) {
        destroy(turn);
        return dw_fail(err, DW_E_MEMORY, "no memory for a request");
    }
    turn->next = server->turns;
    if (server->turns != NULL) {
        server->turns->before = turn;
    }
    server->turns = turn;
    server->turn_count++;
    *out = turn;
    turn->waiter = (dw_model_waiter){.on_model = on_model, .owner = turn};
    dw_models_want(model, &turn->waiter);
    return DW_OK;
}

/* Everything about it has ended: who asked is told, and it is gone. */
static void finish(dw_turn *turn, dw_status status, const dw_error *error)
{
    const dw_turn_ops *ops = turn->ops;
    void *user = turn->user;
    dw_error own = error != NULL ? *error : (dw_error){.code = status};
    unlink_turn(turn);
    destroy(turn);
    if (ops != NULL) {
        ops->on_end(user, status, &own);
    }
}

void dw_turn_leave(dw_turn *turn)
{
    turn->ops = NULL;
    turn->paused = false;
    if (turn->sent) {
        (void)!dw_runtime_cancel(turn->server->runtime, turn->actor, turn->number, NULL);
    }
}

/* ---- the actor ------------------------------------------------------------------------------ */

static void mark_ready(dw_turn *turn)
{
    dw_server *server = turn->server;
    if (turn->is_ready) {
        return;
    }
    turn->is_ready = true;
    (void)pthread_mutex_lock(&server->lock);
    turn->next_ready = server->ready;
    server->ready = turn;
    (void)pthread_mutex_unlock(&server->lock);
    (void)uv_async_send(&server->wake);
}

/* On the thread that runs the guest. */
static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    dw_turn *turn = user;
    ptrdiff_t taken = (ptrdiff_t)count;
    (void)pthread_mutex_lock(&turn->lock);
    if (turn->news.count > KEPT_MAX) {
        taken = -EAGAIN; /* the guest waits until some of it was read */
    } else if (!dw__text_add(&turn->news, bytes, count)) {
        taken = -ENOMEM;
    } else {
        mark_ready(turn);
    }
    (void)pthread_mutex_unlock(&turn->lock);
    return taken;
}

/* On a thread of the runtime's. */
static void on_message_end(void *user, const dw_runtime_end *end)
{
    dw_turn *turn = user;
    (void)pthread_mutex_lock(&turn->lock);
    turn->has_ended = true;
    turn->end = end->status;
    if (end->error != NULL) {
        turn->end_error = *end->error;
    }
    mark_ready(turn);
    (void)pthread_mutex_unlock(&turn->lock);
}

static bool is_busy(const dw_turn *own, const char *actor)
{
    for (const dw_turn *turn = own->server->turns; turn != NULL; turn = turn->next) {
        if (turn != own && strcmp(turn->actor, actor) == 0) {
            return true;
        }
    }
    return false;
}

static dw_status make_actor(dw_turn *turn, dw_error *err)
{
    dw_server *server = turn->server;
    dw_instance_options instance = server->instance;
    instance.models = &turn->model->model;
    instance.model_count = 1;
    dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    dw_spawn_options options = {
        .struct_bytes = sizeof options, .actor = &actor, .tenant = turn->tenant};
    turn->is_made = true;
    turn->tries_anew = true;
    return dw_runtime_begin_spawn(server->runtime, server->conversation, &options, turn->actor,
                                  err);
}

/* One of the tenant's that has nothing to do, for a text that is no chat. */
static bool take_idle(dw_turn *turn)
{
    dw_named_model *model = turn->model;
    for (size_t i = 0; i < model->idle_count; i++) {
        if (strcmp(model->idle[i].tenant, turn->tenant) == 0) {
            memcpy(turn->actor, model->idle[i].actor, sizeof turn->actor);
            model->idle[i] = model->idle[--model->idle_count];
            return true;
        }
    }
    return false;
}

/* The actor that the conversation goes on with; a branch gets a copy. */
static dw_status choose_actor(dw_turn *turn, dw_error *err)
{
    for (size_t i = 0; i < turn->found_count && !turn->tries_anew; i++) {
        const dw_index_found *found = &turn->found[i];
        if (is_busy(turn, found->actor)) {
            continue;
        }
        if (found->goes_on) {
            memcpy(turn->actor, found->actor, sizeof turn->actor);
            return DW_OK;
        }
        if (dw_runtime_begin_fork(turn->server->runtime, found->actor, turn->actor, NULL, NULL,
                                  NULL) == DW_OK) {
            turn->is_made = true;
            return DW_OK;
        }
    }
    if (turn->chat == NULL && take_idle(turn)) {
        return DW_OK;
    }
    return make_actor(turn, err);
}

static void forget_actor(dw_turn *turn)
{
    dw_server *server = turn->server;
    if (server->index != NULL && turn->actor[0] != '\0') {
        (void)!dw_index_drop(server->index, turn->actor, NULL);
    }
}

/* The message goes to its actor; one that is no longer there is forgotten, and another made. */
static void send_message(dw_turn *turn)
{
    dw__text message = {.bytes = NULL};
    dw_error error = {.code = DW_OK};
    static const char start[] = "{\"request\":";
    bool made = turn->chat == NULL ? dw__text_add(&message, "{", 1)
                                   : dw__text_add(&message, start, sizeof start - 1) &&
                                         dw__text_add(&message, turn->chat, strlen(turn->chat)) &&
                                         dw__text_add(&message, ",", 1);
    made = made && dw__text_add(&message, turn->rest, strlen(turn->rest)) &&
           dw__text_add(&message, "}", 1);
    dw_request request = {.struct_bytes = sizeof request,
                          .message = message.bytes,
                          .message_bytes = message.count,
                          .on_answer = on_answer,
                          .on_end = on_message_end,
                          .user = turn};
    dw_status status =
        made ? choose_actor(turn, &error) : dw_fail(&error, DW_E_MEMORY, "no memory for a message");
    if (status == DW_OK) {
        status =
            dw_runtime_send(turn->server->runtime, turn->actor, &request, &turn->number, &error);
        if (status == DW_E_NOT_FOUND && !turn->tries_anew) {
            forget_actor(turn);
            status = make_actor(turn, &error);
            status = status == DW_OK ? dw_runtime_send(turn->server->runtime, turn->actor, &request,
                                                       &turn->number, &error)
                                     : status;
        }
    }
    dw__text_free(&message);
    if (status != DW_OK) {
        finish(turn, status, &error);
        return;
    }
    turn->sent = true;
    if (turn->ops == NULL) {
        dw_turn_leave(turn);
    }
}

/* ---- looking for the conversation ----------------------------------------------------------- */

static dw_status read_prompt(dw_turn *turn, dw_error *err)
{
    dw_chat_prompt *prompt = NULL;
    size_t length = strlen(turn->chat);
    size_t bytes = 0;
    dw_model *model = turn->model->model;
    dw_status status = dw_chat_render(&prompt, model, turn->chat, length, (int64_t)time(NULL), err);
    if (status != DW_OK) {
        return status;
    }
    const char *text = dw_chat_prompt_text(prompt, &bytes);
    if (!dw__text_add(&turn->prompt, text, bytes)) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for a prompt");
    }
    dw_chat_prompt_destroy(prompt);
    for (uint32_t i = 0; i < turn->n && status == DW_OK; i++) {
        status = dw_chat_answer_create(&turn->answers[i], model, turn->chat, length, err);
    }
    return status;
}

static void search(uv_work_t *work)
{
    dw_turn *turn = work->data;
    dw_server *server = turn->server;
    (void)snprintf(turn->scope, sizeof turn->scope, "%s/%s", turn->model->scope, turn->tenant);
    turn->status = turn->chat != NULL ? read_prompt(turn, &turn->error) : DW_OK;
    if (turn->status == DW_OK && turn->chat != NULL && server->index != NULL) {
        /* What cannot be found is computed again. */
        const dw_index_text text = {turn->scope, turn->prompt.bytes, turn->prompt.count};
        (void)!dw_index_find(server->index, &text, turn->found, &turn->found_count, NULL);
    }
}

static void on_searched(uv_work_t *work, int result)
{
    dw_turn *turn = work->data;
    (void)result;
    turn->works = false;
    if (turn->status != DW_OK || turn->ops == NULL) {
        finish(turn, turn->status, &turn->error);
    } else {
        send_message(turn);
    }
}

static void look_for(dw_turn *turn)
{
    turn->works = true;
    turn->work.data = turn;
    if (uv_queue_work(&turn->server->loop, &turn->work, search, on_searched) < 0) {
        search(&turn->work);
        on_searched(&turn->work, 0);
    }
}

static void on_model(dw_model_waiter *waiter)
{
    dw_turn *turn = waiter->owner;
    dw_named_model *model = turn->model;
    if (model->model == NULL || turn->ops == NULL) {
        finish(turn, model->status, &model->error);
    } else {
        look_for(turn);
    }
}

/* ---- keeping it ----------------------------------------------------------------------------- */

/* The chat with its answer, as the client will tell it. */
static dw_status told_again(const dw_turn *turn, dw_chat_prompt **prompt, dw_error *err)
{
    json_t *chat = json_loads(turn->chat, 0, NULL);
    json_t *message = json_loads(turn->message, 0, NULL);
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
        dw_chat_render(prompt, turn->model->model, text, strlen(text), (int64_t)time(NULL), err);
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
    dw_turn *turn = work->data;
    dw_server *server = turn->server;
    dw_chat_prompt *prompt = NULL;
    dw_index_text text = {turn->scope, turn->prompt.bytes, turn->prompt.count};
    if (turn->message != NULL && told_again(turn, &prompt, NULL) == DW_OK) {
        text.text = dw_chat_prompt_text(prompt, &text.bytes);
    } /* else the template has no such message: its prompt is found again */
    (void)!dw_index_save(server->index, &text, turn->actor, turn->prompt.count, NULL);
    dw_chat_prompt_destroy(prompt);
    end_surplus(server);
}

static void on_kept(uv_work_t *work, int result)
{
    dw_turn *turn = work->data;
    (void)result;
    turn->works = false;
    finish(turn, turn->end, &turn->end_error);
}

/* The actor of a text that is no chat serves others; one that nobody would find ends. */
static void leave_actor(dw_turn *turn)
{
    dw_named_model *model = turn->model;
    if (turn->chat == NULL && turn->end == DW_OK && model->idle_count < DW_IDLE_MAX) {
        dw_idle_actor *idle = &model->idle[model->idle_count++];
        memcpy(idle->actor, turn->actor, sizeof idle->actor);
        memcpy(idle->tenant, turn->tenant, sizeof idle->tenant);
    } else if (turn->chat == NULL || turn->is_made) {
        (void)!dw_runtime_stop(turn->server->runtime, turn->actor, NULL);
    }
}

/* The message has ended, and all of its answer was told. */
static void conclude(dw_turn *turn)
{
    dw_server *server = turn->server;
    turn->sent = false;
    if (turn->is_broken) {
        turn->end = turn->error.code;
    }
    if (turn->end == DW_OK && !turn->whole && turn->ops != NULL) {
        turn->end = dw_fail(&turn->end_error, DW_E_TRAP, "the guest gave no answer");
    }
    if (turn->end != DW_OK && !turn->told && !turn->tries_anew && turn->ops != NULL &&
        turn->error.code == DW_OK) {
        /* What was kept could not be used: it is computed again. */
        forget_actor(turn);
        turn->tries_anew = true;
        turn->has_ended = false;
        send_message(turn);
        return;
    }
    /* An answer that was broken off leaves its prompt, which the next request may begin with. */
    if (turn->told && server->index != NULL && turn->chat != NULL &&
        (turn->end == DW_OK || turn->end == DW_E_CANCELLED)) {
        turn->works = true;
        turn->work.data = turn;
        if (uv_queue_work(&server->loop, &turn->work, keep, on_kept) == 0) {
            return;
        }
    }
    leave_actor(turn);
    finish(turn, turn->end, turn->error.code != DW_OK ? &turn->error : &turn->end_error);
}

/* ---- the answer ----------------------------------------------------------------------------- */

/* The answer cannot be read on: the actor stops, and who asked is told why. */
static void break_off(dw_turn *turn)
{
    turn->is_broken = true;
    (void)!dw_runtime_cancel(turn->server->runtime, turn->actor, turn->number, NULL);
}

static void tell_piece(dw_turn *turn, uint32_t choice, const json_t *line)
{
    const char *delta = NULL;
    const json_t *text = json_object_get(line, "t");
    const char *bytes = json_string_value(text);
    size_t count = json_string_length(text);
    json_t *logprobs = json_object_get(line, "l");
    dw_chat_answer *answer = turn->answers[choice];
    if (bytes == NULL || turn->is_broken) {
        return;
    }
    if (answer != NULL &&
        dw_chat_answer_feed(answer, bytes, count, &delta, &turn->error) != DW_OK) {
        break_off(turn); /* too long to be read */
        return;
    }
    if (turn->ops != NULL && (delta != NULL || answer == NULL || logprobs != NULL)) {
        turn->ops->on_piece(turn->user, choice, delta, bytes, count, logprobs);
    }
}

static const char *reason_of(const char *end, const char *message)
{
    if (strcmp(end, "length") == 0) {
        return "length";
    }
    return message != NULL && strstr(message, "\"tool_calls\":[") != NULL ? "tool_calls" : "stop";
}

static void tell_choice_end(dw_turn *turn, uint32_t choice, const json_t *line)
{
    const char *delta = NULL;
    const char *message = NULL;
    const char *end = json_string_value(json_object_get(line, "end"));
    dw_chat_answer *answer = turn->answers[choice];
    if (answer != NULL) {
        if (dw_chat_answer_finish(answer, &delta, &message, &turn->error) != DW_OK) {
            break_off(turn);
            return;
        }
        if (delta != NULL && turn->ops != NULL) {
            turn->ops->on_piece(turn->user, choice, delta, "", 0, NULL);
        }
        if (choice == 0) {
            turn->message = dw_strdup(message);
        }
    }
    turn->whole = turn->whole || choice == 0;
    if (turn->ops != NULL && end != NULL) {
        turn->ops->on_choice_end(turn->user, choice, reason_of(end, message),
                                 json_string_value(json_object_get(line, "stop")), message,
                                 (uint32_t)json_integer_value(json_object_get(line, "tokens")));
    }
}

/* One line of the guest's. */
static void take_line(dw_turn *turn, const char *bytes, size_t count)
{
    json_t *line = json_loadb(bytes, count, 0, NULL);
    json_t *choice = json_object_get(line, "c");
    json_int_t index = json_integer_value(choice);
    const json_t *failed = json_object_get(line, "error");
    if (failed != NULL) {
        const char *what = json_string_value(json_object_get(line, "what"));
        (void)dw_fail(&turn->error, (dw_status)json_integer_value(failed), "%s",
                      what != NULL ? what : "");
    } else if (choice != NULL && index >= 0 && index < turn->n) {
        if (json_object_get(line, "end") != NULL) {
            tell_choice_end(turn, (uint32_t)index, line);
        } else {
            tell_piece(turn, (uint32_t)index, line);
        }
    } else if (json_object_get(line, "e") != NULL) {
        if (turn->ops != NULL && turn->ops->on_line != NULL) {
            turn->ops->on_line(turn->user, line);
        }
        turn->whole = true;
    } else if (json_object_get(line, "prompt") != NULL && turn->ops != NULL && !turn->told) {
        turn->told = true;
        turn->ops->on_begin(turn->user,
                            (uint32_t)json_integer_value(json_object_get(line, "prompt")),
                            (uint32_t)json_integer_value(json_object_get(line, "cached")));
    }
    json_decref(line);
}

static void take_lines(dw_turn *turn, const dw__text *news)
{
    const char *at = news->bytes;
    const char *end = at + news->count;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!dw__text_add(&turn->line, at, (size_t)((line_end != NULL ? line_end : end) - at))) {
            (void)dw_fail(&turn->error, DW_E_MEMORY, "no memory for an answer");
            break_off(turn);
            return;
        }
        if (line_end == NULL) {
            return;
        }
        take_line(turn, turn->line.bytes, turn->line.count);
        turn->line.count = 0;
        at = line_end + 1;
    }
}

/* What came for it since the last look. */
static void look(dw_turn *turn)
{
    dw__text news = {.bytes = NULL};
    (void)pthread_mutex_lock(&turn->lock);
    if (!turn->paused) {
        news = turn->news;
        turn->news = (dw__text){.bytes = NULL};
    }
    bool ended = turn->has_ended && turn->news.count == 0;
    turn->is_ready = false;
    (void)pthread_mutex_unlock(&turn->lock);
    if (news.count > 0) {
        take_lines(turn, &news);
    }
    dw__text_free(&news);
    if (ended) {
        conclude(turn);
    }
}

void dw_turn_pause(dw_turn *turn, bool paused)
{
    if (turn->paused && !paused) {
        turn->paused = false;
        (void)pthread_mutex_lock(&turn->lock);
        mark_ready(turn);
        (void)pthread_mutex_unlock(&turn->lock);
    }
    turn->paused = paused;
}

void dw__turns_look(dw_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    dw_turn *ready = server->ready;
    server->ready = NULL;
    (void)pthread_mutex_unlock(&server->lock);
    while (ready != NULL) {
        dw_turn *turn = ready;
        ready = turn->next_ready;
        look(turn);
    }
}

void dw__turns_cancel(dw_server *server)
{
    for (dw_turn *turn = server->turns; turn != NULL; turn = turn->next) {
        if (turn->sent) {
            (void)!dw_runtime_cancel(server->runtime, turn->actor, turn->number, NULL);
        }
    }
}
