#include "base/alloc.h"
#include "wasm/guest_instance.h"

dw_status dw_guest_sampler_create(dw_guest_sampler **out, dw_sampler *sampler, dw_model *model,
                                  dw_error *err)
{
    *out = dw_alloc(1, sizeof **out);
    if (*out == NULL) {
        dw_sampler_destroy(sampler);
        return dw_fail(err, DW_E_MEMORY, "no memory for a sampler");
    }
    (*out)->sampler = sampler;
    (*out)->model = dw_model_ref(model);
    return DW_OK;
}

void dw_guest_sampler_destroy(dw_guest_sampler *object)
{
    if (object != NULL) {
        dw_sampler_destroy(object->sampler);
        dw_model_unref(object->model);
        dw_free(object);
    }
}
