#include "actor/frozen_map.h"

#include <string.h>

#include "base/array.h"
#include "memory/memory_image.h"

/* What settings take in a file, about. */
#define SETTINGS_BYTES 1024u

static dw_status no_memory(dw_error *err)
{
    return dw_fail(err, DW_E_MEMORY, "no memory for a list of what files hold");
}

dw_status dw_frozen_map_create(dw_frozen_map **out, dw_error *err)
{
    *out = dw_alloc(1, sizeof **out);
    if (*out == NULL) {
        return no_memory(err);
    }
    (*out)->settings = DW_FROZEN_NONE;
    return DW_OK;
}

void dw_frozen_map_destroy(dw_frozen_map *map)
{
    if (map == NULL) {
        return;
    }
    for (size_t i = 0; i < DW_GUEST_MEMORIES_MAX; i++) {
        dw_free(map->memories[i].files);
    }
    for (size_t i = 0; i < map->log_count; i++) {
        dw_free(map->logs[i].parts);
    }
    dw_free(map->logs);
    dw_free(map->files);
    dw_free(map);
}

/* A copy of `count` of them in `*to`, which has room for as many; none where there are none. */
static bool copy_list(void **to, size_t *capacity, const void *from, size_t count, size_t bytes)
{
    *to = NULL;
    *capacity = 0;
    if (count == 0) {
        return true;
    }
    *to = dw_alloc(count, bytes);
    if (*to == NULL) {
        return false;
    }
    memcpy(*to, from, count * bytes);
    *capacity = count;
    return true;
}

static bool copy_logs(dw_frozen_map *to, const dw_frozen_map *from)
{
    to->logs = dw_alloc(from->log_count + 1, sizeof *to->logs);
    to->log_capacity = from->log_count + 1;
    for (size_t i = 0; to->logs != NULL && i < from->log_count; i++) {
        const dw_frozen_log *log = &from->logs[i];
        dw_frozen_log *own = &to->logs[to->log_count++];
        void *parts;
        *own = *log;
        own->parts = NULL;
        if (!copy_list(&parts, &own->capacity, log->parts, log->count, sizeof *log->parts)) {
            own->count = 0;
            return false;
        }
        own->parts = parts;
    }
    return to->logs != NULL;
}

dw_status dw_frozen_map_copy(dw_frozen_map **out, const dw_frozen_map *from, dw_error *err)
{
    dw_frozen_map *map = NULL;
    void *list = NULL;
    *out = NULL;
    dw_status status = dw_frozen_map_create(&map, err);
    if (status != DW_OK) {
        return status;
    }
    bool copied =
        copy_list(&list, &map->file_capacity, from->files, from->file_count, sizeof *from->files);
    map->files = list;
    map->file_count = copied ? from->file_count : 0;
    map->settings = from->settings;
    map->used_end = from->used_end;
    for (size_t i = 0; copied && i < DW_GUEST_MEMORIES_MAX; i++) {
        const dw_frozen_blocks *blocks = &from->memories[i];
        dw_frozen_blocks *own = &map->memories[i];
        copied =
            copy_list(&list, &own->capacity, blocks->files, blocks->count, sizeof *blocks->files);
        own->files = list;
        own->count = copied ? blocks->count : 0;
    }
    if (!copied || !copy_logs(map, from)) {
        dw_frozen_map_destroy(map);
        return no_memory(err);
    }
    *out = map;
    return DW_OK;
}

dw_status dw_frozen_map_add_file(dw_frozen_map *map, uint64_t bytes, uint32_t *file, dw_error *err)
{
    size_t place = map->used_end;
    while (place < map->file_count && map->files[place].used) {
        place++;
    }
    if (place == DW_FROZEN_FILES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "more than %u files of an actor", DW_FROZEN_FILES_MAX);
    }
    if (!DW_ARRAY_RESERVE(map->files, map->file_capacity, place + 1, DW_FROZEN_FILES_MAX)) {
        return no_memory(err);
    }
    map->file_count = place < map->file_count ? map->file_count : place + 1;
    map->files[place] = (dw_frozen_file){.used = true, .bytes = bytes};
    map->used_end = place + 1;
    *file = (uint32_t)place;
    return DW_OK;
}

/* ---- blocks -------------------------------------------------------------------------------- */

dw_status dw_frozen_map_set_block(dw_frozen_map *map, size_t memory, size_t block, uint32_t file,
                                  dw_error *err)
{
    dw_frozen_blocks *blocks = &map->memories[memory];
    if (block >= blocks->count) {
        if (!DW_ARRAY_RESERVE(blocks->files, blocks->capacity, block + 1, UINT32_MAX)) {
            return no_memory(err);
        }
        memset(blocks->files + blocks->count, 0,
               (block + 1 - blocks->count) * sizeof *blocks->files);
        blocks->count = block + 1;
    }
    if (blocks->files[block] != 0) {
        map->files[blocks->files[block] - 1].blocks--;
    }
    blocks->files[block] = file + 1;
    map->files[file].blocks++;
    return DW_OK;
}

uint32_t dw_frozen_map_block(const dw_frozen_map *map, size_t memory, size_t block)
{
    const dw_frozen_blocks *blocks = &map->memories[memory];
    return block < blocks->count && blocks->files[block] != 0 ? blocks->files[block] - 1u
                                                              : DW_FROZEN_NONE;
}

/* ---- logs ---------------------------------------------------------------------------------- */

dw_frozen_log *dw_frozen_map_log(const dw_frozen_map *map, int32_t handle)
{
    for (size_t i = 0; i < map->log_count; i++) {
        if (map->logs[i].handle == handle) {
            return &map->logs[i];
        }
    }
    return NULL;
}

/* Room for `more` parts from the place `at` on. */
static bool open_gap(dw_frozen_log *log, size_t at, size_t more)
{
    if (!DW_ARRAY_RESERVE(log->parts, log->capacity, log->count + more, SIZE_MAX)) {
        return false;
    }
    memmove(log->parts + at + more, log->parts + at, (log->count - at) * sizeof *log->parts);
    log->count += more;
    return true;
}

static bool put_part(dw_frozen_log *log, const dw_frozen_part *part)
{
    size_t first = log->count; /* the first that ends behind part->from; most come last */
    while (first > 0 && log->parts[first - 1].end > part->from) {
        first--;
    }
    size_t at = first;
    if (at < log->count && log->parts[at].from < part->from) {
        const dw_frozen_part before = log->parts[at];
        if (before.end > part->end) { /* it goes on behind the new one */
            if (!open_gap(log, at, 2)) {
                return false;
            }
            log->parts[at] = (dw_frozen_part){before.from, part->from, before.file};
            log->parts[at + 1] = *part;
            log->parts[at + 2] = (dw_frozen_part){part->end, before.end, before.file};
            return true;
        }
        log->parts[at].end = part->from;
        at++;
    }
    size_t end = at;
    while (end < log->count && log->parts[end].end <= part->end) {
        end++;
    }
    if (end < log->count && log->parts[end].from < part->end) {
        log->parts[end].from = part->end;
    }
    if (end == at) {
        if (!open_gap(log, at, 1)) {
            return false;
        }
    } else {
        memmove(log->parts + at + 1, log->parts + end, (log->count - end) * sizeof *log->parts);
        log->count -= end - at - 1;
    }
    log->parts[at] = *part;
    return true;
}

dw_status dw_frozen_map_add_part(dw_frozen_map *map, int32_t handle, uint64_t record_bytes,
                                 const dw_frozen_part *part, dw_error *err)
{
    dw_frozen_log *log = dw_frozen_map_log(map, handle);
    if (log == NULL) {
        if (!DW_ARRAY_RESERVE(map->logs, map->log_capacity, map->log_count + 1, SIZE_MAX)) {
            return no_memory(err);
        }
        log = &map->logs[map->log_count++];
        *log = (dw_frozen_log){.handle = handle};
    }
    log->record_bytes = record_bytes;
    return part->from >= part->end || put_part(log, part) ? DW_OK : no_memory(err);
}

void dw_frozen_map_cut(dw_frozen_map *map, int32_t handle, uint64_t end)
{
    dw_frozen_log *log = dw_frozen_map_log(map, handle);
    while (log != NULL && log->count > 0 && log->parts[log->count - 1].end > end) {
        dw_frozen_part *last = &log->parts[log->count - 1];
        last->end = end;
        log->count -= last->from >= end;
    }
}

void dw_frozen_map_keep(dw_frozen_map *map, const int32_t *handles, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->log_count; i++) {
        bool found = false;
        for (size_t k = 0; k < count && !found; k++) {
            found = handles[k] == map->logs[i].handle;
        }
        if (found) {
            map->logs[kept++] = map->logs[i];
        } else {
            dw_free(map->logs[i].parts);
        }
    }
    map->log_count = kept;
}

/* ---- what files hold ------------------------------------------------------------------------ */

void dw_frozen_map_shares(const dw_frozen_map *map, dw_frozen_share *shares)
{
    for (size_t i = 0; i < map->file_count; i++) {
        shares[i] = (dw_frozen_share){.bytes = map->files[i].blocks * DW_IMAGE_BLOCK_BYTES};
    }
    for (size_t i = 0; i < map->log_count; i++) {
        const dw_frozen_log *log = &map->logs[i];
        for (size_t k = 0; k < log->count; k++) {
            shares[log->parts[k].file].bytes += log->parts[k].end - log->parts[k].from;
        }
    }
    if (map->settings != DW_FROZEN_NONE) {
        dw_frozen_share *of = &shares[map->settings];
        of->settings_alone = of->bytes == 0;
        of->bytes += SETTINGS_BYTES;
    }
}

dw_status dw_frozen_map_look(dw_frozen_map *map, dw_error *err)
{
    dw_frozen_share *shares = dw_alloc(map->file_count + 1, sizeof *shares);
    if (shares == NULL) {
        return no_memory(err);
    }
    dw_frozen_map_shares(map, shares);
    for (size_t i = 0; i < map->file_count; i++) {
        map->files[i].idle = map->files[i].used && i != map->newest && shares[i].bytes == 0;
    }
    dw_free(shares);
    return DW_OK;
}

static void let_go(dw_frozen_map *map, size_t file)
{
    map->files[file].used = false;
    map->used_end = file < map->used_end ? file : map->used_end;
}

/* What its series takes is another's of it to know. */
static void hand_on(dw_frozen_map *map, const dw_frozen_file *gone)
{
    for (size_t i = 0; gone->series_bytes > 0 && i < map->file_count; i++) {
        dw_frozen_file *file = &map->files[i];
        if (file->used && file->series == gone->series) {
            file->series_bytes = gone->series_bytes;
            return;
        }
    }
}

dw_status dw_frozen_map_drop(dw_frozen_map *map, uint64_t **numbers, size_t *count, dw_error *err)
{
    dw_frozen_share *shares = dw_alloc(map->file_count + 1, sizeof *shares);
    uint64_t *list = dw_alloc(map->file_count + 1, sizeof *list);
    *count = 0;
    *numbers = list;
    if (shares == NULL || list == NULL) {
        dw_free(shares);
        dw_free(list);
        *numbers = NULL;
        return no_memory(err);
    }
    dw_frozen_map_shares(map, shares);
    for (size_t i = 0; i < map->file_count; i++) {
        dw_frozen_file *file = &map->files[i];
        const bool idle = file->used && i != map->newest && shares[i].bytes == 0;
        if (idle && file->idle) {
            list[(*count)++] = file->number;
            let_go(map, i);
            hand_on(map, file);
        }
        file->idle = idle;
    }
    dw_free(shares);
    return DW_OK;
}

/* Parts side by side of one file are one. */
static void join_parts(dw_frozen_log *log)
{
    size_t kept = 0;
    for (size_t i = 0; i < log->count; i++) {
        dw_frozen_part *last = kept > 0 ? &log->parts[kept - 1] : NULL;
        if (last != NULL && last->file == log->parts[i].file && last->end == log->parts[i].from) {
            last->end = log->parts[i].end;
        } else {
            log->parts[kept++] = log->parts[i];
        }
    }
    log->count = kept;
}

static bool goes_into(const dw_frozen_file *file, uint64_t series, uint64_t to)
{
    return file->used && file->series == series && file->number <= to;
}

void dw_frozen_map_merge(dw_frozen_map *map, uint64_t series, uint64_t to)
{
    size_t target = map->file_count;
    for (size_t i = 0; i < map->file_count; i++) {
        target = goes_into(&map->files[i], series, to) && map->files[i].number == to ? i : target;
    }
    DW_ASSERT(target < map->file_count && series != 0);
    for (size_t m = 0; m < DW_GUEST_MEMORIES_MAX; m++) {
        dw_frozen_blocks *blocks = &map->memories[m];
        for (size_t i = 0; i < blocks->count; i++) {
            if (blocks->files[i] != 0 && goes_into(&map->files[blocks->files[i] - 1], series, to)) {
                blocks->files[i] = (uint32_t)target + 1;
            }
        }
    }
    for (size_t i = 0; i < map->log_count; i++) {
        dw_frozen_log *log = &map->logs[i];
        for (size_t k = 0; k < log->count; k++) {
            const bool goes = goes_into(&map->files[log->parts[k].file], series, to);
            log->parts[k].file = goes ? (uint32_t)target : log->parts[k].file;
        }
        join_parts(log);
    }
    if (map->settings != DW_FROZEN_NONE && goes_into(&map->files[map->settings], series, to)) {
        map->settings = (uint32_t)target;
    }
    dw_frozen_file *into = &map->files[target];
    into->idle = false;
    for (size_t i = 0; i < map->file_count; i++) {
        dw_frozen_file *file = &map->files[i];
        if (i != target && goes_into(file, series, to)) {
            DW_ASSERT(i != map->newest);
            into->bytes += file->bytes;
            into->blocks += file->blocks;
            into->series_bytes += file->series_bytes;
            let_go(map, i);
        }
    }
}

size_t dw_frozen_map_count(const dw_frozen_map *map)
{
    size_t count = 0;
    for (size_t i = 0; i < map->file_count; i++) {
        count += map->files[i].used;
    }
    return count;
}
