/* Chats for guests: requests as JSON, rendered by the model's own template, and answers read. All
 * of it depends on its arguments alone, so that an actor holds nothing but its own memory. Each
 * function checks handles, ranges and overlap in this order, then acts. */
#include <string.h>

#include "base/alloc.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "guest_abi/guest_strings.h"
#include "wasm/repeatable.h"

/* A request, and room for what is made of it. */
typedef struct chat_call {
    dw_instance *instance;
    dw_model *model;
    dw_chat_request request;
    void *room;
    size_t capacity; /* in items of item_bytes */
    uint32_t room_at;
    uint64_t charged_bytes; /* for what is made of the request meanwhile */
} chat_call;

/* Of the values of JSON and of the text as it is written: 90 a byte where values are small; and of
 * each object, empty ones among them. */
#define BYTES_A_BYTE 96u
#define OBJECT_BYTES 160u

#define ANSWER_BYTES_MAX ((size_t)4 << 20) /* longer ones are refused */

static uint64_t request_bytes(const char *json, size_t bytes)
{
    uint64_t objects = 0;
    for (size_t i = 0; i < bytes; i++) {
        objects += json[i] == '{';
    }
    return BYTES_A_BYTE * bytes + OBJECT_BYTES * objects;
}

/* For what is made of JSON, or of an answer with some in it, until the call ends. */
static dw_status charge(chat_call *call, const char *json, size_t bytes, dw_error *err)
{
    uint64_t more = request_bytes(json, bytes);
    dw_status status =
        dw_account_charge(dw_instance_account(call->instance), DW_PART_TEXTS, more, err);
    call->charged_bytes += status == DW_OK ? more : 0;
    return status;
}

/* args: a model, a request and its bytes. */
static dw_status read_request(chat_call *call, dw_instance *instance,
                              const wasmtime_val_raw_t *args, dw_error *err)
{
    void *json;
    call->instance = instance;
    call->charged_bytes = 0;
    call->model = dw__model_of(instance, args[0].i32);
    call->request.bytes = dw__u32(&args[2]);
    call->request.stop = dw_instance_stop(instance);
    if (call->model == NULL) {
        return err->code;
    }
    dw_status status = dw_instance_range(instance, "request", dw__u32(&args[1]),
                                         call->request.bytes, 1, 1, &json, err);
    call->request.json = json;
    if (status == DW_OK) {
        status = dw__check_bytes("request", call->request.bytes,
                                 dw_instance_limits(instance)->chat_bytes, "chat_bytes", err);
    }
    if (status != DW_OK) {
        return status;
    }
    status = dw_vocab_wait_for(dw_model_vocab(call->model), call->request.stop, err);
    if (status == DW_E_CANCELLED) {
        return status;
    }
    return charge(call, json, call->request.bytes, err);
}

static void end_request(chat_call *call)
{
    dw_account_give(dw_instance_account(call->instance), DW_PART_TEXTS, call->charged_bytes);
}

/* args: room, and how many items fit. */
static dw_status read_room(chat_call *call, const wasmtime_val_raw_t *args, size_t item_bytes,
                           dw_error *err)
{
    call->room_at = dw__u32(&args[0]);
    call->capacity = dw__u32(&args[1]);
    dw_status status =
        dw_instance_range(call->instance, item_bytes > 1 ? "tokens" : "text", call->room_at,
                          call->capacity, item_bytes, item_bytes, &call->room, err);
    if (status == DW_OK && dw__overlaps(call->request.json, call->request.bytes, call->room,
                                        call->capacity * item_bytes)) {
        status = dw_fail(err, DW_E_OVERLAP, "the room at %u overlaps the request", call->room_at);
    }
    return status;
}

static dw_status render(const chat_call *call, dw_chat_text *text, dw_error *err)
{
    return dw_chats_render(dw_instance_chats(call->instance, call->model), call->request,
                           (int64_t)(dw_instance_wall_ms(call->instance) / 1000), text, err);
}

static dw_status open_format(const chat_call *call, const dw_chat_format **format, dw_error *err)
{
    return dw_chats_format(dw_instance_chats(call->instance, call->model), call->request, format,
                           err);
}

/* NULL: none was opened. */
static void close_format(const chat_call *call, const dw_chat_format *format)
{
    if (format != NULL) {
        dw_chats_release(dw_instance_chats(call->instance, call->model), format);
    }
}

/* Text into the guest's room. -> its length, or a status; the first four bytes of too small a room
 * tell the need. */
static int32_t give_text(const chat_call *call, const char *text, size_t bytes, dw_error *err)
{
    if (bytes > INT32_MAX) {
        return dw_fail(err, DW_E_LIMIT, "text: %zu bytes, limit %d", bytes, INT32_MAX);
    }
    if (bytes > call->capacity) {
        uint32_t need = (uint32_t)bytes;
        if (call->capacity >= sizeof need) {
            memcpy(call->room, &need, sizeof need);
        }
        return dw_fail(err, DW_E_SPACE, "text: %zu bytes, room for %zu", bytes, call->capacity);
    }
    memcpy(call->room, text, bytes);
    return (int32_t)bytes;
}

/* model, request, bytes, text, capacity */
static int32_t chat_render(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    chat_call call;
    dw_chat_text text = {.text = NULL};
    dw_status status = read_request(&call, instance, args, err);
    if (status == DW_OK) {
        status = read_room(&call, &args[3], 1, err);
    }
    if (status == DW_OK) {
        status = render(&call, &text, err);
    }
    int32_t result =
        status == DW_OK ? give_text(&call, text.text, text.bytes, err) : (int32_t)status;
    dw_chat_text_release(&text);
    end_request(&call);
    return result;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_TEXTS, chat_render)

/* model, request, bytes, skip, tokens, capacity */
static int32_t chat_tokenize(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    chat_call call;
    dw_chat_text text = {.text = NULL};
    dw_token_list list = {.count = 0};
    dw_status status = read_request(&call, instance, args, err);
    if (status == DW_OK) {
        status = read_room(&call, &args[4], sizeof(int32_t), err);
    }
    if (status == DW_OK) {
        status = render(&call, &text, err);
    }
    if (status == DW_OK) {
        list.tokens = call.room;
        list.capacity = call.capacity;
        list.stop = dw_instance_stop(instance);
        status = dw_chats_tokenize(dw_instance_chats(instance, call.model), &text,
                                   dw__u32(&args[3]), &list, err);
    }
    if (status == DW_E_SPACE && call.capacity > 0 && list.count <= INT32_MAX) {
        *(int32_t *)call.room = (int32_t)list.count;
    }
    dw_chat_text_release(&text);
    end_request(&call);
    return status != DW_OK ? (int32_t)status : (int32_t)list.count;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_TEXTS, chat_tokenize)

/* model, request, bytes, answer, answer_bytes, flags, text, capacity */
static int32_t chat_parse(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    chat_call call;
    void *answer;
    size_t answer_bytes = dw__u32(&args[4]);
    uint32_t flags = dw__u32(&args[5]);
    const dw_chat_format *format = NULL;
    char *message = NULL;
    dw_status status = read_request(&call, instance, args, err);
    if (status == DW_OK) {
        status = dw_instance_range(instance, "answer", dw__u32(&args[3]), answer_bytes, 1, 1,
                                   &answer, err);
    }
    if (status == DW_OK) {
        status = read_room(&call, &args[6], 1, err);
    }
    if (status == DW_OK && dw__overlaps(answer, answer_bytes, call.room, call.capacity)) {
        status = dw_fail(err, DW_E_OVERLAP, "the room at %u overlaps the answer", call.room_at);
    }
    if (status == DW_OK && (flags & ~(uint32_t)DW_CHAT_PARTIAL) != 0) {
        status = dw_fail(err, DW_E_ARG, "flags: 0x%x, only 1 is known", flags);
    }
    if (status == DW_OK) {
        size_t read = answer_bytes < ANSWER_BYTES_MAX ? answer_bytes : ANSWER_BYTES_MAX;
        status = charge(&call, answer, read, err);
    }
    if (status == DW_OK) {
        status = open_format(&call, &format, err);
    }
    if (status == DW_OK) {
        const dw_chat_raw raw = {.text = answer,
                                 .bytes = answer_bytes,
                                 .is_partial = (flags & DW_CHAT_PARTIAL) != 0,
                                 .request = call.request,
                                 .stop = dw_instance_stop(instance)};
        status = dw_chats_parse(format, raw, &message, err);
    }
    close_format(&call, format);
    int32_t result =
        status == DW_OK ? give_text(&call, message, strlen(message), err) : (int32_t)status;
    dw_free(message);
    end_request(&call);
    return result;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_TEXTS, chat_parse)

/* model, request, bytes, text, capacity */
static int32_t chat_info(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    chat_call call;
    const dw_chat_format *format = NULL;
    char *about = NULL;
    dw_status status = read_request(&call, instance, args, err);
    if (status == DW_OK) {
        status = read_room(&call, &args[3], 1, err);
    }
    if (status == DW_OK) {
        status = open_format(&call, &format, err);
    }
    if (status == DW_OK) {
        status = dw_chat_format_text(format, &about, err);
    }
    close_format(&call, format);
    int32_t result =
        status == DW_OK ? give_text(&call, about, strlen(about), err) : (int32_t)status;
    dw_free(about);
    end_request(&call);
    return result;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_TEXTS, chat_info)

/* sampler, model, request, bytes -> 1: a grammar holds what is chosen; 0: none is wanted */
static int32_t sampler_chat(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    dw_sampler *sampler = dw__sampler_of(instance, args[0].i32);
    chat_call call;
    const dw_chat_format *format = NULL;
    if (sampler == NULL) {
        return err->code;
    }
    dw_status status = read_request(&call, instance, &args[1], err);
    if (status == DW_OK &&
        dw_vocab_count(dw_model_vocab(call.model)) != dw_sampler_vocab_count(sampler)) {
        status = dw_fail(err, DW_E_ARG, "model: not the one of this sampler");
    }
    if (status == DW_OK) {
        status = open_format(&call, &format, err);
    }
    bool held = false;
    if (status == DW_OK) {
        held = dw_chat_format_info_of(format).grammar[0] != '\0';
        status = dw_sampler_set_chat_format(sampler, dw_model_vocab(call.model), format, err);
    }
    close_format(&call, format);
    end_request(&call);
    return status != DW_OK ? (int32_t)status : held ? 1 : 0;
}
DW__GUEST_CALL_TAKING(i32, DW_PART_SAMPLERS, sampler_chat)

const dw_host_import dw_chat_imports[] = {
    {"chat_render", "iiiii:i", call_chat_render},
    {"chat_tokenize", "iiiiii:i", call_chat_tokenize},
    {"chat_parse", "iiiiiiii:i", call_chat_parse},
    {"chat_info", "iiiii:i", call_chat_info},
    {"sampler_chat", "iiii:i", call_sampler_chat},
    {NULL, NULL, NULL},
};
