#include "device/cuda_node.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "device/device.h"

/* In op_params: no model's WKV7 node has any. */
#define MAGIC 0x64776375646eull

typedef struct node_params {
    uint64_t magic;
    dw_cuda_launch launch;
    unsigned char own[DW_CUDA_PARAM_BYTES];
} node_params;

static_assert(sizeof(node_params) <= GGML_MAX_OP_PARAMS, "ggml keeps so many bytes with a node");

struct ggml_tensor *dw_cuda_node_make(struct ggml_tensor *result, dw_cuda_launch launch,
                                      struct ggml_tensor *const *sources, size_t count,
                                      const void *params, size_t param_bytes)
{
    DW_ASSERT(count <= GGML_MAX_SRC && param_bytes <= DW_CUDA_PARAM_BYTES);
    node_params all = {.magic = MAGIC, .launch = launch};
    if (param_bytes > 0) {
        memcpy(all.own, params, param_bytes);
    }
    memcpy(result->op_params, &all, sizeof all);
    result->op = GGML_OP_RWKV_WKV7;
    for (size_t i = 0; i < count; i++) {
        result->src[i] = sources[i];
    }
    return result;
}

bool dw_cuda_node_is(const struct ggml_tensor *node)
{
    uint64_t magic;
    memcpy(&magic, node->op_params, sizeof magic);
    return node->op == GGML_OP_RWKV_WKV7 && magic == MAGIC;
}

const void *dw_cuda_node_params(const struct ggml_tensor *node)
{
    return (const unsigned char *)node->op_params + offsetof(node_params, own);
}

dw_cuda_launch dw_cuda_node_launch(const struct ggml_tensor *node)
{
    node_params all;
    memcpy(&all, node->op_params, sizeof all);
    return all.launch;
}

bool dw_cuda_node_served(const dw_device *device)
{
    return dw_cuda_node_built && strcmp(dw_device_info_of(device)->backend, "CUDA") == 0;
}
