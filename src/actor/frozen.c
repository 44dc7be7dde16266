/* What of an actor its files hold, so that the next freeze writes only the rest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor_state.h"
#include "base/alloc.h"
#include "inference/context.h"
#include "kv/kv_kept.h"

void dw__frozen_release(dw_frozen *frozen)
{
    for (size_t i = 0; i < DW_GUEST_MEMORIES_MAX; i++) {
        dw_memory_image_unref(frozen->images[i]);
    }
    dw_free(frozen->contexts);
    dw_frozen_map_destroy(frozen->map);
    *frozen = (dw_frozen){.identity = ""};
}

bool dw_actor_files_hold(const dw_frozen *frozen, int32_t handle)
{
    for (size_t i = 0; i < frozen->context_count; i++) {
        if (frozen->contexts[i] == handle) {
            return true;
        }
    }
    return false;
}

static void keep_images(dw_memory_image **to, dw_memory_image *const *images)
{
    for (size_t i = 0; i < DW_GUEST_MEMORIES_MAX; i++) {
        to[i] = images[i] != NULL ? dw_memory_image_ref(images[i]) : NULL;
    }
}

static void end_saving(dw_actor *actor, bool saved)
{
    const dw_handle_table *table = dw_instance_handles(actor->instance);
    for (size_t i = 0; i < table->capacity; i++) {
        dw_context *context = dw_handle_at(table, DW_HANDLE_CONTEXT, i);
        if (context != NULL) {
            dw_kv_log_end_saving(dw_context_log(context), saved);
        }
    }
}

dw_status dw_actor_point_open(dw_frozen_point *point, dw_actor *actor, dw_error *err)
{
    const dw_handle_table *table = dw_instance_handles(actor->instance);
    DW_ASSERT(!actor->freezing && !point->open);
    point->contexts = dw_alloc(table->capacity + 1, sizeof *point->contexts);
    point->lengths = dw_alloc(table->capacity + 1, sizeof *point->lengths);
    if (point->contexts == NULL || point->lengths == NULL) {
        dw_actor_point_close(point, NULL);
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of contexts");
    }
    for (size_t i = 0; i < table->capacity; i++) {
        dw_context *context = dw_handle_at(table, DW_HANDLE_CONTEXT, i);
        if (context != NULL) {
            point->lengths[point->context_count] = dw_context_length(context);
            point->contexts[point->context_count++] =
                dw_handle_number(i, table->slots[i].generation);
            dw_kv_log_begin_saving(dw_context_log(context));
        }
    }
    keep_images(point->images, actor->images);
    point->open = true;
    actor->freezing = true;
    return DW_OK;
}

void dw_actor_note_frozen(dw_actor *actor, dw_frozen_point *point, const char *identity,
                          const char *settings)
{
    dw_frozen *frozen = &actor->frozen;
    dw_frozen_map *map = frozen->map;
    DW_ASSERT(point->open && actor->freezing);
    frozen->map = NULL;
    dw__frozen_release(frozen);
    frozen->map = map;
    frozen->contexts = point->contexts;
    frozen->context_count = point->context_count;
    memcpy(frozen->images, point->images, sizeof frozen->images);
    (void)snprintf(frozen->identity, sizeof frozen->identity, "%s", identity);
    (void)snprintf(frozen->settings, sizeof frozen->settings, "%s", settings);
    point->contexts = NULL;
    memset(point->images, 0, sizeof point->images);
    end_saving(actor, true);
}

void dw_actor_point_close(dw_frozen_point *point, dw_actor *actor)
{
    if (actor != NULL && point->open) {
        end_saving(actor, false); /* nothing more where it was noted */
        actor->freezing = false;
    }
    for (size_t i = 0; i < DW_GUEST_MEMORIES_MAX; i++) {
        dw_memory_image_unref(point->images[i]);
    }
    dw_free(point->contexts);
    dw_free(point->lengths);
    *point = (dw_frozen_point){.open = false};
}

dw_status dw__actor_inherit_frozen(dw_actor *child, const dw_actor *parent, dw_error *err)
{
    const dw_frozen *from = &parent->frozen;
    dw_frozen *to = &child->frozen;
    child->files_max = parent->files_max;
    if (from->identity[0] == '\0') {
        return DW_OK;
    }
    if (from->map != NULL) {
        dw_status status = dw_frozen_map_copy(&to->map, from->map, err);
        if (status != DW_OK) {
            return status;
        }
    }
    to->contexts = dw_alloc(from->context_count + 1, sizeof *to->contexts);
    if (to->contexts == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of contexts");
    }
    if (from->context_count > 0) {
        memcpy(to->contexts, from->contexts, from->context_count * sizeof *to->contexts);
    }
    to->context_count = from->context_count;
    keep_images(to->images, from->images);
    memcpy(to->identity, from->identity, sizeof to->identity);
    memcpy(to->settings, from->settings, sizeof to->settings);
    return DW_OK;
}

void dw_actor_log_key(const char *id, const char *identity, int32_t handle, dw_kv_key *key)
{
    *key = (dw_kv_key){.number = handle};
    (void)snprintf(key->owner, sizeof key->owner, "%s", id);
    (void)snprintf(key->state, sizeof key->state, "%s", identity);
}

void dw_actor_keep_logs(dw_actor *actor, const void *home)
{
    const dw_frozen *frozen = &actor->frozen;
    const dw_handle_table *table = dw_instance_handles(actor->instance);
    for (size_t i = 0; frozen->identity[0] != '\0' && i < table->capacity; i++) {
        dw_context *context = dw_handle_at(table, DW_HANDLE_CONTEXT, i);
        const int32_t handle = dw_handle_number(i, table->slots[i].generation);
        dw_kv_key key;
        if (context != NULL && dw_actor_files_hold(frozen, handle)) {
            dw_actor_log_key(actor->id, frozen->identity, handle, &key);
            key.home = home;
            dw_context_keep_log(context, &key);
        }
    }
}

/* ---- which file holds what ------------------------------------------------------------------ */

void dw_actor_map_files(dw_actor *actor, uint32_t files_max)
{
    actor->files_max = files_max;
}

void dw_actor_forget_files(dw_actor *actor)
{
    dw_frozen_map_destroy(actor->frozen.map);
    actor->frozen.map = NULL;
}

static int compare_numbers(const void *left, const void *right)
{
    const uint64_t *a = left;
    const uint64_t *b = right;
    return (*a > *b) - (*a < *b);
}

uint64_t dw_actor_find_series(const dw_actor *actor, uint64_t but, size_t least)
{
    const dw_frozen_map *map = actor->frozen.map;
    uint64_t *all = map != NULL ? dw_alloc(map->file_count + 1, sizeof *all) : NULL;
    size_t count = 0;
    size_t same = 0;
    uint64_t found = 0;
    if (all == NULL) {
        return 0;
    }
    for (size_t i = 0; i < map->file_count; i++) {
        const dw_frozen_file *file = &map->files[i];
        if (file->used && file->series != 0 && file->series != but) {
            all[count++] = file->series;
        }
    }
    qsort(all, count, sizeof *all, compare_numbers);
    for (size_t i = 0; i < count && found == 0; i++) {
        same = i > 0 && all[i] == all[i - 1] ? same + 1 : 1;
        found = same >= least ? all[i] : 0;
    }
    dw_free(all);
    return found;
}

void dw_actor_merge_files(dw_actor *actor, uint64_t series, uint64_t to)
{
    dw_frozen_map_merge(actor->frozen.map, series, to);
}

size_t dw_actor_file_count(const dw_actor *actor)
{
    return actor->frozen.map != NULL ? dw_frozen_map_count(actor->frozen.map) : 0;
}

uint64_t dw_actor_file_bytes(const dw_actor *actor)
{
    const dw_frozen_map *map = actor->frozen.map;
    uint64_t bytes = 0;
    for (size_t i = 0; map != NULL && i < map->file_count; i++) {
        const dw_frozen_file *file = &map->files[i];
        bytes += !file->used ? 0 : file->series != 0 ? file->series_bytes : file->bytes;
    }
    return bytes;
}

bool dw_actor_has_file(const dw_actor *actor, uint64_t number)
{
    const dw_frozen_map *map = actor->frozen.map;
    for (size_t i = 0; map != NULL && i < map->file_count; i++) {
        if (map->files[i].used && map->files[i].number == number) {
            return true;
        }
    }
    return false;
}

void dw_actor_place_file(dw_actor *actor, size_t place, uint64_t series, uint64_t bytes)
{
    dw_frozen_map *map = actor->frozen.map;
    if (map != NULL && place < map->file_count) {
        map->files[place].series = series;
        map->files[place].series_bytes = bytes;
    }
}

void dw_actor_set_series(dw_actor *actor, uint64_t number, uint64_t series, uint64_t bytes)
{
    dw_frozen_map *map = actor->frozen.map;
    for (size_t i = 0; map != NULL && i < map->file_count; i++) {
        dw_frozen_file *file = &map->files[i];
        if (file->used && file->number == number) {
            file->series = series;
            file->series_bytes = bytes;
        } else if (file->used && file->series == series) {
            file->series_bytes = 0;
        }
    }
}

uint64_t dw_actor_needed_bytes(const dw_actor *actor, uint64_t series)
{
    const dw_frozen_map *map = actor->frozen.map;
    dw_frozen_share *shares = map != NULL ? dw_alloc(map->file_count + 1, sizeof *shares) : NULL;
    uint64_t bytes = 0;
    if (shares == NULL) {
        return 0;
    }
    dw_frozen_map_shares(map, shares);
    for (size_t i = 0; i < map->file_count; i++) {
        const dw_frozen_file *file = &map->files[i];
        bytes += file->used && (file->series == series || series == 0) ? shares[i].bytes : 0;
    }
    dw_free(shares);
    return bytes;
}

void dw_actor_renumber_file(dw_actor *actor, uint64_t number, uint64_t fresh, uint64_t series)
{
    dw_frozen_map *map = actor->frozen.map;
    for (size_t i = 0; map != NULL && i < map->file_count; i++) {
        if (map->files[i].used && map->files[i].number == number) {
            map->files[i].number = fresh;
            map->files[i].series = series;
            return;
        }
    }
}

void dw_actor_number_file(dw_actor *actor, size_t place, uint64_t number, uint64_t bytes)
{
    dw_frozen_map *map = actor->frozen.map;
    if (map != NULL && place < map->file_count) {
        map->files[place].number = number;
        map->files[place].bytes = bytes;
    }
}

void dw_actor_number_newest(dw_actor *actor, uint64_t number)
{
    dw_frozen_map *map = actor->frozen.map;
    if (map != NULL) {
        map->files[map->newest].number = number;
    }
}

dw_status dw_actor_drop_files(dw_actor *actor, uint64_t **numbers, size_t *count, dw_error *err)
{
    *numbers = NULL;
    *count = 0;
    return actor->frozen.map != NULL ? dw_frozen_map_drop(actor->frozen.map, numbers, count, err)
                                     : DW_OK;
}
