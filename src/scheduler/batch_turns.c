#include "scheduler/batch_turns.h"

/* A share's time counts as ns * SCALE / weight. */
#define SCALE UINT64_C(1024)
/* Runs under way in parts, of all: each has a graph of its own, of which a model keeps few for many
 * tokens (src/inference/graph_cache.c). And of those that one share waits for. */
#define AMID_MAX 4u
#define AMID_OF_SHARE_MAX 2u

static bool is_less(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0; /* whichever of them has run over */
}

static bool can_run(const dw_batch *batch)
{
    return batch->waiting_count > 0 || dw_batch_flies(batch);
}

/* It would begin a run of many tokens. */
static bool begins_long(const dw_batch *batch)
{
    return batch->prompts.first != NULL && !dw_batch_is_amid(batch);
}

typedef struct search {
    dw__batch_turns *turns;
    dw_batch_share *least; /* who has had the least; then whom to look for */
    bool blocked;          /* the batch cannot run now */
    bool any;              /* the batch is somebody's */
    bool found;            /* `least` waits in it */
} search;

static void compare(void *user, dw_batch_share *share)
{
    search *s = user;
    s->any = true;
    if (share->seen != s->turns->choices) {
        const bool waited = share->seen + 1 == s->turns->choices;
        share->seen = s->turns->choices;
        share->run_pass =
            !waited && is_less(share->run_pass, s->turns->pass) ? s->turns->pass : share->run_pass;
    }
    if (s->blocked) {
        return;
    }
    if (s->least == NULL || is_less(share->run_pass, s->least->run_pass)) {
        s->least = share;
    }
}

static void look_for(void *user, dw_batch_share *share)
{
    search *s = user;
    s->found = s->found || share == s->least;
}

static void add_rider(void *user, dw_batch_share *share)
{
    dw__batch_turns *turns = user;
    if (!share->rides) {
        share->rides = true;
        share->rider = turns->riders;
        turns->riders = share;
    }
}

static dw_batch *longest_waiting(dw_batch *a, dw_batch *b)
{
    return a == NULL || is_less(b->run_number, a->run_number) ? b : a;
}

/* Among those in which the share waits. */
static dw_batch *choose(search *s, dw_batch *const *batches, size_t count, bool full)
{
    dw_batch *best = NULL;
    dw_batch *best_amid = NULL;
    uint32_t amid = 0;
    for (size_t i = 0; i < count; i++) {
        dw_batch *batch = batches[i];
        s->found = false;
        dw_batch_each_share(batch, look_for, s);
        if (!s->found || !can_run(batch) || (full && begins_long(batch))) {
            continue;
        }
        best = longest_waiting(best, batch);
        if (dw_batch_is_amid(batch)) {
            best_amid = longest_waiting(best_amid, batch);
            amid++;
        }
    }
    return amid >= AMID_OF_SHARE_MAX && begins_long(best) ? best_amid : best;
}

dw_batch *dw__turns_next(dw__batch_turns *turns, dw_batch *const *batches, size_t count)
{
    search s = {.turns = turns};
    dw_batch *batch = NULL;
    size_t waiting = 0;
    uint32_t amid = 0;
    for (size_t i = 0; i < count; i++) {
        waiting += can_run(batches[i]);
        batch = can_run(batches[i]) ? batches[i] : batch;
        amid += dw_batch_is_amid(batches[i]);
    }
    const bool full = amid >= AMID_MAX;
    turns->several = waiting > 1;
    turns->choices++;
    turns->chose = NULL;
    for (size_t i = 0; waiting > 1 && i < count; i++) {
        if (!can_run(batches[i])) {
            continue;
        }
        s.any = false;
        s.blocked = full && begins_long(batches[i]);
        dw_batch_each_share(batches[i], compare, &s);
        if (!s.any) { /* nobody's any more: what flies has to land */
            return batches[i];
        }
    }
    if (s.least != NULL) {
        batch = choose(&s, batches, count, full);
        turns->pass = is_less(turns->pass, s.least->run_pass) ? s.least->run_pass : turns->pass;
        turns->chose = s.least;
        dw_batch_each_share(batch, add_rider, turns);
    }
    if (batch != NULL) {
        batch->run_number = ++turns->runs;
    }
    return batch;
}

void dw__turns_charge(dw__batch_turns *turns, uint64_t took_ns)
{
    dw_batch_share *chose = turns->chose;
    const uint64_t until = chose != NULL ? chose->run_pass + took_ns * SCALE / chose->weight : 0;
    while (turns->riders != NULL) {
        dw_batch_share *share = turns->riders;
        const uint64_t pass = share->run_pass + took_ns * SCALE / share->weight;
        turns->riders = share->rider;
        share->rides = false;
        if (is_less(share->run_pass, until)) {
            share->run_pass = share == chose || is_less(until, pass) ? until : pass;
        }
    }
    turns->chose = NULL;
}
