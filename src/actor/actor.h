/* An actor as the host's other parts see it. include/driftwood.h has its life.
 * Thread: one at a time, its instance's. */
#ifndef DW_ACTOR_ACTOR_H
#define DW_ACTOR_ACTOR_H

#include "actor/actor_settings.h"
#include "actor/mailbox.h"
#include "wasm/guest_instance.h"

/* dw_actor_spawn with settings (counted) and an id. */
dw_status dw_actor_spawn_as(dw_actor **out, dw_module *module, dw_actor_settings *settings,
                            const char *id, dw_error *err);
/* For src/store. The first two are borrowed, as long as the actor. */
dw_module *dw_actor_module(const dw_actor *actor);
const dw_actor_options *dw_actor_granted(const dw_actor *actor);
dw_actor_settings *dw_actor_settings_of(const dw_actor *actor); /* likewise; for src/runtime */
/* A call was aborted, so the actor's state is invalid. */
bool dw_actor_is_broken(const dw_actor *actor);
/* Files hold what it was when it was last frozen or thawed: the next can be a delta upon them. */
bool dw_actor_has_base(const dw_actor *actor);
/* Of one that is only to be destroyed from now on, and whose files hold all that it is: what its
 * contexts have of a device's memory stays there while there is room (kv/kv_kept.h), for its thaw
 * in the same `home`, a runtime's folder. */
void dw_actor_keep_logs(dw_actor *actor, const void *home);
/* From its next full freeze on, or its thaw, note which of its files holds what; deltas keep to
 * `files_max` files, a series being one, and write what is left of others once more. 0: not so. */
void dw_actor_map_files(dw_actor *actor, uint32_t files_max);
/* The files that hold something of it; 0: it is not known which. */
size_t dw_actor_file_count(const dw_actor *actor);
/* And what they take, with what is not needed in them any more; 0: that is not noted. */
uint64_t dw_actor_file_bytes(const dw_actor *actor);
/* It is not known any more. */
void dw_actor_forget_files(dw_actor *actor);
/* Files have numbers of their owner's: set that of the one that was written last, of the one at a
 * place in the list that it was thawed from, and how much was written of it; change one. */
void dw_actor_number_newest(dw_actor *actor, uint64_t number);
void dw_actor_number_file(dw_actor *actor, size_t place, uint64_t number, uint64_t bytes);
void dw_actor_renumber_file(dw_actor *actor, uint64_t number, uint64_t fresh, uint64_t series);
/* The series that one is in, by its place or its number, and how many bytes that takes now. */
void dw_actor_place_file(dw_actor *actor, size_t place, uint64_t series, uint64_t bytes);
void dw_actor_set_series(dw_actor *actor, uint64_t number, uint64_t series, uint64_t bytes);
/* What of that series is still needed, or where `series` is 0 of all files; 0: also where that is
 * not known. */
uint64_t dw_actor_needed_bytes(const dw_actor *actor, uint64_t series);
bool dw_actor_has_file(const dw_actor *actor, uint64_t number);
/* The first series in which at least so many are, but this one; 0: none. */
uint64_t dw_actor_find_series(const dw_actor *actor, uint64_t but, size_t least);
/* The file of that number, which is in the series, holds from now on what those of lower numbers in
 * it did, which are forgotten. */
void dw_actor_merge_files(dw_actor *actor, uint64_t series, uint64_t to);
/* Forget files that hold nothing of it any more: their numbers [*count], the caller's to dw_free.
 * Errors: DW_E_MEMORY. */
dw_status dw_actor_drop_files(dw_actor *actor, uint64_t **numbers, size_t *count, dw_error *err);
/* `id` is valid (dw_actor_id_good). Where it is another than before, so are the random numbers that
 * it draws from now on: they follow from its own and the id. */
void dw_actor_set_id(dw_actor *actor, const char *id);
/* What an actor asks of its host while it works on a message: `message`, whose kind is 0 for a
 * timer, and its number how long that waits in ms, is refused with an error that the guest gets, or
 * granted, its cause filled in. */
typedef dw_status (*dw_effect_guard_fn)(void *user, dw_actor *actor, dw_message *message,
                                        dw_error *err);
/* Carries a tool's call of the actor's out by `next`, the embedder's function, or knows what it
 * answered before. Thread: the call's. */
typedef dw_status (*dw_actor_call_fn)(void *user, dw_tool_call *call, dw_call_fn next,
                                      void *next_user, dw_error *err);
void dw_actor_set_calls(dw_actor *actor, dw_actor_call_fn calls, void *user);
/* What its guest has written to standard error, where it was granted an on_stderr, which has it
 * already. Thread: the guest's. */
typedef void (*dw_actor_output_fn)(void *user, const unsigned char *bytes, size_t count);
void dw_actor_set_on_error_output(dw_actor *actor, dw_actor_output_fn on_error_output, void *user);
void dw_actor_set_guard(dw_actor *actor, dw_effect_guard_fn guard, void *user);
/* The message under way, NULL: none. Its cause may be set. */
dw_message *dw_actor_current(dw_actor *actor);
/* Spawns and forks that were asked for during this message. */
size_t dw_actor_asked_to_make(const dw_actor *actor);
/* How many of this message's are to watch others; whether one is to make actor `id`. */
size_t dw_actor_asked_to_watch(const dw_actor *actor);
bool dw_actor_asked_for(const dw_actor *actor, const char *id);
/* Of the message that was sent to the actor last. */
void dw_actor_set_cause(dw_actor *actor, uint64_t cause, uint64_t caused);
/* Of the effect with this number; 0, 0: there is none. */
void dw_actor_effect_cause(const dw_actor *actor, uint64_t number, uint64_t *cause,
                           uint64_t *caused);
/* What an actor counts ends here: work that would bring a counter beyond it is refused, so that
 * whatever is frozen can be thawed. */
#define DW_ACTOR_COUNTER_MAX ((uint64_t)INT64_MAX / 2)
/* As late as its clock goes (DW_CLOCK_NS_MAX). */
#define DW_ACTOR_AT_MS_MAX ((uint64_t)INT64_MAX / 1000000)
/* Messages worked on so far; messages and timers that are in it. */
uint64_t dw_actor_received(const dw_actor *actor);
size_t dw_actor_inside(const dw_actor *actor);
/* Effects from now on are numbered behind those of `other`, whose place the actor takes. */
void dw_actor_number_behind(dw_actor *actor, const dw_actor *other);
/* It was taken back to what it was before: it draws other random numbers than it did then, else its
 * secrets, and the ids of actors that it makes, would come twice. */
void dw_actor_renew_random(dw_actor *actor);
/* Drop the message that waits longest, if one does. */
void dw_actor_drop_message(dw_actor *actor);
/* Take it out: the caller's to dw_free; NULL: none waits. */
dw_message *dw_actor_take_message(dw_actor *actor);

/* For host functions; each acts on the message under way. Errors of all: DW_E_STATE, DW_E_LIMIT,
 * DW_E_MEMORY. */
const char *dw_actor_sender(const dw_actor *actor); /* "": outside */
/* DW_MESSAGE_* of it; 0: there is none. */
int32_t dw_actor_message_kind(const dw_actor *actor);
dw_status dw_actor_reply(dw_actor *actor, const void *bytes, size_t count, dw_error *err);
/* An effect, to be carried out if the message ends well. `message` is taken. */
dw_status dw_actor_add_effect(dw_actor *actor, dw_effect_kind kind, dw_message *message,
                              dw_error *err);
/* A timer, due so long after the message's time and what the actor's clock went on by since that
 * was begun. `message` is taken. */
dw_status dw_actor_add_timer(dw_actor *actor, dw_message *message, uint64_t wait_ms, dw_error *err);
/* The message under way is answered later: *ticket, one a message, is for dw_actor_answer, in this
 * message or a later one. Errors: also DW_E_STATE (it has a ticket), DW_E_LIMIT (tickets). */
dw_status dw_actor_take_ticket(dw_actor *actor, uint64_t *ticket, dw_error *err);
/* The next piece of the answer that a ticket is for, which is told when the message under way has
 * ended well. After the `last` one the ticket is no more. Errors: also DW_E_NOT_FOUND. */
dw_status dw_actor_answer(dw_actor *actor, uint64_t ticket, const void *bytes, size_t count,
                          bool last, dw_error *err);
/* An id for an actor that it makes, of its own random numbers. */
void dw_actor_draw_id(dw_actor *actor, char id[DW_ACTOR_ID_CHARS + 1]);

/* dw_actor_receive in two: before and after the call of driftwood_receive. Errors of the first:
 * DW_E_STATE, DW_E_END: nothing has begun. The second takes what the call gave (exit_code -1: the
 * guest did not leave; `local` has a message if `status` is a failure) and returns what
 * dw_actor_receive does, its message in `local`. In its place, where the guest was never called:
 * the message waits again. */
dw_status dw_actor_receive_begin(dw_actor *actor, dw_write_fn on_answer, void *user, dw_error *err);
/* What its guest has buffered was written, as far as is known how: dw_actor_receive_end does not
 * have it done. */
void dw_actor_receive_flushed(dw_actor *actor);
dw_status dw_actor_receive_end(dw_actor *actor, dw_status status, int32_t result, int exit_code,
                               dw_error *local);
void dw_actor_receive_undo(dw_actor *actor);

#endif
