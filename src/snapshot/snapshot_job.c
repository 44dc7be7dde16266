#include "snapshot/snapshot_job_internal.h"

#include <string.h>

#include "base/array.h"

dw_status dw__freeze_no_memory(dw_error *err)
{
    return dw_fail(err, DW_E_MEMORY, "freeze: no memory for the description");
}

dw_status dw__freeze_keep(dw__freeze *f, void *memory, dw_error *err)
{
    if (!dw_array_reserve(&f->kept, &f->kept_capacity, f->kept_count + 1, sizeof *f->kept,
                          SIZE_MAX)) {
        dw_free(memory);
        return dw__freeze_no_memory(err);
    }
    f->kept[f->kept_count++] = memory;
    return DW_OK;
}

dw_status dw__freeze_tensor(dw__freeze *f, const dw_snapshot_tensor *tensor, dw_error *err)
{
    return f->apart ? dw_snapshot_writer_tensor_copied(f->writer, tensor, err)
                    : dw_snapshot_writer_tensor(f->writer, tensor, err);
}

const dw_snapshot_file *dw__thaw_last_file(const dw__thaw *t)
{
    return t->files[t->file_count - 1];
}

bool dw__thaw_is_delta(const dw_snapshot_file *file)
{
    const char *kind = dw_snapshot_file_meta(file, "kind");
    return kind != NULL && strcmp(kind, "delta") == 0;
}

dw_status dw__thaw_find_tensor(const dw_snapshot_file *file, const char *name, const char *dtype,
                               uint64_t row, const dw_snapshot_entry **out, dw_error *err)
{
    const dw_snapshot_entry *found = dw_snapshot_file_tensor(file, name);
    *out = found;
    if (found == NULL) {
        return DW_OK;
    }
    size_t dimensions = row > 1 ? 2 : 1;
    if (strcmp(found->dtype, dtype) != 0 || found->dimension_count != dimensions ||
        (row > 1 && found->shape[1] != row)) {
        return dw_fail(err, DW_E_FORMAT, "%s: of another type or shape than %s [n%s%llu]", name,
                       dtype, row > 1 ? ", " : "] by ", (unsigned long long)row);
    }
    return DW_OK;
}
