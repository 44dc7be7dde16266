#!/usr/bin/env python3
"""driftwood serve: models that are unloaded when idle, or for others, and loaded again when they are asked for.

Called by ctest with the source and the build folder.
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import BUILD, MODEL, STORY, Server, cached, new_key, text_of, user  # noqa: E402

TINY = os.path.join(BUILD, "tests", "write_model")


def state_of(server, model="small"):
    return server.ask(f"/v1/models/{model}")[1]["status"]["value"]


def await_state(server, state, model="small"):
    end = time.monotonic() + 60
    while state_of(server, model) != state:
        if time.monotonic() > end:
            raise AssertionError(f"{model} is not {state}")
        time.sleep(0.05)


def metric(server, name, model="small"):
    text = urllib.request.urlopen(f"http://{server.address}/metrics", timeout=60).read().decode()
    return float(re.search(rf'^driftwood_model_{name}{{model="{model}"}} (\S+)$', text, re.M)[1])


def at_once(count, work):
    """-> what each of so many threads got"""
    results = [None] * count

    def run(i):
        results[i] = work()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Pool(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="dw-pool-")
        self.addCleanup(self.place.cleanup)
        self.tiny = os.path.join(self.place.name, "tiny.gguf")
        subprocess.run([TINY, self.tiny], check=True)

    def serve(self, *options, **more):
        server = Server(*options, **more)
        self.addCleanup(lambda: server.process.returncode is None and server.end(signal.SIGKILL))
        return server

    def complete(self, server, model="tiny", **more):
        return server.ask("/v1/completions", {"model": model, "prompt": "sea", "max_tokens": 2, **more})

    def test_conversations_outlive_their_model(self):
        state = os.path.join(self.place.name, "state")
        server = self.serve("--model-idle", "1", state=state)
        self.assertEqual(state_of(server), "unloaded")
        chats = [[user(f"{STORY} How many boats? {i}")] for i in range(2)]
        answers = [server.chat(chat, max_tokens=8) for chat in chats]
        self.assertEqual(metric(server, "loads_total"), 1)
        about = server.ask("/v1/models/small")[1]
        self.assertEqual((about["status"]["fraction"], about["keep_seconds"]), (1, 1))
        self.assertEqual(about["meta"]["architecture"], "llama")
        await_state(server, "unloaded")
        self.assertEqual((metric(server, "unloads_total"), metric(server, "weights_bytes")), (1, 0))
        self.assertEqual(server.overview()["runtime"]["resident"], 0)
        for chat, answer in zip(chats, answers):
            chat += [{"role": "assistant", "content": text_of(answer)}, user("And then?")]
        again = server.chat(chats[0], max_tokens=8)
        self.assertGreaterEqual(cached(again), answers[0]["usage"]["total_tokens"] - 2)
        self.assertEqual(metric(server, "loads_total"), 2)
        await_state(server, "unloaded")
        server.end(signal.SIGKILL)
        server = self.serve("--model-idle", "600", state=state)
        again = server.chat(chats[1], max_tokens=8)
        self.assertGreaterEqual(cached(again), answers[1]["usage"]["total_tokens"] - 2)
        self.assertEqual(server.end(), 0, server.errors)

    def test_one_load_for_all_who_ask(self):
        server = self.serve("--model", "tiny=" + self.tiny)
        one = server.socket()  # a client that goes at once
        body = json.dumps({"model": "tiny", "prompt": "sea", "max_tokens": 2}).encode()
        one.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        one.close()
        got = at_once(6, lambda: self.complete(server)[0])
        self.assertEqual(got, [200] * 6)
        self.assertEqual(metric(server, "loads_total", "tiny"), 1)
        self.assertEqual(state_of(server), "unloaded")  # nobody asked for that
        self.assertEqual(server.end(), 0, server.errors)

    def test_a_load_that_fails_is_told_and_tried_again(self):
        late = os.path.join(self.place.name, "late.gguf")
        with open(late, "wb") as file:
            file.write(b"no model")
        server = self.serve("--model", "late=" + late)
        got = at_once(3, lambda: self.complete(server, "late"))
        for status, answer in got:
            self.assertGreaterEqual(status, 400)
            self.assertIn("late.gguf", answer["error"]["message"])
        status = server.ask("/v1/models/late")[1]["status"]
        self.assertEqual((status["value"], status["failed"]), ("unloaded", True))
        self.assertIn("late.gguf", status["error"])
        self.assertGreaterEqual(metric(server, "load_failures_total", "late"), 1)
        os.replace(self.tiny, late)
        self.assertEqual(self.complete(server, "late")[0], 200)
        self.assertNotIn("failed", server.ask("/v1/models/late")[1]["status"])
        self.assertEqual(server.end(), 0, server.errors)
        self.assertIn("late: not loaded: ", server.errors)

    def test_the_least_recently_used_gives_way(self):
        size = {}
        server = self.serve("--model", "tiny=" + self.tiny)
        for model in ("small", "tiny"):
            size[model] = server.ask(f"/v1/models/{model}")[1]["size"]
        self.assertEqual(server.end(), 0, server.errors)
        other = os.path.join(self.place.name, "other.gguf")
        subprocess.run([TINY, other], check=True)
        limit = size["small"] + size["tiny"] + size["tiny"] // 2  # two of the three fit
        server = self.serve("--model", "tiny=" + self.tiny, "--model", "other=" + other,
                            "--model-memory", str(limit))
        server.chat([user("hello")], max_tokens=2)
        self.assertEqual(self.complete(server)[0], 200)
        server.chat([user("hello again")], max_tokens=2)
        self.assertEqual(self.complete(server, "other")[0], 200)
        states = [state_of(server, model) for model in ("small", "tiny", "other")]
        self.assertEqual(states, ["loaded", "unloaded", "loaded"])
        self.assertEqual(server.end(), 0, server.errors)

        server = self.serve("--model", "tiny=" + self.tiny, "--model-memory",
                            str(size["small"] + size["tiny"] // 2))
        connection = server.connect()
        connection.request("POST", "/v1/chat/completions", json.dumps({
            "messages": [user("Tell a long story.")], "max_tokens": 2000, "stream": True,
            "logit_bias": {"2": -100, "0": -100}}))
        answer = connection.getresponse()
        answer.readline()
        status, told = self.complete(server)
        self.assertEqual(status, 503, told)
        for word in ("tiny", "in use", "small", str(size["tiny"])):
            self.assertIn(word, told["error"]["message"])
        answer.close()
        connection.close()
        end = time.monotonic() + 60
        while self.complete(server)[0] == 503 and time.monotonic() < end:
            time.sleep(0.05)  # the answer breaks off
        self.assertEqual((state_of(server, "tiny"), state_of(server)), ("loaded", "unloaded"))
        self.assertEqual(server.end(), 0, server.errors)

        server = self.serve("--model-memory", "1M")
        status, told = server.ask("/v1/chat/completions", {"messages": [user("x")]})
        self.assertEqual(status, 507, told)
        self.assertIn("the limit of all models is 1048576", told["error"]["message"])
        self.assertEqual(server.end(), 0, server.errors)

    def test_names_with_tags(self):
        """NAME and NAME:latest are the same, unless both are served; other tags are part of a name."""
        server = self.serve("--model", "small:latest=" + self.tiny, "--model", "tiny:latest=" + self.tiny,
                            "--model", "tiny:q4=" + self.tiny)
        for name, own in (("small", "small"), ("small:latest", "small:latest"), ("tiny", "tiny:latest"),
                          ("tiny:latest", "tiny:latest"), ("tiny:q4", "tiny:q4")):
            self.assertEqual(server.ask("/v1/models/" + name)[1]["id"], own)
        for name in ("tiny:q4:latest", "tiny:q5", "tin", ":latest"):
            self.assertEqual(server.ask("/v1/models/" + name)[0], 404 if name != "tiny:q4:latest" else 200, name)
        self.assertEqual([m["name"] for m in server.ask("/api/tags")[1]["models"]],
                         ["small", "small:latest", "tiny:latest", "tiny:q4"])
        self.assertEqual(server.end(), 0, server.errors)

    def test_by_ollamas_and_llamas_routes(self):
        server = self.serve("--model", "tiny=" + self.tiny, "--model-idle", "600")

        def loaded():
            return {m["name"].removesuffix(":latest"): m for m in server.ask("/api/ps")[1]["models"]}

        self.assertEqual(loaded(), {})
        self.assertEqual({m["name"]: m["size"] > 0 for m in server.ask("/api/tags")[1]["models"]},
                         {"small:latest": True, "tiny:latest": True})
        status, told = server.ask("/api/generate", {"model": "tiny", "stream": False})
        self.assertEqual((status, told["done_reason"]), (200, "load"))
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 300))
        self.assertGreater(loaded()["tiny"]["expires_at"], at)
        self.assertRegex(loaded()["tiny"]["digest"], "^[0-9a-f]{64}$")
        for value in (-1, "-1s", "-1m"):
            server.ask("/api/generate", {"model": "tiny", "stream": False, "keep_alive": value})
            self.assertGreater(loaded()["tiny"]["expires_at"], "2300")
        for value, seconds in ((90, 90), ("1m30s", 90), ("90000ms", 90), ("90", 90), (0.5e2, 50)):
            server.ask("/api/embed", {"model": "tiny", "input": "sea", "keep_alive": value})
            self.assertEqual(server.ask("/v1/models/tiny")[1]["keep_seconds"], seconds)
        for value in ("soon", "5 m", "", True, [], "1m5", "m"):
            status, told = server.ask("/api/generate", {"model": "tiny", "keep_alive": value})
            self.assertEqual(status, 400, (value, told))
            self.assertIn("keep_alive", told["error"])
        chance = random.Random(os.environ.get("DW_TEST_SEED", "keep"))
        for _ in range(300):  # whatever it is, it is read as Go's durations are, or refused by name
            value = "".join(chance.choices("0123456789.+-nuµmsh e", k=chance.randrange(12)))
            good = re.fullmatch(r"[+-]?((\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h))+|[+-]?(\d+\.?\d*|\.\d+)", value)
            status, told = server.ask("/api/generate", {"model": "tiny", "stream": False, "keep_alive": value})
            self.assertEqual(status, 200 if good else 400, (value, told))
        told = server.ask("/api/generate", {"model": "tiny", "stream": False, "keep_alive": 0})[1]
        self.assertEqual((told["done"], told["done_reason"]), (True, "unload"))
        await_state(server, "unloaded", "tiny")
        told = server.ask("/api/generate", {"model": "tiny", "prompt": "sea", "raw": True,
                                            "stream": False, "keep_alive": 0,
                                            "options": {"num_predict": 2}})[1]
        self.assertTrue(told["done"])
        await_state(server, "unloaded", "tiny")

        self.assertEqual(server.ask("/models/unload", {"model": "tiny"})[0], 400)
        self.assertEqual(server.ask("/models/load", {"model": "tiny"}), (200, {"success": True}))
        await_state(server, "loaded", "tiny")
        self.assertEqual(server.ask("/models/unload", {"model": "tiny"}), (200, {"success": True}))
        await_state(server, "unloaded", "tiny")
        self.assertEqual(server.ask("/models/load", {"model": "large"})[0], 404)
        self.assertEqual(server.ask("/models/load", {})[0], 400)
        self.assertEqual(server.end(), 0, server.errors)

    def test_options_in_a_file(self):
        config = os.path.join(self.place.name, "config")

        def write(text):
            with open(config, "w", encoding="utf-8") as file:
                file.write(text)

        write(f"# models\n\nmodel = tiny={self.tiny}\n  model-idle  7\r\n"
              "model-memory=200M\nopen = false\nallow-origin https://chat.example")
        server = self.serve("--config", config)
        self.assertEqual([m["id"] for m in server.ask("/v1/models")[1]["data"]], ["small", "tiny"])
        self.assertEqual(self.complete(server)[0], 200)
        self.assertEqual(server.ask("/v1/models/tiny")[1]["keep_seconds"], 7)
        self.assertEqual(server.end(), 0, server.errors)
        server = self.serve("--config", config, "--model-idle", "9")  # the later counts
        self.complete(server)
        self.assertEqual(server.ask("/v1/models/tiny")[1]["keep_seconds"], 9)
        self.assertEqual(server.end(), 0, server.errors)
        for text, words in (("model-idle = soon", ["line 1", "model-idle", "soon"]),
                            ("\n\nmodel-idel = 3", ["line 3", "'model-idel' is no option"]),
                            ("model =", ["line 1", "model", "a value is wanted"]),
                            ("listen", ["line 1", "listen", "a value is wanted"]),
                            ("open = maybe", ["line 1", "open", "maybe"]),
                            ("help", ["no option of a file"]), ("new-key = x", ["no option of a file"]),
                            ("config = " + config, ["no option of a file"]), ("= 3", ["''"]),
                            ("model-idle = 3\0", ["zero byte"]), ("\xff\xfe", ["no option of a file"])):
            write(text)
            done = subprocess.run([os.path.join(BUILD, "driftwood"), "serve", "--config", config], check=False,
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stdout), (2, ""), text)
            for word in words:
                self.assertIn(word, done.stderr)
        done = subprocess.run([os.path.join(BUILD, "driftwood"), "serve", "--config", "/nowhere"], check=False,
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)

    def test_with_keys_models_stay_the_servers(self):
        keys = os.path.join(self.place.name, "keys")
        key, line = subprocess.run([os.path.join(BUILD, "driftwood"), "serve", "--new-key", "guests"],
                                   check=True, capture_output=True, text=True).stdout.splitlines()
        with open(keys, "w", encoding="utf-8") as file:
            file.write(line + "\n")
        server = self.serve("--model", "tiny=" + self.tiny, "--keys", keys)

        def ask(path, body):
            connection = server.connect()
            connection.request("POST", path, json.dumps(body), {"Authorization": "Bearer " + key})
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            return answer.status, json.loads(text)

        told = ask("/api/generate", {"model": "tiny", "stream": False, "keep_alive": 0})[1]
        self.assertEqual(told["done_reason"], "load")
        self.assertEqual(ask("/models/unload", {"model": "tiny"})[0], 403)
        self.assertEqual(server.end(), 0, server.errors)


    def test_a_model_that_was_not_granted_is_not_loaded(self):
        """Nor do others go for it; whose tenant was granted it, by the model's own name, has it."""
        lines = [new_key(tenant) for tenant in ("some", "none")]
        keys, manifest = (os.path.join(self.place.name, name) for name in ("keys", "manifest.json"))
        with open(keys, "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for _, line in lines))
        with open(manifest, "w", encoding="utf-8") as file:
            json.dump({"tenants": {"": {"models": []}, "some": {"models": ["tiny"]}, "none": {"models": []}}}, file)
        server = self.serve("--keys", keys, "--manifest", manifest, model="served=" + self.tiny)
        asked = [("/v1/completions", {"model": "served", "prompt": "sea", "max_tokens": 2}),
                 ("/v1/completions", {"prompt": "sea", "max_tokens": 2}),
                 ("/tokenize", {"model": "served", "content": "sea"}),
                 ("/api/generate", {"model": "served", "prompt": "sea", "stream": False, "raw": True}),
                 ("/api/generate", {"model": "served", "stream": False}),
                 ("/v1/actors", {"guest": "actor_echo", "model": "served"})]
        for path, body in [*asked, ("/v1/embeddings", {"model": "served", "input": "sea"}),
                           ("/v1/chat/completions", {"model": "served", "messages": [user("sea")]})]:
            status, answer = server.ask(path, body, key=lines[1][0])
            self.assertEqual(status, 404, (path, answer))
            self.assertIn("The model 'served' does not exist" if "model" in body else "There is no model",
                          json.dumps(answer), path)
        for path, body in asked:  # the user himself sees it, and is told why he is not served
            status, answer = server.ask(path, body, connection=server.own())
            self.assertEqual(status, 404, (path, answer))
            self.assertIn("does not grant the tenant \\\"\\\" the model 'served'", json.dumps(answer), path)
        state = server.ask("/v1/models/served", connection=server.own())[1]["status"]
        self.assertEqual(state, {"value": "unloaded", "fraction": 0})
        for path, body in asked:
            status, answer = server.ask(path, body, key=lines[0][0])
            self.assertIn(status, (200, 201), (path, answer))
        self.assertEqual(server.end(), 0, server.errors)

    def test_tenants_see_the_models_that_they_were_granted(self):
        """One that was not is as one that does not exist, byte for byte, on every route that names models."""
        names = ("all", "some", "none")
        lines = [new_key(tenant) for tenant in names]
        keys, manifest = (os.path.join(self.place.name, name) for name in ("keys", "manifest.json"))
        with open(keys, "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for _, line in lines))
        with open(manifest, "w", encoding="utf-8") as file:
            json.dump({"tenants": {"all": {"models": ["*"]}, "some": {"models": ["tiny"]}, "none": {"models": []}}}, file)
        third = os.path.join(self.place.name, "later.gguf")
        shutil.copy(self.tiny, third)
        server = self.serve("--keys", keys, "--manifest", manifest, "--model", "first=" + MODEL,
                            "--model", "second=" + self.tiny, model="third=" + third)
        order = ["third", "first", "second"]
        seen = {"all": order, "some": ["third", "second"], "none": []}
        for tenant, (key, _) in zip(names, lines):
            def listed(path, of, name, key=key):
                return [one[name] for one in server.ask(path, key=key)[1][of]]
            self.assertEqual(listed("/v1/models", "data", "id"), seen[tenant])
            self.assertEqual(listed("/models", "data", "id"), seen[tenant])
            self.assertEqual(listed("/api/tags", "models", "name"), [one + ":latest" for one in seen[tenant]])
            self.assertEqual(listed("/api/ps", "models", "name"), [])
        told = server.ask("/v1/models", connection=server.own())[1]["data"]
        self.assertEqual([one["id"] for one in told], order)  # the user's own, whatever tenants have
        # What is there and not granted, and what is not there.
        chat = {"messages": [user("sea")], "max_tokens": 2}
        routes = [("/v1/models/NAME", None), ("/props?model=NAME", None), ("/api/show", {}),
                  ("/v1/chat/completions", chat), ("/v1/completions", {"prompt": "sea"}),
                  ("/v1/embeddings", {"input": "sea"}), ("/v1/responses", {"input": "sea"}),
                  ("/v1/responses/input_tokens", {"input": "sea"}), ("/v1/messages", chat),
                  ("/v1/messages/count_tokens", chat), ("/tokenize", {"content": "sea"}),
                  ("/detokenize", {"tokens": [1]}), ("/apply-template", chat),
                  ("/completion", {"prompt": "sea"}), ("/api/chat", chat),
                  ("/api/generate", {"prompt": "sea"}), ("/api/generate", {}),
                  ("/api/generate", {"keep_alive": 0}), ("/api/embed", {"input": "sea"}),
                  ("/api/embeddings", {"prompt": "sea"}), ("/v1/actors", {"guest": "actor_echo"}),
                  ("/models/load", {}), ("/models/unload", {})]
        for path, body in routes:
            told = []
            for name in ("first", "never"):
                asked = None if body is None else {**body, "model": name}
                status, answer = server.ask(path.replace("NAME", name), asked, key=lines[1][0])
                told.append((status, json.dumps(answer).replace(name, "NAME")))
            self.assertEqual(told[0], told[1], path)
            self.assertEqual(told[0][0], 403 if path.startswith("/models/") else 404, (path, told))
        # Who names none has the first of his own.
        status, answer = server.ask("/v1/completions", {"prompt": "sea", "max_tokens": 1},
                                    key=lines[1][0])
        self.assertEqual((status, answer.get("model")), (200, "third"), answer)
        status, answer = server.ask("/v1/actors", {"guest": "chat"}, key=lines[2][0])
        self.assertEqual(status, 404, answer)
        # A snapshot whose model was not granted: as one whose model is not there.
        status, spawned = server.ask("/v1/actors", {"guest": "chat", "model": "first"},
                                     key=lines[0][0])
        self.assertEqual(status, 201, spawned)
        data = server.request("GET", f"/v1/actors/{spawned['id']}/export",
                              headers={"Authorization": "Bearer " + lines[0][0]})
        self.assertEqual(data[0], 200)
        for key, code in ((lines[0][0], 201), (lines[1][0], 404)):
            status, answer = server.ask("/v1/actors/import", data[2], key=key)
            self.assertEqual(status, code, answer)
        self.assertIn("is neither served nor in the cache", json.dumps(answer))
        self.assertEqual(server.end(), 0, server.errors)

    def test_what_tells_of_a_model_does_not_load_it(self):
        """/props and /api/show say the same of one that is loaded; so says the table of driftwood top."""
        server = self.serve("--model", "tiny=" + self.tiny, "--chat-template", "chatml")
        paths = {"small": 49152, "tiny": None}
        for name, words in paths.items():
            def told(name=name):
                return server.ask(f"/props?model={name}"), server.ask("/api/show", {"model": name})

            props, shown = told()
            self.assertEqual((props[0], shown[0]), (200, 200), (props, shown))
            self.assertTrue(props[1]["is_sleeping"])
            self.assertEqual(state_of(server, name), "unloaded")
            self.assertEqual(told(), (props, shown))
            server.ask("/tokenize", {"model": name, "content": "sea"})
            self.assertEqual(state_of(server, name), "loaded")
            again, shown_again = told()
            self.assertEqual(again[1], {**props[1], "is_sleeping": False})
            self.assertEqual(shown_again, shown)
            self.assertIn("<|im_start|>", props[1]["chat_template"])
            self.assertEqual(shown[1]["template"], props[1]["chat_template"])
            if words:
                self.assertEqual(props[1]["bos_token"], "<|im_start|>")
                self.assertEqual(props[1]["default_generation_settings"]["n_ctx"], 8192)
                self.assertEqual(shown[1]["model_info"]["general.architecture"], "llama")
                self.assertEqual(shown[1]["details"]["parameter_size"], "134.5M")
        shown = server.overview()
        self.assertEqual([(one["id"], one["status"]["value"]) for one in shown["models"]],
                         [("small", "loaded"), ("tiny", "loaded")])
        self.assertEqual(server.end(), 0, server.errors)

    def test_a_file_that_is_another_is_told_of_anew(self):
        path = os.path.join(self.place.name, "changing.gguf")
        shutil.copy(self.tiny, path)
        server = self.serve("--model", "changing=" + path)
        first = server.ask("/props?model=changing")[1]
        os.unlink(path)
        self.assertGreaterEqual(server.ask("/props?model=changing")[0], 400)
        os.symlink(MODEL, path)
        second = server.ask("/props?model=changing")[1]
        self.assertNotEqual(first["model_path"], second["model_path"])
        self.assertEqual(second["bos_token"], "<|im_start|>")
        self.assertEqual(state_of(server, "changing"), "unloaded")
        self.assertEqual(server.end(), 0, server.errors)

    def test_why_a_file_cannot_be_read_is_kept_for_a_second(self):
        path = os.path.join(self.place.name, "mended.gguf")
        with open(self.tiny, "rb") as file:
            good = file.read()
        with open(path, "wb") as file:
            file.write(b"none" + good[4:])
        old = os.stat(path)
        server = self.serve("--model", "mended=" + path)
        begun = time.monotonic()
        failed = server.ask("/props?model=mended")
        self.assertGreaterEqual(failed[0], 400, failed)
        with open(path, "r+b") as file: # the same file by its inode, size and time
            file.write(good)
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        again = server.ask("/props?model=mended")
        if time.monotonic() - begun < 1:
            self.assertEqual(again, failed)
        time.sleep(1.1)
        self.assertEqual(server.ask("/props?model=mended")[0], 200)
        self.assertEqual(server.end(), 0, server.errors)

    def test_others_are_not_told_where_files_lie(self):
        """A load that fails names its file to the user himself, and to anybody where there are no keys."""
        bad = os.path.join(self.place.name, "bad.gguf")
        with open(self.tiny, "rb") as file, open(bad, "wb") as to:
            to.write(file.read()[:-100])
        keys = os.path.join(self.place.name, "keys")
        key, line = new_key("guests")
        with open(keys, "w", encoding="utf-8") as file:
            file.write(line + "\n")
        server = self.serve("--model", "bad=" + bad, "--keys", keys)
        asked = [("/v1/completions", {"model": "bad", "prompt": "sea"}),
                 ("/v1/embeddings", {"model": "bad", "input": "sea"}),
                 ("/tokenize", {"model": "bad", "content": "sea"}),
                 ("/api/generate", {"model": "bad", "prompt": "sea", "stream": False}),
                 ("/api/generate", {"model": "bad", "stream": False}),
                 ("/v1/actors", {"guest": "actor_echo", "model": "bad"})]
        for path, body in asked:
            status, answer = server.ask(path, body, key=key)
            self.assertGreaterEqual(status, 400, (path, answer))
            self.assertIn("The model 'bad' could not be loaded", json.dumps(answer), path)
            self.assertNotIn(self.place.name, json.dumps(answer), path)
        told = server.ask("/v1/models/bad", key=key)[1]
        self.assertEqual(told["status"]["error"], "The model 'bad' could not be loaded")
        self.assertNotIn(self.place.name, json.dumps([told, server.ask("/v1/models", key=key)[1]]))
        own = server.ask("/v1/models/bad", connection=server.own())[1]
        self.assertIn(bad, own["status"]["error"])
        self.assertEqual(server.end(), 0, server.errors)
        server = self.serve("--model", "bad=" + bad)
        self.assertIn(bad, json.dumps(self.complete(server, "bad")[1]))
        self.assertIn(bad, server.ask("/v1/models/bad")[1]["status"]["error"])
        self.assertEqual(server.end(), 0, server.errors)


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        print("the default model is not there: run `make model`")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
