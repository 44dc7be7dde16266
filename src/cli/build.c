/* driftwood build: carries out a project's recipe, driftwood.json: are the tools there, run them,
 * put the module where it is looked for. */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <jansson.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/pack.h"

#define WORDS_MAX 1024
#define MODULE_BYTES_MAX ((size_t)1 << 30)

extern char **environ;

static const char usage[] =
    "usage: driftwood build [FOLDER]\n"
    "\n"
    "Builds the project that `driftwood new` made in FOLDER, or here: runs what its "
    "driftwood.json\n"
    "names under \"build\", and puts the module beside it as NAME.wasm. There, words that have a "
    "*\n"
    "stand for files; @clang@ and @clang++@ are a clang that compiles for wasm32-wasi, @sysroot@ "
    "is\n"
    "the folder of wasi-libc.\n"
    "\n"
    "  -q, --quiet  do not show the commands\n"
    "  -h, --help   this text\n"
    "\n"
    "DRIFTWOOD_WASI_CC names another clang, WASI_SYSROOT another folder of wasi-libc.\n";

typedef struct words {
    char *all[WORDS_MAX + 1];
    size_t count;
} words;

static void words_release(words *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->all[i]);
    }
}

/* ---- tools -------------------------------------------------------------------------------- */

static bool is_program(const char *name)
{
    char path[DW_CLI_PATH_MAX];
    if (strchr(name, '/') != NULL) {
        return access(name, X_OK) == 0;
    }
    const char *from = getenv("PATH");
    while (from != NULL && *from != '\0') {
        size_t bytes = strcspn(from, ":");
        int length = snprintf(path, sizeof path, "%.*s/%s", (int)bytes, from, name);
        if (length > 0 && (size_t)length < sizeof path && access(path, X_OK) == 0) {
            return true;
        }
        from += bytes + (from[bytes] == ':');
    }
    return false;
}

/* The clang for C, or the one for C++ beside it. */
static const char *clang(bool plus)
{
    static const char *const places[] = {"/opt/wasi-sdk/bin/clang",
                                         "/opt/homebrew/opt/llvm/bin/clang",
                                         "/usr/local/opt/llvm/bin/clang"};
    static char path[DW_CLI_PATH_MAX];
    const char *found = getenv("DRIFTWOOD_WASI_CC");
    for (size_t i = 0; (found == NULL || found[0] == '\0') && i < 3; i++) {
        found = access(places[i], X_OK) == 0 ? places[i] : NULL;
    }
    (void)snprintf(path, sizeof path - 2, "%s",
                   found != NULL && found[0] != '\0' ? found : "clang");
    if (plus) { /* clang++, clang++-18 */
        char *name = strstr(strrchr(path, '/') != NULL ? strrchr(path, '/') : path, "clang");
        if (name != NULL) {
            memmove(name + 7, name + 5, strlen(name + 5) + 1);
            memcpy(name + 5, "++", 2);
        }
    }
    return path;
}

static const char *sysroot(void)
{
    static const char *const places[] = {"/usr", "/opt/wasi-sdk/share/wasi-sysroot",
                                         "/opt/homebrew/opt/wasi-libc/share/wasi-sysroot",
                                         "/usr/local/opt/wasi-libc/share/wasi-sysroot"};
    const char *named = getenv("WASI_SYSROOT");
    if (named != NULL && named[0] != '\0') {
        return named;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char path[DW_CLI_PATH_MAX];
        if (dw_cli_join(path, places[i], "include/wasm32-wasi/stdio.h", NULL) == DW_OK &&
            access(path, R_OK) == 0) {
            return places[i];
        }
    }
    return NULL;
}

/* "tools": [{"name", "get"}]. */
static dw_status check_tools(const json_t *recipe, dw_error *err)
{
    const json_t *tools = json_object_get(recipe, "tools");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const char *name;
        const char *get = "";
        if (json_unpack(json_array_get(tools, i), "{s:s, s?s}", "name", &name, "get", &get) != 0) {
            return dw_fail(err, DW_E_FORMAT, "%s: tools: {\"name\", \"get\"} is needed",
                           DW_CLI_RECIPE);
        }
        bool there = strcmp(name, "@sysroot@") == 0 ? sysroot() != NULL
                     : strcmp(name, "@clang@") == 0 ? is_program(clang(false))
                                                    : is_program(name);
        if (!there) {
            const char *what = strcmp(name, "@sysroot@") == 0 ? "wasi-libc"
                               : strcmp(name, "@clang@") == 0 ? clang(false)
                                                              : name;
            return dw_fail(err, DW_E_NOT_FOUND, "build: %.40s was not found%s%.180s", what,
                           get[0] != '\0' ? ": " : "", get);
        }
    }
    return DW_OK;
}

/* ---- commands ----------------------------------------------------------------------------- */

static dw_status add(words *list, const char *word, dw_error *err)
{
    if (list->count == WORDS_MAX) {
        return dw_fail(err, DW_E_LIMIT, "build: a command of more than %d words", WORDS_MAX);
    }
    list->all[list->count] = strdup(word);
    if (list->all[list->count] == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a command");
    }
    list->count++;
    return DW_OK;
}

/* A word of a command: with its @...@ replaced, and the files that a * stands for. */
static dw_status add_word(words *list, const char *word, dw_error *err)
{
    char *text = dw_cli_replace(word, "@clang++@", clang(true));
    char *next = text != NULL ? dw_cli_replace(text, "@clang@", clang(false)) : NULL;
    free(text);
    const char *root = sysroot();
    text = next != NULL ? dw_cli_replace(next, "@sysroot@", root != NULL ? root : "/") : NULL;
    free(next);
    if (text == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a command");
    }
    dw_status status = DW_OK;
    glob_t files = {.gl_pathc = 0};
    if (strchr(text, '*') == NULL) {
        status = add(list, text, err);
    } else if (glob(text, 0, NULL, &files) != 0) {
        status = dw_fail(err, DW_E_NOT_FOUND, "build: there is no %.100s", text);
    } else {
        for (size_t i = 0; status == DW_OK && i < files.gl_pathc; i++) {
            status = add(list, files.gl_pathv[i], err);
        }
        globfree(&files);
    }
    free(text);
    return status;
}

static dw_status run_words(words *list, bool quiet, dw_error *err)
{
    pid_t child;
    int status;
    if (!quiet) {
        fputs("==>", stderr);
        for (size_t i = 0; i < list->count; i++) {
            fprintf(stderr, " %s", list->all[i]);
        }
        fputc('\n', stderr);
    }
    int failed = posix_spawnp(&child, list->all[0], NULL, NULL, list->all, environ);
    if (failed != 0) {
        return dw_fail(err, DW_E_NOT_FOUND, "build: %.100s: %s", list->all[0], strerror(failed));
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return dw_fail(err, DW_E_IO, "build: %.100s: %s", list->all[0], strerror(errno));
        }
    }
    if (WIFSIGNALED(status)) {
        return dw_fail(err, DW_E_CANCELLED, "build: %.100s was ended by signal %d", list->all[0],
                       WTERMSIG(status));
    }
    return WEXITSTATUS(status) == 0
               ? DW_OK
               : dw_fail(err, DW_E_STATE,
                         "build: %.100s left with status %d (what it said is above)", list->all[0],
                         WEXITSTATUS(status));
}

/* `step` is that of "build" from 1 on, or 0: "pack". */
static dw_status take_words(words *list, const json_t *from, size_t step, dw_error *err)
{
    if (json_array_size(from) == 0) {
        return dw_fail(err, DW_E_FORMAT, "%s: step %zu of \"build\" is no list of words",
                       DW_CLI_RECIPE, step);
    }
    dw_status status = DW_OK;
    for (size_t i = 0; status == DW_OK && i < json_array_size(from); i++) {
        const char *word = json_string_value(json_array_get(from, i));
        status = word != NULL ? add_word(list, word, err)
                              : dw_fail(err, DW_E_FORMAT, "%s: step %zu, word %zu is no text",
                                        DW_CLI_RECIPE, step, i + 1);
    }
    return status;
}

/* "pack": the guest, and the files that it is to run, the first of which is the program. */
static dw_status pack(const json_t *recipe, bool quiet, dw_error *err)
{
    const json_t *from = json_object_get(recipe, "pack");
    const char *result = json_string_value(json_object_get(recipe, "result"));
    words list = {.count = 0};
    if (json_array_size(from) < 2 || result == NULL) {
        return dw_fail(err, DW_E_FORMAT,
                       "%s: \"pack\" is no list of a guest and files, or there is no \"result\"",
                       DW_CLI_RECIPE);
    }
    dw_status status = take_words(&list, from, 0, err);
    if (status == DW_OK && list.count >= 2) {
        if (!quiet) {
            fprintf(stderr, "==> %zu files into %s\n", list.count - 1, list.all[0]);
        }
        (void)unlink(result);
        status = dw_cli_pack(list.all[0], list.all + 1, list.count - 1, result, err);
    }
    words_release(&list);
    return status;
}

static dw_status run_steps(const json_t *recipe, bool quiet, dw_error *err)
{
    const json_t *steps = json_object_get(recipe, "build");
    bool packs = json_object_get(recipe, "pack") != NULL;
    if (json_array_size(steps) == 0 && !packs) {
        return dw_fail(err, DW_E_FORMAT, "%s: \"build\" is no list of commands", DW_CLI_RECIPE);
    }
    dw_status status = DW_OK;
    for (size_t i = 0; status == DW_OK && i < json_array_size(steps); i++) {
        words list = {.count = 0};
        status = take_words(&list, json_array_get(steps, i), i + 1, err);
        status = status == DW_OK ? run_words(&list, quiet, err) : status;
        words_release(&list);
    }
    return status == DW_OK && packs ? pack(recipe, quiet, err) : status;
}

/* ---- the module --------------------------------------------------------------------------- */

/* "result" becomes NAME.wasm. */
static dw_status place_module(const json_t *recipe, dw_error *err)
{
    const char *name = json_string_value(json_object_get(recipe, "name"));
    const char *result = json_string_value(json_object_get(recipe, "result"));
    char place[DW_CLI_PATH_MAX];
    char *bytes = NULL;
    size_t count;
    if (name == NULL || result == NULL || strchr(name, '/') != NULL) {
        return dw_fail(err, DW_E_FORMAT, "%s: \"name\" and \"result\" are needed", DW_CLI_RECIPE);
    }
    int length = snprintf(place, sizeof place, "%s.wasm", name);
    if (length < 0 || (size_t)length >= sizeof place) {
        return dw_fail(err, DW_E_LIMIT, "%s: a name of %d bytes", DW_CLI_RECIPE, length);
    }
    dw_status status = dw_cli_read_file(result, MODULE_BYTES_MAX, &bytes, &count, err);
    if (status != DW_OK) {
        return status;
    }
    if (count < 8 || memcmp(bytes, "\0asm\1\0\0", 8) != 0) {
        status = dw_fail(err, DW_E_FORMAT, "%.150s: no WebAssembly module of version 1", result);
    } else if (strcmp(result, place) != 0) {
        (void)unlink(place);
        status = dw_cli_write_new(place, bytes, count, err);
    }
    free(bytes);
    if (status == DW_OK) {
        dw_cli_print("%s\n", place);
    }
    return status;
}

int dw_cli_build(int argc, char **argv)
{
    static const struct option options[] = {
        {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    bool quiet = false;
    int option;
    while ((option = getopt_long(argc, argv, "hq", options, NULL)) != -1) {
        if (option == 'h') {
            dw_cli_print("%s", usage);
            return 0;
        }
        if (option == '?') {
            return DW_CLI_USAGE;
        }
        quiet = true;
    }
    if (optind + 1 < argc) {
        return dw_cli_fail(DW_CLI_USAGE, "build takes one folder, '%s' is another",
                           argv[optind + 1]);
    }
    json_t *recipe = NULL;
    dw_error error;
    const char *folder = optind < argc ? argv[optind] : ".";
    if (chdir(folder) != 0) {
        return dw_cli_fail(1, "%s: %s", folder, strerror(errno));
    }
    dw_status status = dw_cli_read_object(&recipe, DW_CLI_RECIPE, &error);
    if (status == DW_E_NOT_FOUND) {
        return dw_cli_fail(1, "build: there is no %s in %s; `driftwood new` makes a project",
                           DW_CLI_RECIPE, folder);
    }
    status = status == DW_OK ? check_tools(recipe, &error) : status;
    status = status == DW_OK ? run_steps(recipe, quiet, &error) : status;
    status = status == DW_OK ? place_module(recipe, &error) : status;
    json_decref(recipe);
    return status == DW_OK ? 0 : dw_cli_fail_with(&error);
}
