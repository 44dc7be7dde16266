/* driftwood actor mail: messages that wait or were set aside. */
#include <string.h>

#include "cli/link.h"
#include "cli/output.h"

static int fail(const dw_error *error)
{
    return dw_cli_fail_with(error);
}

/* ---- listing ----------------------------------------------------------------------------- */

static void add_json(void *user, const dw_runtime_message *message)
{
    json_t *reason = json_string(message->reason);
    (void)json_array_append_new(
        user,
        json_pack("{s:o, s:s, s:o, s:s, s:I, s:o}", "number", dw_cli_count_json(message->number),
                  "from", message->from, "bytes", dw_cli_count_json(message->bytes), "state",
                  message->set_aside ? "set aside" : "waiting", "attempts",
                  (json_int_t)message->attempts, "reason", reason != NULL ? reason : json_null()));
}

static void print_one(void *user, const dw_runtime_message *message)
{
    (void)user;
    dw_cli_print("%llu  %s  from %s, %llu bytes, %u attempts%s%s\n",
                 (unsigned long long)message->number, message->set_aside ? "set aside" : "waiting",
                 message->from[0] != '\0' ? message->from : "outside",
                 (unsigned long long)message->bytes, message->attempts,
                 message->reason[0] != '\0' ? ": " : "", message->reason);
}

static int list(dw_cli_actors *actors, const char *id, bool json)
{
    dw_error error;
    json_t *all = json ? json_array() : NULL;
    dw_status status = dw_cli_at_list_mail(actors, id, json ? add_json : print_one, all, &error);
    if (status != DW_OK) {
        json_decref(all);
        return fail(&error);
    }
    if (json) {
        dw_cli_print_json(all, JSON_INDENT(2));
    }
    return 0;
}

/* ---- one message ------------------------------------------------------------------------- */

static ptrdiff_t print_content(void *user, const unsigned char *bytes, size_t count)
{
    (void)user;
    dw_cli_put(bytes, count);
    return dw_cli_output_flush() ? (ptrdiff_t)count : -1;
}

static int show(dw_cli_actors *actors, const char *id, const char *number)
{
    dw_error error;
    uint64_t wanted = 0;
    if (dw_cli_whole("--show", number, 1, DW_MAIL_ALL - 1, &wanted, &error) != DW_OK) {
        return dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
    }
    dw_status status = dw_cli_at_read_mail(actors, id, wanted, print_content, NULL, &error);
    return status == DW_OK || dw_cli_output_failed() ? 0 : fail(&error);
}

typedef dw_status (*action)(dw_cli_actors *actors, const char *id, uint64_t number, uint64_t *count,
                            dw_error *err);

/* `name` is the option, `number` its value, `word` what was done. */
static int change(dw_cli_actors *actors, const char *id, action act, const char *const words[2],
                  const char *number, bool json)
{
    dw_error error;
    uint64_t wanted = DW_MAIL_ALL;
    uint64_t count = 0;
    if (strcmp(number, "all") != 0 &&
        dw_cli_whole(words[0], number, 1, DW_MAIL_ALL - 1, &wanted, &error) != DW_OK) {
        return dw_cli_fail(DW_CLI_USAGE, "%s", error.message);
    }
    if (actors->read_only) {
        return dw_cli_fail(1, "%s: the state folder cannot be written", words[0]);
    }
    if (act(actors, id, wanted, &count, &error) != DW_OK) {
        return fail(&error);
    }
    if (json) {
        dw_cli_print_json(json_pack("{s:s, s:o}", "id", id, words[1], dw_cli_count_json(count)),
                          JSON_INDENT(2));
    } else {
        dw_cli_print("%llu %s\n", (unsigned long long)count, words[1]);
    }
    return 0;
}

int dw_cli_actors_mail(dw_cli_actors *actors, const char *id, const dw_cli_mail *what)
{
    static const char *const drop_words[] = {"--drop", "dropped"};
    static const char *const retry_words[] = {"--retry", "waiting"};
    if ((what->show != NULL) + (what->drop != NULL) + (what->retry != NULL) > 1) {
        return dw_cli_fail(DW_CLI_USAGE, "actor mail: one of --show, --drop and --retry at a time");
    }
    if (what->show != NULL) {
        return show(actors, id, what->show);
    }
    if (what->drop != NULL) {
        return change(actors, id, dw_cli_at_drop_mail, drop_words, what->drop, what->json);
    }
    if (what->retry != NULL) {
        return change(actors, id, dw_cli_at_retry_mail, retry_words, what->retry, what->json);
    }
    return list(actors, id, what->json);
}
