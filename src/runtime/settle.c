/* Turns of actors that live in a folder: what an actor did counts once its state, the end of its
 * message and all that it asked for are on the disk, in one transaction; then its sender is told.
 * In this order:
 *   an attempt is marked, the actor works on the message;
 *   its state is written to a file, and those of actors that it makes, on a worker;
 *   a transaction says all that came of it;
 *   messages to others are put in their mailboxes, the sender is told, files that are outdated go.
 * What was not committed did not happen: the actor is read again as it was. Where its durability
 * allows it, a message that asked for nothing counts without being written: it waits in the folder
 * until the state is. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "runtime/runtime_internal.h"

bool dw__is_transient(dw_status status)
{
    return status == DW_E_IO || status == DW_E_MEMORY || status == DW_E_BUSY;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

void dw__turn_reset(dw_runtime *runtime, dw__record *record)
{
    dw__turn *turn = record->turn;
    *turn = (dw__turn){.landing = {.runtime = runtime}, .record = record, .kept = record->kept};
    dw__id_text(turn->folder.id, record->id);
    dw__notices_begin(runtime, &turn->folder.notices);
}

/* What it has allocated. */
static void release(dw__turn *turn)
{
    dw_notices_release(&turn->folder.notices);
    dw_free(turn->folder.watches);
    dw__free_asks(turn->asks);
    dw_free(turn->folder.sent);
    dw_free(turn->folder.made);
    dw_free(turn->folder.changes);
    dw_free(turn->descent);
    dw_free(turn->given_up);
    turn->asks = NULL;
    turn->folder.sent = NULL;
    turn->folder.made = NULL;
    turn->folder.changes = NULL;
    turn->folder.watches = NULL;
    turn->descent = NULL;
    turn->given_up = NULL;
}

dw_status dw__turn_try(dw_runtime *runtime, dw__record *record, dw_error *err)
{
    const dw__platform *platform = &runtime->platform;
    dw__turn *turn = record->turn;
    dw__turn_reset(runtime, record);
    turn->has_message = true;
    if (record->current != NULL) {
        turn->row = record->begun_row;
        turn->work = (dw_attempted){.kind = DW_ATTEMPTED_MESSAGE, .number = turn->row};
    } else {
        turn->work.kind = DW_ATTEMPTED_OWN_MESSAGE;
        turn->work.at_ms = record->tried_ms;
        platform->worked_on(platform->user, record->body, &turn->work.number, &turn->work.inside);
    }
    record->tried_ms = 0; /* what rings later has a time of its own, also behind mail */
    return runtime->keeper->try(runtime->keeper->user, turn->folder.id, &turn->work, err);
}

/* ---- committed, or not ----------------------------------------------------------------------- */

static void begin_failure(dw_runtime *runtime, dw__record *record);
static void begin_commit(dw_runtime *runtime, dw__record *record);

static void settled_work(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__turn *turn = operation->record->turn;
    runtime->keeper->committed(runtime->keeper->user, turn);
    if (turn->call_count > 0) {
        runtime->keeper->drop_calls(runtime->keeper->user, turn->folder.id);
    }
    if (turn->folder.change_count > 0) {
        dw_error error;
        dw__enter(runtime);
        if (dw__names_read(runtime, operation->record->id, &error) != DW_OK) {
            dw__problem(runtime, operation->record->id, &error);
        }
        dw__leave(runtime, false);
    }
    release(turn);
}

static void settled_finish(dw__operation *operation)
{
    dw__rest(operation->runtime, operation->record);
}

static void take_child(dw_runtime *runtime, dw__ask *asked)
{
    const dw__platform *platform = &runtime->platform;
    dw__record *child = asked->child;
    child->body = asked->body;
    asked->body = NULL;
    child->kept = asked->kept;
    child->loaded = true;
    if (asked->seed != NULL) {
        platform->seed_unref(platform->user, child->seed);
        child->seed = asked->seed;
        child->limits = platform->seed_limits(platform->user, child->seed);
        asked->seed = NULL;
    }
    child->inside = platform->waiting(platform->user, child->body);
    child->timer_ms = platform->timer_ms(platform->user, child->body);
    dw__measure(runtime, child);
}

/* A message that was committed is where its receiver finds it. */
static void deliver(dw_runtime *runtime, dw__ask *asked, uint64_t row)
{
    dw__record *target = dw__find_any(runtime, asked->actor);
    if (target == NULL) { /* in the folder alone */
        dw__bring_in(runtime, asked->actor);
        return;
    }
    asked->mail->row = row;
    dw__arrive(runtime, target, asked->mail);
    asked->mail = NULL;
}

static void tell_refused(dw_runtime *runtime, const dw__record *record, dw_status status,
                         const dw_error *why)
{
    dw_error problem = *why;
    problem.code = status;
    dw__problem(runtime, record->id, &problem);
}

static void carry_out(dw_runtime *runtime, dw__record *record)
{
    dw__turn *turn = record->turn;
    for (size_t i = 0; i < turn->folder.change_count; i++) {
        const dw_group_change *change = &turn->folder.changes[i];
        if (change->status != DW_OK) {
            tell_refused(runtime, record, change->status, &change->problem);
        }
    }
    for (size_t i = 0; i < turn->folder.watch_count; i++) {
        const dw_watch_change *change = &turn->folder.watches[i];
        if (change->kind == DW_WATCH_SET && change->status != DW_OK) {
            tell_refused(runtime, record, change->status, &change->problem);
        }
    }
    for (dw__ask *asked = turn->asks; asked != NULL; asked = asked->next) {
        const dw_sent *sent = asked->sent > 0 ? &turn->folder.sent[asked->sent - 1] : NULL;
        if (sent != NULL && sent->status != DW_OK) {
            tell_refused(runtime, record, sent->status, &sent->problem);
        }
        if (asked->child != NULL) {
            take_child(runtime, asked);
        }
        if (sent != NULL && sent->status == DW_OK && !sent->skip && sent->message.number != 0) {
            deliver(runtime, asked, sent->message.number);
        }
        if (asked->child != NULL) {
            dw__post_held(runtime, asked->child);
            dw__rest(runtime, asked->child);
        }
    }
    dw__notices_arrive(runtime, &turn->folder.notices);
}

/* Behind the end of its message, whose own ticket may be among those that are answered. */
static void answer_tickets(dw_runtime *runtime, dw__record *record)
{
    for (dw__ask *asked = record->turn->asks; asked != NULL; asked = asked->next) {
        if (asked->kind == DW_EFFECT_ANSWER) {
            dw__later_answer(runtime, record, asked);
        }
    }
    dw__later_cut(runtime, record); /* it may have been stopped since */
}

static void tell_given_up(dw_runtime *runtime, dw__record *record)
{
    const dw__turn *turn = record->turn;
    dw_error problem;
    (void)dw_fail(&problem, DW_E_STATE, "message %" PRIu64 ": set aside after %u attempts: %s",
                  turn->own_aside.number, turn->why.count, turn->why.reason);
    dw__aside_more(record);
    record->own_attempts = 0;
    dw__problem(runtime, record->id, &problem);
    dw__happened(runtime, record,
                 &(dw__happening){.kind = DW_EVENT_SET_ASIDE,
                                  .number = turn->own_aside.number,
                                  .error = &problem});
}

static void count_written(dw_runtime *runtime, dw__record *record)
{
    const dw__written *written = &record->turn->written;
    runtime->counts.freezes += written->freezes;
    runtime->counts.new_bytes += written->new_bytes;
    dw__sum(runtime, record,
            &(dw__sums){.new_bytes = written->new_bytes, .written_bytes = written->bytes});
}

void dw__turn_written(dw_runtime *runtime, dw__record *record)
{
    const dw__turn *turn = record->turn;
    count_written(runtime, record);
    record->kept = turn->kept;
    record->kept.pending = false;
    record->dirty = record->keep_due = record->unkept = false;
    record->renews = record->renews && !record->renewed;
    record->undone = record->undone_bytes = 0;
    record->done_row = turn->row > record->done_row ? turn->row : record->done_row;
    dw__alarm_clear(runtime, &record->keep_alarm);
}

static void succeed(dw_runtime *runtime, dw__record *record)
{
    dw__turn *turn = record->turn;
    dw__turn_written(runtime, record);
    carry_out(runtime, record);
    record->sets_aside = false;
    if (turn->folder.aside != NULL) {
        tell_given_up(runtime, record);
        record->inside = runtime->platform.waiting(runtime->platform.user, record->body);
    } else if (turn->has_message) {
        if (record->current != NULL) {
            record->current->row = 0;
        }
        record->own_attempts = record->current == NULL ? 0 : record->own_attempts;
        dw__end_message(runtime, record, &turn->own, false);
        record->failures = 0;
    }
    answer_tickets(runtime, record);
    if (turn->folder.ends) {
        record->ends_in_folder = true;
        if (!record->stopping) {
            dw__stop(runtime, record);
        }
    }
    dw__begin_own(runtime, record, settled_work, settled_finish);
}

static void land_turn(dw_runtime *runtime, dw__landing *landing)
{
    dw__turn *turn = (dw__turn *)(void *)landing;
    dw__record *record = turn->record;
    dw__trace_span(runtime, record, "commit", turn->commit_ns, NULL, 0);
    if (landing->error.code == DW_OK) {
        succeed(runtime, record);
        return;
    }
    turn->undone = true;
    turn->own = landing->error;
    begin_failure(runtime, record);
}

static void commit_work(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    operation->error.code = runtime->keeper->commit_waiting(
        runtime->keeper->user, operation->record->turn, &operation->error);
}

static void commit_finish(dw__operation *operation)
{
    dw__landing *landing = &operation->record->turn->landing;
    landing->error = operation->error;
    landing->land(operation->runtime, landing);
}

/* Without waiting, or where the journal has no room on a worker that waits. */
static void begin_commit(dw_runtime *runtime, dw__record *record)
{
    dw_error busy;
    record->turn->commit_ns = runtime->platform.clock_ns(runtime->platform.user);
    if (runtime->keeper->commit(runtime->keeper->user, record->turn, &busy) != DW_OK) {
        dw__begin_own(runtime, record, commit_work, commit_finish);
    }
}

static void settle_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw__turn *turn = record->turn;
    if (operation->error.code != DW_OK) {
        turn->undone = true;
        turn->own = operation->error;
        begin_failure(runtime, record);
        return;
    }
    turn->landing.land = land_turn;
    begin_commit(runtime, record);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* One more attempt has failed; of a message that nobody awaits. */
static void note_failure(dw_runtime *runtime, dw__record *record, uint32_t before)
{
    dw__turn *turn = record->turn;
    const dw__keeper *keeper = runtime->keeper;
    dw_attempts attempts = {.work = turn->work, .count = before, .counts = &turn->counts};
    if (turn->spent) {
        (void)snprintf(attempts.reason, sizeof attempts.reason, "%s", turn->own.message);
    } else {
        (void)!keeper->note_attempt(keeper->user, turn->folder.id, &attempts, turn->own.message,
                                    NULL);
    }
    if (turn->row != 0 && (turn->refused || attempts.count >= record->limits->attempts)) {
        dw__ending_begin(runtime, &turn->aside_ending,
                         dw__watch_event_of(DW_WATCH_SET_ASIDE, DW_WATCH_FINISHED, turn->own.code,
                                            attempts.reason));
        turn->aside = keeper->set_aside(keeper->user, turn->folder.id, turn->row, &attempts,
                                        &turn->aside_ending, NULL) == DW_OK;
    }
}

/* Before it is noted: should the process end between the two, the message is tried again, and
 * nobody watches any more. */
static void tell_broken(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__turn *turn = operation->record->turn;
    dw_error problem;
    dw__ending_begin(
        runtime, &turn->ending,
        dw__watch_event_of(DW_WATCH_FAILED, DW_WATCH_FINISHED, turn->own.code, turn->own.message));
    if (runtime->keeper->tell_watchers(runtime->keeper->user, turn->folder.id, &turn->ending,
                                       &problem) != DW_OK) {
        dw__enter(runtime);
        dw__problem(runtime, operation->record->id, &problem);
        dw__leave(runtime, false);
    }
}

static void failure_work(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw__turn *turn = record->turn;
    const dw__keeper *keeper = runtime->keeper;
    const dw__mail *mail = record->current;
    bool transient = turn->undone && dw__is_transient(turn->own.code);
    if (turn->wrote) {
        keeper->take_back(keeper->user, &turn->folder);
    }
    for (dw__ask *asked = turn->asks; asked != NULL; asked = asked->next) {
        dw__unmake(runtime, asked);
    }
    if (turn->has_message && !turn->leaves && turn->broken && !turn->undone) {
        tell_broken(operation);
    }
    if (turn->has_message && !turn->leaves) {
        if (mail != NULL && mail->awaited) {
            turn->withdrawn =
                keeper->withdraw(keeper->user, turn->folder.id, turn->row, &turn->counts);
        } else if (!transient) {
            note_failure(runtime, record, mail != NULL ? mail->attempts : record->own_attempts);
        }
    }
    keeper->tried(keeper->user, turn->folder.id);
    release(turn);
    turn->transient = transient;
}

/* A message that nobody awaits, or that it is over with it. */
static void tell_failed(dw_runtime *runtime, dw__record *record, const dw__mail *mail)
{
    const dw__turn *turn = record->turn;
    dw_error problem = turn->own;
    if (turn->aside) {
        (void)dw_fail(&problem, DW_E_STATE,
                      "message %" PRIu64 ": set aside after %u attempts: %.150s", mail->row,
                      mail->attempts, turn->own.message);
    }
    dw__tell_problem(runtime, record->id, &problem);
}

static void end_failed(dw_runtime *runtime, dw__record *record, dw__mail *mail)
{
    dw__turn *turn = record->turn;
    mail->working = false;
    mail->error = turn->own;
    if (mail->awaited) {
        mail->row = 0;
        if (!turn->withdrawn && !turn->leaves) {
            (void)dw_fail(&mail->error, turn->own.code,
                          "%.160s; the message could not be taken back: it may be worked on later",
                          turn->own.message);
        }
        dw_error error = mail->error;
        dw__mail_end(runtime, mail, &error);
        return;
    }
    mail->attempts += !turn->transient && !turn->leaves && !turn->spent;
    tell_failed(runtime, record, mail);
    if (record->stopping) {
        dw__mail_free(runtime, mail);
    } else if (!turn->aside) {
        dw__log_failed_try(runtime, record, mail);
        mail->queued_ns = runtime->platform.clock_ns(runtime->platform.user);
        mail->begun = false;
        dw__mailbox_put_first(&record->mail, mail);
        dw__trace_queued(runtime, record, mail);
        runtime->counts.waiting++;
    } else {
        dw__aside_more(record);
        runtime->counts.ended++;
        runtime->counts.failed++;
        dw__happened(runtime, record,
                     &(dw__happening){.kind = DW_EVENT_SET_ASIDE,
                                      .other = mail->from,
                                      .number = mail->row,
                                      .error = &turn->own});
        dw__mail_free(runtime, mail);
    }
}

static void renew(dw_runtime *runtime, dw__record *record)
{
    if (runtime->platform.renews != NULL) {
        runtime->platform.renews(runtime->platform.user, record->body);
    }
    record->renewed = true;
}

void dw__renew(dw_runtime *runtime, dw__record *record)
{
    const dw__platform *platform = &runtime->platform;
    const dw__mail *mail = record->stopping ? NULL : record->mail.first;
    bool again = record->done_row < record->redo_row && record->stopping;
    for (; mail != NULL && record->done_row < record->redo_row; mail = mail->next) {
        again = again || (mail->row != 0 && mail->row <= record->redo_row);
    }
    if (record->body == NULL || record->outdated ||
        platform->is_broken(platform->user, record->body) || record->removes ||
        record->ends_in_folder || record->renewed || again) {
        return;
    }
    renew(runtime, record);
    record->dirty = record->keep_due = true;
}

/* What it drew may be known: its answer's beginning was told. That is noted with the failure, so
 * that it holds as well if the process ends before the actor is written. */
static void renew_later(dw__record *record)
{
    uint64_t row = record->undone > 0 ? record->done_row : 0;
    record->redo_row = record->renews && record->redo_row > row ? record->redo_row : row;
    record->renews = true;
    record->renewed = false;
}

/* Its message is over, or did not end by fault of the disk or of memory, which has it draw the same
 * again. */
static bool has_told(const dw__record *record)
{
    const dw__turn *turn = record->turn;
    if (!turn->has_message || turn->leaves || record->stopping || turn->refused) {
        return turn->spent && !turn->leaves && !record->stopping;
    }
    bool awaited = record->current != NULL && record->current->awaited;
    return !turn->undone || awaited || !dw__is_transient(turn->own.code);
}

/* It is read again, and does again what it had done since; at once, or where nobody is told and the
 * disk fails, later. */
void dw__go_back(dw_runtime *runtime, dw__record *record, bool later)
{
    record->dirty = record->keep_due = false;
    record->outdated = true;
    if (later && runtime->options.works_on_request && !record->stopping) {
        dw__unable(runtime, record, &record->turn->own, false);
    } else if (record->stopping) {
        dw__rest(runtime, record);
    } else if (!later) {
        dw__load(runtime, record);
    } else {
        dw__set_state(runtime, record, DW__DOWN);
        record->alarm.ring = dw__ring_timer;
        dw__alarm_set(runtime, &record->alarm,
                      runtime->platform.clock_ns(runtime->platform.user) + DW__AGAIN_NS);
    }
}

void dw__stay(dw_runtime *runtime, dw__record *record)
{
    record->kept.incomplete = true;
    record->keep_due = false;
    record->unkept = true;
    record->keep_alarm.ring = dw__ring_keep;
    dw__alarm_set(runtime, &record->keep_alarm,
                  runtime->platform.clock_ns(runtime->platform.user) + DW__AGAIN_NS);
    dw__rest(runtime, record);
}

/* Its body is good; what it was to do is tried again in so long. */
static void wait_a_while(dw_runtime *runtime, dw__record *record, uint64_t wait_ns)
{
    dw__set_state(runtime, record, DW__DOWN);
    record->waits = true;
    record->alarm.ring = dw__ring_timer;
    dw__alarm_set(runtime, &record->alarm,
                  runtime->platform.clock_ns(runtime->platform.user) + wait_ns);
}

/* Its message never began. One that could not be set aside waits still. */
static void end_refused(dw_runtime *runtime, dw__record *record, bool waits)
{
    if (!waits || record->stopping || runtime->closing) {
        dw__rest(runtime, record);
    } else if (runtime->options.works_on_request) {
        dw__unable(runtime, record, &record->turn->own, false);
    } else {
        wait_a_while(runtime, record, DW__AGAIN_NS);
    }
}

static void failure_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw__turn *turn = record->turn;
    dw__mail *mail = record->current;
    bool told = mail != NULL && mail->awaited;
    bool unheard = mail != NULL && !mail->awaited;
    if (turn->has_message) {
        dw__trace_ended(runtime, record, mail != NULL ? mail->number : 0, turn->own.code);
    }
    record->current = NULL;
    dw__notices_arrive(runtime, &turn->ending.notices);
    dw__notices_arrive(runtime, &turn->aside_ending.notices);
    if (mail != NULL) {
        end_failed(runtime, record, mail);
    } else if (!turn->leaves) {
        record->own_attempts += turn->has_message && !turn->transient;
        dw__problem(runtime, record->id, &turn->own);
    }
    record->sets_aside = false;
    bool wrote = turn->undone && !turn->has_message && !turn->gives_up && !turn->folder.repeats;
    if (turn->refused) {
        end_refused(runtime, record, unheard && !turn->aside);
    } else if (wrote && !record->stopping) {
        dw__stay(runtime, record);
    } else if (turn->broken && !turn->undone && !record->stopping) {
        record->dirty = record->keep_due = false;
        dw__supervise(runtime, record);
    } else {
        dw__go_back(runtime, record, turn->undone && !told);
    }
}

static void begin_failure(dw_runtime *runtime, dw__record *record)
{
    dw__turn *turn = record->turn;
    bool failed = turn->broken && !turn->undone && !record->stopping;
    record->sets_aside = true;
    turn->leaves = runtime->closing;
    if (has_told(record)) {
        renew_later(record);
    }
    dw__turn_count(runtime, record, record->failures + failed);
    dw__begin_own(runtime, record, failure_work, failure_finish);
}

/* ---- from elsewhere -------------------------------------------------------------------------- */

/* What the turn says of messages that are done. */
void dw__turn_take_done(dw__record *record)
{
    dw__turn *turn = record->turn;
    uint64_t done = record->done_row > record->kept.done ? record->done_row : record->kept.done;
    turn->folder.snapshot.done = turn->row > done ? turn->row : done;
    turn->folder.message = turn->row;
    turn->folder.done = record->undone_rows;
    turn->folder.done_count = record->undone;
}

/* Its message counts, and waits in the folder until its state is written. */
static void count_alone(dw_runtime *runtime, dw__record *record, uint32_t seconds)
{
    dw__turn *turn = record->turn;
    const dw_limits *limits = record->limits;
    record->dirty = true;
    record->failures = 0;
    if (record->current != NULL) {
        record->done_row = turn->row > record->done_row ? turn->row : record->done_row;
        record->undone_rows[record->undone++] = turn->row;
        record->undone_bytes += record->current->bytes;
        record->current->row = 0;
    } else {
        record->own_attempts = 0;
    }
    runtime->keeper->tried(runtime->keeper->user, turn->folder.id);
    dw__end_message(runtime, record, &turn->own, false);
    if (record->undone >= limits->mail || record->undone_bytes >= limits->mail_bytes) {
        record->keep_due = true;
    } else if (seconds > 0 && record->keep_alarm.place == 0) {
        record->keep_alarm.ring = dw__ring_keep;
        dw__alarm_set(runtime, &record->keep_alarm,
                      runtime->platform.clock_ns(runtime->platform.user) +
                          seconds * UINT64_C(1000000000));
    }
    dw__rest(runtime, record);
}

void dw__ring_keep(dw_runtime *runtime, dw__alarm *alarm)
{
    dw__record *record = (dw__record *)(void *)((char *)alarm - offsetof(dw__record, keep_alarm));
    record->keep_due = true;
    record->unkept = false;
    dw__rouse(runtime, record);
    dw__note_rest(runtime, record);
}

bool dw__wants_write(const dw_runtime *runtime, const dw__record *record)
{
    if (runtime->keeper == NULL || record->body == NULL) {
        return false;
    }
    return record->stopping ? record->dirty && !record->ends_in_folder && !record->removes
                            : record->keep_due && (record->dirty || record->kept.pending);
}

void dw__write(dw_runtime *runtime, dw__record *record)
{
    dw_error busy;
    record->keep_due = false;
    dw__turn_reset(runtime, record);
    if (runtime->keeper->try(runtime->keeper->user, record->turn->folder.id, NULL, &busy) !=
        DW_OK) { /* too many are at work: their ends come first */
        record->keep_alarm.ring = dw__ring_keep;
        dw__alarm_set(runtime, &record->keep_alarm,
                      runtime->platform.clock_ns(runtime->platform.user) + DW__AGAIN_NS / 10);
        record->dirty = record->dirty && !record->stopping;
        record->unkept = true;
        dw__rest(runtime, record);
        return;
    }
    record->turn->folder.keeps_attempts = true;
    dw__turn_take_done(record);
    dw__turn_count(runtime, record, record->failures);
    dw__begin_own(runtime, record, dw__write_work, settle_finish);
}

void dw__settle(dw_runtime *runtime, dw__record *record, dw__ask *asks, const dw_error *own,
                bool broken)
{
    dw__turn *turn = record->turn;
    uint32_t seconds = 0;
    dw_durability durability = dw__durability_of(runtime, record, &seconds);
    turn->asks = asks;
    turn->own = *own;
    turn->broken = broken;
    if (record->stopping && !runtime->closing) {
        runtime->keeper->tried(runtime->keeper->user, turn->folder.id);
        dw__free_asks(turn->asks);
        turn->asks = NULL;
        dw__end_message(runtime, record, own, broken);
        dw__later_cut(runtime, record);
        dw__rest(runtime, record);
        return;
    }
    if (!broken && durability != DW_DURABLE_EACH && asks == NULL && !record->kept.pending &&
        DW_ARRAY_RESERVE(record->undone_rows, record->undone_capacity, record->undone + 1,
                         SIZE_MAX)) {
        count_alone(runtime, record, durability == DW_DURABLE_SECONDS ? seconds : 0);
        return;
    }
    dw__set_state(runtime, record, DW__BUSY);
    if (broken) {
        begin_failure(runtime, record);
        return;
    }
    dw__turn_take_done(record);
    dw__turn_count(runtime, record, 0);
    dw__begin_own(runtime, record, dw__write_work, settle_finish);
}

void dw__settle_refused(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    dw__turn *turn = record->turn;
    turn->own = *error;
    turn->refused = true;
    if (!dw__is_transient(error->code) && record->current != NULL) {
        dw__set_state(runtime, record, DW__BUSY);
        begin_failure(runtime, record);
        return;
    }
    dw__mail *mail = record->current;
    record->current = NULL;
    runtime->keeper->tried(runtime->keeper->user, turn->folder.id);
    if (mail != NULL && (mail->awaited || record->stopping)) {
        dw__mail_failed(runtime, record, mail, error);
        dw__rest(runtime, record);
        return;
    }
    if (mail != NULL) {
        mail->working = false;
        dw__mailbox_put_first(&record->mail, mail);
        runtime->counts.waiting++;
    }
    if (record->stopping) {
        dw__rest(runtime, record);
        return;
    }
    wait_a_while(runtime, record, DW__AGAIN_NS / 10);
}

bool dw__gives_up(const dw_runtime *runtime, const dw__record *record)
{
    return runtime->keeper != NULL && record->current == NULL &&
           record->own_attempts >= record->limits->attempts;
}

bool dw__is_spent(const dw_runtime *runtime, const dw__record *record)
{
    const dw__mail *mail = record->current;
    return runtime->keeper != NULL && mail != NULL && !mail->awaited &&
           mail->attempts >= record->limits->attempts;
}

void dw__give_up_message(dw_runtime *runtime, dw__record *record)
{
    dw__turn *turn = record->turn;
    turn->own = record->current->error;
    turn->own.code = DW_E_STATE;
    if (turn->own.message[0] == '\0') { /* no attempt came to its end */
        (void)dw_fail(&turn->own, DW_E_STATE, "the process ended in each of %" PRIu32 " attempts",
                      record->current->attempts);
    }
    turn->spent = turn->refused = true;
    dw__set_state(runtime, record, DW__BUSY);
    begin_failure(runtime, record);
}

void dw__give_up_inside(dw_runtime *runtime, dw__record *record)
{
    dw__turn *turn = record->turn;
    turn->gives_up = record->sets_aside = true;
    turn->has_message = false;
    dw__set_state(runtime, record, DW__BUSY);
    renew_later(record);
    renew(runtime, record); /* with what is given up, in one transaction */
    dw__turn_take_done(record);
    dw__turn_count(runtime, record, record->failures);
    dw__begin_own(runtime, record, dw__write_work, settle_finish);
}

/* ---- the end of an actor --------------------------------------------------------------------- */

static void remove_work(dw__operation *operation)
{
    const dw__keeper *keeper = operation->runtime->keeper;
    dw_actor_name name;
    dw__id_text(name.id, operation->record->id);
    operation->error.code =
        keeper->remove(keeper->user, &name, 1, &operation->record->turn->ending, &operation->error);
}

static void remove_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw__notices_arrive(runtime, &record->turn->ending.notices);
    if (operation->error.code != DW_OK && !record->stopping) { /* it lives on */
        dw__problem(runtime, record->id, &operation->error);
        record->turn->own = operation->error;
        dw__go_back(runtime, record, true);
        return;
    }
    record->ends_in_folder = operation->error.code == DW_OK;
    if (!record->stopping) {
        dw__stop(runtime, record);
    }
    dw__rest(runtime, record);
}

void dw__end_actor(dw_runtime *runtime, dw__record *record, const dw_watch_event *how)
{
    if (runtime->keeper == NULL) {
        dw__set_state(runtime, record, DW__RESTING);
        dw__stop(runtime, record);
        return;
    }
    dw__set_state(runtime, record, DW__BUSY);
    dw__ending_begin(runtime, &record->turn->ending, *how);
    dw__begin_own(runtime, record, remove_work, remove_finish);
}

/* ---- actors made from outside ---------------------------------------------------------------- */

dw_status dw__make_files(dw_runtime *runtime, dw__record *record, void *body, uint64_t parent,
                         bool keeps, dw_error *err)
{
    const dw__keeper *keeper = runtime->keeper;
    dw__turn *turn = record->turn;
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__id_text(id, parent);
    dw__turn_reset(runtime, record);
    turn->folder.made = dw_alloc(1, sizeof *turn->folder.made);
    dw_status status =
        turn->folder.made != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    if (status == DW_OK && parent != 0) {
        status = dw__read_descent(runtime, id, true, &turn->descent, err);
    }
    if (status == DW_OK) {
        dw_new_actor *made = turn->folder.made;
        dw__traits_of(record, &turn->traits);
        dw__enter(runtime);
        (void)snprintf(turn->name, sizeof turn->name, "%s", dw__name_of(record));
        dw__counts_fresh(runtime, &turn->fresh);
        dw__leave(runtime, false);
        *made = (dw_new_actor){.descent = turn->descent,
                               .traits = &turn->traits,
                               .name = turn->name[0] != '\0' ? turn->name : NULL,
                               .counts = &turn->fresh};
        dw__id_text(made->id, record->id);
        turn->folder.made_count = 1;
        const dw__making making = {.made = made,
                                   .body = body,
                                   .parent = parent != 0 ? id : NULL,
                                   .kept = &turn->kept,
                                   .written = &turn->written,
                                   .keeps = keeps};
        turn->kept_first = keeps;
        status = keeper->make(keeper->user, &making, err);
        if (status != DW_OK) {
            keeper->take_back(keeper->user, &turn->folder);
        }
    }
    if (status != DW_OK) {
        release(turn);
    }
    return status;
}

static void tell_made(dw_runtime *runtime, dw__record *record, const dw_error *error)
{
    if (record->made != NULL) {
        record->made->error = *error;
        dw__operation_end(runtime, record->made);
        record->made = NULL;
    }
}

static void made_work(dw__operation *operation)
{
    dw__turn *turn = operation->record->turn;
    const dw__keeper *keeper = operation->runtime->keeper;
    if (turn->undone) {
        keeper->take_back(keeper->user, &turn->folder);
    } else {
        keeper->committed(keeper->user, turn);
    }
    release(turn);
}

static void made_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw__turn *turn = record->turn;
    const dw__platform *platform = &runtime->platform;
    if (turn->undone) {
        record->ends_in_folder = true;
        if (!record->stopping) {
            dw__stop(runtime, record);
        }
    } else {
        count_written(runtime, record);
        record->kept = turn->kept;
        record->loaded = true;
        record->freeze_number = turn->kept_first;
        record->inside = platform->waiting(platform->user, record->body);
        record->timer_ms = platform->timer_ms(platform->user, record->body);
        dw__measure(runtime, record);
        dw__post_held(runtime, record);
    }
    tell_made(runtime, record, &turn->own);
    dw__rest(runtime, record);
}

static void land_made(dw_runtime *runtime, dw__landing *landing)
{
    dw__turn *turn = (dw__turn *)(void *)landing;
    turn->undone = landing->error.code != DW_OK;
    turn->own = landing->error;
    dw__begin_own(runtime, turn->record, made_work, made_finish);
}

void dw__enter_folder(dw_runtime *runtime, dw__record *record)
{
    record->in_folder = true;
    record->turn->landing.land = land_made;
    begin_commit(runtime, record);
}
