/* The GGUF reader on good, damaged and hostile files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "gguf/gguf.h"
#include "model/model.h"
#include "support.h"
#include "tiny_model.h"

/* A file put together by hand. */
typedef struct bytes {
    unsigned char at[4096];
    size_t count;
} bytes;

static void put(bytes *out, const void *data, size_t count)
{
    assert_true(out->count + count <= sizeof out->at);
    memcpy(out->at + out->count, data, count);
    out->count += count;
}

static void put_u32(bytes *out, uint32_t value)
{
    put(out, &value, sizeof value);
}

static void put_u64(bytes *out, uint64_t value)
{
    put(out, &value, sizeof value);
}

static void put_string(bytes *out, const char *text)
{
    put_u64(out, strlen(text));
    put(out, text, strlen(text));
}

static void put_head(bytes *out, uint32_t version, uint64_t tensors, uint64_t keys)
{
    out->count = 0;
    put(out, "GGUF", 4);
    put_u32(out, version);
    put_u64(out, tensors);
    put_u64(out, keys);
}

static void put_u32_key(bytes *out, const char *name, uint32_t value)
{
    put_string(out, name);
    put_u32(out, DW_GGUF_U32);
    put_u32(out, value);
}

static void put_tensor(bytes *out, const char *name, uint64_t columns, uint32_t type,
                       uint64_t offset)
{
    put_string(out, name);
    put_u32(out, 1);
    put_u64(out, columns);
    put_u32(out, type);
    put_u64(out, offset);
}

static void pad(bytes *out, size_t unit, size_t more)
{
    static const unsigned char zeros[512];
    put(out, zeros, (unit - out->count % unit) % unit);
    put(out, zeros, more);
}

static void refuses(const bytes *file, dw_status code, const char *words)
{
    /* On the heap and of exactly that size, so that a sanitizer sees a read beyond. */
    unsigned char *copy = malloc(file->count > 0 ? file->count : 1);
    assert_non_null(copy);
    memcpy(copy, file->at, file->count);
    dw_error err = {0};
    dw_gguf *gguf = (dw_gguf *)&err;
    assert_int_equal(dw_gguf_parse(&gguf, copy, file->count, &err), code);
    assert_null(gguf);
    assert_int_equal(err.code, code);
    if (strstr(err.message, words) == NULL) {
        fail_msg("'%s' is not in: %s", words, err.message);
    }
    free(copy);
}

static void test_gguf_reads_what_was_written(void **state)
{
    (void)state;
    bytes file = {.count = 0};
    put_head(&file, 3, 2, 4);
    put_u32_key(&file, "a.number", 7);
    put_string(&file, "a.float");
    put_u32(&file, DW_GGUF_F32);
    float half = 0.5f;
    put(&file, &half, sizeof half);
    put_string(&file, "a.list");
    put_u32(&file, DW_GGUF_ARRAY);
    put_u32(&file, DW_GGUF_STRING);
    put_u64(&file, 2);
    put_string(&file, "one");
    put_string(&file, "");
    put_string(&file, "a.flag");
    put_u32(&file, DW_GGUF_BOOL);
    put(&file, "\1", 1);
    put_tensor(&file, "first", 8, GGML_TYPE_F32, 0);
    put_tensor(&file, "second", 32, GGML_TYPE_Q8_0, 32);
    pad(&file, 32, 32 + 34);

    dw_error err = {0};
    dw_gguf *gguf = NULL;
    assert_int_equal(dw_gguf_parse(&gguf, file.at, file.count, &err), DW_OK);
    uint32_t number = 0;
    float value = 0;
    bool flag = false;
    assert_int_equal(dw_gguf_u32(gguf, "a.number", &number, &err), DW_OK);
    assert_int_equal(number, 7);
    assert_int_equal(dw_gguf_f32(gguf, "a.float", &value, &err), DW_OK);
    assert_true(value == 0.5f);
    assert_int_equal(dw_gguf_bool(gguf, "a.flag", &flag, &err), DW_OK);
    assert_true(flag);
    dw_gguf_string *list = NULL;
    size_t count = 0;
    assert_int_equal(dw_gguf_strings(gguf, "a.list", &list, &count, &err), DW_OK);
    assert_int_equal(count, 2);
    assert_memory_equal(list[0].text, "one", 3);
    assert_int_equal(list[1].bytes, 0);
    dw_free(list);
    assert_int_equal(dw_gguf_u32(gguf, "missing", &number, &err), DW_E_NOT_FOUND);
    assert_int_equal(dw_gguf_u32(gguf, "a.list", &number, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "a.list"));

    assert_int_equal(dw_gguf_tensor_count(gguf), 2);
    const dw_gguf_tensor *second = dw_gguf_tensor_find(gguf, "second");
    assert_non_null(second);
    assert_int_equal(second->bytes, 34);
    assert_int_equal(second->file_offset, file.count - 34);
    assert_null(dw_gguf_tensor_find(gguf, "third"));
    dw_gguf_close(gguf);
}

static void test_gguf_refuses_heads(void **state)
{
    (void)state;
    bytes file = {.count = 0};
    refuses(&file, DW_E_FORMAT, "truncated at byte 0");
    put(&file, "PK\3\4 and more", 13);
    refuses(&file, DW_E_FORMAT, "not a GGUF file");
    put_head(&file, 1, 0, 0);
    refuses(&file, DW_E_UNSUPPORTED, "version 1");
    put_head(&file, 0x03000000u, 0, 0);
    refuses(&file, DW_E_UNSUPPORTED, "big-endian");
    put_head(&file, 3, UINT64_MAX, 0);
    refuses(&file, DW_E_FORMAT, "18446744073709551615 tensors");
    put_head(&file, 3, 0, 1u << 30);
    refuses(&file, DW_E_FORMAT, "1073741824 keys");
}

static void test_gguf_refuses_keys(void **state)
{
    (void)state;
    bytes file = {.count = 0};
    put_head(&file, 3, 0, 2);
    put_u32_key(&file, "same", 1);
    put_u32_key(&file, "same", 2);
    refuses(&file, DW_E_FORMAT, "'same' is there twice");

    put_head(&file, 3, 0, 1);
    put_u64(&file, UINT64_MAX - 3);
    pad(&file, 8, 64);
    refuses(&file, DW_E_FORMAT, "18446744073709551612 bytes long");

    put_head(&file, 3, 0, 1);
    put_string(&file, "odd");
    put_u32(&file, 99);
    pad(&file, 8, 64);
    refuses(&file, DW_E_FORMAT, "'odd' is of type 99");

    put_head(&file, 3, 0, 1);
    put_string(&file, "two\nlines");
    put_u32(&file, DW_GGUF_U32);
    put_u32(&file, 1);
    refuses(&file, DW_E_FORMAT, "0x0a");

    put_head(&file, 3, 0, 1);
    put_string(&file, "nested");
    put_u32(&file, DW_GGUF_ARRAY);
    put_u32(&file, DW_GGUF_ARRAY);
    put_u64(&file, 1);
    refuses(&file, DW_E_FORMAT, "arrays in arrays");

    put_head(&file, 3, 0, 1);
    put_string(&file, "long");
    put_u32(&file, DW_GGUF_ARRAY);
    put_u32(&file, DW_GGUF_F64);
    put_u64(&file, 1u << 20);
    refuses(&file, DW_E_FORMAT, "array of 1048576 f64");

    put_head(&file, 3, 0, 1);
    put_u32_key(&file, "general.alignment", 48);
    refuses(&file, DW_E_FORMAT, "general.alignment is 48");

    put_head(&file, 3, 0, 1);
    put_u32_key(&file, "split.count", 3);
    refuses(&file, DW_E_UNSUPPORTED, "split.count is 3");
}

static void test_gguf_refuses_tensors(void **state)
{
    (void)state;
    bytes file = {.count = 0};
    put_head(&file, 3, 2, 0);
    put_tensor(&file, "left", 16, GGML_TYPE_F32, 0);
    put_tensor(&file, "right", 16, GGML_TYPE_F32, 32);
    pad(&file, 32, 256);
    refuses(&file, DW_E_FORMAT, "'right': offset 32 overlaps");

    put_head(&file, 3, 2, 0);
    put_tensor(&file, "left", 16, GGML_TYPE_F32, 0);
    put_tensor(&file, "left", 16, GGML_TYPE_F32, 64);
    pad(&file, 32, 256);
    refuses(&file, DW_E_FORMAT, "'left' is there twice");

    put_head(&file, 3, 1, 0);
    put_tensor(&file, "odd", 33, GGML_TYPE_Q4_0, 0);
    pad(&file, 32, 256);
    refuses(&file, DW_E_FORMAT, "rows of 33 elements");

    put_head(&file, 3, 1, 0);
    put_tensor(&file, "odd", 32, 4, 0); /* Q4_2, long gone */
    pad(&file, 32, 256);
    refuses(&file, DW_E_FORMAT, "no tensor type 4");

    put_head(&file, 3, 1, 0);
    put_tensor(&file, "shifted", 32, GGML_TYPE_F32, 4);
    pad(&file, 32, 256);
    refuses(&file, DW_E_FORMAT, "not a multiple of the alignment");

    put_head(&file, 3, 1, 0);
    put_tensor(&file, "none", 0, GGML_TYPE_F32, 0);
    pad(&file, 32, 256);
    refuses(&file, DW_E_FORMAT, "size 0");

    put_head(&file, 3, 1, 0);
    put_tensor(&file, "short", 32, GGML_TYPE_F32, 0);
    pad(&file, 32, 127);
    refuses(&file, DW_E_FORMAT, "truncated: tensor 'short'");

    put_head(&file, 3, 1, 0);
    put_string(&file, "huge");
    put_u32(&file, 4);
    for (int i = 0; i < 4; i++) {
        put_u64(&file, INT32_MAX);
    }
    put_u32(&file, GGML_TYPE_F32);
    put_u64(&file, 0);
    pad(&file, 32, 64);
    refuses(&file, DW_E_FORMAT, "too large");
}

/* ---- whole models ------------------------------------------------------------------------- */

static void write_file(const char *path, const char *content, size_t count)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static char *read_file(const char *path, size_t *count)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *count = (size_t)ftell(file);
    rewind(file);
    char *content = malloc(*count);
    assert_non_null(content);
    assert_int_equal(fread(content, 1, *count, file), *count);
    (void)fclose(file);
    return content;
}

typedef struct folder {
    char path[64];
    dw_device *device;
} folder;

static int set_up(void **state)
{
    folder *here = calloc(1, sizeof *here);
    assert_non_null(here);
    (void)snprintf(here->path, sizeof here->path, "/tmp/dw-gguf-XXXXXX");
    int fd = mkstemp(here->path);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(dw_device_open(&here->device, "CPU", 1, NULL), DW_OK);
    *state = here;
    return 0;
}

static int tear_down(void **state)
{
    folder *here = *state;
    (void)unlink(here->path);
    dw_device_close(here->device);
    free(here);
    return 0;
}

static void load_refuses(folder *here, const tiny_options *options, dw_status code,
                         const char *words)
{
    tiny_model_write(here->path, options);
    dw_error err = {0};
    dw_model *model = NULL;
    assert_int_equal(dw_model_load(&model, here->device, here->path, &err), code);
    assert_null(model);
    if (strstr(err.message, words) == NULL || strstr(err.message, here->path) == NULL) {
        fail_msg("'%s' and the path are not in: %s", words, err.message);
    }
}

static void test_gguf_model_refusals_name_the_thing(void **state)
{
    folder *here = *state;
    tiny_options options = tiny_defaults();
    options.architecture = "mamba";
    load_refuses(here, &options, DW_E_UNSUPPORTED, "'mamba' is not supported; there are: llama");
    options = tiny_defaults();
    options.tokenizer = false;
    load_refuses(here, &options, DW_E_UNSUPPORTED, "no tokenizer");
    options = tiny_defaults();
    options.expert_key = 8;
    load_refuses(here, &options, DW_E_FORMAT, "expert_used_count' is missing");
    options = tiny_defaults();
    options.split_count = 2;
    load_refuses(here, &options, DW_E_FORMAT, "'split.no' is missing");
    options = tiny_defaults();
    options.missing_tensor = "blk.1.ffn_up.weight";
    load_refuses(here, &options, DW_E_FORMAT, "'blk.1.ffn_up.weight' is missing");
    options = tiny_defaults();
    options.extra_tensor = "blk.0.attn_q_norm.weight";
    load_refuses(here, &options, DW_E_UNSUPPORTED, "'blk.0.attn_q_norm.weight' has no place");
    options = tiny_defaults();
    options.kv_head_count = 3;
    load_refuses(here, &options, DW_E_FORMAT, "4 heads cannot share 3");
}

static void test_gguf_model_describes_itself(void **state)
{
    folder *here = *state;
    tiny_options options = tiny_defaults();
    tiny_model_write(here->path, &options);
    dw_error err = {0};
    dw_model *model = NULL;
    if (dw_model_load(&model, here->device, here->path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(model, &info);
    assert_string_equal(info.name, "tiny");
    assert_string_equal(info.architecture, "llama");
    assert_int_equal(info.vocab_count, 320);
    assert_int_equal(info.layer_count, 2);
    assert_int_equal(info.kv_bytes_per_token, 2 * 2 * 2 * 64 * 2);
    assert_true(info.weights_mapped);
    dw_model_unref(dw_model_ref(model));
    dw_model_unref(model);
}

static void test_gguf_model_missing_file(void **state)
{
    folder *here = *state;
    dw_error err = {0};
    dw_model *model = NULL;
    assert_int_equal(dw_model_load(&model, here->device, "/nowhere/model.gguf", &err),
                     DW_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nowhere/model.gguf"));
    assert_int_equal(dw_model_load(&model, here->device, "/tmp", &err), DW_E_IO);
    write_file(here->path, "", 0);
    assert_int_equal(dw_model_load(&model, here->device, here->path, &err), DW_E_FORMAT);
}

static void test_gguf_model_truncated_anywhere(void **state)
{
    folder *here = *state;
    tiny_options options = tiny_defaults();
    tiny_model_write(here->path, &options);
    size_t count = 0;
    char *content = read_file(here->path, &count);
    size_t step = count / 97;
    for (size_t length = 1; length < count; length += length < 600 ? 7 : step) {
        write_file(here->path, content, length);
        dw_error err = {0};
        dw_model *model = NULL;
        assert_int_equal(dw_model_load(&model, here->device, here->path, &err), DW_E_FORMAT);
        if (strstr(err.message, "truncated") == NULL &&
            strstr(err.message, " bytes, limit") == NULL) {
            fail_msg("%zu of %zu bytes: %s", length, count, err.message);
        }
    }
    free(content);
}

/* A flipped bit either makes no difference to the reader or is refused in words; it never crashes,
 * neither in our reader nor in libllama's, which sees the same file. */
static void test_gguf_model_flipped_bits(void **state)
{
    folder *here = *state;
    tiny_options options = tiny_defaults();
    tiny_model_write(here->path, &options);
    size_t count = 0;
    char *content = read_file(here->path, &count);
    size_t head = 12000; /* keys, tokens and tensor entries */
    uint64_t random = 7;
    unsigned refused = 0;
    for (int i = 0; i < 600; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t at = (size_t)(random >> 33) % head;
        char kept = content[at];
        content[at] = (char)(kept ^ (1 << ((random >> 20) & 7)));
        write_file(here->path, content, count);
        dw_error err = {0};
        dw_model *model = NULL;
        dw_status status = dw_model_load(&model, here->device, here->path, &err);
        if (status != DW_OK) {
            assert_true(strlen(err.message) > 10);
            assert_null(strchr(err.message, '\n'));
            refused++;
        }
        dw_model_unref(model);
        content[at] = kept;
    }
    print_message("%u of 600 refused\n", refused);
    assert_true(refused > 100);
    free(content);
}

/* Tokens that libllama would abort over. */
static void replace(char *content, size_t count, const char *from, const char *to)
{
    size_t length = strlen(from);
    assert_int_equal(length, strlen(to));
    for (size_t i = 0; i + length <= count; i++) {
        if (memcmp(content + i, from, length) == 0) {
            memcpy(content + i, to, length);
            return;
        }
    }
    fail_msg("no '%s' in the file", from);
}

static void test_gguf_model_hostile_tokenizer(void **state)
{
    folder *here = *state;
    static const struct {
        const char *from;
        const char *to;
        const char *words;
    } changes[] = {
        {"w300", "w301", "'w301' is there twice"},
        {"<0x41>", "A0x41>", "token 68 is of type byte"},
        {"tokenizer.ggml.token_type", "tokenizer.ggml.token_typo", NULL},
        {"tokenizer.ggml.tokens", "tokenizer.ggml.tokenz", "no tokenizer"},
        {"tokenizer.ggml.model", "tokenizer.ggml.madel", "tokenizer.ggml.model' is missing"},
    };
    tiny_options options = tiny_defaults();
    tiny_model_write(here->path, &options);
    size_t count = 0;
    char *content = read_file(here->path, &count);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        replace(content, count, changes[i].from, changes[i].to);
        write_file(here->path, content, count);
        dw_error err = {0};
        dw_model *model = NULL;
        dw_status status = dw_model_load(&model, here->device, here->path, &err);
        if (changes[i].words == NULL) {
            assert_int_equal(status, DW_OK);
        } else if (status == DW_OK || strstr(err.message, changes[i].words) == NULL) {
            fail_msg("'%s' is not in: %s", changes[i].words, err.message);
        }
        dw_model_unref(model);
        replace(content, count, changes[i].to, changes[i].from);
    }
    free(content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf_reads_what_was_written),
        cmocka_unit_test(test_gguf_refuses_heads),
        cmocka_unit_test(test_gguf_refuses_keys),
        cmocka_unit_test(test_gguf_refuses_tensors),
        cmocka_unit_test_setup_teardown(test_gguf_model_describes_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_model_missing_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_model_refusals_name_the_thing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_model_hostile_tokenizer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_model_truncated_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_model_flipped_bits, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
