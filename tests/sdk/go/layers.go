// What tests/guest/layers.c says, by this SDK.
package main

import (
	"fmt"
	"math"
	"os"

	"driftwood"
)

var prompt = []int32{504, 3575, 282, 4649, 314, 260}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func told(row driftwood.Floats) string {
	best := 0
	for i := range row {
		if row[i] > row[best] {
			best = i
		}
	}
	return fmt.Sprintf(" %d:%d", best, math.Float32bits(row[best]))
}

func main() {
	model := must(driftwood.OpenModel(""))
	vocab := model.Info().VocabCount
	context := must(driftwood.NewContext(model, 64))
	must(context.Forward(prompt, nil))

	draft := []int32{10, 20, 30, 40, 50, 60}
	rows := driftwood.MakeFloats(6 * vocab)
	must(context.ForwardTree(driftwood.Tree{Tokens: draft, Parents: []int32{-1, 0, 0, 1, 2, -1}}, rows))
	fmt.Print("tree")
	for i := range draft {
		fmt.Print(told(rows[i*vocab : (i+1)*vocab]))
	}
	_, refused := context.Keep([]int32{3, 1})
	fmt.Printf("\nkept %d", must(context.Keep([]int32{0, 1, 3})))
	row := driftwood.MakeFloats(vocab)
	must(context.Forward([]int32{70}, row))
	fmt.Print(told(row))
	masked := must(driftwood.NewContext(model, 32))
	must(masked.Forward(prompt[:3], nil))
	must(masked.ForwardTree(driftwood.Tree{Tokens: draft[:3], Positions: []int32{3, 4, 3},
		Mask: []byte{1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1}}, rows[:2*vocab]))
	fmt.Print("\nmask", told(rows[:vocab]), told(rows[vocab:2*vocab]))
	_, short := masked.ForwardTree(driftwood.Tree{Tokens: draft, Parents: []int32{-1}}, nil)
	if refused != nil && short != nil {
		fmt.Println(" refused")
	} else {
		fmt.Println(" taken")
	}

	steps := []*driftwood.Step{
		{Context: context, Tokens: []int32{80}, Rows: 1},
		{Context: must(context.Fork()), Tokens: []int32{81, 82}, TopCount: 3,
			Sampler: must(driftwood.NewSampler(model, driftwood.Params{}))},
		{Context: must(context.Fork()), Tokens: []int32{83}, Rows: 1, Hidden: true}}
	through := must(driftwood.ForwardMany(steps))
	top := steps[1].Top
	fmt.Printf("many %d %d%s %d %d %d %d %d %d %d\n", through, context.Length(), told(steps[0].RowData),
		steps[1].Token, math.Float32bits(steps[1].LogProbability), top.Tokens[0], top.Tokens[1],
		top.Tokens[2], math.Float32bits(top.LogProbabilities[2]), math.Float32bits(steps[2].RowData[1]))

	leaves := &driftwood.Step{Context: context, Rows: 3,
		Tree: &driftwood.Tree{Tokens: []int32{20, 30, 40}, Parents: []int32{-1, 0, 0}}}
	plain := &driftwood.Step{Context: must(context.Fork()), Tokens: []int32{84}, Rows: 1}
	fmt.Printf("steps %d", must(driftwood.ForwardMany([]*driftwood.Step{leaves, plain})))
	for i := 0; i < 3; i++ {
		fmt.Print(told(leaves.RowData[i*vocab : (i+1)*vocab]))
	}
	fmt.Printf("%s %d %d\n", told(plain.RowData), plain.Context.Length(), must(context.Keep([]int32{0, 2})))

	embeddings := must(model.TokenEmbeddings(prompt))
	fresh := must(driftwood.NewContext(model, 32))
	length := must(fresh.ForwardEmbeddings(embeddings, row))
	fmt.Printf("rows %d %d %d %d%s\n", len(embeddings), math.Float32bits(embeddings[0]),
		math.Float32bits(embeddings[len(embeddings)-1]), length, told(row))
	one := must(model.Embed(prompt, driftwood.POOLING_MODEL, driftwood.EMBED_NORMALIZE))
	all := must(model.Embed(prompt, driftwood.POOLING_NONE, 0))
	fmt.Printf("embed %d %d %d %d %d\n", len(one), math.Float32bits(one[0]),
		math.Float32bits(one[len(one)-1]), math.Float32bits(all[0]), math.Float32bits(all[len(all)-1]))
}
