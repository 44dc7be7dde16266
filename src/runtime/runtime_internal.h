/* The runtime's records and what its files share. README.md has the tour.
 * Private to src/runtime. Thread: what begins with dw__ and takes a runtime is called with its lock
 * held, between dw__enter and dw__leave, unless its comment says otherwise. */
#ifndef DW_RUNTIME_RUNTIME_INTERNAL_H
#define DW_RUNTIME_RUNTIME_INTERNAL_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/account.h"
#include "contexts/contexts.h"
#include "runtime/keeper.h"
#include "runtime/noted.h"
#include "runtime/platform.h"
#include "seeing/log.h"
#include "seeing/trace.h"

#define DW__TENANTS_MAX 1024u
static_assert(DW__TENANTS_MAX <= DW_TRACER_TENANTS_MAX, "tenants have tracks of their own");
#define DW__WORKING_DEFAULT 256u
#define DW__WORKING_MAX 65536u
#define DW__SUBSCRIPTIONS_MAX 1024u
#define DW__EVENTS_MAX 65536u
#define DW__OPERATIONS_MAX 4096u /* that wait for one actor */
#define DW__FREEZES_MAX 8u       /* kept of one actor */
#define DW__CAUSES 4096u
#define DW__TREES 1024u /* lists that those in memory are in, by the id of their heads */
/* What a full or failing disk has kept from being done is tried again so much later. */
#define DW__AGAIN_NS UINT64_C(1000000000)
#define DW__PRIORITIES 3
#define DW__CLOCK_NS 1000000u /* by which clocks of tenants go on that were granted no finer ones */
/* An actor that could not be restarted is tried again so much later. */
#define DW__RESTART_NS UINT64_C(1000000000)
#define DW__SLOW_MS 60000u /* slow_message_ms */
#define DW__PARK_IDLE_S 300u
#define DW__RESIDENT_ACTORS 4096u
#define DW__QUEUED_MAX 4096u /* of a tenant's actors that wait for room in memory */

/* Something that is due at a time of the platform's clock: dw__alarm_set. */
typedef struct dw__alarm {
    uint64_t due_ns;
    size_t place; /* in the heap, from 1 on; 0: it is not set */
    void (*ring)(dw_runtime *runtime, struct dw__alarm *alarm);
} dw__alarm;

typedef enum dw__notice_kind {
    DW__TELL_MAIL,
    DW__TELL_OPERATION,
    DW__TELL_EVENT,
    DW__TELL_PIECES
} dw__notice_kind;

/* What is to be told to the embedder; the first member of what it is about. */
typedef struct dw__notice {
    struct dw__notice *next;
    dw__notice_kind kind;
} dw__notice;

typedef struct dw__mailbox {
    struct dw__mail *first;
    struct dw__mail *last;
    size_t count;
    size_t bytes;
} dw__mailbox;

/* A message in a mailbox, or being worked on, or to be told of. */
typedef struct dw__mail {
    dw__notice notice;
    struct dw__mail *next;
    uint64_t number; /* of all that were accepted, from 1 on */
    uint64_t to;
    dw__sender from;
    uint64_t cause; /* as of dw_message, as the next two */
    uint64_t caused;
    uint64_t at_ms;
    int32_t kind; /* DW_MESSAGE_* */
    uint32_t attempts;
    bool awaited;  /* a request: somebody is to be told of its end */
    bool working;  /* it is its actor's current one */
    bool begun;    /* it was */
    bool detached; /* though that goes on, its end is told already */
    bool posted;   /* it is among what is to be told */
    bool told;     /* and that is over */
    /* Of an actor that lives in a folder: */
    uint64_t row;         /* its number there, while it waits there; 0: it does not */
    dw__posting *posting; /* it is on its way there, or out of there; owned */
    bool refused;         /* meanwhile it was cancelled: `error` says why */
    bool gone;            /* and its row is not to be removed for that */
    bool leaving;         /* it is to be gone from there before its end is told */
    dw_write_fn on_answer;
    dw_status (*on_answered)(void *user, dw_status result, dw_error *err);
    dw_runtime_end_fn on_end;
    void *user;
    dw__alarm alarm; /* timeout_ms */
    uint64_t timeout_ms;
    uint64_t queued_ns; /* since when it waits */
    dw_trace_context context;
    /* Its message is done, and its answer comes later (later.c): */
    uint64_t ticket;           /* by which; 0: it ends with its message */
    bool later;                /* that is so now, or was: `piece_alarm` is reserved */
    bool kept_by_record;       /* it is in record->later */
    struct dw__tenant *tenant; /* of who answers */
    bool over;                 /* it ends as soon as its pieces are told, with `error` */
    bool over_now;             /* as soon as none is being told */
    bool deaf;                 /* its sender takes no more */
    bool telling;              /* a piece is among what is to be told, or is being told */
    dw__mailbox pieces;        /* what is still to be told of it */
    size_t piece_told;         /* of the first one's bytes */
    dw__notice piece_notice;
    dw__alarm piece_alarm; /* its sender could take nothing for now */
    dw_error error;        /* its code is the status */
    size_t bytes;
    unsigned char content[]; /* [bytes] */
} dw__mail;

/* Actors that descend from one that was made from outside, while any of them is there. */
typedef struct dw__tree {
    struct dw__tree *next; /* in runtime->trees, of actors in a folder */
    uint64_t head;         /* the id of the one that was made from outside */
    bool counted;          /* `actors` has those that are not in memory, too */
    uint64_t references;
    uint64_t actors;
} dw__tree;

/* What is counted of each actor, each tenant and all together; the names are those of the JSON,
 * and but for the first two and the last of the public structs. */
#define DW__SUM_LIST(X)                                                                            \
    X(messages) /* worked on */                                                                    \
    X(failed)                                                                                      \
    DW__PUBLIC_SUMS(X)                                                                             \
    X(new_bytes)
#define DW__PUBLIC_SUMS(X)                                                                         \
    X(work_ns)                                                                                     \
    X(queue_ns)                                                                                    \
    X(guest_ns)                                                                                    \
    X(device_ns)                                                                                   \
    X(prompt_tokens)                                                                               \
    X(generated_tokens)                                                                            \
    X(found_tokens)                                                                                \
    X(answered_bytes)                                                                              \
    X(written_bytes)                                                                               \
    X(parks)                                                                                       \
    X(thaws)
typedef struct dw__sums {
#define DW__SUM_MEMBER(name) uint64_t name;
    DW__SUM_LIST(DW__SUM_MEMBER)
#undef DW__SUM_MEMBER
} dw__sums;

/* Those at rest, the least recently used first; or those that wait for room. */
typedef struct dw__rest_list {
    struct dw__record *first;
    struct dw__record *last;
} dw__rest_list;

typedef struct dw__ready_queue {
    struct dw__record *first;
    struct dw__record *last;
    uint64_t pass; /* of turns taken, weighted: the lowest is next */
} dw__ready_queue;

/* A tenant's operations that wait for a worker: guests.h's. */
typedef struct dw__work_queue {
    struct dw__operation *first;
    struct dw__operation *last;
    struct dw__tenant *next; /* of those that have some */
    uint64_t pass;           /* of workers' time had, by weight */
    uint32_t weight;
} dw__work_queue;

/* Granted to actors; as it is for good. */
typedef struct dw__folders {
    _Atomic size_t references;
    size_t count;
    dw_dir dirs[]; /* [count], owned */
} dw__folders;

typedef struct dw__tenant {
    struct dw__tenant *next;
    struct dw__tenant *next_active; /* of those that have actors that are ready */
    char name[DW_TENANT_NAME_MAX + 1];
    bool absent;     /* it is not found: it may have actors in the folder, and nobody made it yet */
    bool unasked;    /* it is there because it has actors in the folder; nobody said what it may */
    uint32_t number; /* from 0 on */
    uint32_t weight;
    uint32_t capabilities;
    uint64_t actors_max;
    dw_limits limits;
    char **models; /* [model_count]; NULL: any */
    size_t model_count;
    char **tools; /* [tool_count]; NULL: any */
    size_t tool_count;
    char **context_reads; /* [context_read_count], patterns; NULL: any; as the next */
    size_t context_read_count;
    char **context_writes; /* [context_write_count] */
    size_t context_write_count;
    uint64_t pass;
    uint64_t queue_pass; /* of the queue that had the last turn */
    size_t ready_count;
    dw__ready_queue ready[DW__PRIORITIES]; /* DW_PRIORITY_HIGH, _NORMAL, _LOW */
    uint64_t actors;                       /* there are, also those that are not in memory */
    uint64_t records;                      /* that are */
    uint64_t working;
    size_t unread_bytes; /* of pieces of answers that are held (later.c) */
    dw__sums sums;
    bool own_prefixes;
    bool public_prefixes;
    dw__folders *folders;    /* NULL: none */
    struct dw__ended *ended; /* NULL: none is remembered (watches.c) */
    dw__work_queue work;     /* guarded by the host's work_lock */
    dw_durability durability;
    uint32_t durability_s;
    uint32_t park_idle_s;
    struct dw__tenant *next_queued; /* of those that have actors waiting for room */
    dw__rest_list queued;
    size_t queued_count;
} dw__tenant;

typedef enum dw__record_state {
    DW__MAKING,  /* it has no body yet, or is read from its folder */
    DW__RESTING, /* has nothing to do */
    DW__READY,   /* in its tenant's queue */
    DW__WORKING, /* on a message: its body is the scheduler's */
    DW__BUSY,    /* an operation has its body */
    DW__DOWN,    /* waits to be restarted, without a body */
    DW__LEAVING, /* its body is being destroyed; nobody finds it */
} dw__record_state;

/* What an actor asked for, copied out of its body. */
typedef struct dw__happening dw__happening;

typedef struct dw__ask {
    struct dw__ask *next;
    dw_effect_kind kind;
    uint64_t actor;
    uint64_t number; /* of the actor's effects */
    uint64_t ticket; /* as of dw__asked, as the next two */
    bool last;
    uint32_t events;
    dw__mail *mail;
    char guest[DW__GUEST_NAME_MAX + 1];
    /* Of an actor that lives in a folder: */
    size_t sent;              /* its place in dw_turn.sent, from 1 on; 0: it has none */
    struct dw__record *child; /* that was made for it */
    void *body;               /* the child's, as the next two */
    void *seed;
    dw__kept kept;
} dw__ask;

typedef struct dw__named dw__named;
typedef struct dw__names {
    dw__named **buckets; /* [bucket_count], a power of two, or 0 */
    size_t bucket_count;
    size_t count;
} dw__names;
typedef struct dw__operation dw__operation;

/* What the runtime knows of an actor. */
typedef struct dw__record {
    uint64_t id;
    struct dw__record *next_in_bucket;
    struct dw__record *before; /* in the list of all */
    struct dw__record *after;
    struct dw__record *parent; /* in the tree: the nearest ancestor that is there */
    struct dw__record *first_child;
    struct dw__record *sibling_before;
    struct dw__record *sibling_after;
    struct dw__record *next_stray; /* in runtime->strays */
    struct dw__record *next_ready; /* in its tenant's queue, or in runtime->starts */
    dw__tenant *tenant;
    dw__tree *tree;
    dw__sender made_by;
    uint32_t depth;
    uint32_t capabilities;
    uint32_t failures_max;
    uint32_t failures; /* in a row */
    uint8_t priority;  /* the index of its queue */
    dw_supervision supervision;
    dw__record_state state;
    bool listed;   /* it is found by its id */
    bool stray;    /* who made it is not its parent, having no record; of a folder's */
    bool stopping; /* as soon as it rests */
    bool ends;     /* it asked for its end: after what it asked for before */
    bool timer_due;
    bool fires;                /* it begins with what timers bring */
    bool answering;            /* on_answer is under way */
    bool interrupted;          /* while it works: its body is of no use afterwards */
    dw__named *name;           /* NULL: it has none */
    struct dw__member *groups; /* that it is in */
    size_t group_count;
    struct dw__watch *watches;  /* in memory alone (watches.c) */
    struct dw__watch *watchers; /* of it */
    bool names_known;           /* both are as they are; false: it comes into memory */
    uint64_t names_number; /* of the last change of them that was seen; of runtime->names_number */
    void *seed;
    void *body;
    size_t inside; /* messages that wait in the body: of timers */
    dw__mailbox mail;
    dw__mailbox aside;
    dw__mailbox later;        /* done, and still to be answered */
    size_t unread_bytes;      /* what their pieces take, as long as these are held */
    dw__mail *current;        /* while it works; NULL: on a message from inside */
    dw_trace_context context; /* of what it began with last */
    uint64_t began_ns;
    uint64_t due_ns;      /* of `current`: its timeout; 0: none */
    uint32_t work_weight; /* its tenant's, when it began to work */
    dw__sums began_with;
    uint64_t refused_ns;              /* its body's thread's: when a refusal was logged last */
    struct dw__operation *operations; /* waiting, the first first */
    struct dw__operation *last_operation;
    size_t operation_count;
    struct dw__operation *own;  /* to make, restart or destroy it: never two at a time */
    struct dw__operation *made; /* tells that it was made */
    dw__alarm alarm;            /* the next timer, or the next try to restart it */
    uint64_t timer_ms;
    struct dw__freeze {
        uint64_t number;
        void *body;
    } freezes[DW__FREEZES_MAX];
    size_t freeze_count;
    uint64_t freeze_number;
    /* counters of dw_runtime_actor_info */
    dw__sums sums;
    uint64_t restarts;
    uint64_t memory_bytes;   /* as its body said last */
    const dw_limits *limits; /* of the seed, all set */
    /* Of one that lives in a folder (runtime->keeper): */
    bool tabled;            /* in the table of ids, also while it leaves */
    bool in_folder;         /* there is a row of it, or one is being made */
    bool brought;           /* there was a row before the record */
    bool loaded;            /* its mail was read */
    uint32_t load_failures; /* in a row */
    uint64_t *ancestors;    /* [ancestor_count], owned: the nearest first, also those that are not
                               there; NULL: they are not known, or there are none */
    size_t ancestor_count;
    bool ends_in_folder; /* its row is gone, or was never there */
    bool removes;        /* its row is to go before it is buried */
    bool waits;          /* DW__DOWN for a while, its body being good */
    bool dirty;          /* it has done what its newest snapshot has not */
    bool keep_due;       /* it is to be written as soon as it rests */
    dw__turn *turn;      /* owned; used while it works or is written */
    dw__kept kept;
    dw__mailbox held;   /* until it is loaded: not on their way to the folder yet */
    dw__mailbox coming; /* on their way */
    uint64_t seen_row;  /* messages up to this were read when it was loaded */
    uint64_t begun_row; /* the current message's, as it began: for whoever has no lock */
    uint64_t done_row;  /* of those that it has done the one with the highest number */
    /* Rows [undone] of messages that wait in the folder, being done by it in memory alone. */
    uint64_t *undone_rows;
    size_t undone;
    size_t undone_capacity;
    uint64_t undone_bytes;
    uint64_t aside_count;  /* messages that were set aside in the folder */
    uint64_t aside_change; /* changes of it since the record came */
    bool sets_aside;       /* the folder may have one more already */
    bool aside_stale;      /* fewer have been, since they are being read */
    uint64_t load_number;  /* of runtime->load_number, when they were; 0: they were not */
    uint32_t own_attempts; /* at what waits inside */
    uint64_t tried_ms; /* when timers rang for what is tried, or was before: they ring then again */
    dw_durability durability;
    uint32_t durability_s;
    dw__alarm keep_alarm;
    bool renews;       /* it broke off: it is to draw other numbers than it did then */
    bool renewed;      /* renews: its body does, and is to be written */
    bool outdated;     /* its body has done what does not count, and is not to be written */
    uint64_t redo_row; /* renews: first messages up to this are done again, as they were */
    /* parking.c */
    bool pinned;      /* it stays in memory */
    bool at_rest;     /* it is in the lists of those that may leave */
    bool restless;    /* it is counted by its parent */
    bool leaves;      /* it is about to leave memory */
    bool left;        /* and had no body for a while */
    bool unkept;      /* it could not be written, and is tried again by keep_alarm */
    bool queued;      /* it waits for room */
    uint64_t used_ns; /* at_rest: since when */
    uint64_t leaving_bytes;
    struct {
        struct dw__record *before;
        struct dw__record *after;
    } rest[2];             /* in its priority's list, or its tenant's queue; in its parent's list */
    dw__rest_list rests;   /* children at rest */
    size_t restless_count; /* children in memory that are neither at rest, nor pinned, nor leave */
    dw__operation *park_call; /* is told once it has left */
    dw__alarm idle_alarm;
    bool has_turn; /* of DW_WORK_TURN */
} dw__record;

/* Work with a body, outside of the lock, on a worker. */
struct dw__operation {
    dw__notice notice;
    struct dw__operation *next;
    dw_runtime *runtime;
    dw__record *record;                              /* whose body it works with; NULL: nobody's */
    dw__record *child;                               /* of a fork */
    void (*work)(struct dw__operation *operation);   /* without the lock */
    void (*finish)(struct dw__operation *operation); /* with it; the record, unless gone, rests */
    const char *name;                                /* in traces; NULL: that of its work */
    bool pending;                                    /* submitted and not finished */
    bool effect; /* asked for by the actor: what fails is a problem of its */
    uint64_t number;
    struct dw__tenant *tenant; /* whose time it takes, when it was submitted */
    uint32_t weight;           /* of that */
    void *body;                /* what `work` made */
    void *seed;                /* of a spawn */
    void *given;               /* of an import; its first freeze */
    void *freeze;
    void *module;            /* of an upgrade; counted */
    int fd;                  /* of an export */
    dw_freeze_stats written; /* of a freeze; struct_bytes 0: nothing was */
    /* Of an actor that is read from its folder: */
    dw_actor_row row;
    dw__mailbox mail;
    size_t tree_count;
    uint64_t aside_count;
    dw_attempts own;     /* at what waits inside */
    uint64_t *ancestors; /* [ancestor_count], owned */
    size_t ancestor_count;
    bool absent;                        /* there is no such actor */
    char guest[DW__GUEST_NAME_MAX + 1]; /* of a spawn by name */
    dw_runtime_end_fn on_end;
    void *user;
    uint64_t about; /* the id that is told */
    dw_error error; /* its code is the status */
};

typedef struct dw__event {
    dw__notice notice;
    dw_event_kind kind;
    uint64_t actor;
    dw__sender other;
    uint64_t number;
    uint64_t time_ms;
    dw_status status;
    uint64_t lost;
    bool problem; /* for on_problem, with `text` */
    bool has_tenant;
    char tenant[DW_TENANT_NAME_MAX + 1];
    char text[248];
    size_t byte_count;
    unsigned char bytes[];
} dw__event;

typedef struct dw__subscription {
    struct dw__subscription *next;
    uint64_t number;
    bool to_all;
    uint64_t actor;
    void (*on_event)(void *user, const dw_event *event);
    void *user;
} dw__subscription;

struct dw_runtime {
    dw__platform platform;
    dw_runtime_options options;
    dw_limits limits;     /* what was set */
    dw_limits own_limits; /* the same, with the defaults */
    size_t working_max;

    pthread_mutex_t lock;   /* guards all below */
    pthread_cond_t changed; /* nothing is busy; a subscriber's callback has returned; all gone */
    bool closing;
    dw__record **buckets; /* [1 << bucket_bits], by the highest bits of ids */
    unsigned bucket_bits;
    dw__record *all;     /* listed or not */
    size_t record_count; /* in `all` */
    size_t listed_count;
    size_t later_count;   /* of all records */
    size_t unread_bytes;  /* of all tenants */
    uint64_t load_number; /* of the last record whose mail was read */
    dw__names names;
    uint64_t names_number;
    size_t busy_count; /* of records that are not DW__RESTING */
    dw__tenant *tenants;
    size_t tenant_count;
    dw__tenant *active;   /* have actors that are ready */
    uint64_t pass;        /* of the tenant that had the last turn */
    uint64_t weights;     /* of all tenants that have actors, together */
    bool may_begin;       /* false: nobody that is ready may work until something changes */
    size_t peopled_count; /* of these */
    dw__record *starts;   /* are to begin, outside of the lock */
    dw__record *last_start;
    dw__operation *submits; /* likewise */
    dw__operation *last_submit;
    size_t working_count;
    dw__alarm **alarms; /* [alarm_count], a heap */
    size_t alarm_count;
    size_t alarm_capacity;
    size_t alarm_owners; /* each has room in the heap */
    dw__notice *notices; /* to be told, the first first */
    dw__notice *last_notice;
    bool telling; /* some thread calls callbacks */
    pthread_t teller;
    dw__subscription *subscriptions;
    size_t subscription_count;
    uint64_t subscription_number;
    uint64_t telling_number; /* of the subscription whose callback is under way; 0: none */
    size_t event_count;
    uint64_t lost_events; /* since the last that was kept */
    uint64_t mail_number;
    const dw__keeper *keeper; /* of actors in a folder; NULL: all are in memory alone */
    dw__tree *trees[DW__TREES];
    dw__record *strays[DW__TREES]; /* by their trees */
    uint64_t dormant_count;        /* actors in the folder that have no record */
    uint64_t removals;             /* from the folder, of those that had none */
    size_t in_flight;              /* messages on their way to the folder or out of it */
    struct dw__scan *scan;         /* of whom something waits for in the folder */
    dw__alarm folder_alarm;        /* when that is looked at next */
    pthread_mutex_t landing_lock;  /* guards the next two */
    dw__landing *landings;         /* the first first */
    dw__landing *last_landing;
    /* parking.c */
    pthread_mutex_t traits_lock; /* who changes an actor's; taken before `lock` */
    uint64_t resident_max;
    uint64_t resident_bytes_max;
    dw__rest_list rests[DW__PRIORITIES];
    uint64_t resident_bytes; /* that bodies take */
    size_t leaving_count;    /* of those that leave */
    uint64_t leaving_bytes;  /* likewise */
    bool crowded;            /* more than a bound: until there are some less */
    dw__tenant *queued_tenants;
    dw__tenant *last_queued;
    size_t queued_count; /* records that wait for room */
    struct {
        uint64_t cause;
        uint64_t count;
    } causes[DW__CAUSES];
    dw_work_kind work;   /* of a runtime that works on request: what it does now; 0: nothing else */
    bool cut_short;      /* not all could come that were to */
    size_t unable_count; /* of actors that could not, since that began */
    uint64_t opened_ns;
    uint64_t session;     /* not that of an earlier runtime in the folder */
    dw_event_log *log;    /* NULL: none; it stays as it is, as the next */
    dw_tracer *trace;     /* NULL: there cannot be one */
    _Atomic bool tracing; /* one is under way; read by any thread */
    dw_runtime_stats counts;
    dw__sums sums;
};

/* ---- turns.c ---- */

/* Take the lock. Not under a guest's account: what is allocated is the runtime's. */
void dw__enter(dw_runtime *runtime);
/* Let actors and operations begin that can, and give the lock back. `tells`: this is a thread of
 * the runtime's, which calls callbacks. */
void dw__leave(dw_runtime *runtime, bool tells);
/* The same with DW_E_STATE while the runtime is being closed; then it is not entered. */
dw_status dw__enter_open(dw_runtime *runtime, dw_error *err);
/* The same for what changes actors, or has them in memory. Errors: also DW_E_DENIED (read_only). */
dw_status dw__enter_to_change(dw_runtime *runtime, dw_error *err);
/* Between dw__enter and dw__leave: give the lock back for a while. */
typedef dw_account_scope dw__lock_scope;
dw__lock_scope dw__unlock(dw_runtime *runtime);
void dw__lock_again(dw_runtime *runtime, dw__lock_scope scope);
/* Nothing has the record's body: what comes next begins. The record may be gone afterwards. */
void dw__rest(dw_runtime *runtime, dw__record *record);
/* Something was added that a resting actor is to do. */
void dw__rouse(dw_runtime *runtime, dw__record *record);
/* All that are at rest, their timers too. */
void dw__rouse_all(dw_runtime *runtime);
void dw__set_state(dw_runtime *runtime, dw__record *record, dw__record_state state);
void dw__submit(dw_runtime *runtime, dw__operation *operation);
/* To be told; the notice is the runtime's until then. */
void dw__tell(dw_runtime *runtime, dw__notice *notice);
void dw__ring_timer(dw_runtime *runtime, dw__alarm *alarm);
/* The stride's queue of a public priority. */
uint8_t dw__queue_of(dw_priority priority);

/* ---- alarms.c ---- */

/* Room for one more alarm. Errors: DW_E_MEMORY. */
dw_status dw__alarm_reserve(dw_runtime *runtime, dw_error *err);
void dw__alarm_unreserve(dw_runtime *runtime, dw__alarm *alarm);
/* In the place of an earlier time. */
void dw__alarm_set(dw_runtime *runtime, dw__alarm *alarm, uint64_t due_ns);
void dw__alarm_clear(dw_runtime *runtime, dw__alarm *alarm);
/* When the first is due; UINT64_MAX: none is set. */
uint64_t dw__alarms_due(const dw_runtime *runtime);
/* Ring all that are due. */
void dw__alarms_ring(dw_runtime *runtime, uint64_t now_ns);

/* ---- records.c ---- */

/* The actor of that id; NULL: none is found by it in memory. */
dw__record *dw__find(const dw_runtime *runtime, uint64_t id);
/* The same, also one that is leaving. */
dw__record *dw__find_any(const dw_runtime *runtime, uint64_t id);
/* Of the text of an id. Errors: DW_E_ARG, DW_E_NOT_FOUND. */
dw_status dw__find_text(dw_runtime *runtime, const char *text, dw__record **record, dw_error *err);
/* What a new record is to be. */
typedef struct dw__wanted {
    uint64_t id; /* 0: a new one */
    dw__tenant *tenant;
    dw__record *parent; /* made by; NULL: from outside */
    bool from_outside;  /* a fork by the embedder begins a tree of its own */
    uint32_t capabilities;
    uint32_t failures_max;
    uint8_t priority;
    dw_supervision supervision;
    dw_durability durability;
    uint32_t durability_s;
    bool pinned;
    void *seed; /* counted by the record on success */
} dw__wanted;
/* What a child of `parent` is to be: what that is. */
dw__wanted dw__wanted_of(dw__record *parent, uint64_t id);
/* ---- family.c ---- */

/* With the lock. Whether it waits for a nearer ancestor is noted. */
void dw__note_stray(dw_runtime *runtime, dw__record *record);
/* It has no parent before. */
void dw__join_family(dw_runtime *runtime, dw__record *record, dw__record *parent);
void dw__leave_family(dw_runtime *runtime, dw__record *record);
/* It has come later than those that descend from it: they are its children, where nobody between is
 * there. */
void dw__adopt_strays(dw_runtime *runtime, dw__record *record);
/* Its ancestors [count], taken: the nearest that is there becomes its parent. */
void dw__take_ancestors(dw_runtime *runtime, dw__record *record, uint64_t *ancestors, size_t count);
/* Before its parent goes: what its ancestors are, unless that is known. */
void dw__note_ancestors(dw__record *child);

/* A record in state DW__MAKING, listed. Errors: DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw__record_create(dw_runtime *runtime, const dw__wanted *wanted, dw__record **out,
                            dw_error *err);
/* A record in state DW__MAKING of an actor in the folder, which has a row but none yet. Errors:
 * DW_E_NOT_FOUND (its tenant), DW_E_MEMORY. */
dw_status dw__record_bring(dw_runtime *runtime, const dw_actor_row *row, dw__record **out,
                           dw_error *err);
/* Whether it has a row, not being made now; NULL is fine. Errors: DW_E_BUSY. */
dw_status dw__check_made(const dw__record *record, dw_error *err);
/* One without a record is gone from the folder. */
void dw__forget_dormant(dw_runtime *runtime, const dw_actor_row *row);
/* It is in no folder after all, and its id is free once it is stopped. */
void dw__record_unmade(dw_runtime *runtime, dw__record *record);
/* Nobody finds it any more; its children are its parent's. `ends`: there is no such actor any
 * more; else it is in the folder. */
void dw__unlist(dw_runtime *runtime, dw__record *record, bool ends);
/* Free what has no body, and is not listed. */
void dw__record_free(dw_runtime *runtime, dw__record *record);
/* The first listed actor whose id is not below `id`; NULL: none. */
dw__record *dw__first_from(const dw_runtime *runtime, uint64_t id);
/* Whether so many more actors may be made by `parent`. Errors: DW_E_LIMIT. */
dw_status dw__check_room(const dw_runtime *runtime, const dw__tenant *tenant,
                         const dw__record *parent, size_t more, dw_error *err);
dw__tenant *dw__find_tenant(const dw_runtime *runtime, const char *name);
/* The same, also one that is absent. */
dw__tenant *dw__find_any_tenant(const dw_runtime *runtime, const char *name);
dw_status dw__tenant_create(dw_runtime *runtime, const char *name, dw__tenant **out, dw_error *err);

/* ---- upgrade.c ---- */

/* The upgraded body and its seed, of an operation; false: its error says why not, and there is
 * neither. Undone: they go. Then, with the lock: the record has them instead of its own, of which
 * the body is gone. */
bool dw__upgrade_make(dw__operation *operation);
void dw__upgrade_undo(dw__operation *operation);
void dw__upgrade_take(dw__operation *operation);

/* ---- mail.c ---- */

/* A request to an actor, as of dw_runtime_send. Errors: its. */
dw_status dw__send_request(dw_runtime *runtime, dw__record *record, const dw_request *request,
                           dw_error *err);

/* Without the lock. Errors: DW_E_MEMORY. */
dw_status dw__mail_create(dw__mail **out, const void *content, size_t bytes, dw_error *err);
void dw__mail_free(dw_runtime *runtime, dw__mail *mail);
/* It is in the mailbox now, the caller having put it there: it is counted, and told of. */
void dw__mail_accepted(dw_runtime *runtime, dw__record *record, dw__mail *mail);
/* Into the mailbox, last. Takes the mail. */
void dw__mail_accept(dw_runtime *runtime, dw__record *record, dw__mail *mail);
/* Whether one more has room; `times`: beyond the limit for what was granted before. Errors:
 * DW_E_BUSY. */
dw_status dw__mail_check(const dw__record *record, size_t bytes, uint64_t times, dw_error *err);
dw__mail *dw__mailbox_take(dw__mailbox *mailbox);
/* The one of that number, out of the mailbox; NULL: it is not there. */
dw__mail *dw__mailbox_take_number(dw__mailbox *mailbox, uint64_t number);
void dw__mailbox_put(dw__mailbox *mailbox, dw__mail *mail);
void dw__mailbox_put_first(dw__mailbox *mailbox, dw__mail *mail);
/* It waits no more; it ends with error->code. Takes the mail. */
void dw__mail_end(dw_runtime *runtime, dw__mail *mail, const dw_error *error);
/* Of all that waits and was set aside. */
void dw__mail_end_all(dw_runtime *runtime, dw__record *record, const dw_error *error);
/* The actor goes on working on it, but its sender is told of its end now. */
void dw__mail_detach(dw_runtime *runtime, dw__record *record, const dw_error *error);
/* If it is detached, and on_answer does not use it: its end is told. `record` NULL: it is gone. */
void dw__mail_post(dw_runtime *runtime, const dw__record *record, dw__mail *mail);
/* It failed: its sender is told, or where that is an actor it is tried again, or set aside. */
void dw__mail_failed(dw_runtime *runtime, dw__record *record, dw__mail *mail,
                     const dw_error *error);

/* The alarm of its timeout_ms, which is reserved. */
void dw__set_timeout(dw_runtime *runtime, dw__mail *mail);

/* ---- effects.c ---- */

void dw__free_asks(dw__ask *asked);
/* All effects of the body, in order, of which it has none afterwards. `*failed`: some could not be
 * copied. Without the lock. */
dw__ask *dw__take_effects(dw_runtime *runtime, dw__record *record, dw_error *failed);
/* A message that `record` worked on is through: told or kept, and supervised. */
void dw__end_message(dw_runtime *runtime, dw__record *record, const dw_error *error, bool broken);
void dw__supervise(dw_runtime *runtime, dw__record *record);
/* It has broken off as often as it may: it ends, which is told. */
bool dw__has_failed_enough(const dw__record *record);
void dw__end_failed(dw_runtime *runtime, dw__record *record);

/* ---- postings.c: mail of actors in a folder ---- */

/* A request, which has room: on its way to the folder, or held until the actor is loaded. Errors:
 * DW_E_BUSY, DW_E_MEMORY: then nothing has happened. */
dw_status dw__post(dw_runtime *runtime, dw__record *record, dw__mail *mail, dw_error *err);
/* The actor is loaded: what was held goes. */
void dw__post_held(dw_runtime *runtime, dw__record *record);
void dw__mailbox_put_row(dw__mailbox *mailbox, dw__mail *mail); /* in the order of rows */
/* A message with a row is in the actor's mailbox now, in its place; or was already: then it is
 * freed. */
void dw__arrive(dw_runtime *runtime, dw__record *record, dw__mail *mail);
/* Have its row gone before its end is told, with mail->error. */
void dw__take_out(dw_runtime *runtime, dw__mail *mail);
/* The actor goes, or the runtime: so does what is held and coming. */
void dw__end_postings(dw_runtime *runtime, dw__record *record, const dw_error *error);
/* Whether the actor has done it, and its row is there still. */
bool dw__is_undone(const dw__record *record, uint64_t row);
/* Call those that have landed. */
void dw__land_all(dw_runtime *runtime);

/* ---- settle.c: turns of actors in a folder ---- */

/* Before the actor begins, without the lock: an attempt. Errors: DW_E_BUSY. */
dw_status dw__turn_try(dw_runtime *runtime, dw__record *record, dw_error *err);
/* What it did is settled: it rests afterwards. Takes the asks. */
void dw__settle(dw_runtime *runtime, dw__record *record, dw__ask *asks, const dw_error *own,
                bool broken);
/* Its message could not begin. */
void dw__settle_refused(dw_runtime *runtime, dw__record *record, const dw_error *error);
/* For freezes.c: nothing has happened yet; it says which messages are done; what it says is
 * written; the actor is read again, at once or later. */
void dw__turn_reset(dw_runtime *runtime, dw__record *record);
void dw__turn_take_done(dw__record *record);
void dw__turn_written(dw_runtime *runtime, dw__record *record);
void dw__go_back(dw_runtime *runtime, dw__record *record, bool later);
/* It could not be written as it is: it stays as it is, and is written whole, later. */
void dw__stay(dw_runtime *runtime, dw__record *record);
/* Write it as it is. The record's body is free. */
void dw__write(dw_runtime *runtime, dw__record *record);
/* Whether it is to be written before anything else. */
bool dw__wants_write(const dw_runtime *runtime, const dw__record *record);
/* record->renews: as soon as what is done again is done, it draws other numbers, and is written, so
 * that a message in which the process ends has the same again. */
void dw__renew(dw_runtime *runtime, dw__record *record);
/* One more message was set aside in the folder. */
void dw__aside_more(dw__record *record);
/* It ends, by itself or by who looks after it: the folder is told first. */
void dw__end_actor(dw_runtime *runtime, dw__record *record, const dw_watch_event *how);
void dw__ring_keep(dw_runtime *runtime, dw__alarm *alarm);
/* What waits inside has failed too often. */
bool dw__gives_up(const dw_runtime *runtime, const dw__record *record);
/* Its message, which nobody awaits, has: in processes that ended in the middle of it, say. */
bool dw__is_spent(const dw_runtime *runtime, const dw__record *record);
void dw__give_up_message(dw_runtime *runtime, dw__record *record);
/* It is set aside; the record was to work on it. */
void dw__give_up_inside(dw_runtime *runtime, dw__record *record);
/* What holds for the actor, its tenant, or the runtime; `*seconds` of DW_DURABLE_SECONDS. */
dw_durability dw__durability_of(const dw_runtime *runtime, const dw__record *record,
                                uint32_t *seconds);
/* What is not said is the tenant's (may be NULL), or the runtime's. */
void dw__durability_fill(const dw_runtime *runtime, const dw__tenant *tenant,
                         dw_durability *durability, uint32_t *seconds);
/* Errors: DW_E_RANGE. */
dw_status dw__durability_check(dw_durability durability, uint32_t seconds, dw_error *err);
/* The manifest's, where the options say nothing. Without the lock. */
void dw__set_durability(dw_runtime *runtime, dw_durability durability, uint32_t seconds);
/* "each", "park", a number of seconds, "": the default; and back. */
void dw__durability_text(char text[32], dw_durability durability, uint32_t seconds);
void dw__durability_read(const char *text, dw_durability *durability, uint32_t *seconds);
/* Its row's traits. */
void dw__traits_of(const dw__record *record, dw_actor_traits *traits);
/* Files of a new actor: of a fork by the embedder upon those of `parent`, else 0; `keeps`: as a
 * freeze, too. On a worker. */
dw_status dw__make_files(dw_runtime *runtime, dw__record *record, void *body, uint64_t parent,
                         bool keeps, dw_error *err);
/* They were written: into the folder with it; record->made is told, and it rests. */
void dw__enter_folder(dw_runtime *runtime, dw__record *record);

/* ---- freezes.c: operations of actors in a folder ---- */

void dw__freeze_kept_work(dw__operation *operation);
void dw__freeze_kept_finish(dw__operation *operation);
void dw__rewind_kept_work(dw__operation *operation);
void dw__rewind_kept_finish(dw__operation *operation);
void dw__upgrade_kept_work(dw__operation *operation);
void dw__upgrade_kept_finish(dw__operation *operation);

/* ---- writing.c: on workers ---- */

/* The work of a turn: record->turn is to be committed, or taken back. */
void dw__write_work(dw__operation *operation);
/* A child that comes to nothing. */
void dw__unmake(dw_runtime *runtime, dw__ask *asked);
/* What children of `parent` descend from; `*descent` (NULL at first) is the caller's to dw_free. */
dw_status dw__read_descent(dw_runtime *runtime, const char *parent, bool from_outside,
                           dw_descent **descent, dw_error *err);
/* Whether it may succeed another time. */
bool dw__is_transient(dw_status status);

/* ---- residence.c: actors read from a folder ---- */

/* Read the record's actor, and its mail; where that was read before, of it what the actor had done
 * in a state that was not written. Afterwards it rests. */
void dw__load(dw_runtime *runtime, dw__record *record);
/* dw__find_text, where the actor is in the folder alone it is brought in: the lock is given back
 * meanwhile. Errors: also DW_E_BUSY (it has just failed, and leaves memory). */
dw_status dw__reach(dw_runtime *runtime, const char *text, dw__record **record, dw_error *err);
/* The same without bringing it in: `*record` is NULL where `row` has it. */
dw_status dw__look(dw_runtime *runtime, const char *text, dw__record **record, dw_actor_row *row,
                   dw_error *err);
/* The same without the lock, and the id alone. */
dw_status dw__find_id(dw_runtime *runtime, const char *id, char found[DW_ACTOR_ID_CHARS + 1],
                      dw_error *err);
/* It has no record: bring it in. Where that fails it is tried again later. */
void dw__bring_in(dw_runtime *runtime, uint64_t id);
dw_status dw__scan_create(dw_runtime *runtime, dw_error *err);
/* Look for whom something waits, and for timers. */
void dw__scan_folder(dw_runtime *runtime);
/* The body is destroyed, the record goes, the actor stays in the folder. It rests, and has nothing
 * to do; should something come meanwhile it is read again. */
void dw__leave_memory(dw_runtime *runtime, dw__record *record);

/* ---- parking.c ---- */

/* Whether it is at rest has changed, or may have. */
void dw__note_rest(dw_runtime *runtime, dw__record *record);
/* It is its parent's child now; it was `parent`'s. */
void dw__rest_join(dw_runtime *runtime, dw__record *record);
void dw__rest_leave(dw_runtime *runtime, dw__record *record, dw__record *parent);
void dw__ring_idle(dw_runtime *runtime, dw__alarm *alarm);
/* It rests: it is written if need be, and leaves memory unless something comes. */
void dw__park(dw_runtime *runtime, dw__record *record);
/* It stays, or has left: who asked for it is told, with `why` (NULL: well). */
void dw__park_no_more(dw_runtime *runtime, dw__record *record, const dw_error *why);
/* From dw__rest: whether it goes on leaving. */
bool dw__park_on(dw_runtime *runtime, dw__record *record);
/* A new record gets its body: made or read, once there is room. */
void dw__come(dw_runtime *runtime, dw__record *record);
/* It waits for room no longer. */
void dw__come_no_more(dw_runtime *runtime, dw__record *record);
/* Errors: DW_E_BUSY. */
dw_status dw__may_queue(const dw_runtime *runtime, const dw__tenant *tenant, dw_error *err);
/* Let leave who has to, and come who may. Whenever the lock is given back. */
void dw__keep_bounds(dw_runtime *runtime);
/* Memory is short: some of those at rest begin to leave; how many. */
size_t dw__make_room(dw_runtime *runtime);
/* The same without the lock, and one has left. false: none could. Not on a worker. */
bool dw__relieve(dw_runtime *runtime);
/* So much its body takes now. */
void dw__note_memory(dw_runtime *runtime, dw__record *record, uint64_t bytes);

/* ---- request.c: runtimes that work on request ---- */

/* Whether an actor for whom something waits works on it. */
bool dw__may_begin(const dw_runtime *runtime, const dw__record *record);
/* It could not be read or written: whoever waits is told, and what waits does so in the folder; it
 * rests, or is to be buried. `absent`: there is no such actor. */
void dw__unable(dw_runtime *runtime, dw__record *record, const dw_error *error, bool absent);
/* Bring in the actor with a row in the folder alone, which got a message. */
void dw__bring_one(dw_runtime *runtime, uint64_t id);
/* The answer is complete, `own` is what it ended with; without the lock. false: who asked could not
 * be told, and `own` is why. */
bool dw__answer_ends(dw_runtime *runtime, dw__record *record, dw_error *own);

/* ---- operations.c ---- */

/* Begin the operation that the record owns; nothing else has its body. */
void dw__begin_own(dw_runtime *runtime, dw__record *record, void (*work)(dw__operation *operation),
                   void (*finish)(dw__operation *operation));
dw_status dw__operation_create(dw_runtime *runtime, dw__record *record, dw__operation **out,
                               dw_error *err);
/* Behind those that wait for the record; it begins once the record rests. */
void dw__operation_add(dw_runtime *runtime, dw__operation *operation, bool first);
/* Make the body of a new record from its seed; with a guest, from that. */
void dw__make(dw_runtime *runtime, dw__record *record);
/* The body is invalid, or not there: another in its place. */
void dw__restart(dw_runtime *runtime, dw__record *record);
/* An operation of one actor with a callback. */
typedef struct dw__call_of_one {
    void (*work)(dw__operation *operation);
    void (*finish)(dw__operation *operation);
    uint64_t number;
    void *module; /* counted where it is begun */
    int fd;
    dw_runtime_end_fn on_end;
    void *user;
} dw__call_of_one;
/* Takes the lock. */
dw_status dw__begin_call(dw_runtime *runtime, const char *id, const dw__call_of_one *call,
                         dw_error *err);
/* Room for one more freeze: without the lock, as `work`. Then, in `finish`: `body`, which is taken,
 * is the last; operation->number is its number. */
void dw__freeze_make_room(dw__operation *operation);
void dw__freeze_add(dw__operation *operation, void *body);
/* A fork of `record`, to be the body of `child`. */
void dw__fork_work(dw__operation *operation);
void dw__fork_finish(dw__operation *operation);
/* The operation is through, or was never begun: its end is told. */
void dw__operation_end(dw_runtime *runtime, dw__operation *operation);

/* What waits for it never begins. */
void dw__end_operations(dw_runtime *runtime, dw__record *record, const dw_error *error);

/* ---- stopping.c ---- */

/* Destroy all there is of a record that nobody finds, then the record. */
void dw__bury(dw_runtime *runtime, dw__record *record);
/* The actor ends; what it works on is interrupted. */
void dw__stop(dw_runtime *runtime, dw__record *record);
/* Nobody finds it any more, and what waits ends with `error`; it is yet to be buried. `ends`: there
 * is no such actor any more; else it is in its folder, as is what waits. */
void dw__part(dw_runtime *runtime, dw__record *record, const dw_error *error, bool ends);

/* ---- noted.h ---- */

/* Whether a trace is under way. */
static inline bool dw__traces(const dw_runtime *runtime)
{
    return atomic_load_explicit(&runtime->tracing, memory_order_relaxed);
}

/* ---- manifest.c ---- */

/* In the order of DW_MAY_*. */
#define DW__CAPABILITY_NAMES                                                                       \
    {                                                                                              \
        "spawn", "fork", "send-kin", "send-tenant", "send-any", "timers", "join"                   \
    }
/* The runtime's limits in a manifest; without the lock, as the next. */
dw_status dw__manifest_limits(const char *text, size_t bytes, dw_limits *limits, dw_error *err);
/* When actors leave memory, where the options do not say. */
dw_status dw__manifest_parking(dw_runtime_options *options, dw_error *err);
dw_status dw__manifest_tenants(dw_runtime *runtime, const char *text, size_t bytes, dw_error *err);

/* ---- core.c ---- */

/* What a tenant's actors are limited to where they say nothing; with the runtime's. Whether they
 * may be granted `models` [count]. Without the lock. Errors: DW_E_NOT_FOUND, DW_E_STATE,
 * DW_E_DENIED. */
dw_status dw__tenant_limits(dw_runtime *runtime, const char *name, dw_limits *limits,
                            dw_error *err);
dw_status dw__tenant_may_have(dw_runtime *runtime, const char *name, dw_model *const *models,
                              size_t count, dw_error *err);
/* Whether the tenant's actors may call the tool. Without the lock. Errors: DW_E_DENIED. */
dw_status dw__tenant_may_call(dw_runtime *runtime, const dw__record *record, const char *tool,
                              dw_error *err);
/* Whether they may open the context of the place's name, or save it, which has the tenant's limits
 * afterwards, where these are lower. Likewise. */
dw_status dw__tenant_may_use_context(dw_runtime *runtime, const dw__record *record,
                                     dw_context_place *place, bool saves, dw_error *err);
void dw__tenant_free(dw__tenant *tenant);
/* Without the lock. */
bool dw__own_prefixes(dw_runtime *runtime, const dw__record *record);
bool dw__public_prefixes(dw_runtime *runtime, const dw__record *record);
/* clock_ns of its tenant's actors. */
uint64_t dw__clock_ns(dw_runtime *runtime, const dw__record *record);

/* ---- events.c ---- */

struct dw__happening {
    dw_event_kind kind;
    dw__sender other;
    uint64_t number;
    const dw_error *error;           /* may be NULL */
    const dw_trace_context *context; /* likewise */
    const void *bytes;
    size_t byte_count;
};
/* Tell those who subscribed to the actor, or to all. */
void dw__happened_to(dw_runtime *runtime, uint64_t id, const dw__happening *happening);
void dw__happened(dw_runtime *runtime, const dw__record *record, const dw__happening *happening);
/* Tell on_problem, and log it; or without the latter, where something else does. */
void dw__tell_problem(dw_runtime *runtime, uint64_t id, const dw_error *problem);
void dw__problem(dw_runtime *runtime, uint64_t id, const dw_error *problem);
/* Whether `from` was granted to send to `to`. Errors: DW_E_DENIED. */
dw_status dw__may_send(const dw__record *from, const dw__record *to, dw_error *err);
/* The same to one that is not in memory. */
dw_status dw__may_send_to(const dw__record *from, const dw_actor_row *to, dw_error *err);
/* Call who subscribed; without the lock. Frees the event. */
void dw__event_tell(dw_runtime *runtime, dw__event *event);

bool dw__id_parse(const char *text, uint64_t *id);
void dw__id_text(char text[DW_ACTOR_ID_CHARS + 1], uint64_t id);
void dw__sender_text(char text[DW_ACTOR_ID_CHARS + 1], const dw__sender *sender);

#include "runtime/later.h"
#include "runtime/names.h"
#include "runtime/sums.h"
#include "runtime/watches.h"

#endif
