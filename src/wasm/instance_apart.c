/* Work of the host's that may take long and needs nothing of the device's turns, such as a file: on
 * a thread of its own, while the guest's fiber waits and others run. */
#include "wasm/instance_internal.h"

typedef struct apart_work {
    dw_instance *instance;
    dw_work_fn work;
    void *arg;
    dw_status status;
    dw_error error;
    _Atomic bool done;
} apart_work;

static void *carry_out(void *user)
{
    apart_work *apart = user;
    apart->status = apart->work(apart->arg, &apart->error);
    apart->done = true;
    dw_stop_wake(&apart->instance->stop); /* the guest cannot go before this thread is joined */
    return NULL;
}

dw_status dw_instance_work_apart(dw_instance *instance, dw_work_fn work, void *arg, dw_error *err)
{
    pthread_t thread;
    apart_work apart = {.instance = instance, .work = work, .arg = arg, .error = {.message = ""}};
    int failed = dw_os_start_thread(&thread, carry_out, &apart);
    if (failed != 0) {
        return dw_fail(err, DW_E_MEMORY, "no thread: error %d", failed);
    }
    dw_wait wait = {.until_ns = UINT64_MAX, .flag = &apart.done};
    while (!apart.done) { /* asked to stop, it ends by itself */
        wait.to_end = !dw_instance_wait(instance, &wait) || wait.to_end;
    }
    DW_ASSERT(pthread_join(thread, NULL) == 0);
    return apart.status == DW_OK ? DW_OK : dw_fail(err, apart.status, "%s", apart.error.message);
}
