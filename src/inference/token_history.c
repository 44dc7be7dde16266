#include "inference/token_history.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

typedef struct dw__token_list {
    _Atomic uint32_t users;
    uint32_t room;
    int32_t tokens[];
} dw__token_list;

static dw__token_list *make(uint32_t room)
{
    size_t bytes;
    dw__token_list *list = NULL;
    if (dw_mul_size(&bytes, room, sizeof list->tokens[0]) &&
        dw_add_size(&bytes, bytes, sizeof *list)) {
        list = dw_alloc(1, bytes);
    }
    if (list != NULL) {
        atomic_init(&list->users, 1);
        list->room = room;
    }
    return list;
}

static void unref(dw__token_list *list)
{
    if (list != NULL && atomic_fetch_sub(&list->users, 1) == 1) {
        dw_free(list);
    }
}

dw_status dw__token_history_reserve(dw__token_history *history, uint32_t length, uint32_t from,
                                    uint32_t room, dw_error *err)
{
    dw__token_list *list = history->list;
    bool alone = list != NULL && atomic_load(&list->users) == 1;
    history->known = alone ? 0 : history->known;
    if (list != NULL && list->room >= room && from >= history->known) {
        return DW_OK;
    }
    dw__token_list *copy = make(room);
    if (copy == NULL) {
        return dw_fail(err, DW_E_MEMORY, "context: no memory for %u tokens", room);
    }
    if (length > 0) {
        memcpy(copy->tokens, list->tokens, length * sizeof list->tokens[0]);
    }
    unref(list);
    *history = (dw__token_history){.list = copy, .tokens = copy->tokens};
    return DW_OK;
}

void dw__token_history_fork(dw__token_history *history, dw__token_history *parent, uint32_t length)
{
    if (parent->list == NULL || length == 0) {
        return;
    }
    atomic_fetch_add(&parent->list->users, 1);
    parent->known = parent->known > length ? parent->known : length;
    *history =
        (dw__token_history){.list = parent->list, .tokens = parent->tokens, .known = UINT32_MAX};
}

void dw__token_history_release(dw__token_history *history)
{
    unref(history->list);
    *history = (dw__token_history){.list = NULL};
}
