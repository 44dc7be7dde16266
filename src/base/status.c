#include "base/status.h"

#include <assert.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "driftwood_abi.h"

/* The two lists are one: each of the guests' has the host's value, and there are no others. */
#define CHECK_VALUE(name, value)                                                                   \
    static_assert(DW_##name == (value), "guests see the host's statuses");
DW_ABI_STATUSES(CHECK_VALUE)
#define COUNT_GUESTS(name, value) +1
#define COUNT_HOSTS(name, value, text, http) +1
static_assert((0 DW_ABI_STATUSES(COUNT_GUESTS)) == (0 DW_STATUS_LIST(COUNT_HOSTS)),
              "guests see the host's statuses");

const char *dw_status_name(dw_status status)
{
    switch (status) {
#define DW_STATUS_NAME(name, value, text, http)                                                    \
    case name:                                                                                     \
        return #name;
        DW_STATUS_LIST(DW_STATUS_NAME)
#undef DW_STATUS_NAME
    }
    return "DW_E_?";
}

const char *dw_status_text(dw_status status)
{
    switch (status) {
#define DW_STATUS_TEXT(name, value, text, http)                                                    \
    case name:                                                                                     \
        return text;
        DW_STATUS_LIST(DW_STATUS_TEXT)
#undef DW_STATUS_TEXT
    }
    return "unknown status";
}

int dw_status_http(dw_status status)
{
    switch (status) {
#define DW_STATUS_HTTP(name, value, text, http)                                                    \
    case name:                                                                                     \
        return http;
        DW_STATUS_LIST(DW_STATUS_HTTP)
#undef DW_STATUS_HTTP
    }
    return 500;
}

dw_status dw_fail(dw_error *err, dw_status code, const char *format, ...)
{
    DW_ASSERT(code != DW_OK);
    if (err == NULL) {
        return code;
    }
    /* The message may quote the one that stands in `err`: format aside first. */
    char message[sizeof err->message];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    dw_text_mend(message);
    memcpy(err->message, message, sizeof message);
    err->code = code;
    return code;
}

dw_status dw_fail_within(dw_error *err, dw_status code, const char *format, ...)
{
    DW_ASSERT(code != DW_OK);
    if (err == NULL) {
        return code;
    }
    char prefix[sizeof err->message];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    return dw_fail(err, code, "%.120s: %s", prefix, err->message);
}

void dw__assert_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "driftwood: bug: %s:%d: %s does not hold\n", file, line, condition);
    abort();
}
