package fuse

import (
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// A tensor is a parameter on its way, in the precision of checkpoints. It may
// share its data with a model and is therefore not changed once made.
type tensor struct {
	shape []int
	data  []float32
}

func valueCount(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// fetchPart returns the part of a checkpoint's tensor that p names.
func fetchPart(params models.Params, p graph.Param) tensor { return cutPart(params[p.Name], p) }

// readPart is fetchPart for tensors that need not be in memory.
func readPart(from tensors, p graph.Param) (tensor, error) {
	t, err := from.Tensor(p.Name)
	if err != nil {
		return tensor{}, err
	}
	return cutPart(t, p), nil
}

// cutPart cuts p out of its tensor. Values that lie side by side are shared.
func cutPart(t models.Tensor, p graph.Param) tensor {
	run := p.Runs()
	if run.Count == 1 {
		return tensor{p.Shape, t.Data[run.Offset : run.Offset+run.Length]}
	}
	data := make([]float32, 0, run.Count*run.Length)
	for r := range run.Count {
		from := run.Offset + r*run.Stride
		data = append(data, t.Data[from:from+run.Length]...)
	}
	return tensor{p.Shape, data}
}

// storePart writes t as the part of a tensor that p names.
func storePart(params models.Params, p graph.Param, t tensor, dtype safetensors.DType) {
	whole, ok := params[p.Name]
	if !ok {
		whole = models.Tensor{DType: dtype, Shape: p.Full(), Data: make([]float32, valueCount(p.Full()))}
		params[p.Name] = whole
	}
	run := p.Runs()
	for r := range run.Count {
		copy(whole.Data[run.Offset+r*run.Stride:], t.data[r*run.Length:(r+1)*run.Length])
	}
}

// add adds w times t to the part of a tensor that p names.
func add(whole models.Tensor, p graph.Param, t tensor, w float64) {
	run := p.Runs()
	for r := range run.Count {
		from := run.Offset + r*run.Stride
		increase(whole.Data[from:from+run.Length], t.data[r*run.Length:(r+1)*run.Length], w)
	}
}

// along carries axis k of t.
func (t tensor) along(k int, m mover) tensor {
	post := valueCount(t.shape[k+1:])
	pre := len(t.data) / (m.n * post)
	out := tensor{slices.Clone(t.shape), make([]float32, pre*m.c*post)}
	out.shape[k] = m.c
	if m.rows != nil && post == 1 {
		product(out.data, t.data, m.rows, m.n)
		return out
	}
	for p := range pre {
		from, to := t.data[p*m.n*post:(p+1)*m.n*post], out.data[p*m.c*post:(p+1)*m.c*post]
		switch {
		case m.rows != nil:
			product(to, m.rows, transposed(from, post), m.n)
		case m.few != nil:
			m.few.combine(to, from, post)
		default:
			for j, i := range m.perm {
				copy(to[j*post:(j+1)*post], from[i*post:(i+1)*post])
			}
		}
	}
	return out
}

// combine writes to each of the runs of a length that columns of S stand for, in to, the
// combination of those that its rows stand for, in from.
func (s *unitMap) combine(to, from []float32, length int) {
	_, m := s.dims()
	for j := range m {
		rows, values := s.column(j)
		run := to[j*length : (j+1)*length]
		for k, i := range rows {
			v := float32(values[k])
			for x, old := range from[int(i)*length : (int(i)+1)*length] {
				run[x] += v * old
			}
		}
	}
}

// transposed returns the transpose of x [n × c].
func transposed(x []float32, c int) []float32 {
	n := len(x) / c
	out := make([]float32, len(x))
	for i := range n {
		for j, v := range x[i*c : (i+1)*c] {
			out[j*n+i] = v
		}
	}
	return out
}

// withAxisFirst returns the values of t with axis k first, the others flattened
// behind it [n × rest].
func (t tensor) withAxisFirst(k int) []float32 {
	n, post := t.shape[k], valueCount(t.shape[k+1:])
	if n*post == len(t.data) {
		return t.data
	}
	pre := len(t.data) / (n * post)
	out := make([]float32, len(t.data))
	for p := range pre {
		for i := range n {
			copy(out[(i*pre+p)*post:], t.data[(p*n+i)*post:(p*n+i+1)*post])
		}
	}
	return out
}

// unitRows returns t as one row for each unit: its Out axis first, the others
// flattened.
func (t tensor) unitRows(axes []graph.Axis) *mat.Dense {
	k := slices.Index(axes, graph.Out)
	values := t.withAxisFirst(k)
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return mat.NewDense(t.shape[k], len(out)/t.shape[k], out)
}

// fromMatrix is the inverse of unitRows for a weight of two axes, m [units × inputs].
func fromMatrix(m *mat.Dense, axes []graph.Axis) tensor {
	out, in := m.Dims()
	t := tensor{make([]int, 2), make([]float32, 0, out*in)}
	for k, axis := range axes {
		if t.shape[k] = in; axis == graph.Out {
			t.shape[k] = out
		}
	}
	var stored mat.Matrix = m
	if axes[0] == graph.In {
		stored = m.T()
	}
	for i := range t.shape[0] {
		for j := range t.shape[1] {
			t.data = append(t.data, float32(stored.At(i, j)))
		}
	}
	return t
}
