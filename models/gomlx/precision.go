package gomlx

import (
	"maps"

	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/graph"
)

// A Precision is the number format of a network's large products while it is trained.
type Precision int

const (
	// Float32 computes everything in float32.
	Float32 Precision = iota
	// Bfloat16 rounds the weights of linear layers and what they read to bfloat16, and
	// multiplies in it, queries with keys and shares with values too. Parameters, their
	// moments, sums along the residual stream, norms, softmax, the product with a tied
	// embedding and the loss stay float32 (Micikevicius et al., "Mixed precision
	// training", ICLR 2018; bfloat16 needs no scaling of the loss).
	Bfloat16
)

// rounded returns the parameters of g as its products read them.
func (p Precision) rounded(g *graph.Graph, params nodes) nodes {
	if p == Float32 {
		return params
	}
	out := maps.Clone(params)
	for n, param := range g.Params() {
		if n.Op == graph.Linear && param.Role == graph.RoleWeight {
			out[param.Name] = gx.ConvertDType(params[param.Name], dtypes.BFloat16)
		}
	}
	return out
}

// widened are the arguments of an operation in float32, unless it computes in
// bfloat16 too. Integers stay.
func widened(op graph.Op, args []*gx.Node) []*gx.Node {
	switch op {
	case graph.Linear, graph.Act, graph.Attend:
		return args
	}
	out := make([]*gx.Node, len(args))
	for i, x := range args {
		out[i] = x
		if x.DType() == dtypes.BFloat16 {
			out[i] = gx.ConvertDType(x, dtypes.Float32)
		}
	}
	return out
}
