# An actor: a chat that keeps its context between messages.
#   driftwood actor spawn --state state --guest ./actor.wasm > id
#   driftwood actor send --state state $(cat id) "Name a sea."
from driftwood import Chat, Model

# Made for the first message, saved with the actor's memory behind each.
chat = Chat(Model())


def receive(message):
    chat.add("user", message)
    chat.answer(24)
    print()
