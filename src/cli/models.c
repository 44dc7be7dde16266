/* driftwood models: the GGUF files in the cache. Only their heads are read. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define MODELS_MAX 4096

static const char usage[] =
    "usage: driftwood models [--json]\n"
    "\n"
    "Lists the models in $XDG_CACHE_HOME/driftwood or ~/.cache/driftwood: what --model takes as a\n"
    "name, without .gguf if you like.\n"
    "\n"
    "  -j, --json  [{\"name\", \"path\", \"bytes\", \"architecture\", \"default\", \"error\"}]\n"
    "  -h, --help  this text\n";

typedef struct model_list {
    char folder[DW_CLI_PATH_MAX];
    char **names; /* [count], owned */
    size_t count;
} model_list;

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of a model in parts the first stands for all. */
static bool is_later_part(const char *name, size_t length)
{
    static const char shape[] = "-00000-of-00000.gguf";
    size_t shape_length = sizeof shape - 1;
    if (length <= shape_length) {
        return false;
    }
    const char *suffix = name + length - shape_length;
    for (size_t i = 0; i < shape_length; i++) {
        bool digit = suffix[i] >= '0' && suffix[i] <= '9';
        if (shape[i] == '0' ? !digit : suffix[i] != shape[i]) {
            return false;
        }
    }
    return strncmp(suffix, "-00001-", 7) != 0;
}

static bool is_model(const char *name)
{
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".gguf") == 0 && !is_later_part(name, length);
}

static dw_status read_folder(model_list *list, dw_error *err)
{
    dw_status status = dw_cli_model_folder(list->folder, sizeof list->folder, err);
    if (status != DW_OK) {
        return status;
    }
    DIR *directory = opendir(list->folder);
    if (directory == NULL) {
        return errno == ENOENT ? DW_OK
                               : dw_fail(err, DW_E_IO, "%s: %s", list->folder, strerror(errno));
    }
    const struct dirent *entry;
    while (status == DW_OK && list->count < MODELS_MAX && (entry = readdir(directory)) != NULL) {
        if (!is_model(entry->d_name)) {
            continue;
        }
        char **names = dw_cli_realloc(list->names, list->count + 1, sizeof *names);
        if (names != NULL) {
            list->names = names;
            names[list->count] = strdup(entry->d_name);
        }
        if (names == NULL || names[list->count] == NULL) {
            status = dw_fail(err, DW_E_MEMORY, "no memory for the list of models");
        } else {
            list->count++;
        }
    }
    (void)closedir(directory);
    if (list->count > 1) {
        qsort(list->names, list->count, sizeof *list->names, by_name);
    }
    return status;
}

static void list_release(model_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->names[i]);
    }
    free(list->names);
}

/* What is told of one file; `error` where it is no model. */
typedef struct model_row {
    char path[DW_CLI_PATH_MAX + 256];
    char architecture[64];
    uint64_t bytes;
    bool is_default;
    dw_error error;
} model_row;

static void fill_row(model_row *row, const char *folder, const char *name)
{
    dw_gguf *gguf = NULL;
    dw_gguf_string architecture = {.text = "?", .bytes = 1};
    *row = (model_row){.is_default = strcmp(name, DW_CLI_DEFAULT_MODEL ".gguf") == 0};
    (void)snprintf(row->path, sizeof row->path, "%s/%s", folder, name);
    if (dw_gguf_open(&gguf, row->path, &row->error) == DW_OK) {
        dw_gguf_info info = {.struct_bytes = sizeof info};
        dw_gguf_get_info(gguf, &info);
        row->bytes = info.bytes;
        (void)dw_gguf_text(gguf, "general.architecture", &architecture, NULL);
    }
    size_t length = architecture.bytes < sizeof row->architecture ? architecture.bytes
                                                                  : sizeof row->architecture - 1;
    memcpy(row->architecture, architecture.text, length);
    dw_gguf_close(gguf);
}

static json_t *row_json(const model_row *row, const char *name)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:b, s:s?}", "name", name, "path", row->path, "bytes",
                     (json_int_t)row->bytes, "architecture", row->architecture, "default",
                     row->is_default, "error",
                     row->error.code != DW_OK ? row->error.message : NULL);
}

static void print_row(const model_row *row, const char *name)
{
    if (row->error.code != DW_OK) {
        dw_cli_print("%-44s %10s  %s\n", name, "", row->error.message);
        return;
    }
    dw_cli_print("%-44s %7.1f MB  %s%s\n", name, (double)row->bytes / 1e6, row->architecture,
                 row->is_default ? "  (default)" : "");
}

static int print_list(const model_list *list, bool as_json)
{
    json_t *array = as_json ? json_array() : NULL;
    for (size_t i = 0; i < list->count; i++) {
        model_row row;
        fill_row(&row, list->folder, list->names[i]);
        if (as_json) {
            (void)json_array_append_new(array, row_json(&row, list->names[i]));
        } else {
            print_row(&row, list->names[i]);
        }
    }
    if (as_json) {
        dw_cli_print_json(array, JSON_INDENT(2));
    } else if (list->count == 0) {
        dw_cli_print("no models in %s; `make model` fetches the default\n", list->folder);
    }
    return 0;
}

int dw_cli_models(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    bool as_json = false;
    int option;
    while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
        switch (option) {
        case 'j':
            as_json = true;
            break;
        case 'h':
            dw_cli_print("%s", usage);
            return 0;
        default:
            return DW_CLI_USAGE;
        }
    }
    if (optind < argc) {
        return dw_cli_fail(DW_CLI_USAGE, "models takes no argument '%s'", argv[optind]);
    }
    dw_error error;
    model_list list = {.count = 0};
    dw_status status = read_folder(&list, &error);
    int exit_code = status == DW_OK ? print_list(&list, as_json) : dw_cli_fail_with(&error);
    list_release(&list);
    return exit_code;
}
