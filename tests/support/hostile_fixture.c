#include "hostile_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "tiny_model.h"

/* Its time may be over before a guest that is made has begun, on a machine that is busy enough. */
#define TRIES 100
#define MODELS 3

dw_engine *hostile_engine;
static dw_module *module;
static dw_model *models[MODELS];

/* A small model's vocabulary, a larger one's matrices: a long prompt takes tens of seconds. */
static tiny_options large_model(void)
{
    tiny_options options = tiny_defaults();
    options.matrix_type = GGML_TYPE_Q8_0;
    options.layer_count = 8;
    options.embedding_length = 512;
    options.head_count = 8;
    options.kv_head_count = 2;
    options.head_dim = 64;
    options.ff_length = 2048;
    options.context_length = 32768;
    options.tokenizer = true;
    return options;
}

/* One that takes a text whole. */
static tiny_options encoder(void)
{
    static const tiny_architecture kind = {.name = "nomic-bert",
                                           .norms = TINY_SUM,
                                           .layer_norm = true,
                                           .encoder = true,
                                           .tokenizer = "bert"};
    tiny_options options = large_model();
    options.kind = &kind;
    options.name = "encoder";
    options.architecture = kind.name;
    options.layer_count = 4;
    options.kv_head_count = options.head_count;
    options.context_length = 4096;
    return options;
}

/* The same, small, with a unigram model's vocabulary. */
static tiny_options unigrams(void)
{
    static tiny_architecture kind;
    tiny_options options = encoder();
    kind = *options.kind;
    kind.tokenizer = "t5";
    options.kind = &kind;
    options.name = "unigrams";
    options.layer_count = 1;
    return options;
}

static dw_model *make_model(const tiny_options *options)
{
    char path[] = "/tmp/dw-deadline-XXXXXX";
    dw_model *made = NULL;
    dw_error err;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    tiny_model_write(path, options);
    if (dw_model_open(&made, hostile_engine, path, &err) != DW_OK) {
        fail_msg("%s", err.message);
    }
    (void)unlink(path);
    return made;
}

int hostile_open(void **state)
{
    (void)state;
    dw_error err;
    wasm_signals_restore();
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU"};
    if (dw_engine_create(&hostile_engine, &options, &err) != DW_OK ||
        dw_module_open(&module, hostile_engine, DW_TEST_GUESTS_DIR "/hostile.wasm", &err) !=
            DW_OK) {
        fail_msg("%s", err.message);
    }
    const tiny_options made[] = {large_model(), encoder(), unigrams()};
    for (int i = 0; i < MODELS; i++) {
        models[i] = make_model(&made[i]);
    }
    return 0;
}

int hostile_close(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        dw_model_unref(models[i]);
    }
    dw_module_unref(module);
    dw_engine_destroy(hostile_engine);
    return 0;
}

dw_instance *hostile_start(const char *act, const char *n, const dw_instance_options *with)
{
    const char *args[] = {"hostile", act, n};
    dw_instance_options options = {.struct_bytes = sizeof options};
    options = with != NULL ? *with : options;
    options.args = args;
    options.arg_count = 3;
    options.models = models;
    options.model_count = MODELS;
    dw_instance *instance = NULL;
    dw_error err;
    wasm_signals_restore();
    dw_status status = dw_instance_create(&instance, module, &options, &err);
    for (int i = 0; i < TRIES && status == DW_E_LIMIT && strstr(err.message, "ran longer"); i++) {
        status = dw_instance_create(&instance, module, &options, &err);
    }
    if (status != DW_OK) {
        fail_msg("%s: %s", act, err.message);
    }
    return instance;
}

hostile_streams hostile_replaced;

void hostile_replace_streams(void)
{
    (void)fflush(stdout);
    assert_int_equal(pipe(hostile_replaced.input), 0);
    assert_int_equal(pipe(hostile_replaced.output), 0);
    for (int fd = 0; fd < 2; fd++) {
        hostile_replaced.kept[fd] = dup(fd);
        assert_true(hostile_replaced.kept[fd] > 2);
    }
    assert_int_equal(dup2(hostile_replaced.input[0], 0), 0);
    assert_int_equal(dup2(hostile_replaced.output[1], 1), 1);
}

void hostile_restore_streams(void)
{
    for (int fd = 0; fd < 2; fd++) {
        assert_int_equal(dup2(hostile_replaced.kept[fd], fd), fd);
        (void)close(hostile_replaced.kept[fd]);
        (void)close(hostile_replaced.input[fd]);
        (void)close(hostile_replaced.output[fd]);
    }
}

hostile_ending hostile_run(dw_instance *instance)
{
    hostile_ending end = {.code = 0};
    dw_error err = {.message = ""};
    hostile_replace_streams();
    uint64_t started = dw_os_clock_ns();
    end.status = dw_instance_run(instance, &end.code, &err);
    end.took_ns = dw_os_clock_ns() - started;
    hostile_restore_streams();
    (void)snprintf(end.message, sizeof end.message, "%s", err.message);
    return end;
}
