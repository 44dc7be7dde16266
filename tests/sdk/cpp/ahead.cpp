// Who may use a context while the device generates on it, and behind that; see test_ahead.
#include <stdio.h>

#include "driftwood.hpp"

template <class T>
static int status_of(const T &result)
{
    return result ? 0 : static_cast<int>(result.error().code);
}

int main()
{
    dw::Model model = dw::Model::open("").must("model");
    dw::Sampler sampler = dw::Sampler::create(model, {}).must("sampler");
    dw::Context context = dw::Context::create(model, 64).must("context");
    dw::Tokens prompt = model.tokenize("The sea").must("tokens");
    dw::Generation one(8);
    dw::Generation other(8);
    one.begin(context, sampler, prompt).must("begin");
    const int twice = status_of(one.begin(context, sampler, prompt));
    printf("taken %d %d %d %d %d\n", status_of(context.fork()), status_of(context.trim(0)),
           status_of(context.forward(prompt)), status_of(other.begin(context, sampler, prompt)),
           status_of(sampler.accept(1)));
    while (one.going()) {
        one.wait().must("wait");
    }
    printf("ended %d %d %d\n", static_cast<int>(one.tokens().size()),
           static_cast<int>(one.end().must("end")), static_cast<int>(one.wait().must("wait")));
    const int forked = status_of(context.fork());
    const int trimmed = status_of(context.trim(2));
    printf("free %d %d %d", forked, trimmed, status_of(context.forward(prompt)));
    other.begin(context, sampler, prompt).must("begin");
    printf(", again %d %s\n", static_cast<int>(one.wait().must("wait")),
           other.going() ? "false" : "true");
    const int32_t handle = context.handle();
    context.reset();
    printf("closing 0, then %d\n", static_cast<int>(dw_context_length(handle)));
    context.reset();
    printf("closed 0, then %d %d\n", status_of(context.fork()), status_of(context.trim(0)));
    if (twice != DW_E_STATE || other.going()) {
        printf("begun twice, or not ended\n");
    }
}
