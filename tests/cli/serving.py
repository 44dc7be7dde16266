"""`driftwood serve` for tests: begun, asked, ended. Called with the source and the build folder.

DW_TEST_MODEL_DIR: where the default model lies; DW_TEST_TOOLS, DRIFTWOOD_GUESTS: programs for tests, guests.
"""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile

SOURCE, BUILD = map(os.path.abspath, sys.argv[1:3])
PROGRAM = os.path.join(BUILD, "driftwood")
GUESTS = os.environ.get("DRIFTWOOD_GUESTS", os.path.join(BUILD, "guests"))
TOOLS = os.environ.get("DW_TEST_TOOLS", os.path.join(BUILD, "tests"))
MODEL = os.path.join(os.environ.get("DW_TEST_MODEL_DIR", os.path.expanduser("~/.cache/driftwood")),
                     "SmolLM2-135M-Instruct.Q4_1.gguf")
STORY = ("The lighthouse keeper counted the boats at dusk, as he had done for thirty years. "
         "There were eleven in the morning, and nine had come home. ") * 12
# What was freed counts as resident for as long as AddressSanitizer keeps it: not much, here.
ENVIRONMENT = dict(os.environ, DRIFTWOOD_GUESTS=GUESTS, ASAN_OPTIONS=":".join(
    [*filter(None, [os.environ.get("ASAN_OPTIONS")]), "quarantine_size_mb=8"]))


def write_model(path):
    """A model of a few kilobytes, whose answers mean nothing."""
    subprocess.run([os.path.join(TOOLS, "write_model"), path], check=True)


class LocalConnection(http.client.HTTPConnection):
    """Over a socket in the file system."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server:
    """`state`: its folder, which stays; without, it is one that goes with the server."""

    def __init__(self, *options, model="small=" + MODEL, state=None, listen="127.0.0.1:0"):
        self.place = None if state else tempfile.TemporaryDirectory(prefix="dw-serve-")
        self.state = state or os.path.join(self.place.name, "state")
        self.errors_file = tempfile.TemporaryFile(prefix="dw-serve-")  # a pipe would fill up
        self.errors = ""  # once it has ended
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--listen", listen, "--state", self.state, "--model", model,
             *options], stdout=subprocess.PIPE, stderr=self.errors_file, text=True, env=ENVIRONMENT)
        line = self.process.stdout.readline()
        self.address = line.rstrip("\n").rpartition(" ")[2].replace("http://", "")
        if not line:
            self.process.wait()
            self.process.stdout.close()
            raise RuntimeError(self.told())

    def end(self, how=signal.SIGTERM):
        """-> its exit status; `errors` is what it told then"""
        self.process.send_signal(how)
        code = self.process.wait(timeout=120)
        self.process.stdout.close()
        self.errors = self.told()
        self.errors_file.close()
        if self.place:
            self.place.cleanup()
        return code

    def told(self):
        """What it wrote to stderr: what a sanitizer found, else the end."""
        self.errors_file.seek(0)
        told = self.errors_file.read().decode("utf-8", "replace")
        found = re.search("Sanitizer|runtime error", told)
        return told[max(found.start() - 500, 0):][:8000] if found else told[-4000:]

    # ---- connections ----

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def connect(self, timeout=120):
        if self.address.startswith("unix:"):
            return LocalConnection(self.address[5:], timeout)
        return http.client.HTTPConnection(self.address.rpartition(":")[0], self.port, timeout=timeout)

    def own(self, timeout=120):
        """At the socket of its user."""
        return LocalConnection(os.path.join(self.state, "server"), timeout)

    def socket(self, timeout=60):
        return socket.create_connection((self.address.rpartition(":")[0], self.port), timeout=timeout)

    # ---- requests ----

    def request(self, method, path, body=None, headers=None, connection=None):
        """-> status, headers, bytes"""
        connection = connection or self.connect()
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.headers, data

    def ask(self, path, body=None, method=None, key=None, connection=None):
        """`body`: bytes, text, or what becomes JSON -> status, the answer's JSON"""
        method = method or ("POST" if body is not None else "GET")
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        headers = {"Authorization": "Bearer " + key} if key else {}
        status, _, data = self.request(method, path, body, headers, connection)
        return status, json.loads(data) if data else None

    def chat(self, messages, **more):
        status, answer = self.ask("/v1/chat/completions",
                                  {"model": "small", "messages": messages, "temperature": 0,
                                   "max_tokens": 16, **more})
        if status != 200:
            raise AssertionError((status, answer))
        return answer

    def stream(self, path, body):
        """-> the events' JSON; the last must be [DONE]"""
        status, headers, data = self.request("POST", path, json.dumps({**body, "stream": True}))
        assert status == 200, data
        assert headers["Content-Type"].startswith("text/event-stream")
        events = [line[6:] for line in data.decode().split("\n") if line.startswith("data: ")]
        assert events[-1] == "[DONE]", events[-1]
        return [json.loads(event) for event in events[:-1]]

    def overview(self):
        told = subprocess.run([PROGRAM, "top", "--once", "--json", "--control",
                               os.path.join(self.state, "control")], capture_output=True,
                              text=True, check=True, timeout=60)
        return json.loads(told.stdout)


def new_key(tenant):
    """-> a key, and its line for --keys"""
    told = subprocess.run([PROGRAM, "serve", "--new-key", tenant], capture_output=True, text=True,
                          check=True, timeout=60).stdout.splitlines()
    return told[0], told[1]


def user(text):
    return {"role": "user", "content": text}


def text_of(answer, index=0):
    return answer["choices"][index]["message"]["content"]


def cached(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def events_of(data):
    """-> (type or None, the event's JSON) of each"""
    found = []
    for block in data.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in lines:
            found.append((lines.get("event"), json.loads(lines["data"])))
    return found
