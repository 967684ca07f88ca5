package fuse

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// A unitMap is the map S [n × m] of a space of units, to be read only. It is stored by the
// entries of its columns that are not 0: one for each column of a permutation, those of a
// head within heads, all for a rotation. So the maps of all layers are small beside their
// weights.
type unitMap struct {
	n      int
	starts []int     // of the entries of each column, and the end [m + 1]
	rows   []int32   // of each entry, in rising order within a column
	values []float64 // of each entry
}

// newUnitMap returns s as it is stored.
func newUnitMap(s *mat.Dense) *unitMap {
	n, m := s.Dims()
	raw := s.RawMatrix()
	out := &unitMap{n: n, starts: make([]int, m+1)}
	for i := range n {
		for j, v := range raw.Data[i*raw.Stride : i*raw.Stride+m] {
			if v != 0 {
				out.starts[j+1]++
			}
		}
	}
	for j := range m {
		out.starts[j+1] += out.starts[j]
	}
	next := append([]int(nil), out.starts...)
	out.rows, out.values = make([]int32, out.starts[m]), make([]float64, out.starts[m])
	for i := range n {
		for j, v := range raw.Data[i*raw.Stride : i*raw.Stride+m] {
			if v != 0 {
				out.rows[next[j]], out.values[next[j]] = int32(i), v
				next[j]++
			}
		}
	}
	return out
}

// dims returns the numbers of units of source and anchor.
func (s *unitMap) dims() (n, m int) { return s.n, len(s.starts) - 1 }

// column returns the rows and the values of the entries of a column.
func (s *unitMap) column(j int) ([]int32, []float64) {
	from, to := s.starts[j], s.starts[j+1]
	return s.rows[from:to], s.values[from:to]
}

// dense returns the matrix.
func (s *unitMap) dense() *mat.Dense {
	n, m := s.dims()
	out := mat.NewDense(n, m, nil)
	for j := range m {
		rows, values := s.column(j)
		for k, i := range rows {
			out.Set(int(i), j, values[k])
		}
	}
	return out
}

// magnitudes returns |S|, entry by entry.
func (s *unitMap) magnitudes() *unitMap {
	out := *s
	out.values = make([]float64, len(s.values))
	for k, v := range s.values {
		out.values[k] = math.Abs(v)
	}
	return &out
}

// innerProduct returns ⟨g, S⟩.
func (s *unitMap) innerProduct(g *mat.Dense) float64 {
	_, m := s.dims()
	raw, sum := g.RawMatrix(), 0.0
	for j := range m {
		rows, values := s.column(j)
		for k, i := range rows {
			sum += values[k] * raw.Data[int(i)*raw.Stride+j]
		}
	}
	return sum
}

// diagonalShare is the share of the squares of S on its diagonal.
func (s *unitMap) diagonalShare() float64 {
	var on, all float64
	_, m := s.dims()
	for j := range m {
		rows, values := s.column(j)
		for k, i := range rows {
			all += values[k] * values[k]
			if int(i) == j {
				on += values[k] * values[k]
			}
		}
	}
	return on / all
}

// fewEntries is the share of entries that are not 0 below which they alone are multiplied.
const fewEntries = 1.0 / 8

// mover moves by the columns of S.
func (s *unitMap) mover() mover {
	n, m := s.dims()
	if perm, ok := s.permutation(); ok {
		return mover{n: n, c: m, perm: perm}
	}
	if float64(len(s.values)) <= fewEntries*float64(n*m) {
		return mover{n: n, c: m, few: s}
	}
	rows := make([]float32, m*n)
	for j := range m {
		at, values := s.column(j)
		for k, i := range at {
			rows[j*n+int(i)] = float32(values[k])
		}
	}
	return mover{n: n, c: m, rows: rows}
}

// permutation returns the row of each column where every column takes one row as it is.
func (s *unitMap) permutation() ([]int, bool) {
	_, m := s.dims()
	perm := make([]int, m)
	for j := range m {
		rows, values := s.column(j)
		if len(rows) != 1 || values[0] != 1 {
			return nil, false
		}
		perm[j] = int(rows[0])
	}
	return perm, true
}
