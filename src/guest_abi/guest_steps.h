/* What imports that run forward steps share. Private to src/guest_abi. Thread: the guest's. */
#ifndef DW_GUEST_ABI_GUEST_STEPS_H
#define DW_GUEST_ABI_GUEST_STEPS_H

#include "wasm/guest_instance.h"

/* A step of the guest's: whom it counts for, who may stop it, who is told how far it is. */
dw_step dw__step_of(dw_instance *instance);
/* Errors: DW_E_ARG (it chooses among another number of tokens than the context's model has). */
dw_status dw__check_sampler_fits(const dw_sampler *sampler, const dw_context *context,
                                 dw_error *err);

#endif
