#!/usr/bin/env python3
"""driftwood serve: actors over HTTP, for tenants that know nothing of one another.

Called by ctest with the source and the build folder. No model is loaded.
"""
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import (  # noqa: E402 (the path is set above)
    GUESTS, MODEL, PROGRAM, SOURCE, Server, events_of, new_key)


def guest(name):
    with open(os.path.join(GUESTS, name + ".wasm"), "rb") as file:
        return file.read()


class Events:
    """A stream of events, read on a thread of its own."""

    def __init__(self, server, path, headers=None):
        self.connection = server.connect()
        self.connection.request("GET", path, headers=headers or {})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.readline() == b": begun\n"
        self.seen = []
        self.ended = threading.Event()
        self.news = threading.Condition()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        try:
            for line in iter(self.answer.readline, b""):
                if line.startswith(b"data: "):
                    with self.news:
                        self.seen.append(json.loads(line[6:]))
                        self.news.notify_all()
        except (OSError, ValueError, http.client.HTTPException):
            pass
        self.ended.set()

    def wait_for(self, **wanted):
        def there():
            return [e for e in self.seen if all(e.get(k) == v for k, v in wanted.items())]
        with self.news:
            assert self.news.wait_for(there, timeout=120), (wanted, str(self.seen)[:1000])
            return there()[0]

    def close(self):
        with contextlib.suppress(OSError):  # the other side has gone
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.connection.close()


class Base(unittest.TestCase):
    def good(self, method, path, body=None, status=200, **more):
        got, answer = self.server.ask(path, body, method, **more)
        self.assertEqual(got, status, answer)
        return answer

    def refused(self, status, param, method, path, body=None, words="", **more):
        got, answer = self.server.ask(path, body, method, **more)
        self.assertEqual((got, answer["error"]["param"]), (status, param), answer)
        self.assertIn(words, answer["error"]["message"])
        self.assertEqual(set(answer["error"]), {"message", "type", "param", "code"})
        return answer["error"]

    def upload(self, name, **more):
        got, answer = self.server.ask("/v1/modules", guest(name), **more)
        self.assertIn(got, (200, 201), answer)
        return answer["sha256"]

    def spawn(self, guest_name, key=None, **more):
        module = self.upload(guest_name, key=key)
        return self.good("POST", "/v1/actors", {"module": module, **more}, 201, key=key)["id"]

    def send(self, actor, message, query="", headers=None):
        return self.server.request("POST", f"/v1/actors/{actor}/messages{query}", message, headers)


class Actors(Base):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors

    def test_modules(self):
        wasm = guest("actor_villain")
        sha256 = hashlib.sha256(wasm).hexdigest()
        made = self.good("POST", "/v1/modules", wasm, 201)
        self.assertEqual((made["sha256"], made["bytes"], made["compiled"]),
                         (sha256, len(wasm), True))
        self.assertEqual(self.good("POST", "/v1/modules", wasm)["created"], made["created"])
        listed = self.good("GET", "/v1/modules")["data"]
        self.assertEqual([m for m in listed if m["sha256"] == sha256], [made])
        self.assertEqual(self.good("GET", "/v1/modules/" + sha256), made)
        self.refused(422, None, "POST", "/v1/modules", b"\0asm\1\0\0\0broken")
        self.refused(422, None, "POST", "/v1/modules", b"", words="empty")
        self.refused(400, None, "POST", "/v1/modules", guest("hello"), words="driftwood_receive")
        self.assertEqual(len(self.good("GET", "/v1/modules")["data"]), len(listed))
        self.assertTrue(self.good("DELETE", "/v1/modules/" + sha256)["deleted"])
        self.refused(404, "sha256", "GET", "/v1/modules/" + sha256)
        self.refused(404, "sha256", "DELETE", "/v1/modules/" + sha256)
        self.refused(404, "module", "POST", "/v1/actors", {"module": sha256})

    def test_failures_say_what_the_guest_said(self):
        def told(message):
            actor = self.spawn("actor_excuse")
            status, _, answer = self.send(actor, message)
            self.assertNotEqual(status, 200, message)
            return json.loads(answer)["error"]["message"]

        trace = b"Traceback (most recent call last):\n  File \"main.py\", line 1\n"
        self.assertTrue(told(b"n" + trace + b"ValueError: no tide\n").endswith("(invalid argument): ValueError: no tide"))
        self.assertTrue(told(b"lforward: no room\n").endswith("left with code 3: forward: no room"))
        self.assertRegex(told(b"t" + b"panic: no sea\n\ngoroutine 1 [running]:\nmain.main()\n"), "trapped: .*: panic: no sea$")
        self.assertRegex(told(b"h"), r"\): .*nosuch")  # what the host said, where the guest said nothing
        self.assertIn("\u00e9\u00e9", told(b"n" + "\u00e9".encode() * 4000))
        self.assertTrue(told(b"n\xff\x00\x1b[31m\xfe").endswith(": [31m"))
        actor = self.spawn("actor_excuse")
        self.assertEqual(self.send(actor, b"nmine\n")[0], 400)
        self.assertEqual(self.send(actor, b"eof no matter\n")[2], b"well")
        self.assertNotIn("mine", json.loads(self.send(actor, b"n")[2])["error"]["message"])  # of that message alone

    def test_oversized_modules_are_refused_before_they_come(self):
        connection = self.server.connect()
        connection.putrequest("POST", "/v1/modules")
        connection.putheader("Content-Length", str((128 << 20) + 1))
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 413)
        connection.close()

    def test_life(self):
        actor = self.spawn("actor_echo", name="life", priority="high")
        self.assertRegex(actor, "^[0-9a-f]{16}$")
        status, headers, data = self.send(actor, b"\xff\0binary\n")
        self.assertEqual((status, data), (200, b"\xff\0binary\n"))
        self.assertEqual(headers["Content-Type"], "application/octet-stream")
        self.assertEqual(self.send("@life", "by name")[2], b"by name")
        shown = self.good("GET", "/v1/actors/" + actor)
        self.assertEqual((shown["name"], shown["priority"], shown["done"]), ("life", "high", 2))
        self.assertEqual(self.good("GET", "/v1/names/life"), {"id": actor})
        self.refused(404, "name", "GET", "/v1/names/nobody")
        frozen = self.good("POST", f"/v1/actors/{actor}/freeze")
        self.assertEqual(self.good("GET", f"/v1/actors/{actor}/freezes")["data"],
                         [frozen["number"]])
        self.good("POST", f"/v1/actors/{actor}/park")
        self.assertFalse(self.good("GET", "/v1/actors/" + actor)["resident"])
        self.good("POST", f"/v1/actors/{actor}/thaw")
        self.assertTrue(self.good("GET", "/v1/actors/" + actor)["resident"])
        child = self.good("POST", f"/v1/actors/{actor}/fork", status=201)["id"]
        self.assertEqual(self.good("GET", "/v1/actors/" + child)["parent"], actor)
        self.good("POST", f"/v1/actors/{actor}/rewind", {"number": frozen["number"]})
        self.refused(404, "number", "POST", f"/v1/actors/{actor}/rewind", {"number": 99})
        self.good("POST", "/v1/actors/" + actor, {"name": None, "pinned": True, "priority": "low"})
        shown = self.good("GET", "/v1/actors/" + actor)
        self.assertEqual((shown["name"], shown["pinned"], shown["priority"]), ("", True, "low"))
        self.refused(409, None, "POST", f"/v1/actors/{actor}/park")
        self.refused(409, None, "POST", f"/v1/actors/{actor}/interrupt")
        self.assertEqual(self.good("DELETE", f"/v1/actors/{actor}?tree=true")["stopped"], 2)
        self.refused(404, "id", "GET", "/v1/actors/" + child)
        self.assertEqual(self.send(actor, "x")[0], 404)

    def test_later(self):
        """A message that its actor answers from a later one, in pieces and by a timer."""
        actor = self.spawn("actor_talker")
        self.assertEqual(self.send(actor, "Rby a timer")[2], b"by a timer")
        connection = self.server.connect()
        before = self.good("GET", "/v1/actors/" + actor)["done"]
        connection.request("POST", f"/v1/actors/{actor}/messages", b"r")
        while self.good("GET", "/v1/actors/" + actor)["done"] == before:
            time.sleep(0.01)
        for piece in ("yone, ", "ytwo, ", "zthree"):
            self.assertEqual(self.send(actor, piece)[0], 200)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.read()), (200, b"one, two, three"))
        connection.close()
        self.assertEqual(self.send(actor, "zfour")[0], 404)

    def test_what_is_asked_wrongly(self):
        actor = self.spawn("actor_echo")
        for param, more in (("priority", {"priority": "highest"}), ("limits", {"limits": {"x": 1}}),
                            ("limits", {"limits": 7}), ("may", {"may": ["fly"]}),
                            ("may", {"may": "spawn"}), ("env", {"env": {"A": 1}}),
                            ("args", {"args": [1]}), ("kv_type", {"kv_type": "f64"}),
                            ("durability", {"durability": "never"}), ("pinned", {"pinned": 1}),
                            ("failures_max", {"failures_max": -1}),
                            ("folders", {"folders": "/in"}),
                            ("supervision", {"supervision": "none"}), (None, {"mya": []})):
            self.refused(400, param, "POST", "/v1/actors", {"module": "0" * 64, **more})
        self.refused(404, "model", "POST", "/v1/actors", {"module": "0" * 64, "model": "none"})
        self.refused(404, "model", "POST", "/v1/actors", {"module": "0" * 64, "model": MODEL})
        self.refused(400, "module", "POST", "/v1/actors", {})
        self.refused(404, "guest", "POST", "/v1/actors", {"guest": "../hello"})
        self.refused(400, None, "POST", "/v1/actors", b"[]")
        self.refused(400, None, "POST", "/v1/actors", b"{")
        self.refused(400, "id", "GET", "/v1/actors/xyz")
        self.refused(404, None, "GET", "/v1/actors/%00")
        self.refused(404, None, "GET", "/v1/actors/" + "a" * 2000)
        self.refused(404, None, "GET", "/v1/actors/" + actor + "/nothing")
        self.refused(400, "limit", "GET", "/v1/actors?limit=0")
        self.refused(400, "limit", "GET", "/v1/actors?limit=x")
        self.refused(400, "after", "GET", "/v1/actors?after=zz")
        for value, words in (("1%", "two hexadecimal digits"), ("%zz", "two hexadecimal digits"),
                             ("1%4", "two hexadecimal digits"), ("%00", "%00 stands in it"),
                             ("1" * 40, "too long; at most 31 bytes")):
            self.refused(400, "limit", "GET", "/v1/actors?limit=" + value, words=words)
        self.assertEqual(len(self.good("GET", "/v1/actors?limit=%31")["data"]), 1)
        self.refused(400, "name", "POST", "/v1/actors/import?name=" + "a" * 5000, b"", "too long")
        self.refused(400, "tenant", "GET", "/v1/actors?tenant=" + "t" * 500, words="too long",
                     connection=self.server.own())
        self.refused(400, "tree", "DELETE", f"/v1/actors/{actor}?tree=1")
        self.refused(400, "timeout_ms", "POST", f"/v1/actors/{actor}/messages?timeout_ms=-1", b"x")
        self.refused(400, "number", "GET", f"/v1/actors/{actor}/messages/x")
        self.refused(404, "number", "GET", f"/v1/actors/{actor}/messages/7")
        self.refused(400, "name", "POST", "/v1/actors/" + actor, {"name": "a b"})
        self.refused(403, None, "DELETE", "/v1/actors")
        self.refused(403, None, "GET", f"/v1/actors/{actor}/files")
        self.refused(403, None, "POST", "/v1/runtime/wait")
        status, headers, _ = self.server.request("PUT", "/v1/actors/" + actor)
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD, POST, DELETE"))

    def test_heads(self):
        """Of HEAD the head is all there is, and the connection goes on."""
        actor = self.spawn("actor_echo")
        connection = self.server.connect()
        for path, status in ((f"/v1/actors/{actor}", 200), (f"/v1/actors/{actor}/export", 200),
                             ("/v1/events", 405), ("/v1/logs?follow=true", 405), ("/v1/logs", 200),
                             ("/metrics", 200), ("/openapi.json", 200)):
            connection.request("HEAD", path)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()), (status, b""), path)
        connection.request("GET", "/health")
        self.assertEqual(connection.getresponse().read(), b'{"status":"ok"}')
        connection.close()

    def test_pages(self):
        made = sorted(self.spawn("actor_echo") for _ in range(5))
        seen, after = [], ""
        while True:
            page = self.good("GET", f"/v1/actors?limit=2{after}")
            self.assertLessEqual(len(page["data"]), 2)
            seen += [actor["id"] for actor in page["data"]]
            if not page["has_more"]:
                break
            after = "&after=" + seen[-1]
        self.assertEqual(seen, sorted(seen))
        self.assertEqual([i for i in seen if i in made], made)

    def test_answers_as_events(self):
        actor = self.spawn("actor_echo")
        message = "grüße, ἀκτή".encode()
        status, headers, data = self.send(actor, message, headers={"Accept": "text/event-stream"})
        self.assertEqual((status, headers["Content-Type"]),
                         (200, "text/event-stream; charset=utf-8"))
        events = events_of(data)
        self.assertEqual("".join(e["text"] for kind, e in events if kind == "answer"),
                         message.decode())
        self.assertEqual((events[-1][0], events[-1][1]["id"]), ("end", actor))
        self.assertEqual(str(events[-1][1]["message"]), headers["X-Driftwood-Message"])
        data = self.send(actor, b"\xff\xfe", headers={"Accept": "text/event-stream"})[2]
        self.assertEqual(events_of(data)[0], ("answer", {"base64": "//4="}))

    def test_failures_of_guests(self):
        actor = self.spawn("actor_hostile")
        error = self.refused(422, None, "POST", f"/v1/actors/{actor}/messages", b"!")
        self.assertEqual(error["code"], "DW_E_TRAP")
        status, _, data = self.send(actor, b"!", headers={"Accept": "text/event-stream"})
        self.assertEqual((status, json.loads(data)["error"]["code"]), (422, "DW_E_TRAP"))
        actor = self.spawn("actor_echo")
        data = self.send(actor, b"\x01200", "?timeout_ms=1", {"Accept": "text/event-stream"})[2]
        if not data.startswith(b"{"):  # some of it had come by then
            kind, answer = events_of(data)[-1]
            self.assertEqual(kind, "error")
        else:
            answer = json.loads(data)
        self.assertEqual(answer["error"]["code"], "DW_E_LIMIT")

    def held(self):
        """Bytes of answers that the server holds."""
        metrics = self.server.request("GET", "/metrics")[2].decode()
        return int(re.search(r"^driftwood_answer_bytes (\d+)$", metrics, re.MULTILINE)[1])

    def resident(self):
        """Bytes of memory that the server has."""
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("VmRSS")).split()[1]) << 10

    def test_tools(self):
        server = Server("--tool", "up=tr a-z A-Z")
        self.addCleanup(server.end)
        status, made = server.ask("/v1/actors", {"guest": "caller"})
        self.assertEqual(status, 201, made)
        with contextlib.closing(server.connect()) as connection:
            connection.request("POST", f"/v1/actors/{made['id']}/messages", "up abc")
            self.assertEqual(connection.getresponse().read(), b"3: ABC")

    def test_slow_readers_hold_the_guest(self):
        """Of 256 MiB that nobody reads the server holds some, and others go on."""
        actor = self.spawn("actor_echo")
        other = self.spawn("actor_echo")
        for one in (actor, other):
            self.assertEqual(self.send(one, "before")[2], b"before")
        before = self.resident()
        connection = self.server.connect()
        connection.request("POST", f"/v1/actors/{actor}/messages", b"\x01256")
        answer = connection.getresponse()
        first = answer.read(1000)
        self.assertEqual(self.send(other, "meanwhile")[2], b"meanwhile")
        until = time.monotonic() + 120
        while self.held() < 1 << 20:  # it is more than the kernel takes
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)
        for _ in range(10):
            time.sleep(0.05)
            self.assertLess(self.held(), 16 << 20)
        # All of the answer would be twice this. What the process takes anyway, with AddressSanitizer's
        # shadow, was there before.
        self.assertLess(self.resident() - before, 128 << 20)
        count = len(first)
        while piece := answer.read(1 << 20):
            count += len(piece)
        self.assertEqual(count, 256 << 20)
        connection.close()
        self.assertEqual(self.held(), 0)

    def test_slow_readers_get_the_end(self):
        """Of an answer after which the connection closes, too: what the kernel has not taken by then."""
        actor = self.spawn("actor_echo")
        for more in ({"Connection": "close"}, {}):
            for _ in range(3):
                connection = self.server.connect()
                connection.connect()
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                connection.request("POST", f"/v1/actors/{actor}/messages", b"\x018", more)
                answer = connection.getresponse()
                time.sleep(0.1)
                count = 0
                while piece := answer.read(65536):
                    count += len(piece)
                    time.sleep(0.002)
                self.assertEqual(count, 8 << 20)
                connection.close()

    def test_who_goes_is_worked_for_no_more(self):
        actor = self.spawn("actor_echo")
        connection = self.server.connect()
        connection.request("POST", f"/v1/actors/{actor}/messages", b"\x01200")
        answer = connection.getresponse()
        answer.read(10)
        answer.close()
        connection.close()
        self.assertEqual(self.send(actor, "next")[2], b"next")
        shown = self.good("GET", "/v1/actors/" + actor)
        self.assertEqual((shown["messages"], shown["failed"]), (2, 1))
        self.assertLess(shown["answered_bytes"], 200 << 20)

    def test_cancelling(self):
        actor = self.spawn("actor_echo")
        connection = self.server.connect()
        connection.request("POST", f"/v1/actors/{actor}/messages", b"\x01200")
        answer = connection.getresponse()
        number = answer.headers["X-Driftwood-Message"]
        self.good("POST", f"/v1/actors/{actor}/messages/{number}/cancel")
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            while answer.read(1 << 20):
                pass
        connection.close()
        self.refused(404, "number", "POST", f"/v1/actors/{actor}/messages/{number}/cancel")

    def test_events_and_logs(self):
        actor = self.spawn("actor_echo")
        everything = Events(self.server, "/v1/events?content=true")
        plain = Events(self.server, "/v1/events")
        logs = Events(self.server, f"/v1/actors/{actor}/logs?follow=true")
        accepted = self.good("POST", f"/v1/actors/{actor}/messages?wait=false", b"hello", 202)
        self.assertEqual(accepted["id"], actor)
        self.assertEqual(everything.wait_for(event="answered", actor=actor)["text"], "hello")
        everything.wait_for(event="ended", actor=actor)
        told = plain.wait_for(event="answered", actor=actor)
        self.assertEqual((told["bytes"], "text" in told), (5, False))
        self.good("POST", f"/v1/actors/{actor}/freeze")
        number = everything.wait_for(event="frozen", actor=actor)["number"]
        self.assertEqual(logs.wait_for(event="actor-frozen")["freeze"], number)
        kept = self.good("GET", f"/v1/actors/{actor}/logs")["data"]
        self.assertEqual([entry["event"] for entry in kept], ["actor-made", "actor-frozen"])
        self.assertEqual(len(self.good("GET", f"/v1/actors/{actor}/logs?limit=1")["data"]), 1)
        self.good("DELETE", "/v1/actors/" + actor)
        everything.wait_for(event="stopped", actor=actor)
        for stream in (everything, plain, logs):
            stream.close()

    def test_groups(self):
        actors = [self.spawn("actor_echo") for _ in range(2)]
        for actor in actors:
            self.good("PUT", f"/v1/actors/{actor}/groups/choir")
        self.assertEqual(self.good("GET", "/v1/groups/choir")["data"], actors)
        self.assertEqual(self.good("POST", "/v1/groups/choir/messages", b"la", 202),
                         {"accepted": 2})
        self.good("DELETE", f"/v1/actors/{actors[0]}/groups/choir")
        self.assertEqual(self.good("GET", "/v1/groups/choir")["data"], actors[1:])
        self.refused(404, "group", "GET", "/v1/groups/silence")
        self.refused(404, "group", "DELETE", f"/v1/actors/{actors[0]}/groups/choir")

    def test_mail(self):
        actor = self.spawn("actor_hostile")
        self.assertEqual(self.good("GET", f"/v1/actors/{actor}/messages")["data"], [])
        self.send(actor, "S!!")
        until = time.monotonic() + 120
        mail = []
        while not mail or mail[0]["state"] != "set aside":
            self.assertLess(time.monotonic(), until, mail)
            mail = self.good("GET", f"/v1/actors/{actor}/messages")["data"]
            time.sleep(0.02)
        message, = mail
        self.assertIn("unreachable", message["reason"])
        self.assertEqual((message["from"], message["attempts"]), (actor, 3))
        number = message["number"]
        self.assertEqual(self.server.request("GET", f"/v1/actors/{actor}/messages/{number}")[2], b"!!")
        self.assertEqual(self.good("POST", f"/v1/actors/{actor}/messages/{number}/retry"),
                         {"id": actor, "waiting": 1})
        while not mail or mail[0]["state"] != "set aside" or mail[0]["number"] == number:
            self.assertLess(time.monotonic(), until, mail)
            mail = self.good("GET", f"/v1/actors/{actor}/messages")["data"]
            time.sleep(0.02)
        self.assertEqual(self.good("DELETE", f"/v1/actors/{actor}/messages/all"),
                         {"id": actor, "dropped": 1})
        self.assertEqual(self.good("GET", f"/v1/actors/{actor}/messages")["data"], [])

    def test_files(self):
        actor = self.spawn("actor_talker", limits={"memory_bytes": "1G"}, model="small")
        self.assertEqual(self.send(actor, "+7")[2][:4], b"\7\0\0\0")
        status, headers, snapshot = self.server.request("GET", f"/v1/actors/{actor}/export")
        self.assertEqual((status, int(headers["Content-Length"])), (200, len(snapshot)))
        self.assertIn(actor, headers["Content-Disposition"])
        status, headers, nothing = self.server.request("HEAD", f"/v1/actors/{actor}/export")
        self.assertEqual((status, nothing), (200, b""))
        copy = self.good("POST", "/v1/actors/import?name=copy&limits=%7B%22memory_bytes%22%3A%22"
                                 "2G%22%7D", snapshot, 201)["id"]
        self.assertNotEqual(copy, actor)
        self.assertEqual(self.send("@copy", "+1")[2][:4], b"\10\0\0\0")
        self.assertEqual(self.send(actor, "+1")[2][:4], b"\10\0\0\0")
        damaged = bytearray(snapshot)
        damaged[len(damaged) // 2] ^= 1
        self.refused(422, None, "POST", "/v1/actors/import", bytes(damaged))
        self.refused(422, None, "POST", "/v1/actors/import", snapshot[:-100])
        self.refused(400, "priority", "POST", "/v1/actors/import?priority=x", snapshot)

    def test_downloads_wait_for_their_readers(self):
        """A slow download holds neither the actor nor others."""
        actor = self.spawn("actor_keeper")
        connection = self.server.connect()
        connection.request("GET", f"/v1/actors/{actor}/export")
        answer = connection.getresponse()
        wanted = int(answer.headers["Content-Length"])
        first = answer.read(100)
        self.assertEqual(self.good("GET", "/v1/actors/" + actor)["id"], actor)
        self.good("POST", f"/v1/actors/{actor}/freeze")
        self.assertEqual(len(first) + len(answer.read()), wanted)
        connection.close()

    def test_upgrade(self):
        actor = self.spawn("actor_first")
        second = self.upload("actor_second")
        self.good("POST", f"/v1/actors/{actor}/upgrade", {"module": second})
        self.refused(400, "module", "POST", f"/v1/actors/{actor}/upgrade", {})

    def test_guests_that_came_along(self):
        actor = self.good("POST", "/v1/actors", {"guest": "actor_echo"}, 201)["id"]
        self.assertEqual(self.send(actor, "x")[2], b"x")

    def test_ids_of_traces(self):
        """What a client calls its trace is in the log; what is no such name is not."""
        actor = self.spawn("actor_hostile")
        trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        for given in (f"00-{trace}-{span}-01", f"00-{'0' * 32}-{span}-01", f"00-{trace}-{span}",
                      f"ff-{trace}-{span}-01", f"00-{trace}-{span}-01x", "x" * 200):
            self.send(actor, b"!", headers={"traceparent": given})
        until = time.monotonic() + 60
        failed = []
        while len(failed) < 6 and time.monotonic() < until:
            logged = self.good("GET", f"/v1/actors/{actor}/logs")["data"]
            failed = [entry for entry in logged if entry["event"] == "message-failed"]
            time.sleep(0.02)
        self.assertEqual([entry.get("trace_id") for entry in failed], [trace] + [None] * 5)
        self.assertEqual(failed[0]["span_id"], span)

    def metrics(self):
        """-> {name with labels: value}, and the types; the text is as Prometheus reads it"""
        status, headers, data = self.server.request("GET", "/metrics")
        self.assertEqual((status, headers["Content-Type"]),
                         (200, "text/plain; version=0.0.4; charset=utf-8"))
        values, types = {}, {}
        for line in data.decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, types)
                types[name] = kind
            elif not line.startswith("# HELP "):
                match = re.fullmatch(r'(\w+)((?:\{\w+="[^"\\]*"(?:,\w+="[^"\\]*")*\})?) (\S+)', line)
                self.assertTrue(match, line)
                base = re.sub("_(bucket|sum|count)$", "", match[1])
                self.assertTrue(match[1] in types or types.get(base) == "histogram", line)
                self.assertNotIn(match[1] + match[2], values)
                values[match[1] + match[2]] = float(match[3])
        return values, types

    def test_metrics(self):
        actor = self.spawn("actor_echo")
        before, types = self.metrics()
        self.send(actor, "x")
        self.good("POST", f"/v1/actors/{actor}/park")
        self.server.request("GET", "/nowhere")
        after, _ = self.metrics()
        def grown(name):
            return after[name] - before.get(name, 0)
        route = 'driftwood_requests_total{route="/v1/actors/{id}/%s",status="200"}'
        self.assertEqual((grown(route % "messages"), grown(route % "park")), (1, 1))
        self.assertEqual(grown('driftwood_requests_total{route="none",status="404"}'), 1)
        self.assertEqual(grown("driftwood_messages_total"), 1)
        self.assertEqual(grown("driftwood_parks_total"), 1)
        self.assertGreater(grown("driftwood_written_bytes_total"), 0)
        self.assertGreaterEqual(after['driftwood_actors{state="parked"}'], 1)
        for name, kind in types.items():
            self.assertEqual(kind == "counter", name.endswith("_total"), name)
            if kind == "histogram":
                counts = [v for k, v in after.items() if k.startswith(name + "_bucket")]
                self.assertEqual(counts, sorted(counts))
                self.assertEqual(counts[-1], after[name + "_count"])
        with open(os.path.join(SOURCE, "examples/grafana-dashboard.json"), encoding="utf-8") as file:
            shown = set(re.findall(r"driftwood_\w+", file.read()))
        known = set(types) | {name + "_bucket" for name, kind in types.items()
                              if kind == "histogram"}
        self.assertEqual(shown - known, set())

    def test_openapi(self):
        """Every route that is routed is in the document, and it holds together."""
        document = self.good("GET", "/openapi.json")
        self.assertEqual(document["openapi"], "3.1.0")
        paths = document["paths"]
        operations = [operation for path in paths.values() for operation in path.values()]
        names = [operation["operationId"] for operation in operations]
        self.assertEqual(len(set(names)), len(names))
        routed = 0
        for source in ("server/route.c", "hosting/host_routes.c"):
            with open(os.path.join(SOURCE, "src", source), encoding="utf-8") as file:
                text = file.read()
            for method, path in re.findall(r'\{DW_HTTP_(\w+), "(/[^"]*)"', text):
                self.assertIn(method.lower(), paths.get(path, {}), path)
                routed += 1
            for start in re.findall(r'^ +\{"(/[^"]*/)", dw_', text, re.M):
                self.assertTrue([path for path in paths if path.startswith(start)], start)
        self.assertGreater(routed, 60)
        schemas = document["components"]["schemas"]
        for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
            self.assertIn(reference, schemas)
        for path, found in paths.items():
            for operation in found.values():
                given = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
                self.assertEqual(given, set(re.findall(r"\{(\w+)\}", path)))
        spawn = schemas["Spawn"]["properties"]
        self.refused(400, None, "POST", "/v1/actors", {"module": "0" * 64, "unknown": 1})
        for member in spawn:  # each is one that it takes
            error = self.server.ask("/v1/actors", {member: []})[1]["error"]
            self.assertNotIn("no member", error["message"])

    def test_overview(self):
        actor = self.spawn("actor_echo")
        seen = self.good("GET", "/v1/overview?order=memory&actors=4096")
        self.assertEqual((seen["format"], seen["order"]), ("driftwood-overview", "memory"))
        self.assertIn(actor, [one["id"] for one in seen["actors"]])
        self.assertIn("steps", seen["scheduler"])
        self.refused(400, "order", "GET", "/v1/overview?order=size")
        self.refused(400, "actors", "GET", "/v1/overview?actors=5000")


class Tenants(Base):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory(prefix="dw-serve-")
        cls.keys = {}
        path = os.path.join(cls.place.name, "keys")
        with open(path, "w", encoding="ascii") as file:
            for tenant in ("red", "blue"):
                cls.keys[tenant] = "key of " + tenant
                file.write(f"{tenant} {hashlib.sha256(cls.keys[tenant].encode()).hexdigest()}\n")
        cls.server = Server("--keys", path)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors
        cls.place.cleanup()

    def test_nobody_sees_anothers(self):
        red, blue = self.keys["red"], self.keys["blue"]
        actor = self.spawn("actor_echo", key=red, name="mine")
        module = self.good("GET", "/v1/modules", key=red)["data"][0]["sha256"]
        headers = {"Authorization": "Bearer " + red}
        answer = self.server.request("POST", f"/v1/actors/{actor}/messages", b"hello", headers)
        self.assertEqual(answer[2], b"hello")
        self.good("PUT", f"/v1/actors/{actor}/groups/g", key=red)
        others = Events(self.server, "/v1/events", {"Authorization": "Bearer " + blue})
        for method, path, body in (
                ("GET", f"/v1/actors/{actor}", None), ("DELETE", f"/v1/actors/{actor}", None),
                ("POST", f"/v1/actors/{actor}", {"name": "taken"}),
                ("POST", f"/v1/actors/{actor}/messages", b"x"),
                ("GET", f"/v1/actors/{actor}/messages", None),
                ("POST", f"/v1/actors/{actor}/freeze", None),
                ("POST", f"/v1/actors/{actor}/fork", None),
                ("GET", f"/v1/actors/{actor}/export", None),
                ("GET", f"/v1/actors/{actor}/events", None),
                ("GET", f"/v1/actors/{actor}/logs", None),
                ("PUT", f"/v1/actors/{actor}/groups/g", None),
                ("GET", "/v1/actors/@mine", None), ("GET", "/v1/actors/red@mine", None),
                ("GET", "/v1/names/mine", None), ("GET", "/v1/groups/g", None),
                ("POST", "/v1/groups/g/messages", b"x"),
                ("GET", "/v1/modules/" + module, None), ("DELETE", "/v1/modules/" + module, None),
                ("POST", "/v1/actors", {"module": module})):
            got, answer = self.server.ask(path, body, method, key=blue)
            self.assertEqual(got, 404, (method, path, answer))
            self.assertNotIn("red", json.dumps(answer).replace("red@mine", ""))
        got, answer = self.server.ask("/v1/groups/red%23g", key=blue)
        self.assertEqual(got, 400)
        self.assertEqual(self.good("GET", "/v1/actors", key=blue)["data"], [])
        self.assertEqual(self.good("GET", "/v1/actors?tenant=red", key=blue)["data"], [])
        self.assertEqual(self.good("GET", "/v1/modules", key=blue)["data"], [])
        self.assertEqual(self.good("GET", "/v1/logs", key=blue)["data"], [])
        seen = self.good("GET", "/v1/overview", key=blue)
        self.assertEqual((seen["actors"], [t["name"] for t in seen["tenants"]]), ([], ["blue"]))
        self.assertNotIn("runtime", seen)
        self.refused(403, None, "GET", "/metrics", key=blue)
        self.assertEqual(self.server.request("GET", "/metrics", connection=self.server.own())[0], 200)
        self.assertIn(actor, [a["id"] for a in self.good("GET", "/v1/actors", key=red)["data"]])
        own = self.good("POST", "/v1/actors", {"guest": "actor_echo"}, 201, key=blue)["id"]
        others.wait_for(event="made", actor=own)
        self.assertEqual({event["actor"] for event in others.seen}, {own})
        others.close()
        for path in ("/v1/actors", f"/v1/actors/{actor}", "/v1/modules"):
            self.refused(401, None, "GET", path)
            self.refused(401, None, "GET", path, key="another")

    def test_the_user_himself_sees_all(self):
        """At the socket in the state folder, without a key."""
        actor = self.spawn("actor_echo", key=self.keys["red"], name="own")
        path = os.path.join(self.server.state, "server")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        def own(method, where, body=None):
            return self.server.ask(where, body, method, connection=self.server.own())[1]
        self.assertIn(actor, [one["id"] for one in own("GET", "/v1/actors?limit=1000")["data"]])
        self.assertEqual(own("GET", "/v1/actors/red@own")["id"], actor)
        self.assertEqual(own("GET", f"/v1/actors/{actor[:12]}")["tenant"], "red")
        self.assertTrue(own("GET", f"/v1/actors/{actor}/files")["paths"])
        self.assertIn("runtime", own("GET", "/v1/overview"))
        made = own("POST", "/v1/actors?tenant=green", {"guest": "actor_echo"})["id"]
        self.assertEqual(own("GET", f"/v1/actors/{made}")["tenant"], "green")
        own("POST", "/v1/runtime/wait")

    def test_grants(self):
        """A tenant that was granted nothing cannot grant it."""
        key = self.keys["red"]
        module = self.upload("actor_echo", key=key)
        self.refused(403, None, "POST", "/v1/actors", {"module": module, "may": ["spawn"]}, key=key)
        self.refused(403, None, "POST", "/v1/actors", {"module": module, "folders": ["/in"]},
                     key=key)
        actor = self.good("POST", "/v1/actors", {"module": module, "folders": [],
                                                 "limits": {"answer_bytes": "3M"}}, 201,
                          key=key)["id"]
        shown = self.good("GET", "/v1/actors/" + actor, key=key)
        self.assertEqual(shown["may"], [])
        self.assertEqual(shown["limits"]["answer_bytes"], "3M")


class Unit(unittest.TestCase):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd")
    def test_systemd_reads_it(self):
        """The unit is good, and what it starts takes its options."""
        with open(os.path.join(SOURCE, "examples/driftwood.service"), encoding="utf-8") as file:
            unit = file.read().replace("/usr/local/bin/driftwood", PROGRAM)
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "driftwood.service")
            with open(path, "w", encoding="utf-8") as file:
                file.write(unit)
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], check=False,
                                  capture_output=True, text=True, timeout=120)
            self.assertNotIn("driftwood.service", done.stderr)
        told = subprocess.run([PROGRAM, "serve", "--help"], check=True, capture_output=True,
                              text=True, timeout=60).stdout
        for option in re.findall(r"--[a-z-]+", re.search("^ExecStart=.*$", unit, re.M)[0]):
            self.assertIn(f" {option} ", told)


class Restarts(Base):
    def test_what_stays(self):
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            self.server = Server(state=place)
            actor = self.spawn("actor_echo", name="kept")
            module, = self.good("GET", "/v1/modules")["data"]
            stream = Events(self.server, "/v1/events")
            self.assertEqual(self.server.end(), 0, self.server.errors)
            self.assertTrue(stream.ended.wait(60))  # it does not hold the server up
            stream.close()
            self.server = Server(state=place)
            self.assertEqual(self.good("GET", "/v1/names/kept"), {"id": actor})
            again, = self.good("GET", "/v1/modules")["data"]
            self.assertEqual((again["sha256"], again["compiled"]), (module["sha256"], False))
            made = self.good("POST", "/v1/actors", {"module": module["sha256"]}, 201)["id"]
            self.assertEqual(self.send(made, "x")[2], b"x")
            self.server.end(signal.SIGKILL)

    def test_tenants_of_keys_are_granted_no_more_later(self):
        """What alice may not do before a restart she may not behind it; nor may who has no key any more."""
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            lines = {name: new_key(name) for name in ("alice", "bob")}
            key = lines["alice"][0]
            actors = {}
            for round_ in range(3):
                with open(place + "/keys", "w", encoding="ascii") as file:
                    file.writelines(lines[name][1] + "\n" for name in lines if round_ == 0 or name != "bob")
                self.server = Server("--keys", place + "/keys", "--tool", "up=tr a-z A-Z", state=place + "/state")
                for name in lines if round_ == 0 else ():
                    actors[name] = self.spawn("caller", key=lines[name][0])
                made = self.spawn("caller", key=key)
                self.assertEqual(self.good("GET", "/v1/actors/" + made, key=key)["may"], [])
                for name, actor in (*actors.items(), ("alice", made)):
                    said = self.server.request("POST", f"/v1/actors/{actor}/messages", b"up abc",
                                               connection=self.server.own())
                    self.assertIn(f"tenant '{name}' may not call 'up'", said[2].decode(), round_)
                module = self.upload("caller", key=key)
                self.refused(403, None, "POST", "/v1/actors", {"module": module, "may": ["spawn"]}, key=key)
                # The user himself, beside them, may.
                own = self.server.ask("/v1/actors", {"guest": "caller"}, connection=self.server.own())[1]
                said = self.server.request("POST", f"/v1/actors/{own['id']}/messages", b"up abc",
                                           connection=self.server.own())
                self.assertEqual(said[2], b"3: ABC")
                self.assertEqual(self.server.end(), 0, self.server.errors)
                self.assertNotIn("alice", self.server.errors)

    def test_what_waits_for_a_tenant_that_comes_later(self):
        """The manifest does not name who has a key: once the server makes the tenant, its actors go on."""
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            key, line = new_key("alice")
            for name, text in (("keys", line + "\n"), ("manifest", '{"tenants": {"": {}}}')):
                with open(os.path.join(place, name), "w", encoding="ascii") as file:
                    file.write(text)
            options = ("--keys", place + "/keys", "--manifest", place + "/manifest")
            self.server = Server(*options, state=place + "/state")
            actor = self.spawn("actor_echo", key=key)
            headers = {"Authorization": "Bearer " + key}
            connection = self.server.connect()  # nobody reads the answer: it is under way at the end
            connection.request("POST", f"/v1/actors/{actor}/messages", b"\x0150", headers)
            self.assertEqual(len(connection.getresponse().read(1000)), 1000)
            self.server.end(signal.SIGKILL)
            connection.close()
            self.server = Server(*options, state=place + "/state")
            until = time.monotonic() + 60
            while (about := self.good("GET", "/v1/actors/" + actor, key=key))["messages"] == 0:
                self.assertLess(time.monotonic(), until, about)
                time.sleep(0.05)
            self.assertEqual(self.server.end(), 0, self.server.errors)

    def test_work_under_way_when_it_leaves(self):
        """What an actor works on is waited for; long uploads are not."""
        self.server = Server()
        actor = self.spawn("actor_echo")
        connection = self.server.connect()
        connection.request("POST", f"/v1/actors/{actor}/messages", b"\x0150")
        answer = connection.getresponse()
        self.server.process.send_signal(signal.SIGTERM)
        self.assertEqual(len(answer.read()), 50 << 20)
        connection.close()
        self.assertEqual(self.server.end(), 0, self.server.errors)

    def test_a_socket_as_the_address(self):
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            self.server = Server(listen="unix:" + os.path.join(place, "http"))
            self.assertEqual(self.good("GET", "/v1/actors")["data"], [])
            self.refused(403, None, "DELETE", "/v1/actors")
            self.assertEqual(self.server.end(), 0, self.server.errors)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
