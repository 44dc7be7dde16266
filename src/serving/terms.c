#include "serving/terms.h"

#include <stdio.h>
#include <string.h>

#include "base/name.h"

static bool is_name(const char *text)
{
    size_t length = strlen(text);
    return length > 0 && length <= DW_SESSION_MAX && dw_name_letters(text, length);
}

/* What is said of it, or NULL. */
static const char *said(const dw_exchange *exchange, const json_t *own, const char *name)
{
    char header[64];
    const json_t *member = json_object_get(own, name);
    (void)snprintf(header, sizeof header, "x-driftwood-%s", name);
    return json_is_boolean(member)  ? (json_is_true(member) ? "true" : "false")
           : json_is_string(member) ? json_string_value(member)
           : member != NULL         ? "?"
                                    : dw_exchange_header(exchange, header);
}

static void take_name(char name[DW_SESSION_MAX + 1], const char *given, const char *what,
                      dw_fault *fault)
{
    if (given != NULL && !is_name(given)) {
        dw_fault_set(fault, 400, what,
                     "%s is '%.60s'; 1 to %d letters, digits, '.', '_' and '-' are wanted", what,
                     given, DW_SESSION_MAX);
    } else if (given != NULL) {
        (void)snprintf(name, DW_SESSION_MAX + 1, "%s", given);
    }
}

/* The place of a word in a list that NULL ends; -1: it is not there, which is a fault. */
static int place_of(const char *given, const char *const *words, const char *what, dw_fault *fault)
{
    if (given == NULL) {
        return -1;
    }
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], given) == 0) {
            return i;
        }
    }
    dw_fault_set(fault, 400, what, "%s is '%.40s'; %s, %s%s%s is wanted", what, given, words[0],
                 words[1], words[2] != NULL ? " or " : "", words[2] != NULL ? words[2] : "");
    return -1;
}

void dw_terms_read(dw_terms *terms, const dw_exchange *exchange, const json_t *body,
                   dw_fault *fault)
{
    static const char *const priorities[] = {"normal", "high", "low", NULL}; /* as dw_priority */
    static const char *const truths[] = {"false", "true", NULL};
    const json_t *own = json_object_get(body, "driftwood");
    *terms = (dw_terms){.priority = -1, .pinned = -1};
    if (own != NULL && !json_is_null(own) && !json_is_object(own)) {
        dw_fault_set(fault, 400, "driftwood", "driftwood is no object");
    }
    take_name(terms->session, said(exchange, own, "session"), "session", fault);
    take_name(terms->parent, said(exchange, own, "parent"), "parent", fault);
    terms->priority = place_of(said(exchange, own, "priority"), priorities, "priority", fault);
    terms->pinned = place_of(said(exchange, own, "pin"), truths, "pin", fault);
    if (terms->parent[0] != '\0' && terms->session[0] == '\0') {
        dw_fault_set(fault, 400, "parent", "parent is of a session: session is wanted, too");
    }
}
