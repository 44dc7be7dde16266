/* The tables of a state folder's journal, and the statements on them. Numbers that are unsigned in
 * our structs are stored as such (journal/journal.h): ids, sequences, numbers of messages and
 * effects; sums and times are plain. */
#ifndef DW_STORE_FOLDER_TABLES_H
#define DW_STORE_FOLDER_TABLES_H

#include "journal/journal.h"

#define DW_FOLDER_JOURNAL "journal.db"

typedef enum dw__folder_statement {
    DW__SQL_TOTAL,
    DW__SQL_SET_TAKEN_OVER,
    DW__SQL_SET_FORMER_LEFT,
    /* actors */
    DW__SQL_ACTOR_RANGE,
    DW__SQL_ACTORS_WAITING,
    DW__SQL_ACTORS_TIMED,
    DW__SQL_ACTORS_FROM,
    DW__SQL_NEXT_TIMER,
    DW__SQL_ACTOR,
    DW__SQL_ACTOR_PAGE,
    DW__SQL_ADD_ACTOR,
    DW__SQL_SET_TRAITS,
    DW__SQL_TENANTS,
    DW__SQL_SET_MODULE,
    DW__SQL_SET_STATE,
    DW__SQL_SET_COUNTS,
    DW__SQL_SET_RENEWS,
    DW__SQL_SET_NUMBERED,
    DW__SQL_DROP_ACTOR,
    DW__SQL_MODULE_OF,
    DW__SQL_MODULE_USER,
    DW__SQL_TREE_COUNT,
    DW__SQL_TREE,
    DW__SQL_ANCESTORS,
    DW__SQL_ADD_ANCESTOR,
    /* names and groups */
    DW__SQL_NAMED,
    DW__SQL_SET_NAME,
    DW__SQL_GROUPS_OF,
    DW__SQL_COUNT_GROUPS_OF,
    DW__SQL_IS_MEMBER,
    DW__SQL_MEMBERS,
    DW__SQL_COUNT_MEMBERS,
    DW__SQL_JOIN,
    DW__SQL_LEAVE,
    /* snapshots */
    DW__SQL_SNAPSHOTS,
    DW__SQL_SNAPSHOT_PAGE,
    DW__SQL_ADD_SNAPSHOT,
    DW__SQL_SNAPSHOT,
    DW__SQL_DROP_SNAPSHOT,
    DW__SQL_HAS_SERIES,
    DW__SQL_SERIES,
    DW__SQL_DROP_COVERED,
    DW__SQL_INDEX,
    DW__SQL_ADD_INDEX,
    DW__SQL_DROP_SNAPSHOTS,
    DW__SQL_KEPT,
    DW__SQL_KEEP,
    DW__SQL_UNKEEP,
    /* messages */
    DW__SQL_WAITING,
    DW__SQL_MAIL,
    DW__SQL_CONTENT,
    DW__SQL_HAS_MESSAGE,
    DW__SQL_ADD_MESSAGE,
    DW__SQL_SAME_MESSAGE,
    DW__SQL_DROP_MESSAGE,
    DW__SQL_SET_ASIDE,
    DW__SQL_RETRY,
    DW__SQL_SEEN,
    DW__SQL_ADD_SEEN,
    DW__SQL_DROP_SEEN,
    DW__SQL_PRUNE_SEEN,
    /* attempts */
    DW__SQL_ATTEMPT,
    DW__SQL_NOTE_ATTEMPT,
    DW__SQL_COUNT_ATTEMPT,
    DW__SQL_DROP_ATTEMPT,
    DW__SQL_DROP_ATTEMPTS,
    /* watches */
    DW__SQL_WATCHERS,
    DW__SQL_WATCHED,
    DW__SQL_WATCHES,
    DW__SQL_WATCH,
    DW__SQL_UNWATCH,
    DW__SQL_UNWATCH_ALL,
    DW__SQL_WATCH_LOOK,
    DW__SQL_ENDED,
    DW__SQL_ADD_ENDED,
    DW__SQL_PRUNE_ENDED,
    /* files that no row may name */
    DW__SQL_LOOSE,
    DW__SQL_ADD_LOOSE,
    DW__SQL_DROP_LOOSE,
    DW__SQL_COUNT
} dw__folder_statement;

extern const dw_journal_schema dw_folder_schema;

#endif
