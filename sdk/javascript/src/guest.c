/* The guest `javascript`: QuickJS with the module "driftwood". It runs the files that were packed into
 * it (`driftwood build`), or the file named as its argument.
 *
 * As an actor it runs them once, for its first message, and then calls what they export as `receive`
 * for each. The whole interpreter is in the guest's memory, and is saved with it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../packed_files.inc.h"
#include "driftwood_guest.h"
#include "embedded.inc.h" /* embedded_raw, embedded_driftwood: the module's sources */
#include "interpreter.h"
#include "quickjs.h"

#define ARGUMENTS_MAX 10
/* Of the C stack, which has 1 MiB. What calls take of Wasmtime's stack beside it is up to five times
 * as much (a generator within a generator), and that one has 4 MiB. */
#define STACK_BYTES ((size_t)768 << 10)

static JSRuntime *runtime;
static JSContext *js;
static JSValue own_module; /* its namespace */

/* ---- calls of imports ---------------------------------------------------------------------- */

typedef struct glue_call {
    JSContext *js;
    int count;
    JSValueConst *values;
    int failed;
    int text_count;
    const char *texts[ARGUMENTS_MAX];
} glue_call;

static JSValueConst glue_value(const glue_call *call, int i)
{
    return i < call->count ? call->values[i] : JS_UNDEFINED;
}

static int32_t glue_int(glue_call *call, int i)
{
    int32_t value = 0;
    call->failed |= JS_ToInt32(call->js, &value, glue_value(call, i)) < 0;
    return value;
}

static uint32_t glue_uint(glue_call *call, int i)
{
    return (uint32_t)glue_int(call, i);
}

static int64_t glue_long(glue_call *call, int i)
{
    int64_t value = 0;
    call->failed |= JS_ToInt64Ext(call->js, &value, glue_value(call, i)) < 0;
    return value;
}

static uint64_t glue_ulong(glue_call *call, int i)
{
    return (uint64_t)glue_long(call, i);
}

static __attribute__((unused)) float glue_float(glue_call *call, int i)
{
    double value = 0.0;
    call->failed |= JS_ToFloat64(call->js, &value, glue_value(call, i)) < 0;
    return (float)value;
}

/* null: 0. A text: its bytes and a NUL, for the call. A buffer or typed array: where it lies. A
 * number: that address. */
static void *glue_pointer(glue_call *call, int i)
{
    JSValueConst value = glue_value(call, i);
    size_t bytes, offset, length;
    if (call->failed || JS_IsNull(value) || JS_IsUndefined(value)) {
        return NULL;
    }
    if (JS_IsString(value) && call->text_count < ARGUMENTS_MAX) {
        const char *text = JS_ToCStringLen(call->js, &bytes, value);
        call->failed |= text == NULL;
        if (text != NULL) {
            call->texts[call->text_count++] = text;
        }
        return (void *)text;
    }
    if (JS_IsArrayBuffer(value)) {
        return JS_GetArrayBuffer(call->js, &bytes, value);
    }
    if (JS_GetTypedArrayType(value) >= 0) {
        JSValue buffer = JS_GetTypedArrayBuffer(call->js, value, &offset, &length, NULL);
        unsigned char *data = JS_GetArrayBuffer(call->js, &bytes, buffer);
        JS_FreeValue(call->js, buffer); /* the array holds it */
        call->failed |= data == NULL;
        return data != NULL ? data + offset : NULL;
    }
    return (void *)(uintptr_t)glue_uint(call, i);
}

static int glue_failed(const glue_call *call)
{
    return call->failed;
}

static void glue_release(glue_call *call)
{
    for (int i = 0; i < call->text_count; i++) {
        JS_FreeCString(call->js, call->texts[i]);
    }
}

#include "glue.inc.h"

/* ---- what the module needs beside ----------------------------------------------------------- */

static void *resize_aligned(JSRuntime *of, void *user, void *memory, size_t size)
{
    (void)of;
    (void)user;
    if (size == 0) {
        free(memory);
    }
    return NULL; /* none of these is resized */
}

/* alloc(bytes): an ArrayBuffer of zeros that every device uses in place. */
static JSValue native_alloc(JSContext *context, JSValueConst self, int count, JSValueConst *values)
{
    int64_t bytes;
    (void)self;
    if (count < 1 || JS_ToInt64Ext(context, &bytes, values[0]) < 0) {
        return JS_EXCEPTION;
    }
    if (bytes < 0 || bytes > INT32_MAX) {
        return JS_ThrowRangeError(context, "a buffer of %lld bytes", (long long)bytes);
    }
    size_t size = ((size_t)bytes + DW_TENSOR_ALIGN) / DW_TENSOR_ALIGN * DW_TENSOR_ALIGN;
    unsigned char *memory = aligned_alloc(DW_TENSOR_ALIGN, size);
    if (memory == NULL) {
        return JS_ThrowOutOfMemory(context);
    }
    memset(memory, 0, size);
    return JS_NewArrayBuffer(context, memory, (size_t)bytes, 0, resize_aligned, NULL, false);
}

/* address(buffer) in this guest's memory. */
static JSValue native_address(JSContext *context, JSValueConst self, int count,
                              JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = context, .count = count, .values = values};
    void *place = JS_IsString(glue_value(&call, 0)) ? NULL : glue_pointer(&call, 0);
    return call.failed ? JS_EXCEPTION : JS_NewUint32(context, (uint32_t)(uintptr_t)place);
}

/* encode(text): its UTF-8. */
static JSValue native_encode(JSContext *context, JSValueConst self, int count, JSValueConst *values)
{
    size_t bytes;
    (void)self;
    const char *text = count > 0 ? JS_ToCStringLen(context, &bytes, values[0]) : NULL;
    if (text == NULL) {
        return JS_EXCEPTION;
    }
    JSValue out = JS_NewUint8ArrayCopy(context, (const uint8_t *)text, bytes);
    JS_FreeCString(context, text);
    return out;
}

/* decode(buffer, bytes): text of UTF-8. */
static JSValue native_decode(JSContext *context, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = context, .count = count, .values = values};
    const char *from = glue_pointer(&call, 0);
    int32_t bytes = glue_int(&call, 1);
    if (call.failed || bytes < 0) {
        return call.failed ? JS_EXCEPTION : JS_ThrowRangeError(context, "%d bytes", bytes);
    }
    return JS_NewStringLen(context, from != NULL ? from : "", from != NULL ? (size_t)bytes : 0);
}

/* write(descriptor, text or bytes, count): 1 is standard output, 2 standard error. */
static JSValue native_write(JSContext *context, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    glue_call call = {.js = context, .count = count, .values = values};
    FILE *stream = glue_int(&call, 0) == 2 ? stderr : stdout;
    size_t bytes = 0;
    if (count > 1 && JS_IsString(values[1])) {
        const char *text = JS_ToCStringLen(context, &bytes, values[1]);
        if (text == NULL) {
            return JS_EXCEPTION;
        }
        (void)fwrite(text, 1, bytes, stream);
        JS_FreeCString(context, text);
    } else {
        const char *from = glue_pointer(&call, 1);
        (void)fwrite(from, 1, from != NULL ? glue_uint(&call, 2) : 0, stream);
    }
    (void)fflush(stream);
    return call.failed ? JS_EXCEPTION : JS_UNDEFINED;
}

/* env(name): the environment's; undefined: not set. */
static JSValue native_env(JSContext *context, JSValueConst self, int count, JSValueConst *values)
{
    (void)self;
    const char *name = count > 0 ? JS_ToCString(context, values[0]) : NULL;
    if (name == NULL) {
        return JS_EXCEPTION;
    }
    const char *value = getenv(name);
    JS_FreeCString(context, name);
    return value != NULL ? JS_NewString(context, value) : JS_UNDEFINED;
}

static JSValue native_exit(JSContext *context, JSValueConst self, int count, JSValueConst *values)
{
    int32_t status = 0;
    (void)self;
    (void)(count > 0 && JS_ToInt32(context, &status, values[0]));
    exit(status);
}

static const JSCFunctionListEntry native_functions[] = {
    JS_CFUNC_DEF("alloc", 1, native_alloc),   JS_CFUNC_DEF("address", 1, native_address),
    JS_CFUNC_DEF("encode", 1, native_encode), JS_CFUNC_DEF("decode", 2, native_decode),
    JS_CFUNC_DEF("write", 3, native_write),   JS_CFUNC_DEF("env", 1, native_env),
    JS_CFUNC_DEF("exit", 1, native_exit),
};

#define COUNT_OF(list) ((int)(sizeof(list) / sizeof((list)[0])))

static int fill_native(JSContext *context, JSModuleDef *module)
{
    return JS_SetModuleExportList(context, module, glue_functions, COUNT_OF(glue_functions)) < 0 ||
                   JS_SetModuleExportList(context, module, native_functions,
                                          COUNT_OF(native_functions)) < 0
               ? -1
               : 0;
}

/* ---- modules -------------------------------------------------------------------------------- */

/* A file's text with a NUL, for free(). */
static char *read_file(const char *path, size_t *bytes)
{
    FILE *stream = fopen(path, "rb");
    char *text = NULL;
    size_t room = 0;
    *bytes = 0;
    while (stream != NULL) {
        if (room - *bytes < 2) {
            room = room == 0 ? 65536 : 2 * room;
            text = realloc(text, room);
            if (text == NULL) {
                break;
            }
        }
        size_t got = fread(text + *bytes, 1, room - *bytes - 1, stream);
        *bytes += got;
        text[*bytes] = '\0';
        if (got == 0) {
            break;
        }
    }
    if (stream != NULL) {
        fclose(stream);
    }
    return text;
}

static JSValue compile(const char *name, const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1); /* QuickJS wants a NUL behind */
    if (copy == NULL) {
        return JS_ThrowOutOfMemory(js);
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    JSValue code = JS_Eval(js, copy, bytes, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    free(copy);
    return code;
}

static JSValue compile_named(const char *name)
{
    char found[256];
    uint32_t packed_bytes;
    size_t bytes;
    if (strcmp(name, "driftwood") == 0) {
        return compile(name, embedded_driftwood, sizeof embedded_driftwood - 1);
    }
    if (strcmp(name, "driftwood/raw") == 0) {
        return compile(name, embedded_raw, sizeof embedded_raw - 1);
    }
    const char *text = packed_file(name, &packed_bytes, found);
    if (text != NULL) {
        return compile(name, text, packed_bytes);
    }
    char *own = packed.bytes == 0 ? read_file(name, &bytes) : NULL;
    if (own == NULL) {
        return JS_ThrowReferenceError(js, "there is no module '%s'", name);
    }
    JSValue code = compile(name, own, bytes);
    free(own);
    return code;
}

static JSModuleDef *load_module(JSContext *context, const char *name, void *user)
{
    (void)user;
    if (strcmp(name, "driftwood/native") == 0) {
        JSModuleDef *module = JS_NewCModule(context, name, fill_native);
        if (module == NULL ||
            JS_AddModuleExportList(context, module, glue_functions, COUNT_OF(glue_functions)) < 0 ||
            JS_AddModuleExportList(context, module, native_functions, COUNT_OF(native_functions)) <
                0) {
            return NULL;
        }
        return module;
    }
    JSValue code = compile_named(name);
    if (JS_IsException(code)) {
        return NULL;
    }
    JSModuleDef *module = JS_VALUE_GET_PTR(code);
    JS_FreeValue(context, code); /* the context has it */
    return module;
}

/* ---- running -------------------------------------------------------------------------------- */

/* The exception on standard error; a DriftwoodError's code, else DW_E_ARG. Frees `problem`. */
static int32_t tell(JSValue problem)
{
    const char *text = JS_ToCString(js, problem);
    JSValue stack = JS_IsObject(problem) ? JS_GetPropertyStr(js, problem, "stack") : JS_UNDEFINED;
    JSValue code = JS_IsObject(problem) ? JS_GetPropertyStr(js, problem, "code") : JS_UNDEFINED;
    const char *places = JS_IsString(stack) ? JS_ToCString(js, stack) : NULL;
    int32_t status = 0;
    if (!JS_IsNumber(code) || JS_ToInt32(js, &status, code) < 0 || status >= 0) {
        status = DW_E_ARG;
    }
    fprintf(stderr, "%s\n%s", text != NULL ? text : "an exception", places != NULL ? places : "");
    JS_FreeCString(js, text);
    JS_FreeCString(js, places);
    JS_FreeValue(js, stack);
    JS_FreeValue(js, code);
    JS_FreeValue(js, problem);
    return status;
}

/* What a value comes to, if it is a promise. 0, or the status of what it failed with. */
static int32_t settle(JSValue value, JSValue *result)
{
    JSContext *of;
    *result = JS_UNDEFINED;
    if (JS_IsException(value)) {
        return tell(JS_GetException(js));
    }
    int done;
    while ((done = JS_ExecutePendingJob(runtime, &of)) > 0) {}
    if (done < 0) {
        JS_FreeValue(js, value);
        return tell(JS_GetException(js));
    }
    if (!JS_IsPromise(value)) {
        *result = value;
        return 0;
    }
    JSPromiseStateEnum state = JS_PromiseState(js, value);
    JSValue came = JS_PromiseResult(js, value);
    JS_FreeValue(js, value);
    if (state == JS_PROMISE_REJECTED) {
        return tell(came);
    }
    if (state == JS_PROMISE_PENDING) {
        JS_FreeValue(js, came);
        fprintf(stderr, "a promise is waited for that nothing settles\n");
        return DW_E_STATE;
    }
    *result = came;
    return 0;
}

/* Runs the program's own module. */
static int32_t start(const char *path)
{
    JSValue result;
    char name[256];
    uint32_t bytes;
    if (packed.bytes > 0 && packed_file(NULL, &bytes, name) != NULL) {
        path = name;
    }
    if (path == NULL) {
        fprintf(stderr, "no JavaScript was packed into this guest; name a file: driftwood run "
                        "javascript --dir . -- main.js\n");
        return DW_E_NOT_FOUND;
    }
    runtime = JS_NewRuntime();
    js = runtime != NULL ? JS_NewContext(runtime) : NULL;
    if (js == NULL) {
        fprintf(stderr, "no memory for JavaScript\n");
        return DW_E_MEMORY;
    }
    interpreter_limit_stack(runtime, STACK_BYTES);
    JS_SetModuleLoaderFunc(runtime, NULL, load_module, NULL);
    static const char first[] = "import \"driftwood\";"; /* console, for programs without it too */
    int32_t ready = settle(JS_Eval(js, first, sizeof first - 1, "start", JS_EVAL_TYPE_MODULE),
                           &result);
    JS_FreeValue(js, result);
    if (ready != 0) {
        return ready;
    }
    JSValue code = compile_named(path);
    if (JS_IsException(code)) {
        return tell(JS_GetException(js));
    }
    JSModuleDef *module = JS_VALUE_GET_PTR(code);
    if (JS_ResolveModule(js, code) < 0) {
        return tell(JS_GetException(js));
    }
    int32_t status = settle(JS_EvalFunction(js, code), &result);
    JS_FreeValue(js, result);
    own_module = status == 0 ? JS_GetModuleNamespace(js, module) : JS_UNDEFINED;
    return status;
}

int main(int count, char **words)
{
    return start(count > 1 ? words[1] : NULL) != 0;
}

/* What `receive` returns is the last piece of the answer, if it is a text or bytes. */
static int32_t answer_with(JSValue value)
{
    size_t bytes;
    int32_t status = 0;
    if (JS_IsString(value)) {
        const char *text = JS_ToCStringLen(js, &bytes, value);
        status = text != NULL ? dw_reply(text, (uint32_t)bytes) : DW_E_MEMORY;
        JS_FreeCString(js, text);
    } else if (JS_GetTypedArrayType(value) == JS_TYPED_ARRAY_UINT8) {
        uint8_t *data = JS_GetUint8Array(js, &bytes, value);
        status = data != NULL ? dw_reply(data, (uint32_t)bytes) : DW_E_ARG;
    }
    JS_FreeValue(js, value);
    return status;
}

static int32_t hand_over(JSValueConst message, JSValueConst bytes)
{
    JSValue result;
    JSValueConst values[] = {message, bytes};
    JSValue receive = JS_GetPropertyStr(js, own_module, "receive");
    if (!JS_IsFunction(js, receive)) {
        JS_FreeValue(js, receive);
        fprintf(stderr, "the module exports no function `receive`\n");
        return DW_E_UNSUPPORTED;
    }
    int32_t status = settle(JS_Call(js, receive, JS_UNDEFINED, 2, values), &result);
    JS_FreeValue(js, receive);
    return status == 0 ? answer_with(result) : status;
}

DW_ACTOR_RECEIVE
{
    int32_t status = 0;
    if (js == NULL) {
        status = start(NULL);
    }
    if (status != 0) {
        js = NULL; /* the next message tries anew */
        return status;
    }
    interpreter_limit_stack(runtime, STACK_BYTES);
    uint32_t room = 4096;
    char *text = malloc(room);
    int32_t bytes = text != NULL ? dw_input(text, room) : DW_E_MEMORY;
    while (bytes == DW_E_SPACE && room < (1U << 30)) {
        free(text);
        room *= 2;
        text = malloc(room);
        bytes = text != NULL ? dw_input(text, room) : DW_E_MEMORY;
    }
    if (bytes < 0) {
        free(text);
        return bytes;
    }
    JSValue message = JS_NewStringLen(js, text, (size_t)bytes);
    JSValue array = JS_NewUint8ArrayCopy(js, (const uint8_t *)text, (size_t)bytes);
    free(text);
    status = hand_over(message, array);
    JS_FreeValue(js, message);
    JS_FreeValue(js, array);
    return status;
}

/* Another module under the actor: driftwood_state and driftwood_upgrade are the program's `state` and
 * `upgrade`. */
static int32_t call_own(const char *name)
{
    JSValue result;
    int32_t status = js == NULL ? start(NULL) : 0;
    if (status != 0) {
        return status;
    }
    interpreter_limit_stack(runtime, STACK_BYTES);
    JSValue function = JS_GetPropertyStr(js, own_module, name);
    if (!JS_IsFunction(js, function)) {
        JS_FreeValue(js, function);
        fprintf(stderr, "the module exports no function `%s`\n", name);
        return DW_E_UNSUPPORTED;
    }
    status = settle(JS_Call(js, function, JS_UNDEFINED, 0, NULL), &result);
    JS_FreeValue(js, function);
    JS_FreeValue(js, result);
    return status;
}

DW_ACTOR_STATE
{
    return call_own("state");
}

DW_ACTOR_UPGRADE
{
    return call_own("upgrade");
}
