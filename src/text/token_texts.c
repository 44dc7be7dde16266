#include "text/token_texts.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/account.h"
#include "base/alloc.h"

/* Many grammars ask at once, one of them first: the others wait for it. */
struct dw_token_tree {
    pthread_mutex_t lock;
    bool made;
    dw_token_trie trie;
    uint64_t *bits; /* [3][count / 64 + 1]: silent, silent but for control tokens, ends */
    dw_token_slice slices[DW_TOKEN_SLICES_MAX]; /* [slice_count] */
    uint32_t slice_count;
    size_t slice_bytes;
};

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
        .tree = dw_alloc(1, sizeof *out->tree),
    };
    if (out->tree != NULL) {
        (void)pthread_mutex_init(&out->tree->lock, NULL);
    }
    dw_status status =
        out->tree != NULL && out->starts != NULL && out->order != NULL && out->is_end != NULL &&
                out->is_control != NULL
            ? gather(out, text_of, user, err)
            : dw_fail(err, DW_E_MEMORY, "no memory for the text of %u tokens", count);
    if (status != DW_OK) {
        dw_token_texts_release(out);
    }
    return status;
}

/* With the lock held. */
static dw_status make_tree(struct dw_token_tree *tree, const dw_token_texts *texts, dw_error *err)
{
    size_t words = (size_t)texts->count / 64 + 1;
    if (tree->bits == NULL) {
        tree->bits = dw_alloc(3 * words, sizeof *tree->bits);
    }
    if (tree->bits == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for the text of %u tokens", texts->count);
    }
    for (uint32_t i = 0; i < texts->count; i++) {
        bool ends = texts->is_end[i] != 0;
        bool silent = ends || texts->starts[i] == texts->starts[i + 1];
        tree->bits[i / 64] |= (uint64_t)(silent || texts->is_control[i]) << i % 64;
        tree->bits[words + i / 64] |= (uint64_t)silent << i % 64;
        tree->bits[2 * words + i / 64] |= (uint64_t)ends << i % 64;
    }
    return dw_token_trie_make(&tree->trie, texts, err);
}

const uint64_t *dw_token_texts_silent(const dw_token_texts *texts, bool spelled)
{
    return texts->tree->bits + (spelled ? texts->count / 64 + 1 : 0);
}

const uint64_t *dw_token_texts_ends(const dw_token_texts *texts)
{
    return texts->tree->bits + 2 * ((size_t)texts->count / 64 + 1);
}

dw_status dw_token_texts_trie(const dw_token_texts *texts, const dw_token_trie **out, dw_error *err)
{
    struct dw_token_tree *tree = texts->tree;
    dw_status status = DW_OK;
    (void)pthread_mutex_lock(&tree->lock);
    if (!tree->made) {
        dw_account_scope payer = dw_account_pause(); /* the model's */
        status = make_tree(tree, texts, err);
        tree->made = status == DW_OK;
        dw_account_leave(payer);
    }
    (void)pthread_mutex_unlock(&tree->lock);
    *out = &tree->trie;
    return status;
}

/* With the lock held, and the trie made. */
static const dw_token_slice *find_slice(struct dw_token_tree *tree, uint32_t token_count,
                                        const dw_char_range *ranges, uint32_t count)
{
    for (uint32_t i = 0; i < tree->slice_count; i++) {
        const dw_token_slice *slice = &tree->slices[i];
        if (slice->range_count == count &&
            memcmp(slice->ranges, ranges, count * sizeof *ranges) == 0) {
            return slice;
        }
    }
    if (tree->slice_count == DW_TOKEN_SLICES_MAX ||
        tree->slice_bytes >= DW_TOKEN_SLICES_BYTES_MAX) {
        return NULL;
    }
    dw_token_slice *slice = &tree->slices[tree->slice_count];
    if (dw_token_slice_make(slice, &tree->trie, token_count, ranges, count) != DW_OK) {
        return NULL;
    }
    tree->slice_bytes += slice->bytes;
    tree->slice_count++;
    return slice;
}

const dw_token_slice *dw_token_texts_slice(const dw_token_texts *texts, const dw_char_range *ranges,
                                           uint32_t count)
{
    const dw_token_slice *slice = NULL;
    dw_account_scope payer = dw_account_pause(); /* the model's */
    (void)pthread_mutex_lock(&texts->tree->lock);
    if (texts->tree->made) {
        slice = find_slice(texts->tree, texts->count, ranges, count);
    }
    (void)pthread_mutex_unlock(&texts->tree->lock);
    dw_account_leave(payer);
    return slice;
}

void dw_token_texts_release(dw_token_texts *texts)
{
    if (texts->tree != NULL) {
        for (uint32_t i = 0; i < texts->tree->slice_count; i++) {
            dw_token_slice_release(&texts->tree->slices[i]);
        }
        dw_token_trie_release(&texts->tree->trie);
        dw_free(texts->tree->bits);
        (void)pthread_mutex_destroy(&texts->tree->lock);
        dw_free(texts->tree);
    }
    dw_free(texts->bytes);
    dw_free(texts->starts);
    dw_free(texts->order);
    dw_free(texts->is_end);
    dw_free(texts->is_control);
    *texts = (dw_token_texts){.count = 0};
}
