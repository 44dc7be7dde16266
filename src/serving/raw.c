#include "serving/raw.h"

#include <stdlib.h>
#include <string.h>

#include "serving/openai.h"

#define MARK "raw_" /* in front of what nobody can guess */
#define MARK_BYTES (sizeof MARK - 1 + 2 * (size_t)DW_ID_RANDOM_BYTES)

json_t *dw_raw_add(json_t *raws, const char *text)
{
    char mark[MARK_BYTES + 1];
    dw_make_id(mark, sizeof mark, MARK);
    json_t *value = json_string(mark);
    if (value == NULL || json_object_set_new(raws, mark, json_string(text)) != 0) {
        json_decref(value);
        return NULL;
    }
    return value;
}

/* Of the string whose opening quote is at `quote`; NULL: it is what it says. */
static const json_t *raw_at(const json_t *raws, const char *quote)
{
    char mark[MARK_BYTES + 1];
    if (strnlen(quote, MARK_BYTES + 2) < MARK_BYTES + 2 || quote[MARK_BYTES + 1] != '"') {
        return NULL;
    }
    memcpy(mark, quote + 1, MARK_BYTES);
    mark[MARK_BYTES] = '\0';
    return json_object_get(raws, mark);
}

bool dw_raw_dump(dw_text *to, const json_t *value, const json_t *raws)
{
    char *text = json_dumps(value, JSON_COMPACT);
    bool good = text != NULL;
    const char *from = text;
    const char *look = text;
    while (good && json_object_size(raws) > 0 && (look = strstr(look, "\"" MARK)) != NULL) {
        const json_t *raw = raw_at(raws, look);
        if (raw != NULL) {
            good = dw_text_add(to, from, (size_t)(look - from)) &&
                   dw_text_add(to, json_string_value(raw), json_string_length(raw));
            from = look + MARK_BYTES + 2;
        }
        look = raw != NULL ? from : look + 1;
    }
    good = good && dw_text_add(to, from, strlen(from));
    free(text);
    return good;
}
