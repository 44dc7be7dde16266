/* Prints the embedding of each line of the prompt, as JSON: one array a line. `driftwood run embed`
 * with any model; encoders (BERT) are made for it. DRIFTWOOD_POOLING: model, none, mean, first or
 * last; DRIFTWOOD_RAW=1: as the model gives it, not at a length of 1. */
#include <stdbool.h>

#include <driftwood_helpers.h>

static int32_t pooling_from_env(void)
{
    static const char *const names[] = {"model", "none", "mean", "first", "last"};
    const char *name = getenv("DRIFTWOOD_POOLING");
    if (name == NULL || name[0] == '\0') {
        return DW_POOLING_MODEL;
    }
    for (int32_t i = 0; i < 5; i++) {
        if (strcmp(name, names[i]) == 0) {
            return DW_POOLING_MODEL + i;
        }
    }
    fprintf(stderr, "DRIFTWOOD_POOLING is '%s', allowed are model, none, mean, first, last\n",
            name);
    exit(1);
}

static void print_row(const float *row, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        printf("%s%.9g", i == 0 ? "[" : ", ", (double)row[i]);
    }
    putchar(']');
}

static void embed_line(int32_t model, const dw_abi_model_info *info, const char *text, size_t bytes)
{
    uint32_t count;
    int32_t pooling = pooling_from_env();
    uint32_t flags = dw_setting_max("DRIFTWOOD_RAW", 0, 1) == 1 ? 0 : DW_EMBED_NORMALIZE;
    int32_t *tokens = dw_tokens_in(model, text, bytes, DW_TOKENIZE_SPECIAL, &count);
    bool each = (pooling == DW_POOLING_MODEL ? info->pooling : pooling) == DW_POOLING_NONE;
    uint32_t rows = each ? count : 1;
    float *embedding = dw_aligned((size_t)rows * info->embedding_length, sizeof *embedding);
    dw_must(dw_embed(model, tokens, count, pooling, flags, embedding), "embedding");
    for (uint32_t row = 0; row < rows; row++) {
        fputs(row > 0 ? ", " : each ? "[" : "", stdout);
        print_row(embedding + (size_t)row * info->embedding_length, info->embedding_length);
    }
    puts(each ? "]" : "");
    free(embedding);
    free(tokens);
}

int main(void)
{
    const char *text = getenv("DRIFTWOOD_PROMPT");
    dw_abi_model_info info;
    int32_t model = dw_must(dw_model_open(NULL, 0), "model");
    dw_must(dw_model_info(model, &info), "model");
    if (text == NULL || text[0] == '\0') {
        fprintf(stderr, "no text: give one with --prompt, a line each\n");
        return 1;
    }
    while (*text != '\0') {
        size_t bytes = strcspn(text, "\n");
        if (bytes > 0) {
            embed_line(model, &info, text, bytes);
        }
        text += bytes + (text[bytes] == '\n' ? 1 : 0);
    }
    return 0;
}
