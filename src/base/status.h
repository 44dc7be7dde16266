/* Making errors: the codes stand in include/driftwood.h. Thread: any. */
#ifndef DW_BASE_STATUS_H
#define DW_BASE_STATUS_H

#include "driftwood.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fill `err` (may be NULL) with `code` and a formatted message, and return `code`.
 * The message says what, with which value, against which limit; longer ones are cut. */
dw_status dw_fail(dw_error *err, dw_status code, const char *format, ...) DW_PRINTF(3, 4);

/* Put "format: " before the message that `err` holds, keeping its code, and return the code.
 * For a caller that knows which thing the callee's complaint is about. */
dw_status dw_fail_within(dw_error *err, dw_status code, const char *format, ...) DW_PRINTF(3, 4);

/* A host bug, never input: prints the place and aborts. Stays on in release builds. */
#define DW_ASSERT(condition)                                                                       \
    ((condition) ? (void)0 : dw__assert_failed(#condition, __FILE__, __LINE__))
/* The same for checks that cost time; only with DW_DEBUG_CHECKS (builds with sanitizers). */
#ifdef DW_DEBUG_CHECKS
#define DW_DCHECK(condition) DW_ASSERT(condition)
#else
#define DW_DCHECK(condition) ((void)(0 && (condition)))
#endif

__attribute__((noreturn)) void dw__assert_failed(const char *condition, const char *file, int line);

#ifdef __cplusplus
}
#endif

#endif
