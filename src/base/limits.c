#include "base/limits.h"

#include <stdio.h>
#include <string.h>

#include "base/public_struct.h"

typedef struct row {
    const char *name;
    dw_limit_unit unit;
    uint64_t usual;
    uint64_t lowest;
    uint64_t highest;
    const char *option;
    const char *what;
    size_t offset; /* of its member in dw_limits */
} row;

/* A time beyond this overflows once it is counted in nanoseconds. */
#define MS_MAX (UINT64_C(1) << 43)

#define ROW(name, unit, usual, lowest, highest, option, what)                                      \
    {#name, DW_LIMIT_##unit, usual, lowest, highest, option, what, offsetof(dw_limits, name)},
static const row rows[] = {DW_LIMIT_LIST(ROW)};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

#define USUAL(name, unit, usual, lowest, highest, option, what) .name = (usual),
const dw_limits dw_limits_usual = {.struct_bytes = sizeof dw_limits_usual, DW_LIMIT_LIST(USUAL)};

/* Suffixes of a unit, smallest first; a value is told in the largest that tells it wholly. */
typedef struct suffix {
    const char *text;
    uint64_t factor;
} suffix;

static const suffix byte_suffixes[] = {{"", 1},
                                       {"K", UINT64_C(1) << 10},
                                       {"M", UINT64_C(1) << 20},
                                       {"G", UINT64_C(1) << 30},
                                       {"T", UINT64_C(1) << 40}};
static const suffix time_suffixes[] = {{"", 1},      {"ms", 1},      {"s", 1000},
                                       {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
static const suffix no_suffixes[] = {{"", 1}};

static const suffix *suffixes_of(dw_limit_unit unit, size_t *count)
{
    switch (unit) {
    case DW_LIMIT_BYTES:
        *count = sizeof byte_suffixes / sizeof byte_suffixes[0];
        return byte_suffixes;
    case DW_LIMIT_MS:
        *count = sizeof time_suffixes / sizeof time_suffixes[0];
        return time_suffixes;
    default:
        *count = 1;
        return no_suffixes;
    }
}

size_t dw_limit_count(void)
{
    return ROW_COUNT;
}

const char *dw_limit_unit_name(dw_limit_unit unit)
{
    static const char *const names[] = {[DW_LIMIT_BYTES] = "bytes",
                                        [DW_LIMIT_COUNT] = "count",
                                        [DW_LIMIT_MS] = "ms",
                                        [DW_LIMIT_TOKENS] = "tokens",
                                        [DW_LIMIT_STEPS] = "steps"};
    return (unsigned)unit < sizeof names / sizeof names[0] ? names[unit] : "?";
}

dw_status dw_limit_get_info(size_t index, dw_limit_info *info, dw_error *err)
{
    dw_status status = dw_struct_check(info, "dw_limit_info", err);
    if (status != DW_OK) {
        return status;
    }
    if (index >= ROW_COUNT) {
        return dw_fail(err, DW_E_RANGE, "limit %zu: there are %zu", index, ROW_COUNT);
    }
    const row *from = &rows[index];
    const dw_limit_info own = {.name = from->name,
                               .unit = from->unit,
                               .usual = from->usual,
                               .lowest = from->lowest,
                               .highest = from->highest,
                               .option = from->option,
                               .what = from->what};
    dw_struct_write(info, &own, sizeof own);
    return DW_OK;
}

void dw_limit_format(dw_limit_unit unit, uint64_t value, char text[DW_LIMIT_TEXT_BYTES])
{
    size_t count;
    const suffix *known = suffixes_of(unit, &count);
    size_t best = unit == DW_LIMIT_MS ? 1 : 0;
    for (size_t i = best; i < count; i++) {
        best = value > 0 && value % known[i].factor == 0 ? i : best;
    }
    if (value == DW_LIMIT_NONE) {
        (void)snprintf(text, DW_LIMIT_TEXT_BYTES, "none");
        return;
    }
    (void)snprintf(text, DW_LIMIT_TEXT_BYTES, "%llu%s",
                   (unsigned long long)(value / known[best].factor), known[best].text);
}

size_t dw_limit_find(const char *name)
{
    size_t i = 0;
    while (i < ROW_COUNT && strcmp(rows[i].name, name) != 0) {
        i++;
    }
    return i;
}

uint64_t dw_limits_at(const dw_limits *limits, size_t index)
{
    uint64_t value;
    DW_ASSERT(index < ROW_COUNT);
    memcpy(&value, (const unsigned char *)limits + rows[index].offset, sizeof value);
    return value;
}

void dw_limits_put(dw_limits *limits, size_t index, uint64_t value)
{
    DW_ASSERT(index < ROW_COUNT);
    memcpy((unsigned char *)limits + rows[index].offset, &value, sizeof value);
}

dw_status dw_limit_check(size_t index, uint64_t value, dw_error *err)
{
    const row *of = &rows[index];
    uint64_t most = of->highest;
    if (of->unit == DW_LIMIT_MS && value != DW_LIMIT_NONE) {
        most = most < MS_MAX ? most : MS_MAX;
    }
    if (value >= of->lowest && value <= most) {
        return DW_OK;
    }
    char given[DW_LIMIT_TEXT_BYTES];
    char lowest[DW_LIMIT_TEXT_BYTES];
    char highest[DW_LIMIT_TEXT_BYTES];
    dw_limit_format(of->unit, value, given);
    dw_limit_format(of->unit, of->lowest, lowest);
    dw_limit_format(of->unit, most, highest);
    return dw_fail(err, DW_E_RANGE, "limit %s: %s, from %s to %s is allowed", of->name, given,
                   lowest, highest);
}

/* ---- values from text -------------------------------------------------------------------- */

static bool read_digits(const char *text, uint64_t *value, const char **end)
{
    *value = 0;
    for (*end = text; **end >= '0' && **end <= '9'; (*end)++) {
        uint64_t digit = (uint64_t)(**end - '0');
        if (*value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        *value = *value * 10 + digit;
    }
    return *end > text;
}

static bool read_value(const row *of, const char *text, uint64_t *value)
{
    const char *end;
    size_t count;
    const suffix *known = suffixes_of(of->unit, &count);
    if (strcmp(text, "none") == 0) {
        *value = DW_LIMIT_NONE;
        return of->highest == DW_LIMIT_NONE;
    }
    if (!read_digits(text, value, &end)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(end, known[i].text) == 0) {
            uint64_t factor = known[i].factor;
            *value = *value > UINT64_MAX / factor ? UINT64_MAX - 1 : *value * factor;
            return true;
        }
    }
    return false;
}

static const char *example_of(const row *of)
{
    bool none = of->highest == DW_LIMIT_NONE;
    switch (of->unit) {
    case DW_LIMIT_BYTES:
        return none ? "bytes such as 256M, or none" : "bytes such as 256M";
    case DW_LIMIT_MS:
        return none ? "a time such as 30s or 500ms, or none" : "a time such as 30s or 500ms";
    default:
        return none ? "a whole number, or none" : "a whole number";
    }
}

dw_status dw_limits_set(dw_limits *limits, const char *name, const char *text, dw_error *err)
{
    dw_status status = dw_struct_check(limits, "dw_limits", err);
    if (status != DW_OK) {
        return status;
    }
    size_t index = dw_limit_find(name);
    if (index == ROW_COUNT || rows[index].offset + sizeof(uint64_t) > limits->struct_bytes) {
        return dw_fail(err, DW_E_NOT_FOUND, "limit '%.60s': there is none of this name", name);
    }
    uint64_t value;
    if (!read_value(&rows[index], text, &value)) {
        return dw_fail(err, DW_E_ARG, "limit %s: '%.40s' is not %s", name, text,
                       example_of(&rows[index]));
    }
    status = dw_limit_check(index, value, err);
    if (status == DW_OK) {
        dw_limits_put(limits, index, value);
    }
    return status;
}

/* ---- several together -------------------------------------------------------------------- */

dw_status dw_limits_take(dw_limits *own, const dw_limits *given, dw_error *err)
{
    dw_status status = dw_struct_read(own, sizeof *own, given, "dw_limits", err);
    for (size_t i = 0; i < ROW_COUNT && status == DW_OK; i++) {
        uint64_t value = dw_limits_at(own, i);
        status = value != 0 ? dw_limit_check(i, value, err) : DW_OK;
    }
    return status;
}

void dw_limits_fill(dw_limits *limits, const dw_limits *others)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (dw_limits_at(limits, i) == 0) {
            dw_limits_put(limits, i, dw_limits_at(others, i));
        }
    }
}

void dw_limits_lower(dw_limits *limits, const dw_limits *others)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        uint64_t most = dw_limits_at(others, i);
        /* A clock's step bounds from below: that which is there stays. */
        if (dw_limits_at(limits, i) > most && strcmp(rows[i].name, "clock_ns") != 0) {
            dw_limits_put(limits, i, most);
        }
    }
}
