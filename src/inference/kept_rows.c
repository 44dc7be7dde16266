#include "inference/kept_rows.h"

#include <stdatomic.h>
#include <string.h>

#include "base/account.h"
#include "base/alloc.h"
#include "base/checked.h"

typedef struct dw__kept_row {
    _Atomic uint32_t users;
    float values[];
} dw__kept_row;

static void unref(dw__kept_row *row)
{
    if (atomic_fetch_sub(&row->users, 1) == 1) {
        dw_free(row);
    }
}

dw_status dw__kept_rows_create(dw__kept_rows **out, uint32_t vocab_count, uint32_t max,
                               dw_error *err)
{
    DW_ASSERT(max > 0 && vocab_count > 0);
    dw__kept_rows *kept = dw_alloc(1, sizeof *kept);
    *out = NULL;
    if (kept != NULL) {
        *kept = (dw__kept_rows){.vocab_count = vocab_count,
                                .max = max,
                                .list = dw_alloc((size_t)2 * max, sizeof *kept->list),
                                .spare = dw_alloc((size_t)2 * max, sizeof(dw__kept_row *))};
    }
    if (kept == NULL || kept->list == NULL || kept->spare == NULL) {
        dw__kept_rows_destroy(kept);
        return dw_fail(err, DW_E_MEMORY, "context: no memory to keep %u rows of logits", max);
    }
    *out = kept;
    return DW_OK;
}

void dw__kept_rows_destroy(dw__kept_rows *kept)
{
    if (kept == NULL) {
        return;
    }
    for (uint32_t i = 0; i < kept->count; i++) {
        unref(kept->list[i].row);
    }
    for (uint32_t i = 0; i < kept->spare_count; i++) {
        unref(kept->spare[i]);
    }
    dw_free(kept->list);
    dw_free(kept->spare);
    dw_free(kept);
}

dw_status dw__kept_rows_fork(dw__kept_rows **out, const dw__kept_rows *parent, dw_error *err)
{
    *out = NULL;
    if (parent == NULL) {
        return DW_OK;
    }
    DW_ASSERT(parent->count <= parent->max);
    dw_status status = dw__kept_rows_create(out, parent->vocab_count, parent->max, err);
    for (uint32_t i = 0; status == DW_OK && i < parent->count; i++) {
        atomic_fetch_add(&parent->list[i].row->users, 1);
        (*out)->list[(*out)->count++] = parent->list[i];
    }
    return status;
}

dw_status dw__kept_rows_reserve(dw__kept_rows *kept, uint32_t rows, dw_error *err)
{
    if (kept == NULL) {
        return DW_OK;
    }
    const uint32_t wanted = rows < kept->max ? rows : kept->max;
    size_t bytes = 0;
    if (!dw_mul_size(&bytes, kept->vocab_count, sizeof(float)) ||
        !dw_add_size(&bytes, bytes, sizeof(dw__kept_row))) {
        return dw_fail(err, DW_E_MEMORY, "context: a row of %u logits", kept->vocab_count);
    }
    dw_account_scope before = dw_account_enter_of(kept);
    while (kept->spare_count < wanted) {
        dw__kept_row *row = dw_alloc(1, bytes);
        if (row == NULL) {
            break;
        }
        atomic_init(&row->users, 1);
        kept->spare[kept->spare_count++] = row;
    }
    dw_account_leave(before);
    return kept->spare_count >= wanted
               ? DW_OK
               : dw_fail(err, DW_E_MEMORY, "context: no memory to keep %u rows of %u logits",
                         wanted, kept->vocab_count);
}

/* What nobody else has can be written anew. */
static void give_up(dw__kept_rows *kept, dw__kept_row *row)
{
    if (atomic_load(&row->users) == 1 && kept->spare_count < kept->max) {
        kept->spare[kept->spare_count++] = row;
    } else {
        unref(row);
    }
}

static void drop_first(dw__kept_rows *kept)
{
    give_up(kept, kept->list[0].row);
    kept->count--;
    memmove(&kept->list[0], &kept->list[1], kept->count * sizeof *kept->list);
}

void dw__kept_rows_move(dw__kept_rows *kept, dw__kept_rows *from)
{
    DW_ASSERT(kept->count == 0 && kept->vocab_count == from->vocab_count);
    const uint32_t count = from->count < kept->max ? from->count : kept->max;
    for (uint32_t i = 0; i < count; i++) {
        kept->list[kept->count++] = from->list[from->count - count + i];
    }
    from->count -= count;
}

float *dw__kept_rows_add(dw__kept_rows *kept, uint32_t length)
{
    DW_ASSERT(kept->count == 0 || kept->list[kept->count - 1].length < length);
    DW_ASSERT(kept->count < 2 * kept->max && kept->spare_count > 0);
    dw__kept_row *row = kept->spare[--kept->spare_count];
    kept->list[kept->count++] = (dw__kept_entry){length, row};
    return row->values;
}

void dw__kept_rows_settle(dw__kept_rows *kept)
{
    while (kept != NULL && kept->count > kept->max) {
        drop_first(kept);
    }
}

void dw__kept_rows_trim(dw__kept_rows *kept, uint32_t length)
{
    while (kept != NULL && kept->count > 0 && kept->list[kept->count - 1].length > length) {
        give_up(kept, kept->list[--kept->count].row);
    }
}

const float *dw__kept_row_values(const dw__kept_rows *kept, uint32_t index)
{
    DW_ASSERT(index < kept->count);
    return kept->list[index].row->values;
}

const float *dw__kept_rows_at(const dw__kept_rows *kept, uint32_t length)
{
    for (uint32_t i = 0; kept != NULL && i < kept->count; i++) {
        if (kept->list[i].length == length) {
            return kept->list[i].row->values;
        }
    }
    return NULL;
}
