/* What an actor is made under, and the runtime that it works in: tenant, priority, durability,
 * manifest. */
#ifndef DW_CLI_ACTOR_TERMS_H
#define DW_CLI_ACTOR_TERMS_H

#include "cli/cli.h"

typedef struct dw_cli_terms {
    const char *tenant;   /* NULL: "" */
    const char *manifest; /* a file; NULL: none */
    dw_priority priority;
    dw_durability durability; /* DW_DURABLE_DEFAULT: none was given */
    uint32_t durability_s;
    const dw_dir *dirs; /* [dir_count]: of whom there is no manifest for */
    size_t dir_count;
    const char *folders[DW_CLI_DIRS_MAX]; /* [folder_count]: those that the actor gets, by name */
    size_t folder_count;
    bool chooses_folders; /* else all */
} dw_cli_terms;

/* high, normal or low. Errors: DW_E_ARG. */
dw_status dw_cli_terms_priority(dw_cli_terms *terms, const char *text, dw_error *err);
/* each, seconds:N or park. Errors: DW_E_ARG, DW_E_RANGE. */
dw_status dw_cli_terms_durability(dw_cli_terms *terms, const char *text, dw_error *err);
/* A folder by its name, "" for none. Errors: DW_E_LIMIT, DW_E_ARG (twice; beside none). */
dw_status dw_cli_terms_folder(dw_cli_terms *terms, const char *name, dw_error *err);
/* dw_runtime_options.manifest, to be freed; NULL: none was given. Errors: those of
 * dw_cli_read_file. */
dw_status dw_cli_terms_read(const dw_cli_terms *terms, char **manifest, size_t *bytes,
                            dw_error *err);
/* Of a new actor, which may do all that its tenant may. Without a manifest a tenant that is not
 * there yet is made. Errors: DW_E_NOT_FOUND (with a manifest), those of dw_runtime_set_tenant. */
dw_status dw_cli_terms_spawn(const dw_cli_terms *terms, dw_runtime *runtime,
                             dw_spawn_options *options, dw_error *err);

#endif
