#include "tokenizer/unigrams.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "tokenizer/token_trie_of.h"
#include "tokenizer/unigram_normalizer.h"
#include "tokenizer/utf8.h"

#define UNKNOWN_PENALTY 10.0f

struct dw_unigrams {
    dw__normalizer normalizer;
    dw__byte_trie tokens;
    float *scores;       /* [token_count] */
    float unknown_score; /* of a character that is no token */
    int32_t unknown;
    bool finite; /* all scores: then sums never reach what stands for "not reached" */
};

/* ---- making them -------------------------------------------------------------------------- */

static dw_status read_scores(dw_unigrams *u, const struct llama_vocab *vocab, dw_error *err)
{
    int32_t count = llama_vocab_n_tokens(vocab);
    float least = FLT_MAX;
    u->scores = dw_alloc((size_t)count, sizeof *u->scores);
    if (u->scores == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the scores of %d tokens", count);
    }
    u->finite = true;
    for (int32_t i = 0; i < count; i++) {
        uint32_t attributes = llama_vocab_get_attr(vocab, i);
        float score = llama_vocab_get_score(vocab, i);
        if ((attributes & LLAMA_TOKEN_ATTR_NORMAL) != 0 && score < least) {
            least = score;
        }
        u->scores[i] = (attributes & LLAMA_TOKEN_ATTR_USER_DEFINED) != 0 ? 0 : score;
        u->finite = u->finite && isfinite(score);
    }
    u->unknown_score = least - UNKNOWN_PENALTY;
    u->finite = u->finite && isfinite(u->unknown_score);
    return DW_OK;
}

dw_status dw_unigrams_create(dw_unigrams **out, const struct llama_vocab *vocab,
                             const dw_specials *specials, dw_error *err)
{
    *out = NULL;
    dw_unigrams *u = dw_alloc(1, sizeof *u);
    if (u == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a tokenizer");
    }
    dw__vocab_options options;
    dw__vocab_options_of(vocab, &options);
    u->unknown = options.unknown;
    dw_status status = read_scores(u, vocab, err);
    if (status == DW_OK) {
        status = dw__token_trie_of(
            &u->tokens, vocab, specials,
            LLAMA_TOKEN_ATTR_NORMAL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNUSED, err);
    }
    if (status == DW_OK) {
        status = dw__normalizer_make(&u->normalizer, vocab, err);
    }
    if (status != DW_OK) {
        dw_unigrams_destroy(u);
        return status;
    }
    *out = u;
    return DW_OK;
}

void dw_unigrams_destroy(dw_unigrams *unigrams)
{
    if (unigrams != NULL) {
        dw__normalizer_release(&unigrams->normalizer);
        dw__byte_trie_release(&unigrams->tokens);
        dw_free(unigrams->scores);
        dw_free(unigrams);
    }
}

/* ---- the best cut ------------------------------------------------------------------------- */

/* The best way to a place in the text: by this token, from so many bytes in front of it. */
typedef struct best_way {
    double score;
    int32_t token;
    uint32_t bytes;
} best_way;

/* Places are counted from `start`, where all ways meet: a place that no token reaches beyond is
 * such a place, and what is in front of it is settled. Where the file's scores are not finite a
 * place may not be reached at all, which leads back to the beginning; then nothing is settled
 * before the end. */
typedef struct search {
    const dw_unigrams *u;
    const unsigned char *text;
    size_t bytes;
    size_t start;
    best_way *best; /* [capacity], of places from `start` on; known up to `known` */
    size_t known;
    size_t capacity;
    size_t reach;       /* the last place that a token leads to */
    bool after_unknown; /* the last token was the unknown one: those that follow belong to it */
    dw_token_list *out;
    uint32_t round;
    bool left;
} search;

/* Once it is asked to stop all loops end. */
static bool is_left(search *s)
{
    s->left = s->left || dw_stop_pauses_seldom(s->out->stop, &s->round);
    return s->left;
}

static bool make_room(search *s, size_t place)
{
    if (place >= s->capacity) {
        size_t capacity = place + 1 > 2 * s->capacity ? place + 1 : 2 * s->capacity;
        capacity = capacity < 1024 ? 1024 : capacity;
        best_way *larger = dw_realloc(s->best, capacity, sizeof *larger);
        if (larger == NULL) {
            return false;
        }
        s->best = larger;
        s->capacity = capacity;
    }
    for (; s->known <= place; s->known++) {
        s->best[s->known] = (best_way){-DBL_MAX, s->u->unknown, (uint32_t)s->known};
    }
    return true;
}

static bool lead(search *s, size_t from, size_t bytes, int32_t token, double score)
{
    if (!make_room(s, from + bytes)) {
        return false;
    }
    double sum = s->best[from].score + score;
    best_way *way = &s->best[from + bytes];
    if (sum > way->score) {
        *way = (best_way){sum, token, (uint32_t)bytes};
    }
    s->reach = from + bytes > s->reach ? from + bytes : s->reach;
    return true;
}

/* All tokens that start at a place, shortest first, and the unknown one for a character that is
 * none. Returns the character's length; 0: no memory. */
static size_t lead_from(search *s, size_t place)
{
    const unsigned char *text = s->text + s->start + place;
    size_t left = s->bytes - s->start - place;
    size_t character = dw__utf8_bytes(text[0], left);
    bool found = false;
    uint32_t node = DW__TRIE_ROOT;
    for (size_t i = 0; i < left && !is_left(s); i++) {
        node = dw__byte_trie_child(&s->u->tokens, node, text[i]);
        if (node == DW__TRIE_NONE) {
            break;
        }
        int32_t token = s->u->tokens.tokens[node];
        found = found || (token >= 0 && i + 1 == character);
        if (token >= 0 && !lead(s, place, i + 1, token, (double)s->u->scores[token])) {
            return 0;
        }
    }
    if (!found && !lead(s, place, character, s->u->unknown, (double)s->u->unknown_score)) {
        return 0;
    }
    return character;
}

/* From a place back to the start: counts tokens, and puts them where the `count` that there are is
 * known. Unknown ones that follow each other are one, of which the last one settled may be part. */
static size_t walk_back(search *s, size_t place, size_t count)
{
    bool unknown_behind = false;
    size_t seen = 0;
    while (place > 0 && !is_left(s)) {
        const best_way *way = &s->best[place];
        bool unknown = way->token == s->u->unknown;
        seen += unknown && unknown_behind ? 0 : 1;
        size_t at = s->out->count + count - seen; /* of that last one: the same once more */
        if (count > 0 && at < s->out->capacity) {
            s->out->tokens[at] = way->token;
        }
        unknown_behind = unknown;
        place -= way->bytes;
    }
    return seen - (unknown_behind && s->after_unknown ? 1 : 0);
}

static void settle(search *s, size_t place)
{
    if (place == 0) {
        return;
    }
    bool unknown = s->best[place].token == s->u->unknown;
    size_t count = walk_back(s, place, 0);
    (void)walk_back(s, place, count);
    s->out->count += count;
    s->after_unknown = unknown;
    s->best[0] = (best_way){s->best[place].score, s->u->unknown, 0};
    s->known = 1;
    s->start += place;
    s->reach = 0;
}

static dw_status find_best(search *s, dw_error *err)
{
    size_t place = 0;
    bool fits = make_room(s, 0);
    if (fits) {
        s->best[0].score = 0;
    }
    while (fits && s->start + place < s->bytes && !is_left(s)) {
        if (s->reach == place && s->u->finite) {
            settle(s, place);
            place = 0;
        }
        size_t character = lead_from(s, place);
        fits = character > 0;
        place += character;
    }
    if (!fits) {
        return dw_fail(err, DW_E_MEMORY, "no memory to cut a text of %zu bytes", s->bytes);
    }
    dw_status status = dw_stop_check(s->out->stop, "tokenize", err);
    if (status == DW_OK) {
        settle(s, place);
        status = dw_stop_check(s->out->stop, "tokenize", err);
    }
    return status;
}

dw_status dw_unigrams_tokenize(const dw_unigrams *unigrams, const char *text, size_t bytes,
                               dw_token_list *out, dw_error *err)
{
    dw__normal_text normal = {.count = 0};
    dw_status status =
        dw__normalizer_run(&unigrams->normalizer, text, bytes, &normal, out->stop, err);
    if (status == DW_OK && normal.count > 0) {
        search s = {.u = unigrams,
                    .text = (const unsigned char *)normal.bytes,
                    .bytes = normal.count,
                    .out = out};
        status = find_best(&s, err);
        dw_free(s.best);
    }
    dw_free(normal.bytes);
    return status;
}
