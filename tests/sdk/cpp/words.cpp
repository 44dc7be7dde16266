// An actor in which something goes wrong, with what the language needs of a library: new, static
// objects within functions, virtual functions.
#include "driftwood.hpp"

struct Tide {
    virtual const char *word() const = 0;
    virtual ~Tide() {}
};
struct alignas(64) High : Tide {
    const char *word() const override { return "well"; }
};

static Tide &tide()
{
    static Tide *one = new High;
    static const dw::String kept = dw::String::of(dw::Text(one->word()));
    return *one;
}

static dw::Status handle(dw::Text message)
{
    if (message == dw::Text("fail")) {
        return dw::Error::of(DW_E_STATE, "no tide today");
    }
    if (message[0] == '=') {
        auto answer = dw::call("echo", message.part(1, message.size() - 1));
        return answer ? dw::actor::reply(*answer) : dw::Status(answer.error());
    }
    High *many = new High[3];
    bool aligned = reinterpret_cast<uintptr_t>(many) % 64 == 0;
    delete[] many;
    return dw::actor::reply(aligned ? tide().word() : "not aligned");
}

DW_ACTOR_RECEIVE
{
    auto message = dw::input();
    dw::Status done = message ? handle(*message) : dw::Status(message.error());
    done.must("words");
    return 0;
}
