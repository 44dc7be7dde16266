/* What an actor's owner sees of its mail, and does with messages that were set aside. */
#include <inttypes.h>

#include "base/alloc.h"
#include "store/store_internal.h"

/* An actor's messages, for one call. */
typedef struct mail {
    dw_store *store;
    const char *id;
    dw_message_file *messages; /* [count] */
    size_t count;
} mail;

static dw_status list(mail *all, dw_error *err)
{
    dw_store *store = all->store;
    dw_status status = dw_actor_folder_read_chain(store->folder, all->id, &store->shown, err);
    return status == DW_OK ? dw_actor_folder_list_mail(store->folder, all->id, store->shown.done,
                                                       &all->messages, &all->count, err)
                           : status;
}

static dw_status find(const mail *all, uint64_t number, const dw_message_file **found,
                      dw_error *err)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->messages[i].number == number) {
            *found = &all->messages[i];
            return DW_OK;
        }
    }
    return dw_fail(err, DW_E_NOT_FOUND, "actor %s: no message %" PRIu64 " waits or was set aside",
                   all->id, number);
}

/* ---- looking ----------------------------------------------------------------------------- */

static void attempts_at(const mail *all, const dw_message_file *file, dw_attempts *attempts)
{
    const dw_attempted work = {.kind = DW_ATTEMPTED_MESSAGE, .number = file->number};
    if (!file->aside) {
        dw_actor_folder_get_attempts(all->store->folder, all->id, &work, attempts);
    } else if (dw_actor_folder_why_aside(all->store->folder, all->id, file, attempts, NULL) !=
               DW_OK) {
        *attempts = (dw_attempts){.reason = "it is not known"};
    }
}

dw_status dw_store_list_mail(dw_store *store, const char *id,
                             void (*take)(void *user, const dw_store_message *message), void *user,
                             dw_error *err)
{
    mail all = {.store = store, .id = id};
    dw_status status = list(&all, err);
    for (size_t i = 0; i < all.count && status == DW_OK; i++) {
        const dw_message_file *file = &all.messages[i];
        dw_attempts attempts;
        dw_store_message message = {.struct_bytes = sizeof message,
                                    .number = file->number,
                                    .from = file->from,
                                    .set_aside = file->aside};
        status = dw_actor_folder_message_bytes(store->folder, id, file, &message.bytes, err);
        if (status == DW_OK) {
            attempts_at(&all, file, &attempts);
            message.attempts = attempts.count;
            message.reason = attempts.reason;
            take(user, &message);
        }
    }
    dw_free(all.messages);
    return status;
}

dw_status dw_store_read_mail(dw_store *store, const char *id, uint64_t number, dw_write_fn take,
                             void *user, dw_error *err)
{
    mail all = {.store = store, .id = id};
    const dw_message_file *file = NULL;
    char *content = NULL;
    size_t bytes = 0;
    dw_status status = list(&all, err);
    if (status == DW_OK) {
        status = find(&all, number, &file, err);
    }
    if (status == DW_OK) {
        status = dw_actor_folder_read_message(store->folder, id, file, &content, &bytes, err);
    }
    if (status == DW_OK && take(user, (const unsigned char *)content, bytes) < 0) {
        status = dw_fail(err, DW_E_IO, "message %" PRIu64 ": nobody takes it", number);
    }
    dw_free(content);
    dw_free(all.messages);
    return status;
}

/* ---- dropping and retrying --------------------------------------------------------------- */

typedef dw_status (*mail_action)(const mail *all, const dw_message_file *file, dw_error *err);

static dw_status drop(const mail *all, const dw_message_file *file, dw_error *err)
{
    dw_actor_folder *folder = all->store->folder;
    const dw_attempted work = {.kind = DW_ATTEMPTED_MESSAGE, .number = file->number};
    dw_attempts attempts;
    dw_actor_folder_get_attempts(folder, all->id, &work, &attempts);
    dw_status status = dw_actor_folder_delivered(folder, all->id, file, err);
    /* Its number may be given again. */
    return status == DW_OK && attempts.count > 0
               ? dw_actor_folder_forget_attempts(folder, all->id, err)
               : status;
}

static dw_status retry(const mail *all, const dw_message_file *file, dw_error *err)
{
    return file->aside ? dw_actor_folder_retry(all->store->folder, all->id, file, err)
                       : dw_fail(err, DW_E_ARG, "message %" PRIu64 " waits; it was not set aside",
                                 file->number);
}

static dw_status act_on(const mail *all, uint64_t number, mail_action act, uint64_t *count,
                        dw_error *err)
{
    const dw_message_file *file = NULL;
    dw_status status = DW_OK;
    if (number != DW_MAIL_ALL) {
        status = find(all, number, &file, err);
        status = status == DW_OK ? act(all, file, err) : status;
        *count = status == DW_OK;
        return status;
    }
    for (size_t i = 0; i < all->count && status == DW_OK; i++) {
        if (all->messages[i].aside) {
            status = act(all, &all->messages[i], err);
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
    dw_actor_folder_begin(store->folder, id);
    status = list(&all, err);
    if (status == DW_OK) {
        status = act_on(&all, number, act, &done, err);
    }
    dw_free(all.messages);
    dw_actor_folder_end(store->folder, id);
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
