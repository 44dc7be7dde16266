# An actor in which something goes wrong.
def sail(message):
    if message == "fail":
        raise ValueError("no tide today")
    return "well"


def receive(message):
    return sail(message)
