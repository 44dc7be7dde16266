/* The module `driftwood_native` of the guest `python`: every import of Driftwood's as a function, and
 * buffers at addresses that devices use in place.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood_guest.h"
#include "python.h"

/* ---- buffers -------------------------------------------------------------------------------- */

/* count numbers of a kind: 'f' float, 'i' int32_t, 'B' bytes. A part of another one is no owner; its
 * slot 0 is what it is a part of. */
typedef struct buffer {
    unsigned char *data;
    uint32_t count;
    char kind;
    bool own;
} buffer;

typedef struct place { /* of an iteration, whose slot 0 is the buffer */
    uint32_t next;
} place;

static py_Type buffer_type;
static py_Type place_type;
/* The collector counts objects, of which few can hold much memory: it is also called for each so
 * many bytes. */
#define COLLECT_BYTES (32U << 20)
static size_t bytes_since;

static uint32_t size_of(char kind)
{
    return kind == 'B' ? 1 : 4;
}

static void buffer_release(void *object)
{
    buffer *own = object;
    if (own->own) {
        free(own->data);
    }
}

static buffer *new_buffer(py_OutRef out, char kind, uint32_t count)
{
    buffer *made = py_newobject(out, buffer_type, 1, sizeof(buffer));
    *made = (buffer){.kind = kind, .count = count};
    py_setslot(out, 0, py_None());
    return made;
}

/* alloc(kind, count): zeros. */
static bool native_alloc(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(2);
    PY_CHECK_ARG_TYPE(0, tp_str);
    PY_CHECK_ARG_TYPE(1, tp_int);
    char kind = py_tostr(py_arg(0))[0];
    py_i64 count = py_toint(py_arg(1));
    if (kind != 'f' && kind != 'i' && kind != 'B') {
        return ValueError("a buffer of kind '%s': f, i or B", py_tostr(py_arg(0)));
    }
    if (count < 0 || count > INT32_MAX / 4) {
        return ValueError("a buffer of %i numbers", count);
    }
    size_t bytes = (size_t)count * size_of(kind);
    size_t size = (bytes + DW_TENSOR_ALIGN) / DW_TENSOR_ALIGN * DW_TENSOR_ALIGN;
    bytes_since += size;
    if (bytes_since > COLLECT_BYTES) {
        bytes_since = 0;
        py_gc_collect();
    }
    unsigned char *data = aligned_alloc(DW_TENSOR_ALIGN, size);
    if (data == NULL) {
        return RuntimeError("no memory for a buffer of %i bytes", (py_i64)bytes);
    }
    memset(data, 0, size);
    buffer *made = new_buffer(py_retval(), kind, (uint32_t)count);
    made->data = data;
    made->own = true;
    return true;
}

static void get_number(py_OutRef out, const buffer *own, uint32_t i)
{
    float real;
    int32_t whole;
    switch (own->kind) {
    case 'f':
        memcpy(&real, own->data + 4 * (size_t)i, 4);
        py_newfloat(out, (double)real);
        break;
    case 'i':
        memcpy(&whole, own->data + 4 * (size_t)i, 4);
        py_newint(out, whole);
        break;
    default:
        py_newint(out, own->data[i]);
    }
}

static bool put_number(buffer *own, uint32_t i, py_Ref value)
{
    if (own->kind == 'f') {
        float real;
        if (!py_castfloat32(value, &real)) {
            return false;
        }
        memcpy(own->data + 4 * (size_t)i, &real, 4);
        return true;
    }
    if (!py_checkint(value)) {
        return false;
    }
    py_i64 whole = py_toint(value);
    bool fits = own->kind == 'i' ? whole == (int32_t)whole : whole == (uint8_t)whole;
    if (!fits) {
        return ValueError("%i does not fit", whole);
    }
    if (own->kind == 'i') {
        int32_t word = (int32_t)whole;
        memcpy(own->data + 4 * (size_t)i, &word, 4);
    } else {
        own->data[i] = (unsigned char)whole;
    }
    return true;
}

/* One end of a slice without step, within 0 to count. */
static bool slice_end(py_Ref value, uint32_t count, uint32_t none, uint32_t *end)
{
    if (py_isnone(value)) {
        *end = none;
        return true;
    }
    if (!py_checkint(value)) {
        return false;
    }
    py_i64 at = py_toint(value);
    at = at < 0 ? at + count : at;
    *end = at < 0 ? 0 : at > count ? count : (uint32_t)at;
    return true;
}

static bool slice_of(py_Ref slice, uint32_t count, uint32_t *from, uint32_t *to)
{
    if (!py_isnone(py_getslot(slice, 2))) {
        return ValueError("a buffer's slices have no step");
    }
    if (!slice_end(py_getslot(slice, 0), count, 0, from) ||
        !slice_end(py_getslot(slice, 1), count, count, to)) {
        return false;
    }
    *to = *to < *from ? *from : *to;
    return true;
}

static bool index_of(py_Ref value, uint32_t count, uint32_t *index)
{
    if (!py_checkint(value)) {
        return false;
    }
    py_i64 at = py_toint(value);
    at = at < 0 ? at + count : at;
    if (at < 0 || at >= count) {
        return IndexError("%i of %d", py_toint(value), (int)count);
    }
    *index = (uint32_t)at;
    return true;
}

static bool buffer_getitem(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(2);
    buffer *own = py_touserdata(argv);
    uint32_t from, to;
    if (!py_istype(py_arg(1), tp_slice)) {
        if (!index_of(py_arg(1), own->count, &from)) {
            return false;
        }
        get_number(py_retval(), own, from);
        return true;
    }
    if (!slice_of(py_arg(1), own->count, &from, &to)) {
        return false;
    }
    buffer *part = new_buffer(py_retval(), own->kind, to - from);
    part->data = own->data + (size_t)from * size_of(own->kind);
    py_setslot(py_retval(), 0, argv);
    return true;
}

/* Numbers of a list, a tuple or a buffer to own[from, to). */
static bool put_many(buffer *own, uint32_t from, uint32_t to, py_Ref values)
{
    bool list = py_islist(values);
    bool tuple = py_istuple(values);
    const buffer *other = py_istype(values, buffer_type) ? py_touserdata(values) : NULL;
    if (!list && !tuple && other == NULL) {
        return TypeError("a list, a tuple or a buffer is needed, not %t", py_typeof(values));
    }
    uint32_t count = other != NULL ? other->count
                     : list        ? (uint32_t)py_list_len(values)
                                   : (uint32_t)py_tuple_len(values);
    if (count != to - from) {
        return ValueError("%d numbers for %d places", (int)count, (int)(to - from));
    }
    if (other != NULL && other->kind == own->kind) {
        memmove(own->data + (size_t)from * size_of(own->kind), other->data,
                (size_t)count * size_of(own->kind));
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        py_TValue value;
        if (other != NULL) {
            get_number(&value, other, i);
        } else {
            value = *(list ? py_list_getitem(values, (int)i) : py_tuple_getitem(values, (int)i));
        }
        if (!put_number(own, from + i, &value)) {
            return false;
        }
    }
    return true;
}

static bool buffer_setitem(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(3);
    buffer *own = py_touserdata(argv);
    uint32_t from, to;
    py_newnone(py_retval());
    if (py_istype(py_arg(1), tp_slice)) {
        return slice_of(py_arg(1), own->count, &from, &to) && put_many(own, from, to, py_arg(2));
    }
    return index_of(py_arg(1), own->count, &from) && put_number(own, from, py_arg(2));
}

static bool buffer_len(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    py_newint(py_retval(), ((buffer *)py_touserdata(argv))->count);
    return true;
}

static bool buffer_repr(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    buffer *own = py_touserdata(argv);
    const char *name = own->kind == 'f' ? "floats" : own->kind == 'i' ? "tokens" : "octets";
    py_newfstr(py_retval(), "<%s(%d)>", name, (int)own->count);
    return true;
}

static bool buffer_iter(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    place *made = py_newobject(py_retval(), place_type, 1, sizeof(place));
    made->next = 0;
    py_setslot(py_retval(), 0, argv);
    return true;
}

static bool place_iter(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    py_assign(py_retval(), argv);
    return true;
}

static bool place_next(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    place *at = py_touserdata(argv);
    const buffer *own = py_touserdata(py_getslot(argv, 0));
    if (at->next >= own->count) {
        return StopIteration();
    }
    get_number(py_retval(), own, at->next++);
    return true;
}

static bool buffer_tolist(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    const buffer *own = py_touserdata(argv);
    py_newlistn(py_retval(), (int)own->count);
    for (uint32_t i = 0; i < own->count; i++) {
        get_number(py_list_getitem(py_retval(), (int)i), own, i);
    }
    return true;
}

static bool buffer_tobytes(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    const buffer *own = py_touserdata(argv);
    size_t bytes = (size_t)own->count * size_of(own->kind);
    memcpy(py_newbytes(py_retval(), (int)bytes), own->data, bytes);
    return true;
}

/* argmax(): the index of the largest number, the first of equals; -1: there is none. */
static bool buffer_argmax(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    const buffer *own = py_touserdata(argv);
    int64_t best = own->count > 0 ? 0 : -1;
    for (uint32_t i = 1; i < own->count; i++) {
        if (own->kind == 'f') {
            best = ((float *)own->data)[i] > ((float *)own->data)[best] ? i : best;
        } else if (own->kind == 'i') {
            best = ((int32_t *)own->data)[i] > ((int32_t *)own->data)[best] ? i : best;
        } else {
            best = own->data[i] > own->data[best] ? i : best;
        }
    }
    py_newint(py_retval(), best);
    return true;
}

static bool buffer_kind(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    char kind[] = {((buffer *)py_touserdata(argv))->kind, '\0'};
    py_newstr(py_retval(), kind);
    return true;
}

/* Numbers of structs: get(kind, offset), put(kind, offset, value), kinds as in driftwood_raw. */
static bool struct_place(const buffer *own, py_Ref kind, py_Ref at, unsigned char **place)
{
    if (!py_checkstr(kind) || !py_checkint(at)) {
        return false;
    }
    size_t size = strchr("IFU", py_tostr(kind)[0]) != NULL ? 8 : 4;
    size_t all = (size_t)own->count * size_of(own->kind);
    py_i64 offset = py_toint(at);
    if (offset < 0 || (size_t)offset > all || all - (size_t)offset < size) {
        return IndexError("%i of %d bytes", offset, (int)all);
    }
    *place = own->data + offset;
    return true;
}

static bool buffer_get(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(3);
    unsigned char *at;
    union {
        int32_t i;
        uint32_t u;
        float f;
        int64_t l;
        double d;
    } value = {.l = 0};
    if (!struct_place(py_touserdata(argv), py_arg(1), py_arg(2), &at)) {
        return false;
    }
    char kind = py_tostr(py_arg(1))[0];
    memcpy(&value, at, strchr("IFU", kind) != NULL ? 8 : 4);
    switch (kind) {
    case 'f':
        py_newfloat(py_retval(), (double)value.f);
        break;
    case 'F':
        py_newfloat(py_retval(), value.d);
        break;
    case 'i':
        py_newint(py_retval(), value.i);
        break;
    case 'u':
        py_newint(py_retval(), value.u);
        break;
    default:
        py_newint(py_retval(), value.l);
    }
    return true;
}

static bool buffer_put(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(4);
    unsigned char *at;
    double real = 0.0;
    int64_t whole = 0;
    if (!struct_place(py_touserdata(argv), py_arg(1), py_arg(2), &at)) {
        return false;
    }
    char kind = py_tostr(py_arg(1))[0];
    bool is_real = kind == 'f' || kind == 'F';
    if (is_real ? !py_castfloat(py_arg(3), &real) : !py_castint(py_arg(3), &whole)) {
        return false;
    }
    if ((kind == 'i' && whole != (int32_t)whole) || (kind == 'u' && whole != (uint32_t)whole)) {
        return ValueError("%i does not fit 32 bits", whole);
    }
    float single = (float)real;
    const void *from = kind == 'f' ? (void *)&single : kind == 'F' ? (void *)&real : &whole;
    memcpy(at, from, strchr("IFU", kind) != NULL ? 8 : 4);
    py_newnone(py_retval());
    return true;
}

/* ---- calls of imports ----------------------------------------------------------------------- */

typedef struct glue_call {
    int count;
    py_StackRef values;
    bool failed;
} glue_call;

static int64_t glue_long(glue_call *call, int i)
{
    if (call->failed) {
        return 0;
    }
    if (i >= call->count) {
        call->failed = true;
        (void)TypeError("argument %d is missing", i + 1);
        return 0;
    }
    py_Ref value = &call->values[i];
    if (py_isbool(value)) {
        return py_tobool(value);
    }
    call->failed = !py_checkint(value);
    return call->failed ? 0 : py_toint(value);
}

static uint64_t glue_ulong(glue_call *call, int i)
{
    return (uint64_t)glue_long(call, i);
}

static int32_t glue_int(glue_call *call, int i)
{
    int64_t value = glue_long(call, i);
    if (!call->failed && value != (int32_t)value) {
        call->failed = true;
        (void)ValueError("argument %d: %i does not fit 32 bits", i + 1, value);
    }
    return (int32_t)value;
}

static uint32_t glue_uint(glue_call *call, int i)
{
    int64_t value = glue_long(call, i);
    if (!call->failed && value != (uint32_t)value) {
        call->failed = true;
        (void)ValueError("argument %d: %i is not of 0 to 4294967295", i + 1, value);
    }
    return (uint32_t)value;
}

static __attribute__((unused)) float glue_float(glue_call *call, int i)
{
    float value = 0.0F;
    if (!call->failed && i >= call->count) {
        call->failed = true;
        (void)TypeError("argument %d is missing", i + 1);
    }
    call->failed = call->failed || !py_castfloat32(&call->values[i], &value);
    return value;
}

/* None: 0. A str or bytes: where it lies, with a NUL behind a str. A buffer: where that lies. An int:
 * that address. */
static void *glue_pointer(glue_call *call, int i)
{
    int bytes;
    if (call->failed || i >= call->count) {
        return (void *)(uintptr_t)glue_uint(call, i);
    }
    py_Ref value = &call->values[i];
    if (py_isnone(value)) {
        return NULL;
    }
    if (py_isstr(value)) {
        return (void *)py_tostr(value);
    }
    if (py_istype(value, tp_bytes)) {
        return py_tobytes(value, &bytes);
    }
    if (py_istype(value, buffer_type)) {
        return ((buffer *)py_touserdata(value))->data;
    }
    return (void *)(uintptr_t)glue_uint(call, i);
}

static bool glue_done(const glue_call *call)
{
    if (call->failed && !py_checkexc()) {
        return TypeError("an argument is wrong");
    }
    return !call->failed;
}

#include "glue.inc.h"

/* ---- what the module needs beside ------------------------------------------------------------ */

/* address(buffer) in this guest's memory; of bytes and str while they are held. */
static bool native_address(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    void *at = glue_pointer(&call, 0);
    py_newint(py_retval(), (py_i64)(uintptr_t)at);
    return glue_done(&call);
}

/* text(buffer or bytes, count): of UTF-8. */
static bool native_text(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    const char *from = glue_pointer(&call, 0);
    uint32_t bytes = glue_uint(&call, 1);
    if (!call.failed) {
        dw_python_text(py_retval(), from, from != NULL ? bytes : 0);
    }
    return glue_done(&call);
}

/* write(descriptor, str or bytes): 1 is standard output, 2 standard error. */
static bool native_write(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(2);
    PY_CHECK_ARG_TYPE(0, tp_int);
    FILE *stream = py_toint(argv) == 2 ? stderr : stdout;
    int bytes = 0;
    if (!py_isstr(py_arg(1)) && !py_istype(py_arg(1), tp_bytes)) {
        return TypeError("str or bytes can be written, not %t", py_typeof(py_arg(1)));
    }
    const void *from = py_isstr(py_arg(1)) ? (const void *)py_tostrn(py_arg(1), &bytes)
                                           : py_tobytes(py_arg(1), &bytes);
    (void)fwrite(from, 1, (size_t)bytes, stream);
    (void)fflush(stream);
    py_newnone(py_retval());
    return true;
}

/* env(name): the environment's; None: not set. */
static bool native_env(int argc, py_StackRef argv)
{
    PY_CHECK_ARGC(1);
    PY_CHECK_ARG_TYPE(0, tp_str);
    const char *value = getenv(py_tostr(argv));
    if (value != NULL) {
        dw_python_text(py_retval(), value, strlen(value));
    } else {
        py_newnone(py_retval());
    }
    return true;
}

/* next_token(context, model, request, taken): the generation's token behind `taken`, once it is there;
 * DW_E_END: it has ended; another status: it failed. A token that ends it is none. */
static bool native_next_token(int argc, py_StackRef argv)
{
    glue_call call = {.count = argc, .values = argv};
    int32_t context = glue_int(&call, 0);
    int32_t model = glue_int(&call, 1);
    const volatile dw_generate_request *request = glue_pointer(&call, 2);
    uint32_t taken = glue_uint(&call, 3);
    int32_t result = 0;
    if (call.failed) {
        return glue_done(&call);
    }
    while (result >= 0 && request->token_count <= taken && request->end == DW_GENERATE_GOES_ON) {
        result = dw_generate_wait(context);
    }
    if (request->token_count > taken) {
        result = request->tokens[taken];
        if ((request->flags & DW_GENERATE_PAST_END) == 0 && dw_token_is_end(model, result) == 1) {
            result = DW_E_END;
        }
    } else if (result >= 0) {
        result = request->end < 0 ? request->end : DW_E_END;
    }
    py_newint(py_retval(), result);
    return true;
}

static char *message;
static size_t message_bytes;

void dw_python_set_message(const char *text, size_t bytes)
{
    free(message);
    message = malloc(bytes + 1);
    message_bytes = message != NULL ? bytes : 0;
    if (message != NULL) {
        memcpy(message, text, bytes);
    }
}

/* message(): the one under way, as bytes. */
static bool native_message(int argc, py_StackRef argv)
{
    (void)argv;
    PY_CHECK_ARGC(0);
    unsigned char *out = py_newbytes(py_retval(), (int)message_bytes);
    if (message_bytes > 0) {
        memcpy(out, message, message_bytes);
    }
    return true;
}

void dw_python_add_native(void)
{
    py_GlobalRef module = py_newmodule("driftwood_native");
    for (size_t i = 0; i < sizeof glue_functions / sizeof glue_functions[0]; i++) {
        py_bindfunc(module, glue_functions[i].name, glue_functions[i].function);
    }
    py_bindfunc(module, "alloc", native_alloc);
    py_bindfunc(module, "address", native_address);
    py_bindfunc(module, "text", native_text);
    py_bindfunc(module, "write", native_write);
    py_bindfunc(module, "env", native_env);
    py_bindfunc(module, "message", native_message);
    py_bindfunc(module, "next_token", native_next_token);
    buffer_type = py_newtype("Buffer", tp_object, module, buffer_release);
    place_type = py_newtype("BufferIterator", tp_object, module, NULL);
    py_setdict(module, py_name("Buffer"), py_tpobject(buffer_type));
    py_bindmagic(buffer_type, py_name("__len__"), buffer_len);
    py_bindmagic(buffer_type, py_name("__getitem__"), buffer_getitem);
    py_bindmagic(buffer_type, py_name("__setitem__"), buffer_setitem);
    py_bindmagic(buffer_type, py_name("__iter__"), buffer_iter);
    py_bindmagic(buffer_type, py_name("__repr__"), buffer_repr);
    py_bindmagic(place_type, py_name("__iter__"), place_iter);
    py_bindmagic(place_type, py_name("__next__"), place_next);
    py_bindmethod(buffer_type, "tolist", buffer_tolist);
    py_bindmethod(buffer_type, "tobytes", buffer_tobytes);
    py_bindmethod(buffer_type, "argmax", buffer_argmax);
    py_bindmethod(buffer_type, "get", buffer_get);
    py_bindmethod(buffer_type, "put", buffer_put);
    py_bindproperty(buffer_type, "kind", buffer_kind, NULL);
}
