/* Standard output, and the three descriptors that a program starts with.
 *
 * Everything that is printed goes through here: it is written once, checked once, and told once.
 * After the first failure nothing more is written; the program ends with status 1 and one line on
 * standard error that names it, in the place of other errors, which mostly come of it.
 *
 * Thread: one. */
#ifndef DW_CLI_OUTPUT_H
#define DW_CLI_OUTPUT_H

#include <jansson.h>

#include "driftwood.h"

/* First in main, before anything is opened. Descriptors 0 to 2 that are closed are taken: reading
 * finds the end, writing to standard output fails (EBADF). A pipe without a reader is an error
 * (EPIPE), no signal. False: there is no /dev/null to take them with. */
bool dw_cli_output_begin(void);
/* Last in main: the status to end with, 1 where something could not be written. */
int dw_cli_output_end(int exit_code);

void dw_cli_print(const char *format, ...) DW_PRINTF(1, 2);
void dw_cli_put(const void *bytes, size_t count);
/* How many bytes the first character of a text that is not empty has; `*plain`: it is well formed
 * and none that a terminal obeys, or that moves others. */
size_t dw_cli_character(const char *text, bool *plain);
/* A text of somebody else's, with ? for each character that is not plain; one for free, NULL: no
 * memory. */
char *dw_cli_plain(const char *text);
void dw_cli_put_plain(const char *text);
/* `value` and a line end; takes `value`. NULL: there was no memory for it, a failure as any. */
void dw_cli_print_json(json_t *value, size_t flags);
/* One more of an array of any length that is printed as it comes, as dw_cli_print_json prints it
 * whole with JSON_INDENT(2): takes `value`. `*count`: of those before. The array's end. */
void dw_cli_print_json_item(json_t *value, size_t *count);
void dw_cli_print_json_end(size_t count);
/* A text for JSON, as dw_cli_plain has it where it is no UTF-8; a path, which names a file as it is
 * alone: null then. */
json_t *dw_cli_text_json(const char *text);
json_t *dw_cli_path_json(const char *path);
/* All of it so far is with the system. False: not all could be written. */
bool dw_cli_output_flush(void);
/* Whether something could not be written. */
bool dw_cli_output_failed(void);
/* What that came to, for the line at the end; the last counts. */
void dw_cli_output_explain(const char *format, ...) DW_PRINTF(1, 2);

/* What a guest writes to its standard output (dw_write_fn), as far as that takes it without a wait:
 * a guest who has to wait can be interrupted. `user` is not used. The guest gets the errno, and EIO
 * from then on. */
ptrdiff_t dw_cli_output_guest(void *user, const unsigned char *bytes, size_t count);

#endif
