/* Branches by dw_forward_many against the same one by one, for tests/unit/test_forward_many.c. A
 * message is a letter: 'f': one by one is dw_forward and so on; 'm': dw_forward_many of one step,
 * and hidden states, too; 'F' and 'M': the same within a tolerance, as GPUs compute; 'n': some
 * tokens for each branch, whose numbers are the answer; 'l': that without end; 't': trees, beside
 * steps without; 'u': trees alone, of whose numbers one is the answer. Other answers are "same", or
 * what differed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood_guest.h"

#define BRANCHES 6
#define TOKENS_MAX 128
#define TOP 5
#define NEXT 8

static int32_t model;
static dw_abi_model_info info;
static int32_t contexts[BRANCHES];
static int32_t samplers[BRANCHES];
static int32_t last[BRANCHES];
static DW_ALIGNED int32_t tokens[BRANCHES][TOKENS_MAX];
static DW_ALIGNED dw_forward_step steps[BRANCHES];
static float *rows[2][BRANCHES]; /* [2][vocab_count] each: one by one, and together */
static char answer[256];
static double tolerance; /* of what is compared, against a row's largest; 0: bits */

static int32_t failed(const char *what)
{
    char message[200];
    (void)dw_last_error(message, sizeof message);
    (void)snprintf(answer, sizeof answer, "%s: %s", what, message);
    return -1;
}

static int32_t differs(const char *what, int branch)
{
    (void)snprintf(answer, sizeof answer, "%s of branch %d", what, branch);
    return -1;
}

static double largest_of(const float *row, uint32_t count)
{
    double largest = 0;
    for (uint32_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)row[i]));
    }
    return largest;
}

static int32_t are_alike(const float *a, const float *b, uint32_t count)
{
    const double limit = tolerance * largest_of(a, count);
    int32_t alike = tolerance > 0 || memcmp(a, b, count * sizeof *a) == 0;
    for (uint32_t i = 0; i < count && tolerance > 0; i++) {
        alike = alike && fabs((double)a[i] - (double)b[i]) <= limit;
    }
    return alike;
}

/* What the row says of a token. */
static double log_probability(const float *row, int32_t token)
{
    double total = 0.0;
    for (uint32_t k = 0; k < info.vocab_count; k++) {
        total += exp((double)row[k]);
    }
    return (double)row[token] - log(total);
}

/* Prompts of 1 to 90 tokens. */
static uint32_t length_of(int branch)
{
    return 1 + (uint32_t)branch * 89 / (BRANCHES - 1);
}

static int32_t open_all(void)
{
    if (model != 0) {
        return 0;
    }
    model = dw_model_open(NULL, 0);
    if (model < 0 || dw_model_info(model, &info) < 0) {
        return failed("model");
    }
    for (int i = 0; i < BRANCHES; i++) {
        dw_sampler_params params = {.temperature = 1.0F,
                                    .top_k = i % 2 == 0 ? 0 : 20,
                                    .seed = 5 + (uint64_t)i,
                                    .struct_bytes = sizeof params};
        contexts[i] = dw_context_create(model, 0);
        samplers[i] = dw_sampler_create(model, i == 0 ? NULL : &params);
        if (contexts[i] < 0 || samplers[i] < 0) {
            return failed("objects");
        }
        for (int k = 0; k < 2; k++) {
            rows[k][i] = aligned_alloc(DW_TENSOR_ALIGN, (2 * info.vocab_count * 4 + 63) / 64 * 64);
        }
        for (uint32_t k = 0; k < TOKENS_MAX; k++) {
            tokens[i][k] = (int32_t)((k * 31 + (uint32_t)i * 7 + 3) % info.vocab_count);
        }
    }
    return 0;
}

static int32_t trim_all(void)
{
    for (int i = 0; i < BRANCHES; i++) {
        if (dw_context_trim(contexts[i], 0) < 0) {
            return failed("trim");
        }
    }
    return 0;
}

static dw_forward_step step_of(int i, uint32_t flags)
{
    return (dw_forward_step){
        .context = contexts[i], .flags = flags, .tokens = tokens[i], .token_count = length_of(i)};
}

static int32_t run_many(int count, const char *what)
{
    return dw_forward_many(steps, (uint32_t)count) == count ? 0 : failed(what);
}

static int32_t compare_rows(int one, uint32_t flags)
{
    uint32_t length = flags != 0 ? info.embedding_length : info.vocab_count;
    for (int i = 0; i < BRANCHES; i++) {
        uint32_t count = length_of(i) > 1 ? 2 : 1;
        if (one == 'm') {
            steps[0] = step_of(i, flags);
            steps[0].rows = rows[0][i];
            steps[0].row_count = count;
            if (run_many(1, "rows of one") < 0) {
                return -1;
            }
        } else if ((flags != 0
                        ? dw_forward_hidden(contexts[i], tokens[i], length_of(i), rows[0][i], count)
                        : dw_forward_rows(contexts[i], tokens[i], length_of(i), rows[0][i],
                                          count)) < 0) {
            return failed("forward");
        }
    }
    if (trim_all() < 0) {
        return -1;
    }
    for (int i = 0; i < BRANCHES; i++) {
        steps[i] = step_of(i, flags);
        steps[i].rows = rows[1][i];
        steps[i].row_count = length_of(i) > 1 ? 2 : 1;
    }
    if (run_many(BRANCHES, "rows") < 0) {
        return -1;
    }
    for (int i = 0; i < BRANCHES; i++) {
        if (steps[i].status != (int32_t)length_of(i) || steps[i].token != -1 ||
            !are_alike(rows[0][i], rows[1][i], steps[i].row_count * length)) {
            return differs(flags != 0 ? "hidden states" : "logits", i);
        }
    }
    return trim_all();
}

/* One sampler goes one by one, its copy together. */
static int32_t compare_tokens(int one)
{
    int32_t copies[BRANCHES];
    int32_t found[BRANCHES];
    for (int i = 0; i < BRANCHES; i++) {
        copies[i] = dw_sampler_fork(samplers[i], 0);
        if (copies[i] < 0) {
            return failed("sampler_fork");
        }
        if (one == 'm') {
            steps[0] = step_of(i, 0);
            steps[0].sampler = samplers[i];
            found[i] = run_many(1, "token of one") < 0 ? -1 : steps[0].token;
        } else {
            found[i] = dw_forward_sample(contexts[i], tokens[i], length_of(i), samplers[i]);
        }
        if (found[i] < 0) {
            return one == 'm' ? -1 : failed("forward_sample");
        }
    }
    if (trim_all() < 0) {
        return -1;
    }
    for (int i = 0; i < BRANCHES; i++) {
        steps[i] = step_of(i, DW_FORWARD_LOG_PROBABILITY);
        steps[i].sampler = copies[i];
    }
    if (run_many(BRANCHES, "tokens") < 0) {
        return -1;
    }
    for (int i = 0; i < BRANCHES; i++) {
        const float *row = rows[0][i] + (length_of(i) > 1 ? info.vocab_count : 0);
        double expected = log_probability(row, steps[i].token);
        double limit = 1e-5 + 2 * tolerance * largest_of(row, info.vocab_count);
        if (tolerance == 0 && steps[i].token != found[i]) {
            return differs("token", i);
        }
        if (fabs(expected - (double)steps[i].log_probability) > limit) {
            return differs("log probability", i);
        }
        if (dw_sampler_close(copies[i]) < 0) {
            return failed("sampler_close");
        }
    }
    return trim_all();
}

static int32_t compare_top(int one)
{
    static int32_t top[2][BRANCHES][TOP];
    static float chances[2][BRANCHES][TOP];
    for (int i = 0; i < BRANCHES; i++) {
        const float *row = rows[0][i] + (length_of(i) > 1 ? info.vocab_count : 0);
        steps[i] = step_of(i, 0);
        steps[i].top_tokens = top[1][i];
        steps[i].top_log_probabilities = chances[1][i];
        steps[i].top_count = TOP;
        if (one == 'f' && dw_forward_top(contexts[i], tokens[i], length_of(i), top[0][i],
                                         chances[0][i], TOP) != (int32_t)length_of(i)) {
            return failed("forward_top");
        }
        for (int k = 0; one == 'm' && k < TOP; k++) { /* of the row that was told */
            int32_t best = -1;
            for (uint32_t t = 0; t < info.vocab_count; t++) {
                int taken = 0;
                for (int j = 0; j < k; j++) {
                    taken = taken || top[0][i][j] == (int32_t)t;
                }
                best = !taken && (best < 0 || row[t] > row[best]) ? (int32_t)t : best;
            }
            top[0][i][k] = best;
        }
    }
    if (trim_all() < 0 || run_many(BRANCHES, "the likeliest") < 0) {
        return -1;
    }
    for (int i = 0; i < BRANCHES; i++) {
        const float *row = rows[0][i] + (length_of(i) > 1 ? info.vocab_count : 0);
        const double limit = 1e-5 + 2 * tolerance * largest_of(row, info.vocab_count);
        for (int k = 0; k < TOP && tolerance > 0; k++) {
            if (fabs(log_probability(row, top[1][i][k]) - (double)chances[1][i][k]) > limit) {
                return differs("the likeliest's chances", i);
            }
        }
        if (tolerance == 0 &&
            (memcmp(top[0][i], top[1][i], sizeof top[0][i]) != 0 ||
             (one == 'f' && memcmp(chances[0][i], chances[1][i], sizeof chances[0][i]) != 0))) {
            return differs("the likeliest", i);
        }
    }
    return trim_all();
}

/* Each branch goes on behind what it chose last. */
static int32_t go_on(void)
{
    size_t length = 0;
    for (int n = 0; n < NEXT; n++) {
        for (int i = 0; i < BRANCHES; i++) {
            tokens[i][0] = last[i];
            steps[i] = step_of(i, 0);
            steps[i].token_count = 1;
            steps[i].sampler = samplers[i];
        }
        if (run_many(BRANCHES, "next") < 0) {
            return -1;
        }
        for (int i = 0; i < BRANCHES; i++) {
            last[i] = steps[i].token;
        }
    }
    for (int i = 0; i < BRANCHES; i++) {
        length += (size_t)snprintf(answer + length, sizeof answer - length, "%d ", last[i]);
    }
    return 0;
}

/* ---- trees ---- */

#define NODES 7
#define NODES_AT 110 /* their tokens in `tokens` */
#define RECORDS_MAX 128

static const int32_t parents[NODES] = {-1, -1, 0, 0, 1, 2, 3};
static const int32_t places[NODES] = {0, 0, 1, 1, 1, 2, 2}; /* behind the context */
static const int32_t path[] = {0, 3, 6};

/* Of each second tree a mask says what the parents say of the others. */
static const dw_tree_shape *shape_of(int i)
{
    static dw_tree_shape shapes[BRANCHES];
    static int32_t positions[BRANCHES][NODES];
    static uint8_t masks[BRANCHES][NODES * RECORDS_MAX];
    const uint32_t past = (uint32_t)dw_context_length(contexts[i]);
    if (i % 4 == 1) {
        shapes[i] = (dw_tree_shape){.parents = parents};
        return &shapes[i];
    }
    memset(masks[i], 0, sizeof masks[i]);
    for (int n = 0; n < NODES; n++) {
        uint8_t *row = masks[i] + (size_t)n * (past + NODES);
        positions[i][n] = (int32_t)past + places[n];
        memset(row, 1, past);
        for (int32_t k = n; k >= 0; k = parents[k]) {
            row[past + (uint32_t)k] = 1;
        }
    }
    shapes[i] = (dw_tree_shape){.positions = positions[i], .mask = masks[i]};
    return &shapes[i];
}

static int32_t run_tree(int i, float *to)
{
    const dw_tree_shape *shape = shape_of(i);
    const dw_forward_tree_step step = {.context = contexts[i],
                                       .tokens = tokens[i] + NODES_AT,
                                       .token_count = NODES,
                                       .parents = shape->parents,
                                       .positions = shape->positions,
                                       .mask = shape->mask,
                                       .rows = to,
                                       .row_count = 2};
    return dw_forward_tree(&step) == (int32_t)length_of(i) ? 0 : failed("forward_tree");
}

/* What each branch does: the odd ones have trees. */
static int32_t run_one(int i, float *to)
{
    if (i % 2 == 1) {
        return run_tree(i, to);
    }
    return dw_forward(contexts[i], tokens[i] + NODES_AT, 1, to) < 0 ||
                   dw_context_trim(contexts[i], length_of(i)) < 0
               ? failed("forward")
               : 0;
}

static int32_t compare_trees(void)
{
    for (int i = 0; i < BRANCHES; i++) {
        if (dw_forward(contexts[i], tokens[i], length_of(i), NULL) < 0 ||
            run_one(i, rows[0][i]) < 0) {
            return failed("one by one");
        }
        steps[i] = (dw_forward_step){.context = contexts[i],
                                     .tokens = tokens[i] + NODES_AT,
                                     .token_count = i % 2 == 1 ? NODES : 1,
                                     .rows = rows[1][i],
                                     .row_count = i % 2 == 1 ? 2 : 1,
                                     .tree = i % 2 == 1 ? shape_of(i) : NULL};
    }
    if (run_many(BRANCHES, "trees") < 0) {
        return -1;
    }
    for (int i = 0; i < BRANCHES; i++) {
        const uint32_t length = length_of(i);
        if (steps[i].status != (int32_t)(i % 2 == 1 ? length : length + 1) ||
            memcmp(rows[0][i], rows[1][i], steps[i].row_count * info.vocab_count * 4) != 0) {
            return differs("tree", i);
        }
        if (i % 2 == 1 && dw_context_keep(contexts[i], path, 3) != (int32_t)length + 3) {
            return failed("keep");
        }
    }
    return trim_all();
}

/* One tree after another behind the same context; the answer is of what all of them gave. */
static int32_t run_trees(void)
{
    uint32_t sum = 0;
    if (trim_all() < 0 || dw_forward(contexts[3], tokens[3], length_of(3), NULL) < 0) {
        return failed("prompt");
    }
    for (int n = 0; n < NEXT; n++) {
        const uint32_t *words = (const uint32_t *)(const void *)rows[0][3];
        tokens[3][NODES_AT] = n;
        if (run_tree(3, rows[0][3]) < 0) {
            return -1;
        }
        for (uint32_t i = 0; i < 2 * info.vocab_count; i++) {
            sum = sum * 31 + words[i];
        }
    }
    (void)snprintf(answer, sizeof answer, "%u", sum);
    return 0;
}

static void act(char letter)
{
    (void)snprintf(answer, sizeof answer, "same");
    tolerance = letter == 'F' || letter == 'M' ? 2e-2 : 0;
    letter = letter == 'F' ? 'f' : letter == 'M' ? 'm' : letter;
    if (open_all() < 0) {
        return;
    }
    if (letter == 'n' || letter == 'l') {
        while (go_on() == 0 && letter == 'l') {
            for (int i = 0; i < BRANCHES; i++) {
                (void)dw_context_trim(contexts[i], 1);
            }
        }
        return;
    }
    if (letter == 't' || letter == 'u') {
        (void)(letter == 'u' ? run_trees() : trim_all() < 0 ? -1 : compare_trees());
        return;
    }
    (void)(trim_all() < 0 || (letter == 'm' && compare_rows(letter, DW_FORWARD_HIDDEN) < 0) ||
           compare_rows(letter, 0) < 0 || compare_tokens(letter) < 0 || compare_top(letter) < 0);
}

DW_ACTOR_RECEIVE
{
    char letter = 0;
    if (dw_input(&letter, 1) != 1) {
        return DW_E_ARG;
    }
    act(letter);
    return dw_reply(answer, (uint32_t)strlen(answer));
}
