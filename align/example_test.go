package align_test

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/ot"
)

// The units of two layers are matched by their incoming weights, one row a unit.
func ExampleUnits() {
	site := align.Site{Name: "dense", Weights: func() (x, y *mat.Dense, err error) {
		x = mat.NewDense(3, 2, []float64{1, 0, 0, 1, 1, 1})
		y = mat.NewDense(3, 2, []float64{2, 2, 3, 0, 0, 4}) // rows 2, 0 and 1 of x, longer
		return x, y, nil
	}}
	units := align.Units{Features: align.Weights{Prep: []align.Prep{align.UnitNorm{}}}, Metric: ot.Euclidean{},
		Solver: ot.EMD{}}
	match, err := units.Align(context.Background(), site)
	if err != nil {
		fmt.Println(err)
		return
	}
	perm, ok := match.Plan.Permutation()
	fmt.Println(perm, ok)
	// Output: [2 0 1] true
}

// The class token and the central 2 × 2 of a 4 × 4 grid.
func ExampleWindow() {
	fmt.Println(align.Window{Size: 2}.Groups(align.Layout{Lead: 1, Rows: 4, Cols: 4}, 17))
	// Output: [[0] [6] [7] [10] [11]]
}
