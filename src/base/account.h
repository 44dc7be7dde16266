/* What one guest has taken of its host: a counter a part, their sum, and a limit for each, so that
 * what would go beyond is refused before it is taken.
 *
 * Memory from dw_alloc is charged to the account that is entered on the calling thread, and given
 * back where it is freed, by whomever: each block knows its account (src/base/alloc.c). Other
 * memory (linear memories, KV logs, scratch of graphs, code) is charged by whoever takes it.
 * An account lives until its guest and all that was charged to it are gone.
 * Thread: any; which account is entered belongs to the thread, or the fiber (dw_fiber_suspend). */
#ifndef DW_BASE_ACCOUNT_H
#define DW_BASE_ACCOUNT_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In the order of DW_LIMIT_LIST, behind memory_bytes, which is all of them together. */
typedef enum dw_account_part {
    DW_PART_LINEAR,
    DW_PART_TABLES,
    DW_PART_CODE,
    DW_PART_SAMPLERS,
    DW_PART_TEXTS,
    DW_PART_GRAPHS,
    DW_PART_KV,
    DW_PART_MAIL,
    DW_PART_COUNT
} dw_account_part;

typedef struct dw_account dw_account;

/* Every member of `limits` is set. Errors: DW_E_MEMORY. */
dw_status dw_account_create(dw_account **out, const dw_limits *limits, dw_error *err);
/* NULL is fine, here and below: an account without limits. */
dw_account *dw_account_ref(dw_account *account);
void dw_account_unref(dw_account *account);

/* `bytes` more of a part; false: that is beyond its limit or beyond that of all, nothing is taken,
 * and dw_account_refused knows why. */
bool dw_account_take(dw_account *account, dw_account_part part, uint64_t bytes);
void dw_account_give(dw_account *account, dw_account_part part, uint64_t bytes);
/* dw_account_take. Errors: DW_E_LIMIT: the part, what was asked for, what is taken, the limit. */
dw_status dw_account_charge(dw_account *account, dw_account_part part, uint64_t bytes,
                            dw_error *err);

/* Whether something was refused since dw_account_forget, which then fills `err` with DW_E_LIMIT as
 * dw_account_charge does. For whoever is told DW_E_MEMORY: it may have been the account. */
bool dw_account_refused(const dw_account *account, dw_error *err);
void dw_account_forget(dw_account *account);
/* `status`, or where the account has refused something the reason for it, DW_E_LIMIT. */
dw_status dw_account_explain(dw_account *account, dw_status status, dw_error *err);

/* What is charged now, and the most so far; of all where `part` is DW_PART_COUNT. */
uint64_t dw_account_now(const dw_account *account, dw_account_part part);
uint64_t dw_account_most(const dw_account *account, dw_account_part part);

/* Whom this thread's allocations are charged to. */
typedef struct dw_account_scope {
    dw_account *account; /* NULL: nobody */
    dw_account_part part;
} dw_account_scope;

extern __thread dw_account_scope dw__account_now;

/* The account that is entered; NULL: none. */
static inline dw_account *dw_account_entered(void)
{
    return dw__account_now.account;
}

/* From here on the account's; what was before, for dw_account_leave. The account must live until
 * then. */
static inline dw_account_scope dw_account_enter(dw_account *account, dw_account_part part)
{
    dw_account_scope before = dw__account_now;
    dw__account_now = (dw_account_scope){account, part};
    return before;
}

static inline void dw_account_leave(dw_account_scope before)
{
    dw__account_now = before;
}

/* For what guests share and one of them happens to need first: it is nobody's. */
static inline dw_account_scope dw_account_pause(void)
{
    return dw_account_enter(NULL, DW_PART_COUNT);
}

/* From here on whoever the block, from dw_alloc, was charged to. */
dw_account_scope dw_account_enter_of(const void *block);

#ifdef __cplusplus
}
#endif

#endif
