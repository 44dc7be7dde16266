/* What a module asks of the compiler, counted from its bytes before the compiler sees them: one of
 * 6 KB can take 4 GB, and one of 27 KB minutes (the table in wasm_work.c). Thread: any; nothing is
 * shared. */
#ifndef DW_WASM_WASM_WORK_H
#define DW_WASM_WASM_WORK_H

#include "base/limits.h"

/* wasm [wasm_bytes], untrusted. What is no module, or malformed, passes: the compiler says why.
 * `limits`: the rows module_bytes to compile_excess_ms. Errors: DW_E_LIMIT (which limit, the value,
 * of a function which one), DW_E_MEMORY. */
dw_status dw_wasm_work_check(const void *wasm, size_t wasm_bytes, const dw_limits *limits,
                             dw_error *err);
/* The same by the defaults, and how much it is: of all functions, and of the one that asks for
 * most.
 *   function  its index; may be NULL, as `most` */
dw_status dw_wasm_work_measure(const void *wasm, size_t wasm_bytes, uint64_t *work, uint64_t *most,
                               uint32_t *function, dw_error *err);

#endif
