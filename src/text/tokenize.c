/* Text to tokens. A text is cut at its special tokens (special_tokens.c), and what lies between
 * them is tokenised, each stretch as if it were a text of its own: as libllama does. That is asked
 * for the byte pairs of what is short; all else is src/tokenizer's, which can be left. */
#include <string.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "driftwood_abi.h"
#include "text/llama_guard.h"
#include "text/vocab_internal.h"

/* A text longer than this would keep the host busy for seconds in one call. */
#define TEXT_BYTES_MAX ((size_t)16 << 20)
/* Byte pairs of libllama's take a text as a whole, 16 MiB for half a minute: they get a longer one
 * in parts of this length or more, where a word ends whatever the pattern. */
#define PAIRS_BYTES ((size_t)4 << 10)
/* A part that is longer by so much, since nothing in it is sure to end a word, is not libllama's: a
 * word of 16 MB took it 18 seconds. */
#define WORD_BYTES ((size_t)8 << 10)
/* What libllama takes meanwhile, measured on words of 4 MiB: 94 bytes a byte. */
#define LLAMA_BYTES(bytes) ((uint64_t)100 * (bytes))
/* Where libllama splits texts by std::regex, which recurses once a character of a match, it gets
 * texts of this length at most: its stack is that of whoever calls, a guest's fiber for one. */
#define REGEX_TEXT_BYTES_MAX ((size_t)1 << 10)

/* ---- damage ------------------------------------------------------------------------------- */

/* A four-byte sequence whose number lies beyond Unicode (F4 90.. and above): libllama decodes it
 * and then throws when it writes it back. Other damage it replaces by U+FFFD itself. */
static bool beyond_unicode(const unsigned char *bytes, size_t left)
{
    return left >= 4 && bytes[0] >= 0xf4 && bytes[0] <= 0xf7 && (bytes[1] & 0xc0) == 0x80 &&
           (bytes[2] & 0xc0) == 0x80 && (bytes[3] & 0xc0) == 0x80 &&
           (bytes[0] > 0xf4 || bytes[1] >= 0x90);
}

/* A copy of the text with such sequences replaced; NULL in *out where there are none. */
static dw_status repair_text(const char *text, size_t *text_bytes, char **out, dw_stop *stop,
                             dw_error *err)
{
    *out = NULL;
    const unsigned char *bytes = (const unsigned char *)text;
    size_t count = *text_bytes;
    size_t i = 0;
    uint32_t round = 0;
    while (i < count && !beyond_unicode(bytes + i, count - i) &&
           !dw_stop_pauses_seldom(stop, &round)) {
        i++;
    }
    if (i == count) {
        return DW_OK;
    }
    char *repaired = dw_alloc(count, 1);
    if (repaired == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to repair %zu bytes of text", count);
    }
    size_t length = 0;
    for (i = 0; i < count && !dw_stop_pauses_seldom(stop, &round);) {
        if (beyond_unicode(bytes + i, count - i)) {
            memcpy(repaired + length, "\xef\xbf\xbd", 3);
            length += 3;
            i += 4;
        } else {
            repaired[length++] = text[i++];
        }
    }
    *text_bytes = length;
    *out = repaired;
    return dw_stop_check(stop, "tokenize", err);
}

/* ---- stretches of text -------------------------------------------------------------------- */

dw_status dw__vocab_make_pairs(void *arg, dw_error *err)
{
    const dw_vocab *vocab = arg;
    lazy_pairs *lazy = vocab->lazy_pairs;
    dw_status status = DW_OK;
    if (vocab->file == NULL && lazy->own_file == NULL) {
        status = dw_gguf_open(&lazy->own_file, vocab->path, err);
    }
    return status != DW_OK
               ? status
               : dw_byte_pairs_create(&lazy->pairs,
                                      vocab->file != NULL ? vocab->file : lazy->own_file,
                                      vocab->vocab, err);
}

/* By our own code, where the vocabulary has a splitter, `by`. */
static dw_status add_own(const dw_vocab *vocab, const dw_pre_tokenizer *by, const char *text,
                         size_t bytes, dw_token_list *out, dw_error *err)
{
    dw_status status = dw_once_do(&vocab->lazy_pairs->once, out->stop, err);
    return status != DW_OK
               ? status
               : dw_byte_pairs_tokenize(vocab->lazy_pairs->pairs, by, text, bytes, out, err);
}

/* By libllama, which cannot be left: a part of a text, of PAIRS_BYTES and WORD_BYTES at most. */
static dw_status add_by_llama(const dw_vocab *vocab, const char *text, size_t bytes,
                              dw_token_list *out, dw_error *err)
{
    size_t left = out->count < out->capacity ? out->capacity - out->count : 0;
    int32_t none = 0;
    int32_t room = left > INT32_MAX ? INT32_MAX : (int32_t)left;
    DW_ASSERT(bytes <= PAIRS_BYTES + WORD_BYTES);
    dw_status status =
        dw_account_charge(dw_account_entered(), DW_PART_TEXTS, LLAMA_BYTES(bytes), err);
    if (status != DW_OK) {
        return status;
    }
    int32_t result = dw_llama_tokenize(vocab->vocab, text, (int32_t)bytes,
                                       room > 0 ? out->tokens + out->count : &none, room, 0);
    dw_account_give(dw_account_entered(), DW_PART_TEXTS, LLAMA_BYTES(bytes));
    if (result == DW_LLAMA_THREW) {
        return dw_fail(err, DW_E_ARG, "text: it cannot be tokenised: %s", dw_llama_why());
    }
    out->count += (size_t)(result < 0 ? -(int64_t)result : result);
    return DW_OK;
}

/* Of a character that begins with `first`, as far as there are bytes `left`. */
static size_t character_bytes(unsigned char first, size_t left)
{
    size_t bytes = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    return bytes < left ? bytes : left;
}

/* ---- long texts ---------------------------------------------------------------------------- */

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* Whether a word ends between two characters of ASCII by every pattern for which libllama has code:
 * letters go with letters and with what stands in front of them, or an apostrophe behind them;
 * numbers with numbers and a space in front; other marks with each other and with line ends. */
static bool ends_word(unsigned char before, unsigned char behind)
{
    if (before >= 0x80 || behind >= 0x80) {
        return false;
    }
    return (is_letter(before) && !is_letter(behind) && behind != '\'') ||
           (is_digit(before) && !is_digit(behind) && behind != '\'');
}

/* The first place at least `least` bytes behind `from` where the text may be cut; `bytes` where
 * there is none, or once it is asked to stop. */
static size_t next_word_end(const char *text, size_t bytes, size_t from, dw_stop *stop)
{
    size_t at = bytes - from > PAIRS_BYTES ? from + PAIRS_BYTES : bytes;
    uint32_t round = 0;
    while (at < bytes && !ends_word((unsigned char)text[at - 1], (unsigned char)text[at]) &&
           !dw_stop_pauses_seldom(stop, &round)) {
        at++;
    }
    return at;
}

/* In parts, cut where words end. A part of a long word is split and merged by our own code. */
static dw_status add_words(const dw_vocab *vocab, const char *text, size_t bytes,
                           dw_token_list *out, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t at = 0, next = 0; status == DW_OK && at < bytes; at = next) {
        next = next_word_end(text, bytes, at, out->stop);
        dw_stop_pause(out->stop);
        status = dw_stop_check(out->stop, "tokenize", err);
        if (status == DW_OK) {
            status = next - at > WORD_BYTES
                         ? add_own(vocab, vocab->words, text + at, next - at, out, err)
                         : add_by_llama(vocab, text + at, next - at, out, err);
        }
    }
    return status;
}

/* ---- stretches ---------------------------------------------------------------------------- */

/* For byte pairs. libllama would find some control tokens in a stretch all the same
 * (dw_special.taken_anyway): our own code does not, and libllama is given such a spelling in two
 * parts. */
static dw_status add_pairs(const dw_vocab *vocab, const char *text, size_t bytes,
                           dw_token_list *out, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t at = 0, next = 0; status == DW_OK && at < bytes; at = next) {
        next = dw_specials_next_taken(&vocab->specials, text, bytes, at, out->stop);
        status = dw_stop_check(out->stop, "tokenize", err);
        if (status != DW_OK) {
            break;
        }
        if (vocab->splitter != NULL && (next < bytes || bytes > REGEX_TEXT_BYTES_MAX)) {
            return add_own(vocab, vocab->splitter, text, bytes, out, err);
        }
        next =
            next < bytes ? next + character_bytes((unsigned char)text[next], bytes - next) : bytes;
        status = vocab->splitter != NULL ? add_by_llama(vocab, text + at, next - at, out, err)
                                         : add_words(vocab, text + at, next - at, out, err);
    }
    return status;
}

/* A stretch between special tokens. */
static dw_status add_stretch(const dw_vocab *vocab, const char *text, size_t bytes,
                             dw_token_list *out, dw_error *err)
{
    if (vocab->sentence_pieces != NULL) {
        return dw_sentence_pieces_tokenize(vocab->sentence_pieces, text, bytes, out, err);
    }
    if (vocab->unigrams != NULL) {
        return dw_unigrams_tokenize(vocab->unigrams, text, bytes, out, err);
    }
    char *repaired = NULL;
    dw_status status = repair_text(text, &bytes, &repaired, out->stop, err);
    const char *own = repaired != NULL ? repaired : text;
    if (status == DW_OK) {
        status = vocab->word_pieces != NULL
                     ? dw_word_pieces_tokenize(vocab->word_pieces, own, bytes, out, err)
                     : add_pairs(vocab, own, bytes, out, err);
    }
    dw_free(repaired);
    return status;
}

/* ---- whole texts -------------------------------------------------------------------------- */

/* The pieces joined, and where in that text is content. */
typedef struct joined_text {
    char *own; /* NULL: the only piece's text */
    dw_text_range *content;
    dw_cut_text cut;
} joined_text;

static dw_status join_bytes(const dw_text_piece *pieces, size_t count, size_t *bytes, dw_error *err)
{
    *bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (!dw_add_size(bytes, *bytes, pieces[i].bytes) || *bytes > TEXT_BYTES_MAX) {
            return dw_fail(err, DW_E_LIMIT, "text: more than %zu bytes in one call",
                           TEXT_BYTES_MAX);
        }
    }
    return DW_OK;
}

static dw_status join(joined_text *out, const dw_text_piece *pieces, size_t count, dw_error *err)
{
    size_t bytes = 0;
    dw_status status = join_bytes(pieces, count, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    out->content = dw_alloc(count, sizeof *out->content);
    out->own = count == 1 ? NULL : dw_alloc(bytes, 1);
    if (out->content == NULL || (count != 1 && out->own == NULL)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of text", bytes);
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const dw_text_piece *piece = &pieces[i];
        if (out->own != NULL && piece->bytes > 0) {
            memcpy(out->own + at, piece->text, piece->bytes);
        }
        if (piece->is_content && piece->bytes > 0) {
            out->content[out->cut.content_count++] = (dw_text_range){at, at + piece->bytes};
        }
        at += piece->bytes;
    }
    out->cut.text = out->own != NULL ? out->own : pieces[0].text;
    out->cut.bytes = bytes;
    out->cut.content = out->content;
    return DW_OK;
}

static dw_status add_fragments(const dw_vocab *vocab, const joined_text *text, dw_token_list *out,
                               dw_error *err)
{
    dw_fragments fragments;
    dw_status status = dw_specials_cut(&vocab->specials, &text->cut, &fragments, err);
    for (size_t i = 0; status == DW_OK && i < fragments.count; i++) {
        const dw_fragment *fragment = &fragments.items[i];
        if (fragment->token >= 0) {
            dw_token_list_add(out, fragment->token);
        } else {
            status =
                add_stretch(vocab, text->cut.text + fragment->offset, fragment->bytes, out, err);
        }
    }
    dw_free(fragments.items);
    return status;
}

dw_status dw_vocab_tokenize_pieces(const dw_vocab *vocab, const dw_text_piece *pieces, size_t count,
                                   uint32_t flags, dw_token_list *out, dw_error *err)
{
    out->count = 0;
    if ((flags & ~(uint32_t)(DW_TOKENIZE_SPECIAL | DW_TOKENIZE_PARSE)) != 0) {
        return dw_fail(err, DW_E_ARG, "flags: 0x%x, only 1 and 2 are known", flags);
    }
    dw_status status = dw_vocab_wait_for(vocab, out->stop, err);
    if (status != DW_OK) {
        return status;
    }
    joined_text text = {.cut = {.parse = (flags & DW_TOKENIZE_PARSE) != 0, .stop = out->stop}};
    bool adds = (flags & DW_TOKENIZE_SPECIAL) != 0;
    status = join(&text, pieces, count, err);
    if (status == DW_OK && adds && vocab->first >= 0) {
        dw_token_list_add(out, vocab->first);
    }
    if (status == DW_OK) {
        status = add_fragments(vocab, &text, out, err);
    }
    if (status == DW_OK && adds && vocab->last >= 0) {
        dw_token_list_add(out, vocab->last);
    }
    dw_free(text.own);
    dw_free(text.content);
    if (status == DW_OK && out->count > out->capacity) {
        return dw_fail(err, DW_E_SPACE, "tokens: %zu of them, room for %zu", out->count,
                       out->capacity);
    }
    out->count = status == DW_OK ? out->count : 0;
    return status;
}

dw_status dw_vocab_tokenize(const dw_vocab *vocab, const char *text, size_t text_bytes,
                            int32_t *tokens, size_t capacity, uint32_t flags, size_t *count,
                            dw_error *err)
{
    dw_text_piece piece = {.text = text, .bytes = text != NULL ? text_bytes : 0};
    dw_token_list list = {.tokens = tokens, .capacity = capacity};
    dw_status status = dw_vocab_tokenize_pieces(vocab, &piece, 1, flags, &list, err);
    *count = list.count;
    return status;
}

int32_t dw_vocab_find(const dw_vocab *vocab, const char *text, size_t bytes)
{
    int32_t token;
    size_t count;
    dw_error err;
    dw_status status =
        dw_vocab_tokenize(vocab, text, bytes, &token, 1, DW_TOKENIZE_PARSE, &count, &err);
    return status == DW_OK && count == 1 ? token : -1;
}
