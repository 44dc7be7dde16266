/* Linear memories in snapshots: whole, or in deltas the blocks that changed. */
#include <stdio.h>

#include "base/alloc.h"
#include "snapshot/snapshot_parts_internal.h"
#include "wasm/instance_state.h"

/* So many blocks of a delta begin where they can be mapped. */
#define MAPPED_BLOCKS 64u

static void memory_name(char *name, size_t capacity, size_t number, const char *part)
{
    if (number == 0) {
        (void)snprintf(name, capacity, "memory%s", part);
    } else {
        (void)snprintf(name, capacity, "memory.%zu%s", number, part);
    }
}

/* ---- saving ------------------------------------------------------------------------------- */

/* Blocks of an image, one behind the other, as a tensor's bytes. */
typedef struct block_source {
    const dw_memory_image *image;
    const dw_block_run *runs; /* [run_count] */
    size_t run_count;
    size_t run;            /* the one that was read last: reads go through them in order */
    uint64_t run_position; /* of its first block among the tensor's bytes */
} block_source;

static dw_status read_blocks(void *user, uint64_t offset, size_t bytes, void *to, dw_error *err)
{
    block_source *s = user;
    unsigned char *next = to;
    if (offset < s->run_position) { /* once more from the start */
        s->run = 0;
        s->run_position = 0;
    }
    dw_status status = DW_OK;
    while (bytes > 0 && status == DW_OK) {
        DW_ASSERT(s->run < s->run_count);
        uint64_t run_bytes = (uint64_t)s->runs[s->run].count * DW_IMAGE_BLOCK_BYTES;
        uint64_t skipped = offset - s->run_position;
        if (skipped >= run_bytes) {
            s->run_position += run_bytes;
            s->run++;
            continue;
        }
        size_t some = run_bytes - skipped < bytes ? (size_t)(run_bytes - skipped) : bytes;
        size_t start = (size_t)s->runs[s->run].first * DW_IMAGE_BLOCK_BYTES + (size_t)skipped;
        status = dw_memory_image_read(s->image, start, some, next, err);
        next += some;
        offset += some;
        bytes -= some;
    }
    return status;
}

/* The tensor `memory.data`: the blocks of `runs`, which the freeze keeps. */
static dw_status add_data(dw__freeze *f, size_t number, const dw_block_run *runs, size_t run_count,
                          bool aligned, dw_error *err)
{
    char name[DW__NAME_BYTES];
    uint64_t count = 0;
    for (size_t i = 0; i < run_count; i++) {
        count += runs[i].count;
    }
    block_source *source = dw_alloc(1, sizeof *source);
    if (source == NULL) {
        return dw__freeze_no_memory(err);
    }
    *source =
        (block_source){.image = f->point.images[number], .runs = runs, .run_count = run_count};
    dw_status status = dw__freeze_keep(f, source, err);
    if (status != DW_OK) {
        return status;
    }
    dw_snapshot_tensor tensor = {.name = name,
                                 .dtype = "U8",
                                 .dimension_count = 2,
                                 .shape = {count, DW_IMAGE_BLOCK_BYTES},
                                 .aligned = aligned,
                                 .read = read_blocks,
                                 .user = source};
    memory_name(name, sizeof name, number, ".data");
    return dw__freeze_tensor(f, &tensor, err);
}

/* Of a whole memory what files did not hold before. */
static dw_status count_new(dw__freeze *f, size_t number, const dw_block_run *runs, size_t run_count,
                           dw_error *err)
{
    uint32_t *blocks = NULL;
    size_t count = 0;
    dw_status status = DW_OK;
    for (size_t i = 0; i < run_count; i++) {
        count += runs[i].count;
    }
    if (f->has_base) {
        status = dw_memory_image_changes(f->point.images[number], f->actor->frozen.images[number],
                                         &blocks, &count, err);
    }
    dw_free(blocks);
    f->stats.new_bytes += (uint64_t)count * DW_IMAGE_BLOCK_BYTES;
    return status;
}

/* All that is not zero. */
static dw_status add_whole_memory(dw__freeze *f, size_t number, dw_error *err)
{
    dw_block_run *runs = NULL;
    size_t count = 0;
    char name[DW__NAME_BYTES];
    dw_status status = dw_memory_image_runs(f->point.images[number], &runs, &count, err);
    if (status != DW_OK) {
        return status;
    }
    dw_snapshot_tensor tensor = {.name = name,
                                 .dtype = "U32",
                                 .dimension_count = 2,
                                 .shape = {count, sizeof *runs / sizeof runs->first},
                                 .bytes = runs};
    if (runs != NULL) {
        status = dw__freeze_keep(f, runs, err);
    }
    f->memories[number] = (dw__written_blocks){.runs = runs, .count = count};
    memory_name(name, sizeof name, number, ".runs");
    f->stats.memory_bytes += dw_memory_image_bytes(f->point.images[number]);
    if (status == DW_OK) {
        status = count_new(f, number, runs, count, err);
    }
    if (status == DW_OK) {
        status = dw__freeze_tensor(f, &tensor, err);
    }
    return status == DW_OK ? add_data(f, number, runs, count, true, err) : status;
}

/* The same as runs, for add_data; the freeze keeps them. NULL: no memory. */
static const dw_block_run *runs_of(dw__freeze *f, const uint32_t *blocks, size_t count,
                                   size_t *run_count, dw_error *err)
{
    dw_block_run *runs = dw_alloc(count, sizeof *runs);
    if (runs == NULL) {
        (void)dw__freeze_no_memory(err);
        return NULL;
    }
    *run_count = 0;
    for (size_t i = 0; i < count; i++) {
        dw_block_run *last = *run_count > 0 ? &runs[*run_count - 1] : NULL;
        if (last != NULL && last->first + last->count == blocks[i]) {
            last->count++;
        } else {
            runs[(*run_count)++] = (dw_block_run){blocks[i], 1};
        }
    }
    return dw__freeze_keep(f, runs, err) == DW_OK ? runs : NULL;
}

/* The changed blocks with those that are carried, as one list in the place of `*blocks`. */
static dw_status add_carried(dw__freeze *f, size_t number, uint32_t **blocks, size_t *count,
                             dw_error *err)
{
    const dw_frozen_map *map = f->actor->frozen.map;
    size_t more = 0;
    size_t next = 0;
    size_t made = 0;
    for (size_t i = 0; f->carried != NULL && i < map->memories[number].count; i++) {
        uint32_t file = dw_frozen_map_block(map, number, i);
        more += file != DW_FROZEN_NONE && f->carried[file];
    }
    if (more == 0) {
        return DW_OK;
    }
    uint32_t *all = dw_alloc(*count + more, sizeof *all);
    if (all == NULL) {
        return dw__freeze_no_memory(err);
    }
    for (size_t i = 0; i < map->memories[number].count; i++) {
        uint32_t file = dw_frozen_map_block(map, number, i);
        while (next < *count && (*blocks)[next] < i) {
            all[made++] = (*blocks)[next++];
        }
        bool changed = next < *count && (*blocks)[next] == i;
        if (changed || (file != DW_FROZEN_NONE && f->carried[file])) {
            all[made++] = (uint32_t)i;
            next += changed;
        }
    }
    while (next < *count) {
        all[made++] = (*blocks)[next++];
    }
    dw_free(*blocks);
    *blocks = all;
    *count = made;
    return DW_OK;
}

/* The blocks that changed since the files were written. */
static dw_status add_changed_memory(dw__freeze *f, size_t number, dw_error *err)
{
    uint32_t *blocks = NULL;
    size_t count = 0;
    size_t run_count = 0;
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tensor = {.name = name, .dtype = "U32", .dimension_count = 1};
    dw_status status = dw_memory_image_changes(
        f->point.images[number], f->actor->frozen.images[number], &blocks, &count, err);
    f->stats.new_bytes += status == DW_OK ? count * DW_IMAGE_BLOCK_BYTES : 0;
    if (status == DW_OK) {
        status = add_carried(f, number, &blocks, &count, err);
    }
    if (status != DW_OK || count == 0) {
        dw_free(blocks);
        return status;
    }
    f->memories[number] = (dw__written_blocks){.blocks = blocks, .count = count};
    status = dw__freeze_keep(f, blocks, err);
    const dw_block_run *runs = status == DW_OK ? runs_of(f, blocks, count, &run_count, err) : NULL;
    if (runs == NULL) {
        return DW_E_MEMORY;
    }
    memory_name(name, sizeof name, number, ".blocks");
    tensor.shape[0] = count;
    tensor.bytes = blocks;
    f->stats.memory_bytes += count * DW_IMAGE_BLOCK_BYTES;
    status = dw__freeze_tensor(f, &tensor, err);
    return status == DW_OK ? add_data(f, number, runs, run_count, count >= MAPPED_BLOCKS, err)
                           : status;
}

dw_status dw__memories_save(dw__freeze *f, json_t *to, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < dw_state_memory_count(f->actor->instance) && status == DW_OK; i++) {
        size_t bytes = dw_memory_image_bytes(f->point.images[i]);
        if (!dw__json_append(to, dw__json_number(bytes / DW__WASM_PAGE_BYTES))) {
            return dw__freeze_no_memory(err);
        }
        status = f->delta ? add_changed_memory(f, i, err) : add_whole_memory(f, i, err);
    }
    return status;
}

/* ---- loading ------------------------------------------------------------------------------ */

/* A memory that is read, the newest file first. Of each block the file that has it, its place in
 * the list of files and 1 (0: none has, it is zero), and where in that file it is. */
typedef struct block_reader {
    const dw__thaw *t;
    size_t number;
    size_t limit;     /* blocks of the memory */
    uint32_t *files;  /* [limit] */
    uint64_t *places; /* [limit]: bytes from where the snapshot begins */
} block_reader;

/* `count` blocks from `first` on are in the file at `place`, but for those that a newer one has. */
static void take_blocks(block_reader *r, size_t file, size_t first, size_t count, uint64_t place)
{
    for (size_t i = 0; i < count; i++) {
        if (r->files[first + i] == 0) {
            r->files[first + i] = (uint32_t)(file + 1);
            r->places[first + i] = place + (uint64_t)i * DW_IMAGE_BLOCK_BYTES;
        }
    }
}

/* Read [count] runs, which ascend and do not overlap, and take them. */
static dw_status take_runs(block_reader *r, const char *name, const dw_block_run *runs,
                           size_t count, const dw_snapshot_entry *data, dw_error *err)
{
    uint64_t end = 0;
    uint64_t place = 0;
    const uint64_t begin = data != NULL ? data->offset : 0;
    for (size_t i = 0; i < count; i++) {
        const dw_block_run *run = &runs[i];
        if (run->count == 0 || run->first < end || (uint64_t)run->first + run->count > r->limit) {
            return dw_fail(err, DW_E_FORMAT,
                           "%s: %u blocks from %u on at %zu, the memory has %zu and those before "
                           "end at %llu",
                           name, run->count, run->first, i, r->limit, (unsigned long long)end);
        }
        take_blocks(r, 0, run->first, run->count, begin + place * DW_IMAGE_BLOCK_BYTES);
        end = (uint64_t)run->first + run->count;
        place += run->count;
    }
    return data != NULL && data->shape[0] == place
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "%s: %llu blocks, not as many have data", name,
                         (unsigned long long)place);
}

/* `memory.runs` of a full snapshot; *found: there is such a tensor. */
static dw_status read_runs(block_reader *r, bool *found, dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *list;
    const dw_snapshot_entry *data = NULL;
    const dw_snapshot_file *from = r->t->files[0];
    memory_name(name, sizeof name, r->number, ".data");
    dw_status status = dw__thaw_find_tensor(from, name, "U8", DW_IMAGE_BLOCK_BYTES, &data, err);
    if (status != DW_OK) {
        return status;
    }
    memory_name(name, sizeof name, r->number, ".runs");
    status = dw__thaw_find_tensor(from, name, "U32", 2, &list, err);
    *found = status == DW_OK && list != NULL;
    if (!*found) {
        return status;
    }
    if (list->shape[0] > r->limit) {
        return dw_fail(err, DW_E_FORMAT, "%s: %llu runs, the memory has %zu blocks", name,
                       (unsigned long long)list->shape[0], r->limit);
    }
    const size_t count = (size_t)list->shape[0];
    dw_block_run *runs = dw_alloc(count + 1, sizeof *runs);
    status = runs != NULL ? dw_snapshot_file_read(from, list, 0, (size_t)list->bytes, runs, err)
                          : dw_fail(err, DW_E_MEMORY, "no memory for %zu runs of blocks", count);
    if (status == DW_OK) {
        status = take_runs(r, name, runs, count, data, err);
    }
    dw_free(runs);
    return status;
}

/* All pages, as full snapshots of version 1 have them. */
static dw_status read_whole(block_reader *r, dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *tensor;
    const size_t blocks = DW__WASM_PAGE_BYTES / DW_IMAGE_BLOCK_BYTES;
    memory_name(name, sizeof name, r->number, "");
    dw_status status =
        dw__thaw_find_tensor(r->t->files[0], name, "U8", DW__WASM_PAGE_BYTES, &tensor, err);
    if (status == DW_OK && (tensor == NULL || tensor->shape[0] > r->limit / blocks)) {
        status = dw_fail(err, DW_E_FORMAT, "%s: %s", name,
                         tensor == NULL ? "missing" : "larger than the memory it is of");
    }
    if (status == DW_OK) {
        take_blocks(r, 0, 0, (size_t)tensor->shape[0] * blocks, tensor->offset);
    }
    return status;
}

static dw_status read_full(block_reader *r, dw_error *err)
{
    bool found = false;
    dw_status status = read_runs(r, &found, err);
    return status == DW_OK && !found ? read_whole(r, err) : status;
}

static dw_status take_list(block_reader *r, size_t file, const uint32_t *list,
                           const dw_snapshot_entry *data, dw_error *err)
{
    for (size_t i = 0; i < data->shape[0]; i++) {
        if (list[i] >= r->limit || (i > 0 && list[i] <= list[i - 1])) {
            return dw_fail(err, DW_E_FORMAT, "%s: block %u at %zu, the memory has %zu", data->name,
                           list[i], i, r->limit);
        }
        take_blocks(r, file, list[i], 1, data->offset + (uint64_t)i * DW_IMAGE_BLOCK_BYTES);
    }
    return DW_OK;
}

dw_status dw__memory_find_delta(const dw_snapshot_file *file, size_t number,
                                const dw_snapshot_entry **blocks, const dw_snapshot_entry **data,
                                dw_error *err)
{
    char name[DW__NAME_BYTES];
    *data = NULL;
    memory_name(name, sizeof name, number, ".blocks");
    dw_status status = dw__thaw_find_tensor(file, name, "U32", 1, blocks, err);
    if (status != DW_OK || *blocks == NULL) {
        return status;
    }
    memory_name(name, sizeof name, number, ".data");
    status = dw__thaw_find_tensor(file, name, "U8", DW_IMAGE_BLOCK_BYTES, data, err);
    return status != DW_OK || (*data != NULL && (*data)->shape[0] == (*blocks)->shape[0])
               ? status
               : dw_fail(err, DW_E_FORMAT, "%s: not as many blocks as are listed", name);
}

/* What a series has of the memory, as its index says. */
static dw_status read_series(block_reader *r, size_t file, dw_error *err)
{
    const dw_series_contents *series = dw_snapshot_file_series(r->t->files[file]);
    for (size_t i = 0; i < series->memory_count; i++) {
        const dw_series_memory *memory = &series->memories[i];
        for (size_t k = 0; k < memory->count && memory->number == r->number; k++) {
            const dw_series_run *run = &memory->runs[k];
            /* The memory cannot have shrunk: what it has none of is damage. */
            if (run->first >= r->limit || run->count > r->limit - run->first) {
                return dw_fail(err, DW_E_FORMAT,
                               "an index: %u blocks from %u on, the memory has %zu", run->count,
                               run->first, r->limit);
            }
            take_blocks(r, file, run->first, run->count, run->offset);
        }
    }
    return DW_OK;
}

/* What a delta changed and no newer one did. */
static dw_status read_delta(block_reader *r, size_t file, dw_error *err)
{
    const dw_snapshot_entry *blocks = NULL;
    const dw_snapshot_entry *data = NULL;
    const dw_snapshot_file *from = r->t->files[file];
    if (dw_snapshot_file_series(from) != NULL) {
        return read_series(r, file, err);
    }
    dw_status status = dw__memory_find_delta(from, r->number, &blocks, &data, err);
    if (status != DW_OK || blocks == NULL) {
        return status;
    }
    if (blocks->shape[0] > r->limit) {
        return dw_fail(err, DW_E_FORMAT, "%s: %llu blocks, the memory has %zu", blocks->name,
                       (unsigned long long)blocks->shape[0], r->limit);
    }
    const size_t count = (size_t)blocks->shape[0];
    uint32_t *list = dw_alloc(count + 1, sizeof *list);
    status = list != NULL ? dw_snapshot_file_read(from, blocks, 0, (size_t)blocks->bytes, list, err)
                          : dw_fail(err, DW_E_MEMORY, "no memory for a list of blocks");
    if (status == DW_OK) {
        status = take_list(r, file, list, data, err);
    }
    dw_free(list);
    return status;
}

/* Which file has which block, for the actor's next freezes. */
static dw_status note_blocks(const block_reader *r, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; r->t->map != NULL && i < r->limit && status == DW_OK; i++) {
        if (r->files[i] != 0) {
            status = dw_frozen_map_set_block(r->t->map, r->number, i, r->files[i] - 1u, err);
        }
    }
    return status;
}

/* Whether the block follows the one before it in the same file. */
static bool follows(const block_reader *r, size_t i)
{
    return i > 0 && r->files[i] == r->files[i - 1] &&
           r->places[i] == r->places[i - 1] + DW_IMAGE_BLOCK_BYTES;
}

static dw_status make_image(const block_reader *r, dw_memory_image **image, dw_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < r->limit; i++) {
        count += r->files[i] != 0 && !follows(r, i);
    }
    dw_block_piece *pieces = dw_alloc(count + 1, sizeof *pieces);
    if (pieces == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu parts of a memory", count);
    }
    dw_block_piece *next = pieces;
    for (size_t i = 0; i < r->limit; i++) {
        if (r->files[i] == 0) {
            continue;
        }
        if (follows(r, i)) {
            next[-1].count++;
            continue;
        }
        const size_t file = r->files[i] - 1u;
        *next++ =
            (dw_block_piece){.first = (uint32_t)i,
                             .count = 1,
                             .fd = dw_snapshot_file_fd(r->t->files[file]),
                             .offset = dw_snapshot_file_begin(r->t->files[file]) + r->places[i]};
    }
    dw_status status = dw_memory_image_of_pieces(image, r->limit * DW_IMAGE_BLOCK_BYTES, pieces,
                                                 count, r->t->spare_files, err);
    dw_free(pieces);
    return status;
}

static dw_status read_blocks_of(block_reader *r, dw_memory_image **image, dw_error *err)
{
    const bool has_full = !dw__thaw_is_delta(r->t->files[0]);
    dw_status status = DW_OK;
    for (size_t i = r->t->file_count; i > (has_full ? 1 : 0) && status == DW_OK; i--) {
        status = read_delta(r, i - 1, err);
    }
    if (status == DW_OK && has_full) {
        status = read_full(r, err);
    }
    if (status == DW_OK) {
        status = note_blocks(r, err);
    }
    return status == DW_OK ? make_image(r, image, err) : status;
}

static dw_status read_memory(dw__thaw *t, size_t number, uint64_t pages, dw_error *err)
{
    const size_t bytes = (size_t)pages * DW__WASM_PAGE_BYTES;
    block_reader r = {.t = t, .number = number, .limit = bytes / DW_IMAGE_BLOCK_BYTES};
    dw_memory_image *image = NULL;
    dw_status status = dw_state_memory_grow(t->actor->instance, number, bytes, err);
    if (status != DW_OK) {
        return status;
    }
    r.files = dw_alloc(r.limit + 1, sizeof *r.files);
    r.places = dw_alloc(r.limit + 1, sizeof *r.places);
    status = r.files != NULL && r.places != NULL
                 ? read_blocks_of(&r, &image, err)
                 : dw_fail(err, DW_E_MEMORY, "no memory for a list of blocks");
    if (status == DW_OK) {
        status = dw_memory_image_map(image, dw_state_memory(t->actor->instance, number), err);
    }
    if (status == DW_OK) {
        t->actor->images[number] = image;
        image = NULL;
    }
    dw_memory_image_unref(image);
    dw_free(r.files);
    dw_free(r.places);
    t->stats.memory_bytes += bytes;
    return status;
}

dw_status dw__memories_load(dw__thaw *t, dw_error *err)
{
    const json_t *list;
    size_t count = dw_state_memory_count(t->actor->instance);
    dw_status status = dw__json_array(t->about, "actor", "memories", count, &list, err);
    if (status == DW_OK && json_array_size(list) != count) {
        status = dw_fail(err, DW_E_FORMAT, "actor: %zu memories, the module has %zu",
                         json_array_size(list), count);
    }
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        const json_t *pages = json_array_get(list, i);
        json_int_t value = json_is_integer(pages) ? json_integer_value(pages) : -1;
        if (value < 0 || value > 65536) {
            return dw_fail(err, DW_E_FORMAT, "actor: memory %zu is of no number of pages up to %d",
                           i, 65536);
        }
        status = read_memory(t, i, (uint64_t)value, err);
    }
    return status;
}
