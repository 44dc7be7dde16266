/* JSON counted before it is parsed: a few bytes of it make a parser take hundreds. Used wherever
 * JSON comes from a file, a guest or a model. Thread: any. */
#ifndef DW_BASE_JSON_BOUNDS_H
#define DW_BASE_JSON_BOUNDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dw_json_bounds {
    size_t bytes;
    uint64_t values;
    uint32_t depth; /* of objects and arrays in each other */
    /* What an object counts beside its members: jansson's takes the memory of 24 numbers. */
    uint32_t object_values;
} dw_json_bounds;

/* What passes the bounds, and where. */
typedef struct dw_json_excess {
    const char
        *what; /* "bytes", "values", "levels"; "NUL": a byte 0, which no parser may pass over */
    size_t at; /* the byte */
    uint64_t limit;
} dw_json_excess;

/* Whether text [bytes] is within `most`; it need not be JSON. `*excess` is set where it is not. */
bool dw_json_within(const char *text, size_t bytes, const dw_json_bounds *most,
                    dw_json_excess *excess);
/* The same as a status; `name` of the text begins the message. Errors: DW_E_LIMIT, DW_E_FORMAT (a
 * NUL byte). */
dw_status dw_json_check(const char *name, const char *text, size_t bytes,
                        const dw_json_bounds *most, dw_error *err);

#ifdef __cplusplus
}
#endif

#endif
