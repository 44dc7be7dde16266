#include "kv/kv_backing.h"

#include <string.h>

#include "base/alloc.h"

void *dw__kv_backing_alloc(size_t bytes, const dw__kv_backing_ops *ops,
                           const dw__kv_backing_options *options, dw_error *err)
{
    DW_ASSERT(options->record_bytes > 0 && options->records_max % DW_KV_STEP_TOKENS == 0);
    dw__kv_backing *backing = dw_alloc(1, bytes);
    if (backing == NULL) {
        (void)dw_fail(err, DW_E_MEMORY, "no memory for a kv log");
        return NULL;
    }
    backing->ops = ops;
    backing->device = options->device;
    backing->record_bytes = options->record_bytes;
    backing->records_max = options->records_max;
    return backing;
}

uint32_t dw__kv_whole_steps(uint32_t records)
{
    return (records + DW_KV_STEP_TOKENS - 1) / DW_KV_STEP_TOKENS * DW_KV_STEP_TOKENS;
}

uint32_t dw__kv_doubled(const dw__kv_backing *backing, uint32_t end)
{
    uint32_t limit = backing->records_max;
    DW_ASSERT(end <= limit);
    uint32_t wanted = backing->committed > 0 ? backing->committed : DW_KV_STEP_TOKENS;
    while (wanted < end) {
        wanted = wanted > limit / 2 ? limit : wanted * 2;
    }
    return wanted;
}

dw_status dw__kv_pass(const dw_sink *sink, uint64_t at, const void *from, size_t bytes,
                      dw_error *err)
{
    const unsigned char *next = from;
    for (size_t done = 0; done < bytes;) {
        size_t part = bytes - done < DW__KV_PART_BYTES ? bytes - done : DW__KV_PART_BYTES;
        dw_status status = DW_OK;
        if (sink->in_order != NULL) {
            status = sink->in_order(sink->user, next + done, part, err);
        }
        if (status == DW_OK && sink->anywhere != NULL) {
            status = sink->anywhere(sink->user, at + done, next + done, part, err);
        }
        if (status != DW_OK) {
            return status;
        }
        done += part;
    }
    return DW_OK;
}

dw_status dw__kv_copy_out(void *user, uint64_t offset, const void *from, size_t bytes,
                          dw_error *err)
{
    (void)err;
    memcpy((unsigned char *)user + offset, from, bytes);
    return DW_OK;
}

dw_status dw__kv_copy_in(void *user, uint64_t offset, size_t bytes, void *to, dw_error *err)
{
    (void)err;
    memcpy(to, (const unsigned char *)user + offset, bytes);
    return DW_OK;
}
