package align

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// Moments are the second moments of n source units x and m anchor units y over
// the same N samples. Those of two halves of the data add up to those of the
// whole ([Moments.Add]), so batches and machines are merged by summation.
type Moments struct {
	N            float64    // samples
	MeanX, MeanY []float64  // [n], [m]
	VarX, VarY   []float64  // Σ (x − mean)² [n], [m]: sums, not averages
	Cross        *mat.Dense // Σ (x − mean)(y − mean)ᵀ [n × m]
	Self         *mat.Dense // the same of y with y [m × m]; nil unless asked for
}

// FromRows returns the moments of feature rows x [n × samples], y [m × samples],
// Self included.
func FromRows(x, y *mat.Dense) (*Moments, error) {
	out, err := crossed(x, y)
	if err != nil {
		return nil, err
	}
	cy, _, _ := centred(y)
	m, _ := y.Dims()
	out.Self = mat.NewDense(m, m, nil)
	out.Self.Mul(cy, cy.T())
	return out, nil
}

// crossed is FromRows without Self, which costs as much as all the rest.
func crossed(x, y *mat.Dense) (*Moments, error) {
	n, s := x.Dims()
	m, d := y.Dims()
	if s != d || s == 0 {
		return nil, fmt.Errorf("align: %d × %d and %d × %d: the numbers of samples differ", n, s, m, d)
	}
	out := &Moments{N: float64(s), Cross: mat.NewDense(n, m, nil)}
	var cx, cy *mat.Dense
	cx, out.MeanX, out.VarX = centred(x)
	cy, out.MeanY, out.VarY = centred(y)
	out.Cross.Mul(cx, cy.T())
	return out, nil
}

// centred returns the rows of x less their means, the means and the sums of squares.
func centred(x *mat.Dense) (c *mat.Dense, mean, square []float64) {
	n, s := x.Dims()
	c, mean, square = mat.DenseCopyOf(x), make([]float64, n), make([]float64, n)
	for i := range n {
		row := c.RawRowView(i)
		for _, v := range row {
			mean[i] += v / float64(s)
		}
		for k := range row {
			row[k] -= mean[i]
			square[i] += row[k] * row[k]
		}
	}
	return c, mean, square
}

// Add returns the moments of the samples of a and b together (Chan, Golub and
// LeVeque, 1979). The units of both must be the same; moments of no samples add
// nothing.
func (a *Moments) Add(b *Moments) (*Moments, error) {
	if a.N == 0 {
		return b, nil
	}
	if b.N == 0 {
		return a, nil
	}
	if len(a.MeanX) != len(b.MeanX) || len(a.MeanY) != len(b.MeanY) {
		return nil, fmt.Errorf("align: moments of %d × %d and %d × %d units do not add", len(a.MeanX), len(a.MeanY), len(b.MeanX), len(b.MeanY))
	}
	n := a.N + b.N
	w := a.N * b.N / n
	out := &Moments{N: n}
	dx, dy := diff(b.MeanX, a.MeanX), diff(b.MeanY, a.MeanY)
	out.MeanX, out.VarX = shifted(a.MeanX, dx, b.N/n), grown(a.VarX, b.VarX, dx, w)
	out.MeanY, out.VarY = shifted(a.MeanY, dy, b.N/n), grown(a.VarY, b.VarY, dy, w)
	out.Cross = merged(a.Cross, b.Cross, dx, dy, w)
	if a.Self != nil && b.Self != nil {
		out.Self = merged(a.Self, b.Self, dy, dy, w)
	}
	return out, nil
}

func diff(a, b []float64) []float64 {
	d := slices.Clone(a)
	for i := range d {
		d[i] -= b[i]
	}
	return d
}

func shifted(mean, d []float64, w float64) []float64 {
	out := slices.Clone(mean)
	for i := range out {
		out[i] += w * d[i]
	}
	return out
}

func grown(a, b, d []float64, w float64) []float64 {
	out := slices.Clone(a)
	for i := range out {
		out[i] += b[i] + w*d[i]*d[i]
	}
	return out
}

func merged(a, b *mat.Dense, dx, dy []float64, w float64) *mat.Dense {
	out := mat.NewDense(len(dx), len(dy), nil)
	out.Add(a, b)
	for i, u := range dx {
		for j, row := 0, out.RawRowView(i); j < len(row); j++ {
			row[j] += w * u * dy[j]
		}
	}
	return out
}
