/* A runtime's folder of prefixes: what many actors share stands once in memory and once on the
 * disk, and the first message after a restart finds it; a killed process leaves nothing broken. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"
#include "inference/context.h"
#include "kv/kv_log.h"
#include "model/model.h"
#include "runtime_fixture.h"
#include "support.h"

#define COMMON 960 /* whole blocks of 1,000 */
#define ACTORS 64

static char folder[64];

/* A process, as far as prefixes are concerned: an engine, a model, a runtime. */
typedef struct life {
    runtime_fixture *f;
} life;

static life begin(uint64_t bytes_max)
{
    void *state = NULL;
    dw_error error = {.message = ""};
    dw_limits limits = {.struct_bytes = sizeof limits, .prefix_bytes = bytes_max};
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .limits = &limits, .prefix_path = folder};
    assert_int_equal(runtime_fixture_open(&state), 0);
    life l = {state};
    dw_status status = dw_runtime_open(&l.f->runtime, l.f->actors->engine, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return l;
}

static void end(life *l)
{
    void *state = l->f;
    dw_runtime_close(l->f->runtime);
    assert_int_equal(runtime_fixture_close(&state), 0);
}

static dw_runtime_prefix_stats stats_of(const life *l)
{
    dw_runtime_prefix_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_prefix_stats(l->f->runtime, &stats), DW_OK);
    return stats;
}

static void await_saved(const life *l)
{
    while (stats_of(l).unsaved > 0 || stats_of(l).files == 0) {
        (void)usleep(10000);
    }
}

/* A new actor has answered a prompt of `common` and some tokens of its own; how many it found. */
static uint64_t talk(const life *l, const char *tenant, unsigned own)
{
    char text[1200];
    runtime_answer answer;
    dw_error error = {.message = ""};
    const dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .tenant = tenant};
    runtime_id id = runtime_spawned(l->f, l->f->actors->module, &spawn);
    assert_int_equal(runtime_tell(l->f, &id, "m", &answer, &error), DW_OK);
    size_t length = 1;
    text[0] = 'p';
    while (length < 1001) { /* a token for each letter, and one before all */
        text[length] = (char)('a' + length * length % 23);
        length++;
    }
    (void)snprintf(text + length, sizeof text - length, "%04x", own * 40503 % 65536);
    assert_int_equal(runtime_tell(l->f, &id, text, &answer, &error), DW_OK);
    dw_runtime_actor_info info = runtime_info(l->f, &id);
    assert_true(info.prompt_tokens + info.found_tokens >= 1000);
    assert_true(info.found_tokens == 0 || info.prompt_tokens < 100);
    return info.found_tokens;
}

static size_t files(void)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        count += strstr(entry->d_name, ".kv") != NULL;
    }
    (void)closedir(dir);
    return count;
}

static void empty_folder(void)
{
    char command[100];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static uint64_t record_bytes(const life *l)
{
    return dw_model_kv_layout(dw_model_shape_of(l->f->actors->model), DW_KV_F32).record_bytes;
}

static uint64_t memory_of(const life *l)
{
    dw_prefix_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_engine_get_prefix_stats(l->f->actors->engine, &stats), DW_OK);
    return stats.bytes;
}

static void test_runtime_prefixes_after_a_restart(void **state)
{
    (void)state;
    empty_folder();
    life l = begin(0);
    uint64_t record = record_bytes(&l);
    for (unsigned i = 0; i < ACTORS; i++) {
        assert_int_equal(talk(&l, "", i), i == 0 ? 0 : COMMON);
    }
    assert_true(memory_of(&l) <= (COMMON + 64 * ACTORS) * record);
    await_saved(&l);
    dw_runtime_prefix_stats saved = stats_of(&l);
    assert_true(saved.files >= 1 && saved.files <= ACTORS);
    assert_true(saved.bytes <= (COMMON + 64 * ACTORS) * record + saved.files * 65536);
    end(&l);
    assert_int_equal(files(), saved.files);
    l = begin(0);
    assert_int_equal(stats_of(&l).loaded, 0); /* nobody has the model yet */
    assert_int_equal(talk(&l, "", 9999), COMMON);
    assert_int_equal(stats_of(&l).loaded, saved.files);
    assert_true(memory_of(&l) <= (COMMON + 64 * ACTORS) * record);
    for (unsigned i = 0; i < ACTORS; i++) {
        assert_int_equal(talk(&l, "", 1000 + i), COMMON);
    }
    end(&l);
}

static void test_runtime_prefixes_are_a_tenants(void **state)
{
    (void)state;
    empty_folder();
    dw_error error;
    const dw_tenant_options usual = {.struct_bytes = sizeof usual, .capabilities = DW_MAY_ALL};
    for (int round = 0; round < 2; round++) {
        life l = begin(0);
        assert_int_equal(dw_runtime_set_tenant(l.f->runtime, "a", &usual, &error), DW_OK);
        assert_int_equal(dw_runtime_set_tenant(l.f->runtime, "b", &usual, &error), DW_OK);
        assert_int_equal(talk(&l, "a", 1), round == 0 ? 0 : COMMON);
        if (round == 1) {
            assert_int_equal(talk(&l, "b", 1), 0);
        }
        end(&l); /* which writes what is new */
    }
}

/* What an operator publishes all tenants find, also after a restart; it stays. */
static void test_runtime_prefixes_published(void **state)
{
    (void)state;
    empty_folder();
    dw_error error = {.message = ""};
    const dw_tenant_options usual = {.struct_bytes = sizeof usual, .capabilities = DW_MAY_ALL};
    char text[1002];
    runtime_answer answer;
    life l = begin(0);
    uint64_t each = 1024 * record_bytes(&l) + 65536;
    runtime_id id = runtime_spawned(l.f, l.f->actors->module, NULL);
    for (size_t i = 1; i < 1001; i++) {
        text[i] = (char)('a' + i * i % 23);
    }
    text[0] = 'p';
    text[1001] = '\0';
    assert_int_equal(runtime_tell(l.f, &id, "m", &answer, &error), DW_OK);
    assert_int_equal(runtime_tell(l.f, &id, text, &answer, &error), DW_OK);
    assert_int_equal(dw_runtime_keep_prefixes(l.f->runtime, id.text, 0xff, &error), DW_E_ARG);
    assert_int_equal(dw_runtime_keep_prefixes(l.f->runtime, id.text,
                                              DW_PREFIX_PUBLIC | DW_PREFIX_PINNED, &error),
                     DW_OK);
    assert_int_equal(dw_runtime_stop(l.f->runtime, id.text, &error), DW_OK);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "new %u", i);
            assert_int_equal(dw_runtime_set_tenant(l.f->runtime, name, &usual, &error), DW_OK);
            assert_int_equal(talk(&l, name, i), COMMON);
        }
        end(&l);
        l = begin(each * 2);
    }
    end(&l);
}

/* What a tenant's actors compute is for all, where that is granted; others' stays theirs. */
static void test_runtime_prefixes_of_a_public_tenant(void **state)
{
    (void)state;
    empty_folder();
    dw_error error = {.message = ""};
    life l = begin(0);
    dw_tenant_options options = {.struct_bytes = sizeof options, .capabilities = DW_MAY_ALL};
    for (char name[2] = "a"; name[0] < 'e'; name[0]++) {
        assert_int_equal(dw_runtime_set_tenant(l.f->runtime, name, &options, &error), DW_OK);
    }
    options.public_prefixes = true;
    assert_int_equal(dw_runtime_set_tenant(l.f->runtime, "library", &options, &error), DW_OK);
    options.no_shared_prefixes = true;
    assert_int_equal(dw_runtime_set_tenant(l.f->runtime, "library", &options, &error), DW_E_ARG);
    assert_int_equal(talk(&l, "a", 1), 0);
    assert_int_equal(talk(&l, "b", 2), 0);
    assert_int_equal(talk(&l, "library", 3), 0);
    assert_int_equal(talk(&l, "c", 4), COMMON);
    assert_int_equal(talk(&l, "d", 5), COMMON);
    static const char *const manifests[] = {"public", "shared", "own", "all"};
    for (size_t i = 0; i < 4; i++) {
        char text[80];
        dw_runtime *runtime = NULL;
        (void)snprintf(text, sizeof text, "{\"tenants\":{\"a\":{\"prefixes\":\"%s\"}}}",
                       manifests[i]);
        const dw_runtime_options with = {
            .struct_bytes = sizeof with, .manifest = text, .manifest_bytes = strlen(text)};
        assert_int_equal(dw_runtime_open(&runtime, l.f->actors->engine, &with, &error),
                         i < 3 ? DW_OK : DW_E_FORMAT);
        dw_runtime_close(runtime);
    }
    end(&l);
}

/* The bound of the limit prefix_bytes holds, and what was used last stays. */
static void test_runtime_prefixes_limit(void **state)
{
    (void)state;
    empty_folder();
    life l = begin(0);
    uint64_t each = 1024 * record_bytes(&l) + 65536;
    end(&l);
    l = begin(each + each / 2);
    const dw_tenant_options usual = {.struct_bytes = sizeof usual, .capabilities = DW_MAY_ALL};
    for (unsigned i = 0; i < 3; i++) {
        char name[8];
        dw_error error;
        (void)snprintf(name, sizeof name, "t%u", i);
        assert_int_equal(dw_runtime_set_tenant(l.f->runtime, name, &usual, &error), DW_OK);
        assert_int_equal(talk(&l, name, 0), 0);
        await_saved(&l);
        dw_runtime_prefix_stats stats = stats_of(&l);
        assert_int_equal(stats.limit_bytes, each + each / 2);
        assert_true(stats.bytes <= stats.limit_bytes);
    }
    assert_true(stats_of(&l).dropped >= 2);
    end(&l);
}

/* A runtime with a state folder keeps them there unless it is told not to. */
static void test_runtime_prefixes_in_a_state_folder(void **state)
{
    (void)state;
    empty_folder();
    void *fixture = NULL;
    dw_error error = {.message = ""};
    assert_int_equal(runtime_fixture_open(&fixture), 0);
    runtime_fixture *f = fixture;
    for (int round = 0; round < 3; round++) {
        dw_runtime *second = NULL;
        const dw_runtime_options options = {
            .struct_bytes = sizeof options, .path = folder, .prefix_path = round == 2 ? "" : NULL};
        char other[80];
        (void)snprintf(other, sizeof other, "%s/other", folder);
        const dw_runtime_options beside = {.struct_bytes = sizeof beside, .path = other};
        assert_int_equal(dw_runtime_open(&f->runtime, f->actors->engine, &options, &error), DW_OK);
        life l = {f};
        if (round == 2) {
            assert_int_equal(stats_of(&l).limit_bytes, 0);
        } else {
            dw_engine_forget_prefixes(f->actors->engine, NULL);
            assert_int_equal(talk(&l, "", 7), round == 0 ? 0 : COMMON);
            /* Another one of the engine goes without. */
            assert_int_equal(dw_runtime_open(&second, f->actors->engine, &beside, &error), DW_OK);
            dw_runtime_close(second);
        }
        dw_runtime_close(f->runtime);
    }
    assert_int_equal(runtime_fixture_close(&fixture), 0);
}

static void test_runtime_prefixes_refused(void **state)
{
    (void)state;
    empty_folder();
    dw_error error = {.message = ""};
    life l = begin(0);
    dw_runtime *second = NULL;
    dw_runtime_options options = {.struct_bytes = sizeof options,
                                  .prefix_path = "/tmp/dw-no-one's"};
    assert_int_equal(dw_runtime_open(&second, l.f->actors->engine, &options, &error), DW_E_STATE);
    assert_null(second);
    end(&l);
    void *other = NULL;
    assert_int_equal(runtime_fixture_open(&other), 0);
    runtime_fixture *f = other;
    options.prefix_path = "/proc/none/prefixes";
    assert_int_equal(dw_runtime_open(&second, f->actors->engine, &options, &error), DW_E_IO);
    options.prefix_path = folder; /* it is given back each time */
    assert_int_equal(dw_runtime_open(&second, f->actors->engine, &options, &error), DW_OK);
    dw_runtime_close(second);
    assert_int_equal(runtime_fixture_close(&other), 0);
}

static void test_runtime_prefixes_killed(void **state)
{
    (void)state;
    empty_folder();
    for (unsigned i = 0; i < 8; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            life l = begin(0);
            dw_error error;
            const dw_tenant_options usual = {.struct_bytes = sizeof usual};
            for (unsigned k = 0;; k++) {
                char name[32];
                (void)snprintf(name, sizeof name, "%u-%u", i, k % 100);
                (void)!dw_runtime_set_tenant(l.f->runtime, name, &usual, &error);
                (void)talk(&l, name, k);
            }
        }
        (void)usleep(400000 + i * 37000);
        (void)kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        life l = begin(0);
        (void)talk(&l, "", i);
        assert_int_equal(stats_of(&l).dropped, 0); /* nothing is damaged */
        assert_int_equal(stats_of(&l).loaded, stats_of(&l).files);
        end(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runtime_prefixes_killed), /* while this process has no threads */
        cmocka_unit_test(test_runtime_prefixes_after_a_restart),
        cmocka_unit_test(test_runtime_prefixes_are_a_tenants),
        cmocka_unit_test(test_runtime_prefixes_of_a_public_tenant),
        cmocka_unit_test(test_runtime_prefixes_published),
        cmocka_unit_test(test_runtime_prefixes_limit),
        cmocka_unit_test(test_runtime_prefixes_in_a_state_folder),
        cmocka_unit_test(test_runtime_prefixes_refused),
    };
    (void)snprintf(folder, sizeof folder, "/tmp/dw-runtime-prefixes-%d", (int)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    empty_folder();
    return failed;
}
