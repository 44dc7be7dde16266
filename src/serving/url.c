#include "serving/url.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* Of a query '+' is a space, of a path itself. */
static const char *decode(const char *from, size_t bytes, char *to, size_t capacity, char plus)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = from[i] == '+' ? plus : from[i];
        if (c == '%') {
            int high = i + 2 < bytes ? dw_hex_digit(from[i + 1]) : -1;
            int low = high >= 0 ? dw_hex_digit(from[i + 2]) : -1;
            if (low < 0) {
                return "a '%' has no two hexadecimal digits behind it";
            }
            if (high == 0 && low == 0) {
                return "%00 stands in it";
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (count + 1 >= capacity) {
            return "it is too long";
        }
        to[count++] = c;
    }
    to[count] = '\0';
    return NULL;
}

const char *dw_percent_decode(const char *from, size_t bytes, char *to, size_t capacity)
{
    return decode(from, bytes, to, capacity, '+');
}

bool dw_url_text(const dw_exchange *exchange, const char *name, char *value, size_t capacity,
                 dw_fault *fault)
{
    size_t length = strlen(name);
    for (const char *at = dw_exchange_query(exchange); *at != '\0';) {
        size_t pair = strcspn(at, "&");
        if (pair > length && strncmp(at, name, length) == 0 && at[length] == '=') {
            const char *why = decode(at + length + 1, pair - length - 1, value, capacity, ' ');
            if (why != NULL) {
                value[0] = '\0';
                dw_fault_set(fault, 400, name, "%s: %s; at most %zu bytes are taken", name, why,
                             capacity - 1);
            }
            return why == NULL;
        }
        at += pair + (at[pair] == '&');
    }
    return false;
}

uint64_t dw_url_whole(const dw_exchange *exchange, const char *name, uint64_t lowest,
                      uint64_t highest, uint64_t otherwise, dw_fault *fault)
{
    char text[32];
    char *end = NULL;
    if (!dw_url_text(exchange, name, text, sizeof text, fault)) {
        return otherwise;
    }
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < lowest ||
        value > highest) {
        dw_fault_set(fault, 400, name, "%s is '%.20s'; a whole number from %llu to %llu is wanted",
                     name, text, (unsigned long long)lowest, (unsigned long long)highest);
        return otherwise;
    }
    return value;
}

bool dw_url_truth(const dw_exchange *exchange, const char *name, bool otherwise, dw_fault *fault)
{
    char text[16];
    if (!dw_url_text(exchange, name, text, sizeof text, fault)) {
        return otherwise;
    }
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        dw_fault_set(fault, 400, name, "%s is '%.12s'; true or false is wanted", name, text);
    }
    return strcmp(text, "true") == 0;
}
