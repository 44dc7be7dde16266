// driftwood serve with the makers' client libraries for JavaScript, as deps/clients-js has them.
//
// usage: node --test check_clients.mjs. DW_SERVER_URL is a server that serves the default model as "small"; modules are in
// DW_CLIENTS_JS, a folder with node_modules.
import assert from "node:assert";
import { createRequire } from "node:module";
import { test } from "node:test";

const require = createRequire(process.env.DW_CLIENTS_JS + "/");
const OpenAI = require("openai");
const Anthropic = require("@anthropic-ai/sdk");
const url = process.env.DW_SERVER_URL;
const openai = new OpenAI({ baseURL: url + "/v1", apiKey: "any", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: "any", maxRetries: 0 });
const user = (content) => ({ role: "user", content });
const city = {
    type: "object", properties: { city: { type: "string", maxLength: 12 } }, required: ["city"],
    additionalProperties: false,
};
const chat = (messages, more = {}) => openai.chat.completions.create({
    model: "small", messages, temperature: 0, max_tokens: 16, ...more });
const respond = (input, more = {}) => openai.responses.create({
    model: "small", input, temperature: 0, max_output_tokens: 16, ...more });
const say = (messages, more = {}) => ({ model: "small", messages, max_tokens: 16, ...more });

test("openai: models", async () => {
    const names = [];
    for await (const model of openai.models.list()) names.push(model.id);
    assert.deepStrictEqual(names, ["small"]);
});

test("openai: chat, whole and as a stream", async () => {
    const whole = await chat([user("Name three rivers.")]);
    const stream = await chat([user("Name three rivers.")],
        { stream: true, stream_options: { include_usage: true } });
    let text = "";
    let usage = null;
    for await (const chunk of stream) {
        text += chunk.choices[0]?.delta?.content ?? "";
        usage = chunk.usage ?? usage;
    }
    assert.strictEqual(text, whole.choices[0].message.content);
    assert.strictEqual(usage.completion_tokens, whole.usage.completion_tokens);
});

test("openai: a tool is called, and answered", async () => {
    const tools = [{ type: "function", function: { name: "get_weather", parameters: city } }];
    const messages = [user("What is the weather in Paris?")];
    const runner = openai.chat.completions.stream({
        model: "small", messages, tools, tool_choice: "required", parallel_tool_calls: false,
        temperature: 0, max_tokens: 128 });
    const message = (await runner.finalChatCompletion()).choices[0].message;
    const call = message.tool_calls[0];
    assert.deepStrictEqual(Object.keys(JSON.parse(call.function.arguments)), ["city"]);
    const after = await chat([...messages, message,
        { role: "tool", tool_call_id: call.id, content: "rain" }], { tools, tool_choice: "none" });
    assert.ok(after.choices[0].message.content);
});

test("openai: a schema, probabilities, embeddings", async () => {
    const told = await chat([user("Where?")], { max_tokens: 40, response_format: {
        type: "json_schema", json_schema: { name: "place", strict: true, schema: city } } });
    assert.deepStrictEqual(Object.keys(JSON.parse(told.choices[0].message.content)), ["city"]);
    const yes = await chat([user("Say yes.")], { logprobs: true, top_logprobs: 2 });
    assert.strictEqual(yes.choices[0].logprobs.content[0].top_logprobs.length, 2);
    const rows = await openai.embeddings.create({ model: "small", input: ["a cat", "a dog"] });
    assert.strictEqual(rows.data.length, 2);
});

test("openai: responses that are kept", async () => {
    const first = await respond("Name a sea.");
    const second = await respond("And another?", { previous_response_id: first.id });
    const held = second.usage.input_tokens_details.cached_tokens;
    assert.ok(held >= first.usage.total_tokens - 2, `${held}`);
    assert.strictEqual((await openai.responses.retrieve(first.id)).output_text, first.output_text);
    const runner = openai.responses.stream({ model: "small", input: "Name a sea.", temperature: 0,
        max_output_tokens: 16 });
    assert.strictEqual((await runner.finalResponse()).output_text, first.output_text);
    await openai.responses.delete(first.id);
    await assert.rejects(openai.responses.retrieve(first.id), OpenAI.NotFoundError);
});

test("openai: errors", async () => {
    await assert.rejects(chat([user("x")], { temperature: -1 }),
        (e) => e instanceof OpenAI.BadRequestError && e.param === "temperature");
    await assert.rejects(chat([user("x")], { model: "large" }),
        (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
});

test("anthropic: a message, whole and as a stream", async () => {
    const whole = await anthropic.messages.create(say([user("Name three rivers.")], { temperature: 0 }));
    const stream = anthropic.messages.stream(say([user("Name three rivers.")], { temperature: 0 }));
    const last = await stream.finalMessage();
    assert.strictEqual(last.content[0].text, whole.content[0].text);
    const count = await anthropic.messages.countTokens({ model: "small", messages: [user("Hi")] });
    assert.ok(count.input_tokens > 5);
});

test("anthropic: a tool is called, and answered", async () => {
    const tools = [{ name: "get_weather", description: "of a city", input_schema: city }];
    const question = user("What is the weather in Paris?");
    const more = { max_tokens: 128, tools, temperature: 0 };
    const answer = await anthropic.messages.create(say([question], {
        ...more, tool_choice: { type: "any", disable_parallel_tool_use: true } }));
    const call = answer.content.find((block) => block.type === "tool_use");
    assert.deepStrictEqual(Object.keys(call.input), ["city"]);
    const last = await anthropic.messages.create(say([question,
        { role: "assistant", content: answer.content },
        { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "rain" }] },
    ], { ...more, tool_choice: { type: "none" } }));
    assert.ok(last.content.length > 0);
});

test("anthropic: errors", async () => {
    await assert.rejects(anthropic.messages.create(say([user("x")], { model: "large" })),
        Anthropic.NotFoundError);
    await assert.rejects(anthropic.messages.create(say([])), Anthropic.BadRequestError);
});

test("both: a stream that is left", async () => {
    const stream = await chat([user("Write a long story.")], { stream: true, max_tokens: 4000 });
    for await (const chunk of stream) {
        if (chunk.choices[0]?.delta?.content) break; // leaves it
    }
    const other = anthropic.messages.stream(say([user("Write a long story.")], { max_tokens: 4000 }));
    await new Promise((done) => other.once("text", done));
    other.abort();
    await assert.rejects(other.finalMessage());
    const until = Date.now() + 60000; // nothing is under way any more
    for (;;) {
        const slots = await (await fetch(url + "/slots")).json();
        if (!slots.some((slot) => slot.is_processing)) break;
        assert.ok(Date.now() < until);
        await new Promise((done) => setTimeout(done, 50));
    }
});
