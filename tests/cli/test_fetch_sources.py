#!/usr/bin/env python3
"""scripts/fetch-wheel --sources: archives come by their pinned hash, and nothing in them runs.

Called by ctest with the source and the build folder. The index is one here, in JSON as in HTML.
"""
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest

SOURCE = sys.argv[1]
BACKEND = "import os\nopen(os.environ['MARK'], 'w').close()\nraise SystemExit('the archive ran')\n"


def make_archive():
    files = {"pyproject.toml": '[build-system]\nrequires = ["wanted"]\nbuild-backend = "backend"\n'
                               'backend-path = ["."]\n', "backend.py": BACKEND, "setup.py": BACKEND}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo("some_part-1.2/" + name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


ARCHIVE = make_archive()
PINNED = hashlib.sha256(ARCHIVE).hexdigest()


class Index(http.server.BaseHTTPRequestHandler):
    as_json, states_hash, content, asked = True, True, ARCHIVE, []

    def log_message(self, *args):
        pass

    def listing(self):
        names = ["some_part-1.1.tar.gz", "some_part-1.2-py3-none-any.whl", "some_part-1.2.tar.gz"]
        if self.as_json:
            files = [{"filename": n, "url": "../../files/" + n, "requires-python": ">=9",
                      "hashes": {"sha256": PINNED} if self.states_hash else {}} for n in names]
            return "application/vnd.pypi.simple.v1+json", json.dumps(
                {"meta": {"api-version": "1.0"}, "name": "some-part", "files": files}).encode()
        end = "#sha256=" + PINNED if self.states_hash else ""
        return "text/html", "<!DOCTYPE html><html><body>{}</body></html>".format("".join(
            f'<a href="../../files/{n}{end}">{n}</a>' for n in names)).encode()

    def do_GET(self):
        Index.asked.append(self.path)
        kind, body = self.listing() if self.path == "/simple/some-part/" else (
            "application/gzip", Index.content)
        known = self.path in ("/simple/some-part/", "/files/some_part-1.2.tar.gz")
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if known else 0))
        self.end_headers()
        self.wfile.write(body if known else b"")


class Sources(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        os.makedirs(self.path("scripts"))
        os.makedirs(self.path("deps"))
        for name in ("lib.sh", "fetch-wheel", "fetch-sources.py"):
            shutil.copy(os.path.join(SOURCE, "scripts", name), self.path("scripts"))
        with open(self.path("deps/requirements.txt"), "w", encoding="utf-8") as file:
            file.write(f"other==1\nsome-part==1.2 \\\n    --hash=sha256:{PINNED}\n")
        Index.as_json, Index.states_hash, Index.content, Index.asked = True, True, ARCHIVE, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def path(self, name):
        return os.path.join(self.folder, name)

    def fetch(self, name="some-part", port=None):
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        for key in ("PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_EXTRA_INDEX_URL"):
            env.pop(key, None)
        env.update(PIP_CONFIG_FILE=os.devnull, PIP_RETRIES="0", MARK=self.path("mark"),
                   PIP_INDEX_URL=f"http://127.0.0.1:{port or self.server.server_port}/simple")
        return subprocess.run([self.path("scripts/fetch-wheel"), name, self.path("out"), "--sources"],
                              check=False, capture_output=True, text=True, timeout=60, env=env)

    def refused(self, why, **fetch):
        done = self.fetch(**fetch)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(why, done.stderr)
        self.assertEqual(os.listdir(self.path("out")), [])

    def test_archive_is_fetched_and_nothing_in_it_runs(self):
        for Index.as_json, Index.states_hash in ((True, True), (False, False)):
            Index.asked.clear()
            done = self.fetch()
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout.strip(), self.path("out/some_part-1.2.tar.gz"))
            with open(done.stdout.strip(), "rb") as file:
                self.assertEqual(file.read(), ARCHIVE)
            self.assertEqual(Index.asked, ["/simple/some-part/", "/files/some_part-1.2.tar.gz"])
            self.assertFalse(os.path.exists(self.path("mark")))
            shutil.rmtree(self.path("out"))

    def test_other_archives_are_refused(self):
        Index.content = ARCHIVE + b"x"
        for Index.states_hash in (True, False):
            self.refused("hash mismatch: the some-part")

    def test_what_is_missing_is_named(self):
        self.server.shutdown()
        self.server.server_close()
        self.refused("no network: some-part")
        done = self.fetch(name="none")
        self.assertIn("deps/requirements.txt pins no none", done.stderr)


if __name__ == "__main__":
    if subprocess.run([sys.executable, "-m", "pip", "--version"], check=False,
                      capture_output=True).returncode != 0:
        print("skipped: this Python has no pip")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
