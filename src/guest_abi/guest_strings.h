/* Strings of a guest, read where they lie: NUL-terminated, each looked at no further than it may be
 * long, however much memory there is behind it. Private to src/guest_abi.
 * Thread: the guest's. */
#ifndef DW_GUEST_ABI_GUEST_STRINGS_H
#define DW_GUEST_ABI_GUEST_STRINGS_H

#include "wasm/guest_instance.h"

#define DW__MESSAGE_BYTES 8 /* dw_message in wasm32: two pointers */

bool dw__overlaps(const void *a, size_t a_bytes, const void *b, size_t b_bytes);

/* The string at `pointer`, of at most `bytes_max` before its end, which must come inside the
 * memory. Errors: DW_E_RANGE, DW_E_LIMIT. */
dw_status dw__guest_string(dw_instance *instance, const char *what, uint32_t pointer,
                           size_t bytes_max, const char **out, dw_error *err);

typedef struct dw__guest_chat {
    const uint32_t *pointers; /* [count][2]: of roles and contents */
    size_t count;
    const char **texts; /* out, [2][count]: the roles first */
    const void *text;   /* where an answer goes: apart from all of them */
    size_t capacity;
} dw__guest_chat;

/* Errors: DW_E_RANGE, DW_E_LIMIT (16 MiB of them all), DW_E_OVERLAP. */
dw_status dw__guest_messages(dw_instance *instance, const dw__guest_chat *chat, dw_error *err);

#endif
