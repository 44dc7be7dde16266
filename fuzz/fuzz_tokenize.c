/* Tokenizers of src/tokenizer held against libllama's: a vocabulary of the input's, any text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gguf.h>

#include "driftwood_abi.h"
#include "text/llama_guard.h"
#include "text/tokenizer_check.h"
#include "text/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOKENS_MAX 400
#define TOKEN_BYTES 40
#define TEXT_BYTES_MAX 4096
#define COUNT_MAX (4 * TEXT_BYTES_MAX + 16)

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { SPM, UGM, WPM, BPE, KINDS };

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static uint8_t take(input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

typedef struct tokens {
    char texts[TOKENS_MAX][TOKEN_BYTES];
    const char *pointers[TOKENS_MAX];
    float scores[TOKENS_MAX];
    int32_t types[TOKENS_MAX];
    size_t count;
} tokens;

static void add(tokens *t, const char *text, int32_t type, float score)
{
    bool fits = text[0] != '\0' && t->count < TOKENS_MAX;
    for (size_t i = 0; i < t->count && fits; i++) {
        fits = strcmp(t->texts[i], text) != 0; /* each once: the file would be refused */
    }
    if (fits) {
        (void)snprintf(t->texts[t->count], sizeof t->texts[0], "%s", text);
        t->pointers[t->count] = t->texts[t->count];
        t->types[t->count] = type;
        t->scores[t->count++] = score;
    }
}

/* Halves and infinite ones, and what is no number; SPM's order of the last is chance. */
static float score_of(uint8_t byte, int kind)
{
    float zero = 0;
    return byte < 250    ? -(float)byte / 2
           : kind == SPM ? 1
           : byte < 252  ? 1 / zero
           : byte < 254  ? -1 / zero
                         : zero / zero;
}

static void take_token(input *in, tokens *t, int kind)
{
    static const int32_t types[] = {NORMAL, NORMAL, NORMAL, NORMAL, USER_DEFINED, UNUSED};
    char text[TOKEN_BYTES] = "";
    uint8_t shape = take(in);
    size_t length = 1 + shape % 8;
    size_t at = 0;
    if ((shape & 8) != 0) {
        memcpy(text, "\xe2\x96\x81", 3);
        at = 3;
    }
    for (size_t i = 0; i < length; i++) {
        text[at++] = (char)take(in);
    }
    float score = score_of(take(in), kind);
    add(t, text, types[(shape >> 4) % 6], score);
}

static void take_tokens(input *in, tokens *t, int kind)
{
    t->count = 0;
    add(t, "<unk>", UNKNOWN, 0);
    add(t, "<s>", CONTROL, 0);
    add(t, "</s>", CONTROL, 0);
    for (unsigned i = 0; i < 256 && kind == SPM; i++) {
        char text[8];
        (void)snprintf(text, sizeof text, "<0x%02X>", i);
        add(t, text, BYTE, 0);
    }
    for (unsigned i = 'a'; i < 'a' + 12; i++) {
        const char text[] = {(char)i, '\0'};
        add(t, text, NORMAL, -3);
    }
    size_t more = take(in) % 96;
    for (size_t i = 0; i < more && in->left > 0; i++) {
        take_token(in, t, kind);
    }
}

/* Bytes of the input, with a length in front that lies in them. */
static void take_charsmap(input *in, struct gguf_context *gguf)
{
    uint8_t map[4 + 256 * 4 + 64] = {0};
    uint32_t node_bytes = (uint32_t)take(in) * 4;
    size_t bytes = sizeof node_bytes + node_bytes + 1 + take(in) % 63;
    memcpy(map, &node_bytes, sizeof node_bytes);
    for (size_t i = sizeof node_bytes; i < bytes; i++) {
        map[i] = take(in);
    }
    gguf_set_arr_data(gguf, "tokenizer.ggml.precompiled_charsmap", GGUF_TYPE_UINT8, map, bytes);
}

static void set_keys(input *in, struct gguf_context *gguf, int kind)
{
    static const char *const models[] = {"llama", "t5", "bert", "gpt2"};
    static const char *const pres[] = {"kimi-k2", "laguna", "gpt-2", "llama3", "qwen2", "gpt-4o"};
    uint8_t options = take(in);
    gguf_set_val_str(gguf, "general.architecture", "bert");
    gguf_set_val_str(gguf, "tokenizer.ggml.model", models[kind]);
    gguf_set_val_u32(gguf, "tokenizer.ggml.unknown_token_id", 0);
    gguf_set_val_u32(gguf, "tokenizer.ggml.bos_token_id", 1);
    gguf_set_val_u32(gguf, "tokenizer.ggml.eos_token_id", 2);
    gguf_set_val_u32(gguf, "tokenizer.ggml.seperator_token_id", 2);
    gguf_set_val_bool(gguf, "tokenizer.ggml.add_space_prefix", (options & 1) != 0);
    gguf_set_val_bool(gguf, "tokenizer.ggml.remove_extra_whitespaces", (options & 2) != 0);
    if (kind == WPM && (options & 4) != 0) {
        gguf_set_val_bool(gguf, "tokenizer.ggml.normalizer.lowercase", (options & 8) != 0);
        gguf_set_val_bool(gguf, "tokenizer.ggml.normalizer.strip_accents", (options & 16) != 0);
    }
    if (kind == UGM && (options & 4) != 0) {
        take_charsmap(in, gguf);
    }
    if (kind == BPE) {
        const char *const merges[] = {"a b", "ab c", "a a", "aa aa", "\xc4\xa0 a", "d e"};
        gguf_set_val_str(gguf, "tokenizer.ggml.pre", pres[(options >> 3) % 6]);
        gguf_set_arr_str(gguf, "tokenizer.ggml.merges", (const char **)(uintptr_t)merges, 6);
    }
}

/* NULL: the file is refused. */
static dw_vocab *open_vocab(input *in, dw_gguf **file)
{
    static tokens t;
    char path[] = "/tmp/dw-fuzz-XXXXXX";
    dw_vocab *vocab = NULL;
    dw_error err;
    int kind = take(in) % KINDS;
    struct gguf_context *gguf = gguf_init_empty();
    set_keys(in, gguf, kind);
    take_tokens(in, &t, kind);
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", t.pointers, t.count);
    gguf_set_arr_data(gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, t.scores, t.count);
    gguf_set_arr_data(gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, t.types, t.count);
    int fd = mkstemp(path);
    DW_ASSERT(fd >= 0 && gguf_write_to_file(gguf, path, true));
    (void)close(fd);
    gguf_free(gguf);
    if (dw_gguf_open(file, path, &err) == DW_OK &&
        dw_tokenizer_check(*file, (uint32_t)t.count, &err) == DW_OK &&
        dw_vocab_open(&vocab, path, (uint32_t)t.count, &err) == DW_OK) {
        dw_vocab_lend_file(vocab, *file);
    }
    (void)unlink(path);
    return vocab;
}

/* ---- what libllama leaves open ------------------------------------------------------------- */

static bool is_special(const struct llama_vocab *vocab, int32_t token)
{
    return (llama_vocab_get_attr(vocab, token) &
            (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED |
             LLAMA_TOKEN_ATTR_UNKNOWN)) != 0;
}

/* Whether two special tokens of that length are spelt in the text where they overlap. */
static bool overlap(const struct llama_vocab *vocab, const char *text, size_t bytes, size_t length)
{
    size_t last = 0;
    int32_t found = -1;
    for (size_t at = 0; at + length <= bytes; at++) {
        for (int32_t i = 0; i < llama_vocab_n_tokens(vocab); i++) {
            const char *spelt = llama_vocab_get_text(vocab, i);
            if (!is_special(vocab, i) || strlen(spelt) != length ||
                memcmp(spelt, text + at, length) != 0) {
                continue;
            }
            if (found >= 0 && found != i && at - last < length) {
                return true;
            }
            found = i;
            last = at;
        }
    }
    return false;
}

/* libllama cuts out the longest special tokens first, and equally long ones in the order that a
 * sort leaves them in which keeps none (std::sort); here they go by their numbers. Where two of one
 * length overlap in a text, it may have either. */
static bool is_open(const struct llama_vocab *vocab, const char *text, size_t bytes)
{
    for (size_t length = 1; length < TOKEN_BYTES; length++) {
        if (overlap(vocab, text, bytes, length)) {
            return true;
        }
    }
    return false;
}

static void compare(const dw_vocab *vocab, const char *text, size_t bytes)
{
    static int32_t got[COUNT_MAX];
    static int32_t want[COUNT_MAX];
    size_t count = 0;
    dw_error err;
    int32_t wanted = dw_llama_tokenize(dw_vocab_llama(vocab), text, (int32_t)bytes, want, COUNT_MAX,
                                       DW_TOKENIZE_PARSE);
    dw_status status =
        dw_vocab_tokenize(vocab, text, bytes, got, COUNT_MAX, DW_TOKENIZE_PARSE, &count, &err);
    if (wanted == DW_LLAMA_THREW) { /* where it does we answer, or refuse as well */
        DW_ASSERT(status == DW_OK || status == DW_E_ARG);
        return;
    }
    DW_ASSERT(status == DW_OK && wanted >= 0);
    bool same =
        count == (size_t)wanted && (count == 0 || memcmp(got, want, count * sizeof got[0]) == 0);
    DW_ASSERT(same || is_open(dw_vocab_llama(vocab), text, bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    dw_gguf *file = NULL;
    dw_vocab *vocab = open_vocab(&in, &file);
    if (vocab != NULL) {
        size_t bytes = in.left < TEXT_BYTES_MAX ? in.left : TEXT_BYTES_MAX;
        char *text = malloc(bytes + 1); /* exactly as long, for AddressSanitizer */
        DW_ASSERT(text != NULL);
        if (bytes > 0) {
            memcpy(text, in.at, bytes);
        }
        compare(vocab, text, bytes);
        free(text);
    }
    dw_vocab_close(vocab);
    dw_gguf_close(file);
    return 0;
}
