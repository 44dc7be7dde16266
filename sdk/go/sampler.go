package driftwood

import (
	"runtime"
	"unsafe"
)

// Params of a sampler: the zero value is greedy, and zero turns each setting off.
type Params struct {
	Temperature                                      float32
	TopK                                             int32
	TopP, MinP                                       float32
	RepeatPenalty, FrequencyPenalty, PresencePenalty float32
	PenaltyTokens                                    int32
	Seed                                             uint64
	TemperatureRange, TemperatureExponent            float32
	TypicalP, TopNSigma                              float32
	XtcProbability, XtcThreshold                     float32
	DryMultiplier, DryBase                           float32
	DryAllowedLength, DryTokens                      int32
	MirostatTau, MirostatEta                         float32
}

// A Sampler chooses tokens, and remembers them.
type Sampler struct {
	handle     int32
	vocabCount int
}

// NewSampler of a model's vocabulary.
func NewSampler(model *Model, p Params) (*Sampler, error) {
	raw := &abiSamplerParams{Temperature: p.Temperature, TopK: p.TopK, TopP: p.TopP, MinP: p.MinP,
		RepeatPenalty: p.RepeatPenalty, FrequencyPenalty: p.FrequencyPenalty,
		PresencePenalty: p.PresencePenalty, PenaltyTokens: p.PenaltyTokens, Seed: p.Seed,
		TemperatureRange: p.TemperatureRange, TemperatureExponent: p.TemperatureExponent,
		TypicalP: p.TypicalP, TopNSigma: p.TopNSigma, XtcProbability: p.XtcProbability,
		XtcThreshold: p.XtcThreshold, DryMultiplier: p.DryMultiplier, DryBase: p.DryBase,
		DryAllowedLength: p.DryAllowedLength, DryTokens: p.DryTokens, MirostatTau: p.MirostatTau,
		MirostatEta: p.MirostatEta}
	raw.StructBytes = uint32(unsafe.Sizeof(*raw))
	handle, err := check(rawSamplerCreate(model.handle, unsafe.Pointer(raw)))
	if err != nil {
		return nil, err
	}
	return SamplerOf(int32(handle), model), nil
}

// SamplerOf a handle, such as one that was kept over an upgrade.
func SamplerOf(handle int32, model *Model) *Sampler { return &Sampler{handle, model.info.VocabCount} }

// Handle is the number the host knows it by.
func (s *Sampler) Handle() int32 { return s.handle }

// Close it.
func (s *Sampler) Close() error { return status(rawSamplerClose(s.handle)) }

// LogitBias replaces what is added to the logits of tokens.
func (s *Sampler) LogitBias(biases map[int32]float32) error {
	list := make([]abiLogitBias, 0, len(biases))
	for token, bias := range biases {
		list = append(list, abiLogitBias{token, bias})
	}
	return status(rawSamplerLogitBias(s.handle, at(list), uint32(len(list))))
}

// DryBreakers replaces the texts at which DRY stops looking back.
func (s *Sampler) DryBreakers(model *Model, breakers []string) error {
	list, texts := make([]uint32, len(breakers)), make([][]byte, len(breakers))
	for i, breaker := range breakers {
		texts[i] = append([]byte(breaker), 0)
		list[i] = address(texts[i])
	}
	err := status(rawSamplerDryBreakers(s.handle, model.handle, at(list), uint32(len(list))))
	runtime.KeepAlive(texts)
	return err
}

// Grammar in GBNF that is kept to from now on; "": none.
func (s *Sampler) Grammar(model *Model, text string) error {
	return status(rawSamplerGrammar(s.handle, model.handle, textAt(text), uint32(len(text))))
}

// JSONSchema that is kept to from now on.
func (s *Sampler) JSONSchema(model *Model, schema string) error {
	return status(rawSamplerJsonSchema(s.handle, model.handle, textAt(schema), uint32(len(schema))))
}

// Chat holds tool calls, or the answer, to the request's schemas: whether it asks for that.
func (s *Sampler) Chat(model *Model, request string) (bool, error) {
	held, err := check(rawSamplerChat(s.handle, model.handle, textAt(request), uint32(len(request))))
	return held == 1, err
}

// Mask writes minus infinity where the grammar does not allow a token.
func (s *Sampler) Mask(logits Floats) error {
	if err := room(logits, s.vocabCount); err != nil {
		return err
	}
	return status(rawSamplerMask(s.handle, at(logits)))
}

// Fork gives a copy; with seed 0 it draws as this one would.
func (s *Sampler) Fork(seed uint64) (*Sampler, error) {
	handle, err := check(rawSamplerFork(s.handle, seed))
	return &Sampler{int32(handle), s.vocabCount}, err
}

// Sample chooses a token of a row of logits.
func (s *Sampler) Sample(logits Floats) (int32, error) {
	if err := room(logits, s.vocabCount); err != nil {
		return 0, err
	}
	token, err := check(rawSample(s.handle, at(logits)))
	return int32(token), err
}

// Accept remembers a token that was not chosen here.
func (s *Sampler) Accept(token int32) error { return status(rawSamplerAccept(s.handle, token)) }
