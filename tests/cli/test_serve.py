#!/usr/bin/env python3
"""driftwood serve: OpenAI's routes, conversations that go on, and what is no request at all.

Called by ctest with the source and the build folder.
"""
import json
import os
import re
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
    BUILD, MODEL, PROGRAM, STORY, Server, cached, new_key, text_of, user)


class Routes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors

    def refused(self, path, body, status, param, *words):
        got, answer = self.server.ask(path, body)
        self.assertEqual((got, answer["error"]["param"]), (status, param), answer)
        for word in words:
            self.assertIn(word, answer["error"]["message"])
        return answer["error"]

    def test_plain_routes(self):
        self.assertEqual(self.server.ask("/health"), (200, {"status": "ok"}))
        status, answer = self.server.ask("/v1/models")
        self.assertEqual((status, answer["object"], [m["id"] for m in answer["data"]]),
                         (200, "list", ["small"]))
        self.assertEqual(self.server.ask("/v1/models/small")[1]["object"], "model")
        self.assertEqual(self.server.ask("/v1/models/large")[0], 404)
        self.assertEqual(self.server.ask("/nowhere")[0], 404)
        self.assertEqual(self.server.ask("/v1/chat/completions")[0], 405)
        self.assertEqual(self.server.ask("/health", method="HEAD"), (200, None))

    def test_chat_says_what_an_actor_says(self):
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            def actor(*args):
                return subprocess.run([PROGRAM, "actor", *args, "--state", place],
                                      capture_output=True, text=True, check=True, timeout=120,
                                      env=dict(os.environ,
                                               DRIFTWOOD_GUESTS=os.path.join(BUILD, "guests"))
                                      ).stdout.strip()

            told = actor("send", actor("spawn", "--guest", "chat", "--model", MODEL, "--temp", "0",
                                       "--max-tokens", "16"), "Name three trees.")
        answer = self.server.chat([user("Name three trees.")])
        self.assertEqual(text_of(answer).strip(), told)
        self.assertEqual(answer["object"], "chat.completion")
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")
        usage = answer["usage"]
        self.assertEqual(usage["completion_tokens"], 16)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 16)

    def test_a_stream_says_the_same(self):
        body = {"model": "small", "messages": [user("Name three rivers.")], "temperature": 0,
                "max_tokens": 12, "stream_options": {"include_usage": True}}
        events = self.server.stream("/v1/chat/completions", body)
        whole = self.server.chat([user("Name three rivers.")], max_tokens=12)
        deltas = [e["choices"][0] for e in events[:-1]]
        self.assertEqual(deltas[0]["delta"], {"role": "assistant", "content": ""})
        self.assertEqual("".join(d["delta"].get("content", "") for d in deltas), text_of(whole))
        self.assertEqual([d["finish_reason"] for d in deltas if d["finish_reason"]], ["length"])
        self.assertEqual(events[-1]["choices"], [])
        self.assertEqual(events[-1]["usage"]["completion_tokens"], 12)
        self.assertEqual(len({e["id"] for e in events}), 1)

    def test_several_answers(self):
        answer = self.server.chat([user("Write a line about rain.")], n=3, temperature=1, seed=5)
        again = self.server.chat([user("Write a line about rain.")], n=3, temperature=1, seed=5)
        texts = [text_of(answer, i) for i in range(3)]
        self.assertEqual(len(set(texts)), 3)
        self.assertEqual(texts, [text_of(again, i) for i in range(3)])
        self.assertEqual([c["index"] for c in answer["choices"]], [0, 1, 2])

    def test_stops(self):
        body = {"model": "small", "prompt": "One, two, three,", "temperature": 0, "max_tokens": 24}
        whole = self.server.ask("/v1/completions", body)[1]["choices"][0]
        self.assertIn(" five", whole["text"])
        cut = self.server.ask("/v1/completions", {**body, "stop": ["xyz", " five"]})[1]["choices"][0]
        self.assertEqual((cut["text"], cut["finish_reason"]),
                         (whole["text"].split(" five")[0], "stop"))
        events = self.server.stream("/v1/completions", {**body, "stop": " five"})
        self.assertEqual("".join(e["choices"][0]["text"] for e in events), cut["text"])

    def test_probabilities(self):
        answer = self.server.chat([user("Say yes.")], logprobs=True, top_logprobs=3, max_tokens=5)
        content = answer["choices"][0]["logprobs"]["content"]
        self.assertEqual("".join(t["token"] for t in content), text_of(answer))
        for token in content:
            likeliest = token["top_logprobs"]
            self.assertEqual(len(likeliest), 3)
            self.assertEqual(likeliest[0]["token"], token["token"])  # temperature 0
            self.assertAlmostEqual(likeliest[0]["logprob"], token["logprob"])
            self.assertTrue(0 >= likeliest[0]["logprob"] >= likeliest[1]["logprob"])
            self.assertEqual(bytes(token["bytes"]).decode(), token["token"])
        plain = self.server.chat([user("Say yes.")], max_tokens=5)
        self.assertEqual(text_of(plain), text_of(answer))

    def test_biases(self):
        body = {"model": "small", "prompt": "The sky is", "temperature": 0, "max_tokens": 3,
                "logprobs": 0}
        first = self.server.ask("/v1/completions", body)[1]["choices"][0]
        status, answer = self.server.ask("/v1/completions", {**body, "logit_bias": {"253": 100}})
        self.assertEqual(status, 200)
        tokens = answer["choices"][0]["logprobs"]["tokens"]
        self.assertEqual(len(set(tokens)), 1)  # the one that is pushed, each time
        self.assertNotEqual(tokens, first["logprobs"]["tokens"])

    def test_an_answer_in_json(self):
        schema = {"type": "object", "properties": {"tree": {"type": "string", "maxLength": 12},
                                                   "height": {"type": "integer"}},
                  "required": ["tree", "height"], "additionalProperties": False}
        answer = self.server.chat([user("Describe a tree.")], max_tokens=60, response_format={
            "type": "json_schema", "json_schema": {"name": "tree", "schema": schema}})
        value = json.loads(text_of(answer))
        self.assertEqual(sorted(value), ["height", "tree"])
        self.assertIsInstance(value["height"], int)

    def test_tools(self):
        tool = {"type": "function", "function": {
            "name": "get_weather", "strict": True, "parameters": {
                "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}},
                "required": ["city"], "additionalProperties": False}}}
        messages = [user("What is the weather in Paris?")]
        answer = self.server.chat(messages, tools=[tool], tool_choice="required", max_tokens=128)
        call = answer["choices"][0]["message"]["tool_calls"][0]
        self.assertEqual(call["function"]["name"], "get_weather")
        self.assertEqual(list(json.loads(call["function"]["arguments"])), ["city"])
        messages += [answer["choices"][0]["message"],
                     {"role": "tool", "tool_call_id": call["id"], "content": "rain"}]
        self.assertTrue(text_of(self.server.chat(messages, tools=[tool])))

    def test_completions(self):
        body = {"model": "small", "prompt": ["The sea is", "The sky is"], "temperature": 0,
                "max_tokens": 4, "n": 2}
        answer = self.server.ask("/v1/completions", body)[1]
        texts = [c["text"] for c in answer["choices"]]
        self.assertEqual([c["index"] for c in answer["choices"]], [0, 1, 2, 3])
        self.assertEqual((texts[0], texts[2]), (texts[1], texts[3]))
        one = self.server.ask("/v1/completions", {**body, "prompt": "The sky is", "n": 1,
                                                  "echo": True})[1]
        self.assertEqual(one["choices"][0]["text"], "The sky is" + texts[2])
        self.assertEqual(self.server.ask("/v1/completions", {
            **body, "prompt": [504, 3855, 314], "n": 1})[0], 200)

    def test_embeddings(self):
        import base64
        import struct
        body = {"model": "small", "input": ["a small cat", "a small dog", "tax law"]}
        status, answer = self.server.ask("/v1/embeddings", body)
        self.assertEqual((status, [d["index"] for d in answer["data"]]), (200, [0, 1, 2]))
        cat, dog, law = (d["embedding"] for d in answer["data"])
        self.assertAlmostEqual(sum(x * x for x in cat), 1, places=4)
        near, far = (sum(x * y for x, y in zip(cat, other)) for other in (dog, law))
        self.assertGreater(near, far)
        coded = self.server.ask("/v1/embeddings", {**body, "encoding_format": "base64",
                                                   "input": "a small cat"})[1]
        bytes_ = base64.b64decode(coded["data"][0]["embedding"])
        self.assertEqual(list(struct.unpack(f"<{len(cat)}f", bytes_)), cat)
        self.refused("/v1/embeddings", {**body, "input": []}, 400, "input")
        self.refused("/v1/embeddings", {**body, "input": [""]}, 400, "input", "input[0]")
        self.refused("/v1/embeddings", {**body, "dimensions": 3000}, 400, "dimensions")
        self.refused("/v1/embeddings", {**body, "input": [[99999999]]}, 400, "input")

    def test_texts_and_tokens(self):
        status, answer = self.server.ask("/tokenize", {"content": "Hi <|im_start|>"})
        self.assertEqual((status, answer["tokens"][-1]), (200, 1))
        self.assertGreater(len(self.server.ask("/tokenize", {
            "content": "Hi <|im_start|>", "parse_special": False})[1]["tokens"]), 3)
        self.assertEqual(self.server.ask("/detokenize", answer)[1]["content"], "Hi <|im_start|>")
        self.assertEqual(self.server.ask("/detokenize", {"tokens": [-5]})[0], 400)
        prompt = self.server.ask("/apply-template", {"messages": [user("Hi")]})[1]["prompt"]
        self.assertTrue(prompt.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"))

    def test_messages(self):
        body = {"model": "small", "max_tokens": 12, "temperature": 0, "system": "You are brief.",
                "messages": [user("Name three rivers.")]}
        status, answer = self.server.ask("/v1/messages", body)
        chat = self.server.chat([{"role": "system", "content": "You are brief."},
                                 user("Name three rivers.")], max_tokens=12)
        self.assertEqual((status, answer["type"], answer["stop_reason"]),
                         (200, "message", "max_tokens"))
        self.assertEqual(answer["content"], [{"type": "text", "text": text_of(chat)}])
        count = self.server.ask("/v1/messages/count_tokens", body)[1]["input_tokens"]
        usage = answer["usage"]
        self.assertEqual(usage["input_tokens"] + usage["cache_read_input_tokens"], count)
        self.assertEqual(usage["output_tokens"], 12)

        connection = self.server.connect()
        connection.request("POST", "/v1/messages", json.dumps({**body, "stream": True}))
        lines = connection.getresponse().read().decode().split("\n")
        connection.close()
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        self.assertEqual([line[7:] for line in lines if line.startswith("event: ")],
                         [event["type"] for event in events])
        kinds = [event["type"] for event in events]
        self.assertEqual(kinds[:2] + kinds[-3:],
                         ["message_start", "content_block_start", "content_block_stop",
                          "message_delta", "message_stop"])
        self.assertEqual("".join(event["delta"]["text"] for event in events
                                 if event["type"] == "content_block_delta"), text_of(chat))
        self.assertEqual(events[-2]["delta"]["stop_reason"], "max_tokens")

        more = {**body, "messages": body["messages"] + [
            {"role": "assistant", "content": answer["content"]},
            {"role": "user", "content": [{"type": "text", "text": "And one more?"}]}]}
        self.assertGreater(self.server.ask("/v1/messages", more)[1]["usage"]
                           ["cache_read_input_tokens"], count)

        noted = {**body, "messages": body["messages"] + [{"role": "system", "content": "Be kind."}]}
        plain = {**body, "messages": [user("Name three rivers.\nBe kind.")]}
        self.assertEqual(self.server.ask("/v1/messages", noted)[1]["content"],
                         self.server.ask("/v1/messages", plain)[1]["content"])

        tool = {"name": "get_weather", "input_schema": {
            "type": "object", "properties": {"city": {"type": "string", "maxLength": 9}},
            "required": ["city"]}}
        called = self.server.ask("/v1/messages", {
            **body, "max_tokens": 100, "tools": [tool], "tool_choice": {"type": "any"},
            "messages": [user("What is the weather in Paris?")]})[1]
        call = [block for block in called["content"] if block["type"] == "tool_use"][0]
        self.assertEqual((call["name"], list(call["input"])), ("get_weather", ["city"]))
        said = self.server.ask("/v1/messages", {
            **body, "tools": [tool], "messages": [
                user("What is the weather in Paris?"),
                {"role": "assistant", "content": [call]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"],
                                              "content": "rain"}]}]})
        self.assertEqual(said[0], 200, said)

        for wrong, word in (({"max_tokens": None}, "max_tokens"), ({"messages": []}, "messages"),
                            ({"messages": [{"role": "king", "content": "x"}]}, "role"),
                            ({"messages": [user([{"type": "image"}])]}, "image"),
                            ({"tool_choice": {"type": "all"}, "tools": [tool]}, "tool_choice"),
                            ({"temperature": "x"}, "temperature")):
            status, refused = self.server.ask("/v1/messages", {**body, **wrong})
            self.assertEqual((status, refused["type"], refused["error"]["type"]),
                             (400, "error", "invalid_request_error"))
            self.assertIn(word, refused["error"]["message"])
        self.assertEqual(self.server.ask("/v1/messages", {**body, "model": "x"})[0], 404)

    def test_what_is_wrong_is_named(self):
        chat = {"model": "small", "messages": [user("x")], "max_tokens": 1}
        for more, param, word in (
                ({"temperature": -1}, "temperature", "-1"),
                ({"temperature": "hot"}, "temperature", "hot"),
                ({"max_tokens": 0}, "max_tokens", "0"),
                ({"n": 17}, "n", "17"),
                ({"messages": []}, "messages", "at least one"),
                ({"messages": "hello"}, "messages", "list"),
                ({"messages": [user([{"type": "image_url", "image_url": {"url": "x"}}])]},
                 "messages", "image_url"),
                ({"stop": ["x"] * 17}, "stop", "17"),
                ({"stop": 5}, "stop", "text"),
                ({"logit_bias": {"a": 1}}, "logit_bias", "'a'"),
                ({"stream": "yes"}, "stream", "true or false"),
                ({"top_logprobs": 2}, "top_logprobs", "logprobs"),
                ({"tools": {}}, "tools", "list")):
            self.refused("/v1/chat/completions", {**chat, **more}, 400, param, word)
        error = self.refused("/v1/chat/completions", {**chat, "model": "large"}, 404, "model",
                             "large")
        self.assertEqual(error["code"], "model_not_found")
        error = self.refused("/v1/chat/completions", {**chat, "messages": [user("ship " * 9000)]},
                             400, "messages", "tokens long")
        self.assertEqual(error["code"], "context_length_exceeded")
        long = "\u65e5" * 40 # texts of messages are cut by bytes, within a character of it
        self.refused("/v1/chat/completions", {**chat, "model": long}, 404, "model", long[:33])
        self.refused("/v1/chat/completions", {**chat, "logit_bias": {long: 1}}, 400, "logit_bias",
                     long[:13])
        for path in ("/v1/messages", "/api/chat"):
            code, answer = self.server.ask(path, {**chat, "model": long})
            self.assertEqual(code, 404)
            self.assertIn(long[:33], json.dumps(answer, ensure_ascii=False))
        self.refused("/v1/completions", {"model": "small", "prompt": [[]]}, 400, "prompt")
        self.refused("/v1/completions", {"model": "small", "prompt": "x", "suffix": "y"}, 400,
                     "suffix")
        for body, word in ((b"", "empty"), (b"[]", "no object"), (b"{", "not JSON"),
                           (b'{"a":1,"a":2}', "not JSON"), (b"[" * 5000, "levels")):
            connection = self.server.connect()
            connection.request("POST", "/v1/chat/completions", body)
            answer = connection.getresponse()
            self.assertEqual(answer.status, 400)
            self.assertIn(word, json.loads(answer.read())["error"]["message"])
            connection.close()

    def test_who_leaves_is_worked_for_no_more(self):
        connection = self.server.socket()
        body = json.dumps({"model": "small", "messages": [user("Write a long story.")],
                           "stream": True, "ignore_eos": True})
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                           b"%d\r\n\r\n%s" % (len(body), body.encode()))
        told = b""
        while told.count(b"data: ") < 5:
            told += connection.recv(4096)
        connection.close()
        deadline = time.monotonic() + 60
        while self.server.overview()["runtime"]["working"] > 0:
            self.assertLess(time.monotonic(), deadline, "it is still worked on")
            time.sleep(0.05)


class Conversations(unittest.TestCase):
    def test_what_was_said_is_not_computed_again(self):
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            state = os.path.join(place, "state")
            server = Server(state=state)
            messages = [{"role": "system", "content": "You are brief."}, user(STORY + "Sum up.")]

            def turn(how, new=False):
                answer = server.chat(messages, **how)
                messages.append({"role": "assistant", "content": text_of(answer)})
                messages.append(user("And then?"))
                return answer

            first = turn({})
            self.assertEqual(cached(first), 0)
            for how in ({}, {}, {"max_tokens": 3}, {}):
                before = server.chat(messages, max_tokens=1)["usage"]["prompt_tokens"]
                answer = turn(how)
                # all but the new line, the template's words around it and the answer's last token
                self.assertGreater(cached(answer), before - 24)
            self.assertEqual(server.end(signal.SIGKILL), -signal.SIGKILL)

            server = Server(state=state)
            answer = turn({})
            self.assertGreater(cached(answer), 0.98 * answer["usage"]["prompt_tokens"] - 8)
            actors = server.overview()["runtime"]["actors"]

            # A branch is a copy; the conversation goes on beside it.
            branch = messages[:3] + [user("Who is he?")]
            answer = server.chat(branch)
            self.assertGreater(cached(answer), answer["usage"]["prompt_tokens"] - 24)
            self.assertEqual(server.overview()["runtime"]["actors"], actors + 1)
            answer = turn({})
            self.assertGreater(cached(answer), answer["usage"]["prompt_tokens"] - 24)
            self.assertEqual(server.end(), 0)

    def test_as_computed_anew(self):
        server = Server()
        other = Server()
        messages = [user("Tell me about the moon.")]
        for _ in range(3):
            answer = server.chat(messages, max_tokens=24)
            messages += [{"role": "assistant", "content": text_of(answer)}, user("Go on.")]
        last = server.chat(messages, max_tokens=24)
        anew = other.chat(messages, max_tokens=24)
        self.assertGreater(cached(last), 0)
        self.assertEqual(cached(anew), 0)
        self.assertEqual(text_of(last), text_of(anew))
        self.assertEqual((server.end(), other.end()), (0, 0))

    def test_surplus_conversations_go(self):
        server = Server("--conversations", "3")
        for i in range(6):
            server.chat([user(f"{i} " + STORY[:400])], max_tokens=2)
        self.assertLessEqual(server.overview()["runtime"]["actors"], 4)
        self.assertEqual(server.end(), 0)

    def test_what_is_under_way_ends_first(self):
        server = Server()
        connection = server.connect()
        connection.request("POST", "/v1/chat/completions", json.dumps(
            {"model": "small", "messages": [user("Count to twelve.")], "max_tokens": 12,
             "stream": True, "ignore_eos": True, "temperature": 0}))
        answer = connection.getresponse()
        answer.read(20)
        server.process.send_signal(signal.SIGTERM)
        self.assertTrue(answer.read().decode().rstrip().endswith("data: [DONE]"))
        connection.close()
        self.assertEqual(server.end(), 0)

    def test_a_local_socket(self):
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            path = os.path.join(place, "s")
            server = Server(listen="unix:" + path)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 200 "))
            connection.close()
            self.assertEqual(server.end(), 0)
            self.assertFalse(os.path.exists(path))


class Http(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors

    def told(self, *pieces, shut=False):
        """All that is answered to these bytes, until the connection ends."""
        connection = self.server.socket()
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            if shut:
                connection.shutdown(socket.SHUT_WR)
            while True:
                more = connection.recv(65536)
                if not more:
                    return answer
                answer += more
        except (BrokenPipeError, ConnectionResetError):
            return answer
        finally:
            connection.close()

    def test_keeps_alive_and_pipelines(self):
        one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        self.assertEqual(self.told(one + one, one + last).count(b"HTTP/1.1 200 OK"), 4)
        old = self.told(b"GET /health HTTP/1.0\r\n\r\n")
        self.assertEqual(old.count(b"HTTP/1.1 200 OK"), 1)
        self.assertIn(b"Connection: close", old)
        slow = [last[i:i + 1] for i in range(len(last))]
        self.assertEqual(self.told(*slow).count(b"200 OK"), 1)

    def test_requests_wait_for_the_answers_before_them(self):
        """Who asks again and again and reads nothing makes the server hold little."""
        def held():
            metrics = self.server.request("GET", "/metrics")[2].decode()
            return int(re.search(r"^driftwood_answer_bytes (\d+)$", metrics, re.MULTILINE)[1])
        one = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        with self.server.socket() as connection:
            connection.sendall(one * 500 + last)
            for _ in range(10):
                self.assertLess(held(), 8 << 20)
                time.sleep(0.02)
            told = b""
            while piece := connection.recv(1 << 20):
                told += piece
        self.assertEqual(told.count(b"HTTP/1.1 200 OK"), 501)
        self.assertGreater(len(told), 16 << 20)

    def test_bodies(self):
        body = b'{"model":"large","messages":[]}'
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7])
                          for i in range(0, len(body), 7)) + b"0\r\n\r\n"
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        self.assertIn(b"404 Not Found", self.told(
            head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks))
        told = self.told(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body),
                         body)
        self.assertTrue(told.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404"), told[:80])

    def test_what_two_readers_could_read_differently(self):
        for head in (b"Content-Length: 5\r\nTransfer-Encoding: chunked",
                     b"Content-Length: 5\r\nContent-Length: 6",
                     b"Content-Length: +5", b"Content-Length: 5 5", b"Content-Length: -1",
                     b"Content-Length: 99999999999999999999999",
                     b"Transfer-Encoding: chunked, identity",
                     b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
                     b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked",
                     b"Host: y\r\n\tfolded: z", b"No colon", b"Bad\x00name: x", b"X: a\rb",
                     b"X: a\nTransfer-Encoding: chunked"):
            told = self.told(b"POST /health HTTP/1.1\r\nHost: localhost\r\n" + head +
                             b"\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
                             shut=True)
            self.assertNotIn(b'"object":"list"', told, head)
            self.assertRegex(told, rb"^(HTTP/1.1 4\d\d |$)", head)
        for bad in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"G\x00T / HTTP/1.1\r\n\r\n",
                    b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"):
            self.assertRegex(self.told(bad, shut=True), rb"^(HTTP/1.1 4\d\d |$)", bad)
        self.assertEqual(self.server.ask("/health")[0], 200)

    def test_too_much(self):
        self.assertIn(b"431 ", self.told(b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n")[:30])
        self.assertIn(b"431 ", self.told(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n")[:30])
        self.assertIn(b"413 ", self.told(b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                                         b"99999999999\r\n\r\n")[:30])

    def test_bytes_of_chance(self):
        """Whatever comes, others are served."""
        import random
        seed = int(os.environ.get("DW_TEST_SEED", "7"))
        chance = random.Random(seed)
        good = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
                b"\r\nContent-Length: 60\r\n\r\n"
                b'{"model":"none","messages":[{"role":"user","content":"hi"}]}')
        for _ in range(int(os.environ.get("DW_TEST_REQUESTS", "600"))):
            bytes_ = bytearray(good)
            for _ in range(chance.randint(1, 6)):
                at = chance.randrange(len(bytes_))
                kind = chance.randrange(3)
                if kind == 0:
                    bytes_[at] = chance.randrange(256)
                elif kind == 1:
                    del bytes_[at:at + chance.randint(1, 20)]
                else:
                    bytes_[at:at] = bytes(chance.randrange(256) for _ in range(5))
                if not bytes_:
                    bytes_ = bytearray(b"x")
            told = self.told(bytes(bytes_), shut=True)
            self.assertRegex(told, rb"^(HTTP/1.1 [24]\d\d |$)", (seed, bytes(bytes_)))
            self.assertNotIn(b"HTTP/1.1 5", told)
        self.assertEqual(self.server.ask("/health")[0], 200)

    def test_many_that_say_nothing(self):
        idle = []
        try:
            for _ in range(400):
                idle.append(self.server.socket())
            slow = self.server.socket()
            slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Le")
            idle.append(slow)
            self.assertEqual(self.server.ask("/health")[0], 200)
            self.assertTrue(text_of(self.server.chat([user("Hello.")], max_tokens=4)))
        finally:
            for connection in idle:
                connection.close()

    def test_at_once(self):
        answers = {}

        def ask(number):
            answers[number] = text_of(self.server.chat([user(f"Say the number {number % 3}.")],
                                                       max_tokens=8))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(answers), 9)
        for i in range(9):
            self.assertEqual(answers[i], answers[i % 3])


class Keys(unittest.TestCase):
    def test_keys_keep_tenants_apart(self):
        ada, ada_line = new_key("ada")
        bob, bob_line = new_key("bob")
        self.assertNotIn(ada[3:], ada_line)
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            path = os.path.join(place, "keys")
            with open(path, "w") as file:
                file.write(f"# who may ask\n{ada_line}\n\n{bob_line}\n")
            server = Server("--keys", path)

            def ask(path, headers, body=None):
                connection = server.connect()
                connection.request("POST" if body else "GET", path,
                                   json.dumps(body) if body else None, headers)
                answer = connection.getresponse()
                text = json.loads(answer.read())
                connection.close()
                return answer.status, text

            chat = {"model": "small", "messages": [user(STORY + "Sum up.")], "max_tokens": 4,
                    "temperature": 0}
            self.assertEqual(ask("/health", {})[0], 200)
            for headers in ({}, {"Authorization": "Bearer dw-00"}, {"Authorization": ada},
                            {"x-api-key": ada + "0"}, {"Authorization": "Bearer "}):
                status, refused = ask("/v1/chat/completions", headers, chat)
                self.assertEqual((status, refused["error"]["type"]), (401, "authentication_error"))
            self.assertEqual(ask("/v1/models", {})[0], 401)
            self.assertEqual(ask("/v1/messages", {}, {})[1]["type"], "error")

            connection = server.connect()  # what it is refused for, it may send; nothing of that is held
            for key, wanted in (("dw-00", 401), (ada, 400)):
                connection.request("POST", "/tokenize", b"x" * (8 << 20), {"Authorization": "Bearer " + key})
                answer = connection.getresponse()
                self.assertEqual((answer.status, "error" in json.loads(answer.read())), (wanted, True))
            connection.close()

            first = ask("/v1/chat/completions", {"Authorization": "Bearer " + ada}, chat)[1]
            again = ask("/v1/chat/completions", {"x-api-key": ada}, chat)[1]
            other = ask("/v1/chat/completions", {"authorization": "bearer " + bob}, chat)[1]
            self.assertEqual(cached(first), 0)
            self.assertEqual(cached(again), again["usage"]["prompt_tokens"] - 1)
            self.assertEqual(cached(other), 0)  # of another's conversations nothing is told
            self.assertEqual(text_of(first), text_of(other))
            tenants = {t["name"]: t["actors"] for t in server.overview()["tenants"]}
            self.assertEqual((tenants["ada"], tenants["bob"]), (2, 1), tenants)
            self.assertEqual(server.end(), 0)


class Words(unittest.TestCase):
    def refused(self, *args):
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            told = subprocess.run([PROGRAM, "serve", "--state", os.path.join(place, "s"), *args],
                                  capture_output=True, text=True, timeout=60, check=False,
                                  env=dict(os.environ,
                                           DRIFTWOOD_GUESTS=os.path.join(BUILD, "guests")))
            self.assertNotEqual(told.returncode, 0)
            return told.stderr

    def test_command_line(self):
        self.assertIn("'nowhere'", self.refused("--listen", "nowhere", "--open", "--model",
                                                    MODEL))
        self.assertIn("two are called 'a'",
                      self.refused("--model", "a=" + MODEL, "--model", "a=" + MODEL))
        self.assertIn("no-such-model", self.refused("--model", "no-such-model"))
        self.assertIn("no arguments", self.refused("extra"))
        self.assertIn("--keys", self.refused("--model", MODEL, "--listen", "0.0.0.0:0"))
        with tempfile.NamedTemporaryFile("w", prefix="dw-keys-") as file:
            file.write("ada\n")
            file.flush()
            self.assertIn("line 1", self.refused("--model", MODEL, "--keys", file.name))
        server = Server()
        self.assertIn("in use", self.refused("--model", MODEL, "--listen", server.address))
        self.assertEqual(server.end(), 0)


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        print("the default model is not there: run `make model`")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
