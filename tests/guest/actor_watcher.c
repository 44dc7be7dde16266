/* An actor that watches others. "w MASK ID" watches, "u ID" does so no more, "W MASK ID" watches
 * and traps; "p" spawns one of its own module and watches it, "f" the same of a fork, "b NAME" of a
 * guest of that name; "l" begins to make one that ends, and one more when it is told so. "e" ends
 * it, "t" traps, "n" answers an error, "s ID TEXT" sends. "?" answers what it was told so far, a
 * line each, "c" how many that is and how often it has watched what it made, "x ID" whether it was
 * told of that one. What else it gets it counts for "m". */
#include <string.h>

#include "driftwood_guest.h"

static char message[4096];
static char told[1 << 20];
static uint32_t told_bytes;
static uint32_t told_count;
static uint32_t set_count;
static int32_t loops;
static uint32_t count;
static char made[64];

static uint32_t rest_after_id(const char *text, int32_t bytes)
{
    int32_t space = 0;
    while (space < bytes && text[space] != ' ') {
        space++;
    }
    return (uint32_t)space;
}

static int32_t note(int32_t bytes)
{
    char from[64];
    int32_t id_bytes = dw_message_from(from, sizeof from);
    /* The sender is whom it is about. */
    if (id_bytes != 16 || bytes < 16 || strstr(message, from) == NULL) {
        return DW_E_FORMAT;
    }
    if (told_bytes + (uint32_t)bytes + 1 < sizeof told) {
        memcpy(told + told_bytes, message, (uint32_t)bytes);
        told_bytes += (uint32_t)bytes;
        told[told_bytes++] = '\n';
    }
    told_count++;
    return 0;
}

static int32_t watch_made(int32_t status, uint32_t events);

/* Again and again. */
static int32_t make_next(void)
{
    return watch_made(dw_actor_spawn(NULL, 0, "e", 1, made, sizeof made), 0);
}

static int32_t watch_made(int32_t status, uint32_t events)
{
    if (status >= 0) {
        status = dw_actor_watch(made, 16, events);
        set_count += status >= 0;
    }
    return status < 0 ? status : dw_reply(made, 16);
}

static int32_t work(int32_t bytes)
{
    const char *rest = message + 4;
    const uint32_t rest_bytes = bytes > 4 ? (uint32_t)bytes - 4 : 0;
    uint32_t id_bytes = rest_after_id(message + 2, bytes - 2);
    switch (message[0]) {
    case 'w':
        return dw_actor_watch(rest, rest_bytes, (uint32_t)(message[2] - '0'));
    case 'W':
        (void)dw_actor_watch(rest, rest_bytes, (uint32_t)(message[2] - '0'));
        __builtin_trap();
    case 'u':
        return dw_actor_unwatch(message + 2, (uint32_t)bytes - 2);
    case 'p':
        return watch_made(dw_actor_spawn(NULL, 0, "m", 1, made, sizeof made), 3);
    case 'f':
        return watch_made(dw_actor_fork("m", 1, made, sizeof made), 3);
    case 'b':
        return watch_made(
            dw_actor_spawn(message + 2, (uint32_t)bytes - 2, "m", 1, made, sizeof made), 0);
    case 'l':
        loops = 1;
        return make_next();
    case 'e':
        return dw_actor_stop();
    case 't':
        __builtin_trap();
    case 'n':
        return DW_E_STATE;
    case 's':
        return dw_actor_send(message + 2, id_bytes, message + 3 + id_bytes,
                             (uint32_t)bytes - 3 - id_bytes);
    case 'x':
        told[told_bytes] = '\0';
        return dw_reply(strstr(told, message + 2) != NULL ? "1" : "0", 1);
    case '?':
        return dw_reply(told, told_bytes);
    case 'c':
        (void)dw_reply(&told_count, sizeof told_count);
        return dw_reply(&set_count, sizeof set_count);
    case 'm':
        return dw_reply(&count, sizeof count);
    default:
        count++;
        return 0;
    }
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message - 1);
    if (bytes < 1) {
        return bytes;
    }
    message[bytes] = '\0';
    if (dw_message_kind() != DW_MESSAGE_WATCH) {
        return work(bytes);
    }
    int32_t status = note(bytes);
    return status < 0 || !loops ? status : make_next();
}
