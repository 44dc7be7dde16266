#include "base/json_bounds.h"

#include <inttypes.h>
#include <string.h>

static bool exceeds(dw_json_excess *excess, const char *what, size_t at, uint64_t limit)
{
    *excess = (dw_json_excess){what, at, limit};
    return false;
}

/* The end of a string that begins at `at`: its quote, a NUL byte, or the text's end. */
static size_t string_end(const char *text, size_t bytes, size_t at)
{
    for (at++; at < bytes && text[at] != '"' && text[at] != '\0'; at++) {
        at += text[at] == '\\' && at + 1 < bytes && text[at + 1] != '\0';
    }
    return at;
}

bool dw_json_within(const char *text, size_t bytes, const dw_json_bounds *most,
                    dw_json_excess *excess)
{
    uint64_t values = 1;
    uint32_t depth = 0;
    if (bytes > most->bytes) {
        return exceeds(excess, "bytes", most->bytes, most->bytes);
    }
    for (size_t i = 0; i < bytes; i++) {
        switch (text[i]) {
        case '\0': /* jansson passes over one that stands behind a number */
            return exceeds(excess, "NUL", i, 0);
        case '"':
            i = string_end(text, bytes, i);
            if (i < bytes && text[i] == '\0') {
                return exceeds(excess, "NUL", i, 0);
            }
            break;
        case '{':
            values += most->object_values + 1;
            depth++;
            break;
        case '[':
            values++;
            depth++;
            break;
        case '}':
        case ']':
            depth -= depth > 0;
            break;
        case ',':
            values++;
            break;
        default:
            break;
        }
        if (depth > most->depth) {
            return exceeds(excess, "levels", i, most->depth);
        }
        if (values > most->values) {
            return exceeds(excess, "values", i, most->values);
        }
    }
    return true;
}

dw_status dw_json_check(const char *name, const char *text, size_t bytes,
                        const dw_json_bounds *most, dw_error *err)
{
    dw_json_excess excess;
    if (dw_json_within(text, bytes, most, &excess)) {
        return DW_OK;
    }
    return strcmp(excess.what, "NUL") == 0
               ? dw_fail(err, DW_E_FORMAT, "%s: byte %zu is NUL", name, excess.at)
               : dw_fail(err, DW_E_LIMIT, "%s: JSON of more than %" PRIu64 " %s at byte %zu", name,
                         excess.limit, excess.what, excess.at);
}
