/* The stack of C programs, reached from outside: when one is exhausted, its end says so.
 *
 * Compilers keep it in linear memory, and where it ends in the first global variable, a mutable i32
 * (tool-conventions/BasicCABI). Unless the module exports that one, an export is added. What begins
 * otherwise than such a variable does is left as it is. */
#include <string.h>

#include "base/alloc.h"
#include "wasm/wasm_binary_internal.h"
#include "wasm/wasm_writer_internal.h"

#define OP_I32_CONST 0x41
#define I32 0x7f

typedef struct finder {
    bool is_stack;
    size_t exports_at; /* the section's first byte; 0: there is none */
    size_t entries_at;
    size_t exports_end;
    uint32_t export_count;
} finder;

static bool read_imports(dw__wasm_reader *r)
{
    uint32_t count;
    uint32_t kind;
    uint32_t value;
    dw__wasm_name name;
    if (!dw__wasm_u32(r, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!dw__wasm_read_name(r, &name) || !dw__wasm_read_name(r, &name) ||
            !dw__wasm_byte(r, &kind) || kind != DW__KIND_FUNCTION || !dw__wasm_u32(r, &value)) {
            return false; /* other imports: no program of such a compiler */
        }
    }
    return true;
}

static bool read_globals(finder *f, dw__wasm_reader *r)
{
    uint32_t count;
    uint32_t type;
    uint32_t mutable;
    uint32_t opcode;
    uint32_t first;
    if (!dw__wasm_u32(r, &count) || count == 0 || !dw__wasm_byte(r, &type) ||
        !dw__wasm_byte(r, &mutable) || !dw__wasm_byte(r, &opcode) || !dw__wasm_byte(r, &first)) {
        return false;
    }
    f->is_stack = type == I32 && mutable == 1 && opcode == OP_I32_CONST && first != 0;
    return f->is_stack;
}

static bool read_exports(finder *f, size_t at, dw__wasm_reader *r)
{
    dw__wasm_name name;
    uint32_t kind;
    uint32_t index;
    if (!dw__wasm_u32(r, &f->export_count)) {
        return false;
    }
    f->exports_at = at;
    f->entries_at = r->at;
    f->exports_end = r->end;
    for (uint32_t i = 0; i < f->export_count; i++) {
        if (!dw__wasm_read_name(r, &name) || !dw__wasm_byte(r, &kind) || !dw__wasm_u32(r, &index) ||
            dw__wasm_name_is(&name, DW_WASM_STACK_EXPORT)) {
            return false;
        }
    }
    return true;
}

static bool find(finder *f, dw__wasm_reader *r)
{
    while (r->at < r->end && f->exports_at == 0) {
        size_t at = r->at;
        uint32_t section;
        dw__wasm_reader inside;
        if (!dw__wasm_next_part(r, &section, &inside)) {
            return false;
        }
        bool good = section == DW__SECTION_IMPORT   ? read_imports(&inside)
                    : section == DW__SECTION_GLOBAL ? read_globals(f, &inside)
                    : section == DW__SECTION_EXPORT ? read_exports(f, at, &inside)
                                                    : true;
        if (!good) {
            return false;
        }
    }
    return f->is_stack && f->exports_at > 0;
}

static void write_entries(dw__wasm_writer *to, const unsigned char *bytes, const finder *f)
{
    size_t length = strlen(DW_WASM_STACK_EXPORT);
    dw__wasm_write_u32(to, f->export_count + 1);
    dw__wasm_write_bytes(to, bytes + f->entries_at, f->exports_end - f->entries_at);
    dw__wasm_write_u32(to, (uint32_t)length);
    dw__wasm_write_bytes(to, DW_WASM_STACK_EXPORT, length);
    dw__wasm_write_byte(to, DW__KIND_GLOBAL);
    dw__wasm_write_u32(to, 0);
}

static void write_module(dw__wasm_writer *to, const unsigned char *bytes, size_t count,
                         const finder *f)
{
    dw__wasm_writer entries = {0};
    write_entries(&entries, bytes, f);
    dw__wasm_write_bytes(to, bytes, f->exports_at);
    dw__wasm_write_byte(to, DW__SECTION_EXPORT);
    dw__wasm_write_u32(to, (uint32_t)entries.at);
    write_entries(to, bytes, f);
    dw__wasm_write_bytes(to, bytes + f->exports_end, count - f->exports_end);
}

dw_status dw_wasm_export_stack(const void *wasm, size_t wasm_bytes, unsigned char **rewritten,
                               size_t *rewritten_bytes, dw_error *err)
{
    finder f = {0};
    dw__wasm_reader r = {.bytes = wasm, .at = DW__WASM_HEADER_BYTES, .end = wasm_bytes};
    *rewritten = NULL;
    *rewritten_bytes = 0;
    if (wasm_bytes < DW__WASM_HEADER_BYTES || wasm_bytes > UINT32_MAX / 2 || !find(&f, &r)) {
        return DW_OK;
    }
    dw__wasm_writer count = {0};
    write_module(&count, wasm, wasm_bytes, &f);
    dw__wasm_writer result = {.bytes = dw_alloc(count.at, 1)};
    if (result.bytes == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a module's %zu bytes", count.at);
    }
    write_module(&result, wasm, wasm_bytes, &f);
    *rewritten = result.bytes;
    *rewritten_bytes = result.at;
    return DW_OK;
}
