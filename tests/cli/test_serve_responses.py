#!/usr/bin/env python3
"""driftwood serve: OpenAI's responses and conversations, kept and gone on from.

Called by ctest with the source and the build folder.
"""
import contextlib
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import MODEL, STORY, Server, user  # noqa: E402

TOOL = {"type": "function", "name": "get_weather", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"], "additionalProperties": False}}


def text_of(response):
    return "".join(part["text"] for item in response["output"] if item["type"] == "message"
                   for part in item["content"])


def cached(response):
    return response["usage"]["input_tokens_details"]["cached_tokens"]


class Asking(unittest.TestCase):
    def ask(self, body, status=200, path="/v1/responses"):
        got, answer = self.server.ask(path, {"model": "small", "temperature": 0,
                                             "max_output_tokens": 12, **body})
        self.assertEqual(got, status, answer)
        return answer

    def events(self, body=None, path="/v1/responses", method="POST", headers=None):
        connection = self.server.connect()
        connection.request(method, path, json.dumps({
            "model": "small", "temperature": 0, "max_output_tokens": 12, "stream": True,
            **body}) if body else None, headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        self.assertEqual(answer.status, 200, text)
        events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")]
        types = [line[7:] for line in text.split("\n") if line.startswith("event: ")]
        self.assertEqual(types, [e["type"] for e in events])
        return events


class Responses(Asking):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors

    def refused(self, body, status, param, word):
        error = self.ask(body, status)["error"]
        self.assertEqual(error["param"], param, error)
        self.assertIn(word, error["message"])

    def test_says_what_a_chat_says(self):
        answer = self.ask({"input": "Name three trees.", "instructions": "Be brief."})
        chat = self.server.chat([{"role": "system", "content": "Be brief."},
                                 user("Name three trees.")], max_tokens=12)
        self.assertEqual(text_of(answer), chat["choices"][0]["message"]["content"])
        self.assertEqual((answer["object"], answer["status"], answer["incomplete_details"]),
                         ("response", "incomplete", {"reason": "max_output_tokens"}))
        self.assertEqual(answer["usage"]["total_tokens"], answer["usage"]["input_tokens"] + 12)
        again = self.ask({"instructions": "Be brief.", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Name three trees."}]}]})
        self.assertEqual(text_of(again), text_of(answer))
        split = self.ask({"input": [{"role": "developer", "content": "Be"}, user("Hi")],
                          "instructions": "Please"})
        chat = self.server.chat([{"role": "system", "content": "Please\n\nBe"}, user("Hi")],
                                max_tokens=12)
        self.assertEqual(text_of(split), chat["choices"][0]["message"]["content"])

    def test_references(self):
        """Clients that send all of a conversation refer to what was answered by its id, whoever answers it."""
        first = self.ask({"input": "Name three trees."})
        said = first["output"][0]
        refer = {"type": "item_reference", "id": said["id"]}
        whole = self.ask({"input": [user("Name three trees."), said, user("And two more.")]})
        again = self.ask({"input": [user("Name three trees."), refer, user("And two more.")]})
        self.assertEqual(text_of(again), text_of(whole))
        self.assertGreaterEqual(cached(again), first["usage"]["total_tokens"] - 2)
        third = self.ask({"input": [refer, user("Why?")], "background": True})
        self.assertIn(third["status"], ("queued", "in_progress", "incomplete", "completed"))
        self.server.ask("/v1/responses/" + first["id"], method="DELETE")
        self.refused({"input": [refer, user("x")]}, 404, "input", said["id"])
        unkept = self.ask({"input": "Name a sea.", "store": False})["output"][0]["id"]
        self.refused({"input": [{**refer, "id": unkept}, user("x")]}, 404, "input", unkept)

    def test_references_without_measure(self):
        """An item is referred to once, and items are counted before any is looked up."""
        said = self.ask({"input": "Name three trees."})["output"][0]
        refer = {"type": "item_reference", "id": said["id"]}
        self.refused({"input": [refer, user("x"), refer]}, 400, "input", "input[2]: item '" + said["id"])
        many = [{**refer, "id": f"msg_{i}"} for i in range(65537)]
        for more in ({}, {"background": True}):
            self.refused({"input": many, **more}, 400, "input", "65537 items, limit 65536")
        self.refused({"input": many[1:]}, 404, "input", "msg_1'")
        self.refused({"input": [{"role": "user", "content": "x"}] * 65537}, 400, "input", "65537 items, limit 65536")

    def test_references_to_what_it_goes_on_from(self):
        first = self.ask({"input": "Name three trees."})
        refer = {"type": "item_reference", "id": first["output"][0]["id"]}
        both = {"previous_response_id": first["id"]}
        self.assertEqual(text_of(self.ask({"input": [refer, user("Why?")], **both})),
                         text_of(self.ask({"input": [first["output"][0], user("Why?")], **both})))

    def test_count(self):
        body = {"input": "Name three trees.", "instructions": "Be brief."}
        status, told = self.server.ask("/v1/responses/input_tokens", body)
        self.assertEqual((status, told), (200, {
            "object": "response.input_tokens",
            "input_tokens": self.ask(body)["usage"]["input_tokens"]}))
        for wrong in ({"input": 5}, {"input": "x", "previous_response_id": "resp_0"}):
            self.assertEqual(self.server.ask("/v1/responses/input_tokens", wrong)[0], 400)

    def test_events(self):
        events = self.events({"input": "Name three rivers."})
        whole = self.ask({"input": "Name three rivers."})
        self.assertEqual([e["sequence_number"] for e in events], list(range(len(events))))
        kinds = [e["type"].replace("response.", "") for e in events]
        self.assertEqual(kinds[:4], ["created", "in_progress", "output_item.added",
                                     "content_part.added"])
        self.assertEqual(kinds[-4:], ["output_text.done", "content_part.done", "output_item.done",
                                      "incomplete"])
        self.assertEqual(set(kinds[4:-4]), {"output_text.delta"})
        self.assertEqual("".join(e["delta"] for e in events[4:-4]), text_of(whole))
        self.assertEqual(text_of(events[-1]["response"]), text_of(whole))
        self.assertEqual(events[-2]["item"], events[-1]["response"]["output"][0])
        self.assertEqual({e["item_id"] for e in events[3:-2]}, {events[-2]["item"]["id"]})

    def test_form_and_probabilities(self):
        schema = {"type": "object", "properties": {"tree": {"type": "string", "maxLength": 12},
                                                   "height": {"type": "integer"}},
                  "required": ["tree", "height"], "additionalProperties": False}
        answer = self.ask({"input": "Describe a tree.", "max_output_tokens": 60, "text": {
            "format": {"type": "json_schema", "name": "tree", "schema": schema}}})
        self.assertEqual(sorted(json.loads(text_of(answer))), ["height", "tree"])
        self.assertEqual(answer["status"], "completed")
        answer = self.ask({"input": "Say yes.", "top_logprobs": 2,
                           "include": ["message.output_text.logprobs"]})
        logprobs = answer["output"][0]["content"][0]["logprobs"]
        self.assertEqual("".join(t["token"] for t in logprobs), text_of(answer))
        self.assertEqual({len(t["top_logprobs"]) for t in logprobs}, {2})

    def test_tools(self):
        body = {"input": "What is the weather in Paris?", "tools": [TOOL],
                "tool_choice": "required", "max_output_tokens": 128, "parallel_tool_calls": False}
        events = self.events(body)
        answer = events[-1]["response"]
        call = answer["output"][-1]
        self.assertEqual((call["type"], call["name"]), ("function_call", "get_weather"))
        self.assertEqual(list(json.loads(call["arguments"])), ["city"])
        told = [e for e in events if e["type"].startswith("response.function_call_arguments")]
        self.assertEqual([e.get("delta", e.get("arguments")) for e in told],
                         [call["arguments"]] * 2)
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
        after = self.ask({"input": [output], "tools": [TOOL], "tool_choice": "none",
                          "previous_response_id": answer["id"]})
        self.assertGreaterEqual(cached(after),  # the call as the model wrote it, too
                                answer["usage"]["total_tokens"] - 2)
        # the same without anything that is kept: the client has all items
        again = self.ask({"input": [user("What is the weather in Paris?"), *answer["output"],
                                    output], "tools": [TOOL], "tool_choice": "none"})
        self.assertEqual(again["usage"]["input_tokens"], after["usage"]["input_tokens"])
        self.assertEqual(cached(again), again["usage"]["input_tokens"] - 1)
        hosted = self.ask({"input": "Hi", "tools": [{"type": "web_search"}]})
        self.assertEqual(text_of(hosted), text_of(self.ask({"input": "Hi"})))

    def test_tools_of_any_text(self):
        quote, = self.server.ask("/tokenize", {"content": '"'})[1]["tokens"]
        tools = [{"type": "namespace", "name": "talk", "description": "", "tools": [
            {"type": "custom", "name": "say"}]}]
        answer = self.ask({"input": "Say hello.", "max_output_tokens": 200, "tools": tools,
                           "parallel_tool_calls": False,
                           "logit_bias": {str(quote): 100},  # so that the text has an end
                           "tool_choice": {"type": "custom", "name": "say"}})
        call = answer["output"][-1]
        self.assertEqual((call["type"], call["name"], call["namespace"]),
                         ("custom_tool_call", "say", "talk"))
        self.assertIsInstance(call["input"], str)
        after = self.ask({"input": [{"type": "custom_tool_call_output", "output": "done",
                                     "call_id": call["call_id"]}],
                          "previous_response_id": answer["id"], "tools": tools,
                          "tool_choice": "none"})
        self.assertGreaterEqual(cached(after), answer["usage"]["total_tokens"] - 2)

    def test_a_text_with_a_nul(self):
        """It is told, kept, found again, and gone on from as any other."""
        call = '<tool_call>\n{"name": "say", "arguments": {"input": "a\\u0000b"}}\n</tool_call>'
        tools = [{"type": "custom", "name": "say"}]
        answer = self.ask({"input": "Say it.", "max_output_tokens": 100, "tools": tools,
                           "grammar": "root ::= " + json.dumps(call)})
        self.assertEqual(answer["output"][-1]["input"], "a\0b")
        self.assertEqual(self.server.ask("/v1/responses/" + answer["id"])[1]["output"], answer["output"])
        for given in ({"previous_response_id": answer["id"]}, {"input": [
                user("Say it."), {"type": "item_reference", "id": answer["output"][-1]["id"]}]}):
            output = {"type": "custom_tool_call_output", "output": "done", "call_id": answer["output"][-1]["call_id"]}
            after = self.ask({**given, "input": [*given.get("input", []), output], "tools": tools, "tool_choice": "none"})
            self.assertGreaterEqual(cached(after), answer["usage"]["total_tokens"] - 2)

    def test_refused(self):
        for body, status, param, word in (
                ({"input": []}, 400, "input", "nothing"),
                ({}, 400, "input", "input"),
                ({"input": [{"type": "computer_call"}]}, 400, "input", "computer_call"),
                ({"input": [{"role": "king", "content": "x"}]}, 400, "input", "king"),
                ({"input": [{"type": "function_call", "name": "a", "arguments": "{}"}]}, 400,
                 "input", "call_id"),
                ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, 400, "input",
                 "input_image"),
                ({"input": [{"type": "item_reference", "id": "msg_0"}]}, 404, "input", "msg_0"),
                ({"input": "x", "tools": [{"type": "mcp"}]}, 400, "tools", "mcp"),
                ({"input": "x", "tools": [{"type": "function"}]}, 400, "tools", "name"),
                ({"input": "x", "text": {"format": {"type": "xml"}}}, 400, "text.format", "json"),
                ({"input": "x", "max_output_tokens": 0}, 400, "max_output_tokens", "0"),
                ({"input": "x", "prompt": {"id": "p"}}, 400, "prompt", "stored"),
                ({"input": "x", "model": "large"}, 404, "model", "large"),
                ({"input": "x", "previous_response_id": "resp_0"}, 404, "previous_response_id",
                 "resp_0"),
                ({"input": "x", "conversation": "conv_0"}, 404, "conversation", "conv_0"),
                ({"input": "x", "background": True, "store": False}, 400, "background", "store"),
                ({"input": "word " * 9000}, 400, "input", "context")):
            self.refused(body, status, param, word)
        for path, method in (("/v1/responses/resp_0", "GET"), ("/v1/responses/resp_0", "DELETE"),
                             ("/v1/responses/resp_0/cancel", "POST"),
                             ("/v1/responses/resp_0/what", "GET"),
                             ("/v1/conversations/conv_0", "GET"),
                             ("/v1/conversations/conv_0/items", "GET"),
                             ("/v1/conversations/conv_0/items/msg_0", "DELETE")):
            self.assertEqual(self.server.ask(path, method=method)[0], 404, (path, method))

    def test_kept_and_deleted(self):
        gone = self.ask({"input": "Hi", "store": False})
        self.assertEqual(self.server.ask("/v1/responses/" + gone["id"])[0], 404)
        kept = self.ask({"input": "Hi", "metadata": {"a": "b"}})
        self.assertEqual(self.server.ask("/v1/responses/" + kept["id"])[1], kept)
        items = self.server.ask("/v1/responses/%s/input_items" % kept["id"])[1]["data"]
        self.assertEqual([i["content"] for i in items], [[{"type": "input_text", "text": "Hi"}]])
        self.assertEqual(self.server.ask("/v1/responses/" + kept["id"], method="DELETE"),
                         (200, {"id": kept["id"], "object": "response", "deleted": True}))
        self.assertEqual(self.server.ask("/v1/responses/" + kept["id"])[0], 404)
        self.refused({"input": "x", "previous_response_id": kept["id"]}, 404,
                     "previous_response_id", kept["id"])

    def test_conversations(self):
        made = self.server.ask("/v1/conversations", {"metadata": {"a": "b"}, "items": [
            user("My name is Ann.")]})[1]
        place = "/v1/conversations/" + made["id"]
        first = self.ask({"input": "Hello.", "conversation": made["id"]})
        second = self.ask({"input": "Well?", "conversation": {"id": made["id"]}})
        self.assertGreaterEqual(cached(second), first["usage"]["total_tokens"] - 2)
        items = self.server.ask(place + "/items?order=asc")[1]["data"]
        self.assertEqual([i["role"] for i in items],
                         ["user", "user", "assistant", "user", "assistant"])
        page = self.server.ask(place + "/items?limit=2&order=asc&after=" + items[1]["id"])[1]
        for param, value in (("limit", "0"), ("limit", "%"), ("limit", "101"), ("order", "up"),
                             ("order", "a%73c%"), ("after", "x" * 200), ("after", "%00")):
            status, told = self.server.ask(f"{place}/items?{param}={value}")
            self.assertEqual((status, told["error"]["param"]), (400, param), value)
        self.assertEqual((page["data"], page["has_more"]), (items[2:4], True))
        added = self.server.ask(place + "/items", {"items": [user("x")]})[1]["data"][0]
        self.assertEqual(self.server.ask(place + "/items/" + added["id"])[1], added)
        self.assertEqual(self.server.ask(place + "/items/" + added["id"], method="DELETE")[0], 200)
        self.assertEqual(self.server.ask(place + "/items/" + added["id"])[0], 404)
        self.assertEqual(self.server.ask(place, {"metadata": {"c": "d"}})[1]["metadata"],
                         {"c": "d"})
        self.assertTrue(self.server.ask(place, method="DELETE")[1]["deleted"])
        self.assertEqual(self.server.ask(place)[0], 404)

    def wait_for(self, path, *states):
        for _ in range(600):
            response = self.server.ask(path)[1]
            if response["status"] in states:
                return response
            time.sleep(0.1)
        self.fail(response)

    def test_background(self):
        begun = self.ask({"input": "Count.", "background": True})
        self.assertEqual(begun["status"], "queued")
        ended = self.wait_for("/v1/responses/" + begun["id"], "incomplete", "completed")
        self.assertTrue(text_of(ended))
        long = self.ask({"input": STORY, "background": True, "max_output_tokens": 4000})
        self.wait_for("/v1/responses/" + long["id"], "in_progress")
        told = self.server.ask("/v1/responses/%s/cancel" % long["id"], {})[1]
        self.assertEqual(told["status"], "cancelled")
        self.wait_for("/v1/responses/" + long["id"], "cancelled")
        self.assertEqual(self.server.ask("/v1/responses/%s/cancel" % ended["id"], {})[1]["status"],
                         ended["status"])

    def test_a_stream_is_taken_up(self):
        """A background response's stream breaks; another connection has the rest."""
        connection = self.server.connect()
        connection.request("POST", "/v1/responses", json.dumps({
            "model": "small", "temperature": 0, "max_output_tokens": 40, "stream": True,
            "background": True, "input": "Count to a hundred."}))
        answer = connection.getresponse()
        lines = [answer.readline().decode() for _ in range(40)]
        data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        answer.close()
        connection.close()
        path = "/v1/responses/%s?stream=true&starting_after=" % data[0]["response"]["id"]
        rest = self.events(path=path + str(data[-1]["sequence_number"]), method="GET")
        self.assertEqual([e["sequence_number"] for e in data + rest],
                         list(range(len(data) + len(rest))))
        self.assertEqual(self.events(path=path + "-1", method="GET"), data + rest)
        for wrong in ("9999", "x", "-2", "%3", "1" * 40, "99999999999999999999"):
            status, told = self.server.ask(path + wrong)
            self.assertEqual((status, told["error"]["param"]), (400, "starting_after"), wrong)


class Bounds(Asking):
    def test_what_was_used_longest_ago_goes(self):
        self.server = Server("--conversations", "1")
        self.addCleanup(self.server.end)
        made = [self.server.ask("/v1/conversations", {})[1]["id"] for _ in range(4)]
        there = [self.server.ask("/v1/conversations/" + one)[0] for one in made]
        self.assertEqual(there, [404, 404, 404, 200])
        first = self.ask({"input": "Hi", "max_output_tokens": 1})
        chain = first = first["id"]
        for turn in range(11):
            chain = self.ask({"input": "x", "max_output_tokens": 1, "previous_response_id": chain}
                             if turn < 2 else {"input": "y", "max_output_tokens": 1})["id"]
        self.assertEqual(self.server.ask("/v1/responses/" + first)[0], 404)  # with its chain
        self.assertEqual(self.server.ask("/v1/responses/" + chain)[0], 200)


class Restart(Asking):
    def test_kill(self):
        """What was told as kept is there after kill -9, and goes on without computing again."""
        with tempfile.TemporaryDirectory(prefix="dw-serve-") as place:
            self.server = Server(state=os.path.join(place, "state"))
            first = self.ask({"input": STORY + "Sum up."})
            conversation = self.server.ask("/v1/conversations", {})[1]["id"]
            self.ask({"input": "Hello.", "conversation": conversation})
            called = self.ask({"input": "What is the weather in Paris?", "tools": [TOOL],
                               "tool_choice": "required", "max_output_tokens": 128,
                               "parallel_tool_calls": False})
            under_way = self.ask({"input": STORY, "background": True, "max_output_tokens": 4000})
            refer = {"type": "item_reference", "id": self.ask({"input": "Hi"})["output"][0]["id"]}
            referring = self.ask({"input": [refer, user("Why?")]})
            self.server.end(signal.SIGKILL)
            # What a response was asked, all of a conversation, is not read for an item of its answer.
            with contextlib.closing(sqlite3.connect(os.path.join(place, "state", "responses.db"))) as kept, kept:
                changed = kept.execute("UPDATE response SET input = 'none' WHERE id = ("
                                       "SELECT response FROM place WHERE item = ?)", (refer["id"],))
                self.assertEqual(changed.rowcount, 1)
            self.server = Server(state=os.path.join(place, "state"))
            self.addCleanup(self.server.end)
            self.assertEqual(text_of(self.ask({"input": [refer, user("Why?")]})), text_of(referring))
            told = self.server.ask("/v1/responses/" + first["id"])[1]
            self.assertEqual(told, first)
            second = self.ask({"input": "And then?", "previous_response_id": first["id"]})
            held = first["usage"]["total_tokens"]
            self.assertGreaterEqual(cached(second), held * 99 // 100)
            other = self.ask({"input": "And?", "conversation": conversation})
            self.assertGreater(cached(other), 30)
            outputs = [{"type": "function_call_output", "call_id": i["call_id"], "output": "rain"}
                       for i in called["output"] if i["type"] == "function_call"]
            after = self.ask({"input": outputs, "previous_response_id": called["id"],
                              "tools": [TOOL], "tool_choice": "none"})
            self.assertGreaterEqual(cached(after), called["usage"]["total_tokens"] * 99 // 100)
            lost = self.server.ask("/v1/responses/" + under_way["id"])[1]
            self.assertEqual((lost["status"], lost["error"]["code"]), ("failed", "server_error"))


if __name__ == "__main__":
    if not os.path.exists(MODEL):
        print("the default model is not there: run `make model`")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
