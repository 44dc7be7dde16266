/* What a log's records cost the guest that has it: as far as steps have reached, in whole steps,
 * since that is what the system has given, whatever was trimmed since. What a fork shares with its
 * parent counts once where both are of one account, until one of them writes there.
 * Private to src/kv. Thread: its log's; what forks share may be let go of by any. */
#ifndef DW_KV_KV_CHARGE_H
#define DW_KV_KV_CHARGE_H

#include "base/account.h"

/* Bytes of logs that share them: [start, start + bytes) of each. */
typedef struct dw__kv_share dw__kv_share;

typedef struct dw__kv_charge {
    dw_account *account;   /* counted; NULL: nobody pays */
    dw__kv_share *share;   /* counted: the last; those before it hang on it. NULL: none */
    uint64_t shared_bytes; /* [0, shared_bytes) is covered by shares */
    uint64_t own_bytes;    /* behind these, charged to this log alone */
} dw__kv_charge;

/* The account that is entered on this thread pays. */
void dw__kv_charge_init(dw__kv_charge *charge);
void dw__kv_charge_release(dw__kv_charge *charge);

/* Whether records up to byte `end`, of which those from `first` on are about to be written, are
 * charged already: so it is for most steps. */
static inline bool dw__kv_charge_covers(const dw__kv_charge *charge, uint64_t first, uint64_t end)
{
    return charge->account == NULL ||
           (first >= charge->shared_bytes && end <= charge->shared_bytes + charge->own_bytes);
}
/* Charge them. Errors: DW_E_LIMIT; then all is as it was. */
dw_status dw__kv_charge_extend(dw__kv_charge *charge, uint64_t first, uint64_t end, dw_error *err);
/* `child`, new, holds `held` bytes, of which the first `shared` are its parent's own. Errors:
 * DW_E_LIMIT, DW_E_MEMORY; then the child has none, and the parent's are as they were. */
dw_status dw__kv_charge_fork(dw__kv_charge *child, dw__kv_charge *parent, uint64_t shared,
                             uint64_t held, dw_error *err);
/* Bytes from the first on that both have in the same shares. */
uint64_t dw__kv_charge_common(const dw__kv_charge *a, const dw__kv_charge *b);

#endif
