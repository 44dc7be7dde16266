/* Messages worked on, so that at any moment the folder holds an actor before a message or after it.
 * In this order:
 *   a message is accepted, a transaction;
 *   the actor works on it and is frozen, to a new file; so are actors that it makes;
 *   a transaction says all that came of it (dw__store_conclude).
 *
 * Actors take turns of one message. One for whom nobody else waits stays in memory for its next. */
#include <inttypes.h>
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

/* An actor in memory, for its turn. */
typedef struct session {
    dw_store *store;
    dw_actor *actor;
    awaited_message *awaited; /* NULL: none */
    bool once;                /* one message, also where nobody else waits */
    bool broken; /* a call was aborted: the folder has the actor as it was before the message */
    bool stop;   /* it asked for its end */
    dw_message_row *files; /* [file_count]: the next that wait in the folder */
    size_t file_count;
    size_t file_index; /* of the next */
} session;

#define LISTED 64 /* messages at a time */

static bool is_awaited(const session *s, const dw_message_row *file)
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

/* ---- messages that are given up ---------------------------------------------------------- */

static void report_aside(const session *s, uint64_t number, const dw_attempts *attempts)
{
    dw_error problem;
    (void)dw_fail(&problem, DW_E_STATE, "message %" PRIu64 ": set aside after %u attempts: %s",
                  number, attempts->count, attempts->reason);
    dw__store_report(s->store, dw_actor_id(s->actor), &problem);
}

static dw_status set_aside(session *s, const dw_message_row *file, const dw_attempts *attempts,
                           dw_error *err)
{
    dw_status status = dw_actor_folder_set_aside(s->store->folder, dw_actor_id(s->actor),
                                                 file->number, attempts, err);
    if (status != DW_OK) {
        return status;
    }
    s->file_index++;
    report_aside(s, file->number, attempts);
    return DW_OK;
}

/* That message is no row, but in the snapshot, from which it is taken. */
static dw_status set_own_aside(session *s, const dw_attempts *attempts, dw_error *err)
{
    dw_message *message = dw_actor_take_message(s->actor);
    dw_own_aside aside = {.message = message, .why = attempts};
    dw_turn turn = {.snapshot = {.done = s->store->chain.done}, .aside = &aside};
    dw_status status = dw_actor_folder_try(s->store->folder, dw_actor_id(s->actor), NULL, err);
    if (status == DW_OK) {
        status = dw__store_conclude(s->store, s->actor, &turn, &s->stop, err);
    }
    if (status == DW_OK) {
        report_aside(s, aside.number, attempts);
    }
    dw_free(message);
    return status;
}

/* ---- one message ------------------------------------------------------------------------- */

/* The message that somebody awaits is gone, since he is told. */
static dw_status drop_awaited(session *s, const dw_message_row *file, dw_error *err)
{
    dw_status status =
        dw_actor_folder_drop_message(s->store->folder, dw_actor_id(s->actor), file->number, err);
    if (status == DW_OK) {
        s->awaited->done = true;
        s->file_index++;
    }
    return status;
}

/* The call was aborted. A message that nobody awaits is tried again, as often as is allowed. `file`
 * NULL: it was in the actor. */
static dw_status finish_broken(session *s, const dw_message_row *file, dw_attempts *attempts,
                               const dw_error *problem, dw_error *err)
{
    if (is_awaited(s, file)) {
        report_failure(s, s->awaited, problem);
        return drop_awaited(s, file, err);
    }
    dw_status status = dw_actor_folder_note_attempt(s->store->folder, dw_actor_id(s->actor),
                                                    attempts, problem->message, err);
    if (status != DW_OK || file == NULL || attempts->count < s->store->own_limits.attempts) {
        return status;
    }
    return set_aside(s, file, attempts, err);
}

/* Write what came of the message, which is done then. */
static dw_status finish_well(session *s, const dw_message_row *file, dw_error *err)
{
    dw_turn turn = {.snapshot = {.done = file != NULL ? file->number : s->store->chain.done},
                    .message = file != NULL ? file->number : 0};
    awaited_message *awaited = is_awaited(s, file) ? s->awaited : NULL;
    dw_status status = dw__store_conclude(s->store, s->actor, &turn, &s->stop, err);
    if (status != DW_OK) {
        return status;
    }
    s->file_index += file != NULL;
    if (awaited != NULL) {
        awaited->done = true;
    }
    return DW_OK;
}

/* The guest's call, and what the embedder says to its answer. */
static dw_status call_guest(session *s, const dw_message_row *file, dw_error *problem)
{
    const dw_store_options *options = &s->store->options;
    awaited_message *awaited = is_awaited(s, file) ? s->awaited : NULL;
    dw_status answer = dw_actor_receive(s->actor, awaited != NULL ? awaited->on_answer : NULL,
                                        awaited != NULL ? awaited->user : NULL, problem);
    s->broken = dw_actor_is_broken(s->actor);
    if (awaited != NULL && !s->broken && options->on_answered != NULL) {
        dw_status told = options->on_answered(options->user, awaited->id, answer, problem);
        s->broken = told != DW_OK; /* the actor in memory is given up */
        answer = told != DW_OK ? told : answer;
    }
    return answer;
}

/* Let the actor work on its next message, and write what came of it. `file`: the message's row, or
 * NULL for one that was in the actor. */
static dw_status receive_message(session *s, const dw_message_row *file, dw_attempts *attempts,
                                 dw_error *err)
{
    dw_store *store = s->store;
    dw_error problem = {.code = DW_OK};
    awaited_message *awaited = is_awaited(s, file) ? s->awaited : NULL;
    dw_status status =
        dw_actor_folder_check_bytes(store->folder, store->own_limits.folder_bytes, false, err);
    if (status != DW_OK) { /* as on a full disk, it waits */
        return status;
    }
    status = dw_actor_folder_try(store->folder, dw_actor_id(s->actor), &attempts->work, err);
    if (status != DW_OK) {
        return status;
    }
    dw_status answer = call_guest(s, file, &problem);
    if (!s->broken) {
        status = finish_well(s, file, err);
        if (status != DW_OK && !dw__store_is_transient(status)) { /* it would be the same again */
            s->broken = true;
            (void)dw_fail(&problem, status, "%s", err != NULL ? err->message : "");
        }
    }
    if (s->broken) {
        status = finish_broken(s, file, attempts, &problem, err);
        dw_actor_folder_tried(store->folder, dw_actor_id(s->actor), true);
    } else if (status == DW_OK && answer != DW_OK) {
        report_failure(s, awaited, &problem);
    }
    return status;
}

/* A message in the actor itself: of a timer that is due, or of an actor that was imported. */
static dw_status process_own_message(session *s, dw_error *err)
{
    const dw_attempted work = {.kind = DW_ATTEMPTED_OWN_MESSAGE,
                               .number = dw_actor_received(s->actor),
                               .inside = dw_actor_inside(s->actor)};
    dw_attempts attempts;
    dw_status status = dw_actor_folder_get_attempts(s->store->folder, dw_actor_id(s->actor), &work,
                                                    &attempts, err);
    if (status != DW_OK) {
        return status;
    }
    return attempts.count < s->store->own_limits.attempts ? receive_message(s, NULL, &attempts, err)
                                                          : set_own_aside(s, &attempts, err);
}

/* A message that the actor does not take, being too long, it would never take. */
static dw_status refuse_message(session *s, const dw_message_row *file, dw_attempts *attempts,
                                const dw_error *problem, dw_error *err)
{
    if (!is_awaited(s, file)) {
        (void)snprintf(attempts->reason, sizeof attempts->reason, "%s", problem->message);
        return set_aside(s, file, attempts, err);
    }
    report_failure(s, s->awaited, problem);
    return drop_awaited(s, file, err);
}

/* One message that waits in the folder. */
static dw_status process_message(session *s, const dw_message_row *file, dw_error *err)
{
    const dw_attempted work = {.kind = DW_ATTEMPTED_MESSAGE, .number = file->number};
    const char *id = dw_actor_id(s->actor);
    dw_attempts attempts;
    char *content = NULL;
    size_t bytes = 0;
    dw_error problem;
    dw_status status = dw_actor_folder_get_attempts(s->store->folder, id, &work, &attempts, err);
    if (status != DW_OK) {
        return status;
    }
    if (attempts.count >= s->store->own_limits.attempts) {
        return set_aside(s, file, &attempts, err);
    }
    status =
        dw_actor_folder_read_message(s->store->folder, id, file->number, &content, &bytes, err);
    if (status != DW_OK) {
        dw_free(content);
        return status;
    }
    status = dw_actor_send(s->actor, file->from, content, bytes, &problem);
    dw_free(content);
    if (status == DW_OK) {
        dw_actor_set_cause(s->actor, file->cause, file->caused);
        return receive_message(s, file, &attempts, err);
    }
    if (dw__store_is_transient(status)) {
        return dw_fail(err, status, "%s", problem.message);
    }
    return refuse_message(s, file, &attempts, &problem, err);
}

/* ---- turns ------------------------------------------------------------------------------- */

static dw_status list_files(session *s, dw_error *err)
{
    dw_free(s->files);
    s->file_index = 0;
    dw_status status = dw_actor_folder_list_messages(s->store->folder, dw_actor_id(s->actor),
                                                     LISTED, &s->files, &s->file_count, err);
    for (size_t i = 0; i < s->file_count; i++) {
        dw__store_note_cause(s->store, s->files[i].cause, s->files[i].caused);
    }
    return status;
}

/* What comes next, if anything waits: messages in the actor before those in the folder. */
static dw_status process_next(session *s, bool *any, dw_error *err)
{
    *any = true;
    if (dw_actor_waiting(s->actor) > 0) {
        return process_own_message(s, err);
    }
    dw_status status = DW_OK;
    if (s->file_index == s->file_count) {
        status = list_files(s, err);
    }
    *any = status == DW_OK && s->file_count > 0;
    return *any ? process_message(s, &s->files[s->file_index], err) : status;
}

/* Whether the actor stays in memory for one more. */
static bool goes_on(const session *s)
{
    if (s->broken || s->stop) {
        return false;
    }
    if (s->awaited != NULL) {
        return !s->awaited->done;
    }
    return !s->once && !dw__store_any_todo(s->store);
}

/* What waits for the actor in memory: effects of its newest snapshot first. */
static dw_status process_thawed(session *s, dw_error *err)
{
    dw_store *store = s->store;
    dw_status status = DW_OK;
    bool any = true;
    if (store->chain.pending) { /* of a folder that was taken over */
        dw_turn turn = {.snapshot = {.done = store->chain.done}};
        status = dw_actor_folder_try(store->folder, dw_actor_id(s->actor), NULL, err);
        if (status == DW_OK) {
            status = dw__store_conclude(store, s->actor, &turn, &s->stop, err);
        }
    }
    if (status != DW_OK || s->stop) {
        return status;
    }
    /* What becomes due while all work waits for the next call, or timers would keep it for ever. */
    status = dw_actor_fire_timers(s->actor, store->now_ms, err);
    if (status != DW_OK && status != DW_E_BUSY) { /* a full mailbox: the rest the next time */
        return status;
    }
    do {
        status = process_next(s, &any, err);
    } while (status == DW_OK && any && goes_on(s));
    return status;
}

/* Let the actor have its turn. `*more`: something waits for it still. */
static dw_status take_turn(session *s, const char *id, bool *more, dw_error *err)
{
    *more = false;
    dw_status status = dw__store_thaw(s->store, id, NULL, &s->actor, NULL, err);
    if (status != DW_OK) {
        return status;
    }
    dw_actor_set_guard(s->actor, dw__store_guard, s->store);
    status = process_thawed(s, err);
    *more = status == DW_OK && !s->stop &&
            (s->broken || dw_actor_waiting(s->actor) > 0 || s->file_index < s->file_count ||
             s->file_count == LISTED);
    dw_free(s->files);
    dw_actor_destroy(s->actor);
    return status;
}

/* One turn of whoever is first in the list. Who has more to do comes last again. A failure (its
 * model is missing, say) holds up no other: it is reported, and the actor's messages go on waiting.
 * Errors: DW_E_MEMORY. */
static dw_status process_first(dw_store *store, bool once, size_t *failed, dw_error *err)
{
    session s = {.store = store, .once = once};
    dw_actor_name name = dw__store_take_todo(store);
    dw_error problem;
    bool more = false;
    if (!dw_actor_folder_has(store->folder, name.id)) {
        return DW_OK;
    }
    if (take_turn(&s, name.id, &more, &problem) != DW_OK) {
        dw__store_report(store, name.id, &problem);
        (*failed)++;
        return dw__store_add_failed(store, name.id, err);
    }
    return more ? dw__store_add_todo(store, name.id, err) : DW_OK;
}

/* Nobody has a turn any more in this call; what waits goes on waiting. */
static void end_turns(dw_store *store)
{
    while (dw__store_any_todo(store)) {
        (void)dw__store_take_todo(store);
    }
    dw__store_end_failed(store);
}

/* ---- calls ------------------------------------------------------------------------------- */

/* Turns of the awaited message's actor alone, until it is done. The actor's failure is that of the
 * call, unless the message is done: then what came of it waits. */
static dw_status process_awaited(dw_store *store, awaited_message *awaited, dw_error *err)
{
    dw_status status = DW_OK;
    bool more = true;
    while (status == DW_OK && more && !awaited->done &&
           dw_actor_folder_has(store->folder, awaited->id)) {
        session s = {.store = store, .awaited = awaited};
        dw_error problem;
        status = take_turn(&s, awaited->id, &more, &problem);
        if (status != DW_OK && awaited->done) {
            dw__store_report(store, awaited->id, &problem);
            status = DW_OK;
        } else if (status != DW_OK) {
            (void)dw_fail(err, status, "%s", problem.message);
        }
    }
    return status;
}

/* Accept the message and work on it; `message->number` is set once it is accepted. Whoever got
 * messages meanwhile has one turn: a bound, whatever keeps coming. */
static dw_status send_and_process(dw_store *store, awaited_message *awaited, dw_sent *sent,
                                  dw_error *err)
{
    size_t failed = 0;
    dw_status status = dw_actor_folder_accept(store->folder, sent, err);
    if (status != DW_OK) {
        return status;
    }
    awaited->number = sent->message.number;
    status = process_awaited(store, awaited, err);
    for (size_t left = dw__store_todo_count(store); left > 0 && status == DW_OK; left--) {
        status = process_first(store, true, &failed, err);
    }
    end_turns(store);
    return status;
}

dw_status dw_store_send(dw_store *store, const char *id, const dw_actor_effect *message,
                        dw_write_fn on_answer, void *user, dw_error *err)
{
    dw_error answer = {.code = DW_OK};
    awaited_message awaited = {.id = id, .on_answer = on_answer, .user = user, .err = &answer};
    dw_actor_effect own;
    dw_status status = dw_struct_read(&own, sizeof own, message, "dw_actor_effect", err);
    if (status == DW_OK) {
        status = dw_actor_folder_check(store->folder, id, err);
    }
    if (status == DW_OK) {
        status = dw__store_enter_to_change(store, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_sent sent = {.message = {.bytes = own.message_bytes},
                    .content = own.message,
                    .mail_max = store->own_limits.mail};
    (void)snprintf(sent.to, sizeof sent.to, "%s", id);
    status = send_and_process(store, &awaited, &sent, err);
    dw__store_leave(store);
    if (status != DW_OK && !awaited.done) {
        /* The caller sends it again: it must not be worked on twice. */
        if (sent.message.number > 0 &&
            !dw_actor_folder_withdraw(store->folder, id, sent.message.number, NULL) &&
            err != NULL) {
            dw_error why = *err;
            return dw_fail(err, status,
                           "%.170s; the message could not be taken back: it may be worked on later",
                           why.message);
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
    while (status == DW_OK && dw__store_any_todo(store)) {
        status = process_first(store, false, &failed, err);
    }
    end_turns(store);
    dw__store_leave(store);
    if (status == DW_OK && failed > 0) {
        return dw_fail(err, DW_E_STATE, "%zu of %zu actors could not work", failed, count);
    }
    return status;
}
