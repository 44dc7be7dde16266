/* Nodes of our own in CUDA's graphs (model/cuda_ops.h), with DW_TEST_DEVICE=CUDA0: each alone,
 * against plain computing in doubles. Elsewhere all are skipped. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "model/attention.h"
#include "model/cuda_ops.h"
#include "cuda_bench.h"

static uint64_t address(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static void test_cuda_table(void **state)
{
    cuda_bench b;
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    cuda_bench_open(&b, 5);
    cuda_bench_allocate(&b);
    for (uint32_t i = 0; i < 5; i++) { /* token 3 is padding */
        b.ids[i] = 100 + (int32_t)i;
        b.rows[i] = (dw_cuda_token){.token = i == 3 ? 0 : address(&b.ids[i]),
                                    .position = i == 3 ? 0 : 7 * i};
    }
    cuda_bench_run(&b);
    int32_t *tokens = cuda_get(b.table.tokens);
    int32_t *positions = cuda_get(b.table.positions);
    int64_t *records = cuda_get(b.table.records);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tokens[i], i == 3 ? 0 : 100 + i);
        assert_int_equal(positions[i], i == 3 ? 0 : 7 * i);
        assert_int_equal(records[i], i == 3 ? 0 : 7 * i);
    }
    free(tokens);
    free(positions);
    free(records);
    cuda_bench_close(&b);
}

/* ---- rope ---- */

static const uint32_t rope_positions[] = {0, 1, 2, 63, 500, 4100, 100000};
#define ROPE_TOKENS 7

static struct ggml_tensor *ggml_turns(cuda_bench *b, struct ggml_tensor *x,
                                      const dw_rope_numbers *n)
{
    return ggml_rope_ext(b->ggml, x, b->table.positions, n->factors, (int)n->dims, n->mode,
                         (int)n->context, n->base, n->scale, n->ext_factor, n->attn_factor,
                         n->beta_fast, n->beta_slow);
}

/* Rows of ones and zeros by turns come back as cosines and sines. */
static void expect_turns(dw_rope_numbers n, bool with_factors)
{
    cuda_bench b;
    cuda_bench_open(&b, ROPE_TOKENS);
    struct ggml_tensor *x = ggml_new_tensor_3d(b.ggml, GGML_TYPE_F32, n.dims, 1, ROPE_TOKENS);
    n.factors = with_factors ? ggml_new_tensor_1d(b.ggml, GGML_TYPE_F32, n.dims / 2) : NULL;
    struct ggml_tensor *ours = dw_cuda_rope(b.ggml, &b.table, &n);
    struct ggml_tensor *theirs = ggml_turns(&b, x, &n);
    ggml_build_forward_expand(b.graph, ours);
    ggml_build_forward_expand(b.graph, theirs);
    cuda_bench_allocate(&b);
    float *ones = calloc((size_t)n.dims * ROPE_TOKENS, sizeof *ones);
    assert_non_null(ones);
    for (uint32_t i = 0; i < n.dims * ROPE_TOKENS; i += 2) {
        ones[i] = 1.0F;
    }
    cuda_set(x, ones);
    if (with_factors) {
        for (uint32_t i = 0; i < n.dims / 2; i++) {
            ones[i] = 1.0F + 0.25F * (float)(i % 7);
        }
        cuda_set(n.factors, ones);
    }
    for (int i = 0; i < ROPE_TOKENS; i++) {
        b.rows[i].position = rope_positions[i];
    }
    cuda_bench_run(&b);
    float *got = cuda_get(ours);
    float *wanted = cuda_get(theirs);
    for (uint32_t i = 0; i < n.dims * ROPE_TOKENS; i++) {
        double limit = 1e-5 + 1e-6 * rope_positions[i / n.dims];
        assert_true(fabs((double)got[i] - (double)wanted[i]) < limit);
    }
    free(got);
    free(wanted);
    free(ones);
    cuda_bench_close(&b);
}

static void test_cuda_rope_as_ggml(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    static const uint32_t dims[] = {2, 24, 64, 128, 256};
    for (int i = 0; i < 5; i++) {
        dw_rope_numbers plain = {.dims = dims[i],
                                 .mode = GGML_ROPE_TYPE_NORMAL,
                                 .context = 512,
                                 .base = i % 2 == 0 ? 10000.0F : 500000.0F,
                                 .scale = 1.0F,
                                 .attn_factor = 1.0F,
                                 .beta_fast = 32.0F,
                                 .beta_slow = 1.0F};
        expect_turns(plain, false);
        expect_turns(plain, true);
        dw_rope_numbers other = plain;
        other.scale = 0.25F;
        expect_turns(other, false);
        other.ext_factor = 1.0F; /* YaRN */
        expect_turns(other, false);
        other.attn_factor = 1.19F;
        other.ext_factor = 0.5F;
        expect_turns(other, true);
    }
}

/* ---- attention ---- */

#define KV_HEADS 2u
#define LAYERS 2u
#define LAYER 1u
#define PADDING UINT32_MAX

enum { ROPE_NONE, ROPE_NORMAL, ROPE_NEOX, ROPE_PARTIAL, ROPE_FACTORS, ROPES };

/* Which log each token is of, and how many records are before it. */
typedef struct token_plan {
    uint32_t token_count;
    uint32_t log[CUDA_BENCH_TOKENS]; /* PADDING: of none */
    uint32_t position[CUDA_BENCH_TOKENS];
    bool alone;
    uint32_t tiled_count; /* the last of them attend as tiles */
} token_plan;

typedef struct attention_case {
    uint32_t head_dim;
    uint32_t ratio; /* heads of queries a head of keys */
    dw_kv_type type;
    uint32_t window;
    float cap;
    int rope;
    const token_plan *plan;
} attention_case;

typedef struct attention_fixture {
    cuda_bench b;
    attention_case of;
    dw_model_shape shape;
    struct ggml_tensor *qkv; /* as one product gives them */
    struct ggml_tensor *turns;
    struct ggml_tensor *log; /* all of them */
    struct ggml_tensor *y;
    size_t head_bytes;
    size_t record_bytes;
    size_t log_starts[CUDA_BENCH_TOKENS];
    float *inputs;        /* what is in qkv */
    unsigned char *image; /* what is in the logs */
} attention_fixture;

static void to_stored(const attention_fixture *w, const float *from, unsigned char *to)
{
    enum ggml_type type = dw_kv_ggml_type(w->of.type);
    (void)ggml_quantize_chunk(type, from, to, 0, 1, w->of.head_dim, NULL);
}

static void from_stored(const attention_fixture *w, const unsigned char *from, float *to)
{
    if (w->of.type == DW_KV_F32) {
        memcpy(to, from, w->of.head_dim * sizeof *to);
    } else {
        ggml_get_type_traits(dw_kv_ggml_type(w->of.type))->to_float(from, to, w->of.head_dim);
    }
}

/* Where a head's keys (part 0) or values (1) stand. */
static size_t place_of(const attention_fixture *w, uint32_t token, uint32_t record, uint32_t part,
                       uint32_t kv_head)
{
    return w->log_starts[w->of.plan->log[token]] + record * w->record_bytes +
           ((LAYER * 2 + part) * KV_HEADS + kv_head) * w->head_bytes;
}

static float *input_of(const attention_fixture *w, uint32_t token, uint32_t head)
{
    size_t row = (size_t)w->of.head_dim * KV_HEADS * (w->of.ratio + 2);
    return w->inputs + token * row + (size_t)head * w->of.head_dim;
}

/* Logs behind each other, of as many records as their last token has before it and itself. Whatever
 * must not be read is NaN. */
static size_t make_logs(attention_fixture *w)
{
    const token_plan *plan = w->of.plan;
    size_t bytes = 0;
    for (uint32_t i = 0; i < plan->token_count; i++) {
        bool last = plan->log[i] != PADDING;
        for (uint32_t k = i + 1; k < plan->token_count; k++) {
            last = last && plan->log[k] != plan->log[i];
        }
        if (last) {
            w->log_starts[plan->log[i]] = bytes;
            bytes += (plan->position[i] + 1) * w->record_bytes;
            bytes = (bytes + 255) / 256 * 256;
        }
    }
    w->image = malloc(bytes);
    assert_non_null(w->image);
    memset(w->image, 0xff, bytes);
    return bytes;
}

static void fill_logs(attention_fixture *w)
{
    const token_plan *plan = w->of.plan;
    float row[256];
    bool filled[CUDA_BENCH_TOKENS] = {false};
    for (uint32_t i = 0; i < plan->token_count; i++) {
        if (plan->log[i] == PADDING || filled[plan->log[i]]) {
            continue;
        }
        filled[plan->log[i]] = true;
        for (uint32_t at = 0; at < plan->position[i] * 2 * KV_HEADS; at++) {
            for (uint32_t d = 0; d < w->of.head_dim; d++) {
                row[d] = cuda_random(-1.0F, 1.0F);
            }
            uint32_t record = at / (2 * KV_HEADS);
            to_stored(w, row, w->image + place_of(w, i, record, at / KV_HEADS % 2, at % KV_HEADS));
        }
    }
}

static uint32_t rope_dims(const attention_case *of)
{
    return of->rope == ROPE_NONE      ? 0
           : of->rope == ROPE_PARTIAL ? of->head_dim / 4 * 2
                                      : of->head_dim;
}

static dw_cuda_layer make_layer(attention_fixture *w)
{
    struct ggml_context *ggml = w->b.ggml;
    int64_t dim = w->of.head_dim;
    int64_t heads = KV_HEADS * w->of.ratio;
    int64_t tokens = w->of.plan->token_count;
    size_t head = (size_t)dim * sizeof(float);
    dw_rope_numbers n = {.dims = rope_dims(&w->of),
                         .mode = w->of.rope == ROPE_NORMAL ? GGML_ROPE_TYPE_NORMAL
                                                           : GGML_ROPE_TYPE_NEOX,
                         .context = 512,
                         .base = 10000.0F,
                         .scale = 1.0F,
                         .attn_factor = w->of.rope == ROPE_FACTORS ? 1.19F : 1.0F,
                         .beta_fast = 32.0F,
                         .beta_slow = 1.0F};
    w->qkv = ggml_new_tensor_2d(ggml, GGML_TYPE_F32, dim * (heads + 2 * KV_HEADS), tokens);
    size_t row = w->qkv->nb[1];
    if (w->of.rope == ROPE_FACTORS) {
        n.factors = ggml_new_tensor_1d(ggml, GGML_TYPE_F32, n.dims / 2);
    }
    w->turns = n.dims > 0 ? dw_cuda_rope(ggml, &w->b.table, &n) : NULL;
    return (dw_cuda_layer){
        .index = LAYER,
        .q = ggml_view_3d(ggml, w->qkv, dim, heads, tokens, head, row, 0),
        .k = ggml_view_3d(ggml, w->qkv, dim, KV_HEADS, tokens, head, row, (size_t)heads * head),
        .v = ggml_view_2d(ggml, w->qkv, dim * KV_HEADS, tokens, row,
                          (size_t)(heads + KV_HEADS) * head),
        .rope = w->turns,
        .rope_dims = n.dims,
        .rope_mode = n.mode};
}

/* Neighbours of one log, as many as a tile takes. */
static void point_tiles(attention_fixture *w)
{
    const token_plan *plan = w->of.plan;
    const uint32_t most = dw_cuda_tile_tokens(&w->shape);
    uint32_t tile = 0;
    uint32_t count = 0;
    for (uint32_t i = plan->token_count - plan->tiled_count; i < plan->token_count; i += count) {
        count = 1;
        while (count < most && i + count < plan->token_count &&
               plan->log[i + count] == plan->log[i]) {
            count++;
        }
        w->b.rows[tile++].tile = DW_CUDA_TILE(i, count);
    }
    assert_true(tile <= dw_cuda_tile_count(&w->shape, plan->tiled_count));
}

static void point_rows(attention_fixture *w)
{
    const token_plan *plan = w->of.plan;
    for (uint32_t i = 0; i < plan->token_count; i++) {
        w->b.rows[i] = (dw_cuda_token){0};
        if (plan->log[i] != PADDING) {
            w->b.rows[i].records = address(w->log->data) + w->log_starts[plan->log[i]];
            w->b.rows[i].position = plan->position[i];
        }
    }
    point_tiles(w);
}

static void attention_open(attention_fixture *w, const attention_case *of)
{
    uint32_t heads = KV_HEADS * of->ratio;
    *w = (attention_fixture){.of = *of};
    w->shape = (dw_model_shape){.layer_count = LAYERS,
                                .head_count = heads,
                                .kv_head_count = KV_HEADS,
                                .head_dim = of->head_dim,
                                .window = of->window,
                                .windowed = {UINT64_C(1) << LAYER},
                                .attention_scale = 4.0F / sqrtf((float)of->head_dim),
                                .attn_logit_softcap = of->cap};
    dw_kv_layout layout = dw_model_kv_layout(&w->shape, of->type);
    w->head_bytes = layout.head_bytes;
    w->record_bytes = layout.record_bytes;
    cuda_bench_open(&w->b, of->plan->token_count);
    dw_cuda_layer layer = make_layer(w);
    size_t scratch = dw_cuda_attention_bytes(
        &w->shape, of->type, of->plan->token_count - of->plan->tiled_count, of->plan->tiled_count);
    assert_true(scratch <= CUDA_BENCH_SCRATCH_BYTES);
    dw_cuda_attention with = {
        .shape = &w->shape,
        .kv_type = of->type,
        .table = &w->b.table,
        .scratch = cuda_placed(&w->b, ggml_new_tensor_1d(w->b.ggml, GGML_TYPE_I8, (int64_t)scratch),
                               ggml_backend_buffer_get_base(w->b.own)),
        .alone = of->plan->alone,
        .tiled_count = of->plan->tiled_count};
    if (!of->plan->alone) {
        ggml_build_forward_expand(w->b.graph, dw_cuda_append(&with, w->b.ggml, &layer));
    }
    w->y = dw_cuda_attend(&with, w->b.ggml, &layer);
    ggml_build_forward_expand(w->b.graph, w->y);
    w->log = ggml_new_tensor_1d(w->b.ggml, GGML_TYPE_I8, (int64_t)make_logs(w));
    fill_logs(w);
    cuda_bench_allocate(&w->b);
    w->inputs = cuda_random_floats((size_t)ggml_nelements(w->qkv), 1.0F);
    cuda_set(w->qkv, w->inputs);
    cuda_set(w->log, w->image);
    if (of->rope == ROPE_FACTORS) {
        float *factors = cuda_random_floats(of->head_dim / 2, 0.5F);
        for (uint32_t i = 0; i < of->head_dim / 2; i++) {
            factors[i] += 1.5F;
        }
        cuda_set(w->turns->src[1], factors);
        free(factors);
    }
    point_rows(w);
}

static void attention_close(attention_fixture *w)
{
    free(w->inputs);
    free(w->image);
    cuda_bench_close(&w->b);
}

/* A head's row turned as `turns`, the rope node's result, say: what that holds is tested above. */
static void rotate(const attention_fixture *w, const float *turns, uint32_t token,
                   const float *from, double *to)
{
    uint32_t dims = rope_dims(&w->of);
    for (uint32_t d = 0; d < w->of.head_dim; d++) {
        to[d] = (double)from[d];
    }
    for (uint32_t i = 0; i < dims / 2; i++) {
        bool normal = w->of.rope == ROPE_NORMAL;
        uint32_t a = normal ? 2 * i : i;
        uint32_t b = normal ? 2 * i + 1 : i + dims / 2;
        const float *turn = turns + 2 * ((size_t)token * (dims / 2) + i);
        to[a] = (double)from[a] * (double)turn[0] - (double)from[b] * (double)turn[1];
        to[b] = (double)from[a] * (double)turn[1] + (double)from[b] * (double)turn[0];
    }
}

/* A token's keys and values are in `got`, as ggml would have stored them; keys that were rotated
 * may be one step away. Copied into the image too. */
static void expect_appended(attention_fixture *w, const unsigned char *got, const float *turns,
                            uint32_t token)
{
    unsigned char wanted[1024];
    float stored[256];
    double rotated[256];
    uint32_t heads = KV_HEADS * w->of.ratio;
    for (uint32_t i = 0; i < 2 * KV_HEADS; i++) {
        uint32_t part = i / KV_HEADS;
        size_t place = place_of(w, token, w->of.plan->position[token], part, i % KV_HEADS);
        const float *from = input_of(w, token, heads + i);
        if (part == 1 || w->of.rope == ROPE_NONE) {
            to_stored(w, from, wanted);
            assert_memory_equal(got + place, wanted, w->head_bytes);
        } else {
            rotate(w, turns, token, from, rotated);
            from_stored(w, got + place, stored);
            double limit = w->of.type == DW_KV_F32 ? 1e-6
                           : w->of.type == DW_KV_F16
                               ? 1.1e-3
                               : 8.5e-3; /* half of 2 / 127, and the scale's */
            for (uint32_t d = 0; d < w->of.head_dim; d++) {
                assert_true(fabs((double)stored[d] - rotated[d]) <= limit);
            }
        }
        memcpy(w->image + place, got + place, w->head_bytes);
    }
}

/* One head's attention in doubles, over what the image holds -> sum [head_dim]. */
static void attend_plainly(const attention_fixture *w, const double *q, uint32_t token,
                           uint32_t head, double *sum)
{
    uint32_t end = w->of.plan->position[token] + 1;
    uint32_t first = w->of.window > 0 && end > w->of.window ? end - w->of.window : 0;
    uint32_t kv_head = head / w->of.ratio;
    float row[256];
    double total = 0.0;
    double largest = -INFINITY;
    memset(sum, 0, w->of.head_dim * sizeof *sum);
    for (uint32_t r = first; r < end; r++) {
        double score = 0.0;
        from_stored(w, w->image + place_of(w, token, r, 0, kv_head), row);
        for (uint32_t d = 0; d < w->of.head_dim; d++) {
            score += q[d] * (double)row[d];
        }
        score *= (double)w->shape.attention_scale;
        score = w->of.cap > 0.0F ? (double)w->of.cap * tanh(score / (double)w->of.cap) : score;
        double shrink = score > largest ? exp(largest - score) : 1.0;
        largest = fmax(largest, score);
        double weight = exp(score - largest);
        total = total * shrink + weight;
        from_stored(w, w->image + place_of(w, token, r, 1, kv_head), row);
        for (uint32_t d = 0; d < w->of.head_dim; d++) {
            sum[d] = sum[d] * shrink + weight * (double)row[d];
        }
    }
    for (uint32_t d = 0; d < w->of.head_dim; d++) {
        sum[d] /= total;
    }
}

static void expect_attended(const attention_fixture *w, const float *y, const float *turns,
                            uint32_t token)
{
    double q[256];
    double sum[256];
    uint32_t heads = KV_HEADS * w->of.ratio;
    for (uint32_t head = 0; head < heads; head++) {
        const float *got = y + ((size_t)token * heads + head) * w->of.head_dim;
        double largest = 0.0;
        double worst = 0.0;
        rotate(w, turns, token, input_of(w, token, head), q);
        attend_plainly(w, q, token, head, sum);
        for (uint32_t d = 0; d < w->of.head_dim; d++) {
            assert_true(isfinite(got[d]));
            largest = fmax(largest, fabs(sum[d]));
            worst = fmax(worst, fabs((double)got[d] - sum[d]));
        }
        /* Tiles round queries, weights, and what is not kept in halves to these. */
        const uint32_t singles = w->of.plan->token_count - w->of.plan->tiled_count;
        if (worst > (token < singles ? 2e-4 : 2e-3) * largest) {
            fail_msg("head_dim %u, ratio %u, type %d, window %u, cap %g, rope %d, token %u at %u, "
                     "head %u: %g away, relative",
                     w->of.head_dim, w->of.ratio, (int)w->of.type, w->of.window, (double)w->of.cap,
                     w->of.rope, token, w->of.plan->position[token], head, worst / largest);
        }
    }
}

/* Everything a run has left is right, and nothing else has changed. */
static void expect_run(attention_fixture *w)
{
    const token_plan *plan = w->of.plan;
    uint32_t width = w->of.head_dim * KV_HEADS * w->of.ratio;
    unsigned char *got = cuda_get(w->log);
    float *turns = w->turns != NULL ? cuda_get(w->turns) : NULL;
    float *y = cuda_get(w->y);
    for (uint32_t i = 0; i < plan->token_count; i++) {
        if (plan->log[i] != PADDING) {
            expect_appended(w, got, turns, i);
        }
    }
    assert_memory_equal(got, w->image, ggml_nbytes(w->log));
    for (uint32_t i = 0; i < plan->token_count; i++) {
        if (plan->log[i] != PADDING) {
            expect_attended(w, y, turns, i);
            continue;
        }
        for (uint32_t d = 0; d < width; d++) {
            assert_true(y[(size_t)i * width + d] == 0.0F);
        }
    }
    free(y);
    free(turns);
    free(got);
}

/* Run again, with other lengths in between, it gives the same bits: the counters are at zero. */
static void expect_same_again(attention_fixture *w)
{
    size_t bytes = ggml_nbytes(w->y);
    const uint32_t singles = w->of.plan->token_count - w->of.plan->tiled_count;
    const uint32_t most = dw_cuda_attends_by_tensor_cores((uint8_t)w->of.type, w->of.head_dim)
                              ? DW_CUDA_BLOCK_HEADS_MAX
                              : DW_CUDA_PLAIN_HEADS_MAX;
    size_t counters = (size_t)singles * KV_HEADS * ((w->of.ratio + most - 1) / most);
    float *first = cuda_get(w->y);
    for (int i = 0; i < 4; i++) {
        for (uint32_t t = 0; t < w->of.plan->token_count && i == 1; t++) {
            w->b.rows[t].position /= 3; /* overwrites the record there: put back below */
        }
        cuda_bench_run(&w->b);
        uint32_t *left = cuda_get(w->y->src[2]);
        for (size_t k = 0; k < counters; k++) {
            assert_int_equal(left[k], 0);
        }
        free(left);
        if (i == 1) {
            point_rows(w);
            cuda_set(w->log, w->image);
            continue;
        }
        float *again = cuda_get(w->y);
        assert_memory_equal(first, again, bytes);
        free(again);
    }
    free(first);
}

static void attention_trial(const attention_case *of)
{
    attention_fixture w;
    if (of->type == DW_KV_Q8_0 && of->head_dim % 32 != 0) {
        return; /* its blocks are of 32 */
    }
    attention_open(&w, of);
    cuda_bench_run(&w.b);
    expect_run(&w);
    expect_same_again(&w);
    attention_close(&w);
}

/* Each of a log of its own, padding between; one alone, which is cut into the most parts; and some
 * of one log beside others. */
static const token_plan plans[] = {
    {.token_count = 11,
     .log = {0, 1, PADDING, 2, 3, 4, 5, PADDING, 6, 7, 8},
     .position = {0, 1, 0, 62, 63, 126, 127, 0, 128, 499, 4099},
     .alone = true},
    {.token_count = 1, .log = {0}, .position = {4099}, .alone = true},
    {.token_count = 1, .log = {0}, .position = {0}, .alone = true},
    {.token_count = 10,
     .log = {0, 0, 0, 0, 0, PADDING, 1, 2, 2, 3},
     .position = {125, 126, 127, 128, 129, 0, 0, 0, 1, 700}},
};
#define PLANS 4

static const uint32_t head_dims[] = {32, 40, 64, 80, 96, 128, 192, 256};
static const uint32_t ratios[] = {1, 2, 3, 4, 7, 8, 12, 16};
#define RATIOS 8

/* All sizes, with the rest taken by turns. */
static void test_cuda_attention_of_all_sizes(void **state)
{
    static const uint32_t windows[] = {0, 100, 0, 1, 0};
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    uint32_t turn = 0;
    for (int d = 0; d < 8; d++) {
        for (int r = 0; r < RATIOS; r++) {
            for (int type = DW_KV_F16; type <= DW_KV_F32; type++, turn++) {
                attention_case of = {.head_dim = head_dims[d],
                                     .ratio = ratios[r],
                                     .type = (dw_kv_type)type,
                                     .window = windows[turn % 5],
                                     .cap = turn % 3 == 1 ? 30.0F : 0.0F,
                                     .rope = (int)(turn / 2 % ROPES),
                                     .plan = &plans[turn / 3 % PLANS]};
                attention_trial(&of);
            }
        }
    }
}

/* All else, with a few sizes. */
static void test_cuda_attention_of_all_kinds(void **state)
{
    static const uint32_t windows[] = {0, 1, 100};
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    for (int i = 0; i < 3 * 2 * ROPES * PLANS; i++) {
        attention_case of = {.head_dim = i % 2 == 0 ? 64 : 96,
                             .ratio = ratios[i % RATIOS],
                             .type = (dw_kv_type)(i % 3),
                             .window = windows[i / (2 * ROPES * PLANS)],
                             .cap = i / (ROPES * PLANS) % 2 == 0 ? 0.0F : 30.0F,
                             .rope = i / PLANS % ROPES,
                             .plan = &plans[i % PLANS]};
        attention_trial(&of);
    }
}

/* So many rows that a block has the first part of one, and all share the rest of long logs. */
static void many_plan(token_plan *plan)
{
    static const uint32_t long_ones[] = {511, 512, 513, 1100, 2600};
    *plan = (token_plan){.token_count = 136, .alone = true};
    for (uint32_t i = 0; i < plan->token_count; i++) {
        plan->log[i] = i % 30 == 7 ? PADDING : i;
        plan->position[i] = i % 30 == 7 ? 0 : i % 27 == 11 ? long_ones[i / 27] : i * 7 % 150;
    }
}

static void test_cuda_attention_of_many(void **state)
{
    static const uint32_t dims[] = {64, 80, 128, 256};
    static const uint32_t many_ratios[] = {1, 4, 7};
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    token_plan plan;
    many_plan(&plan);
    for (int i = 0; i < 12; i++) {
        attention_case of = {.head_dim = dims[i % 4],
                             .ratio = many_ratios[i / 4],
                             .type = (dw_kv_type)((i + i / 4) % 3),
                             .window = i % 5 == 3 ? 700 : 0,
                             .rope = i % 2 == 0 ? ROPE_NORMAL : ROPE_NEOX,
                             .plan = &plan};
        attention_trial(&of);
    }
}

/* One token of `all` alone, in a graph of its own, has the same bits. */
static void expect_alone_as_in_company(const attention_fixture *all, uint32_t token)
{
    const token_plan *plan = all->of.plan;
    const size_t width = (size_t)all->of.head_dim * KV_HEADS * all->of.ratio;
    const size_t row = (size_t)all->of.head_dim * KV_HEADS * (all->of.ratio + 2);
    token_plan one = {.token_count = 1, .position = {plan->position[token]}, .alone = true};
    attention_case of = all->of;
    of.plan = &one;
    attention_fixture w;
    attention_open(&w, &of);
    cuda_set(w.qkv, all->inputs + token * row);
    cuda_set(w.log, all->image + all->log_starts[plan->log[token]]);
    cuda_bench_run(&w.b);
    float *got = cuda_get(w.y);
    float *wanted = cuda_get(all->y);
    assert_memory_equal(got, wanted + token * width, width * sizeof *got);
    free(wanted);
    free(got);
    attention_close(&w);
}

/* Up to DW_CUDA_PRODUCT_ROWS tokens have the bits that they have alone, in any company. */
static void test_cuda_attention_in_company(void **state)
{
    static const uint32_t dims[] = {64, 96, 128, 256};
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    for (int i = 0; i < 24; i++) {
        attention_case of = {.head_dim = dims[i % 4],
                             .ratio = ratios[i % RATIOS],
                             .type = (dw_kv_type)(i % 3),
                             .window = i % 7 == 4 ? 300 : 0,
                             .rope = ROPE_NORMAL,
                             .plan = &plans[0]};
        attention_fixture w;
        attention_open(&w, &of);
        cuda_bench_run(&w.b);
        for (uint32_t token = 0; token < of.plan->token_count; token++) {
            if (of.plan->log[token] != PADDING) {
                expect_alone_as_in_company(&w, token);
            }
        }
        attention_close(&w);
    }
}

/* Prompts' tokens beside single ones: of several logs, each at another place in it, one so far that
 * it is cut into parts; the shortest that go as tiles; and padding. */
static void tiled_plan(token_plan *plan, uint32_t singles)
{
    static const struct {
        uint32_t past, count;
    } prompts[] = {{0, 17}, {1300, 70}, {61, 16}};
    *plan = (token_plan){.token_count = 0};
    for (uint32_t i = 0; i < singles; i++) {
        plan->log[plan->token_count] = i == 1 ? PADDING : i;
        plan->position[plan->token_count++] = i == 1 ? 0 : 350 * i;
    }
    for (uint32_t p = 0; p < 3; p++) {
        for (uint32_t i = 0; i < prompts[p].count; i++) {
            plan->log[plan->token_count] = 10 + p;
            plan->position[plan->token_count++] = prompts[p].past + i;
        }
    }
    for (int i = 0; i < 9; i++) {
        plan->log[plan->token_count++] = PADDING;
    }
    plan->tiled_count = plan->token_count - singles;
}

static void test_cuda_attention_of_tiles(void **state)
{
    static const uint32_t windows[] = {0, 100, 0, 1, 0};
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    token_plan of_both;
    token_plan of_tiles;
    tiled_plan(&of_both, 3);
    tiled_plan(&of_tiles, 0);
    uint32_t turn = 0;
    for (int d = 0; d < 8; d++) {
        for (int r = 0; r < 6; r++) {
            for (int type = DW_KV_F16; type <= DW_KV_Q8_0; type++, turn++) {
                attention_case of = {.head_dim = head_dims[d],
                                     .ratio = ratios[r],
                                     .type = (dw_kv_type)type,
                                     .window = windows[turn % 5],
                                     .cap = turn % 3 == 1 ? 30.0F : 0.0F,
                                     .rope = (int)(turn / 2 % ROPES),
                                     .plan = turn % 4 == 3 ? &of_tiles : &of_both};
                attention_trial(&of);
            }
        }
    }
}

/* ---- masks, and rows to their owners ---- */

static void test_cuda_masks(void **state)
{
    static const uint32_t windows[] = {0, 1, 100};
    static const uint32_t positions[] = {0, 1, 63, 99, 100, 101, 299};
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    for (int i = 0; i < 3; i++) {
        cuda_bench b;
        cuda_bench_open(&b, 7);
        struct ggml_tensor *mask = dw_cuda_mask(b.ggml, &b.table, 300, 7, windows[i]);
        ggml_build_forward_expand(b.graph, mask);
        cuda_bench_allocate(&b);
        for (int t = 0; t < 7; t++) {
            b.rows[t].position = positions[t];
        }
        cuda_bench_run(&b);
        uint16_t *got = cuda_get(mask);
        for (uint32_t at = 0; at < 7 * 300; at++) {
            uint32_t record = at % 300;
            uint32_t own = positions[at / 300];
            bool seen = record <= own && (windows[i] == 0 || own - record < windows[i]);
            assert_int_equal(got[at], seen ? 0 : 0xfc00);
        }
        free(got);
        cuda_bench_close(&b);
    }
}

/* The middle row of three goes nowhere; what is beside the others' places stays. */
static void test_cuda_place_rows(void **state)
{
    static const uint32_t counts[] = {1, 255, 4097, 49152};
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    for (int i = 0; i < 4; i++) {
        cuda_bench b;
        uint32_t vocab = counts[i];
        cuda_bench_open(&b, 3);
        struct ggml_tensor *logits = ggml_new_tensor_2d(b.ggml, GGML_TYPE_F32, vocab, 3);
        struct ggml_tensor *to = ggml_new_tensor_2d(b.ggml, GGML_TYPE_F32, vocab + 2, 3);
        ggml_build_forward_expand(b.graph, dw_cuda_place_rows(b.ggml, &b.table, logits));
        cuda_bench_allocate(&b);
        float *from = cuda_random_floats((size_t)vocab * 3, 10.0F);
        float *before = cuda_random_floats((size_t)(vocab + 2) * 3, 1.0F);
        cuda_set(logits, from);
        cuda_set(to, before);
        float *base = to->data;
        b.rows[0].logits = address(base + 1);
        b.rows[2].logits = address(base + 2 * (size_t)(vocab + 2) + 1);
        cuda_bench_run(&b);
        memcpy(before + 1, from, vocab * sizeof *from);
        memcpy(before + 2 * (size_t)(vocab + 2) + 1, from + 2 * (size_t)vocab,
               vocab * sizeof *from);
        float *after = cuda_get(to);
        assert_memory_equal(after, before, ggml_nbytes(to));
        free(after);
        free(before);
        free(from);
        cuda_bench_close(&b);
    }
}

/* ---- the likeliest ---- */

enum {
    ROW_RANDOM,
    ROW_SHARP,
    ROW_TIES,
    ROW_EQUAL,
    ROW_RULED_OUT,
    ROW_NAN,
    ROW_NOTHING,
    ROW_INFINITE
};
#define ROW_KINDS 8u
static_assert(ROW_KINDS <= CUDA_BENCH_CANDIDATES, "a row of each kind");

static float logit_of_kind(uint32_t kind, uint32_t token)
{
    float u = cuda_random(0.0F, 1.0F);
    switch (kind) {
    case ROW_SHARP:
        return 40.0F * u - 30.0F;
    case ROW_TIES: /* zeros of either sign are the largest */
        return u < 0.1F ? (token % 2 == 0 ? 0.0F : -0.0F) : -floorf(8.0F * u);
    case ROW_EQUAL:
        return -3.5F;
    case ROW_RULED_OUT:
        return u < 0.95F && token > 0 ? -INFINITY : u;
    case ROW_NAN:
        return u < 0.01F || token == 0 ? NAN : u;
    case ROW_NOTHING:
        return -INFINITY;
    case ROW_INFINITE:
        return u < 0.01F || token == 0 ? INFINITY : u;
    default:
        return 4.0F * u - 2.0F;
    }
}

static int likelier_first(const void *a, const void *b)
{
    const dw_top_k_entry *first = a;
    const dw_top_k_entry *second = b;
    if (first->logit != second->logit) {
        return first->logit > second->logit ? -1 : 1;
    }
    return first->token < second->token ? -1 : 1;
}

static void expect_candidates(const dw_top_k *got, const float *row, uint32_t vocab, uint32_t count)
{
    uint32_t kept = 0;
    double total = 0.0;
    dw_top_k_entry *sorted = malloc(vocab * sizeof *sorted);
    assert_non_null(sorted);
    for (uint32_t i = 0; i < vocab; i++) {
        if (!isnan(row[i])) {
            sorted[kept++] = (dw_top_k_entry){row[i], (int32_t)i};
        }
    }
    qsort(sorted, kept, sizeof *sorted, likelier_first);
    assert_int_equal(got->nan_count, vocab - kept);
    assert_int_equal(got->count, kept < count ? kept : count);
    for (uint32_t i = 0; i < got->count; i++) {
        assert_int_equal(got->list[i].token, sorted[i].token);
        assert_true(got->list[i].logit == sorted[i].logit);
    }
    float largest = kept > 0 ? sorted[0].logit : -INFINITY;
    assert_true(got->largest == largest);
    for (uint32_t i = 0; i < kept && isfinite(largest); i++) {
        total += exp((double)sorted[i].logit - (double)largest);
    }
    if (kept == vocab && isfinite(largest)) { /* nearer than the sampler needs */
        assert_true(fabs(got->total - total) < 5e-6 * total);
    }
    free(sorted);
}

static void candidates_trial(uint32_t vocab, uint32_t count)
{
    cuda_bench b;
    cuda_bench_open(&b, 1);
    struct ggml_tensor *logits = ggml_new_tensor_2d(b.ggml, GGML_TYPE_F32, vocab, ROW_KINDS);
    struct ggml_tensor *to = cuda_placed(
        &b, ggml_new_tensor_2d(b.ggml, GGML_TYPE_I8, sizeof(dw_top_k), ROW_KINDS), b.candidates);
    ggml_build_forward_expand(b.graph, dw_cuda_top_k(b.ggml, NULL, logits, to, count));
    cuda_bench_allocate(&b);
    float *rows = malloc(ggml_nbytes(logits));
    assert_non_null(rows);
    for (int run = 0; run < 2; run++) {
        for (size_t i = 0; i < (size_t)vocab * ROW_KINDS; i++) {
            rows[i] = logit_of_kind((uint32_t)(i / vocab), (uint32_t)(i % vocab));
        }
        cuda_set(logits, rows);
        memset(b.candidates, 0xff, ROW_KINDS * sizeof *b.candidates);
        cuda_bench_run(&b);
        for (size_t kind = 0; kind < ROW_KINDS; kind++) {
            expect_candidates(&b.candidates[kind], rows + kind * vocab, vocab, count);
        }
    }
    free(rows);
    cuda_bench_close(&b);
}

static void test_cuda_candidates(void **state)
{
    static const uint32_t counts[] = {1, 2, 100, 4095, 4096, 4097, 49152, 262144};
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    for (int i = 0; i < 8; i++) {
        candidates_trial(counts[i], 1);
        candidates_trial(counts[i], 40);
        candidates_trial(counts[i], DW_TOP_K_MAX);
    }
}

/* What the likeliest tell of when the run began and when they were done lies within what the host
 * saw of it, whatever else stands behind the table. */
static void test_cuda_run_times(void **state)
{
    (void)state;
    if (cuda == NULL) {
        skip();
    }
    const uint64_t ticks = 20000000; /* a device's clock may move in steps */
    cuda_bench b;
    cuda_bench_open(&b, 3);
    struct ggml_tensor *logits = ggml_new_tensor_2d(b.ggml, GGML_TYPE_F32, 500, 1);
    struct ggml_tensor *to = cuda_placed(
        &b, ggml_new_tensor_2d(b.ggml, GGML_TYPE_I8, sizeof(dw_top_k), 1), b.candidates);
    ggml_build_forward_expand(b.graph, dw_cuda_top_k(b.ggml, &b.table, logits, to, 1));
    cuda_bench_allocate(&b);
    float *row = cuda_random_floats(500, 1.0F);
    cuda_set(logits, row);
    b.rows[1].position = 70000;
    uint32_t before = 0;
    for (int run = 0; run < 3; run++) {
        const uint64_t started = dw_os_clock_ns();
        cuda_bench_run(&b);
        const uint64_t took = dw_os_clock_ns() - started;
        const dw_top_k *got = b.candidates;
        assert_true((uint32_t)(got->ended_ns - got->began_ns) <= took + ticks);
        assert_true(run == 0 || (uint32_t)(got->began_ns - before) <= INT32_MAX);
        before = got->ended_ns;
    }
    free(row);
    cuda_bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuda_table),
        cmocka_unit_test(test_cuda_rope_as_ggml),
        cmocka_unit_test(test_cuda_attention_of_all_sizes),
        cmocka_unit_test(test_cuda_attention_of_all_kinds),
        cmocka_unit_test(test_cuda_attention_of_many),
        cmocka_unit_test(test_cuda_attention_in_company),
        cmocka_unit_test(test_cuda_attention_of_tiles),
        cmocka_unit_test(test_cuda_masks),
        cmocka_unit_test(test_cuda_place_rows),
        cmocka_unit_test(test_cuda_candidates),
        cmocka_unit_test(test_cuda_run_times),
    };
    return cmocka_run_group_tests(tests, cuda_open, cuda_close);
}
