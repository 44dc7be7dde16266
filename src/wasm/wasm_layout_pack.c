/* Layouts as bytes: their struct as it is, and their lists behind it. */
#include <string.h>

#include "base/alloc.h"
#include "wasm/wasm_binary.h"

enum { GLOBALS, TABLES, MEMORIES, FUNCTIONS, LISTS };

typedef struct item_list {
    dw_wasm_item **items;
    size_t *count;
} item_list;

static void lists_of(dw_wasm_layout *layout, item_list lists[LISTS])
{
    lists[GLOBALS] = (item_list){&layout->globals, &layout->global_count};
    lists[TABLES] = (item_list){&layout->tables, &layout->table_count};
    lists[MEMORIES] = (item_list){&layout->memories, &layout->memory_count};
    lists[FUNCTIONS] = (item_list){&layout->functions, &layout->function_count};
}

unsigned char *dw_wasm_layout_pack(const dw_wasm_layout *layout, size_t *bytes)
{
    dw_wasm_layout own = *layout;
    item_list lists[LISTS];
    const dw_wasm_item *from[LISTS];
    lists_of(&own, lists);
    size_t items = 0;
    for (int i = 0; i < LISTS; i++) {
        items += *lists[i].count; /* at most DW_WASM_ITEMS_MAX each */
        from[i] = *lists[i].items;
        *lists[i].items = NULL; /* addresses are nobody's business */
    }
    *bytes = sizeof own + items * sizeof(dw_wasm_item);
    unsigned char *packed = dw_alloc(*bytes, 1);
    if (packed == NULL) {
        return NULL;
    }
    memcpy(packed, &own, sizeof own);
    unsigned char *at = packed + sizeof own;
    for (int i = 0; i < LISTS; i++) {
        size_t list_bytes = *lists[i].count * sizeof(dw_wasm_item);
        if (list_bytes > 0) {
            memcpy(at, from[i], list_bytes);
        }
        at += list_bytes;
    }
    return packed;
}

static bool is_text(const char *text, size_t capacity)
{
    return memchr(text, '\0', capacity) != NULL;
}

static bool are_items(const dw_wasm_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_text(items[i].name, sizeof items[i].name) || items[i].type > DW_WASM_EXTERNREF) {
            return false;
        }
    }
    return true;
}

/* The lists of `layout`, whose counts are there. */
static bool take_lists(dw_wasm_layout *layout, const unsigned char *bytes, size_t count)
{
    item_list lists[LISTS];
    lists_of(layout, lists);
    for (int i = 0; i < LISTS; i++) {
        *lists[i].items = NULL;
    }
    for (int i = 0; i < LISTS; i++) {
        size_t items = *lists[i].count;
        if (items > DW_WASM_ITEMS_MAX || items * sizeof(dw_wasm_item) > count) {
            return false;
        }
        if (items == 0) {
            continue;
        }
        *lists[i].items = dw_alloc(items, sizeof(dw_wasm_item));
        if (*lists[i].items == NULL) {
            return false;
        }
        memcpy(*lists[i].items, bytes, items * sizeof(dw_wasm_item));
        bytes += items * sizeof(dw_wasm_item);
        count -= items * sizeof(dw_wasm_item);
        if (!are_items(*lists[i].items, items)) {
            return false;
        }
    }
    return count == 0;
}

dw_wasm_layout *dw_wasm_layout_unpack(const unsigned char *bytes, size_t count)
{
    dw_wasm_layout *layout = count >= sizeof *layout ? dw_alloc(1, sizeof *layout) : NULL;
    if (layout == NULL) {
        return NULL;
    }
    memcpy(layout, bytes, sizeof *layout);
    if (!take_lists(layout, bytes + sizeof *layout, count - sizeof *layout) ||
        !is_text(layout->refused, sizeof layout->refused) || !are_items(&layout->flush, 1)) {
        dw_wasm_layout_destroy(layout);
        return NULL;
    }
    return layout;
}
