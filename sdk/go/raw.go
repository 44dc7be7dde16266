// Written by scripts/sdk-imports from guest/driftwood_guest.h and guest/driftwood_abi.h.
// Code generated; DO NOT EDIT.

package driftwood

import "unsafe"

// The numbers of the guest ABI.
const (
	OK                      = 0
	E_ARG                   = -1
	E_RANGE                 = -2
	E_ALIGN                 = -3
	E_HANDLE                = -4
	E_TYPE                  = -5
	E_SHAPE                 = -6
	E_OVERLAP               = -7
	E_LIMIT                 = -8
	E_MEMORY                = -9
	E_BUSY                  = -10
	E_STATE                 = -11
	E_UNSUPPORTED           = -12
	E_FORMAT                = -13
	E_NOT_FOUND             = -14
	E_IO                    = -15
	E_DEVICE                = -16
	E_TRAP                  = -17
	E_NUMERIC               = -18
	E_CANCELLED             = -19
	E_SPACE                 = -20
	E_DENIED                = -21
	E_END                   = -22
	F32                     = 0
	F16                     = 1
	Q4_0                    = 2
	Q4_1                    = 3
	Q5_0                    = 6
	Q5_1                    = 7
	Q8_0                    = 8
	Q2_K                    = 10
	Q3_K                    = 11
	Q4_K                    = 12
	Q5_K                    = 13
	Q6_K                    = 14
	I32                     = 26
	BF16                    = 30
	OP_MATMUL               = 1
	OP_ADD                  = 2
	OP_SUB                  = 3
	OP_MUL                  = 4
	OP_DIV                  = 5
	OP_SCALE                = 6
	OP_SOFTMAX              = 7
	OP_RMS_NORM             = 8
	OP_NORM                 = 9
	OP_GELU                 = 10
	OP_SILU                 = 11
	OP_RELU                 = 12
	OP_TANH                 = 13
	OP_SIGMOID              = 14
	OP_EXP                  = 15
	OP_SQRT                 = 16
	OP_SQR                  = 17
	OP_NEG                  = 18
	OP_SUM                  = 19
	OP_SUM_ROWS             = 20
	OP_MEAN                 = 21
	OP_ARGMAX               = 22
	OP_TRANSPOSE            = 23
	OP_PERMUTE              = 24
	OP_RESHAPE              = 25
	OP_VIEW                 = 26
	OP_CONT                 = 27
	OP_CONVERT              = 28
	OP_GET_ROWS             = 29
	OP_ROPE                 = 30
	OP_ATTENTION            = 31
	OP_CONCAT               = 32
	OP_REPEAT               = 33
	ABI_VERSION             = 2
	MODEL_NAME_MAX          = 200
	TENSOR_ALIGN            = 64
	MAX_DIMS                = 4
	GENERATE_PAST_END       = 1
	GENERATE_SPECIAL        = 2
	GENERATE_GOES_ON        = 0
	GENERATE_END_TOKEN      = 1
	GENERATE_STOP_TOKEN     = 2
	GENERATE_STOP_STRING    = 3
	GENERATE_MAXIMUM        = 4
	GENERATE_FULL           = 5
	GENERATE_LEFT           = 6
	FORWARD_HIDDEN          = 1
	FORWARD_LOG_PROBABILITY = 2
	FORWARD_STEPS_MAX       = 256
	TOP_COUNT_MAX           = 128
	LORAS_MAX               = 64
	LORA_NAME_MAX           = 200
	CONTEXT_ROWS_MAX        = 16
	TREE_TOKENS_MAX         = 256
	POOLING_MODEL           = -1
	POOLING_NONE            = 0
	POOLING_MEAN            = 1
	POOLING_FIRST           = 2
	POOLING_LAST            = 3
	EMBED_NORMALIZE         = 1
	REPLY_LAST              = 1
	WATCH_ON_FAILURE        = 1
	WATCH_ON_ASIDE          = 2
	MESSAGE_PLAIN           = 0
	MESSAGE_WATCH           = 1
	TOKENIZE_SPECIAL        = 1
	TOKENIZE_PARSE          = 2
	CHAT_PARTIAL            = 1
	DETOKENIZE_SPECIAL      = 1
	ACTOR_ID_BYTES          = 17
)

type abiOpParams struct {
	I [8]int32
	F [8]float32
}

var _ [64]byte = [unsafe.Sizeof(abiOpParams{})]byte{}

type abiShape struct {
	Type int32
	Dims int32
	Ne   [4]uint32
}

var _ [24]byte = [unsafe.Sizeof(abiShape{})]byte{}

type abiSamplerParams struct {
	Temperature         float32
	TopK                int32
	TopP                float32
	MinP                float32
	RepeatPenalty       float32
	FrequencyPenalty    float32
	PresencePenalty     float32
	PenaltyTokens       int32
	Seed                uint64
	StructBytes         uint32
	Reserved            uint32
	TemperatureRange    float32
	TemperatureExponent float32
	TypicalP            float32
	TopNSigma           float32
	XtcProbability      float32
	XtcThreshold        float32
	DryMultiplier       float32
	DryBase             float32
	DryAllowedLength    int32
	DryTokens           int32
	MirostatTau         float32
	MirostatEta         float32
}

var _ [96]byte = [unsafe.Sizeof(abiSamplerParams{})]byte{}

type abiLogitBias struct {
	Token int32
	Bias  float32
}

var _ [8]byte = [unsafe.Sizeof(abiLogitBias{})]byte{}

type abiStopString struct {
	Text  uint32
	Bytes uint32
}

var _ [8]byte = [unsafe.Sizeof(abiStopString{})]byte{}

type abiGenerateRequest struct {
	StructBytes     uint32
	Flags           uint32
	Prompt          uint32
	PromptCount     uint32
	Tokens          uint32
	TokensMax       uint32
	WakeTokens      uint32
	StopTokens      uint32
	StopTokenCount  uint32
	StopStrings     uint32
	StopStringCount uint32
	Reserved        [2]uint32
	TokenCount      uint32
	End             int32
	StopIndex       int32
}

var _ [64]byte = [unsafe.Sizeof(abiGenerateRequest{})]byte{}

type abiTreeShape struct {
	Parents   uint32
	Positions uint32
	Mask      uint32
	Reserved  uint32
}

var _ [16]byte = [unsafe.Sizeof(abiTreeShape{})]byte{}

type abiForwardStep struct {
	Context             int32
	Flags               uint32
	Tokens              uint32
	TokenCount          uint32
	Rows                uint32
	RowCount            uint32
	Sampler             int32
	TopCount            uint32
	TopTokens           uint32
	TopLogProbabilities uint32
	Tree                uint32
	Reserved            uint32
	Status              int32
	Token               int32
	LogProbability      float32
	Unused              uint32
}

var _ [64]byte = [unsafe.Sizeof(abiForwardStep{})]byte{}

type abiForwardTreeStep struct {
	Context    int32
	Flags      uint32
	Tokens     uint32
	TokenCount uint32
	Parents    uint32
	Positions  uint32
	Mask       uint32
	Rows       uint32
	RowCount   uint32
	Reserved   [7]uint32
}

var _ [64]byte = [unsafe.Sizeof(abiForwardTreeStep{})]byte{}

type abiModelInfo struct {
	VocabCount      uint32
	ContextLength   uint32
	EmbeddingLength uint32
	LayerCount      uint32
	BosToken        int32
	EosToken        int32
	EotToken        int32
	NewlineToken    int32
	AddsBos         uint32
	HasChatTemplate uint32
	ParameterCount  uint64
	KvBytesPerToken uint64
	IsEncoder       uint32
	Pooling         int32
}

var _ [64]byte = [unsafe.Sizeof(abiModelInfo{})]byte{}

type abiMessage struct {
	Role    uint32
	Content uint32
}

var _ [8]byte = [unsafe.Sizeof(abiMessage{})]byte{}

//go:wasmimport driftwood abi_version
func rawAbiVersion() int32

//go:wasmimport driftwood last_error
func rawLastError(buffer unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood input
func rawInput(buffer unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood device_name
func rawDeviceName(buffer unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood clock_ns
func rawClockNs() uint64

//go:wasmimport driftwood host_copied_bytes
func rawHostCopiedBytes() uint64

//go:wasmimport driftwood graph_create
func rawGraphCreate() int32

//go:wasmimport driftwood graph_tensor
func rawGraphTensor(graph int32, kind int32, ne unsafe.Pointer, data unsafe.Pointer) int32

//go:wasmimport driftwood graph_op
func rawGraphOp(graph int32, op int32, inputs unsafe.Pointer, params unsafe.Pointer) int32

//go:wasmimport driftwood graph_output
func rawGraphOutput(graph int32, tensor int32, data unsafe.Pointer) int32

//go:wasmimport driftwood tensor_shape
func rawTensorShape(graph int32, tensor int32, shape unsafe.Pointer) int32

//go:wasmimport driftwood graph_build
func rawGraphBuild(graph int32) int32

//go:wasmimport driftwood graph_run
func rawGraphRun(graph int32) int32

//go:wasmimport driftwood graph_destroy
func rawGraphDestroy(graph int32) int32

//go:wasmimport driftwood model_open
func rawModelOpen(name unsafe.Pointer, nameBytes uint32) int32

//go:wasmimport driftwood model_close
func rawModelClose(model int32) int32

//go:wasmimport driftwood model_info
func rawModelInfo(model int32, info unsafe.Pointer) int32

//go:wasmimport driftwood model_count
func rawModelCount() int32

//go:wasmimport driftwood model_name
func rawModelName(index uint32, name unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood tokenize
func rawTokenize(model int32, text unsafe.Pointer, textBytes uint32, tokens unsafe.Pointer, capacity uint32, flags uint32) int32

//go:wasmimport driftwood detokenize
func rawDetokenize(model int32, tokens unsafe.Pointer, count uint32, text unsafe.Pointer, capacity uint32, flags uint32) int32

//go:wasmimport driftwood token_is_end
func rawTokenIsEnd(model int32, token int32) int32

//go:wasmimport driftwood chat_template
func rawChatTemplate(model int32, messages unsafe.Pointer, count uint32, openAnswer int32, text unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood chat_render
func rawChatRender(model int32, request unsafe.Pointer, bytes uint32, text unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood chat_tokenize
func rawChatTokenize(model int32, request unsafe.Pointer, bytes uint32, skip uint32, tokens unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood chat_parse
func rawChatParse(model int32, request unsafe.Pointer, bytes uint32, answer unsafe.Pointer, answerBytes uint32, flags uint32, text unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood chat_info
func rawChatInfo(model int32, request unsafe.Pointer, bytes uint32, text unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood sampler_chat
func rawSamplerChat(sampler int32, model int32, request unsafe.Pointer, bytes uint32) int32

//go:wasmimport driftwood context_create
func rawContextCreate(model int32, tokensMax uint32) int32

//go:wasmimport driftwood context_fork
func rawContextFork(context int32) int32

//go:wasmimport driftwood context_save
func rawContextSave(context int32, name unsafe.Pointer, nameBytes uint32) int32

//go:wasmimport driftwood context_remove
func rawContextRemove(name unsafe.Pointer, nameBytes uint32) int32

//go:wasmimport driftwood context_open
func rawContextOpen(model int32, name unsafe.Pointer, nameBytes uint32, tokensMax uint32) int32

//go:wasmimport driftwood context_close
func rawContextClose(context int32) int32

//go:wasmimport driftwood context_length
func rawContextLength(context int32) int32

//go:wasmimport driftwood context_capacity
func rawContextCapacity(context int32) int32

//go:wasmimport driftwood context_trim
func rawContextTrim(context int32, length uint32) int32

//go:wasmimport driftwood context_shift
func rawContextShift(context int32, keep uint32, drop uint32) int32

//go:wasmimport driftwood context_window
func rawContextWindow(context int32, sink uint32, window uint32) int32

//go:wasmimport driftwood lora_count
func rawLoraCount(model int32) int32

//go:wasmimport driftwood lora_name
func rawLoraName(model int32, index uint32, name unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood context_set_loras
func rawContextSetLoras(context int32, loras unsafe.Pointer, scales unsafe.Pointer, count uint32) int32

//go:wasmimport driftwood context_loras
func rawContextLoras(context int32, loras unsafe.Pointer, scales unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood context_rows
func rawContextRows(context int32, count uint32) int32

//go:wasmimport driftwood context_logits
func rawContextLogits(context int32, logits unsafe.Pointer) int32

//go:wasmimport driftwood forward
func rawForward(context int32, tokens unsafe.Pointer, count uint32, logits unsafe.Pointer, rows uint32) int32

//go:wasmimport driftwood forward_hidden
func rawForwardHidden(context int32, tokens unsafe.Pointer, count uint32, hidden unsafe.Pointer, rows uint32) int32

//go:wasmimport driftwood forward_many
func rawForwardMany(steps unsafe.Pointer, count uint32) int32

//go:wasmimport driftwood forward_top
func rawForwardTop(context int32, tokens unsafe.Pointer, count uint32, topTokens unsafe.Pointer, topLogProbabilities unsafe.Pointer, topCount uint32) int32

//go:wasmimport driftwood forward_tree
func rawForwardTree(tree unsafe.Pointer) int32

//go:wasmimport driftwood context_keep
func rawContextKeep(context int32, path unsafe.Pointer, count uint32) int32

//go:wasmimport driftwood forward_embeddings
func rawForwardEmbeddings(context int32, embeddings unsafe.Pointer, count uint32, logits unsafe.Pointer, rows uint32) int32

//go:wasmimport driftwood token_embeddings
func rawTokenEmbeddings(model int32, tokens unsafe.Pointer, count uint32, embeddings unsafe.Pointer) int32

//go:wasmimport driftwood embed
func rawEmbed(model int32, tokens unsafe.Pointer, count uint32, pooling int32, flags uint32, embedding unsafe.Pointer) int32

//go:wasmimport driftwood sampler_create
func rawSamplerCreate(model int32, params unsafe.Pointer) int32

//go:wasmimport driftwood sampler_logit_bias
func rawSamplerLogitBias(sampler int32, biases unsafe.Pointer, count uint32) int32

//go:wasmimport driftwood sampler_dry_breakers
func rawSamplerDryBreakers(sampler int32, model int32, breakers unsafe.Pointer, count uint32) int32

//go:wasmimport driftwood sampler_grammar
func rawSamplerGrammar(sampler int32, model int32, text unsafe.Pointer, bytes uint32) int32

//go:wasmimport driftwood sampler_json_schema
func rawSamplerJsonSchema(sampler int32, model int32, schema unsafe.Pointer, bytes uint32) int32

//go:wasmimport driftwood sampler_mask
func rawSamplerMask(sampler int32, logits unsafe.Pointer) int32

//go:wasmimport driftwood sampler_fork
func rawSamplerFork(sampler int32, seed uint64) int32

//go:wasmimport driftwood sampler_close
func rawSamplerClose(sampler int32) int32

//go:wasmimport driftwood sample
func rawSample(sampler int32, logits unsafe.Pointer) int32

//go:wasmimport driftwood forward_sample
func rawForwardSample(context int32, tokens unsafe.Pointer, count uint32, sampler int32) int32

//go:wasmimport driftwood generate_begin
func rawGenerateBegin(context int32, sampler int32, request unsafe.Pointer) int32

//go:wasmimport driftwood generate_wait
func rawGenerateWait(context int32) int32

//go:wasmimport driftwood generate_end
func rawGenerateEnd(context int32) int32

//go:wasmimport driftwood sampler_accept
func rawSamplerAccept(sampler int32, token int32) int32

//go:wasmimport driftwood greedy
func rawGreedy(model int32, logits unsafe.Pointer) int32

//go:wasmimport driftwood call
func rawCall(name unsafe.Pointer, nameBytes uint32, request unsafe.Pointer, requestBytes uint32, answer unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood call_answer
func rawCallAnswer(answer unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood actor_id
func rawActorId(id unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood message_from
func rawMessageFrom(id unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood reply
func rawReply(bytes unsafe.Pointer, count uint32) int32

//go:wasmimport driftwood reply_later
func rawReplyLater() int64

//go:wasmimport driftwood reply_to
func rawReplyTo(ticket int64, bytes unsafe.Pointer, count uint32, flags uint32) int32

//go:wasmimport driftwood actor_send
func rawActorSend(id unsafe.Pointer, idBytes uint32, message unsafe.Pointer, bytes uint32) int32

//go:wasmimport driftwood message_kind
func rawMessageKind() int32

//go:wasmimport driftwood actor_watch
func rawActorWatch(id unsafe.Pointer, idBytes uint32, events uint32) int32

//go:wasmimport driftwood actor_unwatch
func rawActorUnwatch(id unsafe.Pointer, idBytes uint32) int32

//go:wasmimport driftwood actor_spawn
func rawActorSpawn(name unsafe.Pointer, nameBytes uint32, message unsafe.Pointer, bytes uint32, id unsafe.Pointer, idCapacity uint32) int32

//go:wasmimport driftwood actor_fork
func rawActorFork(message unsafe.Pointer, bytes uint32, id unsafe.Pointer, idCapacity uint32) int32

//go:wasmimport driftwood actor_timer
func rawActorTimer(waitMs uint64, message unsafe.Pointer, bytes uint32) int32

//go:wasmimport driftwood group_join
func rawGroupJoin(group unsafe.Pointer, bytes uint32) int32

//go:wasmimport driftwood group_leave
func rawGroupLeave(group unsafe.Pointer, bytes uint32) int32

//go:wasmimport driftwood actor_stop
func rawActorStop() int32

//go:wasmimport driftwood state_give
func rawStateGive(bytes unsafe.Pointer, count uint32) int32

//go:wasmimport driftwood state_bytes
func rawStateBytes() int64

//go:wasmimport driftwood state_take
func rawStateTake(buffer unsafe.Pointer, capacity uint32) int32

//go:wasmimport driftwood handle_keep
func rawHandleKeep(handle int32) int32
