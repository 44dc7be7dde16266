/* What the runtime's bookkeeping stands on, simulated: a virtual clock, chance, bodies of actors in
 * memory alone, and work that waits until it is chosen (test_runtime_simulation.c). What
 * dw__platform says of the real one holds for it. Thread: one. */
#ifndef DW_TESTS_RUNTIME_BODIES_H
#define DW_TESTS_RUNTIME_BODIES_H

#include "base/limits.h"
#include "runtime/platform.h"
#include "runtime/runtime_internal.h"

#define BODIES_MAX 1024
#define MESSAGES_MAX 8192
#define IDS_MAX 512
#define PENDING_MAX 16384
#define ASKS_MAX 16
#define TIMERS_MAX 4
#define WATCHES_MAX 4

typedef struct sim_message {
    uint64_t to;
    bool outside;
    bool accepted; /* of one between actors: its sender's message ended well */
    unsigned delivered;
    unsigned done;
    unsigned ends;
    dw_status status;
} sim_message;

typedef struct sim_ask {
    dw__asked asked;
    uint64_t content; /* the number of a message */
} sim_ask;

typedef struct sim_body {
    struct sim *sim;
    dw__record *record;
    uint64_t id;
    bool alive;
    bool used; /* by the one user that it has */
    bool working;
    bool broken;
    bool ends;        /* it was interrupted */
    uint64_t message; /* it works on; 0: one of its timers' */
    uint64_t cause;
    uint64_t caused;
    uint64_t timers[TIMERS_MAX]; /* [timer_count], when they are due */
    size_t timer_count;
    size_t inside;
    sim_ask asks[ASKS_MAX]; /* [ask_count], those before `committed` count */
    size_t ask_count;
    size_t committed;
} sim_body;

typedef struct sim_seed {
    unsigned references;
    dw_limits limits;
} sim_seed;

typedef struct sim {
    dw_runtime *runtime;
    uint64_t random;
    uint64_t now_ns;
    sim_body bodies[BODIES_MAX];
    size_t body_count; /* slots in use so far */
    size_t alive;
    sim_message messages[MESSAGES_MAX]; /* from 1 on */
    uint64_t message_count;
    uint64_t ids[IDS_MAX];
    size_t id_count;
    struct dw__operation *pending[PENDING_MAX];
    size_t pending_count;
    unsigned spawns_asked;
    unsigned spawns_ended;
    unsigned calls_asked;
    unsigned calls_ended;
    unsigned problems;
    unsigned seeds;
    unsigned modules; /* counted for upgrades */
    unsigned told;    /* messages of watches */
    bool calm;        /* nothing fails any more */
    uint64_t subscription;
    uint64_t events;
    unsigned turns[8]; /* by the first digit of the id, where a test sets it */
} sim;

/* Below `below`; 0: any. */
uint64_t bodies_chance(sim *s, uint64_t below);
/* Once in so many times, unless nothing fails any more. */
bool bodies_fails(sim *s, uint64_t one_in);
uint64_t bodies_wall_ms(void *user);
/* Counted once. */
sim_seed *bodies_make_seed(sim *s);
void bodies_seed_unref(void *user, void *seed);
extern const dw__platform bodies_platform; /* its user is a sim */

#endif
