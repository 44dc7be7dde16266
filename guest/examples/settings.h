/* What guests of models share: numbers from the environment, errors in words, tokens. Everything is
 * static: a guest is one file. */
#ifndef GUEST_EXAMPLES_SETTINGS_H
#define GUEST_EXAMPLES_SETTINGS_H

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <driftwood_guest.h>

/* "generate: what: the host's words", and the end. */
static _Noreturn void die(const char *what)
{
    char words[256] = "";
    dw_last_error(words, sizeof words);
    fprintf(stderr, "%s%s%s\n", what, words[0] != '\0' ? ": " : "", words);
    exit(1);
}

static int32_t must(int32_t result, const char *what)
{
    if (result < 0) {
        die(what);
    }
    return result;
}

/* Memory that tensors, tokens and logits may lie in. */
static void *aligned(size_t count, size_t bytes)
{
    size_t size = (count * bytes + DW_TENSOR_ALIGN - 1) / DW_TENSOR_ALIGN * DW_TENSOR_ALIGN;
    void *memory = aligned_alloc(DW_TENSOR_ALIGN, size);
    if (memory == NULL) {
        fprintf(stderr, "out of memory: %zu bytes\n", size);
        exit(1);
    }
    return memory;
}

__attribute__((unused)) static uint64_t whole_from(const char *name, uint64_t fallback, uint64_t max)
{
    const char *text = getenv(name);
    if (text == NULL || text[0] == '\0') {
        return fallback;
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || text[0] == '-' || errno != 0 || value > max) {
        fprintf(stderr, "%s: '%s' is not a number from 0 to %llu\n", name, text,
                (unsigned long long)max);
        exit(1);
    }
    return value;
}

/* text -> tokens, in memory of their own. */
__attribute__((unused)) static int32_t *tokens_of(int32_t model, const char *text, size_t text_bytes, uint32_t flags,
                          uint32_t *count)
{
    uint32_t capacity = (uint32_t)text_bytes + 16; /* no token is shorter than a byte */
    int32_t *tokens = aligned(capacity, sizeof *tokens);
    int32_t result = dw_tokenize(model, text, (uint32_t)text_bytes, tokens, capacity, flags);
    if (result == DW_E_SPACE) {
        capacity = (uint32_t)tokens[0];
        free(tokens);
        tokens = aligned(capacity, sizeof *tokens);
        result = dw_tokenize(model, text, (uint32_t)text_bytes, tokens, capacity, flags);
    }
    *count = (uint32_t)must(result, "tokenize");
    return tokens;
}

#endif
