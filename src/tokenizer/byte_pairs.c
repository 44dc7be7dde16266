#include "tokenizer/byte_pairs.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "tokenizer/llama_internals.h"
#include "tokenizer/symbol_merges.h"
#include "tokenizer/utf8.h"

#define NONE DW__SYMBOL_NONE

/* Text that is made of merges, written as vocabularies write it: a character for each byte. */
typedef struct pair_piece {
    const char *text; /* in a token, a merge or `texts` */
    uint32_t bytes;
    int32_t token; /* -1: it is none */
} pair_piece;

typedef struct pair_merge {
    uint32_t left; /* pieces */
    uint32_t right;
    uint32_t whole;
    uint32_t rank;
} pair_merge;

struct dw_byte_pairs {
    pair_piece *pieces;
    uint32_t piece_count;
    uint32_t piece_capacity;
    uint32_t *piece_slots; /* [piece_mask + 1]: 1 + a piece, by the hash of its text */
    size_t piece_mask;
    pair_merge *merges; /* [merge_mask + 1]: left NONE where a slot is empty; by both pieces */
    size_t merge_mask;
    char *texts;           /* of pieces whose text stands in no merge */
    uint32_t of_byte[256]; /* the piece of each byte */
    int32_t raw_byte[256]; /* the token that is this byte itself; -1: there is none */
};

/* ---- pieces ------------------------------------------------------------------------------- */

static uint32_t *piece_slot(const dw_byte_pairs *pairs, const char *text, size_t bytes)
{
    for (uint64_t at = dw_hash_of_text(text, bytes);; at++) {
        uint32_t *slot = &pairs->piece_slots[at & pairs->piece_mask];
        if (*slot == 0) {
            return slot;
        }
        const pair_piece *piece = &pairs->pieces[*slot - 1];
        if (piece->bytes == bytes && memcmp(piece->text, text, bytes) == 0) {
            return slot;
        }
    }
}

/* The piece of this text, which stays where it is. */
static uint32_t add_piece(dw_byte_pairs *pairs, const char *text, size_t bytes)
{
    uint32_t *slot = piece_slot(pairs, text, bytes);
    if (*slot == 0) {
        DW_ASSERT(pairs->piece_count < pairs->piece_capacity);
        pairs->pieces[pairs->piece_count] =
            (pair_piece){.text = text, .bytes = (uint32_t)bytes, .token = -1};
        *slot = ++pairs->piece_count;
    }
    return *slot - 1;
}

static pair_merge *merge_slot(const dw_byte_pairs *pairs, uint32_t left, uint32_t right)
{
    uint64_t state = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    for (uint64_t at = state ^ state >> 29;; at++) {
        pair_merge *merge = &pairs->merges[at & pairs->merge_mask];
        if (merge->left == NONE || (merge->left == left && merge->right == right)) {
            return merge;
        }
    }
}

/* The character for a byte: itself where it can be printed, else one from U+0100 on. */
static size_t put_byte(char *out, unsigned byte)
{
    unsigned code = byte <= 32                   ? 256 + byte
                    : byte >= 127 && byte <= 160 ? 256 + 33 + byte - 127
                    : byte == 173                ? 256 + 33 + 34
                                                 : byte;
    return dw_utf8_put(out, code);
}

/* ---- making them -------------------------------------------------------------------------- */

static size_t power_of_two_above(size_t count)
{
    size_t size = 16;
    while (size < 2 * count) {
        size *= 2;
    }
    return size;
}

static bool allocate(dw_byte_pairs *pairs, size_t token_count, size_t merge_count,
                     size_t merge_bytes)
{
    size_t pieces = 256 + token_count + 3 * merge_count;
    size_t piece_slots = power_of_two_above(pieces);
    size_t merge_slots = power_of_two_above(merge_count);
    pairs->pieces = dw_alloc(pieces, sizeof *pairs->pieces);
    pairs->piece_slots = dw_alloc(piece_slots, sizeof *pairs->piece_slots);
    pairs->merges = dw_alloc(merge_slots, sizeof *pairs->merges);
    pairs->texts = dw_alloc(256 * 2 + merge_bytes, 1);
    if (pairs->pieces == NULL || pairs->piece_slots == NULL || pairs->merges == NULL ||
        pairs->texts == NULL || pieces > UINT32_MAX) {
        return false;
    }
    pairs->piece_capacity = (uint32_t)pieces;
    pairs->piece_mask = piece_slots - 1;
    pairs->merge_mask = merge_slots - 1;
    for (size_t i = 0; i < merge_slots; i++) {
        pairs->merges[i].left = NONE;
    }
    return true;
}

static void add_tokens(dw_byte_pairs *pairs, const struct llama_vocab *vocab)
{
    int32_t count = llama_vocab_n_tokens(vocab);
    for (int32_t i = 0; i < count; i++) {
        const char *text = llama_vocab_get_text(vocab, i);
        pairs->pieces[add_piece(pairs, text, strlen(text))].token = i;
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        char text = (char)byte;
        uint32_t slot = *piece_slot(pairs, &text, 1);
        pairs->raw_byte[byte] = slot != 0 ? pairs->pieces[slot - 1].token : -1;
    }
}

/* Items such as "t h", which libllama divides at the first space behind the first byte; of equal
 * ones the first counts. */
static void add_merges(dw_byte_pairs *pairs, const dw_gguf_string *items, size_t count, char *texts)
{
    for (size_t i = 0; i < count; i++) {
        const char *space = memchr(items[i].text + 1, ' ', items[i].bytes - 1);
        if (space == NULL) {
            continue; /* dw_tokenizer_check has refused such a file */
        }
        size_t left_bytes = (size_t)(space - items[i].text);
        size_t right_bytes = items[i].bytes - left_bytes - 1;
        uint32_t left = add_piece(pairs, items[i].text, left_bytes);
        uint32_t right = add_piece(pairs, space + 1, right_bytes);
        pair_merge *merge = merge_slot(pairs, left, right);
        if (merge->left == NONE) {
            memcpy(texts, items[i].text, left_bytes);
            memcpy(texts + left_bytes, space + 1, right_bytes);
            uint32_t whole = add_piece(pairs, texts, left_bytes + right_bytes);
            texts += pairs->pieces[whole].text == texts ? left_bytes + right_bytes : 0;
            *merge = (pair_merge){left, right, whole, (uint32_t)i};
        }
    }
}

dw_status dw_byte_pairs_create(dw_byte_pairs **out, const dw_gguf *gguf,
                               const struct llama_vocab *vocab, dw_error *err)
{
    *out = NULL;
    dw_gguf_string *items = NULL;
    size_t count = 0;
    dw_status status = dw_gguf_strings(gguf, "tokenizer.ggml.merges", &items, &count, err);
    if (status != DW_OK) {
        return status;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += items[i].bytes;
    }
    dw_byte_pairs *pairs = dw_alloc(1, sizeof *pairs);
    if (pairs == NULL || !allocate(pairs, (size_t)llama_vocab_n_tokens(vocab), count, bytes)) {
        dw_byte_pairs_destroy(pairs);
        dw_free(items);
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu merges", count);
    }
    char *texts = pairs->texts;
    add_tokens(pairs, vocab);
    for (unsigned byte = 0; byte < 256; byte++) {
        size_t length = put_byte(texts, byte);
        pairs->of_byte[byte] = add_piece(pairs, texts, length);
        texts += length;
    }
    add_merges(pairs, items, count, texts);
    dw_free(items);
    *out = pairs;
    return DW_OK;
}

void dw_byte_pairs_destroy(dw_byte_pairs *pairs)
{
    if (pairs == NULL) {
        return;
    }
    dw_free(pairs->pieces);
    dw_free(pairs->piece_slots);
    dw_free(pairs->merges);
    dw_free(pairs->texts);
    dw_free(pairs);
}

/* ---- one word ----------------------------------------------------------------------------- */

static bool find_merge(void *user, const dw__symbol *left, const dw__symbol *right, dw__merge *out)
{
    const pair_merge *merge = merge_slot(user, left->piece, right->piece);
    *out = (dw__merge){.whole = merge->whole, .rank = merge->rank};
    return merge->left != NONE;
}

/* A piece that is no token gives those that its bytes are by themselves, if any. */
static void put_piece(const dw_byte_pairs *pairs, const pair_piece *piece, dw_token_list *out)
{
    if (piece->token >= 0) {
        dw_token_list_add(out, piece->token);
        return;
    }
    for (uint32_t i = 0; i < piece->bytes; i++) {
        int32_t token = pairs->raw_byte[(unsigned char)piece->text[i]];
        if (token >= 0) {
            dw_token_list_add(out, token);
        }
    }
}

/* Where the whole word is a token, and no longer than one can be that counts here. */
static bool put_whole(const dw_byte_pairs *pairs, const unsigned char *word, size_t bytes,
                      dw_token_list *out)
{
    char spelt[8192]; /* a token has at most 4,096 bytes (dw_tokenizer_check) */
    size_t length = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (length > 4096) {
            return false;
        }
        length += put_byte(spelt + length, word[i]);
    }
    uint32_t slot = *piece_slot(pairs, spelt, length);
    if (slot == 0 || pairs->pieces[slot - 1].token < 0) {
        return false;
    }
    dw_token_list_add(out, pairs->pieces[slot - 1].token);
    return true;
}

/* Once it is asked to stop the rest is left, as dw__merging_run has it. */
static void put_word(const dw_byte_pairs *pairs, dw__merging *m, const unsigned char *word,
                     size_t bytes, dw_token_list *out)
{
    uint32_t count = (uint32_t)bytes;
    uint32_t round = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (dw_stop_pauses_seldom(out->stop, &round)) {
            return;
        }
        m->symbols[i] = (dw__symbol){.piece = pairs->of_byte[word[i]],
                                     .previous = i == 0 ? NONE : i - 1,
                                     .next = i + 1 == count ? NONE : i + 1};
    }
    if (count == 0) {
        return;
    }
    dw__merging_run(m, out->stop);
    for (uint32_t i = 0; i != NONE; i = m->symbols[i].next) {
        if (dw_stop_pauses_seldom(out->stop, &round)) {
            return;
        }
        put_piece(pairs, &pairs->pieces[m->symbols[i].piece], out);
    }
}

/* ---- texts -------------------------------------------------------------------------------- */

/* A text as characters, and as UTF-8 again without damage. */
typedef struct decoded {
    uint32_t *codes;
    uint16_t *kinds;
    unsigned char *starts;
    uint32_t *offsets; /* [count + 1]: of each character in utf8 */
    unsigned char *utf8;
    size_t count;
} decoded;

static void decode(decoded *d, const char *text, size_t bytes, dw_stop *stop)
{
    uint32_t round = 0;
    const unsigned char *own = (const unsigned char *)text;
    size_t written = 0;
    for (size_t at = 0; at < bytes && !dw_stop_pauses_seldom(stop, &round);) {
        uint32_t code = 0;
        at += dw__utf8_decode(own + at, bytes - at, &code);
        d->codes[d->count] = code;
        d->kinds[d->count] = dw__character_kinds(code, dw__character_flags(code));
        d->offsets[d->count++] = (uint32_t)written;
        written += dw_utf8_put(d->utf8 + written, code);
    }
    d->offsets[d->count] = (uint32_t)written;
}

static void release(decoded *d)
{
    dw_free(d->codes);
    dw_free(d->kinds);
    dw_free(d->starts);
    dw_free(d->offsets);
    dw_free(d->utf8);
}

/* U+FFFD for a single byte takes three: the longest that damage can become. */
static dw_status decode_text(decoded *d, const char *text, size_t bytes, dw_stop *stop,
                             dw_error *err)
{
    d->codes = dw_alloc(bytes, sizeof *d->codes);
    d->kinds = dw_alloc(bytes, sizeof *d->kinds);
    d->starts = dw_alloc(bytes + 1, 1);
    d->offsets = dw_alloc(bytes + 1, sizeof *d->offsets);
    d->utf8 = dw_alloc(bytes, 3);
    if (d->codes == NULL || d->kinds == NULL || d->starts == NULL || d->offsets == NULL ||
        d->utf8 == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of text", bytes);
    }
    decode(d, text, bytes, stop);
    return dw_stop_check(stop, "tokenize", err);
}

static size_t word_end(const decoded *d, size_t from)
{
    size_t end = from + 1;
    while (d->starts[end] == 0) {
        end++;
    }
    return end;
}

/* For the longest word. */
static dw_status make_room(dw__merging *m, const decoded *d, dw_stop *stop, dw_error *err)
{
    size_t longest = 0;
    uint32_t round = 0;
    for (size_t from = 0, end = 0; from < d->count; from = end) {
        if (dw_stop_pauses_seldom(stop, &round)) {
            return dw_stop_check(stop, "tokenize", err);
        }
        end = word_end(d, from);
        size_t bytes = d->offsets[end] - d->offsets[from];
        longest = bytes > longest ? bytes : longest;
    }
    return dw__merging_make_room(m, longest)
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory for a word of %zu bytes", longest);
}

dw_status dw_byte_pairs_tokenize(const dw_byte_pairs *pairs, const dw_pre_tokenizer *by,
                                 const char *text, size_t bytes, dw_token_list *out, dw_error *err)
{
    decoded d = {.count = 0};
    dw__merging merging = {.find = find_merge, .user = (void *)(uintptr_t)pairs};
    dw_status status = decode_text(&d, text, bytes, out->stop, err);
    if (status != DW_OK) {
        goto out;
    }
    dw__characters characters = {.codes = d.codes,
                                 .kinds = d.kinds,
                                 .starts = d.starts,
                                 .count = d.count,
                                 .stop = out->stop};
    dw_pre_tokenizer_split(by, &characters);
    status = dw_stop_check(out->stop, "tokenize", err);
    if (status != DW_OK) {
        goto out;
    }
    status = make_room(&merging, &d, out->stop, err);
    if (status != DW_OK) {
        goto out;
    }
    bool whole = dw_pre_tokenizer_keeps_tokens(by);
    uint32_t round = 0;
    for (size_t from = 0, end = 0; from < d.count; from = end) {
        if (dw_stop_pauses_seldom(out->stop, &round)) {
            break;
        }
        end = word_end(&d, from);
        const unsigned char *word = d.utf8 + d.offsets[from];
        size_t length = d.offsets[end] - d.offsets[from];
        if (!whole || !put_whole(pairs, word, length, out)) {
            put_word(pairs, &merging, word, length, out);
        }
    }
    status = dw_stop_check(out->stop, "tokenize", err);
out:
    dw__merging_release(&merging);
    release(&d);
    return status;
}
