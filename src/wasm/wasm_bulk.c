/* memory.fill and memory.copy in parts, so that a guest's deadline and other guests need not wait
 * for one that goes over gigabytes: Wasmtime does each with one call, which nothing ends.
 *
 * Each such instruction becomes a call of a function that is added to the module, at the end of its
 * functions, and that does the same part by part in a loop; there Wasmtime looks whether the guest
 * must end. What is out of bounds traps before anything is written, and overlapping ranges are
 * copied from the right end, as the specification has it (4.6.8 of the core specification,
 * memory.copy and memory.fill). Instructions whose length is a constant of one part at most stay.
 *
 * A call takes the bytes of the instruction in whose place it stands, so that code stays where it
 * was, and lines of debug information stay true. Where the function's number has too many digits
 * for that, debug information is left out. */
#include <string.h>

#include "base/alloc.h"
#include "wasm/wasm_binary_internal.h"
#include "wasm/wasm_writer_internal.h"

#define PART_BYTES UINT32_C(1048576) /* half a millisecond where pages are new */
#define PART 0x80, 0x80, 0xc0, 0x00  /* the same as a signed LEB128 */
#define MEMORIES_MAX 64              /* no instance has more (the limit `memories`) */
#define ADDED_MAX (MEMORIES_MAX * (MEMORIES_MAX + 1))

#define OP_NOP 0x01
#define OP_CALL 0x10
#define OP_I32_CONST 0x41
#define OP_BULK 0xfc
#define BULK_COPY 10
#define BULK_FILL 11

/* An operation that has a function added for it. */
typedef struct added {
    bool copies;
    unsigned char to; /* memories */
    unsigned char from;
} added;

/* An instruction that becomes a call. */
typedef struct operation {
    size_t at; /* its bytes */
    size_t end;
    uint32_t added; /* what is called */
} operation;

typedef struct rewriter {
    const unsigned char *bytes; /* [byte_count] */
    size_t byte_count;
    dw__wasm_code code;
    dw__wasm_functions own;
    uint32_t import_count;
    uint16_t fills[MEMORIES_MAX]; /* 1 + one of `added`; 0: none */
    uint16_t copies[MEMORIES_MAX][MEMORIES_MAX];
    added added[ADDED_MAX];
    uint32_t added_count;
    operation *operations; /* [operation_count]: in the order of the code */
    size_t operation_count;
    size_t operation_capacity;
    bool moves; /* code does not stay where it was */
    bool no_memory;
} rewriter;

/* ---- reading ------------------------------------------------------------------------------- */

/* Whether the instruction [start, r->at) is one, where the one in front of it pushes `constant`. */
static bool is_operation(const dw__wasm_reader *r, size_t start, uint32_t constant, added *out)
{
    dw__wasm_reader look = {.bytes = r->bytes, .at = start + 1, .end = r->at};
    uint32_t second;
    uint32_t to;
    uint32_t from = 0;
    if (r->bytes[start] != OP_BULK || constant <= PART_BYTES || !dw__wasm_u32(&look, &second) ||
        (second != BULK_COPY && second != BULK_FILL) || !dw__wasm_u32(&look, &to) ||
        (second == BULK_COPY && !dw__wasm_u32(&look, &from)) || to >= MEMORIES_MAX ||
        from >= MEMORIES_MAX) {
        return false;
    }
    *out = (added){second == BULK_COPY, (unsigned char)to, (unsigned char)from};
    return true;
}

/* The number that an instruction pushes; UINT32_MAX: it is no such constant. */
static uint32_t constant_of(const dw__wasm_reader *r, size_t start, uint32_t opcode)
{
    uint32_t value = 0;
    unsigned shift = 0;
    if (opcode != OP_I32_CONST) {
        return UINT32_MAX;
    }
    for (size_t at = start + 1; at < r->at && shift < 32; at++, shift += 7) {
        value |= (uint32_t)(r->bytes[at] & 0x7f) << shift;
    }
    bool negative = (r->bytes[r->at - 1] & 0x40) != 0;
    return negative ? UINT32_MAX : value;
}

/* What does this operation, which is added where it is not there yet. */
static uint32_t added_for(rewriter *w, const added *a)
{
    uint16_t *slot = a->copies ? &w->copies[a->to][a->from] : &w->fills[a->to];
    if (*slot == 0) {
        w->added[w->added_count] = *a;
        *slot = (uint16_t)++w->added_count;
    }
    return *slot - 1U;
}

static bool add_operation(rewriter *w, size_t at, size_t end, const added *a)
{
    if (w->operation_count == w->operation_capacity) {
        size_t capacity = w->operation_capacity < 64 ? 64 : 2 * w->operation_capacity;
        operation *larger = dw_realloc(w->operations, capacity, sizeof *larger);
        w->no_memory = larger == NULL;
        if (larger == NULL) {
            return false;
        }
        w->operations = larger;
        w->operation_capacity = capacity;
    }
    w->operations[w->operation_count++] = (operation){at, end, added_for(w, a)};
    return true;
}

static bool skip_locals(dw__wasm_reader *body)
{
    uint32_t groups;
    uint32_t value;
    if (!dw__wasm_u32(body, &groups)) {
        return false;
    }
    for (uint32_t i = 0; i < groups; i++) {
        if (!dw__wasm_u32(body, &value) || !dw__wasm_value_type(body, &value)) {
            return false;
        }
    }
    return true;
}

/* What is not known of instructions ends it: that body stays as it is from there on. */
static bool find_operations(rewriter *w, dw__wasm_reader body)
{
    uint32_t constant = UINT32_MAX;
    uint32_t opcode;
    bool good = skip_locals(&body);
    while (good && body.at < body.end) {
        size_t start = body.at;
        added a;
        good = dw__wasm_instruction(&body, &w->code, &opcode);
        if (good && opcode == OP_BULK && is_operation(&body, start, constant, &a) &&
            !add_operation(w, start, body.at, &a)) {
            return false;
        }
        constant = good ? constant_of(&body, start, opcode) : UINT32_MAX;
    }
    return true;
}

static bool read_bodies(rewriter *w, dw__wasm_reader *r)
{
    for (uint32_t i = 0; i < w->own.bodies.count; i++) {
        dw__wasm_reader body;
        if (!dw__wasm_next_bytes(r, &body) || !find_operations(w, body)) {
            return false;
        }
    }
    return true;
}

static bool count_imports(rewriter *w, dw__wasm_reader *r)
{
    uint32_t count;
    uint32_t kind;
    bool good = dw__wasm_u32(r, &count);
    for (uint32_t i = 0; i < count && good; i++) {
        good = dw__wasm_skip_import(r, &kind);
        w->import_count += kind == DW__KIND_FUNCTION ? 1 : 0;
    }
    return good;
}

static bool look_in(void *user, uint32_t kind, dw__wasm_reader *inside)
{
    rewriter *w = user;
    return kind == DW__SECTION_IMPORT ? count_imports(w, inside)
           : kind == DW__SECTION_CODE ? read_bodies(w, inside)
                                      : true;
}

/* ---- the functions ------------------------------------------------------------------------- */

/* Locals: 0 is where to, 1 a value or where from, 2 the length. */
#define GET(local) 0x20, local
#define SET(local) 0x21, local
#define IF 0x04, 0x40
#define LOOP 0x03, 0x40
#define RETURN 0x0f
#define END 0x0b
#define ARGUMENTS GET(0), GET(1), GET(2)
#define ONE_PART 0x41, PART                           /* i32.const */
#define IS_ONE_PART GET(2), ONE_PART, 0x4d            /* i32.le_u */
#define AGAIN_IF_MORE GET(2), ONE_PART, 0x4b, 0x0d, 0 /* i32.gt_u, br_if */
#define PART_LESS GET(2), ONE_PART, 0x6b, SET(2)      /* i32.sub */
#define PART_ON(local) GET(local), ONE_PART, 0x6a, SET(local)
/* local + length > memory.size * 65536, in 64 bits */
#define IS_OUTSIDE(local, memory)                                                                  \
    GET(local), 0xad, GET(2), 0xad, 0x7c, 0x3f, memory, 0xad, 0x42, 16, 0x86, 0x56
#define FILL(memory) OP_BULK, BULK_FILL, memory
#define COPY(to, from) OP_BULK, BULK_COPY, to, from

#define EMIT(to, ...)                                                                              \
    do {                                                                                           \
        const unsigned char emitted[] = {__VA_ARGS__};                                             \
        dw__wasm_write_bytes(to, emitted, sizeof emitted);                                         \
    } while (0)

/* What is out of bounds is left to the instruction itself, which traps. */
static void write_fill(dw__wasm_writer *to, unsigned char m)
{
    EMIT(to, 0, IS_ONE_PART, IF, ARGUMENTS, FILL(m), RETURN, END);
    EMIT(to, IS_OUTSIDE(0, m), IF, ARGUMENTS, FILL(m), RETURN, END);
    EMIT(to, LOOP, GET(0), GET(1), ONE_PART, FILL(m));
    EMIT(to, PART_ON(0), PART_LESS, AGAIN_IF_MORE, END);
    EMIT(to, ARGUMENTS, FILL(m), END);
}

/* Memories t and f. A range that lies behind the one it is copied from, and may overlap it, is
 * copied from its end. */
static void write_copy(dw__wasm_writer *to, unsigned char t, unsigned char f)
{
    EMIT(to, 0, IS_ONE_PART, IF, ARGUMENTS, COPY(t, f), RETURN, END);
    EMIT(to, IS_OUTSIDE(0, t), IS_OUTSIDE(1, f), 0x72, IF, ARGUMENTS, COPY(t, f), RETURN, END);
    if (t == f) {
        EMIT(to, GET(0), GET(1), 0x4b, IF, LOOP, PART_LESS);
        EMIT(to, GET(0), GET(2), 0x6a, GET(1), GET(2), 0x6a, ONE_PART, COPY(t, f));
        EMIT(to, AGAIN_IF_MORE, END, ARGUMENTS, COPY(t, f), RETURN, END);
    }
    EMIT(to, LOOP, GET(0), GET(1), ONE_PART, COPY(t, f));
    EMIT(to, PART_ON(0), PART_ON(1), PART_LESS, AGAIN_IF_MORE, END);
    EMIT(to, ARGUMENTS, COPY(t, f), END);
}

static void write_added(dw__wasm_writer *to, const added *a)
{
    dw__wasm_writer count = {0};
    dw__wasm_writer *writers[] = {&count, to};
    for (size_t i = 0; i < 2; i++) {
        if (i == 1) {
            dw__wasm_write_u32(to, (uint32_t)count.at);
        }
        if (a->copies) {
            write_copy(writers[i], a->to, a->from);
        } else {
            write_fill(writers[i], a->to);
        }
    }
}

/* ---- writing ------------------------------------------------------------------------------- */

/* In `bytes` bytes where it fits, else in more. */
static void write_call(rewriter *w, dw__wasm_writer *to, uint32_t function, size_t bytes)
{
    uint32_t digits = dw__wasm_digits(function);
    size_t wide = bytes - 1 < 5 ? bytes - 1 : 5;
    dw__wasm_write_byte(to, OP_CALL);
    w->moves = w->moves || digits > wide;
    if (digits > wide) {
        dw__wasm_write_u32(to, function);
        return;
    }
    for (size_t i = 0; i < wide; i++, function >>= 7) {
        dw__wasm_write_byte(to, (function & 0x7f) | (i + 1 < wide ? 0x80 : 0));
    }
    for (size_t i = 1 + wide; i < bytes; i++) {
        dw__wasm_write_byte(to, OP_NOP);
    }
}

/* Of a body [at, end) with the operations from `first` on; returns those behind it. */
static size_t write_body(rewriter *w, dw__wasm_writer *to, size_t at, size_t end, size_t first)
{
    while (first < w->operation_count && w->operations[first].at < end) {
        const operation *o = &w->operations[first++];
        uint32_t function = w->import_count + w->own.functions.count + o->added;
        dw__wasm_write_bytes(to, w->bytes + at, o->at - at);
        write_call(w, to, function, o->end - o->at);
        at = o->end;
    }
    dw__wasm_write_bytes(to, w->bytes + at, end - at);
    return first;
}

/* A head keeps its length where the body does. */
static void write_bodies(rewriter *w, dw__wasm_writer *to)
{
    dw__wasm_reader r = {
        .bytes = w->bytes, .at = w->own.bodies.entries_at, .end = w->own.bodies.end};
    size_t first = 0;
    for (uint32_t i = 0; i < w->own.bodies.count; i++) {
        size_t head = r.at;
        dw__wasm_reader body = {0};
        dw__wasm_writer count = {0};
        if (!dw__wasm_next_bytes(&r, &body)) {
            return; /* it was read before */
        }
        (void)write_body(w, &count, body.at, body.end, first);
        if (count.at == body.end - body.at) {
            dw__wasm_write_bytes(to, w->bytes + head, body.at - head);
        } else {
            dw__wasm_write_u32(to, (uint32_t)count.at);
        }
        first = write_body(w, to, body.at, body.end, first);
    }
    for (uint32_t i = 0; i < w->added_count; i++) {
        write_added(to, &w->added[i]);
    }
}

static void write_entries(rewriter *w, dw__wasm_writer *to, uint32_t kind,
                          const dw__wasm_section *s)
{
    static const unsigned char type[] = {0x60, 3, 0x7f, 0x7f, 0x7f, 0};
    uint32_t more = kind == DW__SECTION_TYPE ? 1 : w->added_count;
    dw__wasm_write_u32(to, s->count + more);
    if (kind == DW__SECTION_CODE) {
        w->moves = w->moves || dw__wasm_digits(s->count) != dw__wasm_digits(s->count + more);
        write_bodies(w, to);
        return;
    }
    dw__wasm_write_bytes(to, w->bytes + s->entries_at, s->end - s->entries_at);
    for (uint32_t i = 0; i < more && kind == DW__SECTION_FUNCTION; i++) {
        dw__wasm_write_u32(to, w->own.type_count); /* the type that is added */
    }
    dw__wasm_write_bytes(to, type, kind == DW__SECTION_TYPE ? sizeof type : 0);
}

static void write_module(rewriter *w, dw__wasm_writer *to, bool debug)
{
    dw__wasm_reader r = {.bytes = w->bytes, .at = DW__WASM_HEADER_BYTES, .end = w->byte_count};
    dw__wasm_write_bytes(to, w->bytes, DW__WASM_HEADER_BYTES);
    while (r.at < r.end) {
        size_t at = r.at;
        uint32_t kind;
        dw__wasm_reader inside;
        if (!dw__wasm_next_part(&r, &kind, &inside)) {
            return; /* it was read before */
        }
        const dw__wasm_section *s = at == w->own.types.at       ? &w->own.types
                                    : at == w->own.functions.at ? &w->own.functions
                                    : at == w->own.bodies.at    ? &w->own.bodies
                                                                : NULL;
        if (s != NULL) {
            dw__wasm_writer count = {0};
            write_entries(w, &count, kind, s);
            dw__wasm_write_byte(to, kind);
            dw__wasm_write_u32(to, (uint32_t)count.at);
            write_entries(w, to, kind, s);
        } else if (debug || kind != DW__SECTION_CUSTOM || !dw__wasm_is_debug(&inside)) {
            dw__wasm_write_bytes(to, w->bytes + at, r.at - at);
        }
    }
}

static dw_status rewrite(rewriter *w, unsigned char **rewritten, size_t *rewritten_bytes,
                         dw_error *err)
{
    dw__wasm_writer count = {0};
    write_module(w, &count, true);
    bool debug = !w->moves;
    count = (dw__wasm_writer){0};
    write_module(w, &count, debug);
    dw__wasm_writer result = {.bytes = dw_alloc(count.at, 1)};
    if (result.bytes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a module's %zu bytes", count.at);
    }
    write_module(w, &result, debug);
    DW_ASSERT(result.at == count.at);
    *rewritten = result.bytes;
    *rewritten_bytes = result.at;
    return DW_OK;
}

dw_status dw_wasm_part_bulk(const void *wasm, size_t wasm_bytes, unsigned char **rewritten,
                            size_t *rewritten_bytes, dw_error *err)
{
    *rewritten = NULL;
    *rewritten_bytes = 0;
    if (wasm_bytes < DW__WASM_HEADER_BYTES || wasm_bytes > UINT32_MAX / 2) {
        return DW_OK;
    }
    rewriter *w = dw_alloc(1, sizeof *w);
    if (w == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to read a module");
    }
    w->bytes = wasm;
    w->byte_count = wasm_bytes;
    dw__wasm_code_init(&w->code);
    dw_status status = DW_OK;
    if (dw__wasm_find_functions(w->bytes, w->byte_count, &w->own, look_in, w) &&
        w->added_count > 0) {
        status = rewrite(w, rewritten, rewritten_bytes, err);
    } else if (w->no_memory) {
        status = dw_fail(err, DW_E_MEMORY, "no memory to read a module");
    }
    dw_free(w->operations);
    dw_free(w);
    return status;
}
