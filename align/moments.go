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
	N                  float64    // samples
	MeanX, MeanY       []float64  // [n], [m]
	ScatterX, ScatterY []float64  // Σ (x − mean)² [n], [m]: sums, not averages
	Cross              *mat.Dense // Σ (x − mean)(y − mean)ᵀ [n × m]
	Self               *mat.Dense // the same of y with y [m × m]; nil unless asked for
}

// FromRows returns the moments of feature rows x [n × samples], y [m × samples],
// Self included.
func FromRows(x, y *mat.Dense) (*Moments, error) {
	out, err := crossed(x, y)
	if err != nil {
		return nil, err
	}
	m, _ := y.Dims()
	cy := centredBlock(y, out.MeanY, make([]float64, m))
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
	out := &Moments{N: float64(s), MeanX: rowMeans(x), MeanY: rowMeans(y), ScatterX: make([]float64, n),
		ScatterY: make([]float64, m), Cross: mat.NewDense(n, m, nil)}
	for from := 0; from < s; from += blockSamples {
		to := min(from+blockSamples, s)
		cx := centredBlock(x.Slice(0, n, from, to), out.MeanX, out.ScatterX)
		cy := centredBlock(y.Slice(0, m, from, to), out.MeanY, out.ScatterY)
		if from == 0 {
			out.Cross.Mul(cx, cy.T())
			continue
		}
		var part mat.Dense
		part.Mul(cx, cy.T())
		out.Cross.Add(out.Cross, &part)
	}
	return out, nil
}

// blockSamples is the number of samples of which copies are made at a time.
const blockSamples = 4096

// rowMeans returns the mean of each row.
func rowMeans(x *mat.Dense) []float64 {
	n, s := x.Dims()
	mean := make([]float64, n)
	for i := range n {
		for _, v := range x.RawRowView(i) {
			mean[i] += v / float64(s)
		}
	}
	return mean
}

// centredBlock returns some columns of rows less the means of these, and adds their squares
// to sums.
func centredBlock(x mat.Matrix, mean, squares []float64) *mat.Dense {
	c := mat.DenseCopyOf(x)
	for i := range mean {
		row := c.RawRowView(i)
		for k := range row {
			row[k] -= mean[i]
			squares[i] += row[k] * row[k]
		}
	}
	return c
}

// Add returns the moments of the samples of a and b together. The units of both
// must be the same; moments of no samples add nothing.
func (a *Moments) Add(b *Moments) (*Moments, error) {
	if a.N == 0 {
		return b, nil
	}
	if b.N == 0 {
		return a, nil
	}
	if len(a.MeanX) != len(b.MeanX) || len(a.MeanY) != len(b.MeanY) {
		return nil, fmt.Errorf("align: moments of %d × %d and %d × %d units do not add", len(a.MeanX), len(a.MeanY),
			len(b.MeanX), len(b.MeanY))
	}
	out := &Moments{N: a.N, MeanX: slices.Clone(a.MeanX), MeanY: slices.Clone(a.MeanY),
		ScatterX: slices.Clone(a.ScatterX), ScatterY: slices.Clone(a.ScatterY), Cross: mat.DenseCopyOf(a.Cross)}
	more := BatchMoments[float64]{N: b.N, MeanX: b.MeanX, MeanY: b.MeanY, ScatterX: b.ScatterX, ScatterY: b.ScatterY,
		Cross: b.Cross.RawMatrix().Data}
	if a.Self != nil && b.Self != nil {
		out.Self, more.Self = mat.DenseCopyOf(a.Self), b.Self.RawMatrix().Data
	}
	Accumulate(out, more)
	return out, nil
}

// BatchMoments are the moments of a batch of samples in the precision of the device
// that took them. Fields are those of [Moments], matrices row by row.
type BatchMoments[T float32 | float64] struct {
	N                                             float64
	MeanX, MeanY, ScatterX, ScatterY, Cross, Self []T
}

// Accumulate adds a batch to a in place, after Chan, Golub and LeVeque (1979). The
// units of both must be the same.
func Accumulate[T float32 | float64](a *Moments, b BatchMoments[T]) {
	if b.N == 0 {
		return
	}
	if a.Cross == nil {
		n, m := len(b.MeanX), len(b.MeanY)
		a.MeanX, a.ScatterX, a.MeanY, a.ScatterY = make([]float64, n), make([]float64, n), make([]float64, m),
			make([]float64, m)
		a.Cross = mat.NewDense(n, m, nil)
		if b.Self != nil {
			a.Self = mat.NewDense(m, m, nil)
		}
	}
	w := a.N * b.N / (a.N + b.N)
	dx, dy := difference(b.MeanX, a.MeanX), difference(b.MeanY, a.MeanY)
	addCross(a.Cross.RawMatrix().Data, b.Cross, w, dx, dy)
	if a.Self != nil {
		addCross(a.Self.RawMatrix().Data, b.Self, w, dy, dy)
	}
	a.N += b.N
	moveMeans(a.MeanX, a.ScatterX, b.ScatterX, dx, b.N/a.N, w)
	moveMeans(a.MeanY, a.ScatterY, b.ScatterY, dy, b.N/a.N, w)
}

// difference returns b − a.
func difference[T float32 | float64](b []T, a []float64) []float64 {
	d := make([]float64, len(a))
	for i := range d {
		d[i] = float64(b[i]) - a[i]
	}
	return d
}

// addCross adds more and w dx dyᵀ to cross sums.
func addCross[T float32 | float64](sum []float64, more []T, w float64, dx, dy []float64) {
	for i, u := range dx {
		u *= w
		row, add := sum[i*len(dy):(i+1)*len(dy)], more[i*len(dy):(i+1)*len(dy)]
		for j, v := range dy {
			row[j] += float64(add[j]) + u*v
		}
	}
}

// moveMeans moves means by share d and adds more and w d² to the sums of squares.
//
//nolint:revive // two sums, each of its own vectors
func moveMeans[T float32 | float64](mean, sum []float64, more []T, d []float64, share, w float64) {
	for i, v := range d {
		mean[i] += share * v
		sum[i] += float64(more[i]) + w*v*v
	}
}
