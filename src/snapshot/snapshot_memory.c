/* Linear memories in snapshots: whole, or in deltas the blocks that changed. */
#include <stdio.h>

#include "base/alloc.h"
#include "snapshot/snapshot_parts_internal.h"
#include "wasm/instance_state.h"

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
        (block_source){.image = f->actor->images[number], .runs = runs, .run_count = run_count};
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
        status = dw_memory_image_changes(f->actor->images[number], f->actor->frozen.images[number],
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
    dw_status status = dw_memory_image_runs(f->actor->images[number], &runs, &count, err);
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
    memory_name(name, sizeof name, number, ".runs");
    f->stats.memory_bytes += dw_memory_image_bytes(f->actor->images[number]);
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

/* The blocks that changed since the files were written. */
static dw_status add_changed_memory(dw__freeze *f, size_t number, dw_error *err)
{
    uint32_t *blocks = NULL;
    size_t count = 0;
    size_t run_count = 0;
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tensor = {.name = name, .dtype = "U32", .dimension_count = 1};
    dw_status status = dw_memory_image_changes(
        f->actor->images[number], f->actor->frozen.images[number], &blocks, &count, err);
    if (status != DW_OK || count == 0) {
        dw_free(blocks);
        return status;
    }
    status = dw__freeze_keep(f, blocks, err);
    const dw_block_run *runs = status == DW_OK ? runs_of(f, blocks, count, &run_count, err) : NULL;
    if (runs == NULL) {
        return DW_E_MEMORY;
    }
    memory_name(name, sizeof name, number, ".blocks");
    tensor.shape[0] = count;
    tensor.bytes = blocks;
    f->stats.memory_bytes += count * DW_IMAGE_BLOCK_BYTES;
    f->stats.new_bytes += count * DW_IMAGE_BLOCK_BYTES;
    status = dw__freeze_tensor(f, &tensor, err);
    return status == DW_OK ? add_data(f, number, runs, run_count, false, err) : status;
}

dw_status dw__memories_save(dw__freeze *f, json_t *to, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < dw_state_memory_count(f->actor->instance) && status == DW_OK; i++) {
        size_t bytes = dw_memory_image_bytes(f->actor->images[i]);
        if (!dw__json_append(to, dw__json_number(bytes / DW__WASM_PAGE_BYTES))) {
            return dw__freeze_no_memory(err);
        }
        status = f->delta ? add_changed_memory(f, i, err) : add_whole_memory(f, i, err);
    }
    return status;
}

/* ---- loading ------------------------------------------------------------------------------ */

/* What the first file has of a memory. */
typedef struct saved_memory {
    const dw_snapshot_entry *data;
    dw_block_runs runs; /* list NULL in files of version 1, which have every page */
} saved_memory;

static dw_status check_runs(const saved_memory *saved, const char *name, uint64_t blocks,
                            dw_error *err)
{
    uint64_t end = 0;
    uint64_t count = 0;
    for (size_t i = 0; i < saved->runs.count; i++) {
        const dw_block_run *run = &saved->runs.list[i];
        if (run->count == 0 || run->first < end || (uint64_t)run->first + run->count > blocks) {
            return dw_fail(err, DW_E_FORMAT,
                           "%s: %u blocks from %u on at %zu, the memory has %llu and those before "
                           "end at %llu",
                           name, run->count, run->first, i, (unsigned long long)blocks,
                           (unsigned long long)end);
        }
        end = (uint64_t)run->first + run->count;
        count += run->count;
    }
    return saved->data != NULL && saved->data->shape[0] == count
               ? DW_OK
               : dw_fail(err, DW_E_FORMAT, "%s: %llu blocks, not as many have data", name,
                         (unsigned long long)count);
}

/* Read `memory.runs`; *found: there is such a tensor. */
static dw_status read_runs(const dw__thaw *t, size_t number, uint64_t pages, saved_memory *saved,
                           bool *found, dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *runs;
    uint64_t blocks = pages * (DW__WASM_PAGE_BYTES / DW_IMAGE_BLOCK_BYTES);
    memory_name(name, sizeof name, number, ".data");
    dw_status status =
        dw__thaw_find_tensor(t->files[0], name, "U8", DW_IMAGE_BLOCK_BYTES, &saved->data, err);
    if (status != DW_OK) {
        return status;
    }
    memory_name(name, sizeof name, number, ".runs");
    status = dw__thaw_find_tensor(t->files[0], name, "U32", 2, &runs, err);
    *found = status == DW_OK && runs != NULL;
    if (!*found) {
        return status;
    }
    if (runs->shape[0] > blocks) {
        return dw_fail(err, DW_E_FORMAT, "%s: %llu runs, the memory has %llu blocks", name,
                       (unsigned long long)runs->shape[0], (unsigned long long)blocks);
    }
    saved->runs.count = (size_t)runs->shape[0];
    saved->runs.list = dw_alloc(saved->runs.count + 1, sizeof *saved->runs.list);
    saved->runs.mapped = dw_alloc(saved->runs.count + 1, sizeof *saved->runs.mapped);
    if (saved->runs.list == NULL || saved->runs.mapped == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu runs of blocks", saved->runs.count);
    }
    status =
        dw_snapshot_file_read(t->files[0], runs, 0, (size_t)runs->bytes, saved->runs.list, err);
    return status == DW_OK ? check_runs(saved, name, blocks, err) : status;
}

/* All pages, as files of version 1 have them. */
static dw_status whole_image(const dw__thaw *t, size_t number, uint64_t pages_max,
                             dw_memory_image **image, dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *tensor;
    memory_name(name, sizeof name, number, "");
    dw_status status =
        dw__thaw_find_tensor(t->files[0], name, "U8", DW__WASM_PAGE_BYTES, &tensor, err);
    if (status == DW_OK && (tensor == NULL || tensor->shape[0] > pages_max)) {
        status = dw_fail(err, DW_E_FORMAT, "%s: %s", name,
                         tensor == NULL ? "missing" : "larger than the memory it is of");
    }
    return status == DW_OK ? dw_memory_image_of_file(image, dw_snapshot_file_fd(t->files[0]),
                                                     tensor->offset, (size_t)tensor->bytes, err)
                           : status;
}

/* What a delta changed, over the memory as its base had it. */
static dw_status put_blocks(dw__thaw *t, const dw_snapshot_file *file, size_t number, dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *blocks;
    const dw_snapshot_entry *data = NULL;
    dw_region *region = dw_state_memory(t->actor->instance, number);
    size_t limit = dw_region_committed_bytes(region) / DW_IMAGE_BLOCK_BYTES;
    memory_name(name, sizeof name, number, ".blocks");
    dw_status status = dw__thaw_find_tensor(file, name, "U32", 1, &blocks, err);
    if (status != DW_OK || blocks == NULL) {
        return status;
    }
    memory_name(name, sizeof name, number, ".data");
    status = dw__thaw_find_tensor(file, name, "U8", DW_IMAGE_BLOCK_BYTES, &data, err);
    if (status == DW_OK &&
        (data == NULL || data->shape[0] != blocks->shape[0] || blocks->shape[0] > limit)) {
        status =
            dw_fail(err, DW_E_FORMAT, "%s: not as many blocks as are listed, or too many", name);
    }
    uint32_t *list = status == DW_OK ? dw_alloc(limit + 1, sizeof *list) : NULL;
    if (status == DW_OK) {
        status = list != NULL
                     ? dw_snapshot_file_read(file, blocks, 0, (size_t)blocks->bytes, list, err)
                     : dw_fail(err, DW_E_MEMORY, "no memory for a list of blocks");
    }
    for (size_t i = 0; status == DW_OK && i < blocks->shape[0]; i++) {
        if (list[i] >= limit || (i > 0 && list[i] <= list[i - 1])) {
            status = dw_fail(err, DW_E_FORMAT, "%s: block %u at %zu, the memory has %zu", name,
                             list[i], i, limit);
        } else {
            unsigned char *to = dw_region_base(region);
            status = dw_snapshot_file_read(file, data, i * (uint64_t)DW_IMAGE_BLOCK_BYTES,
                                           DW_IMAGE_BLOCK_BYTES,
                                           to + (size_t)list[i] * DW_IMAGE_BLOCK_BYTES, err);
        }
    }
    dw_free(list);
    return status;
}

/* The runs that the image does not map. */
static dw_status put_runs(const dw__thaw *t, const saved_memory *saved, dw_region *region,
                          bool *any, dw_error *err)
{
    uint64_t offset = 0;
    dw_status status = DW_OK;
    for (size_t i = 0; i < saved->runs.count && status == DW_OK; i++) {
        size_t bytes = (size_t)saved->runs.list[i].count * DW_IMAGE_BLOCK_BYTES;
        unsigned char *to = (unsigned char *)dw_region_base(region) +
                            (size_t)saved->runs.list[i].first * DW_IMAGE_BLOCK_BYTES;
        if (!saved->runs.mapped[i]) {
            *any = true;
            status = dw_snapshot_file_read(t->files[0], saved->data, offset, bytes, to, err);
        }
        offset += bytes;
    }
    return status;
}

/* What the first file has, in the memory; *exact: the image is all of it. */
static dw_status put_first(dw__thaw *t, size_t number, uint64_t pages, dw_memory_image **image,
                           bool *exact, dw_error *err)
{
    saved_memory saved = {.data = NULL};
    size_t bytes = (size_t)pages * DW__WASM_PAGE_BYTES;
    bool has_runs = false;
    bool any_read = false;
    dw_status status = read_runs(t, number, pages, &saved, &has_runs, err);
    if (status != DW_OK) {
        goto out;
    }
    saved.runs.offset = has_runs ? saved.data->offset : 0;
    status = has_runs ? dw_memory_image_of_runs(image, dw_snapshot_file_fd(t->files[0]), bytes,
                                                &saved.runs, err)
                      : whole_image(t, number, pages, image, err);
    if (status != DW_OK) {
        goto out;
    }
    status = dw_state_memory_grow(t->actor->instance, number, bytes, err);
    if (status != DW_OK) {
        goto out;
    }
    dw_region *region = dw_state_memory(t->actor->instance, number);
    status = dw_memory_image_map(*image, region, err);
    if (status == DW_OK) {
        status = put_runs(t, &saved, region, &any_read, err);
    }
    *exact = !any_read;
out:
    dw_free(saved.runs.list);
    dw_free(saved.runs.mapped);
    return status;
}

static dw_status read_memory(dw__thaw *t, size_t number, uint64_t pages, dw_error *err)
{
    dw_memory_image *image = NULL;
    bool exact = false;
    dw_status status = put_first(t, number, pages, &image, &exact, err);
    for (size_t i = 1; i < t->file_count && status == DW_OK; i++) {
        status = put_blocks(t, t->files[i], number, err);
    }
    if (status == DW_OK && t->file_count == 1 && exact) {
        t->actor->images[number] = dw_memory_image_ref(image);
    } else if (status == DW_OK) {
        status =
            dw_memory_image_take(&t->actor->images[number],
                                 dw_state_memory(t->actor->instance, number), image, NULL, err);
    }
    dw_memory_image_unref(image);
    t->stats.memory_bytes += pages * DW__WASM_PAGE_BYTES;
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
