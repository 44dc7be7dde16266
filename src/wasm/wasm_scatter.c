/* Data segments that are many and lie far apart: one passive segment, and a function that is added
 * to the module and started before all else, which copies its pieces to where they belong.
 *
 * A list says where each piece goes and how long it is. The function reads it from the guest's own
 * memory, of which it borrows one page, the first that has data: that gets what it begins with
 * when all else is done. So the code is as long for two pieces as for a million.
 *
 * The segment has, for each memory: the list, the borrowed page as far as it is no zeros, the
 * pieces in the order of the list. The module's own start function is called at the end. */
#include <string.h>

#include "base/alloc.h"
#include "wasm/wasm_data_internal.h"

#define PAGE UINT32_C(65536)
#define ENTRY_BYTES 8 /* where to, how many bytes: both in 32 bits, least byte first */
#define LOCALS 6

/* Of the pieces of one memory, as the segment has them. */
typedef struct memory_part {
    uint32_t memory;
    uint32_t page; /* the borrowed one's first byte */
    uint32_t list_at;
    uint32_t list_bytes;
    uint32_t page_at;
    uint32_t page_bytes;
    uint32_t pieces_at;
} memory_part;

typedef struct scatterer {
    dw__data_joiner *joiner;
    size_t byte_count;
    dw__wasm_functions own;
    bool has_start;
    uint32_t start;                           /* the function */
    memory_part parts[DW__DATA_MEMORIES_MAX]; /* [part_count] */
    uint32_t part_count;
    unsigned char *content; /* [content_bytes]: of the passive segment */
    size_t content_bytes;
} scatterer;

/* ---- the segment --------------------------------------------------------------------------- */

static void write_le(dw__wasm_writer *to, uint32_t value)
{
    for (unsigned shift = 0; shift < 32; shift += 8) {
        dw__wasm_write_byte(to, value >> shift & 0xff);
    }
}

/* How many bytes of a run lie in the borrowed page. */
static uint64_t bytes_in_page(const memory_part *part, uint32_t start, uint64_t bytes)
{
    const uint64_t end = (uint64_t)part->page + PAGE;
    return start >= end ? 0 : end - start < bytes ? end - start : bytes;
}

/* Of the run that begins with segment `first`; *next is behind its last. */
static uint64_t bytes_of_run(const scatterer *s, uint32_t first, uint32_t *next)
{
    uint64_t end;
    *next = dw__data_run_from(s->joiner, first, &end);
    return end - s->joiner->segments[first].start;
}

/* What lies in the borrowed page is no piece: it is that page's. */
static void list_run(dw__wasm_writer *list, memory_part *part, uint32_t start, uint64_t bytes)
{
    const uint64_t inside = bytes_in_page(part, start, bytes);
    if (inside > 0) {
        part->page_bytes = (uint32_t)(start + inside - part->page);
    }
    if (bytes > inside) {
        write_le(list, (uint32_t)(start + inside));
        write_le(list, (uint32_t)(bytes - inside));
    }
}

/* List, page and pieces of one memory, whose segments are [first, end). */
static void write_part(dw__wasm_writer *to, const scatterer *s, memory_part *part, uint32_t first,
                       uint32_t end)
{
    uint32_t next;
    part->list_at = (uint32_t)to->at;
    for (uint32_t i = first; i < end; i = next) {
        const uint64_t bytes = bytes_of_run(s, i, &next);
        list_run(to, part, s->joiner->segments[i].start, bytes);
    }
    part->list_bytes = (uint32_t)to->at - part->list_at;
    part->page_at = (uint32_t)to->at;
    part->pieces_at = part->page_at + part->page_bytes;
    if (to->bytes != NULL) {
        memset(to->bytes + to->at, 0, part->page_bytes);
    }
    to->at += part->page_bytes;
    for (uint32_t i = first; i < end; i = next) {
        const uint32_t start = s->joiner->segments[i].start;
        const uint64_t bytes = bytes_of_run(s, i, &next);
        const uint64_t inside = bytes_in_page(part, start, bytes);
        /* A run that goes on behind the page ends it: its bytes follow each other in both. */
        dw__wasm_writer run = {.bytes = to->bytes,
                               .at = inside > 0 ? part->page_at + (start - part->page) : to->at};
        dw__data_write_run(&run, s->joiner->segments + i, next - i, bytes);
        to->at += (size_t)(bytes - inside);
    }
}

/* All memories that have data. */
static void write_content(dw__wasm_writer *to, scatterer *s)
{
    const dw__data_joiner *j = s->joiner;
    s->part_count = 0;
    for (uint32_t first = 0, end = 0; first < j->segment_count; first = end) {
        memory_part *part = &s->parts[s->part_count++];
        *part = (memory_part){.memory = j->segments[first].memory,
                              .page = j->segments[first].start / PAGE * PAGE};
        while (end < j->segment_count && j->segments[end].memory == part->memory) {
            end++;
        }
        write_part(to, s, part, first, end);
    }
}

/* Segments of no bytes go: one may stand where its memory ends. */
static void drop_empty(dw__data_joiner *j)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < j->segment_count; i++) {
        if (j->segments[i].bytes > 0) {
            j->segments[kept++] = j->segments[i];
        }
    }
    j->segment_count = kept;
}

static dw_status make_content(scatterer *s, dw_error *err)
{
    dw__wasm_writer count = {0};
    drop_empty(s->joiner);
    write_content(&count, s);
    if (count.at > UINT32_MAX) {
        return DW_OK;
    }
    dw__wasm_writer content = {.bytes = dw_alloc(count.at + 1, 1)};
    if (content.bytes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %zu bytes of data", count.at);
    }
    write_content(&content, s);
    DW_ASSERT(content.at == count.at);
    s->content = content.bytes;
    s->content_bytes = content.at;
    return DW_OK;
}

/* ---- the function -------------------------------------------------------------------------- */

/* Locals. */
enum { LEFT, AT, SOURCE, ENTRIES_END, ENTRY, BYTES };

#define GET(local) 0x20, local
#define SET(local) 0x21, local
#define TEE(local) 0x22, local
#define BLOCK 0x02, 0x40
#define LOOP 0x03, 0x40
#define END 0x0b
#define BR(depth) 0x0c, depth
#define BR_IF(depth) 0x0d, depth
#define ADD 0x6a
#define SUB 0x6b
#define EQZ 0x45
#define NE 0x47
#define LT_U 0x49
#define SELECT 0x1b
#define CALL 0x10
#define ONE_PAGE 0x41, 0x80, 0x80, 0x04 /* i32.const 65536 */
#define EMIT(to, ...)                                                                              \
    do {                                                                                           \
        const unsigned char emitted[] = {__VA_ARGS__};                                             \
        dw__wasm_write_bytes(to, emitted, sizeof emitted);                                         \
    } while (0)

static void constant(dw__wasm_writer *to, uint32_t value)
{
    dw__wasm_write_byte(to, DW__OP_I32_CONST);
    dw__wasm_write_i32(to, value);
}

/* memory.init of the segment, the only one. */
static void init(dw__wasm_writer *to, uint32_t memory)
{
    EMIT(to, 0xfc, 8, 0);
    dw__wasm_write_u32(to, memory);
}

static void load(dw__wasm_writer *to, uint32_t memory, uint32_t offset)
{
    dw__wasm_write_byte(to, 0x28);
    dw__wasm_write_byte(to, 2 | (memory != 0 ? 0x40 : 0)); /* alignment; a memory follows */
    if (memory != 0) {
        dw__wasm_write_u32(to, memory);
    }
    dw__wasm_write_u32(to, offset);
}

/* The list comes into the page as far as it fits, and so on until all pieces are copied. */
static void write_copies(dw__wasm_writer *to, const memory_part *part)
{
    constant(to, part->list_bytes);
    EMIT(to, SET(LEFT));
    constant(to, part->list_at);
    EMIT(to, SET(AT));
    constant(to, part->pieces_at);
    EMIT(to, SET(SOURCE), BLOCK, LOOP, GET(LEFT), EQZ, BR_IF(1));
    EMIT(to, GET(LEFT), ONE_PAGE, GET(LEFT), ONE_PAGE, LT_U, SELECT, SET(BYTES));
    constant(to, part->page);
    EMIT(to, GET(AT), GET(BYTES));
    init(to, part->memory);
    EMIT(to, GET(AT), GET(BYTES), ADD, SET(AT), GET(LEFT), GET(BYTES), SUB, SET(LEFT));
    constant(to, part->page);
    EMIT(to, TEE(ENTRY), GET(BYTES), ADD, SET(ENTRIES_END), LOOP, GET(ENTRY));
    load(to, part->memory, 0);
    EMIT(to, GET(SOURCE), GET(ENTRY));
    load(to, part->memory, 4);
    EMIT(to, TEE(BYTES));
    init(to, part->memory);
    EMIT(to, GET(SOURCE), GET(BYTES), ADD, SET(SOURCE), GET(ENTRY), DW__OP_I32_CONST, ENTRY_BYTES);
    EMIT(to, ADD, TEE(ENTRY), GET(ENTRIES_END), NE, BR_IF(0), END, BR(0), END, END);
}

static void write_page(dw__wasm_writer *to, const memory_part *part)
{
    constant(to, part->page);
    EMIT(to, DW__OP_I32_CONST, 0, ONE_PAGE, 0xfc, 11); /* memory.fill */
    dw__wasm_write_u32(to, part->memory);
    constant(to, part->page);
    constant(to, part->page_at);
    constant(to, part->page_bytes);
    init(to, part->memory);
}

static void write_function(dw__wasm_writer *to, const scatterer *s)
{
    EMIT(to, 1, LOCALS, 0x7f);
    for (uint32_t i = 0; i < s->part_count; i++) {
        write_copies(to, &s->parts[i]);
        write_page(to, &s->parts[i]);
    }
    if (s->has_start) {
        dw__wasm_write_byte(to, CALL);
        dw__wasm_write_u32(to, s->start);
    }
    dw__wasm_write_byte(to, END);
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool find_start(void *user, uint32_t kind, dw__wasm_reader *inside)
{
    scatterer *s = user;
    if (kind == DW__SECTION_START) {
        s->has_start = dw__wasm_u32(inside, &s->start);
        return s->has_start;
    }
    return true;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* The entries that are there, and one more. */
static void write_entries(dw__wasm_writer *to, const scatterer *s, uint32_t kind,
                          const dw__wasm_section *of)
{
    dw__wasm_writer body = {0};
    dw__wasm_write_u32(to, of->count + 1);
    dw__wasm_write_bytes(to, s->joiner->bytes + of->entries_at, of->end - of->entries_at);
    switch (kind) {
    case DW__SECTION_TYPE:
        EMIT(to, 0x60, 0, 0);
        break;
    case DW__SECTION_FUNCTION:
        dw__wasm_write_u32(to, s->own.type_count);
        break;
    default:
        write_function(&body, s);
        dw__wasm_write_u32(to, (uint32_t)body.at);
        write_function(to, s);
    }
}

static void write_more(dw__wasm_writer *to, const scatterer *s, uint32_t kind,
                       const dw__wasm_section *of)
{
    dw__wasm_writer count = {0};
    write_entries(&count, s, kind, of);
    dw__wasm_write_byte(to, kind);
    dw__wasm_write_u32(to, (uint32_t)count.at);
    write_entries(to, s, kind, of);
}

/* A section of one number. */
static void write_number(dw__wasm_writer *to, uint32_t kind, uint32_t value)
{
    dw__wasm_write_byte(to, kind);
    dw__wasm_write_u32(to, dw__wasm_digits(value));
    dw__wasm_write_u32(to, value);
}

static void write_data(dw__wasm_writer *to, const scatterer *s)
{
    const uint32_t bytes = (uint32_t)s->content_bytes;
    dw__wasm_write_byte(to, DW__SECTION_DATA);
    dw__wasm_write_u32(to, 2 + dw__wasm_digits(bytes) + bytes);
    EMIT(to, 1, 1); /* one, passive */
    dw__wasm_write_u32(to, bytes);
    dw__wasm_write_bytes(to, s->content, bytes);
}

/* Whether a start section stands in front of a section of this kind, and behind those in front of
 * that (5.5.16). */
static bool ends_start(uint32_t kind)
{
    return kind == DW__SECTION_ELEMENT || kind == DW__SECTION_DATA_COUNT ||
           kind == DW__SECTION_CODE;
}

static void write_section(dw__wasm_writer *to, const scatterer *s, uint32_t kind,
                          const dw__wasm_reader *whole)
{
    switch (kind) {
    case DW__SECTION_TYPE:
        write_more(to, s, kind, &s->own.types);
        break;
    case DW__SECTION_FUNCTION:
        write_more(to, s, kind, &s->own.functions);
        break;
    case DW__SECTION_CODE:
        write_number(to, DW__SECTION_DATA_COUNT, 1);
        write_more(to, s, kind, &s->own.bodies);
        break;
    case DW__SECTION_START:
    case DW__SECTION_DATA_COUNT: /* in front of the code */
        break;
    case DW__SECTION_DATA:
        write_data(to, s);
        break;
    default:
        dw__wasm_write_bytes(to, whole->bytes + whole->at, whole->end - whole->at);
    }
}

static void write_module(dw__wasm_writer *to, const scatterer *s)
{
    const dw__data_joiner *j = s->joiner;
    /* The number of bodies stands in front of them: debug information counts from there. */
    const bool moves =
        dw__wasm_digits(s->own.bodies.count) != dw__wasm_digits(s->own.bodies.count + 1);
    dw__wasm_reader r = {.bytes = j->bytes, .at = DW__WASM_HEADER_BYTES, .end = s->byte_count};
    bool started = false;
    dw__wasm_write_bytes(to, j->bytes, DW__WASM_HEADER_BYTES);
    while (r.at < r.end) {
        const size_t at = r.at;
        uint32_t kind;
        dw__wasm_reader inside;
        if (!dw__wasm_next_part(&r, &kind, &inside)) {
            return; /* it was read before */
        }
        if (!started && ends_start(kind)) {
            write_number(to, DW__SECTION_START, j->imported_functions + s->own.functions.count);
            started = true;
        }
        const dw__wasm_reader whole = {.bytes = j->bytes, .at = at, .end = r.at};
        if (!moves || kind != DW__SECTION_CUSTOM || !dw__wasm_is_debug(&inside)) {
            write_section(to, s, kind, &whole);
        }
    }
}

dw_status dw__data_scatter(dw__data_joiner *j, size_t wasm_bytes, unsigned char **made,
                           size_t *made_bytes, dw_error *err)
{
    scatterer s = {.joiner = j, .byte_count = wasm_bytes};
    if (!dw__wasm_find_functions(j->bytes, wasm_bytes, &s.own, find_start, &s)) {
        return DW_OK;
    }
    dw_status status = make_content(&s, err);
    if (status != DW_OK || s.content == NULL) {
        return status;
    }
    dw__wasm_writer count = {0};
    write_module(&count, &s);
    dw__wasm_writer result = {.bytes = dw_alloc(count.at, 1)};
    if (result.bytes != NULL) {
        write_module(&result, &s);
        DW_ASSERT(result.at == count.at);
        *made = result.bytes;
        *made_bytes = result.at;
    }
    dw_free(s.content);
    return result.bytes != NULL
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "no memory for a module's %zu bytes", count.at);
}
