/* Names, types and shapes in snapshot files. */
#include <string.h>

#include "base/checked.h"
#include "snapshot/snapshot_file_internal.h"

uint64_t dw__snapshot_dtype_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } types[] = {{"U8", 1}, {"I32", 4}, {"U32", 4}, {"I64", 8}, {"F16", 2}, {"F32", 4}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(dtype, types[i].name) == 0) {
            return types[i].bytes;
        }
    }
    return 0;
}

bool dw__snapshot_name_is_good(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    return length > 0 && length <= DW_SNAPSHOT_NAME_BYTES_MAX && name[length] == '\0';
}

bool dw__snapshot_name_is_filler(const char *name)
{
    return strncmp(name, DW__SNAPSHOT_FILLER, strlen(DW__SNAPSHOT_FILLER)) == 0;
}

bool dw__snapshot_shape_bytes(uint64_t *bytes, uint64_t element_bytes, const uint64_t *shape,
                              uint32_t dimension_count)
{
    *bytes = element_bytes;
    for (uint32_t i = 0; i < dimension_count; i++) {
        if (!dw_mul_u64(bytes, *bytes, shape[i]) || *bytes > DW_SNAPSHOT_FILE_BYTES_MAX) {
            return false;
        }
    }
    return true;
}

const char *dw__snapshot_path_end(const char *path)
{
    size_t length = strlen(path);
    return length > DW__SNAPSHOT_PATH_SHOWN ? path + length - DW__SNAPSHOT_PATH_SHOWN : path;
}
