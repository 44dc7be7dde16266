/* What must be known of a process that ended: marks in memory that outlasts it (dw_journal_marks),
 * which take no operation of the disk. One says that an actor's files may be in change, and what is
 * being tried; one that a message which was told as failed could not be removed. Whoever opens the
 * folder next counts the attempt, looks at the files and removes the message, before anything
 * else. */
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "store/actor_folder_internal.h"

enum { FREE = 0, AT_WORK = 1, WITHDRAWN = 2 };

typedef struct mark {
    uint64_t actor;
    uint64_t number; /* of what is tried, or of the message */
    uint64_t inside; /* WITHDRAWN: dw_actor_counts.redo */
    uint64_t kind;   /* dw_attempted_kind; 0: files alone. WITHDRAWN: whether it renews */
    uint64_t state;  /* goes last, and is the first to go: a killed process leaves a mark or none */
    uint64_t loose;  /* files were left of what is over */
    uint64_t at_ms;  /* dw_attempted.at_ms */
    uint64_t unused;
} mark;
static_assert(sizeof(mark) == 64, "a mark in the file");

#define MARKS (DW_JOURNAL_MARKS_BYTES / sizeof(mark))

static mark *marks_of(const dw_actor_folder *folder)
{
    return dw_journal_marks(folder->journal);
}

static void clear(dw_actor_folder *folder, mark *at)
{
    folder->withdrawn_count -= at->state == WITHDRAWN;
    at->state = FREE;
    atomic_signal_fence(memory_order_seq_cst);
    memset(at, 0, sizeof *at);
    while (folder->marks_used > 0 && marks_of(folder)[folder->marks_used - 1].state == FREE) {
        folder->marks_used--;
    }
}

/* The actor's mark of that state, or else a free one; NULL: there is neither. */
static mark *find(const dw_actor_folder *folder, uint64_t actor, uint64_t state, bool or_free)
{
    mark *none = NULL;
    mark *marks = marks_of(folder);
    for (size_t i = 0; i < folder->marks_used; i++) {
        if (marks[i].state == state && marks[i].actor == actor) {
            return &marks[i];
        }
        if (marks[i].state == FREE && none == NULL) {
            none = &marks[i];
        }
    }
    if (none == NULL && folder->marks_used < MARKS) {
        none = &marks[folder->marks_used];
    }
    return or_free ? none : NULL;
}

static void set(dw_actor_folder *folder, mark *at, const mark *to, uint64_t state)
{
    const size_t number = (size_t)(at - marks_of(folder));
    folder->marks_used = number < folder->marks_used ? folder->marks_used : number + 1;
    at->state = FREE;
    atomic_signal_fence(memory_order_seq_cst);
    *at = *to;
    atomic_signal_fence(memory_order_seq_cst);
    at->state = state;
}

/* ---- under way ----------------------------------------------------------------------------- */

dw_status dw_actor_folder_try(dw_actor_folder *folder, const char *id, const dw_attempted *work,
                              dw_error *err)
{
    mark to = {.actor = dw__id_number(id)};
    dw__folder_finish_withdrawals(folder);
    (void)pthread_mutex_lock(&folder->marking);
    mark *at = find(folder, to.actor, AT_WORK, true);
    if (work != NULL) {
        to.number = work->number;
        to.inside = work->inside;
        to.kind = (uint64_t)work->kind;
        to.at_ms = work->at_ms;
    }
    if (at != NULL) {
        to.loose = at->state == AT_WORK && at->loose != 0;
        set(folder, at, &to, AT_WORK);
    }
    (void)pthread_mutex_unlock(&folder->marking);
    return at != NULL ? DW_OK
                      : dw_fail(err, DW_E_BUSY, "state folder: %zu actors are at work, limit %zu",
                                MARKS, MARKS);
}

static bool is_loose(dw_actor_folder *folder, const char *id)
{
    (void)pthread_mutex_lock(&folder->marking);
    const mark *at = find(folder, dw__id_number(id), AT_WORK, false);
    bool loose = at != NULL && at->loose != 0;
    (void)pthread_mutex_unlock(&folder->marking);
    return loose;
}

void dw_actor_folder_tried(dw_actor_folder *folder, const char *id, bool clean)
{
    if (clean && is_loose(folder, id)) {
        clean = dw__folder_sweep(folder, id, NULL) == DW_OK;
    }
    (void)pthread_mutex_lock(&folder->marking);
    mark *at = find(folder, dw__id_number(id), AT_WORK, false);
    if (at != NULL && clean) {
        clear(folder, at);
    } else if (at != NULL) {
        at->kind = 0;
        at->loose = 1;
    }
    (void)pthread_mutex_unlock(&folder->marking);
}

/* ---- withdrawn ----------------------------------------------------------------------------- */

bool dw__folder_is_withdrawn(dw_actor_folder *folder, const char *id, uint64_t number)
{
    const uint64_t actor = dw__id_number(id);
    const mark *marks = marks_of(folder);
    bool found = false;
    if (folder->withdrawn_count == 0) {
        return false;
    }
    (void)pthread_mutex_lock(&folder->marking);
    for (size_t i = 0; i < folder->marks_used; i++) {
        found = found || (marks[i].state == WITHDRAWN && marks[i].actor == actor &&
                          marks[i].number == number);
    }
    (void)pthread_mutex_unlock(&folder->marking);
    return found;
}

typedef struct mark_list {
    const mark *marks; /* [count] */
    size_t count;
} mark_list;

static dw_status drop_withdrawn(const mark *at, dw_journal_tx *tx, dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__id_write(id, at->actor);
    dw_status status = dw__mail_drop(tx, id, at->number, err);
    if (status != DW_OK || at->kind == 0) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_SET_RENEWS);
    dw_query_u64(query, at->actor);
    dw_query_u64(query, at->inside);
    return dw_query_run(query, err);
}

static dw_status finish_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const mark_list *list = user;
    dw_status status = DW_OK;
    for (size_t i = 0; i < list->count && status == DW_OK; i++) {
        status = drop_withdrawn(&list->marks[i], tx, err);
    }
    return status;
}

/* Those that there are now -> copies [at most MARKS], their places in `unused`. */
static size_t copy_withdrawn(dw_actor_folder *folder, mark *copies)
{
    const mark *marks = marks_of(folder);
    size_t count = 0;
    (void)pthread_mutex_lock(&folder->marking);
    for (size_t i = 0; i < folder->marks_used; i++) {
        if (marks[i].state == WITHDRAWN) {
            copies[count] = marks[i];
            copies[count++].unused = i;
        }
    }
    (void)pthread_mutex_unlock(&folder->marking);
    return count;
}

/* Others are marked meanwhile: theirs stay. */
void dw__folder_finish_withdrawals(dw_actor_folder *folder)
{
    if (folder->withdrawn_count == 0 || folder->read_only) {
        return;
    }
    mark *copies = dw_alloc(MARKS, sizeof *copies);
    if (copies == NULL) {
        return;
    }
    mark_list list = {.marks = copies, .count = copy_withdrawn(folder, copies)};
    if (list.count > 0 &&
        dw_journal_write(folder->journal, finish_work, &list, false, NULL) == DW_OK) {
        (void)pthread_mutex_lock(&folder->marking);
        for (size_t i = 0; i < list.count; i++) {
            mark *at = &marks_of(folder)[copies[i].unused];
            if (at->state == WITHDRAWN && at->actor == copies[i].actor &&
                at->number == copies[i].number) {
                clear(folder, at);
            }
        }
        (void)pthread_mutex_unlock(&folder->marking);
    }
    dw_free(copies);
}

bool dw_actor_folder_mark_withdrawn(dw_actor_folder *folder, const char *id, uint64_t number,
                                    const dw_actor_counts *counts)
{
    const bool renews = counts != NULL && counts->renews;
    const mark to = {.actor = dw__id_number(id),
                     .number = number,
                     .kind = renews,
                     .inside = renews ? counts->redo : 0};
    (void)pthread_mutex_lock(&folder->marking);
    mark *at = find(folder, 0, UINT64_MAX, true);
    if (at != NULL) {
        set(folder, at, &to, WITHDRAWN);
        folder->withdrawn_count++;
    }
    (void)pthread_mutex_unlock(&folder->marking);
    return at != NULL;
}

/* ---- what the last process left ------------------------------------------------------------ */

static dw_status has_message(dw_journal_tx *tx, const mark *at, bool *found, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_HAS_MESSAGE);
    dw_query_u64(query, at->actor);
    dw_query_u64(query, at->number);
    return dw_query_next(query, found, err);
}

static dw_status count_attempt(dw_journal_tx *tx, const mark *at, dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_actor_row row;
    bool there = true;
    const dw_attempted work = {.kind = (dw_attempted_kind)at->kind,
                               .number = at->number,
                               .inside = at->inside,
                               .at_ms = at->at_ms};
    dw__id_write(id, at->actor);
    dw_status status = dw__row_read(tx, id, &row, NULL, err);
    if (status == DW_OK && work.kind == DW_ATTEMPTED_MESSAGE) { /* or it is done */
        status = has_message(tx, at, &there, err);
    }
    if (status == DW_E_NOT_FOUND) {
        return DW_OK;
    }
    return status == DW_OK && there ? dw__attempts_count(tx, id, &work, err) : status;
}

static dw_status take_one(dw_journal_tx *tx, const mark *at, dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_status status = DW_OK;
    if (at->state == WITHDRAWN) {
        return drop_withdrawn(at, tx, err);
    }
    if (at->kind == DW_ATTEMPTED_MESSAGE || at->kind == DW_ATTEMPTED_OWN_MESSAGE ||
        at->kind == DW_ATTEMPTED_EFFECT) {
        status = count_attempt(tx, at, err);
    }
    dw__id_write(id, at->actor);
    return status == DW_OK ? dw__loose_set(tx, id, true, err) : status;
}

static dw_status take_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const mark_list *list = user;
    dw_status status = DW_OK;
    /* Messages that are withdrawn first: they were no attempts. */
    for (size_t i = 0; i < 2 * list->count && status == DW_OK; i++) {
        const mark *at = &list->marks[i % list->count];
        if (at->state == (i < list->count ? WITHDRAWN : AT_WORK)) {
            status = take_one(tx, at, err);
        }
    }
    return status;
}

dw_status dw__folder_take_marks(dw_actor_folder *folder, dw_error *err)
{
    mark *marks = marks_of(folder);
    mark_list list = {.marks = marks, .count = MARKS};
    bool any = false;
    folder->marks_used = MARKS;
    for (size_t i = 0; i < MARKS; i++) {
        any = any || marks[i].state != FREE;
        folder->withdrawn_count += marks[i].state == WITHDRAWN;
    }
    if (folder->read_only) {
        return DW_OK;
    }
    if (!any) {
        folder->marks_used = 0;
        return DW_OK;
    }
    dw_status status = dw_journal_write(folder->journal, take_work, &list, false, err);
    for (size_t i = 0; i < MARKS && status == DW_OK; i++) {
        clear(folder, &marks[i]);
    }
    return status;
}
