package driftwood

import (
	"runtime"
	"unsafe"
)

// A Context holds tokens, and what a model has computed of them.
type Context struct {
	handle                      int32
	vocabCount, embeddingLength int
}

// NewContext of at most tokensMax tokens; 0: as long as model and limits allow.
func NewContext(model *Model, tokensMax int) (*Context, error) {
	handle, err := check(rawContextCreate(model.handle, uint32(tokensMax)))
	if err != nil {
		return nil, err
	}
	return ContextOf(int32(handle), model), nil
}

// ContextOf a handle, such as one that was kept over an upgrade.
func ContextOf(handle int32, model *Model) *Context {
	return &Context{handle, model.info.VocabCount, model.info.EmbeddingLength}
}

// Handle is the number the host knows it by.
func (c *Context) Handle() int32 { return c.handle }

// OpenContext opens what was saved under the name, here or in another guest.
func OpenContext(model *Model, name string, tokensMax int) (*Context, error) {
	handle, err := check(rawContextOpen(model.handle, textAt(name), uint32(len(name)), uint32(tokensMax)))
	if err != nil {
		return nil, err
	}
	return ContextOf(int32(handle), model), nil
}

// Save it under a name, in the place of what had it.
func (c *Context) Save(name string) error {
	return status(rawContextSave(c.handle, textAt(name), uint32(len(name))))
}

// RemoveContext removes what was saved under the name; it needs the grant to save under it.
func RemoveContext(name string) error {
	return status(rawContextRemove(textAt(name), uint32(len(name))))
}

// Close it. E_STATE while a Generation has it.
func (c *Context) Close() error { return status(rawContextClose(c.handle)) }

// Fork gives a context that holds the same and is independent from now on.
func (c *Context) Fork() (*Context, error) {
	handle, err := check(rawContextFork(c.handle))
	if err != nil {
		return nil, err
	}
	return &Context{int32(handle), c.vocabCount, c.embeddingLength}, nil
}

// Length is how many tokens it holds; 0 while a Generation has it, and once it is closed.
func (c *Context) Length() int { return max(int(rawContextLength(c.handle)), 0) }

// Capacity is how many it can hold.
func (c *Context) Capacity() int { return max(int(rawContextCapacity(c.handle)), 0) }

// Trim forgets all tokens from length on.
func (c *Context) Trim(length int) error { return status(rawContextTrim(c.handle, uint32(length))) }

// Shift forgets tokens [keep, keep+drop) and moves the later ones forward: the new length.
func (c *Context) Shift(keep, drop int) (int, error) {
	return check(rawContextShift(c.handle, uint32(keep), uint32(drop)))
}

// Window holds the first sink tokens and at most window more from now on; 0 and 0: all.
func (c *Context) Window(sink, window int) error {
	return status(rawContextWindow(c.handle, uint32(sink), uint32(window)))
}

// Lora is an adapter of a context's model, by index, and what it is multiplied by.
type Lora struct {
	Index uint32
	Scale float32
}

// SetLoras that its steps have, while it is empty; without any: no adapter.
func (c *Context) SetLoras(loras ...Lora) error {
	indices, scales := aligned[int32](len(loras)+1), aligned[float32](len(loras)+1)
	for i, lora := range loras {
		indices[i], scales[i] = int32(lora.Index), lora.Scale
	}
	return status(rawContextSetLoras(c.handle, at(indices), at(scales), uint32(len(loras))))
}

// Loras that it has.
func (c *Context) Loras() ([]Lora, error) {
	indices, scales := aligned[int32](LORAS_MAX), aligned[float32](LORAS_MAX)
	count, err := check(rawContextLoras(c.handle, at(indices), at(scales), LORAS_MAX))
	if err != nil {
		return nil, err
	}
	loras := make([]Lora, count)
	for i := range loras {
		loras[i] = Lora{uint32(indices[i]), scales[i]}
	}
	return loras, nil
}

// KeepRows of logits of the last count tokens from now on.
func (c *Context) KeepRows(count int) error { return status(rawContextRows(c.handle, uint32(count))) }

// Logits of the last token once more, where its row is kept.
func (c *Context) Logits(row Floats) error {
	if err := room(row, c.vocabCount); err != nil {
		return err
	}
	return status(rawContextLogits(c.handle, at(row)))
}

// How many whole rows of that width the floats are, of at most so many.
func rows(floats []float32, width, most int) (uint32, unsafe.Pointer) {
	count := min(len(floats)/width, most)
	if count == 0 {
		return 0, nil
	}
	return uint32(count), at(floats)
}

// Forward appends tokens and computes them: the new length. logits is nil, or whole rows for the
// last so many tokens.
func (c *Context) Forward(tokens []int32, logits Floats) (int, error) {
	list := heapTokens(tokens)
	count, to := rows(logits, c.vocabCount, len(tokens))
	return check(rawForward(c.handle, at(list), uint32(len(list)), to, count))
}

// ForwardHidden likewise gives hidden states, rows of EmbeddingLength.
func (c *Context) ForwardHidden(tokens []int32, hidden Floats) (int, error) {
	list := heapTokens(tokens)
	count, to := rows(hidden, c.embeddingLength, len(tokens))
	return check(rawForwardHidden(c.handle, at(list), uint32(len(list)), to, count))
}

// ForwardEmbeddings is Forward of rows of floats in the place of tokens.
func (c *Context) ForwardEmbeddings(embeddings, logits Floats) (int, error) {
	tokens := len(embeddings) / c.embeddingLength
	count, to := rows(logits, c.vocabCount, tokens)
	return check(rawForwardEmbeddings(c.handle, at(embeddings), uint32(tokens), to, count))
}

// A Top has the likeliest tokens, the likeliest first.
type Top struct {
	Tokens           Tokens
	LogProbabilities Floats
}

// ForwardTop appends tokens: the count likeliest to follow.
func (c *Context) ForwardTop(tokens []int32, count int) (Top, error) {
	list, top := heapTokens(tokens), Top{MakeTokens(count), MakeFloats(count)}
	return top, status(rawForwardTop(c.handle, at(list), uint32(len(list)), at(top.Tokens), at(top.LogProbabilities), uint32(count)))
}

// ForwardSample appends tokens and chooses the next one, which is not appended.
func (c *Context) ForwardSample(tokens []int32, sampler *Sampler) (int32, error) {
	list := heapTokens(tokens)
	token, err := check(rawForwardSample(c.handle, at(list), uint32(len(list)), sampler.handle))
	return int32(token), err
}

// A Tree of tokens behind a context. What is nil follows from the rest.
type Tree struct {
	Tokens    []int32
	Parents   []int32 // the earlier token that each hangs on, -1: the context's end
	Positions []int32
	Mask      []byte // [tokens][length + tokens], 1: it sees that token
}

// shape says how a tree's tokens hang on one another, in memory that `held` keeps.
func (c *Context) shape(tree *Tree) (shape *abiTreeShape, held []any, err error) {
	tokens := len(tree.Tokens)
	for _, list := range [][]int32{tree.Parents, tree.Positions} {
		if list != nil && len(list) != tokens {
			return nil, nil, &Error{E_ARG, "Tree: lists are not as long as the tokens"}
		}
	}
	if tree.Mask != nil && len(tree.Mask) != tokens*(c.Length()+tokens) {
		return nil, nil, &Error{E_ARG, "Tree: the mask is not of [tokens][length + tokens]"}
	}
	parents, positions := heapTokens(tree.Parents), heapTokens(tree.Positions)
	mask := append([]byte(nil), tree.Mask...)
	shape = new(abiTreeShape)
	if tree.Parents != nil {
		shape.Parents = address(parents)
	}
	if tree.Positions != nil {
		shape.Positions = address(positions)
	}
	if tree.Mask != nil {
		shape.Mask = address(mask)
	}
	return shape, []any{parents, positions, mask}, nil
}

// ForwardTree computes a tree behind the context; Keep appends a path of it.
func (c *Context) ForwardTree(tree Tree, logits Floats) (int, error) {
	shape, held, err := c.shape(&tree)
	if err != nil {
		return 0, err
	}
	tokens := len(tree.Tokens)
	list := heapTokens(tree.Tokens)
	count, to := rows(logits, c.vocabCount, tokens)
	step := &abiForwardTreeStep{Context: c.handle, Tokens: address(list), TokenCount: uint32(tokens),
		Parents: shape.Parents, Positions: shape.Positions, Mask: shape.Mask,
		RowCount: count, Rows: uint32(uintptr(to))}
	length, err := check(rawForwardTree(unsafe.Pointer(step)))
	runtime.KeepAlive([]any{list, held, logits})
	return length, err
}

// Keep appends a path of the tree's tokens, and drops the rest: the new length.
func (c *Context) Keep(path []int32) (int, error) {
	list := heapTokens(path)
	return check(rawContextKeep(c.handle, at(list), uint32(len(list))))
}

// A Step is one context's part of ForwardMany; what comes back is in it afterwards.
type Step struct {
	Context  *Context
	Tokens   []int32
	Tree     *Tree    // in the place of Tokens: computed, not appended, for Rows alone; Keep appends a path
	Sampler  *Sampler // chooses a token behind these; nil: none
	TopCount int      // of the likeliest
	Rows     int      // of logits, for the last tokens
	Hidden   bool     // of hidden states instead

	Err            error // why the context is as it was
	Token          int32 // -1: none
	LogProbability float32
	Top            Top
	RowData        Floats
}

// ForwardMany runs steps of different contexts in one run of the device: how many went through. Each
// has its own Err.
func ForwardMany(steps []*Step) (int, error) {
	raws := make([]abiForwardStep, len(steps))
	var held []any
	for i, step := range steps {
		tokens, one := heapTokens(step.Tokens), &raws[i]
		if step.Tree != nil {
			shape, kept, err := step.Context.shape(step.Tree)
			if err != nil {
				return 0, err
			}
			tokens = heapTokens(step.Tree.Tokens)
			one.Tree = uint32(uintptr(unsafe.Pointer(shape)))
			held = append(held, shape, kept)
		}
		held = append(held, tokens)
		one.Context, one.Tokens, one.TokenCount = step.Context.handle, address(tokens), uint32(len(tokens))
		if step.Rows > 0 {
			width := step.Context.vocabCount
			if step.Hidden {
				width = step.Context.embeddingLength
				one.Flags |= FORWARD_HIDDEN
			}
			step.RowData = MakeFloats(width * step.Rows)
			one.Rows, one.RowCount = address(step.RowData), uint32(step.Rows)
		}
		if step.Sampler != nil {
			one.Sampler = step.Sampler.handle
			one.Flags |= FORWARD_LOG_PROBABILITY
		}
		if step.TopCount > 0 {
			step.Top = Top{MakeTokens(step.TopCount), MakeFloats(step.TopCount)}
			one.TopCount = uint32(step.TopCount)
			one.TopTokens, one.TopLogProbabilities = address(step.Top.Tokens), address(step.Top.LogProbabilities)
		}
	}
	through, err := check(rawForwardMany(at(raws), uint32(len(raws))))
	for i, step := range steps {
		step.Err = status(raws[i].Status)
		step.Token, step.LogProbability = -1, raws[i].LogProbability
		if step.Sampler != nil && step.Err == nil {
			step.Token = raws[i].Token
		}
	}
	runtime.KeepAlive(held)
	return through, err
}

// A Request of a generation ahead of the guest.
type Request struct {
	TokensMax   int
	StopTokens  []int32
	StopStrings []string
	Flags       uint32 // GENERATE_...
	WakeTokens  int    // Wait waits for so many new tokens; 0: 1
}

// A Generation goes on while the guest looks at what there is. End it, or wait for its end, before
// its context or sampler is used again.
type Generation struct {
	context *Context
	model   *Model
	request *abiGenerateRequest
	tokens  Tokens
	taken   int
}

// Generations under way: the host writes to their memory, whoever has forgotten them.
var underWay = map[*Generation]bool{}

// Generate lets the device append and choose by itself.
func (c *Context) Generate(model *Model, sampler *Sampler, prompt []int32, wanted Request) (*Generation, error) {
	g := &Generation{context: c, model: model, request: new(abiGenerateRequest), tokens: MakeTokens(wanted.TokensMax)}
	list, stops := heapTokens(prompt), heapTokens(wanted.StopTokens)
	strings, texts := make([]abiStopString, len(wanted.StopStrings)), make([][]byte, len(wanted.StopStrings))
	for i, text := range wanted.StopStrings {
		texts[i] = []byte(text)
		strings[i] = abiStopString{address(texts[i]), uint32(len(text))}
	}
	*g.request = abiGenerateRequest{StructBytes: uint32(unsafe.Sizeof(*g.request)), Flags: wanted.Flags,
		Prompt: address(list), PromptCount: uint32(len(list)), Tokens: address(g.tokens),
		TokensMax: uint32(wanted.TokensMax), WakeTokens: uint32(max(wanted.WakeTokens, 1)),
		StopTokens: address(stops), StopTokenCount: uint32(len(wanted.StopTokens)),
		StopStrings: address(strings), StopStringCount: uint32(len(strings))}
	err := status(rawGenerateBegin(c.handle, sampler.handle, unsafe.Pointer(g.request)))
	runtime.KeepAlive([]any{list, stops, strings, texts})
	if err != nil {
		return nil, err
	}
	underWay[g] = true
	return g, nil
}

func (g *Generation) ended() bool {
	if g.request.End != GENERATE_GOES_ON {
		delete(underWay, g)
		return true
	}
	return false
}

// Tokens chosen so far.
func (g *Generation) Tokens() Tokens { return g.tokens[:g.request.TokenCount] }

// Why it has ended: GENERATE_...; GENERATE_GOES_ON: it has not.
func (g *Generation) Why() int32 { return g.request.End }

// StopIndex is that of the stop token or string that ended it, else -1.
func (g *Generation) StopIndex() int { return int(g.request.StopIndex) }

// Wait for more, or for the end: how many tokens there are.
func (g *Generation) Wait() (int, error) { return g.told(rawGenerateWait) }

// End it, if it goes on: how many tokens there are.
func (g *Generation) End() (int, error) { return g.told(rawGenerateEnd) }

func (g *Generation) told(call func(context int32) int32) (int, error) {
	if g.ended() { // the context may have another one by now
		return int(g.request.TokenCount), nil
	}
	count, err := check(call(g.context.handle))
	g.ended()
	return count, err
}

// Next token; false: it has ended. A token that ended it as an end token is not given.
func (g *Generation) Next() (int32, bool, error) {
	for g.taken >= int(g.request.TokenCount) {
		if g.ended() {
			return -1, false, nil
		}
		if _, err := g.Wait(); err != nil {
			return -1, false, err
		}
	}
	token := g.tokens[g.taken]
	g.taken++
	last := g.taken == int(g.request.TokenCount) && g.request.End == GENERATE_END_TOKEN
	return token, !last, nil
}
