#include "store_account.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/folder_tables.h"
#include "support.h"

static const char *folder; /* what is looked at */

void shell(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_true(length > 0 && (size_t)length < sizeof command);
    assert_int_equal(system(command), 0);
}

name_list listed(const char *format, ...)
{
    char path[512];
    name_list list = {.count = 0};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    DIR *names = opendir(path);
    for (struct dirent *entry = NULL; names != NULL && (entry = readdir(names)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            assert_true(list.count < 64);
            (void)snprintf(list.names[list.count++], 256, "%s", entry->d_name);
        }
    }
    if (names != NULL) {
        (void)closedir(names);
    }
    return list;
}

bool path_exists(const char *format, ...)
{
    char path[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    return access(path, F_OK) == 0;
}

/* ---- what the journal says ------------------------------------------------------------------- */

#define SNAPSHOTS_MAX 512

/* What rows name, and what is wrong with them. */
typedef struct rows {
    char names[SNAPSHOTS_MAX][96]; /* "ID/SNAPSHOT"; [count] */
    size_t count;
    char modules[64][65]; /* [module_count] */
    size_t module_count;
    char ids[64][DW_ACTOR_ID_CHARS + 1]; /* [id_count] */
    size_t id_count;
    int64_t wrong[10];
    uint64_t series_end; /* of what the last one in a series has of it */
} rows;

/* Each counts what must not be. */
static const char *const faults[] = {
    "SELECT count(*) FROM loose",
    "SELECT count(*) FROM seen WHERE sender NOT IN (SELECT actor FROM snapshot WHERE pending = 1)",
    "SELECT count(*) FROM message WHERE actor NOT IN (SELECT id FROM actor)",
    "SELECT count(*) FROM message WHERE aside = 1 AND reason = ''",
    "SELECT count(*) FROM snapshot WHERE actor NOT IN (SELECT id FROM actor)",
    "SELECT abs(actors - (SELECT count(*) FROM actor)) FROM total",
    "SELECT count(*) FROM actor AS a WHERE waiting + aside <> (SELECT count(*) FROM message "
    "WHERE actor = a.id) OR (SELECT count(*) FROM snapshot WHERE actor = a.id AND whole = 1) > 1 "
    "OR (SELECT max(sequence) FROM snapshot WHERE actor = a.id) <> sequence",
    /* A whole one and all behind it, but those that went with a later one. */
    "SELECT count(*) FROM actor AS a WHERE NOT EXISTS (SELECT 1 FROM snapshot WHERE actor = a.id "
    "AND (whole = 1 OR drops = 1)) OR (SELECT max(sequence) - min(sequence) + 1 - count(*) FROM "
    "snapshot AS s WHERE actor = a.id AND NOT EXISTS (SELECT 1 FROM snapshot AS l WHERE "
    "l.actor = a.id AND l.drops = 1 AND l.sequence > s.sequence)) <> 0",
    "SELECT count(*) FROM attempt WHERE actor NOT IN (SELECT id FROM actor)",
    "SELECT count(*) FROM kept WHERE actor NOT IN (SELECT id FROM actor)",
};
enum { FAULTS = sizeof faults / sizeof faults[0], SNAPSHOTS = FAULTS, MODULES, ACTORS, KEPT };
static const char *statements[] = {
    [SNAPSHOTS] = "SELECT actor, sequence, done, whole, pending, series, start, length "
                  "FROM snapshot ORDER BY 1, 2",
    [MODULES] = "SELECT DISTINCT module FROM actor",
    [ACTORS] = "SELECT id FROM actor",
    [KEPT] = "SELECT actor, number FROM kept",
};

/* A file that several are in, one behind the other: none where another is. */
static void take_series(rows *all, dw_query *query)
{
    char name[96];
    const uint64_t begin = (uint64_t)dw_query_get_i64(query, 6);
    (void)snprintf(name, sizeof name, "%016llx/%08llu.series",
                   (unsigned long long)dw_query_get_u64(query, 0),
                   (unsigned long long)dw_query_get_i64(query, 5));
    const bool again = all->count > 0 && strcmp(all->names[all->count - 1], name) == 0;
    assert_true(!again || begin >= all->series_end);
    assert_true(dw_query_get_i64(query, 7) > 0);
    if (!again) {
        (void)snprintf(all->names[all->count++], sizeof all->names[0], "%s", name);
    }
    all->series_end = begin + (uint64_t)dw_query_get_i64(query, 7);
}

static dw_status read_rows(void *user, dw_journal_tx *tx, dw_error *err)
{
    rows *all = user;
    bool found = false;
    dw_status status = DW_OK;
    for (unsigned i = 0; i < FAULTS && status == DW_OK; i++) {
        dw_query *query = dw_journal_query(tx, i);
        status = dw_query_next(query, &found, err);
        all->wrong[i] = found ? dw_query_get_i64(query, 0) : -1;
    }
    dw_query *query = dw_journal_query(tx, SNAPSHOTS);
    while (status == DW_OK && (status = dw_query_next(query, &found, err)) == DW_OK && found) {
        assert_true(all->count < SNAPSHOTS_MAX);
        if (dw_query_get_i64(query, 5) != 0) {
            take_series(all, query);
            continue;
        }
        (void)snprintf(all->names[all->count++], sizeof all->names[0],
                       "%016llx/%08llu-%012llu.%s%s.snapshot",
                       (unsigned long long)dw_query_get_u64(query, 0),
                       (unsigned long long)dw_query_get_u64(query, 1),
                       (unsigned long long)dw_query_get_u64(query, 2),
                       dw_query_get_i64(query, 4) != 0 ? "pending-" : "",
                       dw_query_get_i64(query, 3) != 0 ? "full" : "delta");
    }
    query = dw_journal_query(tx, KEPT);
    while (status == DW_OK && (status = dw_query_next(query, &found, err)) == DW_OK && found) {
        assert_true(all->count < SNAPSHOTS_MAX);
        (void)snprintf(all->names[all->count++], sizeof all->names[0],
                       "%016llx/%08llu.kept.snapshot",
                       (unsigned long long)dw_query_get_u64(query, 0),
                       (unsigned long long)dw_query_get_u64(query, 1));
    }
    query = dw_journal_query(tx, MODULES);
    while (status == DW_OK && (status = dw_query_next(query, &found, err)) == DW_OK && found) {
        (void)snprintf(all->modules[all->module_count++], 65, "%s", dw_query_get_text(query, 0));
    }
    query = dw_journal_query(tx, ACTORS);
    while (status == DW_OK && (status = dw_query_next(query, &found, err)) == DW_OK && found) {
        assert_true(all->id_count < 64);
        (void)snprintf(all->ids[all->id_count++], sizeof all->ids[0], "%016llx",
                       (unsigned long long)dw_query_get_u64(query, 0));
    }
    return status;
}

static void read_journal(rows *all, int at)
{
    char path[512];
    dw_error err = {.message = ""};
    dw_journal *journal = NULL;
    dw_journal_schema schema = dw_folder_schema;
    for (size_t i = 0; i < FAULTS; i++) {
        statements[i] = faults[i];
    }
    schema.statements = statements;
    schema.statement_count = sizeof statements / sizeof statements[0];
    (void)snprintf(path, sizeof path, "%s/" DW_FOLDER_JOURNAL, folder);
    dw_journal_options options = {.path = path, .schema = &schema, .read_only = true};
    *all = (rows){.count = 0};
    dw_status status = dw_journal_open(&journal, &options, &err);
    if (status == DW_OK) {
        status = dw_journal_read(journal, read_rows, all, &err);
    }
    dw_journal_close(journal);
    if (status != DW_OK) {
        fail_msg("operation %d: the journal: %s", at, err.message);
    }
    for (size_t i = 0; i < FAULTS; i++) {
        if (all->wrong[i] != 0) {
            fail_msg("operation %d: %lld rows of: %s", at, (long long)all->wrong[i], faults[i]);
        }
    }
}

/* ---- what is in the folder ------------------------------------------------------------------- */

static void account_for_snapshots(const rows *all, int at)
{
    for (size_t i = 0; i < all->count; i++) {
        if (!path_exists("%s/actors/%s", folder, all->names[i])) {
            fail_msg("operation %d: %s is missing", at, all->names[i]);
        }
    }
    name_list actors = listed("%s/actors", folder);
    if (actors.count != all->id_count) {
        fail_msg("operation %d: %zu actors, %zu folders", at, all->id_count, actors.count);
    }
    size_t files = 0;
    for (size_t i = 0; i < actors.count; i++) {
        name_list names = listed("%s/actors/%s", folder, actors.names[i]);
        files += names.count;
        for (size_t k = 0; k < names.count; k++) {
            bool named = false;
            char name[600];
            (void)snprintf(name, sizeof name, "%s/%s", actors.names[i], names.names[k]);
            for (size_t n = 0; n < all->count; n++) {
                named = named || strcmp(all->names[n], name) == 0;
            }
            if (!named) {
                fail_msg("operation %d: %s belongs to nothing", at, name);
            }
        }
    }
    assert_int_equal(files, all->count);
}

static void account_for_modules(const rows *all, int at)
{
    name_list names = listed("%s/modules", folder);
    for (size_t i = 0; i < names.count; i++) {
        bool used = false;
        for (size_t k = 0; k < all->module_count; k++) {
            used = used || (strncmp(all->modules[k], names.names[i], 64) == 0 &&
                            strcmp(names.names[i] + 64, ".wasm") == 0);
        }
        if (!used) {
            fail_msg("operation %d: nobody uses modules/%s", at, names.names[i]);
        }
    }
    assert_int_equal(names.count, all->module_count);
}

void account_for_all(const char *path, int at)
{
    static const char *const known[] = {"actors",           "lock",           "modules",
                                        "journal.db",       "journal.db-wal", "journal.db-shm",
                                        "journal.db-marks", "prefixes"};
    static rows all;
    folder = path;
    name_list names = listed("%s", folder);
    for (size_t i = 0; i < names.count; i++) {
        bool is_known = false;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
            is_known = is_known || strcmp(known[k], names.names[i]) == 0;
        }
        if (!is_known) {
            fail_msg("operation %d: %s belongs to nothing", at, names.names[i]);
        }
    }
    read_journal(&all, at);
    account_for_snapshots(&all, at);
    account_for_modules(&all, at);
}

/* ---- changing it ----------------------------------------------------------------------------- */

static dw_status run_sql(void *user, dw_journal_tx *tx, dw_error *err)
{
    (void)user;
    return dw_query_run(dw_journal_query(tx, 0), err);
}

void change_journal(const char *path, const char *format, ...)
{
    char sql[1024];
    char file[512];
    va_list args;
    const char *const one[] = {sql};
    dw_error err = {.message = ""};
    dw_journal *journal = NULL;
    dw_journal_schema schema = dw_folder_schema;
    va_start(args, format);
    (void)vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    schema.statements = one;
    schema.statement_count = 1;
    (void)snprintf(file, sizeof file, "%s/" DW_FOLDER_JOURNAL, path);
    dw_journal_options options = {.path = file, .schema = &schema};
    assert_int_equal(dw_journal_open(&journal, &options, &err), DW_OK);
    dw_status status = dw_journal_write(journal, run_sql, NULL, false, &err);
    dw_journal_close(journal);
    assert_string_equal(err.message, "");
    assert_int_equal(status, DW_OK);
}
