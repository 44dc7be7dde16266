/* What an owner sees of an actor's mail: what waits, and what was given up, which may be dropped or
 * tried again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"

/* ---- in a folder ----------------------------------------------------------------------------- */

void dw__aside_more(dw__record *record)
{
    record->aside_count++;
    record->aside_change++;
}

static void aside_less(dw__record *record)
{
    record->aside_count -= record->aside_count > 0;
    record->aside_change++;
}

/* An actor's messages in the folder, for one call. */
typedef struct kept_mail {
    char id[DW_ACTOR_ID_CHARS + 1];
    uint64_t number;   /* the id */
    dw_mail_row *rows; /* [count]; to be freed */
    size_t count;
} kept_mail;

/* Those that are done in memory, and there still, are left out. Gives the lock back meanwhile. */
static dw_status read_rows(dw_runtime *runtime, const char *id, kept_mail *all, dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row;
    size_t kept = 0;
    *all = (kept_mail){.rows = NULL};
    dw_status status = dw__look(runtime, id, &record, &row, err);
    if (status != DW_OK) {
        return status;
    }
    memcpy(all->id, row.id, sizeof all->id);
    (void)dw__id_parse(all->id, &all->number);
    dw__lock_scope scope = dw__unlock(runtime);
    status =
        runtime->keeper->list_mail(runtime->keeper->user, all->id, &all->rows, &all->count, err);
    dw__lock_again(runtime, scope);
    record = dw__find(runtime, all->number);
    for (size_t i = 0; i < all->count && status == DW_OK; i++) {
        const dw_message_row *message = &all->rows[i].message;
        if (message->aside || record == NULL || !dw__is_undone(record, message->number)) {
            all->rows[kept++] = all->rows[i];
        }
    }
    all->count = kept;
    return status;
}

static dw_status list_kept(dw_runtime *runtime, const char *id,
                           void (*take)(void *user, const dw_runtime_message *message), void *user,
                           dw_error *err)
{
    kept_mail all;
    dw_status status = read_rows(runtime, id, &all, err);
    for (size_t i = 0; i < all.count && status == DW_OK; i++) {
        const dw_message_row *message = &all.rows[i].message;
        take(user, &(dw_runtime_message){.struct_bytes = sizeof(dw_runtime_message),
                                         .number = message->number,
                                         .from = message->from,
                                         .bytes = message->bytes,
                                         .set_aside = message->aside,
                                         .attempts = all.rows[i].attempts,
                                         .reason = all.rows[i].reason});
    }
    dw_free(all.rows);
    return status;
}

static dw_status fail_none(const char *id, uint64_t number, dw_error *err)
{
    return dw_fail(err, DW_E_NOT_FOUND, "actor %s: no message %" PRIu64 " waits or was set aside",
                   id, number);
}

static dw_status read_kept(dw_runtime *runtime, const char *id, uint64_t number, char **content,
                           size_t *bytes, dw_error *err)
{
    kept_mail all;
    bool found = false;
    dw_status status = read_rows(runtime, id, &all, err);
    for (size_t i = 0; i < all.count && !found; i++) {
        found = all.rows[i].message.number == number;
    }
    if (status == DW_OK && !found) {
        status = fail_none(all.id, number, err);
    }
    if (status == DW_OK) {
        dw__lock_scope scope = dw__unlock(runtime);
        status = runtime->keeper->read_message(runtime->keeper->user, all.id, number, content,
                                               bytes, err);
        dw__lock_again(runtime, scope);
    }
    dw_free(all.rows);
    return status;
}

/* It waits again under a number of its own: also in memory, if its actor is there. */
static dw_status wait_again(dw_runtime *runtime, const kept_mail *all, const dw_mail_row *row,
                            uint64_t fresh, dw_error *err)
{
    uint64_t from = 0;
    char *content = NULL;
    size_t bytes = 0;
    dw__mail *mail = NULL;
    if (runtime->options.works_on_request && dw__find_any(runtime, all->number) == NULL) {
        return DW_OK;
    }
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status =
        runtime->keeper->read_message(runtime->keeper->user, all->id, fresh, &content, &bytes, err);
    if (status == DW_OK) {
        status = dw__mail_create(&mail, content, bytes, err);
    }
    dw_free(content);
    dw__lock_again(runtime, scope);
    dw__record *record = dw__find(runtime, all->number);
    if (record != NULL && !record->loaded) { /* what is being read may have it set aside */
        record->aside_stale = true;
    } else if (record != NULL && fresh > record->seen_row) { /* else it was read since */
        aside_less(record);
    }
    if (status == DW_E_NOT_FOUND) { /* it was done, or dropped, already */
        return DW_OK;
    }
    if (status != DW_OK || record == NULL) {
        dw_free(mail);
        dw__bring_in(runtime, all->number);
        return status;
    }
    mail->from.is_actor = dw__id_parse(row->message.from, &from);
    mail->from.id = from;
    mail->at_ms = row->message.at_ms;
    mail->row = fresh;
    mail->kind = row->message.kind;
    dw__arrive(runtime, record, mail);
    return DW_OK;
}

/* The message of that row, out of the mailbox; NULL: it is not there. */
static dw__mail *take_row(dw_runtime *runtime, dw__record *record, uint64_t row)
{
    dw__mail *mail = record != NULL ? record->mail.first : NULL;
    while (mail != NULL && mail->row != row) {
        mail = mail->next;
    }
    if (mail == NULL) {
        return NULL;
    }
    runtime->counts.waiting--;
    return dw__mailbox_take_number(&record->mail, mail->number);
}

/* One that nobody awaits: it is gone from memory as well, or, where that failed, in its place
 * again. */
static void end_dropped(dw_runtime *runtime, uint64_t id, uint64_t row, dw__mail *mail,
                        dw_status status)
{
    dw__record *record = dw__find(runtime, id);
    dw_error cancelled;
    (void)dw_fail(&cancelled, DW_E_CANCELLED, "message %" PRIu64 ": dropped", row);
    if (status != DW_OK && mail != NULL && record != NULL) {
        dw__mailbox_put_row(&record->mail, mail);
        runtime->counts.waiting++;
        dw__rouse(runtime, record);
        return;
    }
    if (status == DW_OK && mail == NULL) { /* it was read meanwhile */
        mail = take_row(runtime, record, row);
    }
    if (mail != NULL) {
        mail->row = 0;
        dw__mail_end(runtime, mail, &cancelled);
    }
    if (record != NULL) {
        dw__note_rest(runtime, record);
    }
}

/* One that waits. */
static dw_status drop_waiting(dw_runtime *runtime, const kept_mail *all, uint64_t row,
                              dw_error *err)
{
    const dw__keeper *keeper = runtime->keeper;
    dw__record *record = dw__find(runtime, all->number);
    dw_error cancelled;
    if (record != NULL && record->current != NULL && record->current->row == row) {
        return dw_fail(err, DW_E_NOT_FOUND, "actor %s works on message %" PRIu64, all->id, row);
    }
    dw__mail *mail = take_row(runtime, record, row);
    if (mail != NULL && mail->awaited) {
        (void)dw_fail(&cancelled, DW_E_CANCELLED, "message %" PRIu64 ": dropped", row);
        dw__mail_end(runtime, mail, &cancelled);
        dw__note_rest(runtime, record);
        return DW_OK;
    }
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status = keeper->drop_aside(keeper->user, all->id, row, err);
    dw__lock_again(runtime, scope);
    end_dropped(runtime, all->number, row, mail, status);
    return status;
}

/* It was read while one was dropped: what there is now. Where the count changes while the folder is
 * looked at, or is about to, nobody knows whether what is read has that: it is looked at again. */
static void count_again(dw_runtime *runtime, const kept_mail *all)
{
    dw_actor_row row;
    dw_status status = DW_OK;
    dw__record *record = dw__find(runtime, all->number);
    bool changed = true;
    while (changed && status == DW_OK && record != NULL && record->loaded) {
        const uint64_t before = record->aside_change;
        const uint64_t load = record->load_number;
        dw__lock_scope scope = dw__unlock(runtime);
        status = runtime->keeper->look(runtime->keeper->user, all->id, &row, NULL);
        dw__lock_again(runtime, scope);
        record = dw__find(runtime, all->number);
        changed = record == NULL || record->aside_change != before || record->load_number != load ||
                  record->sets_aside;
    }
    if (!changed && status == DW_OK) {
        record->aside_count = row.set_aside;
        record->aside_change++;
    }
}

static dw_status drop_set_aside(dw_runtime *runtime, const kept_mail *all, uint64_t row,
                                dw_error *err)
{
    dw__record *record = dw__find(runtime, all->number);
    const uint64_t before = record != NULL ? record->load_number : 0;
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status = runtime->keeper->drop_aside(runtime->keeper->user, all->id, row, err);
    dw__lock_again(runtime, scope);
    record = dw__find(runtime, all->number);
    if (status != DW_OK || record == NULL) {
        return status;
    }
    if (!record->loaded) { /* what is being read may have it */
        record->aside_stale = true;
    } else if (record->load_number == before) {
        aside_less(record);
    } else {
        count_again(runtime, all);
    }
    return DW_OK;
}

static dw_status retry_set_aside(dw_runtime *runtime, const kept_mail *all, const dw_mail_row *row,
                                 dw_error *err)
{
    uint64_t fresh = 0;
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status =
        runtime->keeper->retry(runtime->keeper->user, all->id, row->message.number, &fresh, err);
    dw__lock_again(runtime, scope);
    return status == DW_OK ? wait_again(runtime, all, row, fresh, err) : status;
}

static dw_status settle_one(dw_runtime *runtime, const kept_mail *all, const dw_mail_row *row,
                            bool retry, dw_error *err)
{
    uint64_t number = row->message.number;
    if (!row->message.aside && retry) {
        return dw_fail(err, DW_E_ARG, "message %" PRIu64 " waits; it was not set aside", number);
    }
    if (!row->message.aside) {
        return drop_waiting(runtime, all, number, err);
    }
    return retry ? retry_set_aside(runtime, all, row, err)
                 : drop_set_aside(runtime, all, number, err);
}

static dw_status settle_kept(dw_runtime *runtime, const char *id, uint64_t number, bool retry,
                             uint64_t *done, dw_error *err)
{
    kept_mail all;
    bool found = number == DW_MAIL_ALL;
    dw_status status = read_rows(runtime, id, &all, err);
    for (size_t i = 0; i < all.count && status == DW_OK; i++) {
        const dw_message_row *message = &all.rows[i].message;
        if (number == DW_MAIL_ALL ? message->aside : message->number == number) {
            found = true;
            status = settle_one(runtime, &all, &all.rows[i], retry, err);
            *done += status == DW_OK;
        }
    }
    dw_free(all.rows);
    return status != DW_OK || found ? status : fail_none(all.id, number, err);
}

/* ---- from outside ---------------------------------------------------------------------------- */

dw_status dw_runtime_list_mail(dw_runtime *runtime, const char *id,
                               void (*take)(void *user, const dw_runtime_message *message),
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
            take(user, &(dw_runtime_message){.struct_bytes = sizeof(dw_runtime_message),
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

static dw__mail *find_number(dw__mail *mail, uint64_t number)
{
    while (mail != NULL && mail->number != number) {
        mail = mail->next;
    }
    return mail;
}

/* In memory alone: of the message, a copy for the caller to free. */
static dw_status copy_mail(dw_runtime *runtime, const char *id, uint64_t number, char **content,
                           size_t *bytes, dw_error *err)
{
    dw__record *record = NULL;
    dw_status status = dw__find_text(runtime, id, &record, err);
    if (status != DW_OK) {
        return status;
    }
    const dw__mail *mail = find_number(record->mail.first, number);
    mail = mail != NULL ? mail : find_number(record->aside.first, number);
    if (mail == NULL) {
        return fail_none(id, number, err);
    }
    *bytes = mail->bytes;
    *content = dw_alloc(mail->bytes + 1, 1);
    if (*content == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a message of %zu bytes", mail->bytes);
    }
    memcpy(*content, mail->content, mail->bytes);
    return DW_OK;
}

dw_status dw_runtime_read_mail(dw_runtime *runtime, const char *id, uint64_t number,
                               dw_write_fn take, void *user, dw_error *err)
{
    char *content = NULL;
    size_t bytes = 0;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = runtime->keeper != NULL ? read_kept(runtime, id, number, &content, &bytes, err)
                                     : copy_mail(runtime, id, number, &content, &bytes, err);
    dw__leave(runtime, false);
    if (status == DW_OK && take(user, (const unsigned char *)content, bytes) < 0) {
        status = dw_fail(err, DW_E_IO, "message %" PRIu64 ": nobody takes it", number);
    }
    dw_free(content);
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

/* In memory alone. */
static dw_status settle_own(dw_runtime *runtime, dw__record *record, uint64_t number, bool retry,
                            uint64_t *done, dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error cancelled;
    if (number == DW_MAIL_ALL) {
        for (size_t left = record->aside.count; left > 0; left--, (*done)++) {
            settle_aside(runtime, record, dw__mailbox_take(&record->aside), retry);
        }
        return DW_OK;
    }
    dw__mail *mail = dw__mailbox_take_number(&record->aside, number);
    *done = 1;
    if (mail != NULL) {
        settle_aside(runtime, record, mail, retry);
        return DW_OK;
    }
    mail = find_number(record->mail.first, number);
    if (mail != NULL && !retry) {
        runtime->counts.waiting--;
        (void)dw_fail(&cancelled, DW_E_CANCELLED, "message %" PRIu64 ": dropped", number);
        dw__mail_end(runtime, dw__mailbox_take_number(&record->mail, number), &cancelled);
        return DW_OK;
    }
    *done = 0;
    dw__id_text(id, record->id);
    return mail != NULL
               ? dw_fail(err, DW_E_ARG, "message %" PRIu64 " waits; it was not set aside", number)
               : fail_none(id, number, err);
}

static dw_status settle_number(dw_runtime *runtime, const char *id, uint64_t number, bool retry,
                               uint64_t *count, dw_error *err)
{
    dw__record *record = NULL;
    uint64_t done = 0;
    dw_status status = dw__enter_to_change(runtime, err);
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
    if (status == DW_OK) {
        status = settle_own(runtime, record, number, retry, &done, err);
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
