/* The public structs that begin with `struct_bytes`: include/driftwood.h states the rule for
 * callers. Each public function that takes one reads it, or fills it in, here; behind the API
 * boundary code works with structs of this library's own size. Thread: any. */
#ifndef DW_BASE_PUBLIC_STRUCT_H
#define DW_BASE_PUBLIC_STRUCT_H

#include "base/status.h"

/* `*own` [own_bytes] becomes what `given` holds, zero where `given` is shorter; `given` NULL: all
 * zero. own's struct_bytes is own_bytes afterwards. `name` is for messages.
 * Errors: DW_E_ARG (struct_bytes is not set, or not plausible), DW_E_UNSUPPORTED (a byte beyond
 * what this library knows is not zero), DW_E_STATE (dw_callback_check: what has options is nothing
 * to be called from there). */
dw_status dw_struct_read(void *own, size_t own_bytes, const void *given, const char *name,
                         dw_error *err);

/* `*given` becomes what `own` [own_bytes] holds, cut to given's struct_bytes, and zero beyond
 * own_bytes; its struct_bytes stays. Where that is not set, or not plausible, nothing is written.
 * `given` may be NULL. */
void dw_struct_write(void *given, const void *own, size_t own_bytes);

/* The same for a getter whose only failure this is and that therefore has no `err`: a struct_bytes
 * that is not set, or not plausible, is DW_E_ARG, and told in the log. */
dw_status dw_struct_fill(void *given, const void *own, size_t own_bytes, const char *name);

/* Whether `given` can be written so; for functions that return a status, before they do anything.
 * `given` NULL is fine. Errors: DW_E_ARG. */
dw_status dw_struct_check(const void *given, const char *name, dw_error *err);

#endif
