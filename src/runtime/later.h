/* Answers that come later than their messages, by tickets.
 * Private to src/runtime, and part of runtime_internal.h, which says what holds of its functions.
 */
#ifndef DW_RUNTIME_LATER_H
#define DW_RUNTIME_LATER_H

#include "runtime/runtime_internal.h"

/* The message under way takes a ticket, if it is among what was asked for: its end is not told with
 * it. */
void dw__later_note(dw__record *record, const dw__ask *asked);
bool dw__answers_later(const dw__ask *asked);
/* A message with a ticket is done: its sender waits on. Takes the mail. */
void dw__later_begin(dw_runtime *runtime, dw__record *record, dw__mail *mail);
/* What the actor answers by a ticket; nothing where nobody waits. May take asked->mail. Behind
 * dw__later_begin, where it is the ticket of the message under way. */
void dw__later_answer(dw_runtime *runtime, dw__record *record, dw__ask *asked);
/* If the record is stopping: who began to wait for its answers meanwhile waits for nothing. */
void dw__later_cut(dw_runtime *runtime, dw__record *record);
/* The runtime is closing: who takes nothing for now is asked once more, and then no more. */
void dw__later_close(dw_runtime *runtime);
/* The one of that number ends so, and is told what is due of it before where that is DW_OK. false:
 * there is none. */
bool dw__later_end(dw_runtime *runtime, dw__record *record, uint64_t number, const dw_error *error);
void dw__later_end_all(dw_runtime *runtime, dw__record *record, const dw_error *error);
/* Tell its pieces; without the lock before, with it afterwards. */
void dw__later_tell(dw_runtime *runtime, dw__mail *mail);
void dw__later_settle(dw_runtime *runtime, dw__mail *mail);
/* What a mail has of this, which is about to be freed. */
void dw__later_release(dw_runtime *runtime, dw__mail *mail);

#endif
