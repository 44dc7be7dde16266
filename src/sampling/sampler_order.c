/* Cuts that go by an order of all candidates, without sorting all where few decide. The result is
 * that of the sorted form: the likeliest first, of equals the one that stood first.
 *
 * The definitions are libllama's, down to the order in which floats are summed: top-p of the
 * candidates as they stand, locally typical sampling (Meister et al. 2022) of them sorted. */
#include <math.h>
#include <string.h>

#include "sampling/sampler_internal.h"

#define DIGIT_BITS 11
#define DIGITS SAMPLER_BUCKETS
#define PASSES 3
#define INSERTED_MAX 48 /* are sorted by insertion */
#define BUCKETS_OF_ONE 64.0F
/* A mass of doubles against the sum of floats that decides: taken so much larger. */
#define MASS_MARGIN 1.0e-3

/* Ascending keys stand for falling logits; zeros of both signs are equal. */
static uint32_t key_of(float logit)
{
    uint32_t bits;
    float plain = logit + 0.0F;
    memcpy(&bits, &plain, sizeof bits);
    return (bits >> 31) != 0 ? bits : bits ^ UINT32_C(0x7fffffff);
}

static void insert_all(llama_token_data *list, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        llama_token_data one = list[i];
        size_t at = i;
        for (; at > 0 && list[at - 1].logit < one.logit; at--) {
            list[at] = list[at - 1];
        }
        list[at] = one;
    }
}

/* By digits, the last first (Seward 1954): each pass keeps the order of equals.
 *   other [count]: of use while it sorts */
static void sort_all(llama_token_data *list, llama_token_data *other, uint32_t *places,
                     size_t count)
{
    llama_token_data *from = list;
    llama_token_data *to = other;
    if (count <= INSERTED_MAX) {
        insert_all(list, count);
        return;
    }
    for (unsigned pass = 0; pass < PASSES; pass++) {
        unsigned shift = pass * DIGIT_BITS;
        memset(places, 0, DIGITS * sizeof *places);
        for (size_t i = 0; i < count; i++) {
            places[key_of(from[i].logit) >> shift & (DIGITS - 1)]++;
        }
        uint32_t sum = 0;
        for (size_t i = 0; i < DIGITS; i++) {
            uint32_t own = places[i];
            places[i] = sum;
            sum += own;
        }
        for (size_t i = 0; i < count; i++) {
            to[places[key_of(from[i].logit) >> shift & (DIGITS - 1)]++] = from[i];
        }
        llama_token_data *swap = from;
        from = to;
        to = swap;
    }
    memcpy(list, other, count * sizeof *list); /* an odd number of passes */
}

void dw__sampler_sort(dw_sampler *sampler, llama_token_data_array *list)
{
    if (!list->sorted) {
        DW_ASSERT(list->size <= sampler->vocab_count);
        sort_all(list->data, sampler->order->list, sampler->order->places, list->size);
        list->sorted = true;
    }
}

static float largest_of(const llama_token_data_array *list)
{
    float largest = list->data[0].logit;
    for (size_t i = 1; i < list->size && !list->sorted; i++) {
        largest = fmaxf(largest, list->data[i].logit);
    }
    return largest;
}

/* Not of the logit itself: what falls with `depth` stays in order. */
static uint32_t bucket_of(float depth)
{
    float scaled = depth * BUCKETS_OF_ONE;
    return scaled < (float)(SAMPLER_BUCKETS - 1) ? (uint32_t)scaled : SAMPLER_BUCKETS - 1;
}

/* The first bucket up to which there is `wanted` of the mass, and something more. */
static uint32_t bucket_with(const double *mass, double wanted)
{
    double sum = 0.0;
    uint32_t i = 0;
    for (; i < SAMPLER_BUCKETS - 1; i++) {
        sum += mass[i];
        if (sum > wanted * (1.0 + MASS_MARGIN)) {
            break;
        }
    }
    return i;
}

/* ---- top-p --------------------------------------------------------------------------------- */

/* How many of list [count], sorted, make up top_p; 0: all together do not. */
static size_t cut_of(llama_token_data *list, size_t count, float total, float top_p)
{
    float sum = 0.0F;
    for (size_t i = 0; i < count; i++) {
        list[i].p /= total;
        sum += list[i].p;
        if (sum >= top_p) {
            return i + 1;
        }
    }
    return 0;
}

/* The candidates of buckets up to `last`, in the order in which they stand, into order->list. */
static size_t gather_up_to(const dw_sampler *sampler, const llama_token_data_array *list,
                           float largest, uint32_t last)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->size; i++) {
        sampler->order->list[kept] = list->data[i];
        kept += bucket_of(largest - list->data[i].logit) <= last;
    }
    return kept;
}

void dw__sampler_top_p(dw_sampler *sampler, llama_token_data_array *list)
{
    sampler_order *order = sampler->order;
    float top_p = sampler->params.top_p;
    float largest = largest_of(list);
    float total = 0.0F;
    memset(order->mass, 0, sizeof order->mass);
    for (size_t i = 0; i < list->size; i++) {
        llama_token_data *one = &list->data[i];
        one->p = expf(one->logit - largest);
        total += one->p;
        order->mass[bucket_of(largest - one->logit)] += (double)one->p;
    }
    size_t cut = 0;
    if (!list->sorted && list->size > INSERTED_MAX) {
        uint32_t last = bucket_with(order->mass, (double)top_p * (double)total);
        size_t kept = gather_up_to(sampler, list, largest, last);
        if (kept < list->size / 2) { /* the other half is room to sort in */
            sort_all(order->list, order->list + kept, order->places, kept);
            cut = cut_of(order->list, kept, total, top_p);
        }
        if (cut > 0) {
            memcpy(list->data, order->list, cut * sizeof *list->data);
        }
    }
    if (cut == 0) {
        dw__sampler_sort(sampler, list);
        cut = cut_of(list->data, list->size, total, top_p);
    }
    list->size = cut > 0 ? cut : list->size;
    list->sorted = true;
}

/* ---- locally typical ----------------------------------------------------------------------- */

/* Probabilities of a sorted list, and of each how far its surprise is from the mean one: in
 * order->list, with the place in the list as its id, as -distance: so the nearest sort first. */
static void find_distances(const dw_sampler *sampler, llama_token_data_array *list)
{
    llama_token_data *distances = sampler->order->list;
    float largest = list->data[0].logit;
    float total = 0.0F;
    float entropy = 0.0F;
    for (size_t i = 0; i < list->size; i++) {
        list->data[i].p = expf(list->data[i].logit - largest);
        total += list->data[i].p;
    }
    for (size_t i = 0; i < list->size; i++) {
        float p = list->data[i].p / total;
        float surprise = logf(p);
        list->data[i].p = p;
        entropy += -p * surprise;
        distances[i] = (llama_token_data){.id = (int32_t)i, .logit = surprise, .p = p};
    }
    memset(sampler->order->mass, 0, sizeof sampler->order->mass);
    for (size_t i = 0; i < list->size; i++) {
        float distance = fabsf(-distances[i].logit - entropy);
        distances[i].logit = -distance;
        sampler->order->mass[bucket_of(distance)] += (double)distances[i].p;
    }
}

/* How many of the nearest make up more than `wanted`; 0: not known of so few. */
static size_t typical_cut(const llama_token_data *nearest, size_t count, float wanted)
{
    float sum = 0.0F;
    for (size_t i = 0; i < count; i++) {
        sum += nearest[i].p;
        if (sum > wanted) {
            return i + 1;
        }
    }
    return 0;
}

/* Whether the nearest, up to bucket `last`, decide; then they stand in front of order->list. */
static size_t cut_nearest(const dw_sampler *sampler, size_t count, uint32_t last)
{
    llama_token_data *distances = sampler->order->list;
    llama_token_data *near = sampler->order->near;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        near[kept] = distances[i];
        kept += bucket_of(-distances[i].logit) <= last;
    }
    sort_all(near, distances, sampler->order->places, kept);
    return kept;
}

void dw__sampler_typical(dw_sampler *sampler, llama_token_data_array *list)
{
    sampler_order *order = sampler->order;
    float wanted = sampler->params.typical_p;
    dw__sampler_sort(sampler, list);
    find_distances(sampler, list);
    uint32_t last = bucket_with(order->mass, (double)wanted);
    size_t kept = cut_nearest(sampler, list->size, last);
    size_t cut = typical_cut(order->near, kept, wanted);
    if (cut == 0 && kept < list->size) {
        find_distances(sampler, list);
        kept = cut_nearest(sampler, list->size, SAMPLER_BUCKETS - 1);
        cut = typical_cut(order->near, kept, wanted);
    }
    cut = cut > 0 ? cut : kept;
    for (size_t i = 0; i < cut; i++) {
        order->list[i] = list->data[order->near[i].id];
    }
    memcpy(list->data, order->list, cut * sizeof *list->data);
    list->size = cut;
    list->sorted = false;
}
