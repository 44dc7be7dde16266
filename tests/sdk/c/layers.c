/* What tests/guest/layers.c says, by this SDK's helpers. */
#include "driftwood_helpers.h"

static int32_t *list(const int32_t *from, uint32_t count)
{
    return memcpy(dw_aligned(count, sizeof *from), from, count * sizeof *from);
}

static unsigned bits(float value)
{
    unsigned of;
    memcpy(&of, &value, sizeof of);
    return of;
}

static uint32_t vocab;

static void print_row(const float *row)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++) {
        best = row[i] > row[best] ? i : best;
    }
    printf(" %u:%u", best, bits(row[best]));
}

static void trees(int32_t model, int32_t context, const int32_t *prompt, float *rows)
{
    static const int32_t tokens[] = {10, 20, 30, 40, 50, 60};
    static const int32_t parents[] = {-1, 0, 0, 1, 2, -1};
    static const uint8_t mask[] = {1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1};
    dw_draft_tree tree = dw_draft_tree_of(6);
    for (int i = 0; i < 6; i++) {
        dw_draft_add(&tree, parents[i], tokens[i]);
    }
    dw_must(dw_forward(context, prompt, 6, NULL), "prompt");
    dw_draft_forward(&tree, context, rows);
    printf("tree");
    for (uint32_t i = 0; i < 6; i++) {
        print_row(rows + (size_t)i * vocab);
    }
    int32_t refused = dw_context_keep(context, list((int32_t[]){3, 1}, 2), 2);
    int32_t last = dw_draft_find(&tree, 1, 40);
    int32_t *path = list((int32_t[]){0, tree.parents[last], last}, 3);
    printf("\nkept %d", (int)dw_must(dw_context_keep(context, path, 3), "keep"));
    dw_must(dw_forward(context, list((int32_t[]){70}, 1), 1, rows), "forward");
    print_row(rows);
    int32_t masked = dw_context_of(model, prompt, 4, 32); /* holds three of the four */
    const dw_forward_tree_step step = {.context = masked,
                                       .tokens = tree.tokens,
                                       .token_count = 3,
                                       .positions = list((int32_t[]){3, 4, 3}, 3),
                                       .mask = mask,
                                       .rows = rows,
                                       .row_count = 2};
    dw_must(dw_forward_tree(&step), "mask");
    printf("\nmask");
    print_row(rows);
    print_row(rows + vocab);
    printf(" %s\n", refused < 0 ? "refused" : "taken");
}

static void many(int32_t model, int32_t context, float *rows, float *hidden)
{
    int32_t *top = dw_aligned(3, sizeof *top);
    float *chances = dw_aligned(3, sizeof *chances);
    dw_forward_step steps[] = {
        {.context = context,
         .tokens = list((int32_t[]){80}, 1),
         .token_count = 1,
         .rows = rows,
         .row_count = 1},
        {.context = dw_fork_of(context),
         .flags = DW_FORWARD_LOG_PROBABILITY,
         .tokens = list((int32_t[]){81, 82}, 2),
         .token_count = 2,
         .sampler = dw_sampler_of(model, 0, 0),
         .top_count = 3,
         .top_tokens = top,
         .top_log_probabilities = chances},
        {.context = dw_fork_of(context),
         .flags = DW_FORWARD_HIDDEN,
         .tokens = list((int32_t[]){83}, 1),
         .token_count = 1,
         .rows = hidden,
         .row_count = 1},
    };
    dw_forward_all(steps, 3);
    printf("many 3 %d", (int)steps[0].status);
    print_row(rows);
    printf(" %d %u %d %d %d %u %u\n", (int)steps[1].token, bits(steps[1].log_probability),
           (int)top[0], (int)top[1], (int)top[2], bits(chances[2]), bits(hidden[1]));
}

static void tree_among_steps(int32_t context, float *rows)
{
    const dw_tree_shape shape = {.parents = list((int32_t[]){-1, 0, 0}, 3)};
    dw_forward_step steps[] = {
        {.context = context,
         .tokens = list((int32_t[]){20, 30, 40}, 3),
         .token_count = 3,
         .rows = rows,
         .row_count = 3,
         .tree = &shape},
        {.context = dw_fork_of(context),
         .tokens = list((int32_t[]){84}, 1),
         .token_count = 1,
         .rows = rows + (size_t)3 * vocab,
         .row_count = 1},
    };
    dw_forward_all(steps, 2);
    printf("steps 2");
    for (uint32_t i = 0; i < 4; i++) {
        print_row(rows + (size_t)i * vocab);
    }
    int32_t kept = dw_must(dw_context_keep(context, list((int32_t[]){0, 2}, 2), 2), "keep");
    printf(" %d %d\n", (int)steps[1].status, (int)kept);
}

int main(void)
{
    dw_abi_model_info info;
    int32_t model = dw_must(dw_model_open(NULL, 0), "model");
    dw_must(dw_model_info(model, &info), "info");
    const uint32_t width = info.embedding_length;
    vocab = info.vocab_count;
    int32_t *prompt = list((int32_t[]){504, 3575, 282, 4649, 314, 260}, 6);
    float *rows = dw_aligned((size_t)6 * vocab, sizeof *rows);
    float *hidden = dw_aligned(width, sizeof *hidden);
    float *embeddings = dw_aligned((size_t)6 * width, sizeof *embeddings);
    int32_t context = dw_must(dw_context_create(model, 64), "context");
    trees(model, context, prompt, rows);
    many(model, context, rows, hidden);
    tree_among_steps(context, rows);
    int32_t fresh = dw_must(dw_context_create(model, 32), "context");
    dw_must(dw_token_embeddings(model, prompt, 6, embeddings), "rows");
    printf("rows %u %u %u", 6 * width, bits(embeddings[0]), bits(embeddings[6 * width - 1]));
    printf(" %d", (int)dw_must(dw_forward_embeddings(fresh, embeddings, 6, rows, 1), "rows"));
    print_row(rows);
    dw_must(dw_embed(model, prompt, 6, DW_POOLING_MODEL, DW_EMBED_NORMALIZE, hidden), "embed");
    printf("\nembed %u %u %u", width, bits(hidden[0]), bits(hidden[width - 1]));
    dw_must(dw_embed(model, prompt, 6, DW_POOLING_NONE, 0, embeddings), "embed");
    printf(" %u %u\n", bits(embeddings[0]), bits(embeddings[6 * width - 1]));
}
