// An actor: a chat that keeps its context between messages.
//
//	driftwood actor spawn --state state --guest ./actor.wasm > id
//	driftwood actor send --state state $(cat id) "Name a sea."
package main

import (
	"fmt"
	"os"

	"driftwood"
)

// Made for the first message, saved with the actor's memory behind each.
var chat *driftwood.Chat

//go:wasmexport driftwood_receive
func receive() int32 { return driftwood.Receive(handle) }

func handle(message []byte) error {
	if chat == nil {
		model, err := driftwood.OpenModel("")
		if err != nil {
			return err
		}
		chat = driftwood.NewChat(model)
	}
	chat.Add("user", string(message))
	_, err := chat.Answer(24, os.Stdout)
	fmt.Println()
	return err
}

func main() {}
