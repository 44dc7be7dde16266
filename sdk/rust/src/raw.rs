//! Written by scripts/sdk-imports from guest/driftwood_guest.h and guest/driftwood_abi.h: functions,
//! structs and constants as they are.

pub const DW_OK: i32 = 0;
pub const DW_E_ARG: i32 = -1;
pub const DW_E_RANGE: i32 = -2;
pub const DW_E_ALIGN: i32 = -3;
pub const DW_E_HANDLE: i32 = -4;
pub const DW_E_TYPE: i32 = -5;
pub const DW_E_SHAPE: i32 = -6;
pub const DW_E_OVERLAP: i32 = -7;
pub const DW_E_LIMIT: i32 = -8;
pub const DW_E_MEMORY: i32 = -9;
pub const DW_E_BUSY: i32 = -10;
pub const DW_E_STATE: i32 = -11;
pub const DW_E_UNSUPPORTED: i32 = -12;
pub const DW_E_FORMAT: i32 = -13;
pub const DW_E_NOT_FOUND: i32 = -14;
pub const DW_E_IO: i32 = -15;
pub const DW_E_DEVICE: i32 = -16;
pub const DW_E_TRAP: i32 = -17;
pub const DW_E_NUMERIC: i32 = -18;
pub const DW_E_CANCELLED: i32 = -19;
pub const DW_E_SPACE: i32 = -20;
pub const DW_E_DENIED: i32 = -21;
pub const DW_E_END: i32 = -22;
pub const DW_F32: i32 = 0;
pub const DW_F16: i32 = 1;
pub const DW_Q4_0: i32 = 2;
pub const DW_Q4_1: i32 = 3;
pub const DW_Q5_0: i32 = 6;
pub const DW_Q5_1: i32 = 7;
pub const DW_Q8_0: i32 = 8;
pub const DW_Q2_K: i32 = 10;
pub const DW_Q3_K: i32 = 11;
pub const DW_Q4_K: i32 = 12;
pub const DW_Q5_K: i32 = 13;
pub const DW_Q6_K: i32 = 14;
pub const DW_I32: i32 = 26;
pub const DW_BF16: i32 = 30;
pub const DW_OP_MATMUL: i32 = 1;
pub const DW_OP_ADD: i32 = 2;
pub const DW_OP_SUB: i32 = 3;
pub const DW_OP_MUL: i32 = 4;
pub const DW_OP_DIV: i32 = 5;
pub const DW_OP_SCALE: i32 = 6;
pub const DW_OP_SOFTMAX: i32 = 7;
pub const DW_OP_RMS_NORM: i32 = 8;
pub const DW_OP_NORM: i32 = 9;
pub const DW_OP_GELU: i32 = 10;
pub const DW_OP_SILU: i32 = 11;
pub const DW_OP_RELU: i32 = 12;
pub const DW_OP_TANH: i32 = 13;
pub const DW_OP_SIGMOID: i32 = 14;
pub const DW_OP_EXP: i32 = 15;
pub const DW_OP_SQRT: i32 = 16;
pub const DW_OP_SQR: i32 = 17;
pub const DW_OP_NEG: i32 = 18;
pub const DW_OP_SUM: i32 = 19;
pub const DW_OP_SUM_ROWS: i32 = 20;
pub const DW_OP_MEAN: i32 = 21;
pub const DW_OP_ARGMAX: i32 = 22;
pub const DW_OP_TRANSPOSE: i32 = 23;
pub const DW_OP_PERMUTE: i32 = 24;
pub const DW_OP_RESHAPE: i32 = 25;
pub const DW_OP_VIEW: i32 = 26;
pub const DW_OP_CONT: i32 = 27;
pub const DW_OP_CONVERT: i32 = 28;
pub const DW_OP_GET_ROWS: i32 = 29;
pub const DW_OP_ROPE: i32 = 30;
pub const DW_OP_ATTENTION: i32 = 31;
pub const DW_OP_CONCAT: i32 = 32;
pub const DW_OP_REPEAT: i32 = 33;
pub const DW_ABI_VERSION: i32 = 2;
pub const DW_MODEL_NAME_MAX: i32 = 200;
pub const DW_TENSOR_ALIGN: i32 = 64;
pub const DW_MAX_DIMS: i32 = 4;
pub const DW_GENERATE_PAST_END: i32 = 1;
pub const DW_GENERATE_SPECIAL: i32 = 2;
pub const DW_GENERATE_GOES_ON: i32 = 0;
pub const DW_GENERATE_END_TOKEN: i32 = 1;
pub const DW_GENERATE_STOP_TOKEN: i32 = 2;
pub const DW_GENERATE_STOP_STRING: i32 = 3;
pub const DW_GENERATE_MAXIMUM: i32 = 4;
pub const DW_GENERATE_FULL: i32 = 5;
pub const DW_GENERATE_LEFT: i32 = 6;
pub const DW_FORWARD_HIDDEN: i32 = 1;
pub const DW_FORWARD_LOG_PROBABILITY: i32 = 2;
pub const DW_FORWARD_STEPS_MAX: i32 = 256;
pub const DW_TOP_COUNT_MAX: i32 = 128;
pub const DW_LORAS_MAX: i32 = 64;
pub const DW_LORA_NAME_MAX: i32 = 200;
pub const DW_CONTEXT_ROWS_MAX: i32 = 16;
pub const DW_TREE_TOKENS_MAX: i32 = 256;
pub const DW_POOLING_MODEL: i32 = -1;
pub const DW_POOLING_NONE: i32 = 0;
pub const DW_POOLING_MEAN: i32 = 1;
pub const DW_POOLING_FIRST: i32 = 2;
pub const DW_POOLING_LAST: i32 = 3;
pub const DW_EMBED_NORMALIZE: i32 = 1;
pub const DW_REPLY_LAST: i32 = 1;
pub const DW_WATCH_ON_FAILURE: i32 = 1;
pub const DW_WATCH_ON_ASIDE: i32 = 2;
pub const DW_MESSAGE_PLAIN: i32 = 0;
pub const DW_MESSAGE_WATCH: i32 = 1;
pub const DW_TOKENIZE_SPECIAL: i32 = 1;
pub const DW_TOKENIZE_PARSE: i32 = 2;
pub const DW_CHAT_PARTIAL: i32 = 1;
pub const DW_DETOKENIZE_SPECIAL: i32 = 1;
pub const DW_ACTOR_ID_BYTES: i32 = 17;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct OpParams {
    pub i: [i32; 8],
    pub f: [f32; 8],
}
const _: () = assert!(core::mem::size_of::<OpParams>() == 64);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: i32,
    pub dims: i32,
    pub ne: [u32; 4],
}
const _: () = assert!(core::mem::size_of::<Shape>() == 24);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SamplerParams {
    pub temperature: f32,
    pub top_k: i32,
    pub top_p: f32,
    pub min_p: f32,
    pub repeat_penalty: f32,
    pub frequency_penalty: f32,
    pub presence_penalty: f32,
    pub penalty_tokens: i32,
    pub seed: u64,
    pub struct_bytes: u32,
    pub reserved: u32,
    pub temperature_range: f32,
    pub temperature_exponent: f32,
    pub typical_p: f32,
    pub top_n_sigma: f32,
    pub xtc_probability: f32,
    pub xtc_threshold: f32,
    pub dry_multiplier: f32,
    pub dry_base: f32,
    pub dry_allowed_length: i32,
    pub dry_tokens: i32,
    pub mirostat_tau: f32,
    pub mirostat_eta: f32,
}
const _: () = assert!(core::mem::size_of::<SamplerParams>() == 96);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LogitBias {
    pub token: i32,
    pub bias: f32,
}
const _: () = assert!(core::mem::size_of::<LogitBias>() == 8);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StopString {
    pub text: *const u8,
    pub bytes: u32,
}
const _: () = assert!(core::mem::size_of::<StopString>() == 8);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GenerateRequest {
    pub struct_bytes: u32,
    pub flags: u32,
    pub prompt: *const i32,
    pub prompt_count: u32,
    pub tokens: *mut i32,
    pub tokens_max: u32,
    pub wake_tokens: u32,
    pub stop_tokens: *const i32,
    pub stop_token_count: u32,
    pub stop_strings: *const StopString,
    pub stop_string_count: u32,
    pub reserved: [u32; 2],
    pub token_count: u32,
    pub end: i32,
    pub stop_index: i32,
}
const _: () = assert!(core::mem::size_of::<GenerateRequest>() == 64);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TreeShape {
    pub parents: *const i32,
    pub positions: *const i32,
    pub mask: *const u8,
    pub reserved: u32,
}
const _: () = assert!(core::mem::size_of::<TreeShape>() == 16);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ForwardStep {
    pub context: i32,
    pub flags: u32,
    pub tokens: *const i32,
    pub token_count: u32,
    pub rows: *mut f32,
    pub row_count: u32,
    pub sampler: i32,
    pub top_count: u32,
    pub top_tokens: *mut i32,
    pub top_log_probabilities: *mut f32,
    pub tree: *const TreeShape,
    pub reserved: u32,
    pub status: i32,
    pub token: i32,
    pub log_probability: f32,
    pub unused: u32,
}
const _: () = assert!(core::mem::size_of::<ForwardStep>() == 64);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ForwardTreeStep {
    pub context: i32,
    pub flags: u32,
    pub tokens: *const i32,
    pub token_count: u32,
    pub parents: *const i32,
    pub positions: *const i32,
    pub mask: *const u8,
    pub rows: *mut f32,
    pub row_count: u32,
    pub reserved: [u32; 7],
}
const _: () = assert!(core::mem::size_of::<ForwardTreeStep>() == 64);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ModelInfo {
    pub vocab_count: u32,
    pub context_length: u32,
    pub embedding_length: u32,
    pub layer_count: u32,
    pub bos_token: i32,
    pub eos_token: i32,
    pub eot_token: i32,
    pub newline_token: i32,
    pub adds_bos: u32,
    pub has_chat_template: u32,
    pub parameter_count: u64,
    pub kv_bytes_per_token: u64,
    pub is_encoder: u32,
    pub pooling: i32,
}
const _: () = assert!(core::mem::size_of::<ModelInfo>() == 64);

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub role: *const u8,
    pub content: *const u8,
}
const _: () = assert!(core::mem::size_of::<Message>() == 8);

#[link(wasm_import_module = "driftwood")]
extern "C" {
    pub fn abi_version() -> i32;
    pub fn last_error(buffer: *mut u8, capacity: u32) -> i32;
    pub fn input(buffer: *mut u8, capacity: u32) -> i32;
    pub fn device_name(buffer: *mut u8, capacity: u32) -> i32;
    pub fn clock_ns() -> u64;
    pub fn host_copied_bytes() -> u64;
    pub fn graph_create() -> i32;
    pub fn graph_tensor(graph: i32, kind: i32, ne: *const u32, data: *const u8) -> i32;
    pub fn graph_op(graph: i32, op: i32, inputs: *const i32, params: *const OpParams) -> i32;
    pub fn graph_output(graph: i32, tensor: i32, data: *mut u8) -> i32;
    pub fn tensor_shape(graph: i32, tensor: i32, shape: *mut Shape) -> i32;
    pub fn graph_build(graph: i32) -> i32;
    pub fn graph_run(graph: i32) -> i32;
    pub fn graph_destroy(graph: i32) -> i32;
    pub fn model_open(name: *const u8, name_bytes: u32) -> i32;
    pub fn model_close(model: i32) -> i32;
    pub fn model_info(model: i32, info: *mut ModelInfo) -> i32;
    pub fn model_count() -> i32;
    pub fn model_name(index: u32, name: *mut u8, capacity: u32) -> i32;
    pub fn tokenize(model: i32, text: *const u8, text_bytes: u32, tokens: *mut i32, capacity: u32, flags: u32) -> i32;
    pub fn detokenize(model: i32, tokens: *const i32, count: u32, text: *mut u8, capacity: u32, flags: u32) -> i32;
    pub fn token_is_end(model: i32, token: i32) -> i32;
    pub fn chat_template(model: i32, messages: *const Message, count: u32, open_answer: i32, text: *mut u8, capacity: u32) -> i32;
    pub fn chat_render(model: i32, request: *const u8, bytes: u32, text: *mut u8, capacity: u32) -> i32;
    pub fn chat_tokenize(model: i32, request: *const u8, bytes: u32, skip: u32, tokens: *mut i32, capacity: u32) -> i32;
    pub fn chat_parse(model: i32, request: *const u8, bytes: u32, answer: *const u8, answer_bytes: u32, flags: u32, text: *mut u8, capacity: u32) -> i32;
    pub fn chat_info(model: i32, request: *const u8, bytes: u32, text: *mut u8, capacity: u32) -> i32;
    pub fn sampler_chat(sampler: i32, model: i32, request: *const u8, bytes: u32) -> i32;
    pub fn context_create(model: i32, tokens_max: u32) -> i32;
    pub fn context_fork(context: i32) -> i32;
    pub fn context_save(context: i32, name: *const u8, name_bytes: u32) -> i32;
    pub fn context_remove(name: *const u8, name_bytes: u32) -> i32;
    pub fn context_open(model: i32, name: *const u8, name_bytes: u32, tokens_max: u32) -> i32;
    pub fn context_close(context: i32) -> i32;
    pub fn context_length(context: i32) -> i32;
    pub fn context_capacity(context: i32) -> i32;
    pub fn context_trim(context: i32, length: u32) -> i32;
    pub fn context_shift(context: i32, keep: u32, drop: u32) -> i32;
    pub fn context_window(context: i32, sink: u32, window: u32) -> i32;
    pub fn lora_count(model: i32) -> i32;
    pub fn lora_name(model: i32, index: u32, name: *mut u8, capacity: u32) -> i32;
    pub fn context_set_loras(context: i32, loras: *const u32, scales: *const f32, count: u32) -> i32;
    pub fn context_loras(context: i32, loras: *mut u32, scales: *mut f32, capacity: u32) -> i32;
    pub fn context_rows(context: i32, count: u32) -> i32;
    pub fn context_logits(context: i32, logits: *mut f32) -> i32;
    pub fn forward(context: i32, tokens: *const i32, count: u32, logits: *mut f32, rows: u32) -> i32;
    pub fn forward_hidden(context: i32, tokens: *const i32, count: u32, hidden: *mut f32, rows: u32) -> i32;
    pub fn forward_many(steps: *mut ForwardStep, count: u32) -> i32;
    pub fn forward_top(context: i32, tokens: *const i32, count: u32, top_tokens: *mut i32, top_log_probabilities: *mut f32, top_count: u32) -> i32;
    pub fn forward_tree(tree: *const ForwardTreeStep) -> i32;
    pub fn context_keep(context: i32, path: *const i32, count: u32) -> i32;
    pub fn forward_embeddings(context: i32, embeddings: *const f32, count: u32, logits: *mut f32, rows: u32) -> i32;
    pub fn token_embeddings(model: i32, tokens: *const i32, count: u32, embeddings: *mut f32) -> i32;
    pub fn embed(model: i32, tokens: *const i32, count: u32, pooling: i32, flags: u32, embedding: *mut f32) -> i32;
    pub fn sampler_create(model: i32, params: *const SamplerParams) -> i32;
    pub fn sampler_logit_bias(sampler: i32, biases: *const LogitBias, count: u32) -> i32;
    pub fn sampler_dry_breakers(sampler: i32, model: i32, breakers: *const *const u8, count: u32) -> i32;
    pub fn sampler_grammar(sampler: i32, model: i32, text: *const u8, bytes: u32) -> i32;
    pub fn sampler_json_schema(sampler: i32, model: i32, schema: *const u8, bytes: u32) -> i32;
    pub fn sampler_mask(sampler: i32, logits: *mut f32) -> i32;
    pub fn sampler_fork(sampler: i32, seed: u64) -> i32;
    pub fn sampler_close(sampler: i32) -> i32;
    pub fn sample(sampler: i32, logits: *const f32) -> i32;
    pub fn forward_sample(context: i32, tokens: *const i32, count: u32, sampler: i32) -> i32;
    pub fn generate_begin(context: i32, sampler: i32, request: *mut GenerateRequest) -> i32;
    pub fn generate_wait(context: i32) -> i32;
    pub fn generate_end(context: i32) -> i32;
    pub fn sampler_accept(sampler: i32, token: i32) -> i32;
    pub fn greedy(model: i32, logits: *const f32) -> i32;
    pub fn call(name: *const u8, name_bytes: u32, request: *const u8, request_bytes: u32, answer: *mut u8, capacity: u32) -> i32;
    pub fn call_answer(answer: *mut u8, capacity: u32) -> i32;
    pub fn actor_id(id: *mut u8, capacity: u32) -> i32;
    pub fn message_from(id: *mut u8, capacity: u32) -> i32;
    pub fn reply(bytes: *const u8, count: u32) -> i32;
    pub fn reply_later() -> i64;
    pub fn reply_to(ticket: i64, bytes: *const u8, count: u32, flags: u32) -> i32;
    pub fn actor_send(id: *const u8, id_bytes: u32, message: *const u8, bytes: u32) -> i32;
    pub fn message_kind() -> i32;
    pub fn actor_watch(id: *const u8, id_bytes: u32, events: u32) -> i32;
    pub fn actor_unwatch(id: *const u8, id_bytes: u32) -> i32;
    pub fn actor_spawn(name: *const u8, name_bytes: u32, message: *const u8, bytes: u32, id: *mut u8, id_capacity: u32) -> i32;
    pub fn actor_fork(message: *const u8, bytes: u32, id: *mut u8, id_capacity: u32) -> i32;
    pub fn actor_timer(wait_ms: u64, message: *const u8, bytes: u32) -> i32;
    pub fn group_join(group: *const u8, bytes: u32) -> i32;
    pub fn group_leave(group: *const u8, bytes: u32) -> i32;
    pub fn actor_stop() -> i32;
    pub fn state_give(bytes: *const u8, count: u32) -> i32;
    pub fn state_bytes() -> i64;
    pub fn state_take(buffer: *mut u8, capacity: u32) -> i32;
    pub fn handle_keep(handle: i32) -> i32;
}
