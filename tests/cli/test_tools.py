#!/usr/bin/env python3
"""--tool NAME=COMMAND and NAME=URL: what is given to one and comes back, and how it ends."""
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
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
            self.assertEqual((spawned.returncode, spawned.stderr), (0, ""))
            other = driftwood("actor", "spawn", "--guest", CALLER, *state, "--tool", "up=tr a-z A-Z")
            self.assertIn("--tool: not kept", other.stderr)
            actor = spawned.stdout.strip()
            sent = driftwood("actor", "send", actor, "up abc", *state, "--tool", "up=tr a-z A-Z")
            self.assertEqual(sent.stdout, "3: ABC\n", sent.stderr)
            sent = driftwood("actor", "send", actor, "up abc", *state)
            self.assertIn("this guest has no tools", sent.stdout)


class Address(http.server.BaseHTTPRequestHandler):
    """Answers what was posted, in capitals; or as its path says."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).upper()
        if self.path == "/slow":
            time.sleep(5)
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/up")
            body = b""
        else:
            self.send_response(int(self.path[1:]) if self.path[1:].isdigit() else 200)
        body = body * (2 << 20) if self.path == "/flood" else body
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:  # who asked has gone
            self.close_connection = True

    def log_message(self, *_):
        pass


class Addresses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Address)
        cls.url = f"http://127.0.0.1:{cls.server.server_port}"
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def call(self, path, request, *options):
        said = call("t", request, "--tool", f"t={self.url}{path}", *options)
        if "built without libcurl" in said:
            self.skipTest("built without libcurl")
        return said

    def test_request_and_answer(self):
        self.assertEqual(self.call("/up", "abc"), "3: ABC\n")
        self.assertEqual(self.call("/up", ""), "0: \n")

    def test_failures(self):
        self.assertIn("answered 500", self.call("/500", "x"))
        self.assertIn("there is no such thing", self.call("/404", "x"))
        self.assertIn("refused (403)\n", self.call("/403", "x"))
        self.assertIn("answered 302", self.call("/away", "x"))  # nobody is asked but that address
        self.assertIn("an answer of more than 1048576 bytes", self.call("/flood", "x"))
        self.assertIn("took longer than 1 s", self.call("/slow", "x", "--tool-timeout", "1"))
        said = call("t", "x", "--tool", "t=http://127.0.0.1:1/")
        self.assertIn("127.0.0.1:1/", said)

    def test_time(self):
        result = driftwood("run", CALLER, "--tool", f"t={self.url}/slow", "--timeout", "1", "--",
                           "t", "x")
        self.assertIn("longer than its 1000 ms", result.stderr)


class Granted(unittest.TestCase):
    """A manifest says whose actors may call which tools."""
    def test_manifest(self):
        tools = ("--tool", "up=tr a-z A-Z", "--tool", "note=true")
        with tempfile.TemporaryDirectory() as folder:
            manifest = os.path.join(folder, "manifest")
            with open(manifest, "w", encoding="utf-8") as file:
                json.dump({"tenants": {"some": {"tools": ["up"]}, "all": {"tools": ["*"]},
                                       "none": {}}}, file)
            state = ("--state", os.path.join(folder, "state"), "--manifest", manifest)
            for tenant, up, note in (("some", "3: ABC", "may not call 'note'"),
                                     ("all", "3: ABC", "0: "),
                                     ("none", "may not call 'up'", "may not call 'note'")):
                spawned = driftwood("actor", "spawn", "--guest", CALLER, "--tenant", tenant, *state)
                self.assertEqual(spawned.returncode, 0, spawned.stderr)
                for request, words in (("up abc", up), ("note x", note)):
                    sent = driftwood("actor", "send", spawned.stdout.strip(), request, *state,
                                     *tools)
                    self.assertIn(words, sent.stdout, sent.stderr)


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
