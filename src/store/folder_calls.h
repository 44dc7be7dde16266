/* What tools answered to actors that live in the folder: kept from the moment of the answer until
 * the message is done in which they were called, so that one that is worked on again is told the
 * same, and no tool works twice. Each is a file, calls/ID/INDEX, of the message worked on last.
 * Thread: any, one at a time for an actor. These wait for the disk. */
#ifndef DW_STORE_FOLDER_CALLS_H
#define DW_STORE_FOLDER_CALLS_H

#include "base/hash.h"
#include "store/actor_folder.h"

/* A call, so that it is known again. */
typedef struct dw_kept_call {
    dw_attempted work;            /* the message */
    uint32_t index;               /* of its calls */
    const char *name;             /* the tool's */
    char request[DW_SHA256_TEXT]; /* the hash of what was asked */
} dw_kept_call;

/* What came of it. */
typedef struct dw_call_result {
    dw_status status;
    char message[248];     /* where status is not DW_OK */
    unsigned char *answer; /* [bytes] */
    size_t bytes;
} dw_call_result;

/* `*found`: the call was made before, with that result, whose answer is the caller's to dw_free.
 * Else what was kept of this call and of those behind it is gone. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_find_call(dw_actor_folder *folder, const char *id,
                                    const dw_kept_call *call, bool *found, dw_call_result *result,
                                    dw_error *err);
/* It is on the disk when this returns. Errors: DW_E_IO, DW_E_MEMORY. */
dw_status dw_actor_folder_note_call(dw_actor_folder *folder, const char *id,
                                    const dw_kept_call *call, const dw_call_result *result,
                                    dw_error *err);
/* The message is done. Best effort: another one's calls are not taken for its. */
void dw_actor_folder_drop_calls(dw_actor_folder *folder, const char *id);

#endif
