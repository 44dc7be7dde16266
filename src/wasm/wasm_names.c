/* The function by which the guest's C library writes what its buffers hold. wasi-libc buffers
 * standard output, by lines at first and wholly once it knows that this is no terminal; its exit
 * writes the rest, which an actor never reaches. So that an answer ends with its message, the host
 * calls fflush(NULL), or what exit itself calls, after each. They are exported by few modules, but
 * named in the custom section "name" (WebAssembly core specification, appendix 7.4), which linkers
 * write unless they are told to strip it. */
#include <string.h>

#include "wasm/wasm_binary_internal.h"

#define FUNCTION_NAMES 1 /* the subsection */

/* Functions' names up to the reader's end. Wrong ones are ignored, as the specification asks. */
static void read_functions(dw__wasm_parser *p, dw__wasm_reader *r)
{
    dw_wasm_item *flush = &p->layout->flush;
    uint32_t count;
    if (!dw__wasm_u32(r, &count)) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index;
        dw__wasm_name name = {0};
        if (!dw__wasm_u32(r, &index) || !dw__wasm_read_name(r, &name)) {
            return;
        }
        bool best = dw__wasm_name_is(&name, "fflush");
        if (index < p->function_count && (best || dw__wasm_name_is(&name, "__stdio_exit"))) {
            flush->index = index;
            memcpy(flush->name, DW_WASM_FLUSH_EXPORT, sizeof DW_WASM_FLUSH_EXPORT);
            if (best) {
                return;
            }
        }
    }
}

static void read_subsections(dw__wasm_parser *p, dw__wasm_reader *r)
{
    while (r->at < r->end) {
        uint32_t kind;
        dw__wasm_reader inside;
        if (!dw__wasm_next_part(r, &kind, &inside)) {
            return;
        }
        if (kind == FUNCTION_NAMES) {
            read_functions(p, &inside);
        }
    }
}

void dw__wasm_find_flush(dw__wasm_parser *p)
{
    dw__wasm_reader r = {.bytes = p->bytes, .at = DW__WASM_HEADER_BYTES, .end = p->byte_count};
    while (r.at < r.end) {
        uint32_t section;
        dw__wasm_name name = {0};
        dw__wasm_reader inside;
        if (!dw__wasm_next_part(&r, &section, &inside)) {
            return;
        }
        if (section == DW__SECTION_CUSTOM && dw__wasm_read_name(&inside, &name) &&
            dw__wasm_name_is(&name, "name")) {
            read_subsections(p, &inside);
        }
    }
}
