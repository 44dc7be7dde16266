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

static dw_status read_image(void *user, uint64_t offset, size_t bytes, void *to, dw_error *err)
{
    return dw_memory_image_read(user, (size_t)offset, bytes, to, err);
}

static dw_status add_whole_memory(dw__freeze *f, size_t number, dw_error *err)
{
    dw_memory_image *image = f->actor->images[number];
    size_t bytes = dw_memory_image_bytes(image);
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tensor = {.name = name,
                                 .dtype = "U8",
                                 .shape = {bytes / DW__WASM_PAGE_BYTES, DW__WASM_PAGE_BYTES},
                                 .dimension_count = 2,
                                 .aligned = true,
                                 .read = read_image,
                                 .user = image};
    memory_name(name, sizeof name, number, "");
    f->stats.memory_bytes += bytes;
    return dw__freeze_tensor(f, &tensor, err);
}

/* The blocks that changed since the files were written. */
static dw_status add_changed_memory(dw__freeze *f, size_t number, dw_error *err)
{
    dw_memory_image *image = f->actor->images[number];
    uint32_t *blocks = NULL;
    size_t count = 0;
    char name[DW__NAME_BYTES];
    dw_snapshot_tensor tensor = {.name = name, .dtype = "U32", .dimension_count = 1};
    dw_status status =
        dw_memory_image_changes(image, f->actor->frozen.images[number], &blocks, &count, err);
    if (status != DW_OK || count == 0) {
        dw_free(blocks);
        return status;
    }
    status = dw__freeze_keep(f, blocks, err);
    unsigned char *data = status == DW_OK ? dw_alloc(count, DW_IMAGE_BLOCK_BYTES) : NULL;
    if (status == DW_OK && data == NULL) {
        status = dw__freeze_no_memory(err);
    }
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = dw_memory_image_read(image, (size_t)blocks[i] * DW_IMAGE_BLOCK_BYTES,
                                      DW_IMAGE_BLOCK_BYTES, data + i * DW_IMAGE_BLOCK_BYTES, err);
    }
    if (data != NULL) {
        dw_status kept = dw__freeze_keep(f, data, err);
        status = status == DW_OK ? kept : status;
    }
    if (status != DW_OK) {
        return status;
    }
    memory_name(name, sizeof name, number, ".blocks");
    tensor.shape[0] = count;
    tensor.bytes = blocks;
    status = dw__freeze_tensor(f, &tensor, err);
    if (status == DW_OK) {
        memory_name(name, sizeof name, number, ".data");
        tensor.dtype = "U8";
        tensor.dimension_count = 2;
        tensor.shape[1] = DW_IMAGE_BLOCK_BYTES;
        tensor.bytes = data;
        f->stats.memory_bytes += count * DW_IMAGE_BLOCK_BYTES;
        status = dw__freeze_tensor(f, &tensor, err);
    }
    return status;
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

static dw_status read_memory(dw__thaw *t, size_t number, uint64_t pages, dw_error *err)
{
    dw_memory_image *image = NULL;
    dw_instance *instance = t->actor->instance;
    dw_status status = whole_image(t, number, pages, &image, err);
    if (status == DW_OK) {
        status = dw_state_memory_grow(instance, number, (size_t)pages * DW__WASM_PAGE_BYTES, err);
    }
    if (status == DW_OK) {
        status = dw_memory_image_map(image, dw_state_memory(instance, number), err);
    }
    for (size_t i = 1; i < t->file_count && status == DW_OK; i++) {
        status = put_blocks(t, t->files[i], number, err);
    }
    if (status == DW_OK && t->file_count == 1) {
        t->actor->images[number] = dw_memory_image_ref(image);
    } else if (status == DW_OK) {
        status = dw_memory_image_take(&t->actor->images[number], dw_state_memory(instance, number),
                                      image, NULL, err);
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
