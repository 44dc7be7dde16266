/* Chat templates executed: what constructs write (as Jinja2 does, with which each was checked
 * once), which text stays marked as content, what ends a template that goes on too long, and what
 * errors say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "chat/chat_guard.h"
#include "support.h"

#define MESSAGES                                                                                   \
    "\"messages\": [{\"role\": \"system\", \"content\": \"Be <b>terse</b>.\"}, {\"role\": "        \
    "\"user\", \"content\": \" Gr\\u00fc\\u00dfe, W\\u00e4lt\\u3000\"}]"

static dw_status render(const char *source, const char *request, dw_chat_text *out, dw_error *err)
{
    dw_jinja *jinja;
    *out = (dw_chat_text){0};
    dw_status status = dw_jinja_open(&jinja, source, strlen(source), "<s>", "</s>", err);
    if (status == DW_OK) {
        dw_chat_request all = {.json = request, .bytes = strlen(request)};
        status = dw_jinja_render(jinja, all, "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}",
                                 1770685261, out, err);
    }
    dw_jinja_close(jinja);
    return status;
}

static const struct {
    const char *source;
    const char *text;
} cases[] = {
    /* white space, raw text, comments */
    {"  {% if true %}\n a\n  {%- endif -%}\n b\n", " ab"},
    {"{% raw %}{{ x }}{% endraw %}{# {% if %} #}|", "{{ x }}|"},
    {"a\r\n{%+ if true %}b{% endif +%}\nc", "a\nb\nc"},
    /* numbers */
    {"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 7 / 2 }} {{ 1e16 }} {{ 0.1 + 0.2 }}",
     "3 -4 2 1024 3.5 1e+16 0.30000000000000004"},
    {"{{ 9007199254740993 + 1 }} {{ 0x1f }} {{ 1_000 }} {{ true + 1 }} {{ 1.0 }}",
     "9007199254740994 31 1000 2 1.0"},
    /* how values are written */
    {"{{ [1, 'a', none, true, 1.5, (1,), {'k': \"it's\"}] }}",
     "[1, 'a', None, True, 1.5, (1,), {'k': \"it's\"}]"},
    {"{{ none }}|{{ nowhere }}|{{ ['\\n\\x7f\\u3000'] }}", "None||['\\n\\x7f\\u3000']"},
    {"{{ {'b': [1, 2.0], 'a': '\\u00e9\"<'} | tojson }} {{ {'b': 1, 'a': []} | tojson(indent=1, "
     "sort_keys=true) }}",
     "{\"b\": [1, 2.0], \"a\": \"\xc3\xa9\\\"<\"} {\n \"a\": [],\n \"b\": 1\n}"},
    {"{{ 'x\xc3\xa9' | tojson(ensure_ascii=true) }}", "\"x\\u00e9\""},
    /* comparison, membership */
    {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ true == 1 }} {{ [1] in [[1]] }} {{ nowhere in [1] }}",
     "True False True True False"},
    {"{{ not 1 == 2 }} {{ 'a' if false else 'b' }} {{ 0 or 'x' }} {{ 'a' 'b' ~ 1 ~ none }}",
     "True b x ab1None"},
    /* characters, not bytes */
    {"{{ messages[1].content[3] }}{{ messages[1].content | length }}[{{ "
     "messages[1].content.strip() "
     "}}][{{ messages[1].content[::-1] | trim }}]",
     "\xc3\xbc"
     "13[Gr\xc3\xbc\xc3\x9f"
     "e, W\xc3\xa4lt][tl\xc3\xa4W ,e\xc3\x9f\xc3\xbcrG]"},
    {"{{ '\xc3\x9f\xc3\xa4'.upper() }} {{ \"o'neil-smith (x)\" | title }} {{ 'a b'.title() }}",
     "SS\xc3\x84 O'neil-Smith (X) A B"},
    {"{{ 'abcd'[1:3] }} {{ [1, 2, 3][none:2] }} {{ [1, 2, 3][::-2] }} {{ 'ab'[5:2] }}|",
     "bc [1, 2] [3, 1] |"},
    /* methods */
    {"{{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ "
     "'a=b=c'.partition('=') }}",
     "['a', 'b'] ['a', 'b,c'] ['a,b', 'c'] ('a', '=', 'b=c')"},
    {"{{ 'aaa'.replace('a', 'b', 2) }} {{ 'ab'.find('b') }} {{ 'ab'.startswith(('x', 'a')) }} {{ "
     "', '.join(['x', 'y']) }} {{ 'abc'.removeprefix('ab') }}",
     "bba 1 True x, y c"},
    {"{{ '%s=%05.1f%%' % ('a', 2.25) }} {{ '{:>4}|{0[k]}'.format('x') if false else "
     "'{:>4}|{:,}'.format('x', 1234567) }}",
     "a=002.2%    x|1,234,567"},
    {"{{ {'a': 1}.items() }} {{ {'a': 1}.get('b', 2) }} {{ {'items': 1}['items'] }}",
     "dict_items([('a', 1)]) 2 1"},
    {"{{ dict.from_keys([('a', 1)]) }} {{ dict(a=2) }}", "{'a': 1} {'a': 2}"},
    /* filters */
    {"{{ ['b', 'A'] | sort }} {{ {'b': 1, 'A': 2} | dictsort }} {{ [1, 2, 3] | select('odd') | "
     "list "
     "}} {{ [{'a': 1}, {}] | map(attribute='a', default=0) | list }}",
     "['A', 'b'] [('A', 2), ('b', 1)] [1, 3] [1, 0]"},
    {"{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='role') | join('+') }} "
     "{{ "
     "nowhere | default('d') }} {{ none | default('d') }}",
     "user d None"},
    {"{{ 'a\\nb' | indent(2) }} {{ '<' | e }} {{ 'x' | safe + '<' }} {{ '2.5' | float | round }}",
     "a\n  b &lt; x&lt; 2.0"},
    /* statements */
    {"{% set a = 1 %}{% for x in [1, 2] %}{{ a }}{% set a = 9 %}{{ a }}{% endfor %}{{ a }}",
     "19191"},
    {"{% for x in [3, 4] if x > 3 %}{{ loop.index }}{{ loop.last }}{{ x }}{% else %}no{% endfor %}",
     "1True4"},
    {"{% for x in [1, 2] %}{% if x == 2 %}!{% break %}{% endif %}{{ x }}{% endfor %}", "1!"},
    {"{% for c in 'h\xc3\xa9' %}[{{ c }}]{% endfor %}{% for k, v in {'a': 1}.items() %}{{ k }}{{ v "
     "}}"
     "{% endfor %}",
     "[h][\xc3\xa9]a1"},
    {"{% for x in [1, [2, [3]]] recursive %}{{ x if x is number else loop(x) }}{% endfor %}",
     "123"},
    {"{% set ns = namespace(n=0) %}{% for x in [1, 2] %}{% set ns.n = ns.n + x %}{% endfor %}{{ "
     "ns.n "
     "}}",
     "3"},
    {"{% macro m(a, b=a, c='') %}<{{ a }}{{ b }}{{ c }}>{% endmacro %}{{ m(1) }}{{ m(1, c=2) }}{{ "
     "m() "
     "}}",
     "<11><112><>"},
    {"{% macro m() %}({{ caller(1) }}){% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}", "(1)"},
    {"{% set b | upper %}q{{ 1 }}{% endset %}{{ b }}{% filter upper %}z{% endfilter %}", "Q1Z"},
    {"a{% generation %}b{% endgeneration %}{% with x = 1 %}{{ x }}{% endwith %}{{ x }}", "ab1"},
    /* what Hugging Face's library passes */
    {"{{ tools is none }}{{ documents is none }}{{ enable_thinking is defined }}{{ bos_token }}",
     "TrueTrueFalse<s>"},
    {"{{ strftime_now('%Y-%-d') }}", "2026-10"},
};

static void writes_what_jinja2_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dw_chat_text out;
        dw_error err = {0};
        dw_status status = render(cases[i].source, "{" MESSAGES "}", &out, &err);
        if (status != DW_OK || strcmp(out.text, cases[i].text) != 0) {
            fail_msg("%s: %s, expected %s", cases[i].source,
                     status == DW_OK ? out.text : err.message, cases[i].text);
        }
        dw_chat_text_release(&out);
    }
}

/* ---- marks ---------------------------------------------------------------------------------- */

/* What of the text is marked as content, with | between what does not touch. */
static void marked_text(const dw_chat_text *out, char *marked, size_t room)
{
    size_t at = 0;
    marked[0] = '\0';
    for (size_t i = 0; i < out->piece_count; i++) {
        if (out->pieces[i].is_content) {
            size_t used = strlen(marked);
            (void)snprintf(marked + used, room - used, "%s%.*s", used > 0 ? "|" : "",
                           (int)out->pieces[i].bytes, out->text + at);
        }
        at += out->pieces[i].bytes;
    }
    assert_int_equal(at, out->bytes);
}

static const struct {
    const char *source;
    const char *marked; /* of "qz, ab" */
} mark_cases[] = {
    {"<|a|>{{ c }}<|b|>", "qz, ab"},
    {"{{ '<' + c + '>' }}", "qz, ab"},
    {"{{ '<' ~ c ~ '>' }}", "qz, ab"},
    {"{{ c | upper }}{{ c.title() }}", "QZ, ABQz, Ab"},
    {"{{ c.split(', ')[0] }}-{{ c.split(', ') | join('-') }}", "qz|qz|ab"},
    {"{{ c.split(', ') }}", "['qz', 'ab']"},
    {"{{ c[1:4] }}<{{ c[0] }}>{{ c[::-1] }}", "z, |q|ba ,zq"},
    {"{{ c | replace('q', '<|x|>') }}", "z, ab"},
    {"{{ '<|x|>' | replace('x', c) }}", "qz, ab"},
    {"{{ '<|%s|>' % c }}{{ '<|{}|>'.format(c) }}{{ '<%s>' | format(c) }}", "qz, ab|qz, ab|qz, ab"},
    {"<{{ c | tojson }}>{{ {'k': c} | string }}", "\"qz, ab\"|{'k': 'qz, ab'}"},
    {"{% for x in c %}{{ x }}{% endfor %}", "qz, ab"},
    {"{% set t %}<{{ c }}>{% endset %}{{ t | trim }}{{ t.strip('<') }}", "qz, ab|qz, ab"},
    {"{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(c) | upper }}", "QZ, AB"},
    {"{{ c | indent(1, true) }}{{ c | center(8) }}|{{ c.ljust(8) }}", "qz, ab|qz, ab|qz, ab"},
    {"{{ [c, 'x'] | sort | first }}{{ {c: 1} | dictsort | first | first }}", "qz, abqz, ab"},
    {"{{ c | e }}<{{ c | safe }}>{{ c | truncate(3, true, '<|', 0) }}", "qz, ab|qz, ab|q"},
    {"{{ c.partition(',')[2] }}{{ c.splitlines()[0] }}{{ c * 2 }}", " abqz, abqz, abqz, ab"},
    {"{{ c | urlencode }}<{{ messages[0].keys() | list | last }}>", "qz%2C%20ab|content"},
    {"<|{{ messages[0].role }}|>{{ bos_token }}", ""},
    {"{{ [c] | map('upper') | join }}{{ c | list | reverse | join }}", "QZ, ABba ,zq"},
};

static void keeps_marks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mark_cases / sizeof *mark_cases; i++) {
        char source[512], marked[512];
        dw_chat_text out;
        dw_error err = {0};
        (void)snprintf(source, sizeof source, "{%% set c = messages[0].content %%}%s",
                       mark_cases[i].source);
        dw_status status = render(
            source, "{\"messages\": [{\"role\": \"user\", \"content\": \"qz, ab\"}]}", &out, &err);
        if (status != DW_OK) {
            fail_msg("%s: %s", source, err.message);
        }
        marked_text(&out, marked, sizeof marked);
        if (strcmp(marked, mark_cases[i].marked) != 0) {
            fail_msg("%s: %s, expected %s", source, marked, mark_cases[i].marked);
        }
        dw_chat_text_release(&out);
    }
}

/* ---- bounds --------------------------------------------------------------------------------- */

static const char *const endless[] = {
    /* doubling text, lists, sharing */
    "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor "
    "%}",
    "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor "
    "%}",
    "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor "
    "%}{{ ns.s }}",
    "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor "
    "%}{{ ns.s | tojson }}",
    /* depth of values, of calls, of what holds itself */
    "{% set ns = namespace(s=[]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
    /* loops in loops */
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    /* functions that make much of little */
    "{{ 'x' * 99999999999 }}",
    "{{ [1] * 99999999999 }}",
    "{{ 'x'.ljust(99999999999) }}",
    "{{ 'x' | center(99999999999) }}",
    "{{ 'x' | indent(99999999999, true) }}",
    "{{ ('x' * 9999999).replace('x', 'y' * 9999) }}",
    "{{ ('x,' * 9999).split(',') | join('y' * 99999) }}",
    "{{ [1] | batch(99999999999, 1) | list }}",
    "{{ [1] | slice(99999999999) | list }}",
    "{{ 'x'.zfill(99999999999) }}",
    "{% for c in 'x' * 60000000 %}{% endfor %}",
};

static void ends_what_goes_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        dw_chat_text out;
        dw_error err = {0};
        dw_status status = render(endless[i], "{" MESSAGES "}", &out, &err);
        if (status != DW_E_LIMIT) {
            fail_msg("%s: %d %s", endless[i], (int)status, err.message);
        }
        dw_chat_text_release(&out);
    }
}

static dw_status open_repeated(const char *begin, const char *middle, size_t count, dw_error *err)
{
    size_t length = strlen(middle), first = strlen(begin);
    char *source = malloc(first + length * count);
    assert_non_null(source);
    memcpy(source, begin, first);
    for (size_t i = 0; i < count; i++) {
        memcpy(source + first + i * length, middle, length);
    }
    dw_jinja *jinja;
    dw_status status = dw_jinja_open(&jinja, source, first + length * count, "", "", err);
    dw_jinja_close(jinja);
    free(source);
    return status;
}

static void refuses_deep_sources(void **state)
{
    (void)state;
    static const char *const middles[] = {"(", "[", "{1:", "not ", "-", "a(", "a[", "1+", "a.b|c "};
    dw_error err;
    for (size_t i = 0; i < sizeof middles / sizeof *middles; i++) {
        assert_int_not_equal(open_repeated("{{", middles[i], 100000, &err), DW_OK);
        assert_non_null(strstr(err.message, "line 1, column "));
    }
    assert_int_equal(open_repeated("", "{% if 1 %}", 100000, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "levels within each other"));
    assert_int_equal(open_repeated("", "{% for a in b %}", 60000, &err), DW_E_FORMAT);
}

/* ---- errors --------------------------------------------------------------------------------- */

static const struct {
    const char *source;
    dw_status status;
    const char *message;
} error_cases[] = {
    {"a\n{{ raise_exception('No: \"x\"\\nError: y') }}", DW_E_ARG,
     "line 2, column 19: No: \"x\" Error: y"},
    {"{{ nowhere.x }}", DW_E_ARG, "line 1, column 12: 'nowhere' is undefined"},
    {"{{ messages[0].q.r }}", DW_E_ARG, "line 1, column 18: 'dict object' has no attribute 'q'"},
    {"\n  {{ 'a' + none }}", DW_E_ARG,
     "line 2, column 10: can only concatenate str (not \"NoneType\") to str"},
    {"{{ 1 // 0 }}", DW_E_ARG, "line 1, column 6: integer division or modulo by zero"},
    {"{{ messages.append(1) }}", DW_E_ARG,
     "line 1, column 13: access to attribute 'append' of 'list' object is unsafe."},
    {"{{ [1] | map('upper') | tojson }}", DW_E_ARG,
     "line 1, column 25: Object of type generator is not JSON serializable"},
    {"{% for a, b in [(1, 2, 3)] %}{% endfor %}", DW_E_ARG,
     "line 1, column 8: too many values to unpack (expected 2)"},
    {"{{ 9223372036854775807 + 1 }}", DW_E_ARG,
     "line 1, column 24: the result of + is beyond 64 bits"},
    {"x\n{% if true %}y", DW_E_FORMAT,
     "line 2, column 14: Unexpected end of template. The innermost block that needs to be closed "
     "is "
     "'if'"},
    {"{{ 1 + }}", DW_E_FORMAT, "line 1, column 8: unexpected 'end of print statement'"},
    {"\xc3\xa4{{ 'x' | nofilter }}", DW_E_FORMAT, "line 1, column 11: No filter named 'nofilter'."},
    {"{% nope %}", DW_E_FORMAT, "line 1, column 4: Encountered unknown tag 'nope'."},
    {"{# x", DW_E_FORMAT, "line 1, column 1: Missing end of comment tag"},
};

static void errors_say_where(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof error_cases / sizeof *error_cases; i++) {
        dw_chat_text out;
        dw_error err = {0};
        dw_status status = render(error_cases[i].source, "{" MESSAGES "}", &out, &err);
        if (status != error_cases[i].status || strcmp(err.message, error_cases[i].message) != 0) {
            fail_msg("%s: %d %s, expected %s", error_cases[i].source, (int)status, err.message,
                     error_cases[i].message);
        }
        dw_chat_text_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_say_where),  cmocka_unit_test(writes_what_jinja2_does),
        cmocka_unit_test(keeps_marks),       cmocka_unit_test(refuses_deep_sources),
        cmocka_unit_test(ends_what_goes_on),
    };
    (void)setenv("TZ", "UTC", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
