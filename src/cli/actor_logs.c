/* driftwood actor logs: what was logged of an actor, by the server that works in the folder. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/actor_state.h"
#include "cli/remote.h"

/* Lines of JSON, or events, as they come. */
typedef struct following {
    bool json;
    char *line; /* [count] */
    size_t count;
    size_t capacity;
} following;

static const char *text_of(const json_t *entry, const char *name)
{
    const char *text = json_string_value(json_object_get(entry, name));
    return text != NULL ? text : "";
}

static void print_entry(const json_t *entry)
{
    static const char *const told[] = {"time_ms", "level", "event",    "actor",
                                       "tenant",  "text",  "trace_id", "span_id"};
    json_int_t time_ms = json_integer_value(json_object_get(entry, "time_ms"));
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    char at[32] = "?";
    const char *name;
    json_t *value;
    if (gmtime_r(&seconds, &parts) != NULL) {
        (void)strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%S", &parts);
    }
    dw_cli_print("%s.%03dZ %-5s %s", at, (int)(time_ms % 1000), text_of(entry, "level"),
                 text_of(entry, "event"));
    json_object_foreach((json_t *)(uintptr_t)entry, name, value)
    {
        bool known = false;
        for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
            known = known || strcmp(told[i], name) == 0;
        }
        if (!known && json_is_integer(value)) {
            dw_cli_print(" %s=%lld", name, (long long)json_integer_value(value));
        } else if (!known && json_is_string(value)) {
            dw_cli_print(" %s=", name);
            dw_cli_put_plain(json_string_value(value));
        }
    }
    if (text_of(entry, "text")[0] != '\0') {
        dw_cli_print("  ");
        dw_cli_put_plain(text_of(entry, "text"));
    }
    dw_cli_print("\n");
}

static void tell(const following *to, json_t *entry)
{
    if (to->json) {
        dw_cli_print_json(entry, JSON_COMPACT);
    } else {
        print_entry(entry);
        json_decref(entry);
    }
}

static void take_line(following *to)
{
    static const char data[] = "data: ";
    char *text = to->line;
    size_t count = to->count;
    if (count >= sizeof data - 1 && memcmp(text, data, sizeof data - 1) == 0) {
        text += sizeof data - 1;
        count -= sizeof data - 1;
    }
    json_t *entry = json_loadb(text, count, 0, NULL);
    if (json_is_object(entry)) {
        tell(to, entry);
    } else {
        json_decref(entry); /* a comment */
    }
    to->count = 0;
}

static ptrdiff_t on_piece(void *user, const unsigned char *bytes, size_t count)
{
    following *to = user;
    if (to->count + count > to->capacity) {
        size_t capacity = 2 * (to->count + count);
        char *grown = dw_cli_realloc(to->line, capacity, 1);
        if (grown == NULL) {
            return -1;
        }
        to->line = grown;
        to->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != '\n') {
            to->line[to->count++] = (char)bytes[i];
        } else {
            take_line(to);
        }
    }
    return dw_cli_output_flush() ? (ptrdiff_t)count : -1;
}

dw_status dw_cli_actors_logs(dw_cli_actors *actors, const char *id, const dw_cli_logs *what,
                             dw_error *err)
{
    char path[160];
    json_t *answer = NULL;
    following to = {.json = what->json};
    size_t i;
    json_t *entry;
    if (actors->remote == NULL) {
        return dw_fail(err, DW_E_STATE,
                       "actor logs: no server works in the state folder; what is logged elsewhere "
                       "is told by --log FILE");
    }
    (void)snprintf(path, sizeof path, "/v1/actors/%s/logs?limit=%llu", id,
                   (unsigned long long)what->last);
    dw_status status = dw_cli_remote_call(actors->remote, "GET", path, NULL, &answer, err);
    json_array_foreach(json_object_get(answer, "data"), i, entry)
    {
        tell(&to, json_incref(entry));
    }
    json_decref(answer);
    if (status != DW_OK || !what->follow || !dw_cli_output_flush()) {
        return status;
    }
    (void)snprintf(path, sizeof path, "/v1/actors/%s/logs?follow=true", id);
    const dw_cli_asked asked = {
        .method = "GET", .path = path, .fd = -1, .on_piece = on_piece, .user = &to};
    status = dw_cli_remote_ask(actors->remote, &asked, NULL, err);
    free(to.line);
    return status;
}
