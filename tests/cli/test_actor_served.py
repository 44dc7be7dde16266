#!/usr/bin/env python3
"""`driftwood actor` while a server works in the state folder: tests of test_actor_cli.py once more.

Called by ctest with the source and the build folder; the default model is in DW_TEST_MODEL_DIR.
"""
import os
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_actor_cli as local  # noqa: E402 (the path is set above)

# What these show does not depend on who works in the folder.
SAME = ["test_life", "test_chat_goes_on_in_other_processes", "test_pipes", "test_modules_by_hash",
        "test_exports_replace_files_only", "test_compressed_files_are_looked_into",
        "test_binary_answers", "test_json_answers", "test_long_answers_take_no_memory",
        "test_verify", "test_effects", "test_freezes_are_kept", "test_stop_many",
        "test_an_id_that_begins_several"]


class Served(local.Actors):
    def setUp(self):
        super().setUp()
        self.place = tempfile.TemporaryDirectory()
        self.server = subprocess.Popen(
            [local.PROGRAM, "serve", "--listen", "unix:" + os.path.join(self.place.name, "http"),
             "--state", self.state, "--model", local.MODEL, "--threads", "1"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, DRIFTWOOD_GUESTS=os.path.join(local.BUILD, "guests")))
        self.assertTrue(self.server.stdout.readline())

    def tearDown(self):
        self.server.send_signal(signal.SIGTERM)
        code = self.server.wait(120)
        self.server.stdout.close()
        errors = self.server.stderr.read()
        self.server.stderr.close()
        self.place.cleanup()
        super().tearDown()
        self.assertEqual(code, 0, errors)

    def test_options_of_a_runtime_have_no_effect(self):
        actor = self.talker()
        done = self.run_raw("send", actor, "+1", "--log", "-")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"a server works in the state folder", done.stderr)

    def test_texts_do_not_depend_on_company(self):
        """Actors that answer at once say what `driftwood run` says to each alone, token for token."""
        options = ["--model", local.MODEL, "--max-tokens", "24", "--temp", "0.8", "--seed", "7"]
        sea = "The tide took the old pier plank by plank, and the gulls kept count. "
        prompts = ["Name a sea.", "Tell me why wood floats, in one sentence.",
                   8 * sea + "What took the pier?", 30 * sea + "Who kept count?"]
        alone = [subprocess.run([local.PROGRAM, "run", "--prompt", prompt, *options],
                                capture_output=True, timeout=120, check=True).stdout.strip()
                 for prompt in prompts]
        self.assertEqual(len(set(alone)), len(prompts))
        actors = [self.run_good("spawn", "--guest", "chat", *options).decode().strip()
                  for _ in prompts]
        running = [subprocess.Popen([local.PROGRAM, "actor", "send", actor, prompt, "--state",
                                     self.state], stdout=subprocess.PIPE)
                   for actor, prompt in zip(actors, prompts)]
        told = [one.communicate(timeout=120)[0].strip() for one in running]
        self.assertEqual(told, alone)


for name in list(vars(local.Actors)):
    if name.startswith("test_") and name not in SAME:
        setattr(Served, name, None)

if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Served)
    if sys.argv[3:]:
        suite = unittest.TestSuite(Served(name) for name in sys.argv[3:])
    result = unittest.TextTestRunner().run(suite)
    sys.exit(not result.wasSuccessful())
