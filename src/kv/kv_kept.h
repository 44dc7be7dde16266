/* Logs that nobody has for now: of actors, say, that have left memory. What they had of their
 * device's address ranges stays there as long as nobody wants the room, so that they need not come
 * from a file when they are wanted again; each is given up for whoever lacks it, unsaved, the
 * longest kept first. They are charged to nobody.
 *
 * Each is known by a key, which must stand for its very bytes; one owner has logs of one state at a
 * time. What lies in host pages or in buffers is not kept: from a file those are mapped.
 * Thread: any. */
#ifndef DW_KV_KV_KEPT_H
#define DW_KV_KV_KEPT_H

#include "kv/kv_log.h"

typedef struct dw_kv_key {
    const void *home;  /* who keeps it, a runtime's folder; compared, never followed */
    char owner[17];    /* whose: all of its logs can be forgotten together */
    char state[33];    /* of which state of the owner's */
    int32_t number;    /* among the owner's */
    const void *model; /* that computed it; compared, never followed */
} dw_kv_key;

/* Destroy the log, keeping what it has in device memory where it can be: it is all there, all of it
 * counts as saved, and no step is under way. Logs of other states of the owner are forgotten. */
void dw_kv_log_keep(dw_kv_log *log, const dw_kv_key *key);
/* One of `length` records that was kept under the key, for the account that is entered: as it was,
 * and all of it counts as saved; it is kept no more. *out NULL: there is none, or it is of another
 * length or of other options. Errors: DW_E_LIMIT, DW_E_MEMORY; it is lost then. */
dw_status dw_kv_log_find_kept(dw_kv_log **out, dw_device *device, const dw_kv_log_options *options,
                              const dw_kv_key *key, uint32_t length, dw_error *err);

/* Logs may have so much together, each with all that it has, shared or not; 0, as it is at first:
 * none is kept. Beside that a sixteenth of the device's memory stays free. */
void dw_kv_kept_limit(dw_device *device, uint64_t bytes);
/* Give up those of a home's owner, NULL: of all it has; of a model; all: whether there were any. A
 * home does so before it ends. */
void dw_kv_kept_forget(dw_device *device, const void *home, const char *owner);
void dw_kv_kept_forget_model(dw_device *device, const void *model);
bool dw_kv_kept_forget_all(dw_device *device);

/* ---- private to src/kv ---- */

struct dw__kv_backing;
struct dw__kv_pool;

/* Take over a range; false: it stays the caller's. */
bool dw__kv_range_keep(struct dw__kv_backing *backing, const dw_kv_key *key, uint32_t length,
                       uint32_t capacity);
/* NULL: there is none such. The device's as it was handed over. */
struct dw__kv_backing *dw__kv_range_find_kept(dw_device *device, const dw_kv_log_options *options,
                                              const dw_kv_key *key, uint32_t length);
/* Under the pool's lock: give up the one that was kept for longest; false: there is none. */
bool dw__kv_pool_drop_kept(struct dw__kv_pool *pool);
/* Likewise, before `more` of the device's memory is taken: so many that the share of it that is to
 * stay free does, or all. */
void dw__kv_pool_leave_share(struct dw__kv_pool *pool, size_t more);
/* A dw_device_extra's: somebody else lacks memory. */
bool dw__kv_pool_relieve(void *pool);

#endif
