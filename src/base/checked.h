/* Arithmetic on sizes that came from outside: false on overflow, `*out` then unspecified. */
#ifndef DW_BASE_CHECKED_H
#define DW_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool dw_add_size(size_t *out, size_t a, size_t b)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool dw_mul_size(size_t *out, size_t a, size_t b)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool dw_add_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool dw_mul_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* `value` rounded up to a multiple of `unit`, a power of two. */
static inline bool dw_round_up(size_t *out, size_t value, size_t unit)
{
    if (!dw_add_size(out, value, unit - 1)) {
        return false;
    }
    *out &= ~(unit - 1);
    return true;
}

#endif
