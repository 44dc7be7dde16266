/* What the runtime's bookkeeping stands on: clocks, chance, threads, and actors' bodies.
 * guests.c has the real ones; tests/unit/test_runtime_simulation.c runs the same bookkeeping on a
 * virtual clock, with bodies of its own. */
#ifndef DW_RUNTIME_PLATFORM_H
#define DW_RUNTIME_PLATFORM_H

#include "base/status.h"

#define DW__GUEST_NAME_MAX 200

struct dw__record;
struct dw__operation;

/* An actor, or whoever is outside. */
typedef struct dw__sender {
    bool is_actor;
    uint64_t id;
} dw__sender;

/* An effect of a body: dw_actor_effect with what caused it. Borrowed until it is dropped. */
typedef struct dw__asked {
    dw_effect_kind kind;
    uint64_t actor;
    uint64_t number; /* of the actor's effects */
    const char *guest;
    const void *message; /* [bytes] */
    size_t bytes;
    uint64_t cause;
    uint64_t caused;
    uint64_t ticket; /* of DW_EFFECT_LATER, DW_EFFECT_ANSWER */
    bool last;       /* of DW_EFFECT_ANSWER */
    uint32_t events; /* of DW_EFFECT_WATCH */
} dw__asked;

/* A message for a body; borrowed for the call. */
typedef struct dw__delivery {
    dw__sender from;
    const void *content; /* [bytes] */
    size_t bytes;
    uint64_t cause;
    uint64_t caused;
    uint64_t at_ms; /* when it was accepted; 0: it is not known */
    int32_t kind;   /* DW_MESSAGE_* */
} dw__delivery;

/* What an actor asks for while it works, before it is granted. */
typedef struct dw__wish {
    int kind;       /* dw_effect_kind; 0: a timer */
    uint64_t actor; /* of a message */
    const char *to; /* the same: "@NAME" or "#GROUP" instead, NULL or "": by its id; a group to join
                          or leave */
    const char *guest; /* of a spawn; "": its own module */
    uint64_t wait_ms;  /* of a timer */
    size_t bytes;
    size_t made;     /* spawns and forks that it was granted for this message before */
    size_t watched;  /* watches, likewise */
    bool own;        /* of a watch: `actor` is one of the former */
    uint64_t found;  /* granted: whom `to` names */
    uint64_t *cause; /* of the message under way; set where it was 0 */
    uint64_t caused;
    uint64_t new_cause; /* granted: for the wish */
    uint64_t new_caused;
} dw__wish;

typedef struct dw__usage {
    uint64_t prompt_tokens;
    uint64_t generated_tokens;
    uint64_t found_tokens;
    uint64_t guest_ns;
    uint64_t device_ns;
    uint64_t memory_bytes; /* now */
} dw__usage;

/* Bodies are used by one thread at a time, without the runtime's lock, unless a comment says
 * otherwise. */
typedef struct dw__platform {
    void *user;
    uint64_t (*clock_ns)(void *user); /* monotonic; any thread, with the lock or without, as the
                                         next four */
    uint64_t (*wall_ms)(void *user);
    void (*random)(void *user, void *to, size_t bytes);
    /* Have dw__operation_run called, sometime on a worker. Without the lock. */
    void (*submit)(void *user, struct dw__operation *operation);
    /* dw__tick is wanted at `due_ns`, or earlier: at once with 0. With the lock. */
    void (*wake)(void *user, uint64_t due_ns);

    void *(*seed_ref)(void *user, void *seed);
    void (*seed_unref)(void *user, void *seed);
    const dw_limits *(*seed_limits)(void *user, void *seed); /* all set; as long as the seed */
    /* Whether it grants the model; with the lock. */
    bool (*seed_has)(void *user, const void *seed, const dw_model *model);
    /* A seed with the guest `name` and what `seed` grants; counted. */
    dw_status (*seed_of_guest)(void *user, void **out, void *seed, const char *name, dw_error *err);
    /* Whether that would give an actor, before it is granted. Thread: the guest's that asks.
     * NULL: it is not looked at. */
    dw_status (*check_guest)(void *user, const char *name, dw_error *err);

    dw_status (*spawn)(void *user, void **body, void *seed, struct dw__record *record, uint64_t id,
                       dw_error *err);
    /* The body of an actor that there is, `given`, which is taken, also on failure. */
    dw_status (*adopt)(void *user, void **body, void *given, struct dw__record *record, uint64_t id,
                       dw_error *err);
    dw_status (*fork)(void *user, void **body, void *parent, struct dw__record *record, uint64_t id,
                      dw_error *err);
    /* One of `module` (a dw_module) in the place of `before`, which stays as it is; and a seed with
     * that and what `seed` grants, counted. */
    dw_status (*upgrade)(void *user, void **body, void *before, void *module,
                         struct dw__record *record, dw_error *err);
    dw_status (*seed_of_module)(void *user, void **out, void *seed, void *module, dw_error *err);
    void *(*module_ref)(void *user, void *module);
    void (*module_unref)(void *user, void *module);
    void (*destroy)(void *user, void *body); /* NULL is fine */
    /* The same of one whose files hold all that it is: what it has of a device may stay there for
     * when it is read again. NULL: as destroy. */
    void (*park)(void *user, void *body);
    /* Begin to work on `delivery`, or with NULL on what waits inside: dw__worked is called once,
     * later or from under this call. On failure it is not called. */
    dw_status (*receive)(void *user, void *body, struct dw__record *record,
                         const dw__delivery *delivery, dw_error *err);
    /* Ask it to stop, or end it; with the lock, from any thread, while it works. */
    void (*cancel)(void *user, void *body, bool at_once);
    bool (*is_broken)(void *user, void *body);
    bool (*effect_at)(void *user, void *body, size_t index, dw__asked *asked);
    void (*drop_effects)(void *user, void *body);
    uint64_t (*timer_ms)(void *user, void *body);
    void (*fire_timers)(void *user, void *body, uint64_t now_ms);
    size_t (*waiting)(void *user, void *body);
    /* `body` was taken back to what it was: chance has other numbers for it than it had then. NULL:
     * it has none. With the lock or without. */
    void (*renews)(void *user, void *body);
    /* `body` takes the place of `before`: what it asks for is numbered behind what that did. */
    void (*replaces)(void *user, void *body, void *before);
    /* The message that waits longest inside: the caller's to dw_free. */
    struct dw_message *(*take_inside)(void *user, void *body);
    /* Messages that it has worked on, and those and timers that are in it. */
    void (*worked_on)(void *user, void *body, uint64_t *received, uint64_t *inside);
    /* What it has done since it was asked last; with the lock, from any thread, also while it
     * works. */
    void (*usage)(void *user, void *body, dw__usage *usage);
    dw_status (*export)(void *user, void *body, int fd, dw_error *err);
    dw_status (*keep_prefixes)(void *user, void *body, unsigned flags, dw_error *err);
} dw__platform;

/* ---- what is called from below; without the lock ---- */

/* Errors: DW_E_MEMORY, DW_E_RANGE. `platform` is copied. */
dw_status dw__runtime_create(dw_runtime **out, const dw__platform *platform,
                             const dw_runtime_options *options, dw_error *err);
struct dw__keeper;
/* Actors live in a folder from now on; there are none yet. `keeper` is borrowed. Errors:
 * DW_E_MEMORY. */
dw_status dw__runtime_keep(dw_runtime *runtime, const struct dw__keeper *keeper, dw_error *err);
/* So many of a tenant's are there. */
void dw__runtime_count(dw_runtime *runtime, const char *tenant, uint64_t actors);
/* Bring in those for whom something waits. */
void dw__runtime_begin_scan(dw_runtime *runtime);
/* Stop everything; over when dw__runtime_is_gone. */
void dw__runtime_begin_close(dw_runtime *runtime);
bool dw__runtime_is_gone(dw_runtime *runtime);
/* Wait for that. */
void dw__runtime_await_gone(dw_runtime *runtime);
void dw__runtime_free(dw_runtime *runtime);
/* Whether the calling thread is one on which callbacks are called, as it said. */
bool dw__runtime_is_own_thread(const dw_runtime *runtime);
void dw__runtime_own_thread(const dw_runtime *runtime);
/* The same while callbacks are called, on whichever thread; what it was before, for the second. */
const dw_runtime *dw__callbacks_begin(const dw_runtime *runtime);
void dw__callbacks_end(const dw_runtime *before);
void *dw__runtime_platform(const dw_runtime *runtime);

/* Work that `submit` was given. The operation may be gone afterwards. */
void dw__operation_run(struct dw__operation *operation);
/* What receive began has ended; `error` where status is not DW_OK. */
void dw__worked(dw_runtime *runtime, struct dw__record *record, dw_status status,
                const dw_error *error);
/* A piece of the answer, from the thread that runs the body; as dw_write_fn. */
ptrdiff_t dw__answered(dw_runtime *runtime, struct dw__record *record, const unsigned char *bytes,
                       size_t count);
/* Whether what the body asks for is granted. Errors: DW_E_DENIED, DW_E_LIMIT, DW_E_BUSY. */
dw_status dw__admit(dw_runtime *runtime, struct dw__record *record, dw__wish *wish, dw_error *err);
/* Ring what is due and tell what is to be told; when it is next due (UINT64_MAX: nothing is). */
uint64_t dw__tick(dw_runtime *runtime);

/* dw_runtime_begin_spawn from a seed, which is counted; `given` (may be NULL) is an actor that is
 * to be its body, taken on success. */
dw_status dw__spawn_from_seed(dw_runtime *runtime, void *seed, void *given,
                              const dw_spawn_options *options, char id[DW_ACTOR_ID_CHARS + 1],
                              dw_error *err);
/* What that refuses for the tenant's sake. Errors: DW_E_NOT_FOUND, DW_E_DENIED, DW_E_ARG,
 * DW_E_STATE. */
dw_status dw__may_spawn(dw_runtime *runtime, const dw_spawn_options *options, dw_error *err);

#endif
