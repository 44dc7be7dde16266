/* An actor that does what it should not, as its message's first letter says; a number, or a message
 * for another, follows. Without libc. Beside it lives another of its kind, which is only told to
 * add. */
#include "driftwood_guest.h"

#define MESSAGE_MAX 65536

typedef struct bytes_to_write {
    const char *data;
    uint32_t count;
} bytes_to_write;

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write"))) int32_t
wasi_fd_write(int32_t fd, const bytes_to_write *pieces, uint32_t count, uint32_t *written);

static char message[MESSAGE_MAX];
static char peer[DW_ACTOR_ID_BYTES];
static char id[DW_ACTOR_ID_BYTES];
static uint32_t counter;
static uint32_t groups; /* bits: "t0" and so on, that it is in */

static uint32_t number(const char *text, int32_t bytes)
{
    uint32_t value = 0;
    for (int32_t i = 0; i < bytes && text[i] >= '0' && text[i] <= '9'; i++) {
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    return value;
}

static int32_t send_self(const char *text, uint32_t bytes)
{
    int32_t status = dw_actor_id(id, sizeof id);
    return status < 0 ? status : dw_actor_send(id, sizeof id - 1, text, bytes);
}

/* Its host may end the process at that. */
static int32_t write_to_stderr(void)
{
    static const bytes_to_write piece = {"!", 1};
    uint32_t written;
    return wasi_fd_write(2, &piece, 1, &written);
}

/* Into group "tK", or out of it; with no digit it only answers which ones it is in. */
static int32_t change_group(const char *text, int32_t bytes)
{
    char group[2] = {'t', bytes > 0 ? text[0] : '?'};
    int32_t status = 0;
    if (group[1] >= '0' && group[1] <= '7') {
        groups ^= 1u << (group[1] - '0');
        status = (groups >> (group[1] - '0') & 1) != 0 ? dw_group_join(group, sizeof group)
                                                       : dw_group_leave(group, sizeof group);
    }
    return status < 0 ? status : dw_reply(&groups, sizeof groups);
}

static int32_t ask_once(char what)
{
    switch (what) {
    case 'B':
        return send_self("+1", 2);
    case 'C':
        return dw_actor_send(peer, sizeof peer - 1, "+1", 2);
    case 'F':
        return dw_actor_fork("+1", 2, id, sizeof id);
    default:
        return dw_actor_spawn(NULL, 0, "+1", 2, id, sizeof id);
    }
}

/* Answers how many of so many are granted, and with why the first was not that was not. */
static int32_t ask_often(char what, uint32_t count)
{
    uint32_t granted = 0;
    int32_t length = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (ask_once(what) >= 0) {
            granted++;
        } else if (length == 0) {
            length = dw_last_error(message, sizeof message);
        }
    }
    int32_t status = dw_reply(&granted, sizeof granted);
    return status < 0 || length <= 0 ? status : dw_reply(message, (uint32_t)length);
}

/* What goes on for ever, if it is let. */
static int32_t storm(char what)
{
    switch (what) {
    case 's': /* a message to itself */
        counter++;
        return send_self("s", 1);
    case 'p': { /* two that answer each other */
        counter++;
        int32_t length = dw_message_from(id, sizeof id);
        return dw_actor_send(length > 0 ? id : peer, sizeof id - 1, "p", 1);
    }
    case 'f':
        (void)dw_actor_fork("f", 1, id, sizeof id);
        return dw_actor_fork("f", 1, id, sizeof id);
    case 'n':
        (void)dw_actor_spawn(NULL, 0, "n", 1, id, sizeof id);
        return dw_actor_spawn(NULL, 0, "n", 1, id, sizeof id);
    case 'b': { /* ever more of them to itself */
        counter++;
        for (int i = 0; i < 256; i++) {
            (void)send_self("b", 1);
        }
        return 0;
    }
    case 't': /* a timer after another */
        counter++;
        return dw_actor_timer(1, "t", 1);
    case 'l':
        for (volatile uint32_t forever = 0;; forever++) {}
    default:
        return DW_E_ARG;
    }
}

static int32_t act(char what, const char *text, int32_t bytes)
{
    uint32_t value = number(text, bytes);
    switch (what) {
    case '+':
        counter += value;
        return dw_reply(&counter, sizeof counter);
    case '!':
        __builtin_trap();
    case 'k':
        return write_to_stderr();
    case 'j':
        return change_group(text, bytes);
    case 'I': /* the other one */
        if (bytes != (int32_t)sizeof peer - 1) {
            return DW_E_ARG;
        }
        __builtin_memcpy(peer, text, sizeof peer - 1);
        return 0;
    case 'D': /* the rest to the other one, to itself, and to itself by a timer */
        return dw_actor_send(peer, sizeof peer - 1, text, (uint32_t)bytes);
    case 'S':
        return send_self(text, (uint32_t)bytes);
    case 'A':
        return dw_actor_timer(0, text, (uint32_t)bytes);
    case 'U': /* a guest by name */
        return dw_actor_spawn(text, (uint32_t)bytes, "+1", 2, id, sizeof id);
    case 'G': /* a child with the rest as its first message */
        return dw_actor_fork(text, (uint32_t)bytes, id, sizeof id);
    case 'B':
    case 'C':
    case 'F':
    case 'N':
        return ask_often(what, value);
    default:
        return storm(what);
    }
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message);
    if (bytes < 1) {
        return bytes < 0 ? bytes : DW_E_ARG;
    }
    int32_t status = act(message[0], message + 1, bytes - 1);
    return status < 0 ? status : 0;
}
