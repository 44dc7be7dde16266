/* Where an actor's deltas go: behind one another in series; and series that are known by an index,
 * in the place of the snapshots in them. */
#include "actor/actor.h"
#include "runtime/folder.h"
#include "runtime/runtime_internal.h"
#include "snapshot/snapshot_file.h"

/* A series goes as a whole, so that it is to be no larger than so much, or a share of what is
 * needed of all files; and beside as much as is needed of it, so much of it may not be. */
#define SERIES_BYTES (UINT64_C(64) << 20)
#define SERIES_SHARE 8
#define SERIES_LEAST_BYTES (UINT64_C(256) << 10)
#define SERIES_SPARE_BYTES (UINT64_C(64) << 10)
/* A series that is written to no more, and has so many snapshots, is known by an index. It is made
 * when another begins, so that each snapshot's header is read once more for it; and with each
 * freeze of an actor that has many, of a folder of earlier programs say. */
#define INDEXED_LEAST 4u
#define INDEXED_AT_ONCE 4096u

uint32_t dw__series_snapshots = 1024;
uint32_t dw__series_indexed_least = INDEXED_LEAST;

/* ---- places ---------------------------------------------------------------------------------- */

/* Where a delta goes: behind others, as long as that file is worth it, or into a new one. */
void dw__series_choose(const dw_actor_folder *folder, dw__turn *turn, const dw_actor *actor)
{
    dw_series_look look;
    const dw__kept *kept = &turn->kept;
    dw_snapshot_row *row = &turn->folder.snapshot;
    row->series = row->sequence;
    row->begin = 0;
    if (kept->series == 0 || kept->end >= SERIES_BYTES ||
        kept->sequence - kept->series + 1 >= dw__series_snapshots) {
        return;
    }
    dw_actor_folder_look_at_series(folder, turn->folder.id, kept->series, &look);
    const uint64_t needed = dw_actor_needed_bytes(actor, kept->series);
    const uint64_t share = dw_actor_needed_bytes(actor, 0) / SERIES_SHARE;
    if (look.taken >= (share > SERIES_LEAST_BYTES ? share : SERIES_LEAST_BYTES)) {
        return;
    }
    if (look.own && look.bytes + DW_SNAPSHOT_ALIGNMENT > kept->end &&
        look.taken <= 2 * needed + SERIES_SPARE_BYTES) {
        row->series = kept->series;
        row->begin = kept->end;
    }
}

/* The series takes more than before; the next goes behind this. */
void dw__series_note(const dw_actor_folder *folder, dw__turn *turn, dw_actor *actor)
{
    dw__kept *kept = &turn->kept;
    const dw_snapshot_row *row = &turn->folder.snapshot;
    kept->series = row->series;
    kept->end = dw_snapshot_place_end(row->begin, row->length);
    if (row->series != 0) {
        dw_series_look look;
        dw_actor_folder_look_at_series(folder, turn->folder.id, row->series, &look);
        dw_actor_set_series(actor, row->sequence, row->series, look.taken);
    }
}

/* ---- indexes --------------------------------------------------------------------------------- */

bool dw__is_file_of(void *user, const dw_snapshot_row *row)
{
    return dw_actor_has_file(user, row->sequence);
}

/* One row and an index in the place of all rows of a series but the last, whose snapshot may be the
 * actor's state where later ones are missing. Errors: nothing has changed. */
static dw_status cover(dw_actor_folder *folder, dw__turn *turn, dw_actor *actor, uint64_t series,
                       dw_error *err)
{
    dw_snapshot_chain chain = {.count = 0};
    dw_series_index *index = NULL;
    dw_status status = dw_actor_folder_read_series(folder, turn->folder.id, series, &chain, err);
    if (status == DW_OK) {
        dw_snapshot_chain_select(&chain, dw__is_file_of, actor);
    }
    bool plain = chain.count > 1;
    for (size_t i = 0; i < chain.count; i++) {
        plain = plain && chain.rows[i].covers == 0;
    }
    if (status == DW_OK && plain) {
        status = dw_series_index_create(&index, chain.list, chain.identities, chain.count - 1, err);
    }
    if (status == DW_OK && plain) {
        dw_snapshot_row *row = &turn->folder.covered;
        *row = chain.rows[chain.count - 2];
        row->covers = chain.count - 1;
        row->index = index;
        for (size_t i = 0; i + 2 < chain.count; i++) {
            row->bytes += chain.rows[i].bytes;
        }
        dw_actor_merge_files(actor, series, row->sequence);
        turn->folder.snapshot.drops = true; /* rows before it are missing from now on */
    }
    dw_snapshot_chain_release(&chain);
    return status;
}

/* Where it fails the rows stay, and it is tried again. What it writes counts as written. */
void dw__series_cover(dw_actor_folder *folder, dw__turn *turn, dw_actor *actor,
                      dw_freeze_stats *stats)
{
    size_t bytes = 0;
    const dw_snapshot_row *row = &turn->folder.snapshot;
    if (row->series == 0 ||
        (row->series != row->sequence && dw_actor_file_count(actor) < INDEXED_AT_ONCE)) {
        return;
    }
    const uint64_t series = dw_actor_find_series(actor, row->series, dw__series_indexed_least + 1);
    if (series != 0 && cover(folder, turn, actor, series, NULL) == DW_OK &&
        turn->folder.covered.index != NULL) {
        (void)dw_series_index_bytes(turn->folder.covered.index, &bytes);
        stats->written_bytes += bytes;
    }
}

/* Each of the snapshots of a series that have one row. */
void dw__series_list(const dw_actor_folder *folder, const char *id, const dw_snapshot_row *row,
                     void (*take)(void *to, const char *path), void *to)
{
    char path[DW_FOLDER_PATH_MAX];
    dw_snapshot_row one = *row;
    const dw_series_contents *series = dw_series_index_contents(row->index);
    for (size_t i = 0; i < series->place_count; i++) {
        one.begin = series->places[i].begin;
        one.length = series->places[i].bytes;
        dw_actor_folder_snapshot_path(folder, id, &one, path);
        take(to, path);
    }
}
