/* How often what an actor works on was tried, so that a message which never ends, traps or kills
 * its process is not tried for ever.
 *
 * Before an attempt its actor and message are written over the same bytes of a file that stays
 * open: a process that is killed leaves them there. So an attempt that goes well syncs nothing;
 * what failed once is worth a synced file each time. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actor/mailbox.h"
#include "base/alloc.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define ATTEMPTS ".attempts"
#define WORK_FILE DW_FOLDER_TMP "work"
#define WORK_BYTES DW__FOLDER_WORK_BYTES
#define RECORD_BYTES_MAX (128 + DW_ATTEMPT_REASON_BYTES)

bool dw__same_attempted(const dw_attempted *left, const dw_attempted *right)
{
    return left->kind == right->kind && left->number == right->number &&
           left->inside == right->inside;
}

/* ---- as text ------------------------------------------------------------------------------- */

/* "m 17 0" at `*text`, which is moved behind it. */
static bool parse_work(const char **text, dw_attempted *work)
{
    const char *next = *text;
    const char kind = *next;
    if ((kind != DW_ATTEMPTED_MESSAGE && kind != DW_ATTEMPTED_OWN_MESSAGE &&
         kind != DW_ATTEMPTED_EFFECT) ||
        *++next != ' ') {
        return false;
    }
    next++;
    work->kind = (dw_attempted_kind)kind;
    if (!dw__folder_number(&next, &work->number) || *next++ != ' ' ||
        !dw__folder_number(&next, &work->inside)) {
        return false;
    }
    *text = next;
    return true;
}

dw_status dw__attempts_write(dw_actor_folder *folder, const char *id, const char *name,
                             const dw_attempts *attempts, dw_error *err)
{
    char text[RECORD_BYTES_MAX];
    char mail[DW_FOLDER_PATH_MAX];
    char path[DW_FOLDER_PATH_MAX];
    int length = snprintf(text, sizeof text, "%c %" PRIu64 " %" PRIu64 " %" PRIu32 "\n%s",
                          (char)attempts->work.kind, attempts->work.number, attempts->work.inside,
                          attempts->count, attempts->reason);
    DW_ASSERT(length > 0 && (size_t)length < sizeof text);
    dw__folder_join(folder, mail, DW__FOLDER_ACTORS, id, DW__FOLDER_MAIL);
    dw__folder_mail_path(folder, id, name, path);
    return dw__folder_write_file(folder, mail, path, text, (size_t)length, err);
}

static bool parse_record(const char *text, dw_attempts *attempts)
{
    uint64_t count;
    const char *next = text;
    if (!parse_work(&next, &attempts->work) || *next++ != ' ' ||
        !dw__folder_number(&next, &count) || *next++ != '\n' || count > UINT32_MAX) {
        return false;
    }
    attempts->count = (uint32_t)count;
    (void)snprintf(attempts->reason, sizeof attempts->reason, "%s", next);
    return true;
}

dw_status dw__attempts_read(const dw_actor_folder *folder, const char *id, const char *name,
                            dw_attempts *attempts, dw_error *err)
{
    char text[RECORD_BYTES_MAX + 1] = "";
    char path[DW_FOLDER_PATH_MAX];
    *attempts = (dw_attempts){.count = 0};
    dw__folder_mail_path(folder, id, name, path);
    int fd = dw_os_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0) {
        return dw__folder_fail("reading", path, err);
    }
    ssize_t got = pread(fd, text, RECORD_BYTES_MAX, 0);
    dw_status status = got >= 0 ? DW_OK : dw__folder_fail("reading", path, err);
    dw_os_close(fd);
    if (status == DW_OK && !parse_record(text, attempts)) {
        *attempts = (dw_attempts){.count = 0};
        status = dw_fail(err, DW_E_FORMAT, "%.150s: no record of attempts", path);
    }
    return status;
}

/* ---- under way ----------------------------------------------------------------------------- */

dw_status dw__folder_open_work(dw_actor_folder *folder, dw_error *err)
{
    static const char none[2 * WORK_BYTES];
    char path[DW_FOLDER_PATH_MAX];
    if (folder->work >= 0) {
        return DW_OK;
    }
    dw__folder_join(folder, path, WORK_FILE, NULL, NULL);
    folder->work = dw_os_open(path, O_RDWR | O_CREAT, 0600);
    if (folder->work < 0) {
        return dw__folder_fail("making", path, err);
    }
    dw_status status = dw_os_write_at(folder->work, 0, none, sizeof none, err);
    if (status != DW_OK) {
        dw_os_close(folder->work);
        folder->work = -1;
        return status;
    }
    dw__folder_map_marks(folder);
    return DW_OK;
}

static dw_status write_work(dw_actor_folder *folder, const char *text, dw_error *err)
{
    char whole[WORK_BYTES] = "";
    dw_status status = dw__folder_open_work(folder, err);
    if (status != DW_OK) {
        return status;
    }
    DW_ASSERT(strlen(text) < sizeof whole);
    (void)snprintf(whole, sizeof whole, "%s", text);
    return dw_os_write_at(folder->work, 0, whole, sizeof whole, err);
}

dw_status dw_actor_folder_try(dw_actor_folder *folder, const char *id, const dw_attempted *work,
                              dw_error *err)
{
    char text[WORK_BYTES];
    (void)snprintf(text, sizeof text, "%s %c %" PRIu64 " %" PRIu64 "\n", id, (char)work->kind,
                   work->number, work->inside);
    return write_work(folder, text, err);
}

void dw_actor_folder_tried(dw_actor_folder *folder)
{
    (void)write_work(folder, "", NULL);
}

void dw__folder_end_attempts(dw_actor_folder *folder)
{
    char path[DW_FOLDER_PATH_MAX];
    if (folder->work < 0) {
        return;
    }
    dw__folder_unmap_marks(folder);
    dw_os_close(folder->work);
    if (dw__folder_finish_withdrawal(folder, NULL) == DW_OK) { /* else the file tells of it */
        dw__folder_join(folder, path, WORK_FILE, NULL, NULL);
        (void)unlink(path);
    }
}

/* Whether the message that a process was killed at is one that it had done. */
static bool is_done(dw_actor_folder *folder, const char *id, const dw_attempted *work)
{
    dw_snapshot_chain *chain =
        work->kind == DW_ATTEMPTED_MESSAGE ? dw_alloc(1, sizeof *chain) : NULL;
    bool done = chain != NULL && dw_actor_folder_read_chain(folder, id, chain, NULL) == DW_OK &&
                chain->done >= work->number;
    dw_free(chain);
    return done;
}

static void count_left_attempt(dw_actor_folder *folder, char id[WORK_BYTES + 1])
{
    dw_attempted work;
    dw_attempts attempts;
    if (strlen(id) <= DW_ACTOR_ID_CHARS || id[DW_ACTOR_ID_CHARS] != ' ') {
        return;
    }
    id[DW_ACTOR_ID_CHARS] = '\0';
    const char *next = id + DW_ACTOR_ID_CHARS + 1;
    if (!dw_actor_folder_has(folder, id) || !parse_work(&next, &work) ||
        is_done(folder, id, &work) ||
        (work.kind == DW_ATTEMPTED_MESSAGE && dw__folder_is_withdrawn(folder, id, work.number))) {
        return;
    }
    dw_actor_folder_get_attempts(folder, id, &work, &attempts);
    if (dw_actor_folder_note_attempt(folder, id, &attempts, "the process ended in the middle of it",
                                     NULL) != DW_OK) {
        memcpy(folder->left_id, id, sizeof folder->left_id);
        folder->left = attempts;
    }
}

dw_status dw__folder_read_work(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char tried[WORK_BYTES + 1] = "";
    char withdrawn[WORK_BYTES + 1] = "";
    dw__folder_join(folder, path, WORK_FILE, NULL, NULL);
    int fd = dw_os_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0) {
        return errno == ENOENT || folder->read_only ? DW_OK : dw__folder_fail("reading", path, err);
    }
    bool read_well =
        pread(fd, tried, WORK_BYTES, 0) >= 0 && pread(fd, withdrawn, WORK_BYTES, WORK_BYTES) >= 0;
    dw_status status = read_well ? DW_OK : dw__folder_fail("reading", path, err);
    dw_os_close(fd);
    if (status != DW_OK) {
        return status;
    }
    dw__folder_read_withdrawn(folder, withdrawn);
    if (folder->read_only) {
        return DW_OK;
    }
    count_left_attempt(folder, tried);
    return dw__folder_finish_withdrawal(folder, err);
}

/* ---- failed -------------------------------------------------------------------------------- */

void dw_actor_folder_get_attempts(dw_actor_folder *folder, const char *id, const dw_attempted *work,
                                  dw_attempts *attempts)
{
    if (dw__attempts_read(folder, id, ATTEMPTS, attempts, NULL) == DW_OK &&
        dw__same_attempted(&attempts->work, work)) {
        return;
    }
    if (strcmp(folder->left_id, id) == 0 && dw__same_attempted(&folder->left.work, work)) {
        *attempts = folder->left;
        return;
    }
    *attempts = (dw_attempts){.work = *work};
}

dw_status dw_actor_folder_note_attempt(dw_actor_folder *folder, const char *id,
                                       dw_attempts *attempts, const char *reason, dw_error *err)
{
    attempts->count += attempts->count < UINT32_MAX;
    (void)snprintf(attempts->reason, sizeof attempts->reason, "%s", reason);
    dw_status status = dw__attempts_write(folder, id, ATTEMPTS, attempts, err);
    if (status == DW_OK && strcmp(folder->left_id, id) == 0) {
        folder->left_id[0] = '\0';
    }
    return status;
}

dw_status dw_actor_folder_forget_attempts(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    dw__folder_mail_path(folder, id, ATTEMPTS, path);
    return unlink(path) == 0 || errno == ENOENT ? DW_OK : dw__folder_fail("removing", path, err);
}
