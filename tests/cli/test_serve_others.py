#!/usr/bin/env python3
"""driftwood serve: the routes of llama.cpp's server and of Ollama.

Called by ctest with the source and the build folder.
"""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import MODEL, STORY, Server, text_of, user  # noqa: E402

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "weather",
                                         "parameters": {
                                             "type": "object",
                                             "properties": {"city": {"type": "string",
                                                                     "maxLength": 12}},
                                             "required": ["city"],
                                             "additionalProperties": False}}}
SCHEMA = {"type": "object", "properties": {"tree": {"type": "string", "maxLength": 12},
                                           "height": {"type": "integer"}},
          "required": ["tree", "height"], "additionalProperties": False}


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors

    def ask(self, path, body=None, status=200, method=None):
        got, answer = self.server.ask(path, body, method)
        self.assertEqual(got, status, answer)
        return answer

    def lines(self, path, body, kind, prefix=""):
        connection = self.server.connect()
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        self.assertEqual((answer.status, answer.getheader("Content-Type").split(";")[0]),
                         (200, kind), text)
        return [json.loads(line[len(prefix):]) for line in text.split("\n") if line]


class Llama(Case):
    def complete(self, status=200, **body):
        return self.ask("/completion", {"prompt": "The sea is", "temperature": 0, "n_predict": 8,
                                        **body}, status)

    def test_completion(self):
        plain = self.ask("/v1/completions", {"prompt": "The sea is", "temperature": 0,
                                             "max_tokens": 8})
        answer = self.complete(cache_prompt=True)
        self.assertEqual(answer["content"], plain["choices"][0]["text"])
        self.assertEqual((answer["stop"], answer["stop_type"], answer["tokens_predicted"],
                          answer["tokens_evaluated"]),
                         (True, "limit", 8, plain["usage"]["prompt_tokens"]))
        self.assertEqual(answer["prompt"], "The sea is")
        timings = answer["timings"]
        self.assertEqual(timings["predicted_n"], 8)
        self.assertEqual(timings["prompt_n"] + timings["cache_n"], answer["tokens_evaluated"])
        self.assertGreater(timings["predicted_per_second"], 0)
        word = answer["content"].split()[1]
        cut = self.complete(stop=[" " + word])
        self.assertEqual((cut["content"], cut["stop_type"], cut["stopping_word"]),
                         (answer["content"].split(" " + word)[0], "word", " " + word))
        tokens = self.ask("/tokenize", {"content": "The sea is"})["tokens"]
        self.assertEqual(self.complete(prompt=tokens)["content"], answer["content"])
        both = self.complete(prompt=["The sea is", "The sky is"])
        self.assertEqual([one["index"] for one in both], [0, 1])
        self.assertEqual(both[0]["content"], answer["content"])
        none = self.complete(n_predict=0)
        self.assertEqual((none["content"], none["tokens_predicted"]), ("", 0))

    def test_stream(self):
        whole = self.complete()
        events = self.lines("/completion", {"prompt": "The sea is", "temperature": 0,
                                            "n_predict": 8, "stream": True},
                            "text/event-stream", "data: ")
        self.assertEqual("".join(e["content"] for e in events), whole["content"])
        self.assertEqual([e["stop"] for e in events], [False] * (len(events) - 1) + [True])
        self.assertEqual(events[-1]["tokens_predicted"], 8)

    def test_form_and_probabilities(self):
        self.assertEqual(self.complete(grammar='root ::= " blue" | " red"')["content"].strip() in
                         ("blue", "red"), True)
        value = json.loads(self.complete(json_schema=SCHEMA, n_predict=60)["content"])
        self.assertEqual(sorted(value), ["height", "tree"])
        answer = self.complete(n_probs=3)
        told = answer["completion_probabilities"]
        self.assertEqual("".join(t["token"] for t in told), answer["content"])
        self.assertEqual({len(t["top_logprobs"]) for t in told}, {3})

    def test_refused(self):
        for body, param in (({"prompt": 5}, "prompt"), ({"prompt": []}, "prompt"),
                            ({"prompt": ["a", {}]}, "prompt"), ({"n_predict": -9}, "n_predict"),
                            ({"n_probs": 99}, "n_probs"), ({"stop": 5}, "stop"),
                            ({"prompt": "word " * 9000}, "prompt")):
            self.assertEqual(self.complete(400, **body)["error"]["param"], param)
        self.assertIn("grammar", self.complete(400, grammar="root = 5")["error"]["message"])
        self.assertEqual(self.complete(404, model="large")["error"]["param"], "model")

    def test_props_and_slots(self):
        props = self.ask("/props")
        self.assertIn("<|im_start|>", props["chat_template"])
        self.assertEqual(props["eos_token"], "<|im_end|>")
        self.assertGreater(props["default_generation_settings"]["n_ctx"], 100)
        self.assertEqual(self.ask("/props?model=large", status=404)["error"]["code"], None)
        self.assertEqual([slot["is_processing"] for slot in self.ask("/slots")], [False])


class Ollama(Case):
    def chat(self, messages, status=200, **more):
        return self.ask("/api/chat", {"model": "small:latest", "messages": messages,
                                      "stream": False, "options": {
                                          "temperature": 0, "num_predict": 12}, **more}, status)

    def test_chat(self):
        answer = self.chat([user("Name three trees.")], keep_alive="5m")
        chat = self.server.chat([user("Name three trees.")], max_tokens=12)
        self.assertEqual(answer["message"], {"role": "assistant", "content": text_of(chat)})
        self.assertEqual((answer["model"], answer["done"], answer["done_reason"],
                          answer["eval_count"], answer["prompt_eval_count"]),
                         ("small", True, "length", 12, chat["usage"]["prompt_tokens"]))
        durations = [answer[k + "_duration"] for k in ("load", "prompt_eval", "eval", "total")]
        self.assertTrue(all(d >= 0 for d in durations) and
                        sum(durations[:3]) <= durations[3] * 1.01, durations)
        lines = self.lines("/api/chat", {"model": "small", "messages": [user("Name three trees.")],
                                         "options": {"temperature": 0, "num_predict": 12}},
                           "application/x-ndjson")
        self.assertEqual("".join(line["message"]["content"] for line in lines), text_of(chat))
        self.assertEqual([line["done"] for line in lines], [False] * (len(lines) - 1) + [True])
        self.assertEqual(lines[-1]["eval_count"], 12)

    def test_form_and_probabilities(self):
        value = json.loads(self.chat([user("Describe a tree.")], format=SCHEMA, options={
            "temperature": 0, "num_predict": 80})["message"]["content"])
        self.assertEqual(sorted(value), ["height", "tree"])
        answer = self.chat([user("Say yes.")], logprobs=True, top_logprobs=2)
        self.assertEqual("".join(t["token"] for t in answer["logprobs"]),
                         answer["message"]["content"])
        self.assertEqual({len(t["top_logprobs"]) for t in answer["logprobs"]}, {2})

    def test_tools(self):
        messages = [user("What is the weather in Paris?")]
        schema = {"type": "object", "properties": {
            "city": {"enum": ["Paris"]}}, "required": ["city"], "additionalProperties": False}
        answer = self.chat(messages, tools=[TOOL], format=schema,
                           options={"temperature": 0, "num_predict": 128})
        self.assertEqual(json.loads(answer["message"]["content"]), {"city": "Paris"})
        call = {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
        messages += [{"role": "assistant", "content": "", "tool_calls": [call, call]},
                     {"role": "tool", "tool_name": "get_weather", "content": "rain"},
                     {"role": "tool", "tool_name": "get_weather", "content": "sun"}]
        self.assertTrue(self.chat(messages, tools=[TOOL])["message"]["content"])
        call["function"]["arguments"] = '{"city": "Paris"}'  # as OpenAI's clients have them
        self.assertTrue(self.chat(messages, tools=[TOOL])["message"]["content"])
        for text, words in (('{"city": ' + "[" * 300 + "]" * 300 + "}", "more than 256 levels"),
                            ('{"city": 1, "city": 2}', "duplicate"), ("Paris", "function.arguments is not JSON")):
            call["function"]["arguments"] = text
            status, told = self.server.ask("/api/chat", {"model": "small", "messages": messages})
            self.assertEqual(status, 400, told)
            self.assertIn(words, told["error"])

    def test_generate(self):
        body = {"model": "small", "prompt": "Name three trees.", "stream": False,
                "options": {"temperature": 0, "num_predict": 12}}
        chat = self.server.chat([{"role": "system", "content": "Be brief."},
                                 user("Name three trees.")], max_tokens=12)
        answer = self.ask("/api/generate", {**body, "system": "Be brief."})
        self.assertEqual((answer["response"], answer["done"]), (text_of(chat), True))
        raw = self.ask("/api/generate", {**body, "raw": True, "prompt": "The sea is"})
        plain = self.ask("/v1/completions", {"prompt": "The sea is", "temperature": 0,
                                             "max_tokens": 12})
        self.assertEqual(raw["response"], plain["choices"][0]["text"])
        lines = self.lines("/api/generate", {**body, "stream": True, "raw": True,
                                             "prompt": "The sea is"}, "application/x-ndjson")
        self.assertEqual("".join(line["response"] for line in lines), raw["response"])
        loaded = self.ask("/api/generate", {"model": "small", "stream": False})
        self.assertEqual((loaded["response"], loaded["done_reason"]), ("", "load"))

    def test_models(self):
        tags = self.ask("/api/tags")["models"]
        self.assertEqual([m["name"] for m in tags], ["small:latest"])
        self.chat([user("Hi")])
        shown = self.ask("/api/show", {"model": "small"})
        self.assertEqual(shown["capabilities"], ["completion", "tools"])
        self.assertEqual(shown["model_info"]["general.architecture"], "llama")
        self.assertGreater(shown["model_info"]["llama.context_length"], 100)
        running = self.ask("/api/ps")["models"][0]
        self.assertEqual((running["name"], len(running["digest"])), ("small:latest", 64))
        self.assertRegex(self.ask("/api/version")["version"], r"^\d+\.\d+\.\d+$")

    def test_embed(self):
        one = self.ask("/v1/embeddings", {"input": "a cat"})["data"][0]["embedding"]
        answer = self.ask("/api/embed", {"model": "small", "input": ["a cat", "a dog"]})
        self.assertEqual((answer["embeddings"][0], len(answer["embeddings"])), (one, 2))
        self.assertGreater(answer["prompt_eval_count"], 3)
        self.assertEqual(self.ask("/api/embeddings", {"model": "small", "prompt": "a cat"}),
                         {"embedding": one})

    def test_refused(self):
        for path, body, status, word in (
                ("/api/chat", {"model": "large", "messages": [user("x")]}, 404, "large"),
                ("/api/chat", {"messages": [{"role": "king", "content": "x"}]}, 400, "king"),
                ("/api/chat", {"messages": [{**user("x"), "images": ["aa"]}]}, 400, "images"),
                ("/api/chat", {"messages": [user("x")], "format": "xml"}, 400, "format"),
                ("/api/chat", {"messages": [user("x")], "options": {"top_p": 7}}, 400, "top_p"),
                ("/api/chat", {"messages": [user("x")], "think": 3}, 400, "think"),
                ("/api/chat", {"messages": [user("word " * 9000)]}, 400, "context"),
                ("/api/generate", {"prompt": "x", "suffix": "y"}, 400, "suffix"),
                ("/api/generate", {"prompt": "x", "context": [1]}, 400, "context"),
                ("/api/embed", {"input": [""]}, 400, "input"),
                ("/api/pull", {"model": "x"}, 501, "/api/pull"),
                ("/api/show", {"model": "large"}, 404, "large")):
            error = self.ask(path, body, status)
            self.assertIn(word, error["error"], path)
        self.assertIn("delete", self.ask("/api/delete", {"model": "x"}, 501, "DELETE")["error"])


class Heartbeat(unittest.TestCase):
    """A stream's client sees that somebody is there while a model is loaded, a long prompt read."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--heartbeat", "0.01")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors

    def stream(self, path, body, prompt):
        """-> the bytes of the answer"""
        chat = {"messages": [user(prompt)], "max_tokens": 3, "options": {"num_predict": 3}}
        body = {**(chat if body is None else body), "stream": True}
        status, _, data = self.server.request("POST", path, json.dumps(body))
        self.assertEqual(status, 200, data)
        return data.decode()

    def events(self, text):
        """-> types of events, and how many comments stand before the first"""
        lines = text.split("\n")
        kinds = [json.loads(line[6:]).get("type") for line in lines if line.startswith("data: {")]
        before = text[:text.index("data: ")]
        self.assertEqual(set(line for line in lines if line.startswith(":")), {": working"})
        return kinds, before.count(": working")

    def test_events(self):
        for i, (path, name) in enumerate((("/v1/chat/completions", None), ("/v1/messages", None),
                                          ("/v1/responses", "input"), ("/v1/completions", "prompt"),
                                          ("/completion", "prompt"))):
            prompt = f"{i}. " + STORY
            body = None if name is None else {name: prompt, "max_tokens": 16, "n_predict": 3,
                                              "max_output_tokens": 16}
            text = self.stream(path, body, prompt)
            self.assertTrue(": working\n\n" in text or '"type":"ping"' in text, (path, text[:200]))

    def test_lines(self):
        for i, path in enumerate(("/api/chat", "/api/generate")):
            prompt = f"{i}, again. " + STORY
            text = self.stream(path, {"prompt": prompt, "options": {"num_predict": 3}}
                               if path == "/api/generate" else None, prompt)
            self.assertEqual(text[0], " ")
            lines = [json.loads(line) for line in text.split("\n") if line]
            self.assertEqual([line["done"] for line in lines], [False] * (len(lines) - 1) + [True])
            self.assertEqual(text.count("\n"), len(lines))

    def test_what_fails_behind_it(self):
        """Its status is out: it is told as its shape has it, from its beginning on."""
        prompt = STORY * 3000
        text = self.stream("/v1/responses", {"input": prompt}, "")
        kinds, before = self.events(text)
        self.assertEqual(kinds, ["response.created", "response.failed"])
        self.assertGreater(before, 0)
        kinds, before = self.events(self.stream("/v1/messages", None, prompt))
        self.assertEqual(kinds, ["error"])
        text = self.stream("/api/chat", None, prompt)
        self.assertEqual((text[0], list(json.loads(text))), (" ", ["error"]))
        text = self.stream("/v1/completions", {"prompt": prompt}, "")
        self.assertIn("message_bytes", text[text.index("data: "):])


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        print("the default model is not there: run `make model`")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
