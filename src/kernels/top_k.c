#include "kernels/top_k.h"

#include <math.h>
#include <string.h>

/* Loops over so many at a time, for the compiler to use vector instructions. */
#define LANES 16
#define TOTAL_BLOCK 256

/* Whether `a` comes behind `b`: of equals the lower token is the better. */
static bool worse(dw_top_k_entry a, dw_top_k_entry b)
{
    return a.logit < b.logit || (a.logit == b.logit && a.token > b.token);
}

/* A heap (Williams, 1964) with the worst on top: put `one` in at `place`, below which order is. */
static void sift(dw_top_k_entry *heap, uint32_t count, uint32_t place, dw_top_k_entry one)
{
    for (uint32_t child = 2 * place + 1; child < count; child = 2 * place + 1) {
        if (child + 1 < count && worse(heap[child + 1], heap[child])) {
            child++;
        }
        if (!worse(heap[child], one)) {
            break;
        }
        heap[place] = heap[child];
        place = child;
    }
    heap[place] = one;
}

static void make_heap(dw_top_k_entry *heap, uint32_t count)
{
    for (uint32_t place = count / 2; place-- > 0;) {
        sift(heap, count, place, heap[place]);
    }
}

static void sort_heap(dw_top_k_entry *heap, uint32_t count)
{
    for (uint32_t left = count; left > 1; left--) {
        dw_top_k_entry best = heap[left - 1];
        heap[left - 1] = heap[0];
        sift(heap, left - 1, 0, best);
    }
}

/* exp(x) of x <= 0 to 2e-7 of it; what is below exp(-87) counts as that, beside a sum of 1 or more.
 * 2^n exp(r) with x = n ln 2 + r, |r| <= ln 2 / 2, by the exponential's series. */
static inline float exp_of(float x)
{
    x = x > -87.0F ? x : -87.0F;
    const float shifter = 12582912.0F; /* 1.5 * 2^23: the sum's last bits are the nearest integer */
    const float sum = x * 1.44269504F + shifter;
    const float n = sum - shifter;
    const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
    float power = 1.0F / 720.0F;
    power = power * r + 1.0F / 120.0F;
    power = power * r + 1.0F / 24.0F;
    power = power * r + 1.0F / 6.0F;
    power = power * r + 0.5F;
    power = power * r + 1.0F;
    power = power * r + 1.0F;
    uint32_t bits;
    uint32_t exponent;
    memcpy(&bits, &power, sizeof bits);
    memcpy(&exponent, &sum, sizeof exponent);
    bits += exponent << 23; /* n, whose lower bits are all that the shift leaves */
    memcpy(&power, &bits, sizeof power);
    return power;
}

static double total_of(const float *logits, uint32_t vocab_count, float largest)
{
    float odds[TOTAL_BLOCK];
    double sums[LANES] = {0.0};
    for (uint32_t i = 0; i < vocab_count; i += TOTAL_BLOCK) {
        const uint32_t count = vocab_count - i < TOTAL_BLOCK ? vocab_count - i : TOTAL_BLOCK;
        for (uint32_t k = 0; k < count; k++) {
            odds[k] = exp_of(logits[i + k] - largest);
        }
        for (uint32_t k = count; k < TOTAL_BLOCK; k++) {
            odds[k] = 0.0F;
        }
        for (uint32_t k = 0; k < TOTAL_BLOCK; k += LANES) {
            for (uint32_t lane = 0; lane < LANES; lane++) {
                sums[lane] += (double)odds[k + lane];
            }
        }
    }
    for (uint32_t lane = 1; lane < LANES; lane++) {
        sums[0] += sums[lane];
    }
    return sums[0];
}

typedef struct search {
    dw_top_k_entry *heap; /* [count], one of DW_TOP_K_MAX once there are so many */
    uint32_t count;
    uint32_t nan_count;
} search;

/* Tokens come in their order, so that one as likely as the worst kept never takes its place. */
static void look_at(search *s, const float *logits, uint32_t from, uint32_t end)
{
    for (uint32_t i = from; i < end; i++) {
        dw_top_k_entry one = {logits[i], (int32_t)i};
        if (isnan(one.logit)) {
            s->nan_count++;
        } else if (s->count < DW_TOP_K_MAX) {
            s->heap[s->count++] = one;
            if (s->count == DW_TOP_K_MAX) {
                make_heap(s->heap, s->count);
            }
        } else if (one.logit > s->heap[0].logit) {
            sift(s->heap, s->count, 0, one);
        }
    }
}

/* Whether one of LANES is above `worst`, or NaN. */
static bool any_counts(const float *logits, float worst)
{
    int counts = 0;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        counts |= !(logits[lane] <= worst);
    }
    return counts != 0;
}

void dw_top_k_find(dw_top_k *out, const float *logits, uint32_t vocab_count, bool with_total)
{
    dw_top_k_entry *heap = out->list;
    search s = {.heap = heap};
    uint32_t i = 0;
    for (; i + LANES <= vocab_count; i += LANES) {
        if (s.count < DW_TOP_K_MAX || any_counts(logits + i, heap[0].logit)) {
            look_at(&s, logits, i, i + LANES);
        }
    }
    look_at(&s, logits, i, vocab_count);
    const uint32_t count = s.count;
    const uint32_t nan_count = s.nan_count;
    if (count < DW_TOP_K_MAX) {
        make_heap(heap, count);
    }
    sort_heap(heap, count);
    out->nan_count = nan_count;
    out->count = count;
    out->unused = 0;
    out->largest = count > 0 ? heap[0].logit : -INFINITY;
    bool summed = with_total && nan_count == 0 && isfinite(out->largest);
    out->total = summed ? total_of(logits, vocab_count, out->largest) : 0.0;
}
