/* Writing a module's bytes, in two passes: what a first one counts, a second one has room for. */
#ifndef DW_WASM_WASM_WRITER_INTERNAL_H
#define DW_WASM_WASM_WRITER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Only counts where `bytes` is NULL. */
typedef struct dw__wasm_writer {
    unsigned char *bytes;
    size_t at;
} dw__wasm_writer;

static inline void dw__wasm_write_bytes(dw__wasm_writer *to, const void *bytes, size_t count)
{
    if (to->bytes != NULL && count > 0) {
        memcpy(to->bytes + to->at, bytes, count);
    }
    to->at += count;
}

static inline void dw__wasm_write_byte(dw__wasm_writer *to, unsigned value)
{
    unsigned char byte = (unsigned char)value;
    dw__wasm_write_bytes(to, &byte, 1);
}

/* LEB128 (WebAssembly core specification, 5.2.2). */
static inline void dw__wasm_write_u32(dw__wasm_writer *to, uint32_t value)
{
    do {
        dw__wasm_write_byte(to, (value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value != 0);
}

/* The same, signed. */
static inline void dw__wasm_write_i32(dw__wasm_writer *to, uint32_t value)
{
    bool negative = value >> 31 != 0;
    for (bool more = true; more;) {
        uint32_t low = value & 0x7f;
        value = value >> 7 | (negative ? UINT32_C(0xfe000000) : 0);
        more = !((value == 0 && (low & 0x40) == 0) || (value == UINT32_MAX && (low & 0x40) != 0));
        dw__wasm_write_byte(to, low | (more ? 0x80 : 0));
    }
}

/* Of a number so written. */
static inline uint32_t dw__wasm_digits(uint32_t value)
{
    dw__wasm_writer count = {0};
    dw__wasm_write_u32(&count, value);
    return (uint32_t)count.at;
}

#endif
