/* driftwood devices: what this build finds on this machine. */
#include <getopt.h>
#include <jansson.h>

#include "cli/cli.h"

static const char usage[] =
    "usage: driftwood devices [--json]\n"
    "\n"
    "Lists the compute devices: what --device takes, their kind and memory, whether they read\n"
    "host memory at full speed (unified), whether guest memory can be their own (shared). A line\n"
    "below says why a device cannot be used, or why one that this build knows of is not there.\n"
    "\n"
    "  -j, --json  [{\"name\", \"description\", \"kind\", \"backend\", \"memory_bytes\",\n"
    "              \"memory_free_bytes\", \"unified\", \"shares_host\", \"problem\"}]\n"
    "  -h, --help  this text\n";

static const char *kind_name(dw_device_kind kind)
{
    static const char *const names[] = {
        [DW_DEVICE_CPU] = "cpu",
        [DW_DEVICE_GPU] = "gpu",
        [DW_DEVICE_IGPU] = "igpu",
        [DW_DEVICE_OTHER] = "other",
    };
    return names[kind];
}

#define ROW "%-10s %-5s %-8s %10s %10s  %-8s %-7s %s\n"

static void write_gib(char *text, size_t capacity, size_t bytes)
{
    (void)snprintf(text, capacity, "?");
    if (bytes > 0) {
        (void)snprintf(text, capacity, "%.1f GiB", (double)bytes / (double)(1U << 30));
    }
}

static void print_device(const dw_device_info *info)
{
    char memory[32];
    char unused[32];
    write_gib(memory, sizeof memory, info->memory_bytes);
    write_gib(unused, sizeof unused, info->memory_free_bytes);
    dw_cli_print(ROW, info->name, kind_name(info->kind), info->backend, memory, unused,
                 info->unified ? "yes" : "no", info->shares_host ? "yes" : "no", info->description);
    if (info->problem[0] != '\0') {
        dw_cli_print("%-10s cannot be used: %s\n", "", info->problem);
    }
}

static json_t *device_json(const dw_device_info *info)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:b, s:s}", "name", info->name,
                     "description", info->description, "kind", kind_name(info->kind), "backend",
                     info->backend, "memory_bytes", (json_int_t)info->memory_bytes,
                     "memory_free_bytes", (json_int_t)info->memory_free_bytes, "unified",
                     info->unified, "shares_host", info->shares_host, "problem", info->problem);
}

static int list(bool as_json)
{
    dw_error error;
    json_t *array = as_json ? json_array() : NULL;
    if (!as_json) {
        dw_cli_print(ROW, "name", "kind", "backend", "memory", "free", "unified", "shared",
                     "description");
    }
    for (size_t i = 0; i < dw_device_count(); i++) {
        dw_device_info info = {.struct_bytes = sizeof info};
        if (dw_device_get_info(i, &info, &error) != DW_OK) {
            json_decref(array);
            return dw_cli_fail_with(&error);
        }
        if (as_json) {
            (void)json_array_append_new(array, device_json(&info));
        } else {
            print_device(&info);
        }
    }
    char note[DW_DEVICE_NOTE_BYTES];
    if (dw_device_note(note, sizeof note, NULL) == DW_OK) {
        if (as_json) {
            (void)fprintf(stderr, "%s\n", note);
        } else {
            dw_cli_print("%s\n", note);
        }
    }
    if (as_json) {
        dw_cli_print_json(array, JSON_INDENT(2));
    }
    return 0;
}

int dw_cli_devices(int argc, char **argv)
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
    if (optind < argc) {
        return dw_cli_fail(DW_CLI_USAGE, "devices takes no argument '%s'", argv[optind]);
    }
    return list(as_json);
}
