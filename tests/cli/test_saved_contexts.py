#!/usr/bin/env python3
"""driftwood run --contexts, and driftwood actor contexts: what one run saves another opens."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = sys.argv[1:3]
DRIFTWOOD = os.path.join(BUILD, "driftwood")
SAVER = os.path.join(BUILD, "guests", "saver.wasm")
ACTOR = os.path.join(BUILD, "guests", "actor_saver.wasm")


def driftwood(*arguments):
    return subprocess.run([DRIFTWOOD, *arguments], capture_output=True, text=True, timeout=120,
                          check=False)


def run(*messages, options=()):
    return driftwood("run", SAVER, *options, "--", *messages).stdout


class Contexts(unittest.TestCase):
    def test_two_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            own = ("--contexts", folder + "/own")
            self.assertIn("-21 context 'sea'", run("s sea The tide comes in", options=()))
            said = run("s sea The tide comes in", "o sea", options=own).split("\n")
            count, again = int(said[0]), run("o sea", options=own)
            self.assertEqual(again, said[1] + "\n")
            self.assertEqual(int(again.split()[0]), count)
            read_only = ("--contexts", folder + "/own:ro")
            self.assertEqual(run("o sea", options=read_only), again)
            self.assertIn("-21 context 'sea': it was not granted to be saved",
                          run("s sea x", options=read_only))
            self.assertIn("-14 context 'land': none is saved", run("o land", options=read_only))
            self.assertIn("-12 context 'sea': its keys and values are f16, this guest's are q8_0",
                          run("o sea", options=(*own, "--kv-type", "q8_0")))
            self.assertIn("limit 1 (saved_contexts)",
                          run("s land x", options=(*own, "--limit", "saved_contexts=1")))
            self.assertIn("-21 context 'sea': it was not granted to be saved",
                          run("r sea", options=read_only))
            self.assertEqual(run("r sea", options=own), "0\n")
            self.assertIn("-14 context 'sea': none is saved", run("r sea", options=own))

    def test_refused(self):
        for given, words in ((("--contexts", ""), "a folder is needed"),
                             (("--contexts", "a", "--contexts", "b"), "twice")):
            result = driftwood("run", SAVER, *given)
            self.assertEqual(result.returncode, 2, given)
            self.assertIn(words, result.stderr)

    def test_actors(self):
        with tempfile.TemporaryDirectory() as folder:
            state = ("--state", folder)
            ids = [driftwood("actor", "spawn", "--guest", ACTOR, *state).stdout.strip()
                   for _ in range(2)]
            sent = driftwood("actor", "send", ids[0], "s sea The tide comes in", *state)
            self.assertEqual(sent.returncode, 0, sent.stderr)
            said = [driftwood("actor", "send", one, "o sea", *state).stdout for one in ids]
            self.assertEqual(said[0], said[1])
            listed = json.loads(driftwood("actor", "contexts", "--json", *state).stdout)
            self.assertEqual([(one["name"], one["tenant"], one["kv_type"]) for one in listed],
                             [("sea", "", "f16")])
            self.assertEqual(listed[0]["tokens"], int(sent.stdout))
            text = driftwood("actor", "contexts", *state).stdout
            self.assertIn(f"sea  {listed[0]['tokens']} tokens, ", text)
            self.assertEqual(driftwood("actor", "contexts", "--tenant", "a", *state).stdout, "")
            gone = driftwood("actor", "contexts", "--remove", "land", *state)
            self.assertEqual(gone.returncode, 1)
            self.assertIn("context 'land': none is saved", gone.stderr)
            gone = driftwood("actor", "contexts", "--remove", "sea", *state)
            self.assertEqual((gone.returncode, gone.stdout), (0, ""))
            self.assertEqual(driftwood("actor", "contexts", *state).stdout, "")
            sent = driftwood("actor", "send", ids[1], "o sea", *state)
            self.assertIn("context 'sea': none is saved", sent.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
