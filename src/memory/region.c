#include "memory/region.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "memory/file_guard.h"

struct dw_region {
    unsigned char *base;
    size_t reserved_bytes;
    size_t committed_bytes; /* a multiple of the page */
    size_t limit_bytes;
    const char *label;
    int fd; /* the memfd behind a shared region; else -1 */
    uint64_t generation;
    dw_file_guard *guard; /* from the first file that is mapped on */
    _Atomic int pins;
};

static void check(const dw_region *region)
{
    DW_ASSERT(region->committed_bytes <= region->reserved_bytes);
    DW_ASSERT(region->committed_bytes % dw_os_page_bytes() == 0);
    DW_ASSERT(region->limit_bytes <= region->reserved_bytes);
}

dw_status dw_region_create(dw_region **out, const dw_region_options *options, dw_error *err)
{
    *out = NULL;
    size_t page = dw_os_page_bytes();
    size_t reserve = 0;
    if (options->reserve_bytes == 0 || !dw_round_up(&reserve, options->reserve_bytes, page)) {
        return dw_fail(err, DW_E_ARG, "region %s: cannot reserve %zu bytes", options->label,
                       options->reserve_bytes);
    }
    size_t limit = options->limit_bytes == 0 ? options->reserve_bytes : options->limit_bytes;
    if (limit > reserve || options->commit_bytes > limit) {
        return dw_fail(err, DW_E_ARG, "region %s: commit %zu, limit %zu, reserve %zu bytes",
                       options->label, options->commit_bytes, limit, reserve);
    }
    dw_region *region = dw_alloc(1, sizeof *region);
    if (region == NULL) {
        return dw_fail(err, DW_E_MEMORY, "region %s: no memory for its record", options->label);
    }
    *region = (dw_region){
        .reserved_bytes = reserve, .limit_bytes = limit, .label = options->label, .fd = -1};
    void *base = NULL;
    dw_status status = options->align_bytes > page
                           ? dw_os_reserve_aligned(&base, reserve, options->align_bytes, err)
                           : dw_os_reserve(&base, reserve, err);
    region->base = base;
    if (status == DW_OK && options->shared) {
        status = dw_os_memfd(&region->fd, options->label, 0, err);
    }
    if (status == DW_OK) {
        status = dw_region_commit(region, options->commit_bytes, err);
    }
    if (status != DW_OK) {
        dw_region_destroy(region);
        return status;
    }
    *out = region;
    return DW_OK;
}

void dw_region_destroy(dw_region *region)
{
    if (region == NULL) {
        return;
    }
    DW_ASSERT(atomic_load(&region->pins) == 0);
    dw_file_guard_remove(region->guard);
    dw_os_unreserve(region->base, region->reserved_bytes);
    dw_os_close(region->fd);
    dw_free(region);
}

dw_status dw_region_commit(dw_region *region, size_t bytes, dw_error *err)
{
    if (bytes <= region->committed_bytes) {
        return DW_OK;
    }
    if (bytes > region->limit_bytes) {
        return dw_fail(err, DW_E_LIMIT, "region %s: %zu bytes wanted, limit %zu", region->label,
                       bytes, region->limit_bytes);
    }
    size_t target = 0;
    DW_ASSERT(dw_round_up(&target, bytes, dw_os_page_bytes()));
    DW_ASSERT(target <= region->reserved_bytes);
    unsigned char *from = region->base + region->committed_bytes;
    size_t more = target - region->committed_bytes;
    dw_status status;
    if (region->fd >= 0) {
        status = dw_os_memfd_resize(region->fd, target, err);
        if (status == DW_OK) {
            status = dw_os_commit_shared(from, more, region->fd, region->committed_bytes, err);
        }
    } else {
        status = dw_os_commit(from, more, err);
    }
    if (status != DW_OK) {
        return status;
    }
    region->committed_bytes = target;
    region->generation++;
    check(region);
    return DW_OK;
}

/* What a mapping over committed pages must be. */
static dw_status check_mapping(const dw_region *region, size_t offset, uint64_t file_offset,
                               size_t bytes, dw_error *err)
{
    size_t page_mask = dw_os_page_bytes() - 1;
    if ((offset & page_mask) != 0 || (file_offset & page_mask) != 0 || (bytes & page_mask) != 0 ||
        bytes == 0) {
        return dw_fail(err, DW_E_ARG,
                       "region %s: mapping %zu bytes of a file at %llu to %zu: not whole pages",
                       region->label, bytes, (unsigned long long)file_offset, offset);
    }
    size_t end;
    if (!dw_add_size(&end, offset, bytes) || end > region->committed_bytes) {
        return dw_fail(err, DW_E_RANGE, "region %s: mapping %zu bytes to %zu, committed are %zu",
                       region->label, bytes, offset, region->committed_bytes);
    }
    if (atomic_load(&region->pins) > 0) {
        return dw_fail(err, DW_E_STATE, "region %s: a device is at work in it", region->label);
    }
    return DW_OK;
}

dw_status dw_region_map_file(dw_region *region, size_t offset, int fd, uint64_t file_offset,
                             size_t bytes, dw_error *err)
{
    dw_status status = check_mapping(region, offset, file_offset, bytes, err);
    if (status == DW_OK && region->guard == NULL) {
        region->guard = dw_file_guard_add(region->base, region->reserved_bytes, -1);
    }
    if (status == DW_OK) {
        status = dw_os_map_private(region->base + offset, bytes, fd, file_offset, err);
    }
    if (status != DW_OK) {
        return status;
    }
    region->generation++;
    return DW_OK;
}

dw_status dw_region_map_shared(dw_region *region, size_t offset, int fd, uint64_t file_offset,
                               size_t bytes, dw_error *err)
{
    dw_status status = check_mapping(region, offset, file_offset, bytes, err);
    if (status == DW_OK) {
        status = dw_os_commit_shared(region->base + offset, bytes, fd, file_offset, err);
    }
    if (status != DW_OK) {
        return status;
    }
    region->generation++;
    return DW_OK;
}

dw_status dw_region_clear(dw_region *region, size_t offset, size_t bytes, dw_error *err)
{
    size_t page_mask = dw_os_page_bytes() - 1;
    DW_ASSERT(region->fd < 0 && ((offset | bytes) & page_mask) == 0);
    DW_ASSERT(offset <= region->committed_bytes && bytes <= region->committed_bytes - offset);
    if (dw_region_pinned(region)) {
        return dw_fail(err, DW_E_STATE, "region %s: a device is at work in it", region->label);
    }
    dw_status status = dw_os_decommit(region->base + offset, bytes, err);
    if (status == DW_OK) {
        status = dw_os_commit(region->base + offset, bytes, err);
    }
    region->generation++;
    return status;
}

void *dw_region_base(const dw_region *region)
{
    return region->base;
}

size_t dw_region_committed_bytes(const dw_region *region)
{
    return region->committed_bytes;
}

size_t dw_region_reserved_bytes(const dw_region *region)
{
    return region->reserved_bytes;
}

bool dw_region_holds(const dw_region *region, const void *address, size_t bytes)
{
    uintptr_t base = (uintptr_t)region->base;
    uintptr_t start = (uintptr_t)address;
    return start >= base && start - base <= region->committed_bytes &&
           bytes <= region->committed_bytes - (start - base);
}

bool dw_region_is_broken(const dw_region *region)
{
    return dw_file_guard_is_broken(region->guard);
}

void dw_region_pin(dw_region *region)
{
    atomic_fetch_add(&region->pins, 1);
}

void dw_region_unpin(dw_region *region)
{
    DW_ASSERT(atomic_fetch_sub(&region->pins, 1) > 0);
}

bool dw_region_pinned(const dw_region *region)
{
    return atomic_load(&region->pins) > 0;
}

uint64_t dw_region_generation(const dw_region *region)
{
    return region->generation;
}
