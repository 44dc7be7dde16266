/* An actor as its host functions and the snapshot see it. include/driftwood.h has its life.
 * Thread: one at a time, its instance's. */
#ifndef DW_ACTOR_ACTOR_H
#define DW_ACTOR_ACTOR_H

#include "actor/actor_settings.h"
#include "actor/mailbox.h"
#include "memory/memory_image.h"
#include "wasm/guest_instance.h"

/* Most linear memories of a guest (the store's limiter holds it to that). */
#define DW_ACTOR_MEMORIES_MAX 16

/* What the files hold that the actor was last frozen to or thawed from. */
typedef struct dw__frozen {
    char identity[33];                              /* "": none */
    dw_memory_image *images[DW_ACTOR_MEMORIES_MAX]; /* counted */
    int32_t *contexts; /* [context_count]: handles whose logs' saved bytes are in the files */
    size_t context_count;
} dw__frozen;

struct dw_actor {
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_module *module; /* counted, as all below */
    dw_actor_settings *settings;
    dw_instance *instance;
    dw_memory_image *images[DW_ACTOR_MEMORIES_MAX]; /* what the memories map; NULL: nothing */

    dw_mailbox mailbox;
    dw_mailbox timers;  /* by the time they are due */
    dw_mailbox effects; /* of messages that ended well */
    uint64_t effect_number;
    uint64_t received; /* messages worked on */

    /* While it works on a message. */
    dw_message *current;
    bool taken; /* the guest has read `current` */
    dw_mailbox new_effects;
    dw_mailbox new_timers;
    dw_write_fn on_answer;
    void *user;

    dw__frozen frozen;
    char broken[200]; /* why its state is none any more; empty: it is good */
};

/* For src/store. The first two are borrowed, as long as the actor. */
dw_module *dw_actor_module(const dw_actor *actor);
const dw_actor_options *dw_actor_granted(const dw_actor *actor);
/* A call broke off: its state is none any more. */
bool dw_actor_is_broken(const dw_actor *actor);
/* Files hold what it was when it was last frozen or thawed: the next can be a delta upon them. */
bool dw_actor_has_base(const dw_actor *actor);
/* `id` is a good one (dw_actor_id_good). */
void dw_actor_set_id(dw_actor *actor, const char *id);
/* Drop the message that waits longest, if one does. */
void dw_actor_drop_message(dw_actor *actor);

/* For host functions; each acts on the message under way. Errors of all: DW_E_STATE, DW_E_LIMIT,
 * DW_E_MEMORY. */
const char *dw_actor_sender(const dw_actor *actor); /* "": outside */
dw_status dw_actor_reply(dw_actor *actor, const void *bytes, size_t count, dw_error *err);
/* An effect, to be carried out if the message ends well. `message` is taken. */
dw_status dw_actor_add_effect(dw_actor *actor, dw_effect_kind kind, dw_message *message,
                              dw_error *err);
/* A timer; message->number is when it is due. `message` is taken. */
dw_status dw_actor_add_timer(dw_actor *actor, dw_message *message, dw_error *err);
void dw_actor_new_id(char id[DW_ACTOR_ID_CHARS + 1]);

/* dw_actor_receive in two: before and after the call of driftwood_receive. Errors of the first:
 * DW_E_STATE, DW_E_END: nothing has begun. The second takes what the call gave (exit_code -1: the
 * guest did not leave; `local` has a message if `status` is a failure) and returns what
 * dw_actor_receive does, its message in `local`. In its place, where the guest was never called:
 * the message waits again. */
dw_status dw__actor_receive_begin(dw_actor *actor, dw_write_fn on_answer, void *user,
                                  dw_error *err);
dw_status dw__actor_receive_end(dw_actor *actor, dw_status status, int32_t result, int exit_code,
                                dw_error *local);
void dw__actor_receive_undo(dw_actor *actor);

/* An actor of settings and module (both counted) whose instance nothing has run in, and whose state
 * the caller puts in. Errors: those of dw_instance_create. */
dw_status dw__actor_create_bare(dw_actor **out, dw_module *module, dw_actor_settings *settings,
                                const char *id, dw_error *err);
/* Pictures of all memories as they are now, in actor->images. Errors: those of
 * dw_memory_image_take. */
dw_status dw__actor_take_images(dw_actor *actor, dw_error *err);
/* Let the memories show images [count of the module's memories], which are counted; grows them.
 * Errors: DW_E_LIMIT, those of dw_memory_image_map. */
dw_status dw__actor_map_images(dw_actor *actor, dw_memory_image *const *images, dw_error *err);
/* Note that all there is now is in the file `identity`; `images` are of the memories.
 * Errors: DW_E_MEMORY: then the next freeze is a full one. */
dw_status dw__actor_note_frozen(dw_actor *actor, const char *identity, dw_error *err);
/* The child's files are the parent's. */
dw_status dw__actor_inherit_frozen(dw_actor *child, const dw_actor *parent, dw_error *err);
void dw__frozen_release(dw__frozen *frozen);
/* Whether the files hold a part of the log of the context with this handle. */
bool dw__frozen_holds(const dw__frozen *frozen, int32_t handle);
/* DW_E_STATE while a call is under way, or after one broke off. */
dw_status dw__actor_rests(const dw_actor *actor, dw_error *err);

#endif
