#include "tensor/tensor_node_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

dw__text dw__describe(const dw__node *node)
{
    int dims = DW_MAX_DIMS;
    while (dims > 1 && node->ne[dims - 1] == 1) {
        dims--;
    }
    dw__text out;
    const char *name = ggml_type_name((enum ggml_type)node->type);
    char type[8] = "";
    for (size_t i = 0; name[i] != '\0' && i + 1 < sizeof type; i++) {
        type[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 'a' + 'A' : name[i]);
    }
    int length = snprintf(out.text, sizeof out.text, "%s [", type);
    for (int i = 0; i < dims && length > 0 && (size_t)length < sizeof out.text; i++) {
        length += snprintf(out.text + length, sizeof out.text - (size_t)length, "%" PRId64 "%s",
                           node->ne[i], i + 1 < dims ? ", " : "]");
    }
    return out;
}

void dw__node_strides(dw__node *node)
{
    enum ggml_type type = (enum ggml_type)node->type;
    node->nb[0] = ggml_type_size(type);
    node->nb[1] = node->nb[0] * (size_t)(node->ne[0] / ggml_blck_size(type));
    node->nb[2] = node->nb[1] * (size_t)node->ne[1];
    node->nb[3] = node->nb[2] * (size_t)node->ne[2];
}

int64_t dw__node_elements(const dw__node *node)
{
    return node->ne[0] * node->ne[1] * node->ne[2] * node->ne[3];
}

size_t dw__node_bytes(const dw__node *node)
{
    enum ggml_type type = (enum ggml_type)node->type;
    return (size_t)(dw__node_elements(node) / ggml_blck_size(type)) * ggml_type_size(type);
}

dw_status dw__node_shape(dw__node *node, const char *what, int32_t type, const int64_t *ne,
                         dw_error *err)
{
    int64_t elements = 1;
    for (int i = 0; i < DW_MAX_DIMS; i++) {
        if (ne[i] < 1 || ne[i] > INT32_MAX) {
            return dw_fail(err, DW_E_SHAPE, "%s: size %d is %" PRId64 ", allowed are 1 to %d", what,
                           i, ne[i], INT32_MAX);
        }
        /* Both below 2^31: the product cannot overflow. */
        elements *= ne[i];
        if (elements > DW__ELEMENTS_MAX) {
            return dw_fail(err, DW_E_SHAPE,
                           "%s: [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                           "] has more than %" PRId64 " elements",
                           what, ne[0], ne[1], ne[2], ne[3], DW__ELEMENTS_MAX);
        }
    }
    int64_t block = ggml_blck_size((enum ggml_type)type);
    if (ne[0] % block != 0) {
        return dw_fail(err, DW_E_SHAPE,
                       "%s: rows of %" PRId64 " are not whole blocks of %" PRId64 " (%s)", what,
                       ne[0], block, ggml_type_name((enum ggml_type)type));
    }
    node->type = type;
    memcpy(node->ne, ne, sizeof node->ne);
    dw__node_strides(node);
    return DW_OK;
}

bool dw__node_ordinary(const dw__node *node)
{
    dw__node plain = *node;
    dw__node_strides(&plain);
    return memcmp(plain.nb, node->nb, sizeof plain.nb) == 0;
}

bool dw__node_contiguous(const dw__node *node)
{
    dw__node plain = *node;
    dw__node_strides(&plain);
    for (int i = 0; i < DW_MAX_DIMS; i++) {
        if (node->ne[i] != 1 && node->nb[i] != plain.nb[i]) {
            return false;
        }
    }
    return true;
}
