/* What is known of actors, in memory or in a folder alone: of one, of many at a time, and where it
 * lies on the disk. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/describe.h"

#define PAGE_MAX 4096u

/* ---- one ------------------------------------------------------------------------------------- */

static void take_item(dw_runtime_actor_info *info, const dw_actor_item *item)
{
    info->snapshot_done = item->row.done;
    if (item->status == DW_OK) {
        info->snapshot_count = item->snapshot_count;
        info->snapshot_bytes = item->bytes;
    }
}

dw_status dw__add_snapshots(const dw_runtime *runtime, const char *id, dw_runtime_actor_info *info,
                            dw_error *err)
{
    size_t count = 0;
    dw_actor_item item;
    if (runtime->keeper == NULL) {
        return DW_OK;
    }
    dw_status status = runtime->keeper->page(runtime->keeper->user, id, &item, 1, &count, err);
    if (status == DW_OK && count == 1 && strcmp(item.row.id, id) == 0) {
        take_item(info, &item);
    }
    return status;
}

/* ---- many ------------------------------------------------------------------------------------ */

typedef struct info_page {
    uint64_t from;
    size_t max;
    dw_actor_item *items; /* [item_count]: of those in the folder */
    size_t item_count;
    struct told {
        char id[DW_ACTOR_ID_CHARS + 1];
        const dw_error *problem;
        dw_runtime_actor_info info;
    } * told; /* [count] */
    size_t count;
} info_page;

/* Gives the lock back meanwhile. */
static dw_status read_page(dw_runtime *runtime, info_page *page, dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    if (runtime->keeper == NULL) {
        return DW_OK;
    }
    page->items = dw_alloc(page->max, sizeof *page->items);
    if (page->items == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of %zu actors", page->max);
    }
    dw__id_text(id, page->from);
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status = runtime->keeper->page(runtime->keeper->user, id, page->items, page->max,
                                             &page->item_count, err);
    dw__lock_again(runtime, scope);
    return status;
}

static struct told *add_told(info_page *page, uint64_t id, const dw_runtime_actor_info *info)
{
    struct told *told = &page->told[page->count++];
    *told = (struct told){.info = *info};
    told->info.struct_bytes = sizeof told->info;
    dw__id_text(told->id, id);
    return told;
}

static void add_item(struct told *told, const dw_actor_item *item)
{
    take_item(&told->info, item);
    told->problem = item->status != DW_OK ? &item->problem : NULL;
}

/* Those in the folder with those in memory, which need not be there yet. Of those that leave there
 * are none. */
static void merge(dw_runtime *runtime, info_page *page)
{
    size_t next = 0;
    dw__record *record = dw__first_from(runtime, page->from);
    while (page->count < page->max && (record != NULL || next < page->item_count)) {
        uint64_t id = 0;
        const dw_actor_item *item = next < page->item_count ? &page->items[next] : NULL;
        bool is_kept = item != NULL && dw__id_parse(item->row.id, &id);
        if (record != NULL && (!is_kept || record->id <= id)) {
            dw_runtime_actor_info info = dw__info_of(runtime, record);
            struct told *told = add_told(page, record->id, &info);
            if (is_kept && record->id == id) {
                add_item(told, item);
                next++;
            }
            record = record->id < UINT64_MAX ? dw__first_from(runtime, record->id + 1) : NULL;
            continue;
        }
        if (dw__find_any(runtime, id) == NULL) {
            dw_runtime_actor_info info = dw__info_of_row(runtime, &item->row, 0);
            add_item(add_told(page, id, &info), item);
        }
        next++;
    }
}

static dw_status fill_page(dw_runtime *runtime, info_page *page, dw_error *err)
{
    page->told = dw_alloc(page->max, sizeof *page->told);
    dw_status status =
        page->told != NULL
            ? dw__enter_open(runtime, err)
            : dw_fail(err, DW_E_MEMORY, "no memory for a list of %zu actors", page->max);
    if (status != DW_OK) {
        return status;
    }
    status = read_page(runtime, page, err);
    if (status == DW_OK) {
        merge(runtime, page);
    }
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_list_infos(dw_runtime *runtime, const char *after, size_t max,
                                dw_runtime_info_fn take, void *user, dw_error *err)
{
    info_page page = {.max = max};
    if (max == 0 || max > PAGE_MAX) {
        return dw_fail(err, DW_E_RANGE, "max: %zu, from 1 to %u", max, PAGE_MAX);
    }
    if (after != NULL && !dw__id_parse(after, &page.from)) {
        return dw_fail(err, DW_E_ARG, "after: '%.40s', an actor's id is needed", after);
    }
    if (after != NULL && page.from++ == UINT64_MAX) {
        return DW_OK; /* behind the last there can be */
    }
    dw_status status = fill_page(runtime, &page, err);
    for (size_t i = 0; i < page.count && status == DW_OK; i++) {
        take(user, page.told[i].id, &page.told[i].info, page.told[i].problem);
    }
    dw_free(page.items);
    dw_free(page.told);
    return status;
}

/* ---- on the disk ----------------------------------------------------------------------------- */

dw_status dw__find_id(dw_runtime *runtime, const char *id, char found[DW_ACTOR_ID_CHARS + 1],
                      dw_error *err)
{
    dw__record *record = NULL;
    dw_actor_row row = {.id = ""};
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__look(runtime, id, &record, &row, err);
    memcpy(found, row.id, sizeof row.id);
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_list_paths(dw_runtime *runtime, const char *id,
                                void (*take)(void *user, const char *path), void *user,
                                dw_error *err)
{
    char found[DW_ACTOR_ID_CHARS + 1];
    if (runtime->keeper == NULL) {
        return dw_fail(err, DW_E_STATE, "the runtime has no state folder");
    }
    dw_status status = dw__find_id(runtime, id, found, err);
    return status == DW_OK
               ? runtime->keeper->list_paths(runtime->keeper->user, found, take, user, err)
               : status;
}

/* In memory alone. */
static dw_status list_own_freezes(dw_runtime *runtime, const char *id, uint64_t *numbers,
                                  size_t capacity, size_t *count, dw_error *err)
{
    dw__record *record = NULL;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw__find_text(runtime, id, &record, err);
    for (size_t i = 0; status == DW_OK && i < record->freeze_count && *count < capacity; i++) {
        numbers[(*count)++] = record->freezes[i].number;
    }
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_list_freezes(dw_runtime *runtime, const char *id, uint64_t *numbers,
                                  size_t capacity, size_t *count, dw_error *err)
{
    char found[DW_ACTOR_ID_CHARS + 1];
    uint64_t kept[DW_FOLDER_KEPT_MAX];
    *count = 0;
    if (runtime->keeper == NULL) {
        return list_own_freezes(runtime, id, numbers, capacity, count, err);
    }
    dw_status status = dw__find_id(runtime, id, found, err);
    if (status == DW_OK) {
        status = runtime->keeper->list_kept(runtime->keeper->user, found, kept, count, err);
    }
    *count = *count < capacity ? *count : capacity;
    for (size_t i = 0; i < *count; i++) {
        numbers[i] = kept[i];
    }
    return status;
}
