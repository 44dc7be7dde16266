package driftwood

import "unsafe"

// A Graph of tensors over memory that must stay: docs/guest-abi-tensors.md.
type Graph struct {
	handle int32
	over   []any // what it stands over is not collected
}

// A Tensor of a graph.
type Tensor int32

// OpParams of an operation.
type OpParams struct {
	I [8]int32
	F [8]float32
}

// NewGraph is empty.
func NewGraph() (*Graph, error) {
	handle, err := check(rawGraphCreate())
	return &Graph{handle: int32(handle)}, err
}

// Close it.
func (g *Graph) Close() error { return status(rawGraphDestroy(g.handle)) }

func (g *Graph) tensor(kind int32, sizes []int, data unsafe.Pointer, count int) (Tensor, error) {
	ne, all := [4]uint32{1, 1, 1, 1}, 1
	for i, size := range sizes {
		if i >= len(ne) {
			return 0, &Error{E_SHAPE, "a tensor has at most 4 sizes"}
		}
		ne[i] = uint32(size)
		all *= size
	}
	if all > count {
		return 0, &Error{E_RANGE, "the tensor is larger than its slice"}
	}
	list := append([]uint32(nil), ne[:]...)
	tensor, err := check(rawGraphTensor(g.handle, kind, at(list), data))
	return Tensor(tensor), err
}

// Floats is an F32 tensor over a slice of MakeFloats.
func (g *Graph) Floats(data Floats, sizes ...int) (Tensor, error) {
	g.over = append(g.over, data)
	return g.tensor(F32, sizes, at(data), len(data))
}

// Ints is an I32 tensor over a slice of MakeTokens.
func (g *Graph) Ints(data Tokens, sizes ...int) (Tensor, error) {
	g.over = append(g.over, data)
	return g.tensor(I32, sizes, at(data), len(data))
}

// Op OP_... on up to four tensors; params may be nil.
func (g *Graph) Op(op int32, params *OpParams, inputs ...Tensor) (Tensor, error) {
	list := make([]int32, 4)
	for i, input := range inputs {
		if i >= len(list) {
			return 0, &Error{E_ARG, "an operation has at most 4 inputs"}
		}
		list[i] = int32(input)
	}
	tensor, err := check(rawGraphOp(g.handle, op, at(list), unsafe.Pointer(params)))
	return Tensor(tensor), err
}

// Shape of a tensor: its type and four sizes.
func (g *Graph) Shape(tensor Tensor) (kind int32, sizes [4]int, err error) {
	shape := new(abiShape)
	err = status(rawTensorShape(g.handle, int32(tensor), unsafe.Pointer(shape)))
	for i, size := range shape.Ne {
		sizes[i] = int(size)
	}
	return shape.Type, sizes, err
}

// Output writes an F32 result to a slice of MakeFloats.
func (g *Graph) Output(tensor Tensor, data Floats) error {
	_, sizes, err := g.Shape(tensor)
	if err != nil {
		return err
	}
	if err := room(data, sizes[0]*sizes[1]*sizes[2]*sizes[3]); err != nil {
		return err
	}
	g.over = append(g.over, data)
	return status(rawGraphOutput(g.handle, int32(tensor), at(data)))
}

// Build ends the description.
func (g *Graph) Build() error { return status(rawGraphBuild(g.handle)) }

// Run computes all outputs.
func (g *Graph) Run() error { return status(rawGraphRun(g.handle)) }
