/* Many actors removed as one operation: their ids are written to the file `stopping`, and from then
 * on none of them is there any more, whatever becomes of the process. Who opens the folder next
 * removes what is left. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/mailbox.h"
#include "base/alloc.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define STOPPING "stopping"
#define LINE_BYTES (DW_ACTOR_ID_CHARS + 1)
#define STOPPING_BYTES_MAX ((size_t)1 << 30)

static int compare(const void *left, const void *right)
{
    return strcmp(((const dw_actor_name *)left)->id, ((const dw_actor_name *)right)->id);
}

bool dw__folder_is_stopping(const dw_actor_folder *folder, const char *id)
{
    dw_actor_name name;
    if (folder->stopping_count == 0) {
        return false;
    }
    (void)snprintf(name.id, sizeof name.id, "%s", id);
    return bsearch(&name, folder->stopping, folder->stopping_count, sizeof name, compare) != NULL;
}

static void stopping_path(const dw_actor_folder *folder, char path[DW_FOLDER_PATH_MAX])
{
    dw__folder_join(folder, path, STOPPING, NULL, NULL);
}

/* One that is still there, or was when the process was killed. */
static dw_status remove_one(dw_actor_folder *folder, const char *id, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char name[sizeof DW__FOLDER_NEW + DW_ACTOR_ID_CHARS];
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, NULL);
    if (access(path, F_OK) != 0) {
        (void)snprintf(name, sizeof name, DW__FOLDER_NEW "%s", id);
        dw__folder_join(folder, path, DW__FOLDER_ACTORS, name, NULL);
        if (access(path, F_OK) != 0) {
            return DW_OK;
        }
    }
    return dw_actor_folder_remove(folder, id, err);
}

/* Remove those that are noted; where one cannot be, all stay noted. */
static dw_status finish(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    dw_status status = DW_OK;
    for (size_t i = 0; i < folder->stopping_count; i++) {
        dw_status one = remove_one(folder, folder->stopping[i].id, status == DW_OK ? err : NULL);
        status = status == DW_OK ? one : status;
    }
    stopping_path(folder, path);
    if (status == DW_OK && unlink(path) != 0 && errno != ENOENT) {
        status = dw__folder_fail("removing", path, err);
    }
    if (status == DW_OK) {
        dw_free(folder->stopping);
        folder->stopping = NULL;
        folder->stopping_count = 0;
    }
    return status;
}

dw_status dw_actor_folder_remove_all(dw_actor_folder *folder, const dw_actor_name *names,
                                     size_t count, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    dw_status status = folder->stopping_count > 0 ? finish(folder, err) : DW_OK;
    if (status != DW_OK || count == 0) {
        return status;
    }
    dw_actor_name *own = dw_alloc(count, sizeof *own);
    char *text = dw_alloc(count, LINE_BYTES);
    if (own == NULL || text == NULL) {
        dw_free(own);
        dw_free(text);
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of %zu actors", count);
    }
    memcpy(own, names, count * sizeof *own);
    qsort(own, count, sizeof *own, compare);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + i * LINE_BYTES, own[i].id, DW_ACTOR_ID_CHARS);
        text[(i + 1) * LINE_BYTES - 1] = '\n';
    }
    stopping_path(folder, path);
    status = dw__folder_write_file(folder, folder->path, path, text, count * LINE_BYTES, err);
    dw_free(text);
    if (status != DW_OK && access(path, F_OK) != 0) {
        dw_free(own);
        return status;
    }
    /* Written, or not to be removed again: done, since the next opening goes by it, which also
     * removes what cannot be removed now. */
    folder->stopping = own;
    folder->stopping_count = count;
    (void)finish(folder, NULL);
    return DW_OK;
}

dw_status dw__folder_read_stopping(dw_actor_folder *folder, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    char *text = NULL;
    size_t bytes = 0;
    stopping_path(folder, path);
    if (access(path, F_OK) != 0) {
        return DW_OK;
    }
    dw_status status = dw_os_read_file(path, STOPPING_BYTES_MAX, &text, &bytes, err);
    if (status != DW_OK) {
        return status;
    }
    size_t count = 0;
    folder->stopping = dw_alloc(bytes / LINE_BYTES + 1, sizeof *folder->stopping);
    for (size_t i = 0; i < bytes / LINE_BYTES && folder->stopping != NULL; i++) {
        dw_actor_name *name = &folder->stopping[count];
        (void)snprintf(name->id, sizeof name->id, "%.*s", DW_ACTOR_ID_CHARS, text + i * LINE_BYTES);
        count += dw_actor_id_good(name->id);
    }
    dw_free(text);
    if (folder->stopping == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of actors");
    }
    folder->stopping_count = count;
    qsort(folder->stopping, count, sizeof *folder->stopping, compare);
    return DW_OK;
}

void dw__folder_finish_stopping(dw_actor_folder *folder)
{
    if (folder->stopping != NULL) {
        (void)finish(folder, NULL);
    }
}
