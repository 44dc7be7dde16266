/* Copies of actors as a folder has them (dw_runtime_copy): they hold what the actor held when it
 * was written, of series with indexes too, whatever it does meanwhile and whatever becomes of the
 * runtime; what cannot be copied is refused. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/actor.h"
#include "base/alloc.h"
#include "runtime/folder.h"
#include "runtime_fixture.h"
#include "support.h"

#define BLOCK 4096u

enum { GROW = 0, LOAD = 2, FILL = 4 }; /* of actor_sparse.wat */

static char folder[64];

static runtime_id spawn_memory(runtime_fixture *f, dw_module *module, uint32_t pages)
{
    runtime_id id = runtime_spawned(f, module, NULL);
    (void)runtime_asked(f, &id, GROW, pages, 0, 0);
    return id;
}

static void fill(runtime_fixture *f, const runtime_id *id, uint32_t first, uint32_t count,
                 uint32_t value)
{
    (void)runtime_asked(f, id, FILL, first * BLOCK, count * BLOCK, value);
}

static uint32_t block_of(dw_actor *actor, uint32_t block)
{
    const uint32_t word = actor_asked(actor, LOAD, block * BLOCK + 4 * (block % 1024), 0, 0);
    assert_int_equal(word, (word & 255) * 0x01010101u);
    return word & 255;
}

static dw_actor *copied(runtime_fixture *f, const runtime_id *id)
{
    dw_error error = {.message = ""};
    dw_actor *actor = NULL;
    const dw_status status = runtime_copy(f, id->text, &actor, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
    return actor;
}

static void open_folder(runtime_fixture *f)
{
    f->path = folder;
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .memory_bytes = (uint64_t)64 << 20};
    runtime_open(f);
}

static void close_folder(runtime_fixture *f)
{
    char command[96];
    runtime_close(f);
    f->path = NULL;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* ---- of many snapshots ---- */

static void count_path(void *user, const char *path)
{
    (void)path;
    ++*(size_t *)user;
}

/* A life in series of eight, which all are needed: a copy is read by their indexes, as the actor
 * itself, not snapshot by snapshot. It goes on by itself, when the runtime is gone too. */
static void test_runtime_copy_of_series(void **state)
{
    enum { LIFE = 64, FIRST = 32 };
    runtime_fixture *f = *state;
    const uint32_t usual = dw__series_snapshots;
    dw_error error = {.message = ""};
    size_t snapshots = 0;
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    dw__series_snapshots = 8;
    open_folder(f);
    const runtime_id id = spawn_memory(f, sparse, 16);
    for (uint32_t i = 0; i < LIFE; i++) {
        fill(f, &id, FIRST + i, 1, i + 1);
    }
    assert_int_equal(dw_runtime_list_paths(f->runtime, id.text, count_path, &snapshots, &error),
                     DW_OK);
    assert_true(snapshots >= LIFE);
    dw_actor *copy = copied(f, &id);
    assert_in_range(dw_actor_file_count(copy), LIFE / 8, LIFE / 2);
    fill(f, &id, FIRST, 2, 200); /* of which the copy knows nothing */
    (void)actor_asked(copy, FILL, (FIRST + 2) * BLOCK, BLOCK, 100);
    dw_actor *later = copied(f, &id);
    close_folder(f);
    for (uint32_t i = 0; i < LIFE; i++) {
        assert_int_equal(block_of(copy, FIRST + i), i == 2 ? 100 : i + 1);
        assert_int_equal(block_of(later, FIRST + i), i < 2 ? 200 : i + 1);
    }
    assert_string_equal(dw_actor_id(copy), id.text);
    dw_actor_destroy(copy);
    dw_actor_destroy(later);
    dw__series_snapshots = usual;
    dw_module_unref(sparse);
}

/* ---- meanwhile ---- */

typedef struct writing {
    runtime_fixture *f;
    runtime_id id;
    _Atomic bool ends;
    _Atomic uint32_t turn; /* that is done */
} writing;

/* Each turn fills the same blocks, so that the files of those before go. */
static void *write_on(void *user)
{
    writing *w = user;
    for (uint32_t i = 1; !atomic_load(&w->ends); i++) {
        fill(w->f, &w->id, 16, 8, i % 251);
        atomic_store(&w->turn, i);
    }
    return NULL;
}

/* Copies of an actor whose files come and go are of one turn each, and of none before the last that
 * was told. */
static void test_runtime_copy_meanwhile(void **state)
{
    enum { COPIES = SANITIZED ? 60 : 400 };
    runtime_fixture *f = *state;
    const uint32_t usual = dw__series_snapshots;
    pthread_t writer;
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    dw__series_snapshots = 1;
    open_folder(f);
    writing w = {.f = f, .id = spawn_memory(f, sparse, 4)};
    assert_int_equal(pthread_create(&writer, NULL, write_on, &w), 0);
    while (atomic_load(&w.turn) == 0) {
        (void)usleep(100);
    }
    for (int i = 0; i < COPIES; i++) {
        const uint32_t before = atomic_load(&w.turn);
        dw_actor *copy = copied(f, &w.id);
        const uint32_t after = atomic_load(&w.turn) + 1; /* it may not have been told yet */
        const uint32_t value = block_of(copy, 16);
        for (uint32_t k = 17; k < 24; k++) {
            assert_int_equal(block_of(copy, k), value);
        }
        bool fits = after - before >= 251;
        for (uint32_t turn = before; turn <= after && !fits; turn++) {
            fits = turn % 251 == value;
        }
        assert_true(fits);
        dw_actor_destroy(copy);
    }
    atomic_store(&w.ends, true);
    assert_int_equal(pthread_join(writer, NULL), 0);
    print_message("%d copies beside %u turns\n", COPIES, atomic_load(&w.turn));
    dw__series_snapshots = usual;
    close_folder(f);
    dw_module_unref(sparse);
}

/* ---- what is refused ---- */

static void expect(runtime_fixture *f, const char *id, const dw_thaw_options *options,
                   dw_status expected, const char *why)
{
    dw_error error = {.message = ""};
    dw_actor *actor = (dw_actor *)f;
    assert_int_equal(dw_runtime_copy(&actor, f->runtime, id, options, NULL, &error), expected);
    assert_null(actor);
    if (strstr(error.message, why) == NULL) {
        fail_msg("'%s' is not in '%s'", why, error.message);
    }
}

static void test_runtime_copy_refuses(void **state)
{
    runtime_fixture *f = *state;
    const char *const paths[] = {"somewhere"};
    const int fds[] = {0};
    dw_error error = {.message = ""};
    dw_thaw_options usual = {
        .struct_bytes = sizeof usual, .models = &f->actors->model, .model_count = 1};
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    f->path = NULL;
    runtime_open(f);
    runtime_id id = runtime_spawned(f, sparse, NULL);
    expect(f, id.text, &usual, DW_E_STATE, "no state folder");
    runtime_close(f);
    open_folder(f);
    expect(f, id.text, &usual, DW_E_NOT_FOUND, id.text);
    expect(f, "no id", &usual, DW_E_ARG, "no id");
    id = spawn_memory(f, sparse, 4);
    dw_thaw_options own = usual;
    own.paths = paths;
    own.path_count = 1;
    expect(f, id.text, &own, DW_E_ARG, "no paths");
    own = usual;
    own.fds = fds;
    expect(f, id.text, &own, DW_E_ARG, "no paths");
    own = usual;
    own.identities = paths;
    expect(f, id.text, &own, DW_E_ARG, "identities");
    own.struct_bytes = 0;
    expect(f, id.text, &own, DW_E_ARG, "struct_bytes");
    own = usual;
    own.id = "no id";
    expect(f, id.text, &own, DW_E_ARG, "no id");
    expect(f, id.text, NULL, DW_E_NOT_FOUND, "model"); /* nobody has it */
    own.id = "0123456789abcdef";
    dw_actor *actor = NULL;
    assert_int_equal(dw_runtime_copy(&actor, f->runtime, id.text, &own, NULL, &error), DW_OK);
    assert_string_equal(dw_actor_id(actor), own.id);
    dw_actor_destroy(actor);
    close_folder(f);
    dw_module_unref(sparse);
}

/* Whichever allocation fails, there is no copy, and nothing is kept of it. */
static void test_runtime_copy_without_memory(void **state)
{
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    dw_actor *actor = NULL;
    dw_status status = DW_E_MEMORY;
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    open_folder(f);
    const runtime_id id = spawn_memory(f, sparse, 4);
    dw_actor_destroy(copied(f, &id)); /* its module is compiled from now on */
    int64_t n = 0;
    for (; status != DW_OK && n < 2000; n++) {
        dw_alloc_fail_after(n);
        status = runtime_copy(f, id.text, &actor, &error);
        dw_alloc_fail_after(-1);
        if (status != DW_OK) {
            assert_null(actor);
        }
    }
    assert_int_equal(status, DW_OK);
    assert_true(n > 10);
    dw_actor_destroy(actor);
    close_folder(f);
    dw_module_unref(sparse);
}

int main(void)
{
    (void)snprintf(folder, sizeof folder, "%s/dw-copy-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        runtime_test(test_runtime_copy_of_series),
        runtime_test(test_runtime_copy_meanwhile),
        runtime_test(test_runtime_copy_refuses),
        runtime_test(test_runtime_copy_without_memory),
    };
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
