#include "base/name.h"

#include <string.h>

#include "base/status.h"

bool dw_name_letters(const char *text, size_t bytes)
{
    bool good = true;
    for (size_t i = 0; i < bytes && good; i++) {
        char c = text[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '-';
    }
    return good;
}

dw_status dw_name_check(const char *what, const char *name, dw_error *err)
{
    size_t bytes = name != NULL ? strnlen(name, DW_NAME_MAX + 1) : 0;
    return bytes > 0 && bytes <= DW_NAME_MAX && dw_name_letters(name, bytes)
               ? DW_OK
               : dw_fail(err, DW_E_ARG,
                         "%s: '%.80s': 1 to %d letters, digits, '.', '_' or '-' are needed", what,
                         name != NULL ? name : "(NULL)", DW_NAME_MAX);
}
