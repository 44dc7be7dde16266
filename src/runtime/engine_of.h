/* What a runtime stands on, for those above it that tell of it. */
#ifndef DW_RUNTIME_ENGINE_OF_H
#define DW_RUNTIME_ENGINE_OF_H

#include "driftwood.h"
#include "model/model.h"

/* As long as the runtime. Thread: any. */
dw_engine *dw_runtime_engine(dw_runtime *runtime);
/* Whether somebody said what the tenant may do; false: nobody made it, or dw_runtime_options'
 * makes_tenants alone, with all that "" has. Thread: any. */
bool dw_runtime_tenant_is_set(dw_runtime *runtime, const char *name);
/* Whether the tenant's actors may be granted the model of these names. Thread: any. Errors:
 * DW_E_DENIED, DW_E_STATE. */
dw_status dw_runtime_may_have_model(dw_runtime *runtime, const char *tenant,
                                    const dw_model_names *names, dw_error *err);

#endif
