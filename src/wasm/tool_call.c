/* A tool's call: a thread that carries it out, while the guest's fiber, or the thread that called
 * it, waits for a flag. Only what goes through dw_tool_call_answer is charged to the guest. */
#include "wasm/tool_call.h"

#include <string.h>

#include "base/array.h"
#include "wasm/instance_internal.h"

struct dw_tool_call {
    dw_instance *instance;
    const char *actor; /* NULL: none */
    char name[DW_TOOL_NAME_MAX + 1];
    const void *request; /* [request_bytes], the guest's, which waits */
    size_t request_bytes;
    unsigned char *answer; /* [answer_bytes] */
    size_t answer_bytes;
    size_t answer_capacity;
    dw_status status;
    dw_error error;
    _Atomic bool left;
    _Atomic bool done;
};

const char *dw_tool_call_get_name(const dw_tool_call *call)
{
    return call->name;
}

const void *dw_tool_call_get_request(const dw_tool_call *call, size_t *bytes)
{
    *bytes = call->request_bytes;
    return call->request;
}

const char *dw_tool_call_get_actor(const dw_tool_call *call)
{
    return call->actor != NULL ? call->actor : "";
}

void dw_tool_call_set_actor(dw_tool_call *call, const char *id)
{
    call->actor = id;
}

const void *dw_tool_call_answered(const dw_tool_call *call, size_t *bytes)
{
    *bytes = call->answer_bytes;
    return call->answer;
}

bool dw_tool_call_is_left(const dw_tool_call *call)
{
    return call->left || dw_stop_asked(&call->instance->stop);
}

dw_status dw_tool_call_answer(dw_tool_call *call, const void *bytes, size_t count, dw_error *err)
{
    if (count > DW_TOOL_ANSWER_MAX - call->answer_bytes) {
        return dw_fail(err, DW_E_LIMIT, "an answer of more than %zu bytes", DW_TOOL_ANSWER_MAX);
    }
    dw_account *account = call->instance->account;
    dw_account_scope before = dw_account_enter(account, DW_PART_TEXTS);
    bool good = DW_ARRAY_RESERVE(call->answer, call->answer_capacity, call->answer_bytes + count,
                                 DW_TOOL_ANSWER_MAX);
    dw_account_leave(before);
    if (!good) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of an answer",
                       call->answer_bytes + count);
    }
    if (count > 0) {
        memcpy(call->answer + call->answer_bytes, bytes, count);
    }
    call->answer_bytes += count;
    return DW_OK;
}

static void *carry_out(void *arg)
{
    dw_tool_call *call = arg;
    dw_instance *instance = call->instance;
    call->status = instance->on_call(instance->user, call, &call->error);
    call->done = true;
    dw_stop_wake(&instance->stop); /* the guest cannot go before this thread is joined */
    return NULL;
}

static dw_status wait_for(dw_instance *instance, dw_tool_call *call, dw_error *err)
{
    pthread_t thread;
    int failed = dw_os_start_thread(&thread, carry_out, call);
    if (failed != 0) {
        return dw_fail(err, DW_E_MEMORY, "call: no thread: error %d", failed);
    }
    dw_wait wait = {.until_ns = UINT64_MAX, .flag = &call->done};
    while (!call->done) {
        bool goes_on = dw_instance_wait(instance, &wait);
        wait.to_end = wait.to_end || !goes_on;
        call->left = wait.to_end;
    }
    DW_ASSERT(pthread_join(thread, NULL) == 0);
    if (call->left || dw_stop_asked(&instance->stop)) {
        return dw_fail(err, DW_E_CANCELLED, "call: %s: cancelled", call->name);
    }
    if (call->status != DW_OK) {
        *err = call->error;
        err->code = call->status;
        return dw_fail_within(err, call->status, "call: %s", call->name);
    }
    return DW_OK;
}

dw_status dw_instance_call_tool(dw_instance *instance, const char *name, const void *request,
                                size_t bytes, dw_error *err)
{
    dw_instance_drop_answer(instance);
    if (instance->on_call == NULL) {
        return dw_fail(err, DW_E_DENIED, "call: %s: this guest has no tools", name);
    }
    dw_tool_call call = {.instance = instance, .request = request, .request_bytes = bytes};
    DW_ASSERT(strlen(name) < sizeof call.name);
    memcpy(call.name, name, strlen(name) + 1);
    dw_region_pin(instance->region);
    dw_status status = wait_for(instance, &call, err);
    dw_region_unpin(instance->region);
    if (status != DW_OK) {
        dw_free(call.answer);
        return status;
    }
    instance->answer = call.answer;
    instance->answer_bytes = call.answer_bytes;
    return DW_OK;
}

const unsigned char *dw_instance_answer(const dw_instance *instance, size_t *bytes)
{
    *bytes = instance->answer_bytes;
    return instance->answer;
}

void dw_instance_drop_answer(dw_instance *instance)
{
    dw_free(instance->answer);
    instance->answer = NULL;
    instance->answer_bytes = 0;
}
