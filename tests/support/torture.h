/* Tests that go on for as long as anyone wants: rounds that chance decides, each of which can be
 * repeated alone. Read from the environment:
 *
 *   TORTURE_SECONDS  how long; TORTURE_COUNT: how many rounds, instead
 *   TORTURE_SEED     of chance; without it another one each time, which is printed
 *   TORTURE_FIRST    the first round's number
 *
 * Rounds run in a process of their own. Where that ends by a signal, a failed assertion or in a
 * round that takes too long, the parent says how to repeat the round. */
#ifndef DW_TESTS_TORTURE_H
#define DW_TESTS_TORTURE_H

#include <stdint.h>

typedef struct torture {
    uint64_t seed;
    uint64_t round;
    uint64_t state; /* of chance, from seed and round */
} torture;

typedef struct torture_options {
    const char *name;
    void (*run)(torture *t); /* one round; cmocka's assertions end the process */
    void (*tell)(void);      /* a line on what was done, at the end; may be NULL */
    unsigned seconds;        /* without TORTURE_SECONDS */
    unsigned round_seconds;  /* a round that takes longer hangs; 0: 60 */
} torture_options;

/* The exit status of a program whose main this is. */
int torture_main(const torture_options *options);

uint64_t torture_random(torture *t);
/* Below `count`, which is not 0. */
uint64_t torture_below(torture *t, uint64_t count);

#endif
