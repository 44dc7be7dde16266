#!/usr/bin/env python3
"""Names that are no UTF-8: of files, of models in their files, of tenants. What becomes JSON is told, or refused by name.

Called by ctest with the source and the build folder.
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import ENVIRONMENT, PROGRAM, Server, new_key, write_model  # noqa: E402

BAD = b"m\xffn"


class Names(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="dw-names-")
        self.addCleanup(self.place.cleanup)
        self.tiny = self.path("tiny.gguf")
        write_model(self.tiny)
        self.cache = self.path("cache")
        os.makedirs(self.path("cache/driftwood"))
        with open(self.tiny, "rb") as file:
            good = file.read()
        self.odd_file = os.path.join(os.fsencode(self.cache), b"driftwood", BAD + b".gguf")
        with open(self.odd_file, "wb") as file:
            file.write(good)
        at = good.index(b"tiny", good.index(b"general.name"))
        self.odd_own = self.path("own.gguf")
        with open(self.odd_own, "wb") as file:
            file.write(good[:at] + b"t\xff\ny" + good[at + 4:])

    def path(self, name):
        return os.path.join(self.place.name, name)

    def run_it(self, *args):
        return subprocess.run([PROGRAM, *args], capture_output=True, timeout=60, check=False,
                              env=dict(ENVIRONMENT, XDG_CACHE_HOME=self.cache))

    def refused(self, *args, code=1):
        done = self.run_it(*args)
        self.assertEqual(done.returncode, code, done)
        self.assertEqual(done.stdout, b"")
        return done.stderr.decode()

    def test_served_models(self):
        """Are refused at the start, whether the name was given or is the file's."""
        serve = ["serve", "--listen", "127.0.0.1:0", "--state", self.path("state"), "--model"]
        for given in (BAD + b"=" + os.fsencode(self.tiny), self.odd_file):
            told = self.refused(*serve, given)
            self.assertIn("model 'm?n'", told)
            self.assertIn("UTF-8", told)
        told = self.refused(*serve, "a\nb=" + self.tiny)
        self.assertIn("below a space", told)
        # A file may be called anything if the name is given.
        server = Server(model=b"odd=" + self.odd_file)
        try:
            told = server.ask("/v1/models", connection=server.own())[1]["data"][0]
            self.assertEqual((told["id"], told["path"]), ("odd", None))
            done = server.ask("/v1/completions", {"prompt": "sea", "max_tokens": 1})
            self.assertEqual(done[0], 200, done)
        finally:
            self.assertEqual(server.end(), 0, server.errors)

    def test_models_by_their_own_names(self):
        """Which their files tell in any bytes: actors have them, snapshots name them, routes tell them."""
        server = Server(model="odd=" + self.odd_own)
        try:
            for path, body in (("/props", None), ("/api/show", {"model": "odd"})):
                self.assertEqual(server.ask(path, body)[0], 200, path)
            self.assertEqual(server.ask("/props")[1]["model_path"], "t? y")
            status, told = server.ask("/v1/actors", {"guest": "chat"})
            self.assertEqual(status, 201, told)
            status, _, data = server.request("GET", f"/v1/actors/{told['id']}/export")
            self.assertEqual(status, 200)
            self.assertEqual(server.ask("/v1/actors/import", data)[0], 201)
        finally:
            self.assertEqual(server.end(), 0, server.errors)

    def test_models_of_the_cache(self):
        told = json.loads(self.run_it("models", "--json").stdout)
        self.assertEqual([(one["name"], one["path"]) for one in told], [("m?n.gguf", None)])
        shown = self.run_it("models").stdout.decode()
        self.assertRegex(shown, r"^m\?n\.gguf .* llama\n$")
        told = json.loads(self.run_it("inspect", "--json", self.odd_file).stdout)
        self.assertEqual((told["path"], told["name"]), (None, "tiny"))

    def test_tenants(self):
        told = self.refused("actor", "spawn", "--state", self.path("state"), "--guest", "actor_echo", "--tenant", BAD)
        self.assertIn("tenant 'm?n'", told)
        self.assertIn("tenant 'm?n'", self.refused("serve", "--new-key", BAD, code=2))
        keys = self.path("keys")
        with open(keys, "wb") as file:
            file.write(new_key("good")[1].encode() + b"\n" + new_key("bad")[1].encode().replace(b"bad", BAD) + b"\n")
        told = self.refused("serve", "--listen", "127.0.0.1:0", "--state", self.path("state"), "--model",
                            "tiny=" + self.tiny, "--keys", keys)
        self.assertIn("line 2: tenant 'm?n' is no UTF-8", told)

    def test_a_server_is_told_paths_in_utf8(self):
        state = self.path("state")
        server = Server(model="tiny=" + self.tiny, state=state)
        try:
            told = self.refused("actor", "spawn", "--state", state, "--guest", "chat", "--model", self.odd_file)
            self.assertIn("m?n.gguf", told)
        finally:
            self.assertEqual(server.end(), 0, server.errors)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
