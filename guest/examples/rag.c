/* Retrieval: passages and question become embeddings (of the model ENCODER, granted under that
 * name, or of the first one), the nearest passage goes into the prompt, and the model answers
 * from it. */
#include <driftwood_helpers.h>

static const char *const passages[] = {
    "The lighthouse of Varn was built in 1854 by Ida Holt and is painted green.",
    "Bread dough rests for two hours before it is baked at 230 degrees.",
    "The river Elm rises in the northern hills and is 312 kilometres long.",
    "A violin has four strings, which are tuned in fifths.",
};
#define PASSAGES (sizeof passages / sizeof passages[0])

/* -> [embedding_length], of length 1 */
static float *embed(int32_t model, const char *text)
{
    dw_abi_model_info info;
    dw_must(dw_model_info(model, &info), "encoder");
    uint32_t count;
    int32_t *tokens = dw_tokens_of(model, text, DW_TOKENIZE_SPECIAL, &count);
    float *row = dw_aligned(info.embedding_length, sizeof *row);
    int32_t pooling = info.is_encoder ? DW_POOLING_MODEL : DW_POOLING_MEAN;
    dw_must(dw_embed(model, tokens, count, pooling, DW_EMBED_NORMALIZE, row), "embed");
    free(tokens);
    return row;
}

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_first_model(&info);
    const char *name = getenv("ENCODER");
    int32_t encoder =
        name != NULL ? dw_must(dw_model_open(name, (uint32_t)strlen(name)), "encoder") : model;
    const char *asked = dw_prompt("How long is the river Elm?");
    dw_abi_model_info its;
    dw_must(dw_model_info(encoder, &its), "encoder");
    float *question = embed(encoder, asked);
    double nearness[PASSAGES] = {0.0};
    size_t best = 0;
    for (size_t i = 0; i < PASSAGES; i++) {
        float *passage = embed(encoder, passages[i]);
        for (uint32_t k = 0; k < its.embedding_length; k++) {
            nearness[i] += (double)passage[k] * (double)question[k];
        }
        best = nearness[i] > nearness[best] ? i : best;
        free(passage);
    }
    char text[2048];
    uint32_t count;
    snprintf(text, sizeof text, "Text: %s\nAnswer from this text: %s", passages[best], asked);
    int32_t *prompt = dw_turn_of(model, NULL, text, &count);
    dw_branch one = dw_branch_of(dw_context_of(model, prompt, count, 48),
                                 dw_sampler_of(model, 0.0, 1), prompt[count - 1], 40);
    dw_branches_grow(model, &one, 1);
    printf("%s\nretrieved passage %zu of %zu, nearness %.3f\n",
           dw_text_of(model, one.tokens, one.count), best + 1, PASSAGES, nearness[best]);
    return 0;
}
