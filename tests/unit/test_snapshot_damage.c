/* Snapshot files that are damaged, cut or made to harm: refused by both readers, with a word on
 * where. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "snapshot_fixture.h"
#include "support.h"

#define HEADER 65536u
#define DIGITS "00000000000000000000000000000000"

static uint8_t flip(int fd, uint64_t byte, uint8_t old, uint8_t bits)
{
    uint8_t changed = old ^ bits;
    assert_int_equal(pwrite(fd, &changed, 1, (off_t)byte), 1);
    return changed;
}

/* ---- flips and cuts ------------------------------------------------------------------------ */

/* Emulated processors are slow. */
static uint64_t stride(void)
{
    return emulated() ? 37 : 1;
}

static void test_snapshot_each_flipped_byte_is_refused(void **state)
{
    const snapshot_fixture *fixture = *state;
    size_t bytes;
    dw_error err;
    snapshot_fixture_write_small(fixture->path, 7, NULL);
    uint8_t *content = snapshot_fixture_read(fixture->path, &bytes);
    int fd = open(fixture->path, O_WRONLY);
    for (uint64_t i = 0; i < bytes; i += stride()) {
        dw_snapshot_file *file;
        (void)flip(fd, i, content[i], (uint8_t)(1u << (i % 8)));
        dw_status status = dw_snapshot_file_open(&file, fixture->path, DW_SNAPSHOT_VERIFY, &err);
        if (status == DW_OK) {
            fail_msg("byte %llu was flipped and nothing said", (unsigned long long)i);
        }
        assert_true(status == DW_E_FORMAT || status == DW_E_LIMIT || status == DW_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, "byte "));
        if (i % 16 == 0) {
            assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), status);
        }
        (void)flip(fd, i, content[i], 0);
    }
    (void)close(fd);
    assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), DW_OK);
    dw_free(content);
}

/* In a larger one, with fillers and aligned tensors. */
static void test_snapshot_flips_by_chance_are_refused(void **state)
{
    const snapshot_fixture *fixture = *state;
    size_t bytes;
    dw_error err;
    uint64_t random = 99;
    snapshot_fixture_write_example(fixture->path, NULL);
    uint8_t *content = snapshot_fixture_read(fixture->path, &bytes);
    int fd = open(fixture->path, O_WRONLY);
    for (uint32_t i = 0; i < 10000 / stride(); i++) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        uint64_t byte = (random >> 24) % bytes;
        (void)flip(fd, byte, content[byte], (uint8_t)(1u << (random >> 20 & 7)));
        if (snapshot_fixture_verdict(fixture->path, &err) == DW_OK) {
            fail_msg("byte %llu was flipped and nothing said", (unsigned long long)byte);
        }
        (void)flip(fd, byte, content[byte], 0);
    }
    (void)close(fd);
    assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), DW_OK);
    dw_free(content);
}

static void test_snapshot_each_cut_is_refused(void **state)
{
    const snapshot_fixture *fixture = *state;
    size_t bytes;
    dw_error err;
    snapshot_fixture_write_small(fixture->path, 7, NULL);
    uint8_t *content = snapshot_fixture_read(fixture->path, &bytes);
    for (size_t length = bytes; length-- > 0;) {
        dw_snapshot_file *file;
        if (length % stride() != 0) {
            continue;
        }
        assert_int_equal(truncate(fixture->path, (off_t)length), 0);
        assert_int_equal(dw_snapshot_file_open(&file, fixture->path, 0, &err), DW_E_FORMAT);
        assert_non_null(strstr(err.message, "byte "));
        if (length % 64 == 0 || length > HEADER) {
            assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), DW_E_FORMAT);
        }
    }
    /* And one that is longer than it should be. */
    snapshot_fixture_put(fixture->path, content, bytes);
    int fd = open(fixture->path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "x", 1), 1);
    (void)close(fd);
    assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), DW_E_FORMAT);
    dw_free(content);
}

/* ---- headers made by hand ------------------------------------------------------------------ */

/* A file with a header of any JSON, sealed as if it were good. */
static void put_header(const char *path, const char *json, size_t json_bytes, const uint8_t *data,
                       size_t data_bytes)
{
    size_t header_bytes = (8 + json_bytes + HEADER - 1) / HEADER * HEADER;
    uint8_t *content = dw_alloc(header_bytes + data_bytes + 16, 1);
    memset(content, ' ', header_bytes);
    for (unsigned i = 0; i < 8; i++) {
        content[i] = (uint8_t)((header_bytes - 8) >> 8 * i);
    }
    memcpy(content + 8, json, json_bytes);
    if (data_bytes > 0) {
        memcpy(content + header_bytes, data, data_bytes);
    }
    dw_hash128_of(content + header_bytes + data_bytes, content, header_bytes);
    snapshot_fixture_put(path, content, header_bytes + data_bytes + 16);
    dw_free(content);
}

#define META(checksums)                                                                            \
    "\"__metadata__\":{\"format\":\"driftwood-snapshot\",\"version\":\"1\",\"kind\":\"full\","     \
    "\"checksums\":\"" checksums "\"}"
#define SEAL(from, to)                                                                             \
    "\"seal\":{\"dtype\":\"U8\",\"shape\":[16],\"data_offsets\":[" #from "," #to "]}"

typedef struct hostile {
    const char *json; /* "%" stands for the checksum of the data */
    dw_status expected;
    const char *words;
} hostile;

static const uint8_t eight[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* `json` with each "%" replaced. */
static char *with_checksum(const char *json)
{
    char digits[DW_HASH128_TEXT];
    char *text = dw_alloc(strlen(json) * 33 + 1, 1);
    size_t count = 0;
    dw_hash128_text(digits, eight, sizeof eight);
    for (const char *c = json; *c != '\0'; c++) {
        if (*c == '%') {
            memcpy(text + count, digits, 32);
            count += 32;
        } else {
            text[count++] = *c;
        }
    }
    return text;
}

#define GOOD META("{\\\"a\\\":\\\"%\\\"}")
#define A(dtype, shape, offsets)                                                                   \
    "\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define A8 A("U8", "[8]", "[0,8]")
#define WHOLE(tensors) "{" GOOD "," tensors "}"
#define TAIL "," SEAL(8, 24)

static const hostile cases[] = {
    {WHOLE(A8 TAIL), DW_OK, ""},
    {WHOLE(A("I32", "[2]", "[0,8]") TAIL), DW_OK, ""},
    {WHOLE(A("I64", "[1,1,1]", "[0,8]") TAIL), DW_OK, ""},
    /* JSON */
    {"", DW_E_FORMAT, "byte 8: header: no JSON object"},
    {"[]", DW_E_FORMAT, "no JSON object"},
    {"{", DW_E_FORMAT, "byte "},
    {"{}", DW_E_FORMAT, "no __metadata__"},
    {"{} {}", DW_E_FORMAT, "byte 11: header: more than spaces"},
    {"{\"__metadata__\":{\"format\":\"x\",\"format\":\"driftwood-snapshot\"}}", DW_E_FORMAT,
     "uplicate"},
    {WHOLE(A8 "," A8 TAIL), DW_E_FORMAT, "uplicate"},
    {WHOLE("\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}" TAIL),
     DW_E_FORMAT, "uplicate"},
    {WHOLE("\"a\":[[[[[]]]]]" TAIL), DW_E_FORMAT, "nested"},
    {"{\"\\u0000\":1}", DW_E_FORMAT, "byte "},
    {"{\"\xff\":1}", DW_E_FORMAT, "byte "},
    /* metadata */
    {"{\"__metadata__\":1}", DW_E_FORMAT, "no __metadata__"},
    {"{\"__metadata__\":{\"format\":1}}", DW_E_FORMAT, "byte 25: __metadata__: 'format' is no str"},
    {"{\"__metadata__\":{\"format\":\"pt\"}," A8 TAIL "}", DW_E_FORMAT, "no Driftwood snapshot"},
    {"{\"__metadata__\":{\"format\":\"driftwood-snapshot\"}}", DW_E_FORMAT, "version missing"},
    {"{\"__metadata__\":{\"format\":\"driftwood-snapshot\",\"version\":\"7\"}}", DW_E_UNSUPPORTED,
     "version 7, this program reads 1"},
    {"{\"__metadata__\":{\"format\":\"driftwood-snapshot\",\"version\":\"1\"}," SEAL(8, 24) "}",
     DW_E_FORMAT, "kind ''"},
    {"{\"__metadata__\":{\"format\":\"driftwood-snapshot\",\"version\":\"1\",\"kind\":\"delta\"}}",
     DW_E_FORMAT, "base ''"},
    {"{\"__metadata__\":{\"format\":\"driftwood-snapshot\",\"version\":\"1\",\"kind\":\"delta\","
     "\"base\":\"12\"}}",
     DW_E_FORMAT, "base '12'"},
    {"{\"__metadata__\":{\"format\":\"driftwood-snapshot\",\"version\":\"1\",\"kind\":\"full\","
     "\"base\":\"" DIGITS "\"}}",
     DW_E_FORMAT, "base"},
    {"{\"__metadata__\":{\"format\":\"driftwood-snapshot\",\"version\":\"1\",\"kind\":\"full\"}," A8
         TAIL "}",
     DW_E_FORMAT, "no checksums"},
    /* checksums */
    {"{" META("") "," A8 TAIL "}", DW_E_FORMAT, "header: no JSON"},
    {"{" META("{}") "," A8 TAIL "}", DW_E_FORMAT, "checksums: 0, of 1 tensors"},
    {"{" META("{} ") "," A8 TAIL "}", DW_E_FORMAT, "checksums: more than one"},
    {"{" META("{\\\"a\\\":\\\"12\\\"}") "," A8 TAIL "}", DW_E_FORMAT, "checksums: '12' for a"},
    {"{" META("{\\\"a\\\":1}") "," A8 TAIL "}", DW_E_FORMAT, "checksums: '' for a"},
    {"{" META("{\\\"b\\\":\\\"%\\\"}") "," A8 TAIL "}", DW_E_FORMAT, "checksums: '' for a"},
    {"{" META("{\\\"a\\\":\\\"%\\\",\\\"b\\\":\\\"%\\\"}") "," A8 TAIL "}", DW_E_FORMAT,
     "checksums: 2, of 1"},
    {"{" META("{\\\"a\\\":\\\"" DIGITS "\\\"}") "," A8 TAIL "}", DW_E_FORMAT,
     "byte 65536: a: checksum"},
    {"{" META("{\\\"a\\\":\\\"%\\\",\\\"a\\\":\\\"%\\\"}") "," A8 TAIL "}", DW_E_FORMAT,
     "uplicate"},
    {"{" META("[[[[[[") "," A8 TAIL "}", DW_E_FORMAT, "nested"},
    /* names */
    {WHOLE("\"A\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}" TAIL), DW_E_FORMAT,
     "A: the name"},
    {WHOLE("\"\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}" TAIL), DW_E_FORMAT,
     "the name"},
    {WHOLE("\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\":{\"dtype\":"
           "\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}" TAIL),
     DW_E_FORMAT, "the name"},
    /* tensors */
    {WHOLE("\"a\":1" TAIL), DW_E_FORMAT, "a: dtype, shape and data_offsets"},
    {WHOLE("\"a\":{\"dtype\":\"U8\",\"shape\":[8]}" TAIL), DW_E_FORMAT, "a: dtype"},
    {WHOLE("\"a\":{\"dtype\":8,\"shape\":[8],\"data_offsets\":[0,8]}" TAIL), DW_E_FORMAT,
     "a: dtype"},
    {WHOLE("\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8],\"x\":1}" TAIL),
     DW_E_FORMAT, "a: dtype"},
    {WHOLE(A("F64", "[1]", "[0,8]") TAIL), DW_E_UNSUPPORTED, "dtype 'F64'"},
    {WHOLE(A("U8", "8", "[0,8]") TAIL), DW_E_FORMAT, "shape is no array"},
    {WHOLE(A("U8", "[8.0]", "[0,8]") TAIL), DW_E_FORMAT, "dimension 0 is no whole number"},
    {WHOLE(A("U8", "[2,\\\"4\\\"]", "[0,8]") TAIL), DW_E_FORMAT, "byte "},
    {WHOLE(A("U8", "[2,\"4\"]", "[0,8]") TAIL), DW_E_FORMAT, "dimension 1 is no whole number"},
    {WHOLE(A("U8", "[-8]", "[0,8]") TAIL), DW_E_FORMAT, "dimension 0 is no whole number"},
    {WHOLE(A("U8", "[8,1,1,1,1,1,1,1,1]", "[0,8]") TAIL), DW_E_LIMIT, "9 dimensions, limit 8"},
    {WHOLE(A("U8", "[1e400]", "[0,8]") TAIL), DW_E_FORMAT, "byte "},
    {WHOLE(A("U8", "[99999999999999999999]", "[0,8]") TAIL), DW_E_FORMAT, "byte "},
    {WHOLE(A("I64", "[4611686018427387905]", "[0,8]") TAIL), DW_E_LIMIT, "its shape is over"},
    {WHOLE(A("U8", "[4294967296,4294967296,8]", "[0,8]") TAIL), DW_E_LIMIT, "its shape is over"},
    {WHOLE(A("U8", "[9]", "[0,8]") TAIL), DW_E_FORMAT, "8 bytes of data, its shape and dtype make"},
    {WHOLE(A("U8", "[8]", "[0]") TAIL), DW_E_FORMAT, "no [begin, end]"},
    {WHOLE(A("U8", "[8]", "[8,0]") TAIL), DW_E_FORMAT, "no [begin, end]"},
    {WHOLE(A("U8", "[8]", "[-8,0]") TAIL), DW_E_FORMAT, "no [begin, end]"},
    {WHOLE(A("U8", "[8]", "[0.0,8]") TAIL), DW_E_FORMAT, "no [begin, end]"},
    {WHOLE(A("U8", "[8]", "[1,9]") TAIL), DW_E_FORMAT, "a hole"},
    {WHOLE(A8 ",\"b\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}" TAIL), DW_E_FORMAT,
     "b: its data begins at 0, the data before it ends at 8: they overlap"},
    {WHOLE(A("U8", "[1099511627776]", "[0,1099511627776]") TAIL), DW_E_FORMAT,
     "byte 65560: the file ends, a goes to byte"},
    {WHOLE(A("U8", "[25]", "[0,25]") TAIL), DW_E_FORMAT, "the file ends"},
    /* fillers and the seal */
    {WHOLE(A8), DW_E_FORMAT, "no seal"},
    {WHOLE(SEAL(0, 16) "," A("U8", "[8]", "[16,24]")), DW_E_FORMAT, "byte"},
    {WHOLE(A8 ",\"seal\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[8,24]}"), DW_E_FORMAT,
     "not U8 of [16]"},
    {WHOLE(A8 ",\"seal\":{\"dtype\":\"U8\",\"shape\":[15],\"data_offsets\":[8,23]}"), DW_E_FORMAT,
     "not U8 of [16]"},
    {WHOLE("\"pad.0\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}" TAIL), DW_E_FORMAT,
     "no filler pad.0"},
    {WHOLE("\"pad.0\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}," A8 TAIL),
     DW_E_FORMAT, "no filler pad.0"},
    {WHOLE("\"pad.x\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}" TAIL), DW_E_FORMAT,
     "no filler pad.0"},
};

static void test_snapshot_hostile_headers_are_refused(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_error err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *json = with_checksum(cases[i].json);
        put_header(fixture->path, json, strlen(json), eight, sizeof eight);
        dw_status status = snapshot_fixture_verdict(fixture->path, &err);
        if (status != cases[i].expected || strstr(err.message, cases[i].words) == NULL) {
            fail_msg("case %zu: %s\n-> %d, '%s' is missing in: %s", i, json, (int)status,
                     cases[i].words, err.message);
        }
        dw_free(json);
    }
}

static void put_length(const snapshot_fixture *fixture, uint64_t length, size_t bytes)
{
    uint8_t *content = dw_alloc(bytes + 8, 1);
    for (unsigned i = 0; i < 8; i++) {
        content[i] = (uint8_t)(length >> 8 * i);
    }
    snapshot_fixture_put(fixture->path, content, bytes);
    dw_free(content);
}

static void test_snapshot_lies_about_the_header_are_refused(void **state)
{
    const snapshot_fixture *fixture = *state;
    const struct {
        uint64_t length;
        size_t bytes;
        dw_status expected;
    } lies[] = {
        {UINT64_C(1) << 63, 65536, DW_E_LIMIT},
        {UINT64_MAX, 65536, DW_E_LIMIT},
        {UINT64_MAX - 7, 65536, DW_E_LIMIT},
        {(16 << 20) - 7, 65536, DW_E_LIMIT},
        {(16 << 20) - 8, 65536, DW_E_FORMAT},
        {65528, 65535, DW_E_FORMAT},
        {65528, 65536, DW_E_FORMAT},
        {0, 8, DW_E_FORMAT},
        {0, 7, DW_E_FORMAT},
        {0, 0, DW_E_FORMAT},
        {1, 9, DW_E_FORMAT},
    };
    dw_error err;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        put_length(fixture, lies[i].length, lies[i].bytes);
        assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), lies[i].expected);
        assert_non_null(strstr(err.message, "byte "));
    }
}

/* Another program's safetensors file, with a header of a length of its own. */
static void test_snapshot_other_safetensors_are_named_so(void **state)
{
    const snapshot_fixture *fixture = *state;
    static const char json[] = "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  ";
    uint8_t content[8 + sizeof json - 1 + 8] = {sizeof json - 1};
    dw_error err;
    memcpy(content + 8, json, sizeof json - 1);
    snapshot_fixture_put(fixture->path, content, sizeof content);
    assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "no Driftwood snapshot"));
}

/* Megabytes of brackets or commas are refused before they are parsed. */
static void test_snapshot_dear_json_is_refused(void **state)
{
    const snapshot_fixture *fixture = *state;
    static const char *const units[] = {"[", "[],", "0,", "{\"a\":", "\"\","};
    size_t bytes = 8 << 20;
    char *json = dw_alloc(bytes + 8, 1);
    dw_error err;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t length = strlen(units[i]);
        size_t count = 6;
        memcpy(json, "{\"a\":[", 6);
        for (; count + length <= bytes; count += length) {
            memcpy(json + count, units[i], length);
        }
        put_header(fixture->path, json, count, eight, sizeof eight);
        uint64_t before = dw_alloc_count();
        dw_status status = snapshot_fixture_verdict(fixture->path, &err);
        assert_true(status == DW_E_LIMIT || status == DW_E_FORMAT);
        assert_non_null(strstr(err.message, "byte "));
        assert_true(dw_alloc_count() - before < 100);
    }
    dw_free(json);
}

/* A filler must be zero, and is looked at with DW_SNAPSHOT_VERIFY alone. */
static void test_snapshot_filler_with_content_is_refused(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_snapshot_file *file;
    dw_error err;
    snapshot_fixture_write_example(fixture->path, NULL);
    int fd = open(fixture->path, O_WRONLY);
    uint64_t byte = 3 * 65536 + 20 + 4321; /* behind tokens.0, which follows memory */
    assert_int_equal(pwrite(fd, "x", 1, (off_t)byte), 1);
    (void)close(fd);
    assert_int_equal(dw_snapshot_file_open(&file, fixture->path, 0, &err), DW_OK);
    dw_snapshot_file_close(file);
    assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "byte 200949: a filler"));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, snapshot_fixture_setup, snapshot_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_snapshot_each_flipped_byte_is_refused),
        TEST(test_snapshot_flips_by_chance_are_refused),
        TEST(test_snapshot_each_cut_is_refused),
        TEST(test_snapshot_hostile_headers_are_refused),
        TEST(test_snapshot_lies_about_the_header_are_refused),
        TEST(test_snapshot_other_safetensors_are_named_so),
        TEST(test_snapshot_dear_json_is_refused),
        TEST(test_snapshot_filler_with_content_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
