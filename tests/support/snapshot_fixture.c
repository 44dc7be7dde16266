#include "snapshot_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "cli/snapshot_check.h"
#include "support.h"

int snapshot_fixture_setup(void **state)
{
    const char *temporary = getenv("TMPDIR");
    snapshot_fixture *fixture = test_calloc(1, sizeof *fixture);
    (void)snprintf(fixture->folder, sizeof fixture->folder, "%.90s/dw-snapshot-XXXXXX",
                   temporary != NULL ? temporary : "/tmp");
    assert_non_null(mkdtemp(fixture->folder));
    (void)snprintf(fixture->path, sizeof fixture->path, "%s/example.dws", fixture->folder);
    *state = fixture;
    return 0;
}

int snapshot_fixture_teardown(void **state)
{
    snapshot_fixture *fixture = *state;
    (void)unlink(fixture->path);
    int left = 0;
    DIR *folder = opendir(fixture->folder);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.') {
            print_error("left behind: %s/%s\n", fixture->folder, entry->d_name);
            left++;
        }
    }
    (void)closedir(folder);
    if (left == 0) {
        assert_int_equal(rmdir(fixture->folder), 0);
    }
    test_free(fixture);
    return left;
}

static void must(dw_status status, const dw_error *err)
{
    if (status != DW_OK) {
        fail_msg("%s", err->message);
    }
}

static uint8_t memory[2][65536];

static dw_snapshot_tensor tensor_of(const char *name, const char *dtype, uint64_t count,
                                    const void *bytes)
{
    return (dw_snapshot_tensor){
        .name = name, .dtype = dtype, .shape = {count}, .dimension_count = 1, .bytes = bytes};
}

static void add_all(dw_snapshot_writer *writer, const dw_snapshot_tensor *tensors, size_t count)
{
    dw_error err;
    for (size_t i = 0; i < count; i++) {
        must(dw_snapshot_writer_tensor(writer, &tensors[i], &err), &err);
    }
}

void snapshot_fixture_write_example(const char *path, char *identity)
{
    static const int32_t tokens[5] = {1, -2, 300, 49151, INT32_MIN};
    static const uint32_t positions[3] = {0, 7, UINT32_MAX};
    static const int64_t globals[2] = {INT64_MAX, -1};
    static const float weights[4] = {0.5F, -1.25F, 1e30F, 0.0F};
    static const uint16_t halves[2][1][2][1][4] = {
        {{{{0x3c00, 0x4000, 0x4200, 0x4400}}, {{0x4500, 0x4600, 0x4700, 0x4800}}}},
        {{{{0xbc00, 0xc000, 0xc200, 0xc400}}, {{0xc500, 0xc600, 0xc700, 0xc800}}}}};
    dw_snapshot_writer *writer;
    dw_error err;
    for (size_t i = 0; i < sizeof memory; i++) {
        memory[i / 65536][i % 65536] = (uint8_t)(i * 7 + i / 256);
    }
    dw_snapshot_tensor tensors[] = {
        {.name = "memory",
         .dtype = "U8",
         .shape = {2, 65536},
         .dimension_count = 2,
         .aligned = true,
         .bytes = memory},
        tensor_of("tokens.0", "I32", 5, tokens),
        {.name = "kv.0",
         .dtype = "F16",
         .shape = {2, 1, 2, 1, 4},
         .dimension_count = 5,
         .aligned = true,
         .bytes = halves},
        tensor_of("positions", "U32", 3, positions),
        tensor_of("globals", "I64", 2, globals),
        tensor_of("weights", "F32", 4, weights),
        {.name = "empty", .dtype = "F32", .shape = {0, 3}, .dimension_count = 2, .bytes = NULL},
        {.name = "one", .dtype = "I64", .dimension_count = 0, .bytes = globals},
    };
    must(dw_snapshot_writer_create(&writer, &err), &err);
    must(dw_snapshot_writer_meta(writer, "actor", "tide \"clock\"\n\\ \xc3\xa9", &err), &err);
    must(dw_snapshot_writer_meta(writer, "module", "", &err), &err);
    add_all(writer, tensors, sizeof tensors / sizeof tensors[0]);
    must(dw_snapshot_writer_write_file(writer, path, identity, &err), &err);
    dw_snapshot_writer_destroy(writer);
}

void snapshot_fixture_write_small(const char *path, uint32_t value, char *identity)
{
    uint32_t words[20];
    dw_snapshot_writer *writer;
    dw_error err;
    for (uint32_t i = 0; i < 20; i++) {
        words[i] = value + i;
    }
    dw_snapshot_tensor tensors[] = {tensor_of("tokens.0", "U32", 5, words),
                                    tensor_of("kv.0", "U8", 80, words)};
    must(dw_snapshot_writer_create(&writer, &err), &err);
    must(dw_snapshot_writer_meta(writer, "kind", "delta", &err), &err);
    must(dw_snapshot_writer_meta(writer, "base", "00112233445566778899aabbccddeeff", &err), &err);
    add_all(writer, tensors, 2);
    must(dw_snapshot_writer_write_file(writer, path, identity, &err), &err);
    dw_snapshot_writer_destroy(writer);
}

uint8_t *snapshot_fixture_read(const char *path, size_t *bytes)
{
    char *content;
    dw_error err;
    must(dw_os_read_file(path, (size_t)1 << 30, &content, bytes, &err), &err);
    return (uint8_t *)content;
}

void snapshot_fixture_put(const char *path, const void *bytes, size_t count)
{
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, count, stream), count);
    assert_int_equal(fclose(stream), 0);
}

dw_status snapshot_fixture_verdict(const char *path, dw_error *err)
{
    dw_snapshot_file *file;
    dw_cli_snapshot_report report;
    err->message[0] = '\0';
    dw_status status = dw_snapshot_file_open(&file, path, DW_SNAPSHOT_VERIFY, err);
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    dw_cli_snapshot_check(stream, false, &report);
    (void)fclose(stream);
    if ((status == DW_OK) != report.sound) {
        fail_msg("the readers disagree: '%s', and '%s' at byte %llu", err->message, report.fault,
                 (unsigned long long)report.fault_byte);
    }
    if (status == DW_OK) {
        assert_string_equal(dw_snapshot_file_identity(file), report.identity);
        assert_int_equal(dw_snapshot_file_count(file), report.tensor_count);
        assert_int_equal(dw_snapshot_file_bytes(file), report.bytes);
    }
    dw_cli_snapshot_report_release(&report);
    dw_snapshot_file_close(file);
    return status;
}
