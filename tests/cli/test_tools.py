#!/usr/bin/env python3
"""--tool NAME=COMMAND: what a command gets and gives, and how it ends."""
import os
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE, BUILD = sys.argv[1:3]
DRIFTWOOD = os.path.join(BUILD, "driftwood")
CALLER = os.path.join(BUILD, "guests", "caller.wasm")


def driftwood(*arguments):
    return subprocess.run([DRIFTWOOD, *arguments], capture_output=True, text=True, timeout=120,
                          check=False)


def call(name, request, *options, room=()):
    result = driftwood("run", CALLER, *options, "--", name, request, *room)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return result.stdout


class Tools(unittest.TestCase):
    def test_request_and_answer(self):
        self.assertEqual(call("up", "abc", "--tool", "up=tr a-z A-Z"), "3: ABC\n")
        self.assertEqual(call("say", "", "--tool", "say=printf '%s|' 'a b' \"c 'd'\" e\\ f"),
                         "15: a b|c 'd'|e f|\n".replace("15", "14"))
        self.assertEqual(call("deaf", "x" * 100000, "--tool", "deaf=echo no"), "3: no\n\n")

    def test_no_shell(self):
        self.assertEqual(call("say", "", "--tool", "say=echo $HOME ; echo *"),
                         "15: $HOME ; echo *\n\n")

    def test_last_of_a_name_counts(self):
        self.assertEqual(call("t", "", "--tool", "t=echo 1", "--tool", "t=echo 2"), "2: 2\n\n")

    def test_long_answer(self):
        self.assertEqual(call("say", "", "--tool", "say=echo 0123456789", room=("4",)),
                         "once more, 11: 0123456789\n\n")
        said = call("flood", "", "--tool", "flood=yes")
        self.assertIn("-8 call: flood: an answer of more than 1048576 bytes", said)

    def test_failures(self):
        self.assertIn("-21 call: b: no such tool was granted (--tool)",
                      call("b", "", "--tool", "a=true"))
        self.assertIn("-21 call: b: this guest has no tools", call("b", ""))
        self.assertIn("-15 call: b: it ended with 3", call("b", "", "--tool", "b=sh -c 'exit 3'"))
        self.assertIn("-15 call: b: it was ended by signal 9",
                      call("b", "", "--tool", "b=sh -c 'kill -9 $$'"))
        self.assertIn("cannot be started: No such file", call("b", "", "--tool", "b=/nowhere/b"))

    def test_time(self):
        # Who waited for the end of one would be ended by the test.
        said = call("b", "", "--tool", "b=sh -c 'sleep 300 | sleep 300'", "--tool-timeout", "1")
        self.assertIn("-8 call: b: it ran longer than 1 s (--tool-timeout)", said)
        result = driftwood("run", CALLER, "--tool", "b=sleep 300", "--timeout", "1", "--", "b", "")
        self.assertEqual(result.returncode, 1)
        self.assertIn("longer than its 1000 ms", result.stderr)

    def test_refused(self):
        for given, words in (("a", "NAME=COMMAND"), ("=true", "a name of 1 to 63"),
                             ("a b=true", "a name of 1 to 63"), ("a=", "no command"),
                             ("a=echo 'x", "has no end"), ("a" * 64 + "=true", "1 to 63"),
                             ("a=" + "x " * 65, "more than 64 words"),
                             ("a=" + "x" * 5000, "at most 4095 bytes")):
            result = driftwood("run", CALLER, "--tool", given)
            self.assertEqual(result.returncode, 2, given)
            self.assertIn(words, result.stderr)
        self.assertEqual(driftwood("run", CALLER, "--tool-timeout", "0").returncode, 2)

    def test_actors(self):
        with tempfile.TemporaryDirectory() as folder:
            state = ("--state", folder)
            spawned = driftwood("actor", "spawn", "--guest", CALLER, *state)
            self.assertEqual(spawned.returncode, 0, spawned.stderr)
            actor = spawned.stdout.strip()
            sent = driftwood("actor", "send", actor, "up abc", *state, "--tool", "up=tr a-z A-Z")
            self.assertEqual(sent.stdout, "3: ABC\n", sent.stderr)
            sent = driftwood("actor", "send", actor, "up abc", *state)
            self.assertIn("this guest has no tools", sent.stdout)


class Kept(unittest.TestCase):
    """What a tool answered is told again where the message is worked on again."""
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.state = ("--state", os.path.join(self.folder.name, "state"))
        self.log = os.path.join(self.folder.name, "log")
        self.tool = ("--tool", f"note=sh -c 'echo x >>{self.log}; echo $$'")
        spawned = driftwood("actor", "spawn", "--guest", CALLER, *self.state)
        self.assertEqual(spawned.returncode, 0, spawned.stderr)
        self.actor = spawned.stdout.strip()

    def times(self):
        if not os.path.exists(self.log):
            return 0
        with open(self.log, encoding="utf-8") as lines:
            return len(lines.readlines())

    def calls(self):
        place = os.path.join(self.state[1], "calls", self.actor)
        return sorted(os.listdir(place)) if os.path.isdir(place) else []

    def test_a_trap(self):
        failed = driftwood("actor", "send", self.actor, "note a\nnote a\ntrap", *self.state,
                           *self.tool, "--limit", "attempts=3")
        self.assertEqual(failed.returncode, 1, failed.stdout)
        driftwood("actor", "run", *self.state, *self.tool)
        self.assertEqual(self.times(), 2)  # the two of one attempt
        said = driftwood("actor", "send", self.actor, "note a", *self.state, *self.tool)
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertEqual(self.times(), 3)  # another message's is another call
        self.assertEqual(self.calls(), [])

    def test_a_kill(self):
        gate = "note a\ngate @"
        with subprocess.Popen([DRIFTWOOD, "actor", "send", self.actor, gate, *self.state,
                               *self.tool, "--tool", "gate=sleep 100"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as sending:
            for _ in range(600):
                if self.calls():
                    break
                time.sleep(0.05)
            sending.kill()
            sending.wait()
        self.assertEqual(self.calls(), ["0"])
        with open(os.path.join(self.state[1], "calls", self.actor, "0"), "rb") as kept:
            told = kept.read().decode().split("\n")[1]
        heard = os.path.join(self.folder.name, "heard")
        worked = driftwood("actor", "run", *self.state, *self.tool, "--tool",
                           f"gate=sh -c 'cat >{heard}'")
        self.assertEqual(worked.returncode, 0, worked.stderr)
        self.assertEqual(self.times(), 1)
        with open(heard, encoding="utf-8") as request:
            self.assertEqual(request.read(), told + "\n")
        self.assertEqual(self.calls(), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
