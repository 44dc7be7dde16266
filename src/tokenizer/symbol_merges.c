#include "tokenizer/symbol_merges.h"

#include "base/alloc.h"

#define NONE DW__SYMBOL_NONE

/* A merge of a symbol and the next that may be due: while both are the pieces that they were. */
struct dw__merge_candidate {
    uint32_t rank;
    uint32_t left; /* the symbol */
    uint32_t left_piece;
    uint32_t right_piece;
};

/* Each merge makes two new candidates of three symbols: there are never more than one for each of
 * the first pairs and two for each merge. */
bool dw__merging_make_room(dw__merging *merging, size_t count)
{
    if (count <= merging->room) {
        return true;
    }
    dw__symbol *symbols = dw_alloc(count, sizeof *symbols);
    dw__merge_candidate *heap = dw_alloc(count, 2 * sizeof *heap);
    if (symbols == NULL || heap == NULL) {
        dw_free(symbols);
        dw_free(heap);
        return false;
    }
    dw__merging_release(merging);
    merging->symbols = symbols;
    merging->heap = heap;
    merging->room = count;
    return true;
}

void dw__merging_release(dw__merging *merging)
{
    dw_free(merging->symbols);
    dw_free(merging->heap);
    merging->symbols = NULL;
    merging->heap = NULL;
    merging->room = 0;
}

static bool comes_before(const dw__merge_candidate *a, const dw__merge_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void push(dw__merging *m, dw__merge_candidate new)
{
    size_t at = m->heap_count++;
    while (at > 0 && comes_before(&new, &m->heap[(at - 1) / 2])) {
        m->heap[at] = m->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    m->heap[at] = new;
}

static dw__merge_candidate pop(dw__merging *m)
{
    dw__merge_candidate first = m->heap[0];
    dw__merge_candidate last = m->heap[--m->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->heap_count) {
            break;
        }
        if (child + 1 < m->heap_count && comes_before(&m->heap[child + 1], &m->heap[child])) {
            child++;
        }
        if (!comes_before(&m->heap[child], &last)) {
            break;
        }
        m->heap[at] = m->heap[child];
        at = child;
    }
    m->heap[at] = last;
    return first;
}

static void consider(dw__merging *m, uint32_t left, uint32_t right)
{
    dw__merge merge;
    if (left != NONE && right != NONE &&
        m->find(m->user, &m->symbols[left], &m->symbols[right], &merge)) {
        push(m, (dw__merge_candidate){merge.rank, left, m->symbols[left].piece,
                                      m->symbols[right].piece});
    }
}

static void join(dw__merging *m, const dw__merge_candidate *due)
{
    dw__symbol *left = &m->symbols[due->left];
    dw__merge merge;
    if (left->piece != due->left_piece || left->next == NONE ||
        m->symbols[left->next].piece != due->right_piece ||
        !m->find(m->user, left, &m->symbols[left->next], &merge)) {
        return;
    }
    dw__symbol *right = &m->symbols[left->next];
    left->piece = merge.whole;
    left->next = right->next;
    right->piece = NONE;
    if (left->next != NONE) {
        m->symbols[left->next].previous = due->left;
    }
    consider(m, left->previous, due->left);
    consider(m, due->left, left->next);
}

void dw__merging_run(dw__merging *merging, dw_stop *stop)
{
    uint32_t round = 0;
    merging->heap_count = 0;
    for (uint32_t i = 0; i != NONE && !dw_stop_pauses_seldom(stop, &round);
         i = merging->symbols[i].next) {
        consider(merging, i, merging->symbols[i].next);
    }
    while (merging->heap_count > 0 && !dw_stop_pauses_seldom(stop, &round)) {
        dw__merge_candidate due = pop(merging);
        join(merging, &due);
    }
}
