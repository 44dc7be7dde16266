package driftwood

import (
	"encoding/json"
	"io"
	"unicode/utf8"
)

// A TextStream writes text that comes token by token in whole characters.
type TextStream struct {
	Out  io.Writer
	held []byte
}

// Put a token's text.
func (t *TextStream) Put(model *Model, token int32) error {
	piece, err := model.Detokenize([]int32{token}, 0)
	if err != nil {
		return err
	}
	t.held = append(t.held, piece...)
	whole := len(t.held)
	for back := 1; back < utf8.UTFMax && back <= len(t.held); back++ {
		if start := len(t.held) - back; utf8.RuneStart(t.held[start]) {
			if !utf8.FullRune(t.held[start:]) {
				whole = start
			}
			break
		}
	}
	_, err = t.Out.Write(t.held[:whole])
	t.held = append(t.held[:0], t.held[whole:]...)
	return err
}

// An Answer of a chat's, as JSON has it.
type Answer struct {
	Role      string `json:"role"`
	Content   string `json:"content"`
	Reasoning string `json:"reasoning_content"`
	ToolCalls []struct {
		ID       string `json:"id"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
	Note string `json:"note"`
}

// A Chat is a conversation whose context keeps what it has computed: an answer costs the tokens that
// are new. For models with a chat template.
type Chat struct {
	Params  Params
	Options map[string]any // further members of the requests: "tools", "tool_choice"

	model    *Model
	messages []json.RawMessage
	context  *Context
	held     []int32
}

// NewChat is empty.
func NewChat(model *Model) *Chat { return &Chat{model: model} }

// Add a message.
func (c *Chat) Add(role, content string) {
	message, _ := json.Marshal(Message{role, content})
	c.AddJSON(message)
}

// AddJSON adds a message as an object of JSON.
func (c *Chat) AddJSON(message []byte) { c.messages = append(c.messages, message) }

// Answer has the model answer, writes its text to out as it comes, and adds the answer to the
// conversation.
func (c *Chat) Answer(tokensMax int, out io.Writer) (*Answer, error) {
	request := map[string]any{"messages": c.messages}
	for key, value := range c.Options {
		request[key] = value
	}
	bytes, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	text := string(bytes)
	tokens, err := c.model.ChatTokenize(text, 0)
	if err != nil {
		return nil, err
	}
	sampler, err := NewSampler(c.model, c.Params)
	if err != nil {
		return nil, err
	}
	defer sampler.Close()
	for _, token := range tokens {
		if err := sampler.Accept(token); err != nil {
			return nil, err
		}
	}
	if _, err := sampler.Chat(c.model, text); err != nil {
		return nil, err
	}
	said, err := c.speak(sampler, tokens, tokensMax, out)
	if err != nil {
		return nil, err
	}
	message, err := c.model.ChatParse(text, said, false)
	if err != nil {
		return nil, err
	}
	c.AddJSON([]byte(message))
	answer := new(Answer)
	return answer, json.Unmarshal([]byte(message), answer)
}

// Brings the context to hold the tokens, and has the model go on: its text with special tokens.
func (c *Chat) speak(sampler *Sampler, tokens Tokens, tokensMax int, out io.Writer) ([]byte, error) {
	if c.context == nil {
		context, err := NewContext(c.model, 0)
		if err != nil {
			return nil, err
		}
		c.context = context
	}
	same := 0
	for same < len(c.held) && same+1 < len(tokens) && c.held[same] == tokens[same] {
		same++
	}
	if err := c.context.Trim(same); err != nil {
		return nil, err
	}
	c.held = c.held[:same]
	speech, err := c.context.Generate(c.model, sampler, tokens[same:], Request{TokensMax: tokensMax})
	if err != nil {
		return nil, err
	}
	defer speech.finish()
	var said []byte
	stream := TextStream{Out: out}
	for {
		token, more, err := speech.Next()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		piece, err := c.model.Detokenize([]int32{token}, DETOKENIZE_SPECIAL)
		if err == nil {
			err = stream.Put(c.model, token)
		}
		if err != nil {
			return nil, err
		}
		said = append(said, piece...)
	}
	c.held = append(c.held, tokens[same:]...)
	if chosen := speech.Tokens(); len(chosen) > 0 {
		c.held = append(c.held, chosen[:len(chosen)-1]...) // the last is not in the context
	}
	return said, nil
}

func (g *Generation) finish() {
	if !g.ended() {
		_, _ = g.End()
	}
}
