/* Members of untrusted JSON objects, each of the type that is wanted. `where` names the object in
 * messages. Errors: DW_E_FORMAT (missing, or of another type), DW_E_LIMIT (a number too large). */
#ifndef DW_SNAPSHOT_JSON_READ_H
#define DW_SNAPSHOT_JSON_READ_H

#include <jansson.h>

#include "base/status.h"

dw_status dw__json_whole(const json_t *object, const char *where, const char *key, uint64_t max,
                         uint64_t *value, dw_error *err);
/* Borrowed from the object; holds no NUL before its end. */
dw_status dw__json_text(const json_t *object, const char *where, const char *key,
                        const char **value, dw_error *err);
dw_status dw__json_array(const json_t *object, const char *where, const char *key, size_t max,
                         const json_t **value, dw_error *err);
dw_status dw__json_object(const json_t *object, const char *where, const char *key,
                          const json_t **value, dw_error *err);
typedef struct dw__choices {
    const char *const *names; /* [count]; NULL: none has this number */
    size_t count;
} dw__choices;
#define DW__CHOICES(list)                                                                          \
    {                                                                                              \
        list, sizeof(list) / sizeof *(list)                                                        \
    }
/* Which of the names the text is. */
dw_status dw__json_choice(const json_t *object, const char *where, const char *key,
                          const dw__choices *choices, size_t *value, dw_error *err);

#endif
