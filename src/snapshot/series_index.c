/* Indexes of series: made of snapshots' headers, as bytes, and read again. */
#include "snapshot/series_index.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "memory/memory_image.h"
#include "snapshot/snapshot_file.h"
#include "snapshot/snapshot_parts_internal.h"

/* The head: mark, version, and the hash of all that follows these. */
#define MARK 0x49535744u /* "DWSI" */
#define VERSION 1u
#define HASHED_FROM 24u
#define MODULE_CHARS 64u
#define SETTINGS_BYTES_MAX (16u << 20)

struct dw_series_index {
    _Atomic size_t users;
    unsigned char *bytes; /* [count] */
    size_t count;
    dw_series_contents contents;
};

/* ---- lifetimes ------------------------------------------------------------------------------ */

static void release_contents(dw_series_contents *contents)
{
    for (size_t i = 0; i < contents->memory_count; i++) {
        dw_free(contents->memories[i].runs);
    }
    for (size_t i = 0; i < contents->log_count; i++) {
        dw_free(contents->logs[i].pieces);
    }
    dw_free(contents->memories);
    dw_free(contents->logs);
    dw_free(contents->places);
    dw_free(contents->settings);
}

dw_series_index *dw_series_index_ref(dw_series_index *index)
{
    (void)atomic_fetch_add(&index->users, 1);
    return index;
}

void dw_series_index_unref(dw_series_index *index)
{
    if (index == NULL || atomic_fetch_sub(&index->users, 1) != 1) {
        return;
    }
    release_contents(&index->contents);
    dw_free(index->bytes);
    dw_free(index);
}

const void *dw_series_index_bytes(const dw_series_index *index, size_t *count)
{
    *count = index->count;
    return index->bytes;
}

const dw_series_contents *dw_series_index_contents(const dw_series_index *index)
{
    return &index->contents;
}

static dw_status no_memory(dw_error *err)
{
    return dw_fail(err, DW_E_MEMORY, "no memory for an index of snapshots");
}

/* ---- as bytes ------------------------------------------------------------------------------- */

typedef struct text {
    unsigned char *bytes; /* [capacity] */
    size_t count;
    size_t capacity;
    bool lost; /* for want of memory */
} text;

static void put(text *to, const void *bytes, size_t count)
{
    if (to->lost || !DW_ARRAY_RESERVE(to->bytes, to->capacity, to->count + count, SIZE_MAX)) {
        to->lost = true;
        return;
    }
    if (count > 0) {
        memcpy(to->bytes + to->count, bytes, count);
    }
    to->count += count;
}

static void put_number(text *to, uint64_t value, size_t bytes)
{
    unsigned char own[8];
    for (size_t i = 0; i < bytes; i++) {
        own[i] = (unsigned char)(value >> 8 * i);
    }
    put(to, own, bytes);
}

static void put_logs(text *to, const dw_series_contents *contents)
{
    for (size_t i = 0; i < contents->log_count; i++) {
        const dw_series_log *log = &contents->logs[i];
        put_number(to, (uint32_t)log->handle, 4);
        put_number(to, log->tokens, 4);
        put_number(to, log->count, 4);
        for (size_t k = 0; k < log->count; k++) {
            put_number(to, log->pieces[k].from, 8);
            put_number(to, log->pieces[k].end, 8);
            put_number(to, log->pieces[k].offset, 8);
        }
    }
}

/* The contents as bytes. false: no memory. */
static bool write_contents(text *to, const dw_series_contents *contents)
{
    const size_t settings = contents->settings != NULL ? strlen(contents->settings) : 0;
    uint8_t hash[DW_HASH128_BYTES] = {0};
    put_number(to, MARK, 4);
    put_number(to, VERSION, 4);
    put(to, hash, sizeof hash);
    put(to, contents->module, MODULE_CHARS);
    put_number(to, contents->place_count, 4);
    put_number(to, settings, 4);
    put_number(to, contents->memory_count, 4);
    put_number(to, contents->log_count, 4);
    for (size_t i = 0; i < contents->place_count; i++) {
        put_number(to, contents->places[i].begin, 8);
        put_number(to, contents->places[i].bytes, 8);
    }
    put(to, contents->settings, settings);
    for (size_t i = 0; i < contents->memory_count; i++) {
        const dw_series_memory *memory = &contents->memories[i];
        put_number(to, memory->number, 4);
        put_number(to, memory->count, 4);
        for (size_t k = 0; k < memory->count; k++) {
            put_number(to, memory->runs[k].first, 4);
            put_number(to, memory->runs[k].count, 4);
            put_number(to, memory->runs[k].offset, 8);
        }
    }
    put_logs(to, contents);
    if (!to->lost) {
        dw_hash128_of(hash, to->bytes + HASHED_FROM, to->count - HASHED_FROM);
        memcpy(to->bytes + 8, hash, sizeof hash);
    }
    return !to->lost;
}

/* ---- made of snapshots ---------------------------------------------------------------------- */

/* A block that a snapshot has; `age` 0: the newest. */
typedef struct block {
    uint32_t memory;
    uint32_t number;
    uint64_t age;
    uint64_t offset;
} block;

typedef struct log_search {
    int32_t handle;
    bool tokens;
    dw__pieces pieces;
} log_search;

typedef struct making {
    const char *const *paths;      /* [count] */
    const char *const *identities; /* [count] */
    size_t count;
    dw_series_contents *contents;
    block *blocks; /* [block_count] */
    size_t block_count;
    size_t block_capacity;
    log_search *logs; /* [log_count] */
    size_t log_count;
    size_t log_capacity;
    uint64_t age; /* of the snapshot at hand */
} making;

static dw_status add_block(making *m, const block *one, dw_error *err)
{
    if (!DW_ARRAY_RESERVE(m->blocks, m->block_capacity, m->block_count + 1, SIZE_MAX)) {
        return no_memory(err);
    }
    m->blocks[m->block_count++] = *one;
    return DW_OK;
}

static dw_status add_memory(making *m, const dw_snapshot_file *file, size_t number, dw_error *err)
{
    const dw_snapshot_entry *blocks = NULL;
    const dw_snapshot_entry *data = NULL;
    dw_status status = dw__memory_find_delta(file, number, &blocks, &data, err);
    if (status != DW_OK || blocks == NULL) {
        return status;
    }
    const size_t count = (size_t)blocks->shape[0];
    uint32_t *list = dw_alloc(count + 1, sizeof *list);
    status = list != NULL ? dw_snapshot_file_read(file, blocks, 0, count * sizeof *list, list, err)
                          : no_memory(err);
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        const block one = {.memory = (uint32_t)number,
                           .number = list[i],
                           .age = m->age,
                           .offset = dw_snapshot_file_begin(file) + data->offset +
                                     (uint64_t)i * DW_IMAGE_BLOCK_BYTES};
        status = add_block(m, &one, err);
    }
    dw_free(list);
    return status;
}

static log_search *log_of(making *m, int32_t handle, bool tokens)
{
    for (size_t i = 0; i < m->log_count; i++) {
        if (m->logs[i].handle == handle && m->logs[i].tokens == tokens) {
            return &m->logs[i];
        }
    }
    if (!DW_ARRAY_RESERVE(m->logs, m->log_capacity, m->log_count + 1, SIZE_MAX)) {
        return NULL;
    }
    log_search *log = &m->logs[m->log_count++];
    *log = (log_search){.handle = handle,
                        .tokens = tokens,
                        .pieces = {.limit = UINT64_MAX, .unit = tokens ? sizeof(int32_t) : 1}};
    return log;
}

/* `kv.H`, `kv.H.F`, `tokens.H`, `tokens.H.F`; others are of the newest snapshot alone. */
static dw_status add_logs(making *m, const dw_snapshot_file *file, const char *start, bool tokens,
                          dw_error *err)
{
    const size_t length = strlen(start);
    const dw_snapshot_entry *entry;
    dw_status status = DW_OK;
    for (size_t i = dw_snapshot_file_first(file, start);
         (entry = dw_snapshot_file_by_name(file, i)) != NULL &&
         strncmp(entry->name, start, length) == 0 && status == DW_OK;
         i++) {
        char *end = NULL;
        const long handle = strtol(entry->name + length, &end, 10);
        dw__piece part = {.offset = dw_snapshot_file_begin(file) + entry->offset};
        if (end == entry->name + length || handle < 0 || handle > INT32_MAX ||
            (*end != '\0' && !dw__part_number(end, &part.from))) {
            continue;
        }
        log_search *log = log_of(m, (int32_t)handle, tokens);
        if (log == NULL) {
            return no_memory(err);
        }
        part.end = part.from + entry->bytes / log->pieces.unit;
        status = dw__pieces_add(&log->pieces, &part, err);
    }
    return status;
}

/* The settings are those of the newest that has some; all are of one module. */
static dw_status add_meta(making *m, const dw_snapshot_file *file, dw_error *err)
{
    const char *module = dw_snapshot_file_meta(file, DW__META_MODULE);
    const char *settings = dw_snapshot_file_meta(file, DW__META_SETTINGS);
    dw_series_contents *contents = m->contents;
    if (!dw__thaw_is_delta(file) || !dw_snapshot_file_closely(file) || module == NULL ||
        strlen(module) != MODULE_CHARS ||
        (contents->module[0] != '\0' && strcmp(contents->module, module) != 0)) {
        return dw_fail(err, DW_E_FORMAT, "an index is of deltas of one module");
    }
    memcpy(contents->module, module, MODULE_CHARS + 1);
    if (settings == NULL || contents->settings != NULL) {
        return DW_OK;
    }
    contents->settings = dw_strdup(settings);
    return contents->settings != NULL ? DW_OK : no_memory(err);
}

static dw_status add_snapshot(making *m, size_t index, const dw_snapshot_file *file, dw_error *err)
{
    m->contents->places[index] = (dw_series_place){.begin = dw_snapshot_file_begin(file),
                                                   .bytes = dw_snapshot_file_bytes(file)};
    dw_status status = add_meta(m, file, err);
    for (size_t i = 0; i < DW_GUEST_MEMORIES_MAX && status == DW_OK; i++) {
        status = add_memory(m, file, i, err);
    }
    if (status == DW_OK) {
        status = add_logs(m, file, "kv.", false, err);
    }
    return status == DW_OK ? add_logs(m, file, "tokens.", true, err) : status;
}

/* The newest first, so that what is older adds what they lack. */
static dw_status read_snapshots(making *m, dw_error *err)
{
    dw_snapshot_file *before = NULL;
    dw_status status = DW_OK;
    for (size_t i = m->count; i > 0 && status == DW_OK; i--) {
        dw_snapshot_file *file = NULL;
        const dw_snapshot_known known = {.beside = before};
        status = dw_snapshot_file_open_known(&file, m->paths[i - 1], 0, &known, err);
        if (status == DW_OK) {
            status = dw_snapshot_file_check_identity(file, m->identities[i - 1], err);
        }
        if (status == DW_OK) {
            status = add_snapshot(m, i - 1, file, err);
        }
        dw_snapshot_file_close(before);
        before = file;
        m->age++;
    }
    dw_snapshot_file_close(before);
    return status;
}

static int compare_blocks(const void *left, const void *right)
{
    const block *a = left;
    const block *b = right;
    if (a->memory != b->memory) {
        return a->memory < b->memory ? -1 : 1;
    }
    if (a->number != b->number) {
        return a->number < b->number ? -1 : 1;
    }
    return (a->age > b->age) - (a->age < b->age);
}

/* [first, end) of the sorted blocks are one memory's. */
static dw_status make_runs(const making *m, size_t first, size_t end, dw_error *err)
{
    dw_series_memory *memory = &m->contents->memories[m->contents->memory_count++];
    const block *before = NULL;
    dw_series_run *runs = dw_alloc(end - first, sizeof *runs);
    *memory = (dw_series_memory){.number = m->blocks[first].memory, .runs = runs};
    if (runs == NULL) {
        return no_memory(err);
    }
    for (size_t i = first; i < end; i++) {
        const block *one = &m->blocks[i];
        dw_series_run *last = memory->count > 0 ? &runs[memory->count - 1] : NULL;
        if (before != NULL && before->number == one->number) {
            continue;
        }
        if (last != NULL && last->first + last->count == one->number &&
            last->offset + (uint64_t)last->count * DW_IMAGE_BLOCK_BYTES == one->offset) {
            last->count++;
        } else {
            runs[memory->count++] = (dw_series_run){one->number, 1, one->offset};
        }
        before = one;
    }
    return DW_OK;
}

static dw_status make_memories(making *m, dw_error *err)
{
    dw_status status = DW_OK;
    m->contents->memories = dw_alloc(DW_GUEST_MEMORIES_MAX, sizeof *m->contents->memories);
    if (m->contents->memories == NULL) {
        return no_memory(err);
    }
    if (m->block_count > 0) {
        qsort(m->blocks, m->block_count, sizeof *m->blocks, compare_blocks);
    }
    for (size_t first = 0; first < m->block_count && status == DW_OK;) {
        size_t end = first;
        while (end < m->block_count && m->blocks[end].memory == m->blocks[first].memory) {
            end++;
        }
        status = make_runs(m, first, end, err);
        first = end;
    }
    return status;
}

static dw_status make_logs(making *m, dw_error *err)
{
    dw_series_contents *contents = m->contents;
    contents->logs = dw_alloc(m->log_count + 1, sizeof *contents->logs);
    if (contents->logs == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < m->log_count; i++) {
        log_search *log = &m->logs[i];
        if (log->pieces.count == 0 || log->pieces.count > UINT32_MAX) {
            continue;
        }
        contents->logs[contents->log_count++] =
            (dw_series_log){.handle = log->handle,
                            .tokens = log->tokens,
                            .count = (uint32_t)log->pieces.count,
                            .pieces = log->pieces.list};
        log->pieces = (dw__pieces){.limit = 0};
    }
    return DW_OK;
}

static dw_status make_contents(making *m, dw_error *err)
{
    m->contents->places = dw_alloc(m->count + 1, sizeof *m->contents->places);
    if (m->contents->places == NULL) {
        return no_memory(err);
    }
    m->contents->place_count = m->count;
    dw_status status = read_snapshots(m, err);
    if (status == DW_OK) {
        status = make_memories(m, err);
    }
    return status == DW_OK ? make_logs(m, err) : status;
}

dw_status dw_series_index_create(dw_series_index **out, const char *const *paths,
                                 const char *const *identities, size_t count, dw_error *err)
{
    text bytes = {.count = 0};
    *out = NULL;
    dw_series_index *index = dw_alloc(1, sizeof *index);
    if (index == NULL) {
        return no_memory(err);
    }
    making m = {
        .paths = paths, .identities = identities, .count = count, .contents = &index->contents};
    index->users = 1;
    dw_status status = make_contents(&m, err);
    if (status == DW_OK && !write_contents(&bytes, &index->contents)) {
        status = no_memory(err);
    }
    for (size_t i = 0; i < m.log_count; i++) {
        dw__pieces_release(&m.logs[i].pieces);
    }
    dw_free(m.logs);
    dw_free(m.blocks);
    index->bytes = bytes.bytes;
    index->count = bytes.count;
    if (status != DW_OK) {
        dw_series_index_unref(index);
        return status;
    }
    *out = index;
    return DW_OK;
}

/* ---- read ----------------------------------------------------------------------------------- */

typedef struct reader {
    const unsigned char *bytes; /* [count] */
    size_t count;
    size_t at;
} reader;

static uint64_t get(reader *r, size_t bytes)
{
    uint64_t value = 0;
    if (bytes > r->count - r->at) {
        r->at = r->count;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++) {
        value |= (uint64_t)r->bytes[r->at + i] << 8 * i;
    }
    r->at += bytes;
    return value;
}

static dw_status damaged(const reader *r, dw_error *err)
{
    return dw_fail(err, DW_E_FORMAT, "an index of snapshots is damaged, at byte %zu of %zu", r->at,
                   r->count);
}

/* Room for so many items, that take `bytes` each of what is left to read. */
static dw_status room(const reader *r, void *list, uint64_t count, size_t bytes, size_t item,
                      dw_error *err)
{
    if (count > (r->count - r->at) / bytes) {
        return damaged(r, err);
    }
    void *items = dw_alloc((size_t)count + 1, item);
    memcpy(list, &items, sizeof items);
    return items != NULL ? DW_OK : no_memory(err);
}

static dw_status read_places(reader *r, dw_series_contents *contents, uint64_t count, dw_error *err)
{
    dw_status status = room(r, &contents->places, count, 16, sizeof *contents->places, err);
    for (uint64_t i = 0; i < count && status == DW_OK; i++) {
        dw_series_place *place = &contents->places[contents->place_count++];
        place->begin = get(r, 8);
        place->bytes = get(r, 8);
    }
    return status;
}

static dw_status read_settings(reader *r, dw_series_contents *contents, uint64_t bytes,
                               dw_error *err)
{
    if (bytes == 0) {
        return DW_OK;
    }
    if (bytes > SETTINGS_BYTES_MAX || bytes > r->count - r->at) {
        return damaged(r, err);
    }
    contents->settings = dw_alloc((size_t)bytes + 1, 1);
    if (contents->settings == NULL) {
        return no_memory(err);
    }
    memcpy(contents->settings, r->bytes + r->at, (size_t)bytes);
    r->at += (size_t)bytes;
    return DW_OK;
}

static dw_status read_memory(reader *r, dw_series_memory *memory, dw_error *err)
{
    uint64_t end = 0;
    memory->number = (uint32_t)get(r, 4);
    const uint64_t count = get(r, 4);
    dw_status status = room(r, &memory->runs, count, 16, sizeof *memory->runs, err);
    for (uint64_t i = 0; i < count && status == DW_OK; i++) {
        dw_series_run *run = &memory->runs[memory->count++];
        run->first = (uint32_t)get(r, 4);
        run->count = (uint32_t)get(r, 4);
        run->offset = get(r, 8);
        if (run->first < end || run->count == 0) {
            return damaged(r, err);
        }
        end = (uint64_t)run->first + run->count;
    }
    return status;
}

static dw_status read_log(reader *r, dw_series_log *log, dw_error *err)
{
    uint64_t before = UINT64_MAX;
    log->handle = (int32_t)get(r, 4);
    log->tokens = get(r, 4) != 0;
    const uint64_t count = get(r, 4);
    dw_status status = room(r, &log->pieces, count, 24, sizeof *log->pieces, err);
    for (uint64_t i = 0; i < count && status == DW_OK; i++) {
        dw__piece *piece = &log->pieces[log->count++];
        piece->from = get(r, 8);
        piece->end = get(r, 8);
        piece->offset = get(r, 8);
        if (piece->from >= piece->end || piece->end > before) {
            return damaged(r, err);
        }
        before = piece->from;
    }
    return status;
}

static dw_status read_contents(reader *r, dw_series_contents *contents, dw_error *err)
{
    uint8_t hash[DW_HASH128_BYTES];
    if (r->count < HASHED_FROM + MODULE_CHARS || get(r, 4) != MARK || get(r, 4) != VERSION) {
        return damaged(r, err);
    }
    dw_hash128_of(hash, r->bytes + HASHED_FROM, r->count - HASHED_FROM);
    if (memcmp(hash, r->bytes + r->at, sizeof hash) != 0) {
        return damaged(r, err);
    }
    memcpy(contents->module, r->bytes + HASHED_FROM, MODULE_CHARS);
    if (strspn(contents->module, "0123456789abcdef") != MODULE_CHARS) {
        return damaged(r, err);
    }
    r->at = HASHED_FROM + MODULE_CHARS;
    const uint64_t places = get(r, 4);
    const uint64_t settings = get(r, 4);
    const uint64_t memories = get(r, 4);
    const uint64_t logs = get(r, 4);
    dw_status status = read_places(r, contents, places, err);
    if (status == DW_OK) {
        status = read_settings(r, contents, settings, err);
    }
    if (status == DW_OK) {
        status = room(r, &contents->memories, memories, 8, sizeof *contents->memories, err);
    }
    for (uint64_t i = 0; i < memories && status == DW_OK; i++) {
        status = read_memory(r, &contents->memories[contents->memory_count++], err);
    }
    if (status == DW_OK) {
        status = room(r, &contents->logs, logs, 12, sizeof *contents->logs, err);
    }
    for (uint64_t i = 0; i < logs && status == DW_OK; i++) {
        status = read_log(r, &contents->logs[contents->log_count++], err);
    }
    return status == DW_OK && r->at != r->count ? damaged(r, err) : status;
}

dw_status dw_series_index_read(dw_series_index **out, const void *bytes, size_t count,
                               dw_error *err)
{
    *out = NULL;
    dw_series_index *index = dw_alloc(1, sizeof *index);
    if (index == NULL) {
        return no_memory(err);
    }
    index->users = 1;
    index->bytes = dw_alloc(count + 1, 1);
    index->count = index->bytes != NULL ? count : 0;
    if (index->bytes == NULL) {
        dw_series_index_unref(index);
        return no_memory(err);
    }
    if (count > 0) {
        memcpy(index->bytes, bytes, count);
    }
    reader r = {.bytes = index->bytes, .count = count};
    dw_status status = read_contents(&r, &index->contents, err);
    if (status != DW_OK) {
        dw_series_index_unref(index);
        return status;
    }
    *out = index;
    return DW_OK;
}
