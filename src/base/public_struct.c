#include "base/public_struct.h"

#include <string.h>

#include "base/callback.h"
#include "base/log.h"

/* Beyond the largest struct by far: what is larger was never set. */
#define STRUCT_BYTES_MAX ((size_t)4096)

static size_t bytes_of(const void *given)
{
    size_t bytes;
    memcpy(&bytes, given, sizeof bytes); /* the first member of each */
    return bytes;
}

static bool is_plausible(size_t bytes)
{
    return bytes >= sizeof(size_t) && bytes <= STRUCT_BYTES_MAX;
}

dw_status dw_struct_check(const void *given, const char *name, dw_error *err)
{
    if (given == NULL || is_plausible(bytes_of(given))) {
        return DW_OK;
    }
    return dw_fail(err, DW_E_ARG, "%s.struct_bytes: %zu, sizeof(%s) is needed", name,
                   bytes_of(given), name);
}

dw_status dw_struct_read(void *own, size_t own_bytes, const void *given, const char *name,
                         dw_error *err)
{
    DW_ASSERT(own_bytes > sizeof(size_t) && own_bytes <= STRUCT_BYTES_MAX);
    dw_status status = dw_struct_check(given, name, err);
    if (status == DW_OK) {
        status = dw_callback_check(err);
    }
    if (status != DW_OK) {
        return status;
    }
    memset(own, 0, own_bytes);
    if (given != NULL) {
        const unsigned char *bytes = given;
        size_t count = bytes_of(given);
        for (size_t i = own_bytes; i < count; i++) {
            if (bytes[i] != 0) {
                return dw_fail(err, DW_E_UNSUPPORTED,
                               "%s: byte %zu of %zu is set, driftwood %s knows %zu", name, i, count,
                               DW_VERSION, own_bytes);
            }
        }
        memcpy(own, given, count < own_bytes ? count : own_bytes);
    }
    memcpy(own, &own_bytes, sizeof own_bytes);
    return DW_OK;
}

void dw_struct_write(void *given, const void *own, size_t own_bytes)
{
    if (given == NULL || !is_plausible(bytes_of(given))) {
        return;
    }
    size_t count = bytes_of(given);
    size_t known = count < own_bytes ? count : own_bytes;
    unsigned char *to = given;
    const unsigned char *from = own;
    memcpy(to + sizeof count, from + sizeof count, known - sizeof count);
    memset(to + known, 0, count - known);
}

dw_status dw_struct_fill(void *given, const void *own, size_t own_bytes, const char *name)
{
    dw_error error;
    dw_status status = dw_struct_check(given, name, &error);
    if (status != DW_OK) {
        dw_log(DW_LOG_ERROR, "%s", error.message);
        return status;
    }
    dw_struct_write(given, own, own_bytes);
    return DW_OK;
}
