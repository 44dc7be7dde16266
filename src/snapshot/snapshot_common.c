/* Names, types and shapes in snapshot files; places in series. */
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

/* ---- places -------------------------------------------------------------------------------- */

/* Digits up to `end`, which they go to; false: there are none, or too many. */
static bool read_number(const char **text, char end, uint64_t *number)
{
    const char *at = *text;
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (value > DW_SNAPSHOT_FILE_BYTES_MAX) {
            return false;
        }
        value = value * 10 + (uint64_t)(*at - '0');
    }
    const bool good = at != *text && *at == end;
    *text = at + 1;
    *number = value;
    return good;
}

bool dw_snapshot_place_read(const char *path, dw_snapshot_place *place)
{
    static const char ending[] = ".series";
    const size_t ending_bytes = sizeof ending - 1;
    const char *slash = strrchr(path, '/');
    const char *at = slash != NULL ? slash + 1 : path;
    if (slash == NULL || (size_t)(slash - path) <= ending_bytes ||
        memcmp(slash - ending_bytes, ending, ending_bytes) != 0) {
        return false;
    }
    place->path_bytes = (size_t)(slash - path);
    return read_number(&at, '+', &place->begin) && read_number(&at, '\0', &place->bytes) &&
           place->begin % DW_SNAPSHOT_ALIGNMENT == 0;
}

uint64_t dw_snapshot_place_end(uint64_t begin, uint64_t bytes)
{
    const uint64_t end = begin + bytes + DW_SNAPSHOT_ALIGNMENT - 1;
    return end - end % DW_SNAPSHOT_ALIGNMENT;
}
