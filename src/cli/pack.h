/* Files into a guest that runs them. */
#ifndef DW_CLI_PACK_H
#define DW_CLI_PACK_H

#include "cli/project.h"

/* The guest's module with files [count] in it, the program's own first, as a new file `to`. Errors:
 * DW_E_FORMAT (no such guest), DW_E_STATE (it has files already), DW_E_LIMIT (more than it has room
 * for), DW_E_IO, DW_E_NOT_FOUND, DW_E_MEMORY. */
dw_status dw_cli_pack(const char *guest, char *const *names, size_t count, const char *to,
                      dw_error *err);

/* Whether a module's file is such a guest, and has no files. */
bool dw_cli_runs_files(const void *module, size_t count);

#endif
