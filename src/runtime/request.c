/* Runtimes that work on request: actors begin for messages from outside, and when the embedder says
 * so; what cannot be done fails, in the place of being tried again. */
#include <inttypes.h>

#include "base/callback.h"
#include "runtime/runtime_internal.h"

static bool is_awaited(const dw__record *record)
{
    const dw__mail *mail = record->mail.first;
    while (mail != NULL && !mail->awaited) {
        mail = mail->next;
    }
    return mail != NULL;
}

bool dw__may_begin(const dw_runtime *runtime, const dw__record *record)
{
    return !runtime->options.works_on_request || runtime->work == DW_WORK_ALL || record->has_turn ||
           is_awaited(record) || runtime->later_count > 0;
}

/* Messages from outside leave the folder: what is told as failed is not done later. */
static void end_awaited(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    const dw__mail *mail = record->mail.first;
    while (mail != NULL) {
        uint64_t number = mail->number;
        bool ends = mail->awaited;
        mail = mail->next;
        if (ends) {
            runtime->counts.waiting--;
            dw__mail_end(runtime, dw__mailbox_take_number(&record->mail, number), error);
        }
    }
}

/* Those that are on their way into it leave it as soon as they are there. */
static void refuse_coming(dw__record *record, const dw_error *error)
{
    for (dw__mail *mail = dw__mailbox_take(&record->coming); mail != NULL;
         mail = dw__mailbox_take(&record->coming)) {
        mail->refused = true;
        mail->error = *error;
    }
}

void dw__unable(dw_runtime *runtime, dw__record *record, const dw_error *error, bool absent)
{
    const dw_error own = *error; /* the record's, maybe */
    runtime->unable_count++;
    end_awaited(runtime, record, &own);
    if (!absent) {
        refuse_coming(record, &own);
    }
    record->ends_in_folder = absent;
    dw__part(runtime, record, &own, absent);
    dw__bury(runtime, record);
}

void dw__bring_one(dw_runtime *runtime, uint64_t id)
{
    char text[DW_ACTOR_ID_CHARS + 1];
    dw_actor_row row;
    dw__record *record = NULL;
    dw_error error;
    dw__id_text(text, id);
    if (dw__find_any(runtime, id) != NULL || runtime->closing) {
        return;
    }
    /* With the lock, which nobody else wants for long here. */
    dw_status status = runtime->keeper->look(runtime->keeper->user, text, &row, &error);
    if (status == DW_OK) {
        status = dw__record_bring(runtime, &row, &record, &error);
    }
    if (status == DW_OK) {
        dw__come(runtime, record);
    } else if (status != DW_E_NOT_FOUND) { /* its message waits */
        error.code = status;
        dw__problem(runtime, id, &error);
    }
}

/* ---- an answer that is complete -------------------------------------------------------------- */

bool dw__answer_ends(dw_runtime *runtime, dw__record *record, dw_error *own)
{
    dw_status status = DW_OK;
    dw_error problem = {.message = ""};
    dw__enter(runtime);
    dw__mail *mail = record->current;
    if (mail != NULL && !mail->detached && mail->on_answered != NULL) {
        record->answering = true;
        dw__lock_scope scope = dw__unlock(runtime);
        const dw_runtime *before = dw__callbacks_begin(runtime);
        status = mail->on_answered(mail->user, own->code, &problem);
        dw__callbacks_end(before);
        dw__lock_again(runtime, scope);
        record->answering = false;
        dw__mail_post(runtime, record, mail);
    }
    dw__leave(runtime, false);
    if (status != DW_OK) {
        *own = problem;
        own->code = status;
    }
    return status == DW_OK;
}

/* ---- from outside ---------------------------------------------------------------------------- */

/* Those that are read yet may have got something. */
static void give_turns(dw_runtime *runtime)
{
    for (dw__record *record = runtime->all; record != NULL; record = record->after) {
        record->has_turn =
            record->inside > 0 || record->timer_due || record->mail.count > 0 || !record->loaded;
        dw__rouse(runtime, record);
    }
}

static void begin_all(dw_runtime *runtime)
{
    uint64_t now_ms = runtime->platform.wall_ms(runtime->platform.user);
    runtime->work = DW_WORK_ALL;
    runtime->cut_short = false;
    for (dw__record *record = runtime->all; record != NULL; record = record->after) {
        record->timer_due =
            record->timer_due || (record->timer_ms != 0 && record->timer_ms <= now_ms);
        dw__rouse(runtime, record);
    }
    dw__scan_folder(runtime);
}

dw_status dw_runtime_work(dw_runtime *runtime, dw_work_kind what, dw_error *err)
{
    if (what != DW_WORK_TURN && what != DW_WORK_ALL) {
        return dw_fail(err, DW_E_RANGE, "work: %d, DW_WORK_TURN (1) or DW_WORK_ALL (2)", (int)what);
    }
    if (!runtime->options.works_on_request) {
        return dw_fail(err, DW_E_STATE, "work: the runtime works of itself (works_on_request)");
    }
    if (dw__runtime_is_own_thread(runtime)) {
        return dw_fail(err, DW_E_STATE, "work: not from the runtime's callbacks");
    }
    dw_status status = dw__enter_to_change(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    runtime->unable_count = 0;
    uint64_t count = runtime->listed_count + runtime->dormant_count;
    if (what == DW_WORK_TURN) {
        give_turns(runtime);
    } else {
        begin_all(runtime);
    }
    dw__leave(runtime, false);
    status = dw_runtime_wait(runtime, 0, err);
    dw__enter(runtime);
    while (status == DW_OK && runtime->cut_short && !runtime->closing) {
        begin_all(runtime);
        dw__leave(runtime, false);
        status = dw_runtime_wait(runtime, 0, err);
        dw__enter(runtime);
    }
    runtime->work = 0;
    size_t unable = runtime->unable_count;
    for (dw__record *record = runtime->all; record != NULL; record = record->after) {
        record->has_turn = false;
    }
    dw__leave(runtime, false);
    if (status == DW_OK && unable > 0) {
        return dw_fail(err, DW_E_STATE, "%zu of %" PRIu64 " actors could not work", unable, count);
    }
    return status;
}
