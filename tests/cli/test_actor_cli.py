#!/usr/bin/env python3
"""`driftwood actor` as people use it: actors in a state folder, across processes, pipes and kills.

Called by ctest with the source and the build folder; the default model is in DW_TEST_MODEL_DIR.
"""
import base64
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE, BUILD = sys.argv[1:3]
PROGRAM = os.path.join(BUILD, "driftwood")
MODEL_DIR = os.environ.get("DW_TEST_MODEL_DIR", os.path.expanduser("~/.cache/driftwood"))
MODEL = os.path.join(MODEL_DIR, "SmolLM2-135M-Instruct.Q4_1.gguf")
TALKER = os.path.join(BUILD, "guests", "actor_talker.wasm")
HOSTILE = os.path.join(BUILD, "guests", "actor_hostile.wasm")
CHAT = ["--guest", "chat", "--model", MODEL, "--max-tokens", "16", "--temp", "0",
        "--system", "You are a helpful assistant."]
KILLS = int(os.environ.get("DW_TEST_KILLS", "40"))  # 200 of them take a minute


class Actors(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.state = os.path.join(self.folder.name, "state")

    def tearDown(self):
        self.folder.cleanup()

    def run_raw(self, *args, state=None, **more):
        return subprocess.run([PROGRAM, "actor", *args, "--state", state or self.state,
                               "--threads", "1"], capture_output=True, timeout=120, check=False,
                              **more)

    def run_good(self, *args, **more):
        done = self.run_raw(*args, **more)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout

    def talker(self):
        return self.run_good("spawn", "--guest", TALKER, "--model", MODEL).decode().strip()

    def add(self, actor, number, extra=(), **more):
        answer = self.run_good("send", actor, f"+{number}", *extra, **more)
        return struct.unpack("<I", answer[:4])[0]

    def assert_fails(self, text, *args, code=1, **more):
        done = self.run_raw(*args, **more)
        self.assertEqual(done.returncode, code, done.stdout)
        self.assertRegex(done.stderr.decode(), text)
        self.assertEqual(done.stderr.count(b"\n"), 1)

    def echo(self, *options):
        guest = os.path.join(BUILD, "guests", "actor_echo.wasm")
        return self.run_good("spawn", "--guest", guest, *options).decode().strip()

    def test_folders(self):
        """--dir grants, --folder chooses; who had a folder needs it, by name."""
        guest = os.path.join(BUILD, "guests", "actor_files.wasm")
        hosts = [os.path.join(self.folder.name, name) for name in ("one", "two")]
        for host in hosts:
            os.mkdir(host)
        with open(os.path.join(hosts[0], "hello"), "w") as file:
            file.write("one")
        both = ["--dir", f"{hosts[0]}::/in:ro", "--dir", f"{hosts[1]}::/out"]

        def spawned(*options):
            return self.run_good("spawn", "--guest", guest, *options).decode().strip()

        def told(actor, text, *options):
            return self.run_good("send", actor, text, *options).decode().strip("\n")
        all_ = spawned(*both)
        self.assertEqual(told(all_, "p", *both), " /in /out")
        self.assertEqual(told(all_, "rhello", *both), "one")
        self.assertEqual(told(all_, "whello 1", *both), "E63")  # :ro
        self.assertEqual(told(all_, "Whello two", *both), "ok")
        with open(os.path.join(hosts[1], "hello")) as file:
            self.assertEqual(file.read(), "two")
        self.assertEqual(told(self.run_good("fork", all_, *both).decode().strip(), "Rhello", *both),
                         "two")
        self.assertEqual(told(spawned(*both, "--folder", "/out"), "p", *both), " /out")
        none = spawned(*both, "--folder", "")
        self.assertEqual(told(none, "p"), "")
        self.assertEqual(told(spawned(), "p", *both), "")
        other = spawned("--tenant", "ada", *both)
        self.assertEqual(told(other, "rhello", *both), "one")
        self.assert_fails("folder '/in' is not granted", "send", all_, "p", *both[2:])
        self.assertEqual(told(all_, "rhello", *both), "one")  # nothing is lost
        self.assert_fails("'/more', which tenant", "spawn", "--guest", guest, *both, "--folder",
                          "/more")
        self.assert_fails("--dir: more than|is given twice", "spawn", "--guest", guest, *both,
                          "--dir", "/tmp::/in", code=2)
        self.assert_fails("'/in' is given twice", "spawn", "--guest", guest, *both, "--folder",
                          "/in", "--folder", "/in", code=2)
        self.assert_fails("stands alone", "spawn", "--guest", guest, *both, "--folder", "",
                          "--folder", "/in", code=2)
        manifest = os.path.join(self.folder.name, "manifest")
        with open(manifest, "w") as file:
            json.dump({"tenants": {"": {"folders": [{"host": hosts[1], "guest": "/in"}]}}}, file)
        self.assert_fails("--dir beside --manifest", "send", none, "p", *both, "--manifest",
                          manifest)
        chosen = spawned("--manifest", manifest, "--folder", "/in")
        self.assertEqual(told(chosen, "rhello", "--manifest", manifest), "two")

    def test_limits_of_time(self):
        """What ends the work on a message is told, kept, and set anew."""
        actor = self.echo("--timeout", "7", "--cpu-time", "3")
        shown = self.run_good("show", actor).decode()
        for line in ("message_timeout_ms 10m", "timeout_ms 7s", "cpu_timeout_ms 3s", "fuel none"):
            self.assertIn(f"limit     {line}\n", shown)
        self.assertEqual(self.run_good("send", actor, "x"), b"x\n")
        self.assert_fails("1 ms", "send", actor, "\x01900", "--timeout", "0.001")

    def test_limits_that_are_shown(self):
        """Those under which the command would read it: its own, and in their place those given."""
        def shown(*options):
            text = self.run_good("show", actor, *options).decode()
            about = json.loads(self.run_good("show", actor, "--json", *options))
            account = about["account"]
            self.assertRegex(text, rf"mail_bytes 0.0 MB, limit {account['mail_bytes']['limit'] >> 20}M\n")
            return (account["mail_bytes"]["limit"] >> 20, account["timers"]["limit"],
                    about["watches"]["limit"], re.search("limit     timeout_ms (.*)\n", text).group(1))
        manifest = os.path.join(self.folder.name, "limits")
        with open(manifest, "w") as file:
            json.dump({"limits": {"mail_bytes": "3M", "watches": 7}}, file)
        actor = self.echo("--limit", "mail_bytes=1M", "--limit", "watches=3", "--timeout", "7")
        self.assertEqual(shown(), (1, 256, 3, "7s"))
        self.assertEqual(shown("--limit", "mail_bytes=2M", "--limit", "timers=9"), (2, 9, 3, "7s"))
        self.assertEqual(shown("--manifest", manifest, "--timeout", "5"), (3, 256, 7, "5s"))
        self.assertEqual(shown(), (1, 256, 3, "7s"))
        self.assertEqual(self.run_good("send", actor, "x", "--manifest", manifest), b"x\n")
        self.assertEqual(shown(), (3, 256, 7, "7s"))

    def test_fuel(self):
        actor = self.echo("--fuel", "500000000")
        self.assertIn("limit     fuel 500000000\n", self.run_good("show", actor).decode())
        self.assert_fails("counts_fuel", "send", actor, "x")
        self.assertEqual(self.run_good("send", actor, "x", "--fuel", "500000000"), b"x\n")
        other = self.echo("--fuel", "500000000")
        self.assert_fails("instructions .fuel.", "send", other, "\x019", "--fuel", "1000000")

    def test_an_answer_that_nobody_reads(self):
        """A full pipe is waited for as long as the message has time."""
        actor = self.echo()
        with subprocess.Popen([PROGRAM, "actor", "send", actor, "\x01100", "--state", self.state,
                               "--timeout", "1", "--threads", "1"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            self.assertEqual(process.wait(60), 1)
            self.assertIn(b"1000 ms", process.stderr.read())

    def test_life(self):
        actor = self.talker()
        self.assertRegex(actor, "^[0-9a-f]{16}$")
        self.assertEqual([self.add(actor, n) for n in (1, 2, 3)], [1, 3, 6])
        self.assertEqual(self.add(actor[:6], 4), 10)
        child = self.run_good("fork", actor).decode().strip()
        self.assertEqual(self.add(child, 5), 15)
        self.assertEqual(self.add(actor, 1), 11)
        text = self.run_good("list", "--json").decode()
        listed = json.loads(text)
        self.assertEqual(text, json.dumps(listed, indent=2) + "\n")  # printed one by one
        self.assertEqual(sorted(item["id"] for item in listed), sorted([actor, child]))
        self.assertEqual({item["done"] for item in listed}, {5, 1})
        self.run_good("freeze", actor)
        shown = json.loads(self.run_good("show", actor, "--json"))
        self.assertEqual([file["kind"] for file in shown["files"]], ["full"])
        self.assertEqual(shown["id"], actor)
        account = shown["account"]
        self.assertEqual(account["linear_bytes"]["now"], 65536 * sum(shown["memories"]))
        self.assertEqual(account["linear_bytes"]["limit"], 4 << 30)
        self.assertEqual(account["handles"], {"now": len(shown["open"]), "limit": 4096})
        self.assertEqual(account["memory_bytes"]["now"], sum(
            account[part]["now"] for part in ("linear_bytes", "kv_bytes", "mail_bytes")))
        text = self.run_good("show", actor).decode()
        self.assertRegex(text, r"taken +linear_bytes [0-9.]+ MB, limit 4G\n")
        for name, limit in [("tables_bytes", "256M"), ("code_bytes", "1G"),
                            ("samplers_bytes", "1G"), ("texts_bytes", "2G"),
                            ("graphs_bytes", "2G"), ("kv_bytes", "64G"), ("mail_bytes", "2G"),
                            ("handles", "4096"), ("contexts", "16"), ("graphs", "256"),
                            ("messages", "1024"), ("timers", "256"), ("effects", "256")]:
            self.assertRegex(text, rf"taken +{name} .*, limit {limit}\n")
            self.assertIn(name, account)
        self.assertEqual(self.add(actor, 1), 12)
        self.run_good("stop", child)
        self.assert_fails("no actor", "send", child, "+1")
        self.assertEqual(self.add(actor, 1), 13)

    def test_chat_goes_on_in_other_processes(self):
        actor = self.run_good("spawn", *CHAT).decode().strip()
        first = self.run_good("send", actor, "What is the capital of France?").decode()
        self.assertIn("Paris", first)
        moved = os.path.join(self.folder.name, "moved.snapshot")
        self.run_good("export", actor, moved)
        other = os.path.join(self.folder.name, "elsewhere")
        copy = self.run_good("import", moved, "--model", MODEL, state=other).decode().strip()
        question = "And of Italy?"
        here = self.run_good("send", actor, question)
        there = self.run_good("send", copy, question, "--model", MODEL, state=other)
        self.assertEqual(here, there)
        self.assertIn(b"Rome", here)
        answer = json.loads(self.run_good("verify", actor, "--message", "And of Spain?", "--json"))
        self.assertTrue(answer["equal"], answer)
        checked = subprocess.run([PROGRAM, "check", moved], capture_output=True, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        told = subprocess.run([PROGRAM, "inspect", moved, "--json"], capture_output=True,
                              check=False, env=dict(os.environ, XDG_CACHE_HOME=os.path.dirname(
                                  MODEL_DIR)))
        self.assertEqual(told.returncode, 0, told.stderr)
        contexts = [item for item in json.loads(told.stdout)["open"] if item["kind"] == "context"]
        if os.path.basename(MODEL_DIR) == "driftwood":
            self.assertIn("What is the capital of France?", contexts[0]["text"])
        differs = json.loads(self.run_good("diff", actor, actor))
        self.assertEqual(differs["memory"]["blocks_that_differ"], 0)

    def test_pipes(self):
        actor = self.talker()
        self.add(actor, 7)
        out = self.run_good("export", actor, "-")
        copy = self.run_good("import", "-", input=out).decode().strip()
        self.assertNotEqual(copy, actor)
        self.assertEqual(self.add(copy, 1), 8)
        packed = self.run_good("export", actor, "-", "--zstd")
        self.assertEqual(packed[:4], bytes.fromhex("28b52ffd"))
        self.assertLess(len(packed), len(out) // 2)
        copy = self.run_good("import", "-", input=packed).decode().strip()
        self.assertEqual(self.add(copy, 1), 8)
        self.assert_fails("zstd", "import", "-", input=packed[:-20])
        self.assert_fails("zstd", "import", "-", input=packed[:200] + b"x" + packed[201:])
        bare = self.run_good("export", actor, "-", "--by-hash")
        self.assertLess(len(bare), len(out))
        elsewhere = os.path.join(self.folder.name, "elsewhere")
        self.assert_fails("by hash only", "import", "-", input=bare, state=elsewhere,
                          env=dict(os.environ, DRIFTWOOD_GUESTS=self.folder.name))

    def test_modules_by_hash(self):
        """A file without its module is taken in wherever the module is at hand."""
        actor = self.talker()
        self.add(actor, 7)
        bare = os.path.join(self.folder.name, "bare")
        elsewhere = os.path.join(self.folder.name, "elsewhere")
        self.run_good("export", actor, bare, "--by-hash", "--zstd")
        none = dict(os.environ, DRIFTWOOD_GUESTS=self.folder.name)
        copy = self.run_good("import", bare, env=none).decode().strip()  # of the state folder
        self.assertEqual(self.add(copy, 1), 8)
        with open(TALKER, "rb") as file:
            sha256 = hashlib.sha256(file.read()).hexdigest()
        self.assert_fails(sha256, "import", bare, state=elsewhere, env=none)
        other = os.path.join(BUILD, "guests", "chat.wasm")
        self.assert_fails(f"chat.wasm is .*not the module {sha256}", "import", bare, "--module",
                          other, state=elsewhere, env=none)
        self.assert_fails("No such file", "import", bare, "--module", "/nonexistent",
                          state=elsewhere, env=none)
        copy = self.run_good("import", bare, "--module", TALKER, state=elsewhere, env=none)
        self.assertEqual(self.add(copy.decode().strip(), 1, state=elsewhere), 8)
        self.run_good("stop", copy.decode().strip(), state=elsewhere)
        self.assert_fails(sha256, "import", bare, state=elsewhere, env=none)  # it went, too
        copy = self.run_good("import", bare, state=elsewhere).decode().strip()  # came along
        self.assertEqual(self.add(copy, 1, state=elsewhere), 8)
        module = os.path.join(elsewhere, "modules", sha256 + ".wasm")
        with open(module, "r+b") as file:
            file.write(b"x")
        self.assert_fails("damaged", "import", bare, state=elsewhere, env=none)

    def test_exports_replace_files_only(self):
        actor = self.talker()
        self.add(actor, 7)
        place = lambda name: os.path.join(self.folder.name, name)
        self.assert_fails("it is a folder", "export", actor, self.folder.name)
        # A device is written to, not replaced: as root that would be the end of /dev/full.
        for more in ([], ["--zstd"]):
            self.assert_fails("No space left", "export", actor, "/dev/full", *more)
            self.assertTrue(stat.S_ISCHR(os.stat("/dev/full").st_mode))
        os.mkfifo(place("pipe"))
        with subprocess.Popen([PROGRAM, "check", place("pipe")], stdout=subprocess.PIPE) as reader:
            self.run_good("export", actor, place("pipe"))
            self.assertIn(b": ok, ", reader.communicate(timeout=60)[0])
        self.assertTrue(stat.S_ISFIFO(os.stat(place("pipe")).st_mode))
        # Of a link, the file behind it.
        os.symlink("file", place("link"))
        with open(place("file"), "w") as file:
            file.write("old")
        for more in ([], ["--zstd"]):
            self.run_good("export", actor, place("link"), *more)
            self.assertTrue(os.path.islink(place("link")))
            copy = self.run_good("import", place("file")).decode().strip()
            self.assertEqual(self.add(copy, 1), 8)
            # A failure leaves what was there.
            with open(place("file"), "rb") as file:
                before = file.read()
            done = subprocess.run(["bash", "-c", "ulimit -f 64; trap '' XFSZ; exec \"$@\"", "-",
                                   PROGRAM, "actor", "export", actor, place("file"), "--state",
                                   self.state, *more], capture_output=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"File too large", done.stderr)
            with open(place("file"), "rb") as file:
                self.assertEqual(file.read(), before)
        self.assertEqual(sorted(os.listdir(self.folder.name)), ["file", "link", "pipe", "state"])

    def test_compressed_files_are_looked_into(self):
        actor = self.talker()
        packed = os.path.join(self.folder.name, "packed")
        self.run_good("export", actor, packed, "--zstd")
        run = lambda *args, **more: subprocess.run([PROGRAM, *args], capture_output=True,
                                                   check=False, **more)
        self.assertRegex(run("check", packed).stdout, b"^[^ ]*packed: ok, ")
        self.assertEqual(json.loads(run("inspect", packed, "--json").stdout)["id"], actor)
        with open(packed, "rb") as file:
            content = file.read()
        self.assertRegex(run("check", "-", input=content).stdout, b"^-: ok, ")
        for command in ("check", "inspect"):
            with open(packed, "wb") as file:
                file.write(content[:-20])
            done = run(command, packed)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, b"packed: zstd")

    def test_binary_answers(self):
        actor = self.talker()
        self.run_good("send", actor, "m")
        said = json.loads(self.run_good("send", actor, "g3", "--json"))
        self.assertIsNone(said["answer"])
        self.assertEqual(len(base64.b64decode(said["answer_base64"])), said["bytes"])
        said = json.loads(self.run_good("send", actor, "-", "--json", input=b"+65\0\xff"))
        self.assertEqual(said["answer"], "A\0\0\0")
        self.assertNotIn("answer_base64", said)

    def test_json_answers(self):
        """Whatever bytes an answer has, and wherever its pieces end."""
        echo = os.path.join(BUILD, "guests", "actor_echo.wasm")
        actor = self.run_good("spawn", "--guest", echo).decode().strip()
        rng = random.Random(3)
        texts = ["", "\\ \" / \x7f \b\t\n\v\f\r\0\x1f", "\u00e4\u20ac\U0001f600\uffff\U0010ffff"]
        texts += ["".join(chr(rng.choice([rng.randrange(0x20), rng.randrange(0x80),
                                          rng.randrange(0x800), rng.randrange(0xd800),
                                          rng.randrange(0xe000, 0x110000)]))
                          for _ in range(length)) for length in (50, 5000, 70000)]
        texts += ["x" * n for n in (49151, 49152, 49153, 98304)]
        for text in texts:
            sent = text.encode()
            said = json.loads(self.run_good("send", actor, "-", "--json", input=sent))
            self.assertEqual(said, {"id": actor, "answer": text, "bytes": len(sent)})
        for sent in (b"\xff", b"\xc0\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf",
                     b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"x\xe2\x82", b"\xe2(\xa1",
                     b"a" * 49151 + b"\x80", b"a" * 49151 + b"\xc3", rng.randbytes(150000)):
            said = json.loads(self.run_good("send", actor, "-", "--json", input=sent))
            self.assertIsNone(said["answer"])
            self.assertEqual(base64.b64decode(said["answer_base64"], validate=True), sent)
            self.assertEqual(said["bytes"], len(sent))
        long = "\u20ac".encode() * 49152  # characters across all borders of pieces
        self.assertEqual(json.loads(self.run_good("send", actor, "-", "--json", input=b"a" + long)
                                    )["answer"].encode(), b"a" + long)

    def test_long_answers_take_no_memory(self):
        echo = os.path.join(BUILD, "guests", "actor_echo.wasm")
        actor = self.run_good("spawn", "--guest", echo).decode().strip()
        peaks = []
        for count in (1, 400):  # times 1 MiB
            with tempfile.TemporaryFile() as out, subprocess.Popen(
                    [PROGRAM, "actor", "send", actor, f"\x01{count}", "--state", self.state,
                     "--threads", "1", "--json"], stdout=out) as process:
                usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(usage[1])
                self.assertEqual(process.returncode, 0)
                self.assertGreater(os.fstat(out.fileno()).st_size, count << 20)
            peaks.append(usage[2].ru_maxrss)
        self.assertLess(peaks[1], peaks[0] + 20000)  # KiB

    def test_verify(self):
        actor = self.talker()
        self.run_good("send", actor, "m")
        self.run_good("send", actor, "n300")
        shown = json.loads(self.run_good("verify", actor, "--json"))
        self.assertTrue(shown["equal"])
        self.assertEqual(shown["tokens"], 64)
        self.assertEqual(shown["logits"] % 64, 0)
        self.assertGreater(shown["logits"], 64 * 1000)
        shown = json.loads(self.run_good("verify", actor, "--message", "g4", "--tokens", "5",
                                         "--json"))
        self.assertEqual((shown["equal"], shown["tokens"], shown["answer_bytes"]), (True, 5, 32))
        # Its answer is the clock's, which is the actor's own.
        self.assertTrue(json.loads(self.run_good("verify", actor, "--message", "c", "--json"))
                        ["equal"])
        self.assertEqual(json.loads(self.run_good("list", "--json"))[0]["waiting"], 0)

    def chance(self, *options):
        guest = os.path.join(BUILD, "guests", "actor_chance.wasm")
        return self.run_good("spawn", "--guest", guest, *options).decode().strip()

    def test_verify_tells_what_differs(self):
        """The copy's file is written over while the other works: what it has in memory then is
        not what it was."""
        actor = self.chance()
        first = self.run_good("send", actor, "l").split()[0]
        with subprocess.Popen([PROGRAM, "actor", "verify", actor, "--message", "s1500", "--state",
                               self.state, "--threads", "1"], stdout=subprocess.PIPE) as process:
            copy = os.path.join(self.state, ".tmp-verify")
            until = time.monotonic() + 120
            while not os.path.exists(copy) and time.monotonic() < until:
                time.sleep(0.005)
            time.sleep(0.3)  # it was thawed, and the first of the two sleeps
            with open(copy, "r+b") as file:
                content = file.read()
                self.assertIn(first, content)
                file.seek(content.index(first))
                file.write(b"0123456789abcdef")
            said = process.communicate(timeout=120)[0]
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"they differ: the state behind equal answers", said)

    def test_chance_and_time_are_its_own(self):
        """Random numbers and clocks: equal in a twin, other ones in forks and copies."""
        actor = self.chance()
        self.run_good("send", actor, "l")
        for message in ("l", "b5000", "s5", "t1000 l", "w3"):
            shown = json.loads(self.run_good("verify", actor, "--message", message, "--json"))
            self.assertTrue(shown["equal"], message)
        forks = [self.run_good("fork", actor).decode().strip() for _ in range(2)]
        exported = self.run_good("export", actor, "-")
        copy = self.run_good("import", "-", input=exported).decode().strip()
        seen = [self.run_good("send", one, "l").decode().split()
                for one in (actor, *forks, copy)]
        self.assertEqual(len({one[0] for one in seen}), 1)  # drawn before
        for at in (1, 2):
            self.assertEqual(len({one[at] for one in seen}), 4, seen)
        self.run_good("run")  # each has made an actor: the ids are no one else's
        self.assertEqual(len(json.loads(self.run_good("list", "--json"))), 8 + 1)
        self.run_good("freeze", actor)
        seen = [self.run_good("send", actor, "l").decode().split()]
        for _ in range(2):  # taken back, it draws other numbers each time
            self.run_good("rewind", actor, "0")
            seen.append(self.run_good("send", actor, "l").decode().split())
        for at in (1, 2):
            self.assertEqual(len({one[at] for one in seen}), 3, seen)

    def killed_at(self, text, *args):
        """What the guest has told on standard error, where the process is killed then."""
        with subprocess.Popen([PROGRAM, "actor", *args, "--state", self.state, "--threads", "1"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            line = process.stderr.readline().decode()
            while text not in line and line:
                line = process.stderr.readline().decode()
            process.kill()
        return line

    def test_what_is_done_again_after_a_kill_is_the_same(self):
        """A message, and what a timer brings: random numbers, ids and times again as they were."""
        actor = self.chance()
        first = self.run_good("send", actor, "l").decode().split()[0]
        told = self.killed_at(first, "send", actor, "k2000").split()
        time.sleep(0.01)
        self.run_good("run")
        self.assertEqual(self.run_good("send", actor, "q").decode().split(), told)
        self.run_good("send", actor, "t0 k2000")
        told = self.killed_at(first, "run").split()
        self.assertEqual(len(told), 6)
        time.sleep(0.01)
        self.run_good("run")
        self.assertEqual(self.run_good("send", actor, "q").decode().split(), told)

    def test_golden(self):
        """A snapshot as the first version wrote it."""
        golden = os.path.join(SOURCE, "tests", "golden", "snapshot-v1.zst")
        actor = self.run_good("import", golden, "--model", MODEL).decode().strip()
        shown = json.loads(self.run_good("show", actor, "--json"))
        kinds = [item["kind"] for item in shown["open"]]
        self.assertEqual(kinds, ["model", "context", "sampler"])
        self.assertEqual(shown["open"][1]["length"], 2)
        self.assertEqual(self.add(actor, 1), 42)
        self.assertEqual(len(self.run_good("send", actor, "g8", "--model", MODEL)), 8 * 8 + 1)

    def test_watches(self):
        guest = os.path.join(BUILD, "guests", "actor_watcher.wasm")
        watcher, first, second = (self.run_good("spawn", "--guest", guest).decode().strip()
                                  for _ in range(3))
        self.assertNotIn("watche", self.run_good("show", watcher).decode())
        self.run_good("send", watcher, "w 3 " + first)
        self.run_good("send", watcher, "w 0 " + second)
        shown = json.loads(self.run_good("show", watcher, "--json"))["watches"]
        self.assertEqual((shown["count"], shown["limit"], shown["watchers"]), (2, 256, 0))
        self.assertEqual({one["id"]: one["events"] for one in shown["actors"]},
                         {first: ["ended", "failed", "set_aside"], second: ["ended"]})
        text = self.run_good("show", watcher).decode()
        self.assertIn("watches   2 of at most 256; watched by 0\n", text)
        self.assertIn(f"watched   {first}: ended, failed, set_aside\n", text)
        self.assertIn("watches   0 of at most 256; watched by 1\n",
                      self.run_good("show", first).decode())
        self.run_good("stop", first)
        shown = json.loads(self.run_good("show", watcher, "--json"))["watches"]
        self.assertEqual([one["id"] for one in shown["actors"]], [second])

    def test_effects(self):
        actor = self.talker()
        self.add(actor, 100)
        self.run_good("send", actor, "F5")
        self.run_good("send", actor, "M20")
        self.run_good("send", actor, "S3")
        self.run_good("send", actor, "T9")
        listed = json.loads(self.run_good("list", "--json"))
        self.assertEqual(len(listed), 3)
        self.assertEqual({item["waiting"] for item in listed}, {0})
        self.run_good("run")
        values = sorted(self.add(item["id"], 0) for item in listed)
        self.assertEqual(values, [3, 109, 125])
        self.run_good("send", actor, "X")
        self.assertEqual(len(json.loads(self.run_good("list", "--json"))), 2)

    def hostile(self):
        return self.run_good("spawn", "--guest", HOSTILE).decode().strip()

    def mail(self, actor):
        return json.loads(self.run_good("mail", actor, "--json"))

    def test_mail(self):
        """Messages that trap are set aside, shown, tried again and dropped."""
        actor = self.hostile()
        self.assertEqual(self.mail(actor), [])
        self.run_good("send", actor, "S!!")
        self.assertEqual(self.mail(actor)[0]["state"], "waiting")
        done = self.run_raw("send", actor, "S+4")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr.decode(), f"actor {actor}: message 2: set aside after 3 "
                                               "attempts: .*unreachable")
        item, = self.mail(actor)
        self.assertRegex(item.pop("reason"), "unreachable")
        self.assertEqual(item, {"number": 2, "from": actor, "bytes": 2, "state": "set aside",
                                "attempts": 3})
        self.assertRegex(self.run_good("mail", actor).decode(),
                         f"^2  set aside  from {actor}, 2 bytes, 3 attempts: .*unreachable")
        self.assertEqual(self.run_good("mail", actor, "--show", "2"), b"!!")
        listed, = json.loads(self.run_good("list", "--json"))
        self.assertEqual((listed["waiting"], listed["set_aside"]), (0, 1))
        self.assertIn(b"1 set aside", self.run_good("list"))
        self.assert_fails("no message 3", "mail", actor, "--show", "3")
        self.assert_fails("no message 7", "mail", actor, "--drop", "7")
        self.assert_fails("--retry", "mail", actor, "--retry", "none", code=2)
        self.assert_fails("at a time", "mail", actor, "--retry", "1", "--drop", "1", code=2)
        self.assertEqual(self.run_good("mail", actor, "--retry", "all"), b"1 waiting\n")
        item, = self.mail(actor)
        self.assertEqual((item["state"], item["attempts"], item["reason"]), ("waiting", 0, ""))
        self.assert_fails("was not set aside", "mail", actor, "--retry", str(item["number"]))
        self.run_good("run")
        item, = self.mail(actor)
        self.assertEqual((item["state"], item["attempts"]), ("set aside", 3))
        dropped = json.loads(self.run_good("mail", actor, "--drop", str(item["number"]), "--json"))
        self.assertEqual(dropped, {"id": actor, "dropped": 1})
        self.assertEqual(self.mail(actor), [])
        self.assertEqual(self.add(actor, 0), 4)

    def test_freezes_are_kept(self):
        """A freeze is gone back to; what is kept is shown."""
        actor = self.talker()
        self.assertEqual(self.add(actor, 4), 4)
        first = json.loads(self.run_good("freeze", actor, "--json"))
        self.assertGreater(first["memory_bytes"], 65536)
        self.assertGreater(first["file_bytes"], 4096)
        self.assertEqual(len(first["identity"]), 32)
        self.assertEqual(self.add(actor, 1), 5)
        self.assertRegex(self.run_good("freeze", actor).decode(), r"^freeze \d+: [0-9a-f]{32}  \d+ b")
        about = json.loads(self.run_good("show", actor, "--json"))
        self.assertEqual((about["freezes"][0], len(about["freezes"])), (first["number"], 2))
        self.assertEqual(self.add(actor, 1), 6)
        self.run_good("rewind", actor, "0")
        self.assertEqual(self.add(actor, 0), 5)
        self.run_good("rewind", actor, str(first["number"]))
        self.assertEqual(self.add(actor, 0), 4)
        self.assert_fails("freeze 99 is not kept", "rewind", actor, "99")
        self.assert_fails("rewind", "rewind", actor, "last", code=2)

    def test_what_is_to_be_seen(self):
        """Log, trace and control socket of a command that has a runtime."""
        actor = self.hostile()
        log = os.path.join(self.folder.name, "log")
        trace = os.path.join(self.folder.name, "trace")
        self.run_good("send", actor, "+1", "--log", log, "--log-level", "debug", "--trace", trace,
                      "--control")
        with open(log) as file:
            entries = [json.loads(line) for line in file]
        self.assertTrue(all("event" in entry for entry in entries) and entries, entries)
        with open(trace) as file:
            events = json.load(file)["traceEvents"]
        self.assertTrue(any(event.get("ph") == "X" for event in events))
        self.assertFalse(os.path.exists(os.path.join(self.state, "control")))
        self.assert_fails("--log-level: 'loud'", "run", "--log-level", "loud", code=2)
        self.assert_fails("No such file", "run", "--log", "/nonexistent/log")
        self.assert_fails("No such file", "run", "--trace", "/nonexistent/trace")
        with subprocess.Popen([PROGRAM, "actor", "send", actor, "l", "--control", "--state",
                               self.state], stdout=subprocess.DEVNULL) as busy:
            self.wait_for_work(actor)
            top = subprocess.run([PROGRAM, "top", "--once", "--json", "--state", self.state],
                                 capture_output=True, check=False)
            busy.kill()
        self.assertEqual(top.returncode, 0, top.stderr)
        self.assertIn(actor.encode(), top.stdout)

    def wait_for_work(self, actor):
        """Its mark in the file of marks: the actor, what is tried, and a state of 1."""
        path = os.path.join(self.state, "journal.db-marks")
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                with open(path, "rb") as file:
                    marks = file.read()[64:]
                for at in range(0, len(marks) - 63, 64):
                    number, _, _, kind, state = struct.unpack_from("<QQQQQ", marks, at)
                    if number == int(actor, 16) and state == 1 and kind == ord("m"):
                        return
            except FileNotFoundError:
                pass
            time.sleep(0.005)
        self.fail("it does not begin")

    def test_messages_that_do_not_survive_their_process(self):
        """Killed in the middle of a message that never ends, again and again."""
        actor = self.hostile()
        other = self.hostile()
        for attempt in range(3):
            with subprocess.Popen([PROGRAM, "actor", "send", actor, "l" if attempt == 0 else "+1",
                                   "--state", self.state], stdout=subprocess.DEVNULL) as process:
                try:
                    self.wait_for_work(actor)
                finally:
                    process.kill()
            self.assertEqual(process.returncode, -signal.SIGKILL)
            self.assertEqual(self.add(other, 1), attempt + 1)
        self.assertEqual(self.add(actor, 1), 3)
        item, = self.mail(actor)
        self.assertEqual((item["state"], item["from"], item["attempts"], item["reason"]),
                         ("set aside", "", 3, "the process ended in the middle of it"))

    def test_send_returns_at_its_answer(self):
        """Whatever keeps coming."""
        actor = self.hostile()
        other = self.hostile()
        self.run_good("send", actor, "s")
        self.assertEqual(self.add(actor, 10), 13)
        self.assertEqual(self.add(other, 1), 1)
        for one, two in ((actor, other), (other, actor)):
            self.run_good("send", one, "I" + two)
        self.run_good("send", actor, "p")
        self.assertGreater(self.add(actor, 0), 14)
        self.assertGreater(self.add(other, 0), 1)

    def test_terms(self):
        """Tenants, priorities and durability are kept; a manifest says what a tenant may."""
        spawned = lambda *args: self.run_good("spawn", "--guest", HOSTILE, *args).decode().strip()
        actor = spawned("--tenant", "ada", "--priority", "low", "--durability", "park")
        other = spawned("--durability", "seconds:1")
        for one in (actor, other):  # what was done in memory alone is there at the end
            self.assertEqual([self.add(one, n) for n in (1, 2)], [1, 3])
        self.run_good("send", actor, "S+4")
        self.assertEqual(self.add(actor, 0), 7)
        manifest = os.path.join(self.folder.name, "manifest")
        def say(tenants):
            with open(manifest, "w") as file:
                json.dump({"tenants": tenants}, file)
        say({"ada": {"may": []}})
        self.assertEqual(self.add(actor, 1, extra=["--manifest", manifest]), 8)
        mute = spawned("--tenant", "ada", "--manifest", manifest)
        self.assert_fails("granted", "send", mute, "S+4")  # as it was made, whatever is said later
        say({"bob": {"may": []}})
        self.assert_fails("'?ada'?", "send", actor, "+1", "--manifest", manifest)
        self.assert_fails("no tenant 'ada'", "spawn", "--guest", HOSTILE, "--tenant", "ada",
                          "--manifest", manifest)
        self.assert_fails("nobody", "send", actor, "+1", "--manifest",
                          os.path.join(self.folder.name, "nobody"))
        self.assertEqual(self.add(actor, 1), 9)
        for option, value in (("--priority", "urgent"), ("--durability", "never"),
                              ("--durability", "seconds:0"), ("--durability", "seconds:x")):
            self.assert_fails(option, "spawn", "--guest", HOSTILE, option, value, code=2)

    def test_folders(self):
        """An actor with folders is looked at without them; it works where they are granted."""
        manifest = os.path.join(self.folder.name, "manifest")
        with open(manifest, "w") as file:
            json.dump({"tenants": {"": {"may": ["fork"], "models": ["*"],
                                        "folders": [{"host": self.folder.name, "guest": "/in"}]}}},
                      file)
        actor = self.run_good("spawn", "--guest", HOSTILE, "--manifest", manifest).decode().strip()
        other = self.run_good("fork", actor, "--manifest", manifest).decode().strip()
        self.assertEqual(self.add(actor, 1, extra=["--manifest", manifest]), 1)
        self.assert_fails("folder '/in' is not granted", "send", actor, "+1")
        self.run_good("thaw", actor)
        self.run_good("verify", actor)
        self.assert_fails("folder '/in' is not granted", "verify", actor, "--message", "+1")
        self.assertIn(b"memory", self.run_good("diff", actor, other))
        self.run_good("export", actor, os.path.join(self.folder.name, "exported"))
        self.assertEqual(self.add(actor, 1, extra=["--manifest", manifest]), 2)

    def test_a_model_that_is_not_granted(self):
        """It is refused before it is loaded: what comes behind a load, its adapter, is not looked at."""
        broken = os.path.join(self.folder.name, "broken.gguf")
        manifest = os.path.join(self.folder.name, "manifest")
        with open(broken, "wb") as file:
            file.write(b"no adapter")
        with open(manifest, "w") as file:
            json.dump({"tenants": {"": {"models": ["another"], "may": ["timers"]}}}, file)
        chosen = ["--model", MODEL, "--lora", broken]
        denied = "tenant '' may not have model '[^']"
        actor = self.talker()
        self.assert_fails("broken.gguf", "spawn", "--guest", TALKER, *chosen)
        self.assert_fails(denied, "spawn", "--guest", TALKER, *chosen, "--manifest", manifest)
        self.assert_fails(denied, "send", actor, "+1", *chosen, "--manifest", manifest)
        self.assert_fails(denied, "send", actor, "+1", "--manifest", manifest)  # of the cache
        self.assertEqual(self.add(actor, 1), 1)
        self.assert_fails("'/in', which tenant '' does not grant", "spawn", "--guest", TALKER,
                          *chosen, "--folder", "/in")

    def test_stop_many(self):
        actor = self.talker()
        other = self.talker()
        self.run_good("send", actor, "F5")
        self.run_good("send", actor, "S5")
        child = self.run_good("fork", actor).decode().strip()
        listed = {item["id"]: item for item in json.loads(self.run_good("list", "--json"))}
        self.assertEqual(len(listed), 5)
        self.assertEqual(sorted(item["depth"] for item in listed.values()), [0, 0, 0, 1, 1])
        self.assertEqual(listed[child]["parent"], actor)
        self.assertEqual(json.loads(self.run_good("show", child, "--json"))["parent"], actor)
        self.assertIn(f"parent    {actor}", self.run_good("show", child).decode())
        self.assert_fails("takes 1 arguments", "stop", "--tree", code=2)
        self.assert_fails("takes 0 arguments", "stop", actor, "--all", code=2)
        self.assertEqual(self.run_good("stop", "--tree", actor[:8]), b"4 stopped\n")
        self.assertEqual([item["id"] for item in json.loads(self.run_good("list", "--json"))],
                         [other])
        self.talker()
        self.assertEqual(self.run_good("stop", "--all"), b"2 stopped\n")
        self.assertEqual(self.run_good("list"), b"")

    def test_bad_input(self):
        actor = self.talker()
        self.assertEqual(self.add(actor, 1), 1)
        self.assert_fails("unreachable", "send", actor, "!")
        self.assertEqual(self.add(actor, 1), 2)  # as it was before
        self.assert_fails("no such handle", "send", actor, "e")
        self.assertEqual(self.add(actor, 1), 3)
        self.assert_fails("no actor's id", "send", "xyz", "hello")
        self.assert_fails("driftwood_receive", "spawn", "--guest", "hello")
        self.assert_fails("--guest is needed", "spawn", code=2)
        self.assert_fails("takes 2 arguments", "send", actor, code=2)
        self.assert_fails("no command", "dance", code=2)
        with tempfile.NamedTemporaryFile() as file:
            file.write(os.urandom(100000))
            file.flush()
            self.assert_fails("byte", "import", file.name)
        self.assert_fails("No such file", "import", "/nonexistent/file")

    def test_an_id_that_begins_several(self):
        first = self.talker()
        while True:
            other = self.run_good("fork", first).decode().strip()
            if other[0] == first[0]:
                break
        self.assert_fails(f"'{first[0]}' is the start of [2-9] actors' ids", "stop", first[0])
        self.assertEqual(self.add(first, 1), 1)

    def test_a_failed_send_leaves_nothing(self):
        """Nor does an actor that cannot be loaded hold up the others."""
        actor = self.talker()
        other = self.run_good("fork", actor).decode().strip()
        self.assertEqual(self.add(actor, 1), 1)
        self.run_good("send", actor, "T0")  # `run` has something to do for it
        self.run_good("send", other, "T5")
        place = os.path.join(self.state, "actors", actor)
        path = os.path.join(place, max(os.listdir(place)))  # which the fork does not have, too
        with open(path, "rb") as file:
            content = file.read()
        with open(path, "wb") as file:
            file.write(content[:1000])
        self.assert_fails("its snapshot 0000000[0-9] is missing", "send", actor, "+10")
        done = self.run_raw("run")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 2)
        self.assertRegex(done.stderr.decode(), f"actor {actor}: .*\n.*1 of 2 actors")
        self.assertEqual(self.add(other, 0), 5)
        with open(path, "wb") as file:
            file.write(content)
        self.assertEqual(self.add(actor, 0), 1)  # +10 did not wait

    def test_another_model_is_named(self):
        actor = self.run_good("spawn", *CHAT).decode().strip()
        self.run_good("send", actor, "Hello!")
        moved = os.path.join(self.folder.name, "moved.snapshot")
        self.run_good("export", actor, moved)
        empty = dict(os.environ, XDG_CACHE_HOME=self.folder.name)
        self.assert_fails("gguf2:", "import", moved, env=empty,
                          state=os.path.join(self.folder.name, "elsewhere"))

    def test_one_process_at_a_time(self):
        actor = self.talker()
        self.run_good("send", actor, "m")
        with subprocess.Popen([PROGRAM, "actor", "send", actor, "n3000", "--state", self.state,
                               "--threads", "1"], stdout=subprocess.DEVNULL) as busy:
            lock = os.path.join(self.state, "lock")
            until = time.monotonic() + 120
            while time.monotonic() < until:
                with open(lock) as file:
                    if file.read().strip() == str(busy.pid):
                        break
                time.sleep(0.005)
            self.assert_fails("another process.*" + str(busy.pid), "list")
            busy.send_signal(signal.SIGKILL)
        self.run_good("list")  # the lock went with its holder

    def test_read_only_folder(self):
        actor = self.talker()
        if os.geteuid() == 0:
            full = ["bash", "-c", "ulimit -f 64; trap '' XFSZ; exec \"$@\"", "-"]
            done = subprocess.run([*full, PROGRAM, "actor", "freeze", actor, "--state", self.state],
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"File too large", done.stderr)
        else:
            os.chmod(os.path.join(self.state, "actors", actor), 0o500)
            self.assert_fails("Permission denied", "freeze", actor)
            os.chmod(os.path.join(self.state, "actors", actor), 0o700)
        self.assertEqual(self.add(actor, 1), 1)

    def in_a_small_folder(self, script):
        """Runs it as root of a namespace of its own, in a file system of 8 MB at $1."""
        place = os.path.join(self.folder.name, "small")
        os.makedirs(place, exist_ok=True)
        head = "set -e; mount -t tmpfs -o size=8m none \"$1\"; S=\"$1/state\"; P=$2; T=$3; M=$4; "
        done = subprocess.run(["unshare", "-rm", "bash", "-c", head + script, "-", place, PROGRAM,
                               TALKER, MODEL], capture_output=True, timeout=120, check=False)
        if b"unshare" in done.stderr or b"mount:" in done.stderr:
            self.skipTest("no namespaces here: " + done.stderr.decode())
        return done

    def test_full_disk(self):
        """Every command that does not fit fails with a word, and what was there goes on."""
        done = self.in_a_small_folder("""
            A=$($P actor spawn --state $S --guest $T --model $M)
            $P actor send --state $S $A m
            $P actor send --state $S $A +40 >/dev/null
            head -c 100000000 /dev/zero >$S/filler || true
            for command in "send $A n50" "send $A +1" "send $A F5" "fork $A" "freeze $A" \
                    "spawn --guest $T --model $M" "export $A $S/out"; do
                $P actor $command --state $S 2>&1 >/dev/null && echo "went well: $command"
            done
            rm $S/filler
            echo "left over: $(find $S -name '*.tmp-*' -o -path '*/actors/*' -type d | wc -l)"
            $P actor send --state $S $A +2 | od -An -tu4
            $P actor list --state $S | wc -l""")
        text = done.stdout.decode() + done.stderr.decode()
        self.assertNotIn("went well", text)
        self.assertEqual(text.count("No space left on device"), 8, text)  # head says so, too
        self.assertIn("left over: 1", text)
        self.assertRegex(text, r"\n +42 +10\n1\n")

    def test_read_only_disk(self):
        done = self.in_a_small_folder("""
            A=$($P actor spawn --state $S --guest $T --model $M)
            $P actor send --state $S $A +40 >/dev/null
            mount -o remount,ro "$1"
            for command in "send $A +1" "spawn --guest $T --model $M" "stop $A" "freeze $A" \
                    "fork $A" run; do
                $P actor $command --state $S 2>&1 && echo "went well: $command"
            done
            for command in list "list --json" "show $A" "thaw $A" "diff $A $A" "verify $A" \
                    "verify $A --message +1" "export $A -" "export $A - --zstd"; do
                $P actor $command --state $S >/dev/null && echo "looked: $command"
            done
            for name in no-folder/state other; do
                $P actor list --state $1/$name 2>&1 && echo "went well: $name"
            done
            mount -o remount,rw "$1"
            $P actor send --state $S $A +2 | od -An -tu4""")
        text = done.stdout.decode() + done.stderr.decode()
        self.assertNotIn("went well", text)
        self.assertEqual(text.count("Read-only file system"), 6, text)
        self.assertEqual(text.count("looked: "), 9, text)
        self.assertEqual(text.count("No such file"), 2, text)
        self.assertRegex(text, r"\n +42 +10\n")

    def test_what_killed_processes_left_is_removed(self):
        actor = self.talker()
        half = os.path.join(self.state, "actors", "0123456789abcdef")
        place = os.path.join(self.state, "actors", actor)
        os.makedirs(half)
        for path in (os.path.join(half, "00000001-000000000000.full.snapshot"),
                     os.path.join(place, "00000002-000000000001.delta.snapshot"),
                     os.path.join(self.state, ".tmp-verify")):
            with open(path, "wb") as file:
                file.write(b"x" * 1000)
        marks = b"".join(struct.pack("<QQQQQ24x", int(name, 16), 0, 0, 0, 1)
                         for name in (actor, os.path.basename(half)))
        with open(os.path.join(self.state, "journal.db-marks"), "wb") as file:
            file.write((bytes(64) + marks).ljust(65536, b"\0"))
        self.run_good("list")
        self.assertEqual(os.listdir(os.path.join(self.state, "actors")), [actor])
        self.assertEqual(os.listdir(place), ["00000001-000000000000.full.snapshot"])
        self.assertEqual(sorted(os.listdir(self.state)),
                         ["actors", "journal.db", "lock", "modules"])

    def test_killed_imports_leave_nothing(self):
        """Nor do those that are still at work, under a name."""
        actor = self.talker()
        exported = self.run_good("export", actor, "-")
        place = os.path.join(self.folder.name, "tmp")
        os.mkdir(place)
        with subprocess.Popen([PROGRAM, "actor", "import", "-", "--state", self.state],
                              stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              env=dict(os.environ, TMPDIR=place)) as process:
            process.stdin.write(exported[:200000])
            process.stdin.flush()
            files = f"/proc/{process.pid}/fd"
            until = time.monotonic() + 120
            while time.monotonic() < until and not any(
                    os.readlink(os.path.join(files, fd)).startswith(place)
                    for fd in os.listdir(files)):
                time.sleep(0.005)
            self.assertLess(time.monotonic(), until)
            process.kill()
        self.assertEqual(os.listdir(place), [])
        self.assertEqual(len(json.loads(self.run_good("list", "--json"))), 1)

    def test_snapshots_that_are_missing(self):
        actor = self.talker()
        for _ in range(2):
            self.add(actor, 1)
        place = os.path.join(self.state, "actors", actor)
        series = os.path.join(place, "00000002.series")
        os.truncate(series, os.path.getsize(series) - 1)  # of two that are in it
        for command in (["send", actor, "+1"], ["show", actor], ["list"], ["fork", actor],
                        ["export", actor, "-"]):
            self.assert_fails("snapshot 00000003 is missing.*is 00000002 in .*--force", *command)
        self.run_good("show", actor, "--force")
        self.assertEqual(self.add(actor, 1, extra=["--force"]), 2)
        self.assertEqual(self.add(actor, 1), 3)

    def test_numbers_beyond_json(self):
        actor = self.talker()
        place = os.path.join(self.state, "actors", actor)
        os.rename(os.path.join(place, "00000001-000000000000.full.snapshot"),
                  os.path.join(place, "00000001-9223372036854775807.full.snapshot"))
        with contextlib.closing(sqlite3.connect(os.path.join(self.state, "journal.db"))) as journal:
            with journal:  # numbers are stored 2^63 less than they are
                journal.execute("UPDATE snapshot SET done = -1")
                journal.execute("UPDATE actor SET done = -1, numbered = -1")
        self.assertEqual(json.loads(self.run_good("list", "--json"))[0]["done"], 2 ** 63 - 1)
        self.add(actor, 1)
        self.assertEqual(json.loads(self.run_good("list", "--json"))[0]["done"], str(2 ** 63))
        self.assertIn(b"9223372036854775808 done", self.run_good("show", actor))

    def timed_add(self, actor, number):
        started = time.monotonic()
        count = self.add(actor, number)
        return count, time.monotonic() - started

    def test_kills(self):
        """kill -9 at random moments: each message is done wholly or waits, none is lost."""
        actor = self.talker()
        self.add(actor, 12)
        usual = self.timed_add(actor, 1)[1]
        total = 13
        rng = random.Random(1)
        cut = 0
        for _ in range(KILLS):
            with subprocess.Popen([PROGRAM, "actor", "send", actor, "+1", "--state", self.state,
                                   "--threads", "1"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as process:
                time.sleep(rng.random() * usual * 1.2)
                process.kill()
            cut += process.returncode != 0
            # Accepted or not; worked on or waiting: after `run` the count says which.
            self.run_good("run")
            now, usual = self.timed_add(actor, 0)  # what a message takes changes with the load
            self.assertIn(now - total, (0, 1))
            total = now
        print(f"{cut} of {KILLS} were killed before their end")
        self.assertGreater(cut, KILLS // 4)
        leftovers = [name for name in os.listdir(os.path.join(self.state, "actors", actor))
                     if not re.fullmatch(r"\d{8}-\d{12}\.full\.snapshot|\d{8}\.series", name)]
        self.assertEqual(leftovers, [])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
