/* Options of a command in a file. */
#ifndef DW_CLI_CONFIG_H
#define DW_CLI_CONFIG_H

#include <getopt.h>

#include "cli/cli.h"

typedef struct dw_cli_config {
    const struct option *options; /* long options, ended by a zero one */
    const int *refused;           /* of these, ended by 0: those that are for the command line */
    /* As on the command line; `value` is within the file's text. */
    dw_status (*take)(void *user, int option, const char *value, dw_error *err);
    void *user;
} dw_cli_config;

/* Take the options in the file, in order: lines "NAME = VALUE", or NAME alone of one without a
 * value; empty ones, and those that begin with '#', say nothing. `*text` (NULL before), for free(),
 * holds values: also on failure. Errors: DW_E_ARG, DW_E_FORMAT (with the line), those of
 * dw_cli_read_file and `take`. */
dw_status dw_cli_config_read(const dw_cli_config *config, const char *path, char **text,
                             dw_error *err);

#endif
