#include "cli/actor_terms.h"

#include <string.h>

#define MANIFEST_BYTES_MAX ((size_t)1 << 20)

dw_status dw_cli_terms_priority(dw_cli_terms *terms, const char *text, dw_error *err)
{
    static const struct {
        const char *name;
        dw_priority priority;
    } known[] = {
        {"high", DW_PRIORITY_HIGH}, {"normal", DW_PRIORITY_NORMAL}, {"low", DW_PRIORITY_LOW}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, text) == 0) {
            terms->priority = known[i].priority;
            return DW_OK;
        }
    }
    return dw_fail(err, DW_E_ARG, "--priority: '%.40s', high, normal or low is needed", text);
}

dw_status dw_cli_terms_durability(dw_cli_terms *terms, const char *text, dw_error *err)
{
    static const char seconds[] = "seconds:";
    uint64_t value = 0;
    dw_status status = DW_OK;
    if (strcmp(text, "each") == 0) {
        terms->durability = DW_DURABLE_EACH;
    } else if (strcmp(text, "park") == 0) {
        terms->durability = DW_DURABLE_PARK;
    } else if (strncmp(text, seconds, sizeof seconds - 1) == 0) {
        terms->durability = DW_DURABLE_SECONDS;
        status = dw_cli_whole("--durability seconds", text + sizeof seconds - 1, 1, UINT32_MAX,
                              &value, err);
    } else {
        status = dw_fail(err, DW_E_ARG, "--durability: '%.40s', each, seconds:N or park is needed",
                         text);
    }
    terms->durability_s = (uint32_t)value;
    return status;
}

dw_status dw_cli_terms_folder(dw_cli_terms *terms, const char *name, dw_error *err)
{
    bool none = name[0] == '\0';
    if (terms->folder_count == DW_CLI_DIRS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "--folder: more than %d", DW_CLI_DIRS_MAX);
    }
    if (terms->chooses_folders && (none || terms->folder_count == 0)) {
        return dw_fail(err, DW_E_ARG, "--folder '' is none, and stands alone");
    }
    for (size_t i = 0; i < terms->folder_count; i++) {
        if (strcmp(terms->folders[i], name) == 0) {
            return dw_fail(err, DW_E_ARG, "--folder: '%.80s' is given twice", name);
        }
    }
    terms->chooses_folders = true;
    if (!none) {
        terms->folders[terms->folder_count++] = name;
    }
    return DW_OK;
}

dw_status dw_cli_terms_read(const dw_cli_terms *terms, char **manifest, size_t *bytes,
                            dw_error *err)
{
    *manifest = NULL;
    *bytes = 0;
    return terms->manifest != NULL
               ? dw_cli_read_file(terms->manifest, MANIFEST_BYTES_MAX, manifest, bytes, err)
               : DW_OK;
}

dw_status dw_cli_terms_spawn(const dw_cli_terms *terms, dw_runtime *runtime,
                             dw_spawn_options *options, dw_error *err)
{
    const char *tenant = terms->tenant != NULL ? terms->tenant : "";
    dw_runtime_tenant_info info = {.struct_bytes = sizeof info};
    dw_status status = dw_runtime_get_tenant_info(runtime, tenant, &info, err);
    if (status == DW_E_NOT_FOUND && terms->manifest == NULL) {
        const dw_tenant_options all = {.struct_bytes = sizeof all,
                                       .capabilities = DW_MAY_ALL,
                                       .dirs = terms->dirs,
                                       .dir_count = terms->dir_count};
        info.capabilities = DW_MAY_ALL;
        status = dw_runtime_set_tenant(runtime, tenant, &all, err);
    }
    *options = (dw_spawn_options){.struct_bytes = sizeof *options,
                                  .tenant = tenant,
                                  .capabilities = info.capabilities,
                                  .priority = terms->priority,
                                  .durability = terms->durability,
                                  .durability_s = terms->durability_s,
                                  .folders = terms->chooses_folders ? terms->folders : NULL,
                                  .folder_count = terms->folder_count};
    return status;
}
