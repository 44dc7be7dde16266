#include "inference/batch_places.h"

#include "inference/batch.h"

/* A share's tokens count as tokens * SCALE / weight, a priority's as tokens * PART_SCALE / part. */
#define SCALE UINT64_C(1000000)
#define PART_SCALE UINT64_C(16)

static const uint32_t parts[DW_BATCH_PRIORITIES] = {16, 4, 1};

static bool is_less(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0; /* whichever of them has run over */
}

/* ---- lists in order -------------------------------------------------------------------------- */

static uint64_t due_of(const dw_batch_item *item)
{
    return item->due_ns != 0 ? item->due_ns : UINT64_MAX;
}

static bool goes_first(const dw_batch_item *a, const dw_batch_item *b, bool by_deadline)
{
    return by_deadline ? due_of(a) <= due_of(b) : !is_less(b->turn, a->turn);
}

/* The front of one that begins `list`, of at most `count` items; the rest -> *rest. */
static dw_batch_item *cut_off(dw_batch_item *list, uint32_t count, dw_batch_item **rest)
{
    dw_batch_item *at = list;
    for (uint32_t i = 1; at != NULL && i < count; i++) {
        at = at->next;
    }
    *rest = at != NULL ? at->next : NULL;
    if (at != NULL) {
        at->next = NULL;
    }
    return list;
}

/* Both in order, the items of `a` first where they are alike; behind *tail, which moves on. */
static void merge(dw_batch_item *a, dw_batch_item *b, bool by_deadline, dw_batch_item ***tail)
{
    while (a != NULL || b != NULL) {
        bool from_a = b == NULL || (a != NULL && goes_first(a, b, by_deadline));
        dw_batch_item *next = from_a ? a : b;
        *(from_a ? &a : &b) = next->next;
        **tail = next;
        *tail = &next->next;
    }
    **tail = NULL;
}

/* Merge sort from below: stable, in place. */
static void sort(dw_batch_queue *queue, bool by_deadline)
{
    bool sorted = false;
    for (uint32_t width = 1; !sorted; width *= 2) {
        dw_batch_item *rest = queue->first;
        dw_batch_item **tail = &queue->first;
        uint32_t pairs = 0;
        while (rest != NULL) {
            dw_batch_item *a = cut_off(rest, width, &rest);
            dw_batch_item *b = cut_off(rest, width, &rest);
            merge(a, b, by_deadline, &tail);
            pairs++;
        }
        sorted = pairs <= 1;
    }
    queue->last = queue->first;
    while (queue->last != NULL && queue->last->next != NULL) {
        queue->last = queue->last->next;
    }
}

/* ---- places ---------------------------------------------------------------------------------- */

static bool is_empty(const dw_batch_share *share)
{
    bool empty = true;
    for (int i = 0; i < DW_BATCH_PRIORITIES; i++) {
        empty = empty && share->classes[i].items.first == NULL;
    }
    return empty;
}

void dw__places_open(dw__places *places, dw_batch_queue *queue, uint64_t *pass, bool by_deadline)
{
    *places = (dw__places){.pass = pass};
    for (dw_batch_item *item = dw_batch_queue_take(queue); item != NULL;
         item = dw_batch_queue_take(queue)) {
        dw_batch_share *share = item->share;
        if (!share->listed) {
            share->listed = true;
            share->next = places->shares;
            places->shares = share;
            share->pass = is_less(share->pass, *pass) ? *pass : share->pass;
        }
        if (share->classes[item->priority].items.first == NULL &&
            is_less(share->classes[item->priority].pass, share->class_pass)) {
            share->classes[item->priority].pass = share->class_pass;
        }
        dw_batch_queue_put(&share->classes[item->priority].items, item);
    }
    for (dw_batch_share *share = places->shares; share != NULL && by_deadline;
         share = share->next) {
        for (int i = 0; i < DW_BATCH_PRIORITIES; i++) {
            sort(&share->classes[i].items, true);
        }
    }
}

static dw_batch_share *next_share(const dw__places *places)
{
    dw_batch_share *best = NULL;
    for (dw_batch_share *share = places->shares; share != NULL; share = share->next) {
        if ((best == NULL || is_less(share->pass, best->pass)) && !is_empty(share)) {
            best = share;
        }
    }
    return best;
}

static int next_class(const dw_batch_share *share)
{
    int best = -1;
    for (int i = 0; i < DW_BATCH_PRIORITIES; i++) {
        if (share->classes[i].items.first != NULL &&
            (best < 0 || is_less(share->classes[i].pass, share->classes[best].pass))) {
            best = i;
        }
    }
    DW_ASSERT(best >= 0);
    return best;
}

dw_batch_item *dw__places_next(dw__places *places)
{
    const dw_batch_share *share = next_share(places);
    return share != NULL ? share->classes[next_class(share)].items.first : NULL;
}

void dw__places_take(dw__places *places, uint32_t tokens)
{
    dw_batch_share *share = next_share(places);
    int class = next_class(share);
    (void)dw_batch_queue_take(&share->classes[class].items);
    *places->pass = share->pass;
    share->class_pass = share->classes[class].pass;
    share->pass += tokens * SCALE / share->weight;
    share->classes[class].pass += tokens * PART_SCALE / parts[class];
}

void dw__places_close(dw__places *places, dw_batch_queue *queue)
{
    while (places->shares != NULL) {
        dw_batch_share *share = places->shares;
        places->shares = share->next;
        share->listed = false;
        for (int i = 0; i < DW_BATCH_PRIORITIES; i++) {
            dw_batch_queue *items = &share->classes[i].items;
            for (dw_batch_item *item = dw_batch_queue_take(items); item != NULL;
                 item = dw_batch_queue_take(items)) {
                dw_batch_queue_put(queue, item);
            }
        }
    }
    sort(queue, false);
}
