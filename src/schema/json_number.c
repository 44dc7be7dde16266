/* Numbers between two bounds, digit by digit. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "schema/json_grammar_internal.h"

#define MAGNITUDE_MAX 999999999999999LL /* what a double holds to the unit, and more than enough */
#define FRACTION_MAGNITUDE_MAX 1e9      /* above, a double rounds six places to the next whole */
#define DIGITS_MAX 24

static void any_digits(dw__gbnf *to, size_t count)
{
    if (count > 0) {
        dw__gbnf_add(to, " [0-9]{%zu}", count);
    }
}

/* Numbers from `low` to `high`, both of `count` digits, leading zeros allowed. */
static void same_length(dw__gbnf *to, const char *low, const char *high, size_t count)
{
    char edge[DIGITS_MAX];
    while (count > 0 && low[0] == high[0]) {
        dw__gbnf_add(to, " \"%c\"", low[0]);
        low++;
        high++;
        count--;
    }
    if (count == 0) {
        return;
    }
    bool low_open = strspn(low + 1, "0") == count - 1;
    bool high_open = strspn(high + 1, "9") == count - 1;
    char first = low_open ? low[0] : (char)(low[0] + 1);
    char last = high_open ? high[0] : (char)(high[0] - 1);
    const char *bar = "";
    dw__gbnf_add(to, " (");
    if (!low_open) {
        memset(edge, '9', count - 1);
        edge[count - 1] = '\0';
        dw__gbnf_add(to, " \"%c\"", low[0]);
        same_length(to, low + 1, edge, count - 1);
        bar = " |";
    }
    if (first <= last) {
        dw__gbnf_add(to, "%s [%c-%c]", bar, first, last);
        any_digits(to, count - 1);
        bar = " |";
    }
    if (!high_open) {
        memset(edge, '0', count - 1);
        edge[count - 1] = '\0';
        dw__gbnf_add(to, "%s \"%c\"", bar, high[0]);
        same_length(to, edge, high + 1, count - 1);
    }
    dw__gbnf_add(to, " )");
}

/* Alternatives for the whole numbers from low to high, 0 <= low; nothing where there are none.
 * `bar` is put before the first. */
static bool magnitudes(dw__gbnf *to, const char *bar, const char *sign, int64_t low, int64_t high,
                       const char *tail)
{
    bool any = false;
    while (low <= high) {
        char from[DIGITS_MAX];
        char until[DIGITS_MAX];
        int64_t end = 9; /* the largest of as many digits as `low` */
        while (end < low) {
            end = end * 10 + 9;
        }
        end = end < high ? end : high;
        (void)snprintf(from, sizeof from, "%lld", (long long)low);
        (void)snprintf(until, sizeof until, "%lld", (long long)end);
        dw__gbnf_add(to, "%s%s", any ? " |" : bar, sign);
        same_length(to, from, until, strlen(from));
        dw__gbnf_add(to, "%s", tail);
        any = true;
        low = end + 1;
    }
    return any;
}

static int64_t clamped(double value)
{
    return value >= (double)MAGNITUDE_MAX    ? MAGNITUDE_MAX
           : value <= -(double)MAGNITUDE_MAX ? -MAGNITUDE_MAX
                                             : (int64_t)value;
}

dw_status dw__number_grammar(dw__gbnf *to, const dw__bounds *bounds, dw_error *err)
{
    static const char fraction[] = " \".\" [0-9]{0,5} [1-9]";
    double floor_max = floor(bounds->max);
    double ceil_min = ceil(bounds->min);
    if (bounds->min > (double)MAGNITUDE_MAX || bounds->max < -(double)MAGNITUDE_MAX) {
        return dw_fail(err, DW_E_UNSUPPORTED, "numbers beyond 10^15 are not supported");
    }
    int64_t low = clamped(ceil_min) + (bounds->min_excluded && ceil_min == bounds->min);
    int64_t high = clamped(floor_max) - (bounds->max_excluded && floor_max == bounds->max);
    int64_t positive = low > 0 ? low : 0;
    int64_t negative = high < 0 ? -high : 1;
    bool any = magnitudes(to, "", "", positive, high, "");
    any = magnitudes(to, any ? " |" : "", " \"-\"", negative, -low, "") || any;
    if (!bounds->whole) {
        /* n.f lies between n and n + 1, and is neither: both must lie within the bounds. */
        double most = fmin(bounds->max, FRACTION_MAGNITUDE_MAX);
        double least = fmax(bounds->min, -FRACTION_MAGNITUDE_MAX);
        int64_t from = clamped(fmax(ceil(least), 0.0));
        int64_t until = clamped(floor(most)) - 1;
        any = magnitudes(to, any ? " |" : "", "", from, until, fraction) || any;
        from = clamped(fmax(ceil(-most), 0.0));
        until = clamped(floor(-least)) - 1;
        any = magnitudes(to, any ? " |" : "", " \"-\"", from, until, fraction) || any;
    }
    if (!any) {
        return dw_fail(err, DW_E_UNSUPPORTED, "no number from %g to %g that could be written",
                       bounds->min, bounds->max);
    }
    return DW_OK;
}
