/* What steps beside single tokens give: trees, several contexts at once, embeddings. The programs
 * `layers` of tests/sdk say the same in other languages; floats as their bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood_guest.h"

#define VOCAB_MAX 65536
#define WIDTH_MAX 4096

static DW_ALIGNED float rows[6 * VOCAB_MAX];
static DW_ALIGNED float hidden[WIDTH_MAX];
static DW_ALIGNED float embeddings[6 * WIDTH_MAX];
static DW_ALIGNED int32_t prompt[] = {504, 3575, 282, 4649, 314, 260};
static DW_ALIGNED int32_t draft[] = {10, 20, 30, 40, 50, 60};
static DW_ALIGNED int32_t parents[] = {-1, 0, 0, 1, 2, -1};
static DW_ALIGNED int32_t positions[] = {3, 4, 3};
static DW_ALIGNED uint8_t mask[] = {1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1};
static DW_ALIGNED int32_t path[] = {0, 1, 3};
static DW_ALIGNED int32_t crossed[] = {3, 1};
static DW_ALIGNED int32_t more[] = {70, 80, 81, 82, 83};
static DW_ALIGNED int32_t one[1];
static DW_ALIGNED int32_t two[2];
static DW_ALIGNED int32_t other[1];
static DW_ALIGNED int32_t top[3];
static DW_ALIGNED float chances[3];
static dw_abi_model_info info;

static int32_t must(int32_t result)
{
    if (result < 0) {
        fprintf(stderr, "%d\n", (int)result);
        exit(1);
    }
    return result;
}

static unsigned bits(float value)
{
    unsigned of;
    memcpy(&of, &value, sizeof of);
    return of;
}

static void print_row(const float *row)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < info.vocab_count; i++) {
        best = row[i] > row[best] ? i : best;
    }
    printf(" %u:%u", best, bits(row[best]));
}

static void trees(int32_t model, int32_t context)
{
    dw_forward_tree_step tree = {.context = context,
                                 .tokens = draft,
                                 .token_count = 6,
                                 .parents = parents,
                                 .rows = rows,
                                 .row_count = 6};
    must(dw_forward(context, prompt, 6, NULL));
    must(dw_forward_tree(&tree));
    printf("tree");
    for (uint32_t i = 0; i < 6; i++) {
        print_row(rows + (size_t)i * info.vocab_count);
    }
    int32_t refused = dw_context_keep(context, crossed, 2);
    printf("\nkept %d", (int)must(dw_context_keep(context, path, 3)));
    must(dw_forward(context, more, 1, rows));
    print_row(rows);
    int32_t masked = must(dw_context_create(model, 32));
    must(dw_forward(masked, prompt, 3, NULL));
    tree = (dw_forward_tree_step){.context = masked,
                                  .tokens = draft,
                                  .token_count = 3,
                                  .positions = positions,
                                  .mask = mask,
                                  .rows = rows,
                                  .row_count = 2};
    must(dw_forward_tree(&tree));
    printf("\nmask");
    print_row(rows);
    print_row(rows + info.vocab_count);
    printf(" %s\n", refused < 0 ? "refused" : "taken");
    dw_context_close(masked);
}

static void many(int32_t model, int32_t context)
{
    dw_sampler_params params = {.struct_bytes = sizeof params};
    one[0] = more[1];
    two[0] = more[2];
    two[1] = more[3];
    other[0] = more[4];
    dw_forward_step steps[3] = {
        {.context = context, .tokens = one, .token_count = 1, .rows = rows, .row_count = 1},
        {.context = must(dw_context_fork(context)),
         .flags = DW_FORWARD_LOG_PROBABILITY,
         .tokens = two,
         .token_count = 2,
         .sampler = must(dw_sampler_create(model, &params)),
         .top_count = 3,
         .top_tokens = top,
         .top_log_probabilities = chances},
        {.context = must(dw_context_fork(context)),
         .flags = DW_FORWARD_HIDDEN,
         .tokens = other,
         .token_count = 1,
         .rows = hidden,
         .row_count = 1},
    };
    printf("many %d %d", (int)must(dw_forward_many(steps, 3)), (int)steps[0].status);
    print_row(rows);
    printf(" %d %u %d %d %d %u %u\n", (int)steps[1].token, bits(steps[1].log_probability),
           (int)top[0], (int)top[1], (int)top[2], bits(chances[2]), bits(hidden[1]));
}

/* A tree beside another context's token. */
static void tree_among_steps(int32_t context)
{
    static DW_ALIGNED int32_t leaves[3] = {20, 30, 40};
    static DW_ALIGNED int32_t on[3] = {-1, 0, 0};
    static DW_ALIGNED int32_t way[2] = {0, 2};
    const dw_tree_shape shape = {.parents = on};
    other[0] = 84;
    dw_forward_step steps[2] = {
        {.context = context,
         .tokens = leaves,
         .token_count = 3,
         .rows = rows,
         .row_count = 3,
         .tree = &shape},
        {.context = must(dw_context_fork(context)),
         .tokens = other,
         .token_count = 1,
         .rows = rows + (size_t)3 * info.vocab_count,
         .row_count = 1},
    };
    printf("steps %d", (int)must(dw_forward_many(steps, 2)));
    for (uint32_t i = 0; i < 4; i++) {
        print_row(rows + (size_t)i * info.vocab_count);
    }
    printf(" %d %d\n", (int)steps[1].status, (int)must(dw_context_keep(context, way, 2)));
}

static void embedded(int32_t model)
{
    const uint32_t width = info.embedding_length;
    int32_t context = must(dw_context_create(model, 32));
    must(dw_token_embeddings(model, prompt, 6, embeddings));
    printf("rows %u %u %u", 6 * width, bits(embeddings[0]), bits(embeddings[6 * width - 1]));
    printf(" %d", (int)must(dw_forward_embeddings(context, embeddings, 6, rows, 1)));
    print_row(rows);
    must(dw_embed(model, prompt, 6, DW_POOLING_MODEL, DW_EMBED_NORMALIZE, hidden));
    printf("\nembed %u %u %u", width, bits(hidden[0]), bits(hidden[width - 1]));
    must(dw_embed(model, prompt, 6, DW_POOLING_NONE, 0, embeddings));
    printf(" %u %u\n", bits(embeddings[0]), bits(embeddings[6 * width - 1]));
}

int main(void)
{
    int32_t model = must(dw_model_open(NULL, 0));
    must(dw_model_info(model, &info));
    int32_t context = must(dw_context_create(model, 64));
    if (info.vocab_count > VOCAB_MAX || info.embedding_length > WIDTH_MAX) {
        return 1;
    }
    trees(model, context);
    many(model, context);
    tree_among_steps(context);
    embedded(model);
}
