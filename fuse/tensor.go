package fuse

import (
	"runtime"
	"slices"
	"sync"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
	"github.com/otfuse/otfuse/ot"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/mat"
)

// A tensor is a parameter on its way, in the precision of checkpoints. It may
// share its data with one and so is not changed once made.
type tensor struct {
	shape []int
	data  []float32
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// fetch returns the part of a checkpoint's tensor that p names.
func fetch(params models.Params, p graph.Param) tensor {
	return part(params[p.Name], p)
}

func part(t models.Tensor, p graph.Param) tensor {
	n := size(p.Shape)
	return tensor{p.Shape, t.Data[p.Part*n : (p.Part+1)*n]}
}

// read is fetch for a model whose tensors may be on disk.
func read(m *models.Model, p graph.Param) (tensor, error) {
	t, err := m.Tensor(p.Name)
	if err != nil {
		return tensor{}, err
	}
	return part(t, p), nil
}

// store writes t as the part of a tensor that p names.
func store(params models.Params, p graph.Param, t tensor, dtype safetensors.DType) {
	whole, ok := params[p.Name]
	if !ok {
		whole = models.Tensor{DType: dtype, Shape: p.Full(), Data: make([]float32, size(p.Full()))}
		params[p.Name] = whole
	}
	copy(whole.Data[p.Part*len(t.data):], t.data)
}

// A mover carries the n entries along an axis to c others: by a matrix, or as
// they are where it is a permutation.
type mover struct {
	n, c int
	rows []float32 // [c × n]: each new entry as a combination of old ones
	perm []int     // instead of rows: the old entry that each new one is
}

// pusher moves Out axes along a plan, puller In axes.
func pusher(p ot.Plan) mover {
	if perm, ok := p.Permutation(); ok {
		return mover{n: len(perm), c: len(perm), perm: perm}
	}
	return byColumns(p.Push())
}

func puller(p ot.Plan) mover {
	if perm, ok := p.Permutation(); ok {
		return mover{n: len(perm), c: len(perm), perm: perm}
	}
	return byColumns(p.Pull())
}

// byColumns moves by the columns of m [n × c]. Where each takes one entry as it
// is, nothing is multiplied.
func byColumns(m *mat.Dense) mover {
	n, c := m.Dims()
	rows, perm, others := make([]float32, c*n), make([]int, c), 0
	for j := range perm {
		perm[j] = -1
	}
	for i := range n {
		for j, v := range m.RawRowView(i) {
			rows[j*n+i] = float32(v)
			switch {
			case v == 1 && perm[j] < 0:
				perm[j] = i
			case v != 0:
				others++
			}
		}
	}
	if others == 0 && !slices.Contains(perm, -1) {
		return mover{n: n, c: c, perm: perm}
	}
	return mover{n: n, c: c, rows: rows}
}

// along carries axis k of t.
func (t tensor) along(k int, m mover) tensor {
	post := size(t.shape[k+1:])
	pre := len(t.data) / (m.n * post)
	out := tensor{slices.Clone(t.shape), make([]float32, pre*m.c*post)}
	out.shape[k] = m.c
	if m.perm == nil && post == 1 {
		product(out.data, t.data, m.rows, m.n)
		return out
	}
	for p := range pre {
		from, to := t.data[p*m.n*post:(p+1)*m.n*post], out.data[p*m.c*post:(p+1)*m.c*post]
		if m.perm == nil {
			product(to, m.rows, transposed(from, post), m.n)
			continue
		}
		for j, i := range m.perm {
			copy(to[j*post:(j+1)*post], from[i*post:(i+1)*post])
		}
	}
	return out
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

const (
	// grain is the number of multiplications below which one goroutine is faster.
	grain = 1 << 18
	// strip is the number of rows that stay in the cache while others pass by.
	strip = 48
)

// product writes x yᵀ to out [r × c], for x [r × n] and y [c × n]. Every entry
// is one inner product, so how the rows fall on processors does not show. With
// both sides row by row that is over twice as fast as gonum's general product.
func product(out, x, y []float32, n int) {
	r := len(x) / n
	workers := min(runtime.GOMAXPROCS(0), r, 1+len(out)*n/grain)
	if workers < 2 {
		inner(out, x, y, n)
		return
	}
	c := len(y) / n
	var wg sync.WaitGroup
	for w := range workers {
		from, to := r*w/workers, r*(w+1)/workers
		wg.Go(func() { inner(out[from*c:to*c], x[from*n:to*n], y, n) })
	}
	wg.Wait()
}

func inner(out, x, y []float32, n int) {
	r, c := len(x)/n, len(y)/n
	row := func(v []float32, i int) blas32.Vector {
		return blas32.Vector{N: n, Inc: 1, Data: v[i*n : (i+1)*n]}
	}
	for from := 0; from < c; from += strip {
		for i := range r {
			u := row(x, i)
			for j := from; j < min(from+strip, c); j++ {
				out[i*c+j] = blas32.Dot(u, row(y, j))
			}
		}
	}
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
			to := out[(i*pre+p)*post : (i*pre+p+1)*post]
			for x, v := range t.data[(p*n+i)*post : (p*n+i+1)*post] {
				to[x] = float64(v)
			}
		}
	}
	return mat.NewDense(n, pre*post, out)
}
