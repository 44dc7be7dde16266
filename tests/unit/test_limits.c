/* Every limit of the table (DW_LIMIT_LIST) holds: for each row a guest that runs into it, which is
 * told so by the right status and the limit's name or number, and one beside it, of the same code
 * with more room, that does not notice. A row without a case fails. Rows that other test programs
 * go through are named with them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor/actor.h"
#include "actor_fixture.h"
#include "base/limits.h"
#include "support.h"
#include "wasm/guest_instance.h"

static actor_fixture *fixture;
static dw_module *limits_module;

typedef struct wall wall;
/* What the guest of `function` meets with these limits; its words in `words`. */
typedef dw_status (*try_fn)(const wall *of, const dw_limits *limits, char words[256]);

struct wall {
    const char *row;
    const char *tight; /* refused */
    const char *roomy; /* fine */
    const char *function;
    const char *says; /* with the refusal, beside the row's name */
    try_fn try;
};

static dw_limits limits_of(const char *row, const char *value)
{
    dw_limits limits = {.struct_bytes = sizeof limits};
    dw_error error;
    if (dw_limits_set(&limits, row, value, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    return limits;
}

static dw_status create(dw_instance **instance, dw_module *module, const dw_limits *limits,
                        char words[256])
{
    dw_error error = {.message = ""};
    dw_instance_options options = {.struct_bytes = sizeof options,
                                   .models = &fixture->model,
                                   .model_count = 1,
                                   .limits = limits};
    dw_status status = dw_instance_create(instance, module, &options, &error);
    (void)snprintf(words, 256, "%s", error.message);
    return status;
}

/* ---- ways to try --------------------------------------------------------------------------- */

/* An export of tests/guest/limits.c, whose answer is the status. */
static dw_status try_call(const wall *of, const dw_limits *limits, char words[256])
{
    dw_instance *instance = NULL;
    dw_error error = {.message = ""};
    int32_t answer = 0;
    dw_status status = create(&instance, limits_module, limits, words);
    if (status != DW_OK) {
        return status;
    }
    status = dw_instance_call(instance, of->function, &answer, &error);
    if (status == DW_OK && answer < 0) {
        int32_t at = 0;
        assert_int_equal(dw_instance_call(instance, "words", &at, &error), DW_OK);
        (void)snprintf(words, 256, "%s", (const char *)dw_instance_memory(instance) + at);
        status = (dw_status)answer;
    } else {
        (void)snprintf(words, 256, "%s", error.message);
    }
    dw_instance_destroy(instance);
    return status;
}

/* A module in WebAssembly's text, which is only instantiated. */
static dw_status try_module(const wall *of, const dw_limits *limits, char words[256])
{
    wasm_byte_vec_t wasm;
    dw_module *module = NULL;
    dw_instance *instance = NULL;
    dw_error error = {.message = ""};
    wasmtime_error_t *failed = wasmtime_wat2wasm(of->function, strlen(of->function), &wasm);
    assert_null(failed);
    if (dw_module_create(&module, fixture->engine, wasm.data, wasm.size, &error) != DW_OK) {
        fail_msg("%s: %s", of->row, error.message);
    }
    wasm_byte_vec_delete(&wasm);
    dw_status status = create(&instance, module, limits, words);
    dw_instance_destroy(instance);
    dw_module_unref(module);
    return status;
}

/* Folders that a guest opens: 1,000 that it closes again or puts another in the place of, then as
 * many as `function` says. */
static const char opens[] =
    "(module (import \"wasi_snapshot_preview1\" \"path_open\" (func $path_open (param i32 i32 i32 "
    "i32 i32 i64 i64 i32 i32) (result i32)))"
    "(import \"wasi_snapshot_preview1\" \"fd_close\" (func $close (param i32) (result i32)))"
    "(import \"wasi_snapshot_preview1\" \"fd_renumber\""
    " (func $renumber (param i32 i32) (result i32)))"
    "(import \"driftwood\" \"last_error\" (func $last_error (param i32 i32) (result i32)))"
    "(memory (export \"memory\") 1) (data (i32.const 16) \".\")"
    "(func $open (result i32) (call $path_open (i32.const 3) (i32.const 0) (i32.const 16)"
    " (i32.const 1) (i32.const 2) (i64.const 16384) (i64.const 0) (i32.const 0) (i32.const 0)))"
    "(func (export \"words\") (result i32)"
    " (drop (call $last_error (i32.const 1024) (i32.const 256))) (i32.const 1024))"
    "(func (export \"opened\") (result i32) (local $i i32)"
    " (loop $again"
    "  (if (call $open) (then (return (i32.const -1))))"
    "  (if (i32.and (local.get $i) (i32.const 1))"
    "   (then (local.set $i (i32.add (local.get $i) (i32.const 1)))"
    "    (i32.store (i32.const 8) (i32.load (i32.const 0)))"
    "    (if (call $open) (then (return (i32.const -2))))"
    "    (if (call $renumber (i32.load (i32.const 0)) (i32.load (i32.const 8)))"
    "     (then (return (i32.const -3))))"
    "    (i32.store (i32.const 0) (i32.load (i32.const 8)))))"
    "  (if (call $close (i32.load (i32.const 0))) (then (return (i32.const -4))))"
    "  (local.set $i (i32.add (local.get $i) (i32.const 1)))"
    "  (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))"
    " (local.set $i (i32.const 0))"
    " (block $end (loop $more"
    "  (br_if $end (call $open))"
    "  (local.set $i (i32.add (local.get $i) (i32.const 1)))"
    "  (br_if $more (i32.lt_u (local.get $i) (i32.const 400)))))"
    " (local.get $i)))";

static dw_status try_files(const wall *of, const dw_limits *limits, char words[256])
{
    wasm_byte_vec_t wasm;
    dw_module *module = NULL;
    dw_instance *instance = NULL;
    dw_error error = {.message = ""};
    int32_t opened = 0;
    int32_t at = 0;
    const dw_dir dir = {.host_path = "/tmp", .guest_path = "/"};
    const dw_instance_options options = {
        .struct_bytes = sizeof options, .dirs = &dir, .dir_count = 1, .limits = limits};
    assert_null(wasmtime_wat2wasm(opens, sizeof opens - 1, &wasm));
    assert_int_equal(dw_module_create(&module, fixture->engine, wasm.data, wasm.size, &error),
                     DW_OK);
    wasm_byte_vec_delete(&wasm);
    if (dw_instance_create(&instance, module, &options, &error) != DW_OK ||
        dw_instance_call(instance, "opened", &opened, &error) != DW_OK ||
        dw_instance_call(instance, "words", &at, &error) != DW_OK) {
        fail_msg("%s: %s", of->row, error.message);
    }
    (void)snprintf(words, 256, "%s", (const char *)dw_instance_memory(instance) + at);
    dw_instance_destroy(instance);
    dw_module_unref(module);
    if (opened == 400) {
        return DW_OK;
    }
    assert_int_equal(opened, limits->files);
    return DW_E_LIMIT;
}

/* memory.grow answers -1, without words. */
static dw_status try_growth(const wall *of, const dw_limits *limits, char words[256])
{
    dw_status status = try_call(of, limits, words);
    (void)snprintf(words, 256, "%s", of->row);
    return status == DW_E_ARG ? DW_E_LIMIT : status; /* -1 */
}

/* An actor's message of this size, as often as `function` says; then what it does with it. */
static dw_status try_actor(const wall *of, const dw_limits *limits, char words[256])
{
    struct {
        char what[4];
        uint32_t count;
        uint32_t size;
    } order = {.what = {of->function[0]}};
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = limits};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    assert_int_equal(sscanf(of->function + 1, "%u %u", &order.count, &order.size), 2);
    assert_int_equal(dw_actor_spawn(&actor, limits_module, &options, &error), DW_OK);
    dw_status status = dw_actor_send(actor, NULL, &order, sizeof order, &error);
    if (status == DW_OK) {
        status = dw_actor_receive(actor, NULL, NULL, &error);
    }
    (void)snprintf(words, 256, "%s", error.message);
    dw_actor_destroy(actor);
    return status;
}

/* Messages [count] of `size` bytes that wait in an actor. */
static dw_status try_mail(const wall *of, const dw_limits *limits, char words[256])
{
    static char message[1 << 16];
    unsigned count;
    unsigned size;
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = limits};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    assert_int_equal(sscanf(of->function, "%u %u", &count, &size), 2);
    assert_int_equal(dw_actor_spawn(&actor, limits_module, &options, &error), DW_OK);
    dw_status status = DW_OK;
    for (unsigned i = 0; i < count && status == DW_OK; i++) {
        status = dw_actor_send(actor, NULL, message, size, &error);
    }
    (void)snprintf(words, 256, "%s", error.message);
    dw_actor_destroy(actor);
    return status == DW_E_BUSY ? DW_E_LIMIT : status; /* a full mailbox may empty itself */
}

/* ---- the walls ------------------------------------------------------------------------------ */

#define MEMORY "(memory (export \"memory\") 1) (func (export \"f\"))"
#define TWO_MEMORIES "(module " MEMORY " (memory 3))"
#define TWO_TABLES "(module " MEMORY " (table 1 funcref) (table 1 funcref))"
#define LARGE_TABLE "(module " MEMORY " (table 5000 5000 funcref))"
#define GROWING_TABLE "(module " MEMORY " (table 1 funcref))"

static dw_status try_code(const wall *of, const dw_limits *limits, char words[256]);
static dw_status try_compile(const wall *of, const dw_limits *limits, char words[256]);

#define EIGHT(text) text text text text text text text text
#define IMPORT "(import \"driftwood\" \"abi_version\" (func (result i32)))"
#define TWO_TYPES "(module " MEMORY " (type (func (param i32))))"
#define TWO_IMPORTS "(module " IMPORT IMPORT MEMORY ")"
#define TWO_FUNCTIONS "(module " MEMORY " (func))"
#define TWO_GLOBALS "(module " MEMORY " (global i32 (i32.const 1)) (global i32 (i32.const 2)))"
#define TWO_EXPORTS "(module " MEMORY ")"
#define TWO_SEGMENTS "(module " MEMORY " (data (i32.const 0) \"a\") (data (i32.const 8) \"b\"))"
#define TWO_ELEMENTS                                                                               \
    "(module " MEMORY " (table 2 funcref) (elem (i32.const 0) 0) (elem (i32.const 1) 0))"
#define LONG_CODE "(module " MEMORY " (func " EIGHT(EIGHT("(drop (i32.const 1000000))")) "))"
#define THREE_LOCALS "(module " MEMORY " (func (local i32 i64 f32)))"
#define MANY_LOOPS "" /* try_compile's own */

static const wall walls[] = {
    {"module_bytes", "100", "1K", LONG_CODE, "limit 100 (module_bytes)", try_compile},
    {"module_types", "1", "2", TWO_TYPES, "2 types, limit 1 (module_types)", try_compile},
    {"module_imports", "1", "2", TWO_IMPORTS, "2 imports, limit 1 (module_imports)", try_compile},
    {"module_functions", "1", "2", TWO_FUNCTIONS, "2 functions, limit 1 (module_functions)",
     try_compile},
    {"module_globals", "1", "2", TWO_GLOBALS, "2 globals, limit 1 (module_globals)", try_compile},
    {"module_exports", "1", "2", TWO_EXPORTS, "2 exports, limit 1 (module_exports)", try_compile},
    {"module_segments", "1", "2", TWO_SEGMENTS, "2 data segments, limit 1 (module_segments)",
     try_compile},
    {"module_segments", "1", "2", TWO_ELEMENTS, "2 element segments, limit 1 (module_segments)",
     try_compile},
    {"function_bytes", "64", "1K", LONG_CODE, "limit 64 (function_bytes)", try_compile},
    {"function_locals", "2", "3", THREE_LOCALS, "3 locals, limit 2 (function_locals)", try_compile},
    {"function_compile_ms", "2ms", "8s", MANY_LOOPS,
     "too many blocks for its locals (function_compile_ms)", try_compile},
    {"compile_ms", "2ms", "3m", MANY_LOOPS, "limit 2 ms (compile_ms)", try_compile},
    {"compile_excess_ms", "1ms", "20s", MANY_LOOPS,
     "too many blocks for their locals (compile_excess_ms)", try_compile},
    {"memory_bytes", "5350K", "64M", "samplers", "memory_bytes: ", try_call},
    {"memory_bytes", "1M", "64M", "samplers", "limit 1048576 (memory_bytes)", try_call},
    {"linear_bytes", "192K", "256K", TWO_MEMORIES, "linear_bytes: ", try_module},
    {"linear_bytes", "9M", "32M", "grow", "", try_growth},
    {"tables_bytes", "16K", "64K", LARGE_TABLE, "tables_bytes: ", try_module},
    {"tables_bytes", "1M", "32M", GROWING_TABLE, "tables_bytes: ", try_module},
    {"code_bytes", "64K", "64M", "", "code_bytes: ", try_code},
    {"samplers_bytes", "64K", "1M", "samplers", "samplers_bytes: ", try_call},
    {"samplers_bytes", "24K", "8M", "grammar", "samplers_bytes: ", try_call},
    {"texts_bytes", "100K", "64M", "tokenise", "texts_bytes: ", try_call},
    {"graphs_bytes", "6M", "16M", "scratch", "graphs_bytes: ", try_call},
    {"kv_bytes", "512K", "16M", "keys", "kv_bytes: ", try_call},
    {"mail_bytes", "32K", "1M", "20 4096", "mail_bytes: ", try_mail},
    {"mail_bytes", "32K", "1M", "s20 4096", "mail_bytes: ", try_actor},
    {"memories", "1", "2", TWO_MEMORIES, "2 memories, limit 1", try_module},
    {"tables", "1", "2", TWO_TABLES, "2 tables, limit 1", try_module},
    {"table_elements", "4999", "5000", LARGE_TABLE, "5000 elements, limit 4999", try_module},
    {"handles", "99", "100", "handles", "99 are open, limit 99 (handles)", try_call},
    {"contexts", "2", "3", "contexts", "contexts: 2 are open, limit 2", try_call},
    {"context_tokens", "47", "48", "context_tokens", "at most 47 (context_tokens)", try_call},
    {"graphs", "2", "3", "graphs", "graphs: 2 are open, limit 2", try_call},
    {"graph_scratch_bytes", "6M", "16M", "scratch", "of scratch memory", try_call},
    {"grammar_bytes", "4095", "4096", "grammar_text", "4096 bytes, limit 4095 (grammar_bytes)",
     try_call},
    {"grammar_steps", "2000", "1000000", "grammar_steps", "limit 2000 (grammar_steps)", try_call},
    {"files", "9", "400", "", "files: 9 are open, limit 9 (files)", try_files},
    {"text_bytes", "99999", "100000", "tokenise", "100000 bytes, limit 99999 (text_bytes)",
     try_call},
    {"chat_bytes", "4K", "5K", "chat", "limit 4096 (chat_bytes)", try_call},
    {"timeout_ms", "5ms", "1h", "spin", "longer than its 5 ms", try_call},
    {"cpu_timeout_ms", "5ms", "1h", "work", "5 ms of processor time", try_call},
    {"messages", "3", "4", "4 1", "mailbox: 3 messages wait, limit 3", try_mail},
    {"message_bytes", "99", "100", "1 100", "message: 100 bytes, limit 99", try_mail},
    {"message_bytes", "99", "100", "s1 100", "100 bytes, limit 99", try_actor},
    {"timers", "2", "3", "t3 1", "timers: 2 are set, which is the limit", try_actor},
    {"timer_ms", "99s", "100s", "T1 1", "at most 99000 are allowed (timer_ms)", try_actor},
    {"effects", "2", "3", "s3 1", "effects: 2 of one message, which is the limit", try_actor},
};
#define WALL_COUNT (sizeof walls / sizeof walls[0])

/* Rows whose walls stand elsewhere: the file names the row. */
static const struct {
    const char *row;
    const char *file;
} elsewhere[] = {
    {"message_timeout_ms", "test_fuel.c"},
    {"fuel", "test_fuel.c"},
    {"attempts", "test_request_hostile.c"},
    {"mail", "test_request_hostile.c"},
    {"spawns", "test_request_hostile.c"},
    {"caused_messages", "test_request_hostile.c"},
    {"descendants", "test_request_hostile.c"},
    {"generations", "test_request_hostile.c"},
    {"actors", "test_request_hostile.c"},
    {"folder_bytes", "test_request_hostile.c"},
    {"prefix_bytes", "test_runtime_prefixes.c"},
    {"upgrade_bytes", "test_actor_upgrade.c"},
    {"groups", "test_runtime_names.c"},
    {"group_members", "test_runtime_names.c"},
    {"clock_ns", "test_clock.c"},
    {"device_kv_bytes", "test_kv_log.c"}, /* and below */
    {"answer_bytes", "test_actor_output.c"},
    {"actor_bytes", "test_freeze_bytes.c"},
    {"tickets", "test_runtime_later.c"},
    {"ticket_ms", "test_runtime_later.c"},
    {"unread_bytes", "test_runtime_later.c"},
    {"watches", "test_runtime_watch.c"},
    {"saved_contexts", "test_contexts.c"},
    {"saved_context_bytes", "test_contexts.c"},
    {"adapter_sets", "test_lora_abi.c"},
    {"tenant_unread_bytes", "test_runtime_later.c"},
    {"all_unread_bytes", "test_runtime_later.c"},
    {"parked_kv_bytes", "test_runtime_kept_logs.c"},
};

/* A module of many functions, 4 MiB of code or so. */
static dw_status try_code(const wall *of, const dw_limits *limits, char words[256])
{
    enum { FUNCTIONS = 3000, FUNCTION_BYTES = 2048 };
    static char text[FUNCTIONS * FUNCTION_BYTES];
    size_t at = (size_t)snprintf(text, sizeof text, "(module " MEMORY);
    for (int i = 0; i < FUNCTIONS; i++) {
        at +=
            (size_t)snprintf(text + at, sizeof text - at, "(func (export \"f%d\") (param i32)", i);
        for (int k = 0; k < 16; k++) {
            at += (size_t)snprintf(text + at, sizeof text - at,
                                   "(i32.store offset=%d (local.get 0) (i32.div_u (i32.load (i32."
                                   "const %d)) (local.get 0)))",
                                   4 * k, i * 16 + k);
        }
        at += (size_t)snprintf(text + at, sizeof text - at, ")");
    }
    (void)snprintf(text + at, sizeof text - at, ")");
    const wall with = {.row = of->row, .function = text};
    return try_module(&with, limits, words);
}

/* A module in WebAssembly's text, compiled by an engine of these limits. */
static dw_status try_compile(const wall *of, const dw_limits *limits, char words[256])
{
    wasm_byte_vec_t wasm;
    dw_engine *engine = NULL;
    dw_module *module = NULL;
    dw_error error = {.message = ""};
    dw_engine_options options = {.struct_bytes = sizeof options, .device = "CPU", .limits = limits};
    static char loops[32768]; /* square in their number: 512 of them count for some 14 ms */
    size_t at = (size_t)snprintf(loops, sizeof loops, "(module " MEMORY " (func (param i32) ");
    for (int i = 0; i < 512; i++) {
        at += (size_t)snprintf(loops + at, sizeof loops - at, "(loop (br_if 0 (local.get 0)))");
    }
    (void)snprintf(loops + at, sizeof loops - at, "))");
    const char *text = of->function[0] != '\0' ? of->function : loops;
    assert_null(wasmtime_wat2wasm(text, strlen(text), &wasm));
    assert_int_equal(dw_engine_create(&engine, &options, &error), DW_OK);
    dw_status status = dw_module_create(&module, engine, wasm.data, wasm.size, &error);
    (void)snprintf(words, 256, "%s", error.message);
    wasm_byte_vec_delete(&wasm);
    dw_module_unref(module);
    dw_engine_destroy(engine);
    return status;
}

/* Whether a test sets the limit by its name, or looks for it in what a refusal says. */
static bool speaks_of(const char *content, const char *row)
{
    static const char *const around[][2] = {{"\"", "\""}, {"(", ")"}, {".", " = "}};
    bool found = false;
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
        char wanted[80];
        (void)snprintf(wanted, sizeof wanted, "%s%s%s", around[i][0], row, around[i][1]);
        found = found || strstr(content, wanted) != NULL;
    }
    return found;
}

static bool stands_elsewhere(const char *row)
{
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        if (strcmp(elsewhere[i].row, row) == 0) {
            char path[512];
            static char content[1 << 20];
            (void)snprintf(path, sizeof path, "%s/../unit/%s", DW_TEST_DATA_DIR, elsewhere[i].file);
            FILE *file = fopen(path, "r");
            assert_non_null(file);
            content[fread(content, 1, sizeof content - 1, file)] = '\0';
            (void)fclose(file);
            return speaks_of(content, row);
        }
    }
    return false;
}

static void test_limits_have_a_wall_each(void **state)
{
    (void)state;
    for (size_t i = 0; i < dw_limit_count(); i++) {
        dw_limit_info info = {.struct_bytes = sizeof info};
        bool found = false;
        assert_int_equal(dw_limit_get_info(i, &info, NULL), DW_OK);
        for (size_t k = 0; k < WALL_COUNT; k++) {
            found = found || strcmp(walls[k].row, info.name) == 0;
        }
        if (!found && !stands_elsewhere(info.name)) {
            fail_msg("limit %s: no guest runs into it here", info.name);
        }
    }
}

static void test_limits_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < WALL_COUNT; i++) {
        const wall *of = &walls[i];
        char words[256] = "";
        dw_limits tight = limits_of(of->row, of->tight);
        dw_limits roomy = limits_of(of->row, of->roomy);
        wasm_signals_restore();
        dw_status status = of->try(of, &tight, words);
        bool told = strstr(words, of->says) != NULL;
        if ((status != DW_E_LIMIT && status != DW_E_RANGE) || !told) {
            fail_msg("%s=%s: %s: '%s', not '%s'", of->row, of->tight, dw_status_name(status), words,
                     of->says);
        }
        status = of->try(of, &roomy, words);
        if (status != DW_OK) {
            fail_msg("%s=%s: %s: '%s'", of->row, of->roomy, dw_status_name(status), words);
        }
    }
}

/* What a guest has given back does not count, and what was most does. */
static void test_limits_account_is_given_back(void **state)
{
    (void)state;
    dw_instance *instance = NULL;
    char words[256];
    dw_error error;
    int32_t answer;
    assert_int_equal(create(&instance, limits_module, NULL, words), DW_OK);
    static const char *const calls[] = {"samplers", "keys", "scratch", "tokenise", "grammar"};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        assert_int_equal(dw_instance_call(instance, calls[i], &answer, &error), DW_OK);
        assert_int_equal(answer, 0);
    }
    uint64_t sum = 0;
    for (size_t i = 0; i + 1 < dw_account_info_count(); i++) {
        dw_account_info info = {.struct_bytes = sizeof info};
        dw_account_info all = {.struct_bytes = sizeof all};
        assert_int_equal(dw_instance_get_account(instance, i, &info, &error), DW_OK);
        assert_int_equal(dw_instance_get_account(instance, 0, &all, &error), DW_OK);
        assert_true(info.most >= info.now && info.limit >= info.most && info.now <= all.now);
        sum += i > 0 ? info.now : 0;
        assert_true(i == 0 || strcmp(info.name, "tables_bytes") == 0 ||
                    strcmp(info.name, "code_bytes") == 0 || strcmp(info.name, "mail_bytes") == 0 ||
                    info.most > 0);
        assert_true(i + 2 < dw_account_info_count() || all.now == sum);
    }
    dw_account *account = dw_account_ref(dw_instance_account(instance));
    dw_instance_destroy(instance);
    assert_int_equal(dw_account_now(account, DW_PART_COUNT), 0);
    dw_account_unref(account);
}

/* Calls `function` until it is refused, at most `most` times: the status. */
static dw_status call_on(dw_instance *instance, const char *function, int most, char words[256])
{
    dw_error error = {.message = ""};
    int32_t answer = 0;
    for (int i = 0; i < most && answer >= 0; i++) {
        assert_int_equal(dw_instance_call(instance, function, &answer, &error), DW_OK);
    }
    if (answer < 0) {
        int32_t at = 0;
        assert_int_equal(dw_instance_call(instance, "words", &at, &error), DW_OK);
        (void)snprintf(words, 256, "%s", (const char *)dw_instance_memory(instance) + at);
    }
    return (dw_status)(answer < 0 ? answer : DW_OK);
}

/* All guests of a device together: one that takes what there is is refused, and once it has gone,
 * another does as ever. */
static void test_limits_of_a_device(void **state)
{
    (void)state;
    dw_instance *hog = NULL;
    dw_instance *other = NULL;
    dw_kv_stats stats = {.struct_bytes = sizeof stats};
    char words[256] = "";
    dw_error error;
    assert_int_equal(dw_engine_get_kv_stats(fixture->engine, &stats), DW_OK);
    bool has_own = stats.pages_bytes + stats.device_bytes == 0;
    assert_int_equal(create(&hog, limits_module, NULL, words), DW_OK);
    assert_int_equal(create(&other, limits_module, NULL, words), DW_OK);
    assert_int_equal(call_on(hog, "keys", 1, words), DW_OK);
    assert_int_equal(dw_engine_get_kv_stats(fixture->engine, &stats), DW_OK);
    uint64_t once = stats.pages_bytes;
    if (has_own && once > 0) { /* in host pages */
        assert_int_equal(dw_engine_set_kv_limit(fixture->engine, 3 * once, &error), DW_OK);
        assert_int_equal(call_on(hog, "keys", 4, words), DW_E_MEMORY);
        assert_non_null(strstr(words, "(device_kv_bytes)"));
        assert_int_equal(dw_engine_get_kv_stats(fixture->engine, &stats), DW_OK);
        assert_true(stats.pages_bytes <= 3 * once && stats.limit_bytes == 3 * once);
        assert_int_equal(call_on(other, "keys", 1, words), DW_E_MEMORY);
    }
    dw_instance_destroy(hog);
    assert_int_equal(call_on(other, "keys", 1, words), DW_OK);
    dw_instance_destroy(other);
    assert_int_equal(dw_engine_set_kv_limit(fixture->engine, 0, &error), DW_OK);
}

/* ---- actors that come from files ------------------------------------------------------------ */

static dw_status thaw(dw_actor **actor, const char *path, bool trusted, const dw_limits *limits,
                      dw_error *err)
{
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = &path,
                               .path_count = 1,
                               .module = limits_module,
                               .trusted = trusted,
                               .limits = limits};
    return dw_actor_thaw(actor, fixture->engine, &options, NULL, err);
}

static size_t granted_bytes(const char *path, bool trusted, const dw_limits *limits)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    if (thaw(&actor, path, trusted, limits, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    size_t bytes = dw_actor_granted(actor)->message_bytes_max;
    dw_actor_destroy(actor);
    return bytes;
}

/* Its limits stay with it; a stranger's file grants itself no more than the defaults, and what is
 * set at the thaw counts. What its state takes is charged, and refused by name. */
static void test_limits_of_what_is_thawed(void **state)
{
    (void)state;
    static char message[4096];
    char path[64];
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    const dw_limits wide = limits_of("message_bytes", "2M");
    const dw_limits narrow = limits_of("message_bytes", "8K");
    dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = &wide};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    (void)snprintf(path, sizeof path, "/tmp/dw-limits-%ld", (long)getpid());
    assert_int_equal(dw_actor_spawn(&actor, limits_module, &options, &error), DW_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(dw_actor_send(actor, NULL, message, sizeof message, &error), DW_OK);
    }
    assert_int_equal(dw_actor_freeze(actor, path, NULL, NULL, &error), DW_OK);
    dw_actor_destroy(actor);
    assert_int_equal(granted_bytes(path, true, NULL), 2 << 20);
    assert_int_equal(granted_bytes(path, false, NULL), 1 << 20);
    assert_int_equal(granted_bytes(path, false, &wide), 2 << 20);
    assert_int_equal(granted_bytes(path, true, &narrow), 8 << 10);

    static const char *const tight[][2] = {
        {"mail_bytes", "32K"}, {"linear_bytes", "1M"}, {"memory_bytes", "1M"}};
    for (size_t i = 0; i < sizeof tight / sizeof tight[0]; i++) {
        const dw_limits limits = limits_of(tight[i][0], tight[i][1]);
        assert_int_equal(thaw(&actor, path, false, &limits, &error), DW_E_LIMIT);
        assert_null(actor);
        assert_non_null(strstr(error.message, tight[i][0]));
    }
    (void)unlink(path);
}

static int open_all(void **state)
{
    int failed = actor_fixture_open(state);
    fixture = *state;
    limits_module = failed == 0 ? actor_module(fixture, "limits.wasm") : NULL;
    return failed;
}

static int close_all(void **state)
{
    dw_module_unref(limits_module);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_have_a_wall_each),
        cmocka_unit_test(test_limits_hold),
        cmocka_unit_test(test_limits_account_is_given_back),
        cmocka_unit_test(test_limits_of_a_device),
        cmocka_unit_test(test_limits_of_what_is_thawed),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
