/* Values of JSON that are text already, among jansson's, which holds no integer beyond 64 bits, no
 * number beyond a double, no \u0000 in a name, and one member of a name.
 * Thread: one at a time. */
#ifndef DW_SERVING_RAW_H
#define DW_SERVING_RAW_H

#include <jansson.h>

#include "http/text.h"

/* A string that stands for `text`, JSON in UTF-8, in what dw_raw_dump is given with the same
 * `raws`, an object. No other string is like it but by knowing it. NULL: no memory. */
json_t *dw_raw_add(json_t *raws, const char *text);
/* As json_dumps with JSON_COMPACT -> to [its count], behind what is there. `raws` NULL: there are
 * none. false: no memory; there may be a part of it. */
bool dw_raw_dump(dw_text *to, const json_t *value, const json_t *raws);

#endif
