/* Projects of guests: what `driftwood new` makes and `driftwood build` builds. */
#ifndef DW_CLI_PROJECT_H
#define DW_CLI_PROJECT_H

#include <jansson.h>

#include "cli/cli.h"

/* A project's recipe: what driftwood.json holds, made from sdk/LANG/project.json. */
#define DW_CLI_RECIPE "driftwood.json"
#define DW_CLI_RECIPE_BYTES_MAX (1 << 20)

/* The folder with an SDK for each language: $DRIFTWOOD_SDK, or beside the program. `path`
 * [DW_CLI_PATH_MAX]. Errors: DW_E_NOT_FOUND, DW_E_LIMIT. */
dw_status dw_cli_sdk_folder(char *path, dw_error *err);
/* "folder/name", `path` [DW_CLI_PATH_MAX]. Errors: DW_E_LIMIT. */
dw_status dw_cli_join(char *path, const char *folder, const char *name, dw_error *err);
/* A file of JSON, an object, for json_decref. Errors: those of dw_cli_read_file; DW_E_FORMAT. */
dw_status dw_cli_read_object(json_t **object, const char *path, dw_error *err);
/* A new text, for free(), in which every `word` is replaced. NULL: no memory. */
char *dw_cli_replace(const char *text, const char *word, const char *with);
/* Make the folders that `path` needs, which is behind `root` bytes that are there. */
dw_status dw_cli_make_parents(char *path, size_t root, dw_error *err);
/* Write a file that is not there yet. Errors: DW_E_IO. */
dw_status dw_cli_write_new(const char *path, const void *bytes, size_t count, dw_error *err);

#endif
