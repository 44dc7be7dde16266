/* A module's sections, read one by one: where its state lies, and what cannot be saved. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "wasm/wasm_binary_internal.h"

/* ---- what all sections use --------------------------------------------------------------- */

bool dw__wasm_refuse(dw__wasm_parser *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->layout->refused, sizeof p->layout->refused, format, args);
    va_end(args);
    return false;
}

/* Lists grow at powers of two. */
bool dw__wasm_add_item(dw__wasm_parser *p, dw_wasm_item **items, size_t *count, dw_wasm_item item)
{
    if (*count == DW_WASM_ITEMS_MAX) {
        return dw__wasm_refuse(p, "more than %d globals, tables, memories or functions to keep",
                               DW_WASM_ITEMS_MAX);
    }
    if ((*count & (*count - 1)) == 0) {
        dw_wasm_item *more = dw_realloc(*items, *count > 0 ? *count * 2 : 1, sizeof *more);
        if (more == NULL) {
            p->no_memory = true;
            return false;
        }
        *items = more;
    }
    (*items)[*count] = item;
    (*count)++;
    return true;
}

bool dw__wasm_read_name(dw__wasm_reader *r, dw__wasm_name *out)
{
    *out = (dw__wasm_name){0};
    if (!dw__wasm_u32(r, &out->bytes)) {
        return false;
    }
    out->text = (const char *)r->bytes + r->at;
    return dw__wasm_skip_bytes(r, out->bytes);
}

bool dw__wasm_count_types(dw__wasm_reader *r, uint32_t count, uint32_t *types)
{
    uint32_t values;
    *types = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t members = 1;
        if (r->at < r->end && r->bytes[r->at] == 0x4e) {
            r->at++;
            if (!dw__wasm_u32(r, &members)) {
                return false;
            }
        }
        for (uint32_t k = 0; k < members; k++, (*types)++) {
            if (!dw__wasm_read_type(r, &values)) {
                return false;
            }
        }
    }
    return true;
}

static bool find_section(dw__wasm_functions *f, uint32_t kind, size_t at, dw__wasm_reader *r)
{
    dw__wasm_section *of = kind == DW__SECTION_TYPE       ? &f->types
                           : kind == DW__SECTION_FUNCTION ? &f->functions
                           : kind == DW__SECTION_CODE     ? &f->bodies
                                                          : NULL;
    if (of == NULL || of->at > 0) {
        return of == NULL; /* twice: that is no module */
    }
    of->at = at;
    of->end = r->end;
    if (!dw__wasm_u32(r, &of->count)) {
        return false;
    }
    of->entries_at = r->at;
    return kind != DW__SECTION_TYPE || dw__wasm_count_types(r, of->count, &f->type_count);
}

bool dw__wasm_find_functions(const unsigned char *bytes, size_t byte_count, dw__wasm_functions *out,
                             dw__wasm_look look, void *user)
{
    dw__wasm_reader r = {.bytes = bytes, .at = DW__WASM_HEADER_BYTES, .end = byte_count};
    *out = (dw__wasm_functions){0};
    while (r.at < r.end) {
        size_t at = r.at;
        uint32_t kind;
        dw__wasm_reader inside;
        if (!dw__wasm_next_part(&r, &kind, &inside) || !find_section(out, kind, at, &inside) ||
            !look(user, kind, &inside)) {
            return false;
        }
    }
    return out->types.at > 0 && out->functions.at > 0 && out->bodies.at > 0;
}

bool dw__wasm_is_debug(const dw__wasm_reader *inside)
{
    dw__wasm_reader look = *inside;
    dw__wasm_name name;
    return dw__wasm_read_name(&look, &name) && name.bytes > 7 &&
           memcmp(name.text, ".debug_", 7) == 0;
}

bool dw__wasm_name_is(const dw__wasm_name *which, const char *text)
{
    return which->bytes == strlen(text) && memcmp(which->text, text, which->bytes) == 0;
}

static bool read_limits(dw__wasm_reader *r, uint32_t *flags)
{
    enum {
        HAS_MOST = 1,
        HAS_PAGE_SIZE = 8,
        KNOWN = 15 /* and shared, 2; with 64 bits, 4 */
    };
    size_t start = r->at;
    uint32_t page_size;
    if (!dw__wasm_u32(r, flags)) {
        return false;
    }
    if (*flags > KNOWN) {
        return dw__wasm_unknown(r, start, "limits that are not known");
    }
    return dw__wasm_skip_number(r, 10) &&
           ((*flags & HAS_MOST) == 0 || dw__wasm_skip_number(r, 10)) &&
           ((*flags & HAS_PAGE_SIZE) == 0 || dw__wasm_u32(r, &page_size));
}

bool dw__wasm_skip_limits(dw__wasm_reader *r)
{
    uint32_t flags;
    return read_limits(r, &flags);
}

/* ---- tables, memories, globals ------------------------------------------------------------ */

static bool read_table_type(dw__wasm_parser *p, dw__wasm_reader *r)
{
    uint32_t type;
    uint32_t flags;
    if (!dw__wasm_value_type(r, &type) || !read_limits(r, &flags)) {
        return false;
    }
    dw_wasm_item item = {.index = p->table_count++, .type = DW_WASM_FUNCREF};
    if (type != DW_WASM_FUNCREF) {
        return dw__wasm_refuse(
            p, "table %u holds %s: only tables of funcref can be saved", item.index,
            type == DW_WASM_EXTERNREF ? "externref" : "references of another type");
    }
    return dw__wasm_add_item(p, &p->layout->tables, &p->layout->table_count, item);
}

static bool read_table(dw__wasm_parser *p, dw__wasm_reader *r)
{
    bool initialised = r->at < r->end && r->bytes[r->at] == 0x40;
    uint32_t byte;
    if (initialised) {
        size_t start = r->at;
        if (!dw__wasm_byte(r, &byte) || !dw__wasm_byte(r, &byte)) {
            return false;
        }
        if (byte != 0) {
            return dw__wasm_unknown(r, start, "a table of a kind that is not known");
        }
    }
    return read_table_type(p, r) && (!initialised || dw__wasm_expression(r, &p->code));
}

static bool read_memory(dw__wasm_parser *p, dw__wasm_reader *r)
{
    uint32_t flags;
    if (!read_limits(r, &flags)) {
        return false;
    }
    dw_wasm_item item = {.index = p->memory_count++};
    if ((flags & 2) != 0) {
        return dw__wasm_refuse(p, "memory %u is shared between threads", item.index);
    }
    return dw__wasm_add_item(p, &p->layout->memories, &p->layout->memory_count, item);
}

static bool read_global_type(dw__wasm_parser *p, dw__wasm_reader *r)
{
    uint32_t type;
    uint32_t changes;
    if (!dw__wasm_value_type(r, &type)) {
        return false;
    }
    size_t start = r->at;
    if (!dw__wasm_byte(r, &changes)) {
        return false;
    }
    if (changes > 1) {
        return dw__wasm_unknown(r, start, "a global of a kind that is not known");
    }
    dw_wasm_item item = {.index = p->global_count++, .type = (dw_wasm_type)type};
    /* What a reference refers to may change though the reference cannot. Functions do not. */
    bool constant = changes == 0 && type <= DW__WASM_FUNC_OTHER && type != DW_WASM_EXTERNREF;
    if (constant) {
        return true;
    }
    if (type > DW_WASM_FUNCREF) {
        return dw__wasm_refuse(p, "global %u holds %s, which cannot be saved", item.index,
                               type == DW_WASM_EXTERNREF ? "an externref"
                                                         : "a reference of another type");
    }
    return dw__wasm_add_item(p, &p->layout->globals, &p->layout->global_count, item);
}

static bool read_global(dw__wasm_parser *p, dw__wasm_reader *r)
{
    return read_global_type(p, r) && dw__wasm_expression(r, &p->code);
}

bool dw__wasm_skip_import(dw__wasm_reader *r, uint32_t *kind)
{
    dw__wasm_name text;
    uint32_t value;
    *kind = DW__KIND_TAG;
    if (!dw__wasm_read_name(r, &text) || !dw__wasm_read_name(r, &text) || !dw__wasm_byte(r, kind)) {
        return false;
    }
    switch (*kind) {
    case DW__KIND_FUNCTION:
        return dw__wasm_u32(r, &value);
    case DW__KIND_TABLE:
        return dw__wasm_value_type(r, &value) && dw__wasm_skip_limits(r);
    case DW__KIND_MEMORY:
        return dw__wasm_skip_limits(r);
    case DW__KIND_GLOBAL:
        return dw__wasm_value_type(r, &value) && dw__wasm_byte(r, &value);
    default:
        return dw__wasm_byte(r, &value) && dw__wasm_u32(r, &value);
    }
}

static bool read_import(dw__wasm_parser *p, dw__wasm_reader *r)
{
    dw__wasm_name text;
    uint32_t kind;
    uint32_t index;
    if (!dw__wasm_read_name(r, &text) || !dw__wasm_read_name(r, &text)) {
        return false;
    }
    size_t start = r->at;
    if (!dw__wasm_byte(r, &kind)) {
        return false;
    }
    switch (kind) {
    case DW__KIND_FUNCTION:
        p->function_count++;
        return dw__wasm_u32(r, &index);
    case DW__KIND_TABLE:
        return read_table_type(p, r);
    case DW__KIND_MEMORY:
        return read_memory(p, r);
    case DW__KIND_GLOBAL:
        return read_global_type(p, r);
    case DW__KIND_TAG:
        return dw__wasm_byte(r, &index) && dw__wasm_u32(r, &index);
    default:
        return dw__wasm_unknown(r, start, "an import of a kind that is not known");
    }
}

/* ---- exports, segments, code -------------------------------------------------------------- */

static bool read_export(dw__wasm_parser *p, dw__wasm_reader *r)
{
    dw__wasm_name text;
    uint32_t kind;
    uint32_t index;
    if (!dw__wasm_read_name(r, &text) || !dw__wasm_byte(r, &kind) || !dw__wasm_u32(r, &index)) {
        return false;
    }
    if (text.bytes >= DW__WASM_PREFIX_BYTES &&
        memcmp(text.text, DW_WASM_EXPORT_PREFIX, DW__WASM_PREFIX_BYTES) == 0) {
        return dw__wasm_refuse(
            p, "an export is named '%.*s': names that begin with %s are the host's",
            (int)(text.bytes < 40 ? text.bytes : 40), text.text, DW_WASM_EXPORT_PREFIX);
    }
    if (kind == DW__KIND_MEMORY && dw__wasm_name_is(&text, "memory")) {
        p->names_memory = true;
        p->memory_index = index;
    }
    return kind != DW__KIND_FUNCTION || dw__wasm_hold(r, &p->code, index);
}

static bool read_element_items(dw__wasm_parser *p, dw__wasm_reader *r, bool expressions)
{
    uint32_t count;
    uint32_t index;
    if (!dw__wasm_u32(r, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        bool fine = expressions ? dw__wasm_expression(r, &p->code)
                                : dw__wasm_u32(r, &index) && dw__wasm_hold(r, &p->code, index);
        if (!fine) {
            return false;
        }
    }
    return true;
}

/* 5.5.12 */
static bool read_element(dw__wasm_parser *p, dw__wasm_reader *r)
{
    enum {
        NOT_ACTIVE = 1,
        HAS_TABLE = 2, /* where it is active; else it is declarative, not passive */
        EXPRESSIONS = 4,
        KNOWN = 7
    };
    size_t start = r->at;
    uint32_t flags;
    uint32_t number;
    uint32_t type = DW_WASM_FUNCREF;
    if (!dw__wasm_u32(r, &flags)) {
        return false;
    }
    if (flags > KNOWN) {
        return dw__wasm_unknown(r, start, "an element segment of a kind that is not known");
    }
    if ((flags & NOT_ACTIVE) == 0) {
        if (((flags & HAS_TABLE) != 0 && !dw__wasm_u32(r, &number)) ||
            !dw__wasm_expression(r, &p->code)) {
            return false;
        }
    } else if ((flags & HAS_TABLE) == 0) {
        p->passive_elements = true;
    }
    if ((flags & (NOT_ACTIVE | HAS_TABLE)) != 0) {
        start = r->at;
        bool fine =
            (flags & EXPRESSIONS) != 0 ? dw__wasm_value_type(r, &type) : dw__wasm_byte(r, &number);
        if (!fine) {
            return false;
        }
        if ((flags & EXPRESSIONS) == 0 && number != 0) {
            return dw__wasm_unknown(r, start, "elements of a kind that is not known");
        }
    }
    /* array.new_elem copies a segment's references to things that may change. */
    if (type != DW_WASM_FUNCREF && type != DW__WASM_FUNC_OTHER) {
        return dw__wasm_refuse(
            p, "the element segment at byte %zu holds references other than to functions", start);
    }
    return read_element_items(p, r, (flags & EXPRESSIONS) != 0);
}

static bool read_body(dw__wasm_parser *p, dw__wasm_reader *r)
{
    dw__wasm_reader body;
    if (!dw__wasm_next_bytes(r, &body)) {
        return false;
    }
    if (!dw__wasm_body(&body, &p->code)) {
        return dw__wasm_fail(r, body.problem_at, body.problem);
    }
    return true;
}

/* 5.5.14 */
static bool read_data(dw__wasm_parser *p, dw__wasm_reader *r)
{
    enum { ACTIVE, PASSIVE, WITH_MEMORY };
    size_t start = r->at;
    uint32_t kind;
    uint32_t number;
    if (!dw__wasm_u32(r, &kind)) {
        return false;
    }
    if (kind > WITH_MEMORY) {
        return dw__wasm_unknown(r, start, "a data segment of a kind that is not known");
    }
    p->passive_data = p->passive_data || kind == PASSIVE;
    return (kind != WITH_MEMORY || dw__wasm_u32(r, &number)) &&
           (kind == PASSIVE || dw__wasm_expression(r, &p->code)) && dw__wasm_u32(r, &number) &&
           dw__wasm_skip_bytes(r, number);
}

/* ---- sections ----------------------------------------------------------------------------- */

typedef bool (*read_entry)(dw__wasm_parser *p, dw__wasm_reader *r);

static const read_entry entry_readers[DW__SECTION_COUNT] = {
    [DW__SECTION_IMPORT] = read_import, [DW__SECTION_TABLE] = read_table,
    [DW__SECTION_MEMORY] = read_memory, [DW__SECTION_GLOBAL] = read_global,
    [DW__SECTION_EXPORT] = read_export, [DW__SECTION_ELEMENT] = read_element,
    [DW__SECTION_CODE] = read_body,     [DW__SECTION_DATA] = read_data,
};

/* 5.5.16: the order in which sections stand, by their numbers; 12 is the data count, 13 tags. */
static const unsigned char places[DW__SECTION_COUNT] = {0, 1, 2,  3,  4,  5,  7,
                                                        8, 9, 10, 12, 13, 11, 6};

/* How many functions there are is known once the function section is behind. */
static bool know_functions(dw__wasm_parser *p)
{
    if (p->code.held == NULL) {
        p->code.held = dw_alloc(p->function_count, 1);
        p->code.function_count = p->function_count;
        p->no_memory = p->code.held == NULL;
    }
    return !p->no_memory;
}

static bool read_entries(dw__wasm_parser *p, uint32_t section, dw__wasm_reader *r)
{
    uint32_t count;
    if (entry_readers[section] == NULL && section != DW__SECTION_FUNCTION) {
        r->at = r->end; /* types, start, data count, tags: nothing in them is state */
        return true;
    }
    if (!dw__wasm_u32(r, &count)) {
        return false;
    }
    if (count > r->end - r->at) {
        return dw__wasm_fail(r, r->at, "a section of more entries than bytes");
    }
    if (section == DW__SECTION_FUNCTION) {
        p->function_count += count;
        r->at = r->end;
        return true;
    }
    if (section == DW__SECTION_EXPORT) {
        p->entries_at = r->at;
        p->export_count = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!entry_readers[section](p, r)) {
            return false;
        }
    }
    return r->at == r->end || dw__wasm_fail(r, r->at, "a section longer than its entries");
}

static bool read_section(dw__wasm_parser *p, dw__wasm_reader *r, uint32_t *place)
{
    size_t start = r->at;
    uint32_t section;
    dw__wasm_reader inside;
    if (!dw__wasm_next_part(r, &section, &inside)) {
        return false;
    }
    if (section == DW__SECTION_START) {
        return dw__wasm_refuse(p, "it has a start function, which would run again at each thaw: "
                                  "_initialize runs once");
    }
    if (section == DW__SECTION_CUSTOM) {
        return true;
    }
    if (section >= DW__SECTION_COUNT) {
        return dw__wasm_unknown(r, start, "a section that is not known");
    }
    if (places[section] <= *place) {
        return dw__wasm_fail(r, start, "a section that is out of its order");
    }
    if (*place < places[DW__SECTION_EXPORT] && places[section] >= places[DW__SECTION_EXPORT]) {
        p->has_exports = section == DW__SECTION_EXPORT;
        p->exports_at = start;
        p->entries_at = start;
        p->exports_end = p->has_exports ? r->at : start;
    }
    *place = places[section];
    if (section > DW__SECTION_FUNCTION && !know_functions(p)) {
        return false;
    }
    if (!read_entries(p, section, &inside)) {
        if (inside.problem != NULL && inside.unknown) {
            return dw__wasm_unknown(r, inside.problem_at, inside.problem);
        }
        return inside.problem != NULL && dw__wasm_fail(r, inside.problem_at, inside.problem);
    }
    return true;
}

bool dw__wasm_read_sections(dw__wasm_parser *p, dw__wasm_reader *r)
{
    static const unsigned char header[DW__WASM_HEADER_BYTES] = {0x00, 0x61, 0x73, 0x6d,
                                                                0x01, 0,    0,    0};
    if (p->byte_count < sizeof header || memcmp(p->bytes, header, sizeof header) != 0) {
        return dw__wasm_fail(r, 0, "no WebAssembly module of version 1");
    }
    r->at = sizeof header;
    uint32_t place = 0;
    p->exports_at = p->entries_at = p->exports_end = p->byte_count;
    while (r->at < r->end) {
        if (!read_section(p, r, &place)) {
            return false;
        }
    }
    return know_functions(p);
}
