/* driftwood check: whether a snapshot file is whole. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/actor_state.h"
#include "cli/snapshot_check.h"

static const char usage[] =
    "usage: driftwood check FILE [--json]\n"
    "\n"
    "Goes through a whole snapshot file: its header, the layout of its tensors, their checksums,\n"
    "fillers and seal. Prints `FILE: ok, N tensors, M bytes`, or the first byte that is at fault.\n"
    "FILE is a path, or - for standard input; of one compressed with zstd, what is inside is gone\n"
    "through. Of a series (actors/ID/N.series in a state folder) all snapshots are, or with\n"
    "N.series/BEGIN+BYTES that one. Exit status 1 if something is wrong.\n"
    "\n"
    "  -j, --json  one object, with metadata and tensors\n"
    "  -h, --help  this text\n";

static void print_json(const char *path, const dw_cli_snapshot_report *report)
{
    json_t *root = json_pack("{s:o, s:b, s:I, s:I}", "path", dw_cli_path_json(path), "ok",
                             report->sound, "bytes", (json_int_t)report->bytes, "tensor_count",
                             (json_int_t)report->tensor_count);
    if (report->sound) {
        (void)json_object_set_new(root, "identity", json_string(report->identity));
        (void)json_object_set(root, "metadata", report->metadata);
        (void)json_object_set(root, "tensors", report->tensors);
    } else {
        (void)json_object_set_new(root, "byte", json_integer((json_int_t)report->fault_byte));
        (void)json_object_set_new(root, "error", json_string(report->fault));
    }
    dw_cli_print_json(root, JSON_INDENT(2));
}

/* Releases the report. */
static int tell(const char *path, dw_cli_snapshot_report *report, bool as_json)
{
    if (as_json) {
        print_json(path, report);
    } else if (report->sound) {
        dw_cli_print("%s: ok, %llu tensors, %llu bytes\n", path,
                     (unsigned long long)report->tensor_count, (unsigned long long)report->bytes);
    } else {
        (void)dw_cli_fail(1, "%s: byte %llu: %s", path, (unsigned long long)report->fault_byte,
                          report->fault);
    }
    int exit_code = report->sound ? 0 : 1;
    dw_cli_snapshot_report_release(report);
    return exit_code;
}

static int check_stream(const char *path, FILE *stream, bool as_json)
{
    dw_cli_snapshot_report report;
    dw_cli_snapshot_check(stream, false, &report);
    return tell(path, &report, as_json);
}

/* What is inside the compressed file at `packed`; messages name `path`. */
static int check_packed(const char *path, const char *packed, bool as_json)
{
    char plain[DW_CLI_PATH_MAX] = "";
    int fd = -1;
    dw_error error;
    if (dw_cli_unpack(packed, plain, sizeof plain, &fd, &error) != DW_OK) {
        return dw_cli_fail_with(&error);
    }
    FILE *stream = fopen(plain, "rbe");
    int exit_code = stream != NULL ? check_stream(path, stream, as_json)
                                   : dw_cli_fail(1, "%s: %s", plain, strerror(errno));
    if (stream != NULL) {
        (void)fclose(stream);
    }
    dw_cli_remove_temporary(plain, fd);
    return exit_code;
}

static int check_packed_stream(const char *path, FILE *stream, bool as_json)
{
    char spooled[DW_CLI_PATH_MAX] = "";
    int fd = -1;
    dw_error error;
    int exit_code = dw_cli_spool(stream, spooled, sizeof spooled, &fd, &error) == DW_OK
                        ? check_packed(path, spooled, as_json)
                        : dw_cli_fail_with(&error);
    dw_cli_remove_temporary(spooled, fd);
    return exit_code;
}

/* ---- series -------------------------------------------------------------------------------- */

#define SERIES ".series"
#define SERIES_UNIT 65536u /* each snapshot begins at a multiple of it */

static bool ends_with(const char *text, size_t length, const char *end)
{
    const size_t count = strlen(end);
    return length > count && memcmp(text + length - count, end, count) == 0;
}

/* The file that the path of a snapshot in a series names; false: it is no such path. */
static bool split(const char *path, char file[DW_CLI_PATH_MAX], uint64_t *begin, uint64_t *bytes)
{
    const char *slash = strrchr(path, '/');
    char *end = NULL;
    if (slash == NULL || !ends_with(path, (size_t)(slash - path), SERIES) || slash[1] < '0' ||
        slash[1] > '9') {
        return false;
    }
    *begin = strtoull(slash + 1, &end, 10);
    if (*end != '+' || end[1] < '0' || end[1] > '9') {
        return false;
    }
    *bytes = strtoull(end + 1, &end, 10);
    (void)snprintf(file, DW_CLI_PATH_MAX, "%.*s", (int)(slash - path), path);
    return *end == '\0';
}

/* What is between two snapshots is zero. `*begin` goes on to the next; false: there is none, or
 * exit_code is set. */
static bool pass_over(const char *path, FILE *stream, uint64_t *begin, uint64_t bytes,
                      int *exit_code)
{
    uint64_t at = *begin + bytes;
    for (int c = 0; at % SERIES_UNIT != 0 && (c = getc(stream)) != EOF; at++) {
        if (c != 0) {
            *exit_code = dw_cli_fail(1, "%s: byte %llu: %d, between two snapshots", path,
                                     (unsigned long long)at, c);
            return false;
        }
    }
    *begin = at;
    const int next = getc(stream);
    return next != EOF && ungetc(next, stream) == next;
}

static int check_series(const char *path, FILE *stream)
{
    dw_cli_snapshot_report report;
    unsigned long long tensors = 0;
    unsigned long long count = 0;
    uint64_t begin = 0;
    int exit_code = 0;
    bool more = true;
    while (more) {
        dw_cli_snapshot_check(stream, true, &report);
        if (report.sound) {
            more = pass_over(path, stream, &begin, report.bytes, &exit_code);
        } else {
            exit_code = dw_cli_fail(1, "%s: snapshot %llu, byte %llu: %s", path, count + 1,
                                    (unsigned long long)(begin + report.fault_byte), report.fault);
            more = false;
        }
        tensors += report.tensor_count;
        count++;
        dw_cli_snapshot_report_release(&report);
    }
    if (exit_code == 0) {
        dw_cli_print("%s: ok, %llu snapshots, %llu tensors, %llu bytes\n", path, count, tensors,
                     (unsigned long long)begin);
    }
    return exit_code;
}

static int check_place(const char *path, const char *file, const uint64_t place[2], bool as_json)
{
    dw_cli_snapshot_report report;
    FILE *stream = fopen(file, "rbe");
    if (stream == NULL || fseeko(stream, (off_t)place[0], SEEK_SET) != 0) {
        const int reason = errno;
        if (stream != NULL) {
            (void)fclose(stream);
        }
        return dw_cli_fail(1, "%s: %s", path, strerror(reason));
    }
    dw_cli_snapshot_check(stream, true, &report);
    (void)fclose(stream);
    if (report.sound && report.bytes != place[1]) {
        report.sound = false;
        report.fault_byte = report.bytes;
        (void)snprintf(report.fault, sizeof report.fault, "here it ends, not at %llu",
                       (unsigned long long)place[1]);
    }
    return tell(path, &report, as_json);
}

static int check(const char *path, bool as_json)
{
    struct stat info;
    char file[DW_CLI_PATH_MAX];
    uint64_t place[2];
    if (split(path, file, &place[0], &place[1])) {
        return check_place(path, file, place, as_json);
    }
    bool input = strcmp(path, "-") == 0;
    FILE *stream = input ? stdin : fopen(path, "rbe");
    int exit_code;
    if (stream == NULL || fstat(fileno(stream), &info) != 0) {
        return dw_cli_fail(1, "%s: %s", path, strerror(errno));
    }
    if (S_ISDIR(info.st_mode)) {
        (void)fclose(stream);
        return dw_cli_fail(1, "%s: it is a folder", path);
    }
    /* A snapshot never begins like a compressed file: the lowest byte of its header's length is
     * 0xf8. So what comes through a pipe is gone through as it comes. */
    int first = getc(stream);
    (void)ungetc(first, stream);
    if (ends_with(path, strlen(path), SERIES) && !as_json) {
        exit_code = check_series(path, stream);
    } else if (first != DW_CLI_ZSTD_FIRST) {
        exit_code = check_stream(path, stream, as_json);
    } else if (S_ISREG(info.st_mode) && !input) {
        exit_code = check_packed(path, path, as_json);
    } else {
        exit_code = check_packed_stream(path, stream, as_json);
    }
    if (!input) {
        (void)fclose(stream);
    }
    return exit_code;
}

int dw_cli_check(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    bool as_json = false;
    int option;
    while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
        switch (option) {
        case 'j':
            as_json = true;
            break;
        case 'h':
            dw_cli_print("%s", usage);
            return 0;
        default:
            return DW_CLI_USAGE;
        }
    }
    if (optind + 1 != argc) {
        return dw_cli_fail(DW_CLI_USAGE, "check takes one file, %d given", argc - optind);
    }
    return check(argv[optind], as_json);
}
