// Driftwood's guest API for AssemblyScript. Every function of the ABI is described in
// docs/guest-abi.md; `raw` has them as they are. What has a close() is open until that is called, or
// the guest ends.
import * as actor from "./actor";
import * as raw from "./raw";
import { Failure, Result, Room, Utf8, aligned, floats, number, tokens } from "./core";
import { print } from "./wasi";

export { actor, raw };
export { Failure, Result, floats, tokens } from "./core";
export { env, exit, print, setting, printError, writeBytes } from "./wasi";
export * from "./json";
export { Graph } from "./graph";

/** This package's version, which is Driftwood's. */
export const VERSION = "0.1.0";

// ---- the host ------------------------------------------------------------------------------

export function abiVersion(): i32 {
  return raw.abi_version();
}
export function clockNs(): u64 {
  return raw.clock_ns();
}
export function hostCopiedBytes(): u64 {
  return raw.host_copied_bytes();
}
export function deviceName(): Result<string> {
  const room = new Room(256, 1, false);
  while (room.again(raw.device_name(room.at, room.count))) {}
  return room.text();
}
/** The next message from outside. raw.E_END: there are no more. */
export function inputBytes(): Result<Uint8Array> {
  const room = new Room(4096, 1, false);
  while (room.again(raw.input(room.at, room.count))) {}
  return room.data();
}
export function input(): Result<string> {
  const room = new Room(4096, 1, false);
  while (room.again(raw.input(room.at, room.count))) {}
  return room.text();
}
function answered(name: string, request: usize, bytes: u32): Room {
  const own = new Utf8(name);
  const room = new Room(4096, 1, false);
  room.result = raw.call(own.at, own.bytes, request, bytes, room.at, room.count);
  if (room.result == raw.E_SPACE) {
    while (room.again(raw.call_answer(room.at, room.count))) {}
  }
  return room;
}
/** A granted tool's answer. */
export function call(name: string, request: string): Result<string> {
  const asked = new Utf8(request);
  return answered(name, asked.at, asked.bytes).text();
}
export function callBytes(name: string, request: Uint8Array): Result<Uint8Array> {
  return answered(name, request.dataStart, request.length).data();
}

// ---- models --------------------------------------------------------------------------------

export class Message {
  constructor(public role: string, public content: string) {}
}

export class Model {
  private memory: StaticArray<u8> = new StaticArray<u8>(raw.MODEL_INFO_BYTES);

  constructor(public handle: i32) {
    raw.model_info(handle, changetype<usize>(this.memory));
  }
  get info(): raw.ModelInfo {
    return changetype<raw.ModelInfo>(changetype<usize>(this.memory));
  }
  /** By a granted name; "": the first. */
  static open(name: string = ""): Result<Model> {
    const own = new Utf8(name);
    const handle = raw.model_open(own.at, own.bytes);
    return new Result<Model>(new Model(handle), handle < 0 ? Failure.last(handle) : null);
  }
  /** Granted models, and the name that opens the one of an index. */
  static count(): i32 {
    return raw.model_count();
  }
  static nameOf(index: i32): Result<string> {
    const room = new Room(256, 1, false);
    while (room.again(raw.model_name(index, room.at, room.count))) {}
    return room.text();
  }
  /** LoRA adapters that the host has loaded for it, and the name of the one of this index. */
  get loraCount(): i32 {
    return raw.lora_count(this.handle);
  }
  loraName(index: i32): Result<string> {
    const room = new Room(256, 1, false);
    while (room.again(raw.lora_name(this.handle, index, room.at, room.count))) {}
    return room.text();
  }
  close(): Result<i32> {
    return number(raw.model_close(this.handle));
  }
  /** flags: raw.TOKENIZE_... */
  tokenize(text: string, flags: u32 = raw.TOKENIZE_SPECIAL): Result<Int32Array> {
    const own = new Utf8(text);
    const room = new Room(own.bytes + 16, 4, true);
    while (room.again(raw.tokenize(this.handle, own.at, own.bytes, room.at, room.count, flags))) {}
    return room.tokens();
  }
  detokenizeBytes(list: Int32Array, flags: u32 = 0): Result<Uint8Array> {
    const room = new Room(list.length * 16 + 16, 1, false);
    while (room.again(raw.detokenize(this.handle, list.dataStart, list.length, room.at, room.count, flags))) {}
    return room.data();
  }
  detokenize(list: Int32Array, flags: u32 = 0): Result<string> {
    const room = new Room(list.length * 16 + 16, 1, false);
    while (room.again(raw.detokenize(this.handle, list.dataStart, list.length, room.at, room.count, flags))) {}
    return room.text();
  }
  isEnd(token: i32): bool {
    return raw.token_is_end(this.handle, token) == 1;
  }
  /** Messages as the model's own template has them. */
  chatTemplate(messages: Message[], openAnswer: bool = true): Result<string> {
    const texts = new Array<Utf8>();
    const list = new StaticArray<u32>(2 * messages.length);
    for (let i = 0; i < messages.length; i++) {
      texts.push(new Utf8(messages[i].role, true));
      texts.push(new Utf8(messages[i].content, true));
      list[2 * i] = <u32>texts[2 * i].at;
      list[2 * i + 1] = <u32>texts[2 * i + 1].at;
    }
    const room = new Room(4096, 1, false);
    while (room.again(raw.chat_template(this.handle, changetype<usize>(list), messages.length,
      openAnswer ? 1 : 0, room.at, room.count))) {}
    return room.text();
  }
  /** Requests are JSON. */
  chatRender(request: string): Result<string> {
    const own = new Utf8(request);
    const room = new Room(4096, 1, true);
    while (room.again(raw.chat_render(this.handle, own.at, own.bytes, room.at, room.count))) {}
    return room.text();
  }
  chatTokenize(request: string, skip: u32 = 0): Result<Int32Array> {
    const own = new Utf8(request);
    const room = new Room(1024, 4, true);
    while (room.again(raw.chat_tokenize(this.handle, own.at, own.bytes, skip, room.at, room.count))) {}
    return room.tokens();
  }
  /** The model's answer, with its special tokens, as a message of JSON. partial: it goes on. */
  chatParse(request: string, answer: Uint8Array, partial: bool = false): Result<string> {
    const own = new Utf8(request);
    const room = new Room(answer.length + 1024, 1, true);
    while (room.again(raw.chat_parse(this.handle, own.at, own.bytes, answer.dataStart, answer.length,
      partial ? raw.CHAT_PARTIAL : 0, room.at, room.count))) {}
    return room.text();
  }
  chatInfo(request: string): Result<string> {
    const own = new Utf8(request);
    const room = new Room(4096, 1, true);
    while (room.again(raw.chat_info(this.handle, own.at, own.bytes, room.at, room.count))) {}
    return room.text();
  }
  /** embedding_length floats; with raw.POOLING_NONE for each token. */
  embed(list: Int32Array, pooling: i32 = raw.POOLING_MODEL, flags: u32 = raw.EMBED_NORMALIZE): Result<Float32Array> {
    const own = aligned(list);
    const rows = pooling == raw.POOLING_NONE ? own.length : 1;
    const out = floats(rows * <i32>this.info.embedding_length);
    const result = raw.embed(this.handle, own.dataStart, own.length, pooling, flags, out.dataStart);
    return new Result<Float32Array>(out, result < 0 ? Failure.last(result) : null);
  }
  tokenEmbeddings(list: Int32Array): Result<Float32Array> {
    const own = aligned(list);
    const out = floats(own.length * <i32>this.info.embedding_length);
    const result = raw.token_embeddings(this.handle, own.dataStart, own.length, out.dataStart);
    return new Result<Float32Array>(out, result < 0 ? Failure.last(result) : null);
  }
  greedy(logits: Float32Array): Result<i32> {
    assert(<u32>logits.length >= this.info.vocab_count, "logits: a row is needed");
    return number(raw.greedy(this.handle, logits.dataStart));
  }
}

// ---- sampling ------------------------------------------------------------------------------

/** How a sampler chooses: all zero is greedy, and zero turns each setting off. */
export class Params {
  private memory: StaticArray<u8> = new StaticArray<u8>(raw.SAMPLER_PARAMS_BYTES);
  constructor() {
    this.fields.struct_bytes = raw.SAMPLER_PARAMS_BYTES;
  }
  static of(temperature: f32, seed: u64): Params {
    const params = new Params();
    params.fields.temperature = temperature;
    params.fields.seed = seed;
    return params;
  }
  /** temperature, top_k ... */
  get fields(): raw.SamplerParams {
    return changetype<raw.SamplerParams>(changetype<usize>(this.memory));
  }
}

export class Sampler {
  constructor(public handle: i32, public model: Model) {}

  static create(model: Model, params: Params = new Params()): Result<Sampler> {
    const handle = raw.sampler_create(model.handle, changetype<usize>(params.fields));
    return new Result<Sampler>(new Sampler(handle, model), handle < 0 ? Failure.last(handle) : null);
  }
  close(): Result<i32> {
    return number(raw.sampler_close(this.handle));
  }
  logitBias(list: Int32Array, biases: Float32Array): Result<i32> {
    const pairs = new StaticArray<u64>(list.length);
    for (let i = 0; i < list.length; i++) {
      pairs[i] = (<u64>reinterpret<u32>(biases[i]) << 32) | <u64><u32>list[i];
    }
    return number(raw.sampler_logit_bias(this.handle, changetype<usize>(pairs), list.length));
  }
  dryBreakers(breakers: string[]): Result<i32> {
    const texts = new Array<Utf8>();
    const list = new StaticArray<u32>(breakers.length);
    for (let i = 0; i < breakers.length; i++) {
      texts.push(new Utf8(breakers[i], true));
      list[i] = <u32>texts[i].at;
    }
    return number(raw.sampler_dry_breakers(this.handle, this.model.handle, changetype<usize>(list), breakers.length));
  }
  /** GBNF; "": none. */
  grammar(text: string): Result<i32> {
    const own = new Utf8(text);
    return number(raw.sampler_grammar(this.handle, this.model.handle, own.at, own.bytes));
  }
  jsonSchema(schema: string): Result<i32> {
    const own = new Utf8(schema);
    return number(raw.sampler_json_schema(this.handle, this.model.handle, own.at, own.bytes));
  }
  /** 1: it holds tool calls, or the answer, to the request's schemas. */
  chat(request: string): Result<i32> {
    const own = new Utf8(request);
    return number(raw.sampler_chat(this.handle, this.model.handle, own.at, own.bytes));
  }
  mask(logits: Float32Array): Result<i32> {
    assert(<u32>logits.length >= this.model.info.vocab_count, "logits: a row is needed");
    return number(raw.sampler_mask(this.handle, logits.dataStart));
  }
  /** With seed 0 it draws as this one would. */
  fork(seed: u64 = 0): Result<Sampler> {
    const handle = raw.sampler_fork(this.handle, seed);
    return new Result<Sampler>(new Sampler(handle, this.model), handle < 0 ? Failure.last(handle) : null);
  }
  sample(logits: Float32Array): Result<i32> {
    assert(<u32>logits.length >= this.model.info.vocab_count, "logits: a row is needed");
    return number(raw.sample(this.handle, logits.dataStart));
  }
  accept(token: i32): Result<i32> {
    return number(raw.sampler_accept(this.handle, token));
  }
}

// ---- contexts ------------------------------------------------------------------------------

export class Top {
  length: i32 = 0; // the context's
  tokens: Int32Array;
  logProbabilities: Float32Array;
  constructor(count: i32) {
    this.tokens = tokens(count);
    this.logProbabilities = floats(count);
  }
}

/** A tree of tokens for Context.forwardTree. */
export class Tree {
  parents: Int32Array | null = null; // the earlier token that each hangs on, -1: the context's end
  positions: Int32Array | null = null;
  mask: Uint8Array | null = null; // [tokens][length + tokens], 1: it sees that token
  constructor(public tokens: Int32Array) {}
}

/** How a tree's tokens hang on one another, as the host reads it; and what keeps that. */
class Shape {
  memory: StaticArray<u8> = new StaticArray<u8>(raw.TREE_SHAPE_BYTES);
  parents: Int32Array;
  positions: Int32Array;
  ok: bool;
  constructor(public tree: Tree, context: Context) {
    const count = tree.tokens.length;
    const mask = tree.mask;
    const parents = aligned(tree.parents != null ? tree.parents! : tokens(0));
    const positions = aligned(tree.positions != null ? tree.positions! : tokens(0));
    this.ok = (tree.parents == null || parents.length == count) &&
      (tree.positions == null || positions.length == count) &&
      (mask == null || mask.length == count * (context.length + count));
    this.parents = parents;
    this.positions = positions;
    const own = this.raw;
    own.parents = tree.parents != null ? parents.dataStart : 0;
    own.positions = tree.positions != null ? positions.dataStart : 0;
    own.mask = mask != null ? mask.dataStart : 0;
  }
  get raw(): raw.TreeShape {
    return changetype<raw.TreeShape>(changetype<usize>(this.memory));
  }
}

const NO_FLOATS = new Float32Array(0);

export class Context {
  constructor(public handle: i32, public model: Model) {}

  /** tokensMax 0: as long as model and limits allow. */
  static create(model: Model, tokensMax: u32 = 0): Result<Context> {
    const handle = raw.context_create(model.handle, tokensMax);
    return new Result<Context>(new Context(handle, model), handle < 0 ? Failure.last(handle) : null);
  }
  /** raw.E_STATE while a generation has it. */
  close(): Result<i32> {
    return number(raw.context_close(this.handle));
  }
  /** What was saved under the name, here or in another guest. */
  static open(model: Model, name: string, tokensMax: u32 = 0): Result<Context> {
    const own = new Utf8(name);
    const handle = raw.context_open(model.handle, own.at, own.bytes, tokensMax);
    return new Result<Context>(new Context(handle, model), handle < 0 ? Failure.last(handle) : null);
  }
  /** Under a name, in the place of what had it. */
  save(name: string): Result<i32> {
    const own = new Utf8(name);
    return number(raw.context_save(this.handle, own.at, own.bytes));
  }
  /** Removes what was saved under the name; it needs the grant to save under it. */
  static remove(name: string): Result<i32> {
    const own = new Utf8(name);
    return number(raw.context_remove(own.at, own.bytes));
  }
  fork(): Result<Context> {
    const handle = raw.context_fork(this.handle);
    return new Result<Context>(new Context(handle, this.model), handle < 0 ? Failure.last(handle) : null);
  }
  /** Tokens held; below zero: raw.E_STATE while a generation has it. */
  get length(): i32 {
    return raw.context_length(this.handle);
  }
  get capacity(): i32 {
    return raw.context_capacity(this.handle);
  }
  trim(length: u32): Result<i32> {
    return number(raw.context_trim(this.handle, length));
  }
  shift(keep: u32, drop: u32): Result<i32> {
    return number(raw.context_shift(this.handle, keep, drop));
  }
  /** Holds its first `sink` tokens and at most `window` more from now on; 0 and 0: all. */
  window(sink: u32, window: u32): Result<i32> {
    return number(raw.context_window(this.handle, sink, window));
  }
  /** While it is empty: these adapters of its model, by index, each times its scale. */
  setLoras(loras: Uint32Array, scales: Float32Array): Result<i32> {
    assert(loras.length == scales.length, "loras: as many scales are needed");
    return number(raw.context_set_loras(this.handle, loras.dataStart, scales.dataStart, loras.length));
  }
  /** Those that it has, into the room that there is: how many. */
  loras(loras: Uint32Array, scales: Float32Array): Result<i32> {
    const room = min(loras.length, scales.length);
    return number(raw.context_loras(this.handle, loras.dataStart, scales.dataStart, room));
  }
  /** Keeps rows of logits of the last `count` tokens from now on. */
  keepRows(count: u32): Result<i32> {
    return number(raw.context_rows(this.handle, count));
  }
  /** The last token's row once more, where it is kept. */
  logits(row: Float32Array): Result<i32> {
    assert(<u32>row.length >= this.model.info.vocab_count, "logits: a row is needed");
    return number(raw.context_logits(this.handle, row.dataStart));
  }
  private rows(list: Float32Array, width: u32, most: i32): u32 {
    return min(<u32>list.length / width, <u32>most);
  }
  /** Appends tokens: the new length. logits: whole rows, for the last so many tokens; or none. */
  forward(list: Int32Array, logits: Float32Array = NO_FLOATS): Result<i32> {
    const own = aligned(list);
    const rows = this.rows(logits, this.model.info.vocab_count, own.length);
    return number(raw.forward(this.handle, own.dataStart, own.length, rows > 0 ? logits.dataStart : 0, rows));
  }
  forwardHidden(list: Int32Array, hidden: Float32Array): Result<i32> {
    const own = aligned(list);
    const rows = this.rows(hidden, this.model.info.embedding_length, own.length);
    return number(raw.forward_hidden(this.handle, own.dataStart, own.length, hidden.dataStart, rows));
  }
  forwardEmbeddings(embeddings: Float32Array, logits: Float32Array = NO_FLOATS): Result<i32> {
    const count = embeddings.length / <i32>this.model.info.embedding_length;
    const rows = this.rows(logits, this.model.info.vocab_count, count);
    return number(raw.forward_embeddings(this.handle, embeddings.dataStart, count, rows > 0 ? logits.dataStart : 0, rows));
  }
  forwardTop(list: Int32Array, count: i32): Result<Top> {
    const own = aligned(list);
    const top = new Top(count);
    top.length = raw.forward_top(this.handle, own.dataStart, own.length, top.tokens.dataStart, top.logProbabilities.dataStart, count);
    return new Result<Top>(top, top.length < 0 ? Failure.last(top.length) : null);
  }
  /** Appends tokens and chooses the next one, which is not appended. */
  forwardSample(list: Int32Array, sampler: Sampler): Result<i32> {
    const own = aligned(list);
    return number(raw.forward_sample(this.handle, own.dataStart, own.length, sampler.handle));
  }
  /** Computes a tree behind the context; keep() appends a path of it. */
  forwardTree(tree: Tree, logits: Float32Array = NO_FLOATS): Result<i32> {
    const own = aligned(tree.tokens);
    const memory = new StaticArray<u8>(raw.FORWARD_TREE_STEP_BYTES);
    const step = changetype<raw.ForwardTreeStep>(changetype<usize>(memory));
    const shape = new Shape(tree, this);
    if (!shape.ok) {
      return new Result<i32>(raw.E_ARG, new Failure(raw.E_ARG, "forwardTree: lists are not as long as the tokens"));
    }
    step.context = this.handle;
    step.tokens = own.dataStart;
    step.token_count = own.length;
    step.parents = shape.raw.parents;
    step.positions = shape.raw.positions;
    step.mask = shape.raw.mask;
    step.row_count = this.rows(logits, this.model.info.vocab_count, own.length);
    step.rows = step.row_count > 0 ? logits.dataStart : 0;
    return number(raw.forward_tree(changetype<usize>(memory)));
  }
  keep(path: Int32Array): Result<i32> {
    const own = aligned(path);
    return number(raw.context_keep(this.handle, own.dataStart, own.length));
  }
}

/** One context's part of forwardMany; what comes back is in it afterwards. */
export class Step {
  tree: Tree | null = null; // in the place of the tokens: computed, not appended, for rows alone
  sampler: Sampler | null = null; // chooses a token behind these
  topCount: i32 = 0; // of the likeliest
  rows: i32 = 0; // of logits, for the last tokens
  hidden: bool = false; // of hidden states instead

  status: i32 = 0; // the context's new length, or why it is as it was
  token: i32 = -1;
  logProbability: f32 = 0;
  top: Top = new Top(0);
  rowData: Float32Array = NO_FLOATS;
  own: Int32Array;

  constructor(public context: Context, list: Int32Array) {
    this.own = aligned(list);
  }
}

/** Steps of different contexts in one run of the device: how many went through. */
export function forwardMany(steps: Step[]): Result<i32> {
  const memory = new StaticArray<u64>((raw.FORWARD_STEP_BYTES / 8) * steps.length);
  const shapes: Shape[] = [];
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i];
    const one = changetype<raw.ForwardStep>(changetype<usize>(memory) + raw.FORWARD_STEP_BYTES * i);
    const info = step.context.model.info;
    one.context = step.context.handle;
    one.tokens = step.own.dataStart;
    one.token_count = step.own.length;
    const tree = step.tree;
    if (tree != null) {
      const shape = new Shape(tree, step.context);
      if (!shape.ok) {
        return new Result<i32>(raw.E_ARG, new Failure(raw.E_ARG, "forwardMany: lists are not as long as the tokens"));
      }
      step.own = aligned(tree.tokens);
      one.tokens = step.own.dataStart;
      one.token_count = step.own.length;
      one.tree = changetype<usize>(shape.memory);
      shapes.push(shape);
    }
    if (step.rows > 0) {
      step.rowData = floats(step.rows * <i32>(step.hidden ? info.embedding_length : info.vocab_count));
      one.rows = step.rowData.dataStart;
      one.row_count = step.rows;
      if (step.hidden) one.flags |= raw.FORWARD_HIDDEN;
    }
    const sampler = step.sampler;
    if (sampler != null) {
      one.sampler = sampler.handle;
      one.flags |= raw.FORWARD_LOG_PROBABILITY;
    }
    if (step.topCount > 0) {
      step.top = new Top(step.topCount);
      one.top_count = step.topCount;
      one.top_tokens = step.top.tokens.dataStart;
      one.top_log_probabilities = step.top.logProbabilities.dataStart;
    }
  }
  const through = raw.forward_many(changetype<usize>(memory), steps.length);
  for (let i = 0; i < steps.length; i++) {
    const one = changetype<raw.ForwardStep>(changetype<usize>(memory) + raw.FORWARD_STEP_BYTES * i);
    steps[i].status = one.status;
    steps[i].token = one.sampler != 0 && one.status >= 0 ? one.token : -1;
    steps[i].logProbability = one.log_probability;
  }
  return number(through);
}

// Generations under way: the host writes to their memory, whoever has forgotten them.
const underWay = new Set<Generation>();

/** A generation ahead of the guest. Set what is asked for, begin, and take next() until it is -1. */
export class Generation {
  stopTokens: Int32Array = tokens(0);
  stopStrings: string[] = [];
  flags: u32 = 0;
  wakeTokens: u32 = 1;
  failure: Failure | null = null;
  private list: Int32Array;
  private memory: StaticArray<u8>;
  private context: Context | null = null;
  private taken: i32 = 0;

  constructor(tokensMax: i32) {
    this.list = tokens(tokensMax);
    this.memory = new StaticArray<u8>(raw.GENERATE_REQUEST_BYTES);
  }
  get request(): raw.GenerateRequest {
    return changetype<raw.GenerateRequest>(changetype<usize>(this.memory));
  }
  /** May be called again once it has ended. */
  begin(context: Context, sampler: Sampler, prompt: Int32Array): Result<i32> {
    if (this.goes) return new Result<i32>(0, new Failure(raw.E_STATE, "the generation is under way"));
    const own = aligned(prompt);
    const stops = aligned(this.stopTokens);
    const texts = new Array<Utf8>();
    const strings = new StaticArray<u32>(2 * this.stopStrings.length);
    for (let i = 0; i < this.stopStrings.length; i++) {
      texts.push(new Utf8(this.stopStrings[i]));
      strings[2 * i] = <u32>texts[i].at;
      strings[2 * i + 1] = texts[i].bytes;
    }
    const request = this.request;
    request.struct_bytes = raw.GENERATE_REQUEST_BYTES;
    request.flags = this.flags;
    request.prompt = own.dataStart;
    request.prompt_count = own.length;
    request.tokens = this.list.dataStart;
    request.tokens_max = this.list.length;
    request.wake_tokens = this.wakeTokens;
    request.stop_tokens = stops.dataStart;
    request.stop_token_count = stops.length;
    request.stop_strings = changetype<usize>(strings);
    request.stop_string_count = this.stopStrings.length;
    const result = raw.generate_begin(context.handle, sampler.handle, changetype<usize>(this.memory));
    if (result >= 0) {
      this.context = context;
      this.taken = 0;
      underWay.add(this);
    }
    return number(result);
  }
  /** Whether it has ended; why is raw.GENERATE_..., in request.end. */
  get ended(): bool {
    if (this.request.end != raw.GENERATE_GOES_ON) underWay.delete(this);
    return this.request.end != raw.GENERATE_GOES_ON;
  }
  /** Tokens chosen so far. */
  get chosen(): Int32Array {
    return this.list.subarray(0, this.request.token_count);
  }
  private get goes(): bool {
    return this.context != null && !this.ended;
  }
  /** Until there is more, or the end: how many tokens there are. */
  wait(): Result<i32> {
    if (!this.goes) return new Result<i32>(this.request.token_count); // its context may have another
    const result = number(raw.generate_wait(this.context!.handle));
    this.ended;
    return result;
  }
  /** Ends it, if it goes on: how many tokens there are. */
  end(): Result<i32> {
    if (!this.goes) return new Result<i32>(this.request.token_count);
    const result = number(raw.generate_end(this.context!.handle));
    this.ended;
    return result;
  }
  /** The next token; -1: it has ended, or failed (failure). A token that ended it as an end token is
   * not given. */
  next(): i32 {
    while (this.taken >= <i32>this.request.token_count) {
      if (this.ended) return -1;
      const result = this.wait();
      if (!result.ok) {
        this.failure = result.failure;
        return -1;
      }
    }
    const token = this.list[this.taken++];
    const last = this.taken == <i32>this.request.token_count;
    return last && this.request.end == raw.GENERATE_END_TOKEN ? -1 : token;
  }
}

// ---- chats ---------------------------------------------------------------------------------

/** Text that comes token by token, in whole characters. */
export class TextStream {
  private held: Uint8Array = new Uint8Array(0);
  constructor(private model: Model) {}

  /** The token's text, as far as its characters are whole. */
  put(token: i32): Result<string> {
    const one = tokens(1);
    one[0] = token;
    const piece = this.model.detokenizeBytes(one);
    if (!piece.ok) return new Result<string>("", piece.failure);
    const all = joined(this.held, piece.value);
    let whole = all.length;
    for (let back = 1; back <= 3 && back <= all.length; back++) {
      const byte = all[all.length - back];
      if ((byte & 0xc0) != 0x80) {
        const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        if (length > back) whole -= back;
        break;
      }
    }
    this.held = all.slice(whole);
    return new Result<string>(String.UTF8.decodeUnsafe(all.dataStart, whole));
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

/** A conversation whose context keeps what it has computed: an answer costs the tokens that are new.
 * For models with a chat template. */
export class Chat {
  /** Further members of the requests, as "\"tools\":[...],\"tool_choice\":\"auto\"". */
  options: string = "";
  params: Params = new Params();
  private messages: string = "";
  private context: Context | null = null;
  private held: Int32Array = tokens(0);
  constructor(private model: Model) {}

  add(role: string, content: string): void {
    this.addJson('{"role":' + quote(role) + ',"content":' + quote(content) + "}");
  }
  /** A message as an object of JSON. */
  addJson(message: string): void {
    this.messages = this.messages.length > 0 ? this.messages + "," + message : message;
  }
  /** Has the model answer, gives its text to `out` as it comes, and adds the answer. The answer as
   * JSON: "role", "content", "tool_calls" if there are some. */
  answer(tokensMax: i32, out: (text: string) => void = print): Result<string> {
    const request = '{"messages":[' + this.messages + "]" +
      (this.options.length > 0 ? "," + this.options : "") + "}";
    const list = this.model.chatTokenize(request);
    if (!list.ok) return new Result<string>("", list.failure);
    const made = Sampler.create(this.model, this.params);
    if (!made.ok) return new Result<string>("", made.failure);
    const sampler = made.value;
    const result = this.speak(sampler, request, list.value, tokensMax, out);
    sampler.close();
    if (result.ok) this.addJson(result.value);
    return result;
  }
  private speak(sampler: Sampler, request: string, list: Int32Array, tokensMax: i32,
    out: (text: string) => void): Result<string> {
    for (let i = 0; i < list.length; i++) {
      const accepted = sampler.accept(list[i]);
      if (!accepted.ok) return new Result<string>("", accepted.failure);
    }
    const held = sampler.chat(request);
    if (!held.ok) return new Result<string>("", held.failure);
    if (this.context == null) {
      const created = Context.create(this.model);
      if (!created.ok) return new Result<string>("", created.failure);
      this.context = created.value;
    }
    const context = this.context!;
    let same = 0;
    while (same < this.held.length && same + 1 < list.length && this.held[same] == list[same]) same++;
    const trimmed = context.trim(same);
    if (!trimmed.ok) return new Result<string>("", trimmed.failure);
    this.held = this.held.slice(0, same);
    const speech = new Generation(tokensMax);
    const begun = speech.begin(context, sampler, list.slice(same));
    if (!begun.ok) return new Result<string>("", begun.failure);
    const stream = new TextStream(this.model);
    let said = new Uint8Array(0);
    const one = tokens(1);
    for (let token = speech.next(); token >= 0; token = speech.next()) {
      one[0] = token;
      const piece = this.model.detokenizeBytes(one, raw.DETOKENIZE_SPECIAL);
      const text = stream.put(token);
      if (!piece.ok || !text.ok) {
        speech.end();
        return new Result<string>("", piece.ok ? text.failure : piece.failure);
      }
      said = joined(said, piece.value);
      if (text.value.length > 0) out(text.value);
    }
    if (speech.failure != null) return new Result<string>("", speech.failure);
    const chosen = speech.chosen;
    const all = tokens(list.length + max(chosen.length - 1, 0)); // the last is not in the context
    all.set(list);
    for (let i = 0; i + 1 < chosen.length; i++) all[list.length + i] = chosen[i];
    this.held = all;
    return this.model.chatParse(request, said);
  }
}
