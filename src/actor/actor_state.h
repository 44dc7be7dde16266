/* All that an actor is, for src/actor and for src/snapshot, which writes every field of it to files
 * and reads it from them. The others use actor.h.
 * Thread: one at a time, its instance's. */
#ifndef DW_ACTOR_ACTOR_STATE_H
#define DW_ACTOR_ACTOR_STATE_H

#include "actor/actor.h"
#include "actor/frozen_map.h"
#include "actor/last_words.h"
#include "memory/memory_image.h"
#include "wasm/repeatable.h"

/* What the files hold that the actor was last frozen to or thawed from. */
typedef struct dw_frozen {
    char identity[33];                              /* "": none */
    char settings[33];                              /* the hash of settings and models there */
    dw_memory_image *images[DW_GUEST_MEMORIES_MAX]; /* counted */
    int32_t *contexts; /* [context_count]: handles whose logs' saved bytes are in the files */
    size_t context_count;
    dw_frozen_map *map; /* which file holds what; NULL: it is not known */
} dw_frozen;

/* What an actor was when a freeze of it began. */
typedef struct dw_frozen_point {
    dw_memory_image *images[DW_GUEST_MEMORIES_MAX]; /* counted */
    int32_t *contexts;                              /* [context_count]: their handles */
    uint32_t *lengths;                              /* [context_count] */
    size_t context_count;
    bool open;
} dw_frozen_point;

struct dw_actor {
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_module *module; /* counted, as all below */
    dw_actor_settings *settings;
    dw_instance *instance;
    dw_memory_image *images[DW_GUEST_MEMORIES_MAX]; /* what the memories map; NULL: nothing */

    dw_mailbox mailbox;
    dw_mailbox timers;  /* by the time they are due */
    dw_mailbox effects; /* of messages that ended well */
    dw_mailbox tickets; /* messages that are still to be answered: `ticket`, until `number` in ms */
    uint64_t effect_number;
    uint64_t received; /* messages worked on */

    /* While it works on a message. */
    dw_message *current;
    uint64_t began_ms; /* what its clock said when it began */
    bool flushed;      /* what the guest had buffered of the answer is written */
    bool taken;        /* the guest has read `current` */
    bool answered_too_much;
    uint64_t answered_bytes; /* and printed */
    dw_mailbox new_effects;
    dw_mailbox new_timers;
    dw_mailbox new_tickets;
    dw_write_fn on_answer;
    void *user;
    dw_actor_call_fn calls; /* NULL: none */
    void *calls_user;
    dw_last_words said;                 /* to standard error, since the message began */
    dw_actor_output_fn on_error_output; /* NULL: nobody's */
    void *error_output_user;
    dw_effect_guard_fn guard; /* NULL: none */
    void *guard_user;
    struct dw_upgrade *upgrade; /* while its module changes (upgrade.c); NULL: it does not */

    dw_frozen frozen;
    bool freezing;      /* a freeze has begun and has not ended */
    uint32_t files_max; /* that it may be frozen to; 0: which file holds what is not noted */
    char broken[200];   /* why its state is invalid; empty: it is valid */
};

/* An actor of settings and module (both counted) whose instance nothing has run in, and whose state
 * the caller puts in. Errors: those of dw_instance_create. */
dw_status dw_actor_create_bare(dw_actor **out, dw_module *module, dw_actor_settings *settings,
                               const char *id, dw_error *err);
/* It has the clock of `parent`, which has another id, and not its random numbers: those that follow
 * from them and from its own id. */
void dw_actor_branch_random(dw_actor *actor, const dw_repeatable *parent);
/* Images of all memories as they are now, in actor->images. Errors: those of
 * dw_memory_image_take. */
dw_status dw_actor_take_images(dw_actor *actor, dw_error *err);
/* Let the memories show images [count of the module's memories], which are counted; grows them.
 * Errors: DW_E_LIMIT, those of dw_memory_image_map. */
dw_status dw_actor_map_images(dw_actor *actor, dw_memory_image *const *images, dw_error *err);
/* A freeze begins, of what it is now: its images are taken. From here to the close logs note what
 * stays as it is. `point` is all zero. Errors: DW_E_MEMORY: there is none. */
dw_status dw_actor_point_open(dw_frozen_point *point, dw_actor *actor, dw_error *err);
/* Note that all there was then is in the file `identity` and those before it, with the settings of
 * that hash; actor->frozen.map stays. Takes what the point holds. */
void dw_actor_note_frozen(dw_actor *actor, dw_frozen_point *point, const char *identity,
                          const char *settings);
/* The freeze is over: for nothing, where it was not noted. `actor` NULL: it has ended. */
void dw_actor_point_close(dw_frozen_point *point, dw_actor *actor);
/* The child's files are the parent's. */
dw_status dw__actor_inherit_frozen(dw_actor *child, const dw_actor *parent, dw_error *err);
void dw__frozen_release(dw_frozen *frozen);
/* By what its logs are found that stay on the device (dw_actor_keep_logs), in the state that its
 * file `identity` has. */
void dw_actor_log_key(const char *id, const char *identity, int32_t handle, struct dw_kv_key *key);
/* Whether the files hold a part of the log of the context with this handle. */
bool dw_actor_files_hold(const dw_frozen *frozen, int32_t handle);
/* What a call of the guest's code came to, where it is a failure: a guest that left is one, and a
 * trap has what the guest said of it in `err`. */
dw_status dw_actor_call_ended(const dw_actor *actor, dw_status status, int exit_code,
                              dw_error *err);
/* `who` answered that failure: with what the guest said of it, else what the host refused last. */
dw_status dw_actor_fail_with(const dw_actor *actor, const char *who, int32_t result, dw_error *err);
/* DW_E_STATE while a call is under way, or after one was aborted. */
dw_status dw_actor_check_rests(const dw_actor *actor, dw_error *err);

/* Whether the files it was thawed from still have what it maps: else what it computed since may be
 * of zeros. Errors: DW_E_IO (which file). */
dw_status dw_actor_check_files(dw_actor *actor, dw_error *err);

#endif
