#include "serving/archive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "journal/journal.h"

#define THREAD_MAX 4096               /* responses that go on from one another */
#define BYTES_MAX ((size_t)256 << 20) /* of the items of a thread, or conversation */
#define PLACES_AT_ONCE 512            /* looked up in one transaction: some milliseconds */

struct dw_archive {
    dw_journal *journal;
};

enum {
    SQL_PUT_RESPONSE,
    SQL_PUT_THREAD,
    SQL_THREAD_OF,
    SQL_GET_RESPONSE,
    SQL_GET_BODY,
    SQL_DROP_RESPONSE,
    SQL_COUNT_RESPONSES,
    SQL_OLDEST_THREAD,
    SQL_DROP_THREAD,
    SQL_DROP_THREAD_RESPONSES,
    SQL_PUT_PLACE,
    SQL_FIND_PLACE,
    SQL_DROP_PLACES,
    SQL_DROP_THREAD_PLACES,
    SQL_PUT_CONVERSATION,
    SQL_GET_CONVERSATION,
    SQL_DROP_CONVERSATION,
    SQL_USE_CONVERSATION,
    SQL_COUNT_CONVERSATIONS,
    SQL_OLDEST_CONVERSATION,
    SQL_END_CONVERSATION,
    SQL_LAST_ITEM,
    SQL_ADD_ITEM,
    SQL_GET_ITEMS,
    SQL_DROP_ITEM,
    SQL_DROP_ITEMS,
    SQL_STATEMENTS,
};

static const char *const statements[SQL_STATEMENTS] = {
    [SQL_PUT_RESPONSE] = ("INSERT OR REPLACE INTO response (id, tenant, thread, previous, body, "
                          "input) VALUES (?, ?, ?, ?, ?, ?)"),
    [SQL_PUT_THREAD] = "INSERT OR REPLACE INTO thread (id, used) VALUES (?, ?)",
    [SQL_THREAD_OF] = "SELECT thread FROM response WHERE id = ? AND tenant = ?",
    [SQL_GET_RESPONSE] = "SELECT previous, body, input FROM response WHERE id = ? AND tenant = ?",
    [SQL_GET_BODY] = "SELECT body FROM response WHERE id = ? AND tenant = ?",
    [SQL_DROP_RESPONSE] = "DELETE FROM response WHERE id = ? AND tenant = ?",
    [SQL_COUNT_RESPONSES] = "SELECT count(*) FROM response",
    [SQL_OLDEST_THREAD] = "SELECT id FROM thread ORDER BY used LIMIT 1",
    [SQL_DROP_THREAD] = "DELETE FROM thread WHERE id = ?",
    [SQL_DROP_THREAD_RESPONSES] = "DELETE FROM response WHERE thread = ?",
    [SQL_PUT_PLACE] = "INSERT OR REPLACE INTO place (item, tenant, response) VALUES (?, ?, ?)",
    [SQL_FIND_PLACE] = "SELECT response FROM place WHERE item = ? AND tenant = ?",
    [SQL_DROP_PLACES] = "DELETE FROM place WHERE response = ? AND tenant = ?",
    [SQL_DROP_THREAD_PLACES] = ("DELETE FROM place WHERE response IN "
                                "(SELECT id FROM response WHERE thread = ?)"),
    [SQL_PUT_CONVERSATION] = ("INSERT INTO conversation (id, tenant, about) VALUES (?, ?, ?) "
                              "ON CONFLICT (id) DO UPDATE SET about = excluded.about "
                              "WHERE tenant = excluded.tenant"),
    [SQL_GET_CONVERSATION] = "SELECT about FROM conversation WHERE id = ? AND tenant = ?",
    [SQL_DROP_CONVERSATION] = "DELETE FROM conversation WHERE id = ? AND tenant = ?",
    [SQL_USE_CONVERSATION] = "UPDATE conversation SET used = ? WHERE id = ?",
    [SQL_COUNT_CONVERSATIONS] = "SELECT count(*) FROM conversation",
    [SQL_OLDEST_CONVERSATION] = "SELECT id FROM conversation ORDER BY used LIMIT 1",
    [SQL_END_CONVERSATION] = "DELETE FROM conversation WHERE id = ?",
    [SQL_LAST_ITEM] = "SELECT coalesce(max(place), 0) FROM item WHERE conversation = ?",
    [SQL_ADD_ITEM] = "INSERT INTO item (conversation, place, id, body) VALUES (?, ?, ?, ?)",
    [SQL_GET_ITEMS] = "SELECT body FROM item WHERE conversation = ? ORDER BY place",
    [SQL_DROP_ITEM] = "DELETE FROM item WHERE conversation = ? AND id = ?",
    [SQL_DROP_ITEMS] = "DELETE FROM item WHERE conversation = ?",
};

static const char *const upgrades[] = {
    "CREATE TABLE response (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, thread TEXT NOT NULL, "
    "previous TEXT, body TEXT NOT NULL, input TEXT NOT NULL) STRICT;"
    "CREATE INDEX response_thread ON response (thread);"
    "CREATE TABLE thread (id TEXT PRIMARY KEY, used INTEGER NOT NULL) STRICT;"
    "CREATE INDEX thread_used ON thread (used);"
    "CREATE TABLE conversation (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, about TEXT NOT NULL) "
    "STRICT;"
    "CREATE TABLE item (conversation TEXT NOT NULL, place INTEGER NOT NULL, id TEXT NOT NULL, "
    "body TEXT NOT NULL, PRIMARY KEY (conversation, place)) STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX item_id ON item (conversation, id);",
    "ALTER TABLE conversation ADD COLUMN used INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX conversation_used ON conversation (used);",
    /* Of which response's answer an item is. */
    "CREATE TABLE place (item TEXT NOT NULL, tenant TEXT NOT NULL, response TEXT NOT NULL, "
    "PRIMARY KEY (item, tenant)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX place_response ON place (response);",
};

static const dw_journal_schema schema = {
    .what = "file of responses",
    .application_id = 0x44577273, /* "DWrs" */
    .version = 3,
    .upgrades = upgrades,
    .statements = statements,
    .statement_count = SQL_STATEMENTS,
};

dw_status dw_archive_open(dw_archive **out, const char *path, dw_error *err)
{
    dw_archive *archive = dw_alloc(1, sizeof *archive);
    dw_journal_options options = {.path = path, .schema = &schema};
    if (archive == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for responses");
    }
    dw_status status = dw_journal_open(&archive->journal, &options, err);
    if (status != DW_OK) {
        dw_free(archive);
        return status;
    }
    *out = archive;
    return DW_OK;
}

void dw_archive_close(dw_archive *archive)
{
    if (archive != NULL) {
        dw_journal_close(archive->journal);
        dw_free(archive);
    }
}

/* What an operation is about; each uses some of it. */
typedef struct subject {
    const char *tenant;
    const char *id;
    const char *previous;
    const char *item;
    char *body;        /* JSON that is written, for free() */
    char *input;       /* likewise */
    json_t *list;      /* of items that are written, or read */
    const json_t *ids; /* of items that are looked for: members */
    void *at;          /* the next of them; NULL: none is left */
    json_t *first;
    json_t *second;
    uint64_t keep;
    size_t bytes; /* read so far */
} subject;

/* Run one whose parameters are the texts, of which NULL ends the list. */
static dw_status run(dw_journal_tx *tx, uint32_t statement, const char *one, const char *two,
                     dw_error *err)
{
    dw_query *query = dw_journal_query(tx, statement);
    dw_query_text(query, one);
    if (two != NULL) {
        dw_query_text(query, two);
    }
    return dw_query_run(query, err);
}

static dw_status not_found(const char *what, const char *id, dw_error *err)
{
    return dw_fail(err, DW_E_NOT_FOUND, "%s with id '%.80s' not found", what, id);
}

static dw_status too_much(dw_error *err)
{
    return dw_fail(err, DW_E_LIMIT, "items of more than %zu bytes", BYTES_MAX);
}

static dw_status take(subject *s, const char *text, json_t **out, dw_error *err)
{
    s->bytes += strlen(text);
    if (s->bytes > BYTES_MAX) {
        return too_much(err);
    }
    *out = json_loads(text, JSON_ALLOW_NUL, NULL);
    return *out != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for items");
}

/* ---- responses ------------------------------------------------------------------------------ */

static dw_status touch_thread(dw_journal_tx *tx, const char *thread, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, SQL_PUT_THREAD);
    dw_query_text(query, thread);
    dw_query_i64(query, (int64_t)dw_os_wall_ms());
    return dw_query_run(query, err);
}

/* Where its items are found, by which clients refer to them. */
static dw_status put_places(dw_journal_tx *tx, const subject *s, const json_t *items, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < json_array_size(items) && status == DW_OK; i++) {
        const char *id = json_string_value(json_object_get(json_array_get(items, i), "id"));
        if (id == NULL) {
            continue;
        }
        dw_query *query = dw_journal_query(tx, SQL_PUT_PLACE);
        dw_query_text(query, id);
        dw_query_text(query, s->tenant);
        dw_query_text(query, s->id);
        status = dw_query_run(query, err);
    }
    return status;
}

static dw_status put(void *user, dw_journal_tx *tx, dw_error *err)
{
    subject *s = user;
    char thread[128];
    bool found = false;
    (void)snprintf(thread, sizeof thread, "%s", s->id);
    if (s->previous != NULL) {
        dw_query *query = dw_journal_query(tx, SQL_THREAD_OF);
        dw_query_text(query, s->previous);
        dw_query_text(query, s->tenant);
        dw_status status = dw_query_next(query, &found, err);
        if (status != DW_OK) {
            return status;
        }
        if (found) {
            (void)snprintf(thread, sizeof thread, "%s", dw_query_get_text(query, 0));
        }
    }
    dw_query *query = dw_journal_query(tx, SQL_PUT_RESPONSE);
    dw_query_text(query, s->id);
    dw_query_text(query, s->tenant);
    dw_query_text(query, thread);
    dw_query_text(query, s->previous);
    dw_query_text(query, s->body);
    dw_query_text(query, s->input);
    dw_status status = dw_query_run(query, err);
    if (status == DW_OK) {
        status = put_places(tx, s, json_object_get(s->first, "output"), err);
    }
    return status == DW_OK ? touch_thread(tx, thread, err) : status;
}

dw_status dw_archive_put(dw_archive *archive, const dw_archive_response *response, dw_error *err)
{
    subject s = {.tenant = response->tenant,
                 .id = response->id,
                 .previous = response->previous,
                 .first = (json_t *)(uintptr_t)response->body};
    s.body = json_dumps(response->body, JSON_COMPACT);
    s.input = json_dumps(response->input, JSON_COMPACT);
    dw_status status = s.body != NULL && s.input != NULL
                           ? dw_journal_write(archive->journal, put, &s, true, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for a response");
    free(s.body);
    free(s.input);
    return status;
}

/* The response of that id: `previous` of it [128], its texts read. */
static dw_status read_response(dw_journal_tx *tx, subject *s, const char *id, char *previous,
                               dw_error *err)
{
    bool found = false;
    dw_query *query = dw_journal_query(tx, SQL_GET_RESPONSE);
    dw_query_text(query, id);
    dw_query_text(query, s->tenant);
    dw_status status = dw_query_next(query, &found, err);
    if (status == DW_OK && !found) {
        return not_found("Response", id, err);
    }
    if (status == DW_OK) {
        (void)snprintf(previous, 128, "%s", dw_query_get_text(query, 0));
        status = take(s, dw_query_get_text(query, 1), &s->first, err);
    }
    if (status == DW_OK) {
        status = take(s, dw_query_get_text(query, 2), &s->second, err);
    }
    return status;
}

static void forget_read(subject *s)
{
    json_decref(s->first);
    json_decref(s->second);
    s->first = NULL;
    s->second = NULL;
}

static dw_status get(void *user, dw_journal_tx *tx, dw_error *err)
{
    subject *s = user;
    char previous[128];
    forget_read(s);
    s->bytes = 0;
    return read_response(tx, s, s->id, previous, err);
}

dw_status dw_archive_get(dw_archive *archive, const char *tenant, const char *id, json_t **body,
                         json_t **input, dw_error *err)
{
    subject s = {.tenant = tenant, .id = id};
    dw_status status = dw_journal_read(archive->journal, get, &s, err);
    if (status == DW_OK && body != NULL) {
        *body = json_incref(s.first);
    }
    if (status == DW_OK && input != NULL) {
        *input = json_incref(s.second);
    }
    forget_read(&s);
    return status;
}

/* The responses with the items of `ids` from `at` on -> `list`: members, of which each has those
 * ids. Some at a time: others read between. */
static dw_status find_places(void *user, dw_journal_tx *tx, dw_error *err)
{
    subject *s = user;
    dw_status status = DW_OK;
    json_t *ids = (json_t *)(uintptr_t)s->ids;
    for (int i = 0; i < PLACES_AT_ONCE && s->at != NULL; i++) {
        bool found = false;
        const char *item = json_object_iter_key(s->at);
        s->at = json_object_iter_next(ids, s->at);
        dw_query *query = dw_journal_query(tx, SQL_FIND_PLACE);
        dw_query_text(query, item);
        dw_query_text(query, s->tenant);
        status = dw_query_next(query, &found, err);
        if (status != DW_OK) {
            return status;
        }
        if (found) {
            const char *response = dw_query_get_text(query, 0);
            json_t *wanted = json_object_get(s->list, response);
            if (wanted == NULL) {
                wanted = json_object();
                (void)json_object_set_new(s->list, response, wanted);
            }
            (void)json_object_set_new(wanted, item, json_null());
        }
    }
    return status;
}

/* The body alone: a response's input is all of its conversation. None that has gone. */
static dw_status get_body(void *user, dw_journal_tx *tx, dw_error *err)
{
    subject *s = user;
    bool found = false;
    dw_query *query = dw_journal_query(tx, SQL_GET_BODY);
    forget_read(s);
    dw_query_text(query, s->id);
    dw_query_text(query, s->tenant);
    dw_status status = dw_query_next(query, &found, err);
    if (status == DW_OK && found) {
        s->first = json_loads(dw_query_get_text(query, 0), JSON_ALLOW_NUL, NULL);
        status = s->first != NULL ? DW_OK : dw_fail(err, DW_E_MEMORY, "no memory for items");
    }
    return status;
}

/* Those items of the response's answer that are `wanted` -> `items`, counted as they are kept. */
static dw_status keep_wanted(subject *s, const json_t *wanted, json_t *items, dw_error *err)
{
    const json_t *output = json_object_get(s->first, "output");
    for (size_t i = 0; i < json_array_size(output); i++) {
        json_t *item = json_array_get(output, i);
        const char *id = json_string_value(json_object_get(item, "id"));
        if (id == NULL || json_object_get(wanted, id) == NULL) {
            continue;
        }
        s->bytes += json_dumpb(item, NULL, 0, JSON_COMPACT);
        if (s->bytes > BYTES_MAX) {
            return too_much(err);
        }
        (void)json_object_set(items, id, item);
    }
    return DW_OK;
}

dw_status dw_archive_find_items(dw_archive *archive, const char *tenant, const json_t *ids,
                                json_t *items, dw_error *err)
{
    subject s = {.tenant = tenant, .ids = ids, .list = json_object()};
    const char *response = NULL;
    json_t *wanted = NULL;
    dw_status status = DW_OK;
    s.at = json_object_iter((json_t *)(uintptr_t)ids);
    while (status == DW_OK && s.at != NULL) {
        status = dw_journal_read(archive->journal, find_places, &s, err);
    }
    json_object_foreach(s.list, response, wanted)
    {
        s.id = response;
        if (status == DW_OK) { /* each read alone: others read between */
            status = dw_journal_read(archive->journal, get_body, &s, err);
        }
        if (status == DW_OK) {
            status = keep_wanted(&s, wanted, items, err);
        }
    }
    forget_read(&s);
    json_decref(s.list);
    return status;
}

/* Those of the newest response are read first. */
static dw_status get_thread(void *user, dw_journal_tx *tx, dw_error *err)
{
    subject *s = user;
    char at[128];
    char previous[128];
    dw_status status = DW_OK;
    (void)json_array_clear(s->list);
    s->bytes = 0;
    (void)snprintf(at, sizeof at, "%s", s->id);
    for (int i = 0; at[0] != '\0' && status == DW_OK; i++) {
        if (i == THREAD_MAX) {
            return dw_fail(err, DW_E_LIMIT, "a thread of more than %d responses", THREAD_MAX);
        }
        status = read_response(tx, s, at, previous, err);
        if (status == DW_OK) {
            json_t *output = json_object_get(s->first, "output");
            (void)json_array_append_new(
                s->list, json_pack("[O, O]", s->second, output != NULL ? output : json_null()));
        }
        forget_read(s);
        memcpy(at, previous, sizeof at);
    }
    return status;
}

dw_status dw_archive_get_thread(dw_archive *archive, const char *tenant, const char *id,
                                json_t *items, dw_error *err)
{
    subject s = {.tenant = tenant, .id = id, .list = json_array()};
    dw_status status = dw_journal_read(archive->journal, get_thread, &s, err);
    for (size_t i = json_array_size(s.list); i > 0 && status == DW_OK; i--) {
        json_t *pair = json_array_get(s.list, i - 1);
        (void)json_array_extend(items, json_array_get(pair, 0));
        (void)json_array_extend(items, json_array_get(pair, 1));
    }
    json_decref(s.list);
    return status;
}

static dw_status drop(void *user, dw_journal_tx *tx, dw_error *err)
{
    const subject *s = user;
    dw_status status = run(tx, SQL_DROP_RESPONSE, s->id, s->tenant, err);
    if (status == DW_OK && dw_journal_changes(tx) == 0) {
        return not_found("Response", s->id, err);
    }
    return status == DW_OK ? run(tx, SQL_DROP_PLACES, s->id, s->tenant, err) : status;
}

dw_status dw_archive_delete(dw_archive *archive, const char *tenant, const char *id, dw_error *err)
{
    subject s = {.tenant = tenant, .id = id};
    return dw_journal_write(archive->journal, drop, &s, true, err);
}

/* Of what is kept: how many there are, and the one used longest ago. */
typedef struct oldest_of {
    uint32_t count; /* statements */
    uint32_t oldest;
    uint64_t keep;
} oldest_of;

/* The oldest one's id -> id [128]; *found false: there are no more than are kept. */
static dw_status find_oldest(dw_journal_tx *tx, const oldest_of *of, char id[128], bool *found,
                             dw_error *err)
{
    dw_query *query = dw_journal_query(tx, of->count);
    dw_status status = dw_query_next(query, found, err);
    if (status != DW_OK || !*found || (uint64_t)dw_query_get_i64(query, 0) <= of->keep) {
        *found = false;
        return status;
    }
    query = dw_journal_query(tx, of->oldest);
    status = dw_query_next(query, found, err);
    if (status == DW_OK && *found) {
        (void)snprintf(id, 128, "%s", dw_query_get_text(query, 0));
    }
    return status;
}

static dw_status trim_responses(void *user, dw_journal_tx *tx, dw_error *err)
{
    const subject *s = user;
    dw_status status = DW_OK;
    bool more = true;
    for (int i = 0; i < 4 && status == DW_OK && more; i++) {
        char thread[128];
        const oldest_of of = {SQL_COUNT_RESPONSES, SQL_OLDEST_THREAD, s->keep};
        status = find_oldest(tx, &of, thread, &more, err);
        if (status == DW_OK && more) {
            status = run(tx, SQL_DROP_THREAD_PLACES, thread, NULL, err);
        }
        if (status == DW_OK && more) {
            status = run(tx, SQL_DROP_THREAD_RESPONSES, thread, NULL, err);
        }
        if (status == DW_OK && more) {
            status = run(tx, SQL_DROP_THREAD, thread, NULL, err);
        }
    }
    return status;
}

static dw_status trim_conversations(void *user, dw_journal_tx *tx, dw_error *err)
{
    const subject *s = user;
    dw_status status = DW_OK;
    bool more = true;
    for (int i = 0; i < 4 && status == DW_OK && more; i++) {
        char id[128];
        const oldest_of of = {SQL_COUNT_CONVERSATIONS, SQL_OLDEST_CONVERSATION, s->keep};
        status = find_oldest(tx, &of, id, &more, err);
        if (status == DW_OK && more) {
            status = run(tx, SQL_END_CONVERSATION, id, NULL, err);
        }
        if (status == DW_OK && more) {
            status = run(tx, SQL_DROP_ITEMS, id, NULL, err);
        }
    }
    return status;
}

dw_status dw_archive_trim(dw_archive *archive, uint64_t keep, dw_error *err)
{
    subject s = {.keep = keep};
    return dw_journal_write(archive->journal, trim_responses, &s, true, err);
}

/* ---- conversations -------------------------------------------------------------------------- */

static dw_status use_conversation(dw_journal_tx *tx, const char *id, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, SQL_USE_CONVERSATION);
    dw_query_i64(query, (int64_t)dw_os_wall_ms());
    dw_query_text(query, id);
    return dw_query_run(query, err);
}

static dw_status put_conversation(void *user, dw_journal_tx *tx, dw_error *err)
{
    const subject *s = user;
    dw_query *query = dw_journal_query(tx, SQL_PUT_CONVERSATION);
    dw_query_text(query, s->id);
    dw_query_text(query, s->tenant);
    dw_query_text(query, s->body);
    dw_status status = dw_query_run(query, err);
    return status == DW_OK ? use_conversation(tx, s->id, err) : status;
}

dw_status dw_archive_put_conversation(dw_archive *archive, const char *tenant, const char *id,
                                      const json_t *about, dw_error *err)
{
    subject s = {.tenant = tenant, .id = id, .body = json_dumps(about, JSON_COMPACT)};
    dw_status status = s.body != NULL
                           ? dw_journal_write(archive->journal, put_conversation, &s, true, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for a conversation");
    free(s.body);
    return status;
}

static dw_status find_conversation(dw_journal_tx *tx, subject *s, dw_error *err)
{
    bool found = false;
    dw_query *query = dw_journal_query(tx, SQL_GET_CONVERSATION);
    dw_query_text(query, s->id);
    dw_query_text(query, s->tenant);
    dw_status status = dw_query_next(query, &found, err);
    if (status == DW_OK && !found) {
        return not_found("Conversation", s->id, err);
    }
    forget_read(s);
    s->bytes = 0;
    return status == DW_OK ? take(s, dw_query_get_text(query, 0), &s->first, err) : status;
}

static dw_status get_conversation(void *user, dw_journal_tx *tx, dw_error *err)
{
    return find_conversation(tx, user, err);
}

dw_status dw_archive_get_conversation(dw_archive *archive, const char *tenant, const char *id,
                                      json_t **about, dw_error *err)
{
    subject s = {.tenant = tenant, .id = id};
    dw_status status = dw_journal_read(archive->journal, get_conversation, &s, err);
    if (status == DW_OK) {
        *about = json_incref(s.first);
    }
    forget_read(&s);
    return status;
}

static dw_status drop_conversation(void *user, dw_journal_tx *tx, dw_error *err)
{
    const subject *s = user;
    dw_status status = run(tx, SQL_DROP_CONVERSATION, s->id, s->tenant, err);
    if (status == DW_OK && dw_journal_changes(tx) == 0) {
        return not_found("Conversation", s->id, err);
    }
    return status == DW_OK ? run(tx, SQL_DROP_ITEMS, s->id, NULL, err) : status;
}

dw_status dw_archive_trim_conversations(dw_archive *archive, uint64_t keep, dw_error *err)
{
    subject s = {.keep = keep};
    return dw_journal_write(archive->journal, trim_conversations, &s, true, err);
}

dw_status dw_archive_delete_conversation(dw_archive *archive, const char *tenant, const char *id,
                                         dw_error *err)
{
    subject s = {.tenant = tenant, .id = id};
    return dw_journal_write(archive->journal, drop_conversation, &s, true, err);
}

static dw_status add_item(dw_journal_tx *tx, const subject *s, int64_t place, const json_t *item,
                          dw_error *err)
{
    char *text = json_dumps(item, JSON_COMPACT);
    const char *id = json_string_value(json_object_get(item, "id"));
    if (text == NULL || id == NULL) {
        free(text);
        return dw_fail(err, DW_E_MEMORY, "no memory for an item");
    }
    dw_query *query = dw_journal_query(tx, SQL_ADD_ITEM);
    dw_query_text(query, s->id);
    dw_query_i64(query, place);
    dw_query_text(query, id);
    dw_query_text(query, text);
    dw_status status = dw_query_run(query, err);
    free(text);
    return status;
}

static dw_status add_items(void *user, dw_journal_tx *tx, dw_error *err)
{
    subject *s = user;
    bool found = false;
    dw_status status = find_conversation(tx, s, err);
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, SQL_LAST_ITEM);
    dw_query_text(query, s->id);
    status = dw_query_next(query, &found, err);
    int64_t last = status == DW_OK && found ? dw_query_get_i64(query, 0) : 0;
    for (size_t i = 0; i < json_array_size(s->list) && status == DW_OK; i++) {
        status = add_item(tx, s, last + 1 + (int64_t)i, json_array_get(s->list, i), err);
    }
    return status == DW_OK ? use_conversation(tx, s->id, err) : status;
}

dw_status dw_archive_add_items(dw_archive *archive, const char *tenant, const char *id,
                               const json_t *items, dw_error *err)
{
    subject s = {.tenant = tenant, .id = id, .list = (json_t *)(uintptr_t)items};
    dw_status status = dw_journal_write(archive->journal, add_items, &s, true, err);
    forget_read(&s);
    return status;
}

static dw_status get_items(void *user, dw_journal_tx *tx, dw_error *err)
{
    subject *s = user;
    bool more = false;
    (void)json_array_clear(s->list);
    dw_status status = find_conversation(tx, s, err);
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, SQL_GET_ITEMS);
    dw_query_text(query, s->id);
    while ((status = dw_query_next(query, &more, err)) == DW_OK && more) {
        json_t *item = NULL;
        status = take(s, dw_query_get_text(query, 0), &item, err);
        if (status != DW_OK) {
            return status;
        }
        (void)json_array_append_new(s->list, item);
    }
    return status;
}

dw_status dw_archive_get_items(dw_archive *archive, const char *tenant, const char *id,
                               json_t *items, dw_error *err)
{
    subject s = {.tenant = tenant, .id = id, .list = json_array()};
    dw_status status = dw_journal_read(archive->journal, get_items, &s, err);
    if (status == DW_OK) {
        (void)json_array_extend(items, s.list);
    }
    forget_read(&s);
    json_decref(s.list);
    return status;
}

static dw_status drop_item(void *user, dw_journal_tx *tx, dw_error *err)
{
    subject *s = user;
    dw_status status = find_conversation(tx, s, err);
    if (status == DW_OK) {
        status = run(tx, SQL_DROP_ITEM, s->id, s->item, err);
    }
    return status == DW_OK && dw_journal_changes(tx) == 0 ? not_found("Item", s->item, err)
                                                          : status;
}

dw_status dw_archive_delete_item(dw_archive *archive, const char *tenant, const char *id,
                                 const char *item, dw_error *err)
{
    subject s = {.tenant = tenant, .id = id, .item = item};
    dw_status status = dw_journal_write(archive->journal, drop_item, &s, true, err);
    forget_read(&s);
    return status;
}
