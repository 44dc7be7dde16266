/* driftwood new: a project of a guest, with the language's SDK in it. What goes where is in the
 * SDK's project.json. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/project.h"

#define NAME_BYTES_MAX 63
#define FILE_BYTES_MAX (64 << 20)
#define LANGUAGES_MAX 64

static const char usage[] =
    "usage: driftwood new [FOLDER/]NAME --language L [--example E]\n"
    "       driftwood new --list\n"
    "\n"
    "Makes a project of a guest, which builds with the language's own tool or with `driftwood\n"
    "build`. The SDK is copied into it: it builds elsewhere, and tomorrow.\n"
    "\n"
    "  -l, --language L   c, cpp, rust ...: --list tells which there are\n"
    "  -e, --example E    what it begins as: generate (the default), actor, or tool\n"
    "  --list             the languages and their examples\n"
    "  -j, --json         --list: [{\"language\", \"also\", \"examples\", \"tools\"}]\n"
    "  -h, --help         this text\n";

typedef struct project {
    char sdk[DW_CLI_PATH_MAX];    /* the SDK's folder */
    char folder[DW_CLI_PATH_MAX]; /* the project's */
    const char *name;
    const char *example;
    json_t *plan; /* project.json */
} project;

/* ---- languages ---------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of folders with a project.json, sorted, each for free(). */
static size_t list_languages(const char *root, char **names)
{
    DIR *list = opendir(root);
    const struct dirent *entry;
    size_t count = 0;
    while (list != NULL && count < LANGUAGES_MAX && (entry = readdir(list)) != NULL) {
        char folder[DW_CLI_PATH_MAX];
        char plan[DW_CLI_PATH_MAX];
        if (entry->d_name[0] != '.' && dw_cli_join(folder, root, entry->d_name, NULL) == DW_OK &&
            dw_cli_join(plan, folder, "project.json", NULL) == DW_OK && access(plan, R_OK) == 0) {
            names[count] = strdup(entry->d_name);
            count += names[count] != NULL;
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    qsort(names, count, sizeof *names, by_name);
    return count;
}

static dw_status read_plan(json_t **plan, const char *root, const char *language, dw_error *err)
{
    char folder[DW_CLI_PATH_MAX];
    char path[DW_CLI_PATH_MAX];
    dw_status status = dw_cli_join(folder, root, language, err);
    status = status == DW_OK ? dw_cli_join(path, folder, "project.json", err) : status;
    return status == DW_OK ? dw_cli_read_object(plan, path, err) : status;
}

static bool goes_by(const json_t *plan, const char *language)
{
    const json_t *also = json_object_get(plan, "also");
    for (size_t i = 0; i < json_array_size(also); i++) {
        if (strcasecmp(json_string_value(json_array_get(also, i)), language) == 0) {
            return true;
        }
    }
    return false;
}

/* The plan of a language by its name, or one of its others. */
static dw_status find_language(project *made, const char *root, const char *language, dw_error *err)
{
    char *names[LANGUAGES_MAX];
    char known[160] = "";
    size_t count = list_languages(root, names);
    dw_status status = DW_OK;
    for (size_t i = 0; i < count; i++) {
        json_t *plan = NULL;
        if (status == DW_OK && made->plan == NULL) {
            status = read_plan(&plan, root, names[i], err);
            if (status == DW_OK &&
                (strcasecmp(names[i], language) == 0 || goes_by(plan, language))) {
                made->plan = json_incref(plan);
                status = dw_cli_join(made->sdk, root, names[i], err);
            }
            json_decref(plan);
        }
        size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", names[i]);
        free(names[i]);
    }
    if (status == DW_OK && made->plan == NULL) {
        status = dw_fail(err, DW_E_ARG, "--language: no '%.40s'; there are %s", language, known);
    }
    return status;
}

static int print_list(bool as_json)
{
    char root[DW_CLI_PATH_MAX];
    char *names[LANGUAGES_MAX];
    dw_error error;
    if (dw_cli_sdk_folder(root, &error) != DW_OK) {
        return dw_cli_fail_with(&error);
    }
    json_t *list = json_array();
    size_t count = list_languages(root, names);
    for (size_t i = 0; i < count; i++) {
        json_t *plan = NULL;
        json_t *examples = json_array();
        const char *example;
        json_t *value;
        if (read_plan(&plan, root, names[i], &error) == DW_OK) {
            json_object_foreach(json_object_get(plan, "examples"), example, value)
            {
                (void)json_array_append_new(examples, json_string(example));
            }
            (void)json_array_append_new(
                list, json_pack("{s:s, s:O, s:O, s:O}", "language", names[i], "also",
                                json_object_get(plan, "also"), "examples", examples, "tools",
                                json_object_get(plan, "tools")));
        }
        json_decref(plan);
        json_decref(examples);
        free(names[i]);
    }
    if (as_json) {
        dw_cli_print_json(list, JSON_INDENT(2));
        return 0;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const json_t *examples = json_object_get(one, "examples");
        dw_cli_print("%-16s", json_string_value(json_object_get(one, "language")));
        for (size_t j = 0; j < json_array_size(examples); j++) {
            dw_cli_print("%s%s", j > 0 ? ", " : "", json_string_value(json_array_get(examples, j)));
        }
        dw_cli_print("\n");
    }
    json_decref(list);
    return 0;
}

/* ---- files -------------------------------------------------------------------------------- */

/* Where a file of the SDK lies: below its folder; with "@include@/" in front the headers', which
 * are beside the SDKs where they are installed, and in guest/ of the source tree; with "@guest@/" a
 * guest that came along. */
static dw_status place_of(char *path, const project *made, const char *from, dw_error *err)
{
    static const char guest[] = "@guest@/";
    if (strncmp(from, guest, sizeof guest - 1) == 0) {
        return dw_cli_find_guest(path, DW_CLI_PATH_MAX, from + sizeof guest - 1, err);
    }
    static const char *const headers[] = {"../../include", "../../guest"};
    static const char mark[] = "@include@/";
    if (strncmp(from, mark, sizeof mark - 1) != 0) {
        return dw_cli_join(path, made->sdk, from, err);
    }
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        char folder[DW_CLI_PATH_MAX];
        dw_status status = dw_cli_join(folder, made->sdk, headers[i], err);
        status = status == DW_OK ? dw_cli_join(path, folder, from + sizeof mark - 1, err) : status;
        if (status != DW_OK || access(path, R_OK) == 0) {
            return status;
        }
    }
    return dw_fail(err, DW_E_NOT_FOUND, "%.80s: not beside %.100s", from, made->sdk);
}

/* Texts have @NAME@ and @VERSION@ replaced; what has a NUL is no text. */
static dw_status copy_file(const project *made, const char *from, const char *to, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    char *bytes;
    size_t count;
    dw_status status = dw_cli_join(path, made->folder, to, err);
    status = status == DW_OK ? dw_cli_make_parents(path, strlen(made->folder) + 1, err) : status;
    status = status == DW_OK ? dw_cli_read_file(from, FILE_BYTES_MAX, &bytes, &count, err) : status;
    if (status != DW_OK) {
        return status;
    }
    if (strlen(bytes) == count) {
        char *named = dw_cli_replace(bytes, "@NAME@", made->name);
        free(bytes);
        bytes = named != NULL ? dw_cli_replace(named, "@VERSION@", DW_VERSION) : NULL;
        free(named);
        if (bytes == NULL) {
            return dw_fail(err, DW_E_MEMORY, "no memory for %.100s", from);
        }
        count = strlen(bytes);
    }
    status = dw_cli_write_new(path, bytes, count, err);
    free(bytes);
    return status;
}

static dw_status copy_any(const project *made, const char *from, const char *to, dw_error *err);

/* What a folder holds, but for what tools leave in it: names that begin with '.', and `target`. */
static dw_status copy_folder(const project *made, const char *from, const char *to, dw_error *err)
{
    DIR *list = opendir(from);
    const struct dirent *entry;
    if (list == NULL) {
        return dw_fail(err, DW_E_IO, "%.150s: %s", from, strerror(errno));
    }
    dw_status status = DW_OK;
    while (status == DW_OK && (entry = readdir(list)) != NULL) {
        char inner[DW_CLI_PATH_MAX];
        char name[DW_CLI_PATH_MAX];
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "target") == 0) {
            continue;
        }
        status = dw_cli_join(inner, from, entry->d_name, err);
        status = status == DW_OK ? dw_cli_join(name, to, entry->d_name, err) : status;
        status = status == DW_OK ? copy_any(made, inner, name, err) : status;
    }
    (void)closedir(list);
    return status;
}

static dw_status copy_any(const project *made, const char *from, const char *to, dw_error *err)
{
    struct stat info;
    if (stat(from, &info) != 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "%.150s: %s", from, strerror(errno));
    }
    return S_ISDIR(info.st_mode) ? copy_folder(made, from, to, err)
                                 : copy_file(made, from, to, err);
}

typedef dw_status (*file_fn)(const project *made, const char *from, const char *to, dw_error *err);

static dw_status look_for(const project *made, const char *from, const char *to, dw_error *err)
{
    (void)made;
    (void)to;
    return access(from, R_OK) == 0
               ? DW_OK
               : dw_fail(err, DW_E_NOT_FOUND, "%.150s: %s", from, strerror(errno));
}

/* What `each` does with each of a list of [from, to]. */
static dw_status go_through(const project *made, const json_t *list, file_fn each, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; status == DW_OK && i < json_array_size(list); i++) {
        char from[DW_CLI_PATH_MAX];
        const char *source;
        const char *to;
        if (json_unpack(json_array_get(list, i), "[ss]", &source, &to) != 0) {
            return dw_fail(err, DW_E_FORMAT, "%.150s/project.json: entry %zu is no pair of paths",
                           made->sdk, i);
        }
        status = place_of(from, made, source, err);
        status = status == DW_OK ? each(made, from, to, err) : status;
    }
    return status;
}

static dw_status go_through_all(const project *made, const json_t *example, file_fn each,
                                dw_error *err)
{
    dw_status status = go_through(made, json_object_get(made->plan, "sdk"), each, err);
    if (status == DW_OK) {
        status = go_through(made, json_object_get(made->plan, "files"), each, err);
    }
    return status == DW_OK ? go_through(made, json_object_get(example, "files"), each, err)
                           : status;
}

/* `key` as the example has it, else as the language has it. */
static json_t *plan_value(const project *made, const json_t *example, const char *key)
{
    json_t *own = json_object_get(example, key);
    return own != NULL ? own : json_object_get(made->plan, key);
}

static dw_status write_recipe(const project *made, const json_t *example, dw_error *err)
{
    char path[DW_CLI_PATH_MAX];
    const char *language = strrchr(made->sdk, '/') + 1;
    json_t *recipe =
        json_pack("{s:s, s:s, s:s, s:O*, s:O*, s:O*, s:O*}", "name", made->name, "language",
                  language, "driftwood", DW_VERSION, "tools", plan_value(made, example, "tools"),
                  "build", plan_value(made, example, "build"), "pack",
                  plan_value(made, example, "pack"), "result", plan_value(made, example, "result"));
    char *text = recipe != NULL ? json_dumps(recipe, JSON_INDENT(2)) : NULL;
    json_decref(recipe);
    char *named = text != NULL ? dw_cli_replace(text, "@NAME@", made->name) : NULL;
    free(text);
    if (named == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for %s", DW_CLI_RECIPE);
    }
    dw_status status = dw_cli_join(path, made->folder, DW_CLI_RECIPE, err);
    status = status == DW_OK ? dw_cli_write_new(path, named, strlen(named), err) : status;
    free(named);
    return status;
}

static dw_status make(const project *made, dw_error *err)
{
    const json_t *example = json_object_get(json_object_get(made->plan, "examples"), made->example);
    if (example == NULL) {
        return dw_fail(err, DW_E_ARG,
                       "--example: no '%.40s' in this language; "
                       "`driftwood new --list` lists those there are",
                       made->example);
    }
    dw_status status = go_through_all(made, example, look_for, err); /* before there is a folder */
    if (status == DW_OK && mkdir(made->folder, 0777) != 0) {
        status = dw_fail(err, errno == EEXIST ? DW_E_ARG : DW_E_IO, "%.150s: %s", made->folder,
                         strerror(errno));
    }
    status = status == DW_OK ? go_through_all(made, example, copy_any, err) : status;
    return status == DW_OK ? write_recipe(made, example, err) : status;
}

/* ---- the command -------------------------------------------------------------------------- */

/* Cargo, Go, npm and Zig all take such names. */
static dw_status take_name(project *made, const char *path, dw_error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *slash = strrchr(path, '/');
    made->name = slash != NULL ? slash + 1 : path;
    size_t bytes = strlen(made->name);
    if (bytes == 0 || bytes > NAME_BYTES_MAX || strspn(made->name, letters) != bytes ||
        made->name[0] < 'a' || made->name[0] > 'z') {
        return dw_fail(err, DW_E_ARG,
                       "new: '%.80s': a name of 1 to %d small letters, digits, '-' and '_' is "
                       "needed, a letter first",
                       made->name, NAME_BYTES_MAX);
    }
    int length = snprintf(made->folder, sizeof made->folder, "%s", path);
    return length < DW_CLI_PATH_MAX ? DW_OK
                                    : dw_fail(err, DW_E_LIMIT, "new: a path of %d bytes, limit %d",
                                              length, DW_CLI_PATH_MAX - 1);
}

static int create(const char *path, const char *language, const char *example)
{
    char root[DW_CLI_PATH_MAX];
    dw_error error;
    project made = {.example = example};
    if (take_name(&made, path, &error) != DW_OK) {
        return dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
    }
    dw_status status = dw_cli_sdk_folder(root, &error);
    status = status == DW_OK ? find_language(&made, root, language, &error) : status;
    status = status == DW_OK ? make(&made, &error) : status;
    if (status == DW_OK) {
        const char *run =
            strcmp(example, "actor") == 0 ? "driftwood actor spawn --guest" : "driftwood run";
        dw_cli_print("%s is made. Next:\n  cd %s\n  driftwood build\n  %s ./%s.wasm\n", made.folder,
                     made.folder, run, made.name);
    }
    json_decref(made.plan);
    return status == DW_OK ? 0 : dw_cli_fail_with(&error);
}

enum { OPT_LIST = 256 };

int dw_cli_new(int argc, char **argv)
{
    static const struct option options[] = {
        {"language", required_argument, NULL, 'l'}, {"example", required_argument, NULL, 'e'},
        {"list", no_argument, NULL, OPT_LIST},      {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    const char *language = NULL;
    const char *example = "generate";
    bool list = false;
    bool as_json = false;
    int option;
    while ((option = getopt_long(argc, argv, "hjl:e:", options, NULL)) != -1) {
        switch (option) {
        case 'h':
            dw_cli_print("%s", usage);
            return 0;
        case 'l':
            language = optarg;
            break;
        case 'e':
            example = optarg;
            break;
        case 'j':
            as_json = true;
            break;
        case OPT_LIST:
            list = true;
            break;
        default:
            return DW_CLI_USAGE;
        }
    }
    if (list) {
        return optind < argc
                   ? dw_cli_fail(DW_CLI_USAGE, "new --list takes no name '%s'", argv[optind])
                   : print_list(as_json);
    }
    if (optind + 1 != argc || language == NULL) {
        return dw_cli_fail(DW_CLI_USAGE,
                           optind + 1 < argc ? "new: one name is needed, '%s' is another"
                                             : "new: a name and --language are needed%.0s",
                           optind + 1 < argc ? argv[optind + 1] : "");
    }
    return create(argv[optind], language, example);
}
