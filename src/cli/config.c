/* Options in a file: a line each, as on the command line without its dashes. */
#include <stdlib.h>
#include <string.h>

#include "cli/config.h"

#define CONFIG_BYTES_MAX ((size_t)1 << 20)

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Without spaces at both ends; cut in place. */
static char *trimmed(char *text)
{
    char *end = text + strlen(text);
    while (end > text && is_space(end[-1])) {
        *--end = '\0';
    }
    while (is_space(*text)) {
        text++;
    }
    return text;
}

static const struct option *find_option(const struct option *options, const char *name)
{
    for (; options->name != NULL; options++) {
        if (strcmp(options->name, name) == 0) {
            return options;
        }
    }
    return NULL;
}

/* "NAME = VALUE", "NAME VALUE" or "NAME". */
static dw_status take_line(const dw_cli_config *config, char *line, dw_error *err)
{
    line = trimmed(line);
    if (line[0] == '\0' || line[0] == '#') {
        return DW_OK;
    }
    size_t length = strcspn(line, " \t=");
    char *value = line + length;
    bool given = *value != '\0';
    if (given) {
        bool equals = *value == '=';
        *value++ = '\0';
        value = trimmed(value);
        if (!equals && *value == '=') {
            value = trimmed(value + 1);
        }
    }
    const struct option *option = find_option(config->options, line);
    bool refused = option == NULL;
    for (const int *no = config->refused; !refused && *no != 0; no++) {
        refused = option->val == *no;
    }
    if (refused) {
        return dw_fail(err, DW_E_ARG, "'%.60s' is no option of a file", line);
    }
    if (option->has_arg == no_argument && given && strcmp(value, "true") != 0) {
        return strcmp(value, "false") == 0
                   ? DW_OK
                   : dw_fail(err, DW_E_ARG, "%s: '%.60s', true or false is wanted", line, value);
    }
    if (option->has_arg == required_argument && (!given || value[0] == '\0')) {
        return dw_fail(err, DW_E_ARG, "%s: a value is wanted", line);
    }
    return config->take(config->user, option->val, value, err);
}

dw_status dw_cli_config_read(const dw_cli_config *config, const char *path, char **text,
                             dw_error *err)
{
    size_t bytes = 0;
    size_t number = 0;
    dw_status status = dw_cli_read_file(path, CONFIG_BYTES_MAX, text, &bytes, err);
    if (status == DW_OK && memchr(*text, '\0', bytes) != NULL) {
        return dw_fail(err, DW_E_FORMAT, "%.150s: a zero byte in it", path);
    }
    char *line = status == DW_OK ? *text : NULL;
    while (line != NULL && status == DW_OK) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        number++;
        status = take_line(config, line, err);
        line = end != NULL ? end + 1 : NULL;
    }
    return status == DW_OK || number == 0
               ? status
               : dw_fail_within(err, status, "%.100s: line %zu", path, number);
}
