/* ReAct: thoughts and actions take turns. An action is a line of a grammar, so that it can be read;
 * the host's tool `calc` works it out, and the model goes on behind what that says. */
#include <driftwood_helpers.h>

static int32_t model;
static int32_t context;
static int32_t last;

/* What the model says, `grammar` ("": none) holding it. */
static char *say(const char *grammar, uint32_t room, uint64_t seed)
{
    int32_t sampler = dw_sampler_of(model, 0.0, seed);
    dw_must(dw_sampler_grammar(sampler, model, grammar, (uint32_t)strlen(grammar)), "grammar");
    dw_branch one = dw_branch_of(context, sampler, last, room);
    dw_branches_grow(model, &one, 1);
    last = one.ended && one.count > 0 ? one.tokens[one.count - 1] : one.last;
    char *text = dw_text_of(model, one.tokens, one.count);
    dw_must(dw_context_trim(context, (uint32_t)dw_context_length(context) - (uint32_t)one.ended),
            "trim"); /* the last is appended with what follows */
    dw_must(dw_sampler_close(sampler), "close");
    free(one.tokens);
    return text;
}

/* What is not the model's goes into the context. */
static void tell(const char *text)
{
    uint32_t count;
    int32_t *tokens = dw_tokens_of(model, text, 0, &count);
    dw_must(dw_forward(context, &last, 1, NULL), "forward");
    if (count > 1) {
        dw_must(dw_forward(context, tokens, count - 1, NULL), "forward");
    }
    last = tokens[count - 1];
    free(tokens);
    printf("%s", text);
}

int main(void)
{
    dw_abi_model_info info;
    const char *asked = dw_prompt("A shelf has 17 books, and 25 more are brought. How many?");
    uint32_t count;
    char value[256];
    char line[512];
    model = dw_first_model(&info);
    int32_t *prompt = dw_turn_of(
        model, "You solve questions. First write the sum to be done, such as 2 + 2, then say it.",
        asked, &count);
    context = dw_context_of(model, prompt, count, 512);
    last = prompt[count - 1];
    tell("Action: calc ");
    char *sum = say("root ::= number (op number)+ \"\\n\"\nop ::= \" + \" | \" - \" | \" * \"\n"
                    "number ::= [1-9] [0-9]? [0-9]?",
                    16, 1);
    sum[strcspn(sum, "\n")] = '\0';
    int32_t bytes =
        dw_must(dw_call("calc", 4, sum, (uint32_t)strlen(sum), value, sizeof value - 1), "tool");
    value[bytes] = '\0';
    value[strcspn(value, "\n")] = '\0';
    printf("%s\n", sum);
    snprintf(line, sizeof line, "Observation: %s\nAnswer: The number is", value);
    tell(line);
    char *answer = say("", 12, 2);
    printf("%s\n1 call of calc: %s = %s; the answer %s it\n", answer, sum, value,
           strstr(answer, value) != NULL ? "has" : "has not");
    return 0;
}
