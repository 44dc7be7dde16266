/* What a request's query says, checked. Names are as they stand; values are decoded: '+' is a
 * space, "%2F" a byte. One that cannot be decoded, or does not fit, is refused by its name.
 * Thread: the loop's. */
#ifndef DW_SERVING_URL_H
#define DW_SERVING_URL_H

#include "serving/params.h"

/* "%2F" and the like: [bytes] of `from` -> to [capacity], a NUL behind. NULL: done; else why not,
 * static: an escape without two hexadecimal digits, one of NUL, or no room. */
const char *dw_percent_decode(const char *from, size_t bytes, char *to, size_t capacity);

/* The first value of that name -> value [capacity]. false: there is none, and `value` is as it was;
 * or it is refused, and "". */
bool dw_url_text(const dw_exchange *exchange, const char *name, char *value, size_t capacity,
                 dw_fault *fault);
/* A whole number from `lowest` to `highest`; `otherwise`: there is none, or it is refused. */
uint64_t dw_url_whole(const dw_exchange *exchange, const char *name, uint64_t lowest,
                      uint64_t highest, uint64_t otherwise, dw_fault *fault);
bool dw_url_truth(const dw_exchange *exchange, const char *name, bool otherwise, dw_fault *fault);

#endif
