/* What the freezes of an actor in a folder write, of what is new; that it is what it was when it is
 * read again from what they left, whatever was removed or written once more meanwhile; and that the
 * folder does not grow beyond that. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "runtime/folder.h"
#include "runtime_fixture.h"
#include "snapshot/bounds.h"
#include "snapshot/snapshot_job_internal.h"
#include "support.h"

#define MODEL "SmolLM2-135M-Instruct.Q4_1.gguf"
#define TURNS 200
#define BLOCK 4096u

/* In memory where there is such a place: thousands of freezes are brought to the disk otherwise. */
static char folder[64];
static uint32_t seed = 1;

static uint32_t chance(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void open_folder(runtime_fixture *f)
{
    f->path = folder;
    f->limits = (dw_limits){.struct_bytes = sizeof f->limits, .memory_bytes = (uint64_t)256 << 20};
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

static dw_runtime_stats stats_of(runtime_fixture *f)
{
    dw_runtime_stats stats = {.struct_bytes = sizeof stats};
    assert_int_equal(dw_runtime_get_stats(f->runtime, &stats), DW_OK);
    return stats;
}

/* What all of an actor's files take, and how many there are. */
static uint64_t bytes_of(const runtime_id *id, size_t *count)
{
    char path[512];
    uint64_t bytes = 0;
    (void)snprintf(path, sizeof path, "%s/actors/%s", folder, id->text);
    DIR *all = opendir(path);
    assert_non_null(all);
    *count = 0;
    for (const struct dirent *entry; (entry = readdir(all)) != NULL;) {
        struct stat info;
        (void)snprintf(path, sizeof path, "%s/actors/%s/%s", folder, id->text, entry->d_name);
        if (entry->d_name[0] != '.' && stat(path, &info) == 0) {
            bytes += (uint64_t)info.st_blocks * 512;
            (*count)++;
        }
    }
    (void)closedir(all);
    return bytes;
}

/* ---- memories ---- */

enum { GROW = 0, LOAD = 2, FILL = 4 };

/* An actor with a memory of so many blocks. Those up to `filled`, but the first, hold 7. */
typedef struct memory {
    runtime_id id;
    uint32_t blocks;
    unsigned char *held; /* [blocks]: what each is filled with */
} memory;

static memory spawn_memory(runtime_fixture *f, dw_module *module, uint32_t blocks, uint32_t filled)
{
    memory m = {.blocks = blocks, .held = dw_alloc(blocks, 1)};
    m.id = runtime_spawned(f, module, NULL);
    (void)runtime_asked(f, &m.id, GROW, blocks / 16 - 2, 0, 0);
    (void)runtime_asked(f, &m.id, FILL, BLOCK, (filled - 1) * BLOCK, 7);
    memset(m.held, 7, filled);
    return m;
}

static void change(runtime_fixture *f, memory *m, uint32_t first, uint32_t count, uint32_t value)
{
    (void)runtime_asked(f, &m->id, FILL, first * BLOCK, count * BLOCK, value % 251);
    memset(m->held + first, (int)(value % 251), count);
}

static void assert_held(runtime_fixture *f, const memory *m)
{
    for (uint32_t i = 1; i < m->blocks; i += m->blocks < 1024 ? 1 : 37) {
        uint32_t expected = m->held[i] * 0x01010101u;
        assert_int_equal(runtime_asked(f, &m->id, LOAD, i * BLOCK + 4 * (i % 1024), 0, 0),
                         expected);
    }
}

/* Changes `count` blocks in each turn, at the same place or anywhere. */
static void live(runtime_fixture *f, memory *m, uint32_t count, bool anywhere)
{
    dw_runtime_stats before = stats_of(f);
    for (uint32_t i = 0; i < TURNS; i++) {
        change(f, m, anywhere ? 1 + chance(m->blocks - count) : 16, count, i);
    }
    dw_runtime_stats after = stats_of(f);
    uint64_t fresh = after.new_bytes - before.new_bytes;
    uint64_t written = after.written_bytes - before.written_bytes;
    assert_in_range(fresh, (uint64_t)TURNS * count * BLOCK * 9 / 10,
                    (uint64_t)TURNS * (count + 2) * BLOCK);
    print_message("%llu new, %llu written: %.4f\n", (unsigned long long)fresh,
                  (unsigned long long)written, (double)written / (double)fresh);
    assert_true((double)written <= 1.05 * (double)fresh);
}

static void test_freeze_bytes_of_hot_pages(void **state)
{
    runtime_fixture *f = *state;
    size_t files;
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    open_folder(f);
    memory m = spawn_memory(f, sparse, 512, 512);
    live(f, &m, 8, false);
    assert_true(bytes_of(&m.id, &files) < (uint64_t)3 * 512 * BLOCK);
    assert_true(files < 8); /* what is of no use goes */
    runtime_close(f);
    open_folder(f);
    assert_held(f, &m);
    dw_free(m.held);
    close_folder(f);
    dw_module_unref(sparse);
}

static void test_freeze_bytes_of_pages_of_a_large_memory(void **state)
{
    runtime_fixture *f = *state;
    size_t files;
    dw_error error = {.message = ""};
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    open_folder(f);
    memory m = spawn_memory(f, sparse, 16384, 16384);
    live(f, &m, 8, true);
    assert_true(bytes_of(&m.id, &files) < (uint64_t)2 * 16384 * BLOCK);
    assert_int_equal(dw_runtime_park(f->runtime, m.id.text, &error), DW_OK);
    uint64_t begun = dw_os_clock_ns();
    change(f, &m, 100, 8, 3);
    print_message("%zu files, a turn of one that was parked %.2f ms\n", files,
                  (double)(dw_os_clock_ns() - begun) / 1e6);
    runtime_close(f);
    open_folder(f);
    assert_held(f, &m);
    dw_free(m.held);
    close_folder(f);
    dw_module_unref(sparse);
}

/* Snapshots of as many turns, none of which ever goes: also far beyond a thousand of them nothing
 * is written once more, and they are in few files. (Fewer with sanitizers, for the time.) */
static void test_freeze_bytes_of_a_long_life(void **state)
{
    enum { LIFE = SANITIZED ? 600 : 2400, NEW = 4, LAST = 300 };
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    size_t files;
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    open_folder(f);
    memory m = spawn_memory(f, sparse, 16 * ((16 + LIFE * NEW) / 16 + 1), 16);
    dw_runtime_stats before = stats_of(f);
    for (uint32_t i = 0; i < LIFE; i++) {
        before = i == LIFE - LAST ? stats_of(f) : before;
        change(f, &m, 16 + i * NEW, NEW, i);
    }
    dw_runtime_stats after = stats_of(f);
    double ratio = (double)(after.written_bytes - before.written_bytes) /
                   (double)(after.new_bytes - before.new_bytes);
    (void)bytes_of(&m.id, &files);
    print_message("%zu files, the last turns: %.4f\n", files, ratio);
    assert_true(files <= 64 && ratio <= 1.05);
    assert_true(runtime_info(f, &m.id).snapshot_count > LIFE * 9 / 10); /* zeros need none */
    assert_int_equal(dw_runtime_park(f->runtime, m.id.text, &error), DW_OK);
    uint64_t begun = dw_os_clock_ns();
    change(f, &m, 100, 8, 3);
    print_message("a turn of one that was parked %.2f ms\n",
                  (double)(dw_os_clock_ns() - begun) / 1e6);
    runtime_close(f);
    open_folder(f);
    assert_held(f, &m);
    dw_free(m.held);
    close_folder(f);
    dw_module_unref(sparse);
}

/* Who would have more in files than its limit is refused, is what it was, also after a restart, and
 * goes on once it may; another does not notice. */
static void test_freeze_bytes_are_limited(void **state)
{
    enum { MAY = 1 << 20 };
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    dw_limits limits = {.struct_bytes = sizeof limits, .actor_bytes = MAY, .attempts = 1};
    const dw_instance_options instance = {.struct_bytes = sizeof instance, .limits = &limits};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options options = {.struct_bytes = sizeof options, .actor = &actor};
    size_t files;
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    open_folder(f);
    memory other = spawn_memory(f, sparse, 1024, 1024);
    runtime_id id = runtime_spawned(f, sparse, &options);
    (void)runtime_asked(f, &id, GROW, 64, 0, 0);
    (void)runtime_asked(f, &id, FILL, BLOCK, MAY / 2, 9);
    const uint32_t message[4] = {FILL, 4 * BLOCK, MAY, 8};
    const dw_request more = {
        .struct_bytes = sizeof more, .message = message, .message_bytes = sizeof message};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dw_runtime_call(f->runtime, id.text, &more, &error), DW_E_LIMIT);
        assert_non_null(strstr(error.message, "limit 1M (actor_bytes)"));
        assert_int_equal(runtime_asked(f, &id, LOAD, 4 * BLOCK, 0, 0), 0x09090909);
        assert_true(bytes_of(&id, &files) <= MAY);
        change(f, &other, 1, 500, 3 + (uint32_t)i);
    }
    runtime_close(f);
    open_folder(f);
    assert_int_equal(runtime_asked(f, &id, LOAD, 4 * BLOCK, 0, 0), 0x09090909);
    assert_held(f, &other);
    dw_free(other.held);
    close_folder(f);
    dw_module_unref(sparse);
}

static void test_freeze_bytes_of_nothing_new(void **state)
{
    runtime_fixture *f = *state;
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    size_t files;
    open_folder(f);
    memory m = spawn_memory(f, sparse, 64, 64);
    (void)runtime_asked(f, &m.id, LOAD, BLOCK, 0, 0);
    dw_runtime_stats before = stats_of(f);
    for (int i = 0; i < TURNS; i++) {
        (void)runtime_asked(f, &m.id, LOAD, BLOCK, 0,
                            0); /* it answers, and has its message in its memory */
    }
    dw_runtime_stats after = stats_of(f);
    uint64_t written = after.written_bytes - before.written_bytes;
    uint64_t fresh = after.new_bytes - before.new_bytes;
    print_message("%.1f bytes a turn beside what is new\n", (double)(written - fresh) / TURNS);
    assert_true(written - fresh <= (uint64_t)TURNS * 2048);
    (void)bytes_of(&m.id, &files);
    assert_true(files < 8);
    dw_free(m.held);
    close_folder(f);
    dw_module_unref(sparse);
}

/* Many blocks change in each turn, so that little of each file is needed for long: that is written
 * once more, and nothing is lost, in forks neither. */
static void test_freeze_bytes_bounded(void **state)
{
    runtime_fixture *f = *state;
    size_t files;
    dw_error error = {.message = ""};
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    dw__freeze_spare_bytes = 0;
    open_folder(f);
    memory m = spawn_memory(f, sparse, 256, 256);
    memory child = {.blocks = 256, .held = dw_alloc(256, 1)};
    dw_runtime_stats before = stats_of(f);
    for (uint32_t i = 0; i < 3 * TURNS; i++) {
        change(f, &m, 1 + chance(255 - 20), 1 + chance(20), i);
        if (i % 40 == 39) {
            assert_int_equal(dw_runtime_park(f->runtime, m.id.text, &error), DW_OK);
        }
        if (i == 300) {
            assert_int_equal(dw_runtime_fork(f->runtime, m.id.text, child.id.text, &error), DW_OK);
            memcpy(child.held, m.held, 256);
        }
        if (i > 300) {
            change(f, &child, 1 + chance(255 - 4), 1 + chance(4), i);
        }
        assert_true(bytes_of(&m.id, &files) <= (uint64_t)4 * 256 * BLOCK);
    }
    dw_runtime_stats after = stats_of(f);
    double ratio = (double)(after.written_bytes - before.written_bytes) /
                   (double)(after.new_bytes - before.new_bytes);
    print_message("files of at most 3 times what is needed: %.4f\n", ratio);
    assert_true(ratio <= 1.15);
    runtime_close(f);
    open_folder(f);
    assert_held(f, &m);
    assert_held(f, &child);
    dw__freeze_spare_bytes = (uint64_t)32 << 20;
    dw_free(m.held);
    dw_free(child.held);
    close_folder(f);
    dw_module_unref(sparse);
}

static void path_of(char path[512], const runtime_id *id, const char *name)
{
    (void)snprintf(path, 512, "%s/actors/%s/%.64s", folder, id->text, name);
}

/* The names of an actor's files, in order. */
static size_t names_of(const runtime_id *id, char names[][64], size_t max)
{
    char path[512];
    struct dirent **all = NULL;
    size_t count = 0;
    path_of(path, id, "");
    int found = scandir(path, &all, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        if (all[i]->d_name[0] != '.' && count < max) {
            (void)snprintf(names[count++], 64, "%.63s", all[i]->d_name);
        }
        free(all[i]);
    }
    free(all);
    return count;
}

static void refused(runtime_fixture *f, const runtime_id *id, const char *why)
{
    runtime_answer answer;
    dw_error error = {.message = ""};
    dw_status status = DW_E_BUSY;
    while (status == DW_E_BUSY) { /* it is still being let go of, from the time before */
        status = runtime_tell(f, id, "0123456789abcdef", &answer, &error);
    }
    if (status != DW_E_FORMAT || strstr(error.message, why) == NULL) {
        fail_msg("'%s' is not in: %d, %s", why, status, error.message);
    }
}

/* Files that are gone, or another's, are named; an older state is not taken for the newest. */
static void test_freeze_bytes_names_what_is_missing(void **state)
{
    runtime_fixture *f = *state;
    char names[32][64];
    char path[512];
    char aside[512];
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    const uint32_t usual = dw__series_snapshots;
    dw__series_snapshots = 1;
    open_folder(f);
    memory m = spawn_memory(f, sparse, 64, 64);
    memory other = spawn_memory(f, sparse, 64, 64);
    for (uint32_t i = 0; i < 12; i++) { /* blocks 20 and 40 stay in files between others */
        change(f, &m, i == 4 ? 20 : i == 7 ? 40 : 8, 2, 100 + i);
        change(f, &other, 8, 2, i); /* as long as its own */
    }
    runtime_close(f);
    size_t count = names_of(&m.id, names, 32);
    assert_in_range(count, 4, 8); /* of 15: the others went */
    path_of(aside, &m.id, "../aside");
    for (size_t i = 0; i + 1 < count; i++) { /* one that is needed, or was until the last */
        path_of(path, &m.id, names[i]);
        assert_int_equal(rename(path, aside), 0);
        open_folder(f);
        const char behind = names[i][8];
        names[i][8] = '\0';
        refused(f, &m.id, names[i]);
        names[i][8] = behind;
        runtime_close(f);
        assert_int_equal(rename(aside, path), 0);
    }
    path_of(path, &m.id, names[count - 1]); /* the newest: another actor's in its place */
    assert_int_equal(rename(path, aside), 0);
    char theirs[32][64];
    char from[512];
    size_t their_count = names_of(&other.id, theirs, 32);
    assert_string_equal(theirs[their_count - 1], names[count - 1]);
    path_of(from, &other.id, theirs[their_count - 1]);
    assert_int_equal(link(from, path), 0);
    open_folder(f);
    refused(f, &m.id, "it is snapshot");
    runtime_close(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(aside, path), 0);
    open_folder(f);
    assert_held(f, &m);
    assert_held(f, &other);
    dw__series_snapshots = usual;
    dw_free(m.held);
    dw_free(other.held);
    close_folder(f);
    dw_module_unref(sparse);
}

/* Of an actor whose series has an index: which file it is, and how much of it the index is of. */
typedef struct indexed {
    char file[64];
    size_t count;
} indexed;

static void take_first_series(void *user, const char *path)
{
    indexed *found = user;
    const char *end = strstr(path, ".series/");
    if (end != NULL) {
        char name[64];
        const char *slash = end;
        while (slash[-1] != '/') {
            slash--;
        }
        (void)snprintf(name, sizeof name, "%.*s.series", (int)(end - slash), slash);
        if (found->count == 0) {
            memcpy(found->file, name, sizeof name);
        }
        found->count += strcmp(found->file, name) == 0;
    }
}

/* Another actor's series in the place of one that has an index, and no row of its own any more:
 * what it holds is not taken for the actor's, although all of it is where it was. */
static void test_freeze_bytes_knows_indexed_series(void **state)
{
    enum { SERIES = 8 };
    runtime_fixture *f = *state;
    dw_error error = {.message = ""};
    char from[512];
    char path[512];
    char command[1100];
    indexed found = {.count = 0};
    const uint32_t usual = dw__series_snapshots;
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    dw__series_snapshots = SERIES;
    open_folder(f);
    memory m = spawn_memory(f, sparse, 64, 32);
    memory other = spawn_memory(f, sparse, 64, 32);
    for (uint32_t i = 0; i < 4 * SERIES; i++) { /* the first series' last ones hold nothing now */
        const uint32_t first = i < SERIES ? 32 + i : i == 2 * SERIES ? 32 + SERIES / 2 : 8;
        change(f, &m, i == SERIES / 2 + 1 ? 8 : first, 1, 100 + i);
        change(f, &other, i == SERIES / 2 + 1 ? 8 : first, 1, 200 - i);
    }
    assert_int_equal(
        dw_runtime_list_paths(f->runtime, m.id.text, take_first_series, &found, &error), DW_OK);
    assert_in_range(found.count, SERIES / 2, SERIES - 1); /* without its last */
    runtime_close(f);
    path_of(path, &m.id, found.file);
    path_of(from, &other.id, found.file);
    (void)snprintf(command, sizeof command, "cp '%s' '%s'", from, path);
    assert_int_equal(system(command), 0);
    open_folder(f);
    refused(f, &m.id, "it is snapshot");
    refused(f, &m.id, found.file);
    assert_held(f, &other);
    dw__series_snapshots = usual;
    dw_free(m.held);
    dw_free(other.held);
    close_folder(f);
    dw_module_unref(sparse);
}

/* ---- contexts ---- */

/* Prefixes that are shared are files that are open as well. */
static void keep_alone(dw_runtime *runtime)
{
    dw_error error = {.message = ""};
    const dw_tenant_options alone = {
        .struct_bytes = sizeof alone, .capabilities = DW_MAY_ALL, .no_shared_prefixes = true};
    assert_int_equal(dw_runtime_set_tenant(runtime, "", &alone, &error), DW_OK);
}

static void tell_both(runtime_fixture *f, const runtime_id *kept, dw_runtime *other,
                      const runtime_id *twin, const char *text)
{
    runtime_answer answers[2] = {{.count = 0}, {.count = 0}};
    dw_error errors[2] = {{.message = ""}, {.message = ""}};
    dw_status status[2];
    for (int i = 0; i < 2; i++) {
        const dw_request request = {.struct_bytes = sizeof request,
                                    .message = text,
                                    .message_bytes = strlen(text),
                                    .on_answer = runtime_keep,
                                    .user = &answers[i]};
        status[i] = dw_runtime_call(i == 0 ? f->runtime : other, i == 0 ? kept->text : twin->text,
                                    &request, &errors[i]);
    }
    assert_int_equal(status[0], status[1]);
    assert_int_equal(answers[0].count, answers[1].count);
    assert_memory_equal(answers[0].bytes, answers[1].bytes, answers[0].count);
}

/* An actor that is written after each message, and now and then read again, answers as one that
 * never leaves memory: contexts that are cut, shifted, forked and filled. */
static void test_freeze_bytes_keep_contexts(void **state)
{
    runtime_fixture *f = *state;
    size_t files;
    dw_error error = {.message = ""};
    runtime_id kept;
    runtime_id twin;
    char text[32];
    dw__freeze_spare_bytes = 0;
    runtime_open(f); /* in memory */
    dw_runtime *other = f->runtime;
    dw_module *talker = actor_module(f->actors, "actor_talker.wasm");
    twin = runtime_spawned(f, talker, NULL);
    open_folder(f);
    kept = runtime_spawned(f, talker, NULL);
    tell_both(f, &kept, other, &twin, "m");
    tell_both(f, &kept, other, &twin, "s11");
    tell_both(f, &kept, other, &twin, "n20");
    for (int i = 0; i < TURNS; i++) {
        const uint32_t what = chance(8);
        (void)snprintf(text, sizeof text, "%s%u",
                       what == 0   ? "t"
                       : what == 1 ? "k"
                       : what == 2 ? "f"
                       : what < 5  ? "g"
                                   : "n",
                       what == 0   ? 10 + chance(40)
                       : what == 1 ? 1 + chance(6)
                                   : 1 + chance(24));
        tell_both(f, &kept, other, &twin, text);
        if (chance(5) == 0) {
            assert_int_equal(dw_runtime_park(f->runtime, kept.text, &error), DW_OK);
        }
        if (i % 50 == 49) { /* it has room for 1,024 tokens */
            tell_both(f, &kept, other, &twin, "t30");
        }
    }
    (void)bytes_of(&kept, &files);
    print_message("%zu files\n", files);
    close_folder(f);
    dw__freeze_spare_bytes = (uint64_t)32 << 20;
    f->runtime = other;
    runtime_close(f);
    dw_module_unref(talker);
}

static void count_path(void *user, const char *path)
{
    assert_non_null(strstr(path, "/actors/"));
    ++*(uint64_t *)user;
}

/* What is new is all that is written, however many snapshots have something that is needed: those
 * of series that are closed count as one, as each alone they would be far beyond the bound. Nothing
 * is lost of an actor that is parked, of its fork, and of both when the folder is opened again. */
static void test_freeze_bytes_beyond_the_bound(void **state)
{
    enum { LIFE = 160, NEW = 8 };
    runtime_fixture *f = *state;
    const size_t usual = dw_freeze_snapshots_max;
    dw_error error = {.message = ""};
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    dw_freeze_snapshots_max = 60;
    open_folder(f);
    memory m = spawn_memory(f, sparse, 16 * ((16 + LIFE * NEW) / 16 + 1), 16);
    memory child = {.blocks = m.blocks, .held = dw_alloc(m.blocks, 1)};
    dw_runtime_stats before = stats_of(f);
    for (uint32_t i = 0; i < LIFE; i++) {
        change(f, &m, 16 + i * NEW, NEW, i + 1);
        if (i == LIFE / 2) {
            assert_int_equal(dw_runtime_fork(f->runtime, m.id.text, child.id.text, &error), DW_OK);
            memcpy(child.held, m.held, m.blocks);
        } else if (i > LIFE / 2 && i % 4 == 0) {
            change(f, &child, 16 + i * NEW, NEW, 200);
        }
        if (i % 64 == 63) {
            assert_int_equal(dw_runtime_park(f->runtime, m.id.text, &error), DW_OK);
        }
    }
    dw_runtime_stats after = stats_of(f);
    const uint64_t fresh = after.new_bytes - before.new_bytes;
    const uint64_t written = after.written_bytes - before.written_bytes;
    print_message("%llu new, %llu written: %.4f\n", (unsigned long long)fresh,
                  (unsigned long long)written, (double)written / (double)fresh);
    assert_true(written * 100 <= fresh * 105);
    for (int opened = 0; opened < 2; opened++) {
        uint64_t paths = 0;
        assert_true(runtime_info(f, &m.id).snapshot_count >= LIFE); /* one more: the full one */
        assert_int_equal(dw_runtime_list_paths(f->runtime, m.id.text, count_path, &paths, &error),
                         DW_OK);
        assert_int_equal(paths, runtime_info(f, &m.id).snapshot_count);
        assert_held(f, &m);
        assert_held(f, &child);
        runtime_close(f);
        open_folder(f);
    }
    dw_freeze_snapshots_max = usual;
    dw_free(m.held);
    dw_free(child.held);
    close_folder(f);
    dw_module_unref(sparse);
}

/* Where series have no index the bound is kept: what snapshots hold least of is written once more.
 */
static void test_freeze_bytes_in_few_snapshots(void **state)
{
    enum { LIFE = 160, NEW = 4 };
    runtime_fixture *f = *state;
    const size_t usual = dw_freeze_snapshots_max;
    const uint32_t least = dw__series_indexed_least;
    dw_error error = {.message = ""};
    dw_module *sparse = actor_module_of_text(f->actors, "actor_sparse.wat");
    dw_freeze_snapshots_max = 40;
    dw__series_indexed_least = UINT32_MAX - 1;
    open_folder(f);
    memory m = spawn_memory(f, sparse, 16 * ((16 + LIFE * NEW) / 16 + 1), 16);
    for (uint32_t i = 0; i < LIFE; i++) {
        change(f, &m, 16 + i * NEW, NEW, i + 1);
        assert_true(runtime_info(f, &m.id).snapshot_count <= 42);
        if (i % 32 == 31) {
            assert_int_equal(dw_runtime_park(f->runtime, m.id.text, &error), DW_OK);
        }
    }
    dw__series_indexed_least = least; /* as a folder of an earlier program, which gets indexes */
    dw_freeze_snapshots_max = 12;
    runtime_close(f);
    open_folder(f);
    assert_held(f, &m);
    for (uint32_t i = 0; i < LIFE; i += 8) {
        change(f, &m, 16 + i * NEW, NEW, 250);
    }
    runtime_close(f);
    open_folder(f);
    assert_held(f, &m);
    dw_freeze_snapshots_max = usual;
    dw_free(m.held);
    close_folder(f);
    dw_module_unref(sparse);
}

/* Where the process may have few files open, an actor has fewer, and is what it was. */
static void test_freeze_bytes_in_few_files(void **state)
{
    runtime_fixture *f = *state;
    const struct rlimit few = {.rlim_cur = 400, .rlim_max = 400};
    const uint32_t usual = dw__series_snapshots;
    size_t files;
    dw__series_snapshots = 1;
    dw_error error = {.message = ""};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    runtime_open(f); /* in memory */
    dw_runtime *other = f->runtime;
    dw_module *talker = actor_module(f->actors, "actor_talker.wasm");
    runtime_id twin = runtime_spawned(f, talker, NULL);
    open_folder(f);
    const dw_tenant_options alone = {/* prefixes are files that are open as well */
                                     .struct_bytes = sizeof alone,
                                     .capabilities = DW_MAY_ALL,
                                     .no_shared_prefixes = true};
    assert_int_equal(dw_runtime_set_tenant(f->runtime, "", &alone, &error), DW_OK);
    runtime_id kept = runtime_spawned(f, talker, NULL);
    tell_both(f, &kept, other, &twin, "m");
    dw_runtime_stats before = stats_of(f);
    for (int i = 0; i < TURNS; i++) {
        tell_both(f, &kept, other, &twin, i % 2 == 0 ? "n6" : "g2");
        (void)bytes_of(&kept, &files);
        assert_true(files <= 63); /* 50, what goes with the next, and that */
        if (i % 16 == 15) {
            assert_int_equal(dw_runtime_park(f->runtime, kept.text, &error), DW_OK);
        }
    }
    assert_true(files > 30);
    dw_runtime_stats after = stats_of(f);
    double ratio = (double)(after.written_bytes - before.written_bytes) /
                   (double)(after.new_bytes - before.new_bytes);
    print_message("with at most 50 files: %.4f\n", ratio);
    assert_true(ratio <= 2); /* each part about once more */
    dw__series_snapshots = usual;
    close_folder(f);
    f->runtime = other;
    runtime_close(f);
    dw_module_unref(talker);
}

static dw_status find_default(void *user, const char *name, const char *fingerprint,
                              dw_model **model, dw_error *err)
{
    (void)name;
    (void)fingerprint;
    (void)err;
    *model = dw_model_ref(user);
    return DW_OK;
}

static void chat(dw_runtime *runtime, const char *id, const char *text)
{
    dw_error error = {.message = ""};
    const dw_request request = {
        .struct_bytes = sizeof request, .message = text, .message_bytes = strlen(text)};
    dw_status status = dw_runtime_call(runtime, id, &request, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, DW_OK);
}

/* Keys and values of the default model, 8 tokens a turn. */
static void test_freeze_bytes_of_a_chat(void **state)
{
    const runtime_fixture *f = *state;
    char path[1024];
    char id[DW_ACTOR_ID_CHARS + 1];
    dw_error error = {.message = ""};
    const char *models = getenv("DW_TEST_MODEL_DIR");
    dw_model *model = NULL;
    dw_runtime *runtime = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", models != NULL ? models : ".", MODEL);
    if (access(path, R_OK) != 0) {
        skip();
    }
    assert_int_equal(dw_model_open(&model, f->actors->engine, path, &error), DW_OK);
    dw_module *talker = actor_module(f->actors, "actor_talker.wasm");
    const dw_runtime_options options = {
        .struct_bytes = sizeof options, .path = folder, .find_model = find_default, .user = model};
    assert_int_equal(dw_runtime_open(&runtime, f->actors->engine, &options, &error), DW_OK);
    keep_alone(runtime);
    dw_instance_options instance = {.struct_bytes = sizeof instance,
                                    .models = &model,
                                    .model_count = 1,
                                    .context_tokens_max = 4096};
    const dw_actor_options actor = {.struct_bytes = sizeof actor, .instance = &instance};
    const dw_spawn_options spawn = {.struct_bytes = sizeof spawn, .actor = &actor};
    assert_int_equal(dw_runtime_spawn(runtime, talker, &spawn, id, &error), DW_OK);
    chat(runtime, id, "m");
    dw_runtime_stats before = {.struct_bytes = sizeof before};
    dw_runtime_stats after = {.struct_bytes = sizeof after};
    assert_int_equal(dw_runtime_get_stats(runtime, &before), DW_OK);
    for (int i = 0; i < TURNS; i++) {
        chat(runtime, id, "q8");
    }
    assert_int_equal(dw_runtime_get_stats(runtime, &after), DW_OK);
    double fresh = (double)(after.new_bytes - before.new_bytes);
    double written = (double)(after.written_bytes - before.written_bytes);
    assert_int_equal(dw_runtime_park(runtime, id, &error), DW_OK);
    uint64_t begun = dw_os_clock_ns();
    chat(runtime, id, "q1");
    print_message("%.0f new, %.0f written: %.4f; a turn of one that was parked %.2f ms\n", fresh,
                  written, written / fresh, (double)(dw_os_clock_ns() - begun) / 1e6);
    assert_true(fresh >= (double)TURNS * 8 * 23040);
    assert_true(written <= 1.05 * fresh);
    dw_runtime_close(runtime);
    dw_module_unref(talker);
    dw_model_unref(model);
    (void)snprintf(path, sizeof path, "rm -rf '%s'", folder);
    assert_int_equal(system(path), 0);
}

int main(void)
{
    (void)snprintf(folder, sizeof folder, "%s/dw-freeze-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        runtime_test(test_freeze_bytes_of_hot_pages),
        runtime_test(test_freeze_bytes_of_a_long_life),
        runtime_test(test_freeze_bytes_are_limited),
        runtime_test(test_freeze_bytes_of_nothing_new),
        runtime_test(test_freeze_bytes_bounded),
        runtime_test(test_freeze_bytes_keep_contexts),
        runtime_test(test_freeze_bytes_of_pages_of_a_large_memory),
        runtime_test(test_freeze_bytes_names_what_is_missing),
        runtime_test(test_freeze_bytes_knows_indexed_series),
        runtime_test(test_freeze_bytes_of_a_chat),
        runtime_test(test_freeze_bytes_beyond_the_bound),
        runtime_test(test_freeze_bytes_in_few_snapshots),
        runtime_test(test_freeze_bytes_in_few_files), /* the last: the limit stays */
    };
    return cmocka_run_group_tests(tests, runtime_fixture_open, runtime_fixture_close);
}
