/* JSON with a repair loop: an answer is asked for, looked at by a strict reader, and asked for
 * again with what was wrong, TRIES (3) times; then a grammar of the schema holds it, which cannot
 * fail. */
#include <driftwood_helpers.h>

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":20},"
    "\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":150}},"
    "\"required\":[\"name\",\"age\"],\"additionalProperties\":false}";

static const char *skip(const char *at)
{
    return at + strspn(at, " \n\t\r");
}

/* {"name": "...", "age": N} and nothing else. -> what is wrong; NULL: nothing */
static const char *fault_of(const char *text)
{
    const char *at = skip(text);
    int seen[2] = {0, 0};
    if (*at != '{') {
        return "it does not begin with {";
    }
    do {
        at = skip(at + 1);
        int age = strncmp(at, "\"age\"", 5) == 0;
        if (!age && strncmp(at, "\"name\"", 6) != 0) {
            return "a key is neither \"name\" nor \"age\"";
        }
        at = skip(at + (age ? 5 : 6));
        if (*at != ':') {
            return "a colon is missing";
        }
        at = skip(at + 1);
        size_t length = age ? strspn(at, "0123456789") : strcspn(at + 1, "\"\\\n") + 2;
        if (age ? length == 0 || length > 3 : *at != '"' || at[length - 1] != '"') {
            return age ? "age is no number" : "name is no text";
        }
        seen[age]++;
        at = skip(at + length);
    } while (*at == ',');
    return *at != '}' || *skip(at + 1) != '\0' ? "there is more behind it"
           : seen[0] != 1 || seen[1] != 1      ? "a key is missing or there twice"
                                               : NULL;
}

static char *answer(int32_t model, const char *asked, int32_t sampler)
{
    uint32_t count;
    int32_t *prompt = dw_turn_of(model, "You answer with JSON alone.", asked, &count);
    dw_branch one =
        dw_branch_of(dw_context_of(model, prompt, count, 64), sampler, prompt[count - 1], 60);
    dw_branches_grow(model, &one, 1);
    char *text = dw_text_of(model, one.tokens, one.count);
    dw_branch_close(&one);
    return text;
}

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    uint32_t most = dw_setting("TRIES", 3);
    const char *task = dw_prompt("Ann is 31 years old. Give {\"name\": ..., \"age\": ...}.");
    char asked[4096];
    snprintf(asked, sizeof asked, "%s", task);
    for (uint32_t i = 0; i < most; i++) {
        char *text = answer(model, asked, dw_sampler_of(model, 0.7, i + 1));
        const char *fault = fault_of(text);
        if (fault == NULL) {
            printf("%s\nvalid at attempt %u, without the grammar\n", text, i + 1);
            return 0;
        }
        fprintf(stderr, "attempt %u: %s\n", i + 1, fault);
        snprintf(asked, sizeof asked, "%s Your last answer was wrong: %s.", task, fault);
    }
    int32_t sampler = dw_sampler_of(model, 0.7, 1);
    dw_must(dw_sampler_json_schema(sampler, model, schema, sizeof schema - 1), "schema");
    char *text = answer(model, task, sampler);
    const char *fault = fault_of(text);
    printf("%s\n%s at attempt %u, by the grammar\n", text, fault == NULL ? "valid" : fault,
           most + 1);
    return fault != NULL;
}
