/* The numbers of a schema, as decimals of any size: JSON readers make doubles of them. The text
 * that is read has each number replaced by its place in a table, where equal numbers (1, 1.0,
 * 10e-1) have one place, so that values of the tree are equal where the numbers are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "schema/json_grammar_internal.h"

#define EXPONENT_MAX 100000000L /* beyond, a number is as good as zero or without end */
#define SMALL_COUNT 10          /* numbers that are their own place */

typedef struct dw__number {
    dw__decimal value;
    char *text;   /* as it was written first */
    char *digits; /* value.digits */
} dw__number;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_at(const char *text, size_t bytes)
{
    size_t count = 0;
    while (count < bytes && is_digit(text[count])) {
        count++;
    }
    return count;
}

/* Bytes that a reader takes for one number, right or wrong. */
static size_t number_like(const char *text, size_t bytes)
{
    size_t count = 0;
    while (count < bytes && text[count] != '\0' && strchr("0123456789+-.eE", text[count]) != NULL) {
        count++;
    }
    return count;
}

/* The bytes of the JSON number that begins there; 0: none, or more behind it than a number has. */
static size_t literal_bytes(const char *text, size_t bytes)
{
    size_t at = bytes > 0 && text[0] == '-';
    size_t count = digits_at(text + at, bytes - at);
    if (count == 0 || (count > 1 && text[at] == '0')) {
        return 0;
    }
    at += count;
    if (at < bytes && text[at] == '.') {
        count = digits_at(text + at + 1, bytes - at - 1);
        if (count == 0) {
            return 0;
        }
        at += 1 + count;
    }
    if (at < bytes && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        at += at < bytes && (text[at] == '+' || text[at] == '-');
        count = digits_at(text + at, bytes - at);
        if (count == 0) {
            return 0;
        }
        at += count;
    }
    return number_like(text + at, bytes - at) > 0 ? 0 : at;
}

static int64_t exponent_of(const char *text)
{
    const char *mark = strpbrk(text, "eE");
    int64_t value = 0;
    if (mark == NULL) {
        return 0;
    }
    bool negative = mark[1] == '-';
    for (mark += 1 + (mark[1] == '-' || mark[1] == '+'); is_digit(*mark); mark++) {
        value = value < 2 * EXPONENT_MAX ? value * 10 + (*mark - '0') : value;
    }
    return negative ? -value : value;
}

/* digits [strlen(text) + 1]. */
static void parse(const char *text, char *digits, dw__decimal *out)
{
    bool behind_point = false;
    int64_t point = exponent_of(text);
    uint32_t count = 0;
    for (const char *at = text; *at != '\0' && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            behind_point = true;
        } else if (is_digit(*at) && (count > 0 || *at != '0')) {
            digits[count++] = *at;
            point += !behind_point;
        } else if (is_digit(*at)) {
            point -= behind_point;
        }
    }
    while (count > 0 && digits[count - 1] == '0') {
        count--;
    }
    digits[count] = '\0';
    point = point > EXPONENT_MAX ? EXPONENT_MAX : point < -EXPONENT_MAX ? -EXPONENT_MAX : point;
    *out = (dw__decimal){.digits = digits,
                         .count = count,
                         .point = count > 0 ? (int32_t)point : 0,
                         .negative = count > 0 && text[0] == '-'};
}

static int compare_magnitudes(const dw__decimal *a, const dw__decimal *b)
{
    if (a->count == 0 || b->count == 0) {
        return (a->count > 0) - (b->count > 0);
    }
    if (a->point != b->point) {
        return a->point < b->point ? -1 : 1;
    }
    uint32_t shorter = a->count < b->count ? a->count : b->count;
    int order = memcmp(a->digits, b->digits, shorter);
    return order != 0 ? order : (a->count > b->count) - (a->count < b->count);
}

int dw__decimal_compare(const dw__decimal *a, const dw__decimal *b)
{
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }
    int order = compare_magnitudes(a, b);
    return a->negative ? -order : order;
}

bool dw__decimal_is_whole(const dw__decimal *value)
{
    return value->point >= 0 && (uint32_t)value->point >= value->count;
}

int dw__decimal_as_int(const dw__decimal *value)
{
    int64_t out = 0;
    for (int32_t i = 0; i < value->point && out <= INT32_MAX; i++) {
        out = out * 10 + ((uint32_t)i < value->count ? value->digits[i] - '0' : 0);
    }
    out = out > INT32_MAX ? INT32_MAX : out;
    return (int)(value->negative ? -out : out);
}

/* The place of a number in the table, made where it has none yet. */
static bool place_of(dw__numbers *numbers, const char *literal, size_t bytes, uint32_t *place)
{
    dw__number number = {.text = dw_alloc(bytes + 1, 1), .digits = dw_alloc(bytes + 1, 1)};
    char *key = dw_alloc(bytes + 24, 1);
    bool known = false;
    bool good = number.text != NULL && number.digits != NULL && key != NULL;
    if (good) {
        memcpy(number.text, literal, bytes);
        parse(number.text, number.digits, &number.value);
        int length = snprintf(key, bytes + 24, "%s%se%d", number.value.negative ? "-" : "",
                              number.digits, number.value.point);
        known = dw__index_find(&numbers->index, key, (size_t)length, place);
        if (!known) {
            *place = (uint32_t)numbers->count;
            good =
                DW_ARRAY_RESERVE(numbers->list, numbers->capacity, numbers->count + 1, INT32_MAX) &&
                dw__index_add(&numbers->index, key, (size_t)length, *place);
        }
    }
    if (good && !known) {
        numbers->list[numbers->count++] = number;
    } else {
        dw_free(number.text);
        dw_free(number.digits);
    }
    dw_free(key);
    return good;
}

bool dw__numbers_init(dw__numbers *numbers)
{
    uint32_t place;
    bool good = true;
    for (char digit = '0'; good && digit < '0' + SMALL_COUNT; digit++) {
        good = place_of(numbers, &digit, 1, &place);
    }
    return good;
}

void dw__numbers_release(dw__numbers *numbers)
{
    for (size_t i = 0; i < numbers->count; i++) {
        dw_free(numbers->list[i].text);
        dw_free(numbers->list[i].digits);
    }
    dw_free(numbers->list);
    dw__index_release(&numbers->index);
    *numbers = (dw__numbers){.list = NULL};
}

/* One step: bytes taken from `json` [bytes], what it becomes written to `out`. 0: no memory. */
static size_t replace_one(dw__numbers *numbers, const char *json, size_t bytes, bool *in_string,
                          char *out, size_t *written)
{
    size_t length = *in_string && json[0] == '\\' && bytes > 1 ? 2 : 1;
    if (!*in_string && (is_digit(json[0]) || json[0] == '-')) {
        uint32_t place;
        length = literal_bytes(json, bytes);
        if (length > 0) {
            *written = place_of(numbers, json, length, &place)
                           ? (size_t)snprintf(out, 12, "%u", place)
                           : 0;
            return *written > 0 ? length : 0;
        }
        length = number_like(json, bytes); /* as it is: the reader says what is wrong with it */
    } else {
        *in_string = *in_string != (json[0] == '"');
    }
    memcpy(out, json, length);
    *written = length;
    return length;
}

char *dw__numbers_replace(dw__numbers *numbers, const char *json, size_t bytes, size_t *out_bytes)
{
    /* Numbers of one character are at places of one, so that others at most grow by 5 times. */
    char *out = dw_alloc(8 * bytes + 16, 1);
    bool in_string = false;
    *out_bytes = 0;
    for (size_t i = 0; out != NULL && i < bytes;) {
        size_t written;
        size_t taken =
            replace_one(numbers, json + i, bytes - i, &in_string, out + *out_bytes, &written);
        if (taken == 0) {
            dw_free(out);
            return NULL;
        }
        i += taken;
        *out_bytes += written;
    }
    return out;
}

char *dw__numbers_restore(const dw__numbers *numbers, const char *json)
{
    size_t bytes = 1;
    for (int pass = 0;; pass++) { /* first the size */
        char *out = pass == 1 ? dw_alloc(bytes, 1) : NULL;
        char *to = out;
        bool in_string = false;
        if (pass == 1 && out == NULL) {
            return NULL;
        }
        for (size_t i = 0; json[i] != '\0';) {
            size_t taken = in_string && json[i] == '\\' ? 2 : 1;
            const char *from = json + i;
            size_t length = taken;
            if (!in_string && is_digit(json[i])) {
                char *end;
                unsigned long place = strtoul(json + i, &end, 10);
                DW_ASSERT(place < numbers->count);
                taken = (size_t)(end - (json + i));
                from = numbers->list[place].text;
                length = strlen(from);
            } else {
                in_string = in_string != (json[i] == '"');
            }
            if (pass == 1) {
                memcpy(to, from, length);
                to += length;
            }
            bytes += pass == 0 ? length : 0;
            i += taken;
        }
        if (pass == 1) {
            return out;
        }
    }
}

dw__decimal dw__numbers_get(const dw__numbers *numbers, const json_t *value)
{
    json_int_t place = json_integer_value(value);
    DW_ASSERT(json_is_integer(value) && place >= 0 && (size_t)place < numbers->count);
    return numbers->list[place].value;
}

json_t *dw__numbers_make(dw__numbers *numbers, const char *text)
{
    uint32_t place;
    return place_of(numbers, text, strlen(text), &place) ? json_integer(place) : NULL;
}
