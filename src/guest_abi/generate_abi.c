/* Generation ahead of the guest: begun, waited for, ended. What the guest asks for is read once,
 * when it begins; afterwards its memory only gets results. */
#include <assert.h>
#include <stddef.h>

#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_steps.h"

static_assert(sizeof(dw_generate_request) == 64, "the layout that guests were compiled with");
static_assert(offsetof(dw_generate_request, token_count) == 52, "the same");
static_assert(sizeof(dw_stop_string) == 8, "the same");

#define REQUEST_BYTES_MAX 4096u

/* A request as it was when it was read, and what it refers to. */
typedef struct generate_call {
    dw_generate_request request;
    dw_generation_options options;
    dw_stop_text stops[DW_STOP_STRINGS_MAX];
} generate_call;

/* A guest built for a later host may give more; fields that are unknown here must be 0. */
static dw_status check_rest(const unsigned char *rest, size_t bytes, dw_error *err)
{
    for (size_t i = 0; i < bytes; i++) {
        if (rest[i] != 0) {
            return dw_fail(err, DW_E_UNSUPPORTED,
                           "request: this host does not know what stands at "
                           "byte %zu",
                           i + sizeof(dw_generate_request));
        }
    }
    return DW_OK;
}

static dw_status read_request(dw_instance *instance, uint32_t pointer, generate_call *call,
                              dw_error *err)
{
    void *place;
    dw_status status = dw_instance_range(instance, "request", pointer, sizeof call->request, 1,
                                         sizeof(uint32_t), &place, err);
    if (status != DW_OK) {
        return status;
    }
    dw_generate_request *request = place;
    call->request = *request;
    uint32_t bytes = call->request.struct_bytes;
    if (bytes < sizeof call->request || bytes > REQUEST_BYTES_MAX) {
        return dw_fail(err, DW_E_RANGE, "request: struct_bytes %u, from %zu to %u are allowed",
                       bytes, sizeof call->request, REQUEST_BYTES_MAX);
    }
    if (call->request.reserved[0] != 0 || call->request.reserved[1] != 0) {
        return dw_fail(err, DW_E_UNSUPPORTED, "request: reserved fields must be 0");
    }
    status =
        dw_instance_range(instance, "request", pointer, bytes, 1, sizeof(uint32_t), &place, err);
    call->options.place = (dw_generation_place){.token_count = &request->token_count,
                                                .end = &request->end,
                                                .stop_index = &request->stop_index};
    return status == DW_OK
               ? check_rest((const unsigned char *)(request + 1), bytes - sizeof *request, err)
               : status;
}

static dw_status token_range(dw_instance *instance, const char *what, uint32_t pointer,
                             uint32_t count, int32_t **out, dw_error *err)
{
    void *place;
    dw_status status = dw_instance_range(instance, what, pointer, count, sizeof(int32_t),
                                         sizeof(int32_t), &place, err);
    *out = place;
    return status;
}

static dw_status read_stops(dw_instance *instance, generate_call *call, dw_error *err)
{
    const dw_generate_request *request = &call->request;
    void *place;
    if (request->stop_string_count > DW_STOP_STRINGS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "stop_strings: %u, limit %u", request->stop_string_count,
                       DW_STOP_STRINGS_MAX);
    }
    dw_status status = dw_instance_range(instance, "stop_strings", request->stop_strings,
                                         request->stop_string_count, sizeof(dw_stop_string),
                                         sizeof(uint32_t), &place, err);
    const dw_stop_string *strings = place;
    for (uint32_t i = 0; status == DW_OK && i < request->stop_string_count; i++) {
        uint32_t bytes = strings[i].bytes;
        status =
            dw_instance_range(instance, "stop_strings", strings[i].text, bytes, 1, 1, &place, err);
        call->stops[i] = (dw_stop_text){.bytes = place, .count = bytes};
    }
    call->options.stops = call->stops;
    call->options.stop_count = request->stop_string_count;
    return status;
}

/* Where the request's lists are; dw_generation_create looks at what is in them. */
static dw_status read_ranges(dw_instance *instance, generate_call *call, dw_error *err)
{
    const dw_generate_request *request = &call->request;
    dw_generation_options *options = &call->options;
    int32_t *tokens = NULL;
    options->prompt_count = request->prompt_count;
    options->tokens_max = request->tokens_max;
    options->wake_tokens = request->wake_tokens;
    options->flags = request->flags;
    options->stop_token_count = request->stop_token_count;
    dw_status status =
        token_range(instance, "prompt", request->prompt, request->prompt_count, &tokens, err);
    options->prompt = tokens;
    if (status == DW_OK) {
        status = token_range(instance, "tokens", request->tokens, request->tokens_max,
                             &options->place.tokens, err);
    }
    if (status == DW_OK) {
        status = token_range(instance, "stop_tokens", request->stop_tokens,
                             request->stop_token_count, &tokens, err);
        options->stop_tokens = tokens;
    }
    return status == DW_OK ? read_stops(instance, call, err) : status;
}

/* Results that lay over one another, or over the request, would not be what they say. */
static dw_status check_overlap(const generate_call *call, uint32_t pointer, dw_error *err)
{
    uint64_t tokens = call->request.tokens;
    uint64_t end = tokens + (uint64_t)call->request.tokens_max * sizeof(int32_t);
    return pointer < end && tokens < (uint64_t)pointer + sizeof call->request
               ? dw_fail(err, DW_E_OVERLAP, "tokens: %u at %u lie over the request at %u",
                         call->request.tokens_max, call->request.tokens, pointer)
               : DW_OK;
}

static dw_status begin(dw_instance *instance, dw_context *context, dw_sampler *sampler,
                       generate_call *call, dw_error *err)
{
    dw_account *account = dw_instance_account(instance);
    dw_generation *generation = NULL;
    call->options.step = dw__step_of(instance);
    call->options.account = account;
    dw_account_scope before = dw_account_enter(account, DW_PART_TEXTS);
    dw_status status = dw_generation_create(&generation, context, sampler, &call->options, err);
    dw_account_leave(before);
    return status == DW_OK ? dw_instance_generate(instance, generation, err) : status;
}

/* context, sampler, request */
static int32_t generate_begin(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_context *context = dw__context_of(instance, args[0].i32);
    dw_sampler *sampler = context != NULL ? dw__sampler_of(instance, args[1].i32) : NULL;
    generate_call call = {.options = {.prompt_count = 0}};
    if (sampler == NULL) {
        return err->code;
    }
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    dw_status status = dw__check_sampler_fits(sampler, context, err);
    if (status == DW_OK) {
        status = read_request(instance, dw__u32(&args[2]), &call, err);
    }
    if (status == DW_OK) {
        status = read_ranges(instance, &call, err);
    }
    if (status == DW_OK) {
        status = check_overlap(&call, dw__u32(&args[2]), err);
    }
    if (status == DW_OK) { /* what the prompt has no room for; it goes on by itself then */
        status = dw__make_window(instance, context, call.request.prompt_count, err);
    }
    return status == DW_OK ? begin(instance, context, sampler, &call, err) : status;
}
DW__GUEST_CALL_GROWING(i32, generate_begin)

/* What has taken the context of a handle; NULL with dw_instance_error filled: nothing has. */
static dw_generation *generation_on(dw_instance *instance, int32_t handle)
{
    const void *context = dw_instance_get_object(instance, DW_HANDLE_CONTEXT, handle);
    if (context == NULL) {
        return NULL;
    }
    dw_generation *generation = dw_instance_generation_of(instance, context);
    if (generation == NULL) {
        (void)dw_fail(dw_instance_error(instance), DW_E_STATE,
                      "context: nothing is generated on %d", handle);
    }
    return generation;
}

/* How many tokens there are; where it has ended, its objects are free. */
static int32_t tell(dw_instance *instance, dw_generation *generation)
{
    int32_t result = (int32_t)dw_generation_tell(generation); /* it may go on meanwhile */
    if (generation->end < 0) {
        *dw_instance_error(instance) = generation->error;
        result = generation->end;
    }
    if (generation->end != DW_GENERATE_GOES_ON) {
        dw_instance_generation_drop(instance, generation);
    }
    return result;
}

static int32_t generate_wait(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_generation *generation = generation_on(instance, args[0].i32);
    if (generation == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_instance_generation_wait(instance, generation);
    return tell(instance, generation);
}
DW__GUEST_CALL(i32, generate_wait)

static int32_t generate_end(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_generation *generation = generation_on(instance, args[0].i32);
    if (generation == NULL) {
        return dw_instance_error(instance)->code;
    }
    dw_instance_generation_end(instance, generation);
    return tell(instance, generation);
}
DW__GUEST_CALL(i32, generate_end)

const dw_host_import dw_generate_imports[] = {
    {"generate_begin", "iii:i", call_generate_begin},
    {"generate_wait", "i:i", call_generate_wait},
    {"generate_end", "i:i", call_generate_end},
    {NULL, NULL, NULL},
};
