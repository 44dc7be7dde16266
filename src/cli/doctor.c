/* driftwood doctor: what was checked on this machine, the figure, and ok or FAILED. */

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char usage[] =
    "usage: driftwood doctor [--device NAME] [--json]\n"
    "\n"
    "Checks the chain on this machine: a region of memory (link 1), a guest's linear memory on it\n"
    "(link 2), a device's buffer on it (link 3), and all of them together with a real guest.\n"
    "\n"
    "  -d, --device NAME  the device to check (see `driftwood devices`); default: the first GPU\n"
    "                     that can share host memory, else the CPU\n"
    "  -j, --json         {\"ok\", \"device\", \"checks\": [{\"name\", \"ok\", \"value\", "
    "\"unit\", \"goal\"}]}\n"
    "  -h, --help         this text\n"
    "\n"
    "Exit status: 0 if every check is ok, 1 if one failed, 2 for a wrong command line.\n";

/* What was examined, with the device's own words. */
typedef struct findings {
    const dw_doctor_report *report;
    dw_doctor_info info;
    dw_device_info device;
} findings;

static dw_status find_device(findings *found, dw_error *err)
{
    found->info.struct_bytes = sizeof found->info;
    found->device.struct_bytes = sizeof found->device;
    dw_doctor_get_info(found->report, &found->info);
    for (size_t i = 0; i < dw_device_count(); i++) {
        dw_status status = dw_device_get_info(i, &found->device, err);
        if (status != DW_OK || strcmp(found->device.name, found->info.device) == 0) {
            return status;
        }
    }
    return dw_fail(err, DW_E_NOT_FOUND, "device %s is gone", found->info.device);
}

/* `index` < info.check_count. */
static dw_doctor_check_info check_at(const findings *found, size_t index)
{
    dw_doctor_check_info check = {.struct_bytes = sizeof check};
    dw_error error;
    if (dw_doctor_get_check(found->report, index, &check, &error) != DW_OK) {
        check = (dw_doctor_check_info){.link = "", .name = "?", .what = "", .unit = "", .note = ""};
    }
    return check;
}

static int print_json(const findings *found)
{
    json_t *checks = json_array();
    for (size_t i = 0; i < found->info.check_count; i++) {
        dw_doctor_check_info check = check_at(found, i);
        json_t *item =
            json_pack("{s:s, s:s, s:b, s:f, s:s, s:s?, s:s, s:s}", "name", check.name, "link",
                      check.link, "ok", check.ok, "value", check.value, "unit", check.unit, "goal",
                      check.goal, "what", check.what, "note", check.note);
        (void)json_array_append_new(checks, item);
    }
    json_t *root = json_pack("{s:b, s:s, s:s, s:s, s:b, s:b, s:o}", "ok", found->info.ok, "device",
                             found->device.name, "description", found->device.description,
                             "backend", found->device.backend, "unified", found->device.unified,
                             "gpu_present", found->info.has_gpu, "checks", checks);
    dw_cli_print_json(root, JSON_INDENT(2));
    return found->info.ok ? 0 : 1;
}

static void print_check(const dw_doctor_check_info *check)
{
    char figure[64];
    bool whole = check->value == (double)(long long)check->value;
    (void)snprintf(figure, sizeof figure, whole ? "%.0f %s" : "%.3f %s", check->value, check->unit);
    dw_cli_print("  %-6s %-20s %-22s %s", check->ok ? "ok" : "FAILED", check->name, figure,
                 check->what);
    if (check->goal != NULL) {
        dw_cli_print(" (goal %s)", check->goal);
    }
    if (check->note[0] != '\0') {
        dw_cli_print("\n         %-20s %s", "", check->note);
    }
    dw_cli_put("\n", 1);
}

static int print_text(const findings *found)
{
    dw_cli_print("device %s: %s (%s, %s memory)\n", found->device.name, found->device.description,
                 found->device.backend, found->device.unified ? "unified" : "discrete");
    if (!found->info.has_gpu) {
        dw_cli_print(
            "this machine has no GPU that this build knows: the CPU is checked as the device\n");
    }
    const char *link = "";
    size_t failed = 0;
    for (size_t i = 0; i < found->info.check_count; i++) {
        dw_doctor_check_info check = check_at(found, i);
        if (strcmp(check.link, link) != 0) {
            link = check.link;
            dw_cli_print("%s\n", link);
        }
        print_check(&check);
        failed += !check.ok;
    }
    if (found->info.ok) {
        dw_cli_print("all %zu checks are ok\n", found->info.check_count);
    } else {
        dw_cli_print("%zu of %zu checks FAILED\n", failed, found->info.check_count);
    }
    return found->info.ok ? 0 : 1;
}

int dw_cli_doctor(int argc, char **argv)
{
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *device = NULL;
    bool json = false;
    int option;
    while ((option = getopt_long(argc, argv, "d:jh", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            device = optarg;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            dw_cli_print("%s", usage);
            return 0;
        default:
            return 2;
        }
    }
    if (optind < argc) {
        return dw_cli_fail(DW_CLI_USAGE, "doctor takes no argument '%s'", argv[optind]);
    }
    char guest[DW_CLI_PATH_MAX];
    dw_error error;
    dw_doctor_report *report = NULL;
    dw_status status = dw_cli_find_guest(guest, sizeof guest, "doctor_chain", &error);
    if (status == DW_OK) {
        status = dw_doctor_examine(&report, device, guest, &error);
    }
    findings found = {.report = report};
    if (status == DW_OK) {
        status = find_device(&found, &error);
    }
    int exit_code = 1;
    if (status != DW_OK) {
        (void)dw_cli_fail(1, "doctor: %s", error.message);
    } else {
        exit_code = json ? print_json(&found) : print_text(&found);
    }
    dw_doctor_report_destroy(report);
    return exit_code;
}
