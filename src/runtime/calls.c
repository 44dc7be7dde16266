/* The blocking forms: each begins what the other form does, and waits for its end. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/os.h"
#include "base/public_struct.h"
#include "runtime/guests.h"
#include "runtime/runtime_internal.h"

/* How long a caller looks for the end before it sleeps: to be woken takes as long. */
#define LOOK_NS UINT64_C(30000)

typedef enum await_state { AWAIT_LOOKS, AWAIT_SLEEPS, AWAIT_ENDED } await_state;

/* A call, on its caller's stack: gone as soon as it has ended, unless the caller sleeps. */
typedef struct awaited {
    _Atomic await_state state;
    bool woken; /* guarded by lock: the caller slept */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t number; /* until it has ended whoever ends it has these */
    dw_error error;
    dw_write_fn on_answer;
    dw_status (*on_answered)(void *user, dw_status result, dw_error *err);
    void *user;
} awaited;

static void release(awaited *a)
{
    (void)pthread_cond_destroy(&a->changed);
    (void)pthread_mutex_destroy(&a->lock);
}

static void on_end(void *user, const dw_runtime_end *end)
{
    awaited *a = user;
    a->number = end->number;
    a->error.code = end->status;
    if (end->status != DW_OK) {
        a->error = *end->error;
    }
    if (atomic_exchange(&a->state, AWAIT_ENDED) == AWAIT_SLEEPS) {
        (void)pthread_mutex_lock(&a->lock);
        a->woken = true;
        (void)pthread_cond_signal(&a->changed);
        (void)pthread_mutex_unlock(&a->lock);
    }
}

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    const awaited *a = user;
    return a->on_answer(a->user, bytes, count);
}

static dw_status on_answered(void *user, dw_status result, dw_error *err)
{
    const awaited *a = user;
    return a->on_answered(a->user, result, err);
}

static dw_status await(awaited *a, dw_error *err)
{
    uint64_t until_ns = dw_os_clock_ns() + LOOK_NS;
    await_state looks = AWAIT_LOOKS;
    while (atomic_load(&a->state) != AWAIT_ENDED && dw_os_clock_ns() < until_ns) {}
    if (atomic_compare_exchange_strong(&a->state, &looks, AWAIT_SLEEPS)) {
        (void)pthread_mutex_lock(&a->lock);
        while (!a->woken) {
            (void)pthread_cond_wait(&a->changed, &a->lock);
        }
        (void)pthread_mutex_unlock(&a->lock);
    }
    if (a->error.code != DW_OK && err != NULL) {
        *err = a->error;
    }
    return a->error.code;
}

/* For a call to be begun, then finished. Errors: DW_E_STATE; then it is not. */
static dw_status prepare(awaited *a, const dw_runtime *runtime, dw_error *err)
{
    if (dw__runtime_is_own_thread(runtime)) {
        return dw_fail(err, DW_E_STATE, "it would wait for the thread of this callback");
    }
    *a = (awaited){.number = 0};
    DW_ASSERT(pthread_mutex_init(&a->lock, NULL) == 0);
    dw_os_cond_init(&a->changed);
    return DW_OK;
}

/* The same with options for an actor to be made, which tell `a`. Errors: also DW_E_ARG. */
static dw_status prepare_making(awaited *a, const dw_runtime *runtime, dw_spawn_options *own,
                                const dw_spawn_options *options, dw_error *err)
{
    dw_status status = prepare(a, runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_struct_read(own, sizeof *own, options, "dw_spawn_options", err);
    if (status != DW_OK) {
        release(a);
        return status;
    }
    own->on_end = on_end;
    own->user = a;
    return DW_OK;
}

/* `status`: whether it was begun. */
static dw_status finish(awaited *a, dw_status status, dw_error *err)
{
    if (status == DW_OK) {
        status = await(a, err);
    }
    release(a);
    return status;
}

dw_status dw_runtime_call(dw_runtime *runtime, const char *id, const dw_request *request,
                          dw_error *err)
{
    awaited a;
    dw_request own;
    dw_status status = prepare(&a, runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = dw_struct_read(&own, sizeof own, request, "dw_request", err);
    if (status != DW_OK) {
        release(&a);
        return status;
    }
    a.on_answer = own.on_answer;
    a.on_answered = own.on_answered;
    a.user = own.user;
    own.on_answer = own.on_answer != NULL ? on_answer : NULL;
    own.on_answered = own.on_answered != NULL ? on_answered : NULL;
    own.on_end = on_end;
    own.user = &a;
    return finish(&a, dw_runtime_send(runtime, id, &own, NULL, err), err);
}

dw_status dw_runtime_spawn(dw_runtime *runtime, dw_module *module, const dw_spawn_options *options,
                           char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    awaited a;
    dw_spawn_options own;
    dw_status status = prepare_making(&a, runtime, &own, options, err);
    if (status != DW_OK) {
        return status;
    }
    return finish(&a, dw_runtime_begin_spawn(runtime, module, &own, id, err), err);
}

dw_status dw_runtime_fork(dw_runtime *runtime, const char *id, char child[DW_ACTOR_ID_CHARS + 1],
                          dw_error *err)
{
    awaited a;
    dw_status status = prepare(&a, runtime, err);
    if (status != DW_OK) {
        return status;
    }
    return finish(&a, dw_runtime_begin_fork(runtime, id, child, on_end, &a, err), err);
}

dw_status dw_runtime_freeze(dw_runtime *runtime, const char *id, uint64_t *number, dw_error *err)
{
    awaited a;
    dw_status status = prepare(&a, runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = finish(&a, dw_runtime_begin_freeze(runtime, id, on_end, &a, err), err);
    if (status == DW_OK && number != NULL) {
        *number = a.number;
    }
    return status;
}

dw_status dw_runtime_park(dw_runtime *runtime, const char *id, dw_error *err)
{
    awaited a;
    dw_status status = prepare(&a, runtime, err);
    if (status != DW_OK) {
        return status;
    }
    return finish(&a, dw_runtime_begin_park(runtime, id, on_end, &a, err), err);
}

dw_status dw_runtime_rewind(dw_runtime *runtime, const char *id, uint64_t number, dw_error *err)
{
    awaited a;
    dw_status status = prepare(&a, runtime, err);
    if (status != DW_OK) {
        return status;
    }
    return finish(&a, dw_runtime_begin_rewind(runtime, id, number, on_end, &a, err), err);
}

dw_status dw_runtime_upgrade(dw_runtime *runtime, const char *id, dw_module *module,
                             uint64_t *number, dw_error *err)
{
    awaited a;
    dw_status status = prepare(&a, runtime, err);
    if (status != DW_OK) {
        return status;
    }
    status = finish(&a, dw_runtime_begin_upgrade(runtime, id, module, on_end, &a, err), err);
    if (status == DW_OK && number != NULL) {
        *number = a.number;
    }
    return status;
}

dw_status dw_runtime_keep_prefixes(dw_runtime *runtime, const char *id, unsigned flags,
                                   dw_error *err)
{
    awaited a;
    dw_status status = prepare(&a, runtime, err);
    if (status != DW_OK) {
        return status;
    }
    return finish(&a, dw_runtime_begin_keep_prefixes(runtime, id, flags, on_end, &a, err), err);
}

dw_status dw_runtime_export(dw_runtime *runtime, const char *id, int fd, dw_error *err)
{
    awaited a;
    dw_status status = prepare(&a, runtime, err);
    if (status != DW_OK) {
        return status;
    }
    return finish(&a, dw_runtime_begin_export(runtime, id, fd, on_end, &a, err), err);
}

dw_status dw_runtime_import(dw_runtime *runtime, const dw_thaw_options *thaw,
                            const dw_spawn_options *options, char id[DW_ACTOR_ID_CHARS + 1],
                            dw_error *err)
{
    awaited a;
    dw_spawn_options own;
    dw_status status = prepare_making(&a, runtime, &own, options, err);
    if (status != DW_OK) {
        return status;
    }
    return finish(&a, dw__begin_import(runtime, thaw, &own, id, err), err);
}
