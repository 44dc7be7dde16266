#include "runtime_bodies.h"

#include <stdlib.h>
#include <string.h>

#include "driftwood_abi.h"
#include "support.h"

uint64_t bodies_chance(sim *s, uint64_t below)
{
    uint64_t z = support_random(&s->random);
    return below == 0 ? z : z % below;
}

bool bodies_fails(sim *s, uint64_t one_in)
{
    return !s->calm && bodies_chance(s, one_in) == 0;
}

/* ---- the platform ---------------------------------------------------------------------------- */

static uint64_t sim_clock(void *user)
{
    return ((sim *)user)->now_ns;
}

uint64_t bodies_wall_ms(void *user)
{
    return UINT64_C(1700000000000) + ((sim *)user)->now_ns / 1000000;
}

static void sim_random(void *user, void *to, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((unsigned char *)to)[i] = (unsigned char)bodies_chance(user, 256);
    }
}

static void sim_submit(void *user, struct dw__operation *operation)
{
    sim *s = user;
    assert_true(s->pending_count < PENDING_MAX);
    s->pending[s->pending_count++] = operation;
}

static void sim_wake(void *user, uint64_t due_ns)
{
    (void)user;
    (void)due_ns;
}

static void *sim_seed_ref(void *user, void *seed)
{
    (void)user;
    ((sim_seed *)seed)->references++;
    return seed;
}

void bodies_seed_unref(void *user, void *seed)
{
    sim_seed *own = seed;
    assert_true(own->references > 0);
    if (--own->references == 0) {
        ((sim *)user)->seeds--;
        free(own);
    }
}

static const dw_limits *sim_seed_limits(void *user, void *seed)
{
    (void)user;
    return &((sim_seed *)seed)->limits;
}

sim_seed *bodies_make_seed(sim *s)
{
    sim_seed *seed = calloc(1, sizeof *seed);
    assert_non_null(seed);
    seed->references = 1;
    seed->limits = dw_limits_usual;
    seed->limits.mail = 6;
    seed->limits.message_bytes = DW_WATCH_MESSAGE_BYTES;
    seed->limits.watches = WATCHES_MAX;
    s->seeds++;
    return seed;
}

static dw_status sim_seed_of_guest(void *user, void **out, void *seed, const char *name,
                                   dw_error *err)
{
    sim *s = user;
    (void)seed;
    *out = NULL;
    if (bodies_fails(s, 4)) {
        return dw_fail(err, DW_E_NOT_FOUND, "no guest '%s'", name);
    }
    *out = bodies_make_seed(s);
    return DW_OK;
}

static dw_status new_body(sim *s, void **out, dw__record *record, uint64_t id, dw_error *err)
{
    *out = NULL;
    if (bodies_fails(s, 10)) {
        return dw_fail(err, bodies_chance(s, 2) == 0 ? DW_E_MEMORY : DW_E_TRAP, "as chance has it");
    }
    size_t slot = 0;
    while (slot < s->body_count && s->bodies[slot].alive) {
        slot++;
    }
    assert_true(slot < BODIES_MAX);
    s->body_count = slot == s->body_count ? slot + 1 : s->body_count;
    s->bodies[slot] = (sim_body){.sim = s, .record = record, .id = id, .alive = true};
    s->alive++;
    *out = &s->bodies[slot];
    return DW_OK;
}

static dw_status sim_spawn(void *user, void **out, void *seed, dw__record *record, uint64_t id,
                           dw_error *err)
{
    assert_true(((sim_seed *)seed)->references > 0);
    return new_body(user, out, record, id, err);
}

static dw_status sim_fork(void *user, void **out, void *parent, dw__record *record, uint64_t id,
                          dw_error *err)
{
    const sim_body *from = parent;
    assert_true(from->alive && !from->used && !from->broken && !from->ends);
    return new_body(user, out, record, id, err);
}

/* Of a module that nobody looks at; what waits inside and timers stay. */
static dw_status sim_upgrade(void *user, void **out, void *before, void *module, dw__record *record,
                             dw_error *err)
{
    const sim_body *from = before;
    (void)module;
    assert_true(from->alive && !from->used && !from->broken);
    dw_status status = new_body(user, out, record, from->id, err);
    if (status == DW_OK) {
        sim_body *made = *out;
        memcpy(made->timers, from->timers, sizeof made->timers);
        made->timer_count = from->timer_count;
        made->inside = from->inside;
    }
    return status;
}

static dw_status sim_seed_of_module(void *user, void **out, void *seed, void *module, dw_error *err)
{
    (void)seed;
    (void)module;
    (void)err;
    *out = bodies_make_seed(user);
    return DW_OK;
}

static void *sim_module_ref(void *user, void *module)
{
    ((sim *)user)->modules++;
    return module;
}

static void sim_module_unref(void *user, void *module)
{
    assert_true(module != NULL && ((sim *)user)->modules-- > 0);
}

static void sim_destroy(void *user, void *of)
{
    sim_body *body = of;
    if (body != NULL) {
        assert_true(body->alive && !body->used);
        body->alive = false;
        ((sim *)user)->alive--;
    }
}

/* It is about its sender; one that ended, or never was, is not there. */
static void take_told(sim *s, const dw__delivery *delivery)
{
    char text[DW_WATCH_MESSAGE_BYTES + 1] = "";
    char id[DW_ACTOR_ID_CHARS + 1];
    assert_true(delivery->from.is_actor && delivery->bytes < sizeof text);
    memcpy(text, delivery->content, delivery->bytes);
    dw__id_text(id, delivery->from.id);
    assert_non_null(strstr(text, id));
    bool ended = strstr(text, "\"ended\"") != NULL || strstr(text, "\"not_made\"") != NULL;
    assert_true(!ended || dw__find(s->runtime, delivery->from.id) == NULL);
    s->told++;
}

static dw_status sim_receive(void *user, void *of, dw__record *record, const dw__delivery *delivery,
                             dw_error *err)
{
    sim *s = user;
    sim_body *body = of;
    assert_true(body->alive && !body->used && !body->broken && !body->ends);
    assert_ptr_equal(body->record, record);
    if (bodies_fails(s, 50)) {
        return dw_fail(err, DW_E_MEMORY, "as chance has it");
    }
    body->message = 0;
    body->cause = body->caused = 0;
    if (delivery != NULL && delivery->kind == DW_MESSAGE_WATCH) {
        take_told(s, delivery);
        body->cause = delivery->cause;
        body->caused = delivery->caused;
    } else if (delivery != NULL) {
        assert_int_equal(body->inside, 0);
        assert_int_equal(delivery->bytes, sizeof body->message);
        memcpy(&body->message, delivery->content, sizeof body->message);
        body->cause = delivery->cause;
        body->caused = delivery->caused;
        s->messages[body->message].delivered++;
    } else {
        assert_true(body->inside > 0);
        body->inside--;
    }
    body->used = body->working = true;
    s->turns[body->id >> 61]++;
    return DW_OK;
}

static void sim_cancel(void *user, void *of, bool at_once)
{
    sim_body *body = of;
    (void)user;
    assert_true(body->alive);
    body->ends = body->ends || at_once;
}

static bool sim_is_broken(void *user, void *of)
{
    (void)user;
    return ((const sim_body *)of)->broken;
}

static bool sim_effect_at(void *user, void *of, size_t index, dw__asked *asked)
{
    sim_body *body = of;
    sim *s = user;
    if (index >= body->committed) {
        return false;
    }
    *asked = body->asks[index].asked;
    asked->message = &body->asks[index].content;
    asked->bytes = sizeof body->asks[index].content;
    if (!body->ends) { /* of one that was interrupted, or stopped, nothing counts */
        s->messages[body->asks[index].content].accepted = true;
    }
    return true;
}

static void sim_drop_effects(void *user, void *of)
{
    (void)user;
    ((sim_body *)of)->ask_count = ((sim_body *)of)->committed = 0;
}

static uint64_t sim_timer_ms(void *user, void *of)
{
    const sim_body *body = of;
    uint64_t first = 0;
    (void)user;
    for (size_t i = 0; i < body->timer_count; i++) {
        first = first == 0 || body->timers[i] < first ? body->timers[i] : first;
    }
    return first;
}

static void sim_fire_timers(void *user, void *of, uint64_t now_ms)
{
    sim_body *body = of;
    (void)user;
    for (size_t i = 0; i < body->timer_count;) {
        if (body->timers[i] <= now_ms) {
            body->timers[i] = body->timers[--body->timer_count];
            body->inside++;
        } else {
            i++;
        }
    }
}

static size_t sim_waiting(void *user, void *of)
{
    (void)user;
    return ((const sim_body *)of)->inside;
}

static void sim_usage(void *user, void *of, dw__usage *usage)
{
    (void)user;
    (void)of;
    *usage = (dw__usage){.generated_tokens = 1};
}

const dw__platform bodies_platform = {.clock_ns = sim_clock,
                                      .wall_ms = bodies_wall_ms,
                                      .random = sim_random,
                                      .submit = sim_submit,
                                      .wake = sim_wake,
                                      .seed_ref = sim_seed_ref,
                                      .seed_unref = bodies_seed_unref,
                                      .seed_limits = sim_seed_limits,
                                      .seed_of_guest = sim_seed_of_guest,
                                      .spawn = sim_spawn,
                                      .fork = sim_fork,
                                      .upgrade = sim_upgrade,
                                      .seed_of_module = sim_seed_of_module,
                                      .module_ref = sim_module_ref,
                                      .module_unref = sim_module_unref,
                                      .destroy = sim_destroy,
                                      .receive = sim_receive,
                                      .cancel = sim_cancel,
                                      .is_broken = sim_is_broken,
                                      .effect_at = sim_effect_at,
                                      .drop_effects = sim_drop_effects,
                                      .timer_ms = sim_timer_ms,
                                      .fire_timers = sim_fire_timers,
                                      .waiting = sim_waiting,
                                      .usage = sim_usage};
