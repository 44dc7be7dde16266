#include "grammar_fixture.h"

#include <string.h>

#include "support.h"

static const char *const words[] = {"ab", "abc", "\xc3\xa9", "\xc3", "<end>", "<x>"};

static int32_t text_of(const void *user, int32_t token, char *text, int32_t capacity)
{
    char byte = (char)token;
    const char *from = token < 256 ? &byte : words[token - 256];
    int32_t bytes = token < 256 ? 1 : (int32_t)strlen(from);
    (void)user;
    if (bytes > capacity) {
        return -bytes;
    }
    memcpy(text, from, (size_t)bytes);
    return bytes;
}

static int32_t find(const void *user, const char *text, size_t bytes)
{
    (void)user;
    return bytes == 3 && memcmp(text, "<x>", 3) == 0     ? TOKEN_X
           : bytes == 5 && memcmp(text, "<end>", 5) == 0 ? TOKEN_END
                                                         : -1;
}

const dw_grammar_tokens byte_tokens = {TOKEN_COUNT, find, NULL, NULL};

dw_token_texts byte_texts(void)
{
    dw_token_texts out;
    dw_error err;
    assert_int_equal(dw_token_texts_make(&out, TOKEN_COUNT, text_of, NULL, &err), DW_OK);
    out.is_end[TOKEN_END] = 1;
    out.is_control[TOKEN_END] = 1;
    out.is_control[TOKEN_X] = 1;
    return out;
}

static dw_grammar *make(const dw_token_texts *texts, const char *text)
{
    dw_grammar *grammar;
    dw_error err;
    if (dw_grammar_create(&grammar, texts, text, strlen(text), &byte_tokens, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    return grammar;
}

int grammar_follows(const char *text, const char *input)
{
    dw_token_texts texts = byte_texts();
    dw_grammar *grammar = make(&texts, text);
    dw_error err;
    bool allowed = true;
    for (const char *byte = input; *byte != '\0' && allowed; byte++) {
        int32_t token = (unsigned char)*byte;
        assert_int_equal(dw_grammar_allows(grammar, token, &allowed, &err), DW_OK);
        assert_int_equal(dw_grammar_accept(grammar, token, &err), allowed ? DW_OK : DW_E_ARG);
    }
    int result = !allowed ? -1 : dw_grammar_complete(grammar);
    dw_grammar_destroy(grammar);
    dw_token_texts_release(&texts);
    return result;
}

static uint32_t chance(uint32_t *random, uint32_t sides)
{
    *random = *random * 1664525U + 1013904223U; /* Numerical Recipes' quick generator */
    return (uint32_t)((uint64_t)*random * sides >> 32);
}

/* The longer the text, the likelier that a quote or a bracket closes where it can. */
static int32_t pick(const unsigned char *allowed, size_t used, uint32_t *random)
{
    static const char closers[] = "\"]}";
    uint32_t count = 0;
    int32_t token = 0;
    if (allowed[TOKEN_END] && chance(random, 2) == 0) {
        return TOKEN_END;
    }
    for (size_t i = 0; i < 3; i++) {
        if (allowed[(int)closers[i]] && chance(random, 400) < used) {
            return closers[i];
        }
    }
    for (int32_t i = 0; i < TOKEN_COUNT; i++) {
        count += allowed[i];
    }
    assert_true(count > 0);
    uint32_t left = chance(random, count);
    while (!allowed[token] || left-- > 0) {
        token++;
    }
    return token;
}

void grammar_generate(const char *text, uint32_t seed, char *out, size_t capacity)
{
    dw_token_texts texts = byte_texts();
    dw_grammar *grammar = make(&texts, text);
    unsigned char allowed[TOKEN_COUNT];
    const uint64_t *bits;
    size_t used = 0;
    dw_error err;
    for (;;) {
        assert_int_equal(dw_grammar_mask(grammar, &bits, &err), DW_OK);
        for (uint32_t i = 0; i < TOKEN_COUNT; i++) {
            allowed[i] = dw_grammar_has(bits, i);
        }
        int32_t token = pick(allowed, used, &seed);
        assert_int_equal(dw_grammar_accept(grammar, token, &err), DW_OK);
        if (token == TOKEN_END) {
            break;
        }
        size_t bytes = texts.starts[token + 1] - texts.starts[token];
        assert_true(used + bytes < capacity);
        memcpy(out + used, texts.bytes + texts.starts[token], bytes);
        used += bytes;
    }
    out[used] = '\0';
    dw_grammar_destroy(grammar);
    dw_token_texts_release(&texts);
}
