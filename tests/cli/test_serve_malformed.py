#!/usr/bin/env python3
"""driftwood serve: requests that are wrong in ways of chance, and connections that do not behave.

Called by ctest with the source and the build folder. DW_TEST_RUNS: how many requests; DW_TEST_SEED: which ones.
Whatever comes, the server answers with less than 500 (or 501), ends the connection, or both; and serves others.
"""
import copy
import json
import os
import random
import re
import resource
import socket
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import GUESTS, Server, write_model  # noqa: E402 (the path is set above)

RUNS = int(os.environ.get("DW_TEST_RUNS", "1500"))
SEED = int(os.environ.get("DW_TEST_SEED", "11"))
USER = [{"role": "user", "content": "hi"}]
TOOL = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 2}},
        "required": ["a"], "additionalProperties": False}
BODIES = [
    ("POST", "/v1/chat/completions", {"messages": USER, "max_tokens": 2, "stop": ["x"], "n": 2,
                                      "temperature": 0.5, "logit_bias": {"5": 1}, "logprobs": True,
                                      "top_logprobs": 2, "stream": True, "driftwood": {"session": "s"},
                                      "stream_options": {"include_usage": True}}),
    ("POST", "/v1/chat/completions", {
        "messages": USER + [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "r"}], "max_tokens": 2,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": TOOL}}],
        "tool_choice": "auto", "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "t", "schema": TOOL}}}),
    ("POST", "/v1/completions", {"prompt": ["a", "b"], "max_tokens": 2, "echo": True}),
    ("POST", "/v1/embeddings", {"input": ["a", [1, 2]], "encoding_format": "base64"}),
    ("POST", "/v1/responses", {"input": [
        {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
        {"type": "reasoning", "summary": [], "encrypted_content": "aGk="}], "max_output_tokens": 2,
        "tools": [{"type": "function", "name": "f", "parameters": TOOL}, {"type": "custom", "name": "g"}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        "text": {"format": {"type": "text"}}, "instructions": "i", "store": True, "stream": True,
        "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}, "metadata": {}}),
    ("POST", "/v1/responses", {"input": "x", "max_output_tokens": 2, "background": True,
                               "previous_response_id": None, "conversation": None}),
    ("POST", "/v1/responses/input_tokens", {"input": "x"}),
    ("POST", "/v1/conversations", {"items": [{"role": "user", "content": "x"}], "metadata": {}}),
    ("POST", "/v1/messages", {"max_tokens": 2, "system": [{"type": "text", "text": "s 1"}],
                              "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]},
                                           {"role": "assistant", "content": [
                                               {"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
                                           {"role": "user", "content": [
                                               {"type": "tool_result", "tool_use_id": "t", "content": "r"}]}],
                              "tools": [{"name": "f", "input_schema": TOOL}], "tool_choice": {"type": "auto"},
                              "thinking": {"type": "enabled"}, "stop_sequences": ["z"], "stream": True}),
    ("POST", "/v1/messages/count_tokens", {"messages": USER}),
    ("POST", "/tokenize", {"content": "a", "add_special": True}),
    ("POST", "/detokenize", {"tokens": [1, 2]}),
    ("POST", "/apply-template", {"messages": USER}),
    ("POST", "/completion", {"prompt": ["a", [1]], "n_predict": 2, "n_probs": 2, "stream": True,
                             "grammar": "root ::= \"a\"", "json_schema": None, "stop": []}),
    ("POST", "/api/chat", {"messages": USER + [{"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "f", "arguments": {"a": "b"}}}]}, {"role": "tool", "content": "r"}],
        "options": {"num_predict": 2, "repeat_last_n": -1}, "format": TOOL, "think": True,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": TOOL}}]}),
    ("POST", "/api/generate", {"prompt": "x", "raw": True, "options": {"num_predict": 2}}),
    ("POST", "/api/embed", {"input": ["a"]}),
    ("POST", "/api/show", {"model": "tiny"}),
    ("GET", "/v1/responses/resp_0?stream=true&starting_after=1", None),
    ("GET", "/v1/conversations/conv_0/items?limit=2&order=asc&after=x", None),
    ("GET", "/v1/streams/stream_0?after=1", None),
    ("GET", "/v1/models/tiny", None), ("GET", "/props?model=tiny", None), ("GET", "/slots", None),
    ("GET", "/api/tags", None), ("GET", "/health", None),
]
# SHA256 and ID: of a module and an actor that are there.
ACTORS = [
    ("POST", "/v1/actors", {"module": "SHA256", "name": "n", "priority": "high", "limits": {"memory": 1 << 24},
                            "may": ["spawn"], "env": {"A": "b"}, "args": ["x"], "pinned": False, "durability": "none",
                            "supervision": "restart", "failures_max": 2, "kv_type": "f16", "model": "tiny"}),
    ("POST", "/v1/actors", {"guest": "actor_echo"}),
    ("GET", "/v1/actors?limit=2&after=0123456789abcdef", None), ("GET", "/v1/actors/ID", None),
    ("POST", "/v1/actors/ID", {"name": "m", "priority": "low", "pinned": True}),
    ("POST", "/v1/actors/ID/messages?timeout_ms=1000&wait=true", b"a message"),
    ("POST", "/v1/actors/ID/messages?wait=false", b"\xff\0"), ("POST", "/v1/actors/ID/messages", b"\x011"),
    ("GET", "/v1/actors/ID/messages", None), ("GET", "/v1/actors/ID/messages/1", None),
    ("POST", "/v1/actors/ID/messages/1/cancel", None), ("POST", "/v1/actors/ID/messages/1/retry", None),
    ("DELETE", "/v1/actors/ID/messages/1", None), ("POST", "/v1/actors/ID/freeze", None),
    ("GET", "/v1/actors/ID/freezes", None), ("POST", "/v1/actors/ID/rewind", {"number": 1}),
    ("POST", "/v1/actors/ID/park", None), ("POST", "/v1/actors/ID/thaw", None), ("POST", "/v1/actors/ID/fork", None),
    ("POST", "/v1/actors/ID/interrupt", None), ("POST", "/v1/actors/ID/upgrade", {"module": "SHA256"}),
    ("GET", "/v1/actors/ID/export", None), ("GET", "/v1/actors/ID/logs?limit=3&follow=false", None),
    ("PUT", "/v1/actors/ID/groups/g", None), ("DELETE", "/v1/actors/ID/groups/g", None), ("GET", "/v1/names/n", None),
    ("GET", "/v1/groups/g", None), ("POST", "/v1/groups/g/messages", b"to all"), ("GET", "/v1/logs?limit=1", None),
    ("POST", "/v1/actors/import?name=i&pinned=true&limits=%7B%7D", b"no snapshot"), ("GET", "/v1/modules", None),
    ("POST", "/v1/modules", b"\0asm\1\0\0\0\1\4\1\x60\0\0"), ("GET", "/v1/modules/SHA256", None),
    ("GET", "/v1/overview?actors=5&order=memory", None), ("DELETE", "/v1/actors/ID?tree=true", None),
    ("DELETE", "/v1/modules/" + "0" * 64, None), ("HEAD", "/v1/actors/ID/export", None),
]
ODD = [None, True, False, 0, -1, 1.5, 1e308, -1e308, 2 ** 53, 2 ** 63 - 1, -2 ** 63, "", "x", "\x00", "\ud83d\ude00",
       "a" * 5000, [], {}, [[]], {"": ""}, [None], ["x"] * 30, {"type": "text"}, "-1", "1e5", "\u202e", "{}", "null"]
HEADERS = [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Host: y",
           b"Expect: 100-continue", b"Connection: close", b"Connection: upgrade", b"Upgrade: h2c", b" folded: x",
           b"\tfolded", b"Content-Length: 0x5", b"Content-Length:", b"Content-Encoding: gzip", b"X: " + b"y" * 3000,
           b"x-driftwood-linger: 5", b"x-driftwood-linger: x", b"x-driftwood-session: a b", b"Authorization: Bearer x",
           b"Last-Event-ID: -5", b":", b"\x00: x", b"X\r: y", b"X: \r\n y"]


def mutated(chance, value):
    """The value with something in it that is another."""
    value = copy.deepcopy(value)
    at, holders = value, []
    while isinstance(at, (dict, list)) and at:
        key = chance.choice(list(at)) if isinstance(at, dict) else chance.randrange(len(at))
        holders.append((at, key))
        at = at[key]
        if chance.random() < 0.3:
            break
    if not holders:
        return chance.choice(ODD)
    holder, key = holders[-1]
    kind = chance.randrange(6)
    if kind < 3:
        holder[key] = copy.deepcopy(chance.choice(ODD))
    elif kind == 3:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(chance.choice(ODD)) if kind == 4 else holder[key])
    else:
        holder[chance.choice(["", "x", "type", "content", "messages", "n", "stream"])] = copy.deepcopy(
            chance.choice(ODD))
    return value


def path_of_chance(chance, path):
    """The path with a byte of it another, an escape that is none, or something more in the query."""
    at = chance.randrange(1, len(path) + 1)
    kind = chance.randrange(4)
    if kind == 0:
        return path[:at] + chance.choice(["%", "%0", "%zz", "%00", "%2F", "%ff", "/", "..", "?", "&", "=", "+"]) + path[at:]
    if kind == 1:
        return path[:at] + chance.choice("0azZ-_.~:@!$'()*,;") + path[at + 1:]
    more = chance.choice(["limit", "after", "wait", "timeout_ms", "tenant", "order", "follow", "name", "tree", "x"])
    return path + ("&" if "?" in path else "?") + more + "=" + chance.choice(
        ["", "-1", "0", "1", "true", "%", "%00", "a" * 3000, "99999999999999999999", "1e3", "\u00e9"])


def request(chance, known):
    """-> the bytes of a request that is wrong"""
    method, path, body = chance.choice(chance.choice([BODIES, ACTORS]))
    body = json.loads(json.dumps(body).replace("SHA256", known["SHA256"])) if isinstance(body, dict) else body
    path = path.replace("SHA256", known["SHA256"]).replace("ID", chance.choice(known["ID"]))
    if chance.random() < 0.2:
        path = path_of_chance(chance, path)
    if isinstance(body, dict):
        for _ in range(chance.randint(0, 3)):
            body = mutated(chance, body)
        for most in ("max_tokens", "max_output_tokens", "n_predict"):
            if isinstance(body, dict) and path not in ("/v1/conversations",) and chance.random() < 0.9:
                body.setdefault(most, 2)
    text = body or b"" if body is None or isinstance(body, bytes) else json.dumps(body).encode("utf-8", "surrogatepass")
    if text and chance.random() < 0.2:
        at = chance.randrange(len(text))
        text = text[:at] + bytes(chance.randrange(256) for _ in range(chance.randint(0, 4))) + text[at + chance.randint(0, 5):]
    chunked = chance.random() < 0.2
    lines = [b"%s %s HTTP/1.1" % (method.encode(), path.encode("latin-1")), b"Host: x"]
    if chance.random() < 0.95:
        lines.append(b"Connection: close")
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
        size = chance.choice([b"%x", b"%X;a=b", b"0x%x", b"-%x", b"%x ", b"%xz"]) if chance.random() < 0.5 else b"%x"
        text = size % len(text) + b"\r\n" + text + chance.choice([b"\r\n", b"\r\n", b"\n", b""]) + b"0\r\n\r\n"
    elif text:
        lines.append(b"Content-Length: %d" % (len(text) + (chance.choice([-1, 1, 5]) if chance.random() < 0.1 else 0)))
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        lines.insert(chance.randint(1, len(lines)), chance.choice(HEADERS))
    raw = b"\r\n".join(lines) + b"\r\n\r\n" + text
    if chance.random() < 0.15:
        at = chance.randrange(len(raw))
        raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + chance.randrange(3):]
    return raw


class Malformed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="dw-malformed-")
        model = os.path.join(cls.folder.name, "tiny.gguf")
        write_model(model)
        cls.server = Server("--chat-template", "chatml", "--context", "256", "--conversations", "64",
                            model="tiny=" + model)
        with open(os.path.join(GUESTS, "actor_echo.wasm"), "rb") as file:
            sha256 = cls.server.ask("/v1/modules", file.read())[1]["sha256"]
        cls.known = {"SHA256": sha256, "ID": [cls.server.ask("/v1/actors", {"module": sha256})[1]["id"] for _ in range(40)]}

    @classmethod
    def tearDownClass(cls):
        code = cls.server.end()
        cls.folder.cleanup()
        assert code == 0, (code, cls.server.errors)
        assert not re.search("Sanitizer|runtime error", cls.server.errors), cls.server.errors

    def send(self, raw):
        """-> what is answered until the connection ends"""
        with self.server.socket(timeout=0.4) as connection:
            told = b""
            waits = True
            try:
                connection.sendall(raw)
                while True:
                    try:
                        piece = connection.recv(65536)
                    except TimeoutError:
                        if not waits:
                            return told  # more was promised than came, or it works for long
                        waits = False  # it may wait for more: there is none
                        connection.settimeout(30)
                        connection.shutdown(socket.SHUT_WR)
                        continue
                    if not piece:
                        return told
                    told += piece
            except ConnectionError:
                return told

    def lives(self):
        connection = self.server.connect()
        connection.request("GET", "/health")
        self.assertEqual(connection.getresponse().status, 200)
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "x", "max_tokens": 2}))
        # it was not read: the connection is another's
        connection.close()

    def test_requests_of_chance(self):
        faults = []

        def some(seed):
            chance = random.Random(seed)
            for _ in range(RUNS // 8):
                raw = request(chance, self.known)
                told = self.send(raw)
                statuses = [int(s) for s in re.findall(rb"(?:^|\n)HTTP/1\.1 (\d\d\d)", told)]
                if any(s >= 500 and s != 501 for s in statuses) or (told and not statuses):
                    faults.append((seed, raw, told[:600]))
                    return
        print("seed", SEED, flush=True)
        threads = [threading.Thread(target=some, args=(SEED * 1000 + i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [], self.server.told())
        self.lives()

    def test_connections_that_do_not_behave(self):
        """2,000 that say nothing, some that say a byte now and then, some that close half: others are served."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
        count = 2000 if min(max(soft, 4096), hard) >= 4096 else 400
        idle = [self.server.socket() for _ in range(count)]
        slow = [self.server.socket() for _ in range(50)]
        half = [self.server.socket() for _ in range(50)]
        try:
            for connection in half:
                connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
                connection.shutdown(socket.SHUT_WR)
            for letter in b"POST /v1/comp":
                for connection in slow:
                    connection.sendall(bytes([letter]))
            for _ in range(20):
                self.lives()
            told = self.send(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
            self.assertIn(b" 413 ", told)
        finally:
            for connection in idle + slow + half:
                connection.close()
        self.lives()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
