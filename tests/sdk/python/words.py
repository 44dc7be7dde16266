# An actor in which something goes wrong.
from driftwood import actor, call_bytes


def sail(message):
    if message == "fail":
        raise ValueError("no tide today")
    return "well"


def receive(message):
    own = actor.message_bytes()
    if own[0] == 0x3d:
        return call_bytes("echo", own[1:])
    return sail(message)
