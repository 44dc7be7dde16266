/* What an actor's owner sees of its mail, and does with messages that were set aside. */
#include <inttypes.h>

#include "base/alloc.h"
#include "store/store_internal.h"

/* An actor's messages, for one call. */
typedef struct mail {
    dw_store *store;
    const char *id;
    dw_mail_row *rows; /* [count] */
    size_t count;
} mail;

static dw_status list(mail *all, dw_error *err)
{
    return dw_actor_folder_list_mail(all->store->folder, all->id, &all->rows, &all->count, err);
}

static dw_status find(const mail *all, uint64_t number, const dw_mail_row **found, dw_error *err)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->rows[i].message.number == number) {
            *found = &all->rows[i];
            return DW_OK;
        }
    }
    return dw_fail(err, DW_E_NOT_FOUND, "actor %s: no message %" PRIu64 " waits or was set aside",
                   all->id, number);
}

/* ---- looking ----------------------------------------------------------------------------- */

dw_status dw_store_list_mail(dw_store *store, const char *id,
                             void (*take)(void *user, const dw_runtime_message *message),
                             void *user, dw_error *err)
{
    mail all = {.store = store, .id = id};
    dw_status status = list(&all, err);
    for (size_t i = 0; i < all.count && status == DW_OK; i++) {
        const dw_mail_row *row = &all.rows[i];
        const dw_runtime_message message = {.struct_bytes = sizeof message,
                                            .number = row->message.number,
                                            .from = row->message.from,
                                            .bytes = row->message.bytes,
                                            .set_aside = row->message.aside,
                                            .attempts = row->attempts,
                                            .reason = row->reason};
        take(user, &message);
    }
    dw_free(all.rows);
    return status;
}

dw_status dw_store_read_mail(dw_store *store, const char *id, uint64_t number, dw_write_fn take,
                             void *user, dw_error *err)
{
    mail all = {.store = store, .id = id};
    const dw_mail_row *row = NULL;
    char *content = NULL;
    size_t bytes = 0;
    dw_status status = list(&all, err);
    if (status == DW_OK) {
        status = find(&all, number, &row, err);
    }
    if (status == DW_OK) {
        status = dw_actor_folder_read_message(store->folder, id, number, &content, &bytes, err);
    }
    if (status == DW_OK && take(user, (const unsigned char *)content, bytes) < 0) {
        status = dw_fail(err, DW_E_IO, "message %" PRIu64 ": nobody takes it", number);
    }
    dw_free(content);
    dw_free(all.rows);
    return status;
}

/* ---- dropping and retrying --------------------------------------------------------------- */

typedef dw_status (*mail_action)(const mail *all, const dw_message_row *message, dw_error *err);

static dw_status drop(const mail *all, const dw_message_row *message, dw_error *err)
{
    return dw_actor_folder_drop_message(all->store->folder, all->id, message->number, err);
}

static dw_status retry(const mail *all, const dw_message_row *message, dw_error *err)
{
    return message->aside
               ? dw_actor_folder_retry(all->store->folder, all->id, message->number, NULL, err)
               : dw_fail(err, DW_E_ARG, "message %" PRIu64 " waits; it was not set aside",
                         message->number);
}

static dw_status act_on(const mail *all, uint64_t number, mail_action act, uint64_t *count,
                        dw_error *err)
{
    const dw_mail_row *row = NULL;
    dw_status status = DW_OK;
    if (number != DW_MAIL_ALL) {
        status = find(all, number, &row, err);
        status = status == DW_OK ? act(all, &row->message, err) : status;
        *count = status == DW_OK;
        return status;
    }
    for (size_t i = 0; i < all->count && status == DW_OK; i++) {
        if (all->rows[i].message.aside) {
            status = act(all, &all->rows[i].message, err);
            *count += status == DW_OK;
        }
    }
    return status;
}

static dw_status act_on_mail(dw_store *store, const char *id, uint64_t number, mail_action act,
                             uint64_t *count, dw_error *err)
{
    mail all = {.store = store, .id = id};
    uint64_t done = 0;
    dw_status status = dw__store_enter_to_change(store, err);
    if (status != DW_OK) {
        return status;
    }
    status = list(&all, err);
    if (status == DW_OK) {
        status = act_on(&all, number, act, &done, err);
    }
    dw_free(all.rows);
    dw__store_leave(store);
    if (count != NULL) {
        *count = done;
    }
    return status;
}

dw_status dw_store_drop_mail(dw_store *store, const char *id, uint64_t number, uint64_t *count,
                             dw_error *err)
{
    return act_on_mail(store, id, number, drop, count, err);
}

dw_status dw_store_retry_mail(dw_store *store, const char *id, uint64_t number, uint64_t *count,
                              dw_error *err)
{
    return act_on_mail(store, id, number, retry, count, err);
}
