/* A context's LoRA adapters as a message chooses them: its member lora, [[adapter, scale]...]. */
#ifndef GUEST_EXAMPLES_LORA_REQUEST_H
#define GUEST_EXAMPLES_LORA_REQUEST_H

#include <driftwood_helpers.h>

#include "json.h"

#define LORAS_MAX 64

typedef struct lora_list {
    uint32_t count;
    uint32_t loras[LORAS_MAX]; /* [count] */
    float scales[LORAS_MAX];   /* [count] */
} lora_list;

static int32_t read_loras(const char *list, lora_list *into)
{
    into->count = 0;
    for (const char *at = list + 1; *at == '[';) {
        char *comma;
        if (into->count == LORAS_MAX) {
            return DW_E_LIMIT;
        }
        into->loras[into->count] = (uint32_t)strtoul(at + 1, &comma, 10);
        into->scales[into->count++] = *comma == ',' ? strtof(comma + 1, NULL) : 0.0F;
        at = json_skip(at);
        at += *at == ',' ? 1 : 0;
    }
    return 0;
}

/* Whatever their order; those of a scale of 0 are none. */
static int has_all(const lora_list *left, const lora_list *right)
{
    for (uint32_t i = 0; i < left->count; i++) {
        uint32_t k = 0;
        while (k < right->count &&
               (right->loras[k] != left->loras[i] || right->scales[k] != left->scales[i])) {
            k++;
        }
        if (k == right->count && left->scales[i] != 0.0F) {
            return 0;
        }
    }
    return 1;
}

/* -> 1: they are others than before, and it holds nothing any more; 0: the same, or the message
 * chooses none; or a status. */
static int32_t context_take_loras(int32_t context, const char *message)
{
    static lora_list now;
    static lora_list wanted;
    const char *end;
    const char *list = json_member(message, "lora", &end);
    if (list == NULL || *list != '[') {
        return 0;
    }
    int32_t status = read_loras(list, &wanted);
    if (status < 0) {
        return status;
    }
    int32_t count = dw_context_loras(context, now.loras, now.scales, LORAS_MAX);
    if (count < 0) {
        return count;
    }
    now.count = (uint32_t)count;
    if (has_all(&now, &wanted) && has_all(&wanted, &now)) {
        return 0;
    }
    status = dw_context_trim(context, 0);
    if (status >= 0) {
        status = dw_context_set_loras(context, wanted.loras, wanted.scales, wanted.count);
    }
    return status < 0 ? status : 1;
}

#endif
