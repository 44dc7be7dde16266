/* What a $ref points at: a JSON pointer (RFC 6901) into this schema, an anchor in it, or either
 * behind the $id of a part of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_grammar_internal.h"

#define SEARCH_DEPTH_MAX 200

static bool pointer_step(json_t **at, const char *step, size_t bytes)
{
    char name[256];
    size_t count = 0;
    for (size_t i = 0; i < bytes && count + 1 < sizeof name; i++) {
        unsigned code;
        if (step[i] == '~' && i + 1 < bytes && (step[i + 1] == '0' || step[i + 1] == '1')) {
            name[count++] = step[++i] == '0' ? '~' : '/';
        } else if (step[i] == '%' && i + 2 < bytes && sscanf(step + i + 1, "%2x", &code) == 1) {
            name[count++] = (char)code;
            i += 2;
        } else {
            name[count++] = step[i];
        }
    }
    name[count] = '\0';
    if (json_is_array(*at)) {
        size_t digits = strspn(name, "0123456789");
        bool number = digits > 0 && digits < 8 && name[digits] == '\0';
        *at = number ? json_array_get(*at, (size_t)strtoul(name, NULL, 10)) : NULL;
    } else {
        *at = json_object_get(*at, name);
    }
    return *at != NULL;
}

/* NULL: nothing there. */
static json_t *follow_pointer(json_t *from, const char *text)
{
    while (from != NULL && *text == '/') {
        size_t bytes = strcspn(++text, "/");
        if (!pointer_step(&from, text, bytes)) {
            return NULL;
        }
        text += bytes;
    }
    return from;
}

/* Whether an $id is what [bytes] says, which may leave out what comes before its last part. */
static bool is_id(const char *id, const char *what, size_t bytes)
{
    size_t length = id != NULL ? strcspn(id, "#") : 0;
    return length >= bytes && bytes > 0 && memcmp(id + length - bytes, what, bytes) == 0 &&
           (length == bytes || id[length - bytes - 1] == '/');
}

static bool is_anchor(json_t *schema, const char *name)
{
    static const char *const keys[] = {"$anchor", "$dynamicAnchor"};
    static const char *const ids[] = {"$id", "id"};
    for (size_t i = 0; i < 2; i++) {
        const char *anchor = json_string_value(json_object_get(schema, keys[i]));
        const char *id = json_string_value(json_object_get(schema, ids[i]));
        if ((anchor != NULL && strcmp(anchor, name) == 0) ||
            (id != NULL && id[0] == '#' && strcmp(id + 1, name) == 0)) {
            return true;
        }
    }
    return false;
}

/* The first part of the tree with this anchor, or with this $id where `bytes` is not 0. */
static json_t *search(json_t *at, const char *what, size_t bytes, int depth)
{
    const char *key;
    json_t *value;
    json_t *found = NULL;
    if (depth == SEARCH_DEPTH_MAX) {
        return NULL;
    }
    if (json_is_object(at)) {
        const char *id = json_string_value(json_object_get(at, "$id"));
        id = id != NULL ? id : json_string_value(json_object_get(at, "id"));
        if (bytes > 0 ? is_id(id, what, bytes) : is_anchor(at, what)) {
            return at;
        }
        json_object_foreach(at, key, value)
        {
            if (strcmp(key, "enum") == 0 || strcmp(key, "const") == 0) {
                continue; /* data, whatever it looks like */
            }
            found = found != NULL ? found : search(value, what, bytes, depth + 1);
        }
    }
    for (size_t i = 0; found == NULL && json_is_array(at) && i < json_array_size(at); i++) {
        found = search(json_array_get(at, i), what, bytes, depth + 1);
    }
    return found;
}

dw_status dw__schema_resolve(dw__schema_converter *c, const char *key, json_t *reference,
                             json_t **out)
{
    const char *text = json_string_value(reference);
    if (text == NULL) {
        return dw__schema_wrong(c, key, "a string is needed");
    }
    size_t bytes = strcspn(text, "#");
    json_t *from = bytes > 0 ? search(c->root, text, bytes, 0) : c->root;
    if (from == NULL) {
        return dw__schema_refuse(c, key, "to another document is not supported");
    }
    const char *fragment = text[bytes] == '#' ? text + bytes + 1 : "";
    *out = fragment[0] == '/'    ? follow_pointer(from, fragment)
           : fragment[0] == '\0' ? from
                                 : search(from, fragment, 0, 0);
    return *out != NULL ? DW_OK : dw__schema_wrong(c, key, "it points at nothing");
}

json_t *dw__schema_reference_in(json_t *schema, const char **key)
{
    static const char *const keys[] = {"$ref", "$recursiveRef", "$dynamicRef"};
    for (size_t i = 0; i < 3; i++) {
        json_t *reference = json_object_get(schema, keys[i]);
        if (reference != NULL) {
            *key = keys[i];
            return reference;
        }
    }
    return NULL;
}
