/* Where models and guests lie, and where output goes. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/fetch.h"

#define GUEST_FOLDERS 2

static dw_status join(char *path, size_t capacity, const char *folder, const char *name,
                      const char *ending, dw_error *err)
{
    int length = snprintf(path, capacity, "%s/%s%s", folder, name, ending);
    if (length < 0 || (size_t)length >= capacity) {
        return dw_fail(err, DW_E_LIMIT, "'%.60s...': a path of %d bytes, limit %zu", folder, length,
                       capacity - 1);
    }
    return DW_OK;
}

static dw_status copy_path(char *path, size_t capacity, const char *name, dw_error *err)
{
    int length = snprintf(path, capacity, "%s", name);
    if (length < 0 || (size_t)length >= capacity) {
        return dw_fail(err, DW_E_LIMIT, "'%.60s...': a path of %d bytes, limit %zu", name, length,
                       capacity - 1);
    }
    return DW_OK;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text);
    size_t ending_length = strlen(ending);
    return length >= ending_length && strcasecmp(text + length - ending_length, ending) == 0;
}

/* ---- models ------------------------------------------------------------------------------- */

dw_status dw_cli_model_folder(char *path, size_t capacity, dw_error *err)
{
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (cache != NULL && cache[0] == '/') { /* the XDG specification has relative ones ignored */
        return join(path, capacity, cache, "driftwood", "", err);
    }
    if (home == NULL || home[0] == '\0') {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "neither XDG_CACHE_HOME nor HOME is set: name the "
                       "model by its path");
    }
    return join(path, capacity, home, ".cache/driftwood", "", err);
}

const char *dw_cli_fingerprint_folder(void)
{
    static char path[DW_CLI_PATH_MAX];
    char models[DW_CLI_PATH_MAX];
    if (path[0] == '\0' && (dw_cli_model_folder(models, sizeof models, NULL) != DW_OK ||
                            join(path, sizeof path, models, "fingerprints", "", NULL) != DW_OK)) {
        path[0] = '\0';
        return NULL;
    }
    return path;
}

dw_status dw_cli_module_folder(char *path, size_t capacity, dw_error *err)
{
    char models[DW_CLI_PATH_MAX];
    dw_status status = dw_cli_model_folder(models, sizeof models, err);
    return status == DW_OK ? join(path, capacity, models, "modules", "", err) : status;
}

/* How well a file's name fits what was asked for: 3 exactly, 2 but for .gguf and case, 1 its
 * start, 0 not at all. */
static int fit(const char *file, const char *name)
{
    size_t length = strlen(name);
    if (!ends_with(file, ".gguf")) {
        return 0;
    }
    if (strcmp(file, name) == 0) {
        return 3;
    }
    if (strncasecmp(file, name, length) != 0) {
        return 0;
    }
    return strcasecmp(file + length, ".gguf") == 0 || file[length] == '\0' ? 2 : 1;
}

static dw_status find_in_folder(char *path, size_t capacity, const char *folder, const char *name,
                                dw_error *err)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    char best[256] = "";
    int best_fit = 0;
    size_t best_count = 0;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        int entry_fit = fit(entry->d_name, name);
        if (entry_fit > best_fit) {
            best_fit = entry_fit;
            best_count = 0;
        }
        if (entry_fit > 0 && entry_fit == best_fit && best_count++ == 0) {
            (void)snprintf(best, sizeof best, "%s", entry->d_name);
        }
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    if (best_count == 0 && dw_cli_known_model_find(name, strcspn(name, ":")) != NULL) {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "model '%.80s' is not in %.100s yet: `driftwood pull %.80s` fetches it",
                       name, folder, name);
    }
    if (best_count == 0) {
        return dw_fail(err, DW_E_NOT_FOUND,
                       "model '%.80s': neither a file nor a name in %.80s; `make setup model` "
                       "fetches the default, `driftwood models` lists",
                       name, folder);
    }
    if (best_count > 1) {
        return dw_fail(err, DW_E_ARG, "model '%.80s': %zu in the cache start so, e.g. '%.80s'",
                       name, best_count, best);
    }
    return join(path, capacity, folder, best, "", err);
}

dw_status dw_cli_find_model(char *path, size_t capacity, const char *name, dw_error *err)
{
    char folder[DW_CLI_PATH_MAX];
    if (name != NULL && strncmp(name, "hf:", 3) == 0) {
        return dw_cli_pull_model(name, path, capacity, err);
    }
    if (name != NULL && (strchr(name, '/') != NULL || access(name, F_OK) == 0)) {
        return copy_path(path, capacity, name, err);
    }
    if (name != NULL && name[0] == '\0') {
        return dw_fail(err, DW_E_ARG, "model: an empty name");
    }
    dw_status status = dw_cli_model_folder(folder, sizeof folder, err);
    if (status != DW_OK) {
        return status;
    }
    return find_in_folder(path, capacity, folder, name != NULL ? name : DW_CLI_DEFAULT_MODEL, err);
}

/* ---- guests ------------------------------------------------------------------------------- */

/* True once `path` is a guest that can be read. */
static bool try_folder(char *path, size_t capacity, const char *folder, const char *name)
{
    const char *ending = ends_with(name, ".wasm") ? "" : ".wasm";
    return join(path, capacity, folder, name, ending, NULL) == DW_OK && access(path, R_OK) == 0;
}

/* Where guests lie that came along: $DRIFTWOOD_GUESTS, or the folders beside the program.
 * Returns how many of the `folders` there are. */
static size_t guest_folders(char folders[][DW_CLI_PATH_MAX], dw_error *err)
{
    static const char *const beside[GUEST_FOLDERS] = {"guests", "../share/driftwood/guests"};
    char program[DW_CLI_PATH_MAX];
    size_t count = 0;
    const char *named = getenv("DRIFTWOOD_GUESTS");
    if (named != NULL && named[0] != '\0') {
        return copy_path(folders[0], DW_CLI_PATH_MAX, named, err) == DW_OK;
    }
    if (dw_cli_executable_path(program, sizeof program, err) != DW_OK) {
        return 0;
    }
    char *slash = strrchr(program, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    for (size_t i = 0; i < GUEST_FOLDERS; i++) {
        count += join(folders[count], DW_CLI_PATH_MAX, program, beside[i], "", err) == DW_OK;
    }
    return count;
}

dw_status dw_cli_find_guest(char *path, size_t capacity, const char *name, dw_error *err)
{
    char folders[GUEST_FOLDERS][DW_CLI_PATH_MAX];
    if (strchr(name, '/') != NULL || (ends_with(name, ".wasm") && access(name, F_OK) == 0)) {
        return copy_path(path, capacity, name, err);
    }
    const char *named = getenv("DRIFTWOOD_GUESTS");
    dw_error problem = {.code = DW_OK};
    size_t count = guest_folders(folders, &problem);
    if (count == 0) {
        return dw_fail(err, problem.code, "%s", problem.message);
    }
    for (size_t i = 0; i < count; i++) {
        if (try_folder(path, capacity, folders[i], name)) {
            return DW_OK;
        }
    }
    if (named != NULL && named[0] != '\0') {
        return dw_fail(err, DW_E_NOT_FOUND, "guest '%.80s': not in DRIFTWOOD_GUESTS=%.100s", name,
                       named);
    }
    return dw_fail(err, DW_E_NOT_FOUND,
                   "guest '%.80s': neither a file nor a guest in %.100s; give a path such as "
                   "./guest.wasm",
                   name, folders[0]);
}

bool dw_cli_search_guests(bool (*is_it)(void *user, const char *path, const char *what), void *user,
                          const char *what)
{
    char folders[GUEST_FOLDERS][DW_CLI_PATH_MAX];
    size_t count = guest_folders(folders, NULL);
    bool found = false;
    for (size_t i = 0; i < count && !found; i++) {
        DIR *list = opendir(folders[i]);
        const struct dirent *entry;
        while (list != NULL && !found && (entry = readdir(list)) != NULL) {
            char path[DW_CLI_PATH_MAX];
            found = ends_with(entry->d_name, ".wasm") &&
                    join(path, sizeof path, folders[i], entry->d_name, "", NULL) == DW_OK &&
                    is_it(user, path, what);
        }
        if (list != NULL) {
            (void)closedir(list);
        }
    }
    return found;
}

/* ---- output ------------------------------------------------------------------------------- */

dw_status dw_cli_place(const char *path, char place[DW_CLI_PATH_MAX], bool *stream, dw_error *err)
{
    struct stat info;
    bool there = strcmp(path, "-") != 0 && stat(path, &info) == 0;
    *stream = strcmp(path, "-") == 0 || (there && !S_ISREG(info.st_mode));
    if (there && S_ISDIR(info.st_mode)) {
        return dw_fail(err, DW_E_ARG, "%.150s: it is a folder", path);
    }
    if (*stream || !there) {
        return copy_path(place, DW_CLI_PATH_MAX, path, err);
    }
    static_assert(DW_CLI_PATH_MAX >= PATH_MAX, "what realpath writes");
    return realpath(path, place) != NULL
               ? DW_OK
               : dw_fail(err, DW_E_IO, "%.150s: %s", path, strerror(errno));
}

#define OPEN_FILES "/dev/fd/"

/* The name goes at once, so that a process that is killed leaves nothing, however large; the file
 * is reached by its descriptor. Where the system has no names for those, it keeps its own. */
static void take_name_away(char *path, size_t capacity, int fd)
{
    char open_file[sizeof OPEN_FILES + 12];
    (void)snprintf(open_file, sizeof open_file, OPEN_FILES "%d", fd);
    if (capacity >= sizeof open_file && access(open_file, R_OK | W_OK) == 0) {
        (void)unlink(path);
        memcpy(path, open_file, sizeof open_file);
    }
}

void dw_cli_remove_temporary(char *path, int fd)
{
    if (path[0] != '\0' && strncmp(path, OPEN_FILES, strlen(OPEN_FILES)) != 0) {
        (void)unlink(path);
    }
    path[0] = '\0';
    dw_cli_close(fd);
}

dw_status dw_cli_temporary(char *path, size_t capacity, int *fd, dw_error *err)
{
    const char *folder = getenv("TMPDIR");
    folder = folder != NULL && folder[0] == '/' ? folder : "/tmp";
    dw_status status = join(path, capacity, folder, "driftwood-XXXXXX", "", err);
    *fd = status == DW_OK ? mkostemp(path, O_CLOEXEC) : -1;
    if (status == DW_OK && *fd < 0) {
        status =
            dw_fail(err, DW_E_IO, "%.150s: a file for the time being: %s", folder, strerror(errno));
    }
    if (status == DW_OK) {
        take_name_away(path, capacity, *fd);
    } else {
        path[0] = '\0';
    }
    return status;
}
