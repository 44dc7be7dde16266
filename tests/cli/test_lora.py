#!/usr/bin/env python3
"""LoRA adapters by the command line: of runs, of actors, and of a server that has a model under two names.

Called by ctest with the source and the build folder; the default model is in DW_TEST_MODEL_DIR. What is wrong with --lora:
test_options.py.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import ENVIRONMENT, MODEL, PROGRAM, TOOLS, Server, cached, user, write_model  # noqa: E402

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
        child = self.good("actor", "fork", *state, actor).stdout.strip()
        send = ["actor", "send", *state]
        first = self.good(*send, "--lora", "renamed=" + self.pirate, actor, "Name a sea.").stdout
        self.assertEqual(first, self.good(*send, child, "Name a sea.").stdout)
        plain = self.good(*spawn).stdout.strip()
        self.assertNotEqual(first, self.good(*send, plain, "Name a sea.").stdout)
        for wrong, why in ((self.poet, "'poet' is another file .* than that of 'renamed'"),
                           (self.pirate + ":0.5", "'pirate' has scale 0.5, the actor's 'renamed' has 1"),
                           (self.pirate + ":0", "'pirate' has scale 0, the actor's 'renamed' has 1")):
            self.told([*send, "--lora", wrong, actor, "And another one?"],
                         "a model with adapter 'renamed': --lora " + why)
        self.assertNotEqual(self.good(*send, "--lora", self.pirate, actor, "And another one?").stdout, "")

    def told(self, command, why):
        done = run(*command)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stderr, why)

    def test_files_are_found_again(self):
        state = ["--state", os.path.join(self.folder.name, "found"), "--model", MODEL]
        own = [os.path.join(self.folder.name, name) for name in ("one.gguf", "two.gguf")]
        for path, of in zip(own, (self.pirate, self.poet)):
            shutil.copyfile(of, path)
        actor = self.good("actor", "spawn", "--guest", "chat", "--temp", "0", "--max-tokens", "8", *state,
                          "--lora", own[0] + ":0.5", "--lora", "b=" + own[1]).stdout.strip()
        twins = [self.good("actor", "fork", *state, actor).stdout.strip() for _ in range(3)]
        send = ["actor", "send", *state]
        said = self.good(*send, "--lora", own[0] + ":0.5", "--lora", own[1], actor, "Name a sea.").stdout
        self.assertEqual(said, self.good(*send, twins[0], "Name a sea.").stdout)
        moved = own[0] + ".moved.gguf"
        os.rename(own[0], moved)
        command = [*send, twins[1], "Name a sea."]
        self.told(command, "the file of 'one' .* is not at .*one.gguf: give it by --lora")
        shutil.copyfile(self.poet, own[0])
        self.told(command, "one.gguf is another file now than that of 'one'")
        os.unlink(own[0])
        os.mkfifo(own[0])
        self.told(command, "the file of 'one' .* is not at .*one.gguf")
        # Only the one that moved has to be given; from then on it is found where it is now.
        self.assertEqual(said, self.good(*send, "--lora", moved + ":0.5", *command[-2:]).stdout)
        self.assertNotEqual(self.good(*send, twins[1], "Why?").stdout, "")
        # What contexts may choose is there for them again, and its absence no obstacle before they do.
        self.good("actor", "show", *state, twins[2], "--lora", moved + ":0.5")

    def test_one_load_without_a_file(self):
        """Actors that lack the file of an adapter that none chose share their model, which tells of none."""
        state = ["--state", os.path.join(self.folder.name, "lacking"), "--model", MODEL]
        path = os.path.join(self.folder.name, "lacking.gguf")
        shutil.copyfile(self.pirate, path)
        actor = self.good("actor", "spawn", "--guest", "chat", *state, "--lora", path + ":0").stdout.strip()
        twin = self.good("actor", "fork", *state, actor).stdout.strip()
        diff = ["actor", "diff", *state, actor, twin]
        before = run(*diff)
        self.assertNotIn("is not at", before.stderr)
        os.unlink(path)
        after = run(*diff)
        self.assertNotIn("the file of 'lacking'", after.stderr)
        self.assertEqual((after.returncode, after.stdout), (before.returncode, before.stdout))
        # Where the file is at hand again, the model without it is not what they were granted.
        self.assertNotIn("is not at", run(*diff, "--lora", self.pirate + ":0").stderr)

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
            # Without its adapter the one says what the other does.
            status, answer = server.ask("/v1/chat/completions", {
                "model": "pirate", "messages": turns, "temperature": 0, "max_tokens": 12, "lora": []})
            self.assertEqual((status, answer["choices"][0]["message"]), (200, said["plain"]), answer)
        finally:
            self.assertEqual(server.end(), 0, server.errors)

    def test_requests_choose(self):
        """Against models that have the same adapters for all requests; no conversation goes on with others."""
        small, template, *files = (os.path.join(self.folder.name, name) for name in ("tiny", "template", "a", "b"))
        write_model(small)
        with open(template, "w", encoding="utf-8") as file:
            file.write("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
                       "{% if add_generation_prompt %}<assistant>{% endif %}")
        for path, seed in zip(files, "34"):
            subprocess.run([os.path.join(TOOLS, "write_model"), "--adapter", path, small, seed], check=True)
        choices = [[], [(0, 1)], [(1, 0.5)], [(1, 2), (0, -0.25)]]
        options = ["--lora", files[0] + ":0", "--lora", "b=" + files[1], "--chat-template", template]
        for number, lora in enumerate(choices):
            options += ["--model", f"m{number}={small}"]
            options += [word for i, scale in lora for word in ("--lora", f"{files[i]}:{scale}")]
        server = Server(*options, model="one=" + small)
        try:
            self.assertEqual(server.ask("/lora-adapters"), (200, [
                {"id": 0, "name": "a", "path": "a", "scale": 0.0}, {"id": 1, "name": "b", "path": "b", "scale": 1.0}]))
            self.assertEqual(server.ask("/lora-adapters?model=none")[0], 404)
            self.assertEqual(server.ask("/lora-adapters", [{"id": 0, "scale": 1}])[0], 403)

            def asked(path, lora, **body):
                if lora is not None:
                    body["lora"] = [{"id": i, "scale": scale} for i, scale in lora]
                status, answer = server.ask(path, {"temperature": 0, "max_tokens": 4, **body})
                self.assertEqual(status, 200, answer)
                return answer

            def text(lora, model="one"):
                return asked("/v1/completions", lora, model=model, prompt="sea", logprobs=4)["choices"][0]["logprobs"]

            def chat(lora, turns, **more):
                return asked("/v1/chat/completions", lora, messages=turns, **more)

            expected = [text(None, f"m{number}") for number in range(len(choices))]
            self.assertEqual(len({json.dumps(one) for one in expected}), len(choices), expected)
            for _ in range(2):  # the second time with actors that held another's
                self.assertEqual([text(lora) for lora in choices], expected)
            self.assertEqual(text(None), text([(1, 1), (0, 0)]))
            raw = asked("/completion", [(0, 1)], prompt="sea", n_predict=4)["content"]
            self.assertEqual(raw, asked("/completion", None, model="m1", prompt="sea", n_predict=4)["content"])
            turns = [user("Name a sea. " * 12)]
            turns += [{"role": "assistant", "content": chat([(0, 1)], turns)["choices"][0]["message"]["content"]},
                      user("Why?")]
            for lora, found in (([(0, 0.5)], False), (None, False), ([(1, 0), (0, 1)], True)):
                self.assertEqual(cached(chat(lora, turns)) > 100, found, lora)
            # Of a session's name there is one conversation for each choice.
            turns = [user("Name a river. " * 12)]
            for lora in ([(0, 1)], [(0, 2)], None):
                self.assertEqual(cached(chat(lora, turns, driftwood={"session": "s"})), 0)
                self.assertGreater(cached(chat(lora, turns, driftwood={"session": "s"})), 100)
            self.refused(server)
        finally:
            self.assertEqual(server.end(), 0, server.errors)

    def refused(self, server):
        one = {"id": 0, "scale": 1}
        for wrong, words in ((7, "a list of up to 64"), ([7], "item 0"), ([one, {"id": 0}], "item 1"),
                             ([{"id": "0", "scale": 1}], "item 0"), ([{"id": 0, "scale": "1"}], "item 0"),
                             ([{"id": 0, "scale": 1000.5}], "scale 1000.5"), ([one, one], "stands twice"),
                             ([{"id": 2, "scale": 1}], "no adapter 2, the model has 2"),
                             ([{"id": -1, "scale": 1}], "no adapter -1"), ([one] * 65, "a list of up to 64"),
                             ([{"id": 1 << 40, "scale": 1}], "no adapter 1099511627776")):
            for path, body in (("/completion", {"prompt": "a", "n_predict": 1}),
                               ("/v1/completions", {"prompt": "a", "max_tokens": 1}),
                               ("/v1/chat/completions", {"messages": [user("a")], "max_tokens": 1})):
                status, answer = server.ask(path, dict(body, lora=wrong))
                self.assertEqual((status, answer["error"]["param"]), (400, "lora"), (path, answer))
                self.assertIn(words, answer["error"]["message"], path)
        status, _, data = server.request("POST", "/completion", '{"prompt": "a", "lora": [{"id": 0, "scale": 1e999}]}')
        self.assertEqual(status, 400, data)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
