/* What one run of the device for all branches is worth: BRANCHES (8) continue one prompt for TOKENS
 * (32) tokens each, one by one by dw_forward_sample, then together by dw_forward_many. Their texts
 * are compared with those of dw_forward_many one by one, whose bits they have: docs/numerics.md. Of
 * ROUNDS (2) the best of each counts.
 * Then the same of trees of TREE (7) drafts behind each branch, whose rows are compared. */
#include <driftwood_helpers.h>

#define BRANCHES_MAX DW_FORWARD_STEPS_MAX

static int32_t model;
static uint32_t branches;
static uint32_t length;
static int32_t contexts[BRANCHES_MAX];
static int32_t first[BRANCHES_MAX]; /* samplers, of which each way has forks */
static int32_t samplers[BRANCHES_MAX];
static int32_t *texts[3]; /* [branches][length] */
static dw_forward_step steps[BRANCHES_MAX];

static int32_t *token_of(int which, uint32_t branch, uint32_t i)
{
    return &texts[which][branch * length + i];
}

enum way { BY_SAMPLE, BY_ONE, TOGETHER };

static dw_forward_step step_of(enum way way, uint32_t branch, uint32_t i)
{
    return (dw_forward_step){.context = contexts[branch],
                             .tokens = token_of((int)way, branch, i - 1),
                             .token_count = 1,
                             .sampler = samplers[branch]};
}

static void one_branch(enum way way, uint32_t b)
{
    for (uint32_t i = 1; i < length; i++) {
        if (way == BY_SAMPLE) {
            *token_of(0, b, i) = dw_must(
                dw_forward_sample(contexts[b], token_of(0, b, i - 1), 1, samplers[b]), "step");
        } else {
            steps[0] = step_of(way, b, i);
            dw_forward_all(steps, 1);
            *token_of(1, b, i) = steps[0].token;
        }
    }
}

/* The first token of each stands there. -> seconds */
static double go_on(enum way way, uint32_t prompt)
{
    for (uint32_t b = 0; b < branches; b++) {
        samplers[b] = dw_must(dw_sampler_fork(first[b], 0), "sampler");
    }
    double from = dw_seconds();
    for (uint32_t b = 0; way != TOGETHER && b < branches; b++) {
        one_branch(way, b);
    }
    for (uint32_t i = 1; way == TOGETHER && i < length; i++) {
        for (uint32_t b = 0; b < branches; b++) {
            steps[b] = step_of(way, b, i);
        }
        dw_forward_all(steps, branches);
        for (uint32_t b = 0; b < branches; b++) {
            *token_of(2, b, i) = steps[b].token;
        }
    }
    double took = dw_seconds() - from;
    for (uint32_t b = 0; b < branches; b++) {
        dw_must(dw_context_trim(contexts[b], prompt), "trim");
        dw_must(dw_sampler_close(samplers[b]), "sampler");
    }
    return took;
}

/* ---- trees ---- */

static float *rows[2]; /* [branches][vocab_count]: one by one, and together */

/* A binary tree of `size` tokens of each branch's text, `times` times. -> seconds */
static double hang_trees(int way, uint32_t size, uint32_t times, size_t row)
{
    int32_t parents[DW_TREE_TOKENS_MAX];
    dw_tree_shape shape = {.parents = parents};
    for (uint32_t i = 0; i < size; i++) {
        parents[i] = i > 0 ? (int32_t)(i - 1) / 2 : -1;
    }
    for (uint32_t b = 0; b < branches; b++) {
        steps[b] = (dw_forward_step){.context = contexts[b],
                                     .tokens = token_of(1, b, 0),
                                     .token_count = size,
                                     .rows = rows[way] + b * row,
                                     .row_count = 1,
                                     .tree = &shape};
    }
    const double from = dw_seconds();
    for (uint32_t i = 0; i < times; i++) {
        for (uint32_t b = 0; way == 0 && b < branches; b++) {
            dw_forward_all(&steps[b], 1);
        }
        if (way == 1) {
            dw_forward_all(steps, branches);
        }
    }
    return dw_seconds() - from;
}

static void compare_trees(const dw_abi_model_info *info)
{
    const uint32_t size = dw_setting("TREE", length < 7 ? length : 7);
    const uint32_t times = 8;
    const size_t row = info->vocab_count;
    uint32_t alike = 0;
    if (size < 1 || size > length || size > DW_TREE_TOKENS_MAX) {
        dw_die("TREE: 1 to TOKENS, at most 256");
    }
    for (int way = 0; way < 2; way++) {
        rows[way] = dw_aligned(branches * row, sizeof(float));
    }
    (void)hang_trees(0, size, 1, row); /* makes graphs */
    (void)hang_trees(1, size, 1, row);
    const double alone = hang_trees(0, size, times, row);
    const double together = hang_trees(1, size, times, row);
    for (uint32_t b = 0; b < branches; b++) {
        alike += memcmp(rows[0] + b * row, rows[1] + b * row, row * sizeof(float)) == 0;
    }
    printf("%u trees of %u tokens: one by one %.1f trees/s, together %.1f: %.2f times; "
           "%u of %u rows equal\n",
           branches, size, branches * times / alone, branches * times / together, alone / together,
           alike, branches);
}

int main(void)
{
    dw_abi_model_info info;
    const char *prompt = getenv("DRIFTWOOD_PROMPT");
    uint32_t count;
    model = dw_first_model(&info);
    const uint32_t rounds = dw_setting("ROUNDS", 2);
    branches = dw_setting("BRANCHES", 8);
    length = dw_setting("TOKENS", 32);
    if (rounds < 1 || branches < 1 || branches > BRANCHES_MAX || length < 2 || length > 1024) {
        dw_die("BRANCHES: 1 to 256; TOKENS: 2 to 1024; ROUNDS: 1 or more");
    }
    int32_t *tokens =
        dw_turn_of(model, NULL, prompt != NULL ? prompt : "Tell me of the sea.", &count);
    for (int way = 0; way < 3; way++) {
        texts[way] = dw_aligned(branches * length, sizeof *texts[way]);
    }
    contexts[0] = dw_must(dw_context_create(model, count + length + DW_TREE_TOKENS_MAX), "context");
    if (count > 1) { /* the prompt once, for all */
        dw_must(dw_forward(contexts[0], tokens, count - 1, NULL), "prompt");
    }
    for (uint32_t b = 0; b < branches; b++) {
        dw_sampler_params params = {
            .temperature = 0.8F, .top_k = 40, .seed = b + 1, .struct_bytes = sizeof params};
        contexts[b] = b == 0 ? contexts[0] : dw_fork_of(contexts[0]);
        first[b] = dw_must(dw_sampler_create(model, &params), "sampler");
        for (int way = 0; way < 3; way++) {
            *token_of(way, b, 0) = tokens[count - 1];
        }
    }
    (void)go_on(BY_ONE, count - 1);
    double alone = INFINITY;
    double together = INFINITY;
    for (uint32_t round = 0; round < rounds; round++) { /* the first makes graphs */
        alone = fmin(alone, go_on(BY_SAMPLE, count - 1));
        together = fmin(together, go_on(TOGETHER, count - 1));
    }
    uint32_t alike = 0;
    for (uint32_t b = 0; b < branches; b++) {
        alike += memcmp(token_of(1, b, 0), token_of(2, b, 0), length * sizeof(int32_t)) == 0;
    }
    double all = (double)(branches * (length - 1));
    printf("%u branches of %u tokens: one by one %.1f tokens/s, together %.1f: %.2f times; "
           "%u of %u texts equal\n",
           branches, length - 1, all / alone, all / together, alone / together, alike, branches);
    compare_trees(&info);
    return 0;
}
