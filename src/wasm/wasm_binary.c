#include "wasm/wasm_binary.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wasm/wasm_binary_internal.h"

#define MODULE_BYTES_MAX ((size_t)1 << 30) /* Wasmtime's own limit */
#define HEADER_BYTES 8
#define PREFIX_BYTES (sizeof DW_WASM_EXPORT_PREFIX - 1)

enum {
    SECTION_CUSTOM = 0,
    SECTION_IMPORT = 2,
    SECTION_FUNCTION = 3,
    SECTION_TABLE = 4,
    SECTION_MEMORY = 5,
    SECTION_GLOBAL = 6,
    SECTION_EXPORT = 7,
    SECTION_START = 8,
    SECTION_ELEMENT = 9,
    SECTION_CODE = 10,
    SECTION_DATA = 11,
    SECTION_COUNT = 14
};

/* What an import or export is of. */
enum { KIND_FUNCTION, KIND_TABLE, KIND_MEMORY, KIND_GLOBAL, KIND_TAG };

typedef struct parser {
    const unsigned char *bytes;
    size_t byte_count;
    dw_wasm_layout *layout;
    dw__wasm_code code;
    uint32_t function_count; /* so far; imports counted, as in the three below */
    uint32_t table_count;
    uint32_t memory_count;
    uint32_t global_count;
    bool passive_data;
    bool passive_elements;
    bool no_memory;

    /* The export section: its head's first byte, its entries, what follows it. Where there is
     * none, the three are where it would stand. */
    bool has_exports;
    size_t exports_at;
    size_t entries_at;
    size_t exports_end;
    uint32_t export_count;
    bool names_memory; /* something is exported as "memory": */
    uint32_t memory_index;
} parser;

typedef struct name {
    const char *text;
    uint32_t bytes;
} name;

/* ---- what all sections use --------------------------------------------------------------- */

/* The module's state cannot be saved: reading ends here. */
static bool refuse(parser *p, const char *format, ...) DW_PRINTF(2, 3);
static bool refuse(parser *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->layout->refused, sizeof p->layout->refused, format, args);
    va_end(args);
    return false;
}

/* Lists grow at powers of two. */
static bool add_item(parser *p, dw_wasm_item **items, size_t *count, dw_wasm_item item)
{
    if (*count == DW_WASM_ITEMS_MAX) {
        return refuse(p, "more than %d globals, tables, memories or functions to keep",
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

static bool read_name(dw__wasm_reader *r, name *out)
{
    *out = (name){0};
    if (!dw__wasm_u32(r, &out->bytes)) {
        return false;
    }
    out->text = (const char *)r->bytes + r->at;
    return dw__wasm_skip_bytes(r, out->bytes);
}

static bool name_is(const name *which, const char *text)
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

/* ---- tables, memories, globals ------------------------------------------------------------ */

static bool read_table_type(parser *p, dw__wasm_reader *r)
{
    uint32_t type;
    uint32_t flags;
    if (!dw__wasm_value_type(r, &type) || !read_limits(r, &flags)) {
        return false;
    }
    dw_wasm_item item = {.index = p->table_count++, .type = DW_WASM_FUNCREF};
    if (type != DW_WASM_FUNCREF) {
        return refuse(p, "table %u holds %s: only tables of funcref can be saved", item.index,
                      type == DW_WASM_EXTERNREF ? "externref" : "references of another type");
    }
    return add_item(p, &p->layout->tables, &p->layout->table_count, item);
}

static bool read_table(parser *p, dw__wasm_reader *r)
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

static bool read_memory(parser *p, dw__wasm_reader *r)
{
    uint32_t flags;
    if (!read_limits(r, &flags)) {
        return false;
    }
    dw_wasm_item item = {.index = p->memory_count++};
    if ((flags & 2) != 0) {
        return refuse(p, "memory %u is shared between threads", item.index);
    }
    return add_item(p, &p->layout->memories, &p->layout->memory_count, item);
}

static bool read_global_type(parser *p, dw__wasm_reader *r)
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
        return refuse(p, "global %u holds %s, which cannot be saved", item.index,
                      type == DW_WASM_EXTERNREF ? "an externref" : "a reference of another type");
    }
    return add_item(p, &p->layout->globals, &p->layout->global_count, item);
}

static bool read_global(parser *p, dw__wasm_reader *r)
{
    return read_global_type(p, r) && dw__wasm_expression(r, &p->code);
}

static bool read_import(parser *p, dw__wasm_reader *r)
{
    name text;
    uint32_t kind;
    uint32_t index;
    if (!read_name(r, &text) || !read_name(r, &text)) {
        return false;
    }
    size_t start = r->at;
    if (!dw__wasm_byte(r, &kind)) {
        return false;
    }
    switch (kind) {
    case KIND_FUNCTION:
        p->function_count++;
        return dw__wasm_u32(r, &index);
    case KIND_TABLE:
        return read_table_type(p, r);
    case KIND_MEMORY:
        return read_memory(p, r);
    case KIND_GLOBAL:
        return read_global_type(p, r);
    case KIND_TAG:
        return dw__wasm_byte(r, &index) && dw__wasm_u32(r, &index);
    default:
        return dw__wasm_unknown(r, start, "an import of a kind that is not known");
    }
}

/* ---- exports, segments, code -------------------------------------------------------------- */

static bool read_export(parser *p, dw__wasm_reader *r)
{
    name text;
    uint32_t kind;
    uint32_t index;
    if (!read_name(r, &text) || !dw__wasm_byte(r, &kind) || !dw__wasm_u32(r, &index)) {
        return false;
    }
    if (text.bytes >= PREFIX_BYTES && memcmp(text.text, DW_WASM_EXPORT_PREFIX, PREFIX_BYTES) == 0) {
        return refuse(p, "an export is named '%.*s': names that begin with %s are the host's",
                      (int)(text.bytes < 40 ? text.bytes : 40), text.text, DW_WASM_EXPORT_PREFIX);
    }
    if (kind == KIND_MEMORY && name_is(&text, "memory")) {
        p->names_memory = true;
        p->memory_index = index;
    }
    return kind != KIND_FUNCTION || dw__wasm_hold(r, &p->code, index);
}

static bool read_element_items(parser *p, dw__wasm_reader *r, bool expressions)
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
static bool read_element(parser *p, dw__wasm_reader *r)
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
        return refuse(p, "the element segment at byte %zu holds references other than to functions",
                      start);
    }
    return read_element_items(p, r, (flags & EXPRESSIONS) != 0);
}

static bool read_body(parser *p, dw__wasm_reader *r)
{
    uint32_t bytes;
    if (!dw__wasm_u32(r, &bytes)) {
        return false;
    }
    dw__wasm_reader body = *r;
    if (!dw__wasm_skip_bytes(r, bytes)) {
        return false;
    }
    body.end = r->at;
    if (!dw__wasm_body(&body, &p->code)) {
        return dw__wasm_fail(r, body.problem_at, body.problem);
    }
    return true;
}

/* 5.5.14 */
static bool read_data(parser *p, dw__wasm_reader *r)
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

typedef bool (*read_entry)(parser *p, dw__wasm_reader *r);

static const read_entry entry_readers[SECTION_COUNT] = {
    [SECTION_IMPORT] = read_import, [SECTION_TABLE] = read_table,
    [SECTION_MEMORY] = read_memory, [SECTION_GLOBAL] = read_global,
    [SECTION_EXPORT] = read_export, [SECTION_ELEMENT] = read_element,
    [SECTION_CODE] = read_body,     [SECTION_DATA] = read_data,
};

/* 5.5.16: the order in which sections stand, by their numbers; 12 is the data count, 13 tags. */
static const unsigned char places[SECTION_COUNT] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 11, 6};

/* How many functions there are is known once the function section is behind. */
static bool know_functions(parser *p)
{
    if (p->code.held == NULL) {
        p->code.held = dw_alloc(p->function_count, 1);
        p->code.function_count = p->function_count;
        p->no_memory = p->code.held == NULL;
    }
    return !p->no_memory;
}

static bool read_entries(parser *p, uint32_t section, dw__wasm_reader *r)
{
    uint32_t count;
    if (entry_readers[section] == NULL && section != SECTION_FUNCTION) {
        r->at = r->end; /* types, start, data count, tags: nothing in them is state */
        return true;
    }
    if (!dw__wasm_u32(r, &count)) {
        return false;
    }
    if (count > r->end - r->at) {
        return dw__wasm_fail(r, r->at, "a section of more entries than bytes");
    }
    if (section == SECTION_FUNCTION) {
        p->function_count += count;
        r->at = r->end;
        return true;
    }
    if (section == SECTION_EXPORT) {
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

static bool read_section(parser *p, dw__wasm_reader *r, uint32_t *place)
{
    size_t start = r->at;
    uint32_t section;
    uint32_t bytes;
    if (!dw__wasm_byte(r, &section) || !dw__wasm_u32(r, &bytes)) {
        return false;
    }
    dw__wasm_reader inside = *r;
    if (!dw__wasm_skip_bytes(r, bytes)) {
        return false;
    }
    inside.end = r->at;
    if (section == SECTION_START) {
        return refuse(p, "it has a start function, which would run again at each thaw: "
                         "_initialize runs once");
    }
    if (section == SECTION_CUSTOM) {
        return true;
    }
    if (section >= SECTION_COUNT) {
        return dw__wasm_unknown(r, start, "a section that is not known");
    }
    if (places[section] <= *place) {
        return dw__wasm_fail(r, start, "a section that is out of its order");
    }
    if (*place < places[SECTION_EXPORT] && places[section] >= places[SECTION_EXPORT]) {
        p->has_exports = section == SECTION_EXPORT;
        p->exports_at = start;
        p->entries_at = start;
        p->exports_end = p->has_exports ? r->at : start;
    }
    *place = places[section];
    if (section > SECTION_FUNCTION && !know_functions(p)) {
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

static bool read_sections(parser *p, dw__wasm_reader *r)
{
    static const unsigned char header[HEADER_BYTES] = {0x00, 0x61, 0x73, 0x6d, 0x01, 0, 0, 0};
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

/* ---- what was found ----------------------------------------------------------------------- */

static bool check_segments(parser *p)
{
    dw_wasm_layout *layout = p->layout;
    if ((p->passive_data || p->passive_elements) && p->code.undecoded) {
        return refuse(p,
                      "it has passive segments, and instructions that are not known (the first at "
                      "byte %zu) may drop them",
                      p->code.undecoded_at);
    }
    if (p->passive_data && p->code.drops_data) {
        return refuse(p, "it drops passive data segments (data.drop)");
    }
    if (p->passive_elements && p->code.drops_elements) {
        return refuse(p, "it drops passive element segments (elem.drop)");
    }
    layout->tables_change = p->code.tables_change || p->code.undecoded;
    return true;
}

/* The guest's memory is reached without us. */
static void leave_out_memory(parser *p)
{
    dw_wasm_layout *layout = p->layout;
    if (p->names_memory && p->memory_index < layout->memory_count) {
        layout->memory_count--;
        memmove(layout->memories + p->memory_index, layout->memories + p->memory_index + 1,
                (layout->memory_count - p->memory_index) * sizeof *layout->memories);
    }
}

static bool list_functions(parser *p)
{
    dw_wasm_layout *layout = p->layout;
    bool referred = layout->table_count > 0;
    for (size_t i = 0; i < layout->global_count && !referred; i++) {
        referred = layout->globals[i].type == DW_WASM_FUNCREF;
    }
    for (uint32_t i = 0; i < p->code.function_count && referred; i++) {
        dw_wasm_item item = {.index = i};
        if (p->code.held[i] != 0 &&
            !add_item(p, &layout->functions, &layout->function_count, item)) {
            return false;
        }
    }
    return true;
}

static int compare_index(const void *key, const void *item)
{
    uint32_t a = *(const uint32_t *)key;
    uint32_t b = ((const dw_wasm_item *)item)->index;
    return a < b ? -1 : a > b;
}

static dw_wasm_item *find_item(dw_wasm_layout *layout, uint32_t kind, uint32_t index)
{
    dw_wasm_item *items = kind == KIND_FUNCTION ? layout->functions
                          : kind == KIND_TABLE  ? layout->tables
                          : kind == KIND_MEMORY ? layout->memories
                                                : layout->globals;
    size_t count = kind == KIND_FUNCTION ? layout->function_count
                   : kind == KIND_TABLE  ? layout->table_count
                   : kind == KIND_MEMORY ? layout->memory_count
                                         : layout->global_count;
    return count == 0 || kind > KIND_GLOBAL
               ? NULL
               : bsearch(&index, items, count, sizeof *items, compare_index);
}

/* Over the entries again, which have been read once without a problem. */
static void take_own_names(parser *p)
{
    dw__wasm_reader r = {.bytes = p->bytes, .at = p->entries_at, .end = p->exports_end};
    for (uint32_t i = 0; i < p->export_count; i++) {
        name text = {0};
        uint32_t kind = 0;
        uint32_t index = 0;
        bool fine = read_name(&r, &text) && dw__wasm_byte(&r, &kind) && dw__wasm_u32(&r, &index);
        DW_ASSERT(fine);
        dw_wasm_item *item = find_item(p->layout, kind, index);
        if (item != NULL && item->name[0] == '\0' && text.bytes < sizeof item->name &&
            memchr(text.text, '\0', text.bytes) == NULL) {
            memcpy(item->name, text.text, text.bytes);
            item->name[text.bytes] = '\0';
        }
    }
}

static uint32_t name_items(dw_wasm_item *items, size_t count, char letter)
{
    uint32_t added = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i].name[0] == '\0') {
            (void)snprintf(items[i].name, sizeof items[i].name, DW_WASM_EXPORT_PREFIX "%c%u",
                           letter, items[i].index);
            added++;
        }
    }
    return added;
}

static uint32_t name_all(dw_wasm_layout *layout)
{
    return name_items(layout->globals, layout->global_count, 'g') +
           name_items(layout->tables, layout->table_count, 't') +
           name_items(layout->memories, layout->memory_count, 'm') +
           name_items(layout->functions, layout->function_count, 'f');
}

/* ---- rewriting ---------------------------------------------------------------------------- */

/* Only counts where `bytes` is NULL. */
typedef struct writer {
    unsigned char *bytes;
    size_t at;
} writer;

static void write_bytes(writer *to, const void *bytes, size_t count)
{
    if (to->bytes != NULL && count > 0) {
        memcpy(to->bytes + to->at, bytes, count);
    }
    to->at += count;
}

static void write_u32(writer *to, uint32_t value)
{
    do {
        unsigned char byte = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        write_bytes(to, &byte, 1);
        value >>= 7;
    } while (value != 0);
}

static void write_items(writer *to, const dw_wasm_item *items, size_t count, unsigned char kind)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(items[i].name);
        if (strncmp(items[i].name, DW_WASM_EXPORT_PREFIX, PREFIX_BYTES) == 0) {
            write_u32(to, (uint32_t)length);
            write_bytes(to, items[i].name, length);
            write_bytes(to, &kind, 1);
            write_u32(to, items[i].index);
        }
    }
}

static void write_exports(writer *to, const parser *p, uint32_t added)
{
    const dw_wasm_layout *layout = p->layout;
    write_u32(to, p->export_count + added);
    write_bytes(to, p->bytes + p->entries_at, p->exports_end - p->entries_at);
    write_items(to, layout->globals, layout->global_count, KIND_GLOBAL);
    write_items(to, layout->tables, layout->table_count, KIND_TABLE);
    write_items(to, layout->memories, layout->memory_count, KIND_MEMORY);
    write_items(to, layout->functions, layout->function_count, KIND_FUNCTION);
}

static void write_module(writer *to, const parser *p, uint32_t added, uint32_t section_bytes)
{
    static const unsigned char section = SECTION_EXPORT;
    write_bytes(to, p->bytes, p->exports_at);
    write_bytes(to, &section, 1);
    write_u32(to, section_bytes);
    write_exports(to, p, added);
    write_bytes(to, p->bytes + p->exports_end, p->byte_count - p->exports_end);
}

static bool rewrite(parser *p, uint32_t added, unsigned char **out, size_t *bytes)
{
    writer section = {0};
    write_exports(&section, p, added);
    uint32_t section_bytes = (uint32_t)section.at; /* below 2 GiB: the module's limit and ours */
    writer whole = {0};
    write_module(&whole, p, added, section_bytes);
    writer result = {.bytes = dw_alloc(whole.at, 1)};
    if (result.bytes == NULL) {
        p->no_memory = true;
        return false;
    }
    write_module(&result, p, added, section_bytes);
    DW_ASSERT(result.at == whole.at);
    *out = result.bytes;
    *bytes = result.at;
    return true;
}

/* ---- the interface ------------------------------------------------------------------------ */

static bool find_state(parser *p, dw__wasm_reader *r, unsigned char **rewritten,
                       size_t *rewritten_bytes)
{
    if (!read_sections(p, r) || !check_segments(p)) {
        return false;
    }
    leave_out_memory(p);
    if (!list_functions(p)) {
        return false;
    }
    take_own_names(p);
    uint32_t added = name_all(p->layout);
    return added == 0 || rewrite(p, added, rewritten, rewritten_bytes);
}

static void release_items(dw_wasm_layout *layout)
{
    dw_free(layout->globals);
    dw_free(layout->tables);
    dw_free(layout->memories);
    dw_free(layout->functions);
}

/* A refused module's layout says nothing else. */
static void empty_layout(dw_wasm_layout *layout)
{
    dw_wasm_layout nothing = {0};
    memcpy(nothing.refused, layout->refused, sizeof nothing.refused);
    release_items(layout);
    *layout = nothing;
}

dw_status dw_wasm_layout_read(dw_wasm_layout **out, const void *wasm, size_t wasm_bytes,
                              unsigned char **rewritten, size_t *rewritten_bytes, dw_error *err)
{
    *out = NULL;
    *rewritten = NULL;
    *rewritten_bytes = 0;
    if (wasm_bytes > MODULE_BYTES_MAX) {
        return dw_fail(err, DW_E_LIMIT, "the module has %zu bytes, limit %zu", wasm_bytes,
                       MODULE_BYTES_MAX);
    }
    dw_wasm_layout *layout = dw_alloc(1, sizeof *layout);
    if (layout == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a module's layout");
    }
    parser p = {.bytes = wasm, .byte_count = wasm_bytes, .layout = layout};
    dw__wasm_code_init(&p.code);
    dw__wasm_reader r = {.bytes = wasm, .end = wasm_bytes};
    dw_status status = DW_OK;
    bool fine = find_state(&p, &r, rewritten, rewritten_bytes);
    dw_free(p.code.held);
    if (p.no_memory) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for a module's layout");
    } else if (!fine && layout->refused[0] == '\0' && !r.unknown) {
        DW_ASSERT(r.problem != NULL);
        status = dw_fail(err, DW_E_FORMAT, "malformed WebAssembly: byte %zu: %s", r.problem_at,
                         r.problem);
    } else if (!fine) {
        if (layout->refused[0] == '\0') {
            (void)refuse(&p, "byte %zu: %s", r.problem_at, r.problem);
        }
        empty_layout(layout);
    }
    if (status != DW_OK) {
        dw_wasm_layout_destroy(layout);
        return status;
    }
    *out = layout;
    return DW_OK;
}

void dw_wasm_layout_destroy(dw_wasm_layout *layout)
{
    if (layout == NULL) {
        return;
    }
    release_items(layout);
    dw_free(layout);
}

static bool exports_function_here(dw__wasm_reader *r, const char *wanted)
{
    uint32_t count;
    if (!dw__wasm_u32(r, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        name text;
        uint32_t kind;
        uint32_t index;
        if (!read_name(r, &text) || !dw__wasm_byte(r, &kind) || !dw__wasm_u32(r, &index)) {
            return false;
        }
        if (kind == KIND_FUNCTION && name_is(&text, wanted)) {
            return true;
        }
    }
    return false;
}

bool dw_wasm_exports_function(const void *wasm, size_t wasm_bytes, const char *wanted)
{
    dw__wasm_reader r = {.bytes = wasm, .at = HEADER_BYTES, .end = wasm_bytes};
    while (r.at < r.end) {
        uint32_t section;
        uint32_t bytes;
        if (!dw__wasm_byte(&r, &section) || !dw__wasm_u32(&r, &bytes)) {
            return false;
        }
        dw__wasm_reader inside = r;
        if (!dw__wasm_skip_bytes(&r, bytes)) {
            return false;
        }
        inside.end = r.at;
        if (section == SECTION_EXPORT) {
            return exports_function_here(&inside, wanted);
        }
    }
    return false;
}
