/* An actor that goes on while its file is written (dw_actor_freeze_begin): the file has what it was
 * when that began, the next freeze is a delta upon it whatever the actor did meanwhile, and faults
 * in between leave it as it was. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actor_fixture.h"
#include "base/alloc.h"
#include "support.h"

#define TOKENS 200u

static char folder[] = "/tmp/dw-freezing-XXXXXX";

typedef struct paths {
    char text[4][64];
    const char *list[4];
} paths;

static void name_paths(paths *p)
{
    for (int i = 0; i < 4; i++) {
        (void)snprintf(p->text[i], sizeof p->text[i], "%s/%d", folder, i);
        (void)unlink(p->text[i]);
        p->list[i] = p->text[i];
    }
}

static dw_actor *filled(actor_fixture *fixture)
{
    actor_answer answer;
    dw_actor *actor = actor_spawned(fixture, NULL);
    assert_int_equal(actor_told(actor, &answer, "m"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "n%u", TOKENS), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "g4"), DW_OK);
    assert_int_equal(actor_told(actor, &answer, "+5"), DW_OK);
    return actor;
}

static dw_actor *copy_of(dw_actor *actor)
{
    dw_actor *copy = NULL;
    dw_error error = {.message = ""};
    assert_int_equal(dw_actor_fork(&copy, actor, NULL, &error), DW_OK);
    return copy;
}

static dw_actor *thawed(actor_fixture *fixture, const paths *p, size_t count)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_thaw_options options = {.struct_bytes = sizeof options,
                               .paths = p->list,
                               .path_count = count,
                               .models = &fixture->model,
                               .model_count = 1,
                               .module = fixture->module};
    dw_status status = dw_actor_thaw(&actor, fixture->engine, &options, NULL, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

/* Both go on alike; `left` ends. */
static void expect_alike(dw_actor *left, dw_actor *right)
{
    static const char *const messages[] = {"g6", "+1", "n3", "g3"};
    actor_answer *answers = dw_alloc(2, sizeof *answers);
    assert_non_null(answers);
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        assert_int_equal(actor_told(left, &answers[0], "%s", messages[i]), DW_OK);
        assert_int_equal(actor_told(right, &answers[1], "%s", messages[i]), DW_OK);
        assert_int_equal(answers[0].bytes, answers[1].bytes);
        assert_memory_equal(answers[0].data, answers[1].data, answers[0].bytes);
    }
    dw_free(answers);
    dw_actor_destroy(left);
}

static dw_freezing *begun(dw_actor *actor, bool delta)
{
    dw_freezing *freezing = NULL;
    dw_error error = {.message = ""};
    dw_freeze_options options = {.struct_bytes = sizeof options, .delta = delta};
    dw_status status = dw_actor_freeze_begin(&freezing, actor, &options, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return freezing;
}

static void write_well(dw_freezing *freezing, const char *path, dw_freeze_stats *stats)
{
    dw_error error = {.message = ""};
    *stats = (dw_freeze_stats){.struct_bytes = sizeof *stats};
    dw_status status = dw_freezing_write(freezing, path, stats, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

static void freeze_delta(dw_actor *actor, const char *path, dw_freeze_stats *stats)
{
    dw_error error = {.message = ""};
    dw_freeze_options options = {.struct_bytes = sizeof options, .delta = true};
    *stats = (dw_freeze_stats){.struct_bytes = sizeof *stats};
    dw_status status = dw_actor_freeze(actor, path, &options, stats, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_true(stats->delta);
}

/* What actors do meanwhile: nothing, further tokens, others in the place of some, on in a fork
 * whose parent is closed, more contexts, fewer and fewer tokens, rotated keys, memory alone. */
static const char *const meanwhile[][4] = {
    {NULL},        {"g7", "+2"}, {"n150", "t150", "n20", "g2"},
    {"f", "n9"},   {"b2", "g1"}, {"n150", "t90", "t40", "n150"},
    {"k60", "g2"}, {"+9"}};

static void go_on(dw_actor *actor, const char *const messages[4])
{
    actor_answer answer;
    for (int i = 0; i < 4 && messages[i] != NULL; i++) {
        assert_int_equal(actor_told(actor, &answer, "%s", messages[i]), DW_OK);
    }
}

/* Twice: a full one and a delta in parts, then one as usual upon both. */
static void test_actor_freezing_goes_on(void **state)
{
    actor_fixture *fixture = *state;
    const size_t count = sizeof meanwhile / sizeof meanwhile[0];
    for (size_t i = 0; i < count; i++) {
        paths p;
        dw_freeze_stats stats;
        dw_actor *actor = filled(fixture);
        name_paths(&p);
        for (size_t k = 0; k < 2; k++) {
            dw_actor *before = copy_of(actor);
            dw_freezing *freezing = begun(actor, k > 0);
            go_on(actor, meanwhile[(i + k) % count]);
            write_well(freezing, p.list[k], &stats);
            assert_int_equal(stats.delta, k > 0);
            go_on(actor, meanwhile[(i + 3 * k) % count]);
            dw_freezing_end(freezing, actor);
            expect_alike(thawed(fixture, &p, k + 1), before);
            dw_actor_destroy(before);
        }
        freeze_delta(actor, p.list[2], &stats);
        expect_alike(thawed(fixture, &p, 3), actor);
        dw_actor_destroy(actor);
    }
}

/* What did not change is not written again. */
static void test_actor_freezing_is_a_base(void **state)
{
    actor_fixture *fixture = *state;
    paths p;
    dw_freeze_stats full;
    dw_freeze_stats more;
    actor_answer answer;
    dw_actor *actor = filled(fixture);
    name_paths(&p);
    dw_freezing *freezing = begun(actor, false);
    assert_int_equal(actor_told(actor, &answer, "g2"), DW_OK);
    write_well(freezing, p.list[0], &full);
    dw_freezing_end(freezing, actor);
    assert_int_equal(actor_told(actor, &answer, "g2"), DW_OK);
    freeze_delta(actor, p.list[1], &more);
    assert_true(full.kv_bytes > 0);
    assert_true(more.kv_bytes < full.kv_bytes / 4 || more.kv_bytes <= 4096);
    assert_true(more.new_bytes < full.new_bytes);
    expect_alike(thawed(fixture, &p, 2), actor);
    dw_actor_destroy(actor);
}

/* The disk is full in the middle: nothing is there, and it goes elsewhere; or not at all, and the
 * next is a delta upon what was before. */
static void test_actor_freezing_fails_to_write(void **state)
{
    actor_fixture *fixture = *state;
    paths p;
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    dw_error error = {.message = ""};
    dw_actor *actor = filled(fixture);
    name_paths(&p);
    assert_int_equal(dw_actor_freeze(actor, p.list[0], NULL, &stats, &error), DW_OK);
    for (int gives_up = 0; gives_up < 2; gives_up++) {
        const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
        struct rlimit little = {stats.file_bytes / 2, RLIM_INFINITY};
        actor_answer answer;
        dw_freezing *freezing = begun(actor, false);
        assert_int_equal(actor_told(actor, &answer, "g3"), DW_OK);
        assert_int_equal(dw_freezing_write(freezing, "/nowhere/at/all", NULL, &error), DW_E_IO);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
        dw_status status = dw_freezing_write(freezing, p.list[1], NULL, &error);
        little.rlim_cur = none.rlim_cur;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
        assert_int_equal(status, DW_E_IO);
        assert_int_equal(access(p.list[1], F_OK), -1);
        if (gives_up == 0) {
            dw_freeze_stats again;
            write_well(freezing, p.list[0], &again);
            assert_int_equal(dw_freezing_write(freezing, p.list[2], NULL, &error), DW_E_STATE);
        }
        dw_freezing_end(freezing, actor);
    }
    freeze_delta(actor, p.list[1], &stats);
    expect_alike(thawed(fixture, &p, 2), actor);
    dw_actor_destroy(actor);
}

static void test_actor_freezing_one_at_a_time(void **state)
{
    actor_fixture *fixture = *state;
    paths p;
    dw_error error = {.message = ""};
    dw_freezing *second = NULL;
    dw_freeze_stats stats;
    dw_actor *actor = filled(fixture);
    name_paths(&p);
    dw_freezing *freezing = begun(actor, false);
    assert_int_equal(dw_actor_freeze_begin(&second, actor, NULL, &error), DW_E_STATE);
    assert_non_null(strstr(error.message, "under way"));
    assert_null(second);
    assert_int_equal(dw_actor_freeze(actor, p.list[0], NULL, NULL, &error), DW_E_STATE);
    assert_int_equal(dw_actor_export(actor, STDERR_FILENO, NULL, NULL, &error), DW_E_STATE);
    dw_actor *child = copy_of(actor); /* which is another, and may */
    assert_int_equal(dw_actor_freeze(child, p.list[1], NULL, NULL, &error), DW_OK);
    dw_actor_destroy(child);
    write_well(freezing, p.list[0], &stats);
    dw_freezing_end(freezing, actor);
    dw_freezing_end(NULL, NULL);
    assert_int_equal(dw_actor_freeze(actor, p.list[0], NULL, NULL, &error), DW_OK);
    dw_actor_destroy(actor);
}

typedef struct writer {
    dw_freezing *freezing;
    const char *path;
    dw_status status;
} writer;

static void *write_beside(void *user)
{
    writer *w = user;
    w->status = dw_freezing_write(w->freezing, w->path, NULL, NULL);
    return NULL;
}

/* On another thread, while the actor works, and while it ends. */
static void test_actor_freezing_beside(void **state)
{
    actor_fixture *fixture = *state;
    for (int ends = 0; ends < 2; ends++) {
        for (size_t i = 0; i < sizeof meanwhile / sizeof meanwhile[0]; i++) {
            paths p;
            pthread_t thread;
            dw_actor *actor = filled(fixture);
            dw_actor *before = copy_of(actor);
            name_paths(&p);
            writer w = {.freezing = begun(actor, false), .path = p.list[0]};
            assert_int_equal(pthread_create(&thread, NULL, write_beside, &w), 0);
            go_on(actor, meanwhile[i]);
            if (ends) {
                dw_actor_destroy(actor);
                actor = NULL;
            }
            assert_int_equal(pthread_join(thread, NULL), 0);
            assert_int_equal(w.status, DW_OK);
            dw_freezing_end(w.freezing, actor);
            expect_alike(thawed(fixture, &p, 1), before);
            dw_actor_destroy(before);
            dw_actor_destroy(actor);
        }
    }
}

static int open_fixture(void **state)
{
    assert_non_null(mkdtemp(folder));
    (void)signal(SIGXFSZ, SIG_IGN);
    return actor_fixture_open(state);
}

static int close_fixture(void **state)
{
    paths p;
    name_paths(&p);
    (void)rmdir(folder);
    return actor_fixture_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actor_freezing_goes_on),
        cmocka_unit_test(test_actor_freezing_is_a_base),
        cmocka_unit_test(test_actor_freezing_fails_to_write),
        cmocka_unit_test(test_actor_freezing_one_at_a_time),
        cmocka_unit_test(test_actor_freezing_beside),
    };
    return cmocka_run_group_tests_name("actor_freezing", tests, open_fixture, close_fixture);
}
