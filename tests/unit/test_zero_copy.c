/* The claim that nothing is copied, without the counter that says so: this program's own memcpy and
 * memmove stand before the C library's, and note every larger copy that touches the guest's
 * memory while the guest runs a real model. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood.h"
#include "support.h"

/* ggml's kernels put down their results in pieces of 64 bytes; a list of 128 tokens, a row of
 * logits or a matrix is larger than this. */
#define NOTED_BYTES 512

static const unsigned char *_Atomic watched;
static _Atomic size_t watched_bytes;
static _Atomic uint64_t noted_copies;
static _Atomic uint64_t noted_bytes;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INTERPOSED false /* the sanitizers stand there themselves */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INTERPOSED false
#endif
#endif
#ifndef INTERPOSED
#define INTERPOSED true

static void note(const void *to, const void *from, size_t bytes)
{
    const unsigned char *base = atomic_load_explicit(&watched, memory_order_relaxed);
    if (base == NULL || bytes < NOTED_BYTES) {
        return;
    }
    size_t length = atomic_load_explicit(&watched_bytes, memory_order_relaxed);
    uintptr_t offset_to = (uintptr_t)to - (uintptr_t)base;
    uintptr_t offset_from = (uintptr_t)from - (uintptr_t)base;
    if (offset_to < length || offset_from < length) {
        atomic_fetch_add(&noted_copies, 1);
        atomic_fetch_add(&noted_bytes, bytes);
    }
}

/* Without loops that a compiler would turn into a call of memcpy again. */
static void *copy_forward(void *to, const void *from, size_t bytes)
{
    volatile unsigned char *out = to;
    const unsigned char *in = from;
    uint64_t word;
    while (bytes >= sizeof word) {
        __builtin_memcpy(&word, in, sizeof word);
        *(volatile uint64_t *)(uintptr_t)out = word;
        in += sizeof word;
        out += sizeof word;
        bytes -= sizeof word;
    }
    while (bytes-- > 0) {
        *out++ = *in++;
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    note(to, from, bytes);
    return copy_forward(to, from, bytes);
}

void *memmove(void *to, const void *from, size_t bytes)
{
    note(to, from, bytes);
    if ((uintptr_t)to - (uintptr_t)from >= bytes) {
        return copy_forward(to, from, bytes);
    }
    volatile unsigned char *out = to;
    const unsigned char *in = from;
    while (bytes-- > 0) {
        out[bytes] = in[bytes];
    }
    return to;
}
#endif

static void watch(dw_instance *guest)
{
    atomic_store(&noted_copies, 0);
    atomic_store(&noted_bytes, 0);
    atomic_store(&watched_bytes, guest != NULL ? dw_instance_memory_bytes(guest) : 0);
    atomic_store(&watched, guest != NULL ? dw_instance_memory(guest) : NULL);
}

static void must(dw_status status, const dw_error *error)
{
    if (status != DW_OK) {
        fail_msg("%s", error->message);
    }
}

static const char *model_path(void)
{
    static char path[4096];
    const char *given = getenv("DW_TEST_MODEL");
    const char *folder = getenv("DW_TEST_MODEL_DIR");
    if (given != NULL) {
        return given;
    }
    if (folder != NULL) {
        (void)snprintf(path, sizeof path, "%s/SmolLM2-135M-Instruct.Q4_1.gguf", folder);
    } else {
        (void)snprintf(path, sizeof path, "%s/.cache/driftwood/SmolLM2-135M-Instruct.Q4_1.gguf",
                       getenv("HOME") != NULL ? getenv("HOME") : "");
    }
    return path;
}

static int32_t call(dw_instance *guest, const char *name)
{
    int32_t result = -1;
    dw_error error;
    must(dw_instance_call(guest, name, &result, &error), &error);
    assert_true(result >= 0);
    return result;
}

static void test_zero_copy_of_tokens_and_logits(void **state)
{
    (void)state;
    dw_engine *engine = NULL;
    dw_model *model = NULL;
    dw_module *module = NULL;
    dw_instance *guest = NULL;
    dw_error error;
    dw_engine_options engine_options = {.struct_bytes = sizeof engine_options,
                                        .device = getenv("DW_TEST_DEVICE")};
    must(dw_engine_create(&engine, &engine_options, &error), &error);
    must(dw_model_open(&model, engine, model_path(), &error), &error);
    must(dw_module_open(&module, engine, DW_TEST_GUESTS_DIR "/decode_loop.wasm", &error), &error);
    dw_instance_options options = {
        .struct_bytes = sizeof options, .models = &model, .model_count = 1};
    must(dw_instance_create(&guest, module, &options, &error), &error);

    if (INTERPOSED) { /* that a copy would be noticed */
        static unsigned char elsewhere[4096];
        volatile size_t bytes = sizeof elsewhere; /* so that no compiler copies by itself */
        watch(guest);
        memcpy(elsewhere, dw_instance_memory(guest), bytes);
        assert_int_equal(atomic_load(&noted_copies), 1);
        assert_int_equal(atomic_load(&noted_bytes), sizeof elsewhere);
    }
    watch(guest);
    int32_t prompt_tokens = call(guest, "prepare");
    assert_true(prompt_tokens > 32);
    assert_true(call(guest, "rewind") > 0);
    assert_int_equal(call(guest, "decode"), 64);
    int32_t digest = call(guest, "digest");
    assert_int_equal(call(guest, "rewind_to_choose"), 0);
    assert_int_equal(call(guest, "decode_choosing"), 64);
    assert_int_equal(call(guest, "digest"), digest);
    uint64_t copies = atomic_load(&noted_copies);
    uint64_t bytes = atomic_load(&noted_bytes);
    watch(NULL);
    dw_instance_stats stats = {.struct_bytes = sizeof stats};
    dw_instance_get_stats(guest, &stats);
    assert_int_equal(stats.device_staged_bytes, 0);
    assert_int_equal(stats.prompt_tokens, prompt_tokens);
    assert_int_equal(stats.decoded_tokens, 65 + 64);
    assert_int_equal(copies, 0);
    assert_int_equal(bytes, 0);

    dw_instance_destroy(guest);
    dw_module_unref(module);
    dw_model_unref(model);
    dw_engine_destroy(engine);
    if (!INTERPOSED) {
        skip(); /* the counter was checked; the second count needs a build without sanitizers */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_copy_of_tokens_and_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
