/* The system's clock may be set while a guest runs: its deadline and the ticker that stops it go by
 * another. Here the clock of the day is an hour ahead of the one that the kernel bounds waits by,
 * as for somebody who read it just before it was set back: who waits until then waits an hour. */
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "support.h"
#include "wasm/guest_instance.h"

#define AHEAD_S 3600

/* In the place of libc's, for all that is linked into this program. */
int clock_gettime(clockid_t id, struct timespec *now);
int clock_gettime(clockid_t id, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME) {
        now->tv_sec += AHEAD_S;
    }
    return result;
}

static const char spins[] = "(module (memory (export \"memory\") 1)"
                            "(func (export \"_start\") (loop $again (br $again))))";

static dw_engine *engine;

static dw_instance *start(uint64_t timeout_ms)
{
    const dw_instance_options options = {.struct_bytes = sizeof options, .timeout_ms = timeout_ms};
    dw_module *module = NULL;
    dw_instance *instance = NULL;
    dw_error err;
    wasm_byte_vec_t wasm;
    wasm_signals_restore();
    assert_null(wasmtime_wat2wasm(spins, strlen(spins), &wasm));
    if (dw_module_create(&module, engine, wasm.data, wasm.size, &err) != DW_OK ||
        dw_instance_create(&instance, module, &options, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    wasm_byte_vec_delete(&wasm);
    dw_module_unref(module);
    return instance;
}

/* Ends this program where a guest is not stopped: nothing else would. */
static int open_engine(void **state)
{
    (void)state;
    const dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU"};
    (void)alarm(60);
    return dw_engine_create(&engine, &options, NULL) == DW_OK ? 0 : -1;
}

static int close_engine(void **state)
{
    (void)state;
    dw_engine_destroy(engine);
    return 0;
}

static void test_deadline_when_the_clock_is_set(void **state)
{
    (void)state;
    dw_error err;
    dw_instance *instance = start(100);
    assert_int_equal(dw_instance_run(instance, NULL, &err), DW_E_LIMIT);
    dw_instance_destroy(instance);
}

static void *interrupt(void *user)
{
    (void)usleep(50000);
    dw_instance_interrupt(user);
    return NULL;
}

static void test_interrupt_when_the_clock_is_set(void **state)
{
    (void)state;
    dw_error err;
    pthread_t thread;
    dw_instance *instance = start(0);
    assert_int_equal(pthread_create(&thread, NULL, interrupt, instance), 0);
    assert_int_equal(dw_instance_run(instance, NULL, &err), DW_E_CANCELLED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    dw_instance_destroy(instance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline_when_the_clock_is_set),
        cmocka_unit_test(test_interrupt_when_the_clock_is_set),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
