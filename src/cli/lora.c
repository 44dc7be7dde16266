#include "cli/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/session.h"

void dw_cli_loras_release(dw_cli_loras *loras)
{
    free(loras->list);
    *loras = (dw_cli_loras){NULL, 0};
}

/* The scale behind the last colon; what is in front of it has `*length` bytes. A file whose name
 * ends so is a file. */
static float take_scale(const char *from, size_t *length)
{
    const char *colon = strrchr(from, ':');
    char *end = NULL;
    *length = strlen(from);
    if (colon == NULL || colon == from || colon[1] == '\0' || access(from, F_OK) == 0) {
        return 1.0F;
    }
    const float scale = strtof(colon + 1, &end);
    if (*end != '\0') {
        return 1.0F;
    }
    *length = (size_t)(colon - from);
    return scale;
}

/* "pirate" of "adapters/pirate.gguf" */
static void take_usual_name(dw_cli_lora *lora)
{
    const char *slash = strrchr(lora->from, '/');
    const char *base = slash != NULL ? slash + 1 : lora->from;
    const char *end = strstr(base, ".gguf");
    const size_t bytes = end != NULL ? (size_t)(end - base) : strlen(base);
    (void)snprintf(lora->name, sizeof lora->name, "%.*s", (int)bytes, base);
    for (char *c = lora->name; *c != '\0'; c++) {
        *c = *c <= ' ' || *c >= 127 ? '-' : *c;
    }
}

static dw_status parse(dw_cli_lora *lora, const char *text, dw_error *err)
{
    const size_t named = dw_cli_name_bytes(text);
    const char *from = named > 0 ? text + named + 1 : text;
    size_t from_bytes;
    lora->scale = take_scale(from, &from_bytes);
    if (named > DW_CLI_LORA_NAME_MAX || from_bytes >= sizeof lora->from) {
        return dw_fail(err, DW_E_LIMIT,
                       "--lora: a name of %zu bytes, limit %d; a path of %zu, "
                       "limit %zu",
                       named, DW_CLI_LORA_NAME_MAX, from_bytes, sizeof lora->from - 1);
    }
    if (from_bytes == 0) {
        return dw_fail(err, DW_E_ARG, "--lora: '%.80s', [NAME=]FILE[:SCALE] is needed", text);
    }
    if (!isfinite(lora->scale) || fabsf(lora->scale) > 1000.0F) {
        return dw_fail(err, DW_E_ARG, "--lora: scale %g in '%.80s', from -1000 to 1000 is allowed",
                       (double)lora->scale, text);
    }
    memcpy(lora->from, from, from_bytes);
    memcpy(lora->name, text, named);
    if (named == 0) {
        take_usual_name(lora);
    }
    return DW_OK;
}

dw_status dw_cli_lora_take(dw_cli_loras *loras, size_t model, const char *text, dw_error *err)
{
    if (loras->count == DW_CLI_LORAS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "--lora: more than %d", DW_CLI_LORAS_MAX);
    }
    if (loras->list == NULL) {
        loras->list = dw_cli_alloc(DW_CLI_LORAS_MAX, sizeof *loras->list);
    }
    if (loras->list == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for --lora");
    }
    dw_cli_lora *lora = &loras->list[loras->count];
    *lora = (dw_cli_lora){.model = model};
    dw_status status = parse(lora, text, err);
    for (size_t i = 0; i < loras->count && status == DW_OK; i++) {
        if (loras->list[i].model == model && strcmp(loras->list[i].name, lora->name) == 0) {
            status = dw_fail(err, DW_E_ARG, "--lora: '%.80s' stands twice", lora->name);
        }
    }
    loras->count += status == DW_OK;
    return status;
}

dw_status dw_cli_loras_add(const dw_cli_loras *loras, size_t of, dw_model *model, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    dw_status status = DW_OK;
    for (size_t i = 0; i < loras->count && status == DW_OK; i++) {
        const dw_cli_lora *lora = &loras->list[i];
        if (lora->model != of) {
            continue;
        }
        status = dw_cli_find_model(path, sizeof path, lora->from, err);
        if (status == DW_OK) {
            const dw_adapter_options options = {.struct_bytes = sizeof options,
                                                .name = lora->name,
                                                .path = path,
                                                .scale = lora->scale,
                                                .fingerprint_folder = dw_cli_fingerprint_folder()};
            status = dw_model_add_adapter(model, &options, err);
        }
        status = status == DW_OK ? status : dw_fail_within(err, status, "--lora");
    }
    return status;
}

void dw_cli_loras_print(const dw_model *model)
{
    for (size_t i = 0; i < dw_model_adapter_count(model); i++) {
        dw_adapter_info info = {.struct_bytes = sizeof info};
        if (dw_model_get_adapter(model, i, &info, NULL) == DW_OK) {
            (void)fprintf(stderr, "adapter    %s: scale %g, rank %u, %llu matrices, %.1f MB\n",
                          info.name, (double)info.scale, info.rank,
                          (unsigned long long)info.pair_count, (double)info.bytes / 1e6);
        }
    }
}
