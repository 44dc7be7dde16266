/* Answers that come later than their messages: by tickets, in memory and in a folder. */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "runtime/runtime_internal.h"
#include "runtime_fixture.h"
#include "support.h"

/* A request whose end another thread tells of. */
typedef struct asked {
    runtime_answer answer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ends;
    unsigned pieces;
    unsigned busy; /* so many times none is taken */
    bool drops;    /* what is taken is counted alone */
    dw_status status;
    char message[248];
    uint64_t number;
} asked;

static ptrdiff_t on_piece(void *user, const unsigned char *bytes, size_t count)
{
    asked *a = user;
    (void)pthread_mutex_lock(&a->lock);
    ptrdiff_t taken = -EAGAIN;
    assert_int_equal(a->ends, 0);
    if (a->busy > 0) {
        a->busy--;
    } else if (a->drops) {
        a->answer.count += count;
        taken = (ptrdiff_t)count;
    } else {
        a->pieces++;
        taken = runtime_keep(&a->answer, bytes, count);
    }
    (void)pthread_cond_broadcast(&a->changed);
    (void)pthread_mutex_unlock(&a->lock);
    return taken;
}

static void on_end(void *user, const dw_runtime_end *end)
{
    asked *a = user;
    (void)pthread_mutex_lock(&a->lock);
    a->ends++;
    a->status = end->status;
    (void)snprintf(a->message, sizeof a->message, "%s",
                   end->status != DW_OK ? end->error->message : "");
    (void)pthread_cond_broadcast(&a->changed);
    (void)pthread_mutex_unlock(&a->lock);
}

static void ask(runtime_fixture *f, asked *a, const char *id, const char *text, uint64_t timeout_ms)
{
    dw_error error;
    *a = (asked){.busy = a->busy, .drops = a->drops};
    (void)pthread_mutex_init(&a->lock, NULL);
    (void)pthread_cond_init(&a->changed, NULL);
    const dw_request request = {.struct_bytes = sizeof request,
                                .message = text,
                                .message_bytes = strlen(text),
                                .timeout_ms = timeout_ms,
                                .on_answer = on_piece,
                                .on_end = on_end,
                                .user = a};
    if (dw_runtime_send(f->runtime, id, &request, &a->number, &error) != DW_OK) {
        fail_msg("%s", error.message);
    }
}

static void await_end(asked *a)
{
    (void)pthread_mutex_lock(&a->lock);
    while (a->ends == 0) {
        (void)pthread_cond_wait(&a->changed, &a->lock);
    }
    (void)pthread_mutex_unlock(&a->lock);
}

static void await_bytes(asked *a, size_t count)
{
    (void)pthread_mutex_lock(&a->lock);
    while (a->answer.count < count) {
        (void)pthread_cond_wait(&a->changed, &a->lock);
    }
    (void)pthread_mutex_unlock(&a->lock);
}

/* It has so much, and the actor's account of what was not taken has none of it: that is brought up
 * to date when the callback is back. */
static void await_taken(asked *a, runtime_fixture *f, const runtime_id *id, size_t count,
                        size_t left)
{
    uint64_t number = 0;
    uint64_t unread;
    await_bytes(a, count);
    assert_true(dw__id_parse(id->text, &number));
    do {
        dw__enter(f->runtime);
        unread = dw__find(f->runtime, number)->unread_bytes;
        dw__leave(f->runtime, false);
    } while (unread > left);
}

/* It was given something, and took none. */
static void await_refusal(asked *a, unsigned busy)
{
    (void)pthread_mutex_lock(&a->lock);
    while (a->busy == busy) {
        (void)pthread_cond_wait(&a->changed, &a->lock);
    }
    (void)pthread_mutex_unlock(&a->lock);
}

static void tell(runtime_fixture *f, const runtime_id *id, const char *text, dw_status expected)
{
    runtime_answer answer;
    dw_error error;
    dw_status status = runtime_tell(f, id, text, &answer, &error);
    if (status != expected) {
        fail_msg("%s: %d, %s", text, (int)status, error.message);
    }
}

static void check_later(runtime_fixture *f)
{
    asked a = {.busy = 3}; /* it takes nothing at first, and is asked again */
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "r", 0);
    runtime_await(f);
    assert_int_equal(a.ends, 0);
    tell(f, &talker, "yone, ", DW_OK);
    await_bytes(&a, 5);
    tell(f, &talker, "ytwo, ", DW_OK);
    tell(f, &talker, "zthree", DW_OK);
    await_end(&a);
    assert_int_equal(a.status, DW_OK);
    assert_string_equal((char *)a.answer.bytes, "one, two, three");
    tell(f, &talker, "zfour", DW_E_NOT_FOUND); /* it was answered */
    tell(f, &talker, "Z77", DW_OK);
    tell(f, &talker, "zfour", DW_E_NOT_FOUND); /* none of its own */

    a.busy = 0;
    ask(f, &a, talker.text, "Rby a timer", 0);
    await_end(&a);
    assert_int_equal(a.status, DW_OK);
    assert_string_equal((char *)a.answer.bytes, "by a timer");

    ask(f, &a, talker.text, "aat once", 0); /* the message that takes the ticket answers it */
    await_end(&a);
    assert_int_equal(a.status, DW_OK);
    assert_string_equal((char *)a.answer.bytes, "at once");
    runtime_close(f);
}

static void test_later_in_memory(void **state)
{
    check_later(*state);
}

/* One that traps with an answer has not answered; a fork has no tickets; who ends ends those who
 * wait, and says why. */
static void check_ends(runtime_fixture *f)
{
    asked a = {.busy = 0};
    asked b = {.busy = 0};
    dw_error error;
    runtime_id child;
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .tickets = 2};
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "r", 0);
    runtime_await(f);
    ask(f, &b, talker.text, "r", 100);
    await_end(&b);
    assert_int_equal(b.status, DW_E_LIMIT);
    assert_non_null(strstr(b.message, "no answer within 100 ms"));
    runtime_await(f);
    tell(f, &talker, "r", DW_E_LIMIT); /* two are open, though nobody waits for one */
    assert_int_equal(dw_runtime_fork(f->runtime, talker.text, child.text, &error), DW_OK);
    tell(f, &child, "zno", DW_E_NOT_FOUND);
    ask(f, &b, child.text, "r", 0);
    runtime_await(f);
    assert_int_equal(dw_runtime_cancel(f->runtime, child.text, b.number, &error), DW_OK);
    await_end(&b);
    assert_int_equal(b.status, DW_E_CANCELLED);
    tell(f, &child, "zwell", DW_OK); /* it need not know */
    assert_int_equal(dw_runtime_stop(f->runtime, talker.text, &error), DW_OK);
    await_end(&a);
    assert_int_equal(a.status, DW_E_CANCELLED);
    assert_non_null(strstr(a.message, "ticket "));
    assert_non_null(strstr(a.message, "was never answered"));
    ask(f, &a, child.text, "r", 0);
    runtime_await(f);
    runtime_close(f);
    await_end(&a);
    assert_int_equal(a.status, f->path != NULL ? DW_E_STATE : DW_E_CANCELLED);
    assert_non_null(strstr(a.message, "was never answered"));
    f->limits = (dw_limits){.struct_bytes = 0};
}

static void test_later_ends(void **state)
{
    check_ends(*state);
}

/* A ticket's age is bounded. */
static void test_later_is_not_for_ever(void **state)
{
    runtime_fixture *f = *state;
    asked a = {.busy = 0};
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .ticket_ms = 20};
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "r", 0);
    await_end(&a);
    assert_int_equal(a.status, DW_E_LIMIT);
    assert_non_null(strstr(a.message, "ticket_ms"));
    runtime_await(f);
    const struct timespec while_ns = {.tv_nsec = 30000000};
    (void)nanosleep(&while_ns, NULL);
    tell(f, &talker, "zlate", DW_E_NOT_FOUND);
    runtime_close(f);
    f->limits = (dw_limits){.struct_bytes = 0};
}

static char *folder(char path[64])
{
    (void)snprintf(path, 64, "/tmp/dw-later-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static void drop_folder(runtime_fixture *f)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -r %s", f->path);
    f->path = NULL;
    f->durability = DW_DURABLE_DEFAULT;
    assert_int_equal(system(command), 0);
}

/* What a sender leaves unread is bounded, and so is what one message answers by tickets. */
static void test_later_unread(void **state)
{
    runtime_fixture *f = *state;
    asked a = {.busy = UINT_MAX, .drops = true};
    const size_t most = (size_t)16 << 20;
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "r", 0);
    runtime_await(f);
    tell(f, &talker, "B16", DW_OK);
    (void)pthread_mutex_lock(&a.lock);
    assert_int_equal(a.ends, 0);
    a.busy = 0; /* it reads, and there is room again */
    (void)pthread_mutex_unlock(&a.lock);
    await_taken(&a, f, &talker, most, 0);
    tell(f, &talker, "B8", DW_OK);
    tell(f, &talker, "zend", DW_OK);
    await_end(&a);
    assert_int_equal(a.status, DW_OK);
    assert_int_equal(a.answer.count, most + most / 2 + 3);

    a.busy = UINT_MAX;
    ask(f, &a, talker.text, "r", 0);
    runtime_await(f);
    tell(f, &talker, "B16", DW_OK);
    tell(f, &talker, "y!", DW_OK);
    await_end(&a);
    assert_int_equal(a.status, DW_E_LIMIT);
    assert_non_null(strstr(a.message, "1 bytes more"));
    assert_non_null(strstr(a.message, "16777216 in 16 pieces wait"));
    assert_int_equal(a.answer.count, 0);
    tell(f, &talker, "zend", DW_OK); /* it need not know */
    runtime_close(f);

    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .answer_bytes = 3 << 20};
    runtime_open(f);
    talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "r", 0);
    runtime_await(f);
    tell(f, &talker, "B3", DW_OK);
    tell(f, &talker, "B4", DW_E_LIMIT);
    runtime_close(f);
    await_end(&a);
}

/* What a piece takes as long as it is held. */
static size_t held(size_t bytes)
{
    return sizeof(dw__mail) + bytes;
}

/* And what all senders of an actor leave unread together. */
static void test_later_unread_together(void **state)
{
    runtime_fixture *f = *state;
    asked a = {.busy = UINT_MAX, .drops = true};
    asked b = {.busy = UINT_MAX, .drops = true};
    const uint64_t limit = 8 * held(1 << 20);
    char words[96];
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .unread_bytes = limit};
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "r", 0);
    runtime_await(f);
    tell(f, &talker, "B6", DW_OK);
    ask(f, &b, talker.text, "r", 0); /* another ticket in its place */
    runtime_await(f);
    tell(f, &talker, "B2", DW_OK);
    tell(f, &talker, "y!", DW_OK);
    await_end(&b);
    assert_int_equal(b.status, DW_E_LIMIT);
    (void)snprintf(words, sizeof words, "%zu bytes more, while %zu of the actor's answers wait",
                   held(1), 8 * held(1 << 20));
    assert_non_null(strstr(b.message, words));
    (void)snprintf(words, sizeof words, "limit %zu (unread_bytes)", (size_t)limit);
    assert_non_null(strstr(b.message, words));
    ask(f, &b, talker.text, "r", 0); /* what nobody waits for any more is not held */
    runtime_await(f);
    tell(f, &talker, "y!", DW_OK);
    assert_true(runtime_info(f, &talker).memory_bytes >= 6 << 20);
    (void)pthread_mutex_lock(&a.lock);
    assert_int_equal(a.ends, 0);
    a.busy = 0;
    (void)pthread_mutex_unlock(&a.lock);
    await_taken(&a, f, &talker, (size_t)6 << 20, held(1));
    tell(f, &talker, "B7", DW_OK);
    (void)pthread_mutex_lock(&b.lock);
    assert_int_equal(b.ends, 0);
    b.busy = 0;
    (void)pthread_mutex_unlock(&b.lock);
    tell(f, &talker, "z", DW_OK);
    await_end(&b);
    assert_int_equal(b.status, DW_OK);
    assert_int_equal(b.answer.count, ((size_t)7 << 20) + 1);
    runtime_close(f);
    await_end(&a);
    f->limits = (dw_limits){.struct_bytes = 0};
}

/* Pieces of a byte each take what they take. */
static void test_later_unread_crumbs(void **state)
{
    runtime_fixture *f = *state;
    asked a = {.busy = UINT_MAX, .drops = true};
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .unread_bytes = 8192};
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "r", 0);
    runtime_await(f);
    for (size_t i = 0; i < 8192 / held(1) + 1; i++) {
        (void)pthread_mutex_lock(&a.lock);
        assert_int_equal(a.ends, 0);
        (void)pthread_mutex_unlock(&a.lock);
        tell(f, &talker, "y!", DW_OK);
    }
    await_end(&a);
    assert_int_equal(a.status, DW_E_LIMIT);
    assert_non_null(strstr(a.message, "limit 8192 (unread_bytes)"));
    runtime_close(f);
    f->limits = (dw_limits){.struct_bytes = 0};
}

/* ---- of many actors together ----------------------------------------------------------------- */

static runtime_id talker_of(runtime_fixture *f, const char *tenant)
{
    const dw_actor_options actor = {.struct_bytes = sizeof actor};
    const dw_spawn_options options = {
        .struct_bytes = sizeof options, .actor = &actor, .tenant = tenant};
    return runtime_spawned(f, f->actors->module, &options);
}

/* One that answers so many MiB, which nobody takes for now. */
typedef struct hoard {
    asked a;
    runtime_id id;
} hoard;

static void fill(runtime_fixture *f, hoard *h, const char *tenant, const char *mib)
{
    *h = (hoard){.a = {.busy = UINT_MAX, .drops = true}, .id = talker_of(f, tenant)};
    ask(f, &h->a, h->id.text, "r", 0);
    runtime_await(f);
    tell(f, &h->id, mib, DW_OK);
}

static void holds(hoard *h)
{
    (void)pthread_mutex_lock(&h->a.lock);
    assert_int_equal(h->a.ends, 0);
    (void)pthread_mutex_unlock(&h->a.lock);
}

static void refused(hoard *h, const char *words)
{
    await_end(&h->a);
    assert_int_equal(h->a.status, DW_E_LIMIT);
    if (strstr(h->a.message, words) == NULL) {
        fail_msg("%s: %s", words, h->a.message);
    }
}

static void take(hoard *h)
{
    (void)pthread_mutex_lock(&h->a.lock);
    h->a.busy = 0;
    (void)pthread_mutex_unlock(&h->a.lock);
}

/* What is held of a tenant's answers, as it is shown; of all: "". */
static uint64_t unread(runtime_fixture *f, const char *tenant)
{
    static char text[1 << 16];
    char name[64];
    dw_error error = {.message = ""};
    dw_text_room room = {.items = text, .capacity = sizeof text - 1};
    assert_int_equal(dw_runtime_describe(f->runtime, NULL, &room, &error), DW_OK);
    text[room.count] = '\0';
    (void)snprintf(name, sizeof name, "\"name\":\"%s\"", tenant);
    const char *at = tenant[0] != '\0' ? strstr(text, name) : text;
    at = at != NULL ? strstr(at, "\"unread_bytes\":") : NULL;
    assert_non_null(at);
    return strtoull(at + strlen("\"unread_bytes\":"), NULL, 10);
}

static void test_later_unread_of_a_tenant(void **state)
{
    runtime_fixture *f = *state;
    hoard h[5];
    f->manifest = "{\"tenants\":{\"a\":{"
                  "\"limits\":{\"tenant_unread_bytes\":\"9M\"}},\"b\":{}}}";
    runtime_open(f);
    fill(f, &h[0], "a", "B4");
    fill(f, &h[1], "a", "B4");
    holds(&h[0]);
    holds(&h[1]);
    assert_int_equal(unread(f, "a"), 8 * held(1 << 20));
    assert_int_equal(unread(f, ""), 8 * held(1 << 20));
    fill(f, &h[2], "a", "B1"); /* though it has none itself */
    refused(&h[2], "of the answers of tenant 'a' wait that were not taken, limit 9437184 "
                   "(tenant_unread_bytes)");
    fill(f, &h[2], "b", "B16");
    holds(&h[2]);
    dw_error error;
    assert_int_equal(dw_runtime_stop(f->runtime, h[1].id.text, &error), DW_OK);
    await_end(&h[1].a); /* and what it held is not held any more */
    runtime_await(f);
    assert_int_equal(unread(f, "a"), 4 * held(1 << 20));
    fill(f, &h[3], "a", "B4");
    holds(&h[3]);
    take(&h[0]);
    await_taken(&h[0].a, f, &h[0].id, (size_t)4 << 20, 0);
    fill(f, &h[4], "a", "B4");
    holds(&h[4]);
    runtime_close(f);
    for (size_t i = 0; i < 5; i++) {
        await_end(&h[i].a);
    }
    f->manifest = NULL;
}

/* Whoever is within its share has room, whatever others hold. */
static void test_later_unread_of_all(void **state)
{
    runtime_fixture *f = *state;
    hoard a[3];
    hoard b[3];
    f->manifest = "{\"limits\":{\"all_unread_bytes\":\"20M\"},\"tenants\":{"
                  "\"a\":{},\"b\":{}}}";
    runtime_open(f);
    fill(f, &b[0], "b", "B0"); /* the tenant has an actor */
    fill(f, &a[0], "a", "B15");
    fill(f, &a[1], "a", "B2");
    holds(&a[0]);
    holds(&a[1]);
    fill(f, &a[2], "a", "B4");
    refused(&a[2], "all tenants' are at their limit, 20971520 (all_unread_bytes)");
    assert_null(strstr(a[2].a.message, "'b'"));
    fill(f, &b[1], "b", "B9");
    holds(&b[1]);
    fill(f, &b[2], "b", "B2");
    refused(&b[2], "(all_unread_bytes)");
    assert_in_range(unread(f, ""), 26 << 20, 27 << 20);
    runtime_close(f);
    await_end(&b[0].a);
    f->manifest = NULL;
}

static void count_answered(void *user, const dw_event *event)
{
    _Atomic uint64_t *bytes = user;
    if (event->kind == DW_EVENT_ANSWERED) {
        assert_int_equal(event->number, 1);
        (void)atomic_fetch_add(bytes, event->byte_count);
    }
}

/* What is answered by tickets is counted, and told of, as other answers are. */
static void test_later_is_counted(void **state)
{
    runtime_fixture *f = *state;
    asked a = {.busy = 1};
    _Atomic uint64_t told = 0;
    uint64_t subscription = 0;
    dw_error error;
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "r", 0);
    runtime_await(f);
    assert_int_equal(runtime_info(f, &talker).answered_bytes, 0);
    assert_int_equal(
        dw_runtime_subscribe(f->runtime, talker.text, count_answered, &told, &subscription, &error),
        DW_OK);
    tell(f, &talker, "yone, ", DW_OK);
    tell(f, &talker, "ztwo", DW_OK);
    await_end(&a);
    assert_string_equal((char *)a.answer.bytes, "one, two");
    runtime_await(f);
    while (atomic_load(&told) < 8) {
        (void)usleep(1000);
    }
    dw_runtime_unsubscribe(f->runtime, subscription);
    assert_int_equal(atomic_load(&told), 8);
    assert_int_equal(runtime_info(f, &talker).answered_bytes, 8);
    assert_int_equal(dw_runtime_get_stats(f->runtime, &stats), DW_OK);
    assert_int_equal(stats.answered_bytes, 8);
    runtime_close(f);
}

/* An actor that breaks off and begins anew in memory has no tickets, and gives their numbers once
 * more; in a folder it has those that it had. */
static void check_restart(runtime_fixture *f)
{
    asked a = {.busy = 0};
    asked b = {.busy = 0};
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "r", 0);
    runtime_await(f);
    tell(f, &talker, "!", DW_E_TRAP);
    if (f->path != NULL) {
        tell(f, &talker, "zof before", DW_OK);
    }
    await_end(&a);
    assert_int_equal(a.status, f->path != NULL ? DW_OK : DW_E_STATE);
    assert_string_equal((char *)a.answer.bytes, f->path != NULL ? "of before" : "");
    assert_true(f->path != NULL || strstr(a.message, "was never answered: its actor broke off"));
    ask(f, &b, talker.text, "r", 0);
    runtime_await(f);
    tell(f, &talker, "zof now", DW_OK);
    await_end(&b);
    assert_int_equal(b.status, DW_OK);
    assert_string_equal((char *)b.answer.bytes, "of now");
    runtime_close(f);
}

static void test_later_restart(void **state)
{
    runtime_fixture *f = *state;
    char path[64];
    check_restart(f);
    f->path = folder(path);
    check_restart(f);
    drop_folder(f);
}

/* An actor that is stopped, or whose runtime is closed, at whatever point of a message that took a
 * ticket: who asked is told no success without the answer. */
static void test_later_stopped_at_work(void **state)
{
    runtime_fixture *f = *state;
    char path[64];
    dw_error error;
    f->path = folder(path);
    for (unsigned i = 0; i < 48; i++) {
        const bool closes = i % 2 == 0;
        const bool answers = i % 8 >= 6;
        const struct timespec pause = {.tv_nsec = (long)(i / 2) * 100000};
        asked a = {.busy = 0};
        runtime_open(f);
        runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
        ask(f, &a, talker.text, answers ? "aall" : "r", 0);
        (void)nanosleep(&pause, NULL);
        if (!closes) {
            assert_int_equal(dw_runtime_stop(f->runtime, talker.text, &error), DW_OK);
        }
        runtime_close(f);
        await_end(&a);
        assert_true(a.status != DW_OK || answers);
        assert_string_equal((char *)a.answer.bytes, a.status == DW_OK ? "all" : "");
    }
    drop_folder(f);
}

/* Its time may be over while the message that took the ticket is being written. */
static void test_later_timeouts(void **state)
{
    runtime_fixture *f = *state;
    char path[64];
    f->path = folder(path);
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    for (unsigned i = 0; i < 40; i++) {
        asked a = {.busy = 0};
        ask(f, &a, talker.text, "r", 1 + i / 4);
        await_end(&a);
        assert_int_equal(a.status, DW_E_LIMIT);
        assert_non_null(strstr(a.message, "no answer within"));
    }
    runtime_close(f);
    drop_folder(f);
}

/* A runtime that closes does not wait for who takes nothing. */
static void check_close(runtime_fixture *f)
{
    asked a = {.busy = UINT_MAX};
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "aend", 0);
    await_refusal(&a, UINT_MAX);
    runtime_close(f);
    await_end(&a);
    assert_int_equal(a.status, DW_E_STATE);
    assert_non_null(strstr(a.message, "3 bytes of the answer were not taken"));
}

static void test_later_untaken_at_close(void **state)
{
    runtime_fixture *f = *state;
    char path[64];
    check_close(f);
    f->path = folder(path);
    check_close(f);
    f->works_on_request = true;
    check_close(f);
    f->works_on_request = false;
    drop_folder(f);
}

/* In a folder the same; and tickets outlast the process, which whoever waited did not. */
static void test_later_in_a_folder(void **state)
{
    runtime_fixture *f = *state;
    static const dw_durability kinds[] = {DW_DURABLE_EACH, DW_DURABLE_PARK};
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        asked a = {.busy = 0};
        f->path = folder(path);
        f->durability = kinds[i];
        check_later(f);
        check_ends(f);
        runtime_open(f);
        runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
        ask(f, &a, talker.text, "r", 0);
        runtime_await(f);
        runtime_close(f);
        await_end(&a);
        assert_int_equal(a.status, DW_E_STATE);
        runtime_open(f);
        tell(f, &talker, "zbehind a restart", DW_OK); /* it has its ticket still */
        tell(f, &talker, "zagain", DW_E_NOT_FOUND);
        runtime_close(f);
        drop_folder(f);
    }
}

/* A runtime that works on request: what is due goes on while somebody waits for an answer. */
static void test_later_on_request(void **state)
{
    runtime_fixture *f = *state;
    char path[64];
    asked a = {.busy = 0};
    f->path = folder(path);
    f->works_on_request = true;
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    ask(f, &a, talker.text, "Rby a timer", 0);
    await_end(&a);
    assert_int_equal(a.status, DW_OK);
    assert_string_equal((char *)a.answer.bytes, "by a timer");
    runtime_close(f);
    f->works_on_request = false;
    drop_folder(f);
}

/* A spawn that cannot succeed fails where it is asked for. */
static void test_spawns_that_cannot_be(void **state)
{
    runtime_fixture *f = *state;
    runtime_open(f);
    runtime_id talker = runtime_spawned(f, f->actors->module, NULL);
    tell(f, &talker, "Unobody", DW_E_NOT_FOUND);
    tell(f, &talker, "Uhostile", DW_OK);
    runtime_await(f);
    char problem[256] = "";
    (void)runtime_problems(f, problem);
    assert_null(strstr(problem, "spawn")); /* its first message was empty, which it says */
    runtime_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        runtime_test(test_later_in_memory),          runtime_test(test_later_ends),
        runtime_test(test_later_is_not_for_ever),    runtime_test(test_later_in_a_folder),
        runtime_test(test_later_on_request),         runtime_test(test_later_unread),
        runtime_test(test_later_unread_together),    runtime_test(test_later_unread_crumbs),
        runtime_test(test_later_unread_of_a_tenant), runtime_test(test_later_unread_of_all),
        runtime_test(test_later_is_counted),         runtime_test(test_later_restart),
        runtime_test(test_later_stopped_at_work),    runtime_test(test_later_timeouts),
        runtime_test(test_later_untaken_at_close),   runtime_test(test_spawns_that_cannot_be),
    };
    wasm_signals_save();
    return cmocka_run_group_tests_name("runtime_later", tests, runtime_fixture_open,
                                       runtime_fixture_close);
}
