/* Which files hold what of an actor: of which little is needed any more, that is written once more,
 * so that they can go; and what a file that was written holds. */
#include "snapshot/snapshot_job_internal.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "snapshot/bounds.h"

/* Files may take as much that is not needed as they take twice of what is, and so much. */
#define SPARE_BYTES (UINT64_C(32) << 20)
/* Where there are too many files, those that hold least become one, a quarter of all at once: so
 * what is written once more is so seldom. But not more than so much beyond the first. */
#define CARRIED_MAX 64u
#define CARRIED_BYTES (UINT64_C(16) << 20)
/* Each snapshot's header is read when the actor is thawed. */
#define SNAPSHOTS_MAX 49152u
/* Settings alone do not keep a file that is longer. */
#define SETTINGS_FILE_BYTES (UINT64_C(1) << 20)

uint64_t dw__freeze_spare_bytes = SPARE_BYTES;
size_t dw_freeze_snapshots_max = SNAPSHOTS_MAX;

/* A file: a snapshot, or a series of them, which goes as a whole. */
typedef struct unit {
    uint64_t series; /* 0: a snapshot's own */
    size_t first;    /* place in the map, of a snapshot in it */
    size_t count;    /* of snapshots */
    uint64_t bytes;  /* that it takes */
    uint64_t needed; /* of these */
    bool newest;     /* what is written now may go there, so that it stays */
    bool carried;
} unit;

typedef struct choice {
    const dw_frozen_map *map;
    const dw_frozen_share *shares;
    bool *carried;
    unit *units; /* [unit_count] */
    size_t unit_count;
    uint64_t total;     /* of files that stay */
    uint64_t needed;    /* of all that is in files */
    uint64_t once_more; /* bytes of those that are chosen */
    size_t count;       /* of files that stay */
    size_t snapshots;   /* in these */
    size_t chosen;
} choice;

static bool stays(const choice *c, size_t file)
{
    return c->map->files[file].used && c->shares[file].bytes > 0;
}

static void carry(choice *c, unit *u)
{
    for (size_t i = 0; i < c->map->file_count; i++) {
        const dw_frozen_file *file = &c->map->files[i];
        c->carried[i] = c->carried[i] || i == u->first ||
                        (u->series != 0 && file->series == u->series && stays(c, i));
    }
    u->carried = true;
    c->total -= u->bytes;
    c->total += u->needed;
    c->once_more += u->needed;
    c->snapshots -= u->count;
    c->count--;
    c->chosen++;
}

/* The file that costs least; for its length where `by_length`. NULL: none. */
static unit *cheapest(const choice *c, bool by_length)
{
    unit *best = NULL;
    double least = 0;
    for (size_t i = 0; i < c->unit_count; i++) {
        unit *u = &c->units[i];
        double cost = (double)u->needed / (by_length ? (double)u->bytes + 1 : 1);
        if (!u->carried && !u->newest && (best == NULL || cost < least)) {
            best = u;
            least = cost;
        }
    }
    return best;
}

static void carry_many(choice *c, size_t files_max)
{
    const size_t share = files_max / 4;
    const size_t most = c->chosen + (share < CARRIED_MAX ? share : CARRIED_MAX);
    const uint64_t bytes = c->once_more + CARRIED_BYTES;
    while (c->chosen < most && (c->count >= files_max || c->once_more < bytes)) {
        unit *u = cheapest(c, false);
        if (u == NULL) {
            return;
        }
        carry(c, u);
    }
}

/* By their series; those of one come one after another, the newest of the map last. */
static int compare_series(const void *left, const void *right)
{
    const unit *a = left;
    const unit *b = right;
    return a->series != b->series ? (a->series < b->series ? -1 : 1)
                                  : (a->first > b->first) - (a->first < b->first);
}

/* What takes `units` [used files] apart, and puts those of a series together. */
static void find_units(choice *c)
{
    size_t found = 0;
    for (size_t i = 0; i < c->map->file_count; i++) {
        const dw_frozen_file *file = &c->map->files[i];
        if (stays(c, i)) {
            c->units[found++] =
                (unit){.series = file->series,
                       .first = i,
                       .count = 1,
                       .bytes = file->series != 0 ? file->series_bytes : file->bytes,
                       .needed = c->shares[i].bytes,
                       .newest = i == c->map->newest};
        }
    }
    qsort(c->units, found, sizeof *c->units, compare_series);
    for (size_t i = 0; i < found; i++) {
        const unit u = c->units[i];
        unit *last = c->unit_count > 0 ? &c->units[c->unit_count - 1] : NULL;
        if (last != NULL && u.series != 0 && last->series == u.series) {
            last->count++;
            last->bytes = u.bytes > last->bytes ? u.bytes : last->bytes;
            last->needed += u.needed;
            last->newest = last->newest || u.newest;
        } else {
            c->units[c->unit_count++] = u;
        }
    }
    for (size_t i = 0; i < c->unit_count; i++) {
        c->count++;
        c->snapshots += c->units[i].count;
        c->total += c->units[i].bytes;
        c->needed += c->units[i].needed;
    }
}

static void choose(choice *c, size_t files_max)
{
    find_units(c);
    for (size_t i = 0; i < c->unit_count; i++) {
        unit *u = &c->units[i];
        if (u->count == 1 && !u->newest && c->shares[u->first].settings_alone &&
            u->bytes > SETTINGS_FILE_BYTES) {
            carry(c, u);
        }
    }
    if (c->count >= files_max || c->snapshots >= dw_freeze_snapshots_max) { /* one more comes */
        carry_many(c, files_max);
    }
    while (c->chosen < CARRIED_MAX && c->total > 3 * c->needed + dw__freeze_spare_bytes) {
        unit *u = cheapest(c, true);
        if (u == NULL || u->needed > u->bytes / 2) {
            return;
        }
        carry(c, u);
    }
}

dw_status dw__freeze_choose(dw__freeze *f, dw_error *err)
{
    const dw_frozen_map *map = f->actor->frozen.map;
    if (!f->delta || map == NULL) {
        return DW_OK;
    }
    dw_frozen_share *shares = dw_alloc(map->file_count + 1, sizeof *shares);
    bool *carried = dw_alloc(map->file_count + 1, sizeof *carried);
    unit *units = dw_alloc(map->file_count + 1, sizeof *units);
    choice c = {.map = map, .shares = shares, .carried = carried, .units = units};
    if (shares == NULL || carried == NULL || units == NULL) {
        dw_free(shares);
        dw_free(carried);
        dw_free(units);
        return dw__freeze_no_memory(err);
    }
    dw_frozen_map_shares(map, shares);
    choose(&c, f->actor->files_max);
    dw_free(shares);
    dw_free(units);
    if (c.chosen > 0) {
        f->carried = carried;
    }
    return dw__freeze_keep(f, carried, err);
}

/* ---- what a file holds ---------------------------------------------------------------------- */

static dw_status note_blocks(const dw__freeze *f, dw_frozen_map *map, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t m = 0; m < DW_GUEST_MEMORIES_MAX; m++) {
        const dw__written_blocks *written = &f->memories[m];
        for (size_t i = 0; i < written->count; i++) {
            size_t first = written->runs != NULL ? written->runs[i].first : written->blocks[i];
            size_t count = written->runs != NULL ? written->runs[i].count : 1;
            for (size_t k = 0; k < count && status == DW_OK; k++) {
                status = dw_frozen_map_set_block(map, m, first + k, map->newest, err);
            }
        }
    }
    return status;
}

static dw_status note_logs(const dw__freeze *f, dw_frozen_map *map, dw_error *err)
{
    const dw_frozen *frozen = &f->actor->frozen;
    dw_status status = DW_OK;
    dw_frozen_map_keep(map, frozen->contexts, frozen->context_count);
    for (size_t i = 0; i < frozen->context_count; i++) { /* as long as they were */
        const dw_frozen_log *log = dw_frozen_map_log(map, frozen->contexts[i]);
        if (log != NULL) {
            dw_frozen_map_cut(map, log->handle, f->point.lengths[i] * log->record_bytes);
        }
    }
    for (size_t i = 0; i < f->part_count && status == DW_OK; i++) {
        const dw__written_part *written = &f->parts[i];
        const dw_frozen_part part = {written->from, written->end, map->newest};
        status = dw_frozen_map_add_part(map, written->handle, written->record_bytes, &part, err);
    }
    return status;
}

static dw_status note_all(dw__freeze *f, dw_error *err)
{
    dw_frozen *frozen = &f->actor->frozen;
    dw_status status = DW_OK;
    if (!f->delta) {
        dw_frozen_map_destroy(frozen->map);
        frozen->map = NULL;
        status = dw_frozen_map_create(&frozen->map, err);
    }
    if (status != DW_OK || frozen->map == NULL) {
        return status;
    }
    status = dw_frozen_map_add_file(frozen->map, f->stats.written_bytes, &frozen->map->newest, err);
    if (status == DW_OK) {
        status = note_blocks(f, frozen->map, err);
    }
    if (status == DW_OK) {
        status = note_logs(f, frozen->map, err);
    }
    if (f->writes_settings) {
        frozen->map->settings = frozen->map->newest;
    }
    return status;
}

void dw__freeze_note(dw__freeze *f)
{
    dw_frozen *frozen = &f->actor->frozen;
    if (f->actor->files_max == 0 || frozen->identity[0] == '\0' || note_all(f, NULL) != DW_OK) {
        dw_frozen_map_destroy(frozen->map); /* the next is a full one */
        frozen->map = NULL;
    }
}
