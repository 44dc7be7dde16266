#include "tokenizer/joined_pairs.h"

#include <string.h>

#include "base/alloc.h"
#include "tokenizer/utf8.h"

struct dw_joined_pairs {
    uint64_t *slots; /* [mask + 1]: two characters; 0: empty */
    size_t mask;
    size_t count;
};

/* A character's bytes as a number, none of which is 0 but for that of a zero byte. */
static uint32_t number_of(const char *text, size_t bytes)
{
    uint32_t number = 0;
    memcpy(&number, text, bytes);
    return number;
}

static uint64_t pair_of(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 32 | right;
}

static uint64_t *find_slot(const dw_joined_pairs *pairs, uint64_t pair)
{
    uint64_t state = pair * 0x9e3779b97f4a7c15u;
    for (uint64_t at = state ^ state >> 31;; at++) {
        uint64_t *slot = &pairs->slots[at & pairs->mask];
        if (*slot == 0 || *slot == pair) {
            return slot;
        }
    }
}

static bool make_slots(dw_joined_pairs *pairs, size_t count)
{
    pairs->slots = dw_alloc(count, sizeof *pairs->slots);
    pairs->mask = count - 1;
    return pairs->slots != NULL;
}

static bool grow(dw_joined_pairs *pairs)
{
    dw_joined_pairs larger = {.count = pairs->count};
    if (!make_slots(&larger, (pairs->mask + 1) * 2)) {
        return false;
    }
    for (size_t i = 0; i <= pairs->mask; i++) {
        if (pairs->slots[i] != 0) {
            *find_slot(&larger, pairs->slots[i]) = pairs->slots[i];
        }
    }
    dw_free(pairs->slots);
    *pairs = larger;
    return true;
}

static bool add(dw_joined_pairs *pairs, uint64_t pair)
{
    uint64_t *slot = find_slot(pairs, pair);
    if (pair != 0 && *slot == 0) {
        *slot = pair;
        pairs->count++;
    }
    return pairs->count * 2 <= pairs->mask || grow(pairs);
}

static bool add_token(dw_joined_pairs *pairs, const char *text)
{
    size_t left = strlen(text);
    uint32_t previous = 0;
    bool fits = true;
    while (left > 0 && fits) {
        size_t bytes = dw__utf8_bytes((unsigned char)*text, left);
        uint32_t number = number_of(text, bytes);
        if (previous != 0) {
            fits = add(pairs, pair_of(previous, number));
        }
        previous = number;
        text += bytes;
        left -= bytes;
    }
    return fits;
}

dw_status dw_joined_pairs_create(dw_joined_pairs **out, const struct llama_vocab *vocab,
                                 dw_error *err)
{
    *out = NULL;
    dw_joined_pairs *pairs = dw_alloc(1, sizeof *pairs);
    bool fits = pairs != NULL && make_slots(pairs, 1 << 14);
    int32_t count = llama_vocab_n_tokens(vocab);
    for (int32_t i = 0; i < count && fits; i++) {
        fits = add_token(pairs, llama_vocab_get_text(vocab, i));
    }
    if (!fits) {
        dw_joined_pairs_destroy(pairs);
        return dw_fail(err, DW_E_MEMORY, "no memory for the characters of %d tokens", count);
    }
    *out = pairs;
    return DW_OK;
}

void dw_joined_pairs_destroy(dw_joined_pairs *pairs)
{
    if (pairs != NULL) {
        dw_free(pairs->slots);
        dw_free(pairs);
    }
}

size_t dw_joined_pairs_cut(const dw_joined_pairs *pairs, const dw__joined_text *text, size_t from,
                           size_t least)
{
    uint32_t previous = 0;
    uint32_t round = 0;
    bool first = true;
    for (size_t at = from; at < text->bytes && !dw_stop_pauses_seldom(text->stop, &round);) {
        const char *own = text->text + at;
        size_t length = dw__utf8_bytes((unsigned char)*own, text->bytes - at);
        uint32_t number = number_of(own, length);
        uint64_t pair = pair_of(previous, number);
        /* Zero bytes are in no token, but the pair of two would read as an empty slot. */
        bool joined = !first && pair != 0 && *find_slot(pairs, pair) == pair;
        if (!first && !joined && at - from >= least) {
            return at;
        }
        previous = number;
        first = false;
        at += length;
    }
    return text->bytes;
}
