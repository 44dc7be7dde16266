/* What loading says of a file is what using it finds: every key of small models as every type. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/device.h"
#include "gguf/gguf.h"
#include "model/model.h"
#include "support.h"
#include "text/vocab.h"
#include "tiny_model.h"

#define FILE_BYTES_MAX ((size_t)4 << 20)
#define KEYS_MAX 128

/* A file's parts: head, keys, tensors' entries and data. */
typedef struct parsed_file {
    unsigned char bytes[FILE_BYTES_MAX];
    size_t count;
    struct {
        size_t from;  /* of the whole entry */
        size_t value; /* of its type, in front of the value */
        size_t end;
    } keys[KEYS_MAX];
    size_t key_count;
    size_t entries_end; /* of the tensors' */
    size_t data;        /* where the tensors' data start */
} parsed_file;

static parsed_file file;

static uint64_t read_u64(size_t at)
{
    uint64_t value;
    memcpy(&value, file.bytes + at, sizeof value);
    return value;
}

static uint32_t read_u32(size_t at)
{
    uint32_t value;
    memcpy(&value, file.bytes + at, sizeof value);
    return value;
}

static size_t type_bytes(uint32_t type)
{
    static const size_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    assert_true(type < sizeof bytes / sizeof bytes[0]);
    return bytes[type];
}

static size_t value_end(uint32_t type, size_t at)
{
    if (type == DW_GGUF_STRING) {
        return at + 8 + (size_t)read_u64(at);
    }
    if (type != DW_GGUF_ARRAY) {
        return at + type_bytes(type);
    }
    uint32_t element = read_u32(at);
    uint64_t count = read_u64(at + 4);
    at += 12;
    for (uint64_t i = 0; i < count; i++) {
        at = value_end(element, at);
    }
    return at;
}

static void parse(const char *path)
{
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    file.count = fread(file.bytes, 1, sizeof file.bytes, in);
    (void)fclose(in);
    assert_true(file.count < sizeof file.bytes);
    dw_gguf *gguf = NULL;
    dw_error err;
    assert_int_equal(dw_gguf_open(&gguf, path, &err), DW_OK);
    file.data = dw_gguf_tensor_at(gguf, 0)->file_offset;
    dw_gguf_close(gguf);
    file.key_count = (size_t)read_u64(16);
    assert_true(file.key_count <= KEYS_MAX);
    size_t at = 24;
    for (size_t i = 0; i < file.key_count; i++) {
        file.keys[i].from = at;
        file.keys[i].value = at + 8 + (size_t)read_u64(at);
        file.keys[i].end = value_end(read_u32(file.keys[i].value), file.keys[i].value + 4);
        at = file.keys[i].end;
    }
    for (uint64_t i = 0; i < read_u64(8); i++) {
        at += 8 + (size_t)read_u64(at);             /* its name */
        at += 4 + 8 * (size_t)read_u32(at) + 4 + 8; /* sizes, type, offset */
    }
    file.entries_end = at;
}

/* The value of a number or a truth value; 1 for others. */
static int64_t value_of(size_t key)
{
    uint32_t type = read_u32(file.keys[key].value);
    size_t at = file.keys[key].value + 4;
    int64_t value = 0;
    if (type == DW_GGUF_F32) {
        float number;
        memcpy(&number, file.bytes + at, sizeof number);
        return (int64_t)number;
    }
    if (type == DW_GGUF_STRING || type == DW_GGUF_ARRAY || type == DW_GGUF_F64) {
        return 1;
    }
    memcpy(&value, file.bytes + at, type_bytes(type)); /* little endian, and none is negative */
    return value;
}

static size_t put_value(unsigned char *out, uint32_t type, int64_t value)
{
    memcpy(out, &type, sizeof type);
    size_t at = sizeof type;
    if (type == DW_GGUF_STRING) {
        uint64_t length = 1;
        memcpy(out + at, &length, sizeof length);
        out[at + 8] = 'x';
        return at + 9;
    }
    if (type == DW_GGUF_ARRAY) {
        uint64_t length = 1;
        size_t first = put_value(out + at, DW_GGUF_I32, value);
        memmove(out + at + 12, out + at + 4, first - 4);
        memcpy(out + at + 4, &length, sizeof length);
        return at + 12 + first - 4;
    }
    if (type == DW_GGUF_F32) {
        float number = (float)value;
        memcpy(out + at, &number, sizeof number);
    } else if (type == DW_GGUF_F64) {
        double number = (double)value;
        memcpy(out + at, &number, sizeof number);
    } else {
        value = type == DW_GGUF_BOOL ? value != 0 : value;
        memcpy(out + at, &value, type_bytes(type));
    }
    return at + type_bytes(type);
}

static void pad_to_data(FILE *out)
{
    long at = ftell(out);
    while (at % 32 != 0) {
        (void)fputc(0, out);
        at++;
    }
}

/* The file with `name` as `type` in place of key `key`, or with one key more where `key` is that
 * of none. */
static void write_with(const char *path, size_t key, const char *name, uint32_t type, int64_t value)
{
    unsigned char changed[64];
    size_t bytes = put_value(changed, type, value);
    uint64_t key_count = file.key_count + (key == file.key_count ? 1 : 0);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    size_t end = file.keys[file.key_count - 1].end;
    (void)fwrite(file.bytes, 1, 16, out);
    (void)fwrite(&key_count, 1, sizeof key_count, out);
    for (size_t i = 0; i < file.key_count; i++) {
        size_t stop = i == key ? file.keys[i].value : file.keys[i].end;
        (void)fwrite(file.bytes + file.keys[i].from, 1, stop - file.keys[i].from, out);
        if (i == key) {
            (void)fwrite(changed, 1, bytes, out);
        }
    }
    if (key == file.key_count) {
        uint64_t length = strlen(name);
        (void)fwrite(&length, 1, sizeof length, out);
        (void)fwrite(name, 1, (size_t)length, out);
        (void)fwrite(changed, 1, bytes, out);
    }
    (void)fwrite(file.bytes + end, 1, file.entries_end - end, out);
    pad_to_data(out);
    (void)fwrite(file.bytes + file.data, 1, file.count - file.data, out);
    assert_int_equal(fclose(out), 0);
}

/* ---- promises ---- */

static dw_device *cpu;

/* Whether it loads; and then all of it must be there, the vocabulary too. */
static bool loads(const char *path, const char *what)
{
    dw_model *model = NULL;
    dw_error err = {0};
    if (dw_model_load(&model, cpu, path, &err) != DW_OK) {
        return false;
    }
    if (dw_vocab_wait(dw_model_vocab(model), &err) != DW_OK) {
        fail_msg("%s: it loads, but then: %s", what, err.message);
    }
    dw_model_unref(model);
    return true;
}

/* What `driftwood inspect` says, by its exit status. */
static bool inspect_says(const char *path)
{
    char command[1024];
    const char *build = getenv("DW_TEST_BUILD_DIR");
    (void)snprintf(command, sizeof command, "%s/driftwood inspect --json %s >/dev/null 2>&1",
                   build != NULL ? build : ".", path);
    int status = system(command);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    return WEXITSTATUS(status) == 0;
}

static void try_key(const char *path, size_t key, const char *name, int64_t value, bool inspects)
{
    for (uint32_t type = 0; type < DW_GGUF_TYPE_COUNT; type++) {
        char what[160];
        (void)snprintf(what, sizeof what, "%s as %s", name, dw_gguf_type_name(type));
        write_with(path, key, name, type, value);
        bool loaded = loads(path, what);
        if (inspects && inspect_says(path) != loaded) {
            fail_msg("%s: inspect says otherwise", what);
        }
    }
}

static void try_kind(const tiny_architecture *kind)
{
    char path[] = "/tmp/dw-promises-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_options options = kind != NULL ? tiny_options_of(kind, GGML_TYPE_F32) : tiny_defaults();
    options.tokenizer = true;
    tiny_model_write(path, &options);
    parse(path);
    assert_true(loads(path, "as written"));
    for (size_t i = 0; i < file.key_count; i++) {
        char name[128];
        (void)snprintf(name, sizeof name, "%.*s", (int)(file.keys[i].value - file.keys[i].from - 8),
                       (const char *)file.bytes + file.keys[i].from + 8);
        try_key(path, i, name, value_of(i), false);
    }
    static const char *const more[] = {"split.count",
                                       "split.no",
                                       "general.file_type",
                                       "general.quantization_version",
                                       "general.size_label",
                                       "tokenizer.ggml.suppress_tokens",
                                       "tokenizer.ggml.add_eos_token",
                                       "tokenizer.ggml.add_sep_token",
                                       "tokenizer.ggml.mask_token_id",
                                       "tokenizer.ggml.remove_extra_whitespaces",
                                       "tokenizer.chat_template"};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        try_key(path, file.key_count, more[i], i == 1 ? 0 : 1, kind == NULL && i == 0);
    }
    try_key(path, file.key_count, "general.alignment", 32, kind == NULL);
    unlink(path);
}

static void test_promises_of_every_key_as_every_type(void **state)
{
    (void)state;
    if (emulated()) {
        skip();
    }
    try_kind(NULL);
    for (size_t i = 0; i < tiny_kind_count; i++) {
        if (tiny_kinds[i].tokenizer != NULL || tiny_kinds[i].encoder || i == 0) {
            try_kind(&tiny_kinds[i]);
        }
    }
}

/* libllama looks for tokens of Phi-3 in a model that is called so, and throws without them. */
static void test_promises_of_a_name(void **state)
{
    static const char *const names[] = {"my Phi3", "PHI-3", "phi-2 or 3", "tiny"};
    char path[] = "/tmp/dw-promises-XXXXXX";
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tiny_options options = tiny_defaults();
        options.tokenizer = true;
        options.name = names[i];
        tiny_model_write(path, &options);
        assert_int_equal(loads(path, names[i]), i >= 2);
        assert_int_equal(inspect_says(path), i >= 2);
    }
    unlink(path);
}

static int set_up(void **state)
{
    dw_error err;
    (void)state;
    return dw_device_open(&cpu, "CPU", 1, &err) == DW_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    dw_device_close(cpu);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promises_of_every_key_as_every_type),
        cmocka_unit_test(test_promises_of_a_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
