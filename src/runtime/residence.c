/* Actors that live in a folder, brought into memory: who is addressed, and for whom something
 * waits. One that nobody talks to has no record. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"

/* So often an actor that cannot be read is tried again for who waits for it; they are told then,
 * and what waits in the folder is looked for so much later. */
#define LOADS_MAX 3u
#define LATER_MS (10 * DW__AGAIN_NS / 1000000)

static void look_in(dw_runtime *runtime, uint64_t wait_ms);

/* ---- reading one ----------------------------------------------------------------------------- */

/* A message that waits, as mail. */
static dw_status read_one(const dw_runtime *runtime, const char *id, const dw_mail_row *row,
                          dw__mail **mail, dw_error *err)
{
    char *content = NULL;
    size_t bytes = 0;
    uint64_t from = 0;
    const dw_message_row *message = &row->message;
    dw_status status = runtime->keeper->read_message(runtime->keeper->user, id, message->number,
                                                     &content, &bytes, err);
    if (status == DW_OK) {
        status = dw__mail_create(mail, content, bytes, err);
    }
    dw_free(content);
    if (status == DW_OK) {
        (*mail)->from.is_actor = dw__id_parse(message->from, &from);
        (*mail)->from.id = from;
        (*mail)->cause = message->cause;
        (*mail)->caused = message->caused;
        (*mail)->at_ms = message->at_ms;
        (*mail)->kind = message->kind;
        (*mail)->attempts = row->attempts;
        (*mail)->row = message->number;
        (void)snprintf((*mail)->error.message, sizeof(*mail)->error.message, "%s", row->reason);
    }
    return status;
}

/* All that waits -> operation->mail, of an actor that is read again what is to be done again; what
 * was set aside is counted. */
static dw_status read_mail(dw__operation *operation, const char *id, dw_error *err)
{
    dw_runtime *runtime = operation->runtime;
    const dw__record *record = operation->record;
    dw_mail_row *rows = NULL;
    size_t count = 0;
    dw_status status = runtime->keeper->list_mail(runtime->keeper->user, id, &rows, &count, err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        dw__mail *mail = NULL;
        if (record->loaded &&
            (rows[i].message.aside || !dw__is_undone(record, rows[i].message.number))) {
            continue;
        }
        operation->row.numbered = rows[i].message.number > operation->row.numbered
                                      ? rows[i].message.number
                                      : operation->row.numbered;
        if (rows[i].message.aside) {
            operation->aside_count++;
            continue;
        }
        status = read_one(runtime, id, &rows[i], &mail, err);
        if (status == DW_OK) {
            dw__mailbox_put(&operation->mail, mail);
        } else if (status == DW_E_NOT_FOUND) { /* withdrawn meanwhile */
            status = DW_OK;
        }
    }
    dw_free(rows);
    return status;
}

static dw_status count_attempts(dw__operation *operation, const char *id, dw_error *err)
{
    const dw__platform *platform = &operation->runtime->platform;
    const dw__keeper *keeper = operation->runtime->keeper;
    dw_attempted work = {.kind = DW_ATTEMPTED_OWN_MESSAGE};
    platform->worked_on(platform->user, operation->body, &work.number, &work.inside);
    return keeper->get_attempts(keeper->user, id, &work, &operation->own, err);
}

/* Of an actor that an actor made. */
static dw_status read_ancestors(dw__operation *operation, const char *id, dw_error *err)
{
    const dw__keeper *keeper = operation->runtime->keeper;
    operation->ancestor_count = 0; /* the operation may have had others before */
    if (operation->row.parent[0] == '\0') {
        return DW_OK;
    }
    dw_descent *descent = dw_alloc(1, sizeof *descent);
    dw_status status = descent != NULL ? keeper->descent(keeper->user, id, descent, err)
                                       : dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    if (status == DW_OK) {
        operation->ancestors = dw_alloc(descent->count + 1, sizeof *operation->ancestors);
        status = operation->ancestors != NULL ? DW_OK
                                              : dw_fail(err, DW_E_MEMORY, "no memory for an actor");
    }
    for (uint32_t i = 0; status == DW_OK && i < descent->count; i++) {
        uint64_t *next = &operation->ancestors[operation->ancestor_count];
        operation->ancestor_count += dw__id_parse(descent->ancestors[i].id, next);
    }
    dw_free(descent);
    return status;
}

static void load_work(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    const dw__platform *platform = &runtime->platform;
    const dw__keeper *keeper = runtime->keeper;
    dw__record *record = operation->record;
    dw_error *err = &operation->error;
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__thawed thawed = {.given = NULL};
    platform->destroy(platform->user, record->body);
    record->body = NULL;
    dw__id_text(id, record->id);
    dw_status status = keeper->look(keeper->user, id, &operation->row, err);
    operation->absent = status == DW_E_NOT_FOUND;
    if (status == DW_OK) {
        status = keeper->count_tree(keeper->user, operation->row.head, &operation->tree_count, err);
    }
    if (status == DW_OK) {
        status = read_ancestors(operation, id, err);
    }
    if (status == DW_OK) {
        status = keeper->thaw(keeper->user, record, id, 0, &thawed, err);
        operation->seed = thawed.seed;
        record->kept = thawed.kept;
    }
    if (status == DW_OK) {
        status = platform->adopt(platform->user, &operation->body, thawed.given, record, record->id,
                                 err);
    }
    if (status == DW_OK) {
        status = count_attempts(operation, id, err);
    }
    if (status == DW_OK && (!record->loaded || record->undone > 0)) {
        status = read_mail(operation, id, err);
    }
    if (status == DW_OK && !record->names_known) {
        dw__enter(runtime);
        status = dw__names_read(runtime, record->id, err);
        dw__leave(runtime, false);
    }
    err->code = status;
    if (status != DW_OK) {
        platform->destroy(platform->user, operation->body);
        operation->body = NULL;
    }
}

static void take_seed(dw_runtime *runtime, dw__record *record, dw__operation *operation)
{
    const dw__platform *platform = &runtime->platform;
    if (operation->seed == NULL) {
        return;
    }
    if (record->seed != NULL) {
        platform->seed_unref(platform->user, record->seed);
    }
    record->seed = operation->seed;
    record->limits = platform->seed_limits(platform->user, record->seed);
    operation->seed = NULL;
}

static void take_mail(dw_runtime *runtime, dw__record *record, dw__operation *operation)
{
    bool again = record->loaded;
    record->loaded = false; /* what was seen before is done again */
    record->done_row = record->kept.done;
    for (dw__mail *mail = dw__mailbox_take(&operation->mail); mail != NULL;
         mail = dw__mailbox_take(&operation->mail)) {
        dw__arrive(runtime, record, mail);
    }
    record->loaded = true;
    if (again) {
        return;
    }
    record->load_number = ++runtime->load_number;
    record->seen_row = operation->row.numbered;
    record->aside_count = operation->aside_count;
    record->aside_change++;
    operation->aside_count = 0;
}

static void take_counts(const dw_runtime *runtime, dw__record *record,
                        const dw__operation *operation)
{
    /* Those that could not be noted, on a disk that is full, count as long as it is in memory. */
    const uint32_t noted = operation->own.count;
    record->own_attempts = noted > record->own_attempts ? noted : record->own_attempts;
    record->tried_ms = operation->own.work.at_ms;
    if (!record->loaded) {
        dw__counts_read(runtime, &operation->row.counts, &record->sums, &record->restarts);
        record->failures = operation->row.counts.failures;
        record->renews = operation->row.counts.renews;
        record->redo_row = operation->row.counts.redo;
    }
}

static void forget_mail(dw_runtime *runtime, dw__operation *operation)
{
    for (dw__mail *mail = dw__mailbox_take(&operation->mail); mail != NULL;
         mail = dw__mailbox_take(&operation->mail)) {
        dw__mail_free(runtime, mail);
    }
    operation->aside_count = 0;
}

/* It cannot be read, and nobody knows whether it ever can: whoever waits is told. */
static void give_up(dw_runtime *runtime, dw__record *record, const dw__operation *operation)
{
    const dw_error error = operation->error;
    if (!runtime->options.works_on_request ||
        (record->held.count == 0 && record->operations == NULL)) {
        dw__problem(runtime, record->id, &error); /* else somebody is told */
    }
    dw__unable(runtime, record, &error, operation->absent);
}

/* For want of memory, of descriptors, or because the disk fails. */
static void try_again(dw_runtime *runtime, dw__record *record, dw__operation *operation)
{
    const dw__platform *platform = &runtime->platform;
    const dw_error error = operation->error;
    forget_mail(runtime, operation);
    (void)(error.code == DW_E_MEMORY ? dw__make_room(runtime) : 0);
    dw__problem(runtime, record->id, &error);
    record->load_failures++;
    if (record->load_failures < LOADS_MAX) {
        dw__set_state(runtime, record, DW__DOWN);
        record->alarm.ring = dw__ring_timer;
        dw__alarm_set(runtime, &record->alarm, platform->clock_ns(platform->user) + DW__AGAIN_NS);
        return;
    }
    dw__unable(runtime, record, &error, false);
    look_in(runtime, LATER_MS); /* for what goes on waiting in the folder */
}

static void tell_thawed(dw_runtime *runtime, dw__record *record, bool restarts)
{
    if (restarts) {
        record->restarts++;
        runtime->counts.restarts++;
        dw__happened(runtime, record, &(dw__happening){.kind = DW_EVENT_RESTARTED});
    } else {
        dw__sum(runtime, record, &(dw__sums){.thaws = 1});
        dw__log_simple(runtime, record, DW_LOG_DEBUG, "actor-thawed");
        dw__happened(runtime, record, &(dw__happening){.kind = DW_EVENT_THAWED});
    }
}

static void load_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    const dw__platform *platform = &runtime->platform;
    record->body = operation->body;
    record->renewed = record->outdated = false;
    operation->body = NULL;
    take_seed(runtime, record, operation);
    if (operation->ancestors != NULL) {
        dw__take_ancestors(runtime, record, operation->ancestors, operation->ancestor_count);
        operation->ancestors = NULL;
    }
    if (record->stopping) {
        record->renews = record->renews && record->undone == 0; /* else it has those to do again */
        forget_mail(runtime, operation);
        dw__rest(runtime, record);
        return;
    }
    dw_status status = operation->error.code;
    if (dw__is_transient(status) && !runtime->options.works_on_request) {
        try_again(runtime, record, operation);
        return;
    }
    if (status != DW_OK) {
        forget_mail(runtime, operation);
        give_up(runtime, record, operation);
        return;
    }
    if (record->aside_stale && !record->loaded) {
        record->aside_stale = false;
        forget_mail(runtime, operation);
        dw__load(runtime, record);
        return;
    }
    record->load_failures = 0;
    bool restarts = record->loaded && !record->left;
    record->left = false;
    take_counts(runtime, record, operation);
    tell_thawed(runtime, record, restarts);
    if (!record->tree->counted) {
        record->tree->counted = true;
        record->tree->actors += operation->tree_count + 1;
    }
    record->dirty = false;
    record->keep_due = record->kept.pending;
    record->undone = record->undone_bytes = 0;
    record->inside = platform->waiting(platform->user, record->body);
    record->timer_ms = platform->timer_ms(platform->user, record->body);
    dw__measure(runtime, record);
    record->timer_due = runtime->options.works_on_request && record->timer_ms != 0 &&
                        record->timer_ms <= platform->wall_ms(platform->user);
    take_mail(runtime, record, operation);
    dw__post_held(runtime, record);
    if (dw__has_failed_enough(record)) { /* the process ended before that was done */
        dw__end_failed(runtime, record);
    } else {
        dw__rest(runtime, record);
    }
}

void dw__load(dw_runtime *runtime, dw__record *record)
{
    record->inside = 0;
    record->timer_ms = 0;
    record->timer_due = false;
    dw__alarm_clear(runtime, &record->alarm);
    dw__alarm_clear(runtime, &record->keep_alarm);
    if (record->state != DW__MAKING) {
        dw__set_state(runtime, record, DW__BUSY);
    }
    dw__begin_own(runtime, record, load_work, load_finish);
    record->own->name = "thaw";
}

/* ---- by id ----------------------------------------------------------------------------------- */

static void row_of(const dw__record *record, dw_actor_row *row)
{
    *row = (dw_actor_row){.depth = record->depth};
    (void)snprintf(row->name, sizeof row->name, "%s", dw__name_of(record));
    dw__id_text(row->id, record->id);
    dw__id_text(row->head, record->tree->head);
    dw__sender_text(row->parent, &record->made_by);
    dw__traits_of(record, &row->traits);
}

/* In memory. false: it is not there, and may be in the folder. */
static bool is_known(const dw_runtime *runtime, uint64_t id, dw__record **record)
{
    dw__record *found = dw__find_any(runtime, id);
    *record = found != NULL && found->listed ? found : NULL;
    return found != NULL;
}

/* Whether one that leaves memory, as it could not be read or written say, stays in its folder. */
static bool stays(const dw__record *leaving)
{
    return leaving != NULL && leaving->in_folder && !leaving->removes && !leaving->ends_in_folder;
}

dw_status dw__look(dw_runtime *runtime, const char *text, dw__record **record, dw_actor_row *row,
                   dw_error *err)
{
    uint64_t id = 0;
    uint64_t removals = 0;
    char own[DW_ACTOR_ID_CHARS + 1];
    dw_status status = DW_E_NOT_FOUND;
    *record = NULL;
    if (text != NULL && strchr(text, '@') != NULL) {
        status = dw__find_named(runtime, text, &id, err);
        if (status != DW_OK) {
            return status;
        }
        dw__id_text(own, id);
        text = own;
    } else if (text == NULL || !dw__id_parse(text, &id)) {
        return dw_fail(err, DW_E_ARG,
                       "id: '%.40s', %d lower-case hexadecimal digits or TENANT@NAME are needed",
                       text != NULL ? text : "(NULL)", DW_ACTOR_ID_CHARS);
    }
    bool known = is_known(runtime, id, record);
    while (!known && runtime->keeper != NULL) {
        removals = runtime->removals;
        dw__lock_scope scope = dw__unlock(runtime);
        status = runtime->keeper->look(runtime->keeper->user, text, row, err);
        dw__lock_again(runtime, scope);
        known = is_known(runtime, id, record); /* it was brought in, or has gone, meanwhile */
        if (runtime->closing) {
            return dw_fail(err, DW_E_STATE, "the runtime is being closed");
        }
        if (!known && (status != DW_OK || runtime->removals == removals)) {
            return status;
        }
    }
    if (*record == NULL) {
        return stays(dw__find_any(runtime, id))
                   ? dw_fail(err, DW_E_BUSY, "actor '%s' is being let go of: ask again", text)
                   : dw_fail(err, DW_E_NOT_FOUND, "no actor '%s'", text);
    }
    row_of(*record, row);
    return DW_OK;
}

dw_status dw__reach(dw_runtime *runtime, const char *text, dw__record **record, dw_error *err)
{
    dw_actor_row row;
    if (runtime->keeper == NULL) {
        return dw__find_text(runtime, text, record, err);
    }
    dw_status status = dw__look(runtime, text, record, &row, err);
    if (status == DW_OK && *record == NULL) {
        status = dw__record_bring(runtime, &row, record, err);
        if (status == DW_OK) {
            dw__come(runtime, *record);
        }
    }
    return status;
}

/* ---- for whom something waits ---------------------------------------------------------------- */

#define PAGE 64u

typedef struct dw__scan {
    dw__operation operation;
    bool under_way;
    bool again;
    bool timed; /* after those that wait */
    char from[DW_ACTOR_ID_CHARS + 1];
    dw_timed_cursor cursor;
    dw_timed_cursor before;    /* of the page */
    dw_actor_name names[PAGE]; /* [found] */
    size_t found;
    dw_actor_row rows[PAGE]; /* [count] */
    size_t count;
    uint64_t removals;
    uint64_t next_ms;
} dw__scan;

/* Rows of those that are not in memory. */
static dw_status read_rows(dw_runtime *runtime, dw__scan *scan, const dw_actor_name *names,
                           size_t count, dw_error *err)
{
    for (size_t i = 0; i < count && scan->count < PAGE; i++) {
        uint64_t id = 0;
        dw__record *record = NULL;
        (void)dw__id_parse(names[i].id, &id);
        dw__enter(runtime);
        bool known = is_known(runtime, id, &record);
        dw__leave(runtime, false);
        if (known) {
            continue;
        }
        dw_status status = runtime->keeper->look(runtime->keeper->user, names[i].id,
                                                 &scan->rows[scan->count], err);
        if (status != DW_OK && status != DW_E_NOT_FOUND) {
            return status;
        }
        scan->count += status == DW_OK;
    }
    return DW_OK;
}

/* Each once in a scan, whether it can be read or not. */
static dw_status read_timed(dw_runtime *runtime, dw__scan *scan, dw_error *err)
{
    const dw__keeper *keeper = runtime->keeper;
    dw_status status =
        keeper->list_timed(keeper->user, &scan->cursor, scan->names, PAGE, &scan->found, err);
    if (status == DW_OK) {
        status = read_rows(runtime, scan, scan->names, scan->found, err);
    }
    if (status == DW_OK) {
        status = keeper->next_timer(keeper->user, scan->cursor.now_ms, &scan->next_ms, err);
    }
    return status;
}

static void scan_work(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__scan *scan = (dw__scan *)(void *)operation;
    const dw__keeper *keeper = runtime->keeper;
    scan->count = 0;
    dw__enter(runtime);
    scan->removals = runtime->removals;
    dw__leave(runtime, false);
    dw_error *err = &operation->error;
    dw_status status = DW_OK;
    if (scan->timed) {
        if (!scan->cursor.begun) {
            scan->cursor.now_ms = runtime->platform.wall_ms(runtime->platform.user);
        }
        scan->before = scan->cursor;
        status = read_timed(runtime, scan, err);
    } else {
        status =
            keeper->list_waiting(keeper->user, scan->from, scan->names, PAGE, &scan->found, err);
        status = status == DW_OK ? read_rows(runtime, scan, scan->names, scan->found, err) : status;
    }
    err->code = status;
}

/* false: some could not be. */
static bool bring_page(dw_runtime *runtime, const dw__scan *scan)
{
    bool all = true;
    for (size_t i = 0; i < scan->count; i++) {
        uint64_t id = 0;
        dw__record *record = NULL;
        dw_error error;
        (void)dw__id_parse(scan->rows[i].id, &id);
        if (is_known(runtime, id, &record)) {
            continue;
        }
        dw_status status = dw__record_bring(runtime, &scan->rows[i], &record, &error);
        if (status == DW_OK) {
            dw__come(runtime, record);
        } else if (status == DW_E_BUSY) { /* too many wait for room: they come first */
            all = false;
            runtime->cut_short = true;
        } else {
            error.code = status;
            dw__problem(runtime, id, &error);
            runtime->unable_count++;
            all = all && status != DW_E_MEMORY;
        }
    }
    return all;
}

static void ring_folder(dw_runtime *runtime, dw__alarm *alarm)
{
    (void)alarm;
    dw__scan_folder(runtime);
}

/* Look again in so many milliseconds, or earlier. */
static void look_in(dw_runtime *runtime, uint64_t wait_ms)
{
    uint64_t now_ns = runtime->platform.clock_ns(runtime->platform.user);
    uint64_t wait_ns = wait_ms < UINT64_MAX / 4000000 ? wait_ms * 1000000 : UINT64_MAX / 4;
    if (runtime->options.works_on_request) {
        return;
    }
    if (runtime->folder_alarm.place == 0 || runtime->folder_alarm.due_ns > now_ns + wait_ns) {
        runtime->folder_alarm.ring = ring_folder;
        dw__alarm_set(runtime, &runtime->folder_alarm, now_ns + wait_ns);
    }
}

static void look_at_timer(dw_runtime *runtime, uint64_t timer_ms)
{
    uint64_t now_ms = runtime->platform.wall_ms(runtime->platform.user);
    if (timer_ms != UINT64_MAX) {
        look_in(runtime, timer_ms > now_ms ? timer_ms - now_ms : 0);
    }
}

static void scan_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__scan *scan = (dw__scan *)(void *)operation;
    bool good = operation->error.code == DW_OK;
    if (!good) {
        dw__problem(runtime, 0, &operation->error);
    }
    bool stale = runtime->removals != scan->removals;
    if (!runtime->closing && good && !stale) {
        good = bring_page(runtime, scan);
    }
    if (!runtime->closing && good) {
        bool full = scan->found == PAGE;
        if (!scan->timed && full && !stale) {
            uint64_t last = 0;
            (void)dw__id_parse(scan->names[PAGE - 1].id, &last);
            dw__id_text(scan->from, last + (last < UINT64_MAX));
        }
        scan->cursor = scan->timed && stale ? scan->before : scan->cursor;
        if (full || stale || !scan->timed) {
            scan->timed = scan->timed || !(full || stale);
            dw__submit(runtime, operation);
            return;
        }
        look_at_timer(runtime, scan->next_ms);
    } else if (!runtime->closing) {
        runtime->unable_count += operation->error.code != DW_OK;
        look_in(runtime, DW__AGAIN_NS / 1000000);
    }
    scan->under_way = false;
    runtime->in_flight--;
    if (scan->again && !runtime->closing) {
        dw__scan_folder(runtime);
    }
}

void dw__scan_folder(dw_runtime *runtime)
{
    dw__scan *scan = runtime->scan;
    if (runtime->keeper == NULL || runtime->closing) {
        return;
    }
    scan->again = scan->under_way;
    if (scan->under_way) {
        return;
    }
    scan->operation = (dw__operation){.runtime = runtime, .work = scan_work, .finish = scan_finish};
    scan->under_way = true;
    scan->timed = false;
    scan->cursor = (dw_timed_cursor){.begun = false};
    dw__id_text(scan->from, 0);
    runtime->in_flight++;
    dw__submit(runtime, &scan->operation);
}

dw_status dw__scan_create(dw_runtime *runtime, dw_error *err)
{
    runtime->scan = dw_alloc(1, sizeof *runtime->scan);
    return runtime->scan != NULL ? dw__alarm_reserve(runtime, err)
                                 : dw_fail(err, DW_E_MEMORY, "no memory for a runtime");
}

void dw__bring_in(dw_runtime *runtime, uint64_t id)
{
    if (runtime->options.works_on_request) {
        dw__bring_one(runtime, id);
    } else {
        dw__scan_folder(runtime); /* whoever else waits is looked for with it */
    }
}

/* ---- leaving memory -------------------------------------------------------------------------- */

static void leave_work(dw__operation *operation)
{
    const dw__platform *platform = &operation->runtime->platform;
    (platform->park != NULL ? platform->park : platform->destroy)(platform->user,
                                                                  operation->record->body);
    operation->record->body = NULL;
}

static void leave_finish(dw__operation *operation)
{
    dw_runtime *runtime = operation->runtime;
    dw__record *record = operation->record;
    dw__note_memory(runtime, record, 0);
    if (record->stopping) {
        dw__rest(runtime, record);
        return;
    }
    record->left = true;
    dw__sum(runtime, record, &(dw__sums){.parks = 1});
    dw__happened(runtime, record, &(dw__happening){.kind = DW_EVENT_PARKED});
    dw__log_simple(runtime, record, DW_LOG_DEBUG, "actor-parked");
    if (record->mail.count + record->held.count + record->coming.count + record->later.count > 0 ||
        record->operations != NULL) {
        dw__park_no_more(runtime, record, NULL);
        dw__load(runtime, record);
        return;
    }
    look_at_timer(runtime, record->timer_ms != 0 ? record->timer_ms : UINT64_MAX);
    dw__unlist(runtime, record, false);
    dw__park_no_more(runtime, record, NULL); /* not before: its parent goes on resting */
    runtime->platform.seed_unref(runtime->platform.user, record->seed);
    record->seed = NULL;
    dw__record_free(runtime, record);
}

void dw__leave_memory(dw_runtime *runtime, dw__record *record)
{
    DW_ASSERT(record->state == DW__RESTING && !record->dirty && record->body != NULL);
    dw__alarm_clear(runtime, &record->alarm);
    dw__set_state(runtime, record, DW__BUSY);
    dw__begin_own(runtime, record, leave_work, leave_finish);
    record->own->name = "park";
}
