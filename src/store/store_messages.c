/* Messages worked on, so that at any moment the folder holds an actor before a message or after it.
 * In this order:
 *   a message is accepted, a file of its own;
 *   the actor works on it and is frozen: the new snapshot's name says that the message is done, and
 *   whether effects wait, which are in the snapshot;
 *   effects are carried out, each in a way that a second time changes nothing;
 *   the actor is frozen without them. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/public_struct.h"
#include "store/store_internal.h"

/* The message whose answer dw_store_send returns. */
typedef struct awaited_message {
    const char *id;  /* of the actor that it is for */
    uint64_t number; /* of its file */
    dw_write_fn on_answer;
    void *user;
    bool done; /* `status` is final, whatever fails from here on */
    dw_status status;
    dw_error *err;
} awaited_message;

/* An actor in memory: from its thawing until no message waits for it, or a call is aborted. */
typedef struct session {
    dw_store *store;
    dw_actor *actor;
    awaited_message *awaited; /* NULL: none */
    uint64_t now_ms;          /* when its timers were last looked at */
    bool broken; /* a call was aborted: the folder has the actor as it was before the message */
    bool own_message; /* the last message was in the actor itself, in no file */
    bool stop;        /* it asked for its end */
} session;

static bool is_awaited(const session *s, const dw_message_file *file)
{
    return s->awaited != NULL && file != NULL && s->awaited->number == file->number &&
           strcmp(s->awaited->id, dw_actor_id(s->actor)) == 0;
}

/* What a message came to is for who awaits it, else for the embedder. */
static void report_failure(const session *s, awaited_message *awaited, const dw_error *problem)
{
    if (awaited != NULL) {
        awaited->status = dw_fail(awaited->err, problem->code, "%s", problem->message);
    } else {
        dw__store_report(s->store, dw_actor_id(s->actor), problem);
    }
}

/* Write the result of a message to the folder: the new state; of a call that was aborted only that
 * the message is gone. `file` NULL: it was in no file. */
static dw_status finish_message(session *s, const dw_message_file *file, uint64_t done,
                                dw_error *err)
{
    dw_store *store = s->store;
    if (s->broken) {
        return file != NULL
                   ? dw_actor_folder_delivered(store->folder, dw_actor_id(s->actor), file, err)
                   : DW_OK;
    }
    dw_status status = dw__store_freeze(store, s->actor, done, err);
    if (status == DW_OK && file != NULL) {
        /* Best effort: the snapshot's name says that it is done. */
        (void)dw_actor_folder_delivered(store->folder, dw_actor_id(s->actor), file, NULL);
    }
    return status;
}

/* Let the actor work on its next message, write its new state, and carry out its effects.
 * `file`: the message's, or NULL for one that was in the actor. */
static dw_status receive_message(session *s, const dw_message_file *file, dw_error *err)
{
    dw_store *store = s->store;
    dw_error problem = {.code = DW_OK};
    awaited_message *awaited = is_awaited(s, file) ? s->awaited : NULL;
    uint64_t done = file != NULL ? file->number : store->chain.done;
    dw_status answer = dw_actor_receive(s->actor, awaited != NULL ? awaited->on_answer : NULL,
                                        awaited != NULL ? awaited->user : NULL, &problem);
    s->broken = dw_actor_is_broken(s->actor);
    if (awaited != NULL && !s->broken && store->options.on_answered != NULL) {
        dw_status told =
            store->options.on_answered(store->options.user, awaited->id, answer, &problem);
        s->broken = told != DW_OK; /* the actor in memory is given up */
        answer = told != DW_OK ? told : answer;
    }
    s->own_message = file == NULL;
    if (answer != DW_OK) {
        report_failure(s, awaited, &problem);
    }
    dw_status status = finish_message(s, file, done, err);
    if (status != DW_OK) {
        return status;
    }
    if (awaited != NULL) {
        awaited->done = true;
    }
    return s->broken ? DW_OK : dw__store_carry_out_all(store, s->actor, done, &s->stop, err);
}

/* Messages in the actor itself: of timers that are due, and those that came with an imported actor.
 * `drop`: the call for the first of them was aborted. That message is in no file that could be
 * removed; it is taken from the snapshot, or it would be worked on for ever. */
static dw_status process_own_messages(session *s, bool drop, dw_error *err)
{
    uint64_t now_ms = dw_os_wall_ms();
    s->now_ms = now_ms > s->now_ms ? now_ms : s->now_ms; /* what was due stays due */
    dw_status status = dw_actor_fire_timers(s->actor, s->now_ms, err);
    if (status != DW_OK && status != DW_E_BUSY) { /* a full mailbox: the rest the next time */
        return status;
    }
    if (drop) {
        dw_actor_drop_message(s->actor);
        status = dw__store_freeze(s->store, s->actor, s->store->chain.done, err);
        if (status != DW_OK) {
            return status;
        }
    }
    while (dw_actor_waiting(s->actor) > 0 && !s->broken && !s->stop) {
        status = receive_message(s, NULL, err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* A message that the actor does not take, being too long, it would never take. */
static dw_status refuse_message(session *s, const dw_message_file *file, const dw_error *problem,
                                dw_error *err)
{
    awaited_message *awaited = is_awaited(s, file) ? s->awaited : NULL;
    report_failure(s, awaited, problem);
    dw_status status =
        dw_actor_folder_delivered(s->store->folder, dw_actor_id(s->actor), file, err);
    if (status == DW_OK && awaited != NULL) {
        awaited->done = true;
    }
    return status;
}

/* One message that waits in the folder. */
static dw_status process_message(session *s, const dw_message_file *file, dw_error *err)
{
    char *content = NULL;
    size_t bytes = 0;
    dw_error problem;
    dw_status status = dw_actor_folder_read_message(s->store->folder, dw_actor_id(s->actor), file,
                                                    &content, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_actor_send(s->actor, file->from, content, bytes, &problem);
    dw_free(content);
    if (status == DW_OK) {
        return receive_message(s, file, err);
    }
    if (dw__store_is_transient(status)) {
        return dw_fail(err, status, "%s", problem.message);
    }
    return refuse_message(s, file, &problem, err);
}

/* All messages that wait in the folder, also those that come while others are worked on. */
static dw_status process_messages(session *s, dw_error *err)
{
    dw_status status = DW_OK;
    bool more = true;
    while (status == DW_OK && more && !s->broken && !s->stop) {
        dw_message_file *files = NULL;
        size_t count = 0;
        status = dw_actor_folder_list_messages(s->store->folder, dw_actor_id(s->actor),
                                               s->store->chain.done, &files, &count, err);
        more = count > 0;
        for (size_t i = 0; status == DW_OK && i < count && !s->broken && !s->stop; i++) {
            status = process_message(s, &files[i], err);
        }
        dw_free(files);
    }
    return status;
}

/* All that waits for the actor in memory: effects of its newest snapshot first. */
static dw_status process_thawed(session *s, bool drop, dw_error *err)
{
    dw_store *store = s->store;
    dw_status status = DW_OK;
    if (store->chain.pending) {
        status = dw__store_carry_out_all(store, s->actor, store->chain.done, &s->stop, err);
    }
    if (status == DW_OK && !s->stop) {
        status = process_own_messages(s, drop, err);
    }
    if (status == DW_OK && !s->broken) {
        status = process_messages(s, err);
    }
    return status;
}

static dw_status process_session(session *s, const char *id, dw_error *err)
{
    bool drop = s->broken && s->own_message;
    s->broken = false;
    dw_actor_folder_begin(s->store->folder, id);
    dw_status status = dw__store_thaw(s->store, id, NULL, &s->actor, NULL, err);
    if (status != DW_OK) {
        return status;
    }
    status = process_thawed(s, drop, err);
    dw_actor_destroy(s->actor);
    if (status == DW_OK && s->stop) {
        status = dw_actor_folder_remove(s->store->folder, id, err);
    }
    return status;
}

/* An actor whose call was aborted is thawed again: more messages may wait for it. */
static dw_status process_actor(dw_store *store, const char *id, awaited_message *awaited,
                               dw_error *err)
{
    session s = {.store = store, .awaited = awaited};
    bool again = true;
    while (again && dw_actor_folder_has(store->folder, id)) {
        dw_status status = process_session(&s, id, err);
        if (status != DW_OK) {
            return status;
        }
        again = s.broken;
    }
    return DW_OK;
}

/* All actors of the list, which grows meanwhile. One actor's failure (its model is missing, say)
 * holds up no other: it is reported and counted, and that actor's messages go on waiting. That of
 * the awaited one is the result, unless its message is done: then what came of it waits as well. */
static dw_status process_all(dw_store *store, awaited_message *awaited, size_t *failed,
                             dw_error *err)
{
    dw_status status = DW_OK;
    *failed = 0;
    for (size_t i = 0; i < store->todo_count && status == DW_OK; i++) {
        char id[DW_ACTOR_ID_CHARS + 1]; /* the list may move */
        dw_error problem;
        memcpy(id, store->todo[i].id, sizeof id);
        status = process_actor(store, id, awaited, &problem);
        dw_actor_folder_end(store->folder, id);
        if (status == DW_OK) {
            continue;
        }
        if (awaited != NULL && !awaited->done && strcmp(awaited->id, id) == 0) {
            (void)dw_fail(err, status, "%s", problem.message);
        } else {
            dw__store_report(store, id, &problem);
            (*failed)++;
            status = DW_OK;
        }
    }
    store->todo_count = 0;
    return status;
}

/* Accept the message and work on it; `message->number` is set once it is accepted. */
static dw_status send_and_process(dw_store *store, awaited_message *awaited, dw_message_file *file,
                                  const dw_actor_effect *message, dw_error *err)
{
    size_t failed = 0;
    dw_status status = dw_actor_folder_accept(store->folder, awaited->id, file, message->message,
                                              message->message_bytes, err);
    if (status != DW_OK) {
        return status;
    }
    awaited->number = file->number;
    status = dw__store_add_todo(store, awaited->id, err);
    return status == DW_OK ? process_all(store, awaited, &failed, err) : status;
}

dw_status dw_store_send(dw_store *store, const char *id, const dw_actor_effect *message,
                        dw_write_fn on_answer, void *user, dw_error *err)
{
    dw_message_file file = {.effect = 0};
    dw_error answer = {.code = DW_OK};
    awaited_message awaited = {.id = id, .on_answer = on_answer, .user = user, .err = &answer};
    dw_actor_effect own;
    dw_status status = dw_struct_read(&own, sizeof own, message, "dw_actor_effect", err);
    if (status != DW_OK) {
        return status;
    }
    if (!dw_actor_folder_has(store->folder, id)) {
        return dw_fail(err, DW_E_NOT_FOUND, "no actor '%.40s'", id);
    }
    status = dw__store_enter_to_change(store, err);
    if (status != DW_OK) {
        return status;
    }
    status = send_and_process(store, &awaited, &file, &own, err);
    dw__store_leave(store);
    if (status != DW_OK) {
        if (file.number > 0) {
            /* The caller sends it again: it must not be worked on twice. */
            (void)dw_actor_folder_delivered(store->folder, id, &file, NULL);
        }
        return status;
    }
    if (!awaited.done) {
        return dw_fail(err, DW_E_NOT_FOUND, "actor %.40s ended before this message", id);
    }
    return awaited.status != DW_OK ? dw_fail(err, awaited.status, "%s", answer.message) : DW_OK;
}

dw_status dw_store_run(dw_store *store, dw_error *err)
{
    dw_actor_name *names = NULL;
    size_t count = 0;
    size_t failed = 0;
    dw_status status = dw__store_enter_to_change(store, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_actor_folder_list(store->folder, &names, &count, err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = dw__store_add_todo(store, names[i].id, err);
    }
    dw_free(names);
    if (status == DW_OK) {
        status = process_all(store, NULL, &failed, err);
    }
    dw__store_leave(store);
    if (status == DW_OK && failed > 0) {
        return dw_fail(err, DW_E_STATE, "%zu of %zu actors could not work", failed, count);
    }
    return status;
}
