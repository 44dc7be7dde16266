/* An actor that means harm: the first letter of a message says how. With "+" it counts what it was
 * told. */
#include <driftwood_guest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char message[64];
static char id[DW_ACTOR_ID_BYTES];
static uint32_t counter;

static int32_t to_self(const char *text)
{
    (void)dw_actor_id(id, sizeof id);
    return dw_actor_send(id, sizeof id - 1, text, (uint32_t)strlen(text));
}

static void spin(void)
{
    for (volatile uint32_t i = 0;; i++) {}
}

static uint32_t deeper(uint32_t depth)
{
    volatile char frame[4096];
    frame[depth % sizeof frame] = (char)depth;
    return depth == UINT32_MAX ? 0 : deeper(depth + 1) + (uint32_t)frame[0];
}

static void take_memory(void)
{
    for (size_t bytes = (size_t)1 << 20; bytes > 0;) {
        char *block = malloc(bytes);
        if (block == NULL) {
            bytes /= 2;
        } else {
            memset(block, 1, bytes);
        }
    }
}

static void take_handles(void)
{
    int32_t model = dw_model_open(NULL, 0);
    for (int i = 0; i < 10000; i++) {
        (void)dw_context_create(model, 0);
        (void)dw_graph_create();
        (void)dw_sampler_create(model, NULL);
    }
}

static void bad_pointers(void)
{
    static const uint32_t places[] = {0, 1, 0x7fffffff, 0xfffffff0u, 0xffffffffu};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        void *place = (void *)(uintptr_t)places[i];
        (void)dw_reply(place, 0xffffffffu);
        (void)dw_actor_send(place, 16, place, 0x7fffffff);
        (void)dw_actor_spawn(place, 0xffffffffu, place, 1, place, 17);
        (void)dw_actor_watch(place, 16, places[i]);
        (void)dw_actor_watch(place, 0xffffffffu, 3);
        (void)dw_actor_unwatch(place, 16);
        (void)dw_forward((int32_t)places[i], place, 0xffffffffu, place);
        (void)dw_tokenize((int32_t)places[i], place, 0xffffffffu, place, 0xffffffffu, 0);
    }
}

static int32_t ask(char what)
{
    switch (what) {
    case 's': /* to itself, ever more */
        for (int i = 0; i < 100; i++) {
            (void)to_self("s");
        }
        return 0;
    case 'f':
        for (int i = 0; i < 100; i++) {
            (void)dw_actor_fork("f", 1, id, sizeof id);
        }
        return 0;
    case 'n':
        for (int i = 0; i < 100; i++) {
            (void)dw_actor_spawn(NULL, 0, "n", 1, id, sizeof id);
        }
        return 0;
    case 'v': /* ever more that break off, of which it wants to be told */
        for (int i = 0; i < 100; i++) {
            (void)dw_actor_watch(id, sizeof id - 1, 3); /* the last one's */
            (void)dw_actor_spawn(NULL, 0, i % 2 == 0 ? "v" : "!", 1, id, sizeof id);
            (void)dw_actor_watch(id, sizeof id - 1, 3);
        }
        return 0;
    case 't':
        for (int i = 0; i < 100; i++) {
            (void)dw_actor_timer(0, "t", 1);
        }
        return 0;
    case 'o': /* answers without an end */
        while (dw_reply(message, sizeof message) >= 0) {}
        return 0;
    default:
        return DW_E_ARG;
    }
}

DW_ACTOR_RECEIVE
{
    int32_t bytes = dw_input(message, sizeof message);
    switch (dw_message_kind() == DW_MESSAGE_WATCH ? 'v' : bytes > 0 ? message[0] : ' ') {
    case '+':
        counter++;
        return dw_reply(&counter, sizeof counter);
    case 'l':
        spin();
        return 0;
    case '!':
        __builtin_trap();
    case 'r':
        return (int32_t)deeper(0);
    case 'm':
        take_memory();
        return 0;
    case 'h':
        take_handles();
        return 0;
    case 'p':
        bad_pointers();
        return 0;
    case 'w':
        (void)sleep(3600);
        return 0;
    case 'x':
        exit(7);
    case 'v':
        return ask('v');
    default:
        return ask(message[0]);
    }
}
