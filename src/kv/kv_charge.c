#include "kv/kv_charge.h"

#include <stdatomic.h>

#include "base/alloc.h"

struct dw__kv_share {
    _Atomic size_t references;
    dw_account *account;  /* counted */
    dw__kv_share *before; /* counted: of [0, start) */
    uint64_t start;
    uint64_t bytes;
};

static dw__kv_share *ref_share(dw__kv_share *share)
{
    if (share != NULL) {
        atomic_fetch_add_explicit(&share->references, 1, memory_order_relaxed);
    }
    return share;
}

static void unref_share(dw__kv_share *share)
{
    while (share != NULL &&
           atomic_fetch_sub_explicit(&share->references, 1, memory_order_acq_rel) == 1) {
        dw__kv_share *before = share->before;
        dw_account_give(share->account, DW_PART_KV, share->bytes);
        dw_account_unref(share->account);
        dw_free(share);
        share = before;
    }
}

void dw__kv_charge_init(dw__kv_charge *charge)
{
    *charge = (dw__kv_charge){.account = dw_account_ref(dw_account_entered())};
}

void dw__kv_charge_release(dw__kv_charge *charge)
{
    unref_share(charge->share);
    dw_account_give(charge->account, DW_PART_KV, charge->own_bytes);
    dw_account_unref(charge->account);
    *charge = (dw__kv_charge){.account = NULL};
}

/* Shares that begin at `first` or behind it are no longer this log's. One that `first` lies in
 * stays: others may have all of it. */
static void let_go(dw__kv_charge *charge, uint64_t first)
{
    while (charge->share != NULL && charge->share->start >= first) {
        dw__kv_share *share = charge->share;
        charge->share = ref_share(share->before);
        unref_share(share);
    }
    charge->shared_bytes = charge->shared_bytes < first ? charge->shared_bytes : first;
}

dw_status dw__kv_charge_extend(dw__kv_charge *charge, uint64_t first, uint64_t end, dw_error *err)
{
    uint64_t shared = first < charge->shared_bytes ? first : charge->shared_bytes;
    uint64_t held = charge->shared_bytes + charge->own_bytes;
    uint64_t wanted = (end > held ? end : held) - shared; /* own, then */
    dw_status status =
        wanted > charge->own_bytes
            ? dw_account_charge(charge->account, DW_PART_KV, wanted - charge->own_bytes, err)
            : DW_OK;
    if (status != DW_OK) {
        return status;
    }
    charge->own_bytes = wanted > charge->own_bytes ? wanted : charge->own_bytes;
    let_go(charge, first);
    return DW_OK;
}

/* What both have from here on: the parent's own bytes up to `shared` become a share. */
static dw_status make_share(dw__kv_charge *parent, uint64_t shared, dw_error *err)
{
    uint64_t bytes = shared - parent->shared_bytes;
    dw_account_scope before = dw_account_enter(parent->account, DW_PART_KV);
    dw__kv_share *share = dw_alloc(1, sizeof *share);
    dw_account_leave(before);
    if (share == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a fork of a context");
    }
    share->references = 1;
    share->account = dw_account_ref(parent->account);
    share->before = parent->share; /* its reference goes along */
    share->start = parent->shared_bytes;
    share->bytes = bytes;
    parent->share = share;
    parent->shared_bytes = shared;
    parent->own_bytes -= bytes;
    return DW_OK;
}

dw_status dw__kv_charge_fork(dw__kv_charge *child, dw__kv_charge *parent, uint64_t shared,
                             uint64_t held, dw_error *err)
{
    if (child->account == NULL || child->account != parent->account) {
        return dw__kv_charge_extend(child, 0, held, err);
    }
    uint64_t all = parent->shared_bytes + parent->own_bytes;
    shared = shared < all ? shared : all;
    dw_status status =
        dw_account_charge(child->account, DW_PART_KV, held > shared ? held - shared : 0, err);
    if (status != DW_OK) {
        return status;
    }
    child->own_bytes = held > shared ? held - shared : 0;
    if (shared > parent->shared_bytes) {
        status = make_share(parent, shared, err);
    }
    if (status != DW_OK) {
        dw_account_give(child->account, DW_PART_KV, child->own_bytes);
        child->own_bytes = 0;
        return status;
    }
    child->share = ref_share(parent->share);
    child->shared_bytes = shared; /* of the last share perhaps not all */
    return DW_OK;
}

/* The last share that hangs on both lists, each of which begins at lower bytes than the one behind
 * it. */
static const dw__kv_share *common_share(const dw__kv_share *a, const dw__kv_share *b)
{
    while (a != NULL && b != NULL && a != b) {
        uint64_t a_start = a->start;
        a = b->start > a_start ? a : a->before;
        b = a_start > b->start ? b : b->before;
    }
    return a != NULL && b != NULL ? a : NULL;
}

uint64_t dw__kv_charge_common(const dw__kv_charge *a, const dw__kv_charge *b)
{
    const dw__kv_share *share = common_share(a->share, b->share);
    uint64_t end = share != NULL ? share->start + share->bytes : 0;
    end = end < a->shared_bytes ? end : a->shared_bytes;
    return end < b->shared_bytes ? end : b->shared_bytes;
}
