package align

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// A Prep is one step that features go through before they are compared. Steps
// apply in order.
type Prep interface {
	apply(*features) error
}

type (
	// Center subtracts the mean of each unit over the samples.
	Center struct{}
	// Standardize subtracts the mean of each unit and divides by its standard
	// deviation (of N−1). Units that do not vary become 0.
	Standardize struct{}
	// UnitNorm divides the vector of each unit by its length.
	UnitNorm struct{}
	// PCA keeps the K principal components of the anchor's units, each with the
	// sign that makes its largest coordinate of a unit of the anchor positive.
	PCA struct{ K int }
)

// minDeviation is the standard deviation, relative to the root mean square, below
// which a unit of float32 values does not vary.
const minDeviation = 1e-6

// features are units seen as scale · (moments − offset), by their moments.
type features struct {
	m                *Moments
	offsetX, offsetY []float64 // offsets
	scaleX, scaleY   []float64 // scales
	reducedX         *mat.Dense
	reducedY         *mat.Dense // coordinates [n × k] and [m × k] once reduced
}

func newFeatures(m *Moments) *features {
	f := &features{m: m, offsetX: make([]float64, len(m.MeanX)), offsetY: make([]float64, len(m.MeanY))}
	f.scaleX, f.scaleY = ones(len(m.MeanX)), ones(len(m.MeanY))
	return f
}

func ones(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

// gram returns the inner products of the features.
func (f *features) gram() ot.Gram {
	if f.reducedX != nil {
		return ot.NewGram(f.reducedX, f.reducedY)
	}
	return ot.Gram{
		XX: squares(f.m.N, f.m.MeanX, f.m.ScatterX, f.offsetX, f.scaleX),
		YY: squares(f.m.N, f.m.MeanY, f.m.ScatterY, f.offsetY, f.scaleY),
		XY: f.product(f.m.Cross, f.m.MeanX, f.offsetX, f.scaleX)}
}

func squares(n float64, mean, square, offset, scale []float64) []float64 {
	out := make([]float64, len(mean))
	for i := range out {
		d := mean[i] - offset[i]
		out[i] = scale[i] * scale[i] * (square[i] + n*d*d)
	}
	return out
}

// product is the inner products of units, given by their centred moments with
// those of the anchor, and the anchor's units.
func (f *features) product(c *mat.Dense, mean, offset, scale []float64) *mat.Dense {
	out := mat.DenseCopyOf(c)
	for i := range mean {
		d := f.m.N * (mean[i] - offset[i])
		for j, row := 0, out.RawRowView(i); j < len(row); j++ {
			row[j] = scale[i] * f.scaleY[j] * (row[j] + d*(f.m.MeanY[j]-f.offsetY[j]))
		}
	}
	return out
}

func (Center) apply(f *features) error {
	if f.reducedX != nil {
		return applyReduced(f, Center{})
	}
	copy(f.offsetX, f.m.MeanX)
	copy(f.offsetY, f.m.MeanY)
	return nil
}

func (Standardize) apply(f *features) error {
	if f.reducedX != nil {
		return applyReduced(f, Standardize{})
	}
	if err := (Center{}).apply(f); err != nil {
		return err
	}
	unit := func(mean, square, scale []float64) {
		for i := range scale {
			std := math.Sqrt(square[i] / math.Max(f.m.N-1, 1))
			if std <= minDeviation*math.Hypot(mean[i], std) {
				scale[i] = 0
				continue
			}
			scale[i] = 1 / (std + 1e-9)
		}
	}
	unit(f.m.MeanX, f.m.ScatterX, f.scaleX)
	unit(f.m.MeanY, f.m.ScatterY, f.scaleY)
	return nil
}

func (UnitNorm) apply(f *features) error {
	if f.reducedX != nil {
		return applyReduced(f, UnitNorm{})
	}
	g := f.gram()
	for i, v := range g.XX {
		f.scaleX[i] /= math.Max(math.Sqrt(v), 1e-12)
	}
	for j, v := range g.YY {
		f.scaleY[j] /= math.Max(math.Sqrt(v), 1e-12)
	}
	return nil
}

// applyReduced applies a step to features that are coordinates already.
func applyReduced(f *features, p Prep) error {
	m, err := FromRows(f.reducedX, f.reducedY)
	if err != nil {
		return err
	}
	g := newFeatures(m)
	if err := p.apply(g); err != nil {
		return err
	}
	for i, s := range g.scaleX {
		row := f.reducedX.RawRowView(i)
		for k := range row {
			row[k] = s * (row[k] - g.offsetX[i])
		}
	}
	for j, s := range g.scaleY {
		row := f.reducedY.RawRowView(j)
		for k := range row {
			row[k] = s * (row[k] - g.offsetY[j])
		}
	}
	return nil
}

// apply projects on the principal components of the anchor's units about their
// mean: with K = Y Yᵀ, centred to U Λ Uᵀ, a component of x is (x − ȳ) Yᵀ u/√λ.
func (p PCA) apply(f *features) error {
	if p.K < 1 {
		return fmt.Errorf("align: PCA to %d components", p.K)
	}
	var yy, xy *mat.Dense
	if f.reducedX == nil {
		if f.m.Self == nil {
			return fmt.Errorf("align: PCA needs the moments of the anchor with itself")
		}
		yy = f.product(f.m.Self, f.m.MeanY, f.offsetY, f.scaleY)
		xy = f.product(f.m.Cross, f.m.MeanX, f.offsetX, f.scaleX)
	} else {
		var a, b mat.Dense
		a.Mul(f.reducedY, f.reducedY.T())
		b.Mul(f.reducedX, f.reducedY.T())
		yy, xy = &a, &b
	}
	m, _ := yy.Dims()
	mean := make([]float64, m) // ⟨ȳ, yⱼ⟩
	for i := range m {
		for j, v := range yy.RawRowView(i) {
			mean[j] += v / float64(m)
		}
	}
	k := mat.NewSymDense(m, nil)
	cy, cx := rowCentred(yy, mean), rowCentred(xy, mean)
	for i := range m {
		for j := i; j < m; j++ {
			k.SetSym(i, j, (cy.At(i, j)+cy.At(j, i))/2)
		}
	}
	var eig mat.EigenSym
	if !eig.Factorize(k, true) {
		return fmt.Errorf("align: PCA of %d units does not converge", m)
	}
	var u mat.Dense
	eig.VectorsTo(&u)
	keep := min(p.K, m)
	basis := mat.NewDense(m, keep, nil)
	values := eig.Values(nil)
	for c := range keep {
		at := m - 1 - c // ascending
		if values[at] <= 1e-12*values[m-1] {
			continue
		}
		for i := range m {
			basis.Set(i, c, u.At(i, at)/math.Sqrt(values[at]))
		}
	}
	var lx, ly mat.Dense
	lx.Mul(cx, basis)
	ly.Mul(cy, basis)
	fixSigns(&lx, &ly)
	f.reducedX, f.reducedY = &lx, &ly
	return nil
}

// fixSigns gives every component the sign so that the largest coordinate in y is positive.
func fixSigns(x, y *mat.Dense) {
	n, k := x.Dims()
	m, _ := y.Dims()
	for c := range k {
		var top float64
		for j := range m {
			if v := y.At(j, c); math.Abs(v) > math.Abs(top) {
				top = v
			}
		}
		if top >= 0 {
			continue
		}
		for i := range n {
			x.Set(i, c, -x.At(i, c))
		}
		for j := range m {
			y.Set(j, c, -y.At(j, c))
		}
	}
}

// rowCentred returns ⟨xᵢ − ȳ, yⱼ − ȳ⟩ from ⟨xᵢ, yⱼ⟩ and ⟨ȳ, yⱼ⟩.
func rowCentred(xy *mat.Dense, mean []float64) *mat.Dense {
	out := mat.DenseCopyOf(xy)
	n, m := out.Dims()
	var all float64 // ⟨ȳ, ȳ⟩
	for _, v := range mean {
		all += v / float64(m)
	}
	for i := range n {
		row := out.RawRowView(i)
		var own float64 // ⟨xᵢ, ȳ⟩
		for _, v := range row {
			own += v / float64(m)
		}
		for j := range row {
			row[j] += all - own - mean[j]
		}
	}
	return out
}
