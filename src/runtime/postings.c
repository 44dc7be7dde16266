/* Mail of actors that live in a folder: a message is accepted once it is on the disk, and gone from
 * there before its sender is told that it failed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"

/* ---- landing --------------------------------------------------------------------------------- */

void dw__land(dw__landing *landing, dw_status status, const dw_error *problem)
{
    dw_runtime *runtime = landing->runtime;
    landing->error = problem != NULL ? *problem : (dw_error){.message = ""};
    landing->error.code = status;
    landing->next = NULL;
    (void)pthread_mutex_lock(&runtime->landing_lock);
    bool first = runtime->landings == NULL;
    *(first ? &runtime->landings : &runtime->last_landing->next) = landing;
    runtime->last_landing = landing;
    (void)pthread_mutex_unlock(&runtime->landing_lock);
    if (first) {
        runtime->platform.wake(runtime->platform.user, 0);
    }
}

void dw__land_all(dw_runtime *runtime)
{
    (void)pthread_mutex_lock(&runtime->landing_lock);
    dw__landing *landing = runtime->landings;
    runtime->landings = NULL;
    (void)pthread_mutex_unlock(&runtime->landing_lock);
    while (landing != NULL) {
        dw__landing *next = landing->next; /* it may be gone, or on its way again */
        landing->land(runtime, landing);
        landing = next;
    }
}

/* ---- out of the folder ----------------------------------------------------------------------- */

static void send_out(dw_runtime *runtime, dw__posting *posting);

static void land_dropped(dw_runtime *runtime, dw__landing *landing)
{
    dw__posting *posting = (dw__posting *)(void *)landing;
    dw__mail *mail = posting->mail;
    if (landing->error.code == DW_E_BUSY) { /* no room in the queue */
        send_out(runtime, posting);
        return;
    }
    runtime->in_flight--;
    mail->leaving = false;
    mail->row = 0;
    if (landing->error.code != DW_OK) {
        dw_error why = mail->error;
        (void)dw_fail(&mail->error, why.code,
                      "%.160s; the message could not be taken back: it may be worked on later",
                      why.message);
    }
    if (mail->detached) {
        dw__mail_post(runtime, dw__find_any(runtime, mail->to), mail);
    } else {
        dw_error error = mail->error;
        dw__mail_end(runtime, mail, &error);
    }
}

static void send_out(dw_runtime *runtime, dw__posting *posting)
{
    dw_error busy = {.message = ""};
    posting->landing.land = land_dropped;
    if (runtime->keeper->drop(runtime->keeper->user, posting, &busy) != DW_OK) {
        dw__land(&posting->landing, DW_E_BUSY, NULL);
    }
}

void dw__take_out(dw_runtime *runtime, dw__mail *mail)
{
    DW_ASSERT(mail->posting != NULL && mail->row != 0 && !mail->leaving);
    mail->leaving = true;
    runtime->in_flight++;
    send_out(runtime, mail->posting);
}

bool dw__is_undone(const dw__record *record, uint64_t row)
{
    size_t i = 0;
    while (i < record->undone && record->undone_rows[i] != row) {
        i++;
    }
    return i < record->undone;
}

/* ---- into it --------------------------------------------------------------------------------- */

void dw__mailbox_put_row(dw__mailbox *mailbox, dw__mail *mail)
{
    if (mailbox->last == NULL || mailbox->last->row < mail->row) {
        dw__mailbox_put(mailbox, mail);
        return;
    }
    if (mailbox->first->row > mail->row) {
        dw__mailbox_put_first(mailbox, mail);
        return;
    }
    dw__mail *before = mailbox->first;
    while (before->next != NULL && before->next->row < mail->row) {
        before = before->next;
    }
    mail->next = before->next;
    before->next = mail;
    mailbox->count++;
    mailbox->bytes += mail->bytes;
}

static bool has_row(const dw__mailbox *mailbox, uint64_t row)
{
    if (mailbox->last == NULL || mailbox->last->row < row) {
        return false;
    }
    const dw__mail *mail = mailbox->first;
    while (mail != NULL && mail->row != row) {
        mail = mail->next;
    }
    return mail != NULL;
}

/* What is counted of causes is in memory alone: after a restart it goes on from those of the
 * messages that wait. */
static void note_cause(dw_runtime *runtime, const dw__mail *mail)
{
    uint64_t *cause = &runtime->causes[mail->cause % DW__CAUSES].cause;
    uint64_t *count = &runtime->causes[mail->cause % DW__CAUSES].count;
    if (mail->cause != 0 && (*cause != mail->cause || *count < mail->caused)) {
        *cause = mail->cause;
        *count = mail->caused;
    }
}

void dw__arrive(dw_runtime *runtime, dw__record *record, dw__mail *mail)
{
    bool read = record->loaded && mail->row <= record->seen_row;
    if (record->stopping || read || has_row(&record->mail, mail->row)) {
        dw__mail_free(runtime, mail);
        return;
    }
    if (mail->number == 0) {
        mail->number = ++runtime->mail_number;
    }
    note_cause(runtime, mail);
    dw__mailbox_put_row(&record->mail, mail);
    dw__mail_accepted(runtime, record, mail);
}

static void land_accepted(dw_runtime *runtime, dw__landing *landing)
{
    dw__posting *posting = (dw__posting *)(void *)landing;
    dw__mail *mail = posting->mail;
    dw__record *record = dw__find_any(runtime, mail->to);
    runtime->in_flight--;
    if (!mail->refused) { /* then it was taken from there */
        DW_ASSERT(record != NULL);
        (void)dw__mailbox_take_number(&record->coming, mail->number);
        dw__note_rest(runtime, record);
    } else {
        landing->error = landing->error.code == DW_OK ? landing->error : mail->error;
    }
    if (landing->error.code != DW_OK) {
        dw_error error = landing->error;
        dw__mail_end(runtime, mail, &error);
        return;
    }
    mail->row = posting->sent.message.number;
    if (!mail->refused) {
        dw__arrive(runtime, record, mail);
        return;
    }
    if (mail->gone) { /* with its actor; or it goes on waiting there, as it is told */
        mail->row = 0;
    }
    dw_error error = mail->error;
    dw__mail_end(runtime, mail, &error);
}

static dw_status send_off(dw_runtime *runtime, dw__record *record, dw__mail *mail, dw_error *err)
{
    dw__posting *posting = mail->posting;
    *posting = (dw__posting){.landing = {.runtime = runtime, .land = land_accepted},
                             .mail = mail,
                             .sent = {.message = {.bytes = mail->bytes, .at_ms = mail->at_ms},
                                      .content = mail->content,
                                      .mail_max = UINT64_MAX}};
    dw__id_text(posting->sent.to, record->id);
    dw_status status = runtime->keeper->accept(runtime->keeper->user, posting, err);
    if (status == DW_OK) {
        runtime->in_flight++;
        dw__mailbox_put(&record->coming, mail);
        dw__note_rest(runtime, record);
    }
    return status;
}

dw_status dw__post(dw_runtime *runtime, dw__record *record, dw__mail *mail, dw_error *err)
{
    mail->to = record->id;
    mail->posting = dw_alloc(1, sizeof *mail->posting);
    if (mail->posting == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a message");
    }
    mail->number = ++runtime->mail_number;
    if (!record->loaded) {
        dw__mailbox_put(&record->held, mail);
        return DW_OK;
    }
    return send_off(runtime, record, mail, err);
}

void dw__post_held(dw_runtime *runtime, dw__record *record)
{
    dw_error error;
    for (dw__mail *mail = dw__mailbox_take(&record->held); mail != NULL;
         mail = dw__mailbox_take(&record->held)) {
        dw_status status = send_off(runtime, record, mail, &error);
        if (status != DW_OK) {
            error.code = status;
            dw__mail_end(runtime, mail, &error);
        }
    }
}

void dw__end_postings(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    for (dw__mail *mail = dw__mailbox_take(&record->held); mail != NULL;
         mail = dw__mailbox_take(&record->held)) {
        dw__mail_end(runtime, mail, error);
    }
    for (dw__mail *mail = dw__mailbox_take(&record->coming); mail != NULL;
         mail = dw__mailbox_take(&record->coming)) {
        mail->refused = mail->gone = true;
        mail->error = *error;
    }
}
