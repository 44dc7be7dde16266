/* Errors, with asserts: codes, dw_fail and dw_fail_within are in include/driftwood.h.
 * Thread: any. */
#ifndef DW_BASE_STATUS_H
#define DW_BASE_STATUS_H

#include "driftwood.h"

#ifdef __cplusplus
extern "C" {
#endif

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
