/* Code-act: the model's action is a program, which the host's tool `run` carries out: here a sum
 * in brackets, and `run` another guest (calculate) in a sandbox of its own. What it failed with
 * is told to the model, which tries again, TRIES (3) times. */
#include <driftwood_helpers.h>

static const char grammar[] =
    "root ::= sum\nsum ::= term ((\" + \" | \" - \" | \" * \") term){1,3}\n"
    "term ::= number | \"(\" number (\" + \" | \" - \" | \" * \") number \")\"\n"
    "number ::= [1-9] [0-9]? [0-9]?";

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    uint32_t tries = dw_setting("TRIES", 3);
    char asked[4096];
    char value[512];
    snprintf(asked, sizeof asked, "%s",
             dw_prompt("Three boxes hold 12 pens each, and 5 are lost. Write the sum."));
    for (uint32_t i = 1; i <= tries; i++) {
        uint32_t count;
        int32_t *prompt = dw_turn_of(model, "You write sums such as (3 + 4) * 2, and nothing else.",
                                     asked, &count);
        int32_t sampler = dw_sampler_of(model, i > 1 ? 0.8 : 0.0, i);
        dw_must(dw_sampler_grammar(sampler, model, grammar, sizeof grammar - 1), "grammar");
        dw_branch one =
            dw_branch_of(dw_context_of(model, prompt, count, 64), sampler, prompt[count - 1], 40);
        dw_branches_grow(model, &one, 1);
        char *program = dw_text_of(model, one.tokens, one.count);
        int32_t bytes =
            dw_call("run", 3, program, (uint32_t)strlen(program), value, sizeof value - 1);
        if (bytes >= 0) {
            value[bytes] = '\0';
            value[strcspn(value, "\n")] = '\0';
            printf("%s\nthe program ran at attempt %u: %s\n", program, i, value);
            return 0;
        }
        if (bytes == DW_E_DENIED) {
            dw_die("run");
        }
        (void)dw_last_error(value, sizeof value);
        fprintf(stderr, "attempt %u: %s: %s\n", i, program, value);
        snprintf(asked, sizeof asked, "The sum %.200s failed: %.200s. Write another.", program,
                 value);
    }
    printf("no program ran\n");
    return 1;
}
