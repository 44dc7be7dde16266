/* Messages, and numbers as people type them. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* What is quoted in a message may be anything, and a terminal obeys some of it. */
__attribute__((format(printf, 2, 0))) static void tell(const char *what, const char *format,
                                                       va_list args)
{
    char *text = NULL;
    int length = vasprintf(&text, format, args);
    char *plain = length >= 0 ? dw_cli_plain(text) : NULL;
    (void)fprintf(stderr, "driftwood: %s%s\n", what, plain != NULL ? plain : "out of memory");
    free(plain);
    if (length >= 0) {
        free(text);
    }
}

int dw_cli_fail(int exit_code, const char *format, ...)
{
    va_list args;
    if (dw_cli_output_failed()) {
        return exit_code;
    }
    va_start(args, format);
    tell("", format, args);
    va_end(args);
    return exit_code;
}

int dw_cli_fail_with(const dw_error *err)
{
    return dw_cli_fail(1, "%s", err->message);
}

void dw_cli_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell("note: ", format, args);
    va_end(args);
}

void dw_cli_names_add(dw_cli_names *names, const char *name)
{
    size_t used = strlen(names->text);
    (void)snprintf(names->text + used, sizeof names->text - used, "%s%s", used > 0 ? ", " : "",
                   name);
}

static bool parse_whole(const char *text, uint64_t *value, char **end)
{
    errno = 0;
    *value = strtoull(text, end, 10);
    return text[0] >= '0' && text[0] <= '9' && errno == 0;
}

static dw_status check_whole(const char *what, const char *text, uint64_t value, uint64_t min,
                             uint64_t max, dw_error *err)
{
    if (value < min || value > max) {
        return dw_fail(err, DW_E_RANGE, "%s: '%.40s', from %llu to %llu is allowed", what, text,
                       (unsigned long long)min, (unsigned long long)max);
    }
    return DW_OK;
}

dw_status dw_cli_whole(const char *what, const char *text, uint64_t min, uint64_t max,
                       uint64_t *value, dw_error *err)
{
    char *end;
    if (!parse_whole(text, value, &end) || *end != '\0') {
        return dw_fail(err, DW_E_ARG, "%s: '%.40s' is not a whole number from %llu to %llu", what,
                       text, (unsigned long long)min, (unsigned long long)max);
    }
    return check_whole(what, text, *value, min, max, err);
}

dw_status dw_cli_number(const char *what, const char *text, double min, double max, double *value,
                        dw_error *err)
{
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end != '\0') {
        return dw_fail(err, DW_E_ARG, "%s: '%.40s' is not a number from %g to %g", what, text, min,
                       max);
    }
    if (!isfinite(*value)) {
        return dw_fail(err, DW_E_NUMERIC, "%s: '%.40s', a number from %g to %g is needed", what,
                       text, min, max);
    }
    if (*value < min || *value > max) {
        return dw_fail(err, DW_E_RANGE, "%s: '%.40s', from %g to %g is allowed", what, text, min,
                       max);
    }
    return DW_OK;
}

dw_status dw_cli_bytes(const char *what, const char *text, uint64_t min, uint64_t max,
                       uint64_t *value, dw_error *err)
{
    static const char units[] = "KMG";
    char *end;
    bool good = parse_whole(text, value, &end);
    const char *unit = good && *end != '\0' ? strchr(units, *end) : NULL;
    unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
    if (!good || (*end != '\0' && (unit == NULL || end[1] != '\0')) ||
        *value > UINT64_MAX >> shift) {
        return dw_fail(err, DW_E_ARG, "%s: '%.40s' is not a number of bytes such as 64M", what,
                       text);
    }
    *value <<= shift;
    return check_whole(what, text, *value, min, max, err);
}

dw_status dw_cli_kv_type(const char *text, dw_kv_type *type, dw_error *err)
{
    static const char *const names[] = {
        [DW_KV_F16] = "f16", [DW_KV_Q8_0] = "q8_0", [DW_KV_F32] = "f32"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *type = (dw_kv_type)i;
            return DW_OK;
        }
    }
    return dw_fail(err, DW_E_ARG, "--kv-type: '%.40s', f16, q8_0 or f32 is allowed", text);
}
