/* JSON Schema as a grammar: what it takes and what not, schema by schema, and what is refused.
 * `test_json_grammar --generate SCHEMA SEED` writes a text by chance, for check_json_schema.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/stop.h"
#include "grammar_fixture.h"
#include "support.h"
#include "schema/json_grammar.h"

static char *grammar_of(const char *schema)
{
    char *grammar;
    dw_error err;
    if (dw_json_grammar_make(&grammar, schema, strlen(schema), &err) != DW_OK) {
        fail_msg("%s: %s", schema, err.message);
    }
    return grammar;
}

static const struct {
    const char *schema;
    const char *yes[6];
    const char *no[6];
} follow_cases[] = {
    {"true", {"null", "[1, {\"a\": \"b\"}]", "-0.5e+3"}, {"01", "nul1", "'a'"}},
    {"{}", {"{}", "[]", "\"\\u00e9\\n\""}, {"\"\\ud800\"", "\"\\u0000\"", "\"\n\""}},
    {"{\"type\":\"integer\",\"minimum\":-7,\"maximum\":120}",
     {"-7", "0", "99", "120", "-1", "9"},
     {"-8", "121", "-0", "007", "1.0", "200"}},
    {"{\"type\":\"integer\",\"exclusiveMinimum\":9,\"exclusiveMaximum\":1000}",
     {"10", "999", "347"},
     {"9", "1000", "-1"}},
    {"{\"type\":\"integer\",\"minimum\":25}", {"25", "30", "100", "999999999999999"}, {"24", "3."}},
    {"{\"type\":\"integer\",\"maximum\":-3}", {"-3", "-10"}, {"-2", "0"}},
    {"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
     {"0", "1", "0.5", "0.999999"},
     {"1.5", "-0.1", "2", "1.000001"}},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":2.5}",
     {"0.01", "2", "1.9"},
     {"0.0", "3", "2.7"}},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
     {"\"ab\"", "\"\xc3\xa9\xc3\xa9z\"", "\"a\\n\""},
     {"\"a\"", "\"abcd\""}},
    {"{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-\\\\d+$\"}",
     {"\"AB-12\""},
     {"\"Ab-1\"", "\"AB-\""}},
    {"{\"pattern\":\"cat|dog\"}", {"\"a cat\"", "\"dogs\""}, {"\"bird\""}},
    {"{\"pattern\":\"^(?:a\\\\.b|\\\"q\\\"|\\\\\\\\)$\"}",
     {"\"a.b\"", "\"\\\"q\\\"\"", "\"\\\\\""},
     {"\"axb\""}},
    {"{\"pattern\":\"^[^\\\\w\\\\s]+$\"}", {"\"!?\"", "\"\\\"\""}, {"\"a\"", "\" \""}},
    {"{\"format\":\"date\"}",
     {"\"2026-02-28\"", "\"2026-12-31\""},
     {"\"2026-13-01\"", "\"2026-02-30\""}},
    {"{\"format\":\"ipv4\"}", {"\"192.168.0.255\""}, {"\"256.\"", "\"01.\""}},
    {"{\"enum\":[\"red\",2,null,0.1]}", {"\"red\"", "2", "null", "0.1"}, {"\"blue\"", "3"}},
    {"{\"const\":{\"a\":[1]}}", {"{\"a\":[1]}"}, {"{\"a\":[2"}},
    {"{\"type\":[\"string\",\"null\"]}", {"null", "\"x\""}, {"1", "true"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":1,\"maxItems\":2}",
     {"[true]", "[ true, false]"},
     {"[]", "[true,true,", "[1"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"const\":2}]}",
     {"[1,2]"},
     {"[2", "[1]", "[1,2,"}},
    {"{\"items\":[{\"const\":1}],\"additionalItems\":{\"const\":3}}",
     {"[1]", "[1,3, 3]"},
     {"[3", "[1,1"}},
    {"{\"type\":\"array\",\"items\":false}", {"[]"}, {"[1"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{},\"c\":"
     "{\"type\":\"null\"}},\"required\":[\"b\"]}",
     {"{\"a\":1,\"b\":2,\"c\":null}", "{\"b\":\"\"}", "{ \"a\": 1, \"b\": []}"},
     {"{}", "{\"a\":1}", "{\"b\":1,\"a\"", "{\"c\"", "{\"x\"", "{\"b\":1,}"}},
    {"{\"properties\":{\"ab\":{\"type\":\"integer\"}},\"additionalProperties\":{\"type\":"
     "\"string\"}}",
     {"{\"ab\":1}", "{\"a\":\"x\"}", "{\"abc\":\"\"}", "{\"ab\":1,\"q\":\"\"}", "{}",
      "{\"\":\"\"}"},
     {"{\"ab\":\"", "{\"a\":1", "{\"q\":\"\",\"ab\""}},
    {"{\"type\":\"object\",\"required\":[\"z\"]}", {"{\"z\":1}"}, {"{}"}},
    {"{\"type\":\"object\",\"additionalProperties\":false}", {"{}"}, {"{\"a\""}},
    {"{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#/$defs/n\"}}"
     ",\"additionalProperties\":false}},\"$ref\":\"#/$defs/n\"}",
     {"{}", "{\"next\":{\"next\":{}}}"},
     {"{\"next\":1"}},
    {"{\"anyOf\":[{\"type\":\"integer\"},{\"$ref\":\"#/definitions/s\"}],\"definitions\":"
     "{\"s\":{\"enum\":[\"x\"]}}}",
     {"5", "\"x\""},
     {"\"y"}},
    {"{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":1}},\"required\":["
     "\"k\"]},"
     "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":2},\"v\":{}},\"required\":[\"k\"]}]"
     "}",
     {"{\"k\":1}", "{\"k\":2,\"v\":0}"},
     {"{\"k\":3", "{\"k\":1,"}},
    {"{\"allOf\":[{\"type\":\"integer\",\"minimum\":3},{\"maximum\":5}]}", {"3", "5"}, {"2", "6"}},
    {"{\"allOf\":[{\"$ref\":\"#/$defs/a\"},{\"properties\":{\"y\":{\"const\":2}},\"required\":"
     "[\"y\"]}],\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"x\":{\"const\":1}},"
     "\"required\":[\"x\"]}}}",
     {"{\"x\":1,\"y\":2}"},
     {"{\"x\":1}", "{\"y\""}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"anyOf\":[{"
     "\"required\":"
     "[\"a\"]}]}",
     {"{\"a\":1}"},
     {"{}"}},
    {"{\"properties\":{\"a/b\":{\"const\":1},\"q\":{\"$ref\":\"#/properties/a~1b\"}}}",
     {"{\"q\":1}"},
     {"{\"q\":2"}},
    {"{\"anyOf\":[false,{\"const\":1}]}", {"1"}, {"2"}},
    /* numbers */
    {"{\"type\":\"number\",\"minimum\":0,\"maximum\":0.5}",
     {"0", "0.5", "0.25", "0.4999", "0.50", "0.123456789"},
     {"0.51", "1", "-0", "-0.1", "0.500001", "0."}},
    {"{\"type\":\"number\",\"minimum\":0.25,\"maximum\":0.75}",
     {"0.25", "0.75", "0.3", "0.2500"},
     {"0", "0.2", "0.24999", "0.7501", "1"}},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0.25,\"exclusiveMaximum\":0.26}",
     {"0.251", "0.2500001"},
     {"0.25", "0.26", "0.250", "0.2600001"}},
    {"{\"type\":\"number\",\"minimum\":-2.5e-2,\"maximum\":1e3}",
     {"-0.025", "1000", "999.99", "0", "-0.01", "1000.0"},
     {"-0.026", "1000.1", "1001", "-0.0251", "-0"}},
    {"{\"minimum\":1,\"exclusiveMinimum\":true,\"maximum\":2,\"exclusiveMaximum\":false,"
     "\"type\":\"integer\"}",
     {"2"},
     {"1", "3"}},
    {"{\"type\":\"integer\",\"minimum\":0,\"maximum\":18446744073709551615}",
     {"18446744073709551615", "18446744073709551614", "0", "9223372036854775808"},
     {"18446744073709551616", "20000000000000000000", "100000000000000000000", "-1"}},
    {"{\"type\":\"integer\",\"minimum\":9007199254740993,\"maximum\":9007199254740995}",
     {"9007199254740993", "9007199254740994", "9007199254740995"},
     {"9007199254740992", "9007199254740996", "9"}},
    {"{\"type\":\"integer\",\"minimum\":1.5,\"maximum\":3.5}", {"2", "3"}, {"1", "4", "1.5"}},
    {"{\"type\":\"number\",\"minimum\":1e20}",
     {"100000000000000000000", "100000000000000000001"},
     {"99999999999999999999", "1"}},
    {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":-20,\"maximum\":30}",
     {"0", "7", "28", "-7", "-14", "14"},
     {"1", "35", "-21", "10", "-0", "27"}},
    {"{\"type\":\"number\",\"multipleOf\":0.25,\"minimum\":0.5,\"maximum\":100}",
     {"0.5", "0.75", "100", "99.25", "1.50", "2"},
     {"0.25", "0.6", "100.25", "1.1", "0.875"}},
    {"{\"type\":\"integer\",\"multipleOf\":100,\"exclusiveMinimum\":0,\"maximum\":1200}",
     {"100", "1200", "900"},
     {"0", "1300", "150", "00"}},
    {"{\"type\":\"integer\",\"not\":{\"enum\":[5,-1]},\"minimum\":-2,\"maximum\":6}",
     {"4", "6", "0", "-2"},
     {"5", "-1", "7"}},
    /* formats, and patterns beside other bounds */
    {"{\"type\":\"string\",\"format\":\"uri\"}", {"\"x:y\""}, {"1"}},
    {"{\"format\":\"hostname\",\"minLength\":2,\"maxLength\":3}",
     {"\"ab\""},
     {"\"a\"", "\"abcd\""}},
    {"{\"format\":\"byte\",\"pattern\":\"^a\"}", {"\"ab\""}, {"\"b\""}},
    {"{\"format\":\"date\",\"minLength\":1}",
     {"\"2024-02-29\"", "\"2000-02-29\""},
     {"\"2023-02-29\"", "\"1900-02-29\"", "\"x\""}},
    {"{\"format\":\"date\",\"maxLength\":3}", {"\"abc\""}, {"\"2024-02-29\""}},
    {"{\"format\":\"ipv6\"}",
     {"\"::1\"", "\"fe80::1:2\"", "\"1:2:3:4:5:6:7:8\""},
     {"\"1::2::3\"", "\"12345::\"", "\"1:2\""}},
    {"{\"format\":\"duration\"}",
     {"\"P1Y2M\"", "\"PT5M\"", "\"P3W\""},
     {"\"P\"", "\"P1YT\"", "\"PT\""}},
    {"{\"pattern\":\"^[a-z]+$\",\"minLength\":2,\"maxLength\":4}",
     {"\"ab\"", "\"abcd\""},
     {"\"a\"", "\"abcde\"", "\"a1\""}},
    {"{\"pattern\":\"^a(b|cd)*$\",\"minLength\":3,\"maxLength\":4}",
     {"\"abb\"", "\"acd\"", "\"acdb\"", "\"abbb\""},
     {"\"ab\"", "\"abbbb\"", "\"acdcd\""}},
    {"{\"pattern\":\"a\",\"maxLength\":2}", {"\"ba\"", "\"a\""}, {"\"b\"", "\"bba\""}},
    {"{\"allOf\":[{\"pattern\":\"^a\"},{\"pattern\":\"b$\"},{\"type\":\"string\"}]}",
     {"\"ab\"", "\"acb\""},
     {"\"a\"", "\"b\""}},
    {"{\"pattern\":\"^a|b$\"}", {"\"ax\"", "\"xb\""}, {"\"xa\"", "\"bx\""}},
    {"{\"pattern\":\"^(?!aws:)[a-z:]+$\"}", {"\"aw:s\"", "\"aws\""}, {"\"aws:\"", "\"aws:x\""}},
    {"{\"pattern\":\"^(?=.{2,3}$)x*y$\"}", {"\"xy\"", "\"xxy\""}, {"\"y\"", "\"xxxy\""}},
    {"{\"pattern\":\"^\\\\p{L}\\\\P{N}$\"}", {"\"ab\""}, {"\"a1\"", "\"1a\""}},
    {"{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"b\\\"\"]}}",
     {"\"c\"", "\"aa\"", "\"\""},
     {"\"a\"", "\"b\\\"\""}},
    {"{\"type\":\"string\",\"not\":{\"pattern\":\"^x\"}}", {"\"y\"", "\"\""}, {"\"x\"", "\"xy\""}},
    {"{\"enum\":[\"a\",\"bcd\",5,12.5,null],\"type\":[\"string\",\"number\"],\"minLength\":2,"
     "\"maximum\":6}",
     {"\"bcd\"", "5"},
     {"\"a\"", "12.5", "null"}},
    {"{\"enum\":[18446744073709551617,1e400,0.1]}",
     {"18446744073709551617", "1e400", "0.1"},
     {"18446744073709551616", "0.10"}},
    /* arrays */
    {"{\"items\":{\"type\":\"integer\"},\"allOf\":[{\"prefixItems\":[{\"maximum\":5},{\"minimum\":"
     "7}]}]}",
     {"[5,7]", "[1,8,6]"},
     {"[6", "[1,6", "[1,8,\"", "[1.5"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"}],\"allOf\":[{\"items\":{"
     "\"minimum\":3}}]}",
     {"[3]"},
     {"[2", "[3,"}},
    {"{\"type\":\"array\",\"contains\":{\"const\":1},\"items\":{\"type\":\"integer\"},\"maxItems\":"
     "2}",
     {"[1]", "[1,2]"},
     {"[2", "[]", "[1,2,3"}},
    {"{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"enum\":[\"a\",\"b\",\"c\"]},"
     "\"minItems\":1}",
     {"[\"a\",\"c\"]", "[\"b\"]", "[\"a\",\"b\",\"c\"]"},
     {"[]", "[\"a\",\"a\"]", "[\"b\",\"b"}},
    {"{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"string\"}}",
     {"[]", "[\"x\"]"},
     {"[\"x\","}},
    /* objects */
    {"{\"type\":\"object\",\"patternProperties\":{\"^x-\":{\"type\":\"integer\"},\"^y\":false},"
     "\"additionalProperties\":{\"type\":\"null\"}}",
     {"{\"x-a\":1,\"b\":null}", "{}", "{\"x\":null}"},
     {"{\"x-a\":null", "{\"y\"", "{\"ya\"", "{\"b\":1"}},
    {"{\"properties\":{\"x-a\":{\"minimum\":3}},\"patternProperties\":{\"^x-\":{\"type\":"
     "\"integer\"}},"
     "\"additionalProperties\":false}",
     {"{\"x-a\":3}", "{\"x-b\":1}"},
     {"{\"x-a\":2", "{\"x-a\":3.5", "{\"a\""}},
    {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-z]$\"},\"additionalProperties\":{"
     "\"const\":1}}",
     {"{\"a\":1}", "{\"a\":1,\"b\":1}"},
     {"{\"ab\"", "{\"A\""}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":{"
     "\"const\":3}},"
     "\"minProperties\":2,\"maxProperties\":2}",
     {"{\"a\":1,\"b\":2}", "{\"b\":2,\"c\":3}", "{\"a\":1,\"c\":3}"},
     {"{}", "{\"a\":1}", "{\"a\":1,\"b\":2,", "{\"c\":3}"}},
    {"{\"type\":\"object\",\"minProperties\":1,\"additionalProperties\":{\"const\":1}}",
     {"{\"a\":1}", "{\"a\":1,\"b\":1}"},
     {"{}"}},
    {"{\"type\":\"object\",\"maxProperties\":1}", {"{}", "{\"a\":1}"}, {"{\"a\":1,"}},
    {"{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"dependentRequired\":{\"a\":["
     "\"b\"]}}",
     {"{}", "{\"b\":2}", "{\"a\":1,\"b\":2}"},
     {"{\"a\":1}"}},
    {"{\"properties\":{\"a\":{\"const\":1},\"b\":{\"type\":\"integer\"}},\"dependentSchemas\":{"
     "\"a\":"
     "{\"properties\":{\"b\":{\"minimum\":5}}}}}",
     {"{\"b\":2}", "{\"a\":1,\"b\":5}", "{\"a\":1}"},
     {"{\"a\":1,\"b\":4"}},
    {"{\"properties\":{\"k\":{\"enum\":[\"x\",\"y\"]},\"v\":{}},\"required\":[\"k\",\"v\"],\"if\":{"
     "\"properties\":"
     "{\"k\":{\"const\":\"x\"}}},\"then\":{\"properties\":{\"v\":{\"type\":\"null\"}}},\"else\":{"
     "\"properties\":{\"v\":{\"type\":\"boolean\"}}}}",
     {"{\"k\":\"x\",\"v\":null}", "{\"k\":\"y\",\"v\":true}"},
     {"{\"k\":\"x\",\"v\":true", "{\"k\":\"y\",\"v\":null"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"oneOf\":[{"
     "\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
     {"{\"a\":1}", "{\"b\":2}"},
     {"{}", "{\"a\":1,\"b\":2}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"not\":{"
     "\"required\":[\"a\",\"b\"]}}",
     {"{\"a\":1}", "{\"b\":2}", "{}"},
     {"{\"a\":1,\"b\":2}"}},
    {"{\"oneOf\":[{\"minimum\":1},{\"maximum\":5}],\"type\":\"integer\"}",
     {"0", "6"},
     {"1", "5", "3"}},
    {"{\"properties\":{\"a\":{\"not\":{}},\"b\":{\"const\":1}}}", {"{}", "{\"b\":1}"}, {"{\"a\""}},
    {"{\"allOf\":[{\"properties\":{\"a\":{\"const\":1}}},{\"properties\":{\"b\":{\"const\":2}},"
     "\"additionalProperties\":false}]}",
     {"{}", "{\"b\":2}"},
     {"{\"a\":1"}},
    {"{\"allOf\":[{\"properties\":{\"a\":{\"const\":1}}},{\"properties\":{\"b\":{\"const\":2}}}],"
     "\"unevaluatedProperties\":false}",
     {"{}", "{\"a\":1,\"b\":2}"},
     {"{\"c\""}},
    {"{\"allOf\":[{\"type\":\"integer\",\"x-a\":1},{\"maximum\":3,\"x-a\":2}]}", {"3"}, {"4"}},
    {"{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"},\"next\":{\"allOf\":[{\"$"
     "ref\":"
     "\"#\"}],\"minProperties\":1}},\"additionalProperties\":false}",
     {"{}", "{\"n\":1,\"next\":{\"n\":2}}", "{\"next\":{\"next\":{\"n\":1}}}"},
     {"{\"next\":{}}"}},
    {"{\"$ref\":\"#item\",\"$defs\":{\"x\":{\"$anchor\":\"item\",\"const\":1}}}", {"1"}, {"2"}},
    {"{\"$id\":\"http://a/b.json\",\"$ref\":\"b.json#/$defs/x\",\"$defs\":{\"x\":{\"const\":1}}}",
     {"1"},
     {"2"}},
    /* what tools give for their parameters */
    {"{\"type\":\"object\"}", {"{}", "{\"a\":1}"}, {"[]", "1"}},
    {"{\"type\":\"object\",\"properties\":{}}", {"{}"}, {"[]"}},
    {"{\"properties\":{\"q\":{\"type\":\"string\"}}}", {"{}", "{\"q\":\"a\"}"}, {"1", "{\"q\":1"}},
};

static void test_json_grammar_follows_the_schema(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof follow_cases / sizeof follow_cases[0]; i++) {
        char *grammar = grammar_of(follow_cases[i].schema);
        for (size_t k = 0; k < 6 && follow_cases[i].yes[k] != NULL; k++) {
            if (grammar_follows(grammar, follow_cases[i].yes[k]) != 1) {
                fail_msg("%s: not %s\n%s", follow_cases[i].schema, follow_cases[i].yes[k], grammar);
            }
        }
        for (size_t k = 0; k < 6 && follow_cases[i].no[k] != NULL; k++) {
            if (grammar_follows(grammar, follow_cases[i].no[k]) == 1) {
                fail_msg("%s: %s is taken\n%s", follow_cases[i].schema, follow_cases[i].no[k],
                         grammar);
            }
        }
        dw_free(grammar);
    }
}

static void test_json_grammar_refusals(void **state)
{
    static const struct {
        const char *schema;
        dw_status status;
        const char *words;
    } cases[] = {
        {"", DW_E_FORMAT, "line 1"},
        {"{\"type\":", DW_E_FORMAT, "line 1"},
        {"3", DW_E_FORMAT, "#: a schema is an object"},
        {"{\"type\":\"int\"}", DW_E_FORMAT, "type: 'int' is none"},
        {"{\"not\":{}}", DW_E_UNSUPPORTED, "#: 'not' is not supported"},
        {"{\"properties\":{\"a\":{\"not\":{\"format\":\"uri\"}}}}", DW_E_UNSUPPORTED,
         "#/properties/a: 'not'"},
        {"{\"uniqueItems\":true,\"minItems\":2}", DW_E_UNSUPPORTED, "'uniqueItems'"},
        {"{\"multipleOf\":7.000001}", DW_E_UNSUPPORTED, "#: multipleOf above 6000"},
        {"{\"multipleOf\":0}", DW_E_FORMAT, "'multipleOf': a number above 0"},
        {"{\"format\":3}", DW_E_FORMAT, "'format'"},
        {"{\"minimum\":\"3\"}", DW_E_FORMAT, "'minimum': a number"},
        {"{\"minimum\":1e500}", DW_E_UNSUPPORTED, "over 400 digits"},
        {"{\"pattern\":\"(?#a)\"}", DW_E_UNSUPPORTED, "character 2: a group that begins"},
        {"{\"pattern\":\"a\\\\b\"}", DW_E_UNSUPPORTED, "\\b is not supported"},
        {"{\"pattern\":\"^(a(?=b))*$\"}", DW_E_UNSUPPORTED, "a look-around inside"},
        {"{\"pattern\":\"a(\"}", DW_E_FORMAT, "')' is missing"},
        {"{\"pattern\":\"a)\"}", DW_E_FORMAT, "')' without"},
        {"{\"pattern\":\"*\"}", DW_E_FORMAT, "nothing to repeat"},
        {"{\"oneOf\":[{\"format\":\"a\"},{\"format\":\"b\"}]}", DW_E_UNSUPPORTED, "'oneOf'"},
        {"{\"$ref\":\"other.json\"}", DW_E_UNSUPPORTED, "'$ref'"},
        {"{\"$ref\":\"#/nowhere\"}", DW_E_FORMAT, "points at nothing"},
        {"{\"minItems\":-1}", DW_E_FORMAT, "'minItems'"},
        {"{\"minLength\":20000}", DW_E_UNSUPPORTED, "above 10000"},
        {"{\"type\":\"object\",\"minProperties\":3}", DW_E_UNSUPPORTED, "'minProperties'"},
        {"{\"allOf\":[{\"properties\":{\"a\":{}}},{\"anyOf\":[{}],\"unevaluatedProperties\":false}]"
         "}",
         DW_E_UNSUPPORTED, "'unevaluatedProperties' in two"},
        {"{\"$defs\":{\"a\":{\"type\":\"object\",\"anyOf\":[{\"$ref\":\"#/$defs/a\"},{\"$ref\":"
         "\"#/$defs/a\"}]}},\"$ref\":\"#/$defs/a\"}",
         DW_E_LIMIT, "schema"},
    };
    char *grammar;
    dw_error err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *schema = cases[i].schema;
        dw_status status = dw_json_grammar_make(&grammar, schema, strlen(schema), &err);
        if (status != cases[i].status || strstr(err.message, cases[i].words) == NULL) {
            fail_msg("%s: %d, %s", schema, status, status != DW_OK ? err.message : grammar);
        }
        assert_null(grammar);
    }
}

/* Within a string, between values, and behind a number, where jansson passes over it. */
static void test_json_grammar_refuses_nul(void **state)
{
    static const char *const before[] = {"{\"const\":\"a", "{", "{\"minimum\":-20",
                                         "{\"minimum\":1"};
    static const char behind[] = ",\"maximum\":3}";
    (void)state;
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        char schema[64] = {0};
        char place[32];
        char *grammar;
        dw_error err;
        size_t length = strlen(before[i]);
        memcpy(schema, before[i], length);
        memcpy(schema + length + 1, behind, sizeof behind - 1);
        (void)snprintf(place, sizeof place, "byte %zu is NUL", length);
        assert_int_equal(dw_json_grammar_make(&grammar, schema, length + sizeof behind, &err),
                         DW_E_FORMAT);
        assert_non_null(strstr(err.message, place));
        assert_null(grammar);
    }
}

/* Bounds in hundredths, and every decimal of up to two places about them. */
static void test_json_grammar_numbers_within_bounds(void **state)
{
    static const int bounds[][2] = {{0, 50},   {25, 75},    {-50, 50},  {-75, -25}, {100, 1000},
                                    {99, 101}, {-1, 1},     {5, 5},     {-105, 95}, {999, 1001},
                                    {0, 0},    {-1000, -9}, {110, 120}, {9, 1010}};
    static const char *const keys[][2] = {{"minimum", "maximum"},
                                          {"exclusiveMinimum", "exclusiveMaximum"}};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof bounds / sizeof bounds[0]; i++) {
        int low = bounds[i / 2][0];
        int high = bounds[i / 2][1];
        int open = i % 2;
        if (open && low == high) {
            continue;
        }
        char schema[120];
        (void)snprintf(schema, sizeof schema, "{\"type\":\"number\",\"%s\":%de-2,\"%s\":%s%d.%02d}",
                       keys[open][0], low, keys[open][1], high < 0 ? "-" : "", abs(high) / 100,
                       abs(high) % 100);
        char *grammar = grammar_of(schema);
        for (int value = -1100; value <= 1100; value += value % 100 > 20 ? 13 : 1) {
            char text[24];
            int want = open ? low < value && value < high : low <= value && value <= high;
            (void)snprintf(text, sizeof text, "%s%d.%02d", value < 0 ? "-" : "", abs(value) / 100,
                           abs(value) % 100);
            size_t length = strlen(text);
            for (int cut = 0; cut < 3; cut++) { /* 1.00, 1.0, 1 */
                if ((grammar_follows(grammar, text) == 1) != want) {
                    fail_msg("%s: %s\n%s", schema, text, grammar);
                }
                if (text[length - 1] != '0') {
                    break;
                }
                length -= cut == 1 ? 2 : 1;
                text[length] = '\0';
            }
        }
        dw_free(grammar);
    }
}

static void test_json_grammar_notes(void **state)
{
    static const struct {
        const char *schema;
        const char *notes; /* NULL: none */
    } cases[] = {
        {"{\"properties\":{\"a\":{\"format\":\"uri\"},\"b\":{\"format\":\"uri\"},\"c\":{\"format\":"
         "\"date\"}}}",
         "schema: #/properties/a: 'format' 'uri' is not enforced\n"},
        {"{\"format\":\"date\",\"minLength\":2}", NULL},
        {"{\"format\":\"date\",\"maxLength\":2}",
         "schema: #: 'format' beside other bounds of the string is not enforced\n"},
        {"{\"contentEncoding\":\"base64\"}", "schema: #: 'contentEncoding' is not enforced\n"},
        {"{\"type\":\"array\",\"uniqueItems\":true}",
         "schema: #: 'uniqueItems' no more than one item is written\n"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"minimum\":2,\"maximum\":1}]}",
         "schema: #/anyOf/1: 'minimum' no number lies within the bounds\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *schema = cases[i].schema;
        char *grammar;
        char *notes;
        dw_error err;
        assert_int_equal(dw_json_grammar_make_noted(&grammar, &notes, schema, strlen(schema), &err),
                         DW_OK);
        if (cases[i].notes == NULL) {
            assert_null(notes);
        } else {
            assert_string_equal(notes, cases[i].notes);
        }
        dw_free(grammar);
        dw_free(notes);
    }
}

static void test_json_grammar_survives_lack_of_memory(void **state)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/x\"},\"b\":{\"allOf\":"
        "[{\"type\":\"string\"},{\"maxLength\":9}]}},\"additionalProperties\":true,\"$defs\":{"
        "\"x\":"
        "{\"type\":\"array\",\"items\":{\"enum\":[1,2]}}},\"patternProperties\":{\"^(?!a)x\":{"
        "\"minimum\":0.5,\"maximum\":12,\"multipleOf\":0.5},\"y\":{\"pattern\":\"a+\",\"format\":"
        "\"uri\","
        "\"maxLength\":3}}}";
    char *grammar;
    dw_error err;
    (void)state;
    for (int64_t i = 0;; i++) {
        dw_alloc_fail_after(i);
        dw_status status = dw_json_grammar_make(&grammar, schema, sizeof schema - 1, &err);
        dw_alloc_fail_after(-1);
        if (status == DW_OK) {
            assert_true(i > 20);
            break;
        }
        if (status != DW_E_MEMORY) {
            fail_msg("%d: %s", (int)i, err.message);
        }
        assert_null(grammar);
    }
    dw_free(grammar);
}

/* ---- who has no time left ------------------------------------------------------------------- */

/* `begin`, `count` times `item` with a number in it, `end`. */
typedef struct long_schema {
    const char *begin;
    const char *item;
    unsigned count;
    const char *end;
} long_schema;

static const long_schema long_schemas[] = {
    {"{\"enum\":[0", ",\"%x\"", 80000, "]}"},
    {"{\"type\":\"integer\",\"minimum\":5,\"enum\":[0", ",%u", 60000, "]}"},
    {"{\"properties\":{\"a\":{}", ",\"p%u\":{\"type\":\"string\",\"maxLength\":3}", 9000, "}}"},
    {"{\"allOf\":[{}", ",{\"properties\":{\"p%u\":{\"minimum\":1}}}", 900, "]}"},
    {"{\"pattern\":\"^(a|b)*a(a|b){11}$\"}", "", 0, ""},
    {"{\"allOf\":[{\"pattern\":\"^(a|b)*a(a|b){7}$\"},{\"pattern\":\"^(a|b)*b(a|b|c)*$\"}",
     ",{\"pattern\":\"^[ab%u]*$\"}", 20, "]}"},
    {"{\"patternProperties\":{\"a\":{}", ",\"^x%u[a-z]*y\":{\"type\":\"string\"}", 40, "}}"},
};

static char *written_out(const long_schema *of)
{
    size_t capacity = 1024 + of->count * (strlen(of->item) + 8);
    char *text = dw_alloc(capacity, 1);
    assert_non_null(text);
    size_t at = (size_t)snprintf(text, capacity, "%s", of->begin);
    for (unsigned i = 0; i < of->count; i++) {
        char item[128];
        const char *sign = strchr(of->item, '%');
        (void)snprintf(item, sizeof item, sign[1] == 'x' ? "%.*s%x%s" : "%.*s%u%s",
                       (int)(sign - of->item), of->item, sign[1] == 'x' ? i * 2654435761U : i,
                       sign + 2);
        at += (size_t)snprintf(text + at, capacity - at, "%s", item);
    }
    (void)snprintf(text + at, capacity - at, "%s", of->end);
    return text;
}

/* How long it takes with so much time; 0: with no end of it. */
static uint64_t converted_ns(const char *schema, uint64_t time_ns, dw_status *status)
{
    dw_stop stop = {.cancelled = false};
    const dw_stop_limits limits = {.time_ns = time_ns};
    char *grammar;
    dw_error err = {.message = ""};
    uint64_t began = dw_os_clock_ns();
    dw_stop_begin(&stop, &limits);
    *status = dw_json_grammar_make_for(&grammar, schema, strlen(schema), &stop, &err);
    uint64_t took_ns = dw_os_clock_ns() - began;
    assert_true(*status == DW_OK || grammar == NULL);
    assert_true(*status != DW_E_CANCELLED || strstr(err.message, "schema: ") != NULL);
    dw_free(grammar);
    return took_ns;
}

/* Whose time is over leaves a schema. How much later is told: it is the machine's. */
static void test_json_grammar_is_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof long_schemas / sizeof long_schemas[0]; i++) {
        char *schema = written_out(&long_schemas[i]);
        dw_status status;
        uint64_t whole_ns = converted_ns(schema, 0, &status);
        assert_true(status == DW_OK || status == DW_E_LIMIT);
        for (uint64_t part = 4; part <= 64; part *= 4) {
            uint64_t left_ns = converted_ns(schema, whole_ns / part, &status);
            print_message("%zu: %.1f ms; left after %.1f ms, %.1f ms later\n", i,
                          (double)whole_ns / 1e6, (double)(whole_ns / part) / 1e6,
                          ((double)left_ns - (double)(whole_ns / part)) / 1e6);
        }
        assert_int_equal(status, DW_E_CANCELLED);
        dw_free(schema);
    }
}

/* One line for each file that standard input names: whether its schema becomes a grammar. */
static int survey(void)
{
    static char name[4096];
    static char schema[(1 << 20) + 2];
    while (fgets(name, sizeof name, stdin) != NULL) {
        name[strcspn(name, "\n")] = '\0';
        FILE *file = fopen(name, "rb");
        size_t bytes = file != NULL ? fread(schema, 1, sizeof schema, file) : 0;
        char *grammar = NULL;
        dw_grammar_rules rules = {.symbols = NULL};
        dw_error err = {.message = ""};
        dw_status status = dw_json_grammar_make(&grammar, schema, bytes, &err);
        if (status == DW_OK) {
            status = dw_grammar_rules_make(&rules, grammar, strlen(grammar), &byte_tokens, &err);
        }
        (void)printf("%s\t%s\t%zu\t%s\n", name, dw_status_name(status),
                     grammar != NULL ? strlen(grammar) : 0, status == DW_OK ? "" : err.message);
        dw_grammar_rules_release(&rules);
        dw_free(grammar);
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_grammar_follows_the_schema),
        cmocka_unit_test(test_json_grammar_refusals),
        cmocka_unit_test(test_json_grammar_refuses_nul),
        cmocka_unit_test(test_json_grammar_numbers_within_bounds),
        cmocka_unit_test(test_json_grammar_notes),
        cmocka_unit_test(test_json_grammar_survives_lack_of_memory),
        cmocka_unit_test(test_json_grammar_is_left),
    };
    if (argc == 2 && strcmp(argv[1], "--survey") == 0) {
        return survey();
    }
    if (argc == 4 && strcmp(argv[1], "--generate") == 0) {
        static char text[1 << 16];
        char *grammar = grammar_of(argv[2]);
        grammar_generate(grammar, (uint32_t)strtoul(argv[3], NULL, 10), text, sizeof text);
        (void)puts(text);
        dw_free(grammar);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
