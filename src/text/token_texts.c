#include "text/token_texts.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

typedef struct sorted_text {
    const char *bytes;
    uint32_t length;
    uint32_t token;
} sorted_text;

static int by_bytes(const void *a, const void *b)
{
    const sorted_text *x = a;
    const sorted_text *y = b;
    size_t common = x->length < y->length ? x->length : y->length;
    int difference = memcmp(x->bytes, y->bytes, common);
    return difference != 0          ? difference
           : x->length != y->length ? (x->length > y->length) - (x->length < y->length)
                                    : (x->token > y->token) - (x->token < y->token);
}

static dw_status sort_texts(dw_token_texts *texts, dw_error *err)
{
    sorted_text *list = dw_alloc(texts->count, sizeof *list);
    if (list == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to sort %u tokens", texts->count);
    }
    for (uint32_t i = 0; i < texts->count; i++) {
        uint32_t length = texts->starts[i + 1] - texts->starts[i];
        list[i] = (sorted_text){texts->bytes + texts->starts[i], length, i};
        texts->longest = length > texts->longest ? length : texts->longest;
    }
    qsort(list, texts->count, sizeof *list, by_bytes);
    for (uint32_t i = 0; i < texts->count; i++) {
        texts->order[i] = list[i].token;
    }
    dw_free(list);
    return DW_OK;
}

static dw_status gather(dw_token_texts *texts, dw_token_text_fn text_of, const void *user,
                        dw_error *err)
{
    size_t capacity = (size_t)texts->count * 8 + 64;
    size_t used = 0;
    texts->bytes = dw_alloc(capacity, 1);
    for (uint32_t i = 0; texts->bytes != NULL && i < texts->count;) {
        int32_t room = capacity - used > INT32_MAX ? INT32_MAX : (int32_t)(capacity - used);
        int32_t bytes = text_of(user, (int32_t)i, texts->bytes + used, room);
        if (bytes < 0) {
            capacity = capacity * 2 + (size_t) - (int64_t)bytes;
            char *larger = dw_realloc(texts->bytes, capacity, 1);
            if (larger == NULL) {
                break;
            }
            texts->bytes = larger;
            continue;
        }
        used += (size_t)bytes;
        if (used > UINT32_MAX) {
            return dw_fail(err, DW_E_LIMIT, "tokens: more than %u bytes of text", UINT32_MAX);
        }
        texts->starts[++i] = (uint32_t)used;
    }
    if (texts->bytes == NULL || (texts->count > 0 && texts->starts[texts->count] != used)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the text of %u tokens", texts->count);
    }
    return sort_texts(texts, err);
}

dw_status dw_token_texts_make(dw_token_texts *out, uint32_t count, dw_token_text_fn text_of,
                              const void *user, dw_error *err)
{
    *out = (dw_token_texts){
        .count = count,
        .starts = dw_alloc((size_t)count + 1, sizeof *out->starts),
        .order = dw_alloc(count, sizeof *out->order),
        .is_end = dw_alloc(count, 1),
        .is_control = dw_alloc(count, 1),
    };
    dw_status status =
        out->starts != NULL && out->order != NULL && out->is_end != NULL && out->is_control != NULL
            ? gather(out, text_of, user, err)
            : dw_fail(err, DW_E_MEMORY, "no memory for the text of %u tokens", count);
    if (status != DW_OK) {
        dw_token_texts_release(out);
    }
    return status;
}

void dw_token_texts_release(dw_token_texts *texts)
{
    dw_free(texts->bytes);
    dw_free(texts->starts);
    dw_free(texts->order);
    dw_free(texts->is_end);
    dw_free(texts->is_control);
    *texts = (dw_token_texts){.count = 0};
}
