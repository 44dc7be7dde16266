#!/usr/bin/env python3
"""driftwood serve with clients that others wrote: ollama, litellm, LangChain's, llm, as deps/clients.txt has them.

usage: check_more_clients.py BUILD_DIR MODEL
"""
import asyncio
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LANGSMITH_TRACING", "false")
import ollama  # noqa: E402
import pydantic  # noqa: E402
from check_clients import Case, STORY, TOOL, user  # noqa: E402

FUNCTION = {"type": "function", "function": {"name": "get_weather", "description": "of a city",
                                             "parameters": TOOL}}
BOTH = [{"function": {"name": "get_weather", "arguments": {"city": city}}}
        for city in ("Paris", "Rome")]


class Tree(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=12)
    height: int


class Ollama(Case):
    def setUp(self):
        self.client = ollama.Client(host=self.url)
        self.options = {"temperature": 0, "num_predict": 16}

    def chat(self, messages, **more):
        return self.client.chat(**{"model": "small", "messages": messages, "options": self.options,
                                   **more})

    def test_chat_goes_on(self):
        messages = [user(STORY + "Sum up.")]
        for _ in range(3):
            answer = self.chat(messages)
            messages += [answer.message, user("And then?")]
        self.assertEqual((answer.done, answer.eval_count), (True, 16))
        self.assertGreater(answer.total_duration, answer.eval_duration)

    def test_stream(self):
        whole = self.chat([user("Name three rivers.")])
        parts = list(self.chat([user("Name three rivers.")], stream=True))
        self.assertEqual("".join(p.message.content for p in parts), whole.message.content)
        self.assertEqual([p.done for p in parts][-2:], [False, True])

        async def later():
            client = ollama.AsyncClient(host=self.url)
            return (await client.chat(model="small", messages=[user("Name three rivers.")],
                                      options=self.options)).message.content
        self.assertEqual(asyncio.run(later()), whole.message.content)

    def test_tools(self):
        question = user("What is the weather in Paris and in Rome?")
        answer = self.chat([question], tools=[FUNCTION], options={"temperature": 0,
                                                                  "num_predict": 64})
        self.assertTrue(answer.message.content or answer.message.tool_calls)
        after = self.chat([question, {"role": "assistant", "content": "", "tool_calls": BOTH},
                           {"role": "tool", "tool_name": "get_weather", "content": "rain"},
                           {"role": "tool", "tool_name": "get_weather", "content": "sun"}],
                          tools=[FUNCTION])
        self.assertTrue(after.message.content)

    def test_schema_and_probabilities(self):
        answer = self.chat([user("Describe a tree.")], format=Tree.model_json_schema(),
                           options={"temperature": 0, "num_predict": 80})
        Tree.model_validate_json(answer.message.content)
        answer = self.chat([user("Say yes.")], logprobs=True, top_logprobs=2)
        self.assertEqual(len(answer.logprobs[0].top_logprobs), 2)

    def test_generate_and_embed(self):
        answer = self.client.generate(model="small", prompt="Name a tree.", options=self.options)
        self.assertTrue(answer.response)
        rows = self.client.embed(model="small", input=["a cat", "a dog"]).embeddings
        self.assertEqual(rows[0], self.client.embeddings(model="small", prompt="a cat").embedding)

    def test_models(self):
        self.assertEqual([m.model for m in self.client.list().models], ["small:latest"])
        self.assertIn("completion", self.client.show("small").capabilities)
        self.assertEqual([m.model for m in self.client.ps().models], ["small:latest"])

    def test_errors(self):
        with self.assertRaises(ollama.ResponseError) as caught:
            self.client.chat(model="large", messages=[user("x")])
        self.assertEqual(caught.exception.status_code, 404)
        with self.assertRaises(ollama.ResponseError):
            self.client.delete("small")

    def test_a_stream_that_is_left(self):
        stream = self.chat([user("Write a long story.")], stream=True,
                           options={"num_predict": 4000})
        for _ in range(5):
            next(stream)
        stream.close()
        self.stops()


class LiteLLM(Case):
    def setUp(self):
        import litellm
        litellm.telemetry = False
        self.complete = lambda **more: litellm.completion(**{
            "model": "openai/small", "api_base": self.url + "/v1", "api_key": "any",
            "messages": [user("Name three rivers.")], "max_tokens": 16, "temperature": 0, **more})
        self.litellm = litellm

    def test_each_maker(self):
        text = self.complete().choices[0].message.content
        self.assertTrue(text)
        self.assertEqual(self.complete(model="anthropic/small", api_base=self.url)
                         .choices[0].message.content, text)
        self.assertEqual(self.complete(model="ollama_chat/small", api_base=self.url)
                         .choices[0].message.content, text)
        streamed = "".join(chunk.choices[0].delta.content or ""
                           for chunk in self.complete(stream=True))
        self.assertEqual(streamed, text)

    def test_tools_and_schema(self):
        answer = self.complete(messages=[user("What is the weather in Paris?")], tools=[FUNCTION],
                               tool_choice="required", max_tokens=128, parallel_tool_calls=False)
        call = answer.choices[0].message.tool_calls[0]
        self.assertEqual(list(json.loads(call.function.arguments)), ["city"])
        answer = self.complete(messages=[user("Describe a tree.")], response_format=Tree,
                               max_tokens=64)
        Tree.model_validate_json(answer.choices[0].message.content)

    def test_others(self):
        answer = self.litellm.responses(model="openai/small", api_base=self.url + "/v1",
                                        api_key="any", input="Name a sea.", max_output_tokens=16)
        self.assertTrue(answer.output[0].content[0].text)
        rows = self.litellm.embedding(model="openai/small", api_base=self.url + "/v1",
                                      api_key="any", input=["a cat"]).data
        self.assertGreater(len(rows[0]["embedding"]), 100)
        with self.assertRaises(self.litellm.NotFoundError):
            self.complete(model="openai/large")


class LangChain(Case):
    def models(self):
        from langchain_anthropic import ChatAnthropic
        from langchain_ollama import ChatOllama
        from langchain_openai import ChatOpenAI
        yield ChatOpenAI(model="small", base_url=self.url + "/v1", api_key="any", temperature=0,
                         max_tokens=128)
        yield ChatOpenAI(model="small", base_url=self.url + "/v1", api_key="any", temperature=0,
                         max_tokens=128, use_responses_api=True)
        yield ChatAnthropic(model="small", base_url=self.url, api_key="any", max_tokens=128)
        yield ChatOllama(model="small", base_url=self.url, temperature=0, num_predict=128)

    def test_chats_and_streams(self):
        for model in self.models():
            with self.subTest(type(model).__name__):
                answer = model.invoke("Name a river.")
                self.assertTrue(answer.text)
                self.assertGreater(answer.usage_metadata["input_tokens"], 5)
                self.assertTrue("".join(piece.text for piece in model.stream("Name a river.")))

    def test_tools(self):
        for model in self.models():
            with self.subTest(type(model).__name__):
                bound = model.bind_tools([FUNCTION] if "Anthropic" not in type(model).__name__ else
                                         [{"name": "get_weather", "description": "of a city",
                                           "input_schema": TOOL}], tool_choice="any")
                answer = bound.invoke("What is the weather in Paris?")
                if "Ollama" not in type(model).__name__:  # which has no choice of tools
                    self.assertEqual(list(answer.tool_calls[0]["args"]), ["city"])

    def test_schema(self):
        for model in self.models():
            with self.subTest(type(model).__name__):
                method = {} if "Anthropic" in type(model).__name__ else {"method": "json_schema"}
                told = model.with_structured_output(Tree, **method).invoke("Describe a tree.")
                self.assertIsInstance(told, Tree)


class Llm(Case):
    def test_prompt(self):
        with open(os.path.join(self.place.name, "extra-openai-models.yaml"), "w") as file:
            file.write(f"- model_id: small\n  model_name: small\n  api_base: {self.url}/v1\n")
        told = subprocess.run([sys.executable, "-m", "llm", "prompt", "-m", "small", "-o",
                               "max_tokens", "16", "--key", "any", "--no-log", "Name a river."],
                              env=dict(os.environ, LLM_USER_PATH=self.place.name),
                              capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertTrue(told.stdout.strip())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
