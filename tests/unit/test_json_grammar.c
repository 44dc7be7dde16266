/* JSON Schema as a grammar: what it takes and what not, schema by schema, and what is refused.
 * `test_json_grammar --generate SCHEMA SEED` writes a text by chance, for check_json_schema.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
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
        {"{\"properties\":{\"a\":{\"not\":{}}}}", DW_E_UNSUPPORTED, "#/properties/a: 'not'"},
        {"{\"patternProperties\":{}}", DW_E_UNSUPPORTED, "'patternProperties'"},
        {"{\"uniqueItems\":true}", DW_E_UNSUPPORTED, "'uniqueItems'"},
        {"{\"multipleOf\":3}", DW_E_UNSUPPORTED, "'multipleOf'"},
        {"{\"format\":\"idn-email\"}", DW_E_UNSUPPORTED, "'format'"},
        {"{\"pattern\":\"(?=a)\"}", DW_E_UNSUPPORTED, "character 2: a group that begins"},
        {"{\"pattern\":\"a\\\\b\"}", DW_E_UNSUPPORTED, "\\b is not supported"},
        {"{\"pattern\":\"a$b\"}", DW_E_UNSUPPORTED, "^ or $ inside"},
        {"{\"pattern\":\"^a|b\"}", DW_E_UNSUPPORTED, "one side of a |"},
        {"{\"pattern\":\"a(\"}", DW_E_FORMAT, "')' is missing"},
        {"{\"pattern\":\"a)\"}", DW_E_FORMAT, "')' without"},
        {"{\"pattern\":\"*\"}", DW_E_FORMAT, "nothing to repeat"},
        {"{\"pattern\":\"a\",\"minLength\":3}", DW_E_UNSUPPORTED, "'pattern' beside"},
        {"{\"oneOf\":[{\"minimum\":1},{\"maximum\":5}]}", DW_E_UNSUPPORTED, "'oneOf'"},
        {"{\"$ref\":\"other.json\"}", DW_E_UNSUPPORTED, "'$ref'"},
        {"{\"$ref\":\"#/nowhere\"}", DW_E_FORMAT, "points at nothing"},
        {"{\"minItems\":-1}", DW_E_FORMAT, "'minItems'"},
        {"{\"minLength\":20000}", DW_E_UNSUPPORTED, "above 10000"},
        {"{\"allOf\":[{\"properties\":{\"a\":{}}},{\"additionalProperties\":false}]}",
         DW_E_UNSUPPORTED, "'additionalProperties' in two"},
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

static void test_json_grammar_survives_lack_of_memory(void **state)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/x\"},\"b\":{\"allOf\":"
        "[{\"type\":\"string\"},{\"maxLength\":9}]}},\"additionalProperties\":true,\"$defs\":{"
        "\"x\":"
        "{\"type\":\"array\",\"items\":{\"enum\":[1,2]}}}}";
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
        assert_int_equal(status, DW_E_MEMORY);
        assert_null(grammar);
    }
    dw_free(grammar);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_grammar_follows_the_schema),
        cmocka_unit_test(test_json_grammar_refusals),
        cmocka_unit_test(test_json_grammar_survives_lack_of_memory),
    };
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
