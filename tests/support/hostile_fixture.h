/* tests/guest/hostile.c, a model on which its acts take long, and standard streams on which they
 * wait. */
#ifndef DW_TESTS_HOSTILE_FIXTURE_H
#define DW_TESTS_HOSTILE_FIXTURE_H

#include "base/os.h"
#include "wasm/guest_instance.h"

/* Of a test program, made by hostile_open. */
extern dw_engine *hostile_engine;

int hostile_open(void **state);
int hostile_close(void **state);
/* A guest that is to do `act` with `n`; `with` may be NULL. Its arguments and models are set. */
dw_instance *hostile_start(const char *act, const char *n, const dw_instance_options *with);

/* In the place of the process's standard input and output: a pipe that nobody writes to, and one
 * that nobody reads from. */
typedef struct hostile_streams {
    int input[2];
    int output[2];
    int kept[2];
} hostile_streams;
extern hostile_streams hostile_replaced;
void hostile_replace_streams(void);
void hostile_restore_streams(void);

/* How a run ended. */
typedef struct hostile_ending {
    dw_status status;
    int code;
    uint64_t took_ns;
    char message[248];
} hostile_ending;

/* Run it on this stack, with these streams. */
hostile_ending hostile_run(dw_instance *instance);

#endif
