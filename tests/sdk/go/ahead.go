// Who may use a context while the device generates on it, and behind that; see test_ahead.
package main

import (
	"errors"
	"fmt"
	"os"

	"driftwood"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func code(err error) int32 {
	var why *driftwood.Error
	if errors.As(err, &why) {
		return why.Code
	}
	return 0
}

func codeOf[T any](_ T, err error) int32 { return code(err) }

func main() {
	model := must(driftwood.OpenModel(""))
	sampler := must(driftwood.NewSampler(model, driftwood.Params{}))
	context := must(driftwood.NewContext(model, 64))
	prompt := must(model.Tokenize("The sea"))
	begin := func() (*driftwood.Generation, error) {
		return context.Generate(model, sampler, prompt, driftwood.Request{TokensMax: 8})
	}
	one := must(begin())
	fmt.Println("taken", codeOf(context.Fork()), code(context.Trim(0)), codeOf(context.Forward(prompt, nil)),
		codeOf(begin()), code(sampler.Accept(1)))
	for one.Why() == driftwood.GENERATE_GOES_ON {
		must(one.Wait())
	}
	fmt.Println("ended", len(one.Tokens()), must(one.End()), must(one.Wait()))
	fork, err := context.Fork()
	free := code(err)
	if fork != nil {
		free += code(fork.Close())
	}
	trimmed, forwarded := code(context.Trim(2)), codeOf(context.Forward(prompt, nil))
	other := must(begin())
	fmt.Printf("free %d %d %d, again %d %t\n", free, trimmed, forwarded, must(one.Wait()),
		other.Why() != driftwood.GENERATE_GOES_ON)
	closed := code(context.Close())
	fmt.Printf("closing %d, then %d\n", closed, code(context.Trim(0)))
	must(other.End())
	if err := context.Close(); err != nil {
		fmt.Println(err)
	}
	closed = code(context.Close())
	fmt.Printf("closed %d, then %d %d\n", closed, codeOf(context.Fork()), code(context.Trim(0)))
}
