#!/usr/bin/env python3
"""The decoding and agent programs under guest/examples: each prints a figure, which is held here."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = sys.argv[1:3]
DRIFTWOOD = os.path.join(BUILD, "driftwood")
MODEL = os.path.join(os.environ.get("DW_TEST_MODEL_DIR", os.path.expanduser("~/.cache/driftwood")),
                     "SmolLM2-135M-Instruct.Q4_1.gguf")


def run(guest, *options, fails=False, **settings):
    """What the guest prints, with settings from its environment."""
    given = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    result = subprocess.run(
        [DRIFTWOOD, "run", "--model", MODEL, os.path.join(BUILD, "guests", guest + ".wasm"),
         *options, *given], capture_output=True, text=True, timeout=600, check=False)
    if (result.returncode != 0) != fails:
        raise AssertionError(f"{guest}: {result.returncode}: {result.stdout}{result.stderr}")
    return result.stdout + result.stderr if fails else result.stdout


class Branches(unittest.TestCase):
    def test_together_is_the_same(self):
        said = run("branches", BRANCHES=8, TOKENS=16)
        self.assertIn("8 of 8 texts equal", said)
        self.assertIn("8 of 8 rows equal", said)
        print("branches:", re.search(r"[0-9.]+ times", said)[0], file=sys.stderr)

    def test_limit_of_contexts(self):
        refused = run("branches", BRANCHES=20, TOKENS=2, fails=True)
        self.assertIn("contexts: 16 are open, limit 16 (contexts)", refused)
        self.assertIn("20 of 20 texts equal",
                      run("branches", "--limit", "contexts=20", BRANCHES=20, TOKENS=3))


class Decoding(unittest.TestCase):
    """Each on one thread, since what they find does not depend on it."""
    def figure(self, pattern, guest, *options, **settings):
        said = run(guest, "--threads", "1", *options, **settings)
        found = re.search(pattern, said)
        self.assertIsNotNone(found, said)
        print(found[0], file=sys.stderr)
        return [float(number) for number in found.groups()]

    def test_best_of_n(self):
        best, mean = self.figure(r"best of 4: log p a token (\S+), on average (\S+);", "best_of_n",
                                 N=4, TOKENS=8)
        self.assertGreater(best, mean)

    def test_vote(self):
        _, most, silent = self.figure(r"(-?\d+): (\d+) of 5 votes, (\d+) without", "vote", N=5,
                                      TOKENS=16)
        self.assertGreaterEqual(most, 1)
        self.assertLessEqual(most + silent, 5)

    def test_beam(self):
        beam, one, whole, greedy = self.figure(
            r"log p (\S+), token by token (\S+), by the whole (\S+), greedy (\S+)", "beam",
            TOKENS=8)
        self.assertLess(abs(beam - one), 1e-3)
        self.assertLess(abs(beam - whole), 0.05 * abs(whole))
        self.assertGreaterEqual(beam, greedy)

    def test_tree(self):
        best, worst = self.figure(r"best value (\S+), worst of the last level (\S+);", "tree",
                                  DEPTH=2)
        self.assertGreater(best, worst)

    def test_tree_search(self):
        nodes, value, _ = self.figure(r"10 rounds, (\d+) nodes; value (\S+), on average (\S+)",
                                      "mcts", ROUNDS=10, PLAYS=2)
        self.assertGreater(nodes, 4)
        self.assertTrue(0.0 < value <= 1.0)

    def test_prefix_tree(self):
        tree, alone, _ = self.figure(
            r"12 questions: (\d+) tokens as a tree, (\d+) one by one; (\S+) times", "prefix_tree")
        self.assertLess(tree * 4, alone)

    def test_sink(self):
        shifts, before, behind = self.figure(
            r"(\d+) shifts; log p a token (\S+) before, (\S+) behind", "sink", CONTEXT=32,
            TOKENS=64)
        self.assertGreater(shifts, 1)
        self.assertGreater(behind, before - 2.0)  # it still speaks

    def test_lookup(self):
        runs, _, alike = self.figure(r"24 tokens in (\d+) runs: (\S+) times as fast; (\d+) of 24",
                                     "lookup", TOKENS=24)
        self.assertEqual(alike, 24)
        self.assertLess(runs, 20)

    def test_speculate(self):
        runs, taken, alike = self.figure(
            r"in (\d+) runs of the large model, (\d+) of 100 drafts taken; (\d+) of 12", "speculate",
            TOKENS=12)
        self.assertEqual(alike, 12)
        self.assertLessEqual(runs, 3)  # its own draft, in trees
        self.assertEqual(taken, 100)

    def test_guidance(self):
        _, moved, made = self.figure(r"guidance of (\S+): (\d+) of (\d+) tokens others", "guidance",
                                     TOKENS=8, SCALE=30)
        self.assertGreater(made, 0)
        moved, = self.figure(r"guidance of 1.0: (\d+) of \d+ tokens others", "guidance", TOKENS=8,
                             SCALE=10)
        self.assertEqual(moved, 0)  # nothing but the system prompt's own

    def test_watermark(self):
        marked, plain = self.figure(
            r"watermark: (\S+) deviations in \d+ tokens with it, (\S+) in \d+ without", "watermark",
            TOKENS=48)
        self.assertGreater(marked, 4.0)
        self.assertLess(abs(plain), 3.0)

    def test_json_repair(self):
        self.figure(r"valid at attempt (\d+)", "json_repair", TRIES=1)

    def test_rag(self):
        passage, = self.figure(r"retrieved passage (\d) of 4", "rag")
        self.assertEqual(passage, 3)

    def test_map_reduce(self):
        parts, tokens = self.figure(r"map and reduce: (\d+) parts, (\d+) tokens", "map_reduce",
                                    TOKENS=8)
        self.assertGreater(parts, 2)
        self.assertGreater(tokens, parts)


class Agents(unittest.TestCase):
    CALCULATE = f"{DRIFTWOOD} run {os.path.join(BUILD, 'guests', 'calculate.wasm')}"

    def test_calculate(self):
        for asked, value in (("1 + 2 * (3 - 5)", "-3"), ("-7/2", "-3"), ("((4))", "4")):
            said = subprocess.run(self.CALCULATE.split(), input=asked, capture_output=True,
                                  text=True, timeout=60, check=True)
            self.assertEqual(said.stdout, value + "\n")
        for asked in ("", "1 +", "9" * 30, "1/0", "(" * 1000, "2 2", "9223372036854775807+1"):
            said = subprocess.run(self.CALCULATE.split(), input=asked, capture_output=True,
                                  text=True, timeout=60, check=False)
            self.assertEqual(said.returncode, 1, asked)

    def test_react(self):
        said = run("react", "--threads", "1", "--tool", f"calc={self.CALCULATE}")
        self.assertRegex(said, r"1 call of calc: [0-9+*\- ]+ = -?\d+; the answer has it")
        self.assertIn("this guest has no tools", run("react", "--threads", "1", fails=True))

    def test_code_act(self):
        said = run("code_act", "--threads", "1", "--tool", f"run={self.CALCULATE}")
        self.assertRegex(said, r"the program ran at attempt \d: -?\d+")
        refused = run("code_act", "--threads", "1", "--tool", "run=false", TRIES=1, fails=True)
        self.assertIn("no program ran", refused)

    def test_swarm(self):
        with tempfile.TemporaryDirectory() as folder:
            def actor(*arguments):
                return subprocess.run([DRIFTWOOD, "actor", *arguments, "--state", folder],
                                      capture_output=True, text=True, timeout=120,
                                      check=True).stdout.strip()
            swarm = actor("spawn", "--guest", os.path.join(BUILD, "guests", "swarm.wasm"))
            actor("send", swarm, "ask 8")
            actor("run")
            self.assertEqual(actor("send", swarm, "tell"),
                             f"swarm: 8 of 8 answers, sum {sum(range(800))}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
