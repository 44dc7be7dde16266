/* Contexts that guests save under names: a folder of files, of one tenant each. For embedders:
 * dw_contexts_open and what follows it in include/driftwood.h.
 *
 *   TENANT/            its name in hexadecimal digits, "-" in front
 *     .lock            held while names change
 *     .tmp-RANDOM      what is being written, locked by who writes it
 *     NAME.context     likewise in digits; context_file.h has the layout
 *
 * Thread: any. Several processes may use a folder. */
#ifndef DW_CONTEXTS_CONTEXTS_H
#define DW_CONTEXTS_CONTEXTS_H

#include "base/stop.h"
#include "inference/context.h"

/* Who saves or opens, and under what limits. */
typedef struct dw_context_place {
    const char *tenant;
    const char *name;
    uint64_t count_max; /* of the tenant's, as the next */
    uint64_t bytes_max;
    dw_stop *stop; /* of who waits for it; may be NULL */
} dw_context_place;

/* Save what the context holds, in the place of what has the name. For bytes_max what others are
 * writing counts as if it were saved. Errors, which name the context: DW_E_ARG (the name),
 * DW_E_STATE (it holds nothing), DW_E_LIMIT, DW_E_IO, DW_E_CANCELLED, DW_E_MEMORY, DW_E_DEVICE,
 * dw_model_await_fingerprint's: what had the name has it still, but where a DW_E_IO says that this
 * one is in its place, and that the folder could not be synced: after a failure of power either
 * may be. */
dw_status dw_contexts_save(dw_contexts *contexts, const dw_context_place *place,
                           dw_context *context, dw_error *err);

typedef struct dw_context_wanted {
    dw_model *model;
    dw_kv_type kv_type;
    uint32_t tokens_max;
    dw_stop *stop; /* the place's, where there is one */
} dw_context_wanted;
/* A context with what was saved: in host memory its records are mapped, shared with whoever else
 * has opened the same. Errors: DW_E_ARG (the name), DW_E_NOT_FOUND, DW_E_UNSUPPORTED (of another
 * model, of another type of keys and values), DW_E_LIMIT (it or its window is longer than
 * tokens_max), DW_E_FORMAT (the file is damaged), DW_E_CANCELLED (its stop asks), DW_E_IO,
 * DW_E_MEMORY, DW_E_DEVICE. */
dw_status dw_contexts_load(dw_contexts *contexts, const dw_context_place *place,
                           const dw_context_wanted *wanted, dw_context **out, dw_error *err);

/* ---- grants ---- */

/* What an instance was granted; counted. */
typedef struct dw_context_grants dw_context_grants;
/* Whether the place's name may be saved, or opened; the place's limits become those of its tenant
 * where these are lower. Errors: DW_E_DENIED. */
typedef dw_status (*dw_context_may_fn)(void *user, dw_context_place *place, bool saves,
                                       dw_error *err);
/* Asked each time. `contexts` outlives it; `tenant` is copied. Errors: DW_E_MEMORY. */
dw_status dw_context_grants_create(dw_context_grants **out, dw_contexts *contexts,
                                   const char *tenant, dw_context_may_fn may, void *user,
                                   dw_error *err);
/* By patterns, which are copied, as dw_contexts_grant says. Errors: DW_E_ARG, DW_E_LIMIT,
 * DW_E_MEMORY. */
dw_status dw_context_grants_of(dw_context_grants **out, const dw_contexts_grant *grant,
                               dw_error *err);
dw_context_grants *dw_context_grants_ref(dw_context_grants *grants); /* NULL is fine, as below */
void dw_context_grants_unref(dw_context_grants *grants);
/* As dw_context_may_fn. Errors: DW_E_DENIED (also where `grants` is NULL). */
dw_status dw_context_grants_check(const dw_context_grants *grants, dw_context_place *place,
                                  bool saves, dw_error *err);
dw_contexts *dw_context_grants_folder(const dw_context_grants *grants);
const char *dw_context_grants_tenant(const dw_context_grants *grants); /* of NULL: "" */

/* Whether a pattern, a name or the beginning of one and '*', is one of a name: `patterns` [count],
 * NULL: any name is. */
bool dw_context_name_granted(const char *const *patterns, size_t count, const char *name);
/* A name, as base/name.h has it, or the beginning of one and '*'. Errors: DW_E_ARG. */
dw_status dw_context_pattern_check(const char *pattern, dw_error *err);

#endif
