/* By what actors are found beside their ids, and the folders that they are granted.
 * Private to src/runtime, and part of runtime_internal.h, which says what holds of its functions.
 */
#ifndef DW_RUNTIME_NAMES_H
#define DW_RUNTIME_NAMES_H

#include "runtime/runtime_internal.h"

/* ---- names.c: of all in memory alone, and those in memory of a folder's ---- */

/* Whether a new actor of the tenant may get it. In a folder the lock is given back meanwhile.
 * Errors: DW_E_ARG, DW_E_STATE (another has it; the runtime closes), DW_E_IO. */
dw_status dw__name_check(dw_runtime *runtime, const dw__tenant *tenant, const char *name,
                         dw_error *err);
/* In memory. `name` NULL: none any more. Errors: DW_E_ARG, DW_E_STATE, DW_E_MEMORY. */
dw_status dw__name_set(dw_runtime *runtime, dw__record *record, const char *name, dw_error *err);
/* "": it has none. */
const char *dw__name_of(const dw__record *record);
/* In memory; NULL: there is none. */
dw__record *dw__find_name(const dw_runtime *runtime, const dw__tenant *tenant, const char *name);
/* Who has it, in memory or not. In a folder the lock may be given back meanwhile. Errors:
 * DW_E_NOT_FOUND, DW_E_STATE (the runtime closes), DW_E_IO. */
dw_status dw__name_find(dw_runtime *runtime, const dw__tenant *tenant, const char *name,
                        uint64_t *id, dw_error *err);
/* Of "TENANT@NAME". Errors: the same, DW_E_ARG. */
dw_status dw__find_named(dw_runtime *runtime, const char *text, uint64_t *id, dw_error *err);
/* "TENANT#GROUP" in its parts, `*group` of the text. Errors: DW_E_ARG, DW_E_NOT_FOUND. */
dw_status dw__group_text(const dw_runtime *runtime, const char *text, const dw__tenant **tenant,
                         const char **group, dw_error *err);
/* The tenant whose name is what of the text is before `at`; NULL: there is none. */
const dw__tenant *dw__tenant_before(const dw_runtime *runtime, const char *text, const char *at);
/* What a change comes to: within the runtime's limits. */
dw_group_change dw__group_change_of(const dw_runtime *runtime, const char *text, bool joins);
/* In memory alone, as the next five: whether it may join a group, or leave it; then do so. Errors:
 * DW_E_ARG, DW_E_LIMIT, DW_E_NOT_FOUND (leaving: it is not in it), DW_E_MEMORY. */
dw_status dw__group_check(const dw_runtime *runtime, dw__record *record, const char *text,
                          bool joins, dw_error *err);
dw_status dw__group_join(dw_runtime *runtime, dw__record *record, const char *text, dw_error *err);
dw_status dw__group_leave(dw_runtime *runtime, dw__record *record, const char *text, dw_error *err);
/* 0: there is no such group of the tenant. */
uint64_t dw__group_count(const dw_runtime *runtime, const dw__tenant *tenant, const char *text);
size_t dw__group_members(const dw_runtime *runtime, const dw__tenant *tenant, const char *text,
                         dw__record **members, size_t capacity);
/* The actor's; NULL: it is in no more than `index`. */
const char *dw__group_at(const dw__record *record, size_t index);
/* What the folder has of it, groups [count] by when it joined. */
void dw__names_take(dw_runtime *runtime, dw__record *record, const char *name,
                    const char (*groups)[DW_NAME_MAX + 1], size_t count);
/* It has no name, and is in no group; or it leaves memory. */
void dw__names_forget(dw_runtime *runtime, dw__record *record);
void dw__names_release(dw__names *names);

/* ---- names_kept.c: of actors in a folder; the lock is given back meanwhile ---- */

/* Errors: DW_E_STATE, DW_E_IO. */
dw_status dw__name_check_kept(dw_runtime *runtime, const dw__tenant *tenant, const char *name,
                              dw_error *err);
/* Errors: DW_E_NOT_FOUND, DW_E_STATE (the runtime closes), DW_E_IO. */
dw_status dw__name_find_kept(dw_runtime *runtime, const dw__tenant *tenant, const char *name,
                             uint64_t *id, dw_error *err);
/* Of dw_runtime_set_name, _join and _quit, _list_group, _send_group. Errors: theirs. */
dw_status dw__name_set_kept(dw_runtime *runtime, const char *id, const char *name, dw_error *err);
dw_status dw__group_change_kept(dw_runtime *runtime, const char *id, const char *group, bool joins,
                                dw_error *err);
dw_status dw__group_list_kept(dw_runtime *runtime, const char *group, dw_actor_name *names,
                              size_t capacity, size_t *count, dw_error *err);
dw_status dw__group_send_kept(dw_runtime *runtime, const char *group, const dw_request *request,
                              uint64_t *accepted, dw_error *err);
/* How many are in a group, whether the actor is, and how many it is in. Errors: DW_E_IO, DW_E_STATE
 * (the runtime closes). */
dw_status dw__group_look_kept(dw_runtime *runtime, const dw__record *record, const char *group,
                              dw_group_look *look, dw_error *err);
/* What the record says of them is what the folder says from now on; nothing where it has none.
 * Errors: DW_E_IO, DW_E_MEMORY, DW_E_NOT_FOUND. */
dw_status dw__names_read(dw_runtime *runtime, uint64_t id, dw_error *err);
/* Without the lock, on a worker: each of the turn's messages to a name or a group is one to an
 * actor, or several. One that nobody has, or a group without members, stays as it is. Errors:
 * DW_E_IO, DW_E_MEMORY. */
dw_status dw__address(dw_runtime *runtime, dw__record *record, dw_error *err);

/* ---- grants.c; without the lock ---- */

/* NULL where there are none. Errors: DW_E_ARG, DW_E_LIMIT, DW_E_MEMORY. */
dw_status dw__folders_create(dw__folders **out, const dw_dir *dirs, size_t count, dw_error *err);
dw__folders *dw__folders_ref(dw__folders *folders); /* NULL is fine, here and below */
void dw__folders_unref(dw__folders *folders);
/* What the tenant grants now, counted; NULL: none. */
dw__folders *dw__tenant_folders(dw_runtime *runtime, const char *name);

#endif
