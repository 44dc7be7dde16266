/* Actors that have left memory, whose contexts stay in device memory while there is room: they go
 * on as those do that never left, whether their contexts were still there or not. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "kv/kv_kept.h"
#include "kv/kv_pool.h"
#include "runtime/runtime_internal.h"
#include "runtime_fixture.h"
#include "support.h"

#define TALKERS 6
#define STEPS 8

static char folder[] = "/tmp/dw-kept-XXXXXX";

static void clean(void)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static dw_device *device_of(runtime_fixture *f)
{
    return dw_engine_device(f->actors->engine);
}

static void share_nothing(runtime_fixture *f)
{
    dw_error error = {.message = ""};
    const dw_tenant_options apart = {
        .struct_bytes = sizeof apart, .capabilities = DW_MAY_ALL, .no_shared_prefixes = true};
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "", &apart, &error), DW_OK);
}

/* On a device of its own what is computed with others may be other bits (docs/numerics.md). */
static void open_folder(runtime_fixture *f)
{
    dw_error error = {.message = ""};
    f->path = folder;
    runtime_open(f);
    assert_int_equal(dw_engine_set_kv_limit(f->actors->engine, 0, &error), DW_OK);
    dw_kv_kept_limit(device_of(f), UINT64_MAX);
    if (getenv("DW_TEST_DEVICE") != NULL) {
        share_nothing(f);
    }
}

static void close_folder(runtime_fixture *f)
{
    runtime_close(f);
    f->path = f->manifest = NULL;
    f->durability = DW_DURABLE_DEFAULT;
    clean();
}

static dw_kv_stats kv_of(runtime_fixture *f)
{
    dw_kv_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_engine_get_kv_stats(f->actors->engine, &stats), DW_OK);
    return stats;
}

static runtime_id spawned(runtime_fixture *f)
{
    return runtime_spawned(f, f->actors->module, NULL);
}

static void told(runtime_fixture *f, const runtime_id *id, const char *text, runtime_answer *answer)
{
    dw_error error = {.message = ""};
    if (runtime_tell(f, id, text, answer, &error) != DW_OK) {
        fail_msg("%s: %s", text, error.message);
    }
}

static void parked(runtime_fixture *f, const runtime_id *id)
{
    dw_error error = {.message = ""};
    if (dw_runtime_park(f->runtime, id->text, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
    assert_false(runtime_info(f, id).resident);
}

/* Both answer alike, and something. */
static void same(runtime_fixture *f, const runtime_id *a, const runtime_id *b, const char *text)
{
    static runtime_answer answers[2];
    told(f, a, text, &answers[0]);
    told(f, b, text, &answers[1]);
    assert_int_equal(answers[0].count, answers[1].count);
    assert_memory_equal(answers[0].bytes, answers[1].bytes, answers[0].count);
    assert_true(text[0] != 'g' || answers[0].count > 0);
}

/* ---- the same as ever ------------------------------------------------------------------------ */

static void talk(runtime_fixture *f, dw_durability durability)
{
    static const char *const messages[] = {"m",   "s7",  "n300", "g20", "f",
                                           "g20", "k40", "g20",  "t30", "g10"};
    runtime_answer answer[3];
    f->durability = durability;
    open_folder(f);
    const uint64_t found = kv_of(f).kept_found_count;
    runtime_id stays = spawned(f);
    runtime_id kept = spawned(f);
    runtime_id dropped = spawned(f);
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        parked(f, &dropped);
        (void)dw_kv_kept_forget_all(device_of(f));
        parked(f, &kept);
        assert_int_equal(kv_of(f).kept_count, i > 2); /* with something in the context */
        told(f, &stays, messages[i], &answer[0]);
        told(f, &kept, messages[i], &answer[1]);
        told(f, &dropped, messages[i], &answer[2]);
        for (size_t k = 1; k < 3; k++) {
            assert_int_equal(answer[0].count, answer[k].count);
            assert_memory_equal(answer[0].bytes, answer[k].bytes, answer[0].count);
        }
        assert_int_equal(kv_of(f).kept_count, 0);
    }
    assert_int_equal(answer[0].count, 80);
    assert_int_equal(kv_of(f).kept_found_count - found, 7);
    close_folder(f);
}

static void test_kept_answers_go_on(void **state)
{
    talk(*state, DW_DURABLE_DEFAULT);
    talk(*state, DW_DURABLE_PARK);
}

/* An actor that is read and leaves again without a turn is found again. */
static void test_kept_again_and_again(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    open_folder(f);
    const uint64_t found = kv_of(f).kept_found_count;
    runtime_id stays = spawned(f);
    runtime_id kept = spawned(f);
    for (size_t i = 0; i < 2; i++) {
        const runtime_id *id = i == 0 ? &stays : &kept;
        told(f, id, "m", &answer);
        told(f, id, "n200", &answer);
    }
    uint64_t bytes = 0;
    uint64_t number = 0;
    for (size_t i = 0; i < 3; i++) {
        parked(f, &kept);
        assert_int_equal(kv_of(f).kept_count, 1);
        assert_true(i == 0 || kv_of(f).kept_bytes == bytes);
        bytes = kv_of(f).kept_bytes;
        assert_int_equal(dw_runtime_freeze(f->runtime, kept.text, &number, &error), DW_OK);
        assert_true(runtime_info(f, &kept).resident);
    }
    same(f, &stays, &kept, "g20");
    assert_int_equal(kv_of(f).kept_found_count - found, 3);
    close_folder(f);
}

/* Forks of it, and what it was before: their contexts are not those that were kept. */
static void test_kept_beside_forks_and_rewinds(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    runtime_id child;
    runtime_id again;
    uint64_t number = 0;
    dw_error error = {.message = ""};
    open_folder(f);
    runtime_id stays = spawned(f);
    runtime_id kept = spawned(f);
    for (size_t i = 0; i < 2; i++) {
        const runtime_id *id = i == 0 ? &stays : &kept;
        told(f, id, "m", &answer);
        told(f, id, "n100", &answer);
    }
    assert_int_equal(dw_runtime_freeze(f->runtime, kept.text, &number, &error), DW_OK);
    told(f, &kept, "n50", &answer);
    parked(f, &kept);
    assert_int_equal(dw_runtime_fork(f->runtime, kept.text, child.text, &error), DW_OK);
    parked(f, &kept);
    parked(f, &child);
    assert_int_equal(kv_of(f).kept_count, 2);
    same(f, &kept, &child, "g20");
    parked(f, &kept);
    parked(f, &child);
    assert_int_equal(dw_runtime_rewind(f->runtime, kept.text, number, &error), DW_OK);
    assert_int_equal(dw_runtime_fork(f->runtime, kept.text, again.text, &error), DW_OK);
    parked(f, &kept);
    same(f, &stays, &kept, "g20");
    parked(f, &again);
    parked(f, &kept);
    told(f, &again, "g20", &answer);
    same(f, &again, &kept, "g10");
    close_folder(f);
}

/* Copies are made of the files: they leave the actor what it left. */
static void test_kept_beside_copies(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    open_folder(f);
    runtime_id stays = spawned(f);
    runtime_id kept = spawned(f);
    for (size_t i = 0; i < 2; i++) {
        const runtime_id *id = i == 0 ? &stays : &kept;
        told(f, id, "m", &answer);
        told(f, id, "n200", &answer);
    }
    parked(f, &kept);
    const dw_kv_stats before = kv_of(f);
    dw_actor *copy = NULL;
    assert_int_equal(runtime_copy(f, kept.text, &copy, &error), DW_OK);
    assert_string_equal(dw_actor_id(copy), kept.text);
    assert_int_equal(kv_of(f).kept_count, 1);
    assert_int_equal(kv_of(f).kept_found_count, before.kept_found_count);
    same(f, &stays, &kept, "g20");
    assert_int_equal(kv_of(f).kept_found_count, before.kept_found_count + 1);
    dw_actor_destroy(copy);
    close_folder(f);
}

/* ---- another module, another folder --------------------------------------------------------- */

/* The actor is read with what stayed, and what it hands over goes on; one that is refused, too. */
static void test_kept_is_upgraded(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    dw_module *first = actor_module(f->actors, "actor_first.wasm");
    dw_module *second = actor_module(f->actors, "actor_second.wasm");
    open_folder(f);
    const uint64_t found = kv_of(f).kept_found_count;
    const runtime_id stays = runtime_spawned(f, first, NULL);
    const runtime_id kept = runtime_spawned(f, first, NULL);
    for (size_t i = 0; i < 2; i++) {
        told(f, i == 0 ? &stays : &kept, "m", &answer);
        told(f, i == 0 ? &stays : &kept, "q200", &answer);
    }
    same(f, &stays, &kept, "g5");
    parked(f, &kept);
    assert_int_equal(kv_of(f).kept_count, 1); /* that which is empty has nothing to keep */
    assert_int_equal(dw_runtime_upgrade(f->runtime, kept.text, f->echo, NULL, &error),
                     DW_E_UNSUPPORTED);
    same(f, &stays, &kept, "g5");
    parked(f, &kept);
    error.message[0] = '\0';
    (void)!dw_runtime_upgrade(f->runtime, kept.text, second, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(dw_runtime_upgrade(f->runtime, stays.text, second, NULL, &error), DW_OK);
    same(f, &stays, &kept, "g20");
    parked(f, &kept);
    same(f, &stays, &kept, "g20");
    assert_int_equal(kv_of(f).kept_found_count - found, 3);
    same(f, &stays, &kept, "+0");
    close_folder(f);
    dw_module_unref(first);
    dw_module_unref(second);
}

/* A runtime beside that of `f`, on its engine, with a folder of its own. */
static void open_beside(runtime_fixture *other, const runtime_fixture *f, const char *path)
{
    *other = *f;
    assert_int_equal(pthread_mutex_init(&other->lock, NULL), 0);
    other->runtime = NULL;
    other->path = path;
    runtime_open(other);
    dw_kv_kept_limit(device_of(other), UINT64_MAX);
}

static void close_beside(runtime_fixture *other)
{
    runtime_close(other);
    (void)pthread_mutex_destroy(&other->lock);
}

static runtime_id imported(runtime_fixture *f, const char *path)
{
    const char *const paths[] = {path};
    const dw_thaw_options thaw = {.struct_bytes = sizeof thaw,
                                  .paths = paths,
                                  .path_count = 1,
                                  .models = &f->actors->model,
                                  .model_count = 1};
    const dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .capabilities = DW_MAY_ALL};
    dw_error error = {.message = ""};
    runtime_id id;
    (void)!dw_runtime_import(f->runtime, &thaw, &spawn, id.text, &error);
    assert_string_equal(error.message, "");
    return id;
}

/* Exported while its logs alone are there; the copies in this folder and in another are not it, and
 * go on as it does, also when it is gone, and when they have been parked. */
static void test_kept_is_exported(void **state)
{
    runtime_fixture *f = *state;
    static runtime_answer right;
    static runtime_answer answer;
    dw_error error = {.message = ""};
    char path[80];
    char beside[80];
    open_folder(f);
    (void)snprintf(path, sizeof path, "%s/exported", folder);
    (void)snprintf(beside, sizeof beside, "%s/beside", folder);
    const runtime_id stays = spawned(f);
    const runtime_id kept = spawned(f);
    for (size_t i = 0; i < 2; i++) {
        told(f, i == 0 ? &stays : &kept, "m", &answer);
        told(f, i == 0 ? &stays : &kept, "s9", &answer);
        told(f, i == 0 ? &stays : &kept, "n200", &answer);
    }
    parked(f, &kept);
    FILE *file = fopen(path, "w+b");
    assert_non_null(file);
    assert_int_equal(dw_runtime_export(f->runtime, kept.text, fileno(file), &error), DW_OK);
    (void)fclose(file);
    parked(f, &kept);
    runtime_fixture other;
    open_beside(&other, f, beside);
    const runtime_id here = imported(f, path);
    const runtime_id there = imported(&other, path);
    parked(f, &here);
    parked(&other, &there);
    told(f, &stays, "g20", &right);
    for (size_t i = 0; i < 3; i++) {
        const runtime_id *id = i == 0 ? &kept : i == 1 ? &here : &there;
        told(i < 2 ? f : &other, id, "g20", &answer);
        assert_int_equal(answer.count, right.count);
        assert_memory_equal(answer.bytes, right.bytes, right.count);
        parked(i < 2 ? f : &other, id);
    }
    assert_int_equal(kv_of(f).kept_count, 3);
    assert_int_equal(dw_runtime_stop(f->runtime, kept.text, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(kv_of(f).kept_count, 2);
    told(f, &stays, "g10", &right);
    told(&other, &there, "g10", &answer);
    assert_memory_equal(answer.bytes, right.bytes, right.count);
    told(f, &here, "g10", &answer);
    assert_memory_equal(answer.bytes, right.bytes, right.count);
    close_beside(&other);
    close_folder(f);
}

/* Two runtimes on one engine, the other's folder a copy, so that ids and states are the same: what
 * ends in one, and its own end, takes nothing from the other. */
static void test_kept_of_two_runtimes(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    char command[240];
    char beside[80];
    dw_error error = {.message = ""};
    open_folder(f);
    const runtime_id stays = spawned(f);
    const runtime_id kept = spawned(f);
    for (size_t i = 0; i < 2; i++) {
        told(f, i == 0 ? &stays : &kept, "m", &answer);
        told(f, i == 0 ? &stays : &kept, "n200", &answer);
    }
    runtime_close(f);
    (void)snprintf(beside, sizeof beside, "%s-beside", folder);
    (void)snprintf(command, sizeof command, "cp -r '%s' '%s'", folder, beside);
    assert_int_equal(system(command), 0);
    open_folder(f);
    runtime_fixture other;
    open_beside(&other, f, beside);
    for (size_t i = 0; i < 2; i++) {
        runtime_fixture *of = i == 0 ? f : &other;
        told(of, &kept, "+1", &answer);
        parked(of, &kept);
        told(of, &stays, "+1", &answer);
        parked(of, &stays);
    }
    assert_int_equal(kv_of(f).kept_count, 4);
    const uint64_t found = kv_of(f).kept_found_count;
    assert_int_equal(dw_runtime_stop(other.runtime, kept.text, &error), DW_OK);
    runtime_await(&other);
    assert_int_equal(kv_of(f).kept_count, 3);
    close_beside(&other);
    assert_int_equal(kv_of(f).kept_count, 2);
    same(f, &stays, &kept, "g20");
    assert_int_equal(kv_of(f).kept_found_count - found, 2);
    close_folder(f);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", beside);
    assert_int_equal(system(command), 0);
}

/* ---- who wants the room ---------------------------------------------------------------------- */

static void test_kept_goes_for_who_computes(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    runtime_id ids[TALKERS];
    open_folder(f);
    share_nothing(f);
    dw_kv_pool_settle(device_of(f));
    const uint64_t others = kv_of(f).device_bytes; /* prefixes */
    runtime_id stays = spawned(f);
    told(f, &stays, "m", &answer);
    told(f, &stays, "n200", &answer);
    dw_kv_pool_settle(device_of(f));
    const uint64_t each = kv_of(f).device_bytes - others;
    const uint64_t limit = others + 3 * each + each / 2;
    assert_int_equal(dw_engine_set_kv_limit(f->actors->engine, limit, &error), DW_OK);
    const dw_kv_stats before = kv_of(f);
    for (size_t i = 0; i < TALKERS; i++) {
        ids[i] = spawned(f);
        told(f, &ids[i], "m", &answer);
        told(f, &ids[i], "n200", &answer);
        parked(f, &ids[i]);
        assert_true(kv_of(f).device_bytes <= limit);
    }
    assert_true(kv_of(f).kept_lost_count > before.kept_lost_count);
    assert_int_equal(kv_of(f).evicted_bytes, before.evicted_bytes);
    for (size_t i = TALKERS; i > 0; i--) {
        runtime_id *id = &ids[i - 1];
        runtime_id fork;
        assert_int_equal(dw_runtime_fork(f->runtime, stays.text, fork.text, &error), DW_OK);
        same(f, &fork, id, "g20");
        assert_int_equal(dw_runtime_stop(f->runtime, fork.text, &error), DW_OK);
        parked(f, id);
    }
    assert_true(kv_of(f).kept_found_count > before.kept_found_count);
    close_folder(f);
}

/* By a manifest, and by the runtime's own limits. */
static void test_kept_not_at_all(void **state)
{
    static const dw_spawn_options nothing = {.struct_bytes = sizeof nothing};
    runtime_fixture *f = *state;
    runtime_answer answer;
    for (int i = 0; i < 2; i++) {
        f->manifest = i == 0 ? "{\"limits\": {\"parked_kv_bytes\": 1},"
                               " \"tenants\": {\"\": {\"models\": [\"*\"]}}}"
                             : NULL;
        f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .parked_kv_bytes = 1};
        f->limits.struct_bytes = i == 0 ? 0 : sizeof f->limits;
        dw_kv_kept_limit(device_of(f), UINT64_MAX);
        f->path = folder;
        runtime_open(f);
        runtime_id id = runtime_spawned(f, f->actors->module, i == 0 ? &nothing : NULL);
        told(f, &id, "m", &answer);
        told(f, &id, "n200", &answer);
        parked(f, &id);
        assert_int_equal(kv_of(f).kept_count, 0);
        told(f, &id, "g10", &answer);
        close_folder(f);
    }
}

/* ---- what ends ------------------------------------------------------------------------------- */

/* With its actor, with the runtime, and with the model. */
static void test_kept_ends_with_its_owner(void **state)
{
    runtime_fixture *f = *state;
    runtime_answer answer;
    dw_error error = {.message = ""};
    open_folder(f);
    runtime_id ids[3];
    for (size_t i = 0; i < 3; i++) {
        ids[i] = spawned(f);
        told(f, &ids[i], "m", &answer);
        told(f, &ids[i], "s3", &answer);
        told(f, &ids[i], "n100", &answer);
        parked(f, &ids[i]);
    }
    assert_int_equal(kv_of(f).kept_count, 3);
    assert_int_equal(dw_runtime_stop(f->runtime, ids[0].text, &error), DW_OK);
    runtime_await(f);
    assert_int_equal(kv_of(f).kept_count, 2);
    runtime_close(f);
    assert_int_equal(kv_of(f).kept_count, 0);
    open_folder(f);
    same(f, &ids[1], &ids[2], "g20");
    close_folder(f);
    dw_model *model = NULL;
    dw_kv_log *log = NULL;
    const char *path = f->actors->path[0] != '\0' ? f->actors->path : getenv("DW_TEST_MODEL");
    assert_int_equal(dw_model_open(&model, f->actors->engine, path, &error), DW_OK);
    const dw_kv_log_options options = {.record_bytes = 64, .capacity_tokens = 8};
    const unsigned char record[64] = {1};
    const dw_kv_key key = {.owner = "o", .state = "s", .model = model};
    assert_int_equal(dw_kv_log_create(&log, device_of(f), &options, &error), DW_OK);
    assert_int_equal(dw_kv_log_append(log, record, 1, &error), DW_OK);
    dw_kv_log_begin_saving(log);
    dw_kv_log_end_saving(log, true);
    dw_kv_kept_limit(device_of(f), UINT64_MAX);
    dw_kv_log_keep(log, &key);
    assert_int_equal(kv_of(f).kept_count, 1);
    dw_model_unref(model);
    assert_int_equal(kv_of(f).kept_count, 0);
}

/* ---- any order ------------------------------------------------------------------------------- */

static _Atomic bool troubling;

/* Takes the room at any time, in the middle of a wake too. */
static void *trouble(void *user)
{
    runtime_fixture *f = user;
    for (unsigned i = 0; atomic_load(&troubling); i++) {
        if (i % 3 == 0) {
            (void)dw_kv_kept_forget_all(device_of(f));
        } else if (i % 3 == 1) {
            (void)dw_kv_pool_evict(device_of(f), NULL);
        } else {
            dw_kv_kept_limit(device_of(f), i % 2 == 0 ? UINT64_MAX : 65536);
        }
        (void)usleep(1000 + i * 7919 % 4000);
    }
    return NULL;
}

/* Actors that were told the same in the same order answer the same, wherever they were between. */
static void test_kept_in_any_order(void **state)
{
    static const char *const messages[STEPS] = {"m", "s7", "n90", "g9", "f", "g20", "k30", "g12"};
    static runtime_answer right[STEPS];
    static runtime_answer answer;
    runtime_fixture *f = *state;
    pthread_t thread;
    runtime_id ids[TALKERS];
    size_t at[TALKERS] = {0};
    uint64_t seed = 20251130;
    open_folder(f);
    runtime_id stays = spawned(f);
    for (size_t i = 0; i < STEPS; i++) {
        told(f, &stays, messages[i], &right[i]);
    }
    for (size_t i = 0; i < TALKERS; i++) {
        ids[i] = spawned(f);
    }
    atomic_store(&troubling, true);
    assert_int_equal(pthread_create(&thread, NULL, trouble, f), 0);
    for (size_t left = TALKERS * (size_t)STEPS; left > 0;) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const size_t i = (seed >> 33) % TALKERS;
        if ((seed >> 20) % 3 > 0) {
            dw_error error;
            (void)!dw_runtime_park(f->runtime, ids[i].text, &error);
        } else if (at[i] < STEPS) {
            told(f, &ids[i], messages[at[i]], &answer);
            assert_int_equal(answer.count, right[at[i]].count);
            assert_memory_equal(answer.bytes, right[at[i]].bytes, answer.count);
            at[i]++;
            left--;
        }
    }
    atomic_store(&troubling, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close_folder(f);
}

static int open_group(void **state)
{
    /* What is kept lies in address ranges: emulated ones, where the device has none. */
    assert_int_equal(setenv("DW_TEST_KV", "ranges", 1), 0);
    assert_non_null(mkdtemp(folder));
    clean();
    return runtime_fixture_open(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_kept_answers_go_on),
        runtime_test(test_kept_again_and_again),
        runtime_test(test_kept_beside_forks_and_rewinds),
        runtime_test(test_kept_beside_copies),
        runtime_test(test_kept_is_upgraded),
        runtime_test(test_kept_is_exported),
        runtime_test(test_kept_of_two_runtimes),
        runtime_test(test_kept_goes_for_who_computes),
        runtime_test(test_kept_not_at_all),
        runtime_test(test_kept_ends_with_its_owner),
        runtime_test(test_kept_in_any_order),
    };
    wasm_signals_save();
    return cmocka_run_group_tests(tests, open_group, runtime_fixture_close);
}
