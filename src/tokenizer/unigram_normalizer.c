#include "tokenizer/unigram_normalizer.h"

#include <string.h>

#include "base/alloc.h"
#include "tokenizer/token_trie_of.h"
#include "tokenizer/utf8.h"

/* A table may make much of each character: sixteen times the longest text. */
#define NORMAL_BYTES_MAX ((size_t)256 << 20)

/* ---- making one --------------------------------------------------------------------------- */

/* uint32 n, n bytes of nodes, replacements. dw_tokenizer_check has seen that n lies in it. */
static dw_status read_charsmap(dw__normalizer *n, const struct llama_vocab *vocab, dw_error *err)
{
    int64_t bytes = dw__vocab_charsmap(vocab, NULL, 0);
    if (bytes == 0) {
        return DW_OK;
    }
    n->charsmap = bytes > 0 ? dw_alloc((size_t)bytes, 1) : NULL;
    if (n->charsmap == NULL || dw__vocab_charsmap(vocab, n->charsmap, (size_t)bytes) != bytes) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a normaliser");
    }
    uint32_t node_bytes = 0;
    if ((size_t)bytes >= sizeof node_bytes) {
        memcpy(&node_bytes, n->charsmap, sizeof node_bytes);
    }
    if ((size_t)bytes <= sizeof node_bytes || node_bytes >= (size_t)bytes - sizeof node_bytes) {
        return dw_fail(err, DW_E_FORMAT, "tokenizer: a normaliser's array of %u bytes in %lld",
                       node_bytes, (long long)bytes);
    }
    n->nodes = n->charsmap + sizeof node_bytes;
    n->node_count = node_bytes / sizeof(uint32_t);
    n->replacements = (const char *)n->nodes + node_bytes;
    n->replacement_bytes = (size_t)bytes - sizeof node_bytes - node_bytes;
    return DW_OK;
}

dw_status dw__normalizer_make(dw__normalizer *out, const struct llama_vocab *vocab, dw_error *err)
{
    dw__vocab_options options;
    *out = (dw__normalizer){.nodes = NULL};
    dw__vocab_options_of(vocab, &options);
    out->adds_space = options.adds_space;
    out->space_behind = options.space_behind;
    out->joins_spaces = options.joins_spaces;
    out->escapes_space = options.escapes_space;
    dw_status status =
        dw__token_trie_of(&out->kept, vocab, NULL, LLAMA_TOKEN_ATTR_USER_DEFINED, err);
    return status == DW_OK ? read_charsmap(out, vocab, err) : status;
}

void dw__normalizer_release(dw__normalizer *normalizer)
{
    dw__byte_trie_release(&normalizer->kept);
    dw_free(normalizer->charsmap);
    *normalizer = (dw__normalizer){.nodes = NULL};
}

/* ---- a text ------------------------------------------------------------------------------- */

typedef struct run {
    const dw__normalizer *by;
    const char *text;
    size_t bytes;
    dw__normal_text *out;
    dw_stop *stop;
    uint32_t round;
    bool left;
    bool in_word;
    bool space_added;
} run;

/* What stands for the beginning of the text that is left. */
typedef struct replacement {
    const char *text;
    size_t bytes;
    size_t of; /* how many bytes of the text */
} replacement;

/* Once it is asked to stop all loops end. */
static bool is_left(run *r)
{
    r->left = r->left || dw_stop_pauses_seldom(r->stop, &r->round);
    return r->left;
}

/* How far the text from `at` on is the beginning of a token that the user defined: the token need
 * not end there, as libllama has it. */
static size_t kept_bytes(run *r, size_t at)
{
    uint32_t node = DW__TRIE_ROOT;
    size_t end = at;
    while (end < r->bytes && !is_left(r)) {
        node = dw__byte_trie_child(&r->by->kept, node, (unsigned char)r->text[end]);
        if (node == DW__TRIE_NONE) {
            break;
        }
        end++;
    }
    return end - at;
}

/* A node of the array (Kanda, Morita, Fuketa: "Compressed double-array tries for string
 * dictionaries supporting fast lookup"): bits 10 to 30 lead to the children, bit 9 says that they
 * count 256 each, bit 8 that a text ends, bits 0 to 7 and 31 which byte leads here. False: there is
 * no such node. */
static bool node_at(const dw__normalizer *by, uint32_t index, uint32_t *node)
{
    if (index >= by->node_count) {
        return false;
    }
    memcpy(node, by->nodes + (size_t)index * sizeof *node, sizeof *node);
    return true;
}

static uint32_t base_of(uint32_t node)
{
    return (node >> 10) << ((node & 1u << 9) >> 6);
}

/* The longest text of the table that the text from `at` on begins with: its length, 0 where there
 * is none, and where its replacement starts. False: the table leads out of itself. */
static bool find_longest(run *r, size_t at, size_t *length, size_t *start)
{
    uint32_t node = 0;
    *length = 0;
    if (r->by->charsmap == NULL || r->by->node_count == 0) {
        return true;
    }
    (void)node_at(r->by, 0, &node);
    uint32_t index = base_of(node);
    for (size_t end = at; end < r->bytes && r->text[end] != '\0' && !is_left(r); end++) {
        unsigned char byte = (unsigned char)r->text[end];
        index ^= byte;
        if (!node_at(r->by, index, &node)) {
            return false;
        }
        if ((node & (1u << 31 | 0xffu)) != byte) {
            break;
        }
        index ^= base_of(node);
        if ((node >> 8 & 1) != 0) {
            uint32_t value = 0;
            if (!node_at(r->by, index, &value)) {
                return false;
            }
            *length = end - at + 1;
            *start = value & ~(1u << 31);
        }
    }
    return true;
}

static dw_status replace(run *r, size_t at, replacement *out, dw_error *err)
{
    size_t length = kept_bytes(r, at);
    size_t start = 0;
    if (length > 0) {
        *out = (replacement){r->text + at, length, length};
        return DW_OK;
    }
    if (!find_longest(r, at, &length, &start) ||
        (length > 0 && start >= r->by->replacement_bytes)) {
        return dw_fail(err, DW_E_ARG, "text: the tokenizer's normaliser leads out of its table");
    }
    if (length > 0) {
        const char *text = r->by->replacements + start;
        const char *end = memchr(text, '\0', r->by->replacement_bytes - start);
        if (end == NULL) {
            return dw_fail(err, DW_E_ARG, "text: the tokenizer's normaliser has no end to a text");
        }
        *out = (replacement){text, (size_t)(end - text), length};
        return DW_OK;
    }
    uint32_t code;
    length = dw__utf8_decode((const unsigned char *)r->text + at, r->bytes - at, &code);
    bool damaged = length == 1 && code == DW__UTF8_DAMAGE;
    *out =
        damaged ? (replacement){"\xef\xbf\xbd", 3, 1} : (replacement){r->text + at, length, length};
    return DW_OK;
}

static dw_status reserve(dw__normal_text *out, size_t more, dw_error *err)
{
    if (out->capacity - out->count >= more) {
        return DW_OK;
    }
    if (out->count > NORMAL_BYTES_MAX || more > NORMAL_BYTES_MAX - out->count) {
        return dw_fail(err, DW_E_LIMIT, "text: more than %zu bytes once it is normalised",
                       NORMAL_BYTES_MAX);
    }
    size_t capacity = 2 * out->capacity < NORMAL_BYTES_MAX ? 2 * out->capacity : NORMAL_BYTES_MAX;
    capacity = capacity > out->count + more ? capacity : out->count + more;
    char *larger = dw_realloc(out->bytes, capacity, 1);
    if (larger == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of normalised text", capacity);
    }
    out->bytes = larger;
    out->capacity = capacity;
    return DW_OK;
}

static void put_space(run *r)
{
    size_t bytes = r->by->escapes_space ? 3 : 1;
    memcpy(r->out->bytes + r->out->count, r->by->escapes_space ? "\xe2\x96\x81" : " ", bytes);
    r->out->count += bytes;
}

/* There is room for four bytes. */
static void put(run *r, char c)
{
    if (c == ' ') {
        r->in_word = false;
        if (!r->by->joins_spaces) {
            put_space(r);
        }
        return;
    }
    bool in_front = r->by->adds_space && !r->by->space_behind && !r->space_added;
    if (!r->in_word && (in_front || r->by->joins_spaces)) {
        put_space(r);
        r->space_added = true;
    }
    r->in_word = true;
    r->out->bytes[r->out->count++] = c;
}

dw_status dw__normalizer_run(const dw__normalizer *normalizer, const char *text, size_t bytes,
                             dw__normal_text *out, dw_stop *stop, dw_error *err)
{
    run r = {.by = normalizer, .text = text, .bytes = bytes, .out = out, .stop = stop};
    dw_status status = reserve(out, bytes + 16, err);
    for (size_t at = 0; status == DW_OK && at < bytes && !is_left(&r);) {
        replacement with = {.of = 0};
        status = replace(&r, at, &with, err);
        if (status == DW_OK) {
            status = reserve(out, 4 * with.bytes, err);
        }
        for (size_t i = 0; status == DW_OK && i < with.bytes && !is_left(&r); i++) {
            put(&r, with.text[i]);
        }
        at += status == DW_OK ? with.of : 0;
    }
    if (status == DW_OK && normalizer->adds_space && normalizer->space_behind) {
        status = reserve(out, 4, err);
        if (status == DW_OK) {
            put_space(&r);
        }
    }
    return status == DW_OK ? dw_stop_check(stop, "tokenize", err) : status;
}
