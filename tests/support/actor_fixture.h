/* What tests of actors share: an engine, the guest that tests talk to, a tiny model. */
#ifndef DW_TEST_ACTOR_FIXTURE_H
#define DW_TEST_ACTOR_FIXTURE_H

#include "driftwood.h"

typedef struct actor_fixture {
    dw_engine *engine;
    dw_model *model;   /* DW_TEST_MODEL's, else a tiny one of random weights */
    dw_module *module; /* tests/guest/actor_talker.c */
    char path[64];     /* of the tiny model; "": none was made */
} actor_fixture;

typedef struct actor_answer {
    _Alignas(8) unsigned char data[65536];
    size_t bytes;
} actor_answer;

/* cmocka's set-up and tear-down of a group: *state is the fixture. */
int actor_fixture_open(void **state);
int actor_fixture_close(void **state);

/* A guest from the build's folder. */
dw_module *actor_module(actor_fixture *fixture, const char *name);
/* A guest of tests/guest in WebAssembly's text. */
dw_module *actor_module_of_text(actor_fixture *fixture, const char *name);
/* Send 4 numbers and return the one that is answered. */
uint32_t actor_asked(dw_actor *actor, uint32_t what, uint32_t a, uint32_t b, uint32_t c);
/* An actor of the talker that was granted the model; `options` may be NULL. */
dw_actor *actor_spawned(actor_fixture *fixture, const dw_actor_options *options);
/* Work on the next message; the answer whole. */
dw_status actor_received(dw_actor *actor, actor_answer *answer);
/* Send a message and work on it. Fails the test with the error's text. */
dw_status actor_told(dw_actor *actor, actor_answer *answer, const char *format, ...)
    DW_PRINTF(3, 4);

#endif
