/* Random numbers and clocks that are an actor's own: the same message to the same state gives the
 * same again, whoever is no twin draws other numbers, and time goes on by what the guest does. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/actor.h"
#include "actor_fixture.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/os.h"
#include "base/random_stream.h"
#include "support.h"
#include "wasm/repeatable.h"

#define AT_MS UINT64_C(4102444800000) /* 2100-01-01: ahead of any machine's clock */

/* ---- the stream -------------------------------------------------------------------------- */

static void assert_hex(const void *bytes, size_t count, const char *expected)
{
    char text[2 * 64 + 1];
    assert_true(count <= 64);
    dw_hex(text, bytes, count);
    assert_string_equal(text, expected);
}

/* What OpenSSL's chacha20 and Python's hmac say. */
static void test_stream_is_chacha20(void **state)
{
    dw_random_stream stream;
    dw_random_stream other;
    uint8_t drawn[64];
    (void)state;
    for (size_t i = 0; i < sizeof stream.key; i++) {
        stream.key[i] = (uint8_t)i;
    }
    dw_random_stream_derive(&other, &stream, "fork:0123456789abcdef", 21);
    assert_hex(other.key, 32, "0ceed74eebe5024bf74510155051fdd13809087f16c3203893116bb3f3d04de9");
    dw_random_stream_draw(&stream, drawn, sizeof drawn);
    assert_hex(drawn, 64,
               "18b84231ade6a6d113615c61af434e27f8b1f3f5e1ad5b5cecf8fc122a35755c"
               "7208086dd1ee3c5d9d815824640e003c9ba0f65ede5d59ce0d2a4a7f31955acd");
    assert_hex(stream.key, 32, "39fd2b7dd9c5196a8dbd0377b8dc4a498a35d86fbcde6accb2cc7d4cd8ea2492");
    dw_random_stream_init_of(&stream, 42);
    assert_hex(stream.key, 32, "0aa6f223cb69375063cf12d86ec2b27415e22b566bfd5c49e29ac356b6e22e12");
}

static void test_streams_differ(void **state)
{
    dw_random_stream a;
    dw_random_stream b;
    (void)state;
    dw_random_stream_init(&a);
    b = a;
    dw_random_stream_draw(&b, NULL, 0);
    assert_memory_not_equal(&a, &b, sizeof a); /* also where nothing was drawn */
    b = a;
    dw_random_stream_renew(&b);
    assert_memory_not_equal(&a, &b, sizeof a);
    dw_random_stream_init(&b);
    assert_memory_not_equal(&a, &b, sizeof a);
}

/* ---- actors ------------------------------------------------------------------------------ */

static dw_module *module; /* tests/guest/actor_chance.c */

static int open_all(void **state)
{
    int failed = actor_fixture_open(state);
    module = actor_module(*state, "actor_chance.wasm");
    return failed;
}

static int close_all(void **state)
{
    dw_module_unref(module);
    return actor_fixture_close(state);
}

static dw_actor *spawned(const dw_limits *limits)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = limits};
    dw_actor_options options = {.struct_bytes = sizeof options, .instance = &instance};
    assert_int_equal(dw_actor_spawn(&actor, module, &options, &error), DW_OK);
    assert_string_equal(error.message, "");
    return actor;
}

/* What it answers a message of that time. */
static const char *said(dw_actor *actor, const char *message, uint64_t at_ms)
{
    static actor_answer answer;
    dw_error error = {.message = ""};
    dw_status status = dw_actor_send_at(actor, NULL, message, strlen(message), at_ms, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    assert_int_equal(actor_received(actor, &answer), DW_OK);
    assert_true(answer.bytes < sizeof answer.data);
    answer.data[answer.bytes] = '\0';
    return (const char *)answer.data;
}

typedef struct looked {
    char first[17];
    char drawn[33];
    char id[DW_ACTOR_ID_CHARS + 1];
    uint64_t day;
    uint64_t steady;
    uint64_t own;
} looked;

static looked look(dw_actor *actor, uint64_t at_ms)
{
    looked seen;
    int count = sscanf(said(actor, "l", at_ms), "%16s %32s %16s %" SCNu64 " %" SCNu64 " %" SCNu64,
                       seen.first, seen.drawn, seen.id, &seen.day, &seen.steady, &seen.own);
    assert_int_equal(count, 6);
    assert_int_equal(strlen(seen.drawn), 32);
    return seen;
}

static void file_name(char path[64])
{
    (void)snprintf(path, 64, "/tmp/dw-test-repeatable-%ld", (long)getpid());
}

static dw_actor *thawed(actor_fixture *fixture, const char *path, const char *id)
{
    dw_actor *actor = NULL;
    dw_error error = {.message = ""};
    const dw_thaw_options options = {.struct_bytes = sizeof options,
                                     .paths = &path,
                                     .path_count = 1,
                                     .module = module,
                                     .id = id};
    assert_int_equal(dw_actor_thaw(&actor, fixture->engine, &options, NULL, &error), DW_OK);
    assert_string_equal(error.message, "");
    return actor;
}

static void identity_of(dw_actor *actor, char identity[33])
{
    char path[64];
    dw_error error = {.message = ""};
    dw_freeze_stats stats = {.struct_bytes = sizeof stats};
    file_name(path);
    assert_int_equal(dw_actor_freeze(actor, path, NULL, &stats, &error), DW_OK);
    memcpy(identity, stats.identity, 33);
}

static const char *const talk[] = {"l", "b100000", "s3", "l", "t60000", "r", "w1", "l"};

static void test_twin_is_equal(void **state)
{
    char path[64];
    char identities[2][33];
    dw_error error = {.message = ""};
    dw_actor *actor = spawned(NULL);
    file_name(path);
    (void)look(actor, AT_MS);
    assert_int_equal(dw_actor_freeze(actor, path, NULL, NULL, &error), DW_OK);
    dw_actor *twin = thawed(*state, path, NULL);
    (void)unlink(path);
    for (size_t i = 0; i < sizeof talk / sizeof talk[0]; i++) {
        char *one = dw_strdup(said(actor, talk[i], AT_MS + 10 * i));
        usleep(2000); /* the system's clock is no part of it */
        assert_string_equal(said(twin, talk[i], AT_MS + 10 * i), one);
        dw_free(one);
    }
    assert_true(dw_actor_timer_ms(actor) >= AT_MS + 60000);
    assert_int_equal(dw_actor_timer_ms(actor), dw_actor_timer_ms(twin));
    identity_of(actor, identities[0]);
    identity_of(twin, identities[1]);
    assert_string_equal(identities[0], identities[1]);
    dw_actor_destroy(actor);
    dw_actor_destroy(twin);
    (void)unlink(path);
}

static void assert_others(const looked *a, const looked *b)
{
    assert_string_not_equal(a->drawn, b->drawn);
    assert_string_not_equal(a->id, b->id);
}

/* Two forks of one state draw other numbers than it and than one another; by the same id they are
 * the same. */
static void test_forks_differ(void **state)
{
    static const char *const ids[] = {NULL, NULL, "0123456789abcdef", "0123456789abcdef"};
    dw_error error = {.message = ""};
    looked seen[6];
    dw_actor *actor = spawned(NULL);
    dw_actor *made[5];
    (void)state;
    (void)look(actor, AT_MS);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(dw_actor_fork(&made[i], actor, ids[i], &error), DW_OK);
    }
    assert_int_equal(dw_actor_fork(&made[4], actor, dw_actor_id(actor), &error), DW_OK);
    for (size_t i = 0; i < 5; i++) {
        seen[i] = look(made[i], AT_MS);
        assert_string_equal(seen[i].first, seen[0].first); /* what was drawn before is its memory */
        dw_actor_destroy(made[i]);
    }
    seen[5] = look(actor, AT_MS);
    assert_string_equal(seen[4].drawn, seen[5].drawn);
    assert_string_equal(seen[4].id, seen[5].id);
    assert_string_equal(seen[2].drawn, seen[3].drawn);
    assert_string_equal(seen[2].id, seen[3].id);
    assert_others(&seen[0], &seen[1]);
    assert_others(&seen[0], &seen[2]);
    assert_others(&seen[0], &seen[5]);
    assert_others(&seen[2], &seen[5]);
    dw_actor_destroy(actor);
}

/* One that is taken in under another id, and one that was taken back, are no twins. */
static void test_copies_and_rewound_ones_differ(void **state)
{
    char path[64];
    dw_error error = {.message = ""};
    looked seen[4];
    dw_actor *actor = spawned(NULL);
    dw_actor *other = spawned(NULL);
    file_name(path);
    seen[0] = look(other, AT_MS);
    dw_actor_destroy(other);
    assert_int_equal(dw_actor_freeze(actor, path, NULL, NULL, &error), DW_OK);
    dw_actor *copies[] = {thawed(*state, path, "0123456789abcdef"), thawed(*state, path, NULL)};
    dw_actor_renew_random(copies[1]);
    seen[1] = look(copies[0], AT_MS);
    seen[2] = look(copies[1], AT_MS);
    seen[3] = look(actor, AT_MS);
    assert_string_not_equal(seen[0].first, seen[3].first);
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = i + 1; k < 4; k++) {
            assert_others(&seen[i], &seen[k]);
        }
    }
    dw_actor_destroy(actor);
    dw_actor_destroy(copies[0]);
    dw_actor_destroy(copies[1]);
    (void)unlink(path);
}

/* ---- clocks ------------------------------------------------------------------------------ */

static void test_clock_goes_on_by_what_the_guest_does(void **state)
{
    dw_actor *actor = spawned(NULL);
    (void)state;
    looked seen = look(actor, AT_MS);
    assert_int_equal(seen.day, AT_MS * 1000000 + DW_CLOCK_READ_NS);
    assert_int_equal(seen.steady, seen.day + DW_CLOCK_READ_NS);
    assert_int_equal(seen.own, seen.steady + DW_CLOCK_READ_NS);
    assert_string_equal(said(actor, "r", AT_MS), "100");
    looked later = look(actor, AT_MS); /* in between it did nothing of that */
    assert_int_equal(later.day, seen.own + DW_CLOCK_READ_NS);
    later = look(actor, AT_MS - 1000); /* it does not go back */
    assert_true(later.day > seen.own);
    later = look(actor, AT_MS + 5000);
    assert_int_equal(later.day, (AT_MS + 5000) * 1000000 + DW_CLOCK_READ_NS);
    uint64_t from_ns = dw_os_clock_ns();
    assert_string_equal(said(actor, "s20", AT_MS), "20000100");
    assert_true(dw_os_clock_ns() - from_ns >= 20000000); /* it has slept in earnest */
    assert_string_equal(said(actor, "w2", AT_MS), "19999");
    dw_actor_destroy(actor);
}

static void test_clock_is_as_coarse_as_was_granted(void **state)
{
    const dw_limits limits = {.struct_bytes = sizeof limits, .clock_ns = 1000000};
    dw_actor *actor = spawned(&limits);
    (void)state;
    looked seen = look(actor, AT_MS);
    assert_int_equal(seen.day, AT_MS * 1000000);
    assert_int_equal(seen.own, AT_MS * 1000000);
    assert_string_equal(said(actor, "r", AT_MS), "1000000");
    assert_string_equal(said(actor, "s3", AT_MS), "3000000");
    dw_actor_destroy(actor);
}

static void test_messages_without_a_time_have_the_systems(void **state)
{
    dw_actor *actor = spawned(NULL);
    dw_error error = {.message = ""};
    (void)state;
    uint64_t before_ms = dw_os_wall_ms();
    looked seen = look(actor, 0);
    assert_in_range(seen.day / 1000000, before_ms, dw_os_wall_ms() + 1);
    assert_int_equal(dw_actor_send_at(actor, NULL, "l", 1, DW_ACTOR_AT_MS_MAX + 1, &error),
                     DW_E_RANGE);
    assert_non_null(strstr(error.message, "9223372036855"));
    seen = look(actor, DW_ACTOR_AT_MS_MAX);
    assert_in_range(seen.own, DW_ACTOR_AT_MS_MAX * 1000000, INT64_MAX);
    (void)said(actor, "s1", 0); /* there it stands */
    seen = look(actor, 0);
    assert_int_equal(seen.day, INT64_MAX);
    assert_int_equal(seen.own, INT64_MAX);
    dw_actor_destroy(actor);
}

/* A host whose clock was years ahead gave one message its time: the actor's clock stays there, and
 * what it sets afterwards is due by the time of the messages all the same. */
static void test_timers_outlast_a_wrong_clock(void **state)
{
    const uint64_t ahead_ms = UINT64_C(10) * 366 * 86400 * 1000;
    dw_actor *actor = spawned(NULL);
    dw_error error = {.message = ""};
    (void)state;
    looked seen = look(actor, AT_MS + ahead_ms);
    (void)said(actor, "t60000", AT_MS);
    assert_int_equal(dw_actor_timer_ms(actor), AT_MS + 60000);
    assert_int_equal(dw_actor_fire_timers(actor, AT_MS + 60000, &error), DW_OK);
    assert_int_equal(dw_actor_waiting(actor), 1);
    actor_answer *answer = dw_alloc(1, sizeof *answer);
    assert_int_equal(actor_received(actor, answer), DW_OK);
    dw_free(answer);
    assert_true(look(actor, AT_MS + 60000).day > seen.own); /* for the guest it never goes back */
    (void)said(actor, "S20 60000", AT_MS);                  /* what it sleeps counts */
    assert_int_equal(dw_actor_timer_ms(actor), AT_MS + 60020);
    dw_actor_destroy(actor);
}

/* Timers are by the message's time, and what rings has the time at which it rang. */
static void test_timers(void **state)
{
    dw_actor *actor = spawned(NULL);
    actor_answer *answer = dw_alloc(1, sizeof *answer);
    dw_error error = {.message = ""};
    (void)state;
    (void)said(actor, "t100 l", AT_MS);
    assert_int_equal(dw_actor_timer_ms(actor), AT_MS + 100);
    assert_int_equal(dw_actor_fire_timers(actor, AT_MS + 99, &error), DW_OK);
    assert_int_equal(dw_actor_waiting(actor), 0);
    assert_int_equal(dw_actor_fire_timers(actor, AT_MS + 250, &error), DW_OK);
    assert_int_equal(dw_actor_waiting(actor), 1);
    assert_int_equal(actor_received(actor, answer), DW_OK);
    uint64_t day = 0;
    assert_int_equal(sscanf((const char *)answer->data, "%*s %*s %*s %" SCNu64, &day), 1);
    assert_int_equal(day, (AT_MS + 250) * 1000000 + DW_CLOCK_READ_NS);
    (void)said(actor, "t0 l", AT_MS);
    assert_int_equal(dw_actor_fire_timers(actor, UINT64_MAX, &error), DW_OK); /* all there are */
    assert_int_equal(actor_received(actor, answer), DW_OK);
    assert_int_equal(sscanf((const char *)answer->data, "%*s %*s %*s %" SCNu64, &day), 1);
    assert_int_equal(day / 1000000, AT_MS + 250);
    dw_free(answer);
    dw_actor_destroy(actor);
}

static void test_who_has_clocks_of_its_own(void **state)
{
    actor_fixture *fixture = *state;
    dw_actor *actor = spawned(NULL);
    dw_instance *instance = NULL;
    dw_module *command = actor_module(fixture, "chance.wasm");
    dw_error error = {.message = ""};
    assert_int_equal(dw_instance_repeat(dw_actor_instance(actor), 1, 0, &error), DW_E_STATE);
    assert_non_null(strstr(error.message, "actor"));
    assert_int_equal(dw_instance_create(&instance, command, NULL, &error), DW_OK);
    assert_false(dw_instance_repeatable(instance)->own_clock);
    assert_int_equal(dw_instance_repeat(instance, 1, DW_ACTOR_AT_MS_MAX + 1, &error), DW_E_RANGE);
    assert_non_null(strstr(error.message, "9223372036855"));
    assert_int_equal(dw_instance_repeat(instance, 42, AT_MS, &error), DW_OK);
    assert_int_equal(dw_instance_repeatable(instance)->clock_ns, AT_MS * 1000000);
    assert_hex(dw_instance_repeatable(instance)->random.key, 32,
               "0aa6f223cb69375063cf12d86ec2b27415e22b566bfd5c49e29ac356b6e22e12");
    dw_instance_destroy(instance);
    dw_module_unref(command);
    dw_actor_destroy(actor);
}

/* ---- files ------------------------------------------------------------------------------- */

/* The file with `from` in its description made `to`, which is as long, and sealed again. */
static void change_file(const char *path, const char *from, const char *to)
{
    uint8_t seal[DW_HASH128_BYTES];
    uint64_t header_bytes = 0;
    char *bytes = dw_alloc(1 << 20, 1);
    FILE *file = fopen(path, "r+b");
    assert_true(bytes != NULL && file != NULL && strlen(from) == strlen(to));
    size_t count = fread(bytes, 1, 1 << 20, file);
    assert_true(count > 64 && count < 1 << 20);
    memcpy(&header_bytes, bytes, sizeof header_bytes);
    header_bytes += sizeof header_bytes;
    assert_true(header_bytes < count);
    char *place = memmem(bytes, (size_t)header_bytes, from, strlen(from));
    assert_non_null(place);
    memcpy(place, to, strlen(to));
    dw_hash128_of(seal, bytes, (size_t)header_bytes);
    memcpy(bytes + count - sizeof seal, seal, sizeof seal);
    rewind(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    dw_free(bytes);
}

static void frozen(dw_actor *actor, const char *path)
{
    const dw_freeze_options options = {.struct_bytes = sizeof options, .without_module = true};
    dw_error error = {.message = ""};
    (void)unlink(path);
    assert_int_equal(dw_actor_freeze(actor, path, &options, NULL, &error), DW_OK);
}

/* As programs before this wrote them: each copy has random numbers of the system's, and begins at
 * its time. */
static void test_files_without_them_get_fresh_ones(void **state)
{
    char path[64];
    looked seen[3];
    dw_actor *actor = spawned(NULL);
    file_name(path);
    seen[2] = look(actor, AT_MS);
    frozen(actor, path);
    change_file(path, "\\\"random\\\":", "\\\"rubbed\\\":");
    change_file(path, "\\\"clock_ns\\\":", "\\\"clock_no\\\":");
    for (size_t i = 0; i < 2; i++) {
        dw_actor *old = thawed(*state, path, NULL);
        uint64_t before_ms = dw_os_wall_ms();
        seen[i] = look(old, 0);
        assert_in_range(seen[i].day / 1000000, before_ms - 1000, dw_os_wall_ms() + 1);
        dw_actor_destroy(old);
    }
    seen[2] = look(actor, AT_MS);
    assert_others(&seen[0], &seen[1]);
    assert_others(&seen[0], &seen[2]);
    dw_actor_destroy(actor);
    (void)unlink(path);
}

static void test_files_that_lie_about_them_are_refused(void **state)
{
    actor_fixture *fixture = *state;
    char key[2 * DW_RANDOM_STREAM_BYTES + 1];
    char bad[sizeof key];
    dw_actor *actor = spawned(NULL);
    (void)look(actor, AT_MS);
    dw_hex(key, dw_instance_repeatable(dw_actor_instance(actor))->random.key,
           DW_RANDOM_STREAM_BYTES);
    memcpy(bad, key, sizeof bad);
    bad[63] = 'g';
    const struct {
        const char *from;
        const char *to;
        dw_status status;
        const char *said;
    } lies[] = {
        {key, key, DW_OK, ""},
        {key, bad, DW_E_FORMAT, "'random' has 64 characters that are no 64 hexadecimal digits"},
        {"\\\"clock_ns\\\":4102444", "\\\"clock_ns\\\":9999999", DW_E_FORMAT, ""},
        {"\\\"clock_ns\\\":4102444", "\\\"clock_ns\\\":-102444", DW_E_LIMIT, "clock_ns"},
        {"\\\"clock_ns\\\":4102444", "\\\"clock_ns\\\":0.02444", DW_E_FORMAT, "clock_ns"},
    };
    char path[64];
    const char *paths[] = {path};
    file_name(path);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        dw_error error = {.message = ""};
        dw_actor *made = NULL;
        const dw_thaw_options options = {
            .struct_bytes = sizeof options, .paths = paths, .path_count = 1, .module = module};
        frozen(actor, path);
        change_file(path, lies[i].from, lies[i].to);
        assert_int_equal(dw_actor_thaw(&made, fixture->engine, &options, NULL, &error),
                         lies[i].status);
        assert_non_null(strstr(error.message, lies[i].said));
        dw_actor_destroy(made);
    }
    dw_actor_destroy(actor);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_is_chacha20),
        cmocka_unit_test(test_streams_differ),
        cmocka_unit_test(test_twin_is_equal),
        cmocka_unit_test(test_forks_differ),
        cmocka_unit_test(test_copies_and_rewound_ones_differ),
        cmocka_unit_test(test_clock_goes_on_by_what_the_guest_does),
        cmocka_unit_test(test_clock_is_as_coarse_as_was_granted),
        cmocka_unit_test(test_messages_without_a_time_have_the_systems),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_timers_outlast_a_wrong_clock),
        cmocka_unit_test(test_who_has_clocks_of_its_own),
        cmocka_unit_test(test_files_without_them_get_fresh_ones),
        cmocka_unit_test(test_files_that_lie_about_them_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
