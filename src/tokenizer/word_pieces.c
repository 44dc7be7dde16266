#include "tokenizer/word_pieces.h"

#include <string.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "tokenizer/llama_internals.h"
#include "tokenizer/token_trie_of.h"
#include "tokenizer/utf8.h"

#define BLOCK_COUNT 1024

static const char word_start[] = "\xe2\x96\x81"; /* in front of every word */
#define START_BYTES (sizeof word_start - 1)

struct dw_word_pieces {
    dw__byte_trie tokens; /* but control tokens */
    int32_t unknown;
    bool lower_case;
    bool drops_accents;
};

dw_status dw_word_pieces_create(dw_word_pieces **out, const struct llama_vocab *vocab,
                                const dw_specials *specials, dw_error *err)
{
    *out = NULL;
    dw_word_pieces *pieces = dw_alloc(1, sizeof *pieces);
    if (pieces == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a tokenizer");
    }
    dw__vocab_options options;
    dw__vocab_options_of(vocab, &options);
    pieces->unknown = options.unknown;
    pieces->lower_case = options.lower_case;
    pieces->drops_accents = options.drops_accents;
    dw_status status = dw__token_trie_of(&pieces->tokens, vocab, specials, 0, err);
    if (status != DW_OK) {
        dw_word_pieces_destroy(pieces);
        return status;
    }
    *out = pieces;
    return DW_OK;
}

void dw_word_pieces_destroy(dw_word_pieces *pieces)
{
    if (pieces != NULL) {
        dw__byte_trie_release(&pieces->tokens);
        dw_free(pieces);
    }
}

/* ---- a text ------------------------------------------------------------------------------- */

typedef struct run {
    const dw_word_pieces *pieces;
    unsigned char *word; /* [word_bytes]: word_start, and what there is of the word */
    size_t word_bytes;
    size_t word_capacity;
    dw_token_list *out;
    uint32_t round;
    bool left;
} run;

/* Once it is asked to stop all loops end. */
static bool is_left(run *r)
{
    r->left = r->left || dw_stop_pauses_seldom(r->out->stop, &r->round);
    return r->left;
}

/* The longest token at a place of the word; 0: none. */
static size_t longest_at(run *r, size_t at, int32_t *token)
{
    const dw__byte_trie *tokens = &r->pieces->tokens;
    uint32_t node = DW__TRIE_ROOT;
    size_t length = 0;
    for (size_t i = at; i < r->word_bytes && !is_left(r); i++) {
        node = dw__byte_trie_child(tokens, node, r->word[i]);
        if (node == DW__TRIE_NONE) {
            break;
        }
        if (tokens->tokens[node] >= 0) {
            *token = tokens->tokens[node];
            length = i + 1 - at;
        }
    }
    return length;
}

/* A word that is not all tokens is one unknown one. */
static void end_word(run *r)
{
    size_t before = r->out->count;
    for (size_t at = 0; at < r->word_bytes && r->word_bytes > START_BYTES && !is_left(r);) {
        int32_t token = -1;
        size_t length = longest_at(r, at, &token);
        if (length == 0) {
            r->out->count = before;
            break;
        }
        dw_token_list_add(r->out, token);
        at += length;
    }
    if (r->word_bytes > START_BYTES && r->out->count == before) {
        dw_token_list_add(r->out, r->pieces->unknown);
    }
    r->word_bytes = START_BYTES;
}

/* False: no memory. */
static bool add_character(run *r, uint32_t code)
{
    if (r->word_capacity - r->word_bytes < 4) {
        unsigned char *larger = dw_realloc(r->word, 2 * r->word_capacity, 1);
        if (larger == NULL) {
            return false;
        }
        r->word = larger;
        r->word_capacity *= 2;
    }
    r->word_bytes += dw_utf8_put(r->word + r->word_bytes, code);
    return true;
}

/* Each of these is a word. */
static bool is_ideograph(uint32_t code)
{
    static const uint32_t ranges[][2] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                         {0x20000, 0x2a6df}, {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f},
                                         {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1]) {
            return true;
        }
    }
    return false;
}

static bool take_character(run *r, uint32_t code)
{
    uint32_t flags = dw__character_flags(code);
    if ((flags & DW__FLAG_WHITE_SPACE) != 0) {
        end_word(r);
        return true;
    }
    bool accent = r->pieces->drops_accents && (flags & DW__FLAG_ACCENT_MARK) != 0;
    if (code == 0 || code == DW__UTF8_DAMAGE || (flags & DW__FLAG_CONTROL) != 0 || accent) {
        return true;
    }
    bool alone = (flags & DW__FLAG_PUNCTUATION) != 0 ||
                 (code < 0x7f && (flags & DW__FLAG_SYMBOL) != 0) || is_ideograph(code);
    if (alone) {
        end_word(r);
    }
    bool fits = add_character(r, r->pieces->lower_case ? dw__character_lower(code) : code);
    if (alone) {
        end_word(r);
    }
    return fits;
}

static bool run_over(run *r, const unsigned char *text, size_t bytes)
{
    uint32_t codes[BLOCK_COUNT];
    bool fits = true;
    for (size_t at = 0; fits && at < bytes && !is_left(r);) {
        size_t count = 0;
        for (; count < BLOCK_COUNT && at < bytes; count++) {
            at += dw__utf8_decode(text + at, bytes - at, &codes[count]);
        }
        fits = !r->pieces->drops_accents || dw__characters_without_accents(codes, count);
        for (size_t i = 0; fits && i < count && !is_left(r); i++) {
            fits = take_character(r, codes[i]);
        }
    }
    end_word(r);
    return fits;
}

dw_status dw_word_pieces_tokenize(const dw_word_pieces *pieces, const char *text, size_t bytes,
                                  dw_token_list *out, dw_error *err)
{
    run r = {.pieces = pieces, .out = out, .word_capacity = 256};
    r.word = dw_alloc(r.word_capacity, 1);
    bool fits = r.word != NULL;
    if (fits) {
        memcpy(r.word, word_start, START_BYTES);
        r.word_bytes = START_BYTES;
        fits = run_over(&r, (const unsigned char *)text, bytes);
    }
    dw_free(r.word);
    return fits ? dw_stop_check(out->stop, "tokenize", err)
                : dw_fail(err, DW_E_MEMORY, "no memory for a text of %zu bytes", bytes);
}
