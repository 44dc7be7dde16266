/* The OpenAPI document. */
#include "server/openapi.h"

#include <stdlib.h>
#include <string.h>

#include "server/openapi_text.h"
#include "serving/openai.h"

static const char *method_name(dw_http_method method)
{
    return method == DW_HTTP_GET    ? "get"
           : method == DW_HTTP_POST ? "post"
           : method == DW_HTTP_PUT  ? "put"
                                    : "delete";
}

static const dw__route_text *text_of(dw_http_method method, const char *path)
{
    const dw__route_text *text;
    for (size_t i = 0; (text = dw__route_text_at(i)) != NULL; i++) {
        if (text->method == method && strcmp(text->path, path) == 0) {
            return text;
        }
    }
    return NULL;
}

/* Whether its answers have the shapes of actors' routes; others have their makers'. */
static bool is_own_shape(const char *path)
{
    static const char *const starts[] = {"/v1/actors",   "/v1/modules", "/v1/names",
                                         "/v1/groups",   "/v1/events",  "/v1/logs",
                                         "/v1/overview", "/v1/runtime"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        if (strncmp(path, starts[i], strlen(starts[i])) == 0) {
            return true;
        }
    }
    return false;
}

static json_t *reference(const char *schema)
{
    char path[80];
    (void)snprintf(path, sizeof path, "#/components/schemas/%s", schema);
    return json_pack("{s:s}", "$ref", path);
}

static json_t *content(const char *type, json_t *schema)
{
    return json_pack("{s:{s:o}}", type, "schema", schema);
}

/* ---- parameters ----------------------------------------------------------------------------- */

static void add_parameter(json_t *list, const char *name, size_t length, const char *where,
                          json_t *schema)
{
    (void)json_array_append_new(list, json_pack("{s:s%, s:s, s:b, s:o}", "name", name, length, "in",
                                                where, "required", strcmp(where, "path") == 0,
                                                "schema", schema));
}

/* Those in braces, and those of the query. */
static json_t *parameters(const char *path, const char *query)
{
    json_t *list = json_array();
    for (const char *at = path; (at = strchr(at, '{')) != NULL;) {
        size_t length = strcspn(++at, "}");
        add_parameter(list, at, length, "path", json_pack("{s:s}", "type", "string"));
    }
    while (query != NULL && *query != '\0') {
        size_t name = strcspn(query, ":");
        const char *type = query + name + 1;
        size_t length = strcspn(type, " ");
        json_t *schema = json_pack("{s:s%}", "type", type, length);
        if (strncmp(type, "integer", length) == 0) {
            (void)json_object_set_new(schema, "minimum", json_integer(0));
        }
        add_parameter(list, query, name, "query", schema);
        query = type + length + (type[length] == ' ');
    }
    return list;
}

/* ---- operations ----------------------------------------------------------------------------- */

static json_t *request_body(const dw__route_about *about, const dw__route_text *text)
{
    bool bytes = (about->takes & (DW_TAKES_BYTES | DW_TAKES_MODULE | DW_TAKES_SNAPSHOT)) != 0;
    if (text != NULL && text->request != NULL) {
        return json_pack("{s:b, s:o}", "required", true, "content",
                         content("application/json", reference(text->request)));
    }
    return bytes ? json_pack("{s:b, s:o}", "required", true, "content",
                             content("application/octet-stream",
                                     json_pack("{s:s, s:s}", "type", "string", "format", "binary")))
                 : NULL;
}

/* As what an answer comes that is asked for as a stream; NULL: there is no such. */
static const char *stream_type(const dw__route_about *about, const dw__route_text *text)
{
    static const char *const events[] = {"/completion", "/completions"};
    static const char *const lines[] = {"/api/chat", "/api/generate"};
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(about->path, lines[i]) == 0) {
            return "application/x-ndjson";
        }
        if (strcmp(about->path, events[i]) == 0) {
            return "text/event-stream";
        }
    }
    const char *request = text != NULL ? text->request : NULL;
    const char *schema = NULL;
    for (size_t i = 0; request != NULL && (schema = dw__schema_at(i)) != NULL; i++) {
        size_t length = strlen(request);
        if (strncmp(schema + 1, request, length) == 0 && schema[1 + length] == '"') {
            return strstr(schema, "\"stream\":") != NULL ? "text/event-stream" : NULL;
        }
    }
    return NULL;
}

/* Of an event each, in a stream of such; of a line of text otherwise. */
static json_t *stream_content(const char *type)
{
    bool events = strcmp(type, "text/event-stream") == 0;
    return content(type,
                   events ? json_pack("{s:s, s:[s], s:{s:{s:s}, s:{s:s}, s:{s:s}}}", "type",
                                      "object", "required", "data", "properties", "data", "type",
                                      "string", "event", "type", "string", "id", "type", "string")
                          : json_pack("{s:s}", "type", "string"));
}

static json_t *answer(const dw__route_about *about, const dw__route_text *text)
{
    json_t *types = json_object();
    json_t *plain = json_pack("{s:s}", "type", "string");
    const char *stream = stream_type(about, text);
    if (stream != NULL) {
        (void)json_object_update_new(types, stream_content(stream));
    }
    if ((about->takes & DW_GIVES_BYTES) != 0) {
        (void)json_object_update_new(
            types, content("application/octet-stream",
                           json_pack("{s:s, s:s}", "type", "string", "format", "binary")));
    }
    if ((about->takes & DW_GIVES_EVENTS) != 0) {
        (void)json_object_update_new(types, stream_content("text/event-stream"));
    }
    if ((about->takes & DW_GIVES_TEXT) != 0) {
        (void)json_object_update_new(types, content("text/plain", json_incref(plain)));
    }
    bool is_list = text != NULL && text->response != NULL;
    if ((about->takes & (DW_GIVES_BYTES | DW_GIVES_EVENTS | DW_GIVES_TEXT)) == 0 || is_list) {
        (void)json_object_update_new(
            types, content("application/json", is_list ? reference(text->response)
                                               : is_own_shape(about->path) ? reference("Object")
                                                                           : json_object()));
    }
    json_decref(plain);
    return json_pack("{s:s, s:o}", "description", "It is done", "content", types);
}

/* What it may answer: the good, and failures. */
static json_t *responses(const dw__route_about *about, const dw__route_text *text)
{
    static const char *const good[] = {"200", "201", "202"};
    json_t *all = json_object();
    json_t *one = answer(about, text);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (i == 0 || about->method == DW_HTTP_POST) {
            (void)json_object_set(all, good[i], one);
        }
    }
    json_decref(one);
    (void)json_object_set_new(
        all, "default",
        json_pack("{s:s, s:o}", "description", "It was refused, or failed", "content",
                  content("application/json",
                          is_own_shape(about->path) ? reference("Error") : json_object())));
    return all;
}

/* "getActorsIdMessages" */
static void name_operation(const dw__route_about *about, char *name, size_t capacity)
{
    size_t count = (size_t)snprintf(name, capacity, "%s", method_name(about->method));
    bool upper = true;
    for (const char *at = about->path; *at != '\0' && count + 1 < capacity; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');
        if (letter) {
            name[count++] = upper && *at >= 'a' ? (char)(*at - 'a' + 'A') : *at;
        }
        upper = !letter;
    }
    name[count] = '\0';
}

static void add_operation(json_t *paths, const dw__route_about *about)
{
    char name[160];
    const dw__route_text *text = text_of(about->method, about->path);
    json_t *path = json_object_get(paths, about->path);
    if (path == NULL) {
        path = json_object();
        (void)json_object_set_new(paths, about->path, path);
    }
    if (json_object_get(path, method_name(about->method)) != NULL) {
        return;
    }
    name_operation(about, name, sizeof name);
    json_t *operation = json_pack("{s:s, s:s, s:o, s:o}", "operationId", name, "summary",
                                  text != NULL ? text->summary : about->path, "parameters",
                                  parameters(about->path, text != NULL ? text->query : NULL),
                                  "responses", responses(about, text));
    json_t *body = request_body(about, text);
    if (body != NULL) {
        (void)json_object_set_new(operation, "requestBody", body);
    }
    (void)json_object_set_new(path, method_name(about->method), operation);
}

/* Those of a path that goes on are spelled out beside their texts. */
static void add_long(json_t *paths, const char *start)
{
    const dw__route_text *text;
    size_t length = strlen(start);
    for (size_t i = 0; (text = dw__route_text_at(i)) != NULL; i++) {
        if (strncmp(text->path, start, length) == 0) {
            add_operation(paths, &(dw__route_about){.method = text->method, .path = text->path});
        }
    }
}

static json_t *schemas(void)
{
    json_t *all = json_object();
    const char *text;
    for (size_t i = 0; (text = dw__schema_at(i)) != NULL; i++) {
        dw_text whole = {.bytes = NULL};
        if (dw_text_add(&whole, "{", 1) && dw_text_add(&whole, text, strlen(text)) &&
            dw_text_add(&whole, "}", 1)) {
            (void)json_object_update_new(all, json_loads(whole.bytes, 0, NULL));
        }
        dw_text_free(&whole);
    }
    return all;
}

static json_t *document(const dw_server *server)
{
    json_t *paths = json_object();
    dw__route_about about;
    for (size_t i = 0; dw__route_at(i, &about); i++) {
        if (about.method == DW_HTTP_OTHER) {
            add_long(paths, about.path);
        } else {
            add_operation(paths, &about);
        }
    }
    json_t *root = json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:o}}", "openapi", "3.1.0", "info",
                             "title", "Driftwood", "version", DW_VERSION, "paths", paths,
                             "components", "schemas", schemas());
    if (root != NULL && server->keys != NULL) {
        json_t *scheme = json_pack("{s:{s:s, s:s}}", "key", "type", "http", "scheme", "bearer");
        (void)json_object_set_new(json_object_get(root, "components"), "securitySchemes", scheme);
        (void)json_object_set_new(root, "security", json_pack("[{s:[]}]", "key"));
    }
    return root;
}

void dw__openapi_show(dw_server *server, dw_exchange *exchange)
{
    dw_send_json(exchange, 200, document(server));
}
