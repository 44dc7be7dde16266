// The module "driftwood": Driftwood's guest API for JavaScript. Every function of the ABI is described
// in docs/guest-abi.md; `raw` has them as they are. What has a close() is open until that is called, or
// the guest ends.
import * as raw from "driftwood/native";
import { constants, structs } from "driftwood/raw";

export { raw, constants, structs };
const C = constants;

/** This module's, which is Driftwood's. */
export const version = "0.1.0";

// ---- errors and memory ---------------------------------------------------------------------

const names = new Map(
  Object.entries(C).filter(([name, value]) => name.startsWith("E_") && value < 0)
    .map(([name, value]) => [value, name]));

/** A status below zero, with the host's words. */
export class DriftwoodError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "DriftwoodError";
    this.code = code;
    this.status = names.get(code) ?? "unknown";
  }
}

function check(result) {
  if (result >= 0) return result;
  const words = new Uint8Array(256);
  const length = raw.last_error(words, words.length);
  throw new DriftwoodError(result, raw.decode(words, Math.max(length, 0)));
}

/** Zeros where every device uses them in place. */
export const floats = (count) => new Float32Array(raw.alloc(4 * count));
export const tokens = (count) => new Int32Array(raw.alloc(4 * count));

function alignedTokens(list) {
  if (list instanceof Int32Array && raw.address(list) % C.TENSOR_ALIGN === 0) return list;
  const out = tokens(list.length);
  out.set(list);
  return out;
}

function growing(room, told, write) {
  for (room = Math.max(room, 4); ; ) {
    const out = raw.alloc(room * 4);
    const result = write(out, room);
    if (result >= 0) return [out, result];
    if (result !== C.E_SPACE || room > 1 << 28) check(result);
    room = told ? new Uint32Array(out, 0, 1)[0] : 2 * room;
  }
}

function growingText(room, told, write) {
  return raw.decode(...growing(room, told, write));
}

function growingBytes(room, told, write) {
  const [out, bytes] = growing(room, told, write);
  return new Uint8Array(out, 0, bytes).slice();
}

function growingTokens(room, told, write) {
  const [out, count] = growing(room, told, write);
  return new Int32Array(out, 0, count);
}

const bytesOf = (message) =>
  typeof message === "string" ? raw.encode(message) : message;
const utf8Length = (text) => raw.encode(text).length;

/** A struct of the ABI over memory of its own: its fields are properties. */
class Struct {
  constructor(name, values = {}) {
    const { bytes, fields } = structs[name];
    this.buffer = raw.alloc(bytes);
    const view = new DataView(this.buffer);
    const kinds = {
      i32: ["Int32"], u32: ["Uint32"], f32: ["Float32"], pointer: ["Uint32"],
      u64: ["BigUint64"], i64: ["BigInt64"], f64: ["Float64"],
    };
    for (const [field, [kind, offset, count]] of Object.entries(fields)) {
      const [word] = kinds[kind];
      const big = word.startsWith("Big");
      const get = (at) => (big ? Number(view[`get${word}`](at, true)) : view[`get${word}`](at, true));
      const set = (at, value) => view[`set${word}`](at, big ? BigInt(value) : Number(value), true);
      Object.defineProperty(this, field, count > 0 ? {
        get: () => Array.from({ length: count }, (_, i) => get(offset + 4 * i)),
        set: (list) => Array.from(list).forEach((value, i) => set(offset + 4 * i, value)),
        enumerable: true,
      } : { get: () => get(offset), set: (value) => set(offset, value), enumerable: true });
    }
    for (const [field, value] of Object.entries(values)) {
      if (!(field in fields)) throw new TypeError(`${name} has no ${field}`);
      this[field] = value;
    }
  }
}

// ---- the host ------------------------------------------------------------------------------

export const abiVersion = () => raw.abi_version();
export const clockNs = () => raw.clock_ns();
export const hostCopiedBytes = () => raw.host_copied_bytes();
export const deviceName = () => growingText(256, false, (to, room) => raw.device_name(to, room));

/** The next message from outside as text; null: there are no more. */
export function input() {
  const bytes = inputBytes();
  return bytes === null ? null : raw.decode(bytes, bytes.length);
}

export function inputBytes() {
  try {
    return growingBytes(4096, false, (to, room) => raw.input(to, room));
  } catch (error) {
    if (error.code === C.E_END) return null;
    throw error;
  }
}

/** A granted tool's answer, as bytes. The request: text, bytes, or an object that becomes JSON. */
export function callBytes(name, request) {
  const asked = request instanceof Uint8Array || typeof request === "string"
    ? bytesOf(request) : raw.encode(JSON.stringify(request));
  const answer = new Uint8Array(4096);
  const result = raw.call(name, utf8Length(name), asked, asked.length, answer, answer.length);
  if (result !== C.E_SPACE) return answer.slice(0, check(result));
  return growingBytes(1 << 14, false, (to, room) => raw.call_answer(to, room));
}

/** The same, as text. */
export function call(name, request) {
  const answer = callBytes(name, request);
  return raw.decode(answer, answer.length);
}

/** Text to standard output, at once. */
export function print(text) {
  raw.write(1, String(text));
}

/** A variable of the guest's environment, such as DRIFTWOOD_PROMPT. */
export const env = (name) => raw.env(name);
export const exit = (status = 0) => raw.exit(status);

const shown = (values) => values.map((value) =>
  typeof value === "string" || value instanceof Error ? String(value)
    : JSON.stringify(value) ?? String(value)).join(" ") + "\n";

globalThis.console ??= {
  log: (...values) => raw.write(1, shown(values)),
  error: (...values) => raw.write(2, shown(values)),
};
globalThis.console.info ??= globalThis.console.log;
globalThis.console.warn ??= globalThis.console.error;

// ---- handles -------------------------------------------------------------------------------

class Handle {
  constructor(handle) {
    this.handle = handle;
  }
  /** Not to be used afterwards; a second time it does nothing. E_STATE while a generation has it. */
  close() {
    if (this.handle !== 0) check(this.closeOwn(this.handle));
    this.handle = 0;
  }
  [Symbol.dispose ?? Symbol.for("dispose")]() {
    this.close();
  }
}

export class Model extends Handle {
  /** By a granted name; without one, the first. */
  constructor(name = "", handle = check(raw.model_open(name, utf8Length(name)))) {
    super(handle);
    this.info = new Struct("model_info");
    check(raw.model_info(this.handle, this.info.buffer));
  }
  static get names() {
    return Array.from({ length: Math.max(raw.model_count(), 0) }, (_, i) =>
      growingText(64, false, (to, room) => raw.model_name(i, to, room)));
  }
  /** Names of the LoRA adapters that the host has loaded for it. */
  get loras() {
    return Array.from({ length: Math.max(raw.lora_count(this.handle), 0) }, (_, i) =>
      growingText(64, false, (to, room) => raw.lora_name(this.handle, i, to, room)));
  }
  closeOwn(handle) {
    return raw.model_close(handle);
  }
  /** flags: constants.TOKENIZE_... */
  tokenize(text, flags = C.TOKENIZE_SPECIAL) {
    const bytes = raw.encode(text);
    return growingTokens(bytes.length + 16, true, (to, room) =>
      raw.tokenize(this.handle, bytes, bytes.length, to, room, flags));
  }
  detokenizeBytes(list, flags = 0) {
    const own = alignedTokens(list);
    return growingBytes(list.length * 16 + 16, false, (to, room) =>
      raw.detokenize(this.handle, own, own.length, to, room, flags));
  }
  detokenize(list, flags = 0) {
    const bytes = this.detokenizeBytes(list, flags);
    return raw.decode(bytes, bytes.length);
  }
  isEnd(token) {
    return raw.token_is_end(this.handle, token) === 1;
  }
  /** messages: [{role, content}], as the model's own template has them. */
  chatTemplate(messages, openAnswer = true) {
    const texts = messages.flatMap(({ role, content }) => [role, content])
      .map((text) => raw.encode(text + "\0"));
    const list = new Uint32Array(raw.alloc(4 * texts.length));
    texts.forEach((text, i) => { list[i] = raw.address(text); });
    return growingText(4096, false, (to, room) =>
      raw.chat_template(this.handle, list, messages.length, openAnswer ? 1 : 0, to, room));
  }
  /** Requests are objects with OpenAI's names: messages, tools, response_format ... */
  chatRender(request) {
    const text = raw.encode(JSON.stringify(request));
    return growingText(4096, true, (to, room) =>
      raw.chat_render(this.handle, text, text.length, to, room));
  }
  chatTokenize(request, skip = 0) {
    const text = raw.encode(JSON.stringify(request));
    return growingTokens(1024, true, (to, room) =>
      raw.chat_tokenize(this.handle, text, text.length, skip, to, room));
  }
  /** The model's answer, with its special tokens, as a message. partial: it goes on. */
  chatParse(request, answer, partial = false) {
    const text = raw.encode(JSON.stringify(request));
    const said = bytesOf(answer);
    return JSON.parse(growingText(said.length + 1024, true, (to, room) =>
      raw.chat_parse(this.handle, text, text.length, said, said.length,
        partial ? C.CHAT_PARTIAL : 0, to, room)));
  }
  chatInfo(request) {
    const text = raw.encode(JSON.stringify(request));
    return JSON.parse(growingText(4096, true, (to, room) =>
      raw.chat_info(this.handle, text, text.length, to, room)));
  }
  /** embedding_length floats; with POOLING_NONE for each token. */
  embed(list, pooling = C.POOLING_MODEL, flags = C.EMBED_NORMALIZE) {
    const own = alignedTokens(list);
    const rows = pooling === C.POOLING_NONE ? own.length : 1;
    const out = floats(rows * this.info.embedding_length);
    check(raw.embed(this.handle, own, own.length, pooling, flags, out));
    return out;
  }
  tokenEmbeddings(list) {
    const own = alignedTokens(list);
    const out = floats(own.length * this.info.embedding_length);
    check(raw.token_embeddings(this.handle, own, own.length, out));
    return out;
  }
  greedy(logits) {
    roomFor(logits, this.info.vocab_count);
    return check(raw.greedy(this.handle, logits));
  }
}

function roomFor(list, needed) {
  if (!(list instanceof Float32Array) || list.length < needed) {
    throw new RangeError(`a Float32Array of ${needed} is needed`);
  }
}

export class Sampler extends Handle {
  /** params: fields of dw_sampler_params; none: greedy. */
  constructor(model, params = {}, handle = undefined) {
    if (handle === undefined) {
      const own = new Struct("sampler_params", params);
      own.struct_bytes = structs.sampler_params.bytes;
      handle = check(raw.sampler_create(model.handle, own.buffer));
    }
    super(handle);
    this.model = model;
  }
  closeOwn(handle) {
    return raw.sampler_close(handle);
  }
  /** biases: [[token, bias]]. */
  logitBias(biases) {
    const list = raw.alloc(8 * biases.length);
    const view = new DataView(list);
    biases.forEach(([token, bias], i) => {
      view.setInt32(8 * i, token, true);
      view.setFloat32(8 * i + 4, bias, true);
    });
    check(raw.sampler_logit_bias(this.handle, list, biases.length));
  }
  dryBreakers(breakers) {
    const texts = breakers.map((text) => raw.encode(text + "\0"));
    const list = Uint32Array.from(texts, (text) => raw.address(text));
    check(raw.sampler_dry_breakers(this.handle, this.model.handle, list, list.length));
  }
  /** GBNF; "": none. */
  grammar(text) {
    check(raw.sampler_grammar(this.handle, this.model.handle, text, utf8Length(text)));
  }
  jsonSchema(schema) {
    const text = typeof schema === "string" ? schema : JSON.stringify(schema);
    check(raw.sampler_json_schema(this.handle, this.model.handle, text, utf8Length(text)));
  }
  /** Whether the request asks for tool calls or an answer to be held to a schema. */
  chat(request) {
    const text = JSON.stringify(request);
    return check(raw.sampler_chat(this.handle, this.model.handle, text, utf8Length(text))) === 1;
  }
  mask(logits) {
    roomFor(logits, this.model.info.vocab_count);
    check(raw.sampler_mask(this.handle, logits));
  }
  /** With seed 0 it draws as this one would. */
  fork(seed = 0) {
    return new Sampler(this.model, {}, check(raw.sampler_fork(this.handle, seed)));
  }
  sample(logits) {
    roomFor(logits, this.model.info.vocab_count);
    return check(raw.sample(this.handle, logits));
  }
  accept(token) {
    check(raw.sampler_accept(this.handle, token));
  }
}

// ---- contexts ------------------------------------------------------------------------------

function rowsOf(list, width, most) {
  if (list === null || list === undefined) return 0;
  if (!(list instanceof Float32Array)) throw new TypeError("rows go to a Float32Array, such as floats(n)");
  return Math.min(Math.floor(list.length / width), most);
}

/** A tree's parents, positions and mask into a struct that has them; what is to be held meanwhile. */
function fillTree(to, tree, context) {
  const count = tree.tokens.length;
  const held = [];
  for (const name of ["parents", "positions"]) {
    if (tree[name]) {
      if (tree[name].length !== count) throw new RangeError(`${name}: one for each token`);
      const list = alignedTokens(tree[name]);
      held.push(list);
      to[name] = raw.address(list);
    }
  }
  if (tree.mask) {
    const mask = Uint8Array.from(tree.mask);
    if (mask.length !== count * (context.length + count)) {
      throw new RangeError("mask: [tokens][length + tokens] is needed");
    }
    held.push(mask);
    to.mask = raw.address(mask);
  }
  return held;
}

export class Context extends Handle {
  /** tokensMax 0: as long as model and limits allow. */
  constructor(model, tokensMax = 0, handle = check(raw.context_create(model.handle, tokensMax))) {
    super(handle);
    this.model = model;
  }
  closeOwn(handle) {
    return raw.context_close(handle);
  }
  /** What was saved under the name, here or in another guest. */
  static open(model, name, tokensMax = 0) {
    return new Context(model, 0, check(raw.context_open(model.handle, name, utf8Length(name), tokensMax)));
  }
  /** Under a name, in the place of what had it. */
  save(name) {
    check(raw.context_save(this.handle, name, utf8Length(name)));
  }
  /** Removes what was saved under the name; it needs the grant to save under it. */
  static remove(name) {
    check(raw.context_remove(name, utf8Length(name)));
  }
  fork() {
    return new Context(this.model, 0, check(raw.context_fork(this.handle)));
  }
  get length() {
    return check(raw.context_length(this.handle));
  }
  get capacity() {
    return check(raw.context_capacity(this.handle));
  }
  trim(length) {
    check(raw.context_trim(this.handle, length));
  }
  shift(keep, drop) {
    return check(raw.context_shift(this.handle, keep, drop));
  }
  /** Holds its first `sink` tokens and at most `window` more from now on; 0 and 0: all. */
  window(sink, window) {
    check(raw.context_window(this.handle, sink, window));
  }
  /** While it is empty: these adapters of its model, [{ index, scale }]. */
  setLoras(loras) {
    const indices = new Uint32Array(raw.alloc(4 * loras.length + 4));
    const scales = floats(loras.length + 1);
    loras.forEach((lora, i) => {
      indices[i] = lora.index;
      scales[i] = lora.scale ?? 1;
    });
    check(raw.context_set_loras(this.handle, indices, scales, loras.length));
  }
  /** Those that it has, as setLoras takes them. */
  get loras() {
    const indices = new Uint32Array(raw.alloc(4 * C.LORAS_MAX));
    const scales = floats(C.LORAS_MAX);
    const count = check(raw.context_loras(this.handle, indices, scales, C.LORAS_MAX));
    return Array.from({ length: count }, (_, i) => ({ index: indices[i], scale: scales[i] }));
  }
  /** Keeps rows of logits of the last `count` tokens from now on. */
  keepRows(count) {
    check(raw.context_rows(this.handle, count));
  }
  /** The last token's row once more, where it is kept. */
  logits(row = floats(this.model.info.vocab_count)) {
    roomFor(row, this.model.info.vocab_count);
    check(raw.context_logits(this.handle, row));
    return row;
  }
  /** Appends tokens: the new length. logits: whole rows, for the last so many tokens. */
  forward(list, logits = null) {
    const own = alignedTokens(list);
    const rows = rowsOf(logits, this.model.info.vocab_count, own.length);
    return check(raw.forward(this.handle, own, own.length, rows > 0 ? logits : null, rows));
  }
  forwardHidden(list, hidden) {
    const own = alignedTokens(list);
    const rows = rowsOf(hidden, this.model.info.embedding_length, own.length);
    return check(raw.forward_hidden(this.handle, own, own.length, hidden, rows));
  }
  forwardEmbeddings(embeddings, logits = null) {
    const count = Math.floor(embeddings.length / this.model.info.embedding_length);
    const rows = rowsOf(logits, this.model.info.vocab_count, count);
    return check(raw.forward_embeddings(this.handle, embeddings, count, rows > 0 ? logits : null,
      rows));
  }
  /** Appends tokens: the `count` likeliest to follow, [{token, logProbability}]. */
  forwardTop(list, count) {
    const own = alignedTokens(list);
    const top = tokens(count);
    const chances = floats(count);
    check(raw.forward_top(this.handle, own, own.length, top, chances, count));
    return Array.from(top, (token, i) => ({ token, logProbability: chances[i] }));
  }
  /** Appends tokens and chooses the next one, which is not appended. */
  forwardSample(list, sampler) {
    const own = alignedTokens(list);
    return check(raw.forward_sample(this.handle, own, own.length, sampler.handle));
  }
  /** tree: {tokens, parents?, positions?, mask?}; keep() appends a path of it. */
  forwardTree(tree, logits = null) {
    const own = alignedTokens(tree.tokens);
    const count = own.length;
    const step = new Struct("forward_tree_step", {
      context: this.handle, tokens: raw.address(own), token_count: count,
      row_count: rowsOf(logits, this.model.info.vocab_count, count),
    });
    if (step.row_count > 0) step.rows = raw.address(logits);
    step.held = [own, logits, fillTree(step, tree, this)];
    return check(raw.forward_tree(step.buffer));
  }
  keep(path) {
    const own = alignedTokens(path);
    return check(raw.context_keep(this.handle, own, own.length));
  }
  /** Lets the device go on by itself: for (const token of context.generate(...)). The token that ends
   * it is not given. Until it has ended, all else that takes this context or the sampler fails with
   * E_STATE. request: {tokensMax, stopTokens?, stopStrings?, flags?, wakeTokens?}. */
  generate(sampler, prompt, request) {
    return new Generation(this, sampler, prompt, request);
  }
}

// Generations under way: the host writes to their memory, whoever has forgotten them.
const underWay = new Set();

export class Generation {
  constructor(context, sampler, prompt, { tokensMax, stopTokens = [], stopStrings = [], flags = 0,
    wakeTokens = 1 }) {
    const own = alignedTokens(prompt);
    const stops = alignedTokens(stopTokens);
    const texts = stopStrings.map((text) => raw.encode(text));
    const strings = new Uint32Array(raw.alloc(8 * texts.length));
    texts.forEach((text, i) => {
      strings[2 * i] = raw.address(text);
      strings[2 * i + 1] = text.length;
    });
    this.context = context;
    this.list = tokens(tokensMax);
    this.request = new Struct("generate_request", {
      struct_bytes: structs.generate_request.bytes, flags, prompt: raw.address(own),
      prompt_count: own.length, tokens: raw.address(this.list), tokens_max: tokensMax,
      wake_tokens: wakeTokens, stop_tokens: raw.address(stops), stop_token_count: stops.length,
      stop_strings: raw.address(strings), stop_string_count: texts.length,
    });
    check(raw.generate_begin(context.handle, sampler.handle, this.request.buffer));
    underWay.add(this);
  }
  get ended() {
    if (this.request.end !== C.GENERATE_GOES_ON) underWay.delete(this);
    return this.request.end !== C.GENERATE_GOES_ON;
  }
  /** Tokens chosen so far. */
  get tokens() {
    return this.list.subarray(0, this.request.token_count);
  }
  /** constants.GENERATE_... */
  get why() {
    return this.request.end;
  }
  get stopIndex() {
    return this.request.stop_index;
  }
  /** Until there is more, or the end: how many tokens there are. */
  wait() {
    return this.told(raw.generate_wait);
  }
  /** Ends it, if it goes on: how many tokens there are. */
  end() {
    return this.told(raw.generate_end);
  }
  told(call) {
    if (this.ended) return this.request.token_count; // the context may have another one by now
    const result = call(this.context.handle);
    void this.ended;
    return check(result);
  }
  *[Symbol.iterator]() {
    try {
      for (let taken = 0; ; ) {
        if (taken >= this.request.token_count) {
          if (this.ended) return;
          this.wait();
          continue;
        }
        const token = this.list[taken++];
        if (this.why === C.GENERATE_END_TOKEN && taken === this.request.token_count) return;
        yield token;
      }
    } finally {
      if (!this.ended) this.end();
    }
  }
}

/** Steps of different contexts in one run of the device. A step is {context, tokens, sampler?, top?,
 * rows?, hidden?}, or {context, tree, rows} with a tree as forwardTree() has it, which is computed and
 * not appended; the results are [{length, token, logProbability, top, rows}] or {error}. */
export function forwardMany(steps) {
  const { bytes } = structs.forward_step;
  const list = new Uint8Array(raw.alloc(bytes * steps.length));
  const held = steps.map((step, i) => {
    const { info } = step.context.model;
    const own = alignedTokens(step.tree ? step.tree.tokens : step.tokens);
    const one = new Struct("forward_step", {
      context: step.context.handle, tokens: raw.address(own), token_count: own.length,
    });
    const out = { own, one, rows: null, top: null, chances: null, shape: null, held: null };
    if (step.tree) {
      out.shape = new Struct("tree_shape");
      out.held = fillTree(out.shape, step.tree, step.context);
      one.tree = raw.address(out.shape.buffer);
    }
    if (step.rows) {
      out.rows = floats(step.rows * (step.hidden ? info.embedding_length : info.vocab_count));
      one.rows = raw.address(out.rows);
      one.row_count = step.rows;
      one.flags |= step.hidden ? C.FORWARD_HIDDEN : 0;
    }
    if (step.sampler) {
      one.sampler = step.sampler.handle;
      one.flags |= C.FORWARD_LOG_PROBABILITY;
    }
    if (step.top) {
      out.top = tokens(step.top);
      out.chances = floats(step.top);
      one.top_count = step.top;
      one.top_tokens = raw.address(out.top);
      one.top_log_probabilities = raw.address(out.chances);
    }
    list.set(new Uint8Array(one.buffer), bytes * i);
    return out;
  });
  const through = raw.forward_many(list, steps.length);
  if (through < 0 && through !== C.E_CANCELLED) check(through);
  return held.map(({ one, rows, top, chances }, i) => {
    new Uint8Array(one.buffer).set(list.subarray(bytes * i, bytes * (i + 1)));
    if (one.status < 0) return { error: new DriftwoodError(one.status, names.get(one.status)) };
    return {
      length: one.status, token: one.sampler !== 0 ? one.token : -1,
      logProbability: one.log_probability, rows,
      top: top && Array.from(top, (token, j) => ({ token, logProbability: chances[j] })),
    };
  });
}

// ---- chats ---------------------------------------------------------------------------------

/** Text that comes token by token, in whole characters. */
export class TextStream {
  constructor(model, out = print) {
    this.model = model;
    this.out = out;
    this.held = [];
  }
  put(token) {
    this.held.push(...this.model.detokenizeBytes([token]));
    let whole = this.held.length;
    for (let back = 1; back <= 3 && back <= this.held.length; back++) {
      const byte = this.held[this.held.length - back];
      if ((byte & 0xc0) !== 0x80) {
        const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        if (length > back) whole -= back;
        break;
      }
    }
    const bytes = Uint8Array.from(this.held.splice(0, whole));
    if (bytes.length > 0) this.out(raw.decode(bytes, bytes.length));
  }
}

/** A conversation whose context keeps what it has computed: an answer costs the tokens that are new.
 * For models with a chat template. */
export class Chat {
  constructor(model, { params = {}, ...options } = {}) {
    this.model = model;
    this.params = params;
    this.options = options; // further members of the requests: tools, tool_choice ...
    this.messages = [];
    this.context = null;
    this.held = [];
  }
  add(role, content) {
    this.messages.push(typeof role === "string" ? { role, content } : role);
  }
  /** Has the model answer, gives its text to `out` as it comes, and adds the answer. The answer:
   * {role, content, tool_calls?}. */
  answer(tokensMax, out = print) {
    const request = { messages: this.messages, ...this.options };
    const list = this.model.chatTokenize(request);
    const sampler = new Sampler(this.model, this.params);
    try {
      list.forEach((token) => sampler.accept(token));
      sampler.chat(request);
      this.context ??= new Context(this.model);
      let same = 0;
      while (same < this.held.length && same + 1 < list.length && this.held[same] === list[same]) {
        same++;
      }
      this.context.trim(same);
      this.held.length = same;
      const stream = new TextStream(this.model, out);
      const said = [];
      const speech = this.context.generate(sampler, list.subarray(same), { tokensMax });
      for (const token of speech) {
        said.push(...this.model.detokenizeBytes([token], C.DETOKENIZE_SPECIAL));
        stream.put(token);
      }
      this.held.push(...list.subarray(same), ...speech.tokens.subarray(0, -1));
      const message = this.model.chatParse(request, Uint8Array.from(said));
      this.messages.push(message);
      return message;
    } finally {
      sampler.close();
    }
  }
}

// ---- actors --------------------------------------------------------------------------------

function newId(write) {
  const id = new Uint8Array(64);
  check(write(id, id.length));
  return raw.decode(id, id.indexOf(0));
}

/** A program that is an actor exports receive(message, bytes); what that returns, or replies, is the
 * answer. Variables keep their values between messages. */
export const actor = {
  get id() {
    return newId((to, room) => raw.actor_id(to, room));
  },
  /** Who sent the message: an actor's id, this one's own for timers, "" for outside. */
  get messageFrom() {
    return newId((to, room) => raw.message_from(to, room));
  },
  reply(message) {
    const bytes = bytesOf(message);
    check(raw.reply(bytes, bytes.length));
  },
  /** The message is answered later: the ticket for replyTo. */
  replyLater() {
    return check(raw.reply_later());
  },
  /** The next piece of the answer that a ticket is for; last: it is whole. */
  replyTo(ticket, message, last) {
    const bytes = bytesOf(message);
    check(raw.reply_to(ticket, bytes, bytes.length, last ? C.REPLY_LAST : 0));
  },
  /** To an actor by its id, in a runtime also "@NAME" and "#GROUP". */
  send(to, message) {
    const bytes = bytesOf(message);
    check(raw.actor_send(to, utf8Length(to), bytes, bytes.length));
  },
  /** C.MESSAGE_PLAIN, or C.MESSAGE_WATCH: the host's word about an actor that is watched. */
  get messageKind() {
    return check(raw.message_kind());
  },
  /** A message once that actor has ended or could not be made; events, WATCH_ON_* of constants:
   * also when that happens. */
  watch(whom, events = 0) {
    check(raw.actor_watch(whom, utf8Length(whom), events));
  },
  unwatch(whom) {
    check(raw.actor_unwatch(whom, utf8Length(whom)));
  },
  /** guest "": this one's own module. The new actor's id. */
  spawn(guest, message) {
    const bytes = bytesOf(message);
    return newId((to, room) =>
      raw.actor_spawn(guest, utf8Length(guest), bytes, bytes.length, to, room));
  },
  /** A copy of this actor as it is after this message: its id. */
  fork(message) {
    const bytes = bytesOf(message);
    return newId((to, room) => raw.actor_fork(bytes, bytes.length, to, room));
  },
  timer(waitMs, message) {
    const bytes = bytesOf(message);
    check(raw.actor_timer(waitMs, bytes, bytes.length));
  },
  join(group) {
    check(raw.group_join(group, utf8Length(group)));
  },
  leave(group) {
    check(raw.group_leave(group, utf8Length(group)));
  },
  stop() {
    check(raw.actor_stop());
  },
  /** In an exported state(): appends to what is handed over to another module. */
  giveState(message) {
    const bytes = bytesOf(message);
    check(raw.state_give(bytes, bytes.length));
  },
  /** In an exported upgrade(): all that the module before handed over. */
  takeState() {
    const all = new Uint8Array(check(raw.state_bytes()));
    for (let taken = 0; taken < all.length; ) {
      const rest = all.subarray(taken);
      const more = check(raw.state_take(rest, rest.length));
      if (more === 0) break;
      taken += more;
    }
    return all;
  },
  /** In upgrade(): a model, context or sampler of the module before stays open. */
  keep(handle) {
    check(raw.handle_keep(handle));
  },
};

// ---- tensor graphs -------------------------------------------------------------------------

/** Over buffers of floats() and tokens(): docs/guest-abi-tensors.md. */
export class Graph extends Handle {
  constructor() {
    super(check(raw.graph_create()));
    this.over = []; // what it stands over
  }
  closeOwn(handle) {
    this.over.length = 0;
    return raw.graph_destroy(handle);
  }
  /** A tensor of these sizes over a Float32Array or an Int32Array, or of any type over a buffer. */
  tensor(data, sizes, type = data instanceof Int32Array ? C.I32 : C.F32) {
    const all = sizes.reduce((product, size) => product * size, 1);
    if (data.BYTES_PER_ELEMENT === 4 && all > data.length) {
      throw new RangeError(`a tensor of ${all} elements over ${data.length}`);
    }
    this.over.push(data);
    const ne = Uint32Array.from({ length: 4 }, (_, i) => sizes[i] ?? 1);
    return check(raw.graph_tensor(this.handle, type, ne, data));
  }
  /** constants.OP_... on up to four tensors; params: {i, f}. */
  op(what, inputs, params = null) {
    const list = Int32Array.from({ length: 4 }, (_, i) => inputs[i] ?? 0);
    const own = params && new Struct("op_params", params).buffer;
    return check(raw.graph_op(this.handle, what, list, own));
  }
  /** {type, ne}. */
  shape(tensor) {
    const shape = new Struct("shape");
    check(raw.tensor_shape(this.handle, tensor, shape.buffer));
    return { type: shape.type, ne: shape.ne };
  }
  output(tensor, data) {
    roomFor(data, this.shape(tensor).ne.reduce((product, size) => product * size, 1));
    this.over.push(data);
    check(raw.graph_output(this.handle, tensor, data));
  }
  build() {
    check(raw.graph_build(this.handle));
  }
  run() {
    check(raw.graph_run(this.handle));
  }
}
