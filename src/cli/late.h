/* Libraries that few commands need, found when one of these does: to load libcurl with all that it
 * stands on takes as long as most commands. */
#ifndef DW_CLI_LATE_H
#define DW_CLI_LATE_H

#include "cli/cli.h"

typedef struct dw_cli_late_function {
    const char *name;
    void *function; /* the address of a pointer to such a function */
} dw_cli_late_function;

/* Load `library`, a name or a path, and find the functions [count] in it; it stays. `use` is what
 * needs it, in words.
 * Thread: any. Errors: DW_E_UNSUPPORTED, which says what is missing: all the pointers are NULL
 * then. */
dw_status dw_cli_late_find(const char *library, const char *use,
                           const dw_cli_late_function *functions, size_t count, dw_error *err);

#endif
