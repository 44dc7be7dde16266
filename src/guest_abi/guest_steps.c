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

bool dw__ranges_meet(uint32_t a, uint64_t a_bytes, uint32_t b, uint64_t b_bytes)
{
    return a_bytes > 0 && b_bytes > 0 && a < b + b_bytes && b < a + a_bytes;
}

dw_status dw__top_ranges(dw_instance *instance, const dw_context *context, uint32_t tokens,
                         uint32_t log_probabilities, dw_choice *choice, dw_error *err)
{
    dw_model_info info = {.struct_bytes = sizeof info};
    dw_model_get_info(dw_context_model(context), &info);
    uint32_t most = info.vocab_count < DW_TOP_K_MAX ? info.vocab_count : DW_TOP_K_MAX;
    uint32_t count = choice->top_count;
    void *place;
    if (count > most) {
        return dw_fail(err, DW_E_LIMIT, "top_count: %u, limit %u", count, most);
    }
    dw_status status = dw_instance_range(instance, "top_tokens", tokens, count, sizeof(int32_t),
                                         sizeof(int32_t), &place, err);
    choice->top_tokens = place;
    if (status == DW_OK && log_probabilities != 0) {
        status = dw_instance_range(instance, "top_log_probabilities", log_probabilities, count,
                                   sizeof(float), sizeof(float), &place, err);
        choice->top_log_probabilities = place;
    }
    return status;
}

typedef struct slide_work {
    dw_context *context;
    uint32_t sink;
    uint32_t drop;
    dw_stop *stop;
} slide_work;

static dw_status do_slide(void *arg, dw_error *err)
{
    const slide_work *work = arg;
    return dw_context_shift(work->context, work->sink, work->drop, work->stop, err);
}

dw_status dw__make_window(dw_instance *instance, dw_context *context, uint32_t count, dw_error *err)
{
    uint32_t window;
    slide_work work = {.context = context, .stop = dw_instance_stop(instance)};
    dw_status status = dw_context_slide(context, count, &work.drop, err);
    if (status != DW_OK || work.drop == 0) {
        return status;
    }
    dw_context_window(context, &work.sink, &window);
    return dw_instance_compute(instance, do_slide, &work, err);
}

dw_status dw__do_embed(void *work, dw_error *err)
{
    const dw__embed_work *own = work;
    return dw_embed(own->model, &own->step, err);
}
