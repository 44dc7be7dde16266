/* Names that people give: of actors, groups, saved contexts and sessions. Thread: any. */
#ifndef DW_BASE_NAME_H
#define DW_BASE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "driftwood.h"

/* Whether all of text [bytes] are letters, digits, '.', '_' or '-'. */
bool dw_name_letters(const char *text, size_t bytes);
/* 1 to DW_NAME_MAX of them, and a NUL; `what` says of what, `name` may be NULL. Errors:
 * DW_E_ARG. */
dw_status dw_name_check(const char *what, const char *name, dw_error *err);

#endif
