// Answers the prompt, and prints the answer as it comes.
//
//	driftwood run --prompt "Name three things that float." generate.wasm
package main

import (
	"fmt"
	"os"
	"strconv"

	"driftwood"
)

func main() {
	prompt, given := os.LookupEnv("DRIFTWOOD_PROMPT")
	if !given {
		prompt = "Name three things that float."
	}
	tokensMax, err := strconv.Atoi(os.Getenv("DRIFTWOOD_MAX_TOKENS"))
	if err != nil {
		tokensMax = 64
	}
	if err := answer(prompt, tokensMax); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer(prompt string, tokensMax int) error {
	model, err := driftwood.OpenModel("")
	if err != nil {
		return err
	}
	defer model.Close()
	chat := driftwood.NewChat(model)
	chat.Add("user", prompt)
	_, err = chat.Answer(tokensMax, os.Stdout)
	fmt.Println()
	return err
}
