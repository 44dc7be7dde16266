/* Messages as rows: accepted, listed, dropped, set aside. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "store/actor_folder_internal.h"

/* ---- accepting --------------------------------------------------------------------------- */

static dw_status take_number(dw_journal_tx *tx, const char *id, uint64_t numbered, uint64_t *number,
                             dw_error *err)
{
    if (numbered == UINT64_MAX) {
        return dw_fail(err, DW_E_LIMIT, "actor %s: %" PRIu64 " messages, which is the limit", id,
                       numbered);
    }
    *number = numbered + 1;
    dw_query *query = dw_journal_query(tx, DW__SQL_SET_NUMBERED);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, *number);
    return dw_query_run(query, err);
}

dw_status dw__mail_number(dw_journal_tx *tx, const char *id, uint64_t *number, dw_error *err)
{
    dw_actor_row row;
    uint64_t numbered = 0;
    dw_status status = dw__row_read(tx, id, &row, &numbered, err);
    return status == DW_OK ? take_number(tx, id, numbered, number, err) : status;
}

dw_status dw__mail_add(dw_journal_tx *tx, const char *id, const dw_message_row *message,
                       const void *content, const dw_attempts *why, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_ADD_MESSAGE);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, message->number);
    dw__bind_id(query, message->from);
    dw_query_u64(query, message->effect);
    dw_query_u64(query, message->cause);
    dw_query_u64(query, message->caused);
    dw_query_i64(query, message->aside);
    dw_query_i64(query, why != NULL ? why->count : 0);
    dw_query_text(query, why != NULL ? why->reason : "");
    dw_query_blob(query, content, (size_t)message->bytes);
    dw_query_u64(query, message->at_ms);
    dw_query_i64(query, message->kind);
    return dw_query_run(query, err);
}

static dw_status find_in_seen(dw_journal_tx *tx, const dw_sent *sent, bool *found, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_SEEN);
    dw_query_u64(query, dw__id_number(sent->message.from));
    dw_query_u64(query, dw__id_number(sent->to));
    dw_query_u64(query, sent->message.effect);
    return dw_query_next(query, found, err);
}

/* Whether the message of that effect was accepted before. */
static dw_status find_same(dw_journal_tx *tx, const dw_sent *sent, bool *found, dw_error *err)
{
    *found = false;
    if (sent->message.from[0] == '\0') {
        return DW_OK;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_SAME_MESSAGE);
    dw_query_u64(query, dw__id_number(sent->to));
    dw_query_u64(query, dw__id_number(sent->message.from));
    dw_query_u64(query, sent->message.effect);
    dw_status status = dw_query_next(query, found, err);
    return status == DW_OK && !*found ? find_in_seen(tx, sent, found, err) : status;
}

static dw_status accept_one(dw_journal_tx *tx, dw_sent *sent, dw_error *err)
{
    dw_actor_row row;
    uint64_t numbered = 0;
    bool same = false;
    sent->message.number = 0;
    dw_status status = dw__row_read(tx, sent->to, &row, &numbered, err);
    if (status == DW_OK) {
        status = find_same(tx, sent, &same, err);
    }
    if (status != DW_OK || same) {
        return status;
    }
    if (row.waiting + row.set_aside >= sent->mail_max) {
        return dw_fail(err, DW_E_BUSY,
                       "actor %s: %" PRIu64 " messages wait or were set aside, limit %" PRIu64
                       " (mail)",
                       sent->to, row.waiting + row.set_aside, sent->mail_max);
    }
    status = take_number(tx, sent->to, numbered, &sent->message.number, err);
    return status == DW_OK ? dw__mail_add(tx, sent->to, &sent->message, sent->content, NULL, err)
                           : status;
}

dw_status dw__mail_take(dw_journal_tx *tx, dw_sent *sent, dw_error *err)
{
    if (sent->skip) {
        return DW_OK;
    }
    sent->status = accept_one(tx, sent, &sent->problem);
    switch (sent->status) {
    case DW_OK:
    case DW_E_NOT_FOUND:
    case DW_E_BUSY:
    case DW_E_LIMIT:
        return DW_OK;
    default:
        return dw_fail(err, sent->status, "%s", sent->problem.message);
    }
}

dw_status dw_actor_folder_accept_work(void *sent, dw_journal_tx *tx, dw_error *err)
{
    return accept_one(tx, sent, err);
}

dw_status dw_actor_folder_accept(dw_actor_folder *folder, dw_sent *sent, dw_error *err)
{
    dw__folder_finish_withdrawals(folder);
    dw_status status =
        dw_journal_write(folder->journal, dw_actor_folder_accept_work, sent, false, err);
    if (status == DW_OK) {
        dw_actor_folder_add_bytes(folder, sent->message.bytes);
    } else {
        sent->message.number = 0;
    }
    return status;
}

static dw_status seen_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    bool found = false;
    dw_status status = find_in_seen(tx, user, &found, err);
    return status == DW_OK && !found ? DW_E_NOT_FOUND : status;
}

bool dw_actor_folder_was_delivered(dw_actor_folder *folder, const dw_sent *sent)
{
    dw_sent copy = *sent;
    return dw_journal_read(folder->journal, seen_work, &copy, NULL) == DW_OK;
}

/* ---- listing ----------------------------------------------------------------------------- */

static void take_message(dw_query *query, dw_message_row *message)
{
    message->number = dw_query_get_u64(query, 0);
    dw__get_id(query, 1, message->from);
    message->effect = dw_query_get_u64(query, 2);
    message->cause = dw_query_get_u64(query, 3);
    message->caused = dw_query_get_u64(query, 4);
    message->aside = dw_query_get_i64(query, 5) != 0;
    message->bytes = (uint64_t)dw_query_get_i64(query, 8);
    message->at_ms = dw_query_get_u64(query, 9);
    message->kind = (int32_t)dw_query_get_i64(query, 10);
}

typedef struct mail_list {
    dw_actor_folder *folder;
    const char *id;
    dw_mail_row *items; /* [count] */
    size_t count;
    size_t capacity;
} mail_list;

/* What was noted of a message that waits. */
static dw_status read_attempts(dw_journal_tx *tx, const mail_list *list, dw_error *err)
{
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_ATTEMPT);
    dw_query_u64(query, dw__id_number(list->id));
    dw_query_i64(query, DW_ATTEMPTED_MESSAGE);
    dw_status status = dw_query_next(query, &found, err);
    for (size_t i = 0; i < list->count && found; i++) {
        dw_mail_row *row = &list->items[i];
        if (!row->message.aside && row->message.number == dw_query_get_u64(query, 0)) {
            row->attempts = (uint32_t)dw_query_get_i64(query, 2);
            (void)snprintf(row->reason, sizeof row->reason, "%s", dw_query_get_text(query, 3));
        }
    }
    return status;
}

static dw_status read_mail(void *user, dw_journal_tx *tx, dw_error *err)
{
    mail_list *list = user;
    dw_actor_row actor;
    bool found = false;
    dw_status status = dw__row_read(tx, list->id, &actor, NULL, err);
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_MAIL);
    dw_query_u64(query, dw__id_number(list->id));
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        if (!DW_ARRAY_RESERVE(list->items, list->capacity, list->count + 1, SIZE_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a list of messages");
        }
        dw_mail_row *row = &list->items[list->count++];
        *row = (dw_mail_row){.attempts = (uint32_t)dw_query_get_i64(query, 6)};
        take_message(query, &row->message);
        (void)snprintf(row->reason, sizeof row->reason, "%s", dw_query_get_text(query, 7));
        list->count -= dw__folder_is_withdrawn(list->folder, list->id, row->message.number);
    }
    return status == DW_OK ? read_attempts(tx, list, err) : status;
}

dw_status dw_actor_folder_list_mail(dw_actor_folder *folder, const char *id, dw_mail_row **rows,
                                    size_t *count, dw_error *err)
{
    mail_list list = {.folder = folder, .id = id};
    dw_status status = dw_journal_read(folder->journal, read_mail, &list, err);
    if (status != DW_OK) {
        dw_free(list.items);
        list = (mail_list){.count = 0};
    }
    *rows = list.items;
    *count = list.count;
    return status;
}

typedef struct content_search {
    const char *id;
    uint64_t number;
    char *content;
    size_t bytes;
} content_search;

static dw_status read_content(void *user, dw_journal_tx *tx, dw_error *err)
{
    content_search *search = user;
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_CONTENT);
    dw_query_u64(query, dw__id_number(search->id));
    dw_query_u64(query, search->number);
    dw_status status = dw_query_next(query, &found, err);
    if (status == DW_OK && !found) {
        status = dw_fail(err, DW_E_NOT_FOUND, "actor %s: no message %" PRIu64, search->id,
                         search->number);
    }
    if (status != DW_OK) {
        return status;
    }
    const void *content = dw_query_get_blob(query, 0, &search->bytes);
    search->content = dw_alloc(search->bytes + 1, 1);
    if (search->content == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a message of %zu bytes", search->bytes);
    }
    if (search->bytes > 0) {
        memcpy(search->content, content, search->bytes);
    }
    return DW_OK;
}

dw_status dw_actor_folder_read_message(dw_actor_folder *folder, const char *id, uint64_t number,
                                       char **content, size_t *bytes, dw_error *err)
{
    content_search search = {.id = id, .number = number};
    dw_status status = dw_journal_read(folder->journal, read_content, &search, err);
    *content = search.content;
    *bytes = search.bytes;
    return status;
}

/* ---- dropped and set aside ----------------------------------------------------------------- */

dw_status dw__mail_drop(dw_journal_tx *tx, const char *id, uint64_t number, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_DROP_MESSAGE);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, number);
    return dw_query_run(query, err);
}

typedef struct mail_change {
    const char *id;
    uint64_t number;
    const dw_attempts *why;
    uint64_t fresh;
    const dw_actor_counts *counts; /* NULL: they stay */
    dw_ending *ending;             /* of one that is set aside */
} mail_change;

static dw_status drop_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const mail_change *change = user;
    dw_status status = dw__mail_drop(tx, change->id, change->number, err);
    if (status == DW_OK) {
        status = dw__counts_set(tx, change->id, change->counts, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_DROP_ATTEMPT);
    dw_query_u64(query, dw__id_number(change->id));
    dw_query_i64(query, DW_ATTEMPTED_MESSAGE);
    dw_query_u64(query, change->number);
    status = dw_query_run(query, err);
    /* What else was noted are attempts at its effects. */
    return status == DW_OK && dw_journal_changes(tx) > 0 ? dw__attempts_drop(tx, change->id, err)
                                                         : status;
}

dw_status dw_actor_folder_drop_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const dw_sent *sent = user;
    mail_change change = {.id = sent->to, .number = sent->message.number};
    return drop_work(&change, tx, err);
}

dw_status dw_actor_folder_drop_message(dw_actor_folder *folder, const char *id, uint64_t number,
                                       dw_error *err)
{
    mail_change change = {.id = id, .number = number};
    return dw_journal_write(folder->journal, drop_work, &change, false, err);
}

bool dw_actor_folder_withdraw(dw_actor_folder *folder, const char *id, uint64_t number,
                              const dw_actor_counts *counts)
{
    mail_change change = {.id = id, .number = number, .counts = counts};
    return dw_journal_write(folder->journal, drop_work, &change, false, NULL) == DW_OK ||
           dw_actor_folder_mark_withdrawn(folder, id, number, counts);
}

static dw_status set_aside_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const mail_change *change = user;
    dw_query *query = dw_journal_query(tx, DW__SQL_SET_ASIDE);
    dw_query_u64(query, dw__id_number(change->id));
    dw_query_u64(query, change->number);
    dw_query_i64(query, change->why->count);
    dw_query_text(query, change->why->reason);
    dw_status status = dw_query_run(query, err);
    dw__notices_clear(&change->ending->notices);
    if (status == DW_OK && dw_journal_changes(tx) > 0) {
        status = dw__watchers_tell(tx, change->id, &change->ending->event, &change->ending->notices,
                                   err);
    }
    if (status == DW_OK) {
        status = dw__counts_set(tx, change->id, change->why->counts, err);
    }
    return status == DW_OK ? dw__attempts_drop(tx, change->id, err) : status;
}

dw_status dw_actor_folder_set_aside(dw_actor_folder *folder, const char *id, uint64_t number,
                                    const dw_attempts *why, dw_ending *ending, dw_error *err)
{
    mail_change change = {.id = id, .number = number, .why = why, .ending = ending};
    dw_status status = dw_journal_write(folder->journal, set_aside_work, &change, false, err);
    if (status != DW_OK) {
        dw__notices_clear(&ending->notices);
    }
    return status;
}

static dw_status retry_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    mail_change *change = user;
    dw_status status = dw__mail_number(tx, change->id, &change->fresh, err);
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_RETRY);
    dw_query_u64(query, dw__id_number(change->id));
    dw_query_u64(query, change->number);
    dw_query_u64(query, change->fresh);
    dw_query_u64(query, 0); /* its owner, from outside, lets it begin anew */
    status = dw_query_run(query, err);
    return status == DW_OK && dw_journal_changes(tx) == 0
               ? dw_fail(err, DW_E_NOT_FOUND, "no message %" PRIu64 " of actor %s was set aside",
                         change->number, change->id)
               : status;
}

dw_status dw_actor_folder_retry(dw_actor_folder *folder, const char *id, uint64_t number,
                                uint64_t *fresh, dw_error *err)
{
    mail_change change = {.id = id, .number = number};
    dw_status status = dw_journal_write(folder->journal, retry_work, &change, false, err);
    if (fresh != NULL) {
        *fresh = change.fresh;
    }
    return status;
}
