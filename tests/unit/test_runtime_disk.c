/* The runtime's bookkeeping of actors in a folder, on a virtual clock: with bodies that do what
 * chance says, and a disk that is full now and then, is slow, and outlives kills of the process.
 * DW_SIMULATION_SEED=N runs one schedule alone, DW_SIMULATION_ROUNDS=N so many.
 *
 * Held to: what was told as done is in its actor's state once, what was told as failed is not; what
 * one actor sent to another is worked on once or set aside, whatever fails; so is what a watch
 * brings, and none is of an actor that is no more; an actor has one body;
 * all comes to rest; nothing is left behind. A process that is killed is one for which the disk
 * takes nothing from there on. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime_disk.h"
#include "support.h"

#define ROUNDS 400
#define STEPS 700

/* ---- the platform ---------------------------------------------------------------------------- */

static uint64_t p_clock(void *user)
{
    return ((sim *)user)->now_ns;
}

static uint64_t p_wall(void *user)
{
    return sim_wall_ms(user);
}

static void p_random(void *user, void *to, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((unsigned char *)to)[i] = (unsigned char)sim_chance(user, 256);
    }
}

static void p_submit(void *user, struct dw__operation *operation)
{
    sim *s = user;
    assert_true(s->pending_count < SIM_PENDING_MAX);
    s->pending[s->pending_count++] = operation;
}

static void p_wake(void *user, uint64_t due_ns)
{
    (void)user;
    (void)due_ns;
}

static void *p_seed_ref(void *user, void *seed)
{
    (void)user;
    ((sim_seed *)seed)->references++;
    return seed;
}

static void p_seed_unref(void *user, void *seed)
{
    sim_seed *own = seed;
    assert_true(own->references > 0);
    if (--own->references == 0) {
        ((sim *)user)->seeds--;
        free(own);
    }
}

static const dw_limits *p_seed_limits(void *user, void *seed)
{
    (void)user;
    return &((sim_seed *)seed)->limits;
}

static dw_status p_seed_of_guest(void *user, void **out, void *seed, const char *name,
                                 dw_error *err)
{
    (void)seed;
    (void)name;
    (void)err;
    *out = sim_make_seed(user);
    return DW_OK;
}

static dw_status new_body(sim *s, void **out, dw__record *record, uint64_t id,
                          const sim_state *state, dw_error *err)
{
    size_t slot = 0;
    *out = NULL;
    if (sim_fails(s, 30)) {
        return dw_fail(err, DW_E_MEMORY, "as chance has it");
    }
    for (size_t i = 0; i < SIM_BODIES_MAX; i++) { /* while one works there is no other */
        assert_false(s->bodies[i].alive && s->bodies[i].id == id && s->bodies[i].working);
    }
    while (s->bodies[slot].alive) {
        slot++;
        assert_true(slot < SIM_BODIES_MAX);
    }
    s->bodies[slot] = (sim_body){.record = record, .id = id, .alive = true};
    if (state != NULL) {
        s->bodies[slot].state = *state;
    }
    s->alive++;
    *out = &s->bodies[slot];
    return DW_OK;
}

static dw_status p_spawn(void *user, void **out, void *seed, dw__record *record, uint64_t id,
                         dw_error *err)
{
    (void)seed;
    return new_body(user, out, record, id, NULL, err);
}

static dw_status p_adopt(void *user, void **out, void *given, dw__record *record, uint64_t id,
                         dw_error *err)
{
    dw_status status = new_body(user, out, record, id, given, err);
    free(given);
    return status;
}

/* Of a module that nobody looks at. */
static dw_status p_upgrade(void *user, void **out, void *before, void *module, dw__record *record,
                           dw_error *err)
{
    const sim_body *from = before;
    (void)module;
    assert_true(from->alive && !from->working && !from->broken);
    return new_body(user, out, record, from->id, &from->state, err);
}

static dw_status p_seed_of_module(void *user, void **out, void *seed, void *module, dw_error *err)
{
    (void)seed;
    (void)module;
    *out = NULL;
    if (sim_fails(user, 20)) {
        return dw_fail(err, DW_E_MEMORY, "as chance has it");
    }
    *out = sim_make_seed(user);
    return DW_OK;
}

static void *p_module_ref(void *user, void *module)
{
    ((sim *)user)->modules++;
    return module;
}

static void p_module_unref(void *user, void *module)
{
    (void)module;
    assert_true(((sim *)user)->modules-- > 0);
}

static void p_replaces(void *user, void *of, void *before)
{
    sim_body *body = of;
    const sim_body *from = before;
    (void)user;
    if (body->state.effects < from->state.effects) {
        body->state.effects = from->state.effects;
    }
}

static dw_status p_fork(void *user, void **out, void *parent, dw__record *record, uint64_t id,
                        dw_error *err)
{
    const sim_body *from = parent;
    assert_true(from->alive && !from->working && !from->broken);
    return new_body(user, out, record, id, NULL, err); /* one that has done nothing */
}

static void p_destroy(void *user, void *of)
{
    sim_body *body = of;
    if (body != NULL) {
        assert_true(body->alive && !body->working);
        body->alive = false;
        ((sim *)user)->alive--;
    }
}

static void p_park(void *user, void *of)
{
    sim_set_logs(user, ((const sim_body *)of)->id, true);
    p_destroy(user, of);
}

static dw_status p_receive(void *user, void *of, dw__record *record, const dw__delivery *delivery,
                           dw_error *err)
{
    sim *s = user;
    sim_body *body = of;
    assert_true(body->alive && !body->working && !body->broken && body->record == record);
    if (sim_fails(s, 60)) {
        return dw_fail(err, sim_chance(s, 2) == 0 ? DW_E_MEMORY : DW_E_LIMIT, "as chance has it");
    }
    body->message = body->cause = body->caused = 0;
    if (delivery != NULL) {
        memcpy(&body->message, delivery->content, sizeof body->message);
        body->cause = delivery->cause;
        body->caused = delivery->caused;
    } else {
        assert_true(body->state.inside > 0);
        body->state.inside--;
    }
    body->working = true;
    return DW_OK;
}

static void p_cancel(void *user, void *of, bool at_once)
{
    (void)user;
    ((sim_body *)of)->ends = ((sim_body *)of)->ends || at_once;
}

static bool p_is_broken(void *user, void *of)
{
    (void)user;
    return ((const sim_body *)of)->broken;
}

static bool p_effect_at(void *user, void *of, size_t index, dw__asked *asked)
{
    sim_body *body = of;
    (void)user;
    if (index >= body->committed) {
        return false;
    }
    *asked = body->asks[index];
    asked->message = &body->contents[index];
    asked->bytes = sizeof body->contents[index];
    return true;
}

static void p_drop_effects(void *user, void *of)
{
    (void)user;
    ((sim_body *)of)->ask_count = ((sim_body *)of)->committed = 0;
}

static uint64_t p_timer_ms(void *user, void *of)
{
    (void)user;
    return ((const sim_body *)of)->state.timer_ms;
}

static void p_fire_timers(void *user, void *of, uint64_t now_ms)
{
    sim_body *body = of;
    (void)user;
    if (body->state.timer_ms != 0 && body->state.timer_ms <= now_ms) {
        body->state.timer_ms = 0;
        body->state.inside++;
    }
}

static size_t p_waiting(void *user, void *of)
{
    (void)user;
    return ((const sim_body *)of)->state.inside;
}

static struct dw_message *p_take_inside(void *user, void *of)
{
    sim_body *body = of;
    dw_message *message = dw_alloc(1, sizeof *message);
    (void)user;
    body->state.inside -= body->state.inside > 0;
    return message;
}

static void p_worked_on(void *user, void *of, uint64_t *received, uint64_t *inside)
{
    const sim_body *body = of;
    (void)user;
    *received = body->state.received;
    *inside = body->state.inside + (body->state.timer_ms != 0);
}

static void p_usage(void *user, void *of, dw__usage *usage)
{
    (void)user;
    (void)of;
    *usage = (dw__usage){.memory_bytes = 1};
}

static const dw__platform platform = {.clock_ns = p_clock,
                                      .wall_ms = p_wall,
                                      .random = p_random,
                                      .submit = p_submit,
                                      .wake = p_wake,
                                      .seed_ref = p_seed_ref,
                                      .seed_unref = p_seed_unref,
                                      .seed_limits = p_seed_limits,
                                      .seed_of_guest = p_seed_of_guest,
                                      .spawn = p_spawn,
                                      .adopt = p_adopt,
                                      .fork = p_fork,
                                      .upgrade = p_upgrade,
                                      .seed_of_module = p_seed_of_module,
                                      .module_ref = p_module_ref,
                                      .module_unref = p_module_unref,
                                      .replaces = p_replaces,
                                      .destroy = p_destroy,
                                      .park = p_park,
                                      .receive = p_receive,
                                      .cancel = p_cancel,
                                      .is_broken = p_is_broken,
                                      .effect_at = p_effect_at,
                                      .drop_effects = p_drop_effects,
                                      .timer_ms = p_timer_ms,
                                      .fire_timers = p_fire_timers,
                                      .waiting = p_waiting,
                                      .take_inside = p_take_inside,
                                      .worked_on = p_worked_on,
                                      .usage = p_usage};

/* ---- what bodies do -------------------------------------------------------------------------- */

static uint64_t any_id(sim *s)
{
    for (unsigned i = 0; i < 40; i++) {
        const sim_row *row = &s->rows[sim_chance(s, SIM_ROWS_MAX)];
        if (row->used) {
            return row->id;
        }
    }
    return sim_chance(s, 0);
}

static uint64_t new_message(sim *s, uint64_t to, bool outside)
{
    if (s->message_count + 1 >= SIM_MESSAGES_MAX) {
        return 0;
    }
    s->messages[++s->message_count] = (sim_message){.to = to, .outside = outside};
    return s->message_count;
}

/* Of what goes by names or groups; NULL: it does not. */
static const char *address(sim *s, dw_effect_kind kind)
{
    static const char *const groups[SIM_GROUPS] = {"#g0", "#g1", "#g2"};
    static const char *const names[SIM_NAMES] = {"@n0", "@n1", "@n2", "@n3"};
    if (kind == DW_EFFECT_JOIN || kind == DW_EFFECT_LEAVE) {
        return groups[sim_chance(s, SIM_GROUPS)] + 1;
    }
    if (kind != DW_EFFECT_SEND || sim_chance(s, 2) == 0) {
        return NULL;
    }
    return sim_chance(s, 2) == 0 ? groups[sim_chance(s, SIM_GROUPS)]
                                 : names[sim_chance(s, SIM_NAMES)];
}

/* Of one that is there, that was, or that this very turn is to make. */
static void ask_watch(sim *s, sim_body *body)
{
    dw_error error;
    const bool sets = sim_chance(s, 5) != 0;
    uint64_t whom = any_id(s);
    size_t watched = 0;
    bool own = false;
    for (size_t i = 0; i < body->ask_count; i++) {
        const dw__asked *asked = &body->asks[i];
        if (asked->kind == DW_EFFECT_SPAWN || asked->kind == DW_EFFECT_FORK) {
            own = sim_chance(s, 2) == 0;
            whom = own ? asked->actor : whom;
        }
        watched += asked->kind == DW_EFFECT_WATCH;
    }
    dw__wish wish = {.kind = sets ? DW_EFFECT_WATCH : DW_EFFECT_UNWATCH,
                     .actor = whom,
                     .watched = watched,
                     .own = own,
                     .cause = &body->cause,
                     .caused = body->caused};
    if (body->ask_count == SIM_ASKS_MAX ||
        dw__admit(s->runtime, body->record, &wish, &error) != DW_OK) {
        return;
    }
    body->asks[body->ask_count++] = (dw__asked){.kind = (dw_effect_kind)wish.kind,
                                                .actor = wish.found,
                                                .guest = "",
                                                .events = (uint32_t)sim_chance(s, 4),
                                                .cause = wish.new_cause,
                                                .caused = wish.new_caused};
}

static void ask(sim *s, sim_body *body)
{
    static const dw_effect_kind kinds[] = {DW_EFFECT_SEND,  DW_EFFECT_SEND, DW_EFFECT_SEND,
                                           DW_EFFECT_SPAWN, DW_EFFECT_FORK, DW_EFFECT_STOP,
                                           DW_EFFECT_JOIN,  DW_EFFECT_LEAVE};
    dw_error error;
    dw_effect_kind kind = kinds[sim_chance(s, 8)];
    size_t made = 0;
    if (sim_chance(s, 3) == 0) {
        ask_watch(s, body);
        return;
    }
    if (body->ask_count == SIM_ASKS_MAX || (kind == DW_EFFECT_STOP && sim_chance(s, 20) != 0)) {
        return;
    }
    for (size_t i = 0; i < body->ask_count; i++) {
        made += body->asks[i].kind == DW_EFFECT_SPAWN || body->asks[i].kind == DW_EFFECT_FORK;
    }
    uint64_t to = kind == DW_EFFECT_SEND ? any_id(s) : sim_chance(s, 0);
    const char *named = address(s, kind);
    uint64_t message = new_message(s, to, false);
    s->messages[message].named = named != NULL;
    dw__wish wish = {.kind = (int)kind,
                     .actor = to,
                     .to = named,
                     .bytes = sizeof message,
                     .made = made,
                     .cause = &body->cause,
                     .caused = body->caused};
    if (message == 0 || dw__admit(s->runtime, body->record, &wish, &error) != DW_OK) {
        return;
    }
    body->contents[body->ask_count] = message;
    body->asks[body->ask_count++] = (dw__asked){.kind = kind,
                                                .actor = to,
                                                .guest = named != NULL            ? named
                                                         : kind == DW_EFFECT_SEND ? ""
                                                         : sim_chance(s, 2) == 0  ? "other"
                                                                                  : "",
                                                .cause = wish.new_cause,
                                                .caused = wish.new_caused};
}

static bool has_done(const sim_state *state, uint64_t message)
{
    return (state->done[message / 64] >> (message % 64) & 1) != 0;
}

static void end_work(sim *s, sim_body *body)
{
    dw_error error = {.message = "as chance has it"};
    dw_status status = DW_OK;
    if (body->ends && sim_chance(s, 8) != 0) { /* or it was too late to end it */
        status = DW_E_CANCELLED;
    } else if (sim_fails(s, 8)) {
        status = DW_E_TRAP;
    } else if (sim_fails(s, 20)) {
        status = DW_E_ARG; /* its answer; it lives on */
    }
    body->working = false;
    body->broken = status == DW_E_CANCELLED || status == DW_E_TRAP;
    if (!body->broken) {
        for (; body->committed < body->ask_count; body->committed++) {
            body->asks[body->committed].number = ++body->state.effects;
        }
        body->state.received++;
        if (body->message != 0) { /* never twice */
            assert_false(has_done(&body->state, body->message));
            body->state.done[body->message / 64] |= UINT64_C(1) << (body->message % 64);
        }
    }
    error.code = status;
    dw__worked(s->runtime, body->record, status, &error);
}

static sim_body *any_working(sim *s)
{
    size_t from = sim_chance(s, SIM_BODIES_MAX);
    for (size_t i = 0; i < SIM_BODIES_MAX; i++) {
        sim_body *body = &s->bodies[(from + i) % SIM_BODIES_MAX];
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
    switch (s->calm ? 9 : sim_chance(s, 8)) {
    case 0:
    case 1:
    case 3:
        ask(s, body);
        break;
    case 2:
        if (body->state.timer_ms == 0) {
            body->state.timer_ms = p_wall(s) + 1 + sim_chance(s, 3000);
        }
        break;
    default:
        end_work(s, body);
    }
}

/* ---- from outside ---------------------------------------------------------------------------- */

static void on_end(void *user, const dw_runtime_end *end)
{
    sim_message *message = user;
    assert_int_equal(message->ends++, 0);
    message->status = end->status;
}

static void on_problem(void *user, const char *id, const dw_error *problem)
{
    (void)user;
    (void)id;
    assert_true(problem->code != DW_OK && problem->message[0] != '\0');
}

static size_t row_count(const sim *s)
{
    size_t count = 0;
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        count += s->rows[i].used;
    }
    return count;
}

static const char *any_name(sim *s)
{
    static const char *const names[SIM_NAMES] = {"n0", "n1", "n2", "n3"};
    return names[sim_chance(s, SIM_NAMES)];
}

static void spawn(sim *s)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error;
    sim_seed *seed = sim_make_seed(s);
    const dw_spawn_options options = {.struct_bytes = sizeof options,
                                      .name = sim_chance(s, 3) == 0 ? any_name(s) : NULL,
                                      .capabilities = DW_MAY_ALL,
                                      .supervision = (dw_supervision)(sim_chance(s, 6) == 0),
                                      .failures_max = (uint32_t)sim_chance(s, 4)};
    (void)!dw__spawn_from_seed(s->runtime, seed, NULL, &options, id, &error);
    p_seed_unref(s, seed);
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
                                .timeout_ms = sim_chance(s, 6) == 0 ? 1 + sim_chance(s, 300) : 0,
                                .on_end = on_end,
                                .user = &s->messages[message]};
    if (message != 0 && dw_runtime_send(s->runtime, id, &request, NULL, &error) != DW_OK) {
        s->messages[message].ends = 1; /* told at once, and no other way */
        s->messages[message].status = error.code;
    }
}

/* Nobody waits for what these come to. */
static void send_named(sim *s)
{
    static const char *const to[] = {"@n0", "@n1", "@n2", "@n3", "#g0", "#g1", "#g2"};
    const char *whom = to[sim_chance(s, 7)];
    uint64_t message = new_message(s, 0, true);
    const dw_request request = {
        .struct_bytes = sizeof request, .message = &message, .message_bytes = sizeof message};
    if (message == 0) {
        return;
    }
    s->messages[message].named = s->messages[message].unknown = true;
    s->messages[message].ends = 1;
    if (whom[0] == '#') {
        (void)!dw_runtime_send_group(s->runtime, whom, &request, NULL, NULL);
    } else {
        (void)!dw_runtime_send(s->runtime, whom, &request, NULL, NULL);
    }
}

static void rename_one(sim *s)
{
    static const char *const groups[SIM_GROUPS] = {"g0", "g1", "g2"};
    char id[DW_ACTOR_ID_CHARS + 1];
    const char *group = groups[sim_chance(s, SIM_GROUPS)];
    dw__id_text(id, any_id(s));
    switch (sim_chance(s, 5)) {
    case 0:
        (void)!dw_runtime_join(s->runtime, id, group, NULL);
        break;
    case 1:
        (void)!dw_runtime_quit(s->runtime, id, group, NULL);
        break;
    case 2:
        (void)!dw_runtime_set_name(s->runtime, id, NULL, NULL);
        break;
    case 3:
        (void)!dw_runtime_set_name(s->runtime, id, any_name(s), NULL);
        break;
    default:
        send_named(s);
    }
}

static void call(sim *s)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    char child[DW_ACTOR_ID_CHARS + 1];
    static char module[1];
    bool pinned = sim_chance(s, 3) == 0;
    dw__id_text(id, any_id(s));
    switch (sim_chance(s, 12)) {
    case 6:
    case 7:
        (void)!dw_runtime_begin_rewind(s->runtime, id, sim_chance(s, 6), NULL, NULL, NULL);
        break;
    case 8:
        (void)!dw_runtime_begin_upgrade(s->runtime, id, (dw_module *)(void *)module, NULL, NULL,
                                        NULL);
        break;
    case 9:
        (void)!dw_runtime_begin_park(s->runtime, id, NULL, NULL, NULL);
        break;
    case 10:
        if (sim_chance(s, 6) == 0) {
            (void)!dw_runtime_stop_tree(s->runtime, id, NULL, NULL);
        }
        break;
    case 11:
        (void)!dw_runtime_set_pinned(s->runtime, id, pinned, NULL);
        (void)!dw_runtime_set_priority(s->runtime, id, (dw_priority)sim_chance(s, 3), NULL);
        break;
    case 0:
        (void)!dw_runtime_begin_fork(s->runtime, id, child, NULL, NULL, NULL);
        break;
    case 1:
    case 2:
        (void)!dw_runtime_begin_freeze(s->runtime, id, NULL, NULL, NULL);
        break;
    case 3:
        (void)!dw_runtime_interrupt(s->runtime, id, NULL);
        break;
    default:
        if (sim_chance(s, 3) == 0) {
            (void)!dw_runtime_stop(s->runtime, id, NULL);
        }
    }
}

/* ---- the process ----------------------------------------------------------------------------- */

static void open_process(sim *s)
{
    dw_error error;
    dw__platform own = platform;
    static const uint32_t idle[] = {0, 1, DW_PARK_NEVER}; /* at rest they are in memory or not */
    const dw_limits limits = {.struct_bytes = sizeof limits,
                              .actors = 40,
                              .descendants = 12,
                              .generations = 5,
                              .caused_messages = 60,
                              .spawns = 3};
    const dw_runtime_options options = {.struct_bytes = sizeof options,
                                        .on_problem = on_problem,
                                        .user = s,
                                        .working_max = 1 + (uint32_t)sim_chance(s, 6),
                                        .durability = s->durability,
                                        .durability_s = s->durability == DW_DURABLE_SECONDS,
                                        .park_idle_s = idle[sim_chance(s, 3)],
                                        .limits = &limits};
    own.user = s;
    s->keeper = sim_keeper;
    s->keeper.user = s;
    s->killed = false;
    for (size_t i = 0; i < SIM_MARKS_MAX; i++) { /* attempts in which the last one ended */
        sim_mail *mail =
            s->marks[i].id != 0 && s->marks[i].work.kind == DW_ATTEMPTED_MESSAGE
                ? sim_find_mail(sim_find_row(s, s->marks[i].id), s->marks[i].work.number)
                : NULL;
        if (mail != NULL) {
            mail->attempts++;
        }
        s->marks[i] = (sim_mark){.id = 0};
    }
    s->file_count = 0;
    s->log_count = 0;
    assert_int_equal(dw__runtime_create(&s->runtime, &own, &options, &error), DW_OK);
    assert_int_equal(dw__runtime_keep(s->runtime, &s->keeper, &error), DW_OK);
    dw__runtime_count(s->runtime, "", row_count(s));
    dw__runtime_begin_scan(s->runtime);
}

static void run_pending(sim *s)
{
    if (s->pending_count > 0) {
        size_t at = sim_chance(s, s->pending_count);
        struct dw__operation *operation = s->pending[at];
        s->pending[at] = s->pending[--s->pending_count];
        dw__operation_run(operation);
    }
}

/* `killed`: the disk has taken nothing since, and nobody was told of anything. */
static void close_process(sim *s, bool killed)
{
    bool before[SIM_MESSAGES_MAX] = {false}; /* also of what comes while it closes */
    for (uint64_t i = 1; i <= s->message_count; i++) {
        before[i] = s->messages[i].ends > 0;
    }
    s->killed = killed;
    dw__runtime_begin_close(s->runtime);
    for (unsigned i = 0; !dw__runtime_is_gone(s->runtime); i++) {
        assert_true(i < 100000);
        (void)dw__tick(s->runtime);
        sim_run_journal(s);
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
    for (uint64_t i = 1; i <= s->message_count; i++) {
        sim_message *message = &s->messages[i];
        assert_true(!message->outside || message->ends == 1);
        message->unknown = message->unknown || !before[i];
    }
}

static void come_to_rest(sim *s)
{
    s->calm = true;
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t due_ns = dw__tick(s->runtime);
        if (s->queue_count > 0) {
            sim_run_journal(s);
        } else if (s->pending_count > 0) {
            run_pending(s);
        } else if (any_working(s) != NULL) {
            go_on(s);
        } else if (due_ns != UINT64_MAX) {
            s->now_ns = due_ns > s->now_ns ? due_ns : s->now_ns;
        } else {
            assert_int_equal(s->runtime->busy_count, 0);
            assert_int_equal(s->runtime->in_flight, 0);
            return;
        }
    }
    fail_msg("it does not come to rest");
}

/* ---- what is held to ------------------------------------------------------------------------- */

static unsigned places_of(const sim_row *row, uint64_t message)
{
    unsigned places = has_done(&row->state, message);
    for (size_t i = 0; i < row->mail_count; i++) {
        places += row->mail[i].content == message;
    }
    return places;
}

/* Of a message by name or to a group: whoever got it has it once, and nobody else. */
static void check_named(sim *s, uint64_t message)
{
    const sim_message *of = &s->messages[message];
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        unsigned got = 0;
        const sim_row *row = &s->rows[i];
        for (size_t k = 0; k < of->receiver_count; k++) {
            got += of->receivers[k] == row->id;
        }
        if (row->used && !of->outside && !of->rewound) {
            assert_in_range(got, 0, 1);
            assert_int_equal(places_of(row, message), got);
        } else if (row->used) {
            assert_in_range(places_of(row, message), 0, 1);
        }
    }
}

/* Nothing is at work: who has a name is found by it, and who is in memory knows what the disk has
 * of it. */
static void check_names(sim *s)
{
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        char id[DW_ACTOR_ID_CHARS + 1];
        const sim_row *row = &s->rows[i];
        const dw__record *record = row->used ? dw__find(s->runtime, row->id) : NULL;
        if (row->used && row->name[0] != '\0') {
            assert_int_equal(dw_runtime_find(s->runtime, "", row->name, id, NULL), DW_OK);
            assert_int_equal(sim_id(id), row->id);
        }
        if (record != NULL && record->names_known) {
            unsigned groups = 0;
            assert_string_equal(dw__name_of(record), row->name);
            for (size_t k = 0; k < record->group_count; k++) {
                groups |= 1u << (dw__group_at(record, k)[1] - '0');
            }
            assert_int_equal(groups, row->groups);
        }
    }
}

/* Nobody comes for those of one that is gone. */
static void check_logs(sim *s)
{
    for (size_t i = 0; i < s->log_count; i++) {
        assert_non_null(sim_find_row(s, s->logs[i]));
    }
}

/* Nothing is at work, and all is written. */
static void check(sim *s)
{
    for (uint64_t i = 1; i <= s->message_count; i++) {
        const sim_message *message = &s->messages[i];
        if (message->named) {
            check_named(s, i);
            continue;
        }
        const sim_row *row = sim_find_row(s, message->to);
        if (row == NULL) {
            continue;
        }
        unsigned places = places_of(row, i);
        assert_in_range(places, 0, 1);
        if (message->rewound) {
            continue;
        }
        if (!message->outside) {
            assert_int_equal(places, message->accepted);
        } else if (!message->unknown && message->status == DW_OK) {
            /* Done again, where it was not written, it may fail, and is kept. */
            assert_int_equal(s->durability == DW_DURABLE_EACH ? has_done(&row->state, i) : places,
                             1);
        } else if (!message->unknown && message->status != DW_E_LIMIT &&
                   message->status != DW_E_ARG && message->status != DW_E_CANCELLED) {
            assert_int_equal(places, 0);
        }
    }
    for (size_t i = 0; i < SIM_ROWS_MAX; i++) {
        assert_true(!s->rows[i].used || sim_waiting(&s->rows[i]) == 0);
        for (size_t k = 0; s->rows[i].used && k < SIM_WATCHES_MAX; k++) { /* else it was told */
            uint64_t watched = s->rows[i].watches[k].watched;
            assert_true(watched == 0 || sim_find_row(s, watched) != NULL);
        }
    }
}

static void step(sim *s)
{
    switch (sim_chance(s, 21)) {
    case 20:
        rename_one(s);
        break;
    case 0:
        if (row_count(s) + 8 < SIM_ROWS_MAX / 2) {
            spawn(s);
        }
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        send(s);
        break;
    case 5:
        call(s);
        break;
    case 6:
        s->now_ns += sim_chance(s, 200) * 1000000;
        break;
    case 7:
    case 8:
    case 9:
        (void)dw__tick(s->runtime);
        break;
    case 10:
    case 11:
    case 12:
        sim_run_journal(s);
        break;
    case 13:
    case 14:
    case 15:
        run_pending(s);
        break;
    default:
        go_on(s);
    }
}

static void run_schedule(uint64_t seed)
{
    static sim s;
    static const dw_durability policies[] = {DW_DURABLE_EACH, DW_DURABLE_PARK, DW_DURABLE_SECONDS};
    memset(&s, 0, sizeof s);
    s.random = seed;
    s.durability = policies[seed % 3];
    open_process(&s);
    for (unsigned i = 0; i < STEPS; i++) {
        step(&s);
        if (sim_fails(&s, 150)) {
            close_process(&s, sim_chance(&s, 3) != 0);
            open_process(&s);
        }
    }
    come_to_rest(&s);
    check_names(&s);
    check_logs(&s);
    close_process(&s, false);
    check(&s);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/* Seeds that failed once. 937: an actor that was to draw anew was written while the process closed,
 * with a message in it whose own turn had failed, and which was done again. */
static const uint64_t failed_once[] = {937};

static void test_runtime_disk(void **state)
{
    uint64_t seed = number_of("DW_SIMULATION_SEED", 0);
    uint64_t rounds = number_of("DW_SIMULATION_ROUNDS", ROUNDS);
    (void)state;
    if (seed != 0) {
        run_schedule(seed);
        return;
    }
    for (size_t i = 0; i < sizeof failed_once / sizeof failed_once[0]; i++) {
        run_schedule(failed_once[i]);
    }
    for (uint64_t i = 1; i <= rounds; i++) {
        if (getenv("DW_SIMULATION_TRACE") != NULL) {
            (void)fprintf(stderr, "seed %" PRIu64 "\n", i);
        }
        run_schedule(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_runtime_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
