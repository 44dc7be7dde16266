/* What tests of the runtime share: a runtime over an engine with a tiny model, and calls that must
 * succeed. */
#ifndef DW_TESTS_RUNTIME_FIXTURE_H
#define DW_TESTS_RUNTIME_FIXTURE_H

#include <pthread.h>

#include "actor_fixture.h"

typedef struct runtime_fixture {
    actor_fixture *actors;
    dw_module *hostile;   /* tests/guest/actor_hostile.c */
    dw_module *echo;      /* tests/guest/actor_echo.c */
    dw_module *stillborn; /* tests/guest/actor_stillborn.c */
    dw_module *unborn;    /* tests/guest/actor_unborn.c */
    dw_runtime *runtime;  /* of a test: runtime_open */
    dw_limits limits;     /* of the next runtime */
    uint32_t working_max;
    const char *path; /* of the next runtimes; NULL: none, as of all below */
    const char *manifest;
    dw_durability durability;
    uint32_t durability_s;
    bool works_on_request;
    bool read_only;
    bool accept_older;
    dw_write_fn on_stderr;
    pthread_mutex_t lock; /* guards the next two */
    unsigned problem_count;
    char problem[256]; /* the last one */
} runtime_fixture;

/* cmocka's set-up and tear-down of a group: *state is the fixture. */
int runtime_fixture_open(void **state);
int runtime_fixture_close(void **state);
/* A test that failed leaves its runtime open, and its folder full: neither is the next one's. */
int runtime_test_end(void **state);
#define runtime_test(test) cmocka_unit_test_teardown(test, runtime_test_end)

typedef struct runtime_id {
    char text[DW_ACTOR_ID_CHARS + 1];
} runtime_id;

/* DW_TEST_GUEST_THREADS: on how many threads guests run; more than one: the device has its own. */
dw_scheduler_options runtime_scheduling(void);
/* With find_guest ("stillborn", "unborn", "hostile") and on_problem. Guests may trap from then on.
 */
void runtime_open(runtime_fixture *f);
void runtime_close(runtime_fixture *f);
/* `options` may be NULL: all capabilities. `granted`: the model. */
runtime_id runtime_spawned(runtime_fixture *f, dw_module *module, const dw_spawn_options *options);
/* An answer that is text, or numbers; with a NUL behind. */
typedef struct runtime_answer {
    _Alignas(8) unsigned char bytes[8192];
    size_t count;
} runtime_answer;
/* For dw_request.on_answer: `user` is a runtime_answer. */
ptrdiff_t runtime_keep(void *user, const unsigned char *bytes, size_t count);
/* Call and wait. */
dw_status runtime_tell(runtime_fixture *f, const runtime_id *id, const char *text,
                       runtime_answer *answer, dw_error *error);
/* One that must end well; the number at the front of the answer. */
uint32_t runtime_told(runtime_fixture *f, const runtime_id *id, const char *text);
/* Of a runtime that works on request: the same, then one turn for all who got something; all that
 * waits. */
dw_status request_tell(runtime_fixture *f, const char *id, const char *text, runtime_answer *answer,
                       dw_error *error);
uint32_t request_told(runtime_fixture *f, const char *id, const char *text);
void request_run(runtime_fixture *f);
/* What actor_sparse.wat answers to the message of these four numbers; it is to go well. */
uint32_t runtime_asked(runtime_fixture *f, const runtime_id *id, uint32_t what, uint32_t a,
                       uint32_t b, uint32_t c);
/* A copy of the actor, read from its files; the caller's to destroy. */
dw_status runtime_copy(runtime_fixture *f, const char *id, dw_actor **actor, dw_error *error);
/* Until nothing is worked on. */
void runtime_await(runtime_fixture *f);
dw_runtime_actor_info runtime_info(runtime_fixture *f, const runtime_id *id);
bool runtime_has(runtime_fixture *f, const runtime_id *id);
/* All ids [*count], in order. */
size_t runtime_ids(runtime_fixture *f, runtime_id *ids, size_t capacity);
unsigned runtime_problems(runtime_fixture *f, char text[256]);

#endif
