/* Who descends from whom of those that are in memory: an actor's parent is the nearest of its
 * ancestors that is there, whether those between have ended or left memory. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime_internal.h"

/* Whether a nearer ancestor than its parent may come, which is looked for among those of its tree
 * that wait for theirs. */
void dw__note_stray(dw_runtime *runtime, dw__record *record)
{
    const dw__record *parent = record->parent;
    bool stray = runtime->keeper != NULL && record->listed && record->made_by.is_actor &&
                 (parent == NULL || parent->id != record->made_by.id);
    if (stray == record->stray) {
        return;
    }
    dw__record **link = &runtime->strays[record->tree->head % DW__TREES];
    if (stray) {
        record->next_stray = *link;
        *link = record;
    } else {
        while (*link != record) {
            link = &(*link)->next_stray;
        }
        *link = record->next_stray;
    }
    record->stray = stray;
}

void dw__join_family(dw_runtime *runtime, dw__record *record, dw__record *parent)
{
    record->parent = parent;
    record->sibling_before = NULL;
    record->sibling_after = parent->first_child;
    if (parent->first_child != NULL) {
        parent->first_child->sibling_before = record;
    }
    parent->first_child = record;
    dw__rest_join(runtime, record);
    dw__note_stray(runtime, record);
}

void dw__leave_family(dw_runtime *runtime, dw__record *record)
{
    dw__record *parent = record->parent;
    if (parent == NULL) {
        return;
    }
    if (record->sibling_before != NULL) {
        record->sibling_before->sibling_after = record->sibling_after;
    } else {
        parent->first_child = record->sibling_after;
    }
    if (record->sibling_after != NULL) {
        record->sibling_after->sibling_before = record->sibling_before;
    }
    record->parent = NULL;
    dw__rest_leave(runtime, record, parent);
    dw__note_stray(runtime, record);
}

/* How far up it is, from 0 on; the count: it is none of its ancestors, as far as is known. */
static size_t distance(const dw__record *record, uint64_t id)
{
    size_t i = 0;
    while (i < record->ancestor_count && record->ancestors[i] != id) {
        i++;
    }
    return i;
}

void dw__adopt_strays(dw_runtime *runtime, dw__record *record)
{
    dw__record **link = &runtime->strays[record->tree->head % DW__TREES];
    while (*link != NULL) {
        dw__record *child = *link;
        const bool mine = child->made_by.id == record->id;
        const size_t far = distance(child, record->id);
        const size_t now = child->parent != NULL ? distance(child, child->parent->id) : SIZE_MAX;
        if (child == record || (!mine && (far == child->ancestor_count || far >= now))) {
            link = &child->next_stray;
            continue;
        }
        dw__leave_family(runtime, child);
        dw__join_family(runtime, child, record);
        if (*link == child) { /* else it is out of the list: nobody nearer can come */
            link = &child->next_stray;
        }
    }
}

void dw__take_ancestors(dw_runtime *runtime, dw__record *record, uint64_t *ancestors, size_t count)
{
    dw_free(record->ancestors);
    record->ancestors = ancestors;
    record->ancestor_count = count;
    dw__record *there = NULL;
    for (size_t i = 0; i < count && there == NULL && record->listed; i++) {
        there = dw__find(runtime, ancestors[i]);
    }
    if (there != NULL && there != record->parent) {
        dw__leave_family(runtime, record);
        dw__join_family(runtime, record, there);
    }
}

/* Best effort: without memory its descent is known again once it is read again. */
void dw__note_ancestors(dw__record *child)
{
    size_t count = 0;
    const dw__record *known = child->parent; /* the first whose own are known, or the last */
    if (child->ancestors != NULL) {
        return;
    }
    for (const dw__record *at = child->parent; at != NULL; at = at->parent) {
        count++;
        known = at;
        if (at->ancestors != NULL) {
            break;
        }
    }
    const size_t more = known != NULL ? known->ancestor_count : 0;
    uint64_t *ancestors = dw_alloc(count + more + 1, sizeof *ancestors);
    if (ancestors == NULL) {
        return;
    }
    size_t made = 0;
    for (const dw__record *at = child->parent; made < count; at = at->parent) {
        ancestors[made++] = at->id;
    }
    if (more > 0) {
        memcpy(ancestors + made, known->ancestors, more * sizeof *ancestors);
    }
    child->ancestors = ancestors;
    child->ancestor_count = made + more;
}
