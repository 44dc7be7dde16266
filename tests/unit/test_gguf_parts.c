/* Models in several files: the same logits as from one, and each way in which parts do not fit. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gguf.h>

#include "model_fixture.h"
#include "support.h"
#include "tiny_model.h"

#define PARTS 3
#define TOKENS 20u

typedef struct parts {
    char folder[64];
    char whole[128];
    char path[PARTS][128];
} parts;

/* What a test wants to be wrong with a part. */
typedef struct flaw {
    int part;
    int no; /* 0: as it should be, so for all; else one more than split.no */
    int count;
    int tensors; /* added to split.tensors.count */
    bool twice;  /* the part holds the first tensor too */
} flaw;

static void write_part(const parts *here, int part, const flaw *wrong)
{
    struct ggml_context *ggml = NULL;
    struct gguf_init_params params = {.no_alloc = false, .ctx = &ggml};
    struct gguf_context *whole = gguf_init_from_file(here->whole, params);
    struct gguf_context *out = gguf_init_empty();
    assert_true(whole != NULL && out != NULL);
    bool flawed = wrong != NULL && wrong->part == part;
    int64_t count = gguf_get_n_tensors(whole);
    if (part == 0) {
        gguf_set_kv(out, whole);
    }
    gguf_set_val_u16(out, "split.no", (uint16_t)(flawed && wrong->no > 0 ? wrong->no - 1 : part));
    gguf_set_val_u16(out, "split.count",
                     (uint16_t)(flawed && wrong->count > 0 ? wrong->count : PARTS));
    gguf_set_val_i32(out, "split.tensors.count", (int32_t)count + (flawed ? wrong->tensors : 0));
    for (int64_t i = 0; i < count; i++) {
        if (i * PARTS / count == part || (i == 0 && flawed && wrong->twice)) {
            gguf_add_tensor(out, ggml_get_tensor(ggml, gguf_get_tensor_name(whole, i)));
        }
    }
    assert_true(gguf_write_to_file(out, here->path[part], false));
    gguf_free(out);
    gguf_free(whole);
    ggml_free(ggml);
}

static int set_up(void **state)
{
    parts *here = calloc(1, sizeof *here);
    assert_non_null(here);
    char folder[] = "/tmp/dw-parts-XXXXXX";
    assert_non_null(mkdtemp(folder));
    (void)snprintf(here->folder, sizeof here->folder, "%s", folder);
    (void)snprintf(here->whole, sizeof here->whole, "%s/whole.gguf", folder);
    tiny_options options = tiny_defaults();
    tiny_model_write(here->whole, &options);
    for (int i = 0; i < PARTS; i++) {
        (void)snprintf(here->path[i], sizeof here->path[i], "%s/tiny-%05d-of-%05d.gguf", folder,
                       i + 1, PARTS);
        write_part(here, i, NULL);
    }
    *state = here;
    return 0;
}

static int tear_down(void **state)
{
    parts *here = *state;
    (void)unlink(here->whole);
    for (int i = 0; i < PARTS; i++) {
        (void)unlink(here->path[i]);
    }
    (void)rmdir(here->folder);
    free(here);
    return 0;
}

static float *logits_of(const char *path, size_t *count)
{
    model_fixture fixture;
    model_fixture_open(&fixture, path);
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(fixture.model, &info);
    assert_int_equal(info.weights_mapped, dw_device_unified(fixture.device));
    for (uint32_t i = 0; i < TOKENS; i++) {
        fixture.tokens[i] = (int32_t)((i * 37 + 11) % fixture.vocab_count);
    }
    dw_context *context = model_fixture_context(&fixture, 0);
    model_fixture_forward(&fixture, context, 0, TOKENS, TOKENS);
    *count = (size_t)TOKENS * fixture.vocab_count;
    float *logits = malloc(*count * sizeof *logits);
    assert_non_null(logits);
    memcpy(logits, fixture.logits, *count * sizeof *logits);
    dw_context_destroy(context);
    model_fixture_close(&fixture);
    return logits;
}

static void test_gguf_parts_give_the_same_logits(void **state)
{
    parts *here = *state;
    size_t count = 0;
    float *whole = logits_of(here->whole, &count);
    float *split = logits_of(here->path[0], &count);
    assert_memory_equal(whole, split, count * sizeof *whole);
    free(whole);
    free(split);
}

static void test_gguf_parts_are_one_list(void **state)
{
    parts *here = *state;
    dw_error err = {0};
    dw_gguf *whole = NULL;
    dw_gguf *split = NULL;
    assert_int_equal(dw_gguf_open(&whole, here->whole, &err), DW_OK);
    assert_int_equal(dw_gguf_open(&split, here->path[0], &err), DW_OK);
    assert_int_equal(dw_gguf_part_count(whole), 1);
    assert_int_equal(dw_gguf_part_count(split), PARTS);
    assert_int_equal(dw_gguf_tensor_count(split), dw_gguf_tensor_count(whole));
    for (size_t i = 0; i < dw_gguf_tensor_count(whole); i++) {
        const dw_gguf_tensor *left = dw_gguf_tensor_at(whole, i);
        const dw_gguf_tensor *right = dw_gguf_tensor_find(split, left->name);
        assert_non_null(right);
        size_t bytes = 0;
        const unsigned char *left_file = dw_gguf_part_bytes(whole, left->part, &bytes);
        const unsigned char *right_file = dw_gguf_part_bytes(split, right->part, &bytes);
        assert_true(right->file_offset + right->bytes <= bytes);
        assert_memory_equal(left_file + left->file_offset, right_file + right->file_offset,
                            left->bytes);
    }
    dw_gguf_close(whole);
    dw_gguf_close(split);
}

static void refuses(const char *path, dw_status code, const char *words)
{
    dw_error err = {0};
    dw_gguf *gguf = NULL;
    assert_int_equal(dw_gguf_open(&gguf, path, &err), code);
    assert_null(gguf);
    if (strstr(err.message, words) == NULL) {
        fail_msg("'%s' is not in: %s", words, err.message);
    }
}

static void test_gguf_parts_that_do_not_fit(void **state)
{
    parts *here = *state;
    static const struct {
        flaw flaw;
        const char *words;
    } cases[] = {
        {{.part = 1, .no = 3}, "part 3 of 3 by its keys, wanted is part 2 of 3"},
        {{.part = 2, .count = 4}, "part 3 of 4 by its keys, wanted is part 3 of 3"},
        {{.part = 2, .no = 4}, "split.no is 3, split.count is 3"},
        {{.part = 0, .count = 2}, "must end in '-00001-of-00002.gguf'"},
        {{.part = 0, .tensors = 1}, "split.tensors.count is"},
        {{.part = 1, .twice = true}, "split.tensors.count is"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_part(here, cases[i].flaw.part, &cases[i].flaw);
        refuses(here->path[0], DW_E_FORMAT, cases[i].words);
        write_part(here, cases[i].flaw.part, NULL);
    }
    flaw more = {.part = 0, .tensors = 1};
    flaw twice = {.part = 1, .twice = true};
    write_part(here, 0, &more);
    write_part(here, 1, &twice);
    refuses(here->path[0], DW_E_FORMAT, "is there twice");
}

static void test_gguf_parts_missing_or_not_the_first(void **state)
{
    parts *here = *state;
    refuses(here->path[1], DW_E_UNSUPPORTED, here->path[0]);
    (void)unlink(here->path[2]);
    refuses(here->path[0], DW_E_NOT_FOUND, here->path[2]);
    refuses(here->path[0], DW_E_NOT_FOUND, "part 3 of 3");
}

/* A descriptor does not say where the other parts are. */
static void test_gguf_parts_from_a_descriptor(void **state)
{
    const parts *here = *state;
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_error error = {.message = ""};
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .threads = 1};
    assert_int_equal(dw_engine_create(&engine, &options, &error), DW_OK);
    for (int i = 0; i < PARTS; i++) {
        int fd = open(here->path[i], O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(dw_model_open_fd(&model, engine, fd, "given", NULL, &error),
                         DW_E_UNSUPPORTED);
        assert_non_null(strstr(error.message, "given: "));
        assert_non_null(strstr(error.message, "part"));
        assert_null(model);
        assert_int_equal(close(fd), 0);
    }
    dw_engine_destroy(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gguf_parts_give_the_same_logits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_parts_are_one_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_parts_that_do_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_parts_from_a_descriptor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gguf_parts_missing_or_not_the_first, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
