/* Numbers, types and instructions of a WebAssembly binary: decoded only as far as it takes to know
 * where each ends, and which of them change what a snapshot must hold. */
#include <string.h>

#include "wasm/wasm_binary_internal.h"

#define OP_END 0x0b

/* ---- numbers and types ------------------------------------------------------------------- */

static bool fail_once(dw__wasm_reader *reader, size_t at, const char *problem, bool unknown)
{
    if (reader->problem == NULL) {
        reader->problem = problem;
        reader->problem_at = at;
        reader->unknown = unknown;
    }
    return false;
}

bool dw__wasm_fail(dw__wasm_reader *reader, size_t at, const char *problem)
{
    return fail_once(reader, at, problem, false);
}

bool dw__wasm_unknown(dw__wasm_reader *reader, size_t at, const char *what)
{
    return fail_once(reader, at, what, true);
}

bool dw__wasm_byte(dw__wasm_reader *reader, uint32_t *value)
{
    *value = 0;
    if (reader->at >= reader->end) {
        return dw__wasm_fail(reader, reader->at, "ends in the middle");
    }
    *value = reader->bytes[reader->at++];
    return true;
}

/* 5.2.2: at most ceil(32 / 7) bytes, and no bits beyond the 32nd. */
bool dw__wasm_u32(dw__wasm_reader *reader, uint32_t *value)
{
    size_t start = reader->at;
    *value = 0;
    for (uint32_t shift = 0; shift < 35; shift += 7) {
        uint32_t byte;
        if (!dw__wasm_byte(reader, &byte)) {
            return false;
        }
        if (shift == 28 && byte > 0x0f) {
            break;
        }
        *value |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return dw__wasm_fail(reader, start, "a number of more than 32 bits");
}

bool dw__wasm_skip_number(dw__wasm_reader *reader, size_t bytes_max)
{
    size_t start = reader->at;
    for (size_t i = 0; i < bytes_max; i++) {
        uint32_t byte;
        if (!dw__wasm_byte(reader, &byte)) {
            return false;
        }
        if (byte < 0x80) {
            return true;
        }
    }
    return dw__wasm_fail(reader, start, "a number that is too long");
}

bool dw__wasm_skip_bytes(dw__wasm_reader *reader, size_t count)
{
    if (count > reader->end - reader->at) {
        return dw__wasm_fail(reader, reader->at, "ends in the middle");
    }
    reader->at += count;
    return true;
}

bool dw__wasm_next_part(dw__wasm_reader *reader, uint32_t *kind, dw__wasm_reader *inside)
{
    return dw__wasm_byte(reader, kind) && dw__wasm_next_bytes(reader, inside);
}

bool dw__wasm_next_bytes(dw__wasm_reader *reader, dw__wasm_reader *inside)
{
    uint32_t bytes;
    if (!dw__wasm_u32(reader, &bytes)) {
        return false;
    }
    *inside = *reader;
    if (!dw__wasm_skip_bytes(reader, bytes)) {
        return false;
    }
    inside->end = reader->at;
    return true;
}

/* 5.3.3: s33, an index where it is not negative, else the last seven bits of an abstract type.
 * `*heap` is that byte, 0 for an index. */
static bool heap_type(dw__wasm_reader *reader, uint32_t *heap)
{
    *heap = 0;
    if (reader->at < reader->end && reader->bytes[reader->at] >= 0x40 &&
        reader->bytes[reader->at] < 0x80) {
        return dw__wasm_byte(reader, heap);
    }
    return dw__wasm_skip_number(reader, 5);
}

bool dw__wasm_value_type(dw__wasm_reader *reader, uint32_t *type)
{
    size_t start = reader->at;
    uint32_t byte;
    uint32_t heap;
    *type = DW__WASM_OTHER;
    if (!dw__wasm_byte(reader, &byte)) {
        return false;
    }
    switch (byte) {
    case 0x7f:
        *type = DW_WASM_I32;
        return true;
    case 0x7e:
        *type = DW_WASM_I64;
        return true;
    case 0x7d:
        *type = DW_WASM_F32;
        return true;
    case 0x7c:
        *type = DW_WASM_F64;
        return true;
    case 0x7b:
        *type = DW_WASM_V128;
        return true;
    case 0x63: /* (ref null heap) */
    case 0x64: /* (ref heap) */
        if (!heap_type(reader, &heap)) {
            return false;
        }
        if (heap == 0x70) {
            *type = byte == 0x63 ? DW_WASM_FUNCREF : DW__WASM_FUNC_OTHER;
        } else if (heap == 0x6f) {
            *type = byte == 0x63 ? DW_WASM_EXTERNREF : DW__WASM_OTHER;
        }
        return true;
    case 0x70:
        *type = DW_WASM_FUNCREF;
        return true;
    case 0x73: /* nofunc */
        *type = DW__WASM_FUNC_OTHER;
        return true;
    case 0x6f:
        *type = DW_WASM_EXTERNREF;
        return true;
    default:
        /* The other abstract heap types: exn 0x69 to any 0x6e, none, noextern, noexn. */
        return (byte >= 0x69 && byte <= 0x74) ||
               dw__wasm_unknown(reader, start, "a type that is not known");
    }
}

static bool block_type(dw__wasm_reader *reader)
{
    uint32_t type;
    if (reader->at < reader->end &&
        (reader->bytes[reader->at] == 0x63 || reader->bytes[reader->at] == 0x64)) {
        return dw__wasm_value_type(reader, &type);
    }
    return dw__wasm_skip_number(reader, 5);
}

/* ---- instructions ------------------------------------------------------------------------ */

typedef struct shape_range {
    unsigned char first, last, shape;
} shape_range;

/* 5.4; opcodes that stand in no range are unknown. */
static const shape_range ranges[] = {
    {0x00, 0x01, DW__SHAPE_NONE},      /* unreachable, nop */
    {0x02, 0x04, DW__SHAPE_BLOCK},     /* block, loop, if */
    {0x05, 0x05, DW__SHAPE_NONE},      /* else */
    {0x06, 0x06, DW__SHAPE_BLOCK},     /* try, of the older exceptions, as are 7, 9, 18 and 19 */
    {0x07, 0x09, DW__SHAPE_INDEX},     /* catch, throw, rethrow */
    {0x0a, 0x0b, DW__SHAPE_NONE},      /* throw_ref, end */
    {0x0c, 0x0d, DW__SHAPE_INDEX},     /* br, br_if */
    {0x0e, 0x0e, DW__SHAPE_BR_TABLE},  /* br_table */
    {0x0f, 0x0f, DW__SHAPE_NONE},      /* return */
    {0x10, 0x10, DW__SHAPE_INDEX},     /* call */
    {0x11, 0x11, DW__SHAPE_TWO},       /* call_indirect */
    {0x12, 0x12, DW__SHAPE_INDEX},     /* return_call */
    {0x13, 0x13, DW__SHAPE_TWO},       /* return_call_indirect */
    {0x14, 0x15, DW__SHAPE_INDEX},     /* call_ref, return_call_ref */
    {0x18, 0x18, DW__SHAPE_INDEX},     /* delegate */
    {0x19, 0x1b, DW__SHAPE_NONE},      /* catch_all, drop, select */
    {0x1c, 0x1c, DW__SHAPE_TYPES},     /* select t */
    {0x1f, 0x1f, DW__SHAPE_TRY_TABLE}, /* try_table */
    {0x20, 0x25, DW__SHAPE_INDEX},     /* locals, globals, table.get */
    {0x26, 0x26, DW__SHAPE_TABLE_SET}, /* table.set */
    {0x28, 0x3e, DW__SHAPE_MEMARG},    /* loads and stores */
    {0x3f, 0x40, DW__SHAPE_INDEX},     /* memory.size, memory.grow */
    {0x41, 0x42, DW__SHAPE_NUMBER},    /* i32.const, i64.const */
    {0x43, 0x43, DW__SHAPE_BYTES_4},   /* f32.const */
    {0x44, 0x44, DW__SHAPE_BYTES_8},   /* f64.const */
    {0x45, 0xc4, DW__SHAPE_NONE},      /* numbers; sign extension from c0 */
    {0xd0, 0xd0, DW__SHAPE_HEAP_TYPE}, /* ref.null */
    {0xd1, 0xd1, DW__SHAPE_NONE},      /* ref.is_null */
    {0xd2, 0xd2, DW__SHAPE_FUNCTION},  /* ref.func */
    {0xd3, 0xd4, DW__SHAPE_NONE},      /* ref.eq, ref.as_non_null */
    {0xd5, 0xd6, DW__SHAPE_INDEX},     /* br_on_null, br_on_non_null */
    {0xfb, 0xfd, DW__SHAPE_PREFIX},    /* aggregates; bulk memory and tables; vectors */
};

void dw__wasm_code_init(dw__wasm_code *code)
{
    *code = (dw__wasm_code){0};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        memset(code->shapes + ranges[i].first, ranges[i].shape,
               (size_t)ranges[i].last - ranges[i].first + 1);
    }
}

bool dw__wasm_hold(dw__wasm_reader *reader, dw__wasm_code *code, uint32_t index)
{
    if (code->held == NULL) {
        return true;
    }
    if (index >= code->function_count) {
        return dw__wasm_fail(reader, reader->at, "a function that there is not");
    }
    code->held[index] = 1;
    return true;
}

static bool skip_indices(dw__wasm_reader *reader, uint32_t count)
{
    uint32_t index;
    for (uint32_t i = 0; i < count; i++) {
        if (!dw__wasm_u32(reader, &index)) {
            return false;
        }
    }
    return true;
}

/* Bit 6 of the alignment says that a memory's index follows. */
static bool memory_argument(dw__wasm_reader *reader)
{
    uint32_t align;
    uint32_t memory;
    return dw__wasm_u32(reader, &align) && ((align & 0x40) == 0 || dw__wasm_u32(reader, &memory)) &&
           dw__wasm_skip_number(reader, 10);
}

static bool catch_clauses(dw__wasm_reader *reader)
{
    uint32_t count;
    if (!dw__wasm_u32(reader, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t start = reader->at;
        uint32_t kind;
        if (!dw__wasm_byte(reader, &kind)) {
            return false;
        }
        if (kind > 3) {
            return dw__wasm_unknown(reader, start, "a catch clause that is not known");
        }
        if (!skip_indices(reader, kind < 2 ? 2 : 1)) { /* with a tag, or for all */
            return false;
        }
    }
    return true;
}

static bool value_types(dw__wasm_reader *reader)
{
    uint32_t count;
    uint32_t type;
    if (!dw__wasm_u32(reader, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!dw__wasm_value_type(reader, &type)) {
            return false;
        }
    }
    return true;
}

/* 0xfb: structs and arrays, casts. None of them reaches a table or drops a segment. */
static bool aggregate(dw__wasm_reader *reader, uint32_t opcode, size_t start)
{
    uint32_t flags;
    uint32_t heap;
    switch (opcode) {
    case 15: /* array.len */
    case 26: /* any.convert_extern, extern.convert_any, ref.i31, i31.get_s, i31.get_u */
    case 27:
    case 28:
    case 29:
    case 30:
        return true;
    case 0: /* struct.new, struct.new_default */
    case 1:
    case 6: /* array.new, array.new_default */
    case 7:
    case 11: /* array.get, its two narrow kinds, array.set */
    case 12:
    case 13:
    case 14:
    case 16: /* array.fill */
        return skip_indices(reader, 1);
    case 2: /* struct.get, its two narrow kinds, struct.set */
    case 3:
    case 4:
    case 5:
    case 8: /* array.new_fixed, array.new_data, array.new_elem */
    case 9:
    case 10:
    case 17: /* array.copy, array.init_data, array.init_elem */
    case 18:
    case 19:
        return skip_indices(reader, 2);
    case 20: /* ref.test and ref.cast, null or not */
    case 21:
    case 22:
    case 23:
        return heap_type(reader, &heap);
    case 24: /* br_on_cast, br_on_cast_fail */
    case 25:
        return dw__wasm_byte(reader, &flags) && skip_indices(reader, 1) &&
               heap_type(reader, &heap) && heap_type(reader, &heap);
    default:
        return dw__wasm_unknown(reader, start, "an instruction that is not known");
    }
}

/* 0xfc: saturating conversions, memories, tables. */
static bool bulk(dw__wasm_reader *reader, dw__wasm_code *code, uint32_t opcode, size_t start)
{
    switch (opcode) {
    case 8:  /* memory.init */
    case 10: /* memory.copy */
        return skip_indices(reader, 2);
    case 9: /* data.drop */
        code->drops_data = true;
        return skip_indices(reader, 1);
    case 11: /* memory.fill */
    case 16: /* table.size */
        return skip_indices(reader, 1);
    case 13: /* elem.drop */
        code->drops_elements = true;
        return skip_indices(reader, 1);
    case 12: /* table.init */
    case 14: /* table.copy */
        code->tables_change = true;
        return skip_indices(reader, 2);
    case 15: /* table.grow */
    case 17: /* table.fill */
        code->tables_change = true;
        return skip_indices(reader, 1);
    default:
        /* 0 to 7: conversions; 19 to 22: sums and products of 128 bits. */
        return opcode <= 7 || (opcode >= 19 && opcode <= 22) ||
               dw__wasm_unknown(reader, start, "an instruction that is not known");
    }
}

/* 0xfd; 256 to 275 are the relaxed ones. */
static bool vector(dw__wasm_reader *reader, uint32_t opcode, size_t start)
{
    if (opcode <= 11 || opcode == 92 || opcode == 93) { /* loads, v128.store */
        return memory_argument(reader);
    }
    if (opcode == 12 || opcode == 13) { /* v128.const, i8x16.shuffle */
        return dw__wasm_skip_bytes(reader, 16);
    }
    if (opcode >= 21 && opcode <= 34) { /* lanes taken out and replaced */
        return dw__wasm_skip_bytes(reader, 1);
    }
    if (opcode >= 84 && opcode <= 91) { /* lanes loaded and stored */
        return memory_argument(reader) && dw__wasm_skip_bytes(reader, 1);
    }
    return opcode <= 275 || dw__wasm_unknown(reader, start, "an instruction that is not known");
}

static bool prefixed(dw__wasm_reader *reader, dw__wasm_code *code, uint32_t prefix, size_t start)
{
    uint32_t opcode;
    if (!dw__wasm_u32(reader, &opcode)) {
        return false;
    }
    return prefix == 0xfb   ? aggregate(reader, opcode, start)
           : prefix == 0xfc ? bulk(reader, code, opcode, start)
                            : vector(reader, opcode, start);
}

bool dw__wasm_instruction(dw__wasm_reader *reader, dw__wasm_code *code, uint32_t *opcode)
{
    size_t start = reader->at;
    uint32_t number;
    if (!dw__wasm_byte(reader, opcode)) {
        return false;
    }
    switch ((dw__wasm_shape)code->shapes[*opcode]) {
    case DW__SHAPE_UNKNOWN:
        break;
    case DW__SHAPE_NONE:
        return true;
    case DW__SHAPE_TABLE_SET:
        code->tables_change = true;
        return dw__wasm_u32(reader, &number);
    case DW__SHAPE_INDEX:
        return dw__wasm_u32(reader, &number);
    case DW__SHAPE_TWO:
        return skip_indices(reader, 2);
    case DW__SHAPE_NUMBER:
        return dw__wasm_skip_number(reader, 10);
    case DW__SHAPE_BYTES_4:
        return dw__wasm_skip_bytes(reader, 4);
    case DW__SHAPE_BYTES_8:
        return dw__wasm_skip_bytes(reader, 8);
    case DW__SHAPE_MEMARG:
        return memory_argument(reader);
    case DW__SHAPE_BLOCK:
        return block_type(reader);
    case DW__SHAPE_TRY_TABLE:
        return block_type(reader) && catch_clauses(reader);
    case DW__SHAPE_BR_TABLE: /* its labels, and the one for all else */
        return dw__wasm_u32(reader, &number) && skip_indices(reader, number) &&
               skip_indices(reader, 1);
    case DW__SHAPE_TYPES:
        return value_types(reader);
    case DW__SHAPE_HEAP_TYPE:
        return heap_type(reader, &number);
    case DW__SHAPE_FUNCTION:
        return dw__wasm_u32(reader, &number) && dw__wasm_hold(reader, code, number);
    case DW__SHAPE_PREFIX:
        return prefixed(reader, code, *opcode, start);
    }
    return dw__wasm_unknown(reader, start, "an instruction that is not known");
}

bool dw__wasm_expression(dw__wasm_reader *reader, dw__wasm_code *code)
{
    uint32_t opcode;
    do {
        if (!dw__wasm_instruction(reader, code, &opcode)) {
            return false;
        }
    } while (opcode != OP_END);
    return true;
}

static bool locals(dw__wasm_reader *reader)
{
    uint32_t groups;
    if (!dw__wasm_u32(reader, &groups)) {
        return false;
    }
    for (uint32_t i = 0; i < groups; i++) {
        uint32_t count;
        uint32_t type;
        if (!dw__wasm_u32(reader, &count) || !dw__wasm_value_type(reader, &type)) {
            return false;
        }
    }
    return true;
}

bool dw__wasm_body(dw__wasm_reader *reader, dw__wasm_code *code)
{
    bool fine = locals(reader);
    while (fine && reader->at < reader->end) {
        uint32_t opcode;
        fine = dw__wasm_instruction(reader, code, &opcode);
    }
    if (!fine && reader->unknown) {
        if (!code->undecoded) {
            code->undecoded = true;
            code->undecoded_at = reader->problem_at;
        }
        reader->problem = NULL;
        reader->unknown = false;
        reader->at = reader->end;
        return true;
    }
    return fine;
}
