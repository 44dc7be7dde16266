/* A swarm: an actor that is told "ask N" makes N workers of itself, each with a part of the work
 * (the sum of a hundred numbers), and gathers what they send back; "tell" says how many have, and
 * the sum. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <driftwood_guest.h>

static uint32_t asked;
static uint32_t gathered;
static unsigned long long total;

static int32_t ask(uint32_t count)
{
    char own[DW_ACTOR_ID_BYTES];
    int32_t status = dw_actor_id(own, sizeof own);
    for (uint32_t i = 0; status >= 0 && i < count; i++) {
        char message[64];
        char id[DW_ACTOR_ID_BYTES];
        int length = snprintf(message, sizeof message, "work %s %u", own, i);
        status = dw_actor_spawn(NULL, 0, message, (uint32_t)length, id, sizeof id);
        asked += status >= 0;
    }
    return status;
}

/* "work ID N": the sum of 100 N to 100 N + 99, to ID; then it ends. */
static int32_t work(const char *id, unsigned long part)
{
    char message[64];
    unsigned long long sum = 0;
    for (unsigned long i = 0; i < 100; i++) {
        sum += 100 * part + i;
    }
    int length = snprintf(message, sizeof message, "done %llu", sum);
    int32_t status = dw_actor_send(id, 16, message, (uint32_t)length);
    return status < 0 ? status : dw_actor_stop();
}

DW_ACTOR_RECEIVE
{
    char message[128];
    int32_t count = dw_input(message, sizeof message - 1);
    if (count < 0) {
        return count;
    }
    message[count] = '\0';
    if (strncmp(message, "ask ", 4) == 0) {
        return ask((uint32_t)strtoul(message + 4, NULL, 10));
    }
    if (strncmp(message, "work ", 5) == 0 && count > 22) {
        return work(message + 5, strtoul(message + 22, NULL, 10));
    }
    if (strncmp(message, "done ", 5) == 0) {
        gathered++;
        total += strtoull(message + 5, NULL, 10);
        return DW_OK;
    }
    printf("swarm: %u of %u answers, sum %llu\n", gathered, asked, total);
    return DW_OK;
}
