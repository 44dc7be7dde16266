/* How the weights of products lie in a device's memory: as in the file, or repacked
 * (cuda_repack_cuda.cu). For CUDA sources. */
#ifndef DW_KERNELS_CUDA_PRODUCT_FORM_INC_H
#define DW_KERNELS_CUDA_PRODUCT_FORM_INC_H

#include <ggml.h>
#include <type_traits>

#define WARP 32
#define ROWS DW_CUDA_TILE_ROWS

/* Columns and bytes of a stage, which a warp takes at once; whether x has scales for blocks, and
 * the weights minima. */
template <int TYPE> struct form;

/* Rows as they are: 64 columns of 16 rows. */
template <> struct form<GGML_TYPE_BF16> {
    static constexpr int columns = 64, bytes = 2048;
    static constexpr bool in_file = true, scaled = false, has_min = false;
};
template <> struct form<GGML_TYPE_F16> {
    static constexpr int columns = 64, bytes = 2048;
    static constexpr bool in_file = true, scaled = true, has_min = false;
};
/* Tiles of 16 rows one behind another, in each its stages, in a stage: planes of 16 bytes a lane,
 * then what belongs to rows. */
template <> struct form<GGML_TYPE_Q4_0> { /* its minimum is eight times its scale, less */
    static constexpr int columns = 64, bytes = 512 + ROWS * 4;
    static constexpr bool in_file = false, scaled = true, has_min = true;
};
template <> struct form<GGML_TYPE_Q4_1> {
    static constexpr int columns = 64, bytes = 512 + ROWS * 8;
    static constexpr bool in_file = false, scaled = true, has_min = true;
};
template <> struct form<GGML_TYPE_Q8_0> {
    static constexpr int columns = 64, bytes = 1024 + ROWS * 4;
    static constexpr bool in_file = false, scaled = true, has_min = false;
};
template <> struct form<GGML_TYPE_Q4_K> {
    static constexpr int columns = 256, bytes = 2048 + ROWS * 16;
    static constexpr bool in_file = false, scaled = true, has_min = true;
};
template <> struct form<GGML_TYPE_Q5_K> {
    static constexpr int columns = 256, bytes = 2048 + 512 + ROWS * 16;
    static constexpr bool in_file = false, scaled = true, has_min = true;
};
template <> struct form<GGML_TYPE_Q6_K> {
    static constexpr int columns = 256, bytes = 2048 + 1024 + ROWS * 18;
    static constexpr bool in_file = false, scaled = true, has_min = false;
};

/* Calls `what` with the type as a constant. False: there is no kernel for it. */
template <typename WHAT> static bool with_type(int type, WHAT what)
{
    switch (type) {
    case GGML_TYPE_BF16:
        what(std::integral_constant<int, GGML_TYPE_BF16>());
        return true;
    case GGML_TYPE_F16:
        what(std::integral_constant<int, GGML_TYPE_F16>());
        return true;
    case GGML_TYPE_Q4_0:
        what(std::integral_constant<int, GGML_TYPE_Q4_0>());
        return true;
    case GGML_TYPE_Q4_1:
        what(std::integral_constant<int, GGML_TYPE_Q4_1>());
        return true;
    case GGML_TYPE_Q8_0:
        what(std::integral_constant<int, GGML_TYPE_Q8_0>());
        return true;
    case GGML_TYPE_Q4_K:
        what(std::integral_constant<int, GGML_TYPE_Q4_K>());
        return true;
    case GGML_TYPE_Q5_K:
        what(std::integral_constant<int, GGML_TYPE_Q5_K>());
        return true;
    case GGML_TYPE_Q6_K:
        what(std::integral_constant<int, GGML_TYPE_Q6_K>());
        return true;
    default:
        return false;
    }
}

#endif
