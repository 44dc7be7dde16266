/* Names of actors, each once in its tenant, and groups of a tenant's actors, as rows. */
#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/array.h"
#include "store/actor_folder_internal.h"

/* ---- names ----------------------------------------------------------------------------------- */

static dw_status read_named(dw_journal_tx *tx, const char *tenant, const char *name, bool *found,
                            uint64_t *id, dw_error *err)
{
    dw_query *query = dw_journal_query(tx, DW__SQL_NAMED);
    dw_query_text(query, tenant);
    dw_query_text(query, name);
    dw_status status = dw_query_next(query, found, err);
    *id = status == DW_OK && *found ? dw_query_get_u64(query, 0) : 0;
    return status;
}

dw_status dw__name_check_free(dw_journal_tx *tx, const char *id, const char *tenant,
                              const char *name, dw_error *err)
{
    bool found = false;
    uint64_t who = 0;
    dw_status status = read_named(tx, tenant, name, &found, &who, err);
    if (status != DW_OK || !found || who == dw__id_number(id)) {
        return status;
    }
    return dw_fail(err, DW_E_STATE, "name: '%s' is actor %016" PRIx64 "'s", name, who);
}

typedef struct naming {
    const char *id;
    const char *name;
} naming;

static dw_status set_name(void *user, dw_journal_tx *tx, dw_error *err)
{
    const naming *n = user;
    dw_actor_row row;
    dw_status status = dw__row_read(tx, n->id, &row, NULL, err);
    if (status == DW_OK && n->name != NULL) {
        status = dw__name_check_free(tx, n->id, row.traits.tenant, n->name, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_SET_NAME);
    dw_query_u64(query, dw__id_number(n->id));
    dw_query_text(query, n->name);
    return dw_query_run(query, err);
}

dw_status dw_actor_folder_set_name(dw_actor_folder *folder, const char *id, const char *name,
                                   dw_error *err)
{
    naming n = {.id = id, .name = name};
    return dw_journal_write(folder->journal, set_name, &n, false, err);
}

typedef struct name_search {
    const char *tenant;
    const char *name;
    bool found;
    uint64_t id;
} name_search;

static dw_status find_name(void *user, dw_journal_tx *tx, dw_error *err)
{
    name_search *search = user;
    return read_named(tx, search->tenant, search->name, &search->found, &search->id, err);
}

dw_status dw_actor_folder_find_name(dw_actor_folder *folder, const char *tenant, const char *name,
                                    dw_actor_name *found, dw_error *err)
{
    name_search search = {.tenant = tenant, .name = name};
    dw_status status = dw_journal_read(folder->journal, find_name, &search, err);
    if (status == DW_OK && !search.found) {
        status = dw_fail(err, DW_E_NOT_FOUND, "no actor '%.63s@%s'", tenant, name);
    }
    dw__id_write(found->id, search.id);
    return status;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static dw_status count_members(dw_journal_tx *tx, const char *tenant, const char *group,
                               uint64_t *members, dw_error *err)
{
    bool found = false;
    dw_query *query = dw_journal_query(tx, DW__SQL_COUNT_MEMBERS);
    dw_query_text(query, tenant);
    dw_query_text(query, group);
    dw_status status = dw_query_next(query, &found, err);
    *members = status == DW_OK && found ? (uint64_t)dw_query_get_i64(query, 0) : 0;
    return status;
}

static dw_status read_look(dw_journal_tx *tx, const char *id, const char *tenant, const char *group,
                           dw_group_look *look, dw_error *err)
{
    bool found = false;
    dw_status status = count_members(tx, tenant, group, &look->members, err);
    if (status == DW_OK) {
        dw_query *query = dw_journal_query(tx, DW__SQL_IS_MEMBER);
        dw_query_u64(query, dw__id_number(id));
        dw_query_text(query, group);
        status = dw_query_next(query, &look->is_in, err);
    }
    if (status == DW_OK) {
        dw_query *query = dw_journal_query(tx, DW__SQL_COUNT_GROUPS_OF);
        dw_query_u64(query, dw__id_number(id));
        status = dw_query_next(query, &found, err);
        look->groups = status == DW_OK && found ? (uint64_t)dw_query_get_i64(query, 0) : 0;
    }
    return status;
}

dw_status dw_group_change_check(const dw_group_change *change, const dw_group_look *look,
                                dw_error *err)
{
    if (!change->joins) {
        return look->is_in
                   ? DW_OK
                   : dw_fail(err, DW_E_NOT_FOUND, "the actor is in no group '%s'", change->group);
    }
    if (!look->is_in && look->groups >= change->groups_max) {
        return dw_fail(err, DW_E_LIMIT,
                       "group '%s': the actor is in %" PRIu64 ", limit %" PRIu64 " (groups)",
                       change->group, look->groups, change->groups_max);
    }
    if (!look->is_in && look->members >= change->members_max) {
        return dw_fail(err, DW_E_LIMIT,
                       "group '%s': %" PRIu64 " actors are in it, limit %" PRIu64
                       " (group_members)",
                       change->group, look->members, change->members_max);
    }
    return DW_OK;
}

static dw_status change_one(dw_journal_tx *tx, const char *id, const dw_group_change *change,
                            dw_error *err)
{
    dw_actor_row row;
    dw_group_look look;
    dw_status status = dw__row_read(tx, id, &row, NULL, err);
    if (status == DW_OK) {
        status = read_look(tx, id, row.traits.tenant, change->group, &look, err);
    }
    if (status == DW_OK) {
        status = dw_group_change_check(change, &look, err);
    }
    if (status != DW_OK || look.is_in == change->joins) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, change->joins ? DW__SQL_JOIN : DW__SQL_LEAVE);
    dw_query_u64(query, dw__id_number(id));
    dw_query_text(query, change->group);
    return dw_query_run(query, err);
}

dw_status dw__group_take(dw_journal_tx *tx, const char *id, dw_group_change *change, dw_error *err)
{
    if (change->skip) {
        return DW_OK;
    }
    change->status = change_one(tx, id, change, &change->problem);
    return change->status == DW_OK || change->status == DW_E_NOT_FOUND ||
                   change->status == DW_E_LIMIT
               ? DW_OK
               : dw_fail(err, change->status, "%s", change->problem.message);
}

typedef struct one_change {
    const char *id;
    const dw_group_change *change;
} one_change;

static dw_status change_work(void *user, dw_journal_tx *tx, dw_error *err)
{
    const one_change *one = user;
    return change_one(tx, one->id, one->change, err);
}

dw_status dw_actor_folder_change_group(dw_actor_folder *folder, const char *id,
                                       dw_group_change *change, dw_error *err)
{
    one_change one = {.id = id, .change = change};
    change->status = dw_journal_write(folder->journal, change_work, &one, false, err);
    return change->status;
}

/* ---- looking --------------------------------------------------------------------------------- */

typedef struct names_search {
    const char *id;
    dw_actor_names *names;
} names_search;

static dw_status read_names(void *user, dw_journal_tx *tx, dw_error *err)
{
    const names_search *search = user;
    dw_actor_names *names = search->names;
    dw_actor_row row;
    bool found = false;
    names->group_count = 0;
    dw_status status = dw__row_read(tx, search->id, &row, NULL, err);
    if (status != DW_OK) {
        return status;
    }
    (void)snprintf(names->name, sizeof names->name, "%s", row.name);
    dw_query *query = dw_journal_query(tx, DW__SQL_GROUPS_OF);
    dw_query_u64(query, dw__id_number(search->id));
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        if (!DW_ARRAY_RESERVE(names->groups, names->group_capacity, names->group_count + 1,
                              SIZE_MAX)) {
            return dw_fail(err, DW_E_MEMORY, "no memory for a list of groups");
        }
        (void)snprintf(names->groups[names->group_count++], sizeof names->groups[0], "%s",
                       dw_query_get_text(query, 0));
    }
    return status;
}

dw_status dw_actor_folder_read_names(dw_actor_folder *folder, const char *id, dw_actor_names *names,
                                     dw_error *err)
{
    names_search search = {.id = id, .names = names};
    *names = (dw_actor_names){.group_count = 0};
    dw_status status = dw_journal_read(folder->journal, read_names, &search, err);
    if (status != DW_OK) {
        dw_free(names->groups);
        *names = (dw_actor_names){.group_count = 0};
    }
    return status;
}

typedef struct group_search {
    const char *tenant;
    const char *group;
    const char *id;
    dw_group_look look;
} group_search;

static dw_status look_at_group(void *user, dw_journal_tx *tx, dw_error *err)
{
    group_search *search = user;
    return read_look(tx, search->id, search->tenant, search->group, &search->look, err);
}

dw_status dw_actor_folder_look_at_group(dw_actor_folder *folder, const char *tenant,
                                        const char *group, const char *id, dw_group_look *look,
                                        dw_error *err)
{
    group_search search = {.tenant = tenant, .group = group, .id = id};
    dw_status status = dw_journal_read(folder->journal, look_at_group, &search, err);
    *look = search.look;
    return status;
}

static dw_status list_group(void *user, dw_journal_tx *tx, dw_error *err)
{
    dw_group_list *list = user;
    bool found = false;
    list->count = 0;
    dw_status status = count_members(tx, list->tenant, list->group, &list->members, err);
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_MEMBERS);
    dw_query_text(query, list->tenant);
    dw_query_text(query, list->group);
    dw_query_i64(query, list->max < INT64_MAX ? (int64_t)list->max : INT64_MAX);
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found) {
        dw__id_write(list->names[list->count++].id, dw_query_get_u64(query, 0));
    }
    return status;
}

dw_status dw_actor_folder_list_group(dw_actor_folder *folder, dw_group_list *list, dw_error *err)
{
    dw_status status = dw_journal_read(folder->journal, list_group, list, err);
    if (status != DW_OK) {
        list->count = 0;
        list->members = 0;
    }
    return status;
}
