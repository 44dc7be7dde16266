/* Mapped files that are cut while they are in use. A touch of a page that its file has no more is a
 * SIGBUS, on whatever thread. For ranges that are guarded a handler puts zero pages there, so that
 * the computation comes to an end, and marks the guard; whoever uses the range asks for the mark
 * before it gives out what was computed. Other faults go to the handler that was there before.
 *
 * The handler is Wasmtime's predecessor: it is installed before the first engine, so that Wasmtime
 * first sees whether the fault is a guest's own, which then traps at once.
 * Thread: any. The table of guards is the process's, as the handler is. */
#ifndef DW_MEMORY_FILE_GUARD_H
#define DW_MEMORY_FILE_GUARD_H

#include "base/status.h"

typedef struct dw_file_guard dw_file_guard;

/* Install the handler, once for the process, for good. Errors: DW_E_IO (with errno's text). */
dw_status dw_file_guards_install(dw_error *err);

/* Guard [address, address + bytes). Of one mapping of `fd` from its start on, all that the file has
 * no more is replaced at once; with -1, of several files, page by page, writable. NULL, which all
 * functions take: the handler is not installed, or there is no memory. */
dw_file_guard *dw_file_guard_add(const void *address, size_t bytes, int fd);
/* Before the range is unmapped. */
void dw_file_guard_remove(dw_file_guard *guard);
/* Whether a page was not there. */
bool dw_file_guard_is_broken(const dw_file_guard *guard);

/* Whether a file that is mapped up to `bytes` still has them; `broken`: its guard is. `name`: NULL,
 * it is found out from the descriptor. Errors: DW_E_IO (which file, how long it is now). */
dw_status dw_file_check(int fd, const char *name, uint64_t bytes, bool broken, dw_error *err);

#endif
