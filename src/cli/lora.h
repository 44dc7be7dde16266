/* --lora [NAME=]FILE[:SCALE]: adapters for the model of the --model before it on the command line,
 * else for the first. */
#ifndef DW_CLI_LORA_H
#define DW_CLI_LORA_H

#include "cli/cli.h"

#define DW_CLI_LORAS_MAX 64      /* that the library takes for a model */
#define DW_CLI_LORA_NAME_MAX 200 /* the same of names' bytes */

typedef struct dw_cli_lora {
    size_t model; /* of those that were named, by index; 0 also where none was */
    char name[DW_CLI_LORA_NAME_MAX + 1];
    char from[DW_CLI_PATH_MAX]; /* a path, or a name in the cache */
    float scale;
} dw_cli_lora;

typedef struct dw_cli_loras {
    dw_cli_lora *list; /* [count] */
    size_t count;
} dw_cli_loras;

/* For the model at index `model`. Without NAME it is the file's without its folder and .gguf.
 * Errors: DW_E_ARG (a scale, a name twice, no file), DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw_cli_lora_take(dw_cli_loras *loras, size_t model, const char *text, dw_error *err);
void dw_cli_loras_release(dw_cli_loras *loras);
/* Load those of the model at index `of`. Errors: dw_cli_find_model's, dw_model_add_adapter's. */
dw_status dw_cli_loras_add(const dw_cli_loras *loras, size_t of, dw_model *model, dw_error *err);
/* A line each on standard error; nothing without any. */
void dw_cli_loras_print(const dw_model *model);

#define DW_CLI_LORA_HELP                                                                           \
    "  --lora [NAME=]FILE[:SCALE]\n"                                                               \
    "                       a LoRA adapter in GGUF for the --model before it, which answers "      \
    "with\n"                                                                                       \
    "                       it; SCALE 0: only where the guest chooses it; default 1; may be\n"     \
    "                       repeated\n"

#endif
