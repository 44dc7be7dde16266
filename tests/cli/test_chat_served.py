#!/usr/bin/env python3
"""The command line beside a server: `driftwood chat`, `models`, `top` and `actor logs` ask it.

Called by ctest with the source and the build folder.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import BUILD, MODEL, PROGRAM, Server  # noqa: E402

QUESTIONS = "Name three trees.\nAnd two more?\n"
SAMPLING = ["--temp", "0", "--max-tokens", "8"]


def environment(**more):
    return dict(os.environ, DRIFTWOOD_GUESTS=os.path.join(BUILD, "guests"), **more)


class Beside(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(lambda: self.server.process.returncode is None and self.server.end(signal.SIGKILL))

    def run_it(self, *args, text="", **env):
        return subprocess.run([PROGRAM, *args], input=text, capture_output=True, text=True, timeout=120,
                              check=False, env=environment(**env))

    def good(self, *args, **more):
        done = self.run_it(*args, "--state", self.server.state, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def loads(self):
        return [m["status"]["value"] for m in self.server.ask("/v1/models")[1]["data"]]

    def test_chat_is_an_actor_of_the_servers(self):
        other = os.path.join(os.path.dirname(self.server.state), "other")  # where no server works
        alone = self.run_it("chat", "--state", other, "--model", MODEL, *SAMPLING, text=QUESTIONS)
        self.assertEqual(alone.returncode, 0, alone.stderr)
        self.assertIn("the conversation is actor", alone.stderr)
        done = self.good("chat", *SAMPLING, text=QUESTIONS)
        self.assertEqual(done.stdout, alone.stdout)
        self.assertEqual(len(done.stdout.splitlines()), 2)
        self.assertEqual(self.loads(), ["loaded"])
        actor = re.search(r"the conversation is actor ([0-9a-f]{16})", done.stderr)[1]
        self.assertIn(actor, self.good("actor", "list").stdout)
        overview = self.server.overview()
        self.assertEqual(overview["runtime"]["ended"], 2)
        # it goes on, and remembers
        more = self.good("chat", "--actor", actor[:8], text="Which was the first?\n")
        self.assertNotEqual(more.stdout.strip(), "")
        self.assertNotIn("the conversation is actor", more.stderr)
        about = json.loads(self.good("actor", "list", "--json").stdout)
        self.assertEqual([(a["id"], a["done"]) for a in about], [(actor, 3)])
        # nobody spoke: nothing stays
        self.assertEqual(self.good("chat", text="\n").stderr, "")
        self.assertEqual(len(self.good("actor", "list").stdout.splitlines()), 1)

    def test_the_usual_folder_and_names_of_models(self):
        home = os.path.dirname(self.server.state)
        os.symlink("state", os.path.join(home, "driftwood"))
        done = self.run_it("chat", "--model", "small", *SAMPLING, text=QUESTIONS, XDG_STATE_HOME=home)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the conversation is actor", done.stderr)
        done = self.run_it("chat", "--model", "large", text="x\n", XDG_STATE_HOME=home)
        self.assertEqual(done.returncode, 1)
        self.assertIn("large", done.stderr)
        done = self.run_it("chat", "--model", MODEL, "--threads", "1", *SAMPLING, text=QUESTIONS,
                           XDG_STATE_HOME=home)
        self.assertEqual((done.returncode, done.stderr), (0, ""))  # its own process
        done = self.run_it("chat", "--alone", "--state", home)
        self.assertEqual(done.returncode, 2)

    def test_an_answer_is_left(self):
        chat = subprocess.Popen([PROGRAM, "chat", "--state", self.server.state, "--temp", "0"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env=environment())
        chat.stdin.write("Count from one to one thousand, slowly: one, two, three\n")
        chat.stdin.flush()
        self.assertNotEqual(chat.stdout.read(1), "")
        chat.send_signal(signal.SIGINT)
        chat.stdin.write("Name a colour.\n")
        chat.stdin.close()
        rest = chat.stdout.read()
        self.assertEqual(chat.wait(120), 0, chat.stderr.read())
        self.assertIn("\n", rest)
        chat.stdout.close()
        chat.stderr.close()
        ended = self.server.overview()["runtime"]["ended"]
        self.assertEqual(ended, 2)

    def test_models(self):
        def served():
            rows = json.loads(self.good("models", "--json").stdout)
            return [one for row in rows for one in row.get("served", [])]

        self.assertEqual(served(), [{"id": "small", "state": "unloaded", "fraction": 0.0,
                                     "loaded_bytes": 0, "in_use": False}])
        self.server.chat([{"role": "user", "content": "hello"}], max_tokens=2)
        self.assertEqual([(m["state"], m["loaded_bytes"] > 90e6) for m in served()], [("loaded", True)])
        self.assertRegex(self.good("models").stdout, r"served as small: loaded, \d+\.\d MB in memory")
        alone = self.run_it("models", "--json", "--state", "/nowhere")
        self.assertEqual([r for r in json.loads(alone.stdout) if "served" in r], [])
        self.assertEqual(json.loads(self.good("top", "--once", "--json").stdout)["format"],
                         "driftwood-overview")

    def test_what_guests_write_to_standard_error(self):
        spawned = self.good("actor", "spawn", "--guest",
                            os.path.join(BUILD, "guests", "actor_printer.wasm")).stdout.strip()
        self.good("actor", "send", spawned, "!<3>no ink\nwarn: \x1b[31mlittle paper\nready\n")
        end = time.monotonic() + 60
        rows = []
        while len(rows) < 3 and time.monotonic() < end:  # nobody waits for the log
            told = self.good("actor", "logs", spawned, "--json", "--last", "3").stdout
            rows = [json.loads(line) for line in told.splitlines() if "guest-log" in line]
        self.assertEqual([(r["level"], r["text"], r["actor"]) for r in rows],
                         [("error", "no ink", spawned), ("warn", "warn: \x1b[31mlittle paper", spawned),
                          ("info", "ready", spawned)])
        text = self.good("actor", "logs", spawned).stdout
        self.assertRegex(text, r"(?m)^\d{4}-\d\d-\d\dT[0-9:.]+Z error guest-log message=\d+  no ink$")
        self.assertIn("warn: ?[31mlittle paper", text)
        follower = subprocess.Popen([PROGRAM, "actor", "logs", spawned, "--follow", "--state",
                                     self.server.state, "--last", "1", "--json"],
                                    stdout=subprocess.PIPE, text=True, env=environment())
        self.assertEqual(json.loads(follower.stdout.readline())["text"], "ready")
        got = None
        while got is None:  # once it listens
            self.good("actor", "send", spawned, "!more\n")
            got = follower.stdout.readline()
        self.assertEqual(json.loads(got)["text"], "more")
        follower.send_signal(signal.SIGINT)
        follower.wait(60)
        follower.stdout.close()
        self.assertEqual(self.server.end(), 0)
        self.assertIn(f"driftwood: actor {spawned}: error: no ink\n", self.server.errors)
        self.assertIn("warn: warn: ?[31mlittle paper\n", self.server.errors)
        done = self.run_it("actor", "logs", spawned, "--state", self.server.state + "2")
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        print("the default model is not there: run `make model`")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
