package graph

import (
	"errors"
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// A Branch is one argument of an Add.
type Branch struct {
	Plan       ot.Plan
	Magnitudes []float64 // mean |activation| of each anchor unit [m]; nil without calibration data
}

// A Policy merges the plans that meet at an Add. Branch 0 is the main one, the
// others are skips (Imfeld et al., ICLR 2024, section 4.2).
type Policy interface {
	Merge(branches []Branch) (ot.Plan, error)
}

// A Weigher is a [Policy] that looks at [Branch.Magnitudes] and so needs calibration data.
type Weigher interface {
	Policy
	Weighs()
}

// Weighs implements [Weigher].
func (WeightedScalar) Weighs() {}

// Weighs implements [Weigher].
func (WeightedMatrix) Weighs() {}

// ErrNoActivations reports a policy that needs calibration data and has none.
var ErrNoActivations = errors.New("graph: the residual policy needs calibration data")

// errNoBranch reports a policy, or the skips of one, without a branch.
var errNoBranch = errors.New("graph: there is no branch to merge")

type (
	// Main keeps the plan of the main branch.
	Main struct{}
	// Skip takes the mean of the plans of the skips.
	Skip struct{}
	// Identity keeps the units where they are; between widths n ≠ m it is the
	// [n × m] matrix with ones on its diagonal, both as Push and as Pull.
	Identity struct{}
	// Average takes the mean of the plans of all branches.
	Average struct{}
	// WeightedScalar weighs each branch by its mean |activation|.
	WeightedScalar struct{}
	// WeightedMatrix weighs each unit of each branch by its mean |activation|.
	WeightedMatrix struct{}
)

// Merge implements [Policy].
func (Main) Merge(bs []Branch) (ot.Plan, error) {
	if len(bs) == 0 {
		return ot.Plan{}, errNoBranch
	}
	return bs[0].Plan, nil
}

// Merge implements [Policy].
func (Skip) Merge(bs []Branch) (ot.Plan, error) {
	if len(bs) == 0 {
		return ot.Plan{}, errNoBranch
	}
	return Average{}.Merge(bs[1:])
}

// Merge implements [Policy].
func (Identity) Merge(bs []Branch) (ot.Plan, error) {
	if len(bs) == 0 {
		return ot.Plan{}, errNoBranch
	}
	n, m := planDims(bs)
	if n == m {
		return ot.Plan{}, nil
	}
	ones := func(k int) []float64 {
		v := make([]float64, k)
		for i := range v {
			v[i] = 1
		}
		return v
	}
	return ot.NewPlan(diagonalMatrix(n, m), ones(n), ones(m))
}

// Merge implements [Policy].
func (Average) Merge(bs []Branch) (ot.Plan, error) {
	if len(bs) == 0 {
		return ot.Plan{}, errNoBranch
	}
	return weightedSum(bs, func(int, int) float64 { return 1 / float64(len(bs)) })
}

// Merge implements [Policy].
func (WeightedScalar) Merge(bs []Branch) (ot.Plan, error) {
	w := make([]float64, len(bs))
	var total float64
	if err := checkMagnitudes(bs); err != nil {
		return ot.Plan{}, fmt.Errorf("WeightedScalar: %w", err)
	}
	for k, b := range bs {
		for _, v := range b.Magnitudes {
			w[k] += v
		}
		total += w[k]
	}
	if total == 0 {
		return Average{}.Merge(bs)
	}
	return weightedSum(bs, func(k, _ int) float64 { return w[k] / total })
}

// Merge implements [Policy].
func (WeightedMatrix) Merge(bs []Branch) (ot.Plan, error) {
	if err := checkMagnitudes(bs); err != nil {
		return ot.Plan{}, fmt.Errorf("WeightedMatrix: %w", err)
	}
	total := make([]float64, len(bs[0].Magnitudes))
	for _, b := range bs {
		for j, v := range b.Magnitudes {
			total[j] += v
		}
	}
	return weightedSum(bs, func(k, j int) float64 {
		if total[j] == 0 {
			return 1 / float64(len(bs))
		}
		return bs[k].Magnitudes[j] / total[j]
	})
}

// checkMagnitudes reports magnitudes that are not there or not one for each unit.
func checkMagnitudes(bs []Branch) error {
	if len(bs) == 0 {
		return errNoBranch
	}
	_, m := planDims(bs)
	for k, b := range bs {
		if b.Magnitudes == nil {
			return ErrNoActivations
		}
		if len(b.Magnitudes) != len(bs[0].Magnitudes) || m > 0 && len(b.Magnitudes) != m {
			return fmt.Errorf(
				"graph: branch %d has %d magnitudes for %d units",
				k,
				len(b.Magnitudes),
				max(m, len(bs[0].Magnitudes)),
			)
		}
	}
	return nil
}

// planDims returns the size of the plans of bs, 0 and 0 where all are the identity.
func planDims(bs []Branch) (n, m int) {
	for _, b := range bs {
		if !b.Plan.IsIdentity() {
			return b.Plan.Dims()
		}
	}
	return 0, 0
}

func diagonalMatrix(n, m int) *mat.Dense {
	e := mat.NewDense(n, m, nil)
	for i := range min(n, m) {
		e.Set(i, i, 1)
	}
	return e
}

// weightedSum sums the plans, column j of branch k weighted by w(k, j). An identity
// among them counts as the matrix with ones on its diagonal as Push.
func weightedSum(bs []Branch, w func(k, j int) float64) (ot.Plan, error) {
	n, m := planDims(bs)
	if n == 0 {
		return ot.Plan{}, nil
	}
	sum := mat.NewDense(n, m, nil)
	var a, b []float64
	for k, br := range bs {
		if br.Plan.IsIdentity() {
			for i := range min(n, m) {
				sum.Set(i, i, sum.At(i, i)+w(k, i)*(1/float64(m)))
			}
			continue
		}
		if a == nil {
			a, b = br.Plan.Marginals()
		}
		if r, c := br.Plan.Dims(); r != n || c != m {
			return ot.Plan{}, fmt.Errorf("graph: branch %d has a plan of %d × %d, want %d × %d", k, r, c, n, m)
		}
		for i := range n {
			row := sum.RawRowView(i)
			for j, v := range br.Plan.Row(i) {
				row[j] += w(k, j) * v
			}
		}
	}
	return ot.NewPlan(sum, a, b)
}
