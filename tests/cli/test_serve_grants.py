#!/usr/bin/env python3
"""driftwood serve: which models a tenant has, by the names that they are served under and by their own.

Called by ctest with the source and the build folder; the default model is in DW_TEST_MODEL_DIR.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import MODEL, TOOLS, Server, new_key, write_model  # noqa: E402


class Grants(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="dw-grants-")
        self.addCleanup(self.place.cleanup)
        self.tiny = self.path("tiny.gguf")  # its own name: tiny
        write_model(self.tiny)

    def path(self, name):
        return os.path.join(self.place.name, name)

    def serve(self, grants, *options, **more):
        """Tenants by name, each with the models that it is granted; a key for each is made once."""
        if not hasattr(self, "keys"):
            made = {tenant: new_key(tenant) for tenant in grants}
            self.keys = {tenant: key for tenant, (key, _) in made.items()}
            with open(self.path("keys"), "w", encoding="utf-8") as file:
                file.write("".join(line + "\n" for _, line in made.values()))
        with open(self.path("manifest.json"), "w", encoding="utf-8") as file:
            json.dump({"tenants": {name: {"models": models, "may": ["timers"]}
                                   for name, models in grants.items()}}, file)
        server = Server("--keys", self.path("keys"), "--manifest", self.path("manifest.json"),
                        *options, **more)
        self.addCleanup(lambda: server.process.returncode is None and server.end(signal.SIGKILL))
        return server

    def ask(self, server, tenant, path, body=None):
        return server.ask(path, body, key=self.keys[tenant])

    def seen(self, server, tenant):
        return [one["id"] for one in self.ask(server, tenant, "/v1/models")[1]["data"]]

    def loads(self, server):
        """Which are loaded, as the user himself sees it."""
        told = server.ask("/v1/models", connection=server.own())[1]["data"]
        return [one["id"] for one in told if one["status"]["value"] == "loaded"]

    def spawn(self, server, tenant, model):
        status, told = self.ask(server, tenant, "/v1/actors", {"guest": "actor_echo", "model": model})
        self.assertEqual(status, 201, told)
        return told["id"]

    def send(self, server, tenant, actor):
        status, _, data = server.request("POST", f"/v1/actors/{actor}/messages", b"hello",
                                         {"Authorization": "Bearer " + self.keys[tenant]})
        return status, data.decode()

    def test_one_file_under_two_names(self):
        """Who was granted one of them has that alone; whom its own name was granted has both."""
        served = {"model": "second=" + self.tiny, "state": self.path("state")}
        grants = {"one": ["first"], "other": ["second"], "both": ["tiny"], "all": ["*"]}
        server = self.serve(grants, "--model", "first=" + self.tiny, **served)
        self.assertEqual({tenant: self.seen(server, tenant) for tenant in grants},
                         {"one": ["first"], "other": ["second"], "both": ["second", "first"],
                          "all": ["second", "first"]})
        for tenant, own, foreign in (("one", "first", "second"), ("other", "second", "first")):
            for path, body in (("/v1/completions", {"prompt": "sea", "max_tokens": 1}),
                               ("/tokenize", {"content": "sea"}), ("/api/show", {}),
                               ("/v1/actors", {"guest": "actor_echo"})):
                status, told = self.ask(server, tenant, path, {**body, "model": own})
                self.assertIn(status, (200, 201), (tenant, path, told))
                status, told = self.ask(server, tenant, path, {**body, "model": foreign})
                self.assertEqual(status, 404, (tenant, path, told))
            status, told = self.ask(server, tenant, "/v1/completions", {"prompt": "sea", "max_tokens": 1})
            self.assertEqual((status, told["model"]), (200, own))
        # A snapshot finds the one that whoever imports it may have.
        actor = self.spawn(server, "one", "first")
        data = server.request("GET", f"/v1/actors/{actor}/export",
                              headers={"Authorization": "Bearer " + self.keys["one"]})[2]
        for tenant in grants:
            self.assertEqual(self.ask(server, tenant, "/v1/actors/import", data)[0], 201, tenant)
        self.assertEqual(server.end(), 0, server.errors)
        # So does the actor itself, and the other is not loaded for it.
        server = self.serve(grants, "--model", "first=" + self.tiny, **served)
        self.assertEqual(self.loads(server), [])
        self.assertEqual(self.send(server, "one", actor)[0], 200)
        self.assertEqual(self.loads(server), ["first"])
        self.assertEqual(server.end(), 0, server.errors)

    def test_a_name_grants_the_one_that_is_served_under_it(self):
        """And no other, whose own name it is."""
        server = self.serve({"some": ["tiny"]}, "--model", "tiny=" + MODEL, model="mine=" + self.tiny)
        self.assertEqual(self.seen(server, "some"), ["tiny"])
        status, told = self.ask(server, "some", "/tokenize", {"content": "sea", "model": "mine"})
        self.assertEqual(status, 404, told)
        self.assertEqual(server.end(), 0, server.errors)

    def test_a_withdrawn_grant_loads_nothing(self):
        served = {"model": "mine=" + self.tiny, "state": self.path("state")}
        server = self.serve({"some": ["mine"], "all": ["*"]}, **served)
        actors = {tenant: self.spawn(server, tenant, "mine") for tenant in ("some", "all")}
        self.assertEqual(server.end(), 0, server.errors)
        server = self.serve({"some": ["another"], "all": ["*"]}, **served)
        status, told = self.send(server, "some", actors["some"])
        self.assertGreaterEqual(status, 400, told)
        self.assertIn("is neither served nor in the cache", told)
        self.assertEqual(self.loads(server), [])
        self.assertEqual(self.send(server, "all", actors["all"])[0], 200)
        self.assertEqual(self.loads(server), ["mine"])
        status, told = self.send(server, "some", actors["some"])
        self.assertGreaterEqual(status, 400, told)  # now that it is there as well
        self.assertEqual(server.end(), 0, server.errors)
        server = self.serve({"some": ["mine"], "all": ["*"]}, **served)
        self.assertEqual(self.send(server, "some", actors["some"])[0], 200)
        self.assertEqual(server.end(), 0, server.errors)

    def test_actors_find_a_model_with_adapters_again(self):
        """Which is not what its file is; the one without is not taken for it, nor it for that."""
        adapter = self.path("pirate.gguf")
        subprocess.run([os.path.join(TOOLS, "write_model"), "--adapter", adapter, MODEL, "3"], check=True)
        served = ["--lora", adapter, "--model", "plain=" + MODEL]
        more = {"model": "pirate=" + MODEL, "state": self.path("state")}
        server = self.serve({"all": ["*"]}, *served, **more)
        actors = {name: self.spawn(server, "all", name) for name in ("plain", "pirate")}
        self.assertEqual(server.end(), 0, server.errors)
        for name in ("plain", "pirate"):
            server = self.serve({"all": ["*"]}, *served, **more)
            status, told = self.send(server, "all", actors[name])
            self.assertEqual(status, 200, told)
            self.assertEqual(self.loads(server), [name])
            self.assertEqual(server.end(), 0, server.errors)

    def test_names_of_a_file_that_could_not_be_read(self):
        """Are there once it can be, for whom it was granted by its own name."""
        late = self.path("late.gguf")
        with open(self.tiny, "rb") as file, open(late, "wb") as to:
            to.write(file.read()[:100])
        server = self.serve({"own": ["tiny"], "served": ["late"]}, model="late=" + late)
        self.assertEqual((self.seen(server, "own"), self.seen(server, "served")), ([], ["late"]))
        os.replace(self.tiny, late)
        end = time.monotonic() + 30
        while not self.seen(server, "own") and time.monotonic() < end:
            time.sleep(0.1)
        status, told = self.ask(server, "own", "/v1/completions",
                                {"model": "late", "prompt": "sea", "max_tokens": 1})
        self.assertEqual(status, 200, told)
        self.assertEqual(server.end(), 0, server.errors)


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        print("the default model is not there: run `make model`")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
