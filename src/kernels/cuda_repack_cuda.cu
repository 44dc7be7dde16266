/* Quantised weights as cuda_products_cuda.cu reads them: every lane of a warp finds its own in
 * sixteen bytes, aligned, and a tile's stages follow one another. Nothing is rounded: the same
 * numbers, elsewhere. */
#include <cuda_fp16.h>
#include <ggml-backend.h>

extern "C" {
#include "kernels/cuda_launch.h"
}

#include "kernels/cuda_product_form.inc.h"

#define WARPS 8

/* ---- a type's blocks, as ggml has them ---- */

/* Columns and bytes of a block. */
template <int TYPE> struct file_block;
template <> struct file_block<GGML_TYPE_Q4_0> {
    static constexpr int columns = 32, bytes = 18;
};
template <> struct file_block<GGML_TYPE_Q4_1> {
    static constexpr int columns = 32, bytes = 20;
};
template <> struct file_block<GGML_TYPE_Q8_0> {
    static constexpr int columns = 32, bytes = 34;
};
template <> struct file_block<GGML_TYPE_Q4_K> {
    static constexpr int columns = 256, bytes = 144;
};
template <> struct file_block<GGML_TYPE_Q5_K> {
    static constexpr int columns = 256, bytes = 176;
};
template <> struct file_block<GGML_TYPE_Q6_K> {
    static constexpr int columns = 256, bytes = 210;
};

/* Column `at` of a block, without its sign: of Q4_0 and Q6_K 8 and 32 more. */
template <int TYPE>
static __device__ __forceinline__ uint32_t number_of(const unsigned char *block, uint32_t at)
{
    if constexpr (TYPE == GGML_TYPE_Q8_0) {
        return block[2 + at];
    } else if constexpr (TYPE == GGML_TYPE_Q4_0 || TYPE == GGML_TYPE_Q4_1) {
        uint32_t byte = block[(TYPE == GGML_TYPE_Q4_0 ? 2 : 4) + at % 16];
        return at < 16 ? byte & 15 : byte >> 4;
    } else if constexpr (TYPE == GGML_TYPE_Q6_K) {
        uint32_t half = at / 128, quarter = at % 128 / 32, i = at % 32;
        uint32_t byte = block[half * 64 + quarter % 2 * 32 + i];
        uint32_t high = block[128 + half * 32 + i] >> (2 * quarter) & 3;
        return (quarter < 2 ? byte & 15 : byte >> 4) | high << 4;
    } else {
        uint32_t part = at / 64, upper = at % 64 / 32, i = at % 32;
        uint32_t byte = block[(TYPE == GGML_TYPE_Q5_K ? 48 : 16) + part * 32 + i];
        uint32_t number = upper ? byte >> 4 : byte & 15;
        if (TYPE == GGML_TYPE_Q5_K) {
            number |= (block[16 + i] >> (2 * part + upper) & 1u) << 4;
        }
        return number;
    }
}

/* ---- a stage ---- */

struct source {
    const unsigned char *row; /* the tile's first, where its stage begins */
    size_t row_bytes;
};

/* Number `e` of a lane's eight of 32 columns. */
template <int TYPE>
static __device__ __forceinline__ uint32_t lane_number(const source &from, uint32_t row,
                                                       uint32_t columns_before, uint32_t t,
                                                       uint32_t e)
{
    typedef file_block<TYPE> in_file;
    uint32_t column = columns_before + (e < 4 ? 4 * t + e : 16 + 4 * t + e - 4);
    const unsigned char *block =
        from.row + row * from.row_bytes + column / in_file::columns * in_file::bytes;
    return number_of<TYPE>(block, column % in_file::columns);
}

/* The lower four bits of a lane's eight: of its first four columns, then those of 16 further on. */
template <int TYPE>
static __device__ uint32_t low_word(const source &from, uint32_t row, uint32_t block, uint32_t t)
{
    uint32_t word = 0;
    for (uint32_t e = 0; e < 8; e++) {
        uint32_t number = lane_number<TYPE>(from, row, block * 32, t, e);
        word |= (number & 15) << (e % 4 * 8 + e / 4 * 4);
    }
    return word;
}

/* Bits [4, 4 + BITS) of the same. */
template <int TYPE, int BITS>
static __device__ uint32_t high_word(const source &from, uint32_t row, uint32_t block, uint32_t t)
{
    uint32_t word = 0;
    for (uint32_t e = 0; e < 8; e++) {
        uint32_t number = lane_number<TYPE>(from, row, block * 32, t, e);
        word |= (number >> 4) << (e % 4 * 8 + e / 4 * BITS);
    }
    return word;
}

template <int TYPE>
static __device__ uint32_t byte_word(const source &from, uint32_t row, uint32_t block, uint32_t t,
                                     uint32_t first)
{
    uint32_t word = 0;
    for (uint32_t e = 0; e < 4; e++) {
        word |= lane_number<TYPE>(from, row, block * 32, t, first + e) << (8 * e);
    }
    return word;
}

/* Two blocks of four bits, 16 bytes a lane. */
template <int TYPE>
static __device__ void put_plane(const source &from, uint32_t plane, uint32_t g, uint32_t t,
                                 uint4 *to)
{
    *to = make_uint4(
        low_word<TYPE>(from, g, 2 * plane, t), low_word<TYPE>(from, g + 8, 2 * plane, t),
        low_word<TYPE>(from, g, 2 * plane + 1, t), low_word<TYPE>(from, g + 8, 2 * plane + 1, t));
}

/* What blocks of 32 have beside their numbers: scales, then minima, of two blocks. */
template <int TYPE>
static __device__ void put_scales(const source &from, uint32_t row, unsigned char *to)
{
    typedef file_block<TYPE> in_file;
    const __half *first = (const __half *)(from.row + row * from.row_bytes);
    const __half *second = (const __half *)(from.row + row * from.row_bytes + in_file::bytes);
    __half *halves = (__half *)(to + row * (TYPE == GGML_TYPE_Q4_1 ? 8 : 4));
    halves[0] = first[0];
    halves[1] = second[0];
    if (TYPE == GGML_TYPE_Q4_1) {
        halves[2] = first[1];
        halves[3] = second[1];
    }
}

template <int TYPE>
static __device__ void put_stage(const source &from, uint32_t lane, unsigned char *to)
{
    const uint32_t g = lane / 4, t = lane % 4;
    uint4 *own = (uint4 *)(to + lane * 16); /* planes are 32 of these apart */
    if constexpr (TYPE == GGML_TYPE_Q8_0) {
        for (uint32_t block = 0; block < 2; block++) {
            own[block * 32] = make_uint4(
                byte_word<TYPE>(from, g, block, t, 0), byte_word<TYPE>(from, g + 8, block, t, 0),
                byte_word<TYPE>(from, g, block, t, 4), byte_word<TYPE>(from, g + 8, block, t, 4));
        }
    } else {
        for (uint32_t plane = 0; plane < form<TYPE>::columns / 64; plane++) {
            put_plane<TYPE>(from, plane, g, t, own + plane * 32);
        }
    }
    if constexpr (TYPE == GGML_TYPE_Q5_K) {
        uint32_t words[4];
        for (uint32_t i = 0; i < 4; i++) {
            words[i] = 0;
            for (uint32_t b = 0; b < 2; b++) {
                words[i] |= high_word<TYPE, 1>(from, g, 2 * i + b, t) << (4 * b);
                words[i] |= high_word<TYPE, 1>(from, g + 8, 2 * i + b, t) << (4 * b + 2);
            }
        }
        own[4 * 32] = make_uint4(words[0], words[1], words[2], words[3]);
    }
    if constexpr (TYPE == GGML_TYPE_Q6_K) {
        for (uint32_t i = 0; i < 8; i++) {
            ((uint32_t *)&own[(4 + i / 4) * 32])[i % 4] =
                high_word<TYPE, 2>(from, g, i, t) | high_word<TYPE, 2>(from, g + 8, i, t) << 4;
        }
    }
    if (lane >= ROWS) {
        return;
    }
    const unsigned char *row = from.row + lane * from.row_bytes;
    if constexpr (TYPE == GGML_TYPE_Q6_K) { /* scales 128 more, then what all are multiplied with */
        for (uint32_t i = 0; i < 16; i++) {
            to[3072 + lane * 16 + i] = row[192 + i] ^ 0x80u;
        }
        *(__half *)(to + 3072 + 256 + lane * 2) = *(const __half *)(row + 208);
    } else if constexpr (form<TYPE>::columns == 256) { /* as they are */
        unsigned char *place = to + (TYPE == GGML_TYPE_Q5_K ? 2560 : 2048) + lane * 16;
        for (uint32_t i = 0; i < 16; i++) {
            place[i] = row[i];
        }
    } else {
        put_scales<TYPE>(from, lane, to + (TYPE == GGML_TYPE_Q8_0 ? 1024 : 512));
    }
}

/* A warp a stage. */
template <int TYPE>
static __global__ void repack_kernel(const unsigned char *from, unsigned char *to, uint32_t tiles,
                                     uint32_t stages)
{
    typedef form<TYPE> f;
    typedef file_block<TYPE> in_file;
    const size_t row_bytes = (size_t)stages * f::columns / in_file::columns * in_file::bytes;
    size_t at = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (at >= (size_t)tiles * stages) {
        return;
    }
    source s = {from + at / stages * ROWS * row_bytes +
                    at % stages * (f::columns / in_file::columns) * in_file::bytes,
                row_bytes};
    put_stage<TYPE>(s, threadIdx.x % WARP, to + at * f::bytes);
}

template <int TYPE>
static void launch(const void *from, void *to, uint32_t rows, uint32_t columns, cudaStream_t stream)
{
    uint32_t tiles = rows / ROWS, stages = columns / form<TYPE>::columns;
    size_t blocks = ((size_t)tiles * stages + WARPS - 1) / WARPS;
    repack_kernel<TYPE><<<(unsigned)blocks, WARP * WARPS, 0, stream>>>(
        (const unsigned char *)from, (unsigned char *)to, tiles, stages);
}

extern "C" size_t dw_cuda_repacked_bytes(int type, uint32_t columns, uint32_t rows)
{
    size_t bytes = 0;
    with_type(type, [&](auto constant) {
        typedef form<decltype(constant)::value> f;
        bytes = f::in_file ? 0 : (size_t)(rows / ROWS) * (columns / f::columns) * f::bytes;
    });
    return bytes;
}

extern "C" void dw_cuda_launch_repack(const struct ggml_tensor *node, void *stream)
{
    const struct ggml_tensor *from = node->src[0];
    with_type(from->type, [&](auto constant) {
        constexpr int TYPE = decltype(constant)::value;
        if constexpr (!form<TYPE>::in_file) {
            launch<TYPE>(from->data, node->data, (uint32_t)ggml_nrows(from), (uint32_t)from->ne[0],
                         (cudaStream_t)stream);
        }
    });
}
