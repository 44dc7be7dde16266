/* driftwood check: whether a snapshot file is whole. */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/snapshot_check.h"

static const char usage[] =
    "usage: driftwood check FILE [--json]\n"
    "\n"
    "Goes through a whole snapshot file: its header, the layout of its tensors, their checksums,\n"
    "fillers and seal. Prints `FILE: ok, N tensors, M bytes`, or the first byte that is at fault.\n"
    "FILE is a path, or - for standard input. Exit status 1 if something is wrong.\n"
    "\n"
    "  -j, --json  one object, with metadata and tensors\n"
    "  -h, --help  this text\n";

static void print_json(const char *path, const dw_cli_snapshot_report *report)
{
    json_t *root =
        json_pack("{s:s, s:b, s:I, s:I}", "path", path, "ok", report->sound, "bytes",
                  (json_int_t)report->bytes, "tensor_count", (json_int_t)report->tensor_count);
    if (root == NULL) { /* a path that is no UTF-8 */
        root = json_pack("{s:b, s:I}", "ok", report->sound, "bytes", (json_int_t)report->bytes);
    }
    if (report->sound) {
        (void)json_object_set_new(root, "identity", json_string(report->identity));
        (void)json_object_set(root, "metadata", report->metadata);
        (void)json_object_set(root, "tensors", report->tensors);
    } else {
        (void)json_object_set_new(root, "byte", json_integer((json_int_t)report->fault_byte));
        (void)json_object_set_new(root, "error", json_string(report->fault));
    }
    (void)json_dumpf(root, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(root);
}

static int check(const char *path, bool as_json)
{
    bool standard_input = strcmp(path, "-") == 0;
    FILE *stream = standard_input ? stdin : fopen(path, "rb");
    struct stat facts;
    if (stream == NULL) {
        return dw_cli_fail(1, "%s: %s", path, strerror(errno));
    }
    if (fstat(fileno(stream), &facts) == 0 && S_ISDIR(facts.st_mode)) {
        (void)fclose(stream);
        return dw_cli_fail(1, "%s: it is a folder", path);
    }
    dw_cli_snapshot_report report;
    dw_cli_snapshot_check(stream, &report);
    if (as_json) {
        print_json(path, &report);
    } else if (report.sound) {
        printf("%s: ok, %llu tensors, %llu bytes\n", path, (unsigned long long)report.tensor_count,
               (unsigned long long)report.bytes);
    } else {
        (void)dw_cli_fail(1, "%s: byte %llu: %s", path, (unsigned long long)report.fault_byte,
                          report.fault);
    }
    int exit_code = report.sound ? 0 : 1;
    dw_cli_snapshot_report_release(&report);
    if (!standard_input) {
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
            (void)fputs(usage, stdout);
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
