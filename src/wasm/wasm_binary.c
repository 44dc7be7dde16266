#include "wasm/wasm_binary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wasm/wasm_binary_internal.h"
#include "wasm/wasm_writer_internal.h"

#define MODULE_BYTES_MAX ((size_t)1 << 30) /* Wasmtime's own limit */

/* ---- what was found ----------------------------------------------------------------------- */

static bool check_segments(dw__wasm_parser *p)
{
    dw_wasm_layout *layout = p->layout;
    if ((p->passive_data || p->passive_elements) && p->code.undecoded) {
        return dw__wasm_refuse(
            p,
            "it has passive segments, and instructions that are not known (the first at "
            "byte %zu) may drop them",
            p->code.undecoded_at);
    }
    if (p->passive_data && p->code.drops_data) {
        return dw__wasm_refuse(p, "it drops passive data segments (data.drop)");
    }
    if (p->passive_elements && p->code.drops_elements) {
        return dw__wasm_refuse(p, "it drops passive element segments (elem.drop)");
    }
    layout->tables_change = p->code.tables_change || p->code.undecoded;
    return true;
}

/* The guest's memory is reached without us. */
static void leave_out_memory(dw__wasm_parser *p)
{
    dw_wasm_layout *layout = p->layout;
    if (p->names_memory && p->memory_index < layout->memory_count) {
        layout->memory_count--;
        memmove(layout->memories + p->memory_index, layout->memories + p->memory_index + 1,
                (layout->memory_count - p->memory_index) * sizeof *layout->memories);
    }
}

static bool list_functions(dw__wasm_parser *p)
{
    dw_wasm_layout *layout = p->layout;
    bool referred = layout->table_count > 0;
    for (size_t i = 0; i < layout->global_count && !referred; i++) {
        referred = layout->globals[i].type == DW_WASM_FUNCREF;
    }
    for (uint32_t i = 0; i < p->code.function_count && referred; i++) {
        dw_wasm_item item = {.index = i};
        if (p->code.held[i] != 0 &&
            !dw__wasm_add_item(p, &layout->functions, &layout->function_count, item)) {
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
    dw_wasm_item *items = kind == DW__KIND_FUNCTION ? layout->functions
                          : kind == DW__KIND_TABLE  ? layout->tables
                          : kind == DW__KIND_MEMORY ? layout->memories
                                                    : layout->globals;
    size_t count = kind == DW__KIND_FUNCTION ? layout->function_count
                   : kind == DW__KIND_TABLE  ? layout->table_count
                   : kind == DW__KIND_MEMORY ? layout->memory_count
                                             : layout->global_count;
    return count == 0 || kind > DW__KIND_GLOBAL
               ? NULL
               : bsearch(&index, items, count, sizeof *items, compare_index);
}

/* Over the entries again, which have been read once without a problem. */
static void take_own_names(dw__wasm_parser *p)
{
    dw__wasm_reader r = {.bytes = p->bytes, .at = p->entries_at, .end = p->exports_end};
    for (uint32_t i = 0; i < p->export_count; i++) {
        dw__wasm_name text = {0};
        uint32_t kind = 0;
        uint32_t index = 0;
        bool fine =
            dw__wasm_read_name(&r, &text) && dw__wasm_byte(&r, &kind) && dw__wasm_u32(&r, &index);
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
           name_items(layout->functions, layout->function_count, 'f') +
           (layout->flush.name[0] != '\0');
}

/* ---- rewriting ---------------------------------------------------------------------------- */

static void write_items(dw__wasm_writer *to, const dw_wasm_item *items, size_t count,
                        unsigned char kind)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(items[i].name);
        if (strncmp(items[i].name, DW_WASM_EXPORT_PREFIX, DW__WASM_PREFIX_BYTES) == 0) {
            dw__wasm_write_u32(to, (uint32_t)length);
            dw__wasm_write_bytes(to, items[i].name, length);
            dw__wasm_write_bytes(to, &kind, 1);
            dw__wasm_write_u32(to, items[i].index);
        }
    }
}

static void write_exports(dw__wasm_writer *to, const dw__wasm_parser *p, uint32_t added)
{
    const dw_wasm_layout *layout = p->layout;
    dw__wasm_write_u32(to, p->export_count + added);
    dw__wasm_write_bytes(to, p->bytes + p->entries_at, p->exports_end - p->entries_at);
    write_items(to, layout->globals, layout->global_count, DW__KIND_GLOBAL);
    write_items(to, layout->tables, layout->table_count, DW__KIND_TABLE);
    write_items(to, layout->memories, layout->memory_count, DW__KIND_MEMORY);
    write_items(to, layout->functions, layout->function_count, DW__KIND_FUNCTION);
    write_items(to, &layout->flush, 1, DW__KIND_FUNCTION); /* nothing where it has no name */
}

static void write_module(dw__wasm_writer *to, const dw__wasm_parser *p, uint32_t added,
                         uint32_t section_bytes)
{
    static const unsigned char section = DW__SECTION_EXPORT;
    dw__wasm_write_bytes(to, p->bytes, p->exports_at);
    dw__wasm_write_bytes(to, &section, 1);
    dw__wasm_write_u32(to, section_bytes);
    write_exports(to, p, added);
    dw__wasm_write_bytes(to, p->bytes + p->exports_end, p->byte_count - p->exports_end);
}

static bool rewrite(dw__wasm_parser *p, uint32_t added, unsigned char **out, size_t *bytes)
{
    dw__wasm_writer section = {0};
    write_exports(&section, p, added);
    uint32_t section_bytes = (uint32_t)section.at; /* below 2 GiB: the module's limit and ours */
    dw__wasm_writer whole = {0};
    write_module(&whole, p, added, section_bytes);
    dw__wasm_writer result = {.bytes = dw_alloc(whole.at, 1)};
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

static bool find_state(dw__wasm_parser *p, dw__wasm_reader *r, unsigned char **rewritten,
                       size_t *rewritten_bytes)
{
    if (!dw__wasm_read_sections(p, r) || !check_segments(p)) {
        return false;
    }
    leave_out_memory(p);
    if (!list_functions(p)) {
        return false;
    }
    take_own_names(p);
    dw__wasm_find_flush(p);
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
    dw__wasm_parser p = {.bytes = wasm, .byte_count = wasm_bytes, .layout = layout};
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
            (void)dw__wasm_refuse(&p, "byte %zu: %s", r.problem_at, r.problem);
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
        dw__wasm_name text;
        uint32_t kind;
        uint32_t index;
        if (!dw__wasm_read_name(r, &text) || !dw__wasm_byte(r, &kind) || !dw__wasm_u32(r, &index)) {
            return false;
        }
        if (kind == DW__KIND_FUNCTION && dw__wasm_name_is(&text, wanted)) {
            return true;
        }
    }
    return false;
}

bool dw_wasm_exports_function(const void *wasm, size_t wasm_bytes, const char *wanted)
{
    dw__wasm_reader r = {.bytes = wasm, .at = DW__WASM_HEADER_BYTES, .end = wasm_bytes};
    while (r.at < r.end) {
        uint32_t section;
        dw__wasm_reader inside;
        if (!dw__wasm_next_part(&r, &section, &inside)) {
            return false;
        }
        if (section == DW__SECTION_EXPORT) {
            return exports_function_here(&inside, wanted);
        }
    }
    return false;
}
