#!/usr/bin/env python3
"""Standard output that cannot be written, and descriptors that are closed, for every command.

Called by ctest with the source and the build folder; the default model is in DW_TEST_MODEL_DIR.
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE, BUILD = sys.argv[1:3]
PROGRAM = os.path.join(BUILD, "driftwood")
GUESTS = os.path.join(BUILD, "guests")
SERVER = os.path.join(BUILD, "tests", "serve_runtime")
MODEL_DIR = os.environ.get("DW_TEST_MODEL_DIR", os.path.expanduser("~/.cache/driftwood"))
MODEL = os.path.join(MODEL_DIR, "SmolLM2-135M-Instruct.Q4_1.gguf")
TALKER = os.path.join(GUESTS, "actor_talker.wasm")
WITH_MODEL = ["--model", MODEL, "--threads", "1"]
# How the shell makes a standard output that takes nothing, and what the line says then.
OUTPUTS = {"> /dev/full": "No space left on device", ">&-": "Bad file descriptor",
           "| true": "Broken pipe"}


def guest(name):
    return os.path.join(GUESTS, name + ".wasm")


def run(*args, **more):
    return subprocess.run([PROGRAM, *args], capture_output=True, timeout=300, check=False,
                          **{"stdin": subprocess.DEVNULL, **more})


def run_into(output, *args, stdin=b""):
    """With such a standard output. A pipe has lost its reader before the program starts."""
    command = 'exec "$@" ' + output
    if output.startswith("|"):
        # The reader's end is closed at once: the shell waits for it.
        reader, writer = os.pipe()
        os.close(reader)
        try:
            return subprocess.run([PROGRAM, *args], stdout=writer, stderr=subprocess.PIPE,
                                  input=stdin, timeout=300, check=False)
        finally:
            os.close(writer)
    return subprocess.run(["sh", "-c", command, "-", PROGRAM, *args], stderr=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, input=stdin, timeout=300, check=False)


class Case(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="dw-output-")
        self.folder = self.place.name
        self.state = os.path.join(self.folder, "state")

    def tearDown(self):
        self.place.cleanup()

    def actor(self, *args, **more):
        done = run("actor", *args, "--state", self.state, "--threads", "1", **more)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout

    def ids(self):
        return sorted(item["id"] for item in json.loads(self.actor("list", "--json")))


class Output(Case):
    def assert_told(self, output, done, command):
        self.assertEqual(done.returncode, 1, (command, done.stderr))
        lines = done.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, (command, lines))
        self.assertTrue(lines[0].startswith("driftwood: standard output: " + OUTPUTS[output]),
                        (command, lines))
        return lines[0]

    def serve(self):
        """A runtime that works, for commands that look at one."""
        self.control = os.path.join(self.folder, "control")
        server = subprocess.Popen([SERVER, self.control, GUESTS], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait, 60)
        self.addCleanup(server.stdin.close)
        self.assertEqual(server.stdout.readline(), b"ready\n")

    def commands(self, ids):
        text = os.path.join(self.folder, "text")
        with open(text, "w") as stream:
            stream.write("The tide comes in, and goes out again. " * 4)
        snapshot = os.path.join(self.folder, "snapshot")
        if not os.path.exists(snapshot):
            self.actor("export", ids[0], snapshot)
        looking = ["top", "--control", self.control, "--once"]
        windows = ["--context", "8", "--tokens", "16", "--text", text, *WITH_MODEL]
        plain = [["--help"], ["--version"], ["help"], ["help", "run"], ["devices"],
                 ["devices", "--json"], ["models"], ["models", "--json"], ["pull", "--list"],
                 ["doctor", "--device", "CPU"], ["doctor", "--device", "CPU", "--json"],
                 ["inspect", MODEL], ["inspect", MODEL, "--json"], ["inspect", snapshot],
                 ["inspect", snapshot, "--json"], ["check", snapshot],
                 ["check", snapshot, "--json"], ["eval", "perplexity", *windows],
                 ["eval", "perplexity", *windows, "--json"],
                 ["eval", "logits", *windows, "--out", "-"],
                 ["eval", "logits", *windows, "--out", os.path.join(self.folder, "logits")],
                 ["run", *WITH_MODEL, "--prompt", "Hello", "--max-tokens", "3"],
                 ["run", guest("print_env"), "--env", "A=1"], ["limits"],
                 ["new", "--list"], ["new", "--list", "--json"], ["build", "-q", self.project()],
                 ["chat", *WITH_MODEL, "--max-tokens", "3"], looking, [*looking, "--json"],
                 ["serve", *WITH_MODEL, "--listen", "127.0.0.1:0", "--state",
                  os.path.join(self.folder, "served")]]
        plain += [[name, "--help"] for name in ("run", "chat", "actor", "doctor", "devices",
                                                "models", "inspect", "eval", "check", "top",
                                                "serve", "new", "build")]
        actors = [["spawn", "--guest", TALKER, *WITH_MODEL], ["send", ids[0], "+5"],
                  ["send", ids[0], "+5", "--json"], ["list"], ["show", ids[0]],
                  ["show", ids[0], "--json"], ["list", "--json"], ["freeze", ids[0]],
                  ["freeze", ids[0], "--json"], ["thaw", ids[0]], ["thaw", ids[0], "--json"],
                  ["fork", ids[0]], ["fork", ids[0], "--json"], ["import", snapshot],
                  ["import", snapshot, "--json"], ["verify", ids[0]],
                  ["verify", ids[0], "--json"], ["diff", ids[0], ids[1]],
                  ["mail", ids[0], "--json"], ["contexts", "--json"],
                  ["export", ids[0], os.path.join(self.folder, "out"), "--json"]]
        return plain + [["actor", *words, "--state", self.state] for words in actors]

    def project(self):
        """One whose build is a copy."""
        folder = os.path.join(self.folder, "project")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "driftwood.json"), "w", encoding="utf-8") as recipe:
            json.dump({"name": "copied", "build": [["cp", TALKER, "made.wasm"]],
                       "result": "made.wasm"}, recipe)
        return folder

    def test_every_command_tells(self):
        self.serve()
        ids = [self.actor("spawn", "--guest", TALKER, *WITH_MODEL).decode().strip()
               for _ in range(2)]
        self.actor("send", ids[0], "+7")
        ids_before = self.ids()
        commands = self.commands(ids)
        listed = run("--help").stdout.decode()
        elsewhere = {"pull"}  # it needs a server: test_pull.py
        for name in re.findall(r"^  (\w+) ", listed, re.M):
            tried = any(words[0] == name and "--help" not in words for words in commands)
            self.assertTrue(name in elsewhere or tried, name)
        quiet = {"run", "rewind", "stop", "logs"}  # print nothing; logs is a server's: test_chat_served.py
        for name in re.findall(r"^  (\w+) ", run("actor", "--help").stdout.decode(), re.M):
            self.assertTrue(name in quiet or
                            any(words[:2] == ["actor", name] for words in commands), name)
        for output in OUTPUTS:
            for words in commands:
                line = self.assert_told(output, run_into(output, *words, stdin=b"Hello!\n"),
                                        words)
                if words[:2] == ["actor", "send"]:
                    self.assertIn("the message was not worked on", line)
            # Nobody was told of a new actor, nor of an answer: there is none.
            self.assertEqual(self.ids(), ids_before)
            self.assertEqual(self.actor("send", ids[0], "+0"), b"\x07\0\0\0\n")
        for words in (["actor", "run"], ["actor", "stop", ids[1]]):
            done = run_into(">&-", *words, "--state", self.state)
            self.assertEqual((done.returncode, done.stderr), (0, b""), words)

    def test_export_to_standard_output(self):
        actor = self.actor("spawn", "--guest", TALKER, *WITH_MODEL).decode().strip()
        for output, reason in OUTPUTS.items():
            for more in ([], ["--zstd"]):
                done = run_into(output, "actor", "export", actor, "-", "--state", self.state,
                                *more)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
                self.assertIn(reason.encode() if output != ">&-" else b"", done.stderr)

    def test_a_full_disk_in_the_middle(self):
        """What was printed before stays; the status tells."""
        path = os.path.join(self.folder, "out")
        done = subprocess.run(["bash", "-c", "ulimit -f 1; trap '' XFSZ; exec \"$@\" >\"$0\"",
                               path, PROGRAM, "inspect", MODEL, "--json"], capture_output=True,
                              check=False)
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr)
        self.assertIn(b"standard output: File too large", done.stderr)
        self.assertEqual(os.path.getsize(path), 1024)

    def test_a_guest_gets_the_reason(self):
        for output, reason in (("> /dev/full", b"No space left on device"),
                               ("| true", b"Broken pipe")):
            done = run_into(output, "run", guest("write_errors"))
            self.assertEqual(done.returncode, 1)
            lines = done.stderr.splitlines()
            self.assertEqual(lines, [reason, b"driftwood: standard output: " + reason])
        done = run("run", guest("write_errors"))
        self.assertEqual((done.returncode, done.stdout), (0, b"x\n" * 8))

    def test_a_guest_that_writes_on_is_ended(self):
        with subprocess.Popen([PROGRAM, "run", guest("write_errors"), "--", "on"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.read(4), b"x\nx\n")
            process.stdout.close()
            self.assertEqual(process.wait(60), 1)
            self.assertEqual(process.stderr.read(), b"driftwood: standard output: Broken pipe\n")

    def test_a_pipe_that_does_not_block(self):
        """Who made the pipe has set it so: the program waits until it takes more."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with subprocess.Popen([PROGRAM, "run", guest("write_errors"), "--timeout", "3", "--",
                               "on"], stdout=writer, stderr=subprocess.PIPE) as process:
            os.close(writer)
            time.sleep(1.0)  # the pipe is full by now
            size = 0
            while True:
                piece = os.read(reader, 65536)
                size += len(piece)
                if not piece:
                    break
            self.assertIn(b"3000 ms", process.stderr.read())
        os.close(reader)
        self.assertGreater(size, 65536)


class Descriptors(Case):
    def shell(self, redirection, *args, **more):
        return subprocess.run(["bash", "-c", 'exec "$@" ' + redirection, "-", PROGRAM, *args],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=300,
                              check=False, **more)

    def test_a_guest_gets_three_and_what_is_granted(self):
        print_descriptors = guest("print_descriptors")
        expected = b"0 0\n1 0\n2 0\n"
        for redirection in ("", "3</etc/passwd 7<>/dev/null 9</etc", "<&-", "<&- >/dev/null"):
            done = self.shell(redirection, "run", print_descriptors, *WITH_MODEL)
            self.assertEqual((done.returncode, done.stderr.replace(
                b"driftwood: note: --model: no effect, the guest uses no such thing\n", b"")),
                (0, expected), redirection)
        done = self.shell("3</etc/passwd", "run", print_descriptors, "--dir", self.folder)
        self.assertEqual(done.stderr, expected + b"3 folder -1\n")

    def test_closed_standard_input_is_empty(self):
        done = self.shell("<&-", "chat", *WITH_MODEL)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
        done = self.shell("<&-", "run", *WITH_MODEL, "--raw", "--prompt", "-")
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"empty", done.stderr)

    def test_nothing_of_ours_takes_their_numbers(self):
        """What a running program has open as 0 to 2, whichever of them were closed."""
        spin = os.path.join(self.folder, "spin.wasm")
        with open(spin, "wb") as stream:  # (func (export "_start") (loop br 0)), and a memory
            stream.write(b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0\5\3\1\0\1\7\x13\2\6_start\0\0"
                         b"\6memory\2\0\x0a\x09\1\7\0\3\x40\x0c\0\x0b\x0b")
        for closed in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"):
            with subprocess.Popen(["bash", "-c", 'exec "$@" ' + closed, "-", PROGRAM, "run", spin,
                                   *WITH_MODEL, "--timeout", "60"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as process:
                until = time.monotonic() + 120
                places = {}
                while time.monotonic() < until:
                    folder = f"/proc/{process.pid}/fd"
                    try:
                        places = {int(fd): os.readlink(os.path.join(folder, fd))
                                  for fd in os.listdir(folder)}
                    except OSError:
                        continue
                    if any(place.endswith(".gguf") for place in places.values()):
                        break
                    time.sleep(0.01)
                process.kill()
            self.assertTrue(any(place.endswith(".gguf") for place in places.values()), places)
            self.assertEqual([places[fd] for fd in range(3)], ["/dev/null"] * 3, closed)

    def test_the_lock_is_not_written_to(self):
        actor = self.actor("spawn", "--guest", TALKER, *WITH_MODEL).decode().strip()
        for closed in (">&-", "<&- >&-", "2>&-", "<&- >&- 2>&-"):
            done = self.shell(closed, "actor", "send", actor, "+1", "--state", self.state,
                              "--threads", "1")
            self.assertEqual(done.returncode, 0 if closed == "2>&-" else 1, done.stderr)
            with open(os.path.join(self.state, "lock"), "rb") as lock:
                self.assertRegex(lock.read(), rb"\A\d+\n\Z")
        self.assertEqual(self.actor("send", actor, "+0"), b"\1\0\0\0\n")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
