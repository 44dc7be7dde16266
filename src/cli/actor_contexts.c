/* driftwood actor contexts: what actors have saved under names. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/actor_state.h"
#include "cli/output.h"

static const char *kv_name(dw_kv_type type)
{
    return type == DW_KV_F16 ? "f16" : type == DW_KV_Q8_0 ? "q8_0" : "f32";
}

static void add_json(void *user, const dw_saved_context *saved)
{
    (void)json_array_append_new(user, json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "name",
                                                saved->name, "tenant", saved->tenant, "model",
                                                saved->model, "kv_type", kv_name(saved->kv_type),
                                                "tokens", (json_int_t)saved->token_count, "bytes",
                                                dw_cli_count_json(saved->bytes), "saved_ms",
                                                dw_cli_count_json(saved->saved_ms)));
}

static void print_one(void *user, const dw_saved_context *saved)
{
    char at[32] = "?";
    struct tm parts;
    const time_t seconds = (time_t)(saved->saved_ms / 1000);
    (void)user;
    if (gmtime_r(&seconds, &parts) != NULL) {
        (void)strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    dw_cli_print("%s%s%s  %u tokens, %.1f MB, %s, model %.12s, saved %s\n", saved->tenant,
                 saved->tenant[0] != '\0' ? "@" : "", saved->name, saved->token_count,
                 (double)saved->bytes / 1e6, kv_name(saved->kv_type), saved->model, at);
}

static dw_status list(dw_contexts *contexts, const dw_cli_contexts *what, dw_error *err)
{
    json_t *all = what->json ? json_array() : NULL;
    dw_status status =
        dw_contexts_list(contexts, what->tenant, what->json ? add_json : print_one, all, err);
    if (status == DW_OK && all != NULL) {
        dw_cli_print_json(all, JSON_INDENT(2));
        return DW_OK;
    }
    json_decref(all);
    return status;
}

int dw_cli_actors_contexts(const dw_cli_actors *actors, const dw_cli_contexts *what)
{
    char path[DW_CLI_PATH_MAX];
    dw_error error;
    dw_contexts *contexts = NULL;
    int length = snprintf(path, sizeof path, "%s/contexts", actors->path);
    if (length < 0 || (size_t)length >= sizeof path) {
        return dw_cli_fail(1, "the state folder's path is too long");
    }
    dw_status status = dw_contexts_open(&contexts, path, &error);
    if (status == DW_OK) {
        status = what->remove != NULL
                     ? dw_contexts_remove(contexts, what->tenant, what->remove, &error)
                     : list(contexts, what, &error);
    }
    dw_contexts_close(contexts);
    return status == DW_OK ? 0 : dw_cli_fail_with(&error);
}
