// Written by scripts/sdk-imports from guest/driftwood_guest.h and guest/driftwood_abi.h.

export const OK: i32 = 0;
export const E_ARG: i32 = -1;
export const E_RANGE: i32 = -2;
export const E_ALIGN: i32 = -3;
export const E_HANDLE: i32 = -4;
export const E_TYPE: i32 = -5;
export const E_SHAPE: i32 = -6;
export const E_OVERLAP: i32 = -7;
export const E_LIMIT: i32 = -8;
export const E_MEMORY: i32 = -9;
export const E_BUSY: i32 = -10;
export const E_STATE: i32 = -11;
export const E_UNSUPPORTED: i32 = -12;
export const E_FORMAT: i32 = -13;
export const E_NOT_FOUND: i32 = -14;
export const E_IO: i32 = -15;
export const E_DEVICE: i32 = -16;
export const E_TRAP: i32 = -17;
export const E_NUMERIC: i32 = -18;
export const E_CANCELLED: i32 = -19;
export const E_SPACE: i32 = -20;
export const E_DENIED: i32 = -21;
export const E_END: i32 = -22;
export const F32: i32 = 0;
export const F16: i32 = 1;
export const Q4_0: i32 = 2;
export const Q4_1: i32 = 3;
export const Q5_0: i32 = 6;
export const Q5_1: i32 = 7;
export const Q8_0: i32 = 8;
export const Q2_K: i32 = 10;
export const Q3_K: i32 = 11;
export const Q4_K: i32 = 12;
export const Q5_K: i32 = 13;
export const Q6_K: i32 = 14;
export const I32: i32 = 26;
export const BF16: i32 = 30;
export const OP_MATMUL: i32 = 1;
export const OP_ADD: i32 = 2;
export const OP_SUB: i32 = 3;
export const OP_MUL: i32 = 4;
export const OP_DIV: i32 = 5;
export const OP_SCALE: i32 = 6;
export const OP_SOFTMAX: i32 = 7;
export const OP_RMS_NORM: i32 = 8;
export const OP_NORM: i32 = 9;
export const OP_GELU: i32 = 10;
export const OP_SILU: i32 = 11;
export const OP_RELU: i32 = 12;
export const OP_TANH: i32 = 13;
export const OP_SIGMOID: i32 = 14;
export const OP_EXP: i32 = 15;
export const OP_SQRT: i32 = 16;
export const OP_SQR: i32 = 17;
export const OP_NEG: i32 = 18;
export const OP_SUM: i32 = 19;
export const OP_SUM_ROWS: i32 = 20;
export const OP_MEAN: i32 = 21;
export const OP_ARGMAX: i32 = 22;
export const OP_TRANSPOSE: i32 = 23;
export const OP_PERMUTE: i32 = 24;
export const OP_RESHAPE: i32 = 25;
export const OP_VIEW: i32 = 26;
export const OP_CONT: i32 = 27;
export const OP_CONVERT: i32 = 28;
export const OP_GET_ROWS: i32 = 29;
export const OP_ROPE: i32 = 30;
export const OP_ATTENTION: i32 = 31;
export const OP_CONCAT: i32 = 32;
export const OP_REPEAT: i32 = 33;
export const ABI_VERSION: i32 = 2;
export const MODEL_NAME_MAX: i32 = 200;
export const TENSOR_ALIGN: i32 = 64;
export const MAX_DIMS: i32 = 4;
export const GENERATE_PAST_END: i32 = 1;
export const GENERATE_SPECIAL: i32 = 2;
export const GENERATE_GOES_ON: i32 = 0;
export const GENERATE_END_TOKEN: i32 = 1;
export const GENERATE_STOP_TOKEN: i32 = 2;
export const GENERATE_STOP_STRING: i32 = 3;
export const GENERATE_MAXIMUM: i32 = 4;
export const GENERATE_FULL: i32 = 5;
export const GENERATE_LEFT: i32 = 6;
export const FORWARD_HIDDEN: i32 = 1;
export const FORWARD_LOG_PROBABILITY: i32 = 2;
export const FORWARD_STEPS_MAX: i32 = 256;
export const TOP_COUNT_MAX: i32 = 128;
export const LORAS_MAX: i32 = 64;
export const LORA_NAME_MAX: i32 = 200;
export const CONTEXT_ROWS_MAX: i32 = 16;
export const TREE_TOKENS_MAX: i32 = 256;
export const POOLING_MODEL: i32 = -1;
export const POOLING_NONE: i32 = 0;
export const POOLING_MEAN: i32 = 1;
export const POOLING_FIRST: i32 = 2;
export const POOLING_LAST: i32 = 3;
export const EMBED_NORMALIZE: i32 = 1;
export const REPLY_LAST: i32 = 1;
export const WATCH_ON_FAILURE: i32 = 1;
export const WATCH_ON_ASIDE: i32 = 2;
export const MESSAGE_PLAIN: i32 = 0;
export const MESSAGE_WATCH: i32 = 1;
export const TOKENIZE_SPECIAL: i32 = 1;
export const TOKENIZE_PARSE: i32 = 2;
export const CHAT_PARTIAL: i32 = 1;
export const DETOKENIZE_SPECIAL: i32 = 1;
export const ACTOR_ID_BYTES: i32 = 17;

@unmanaged
export class OpParams {
  i0: i32 = 0;
  i1: i32 = 0;
  i2: i32 = 0;
  i3: i32 = 0;
  i4: i32 = 0;
  i5: i32 = 0;
  i6: i32 = 0;
  i7: i32 = 0;
  f0: f32 = 0;
  f1: f32 = 0;
  f2: f32 = 0;
  f3: f32 = 0;
  f4: f32 = 0;
  f5: f32 = 0;
  f6: f32 = 0;
  f7: f32 = 0;
}
export const OP_PARAMS_BYTES: u32 = 64;

@unmanaged
export class Shape {
  kind: i32 = 0;
  dims: i32 = 0;
  ne0: u32 = 0;
  ne1: u32 = 0;
  ne2: u32 = 0;
  ne3: u32 = 0;
}
export const SHAPE_BYTES: u32 = 24;

@unmanaged
export class SamplerParams {
  temperature: f32 = 0;
  top_k: i32 = 0;
  top_p: f32 = 0;
  min_p: f32 = 0;
  repeat_penalty: f32 = 0;
  frequency_penalty: f32 = 0;
  presence_penalty: f32 = 0;
  penalty_tokens: i32 = 0;
  seed: u64 = 0;
  struct_bytes: u32 = 0;
  reserved: u32 = 0;
  temperature_range: f32 = 0;
  temperature_exponent: f32 = 0;
  typical_p: f32 = 0;
  top_n_sigma: f32 = 0;
  xtc_probability: f32 = 0;
  xtc_threshold: f32 = 0;
  dry_multiplier: f32 = 0;
  dry_base: f32 = 0;
  dry_allowed_length: i32 = 0;
  dry_tokens: i32 = 0;
  mirostat_tau: f32 = 0;
  mirostat_eta: f32 = 0;
}
export const SAMPLER_PARAMS_BYTES: u32 = 96;

@unmanaged
export class LogitBias {
  token: i32 = 0;
  bias: f32 = 0;
}
export const LOGIT_BIAS_BYTES: u32 = 8;

@unmanaged
export class StopString {
  text: usize = 0;
  bytes: u32 = 0;
}
export const STOP_STRING_BYTES: u32 = 8;

@unmanaged
export class GenerateRequest {
  struct_bytes: u32 = 0;
  flags: u32 = 0;
  prompt: usize = 0;
  prompt_count: u32 = 0;
  tokens: usize = 0;
  tokens_max: u32 = 0;
  wake_tokens: u32 = 0;
  stop_tokens: usize = 0;
  stop_token_count: u32 = 0;
  stop_strings: usize = 0;
  stop_string_count: u32 = 0;
  reserved0: u32 = 0;
  reserved1: u32 = 0;
  token_count: u32 = 0;
  end: i32 = 0;
  stop_index: i32 = 0;
}
export const GENERATE_REQUEST_BYTES: u32 = 64;

@unmanaged
export class TreeShape {
  parents: usize = 0;
  positions: usize = 0;
  mask: usize = 0;
  reserved: u32 = 0;
}
export const TREE_SHAPE_BYTES: u32 = 16;

@unmanaged
export class ForwardStep {
  context: i32 = 0;
  flags: u32 = 0;
  tokens: usize = 0;
  token_count: u32 = 0;
  rows: usize = 0;
  row_count: u32 = 0;
  sampler: i32 = 0;
  top_count: u32 = 0;
  top_tokens: usize = 0;
  top_log_probabilities: usize = 0;
  tree: usize = 0;
  reserved: u32 = 0;
  status: i32 = 0;
  token: i32 = 0;
  log_probability: f32 = 0;
  unused: u32 = 0;
}
export const FORWARD_STEP_BYTES: u32 = 64;

@unmanaged
export class ForwardTreeStep {
  context: i32 = 0;
  flags: u32 = 0;
  tokens: usize = 0;
  token_count: u32 = 0;
  parents: usize = 0;
  positions: usize = 0;
  mask: usize = 0;
  rows: usize = 0;
  row_count: u32 = 0;
  reserved0: u32 = 0;
  reserved1: u32 = 0;
  reserved2: u32 = 0;
  reserved3: u32 = 0;
  reserved4: u32 = 0;
  reserved5: u32 = 0;
  reserved6: u32 = 0;
}
export const FORWARD_TREE_STEP_BYTES: u32 = 64;

@unmanaged
export class ModelInfo {
  vocab_count: u32 = 0;
  context_length: u32 = 0;
  embedding_length: u32 = 0;
  layer_count: u32 = 0;
  bos_token: i32 = 0;
  eos_token: i32 = 0;
  eot_token: i32 = 0;
  newline_token: i32 = 0;
  adds_bos: u32 = 0;
  has_chat_template: u32 = 0;
  parameter_count: u64 = 0;
  kv_bytes_per_token: u64 = 0;
  is_encoder: u32 = 0;
  pooling: i32 = 0;
}
export const MODEL_INFO_BYTES: u32 = 64;

@unmanaged
export class Message {
  role: usize = 0;
  content: usize = 0;
}
export const MESSAGE_BYTES: u32 = 8;

@external("driftwood", "abi_version")
export declare function abi_version(): i32;

@external("driftwood", "last_error")
export declare function last_error(buffer: usize, capacity: u32): i32;

@external("driftwood", "input")
export declare function input(buffer: usize, capacity: u32): i32;

@external("driftwood", "device_name")
export declare function device_name(buffer: usize, capacity: u32): i32;

@external("driftwood", "clock_ns")
export declare function clock_ns(): u64;

@external("driftwood", "host_copied_bytes")
export declare function host_copied_bytes(): u64;

@external("driftwood", "graph_create")
export declare function graph_create(): i32;

@external("driftwood", "graph_tensor")
export declare function graph_tensor(graph: i32, kind: i32, ne: usize, data: usize): i32;

@external("driftwood", "graph_op")
export declare function graph_op(graph: i32, op: i32, inputs: usize, params: usize): i32;

@external("driftwood", "graph_output")
export declare function graph_output(graph: i32, tensor: i32, data: usize): i32;

@external("driftwood", "tensor_shape")
export declare function tensor_shape(graph: i32, tensor: i32, shape: usize): i32;

@external("driftwood", "graph_build")
export declare function graph_build(graph: i32): i32;

@external("driftwood", "graph_run")
export declare function graph_run(graph: i32): i32;

@external("driftwood", "graph_destroy")
export declare function graph_destroy(graph: i32): i32;

@external("driftwood", "model_open")
export declare function model_open(name: usize, name_bytes: u32): i32;

@external("driftwood", "model_close")
export declare function model_close(model: i32): i32;

@external("driftwood", "model_info")
export declare function model_info(model: i32, info: usize): i32;

@external("driftwood", "model_count")
export declare function model_count(): i32;

@external("driftwood", "model_name")
export declare function model_name(index: u32, name: usize, capacity: u32): i32;

@external("driftwood", "tokenize")
export declare function tokenize(model: i32, text: usize, text_bytes: u32, tokens: usize, capacity: u32, flags: u32): i32;

@external("driftwood", "detokenize")
export declare function detokenize(model: i32, tokens: usize, count: u32, text: usize, capacity: u32, flags: u32): i32;

@external("driftwood", "token_is_end")
export declare function token_is_end(model: i32, token: i32): i32;

@external("driftwood", "chat_template")
export declare function chat_template(model: i32, messages: usize, count: u32, open_answer: i32, text: usize, capacity: u32): i32;

@external("driftwood", "chat_render")
export declare function chat_render(model: i32, request: usize, bytes: u32, text: usize, capacity: u32): i32;

@external("driftwood", "chat_tokenize")
export declare function chat_tokenize(model: i32, request: usize, bytes: u32, skip: u32, tokens: usize, capacity: u32): i32;

@external("driftwood", "chat_parse")
export declare function chat_parse(model: i32, request: usize, bytes: u32, answer: usize, answer_bytes: u32, flags: u32, text: usize, capacity: u32): i32;

@external("driftwood", "chat_info")
export declare function chat_info(model: i32, request: usize, bytes: u32, text: usize, capacity: u32): i32;

@external("driftwood", "sampler_chat")
export declare function sampler_chat(sampler: i32, model: i32, request: usize, bytes: u32): i32;

@external("driftwood", "context_create")
export declare function context_create(model: i32, tokens_max: u32): i32;

@external("driftwood", "context_fork")
export declare function context_fork(context: i32): i32;

@external("driftwood", "context_save")
export declare function context_save(context: i32, name: usize, name_bytes: u32): i32;

@external("driftwood", "context_remove")
export declare function context_remove(name: usize, name_bytes: u32): i32;

@external("driftwood", "context_open")
export declare function context_open(model: i32, name: usize, name_bytes: u32, tokens_max: u32): i32;

@external("driftwood", "context_close")
export declare function context_close(context: i32): i32;

@external("driftwood", "context_length")
export declare function context_length(context: i32): i32;

@external("driftwood", "context_capacity")
export declare function context_capacity(context: i32): i32;

@external("driftwood", "context_trim")
export declare function context_trim(context: i32, length: u32): i32;

@external("driftwood", "context_shift")
export declare function context_shift(context: i32, keep: u32, drop: u32): i32;

@external("driftwood", "context_window")
export declare function context_window(context: i32, sink: u32, window: u32): i32;

@external("driftwood", "lora_count")
export declare function lora_count(model: i32): i32;

@external("driftwood", "lora_name")
export declare function lora_name(model: i32, index: u32, name: usize, capacity: u32): i32;

@external("driftwood", "context_set_loras")
export declare function context_set_loras(context: i32, loras: usize, scales: usize, count: u32): i32;

@external("driftwood", "context_loras")
export declare function context_loras(context: i32, loras: usize, scales: usize, capacity: u32): i32;

@external("driftwood", "context_rows")
export declare function context_rows(context: i32, count: u32): i32;

@external("driftwood", "context_logits")
export declare function context_logits(context: i32, logits: usize): i32;

@external("driftwood", "forward")
export declare function forward(context: i32, tokens: usize, count: u32, logits: usize, rows: u32): i32;

@external("driftwood", "forward_hidden")
export declare function forward_hidden(context: i32, tokens: usize, count: u32, hidden: usize, rows: u32): i32;

@external("driftwood", "forward_many")
export declare function forward_many(steps: usize, count: u32): i32;

@external("driftwood", "forward_top")
export declare function forward_top(context: i32, tokens: usize, count: u32, top_tokens: usize, top_log_probabilities: usize, top_count: u32): i32;

@external("driftwood", "forward_tree")
export declare function forward_tree(tree: usize): i32;

@external("driftwood", "context_keep")
export declare function context_keep(context: i32, path: usize, count: u32): i32;

@external("driftwood", "forward_embeddings")
export declare function forward_embeddings(context: i32, embeddings: usize, count: u32, logits: usize, rows: u32): i32;

@external("driftwood", "token_embeddings")
export declare function token_embeddings(model: i32, tokens: usize, count: u32, embeddings: usize): i32;

@external("driftwood", "embed")
export declare function embed(model: i32, tokens: usize, count: u32, pooling: i32, flags: u32, embedding: usize): i32;

@external("driftwood", "sampler_create")
export declare function sampler_create(model: i32, params: usize): i32;

@external("driftwood", "sampler_logit_bias")
export declare function sampler_logit_bias(sampler: i32, biases: usize, count: u32): i32;

@external("driftwood", "sampler_dry_breakers")
export declare function sampler_dry_breakers(sampler: i32, model: i32, breakers: usize, count: u32): i32;

@external("driftwood", "sampler_grammar")
export declare function sampler_grammar(sampler: i32, model: i32, text: usize, bytes: u32): i32;

@external("driftwood", "sampler_json_schema")
export declare function sampler_json_schema(sampler: i32, model: i32, schema: usize, bytes: u32): i32;

@external("driftwood", "sampler_mask")
export declare function sampler_mask(sampler: i32, logits: usize): i32;

@external("driftwood", "sampler_fork")
export declare function sampler_fork(sampler: i32, seed: u64): i32;

@external("driftwood", "sampler_close")
export declare function sampler_close(sampler: i32): i32;

@external("driftwood", "sample")
export declare function sample(sampler: i32, logits: usize): i32;

@external("driftwood", "forward_sample")
export declare function forward_sample(context: i32, tokens: usize, count: u32, sampler: i32): i32;

@external("driftwood", "generate_begin")
export declare function generate_begin(context: i32, sampler: i32, request: usize): i32;

@external("driftwood", "generate_wait")
export declare function generate_wait(context: i32): i32;

@external("driftwood", "generate_end")
export declare function generate_end(context: i32): i32;

@external("driftwood", "sampler_accept")
export declare function sampler_accept(sampler: i32, token: i32): i32;

@external("driftwood", "greedy")
export declare function greedy(model: i32, logits: usize): i32;

@external("driftwood", "call")
export declare function call(name: usize, name_bytes: u32, request: usize, request_bytes: u32, answer: usize, capacity: u32): i32;

@external("driftwood", "call_answer")
export declare function call_answer(answer: usize, capacity: u32): i32;

@external("driftwood", "actor_id")
export declare function actor_id(id: usize, capacity: u32): i32;

@external("driftwood", "message_from")
export declare function message_from(id: usize, capacity: u32): i32;

@external("driftwood", "reply")
export declare function reply(bytes: usize, count: u32): i32;

@external("driftwood", "reply_later")
export declare function reply_later(): i64;

@external("driftwood", "reply_to")
export declare function reply_to(ticket: i64, bytes: usize, count: u32, flags: u32): i32;

@external("driftwood", "actor_send")
export declare function actor_send(id: usize, id_bytes: u32, message: usize, bytes: u32): i32;

@external("driftwood", "message_kind")
export declare function message_kind(): i32;

@external("driftwood", "actor_watch")
export declare function actor_watch(id: usize, id_bytes: u32, events: u32): i32;

@external("driftwood", "actor_unwatch")
export declare function actor_unwatch(id: usize, id_bytes: u32): i32;

@external("driftwood", "actor_spawn")
export declare function actor_spawn(name: usize, name_bytes: u32, message: usize, bytes: u32, id: usize, id_capacity: u32): i32;

@external("driftwood", "actor_fork")
export declare function actor_fork(message: usize, bytes: u32, id: usize, id_capacity: u32): i32;

@external("driftwood", "actor_timer")
export declare function actor_timer(wait_ms: u64, message: usize, bytes: u32): i32;

@external("driftwood", "group_join")
export declare function group_join(group: usize, bytes: u32): i32;

@external("driftwood", "group_leave")
export declare function group_leave(group: usize, bytes: u32): i32;

@external("driftwood", "actor_stop")
export declare function actor_stop(): i32;

@external("driftwood", "state_give")
export declare function state_give(bytes: usize, count: u32): i32;

@external("driftwood", "state_bytes")
export declare function state_bytes(): i64;

@external("driftwood", "state_take")
export declare function state_take(buffer: usize, capacity: u32): i32;

@external("driftwood", "handle_keep")
export declare function handle_keep(handle: i32): i32;
