/* JSON as clients and models write it that parsers refuse whole, made JSON of the same meaning.
 * Thread: any. */
#ifndef DW_BASE_JSON_MEND_H
#define DW_BASE_JSON_MEND_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A copy of text [bytes] -> [*count], for dw_free, in which escapes that are no character, half of
 * a surrogate pair and \u0000, are \ufffd, integers beyond 64 bits numbers with a fraction, and
 * numbers beyond double's 1e308.
 * NULL: there is nothing to mend, or no memory. The text need not be JSON. */
char *dw_json_mend(const char *text, size_t bytes, size_t *count);
/* The same of halves of surrogate pairs alone: several parsers refuse these, none the others. */
char *dw_json_mend_halves(const char *text, size_t bytes, size_t *count);

#ifdef __cplusplus
}
#endif

#endif
