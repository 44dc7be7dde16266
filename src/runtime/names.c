/* Names of actors, each once in its tenant, and groups of a tenant's actors. Both stand in one
 * table, by tenant and text. Of actors in a folder it has those that are in memory, and is not who
 * decides: names_kept.c. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/name.h"
#include "base/public_struct.h"
#include "runtime/runtime_internal.h"

#define BUCKETS_FIRST 64u

/* An actor in a group. */
struct dw__member {
    dw__named *group;
    dw__record *record;
    struct dw__member *before; /* in the group, by when they joined */
    struct dw__member *after;
    struct dw__member *next; /* of the actor's groups */
};

struct dw__named {
    struct dw__named *next; /* in its bucket */
    uint64_t hash;
    const dw__tenant *tenant;
    dw__record *record;       /* of a name; NULL: it is a group */
    struct dw__member *first; /* of a group */
    struct dw__member *last;
    size_t count;
    char text[DW_NAME_MAX + 1];
};

/* ---- the table ------------------------------------------------------------------------------- */

static uint64_t hash_of(const dw__tenant *tenant, const char *text, bool is_group)
{
    uint64_t hash = dw_hash_of_text(text, strlen(text)) + (is_group ? 1 : 0);
    return hash ^ ((uintptr_t)tenant * UINT64_C(0x9e3779b97f4a7c15));
}

static dw__named **bucket_of(const dw__names *names, uint64_t hash)
{
    return &names->buckets[(hash ^ hash >> 32) & (names->bucket_count - 1)];
}

static dw__named *find(const dw_runtime *runtime, const dw__tenant *tenant, const char *text,
                       bool is_group)
{
    const dw__names *names = &runtime->names;
    uint64_t hash = hash_of(tenant, text, is_group);
    dw__named *named = names->bucket_count > 0 ? *bucket_of(names, hash) : NULL;
    while (named != NULL &&
           (named->hash != hash || named->tenant != tenant || (named->record == NULL) != is_group ||
            strcmp(named->text, text) != 0)) {
        named = named->next;
    }
    return named;
}

static dw_status reserve(dw__names *names, dw_error *err)
{
    if (names->count < names->bucket_count) {
        return DW_OK;
    }
    dw__names grown = {.bucket_count =
                           names->bucket_count > 0 ? names->bucket_count * 2 : BUCKETS_FIRST,
                       .count = names->count};
    grown.buckets = dw_alloc(grown.bucket_count, sizeof(dw__named *));
    if (grown.buckets == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a table of names");
    }
    for (size_t i = 0; i < names->bucket_count; i++) {
        while (names->buckets[i] != NULL) {
            dw__named *moved = names->buckets[i];
            dw__named **bucket = bucket_of(&grown, moved->hash);
            names->buckets[i] = moved->next;
            moved->next = *bucket;
            *bucket = moved;
        }
    }
    dw_free(names->buckets);
    *names = grown;
    return DW_OK;
}

static dw_status add(dw_runtime *runtime, const dw__tenant *tenant, const char *text,
                     dw__record *record, dw__named **out, dw_error *err)
{
    *out = NULL;
    dw_status status = reserve(&runtime->names, err);
    dw__named *named = status == DW_OK ? dw_alloc(1, sizeof *named) : NULL;
    if (named == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a name");
    }
    named->tenant = tenant;
    named->record = record;
    named->hash = hash_of(tenant, text, record == NULL);
    (void)snprintf(named->text, sizeof named->text, "%s", text);
    dw__named **bucket = bucket_of(&runtime->names, named->hash);
    named->next = *bucket;
    *bucket = named;
    runtime->names.count++;
    *out = named;
    return DW_OK;
}

static void remove_named(dw_runtime *runtime, dw__named *named)
{
    dw__named **link = bucket_of(&runtime->names, named->hash);
    while (*link != named) {
        link = &(*link)->next;
    }
    *link = named->next;
    runtime->names.count--;
    dw_free(named);
}

void dw__names_release(dw__names *names)
{
    DW_ASSERT(names->count == 0);
    dw_free(names->buckets);
    *names = (dw__names){.count = 0};
}

/* ---- names ----------------------------------------------------------------------------------- */

static dw_status check_here(const dw_runtime *runtime, const dw__tenant *tenant, const char *name,
                            dw_error *err)
{
    dw_status status = dw_name_check("name", name, err);
    const dw__named *there = status == DW_OK ? find(runtime, tenant, name, false) : NULL;
    return there == NULL ? status
                         : dw_fail(err, DW_E_STATE, "name: '%s' is actor %016" PRIx64 "'s", name,
                                   there->record->id);
}

dw_status dw__name_check(dw_runtime *runtime, const dw__tenant *tenant, const char *name,
                         dw_error *err)
{
    dw_status status = check_here(runtime, tenant, name, err);
    return status == DW_OK && runtime->keeper != NULL
               ? dw__name_check_kept(runtime, tenant, name, err)
               : status;
}

dw_status dw__name_set(dw_runtime *runtime, dw__record *record, const char *name, dw_error *err)
{
    dw__named *made = NULL;
    if (name != NULL) {
        if (strcmp(dw__name_of(record), name) == 0 && name[0] != '\0') {
            return DW_OK;
        }
        dw_status status = check_here(runtime, record->tenant, name, err);
        if (status != DW_OK) {
            return status;
        }
        status = add(runtime, record->tenant, name, record, &made, err);
        if (status != DW_OK) {
            return status;
        }
    }
    if (record->name != NULL) {
        remove_named(runtime, record->name);
    }
    record->name = made;
    return DW_OK;
}

const char *dw__name_of(const dw__record *record)
{
    return record->name != NULL ? record->name->text : "";
}

dw__record *dw__find_name(const dw_runtime *runtime, const dw__tenant *tenant, const char *name)
{
    const dw__named *named = find(runtime, tenant, name, false);
    return named != NULL ? named->record : NULL;
}

dw_status dw__name_find(dw_runtime *runtime, const dw__tenant *tenant, const char *name,
                        uint64_t *id, dw_error *err)
{
    const dw__record *record = dw__find_name(runtime, tenant, name);
    if (record != NULL && record->names_known) {
        *id = record->id;
        return DW_OK;
    }
    if (runtime->keeper != NULL) {
        return dw__name_find_kept(runtime, tenant, name, id, err);
    }
    return dw_fail(err, DW_E_NOT_FOUND, "no actor '%s@%s'", tenant->name, name);
}

const dw__tenant *dw__tenant_before(const dw_runtime *runtime, const char *text, const char *at)
{
    char tenant[DW_TENANT_NAME_MAX + 1];
    size_t bytes = (size_t)(at - text);
    if (bytes >= sizeof tenant) {
        return NULL;
    }
    memcpy(tenant, text, bytes);
    tenant[bytes] = '\0';
    return dw__find_tenant(runtime, tenant);
}

/* "TENANT@NAME"; a name has no '@' in it. */
dw_status dw__find_named(dw_runtime *runtime, const char *text, uint64_t *id, dw_error *err)
{
    const char *at = strrchr(text, '@');
    dw_status status = dw_name_check("name", at + 1, err);
    if (status != DW_OK) {
        return status;
    }
    const dw__tenant *of = dw__tenant_before(runtime, text, at);
    return of != NULL ? dw__name_find(runtime, of, at + 1, id, err)
                      : dw_fail(err, DW_E_NOT_FOUND, "no actor '%.140s'", text);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static struct dw__member **link_of(dw__record *record, const dw__named *group)
{
    struct dw__member **link = &record->groups;
    while (*link != NULL && (*link)->group != group) {
        link = &(*link)->next;
    }
    return link;
}

/* `*link`: among the record's. */
static void leave(dw_runtime *runtime, struct dw__member **link)
{
    struct dw__member *member = *link;
    dw__named *group = member->group;
    *(member->before != NULL ? &member->before->after : &group->first) = member->after;
    *(member->after != NULL ? &member->after->before : &group->last) = member->before;
    *link = member->next;
    member->record->group_count--;
    dw_free(member);
    if (--group->count == 0) {
        remove_named(runtime, group);
    }
}

dw_group_change dw__group_change_of(const dw_runtime *runtime, const char *text, bool joins)
{
    dw_group_change change = {.joins = joins,
                              .groups_max = runtime->own_limits.groups,
                              .members_max = runtime->own_limits.group_members};
    (void)snprintf(change.group, sizeof change.group, "%s", text);
    return change;
}

dw_status dw__group_check(const dw_runtime *runtime, dw__record *record, const char *text,
                          bool joins, dw_error *err)
{
    dw_status status = dw_name_check("group", text, err);
    if (status != DW_OK) {
        return status;
    }
    const dw__named *group = find(runtime, record->tenant, text, true);
    const dw_group_change change = dw__group_change_of(runtime, text, joins);
    const dw_group_look look = {.members = group != NULL ? group->count : 0,
                                .is_in = group != NULL && *link_of(record, group) != NULL,
                                .groups = record->group_count};
    return dw_group_change_check(&change, &look, err);
}

/* Whatever the limits say. Errors: DW_E_MEMORY. */
static dw_status join(dw_runtime *runtime, dw__record *record, const char *text, dw_error *err)
{
    dw__named *group = find(runtime, record->tenant, text, true);
    if (group != NULL && *link_of(record, group) != NULL) {
        return DW_OK;
    }
    struct dw__member *member = dw_alloc(1, sizeof *member);
    if (member == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a group");
    }
    if (group == NULL && add(runtime, record->tenant, text, NULL, &group, err) != DW_OK) {
        dw_free(member);
        return DW_E_MEMORY;
    }
    *member = (struct dw__member){
        .group = group, .record = record, .before = group->last, .next = record->groups};
    *(group->last != NULL ? &group->last->after : &group->first) = member;
    group->last = member;
    group->count++;
    record->groups = member;
    record->group_count++;
    return DW_OK;
}

dw_status dw__group_join(dw_runtime *runtime, dw__record *record, const char *text, dw_error *err)
{
    dw_status status = dw__group_check(runtime, record, text, true, err);
    return status == DW_OK ? join(runtime, record, text, err) : status;
}

dw_status dw__group_leave(dw_runtime *runtime, dw__record *record, const char *text, dw_error *err)
{
    dw_status status = dw__group_check(runtime, record, text, false, err);
    if (status == DW_OK) {
        leave(runtime, link_of(record, find(runtime, record->tenant, text, true)));
    }
    return status;
}

uint64_t dw__group_count(const dw_runtime *runtime, const dw__tenant *tenant, const char *text)
{
    const dw__named *group = find(runtime, tenant, text, true);
    return group != NULL ? group->count : 0;
}

size_t dw__group_members(const dw_runtime *runtime, const dw__tenant *tenant, const char *text,
                         dw__record **members, size_t capacity)
{
    size_t count = 0;
    const dw__named *group = find(runtime, tenant, text, true);
    const struct dw__member *member = group != NULL ? group->first : NULL;
    for (; member != NULL && count < capacity; member = member->after) {
        members[count++] = member->record;
    }
    return count;
}

const char *dw__group_at(const dw__record *record, size_t index)
{
    const struct dw__member *member = record->groups;
    for (size_t i = 0; i < index && member != NULL; i++) {
        member = member->next;
    }
    return member != NULL ? member->group->text : NULL;
}

void dw__names_forget(dw_runtime *runtime, dw__record *record)
{
    while (record->groups != NULL) {
        leave(runtime, &record->groups);
    }
    if (record->name != NULL) {
        remove_named(runtime, record->name);
        record->name = NULL;
    }
}

void dw__names_take(dw_runtime *runtime, dw__record *record, const char *name,
                    const char (*groups)[DW_NAME_MAX + 1], size_t count)
{
    dw_error error;
    bool known = true;
    if (strcmp(dw__name_of(record), name) != 0) {
        dw__named *made = NULL;
        known =
            name[0] == '\0' || add(runtime, record->tenant, name, record, &made, &error) == DW_OK;
        if (record->name != NULL) {
            remove_named(runtime, record->name);
        }
        record->name = made;
    }
    while (record->groups != NULL) {
        leave(runtime, &record->groups);
    }
    for (size_t i = 0; i < count && known; i++) {
        known = join(runtime, record, groups[i], &error) == DW_OK;
    }
    record->names_known = known;
}

/* ---- from outside ---------------------------------------------------------------------------- */

dw_status dw_runtime_set_name(dw_runtime *runtime, const char *id, const char *name, dw_error *err)
{
    dw__record *record = NULL;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (runtime->keeper != NULL) {
        status = dw__name_set_kept(runtime, id, name, err);
    } else {
        status = dw__find_text(runtime, id, &record, err);
        status = status == DW_OK ? dw__name_set(runtime, record, name, err) : status;
    }
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_find(dw_runtime *runtime, const char *tenant, const char *name,
                          char id[DW_ACTOR_ID_CHARS + 1], dw_error *err)
{
    uint64_t number = 0;
    id[0] = '\0';
    dw_status status = dw_name_check("name", name, err);
    if (status == DW_OK) {
        status = dw__enter_open(runtime, err);
    }
    if (status != DW_OK) {
        return status;
    }
    const dw__tenant *of = dw__find_tenant(runtime, tenant != NULL ? tenant : "");
    status = of != NULL ? dw__name_find(runtime, of, name, &number, err)
                        : dw_fail(err, DW_E_NOT_FOUND, "no actor '%.63s@%s'", tenant, name);
    if (status == DW_OK) {
        dw__id_text(id, number);
    }
    dw__leave(runtime, false);
    return status;
}

static dw_status change_group(dw_runtime *runtime, const char *id, const char *group, bool joins,
                              dw_error *err)
{
    dw__record *record = NULL;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (runtime->keeper != NULL) {
        status = dw__group_change_kept(runtime, id, group, joins, err);
        dw__leave(runtime, false);
        return status;
    }
    status = dw__find_text(runtime, id, &record, err);
    if (status == DW_OK) {
        status = joins ? dw__group_join(runtime, record, group, err)
                       : dw__group_leave(runtime, record, group, err);
    }
    dw__leave(runtime, false);
    return status;
}

dw_status dw_runtime_join(dw_runtime *runtime, const char *id, const char *group, dw_error *err)
{
    return change_group(runtime, id, group, true, err);
}

dw_status dw_runtime_quit(dw_runtime *runtime, const char *id, const char *group, dw_error *err)
{
    return change_group(runtime, id, group, false, err);
}

dw_status dw__group_text(const dw_runtime *runtime, const char *text, const dw__tenant **tenant,
                         const char **group, dw_error *err)
{
    const char *at = text != NULL ? strrchr(text, '#') : NULL;
    if (at == NULL) {
        return dw_fail(err, DW_E_ARG, "group: '%.140s', TENANT#GROUP is needed",
                       text != NULL ? text : "(NULL)");
    }
    *group = at + 1;
    dw_status status = dw_name_check("group", at + 1, err);
    if (status == DW_OK) {
        *tenant = dw__tenant_before(runtime, text, at);
        status = *tenant != NULL ? DW_OK : dw_fail(err, DW_E_NOT_FOUND, "no group '%.140s'", text);
    }
    return status;
}

/* In memory alone. */
static dw_status find_group(const dw_runtime *runtime, const char *text, dw__named **group,
                            dw_error *err)
{
    const dw__tenant *of = NULL;
    const char *name = NULL;
    *group = NULL;
    dw_status status = dw__group_text(runtime, text, &of, &name, err);
    if (status == DW_OK) {
        *group = find(runtime, of, name, true);
        status = *group != NULL ? DW_OK : dw_fail(err, DW_E_NOT_FOUND, "no group '%.140s'", text);
    }
    return status;
}

dw_status dw_runtime_list_group(dw_runtime *runtime, const char *group,
                                char (*ids)[DW_ACTOR_ID_CHARS + 1], size_t capacity, size_t *count,
                                dw_error *err)
{
    dw__named *named = NULL;
    *count = 0;
    dw_status status = dw__enter_open(runtime, err);
    if (status != DW_OK) {
        return status;
    }
    if (runtime->keeper != NULL) {
        status =
            dw__group_list_kept(runtime, group, (dw_actor_name *)(void *)ids, capacity, count, err);
        dw__leave(runtime, false);
        return status;
    }
    status = find_group(runtime, group, &named, err);
    if (status == DW_OK) {
        size_t at = 0;
        for (const struct dw__member *m = named->first; m != NULL && at < capacity; m = m->after) {
            dw__id_text(ids[at++], m->record->id);
        }
        *count = named->count;
    }
    dw__leave(runtime, false);
    return status;
}

/* Each member's message is one of its own; the first that is refused says why. */
static dw_status send_to_all(dw_runtime *runtime, const char *text, const dw_request *request,
                             uint64_t *accepted, dw_error *err)
{
    dw__named *group = NULL;
    dw_status status = find_group(runtime, text, &group, err);
    const struct dw__member *m = status == DW_OK ? group->first : NULL;
    for (; m != NULL; m = m->after) {
        dw_error error = {.message = ""};
        dw_status one = dw__send_request(runtime, m->record, request, &error);
        *accepted += one == DW_OK;
        if (one != DW_OK && status == DW_OK) {
            status = dw_fail(err, one, "actor %016" PRIx64 ": %s", m->record->id, error.message);
        }
    }
    return *accepted > 0 ? DW_OK : status;
}

dw_status dw_runtime_send_group(dw_runtime *runtime, const char *group, const dw_request *request,
                                uint64_t *accepted, dw_error *err)
{
    dw_request own;
    uint64_t count = 0;
    dw_status status = dw_struct_read(&own, sizeof own, request, "dw_request", err);
    if (status == DW_OK && own.message == NULL && own.message_bytes > 0) {
        status = dw_fail(err, DW_E_ARG, "dw_request.message: NULL");
    }
    if (status == DW_OK) {
        status = dw__enter_open(runtime, err);
    }
    if (status == DW_OK) {
        status = (runtime->keeper != NULL ? dw__group_send_kept : send_to_all)(runtime, group, &own,
                                                                               &count, err);
        dw__leave(runtime, false);
    }
    if (accepted != NULL) {
        *accepted = count;
    }
    return status;
}
