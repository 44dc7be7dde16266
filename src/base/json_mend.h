/* JSON as clients write it that jansson refuses whole, made JSON of the same meaning. Thread:
 * any. */
#ifndef DW_BASE_JSON_MEND_H
#define DW_BASE_JSON_MEND_H

#include <stddef.h>

/* A copy of text [bytes] -> [*count], for dw_free, in which escapes that are no character, half of
 * a surrogate pair and \u0000, are \ufffd, and integers beyond 64 bits numbers with a fraction.
 * NULL: there is nothing to mend, or no memory. The text need not be JSON. */
char *dw_json_mend(const char *text, size_t bytes, size_t *count);

#endif
