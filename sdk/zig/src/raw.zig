//! Written by scripts/sdk-imports from guest/driftwood_guest.h and guest/driftwood_abi.h.

pub const DW_OK = 0;
pub const DW_E_ARG = -1;
pub const DW_E_RANGE = -2;
pub const DW_E_ALIGN = -3;
pub const DW_E_HANDLE = -4;
pub const DW_E_TYPE = -5;
pub const DW_E_SHAPE = -6;
pub const DW_E_OVERLAP = -7;
pub const DW_E_LIMIT = -8;
pub const DW_E_MEMORY = -9;
pub const DW_E_BUSY = -10;
pub const DW_E_STATE = -11;
pub const DW_E_UNSUPPORTED = -12;
pub const DW_E_FORMAT = -13;
pub const DW_E_NOT_FOUND = -14;
pub const DW_E_IO = -15;
pub const DW_E_DEVICE = -16;
pub const DW_E_TRAP = -17;
pub const DW_E_NUMERIC = -18;
pub const DW_E_CANCELLED = -19;
pub const DW_E_SPACE = -20;
pub const DW_E_DENIED = -21;
pub const DW_E_END = -22;
pub const DW_F32 = 0;
pub const DW_F16 = 1;
pub const DW_Q4_0 = 2;
pub const DW_Q4_1 = 3;
pub const DW_Q5_0 = 6;
pub const DW_Q5_1 = 7;
pub const DW_Q8_0 = 8;
pub const DW_Q2_K = 10;
pub const DW_Q3_K = 11;
pub const DW_Q4_K = 12;
pub const DW_Q5_K = 13;
pub const DW_Q6_K = 14;
pub const DW_I32 = 26;
pub const DW_BF16 = 30;
pub const DW_OP_MATMUL = 1;
pub const DW_OP_ADD = 2;
pub const DW_OP_SUB = 3;
pub const DW_OP_MUL = 4;
pub const DW_OP_DIV = 5;
pub const DW_OP_SCALE = 6;
pub const DW_OP_SOFTMAX = 7;
pub const DW_OP_RMS_NORM = 8;
pub const DW_OP_NORM = 9;
pub const DW_OP_GELU = 10;
pub const DW_OP_SILU = 11;
pub const DW_OP_RELU = 12;
pub const DW_OP_TANH = 13;
pub const DW_OP_SIGMOID = 14;
pub const DW_OP_EXP = 15;
pub const DW_OP_SQRT = 16;
pub const DW_OP_SQR = 17;
pub const DW_OP_NEG = 18;
pub const DW_OP_SUM = 19;
pub const DW_OP_SUM_ROWS = 20;
pub const DW_OP_MEAN = 21;
pub const DW_OP_ARGMAX = 22;
pub const DW_OP_TRANSPOSE = 23;
pub const DW_OP_PERMUTE = 24;
pub const DW_OP_RESHAPE = 25;
pub const DW_OP_VIEW = 26;
pub const DW_OP_CONT = 27;
pub const DW_OP_CONVERT = 28;
pub const DW_OP_GET_ROWS = 29;
pub const DW_OP_ROPE = 30;
pub const DW_OP_ATTENTION = 31;
pub const DW_OP_CONCAT = 32;
pub const DW_OP_REPEAT = 33;
pub const DW_ABI_VERSION = 2;
pub const DW_MODEL_NAME_MAX = 200;
pub const DW_TENSOR_ALIGN = 64;
pub const DW_MAX_DIMS = 4;
pub const DW_GENERATE_PAST_END = 1;
pub const DW_GENERATE_SPECIAL = 2;
pub const DW_GENERATE_GOES_ON = 0;
pub const DW_GENERATE_END_TOKEN = 1;
pub const DW_GENERATE_STOP_TOKEN = 2;
pub const DW_GENERATE_STOP_STRING = 3;
pub const DW_GENERATE_MAXIMUM = 4;
pub const DW_GENERATE_FULL = 5;
pub const DW_GENERATE_LEFT = 6;
pub const DW_FORWARD_HIDDEN = 1;
pub const DW_FORWARD_LOG_PROBABILITY = 2;
pub const DW_FORWARD_STEPS_MAX = 256;
pub const DW_TOP_COUNT_MAX = 128;
pub const DW_LORAS_MAX = 64;
pub const DW_LORA_NAME_MAX = 200;
pub const DW_CONTEXT_ROWS_MAX = 16;
pub const DW_TREE_TOKENS_MAX = 256;
pub const DW_POOLING_MODEL = -1;
pub const DW_POOLING_NONE = 0;
pub const DW_POOLING_MEAN = 1;
pub const DW_POOLING_FIRST = 2;
pub const DW_POOLING_LAST = 3;
pub const DW_EMBED_NORMALIZE = 1;
pub const DW_REPLY_LAST = 1;
pub const DW_WATCH_ON_FAILURE = 1;
pub const DW_WATCH_ON_ASIDE = 2;
pub const DW_MESSAGE_PLAIN = 0;
pub const DW_MESSAGE_WATCH = 1;
pub const DW_TOKENIZE_SPECIAL = 1;
pub const DW_TOKENIZE_PARSE = 2;
pub const DW_CHAT_PARTIAL = 1;
pub const DW_DETOKENIZE_SPECIAL = 1;
pub const DW_ACTOR_ID_BYTES = 17;

pub const OpParams = extern struct {
    i: [8]i32 = @splat(0),
    f: [8]f32 = @splat(0),
};
comptime {
    if (@sizeOf(OpParams) != 64) unreachable;
}

pub const Shape = extern struct {
    kind: i32 = 0,
    dims: i32 = 0,
    ne: [4]u32 = @splat(0),
};
comptime {
    if (@sizeOf(Shape) != 24) unreachable;
}

pub const SamplerParams = extern struct {
    temperature: f32 = 0,
    top_k: i32 = 0,
    top_p: f32 = 0,
    min_p: f32 = 0,
    repeat_penalty: f32 = 0,
    frequency_penalty: f32 = 0,
    presence_penalty: f32 = 0,
    penalty_tokens: i32 = 0,
    seed: u64 = 0,
    struct_bytes: u32 = 0,
    reserved: u32 = 0,
    temperature_range: f32 = 0,
    temperature_exponent: f32 = 0,
    typical_p: f32 = 0,
    top_n_sigma: f32 = 0,
    xtc_probability: f32 = 0,
    xtc_threshold: f32 = 0,
    dry_multiplier: f32 = 0,
    dry_base: f32 = 0,
    dry_allowed_length: i32 = 0,
    dry_tokens: i32 = 0,
    mirostat_tau: f32 = 0,
    mirostat_eta: f32 = 0,
};
comptime {
    if (@sizeOf(SamplerParams) != 96) unreachable;
}

pub const LogitBias = extern struct {
    token: i32 = 0,
    bias: f32 = 0,
};
comptime {
    if (@sizeOf(LogitBias) != 8) unreachable;
}

pub const StopString = extern struct {
    text: ?[*]const u8 = null,
    bytes: u32 = 0,
};
comptime {
    if (@sizeOf(StopString) != 8) unreachable;
}

pub const GenerateRequest = extern struct {
    struct_bytes: u32 = 0,
    flags: u32 = 0,
    prompt: ?[*]const i32 = null,
    prompt_count: u32 = 0,
    tokens: ?[*]i32 = null,
    tokens_max: u32 = 0,
    wake_tokens: u32 = 0,
    stop_tokens: ?[*]const i32 = null,
    stop_token_count: u32 = 0,
    stop_strings: ?[*]const StopString = null,
    stop_string_count: u32 = 0,
    reserved: [2]u32 = @splat(0),
    token_count: u32 = 0,
    end: i32 = 0,
    stop_index: i32 = 0,
};
comptime {
    if (@sizeOf(GenerateRequest) != 64) unreachable;
}

pub const TreeShape = extern struct {
    parents: ?[*]const i32 = null,
    positions: ?[*]const i32 = null,
    mask: ?[*]const u8 = null,
    reserved: u32 = 0,
};
comptime {
    if (@sizeOf(TreeShape) != 16) unreachable;
}

pub const ForwardStep = extern struct {
    context: i32 = 0,
    flags: u32 = 0,
    tokens: ?[*]const i32 = null,
    token_count: u32 = 0,
    rows: ?[*]f32 = null,
    row_count: u32 = 0,
    sampler: i32 = 0,
    top_count: u32 = 0,
    top_tokens: ?[*]i32 = null,
    top_log_probabilities: ?[*]f32 = null,
    tree: ?[*]const TreeShape = null,
    reserved: u32 = 0,
    status: i32 = 0,
    token: i32 = 0,
    log_probability: f32 = 0,
    unused: u32 = 0,
};
comptime {
    if (@sizeOf(ForwardStep) != 64) unreachable;
}

pub const ForwardTreeStep = extern struct {
    context: i32 = 0,
    flags: u32 = 0,
    tokens: ?[*]const i32 = null,
    token_count: u32 = 0,
    parents: ?[*]const i32 = null,
    positions: ?[*]const i32 = null,
    mask: ?[*]const u8 = null,
    rows: ?[*]f32 = null,
    row_count: u32 = 0,
    reserved: [7]u32 = @splat(0),
};
comptime {
    if (@sizeOf(ForwardTreeStep) != 64) unreachable;
}

pub const ModelInfo = extern struct {
    vocab_count: u32 = 0,
    context_length: u32 = 0,
    embedding_length: u32 = 0,
    layer_count: u32 = 0,
    bos_token: i32 = 0,
    eos_token: i32 = 0,
    eot_token: i32 = 0,
    newline_token: i32 = 0,
    adds_bos: u32 = 0,
    has_chat_template: u32 = 0,
    parameter_count: u64 = 0,
    kv_bytes_per_token: u64 = 0,
    is_encoder: u32 = 0,
    pooling: i32 = 0,
};
comptime {
    if (@sizeOf(ModelInfo) != 64) unreachable;
}

pub const Message = extern struct {
    role: ?[*]const u8 = null,
    content: ?[*]const u8 = null,
};
comptime {
    if (@sizeOf(Message) != 8) unreachable;
}

pub extern "driftwood" fn abi_version() i32;
pub extern "driftwood" fn last_error(buffer: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn input(buffer: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn device_name(buffer: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn clock_ns() u64;
pub extern "driftwood" fn host_copied_bytes() u64;
pub extern "driftwood" fn graph_create() i32;
pub extern "driftwood" fn graph_tensor(graph: i32, kind: i32, ne: ?[*]const u32, data: ?[*]const u8) i32;
pub extern "driftwood" fn graph_op(graph: i32, op: i32, inputs: ?[*]const i32, params: ?[*]const OpParams) i32;
pub extern "driftwood" fn graph_output(graph: i32, tensor: i32, data: ?[*]u8) i32;
pub extern "driftwood" fn tensor_shape(graph: i32, tensor: i32, shape: ?[*]Shape) i32;
pub extern "driftwood" fn graph_build(graph: i32) i32;
pub extern "driftwood" fn graph_run(graph: i32) i32;
pub extern "driftwood" fn graph_destroy(graph: i32) i32;
pub extern "driftwood" fn model_open(name: ?[*]const u8, name_bytes: u32) i32;
pub extern "driftwood" fn model_close(model: i32) i32;
pub extern "driftwood" fn model_info(model: i32, info: ?[*]ModelInfo) i32;
pub extern "driftwood" fn model_count() i32;
pub extern "driftwood" fn model_name(index: u32, name: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn tokenize(model: i32, text: ?[*]const u8, text_bytes: u32, tokens: ?[*]i32, capacity: u32, flags: u32) i32;
pub extern "driftwood" fn detokenize(model: i32, tokens: ?[*]const i32, count: u32, text: ?[*]u8, capacity: u32, flags: u32) i32;
pub extern "driftwood" fn token_is_end(model: i32, token: i32) i32;
pub extern "driftwood" fn chat_template(model: i32, messages: ?[*]const Message, count: u32, open_answer: i32, text: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn chat_render(model: i32, request: ?[*]const u8, bytes: u32, text: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn chat_tokenize(model: i32, request: ?[*]const u8, bytes: u32, skip: u32, tokens: ?[*]i32, capacity: u32) i32;
pub extern "driftwood" fn chat_parse(model: i32, request: ?[*]const u8, bytes: u32, answer: ?[*]const u8, answer_bytes: u32, flags: u32, text: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn chat_info(model: i32, request: ?[*]const u8, bytes: u32, text: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn sampler_chat(sampler: i32, model: i32, request: ?[*]const u8, bytes: u32) i32;
pub extern "driftwood" fn context_create(model: i32, tokens_max: u32) i32;
pub extern "driftwood" fn context_fork(context: i32) i32;
pub extern "driftwood" fn context_save(context: i32, name: ?[*]const u8, name_bytes: u32) i32;
pub extern "driftwood" fn context_remove(name: ?[*]const u8, name_bytes: u32) i32;
pub extern "driftwood" fn context_open(model: i32, name: ?[*]const u8, name_bytes: u32, tokens_max: u32) i32;
pub extern "driftwood" fn context_close(context: i32) i32;
pub extern "driftwood" fn context_length(context: i32) i32;
pub extern "driftwood" fn context_capacity(context: i32) i32;
pub extern "driftwood" fn context_trim(context: i32, length: u32) i32;
pub extern "driftwood" fn context_shift(context: i32, keep: u32, drop: u32) i32;
pub extern "driftwood" fn context_window(context: i32, sink: u32, window: u32) i32;
pub extern "driftwood" fn lora_count(model: i32) i32;
pub extern "driftwood" fn lora_name(model: i32, index: u32, name: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn context_set_loras(context: i32, loras: ?[*]const u32, scales: ?[*]const f32, count: u32) i32;
pub extern "driftwood" fn context_loras(context: i32, loras: ?[*]u32, scales: ?[*]f32, capacity: u32) i32;
pub extern "driftwood" fn context_rows(context: i32, count: u32) i32;
pub extern "driftwood" fn context_logits(context: i32, logits: ?[*]f32) i32;
pub extern "driftwood" fn forward(context: i32, tokens: ?[*]const i32, count: u32, logits: ?[*]f32, rows: u32) i32;
pub extern "driftwood" fn forward_hidden(context: i32, tokens: ?[*]const i32, count: u32, hidden: ?[*]f32, rows: u32) i32;
pub extern "driftwood" fn forward_many(steps: ?[*]ForwardStep, count: u32) i32;
pub extern "driftwood" fn forward_top(context: i32, tokens: ?[*]const i32, count: u32, top_tokens: ?[*]i32, top_log_probabilities: ?[*]f32, top_count: u32) i32;
pub extern "driftwood" fn forward_tree(tree: ?[*]const ForwardTreeStep) i32;
pub extern "driftwood" fn context_keep(context: i32, path: ?[*]const i32, count: u32) i32;
pub extern "driftwood" fn forward_embeddings(context: i32, embeddings: ?[*]const f32, count: u32, logits: ?[*]f32, rows: u32) i32;
pub extern "driftwood" fn token_embeddings(model: i32, tokens: ?[*]const i32, count: u32, embeddings: ?[*]f32) i32;
pub extern "driftwood" fn embed(model: i32, tokens: ?[*]const i32, count: u32, pooling: i32, flags: u32, embedding: ?[*]f32) i32;
pub extern "driftwood" fn sampler_create(model: i32, params: ?[*]const SamplerParams) i32;
pub extern "driftwood" fn sampler_logit_bias(sampler: i32, biases: ?[*]const LogitBias, count: u32) i32;
pub extern "driftwood" fn sampler_dry_breakers(sampler: i32, model: i32, breakers: ?[*]const [*]const u8, count: u32) i32;
pub extern "driftwood" fn sampler_grammar(sampler: i32, model: i32, text: ?[*]const u8, bytes: u32) i32;
pub extern "driftwood" fn sampler_json_schema(sampler: i32, model: i32, schema: ?[*]const u8, bytes: u32) i32;
pub extern "driftwood" fn sampler_mask(sampler: i32, logits: ?[*]f32) i32;
pub extern "driftwood" fn sampler_fork(sampler: i32, seed: u64) i32;
pub extern "driftwood" fn sampler_close(sampler: i32) i32;
pub extern "driftwood" fn sample(sampler: i32, logits: ?[*]const f32) i32;
pub extern "driftwood" fn forward_sample(context: i32, tokens: ?[*]const i32, count: u32, sampler: i32) i32;
pub extern "driftwood" fn generate_begin(context: i32, sampler: i32, request: ?[*]GenerateRequest) i32;
pub extern "driftwood" fn generate_wait(context: i32) i32;
pub extern "driftwood" fn generate_end(context: i32) i32;
pub extern "driftwood" fn sampler_accept(sampler: i32, token: i32) i32;
pub extern "driftwood" fn greedy(model: i32, logits: ?[*]const f32) i32;
pub extern "driftwood" fn call(name: ?[*]const u8, name_bytes: u32, request: ?[*]const u8, request_bytes: u32, answer: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn call_answer(answer: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn actor_id(id: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn message_from(id: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn reply(bytes: ?[*]const u8, count: u32) i32;
pub extern "driftwood" fn reply_later() i64;
pub extern "driftwood" fn reply_to(ticket: i64, bytes: ?[*]const u8, count: u32, flags: u32) i32;
pub extern "driftwood" fn actor_send(id: ?[*]const u8, id_bytes: u32, message: ?[*]const u8, bytes: u32) i32;
pub extern "driftwood" fn message_kind() i32;
pub extern "driftwood" fn actor_watch(id: ?[*]const u8, id_bytes: u32, events: u32) i32;
pub extern "driftwood" fn actor_unwatch(id: ?[*]const u8, id_bytes: u32) i32;
pub extern "driftwood" fn actor_spawn(name: ?[*]const u8, name_bytes: u32, message: ?[*]const u8, bytes: u32, id: ?[*]u8, id_capacity: u32) i32;
pub extern "driftwood" fn actor_fork(message: ?[*]const u8, bytes: u32, id: ?[*]u8, id_capacity: u32) i32;
pub extern "driftwood" fn actor_timer(wait_ms: u64, message: ?[*]const u8, bytes: u32) i32;
pub extern "driftwood" fn group_join(group: ?[*]const u8, bytes: u32) i32;
pub extern "driftwood" fn group_leave(group: ?[*]const u8, bytes: u32) i32;
pub extern "driftwood" fn actor_stop() i32;
pub extern "driftwood" fn state_give(bytes: ?[*]const u8, count: u32) i32;
pub extern "driftwood" fn state_bytes() i64;
pub extern "driftwood" fn state_take(buffer: ?[*]u8, capacity: u32) i32;
pub extern "driftwood" fn handle_keep(handle: i32) i32;
