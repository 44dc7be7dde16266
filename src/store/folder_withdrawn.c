/* Messages that are in the folder though their senders were told that they failed: where a disk
 * fails so that the file cannot be removed, nothing else can be written either.
 *
 * So what says that the message is withdrawn takes no operation of the disk. A page of the file
 * that says what is tried is mapped before the message is accepted; a mark is set in it. Like all
 * that was written and not synced it outlasts the process, not the system. Whoever opens the folder
 * next removes the message before anything else. One mark is enough: while it is set no other
 * message is accepted that might need it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor/mailbox.h"
#include "base/alloc.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define DIGITS 20 /* of 64 bits */

/* What a mark says: whose message, its number, and when its file was written, by which another one
 * that has got the number since is told apart. */
typedef struct mark {
    dw__withdrawn which;
    uint64_t seconds;
    uint64_t nanoseconds;
} mark;

static void withdrawn_path(const dw_actor_folder *folder, const dw__withdrawn *which,
                           char path[DW_FOLDER_PATH_MAX])
{
    char name[DIGITS + sizeof "-0000000000000000-0000000000000000"];
    (void)snprintf(name, sizeof name, "%012" PRIu64 "-%016d-%016d", which->number, 0, 0);
    dw__folder_mail_path(folder, which->id, name, path);
}

/* "ID NUMBER SECONDS NANOSECONDS\n". */
static bool parse(const char *text, mark *out)
{
    const char *next = text + DW_ACTOR_ID_CHARS;
    if (strlen(text) <= DW_ACTOR_ID_CHARS || *next++ != ' ') {
        return false;
    }
    (void)snprintf(out->which.id, sizeof out->which.id, "%.*s", DW_ACTOR_ID_CHARS, text);
    return dw_actor_id_good(out->which.id) && dw__folder_number(&next, &out->which.number) &&
           *next++ == ' ' && dw__folder_number(&next, &out->seconds) && *next++ == ' ' &&
           dw__folder_number(&next, &out->nanoseconds) && *next == '\n';
}

static bool stat_message(const dw_actor_folder *folder, mark *of)
{
    char path[DW_FOLDER_PATH_MAX];
    struct stat info;
    withdrawn_path(folder, &of->which, path);
    if (stat(path, &info) != 0) {
        return false;
    }
#if defined(__APPLE__)
    const struct timespec written = info.st_mtimespec;
#else
    const struct timespec written = info.st_mtim;
#endif
    of->seconds = (uint64_t)written.tv_sec;
    of->nanoseconds = (uint64_t)written.tv_nsec;
    return true;
}

/* The first byte goes last, and is the first to go: a killed process leaves a mark or none. */
static void set_mark(const dw_actor_folder *folder, const char *text)
{
    volatile char *to = folder->work_page + DW__FOLDER_WORK_BYTES;
    to[0] = '\0';
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    for (size_t i = strlen(text); i > 0; i--) {
        to[i] = text[i];
    }
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    to[0] = text[0];
}

void dw__folder_map_marks(dw_actor_folder *folder)
{
    void *page = NULL;
    const size_t bytes = dw_os_page_bytes();
    DW_ASSERT(folder->work >= 0 && folder->work_page == NULL);
    if (dw_os_reserve(&page, bytes, NULL) != DW_OK) {
        return;
    }
    if (dw_os_commit_shared(page, bytes, folder->work, 0, NULL) != DW_OK) {
        dw_os_unreserve(page, bytes);
        return;
    }
    folder->work_page = page;
    folder->work_guard = dw_file_guard_add(page, bytes, -1);
    set_mark(folder, ""); /* a page that was written to once has its place on the disk */
}

void dw__folder_unmap_marks(dw_actor_folder *folder)
{
    dw_file_guard_remove(folder->work_guard);
    if (folder->work_page != NULL) {
        dw_os_unreserve(folder->work_page, dw_os_page_bytes());
    }
    folder->work_guard = NULL;
    folder->work_page = NULL;
}

void dw__folder_read_withdrawn(dw_actor_folder *folder, const char *text)
{
    mark found;
    mark now;
    if (!parse(text, &found)) {
        return;
    }
    now = found;
    if (stat_message(folder, &now) && now.seconds == found.seconds &&
        now.nanoseconds == found.nanoseconds) {
        folder->withdrawn = found.which;
    }
}

bool dw__folder_is_withdrawn(const dw_actor_folder *folder, const char *id, uint64_t number)
{
    return folder->withdrawn.number == number && strcmp(folder->withdrawn.id, id) == 0;
}

dw_status dw__folder_finish_withdrawal(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    if (folder->withdrawn.id[0] == '\0') {
        return DW_OK;
    }
    withdrawn_path(folder, &folder->withdrawn, path);
    if (unlink(path) != 0 && errno != ENOENT) {
        dw_error why;
        (void)dw__folder_fail("removing", path, &why);
        return dw_fail(err, DW_E_IO, "a message that failed is not gone yet: %s", why.message);
    }
    folder->withdrawn = (dw__withdrawn){.id = ""};
    if (folder->work_page != NULL) {
        set_mark(folder, "");
    }
    return DW_OK;
}

dw_status dw_actor_folder_prepare_withdrawal(dw_actor_folder *folder, dw_error *err)
{
    dw_status status = dw__folder_finish_withdrawal(folder, err);
    return status == DW_OK ? dw__folder_open_work(folder, err) : status;
}

bool dw_actor_folder_withdraw(dw_actor_folder *folder, const char *id,
                              const dw_message_file *message)
{
    char text[DW__FOLDER_WORK_BYTES];
    mark made = {.which = {.number = message->number}};
    DW_ASSERT(message->effect == 0 && !message->aside);
    if (dw_actor_folder_delivered(folder, id, message, NULL) == DW_OK) {
        return true;
    }
    (void)snprintf(made.which.id, sizeof made.which.id, "%s", id);
    if (!stat_message(folder, &made)) {
        return errno == ENOENT;
    }
    if (folder->work_page == NULL) {
        return false;
    }
    (void)snprintf(text, sizeof text, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", id,
                   made.which.number, made.seconds, made.nanoseconds);
    set_mark(folder, text);
    if (dw_file_guard_is_broken(folder->work_guard)) {
        return false;
    }
    folder->withdrawn = made.which;
    (void)dw_os_sync(folder->work); /* for what it is worth, on such a disk */
    return true;
}
