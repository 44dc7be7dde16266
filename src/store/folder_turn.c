/* All that came of a turn as one transaction. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "store/actor_folder_internal.h"

/* ---- the transaction ----------------------------------------------------------------------- */

static void bind_timer(dw_query *query, uint64_t timer_ms)
{
    if (timer_ms == UINT64_MAX) {
        dw_query_null(query);
    } else {
        dw_query_i64(query, timer_ms < INT64_MAX ? (int64_t)timer_ms : INT64_MAX);
    }
}

static dw_status run_for(dw_journal_tx *tx, uint32_t statement, const char *id, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, statement);
    dw_query_u64(query, dw__id_number(id));
    return dw_query_run(query, err);
}

static dw_status write_state(dw_journal_tx *tx, const dw_turn *turn, dw_error *err)
{
    dw_status status = DW_OK;
    if (turn->snapshot.full) {
        status = run_for(tx, DW__SQL_DROP_SNAPSHOTS, turn->id, err);
    }
    for (size_t i = 0; i < turn->gone_count && !turn->snapshot.full && status == DW_OK; i++) {
        status = dw__snapshot_drop(tx, turn->id, &turn->gone[i], err);
    }
    if (status == DW_OK && !turn->snapshot.full && turn->covered.covers > 0) {
        status = dw__snapshot_cover(tx, turn->id, &turn->covered, err);
    }
    if (status == DW_OK) {
        status = dw__snapshot_add(tx, turn->id, &turn->snapshot, err);
    }
    for (size_t i = 0; i < turn->gone_count && !turn->snapshot.full && status == DW_OK; i++) {
        status = dw__series_find(tx, turn->id, &turn->gone[i], err);
    }
    if (status != DW_OK) {
        return status;
    }
    unsigned char counters[DW__COUNTERS_BYTES];
    dw_query *query = dw_journal_query(tx, DW__SQL_SET_STATE);
    dw_query_u64(query, dw__id_number(turn->id));
    dw_query_u64(query, turn->snapshot.sequence);
    dw_query_u64(query, turn->snapshot.done);
    dw_query_i64(query, (int64_t)turn->inside);
    bind_timer(query, turn->timer_ms);
    dw__bind_counts(query, turn->counts, counters);
    status = dw_query_run(query, err);
    if (status == DW_OK && turn->repeats) {
        status = run_for(tx, DW__SQL_DROP_SEEN, turn->id, err);
    }
    return status == DW_OK && !turn->keeps_attempts ? dw__attempts_drop(tx, turn->id, err) : status;
}

static dw_status put_aside(dw_journal_tx *tx, const dw_turn *turn, dw_error *err)
{
    dw_own_aside *own = turn->aside;
    dw_message_row row = {.cause = own->message->cause,
                          .caused = own->message->caused,
                          .bytes = own->message->bytes,
                          .at_ms = own->message->at_ms,
                          .aside = true,
                          .kind = own->message->kind};
    memcpy(row.from, own->message->actor, sizeof row.from);
    dw_status status = dw__mail_number(tx, turn->id, &row.number, err);
    own->number = row.number;
    return status == DW_OK ? dw__mail_add(tx, turn->id, &row, own->message->content, own->why, err)
                           : status;
}

static dw_status give_aside(dw_journal_tx *tx, dw_turn *turn, dw_error *err)
{
    dw_watch_event event = {.kind = DW_WATCH_SET_ASIDE};
    dw_status status = put_aside(tx, turn, err);
    (void)snprintf(event.reason, sizeof event.reason, "%s", turn->aside->why->reason);
    return status == DW_OK ? dw__watchers_tell(tx, turn->id, &event, &turn->notices, err) : status;
}

dw_status dw__turn_add_actor(dw_journal_tx *tx, const dw_new_actor *made, uint64_t sequence,
                             uint64_t done, dw_error *err)
{
    const dw_descent *descent = made->descent;
    bool known = descent != NULL && descent->count > 0;
    dw_status status = made->name != NULL ? dw__name_check_free(tx, made->id, made->traits->tenant,
                                                                made->name, err)
                                          : DW_OK;
    if (status != DW_OK) {
        return status;
    }
    static const dw_actor_counts none = {.count = 0};
    unsigned char counters[DW__COUNTERS_BYTES];
    dw_query *query = dw_journal_query(tx, DW__SQL_ADD_ACTOR);
    dw_query_u64(query, dw__id_number(made->id));
    dw__bind_id(query, known ? descent->ancestors[0].id : "");
    dw_query_i64(query, known ? descent->depth : 0);
    dw_query_u64(query, dw__id_number(known ? dw_descent_head(descent, made->id) : made->id));
    dw_query_text(query, made->module);
    dw_query_u64(query, sequence);
    dw_query_u64(query, done);
    dw_query_i64(query, (int64_t)made->inside);
    bind_timer(query, made->timer_ms);
    dw__bind_traits(query, made->traits);
    dw_query_text(query, made->name);
    dw__bind_counts(query, made->counts != NULL ? made->counts : &none, counters);
    status = dw_query_run(query, err);
    for (size_t i = 0; i < made->row_count && status == DW_OK; i++) {
        status = dw__snapshot_add(tx, made->id, &made->rows[i], err);
    }
    return status == DW_OK && known ? dw__descent_add(tx, made->id, descent, err) : status;
}

static dw_status add_made(dw_journal_tx *tx, const dw_new_actor *made, dw_error *err)
{
    const dw_snapshot_row *last = &made->rows[made->row_count - 1];
    dw_status status = dw__turn_add_actor(tx, made, last->sequence, last->done, err);
    if (status == DW_OK && made->keeps) {
        status = dw__kept_add(tx, made->id, 1, last->done, err);
    }
    return status == DW_OK ? dw__loose_set(tx, made->id, false, err) : status;
}

/* Its module, in case nobody else has it. */
static dw_status read_module(dw_journal_tx *tx, dw_turn *turn, dw_error *err)
{
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_MODULE_OF);
    dw_query_u64(query, dw__id_number(turn->id));
    dw_status status = dw_query_next(query, &found, err);
    (void)snprintf(turn->module, sizeof turn->module, "%s",
                   status == DW_OK && found ? dw_query_get_text(query, 0) : "");
    return status;
}

static dw_status change_module(dw_journal_tx *tx, dw_turn *turn, dw_error *err)
{
    dw_status status = read_module(tx, turn, err);
    if (status == DW_OK) { /* freezes that are kept are of the module before */
        dw_query *kept = dw_journal_query(tx, DW__SQL_UNKEEP);
        dw_query_u64(kept, dw__id_number(turn->id));
        dw_query_u64(kept, UINT64_MAX);
        status = dw_query_run(kept, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_SET_MODULE);
    dw_query_u64(query, dw__id_number(turn->id));
    dw_query_text(query, turn->next_module);
    return dw_query_run(query, err);
}

/* The end of the actor. */
static dw_status settle(dw_journal_tx *tx, dw_turn *turn, dw_error *err)
{
    if (turn->next_module[0] != '\0') {
        dw_status status = change_module(tx, turn, err);
        if (status != DW_OK) {
            return status;
        }
    }
    if (turn->keeps != 0) {
        return dw__kept_add(tx, turn->id, turn->keeps, turn->snapshot.done, err);
    }
    if (turn->ends) {
        static const dw_watch_event event = {.kind = DW_WATCH_ENDED, .why = DW_WATCH_FINISHED};
        dw_status status = read_module(tx, turn, err);
        status = status == DW_OK ? dw__loose_set(tx, turn->id, true, err) : status;
        status =
            status == DW_OK ? dw__watchers_end(tx, turn->id, &event, &turn->notices, err) : status;
        return status == DW_OK ? run_for(tx, DW__SQL_DROP_ACTOR, turn->id, err) : status;
    }
    return DW_OK;
}

dw_status dw_actor_folder_commit_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    dw_turn *turn = user;
    dw_actor_row row;
    dw_status status = DW_OK;
    dw__notices_clear(&turn->notices);
    if (turn->has_state) {
        status = dw__row_read(tx, turn->id, &row, NULL, err);
        status = status == DW_OK ? write_state(tx, turn, err) : status;
    }
    if (status == DW_OK && turn->message != 0) {
        status = dw__mail_drop(tx, turn->id, turn->message, err);
    }
    for (size_t i = 0; i < turn->done_count && status == DW_OK; i++) {
        status = dw__mail_drop(tx, turn->id, turn->done[i], err);
    }
    if (status == DW_OK && turn->aside != NULL) {
        status = give_aside(tx, turn, err);
    }
    for (size_t i = 0; i < turn->made_count && status == DW_OK; i++) {
        status = add_made(tx, &turn->made[i], err);
    }
    for (size_t i = 0; i < turn->sent_count && status == DW_OK; i++) {
        status = dw__mail_take(tx, &turn->sent[i], err);
    }
    for (size_t i = 0; i < turn->change_count && status == DW_OK; i++) {
        status = dw__group_take(tx, turn->id, &turn->changes[i], err);
    }
    for (size_t i = 0; i < turn->watch_count && status == DW_OK; i++) {
        status = dw__watch_take(tx, turn->id, &turn->watches[i], &turn->notices, err);
    }
    return status == DW_OK && turn->has_state ? settle(tx, turn, err) : status;
}

/* ---- around it ----------------------------------------------------------------------------- */

void dw_actor_folder_committed(dw_actor_folder *folder, const dw_turn *turn)
{
    for (size_t i = 0; i < turn->sent_count; i++) {
        dw_actor_folder_add_bytes(folder,
                                  turn->sent[i].status == DW_OK ? turn->sent[i].message.bytes : 0);
    }
    for (size_t i = 0; i < turn->made_count; i++) {
        dw__folder_unuse_module(folder, &turn->made[i]);
        dw__new_rows_free(&turn->made[i]);
    }
    if (!turn->has_state) {
        return;
    }
    bool clean = true;
    if (turn->ends) {
        dw_actor_name name;
        memcpy(name.id, turn->id, sizeof name.id);
        bool released = dw__folder_release_module(folder, turn->module);
        dw__folder_sweep_all(folder, &name, 1, released);
    } else if (turn->next_module[0] != '\0') {
        dw__folder_unuse_changed(folder, turn);
        clean = dw__folder_sweep(folder, turn->id, NULL) == DW_OK;
        clean = dw__folder_release_module(folder, turn->module) && clean;
    } else if (turn->snapshot.full || turn->keeps != 0) {
        clean = dw__folder_sweep(folder, turn->id, NULL) == DW_OK;
    } else {
        for (size_t i = 0; i < turn->gone_count; i++) {
            clean = dw__snapshot_unlink(folder, turn->id, &turn->gone[i]) && clean;
        }
    }
    dw_free(turn->gone);
    dw_series_index_unref(turn->covered.index);
    dw_actor_folder_tried(folder, turn->id, clean);
}

void dw_actor_folder_take_back(dw_actor_folder *folder, const dw_turn *turn)
{
    dw_actor_name name;
    if (turn->has_state) {
        bool clean = dw__folder_sweep(folder, turn->id, NULL) == DW_OK;
        if (turn->next_module[0] != '\0') {
            dw__folder_unuse_changed(folder, turn);
            clean = dw__folder_release_module(folder, turn->next_module) && clean;
        }
        dw_actor_folder_tried(folder, turn->id, clean);
        dw_free(turn->gone);
        dw_series_index_unref(turn->covered.index);
    }
    for (size_t i = 0; i < turn->made_count; i++) {
        dw__folder_unuse_module(folder, &turn->made[i]);
        bool released = dw__folder_release_module(folder, turn->made[i].module);
        memcpy(name.id, turn->made[i].id, sizeof name.id);
        dw__folder_sweep_all(folder, &name, 1, released);
        dw__new_rows_free(&turn->made[i]);
    }
}
