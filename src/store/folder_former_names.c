#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/folder_former_internal.h"

#define ASIDE "aside-"
#define DESCENT ".descent-"
#define IDS_A_PIECE 12
#define OUTSIDE "0000000000000000" /* stands for FROM */

/* "-CAUSE-COUNT" or nothing. */
static bool parse_cause(const char *text, dw_message_row *message)
{
    int length = 0;
    if (*text == '\0') {
        return true;
    }
    if (sscanf(text, "-%16" SCNx64 "-%n", &message->cause, &length) != 1 || length == 0) {
        return false;
    }
    text += length;
    return dw__folder_number(&text, &message->caused) && *text == '\0';
}

bool dw__former_message(const char *name, dw_message_row *message)
{
    int length = 0;
    const char *next = name;
    *message = (dw_message_row){.aside = strncmp(name, ASIDE, sizeof ASIDE - 1) == 0};
    next += message->aside ? sizeof ASIDE - 1 : 0;
    if (!dw__folder_number(&next, &message->number) ||
        sscanf(next, "-%16[0-9a-f]-%16" SCNx64 "%n", message->from, &message->effect, &length) !=
            2 ||
        length == 0 || !dw_actor_id_good(message->from) || !parse_cause(next + length, message)) {
        return false;
    }
    if (strcmp(message->from, OUTSIDE) == 0) {
        message->from[0] = '\0';
    }
    return true;
}

bool dw__former_delivered(const char *name, char id[DW_ACTOR_ID_CHARS + 1], dw_message_row *message)
{
    static const char *const starts[] = {".delivered-", ".had-"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        size_t start = strlen(starts[i]);
        if (strncmp(name, starts[i], start) != 0 || strlen(name) <= start + DW_ACTOR_ID_CHARS + 1) {
            continue;
        }
        (void)snprintf(id, DW_ACTOR_ID_CHARS + 1, "%s", name + start);
        return dw_actor_id_good(id) &&
               dw__former_message(name + start + DW_ACTOR_ID_CHARS + 1, message) &&
               message->from[0] != '\0';
    }
    return false;
}

void dw__former_descent(const char *name, dw_descent *descent)
{
    uint64_t piece = 0;
    uint64_t depth = 0;
    const char *next = name + sizeof DESCENT - 1;
    if (strncmp(name, DESCENT, sizeof DESCENT - 1) != 0 || !dw__folder_number(&next, &piece) ||
        *next++ != '-' || !dw__folder_number(&next, &depth) ||
        piece >= DW_ANCESTORS_MAX / IDS_A_PIECE || depth > DW_ANCESTORS_MAX) {
        return;
    }
    descent->depth = (uint32_t)depth;
    for (size_t i = piece * IDS_A_PIECE; *next == '-' && i < (piece + 1) * IDS_A_PIECE; i++) {
        dw_actor_name *ancestor = &descent->ancestors[i];
        (void)snprintf(ancestor->id, sizeof ancestor->id, "%s", next + 1);
        if (!dw_actor_id_good(ancestor->id)) {
            break;
        }
        next += 1 + DW_ACTOR_ID_CHARS;
        descent->count = descent->count > i + 1 ? descent->count : (uint32_t)(i + 1);
    }
}

bool dw__former_work(const char **text, dw_attempted *work)
{
    const char *next = *text;
    const char kind = *next;
    if ((kind != DW_ATTEMPTED_MESSAGE && kind != DW_ATTEMPTED_OWN_MESSAGE &&
         kind != DW_ATTEMPTED_EFFECT) ||
        *++next != ' ') {
        return false;
    }
    next++;
    work->kind = (dw_attempted_kind)kind;
    if (!dw__folder_number(&next, &work->number) || *next++ != ' ' ||
        !dw__folder_number(&next, &work->inside)) {
        return false;
    }
    *text = next;
    return true;
}

bool dw__former_attempts(const char *text, dw_attempts *attempts)
{
    uint64_t count = 0;
    const char *next = text;
    *attempts = (dw_attempts){.count = 0};
    if (!dw__former_work(&next, &attempts->work) || *next++ != ' ' ||
        !dw__folder_number(&next, &count) || *next++ != '\n' || count > UINT32_MAX) {
        return false;
    }
    attempts->count = (uint32_t)count;
    (void)snprintf(attempts->reason, sizeof attempts->reason, "%s", next);
    return true;
}
