/* What steps of many rows are made of beside attention, on CUDA devices: products by cuBLAS, and as
 * few kernels between them as there can be. One norms rows and rounds them to what the product
 * takes; a product adds to the rows that stand in its result, so that a residual costs no kernel;
 * one joins what two matrices gave, rounded for the third. Quantised weights are widened to BF16,
 * so many rows at a time as the device's cache holds until the product reads them. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/cuda_product_launch.inc.h"

extern "C" {
#include "device/cuda_gemm.h"
#include "kernels/cuda_wide.h"
}

#define THREADS 256u
#define CHUNK DW_CUDA_WIDE_CHUNK /* values that a thread reads at once */
#define HELD 4u                  /* chunks of a row that it keeps until the row's norm is known */
/* Rows from which on products go this way: fewer have the same bits whatever is beside them. Where
 * weights are widened first, which takes as long for one row as for a thousand, more. */
#define ROWS_MIN (DW_CUDA_PRODUCT_ROWS + 1)
#define WIDENED_FROM (DW_CUDA_PRODUCT_ROWS_MANY + 1)
#define LARGE_FROM 128u /* of these: products with whole numbers are as fast for fewer */
#define LARGE_VALUES ((uint64_t)1 << 27)

/* ---- values ---- */

static __device__ __forceinline__ void read_chunk(const float *from, float v[CHUNK])
{
    const float4 a = ((const float4 *)from)[0], b = ((const float4 *)from)[1];
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
    v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

static __device__ __forceinline__ void read_chunk(const __nv_bfloat16 *from, float v[CHUNK])
{
    const uint4 words = *(const uint4 *)from;
    const uint32_t all[] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (uint32_t i = 0; i < CHUNK / 2; i++) {
        v[2 * i] = __uint_as_float(all[i] << 16);
        v[2 * i + 1] = __uint_as_float(all[i] & 0xffff0000u);
    }
}

static __device__ __forceinline__ void write_chunk(float *to, const float v[CHUNK])
{
    ((float4 *)to)[0] = make_float4(v[0], v[1], v[2], v[3]);
    ((float4 *)to)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

static __device__ __forceinline__ void write_chunk(__nv_bfloat16 *to, const float v[CHUNK])
{
    __nv_bfloat162 pairs[CHUNK / 2];
#pragma unroll
    for (uint32_t i = 0; i < CHUNK / 2; i++) {
        pairs[i] = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
    }
    *(uint4 *)to = *(const uint4 *)pairs;
}

static __device__ __forceinline__ void write_chunk(__half *to, const float v[CHUNK])
{
    __half2 pairs[CHUNK / 2];
#pragma unroll
    for (uint32_t i = 0; i < CHUNK / 2; i++) {
        pairs[i] = __floats2half2_rn(v[2 * i], v[2 * i + 1]);
    }
    *(uint4 *)to = *(const uint4 *)pairs;
}

static __device__ __forceinline__ float sum_of_block(float value)
{
    __shared__ float sums[THREADS / 32];
    for (int mask = 16; mask > 0; mask /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, mask);
    }
    if (threadIdx.x % 32 == 0) {
        sums[threadIdx.x / 32] = value;
    }
    __syncthreads();
    float sum = 0.0f;
    for (uint32_t i = 0; i < THREADS / 32; i++) {
        sum += sums[i];
    }
    return sum;
}

/* ---- rows for a product ---- */

/* A block takes a row. */
template <typename OUT>
static __global__ void __launch_bounds__(THREADS)
    pack_kernel(const float *x, const float *norm, float epsilon, uint32_t columns, OUT *y)
{
    const float *row = x + (size_t)blockIdx.x * columns;
    OUT *to = y + (size_t)blockIdx.x * columns;
    const uint32_t chunks = columns / CHUNK;
    float held[HELD][CHUNK], weights[CHUNK], factor = 1.0f, square = 0.0f;
    let_next_begin();
    wait_for_front();
#pragma unroll
    for (uint32_t i = 0; i < HELD; i++) {
        const uint32_t chunk = i * THREADS + threadIdx.x;
        if (chunk < chunks) {
            read_chunk(row + chunk * CHUNK, held[i]);
            for (uint32_t j = 0; j < CHUNK; j++) {
                square += held[i][j] * held[i][j];
            }
        }
    }
    if (norm != NULL) {
        for (uint32_t chunk = HELD * THREADS + threadIdx.x; chunk < chunks; chunk += THREADS) {
            float v[CHUNK];
            read_chunk(row + chunk * CHUNK, v);
            for (uint32_t j = 0; j < CHUNK; j++) {
                square += v[j] * v[j];
            }
        }
        factor = rsqrtf(sum_of_block(square) / (float)columns + epsilon);
    }
    auto write = [&](uint32_t chunk, float v[CHUNK]) {
        if (norm != NULL) {
            read_chunk(norm + chunk * CHUNK, weights);
            for (uint32_t j = 0; j < CHUNK; j++) {
                v[j] *= factor * weights[j];
            }
        }
        write_chunk(to + chunk * CHUNK, v);
    };
#pragma unroll
    for (uint32_t i = 0; i < HELD; i++) {
        const uint32_t chunk = i * THREADS + threadIdx.x;
        if (chunk < chunks) {
            write(chunk, held[i]);
        }
    }
    for (uint32_t chunk = HELD * THREADS + threadIdx.x; chunk < chunks; chunk += THREADS) {
        float v[CHUNK];
        read_chunk(row + chunk * CHUNK, v);
        write(chunk, v);
    }
}

static const void *data_of(const struct ggml_tensor *tensor)
{
    return tensor != NULL ? tensor->data : NULL;
}

static launch_shape early(dim3 grid)
{
    launch_shape shape = {};
    shape.grid = grid;
    shape.block = dim3(THREADS);
    shape.dependent = true;
    return shape;
}

extern "C" void dw_cuda_launch_pack(const struct ggml_tensor *node, void *stream)
{
    const struct ggml_tensor *x = node->src[0];
    const float *norm = (const float *)data_of(node->src[1]);
    const float epsilon = *(const float *)dw_cuda_node_params(node);
    const uint32_t columns = (uint32_t)x->ne[0];
    const launch_shape shape = early(dim3((unsigned)x->ne[1]));
    if (node->type == GGML_TYPE_F16) {
        launch_kernel(pack_kernel<__half>, shape, (cudaStream_t)stream, (const float *)x->data,
                      norm, epsilon, columns, (__half *)node->data);
    } else {
        launch_kernel(pack_kernel<__nv_bfloat16>, shape, (cudaStream_t)stream,
                      (const float *)x->data, norm, epsilon, columns, (__nv_bfloat16 *)node->data);
    }
}

/* ---- two factors joined ---- */

static __device__ __forceinline__ float activated(float gate, uint32_t activation)
{
    if (activation == DW_CUDA_SILU) {
        return __fdividef(gate, 1.0f + __expf(-gate));
    }
    const float root = 0.79788456080286535587989211986876f; /* of 2 / pi */
    return 0.5f * gate * (1.0f + tanhf(root * gate * (1.0f + 0.044715f * gate * gate)));
}

/* Blocks [y] take rows of both [2 * length], [x] chunks of them. */
template <typename IN, typename OUT>
static __global__ void __launch_bounds__(THREADS)
    gate_kernel(const IN *both, const float *gate_bias, const float *up_bias, uint32_t length,
                uint32_t activation, OUT *y)
{
    const uint32_t at = (blockIdx.x * THREADS + threadIdx.x) * CHUNK;
    const IN *row = both + (size_t)blockIdx.y * 2 * length;
    float gate[CHUNK], up[CHUNK], bias[CHUNK];
    let_next_begin();
    wait_for_front();
    if (at >= length) {
        return;
    }
    read_chunk(row + at, gate);
    read_chunk(row + length + at, up);
    if (gate_bias != NULL) {
        read_chunk(gate_bias + at, bias);
        for (uint32_t i = 0; i < CHUNK; i++) {
            gate[i] += bias[i];
        }
    }
    if (up_bias != NULL) {
        read_chunk(up_bias + at, bias);
        for (uint32_t i = 0; i < CHUNK; i++) {
            up[i] += bias[i];
        }
    }
#pragma unroll
    for (uint32_t i = 0; i < CHUNK; i++) {
        up[i] *= activated(gate[i], activation);
    }
    write_chunk(y + (size_t)blockIdx.y * length + at, up);
}

template <typename IN, typename OUT>
static void launch_gate(const struct ggml_tensor *node, cudaStream_t stream)
{
    const uint32_t length = (uint32_t)node->ne[0];
    const uint32_t blocks = (length / CHUNK + THREADS - 1) / THREADS;
    launch_kernel(gate_kernel<IN, OUT>, early(dim3(blocks, (unsigned)node->ne[1])), stream,
                  (const IN *)node->src[0]->data, (const float *)data_of(node->src[1]),
                  (const float *)data_of(node->src[2]), length,
                  *(const uint32_t *)dw_cuda_node_params(node), (OUT *)node->data);
}

extern "C" void dw_cuda_launch_gate(const struct ggml_tensor *node, void *stream)
{
    const bool floats = node->src[0]->type == GGML_TYPE_F32;
    cudaStream_t to = (cudaStream_t)stream;
    if (node->type == GGML_TYPE_F16) {
        launch_gate<float, __half>(node, to);
    } else if (node->type == GGML_TYPE_BF16) {
        floats ? launch_gate<float, __nv_bfloat16>(node, to)
               : launch_gate<__nv_bfloat16, __nv_bfloat16>(node, to);
    } else {
        floats ? launch_gate<float, float>(node, to) : launch_gate<__nv_bfloat16, float>(node, to);
    }
}

/* ---- products ---- */

/* Biases of a row of the result, one behind another. */
struct biases {
    const float *of[DW_CUDA_PRODUCT_TABLES];
    uint32_t end[DW_CUDA_PRODUCT_TABLES];
};

/* What a product is added to. */
static __global__ void __launch_bounds__(THREADS)
    begin_kernel(const float *added, const biases bias, uint32_t length, float *y)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    const size_t at = (size_t)blockIdx.y * length + i;
    let_next_begin();
    wait_for_front();
    if (i >= length) {
        return;
    }
    float value = added != NULL ? added[at] : 0.0f;
    uint32_t first = 0;
#pragma unroll
    for (uint32_t table = 0; table < DW_CUDA_PRODUCT_TABLES; table++) {
        if (i >= first && i < bias.end[table] && bias.of[table] != NULL) {
            value += bias.of[table][i - first];
        }
        first = bias.end[table];
    }
    y[at] = value;
}

/* Whether something stands in the result that is added to. */
static bool begin(const struct ggml_tensor *node, cudaStream_t stream)
{
    const float *added = (const float *)data_of(node->src[DW_CUDA_PRODUCT_ADDED]);
    biases bias = {};
    bool any = false;
    for (uint32_t i = 0, end = 0; i < DW_CUDA_PRODUCT_TABLES; i++) {
        const struct ggml_tensor *weight = node->src[DW_CUDA_PRODUCT_WEIGHT + i];
        end += weight != NULL ? (uint32_t)weight->ne[1] : 0;
        bias.of[i] = (const float *)data_of(node->src[DW_CUDA_PRODUCT_BIAS + i]);
        bias.end[i] = end;
        any = any || bias.of[i] != NULL;
    }
    if (any || (added != NULL && added != node->data)) {
        const uint32_t length = (uint32_t)node->ne[0];
        const dim3 grid((length + THREADS - 1) / THREADS, (unsigned)node->ne[1]);
        launch_kernel(begin_kernel, early(grid), stream, added, bias, length, (float *)node->data);
    }
    return any || added != NULL;
}

/* Rows of weights that lie together and are not multiplied yet, and how many before them are. */
struct pending_rows {
    const unsigned char *first;
    uint32_t count, done;
};

static void multiply(dw_cuda_gemm product, pending_rows &rows)
{
    if (rows.count > 0) {
        product.weights = rows.first;
        product.rows = rows.count;
        product.y = (unsigned char *)product.y + rows.done * ggml_type_size(product.y_type);
        dw_cuda_gemm_launch(&product);
    }
    rows.done += rows.count;
    rows.count = 0;
}

/* Rows that are multiplied with as they are. */
static void take(const dw_cuda_gemm &product, pending_rows &rows, const struct ggml_tensor *weight)
{
    const unsigned char *data = (const unsigned char *)weight->data;
    if (rows.first + (size_t)rows.count * weight->nb[1] != data) {
        multiply(product, rows);
        rows.first = data;
    }
    rows.count += (uint32_t)weight->ne[1];
}

/* The same of quantised ones, into `scratch`, room for some. */
static void widen(const dw_cuda_gemm &product, pending_rows &rows, const struct ggml_tensor *weight,
                  const struct ggml_tensor *scratch, void *stream)
{
    const uint32_t all = (uint32_t)weight->ne[1];
    const uint32_t room = (uint32_t)(scratch->ne[0] / weight->ne[0]);
    unsigned char *to = (unsigned char *)scratch->data;
    uint32_t count = 0;
    for (uint32_t row = 0; row < all; row += count) {
        if (rows.first != to || rows.count == room) {
            multiply(product, rows);
            rows.first = to;
        }
        count = room - rows.count < all - row ? room - rows.count : all - row;
        dw_cuda_widen_rows(weight, row, count,
                           to + (size_t)rows.count * product.columns * sizeof(__nv_bfloat16),
                           stream);
        rows.count += count;
    }
}

extern "C" void dw_cuda_launch_wide(const struct ggml_tensor *node, void *stream)
{
    const struct ggml_tensor *x = node->src[DW_CUDA_PRODUCT_X];
    dw_cuda_gemm product = {};
    product.x = x->data;
    product.y = node->data;
    product.type = x->type;
    product.y_type = node->type;
    product.columns = (uint32_t)x->ne[0];
    product.n = (uint32_t)x->ne[1];
    product.y_length = (uint32_t)node->ne[0];
    product.adds = begin(node, (cudaStream_t)stream);
    pending_rows rows = {};
    for (uint32_t i = 0; i < DW_CUDA_PRODUCT_TABLES; i++) {
        const struct ggml_tensor *weight = node->src[DW_CUDA_PRODUCT_WEIGHT + i];
        if (weight == NULL) {
            break;
        }
        if (weight->type == x->type) {
            take(product, rows, weight);
        } else {
            widen(product, rows, weight, node->src[DW_CUDA_PRODUCT_SCRATCH], stream);
        }
    }
    multiply(product, rows);
}

/* Its memory is what is wanted of it. */
extern "C" void dw_cuda_launch_scratch(const struct ggml_tensor *node, void *stream)
{
    (void)node, (void)stream;
}

static uint32_t forced_rows;

extern "C" void dw_cuda_wide_force(uint32_t rows)
{
    forced_rows = rows;
}

extern "C" uint32_t dw_cuda_wide_rows(int type, uint64_t values)
{
    const device_summary here = dw_cuda_devices_here();
    const bool widens = dw_cuda_widens((enum ggml_type)type);
    if (here.major < 8 || (type != GGML_TYPE_BF16 && type != GGML_TYPE_F16 && !widens)) {
        return 0;
    }
    const uint32_t from = forced_rows > 0         ? forced_rows
                          : !widens               ? ROWS_MIN
                          : values < LARGE_VALUES ? WIDENED_FROM
                                                  : LARGE_FROM;
    return from > ROWS_MIN ? from : ROWS_MIN;
}
