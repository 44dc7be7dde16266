/* Globals and tables in snapshots. */
#include <stdio.h>

#include "base/alloc.h"
#include "snapshot/snapshot_parts_internal.h"
#include "wasm/instance_state.h"

/* ---- globals ------------------------------------------------------------------------------ */

dw_status dw__globals_save(dw_actor *actor, json_t *to, dw_error *err)
{
    for (size_t i = 0; i < dw_state_global_count(actor->instance); i++) {
        dw_global_value value;
        char text[2 * sizeof value.bytes + 1];
        dw_status status = dw_state_global(actor->instance, i, &value, err);
        if (status != DW_OK) {
            return status;
        }
        for (size_t k = 0; k < sizeof value.bytes; k++) {
            (void)snprintf(text + 2 * k, 3, "%02x", value.bytes[k]);
        }
        if (!dw__json_append(to, json_string(text))) {
            return dw__freeze_no_memory(err);
        }
    }
    return DW_OK;
}

static dw_status read_global(const json_t *saved, size_t number, dw_global_value *value,
                             dw_error *err)
{
    const char *text = json_string_value(saved);
    if (text == NULL || json_string_length(saved) != 2 * sizeof value->bytes) {
        return dw_fail(err, DW_E_FORMAT, "actor: global %zu is no text of %zu digits", number,
                       2 * sizeof value->bytes);
    }
    if (!dw_hex_parse(value->bytes, sizeof value->bytes, text)) {
        return dw_fail(err, DW_E_FORMAT, "actor: global %zu is not hexadecimal", number);
    }
    return DW_OK;
}

dw_status dw__globals_load(const dw__thaw *t, dw_error *err)
{
    const json_t *list;
    dw_instance *instance = t->actor->instance;
    size_t count = dw_state_global_count(instance);
    dw_status status = dw__json_array(t->about, "actor", "globals", count, &list, err);
    if (status == DW_OK && json_array_size(list) != count) {
        status = dw_fail(err, DW_E_FORMAT, "actor: %zu globals, the module has %zu",
                         json_array_size(list), count);
    }
    for (size_t i = 0; status == DW_OK && i < count; i++) {
        dw_global_value value;
        status = read_global(json_array_get(list, i), i, &value, err);
        if (status == DW_OK) {
            status = dw_state_set_global(instance, i, &value, err);
        }
    }
    return status;
}

/* ---- tables ------------------------------------------------------------------------------- */

dw_status dw__tables_save(dw__freeze *f, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < dw_state_table_count(f->actor->instance) && status == DW_OK; i++) {
        uint32_t *entries = NULL;
        size_t count;
        char name[DW__NAME_BYTES];
        dw_snapshot_tensor tensor = {.name = name, .dtype = "U32", .dimension_count = 1};
        status = dw_state_table(f->actor->instance, i, &entries, &count, err);
        if (status == DW_OK) {
            status = dw__freeze_keep(f, entries, err);
        }
        if (status == DW_OK) {
            (void)snprintf(name, sizeof name, "table.%zu", i);
            tensor.shape[0] = count;
            tensor.bytes = entries;
            status = dw__freeze_tensor(f, &tensor, err);
        }
    }
    return status;
}

static dw_status read_table(const dw__thaw *t, size_t number, dw_error *err)
{
    char name[DW__NAME_BYTES];
    const dw_snapshot_entry *tensor;
    (void)snprintf(name, sizeof name, "table.%zu", number);
    dw_status status = dw__thaw_find_tensor(dw__thaw_last_file(t), name, "U32", 1, &tensor, err);
    const uint64_t most = dw_instance_limits(t->actor->instance)->table_elements;
    if (status == DW_OK && tensor == NULL) {
        status = dw_fail(err, DW_E_FORMAT, "%s: missing", name);
    } else if (status == DW_OK && tensor->shape[0] > most) {
        status = dw_fail(err, DW_E_LIMIT, "thaw: %s: %llu, limit 'table_elements' is %llu", name,
                         (unsigned long long)tensor->shape[0], (unsigned long long)most);
    }
    if (status != DW_OK) {
        return status;
    }
    uint32_t *entries = dw_alloc((size_t)tensor->shape[0] + 1, sizeof *entries);
    if (entries == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a table");
    }
    status = dw_snapshot_file_read(dw__thaw_last_file(t), tensor, 0, (size_t)tensor->bytes, entries,
                                   err);
    if (status == DW_OK) {
        status =
            dw_state_set_table(t->actor->instance, number, entries, (size_t)tensor->shape[0], err);
    }
    dw_free(entries);
    return status;
}

dw_status dw__tables_load(const dw__thaw *t, dw_error *err)
{
    uint64_t count;
    size_t wanted = dw_state_table_count(t->actor->instance);
    dw_status status = dw__json_whole(t->about, "actor", "tables", UINT32_MAX, &count, err);
    if (status == DW_OK && count != wanted) {
        status = dw_fail(err, DW_E_FORMAT, "actor: %llu tables, the module has %zu that change",
                         (unsigned long long)count, wanted);
    }
    for (size_t i = 0; status == DW_OK && i < wanted; i++) {
        status = read_table(t, i, err);
    }
    return status;
}
