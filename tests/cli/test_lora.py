#!/usr/bin/env python3
"""LoRA adapters by the command line: of runs, of actors, and of a server that has a model under two names.

Called by ctest with the source and the build folder; the default model is in DW_TEST_MODEL_DIR. What is wrong with --lora:
test_options.py.
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import ENVIRONMENT, MODEL, PROGRAM, TOOLS, Server, cached, user  # noqa: E402

SAY = ["--model", MODEL, "--prompt", "Name a sea.", "--temp", "0", "--max-tokens", "12"]


def run(*args):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=120, check=False,
                          env=ENVIRONMENT)


class Adapters(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.pirate = os.path.join(cls.folder.name, "pirate.gguf")
        cls.poet = os.path.join(cls.folder.name, "poet.gguf")
        for path, seed in ((cls.pirate, "3"), (cls.poet, "4")):
            subprocess.run([os.path.join(TOOLS, "write_model"), "--adapter", path, MODEL, seed],
                           check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def good(self, *args):
        done = run(*args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def say(self, *args):
        return self.good("run", *SAY, *args).stdout

    def test_runs(self):
        plain = self.say()
        self.assertEqual(self.say("--lora", self.pirate + ":0"), plain)
        changed = self.say("--lora", self.pirate)
        self.assertNotEqual(changed, plain)
        self.assertEqual(self.say("--lora", "x=" + self.pirate + ":1.0"), changed)
        self.assertNotEqual(self.say("--lora", self.pirate, "--lora", self.poet), changed)
        self.assertEqual(self.say("--lora", self.poet + ":0", "--lora", self.pirate), changed)

    def test_what_is_told(self):
        done = self.good("run", *SAY, "--lora", self.pirate, "--lora", "b=" + self.poet + ":0.5",
                         "--stats=json")
        told = json.loads(done.stderr)["adapters"]
        self.assertEqual([(a["name"], a["scale"], a["rank"], a["model"]) for a in told],
                         [("pirate", 1.0, 8, 0), ("b", 0.5, 8, 0)])
        self.assertTrue(all(a["bytes"] > 0 and a["matrices"] == 210 for a in told), told)
        done = self.good("run", *SAY, "--lora", self.pirate, "--stats")
        self.assertIn("pirate: scale 1, rank 8, 210 matrices", done.stderr)
        told = json.loads(self.good("inspect", "--json", self.pirate).stdout)
        self.assertEqual((told["type"], told["adapter"], told["rank"], told["matrices"]),
                         ("adapter", "lora", 8, 210))

    def test_actors(self):
        state = ["--state", os.path.join(self.folder.name, "state"), "--model", MODEL]
        spawn = ["actor", "spawn", "--guest", "chat", "--temp", "0", "--max-tokens", "8", *state]
        actor = self.good(*spawn, "--lora", self.pirate).stdout.strip()
        child = self.good("actor", "fork", *state, "--lora", self.pirate, actor).stdout.strip()
        send = ["actor", "send", *state]
        first = self.good(*send, "--lora", "renamed=" + self.pirate, actor, "Name a sea.").stdout
        self.assertEqual(first, self.good(*send, "--lora", self.pirate, child, "Name a sea.").stdout)
        plain = self.good(*spawn).stdout.strip()
        self.assertNotEqual(first, self.good(*send, plain, "Name a sea.").stdout)
        for wrong in ([], ["--lora", self.poet], ["--lora", self.pirate + ":0.5"],
                      ["--lora", self.pirate + ":0"]):
            done = run(*send, *wrong, actor, "And another one?")
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertRegex(done.stderr, "a model with adapter '(pirate|renamed)'")
        self.assertNotEqual(self.good(*send, "--lora", self.pirate, actor, "And another one?").stdout, "")

    def test_served_under_two_names(self):
        server = Server("--model", "pirate=" + MODEL, "--lora", self.pirate, model="plain=" + MODEL)
        try:
            turns = [user("Name a sea.")]
            said = {}
            for name in ("plain", "pirate"):
                status, answer = server.ask("/v1/chat/completions", {
                    "model": name, "messages": turns, "temperature": 0, "max_tokens": 12})
                self.assertEqual(status, 200, answer)
                said[name] = answer["choices"][0]["message"]
            self.assertNotEqual(said["plain"]["content"], said["pirate"]["content"])
            # A conversation goes on with the model that it was held with; of the other, what that was asked itself is found.
            for name, found in (("pirate", True), ("plain", False)):
                status, answer = server.ask("/v1/chat/completions", {
                    "model": name, "messages": turns + [said["pirate"], user("Why?")],
                    "temperature": 0, "max_tokens": 4})
                self.assertEqual(status, 200, answer)
                self.assertEqual(cached(answer) > 40, found, answer)
            status, answer = server.ask("/completion", {
                "prompt": "a", "n_predict": 1, "lora": [{"id": 0, "scale": 0.5}]})
            self.assertEqual(status, 501, answer)
            self.assertIn("lora", json.dumps(answer))
            status, answer = server.ask("/completion", {"prompt": "a", "n_predict": 1, "lora": []})
            self.assertEqual(status, 200, answer)
        finally:
            self.assertEqual(server.end(), 0, server.errors)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
