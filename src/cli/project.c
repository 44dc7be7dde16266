#include "cli/project.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

dw_status dw_cli_join(char *path, const char *folder, const char *name, dw_error *err)
{
    int length = snprintf(path, DW_CLI_PATH_MAX, "%s/%s", folder, name);
    if (length < 0 || length >= DW_CLI_PATH_MAX) {
        return dw_fail(err, DW_E_LIMIT, "'%.80s/...': a path of %d bytes, limit %d", folder, length,
                       DW_CLI_PATH_MAX - 1);
    }
    return DW_OK;
}

/* Whether there is such a folder: its real path then, since headers are sought beside it. */
static bool take_folder(char *path, const char *folder)
{
    char real[DW_CLI_PATH_MAX];
    struct stat info;
    if (realpath(folder, real) == NULL || stat(real, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return false;
    }
    memcpy(path, real, strlen(real) + 1);
    return true;
}

dw_status dw_cli_sdk_folder(char *path, dw_error *err)
{
    static const char *const beside[] = {"sdk", "../share/driftwood/sdk"};
    char program[DW_CLI_PATH_MAX];
    const char *named = getenv("DRIFTWOOD_SDK");
    if (named != NULL && named[0] != '\0') {
        return take_folder(path, named)
                   ? DW_OK
                   : dw_fail(err, DW_E_NOT_FOUND, "DRIFTWOOD_SDK=%.150s: no such folder", named);
    }
    dw_status status = dw_cli_executable_path(program, sizeof program, err);
    if (status != DW_OK) {
        return status;
    }
    char *slash = strrchr(program, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
        char folder[DW_CLI_PATH_MAX];
        if (dw_cli_join(folder, program, beside[i], NULL) == DW_OK && take_folder(path, folder)) {
            return DW_OK;
        }
    }
    return dw_fail(err, DW_E_NOT_FOUND,
                   "the SDKs are neither in %.80s/sdk nor in %.80s/../share/driftwood/sdk; "
                   "DRIFTWOOD_SDK may name their folder",
                   program, program);
}

dw_status dw_cli_read_object(json_t **object, const char *path, dw_error *err)
{
    char *text;
    size_t bytes;
    json_error_t problem;
    *object = NULL;
    dw_status status = dw_cli_read_file(path, DW_CLI_RECIPE_BYTES_MAX, &text, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &problem);
    free(text);
    if (value == NULL || !json_is_object(value)) {
        status = value == NULL
                     ? dw_fail(err, DW_E_FORMAT, "%.120s:%d: %s", path, problem.line, problem.text)
                     : dw_fail(err, DW_E_FORMAT, "%.120s: an object is needed", path);
        json_decref(value);
        return status;
    }
    *object = value;
    return DW_OK;
}

char *dw_cli_replace(const char *text, const char *word, const char *with)
{
    size_t word_bytes = strlen(word);
    size_t with_bytes = strlen(with);
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += word_bytes) {
        count++;
    }
    char *out = dw_cli_alloc(strlen(text) + count * with_bytes + 1, 1);
    if (out == NULL) {
        return NULL;
    }
    char *to = out;
    for (const char *found; (found = strstr(text, word)) != NULL; text = found + word_bytes) {
        memcpy(to, text, (size_t)(found - text));
        to += found - text;
        memcpy(to, with, with_bytes);
        to += with_bytes;
    }
    memcpy(to, text, strlen(text) + 1);
    return out;
}

dw_status dw_cli_make_parents(char *path, size_t root, dw_error *err)
{
    for (char *slash = path + root; (slash = strchr(slash, '/')) != NULL; slash++) {
        if (slash == path) {
            continue;
        }
        *slash = '\0';
        bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
        int problem = errno;
        dw_status status =
            made ? DW_OK : dw_fail(err, DW_E_IO, "%.150s: %s", path, strerror(problem));
        *slash = '/';
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

dw_status dw_cli_write_new(const char *path, const void *bytes, size_t count, dw_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return dw_fail(err, DW_E_IO, "%.150s: %s", path, strerror(errno));
    }
    dw_error problem;
    dw_status status = dw_cli_write(fd, bytes, count, &problem);
    if (close(fd) != 0 && status == DW_OK) {
        status = dw_fail(&problem, DW_E_IO, "%s", strerror(errno));
    }
    return status == DW_OK ? DW_OK
                           : dw_fail(err, problem.code, "%.120s: %.100s", path, problem.message);
}
