package fuse

import (
	"slices"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
	"gonum.org/v1/gonum/mat"
)

// A tensor is a parameter on its way, in float64.
type tensor struct {
	shape []int
	data  []float64
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// fetch reads the part of a checkpoint's tensor that p names.
func fetch(params models.Params, p graph.Param) tensor {
	n := size(p.Shape)
	raw := params[p.Name].Data[p.Part*n : (p.Part+1)*n]
	t := tensor{p.Shape, make([]float64, n)}
	for i, v := range raw {
		t.data[i] = float64(v)
	}
	return t
}

// store writes t as the part of a tensor that p names.
func store(params models.Params, p graph.Param, t tensor, dtype safetensors.DType) {
	whole, ok := params[p.Name]
	if !ok {
		whole = models.Tensor{DType: dtype, Shape: p.Full(), Data: make([]float32, size(p.Full()))}
		params[p.Name] = whole
	}
	to := whole.Data[p.Part*len(t.data):]
	for i, v := range t.data {
		to[i] = float32(v)
	}
}

// along carries axis k of t by m [n × c]: the entries along it become
// combinations of n given by the columns of m.
func (t tensor) along(k int, m *mat.Dense) tensor {
	n, c := m.Dims()
	post := size(t.shape[k+1:])
	pre := len(t.data) / (n * post)
	out := tensor{slices.Clone(t.shape), make([]float64, pre*c*post)}
	out.shape[k] = c
	if post == 1 {
		mat.NewDense(pre, c, out.data).Mul(mat.NewDense(pre, n, t.data), m)
		return out
	}
	for p := range pre {
		src := mat.NewDense(n, post, t.data[p*n*post:(p+1)*n*post])
		mat.NewDense(c, post, out.data[p*c*post:(p+1)*c*post]).Mul(m.T(), src)
	}
	return out
}

// rows returns t as one row for each unit: its Out axis first, the others
// flattened.
func (t tensor) rows(axes []graph.Axis) *mat.Dense {
	k := slices.Index(axes, graph.Out)
	n, post := t.shape[k], size(t.shape[k+1:])
	pre := len(t.data) / (n * post)
	out := make([]float64, len(t.data))
	for p := range pre {
		for i := range n {
			copy(out[(i*pre+p)*post:(i*pre+p+1)*post], t.data[(p*n+i)*post:(p*n+i+1)*post])
		}
	}
	return mat.NewDense(n, pre*post, out)
}
