/* Tools of the host's that guests call by name. */
#include <string.h>

#include "driftwood_abi.h"
#include "guest_abi/guest_abi.h"
#include "guest_abi/guest_call.h"
#include "wasm/tool_call.h"

/* A tool's name: what operators type, and may put into files and logs. */
static dw_status tool_name(dw_instance *instance, const wasmtime_val_raw_t *args, char *name,
                           dw_error *err)
{
    void *text;
    uint32_t bytes = dw__u32(&args[1]);
    if (bytes == 0 || bytes > DW_TOOL_NAME_MAX) {
        return dw_fail(err, DW_E_ARG, "name: %u bytes, from 1 to %d are allowed", bytes,
                       DW_TOOL_NAME_MAX);
    }
    dw_status status =
        dw_instance_range(instance, "name", dw__u32(&args[0]), bytes, 1, 1, &text, err);
    for (uint32_t i = 0; status == DW_OK && i < bytes; i++) {
        char letter = ((const char *)text)[i];
        bool good = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                    (letter >= '0' && letter <= '9') || strchr("._-", letter) != NULL;
        if (!good || letter == '\0') {
            return dw_fail(err, DW_E_ARG,
                           "name: byte 0x%02x at %u, letters, digits, '.', '_' and '-' are allowed",
                           (unsigned char)letter, i);
        }
        name[i] = letter;
    }
    return status;
}

/* The last answer to buffer [capacity]. */
static int32_t give_answer(dw_instance *instance, void *buffer, uint32_t capacity, dw_error *err)
{
    size_t count;
    const unsigned char *answer = dw_instance_answer(instance, &count);
    if (count > capacity) {
        return dw_fail(err, DW_E_SPACE, "answer: room for %u bytes, it has %zu (call_answer)",
                       capacity, count);
    }
    if (count > 0) {
        memcpy(buffer, answer, count);
    }
    return (int32_t)count;
}

/* name, bytes, request, bytes, answer, capacity */
static int32_t call(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    char name[DW_TOOL_NAME_MAX + 1] = "";
    uint32_t bytes = dw__u32(&args[3]);
    uint32_t capacity = dw__u32(&args[5]);
    void *request;
    void *answer;
    if (dw_instance_cancelled(instance)) {
        return dw_fail(err, DW_E_CANCELLED, "cancelled");
    }
    dw_status status = tool_name(instance, args, name, err);
    if (status == DW_OK) {
        status =
            dw_instance_range(instance, "request", dw__u32(&args[2]), bytes, 1, 1, &request, err);
    }
    if (status == DW_OK && bytes > DW_TOOL_ANSWER_MAX) {
        status =
            dw_fail(err, DW_E_LIMIT, "request: %u bytes, limit %zu", bytes, DW_TOOL_ANSWER_MAX);
    }
    if (status == DW_OK) {
        status =
            dw_instance_range(instance, "answer", dw__u32(&args[4]), capacity, 1, 1, &answer, err);
    }
    if (status == DW_OK) {
        status = dw_instance_call_tool(instance, name, request, bytes, err);
    }
    return status != DW_OK ? (int32_t)status : give_answer(instance, answer, capacity, err);
}
DW__GUEST_CALL_GROWING(i32, call)

/* answer, capacity */
static int32_t call_answer(dw_instance *instance, const wasmtime_val_raw_t *args)
{
    dw_error *err = dw_instance_error(instance);
    uint32_t capacity = dw__u32(&args[1]);
    void *answer;
    dw_status status =
        dw_instance_range(instance, "answer", dw__u32(&args[0]), capacity, 1, 1, &answer, err);
    return status != DW_OK ? (int32_t)status : give_answer(instance, answer, capacity, err);
}
DW__GUEST_CALL(i32, call_answer)

const dw_host_import dw_tool_imports[] = {
    {"call", "iiiiii:i", call_call},
    {"call_answer", "ii:i", call_call_answer},
    {NULL, NULL, NULL},
};
