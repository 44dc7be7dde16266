/* Attention of a decoding step over KV logs on CUDA, alone, by the number of sequences and their
 * depth: ours (src/kernels/cuda_decode_cuda.cu) against ggml's flash attention over as many caches
 * side by side, which has nothing to append and to rotate. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "common.h"
#include "device/device_memory.h"
#include "device/device_run.h"
#include "model/cuda_ops.h"

#define GRAPH_BYTES ((size_t)4 << 20)
#define NODES_MAX 1024
#define RUNS 10
#define POOL_BYTES ((size_t)64 << 20)
#define THEIR_RECORDS 256u /* a multiple, as llama.cpp's caches have */
#define MASK_ROWS 64

static const char help[] =
    "usage: bench_attention [OPTION...]\n\n"
    "Attention of a decoding step alone, ours against ggml's. CSV: row, unit, ours, theirs, "
    "ratio;\n"
    "in microseconds a layer. A row is of so many sequences, each at such a depth.\n\n"
    "  -d, --device NAME   default CUDA0\n"
    "  -t, --type NAME     of keys and values: f16 (default), q8_0, f32\n"
    "  -c, --cases A,B     default 1x0,1x1024,1x4096,1x32768,8x128,16x128,64x128,256x128,64x1024\n"
    "  -q, --heads N       of queries, default 32\n"
    "  -k, --kv-heads N    default 8\n"
    "  -e, --head-dim N    default 64\n"
    "  -w, --window N      of records that a token sees; default 0: all\n"
    "  -m, --mixed N       the first sequence is at depth N\n"
    "  -l, --layers N      1 to 64, default 16\n"
    "  -n, --rounds N      default 5, the best counts\n"
    "  -o, --ours          without ggml's\n"
    "  -h, --help          this text\n";

typedef struct bench {
    dw_device *device;
    dw_model_shape shape;
    dw_kv_type type;
    dw_kv_layout layout;
    uint32_t mixed;
    int rounds;
    bool ours_only;
    unsigned char *pool; /* random rows, POOL_BYTES */
} bench;

/* A graph and where its tensors lie. */
typedef struct work {
    struct ggml_context *ggml;
    struct ggml_cgraph *graph;
    ggml_backend_buffer_t data, scratch, table;
} work;

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        bench_die(err->message);
    }
}

static work new_work(void)
{
    work w = {.ggml =
                  ggml_init((struct ggml_init_params){.mem_size = GRAPH_BYTES, .no_alloc = true})};
    if (w.ggml == NULL) {
        bench_die("no memory");
    }
    w.graph = ggml_new_graph_custom(w.ggml, NODES_MAX, false);
    return w;
}

static void free_work(bench *b, work *w)
{
    dw_device_buffer_destroy(b->device, DW_USE_WORK, w->data);
    dw_device_buffer_destroy(b->device, DW_USE_WORK, w->scratch);
    dw_device_buffer_destroy(b->device, DW_USE_WORK, w->table);
    ggml_free(w->ggml);
}

static void make_pool(bench *b)
{
    const enum ggml_type type = dw_kv_ggml_type(b->type);
    const int64_t dim = b->shape.head_dim;
    const size_t row_bytes = ggml_row_size(type, dim);
    float *row = malloc((size_t)dim * sizeof *row);
    b->pool = malloc(POOL_BYTES);
    if (row == NULL || b->pool == NULL) {
        bench_die("no memory");
    }
    for (size_t at = 0; at + row_bytes <= POOL_BYTES; at += row_bytes) {
        for (int64_t i = 0; i < dim; i++) {
            row[i] = (float)rand() / (float)RAND_MAX * 2.0f - 1.0f;
        }
        (void)ggml_quantize_chunk(type, row, b->pool + at, 0, 1, dim, NULL);
    }
    free(row);
}

static void fill(bench *b, struct ggml_tensor *tensor)
{
    const size_t row_bytes = ggml_row_size(dw_kv_ggml_type(b->type), b->shape.head_dim);
    const size_t piece = POOL_BYTES / row_bytes * row_bytes, all = ggml_nbytes(tensor);
    dw_error err = {0};
    for (size_t at = 0; at < all; at += piece) {
        must(dw_device_tensor_set(b->device, tensor, b->pool, at,
                                  all - at < piece ? all - at : piece, &err),
             &err);
    }
}

static double best_us(bench *b, work *w)
{
    dw_error err = {0};
    double best = 0;
    for (int round = 0; round <= b->rounds; round++) {
        uint64_t started = dw_os_clock_ns();
        for (int i = 0; i < RUNS; i++) {
            must(dw_device_run(b->device, w->graph, NULL, &err), &err);
        }
        double us = (double)(dw_os_clock_ns() - started) / 1e3 / RUNS;
        best = round > 0 && (best == 0 || us < best) ? us : best; /* the first warms up */
    }
    return best / b->shape.layer_count;
}

/* ---- ours ---- */

static uint32_t depth_of(const bench *b, uint32_t sequence, uint32_t depth)
{
    return sequence == 0 && b->mixed > 0 ? b->mixed : depth;
}

static dw_cuda_layer layer_of(const bench *b, work *w, uint32_t index, struct ggml_tensor *qkv,
                              struct ggml_tensor *rope)
{
    const int64_t dim = b->shape.head_dim, heads = b->shape.head_count;
    const int64_t kv_heads = b->shape.kv_head_count, tokens = qkv->ne[1];
    const size_t head = (size_t)dim * sizeof(float), row = qkv->nb[1];
    return (dw_cuda_layer){
        .index = index,
        .q = ggml_view_3d(w->ggml, qkv, dim, heads, tokens, head, row, 0),
        .k = ggml_view_3d(w->ggml, qkv, dim, kv_heads, tokens, head, row, (size_t)heads * head),
        .v = ggml_view_2d(w->ggml, qkv, dim * kv_heads, tokens, row,
                          (size_t)(heads + kv_heads) * head),
        .rope = rope,
        .rope_dims = (uint32_t)dim,
        .rope_mode = GGML_ROPE_TYPE_NORMAL};
}

/* Logs behind each other, of which the table says. */
static void point(const bench *b, const work *w, const struct ggml_tensor *logs, uint32_t count,
                  uint32_t depth)
{
    dw_cuda_token *rows = ggml_backend_buffer_get_base(w->table);
    uint64_t at = (uint64_t)(uintptr_t)logs->data;
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = (dw_cuda_token){.records = at, .position = depth_of(b, i, depth)};
        at += (depth_of(b, i, depth) + 1) * (uint64_t)b->layout.record_bytes;
    }
}

static double ours(bench *b, uint32_t count, uint32_t depth)
{
    dw_error err = {0};
    work w = new_work();
    const dw_model_shape *shape = &b->shape;
    const size_t scratch_bytes = dw_cuda_attention_bytes(shape, b->type, count, 0);
    size_t records = 0;
    for (uint32_t i = 0; i < count; i++) {
        records += depth_of(b, i, depth) + 1;
    }
    must(dw_device_locked_create(&w.table, b->device, count * sizeof(dw_cuda_token), &err), &err);
    must(dw_device_buffer_create(&w.scratch, b->device, DW_USE_WORK, scratch_bytes, &err), &err);
    must(dw_device_buffer_fill(b->device, w.scratch, 0, &err), &err);
    struct ggml_tensor *input = ggml_new_tensor_2d(w.ggml, GGML_TYPE_I64, 4, count);
    struct ggml_tensor *scratch = ggml_new_tensor_1d(w.ggml, GGML_TYPE_I8, (int64_t)scratch_bytes);
    input->buffer = w.scratch, input->data = ggml_backend_buffer_get_base(w.table);
    scratch->buffer = w.scratch, scratch->data = ggml_backend_buffer_get_base(w.scratch);
    dw_cuda_table table;
    dw_cuda_table_make(&table, w.ggml, input);
    ggml_build_forward_expand(w.graph, table.rows);
    const dw_rope_numbers numbers = {.dims = shape->head_dim,
                                     .mode = GGML_ROPE_TYPE_NORMAL,
                                     .context = 4096,
                                     .base = 500000.0F,
                                     .scale = 1.0F,
                                     .attn_factor = 1.0F,
                                     .beta_fast = 32.0F,
                                     .beta_slow = 1.0F};
    struct ggml_tensor *rope = dw_cuda_rope(w.ggml, &table, &numbers);
    struct ggml_tensor *qkv = ggml_new_tensor_2d(
        w.ggml, GGML_TYPE_F32,
        (int64_t)shape->head_dim * (shape->head_count + 2 * shape->kv_head_count), count);
    struct ggml_tensor *logs =
        ggml_new_tensor_2d(w.ggml, GGML_TYPE_I8, (int64_t)b->layout.record_bytes, (int64_t)records);
    const dw_cuda_attention with = {
        .shape = shape, .kv_type = b->type, .table = &table, .scratch = scratch, .alone = true};
    for (uint32_t i = 0; i < shape->layer_count; i++) {
        const dw_cuda_layer layer = layer_of(b, &w, i, qkv, rope);
        ggml_build_forward_expand(w.graph, dw_cuda_attend(&with, w.ggml, &layer));
    }
    must(dw_device_buffer_for_tensors(&w.data, b->device, DW_USE_WORK, w.ggml, &err), &err);
    must(dw_device_buffer_fill(b->device, w.data, 0, &err), &err);
    fill(b, logs);
    point(b, &w, logs, count, depth);
    double us = best_us(b, &w);
    free_work(b, &w);
    return us;
}

/* ---- ggml's ---- */

static double theirs(bench *b, uint32_t count, uint32_t depth)
{
    dw_error err = {0};
    work w = new_work();
    const dw_model_shape *shape = &b->shape;
    const enum ggml_type type = dw_kv_ggml_type(b->type);
    const int64_t dim = shape->head_dim, kv_heads = shape->kv_head_count;
    const int64_t records = (depth + THEIR_RECORDS) / THEIR_RECORDS * THEIR_RECORDS;
    const size_t head = ggml_row_size(type, dim), row = head * (size_t)kv_heads;
    struct ggml_tensor *q =
        ggml_new_tensor_4d(w.ggml, GGML_TYPE_F32, dim, 1, shape->head_count, count);
    struct ggml_tensor *mask =
        ggml_new_tensor_4d(w.ggml, GGML_TYPE_F16, records, MASK_ROWS, 1, count);
    struct ggml_tensor *cache =
        ggml_new_tensor_4d(w.ggml, type, dim * kv_heads, records, count, 2 * shape->layer_count);
    for (uint32_t i = 0; i < shape->layer_count; i++) {
        struct ggml_tensor *kv[2];
        for (uint32_t part = 0; part < 2; part++) {
            kv[part] = ggml_view_4d(w.ggml, cache, dim, records, kv_heads, count, row, head,
                                    cache->nb[2], (2 * i + part) * cache->nb[3]);
        }
        ggml_build_forward_expand(w.graph, ggml_flash_attn_ext(w.ggml, q, kv[0], kv[1], mask,
                                                               shape->attention_scale, 0.0f, 0.0f));
    }
    must(dw_device_buffer_for_tensors(&w.data, b->device, DW_USE_WORK, w.ggml, &err), &err);
    must(dw_device_buffer_fill(b->device, w.data, 0, &err), &err);
    fill(b, cache);
    double us = best_us(b, &w);
    free_work(b, &w);
    return us;
}

/* ---- options ---- */

static uint32_t number_of(const char *text, char **end, long least, long most)
{
    char *own = NULL;
    long value = strtol(text, end != NULL ? end : &own, 10);
    if ((end != NULL ? *end : own) == text || (end == NULL && *own != '\0') || value < least ||
        value > most) {
        bench_die("a number that there may be is needed");
    }
    return (uint32_t)value;
}

static void run(bench *b, const char *cases)
{
    for (const char *at = cases; *at != '\0';) {
        char *end = NULL;
        const uint32_t count = number_of(at, &end, 1, 512);
        if (*end != 'x') {
            bench_die("--cases: sequences, x, depth; with commas");
        }
        const uint32_t depth = number_of(end + 1, &end, 0, 1000000);
        char name[64];
        (void)snprintf(name, sizeof name, "%s/%ux%u", ggml_type_name(dw_kv_ggml_type(b->type)),
                       count, depth);
        const double us = ours(b, count, depth);
        if (b->ours_only) {
            bench_figure(name, "us", us);
        } else {
            bench_row(name, "us", us, theirs(b, count, depth));
        }
        at = *end == ',' ? end + 1 : end;
    }
}

static dw_kv_type type_of(const char *name)
{
    for (int i = DW_KV_F16; i <= DW_KV_F32; i++) {
        if (strcmp(ggml_type_name(dw_kv_ggml_type((dw_kv_type)i)), name) == 0) {
            return (dw_kv_type)i;
        }
    }
    bench_die("--type: f16, q8_0 or f32");
    return DW_KV_F16;
}

static void read_option(bench *b, const char **device, const char **cases, int option)
{
    switch (option) {
    case 'd':
        *device = optarg;
        break;
    case 't':
        b->type = type_of(optarg);
        break;
    case 'c':
        *cases = optarg;
        break;
    case 'q':
        b->shape.head_count = number_of(optarg, NULL, 1, 1024);
        break;
    case 'k':
        b->shape.kv_head_count = number_of(optarg, NULL, 1, 1024);
        break;
    case 'e':
        b->shape.head_dim = number_of(optarg, NULL, 8, DW_CUDA_HEAD_DIM_MAX);
        break;
    case 'w':
        b->shape.window = number_of(optarg, NULL, 0, 1000000);
        break;
    case 'm':
        b->mixed = number_of(optarg, NULL, 1, 1000000);
        break;
    case 'l':
        b->shape.layer_count = number_of(optarg, NULL, 1, 64);
        break;
    case 'n':
        b->rounds = (int)number_of(optarg, NULL, 1, 1000);
        break;
    case 'o':
        b->ours_only = true;
        break;
    case 'h':
        (void)fputs(help, stdout);
        exit(0);
    default:
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"device", required_argument, NULL, 'd'},
                                          {"type", required_argument, NULL, 't'},
                                          {"cases", required_argument, NULL, 'c'},
                                          {"heads", required_argument, NULL, 'q'},
                                          {"kv-heads", required_argument, NULL, 'k'},
                                          {"head-dim", required_argument, NULL, 'e'},
                                          {"window", required_argument, NULL, 'w'},
                                          {"mixed", required_argument, NULL, 'm'},
                                          {"layers", required_argument, NULL, 'l'},
                                          {"rounds", required_argument, NULL, 'n'},
                                          {"ours", no_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    bench b = {.type = DW_KV_F16,
               .rounds = 5,
               .shape = {.layer_count = 16, .head_count = 32, .kv_head_count = 8, .head_dim = 64}};
    const char *device = "CUDA0";
    const char *cases = "1x0,1x1024,1x4096,1x32768,8x128,16x128,64x128,256x128,64x1024";
    for (int option;
         (option = getopt_long(argc, argv, "d:t:c:q:k:e:w:m:l:n:oh", known, NULL)) != -1;) {
        read_option(&b, &device, &cases, option);
    }
    if (b.shape.head_count % b.shape.kv_head_count != 0) {
        bench_die("--heads: a multiple of --kv-heads");
    }
    for (uint32_t i = 0; i < b.shape.layer_count; i++) {
        b.shape.windowed[0] |= b.shape.window > 0 ? UINT64_C(1) << i : 0;
    }
    b.shape.attention_scale = 0.125f;
    b.layout = dw_model_kv_layout(&b.shape, b.type);
    dw_error err = {0};
    must(dw_device_open(&b.device, device, 1, &err), &err);
    make_pool(&b);
    bench_header();
    run(&b, cases);
    free(b.pool);
    dw_device_close(b.device);
    return 0;
}
