/* Messages that were given up: seen, dropped, tried again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"

/* ---- in a folder ----------------------------------------------------------------------------- */

/* The rows of the mail of `who`, the caller's to dw_free; and its id. Gives the lock back
 * meanwhile. */
static dw_status read_rows(dw_runtime *runtime, const char *who, char id[DW_ACTOR_ID_CHARS + 1],
                           dw_mail_row **rows, size_t *count, dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row;
    *rows = NULL;
    *count = 0;
    id[0] = '\0';
    dw_status status = dw__look(runtime, who, &record, &row, err);
    if (status != DW_OK) {
        return status;
    }
    memcpy(id, row.id, sizeof row.id);
    dw__lock_scope scope = dw__unlock(runtime);
    status = runtime->keeper->list_mail(runtime->keeper->user, id, rows, count, err);
    dw__lock_again(runtime, scope);
    return status;
}

static dw_status list_kept(dw_runtime *runtime, const char *who,
                           void (*take)(void *user, const dw_store_message *message), void *user,
                           dw_error *err)
{
    dw_mail_row *rows = NULL;
    size_t count = 0;
    uint64_t number = 0;
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_status status = read_rows(runtime, who, id, &rows, &count, err);
    const dw__record *record = dw__id_parse(id, &number) ? dw__find(runtime, number) : NULL;
    for (size_t i = 0; i < count; i++) {
        const dw_message_row *message = &rows[i].message;
        if (message->aside || record == NULL || !dw__is_undone(record, message->number)) {
            take(user, &(dw_store_message){.struct_bytes = sizeof(dw_store_message),
                                           .number = message->number,
                                           .from = message->from,
                                           .bytes = (size_t)message->bytes,
                                           .set_aside = message->aside,
                                           .attempts = rows[i].attempts,
                                           .reason = rows[i].reason});
        }
    }
    dw_free(rows);
    return status;
}

/* It waits again under a number of its own: also in memory, if its actor is there. */
static dw_status wait_again(dw_runtime *runtime, const char *id, const dw_mail_row *row,
                            uint64_t fresh, dw_error *err)
{
    uint64_t number = 0;
    uint64_t from = 0;
    char *content = NULL;
    size_t bytes = 0;
    dw__mail *mail = NULL;
    (void)dw__id_parse(id, &number);
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status =
        runtime->keeper->read_message(runtime->keeper->user, id, fresh, &content, &bytes, err);
    if (status == DW_OK) {
        status = dw__mail_create(&mail, content, bytes, err);
    }
    dw_free(content);
    dw__lock_again(runtime, scope);
    if (status == DW_E_NOT_FOUND) { /* it was done, or dropped, already */
        return DW_OK;
    }
    dw__record *record = dw__find(runtime, number);
    if (status != DW_OK || record == NULL) {
        dw_free(mail);
        dw__bring_in(runtime, number);
        return status;
    }
    mail->from.is_actor = dw__id_parse(row->message.from, &from);
    mail->from.id = from;
    mail->row = fresh;
    record->aside_count -= record->loaded && record->aside_count > 0;
    dw__arrive(runtime, record, mail);
    return DW_OK;
}

static dw_status settle_one(dw_runtime *runtime, const char *id, const dw_mail_row *row, bool retry,
                            dw_error *err)
{
    const dw__keeper *keeper = runtime->keeper;
    uint64_t number = 0;
    uint64_t fresh = 0;
    (void)dw__id_parse(id, &number);
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status = retry ? keeper->retry(keeper->user, id, row->message.number, &fresh, err)
                             : keeper->drop_aside(keeper->user, id, row->message.number, err);
    dw__lock_again(runtime, scope);
    if (status != DW_OK) {
        return status;
    }
    if (retry) {
        return wait_again(runtime, id, row, fresh, err);
    }
    dw__record *record = dw__find(runtime, number);
    if (record != NULL && record->loaded) {
        record->aside_count -= record->aside_count > 0;
    }
    return DW_OK;
}

static dw_status settle_kept(dw_runtime *runtime, const char *who, uint64_t number, bool retry,
                             uint64_t *done, dw_error *err)
{
    dw_mail_row *rows = NULL;
    size_t count = 0;
    bool found = number == DW_MAIL_ALL;
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_status status = read_rows(runtime, who, id, &rows, &count, err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        bool meant = number == DW_MAIL_ALL || rows[i].message.number == number;
        if (rows[i].message.aside && meant) {
            found = true;
            status = settle_one(runtime, id, &rows[i], retry, err);
            *done += status == DW_OK;
        }
    }
    dw_free(rows);
    return status != DW_OK || found
               ? status
               : dw_fail(err, DW_E_NOT_FOUND, "no message %" PRIu64 " of actor %s was set aside",
                         number, who);
}

/* ---- from outside ---------------------------------------------------------------------------- */

dw_status dw_runtime_list_mail(dw_runtime *runtime, const char *id,
                               void (*take)(void *user, const dw_store_message *message),
                               void *user, dw_error *err)
{
    dw__record *record = NULL;
    char from[DW_ACTOR_ID_CHARS + 1];
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (runtime->keeper != NULL) {
        status = list_kept(runtime, id, take, user, err);
        dw__leave(runtime, false);
        return status;
    }
    status = dw__find_text(runtime, id, &record, err);
    for (int aside = 0; aside < 2 && status == DW_OK; aside++) {
        const dw__mail *mail = aside ? record->aside.first : record->mail.first;
        for (; mail != NULL; mail = mail->next) {
            dw__sender_text(from, &mail->from);
            take(user, &(dw_store_message){.struct_bytes = sizeof(dw_store_message),
                                           .number = mail->number,
                                           .from = from,
                                           .bytes = mail->bytes,
                                           .set_aside = aside != 0,
                                           .attempts = mail->attempts,
                                           .reason = mail->error.message});
        }
    }
    dw__leave(runtime, false);
    return status;
}

/* One that was set aside: it waits again, behind all others, or is gone. */
static void settle_aside(dw_runtime *runtime, dw__record *record, dw__mail *mail, bool retry)
{
    if (!retry) {
        dw__mail_free(runtime, mail);
        return;
    }
    mail->attempts = 0;
    mail->error = (dw_error){.code = DW_OK};
    mail->queued_ns = runtime->platform.clock_ns(runtime->platform.user);
    mail->begun = false;
    dw__mailbox_put(&record->mail, mail);
    dw__trace_queued(runtime, record, mail);
    runtime->counts.waiting++;
    dw__rouse(runtime, record);
}

static dw_status settle_number(dw_runtime *runtime, const char *id, uint64_t number, bool retry,
                               uint64_t *count, dw_error *err)
{
    dw__record *record = NULL;
    uint64_t done = 0;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (runtime->keeper != NULL) {
        status = settle_kept(runtime, id, number, retry, &done, err);
        if (count != NULL) {
            *count = done;
        }
        dw__leave(runtime, false);
        return status;
    }
    status = dw__find_text(runtime, id, &record, err);
    size_t most = status != DW_OK ? 0 : number == DW_MAIL_ALL ? record->aside.count : 1;
    for (; done < most; done++) {
        dw__mail *mail = number == DW_MAIL_ALL ? dw__mailbox_take(&record->aside)
                                               : dw__mailbox_take_number(&record->aside, number);
        if (mail == NULL) {
            status = dw_fail(err, DW_E_NOT_FOUND,
                             "no message %" PRIu64 " of actor %s was set aside", number, id);
            break;
        }
        settle_aside(runtime, record, mail, retry);
    }
    if (count != NULL) {
        *count = done;
    }
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_drop_mail(dw_runtime *runtime, const char *id, uint64_t number,
                               uint64_t *count, dw_error *err)
{
    return settle_number(runtime, id, number, false, count, err);
}

dw_status dw_runtime_retry_mail(dw_runtime *runtime, const char *id, uint64_t number,
                                uint64_t *count, dw_error *err)
{
    return settle_number(runtime, id, number, true, count, err);
}
