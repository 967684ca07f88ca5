package ot

import (
	"cmp"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// sparse is a matrix of which only the entries above zero are stored, row by row with
// rising columns. Exact plans are kept as such: they have at most n + m − 1 entries.
type sparse struct {
	rows, columns int
	start         []int // of every row among the entries [rows + 1]
	column        []int32
	value         []float64
}

// entry is one entry of a sparse matrix.
type entry struct {
	row, column int32
	value       float64
}

// newSparse returns the matrix [rows × columns] with the given entries, which it sorts.
// It leaves out zeros and adds up what shares a place.
func newSparse(rows, columns int, entries []entry) *sparse {
	slices.SortFunc(entries, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.row, y.row), cmp.Compare(x.column, y.column))
	})
	s := &sparse{
		rows: rows, columns: columns, start: make([]int, rows+1),
		column: make([]int32, 0, len(entries)), value: make([]float64, 0, len(entries)),
	}
	for _, e := range entries {
		switch {
		case e.value == 0:
			continue
		case s.start[e.row+1] > 0 && s.column[len(s.column)-1] == e.column:
			s.value[len(s.value)-1] += e.value
			continue
		}
		s.column, s.value = append(s.column, e.column), append(s.value, e.value)
		s.start[e.row+1]++
	}
	for i := range rows {
		s.start[i+1] += s.start[i]
	}
	return s
}

// row returns the columns and the values of the entries of row i.
func (s *sparse) row(i int) ([]int32, []float64) {
	lo, hi := s.start[i], s.start[i+1]
	return s.column[lo:hi], s.value[lo:hi]
}

// entries returns a copy of all entries, row by row.
func (s *sparse) entries() []entry {
	all := make([]entry, 0, len(s.value))
	for i := range s.rows {
		columns, values := s.row(i)
		for k, j := range columns {
			all = append(all, entry{int32(i), j, values[k]})
		}
	}
	return all
}

// dense returns all entries [rows × columns], row by row.
func (s *sparse) dense() []float64 {
	out := make([]float64, s.rows*s.columns)
	for i := range s.rows {
		columns, values := s.row(i)
		for k, j := range columns {
			out[i*s.columns+int(j)] = values[k]
		}
	}
	return out
}

// Dims implements [mat.Matrix].
func (s *sparse) Dims() (r, c int) { return s.rows, s.columns }

// At implements [mat.Matrix].
func (s *sparse) At(i, j int) float64 {
	if j < 0 || j >= s.columns {
		panic(mat.ErrColAccess) // as the interface asks; [mat.Dense] does the same
	}
	if i < 0 || i >= s.rows {
		panic(mat.ErrRowAccess)
	}
	columns, values := s.row(i)
	if k, ok := slices.BinarySearch(columns, int32(j)); ok {
		return values[k]
	}
	return 0
}

// T implements [mat.Matrix].
func (s *sparse) T() mat.Matrix { return mat.Transpose{Matrix: s} }

// DoRowNonZero implements [mat.RowNonZeroDoer].
func (s *sparse) DoRowNonZero(i int, f func(i, j int, v float64)) {
	columns, values := s.row(i)
	for k, j := range columns {
		f(i, int(j), values[k])
	}
}
