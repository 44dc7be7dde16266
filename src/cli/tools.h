/* Tools that the command line grants to guests: --tool NAME=COMMAND, or NAME=URL. */
#ifndef DW_CLI_TOOLS_H
#define DW_CLI_TOOLS_H

#include "cli/cli.h"

#define DW_CLI_TOOL_TIMEOUT_S 60

#define DW_CLI_TOOLS_HELP                                                                          \
    "  --tool NAME=COMMAND  grant the guest a tool: its request is COMMAND's standard input,\n"    \
    "                       what that prints the answer. Words with ' and \" about them, no\n"     \
    "                       shell; or NAME=URL, of http or https: the request is posted\n"         \
    "                       there. May be repeated\n"                                              \
    "  --tool-timeout S     end a tool's call after S seconds; default 60\n"

/* NAME=COMMAND or NAME=URL; the last of a name counts. Errors: DW_E_ARG, DW_E_LIMIT, DW_E_MEMORY,
 * DW_E_UNSUPPORTED (a URL, without libcurl). */
dw_status dw_cli_tool_grant(const char *text, dw_error *err);
/* Seconds. Errors: DW_E_ARG, DW_E_RANGE. */
dw_status dw_cli_tool_timeout(const char *text, dw_error *err);
/* For dw_instance_options.on_call: NULL where none was granted. `user` is not looked at. */
dw_call_fn dw_cli_tools(void);

#endif
