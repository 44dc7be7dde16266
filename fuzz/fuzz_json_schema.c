/* JSON Schemas of any bytes: refused, or a grammar that parses, or has met a limit of grammars. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "text/grammar_rules.h"
#include "schema/json_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int32_t find(const void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)text;
    (void)bytes;
    return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const dw_grammar_tokens tokens = {1, find, NULL, NULL};
    char *text;
    dw_error err;
    if (size <= 8192 && dw_json_grammar_make(&text, (const char *)data, size, &err) == DW_OK) {
        dw_grammar_rules rules;
        dw_status status = dw_grammar_rules_make(&rules, text, strlen(text), &tokens, &err);
        /* All that may be left to refuse is a schema that nothing is valid against. */
        DW_ASSERT(status == DW_OK || status == DW_E_LIMIT ||
                  strstr(err.message, "can match nothing") != NULL);
        dw_grammar_rules_release(&rules);
        dw_free(text);
    }
    return 0;
}
