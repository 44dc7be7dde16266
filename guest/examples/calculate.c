/* A tool for others: a sum of whole numbers and brackets with + - * /, on standard input, and its
 * value. `driftwood run --tool "calc=driftwood run calculate"` grants it to another guest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *at;
static int depth;

static long long sum(void);

static void fail(const char *what)
{
    fprintf(stderr, "calculate: %s at '%.20s'\n", what, at);
    exit(1);
}

static char next(void)
{
    at += strspn(at, " \n\t");
    return *at;
}

static long long factor(void)
{
    long long value = 0;
    if (next() == '-') {
        at++;
        if (++depth > 100) {
            fail("too deep");
        }
        value = -factor();
        depth--;
        return value;
    }
    if (next() == '(') {
        at++;
        if (++depth > 100) {
            fail("too deep");
        }
        value = sum();
        depth--;
        if (next() != ')') {
            fail("no )");
        }
        at++;
        return value;
    }
    if (next() < '0' || *at > '9') {
        fail("no number");
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *at - '0', &value)) {
            fail("too large");
        }
    }
    return value;
}

static long long product(void)
{
    long long value = factor();
    while (next() == '*' || *at == '/') {
        char what = *at++;
        long long other = factor();
        if (what == '/' && (other == 0 || other == -1)) {
            if (other == 0) {
                fail("divided by 0");
            }
            what = '*';
        }
        if (what == '*' ? __builtin_mul_overflow(value, other, &value) : 0) {
            fail("too large");
        }
        value = what == '/' ? value / other : value;
    }
    return value;
}

static long long sum(void)
{
    long long value = product();
    while (next() == '+' || *at == '-') {
        char what = *at++;
        long long other = product();
        if (what == '+' ? __builtin_add_overflow(value, other, &value)
                        : __builtin_sub_overflow(value, other, &value)) {
            fail("too large");
        }
    }
    return value;
}

int main(void)
{
    static char text[4096];
    text[fread(text, 1, sizeof text - 1, stdin)] = '\0';
    at = text;
    long long value = sum();
    if (next() != '\0') {
        fail("more than a sum");
    }
    printf("%lld\n", value);
    return 0;
}
