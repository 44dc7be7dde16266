/* Snapshot files of any bytes: both readers take the same ones, and what they take can be read.
 * Input: a digit, then with 0 the file as it is; with 1 JSON, a NUL and data, which get padding and
 * a seal; with 2 the same with checksums that fit, so that what lies behind them is reached. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os.h"
#include "cli/snapshot_check.h"
#include "snapshot/snapshot_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCK ((size_t)65536)
#define CLOSE_UNIT ((size_t)64) /* of version 3 */
#define INPUT_MAX ((size_t)1 << 20)

static void must_write(int fd, const void *bytes, size_t count)
{
    const char *from = bytes;
    while (count > 0) {
        ssize_t written = write(fd, from, count);
        DW_ASSERT(written > 0);
        from += written;
        count -= (size_t)written;
    }
}

/* Checksums of the ranges that the tensors name, where they are within the data. */
static char *with_checksums(const char *json, const uint8_t *data, size_t bytes)
{
    json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    json_t *metadata = json_object_get(root, "__metadata__");
    json_t *checksums = json_object();
    const char *name;
    json_t *tensor;
    json_object_foreach(root, name, tensor)
    {
        const json_t *offsets = json_object_get(tensor, "data_offsets");
        json_int_t begin = json_integer_value(json_array_get(offsets, 0));
        json_int_t end = json_integer_value(json_array_get(offsets, 1));
        if (begin >= 0 && begin <= end && (uint64_t)end <= bytes && strcmp(name, "seal") != 0 &&
            strncmp(name, "pad.", 4) != 0 && strcmp(name, "__metadata__") != 0) {
            char digits[DW_HASH128_TEXT];
            dw_hash128_text(digits, data + begin, (size_t)(end - begin));
            (void)json_object_set_new(checksums, name, json_string(digits));
        }
    }
    char *text = json_dumps(checksums, JSON_COMPACT);
    if (json_is_object(metadata)) {
        (void)json_object_set_new(metadata, "checksums", json_string(text));
    }
    free(text);
    text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(checksums);
    json_decref(root);
    return text;
}

static void write_sealed(int fd, const char *json, const uint8_t *data, size_t bytes)
{
    size_t length = strlen(json);
    size_t unit = strstr(json, "\"version\":\"3\"") != NULL ? CLOSE_UNIT : BLOCK;
    size_t header_bytes = (8 + length + unit - 1) / unit * unit;
    uint8_t seal[DW_HASH128_BYTES];
    uint8_t *header = dw_alloc(header_bytes, 1);
    DW_ASSERT(header != NULL);
    memset(header, ' ', header_bytes);
    for (unsigned i = 0; i < 8; i++) {
        header[i] = (uint8_t)((header_bytes - 8) >> 8 * i);
    }
    memcpy(header + 8, json, length);
    dw_hash128_of(seal, header, header_bytes);
    must_write(fd, header, header_bytes);
    must_write(fd, data, bytes);
    must_write(fd, seal, sizeof seal);
    dw_free(header);
}

static void write_input(int fd, const uint8_t *data, size_t size)
{
    unsigned mode = data[0] % 3u; /* '0' is 48 */
    data++;
    size--;
    const uint8_t *end = memchr(data, 0, size);
    if (mode == 0 || end == NULL) {
        must_write(fd, data, size);
        return;
    }
    const uint8_t *behind = end + 1;
    size_t bytes = size - (size_t)(behind - data);
    char *repaired = mode == 2 ? with_checksums((const char *)data, behind, bytes) : NULL;
    write_sealed(fd, repaired != NULL ? repaired : (const char *)data, behind, bytes);
    free(repaired);
}

static void read_all(const dw_snapshot_file *file)
{
    for (size_t i = 0; i < dw_snapshot_file_count(file); i++) {
        const dw_snapshot_entry *entry = dw_snapshot_file_at(file, i);
        uint8_t bytes[64];
        size_t count = entry->bytes < sizeof bytes ? (size_t)entry->bytes : sizeof bytes;
        DW_ASSERT(entry->offset + entry->bytes <= dw_snapshot_file_bytes(file) - 16);
        DW_ASSERT(dw_snapshot_file_tensor(file, entry->name) == entry);
        DW_ASSERT(dw_snapshot_file_read(file, entry, entry->bytes - count, count, bytes, NULL) ==
                  DW_OK);
    }
}

static void compare_readers(const char *path)
{
    dw_snapshot_file *quick = NULL;
    dw_snapshot_file *file = NULL;
    dw_cli_snapshot_report report;
    dw_error err;
    dw_status seen = dw_snapshot_file_open(&quick, path, 0, &err);
    dw_status status = dw_snapshot_file_open(&file, path, DW_SNAPSHOT_VERIFY, &err);
    DW_ASSERT(status != DW_OK || seen == DW_OK);
    FILE *stream = fopen(path, "rb");
    DW_ASSERT(stream != NULL);
    dw_cli_snapshot_check(stream, false, &report);
    (void)fclose(stream);
    DW_ASSERT(report.sound == (status == DW_OK));
    if (status == DW_OK) {
        DW_ASSERT(strcmp(report.identity, dw_snapshot_file_identity(file)) == 0);
        DW_ASSERT(report.tensor_count == dw_snapshot_file_count(file));
        read_all(file);
    } else {
        DW_ASSERT(strstr(err.message, "byte ") != NULL);
        DW_ASSERT(report.fault[0] != '\0');
    }
    dw_cli_snapshot_report_release(&report);
    dw_snapshot_file_close(quick);
    dw_snapshot_file_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    int fd;
    if (size == 0 || size > INPUT_MAX || dw_os_memfd(&fd, "fuzz-snapshot", 0, NULL) != DW_OK) {
        return 0;
    }
    write_input(fd, data, size);
    (void)snprintf(path, sizeof path, "/dev/fd/%d", fd);
    compare_readers(path);
    dw_os_close(fd);
    return 0;
}
