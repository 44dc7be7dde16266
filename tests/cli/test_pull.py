#!/usr/bin/env python3
"""driftwood pull: models from a server that speaks Hugging Face's API, and from any other.

Called by ctest with the source and the build folder. Skips where the program was built without libcurl.
"""
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

SOURCE, BUILD = sys.argv[1:3]
PROGRAM = os.path.join(BUILD, "driftwood")
MODEL = os.path.join(os.environ.get("DW_TEST_MODEL_DIR", os.path.expanduser("~/.cache/driftwood")),
                     "SmolLM2-135M-Instruct.Q4_1.gguf")
DATA = {f"model-{q}.gguf": os.urandom(300000) + q.encode() for q in ("Q4_K_M", "Q8_0", "F16")}
DATA.update({f"big/split-0000{i}-of-00003.gguf": os.urandom(100000 + i) for i in (1, 2, 3)})
DATA["README.md"] = b"text"
DATA["mmproj-Q4_K_M.gguf"] = b"a projector"


class Hub(http.server.BaseHTTPRequestHandler):
    """The API's host (`store` False), or the one that it sends to for content."""
    protocol_version = "HTTP/1.1"
    asked = []  # (port, path, Authorization, Range)
    breaks = 0  # answers that break off
    lies = False
    private = False
    ranges = True
    repo = "some/repo"

    def log_message(self, *args):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def listing(self):
        page = int((re.search(r"page=(\d+)", self.path) or [0, 0])[1])
        names = sorted(DATA)
        some = names[page * 4:page * 4 + 4]
        more = {}
        if names[page * 4 + 4:]:
            more["Link"] = f'<{self.server.base}/api/models/{Hub.repo}/tree/main?page={page + 1}>; rel="next"'
        self.reply(200, json.dumps([
            {"type": "file", "path": name, "size": len(DATA[name]), "oid": "0" * 40,
             **({"lfs": {"oid": self.hash(name), "size": len(DATA[name]), "pointerSize": 130}}
                if name.endswith(".gguf") else {})} for name in some]).encode(), **more)

    @staticmethod
    def hash(name):
        return hashlib.sha256(b"" if Hub.lies else DATA[name]).hexdigest()

    def content(self, name):
        data, wanted = DATA[name], self.headers.get("Range")
        start = int(re.match(r"bytes=(\d+)-$", wanted)[1]) if wanted and Hub.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if Hub.breaks > 0:
            Hub.breaks -= 1
            self.wfile.write(data[start:start + 70000])
            self.close_connection = True
            return
        self.wfile.write(data[start:])

    def do_GET(self):
        Hub.asked.append((self.server.server_port, self.path, self.headers.get("Authorization"),
                          self.headers.get("Range")))
        store = re.match(r"/store/(.*)$", self.path)
        resolved = re.match(rf"/{Hub.repo}/resolve/main/([^?]*)", self.path)
        if Hub.private and not store and not self.headers.get("Authorization"):
            self.reply(401)
        elif self.path.startswith(f"/api/models/{Hub.repo}/tree/main"):
            self.listing()
        elif resolved and resolved[1] in DATA:
            self.reply(302, Location=f"{self.server.store}/store/{resolved[1]}",
                       X_Linked_Etag=f'"{self.hash(resolved[1])}"')
        elif store and store[1] in DATA:
            self.content(store[1])
        else:
            self.reply(404)


class Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, *args):
        pass  # who asks may leave


def serve():
    server = Quiet(("127.0.0.1", 0), Hub)
    server.base = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Pull(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hub, cls.store = serve(), serve()
        cls.hub.store = cls.store.store = f"http://127.0.0.1:{cls.store.server_port}"

    @classmethod
    def tearDownClass(cls):
        for server in (cls.hub, cls.store):
            server.shutdown()
            server.server_close()

    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="dw-pull-")
        self.cache = os.path.join(self.place.name, "no", "cache")  # as in a fresh home
        self.folder = os.path.join(self.cache, "driftwood")
        Hub.asked, Hub.breaks, Hub.lies, Hub.private, Hub.ranges = [], 0, False, False, True

    def tearDown(self):
        self.place.cleanup()

    def run_raw(self, *args, **env):
        return subprocess.run([PROGRAM, *args], check=False, capture_output=True, text=True,
                              timeout=120, env=dict(os.environ, XDG_CACHE_HOME=self.cache,
                                                    HF_ENDPOINT=self.hub.base, **env))

    def good(self, name, **env):
        done = self.run_raw("pull", name, **env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        return done.stdout.rstrip("\n")

    def bad(self, name, words, code=1, **env):
        done = self.run_raw("pull", name, **env)
        self.assertEqual((done.returncode, done.stdout), (code, ""))
        self.assertIn(words, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def assert_file(self, path, name):
        with open(path, "rb") as file:
            self.assertEqual(file.read(), DATA[name])

    def test_by_quantization(self):
        path = self.good("hf:some/repo:q8_0")
        self.assertEqual(path, os.path.join(self.folder, "model-Q8_0.gguf"))
        self.assert_file(path, "model-Q8_0.gguf")
        self.assert_file(self.good("hf:some/repo"), "model-Q4_K_M.gguf")
        count = len(Hub.asked)
        self.good("hf:some/repo:q8_0")  # it is there: only the list is asked for
        self.assertFalse([a for a in Hub.asked[count:] if "resolve" in a[1]])
        self.assertEqual(sorted(os.listdir(self.folder)),
                         ["model-Q4_K_M.gguf", "model-Q8_0.gguf"])

    def test_names(self):
        done = self.run_raw("pull", "--list")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rows = [line.split() for line in done.stdout.splitlines()]
        self.assertIn("smollm2-135m", [row[0] for row in rows])
        for name, address, *what in rows:
            self.assertRegex(address, r"^hf:[^/:]+/[^/:]+:[A-Z0-9_]+$")
            self.assertTrue(what)
            # --model finds by the same name what was fetched
            file = address.split("/")[1].split(":")[0]
            self.assertTrue(file.lower().startswith(name), (name, file))
        Hub.repo = "bartowski/SmolLM2-135M-Instruct-GGUF"
        self.addCleanup(setattr, Hub, "repo", "some/repo")
        path = self.good("smollm2-135m")
        self.assert_file(path, "model-Q4_K_M.gguf")
        self.assert_file(self.good("SmolLM2-135m:f16"), "model-F16.gguf")
        self.bad("smollm2-135m:Q9", "with Q9")
        self.bad("smollm3-135m", "--list", code=2)
        done = self.run_raw("run", "--model", "qwen3-4b", "--prompt", "x")
        self.assertIn("`driftwood pull qwen3-4b`", done.stderr)

    def test_split_files(self):
        path = self.good("hf:some/repo:split")
        self.assertEqual(os.path.basename(path), "split-00001-of-00003.gguf")
        for i in (1, 2, 3):
            name = f"split-0000{i}-of-00003.gguf"
            self.assert_file(os.path.join(self.folder, name), "big/" + name)

    def test_the_token_is_for_its_host(self):
        Hub.private = True
        self.bad("hf:some/repo:F16", "HF_TOKEN")
        Hub.asked = []
        self.good("hf:some/repo:F16", HF_TOKEN="secret")
        for port, path, authorization, _ in Hub.asked:
            self.assertEqual(authorization,
                             None if port == self.store.server_port else "Bearer secret", path)
        self.assertTrue([a for a in Hub.asked if a[0] == self.store.server_port])

    def test_what_broke_off_goes_on(self):
        Hub.breaks = 3
        self.assert_file(self.good("hf:some/repo:F16"), "model-F16.gguf")
        ranges = [a[3] for a in Hub.asked if a[0] == self.store.server_port]
        self.assertEqual(ranges, [None, "bytes=70000-", "bytes=140000-", "bytes=210000-"])
        # Of an earlier process; and where the other side gives but the whole.
        for able in (True, False):
            Hub.ranges = able
            os.unlink(os.path.join(self.folder, "model-F16.gguf"))
            with open(os.path.join(self.folder, "model-F16.gguf.part"), "wb") as file:
                file.write(DATA["model-F16.gguf"][:1234])
            Hub.asked = []
            self.assert_file(self.good("hf:some/repo:F16"), "model-F16.gguf")
            asked = [a[3] for a in Hub.asked if a[0] == self.store.server_port]
            self.assertEqual(asked, ["bytes=1234-"] if able else ["bytes=1234-", None])

    def test_what_is_damaged_is_not_kept(self):
        Hub.lies = True
        self.bad("hf:some/repo:F16", "SHA-256")
        self.assertEqual(os.listdir(self.folder), [])
        Hub.lies = False
        with open(os.path.join(self.folder, "model-F16.gguf.part"), "wb") as file:
            file.write(b"other" * 100)
        self.bad("hf:some/repo:F16", "SHA-256")
        self.assert_file(self.good("hf:some/repo:F16"), "model-F16.gguf")

    def test_urls(self):
        url = self.hub.base + "/some/repo/resolve/main/model-F16.gguf"
        self.assert_file(self.good(url + "?download=true"), "model-F16.gguf")
        Hub.lies = True  # the hash that comes with the redirect
        os.unlink(os.path.join(self.folder, "model-F16.gguf"))
        self.bad(url, "SHA-256")
        self.bad(self.hub.base + "/nothing.gguf", "no such thing")
        self.bad(self.hub.base + "/some/repo/resolve/main/README.md", ".gguf file")
        self.bad("http://127.0.0.1:1/x.gguf", "127.0.0.1")

    def test_what_is_asked_wrongly(self):
        for name in ("hf:repo", "hf:a/b/c", "hf:../x", "hf:/x", "hf:x/"):
            self.bad(name, "OWNER/REPO")
        self.bad("hf:some/other", "no such thing")
        self.bad("hf:some/repo:Q2_K", "no GGUF file with Q2_K")
        self.bad("model", "hf:OWNER/REPO", code=2)
        self.assertEqual(self.run_raw("pull").returncode, 2)

    def test_another_file_of_that_name(self):
        os.makedirs(self.folder)
        path = os.path.join(self.folder, "model-F16.gguf")
        with open(path, "wb") as file:
            file.write(b"mine")
        self.bad("hf:some/repo:F16", "another file")
        self.assertEqual(os.path.getsize(path), 4)

    def test_models_are_pulled_when_they_are_named(self):
        with open(MODEL, "rb") as file:
            DATA["real-Q4_1.gguf"] = file.read()
        try:
            done = self.run_raw("run", "--model", "hf:some/repo:Q4_1", "--prompt", "The sea",
                                "--max-tokens", "4", "--temp", "0",
                                DRIFTWOOD_GUESTS=os.path.join(BUILD, "guests"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.stdout)
            self.assertTrue(os.path.exists(os.path.join(self.folder, "real-Q4_1.gguf")))
        finally:
            del DATA["real-Q4_1.gguf"]


if __name__ == "__main__":
    probe = subprocess.run([PROGRAM, "pull", "http://127.0.0.1:1/x.gguf"], check=False,
                           capture_output=True, text=True, timeout=60)
    if "built without libcurl" in probe.stderr:
        print("skipped: built without libcurl")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
