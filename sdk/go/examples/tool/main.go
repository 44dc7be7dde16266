// The model calls a tool of the host's, and answers with what that said.
//
//	driftwood run --tool 'weather=echo sunny, 21 degrees' tool.wasm
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"driftwood"
)

type object = map[string]any

var tools = []any{object{"type": "function", "function": object{
	"name": "weather", "description": "The weather in a city",
	"parameters": object{"type": "object", "required": []string{"city"},
		"properties": object{"city": object{"type": "string", "maxLength": 20}}}}}}

func main() {
	if err := ask("What is the weather in Oslo?"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(question string) error {
	model, err := driftwood.OpenModel("")
	if err != nil {
		return err
	}
	defer model.Close()
	chat := driftwood.NewChat(model)
	chat.Options = object{"tools": tools, "tool_choice": "required", "parallel_tool_calls": false}
	chat.Add("user", question)
	answer, err := chat.Answer(96, io.Discard)
	if err != nil {
		return err
	}
	if len(answer.ToolCalls) == 0 {
		return errors.New("the model called no tool")
	}
	call := answer.ToolCalls[0].Function
	fmt.Println(call.Name, call.Arguments)
	result, err := driftwood.Call(call.Name, []byte(call.Arguments))
	if err != nil {
		return fmt.Errorf("%s: %w", call.Name, err)
	}
	fmt.Printf("-> %s", result)

	chat.Options = object{"tools": tools}
	chat.Add("tool", string(result))
	_, err = chat.Answer(48, os.Stdout)
	fmt.Println()
	return err
}
