#include "guest_abi/guest_steps.h"

static void report_progress(void *user, uint32_t done, uint32_t total)
{
    dw_instance_progress(user, done, total);
}

dw_step dw__step_of(dw_instance *instance)
{
    return (dw_step){.counters = dw_instance_counters(instance),
                     .stop = dw_instance_stop(instance),
                     .on_progress = report_progress,
                     .user = instance};
}

dw_status dw__check_sampler_fits(const dw_sampler *sampler, const dw_context *context,
                                 dw_error *err)
{
    uint32_t found = dw_sampler_vocab_count(sampler);
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(dw_context_model(context), &info);
    return found == info.vocab_count
               ? DW_OK
               : dw_fail(err, DW_E_ARG,
                         "sampler: it chooses among %u tokens, the context's model "
                         "has %u",
                         found, info.vocab_count);
}
