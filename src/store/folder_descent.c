/* Who made whom: an actor's ancestors, the nearest first, also those that have ended. */
#include <stdio.h>
#include <string.h>

#include "store/actor_folder_internal.h"

typedef struct descent_search {
    const char *id;
    dw_descent *descent;
} descent_search;

static dw_status read_descent(void *user, dw_journal_tx *tx, dw_error *err)
{
    const descent_search *search = user;
    dw_descent *descent = search->descent;
    dw_actor_row row;
    bool found = false;
    descent->count = 0;
    dw_status status = dw__row_read(tx, search->id, &row, NULL, err);
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_ANCESTORS);
    dw_query_u64(query, dw__id_number(search->id));
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found &&
           descent->count < DW_ANCESTORS_MAX) {
        dw__id_write(descent->ancestors[descent->count++].id, dw_query_get_u64(query, 0));
    }
    descent->depth = row.depth < descent->count ? row.depth : descent->count;
    return status;
}

dw_status dw_actor_folder_read_descent(dw_actor_folder *folder, const char *id, dw_descent *descent,
                                       dw_error *err)
{
    descent_search search = {.id = id, .descent = descent};
    descent->depth = 0;
    descent->count = 0;
    return dw_journal_read(folder->journal, read_descent, &search, err);
}

dw_status dw__descent_add(dw_journal_tx *tx, const char *id, const dw_descent *descent,
                          dw_error *err)
{
    dw_status status = DW_OK;
    for (uint32_t i = 0; i < descent->count && status == DW_OK; i++) {
        dw_query *query = dw_journal_query(tx, DW__SQL_ADD_ANCESTOR);
        dw_query_u64(query, dw__id_number(id));
        dw_query_i64(query, i + 1);
        dw_query_u64(query, dw__id_number(descent->ancestors[i].id));
        status = dw_query_run(query, err);
    }
    return status;
}

void dw_descent_of_child(dw_descent *child, const dw_descent *parent, const char *parent_id,
                         bool from_outside)
{
    uint32_t kept = parent->count < DW_ANCESTORS_MAX ? parent->count : DW_ANCESTORS_MAX - 1;
    memmove(child->ancestors + 1, parent->ancestors, kept * sizeof *child->ancestors);
    (void)snprintf(child->ancestors[0].id, sizeof child->ancestors[0].id, "%s", parent_id);
    child->count = kept + 1;
    child->depth = from_outside ? 0 : parent->depth + 1;
}

const char *dw_descent_head(const dw_descent *descent, const char *id)
{
    return descent->depth > 0 ? descent->ancestors[descent->depth - 1].id : id;
}

typedef struct tree_count {
    const char *head;
    size_t count;
} tree_count;

static dw_status count_tree(void *user, dw_journal_tx *tx, dw_error *err)
{
    tree_count *tree = user;
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_TREE_COUNT);
    dw_query_u64(query, dw__id_number(tree->head));
    dw_status status = dw_query_next(query, &found, err);
    tree->count = found ? (size_t)dw_query_get_i64(query, 0) : 0;
    return status;
}

dw_status dw_actor_folder_count_tree(dw_actor_folder *folder, const char *head, size_t *count,
                                     dw_error *err)
{
    tree_count tree = {.head = head};
    dw_status status = dw_journal_read(folder->journal, count_tree, &tree, err);
    *count = tree.count;
    return status;
}
