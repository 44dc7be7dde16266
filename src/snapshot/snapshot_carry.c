/* Which files hold what of an actor: of which little is needed any more, that is written once more,
 * so that they can go; and what a file that was written holds. */
#include "snapshot/snapshot_job_internal.h"

#include "base/alloc.h"

/* Files may hold as much that is not needed as they hold twice of what is, and so much. */
#define SPARE_BYTES (UINT64_C(32) << 20)
/* Where there are too many files, those that hold least become one, a quarter of all at once: so
 * what is written once more is so seldom. But not more than so much beyond the first. */
#define CARRIED_MAX 64u
#define CARRIED_BYTES (UINT64_C(16) << 20)
/* Settings alone do not keep a file that is longer. */
#define SETTINGS_FILE_BYTES (UINT64_C(1) << 20)

uint64_t dw__freeze_spare_bytes = SPARE_BYTES;

typedef struct choice {
    const dw_frozen_map *map;
    const dw_frozen_share *shares;
    bool *carried;
    uint64_t total;     /* of files that stay */
    uint64_t needed;    /* of all that is in files */
    uint64_t once_more; /* bytes of those that are chosen */
    size_t count;       /* of files that stay */
    size_t chosen;
} choice;

static void carry(choice *c, size_t file)
{
    c->carried[file] = true;
    c->total -= c->map->files[file].bytes;
    c->total += c->shares[file].bytes;
    c->once_more += c->shares[file].bytes;
    c->count--;
    c->chosen++;
}

/* The file that costs least; for its length where `by_length`. SIZE_MAX: none. */
static size_t cheapest(const choice *c, bool by_length)
{
    size_t best = SIZE_MAX;
    double least = 0;
    for (size_t i = 0; i < c->map->file_count; i++) {
        const dw_frozen_file *file = &c->map->files[i];
        if (!file->used || c->carried[i] || c->shares[i].bytes == 0) {
            continue;
        }
        double cost = (double)c->shares[i].bytes / (by_length ? (double)file->bytes + 1 : 1);
        if (best == SIZE_MAX || cost < least) {
            best = i;
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
        size_t file = cheapest(c, false);
        if (file == SIZE_MAX) {
            return;
        }
        carry(c, file);
    }
}

static void choose(choice *c, size_t files_max)
{
    for (size_t i = 0; i < c->map->file_count; i++) {
        const dw_frozen_file *file = &c->map->files[i];
        if (file->used && c->shares[i].bytes > 0) {
            c->count++;
            c->total += file->bytes;
            c->needed += c->shares[i].bytes;
        }
    }
    for (size_t i = 0; i < c->map->file_count; i++) {
        if (c->map->files[i].used && c->shares[i].settings_alone &&
            c->map->files[i].bytes > SETTINGS_FILE_BYTES) {
            carry(c, i);
        }
    }
    if (c->count >= files_max) { /* one more comes */
        carry_many(c, files_max);
    }
    while (c->chosen < CARRIED_MAX && c->total > 3 * c->needed + dw__freeze_spare_bytes) {
        size_t file = cheapest(c, true);
        if (file == SIZE_MAX || c->shares[file].bytes > c->map->files[file].bytes / 2) {
            return;
        }
        carry(c, file);
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
    choice c = {.map = map, .shares = shares, .carried = carried};
    if (shares == NULL || carried == NULL) {
        dw_free(shares);
        dw_free(carried);
        return dw__freeze_no_memory(err);
    }
    dw_frozen_map_shares(map, shares);
    choose(&c, f->actor->files_max);
    dw_free(shares);
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
    for (size_t i = 0; i < map->log_count; i++) {
        dw_context *context =
            dw_handle_get(dw_instance_handles(f->actor->instance), DW_HANDLE_CONTEXT, "context",
                          map->logs[i].handle, NULL);
        if (context != NULL) {
            dw_frozen_map_cut(map, map->logs[i].handle,
                              dw_context_length(context) * map->logs[i].record_bytes);
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
