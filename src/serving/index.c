#include "serving/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os.h"
#include "base/hash.h"
#include "journal/journal.h"

#define BLOCK ((size_t)64)
#define BLOCKS_MAX ((size_t)65536) /* 4 MiB of text */

struct dw_index {
    dw_journal *journal;
};

enum {
    SQL_ACTORS_OF,
    SQL_IS_THERE,
    SQL_LOOK,
    SQL_ADD_BLOCK,
    SQL_CUT_BLOCKS,
    SQL_CUT_TAIL,
    SQL_PUT,
    SQL_DROP,
    SQL_DROP_BLOCKS,
    SQL_COUNT,
    SQL_OLDEST,
    SQL_PUT_STEADY,
    SQL_GET_STEADY,
    SQL_CUT_STEADY,
    SQL_DROP_STEADY,
    SQL_STATEMENTS,
};

static const char *const statements[SQL_STATEMENTS] = {
    [SQL_ACTORS_OF] = ("SELECT conversation.actor, first, prompt FROM block JOIN conversation ON "
                       "conversation.actor = block.actor WHERE hash = ? AND place = ? "
                       "ORDER BY used DESC LIMIT 16"),
    [SQL_IS_THERE] = "SELECT 1 FROM block WHERE hash = ? AND place = ? LIMIT 1",
    [SQL_LOOK] = "SELECT first FROM conversation WHERE actor = ?",
    [SQL_ADD_BLOCK] = "INSERT OR IGNORE INTO block (hash, place, actor) VALUES (?, ?, ?)",
    [SQL_CUT_BLOCKS] = "DELETE FROM block WHERE actor = ? AND place = ? AND hash <> ?",
    [SQL_CUT_TAIL] = "DELETE FROM block WHERE actor = ? AND place >= ?",
    [SQL_PUT] = ("INSERT OR REPLACE INTO conversation (actor, first, prompt, text, used) "
                 "VALUES (?, ?, ?, ?, ?)"),
    [SQL_DROP] = "DELETE FROM conversation WHERE actor = ?",
    [SQL_DROP_BLOCKS] = "DELETE FROM block WHERE actor = ?",
    [SQL_COUNT] = "SELECT count(*) FROM conversation",
    [SQL_PUT_STEADY] = ("INSERT OR REPLACE INTO steady (key, actor, used, text) VALUES (?, ?, "
                        "(SELECT coalesce(max(used), 0) + 1 FROM steady WHERE actor = ?2), ?)"),
    [SQL_GET_STEADY] = "SELECT text FROM steady WHERE key = ?",
    [SQL_CUT_STEADY] = ("DELETE FROM steady WHERE actor = ?1 AND used <= (SELECT max(used) - 4 "
                        "FROM steady WHERE actor = ?1)"),
    [SQL_DROP_STEADY] = "DELETE FROM steady WHERE actor = ?",
    [SQL_OLDEST] = "SELECT actor FROM conversation ORDER BY used LIMIT 1",
};

/* `first`: where the first prompt of the conversation ends; `prompt`: the last. */
static const char *const upgrades[] = {
    "CREATE TABLE conversation (actor INTEGER PRIMARY KEY, first INTEGER NOT NULL, "
    "prompt INTEGER NOT NULL, text INTEGER NOT NULL, used INTEGER NOT NULL) STRICT;"
    "CREATE INDEX conversation_used ON conversation (used);"
    "CREATE TABLE block (hash INTEGER NOT NULL, place INTEGER NOT NULL, actor INTEGER NOT NULL, "
    "PRIMARY KEY (hash, place, actor)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX block_actor ON block (actor, place);",
    "CREATE TABLE steady (key BLOB PRIMARY KEY, actor INTEGER NOT NULL, used INTEGER NOT NULL, "
    "text TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX steady_actor ON steady (actor, used);",
};

static const dw_journal_schema schema = {
    .what = "file of conversations",
    .application_id = 0x44576376, /* "DWcv" */
    .version = 2,
    .upgrades = upgrades,
    .statements = statements,
    .statement_count = SQL_STATEMENTS,
};

dw_status dw_index_open(dw_index **out, const char *path, dw_error *err)
{
    dw_index *index = dw_alloc(1, sizeof *index);
    dw_journal_options options = {.path = path, .schema = &schema};
    if (index == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for conversations");
    }
    dw_status status = dw_journal_open(&index->journal, &options, err);
    if (status != DW_OK) {
        dw_free(index);
        return status;
    }
    *out = index;
    return DW_OK;
}

void dw_index_close(dw_index *index)
{
    if (index != NULL) {
        dw_journal_close(index->journal);
        dw_free(index);
    }
}

/* ---- hashes --------------------------------------------------------------------------------- */

static uint64_t number_of(const uint8_t digest[DW_HASH128_BYTES])
{
    uint64_t number = 0;
    for (size_t i = 0; i < 8; i++) {
        number = number << 8 | digest[i];
    }
    return number;
}

/* Of the text's beginnings of 1, 2, ... blocks -> hashes [*count]; the caller's. */
static dw_status hash_blocks(const dw_index_text *text, uint64_t **hashes, size_t *count,
                             dw_error *err)
{
    size_t bytes = text->bytes;
    size_t blocks = bytes / BLOCK < BLOCKS_MAX ? bytes / BLOCK : BLOCKS_MAX;
    uint8_t digest[DW_HASH128_BYTES];
    dw_hash128 *hash = dw_hash128_create();
    *hashes = dw_alloc(blocks, sizeof **hashes);
    *count = blocks;
    if (hash == NULL || *hashes == NULL) {
        dw_hash128_destroy(hash);
        return dw_fail(err, DW_E_MEMORY, "no memory to look for a conversation");
    }
    dw_hash128_add(hash, text->scope, strlen(text->scope) + 1);
    for (size_t i = 0; i < blocks; i++) {
        dw_hash128_add(hash, text->text + i * BLOCK, BLOCK);
        dw_hash128_finish(hash, digest);
        (*hashes)[i] = number_of(digest);
    }
    dw_hash128_destroy(hash);
    return DW_OK;
}

static void id_text(char id[DW_ACTOR_ID_CHARS + 1], uint64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    }
    dw_hex(id, bytes, sizeof bytes);
}

static uint64_t id_number(const char *id)
{
    return strtoull(id, NULL, 16);
}

/* ---- looking -------------------------------------------------------------------------------- */

typedef struct search {
    const uint64_t *hashes; /* [count] */
    size_t count;
    size_t bytes; /* of the text */
    dw_index_found *found;
    size_t found_count;
} search;

static dw_status is_there(dw_journal_tx *tx, const search *s, size_t block, bool *found,
                          dw_error *err)
{
    dw_query *query = dw_journal_query(tx, SQL_IS_THERE);
    dw_query_u64(query, s->hashes[block]);
    dw_query_i64(query, (int64_t)block);
    return dw_query_next(query, found, err);
}

/* How many blocks stand there: where one does, all before it do. */
static dw_status deepest(dw_journal_tx *tx, const search *s, size_t *blocks, dw_error *err)
{
    size_t low = 0;
    size_t high = s->count;
    dw_status status = DW_OK;
    while (low < high && status == DW_OK) {
        bool found = false;
        size_t middle = low + (high - low) / 2;
        status = is_there(tx, s, middle, &found, err);
        low = found ? middle + 1 : low;
        high = found ? high : middle;
    }
    *blocks = low;
    return status;
}

static void take(search *s, dw_query *query, size_t common)
{
    uint64_t first = dw_query_get_u64(query, 1);
    uint64_t prompt = dw_query_get_u64(query, 2);
    if (common + BLOCK <= first || s->found_count == DW_INDEX_FOUND_MAX) {
        return; /* another that begins alike: its keys and values are shared without it */
    }
    dw_index_found *found = &s->found[s->found_count++];
    id_text(found->actor, dw_query_get_u64(query, 0));
    found->common = common;
    found->goes_on = common + BLOCK > prompt && s->bytes > prompt;
}

static dw_status look(void *user, dw_journal_tx *tx, dw_error *err)
{
    search *s = user;
    size_t blocks = 0;
    bool more = false;
    s->found_count = 0;
    dw_status status = deepest(tx, s, &blocks, err);
    if (status != DW_OK || blocks == 0) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, SQL_ACTORS_OF);
    dw_query_u64(query, s->hashes[blocks - 1]);
    dw_query_i64(query, (int64_t)blocks - 1);
    while ((status = dw_query_next(query, &more, err)) == DW_OK && more) {
        take(s, query, blocks * BLOCK);
    }
    return status;
}

dw_status dw_index_find(dw_index *index, const dw_index_text *text,
                        dw_index_found found[DW_INDEX_FOUND_MAX], size_t *count, dw_error *err)
{
    uint64_t *hashes = NULL;
    search s = {.bytes = text->bytes, .found = found};
    *count = 0;
    dw_status status = hash_blocks(text, &hashes, &s.count, err);
    if (status == DW_OK) {
        s.hashes = hashes;
        status = dw_journal_read(index->journal, look, &s, err);
    }
    *count = status == DW_OK ? s.found_count : 0;
    dw_free(hashes);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct entry {
    uint64_t actor;
    const uint64_t *hashes; /* [count] */
    size_t count;
    size_t bytes;
    size_t prompt_bytes;
} entry;

/* Blocks of what the actor held before, and holds no more, go. */
static dw_status put_blocks(dw_journal_tx *tx, const entry *e, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < e->count && status == DW_OK; i++) {
        dw_query *query = dw_journal_query(tx, SQL_CUT_BLOCKS);
        dw_query_u64(query, e->actor);
        dw_query_i64(query, (int64_t)i);
        dw_query_u64(query, e->hashes[i]);
        status = dw_query_run(query, err);
        if (status != DW_OK) {
            return status;
        }
        query = dw_journal_query(tx, SQL_ADD_BLOCK);
        dw_query_u64(query, e->hashes[i]);
        dw_query_i64(query, (int64_t)i);
        dw_query_u64(query, e->actor);
        status = dw_query_run(query, err);
    }
    if (status == DW_OK) {
        dw_query *query = dw_journal_query(tx, SQL_CUT_TAIL);
        dw_query_u64(query, e->actor);
        dw_query_i64(query, (int64_t)e->count);
        status = dw_query_run(query, err);
    }
    return status;
}

static dw_status put(void *user, dw_journal_tx *tx, dw_error *err)
{
    const entry *e = user;
    bool found = false;
    uint64_t first = e->prompt_bytes;
    dw_query *query = dw_journal_query(tx, SQL_LOOK);
    dw_query_u64(query, e->actor);
    dw_status status = dw_query_next(query, &found, err);
    if (status == DW_OK && found && dw_query_get_u64(query, 0) < first) {
        first = dw_query_get_u64(query, 0);
    }
    if (status == DW_OK) {
        status = put_blocks(tx, e, err);
    }
    if (status != DW_OK) {
        return status;
    }
    query = dw_journal_query(tx, SQL_PUT);
    dw_query_u64(query, e->actor);
    dw_query_u64(query, first);
    dw_query_u64(query, e->prompt_bytes);
    dw_query_u64(query, e->bytes);
    dw_query_i64(query, (int64_t)dw_os_wall_ms());
    return dw_query_run(query, err);
}

dw_status dw_index_save(dw_index *index, const dw_index_text *text, const char *actor,
                        size_t prompt_bytes, dw_error *err)
{
    uint64_t *hashes = NULL;
    entry e = {.actor = id_number(actor), .bytes = text->bytes, .prompt_bytes = prompt_bytes};
    dw_status status = hash_blocks(text, &hashes, &e.count, err);
    if (status == DW_OK) {
        e.hashes = hashes;
        status = dw_journal_write(index->journal, put, &e, true, err);
    }
    dw_free(hashes);
    return status;
}

static dw_status drop(void *user, dw_journal_tx *tx, dw_error *err)
{
    const uint64_t *actor = user;
    dw_query *query = dw_journal_query(tx, SQL_DROP_BLOCKS);
    dw_query_u64(query, *actor);
    dw_status status = dw_query_run(query, err);
    if (status == DW_OK) {
        query = dw_journal_query(tx, SQL_DROP_STEADY);
        dw_query_u64(query, *actor);
        status = dw_query_run(query, err);
    }
    if (status == DW_OK) {
        query = dw_journal_query(tx, SQL_DROP);
        dw_query_u64(query, *actor);
        status = dw_query_run(query, err);
    }
    return status;
}

dw_status dw_index_drop(dw_index *index, const char *actor, dw_error *err)
{
    uint64_t number = id_number(actor);
    return dw_journal_write(index->journal, drop, &number, true, err);
}

typedef struct surplus {
    uint64_t keep;
    uint64_t actor;
    bool found;
} surplus;

static dw_status find_surplus(void *user, dw_journal_tx *tx, dw_error *err)
{
    surplus *s = user;
    bool more = false;
    s->found = false;
    dw_query *query = dw_journal_query(tx, SQL_COUNT);
    dw_status status = dw_query_next(query, &more, err);
    if (status != DW_OK || !more || (uint64_t)dw_query_get_i64(query, 0) <= s->keep) {
        return status;
    }
    query = dw_journal_query(tx, SQL_OLDEST);
    status = dw_query_next(query, &s->found, err);
    if (status == DW_OK && s->found) {
        s->actor = dw_query_get_u64(query, 0);
    }
    return status;
}

dw_status dw_index_surplus(dw_index *index, uint64_t keep, char actor[DW_ACTOR_ID_CHARS + 1],
                           bool *found, dw_error *err)
{
    surplus s = {.keep = keep};
    dw_status status = dw_journal_read(index->journal, find_surplus, &s, err);
    *found = status == DW_OK && s.found;
    if (*found) {
        id_text(actor, s.actor);
    }
    return status;
}

/* ---- texts by a key ------------------------------------------------------------------------- */

typedef struct steady {
    const uint8_t *key; /* [DW_HASH128_BYTES] */
    uint64_t actor;
    const char *text; /* that is written */
    char *found;      /* that was read */
} steady;

static dw_status put_steady(void *user, dw_journal_tx *tx, dw_error *err)
{
    const steady *s = user;
    dw_query *query = dw_journal_query(tx, SQL_PUT_STEADY);
    dw_query_blob(query, s->key, DW_HASH128_BYTES);
    dw_query_u64(query, s->actor);
    dw_query_text(query, s->text);
    dw_status status = dw_query_run(query, err);
    if (status == DW_OK) {
        query = dw_journal_query(tx, SQL_CUT_STEADY);
        dw_query_u64(query, s->actor);
        status = dw_query_run(query, err);
    }
    return status;
}

dw_status dw_index_put_steady(dw_index *index, const uint8_t *key, const char *actor,
                              const char *text, dw_error *err)
{
    steady s = {.key = key, .actor = id_number(actor), .text = text};
    return dw_journal_write(index->journal, put_steady, &s, true, err);
}

static dw_status get_steady(void *user, dw_journal_tx *tx, dw_error *err)
{
    steady *s = user;
    bool found = false;
    dw_query *query = dw_journal_query(tx, SQL_GET_STEADY);
    dw_query_blob(query, s->key, DW_HASH128_BYTES);
    dw_status status = dw_query_next(query, &found, err);
    dw_free(s->found);
    s->found = status == DW_OK && found ? dw_strdup(dw_query_get_text(query, 0)) : NULL;
    return status;
}

dw_status dw_index_get_steady(dw_index *index, const uint8_t *key, char **text, dw_error *err)
{
    steady s = {.key = key};
    dw_status status = dw_journal_read(index->journal, get_steady, &s, err);
    *text = s.found;
    return status;
}
