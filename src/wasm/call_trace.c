/* A guest's calls of the host's functions, told one by one: name, arguments, result, time. The
 * linker of a host that traces has these functions in front of the imports' own. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/callback.h"
#include "base/os.h"
#include "wasm/instance_internal.h"

#define LINE_BYTES 1024

typedef struct line {
    char text[LINE_BYTES];
    size_t used;
} line;

static void add_value(line *to, char letter, const wasmtime_val_raw_t *value, const char *before)
{
    char text[64];
    int length = letter == 'i'   ? snprintf(text, sizeof text, "%s%" PRId32, before, value->i32)
                 : letter == 'I' ? snprintf(text, sizeof text, "%s%" PRId64, before, value->i64)
                 : letter == 'f' ? snprintf(text, sizeof text, "%s%.9g", before, (double)value->f32)
                                 : snprintf(text, sizeof text, "%s%.17g", before, value->f64);
    if (length > 0 && to->used + (size_t)length < LINE_BYTES) {
        memcpy(to->text + to->used, text, (size_t)length + 1);
        to->used += (size_t)length;
    }
}

static void add_text(line *to, const char *text)
{
    size_t length = strlen(text);
    if (to->used + length < LINE_BYTES) {
        memcpy(to->text + to->used, text, length + 1);
        to->used += length;
    }
}

static void add_time(line *to, uint64_t ns)
{
    char text[48];
    (void)snprintf(text, sizeof text, "  %.1f us", (double)ns / 1e3);
    add_text(to, text);
}

/* What a call failed with, as the guest could ask for it. */
static void add_result(line *to, dw_instance *instance, const char *results,
                       const wasmtime_val_raw_t *values, const wasm_trap_t *trap)
{
    if (trap != NULL) {
        add_text(to, " does not return");
        return;
    }
    for (size_t i = 0; results[i] != '\0'; i++) {
        add_value(to, results[i], &values[i], i == 0 ? " = " : ", ");
    }
    bool failed =
        results[0] == 'i' && values[0].i32 < 0 && values[0].i32 == (int32_t)instance->error.code;
    if (failed) {
        add_text(to, " (");
        add_text(to, instance->error.message);
        add_text(to, ")");
    }
}

wasm_trap_t *dw__traced_call(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                             size_t count)
{
    const dw_host_import *import = env;
    dw_instance *instance = wasmtime_context_get_data(wasmtime_caller_context(caller));
    if (instance->on_trace == NULL) {
        return import->call(NULL, caller, values, count);
    }
    line one = {.used = 0};
    const char *letter = import->signature;
    add_text(&one, import->name);
    add_text(&one, "(");
    for (size_t i = 0; letter[i] != ':'; i++) {
        add_value(&one, letter[i], &values[i], i == 0 ? "" : ", ");
    }
    add_text(&one, ")");
    uint64_t start_ns = dw_os_clock_ns();
    wasm_trap_t *trap = import->call(NULL, caller, values, count);
    uint64_t ns = dw_os_clock_ns() - start_ns;
    add_result(&one, instance, strchr(letter, ':') + 1, values, trap);
    add_time(&one, ns);
    dw_callback_enter();
    instance->on_trace(instance->trace_user, one.text);
    dw_callback_leave();
    return trap;
}
