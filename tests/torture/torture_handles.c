/* Handles of guests beside an array of what they ought to be: random ones are added and taken, and
 * forged ones (numbers of chance, of neighbours, of closed ones, of other kinds) find nothing that
 * is not theirs. */
#include <stdio.h>
#include <string.h>

#include "support.h"
#include "torture.h"
#include "wasm/handle_table.h"

#define KINDS 4
#define HANDLES_MAX 512
#define CLOSED_MAX 1024
#define STEPS 20000

typedef struct entry {
    int32_t handle;
    uint8_t kind;
    void *object;
} entry;

static uint64_t forged;
static uint64_t added;

typedef struct model {
    dw_handle_table table;
    entry open[HANDLES_MAX];
    size_t count;
    entry closed[CLOSED_MAX]; /* the last ones */
    size_t closed_count;
    char objects[HANDLES_MAX * 64];
    size_t next_object;
} model;

static void add(torture *t, model *m, size_t limit)
{
    uint8_t kind = (uint8_t)(1 + torture_below(t, KINDS));
    void *object = &m->objects[m->next_object++ % sizeof m->objects];
    int32_t handle = 0;
    dw_error err;
    dw_status status = dw_handle_add(&m->table, kind, "thing", object, &handle, &err);
    assert_int_equal(status, m->count < limit ? DW_OK : DW_E_LIMIT);
    if (status == DW_OK) {
        assert_true(handle > 0);
        m->open[m->count++] = (entry){handle, kind, object};
        added++;
    }
}

static void take(torture *t, model *m)
{
    dw_error err;
    size_t which = torture_below(t, m->count);
    entry e = m->open[which];
    assert_ptr_equal(dw_handle_take(&m->table, e.kind, "thing", e.handle, &err), e.object);
    assert_null(dw_handle_get(&m->table, e.kind, "thing", e.handle, &err));
    m->open[which] = m->open[--m->count];
    m->closed[m->closed_count++ % CLOSED_MAX] = e;
}

static const entry *find(const model *m, int32_t handle)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->open[i].handle == handle) {
            return &m->open[i];
        }
    }
    return NULL;
}

static int32_t forge(torture *t, const model *m)
{
    uint64_t random = torture_random(t);
    const entry *near = m->count > 0 ? &m->open[random % m->count] : NULL;
    size_t kept = m->closed_count < CLOSED_MAX ? m->closed_count : CLOSED_MAX;
    switch (torture_below(t, 6)) {
    case 0:
        return (int32_t)(uint32_t)random;
    case 1:
        return (int32_t)(random % 70000) - 100;
    case 2: /* one bit beside */
        return near != NULL ? near->handle ^ (int32_t)(1u << (random >> 32) % 31) : 0;
    case 3: /* of a slot's other times */
        return near != NULL ? (int32_t)((uint32_t)near->handle + ((uint32_t)(random % 9) << 16)) : 1;
    case 4:
        return kept > 0 ? m->closed[random % kept].handle : -1;
    default:
        return near != NULL ? near->handle : INT32_MIN;
    }
}

static void look_up(torture *t, model *m)
{
    uint8_t kind = (uint8_t)(1 + torture_below(t, KINDS));
    int32_t handle = forge(t, m);
    const entry *real = find(m, handle);
    void *expected = real != NULL && real->kind == kind ? real->object : NULL;
    dw_error err = {.code = DW_OK, .message = ""};
    bool takes = expected == NULL && torture_below(t, 2) == 0; /* nothing is there to be taken */
    void *found = takes ? dw_handle_take(&m->table, kind, "thing", handle, &err)
                        : dw_handle_get(&m->table, kind, "thing", handle, &err);
    assert_ptr_equal(found, expected);
    assert_int_equal(err.code, expected != NULL ? DW_OK : DW_E_HANDLE);
    forged++;
}

static void run(torture *t)
{
    static model m;
    size_t limit = 1 + torture_below(t, HANDLES_MAX);
    memset(&m, 0, sizeof m);
    dw_handle_table_init(&m.table, limit);
    for (int i = 0; i < STEPS; i++) {
        uint64_t what = torture_below(t, 8);
        if (what == 0) {
            add(t, &m, limit);
        } else if (what == 1 && m.count > 0) {
            take(t, &m);
        } else {
            look_up(t, &m);
        }
    }
    dw_handle_table_release(&m.table);
}

static void tell(void)
{
    (void)printf("handles: %llu made, %llu looked up\n", (unsigned long long)added,
                 (unsigned long long)forged);
}

int main(void)
{
    const torture_options options = {
        .name = "torture_handles", .run = run, .tell = tell, .seconds = 2};
    return torture_main(&options);
}
