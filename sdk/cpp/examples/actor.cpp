// An actor: a chat that keeps its context between messages.
//   driftwood actor spawn --state state --guest ./actor.wasm > id
//   driftwood actor send --state state $(cat id) "Name a sea."
#include "driftwood.hpp"

struct Talk {
    dw::Model model = dw::Model::open().must("model");
    dw::Chat chat{model};
};

DW_ACTOR_RECEIVE
{
    static Talk talk; // made for the first message, saved with the actor's memory behind each
    auto message = dw::input();
    if (!message) {
        return message.error().code;
    }
    talk.chat.add("user", *message).must("message");
    auto answer = talk.chat.answer(24, dw::print);
    dw::print("\n");
    return answer ? 0 : answer.error().code;
}
