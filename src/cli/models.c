/* driftwood models: the GGUF files in the cache. Only their heads are read. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/actor_state.h"
#include "cli/remote.h"

#define MODELS_MAX 4096

static const char usage[] =
    "usage: driftwood models [--state DIR] [--json]\n"
    "\n"
    "Lists the models in $XDG_CACHE_HOME/driftwood or ~/.cache/driftwood: what --model takes as a\n"
    "name, without .gguf if you like. Where a server works in the state folder also those that it\n"
    "serves: under which name, whether they are loaded, and how much memory their weights take.\n"
    "\n"
    "  --state DIR  the state folder; default $XDG_STATE_HOME/driftwood, or\n"
    "               ~/.local/state/driftwood\n"
    "  -j, --json   [{\"name\", \"path\", \"bytes\", \"architecture\", \"default\", \"error\",\n"
    "               \"served\": [{\"id\", \"state\", \"fraction\", \"loaded_bytes\", "
    "\"in_use\"}]}]\n"
    "  -h, --help   this text\n";

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
    json_t *served; /* of this file: a list; NULL: no server works */
} model_row;

static void fill_row(model_row *row, const char *path, bool is_default)
{
    dw_gguf *gguf = NULL;
    dw_gguf_string architecture = {.text = "?", .bytes = 1};
    *row = (model_row){.is_default = is_default};
    (void)snprintf(row->path, sizeof row->path, "%s", path);
    if (dw_gguf_open(&gguf, row->path, &row->error) == DW_OK) {
        dw_gguf_info info = {.struct_bytes = sizeof info};
        dw_gguf_get_info(gguf, &info);
        row->bytes = info.bytes;
        (void)dw_gguf_text(gguf, "general.architecture", &architecture, NULL);
    }
    size_t length = architecture.bytes < sizeof row->architecture ? architecture.bytes
                                                                  : sizeof row->architecture - 1;
    char text[sizeof row->architecture] = "";
    memcpy(text, architecture.text, length);
    char *plain = dw_cli_plain(text);
    (void)snprintf(row->architecture, sizeof row->architecture, "%s", plain != NULL ? plain : "?");
    free(plain);
    dw_gguf_close(gguf);
}

static json_t *row_json(const model_row *row, const char *name)
{
    return json_pack("{s:o, s:o, s:I, s:o, s:b, s:s?, s:O*}", "name", dw_cli_text_json(name),
                     "path", dw_cli_path_json(row->path), "bytes", (json_int_t)row->bytes,
                     "architecture", json_string(row->architecture), "default", row->is_default,
                     "error", row->error.code != DW_OK ? row->error.message : NULL, "served",
                     row->served);
}

/* ---- served --------------------------------------------------------------------------------- */

/* What the server says of one of its models, in this command's words. */
static json_t *served_json(const json_t *one)
{
    const json_t *status = json_object_get(one, "status");
    const char *state = json_string_value(json_object_get(status, "value"));
    bool loaded = state != NULL && strcmp(state, "loaded") == 0;
    const json_t *size = json_object_get(one, "size");
    return json_pack("{s:O, s:O, s:O, s:I, s:b}", "id", json_object_get(one, "id"), "state",
                     json_object_get(status, "value"), "fraction",
                     json_object_get(status, "fraction"), "loaded_bytes",
                     loaded ? json_integer_value(size) : 0, "in_use",
                     json_is_true(json_object_get(one, "in_use")));
}

/* Those of the file are taken out of what the server serves. */
static json_t *take_served(json_t *all, const char *path)
{
    char whole[PATH_MAX];
    char other[PATH_MAX];
    json_t *list = json_array();
    const char *own = realpath(path, whole) != NULL ? whole : path;
    for (size_t i = 0; i < json_array_size(all);) {
        const json_t *one = json_array_get(all, i);
        const char *its = json_string_value(json_object_get(one, "path"));
        if (its != NULL && strcmp(realpath(its, other) != NULL ? other : its, own) == 0) {
            (void)json_array_append_new(list, served_json(one));
            (void)json_array_remove(all, i);
        } else {
            i++;
        }
    }
    return list;
}

/* What the server in the state folder serves -> *served; NULL: none works there. */
static dw_status ask_server(const char *state, json_t **served, dw_error *err)
{
    dw_cli_remote remote = {.path = ""};
    char *folder = NULL;
    json_t *answer = NULL;
    *served = NULL;
    dw_status status = dw_cli_state_folder(state, &folder, state != NULL ? err : NULL);
    if (status != DW_OK) {
        return state != NULL ? status : DW_OK; /* without a home there is no server */
    }
    if (dw_cli_remote_find(&remote, folder)) {
        status = dw_cli_remote_call(&remote, "GET", "/v1/models", NULL, &answer, err);
        *served = json_incref(json_object_get(answer, "data"));
        json_decref(answer);
    }
    free(folder);
    return status;
}

/* ---- what is shown -------------------------------------------------------------------------- */

static void print_served(const json_t *list)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        const char *id = json_string_value(json_object_get(one, "id"));
        const char *state = json_string_value(json_object_get(one, "state"));
        double fraction = json_number_value(json_object_get(one, "fraction"));
        json_int_t bytes = json_integer_value(json_object_get(one, "loaded_bytes"));
        dw_cli_print("    served as %s: %s", id != NULL ? id : "?", state != NULL ? state : "?");
        if (state != NULL && strcmp(state, "loading") == 0) {
            dw_cli_print(", %.0f %%", 100 * fraction);
        }
        if (bytes > 0) {
            dw_cli_print(", %.1f MB in memory%s", (double)bytes / 1e6,
                         json_is_true(json_object_get(one, "in_use")) ? ", in use" : "");
        }
        dw_cli_print("\n");
    }
}

static void print_row(const model_row *row, const char *file)
{
    char *plain = dw_cli_plain(file);
    const char *name = plain != NULL ? plain : "?";
    if (row->error.code != DW_OK) {
        dw_cli_print("%-44s %10s  %s\n", name, "", row->error.message);
    } else {
        dw_cli_print("%-44s %7.1f MB  %s%s\n", name, (double)row->bytes / 1e6, row->architecture,
                     row->is_default ? "  (default)" : "");
    }
    free(plain);
    print_served(row->served);
}

/* `served` is released of those that are of this file. */
static void show_row(json_t *array, json_t *served, const char *path, const char *name)
{
    model_row row;
    fill_row(&row, path, strcmp(name, DW_CLI_DEFAULT_MODEL ".gguf") == 0);
    row.served = served != NULL ? take_served(served, path) : NULL;
    if (array != NULL) {
        (void)json_array_append_new(array, row_json(&row, name));
    } else {
        print_row(&row, name);
    }
    json_decref(row.served);
}

static int print_list(const model_list *list, json_t *served, bool as_json)
{
    json_t *array = as_json ? json_array() : NULL;
    for (size_t i = 0; i < list->count; i++) {
        char path[DW_CLI_PATH_MAX + 256];
        (void)snprintf(path, sizeof path, "%s/%s", list->folder, list->names[i]);
        show_row(array, served, path, list->names[i]);
    }
    bool none = list->count == 0 && json_array_size(served) == 0;
    while (json_array_size(served) > 0) { /* files that lie elsewhere */
        json_t *path = json_incref(json_object_get(json_array_get(served, 0), "path"));
        const char *text = json_string_value(path);
        const char *slash = text != NULL ? strrchr(text, '/') : NULL;
        size_t before = json_array_size(served);
        if (text != NULL) {
            show_row(array, served, text, slash != NULL ? slash + 1 : text);
        }
        if (json_array_size(served) == before) { /* it says no path */
            (void)json_array_remove(served, 0);
        }
        json_decref(path);
    }
    if (as_json) {
        dw_cli_print_json(array, JSON_INDENT(2));
    } else if (none) {
        dw_cli_print("no models in %s; `make model` fetches the default\n", list->folder);
    }
    return 0;
}

int dw_cli_models(int argc, char **argv)
{
    static const struct option options[] = {{"state", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool as_json = false;
    const char *state = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
        switch (option) {
        case 's':
            state = optarg;
            break;
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
    json_t *served = NULL;
    dw_status status = read_folder(&list, &error);
    if (status == DW_OK) {
        status = ask_server(state, &served, &error);
    }
    int exit_code = status == DW_OK ? print_list(&list, served, as_json) : dw_cli_fail_with(&error);
    json_decref(served);
    list_release(&list);
    return exit_code;
}
