/* The runtime's bookkeeping on a virtual clock, with bodies that do what chance says: thousands of
 * schedules of spawns, messages, failures, forks, rewinds, upgrades, names, groups, watches, ends,
 * each of which its seed repeats. DW_SIMULATION_SEED=N runs one alone, DW_SIMULATION_ROUNDS=N so
 * many.
 *
 * Held to: a request ends once, and nothing is answered after that; a body has one user at a time;
 * queues are bounded; a message between actors is worked on, set aside, or its loss is told; all
 * comes to rest when nobody asks for more; nothing is left behind. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime_bodies.h"
#include "support.h"

#define ROUNDS 2000
#define STEPS 400

/* ---- what bodies do -------------------------------------------------------------------------- */

static uint64_t any_id(sim *s)
{
    return s->id_count == 0 || bodies_chance(s, 20) == 0 ? bodies_chance(s, 0)
                                                         : s->ids[bodies_chance(s, s->id_count)];
}

static void note_id(sim *s, uint64_t id)
{
    s->ids[s->id_count < IDS_MAX ? s->id_count++ : bodies_chance(s, IDS_MAX)] = id;
}

static uint64_t new_message(sim *s, uint64_t to, bool outside)
{
    if (s->message_count + 1 >= MESSAGES_MAX) {
        return 0;
    }
    s->messages[++s->message_count] = (sim_message){.to = to, .outside = outside};
    return s->message_count;
}

static size_t made(const sim_body *body)
{
    size_t count = 0;
    for (size_t i = 0; i < body->ask_count; i++) {
        dw_effect_kind kind = body->asks[i].asked.kind;
        count += kind == DW_EFFECT_SPAWN || kind == DW_EFFECT_FORK;
    }
    return count;
}

static void ask_timer(sim *s, sim_body *body)
{
    dw_error error;
    dw__wish wish = {
        .wait_ms = bodies_chance(s, 3000), .cause = &body->cause, .caused = body->caused};
    if (body->timer_count < TIMERS_MAX &&
        dw__admit(s->runtime, body->record, &wish, &error) == DW_OK) {
        body->timers[body->timer_count++] = bodies_wall_ms(s) + wish.wait_ms;
    }
}

static const char *const groups[] = {"#g0", "#g1", "#g2"};
static const char *const names[] = {"@n0", "@n1", "@n2", "@n3"};

static const char *address(sim *s, dw_effect_kind kind)
{
    if (kind == DW_EFFECT_JOIN || kind == DW_EFFECT_LEAVE) {
        return groups[bodies_chance(s, 3)] + 1;
    }
    bool named = kind == DW_EFFECT_SEND && bodies_chance(s, 3) == 0;
    return !named                     ? NULL
           : bodies_chance(s, 2) == 0 ? groups[bodies_chance(s, 3)]
                                      : names[bodies_chance(s, 4)];
}

/* Of one that is there, that was, or that this very message is to make. */
static void ask_watch(sim *s, sim_body *body)
{
    dw_error error;
    uint64_t whom = any_id(s);
    size_t watched = 0;
    bool own = false;
    for (size_t i = 0; i < body->ask_count; i++) {
        const dw__asked *asked = &body->asks[i].asked;
        if (asked->kind == DW_EFFECT_SPAWN || asked->kind == DW_EFFECT_FORK) {
            own = bodies_chance(s, 2) == 0;
            whom = own ? asked->actor : whom;
        }
        watched += asked->kind == DW_EFFECT_WATCH;
    }
    dw__wish wish = {.kind = bodies_chance(s, 5) != 0 ? DW_EFFECT_WATCH : DW_EFFECT_UNWATCH,
                     .actor = whom,
                     .to = own || bodies_chance(s, 4) != 0 ? NULL : names[bodies_chance(s, 4)],
                     .watched = watched,
                     .own = own,
                     .cause = &body->cause,
                     .caused = body->caused};
    if (body->ask_count == ASKS_MAX ||
        dw__admit(s->runtime, body->record, &wish, &error) != DW_OK) {
        return;
    }
    body->asks[body->ask_count++].asked = (dw__asked){.kind = (dw_effect_kind)wish.kind,
                                                      .actor = wish.found,
                                                      .guest = "",
                                                      .events = (uint32_t)bodies_chance(s, 4),
                                                      .cause = wish.new_cause,
                                                      .caused = wish.new_caused};
}

static void ask(sim *s, sim_body *body)
{
    static const dw_effect_kind kinds[] = {DW_EFFECT_SEND, DW_EFFECT_SEND,  DW_EFFECT_SEND,
                                           DW_EFFECT_SEND, DW_EFFECT_SPAWN, DW_EFFECT_FORK,
                                           DW_EFFECT_STOP, DW_EFFECT_JOIN,  DW_EFFECT_LEAVE};
    dw_error error;
    dw_effect_kind kind = kinds[bodies_chance(s, 9)];
    const char *to_all = address(s, kind);
    if (body->ask_count == ASKS_MAX || (kind == DW_EFFECT_STOP && bodies_chance(s, 5) != 0)) {
        return;
    }
    uint64_t to = kind == DW_EFFECT_SEND ? any_id(s) : bodies_chance(s, 0);
    uint64_t message = new_message(s, to_all != NULL ? 0 : to, false);
    dw__wish wish = {.kind = (int)kind,
                     .actor = to,
                     .to = to_all,
                     .bytes = sizeof message,
                     .made = made(body),
                     .cause = &body->cause,
                     .caused = body->caused};
    if (message == 0 || dw__admit(s->runtime, body->record, &wish, &error) != DW_OK) {
        return;
    }
    body->asks[body->ask_count++] =
        (sim_ask){.asked = {.kind = kind,
                            .actor = to,
                            .guest = to_all != NULL             ? to_all
                                     : kind == DW_EFFECT_SEND   ? ""
                                     : bodies_chance(s, 3) == 0 ? "other"
                                                                : "",
                            .cause = wish.new_cause,
                            .caused = wish.new_caused},
                  .content = message};
    if (kind == DW_EFFECT_SPAWN || kind == DW_EFFECT_FORK) {
        note_id(s, to);
    }
}

static void end_work(sim *s, sim_body *body)
{
    dw_error error = {.message = "as chance has it"};
    dw_status status = DW_OK;
    body->used = body->working = false;
    if (body->ends && bodies_chance(s, 8) != 0) { /* or it was too late to end it */
        status = DW_E_CANCELLED;
    } else if (bodies_fails(s, 10)) {
        status = DW_E_TRAP;
    } else if (bodies_fails(s, 10)) {
        status = DW_E_ARG; /* its answer; it lives on */
    }
    body->broken = status == DW_E_CANCELLED || status == DW_E_TRAP;
    if (!body->broken) {
        body->committed = body->ask_count;
        s->messages[body->message].done += body->message != 0;
    }
    error.code = status;
    dw__worked(s->runtime, body->record, status, &error);
}

static sim_body *any_working(sim *s)
{
    size_t from = s->body_count > 0 ? bodies_chance(s, s->body_count) : 0;
    for (size_t i = 0; i < s->body_count; i++) {
        sim_body *body = &s->bodies[(from + i) % s->body_count];
        if (body->alive && body->working) {
            return body;
        }
    }
    return NULL;
}

static void go_on(sim *s)
{
    sim_body *body = any_working(s);
    if (body == NULL) {
        return;
    }
    const dw__mail *mail = body->record->current; /* detached: who asked has gone */
    switch (s->calm ? 9 : bodies_chance(s, 10)) {
    case 0:
    case 1:
        assert_int_equal(dw__answered(s->runtime, body->record, (const unsigned char *)"text", 4),
                         mail != NULL && mail->detached ? -EINTR : 4);
        break;
    case 2:
    case 3:
    case 4:
        ask(s, body);
        break;
    case 5:
        (bodies_chance(s, 3) == 0 ? ask_timer : ask_watch)(s, body);
        break;
    default:
        end_work(s, body);
    }
}

/* ---- what comes from outside ----------------------------------------------------------------- */

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    const sim_message *message = user;
    (void)bytes;
    assert_int_equal(message->ends, 0);
    return (ptrdiff_t)count;
}

static void on_end(void *user, const dw_runtime_end *end)
{
    sim_message *message = user;
    message->ends++;
    assert_int_equal(message->ends, 1);
    message->status = end->status;
}

static void on_call_end(void *user, const dw_runtime_end *end)
{
    (void)end;
    (*(unsigned *)user)++;
}

static void on_problem(void *user, const char *id, const dw_error *problem)
{
    (void)id;
    assert_true(problem->code != DW_OK && problem->message[0] != '\0');
    ((sim *)user)->problems++;
}

static void on_event(void *user, const dw_event *event)
{
    sim *s = user;
    s->events++;
    if (event->kind == DW_EVENT_STOPPED && bodies_chance(s, 10) == 0) {
        dw_runtime_unsubscribe(s->runtime, s->subscription);
    }
}

static void spawn(sim *s)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error;
    sim_seed *seed = bodies_make_seed(s);
    const dw_spawn_options options = {
        .struct_bytes = sizeof options,
        .name = bodies_chance(s, 4) == 0 ? names[bodies_chance(s, 4)] + 1 : NULL,
        .tenant = bodies_chance(s, 3) == 0 ? "b" : NULL,
        .capabilities = bodies_chance(s, 4) == 0 ? (uint32_t)bodies_chance(s, 64) : DW_MAY_ALL,
        .priority = (dw_priority)bodies_chance(s, 3),
        .supervision = (dw_supervision)(bodies_chance(s, 6) == 0),
        .failures_max = (uint32_t)bodies_chance(s, 4),
        .on_end = on_call_end,
        .user = &s->spawns_ended};
    if (dw__spawn_from_seed(s->runtime, seed, NULL, &options, id, &error) == DW_OK) {
        uint64_t number = 0;
        s->spawns_asked++;
        assert_true(dw__id_parse(id, &number));
        note_id(s, number);
    }
    bodies_seed_unref(s, seed);
}

static void send(sim *s)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error;
    uint64_t to = any_id(s);
    uint64_t message = new_message(s, to, true);
    dw__id_text(id, to);
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = &message,
                                .message_bytes = sizeof message,
                                .timeout_ms =
                                    bodies_chance(s, 4) == 0 ? 1 + bodies_chance(s, 500) : 0,
                                .on_answer = bodies_chance(s, 3) == 0 ? NULL : on_answer,
                                .on_end = on_end,
                                .user = &s->messages[message]};
    if (message != 0 && dw_runtime_send(s->runtime, id, &request, NULL, &error) != DW_OK) {
        s->messages[message].ends = 1; /* told at once, and no other way */
        s->messages[message].status = error.code;
    }
}

/* To a group, for whose ends nobody waits. */
static void send_group(sim *s)
{
    uint64_t message = new_message(s, 0, false);
    const dw_request request = {
        .struct_bytes = sizeof request, .message = &message, .message_bytes = sizeof message};
    s->messages[message].accepted = true;
    if (message != 0) {
        (void)!dw_runtime_send_group(s->runtime, groups[bodies_chance(s, 3)], &request, NULL, NULL);
    }
}

static void rename_one(sim *s, const char *id)
{
    switch (bodies_chance(s, 5)) {
    case 0:
        (void)!dw_runtime_set_name(s->runtime, id, names[bodies_chance(s, 4)] + 1, NULL);
        break;
    case 1:
        (void)!dw_runtime_set_name(s->runtime, id, NULL, NULL);
        break;
    case 2:
        (void)!dw_runtime_join(s->runtime, id, groups[bodies_chance(s, 3)] + 1, NULL);
        break;
    case 3:
        (void)!dw_runtime_quit(s->runtime, id, groups[bodies_chance(s, 3)] + 1, NULL);
        break;
    default:
        send_group(s);
    }
}

static void call(sim *s, const char *id)
{
    static char module[1];
    char child[DW_ACTOR_ID_CHARS + 1];
    uint64_t number = 0;
    unsigned *ended = &s->calls_ended;
    dw_status status = DW_OK;
    switch (bodies_chance(s, 4)) {
    case 3:
        status = dw_runtime_begin_upgrade(s->runtime, id, (dw_module *)(void *)module, on_call_end,
                                          ended, NULL);
        break;
    case 0:
        status = dw_runtime_begin_fork(s->runtime, id, child, on_call_end, ended, NULL);
        if (status == DW_OK && dw__id_parse(child, &number)) {
            note_id(s, number);
        }
        break;
    case 1:
        status = dw_runtime_begin_freeze(s->runtime, id, on_call_end, ended, NULL);
        break;
    default:
        status =
            dw_runtime_begin_rewind(s->runtime, id, bodies_chance(s, 4), on_call_end, ended, NULL);
    }
    s->calls_asked += status == DW_OK;
}

static void disturb(sim *s)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw__id_text(id, any_id(s));
    switch (bodies_chance(s, 15)) {
    case 12:
    case 13:
    case 14:
        rename_one(s, id);
        break;
    case 0:
        (void)!dw_runtime_stop(s->runtime, id, NULL);
        break;
    case 1:
        (void)!dw_runtime_stop_tree(s->runtime, id, NULL, NULL);
        break;
    case 2:
    case 3:
        (void)!dw_runtime_interrupt(s->runtime, id, NULL);
        break;
    case 4:
    case 5:
        (void)!dw_runtime_cancel(s->runtime, id, 1 + bodies_chance(s, s->message_count + 1), NULL);
        break;
    case 6:
        (void)!dw_runtime_retry_mail(s->runtime, id, DW_MAIL_ALL, NULL, NULL);
        break;
    case 7:
        dw_runtime_unsubscribe(s->runtime, s->subscription);
        (void)!dw_runtime_subscribe(s->runtime, NULL, on_event, s, &s->subscription, NULL);
        break;
    default:
        call(s, id);
    }
}

/* ---- a schedule ------------------------------------------------------------------------------ */

static void run_pending(sim *s)
{
    if (s->pending_count == 0) {
        return;
    }
    size_t at = bodies_chance(s, s->pending_count);
    struct dw__operation *operation = s->pending[at];
    s->pending[at] = s->pending[--s->pending_count];
    dw__operation_run(operation);
}

/* Each watch is in both lists, and of actors that are there. */
static void check_watches(const sim *s, const dw__record *record)
{
    size_t count = 0;
    for (const dw__watch *watch = record->watches; watch != NULL; watch = watch->next) {
        const dw__watch *same = watch->watched->watchers;
        while (same != watch) {
            assert_non_null(same);
            same = same->next_watcher;
        }
        assert_ptr_equal(watch->watcher, record);
        assert_ptr_equal(dw__find(s->runtime, watch->watched->id), watch->watched);
        count++;
    }
    assert_true(count <= WATCHES_MAX && (record->listed || count == 0));
    assert_true(record->listed || record->watchers == NULL);
}

static void check_bounds(sim *s)
{
    const dw_runtime *runtime = s->runtime;
    size_t working = 0;
    assert_true(runtime->working_count <= 2 * runtime->working_max + runtime->tenant_count);
    for (const dw__record *record = runtime->all; record != NULL; record = record->after) {
        /* Each turn may watch anew what has ended, and is told at once. */
        assert_true(record->mail.count + record->aside.count <=
                    2 * record->limits->mail + 1 + 2 * WATCHES_MAX);
        check_watches(s, record);
        working += record->state == DW__WORKING;
        assert_true(!record->listed || dw__find(runtime, record->id) == record);
    }
    assert_int_equal(working, runtime->working_count);
}

static void step(sim *s)
{
    if (bodies_fails(s, 200)) {
        dw_alloc_fail_after((int64_t)bodies_chance(s, 4));
    }
    switch (bodies_chance(s, 16)) {
    case 0:
        spawn(s);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        send(s);
        break;
    case 5:
        disturb(s);
        break;
    case 6:
        s->now_ns += bodies_chance(s, 200) * 1000000;
        (void)dw__tick(s->runtime);
        break;
    case 7:
    case 8:
    case 9:
        run_pending(s);
        break;
    default:
        go_on(s);
    }
    dw_alloc_fail_after(-1);
}

/* Nobody asks for more, and nothing fails. */
static void come_to_rest(sim *s)
{
    s->calm = true;
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t due_ns = dw__tick(s->runtime);
        if (s->pending_count > 0) {
            run_pending(s);
        } else if (any_working(s) != NULL) {
            go_on(s);
        } else if (due_ns != UINT64_MAX) {
            s->now_ns = due_ns > s->now_ns ? due_ns : s->now_ns;
        } else {
            assert_int_equal(s->runtime->busy_count, 0);
            return;
        }
    }
    fail_msg("it does not come to rest");
}

static void check_messages(sim *s)
{
    unsigned lost = 0;
    for (uint64_t i = 1; i <= s->message_count; i++) {
        const sim_message *message = &s->messages[i];
        if (message->outside) {
            assert_int_equal(message->ends, 1);
            assert_true(message->delivered <= 1 && message->done <= 1);
            assert_true(message->status != DW_OK || message->done == 1);
        } else {
            assert_true(message->accepted || message->delivered == 0);
            lost += message->accepted && message->delivered == 0 &&
                    dw__find(s->runtime, message->to) != NULL;
        }
    }
    /* Each was told, or where memory was short is counted. */
    assert_true(lost <= s->problems + s->runtime->counts.lost_events);
    assert_int_equal(s->spawns_asked, s->spawns_ended);
    assert_int_equal(s->calls_asked, s->calls_ended);
}

/* Who has a name is found by it; who is in a group is listed there, once. */
static void check_names(sim *s)
{
    for (const dw__record *record = s->runtime->all; record != NULL; record = record->after) {
        const dw__tenant *tenant = record->tenant;
        assert_true(record->name == NULL ||
                    dw__find_name(s->runtime, tenant, dw__name_of(record)) == record);
        for (size_t i = 0; i < record->group_count; i++) {
            dw__record *members[64];
            unsigned found = 0;
            size_t count =
                dw__group_members(s->runtime, tenant, dw__group_at(record, i), members, 64);
            for (size_t k = 0; k < count; k++) {
                found += members[k] == record;
            }
            assert_int_equal(found, 1);
        }
    }
}

static void open_sim(sim *s, uint64_t seed, size_t working_max)
{
    dw_error error;
    dw__platform own = bodies_platform;
    const dw_limits limits = {.struct_bytes = sizeof limits,
                              .actors = 40,
                              .descendants = 12,
                              .generations = 5,
                              .caused_messages = 60,
                              .spawns = 3};
    const dw_runtime_options options = {.struct_bytes = sizeof options,
                                        .on_problem = on_problem,
                                        .user = s,
                                        .working_max = (uint32_t)working_max,
                                        .limits = &limits};
    const dw_tenant_options tenant = {
        .struct_bytes = sizeof tenant, .weight = 300, .capabilities = DW_MAY_ALL};
    memset(s, 0, sizeof *s);
    s->random = seed;
    own.user = s;
    assert_int_equal(dw__runtime_create(&s->runtime, &own, &options, &error), DW_OK);
    assert_int_equal(dw_runtime_set_tenant(s->runtime, "b", &tenant, &error), DW_OK);
}

static void close_sim(sim *s)
{
    dw__runtime_begin_close(s->runtime);
    for (unsigned i = 0; !dw__runtime_is_gone(s->runtime); i++) {
        assert_true(i < 100000);
        (void)dw__tick(s->runtime);
        run_pending(s);
        sim_body *body = any_working(s);
        if (body != NULL) {
            end_work(s, body);
        }
    }
    dw__runtime_free(s->runtime);
    assert_int_equal(s->alive, 0);
    assert_int_equal(s->seeds, 0);
    assert_int_equal(s->modules, 0);
}

static void run_schedule(uint64_t seed)
{
    static sim s;
    open_sim(&s, seed, 1 + seed % 7);
    for (unsigned i = 0; i < STEPS; i++) {
        step(&s);
        check_bounds(&s);
    }
    if (seed % 3 != 0) { /* others are closed in the middle of it */
        come_to_rest(&s);
        check_messages(&s);
        check_names(&s);
    }
    close_sim(&s);
    for (uint64_t i = 1; i <= s.message_count; i++) {
        assert_true(!s.messages[i].outside || s.messages[i].ends == 1);
    }
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void test_runtime_simulation(void **state)
{
    uint64_t seed = number_of("DW_SIMULATION_SEED", 0);
    uint64_t rounds = number_of("DW_SIMULATION_ROUNDS", ROUNDS);
    (void)state;
    if (seed != 0) {
        run_schedule(seed);
        return;
    }
    for (uint64_t i = 1; i <= rounds; i++) {
        if (getenv("DW_SIMULATION_TRACE") != NULL) {
            (void)fprintf(stderr, "seed %" PRIu64 "\n", i);
        }
        run_schedule(i);
    }
}

/* ---- fairness -------------------------------------------------------------------------------- */

/* An actor of the tenant and priority that always has mail; its turns are counted by `class`. */
static void add_busy(sim *s, const char *tenant, dw_priority priority, char id[17])
{
    dw_error error;
    sim_seed *seed = bodies_make_seed(s);
    seed->limits.mail = 1000;
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .tenant = tenant, .priority = priority};
    assert_int_equal(dw__spawn_from_seed(s->runtime, seed, NULL, &options, id, &error), DW_OK);
    bodies_seed_unref(s, seed);
    while (s->pending_count > 0) {
        run_pending(s);
    }
}

static unsigned done_by(sim *s, const char *id)
{
    dw_runtime_actor_info info = {.struct_bytes = sizeof info};
    assert_int_equal(dw_runtime_get_actor_info(s->runtime, id, &info, NULL), DW_OK);
    return (unsigned)info.done;
}

static void test_runtime_turns_go_by_weight(void **state)
{
    static sim s;
    char ids[6][DW_ACTOR_ID_CHARS + 1];
    (void)state;
    open_sim(&s, 1, 1);
    s.calm = true;
    add_busy(&s, "", DW_PRIORITY_NORMAL, ids[0]); /* weight 100 */
    add_busy(&s, "b", DW_PRIORITY_HIGH, ids[1]);  /* weight 300, 16 to 4 to 1 */
    add_busy(&s, "b", DW_PRIORITY_NORMAL, ids[2]);
    add_busy(&s, "b", DW_PRIORITY_LOW, ids[3]);
    add_busy(&s, "", DW_PRIORITY_NORMAL, ids[4]);
    add_busy(&s, "", DW_PRIORITY_NORMAL, ids[5]);
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned k = 0; k < 800; k++) {
            uint64_t message = new_message(&s, 1, true);
            const dw_request request = {.struct_bytes = sizeof request,
                                        .message = &message,
                                        .message_bytes = sizeof message};
            assert_int_equal(dw_runtime_send(s.runtime, ids[i], &request, NULL, NULL), DW_OK);
        }
    }
    for (unsigned turn = 0; turn < 840; turn++) {
        end_work(&s, any_working(&s));
    }
    unsigned b = done_by(&s, ids[1]) + done_by(&s, ids[2]) + done_by(&s, ids[3]);
    assert_in_range(b, 628, 632);                   /* 3 in 4 of 840 */
    assert_in_range(done_by(&s, ids[1]), 478, 482); /* 16 in 21 of 630 */
    assert_in_range(done_by(&s, ids[2]), 118, 122);
    assert_in_range(done_by(&s, ids[3]), 28, 32);
    for (unsigned i = 0; i < 6; i += i == 0 ? 4 : 1) {
        assert_in_range(done_by(&s, ids[i]), 69, 71);
    }
    close_sim(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runtime_simulation),
        cmocka_unit_test(test_runtime_turns_go_by_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
