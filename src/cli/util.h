/* What the commands need of the C library and the system, beside the library's API: memory, files,
 * the clock. platform.c has what systems differ in. */
#ifndef DW_CLI_UTIL_H
#define DW_CLI_UTIL_H

#include <stdio.h>

#include "driftwood.h"

/* Zeroed memory for `count` items of `bytes` each, for free(); NULL: none, or the product
 * overflows. 0 items give a block as well. */
void *dw_cli_alloc(size_t count, size_t bytes);
/* Resize; new bytes are not zeroed; on NULL the old block stands. */
void *dw_cli_realloc(void *block, size_t count, size_t bytes);

uint64_t dw_cli_clock_ns(void);

/* A file read whole: `*out` is for free(), with a NUL behind the `*bytes` read.
 * Errors: DW_E_NOT_FOUND, DW_E_IO, DW_E_LIMIT (longer than bytes_max), DW_E_MEMORY. */
dw_status dw_cli_read_file(const char *path, size_t bytes_max, char **out, size_t *bytes,
                           dw_error *err);
/* The same from an open stream; `name` is for messages. */
dw_status dw_cli_read_stream(FILE *stream, const char *name, size_t bytes_max, char **out,
                             size_t *bytes, dw_error *err);
/* Write exactly `bytes`. Errors: DW_E_IO. */
dw_status dw_cli_write(int fd, const void *from, size_t bytes, dw_error *err);
/* Nothing with -1. */
void dw_cli_close(int fd);

/* SHA-256 as 64 digits and a NUL. */
#define DW_CLI_SHA256_TEXT 65
void dw_cli_sha256_text(char text[DW_CLI_SHA256_TEXT], const void *from, size_t bytes);

/* Wait until what was written to a file is on the disk. 0, or errno. */
int dw_cli_sync(int fd);
/* The path of this program's own file. Errors: DW_E_NOT_FOUND, DW_E_LIMIT. */
dw_status dw_cli_executable_path(char *path, size_t capacity, dw_error *err);

/* Whether a command that ends frees what it has: the system does it in one go (a vocabulary takes
 * 13 ms). Under sanitizers it does, so that leaks are seen. */
bool dw_cli_frees(void);

#endif
