/* Weights on their way to a device: through the ring, and all of a load on a device that pretends
 * to have memory of its own, too little of it included. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device_memory.h"
#include "gguf/gguf.h"
#include "model/memory_estimate.h"
#include "model/model.h"
#include "model/upload.h"
#include "support.h"
#include "tiny_model.h"

#define MODEL "upload.gguf"
#define PARTS 5

static dw_device *open_device(void)
{
    const char *name = getenv("DW_TEST_DEVICE");
    dw_device *device = NULL;
    dw_error error = {0};
    if (dw_device_open(&device, name != NULL ? name : "CPU", 1, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    return device;
}

/* ---- the ring ---- */

typedef struct fixture {
    dw_device *device;
    struct ggml_context *ggml;
    ggml_backend_buffer_t buffer;
    dw_upload_part parts[PARTS];
    unsigned char *bytes; /* where the parts come from, one behind the other */
    size_t total;
} fixture;

static void open_fixture(fixture *w)
{
    /* Shorter than a chunk, exactly one, a byte more, many, one byte. */
    static const size_t sizes[PARTS] = {1000, 4096, 4097, 300000, 1};
    struct ggml_init_params params = {.mem_size = 1 << 16, .no_alloc = true};
    dw_error error = {0};
    *w = (fixture){.device = open_device(), .ggml = ggml_init(params)};
    for (int i = 0; i < PARTS; i++) {
        w->parts[i].tensor = ggml_new_tensor_1d(w->ggml, GGML_TYPE_I8, (int64_t)sizes[i]);
        w->parts[i].bytes = sizes[i];
        w->total += sizes[i];
    }
    w->bytes = malloc(w->total);
    assert_non_null(w->bytes);
    size_t at = 0;
    for (int i = 0; i < PARTS; i++) {
        w->parts[i].from = w->bytes + at;
        at += sizes[i];
    }
    for (size_t i = 0; i < w->total; i++) {
        w->bytes[i] = (unsigned char)(i * 131 + i / 256 * 17);
    }
    assert_int_equal(
        dw_device_buffer_for_tensors(&w->buffer, w->device, DW_USE_WEIGHTS, w->ggml, &error),
        DW_OK);
}

static void close_fixture(fixture *w)
{
    dw_device_buffer_destroy(w->device, DW_USE_WEIGHTS, w->buffer);
    ggml_free(w->ggml);
    dw_device_close(w->device);
    free(w->bytes);
}

static void check_arrived(fixture *w)
{
    dw_error error = {0};
    for (int i = 0; i < PARTS; i++) {
        unsigned char *copy = malloc(w->parts[i].bytes);
        assert_non_null(copy);
        assert_int_equal(
            dw_device_tensor_get(w->device, w->parts[i].tensor, copy, 0, w->parts[i].bytes, &error),
            DW_OK);
        assert_memory_equal(copy, w->parts[i].from, w->parts[i].bytes);
        free(copy);
    }
}

typedef struct progress {
    uint64_t calls;
    uint64_t done;
    uint64_t total;
    uint64_t give_up_at; /* 0: never */
} progress;

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    progress *p = user;
    assert_true(p->calls == 0 ? done == 0 : done > p->done);
    assert_true(done <= total);
    p->calls++;
    p->done = done;
    p->total = total;
    return p->give_up_at == 0 || done < p->give_up_at;
}

static void upload_fixture(bool ring, size_t chunk_bytes)
{
    fixture w;
    progress p = {0};
    dw_error error = {0};
    open_fixture(&w);
    dw_upload_options options = {.parts = w.parts,
                                 .part_count = PARTS,
                                 .chunk_bytes = chunk_bytes,
                                 .ring = ring,
                                 .on_progress = on_progress,
                                 .user = &p};
    if (dw_upload(w.device, &options, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    check_arrived(&w);
    assert_int_equal(p.done, w.total);
    assert_int_equal(p.total, w.total);
    close_fixture(&w);
}

static void test_upload_brings_every_byte(void **state)
{
    (void)state;
    upload_fixture(false, 0);
    upload_fixture(true, 0);
    upload_fixture(true, 4096);
    upload_fixture(true, 64); /* thousands of chunks through a few slots */
    upload_fixture(false, 64);
}

static void test_upload_of_nothing_is_done(void **state)
{
    (void)state;
    dw_device *device = open_device();
    dw_error error = {0};
    progress p = {0};
    dw_upload_options options = {.ring = true, .on_progress = on_progress, .user = &p};
    assert_int_equal(dw_upload(device, &options, &error), DW_OK);
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.total, 0);
    dw_device_close(device);
}

static void test_upload_is_given_up(void **state)
{
    (void)state;
    for (uint64_t at = 1; at < 300000; at = at * 9 + 1) {
        for (int ring = 0; ring < 2; ring++) {
            fixture w;
            progress p = {.give_up_at = at};
            dw_error error = {0};
            open_fixture(&w);
            dw_upload_options options = {.parts = w.parts,
                                         .part_count = PARTS,
                                         .chunk_bytes = 512,
                                         .ring = ring != 0,
                                         .on_progress = on_progress,
                                         .user = &p};
            assert_int_equal(dw_upload(w.device, &options, &error), DW_E_CANCELLED);
            assert_true(p.done >= at);
            assert_non_null(strstr(error.message, "given up"));
            close_fixture(&w);
        }
    }
}

static void test_upload_ends_when_the_device_is_lost(void **state)
{
    (void)state;
    fixture w;
    dw_error error = {0};
    open_fixture(&w);
    dw_device_mark_lost(w.device, "on purpose");
    dw_upload_options options = {.parts = w.parts, .part_count = PARTS, .ring = true};
    assert_int_equal(dw_upload(w.device, &options, &error), DW_E_DEVICE);
    assert_non_null(strstr(error.message, "on purpose"));
    close_fixture(&w);
}

/* ---- what fits ---- */

static void test_fit_says_what_is_missing_and_what_would_fit(void **state)
{
    (void)state;
    uint64_t bytes;
    dw_error error = {0};
    uint64_t gb = 1000000000;
    dw_memory_estimate fit = {.device = "CUDA0",
                              .needed_bytes = 16 * gb,
                              .free_bytes = 16 * gb,
                              .parameter_count = 8 * gb,
                              .room_bytes = gb};
    assert_int_equal(dw_memory_estimate_check(&fit, &error), DW_OK);
    fit.free_bytes = 12 * gb;
    assert_int_equal(dw_memory_estimate_check(&fit, &error), DW_E_MEMORY);
    assert_string_equal(error.message,
                        "CUDA0: the weights need 16.0 GB, 12.0 GB are free, 4.0 GB are missing; "
                        "quantised to Q8_0 (about 8.5 GB) they fit");
    fit.free_bytes = 9 * gb; /* 8.5 GB would leave too little room */
    assert_string_equal(dw_memory_estimate_quantisation(&fit, &bytes), "Q6_K");
    fit.free_bytes = 6 * gb;
    assert_string_equal(dw_memory_estimate_quantisation(&fit, &bytes), "Q4_K_M");
    fit.needed_bytes = 4 * gb; /* it has few bits already */
    fit.free_bytes = 3 * gb;
    assert_null(dw_memory_estimate_quantisation(&fit, &bytes));
    assert_int_equal(dw_memory_estimate_check(&fit, &error), DW_E_MEMORY);
    assert_non_null(strstr(error.message, "1.0 GB are missing; no quantisation of this model"));
    fit.free_bytes = 0;
    assert_null(dw_memory_estimate_quantisation(&fit, &bytes));
}

/* ---- a whole load ---- */

static size_t bytes_of_weights(void)
{
    dw_device *device = open_device();
    dw_model *model = NULL;
    dw_error error = {0};
    dw_device_pretend_discrete(device, (size_t)1 << 30);
    if (dw_model_load(&model, device, MODEL, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    size_t bytes = atomic_load(&dw_device_counters_of(device)->used_bytes[DW_USE_WEIGHTS]);
    dw_model_unref(model);
    dw_device_close(device);
    return bytes;
}

static void test_model_is_uploaded_to_a_discrete_device(void **state)
{
    (void)state;
    tiny_options tiny = tiny_defaults();
    tiny_model_write(MODEL, &tiny);
    dw_device *device = open_device();
    dw_gguf *gguf = NULL;
    dw_model *model = NULL;
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_error error = {0};
    progress p = {0};
    dw_device_pretend_discrete(device, (size_t)1 << 30);
    dw_model_options options = {
        .struct_bytes = sizeof options, .on_upload = on_progress, .user = &p};
    if (dw_model_load_with(&model, device, MODEL, &options, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    dw_model_get_info(model, &info);
    assert_false(info.weights_mapped);
    assert_int_equal(p.total, info.weights_bytes);
    assert_int_equal(p.done, info.weights_bytes);

    assert_int_equal(dw_gguf_open(&gguf, MODEL, &error), DW_OK);
    const dw_gguf_tensor *entry = dw_gguf_tensor_find(gguf, "token_embd.weight");
    struct ggml_tensor *tensor = dw_model_weights_of(model)->token_embedding;
    size_t file_bytes;
    const unsigned char *file = dw_gguf_part_bytes(gguf, entry->part, &file_bytes);
    unsigned char *copy = malloc(entry->bytes);
    assert_non_null(copy);
    assert_int_equal(dw_device_tensor_get(device, tensor, copy, 0, entry->bytes, &error), DW_OK);
    assert_memory_equal(copy, file + entry->file_offset, entry->bytes);
    free(copy);
    dw_gguf_close(gguf);
    dw_model_unref(model);

    p = (progress){.give_up_at = 1};
    assert_int_equal(dw_model_load_with(&model, device, MODEL, &options, &error), DW_E_CANCELLED);
    assert_null(model);
    for (int i = 0; i < DW_USE_COUNT; i++) {
        assert_int_equal(atomic_load(&dw_device_counters_of(device)->used_bytes[i]), 0);
    }
    dw_device_close(device);
    (void)unlink(MODEL);
}

static void test_models_share_a_device_until_it_is_full(void **state)
{
    (void)state;
    tiny_options tiny = tiny_defaults();
    tiny_model_write(MODEL, &tiny);
    dw_model *first = NULL;
    dw_model *second = NULL;
    dw_error error = {0};
    size_t bytes = bytes_of_weights();
    dw_device *device = open_device();
    dw_device_pretend_discrete(device, 2 * bytes - 1);
    assert_int_equal(dw_model_load(&first, device, MODEL, &error), DW_OK);
    assert_int_equal(dw_model_load(&second, device, MODEL, &error), DW_E_MEMORY);
    assert_null(second);
    assert_non_null(strstr(error.message, "the weights need "));
    assert_non_null(strstr(error.message, " 1 bytes are missing"));
    dw_model_unref(first);
    assert_int_equal(dw_model_load(&second, device, MODEL, &error), DW_OK); /* there is room now */
    dw_model_unref(second);
    dw_device_close(device);

    device = open_device();
    dw_device_pretend_discrete(device, 2 * bytes);
    assert_int_equal(dw_model_load(&first, device, MODEL, &error), DW_OK);
    assert_int_equal(dw_model_load(&second, device, MODEL, &error), DW_OK);
    dw_model_unref(first);
    dw_model_unref(second);
    dw_device_close(device);
    (void)unlink(MODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upload_brings_every_byte),
        cmocka_unit_test(test_upload_of_nothing_is_done),
        cmocka_unit_test(test_upload_is_given_up),
        cmocka_unit_test(test_upload_ends_when_the_device_is_lost),
        cmocka_unit_test(test_fit_says_what_is_missing_and_what_would_fit),
        cmocka_unit_test(test_model_is_uploaded_to_a_discrete_device),
        cmocka_unit_test(test_models_share_a_device_until_it_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
