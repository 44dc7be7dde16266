/* Who made whom. An actor's folder holds its ancestors as the names of empty files, `.descent-...`,
 * the nearest first: they come to the disk with the folder, without a sync of their own. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/array.h"
#include "base/os.h"
#include "store/actor_folder_internal.h"

#define DESCENT ".descent-"
#define IDS_PER_FILE 12 /* a name has at most 255 bytes */
#define DESCENT_NAME_BYTES                                                                         \
    (sizeof DESCENT "00-000" + IDS_PER_FILE * (1 + (size_t)DW_ACTOR_ID_CHARS))

/* ---- one actor's --------------------------------------------------------------------------- */

/* ".descent-PIECE-DEPTH-ID-ID..." */
static void piece_name(char name[DESCENT_NAME_BYTES], const dw_descent *descent, size_t piece)
{
    size_t at = (size_t)snprintf(name, DESCENT_NAME_BYTES, DESCENT "%02zu-%03u", piece,
                                 descent->depth % 1000u);
    for (size_t i = piece * IDS_PER_FILE; i < descent->count && i < (piece + 1) * IDS_PER_FILE;
         i++) {
        at += (size_t)snprintf(name + at, DESCENT_NAME_BYTES - at, "-%s", descent->ancestors[i].id);
    }
    DW_ASSERT(at < DESCENT_NAME_BYTES);
}

static dw_status take_piece(void *user, const char *name, dw_error *err)
{
    dw_descent *descent = user;
    uint64_t piece = 0;
    uint64_t depth = 0;
    const char *next = name + sizeof DESCENT - 1;
    (void)err;
    if (strncmp(name, DESCENT, sizeof DESCENT - 1) != 0 || !dw__folder_number(&next, &piece) ||
        *next++ != '-' || !dw__folder_number(&next, &depth) ||
        piece >= DW_ANCESTORS_MAX / IDS_PER_FILE || depth > DW_ANCESTORS_MAX) {
        return DW_OK;
    }
    descent->depth = (uint32_t)depth;
    for (size_t i = piece * IDS_PER_FILE; *next == '-' && i < (piece + 1) * IDS_PER_FILE; i++) {
        dw_actor_name *ancestor = &descent->ancestors[i];
        (void)snprintf(ancestor->id, sizeof ancestor->id, "%s", next + 1);
        if (!dw_actor_id_good(ancestor->id)) {
            break;
        }
        next += 1 + DW_ACTOR_ID_CHARS;
        descent->count = descent->count > i + 1 ? descent->count : (uint32_t)(i + 1);
    }
    return DW_OK;
}

dw_status dw_actor_folder_read_descent(const dw_actor_folder *folder, const char *id,
                                       dw_descent *descent, dw_error *err)
{
    char path[DW_FOLDER_PATH_MAX];
    *descent = (dw_descent){.count = 0};
    dw__folder_join(folder, path, DW__FOLDER_ACTORS, id, NULL);
    dw_status status = dw__folder_each(path, take_piece, descent, err);
    if (descent->depth > descent->count) { /* a piece is missing: as far as is known */
        descent->depth = descent->count;
    }
    return status;
}

static uint64_t number_of(const char *id)
{
    return strtoull(id, NULL, 16);
}

/* What is known of the actor that comes next, so that its folder need not be read again. */
static void note_made(dw_actor_folder *folder, const char *id, const dw_descent *descent)
{
    folder->trees.made =
        (dw__tree_item){.id = number_of(id), .head = number_of(dw_descent_head(descent, id))};
}

dw_status dw_actor_folder_note_descent(dw_actor_folder *folder, const char *id,
                                       const dw_descent *descent, dw_error *err)
{
    char place[sizeof DW__FOLDER_NEW + DW_ACTOR_ID_CHARS];
    char name[DESCENT_NAME_BYTES];
    char path[DW_FOLDER_PATH_MAX];
    (void)snprintf(place, sizeof place, DW__FOLDER_NEW "%s", id);
    for (size_t i = 0; i * IDS_PER_FILE < descent->count; i++) {
        piece_name(name, descent, i);
        dw__folder_join(folder, path, DW__FOLDER_ACTORS, place, name);
        int fd = dw_os_open(path, O_WRONLY | O_CREAT, 0600);
        if (fd < 0) {
            return dw__folder_fail("making", path, err);
        }
        dw_os_close(fd);
    }
    note_made(folder, id, descent);
    return DW_OK;
}

void dw_descent_of_child(dw_descent *child, const dw_descent *parent, const char *parent_id,
                         bool from_outside)
{
    uint32_t kept = parent->count < DW_ANCESTORS_MAX ? parent->count : DW_ANCESTORS_MAX - 1;
    memmove(child->ancestors + 1, parent->ancestors, kept * sizeof *child->ancestors);
    (void)snprintf(child->ancestors[0].id, sizeof child->ancestors[0].id, "%s", parent_id);
    child->count = kept + 1;
    child->depth = from_outside ? 0 : parent->depth + 1;
}

const char *dw_descent_head(const dw_descent *descent, const char *id)
{
    return descent->depth > 0 ? descent->ancestors[descent->depth - 1].id : id;
}

bool dw_descent_has(const dw_descent *descent, const char *ancestor)
{
    for (size_t i = 0; i < descent->count; i++) {
        if (strcmp(descent->ancestors[i].id, ancestor) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- trees --------------------------------------------------------------------------------- */

void dw__folder_add_to_tree(dw_actor_folder *folder, const char *id)
{
    dw__trees *trees = &folder->trees;
    if (!trees->known) {
        return;
    }
    if (!DW_ARRAY_RESERVE(trees->items, trees->capacity, trees->count + 1, SIZE_MAX)) {
        trees->known = false; /* all are looked at the next time */
        return;
    }
    dw__tree_item item = {.id = number_of(id)};
    item.head = item.id == trees->made.id ? trees->made.head : item.id;
    trees->items[trees->count++] = item;
}

void dw__folder_take_from_tree(dw_actor_folder *folder, const char *id)
{
    dw__trees *trees = &folder->trees;
    const uint64_t number = number_of(id);
    for (size_t i = 0; i < trees->count; i++) {
        if (trees->items[i].id == number) {
            trees->items[i] = trees->items[--trees->count];
            return;
        }
    }
}

/* Once, when the first actor asks for another. */
static dw_status read_trees(dw_actor_folder *folder, dw_error *err)
{
    dw_actor_name *names = NULL;
    size_t count = 0;
    dw_descent *descent = dw_alloc(1, sizeof *descent);
    if (descent == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for what actors descend from");
    }
    dw_status status = dw_actor_folder_list(folder, &names, &count, err);
    folder->trees.count = 0;
    folder->trees.known = status == DW_OK;
    for (size_t i = 0; i < count && status == DW_OK; i++) {
        status = dw_actor_folder_read_descent(folder, names[i].id, descent, err);
        note_made(folder, names[i].id, descent);
        dw__folder_add_to_tree(folder, names[i].id);
    }
    dw_free(descent);
    dw_free(names);
    if (status == DW_OK && !folder->trees.known) {
        status = dw_fail(err, DW_E_MEMORY, "no memory for what actors descend from");
    }
    folder->trees.known = status == DW_OK;
    return status;
}

dw_status dw_actor_folder_count_tree(dw_actor_folder *folder, const char *head, size_t *count,
                                     dw_error *err)
{
    const uint64_t number = number_of(head);
    *count = 0;
    dw_status status = folder->trees.known ? DW_OK : read_trees(folder, err);
    for (size_t i = 0; i < folder->trees.count && status == DW_OK; i++) {
        *count += folder->trees.items[i].head == number && folder->trees.items[i].id != number;
    }
    return status;
}

dw_status dw_actor_folder_list_tree(dw_actor_folder *folder, const char *id, dw_actor_name **names,
                                    size_t *count, dw_error *err)
{
    size_t all = 0;
    dw_descent *descent = dw_alloc(1, sizeof *descent);
    *names = NULL;
    *count = 0;
    if (descent == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for an actor's descent");
    }
    dw_status status = dw_actor_folder_list(folder, names, &all, err);
    for (size_t i = 0; i < all && status == DW_OK; i++) {
        status = dw_actor_folder_read_descent(folder, (*names)[i].id, descent, err);
        if (status == DW_OK && (strcmp((*names)[i].id, id) == 0 || dw_descent_has(descent, id))) {
            (*names)[(*count)++] = (*names)[i];
        }
    }
    dw_free(descent);
    if (status != DW_OK) {
        dw_free(*names);
        *names = NULL;
        *count = 0;
    }
    return status;
}
