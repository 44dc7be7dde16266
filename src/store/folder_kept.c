/* Freezes of an actor that were asked for: each a file of its own, to go back to. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "store/actor_folder_internal.h"

void dw__kept_file_name(char name[DW__SNAPSHOT_NAME_BYTES], uint64_t number)
{
    (void)snprintf(name, DW__SNAPSHOT_NAME_BYTES, "%08" PRIu64 ".kept.snapshot", number);
}

void dw_actor_folder_kept_path(const dw_actor_folder *folder, const char *id, uint64_t number,
                               char path[DW_FOLDER_PATH_MAX])
{
    char name[DW__SNAPSHOT_NAME_BYTES];
    dw__kept_file_name(name, number);
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, name);
}

dw_status dw_actor_folder_keep(dw_actor_folder *folder, const char *id, uint64_t number,
                               const char *path, dw_error *err)
{
    char kept[DW_FOLDER_PATH_MAX];
    dw_actor_folder_kept_path(folder, id, number, kept);
    if (link(path, kept) != 0) { /* not every file system has links */
        dw_status status = dw__folder_copy_file(path, kept, err);
        if (status != DW_OK) {
            return status;
        }
    }
    dw__folder_join(folder, kept, DW__FOLDER_ACTORS, id, NULL);
    return dw__folder_sync(kept, err);
}

dw_status dw__kept_read(dw_journal_tx *tx, const char *id, uint64_t numbers[DW_FOLDER_KEPT_MAX],
                        size_t *count, dw_error *err)
{
    bool found = false;
    dw_status status = DW_OK;
    dw_query *query = dw_journal_query(tx, DW__SQL_KEPT);
    dw_query_u64(query, dw__id_number(id));
    *count = 0;
    while ((status = dw_query_next(query, &found, err)) == DW_OK && found &&
           *count < DW_FOLDER_KEPT_MAX) {
        numbers[(*count)++] = dw_query_get_u64(query, 0);
    }
    return status;
}

dw_status dw__kept_add(dw_journal_tx *tx, const char *id, uint64_t number, uint64_t done,
                       dw_error *err)
{
    uint64_t numbers[DW_FOLDER_KEPT_MAX];
    size_t count = 0;
    dw_status status = dw__kept_read(tx, id, numbers, &count, err);
    if (status == DW_OK && count == DW_FOLDER_KEPT_MAX) {
        dw_query *query = dw_journal_query(tx, DW__SQL_UNKEEP);
        dw_query_u64(query, dw__id_number(id));
        dw_query_u64(query, numbers[0]);
        status = dw_query_run(query, err);
    }
    if (status != DW_OK) {
        return status;
    }
    dw_query *query = dw_journal_query(tx, DW__SQL_KEEP);
    dw_query_u64(query, dw__id_number(id));
    dw_query_u64(query, number);
    dw_query_u64(query, done);
    return dw_query_run(query, err);
}

typedef struct kept_list {
    const char *id;
    uint64_t *numbers;
    size_t count;
} kept_list;

static dw_status read_kept(void *user, dw_journal_tx *tx, dw_error *err)
{
    kept_list *list = user;
    return dw__kept_read(tx, list->id, list->numbers, &list->count, err);
}

dw_status dw_actor_folder_list_kept(dw_actor_folder *folder, const char *id,
                                    uint64_t numbers[DW_FOLDER_KEPT_MAX], size_t *count,
                                    dw_error *err)
{
    kept_list list = {.id = id, .numbers = numbers};
    dw_status status = dw_journal_read(folder->journal, read_kept, &list, err);
    *count = status == DW_OK ? list.count : 0;
    return status;
}
