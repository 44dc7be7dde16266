// Package driftwood is the guest API of Driftwood: language models and tensor graphs on a
// WebAssembly guest's own memory.
//
//	model, err := driftwood.OpenModel("")
//	...
//	chat := driftwood.NewChat(model)
//	chat.Add("user", "Name a sea.")
//	_, err = chat.Answer(64, os.Stdout)
//
// It is for GOOS=wasip1 GOARCH=wasm. Every function of the ABI is described in docs/guest-abi.md.
// What has a Close is open until that is called, or the guest ends.
package driftwood

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"unsafe"
)

// Version of this SDK, which is Driftwood's.
const Version = "0.1.0"

// An Error is a status below zero, and the host's words on it. Compare codes with errors.Is and
// the errors below.
type Error struct {
	Code    int32
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (status %d)", e.Message, e.Code) }

// Is tells whether both have the same code.
func (e *Error) Is(other error) bool {
	var wanted *Error
	return errors.As(other, &wanted) && wanted.Code == e.Code
}

// Errors that programs ask for: errors.Is(err, driftwood.ErrDenied).
var (
	ErrDenied    = &Error{E_DENIED, "not granted to this guest"}
	ErrCancelled = &Error{E_CANCELLED, "the host cancelled the step"}
	ErrLimit     = &Error{E_LIMIT, "over a limit"}
	ErrNotFound  = &Error{E_NOT_FOUND, "not found"}
)

func lastError(code int32) error {
	words := make([]byte, 256)
	length := rawLastError(unsafe.Pointer(&words[0]), uint32(len(words)))
	if length < 0 || int(length) > len(words) {
		length = 0
	}
	return &Error{code, string(words[:length])}
}

func check(result int32) (int, error) {
	if result < 0 {
		return 0, lastError(result)
	}
	return int(result), nil
}

func status(result int32) error {
	_, err := check(result)
	return err
}

// ---- memory --------------------------------------------------------------------------------

// Tokens and Floats that MakeTokens and MakeFloats give lie where every device uses them in place.
type (
	Tokens []int32
	Floats []float32
)

func aligned[T int32 | float32 | byte](count int) []T {
	var one T
	size := int(unsafe.Sizeof(one))
	room := make([]T, count+TENSOR_ALIGN/size+1)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(&room[0])) % TENSOR_ALIGN); rest != 0 {
		skip = (TENSOR_ALIGN - rest) / size
	}
	return room[skip : skip+count : skip+count]
}

// MakeTokens gives count zeros.
func MakeTokens(count int) Tokens { return aligned[int32](count) }

// MakeFloats gives count zeros.
func MakeFloats(count int) Floats { return aligned[float32](count) }

// Tokens where every device reads them, on the heap, which does not move.
func heapTokens(tokens []int32) []int32 {
	if len(tokens) > 0 && uintptr(unsafe.Pointer(&tokens[0]))%TENSOR_ALIGN == 0 {
		return tokens
	}
	out := aligned[int32](len(tokens))
	copy(out, tokens)
	return out
}

func at[T any](list []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(list)) }

// The address of something on the heap, for a struct that the host reads.
func address[T any](list []T) uint32 { return uint32(uintptr(at(list))) }

func textAt(text string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(text)) }

// What write gives, with as much room as it turns out to take; told: it leaves the number needed in
// the first four bytes where the room is too small.
func growing[T int32 | byte](room int, told bool, write func(to unsafe.Pointer, room uint32) int32) ([]T, error) {
	room = max(room, 4)
	for {
		out := aligned[T](room)
		result := write(at(out), uint32(room))
		if result >= 0 {
			return out[:result], nil
		}
		if result != E_SPACE || room > 1<<28 {
			return nil, lastError(result)
		}
		if told {
			room = int(*(*uint32)(at(out)))
		} else {
			room *= 2
		}
	}
}

func growingText(room int, told bool, write func(to unsafe.Pointer, room uint32) int32) (string, error) {
	out, err := growing[byte](room, told, write)
	return string(out), err
}

// ---- the host ------------------------------------------------------------------------------

// AbiVersion of the host.
func AbiVersion() int { return int(rawAbiVersion()) }

// ClockNs is in nanoseconds of a monotonic clock.
func ClockNs() uint64 { return rawClockNs() }

// HostCopiedBytes counts payload that was copied between this memory and the device: 0 where the
// device computes on it.
func HostCopiedBytes() uint64 { return rawHostCopiedBytes() }

// DeviceName as --device takes it.
func DeviceName() (string, error) { return growingText(256, false, rawDeviceName) }

// Input is the next message from outside, io.EOF where there are no more.
func Input() ([]byte, error) {
	message, err := growing[byte](4096, false, rawInput)
	var why *Error
	if errors.As(err, &why) && why.Code == E_END {
		return nil, io.EOF
	}
	return message, err
}

// Call asks a granted tool of the host's, and waits for its answer.
func Call(name string, request []byte) ([]byte, error) {
	answer := aligned[byte](4096)
	result := rawCall(textAt(name), uint32(len(name)), at(request), uint32(len(request)), at(answer), uint32(len(answer)))
	if result != E_SPACE {
		length, err := check(result)
		return answer[:length], err
	}
	return growing[byte](1<<16, false, rawCallAnswer)
}

// ---- models --------------------------------------------------------------------------------

// ModelInfo is what a model is.
type ModelInfo struct {
	VocabCount, ContextLength, EmbeddingLength, LayerCount int
	BosToken, EosToken, EotToken, NewlineToken             int32 // -1: none
	AddsBos, HasChatTemplate, IsEncoder                    bool
	ParameterCount, KvBytesPerToken                        uint64
	Pooling                                                int32
}

// A Model that was granted.
type Model struct {
	handle int32
	info   ModelInfo
}

// OpenModel by a granted name; "": the first.
func OpenModel(name string) (*Model, error) {
	handle, err := check(rawModelOpen(textAt(name), uint32(len(name))))
	if err != nil {
		return nil, err
	}
	return ModelOf(int32(handle))
}

// ModelCount is how many models were granted.
func ModelCount() int { return max(int(rawModelCount()), 0) }

// ModelName opens the granted model of this index.
func ModelName(index int) (string, error) {
	return growingText(256, false, func(to unsafe.Pointer, room uint32) int32 {
		return rawModelName(uint32(index), to, room)
	})
}

// LoraCount is how many LoRA adapters the host has loaded for the model.
func (m *Model) LoraCount() int { return max(int(rawLoraCount(m.handle)), 0) }

// LoraName of the adapter of this index.
func (m *Model) LoraName(index int) (string, error) {
	return growingText(256, false, func(to unsafe.Pointer, room uint32) int32 {
		return rawLoraName(m.handle, uint32(index), to, room)
	})
}

// ModelOf a handle, such as one that was kept over an upgrade.
func ModelOf(handle int32) (*Model, error) {
	raw := new(abiModelInfo)
	if err := status(rawModelInfo(handle, unsafe.Pointer(raw))); err != nil {
		return nil, err
	}
	return &Model{handle, ModelInfo{
		VocabCount: int(raw.VocabCount), ContextLength: int(raw.ContextLength),
		EmbeddingLength: int(raw.EmbeddingLength), LayerCount: int(raw.LayerCount),
		BosToken: raw.BosToken, EosToken: raw.EosToken, EotToken: raw.EotToken,
		NewlineToken: raw.NewlineToken, AddsBos: raw.AddsBos != 0,
		HasChatTemplate: raw.HasChatTemplate != 0, IsEncoder: raw.IsEncoder != 0,
		ParameterCount: raw.ParameterCount, KvBytesPerToken: raw.KvBytesPerToken,
		Pooling: raw.Pooling}}, nil
}

// Handle is the number the host knows it by.
func (m *Model) Handle() int32 { return m.handle }

// Info about it.
func (m *Model) Info() ModelInfo { return m.info }

// Close it. Contexts of it stay.
func (m *Model) Close() error { return status(rawModelClose(m.handle)) }

// Tokenize a text, BOS in front where the model wants it.
func (m *Model) Tokenize(text string) (Tokens, error) { return m.TokenizeWith(text, TOKENIZE_SPECIAL) }

// TokenizeWith TOKENIZE_... flags.
func (m *Model) TokenizeWith(text string, flags uint32) (Tokens, error) {
	return growing[int32](len(text)+16, true, func(to unsafe.Pointer, room uint32) int32 {
		return rawTokenize(m.handle, textAt(text), uint32(len(text)), to, room, flags)
	})
}

// Detokenize gives the bytes of tokens, which may begin or end within a character. flags:
// DETOKENIZE_SPECIAL or 0.
func (m *Model) Detokenize(tokens []int32, flags uint32) ([]byte, error) {
	list := heapTokens(tokens)
	return growing[byte](len(tokens)*16+16, false, func(to unsafe.Pointer, room uint32) int32 {
		return rawDetokenize(m.handle, at(list), uint32(len(list)), to, room, flags)
	})
}

// IsEnd tells whether a generation ends at this token.
func (m *Model) IsEnd(token int32) bool { return rawTokenIsEnd(m.handle, token) == 1 }

// A Message of a simple chat.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// ChatTemplate writes messages as the model's own template has them.
func (m *Model) ChatTemplate(messages []Message, openAnswer bool) (string, error) {
	list := make([]abiMessage, len(messages))
	texts := make([][]byte, 0, 2*len(messages))
	for i, message := range messages {
		texts = append(texts, append([]byte(message.Role), 0), append([]byte(message.Content), 0))
		list[i] = abiMessage{address(texts[2*i]), address(texts[2*i+1])}
	}
	open := int32(0)
	if openAnswer {
		open = 1
	}
	text, err := growingText(4096, false, func(to unsafe.Pointer, room uint32) int32 {
		return rawChatTemplate(m.handle, at(list), uint32(len(list)), open, to, room)
	})
	runtime.KeepAlive(texts)
	return text, err
}

// ChatRender writes a request (JSON) as the model reads it.
func (m *Model) ChatRender(request string) (string, error) {
	return growingText(4096, true, func(to unsafe.Pointer, room uint32) int32 {
		return rawChatRender(m.handle, textAt(request), uint32(len(request)), to, room)
	})
}

// ChatTokenize gives the tokens of that text from its byte skip on.
func (m *Model) ChatTokenize(request string, skip int) (Tokens, error) {
	return growing[int32](1024, true, func(to unsafe.Pointer, room uint32) int32 {
		return rawChatTokenize(m.handle, textAt(request), uint32(len(request)), uint32(skip), to, room)
	})
}

// ChatParse reads the model's answer, text with its special tokens, into a message of JSON. partial:
// it goes on.
func (m *Model) ChatParse(request string, answer []byte, partial bool) (string, error) {
	flags := uint32(0)
	if partial {
		flags = CHAT_PARTIAL
	}
	return growingText(len(answer)+1024, true, func(to unsafe.Pointer, room uint32) int32 {
		return rawChatParse(m.handle, textAt(request), uint32(len(request)), at(answer), uint32(len(answer)), flags, to, room)
	})
}

// ChatInfo tells how answers to the request are written, as JSON.
func (m *Model) ChatInfo(request string) (string, error) {
	return growingText(4096, true, func(to unsafe.Pointer, room uint32) int32 {
		return rawChatInfo(m.handle, textAt(request), uint32(len(request)), to, room)
	})
}

// Embed a text's tokens. pooling: POOLING_..., flags: EMBED_NORMALIZE or 0.
func (m *Model) Embed(tokens []int32, pooling int32, flags uint32) (Floats, error) {
	rows := 1
	if pooling == POOLING_NONE {
		rows = len(tokens)
	}
	list, out := heapTokens(tokens), MakeFloats(rows*m.info.EmbeddingLength)
	return out, status(rawEmbed(m.handle, at(list), uint32(len(list)), pooling, flags, at(out)))
}

// TokenEmbeddings are rows of the model's table, for Context.ForwardEmbeddings.
func (m *Model) TokenEmbeddings(tokens []int32) (Floats, error) {
	list, out := heapTokens(tokens), MakeFloats(len(tokens)*m.info.EmbeddingLength)
	return out, status(rawTokenEmbeddings(m.handle, at(list), uint32(len(list)), at(out)))
}

// Greedy is the likeliest token of a row of logits.
func (m *Model) Greedy(logits Floats) (int32, error) {
	if err := room(logits, m.info.VocabCount); err != nil {
		return 0, err
	}
	token, err := check(rawGreedy(m.handle, at(logits)))
	return int32(token), err
}

func room(list []float32, needed int) error {
	if len(list) < needed {
		return &Error{E_RANGE, fmt.Sprintf("room for %d floats, %d are needed", len(list), needed)}
	}
	return nil
}
