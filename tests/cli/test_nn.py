#!/usr/bin/env python3
"""Guests of wasi-nn, run as they are elsewhere: texts equal to what `driftwood run --raw` gives."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = sys.argv[1:3]
DRIFTWOOD = os.path.join(BUILD, "driftwood")
GUEST = os.path.join(BUILD, "guests", "nn.wasm")
ACTOR = os.path.join(BUILD, "guests", "actor_nn.wasm")
MODEL = os.path.join(os.environ.get("DW_TEST_MODEL_DIR", os.path.expanduser("~/.cache/driftwood")),
                     "SmolLM2-135M-Instruct.Q4_1.gguf")
PROMPT = "Once upon a time"


def run(*args):
    return subprocess.run([DRIFTWOOD, "run", "--threads", "1", *args], capture_output=True,
                          text=True, timeout=300, check=False)


def plain(prompt, count):
    return run("--model", MODEL, "--raw", "--temp", "0", "--max-tokens", str(count), "--prompt",
               prompt).stdout.rstrip("\n")


def nn(settings, mode, *prompts, name="default", metadata="", options=("--model", MODEL)):
    settings = settings if isinstance(settings, str) else json.dumps(settings)
    return run(*options, GUEST, "--", name, settings, metadata, mode, *prompts)


class WasiNn(unittest.TestCase):
    def test_texts(self):
        done = nn({"temp": 0, "n-predict": 12, "enable-log": True}, "whole", PROMPT)
        self.assertEqual(done.stdout, plain(PROMPT, 12) + "\n", done.stderr)
        counts = json.loads(done.stderr.splitlines()[-1])
        self.assertEqual((counts["input_tokens"], counts["output_tokens"]), (4, 12))
        self.assertIn("12 generated", done.stderr)
        by_token = nn({"temp": 0, "ctx-size": 15}, "single", PROMPT)
        self.assertEqual(by_token.stdout, done.stdout + "errno 101\n")

    def test_stream(self):
        """What is streamed goes where the guest's own output goes, before it."""
        done = nn({"temp": 0, "n-predict": 8, "stream-stdout": True}, "whole", PROMPT)
        self.assertEqual(done.stdout, 2 * plain(PROMPT, 8) + "\n")

    def test_several_prompts_and_metadata(self):
        other = "The capital of France is"
        done = nn({"temp": 0}, "whole", PROMPT, other, PROMPT, metadata='{"n-predict":5}')
        self.assertEqual(done.stdout.split("\n")[0], plain(PROMPT, 5))
        self.assertEqual(done.stdout, "\n".join([plain(PROMPT, 5), plain(other, 5),
                                                 plain(PROMPT, 5), ""]))

    def test_models_by_name(self):
        preload = ("--nn-preload", "small:GGML:AUTO:" + MODEL)
        done = nn({"temp": 0, "n-predict": 3}, "whole", PROMPT, name="small", options=preload)
        self.assertEqual(done.stdout, plain(PROMPT, 3) + "\n", done.stderr)
        done = nn({}, "whole", PROMPT, name="large", options=preload)
        self.assertEqual((done.stdout, done.returncode), ("errno 103\n", 1))
        self.assertIn("'large'", done.stderr)
        for wrong in ("small", "small:ONNX:AUTO:" + MODEL, "small:GGML:NPU:" + MODEL, ":GGML:CPU:x",
                      "small:GGML:CPU:"):
            self.assertEqual(run("--nn-preload", wrong, GUEST).returncode, 2)

    def test_schema(self):
        """As the plugin takes it: a text that holds a schema."""
        schema = json.dumps({"items": {"type": "integer"}, "minItems": 5, "maxItems": 6})
        done = nn({"temp": 0.1, "seed": 1, "json-schema": schema, "n-predict": 60}, "whole",
                  "Five numbers: ")
        self.assertGreaterEqual(len(json.loads(done.stdout.replace("<|im_end|>", ""))), 5)

    def test_embedding(self):
        done = nn({"embedding": True}, "whole", PROMPT)
        row = json.loads(done.stdout)
        self.assertEqual(len(row["embedding"]), row["n_embedding"])
        self.assertAlmostEqual(sum(x * x for x in row["embedding"]), 1.0, places=4)

    def test_refusals_say_why(self):
        for settings, code, words in (({"mmproj": "clip"}, 6, "mmproj"), ({"temp": "a"}, 1, "temp"),
                                      ("{", 1, "line 1")):
            done = nn(settings, "whole", PROMPT)
            self.assertEqual(done.stdout, f"errno {code}\n")
            self.assertIn(words, done.stderr)

    def test_deadline(self):
        done = nn({"temp": 0, "n-predict": -1, "ignore-eos": True}, "whole", PROMPT,
                  options=("--model", MODEL, "--timeout", "0.6"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("ran longer than its 600 ms", done.stderr)

    def test_actor_goes_on(self):
        """Each command is a process: the text goes on from its files, and a fork's alike."""
        with tempfile.TemporaryDirectory() as folder:
            def actor(command, *args):
                done = subprocess.run([DRIFTWOOD, "actor", command, "--state", folder, "--threads",
                                       "1", *args], capture_output=True, text=True, timeout=300,
                                      check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout.rstrip("\n")
            spawn = ("spawn", "--guest", ACTOR, "--model", MODEL)
            whole, parts = (actor(*spawn) for _ in range(2))
            for one in (whole, parts):
                actor("send", one, "=" + PROMPT)
            expected = actor("send", whole, "9")
            begun = actor("send", parts, "4")
            twin = actor("fork", parts)
            self.assertEqual(begun + actor("send", parts, "5"), expected)
            self.assertEqual(begun + actor("send", twin, "5"), expected)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=0)
