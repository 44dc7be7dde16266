# Written by scripts/sdk-imports from guest/driftwood_guest.h and guest/driftwood_abi.h.
OK = 0
E_ARG = -1
E_RANGE = -2
E_ALIGN = -3
E_HANDLE = -4
E_TYPE = -5
E_SHAPE = -6
E_OVERLAP = -7
E_LIMIT = -8
E_MEMORY = -9
E_BUSY = -10
E_STATE = -11
E_UNSUPPORTED = -12
E_FORMAT = -13
E_NOT_FOUND = -14
E_IO = -15
E_DEVICE = -16
E_TRAP = -17
E_NUMERIC = -18
E_CANCELLED = -19
E_SPACE = -20
E_DENIED = -21
E_END = -22
F32 = 0
F16 = 1
Q4_0 = 2
Q4_1 = 3
Q5_0 = 6
Q5_1 = 7
Q8_0 = 8
Q2_K = 10
Q3_K = 11
Q4_K = 12
Q5_K = 13
Q6_K = 14
I32 = 26
BF16 = 30
OP_MATMUL = 1
OP_ADD = 2
OP_SUB = 3
OP_MUL = 4
OP_DIV = 5
OP_SCALE = 6
OP_SOFTMAX = 7
OP_RMS_NORM = 8
OP_NORM = 9
OP_GELU = 10
OP_SILU = 11
OP_RELU = 12
OP_TANH = 13
OP_SIGMOID = 14
OP_EXP = 15
OP_SQRT = 16
OP_SQR = 17
OP_NEG = 18
OP_SUM = 19
OP_SUM_ROWS = 20
OP_MEAN = 21
OP_ARGMAX = 22
OP_TRANSPOSE = 23
OP_PERMUTE = 24
OP_RESHAPE = 25
OP_VIEW = 26
OP_CONT = 27
OP_CONVERT = 28
OP_GET_ROWS = 29
OP_ROPE = 30
OP_ATTENTION = 31
OP_CONCAT = 32
OP_REPEAT = 33
ABI_VERSION = 2
MODEL_NAME_MAX = 200
TENSOR_ALIGN = 64
MAX_DIMS = 4
GENERATE_PAST_END = 1
GENERATE_SPECIAL = 2
GENERATE_GOES_ON = 0
GENERATE_END_TOKEN = 1
GENERATE_STOP_TOKEN = 2
GENERATE_STOP_STRING = 3
GENERATE_MAXIMUM = 4
GENERATE_FULL = 5
GENERATE_LEFT = 6
FORWARD_HIDDEN = 1
FORWARD_LOG_PROBABILITY = 2
FORWARD_STEPS_MAX = 256
TOP_COUNT_MAX = 128
LORAS_MAX = 64
LORA_NAME_MAX = 200
CONTEXT_ROWS_MAX = 16
TREE_TOKENS_MAX = 256
POOLING_MODEL = -1
POOLING_NONE = 0
POOLING_MEAN = 1
POOLING_FIRST = 2
POOLING_LAST = 3
EMBED_NORMALIZE = 1
REPLY_LAST = 1
WATCH_ON_FAILURE = 1
WATCH_ON_ASIDE = 2
MESSAGE_PLAIN = 0
MESSAGE_WATCH = 1
TOKENIZE_SPECIAL = 1
TOKENIZE_PARSE = 2
CHAT_PARTIAL = 1
DETOKENIZE_SPECIAL = 1
ACTOR_ID_BYTES = 17

# name: (bytes, {field: (kind, offset, count)})
structs = {
    'op_params': (64, {
        'i': ('i', 0, 8),
        'f': ('f', 32, 8),
    }),
    'shape': (24, {
        'type': ('i', 0, 0),
        'dims': ('i', 4, 0),
        'ne': ('u', 8, 4),
    }),
    'sampler_params': (96, {
        'temperature': ('f', 0, 0),
        'top_k': ('i', 4, 0),
        'top_p': ('f', 8, 0),
        'min_p': ('f', 12, 0),
        'repeat_penalty': ('f', 16, 0),
        'frequency_penalty': ('f', 20, 0),
        'presence_penalty': ('f', 24, 0),
        'penalty_tokens': ('i', 28, 0),
        'seed': ('U', 32, 0),
        'struct_bytes': ('u', 40, 0),
        'reserved': ('u', 44, 0),
        'temperature_range': ('f', 48, 0),
        'temperature_exponent': ('f', 52, 0),
        'typical_p': ('f', 56, 0),
        'top_n_sigma': ('f', 60, 0),
        'xtc_probability': ('f', 64, 0),
        'xtc_threshold': ('f', 68, 0),
        'dry_multiplier': ('f', 72, 0),
        'dry_base': ('f', 76, 0),
        'dry_allowed_length': ('i', 80, 0),
        'dry_tokens': ('i', 84, 0),
        'mirostat_tau': ('f', 88, 0),
        'mirostat_eta': ('f', 92, 0),
    }),
    'logit_bias': (8, {
        'token': ('i', 0, 0),
        'bias': ('f', 4, 0),
    }),
    'stop_string': (8, {
        'text': ('u', 0, 0),
        'bytes': ('u', 4, 0),
    }),
    'generate_request': (64, {
        'struct_bytes': ('u', 0, 0),
        'flags': ('u', 4, 0),
        'prompt': ('u', 8, 0),
        'prompt_count': ('u', 12, 0),
        'tokens': ('u', 16, 0),
        'tokens_max': ('u', 20, 0),
        'wake_tokens': ('u', 24, 0),
        'stop_tokens': ('u', 28, 0),
        'stop_token_count': ('u', 32, 0),
        'stop_strings': ('u', 36, 0),
        'stop_string_count': ('u', 40, 0),
        'reserved': ('u', 44, 2),
        'token_count': ('u', 52, 0),
        'end': ('i', 56, 0),
        'stop_index': ('i', 60, 0),
    }),
    'tree_shape': (16, {
        'parents': ('u', 0, 0),
        'positions': ('u', 4, 0),
        'mask': ('u', 8, 0),
        'reserved': ('u', 12, 0),
    }),
    'forward_step': (64, {
        'context': ('i', 0, 0),
        'flags': ('u', 4, 0),
        'tokens': ('u', 8, 0),
        'token_count': ('u', 12, 0),
        'rows': ('u', 16, 0),
        'row_count': ('u', 20, 0),
        'sampler': ('i', 24, 0),
        'top_count': ('u', 28, 0),
        'top_tokens': ('u', 32, 0),
        'top_log_probabilities': ('u', 36, 0),
        'tree': ('u', 40, 0),
        'reserved': ('u', 44, 0),
        'status': ('i', 48, 0),
        'token': ('i', 52, 0),
        'log_probability': ('f', 56, 0),
        'unused': ('u', 60, 0),
    }),
    'forward_tree_step': (64, {
        'context': ('i', 0, 0),
        'flags': ('u', 4, 0),
        'tokens': ('u', 8, 0),
        'token_count': ('u', 12, 0),
        'parents': ('u', 16, 0),
        'positions': ('u', 20, 0),
        'mask': ('u', 24, 0),
        'rows': ('u', 28, 0),
        'row_count': ('u', 32, 0),
        'reserved': ('u', 36, 7),
    }),
    'model_info': (64, {
        'vocab_count': ('u', 0, 0),
        'context_length': ('u', 4, 0),
        'embedding_length': ('u', 8, 0),
        'layer_count': ('u', 12, 0),
        'bos_token': ('i', 16, 0),
        'eos_token': ('i', 20, 0),
        'eot_token': ('i', 24, 0),
        'newline_token': ('i', 28, 0),
        'adds_bos': ('u', 32, 0),
        'has_chat_template': ('u', 36, 0),
        'parameter_count': ('U', 40, 0),
        'kv_bytes_per_token': ('U', 48, 0),
        'is_encoder': ('u', 56, 0),
        'pooling': ('i', 60, 0),
    }),
    'message': (8, {
        'role': ('u', 0, 0),
        'content': ('u', 4, 0),
    }),
}
