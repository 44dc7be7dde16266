#!/usr/bin/env python3
"""driftwood serve: requests in the shapes that clients send, and what of them is refused by name.

Called by ctest with the source and the build folder.
"""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from client_requests import CLIENTS  # noqa: E402
from serving import Server, text_of, user  # noqa: E402

CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"], "additionalProperties": False}
FUNCTION = {"name": "get_weather", "description": "weather of a city", "parameters": CITY}
OTHER = {"name": "get_time", "parameters": CITY}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather",
                                                         "arguments": '{"city":"Paris"}'}}
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors

    def ask(self, path, body, status=200):
        got, answer = self.server.ask(path, body)
        self.assertEqual(got, status, (body, answer))
        return answer

    def refused(self, path, body, param, words, status=400):
        error = self.ask(path, body, status)["error"]
        self.assertEqual(error["param"], param, error)
        self.assertIn(words, error["message"])


class Chat(Case):
    def chat(self, *messages, **more):
        return self.ask(CHAT, self.body(*messages, **more))

    @staticmethod
    def body(*messages, **more):
        return {"messages": messages or [user("Name a sea.")], "max_tokens": 4, "temperature": 0,
                **more}

    def same_prompt(self, *messages):
        """All of these are read as the first is."""
        told = [self.chat(message)["usage"]["prompt_tokens"] for message in messages]
        self.assertEqual(len(set(told)), 1, told)

    def test_contents(self):
        part = {"type": "text", "text": "Name a sea."}
        self.same_prompt({"role": "user", "content": [part]},
                         {"role": "user", "content": [{**part, "cache_control": {"type": "ephemeral"}}]},
                         {"role": "user", "content": [{**part, "type": "input_text"}]},
                         {"role": "user", "content": ["Name a sea."]},
                         {"role": "user", "content": [{"type": "refusal", "refusal": "Name a sea."}]},
                         {"role": "user", "content": [{**part, "type": "output_text", "annotations": []}]})
        for kind in ("image_url", "input_audio", "file", "video_url", "tool_result"):
            self.refused(CHAT, self.body({"role": "user", "content": [part, {"type": kind, kind: {}}]}),
                         "messages", f"messages[0].content[1]: only text can be read here, not '{kind}'")
        self.refused(CHAT, self.body({"role": "user"}), "messages", "messages[0].content is missing")
        self.refused(CHAT, self.body({"role": "user", "content": [{"type": "text"}]}), "messages",
                     "messages[0].content[0]: it has no text")

    def test_calls(self):
        """An assistant that calls says nothing, in each of the ways that clients write it."""
        after = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
        ways = [{"content": None}, {}, {"content": ""}, {"content": None, "refusal": None, "annotations": [],
                                                         "audio": None, "function_call": None}]
        counts = [self.chat(user("Weather?"), {"role": "assistant", "tool_calls": [CALL], **way}, after,
                            tools=[TOOL])["usage"]["prompt_tokens"] for way in ways]
        self.assertEqual(len(set(counts)), 1, counts)
        for call in ({**CALL, "id": None}, {**CALL, "index": 0}, {"function": CALL["function"]}):
            self.chat(user("Weather?"), {"role": "assistant", "content": None, "tool_calls": [call]}, after)

    def test_what_was_before_tools(self):
        self.refused(CHAT, self.body(functions=[FUNCTION]), "functions", "tools are")
        self.refused(CHAT, self.body(user("x"), {"role": "function", "name": "f", "content": "y"}),
                     "messages", "messages[1].role is 'function'")
        self.refused(CHAT, self.body(user("x"), {"role": "assistant", "content": None, "function_call": {}}),
                     "messages", "messages[1].function_call")

    def test_tools(self):
        required = {"tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 128}
        wanted = self.chat(tools=[TOOL], **required)["choices"][0]["message"]["tool_calls"][0]["function"]
        self.assertEqual(wanted["name"], "get_weather")
        for more in ({**required, "tool_choice": "any"}, {"tools": [{"function": FUNCTION}]},
                     {"tools": [{"type": "function", "function": OTHER}, TOOL],
                      "tool_choice": {"type": "allowed_tools",
                                      "allowed_tools": {"mode": "required", "tools": [TOOL]}}}):
            answer = self.chat(**{"tools": [TOOL], **required, **more})
            self.assertEqual(answer["choices"][0]["message"]["tool_calls"][0]["function"], wanted)
        one = {"type": "function", "function": {"name": "get_weather"}}  # is called once, whatever comes to its mind
        answer = self.chat(tools=[TOOL], tool_choice=one, parallel_tool_calls=True, max_tokens=300)["choices"][0]
        self.assertEqual(([call["function"]["name"] for call in answer["message"]["tool_calls"]],
                          answer["finish_reason"]), (["get_weather"], "tool_calls"))
        self.refused(CHAT, self.body(tools=[{"type": "custom", "custom": {"name": "x"}}]), "tools",
                     "tools[0].type is 'custom'; function is to be had here, custom in /v1/responses")
        self.refused(CHAT, self.body(tools=[{"type": "web_search"}]), "tools", "'web_search'")
        self.refused(CHAT, self.body(tools=[TOOL], tool_choice={
            "type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{
                "type": "function", "function": {"name": "none"}}]}}), "tool_choice", "'none'")

    def test_ids_of_calls(self):
        """Each turn's are others, also of the same call: clients tell results apart by them."""
        messages, ids = [user("What is the weather in Paris?")], []
        for _ in range(3):
            answer = self.chat(*messages, tools=[TOOL], max_tokens=100, tool_choice={
                "type": "function", "function": {"name": "get_weather"}})["choices"][0]["message"]
            ids.append(answer["tool_calls"][0]["id"])
            messages += [answer, {"role": "tool", "tool_call_id": ids[-1], "content": "rain"}]
        self.assertEqual(len(set(ids)), 3, ids)

    def test_the_form_of_an_answer(self):
        """As OpenAI, llama.cpp's server and vLLM have it."""
        schema = {"name": "city", "schema": CITY, "strict": True}
        for more in ({"response_format": {"type": "json_schema", "json_schema": schema}},
                     {"response_format": {"type": "json_object", "schema": CITY}},
                     {"response_format": {"type": "json_schema", "schema": CITY}},
                     {"json_schema": CITY}, {"guided_json": CITY}, {"guided_json": json.dumps(CITY)},
                     {"structured_outputs": {"json": CITY}}):
            told = json.loads(text_of(self.chat(max_tokens=60, **more)))
            self.assertEqual(list(told), ["city"], more)
        for more in ({"structured_outputs": {"choice": ["a \"b\"", "c"]}}, {"guided_choice": ["c", "a \"b\""]}):
            self.assertIn(text_of(self.chat(max_tokens=20, **more)), ("a \"b\"", "c"))
        for told in ("a\nb\tc", "a\\b\\f/\\\\bc", '"\\"', "\b", "\f"):
            self.assertEqual(text_of(self.chat(max_tokens=80, guided_choice=[told])), told)
        codes = [chr(code) for code in (*range(1, 32), 127)]
        self.assertIn(text_of(self.chat(max_tokens=4, guided_choice=[*codes, "yes"])), [*codes, "yes"])
        self.assertEqual(text_of(self.chat(guided_grammar='root ::= "yes"')), "yes")
        for text, words in (("[" * 300 + "]" * 300, "structured_outputs.json: JSON of more than 256 levels"),
                            ('{"enum": [' + "0," * (5 << 20) + "0]}", "more than 4194304 values"),
                            ('{"type": "object", "type": "string"}', "duplicate"), ("{", "structured_outputs.json is not")):
            for more in ({"guided_json": text}, {"structured_outputs": {"json": text}}):
                self.refused(CHAT, self.body(**more), "structured_outputs", words)
        for more in ({"guided_regex": "a+"}, {"structured_outputs": {"regex": "a"}},
                     {"structured_outputs": {"choice": []}}, {"structured_outputs": {"json": 5}}):
            self.refused(CHAT, self.body(**more), "structured_outputs", "structured_outputs.")

    def test_calls_beside_a_form(self):
        """A form holds the text of an answer: calls that are wanted come, those that may come can."""
        schema = {"type": "object", "properties": {"sea": {"type": "string", "maxLength": 8}}, "required": ["sea"],
                  "additionalProperties": False}
        form = {"response_format": {"type": "json_schema", "json_schema": {"name": "sea", "schema": schema}}}
        more = {"tools": [TOOL], "max_tokens": 150, "parallel_tool_calls": False}
        for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
            said = self.chat(**form, **more, tool_choice=choice)["choices"][0]["message"]
            self.assertEqual((list(json.loads(said["tool_calls"][0]["function"]["arguments"])), said["content"]),
                             (["city"], None))
        for mark, calls in (("<", True), ("{", False)):
            token = self.server.ask("/tokenize", {"content": mark})[1]["tokens"][0]
            answer = self.chat(**form, **more, logit_bias={str(token): 100})["choices"][0]
            self.assertEqual(answer["finish_reason"], "tool_calls" if calls else "stop", answer)
            if not calls:
                self.assertEqual(list(json.loads(answer["message"]["content"])), ["sea"])
        told = self.chat(**form, **more, tool_choice="none")["choices"][0]["message"]["content"]
        self.assertEqual(list(json.loads(told)), ["sea"])
        answer = self.ask("/v1/responses", {
            "input": "Name a sea.", "max_output_tokens": 150, "text": {"format": {
                "type": "json_schema", "name": "sea", "schema": schema}},
            "tools": [{"type": "function", **FUNCTION}], "tool_choice": {"type": "function", "name": "get_weather"}})
        self.assertEqual([item["type"] for item in answer["output"]], ["function_call"])

    def test_how_much(self):
        """Below 0 is as much as there is, as several servers have it; stops end it."""
        for name in ("max_tokens", "max_completion_tokens"):
            answer = self.ask(CHAT, {"messages": [user("Say hi.")], name: -1, "temperature": 0, "stop": ["!", "."]})
            self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
            self.refused(CHAT, {"messages": [user("x")], name: 0}, name, f"{name} is 0")
        text = {"prompt": "The sea is", "max_tokens": 4, "temperature": 0}
        whole = self.ask("/v1/completions", text)["choices"][0]["text"]
        for more in ({"suffix": ""}, {"suffix": None}, {"best_of": 1, "logprobs": None}):
            self.assertEqual(self.ask("/v1/completions", {**text, **more})["choices"][0]["text"], whole)

    def test_penalties(self):
        """They count at temperature 0, too; repeat_last_n 0 turns them off, -1 lets them see all."""
        prompt = {"prompt": "One two three four five one two three four five one two three", "max_tokens": 8,
                  "temperature": 0, "repeat_penalty": 5}
        plain = self.ask("/v1/completions", {**prompt, "repeat_penalty": 1})["choices"][0]["text"]
        off = self.ask("/v1/completions", {**prompt, "repeat_last_n": 0})["choices"][0]["text"]
        far = self.ask("/v1/completions", {**prompt, "repeat_last_n": -1})["choices"][0]["text"]
        self.assertEqual(off, plain)
        self.assertNotEqual(far, plain)
        self.assertEqual(far, self.ask("/v1/completions", {**prompt, "repeat_last_n": 1 << 20})["choices"][0]["text"])
        for more in ({"frequency_penalty": 2}, {"presence_penalty": 2}, {"dry_multiplier": 4}):
            told = self.ask("/v1/completions", {**prompt, "repeat_penalty": 1, "max_tokens": 16, **more})
            self.assertFalse(told["choices"][0]["text"].startswith(plain + " two three four five one"), more)

    def test_what_is_not_there(self):
        self.chat(modalities=["text"], store=True, verbosity="low", prompt_cache_key="x", service_tier="auto",
                  safety_identifier="y", prediction={"type": "content", "content": "The"}, user="z",
                  metadata={"a": "b"}, stream_options=None, logit_bias=None, n=None, seed=None)
        self.refused(CHAT, self.body(modalities=["text", "audio"], audio={"voice": "x", "format": "wav"}),
                     "modalities", "'audio'")

    def test_json_that_was_cut(self):
        """Half a character, a NUL in a text and a bound beyond 64 bits end no conversation."""
        for text in (r"a\ud83d b", r"a\ude00", r"a\u0000b"):
            body = json.dumps(self.body(user("QQ"))).replace("QQ", text)
            self.assertEqual(self.ask(CHAT, body)["usage"]["prompt_tokens"],
                             self.chat(user(json.loads('"' + text.replace(r"\ud83d", r"\ufffd").replace(
                                 r"\ude00", r"\ufffd").replace(r"\u0000", r"\ufffd") + '"')))["usage"]["prompt_tokens"])
        tool = {"type": "function", "function": {"name": "f", "parameters": {
            "type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}},
            "required": ["n"], "additionalProperties": False}}}
        answer = self.chat(tools=[tool], tool_choice="required", max_tokens=60, parallel_tool_calls=False)
        self.assertIn("tool_calls", answer["choices"][0]["message"])


class Anthropic(Case):
    @staticmethod
    def body(*messages, **more):
        return {"messages": messages or [user("Name a sea.")], "max_tokens": 4, "temperature": 0, **more}

    def count(self, *content):
        return self.ask(MESSAGES + "/count_tokens", {"messages": [{"role": "user", "content": list(content)}]})[
            "input_tokens"]

    def refused(self, body, words):
        error = self.ask(MESSAGES, body, 400)["error"]
        self.assertEqual(error["type"], "invalid_request_error")
        self.assertIn(words, error["message"])

    def test_blocks_of_text(self):
        """Documents of text, results of a search and tools that were found are text, wherever they stand."""
        text = {"type": "text", "text": "Sum up."}
        document = {"type": "document", "title": "Seas", "source": {
            "type": "text", "media_type": "text/plain", "data": "The sea is wide and deep."}}
        parts = {**document, "source": {"type": "content", "content": [{"type": "text", "text":
                                                                         "The sea is wide and deep."}]}}
        found = {"type": "search_result", "source": "Seas", "title": "Atlas",
                 "content": [{"type": "text", "text": "The sea is wide."}]}
        plain = self.count(text)
        self.assertGreaterEqual(self.count(document, text), plain + 7)
        self.assertEqual(self.count(document, text), self.count(parts, text))
        self.assertGreaterEqual(self.count(found, text), plain + 6)
        use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
        for block in (document, parts, found, {"type": "tool_reference", "tool_name": "get_weather"}):
            result = {"type": "tool_result", "tool_use_id": "t1", "content": [block]}
            self.ask(MESSAGES, self.body(user("x"), use, {"role": "user", "content": [result]}))
        for block, kind in (({"type": "image", "source": {"type": "base64"}}, "image"),
                            ({"type": "document", "source": {"type": "base64", "data": ""}}, "base64"),
                            ({"type": "document", "source": {"type": "file", "file_id": "x"}}, "file")):
            self.refused(self.body({"role": "user", "content": [block]}), f"'{kind}'")
            result = {"type": "tool_result", "tool_use_id": "t1", "content": [block]}
            self.refused(self.body(user("x"), use, {"role": "user", "content": [result]}), f"'{kind}'")

    def test_the_form_of_an_answer(self):
        schema = {"type": "json_schema", "schema": CITY}
        for more in ({"output_config": {"format": schema}}, {"output_format": schema}):
            answer = self.ask(MESSAGES, self.body(**{**more, "max_tokens": 60}))
            self.assertEqual(list(json.loads(answer["content"][0]["text"])), ["city"])

    def test_a_prompt_alone(self):
        """max_tokens 0 reads it, and says nothing; what comes after goes on from it."""
        answer = self.ask(MESSAGES, self.body(user("Name a lake, and say why."), max_tokens=0))
        self.assertEqual((answer["content"], answer["stop_reason"], answer["usage"]["output_tokens"]),
                         ([], "max_tokens", 0))
        after = self.ask(MESSAGES, self.body(user("Name a lake, and say why.")))
        self.assertLess(after["usage"]["input_tokens"], 4)
        status, _, data = self.server.request("POST", MESSAGES, json.dumps(
            self.body(user("Name a lake, and say why."), max_tokens=0, stream=True)))
        self.assertEqual((status, b"content_block" in data, b"message_stop" in data), (200, False, True))

    def test_arguments_beyond_64_bits(self):
        """The whole has what the stream has, to the last digit."""
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 10 ** 22, "maximum": 10 ** 23}},
                  "required": ["n"], "additionalProperties": False}
        body = self.body(tools=[{"name": "count", "input_schema": schema}], max_tokens=128,
                         tool_choice={"type": "tool", "name": "count"})
        call = self.ask(MESSAGES, body)["content"][-1]
        self.assertEqual((call["type"], type(call["input"]["n"])), ("tool_use", int), call)
        self.assertTrue(10 ** 22 <= call["input"]["n"] <= 10 ** 23, call)
        _, _, data = self.server.request("POST", MESSAGES, json.dumps({**body, "stream": True}))
        events = [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: ")]
        text = "".join(event["delta"].get("partial_json", "") for event in events
                       if event["type"] == "content_block_delta")
        self.assertEqual(json.loads(text), call["input"])

    def test_an_answer_that_is_begun_with_nothing(self):
        whole = self.ask(MESSAGES, self.body())["content"]
        for nothing in ("", []):
            self.assertEqual(self.ask(MESSAGES, self.body(user("Name a sea."), {
                "role": "assistant", "content": nothing}))["content"], whole)

    def test_what_is_not_there(self):
        self.refused(self.body(mcp_servers=[{"type": "url", "url": "http://x", "name": "x"}]), "mcp_servers")
        self.refused(self.body(container="x"), "container")
        self.refused(self.body(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "tools.0")
        self.assertEqual(self.ask(MESSAGES + "/batches", {"requests": []}, 404)["error"]["type"], "not_found_error")
        self.ask(MESSAGES, self.body(thinking={"type": "adaptive"}, context_management={"edits": []},
                                     metadata={"user_id": "u"}, service_tier="auto", stop_sequences=[], container=None,
                                     mcp_servers=[]))

    def test_models(self):
        """The same list has what both makers' clients read."""
        told = self.server.ask("/v1/models")[1]
        self.assertEqual((told["has_more"], told["first_id"], told["last_id"]), (False, "small", "small"))
        for one in (told["data"][0], self.server.ask("/v1/models/small")[1]):
            self.assertEqual((one["type"], one["display_name"], one["object"]), ("model", "small", "model"))
            self.assertRegex(one["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


class Ollama(Case):
    def test_calls(self):
        for arguments in ({"city": "Paris"}, '{"city": "Paris"}'):
            self.ask("/api/chat", {"stream": False, "options": {"num_predict": 2}, "messages": [
                user("Weather?"), {"role": "assistant", "content": "", "tool_calls": [
                    {"function": {"name": "get_weather", "arguments": arguments}}]},
                {"role": "tool", "content": "rain"}]})
        self.ask("/api/chat", {"messages": [{"role": "assistant", "tool_calls": [
            {"function": {"name": "f", "arguments": "no JSON"}}]}]}, 400)

    def test_arguments_are_whole(self):
        """Also what a parser of 64 bits and of C's texts does not hold; no other text counts as such."""
        told = r'{"n": [123456789012345678901234, -9223372036854775809], "s": "a\u0000b \"raw_", "n": 1.50}'
        for stream in (False, True):
            _, _, data = self.server.request("POST", "/api/chat", json.dumps({
                "messages": [user("Weather?")], "tools": [TOOL], "stream": stream, "options": {
                    "num_predict": 200, "grammar": self.grammar(told)}}))
            lines = [line for line in data.decode().splitlines() if "tool_calls" in line]
            self.assertEqual(len(lines), 1, data)
            self.assertIn('"arguments":' + told, lines[0])
            self.assertEqual(json.loads(lines[0])["message"]["tool_calls"][0]["function"]["name"], "get_weather")

    @staticmethod
    def grammar(told):
        return "root ::= " + json.dumps('<tool_call>\n{"name": "get_weather", "arguments": ' + told + "}\n</tool_call>")

    def test_arguments_that_parsers_refuse(self):
        """They are calls all the same, told as text to the letter; as objects but for halves of characters. What a
        client sends back of them is taken."""
        messages = [user("Weather?")]
        for told, within in ((r'{"n": [1e999, -1.8e308], "a\u0000b": 1}', None),
                             (r'{"s": "a\ud83d b\ude00"}', r'{"s": "a\ufffd b\ufffd"}'),
                             ('{"n": ' + "[" * 260 + "]" * 260 + "}", None)):
            _, _, data = self.server.request("POST", "/api/chat", json.dumps({
                "messages": messages, "tools": [TOOL], "stream": False,
                "options": {"num_predict": 900, "grammar": self.grammar(told)}}))
            self.assertIn('"arguments":' + (within or told), data.decode())
            if len(told) > 99:
                continue
            body = {"messages": messages, "tools": [TOOL], "max_tokens": 900, "grammar": self.grammar(told)}
            message = self.ask(CHAT, body)["choices"][0]["message"]
            self.assertEqual([call["function"]["arguments"] for call in message.get("tool_calls", [])], [told], message)
            call = message["tool_calls"][0]
            events = self.server.stream(CHAT, body)
            calls = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", [])]
            self.assertEqual("".join(call["function"].get("arguments", "") for call in calls), told)
            self.ask(CHAT, {"messages": [*messages, message, {"role": "tool", "tool_call_id": call["id"],
                                                              "content": "cold"}], "max_tokens": 2})

    def test_embeddings(self):
        whole, short = (self.ask("/api/embed", {"input": "a cat", **more})["embeddings"][0]
                        for more in ({}, {"dimensions": 32}))
        self.assertEqual(len(short), 32)
        self.assertAlmostEqual(sum(x * x for x in short), 1, places=4)
        self.assertAlmostEqual(short[0] / short[1], whole[0] / whole[1], places=4)
        for more in ({}, {"input": ""}, {"input": []}, {"input": None}):
            self.assertEqual(self.ask("/api/embed", {"model": "small", **more})["embeddings"], [])
        self.assertEqual(self.ask("/api/embeddings", {"model": "small", "prompt": ""}), {"embedding": []})
        error = self.ask("/api/embed", {"input": "a", "dimensions": 100000}, 400)["error"]
        self.assertIn("dimensions is 100000", error)
        self.assertEqual(len(self.ask("/v1/embeddings", {"input": "a", "dimensions": 5})["data"][0]["embedding"]), 5)
        self.refused("/v1/embeddings", {"input": "a", "dimensions": 100000}, "dimensions", "dimensions is 100000")

    def test_pulls(self):
        """What is served is there."""
        self.assertEqual(self.ask("/api/pull", {"model": "small:latest", "stream": False}), {"status": "success"})
        self.assertEqual(self.ask("/api/pull", {"name": "small"}), {"status": "success"})
        self.assertIn("error", self.ask("/api/pull", {"model": "large"}, 501))
        self.assertIn("error", self.ask("/api/nothing", {}, 404))
        self.assertIsInstance(self.ask("/api/nothing", {}, 404)["error"], str)


class Published(Case):
    def test_requests_of_clients(self):
        for name, path, body in CLIENTS:
            status, _, data = self.server.request("POST", path, json.dumps({"model": "small", **body}))
            self.assertEqual(status, 200, (name, data))
            self.assertNotRegex(data.decode(), r'(?m)^(data: )? *\{"error":|event: error', name)
            self.assertGreater(len(data), 10, name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
