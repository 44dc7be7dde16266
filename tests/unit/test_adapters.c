/* LoRA adapters against libllama with the same files, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "inference/batch.h"
#include "inference/prefix_cache.h"
#include "inference/step_graph.h"
#include "inference/step_parts.h"
#include "model_fixture.h"
#include "support.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

#define ADAPTERS_MAX 3
#define FAR 5e-2

static void temporary(char path[32])
{
    (void)snprintf(path, 32, "/tmp/dw-adapter-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
}

static dw_status add(dw_model *model, const char *name, const char *path, float scale,
                     dw_error *err)
{
    const dw_adapter_options options = {
        .struct_bytes = sizeof options, .name = name, .path = path, .scale = scale};
    return dw_model_add_adapter(model, &options, err);
}

static void add_to(dw_model *model, const char *name, const char *path, float scale)
{
    dw_error error = {0};
    if (add(model, name, path, scale, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
}

/* ---- against libllama ------------------------------------------------------------------------ */

typedef struct pair {
    model_fixture fixture;
    model_oracle oracle;
    dw_context *context;
    double worst;
    bool on_cpu;
} pair;

static void step(pair *at, uint32_t start, uint32_t count)
{
    model_fixture_forward(&at->fixture, at->context, start, count, count);
    oracle_forward(&at->oracle, at->fixture.tokens + start, start, count, true);
    for (uint32_t i = 0; i < count; i++) {
        at->worst = fmax(at->worst,
                         logits_difference(oracle_logits(&at->oracle, (int32_t)i),
                                           at->fixture.logits + (size_t)i * at->fixture.vocab_count,
                                           at->fixture.vocab_count));
    }
}

/* Prompt, decoding, and what follows beyond ggml's attention, with these adapters at once. */
static double compare_files(const char *model, const char *const *adapters, const float *scales,
                            uint32_t count, uint32_t prompt, dw_kv_type kv_type)
{
    pair at = {.oracle.kv_type = kv_type};
    struct llama_adapter_lora *theirs[ADAPTERS_MAX];
    float their_scales[ADAPTERS_MAX];
    dw_adapter_choice choices[ADAPTERS_MAX];
    model_fixture_open(&at.fixture, model);
    at.on_cpu = dw_device_info_of(at.fixture.device)->kind == DW_DEVICE_CPU;
    at.fixture.kv_type = at.on_cpu ? kv_type : DW_KV_F16;
    oracle_open(&at.oracle, model, dw_device_threads(at.fixture.device));
    for (uint32_t i = 0; i < count; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "a%u", i);
        add_to(at.fixture.model, name, adapters[i], 0.0F);
        theirs[i] = llama_adapter_lora_init(at.oracle.model, adapters[i]);
        assert_non_null(theirs[i]);
        their_scales[i] = scales[i];
        choices[i] = (dw_adapter_choice){i, scales[i]};
    }
    assert_int_equal(llama_set_adapters_lora(at.oracle.context, theirs, count, their_scales), 0);
    for (uint32_t i = 0; i < prompt + 5; i++) {
        at.fixture.tokens[i] = (int32_t)((i * i * 31 + i * 17 + 5) % at.fixture.vocab_count);
    }
    at.context = model_fixture_context(&at.fixture, 0);
    assert_int_equal(dw_context_set_adapters(at.context, choices, count, NULL), DW_OK);
    step(&at, 0, prompt);
    for (uint32_t i = 0; i < 5 && prompt > 1; i++) { /* a token alone is compared alone */
        step(&at, prompt + i, 1);
    }
    dw_context_destroy(at.context);
    oracle_close(&at.oracle);
    model_fixture_close(&at.fixture);
    return at.worst;
}

/* How much an adapter changes, so that a test of equality is one. */
static double change(const char *model, const char *adapter)
{
    model_fixture fixture;
    model_fixture_open(&fixture, model);
    add_to(fixture.model, "a", adapter, 1.0F);
    const size_t row = fixture.vocab_count;
    float *plain = malloc(row * sizeof *plain);
    assert_non_null(plain);
    fixture.tokens[0] = 7;
    dw_context *context = model_fixture_context(&fixture, 0);
    assert_int_equal(dw_context_set_adapters(context, NULL, 0, NULL), DW_OK);
    model_fixture_forward(&fixture, context, 0, 1, 1);
    memcpy(plain, fixture.logits, row * sizeof *plain);
    dw_context_destroy(context);
    context = model_fixture_context(&fixture, 0); /* with the usual ones */
    model_fixture_forward(&fixture, context, 0, 1, 1);
    const double difference = logits_difference(plain, fixture.logits, fixture.vocab_count);
    dw_context_destroy(context);
    free(plain);
    model_fixture_close(&fixture);
    return difference;
}

static double limit_of(const tiny_architecture *kind)
{
    bool table = strncmp(kind->name, "gemma", 5) == 0 || strcmp(kind->name, "starcoder2") == 0;
    if (getenv("DW_TEST_DEVICE") != NULL) {
        return kind->expert_count > 0 ? 1.0 : FAR;
    }
    return table ? 1e-3 : 2e-5;
}

static void compare_kind(const tiny_architecture *kind, bool by_ggml)
{
    tiny_options options = tiny_options_of(kind, GGML_TYPE_F32);
    char model[32];
    char first[32];
    char second[32];
    temporary(model);
    temporary(first);
    temporary(second);
    tiny_model_write(model, &options);
    tiny_adapter_write(
        first, model,
        &(tiny_adapter){
            .rank = 8, .seed = 3, .alpha = 16, .type = GGML_TYPE_F32, .table = kind->own_output});
    tiny_adapter_write(
        second, model,
        &(tiny_adapter){.rank = 5, .seed = 9, .type = GGML_TYPE_F32, .only = "attn_"});
    dw__step_graph_set_adapters_by_ggml(by_ggml);
    const char *const files[] = {first, second};
    const double changed = change(model, first);
    const double one =
        compare_files(model, files, (const float[]){1.0F}, 1, by_ggml ? 40 : 400, DW_KV_F32);
    const double both =
        compare_files(model, files, (const float[]){0.5F, -0.75F}, 2, 40, DW_KV_F32);
    dw__step_graph_set_adapters_by_ggml(false);
    print_message("%-12s changes %.3g, worst relative difference %.3g, with two %.3g\n", kind->name,
                  changed, one, both);
    assert_true(changed > 0.02);
    assert_true(one < limit_of(kind) && both < limit_of(kind));
    (void)unlink(model);
    (void)unlink(first);
    (void)unlink(second);
}

static void test_adapters_match_libllama(void **state)
{
    (void)state;
    for (size_t i = 0; i < tiny_kind_count; i++) {
        if (!emulated() || i % 4 == 0) {
            compare_kind(&tiny_kinds[i], false);
        }
    }
}

static void test_adapters_match_libllama_by_ggml(void **state)
{
    (void)state;
    for (size_t i = 0; i < tiny_kind_count; i += 2) {
        if (!emulated() || i % 4 == 0) {
            compare_kind(&tiny_kinds[i], true);
        }
    }
}

/* The default model, whose weights are of few bits: by the same operations the bits of a token that
 * attends to itself alone are libllama's; by ours, whose sums are in another order, as far from it
 * as it is from itself (docs/numerics.md). */
static void test_adapters_match_libllama_on_the_default_model(void **state)
{
    char file[32];
    const float scale = 1.0F;
    (void)state;
    if (emulated()) {
        skip();
    }
    temporary(file);
    tiny_adapter_write(
        file, model_fixture_path(),
        &(tiny_adapter){.rank = 16, .seed = 5, .alpha = 32, .type = GGML_TYPE_F32, .size = 0.5});
    const char *const files[] = {file};
    const double changed = change(model_fixture_path(), file);
    dw__step_graph_set_adapters_by_ggml(true);
    const double same = compare_files(model_fixture_path(), files, &scale, 1, 1, DW_KV_F16);
    dw__step_graph_set_adapters_by_ggml(false);
    const double ours = compare_files(model_fixture_path(), files, &scale, 1, 60, DW_KV_F16);
    print_message("default model: changes %.3g, worst relative difference %.3g, by ggml %.3g\n",
                  changed, ours, same);
    assert_true(changed > 0.05);
    assert_true(getenv("DW_TEST_DEVICE") != NULL || getenv("DW_TEST_MODEL") != NULL || same == 0.0);
    assert_true(ours < 0.1);
    (void)unlink(file);
}

/* ---- files ----------------------------------------------------------------------------------- */

typedef struct files {
    model_fixture fixture;
    char model[32];
    char adapter[32];
} files;

static void open_files(files *of, const tiny_options *options)
{
    temporary(of->model);
    temporary(of->adapter);
    tiny_model_write(of->model, options);
    model_fixture_open(&of->fixture, of->model);
    for (uint32_t i = 0; i < FIXTURE_TOKENS; i++) {
        of->fixture.tokens[i] = (int32_t)((i * i * 31 + i * 17 + 5) % of->fixture.vocab_count);
    }
}

static void close_files(files *of)
{
    model_fixture_close(&of->fixture);
    (void)unlink(of->model);
    (void)unlink(of->adapter);
}

/* F32 adapters of other types of numbers: those that libllama multiplies with otherwise are held in
 * floats here. */
static void test_adapters_types(void **state)
{
    static const enum ggml_type types[] = {GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0};
    tiny_options options = tiny_defaults();
    char model[32];
    char adapter[32];
    const float scale = 1.0F;
    (void)state;
    temporary(model);
    temporary(adapter);
    tiny_model_write(model, &options);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const char *const file[] = {adapter};
        tiny_adapter_write(adapter, model,
                           &(tiny_adapter){.rank = 32, .seed = i, .alpha = 32, .type = types[i]});
        const double worst = compare_files(model, file, &scale, 1, 40, DW_KV_F32);
        print_message("%-5s worst relative difference %.3g\n", ggml_type_name(types[i]), worst);
        assert_true(worst < FAR);
    }
    (void)unlink(model);
    (void)unlink(adapter);
}

typedef struct malformed {
    tiny_adapter file;
    dw_status status;
    const char *says;
} malformed;

#define GOOD .rank = 4, .seed = 1, .alpha = 8, .type = GGML_TYPE_F32

static void test_adapters_refused(void **state)
{
    static const malformed cases[] = {
        {{GOOD, .general_type = "model"}, DW_E_FORMAT, "'general.type' is 'model', 'adapter'"},
        {{GOOD, .adapter_type = "control"},
         DW_E_UNSUPPORTED,
         "'adapter.type' is 'control', 'lora'"},
        {{GOOD, .architecture = "qwen2"},
         DW_E_UNSUPPORTED,
         "'general.architecture' is 'qwen2', 'llama'"},
        {{GOOD, .invocation_tokens = true}, DW_E_UNSUPPORTED, "adapter.alora.invocation_tokens"},
        {{GOOD, .alpha_nan = true}, DW_E_FORMAT, "'adapter.lora.alpha' is nan"},
        {{GOOD, .without_b = true}, DW_E_FORMAT, ".lora_b' is missing"},
        {{GOOD, .without_a = true}, DW_E_FORMAT, ".lora_a' is missing"},
        {{GOOD, .extra_tensor = "blk.0.attn_norm.weight"},
         DW_E_UNSUPPORTED,
         "'blk.0.attn_norm.weight' ends in neither"},
        {{GOOD, .renamed_to = "blk.9.attn_q.weight"},
         DW_E_UNSUPPORTED,
         "the model has no 'blk.9.attn_q.weight'"},
        {{GOOD, .renamed_to = "blk.0.attn_norm.weight"},
         DW_E_UNSUPPORTED,
         "'blk.0.attn_norm.weight' is none that adapters change"},
        {{GOOD, .renamed_to = "output.weight"},
         DW_E_UNSUPPORTED,
         "the model has no 'output.weight'"},
        {{GOOD, .only = "blk.1.", .renamed_to = "blk.0.ffn_down.weight"},
         DW_E_FORMAT,
         "has the sizes"},
        {{GOOD, .other_rank = true}, DW_E_FORMAT, "has the sizes"},
        {{GOOD, .other_rows = true}, DW_E_FORMAT, "has the sizes"},
        {{GOOD, .integers = true}, DW_E_UNSUPPORTED, "is of type i32"},
        {{GOOD, .nan = true}, DW_E_NUMERIC, "holds nan, finite numbers are needed"},
        {{GOOD, .empty = true}, DW_E_FORMAT, "no pair of tensors"},
        {{.rank = 4097, .seed = 1, .type = GGML_TYPE_F32, .only = "blk.0.attn_q"},
         DW_E_LIMIT,
         "is of rank 4097, from 1 to 4096"},
    };
    tiny_options options = tiny_defaults();
    files of;
    dw_error error;
    (void)state;
    open_files(&of, &options);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tiny_adapter_write(of.adapter, of.model, &cases[i].file);
        const dw_status status = add(of.fixture.model, "a", of.adapter, 1.0F, &error);
        if (status != cases[i].status || strstr(error.message, cases[i].says) == NULL ||
            strstr(error.message, of.adapter) == NULL) {
            fail_msg("case %zu: %d, %s", i, (int)status, error.message);
        }
    }
    assert_int_equal(add(of.fixture.model, "a", of.model, 1.0F, &error), DW_E_FORMAT);
    assert_non_null(strstr(error.message, "'general.type'"));
    assert_int_equal(add(of.fixture.model, "a", "/nowhere", 1.0F, &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_model_adapter_count(of.fixture.model), 0);
    close_files(&of);
}

static void test_adapters_names_and_limits(void **state)
{
    tiny_options options = tiny_defaults();
    files of;
    dw_error error;
    char name[DW_ADAPTER_NAME_MAX + 2];
    dw_adapter_info info = {.struct_bytes = sizeof info};
    (void)state;
    open_files(&of, &options);
    dw_model *model = of.fixture.model;
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    tiny_adapter_write(of.adapter, of.model, &(tiny_adapter){GOOD});
    assert_int_equal(add(model, "", of.adapter, 1.0F, &error), DW_E_ARG);
    assert_int_equal(add(model, "a b", of.adapter, 1.0F, &error), DW_E_ARG);
    assert_int_equal(add(model, name, of.adapter, 1.0F, &error), DW_E_LIMIT);
    assert_int_equal(add(model, "a", of.adapter, NAN, &error), DW_E_ARG);
    assert_int_equal(add(model, "a", of.adapter, 1001.0F, &error), DW_E_ARG);
    assert_int_equal(dw_model_adapter_count(model), 0);
    add_to(model, "a", of.adapter, 0.25F);
    assert_int_equal(add(model, "b", of.adapter, 1.0F, &error), DW_E_ARG);
    assert_non_null(strstr(error.message, "has it as 'a'"));
    tiny_adapter_write(of.adapter, of.model, &(tiny_adapter){GOOD, .only = "ffn_"});
    assert_int_equal(add(model, "a", of.adapter, 1.0F, &error), DW_E_ARG);
    assert_int_equal(dw_model_get_adapter(model, 0, &info, &error), DW_OK);
    assert_string_equal(info.name, "a");
    assert_int_equal(info.rank, 4);
    assert_int_equal(info.pair_count, 2 * 7);
    assert_true(info.scale == 0.25F && info.alpha == 8.0F && info.bytes > 0);
    assert_int_equal(dw_model_get_adapter(model, 1, &info, &error), DW_E_RANGE);
    for (uint32_t i = 1; i < DW_ADAPTERS_MAX; i++) {
        tiny_adapter_write(of.adapter, of.model,
                           &(tiny_adapter){.rank = 1, .seed = i, .only = "blk.0.attn_q"});
        (void)snprintf(name, sizeof name, "n%u", i);
        add_to(model, name, of.adapter, 0.0F);
    }
    tiny_adapter_write(of.adapter, of.model, &(tiny_adapter){.rank = 1, .seed = 999});
    assert_int_equal(add(model, "more", of.adapter, 1.0F, &error), DW_E_LIMIT);
    close_files(&of);
}

/* Each allocation fails once: nothing is left, and the next try succeeds. */
static void test_adapters_without_memory(void **state)
{
    tiny_options options = tiny_defaults();
    files of;
    dw_error error;
    dw_status status = DW_E_MEMORY;
    (void)state;
    open_files(&of, &options);
    tiny_adapter_write(of.adapter, of.model, &(tiny_adapter){GOOD});
    for (int64_t i = 0; status != DW_OK; i++) {
        dw_alloc_fail_after(i);
        status = add(of.fixture.model, "a", of.adapter, 1.0F, &error);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || status == DW_E_MEMORY);
        assert_int_equal(dw_model_adapter_count(of.fixture.model), status == DW_OK);
    }
    const dw_adapter_choice choice = {0, 2.0F};
    dw_context *context = model_fixture_context(&of.fixture, 0);
    status = DW_E_MEMORY;
    for (int64_t i = 0; status != DW_OK; i++) {
        const dw_adapter_set *before = dw_context_adapters(context);
        dw_alloc_fail_after(i);
        status = dw_context_set_adapters(context, &choice, 1, &error);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || dw_context_adapters(context) == before);
    }
    dw_context_destroy(context);
    close_files(&of);
}

/* ---- contexts -------------------------------------------------------------------------------- */

#define PROMPT 150u
#define MEMBERS 4u

static void open_two_of(files *of, tiny_options options)
{
    options.matrix_type = GGML_TYPE_Q8_0;
    open_files(of, &options);
    tiny_adapter_write(of->adapter, of->model, &(tiny_adapter){GOOD, .table = true});
    add_to(of->fixture.model, "first", of->adapter, 1.0F);
    tiny_adapter_write(
        of->adapter, of->model,
        &(tiny_adapter){.rank = 20, .seed = 8, .type = GGML_TYPE_F32, .table = true});
    add_to(of->fixture.model, "second", of->adapter, 0.0F);
}

/* Two adapters of a model in Q8_0, whose products promise the same bits in any company. */
static void open_two(files *of)
{
    tiny_options options = tiny_defaults();
    options.own_output = true;
    open_two_of(of, options);
}

static dw_context *context_with(files *of, uint32_t member)
{
    static const dw_adapter_choice both[] = {{1, 0.5F}, {0, 1.0F}};
    static const dw_adapter_choice turned[] = {{0, 1.0F}, {1, 0.5F}};
    dw_context *context = model_fixture_context(&of->fixture, 0);
    const dw_adapter_choice *choices = member == 2 ? turned : both;
    const uint32_t count = member == 0 ? 0 : member == 3 ? 1 : 2;
    assert_int_equal(dw_context_set_adapters(context, choices, count, NULL), DW_OK);
    return context;
}

static dw_step step_of(files *of, uint32_t offset, uint32_t count, uint32_t row)
{
    return (dw_step){.view = of->fixture.view,
                     .tokens = of->fixture.tokens + offset,
                     .token_count = count,
                     .logits = of->fixture.logits + (size_t)row * of->fixture.vocab_count,
                     .logits_rows = 1,
                     .counters = &of->fixture.counters};
}

static void forward_all(dw_batch_item *items, uint32_t count)
{
    dw_batch_forward_all(items, count);
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].status != DW_OK) {
            fail_msg("%u: %s", i, items[i].error.message);
        }
    }
}

/* Runs of the device for all of them together. `leaver`, which may be NULL, goes with its context
 * in the middle of the first, which goes in parts. */
static uint64_t run_together(dw_batch_item *items, uint32_t count, dw_batch_item *leaver)
{
    dw_batch batch;
    bool left = leaver == NULL;
    dw_batch_init(&batch, NULL);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(dw_batch_admits(&batch, items[i].context, NULL), DW_OK);
        dw_batch_add(&batch, &items[i]);
    }
    for (uint32_t part = 0; dw_batch_is_busy(&batch); part++) {
        dw_batch_run(&batch);
        if (!left && part == 3) {
            assert_true(dw_batch_is_amid(&batch));
            atomic_store(&leaver->leaves, true);
            dw_batch_drop_stopped(&batch);
        }
        for (dw_batch_item *item; (item = dw_batch_take(&batch)) != NULL;) {
            assert_int_equal(item->status, item == leaver ? DW_E_CANCELLED : DW_OK);
            if (item == leaver) {
                dw_context_destroy(item->context);
                left = true;
            }
        }
    }
    assert_true(left);
    const uint64_t runs = batch.counts.runs;
    dw_batch_release(&batch);
    return runs;
}

/* A prompt's and a token's rows of each member, to the fixture's logits. How they go: */
enum { ALONE, TOGETHER, IN_PARTS, WITH_A_LEAVER };

static uint64_t compute(files *of, int how)
{
    uint64_t runs = 0;
    dw_context *contexts[MEMBERS];
    dw__step_set_part_work(how >= IN_PARTS ? (uint64_t)1 << 13 : 0);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        contexts[i] = context_with(of, i);
    }
    const uint32_t left = how == WITH_A_LEAVER ? 1 : MEMBERS;
    for (uint32_t part = 0; part < 2; part++) {
        dw_batch_item items[MEMBERS] = {0};
        uint32_t count = 0;
        for (uint32_t i = 0; i < MEMBERS; i++) {
            items[count].context = contexts[i];
            items[count].step = part == 0 ? step_of(of, 0, PROMPT + 10 * i, i)
                                          : step_of(of, PROMPT + 10 * i, 1, MEMBERS + i);
            count += part == 0 || i != left;
        }
        for (uint32_t i = 0; i < count && how == ALONE; i++) {
            forward_all(&items[i], 1);
        }
        if (how != ALONE) {
            runs += run_together(items, count, part == 0 && left < count ? &items[left] : NULL);
        }
    }
    for (uint32_t i = 0; i < MEMBERS; i++) {
        if (i != left) {
            dw_context_destroy(contexts[i]);
        }
    }
    dw__step_set_part_work(0);
    return runs;
}

static void compare_company(tiny_options options)
{
    files of;
    open_two_of(&of, options);
    const size_t row = of.fixture.vocab_count;
    const size_t bytes = 2 * MEMBERS * row * sizeof(float);
    float *alone = malloc(bytes);
    assert_non_null(alone);
    (void)compute(&of, ALONE);
    memcpy(alone, of.fixture.logits, bytes);
    for (uint32_t i = 1; i < MEMBERS; i++) { /* that there is something to tell apart */
        assert_true(logits_difference(alone + (i - 1) * row, alone + i * row, (uint32_t)row) >
                    1e-3);
    }
    for (int how = TOGETHER; how <= WITH_A_LEAVER; how++) {
        memset(of.fixture.logits, 0, bytes);
        const uint64_t runs = compute(&of, how);
        assert_true(how != TOGETHER || runs <= 4); /* a prompt's slices, and one for all tokens */
        for (uint32_t i = 0; i < 2 * MEMBERS; i++) {
            if (how != WITH_A_LEAVER || i % MEMBERS != 1) {
                assert_memory_equal(alone + i * row, of.fixture.logits + i * row,
                                    row * sizeof *alone);
            }
        }
    }
    free(alone);
    close_files(&of);
}

/* Contexts with other adapters, the same ones and none in the same runs: each as alone, bit by bit,
 * also where runs go in parts, and one leaves in the middle. */
static void test_adapters_in_one_run(void **state)
{
    (void)state;
    if (!tests_on_cpu()) {
        skip();
    }
    tiny_options options = tiny_defaults();
    compare_company(options);
    options.own_output = true;
    compare_company(options);
    options.biases = true;
    compare_company(options);
}

static const tiny_architecture *kind_of(const char *name)
{
    size_t i = 0;
    while (strcmp(tiny_kinds[i].name, name) != 0) {
        i++;
        assert_true(i < tiny_kind_count);
    }
    return &tiny_kinds[i];
}

/* Those of experts, whose products are ggml's, have runs of their own. */
static void test_adapters_in_company(void **state)
{
    static const char *const kinds[] = {"llama", "qwen3moe"};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        files of;
        open_two_of(&of, tiny_options_of(kind_of(kinds[k]), GGML_TYPE_Q8_0));
        const size_t row = of.fixture.vocab_count;
        const size_t bytes = MEMBERS * row * sizeof(float);
        float *alone = malloc(bytes);
        assert_non_null(alone);
        for (int round = 0; round < 2; round++) {
            dw_batch_item items[MEMBERS] = {0};
            for (uint32_t i = 0; i < MEMBERS; i++) {
                items[i].context = context_with(&of, i);
                items[i].step = step_of(&of, 0, PROMPT, i);
            }
            for (uint32_t i = 0; i < MEMBERS && round == 0; i++) {
                forward_all(&items[i], 1);
            }
            if (round == 1) {
                forward_all(items, MEMBERS);
            }
            for (uint32_t i = 0; i < MEMBERS; i++) {
                dw_context_destroy(items[i].context);
            }
            memcpy(alone, of.fixture.logits, round == 0 ? bytes : 0);
        }
        const bool exact = tests_on_cpu() && k == 0;
        for (uint32_t i = 0; i < MEMBERS; i++) {
            const float *ours = of.fixture.logits + i * row;
            assert_true(logits_difference(alone + i * row, ours, (uint32_t)row) <
                        (exact ? 1e-30 : FAR));
        }
        /* The same adapters in another order are the same. */
        assert_memory_equal(alone + row, alone + 2 * row, row * sizeof *alone);
        free(alone);
        close_files(&of);
    }
}

static void test_adapters_of_a_context(void **state)
{
    files of;
    dw_error error;
    (void)state;
    open_two(&of);
    dw_context *context = model_fixture_context(&of.fixture, 0);
    const dw_adapter_set *usual = dw_context_adapters(context);
    assert_int_equal(usual->count, 1); /* whose scale is not 0 */
    assert_int_equal(usual->choices[0].index, 0);
    const dw_adapter_choice bad[] = {{2, 1.0F}, {0, NAN}, {0, -1001.0F}};
    for (size_t i = 0; i < 3; i++) {
        const dw_status wanted = i == 0 ? DW_E_RANGE : DW_E_ARG;
        assert_int_equal(dw_context_set_adapters(context, &bad[i], 1, &error), wanted);
    }
    const dw_adapter_choice twice[] = {{1, 1.0F}, {1, 1.0F}};
    assert_int_equal(dw_context_set_adapters(context, twice, 2, &error), DW_E_ARG);
    assert_ptr_equal(dw_context_adapters(context), usual);
    const dw_adapter_choice off = {1, 0.0F};
    assert_int_equal(dw_context_set_adapters(context, &off, 1, NULL), DW_OK);
    assert_null(dw_context_adapters(context));
    const dw_adapter_choice second = {1, 2.0F};
    assert_int_equal(dw_context_set_adapters(context, &second, 1, NULL), DW_OK);
    model_fixture_forward(&of.fixture, context, 0, 3, 1);
    assert_int_equal(dw_context_set_adapters(context, NULL, 0, &error), DW_E_STATE);
    assert_non_null(strstr(error.message, "holds 3 tokens"));
    dw_context *child = NULL;
    assert_int_equal(dw_context_fork(&child, context, NULL), DW_OK);
    assert_ptr_equal(dw_context_adapters(child), dw_context_adapters(context));
    dw_context_destroy(context);
    assert_int_equal(dw_context_trim(child, 0, NULL), DW_OK);
    assert_int_equal(dw_context_set_adapters(child, NULL, 0, NULL), DW_OK);
    dw_context_destroy(child);
    close_files(&of);
}

/* A prompt that goes in parts, cut anywhere. */
static void test_adapters_in_parts(void **state)
{
    files of;
    (void)state;
    open_two(&of);
    const size_t row = of.fixture.vocab_count;
    for (uint32_t i = 0; i < 2; i++) {
        dw_context *context = context_with(&of, 1);
        const dw_step step = step_of(&of, 0, PROMPT, i);
        dw__step_set_part_work(i == 0 ? UINT64_MAX : (uint64_t)1 << 12);
        assert_int_equal(dw_context_forward(context, &step, NULL), DW_OK);
        dw_context_destroy(context);
    }
    dw__step_set_part_work(0);
    assert_memory_equal(of.fixture.logits, of.fixture.logits + row, row * sizeof(float));
    close_files(&of);
}

/* What one set of adapters has computed, another does not find. */
static void test_adapters_share_no_prefixes(void **state)
{
    files of;
    dw_prefix_cache *cache = NULL;
    static const uint32_t members[] = {0, 0, 1, 3, 2};
    static const uint32_t found[] = {0, 128, 0, 0, 128};
    (void)state;
    open_two(&of);
    assert_int_equal(dw_prefix_cache_create(&cache, (uint64_t)64 << 20, NULL), DW_OK);
    for (size_t i = 0; i < 5; i++) {
        dw_context *context = model_fixture_context(&of.fixture, 0);
        assert_int_equal(dw_context_share_prefixes(context, cache, "a", NULL), DW_OK);
        dw_context *like = context_with(&of, members[i]);
        const dw_adapter_set *set = dw_context_adapters(like);
        assert_int_equal(dw_context_set_adapters(context, set != NULL ? set->choices : NULL,
                                                 set != NULL ? set->count : 0, NULL),
                         DW_OK);
        const uint64_t before = of.fixture.counters.found_tokens;
        dw_batch_item item = {.context = context, .step = step_of(&of, 0, PROMPT, 0)};
        forward_all(&item, 1);
        assert_int_equal(of.fixture.counters.found_tokens - before, found[i]);
        dw_context_destroy(like);
        dw_context_destroy(context);
    }
    dw_prefix_cache_clear(cache, NULL, true);
    dw_prefix_cache_destroy(cache);
    close_files(&of);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapters_match_libllama),
        cmocka_unit_test(test_adapters_match_libllama_by_ggml),
        cmocka_unit_test(test_adapters_match_libllama_on_the_default_model),
        cmocka_unit_test(test_adapters_types),
        cmocka_unit_test(test_adapters_refused),
        cmocka_unit_test(test_adapters_names_and_limits),
        cmocka_unit_test(test_adapters_without_memory),
        cmocka_unit_test(test_adapters_in_one_run),
        cmocka_unit_test(test_adapters_in_company),
        cmocka_unit_test(test_adapters_in_parts),
        cmocka_unit_test(test_adapters_of_a_context),
        cmocka_unit_test(test_adapters_share_no_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
