/* The kernel itself, for whatever vectors the including file defines:
 *   VF                     a vector of W floats, with + - * / by the compiler
 *   VI                     W int32
 *   V_LOAD V_STORE V_SET1 V_FMA(a, b, c) (a * b + c) V_MAX V_HSUM V_HSUM4(to, a, b, c, d)
 *   V_LOAD_F16(p) V_LOAD_I8(p), F16_TO_F32(p) for one
 *   SCORE_ROWS SUM_VECTORS what fits the registers
 *   KERNEL                 the name of the dw_attention_kernel
 * Two forms. Few rows (decode): each record's numbers are read once, straight from the log, for
 * all rows. Many rows (prefill): a block of records is turned into floats once, then two small
 * matrix products, in which the rows lie side by side in a vector, so that the softmax between
 * them needs no sum across a vector. */
#include <ggml.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define BLOCK 64u      /* records at a time */
#define FEW_ROWS 8u    /* up to so many: the first form */
#define SUM_ROWS 4     /* rows at a time when values are summed */
#define PRODUCT_ROWS 6 /* of the small matrix products */

/* exp(x) for x <= 0, within 2 units of the last place; 0 below -87. */
INLINE VF v_exp(VF x)
{
    const VF magic = V_SET1(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    VI keep = x > V_SET1(-87.0f);
    x = V_MAX(x, V_SET1(-87.0f));
    VF n = V_FMA(x, V_SET1(1.44269504f), magic) - magic;
    VF r = V_FMA(n, V_SET1(-0.693145752f), x); /* ln 2 in two parts */
    r = V_FMA(n, V_SET1(-1.42860677e-6f), r);
    VF p = V_SET1(1.0f / 720.0f);
    p = V_FMA(p, r, V_SET1(1.0f / 120.0f));
    p = V_FMA(p, r, V_SET1(1.0f / 24.0f));
    p = V_FMA(p, r, V_SET1(1.0f / 6.0f));
    p = V_FMA(p, r, V_SET1(0.5f));
    p = V_FMA(p, r, V_SET1(1.0f));
    p = V_FMA(p, r, V_SET1(1.0f));
    VI power = (__builtin_convertvector(n, VI) + 127) << 23;
    return (VF)((VI)(p * (VF)power) & keep);
}

/* cap * tanh(x / cap), by way of exp of what is not positive. */
INLINE VF v_cap(VF x, float cap)
{
    const VI sign = (VI)V_SET1(-0.0f);
    VF scaled = x * V_SET1(1.0f / cap);
    VF e = v_exp((VF)((VI)scaled | sign) * V_SET1(2.0f)); /* exp(-2 |x|) */
    VF t = (V_SET1(1.0f) - e) / (V_SET1(1.0f) + e);
    return (VF)((VI)t | ((VI)scaled & sign)) * V_SET1(cap);
}

/* W numbers of a row of keys or values, from element i on. */
INLINE VF load_row(dw_kv_type type, const unsigned char *row, uint32_t i)
{
    if (type == DW_KV_F16) {
        return V_LOAD_F16(row + (size_t)i * 2);
    }
    if (type == DW_KV_F32) {
        return V_LOAD((const float *)(const void *)row + i);
    }
    const unsigned char *block = row + (size_t)(i / 32) * 34; /* a half and 32 bytes */
    return V_LOAD_I8(block + 2 + i % 32) * V_SET1(F16_TO_F32(block));
}

static size_t row_bytes(const dw_attention_tile *tile)
{
    switch (tile->type) {
    case DW_KV_F16:
        return (size_t)tile->head_dim * 2;
    case DW_KV_Q8_0:
        return (size_t)tile->head_dim / 32 * 34;
    default:
        return (size_t)tile->head_dim * 4;
    }
}

/* Records are far apart, each in a page of its own: no hardware prefetcher follows. */
INLINE void prefetch_row(const unsigned char *row, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(row + i);
    }
}

/* ---- few rows ---- */

/* scores[row][t] of `rows` rows and the four records from `at` on. */
INLINE void score_four(const int rows, dw_kv_type type, const dw_attention_tile *tile,
                       const float *queries, const unsigned char *const *at, float *scores)
{
    const uint32_t head_dim = tile->head_dim;
    VF sum[SCORE_ROWS][4];
    for (int r = 0; r < rows; r++) {
        for (int t = 0; t < 4; t++) {
            sum[r][t] = V_SET1(0.0f);
        }
    }
    for (uint32_t i = 0; i < head_dim; i += W) {
        VF key[4];
        for (int t = 0; t < 4; t++) {
            key[t] = load_row(type, at[t], i);
        }
        for (int r = 0; r < rows; r++) {
            VF q = V_LOAD(queries + (size_t)r * head_dim + i);
            for (int t = 0; t < 4; t++) {
                sum[r][t] = V_FMA(q, key[t], sum[r][t]);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        V_HSUM4(scores + (size_t)r * BLOCK, sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    }
}

INLINE void score_block(dw_kv_type type, const dw_attention_tile *tile, uint32_t from,
                        uint32_t count, float *scores)
{
    const size_t bytes = row_bytes(tile);
    for (uint32_t t = 0; t < count; t += 4) {
        const unsigned char *at[4];
        for (uint32_t k = 0; k < 4; k++) {
            /* Past the end the last record once more: masked later. */
            uint32_t record = from + (t + k < count ? t + k : count - 1);
            at[k] = tile->keys + record * tile->stride;
            prefetch_row(tile->values + record * tile->stride, bytes);
            if (record + BLOCK / 2 < tile->to) {
                prefetch_row(at[k] + BLOCK / 2 * tile->stride, bytes);
            }
        }
        uint32_t row = 0;
        for (; row + SCORE_ROWS <= tile->row_count; row += SCORE_ROWS) {
            score_four(SCORE_ROWS, type, tile, tile->queries + (size_t)row * tile->head_dim, at,
                       scores + (size_t)row * BLOCK + t);
        }
        for (; row < tile->row_count; row++) {
            score_four(1, type, tile, tile->queries + (size_t)row * tile->head_dim, at,
                       scores + (size_t)row * BLOCK + t);
        }
    }
}

/* output[row] += sum over records of weights[row][t] * value, for some rows of a tile. */
typedef struct value_sum {
    dw_kv_type type;
    uint32_t head_dim;
    size_t stride;
    const unsigned char *values; /* the first record's */
    uint32_t count;              /* of records */
    const float *weights;        /* [rows][BLOCK] */
    float *output;               /* [rows][head_dim] */
} value_sum;

/* Of `rows` rows the elements [i, i + vectors * W). */
INLINE void sum_values(const int rows, const int vectors, const value_sum *of, uint32_t i)
{
    const unsigned char *values = of->values;
    VF sum[SUM_ROWS][SUM_VECTORS];
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = V_LOAD(of->output + (size_t)r * of->head_dim + i + (uint32_t)v * W);
        }
    }
    for (uint32_t t = 0; t < of->count; t++) {
        VF value[SUM_VECTORS];
        for (int v = 0; v < vectors; v++) {
            value[v] = load_row(of->type, values, i + (uint32_t)v * W);
        }
        for (int r = 0; r < rows; r++) {
            VF weight = V_SET1(of->weights[(size_t)r * BLOCK + t]);
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = V_FMA(weight, value[v], sum[r][v]);
            }
        }
        values += of->stride;
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            V_STORE(of->output + (size_t)r * of->head_dim + i + (uint32_t)v * W, sum[r][v]);
        }
    }
}

INLINE void sum_rows(const int rows, const value_sum *of)
{
    uint32_t i = 0;
    for (; i + SUM_VECTORS * W <= of->head_dim; i += SUM_VECTORS * W) {
        sum_values(rows, SUM_VECTORS, of, i);
    }
    for (; i < of->head_dim; i += W) {
        sum_values(rows, 1, of, i);
    }
}

INLINE void sum_block(dw_kv_type type, const dw_attention_tile *tile, uint32_t from, uint32_t count,
                      const float *weights)
{
    uint32_t rows = 0;
    for (uint32_t row = 0; row < tile->row_count; row += rows) {
        value_sum of = {.type = type,
                        .head_dim = tile->head_dim,
                        .stride = tile->stride,
                        .values = tile->values + from * tile->stride,
                        .count = count,
                        .weights = weights + (size_t)row * BLOCK,
                        .output = tile->output + (size_t)row * tile->head_dim};
        rows = tile->row_count - row < SUM_ROWS ? tile->row_count - row : SUM_ROWS;
        switch (rows) { /* a number that the compiler knows */
        case 1:
            sum_rows(1, &of);
            break;
        case 2:
            sum_rows(2, &of);
            break;
        case 3:
            sum_rows(3, &of);
            break;
        default:
            sum_rows(SUM_ROWS, &of);
        }
    }
}

/* Scores of one row to weights: exp(score - maximum); what was summed before is scaled to the new
 * maximum. */
static void weigh_row(const dw_attention_tile *tile, uint32_t row, uint32_t from, uint32_t count,
                      float *scores)
{
    uint32_t first = tile->first[row] > from ? tile->first[row] - from : 0;
    uint32_t end = tile->end[row] > from ? tile->end[row] - from : 0;
    end = end < count ? end : count;
    for (uint32_t t = 0; t < first && t < BLOCK; t++) {
        scores[t] = -INFINITY;
    }
    for (uint32_t t = end; t < BLOCK; t++) {
        scores[t] = -INFINITY;
    }
    VF top = V_SET1(-INFINITY);
    for (uint32_t t = 0; t < BLOCK; t += W) {
        VF score = V_LOAD(scores + t);
        if (tile->cap > 0) {
            /* -infinity would become -cap. */
            VI seen = score > V_SET1(-INFINITY);
            score = (VF)(((VI)v_cap(score, tile->cap) & seen) | ((VI)score & ~seen));
            V_STORE(scores + t, score);
        }
        top = V_MAX(top, score);
    }
    float lanes[W];
    V_STORE(lanes, top);
    float maximum = tile->maxima[row];
    for (uint32_t i = 0; i < W; i++) {
        maximum = lanes[i] > maximum ? lanes[i] : maximum;
    }
    if (maximum == -INFINITY) {
        memset(scores, 0, BLOCK * sizeof *scores);
        return;
    }
    VF sum = V_SET1(0.0f);
    for (uint32_t t = 0; t < BLOCK; t += W) {
        VF weight = v_exp(V_LOAD(scores + t) - V_SET1(maximum));
        sum = sum + weight;
        V_STORE(scores + t, weight);
    }
    if (maximum > tile->maxima[row]) {
        float scale = expf(tile->maxima[row] - maximum);
        float *output = tile->output + (size_t)row * tile->head_dim;
        for (uint32_t i = 0; i < tile->head_dim; i += W) {
            V_STORE(output + i, V_LOAD(output + i) * V_SET1(scale));
        }
        tile->sums[row] *= scale;
        tile->maxima[row] = maximum;
    }
    tile->sums[row] += V_HSUM(sum);
}

INLINE void attend_few(dw_kv_type type, const dw_attention_tile *tile)
{
    float *scores = tile->scratch; /* [rows][BLOCK] */
    for (uint32_t from = tile->from; from < tile->to; from += BLOCK) {
        uint32_t count = tile->to - from < BLOCK ? tile->to - from : BLOCK;
        score_block(type, tile, from, count, scores);
        for (uint32_t row = 0; row < tile->row_count; row++) {
            weigh_row(tile, row, from, count, scores + (size_t)row * BLOCK);
        }
        sum_block(type, tile, from, count, scores);
    }
}

/* ---- many rows ---- */

/* c [rows][columns] = or += a [rows][depth] * b [depth][columns]; rows of b and c lie side by side,
 * a's elements as its strides say. */
typedef struct product {
    const float *a;
    size_t a_row;
    size_t a_column;
    const float *b;
    float *c;
    uint32_t rows;
    uint32_t columns; /* a multiple of W */
    uint32_t depth;
    bool add;
} product;

/* Of `rows` rows from m on the columns [n, n + vectors * W). */
INLINE void product_block(const int rows, const int vectors, const product *of, uint32_t m,
                          uint32_t n)
{
    const float *a = of->a + m * of->a_row;
    const float *b = of->b + n;
    float *c = of->c + (size_t)m * of->columns + n;
    VF sum[PRODUCT_ROWS][SUM_VECTORS];
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            sum[r][v] =
                of->add ? V_LOAD(c + (size_t)r * of->columns + (size_t)v * W) : V_SET1(0.0f);
        }
    }
    for (uint32_t k = 0; k < of->depth; k++) {
        VF right[SUM_VECTORS];
        for (int v = 0; v < vectors; v++) {
            right[v] = V_LOAD(b + (size_t)k * of->columns + (size_t)v * W);
        }
        for (int r = 0; r < rows; r++) {
            VF left = V_SET1(a[(size_t)r * of->a_row + k * of->a_column]);
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = V_FMA(left, right[v], sum[r][v]);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            V_STORE(c + (size_t)r * of->columns + (size_t)v * W, sum[r][v]);
        }
    }
}

INLINE void product_rows(const int rows, const product *of, uint32_t m)
{
    uint32_t n = 0;
    for (; n + SUM_VECTORS * W <= of->columns; n += SUM_VECTORS * W) {
        product_block(rows, SUM_VECTORS, of, m, n);
    }
    for (; n < of->columns; n += W) {
        product_block(rows, 1, of, m, n);
    }
}

INLINE void multiply(const product *of)
{
    uint32_t m = 0;
    for (; m + PRODUCT_ROWS <= of->rows; m += PRODUCT_ROWS) {
        product_rows(PRODUCT_ROWS, of, m);
    }
    if (m + 4 <= of->rows) {
        product_rows(4, of, m);
        m += 4;
    }
    for (; m < of->rows; m++) {
        product_rows(1, of, m);
    }
}

typedef struct many {
    float *queries; /* [head_dim][width]: the rows side by side */
    float *numbers; /* [BLOCK][head_dim]: keys, then values */
    float *scores;  /* [BLOCK][width] */
    float *maxima;  /* [width] */
    float *sums;    /* [width] */
    float *scales;  /* [width] */
    uint32_t width; /* rows, rounded up to whole vectors */
} many;

INLINE void to_floats(dw_kv_type type, const dw_attention_tile *tile, const unsigned char *row,
                      uint32_t count, float *to)
{
    for (uint32_t t = 0; t < count; t++, row += tile->stride) {
        for (uint32_t i = 0; i < tile->head_dim; i += W) {
            V_STORE(to + (size_t)t * tile->head_dim + i, load_row(type, row, i));
        }
    }
}

static void mask_block(const dw_attention_tile *tile, const many *at, uint32_t from, uint32_t count)
{
    for (uint32_t row = 0; row < tile->row_count; row++) {
        uint32_t first = tile->first[row];
        uint32_t end = tile->end[row];
        if (first <= from && from + count <= end) {
            continue;
        }
        for (uint32_t t = 0; t < count; t++) {
            if (from + t < first || from + t >= end) {
                at->scores[(size_t)t * at->width + row] = -INFINITY;
            }
        }
    }
}

/* weigh_row for W rows at a time. */
INLINE void weigh_columns(const many *at, uint32_t row, uint32_t count, float cap)
{
    const VF none = V_SET1(-INFINITY);
    VF old = V_LOAD(at->maxima + row);
    VF maximum = old;
    for (uint32_t t = 0; t < count; t++) {
        float *scores = at->scores + (size_t)t * at->width + row;
        VF score = V_LOAD(scores);
        if (cap > 0) {
            VI seen = score > none;
            score = (VF)(((VI)v_cap(score, cap) & seen) | ((VI)score & ~seen));
            V_STORE(scores, score);
        }
        maximum = V_MAX(maximum, score);
    }
    /* Where nothing was seen yet, any finite number will do: all weights are 0. */
    VI seen = maximum > none;
    VF against = (VF)((VI)maximum & seen);
    VF sum = V_SET1(0.0f);
    for (uint32_t t = 0; t < count; t++) {
        float *scores = at->scores + (size_t)t * at->width + row;
        VF weight = v_exp(V_LOAD(scores) - against);
        sum = sum + weight;
        V_STORE(scores, weight);
    }
    VF scale = v_exp(old - against);
    V_STORE(at->scales + row, scale);
    V_STORE(at->maxima + row, maximum);
    V_STORE(at->sums + row, V_FMA(V_LOAD(at->sums + row), scale, sum));
}

static void scale_outputs(const dw_attention_tile *tile, const many *at)
{
    for (uint32_t row = 0; row < tile->row_count; row++) {
        float *output = tile->output + (size_t)row * tile->head_dim;
        if (at->scales[row] == 1.0f) {
            continue;
        }
        for (uint32_t i = 0; i < tile->head_dim; i += W) {
            V_STORE(output + i, V_LOAD(output + i) * V_SET1(at->scales[row]));
        }
    }
}

static many lay_out(const dw_attention_tile *tile)
{
    const uint32_t head_dim = tile->head_dim;
    many at = {.width = (tile->row_count + W - 1) / W * W};
    at.queries = tile->scratch;
    at.numbers = at.queries + (size_t)head_dim * DW_TILE_ROWS_MAX;
    at.scores = at.numbers + (size_t)head_dim * BLOCK;
    at.maxima = at.scores + (size_t)BLOCK * DW_TILE_ROWS_MAX;
    at.sums = at.maxima + DW_TILE_ROWS_MAX;
    at.scales = at.sums + DW_TILE_ROWS_MAX;
    for (uint32_t i = 0; i < head_dim; i++) {
        for (uint32_t row = 0; row < at.width; row++) {
            at.queries[(size_t)i * at.width + row] =
                row < tile->row_count ? tile->queries[(size_t)row * head_dim + i] : 0.0f;
        }
    }
    for (uint32_t row = 0; row < at.width; row++) {
        at.maxima[row] = -INFINITY;
        at.sums[row] = 0.0f;
    }
    return at;
}

INLINE void attend_many(dw_kv_type type, const dw_attention_tile *tile)
{
    const uint32_t head_dim = tile->head_dim;
    many at = lay_out(tile);
    for (uint32_t from = tile->from; from < tile->to; from += BLOCK) {
        uint32_t count = tile->to - from < BLOCK ? tile->to - from : BLOCK;
        to_floats(type, tile, tile->keys + from * tile->stride, count, at.numbers);
        multiply(&(product){.a = at.numbers,
                            .a_row = head_dim,
                            .a_column = 1,
                            .b = at.queries,
                            .c = at.scores,
                            .rows = count,
                            .columns = at.width,
                            .depth = head_dim});
        mask_block(tile, &at, from, count);
        for (uint32_t row = 0; row < at.width; row += W) {
            weigh_columns(&at, row, count, tile->cap);
        }
        scale_outputs(tile, &at);
        to_floats(type, tile, tile->values + from * tile->stride, count, at.numbers);
        multiply(&(product){.a = at.scores,
                            .a_row = 1,
                            .a_column = at.width,
                            .b = at.numbers,
                            .c = tile->output,
                            .rows = tile->row_count,
                            .columns = head_dim,
                            .depth = count,
                            .add = true});
    }
    memcpy(tile->maxima, at.maxima, tile->row_count * sizeof *tile->maxima);
    memcpy(tile->sums, at.sums, tile->row_count * sizeof *tile->sums);
}

INLINE void attend_as(dw_kv_type type, const dw_attention_tile *tile)
{
    if (tile->row_count <= FEW_ROWS) {
        attend_few(type, tile);
    } else {
        attend_many(type, tile);
    }
}

static void attend(const dw_attention_tile *tile)
{
    for (uint32_t row = 0; row < tile->row_count; row++) {
        tile->maxima[row] = -INFINITY;
        tile->sums[row] = 0.0f;
    }
    memset(tile->output, 0, (size_t)tile->row_count * tile->head_dim * sizeof *tile->output);
    switch (tile->type) {
    case DW_KV_F16:
        attend_as(DW_KV_F16, tile);
        break;
    case DW_KV_Q8_0:
        attend_as(DW_KV_Q8_0, tile);
        break;
    default:
        attend_as(DW_KV_F32, tile);
    }
}

const dw_attention_kernel KERNEL = {
    .name = KERNEL_NAME, .head_dim_step = W, .runs_here = runs_here, .attend = attend};
