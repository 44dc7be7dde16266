#!/usr/bin/env python3
"""driftwood serve: sessions, streams that are taken up again, and how much a key may ask for.

Called by ctest with the source and the build folder.
"""
import hashlib
import json
import os
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import MODEL, STORY, Server, cached, text_of, user  # noqa: E402


class Asking(unittest.TestCase):
    def post(self, path, body, headers=None, method="POST"):
        """-> status, headers, text"""
        connection = self.server.connect()
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, text

    def chat(self, messages, headers=None, **more):
        status, _, text = self.post("/v1/chat/completions", {
            "messages": messages, "temperature": 0, "max_tokens": 8, **more}, headers)
        self.assertEqual(status, 200, text)
        return json.loads(text)

    def actors(self):
        return {a["name"].rpartition(".")[0]: a for a in self.server.overview()["actors"]
                if a["name"]}


class Sessions(Asking):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors

    def test_sessions(self):
        messages = [user(STORY + "Sum up.")]
        first = self.chat(messages, driftwood={"session": "talk", "priority": "high", "pin": True})
        actor = self.actors()["talk"]
        self.assertEqual((actor["priority"], actor["pinned"]), ("high", True))
        messages += [first["choices"][0]["message"], user("And then?")]
        second = self.chat(messages, {"x-driftwood-session": "talk",
                                      "x-driftwood-priority": "low", "x-driftwood-pin": "false"})
        self.assertGreater(cached(second), second["usage"]["prompt_tokens"] - 24)
        actor = self.actors()["talk"]
        self.assertEqual((actor["priority"], actor["pinned"], actor["messages"]), ("low", False, 2))
        # a copy of it, which has all that it held
        messages += [second["choices"][0]["message"], user("Why?")]
        copy = self.chat(messages, driftwood={"session": "other", "parent": "talk"})
        self.assertGreater(cached(copy), copy["usage"]["prompt_tokens"] - 24)
        self.assertNotEqual(self.actors()["other"]["id"], self.actors()["talk"]["id"])
        # it forgets what its client does
        self.chat([user("Something else.")], driftwood={"session": "talk"})
        self.assertEqual(self.actors()["talk"]["messages"], 3)

    def test_refused(self):
        for own, word in (({"session": "a b"}, "session"), ({"session": ""}, "session"),
                          ({"session": "x" * 49}, "session"), ({"parent": "a"}, "session"),
                          ({"priority": "highest"}, "highest"), ({"pin": "maybe"}, "maybe"),
                          ({"session": 5}, "session"), ("x", "object")):
            status, _, text = self.post("/v1/chat/completions", {"messages": [user("x")],
                                                                 "driftwood": own})
            self.assertEqual(status, 400, text)
            self.assertIn(word, json.loads(text)["error"]["message"])

    def broken_off(self, path, body, lines):
        """A stream of which so many lines are read -> its id, the lines"""
        connection = self.server.connect()
        connection.request("POST", path, json.dumps({**body, "stream": True}),
                           {"x-driftwood-linger": "60"})
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        read = [answer.readline().decode() for _ in range(lines)]
        answer.close()
        connection.close()
        return answer.getheader("x-driftwood-stream"), read

    def test_a_stream_is_taken_up(self):
        body = {"messages": [user("Count to a hundred.")], "temperature": 0, "max_tokens": 30}
        for path in ("/v1/chat/completions", "/v1/messages"):
            stream, read = self.broken_off(path, body, 14)
            read = read[:max(i for i, line in enumerate(read) if line == "\n") + 1]
            last = [line[4:].strip() for line in read if line.startswith("id: ")][-1]
            status, _, rest = self.post("/v1/streams/" + stream, None, {"Last-Event-ID": last},
                                        "GET")
            self.assertEqual(status, 200)
            whole = self.post("/v1/streams/%s?after=-1" % stream, None, method="GET")[2]
            self.assertEqual("".join(read) + rest, whole)
            numbers = [int(line[4:]) for line in whole.split("\n") if line.startswith("id: ")]
            self.assertEqual(numbers, list(range(len(numbers))))
            self.assertEqual(self.post("/v1/streams/%s?after=9999" % stream, None,
                                       method="GET")[0], 400)
        plain = text_of(self.server.chat([user("Count to a hundred.")], max_tokens=30))
        stream, _ = self.broken_off("/v1/chat/completions", body, 4)
        whole = self.post("/v1/streams/" + stream, None, method="GET")[2]
        told = [json.loads(line[6:]) for line in whole.split("\n")
                if line.startswith("data: {")]
        self.assertEqual("".join(e["choices"][0]["delta"].get("content", "") for e in told), plain)
        self.assertTrue(whole.endswith("data: [DONE]\n\n"))

    def test_a_stream_is_given_up(self):
        stream, _ = self.broken_off("/v1/chat/completions", {
            "messages": [user("Write a long story.")], "max_tokens": 4000}, 4)
        self.assertEqual(self.post("/v1/streams/" + stream, None, method="DELETE")[0], 200)
        for _ in range(600):
            if self.server.overview()["runtime"]["working"] == 0:
                break
            time.sleep(0.1)
        self.assertEqual(self.server.overview()["runtime"]["working"], 0)
        self.assertEqual(self.post("/v1/streams/stream_0", None, method="GET")[0], 404)
        status, _, text = self.post("/v1/chat/completions", {"messages": [user("x")]},
                                    {"x-driftwood-linger": "9999"})
        self.assertEqual((status, json.loads(text)["error"]["param"]), (400, "x-driftwood-linger"))


class Steady(Asking):
    """A client that changes a line of its system prompt in each request."""

    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="dw-serve-")
        self.addCleanup(self.place.cleanup)
        self.server = Server(state=os.path.join(self.place.name, "state"))
        self.addCleanup(lambda: self.server.end())

    def system(self, *lines):
        return {"role": "system", "content": "\n".join(("You keep a lighthouse.", *lines,
                                                        "Be brief."))}

    def held(self, answer, before):
        """What the next request would have to compute of what was there is less than one in a hundred."""
        total = before["usage"]["total_tokens"]
        self.assertGreaterEqual(cached(answer), total * 99 // 100)

    def test_a_clock_and_others(self):
        messages = [user(STORY[:len(STORY) // 2] + "Sum up.")]
        before = None
        for turn in range(5):
            if turn == 3:
                self.server.end(9)
                self.server = Server(state=os.path.join(self.place.name, "state"))
            answer = self.chat([self.system(
                f"Current time: 2026-11-30 12:0{turn}:{turn * 7:02}", f"cwd: /home/{turn * 'a'}x",
                "- Session id: %08x-%04x" % (turn * 7919, turn), f"Today is {'MonTueWedThuFri'[3 * turn:][:3]}."),
                *messages])
            if before:
                self.held(answer, before)
            before = answer
            messages += [answer["choices"][0]["message"], user(f"And then, {turn}?")]
        # an answer is asked for again, with another time: all but the last question is there
        again = self.chat([self.system("Current time: 13:00", "cwd: /", "- Session id: 00000000-0000",
                                       "Today is Sat."), *messages[:-2]])
        self.assertGreater(cached(again), before["usage"]["prompt_tokens"] * 8 // 10)

    def test_with_calls_of_tools(self):
        tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {
            "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"], "additionalProperties": False}}}]
        messages = [user(STORY[:len(STORY) // 2] + "What is the weather in Paris?")]
        first = self.chat([self.system("The time is 12:00."), *messages], tools=tools,
                          tool_choice="required", max_tokens=128, parallel_tool_calls=False)
        message = first["choices"][0]["message"]
        messages += [message, {"role": "tool", "content": "rain",
                               "tool_call_id": message["tool_calls"][0]["id"]}]
        second = self.chat([self.system("The time is 12:01."), *messages], tools=tools,
                           tool_choice="none")
        self.held(second, first)
        messages += [second["choices"][0]["message"], user("And tomorrow?")]
        third = self.chat([self.system("The time is 12:02."), *messages], tools=tools,
                          tool_choice="none")
        self.held(third, second)

    def test_the_line_is_told(self):
        """It stands behind the message that it came with; another line is no such line."""
        messages = [user("Hello.")]
        first = self.chat([self.system("Turn: 1"), *messages])
        messages += [first["choices"][0]["message"], user("Well?")]
        second = self.chat([self.system("Turn: 2"), *messages])
        prompt = self.server.ask("/apply-template", {"messages": [
            self.system("Turn: 1"), *messages[:-1], user("Well?\n\nTurn: 2")]})[1]["prompt"]
        tokens = len(self.server.ask("/tokenize", {"content": prompt})[1]["tokens"])
        self.assertLessEqual(abs(second["usage"]["prompt_tokens"] - tokens), 2)
        parts = {"role": "system", "content": [{"type": "text", "text": self.system("Turn: 3")["content"]}]}
        third = self.chat([parts, *messages, second["choices"][0]["message"], user("So?")])
        self.assertGreater(cached(third), second["usage"]["total_tokens"] - 3)
        other = self.chat([self.system("Answer in verse."), *messages])
        self.assertLess(cached(other), 20)


class Rates(Asking):
    def test_limits_of_keys(self):
        digests = {key: hashlib.sha256(key.encode()).hexdigest() for key in ("a", "b", "c")}
        with tempfile.NamedTemporaryFile("w", prefix="dw-keys-") as file:
            file.write("ada %s requests=2\nbob %s tokens=30\ncleo %s\n" % tuple(digests.values()))
            file.flush()
            self.server = Server("--keys", file.name)
            self.addCleanup(self.server.end)
            body = {"messages": [user("Hi")], "max_tokens": 4}

            def ask(key, path="/v1/chat/completions"):
                return self.post(path, body, {"Authorization": "Bearer " + key})

            status, headers, _ = ask("a")
            self.assertEqual((status, headers["x-ratelimit-limit-requests"],
                              headers["x-ratelimit-remaining-requests"],
                              headers["anthropic-ratelimit-requests-remaining"]),
                             (200, "2", "1", "1"))
            self.assertEqual(ask("a")[0], 200)
            statuses = {ask("a")[0] for _ in range(8)}  # it fills again: two a minute
            self.assertIn(429, statuses)
            status, headers, text = ask("a", "/v1/messages")
            while status != 429:
                status, headers, text = ask("a", "/v1/messages")
            self.assertTrue(1 <= int(headers["retry-after"]) <= 30, headers)
            self.assertEqual(json.loads(text)["error"]["type"], "rate_limit_error")
            self.assertEqual(ask("b")[0], 200)
            status, headers, text = ask("b")
            while status != 429:
                status, headers, text = ask("b")
            self.assertEqual(json.loads(text)["error"]["code"], "rate_limit_exceeded")
            self.assertIn("tokens", json.loads(text)["error"]["message"])
            self.assertEqual(headers["x-ratelimit-limit-tokens"], "30")
            for _ in range(5):
                status, headers, _ = ask("c")
                self.assertEqual((status, headers.get("x-ratelimit-limit-requests")), (200, None))


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        print("the default model is not there: run `make model`")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
