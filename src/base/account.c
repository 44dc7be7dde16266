#include "base/account.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

typedef struct counter {
    _Atomic uint64_t now;
    _Atomic uint64_t most;
    uint64_t limit;
    const char *name; /* of the limit */
} counter;

typedef struct refusal {
    const counter *of; /* NULL: none */
    uint64_t asked;
    uint64_t taken;
} refusal;

struct dw_account {
    _Atomic size_t references;        /* the guest's, and one for each charge that is tied to it */
    counter parts[DW_PART_COUNT + 1]; /* the last: all together */
    refusal last; /* of the guest's own thread, or one that works for it meanwhile */
};

__thread dw_account_scope dw__account_now = {NULL, DW_PART_COUNT};

dw_status dw_account_create(dw_account **out, const dw_limits *limits, dw_error *err)
{
    dw_account_scope before = dw_account_pause();
    dw_account *account = dw_alloc(1, sizeof *account);
    dw_account_leave(before);
    *out = account;
    if (account == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a guest's account");
    }
    const counter parts[] = {
        [DW_PART_LINEAR] = {.limit = limits->linear_bytes, .name = "linear_bytes"},
        [DW_PART_TABLES] = {.limit = limits->tables_bytes, .name = "tables_bytes"},
        [DW_PART_CODE] = {.limit = limits->code_bytes, .name = "code_bytes"},
        [DW_PART_SAMPLERS] = {.limit = limits->samplers_bytes, .name = "samplers_bytes"},
        [DW_PART_TEXTS] = {.limit = limits->texts_bytes, .name = "texts_bytes"},
        [DW_PART_GRAPHS] = {.limit = limits->graphs_bytes, .name = "graphs_bytes"},
        [DW_PART_KV] = {.limit = limits->kv_bytes, .name = "kv_bytes"},
        [DW_PART_MAIL] = {.limit = limits->mail_bytes, .name = "mail_bytes"},
        [DW_PART_COUNT] = {.limit = limits->memory_bytes, .name = "memory_bytes"},
    };
    for (size_t i = 0; i <= DW_PART_COUNT; i++) {
        account->parts[i].limit = parts[i].limit;
        account->parts[i].name = parts[i].name;
        DW_ASSERT(dw_limit_find(parts[i].name) == (i + 1) % (DW_PART_COUNT + 1));
    }
    account->references = 1;
    return DW_OK;
}

dw_account *dw_account_ref(dw_account *account)
{
    if (account != NULL) {
        atomic_fetch_add_explicit(&account->references, 1, memory_order_relaxed);
    }
    return account;
}

void dw_account_unref(dw_account *account)
{
    if (account != NULL &&
        atomic_fetch_sub_explicit(&account->references, 1, memory_order_acq_rel) == 1) {
        DW_ASSERT(account->parts[DW_PART_COUNT].now == 0);
        dw_free(account);
    }
}

/* ---- taking and giving -------------------------------------------------------------------- */

static bool add(counter *to, uint64_t bytes, refusal *why)
{
    uint64_t before = atomic_fetch_add_explicit(&to->now, bytes, memory_order_relaxed);
    if (bytes > to->limit || before > to->limit - bytes) {
        (void)atomic_fetch_sub_explicit(&to->now, bytes, memory_order_relaxed);
        *why = (refusal){.of = to, .asked = bytes, .taken = before};
        return false;
    }
    uint64_t most = atomic_load_explicit(&to->most, memory_order_relaxed);
    while (most < before + bytes &&
           !atomic_compare_exchange_weak_explicit(&to->most, &most, before + bytes,
                                                  memory_order_relaxed, memory_order_relaxed)) {}
    return true;
}

static void subtract(counter *from, uint64_t bytes)
{
    uint64_t before = atomic_fetch_sub_explicit(&from->now, bytes, memory_order_relaxed);
    DW_ASSERT(before >= bytes);
}

bool dw_account_take(dw_account *account, dw_account_part part, uint64_t bytes)
{
    if (account == NULL) {
        return true;
    }
    DW_ASSERT((unsigned)part < DW_PART_COUNT);
    if (!add(&account->parts[part], bytes, &account->last)) {
        return false;
    }
    if (!add(&account->parts[DW_PART_COUNT], bytes, &account->last)) {
        subtract(&account->parts[part], bytes);
        return false;
    }
    return true;
}

void dw_account_give(dw_account *account, dw_account_part part, uint64_t bytes)
{
    if (account != NULL) {
        subtract(&account->parts[part], bytes);
        subtract(&account->parts[DW_PART_COUNT], bytes);
    }
}

/* ---- refusals ----------------------------------------------------------------------------- */

bool dw_account_refused(const dw_account *account, dw_error *err)
{
    if (account == NULL || account->last.of == NULL) {
        return false;
    }
    const refusal *why = &account->last;
    (void)dw_fail(err, DW_E_LIMIT, "%s: %llu bytes more than the %llu that are taken, limit %llu",
                  why->of->name, (unsigned long long)why->asked, (unsigned long long)why->taken,
                  (unsigned long long)why->of->limit);
    return true;
}

void dw_account_forget(dw_account *account)
{
    if (account != NULL) {
        account->last.of = NULL;
    }
}

dw_status dw_account_explain(dw_account *account, dw_status status, dw_error *err)
{
    if ((status == DW_E_MEMORY || status == DW_E_LIMIT) && dw_account_refused(account, err)) {
        dw_account_forget(account);
        return DW_E_LIMIT;
    }
    return status;
}

dw_status dw_account_charge(dw_account *account, dw_account_part part, uint64_t bytes,
                            dw_error *err)
{
    if (dw_account_take(account, part, bytes)) {
        return DW_OK;
    }
    (void)dw_account_refused(account, err);
    return DW_E_LIMIT;
}

uint64_t dw_account_now(const dw_account *account, dw_account_part part)
{
    return account != NULL ? atomic_load_explicit(&account->parts[part].now, memory_order_relaxed)
                           : 0;
}

uint64_t dw_account_most(const dw_account *account, dw_account_part part)
{
    return account != NULL ? atomic_load_explicit(&account->parts[part].most, memory_order_relaxed)
                           : 0;
}
