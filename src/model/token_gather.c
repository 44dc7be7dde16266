#include "model/token_gather.h"

#include <string.h>

#include "device/graph_work.h"

static void gather(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    dw_graph_work_take();
    const dw_token_gather *from = user;
    const struct ggml_tensor *embedding = from->embedding;
    const struct ggml_type_traits *traits = ggml_get_type_traits(embedding->type);
    int64_t length = dst->ne[0];
    for (int64_t i = ith; i < dst->ne[1]; i += nth) {
        int64_t token = *from->tokens[i];
        float *to = (float *)(void *)((char *)dst->data + i * (int64_t)dst->nb[1]);
        if (token < 0 || token >= embedding->ne[1]) {
            memset(to, 0, (size_t)length * sizeof *to);
            continue;
        }
        const char *row = (const char *)embedding->data + token * (int64_t)embedding->nb[1];
        if (embedding->type == GGML_TYPE_F32) {
            memcpy(to, row, (size_t)length * sizeof *to);
        } else {
            traits->to_float(row, to, length);
        }
    }
    dw_graph_work_give();
}

struct ggml_tensor *dw_token_gather_node(dw_token_gather *from, struct ggml_context *ggml,
                                         int64_t token_count)
{
    return ggml_custom_4d(ggml, GGML_TYPE_F32, from->embedding->ne[0], token_count, 1, 1,
                          &from->embedding, 1, gather, GGML_N_TASKS_MAX, from);
}
