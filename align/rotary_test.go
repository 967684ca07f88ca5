package align_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/ot"
)

// TestPlanes: under rotary positions heads are carried as wholes. Units in planes keep
// their place, the others are aligned among themselves.
func TestPlanes(t *testing.T) {
	rows := [][]float64{{1, 0, 0, 0}, {0, 2, 0, 0}, {0, 0, 3, 0}, {0, 0, 0, 4},
		{5, 5, 0, 0}, {0, 6, 6, 0}, {0, 0, 7, 7}, {8, 0, 0, 8}}
	from := []int{4, 5, 7, 6, 0, 1, 3, 2} // the unit of the anchor for each of the source: heads and last units swap
	y, x := mat.NewDense(8, 4, nil), mat.NewDense(8, 4, nil)
	for i, row := range rows {
		y.SetRow(i, row)
		x.SetRow(i, rows[from[i]])
	}
	site := align.Site{Name: "queries", In: 4, Out: 8, Heads: 2, AnchorHeads: 2, Planes: 1,
		Weights: func() (*mat.Dense, *mat.Dense, error) { return x, y, nil }}
	exact := align.Units{Features: align.Weights{}, Solver: ot.EMD{}}
	for _, aligner := range []align.Aligner{exact, align.Heads{Units: exact}} {
		got, err := aligner.Align(t.Context(), site)
		require.NoError(t, err)
		sources, ok := got.Plan.Permutation()
		require.True(t, ok)
		for target, source := range sources {
			require.Equal(t, target, from[source])
		}
	}
	x.SetRow(0, rows[5]) // unit 0 looks like unit 5 of the anchor, but that is another place in its plane
	x.SetRow(1, rows[4])
	got, err := exact.Align(t.Context(), site)
	require.NoError(t, err)
	sources, _ := got.Plan.Permutation()
	require.Equal(t, []int{0, 1}, sources[4:6], "units of a plane keep their place")

	site.AnchorHeads = 1
	_, err = exact.Align(t.Context(), site)
	require.ErrorContains(t, err, "under rotary positions")
}
