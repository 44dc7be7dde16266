#include "store/folder_tables.h"

/* The first tables. `total` has one row. An actor's `sequence` is of the snapshot that was written
 * last, `done` of the last message in it, `numbered` of the last one that was accepted or set
 * aside; `timer_ms` is when its next timer is due, 0 where that is not known, NULL: none. `inside`
 * counts messages in the actor itself. Triggers keep sums, and take with an actor what is its. */
static const char version_1[] =
    "CREATE TABLE total(actors INTEGER NOT NULL, taken_over INTEGER NOT NULL,"
    " former_left INTEGER NOT NULL) STRICT;"
    "INSERT INTO total VALUES(0, 0, 0);"
    "CREATE TABLE actor(id INTEGER PRIMARY KEY, parent INTEGER, depth INTEGER NOT NULL,"
    " head INTEGER NOT NULL, module TEXT NOT NULL, sequence INTEGER NOT NULL,"
    " done INTEGER NOT NULL, numbered INTEGER NOT NULL, waiting INTEGER NOT NULL DEFAULT 0,"
    " aside INTEGER NOT NULL DEFAULT 0, inside INTEGER NOT NULL DEFAULT 0, timer_ms INTEGER,"
    " tenant TEXT NOT NULL DEFAULT '', name TEXT, priority INTEGER NOT NULL DEFAULT 0,"
    " pinned INTEGER NOT NULL DEFAULT 0, policy TEXT NOT NULL DEFAULT '') STRICT;"
    "CREATE INDEX actor_head ON actor(head);"
    "CREATE INDEX actor_module ON actor(module);"
    "CREATE INDEX actor_timer ON actor(timer_ms) WHERE timer_ms IS NOT NULL;"
    "CREATE INDEX actor_due ON actor(id) WHERE waiting > 0 OR inside > 0;"
    "CREATE UNIQUE INDEX actor_name ON actor(tenant, name) WHERE name IS NOT NULL;"
    "CREATE TABLE ancestor(actor INTEGER NOT NULL, distance INTEGER NOT NULL,"
    " ancestor INTEGER NOT NULL, PRIMARY KEY(actor, distance)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX ancestor_of ON ancestor(ancestor);"
    "CREATE TABLE snapshot(actor INTEGER NOT NULL, sequence INTEGER NOT NULL,"
    " done INTEGER NOT NULL, whole INTEGER NOT NULL, pending INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, PRIMARY KEY(actor, sequence)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE message(actor INTEGER NOT NULL, number INTEGER NOT NULL, sender INTEGER,"
    " effect INTEGER NOT NULL, cause INTEGER NOT NULL, caused INTEGER NOT NULL,"
    " aside INTEGER NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL,"
    " content BLOB NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX message_number ON message(actor, number);"
    "CREATE INDEX message_waiting ON message(actor, number) WHERE aside = 0;"
    "CREATE INDEX message_effect ON message(actor, sender, effect) WHERE sender IS NOT NULL;"
    "CREATE TABLE seen(actor INTEGER NOT NULL, sender INTEGER NOT NULL, effect INTEGER NOT NULL,"
    " PRIMARY KEY(sender, actor, effect)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE attempt(actor INTEGER NOT NULL, kind INTEGER NOT NULL, number INTEGER NOT NULL,"
    " inside INTEGER NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL,"
    " PRIMARY KEY(actor, kind)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE loose(actor INTEGER PRIMARY KEY) STRICT;"
    "CREATE TRIGGER actor_made AFTER INSERT ON actor BEGIN"
    " UPDATE total SET actors = actors + 1; END;"
    "CREATE TRIGGER actor_gone AFTER DELETE ON actor BEGIN"
    " UPDATE total SET actors = actors - 1;"
    " DELETE FROM ancestor WHERE actor = OLD.id;"
    " DELETE FROM snapshot WHERE actor = OLD.id;"
    " DELETE FROM message WHERE actor = OLD.id;"
    " DELETE FROM seen WHERE sender = OLD.id;"
    " DELETE FROM attempt WHERE actor = OLD.id; END;"
    "CREATE TRIGGER message_made AFTER INSERT ON message BEGIN"
    " UPDATE actor SET waiting = waiting + 1 - NEW.aside, aside = aside + NEW.aside"
    " WHERE id = NEW.actor; END;"
    "CREATE TRIGGER message_gone AFTER DELETE ON message BEGIN"
    " UPDATE actor SET waiting = waiting - 1 + OLD.aside, aside = aside - OLD.aside"
    " WHERE id = OLD.actor; END;"
    "CREATE TRIGGER message_moved AFTER UPDATE OF aside ON message BEGIN"
    " UPDATE actor SET waiting = waiting + OLD.aside - NEW.aside,"
    " aside = aside - OLD.aside + NEW.aside WHERE id = NEW.actor; END;";

/* What a runtime grants an actor; those of before may do what a tenant may. `tenant` has how many
 * actors each has. `kept` has freezes that were asked for, each a file. */
static const char version_2[] =
    "ALTER TABLE actor ADD COLUMN capabilities INTEGER NOT NULL DEFAULT 4294967295;"
    "ALTER TABLE actor ADD COLUMN supervision INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE actor ADD COLUMN failures_max INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE tenant(name TEXT PRIMARY KEY, actors INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO tenant SELECT tenant, count(*) FROM actor GROUP BY tenant;"
    "CREATE TABLE kept(actor INTEGER NOT NULL, number INTEGER NOT NULL, done INTEGER NOT NULL,"
    " PRIMARY KEY(actor, number)) STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER tenant_actor_made AFTER INSERT ON actor BEGIN"
    " INSERT OR IGNORE INTO tenant VALUES(NEW.tenant, 0);"
    " UPDATE tenant SET actors = actors + 1 WHERE name = NEW.tenant; END;"
    "CREATE TRIGGER tenant_actor_gone AFTER DELETE ON actor BEGIN"
    " UPDATE tenant SET actors = actors - 1 WHERE name = OLD.tenant;"
    " DELETE FROM kept WHERE actor = OLD.id; END;"
    "CREATE TRIGGER tenant_actor_moved AFTER UPDATE OF tenant ON actor BEGIN"
    " INSERT OR IGNORE INTO tenant VALUES(NEW.tenant, 0);"
    " UPDATE tenant SET actors = actors - 1 WHERE name = OLD.tenant;"
    " UPDATE tenant SET actors = actors + 1 WHERE name = NEW.tenant; END;";

/* Groups of a tenant's actors; `group_size` has how many are in each that has some. An actor's name
 * has been a column from the first. What a runtime has counted of an actor. */
static const char version_3[] =
    "ALTER TABLE actor ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE actor ADD COLUMN counters BLOB NOT NULL DEFAULT x'';"
    "CREATE TABLE member(actor INTEGER NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX member_of ON member(actor, name);"
    "CREATE INDEX member_group ON member(tenant, name);"
    "CREATE TABLE group_size(tenant TEXT NOT NULL, name TEXT NOT NULL, members INTEGER NOT NULL,"
    " PRIMARY KEY(tenant, name)) STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER member_made AFTER INSERT ON member BEGIN"
    " INSERT OR IGNORE INTO group_size VALUES(NEW.tenant, NEW.name, 0);"
    " UPDATE group_size SET members = members + 1 WHERE tenant = NEW.tenant AND name = NEW.name;"
    " END;"
    "CREATE TRIGGER member_gone AFTER DELETE ON member BEGIN"
    " UPDATE group_size SET members = members - 1 WHERE tenant = OLD.tenant AND name = OLD.name;"
    " DELETE FROM group_size WHERE tenant = OLD.tenant AND name = OLD.name AND members = 0; END;"
    "CREATE TRIGGER member_actor_gone AFTER DELETE ON actor BEGIN"
    " DELETE FROM member WHERE actor = OLD.id; END;"
    "CREATE TRIGGER member_actor_moved AFTER UPDATE OF tenant ON actor"
    " WHEN NEW.tenant <> OLD.tenant BEGIN"
    " DELETE FROM member WHERE actor = NEW.id; END;";

/* What a snapshot is, and whether others went with it (folder_chain.c). */
static const char version_4[] = "ALTER TABLE snapshot ADD COLUMN identity TEXT NOT NULL DEFAULT '';"
                                "ALTER TABLE snapshot ADD COLUMN drops INTEGER NOT NULL DEFAULT 0;";

/* When a message was accepted, and when the timers rang of what is tried; numbers of ours, whose 0
 * is SQLite's least. */
static const char version_5[] =
    "ALTER TABLE message ADD COLUMN at_ms INTEGER NOT NULL DEFAULT -9223372036854775808;"
    "ALTER TABLE attempt ADD COLUMN at_ms INTEGER NOT NULL DEFAULT -9223372036854775808;";

/* Who is told of the ends and failures of others: one row an actor that watches and one that is
 * watched. `ended` has those that ended last, of each tenant (folder_watches.c). What messages of
 * the runtime's own are is their `kind`. */
static const char version_6[] =
    "ALTER TABLE message ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE watch(watcher INTEGER NOT NULL, watched INTEGER NOT NULL,"
    " events INTEGER NOT NULL, cause INTEGER NOT NULL, caused INTEGER NOT NULL,"
    " since_ms INTEGER NOT NULL, PRIMARY KEY(watcher, watched)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX watch_of ON watch(watched);"
    "CREATE TRIGGER watch_actor_gone AFTER DELETE ON actor BEGIN"
    " DELETE FROM watch WHERE watcher = OLD.id;"
    " DELETE FROM watch WHERE watched = OLD.id; END;"
    "CREATE TABLE ended(number INTEGER PRIMARY KEY, actor INTEGER NOT NULL,"
    " tenant TEXT NOT NULL, head INTEGER NOT NULL, event INTEGER NOT NULL,"
    " why INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX ended_actor ON ended(actor);"
    "CREATE INDEX ended_tenant ON ended(tenant, number);";

/* Snapshots that are in one file with others. */
static const char version_7[] =
    "ALTER TABLE snapshot ADD COLUMN series INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE snapshot ADD COLUMN start INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE snapshot ADD COLUMN length INTEGER NOT NULL DEFAULT 0;";

/* Whether an actor is to draw other random numbers (dw_actor_counts.renews); NULL: it is not. */
static const char version_8[] = "ALTER TABLE actor ADD COLUMN renews INTEGER;";

/* Of how many snapshots of its series a row is in the place, and what these hold. */
static const char version_9[] =
    "ALTER TABLE snapshot ADD COLUMN covers INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE series_index(actor INTEGER NOT NULL, sequence INTEGER NOT NULL,"
    " content BLOB NOT NULL, PRIMARY KEY(actor, sequence)) STRICT;"
    "CREATE TRIGGER series_index_gone AFTER DELETE ON snapshot WHEN OLD.covers > 0 BEGIN"
    " DELETE FROM series_index WHERE actor = OLD.actor AND sequence = OLD.sequence; END;";

static const char *const upgrades[] = {version_1, version_2, version_3, version_4, version_5,
                                       version_6, version_7, version_8, version_9};

#define ACTOR_COLUMNS                                                                              \
    "id, parent, depth, head, module, sequence, done, numbered, waiting, aside, inside, timer_ms," \
    " tenant, capabilities, priority, supervision, failures_max, pinned, policy,"                  \
    " name, failures, counters, renews"
#define SNAPSHOT_COLUMNS                                                                           \
    "sequence, done, whole, pending, bytes, identity, drops, series, start, length, covers"
#define MESSAGE_COLUMNS                                                                            \
    "number, sender, effect, cause, caused, aside, attempts, reason, length(content), at_ms, kind"

static const char *const statements[DW__SQL_COUNT] = {
    [DW__SQL_TOTAL] = "SELECT actors, taken_over, former_left FROM total",
    [DW__SQL_SET_TAKEN_OVER] = "UPDATE total SET taken_over = 1, former_left = ?1",
    [DW__SQL_SET_FORMER_LEFT] = "UPDATE total SET former_left = 0",
    [DW__SQL_ACTOR_RANGE] = "SELECT min(id), count(*) FROM actor WHERE id BETWEEN ?1 AND ?2",
    [DW__SQL_ACTORS_WAITING] = "SELECT id FROM actor WHERE (waiting > 0 OR inside > 0) AND "
                               "id >= ?1 ORDER BY id LIMIT ?2",
    [DW__SQL_ACTORS_TIMED] = "SELECT id, timer_ms FROM actor WHERE timer_ms IS NOT NULL AND "
                             "timer_ms <= ?1 AND (timer_ms, id) > (?2, ?3) "
                             "ORDER BY timer_ms, id LIMIT ?4",
    [DW__SQL_ACTORS_FROM] = "SELECT id FROM actor WHERE id >= ?1 ORDER BY id LIMIT ?2",
    [DW__SQL_NEXT_TIMER] = "SELECT timer_ms FROM actor WHERE timer_ms IS NOT NULL AND "
                           "timer_ms > ?1 ORDER BY timer_ms LIMIT 1",
    [DW__SQL_ACTOR] = "SELECT " ACTOR_COLUMNS " FROM actor WHERE id = ?1",
    [DW__SQL_ACTOR_PAGE] =
        "SELECT " ACTOR_COLUMNS " FROM actor WHERE id >= ?1 ORDER BY id LIMIT ?2",
    [DW__SQL_ADD_ACTOR] = "INSERT INTO actor(" ACTOR_COLUMNS ") "
                          "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 0, 0, ?8, ?9, ?10, ?11, ?12, "
                          "?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    [DW__SQL_SET_TRAITS] = "UPDATE actor SET tenant = ?2, capabilities = ?3, priority = ?4, "
                           "supervision = ?5, failures_max = ?6, pinned = ?7, policy = ?8 "
                           "WHERE id = ?1",
    [DW__SQL_TENANTS] = "SELECT name, actors FROM tenant WHERE actors > 0",
    [DW__SQL_SET_STATE] = "UPDATE actor SET sequence = ?2, done = ?3, inside = ?4, timer_ms = ?5, "
                          "failures = ifnull(?6, failures), counters = ifnull(?7, counters), "
                          "renews = iif(?6 IS NULL, renews, ?8) WHERE id = ?1",
    [DW__SQL_SET_COUNTS] =
        "UPDATE actor SET failures = ?2, counters = ?3, renews = ?4 WHERE id = ?1",
    [DW__SQL_SET_RENEWS] = "UPDATE actor SET renews = max(ifnull(renews, ?2), ?2) WHERE id = ?1",
    [DW__SQL_SET_MODULE] = "UPDATE actor SET module = ?2 WHERE id = ?1",
    [DW__SQL_KEPT] = "SELECT number FROM kept WHERE actor = ?1 ORDER BY number",
    [DW__SQL_KEEP] = "INSERT INTO kept VALUES(?1, ?2, ?3)",
    [DW__SQL_UNKEEP] = "DELETE FROM kept WHERE actor = ?1 AND number <= ?2",
    [DW__SQL_SET_NUMBERED] = "UPDATE actor SET numbered = ?2 WHERE id = ?1",
    [DW__SQL_DROP_ACTOR] = "DELETE FROM actor WHERE id = ?1",
    [DW__SQL_MODULE_OF] = "SELECT module FROM actor WHERE id = ?1",
    [DW__SQL_MODULE_USER] = "SELECT 1 FROM actor WHERE module = ?1 OR module = '' LIMIT 1",
    [DW__SQL_NAMED] = "SELECT id FROM actor WHERE tenant = ?1 AND name = ?2",
    [DW__SQL_SET_NAME] = "UPDATE actor SET name = ?2 WHERE id = ?1",
    [DW__SQL_GROUPS_OF] = "SELECT name FROM member WHERE actor = ?1 ORDER BY rowid",
    [DW__SQL_COUNT_GROUPS_OF] = "SELECT count(*) FROM member WHERE actor = ?1",
    [DW__SQL_IS_MEMBER] = "SELECT 1 FROM member WHERE actor = ?1 AND name = ?2",
    [DW__SQL_MEMBERS] =
        "SELECT actor FROM member WHERE tenant = ?1 AND name = ?2 ORDER BY rowid LIMIT ?3",
    [DW__SQL_COUNT_MEMBERS] = "SELECT members FROM group_size WHERE tenant = ?1 AND name = ?2",
    [DW__SQL_JOIN] = "INSERT INTO member(actor, tenant, name) SELECT id, tenant, ?2 FROM actor "
                     "WHERE id = ?1",
    [DW__SQL_LEAVE] = "DELETE FROM member WHERE actor = ?1 AND name = ?2",
    [DW__SQL_TREE_COUNT] = "SELECT count(*) FROM actor WHERE head = ?1 AND id <> ?1",
    [DW__SQL_TREE] = "SELECT id FROM actor WHERE id = ?1 UNION SELECT actor FROM ancestor "
                     "WHERE ancestor = ?1 ORDER BY 1",
    [DW__SQL_ANCESTORS] = "SELECT ancestor FROM ancestor WHERE actor = ?1 ORDER BY distance",
    [DW__SQL_ADD_ANCESTOR] = "INSERT INTO ancestor VALUES(?1, ?2, ?3)",
    [DW__SQL_SNAPSHOTS] = "SELECT " SNAPSHOT_COLUMNS " FROM snapshot "
                          "WHERE actor = ?1 ORDER BY sequence",
    [DW__SQL_SNAPSHOT_PAGE] = "SELECT " SNAPSHOT_COLUMNS ", actor FROM snapshot "
                              "WHERE actor >= ?1 ORDER BY actor, sequence",
    [DW__SQL_ADD_SNAPSHOT] = "INSERT INTO snapshot VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
                             "?10, ?11, ?12)",
    [DW__SQL_SNAPSHOT] = "SELECT " SNAPSHOT_COLUMNS " FROM snapshot "
                         "WHERE actor = ?1 AND sequence = ?2",
    [DW__SQL_DROP_SNAPSHOT] = "DELETE FROM snapshot WHERE actor = ?1 AND sequence = ?2",
    [DW__SQL_HAS_SERIES] = "SELECT 1 FROM snapshot WHERE actor = ?1 AND series = ?2 LIMIT 1",
    [DW__SQL_SERIES] = "SELECT " SNAPSHOT_COLUMNS " FROM snapshot "
                       "WHERE actor = ?1 AND series = ?2 ORDER BY sequence",
    [DW__SQL_DROP_COVERED] =
        "DELETE FROM snapshot WHERE actor = ?1 AND series = ?2 AND sequence <= ?3",
    [DW__SQL_INDEX] = "SELECT content FROM series_index WHERE actor = ?1 AND sequence = ?2",
    [DW__SQL_ADD_INDEX] = "INSERT INTO series_index VALUES(?1, ?2, ?3)",
    [DW__SQL_DROP_SNAPSHOTS] = "DELETE FROM snapshot WHERE actor = ?1",
    [DW__SQL_WAITING] = "SELECT " MESSAGE_COLUMNS " FROM message "
                        "WHERE actor = ?1 AND aside = 0 ORDER BY number LIMIT ?2",
    [DW__SQL_MAIL] = "SELECT " MESSAGE_COLUMNS " FROM message WHERE actor = ?1 ORDER BY number",
    [DW__SQL_CONTENT] = "SELECT content FROM message WHERE actor = ?1 AND number = ?2",
    [DW__SQL_HAS_MESSAGE] = "SELECT 1 FROM message WHERE actor = ?1 AND number = ?2",
    [DW__SQL_ADD_MESSAGE] =
        "INSERT INTO message VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    [DW__SQL_SAME_MESSAGE] =
        "SELECT 1 FROM message WHERE actor = ?1 AND sender = ?2 AND effect = ?3",
    [DW__SQL_DROP_MESSAGE] = "DELETE FROM message WHERE actor = ?1 AND number = ?2",
    [DW__SQL_SET_ASIDE] = "UPDATE message SET aside = 1, attempts = ?3, reason = ?4 "
                          "WHERE actor = ?1 AND number = ?2",
    [DW__SQL_RETRY] = "UPDATE message SET number = ?3, cause = ?4, caused = ?4, aside = 0, "
                      "attempts = 0, reason = '' WHERE actor = ?1 AND number = ?2 AND aside = 1",
    [DW__SQL_SEEN] = "SELECT 1 FROM seen WHERE sender = ?1 AND actor = ?2 AND effect = ?3",
    [DW__SQL_ADD_SEEN] = "INSERT OR IGNORE INTO seen VALUES(?1, ?2, ?3)",
    [DW__SQL_DROP_SEEN] = "DELETE FROM seen WHERE sender = ?1",
    [DW__SQL_PRUNE_SEEN] = "DELETE FROM seen WHERE sender NOT IN (SELECT actor.id FROM actor "
                           "JOIN snapshot ON snapshot.actor = actor.id AND "
                           "snapshot.sequence = actor.sequence WHERE snapshot.pending = 1)",
    [DW__SQL_ATTEMPT] = "SELECT number, inside, count, reason, at_ms FROM attempt "
                        "WHERE actor = ?1 AND kind = ?2",
    [DW__SQL_NOTE_ATTEMPT] = "INSERT OR REPLACE INTO attempt VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [DW__SQL_COUNT_ATTEMPT] =
        "INSERT INTO attempt VALUES(?1, ?2, ?3, ?4, 1, ?5, ?6) ON CONFLICT(actor, kind) DO UPDATE "
        "SET "
        "count = iif(number = excluded.number AND inside = excluded.inside, count, 0) + 1, "
        "number = excluded.number, inside = excluded.inside, reason = excluded.reason, "
        "at_ms = excluded.at_ms",
    [DW__SQL_DROP_ATTEMPT] = "DELETE FROM attempt WHERE actor = ?1 AND kind = ?2 AND number = ?3",
    [DW__SQL_DROP_ATTEMPTS] = "DELETE FROM attempt WHERE actor = ?1",
    [DW__SQL_WATCHERS] =
        "SELECT w.watcher, w.events, w.cause, w.caused, w.since_ms, a.tenant FROM watch w "
        "JOIN actor a ON a.id = w.watcher WHERE w.watched = ?1 AND "
        "(?2 = 0 OR (w.events & ?2) <> 0) ORDER BY w.watcher",
    [DW__SQL_WATCHED] = "SELECT 1 FROM watch WHERE watched = ?1 AND (events & ?2) <> 0 LIMIT 1",
    [DW__SQL_WATCHES] = "SELECT watched, events FROM watch WHERE watcher = ?1 ORDER BY watched",
    [DW__SQL_WATCH] = "INSERT INTO watch VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET "
                      "events = excluded.events, cause = excluded.cause, "
                      "caused = excluded.caused, since_ms = excluded.since_ms",
    [DW__SQL_UNWATCH] = "DELETE FROM watch WHERE watcher = ?1 AND watched = ?2",
    [DW__SQL_UNWATCH_ALL] = "DELETE FROM watch WHERE watcher = ?1",
    [DW__SQL_WATCH_LOOK] = "SELECT (SELECT count(*) FROM watch WHERE watcher = ?1), "
                           "(SELECT count(*) FROM watch WHERE watched = ?2), "
                           "EXISTS(SELECT 1 FROM watch WHERE watcher = ?1 AND watched = ?2)",
    [DW__SQL_ENDED] = "SELECT tenant, head, event, why, status, reason FROM ended "
                      "WHERE actor = ?1",
    [DW__SQL_ADD_ENDED] = "INSERT OR REPLACE INTO ended(actor, tenant, head, event, why, status, "
                          "reason) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    /* With every 64th, those tenants' of the last 64: no walk along an index for each. */
    [DW__SQL_PRUNE_ENDED] =
        "DELETE FROM ended WHERE number IN (SELECT e.number FROM (SELECT DISTINCT tenant FROM "
        "ended WHERE number > (SELECT max(number) - 64 * (max(number) % 64 = 0) FROM ended)) AS t "
        "JOIN ended AS e ON e.tenant = t.tenant WHERE e.number <= (SELECT number FROM ended "
        "WHERE tenant = t.tenant ORDER BY number DESC LIMIT 1 OFFSET ?1))",
    [DW__SQL_LOOSE] = "SELECT actor FROM loose ORDER BY actor",
    [DW__SQL_ADD_LOOSE] = "INSERT OR IGNORE INTO loose VALUES(?1)",
    [DW__SQL_DROP_LOOSE] = "DELETE FROM loose WHERE actor = ?1",
};

const dw_journal_schema dw_folder_schema = {
    .what = "state folder",
    .application_id = 0x44776f64, /* "Dwod" */
    .version = sizeof upgrades / sizeof upgrades[0],
    .upgrades = upgrades,
    .statements = statements,
    .statement_count = DW__SQL_COUNT,
};
