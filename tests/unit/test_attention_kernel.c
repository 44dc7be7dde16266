/* Attention's kernels, each that this machine can run, against sums in double precision. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ggml.h>

#include "kernels/attention_kernel.h"
#include "support.h"

#define RECORDS 700u
#define SLOW (SANITIZED || emulated())
#define HEAD_DIM_MAX 256u

typedef struct fixture {
    uint64_t random;
    unsigned char records[RECORDS * 2 * HEAD_DIM_MAX * sizeof(float) + 64];
    float keys[RECORDS][HEAD_DIM_MAX]; /* what the records hold, as floats again */
    float values[RECORDS][HEAD_DIM_MAX];
    float queries[DW_TILE_ROWS_MAX * HEAD_DIM_MAX];
    float output[DW_TILE_ROWS_MAX * HEAD_DIM_MAX];
    float maxima[DW_TILE_ROWS_MAX];
    float sums[DW_TILE_ROWS_MAX];
    uint32_t first[DW_TILE_ROWS_MAX];
    uint32_t end[DW_TILE_ROWS_MAX];
    float *scratch;
} fixture;

static float next_random(fixture *w)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(w->random >> 33) / 1073741824.0 - 1.0);
}

static uint32_t random_below(fixture *w, uint32_t count)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((w->random >> 33) % count);
}

static size_t stored_bytes(dw_kv_type type, uint32_t head_dim)
{
    static const enum ggml_type types[] = {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_F32};
    return ggml_row_size(types[type], head_dim);
}

/* Store a row as the log would, and read it back by ggml's own functions. */
static void store(dw_kv_type type, const float *row, uint32_t head_dim, unsigned char *at,
                  float *back)
{
    static const enum ggml_type types[] = {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_F32};
    if (type == DW_KV_F32) {
        memcpy(at, row, head_dim * sizeof *row);
        memcpy(back, row, head_dim * sizeof *row);
        return;
    }
    (void)ggml_quantize_chunk(types[type], row, at, 0, 1, head_dim, NULL);
    ggml_get_type_traits(types[type])->to_float(at, back, head_dim);
}

static void fill(fixture *w, dw_kv_type type, uint32_t head_dim, size_t stride)
{
    float row[HEAD_DIM_MAX];
    for (uint32_t t = 0; t < RECORDS; t++) {
        unsigned char *record = w->records + t * stride;
        for (uint32_t i = 0; i < head_dim; i++) {
            row[i] = next_random(w) * 2.0f;
        }
        store(type, row, head_dim, record, w->keys[t]);
        for (uint32_t i = 0; i < head_dim; i++) {
            row[i] = next_random(w);
        }
        store(type, row, head_dim, record + stored_bytes(type, head_dim), w->values[t]);
    }
}

/* The largest difference of row `row`'s output from the sums in double. */
static double row_error(const fixture *w, const dw_attention_tile *tile, uint32_t row)
{
    double scores[RECORDS];
    double top = -INFINITY;
    uint32_t from = tile->records.from > w->first[row] ? tile->records.from : w->first[row];
    uint32_t to = tile->records.to < w->end[row] ? tile->records.to : w->end[row];
    for (uint32_t t = from; t < to; t++) {
        double score = 0;
        for (uint32_t i = 0; i < tile->head_dim; i++) {
            score += (double)tile->queries[row * tile->head_dim + i] * (double)w->keys[t][i];
        }
        if (tile->cap > 0) {
            score = (double)tile->cap * tanh(score / (double)tile->cap);
        }
        scores[t] = score;
        top = fmax(top, score);
    }
    if (from >= to) {
        assert_true(tile->maxima[row] == -INFINITY && tile->sums[row] == 0.0f);
        return 0;
    }
    assert_true(fabs(top - (double)tile->maxima[row]) < 1e-3);
    double sum = 0;
    for (uint32_t t = from; t < to; t++) {
        scores[t] = exp(scores[t] - top);
        sum += scores[t];
    }
    double worst = 0;
    for (uint32_t i = 0; i < tile->head_dim; i++) {
        double wanted = 0;
        for (uint32_t t = from; t < to; t++) {
            wanted += scores[t] / sum * (double)w->values[t][i];
        }
        double got = (double)tile->output[row * tile->head_dim + i] / (double)tile->sums[row];
        worst = fmax(worst, fabs(wanted - got));
    }
    return worst;
}

typedef struct plan {
    dw_kv_type type;
    uint32_t head_dim;
    uint32_t rows;
    float cap;
    bool windowed;
} plan;

/* A row of the tile, divided, as if it stood alone: in its two forms, and its parts one by one. */
static void attend_alone(const dw_attention_kernel *kernel, const dw_attention_tile *tile,
                         uint32_t row, bool in_parts, float *result)
{
    static float output[2][DW_TILE_ROWS_MAX * HEAD_DIM_MAX];
    static float queries[DW_TILE_ROWS_MAX * HEAD_DIM_MAX];
    float maxima[2][DW_TILE_ROWS_MAX];
    float sums[2][DW_TILE_ROWS_MAX];
    uint32_t first[DW_TILE_ROWS_MAX];
    uint32_t end[DW_TILE_ROWS_MAX];
    dw_attention_tile one = *tile;
    one.row_count = tile->row_count <= 8 ? 9 : 1; /* the other form */
    for (uint32_t i = 0; i < one.row_count; i++) {
        memcpy(queries + i * tile->head_dim, tile->queries + row * tile->head_dim,
               tile->head_dim * sizeof *queries);
        first[i] = i == 0 ? tile->first[row] : tile->records.from;
        end[i] = i == 0 ? tile->end[row] : tile->records.to;
    }
    one.queries = queries;
    one.first = first;
    one.end = end;
    one.maxima = maxima[0];
    one.sums = sums[0];
    one.output = output[0];
    dw_attention_tile part = one;
    part.maxima = maxima[1];
    part.sums = sums[1];
    part.output = output[1];
    const uint32_t from = tile->records.from;
    const uint32_t to = tile->records.to;
    one.records.to = in_parts ? (from / DW_ATTENTION_PART + 1) * DW_ATTENTION_PART : to;
    one.records.to = one.records.to < to ? one.records.to : to;
    kernel->attend(&one);
    for (part.records.from = one.records.to; part.records.from < to;
         part.records.from += DW_ATTENTION_PART) {
        part.records.to = part.records.from + DW_ATTENTION_PART;
        part.records.to = part.records.to < to ? part.records.to : to;
        kernel->attend(&part);
        kernel->merge(&one, &part);
    }
    for (uint32_t i = 0; i < tile->head_dim; i++) {
        result[i] = output[0][i] / sums[0][0];
    }
}

/* To the bit what the tile gave. */
static void check_alone(const dw_attention_kernel *kernel, const dw_attention_tile *tile)
{
    float expected[HEAD_DIM_MAX];
    float got[HEAD_DIM_MAX];
    const uint32_t step = emulated() ? 9 : 1; /* an emulator takes minutes for all rows */
    for (uint32_t row = 0; row < tile->row_count; row += step) {
        if (tile->maxima[row] == -INFINITY) {
            continue;
        }
        for (uint32_t i = 0; i < tile->head_dim; i++) {
            expected[i] = tile->output[row * tile->head_dim + i] / tile->sums[row];
        }
        for (int in_parts = 0; in_parts < 2; in_parts++) {
            attend_alone(kernel, tile, row, in_parts == 1, got);
            if (memcmp(expected, got, tile->head_dim * sizeof *got) != 0) {
                fail_msg("%s: type %d, head_dim %u: row %u of %u over %u to %u is another alone%s",
                         kernel->name, (int)tile->type, tile->head_dim, row, tile->row_count,
                         tile->records.from, tile->records.to, in_parts == 1 ? ", in parts" : "");
            }
        }
    }
}

/* What is brought near meanwhile changes nothing. */
static void check_next(fixture *w, const dw_attention_kernel *kernel, const dw_attention_tile *tile)
{
    static float output[DW_TILE_ROWS_MAX * HEAD_DIM_MAX];
    float maxima[DW_TILE_ROWS_MAX];
    float sums[DW_TILE_ROWS_MAX];
    const size_t bytes = tile->row_count * sizeof *sums;
    dw_attention_tile one = *tile;
    one.next = one.records;
    one.next.from = random_below(w, 4) * DW_ATTENTION_BLOCK;
    one.next.to = one.next.from + 1 + random_below(w, 100);
    one.maxima = maxima;
    one.sums = sums;
    one.output = output;
    kernel->attend(&one);
    assert_memory_equal(maxima, tile->maxima, bytes);
    assert_memory_equal(sums, tile->sums, bytes);
    assert_memory_equal(output, tile->output, bytes * tile->head_dim);
}

static void check(fixture *w, const dw_attention_kernel *kernel, const plan *of)
{
    uint32_t head_dim = of->head_dim;
    size_t bytes = stored_bytes(of->type, head_dim);
    size_t stride = 2 * bytes;
    fill(w, of->type, head_dim, stride);
    for (uint32_t i = 0; i < of->rows * head_dim; i++) {
        w->queries[i] = next_random(w) * 4.0f / sqrtf((float)head_dim);
    }
    uint32_t from = random_below(w, 5) * DW_ATTENTION_BLOCK;
    uint32_t to = from + 1 + random_below(w, RECORDS - from);
    for (uint32_t row = 0; row < of->rows; row++) {
        w->end[row] = from + random_below(w, RECORDS - from + 1);
        w->first[row] = of->windowed ? random_below(w, RECORDS) : 0;
    }
    dw_attention_tile tile = {
        .records = {.keys = w->records, .values = w->records + bytes, .from = from, .to = to},
        .stride = stride,
        .type = of->type,
        .head_dim = head_dim,
        .row_count = of->rows,
        .queries = w->queries,
        .first = w->first,
        .end = w->end,
        .cap = of->cap,
        .maxima = w->maxima,
        .sums = w->sums,
        .output = w->output,
        .scratch = w->scratch};
    kernel->attend(&tile);
    for (uint32_t row = 0; row < of->rows; row++) {
        double error = row_error(w, &tile, row);
        if (!(error < 3e-6)) {
            fail_msg("%s: type %d, head_dim %u, rows %u, cap %g, row %u, records %u to %u: off by "
                     "%g",
                     kernel->name, (int)of->type, head_dim, of->rows, (double)of->cap, row, from,
                     to, error);
        }
    }
    check_alone(kernel, &tile);
    check_next(w, kernel, &tile);
}

static void check_kernel(fixture *w, const dw_attention_kernel *kernel)
{
    static const uint32_t head_dims[] = {32, 40, 64, 72, 80, 96, 128, 160, 192, 256};
    static const uint32_t rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 33, 48, 96};
    uint32_t count = 0;
    for (size_t d = 0; d < sizeof head_dims / sizeof head_dims[0]; d++) {
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            for (int type = 0; type < 3; type++) {
                plan one = {.type = (dw_kv_type)type,
                            .head_dim = head_dims[d],
                            .rows = rows[r],
                            .cap = random_below(w, 3) == 0 ? 5.0f : 0.0f,
                            .windowed = random_below(w, 2) == 0};
                bool whole = type != DW_KV_Q8_0 || head_dims[d] % 32 == 0;
                if (SLOW && (d + r) % 3 != (size_t)type) { /* one type of each shape */
                    continue;
                }
                if (head_dims[d] % kernel->head_dim_step == 0 && whole) {
                    check(w, kernel, &one);
                    count++;
                }
            }
        }
    }
    print_message("%s: %u shapes\n", kernel->name, count);
    assert_true(count > (SLOW ? 70 : 200));
}

static void test_attention_kernels(void **state)
{
    (void)state;
    static fixture w = {.random = 7};
    w.scratch =
        aligned_alloc(64, dw_attention_scratch_floats(HEAD_DIM_MAX) * sizeof(float) / 64 * 64 + 64);
    assert_non_null(w.scratch);
    uint32_t run = 0;
    for (size_t i = 0; dw_attention_kernel_at(i) != NULL; i++) {
        const dw_attention_kernel *kernel = dw_attention_kernel_at(i);
        if (kernel->attend != NULL && kernel->runs_here()) {
            check_kernel(&w, kernel);
            run++;
        }
    }
    assert_true(run >= 1);
    free(w.scratch);
}

static void test_attention_kernel_choice(void **state)
{
    (void)state;
    for (uint32_t head_dim = 8; head_dim <= 1024; head_dim += 8) {
        const dw_attention_kernel *kernel = dw_attention_kernel_for(head_dim);
        assert_non_null(kernel);
        assert_int_equal(head_dim % kernel->head_dim_step, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_kernels),
        cmocka_unit_test(test_attention_kernel_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
