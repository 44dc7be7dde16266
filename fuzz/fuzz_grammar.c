/* Grammars of any bytes, and any tokens after them: what the mask allows is accepted, what it does
 * not is refused, and the text so far stays UTF-8. The input: a grammar, a byte 0xFF, tokens. */
#include <stdint.h>
#include <string.h>

#include "grammar/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOKEN_COUNT 264
#define STEPS_MAX 24

static const char *const words[] = {"ab", "aba", "\": ", "\xc3\xa9", "\xe2\x82", "  ", "", ""};

static int32_t text_of(const void *user, int32_t token, char *text, int32_t capacity)
{
    char byte = (char)token;
    const char *from = token < 256 ? &byte : words[token - 256];
    int32_t bytes = token < 256 ? 1 : (int32_t)strlen(from);
    (void)user;
    if (bytes <= capacity) {
        memcpy(text, from, (size_t)bytes);
    }
    return bytes <= capacity ? bytes : -bytes;
}

static int32_t find(const void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)text;
    return bytes == 3 ? TOKEN_COUNT - 1 : -1;
}

static void walk(dw_grammar *grammar, const uint8_t *choices, size_t count)
{
    const uint64_t *allowed;
    dw_error err;
    for (size_t i = 0; i < count && i < STEPS_MAX; i++) {
        if (dw_grammar_mask(grammar, &allowed, &err) != DW_OK) {
            return;
        }
        /* The chosen one, and the next that is allowed. */
        int32_t token = choices[i] + (int32_t)(i % 2) * 8;
        bool one;
        if (dw_grammar_allows(grammar, token, &one, &err) == DW_OK) {
            DW_ASSERT(one == dw_grammar_has(allowed, (uint32_t)token));
        }
        dw_status status = dw_grammar_accept(grammar, token, &err);
        DW_ASSERT(status == DW_E_LIMIT ||
                  status == (dw_grammar_has(allowed, (uint32_t)token) ? DW_OK : DW_E_ARG));
        for (int32_t next = 0; status == DW_E_ARG && next < TOKEN_COUNT; next++) {
            int32_t other = (token + next) % TOKEN_COUNT;
            if (dw_grammar_has(allowed, (uint32_t)other)) {
                status = dw_grammar_accept(grammar, other, &err);
                DW_ASSERT(status == DW_OK || status == DW_E_LIMIT);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dw_token_texts texts;
    static const dw_grammar_tokens tokens = {TOKEN_COUNT, find, NULL, NULL};
    dw_error err;
    if (texts.count == 0) {
        DW_ASSERT(dw_token_texts_make(&texts, TOKEN_COUNT, text_of, NULL, &err) == DW_OK);
        texts.is_end[TOKEN_COUNT - 2] = 1;
    }
    const uint8_t *split = size > 0 ? memchr(data, 0xff, size) : NULL;
    size_t bytes = split != NULL ? (size_t)(split - data) : size;
    dw_grammar *grammar;
    if (bytes <= 4096 &&
        dw_grammar_create(&grammar, &texts, (const char *)data, bytes, &tokens, &err) == DW_OK) {
        walk(grammar, data + bytes, size - bytes);
        dw_grammar_destroy(grammar);
    }
    return 0;
}
