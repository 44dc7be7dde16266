/* Contexts under names: saved by one guest and opened by another, within what was granted and the
 * limits, and whatever the process is killed in. This program with --work FOLDER KINDS AT is the
 * one that is killed. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "abi_fixture.h"
#include "base/alloc.h"
#include "base/os.h"
#include "contexts/context_file.h"
#include "failing_disk.h"
#include "support.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

static char folder[32];
static dw_contexts *contexts;

static int set_up(void **state)
{
    dw_error error;
    (void)snprintf(folder, sizeof folder, "/tmp/dw-contexts-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(dw_contexts_open(&contexts, folder, &error), DW_OK);
    return abi_set_up(state);
}

static int tear_down(void **state)
{
    char command[64];
    int failed = abi_tear_down(state);
    dw_contexts_close(contexts);
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) == 0 ? failed : 1;
}

/* Patterns; NULL: none. */
static void grant(const char *tenant, const char *read, const char *write)
{
    dw_error error;
    const dw_contexts_grant given = {.struct_bytes = sizeof given,
                                     .contexts = contexts,
                                     .tenant = tenant,
                                     .reads = &read,
                                     .read_count = read != NULL,
                                     .writes = &write,
                                     .write_count = write != NULL};
    if (dw_instance_grant_contexts(abi.instance, &given, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
}

static int32_t save(int32_t context, const char *name)
{
    memcpy(abi.memory + AT_TEXT, name, strlen(name));
    return CALL("context_save", U(context), AT_TEXT, U(strlen(name)));
}

static int32_t open_one(const char *name)
{
    memcpy(abi.memory + AT_TEXT, name, strlen(name));
    return CALL("context_open", U(abi.model_handle), AT_TEXT, U(strlen(name)), 0);
}

static int32_t remove_one(const char *name)
{
    memcpy(abi.memory + AT_TEXT, name, strlen(name));
    return CALL("context_remove", AT_TEXT, U(strlen(name)));
}

static void fill(int32_t context, uint32_t count)
{
    assert_true(CALL("forward", U(context), AT_TOKENS, count, 0, 0, 0) >= 0);
}

/* Logits of one more token. */
static void next_row(int32_t context, float *row)
{
    assert_true(CALL("forward", U(context), AT_TOKENS, 1, AT_LOGITS, 1, 0) >= 0);
    memcpy(row, abi_logits(), abi.vocab_count * sizeof *row);
}

static void test_contexts_are_what_was_saved(void **state)
{
    (void)state;
    float rows[3][512];
    assert_true(abi.vocab_count <= 512);
    grant(NULL, "*", "*");
    fill(abi.context_handle, 16);
    assert_int_equal(CALL("context_window", U(abi.context_handle), 4, 20), 0);
    assert_int_equal(save(abi.context_handle, "first"), 0);
    int32_t other = open_one("first");
    assert_true(other > 0);
    assert_int_equal(CALL("context_length", U(other)), 16);
    next_row(abi.context_handle, rows[0]);
    next_row(other, rows[1]);
    assert_memory_equal(rows[0], rows[1], abi.vocab_count * sizeof(float));
    /* What it goes on with is its own; what is saved stays. */
    assert_int_equal(CALL("context_close", U(other)), 0);
    other = open_one("first");
    assert_int_equal(CALL("context_length", U(other)), 16);
    next_row(other, rows[2]);
    assert_memory_equal(rows[0], rows[2], abi.vocab_count * sizeof(float));
    /* Over it, while it is open. */
    assert_int_equal(CALL("context_trim", U(abi.context_handle), 5), 0);
    assert_int_equal(save(abi.context_handle, "first"), 0);
    assert_int_equal(CALL("context_length", U(other)), 17);
    assert_int_equal(CALL("context_close", U(other)), 0);
    other = open_one("first");
    assert_int_equal(CALL("context_length", U(other)), 5);
    /* One more than there may be; nothing, and nobody. */
    assert_int_equal(open_one("first"), DW_E_LIMIT);
    assert_int_equal(CALL("context_trim", U(other), 0), 0);
    assert_int_equal(save(other, "first"), DW_E_STATE);
    abi_expect_message("no tokens");
    assert_int_equal(CALL("context_close", U(other)), 0);
    assert_int_equal(open_one("none"), DW_E_NOT_FOUND);
    assert_int_equal(save(abi.model_handle, "x"), DW_E_HANDLE);
}

static void test_contexts_as_granted(void **state)
{
    (void)state;
    static const char *const bad[] = {"", " ", "a b", "a/b", "..\n", "\xc3\xa4", "*", "a*"};
    fill(abi.context_handle, 4);
    assert_int_equal(save(abi.context_handle, "a"), DW_E_DENIED); /* nothing is, at first */
    assert_int_equal(open_one("a"), DW_E_DENIED);
    grant(NULL, NULL, "team.*");
    assert_int_equal(save(abi.context_handle, "team.a"), 0);
    assert_int_equal(save(abi.context_handle, "team"), DW_E_DENIED);
    abi_expect_message("'team'");
    assert_int_equal(open_one("team.a"), DW_E_DENIED);
    grant(NULL, "team.a", NULL);
    assert_int_equal(save(abi.context_handle, "team.a"), DW_E_DENIED);
    assert_int_equal(CALL("context_close", U(open_one("team.a"))), 0);
    assert_int_equal(open_one("team.ab"), DW_E_DENIED);
    grant("other", "*", "*"); /* another tenant's names are its own */
    assert_int_equal(open_one("team.a"), DW_E_NOT_FOUND);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(save(abi.context_handle, bad[i]), DW_E_ARG);
        assert_int_equal(open_one(bad[i]), DW_E_ARG);
    }
    memset(abi.memory + AT_TEXT, 'x', 64);
    assert_int_equal(CALL("context_save", U(abi.context_handle), AT_TEXT, 64), DW_E_ARG);
    assert_int_equal(CALL("context_save", U(abi.context_handle), 0xfffffff0u, 63), DW_E_RANGE);
    assert_int_equal(CALL("context_open", U(abi.model_handle), 0xfffffff0u, 63, 0), DW_E_RANGE);
    assert_int_equal(CALL("context_open", 77, AT_TEXT, 4, 0), DW_E_HANDLE);
    dw_error error;
    const char *pattern = "a*b";
    const dw_contexts_grant wrong = {
        .struct_bytes = sizeof wrong, .contexts = contexts, .reads = &pattern, .read_count = 1};
    assert_int_equal(dw_instance_grant_contexts(abi.instance, &wrong, &error), DW_E_ARG);
}

static void test_contexts_are_removed(void **state)
{
    (void)state;
    float rows[2][512];
    fill(abi.context_handle, 8);
    assert_int_equal(remove_one("gone"), DW_E_DENIED); /* nothing is granted, at first */
    grant("removing", "*", "team.*");
    assert_int_equal(remove_one("team.a"), DW_E_NOT_FOUND); /* nor is there a folder */
    assert_int_equal(save(abi.context_handle, "team.a"), 0);
    assert_int_equal(save(abi.context_handle, "team.b"), 0);
    int32_t other = open_one("team.a");
    assert_true(other > 0);
    grant("removing", "*", "team.b"); /* to open it is not enough */
    assert_int_equal(remove_one("team.a"), DW_E_DENIED);
    abi_expect_message("'team.a'");
    grant("another", "*", "*"); /* another tenant's names are its own */
    assert_int_equal(remove_one("team.a"), DW_E_NOT_FOUND);
    grant("removing", "*", "team.*");
    assert_int_equal(remove_one("team.a"), 0);
    assert_int_equal(remove_one("team.a"), DW_E_NOT_FOUND);
    abi_expect_message("'team.a'");
    next_row(abi.context_handle, rows[0]); /* what is open is so still */
    next_row(other, rows[1]);
    assert_memory_equal(rows[0], rows[1], abi.vocab_count * sizeof(float));
    assert_int_equal(CALL("context_close", U(other)), 0);
    assert_int_equal(open_one("team.a"), DW_E_NOT_FOUND);
    assert_int_equal(CALL("context_close", U(open_one("team.b"))), 0);
    assert_int_equal(remove_one("a/b"), DW_E_ARG);
    assert_int_equal(remove_one(""), DW_E_ARG);
    assert_int_equal(CALL("context_remove", 0xfffffff0u, 63), DW_E_RANGE);
}

static dw_context_place place(const char *name)
{
    return (dw_context_place){
        .tenant = "", .name = name, .count_max = 2, .bytes_max = (uint64_t)1 << 30};
}

/* What the host's part of the guest's context is. */
static dw_context *host_context(void)
{
    dw_context *context =
        dw_instance_get_object(abi.instance, DW_HANDLE_CONTEXT, abi.context_handle);
    assert_non_null(context);
    return context;
}

static dw_status load(const char *name, const dw_context_wanted *wanted, dw_error *error)
{
    dw_context *context = NULL;
    const dw_context_place from = place(name);
    dw_status status = dw_contexts_load(contexts, &from, wanted, &context, error);
    assert_true((status == DW_OK) == (context != NULL));
    dw_context_destroy(context);
    return status;
}

/* Who is asked to stop opens nothing, and saves nothing. */
static void test_contexts_stopped(void **state)
{
    (void)state;
    dw_error error = {.message = ""};
    dw_stop stop = {.cancelled = true};
    fill(abi.context_handle, 8);
    dw_context *context = host_context();
    dw_context *opened = NULL;
    const dw_context_wanted wanted = {
        .model = abi.model, .kv_type = dw_context_kv_type(context), .tokens_max = 0};
    dw_context_place at = place("kept");
    assert_int_equal(dw_contexts_save(contexts, &at, context, &error), DW_OK);
    at.stop = &stop;
    assert_int_equal(dw_contexts_load(contexts, &at, &wanted, &opened, &error), DW_E_CANCELLED);
    assert_non_null(strstr(error.message, "context 'kept': "));
    assert_null(opened);
    assert_int_equal(dw_contexts_save(contexts, &at, context, &error), DW_E_CANCELLED);
    at.stop = NULL;
    assert_int_equal(dw_contexts_load(contexts, &at, &wanted, &opened, &error), DW_OK);
    dw_context_destroy(opened);
}

static void test_contexts_fit_their_model(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-contexts-model-XXXXXX";
    dw_error error;
    dw_model *model = NULL;
    tiny_options options = tiny_defaults();
    grant(NULL, "*", "*");
    fill(abi.context_handle, 16);
    assert_int_equal(save(abi.context_handle, "a"), 0);
    int fd = mkstemp(path);
    close(fd);
    options.ff_length += 32;
    tiny_model_write(path, &options);
    assert_int_equal(dw_model_open(&model, abi.engine, path, &error), DW_OK);
    unlink(path);
    dw_context_wanted wanted = {.model = model, .kv_type = dw_context_kv_type(host_context())};
    assert_int_equal(load("a", &wanted, &error), DW_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "context 'a': it was computed with model gguf"));
    wanted = (dw_context_wanted){.model = abi.model, .kv_type = DW_KV_Q8_0};
    assert_int_equal(load("a", &wanted, &error), DW_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "its keys and values are f16, this guest's are q8_0"));
    wanted = (dw_context_wanted){
        .model = abi.model, .kv_type = dw_context_kv_type(host_context()), .tokens_max = 15};
    assert_int_equal(load("a", &wanted, &error), DW_E_LIMIT);
    wanted.tokens_max = 16;
    assert_int_equal(load("a", &wanted, &error), DW_OK);
    assert_int_equal(CALL("context_window", U(abi.context_handle), 4, 20), 0);
    assert_int_equal(save(abi.context_handle, "a"), 0);
    wanted.tokens_max = 23;
    assert_int_equal(load("a", &wanted, &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "context 'a': it has a window of 20 tokens behind a sink "
                                          "of 4, limit 23 (tokens_max)"));
    wanted.tokens_max = 24;
    assert_int_equal(load("a", &wanted, &error), DW_OK);
    dw_model_unref(model);
}

/* A model of the fixture's bytes, at PATH. */
static void write_model(char *path)
{
    tiny_options options = tiny_defaults();
    close(mkstemp(path));
    tiny_model_write(path, &options);
}

static void test_contexts_with_adapters(void **state)
{
    (void)state;
    char path[] = "/tmp/dw-contexts-model-XXXXXX";
    char adapter[] = "/tmp/dw-contexts-lora-XXXXXX";
    float rows[3][512];
    dw_error error;
    dw_model *model = NULL;
    write_model(path);
    close(mkstemp(adapter));
    tiny_adapter_write(
        adapter, path,
        &(tiny_adapter){.rank = 4, .seed = 1, .alpha = 8, .type = GGML_TYPE_F32, .size = 0.5});
    const dw_adapter_options options = {
        .struct_bytes = sizeof options, .name = "one", .path = adapter, .scale = 0};
    assert_int_equal(dw_model_add_adapter(abi.model, &options, &error), DW_OK);
    const dw_adapter_choice choice = {0, 0.5F};
    assert_int_equal(dw_context_set_adapters(host_context(), &choice, 1, &error), DW_OK);
    grant(NULL, "*", "*");
    fill(abi.context_handle, 16);
    assert_int_equal(save(abi.context_handle, "a"), 0);
    int32_t other = open_one("a");
    assert_true(other > 0);
    next_row(abi.context_handle, rows[0]);
    next_row(other, rows[1]);
    assert_memory_equal(rows[0], rows[1], abi.vocab_count * sizeof(float));
    /* That it is the adapter that is seen. */
    dw_context *opened = dw_instance_get_object(abi.instance, DW_HANDLE_CONTEXT, other);
    assert_int_equal(CALL("context_trim", U(other), 0), 0);
    assert_int_equal(dw_context_set_adapters(opened, NULL, 0, &error), DW_OK);
    fill(other, 16);
    next_row(other, rows[2]);
    assert_memory_not_equal(rows[0], rows[2], abi.vocab_count * sizeof(float));
    /* A model of the same bytes that has not got it. */
    assert_int_equal(dw_model_open(&model, abi.engine, path, &error), DW_OK);
    const dw_context_wanted wanted = {.model = model,
                                      .kv_type = dw_context_kv_type(host_context())};
    assert_int_equal(load("a", &wanted, &error), DW_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "is not among the 0 of the model"));
    dw_model_unref(model);
    unlink(path);
    unlink(adapter);
}

static void test_contexts_limits(void **state)
{
    (void)state;
    dw_error error;
    fill(abi.context_handle, 16);
    dw_context_place to = place("a");
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    to.name = "b";
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    to.name = "c";
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "2 others are saved, limit 2 (saved_contexts)"));
    to.name = "a"; /* in the place of one that counts */
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    to.bytes_max = 100000;
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "limit 100000 (saved_context_bytes)"));
    to.tenant = "b"; /* has its own */
    to.bytes_max = (uint64_t)1 << 30;
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    assert_int_equal(dw_contexts_remove(contexts, NULL, "b", &error), DW_OK);
    assert_int_equal(dw_contexts_remove(contexts, NULL, "b", &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_contexts_remove(contexts, "none", "b", &error), DW_E_NOT_FOUND);
    assert_int_equal(dw_contexts_remove(contexts, NULL, "../b", &error), DW_E_ARG);
    to = place("c");
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
}

static const char *file_of(const char *name)
{
    static char path[256];
    int at = snprintf(path, sizeof path, "%s/-/", folder);
    for (; *name != '\0'; name++) {
        at += snprintf(path + at, sizeof path - (size_t)at, "%02x", *name);
    }
    (void)snprintf(path + at, sizeof path - (size_t)at, ".context");
    return path;
}

static uint64_t bytes_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return (uint64_t)info.st_size;
}

/* What others are writing counts as long as they do. */
static void test_contexts_that_are_being_written(void **state)
{
    (void)state;
    char other[64];
    dw_error error;
    fill(abi.context_handle, 16);
    dw_context_place to = place("a");
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    const uint64_t bytes = bytes_of(file_of("a"));
    (void)snprintf(other, sizeof other, "%s/-/.tmp-0123", folder);
    int fd = open(other, O_RDWR | O_CREAT, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(ftruncate(fd, 1000000), 0);
    to.name = "b";
    to.bytes_max = 2 * bytes + 999999;
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_E_LIMIT);
    assert_non_null(strstr(error.message, "context 'b': "));
    to.bytes_max++;
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    to.count_max = 1; /* it may be in the place of another: no more of them than there are */
    assert_int_equal(dw_contexts_remove(contexts, NULL, "a", &error), DW_OK);
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    close(fd); /* nobody writes it any more */
    to.bytes_max = bytes;
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    assert_int_equal(access(other, F_OK), -1);
}

static void count_saved(void *user, const dw_saved_context *saved)
{
    assert_true(saved->token_count == 16 && saved->kv_type == DW_KV_F16);
    assert_true(saved->bytes > 65536 && saved->saved_ms > UINT64_C(1500000000000));
    *(unsigned *)user += saved->tenant[0] == '\0' ? 1 : 100;
}

static void test_contexts_are_listed(void **state)
{
    (void)state;
    dw_error error;
    unsigned count = 0;
    assert_int_equal(dw_contexts_list(contexts, NULL, count_saved, &count, &error), DW_OK);
    fill(abi.context_handle, 16);
    dw_context_place to = place("a");
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    to.tenant = "t\xc3\xa4/..";
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    assert_int_equal(dw_contexts_list(contexts, NULL, count_saved, &count, &error), DW_OK);
    assert_int_equal(count, 101);
    assert_int_equal(dw_contexts_list(contexts, "", count_saved, &count, &error), DW_OK);
    assert_int_equal(count, 102);
    assert_int_equal(dw_contexts_list(contexts, "t\xc3\xa4/..", count_saved, &count, &error),
                     DW_OK);
    assert_int_equal(count, 202);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Each of the disk's operations fails in turn: what had the name has it still, or this one has, and
 * that is said. */
static void test_contexts_on_failing_disks(void **state)
{
    (void)state;
    dw_error error;
    dw_status status = DW_E_IO;
    unsigned in_place = 0;
    const dw_context_wanted wanted = {.model = abi.model, .kv_type = DW_KV_F16};
    const dw_context_place to = place("a");
    disk_watch(folder);
    for (uint64_t n = 0; status != DW_OK; n++) {
        dw_context *context = NULL;
        assert_int_equal(CALL("context_trim", U(abi.context_handle), 0), 0);
        fill(abi.context_handle, 8);
        assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
        fill(abi.context_handle, 8);
        disk_plan_set(&(disk_plan){.kinds = DISK_ALL, .after = n, .count = 1});
        status = dw_contexts_save(contexts, &to, host_context(), &error);
        const bool failed = disk_failed() != 0;
        disk_plan_set(NULL);
        assert_true(failed == (status != DW_OK) || status == DW_OK);
        assert_true(status == DW_OK || strncmp(error.message, "context 'a': ", 13) == 0);
        const bool replaced =
            status != DW_OK && strstr(error.message, "it is in its place") != NULL;
        in_place += replaced;
        assert_int_equal(dw_contexts_load(contexts, &to, &wanted, &context, &error), DW_OK);
        assert_int_equal(dw_context_length(context), status == DW_OK || replaced ? 16 : 8);
        dw_context_destroy(context);
        status = status == DW_OK && failed ? DW_E_IO : status; /* it did not matter */
    }
    disk_watch(NULL);
    assert_in_range(in_place, 2, 3); /* the tenant's folder, the one that it is in, and above */
}

static void test_contexts_that_are_damaged(void **state)
{
    (void)state;
    dw_error error;
    char *bytes = NULL;
    size_t count = 0;
    uint32_t random = 1;
    fill(abi.context_handle, 16);
    const dw_context_wanted wanted = {.model = abi.model, .kv_type = DW_KV_F16};
    const dw_context_place to = place("a");
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    assert_int_equal(dw_os_read_file(file_of("a"), (size_t)1 << 24, &bytes, &count, &error), DW_OK);
    for (unsigned i = 0; i < 3000; i++) {
        int fd = open(file_of("a"), O_RDWR);
        random = random * 1664525u + 1013904223u;
        /* Of the head with its tokens, all of it in turn. */
        const size_t at = i < sizeof(dw__context_head) + 64 ? i : random % 65536;
        const char changed = (char)(bytes[at] ^ (1 << (random >> 29)));
        assert_int_equal(pwrite(fd, &changed, 1, (off_t)at), 1);
        dw_status status = load("a", &wanted, &error);
        assert_true(status == DW_E_FORMAT || status == DW_E_UNSUPPORTED);
        assert_int_equal(pwrite(fd, bytes + at, 1, (off_t)at), 1);
        close(fd);
    }
    assert_int_equal(load("a", &wanted, &error), DW_OK);
    for (size_t length = 0; length < count; length += length < 300 ? 7 : 20000) {
        assert_int_equal(truncate(file_of("a"), (off_t)length), 0);
        assert_int_equal(load("a", &wanted, &error), DW_E_FORMAT);
    }
    dw_free(bytes);
    /* Another's, under its name. */
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    char other[256];
    (void)snprintf(other, sizeof other, "%s", file_of("b"));
    assert_int_equal(rename(file_of("a"), other), 0);
    assert_int_equal(load("b", &wanted, &error), DW_E_FORMAT);
    /* What cannot be written leaves what was there. */
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/nothing", folder);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    dw_contexts *none = NULL;
    assert_int_equal(dw_contexts_open(&none, path, &error), DW_OK);
    assert_int_equal(dw_contexts_save(none, &to, host_context(), &error), DW_E_IO);
    dw_contexts_close(none);
    assert_int_equal(load("a", &wanted, &error), DW_OK);
}

static void test_contexts_without_memory(void **state)
{
    (void)state;
    dw_error error;
    fill(abi.context_handle, 16);
    const dw_context_wanted wanted = {.model = abi.model, .kv_type = DW_KV_F16};
    const dw_context_place to = place("a");
    dw_status status = DW_E_MEMORY;
    for (int64_t n = 0; status != DW_OK; n++) {
        dw_alloc_fail_after(n);
        status = dw_contexts_save(contexts, &to, host_context(), &error);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || status == DW_E_MEMORY);
    }
    status = DW_E_MEMORY;
    for (int64_t n = 0; status != DW_OK; n++) {
        dw_alloc_fail_after(n);
        status = load("a", &wanted, &error);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || status == DW_E_MEMORY);
    }
}

/* ---- kills ----------------------------------------------------------------------------------- */

static int work(const char *path, const char *kinds, const char *after)
{
    const disk_plan plan = {.kinds = (unsigned)strtoul(kinds, NULL, 10),
                            .after = strtoul(after, NULL, 10),
                            .kills = true};
    void *none = NULL;
    dw_error error;
    if (abi_fixture_open(&none) != 0 || abi_set_up(&none) != 0 ||
        dw_contexts_open(&contexts, path, &error) != DW_OK) {
        return 1;
    }
    const dw_context_place to = place("a");
    disk_watch(path);
    for (unsigned i = 0;; i++) {
        const uint32_t length = i % 2 == 0 ? 16 : 8;
        (void)CALL("context_trim", U(abi.context_handle), 0);
        fill(abi.context_handle, length);
        if (dw_contexts_save(contexts, &to, host_context(), &error) != DW_OK ||
            write(STDOUT_FILENO, "+", 1) != 1) {
            return 1;
        }
        if (i == 0 && plan.kinds != 0) {
            disk_plan_set(&plan);
        }
    }
}

/* How many; *bytes: of them. */
static unsigned left_overs(uint64_t *bytes)
{
    char path[512];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%s/-", folder);
    DIR *list = opendir(path);
    for (const struct dirent *entry = list != NULL ? readdir(list) : NULL; entry != NULL;
         entry = readdir(list)) {
        if (strncmp(entry->d_name, ".tmp-", 5) == 0) {
            (void)snprintf(path, sizeof path, "%s/-/%s", folder, entry->d_name);
            *bytes += bytes_of(path);
            count++;
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    return count;
}

/* While it saves one after the other: at the operation `at` of these kinds behind the first; 0:
 * after so many nanoseconds. */
static void kill_once(disk_kind kinds, uint32_t at)
{
    char texts[2][16];
    char program[512];
    char byte;
    int ends[2];
    dw_error error;
    assert_int_equal(dw_os_executable_path(program, sizeof program, &error), DW_OK);
    assert_int_equal(pipe(ends), 0);
    (void)snprintf(texts[0], sizeof texts[0], "%u", (unsigned)kinds);
    (void)snprintf(texts[1], sizeof texts[1], "%u", at);
    pid_t process = fork();
    if (process == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)execl(program, program, "--work", folder, texts[0], texts[1], (char *)NULL);
        _exit(126);
    }
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    if (kinds == 0) {
        const struct timespec wait = {.tv_nsec = (long)at};
        (void)nanosleep(&wait, NULL);
        assert_int_equal(kill(process, SIGKILL), 0);
    }
    assert_int_equal(waitpid(process, NULL, 0), process);
    (void)close(ends[0]);
}

static void test_contexts_outlast_kills(void **state)
{
    (void)state;
    dw_error error;
    uint32_t random = 3;
    unsigned left = 0;
    unsigned lengths = 0;
    uint64_t bytes = 0;
    const dw_context_wanted wanted = {.model = abi.model, .kv_type = DW_KV_F16};
    const dw_context_place to = place("a");
    for (unsigned i = 0; i < 25; i++) {
        dw_context *context = NULL;
        random = random * 1664525u + 1013904223u;
        kill_once(i % 5 == 0 ? 0 : DISK_ALL, i % 5 == 0 ? (random >> 4) % 20000000 : i);
        if (dw_contexts_load(contexts, &to, &wanted, &context, &error) != DW_OK) {
            fail_msg("kill %u: %s", i, error.message);
        }
        lengths |= dw_context_length(context);
        assert_true(dw_context_length(context) == 16 || dw_context_length(context) == 8);
        dw_context_destroy(context);
        left += left_overs(&bytes);
    }
    fill(abi.context_handle, 4);
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    assert_int_equal(left_overs(&bytes), 0);
    print_message("25 kills, %u in the middle of a file\n", left);
    assert_int_equal(lengths, 24);
}

/* Before anything of it is written a file has the bytes by which others count it. */
static void test_contexts_are_counted_first(void **state)
{
    (void)state;
    dw_error error;
    uint64_t bytes = 0;
    const dw_context_place to = place("a");
    kill_once(DISK_WRITE, 0);
    assert_int_equal(left_overs(&bytes), 1);
    fill(abi.context_handle, 8); /* as the second that it saves */
    assert_int_equal(dw_contexts_save(contexts, &to, host_context(), &error), DW_OK);
    assert_int_equal(bytes, bytes_of(file_of("a")));
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_contexts_are_what_was_saved),
        TEST(test_contexts_as_granted),
        TEST(test_contexts_are_removed),
        TEST(test_contexts_fit_their_model),
        TEST(test_contexts_stopped),
        TEST(test_contexts_limits),
        TEST(test_contexts_that_are_being_written),
        TEST(test_contexts_on_failing_disks),
        TEST(test_contexts_are_counted_first),
        TEST(test_contexts_are_listed),
        TEST(test_contexts_that_are_damaged),
        TEST(test_contexts_without_memory),
        TEST(test_contexts_outlast_kills),
        TEST(test_contexts_with_adapters),
    };
    wasm_signals_save();
    if (argc == 5 && strcmp(argv[1], "--work") == 0) {
        return work(argv[2], argv[3], argv[4]);
    }
    return cmocka_run_group_tests_name("contexts", tests, abi_fixture_open, abi_fixture_close);
}
