/* driftwood limits: the table of limits that guests and actors meet. */
#include <getopt.h>
#include <jansson.h>

#include "cli/cli.h"

static const char usage[] =
    "usage: driftwood limits [--json | --markdown]\n"
    "\n"
    "Lists the limits that guests and actors meet: name, default, the range that may be set, what\n"
    "each bounds. `run`, `chat` and `actor` take --limit NAME=VALUE for any of them, and --limits\n"
    "FILE for many: a JSON object of names to values. Bytes are told and taken as 64K, 256M or "
    "4G,\n"
    "times as 500ms, 30s or 2h.\n"
    "\n"
    "  -j, --json  [{\"name\", \"unit\", \"default\", \"lowest\", \"highest\", \"option\", "
    "\"what\"}], values\n"
    "              as texts that --limit and --limits take\n"
    "  --markdown  the table of docs/security.md\n"
    "  -h, --help  this text\n";

enum { OPT_MARKDOWN = 256 };

typedef enum form {
    FORM_TEXT,
    FORM_JSON,
    FORM_MARKDOWN,
} form;

typedef struct line {
    dw_limit_info info;
    char usual[DW_LIMIT_TEXT_BYTES];
    char lowest[DW_LIMIT_TEXT_BYTES];
    char highest[DW_LIMIT_TEXT_BYTES];
} line;

static dw_status read_line(line *to, size_t index, dw_error *err)
{
    *to = (line){.info = {.struct_bytes = sizeof to->info}};
    dw_status status = dw_limit_get_info(index, &to->info, err);
    if (status == DW_OK) {
        dw_limit_format(to->info.unit, to->info.usual, to->usual);
        dw_limit_format(to->info.unit, to->info.lowest, to->lowest);
        dw_limit_format(to->info.unit, to->info.highest, to->highest);
    }
    return status;
}

static json_t *line_json(const line *from)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "name", from->info.name, "unit",
                     dw_limit_unit_name(from->info.unit), "default", from->usual, "lowest",
                     from->lowest, "highest", from->highest, "option", from->info.option, "what",
                     from->info.what);
}

static void print_line(form as, const line *from)
{
    const char *option = from->info.option;
    bool own = option[0] != '\0';
    if (as == FORM_MARKDOWN) {
        dw_cli_print("| `%s` | %s | %s | %s to %s | %s%s%s |\n", from->info.name, from->info.what,
                     from->usual, from->lowest, from->highest, own ? "`" : "", option,
                     own ? "`" : "");
    } else {
        dw_cli_print("%-20s %-12s %s to %s%s%s\n%20s %s\n", from->info.name, from->usual,
                     from->lowest, from->highest, own ? "  " : "", option, "", from->info.what);
    }
}

static int print(form as)
{
    json_t *list = as == FORM_JSON ? json_array() : NULL;
    dw_error error;
    if (as == FORM_MARKDOWN) {
        dw_cli_print("| limit | what it bounds | default | may be set | option |\n"
                     "| --- | --- | --- | --- | --- |\n");
    }
    for (size_t i = 0; i < dw_limit_count(); i++) {
        line one;
        if (read_line(&one, i, &error) != DW_OK) {
            json_decref(list);
            return dw_cli_fail_with(&error);
        }
        if (as == FORM_JSON) {
            (void)json_array_append_new(list, line_json(&one));
        } else {
            print_line(as, &one);
        }
    }
    if (as == FORM_JSON) {
        dw_cli_print_json(list, JSON_INDENT(2));
    }
    return 0;
}

int dw_cli_limits(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"markdown", no_argument, NULL, OPT_MARKDOWN},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    form as = FORM_TEXT;
    int option;
    while ((option = getopt_long(argc, argv, "hj", options, NULL)) != -1) {
        if (option == 'h') {
            dw_cli_print("%s", usage);
            return 0;
        }
        if (option == '?') {
            return DW_CLI_USAGE;
        }
        form wanted = option == 'j' ? FORM_JSON : FORM_MARKDOWN;
        if (as != FORM_TEXT && as != wanted) {
            return dw_cli_fail(DW_CLI_USAGE, "--json beside --markdown: one of the two is allowed");
        }
        as = wanted;
    }
    if (optind < argc) {
        return dw_cli_fail(DW_CLI_USAGE, "limits takes no argument '%s'", argv[optind]);
    }
    return print(as);
}
