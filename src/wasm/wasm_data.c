/* Many data segments as few: what a module's memory begins with stays the same.
 *
 * Wasmtime compiles segments into a function that copies one after the other, which takes time by
 * the square of their number: 50,000 took 11 s, 100,000 four times that. Its own way around, images
 * of memory, is not for memories of ours (wasm_memory.c). So segments that lie near one another
 * become one, with zeros between; where too many are left, a function of ours copies them
 * (wasm_scatter.c). That is the same to the guest where every segment has a constant offset and
 * lies within its memory, which nobody else has written before, and where no instruction names a
 * segment. Otherwise the module stays as it is. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wasm/wasm_data_internal.h"

#define SEGMENTS_FEW 1000 /* are left as they are: 5 ms */
#define RUNS_WANTED 256
#define GAP_FIRST 16U
#define FILL_BYTES ((uint64_t)1 << 20) /* or as much as there is data */
#define PAGE_BYTES UINT64_C(65536)

#define OP_END 0x0b

typedef dw__data_segment segment;
typedef dw__data_joiner joiner;

/* ---- reading ------------------------------------------------------------------------------- */

static bool read_imports(joiner *j, dw__wasm_reader *r)
{
    uint32_t count;
    uint32_t kind;
    bool good = dw__wasm_u32(r, &count);
    for (uint32_t i = 0; i < count && good; i++) {
        good = dw__wasm_skip_import(r, &kind);
        j->imports_memory = j->imports_memory || kind == DW__KIND_MEMORY;
        j->imported_functions += kind == DW__KIND_FUNCTION ? 1 : 0;
    }
    return good;
}

static bool read_memories(joiner *j, dw__wasm_reader *r)
{
    uint32_t count;
    uint32_t flags;
    uint32_t pages;
    if (!dw__wasm_u32(r, &count) || count > DW__DATA_MEMORIES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        dw__wasm_reader look = *r;
        if (!dw__wasm_u32(&look, &flags) || flags > 1 || !dw__wasm_u32(&look, &pages) ||
            !dw__wasm_skip_limits(r)) {
            return false;
        }
        j->memory_bytes[i] = pages * PAGE_BYTES;
    }
    j->memory_count = count;
    return true;
}

/* 0xfc: memory.init and data.drop; 0xfb: array.new_data and array.init_data. */
static bool names_segment(uint32_t opcode, dw__wasm_reader look)
{
    uint32_t second;
    if (opcode != 0xfc && opcode != 0xfb) {
        return false;
    }
    return !dw__wasm_u32(&look, &second) ||
           (opcode == 0xfc ? second == 8 || second == 9 : second == 9 || second == 18);
}

/* Whether any instruction names a data segment; what is not known here may. */
static bool read_code(joiner *j, dw__wasm_reader *r)
{
    dw__wasm_code code = {0};
    uint32_t count;
    dw__wasm_code_init(&code);
    if (!dw__wasm_u32(r, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count && !j->names_segments; i++) {
        dw__wasm_reader body;
        uint32_t groups;
        uint32_t type;
        uint32_t opcode;
        if (!dw__wasm_next_bytes(r, &body) || !dw__wasm_u32(&body, &groups)) {
            return false;
        }
        for (uint32_t k = 0; k < groups; k++) {
            if (!dw__wasm_u32(&body, &type) || !dw__wasm_value_type(&body, &type)) {
                return false;
            }
        }
        while (body.at < body.end && !j->names_segments) {
            size_t start = body.at;
            bool known = dw__wasm_instruction(&body, &code, &opcode);
            dw__wasm_reader look = {.bytes = body.bytes, .at = start + 1, .end = body.end};
            j->names_segments = !known || names_segment(opcode, look);
        }
    }
    return true;
}

/* A signed number of 32 bits (LEB128). */
static bool read_i32(dw__wasm_reader *r, uint32_t *value)
{
    uint32_t result = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint32_t byte;
        if (!dw__wasm_byte(r, &byte)) {
            return false;
        }
        result |= (byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *value = (byte & 0x40) != 0 && shift + 7 < 32 ? result | ~UINT32_C(0) << (shift + 7)
                                                          : result;
            return true;
        }
    }
    return false;
}

/* false: one that must stay as it is. */
static bool read_segment(joiner *j, dw__wasm_reader *r, uint32_t order)
{
    segment s = {.order = order};
    uint32_t kind;
    uint32_t byte;
    if (!dw__wasm_u32(r, &kind) || (kind != 0 && kind != 2) ||
        (kind == 2 && !dw__wasm_u32(r, &s.memory)) || s.memory >= j->memory_count ||
        !dw__wasm_byte(r, &byte) || byte != DW__OP_I32_CONST || !read_i32(r, &s.start) ||
        !dw__wasm_byte(r, &byte) || byte != OP_END || !dw__wasm_u32(r, &s.bytes)) {
        return false;
    }
    s.data = r->bytes + r->at;
    if (!dw__wasm_skip_bytes(r, s.bytes) ||
        (uint64_t)s.start + s.bytes > j->memory_bytes[s.memory]) {
        return false;
    }
    j->data_bytes += s.bytes;
    j->segments[order] = s;
    return true;
}

static bool read_data(joiner *j, dw__wasm_reader *r)
{
    if (!dw__wasm_u32(r, &j->segment_count) || j->segment_count <= SEGMENTS_FEW ||
        j->segment_count > DW_WASM_ITEMS_MAX) {
        return false;
    }
    j->segments = dw_alloc(j->segment_count, sizeof *j->segments);
    if (j->segments == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < j->segment_count; i++) {
        if (!read_segment(j, r, i)) {
            return false;
        }
    }
    return true;
}

static bool read_section(joiner *j, uint32_t section, size_t at, dw__wasm_reader *r)
{
    switch (section) {
    case DW__SECTION_IMPORT:
        return read_imports(j, r) && !j->imports_memory;
    case DW__SECTION_MEMORY:
        return read_memories(j, r);
    case DW__SECTION_DATA_COUNT:
        j->has_count = true;
        j->count_at = at;
        j->count_end = r->end;
        return true;
    case DW__SECTION_CODE: /* without the count no instruction may name a segment */
        j->code = *r;
        return !j->has_count || (read_code(j, r) && !j->names_segments);
    case DW__SECTION_DATA:
        j->data_at = at;
        j->data_end = r->end;
        return read_data(j, r);
    default:
        return true;
    }
}

/* Whether there are so many segments: to look at code takes longer. */
static bool has_many(const unsigned char *wasm, size_t wasm_bytes)
{
    dw__wasm_reader r = {.bytes = wasm, .at = DW__WASM_HEADER_BYTES, .end = wasm_bytes};
    while (r.at < r.end) {
        uint32_t section;
        uint32_t bytes;
        uint32_t count;
        if (!dw__wasm_byte(&r, &section) || !dw__wasm_u32(&r, &bytes)) {
            return false;
        }
        if (section == DW__SECTION_DATA) {
            return dw__wasm_u32(&r, &count) && count > SEGMENTS_FEW;
        }
        if (!dw__wasm_skip_bytes(&r, bytes)) {
            return false;
        }
    }
    return false;
}

static bool read_module(joiner *j, size_t wasm_bytes)
{
    dw__wasm_reader r = {.bytes = j->bytes, .at = DW__WASM_HEADER_BYTES, .end = wasm_bytes};
    while (r.at < r.end) {
        size_t at = r.at;
        uint32_t section;
        dw__wasm_reader inside;
        if (!dw__wasm_next_part(&r, &section, &inside)) {
            return false;
        }
        if (!read_section(j, section, at, &inside)) {
            return false;
        }
    }
    return j->segments != NULL;
}

/* ---- joining ------------------------------------------------------------------------------- */

static int by_place(const void *left, const void *right)
{
    const segment *a = left;
    const segment *b = right;
    if (a->memory != b->memory) {
        return a->memory < b->memory ? -1 : 1;
    }
    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

static int by_order(const void *left, const void *right)
{
    const segment *a = left;
    const segment *b = right;
    return a->order < b->order ? -1 : a->order > b->order;
}

uint32_t dw__data_run_from(const joiner *j, uint32_t first, uint64_t *end)
{
    const segment *s = j->segments;
    uint32_t i = first + 1;
    *end = (uint64_t)s[first].start + s[first].bytes;
    while (i < j->segment_count && s[i].memory == s[first].memory && s[i].start <= *end + j->gap) {
        uint64_t own_end = (uint64_t)s[i].start + s[i].bytes;
        *end = own_end > *end ? own_end : *end;
        i++;
    }
    return i;
}

/* How many runs there are, and the bytes of all. */
static uint32_t count_runs(const joiner *j, uint64_t *bytes)
{
    uint32_t count = 0;
    *bytes = 0;
    for (uint32_t i = 0; i < j->segment_count; count++) {
        uint64_t end;
        uint32_t next = dw__data_run_from(j, i, &end);
        *bytes += end - j->segments[i].start;
        i = next;
    }
    return count;
}

/* The smallest gap that leaves few runs, or else the largest that does not fill too much. */
static void choose_gap(joiner *j)
{
    uint64_t most = j->data_bytes + (j->data_bytes > FILL_BYTES ? j->data_bytes : FILL_BYTES);
    uint64_t bytes;
    j->gap = 0;
    j->run_count = count_runs(j, &bytes);
    for (uint32_t gap = GAP_FIRST; j->run_count > RUNS_WANTED && gap < (UINT32_C(1) << 31);
         gap *= 2) {
        uint32_t before = j->gap;
        j->gap = gap;
        uint32_t count = count_runs(j, &bytes);
        if (bytes > most) {
            j->gap = before;
            return;
        }
        j->run_count = count;
    }
}

/* ---- writing ------------------------------------------------------------------------------- */

void dw__data_write_run(dw__wasm_writer *to, segment *run, uint32_t count, uint64_t bytes)
{
    uint32_t start = run[0].start;
    if (to->bytes != NULL) {
        unsigned char *at = to->bytes + to->at;
        memset(at, 0, (size_t)bytes);
        qsort(run, count, sizeof *run, by_order); /* nobody looks at them again */
        for (uint32_t i = 0; i < count; i++) {
            if (run[i].bytes > 0) {
                memcpy(at + (run[i].start - start), run[i].data, run[i].bytes);
            }
        }
    }
    to->at += (size_t)bytes;
}

static void write_data(dw__wasm_writer *to, joiner *j)
{
    dw__wasm_write_u32(to, j->run_count);
    for (uint32_t i = 0; i < j->segment_count;) {
        uint64_t end;
        uint32_t next = dw__data_run_from(j, i, &end);
        uint64_t bytes = end - j->segments[i].start;
        dw__wasm_write_u32(to, j->segments[i].memory == 0 ? 0 : 2);
        if (j->segments[i].memory != 0) {
            dw__wasm_write_u32(to, j->segments[i].memory);
        }
        dw__wasm_write_byte(to, DW__OP_I32_CONST);
        dw__wasm_write_i32(to, j->segments[i].start);
        dw__wasm_write_byte(to, OP_END);
        dw__wasm_write_u32(to, (uint32_t)bytes);
        dw__data_write_run(to, j->segments + i, next - i, bytes);
        i = next;
    }
}

static void write_count(dw__wasm_writer *to, const joiner *j)
{
    dw__wasm_writer inside = {0};
    dw__wasm_write_u32(&inside, j->run_count);
    dw__wasm_write_byte(to, DW__SECTION_DATA_COUNT);
    dw__wasm_write_u32(to, (uint32_t)inside.at);
    dw__wasm_write_u32(to, j->run_count);
}

static void write_module(dw__wasm_writer *to, joiner *j, size_t wasm_bytes, uint32_t section_bytes)
{
    size_t at = 0;
    if (j->has_count) {
        dw__wasm_write_bytes(to, j->bytes, j->count_at);
        write_count(to, j);
        at = j->count_end;
    }
    dw__wasm_write_bytes(to, j->bytes + at, j->data_at - at);
    dw__wasm_write_byte(to, DW__SECTION_DATA);
    dw__wasm_write_u32(to, section_bytes);
    write_data(to, j);
    dw__wasm_write_bytes(to, j->bytes + j->data_end, wasm_bytes - j->data_end);
}

static dw_status write_joined(joiner *j, size_t wasm_bytes, unsigned char **joined,
                              size_t *joined_bytes, dw_error *err)
{
    dw__wasm_writer section = {0};
    dw__wasm_writer whole = {0};
    write_data(&section, j);
    if (section.at > UINT32_MAX) {
        return DW_OK;
    }
    write_module(&whole, j, wasm_bytes, (uint32_t)section.at);
    dw__wasm_writer result = {.bytes = dw_alloc(whole.at, 1)};
    if (result.bytes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a module's %zu bytes", whole.at);
    }
    write_module(&result, j, wasm_bytes, (uint32_t)section.at);
    DW_ASSERT(result.at == whole.at);
    *joined = result.bytes;
    *joined_bytes = result.at;
    return DW_OK;
}

/* Many that lie far apart: passive ones and instructions that are not known here would be more than
 * what reads a module's state can tell (wasm_binary.c). */
static bool can_scatter(joiner *j)
{
    dw__wasm_reader code = j->code;
    return j->run_count > SEGMENTS_FEW && code.bytes != NULL &&
           (j->has_count || (read_code(j, &code) && !j->names_segments));
}

dw_status dw_wasm_join_data(const void *wasm, size_t wasm_bytes, unsigned char **joined,
                            size_t *joined_bytes, dw_error *err)
{
    joiner j = {.bytes = wasm};
    dw_status status = DW_OK;
    *joined = NULL;
    *joined_bytes = 0;
    if (wasm_bytes < DW__WASM_HEADER_BYTES || !has_many(wasm, wasm_bytes)) {
        return DW_OK;
    }
    if (read_module(&j, wasm_bytes)) {
        qsort(j.segments, j.segment_count, sizeof *j.segments, by_place);
        choose_gap(&j);
        if (can_scatter(&j)) {
            j.gap = GAP_FIRST;
            status = dw__data_scatter(&j, wasm_bytes, joined, joined_bytes, err);
        } else if (j.run_count < j.segment_count) {
            status = write_joined(&j, wasm_bytes, joined, joined_bytes, err);
        }
    }
    dw_free(j.segments);
    return status;
}
