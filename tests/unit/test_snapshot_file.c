/* Snapshot files: what is written is read again, whole or not at all, whatever happens meanwhile.
 * test_snapshot_file --write FILE writes the example that tests/check_snapshot.py knows. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "snapshot_fixture.h"
#include "support.h"

#define LARGE_BYTES ((size_t)3 * 1024 * 1024 + 17)

static uint8_t large[LARGE_BYTES];

static void fill_large(uint32_t seed)
{
    uint32_t random = seed * 2654435761U + 1;
    for (size_t i = 0; i < sizeof large; i++) {
        random = random * 1664525U + 1013904223U;
        large[i] = (uint8_t)(random >> 24);
    }
}

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        fail_msg("%s", err->message);
    }
}

static dw_snapshot_writer *new_writer(void)
{
    dw_snapshot_writer *writer;
    dw_error err;
    must(dw_snapshot_writer_create(&writer, &err), &err);
    return writer;
}

static dw_snapshot_file *open_whole(const char *path)
{
    dw_snapshot_file *file;
    dw_error err;
    must(snapshot_fixture_verdict(path, &err), &err);
    must(dw_snapshot_file_open(&file, path, DW_SNAPSHOT_VERIFY, &err), &err);
    return file;
}

/* ---- round trips --------------------------------------------------------------------------- */

static void expect_entry(const dw_snapshot_file *file, const char *name, const char *dtype,
                         uint32_t dimension_count, uint64_t bytes)
{
    const dw_snapshot_entry *entry = dw_snapshot_file_tensor(file, name);
    dw_error err;
    assert_non_null(entry);
    assert_string_equal(entry->name, name);
    assert_string_equal(entry->dtype, dtype);
    assert_int_equal(entry->dimension_count, dimension_count);
    assert_int_equal(entry->bytes, bytes);
    must(dw_snapshot_file_verify_tensor(file, entry, &err), &err);
}

static void test_snapshot_example_is_read_as_written(void **state)
{
    const snapshot_fixture *fixture = *state;
    char identity[DW_SNAPSHOT_IDENTITY];
    uint8_t bytes[20];
    dw_error err;
    snapshot_fixture_write_example(fixture->path, identity);
    dw_snapshot_file *file = open_whole(fixture->path);
    assert_string_equal(dw_snapshot_file_identity(file), identity);
    assert_int_equal(dw_snapshot_file_count(file), 8);
    assert_string_equal(dw_snapshot_file_at(file, 0)->name, "memory");
    assert_string_equal(dw_snapshot_file_at(file, 7)->name, "one");
    expect_entry(file, "memory", "U8", 2, 131072);
    expect_entry(file, "kv.0", "F16", 5, 32);
    expect_entry(file, "tokens.0", "I32", 1, 20);
    expect_entry(file, "positions", "U32", 1, 12);
    expect_entry(file, "globals", "I64", 1, 16);
    expect_entry(file, "weights", "F32", 1, 16);
    expect_entry(file, "empty", "F32", 2, 0);
    expect_entry(file, "one", "I64", 0, 8);
    assert_int_equal(dw_snapshot_file_tensor(file, "memory")->offset, 65536);
    assert_int_equal(dw_snapshot_file_tensor(file, "kv.0")->offset % 65536, 0);
    assert_int_equal(dw_snapshot_file_tensor(file, "kv.0")->shape[4], 4);
    assert_null(dw_snapshot_file_tensor(file, "seal"));
    assert_null(dw_snapshot_file_tensor(file, "pad.0"));
    assert_null(dw_snapshot_file_tensor(file, "nothing"));
    assert_string_equal(dw_snapshot_file_meta(file, "actor"), "tide \"clock\"\n\\ \xc3\xa9");
    assert_string_equal(dw_snapshot_file_meta(file, "module"), "");
    assert_string_equal(dw_snapshot_file_meta(file, "kind"), "full");
    assert_null(dw_snapshot_file_meta(file, "base"));
    const dw_snapshot_entry *tokens = dw_snapshot_file_tensor(file, "tokens.0");
    const int32_t expected[5] = {1, -2, 300, 49151, INT32_MIN};
    must(dw_snapshot_file_read(file, tokens, 0, sizeof expected, bytes, &err), &err);
    assert_memory_equal(bytes, expected, sizeof expected);
    must(dw_snapshot_file_read(file, tokens, 4, 4, bytes, &err), &err);
    assert_memory_equal(bytes, &expected[1], 4);
    assert_int_equal(dw_snapshot_file_read(file, tokens, 17, 4, bytes, &err), DW_E_RANGE);
    assert_int_equal(dw_snapshot_file_read(file, tokens, UINT64_MAX, 4, bytes, &err), DW_E_RANGE);
    assert_int_equal(dw_snapshot_file_read(file, tokens, 21, 0, bytes, &err), DW_E_RANGE);
    assert_int_equal(pread(dw_snapshot_file_fd(file), bytes, 4, (off_t)tokens->offset), 4);
    assert_memory_equal(bytes, expected, 4);
    dw_snapshot_file_close(file);
}

static void test_snapshot_without_tensors_is_a_snapshot(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_error err;
    dw_snapshot_writer *writer = new_writer();
    must(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), &err);
    dw_snapshot_writer_destroy(writer);
    dw_snapshot_file *file = open_whole(fixture->path);
    assert_int_equal(dw_snapshot_file_count(file), 0);
    assert_int_equal(dw_snapshot_file_bytes(file), 65536 + 16);
    assert_null(dw_snapshot_file_tensor(file, "memory"));
    dw_snapshot_file_close(file);
}

typedef struct source {
    const uint8_t *bytes;
    uint64_t next;    /* it is asked in order */
    uint64_t fail_at; /* 0: never */
    uint8_t change;   /* added to every byte of a second pass */
    uint32_t passes;
} source;

static dw_status read_source(void *user, uint64_t offset, size_t bytes, void *to, dw_error *err)
{
    source *from = user;
    if (offset == 0) {
        from->passes++;
        from->next = 0;
    }
    assert_int_equal(offset, from->next);
    from->next += bytes;
    if (from->fail_at != 0 && from->next >= from->fail_at) {
        return dw_fail(err, DW_E_DEVICE, "the device is gone");
    }
    for (size_t i = 0; i < bytes; i++) {
        uint8_t change = from->passes > 1 ? from->change : 0;
        ((uint8_t *)to)[i] = (uint8_t)(from->bytes[offset + i] + change);
    }
    return DW_OK;
}

/* The bytes in order for one, and backwards, from another thread, for the other. */
typedef struct backwards {
    const source *from;
    const dw_sink *sink;
    dw_status status;
} backwards;

#define STREAM_PART ((size_t)77777)

static void *hand_backwards(void *user)
{
    backwards *b = user;
    size_t left = LARGE_BYTES;
    while (left > 0 && b->status == DW_OK) {
        size_t now = left < STREAM_PART ? left : STREAM_PART;
        left -= now;
        b->status =
            b->sink->anywhere(b->sink->user, left, b->from->bytes + left, now, &(dw_error){0});
    }
    return NULL;
}

static dw_status stream_source(void *user, const dw_sink *sink, dw_error *err)
{
    source *from = user;
    backwards other = {.from = from, .sink = sink};
    pthread_t thread;
    dw_status status = DW_OK;
    from->passes++;
    assert_non_null(sink->in_order);
    if (sink->anywhere != NULL) {
        assert_int_equal(pthread_create(&thread, NULL, hand_backwards, &other), 0);
    }
    for (size_t done = 0; done < LARGE_BYTES && status == DW_OK; done += STREAM_PART) {
        size_t now = LARGE_BYTES - done < STREAM_PART ? LARGE_BYTES - done : STREAM_PART;
        status = sink->in_order(sink->user, from->bytes + done, now, err);
    }
    if (sink->anywhere != NULL) {
        assert_int_equal(pthread_join(thread, NULL), 0);
        status = status == DW_OK ? other.status : status;
    }
    return status == DW_OK && from->fail_at != 0 ? dw_fail(err, DW_E_DEVICE, "the device is gone")
                                                 : status;
}

static const dw_snapshot_tensor small_tensor = {
    .name = "small", .dtype = "U8", .shape = {7}, .dimension_count = 1, .bytes = "seven!"};

/* Memory and callbacks, small, large and aligned, in turns. */
static dw_snapshot_writer *mixed_writer(source *from)
{
    dw_error err;
    dw_snapshot_writer *writer = new_writer();
    const dw_snapshot_tensor kv = {.name = "kv.0",
                                   .dtype = "U8",
                                   .shape = {LARGE_BYTES},
                                   .dimension_count = 1,
                                   .aligned = true,
                                   .read = read_source,
                                   .user = from};
    const dw_snapshot_tensor memory = {.name = "memory",
                                       .dtype = "U8",
                                       .shape = {1, LARGE_BYTES},
                                       .dimension_count = 2,
                                       .aligned = true,
                                       .bytes = large};
    must(dw_snapshot_writer_tensor(writer, &small_tensor, &err), &err);
    must(dw_snapshot_writer_tensor(writer, &kv, &err), &err);
    must(dw_snapshot_writer_tensor(writer, &memory, &err), &err);
    return writer;
}

static void expect_mixed(const char *path)
{
    dw_error err;
    dw_snapshot_file *file = open_whole(path);
    const dw_snapshot_entry *kv = dw_snapshot_file_tensor(file, "kv.0");
    const dw_snapshot_entry *memory = dw_snapshot_file_tensor(file, "memory");
    uint8_t *back = dw_alloc(LARGE_BYTES, 1);
    must(dw_snapshot_file_read(file, kv, 0, LARGE_BYTES, back, &err), &err);
    assert_memory_equal(back, large, LARGE_BYTES);
    memset(back, 0, LARGE_BYTES);
    must(dw_snapshot_file_read(file, memory, 0, LARGE_BYTES, back, &err), &err);
    assert_memory_equal(back, large, LARGE_BYTES);
    must(dw_snapshot_file_read(file, dw_snapshot_file_tensor(file, "small"), 0, 7, back, &err),
         &err);
    assert_memory_equal(back, "seven!", 7);
    assert_int_equal(kv->offset % 65536, 0);
    assert_int_equal(memory->offset % 65536, 0);
    dw_free(back);
    dw_snapshot_file_close(file);
}

static void test_snapshot_takes_memory_and_callbacks(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_error err;
    fill_large(1);
    source from = {.bytes = large};
    dw_snapshot_writer *writer = mixed_writer(&from);
    must(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), &err);
    assert_int_equal(from.passes, 1);
    expect_mixed(fixture->path);
    dw_snapshot_writer_destroy(writer);
}

/* The same file, byte for byte, and the same stream, from a tensor that comes through a sink. */
static void test_snapshot_takes_streams(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_error err;
    size_t counts[2];
    uint8_t *files[2];
    fill_large(4);
    for (int streamed = 0; streamed < 2; streamed++) {
        source from = {.bytes = large};
        dw_snapshot_writer *writer = new_writer();
        const dw_snapshot_tensor kv = {.name = "kv.0",
                                       .dtype = "U8",
                                       .shape = {LARGE_BYTES},
                                       .dimension_count = 1,
                                       .aligned = true,
                                       .bytes = streamed ? NULL : large,
                                       .stream = streamed ? stream_source : NULL,
                                       .user = &from};
        must(dw_snapshot_writer_tensor(writer, &small_tensor, &err), &err);
        must(dw_snapshot_writer_tensor(writer, &kv, &err), &err);
        must(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), &err);
        assert_int_equal(from.passes, streamed);
        files[streamed] = snapshot_fixture_read(fixture->path, &counts[streamed]);
        dw_snapshot_file_close(open_whole(fixture->path));
        if (streamed) {
            from.passes = 0;
            FILE *to = tmpfile();
            assert_non_null(to);
            must(dw_snapshot_writer_write_stream(writer, fileno(to), &err), &err);
            assert_int_equal(from.passes, 2);
            uint8_t *back = dw_alloc(counts[1], 1);
            must(dw_os_read_at(fileno(to), 0, back, counts[1], &err), &err);
            assert_memory_equal(back, files[1], counts[1]);
            dw_free(back);
            (void)fclose(to);
            from.fail_at = 1;
            assert_int_equal(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err),
                             DW_E_DEVICE);
            assert_non_null(strstr(err.message, "kv.0: the device is gone"));
            dw_snapshot_file_close(open_whole(fixture->path)); /* the one from before */
        }
        dw_snapshot_writer_destroy(writer);
    }
    assert_int_equal(counts[0], counts[1]);
    assert_memory_equal(files[0], files[1], counts[0]);
    dw_free(files[0]);
    dw_free(files[1]);
}

/* What a child writes into a pipe, in a file. Returns the child's status. */
static int through_a_pipe(dw_snapshot_writer *writer, const char *path)
{
    int ends[2];
    static uint8_t piece[1 << 16];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dw_error err;
        (void)close(ends[0]);
        dw_status status = dw_snapshot_writer_write_stream(writer, ends[1], &err);
        _exit(-(int)status);
    }
    (void)close(ends[1]);
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    for (ssize_t count; (count = read(ends[0], piece, sizeof piece)) > 0;) {
        assert_int_equal(fwrite(piece, 1, (size_t)count, to), count);
    }
    (void)fclose(to);
    (void)close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static void test_snapshot_stream_is_the_file(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_error err;
    size_t counts[2];
    fill_large(2);
    source from = {.bytes = large};
    dw_snapshot_writer *writer = mixed_writer(&from);
    assert_int_equal(through_a_pipe(writer, fixture->path), DW_OK);
    expect_mixed(fixture->path);
    uint8_t *streamed = snapshot_fixture_read(fixture->path, &counts[0]);
    must(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), &err);
    uint8_t *written = snapshot_fixture_read(fixture->path, &counts[1]);
    assert_int_equal(counts[0], counts[1]);
    assert_memory_equal(streamed, written, counts[0]);
    dw_free(streamed);
    dw_free(written);
    dw_snapshot_writer_destroy(writer);

    source changing = {.bytes = large, .change = 1};
    writer = mixed_writer(&changing);
    assert_int_equal(through_a_pipe(writer, fixture->path), DW_E_STATE);
    assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), DW_E_FORMAT);
    dw_snapshot_writer_destroy(writer);
}

static void test_snapshot_many_tensors(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_error err;
    dw_snapshot_writer *writer = new_writer();
    for (uint32_t i = 0; i < 20000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "t.%u", i);
        const dw_snapshot_tensor tensor = {.name = name,
                                           .dtype = "U8",
                                           .shape = {i % 50},
                                           .dimension_count = 1,
                                           .aligned = i % 1000 == 0,
                                           .bytes = large + i};
        must(dw_snapshot_writer_tensor(writer, &tensor, &err), &err);
    }
    must(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), &err);
    dw_snapshot_writer_destroy(writer);
    dw_snapshot_file *file = open_whole(fixture->path);
    assert_int_equal(dw_snapshot_file_count(file), 20000);
    for (uint32_t i = 0; i < 20000; i += 77) {
        char name[32];
        uint8_t bytes[50];
        (void)snprintf(name, sizeof name, "t.%u", i);
        const dw_snapshot_entry *entry = dw_snapshot_file_tensor(file, name);
        assert_ptr_equal(entry, dw_snapshot_file_at(file, i));
        assert_int_equal(entry->bytes, i % 50);
        must(dw_snapshot_file_read(file, entry, 0, i % 50, bytes, &err), &err);
        assert_memory_equal(bytes, large + i, i % 50);
    }
    dw_snapshot_file_close(file);
}

/* Opened without a look at its data: the data may even be wrong. */
static void test_snapshot_opens_without_its_data(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_snapshot_file *file;
    dw_error err;
    snapshot_fixture_write_example(fixture->path, NULL);
    int fd = open(fixture->path, O_WRONLY);
    assert_int_equal(pwrite(fd, "x", 1, 65536 + 70000), 1);
    must(dw_snapshot_file_open(&file, fixture->path, 0, &err), &err);
    const dw_snapshot_entry *memory = dw_snapshot_file_tensor(file, "memory");
    assert_int_equal(dw_snapshot_file_verify_tensor(file, memory, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "byte 65536: memory: checksum"));
    const dw_snapshot_entry *kv = dw_snapshot_file_tensor(file, "kv.0");
    must(dw_snapshot_file_verify_tensor(file, kv, &err), &err);
    /* And a file that is cut while it is open gives an error, not a signal. */
    uint8_t bytes[8];
    assert_int_equal(ftruncate(fd, 65536 + 4), 0);
    assert_int_equal(dw_snapshot_file_verify_tensor(file, memory, &err), DW_E_IO);
    assert_int_equal(dw_snapshot_file_read(file, memory, 0, 8, bytes, &err), DW_E_IO);
    assert_non_null(strstr(err.message, "byte 65540"));
    dw_snapshot_file_close(file);
    (void)close(fd);
}

/* ---- what the writer refuses --------------------------------------------------------------- */

static void test_snapshot_writer_refuses_bad_tensors(void **state)
{
    const snapshot_fixture *fixture = *state;
    static char long_name[66];
    memset(long_name, 'a', 65);
    const struct {
        const char *name;
        const char *dtype;
        uint64_t length;
        uint32_t dimension_count;
        dw_status expected;
    } cases[] = {
        {"", "U8", 1, 1, DW_E_ARG},
        {"Memory", "U8", 1, 1, DW_E_ARG},
        {"a b", "U8", 1, 1, DW_E_ARG},
        {long_name, "U8", 1, 1, DW_E_ARG},
        {"seal", "U8", 1, 1, DW_E_ARG},
        {"pad.0", "U8", 1, 1, DW_E_ARG},
        {"a", "F64", 1, 1, DW_E_UNSUPPORTED},
        {"a", "u8", 1, 1, DW_E_UNSUPPORTED},
        {"a", "U8", 1, 9, DW_E_LIMIT},
        {"a", "I64", UINT64_MAX / 4, 1, DW_E_LIMIT},
        {"a", "U8", UINT64_C(1) << 21, 2, DW_E_LIMIT},
        {"a", "U8", (UINT64_C(1) << 40) + 1, 1, DW_E_LIMIT},
    };
    dw_error err;
    dw_snapshot_writer *writer = new_writer();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dw_snapshot_tensor tensor = {.name = cases[i].name,
                                     .dtype = cases[i].dtype,
                                     .shape = {cases[i].length, cases[i].length},
                                     .dimension_count = cases[i].dimension_count,
                                     .bytes = large};
        assert_int_equal(dw_snapshot_writer_tensor(writer, &tensor, &err), cases[i].expected);
    }
    dw_snapshot_tensor nothing = small_tensor;
    nothing.bytes = NULL;
    assert_int_equal(dw_snapshot_writer_tensor(writer, &nothing, &err), DW_E_ARG);
    must(dw_snapshot_writer_tensor(writer, &small_tensor, &err), &err);
    must(dw_snapshot_writer_tensor(writer, &small_tensor, &err), &err);
    assert_int_equal(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), DW_E_ARG);
    assert_non_null(strstr(err.message, "small"));
    dw_snapshot_writer_destroy(writer);
    dw_snapshot_writer_destroy(NULL);
}

static void test_snapshot_writer_refuses_bad_metadata(void **state)
{
    const snapshot_fixture *fixture = *state;
    static const char *const bad[][2] = {
        {"format", "x"}, {"version", "2"},  {"checksums", "{}"},
        {"", "x"},       {"A", "x"},        {"kind", "half"},
        {"base", "12"},  {"actor", "\xff"}, {"base", "00112233445566778899AABBCCDDEEFF"},
    };
    dw_error err;
    dw_snapshot_writer *writer = new_writer();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(dw_snapshot_writer_meta(writer, bad[i][0], bad[i][1], &err), DW_E_ARG);
    }
    must(dw_snapshot_writer_meta(writer, "kind", "delta", &err), &err);
    assert_int_equal(dw_snapshot_writer_meta(writer, "kind", "full", &err), DW_E_ARG);
    assert_int_equal(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), DW_E_ARG);
    must(dw_snapshot_writer_meta(writer, "base", "00112233445566778899aabbccddeeff", &err), &err);
    must(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), &err);
    dw_snapshot_writer_destroy(writer);
    dw_snapshot_file *file = open_whole(fixture->path);
    assert_string_equal(dw_snapshot_file_meta(file, "kind"), "delta");
    dw_snapshot_file_close(file);
}

/* A delta has no room to spare: a short header, tensors anywhere or so far behind an alignment, and
 * holes between them, which are not written. */
static void test_snapshot_delta_is_close(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_error err;
    fill_large(11);
    dw_snapshot_writer *writer = new_writer();
    must(dw_snapshot_writer_meta(writer, "kind", "delta", &err), &err);
    must(dw_snapshot_writer_meta(writer, "base", "00112233445566778899aabbccddeeff", &err), &err);
    dw_snapshot_tensor tensor = {
        .name = "a", .dtype = "U8", .shape = {3}, .dimension_count = 1, .bytes = large};
    must(dw_snapshot_writer_tensor(writer, &tensor, &err), &err);
    for (unsigned i = 0; i < 3; i++) {
        const char *const names[] = {"b", "c", "d"};
        tensor.name = names[i];
        tensor.aligned = true;
        tensor.phase = i * 4096;
        tensor.shape[0] = 70001;
        must(dw_snapshot_writer_tensor(writer, &tensor, &err), &err);
    }
    must(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), &err);
    const uint64_t payload = 3 + 3 * 70001 + 16;
    assert_in_range(dw_snapshot_writer_written(writer), payload, payload + 1536);
    assert_int_equal(dw_snapshot_writer_bytes(writer), 5 * 65536 + 8192 + 70001 + 16);
    dw_snapshot_writer_destroy(writer);
    dw_snapshot_file *file = open_whole(fixture->path);
    assert_string_equal(dw_snapshot_file_meta(file, "version"), "3");
    assert_in_range(dw_snapshot_file_tensor(file, "a")->offset, 64, 1536);
    assert_int_equal(dw_snapshot_file_tensor(file, "a")->offset % 64, 0);
    assert_int_equal(dw_snapshot_file_tensor(file, "b")->offset, 65536);
    assert_int_equal(dw_snapshot_file_tensor(file, "c")->offset % 65536, 4096);
    assert_int_equal(dw_snapshot_file_tensor(file, "d")->offset % 65536, 8192);
    dw_snapshot_file_close(file);
    int fd = open(fixture->path, O_WRONLY); /* a filler that is not zero */
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 65535), 1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(snapshot_fixture_verdict(fixture->path, &err), DW_E_FORMAT);
    assert_non_null(strstr(err.message, "byte 65535: a filler"));
}

/* Tensors beyond 1 TiB in all are refused before anything is written. */
static void test_snapshot_writer_holds_its_limits(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_error err;
    dw_snapshot_tensor tensor = small_tensor;
    dw_snapshot_writer *writer = new_writer();
    tensor.shape[0] = UINT64_C(1) << 39;
    must(dw_snapshot_writer_tensor(writer, &tensor, &err), &err);
    tensor.name = "another";
    must(dw_snapshot_writer_tensor(writer, &tensor, &err), &err);
    assert_int_equal(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), DW_E_LIMIT);
    dw_snapshot_writer_destroy(writer);

    writer = new_writer();
    tensor.dimension_count = DW_SNAPSHOT_DIMENSIONS_MAX;
    for (uint32_t i = 0; i < DW_SNAPSHOT_DIMENSIONS_MAX; i++) {
        tensor.shape[i] = 1;
    }
    for (uint32_t i = 0; i < 65535; i++) {
        char name[65];
        (void)snprintf(name, sizeof name, "%064u", i);
        tensor.name = name;
        must(dw_snapshot_writer_tensor(writer, &tensor, &err), &err);
    }
    tensor.name = "one.more";
    assert_int_equal(dw_snapshot_writer_tensor(writer, &tensor, &err), DW_E_LIMIT);
    /* As many as there may be, with the longest names, fit into the longest header, and
     * are within what a reader takes. */
    must(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), &err);
    dw_snapshot_file_close(open_whole(fixture->path));
    dw_snapshot_writer_destroy(writer);

    writer = new_writer();
    char *text = dw_alloc((16 << 20) + 1, 1);
    memset(text, '"', 16 << 20);
    must(dw_snapshot_writer_meta(writer, "actor", text, &err), &err);
    dw_free(text);
    assert_int_equal(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), DW_E_LIMIT);
    assert_non_null(strstr(err.message, "a header of"));
    for (uint32_t i = 1; i < DW_SNAPSHOT_META_MAX; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%u", i);
        must(dw_snapshot_writer_meta(writer, key, "", &err), &err);
    }
    assert_int_equal(dw_snapshot_writer_meta(writer, "more", "", &err), DW_E_LIMIT);
    dw_snapshot_writer_destroy(writer);
}

/* ---- what is there before stays ------------------------------------------------------------ */

static void expect_small(const snapshot_fixture *fixture, const char *identity)
{
    dw_snapshot_file *file = open_whole(fixture->path);
    assert_string_equal(dw_snapshot_file_identity(file), identity);
    dw_snapshot_file_close(file);
}

static void test_snapshot_full_disk_leaves_the_old_file(void **state)
{
    const snapshot_fixture *fixture = *state;
    char identity[DW_SNAPSHOT_IDENTITY];
    dw_error err;
    struct rlimit old;
    snapshot_fixture_write_small(fixture->path, 1, identity);
    fill_large(3);
    source from = {.bytes = large};
    dw_snapshot_writer *writer = mixed_writer(&from);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 1000; limit < 2 * LARGE_BYTES; limit = limit * 3 + 1) {
        struct rlimit less = {.rlim_cur = limit, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
        dw_status status = dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, DW_E_IO);
        assert_non_null(strstr(err.message, "example.dws"));
        assert_non_null(strstr(err.message, strerror(EFBIG)));
        expect_small(fixture, identity);
    }
    (void)signal(SIGXFSZ, handler);
    dw_snapshot_writer_destroy(writer);
}

static void test_snapshot_failing_source_leaves_the_old_file(void **state)
{
    const snapshot_fixture *fixture = *state;
    char identity[DW_SNAPSHOT_IDENTITY];
    dw_error err;
    snapshot_fixture_write_small(fixture->path, 1, identity);
    source from = {.bytes = large, .fail_at = 2500000};
    dw_snapshot_writer *writer = mixed_writer(&from);
    assert_int_equal(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), DW_E_DEVICE);
    assert_non_null(strstr(err.message, "kv.0: the device is gone"));
    dw_snapshot_writer_destroy(writer);
    expect_small(fixture, identity);
}

static void test_snapshot_read_only_folder_leaves_the_old_file(void **state)
{
    const snapshot_fixture *fixture = *state;
    char identity[DW_SNAPSHOT_IDENTITY];
    snapshot_fixture_write_small(fixture->path, 1, identity);
    assert_int_equal(chmod(fixture->folder, 0555), 0);
    pid_t child = fork(); /* root may write everywhere: the child is nobody */
    assert_true(child >= 0);
    if (child == 0) {
        dw_error err;
        if (geteuid() == 0 && seteuid(65534) != 0) {
            _exit(1);
        }
        dw_snapshot_writer *writer = new_writer();
        dw_status status = dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err);
        _exit(status == DW_E_IO && strstr(err.message, "example.dws") != NULL &&
                      strstr(err.message, strerror(EACCES)) != NULL
                  ? 0
                  : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(fixture->folder, 0755), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    expect_small(fixture, identity);
}

static void test_snapshot_bad_places_are_refused(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_snapshot_file *file;
    dw_error err;
    char path[512];
    dw_snapshot_writer *writer = new_writer();
    (void)snprintf(path, sizeof path, "%s/no/such/folder.dws", fixture->folder);
    assert_int_equal(dw_snapshot_writer_write_file(writer, path, NULL, &err), DW_E_IO);
    /* A folder's name, a pipe's: not replaced. */
    (void)snprintf(path, sizeof path, "%s/folder", fixture->folder);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(dw_snapshot_writer_write_file(writer, path, NULL, &err), DW_E_ARG);
    assert_int_equal(dw_snapshot_file_open(&file, path, 0, &err), DW_E_IO);
    assert_null(file);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(dw_snapshot_file_open(&file, fixture->path, 0, &err), DW_E_NOT_FOUND);
    assert_int_equal(mkfifo(fixture->path, 0600), 0);
    assert_int_equal(dw_snapshot_file_open(&file, fixture->path, 0, &err), DW_E_IO);
    struct stat info;
    assert_int_equal(dw_snapshot_writer_write_file(writer, fixture->path, NULL, &err), DW_E_ARG);
    assert_int_equal(lstat(fixture->path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    /* Of a link, what it leads to is replaced. */
    assert_int_equal(unlink(fixture->path), 0);
    snapshot_fixture_put(fixture->path, (const uint8_t *)"old", 3);
    assert_int_equal(symlink(fixture->path, path), 0);
    assert_int_equal(dw_snapshot_writer_write_file(writer, path, NULL, &err), DW_OK);
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(dw_snapshot_file_open(&file, fixture->path, DW_SNAPSHOT_VERIFY, &err), DW_OK);
    dw_snapshot_file_close(file);
    assert_int_equal(unlink(path), 0);
    dw_snapshot_writer_destroy(writer);
}

static void remove_temporaries(const snapshot_fixture *fixture)
{
    DIR *folder = opendir(fixture->folder);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strstr(entry->d_name, ".tmp-") != NULL) {
            assert_int_equal(unlinkat(dirfd(folder), entry->d_name, 0), 0);
        }
    }
    (void)closedir(folder);
}

/* A child overwrites the file again and again, and is killed at a moment by chance. */
static void test_snapshot_killed_writer_leaves_a_whole_file(void **state)
{
    const snapshot_fixture *fixture = *state;
    char identities[2][DW_SNAPSHOT_IDENTITY];
    dw_snapshot_writer *writers[2];
    source sources[2] = {{.bytes = large}, {.bytes = large + 1}};
    dw_error err;
    uint32_t random = 12345;
    uint32_t seen[2] = {0, 0};
    fill_large(4);
    sources[1].bytes = large;
    for (uint32_t i = 0; i < 2; i++) {
        writers[i] = mixed_writer(&sources[i]);
        must(dw_snapshot_writer_meta(writers[i], "turn", i == 0 ? "0" : "1", &err), &err);
    }
    uint64_t began = dw_os_clock_ns();
    must(dw_snapshot_writer_write_file(writers[1], fixture->path, identities[1], &err), &err);
    must(dw_snapshot_writer_write_file(writers[0], fixture->path, identities[0], &err), &err);
    uint64_t both_us = (dw_os_clock_ns() - began) / 1000 + 1;
    for (uint32_t round = 0; round < 50; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (uint32_t i = 1;; i++) {
                if (dw_snapshot_writer_write_file(writers[i % 2], fixture->path, NULL, &err) != 0) {
                    _exit(1);
                }
            }
        }
        random = random * 1664525U + 1013904223U;
        (void)usleep((useconds_t)((random >> 8) % both_us));
        assert_int_equal(kill(child, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        dw_snapshot_file *file = open_whole(fixture->path);
        const char *identity = dw_snapshot_file_identity(file);
        uint32_t which = strcmp(identity, identities[1]) == 0;
        assert_string_equal(identity, identities[which]);
        seen[which]++;
        dw_snapshot_file_close(file);
    }
    print_message("killed 50 times: %u with one file, %u with the other\n", seen[0], seen[1]);
    remove_temporaries(fixture);
    dw_snapshot_writer_destroy(writers[0]);
    dw_snapshot_writer_destroy(writers[1]);
}

/* ---- lack of memory ------------------------------------------------------------------------ */

static dw_status write_and_read(const snapshot_fixture *fixture, dw_error *err)
{
    dw_snapshot_writer *writer = NULL;
    dw_snapshot_file *file = NULL;
    dw_status status = dw_snapshot_writer_create(&writer, err);
    if (status == DW_OK) {
        status = dw_snapshot_writer_meta(writer, "actor", "a", err);
    }
    if (status == DW_OK) {
        status = dw_snapshot_writer_tensor(writer, &small_tensor, err);
    }
    if (status == DW_OK) {
        status = dw_snapshot_writer_write_file(writer, fixture->path, NULL, err);
    }
    if (status == DW_OK) {
        status = dw_snapshot_file_open(&file, fixture->path, DW_SNAPSHOT_VERIFY, err);
    }
    dw_snapshot_file_close(file);
    dw_snapshot_writer_destroy(writer);
    return status;
}

static void test_snapshot_survives_lack_of_memory(void **state)
{
    const snapshot_fixture *fixture = *state;
    dw_status status = DW_E_MEMORY;
    dw_error err;
    int64_t passed = 0;
    for (; status != DW_OK; passed++) {
        dw_alloc_fail_after(passed);
        status = write_and_read(fixture, &err);
        dw_alloc_fail_after(-1);
        assert_true(status == DW_OK || status == DW_E_MEMORY);
        assert_true(passed < 1000);
    }
    assert_true(passed > 10);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, snapshot_fixture_setup, snapshot_fixture_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_snapshot_example_is_read_as_written),
        TEST(test_snapshot_without_tensors_is_a_snapshot),
        TEST(test_snapshot_takes_memory_and_callbacks),
        TEST(test_snapshot_takes_streams),
        TEST(test_snapshot_stream_is_the_file),
        TEST(test_snapshot_many_tensors),
        TEST(test_snapshot_opens_without_its_data),
        TEST(test_snapshot_writer_refuses_bad_tensors),
        TEST(test_snapshot_writer_refuses_bad_metadata),
        TEST(test_snapshot_delta_is_close),
        TEST(test_snapshot_writer_holds_its_limits),
        TEST(test_snapshot_full_disk_leaves_the_old_file),
        TEST(test_snapshot_failing_source_leaves_the_old_file),
        TEST(test_snapshot_read_only_folder_leaves_the_old_file),
        TEST(test_snapshot_bad_places_are_refused),
        TEST(test_snapshot_killed_writer_leaves_a_whole_file),
        TEST(test_snapshot_survives_lack_of_memory),
    };
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        snapshot_fixture_write_example(argv[2], NULL);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
