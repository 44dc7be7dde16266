/* JSON written piece by piece: commas come by themselves, and whatever bytes a name or a text
 * holds, the result is JSON: what is no UTF-8 becomes U+FFFD.
 * Thread: one at a time. */
#ifndef DW_BASE_JSON_TEXT_H
#define DW_BASE_JSON_TEXT_H

#include "base/status.h"

/* Into a room that the caller has, or into memory that grows. */
typedef struct dw_json_text {
    char *items; /* [min(count, capacity)], no NUL behind */
    size_t capacity;
    size_t count; /* of the whole, where not all of it fits as well */
    bool grows;   /* `items` is its own */
    bool failed;  /* no memory: what came afterwards is missing */
    char last;    /* written */
} dw_json_text;

static inline dw_json_text dw_json_text_in(char *items, size_t capacity)
{
    return (dw_json_text){.items = items, .capacity = capacity};
}

static inline dw_json_text dw_json_text_growing(void)
{
    return (dw_json_text){.grows = true};
}

/* Of one that grows. */
void dw_json_text_release(dw_json_text *json);
/* Whether all of it is there. */
static inline bool dw_json_text_is_whole(const dw_json_text *json)
{
    return !json->failed && json->count <= json->capacity;
}

/* As it is. */
void dw_json_raw(dw_json_text *json, const char *bytes, size_t count);
/* "{" or "[", as a value; and "}" or "]". */
void dw_json_open(dw_json_text *json, char bracket);
void dw_json_close(dw_json_text *json, char bracket);
/* A value, which follows in an object its dw_json_key, in a list the one before. */
void dw_json_key(dw_json_text *json, const char *name);
void dw_json_string(dw_json_text *json, const char *text);
void dw_json_string_of(dw_json_text *json, const char *bytes, size_t count);
void dw_json_whole(dw_json_text *json, uint64_t value);
void dw_json_truth(dw_json_text *json, bool value);
/* Nanoseconds as microseconds, "12.345". */
void dw_json_micros(dw_json_text *json, uint64_t ns);

/* A key with its value. */
void dw_json_add_string(dw_json_text *json, const char *name, const char *text);
void dw_json_add_whole(dw_json_text *json, const char *name, uint64_t value);
void dw_json_add_truth(dw_json_text *json, const char *name, bool value);

#endif
