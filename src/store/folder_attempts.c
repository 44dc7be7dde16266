/* How often what an actor works on was tried, so that a message which never ends, traps or kills
 * its process is not tried for ever. */
#include <stdio.h>

#include "store/actor_folder_internal.h"

/* ---- failed -------------------------------------------------------------------------------- */

typedef struct attempts_search {
    const char *id;
    const dw_attempted *work;
    dw_attempts *attempts;
} attempts_search;

static dw_status read_attempts(void *user, dw_journal_tx *tx, dw_error *err)
{
    const attempts_search *search = user;
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_ATTEMPT);
    dw_query_u64(query, dw__id_number(search->id));
    dw_query_i64(query, search->work->kind);
    dw_status status = dw_query_next(query, &found, err);
    if (found && dw_query_get_u64(query, 0) == search->work->number &&
        dw_query_get_u64(query, 1) == search->work->inside) {
        search->attempts->count = (uint32_t)dw_query_get_i64(query, 2);
        search->attempts->work.at_ms = dw_query_get_u64(query, 4);
        (void)snprintf(search->attempts->reason, sizeof search->attempts->reason, "%s",
                       dw_query_get_text(query, 3));
    }
    return status;
}

dw_status dw_actor_folder_get_attempts(dw_actor_folder *folder, const char *id,
                                       const dw_attempted *work, dw_attempts *attempts,
                                       dw_error *err)
{
    attempts_search search = {.id = id, .work = work, .attempts = attempts};
    *attempts = (dw_attempts){.work = *work};
    return dw_journal_read(folder->journal, read_attempts, &search, err);
}

dw_status dw__attempts_note(dw_journal_tx *tx, const char *id, const dw_attempts *attempts,
                            dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_NOTE_ATTEMPT);
    dw_query_u64(query, dw__id_number(id));
    dw_query_i64(query, attempts->work.kind);
    dw_query_u64(query, attempts->work.number);
    dw_query_u64(query, attempts->work.inside);
    dw_query_i64(query, attempts->count);
    dw_query_text(query, attempts->reason);
    dw_query_u64(query, attempts->work.at_ms);
    return dw_query_run(query, err);
}

dw_status dw__attempts_count(dw_journal_tx *tx, const char *id, const dw_attempted *work,
                             dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_COUNT_ATTEMPT);
    dw_query_u64(query, dw__id_number(id));
    dw_query_i64(query, work->kind);
    dw_query_u64(query, work->number);
    dw_query_u64(query, work->inside);
    dw_query_text(query, "the process ended in the middle of it");
    dw_query_u64(query, work->at_ms);
    return dw_query_run(query, err);
}

static dw_status note_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const attempts_search *search = user;
    dw_status status = dw__attempts_note(tx, search->id, search->attempts, err);
    return status == DW_OK ? dw__counts_set(tx, search->id, search->attempts->counts, err) : status;
}

dw_status dw_actor_folder_note_attempt(dw_actor_folder *folder, const char *id,
                                       dw_attempts *attempts, const char *reason, dw_error *err)
{
    attempts_search search = {.id = id, .attempts = attempts};
    attempts->count += attempts->count < UINT32_MAX;
    (void)snprintf(attempts->reason, sizeof attempts->reason, "%s", reason);
    return dw_journal_write(folder->journal, note_work, &search, false, err);
}

dw_status dw__attempts_drop(dw_journal_tx *tx, const char *id, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_DROP_ATTEMPTS);
    dw_query_u64(query, dw__id_number(id));
    return dw_query_run(query, err);
}
