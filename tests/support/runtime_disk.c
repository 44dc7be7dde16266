#include "runtime_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "driftwood_abi.h"

uint64_t sim_wall_ms(const sim *s)
{
    return UINT64_C(1700000000000) + s->now_ns / 1000000;
}

uint64_t sim_chance(sim *s, uint64_t below)
{
    uint64_t z = support_random(&s->random);
    return below == 0 ? z : z % below;
}

bool sim_fails(sim *s, uint64_t one_in)
{
    return !s->calm && sim_chance(s, one_in) == 0;
}

/* The disk takes it, or it is full or gone. */
static dw_status disk(sim *s, dw_error *err)
{
    return s->killed || sim_fails(s, 100) ? dw_fail(err, DW_E_IO, "no space left, as chance has it")
                                          : DW_OK;
}

/* ---- the disk -------------------------------------------------------------------------------- */

uint64_t sim_id(const char *text)
{
    uint64_t id = 0;
    (void)dw__id_parse(text, &id);
    return id;
}

sim_row *sim_find_row(sim *s, uint64_t id)
{
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        if (s->rows[i].used && s->rows[i].id == id) {
            return &s->rows[i];
        }
    }
    return NULL;
}

size_t sim_waiting(const sim_row *row)
{
    size_t count = 0;
    for (size_t i = 0; i < row->mail_count; i++) {
        count += !row->mail[i].row.aside;
    }
    return count;
}

sim_mail *sim_find_mail(sim_row *row, uint64_t number)
{
    for (size_t i = 0; row != NULL && i < row->mail_count; i++) {
        if (row->mail[i].row.number == number) {
            return &row->mail[i];
        }
    }
    return NULL;
}

static void drop_mail(sim_row *row, uint64_t number)
{
    sim_mail *mail = sim_find_mail(row, number);
    if (mail != NULL) {
        size_t at = (size_t)(mail - row->mail);
        memmove(mail, mail + 1, (row->mail_count - at - 1) * sizeof *mail);
        row->mail_count--;
    }
}

static dw_status no_actor(dw_error *err)
{
    return dw_fail(err, DW_E_NOT_FOUND, "no such actor");
}

sim_row *sim_find_name(sim *s, const char *name)
{
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        if (s->rows[i].used && name[0] != '\0' && strcmp(s->rows[i].name, name) == 0) {
            return &s->rows[i];
        }
    }
    return NULL;
}

static void note_receiver(sim *s, uint64_t message, uint64_t id)
{
    sim_message *of = &s->messages[message];
    if (of->named) {
        assert_true(of->receiver_count < SIM_ROWS_MAX);
        of->receivers[of->receiver_count++] = id;
    }
}

static dw_status accept_one(sim *s, dw_sent *sent, dw_error *err)
{
    sim_row *row = sim_find_row(s, sim_id(sent->to));
    sent->message.number = 0;
    if (row == NULL) {
        return no_actor(err);
    }
    for (size_t i = 0; i < row->mail_count && sent->message.from[0] != '\0'; i++) {
        if (strcmp(row->mail[i].row.from, sent->message.from) == 0 &&
            row->mail[i].row.effect == sent->message.effect) {
            return DW_OK;
        }
    }
    if (row->mail_count >= SIM_MAIL_MAX || row->mail_count >= sent->mail_max) {
        return dw_fail(err, DW_E_BUSY, "the mailbox is full");
    }
    sent->message.number = ++row->numbered;
    sim_mail *mail = &row->mail[row->mail_count++];
    *mail = (sim_mail){.row = sent->message};
    memcpy(&mail->content, sent->content, sizeof mail->content);
    if (sent->message.from[0] != '\0') {
        s->messages[mail->content].accepted = true;
        note_receiver(s, mail->content, row->id);
    }
    return DW_OK;
}

/* ---- watches --------------------------------------------------------------------------------- */

sim_watch *sim_find_watch(sim_row *row, uint64_t watched)
{
    for (size_t i = 0; i < SIM_WATCHES_MAX; i++) {
        if (row->watches[i].watched == watched) {
            return &row->watches[i];
        }
    }
    return NULL;
}

/* The message of a watch, which is free afterwards. */
static void bring(sim *s, sim_row *row, sim_watch *watch, dw_notices *notices)
{
    const size_t at = row->mail_count++;
    assert_true(at < sizeof row->mail / sizeof row->mail[0]);
    row->mail[at] = (sim_mail){.content = watch->message,
                               .row = {.number = ++row->numbered,
                                       .cause = watch->cause,
                                       .caused = watch->caused,
                                       .bytes = sizeof watch->message,
                                       .kind = DW_MESSAGE_WATCH}};
    dw__id_text(row->mail[at].row.from, watch->watched);
    s->messages[watch->message].accepted = true;
    watch->watched = 0;
    assert_true(DW_ARRAY_RESERVE(notices->list, notices->capacity, notices->count + 1, SIZE_MAX));
    dw_notice *notice = &notices->list[notices->count++];
    *notice = (dw_notice){.message = row->mail[at].row,
                          .memory = dw_alloc(1, notices->room + sizeof watch->message)};
    memcpy((char *)notice->memory + notices->room, &watch->message, sizeof watch->message);
    dw__id_text(notice->to, row->id);
}

static void tell_watchers(sim *s, uint64_t id, dw_watch_kind kind, dw_notices *notices)
{
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        sim_watch *watch = s->rows[i].used ? sim_find_watch(&s->rows[i], id) : NULL;
        if (watch != NULL && dw_watch_wants(watch->events, kind)) {
            bring(s, &s->rows[i], watch, notices);
        }
    }
}

static void remove_row(sim *s, sim_row *row, dw_notices *notices)
{
    row->used = false;
    tell_watchers(s, row->id, DW_WATCH_ENDED, notices);
}

/* How actors ended is not remembered here. */
static void change_watch(sim *s, sim_row *row, const dw_watch_change *change, dw_notices *notices)
{
    const uint64_t watched = sim_id(change->actor);
    sim_watch *watch = sim_find_watch(row, watched);
    if (change->kind == DW_WATCH_CLEAR && watch != NULL) {
        watch->watched = 0;
    }
    if (change->kind != DW_WATCH_SET) {
        return;
    }
    if (watch == NULL && s->message_count + 1 < SIM_MESSAGES_MAX) {
        watch = sim_find_watch(row, 0);
        assert_non_null(watch);
        watch->message = ++s->message_count;
        s->messages[watch->message] = (sim_message){.to = row->id};
    }
    if (watch == NULL) {
        return;
    }
    watch->watched = watched;
    watch->events = change->events;
    watch->cause = change->cause;
    watch->caused = change->caused;
    if (change->hidden || sim_find_row(s, watched) == NULL) {
        bring(s, row, watch, notices);
    }
}

static const sim_state *find_file(const sim *s, uint64_t id, uint64_t sequence)
{
    for (size_t i = 0; i < s->file_count; i++) {
        if (s->files[i].id == id && s->files[i].sequence == sequence) {
            return &s->files[i].state;
        }
    }
    fail_msg("a state that was never written");
    return NULL;
}

static void remove_file(sim *s, uint64_t id, uint64_t sequence)
{
    for (size_t i = 0; i < s->file_count; i++) {
        if (s->files[i].id == id && s->files[i].sequence == sequence) {
            s->files[i--] = s->files[--s->file_count];
        }
    }
}

static void write_file(sim *s, uint64_t id, uint64_t sequence, const sim_state *state)
{
    remove_file(s, id, sequence);
    assert_true(s->file_count < SIM_ROWS_MAX * 4);
    s->files[s->file_count++] = (sim_file){.id = id, .sequence = sequence, .state = *state};
}

static unsigned group_bit(const char *group)
{
    assert_true(group[0] == 'g' && (unsigned)(group[1] - '0') < SIM_GROUPS);
    return 1u << (group[1] - '0');
}

static dw_status look_at(sim *s, const char *group, const sim_row *row, dw_group_look *look)
{
    unsigned bit = group_bit(group);
    *look = (dw_group_look){.is_in = row != NULL && (row->groups & bit) != 0};
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        look->members += s->rows[i].used && (s->rows[i].groups & bit) != 0;
    }
    for (unsigned i = 0; row != NULL && i < SIM_GROUPS; i++) {
        look->groups += row->groups >> i & 1;
    }
    return DW_OK;
}

static dw_status change_one(sim *s, sim_row *row, const dw_group_change *change, dw_error *err)
{
    dw_group_look look;
    (void)look_at(s, change->group, row, &look);
    dw_status status = dw_group_change_check(change, &look, err);
    if (status == DW_OK && look.is_in != change->joins) {
        row->groups ^= group_bit(change->group);
    }
    return status;
}

static dw_status check_made(sim *s, const dw_turn *turn, dw_error *err)
{
    for (size_t i = 0; i < turn->made_count; i++) {
        if (turn->made[i].name != NULL && sim_find_name(s, turn->made[i].name) != NULL) {
            return dw_fail(err, DW_E_STATE, "another has the name");
        }
    }
    return DW_OK;
}

static void add_made(sim *s, const dw_new_actor *made)
{
    size_t at = 0;
    while (at < SIM_ROWS_MAX && s->rows[at].used) {
        at++;
    }
    assert_true(at < SIM_ROWS_MAX);
    s->rows[at] = (sim_row){.used = true,
                            .id = sim_id(made->id),
                            .traits = *made->traits,
                            .counts = *made->counts,
                            .sequence = 1,
                            .state = *find_file(s, sim_id(made->id), 1)};
    if (made->descent != NULL) {
        s->rows[at].descent = *made->descent;
    }
    (void)snprintf(s->rows[at].name, sizeof s->rows[at].name, "%s",
                   made->name != NULL ? made->name : "");
}

static void drop_done(sim_row *row, const dw_turn *turn)
{
    drop_mail(row, turn->message);
    for (size_t i = 0; i < turn->done_count; i++) {
        drop_mail(row, turn->done[i]);
    }
}

static bool is_rewind(const dw__turn *turn)
{
    return turn->whole && !turn->keeps && !turn->upgrades;
}

/* What was done stays done, unless that is what was asked for. */
static void check_state(sim *s, const sim_row *row, const dw__turn *of, const sim_state *next)
{
    for (uint64_t i = 1; i <= s->message_count; i++) {
        bool before = (row->state.done[i / 64] >> (i % 64) & 1) != 0;
        bool after = (next->done[i / 64] >> (i % 64) & 1) != 0;
        assert_true(!before || after || is_rewind(of));
        s->messages[i].rewound = s->messages[i].rewound || (before && !after);
    }
    for (size_t i = 0; i < of->folder.done_count && is_rewind(of); i++) { /* in memory alone */
        for (size_t k = 0; k < row->mail_count; k++) {
            if (row->mail[k].row.number == of->folder.done[i]) {
                s->messages[row->mail[k].content].rewound = true;
            }
        }
    }
}

static void keep_freeze(sim_row *row, const dw__turn *of)
{
    row->kept_count = of->upgrades ? 0 : row->kept_count;
    if (of->folder.keeps == 0) {
        return;
    }
    if (row->kept_count == DW_FOLDER_KEPT_MAX) {
        memmove(row->kept, row->kept + 1, --row->kept_count * sizeof row->kept[0]);
    }
    row->kept[row->kept_count].number = of->folder.keeps;
    row->kept[row->kept_count++].state = row->state;
}

static dw_status apply_commit(sim *s, dw__turn *of, dw_error *err)
{
    dw_turn *turn = &of->folder;
    sim_row *row = turn->has_state ? sim_find_row(s, sim_id(turn->id)) : NULL;
    if (turn->has_state && row == NULL) {
        return no_actor(err);
    }
    dw_status status = check_made(s, turn, err);
    if (status != DW_OK) {
        return status;
    }
    if (row != NULL) {
        assert_int_equal(turn->snapshot.sequence, row->sequence + 1);
        check_state(s, row, of, find_file(s, row->id, turn->snapshot.sequence));
        row->state = *find_file(s, row->id, turn->snapshot.sequence);
        row->sequence = turn->snapshot.sequence;
        row->done = turn->snapshot.done;
        row->counts = *turn->counts;
        row->own = (dw_attempts){.count = 0};
        keep_freeze(row, of);
        drop_done(row, turn);
    }
    if (turn->aside != NULL) {
        turn->aside->number = ++row->numbered;
        tell_watchers(s, row->id, DW_WATCH_SET_ASIDE, &turn->notices);
    }
    for (size_t i = 0; i < turn->made_count; i++) {
        add_made(s, &turn->made[i]);
    }
    for (size_t i = 0; i < turn->sent_count; i++) {
        if (!turn->sent[i].skip) {
            turn->sent[i].status = accept_one(s, &turn->sent[i], &turn->sent[i].problem);
        }
    }
    for (size_t i = 0; i < turn->change_count; i++) {
        dw_group_change *change = &turn->changes[i];
        change->status = change_one(s, row, change, &change->problem);
    }
    for (size_t i = 0; i < turn->watch_count; i++) {
        change_watch(s, row, &turn->watches[i], &turn->notices);
    }
    if (turn->ends) {
        remove_row(s, row, &turn->notices);
    }
    return DW_OK;
}

static dw_status apply(sim *s, const sim_piece *piece, dw_error *err)
{
    dw__posting *posting = (dw__posting *)(void *)piece->landing;
    dw_status status = disk(s, err);
    if (piece->kind == 'd') { /* where it cannot be removed it is marked */
        sim_row *row = sim_find_row(s, sim_id(posting->sent.to));
        if (row != NULL && !s->killed) {
            drop_mail(row, posting->sent.message.number);
        }
        return DW_OK;
    }
    if (status != DW_OK) {
        return status;
    }
    return piece->kind == 'a' ? accept_one(s, &posting->sent, err)
                              : apply_commit(s, (dw__turn *)(void *)piece->landing, err);
}

/* A transaction of all that waits. */
void sim_run_journal(sim *s)
{
    sim_piece pieces[SIM_QUEUE_MAX];
    size_t count = s->queue_count;
    memcpy(pieces, s->queue, sizeof pieces);
    s->queue_count = 0;
    for (size_t i = 0; i < count; i++) {
        dw_error error = {.message = ""};
        dw_status status = apply(s, &pieces[i], &error);
        dw__land(pieces[i].landing, status, status != DW_OK ? &error : NULL);
    }
}

static dw_status enqueue(sim *s, dw__landing *landing, char kind, dw_error *err)
{
    if (s->queue_count == SIM_QUEUE_MAX || sim_fails(s, 30)) {
        return dw_fail(err, DW_E_BUSY, "the journal's queue is full");
    }
    s->queue[s->queue_count++] = (sim_piece){.landing = landing, .kind = kind};
    return DW_OK;
}

/* ---- the keeper ------------------------------------------------------------------------------ */

static dw_status k_look(void *user, const char *id, dw_actor_row *row, dw_error *err)
{
    const sim_row *of = sim_find_row(user, sim_id(id));
    if (((sim *)user)->killed) {
        return dw_fail(err, DW_E_IO, "killed");
    }
    if (of == NULL) {
        return no_actor(err);
    }
    *row = (dw_actor_row){.depth = of->descent.depth,
                          .sequence = of->sequence,
                          .done = of->done,
                          .numbered = of->numbered,
                          .waiting = sim_waiting(of),
                          .set_aside = of->mail_count - sim_waiting(of),
                          .inside = of->state.inside,
                          .timer_ms = of->state.timer_ms != 0 ? of->state.timer_ms : UINT64_MAX,
                          .traits = of->traits};
    dw__id_text(row->id, of->id);
    (void)snprintf(row->name, sizeof row->name, "%s", of->name);
    row->counts = of->counts;
    (void)snprintf(row->head, sizeof row->head, "%s", dw_descent_head(&of->descent, row->id));
    if (of->descent.count > 0) {
        (void)snprintf(row->parent, sizeof row->parent, "%s", of->descent.ancestors[0].id);
    }
    return DW_OK;
}

/* The next row in the order of ids that is wanted. */
static const sim_row *next_row(sim *s, uint64_t from, char kind)
{
    const uint64_t now_ms = sim_wall_ms(s);
    const sim_row *best = NULL;
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        const sim_row *row = &s->rows[i];
        bool wanted =
            row->used && row->id >= from &&
            (kind == 'l' || (kind == 'w' && (sim_waiting(row) > 0 || row->state.inside > 0)) ||
             (kind == 't' && row->state.timer_ms != 0 && row->state.timer_ms <= now_ms));
        best = wanted && (best == NULL || row->id < best->id) ? row : best;
    }
    return best;
}

static dw_status list_rows(sim *s, uint64_t from, char kind, dw_actor_name *names, size_t max,
                           size_t *count)
{
    *count = 0;
    const sim_row *row = next_row(s, from, kind);
    while (row != NULL && *count < max) {
        dw__id_text(names[(*count)++].id, row->id);
        row = row->id < UINT64_MAX ? next_row(s, row->id + 1, kind) : NULL;
    }
    return s->killed ? DW_E_IO : DW_OK;
}

static dw_status k_list(void *user, const char *from, dw_actor_name *names, size_t max,
                        size_t *count, dw_error *err)
{
    (void)err;
    return list_rows(user, sim_id(from), 'l', names, max, count);
}

static dw_status k_list_waiting(void *user, const char *from, dw_actor_name *names, size_t max,
                                size_t *count, dw_error *err)
{
    dw_status status = disk(user, err);
    return status == DW_OK ? list_rows(user, sim_id(from), 'w', names, max, count) : status;
}

/* By ids here. */
static dw_status k_list_timed(void *user, dw_timed_cursor *cursor, dw_actor_name *names, size_t max,
                              size_t *count, dw_error *err)
{
    dw_status status = disk(user, err);
    assert_true(cursor->now_ms <= sim_wall_ms(user));
    *count = 0;
    if (status == DW_OK && (!cursor->begun || cursor->id < UINT64_MAX)) {
        status = list_rows(user, cursor->begun ? cursor->id + 1 : 0, 't', names, max, count);
    }
    if (*count > 0) {
        cursor->begun = true;
        cursor->id = sim_id(names[*count - 1].id);
    }
    return status;
}

static dw_status k_next_timer(void *user, uint64_t after_ms, uint64_t *timer_ms, dw_error *err)
{
    sim *s = user;
    (void)err;
    *timer_ms = UINT64_MAX;
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        uint64_t at = s->rows[i].state.timer_ms;
        if (s->rows[i].used && at > after_ms && at < *timer_ms) {
            *timer_ms = at;
        }
    }
    return DW_OK;
}

static dw_status k_list_mail(void *user, const char *id, dw_mail_row **rows, size_t *count,
                             dw_error *err)
{
    const sim_row *row = sim_find_row(user, sim_id(id));
    dw_status status = row == NULL ? no_actor(err) : disk(user, err);
    *count = status == DW_OK ? row->mail_count : 0;
    *rows = dw_alloc(SIM_MAIL_MAX, sizeof **rows);
    for (size_t i = 0; i < *count; i++) {
        (*rows)[i] = (dw_mail_row){.message = row->mail[i].row, .attempts = row->mail[i].attempts};
    }
    return status;
}

static dw_status k_read_message(void *user, const char *id, uint64_t number, char **content,
                                size_t *bytes, dw_error *err)
{
    const sim_mail *mail = sim_find_mail(sim_find_row(user, sim_id(id)), number);
    if (mail == NULL) {
        return no_actor(err);
    }
    *bytes = sizeof mail->content;
    *content = dw_alloc(1, *bytes);
    memcpy(*content, &mail->content, *bytes);
    return DW_OK;
}

static dw_status k_count_tree(void *user, const char *head, size_t *count, dw_error *err)
{
    sim *s = user;
    (void)err;
    *count = 0;
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        char id[DW_ACTOR_ID_CHARS + 1];
        dw__id_text(id, s->rows[i].id);
        *count += s->rows[i].used && strcmp(id, head) != 0 &&
                  strcmp(dw_descent_head(&s->rows[i].descent, id), head) == 0;
    }
    return DW_OK;
}

static dw_status k_list_tree(void *user, const char *id, dw_actor_name **names, size_t *count,
                             dw_error *err)
{
    sim *s = user;
    *names = dw_alloc(SIM_ROWS_MAX, sizeof **names);
    *count = 0;
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        const dw_descent *descent = &s->rows[i].descent;
        bool below = s->rows[i].used && s->rows[i].id == sim_id(id);
        for (size_t k = 0; s->rows[i].used && k < descent->count; k++) {
            below = below || strcmp(descent->ancestors[k].id, id) == 0;
        }
        if (below) {
            dw__id_text((*names)[(*count)++].id, s->rows[i].id);
        }
    }
    return disk(user, err);
}

static dw_status k_set_traits(void *user, const char *id, const dw_actor_traits *traits,
                              dw_error *err)
{
    sim_row *row = sim_find_row(user, sim_id(id));
    dw_status status = disk(user, err);
    if (status == DW_OK && row != NULL) {
        row->traits = *traits;
    }
    return row == NULL ? no_actor(err) : status;
}

static dw_status k_accept(void *user, dw__posting *posting, dw_error *err)
{
    return enqueue(user, &posting->landing, 'a', err);
}

static dw_status k_drop(void *user, dw__posting *posting, dw_error *err)
{
    return enqueue(user, &posting->landing, 'd', err);
}

static dw_status k_commit(void *user, dw__turn *turn, dw_error *err)
{
    return enqueue(user, &turn->landing, 'c', err);
}

static dw_status k_commit_waiting(void *user, dw__turn *turn, dw_error *err)
{
    return apply(user, &(sim_piece){.landing = &turn->landing, .kind = 'c'}, err);
}

static sim_mark *find_mark(sim *s, uint64_t id)
{
    size_t at = 0;
    while (at < SIM_MARKS_MAX && s->marks[at].id != id) {
        at++;
    }
    return at < SIM_MARKS_MAX ? &s->marks[at] : NULL;
}

static dw_status k_try(void *user, const char *id, const dw_attempted *work, dw_error *err)
{
    sim *s = user;
    sim_mark *mark = find_mark(s, sim_id(id));
    mark = mark != NULL ? mark : find_mark(s, 0);
    if (mark == NULL || sim_fails(s, 40)) {
        return dw_fail(err, DW_E_BUSY, "too many are at work");
    }
    if (!s->killed) {
        *mark = (sim_mark){.id = sim_id(id)};
        mark->work = work != NULL ? *work : mark->work;
    }
    return DW_OK;
}

static void k_tried(void *user, const char *id)
{
    sim *s = user;
    sim_mark *mark = find_mark(s, sim_id(id));
    if (mark != NULL && !s->killed) {
        *mark = (sim_mark){.id = 0};
    }
}

sim_seed *sim_make_seed(sim *s)
{
    sim_seed *seed = calloc(1, sizeof *seed);
    assert_non_null(seed);
    seed->references = 1;
    seed->limits = dw_limits_usual;
    seed->limits.mail = 6;
    seed->limits.message_bytes = DW_WATCH_MESSAGE_BYTES;
    seed->limits.watches = SIM_WATCHES_MAX;
    s->seeds++;
    return seed;
}

static dw_status k_thaw(void *user, dw__record *record, const char *id, uint64_t number,
                        dw__thawed *thawed, dw_error *err)
{
    sim *s = user;
    const sim_row *row = sim_find_row(s, sim_id(id));
    dw_status status = disk(s, err);
    size_t at = 0;
    (void)record;
    if (status != DW_OK || row == NULL) {
        return row == NULL ? no_actor(err) : status;
    }
    while (number != 0 && row->kept[at].number != number) {
        at++;
        assert_true(at < row->kept_count);
    }
    sim_set_logs(s, row->id, false);
    sim_state *state = calloc(1, sizeof *state);
    *state = number != 0 ? row->kept[at].state : row->state;
    *thawed = (dw__thawed){.given = state,
                           .seed = sim_make_seed(s),
                           .kept = {.sequence = row->sequence, .done = row->done, .count = 1}};
    return DW_OK;
}

static dw_status k_list_kept(void *user, const char *id, uint64_t numbers[DW_FOLDER_KEPT_MAX],
                             size_t *count, dw_error *err)
{
    const sim_row *row = sim_find_row(user, sim_id(id));
    *count = row != NULL ? row->kept_count : 0;
    for (size_t i = 0; i < *count; i++) {
        numbers[i] = row->kept[i].number;
    }
    return disk(user, err);
}

static dw_status k_freeze(void *user, dw__turn *turn, void *of, dw_error *err)
{
    const sim_body *body = of;
    dw_status status = disk(user, err);
    assert_true(body->alive && !body->working && !body->broken && body->committed == 0);
    if (status == DW_OK) {
        turn->folder.has_state = true;
        turn->folder.snapshot.sequence = turn->kept.sequence + 1;
        turn->folder.keeps = turn->keeps ? turn->folder.snapshot.sequence : 0;
        turn->kept.sequence++;
        turn->kept.done = turn->folder.snapshot.done;
        write_file(user, body->id, turn->kept.sequence, &body->state);
    }
    return status;
}

static dw_status k_make(void *user, const dw__making *making, dw_error *err)
{
    const sim_body *body = making->body;
    dw_status status = disk(user, err);
    if (status == DW_OK) {
        write_file(user, body->id, 1, &body->state);
        making->made->row_count = 1;
        *making->kept = (dw__kept){.sequence = 1, .count = 1};
    }
    return status;
}

static void k_committed(void *user, dw__turn *turn)
{
    if (turn->folder.has_state) {
        k_tried(user, turn->folder.id);
        remove_file(user, sim_id(turn->folder.id), turn->folder.snapshot.sequence);
    }
    for (size_t i = 0; i < turn->folder.made_count; i++) {
        remove_file(user, sim_id(turn->folder.made[i].id), 1);
    }
}

static void k_take_back(void *user, const dw_turn *turn)
{
    if (turn->has_state) {
        k_tried(user, turn->id);
        remove_file(user, sim_id(turn->id), turn->snapshot.sequence);
    }
    for (size_t i = 0; i < turn->made_count; i++) {
        remove_file(user, sim_id(turn->made[i].id), 1);
    }
}

static bool k_was_delivered(void *user, const dw_sent *sent)
{
    (void)user;
    (void)sent;
    return false;
}

static dw_status k_descent(void *user, const char *id, dw_descent *descent, dw_error *err)
{
    const sim_row *row = sim_find_row(user, sim_id(id));
    if (row == NULL) {
        return no_actor(err);
    }
    *descent = row->descent;
    return disk(user, err);
}

static dw_status k_get_attempts(void *user, const char *id, const dw_attempted *work,
                                dw_attempts *attempts, dw_error *err)
{
    const sim_row *row = sim_find_row(user, sim_id(id));
    (void)err;
    *attempts = (dw_attempts){.work = *work};
    if (row != NULL && row->own.work.number == work->number &&
        row->own.work.inside == work->inside) {
        *attempts = row->own;
    }
    return DW_OK;
}

static dw_status k_note_attempt(void *user, const char *id, dw_attempts *attempts,
                                const char *reason, dw_error *err)
{
    sim_row *row = sim_find_row(user, sim_id(id));
    dw_status status = disk(user, err);
    (void)reason;
    attempts->count++;
    if (status == DW_OK && row != NULL && attempts->work.kind == DW_ATTEMPTED_MESSAGE) {
        sim_mail *mail = sim_find_mail(row, attempts->work.number);
        if (mail != NULL) {
            mail->attempts = attempts->count;
        }
    } else if (status == DW_OK && row != NULL) {
        row->own = *attempts;
    }
    if (status == DW_OK && row != NULL) {
        row->counts = *attempts->counts;
    }
    return status;
}

static dw_status k_tell_watchers(void *user, const char *id, dw_ending *event, dw_error *err)
{
    dw_status status = disk(user, err);
    if (status == DW_OK) {
        tell_watchers(user, sim_id(id), event->event.kind, &event->notices);
    }
    return status;
}

static dw_status k_look_at_watch(void *user, const char *watcher, const char *watched,
                                 dw_watch_look *look, dw_error *err)
{
    sim *s = user;
    sim_row *row = sim_find_row(s, sim_id(watcher));
    dw_status status = disk(s, err);
    *look = (dw_watch_look){.set = row != NULL && sim_find_watch(row, sim_id(watched)) != NULL};
    for (size_t i = 0; row != NULL && i < SIM_WATCHES_MAX; i++) {
        look->watches += row->watches[i].watched != 0;
    }
    return status;
}

static dw_status k_set_aside(void *user, const char *id, uint64_t number, const dw_attempts *why,
                             dw_ending *ending, dw_error *err)
{
    sim_mail *mail = sim_find_mail(sim_find_row(user, sim_id(id)), number);
    dw_status status = disk(user, err);
    if (status == DW_OK && mail != NULL) {
        mail->row.aside = true;
        mail->attempts = why->count;
        tell_watchers(user, sim_id(id), DW_WATCH_SET_ASIDE, &ending->notices);
    }
    return status;
}

static dw_status k_find_name(void *user, const char *tenant, const char *name, dw_actor_name *found,
                             dw_error *err)
{
    const sim_row *row = sim_find_name(user, name);
    dw_status status = disk(user, err);
    (void)tenant;
    if (status == DW_OK && row == NULL) {
        return no_actor(err);
    }
    dw__id_text(found->id, row != NULL ? row->id : 0);
    return status;
}

static dw_status k_read_names(void *user, const char *id, dw_actor_names *names, dw_error *err)
{
    const sim_row *row = sim_find_row(user, sim_id(id));
    dw_status status = disk(user, err);
    *names = (dw_actor_names){.group_count = 0};
    if (status != DW_OK || row == NULL) {
        return row == NULL ? no_actor(err) : status;
    }
    (void)snprintf(names->name, sizeof names->name, "%s", row->name);
    names->groups = dw_alloc(SIM_GROUPS, sizeof *names->groups);
    for (unsigned i = 0; i < SIM_GROUPS; i++) {
        if ((row->groups >> i & 1) != 0) {
            (void)snprintf(names->groups[names->group_count++], sizeof *names->groups, "g%u", i);
        }
    }
    return DW_OK;
}

static dw_status k_look_at_group(void *user, const char *tenant, const char *group, const char *id,
                                 dw_group_look *look, dw_error *err)
{
    (void)tenant;
    dw_status status = disk(user, err);
    return status == DW_OK ? look_at(user, group, sim_find_row(user, sim_id(id)), look) : status;
}

static dw_status k_list_group(void *user, dw_group_list *list, dw_error *err)
{
    sim *s = user;
    dw_status status = disk(user, err);
    list->count = 0;
    list->members = 0;
    for (size_t i = 0; i < SIM_ROWS_MAX && status == DW_OK; i++) {
        if (s->rows[i].used && (s->rows[i].groups & group_bit(list->group)) != 0) {
            list->members++;
            if (list->count < list->max) {
                dw__id_text(list->names[list->count++].id, s->rows[i].id);
            }
        }
    }
    return status;
}

static dw_status k_set_name(void *user, const char *id, const char *name, dw_error *err)
{
    sim_row *row = sim_find_row(user, sim_id(id));
    dw_status status = disk(user, err);
    if (status != DW_OK || row == NULL) {
        return row == NULL ? no_actor(err) : status;
    }
    const sim_row *has = sim_find_name(user, name != NULL ? name : "");
    if (has != NULL && has != row) {
        return dw_fail(err, DW_E_STATE, "another has the name");
    }
    (void)snprintf(row->name, sizeof row->name, "%s", name != NULL ? name : "");
    return DW_OK;
}

static dw_status k_change_group(void *user, const char *id, dw_group_change *change, dw_error *err)
{
    sim_row *row = sim_find_row(user, sim_id(id));
    dw_status status = disk(user, err);
    if (status != DW_OK || row == NULL) {
        return row == NULL ? no_actor(err) : status;
    }
    return change_one(user, row, change, err);
}

static bool k_withdraw(void *user, const char *id, uint64_t number, const dw_actor_counts *counts)
{
    sim *s = user;
    sim_row *row = sim_find_row(s, sim_id(id));
    if (row != NULL && !s->killed) {
        drop_mail(row, number);
        row->counts = *counts;
    }
    return true;
}

static dw_status k_remove(void *user, const dw_actor_name *names, size_t count, dw_ending *ending,
                          dw_error *err)
{
    dw_status status = disk(user, err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        sim_row *row = sim_find_row(user, sim_id(names[i].id));
        if (row != NULL) {
            memset(row->watches, 0, sizeof row->watches);
        }
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        sim_row *row = sim_find_row(user, sim_id(names[i].id));
        if (row != NULL) {
            remove_row(user, row, &ending->notices);
        }
    }
    return status;
}

static dw_status k_check_bytes(void *user, dw_error *err)
{
    (void)user;
    (void)err;
    return DW_OK;
}

const dw__keeper sim_keeper = {.look = k_look,
                               .list = k_list,
                               .list_waiting = k_list_waiting,
                               .list_timed = k_list_timed,
                               .next_timer = k_next_timer,
                               .list_mail = k_list_mail,
                               .read_message = k_read_message,
                               .count_tree = k_count_tree,
                               .list_tree = k_list_tree,
                               .set_traits = k_set_traits,
                               .accept = k_accept,
                               .drop = k_drop,
                               .commit = k_commit,
                               .try = k_try,
                               .tried = k_tried,
                               .thaw = k_thaw,
                               .list_kept = k_list_kept,
                               .freeze = k_freeze,
                               .make = k_make,
                               .commit_waiting = k_commit_waiting,
                               .committed = k_committed,
                               .take_back = k_take_back,
                               .was_delivered = k_was_delivered,
                               .descent = k_descent,
                               .get_attempts = k_get_attempts,
                               .note_attempt = k_note_attempt,
                               .set_aside = k_set_aside,
                               .tell_watchers = k_tell_watchers,
                               .look_at_watch = k_look_at_watch,
                               .find_name = k_find_name,
                               .read_names = k_read_names,
                               .look_at_group = k_look_at_group,
                               .list_group = k_list_group,
                               .set_name = k_set_name,
                               .change_group = k_change_group,
                               .withdraw = k_withdraw,
                               .remove = k_remove,
                               .forget_logs = sim_forget_logs,
                               .check_bytes = k_check_bytes};
