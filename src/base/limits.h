/* The limits that guests and actors meet: the table is DW_LIMIT_LIST in include/driftwood.h, one
 * row a limit. Code takes values from a dw_limits in which every member is set: an instance's
 * (dw_instance_limits), or the defaults where no guest is concerned. Thread: any. */
#ifndef DW_BASE_LIMITS_H
#define DW_BASE_LIMITS_H

#include "base/status.h"

/* Every member is its default. */
extern const dw_limits dw_limits_usual;

/* `*own`: what `given` (may be NULL) sets, 0 elsewhere. Errors: DW_E_RANGE (which limit, the value,
 * what is allowed), those of dw_struct_read. */
dw_status dw_limits_take(dw_limits *own, const dw_limits *given, dw_error *err);
/* What is 0 in `limits` becomes that member of `others`. */
void dw_limits_fill(dw_limits *limits, const dw_limits *others);
/* No member of `limits` that is set is higher than that of `others`. */
void dw_limits_lower(dw_limits *limits, const dw_limits *others);

/* The member of row `index`. */
uint64_t dw_limits_at(const dw_limits *limits, size_t index);
void dw_limits_put(dw_limits *limits, size_t index, uint64_t value);
/* The row of this name; dw_limit_count(): there is none. */
size_t dw_limit_find(const char *name);
/* Whether row `index` may have this value. Errors: DW_E_RANGE. */
dw_status dw_limit_check(size_t index, uint64_t value, dw_error *err);

#endif
