/* A state folder for the runtime's bookkeeping that is in memory: a disk that is full now and
 * then, is slow, and outlives kills of the process, as chance has it (test_runtime_disk.c).
 * What dw__keeper says of the real one holds for it. Thread: one. */
#ifndef DW_TESTS_RUNTIME_DISK_H
#define DW_TESTS_RUNTIME_DISK_H

#include "base/limits.h"
#include "runtime/runtime_internal.h"
#include "support.h"

#define SIM_MESSAGES_MAX 1024
#define SIM_ROWS_MAX 64
#define SIM_BODIES_MAX 256
#define SIM_QUEUE_MAX 32
#define SIM_PENDING_MAX 1024
#define SIM_MAIL_MAX 64
#define SIM_WATCHES_MAX 8 /* of one actor */
#define SIM_ASKS_MAX 4
#define SIM_MARKS_MAX 128
#define SIM_NAMES 4u  /* "n0" and so on */
#define SIM_GROUPS 3u /* "g0" and so on */

/* What an actor is, and what a snapshot of it has. */
typedef struct sim_state {
    uint64_t timer_ms; /* 0: none */
    uint64_t inside;
    uint64_t received;
    uint64_t effects;
    uint64_t done[SIM_MESSAGES_MAX / 64]; /* bits: messages that it has worked on */
} sim_state;

typedef struct sim_message {
    uint64_t to;
    bool outside;
    bool accepted; /* of one between actors, or of one that was told */
    bool unknown;  /* whoever sent it was killed before he was told, or did not wait */
    unsigned ends;
    dw_status status;
    bool rewound; /* it was done, and its actor went back behind that */
    bool named;   /* by name or to a group: `receivers` [receiver_count], in the place of `to` */
    uint64_t receivers[SIM_ROWS_MAX];
    size_t receiver_count;
} sim_message;

typedef struct sim_mail {
    dw_message_row row;
    uint64_t content;
    uint32_t attempts;
} sim_mail;

/* What it brings is a message that is there before. */
typedef struct sim_watch {
    uint64_t watched; /* 0: free */
    uint64_t message;
    uint32_t events;
    uint64_t cause;
    uint64_t caused;
} sim_watch;

typedef struct sim_row {
    bool used;
    uint64_t id;
    dw_descent descent;
    dw_actor_traits traits;
    sim_state state;
    uint64_t sequence;
    uint64_t done;
    uint64_t numbered;
    sim_mail mail[SIM_MAIL_MAX + SIM_WATCHES_MAX * 8];
    size_t mail_count;
    sim_watch watches[SIM_WATCHES_MAX];
    dw_attempts own;
    char name[4];    /* "": none */
    unsigned groups; /* bits */
    dw_actor_counts counts;
    struct {
        uint64_t number;
        sim_state state;
    } kept[DW_FOLDER_KEPT_MAX]; /* [kept_count], freezes */
    size_t kept_count;
} sim_row;

/* A file that no row names yet. */
typedef struct sim_file {
    uint64_t id;
    uint64_t sequence;
    sim_state state;
} sim_file;

typedef struct sim_piece {
    dw__landing *landing;
    char kind; /* 'a', 'd', 'c' */
} sim_piece;

typedef struct sim_body {
    dw__record *record;
    uint64_t id;
    bool alive;
    bool working;
    bool broken;
    bool ends;
    uint64_t message;
    uint64_t cause;
    uint64_t caused;
    sim_state state;
    dw__asked asks[SIM_ASKS_MAX];
    uint64_t contents[SIM_ASKS_MAX];
    size_t ask_count;
    size_t committed;
} sim_body;

typedef struct sim_mark {
    uint64_t id; /* 0: free */
    dw_attempted work;
} sim_mark;

typedef struct sim {
    dw_runtime *runtime;
    dw__keeper keeper;
    uint64_t random;
    uint64_t now_ns;
    bool calm;
    bool killed;
    dw_durability durability;
    sim_row rows[SIM_ROWS_MAX];
    sim_file files[SIM_ROWS_MAX * 4];
    size_t file_count;
    sim_piece queue[SIM_QUEUE_MAX];
    size_t queue_count;
    sim_mark marks[SIM_MARKS_MAX];
    sim_body bodies[SIM_BODIES_MAX];
    size_t alive;
    sim_message messages[SIM_MESSAGES_MAX]; /* from 1 on */
    uint64_t message_count;
    struct dw__operation *pending[SIM_PENDING_MAX];
    size_t pending_count;
    unsigned seeds;
    unsigned modules; /* counted for upgrades */
    unsigned kills;
    uint64_t logs[SIM_ROWS_MAX]; /* [log_count]: ids of those that left logs on the device */
    size_t log_count;
} sim;

typedef struct sim_seed {
    unsigned references;
    dw_limits limits;
} sim_seed;

uint64_t sim_wall_ms(const sim *s);
/* Below `below`; 0: any. */
uint64_t sim_chance(sim *s, uint64_t below);
/* Once in so many times, unless nothing fails any more. */
bool sim_fails(sim *s, uint64_t one_in);
uint64_t sim_id(const char *text);
/* NULL: there is none, as of the next but one. */
sim_row *sim_find_row(sim *s, uint64_t id);
/* Whether the actor's logs stay on the device from now on. */
static inline void sim_set_logs(sim *s, uint64_t id, bool stay)
{
    size_t at = 0;
    while (at < s->log_count && s->logs[at] != id) {
        at++;
    }
    if (stay && at == s->log_count) {
        assert_true(at < SIM_ROWS_MAX);
        s->logs[s->log_count++] = id;
    } else if (!stay && at < s->log_count) {
        s->logs[at] = s->logs[--s->log_count];
    }
}

static inline void sim_forget_logs(void *user, const char *id)
{
    sim_set_logs(user, sim_id(id), false);
}
/* Messages that wait. */
size_t sim_waiting(const sim_row *row);
sim_mail *sim_find_mail(sim_row *row, uint64_t number);
/* The watch of `watched`; 0: a free one. NULL: there is none. */
sim_watch *sim_find_watch(sim_row *row, uint64_t watched);
/* Who has the name; NULL: nobody. */
sim_row *sim_find_name(sim *s, const char *name);
/* Counted once. */
sim_seed *sim_make_seed(sim *s);
/* A transaction of all that waits. */
void sim_run_journal(sim *s);
extern const dw__keeper sim_keeper; /* its user is a sim */

#endif
