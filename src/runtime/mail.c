/* Messages: accepted, cancelled, ended, set aside. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/callback.h"
#include "base/checked.h"
#include "base/public_struct.h"
#include "runtime/runtime_internal.h"

/* ---- lists ----------------------------------------------------------------------------------- */

void dw__mailbox_put(dw__mailbox *mailbox, dw__mail *mail)
{
    mail->next = NULL;
    if (mailbox->last != NULL) {
        mailbox->last->next = mail;
    } else {
        mailbox->first = mail;
    }
    mailbox->last = mail;
    mailbox->count++;
    mailbox->bytes += mail->bytes;
}

void dw__mailbox_put_first(dw__mailbox *mailbox, dw__mail *mail)
{
    mail->next = mailbox->first;
    mailbox->first = mail;
    mailbox->last = mailbox->last != NULL ? mailbox->last : mail;
    mailbox->count++;
    mailbox->bytes += mail->bytes;
}

dw__mail *dw__mailbox_take(dw__mailbox *mailbox)
{
    dw__mail *mail = mailbox->first;
    if (mail != NULL) {
        mailbox->first = mail->next;
        mailbox->last = mailbox->first != NULL ? mailbox->last : NULL;
        mailbox->count--;
        mailbox->bytes -= mail->bytes;
        mail->next = NULL;
    }
    return mail;
}

dw__mail *dw__mailbox_take_number(dw__mailbox *mailbox, uint64_t number)
{
    dw__mail *before = NULL;
    dw__mail *mail = mailbox->first;
    while (mail != NULL && mail->number != number) {
        before = mail;
        mail = mail->next;
    }
    if (mail == NULL || before == NULL) {
        return mail != NULL ? dw__mailbox_take(mailbox) : NULL;
    }
    before->next = mail->next;
    mailbox->last = mailbox->last == mail ? before : mailbox->last;
    mailbox->count--;
    mailbox->bytes -= mail->bytes;
    mail->next = NULL;
    return mail;
}

dw_status dw__mail_create(dw__mail **out, const void *content, size_t bytes, dw_error *err)
{
    size_t all;
    dw__mail *mail = dw_add_size(&all, sizeof *mail, bytes) ? dw_alloc(1, all) : NULL;
    *out = mail;
    if (mail == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a message of %zu bytes", bytes);
    }
    mail->notice.kind = DW__TELL_MAIL;
    mail->bytes = bytes;
    if (bytes > 0) {
        memcpy(mail->content, content, bytes);
    }
    return DW_OK;
}

void dw__mail_free(dw_runtime *runtime, dw__mail *mail)
{
    if (mail != NULL && mail->timeout_ms != 0) {
        dw__alarm_unreserve(runtime, &mail->alarm);
    }
    if (mail != NULL) {
        dw__later_release(runtime, mail);
        dw_free(mail->posting);
    }
    dw_free(mail);
}

/* ---- accepting ------------------------------------------------------------------------------- */

dw_status dw__mail_check(const dw__record *record, size_t bytes, uint64_t times, dw_error *err)
{
    const dw_limits *limits = record->limits;
    uint64_t count = record->mail.count + record->aside.count + record->held.count +
                     record->coming.count + record->aside_count;
    uint64_t held =
        record->mail.bytes + record->aside.bytes + record->held.bytes + record->coming.bytes;
    if (bytes > limits->message_bytes) {
        return dw_fail(err, DW_E_LIMIT, "message: %zu bytes, limit %" PRIu64 " (message_bytes)",
                       bytes, limits->message_bytes);
    }
    if (count / times >= limits->mail) {
        return dw_fail(err, DW_E_BUSY,
                       "mailbox: %" PRIu64 " messages wait, limit %" PRIu64 " (mail)", count,
                       limits->mail);
    }
    if (held / times >= limits->mail_bytes || bytes > limits->mail_bytes - held / times) {
        return dw_fail(err, DW_E_BUSY,
                       "mailbox: %" PRIu64 " bytes wait, limit %" PRIu64 " (mail_bytes)", held,
                       limits->mail_bytes);
    }
    return DW_OK;
}

void dw__mail_accepted(dw_runtime *runtime, dw__record *record, dw__mail *mail)
{
    mail->to = record->id;
    mail->queued_ns = runtime->platform.clock_ns(runtime->platform.user);
    dw__trace_queued(runtime, record, mail);
    runtime->counts.accepted++;
    runtime->counts.waiting++;
    dw__happened(runtime, record,
                 &(dw__happening){.kind = DW_EVENT_ACCEPTED,
                                  .other = mail->from,
                                  .number = mail->number,
                                  .context = &mail->context});
    dw__rouse(runtime, record);
}

void dw__mail_accept(dw_runtime *runtime, dw__record *record, dw__mail *mail)
{
    mail->number = ++runtime->mail_number;
    dw__mailbox_put(&record->mail, mail);
    dw__mail_accepted(runtime, record, mail);
}

/* A request that is not worked on yet ends. false: it is not there. */
static bool end_waiting(dw_runtime *runtime, dw__record *record, uint64_t number,
                        const dw_error *error)
{
    dw__mail *mail = dw__mailbox_take_number(&record->mail, number);
    if (mail != NULL) {
        runtime->counts.waiting--;
    } else {
        mail = dw__mailbox_take_number(&record->held, number);
    }
    if (mail != NULL) {
        dw__mail_end(runtime, mail, error);
        return true;
    }
    if (dw__later_end(runtime, record, number, error)) {
        return true;
    }
    mail = dw__mailbox_take_number(&record->coming, number);
    dw__note_rest(runtime, record);
    if (mail != NULL) { /* it ends when that is over */
        mail->refused = true;
        mail->error = *error;
    }
    return mail != NULL;
}

static void ring_timeout(dw_runtime *runtime, dw__alarm *alarm)
{
    dw__mail *mail = (dw__mail *)(void *)((char *)alarm - offsetof(dw__mail, alarm));
    dw__record *record = dw__find(runtime, mail->to);
    dw_error late;
    (void)dw_fail(&late, DW_E_LIMIT, "no answer within %" PRIu64 " ms (%s)", mail->timeout_ms,
                  mail->later ? "timeout_ms, ticket_ms" : "timeout_ms");
    if (record == NULL) { /* it is stopping, which ends it as well */
        return;
    }
    if (mail->working && record->state == DW__WORKING) {
        dw__mail_detach(runtime, record, &late);
    } else if (!mail->working) { /* else it is done, and about to be told */
        (void)end_waiting(runtime, record, mail->number, &late);
    }
}

void dw__set_timeout(dw_runtime *runtime, dw__mail *mail)
{
    uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
    uint64_t wait_ms =
        mail->timeout_ms < UINT64_MAX / 4000000 ? mail->timeout_ms : UINT64_MAX / 4000000;
    mail->alarm.ring = ring_timeout;
    dw__alarm_set(runtime, &mail->alarm, now_ns + wait_ms * 1000000);
}

static dw_status accept_request(dw_runtime *runtime, dw__record *record, dw__mail *mail,
                                dw_error *err)
{
    dw_status status = dw__mail_check(record, mail->bytes, 1, err);
    if (status == DW_OK && mail->timeout_ms != 0) {
        status = dw__alarm_reserve(runtime, err);
    }
    if (status != DW_OK) {
        mail->timeout_ms = 0; /* nothing is reserved */
        return status;
    }
    if (runtime->keeper != NULL) {
        status = dw__post(runtime, record, mail, err);
    } else {
        dw__mail_accept(runtime, record, mail);
    }
    if (status == DW_OK && mail->timeout_ms != 0) {
        dw__set_timeout(runtime, mail);
    }
    return status;
}

static void fill_request(dw__mail *mail, const dw_request *request)
{
    mail->timeout_ms = request->timeout_ms;
    mail->on_answer = request->on_answer;
    mail->on_answered = request->on_answered;
    mail->on_end = request->on_end;
    mail->user = request->user;
    mail->context = dw_trace_context_read(request->traceparent);
    mail->awaited = true;
}

dw_status dw__send_request(dw_runtime *runtime, dw__record *record, const dw_request *request,
                           dw_error *err)
{
    dw__mail *mail = NULL;
    dw_status status = dw__mail_create(&mail, request->message, request->message_bytes, err);
    if (status == DW_OK) {
        fill_request(mail, request);
        mail->at_ms = runtime->platform.wall_ms(runtime->platform.user);
        status = accept_request(runtime, record, mail, err);
    }
    if (status != DW_OK && mail != NULL) {
        dw__mail_free(runtime, mail);
    }
    return status;
}

dw_status dw_runtime_send(dw_runtime *runtime, const char *id, const dw_request *request,
                          uint64_t *number, dw_error *err)
{
    dw_request own;
    dw__mail *mail = NULL;
    dw_status status = dw_struct_read(&own, sizeof own, request, "dw_request", err);
    if (status == DW_OK && own.message == NULL && own.message_bytes > 0) {
        status = dw_fail(err, DW_E_ARG, "dw_request.message: NULL");
    }
    if (status == DW_OK) {
        status = dw__enter_to_change(runtime, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__lock_scope scope = dw__unlock(runtime); /* copying takes its time */
    status = dw__mail_create(&mail, own.message, own.message_bytes, err);
    if (status == DW_OK && runtime->keeper != NULL) {
        status = runtime->keeper->check_bytes(runtime->keeper->user, err);
    }
    dw__lock_again(runtime, scope);
    if (status == DW_OK) {
        fill_request(mail, &own);
        mail->at_ms = runtime->platform.wall_ms(runtime->platform.user);
        dw__record *record = NULL;
        status = runtime->closing ? dw_fail(err, DW_E_STATE, "the runtime is being closed")
                                  : dw__reach(runtime, id, &record, err);
        mail->timeout_ms = status == DW_OK ? mail->timeout_ms : 0;
        status = status == DW_OK ? accept_request(runtime, record, mail, err) : status;
    }
    if (status != DW_OK) {
        dw__mail_free(runtime, mail);
    } else if (number != NULL) {
        *number = mail->number;
    }
    dw__leave(runtime, false);
    return status;
}

/* ---- ends ------------------------------------------------------------------------------------ */

void dw__mail_end(dw_runtime *runtime, dw__mail *mail, const dw_error *error)
{
    if (mail->row != 0 && mail->awaited && !mail->detached) {
        dw__alarm_clear(runtime, &mail->alarm);
        mail->working = false;
        mail->error = *error;
        dw__take_out(runtime, mail); /* what was told as failed is not done later */
        return;
    }
    runtime->counts.ended++;
    runtime->counts.failed += error->code != DW_OK;
    dw__happened_to(runtime, mail->to,
                    &(dw__happening){.kind = DW_EVENT_ENDED,
                                     .other = mail->from,
                                     .number = mail->number,
                                     .error = error,
                                     .context = &mail->context});
    dw__alarm_clear(runtime, &mail->alarm);
    if (!mail->begun) {
        dw__trace_left(runtime, mail);
    }
    mail->working = false;
    if (mail->detached) { /* told, or about to be */
        if (mail->told) {
            dw__mail_free(runtime, mail);
        }
        return;
    }
    if (!mail->awaited || mail->on_end == NULL) {
        dw__mail_free(runtime, mail);
        return;
    }
    mail->error = *error;
    mail->posted = true;
    dw__tell(runtime, &mail->notice);
}

void dw__mail_post(dw_runtime *runtime, const dw__record *record, dw__mail *mail)
{
    if (mail->detached && !mail->posted && !mail->leaving &&
        (record == NULL || record->current != mail || !record->answering)) {
        mail->posted = true;
        dw__tell(runtime, &mail->notice);
    }
}

void dw__mail_detach(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    dw__mail *mail = record->current;
    DW_ASSERT(mail != NULL && mail->working);
    if (mail->detached || !mail->awaited) {
        return;
    }
    dw__alarm_clear(runtime, &mail->alarm);
    mail->detached = true;
    mail->error = *error;
    runtime->platform.cancel(runtime->platform.user, record->body, false);
    if (mail->row != 0) {
        dw__take_out(runtime, mail);
    }
    dw__mail_post(runtime, record, mail);
}

void dw__mail_end_all(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    runtime->counts.waiting -= record->mail.count;
    for (dw__mail *mail = dw__mailbox_take(&record->mail); mail != NULL;
         mail = dw__mailbox_take(&record->mail)) {
        mail->row = 0; /* gone with the actor, or it goes on waiting there */
        dw__mail_end(runtime, mail, error);
    }
    dw__end_postings(runtime, record, error);
    dw__later_end_all(runtime, record, error);
    for (dw__mail *mail = dw__mailbox_take(&record->aside); mail != NULL;
         mail = dw__mailbox_take(&record->aside)) {
        dw__mail_free(runtime, mail);
    }
}

void dw__mail_failed(dw_runtime *runtime, dw__record *record, dw__mail *mail, const dw_error *error)
{
    mail->working = false;
    if (mail->awaited || record->stopping) {
        dw__mail_end(runtime, mail, error);
        return;
    }
    mail->attempts++;
    mail->error = *error;
    if (mail->attempts < record->limits->attempts) {
        dw__log_failed_try(runtime, record, mail);
        mail->queued_ns = runtime->platform.clock_ns(runtime->platform.user);
        mail->begun = false;
        dw__mailbox_put_first(&record->mail, mail);
        dw__trace_queued(runtime, record, mail);
        runtime->counts.waiting++;
        return;
    }
    runtime->counts.ended++;
    runtime->counts.failed++;
    const dw_watch_event event =
        dw__watch_event_of(DW_WATCH_SET_ASIDE, DW_WATCH_FINISHED, error->code, error->message);
    dw__watch_tell(runtime, record, &event);
    dw__mailbox_put(&record->aside, mail);
    dw__happened(runtime, record,
                 &(dw__happening){.kind = DW_EVENT_SET_ASIDE,
                                  .other = mail->from,
                                  .number = mail->number,
                                  .error = error});
}

dw_status dw_runtime_cancel(dw_runtime *runtime, const char *id, uint64_t number, dw_error *err)
{
    dw__record *record = NULL;
    dw_error cancelled;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    (void)dw_fail(&cancelled, DW_E_CANCELLED, "message %" PRIu64 ": cancelled", number);
    dw_actor_row row;
    status = dw__look(runtime, id, &record, &row, err);
    if (status == DW_OK) {
        const dw__mail *mail = record != NULL ? record->current : NULL;
        if (mail != NULL && mail->number == number && mail->awaited && !mail->detached &&
            record->state == DW__WORKING) {
            dw__mail_detach(runtime, record, &cancelled);
        } else if (mail != NULL && mail->number == number && mail->awaited && !mail->detached) {
            status = dw_fail(err, DW_E_STATE,
                             "message %" PRIu64 " of actor %s was worked on, and what came of it "
                             "is being written: it ends with that",
                             number, id);
        } else if (record == NULL || !end_waiting(runtime, record, number, &cancelled)) {
            status = dw_fail(err, DW_E_NOT_FOUND, "no message %" PRIu64 " waits for actor %s",
                             number, id);
        }
    }
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_interrupt(dw_runtime *runtime, const char *id, dw_error *err)
{
    dw__record *record = NULL;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    dw_actor_row row;
    status = dw__look(runtime, id, &record, &row, err);
    if (status == DW_OK && (record == NULL || record->state != DW__WORKING)) {
        status = dw_fail(err, DW_E_END, "actor %s works on nothing", id);
    }
    if (status == DW_OK) {
        record->interrupted = true;
        runtime->platform.cancel(runtime->platform.user, record->body, true);
    }
    dw__leave(runtime, false);
    return status;
}

/* ---- answers --------------------------------------------------------------------------------- */

ptrdiff_t dw__answered(dw_runtime *runtime, dw__record *record, const unsigned char *bytes,
                       size_t count)
{
    dw_write_fn on_answer = NULL;
    void *user = NULL;
    ptrdiff_t taken = (ptrdiff_t)count;
    dw__enter(runtime);
    dw__mail *mail = record->current;
    if (mail != NULL && !mail->detached && mail->on_answer != NULL) {
        on_answer = mail->on_answer;
        user = mail->user;
        record->answering = true;
    } else if (mail != NULL && mail->detached) {
        taken = -EINTR; /* who asked has gone, and the guest was told: not all of it for nobody */
    }
    if (on_answer != NULL) {
        dw__lock_scope scope = dw__unlock(runtime);
        const dw_runtime *before = dw__callbacks_begin(runtime);
        taken = on_answer(user, bytes, count);
        dw__callbacks_end(before);
        dw__lock_again(runtime, scope);
        record->answering = false;
        dw__mail_post(runtime, record, mail);
    }
    if (taken > 0) {
        size_t told = (size_t)taken < count ? (size_t)taken : count;
        dw__sum(runtime, record, &(dw__sums){.answered_bytes = told});
        dw__trace_answered(runtime, record, told);
        dw__happened(runtime, record,
                     &(dw__happening){.kind = DW_EVENT_ANSWERED,
                                      .number = mail != NULL ? mail->number : 0,
                                      .bytes = bytes,
                                      .byte_count = told});
    }
    dw__leave(runtime, false);
    return taken;
}
