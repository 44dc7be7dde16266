#include "tokenizer/special_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"

#define STARTS_BYTES (65536 / 8)

/* ---- the list ----------------------------------------------------------------------------- */

static bool ends_with(const char *text, size_t bytes, const char *end)
{
    size_t end_bytes = strlen(end);
    return bytes >= end_bytes && memcmp(text + bytes - end_bytes, end, end_bytes) == 0;
}

/* Spelt as control tokens are. Some files give such tokens the type of user-defined text, and
 * libllama makes a few of them that itself (those of gpt-oss), so that their text is shown. */
static bool looks_like_control(const char *text, size_t bytes)
{
    static const char wide_bar[] = "\xef\xbd\x9c"; /* U+FF5C */
    return (bytes > 4 && memcmp(text, "<|", 2) == 0 && ends_with(text, bytes, "|>")) ||
           (bytes > 8 && text[0] == '<' && memcmp(text + 1, wide_bar, 3) == 0 &&
            ends_with(text, bytes, "\xef\xbd\x9c>"));
}

static bool is_special(enum llama_token_attr attributes)
{
    return (attributes & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED |
                          LLAMA_TOKEN_ATTR_UNKNOWN)) != 0;
}

static dw_special special_of(const struct llama_vocab *vocab, int32_t token)
{
    enum llama_token_attr attributes = llama_vocab_get_attr(vocab, token);
    dw_special special = {.text = llama_vocab_get_text(vocab, token), .token = token};
    special.bytes = (uint32_t)strlen(special.text);
    bool typed = (attributes & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)) != 0;
    special.is_control = typed || looks_like_control(special.text, special.bytes);
    special.taken_anyway = !typed;
    special.strips_before = (attributes & LLAMA_TOKEN_ATTR_LSTRIP) != 0;
    special.strips_behind = (attributes & LLAMA_TOKEN_ATTR_RSTRIP) != 0;
    return special;
}

static int by_length(const void *a, const void *b)
{
    const dw_special *x = a;
    const dw_special *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes) - (x->bytes > y->bytes)
                                : (x->token > y->token) - (x->token < y->token);
}

/* The slot of this text, or the empty one where it belongs. */
static uint32_t *find_slot(const dw_specials *specials, const char *text, size_t bytes)
{
    for (uint64_t at = dw_hash_of_text(text, bytes);; at++) {
        uint32_t *slot = &specials->slots[at & specials->slot_mask];
        if (*slot == 0) {
            return slot;
        }
        const dw_special *special = &specials->items[*slot - 1];
        if (special->bytes == bytes && memcmp(special->text, text, bytes) == 0) {
            return slot;
        }
    }
}

static void mark_start(dw_specials *specials, const dw_special *special)
{
    unsigned first = (unsigned char)special->text[0];
    if (special->bytes == 1) { /* whatever follows */
        memset(specials->starts + first * 32, 0xff, 32);
        return;
    }
    unsigned pair = first << 8 | (unsigned char)special->text[1];
    specials->starts[pair / 8] |= (unsigned char)(1u << pair % 8);
}

static void index_specials(dw_specials *specials)
{
    for (size_t i = 0; i < specials->count; i++) {
        const dw_special *special = &specials->items[i];
        uint32_t *slot = find_slot(specials, special->text, special->bytes);
        *slot = *slot != 0 ? *slot : (uint32_t)i + 1;
        mark_start(specials, special);
        if (i == 0 || special->bytes != specials->items[i - 1].bytes) {
            specials->lengths[specials->length_count++] = special->bytes;
        }
        if (special->is_control && special->taken_anyway) {
            specials->any_taken_anyway = true;
        }
    }
}

dw_status dw_specials_make(dw_specials *out, const struct llama_vocab *vocab, dw_error *err)
{
    *out = (dw_specials){.count = 0};
    int32_t token_count = llama_vocab_n_tokens(vocab);
    size_t count = 0;
    for (int32_t i = 0; i < token_count; i++) {
        count += is_special(llama_vocab_get_attr(vocab, i)) ? 1 : 0;
    }
    size_t slot_count = 16;
    while (slot_count < 2 * count) {
        slot_count *= 2;
    }
    out->slot_mask = slot_count - 1;
    out->items = dw_alloc(count, sizeof *out->items);
    out->slots = dw_alloc(slot_count, sizeof *out->slots);
    out->lengths = dw_alloc(count, sizeof *out->lengths);
    out->starts = dw_alloc(STARTS_BYTES, 1);
    if (out->items == NULL || out->slots == NULL || out->lengths == NULL || out->starts == NULL) {
        dw_specials_release(out);
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu special tokens", count);
    }
    for (int32_t i = 0; i < token_count; i++) {
        if (is_special(llama_vocab_get_attr(vocab, i)) && llama_vocab_get_text(vocab, i)[0] != 0) {
            out->items[out->count++] = special_of(vocab, i);
        }
    }
    qsort(out->items, out->count, sizeof *out->items, by_length);
    index_specials(out);
    return DW_OK;
}

void dw_specials_release(dw_specials *specials)
{
    dw_free(specials->items);
    dw_free(specials->slots);
    dw_free(specials->lengths);
    dw_free(specials->starts);
    *specials = (dw_specials){.count = 0};
}

/* ---- which are in a text ------------------------------------------------------------------ */

static bool may_start(const dw_specials *specials, const char *text, size_t bytes)
{
    unsigned second = bytes > 1 ? (unsigned char)text[1] : 0;
    unsigned pair = (unsigned)(unsigned char)text[0] << 8 | second;
    return (specials->starts[pair / 8] >> pair % 8 & 1) != 0;
}

/* Whether [from, to) touches content: the last range that begins before `to` decides. */
static bool touches_content(const dw_cut_text *in, size_t from, size_t to)
{
    size_t low = 0;
    size_t high = in->content_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (in->content[middle].from < to) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && in->content[low - 1].to > from;
}

static bool is_recognised(const dw_cut_text *in, const dw_special *special, size_t at)
{
    return !special->is_control || (in->parse && !touches_content(in, at, at + special->bytes));
}

/* seen[index]: it is spelt somewhere where it is recognised. Returns whether any is. */
static bool look(const dw_specials *specials, const dw_cut_text *in, bool *seen)
{
    bool any = false;
    uint32_t round = 0;
    for (size_t at = 0; at < in->bytes && !dw_stop_pauses_seldom(in->stop, &round); at++) {
        size_t left = in->bytes - at;
        if (!may_start(specials, in->text + at, left)) {
            continue;
        }
        for (size_t i = 0; i < specials->length_count; i++) {
            size_t bytes = specials->lengths[i];
            uint32_t slot = bytes <= left ? *find_slot(specials, in->text + at, bytes) : 0;
            if (slot != 0 && is_recognised(in, &specials->items[slot - 1], at)) {
                seen[slot - 1] = true;
                any = true;
            }
        }
    }
    return any;
}

size_t dw_specials_next_taken(const dw_specials *specials, const char *text, size_t bytes,
                              size_t from, dw_stop *stop)
{
    uint32_t round = 0;
    for (size_t at = from; specials->any_taken_anyway && at < bytes; at++) {
        if (dw_stop_pauses_seldom(stop, &round)) {
            break;
        }
        if (!may_start(specials, text + at, bytes - at)) {
            continue;
        }
        for (size_t i = 0; i < specials->length_count; i++) {
            size_t length = specials->lengths[i];
            uint32_t slot = length <= bytes - at ? *find_slot(specials, text + at, length) : 0;
            if (slot != 0 && specials->items[slot - 1].is_control &&
                specials->items[slot - 1].taken_anyway) {
                return at;
            }
        }
    }
    return bytes;
}

/* ---- cutting ------------------------------------------------------------------------------ */

static bool add(dw_fragments *list, dw_fragment fragment)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity < 16 ? 16 : list->capacity * 2;
        dw_fragment *larger = dw_realloc(list->items, capacity, sizeof *larger);
        if (larger == NULL) {
            return false;
        }
        list->items = larger;
        list->capacity = capacity;
    }
    list->items[list->count++] = fragment;
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Where `special` is next spelt and recognised in [from, to); `to` where it is not, or once it is
 * asked to stop. */
static size_t find(const dw_cut_text *in, const dw_special *special, size_t from, size_t to)
{
    uint32_t round = 0;
    while (to - from >= special->bytes && !dw_stop_pauses_seldom(in->stop, &round)) {
        const char *hit = memchr(in->text + from, special->text[0], to - from - special->bytes + 1);
        if (hit == NULL) {
            return to;
        }
        from = (size_t)(hit - in->text);
        if (memcmp(hit, special->text, special->bytes) == 0 && is_recognised(in, special, from)) {
            return from;
        }
        from++;
    }
    return to;
}

/* One fragment of text into those around every occurrence of `special`. */
static bool cut_fragment(const dw_cut_text *in, const dw_special *special, dw_fragment fragment,
                         dw_fragments *out)
{
    size_t from = fragment.offset;
    size_t to = fragment.offset + fragment.bytes;
    uint32_t round = 0;
    while (from < to && !dw_stop_pauses_seldom(in->stop, &round)) {
        size_t hit = find(in, special, from, to);
        size_t end = hit;
        while (hit < to && special->strips_before && end > from && is_space(in->text[end - 1])) {
            end--;
        }
        if (end > from && !add(out, (dw_fragment){from, end - from, -1})) {
            return false;
        }
        if (hit == to) {
            return true;
        }
        if (!add(out, (dw_fragment){hit, special->bytes, special->token})) {
            return false;
        }
        from = hit + special->bytes;
        while (special->strips_behind && from < to && is_space(in->text[from])) {
            from++;
        }
    }
    return true;
}

static bool cut_all(const dw_cut_text *in, const dw_special *special, const dw_fragments *from,
                    dw_fragments *to)
{
    uint32_t round = 0;
    to->count = 0;
    for (size_t i = 0; i < from->count && !dw_stop_pauses_seldom(in->stop, &round); i++) {
        bool done = from->items[i].token >= 0 ? add(to, from->items[i])
                                              : cut_fragment(in, special, from->items[i], to);
        if (!done) {
            return false;
        }
    }
    return true;
}

dw_status dw_specials_cut(const dw_specials *specials, const dw_cut_text *text, dw_fragments *out,
                          dw_error *err)
{
    dw_fragments next = {.count = 0};
    bool *seen = dw_alloc(specials->count, sizeof *seen);
    *out = (dw_fragments){.count = 0};
    bool fits = seen != NULL;
    if (fits && text->bytes > 0) {
        fits = add(out, (dw_fragment){0, text->bytes, -1});
    }
    bool any = fits && look(specials, text, seen);
    /* Longest first over all of the text, as libllama has it: a long one takes what a shorter one
     * in front of it might have begun. */
    for (size_t i = 0; any && fits && i < specials->count; i++) {
        if (seen[i]) {
            fits = cut_all(text, &specials->items[i], out, &next);
            dw_fragments swapped = *out;
            *out = next;
            next = swapped;
        }
    }
    dw_free(seen);
    dw_free(next.items);
    dw_status status = dw_stop_check(text->stop, "tokenize", err);
    if (status != DW_OK) {
        return status;
    }
    return fits ? DW_OK
                : dw_fail(err, DW_E_MEMORY, "no memory to cut %zu bytes of text", text->bytes);
}
