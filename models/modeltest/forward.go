package modeltest

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Forward returns the value of every node for every sample of a batch:
// [sample][node ID], each [tokens × units], one token after a Select or Mean.
// The value of an Input is nil.
func Forward(m *models.Model, batch models.Batch) [][]*mat.Dense {
	out := make([][]*mat.Dense, batch.Len())
	for s := range out {
		sample := batch.Slice(s, s+1)
		values := make([]*mat.Dense, len(m.Graph.Nodes))
		for i, n := range m.Graph.Nodes {
			values[i] = step(m, n, values, sample)
		}
		out[s] = values
	}
	return out
}

// Logits returns the logits of m, which are its first output, for every sample of a
// batch, flattened.
func Logits(m *models.Model, batch models.Batch) []float64 {
	var out []float64
	for _, values := range Forward(m, batch) {
		last := values[len(values)-1]
		for r := range last.RawMatrix().Rows {
			out = append(out, last.RawRowView(r)...)
		}
	}
	return out
}

// Outputs returns all that m puts out for every sample of a batch, flattened: the
// logits or features, then what its further heads put out.
func Outputs(m *models.Model, batch models.Batch) []float64 {
	return outputsIn(m, batch, func(*graph.Node) *mat.Dense { return nil })
}

// outputsIn returns the outputs of m in other bases: push gives for the node of each
// output the matrix [n × m] that its units are multiplied by, nil for the identity.
func outputsIn(m *models.Model, batch models.Batch, push func(n *graph.Node) *mat.Dense) []float64 {
	var out []float64
	for _, values := range Forward(m, batch) {
		for _, head := range m.Graph.Nodes[len(values)-1].Args {
			v := values[head.ID]
			if s := push(head); s != nil {
				v = linear(v, mat.DenseCopyOf(s.T()), nil)
			}
			for r := range v.RawMatrix().Rows {
				out = append(out, v.RawRowView(r)...)
			}
		}
	}
	return out
}

// Tensor returns the values of a parameter in float64, cut out of its tensor where
// that is packed.
func Tensor(p models.Params, q graph.Param) []float64 {
	size := 1
	for _, d := range q.Shape {
		size *= d
	}
	out := make([]float64, 0, size)
	run := q.Runs()
	for r := range run.Count {
		from := run.Offset + r*run.Stride
		for _, v := range p[q.Name].Data[from : from+run.Length] {
			out = append(out, float64(v))
		}
	}
	return out
}

// weight returns the weight of a linear layer, or the table of an embedding, as
// [units × inputs], whatever the order of its axes.
func weight(m *models.Model, n *graph.Node, r graph.Role) *mat.Dense {
	q, _ := n.Param(r)
	data := Tensor(m.Params, q)
	if q.Axes[0] == graph.In {
		return mat.DenseCopyOf(mat.NewDense(len(data)/n.Units, n.Units, data).T())
	}
	return mat.NewDense(q.Shape[0], len(data)/q.Shape[0], data)
}

// step computes one node for one sample, given the values of the nodes before it.
func step(m *models.Model, n *graph.Node, values []*mat.Dense, in models.Batch) *mat.Dense {
	arg := func(k int) *mat.Dense { return values[n.Args[k].ID] }
	own := map[graph.Role][]float64{}
	for _, q := range n.Params {
		own[q.Role] = Tensor(m.Params, q)
	}
	switch n.Op {
	case graph.Input:
		return nil
	case graph.Const:
		return mat.NewDense(n.Tokens, n.Units, n.Values())
	case graph.Patches:
		c := n.Units / (n.Side * n.Side)
		return pixels(patches(in[n.Args[0].Name], []int{0, c, n.Side}), c)
	case graph.Table, graph.Embed:
		rows := mat.NewDense(len(own[graph.RoleRows])/n.Units, n.Units, own[graph.RoleRows])
		if len(n.Args) == 0 {
			return rows
		}
		return lookup(rows, in[n.Args[0].Name].Ints)
	case graph.Linear:
		return linear(linearInput(n, values, in), weight(m, n, graph.RoleWeight), own[graph.RoleBias])
	case graph.Norm:
		return norm(n, arg(0), own[graph.RoleGain], own[graph.RoleBias])
	case graph.Mul:
		var out mat.Dense
		out.MulElem(arg(0), arg(1))
		return &out
	case graph.Rotary:
		return rotary(n, arg(0))
	case graph.Act:
		out := mat.DenseCopyOf(arg(0))
		out.Apply(func(_, _ int, v float64) float64 { return activate(n.Fn, v) }, out)
		return out
	case graph.Attend:
		var mask []int32
		if len(n.Args) > 3 {
			mask = in[n.Args[3].Name].Ints
		}
		return attend(n, arg(0), arg(1), arg(2), mask)
	case graph.Add:
		return add(n, values)
	case graph.Prepend:
		var out mat.Dense
		out.Stack(arg(1), arg(0))
		return &out
	case graph.Select:
		return mat.DenseCopyOf(arg(0).Slice(n.Token, n.Token+1, 0, n.Units))
	case graph.Mean:
		return meanRow(arg(0))
	case graph.Unembed:
		return linear(arg(0), weight(m, n.Args[1], graph.RoleRows), own[graph.RoleBias])
	case graph.Output:
		return arg(0)
	}
	panic(fmt.Sprintf("modeltest: %s %s: the operation is not implemented", n.Op, n.Name))
}

// linearInput returns what a linear layer reads: the patches of an image where that is
// its input.
func linearInput(n *graph.Node, values []*mat.Dense, in models.Batch) *mat.Dense {
	if n.Args[0].Op != graph.Input {
		return values[n.Args[0].ID]
	}
	w, _ := n.Param(graph.RoleWeight)
	return patches(in[n.Args[0].Name], w.Shape)
}

// lookup returns the row of a table for each id.
func lookup(table *mat.Dense, ids []int32) *mat.Dense {
	_, units := table.Dims()
	out := mat.NewDense(len(ids), units, nil)
	for i, id := range ids {
		out.SetRow(i, table.RawRowView(int(id)))
	}
	return out
}

// meanRow returns the mean of the rows of x.
func meanRow(x *mat.Dense) *mat.Dense {
	rows, units := x.Dims()
	out := mat.NewDense(1, units, nil)
	for i := range rows {
		for j, v := range x.RawRowView(i) {
			out.Set(0, j, out.At(0, j)+v/float64(rows))
		}
	}
	return out
}

// patches cuts one image [1, C, H, W] into rows of c·p·p pixels.
func patches(a models.Array, shape []int) *mat.Dense {
	c, p, h, w := shape[1], shape[2], a.Shape[2], a.Shape[3]
	out := mat.NewDense((h/p)*(w/p), c*p*p, nil)
	for at, v := range a.Floats {
		ch, y, x := at/(h*w), at/w%h, at%w
		out.Set(y/p*(w/p)+x/p, (ch*p+y%p)*p+x%p, float64(v))
	}
	return out
}

// pixels puts the c channels of each pixel of patches side by side.
func pixels(x *mat.Dense, c int) *mat.Dense {
	rows, units := x.Dims()
	out := mat.NewDense(rows, units, nil)
	for i := range rows {
		for at, v := range x.RawRowView(i) {
			out.Set(i, at%(units/c)*c+at/(units/c), v)
		}
	}
	return out
}

// linear returns x wᵀ + bias; a nil bias is 0.
func linear(x, w *mat.Dense, bias []float64) *mat.Dense {
	var out mat.Dense
	out.Mul(x, w.T())
	if bias != nil {
		out.Apply(func(_, j int, v float64) float64 { return v + bias[j] }, &out)
	}
	return &out
}

// norm returns (x − mean)/√(variance + eps) · gain + bias, row by row, or what [rmsNorm]
// does.
func norm(n *graph.Node, x *mat.Dense, gain, bias []float64) *mat.Dense {
	if n.RMS {
		return rmsNorm(n, x, gain)
	}
	out := mat.DenseCopyOf(x)
	rows, units := x.Dims()
	for i := range rows {
		row := out.RawRowView(i)
		var mean, square float64
		for _, v := range row {
			mean += v / float64(units)
		}
		for _, v := range row {
			square += (v - mean) * (v - mean) / float64(units)
		}
		for j, v := range row {
			row[j] = (v-mean)/math.Sqrt(square+n.Eps)*gain[j] + bias[j]
		}
	}
	return out
}

// activate returns fn(v).
func activate(fn graph.Activation, v float64) float64 {
	switch fn {
	case graph.GELU:
		return v * (1 + math.Erf(v/math.Sqrt2)) / 2
	case graph.GELUTanh:
		return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
	case graph.ClippedGELU:
		return min(max(activate(graph.GELU, v), -10), 10)
	case graph.QuickGELU:
		return v / (1 + math.Exp(-1.702*v))
	case graph.SiLU:
		return v / (1 + math.Exp(-v))
	case graph.ReLU:
		return max(v, 0)
	case graph.Tanh:
		return math.Tanh(v)
	}
	panic(fmt.Sprintf("modeltest: the activation %q is not implemented", fn))
}

// add returns the sum of branches. Of a table with more rows than there are tokens,
// the first rows are taken.
func add(n *graph.Node, values []*mat.Dense) *mat.Dense {
	tokens := math.MaxInt
	for _, a := range n.Args {
		rows, _ := values[a.ID].Dims()
		tokens = min(tokens, rows)
	}
	out := mat.NewDense(tokens, n.Units, nil)
	for _, a := range n.Args {
		out.Add(out, values[a.ID].Slice(0, tokens, 0, n.Units))
	}
	return out
}
