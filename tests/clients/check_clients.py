#!/usr/bin/env python3
"""driftwood serve with the makers' own client libraries: openai and anthropic, as deps/clients.txt has them.

usage: check_clients.py BUILD_DIR MODEL
"""
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

import anthropic
import openai

BUILD, MODEL = sys.argv[1:3]
PROGRAM = os.path.join(BUILD, "driftwood")
TOOL = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"], "additionalProperties": False}
STORY = ("The lighthouse keeper counted the boats at dusk, as he had done for thirty years. "
         "There were eleven in the morning, and nine had come home. ") * 8


def user(text):
    return {"role": "user", "content": text}


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory(prefix="dw-clients-")
        cls.server = subprocess.Popen(
            [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--state", cls.place.name, "--model",
             "small=" + MODEL, "--heartbeat", "0.1"], stdout=subprocess.PIPE, text=True)
        cls.url = cls.server.stdout.readline().split()[-1]

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        assert cls.server.wait(60) == 0
        cls.server.stdout.close()
        cls.place.cleanup()

    def overview(self):
        told = subprocess.run([PROGRAM, "top", "--once", "--json", "--control",
                               os.path.join(self.place.name, "control")], capture_output=True,
                              text=True, check=True)
        return json.loads(told.stdout)

    def stops(self):
        """Its client has gone: the device does nothing more but the step under way."""
        first = self.overview()
        deadline = time.monotonic() + 60
        while (last := self.overview())["runtime"]["working"] > 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertLessEqual(last["scheduler"]["steps"] - first["scheduler"]["steps"], 4)
        self.assertEqual(self.overview()["scheduler"]["steps"], last["scheduler"]["steps"])


class OpenAI(Case):
    def setUp(self):
        self.client = openai.OpenAI(base_url=self.url + "/v1", api_key="any", max_retries=0)
        self.addCleanup(self.client.close)

    def chat(self, messages, **more):
        return self.client.chat.completions.create(**{
            "model": "small", "messages": messages, "temperature": 0, "max_tokens": 16, **more})

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["small"])
        self.assertEqual(self.client.models.retrieve("small").object, "model")

    def test_chat_goes_on(self):
        messages = [user(STORY + "Sum up.")]
        for turn in range(3):
            answer = self.chat(messages)
            cached = answer.usage.prompt_tokens_details.cached_tokens
            if turn > 0:
                self.assertGreater(cached, answer.usage.prompt_tokens - 24)
            messages += [answer.choices[0].message, user("And then?")]

    def test_stream(self):
        whole = self.chat([user("Name three rivers.")])
        pieces, usage = [], None
        for chunk in self.chat([user("Name three rivers.")], stream=True,
                               stream_options={"include_usage": True}):
            if chunk.choices:
                pieces.append(chunk.choices[0].delta.content or "")
            usage = chunk.usage or usage
        self.assertEqual("".join(pieces), whole.choices[0].message.content)
        self.assertEqual(usage.completion_tokens, whole.usage.completion_tokens)
        more = {"max_tokens": 64, "stop": ["."]}
        whole = self.chat([user("Name three rivers.")], **more)
        with self.client.chat.completions.stream(model="small", temperature=0, **more,
                                                 messages=[user("Name three rivers.")]) as stream:
            for _ in stream:
                pass
            self.assertEqual(stream.get_final_completion().choices[0].message.content,
                             whole.choices[0].message.content)

    def test_tools(self):
        tools = [{"type": "function", "function": {"name": "get_weather", "strict": True,
                                                   "parameters": TOOL}}]
        messages = [user("What is the weather in Paris?")]
        with self.client.chat.completions.stream(
                model="small", temperature=0, max_tokens=128, messages=messages, tools=tools,
                tool_choice="required", parallel_tool_calls=False) as stream:
            for _ in stream:
                pass
            message = stream.get_final_completion().choices[0].message
        call = message.tool_calls[0]
        self.assertEqual(list(json.loads(call.function.arguments)), ["city"])
        messages += [message.model_dump(exclude={"parsed"}),
                     {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
        self.assertTrue(self.chat(messages, tools=tools).choices[0].message.content)

    def test_schema(self):
        import pydantic

        class Tree(pydantic.BaseModel):
            name: str = pydantic.Field(max_length=12)
            height: int

        answer = self.client.chat.completions.parse(
            model="small", temperature=0, max_tokens=64, messages=[user("Describe a tree.")],
            response_format=Tree)
        self.assertIsInstance(answer.choices[0].message.parsed, Tree)

    def test_probabilities(self):
        answer = self.chat([user("Say yes.")], logprobs=True, top_logprobs=2, max_tokens=4)
        for token in answer.choices[0].logprobs.content:
            self.assertEqual(len(token.top_logprobs), 2)
            self.assertEqual(token.top_logprobs[0].token, token.token)

    def test_texts_and_embeddings(self):
        text = self.client.completions.create(model="small", prompt="The sea is", max_tokens=4,
                                              temperature=0).choices[0].text
        self.assertTrue(text)
        coded = self.client.embeddings.create(model="small", input=["a cat", "a dog"])
        plain = self.client.embeddings.create(model="small", input="a cat",
                                              encoding_format="float")
        self.assertEqual(coded.data[0].embedding, plain.data[0].embedding)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat([user("x")], temperature=-1)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.chat([user("x")], model="large")
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_a_stream_that_is_left(self):
        stream = self.chat([user("Write a long story.")], stream=True, max_tokens=4000)
        for _ in range(5):
            next(iter(stream))
        stream.close()
        self.stops()

    def test_responses(self):
        first = self.respond("Name a sea.")
        second = self.respond("And another?", previous_response_id=first.id)
        self.assertGreaterEqual(second.usage.input_tokens_details.cached_tokens,
                                first.usage.total_tokens - 2)
        self.assertEqual(self.client.responses.retrieve(first.id).output_text, first.output_text)
        self.assertEqual([item.type for item in self.client.responses.input_items.list(first.id)],
                         ["message"])
        with self.client.responses.stream(model="small", input="Name a sea.", temperature=0,
                                          max_output_tokens=16) as stream:
            events = list(stream)
            self.assertEqual(events[-1].response.output_text, first.output_text)
        self.assertEqual([event.sequence_number for event in events],
                         sorted(event.sequence_number for event in events))
        self.client.responses.delete(first.id)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.retrieve(first.id)

    def respond(self, said, **more):
        return self.client.responses.create(**{"model": "small", "input": said, "temperature": 0,
                                               "max_output_tokens": 16, **more})

    def test_responses_with_tools(self):
        tools = [{"type": "function", "name": "get_weather", "strict": True, "parameters": TOOL}]
        first = self.respond("What is the weather in Paris?", tools=tools, tool_choice="required",
                             parallel_tool_calls=False, max_output_tokens=128)
        call = first.output[-1]
        self.assertEqual(list(json.loads(call.arguments)), ["city"])
        after = self.respond([{"type": "function_call_output", "call_id": call.call_id,
                               "output": "rain"}], previous_response_id=first.id, tools=tools,
                             tool_choice="none")
        self.assertTrue(after.output_text)

    def test_responses_of_a_schema(self):
        import pydantic

        class Tree(pydantic.BaseModel):
            name: str = pydantic.Field(max_length=12)
            height: int

        answer = self.client.responses.parse(model="small", input="Describe a tree.",
                                             temperature=0, max_output_tokens=64, text_format=Tree)
        self.assertIsInstance(answer.output_parsed, Tree)

    def test_count_of_a_response(self):
        told = self.client.responses.input_tokens.count(model="small", input="Name a sea.")
        self.assertEqual(told.input_tokens, self.respond("Name a sea.").usage.input_tokens)

    def test_conversations(self):
        made = self.client.conversations.create(items=[user("My name is Ann.")])
        self.respond("Hello.", conversation=made.id)
        kinds = [item.type for item in self.client.conversations.items.list(made.id)]
        self.assertEqual(kinds, ["message"] * 3)
        self.assertTrue(self.client.conversations.delete(made.id).deleted)

    def test_in_the_background(self):
        stream = self.respond("Count to a hundred.", background=True, stream=True)
        seen = [next(iter(stream)) for _ in range(8)]
        stream.close()
        rest = list(self.client.responses.retrieve(
            seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number))
        self.assertEqual([event.sequence_number for event in seen + rest],
                         list(range(len(seen + rest))))
        long = self.respond("Write a long story.", background=True, max_output_tokens=4000)
        self.assertEqual(self.client.responses.cancel(long.id).status, "cancelled")
        self.stops()

    def test_two_calls_at_once(self):
        """A model's two calls, and both results, go on from what is held."""
        tools = [{"type": "function", "function": {"name": "get_weather", "strict": True,
                                                   "parameters": TOOL}}]
        messages = [user("What is the weather in Paris and Rome?"), {
            "role": "assistant", "content": None, "tool_calls": [
                {"id": f"call_{city}", "type": "function", "function": {
                    "name": "get_weather", "arguments": json.dumps({"city": city})}}
                for city in ("Paris", "Rome")]},
            {"role": "tool", "tool_call_id": "call_Paris", "content": "rain"},
            {"role": "tool", "tool_call_id": "call_Rome", "content": "sun"}]
        answer = self.chat(messages, tools=tools, tool_choice="none")
        again = self.chat([*messages, answer.choices[0].message, user("And?")], tools=tools,
                          tool_choice="none")
        self.assertGreaterEqual(again.usage.prompt_tokens_details.cached_tokens,
                                answer.usage.total_tokens - 2)


class Anthropic(Case):
    def setUp(self):
        self.client = anthropic.Anthropic(base_url=self.url, api_key="any", max_retries=0)
        self.addCleanup(self.client.close)
        self.more = {"model": "small", "max_tokens": 16, "extra_body": {"temperature": 0}}

    def test_a_conversation_whose_first_line_changes(self):
        messages = [user(STORY + "Sum up.")]
        for turn in range(3):
            answer = self.client.messages.create(messages=messages, system=[
                {"type": "text", "text": f"x-anthropic-billing-header: cch={turn};"},
                {"type": "text", "text": "You are brief.",
                 "cache_control": {"type": "ephemeral"}}], **self.more)
            if turn > 0:
                self.assertLess(answer.usage.input_tokens, 24)
            messages += [{"role": "assistant", "content": answer.content}, user("And then?")]
        count = self.client.messages.count_tokens(model="small", messages=messages)
        self.assertGreater(count.input_tokens, 200)

    def test_stream(self):
        whole = self.client.messages.create(messages=[user("Name three rivers.")], **self.more)
        with self.client.messages.stream(messages=[user("Name three rivers.")],
                                         **self.more) as stream:
            text = "".join(stream.text_stream)
            last = stream.get_final_message()
        self.assertEqual(text, whole.content[0].text)
        self.assertEqual((last.stop_reason, last.usage.output_tokens),
                         (whole.stop_reason, whole.usage.output_tokens))

    def test_tools(self):
        tools = [{"name": "get_weather", "description": "of a city", "input_schema": TOOL}]
        question = user("What is the weather in Paris?")
        more = {**self.more, "max_tokens": 128, "tools": tools}
        with self.client.messages.stream(messages=[question], tool_choice={"type": "any"},
                                         **more) as stream:
            answer = stream.get_final_message()
        calls = [block for block in answer.content if block.type == "tool_use"]
        self.assertEqual(list(calls[0].input), ["city"])
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
                   for call in calls]
        last = self.client.messages.create(messages=[
            question, {"role": "assistant", "content": answer.content},
            {"role": "user", "content": results}], **more)
        self.assertTrue(last.content)

    def test_errors(self):
        with self.assertRaises(anthropic.NotFoundError):
            self.client.messages.create(messages=[user("x")], **{**self.more, "model": "large"})
        with self.assertRaises(anthropic.BadRequestError):
            self.client.messages.create(messages=[], **self.more)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
