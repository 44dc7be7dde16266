/* Names and groups of actors in a folder, which says who has a name and who is in a group, also of
 * those that are not in memory; what records say of themselves is read from there after each
 * change, so that it is right whatever changes meanwhile. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/name.h"
#include "runtime/runtime_internal.h"

static dw_status check_open(const dw_runtime *runtime, dw_status status, dw_error *err)
{
    return runtime->closing ? dw_fail(err, DW_E_STATE, "the runtime is being closed") : status;
}

/* ---- what records say ------------------------------------------------------------------------ */

dw_status dw__names_read(dw_runtime *runtime, uint64_t id, dw_error *err)
{
    char text[DW_ACTOR_ID_CHARS + 1];
    dw_status status = DW_OK;
    dw__record *record = dw__find(runtime, id);
    dw__id_text(text, id);
    if (record != NULL) {
        record->names_number = ++runtime->names_number;
    }
    for (bool same = false; record != NULL && !same;) {
        dw_actor_names names;
        uint64_t number = record->names_number;
        dw__lock_scope scope = dw__unlock(runtime);
        status = runtime->keeper->read_names(runtime->keeper->user, text, &names, err);
        dw__lock_again(runtime, scope);
        record = dw__find(runtime, id); /* it may have left memory, and come again */
        same = record != NULL && record->names_number == number;
        if (same && status == DW_OK) {
            dw__names_take(runtime, record, names.name,
                           (const char(*)[DW_NAME_MAX + 1]) names.groups, names.group_count);
        } else if (same) {
            record->names_known = false;
        }
        dw_free(names.groups);
    }
    return status == DW_E_NOT_FOUND ? DW_OK : status;
}

/* What has been changed is changed, whether it can be read or not. */
static void read_again(dw_runtime *runtime, const char *id)
{
    uint64_t number = 0;
    dw_error error;
    (void)dw__id_parse(id, &number);
    if (dw__names_read(runtime, number, &error) != DW_OK) {
        dw__problem(runtime, number, &error);
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

dw_status dw__name_find_kept(dw_runtime *runtime, const dw__tenant *tenant, const char *name,
                             uint64_t *id, dw_error *err)
{
    dw_actor_name found;
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status =
        runtime->keeper->find_name(runtime->keeper->user, tenant->name, name, &found, err);
    dw__lock_again(runtime, scope);
    if (status == DW_E_NOT_FOUND) { /* one that is being made has it already */
        const dw__record *record = dw__find_name(runtime, tenant, name);
        if (record != NULL && record->names_known) {
            *id = record->id;
            status = DW_OK;
        }
    } else if (status == DW_OK) {
        (void)dw__id_parse(found.id, id);
    }
    return check_open(runtime, status, err);
}

dw_status dw__name_check_kept(dw_runtime *runtime, const dw__tenant *tenant, const char *name,
                              dw_error *err)
{
    uint64_t id = 0;
    dw_error error;
    dw_status status = dw__name_find_kept(runtime, tenant, name, &id, &error);
    if (status == DW_OK) {
        return dw_fail(err, DW_E_STATE, "name: '%s' is actor %016" PRIx64 "'s", name, id);
    }
    return status == DW_E_NOT_FOUND ? DW_OK : dw_fail(err, status, "%s", error.message);
}

/* The actor's row; it is in the folder, or is being made. */
static dw_status look(dw_runtime *runtime, const char *id, dw_actor_row *row, dw_error *err)
{
    dw__record *record = NULL;
    dw_status status = dw__look(runtime, id, &record, row, err);
    return status == DW_OK ? dw__check_made(record, err) : status;
}

dw_status dw__name_set_kept(dw_runtime *runtime, const char *id, const char *name, dw_error *err)
{
    dw_actor_row row;
    dw_status status = name != NULL ? dw_name_check("name", name, err) : DW_OK;
    if (status == DW_OK) {
        status = look(runtime, id, &row, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw__lock_scope scope = dw__unlock(runtime);
    status = runtime->keeper->set_name(runtime->keeper->user, row.id, name, err);
    dw__lock_again(runtime, scope);
    if (status == DW_OK) {
        read_again(runtime, row.id);
    }
    return status;
}

/* ---- groups ---------------------------------------------------------------------------------- */

dw_status dw__group_change_kept(dw_runtime *runtime, const char *id, const char *group, bool joins,
                                dw_error *err)
{
    dw_actor_row row;
    dw_status status = dw_name_check("group", group, err);
    if (status == DW_OK) {
        status = look(runtime, id, &row, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_group_change change = dw__group_change_of(runtime, group, joins);
    dw__lock_scope scope = dw__unlock(runtime);
    status = runtime->keeper->change_group(runtime->keeper->user, row.id, &change, err);
    dw__lock_again(runtime, scope);
    if (status == DW_OK) {
        read_again(runtime, row.id);
    }
    return status;
}

dw_status dw__group_look_kept(dw_runtime *runtime, const dw__record *record, const char *group,
                              dw_group_look *how, dw_error *err)
{
    char id[DW_ACTOR_ID_CHARS + 1];
    const char *tenant = record->tenant->name; /* it stays as long as the runtime */
    dw__id_text(id, record->id);
    dw__lock_scope scope = dw__unlock(runtime);
    dw_status status =
        runtime->keeper->look_at_group(runtime->keeper->user, tenant, group, id, how, err);
    dw__lock_again(runtime, scope);
    return check_open(runtime, status, err);
}

dw_status dw__group_list_kept(dw_runtime *runtime, const char *group, dw_actor_name *names,
                              size_t capacity, size_t *count, dw_error *err)
{
    const dw__tenant *of = NULL;
    dw_group_list list = {.names = names, .max = capacity};
    dw_status status = dw__group_text(runtime, group, &of, &list.group, err);
    if (status != DW_OK) {
        return status;
    }
    list.tenant = of->name;
    dw__lock_scope scope = dw__unlock(runtime);
    status = runtime->keeper->list_group(runtime->keeper->user, &list, err);
    dw__lock_again(runtime, scope);
    *count = (size_t)list.members;
    return status != DW_OK || list.members > 0
               ? status
               : dw_fail(err, DW_E_NOT_FOUND, "no group '%.140s'", group);
}

/* Without the lock: all members -> list->names, the caller's to dw_free. */
static dw_status list_all(const dw_runtime *runtime, dw_group_list *list, dw_error *err)
{
    const dw__keeper *keeper = runtime->keeper;
    dw_status status = keeper->list_group(keeper->user, list, err);
    if (status != DW_OK || list->members == 0) {
        return status;
    }
    list->max = (size_t)list->members;
    list->names = dw_alloc(list->max, sizeof *list->names);
    if (list->names == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a group of %zu", list->max);
    }
    return keeper->list_group(keeper->user, list, err);
}

static dw_status send_to_one(dw_runtime *runtime, const char *id, const dw_request *request,
                             dw_error *err)
{
    dw__record *record = NULL;
    dw_status status = dw__reach(runtime, id, &record, err);
    return status == DW_OK ? dw__send_request(runtime, record, request, err) : status;
}

dw_status dw__group_send_kept(dw_runtime *runtime, const char *group, const dw_request *request,
                              uint64_t *accepted, dw_error *err)
{
    const dw__keeper *keeper = runtime->keeper;
    const dw__tenant *of = NULL;
    dw_group_list list = {.names = NULL};
    dw_status status = dw__group_text(runtime, group, &of, &list.group, err);
    if (status != DW_OK) {
        return status;
    }
    list.tenant = of->name;
    dw__lock_scope scope = dw__unlock(runtime);
    status = keeper->check_bytes(keeper->user, err);
    if (status == DW_OK) {
        status = list_all(runtime, &list, err);
    }
    dw__lock_again(runtime, scope);
    if (status == DW_OK && list.count == 0) {
        status = dw_fail(err, DW_E_NOT_FOUND, "no group '%.140s'", group);
    }
    dw_status all = status;
    for (size_t i = 0; i < list.count && all == DW_OK; i++) {
        dw_error error = {.message = ""};
        dw_status one = send_to_one(runtime, list.names[i].id, request, &error);
        *accepted += one == DW_OK;
        if (one != DW_OK && status == DW_OK) {
            status = dw_fail(err, one, "actor %s: %s", list.names[i].id, error.message);
        }
    }
    dw_free(list.names);
    return *accepted > 0 ? DW_OK : status;
}

/* ---- what actors send ------------------------------------------------------------------------ */

/* `asked` is to `name` alone. */
static dw_status address_name(dw_runtime *runtime, const dw__record *record, dw__ask *asked,
                              dw_error *err)
{
    dw_error error;
    dw__enter(runtime);
    dw_status status =
        dw__name_find(runtime, record->tenant, asked->guest + 1, &asked->actor, &error);
    dw__leave(runtime, false);
    if (status == DW_OK) {
        asked->guest[0] = '\0';
    }
    return status == DW_OK || status == DW_E_NOT_FOUND ? DW_OK
                                                       : dw_fail(err, status, "%s", error.message);
}

/* A copy for one of the members, in front of `*link`. */
static dw_status put_copy(dw__ask **link, const dw__ask *asked, const char *id, dw_error *err)
{
    dw__ask *copy = dw_alloc(1, sizeof *copy);
    if (copy == NULL ||
        dw__mail_create(&copy->mail, asked->mail->content, asked->mail->bytes, err) != DW_OK) {
        dw_free(copy);
        return dw_fail(err, DW_E_MEMORY, "no memory for a message to a group");
    }
    copy->kind = asked->kind;
    copy->number = asked->number;
    (void)dw__id_parse(id, &copy->actor);
    copy->mail->from = asked->mail->from;
    copy->mail->cause = asked->mail->cause;
    copy->mail->caused = asked->mail->caused;
    copy->mail->at_ms = asked->mail->at_ms;
    copy->next = *link;
    *link = copy;
    return DW_OK;
}

/* Whether the actor itself is in the group once what it asked for before `asked` is done. */
static bool will_be_in(const dw__turn *turn, const dw__ask *asked, bool is_in)
{
    for (const dw__ask *other = turn->asks; other != asked; other = other->next) {
        bool changes = other->kind == DW_EFFECT_JOIN || other->kind == DW_EFFECT_LEAVE;
        if (changes && strcmp(other->guest, asked->guest + 1) == 0) {
            is_in = other->kind == DW_EFFECT_JOIN;
        }
    }
    return is_in;
}

/* `**link`, to a group, becomes one to each member; `*link`: behind them. */
static dw_status address_group(dw_runtime *runtime, const dw__record *record, dw__ask ***link,
                               dw_error *err)
{
    dw__ask *asked = **link;
    const dw__turn *turn = record->turn;
    dw_group_list list = {.tenant = record->tenant->name, .group = asked->guest + 1};
    bool is_in = false;
    dw_status status = list_all(runtime, &list, err);
    for (size_t i = 0; i < list.count; i++) {
        is_in = is_in || strcmp(list.names[i].id, turn->folder.id) == 0;
    }
    bool own = will_be_in(turn, asked, is_in);
    size_t sent = 0;
    for (size_t i = 0; i < list.count + (own && !is_in) && status == DW_OK; i++) {
        const char *id = i < list.count ? list.names[i].id : turn->folder.id;
        if (own || strcmp(id, turn->folder.id) != 0) {
            status = put_copy(*link, asked, id, err);
            *link = status == DW_OK ? &(**link)->next : *link;
            sent += status == DW_OK;
        }
    }
    dw_free(list.names);
    if (status == DW_OK && sent > 0) {
        **link = asked->next;
        asked->next = NULL;
        dw__free_asks(asked);
    } else if (status == DW_OK) {
        *link = &asked->next;
    }
    return status;
}

dw_status dw__address(dw_runtime *runtime, dw__record *record, dw_error *err)
{
    dw_status status = DW_OK;
    dw__ask **link = &record->turn->asks;
    while (*link != NULL && status == DW_OK) {
        dw__ask *asked = *link;
        if (asked->kind == DW_EFFECT_SEND && asked->guest[0] == '#') {
            status = address_group(runtime, record, &link, err);
            continue;
        }
        if (asked->kind == DW_EFFECT_SEND && asked->guest[0] == '@') {
            status = address_name(runtime, record, asked, err);
        }
        link = &asked->next;
    }
    return status;
}
