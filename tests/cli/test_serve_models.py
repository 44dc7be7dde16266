#!/usr/bin/env python3
"""driftwood serve: a model that thinks aloud, and one that only gives embeddings, by all routes.

Called by ctest with the source and the build folder. The default model gets the template of one that thinks, and is held by a
grammar to think and then answer.
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import BUILD, MODEL, Server, cached, user  # noqa: E402

TEMPLATE = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' and message.reasoning_content and loop.index0 > last %}
{{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}
{{- message.content }}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '\\n</think>\\n\\n' }}{% endif %}
{%- endif %}"""
GRAMMAR = 'root ::= "It is wet.\\n</think>\\n\\n" "The sea."'
PLAIN = 'root ::= "The sea."'


class Thinking(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.file = tempfile.NamedTemporaryFile("w", suffix=".jinja")
        cls.file.write(TEMPLATE.replace(" and loop.index0 > last", ""))
        cls.file.flush()
        cls.server = Server("--chat-template", cls.file.name)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors
        cls.file.close()

    def ask(self, path, body, status=200):
        got, answer = self.server.ask(path, {"model": "small", "temperature": 0, **body})
        self.assertEqual(got, status, answer)
        return answer

    def events(self, path, body):
        connection = self.server.connect()
        connection.request("POST", path, json.dumps({"model": "small", "temperature": 0,
                                                     "stream": True, **body}))
        text = connection.getresponse().read().decode()
        connection.close()
        return [json.loads(line.removeprefix("data: ")) for line in text.split("\n")
                if line.startswith(("data: {", "{"))]

    def test_openai(self):
        body = {"messages": [user("What is wet?")], "grammar": GRAMMAR, "max_tokens": 40}
        message = self.ask("/v1/chat/completions", body)["choices"][0]["message"]
        self.assertEqual((message["reasoning_content"].strip(), message["content"]),
                         ("It is wet.", "The sea."))
        deltas = [e["choices"][0]["delta"] for e in self.events("/v1/chat/completions", body)]
        self.assertEqual("".join(d.get("reasoning_content") or "" for d in deltas).strip(), "It is wet.")
        self.assertEqual("".join(d.get("content") or "" for d in deltas), "The sea.")
        plain = self.ask("/v1/chat/completions", {**body, "grammar": PLAIN, "enable_thinking": False})
        self.assertEqual(plain["choices"][0]["message"]["content"], "The sea.")
        again = self.ask("/v1/chat/completions", {**body, "messages": body["messages"] + [
            message, user("Why?")]})
        self.assertGreater(cached(again), 20)

    def test_tokens_of_reasoning_are_told(self):
        body = {"messages": [user("What is wet?")], "grammar": GRAMMAR, "max_tokens": 40}
        answer = self.ask("/v1/chat/completions", {**body, "logprobs": True})
        told, count = "", 0
        for token in answer["choices"][0]["logprobs"]["content"]:
            count += "It is wet." not in told
            told += token["token"]
        def reasoned(usage):
            return usage["completion_tokens_details"]["reasoning_tokens"]
        self.assertEqual(reasoned(answer["usage"]), count)
        self.assertEqual(reasoned(self.ask("/v1/chat/completions", body)["usage"]), count)
        last = self.events("/v1/chat/completions", {**body, "stream_options": {"include_usage": True}})[-1]
        self.assertEqual(reasoned(last["usage"]), count)
        response = self.ask("/v1/responses", {"input": "What is wet?", "grammar": GRAMMAR})
        self.assertEqual(response["usage"]["output_tokens_details"]["reasoning_tokens"], count)
        plain = self.ask("/v1/chat/completions", {**body, "grammar": PLAIN, "enable_thinking": False})
        self.assertEqual(reasoned(plain["usage"]), 0)
        cut = self.ask("/v1/chat/completions", {**body, "max_tokens": 2})
        self.assertEqual(reasoned(cut["usage"]), 2)

    def test_responses(self):
        body = {"input": "What is wet?", "grammar": GRAMMAR, "max_output_tokens": 40,
                "include": ["reasoning.encrypted_content"]}
        answer = self.ask("/v1/responses", body)
        self.assertEqual([i["type"] for i in answer["output"]], ["reasoning", "message"])
        self.assertEqual(answer["output"][0]["content"][0]["text"].strip(), "It is wet.")
        self.assertEqual(answer["output"][1]["content"][0]["text"], "The sea.")
        events = self.events("/v1/responses", body)
        said = {kind: "".join(e["delta"] for e in events if e["type"] == f"response.{kind}.delta")
                for kind in ("reasoning_text", "output_text")}
        self.assertEqual((said["reasoning_text"].strip(), said["output_text"]),
                         ("It is wet.", "The sea."))
        self.assertEqual([e["output_index"] for e in events if e["type"] == "response.output_item.done"],
                         [0, 1])
        # what a client sends back that keeps all itself: the reasoning as it was sealed
        sealed = {k: v for k, v in answer["output"][0].items() if k != "content"}
        after = self.ask("/v1/responses", {"input": [user("What is wet?"), sealed, answer["output"][1],
                                                     user("Why?")], "max_output_tokens": 4})
        whole = self.ask("/v1/responses", {"input": [user("What is wet?"), *answer["output"],
                                                     user("Why?")], "max_output_tokens": 4})
        self.assertEqual(after["usage"]["input_tokens"], whole["usage"]["input_tokens"])
        self.assertGreater(after["usage"]["input_tokens_details"]["cached_tokens"],
                           answer["usage"]["total_tokens"] - 4)
        plain = self.ask("/v1/responses", {"input": "What is wet?", "grammar": PLAIN,
                                           "reasoning": {"effort": "none"}, "max_output_tokens": 40})
        self.assertEqual([i["type"] for i in plain["output"]], ["message"])

    def test_anthropic(self):
        message = self.ask("/v1/messages", {"messages": [user("What is wet?")], "max_tokens": 3,
                                            "thinking": {"type": "enabled", "budget_tokens": 1024}})
        self.assertEqual([b["type"] for b in message["content"]], ["thinking"])
        events = self.events("/v1/messages", {"messages": [user("What is wet?")], "max_tokens": 3})
        self.assertEqual([e["content_block"]["type"] for e in events
                          if e["type"] == "content_block_start"], ["thinking"])
        self.assertIn("signature_delta", [e["delta"]["type"] for e in events
                                          if e["type"] == "content_block_delta"])

    def test_ollama(self):
        body = {"messages": [user("What is wet?")], "stream": False, "think": True,
                "options": {"temperature": 0, "grammar": GRAMMAR, "num_predict": 40}}
        message = self.ask("/api/chat", body)["message"]
        self.assertEqual((message["thinking"].strip(), message["content"]), ("It is wet.", "The sea."))
        lines = self.events("/api/chat", {**body, "stream": True})
        self.assertEqual("".join(line["message"].get("thinking", "") for line in lines).strip(),
                         "It is wet.")
        told = self.ask("/api/generate", {**body, "prompt": "What is wet?"})
        self.assertEqual((told["thinking"].strip(), told["response"]), ("It is wet.", "The sea."))
        self.assertIn("thinking", self.ask("/api/show", {})["capabilities"])


class Calls(unittest.TestCase):
    """Two calls of a tool in one answer, which a grammar holds the model to."""
    GRAMMAR = "root ::= " + " ".join(json.dumps('<tool_call>\n{"name": "get_weather", "arguments": '
                                                '{"city": "%s"}}\n</tool_call>\n' % city)
                                     for city in ("Paris", "Rome"))
    TOOL = {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}

    def test_two_at_once(self):
        server = Server()
        self.addCleanup(server.end)
        question = user("What is the weather in Paris and Rome?")
        tools = [{"type": "function", "function": self.TOOL}]
        more = {"grammar": self.GRAMMAR, "temperature": 0}
        answer = server.chat([question], tools=tools, max_tokens=120, **more)
        message = answer["choices"][0]["message"]
        cities = [json.loads(call["function"]["arguments"]) for call in message["tool_calls"]]
        self.assertEqual(cities, [{"city": "Paris"}, {"city": "Rome"}])
        events = server.stream("/v1/chat/completions", {
            "messages": [question], "tools": tools, "max_tokens": 120, **more})
        calls = [call for event in events
                 for call in event["choices"][0]["delta"].get("tool_calls", [])]
        self.assertEqual(sorted({call["index"] for call in calls}), [0, 1])
        self.assertEqual(["".join(call["function"].get("arguments", "") for call in calls
                                  if call["index"] == i) for i in (0, 1)],
                         [call["function"]["arguments"] for call in message["tool_calls"]])
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "rain"}
                   for call in message["tool_calls"]]
        after = server.chat([question, message, *results], tools=tools, max_tokens=4)
        self.assertGreaterEqual(cached(after), answer["usage"]["total_tokens"] - 2)

        status, told = server.ask("/v1/responses", {
            "input": question["content"], "tools": [{"type": "function", **self.TOOL}],
            "max_output_tokens": 120, **more})
        self.assertEqual([(i["type"], json.loads(i["arguments"])["city"]) for i in told["output"]],
                         [("function_call", "Paris"), ("function_call", "Rome")])
        self.assertEqual(len({i["call_id"] for i in told["output"]}), 2)
        after = server.ask("/v1/responses", {
            "previous_response_id": told["id"], "max_output_tokens": 4, "input": [
                {"type": "function_call_output", "call_id": i["call_id"], "output": "rain"}
                for i in told["output"]], "tools": [{"type": "function", **self.TOOL}]})[1]
        self.assertGreaterEqual(after["usage"]["input_tokens_details"]["cached_tokens"],
                                told["usage"]["total_tokens"] - 2)

        told = server.ask("/api/chat", {"messages": [question], "tools": tools, "stream": False,
                                        "options": {"num_predict": 120, **more}})[1]
        self.assertEqual([c["function"]["arguments"] for c in told["message"]["tool_calls"]], cities)


class Encoder(unittest.TestCase):
    def test_all_routes(self):
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            path = os.path.join(place, "bert.gguf")
            subprocess.run([os.path.join(BUILD, "tests", "write_model"), path, "bert"], check=True)
            server = Server("--model", "bert=" + path)
            self.addCleanup(server.end)
            row = server.ask("/v1/embeddings", {"model": "bert", "input": "a cat"})
            self.assertEqual(row[0], 200)
            self.assertEqual(server.ask("/api/embed", {"model": "bert", "input": "a cat"})[1]
                             ["embeddings"][0], row[1]["data"][0]["embedding"])
            self.assertEqual(server.ask("/api/show", {"model": "bert"})[1]["capabilities"],
                             ["embedding"])
            for path, body in (("/v1/chat/completions", {"messages": [user("x")]}),
                               ("/v1/completions", {"prompt": "x"}),
                               ("/v1/responses", {"input": "x"}),
                               ("/v1/messages", {"messages": [user("x")], "max_tokens": 3}),
                               ("/completion", {"prompt": "x"}),
                               ("/api/chat", {"messages": [user("x")]}),
                               ("/api/generate", {"prompt": "x", "raw": True})):
                status, answer = server.ask(path, {"model": "bert", **body})
                self.assertEqual(status, 400, (path, answer))
                self.assertRegex(json.dumps(answer), "embeddings|chat template")


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        print("the default model is not there: run `make model`")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
