/* The kernel itself, for whatever vectors the including file defines:
 *   VF                     a vector of W floats, with + - * / by the compiler
 *   VI                     W int32
 *   V_LOAD V_STORE V_SET1 V_FMA(a, b, c) (a * b + c) V_MAX
 *   V_HSUM                 all lanes: halves are added until one is left
 *   V_HADD(a, b)           in each four lanes a0 + a1, a2 + a3, b0 + b1, b2 + b3
 *   V_FOURS(p)             four floats, again and again
 *   V_LOAD_F16(p) V_LOAD_I8(p), F16_TO_F32(p) for one
 *   fours_of_halves(at, i, to), fours_of_floats: of the rows at[W / 4] the elements [i, i + W):
 *                          to[c] has the c-th four of each row, one row behind the other
 *   SCORE_ROWS (3 or 4) SCORE_GROUPS (of 4) SUM_VECTORS, FEW_SUM_VECTORS (of fewer rows than
 *                          SUM_ROWS): what fits the registers
 *   KERNEL                 the name of the dw_attention_kernel
 * Two forms. Few rows (decode): each record's numbers are read once, straight from the log, for
 * all rows. Many rows (prefill): a block of records is turned into floats once, then two small
 * matrix products, in which the rows lie side by side in a vector, so that the softmax between
 * them needs no sum across a vector.
 *
 * Both add in the same order, so that a row's bits do not depend on which rows are with it:
 *   a score       four sums, of the elements i with i % 4 = 0, 1, 2, 3, each in their order; then
 *                 (first + second) + (third + fourth)
 *   a block       the records [64 b, 64 b + 64). W sums of weights, of the records t with t % W
 *                 = 0, 1, ..., added up as V_HSUM does; values in the records' order. What a row
 *                 does not see has weight 0, which changes nothing
 *   a part        the records [256 p, 256 p + 256): its blocks in their order, what was summed
 *                 before scaled to the new maximum
 *   a row         its parts in their order, by `merge` */
#include <ggml.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define BLOCK 64u /* records at a time */
#define PART DW_ATTENTION_PART
#define LINE 64u       /* bytes of a cache's line */
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

/* Records are far apart, each in a page of its own: no hardware prefetcher follows. What the next
 * block reads is asked for while this one is computed, as evenly as that goes: a core has some tens
 * of lines on their way at once, and whatever misses beyond waits. */
INLINE void prefetch_row(const unsigned char *row, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE) {
        __builtin_prefetch(row + i, 0, 2);
    }
}

/* ---- records ---- */

/* A block's records. */
typedef struct block {
    uint32_t from;
    uint32_t count;
    const unsigned char *keys; /* record 0's; NULL: there is no block */
    const unsigned char *values;
    size_t at[BLOCK]; /* bytes from there to each record's */
} block;

INLINE uint32_t record_at(const dw_attention_tile *tile, uint32_t t)
{
    return tile->path != NULL && t >= tile->path_from ? tile->path[t - tile->path_from] : t;
}

/* The block of a range that begins with record `from`. Past its end the last record again: masked
 * later. */
INLINE void find_block(const dw_attention_tile *tile, const dw_attention_range *of, uint32_t from,
                       block *to)
{
    *to = (block){.from = from, .keys = of->keys, .values = of->values};
    to->count = of->to - from < BLOCK ? of->to - from : BLOCK;
    for (uint32_t t = 0; t < BLOCK; t++) {
        to->at[t] = record_at(tile, from + (t < to->count ? t : to->count - 1)) * tile->stride;
    }
}

/* The block that is looked at after the records before `from`. */
INLINE void find_next(const dw_attention_tile *tile, uint32_t from, block *to)
{
    if (from < tile->records.to) {
        find_block(tile, &tile->records, from, to);
    } else if (tile->next.keys != NULL) {
        find_block(tile, &tile->next, tile->next.from, to);
    } else {
        to->keys = NULL;
    }
}

/* A block, and what is brought near while it is computed. */
typedef struct look {
    const dw_attention_tile *tile;
    const block *at;
    const block *next;
    bool nears; /* there is a next one */
} look;

/* ---- few rows ---- */

/* Some rows' scores of W records. */
typedef struct score_rows {
    dw_kv_type type;
    uint32_t head_dim;
    const float *queries; /* [rows][head_dim] */
    float *to;            /* [rows][BLOCK] */
    const unsigned char *at[W];
    bool nears;
    const unsigned char *near[W]; /* brought near meanwhile */
} score_rows;

/* Four records a quarter of the vector apart make a group: each of its sums lies in the record's
 * own four lanes. */
INLINE void score_vector(const int rows, const score_rows *of)
{
    const uint32_t head_dim = of->head_dim;
    const uint32_t per_line = LINE / (of->type == DW_KV_F16 ? 2 : 4);
    VF sum[SCORE_ROWS][4];
    for (int r = 0; r < rows; r++) {
        for (int g = 0; g < 4; g++) {
            sum[r][g] = V_SET1(0.0f);
        }
    }
    for (uint32_t i = 0; i < head_dim; i += W) {
#pragma GCC unroll 4
        for (int first = 0; first < 4; first += SCORE_GROUPS) {
            VF key[SCORE_GROUPS][W / 4];
            for (int g = 0; g < SCORE_GROUPS; g++) {
                const unsigned char *group[W / 4];
                for (unsigned k = 0; k < W / 4; k++) {
                    group[k] = of->at[4 * k + (unsigned)(first + g)];
                    if (of->nears && i % per_line == 0) {
                        __builtin_prefetch(
                            of->near[4 * k + (unsigned)(first + g)] + i / per_line * LINE, 0, 2);
                    }
                }
                if (of->type == DW_KV_F16) {
                    fours_of_halves(group, i, key[g]);
                } else {
                    fours_of_floats(group, i, key[g]);
                }
            }
            for (unsigned c = 0; c < W / 4; c++) {
                for (int r = 0; r < rows; r++) {
                    VF q = V_FOURS(of->queries + (size_t)r * head_dim + i + 4 * c);
                    for (int g = 0; g < SCORE_GROUPS; g++) {
                        sum[r][first + g] = V_FMA(q, key[g][c], sum[r][first + g]);
                    }
                }
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        VF left = V_HADD(sum[r][0], sum[r][1]);
        VF right = V_HADD(sum[r][2], sum[r][3]);
        V_STORE(of->to + (size_t)r * BLOCK, V_HADD(left, right));
    }
}

/* The W keys from record t on, which are no numbers yet, as floats: [W][head_dim] */
INLINE void keys_to_floats(dw_kv_type type, const look *with, uint32_t t, float *to)
{
    const uint32_t head_dim = with->tile->head_dim;
    for (uint32_t k = 0; k < W; k++) {
        const unsigned char *key = with->at->keys + with->at->at[t + k];
        if (with->nears) {
            prefetch_row(with->next->keys + with->next->at[t + k], row_bytes(with->tile));
        }
        for (uint32_t i = 0; i < head_dim; i += W) {
            V_STORE(to + (size_t)k * head_dim + i, load_row(type, key, i));
        }
    }
}

/* Where the W keys from record t on are read, and which come near. */
INLINE void find_keys(dw_kv_type type, const look *with, uint32_t t, float *floats, score_rows *to)
{
    to->nears = with->nears && type != DW_KV_Q8_0;
    for (uint32_t k = 0; k < W; k++) {
        to->at[k] = with->at->keys + with->at->at[t + k];
        to->near[k] = with->nears ? with->next->keys + with->next->at[t + k] : NULL;
    }
    if (type == DW_KV_Q8_0) {
        keys_to_floats(type, with, t, floats);
        for (uint32_t k = 0; k < W; k++) {
            to->at[k] = (const unsigned char *)(floats + (size_t)k * with->tile->head_dim);
        }
    }
}

INLINE void score_any(uint32_t rows, const score_rows *of)
{
    switch (rows) { /* a number that the compiler knows */
    case 1:
        score_vector(1, of);
        break;
    case 2:
        score_vector(2, of);
        break;
    case 3:
        score_vector(3, of);
        break;
    default:
        score_vector(SCORE_ROWS, of);
    }
}

INLINE void score_block(dw_kv_type type, const look *with, float *scores, float *floats)
{
    const dw_attention_tile *tile = with->tile;
    score_rows of = {.type = type, .head_dim = tile->head_dim};
    for (uint32_t t = 0; t < with->at->count; t += W) {
        find_keys(type, with, t, floats, &of);
        uint32_t rows = 0;
        for (uint32_t row = 0; row < tile->row_count; row += rows) {
            of.queries = tile->queries + (size_t)row * tile->head_dim;
            of.to = scores + (size_t)row * BLOCK + t;
            rows = tile->row_count - row;
            rows = rows <= SCORE_ROWS ? rows : rows == SCORE_ROWS + 1 ? 2 : SCORE_ROWS;
            score_any(rows, &of);
            of.nears = false;
        }
    }
}

/* output[row] += sum over records of weights[row][t] * value, for some rows of a tile. */
typedef struct value_sum {
    dw_kv_type type;
    uint32_t head_dim;
    const look *with;
    const float *weights; /* [rows][BLOCK] */
    float *output;        /* [rows][head_dim] */
    bool nears;           /* the next block's values are brought near */
} value_sum;

/* Of `rows` rows the elements [i, i + vectors * W). */
INLINE void sum_values(const int rows, const int vectors, const value_sum *of, uint32_t i)
{
    const look *with = of->with;
    const bool nears = of->nears && i == 0;
    const size_t bytes = row_bytes(with->tile);
    VF sum[SUM_ROWS][FEW_SUM_VECTORS];
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = V_LOAD(of->output + (size_t)r * of->head_dim + i + (uint32_t)v * W);
        }
    }
    for (uint32_t t = 0; t < with->at->count; t++) {
        const unsigned char *at = with->at->values + with->at->at[t];
        VF weight[SUM_ROWS];
        if (nears) {
            prefetch_row(with->next->values + with->next->at[t], bytes);
        }
        for (int r = 0; r < rows; r++) {
            weight[r] = V_SET1(of->weights[(size_t)r * BLOCK + t]);
        }
        for (int v = 0; v < vectors; v++) {
            VF value = load_row(of->type, at, i + (uint32_t)v * W);
            for (int r = 0; r < rows; r++) {
                sum[r][v] = V_FMA(weight[r], value, sum[r][v]);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            V_STORE(of->output + (size_t)r * of->head_dim + i + (uint32_t)v * W, sum[r][v]);
        }
    }
}

INLINE void sum_rows(const int rows, const value_sum *of)
{
    const int vectors = rows < SUM_ROWS ? FEW_SUM_VECTORS : SUM_VECTORS;
    uint32_t i = 0;
    for (; i + (uint32_t)vectors * W <= of->head_dim; i += (uint32_t)vectors * W) {
        sum_values(rows, vectors, of, i);
    }
    for (; i < of->head_dim; i += W) {
        sum_values(rows, 1, of, i);
    }
}

INLINE void sum_block(dw_kv_type type, const look *with, const float *weights)
{
    const dw_attention_tile *tile = with->tile;
    uint32_t rows = 0;
    for (uint32_t row = 0; row < tile->row_count; row += rows) {
        value_sum of = {.type = type,
                        .head_dim = tile->head_dim,
                        .with = with,
                        .weights = weights + (size_t)row * BLOCK,
                        .output = tile->output + (size_t)row * tile->head_dim,
                        .nears = with->nears && row == 0};
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

/* Scores of records that the row does not see. */
INLINE void mask_row(const dw_attention_tile *tile, uint32_t row, const block *of, float *scores)
{
    uint32_t first = tile->first[row] > of->from ? tile->first[row] - of->from : 0;
    uint32_t end = tile->end[row] > of->from ? tile->end[row] - of->from : 0;
    end = end < of->count ? end : of->count;
    for (uint32_t t = 0; t < first && t < BLOCK; t++) {
        scores[t] = -INFINITY;
    }
    for (uint32_t t = end; t < BLOCK; t++) {
        scores[t] = -INFINITY;
    }
}

INLINE float max_lane(VF v)
{
    float lanes[W];
    V_STORE(lanes, v);
#pragma GCC unroll 4
    for (uint32_t half = W / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
        for (uint32_t i = 0; i < half; i++) {
            lanes[i] = lanes[i + half] > lanes[i] ? lanes[i + half] : lanes[i];
        }
    }
    return lanes[0];
}

/* Scores of one row to weights: exp(score - maximum); what was summed before is scaled to the new
 * maximum. */
INLINE void weigh_row(const dw_attention_tile *tile, uint32_t row, float *scores)
{
    const VF none = V_SET1(-INFINITY);
    VF top = none;
    for (uint32_t t = 0; t < BLOCK; t += W) {
        VF score = V_LOAD(scores + t);
        if (tile->cap > 0) {
            /* -infinity would become -cap. */
            VI seen = score > none;
            score = (VF)(((VI)v_cap(score, tile->cap) & seen) | ((VI)score & ~seen));
            V_STORE(scores + t, score);
        }
        top = V_MAX(top, score);
    }
    const float old = tile->maxima[row];
    const float highest = max_lane(top);
    const float maximum = highest > old ? highest : old;
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
    VF scale = v_exp(V_SET1(old) - V_SET1(maximum));
    if (maximum > old) {
        float *output = tile->output + (size_t)row * tile->head_dim;
        for (uint32_t i = 0; i < tile->head_dim; i += W) {
            V_STORE(output + i, V_LOAD(output + i) * scale);
        }
        tile->maxima[row] = maximum;
    }
    tile->sums[row] = V_FMA(V_SET1(tile->sums[row]), scale, V_SET1(V_HSUM(sum)))[0];
}

INLINE void attend_few(dw_kv_type type, const dw_attention_tile *tile)
{
    float *scores = tile->scratch; /* [rows][BLOCK] */
    float *floats = scores + DW_FEW_ROWS * BLOCK;
    block blocks[2];
    uint32_t index = 0;
    find_block(tile, &tile->records, tile->records.from, &blocks[0]);
    for (uint32_t from = tile->records.from; from < tile->records.to; from += BLOCK, index ^= 1) {
        look with = {.tile = tile, .at = &blocks[index], .next = &blocks[index ^ 1]};
        find_next(tile, from + BLOCK, &blocks[index ^ 1]);
        with.nears = with.next->keys != NULL;
        score_block(type, &with, scores, floats);
        for (uint32_t row = 0; row < tile->row_count; row++) {
            mask_row(tile, row, with.at, scores + (size_t)row * BLOCK);
            weigh_row(tile, row, scores + (size_t)row * BLOCK);
        }
        sum_block(type, &with, scores);
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
    bool scores; /* b's rows are in quarters, which are summed one by one; else c is added to */
} product;

/* Of the first `rows` rows the first `vectors` vectors of columns. */
INLINE void product_sum(const int rows, const int vectors, const product *of,
                        VF sum[PRODUCT_ROWS][SUM_VECTORS])
{
    const float *a = of->a;
    const float *b = of->b;
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
}

/* The part of a product that begins with row m and column n. */
INLINE product product_from(const product *of, uint32_t m, uint32_t n)
{
    product part = *of;
    part.a += m * of->a_row;
    part.b += n;
    part.c += (size_t)m * of->columns + n;
    return part;
}

INLINE void product_block(const int rows, const int vectors, const product *of, uint32_t m,
                          uint32_t n)
{
    const product part = product_from(of, m, n);
    float *c = part.c;
    VF sum[PRODUCT_ROWS][SUM_VECTORS];
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = V_LOAD(c + (size_t)r * of->columns + (size_t)v * W);
        }
    }
    product_sum(rows, vectors, &part, sum);
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            V_STORE(c + (size_t)r * of->columns + (size_t)v * W, sum[r][v]);
        }
    }
}

INLINE void score_product(const int rows, const int vectors, const product *of, uint32_t m,
                          uint32_t n)
{
    product part = product_from(of, m, n);
    float *c = part.c;
    part.depth = of->depth / 4;
    VF sum[4][PRODUCT_ROWS][SUM_VECTORS];
#pragma GCC unroll 4
    for (unsigned quarter = 0; quarter < 4; quarter++) {
        for (int r = 0; r < rows; r++) {
            for (int v = 0; v < vectors; v++) {
                sum[quarter][r][v] = V_SET1(0.0f);
            }
        }
        product_sum(rows, vectors, &part, sum[quarter]);
        part.a++;
        part.b += (size_t)part.depth * of->columns;
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            V_STORE(c + (size_t)r * of->columns + (size_t)v * W,
                    (sum[0][r][v] + sum[1][r][v]) + (sum[2][r][v] + sum[3][r][v]));
        }
    }
}

INLINE void product_any(const int rows, const int vectors, const product *of, uint32_t m,
                        uint32_t n)
{
    if (of->scores) {
        score_product(rows, vectors, of, m, n);
    } else {
        product_block(rows, vectors, of, m, n);
    }
}

INLINE void product_rows(const int rows, const product *of, uint32_t m)
{
    uint32_t n = 0;
    for (; n + SUM_VECTORS * W <= of->columns; n += SUM_VECTORS * W) {
        product_any(rows, SUM_VECTORS, of, m, n);
    }
    for (; n < of->columns; n += W) {
        product_any(rows, 1, of, m, n);
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
    float *queries; /* [4][head_dim / 4][width]: elements i % 4, the rows side by side */
    float *numbers; /* [BLOCK][head_dim]: keys, then values */
    float *scores;  /* [BLOCK][width] */
    float *maxima;  /* [width] */
    float *sums;    /* [width] */
    float *scales;  /* [width] */
    uint32_t width; /* rows, rounded up to whole vectors */
} many;

/* A block's rows, record by record: keys or values, of which `base` is record 0's. */
INLINE void to_floats(dw_kv_type type, const dw_attention_tile *tile, const unsigned char *base,
                      const block *of, float *to)
{
    for (uint32_t t = 0; t < of->count; t++) {
        for (uint32_t i = 0; i < tile->head_dim; i += W) {
            V_STORE(to + (size_t)t * tile->head_dim + i, load_row(type, base + of->at[t], i));
        }
    }
}

/* Also of the records that the block lacks. */
static void mask_block(const dw_attention_tile *tile, const many *at, const block *of)
{
    for (uint32_t t = of->count; t < BLOCK; t++) {
        for (uint32_t row = 0; row < at->width; row++) {
            at->scores[(size_t)t * at->width + row] = -INFINITY;
        }
    }
    for (uint32_t row = 0; row < tile->row_count; row++) {
        uint32_t first = tile->first[row];
        uint32_t end = tile->end[row];
        if (first <= of->from && of->from + of->count <= end) {
            continue;
        }
        for (uint32_t t = of->from; t < of->from + of->count; t++) {
            if (t < first || t >= end) {
                at->scores[(size_t)(t - of->from) * at->width + row] = -INFINITY;
            }
        }
    }
}

/* The weights of W rows summed as weigh_row does. */
INLINE VF sum_weights(const many *at, uint32_t row)
{
    VF sum[W];
#pragma GCC unroll 16
    for (uint32_t l = 0; l < W; l++) {
        sum[l] = V_LOAD(at->scores + (size_t)l * at->width + row);
#pragma GCC unroll 16
        for (uint32_t t = l + W; t < BLOCK; t += W) {
            sum[l] = sum[l] + V_LOAD(at->scores + (size_t)t * at->width + row);
        }
    }
#pragma GCC unroll 4
    for (uint32_t half = W / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
        for (uint32_t l = 0; l < half; l++) {
            sum[l] = sum[l] + sum[l + half];
        }
    }
    return sum[0];
}

/* weigh_row for W rows at a time. */
INLINE void weigh_columns(const many *at, uint32_t row, float cap)
{
    const VF none = V_SET1(-INFINITY);
    VF old = V_LOAD(at->maxima + row);
    VF maximum = old;
    for (uint32_t t = 0; t < BLOCK; t++) {
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
    for (uint32_t t = 0; t < BLOCK; t++) {
        float *scores = at->scores + (size_t)t * at->width + row;
        V_STORE(scores, v_exp(V_LOAD(scores) - against));
    }
    VF scale = v_exp(old - against);
    V_STORE(at->scales + row, scale);
    V_STORE(at->maxima + row, maximum);
    V_STORE(at->sums + row, V_FMA(V_LOAD(at->sums + row), scale, sum_weights(at, row)));
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
        const size_t place = i % 4 * (head_dim / 4) + i / 4;
        for (uint32_t row = 0; row < at.width; row++) {
            at.queries[place * at.width + row] =
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
    block of;
    for (uint32_t from = tile->records.from; from < tile->records.to; from += of.count) {
        find_block(tile, &tile->records, from, &of);
        to_floats(type, tile, of.keys, &of, at.numbers);
        multiply(&(product){.a = at.numbers,
                            .a_row = head_dim,
                            .a_column = 4,
                            .b = at.queries,
                            .c = at.scores,
                            .rows = of.count,
                            .columns = at.width,
                            .depth = head_dim,
                            .scores = true});
        mask_block(tile, &at, &of);
        for (uint32_t row = 0; row < at.width; row += W) {
            weigh_columns(&at, row, tile->cap);
        }
        scale_outputs(tile, &at);
        to_floats(type, tile, of.values, &of, at.numbers);
        multiply(&(product){.a = at.scores,
                            .a_row = 1,
                            .a_column = at.width,
                            .b = at.numbers,
                            .c = tile->output,
                            .rows = tile->row_count,
                            .columns = head_dim,
                            .depth = of.count});
    }
    memcpy(tile->maxima, at.maxima, tile->row_count * sizeof *tile->maxima);
    memcpy(tile->sums, at.sums, tile->row_count * sizeof *tile->sums);
}

/* ---- parts ---- */

INLINE void attend_as(dw_kv_type type, const dw_attention_tile *tile)
{
    if (tile->row_count <= DW_FEW_ROWS) {
        attend_few(type, tile);
    } else {
        attend_many(type, tile);
    }
}

static void attend_part(const dw_attention_tile *tile)
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

static void merge(const dw_attention_tile *into, const dw_attention_tile *part)
{
    const uint32_t head_dim = into->head_dim;
    for (uint32_t row = 0; row < into->row_count; row++) {
        float *to = into->output + (size_t)row * head_dim;
        const float *from = part->output + (size_t)row * head_dim;
        const float old = into->maxima[row];
        if (part->maxima[row] == -INFINITY) {
            continue;
        }
        if (old == -INFINITY) {
            into->maxima[row] = part->maxima[row];
            into->sums[row] = part->sums[row];
            memcpy(to, from, head_dim * sizeof *to);
            continue;
        }
        const float maximum = part->maxima[row] > old ? part->maxima[row] : old;
        const VF kept = v_exp(V_SET1(old) - V_SET1(maximum));
        const VF added = v_exp(V_SET1(part->maxima[row]) - V_SET1(maximum));
        into->maxima[row] = maximum;
        into->sums[row] = V_FMA(V_SET1(into->sums[row]), kept, V_SET1(part->sums[row]) * added)[0];
        for (uint32_t i = 0; i < head_dim; i += W) {
            V_STORE(to + i, V_FMA(V_LOAD(to + i), kept, V_LOAD(from + i) * added));
        }
    }
}

/* The first part goes where the tile's result does, the others beside it. */
static void attend(const dw_attention_tile *tile)
{
    dw_attention_tile part = *tile;
    float *beside = tile->scratch;
    part.scratch = beside + (size_t)DW_TILE_ROWS_MAX * (tile->head_dim + 2);
    const uint32_t to = tile->records.to;
    for (uint32_t from = tile->records.from; from < to; from = part.records.to) {
        const uint32_t next = (from / PART + 1) * PART;
        part.records.from = from;
        part.records.to = to < next ? to : next;
        part.next = part.records.to < to ? tile->records : tile->next;
        if (part.records.to < to) {
            part.next.from = part.records.to;
        }
        attend_part(&part);
        if (from > tile->records.from) {
            merge(tile, &part);
        }
        part.output = beside;
        part.maxima = beside + (size_t)DW_TILE_ROWS_MAX * tile->head_dim;
        part.sums = part.maxima + DW_TILE_ROWS_MAX;
    }
}

const dw_attention_kernel KERNEL = {.name = KERNEL_NAME,
                                    .head_dim_step = W,
                                    .runs_here = runs_here,
                                    .attend = attend,
                                    .merge = merge};
