#include "tokenizer/sentence_pieces.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tokenizer/joined_pairs.h"
#include "tokenizer/llama_internals.h"
#include "tokenizer/symbol_merges.h"
#include "tokenizer/token_trie_of.h"
#include "tokenizer/utf8.h"

/* A text is merged in parts of this length or more, cut where that changes nothing: what merging
 * takes is 44 bytes a byte. */
#define PART_BYTES ((size_t)4 << 10)

static const char space[] = "\xe2\x96\x81"; /* how a space is written */
#define SPACE_BYTES (sizeof space - 1)

struct dw_sentence_pieces {
    dw__byte_trie tokens; /* but control tokens */
    uint32_t *ranks;      /* [token_count]: 0 for the highest score */
    int32_t bytes[256];   /* what stands for a byte that is in no token */
    dw_joined_pairs *joined;
    bool adds_space;
};

/* ---- making them -------------------------------------------------------------------------- */

typedef struct scored {
    float score;
    int32_t token;
} scored;

/* The highest first; what is no number last. */
static int by_score(const void *a, const void *b)
{
    const scored *x = a;
    const scored *y = b;
    bool x_none = x->score != x->score;
    bool y_none = y->score != y->score;
    return x_none || y_none ? (int)x_none - (int)y_none
                            : (x->score < y->score) - (x->score > y->score);
}

static dw_status rank_tokens(dw_sentence_pieces *pieces, const struct llama_vocab *vocab,
                             dw_error *err)
{
    int32_t count = llama_vocab_n_tokens(vocab);
    scored *order = dw_alloc((size_t)count, sizeof *order);
    pieces->ranks = dw_alloc((size_t)count, sizeof *pieces->ranks);
    if (order == NULL || pieces->ranks == NULL) {
        dw_free(order);
        return dw_fail(err, DW_E_MEMORY, "no memory for the scores of %d tokens", count);
    }
    for (int32_t i = 0; i < count; i++) {
        order[i] = (scored){llama_vocab_get_score(vocab, i), i};
    }
    qsort(order, (size_t)count, sizeof *order, by_score);
    uint32_t rank = 0;
    for (int32_t i = 0; i < count; i++) {
        rank += i > 0 && by_score(&order[i - 1], &order[i]) != 0 ? 1 : 0;
        pieces->ranks[order[i].token] = rank;
    }
    dw_free(order);
    return DW_OK;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that a token of the spelling <0xNN> stands for; -1: it stands for none. */
static int byte_named(const char *text)
{
    if (strlen(text) != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') {
        return -1;
    }
    int high = digit_of(text[3]);
    int low = digit_of(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* <0xNN> where there is one, else the token that is the byte itself. */
static dw_status find_bytes(dw_sentence_pieces *pieces, const struct llama_vocab *vocab,
                            dw_error *err)
{
    bool named[256] = {false};
    memset(pieces->bytes, 0xff, sizeof pieces->bytes);
    for (int32_t i = 0; i < llama_vocab_n_tokens(vocab); i++) {
        const char *text = llama_vocab_get_text(vocab, i);
        int byte = byte_named(text);
        unsigned char first = (unsigned char)text[0];
        if (byte >= 0) {
            named[byte] = true;
            pieces->bytes[byte] = i;
        } else if (first != 0 && text[1] == '\0' && !named[first]) {
            pieces->bytes[first] = i;
        }
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        if (pieces->bytes[byte] < 0) {
            return dw_fail(err, DW_E_FORMAT, "the tokenizer has no token for byte 0x%02X", byte);
        }
    }
    return DW_OK;
}

dw_status dw_sentence_pieces_create(dw_sentence_pieces **out, const struct llama_vocab *vocab,
                                    const dw_specials *specials, dw_error *err)
{
    *out = NULL;
    dw_sentence_pieces *pieces = dw_alloc(1, sizeof *pieces);
    if (pieces == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a tokenizer");
    }
    dw__vocab_options options;
    dw__vocab_options_of(vocab, &options);
    pieces->adds_space = options.adds_space;
    dw_status status = dw__token_trie_of(&pieces->tokens, vocab, specials, 0, err);
    if (status == DW_OK) {
        status = rank_tokens(pieces, vocab, err);
    }
    if (status == DW_OK) {
        status = find_bytes(pieces, vocab, err);
    }
    if (status == DW_OK) {
        status = dw_joined_pairs_create(&pieces->joined, vocab, err);
    }
    if (status != DW_OK) {
        dw_sentence_pieces_destroy(pieces);
        return status;
    }
    *out = pieces;
    return DW_OK;
}

void dw_sentence_pieces_destroy(dw_sentence_pieces *pieces)
{
    if (pieces != NULL) {
        dw__byte_trie_release(&pieces->tokens);
        dw_joined_pairs_destroy(pieces->joined);
        dw_free(pieces->ranks);
        dw_free(pieces);
    }
}

/* ---- texts -------------------------------------------------------------------------------- */

/* A part of a text while it is merged: the symbol of a character has the number of its first byte,
 * and its piece is its length. */
typedef struct part {
    const dw_sentence_pieces *pieces;
    const char *text;
    dw__merging merging;
} part;

static bool find_merge(void *user, const dw__symbol *left, const dw__symbol *right, dw__merge *out)
{
    const part *p = user;
    uint32_t bytes = left->piece + right->piece;
    int32_t token =
        dw__byte_trie_token(&p->pieces->tokens, p->text + (left - p->merging.symbols), bytes);
    if (token >= 0) {
        *out = (dw__merge){.whole = bytes, .rank = p->pieces->ranks[token]};
    }
    return token >= 0;
}

static void put_symbol(const dw_sentence_pieces *pieces, const char *text, uint32_t bytes,
                       dw_token_list *out)
{
    int32_t token = dw__byte_trie_token(&pieces->tokens, text, bytes);
    if (token >= 0) {
        dw_token_list_add(out, token);
        return;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        dw_token_list_add(out, pieces->bytes[(unsigned char)text[i]]);
    }
}

static dw_status add_part(part *p, size_t bytes, dw_token_list *out, dw_error *err)
{
    uint32_t round = 0;
    uint32_t previous = DW__SYMBOL_NONE;
    if (!dw__merging_make_room(&p->merging, bytes)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a word of %zu bytes", bytes);
    }
    dw__symbol *symbols = p->merging.symbols;
    for (size_t at = 0, next = 0; at < bytes; at = next) {
        if (dw_stop_pauses_seldom(out->stop, &round)) {
            return dw_stop_check(out->stop, "tokenize", err);
        }
        next = at + dw__utf8_bytes((unsigned char)p->text[at], bytes - at);
        symbols[at] = (dw__symbol){.piece = (uint32_t)(next - at),
                                   .previous = previous,
                                   .next = next < bytes ? (uint32_t)next : DW__SYMBOL_NONE};
        previous = (uint32_t)at;
    }
    dw__merging_run(&p->merging, out->stop);
    for (uint32_t i = 0; i != DW__SYMBOL_NONE; i = symbols[i].next) {
        if (dw_stop_pauses_seldom(out->stop, &round)) {
            break;
        }
        put_symbol(p->pieces, p->text + i, symbols[i].piece, out);
    }
    dw_stop_pause(out->stop);
    return dw_stop_check(out->stop, "tokenize", err);
}

/* As it is merged: spaces written as U+2581, one more in front where the vocabulary wants it. */
static char *escape(const dw_sentence_pieces *pieces, const char *text, size_t *bytes,
                    dw_stop *stop)
{
    size_t spaces = pieces->adds_space ? 1 : 0;
    size_t at = 0;
    uint32_t round = 0;
    for (size_t i = 0; i < *bytes && !dw_stop_pauses_seldom(stop, &round); i++) {
        spaces += text[i] == ' ' ? 1 : 0;
    }
    char *escaped = dw_alloc(*bytes + SPACE_BYTES * spaces, 1);
    if (escaped != NULL && pieces->adds_space) {
        memcpy(escaped, space, SPACE_BYTES);
        at = SPACE_BYTES;
    }
    for (size_t i = 0; escaped != NULL && i < *bytes && !dw_stop_pauses_seldom(stop, &round); i++) {
        size_t length = text[i] == ' ' ? SPACE_BYTES : 1;
        memcpy(escaped + at, text[i] == ' ' ? space : text + i, length);
        at += length;
    }
    *bytes = at;
    return escaped;
}

dw_status dw_sentence_pieces_tokenize(const dw_sentence_pieces *pieces, const char *text,
                                      size_t bytes, dw_token_list *out, dw_error *err)
{
    if (bytes == 0) {
        return DW_OK;
    }
    char *escaped = escape(pieces, text, &bytes, out->stop);
    if (escaped == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of text", bytes);
    }
    part p = {.pieces = pieces, .merging = {.find = find_merge, .user = &p}};
    dw_status status = dw_stop_check(out->stop, "tokenize", err);
    for (size_t at = 0, next = 0; status == DW_OK && at < bytes; at = next) {
        const dw__joined_text whole = {escaped, bytes, out->stop};
        next = dw_joined_pairs_cut(pieces->joined, &whole, at, PART_BYTES);
        p.text = escaped + at;
        status = add_part(&p, next - at, out, err);
    }
    dw__merging_release(&p.merging);
    dw_free(escaped);
    return status;
}
