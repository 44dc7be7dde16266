/* Products of a step with a model's weights, alone, by the number of sequences: ours for CUDA
 * (src/kernels/cuda_products_cuda.cu) against ggml's nodes for the same, norms, activations and
 * residuals with them. What a step takes beside is attention, and what stands at its ends. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "common.h"
#include "device/device_memory.h"
#include "device/device_run.h"
#include "kernels/cuda_wide.h"
#include "model/cuda_products.h"

#define LAYERS_MAX 16
#define GRAPH_BYTES ((size_t)4 << 20)
#define NODES_MAX 1024
#define RUNS 10
#define POOL_ROWS 64
#define EPSILON 1e-5f

static const char help[] =
    "usage: bench_products [OPTION...]\n\n"
    "Products of a decoding step alone, ours against ggml's, by the rows of x. CSV: row, unit,\n"
    "ours, theirs, ratio; in microseconds a product, of `step` all of them.\n\n"
    "  -d, --device NAME   default CUDA0\n"
    "  -t, --type NAME     of the weights, as ggml names it: bf16 (default), f16, q8_0, q4_0, "
    "q4_1,\n"
    "                      q4_K, q5_K, q6_K\n"
    "  -r, --rows A,B      default 1,2,4,8,16,32,64,256\n"
    "  -k, --kinds A,B     of qkv, out, gate_up, down, head, step: default all\n"
    "  -l, --layers N      1 to 16, default 16\n"
    "  -f, --shares-from N rows of x from which on blocks share its columns (default: as is best)\n"
    "  -w, --wide-from N   from which on products are cuBLAS's in nodes of ours (likewise)\n"
    "  -n, --rounds N      default 5, the best counts\n"
    "  -h, --help          this text\n\n"
    "The shape is Llama 3.2 1B's.\n";

enum { EMBEDDING = 2048, KV = 512, FF = 8192, VOCAB = 128256 };

typedef enum kind { QKV, OUT, GATE_UP, DOWN, HEAD, STEP, KINDS } kind;

static const char *const kind_names[KINDS] = {"qkv", "out", "gate_up", "down", "head", "step"};

typedef struct bench {
    dw_device *device;
    enum ggml_type type;
    uint32_t layers;
    int rounds;
    const char *kinds;
    struct ggml_context *weights_ggml;
    ggml_backend_buffer_t weights_buffer;
    dw_layer_weights layer[LAYERS_MAX];
    dw_model_weights weights;
    struct ggml_tensor *norm;
    dw_cuda_products *products;
} bench;

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        bench_die(err->message);
    }
}

static struct ggml_context *new_context(size_t bytes)
{
    struct ggml_context *ggml =
        ggml_init((struct ggml_init_params){.mem_size = bytes, .no_alloc = true});
    if (ggml == NULL) {
        bench_die("no memory");
    }
    return ggml;
}

/* ---- weights ---- */

/* Random rows, the same ones in each layer: what is read is not. */
static void fill(bench *b, struct ggml_tensor *weight)
{
    const int64_t columns = weight->ne[0];
    const size_t pool_rows = weight->ne[1] < POOL_ROWS ? (size_t)weight->ne[1] : POOL_ROWS;
    const size_t row_bytes = ggml_row_size(weight->type, columns);
    float *values = malloc(pool_rows * (size_t)columns * sizeof *values);
    unsigned char *rows = malloc(ggml_nbytes(weight));
    if (values == NULL || rows == NULL) {
        bench_die("no memory");
    }
    for (size_t i = 0; i < pool_rows * (size_t)columns; i++) {
        values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    }
    (void)ggml_quantize_chunk(weight->type, values, rows, 0, (int64_t)pool_rows, columns, NULL);
    for (int64_t i = (int64_t)pool_rows; i < weight->ne[1]; i++) {
        memcpy(rows + (size_t)i * row_bytes, rows + (size_t)rand() % pool_rows * row_bytes,
               row_bytes);
    }
    dw_error err = {0};
    must(dw_device_tensor_set(b->device, weight, rows, 0, ggml_nbytes(weight), &err), &err);
    free(rows);
    free(values);
}

static void make_weights(bench *b)
{
    dw_error err = {0};
    b->weights_ggml = new_context(GRAPH_BYTES);
    for (uint32_t i = 0; i < b->layers; i++) {
        struct ggml_tensor **const of[] = {&b->layer[i].q.weight,    &b->layer[i].k.weight,
                                           &b->layer[i].v.weight,    &b->layer[i].attn_out.weight,
                                           &b->layer[i].gate.weight, &b->layer[i].up.weight,
                                           &b->layer[i].down.weight};
        static const int64_t sizes[][2] = {{EMBEDDING, EMBEDDING}, {EMBEDDING, KV}, {EMBEDDING, KV},
                                           {EMBEDDING, EMBEDDING}, {EMBEDDING, FF}, {EMBEDDING, FF},
                                           {FF, EMBEDDING}};
        for (size_t k = 0; k < sizeof of / sizeof of[0]; k++) {
            *of[k] = ggml_new_tensor_2d(b->weights_ggml, b->type, sizes[k][0], sizes[k][1]);
        }
    }
    b->weights.layers = b->layer;
    b->weights.output.weight = ggml_new_tensor_2d(b->weights_ggml, b->type, EMBEDDING, VOCAB);
    b->norm = ggml_new_tensor_2d(b->weights_ggml, GGML_TYPE_F32, EMBEDDING, 1);
    must(dw_device_buffer_for_tensors(&b->weights_buffer, b->device, DW_USE_WEIGHTS,
                                      b->weights_ggml, &err),
         &err);
    for (struct ggml_tensor *t = ggml_get_first_tensor(b->weights_ggml); t != NULL;
         t = ggml_get_next_tensor(b->weights_ggml, t)) {
        fill(b, t);
    }
    static const dw_architecture plain = {.name = "bench"};
    const dw_model_shape shape = {.architecture = &plain, .layer_count = b->layers};
    must(dw_cuda_products_create(&b->products, b->device, &shape, &b->weights, 0, &err), &err);
}

/* ---- graphs ---- */

/* What is being built, by whom. */
typedef struct builder {
    const bench *bench;
    struct ggml_context *ggml;
    struct ggml_cgraph *graph;
    const dw_cuda_products *products; /* NULL: ggml's */
    struct ggml_tensor *x, *attended, *between;
} builder;

static struct ggml_tensor *normed(builder *b, struct ggml_tensor *x)
{
    return ggml_mul(b->ggml, ggml_rms_norm(b->ggml, x, EPSILON), b->bench->norm);
}

static void linear(builder *b, const dw_linear *with, uint32_t count, struct ggml_tensor *x)
{
    struct ggml_tensor *y = dw_cuda_product_node(b->products, b->ggml, with, count, x);
    for (uint32_t i = 0; y == NULL && i < count; i++) {
        ggml_build_forward_expand(b->graph, ggml_mul_mat(b->ggml, with[i].weight, x));
    }
    if (y != NULL) {
        ggml_build_forward_expand(b->graph, y);
    }
}

static struct ggml_tensor *added(builder *b, const dw_linear *with, struct ggml_tensor *x,
                                 struct ggml_tensor *to)
{
    struct ggml_tensor *y = dw_cuda_product_node(b->products, b->ggml, with, 1, x);
    y = y != NULL ? y : ggml_mul_mat(b->ggml, with->weight, x);
    y = dw_cuda_product_add(y, to) ? y : ggml_add(b->ggml, y, to);
    ggml_build_forward_expand(b->graph, y);
    return y;
}

static struct ggml_tensor *gated(builder *b, kind of, const dw_layer_weights *layer,
                                 struct ggml_tensor *x)
{
    const dw_linear two[] = {layer->gate, layer->up};
    const dw_cuda_gate gate = {two, 2, DW_CUDA_SILU, of == STEP ? &layer->down : NULL};
    struct ggml_tensor *y = dw_cuda_gated_node(b->products, b->ggml, &gate, x);
    if (y == NULL) {
        y = ggml_swiglu_split(b->ggml, ggml_mul_mat(b->ggml, layer->gate.weight, x),
                              ggml_mul_mat(b->ggml, layer->up.weight, x));
    }
    ggml_build_forward_expand(b->graph, y);
    return y;
}

static void build(builder *b, kind of)
{
    const bench *from = b->bench;
    struct ggml_tensor *x = b->x, *between = b->between;
    for (uint32_t i = 0; i < from->layers && of != HEAD; i++) {
        const dw_layer_weights *layer = &from->layer[i];
        if (of == QKV || of == STEP) {
            const dw_linear three[] = {layer->q, layer->k, layer->v};
            linear(b, three, 3, normed(b, x));
        }
        if (of == OUT || of == STEP) {
            x = added(b, &layer->attn_out, b->attended, x);
        }
        if (of == GATE_UP || of == STEP) {
            between = gated(b, of, layer, normed(b, x));
        }
        if (of == DOWN || of == STEP) {
            x = added(b, &layer->down, between, x);
        }
    }
    if (of == HEAD || of == STEP) {
        linear(b, &from->weights.output, 1, normed(b, x));
    }
}

static double best_us(bench *b, kind of, uint32_t rows, bool ours)
{
    dw_error err = {0};
    builder own = {.bench = b, .products = ours ? b->products : NULL};
    own.ggml = new_context(GRAPH_BYTES);
    own.graph = ggml_new_graph_custom(own.ggml, NODES_MAX, false);
    own.x = ggml_new_tensor_2d(own.ggml, GGML_TYPE_F32, EMBEDDING, rows);
    own.attended = ggml_new_tensor_2d(own.ggml, GGML_TYPE_F32, EMBEDDING, rows);
    own.between = ggml_new_tensor_2d(own.ggml, GGML_TYPE_F32, FF, rows);
    build(&own, of);
    ggml_backend_buffer_t buffer = NULL;
    must(dw_device_buffer_for_tensors(&buffer, b->device, DW_USE_WORK, own.ggml, &err), &err);
    must(dw_device_buffer_fill(b->device, buffer, 0, &err), &err);
    double best = 0;
    for (int round = 0; round <= b->rounds; round++) {
        uint64_t started = dw_os_clock_ns();
        for (int i = 0; i < RUNS; i++) {
            must(dw_device_run(b->device, own.graph, NULL, &err), &err);
        }
        double us = (double)(dw_os_clock_ns() - started) / 1e3 / RUNS;
        best = round > 0 && (best == 0 || us < best) ? us : best; /* the first warms up */
    }
    dw_device_buffer_destroy(b->device, DW_USE_WORK, buffer);
    ggml_free(own.ggml);
    return best / (of == STEP || of == HEAD ? 1 : b->layers);
}

/* ---- options ---- */

static bool listed(const char *list, const char *name)
{
    const char *at = list != NULL ? strstr(list, name) : name;
    return at != NULL;
}

static void run_rows(bench *b, const char *rows)
{
    for (const char *at = rows; *at != '\0';) {
        char *end = NULL;
        long count = strtol(at, &end, 10);
        if (end == at || count < 1 || count > 4096) {
            bench_die("--rows: numbers from 1 to 4096, with commas");
        }
        for (kind k = QKV; k < KINDS; k++) {
            if (listed(b->kinds, kind_names[k])) {
                char name[64];
                (void)snprintf(name, sizeof name, "%s/%s/%ld", ggml_type_name(b->type),
                               kind_names[k], count);
                double ours = best_us(b, k, (uint32_t)count, true);
                double theirs = best_us(b, k, (uint32_t)count, false);
                bench_row(name, "us", ours, theirs);
            }
        }
        at = *end == ',' ? end + 1 : end;
    }
}

static void run(bench *b, const char *rows)
{
    make_weights(b);
    if (b->products == NULL) {
        bench_die("the device has no products of ours");
    }
    bench_header();
    run_rows(b, rows);
    dw_cuda_products_destroy(b->products);
    dw_device_buffer_destroy(b->device, DW_USE_WEIGHTS, b->weights_buffer);
    ggml_free(b->weights_ggml);
}

static enum ggml_type type_of(const char *name)
{
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const char *known = ggml_type_name((enum ggml_type)i);
        if (known != NULL && strcmp(known, name) == 0) {
            return (enum ggml_type)i;
        }
    }
    bench_die("--type: no such type");
    return GGML_TYPE_COUNT;
}

static long number_of(const char *text, long most)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 1 || value > most) {
        bench_die("a number that there may be is needed");
    }
    return value;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"device", required_argument, NULL, 'd'},
                                          {"type", required_argument, NULL, 't'},
                                          {"rows", required_argument, NULL, 'r'},
                                          {"kinds", required_argument, NULL, 'k'},
                                          {"layers", required_argument, NULL, 'l'},
                                          {"rounds", required_argument, NULL, 'n'},
                                          {"shares-from", required_argument, NULL, 'f'},
                                          {"wide-from", required_argument, NULL, 'w'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    bench b = {.type = GGML_TYPE_BF16, .layers = LAYERS_MAX, .rounds = 5};
    dw_cuda_product_limits limits = {.shared = 0};
    const char *device = "CUDA0", *rows = "1,2,4,8,16,32,64,256";
    for (int option; (option = getopt_long(argc, argv, "d:t:r:k:l:n:f:w:h", known, NULL)) != -1;) {
        switch (option) {
        case 'd':
            device = optarg;
            break;
        case 't':
            b.type = type_of(optarg);
            break;
        case 'r':
            rows = optarg;
            break;
        case 'k':
            b.kinds = optarg;
            break;
        case 'l':
            b.layers = (uint32_t)number_of(optarg, LAYERS_MAX);
            break;
        case 'f':
            limits.shares_from = (uint32_t)number_of(optarg, 1000);
            break;
        case 'w':
            dw_cuda_wide_force((uint32_t)number_of(optarg, 100000));
            break;
        case 'n':
            b.rounds = (int)number_of(optarg, 1000);
            break;
        case 'h':
            (void)fputs(help, stdout);
            return 0;
        default:
            return 2;
        }
    }
    dw_error err = {0};
    must(dw_device_open(&b.device, device, 1, &err), &err);
    dw_cuda_products_force(&limits);
    run(&b, rows);
    dw_device_close(b.device);
    return 0;
}
