/* What a module asks of the compiler, counted from its bytes before the compiler sees them: one of
 * 6 KB can take 4 GB, and one of 27 KB minutes (the table in wasm_work.c). Thread: any; nothing is
 * shared. */
#ifndef DW_WASM_WASM_WORK_H
#define DW_WASM_WASM_WORK_H

#include "base/status.h"

#define DW_MODULE_BYTES_MAX ((size_t)128 << 20)
#define DW_MODULE_TYPES_MAX 10000U
#define DW_MODULE_IMPORTS_MAX 10000U
#define DW_MODULE_FUNCTIONS_MAX 100000U /* without the imported ones */
#define DW_MODULE_GLOBALS_MAX 100000U
#define DW_MODULE_EXPORTS_MAX 100000U
#define DW_MODULE_SEGMENTS_MAX 100000U /* of data, and of elements */
#define DW_FUNCTION_BYTES_MAX ((size_t)2 << 20)
#define DW_FUNCTION_LOCALS_MAX 50000U
/* Microseconds of one core, about: of a function, of all, and of all beyond what code of their
 * length takes, which may be half as much again, and this. */
#define DW_FUNCTION_WORK_MAX UINT64_C(8000000)
#define DW_MODULE_WORK_MAX UINT64_C(180000000)
#define DW_MODULE_EXCESS_MAX UINT64_C(20000000)

/* wasm [wasm_bytes], untrusted. What is no module, or malformed, passes: the compiler says why.
 * Errors: DW_E_LIMIT (which limit, the value, of a function which one), DW_E_MEMORY. */
dw_status dw_wasm_work_check(const void *wasm, size_t wasm_bytes, dw_error *err);
/* The same, and how much it is: of all functions, and of the one that asks for most.
 *   function  its index; may be NULL, as `most` */
dw_status dw_wasm_work_measure(const void *wasm, size_t wasm_bytes, uint64_t *work, uint64_t *most,
                               uint32_t *function, dw_error *err);

#endif
