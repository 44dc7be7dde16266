/* How many memories and tables a module has, and how large its tables are: Wasmtime's C API tells
 * that of exports alone. */
#include "wasm/wasm_binary_internal.h"

static bool read_number(dw__wasm_reader *r, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint32_t byte;
        if (!dw__wasm_byte(r, &byte)) {
            return false;
        }
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return dw__wasm_fail(r, r->at, "a number of more than 64 bits");
}

static bool read_table(dw__wasm_reader *r, dw__wasm_code *code, dw_wasm_table_size *size)
{
    enum {
        HAS_MOST = 1,
        IS_WIDE = 4, /* indices of 64 bits */
        WITH_VALUE = 0x40
    };
    bool has_value = r->at < r->end && r->bytes[r->at] == WITH_VALUE;
    uint32_t ignored;
    uint32_t flags;
    if ((has_value && !dw__wasm_skip_bytes(r, 2)) || !dw__wasm_value_type(r, &ignored) ||
        !dw__wasm_u32(r, &flags)) {
        return false;
    }
    if ((flags & ~(uint32_t)(HAS_MOST | IS_WIDE)) != 0) {
        return dw__wasm_unknown(r, r->at, "a table's limits that are not known");
    }
    size->most = UINT64_MAX;
    return read_number(r, &size->least) &&
           ((flags & HAS_MOST) == 0 || read_number(r, &size->most)) &&
           (!has_value || dw__wasm_expression(r, code));
}

static bool read_tables(dw__wasm_reader *r, dw_wasm_needs *needs)
{
    dw__wasm_code code;
    dw__wasm_code_init(&code);
    if (!dw__wasm_u32(r, &needs->table_count)) {
        return false;
    }
    for (uint32_t i = 0; i < needs->table_count && i < DW_WASM_TABLES_TOLD; i++) {
        if (!read_table(r, &code, &needs->tables[i])) {
            return false;
        }
    }
    return true;
}

static bool count_functions(dw__wasm_reader *r, uint32_t section, dw_wasm_needs *needs)
{
    uint32_t count;
    uint32_t kind;
    bool good = dw__wasm_u32(r, &count);
    if (good && section == DW__SECTION_FUNCTION) {
        needs->function_count += count;
        return true;
    }
    for (uint32_t i = 0; i < count && good; i++) {
        good = dw__wasm_skip_import(r, &kind);
        needs->function_count += kind == DW__KIND_FUNCTION ? 1 : 0;
    }
    return good;
}

void dw_wasm_needs_read(dw_wasm_needs *needs, const void *wasm, size_t wasm_bytes)
{
    dw__wasm_reader r = {.bytes = wasm, .at = DW__WASM_HEADER_BYTES, .end = wasm_bytes};
    bool good = true;
    *needs = (dw_wasm_needs){.known = false};
    while (good && r.at < r.end) {
        uint32_t section;
        dw__wasm_reader inside;
        good = dw__wasm_next_part(&r, &section, &inside);
        if (good && section == DW__SECTION_MEMORY) {
            good = dw__wasm_u32(&inside, &needs->memory_count);
        } else if (good && section == DW__SECTION_TABLE) {
            good = read_tables(&inside, needs);
        } else if (good && (section == DW__SECTION_IMPORT || section == DW__SECTION_FUNCTION)) {
            good = count_functions(&inside, section, needs);
        }
    }
    needs->known = good;
}
