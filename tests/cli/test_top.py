#!/usr/bin/env python3
"""driftwood top: over a runtime that works, and over sockets that answer what they should not.

Called by ctest with the source and the build folder.
"""
import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

SOURCE, BUILD = sys.argv[1:3]
PROGRAM = os.path.join(BUILD, "driftwood")
SERVER = os.path.join(BUILD, "tests", "serve_runtime")
GUESTS = os.path.join(BUILD, "guests")


def top(*args, **more):
    return subprocess.run([PROGRAM, "top", *args], capture_output=True, text=True, timeout=60,
                          check=False, stdin=subprocess.DEVNULL, **more)


class Answering:
    """A socket that answers each request with the next of some lines, the last for ever."""

    def __init__(self, path, *lines):
        self.requests = []
        self.lines = list(lines)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            self.requests.append(client.recv(300))
            line = self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]
            try:
                client.sendall(line)
            except OSError:
                pass
            client.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def actor(number, **more):
    return {"id": f"{number:016x}", "tenant": "a", "state": "resting", "device_ns": 0,
            "guest_ns": 0, "prompt_tokens": 0, "generated_tokens": 0, "memory_bytes": 4096,
            "waiting": 0, "working_ns": 0, "failed": 0, **more}


def overview(uptime_s, actors, **more):
    return (json.dumps({
        "format": "driftwood-overview", "version": 1, "uptime_ns": int(uptime_s * 1e9),
        "resident_bytes": 5 << 20, "runtime": {"actors": len(actors), "messages": 10},
        "scheduler": {"steps": 10, "step_tokens": 40, "step_sequences": 20},
        "tenants": [{"name": "a", "weight": 100}], "actors": actors, "actors_left_out": 0,
        **more}) + "\n").encode()


class Case(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="dw-top-")
        self.path = os.path.join(self.place.name, "control")

    def tearDown(self):
        self.place.cleanup()


class Fake(Case):
    def answer(self, *lines):
        fake = Answering(self.path, *lines)
        self.addCleanup(fake.close)
        return fake

    def test_rates_and_order(self):
        first = overview(10, [actor(1), actor(2, device_ns=10**9)])
        second = overview(12, [actor(1, device_ns=10**9), actor(2, device_ns=10**9 + 10**6)])
        self.answer(first, second)
        done = subprocess.Popen([PROGRAM, "top", "--control", self.path, "--delay", "0.2"],
                                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        lines = []
        while sum(line.startswith("ACTOR") for line in lines) < 2 or len(lines[-1]) < 2 or \
                not lines[-1].startswith("000"):
            lines.append(done.stdout.readline())
        lines.append(done.stdout.readline())
        done.send_signal(signal.SIGINT)
        done.stdout.close()
        self.assertEqual(done.wait(), 130)
        last = [line.split() for line in lines if line.startswith("000")][-2:]
        # The first has taken a second of two, the other next to nothing.
        self.assertEqual([row[0][-1] for row in last], ["1", "2"])
        self.assertEqual(float(last[0][3]), 50.0)
        self.assertLess(float(last[1][3]), 0.2)

    def test_texts_are_not_obeyed(self):
        evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\n\u202e\u200f\u2066x"
        self.answer(overview(1, [actor(1, id=evil, tenant=evil, state=evil)],
                             tenants=[{"name": evil}, {"name": "Grüße 🙂"}]))
        done = top("--control", self.path, "--once")
        self.assertEqual(done.returncode, 0)
        for odd in "\x1b\x07\x9b\r\u202e\u200f\u2066":
            self.assertNotIn(odd, done.stdout)
        self.assertIn("Grüße 🙂", done.stdout)
        self.assertEqual(done.stdout.count("\n?[2J?]0;owned??"), 2)  # a tenant, an actor

    def test_answers_that_are_none(self):
        wrong = {b"nonsense\n": "no JSON", b"[]\n": "no runtime of this version",
                 b"{\"error\":\"no \\u001b such request\"}\n": "refused",
                 b"{\"format\":\"driftwood-overview\",\"version\":2}\n": "of this version",
                 b"{\"half\":": "no whole answer", b"": "no whole answer"}
        for line, words in wrong.items():
            fake = Answering(self.path, line)
            done = top("--control", self.path, "--once")
            fake.close()
            os.unlink(self.path)
            self.assertEqual(done.returncode, 1, line)
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
            self.assertNotIn("\x1b", done.stderr)
            self.assertEqual(done.stdout, "")

    def test_members_of_other_types(self):
        self.answer(overview(1, [actor(1, device_ns="much", waiting=-5), 7, None],
                             tenants="none", runtime=3, scheduler=[]))
        done = top("--control", self.path, "--once")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("0000000000000001", done.stdout)

    def test_models_of_a_server(self):
        """As GET /v1/models at the folder's other socket tells of them, and no terminal's orders among it."""
        self.answer(overview(1, [actor(1)]))
        told = {"data": [
            {"id": "big\x1b[2J", "status": {"value": "loaded", "fraction": 1}, "size": 3 << 30, "in_use": True},
            {"id": "idle", "status": {"value": "loaded", "fraction": 1}, "size": 5 << 20, "in_use": False,
             "idle_seconds": 150.2, "keep_seconds": 300.0},
            {"id": "kept", "status": {"value": "loaded", "fraction": 1}, "size": 5 << 20, "in_use": False,
             "idle_seconds": 7300, "keep_seconds": None},
            {"id": "comes", "status": {"value": "loading", "fraction": 0.42}, "size": 5 << 20},
            {"id": "bad", "status": {"value": "unloaded", "fraction": 0, "failed": True, "error": "no \x1b file"},
             "size": 0},
            {"id": "away", "status": {"value": "unloaded", "fraction": 0}, "size": 1 << 30}, 7, None]}
        body = json.dumps(told).encode()
        fake = Answering(os.path.join(self.place.name, "server"),
                         b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                         % len(body) + body)
        self.addCleanup(fake.close)
        done = top("--control", self.path, "--once")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("\x1b", done.stdout)
        lines = done.stdout.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("MODEL"))
        rows = [" ".join(line.split()) for line in lines[at + 1:at + 7]]
        self.assertEqual(rows, ["big?[2J loaded 3.0G 3.0G now -", "idle loaded 5.0M 5.0M 3 min 2 min",
                                "kept loaded 5.0M 5.0M 2 h -", "comes loading 42 % - 5.0M - -",
                                "bad failed - 0.0K - - no ? file", "away unloaded - 1.0G - -"])
        seen = json.loads(top("--control", self.path, "--once", "--json").stdout)
        self.assertEqual(seen["models"], told["data"])
        self.assertEqual(fake.requests[-1].split(b"\r\n")[0], b"GET /v1/models HTTP/1.1")
        self.assertEqual(top("--once", "--control", "control", cwd=self.place.name).stdout, done.stdout)

    def test_a_server_that_says_nothing_of_models(self):
        self.answer(overview(1, [actor(1)]))
        for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 500 No\r\n\r\n",
                       b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"data\":3}"):
            fake = Answering(os.path.join(self.place.name, "server"), answer)
            done = top("--control", self.path, "--once")
            fake.close()
            os.unlink(os.path.join(self.place.name, "server"))
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertNotIn("MODEL", done.stdout)
            self.assertIn("0000000000000001", done.stdout)

    def test_request(self):
        fake = self.answer(overview(1, []))
        self.assertEqual(top("--control", self.path, "--once", "--sort", "tokens",
                             "--actors", "7").returncode, 0)
        self.assertEqual(fake.requests[0], b"overview tokens 7\n")

    def test_command_line(self):
        self.assertEqual(top("--sort", "speed").returncode, 2)
        self.assertEqual(top("--delay", "0").returncode, 2)
        self.assertEqual(top("--actors", "4097").returncode, 2)
        self.assertEqual(top("more").returncode, 2)
        self.assertIn("--once", top("--help").stdout)
        done = top("--control", self.path, "--once")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no runtime answers there", done.stderr)
        done = top("--control", "x" * 200, "--once")
        self.assertIn("a socket's path has at most", done.stderr)
        self.assertEqual(top("--control", self.path, "--state", "/tmp").returncode, 1)
        done = top("--state", self.place.name, "--once")
        self.assertIn(self.path, done.stderr)


class Real(Case):
    def setUp(self):
        super().setUp()
        self.server = subprocess.Popen([SERVER, self.path, GUESTS], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.assertEqual(self.server.stdout.readline(), b"ready\n")

    def tearDown(self):
        if self.server.poll() is None:
            self.server.stdin.close()
            self.assertEqual(self.server.wait(60), 0)
        else:
            self.server.stdin.close()
        self.server.stdout.close()
        super().tearDown()

    def test_once_as_json(self):
        done = top("--control", self.path, "--once", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1)
        seen = json.loads(done.stdout)
        self.assertEqual(len(seen["actors"]), 5)
        self.assertEqual(len(seen["tenants"]), 3)
        self.assertEqual(seen["runtime"]["messages"],
                         sum(one["messages"] for one in seen["tenants"]))
        time.sleep(0.2)
        again = json.loads(top("--control", self.path, "--once", "--json").stdout)
        self.assertGreater(again["runtime"]["messages"], seen["runtime"]["messages"])
        self.assertGreater(again["runtime"]["guest_ns"], seen["runtime"]["guest_ns"])

    def test_once_as_table(self):
        done = top("--control", self.path, "--once")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("5 actors", done.stdout)
        self.assertIn("Grüß", done.stdout)
        self.assertNotIn("\x1b", done.stdout)

    def start_at_terminal(self):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
        before = termios.tcgetattr(slave)
        done = subprocess.Popen([PROGRAM, "top", "--control", self.path, "--delay", "0.2"],
                                stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        return done, master, slave, before

    def read_until(self, master, words, timeout_s=30):
        text = b""
        until = time.monotonic() + timeout_s
        while words not in text and time.monotonic() < until:
            if select.select([master], [], [], 0.2)[0]:
                text += os.read(master, 65536)
        self.assertIn(words, text)
        return text

    def assert_restored(self, done, master, slave, before, code):
        text = self.read_until(master, b"\x1b[?1049l")
        self.assertIn(b"\x1b[?25h", text)
        self.assertEqual(done.wait(30), code)
        self.assertEqual(termios.tcgetattr(slave), before)

    def test_terminal(self):
        done, master, slave, before = self.start_at_terminal()
        text = self.read_until(master, b"q quit")
        self.assertIn(b"\x1b[?1049h", text)
        self.assertNotEqual(termios.tcgetattr(slave), before)
        frame = text.split(b"\x1b[H\x1b[2J")[1]
        self.assertLessEqual(frame.count(b"\n"), 19)
        for line in frame.decode().split("\r\n"):
            self.assertLessEqual(len(line), 100)
        os.write(master, b"m")
        self.read_until(master, b"q quit")
        os.write(master, b"q")
        self.assert_restored(done, master, slave, before, 0)

    def test_terminal_after_signals(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM),
                             (signal.SIGHUP, -signal.SIGHUP)):
            done, master, slave, before = self.start_at_terminal()
            self.read_until(master, b"q quit")
            done.send_signal(number)
            self.assert_restored(done, master, slave, before, code)

    def test_terminal_after_its_runtime(self):
        done, master, slave, before = self.start_at_terminal()
        self.read_until(master, b"q quit")
        self.server.stdin.close()
        self.server.wait(60)
        self.assert_restored(done, master, slave, before, 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
