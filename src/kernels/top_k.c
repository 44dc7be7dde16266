#include "kernels/top_k.h"

#include <math.h>

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

static double total_of(const float *logits, uint32_t vocab_count, float largest)
{
    double total = 0.0;
    for (uint32_t i = 0; i < vocab_count; i++) {
        total += (double)expf(logits[i] - largest);
    }
    return total;
}

/* Tokens come in their order, so that one as likely as the worst kept never takes its place. */
void dw_top_k_find(dw_top_k *out, const float *logits, uint32_t vocab_count, bool with_total)
{
    dw_top_k_entry *heap = out->list;
    uint32_t count = 0;
    uint32_t nan_count = 0;
    for (uint32_t i = 0; i < vocab_count; i++) {
        dw_top_k_entry one = {logits[i], (int32_t)i};
        if (isnan(one.logit)) {
            nan_count++;
        } else if (count < DW_TOP_K_MAX) {
            heap[count++] = one;
            if (count == DW_TOP_K_MAX) {
                make_heap(heap, count);
            }
        } else if (one.logit > heap[0].logit) {
            sift(heap, count, 0, one);
        }
    }
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
