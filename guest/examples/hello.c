/* The first guest: says what the model makes of a sentence, one token at a time. */
#include <driftwood_guest.h>
#include <stdio.h>

static DW_ALIGNED int32_t tokens[64];
static DW_ALIGNED float logits[262144];

int main(void)
{
    int32_t model = dw_model_open(NULL, 0);
    int32_t context = dw_context_create(model, 0);
    int32_t count = dw_tokenize(model, "The tide comes in", 17, tokens, 64, DW_TOKENIZE_SPECIAL);
    for (int i = 0; i < 24 && dw_forward(context, tokens, (uint32_t)count, logits) > 0; i++) {
        char piece[64];
        tokens[0] = dw_greedy(model, logits);
        count = 1;
        int32_t bytes = dw_detokenize(model, tokens, 1, piece, sizeof piece, 0);
        printf("%.*s", bytes > 0 ? (int)bytes : 0, piece);
    }
    putchar('\n');
    return 0;
}
