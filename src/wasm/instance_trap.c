/* Why a guest trapped, and in which of its functions. Wasmtime's C API gives a frame's function and
 * offset; its text has lines of source as well, where the module carries them (DWARF) and Wasmtime
 * was told to read them, and calls that the compiler has put into others. So the text is read:
 *
 *   error while executing at wasm backtrace:
 *       0:    0x183 - crash
 *                       at /src/t.c:2:61
 *       1:    0x16b - helper
 *                       at /src/t.c:3:33
 *                   - main                      (helper is part of main there)
 *                       at /src/t.c:5:57
 *       2:   0x2596 - <unknown>!_start
 *
 *   Caused by:
 *       0: memory fault at wasm address 0x40000400 in linear memory of size 0x20000
 *       1: wasm trap: out of bounds memory access */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wasm/instance_internal.h"

#define BACKTRACE_BYTES_MAX ((size_t)16 << 10)
#define NAME_CHARS 60
/* A stack that grows down from its end past address 0 is met this far below, at the most. */
#define BELOW_ZERO (UINT64_C(64) << 20)

static const char *trap_text(wasmtime_trap_code_t code)
{
    switch (code) {
    case WASMTIME_TRAP_CODE_STACK_OVERFLOW:
        return "its call stack is exhausted";
    case WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS:
        return "it reached outside its memory";
    case WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS:
        return "it reached outside a table";
    case WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL:
        return "it called a null function";
    case WASMTIME_TRAP_CODE_BAD_SIGNATURE:
        return "it called a function of another type";
    case WASMTIME_TRAP_CODE_INTEGER_OVERFLOW:
        return "an integer overflowed";
    case WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO:
        return "it divided by zero";
    case WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER:
        return "it converted a number that no integer can hold";
    case WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED:
        return "it reached `unreachable` (an abort or a failed assertion)";
    default:
        return NULL;
    }
}

/* ---- frames -------------------------------------------------------------------------------- */

typedef struct frame {
    const char *name;
    size_t name_bytes;
    const char *place; /* "t.c:2"; NULL: not known */
    size_t place_bytes;
} frame;

/* The next line from *at on, without spaces in front; false: there is none. */
static bool next_line(const char **at, const char **line, size_t *bytes)
{
    if (**at == '\0') {
        return false;
    }
    size_t length = strcspn(*at, "\n");
    *line = *at;
    *bytes = length;
    *at += length + ((*at)[length] == '\n');
    while (*bytes > 0 && **line == ' ') {
        (*line)++;
        (*bytes)--;
    }
    return true;
}

/* Behind the module's name, where there is one in front. */
static void take_name(frame *f, const char *text, size_t bytes)
{
    const char *mark = memchr(text, '!', bytes);
    const char *other = memchr(text, '(', bytes);
    if (mark != NULL && (other == NULL || mark < other)) {
        bytes -= (size_t)(mark + 1 - text);
        text = mark + 1;
    }
    f->name = text;
    f->name_bytes = bytes;
}

/* "at /src/t.c:2:61" as "t.c:2". */
static void take_place(frame *f, const char *text, size_t bytes)
{
    size_t start = 0;
    size_t end = bytes;
    for (size_t i = 0; i < bytes; i++) {
        start = text[i] == '/' ? i + 1 : start;
    }
    int colons = 0;
    for (size_t i = start; i < bytes; i++) {
        colons += text[i] == ':';
        if (colons == 2 && text[i] == ':') {
            end = i;
            break;
        }
    }
    f->place = text + start;
    f->place_bytes = end - start;
}

/* The next frame of a backtrace; false: there are no more. */
static bool next_frame(const char **at, frame *f)
{
    const char *line;
    size_t bytes;
    *f = (frame){.name = NULL};
    while (next_line(at, &line, &bytes)) {
        const char *dash = bytes > 0 && line[0] == '-' ? line : NULL;
        for (size_t i = 0; dash == NULL && i + 3 <= bytes; i++) {
            if (memcmp(line + i, " - ", 3) == 0) {
                dash = line + i + 1;
            }
        }
        bool numbered = bytes > 0 && ((line[0] >= '0' && line[0] <= '9') || line[0] == '-');
        if (!numbered || dash == NULL) {
            continue;
        }
        size_t skip = (size_t)(dash - line) + 2;
        take_name(f, line + skip, bytes > skip ? bytes - skip : 0);
        const char *look = *at;
        if (next_line(&look, &line, &bytes) && bytes > 3 && memcmp(line, "at ", 3) == 0) {
            take_place(f, line + 3, bytes - 3);
            *at = look;
        }
        return true;
    }
    return false;
}

static bool is_same(const frame *a, const frame *b)
{
    return a->name_bytes == b->name_bytes && memcmp(a->name, b->name, a->name_bytes) == 0;
}

/* One frame's words; false: no room for them. */
static bool add_frame(char *text, size_t capacity, size_t *used, const frame *f, size_t times,
                      bool first)
{
    char one[2 * NAME_CHARS + 64];
    char often[48] = "";
    if (times > 1) {
        (void)snprintf(often, sizeof often, " (%zu calls deep)", times);
    }
    int length = snprintf(one, sizeof one, "%s%.*s%s%.*s%s", first ? ", in " : " < ",
                          (int)(f->name_bytes < NAME_CHARS ? f->name_bytes : NAME_CHARS), f->name,
                          f->place != NULL ? " at " : "",
                          (int)(f->place_bytes < NAME_CHARS ? f->place_bytes : NAME_CHARS),
                          f->place != NULL ? f->place : "", often);
    if (length < 0 || *used + (size_t)length + sizeof " < ..." > capacity) {
        return false;
    }
    memcpy(text + *used, one, (size_t)length + 1);
    *used += (size_t)length;
    return true;
}

/* ", in crash at t.c:2 < helper at t.c:3 < main at t.c:5 < ...": as many as there is room for. */
static void list_frames(const char *backtrace, char *text, size_t capacity)
{
    frame f;
    frame next;
    size_t used = 0;
    text[0] = '\0';
    bool more = next_frame(&backtrace, &f);
    for (bool first = true; more; first = false) {
        size_t times = 1;
        while ((more = next_frame(&backtrace, &next)) && is_same(&f, &next)) {
            times++;
        }
        if (!add_frame(text, capacity, &used, &f, times, first)) {
            (void)snprintf(text + used, capacity - used, first ? "" : " < ...");
            return;
        }
        f = next;
    }
}

/* ---- what is behind it ---------------------------------------------------------------------- */

/* The last line of what caused it, or all of a text without causes. */
static void find_cause(const char *message, const char **cause, size_t *bytes)
{
    const char *at = strstr(message, "Caused by:\n");
    const char *line;
    size_t length;
    *cause = message;
    *bytes = strcspn(message, "\n");
    if (at == NULL) {
        return;
    }
    at += strlen("Caused by:\n");
    while (next_line(&at, &line, &length) && length > 0) {
        size_t digits = strspn(line, "0123456789");
        bool numbered = digits > 0 && length > digits + 2 && line[digits] == ':';
        *cause = numbered ? line + digits + 2 : line;
        *bytes = numbered ? length - digits - 2 : length;
    }
}

/* What was reached for; false: Wasmtime does not say. */
static bool find_address(const char *message, uint64_t *address)
{
    static const char words[] = "memory fault at wasm address 0x";
    const char *at = strstr(message, words);
    if (at != NULL) {
        *address = strtoull(at + strlen(words), NULL, 16);
    }
    return at != NULL;
}

/* A C stack that was placed in front of the data (--stack-first) runs out below address 0. It has,
 * where the pointer to its end has passed it, and the fault does not lie elsewhere: of memory.copy
 * and memory.fill it is not told where. */
static bool is_stack_exhausted(const dw_instance *instance, const char *message)
{
    wasmtime_context_t *context = wasmtime_store_context(instance->store);
    wasmtime_extern_t item;
    wasmtime_val_t value;
    uint64_t address = 0;
    const char *name = dw__module_stack_export(instance->module);
    if (name[0] == '\0' ||
        (find_address(message, &address) && address < (UINT64_C(1) << 32) - BELOW_ZERO) ||
        !wasmtime_instance_export_get(context, &instance->instance, name, strlen(name), &item)) {
        return false;
    }
    bool below = false;
    if (item.kind == WASMTIME_EXTERN_GLOBAL) {
        wasmtime_global_get(context, &item.of.global, &value);
        below = value.kind == WASMTIME_I32 && value.of.i32 < 0;
    }
    wasmtime_extern_delete(&item);
    return below;
}

/* Without the functions in front that do a memory.fill or memory.copy in parts (wasm_bulk.c): they
 * are none of the guest's. */
static const char *skip_added(const dw_instance *instance, const char *backtrace)
{
    static const char mark[] = "<wasm function ";
    const dw_wasm_needs *needs = &instance->module->needs;
    for (;;) {
        size_t length = strcspn(backtrace, "\n");
        const char *name = strstr(backtrace, mark);
        if (!needs->known || name == NULL || name > backtrace + length ||
            strtoul(name + strlen(mark), NULL, 10) < needs->function_count) {
            return backtrace;
        }
        backtrace += length + (backtrace[length] == '\n' ? 1 : 0);
    }
}

/* All frames, for dw_instance_backtrace. */
static void keep_backtrace(dw_instance *instance, const char *message)
{
    const char *start = strstr(message, "backtrace:\n");
    if (start == NULL) {
        return;
    }
    start = skip_added(instance, start + strlen("backtrace:\n"));
    const char *end = strstr(start, "\n\n");
    const char *note = strstr(start, "\nnote: ");
    size_t bytes = end != NULL ? (size_t)(end - start) : strlen(start);
    bytes = note != NULL && (size_t)(note - start) < bytes ? (size_t)(note - start) : bytes;
    bytes = bytes < BACKTRACE_BYTES_MAX ? bytes : BACKTRACE_BYTES_MAX;
    instance->backtrace = dw_alloc(bytes + 2, 1);
    if (instance->backtrace != NULL) {
        memcpy(instance->backtrace, start, bytes);
        instance->backtrace[bytes] = '\n';
    }
}

void dw__instance_forget_backtrace(dw_instance *instance)
{
    dw_free(instance->backtrace);
    instance->backtrace = NULL;
}

const char *dw_instance_backtrace(const dw_instance *instance)
{
    return instance->backtrace != NULL ? instance->backtrace : "";
}

static dw_status tell(dw_instance *instance, wasmtime_trap_code_t code, bool has_code,
                      const char *message, dw_error *err)
{
    char frames[160] = "";
    const char *text = has_code ? trap_text(code) : NULL;
    if (code == WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS && has_code &&
        is_stack_exhausted(instance, message)) {
        text = "its C stack is exhausted";
    }
    if (instance->backtrace != NULL && !(has_code && code == WASMTIME_TRAP_CODE_STACK_OVERFLOW)) {
        list_frames(instance->backtrace, frames, sizeof frames);
    }
    if (text != NULL) {
        return dw_fail(err, DW_E_TRAP, "the guest trapped: %s%s", text, frames);
    }
    const char *cause;
    size_t bytes;
    find_cause(message, &cause, &bytes);
    return dw_fail(err, DW_E_TRAP, "the guest trapped: %.*s%s", (int)(bytes < 160 ? bytes : 160),
                   cause, frames);
}

dw_status dw__instance_trapped(dw_instance *instance, wasm_trap_t *trap, dw_error *err)
{
    wasmtime_trap_code_t code = 0;
    bool has_code = wasmtime_trap_code(trap, &code);
    dw_status status;
    if (has_code && code == WASMTIME_TRAP_CODE_OUT_OF_FUEL) {
        status = dw_fail(err, DW_E_LIMIT, "the guest ran more than its %llu instructions (fuel)",
                         (unsigned long long)instance->limits.fuel);
    } else {
        wasm_message_t message; /* with a NUL behind */
        wasm_trap_message(trap, &message);
        dw__instance_forget_backtrace(instance);
        keep_backtrace(instance, message.data);
        status = tell(instance, code, has_code, message.data, err);
        wasm_byte_vec_delete(&message);
    }
    wasm_trap_delete(trap);
    return status;
}
