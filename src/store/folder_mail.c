/* Messages as files: accepted, listed, delivered, and remembered where they may be sent again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor/mailbox.h"
#include "base/array.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define MESSAGE_BYTES_MAX ((size_t)UINT32_MAX)
#define OUTSIDE "0000000000000000" /* stands for FROM */
#define DELIVERED ".delivered-"
#define ASIDE "aside-"
#define WHY_ASIDE ".aside-"
#define WHY_NAME_BYTES sizeof WHY_ASIDE "18446744073709551615"

/* ---- names and paths --------------------------------------------------------------------- */

static void message_name(char name[DW__MESSAGE_NAME_BYTES], const dw_message_file *message)
{
    int length = snprintf(name, DW__MESSAGE_NAME_BYTES, "%s%012" PRIu64 "-%s-%016" PRIx64,
                          message->aside ? ASIDE : "", message->number,
                          message->from[0] != '\0' ? message->from : OUTSIDE, message->effect);
    DW_ASSERT(length > 0 && (size_t)length < DW__MESSAGE_NAME_BYTES);
    if (message->cause != 0) {
        size_t rest = DW__MESSAGE_NAME_BYTES - (size_t)length;
        int more = snprintf(name + length, rest, "-%016" PRIx64 "-%" PRIu64, message->cause,
                            message->caused);
        DW_ASSERT(more > 0 && (size_t)more < rest);
    }
}

/* "-CAUSE-COUNT" or nothing. */
static bool parse_cause(const char *text, dw_message_file *message)
{
    int length = 0;
    message->cause = 0;
    message->caused = 0;
    if (*text == '\0') {
        return true;
    }
    if (sscanf(text, "-%16" SCNx64 "-%n", &message->cause, &length) != 1 || length == 0) {
        return false;
    }
    text += length;
    return dw__folder_number(&text, &message->caused) && *text == '\0';
}

/* The reverse of message_name. */
static bool parse_message_name(const char *name, dw_message_file *message)
{
    int length = 0;
    const char *next = name;
    message->aside = strncmp(name, ASIDE, sizeof ASIDE - 1) == 0;
    next += message->aside ? sizeof ASIDE - 1 : 0;
    if (!dw__folder_number(&next, &message->number) ||
        sscanf(next, "-%16[0-9a-f]-%16" SCNx64 "%n", message->from, &message->effect, &length) !=
            2 ||
        length == 0 || !dw_actor_id_good(message->from) || !parse_cause(next + length, message)) {
        return false;
    }
    if (strcmp(message->from, OUTSIDE) == 0) {
        message->from[0] = '\0';
    }
    char again[DW__MESSAGE_NAME_BYTES]; /* the name is made of these when the file is read */
    message_name(again, message);
    return strcmp(name, again) == 0;
}

/* "PREFIX ID-NUMBER-FROM-EFFECT" without the blank; `*rest` is what stands behind the prefix. */
static bool parse_delivered_name(const char *name, const char *prefix, dw_message_file *message,
                                 const char **rest)
{
    size_t length = strlen(prefix);
    size_t start = length + DW_ACTOR_ID_CHARS + 1;
    if (strncmp(name, prefix, length) != 0 || strlen(name) <= start) {
        return false;
    }
    *rest = name + length;
    return parse_message_name(name + start, message);
}

void dw__folder_mail_path(const dw_actor_folder *folder, const char *id, const char *name,
                          char path[DW_FOLDER_PATH_MAX])
{
    char mail[DW_ACTOR_ID_CHARS + sizeof "/" DW__FOLDER_MAIL];
    (void)snprintf(mail, sizeof mail, "%.*s/" DW__FOLDER_MAIL, DW_ACTOR_ID_CHARS, id);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, mail, name);
}

static void message_path(const dw_actor_folder *folder, const char *id,
                         const dw_message_file *message, char path[DW_FOLDER_PATH_MAX])
{
    char name[DW__MESSAGE_NAME_BYTES];
    message_name(name, message);
    dw__folder_mail_path(folder, id, name, path);
}

/* The message as one that is remembered: what is known of it when it is sent again. */
static dw_message_file delivered_of(const dw_message_file *message)
{
    dw_message_file delivered = {.effect = message->effect};
    memcpy(delivered.from, message->from, sizeof delivered.from);
    return delivered;
}

/* Where a delivered message is remembered that would outlive its receiver. */
static void delivered_path(const dw_actor_folder *folder, const char *id,
                           const dw_message_file *message, char path[DW_FOLDER_PATH_MAX])
{
    char name[DW__MESSAGE_NAME_BYTES];
    char whole[sizeof DELIVERED "-" + DW_ACTOR_ID_CHARS + DW__MESSAGE_NAME_BYTES];
    const dw_message_file delivered = delivered_of(message);
    message_name(name, &delivered);
    (void)snprintf(whole, sizeof whole, DELIVERED "%s-%s", id, name);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, whole, NULL);
}

/* ---- messages that wait ------------------------------------------------------------------ */

typedef struct message_list {
    dw_message_file *items; /* [count] */
    size_t count;
    size_t capacity;
    const dw_actor_folder *folder;
    const char *id;
} message_list;

/* Earlier programs wrote messages beside their place. */
static void remove_left_over(const message_list *list, const char *name)
{
    static const char end[] = ".part";
    char path[DW_FOLDER_PATH_MAX];
    size_t length = strlen(name);
    if (!list->folder->read_only && length > sizeof end &&
        strcmp(name + length - (sizeof end - 1), end) == 0) {
        dw__folder_mail_path(list->folder, list->id, name, path);
        (void)unlink(path);
    }
}

static dw_status take_name(void *user, const char *name, dw_error *err)
{
    message_list *list = user;
    dw_message_file message;
    if (!parse_message_name(name, &message)) {
        remove_left_over(list, name);
        return DW_OK;
    }
    if (!DW_ARRAY_RESERVE(list->items, list->capacity, list->count + 1, SIZE_MAX)) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of messages");
    }
    list->items[list->count++] = message;
    return DW_OK;
}

static int compare_messages(const void *left, const void *right)
{
    uint64_t a = ((const dw_message_file *)left)->number;
    uint64_t b = ((const dw_message_file *)right)->number;
    return a < b ? -1 : a > b;
}

/* All messages in the actor's mail in order, delivered ones and those set aside as well;
 * list->items is the caller's, also on failure. */
static dw_status list_mail(const dw_actor_folder *folder, const char *id, message_list *list,
                           dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    list->folder = folder;
    list->id = id;
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, DW__FOLDER_MAIL);
    dw_status status = dw__folder_each(path, take_name, list, err);
    if (status == DW_OK && list->count > 0) {
        qsort(list->items, list->count, sizeof *list->items, compare_messages);
    }
    return status;
}

static bool same_effect(const dw_message_file *left, const dw_message_file *right)
{
    return left->effect == right->effect && strcmp(left->from, right->from) == 0;
}

/* The number for a new message, beyond all that the actor had or has; 0: it has this one. */
static dw_status find_number(dw_actor_folder *folder, const char *id,
                             const dw_message_file *message, uint64_t mail_max, uint64_t *number,
                             dw_error *err)
{
    uint64_t waiting = 0;
    message_list list = {.count = 0};
    dw_snapshot_chain *chain = dw_alloc(1, sizeof *chain);
    if (chain == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of snapshots");
    }
    dw_status status = dw_actor_folder_read_chain(folder, id, chain, err);
    if (status != DW_OK) {
        goto out;
    }
    uint64_t last = chain->done;
    status = list_mail(folder, id, &list, err);
    if (status != DW_OK) {
        goto out;
    }
    for (size_t i = 0; i < list.count; i++) {
        if (message->effect != 0 && same_effect(&list.items[i], message)) {
            *number = 0;
            goto out;
        }
        waiting += list.items[i].aside || list.items[i].number > chain->done;
        last = list.items[i].number > last ? list.items[i].number : last;
    }
    if (waiting >= mail_max) {
        status = dw_fail(err, DW_E_BUSY,
                         "actor %s: %" PRIu64 " messages wait or were set aside, limit %" PRIu64
                         " (mail)",
                         id, waiting, mail_max);
        goto out;
    }
    *number = last + 1;
    if (last == UINT64_MAX) {
        status = dw_fail(err, DW_E_LIMIT, "actor %s: %" PRIu64 " messages, which is the limit", id,
                         last);
    }
out:
    dw_free(list.items);
    dw_free(chain);
    return status;
}

dw_status dw_actor_folder_accept(dw_actor_folder *folder, const char *id, dw_message_file *message,
                                 const dw_mail_content *content, uint64_t mail_max, dw_error *err)
{
    char mail[DW_FOLDER_PATH_MAX];
    char path[DW_FOLDER_PATH_MAX];
    uint64_t number = 0;
    dw_status status = find_number(folder, id, message, mail_max, &number, err);
    if (status != DW_OK || number == 0) {
        return status;
    }
    message->number = number;
    dw__folder_join(folder, mail, DW__FOLDER_ACTORS, id, DW__FOLDER_MAIL);
    message_path(folder, id, message, path);
    return dw__folder_write_file(folder, mail, path, content->bytes, content->count, err);
}

/* What is not done; with what was set aside for its owner, and else without, and what is done is
 * removed then. */
static dw_status list_waiting(dw_actor_folder *folder, const char *id, uint64_t done,
                              bool for_owner, message_list *list, dw_error *err)
{
    size_t kept = 0;
    dw_status status = list_mail(folder, id, list, err);
    if (status != DW_OK) {
        dw_free(list->items);
        *list = (message_list){.count = 0};
        return status;
    }
    for (size_t i = 0; i < list->count; i++) {
        const dw_message_file item = list->items[i];
        if (dw__folder_is_withdrawn(folder, id, item.number)) {
            continue;
        }
        if (item.aside ? for_owner : item.number > done) {
            list->items[kept++] = item;
        } else if (!item.aside && !for_owner && !folder->read_only) {
            (void)dw_actor_folder_delivered(folder, id, &item, NULL);
        }
    }
    list->count = kept;
    return DW_OK;
}

dw_status dw_actor_folder_list_messages(dw_actor_folder *folder, const char *id, uint64_t done,
                                        dw_message_file **messages, size_t *count, dw_error *err)
{
    message_list list = {.count = 0};
    dw_status status = dw__folder_is_withdrawn(folder, id, folder->withdrawn.number)
                           ? dw__folder_finish_withdrawal(folder, err)
                           : DW_OK;
    if (status == DW_OK) {
        status = list_waiting(folder, id, done, false, &list, err);
    }
    *messages = list.items;
    *count = list.count;
    return status;
}

dw_status dw_actor_folder_list_mail(dw_actor_folder *folder, const char *id, uint64_t done,
                                    dw_message_file **messages, size_t *count, dw_error *err)
{
    message_list list = {.count = 0};
    dw_status status = list_waiting(folder, id, done, true, &list, err);
    *messages = list.items;
    *count = list.count;
    return status;
}

dw_status dw_actor_folder_message_bytes(dw_actor_folder *folder, const char *id,
                                        const dw_message_file *message, uint64_t *bytes,
                                        dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    struct stat info;
    message_path(folder, id, message, path);
    *bytes = 0;
    if (stat(path, &info) != 0) {
        return dw__folder_fail("reading", path, err);
    }
    *bytes = (uint64_t)info.st_size;
    return DW_OK;
}

dw_status dw_actor_folder_read_message(dw_actor_folder *folder, const char *id,
                                       const dw_message_file *message, char **content,
                                       size_t *bytes, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    message_path(folder, id, message, path);
    return dw_os_read_file(path, MESSAGE_BYTES_MAX, content, bytes, err);
}

/* ---- messages that were delivered -------------------------------------------------------- */

static void why_name(char name[WHY_NAME_BYTES], uint64_t number)
{
    (void)snprintf(name, WHY_NAME_BYTES, WHY_ASIDE "%012" PRIu64, number);
}

static void forget_why(const dw_actor_folder *folder, const char *id, uint64_t number)
{
    char name[WHY_NAME_BYTES];
    char path[DW_FOLDER_PATH_MAX];
    why_name(name, number);
    dw__folder_mail_path(folder, id, name, path);
    (void)unlink(path);
}

/* Whether the actor's effects may be carried out a second time: its newest snapshot is pending. */
static bool effects_may_repeat(dw_actor_folder *folder, const char *id)
{
    dw_snapshot_chain *chain = dw_alloc(1, sizeof *chain);
    if (chain == NULL) {
        return true; /* unknown */
    }
    dw_status status = dw_actor_folder_read_chain(folder, id, chain, NULL);
    bool may = status == DW_OK ? chain->pending : status != DW_E_NOT_FOUND;
    dw_free(chain);
    return may;
}

/* Whether the message may be sent a second time. An actor does not repeat messages to itself: it
 * works on nothing before its effects are carried out. */
static bool may_repeat(dw_actor_folder *folder, const char *id, const dw_message_file *message)
{
    return message->from[0] != '\0' && strcmp(message->from, id) != 0 &&
           effects_may_repeat(folder, message->from);
}

dw_status dw_actor_folder_delivered(dw_actor_folder *folder, const char *id,
                                    const dw_message_file *message, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char kept_path[DW_FOLDER_PATH_MAX];
    const dw_message_file kept = delivered_of(message);
    message_path(folder, id, message, path);
    message_path(folder, id, &kept, kept_path);
    int result = may_repeat(folder, id, message) ? rename(path, kept_path) : unlink(path);
    if (message->aside && result == 0) {
        forget_why(folder, id, message->number);
    }
    if (result == 0 || errno == ENOENT) {
        return DW_OK;
    }
    folder->left_over = true;
    return dw__folder_fail("removing", path, err);
}

bool dw_actor_folder_was_delivered(dw_actor_folder *folder, const char *id,
                                   const dw_message_file *message)
{
    char path[DW_FOLDER_PATH_MAX];
    delivered_path(folder, id, message, path);
    return access(path, F_OK) == 0;
}

dw_status dw__folder_keep_delivered(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char kept[DW_FOLDER_PATH_MAX];
    message_list list = {.count = 0};
    bool any = false;
    dw_status status = list_mail(folder, id, &list, err);
    if (status == DW_E_NOT_FOUND) { /* it was never published, or is no more */
        status = DW_OK;
        goto out;
    }
    for (size_t i = 0; i < list.count && status == DW_OK; i++) {
        if (!may_repeat(folder, id, &list.items[i])) {
            continue;
        }
        message_path(folder, id, &list.items[i], path);
        delivered_path(folder, id, &list.items[i], kept);
        any = true;
        if (link(path, kept) != 0 && errno != EEXIST && rename(path, kept) != 0) {
            status = dw__folder_fail("renaming", path, err);
        }
    }
    if (status == DW_OK && any) {
        dw__folder_join(folder, path, DW__FOLDER_ACTORS, NULL, NULL);
        status = dw__folder_sync(path, err);
    }
out:
    dw_free(list.items);
    return status;
}

dw_status dw__folder_clean_delivered(dw_actor_folder *folder, const char *name, dw_error *err)
{
    dw_message_file message;
    const char *rest = NULL;
    char path[DW_FOLDER_PATH_MAX];
    bool old = parse_delivered_name(name, DW__FOLDER_FORMER_DELIVERED, &message, &rest);
    if (!old && !parse_delivered_name(name, DELIVERED, &message, &rest)) {
        return DW_OK;
    }
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, name, NULL);
    if (!effects_may_repeat(folder, message.from)) {
        (void)unlink(path);
    } else if (old) {
        char fresh_name[sizeof DELIVERED "-" + DW_ACTOR_ID_CHARS + DW__MESSAGE_NAME_BYTES];
        char fresh[DW_FOLDER_PATH_MAX];
        (void)snprintf(fresh_name, sizeof fresh_name, DELIVERED "%s", rest);
        dw__folder_join(folder, fresh, DW__FOLDER_ACTORS, fresh_name, NULL);
        if (rename(path, fresh) != 0) {
            return dw__folder_fail("renaming", path, err);
        }
    }
    return DW_OK;
}

/* ---- messages that were set aside -------------------------------------------------------- */

static dw_status sync_mail(const dw_actor_folder *folder, const char *id, dw_error *err)
{
    char mail[DW_FOLDER_PATH_MAX];
    dw__folder_join(folder, mail, DW__FOLDER_ACTORS, id, DW__FOLDER_MAIL);
    return dw__folder_sync(mail, err);
}

static dw_status rename_message(const dw_actor_folder *folder, const char *id,
                                const dw_message_file *from, const dw_message_file *to,
                                dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char fresh[DW_FOLDER_PATH_MAX];
    message_path(folder, id, from, path);
    message_path(folder, id, to, fresh);
    if (rename(path, fresh) != 0) {
        return dw__folder_fail("renaming", path, err);
    }
    dw_status status = sync_mail(folder, id, err);
    /* As with files that are written: taken back, or done. */
    return status != DW_OK && rename(fresh, path) != 0 ? DW_OK : status;
}

dw_status dw_actor_folder_set_aside(dw_actor_folder *folder, const char *id,
                                    const dw_message_file *message, const dw_attempts *why,
                                    dw_error *err)
{
    char name[WHY_NAME_BYTES];
    dw_message_file aside = *message;
    aside.aside = true;
    why_name(name, message->number);
    dw_status status = dw__attempts_write(folder, id, name, why, err);
    return status == DW_OK ? rename_message(folder, id, message, &aside, err) : status;
}

/* The message in the actor's state that was set aside for the same reason; 0: none was. */
static uint64_t find_own_aside(const dw_actor_folder *folder, const char *id,
                               const message_list *list, const dw_attempted *work)
{
    for (size_t i = 0; i < list->count; i++) {
        char name[WHY_NAME_BYTES];
        dw_attempts why;
        why_name(name, list->items[i].number);
        if (list->items[i].aside && dw__attempts_read(folder, id, name, &why, NULL) == DW_OK &&
            dw__same_attempted(&why.work, work)) {
            return list->items[i].number;
        }
    }
    return 0;
}

dw_status dw_actor_folder_set_own_aside(dw_actor_folder *folder, const char *id,
                                        const dw_message *message, const dw_attempts *why,
                                        uint64_t *number, dw_error *err)
{
    char mail[DW_FOLDER_PATH_MAX];
    char path[DW_FOLDER_PATH_MAX];
    char name[WHY_NAME_BYTES];
    message_list list = {.count = 0};
    dw_message_file file = {.aside = true};
    dw_status status = list_mail(folder, id, &list, err);
    *number = status == DW_OK ? find_own_aside(folder, id, &list, &why->work) : 0;
    dw_free(list.items);
    if (status != DW_OK || *number != 0) {
        return status;
    }
    (void)snprintf(file.from, sizeof file.from, "%s", message->actor);
    status = find_number(folder, id, &file, UINT64_MAX, &file.number, err);
    if (status != DW_OK) {
        return status;
    }
    why_name(name, file.number);
    status = dw__attempts_write(folder, id, name, why, err);
    if (status != DW_OK) {
        return status;
    }
    *number = file.number;
    dw__folder_join(folder, mail, DW__FOLDER_ACTORS, id, DW__FOLDER_MAIL);
    message_path(folder, id, &file, path);
    return dw__folder_write_file(folder, mail, path, message->content, message->bytes, err);
}

dw_status dw_actor_folder_why_aside(dw_actor_folder *folder, const char *id,
                                    const dw_message_file *message, dw_attempts *why, dw_error *err)
{
    char name[WHY_NAME_BYTES];
    why_name(name, message->number);
    return dw__attempts_read(folder, id, name, why, err);
}

dw_status dw_actor_folder_retry(dw_actor_folder *folder, const char *id,
                                const dw_message_file *message, dw_error *err)
{
    dw_message_file again = *message;
    const dw_message_file any = {.effect = 0};
    again.aside = false;
    again.cause = 0; /* its owner, from outside, lets it begin anew */
    again.caused = 0;
    dw_status status = find_number(folder, id, &any, UINT64_MAX, &again.number, err);
    if (status == DW_OK) {
        status = rename_message(folder, id, message, &again, err);
    }
    if (status == DW_OK) {
        forget_why(folder, id, message->number);
    }
    return status;
}

typedef struct reason_search {
    dw_actor_folder *folder;
    const char *id;
    const message_list *messages;
} reason_search;

static dw_status clean_reason(void *user, const char *name, dw_error *err)
{
    const reason_search *search = user;
    uint64_t number = 0;
    const char *next = name + sizeof WHY_ASIDE - 1;
    (void)err;
    if (strncmp(name, WHY_ASIDE, sizeof WHY_ASIDE - 1) != 0 || !dw__folder_number(&next, &number)) {
        return DW_OK;
    }
    for (size_t i = 0; i < search->messages->count; i++) {
        if (search->messages->items[i].aside && search->messages->items[i].number == number) {
            return DW_OK;
        }
    }
    forget_why(search->folder, search->id, number);
    return DW_OK;
}

void dw__folder_clean_reasons(dw_actor_folder *folder, const char *id)
{
    char mail[DW_FOLDER_PATH_MAX];
    message_list list = {.count = 0};
    reason_search search = {.folder = folder, .id = id, .messages = &list};
    if (list_mail(folder, id, &list, NULL) == DW_OK) {
        dw__folder_join(folder, mail, DW__FOLDER_ACTORS, id, DW__FOLDER_MAIL);
        (void)dw__folder_each(mail, clean_reason, &search, NULL);
    }
    dw_free(list.items);
}
