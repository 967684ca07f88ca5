package ot_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/otfuse/otfuse/ot"
)

func TestMetricsFromRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	x, y := mat.NewDense(4, 6, nil), mat.NewDense(5, 6, nil)
	for _, d := range []*mat.Dense{x, y} {
		d.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, d)
	}
	g := ot.NewGram(x, y)
	require.NoError(t, g.Validate())
	e, err := ot.Euclidean{}.Cost(g)
	require.NoError(t, err)
	s, err := ot.SqEuclidean{}.Cost(g)
	require.NoError(t, err)
	c, err := ot.Cosine{}.Cost(g)
	require.NoError(t, err)
	for i := range 4 {
		for j := range 5 {
			var d mat.VecDense
			d.SubVec(x.RowView(i), y.RowView(j))
			norm := mat.Norm(&d, 2)
			require.InDelta(t, norm, e.At(i, j), 1e-12)
			require.InDelta(t, norm*norm, s.At(i, j), 1e-12)
			cos := mat.Dot(x.RowView(i), y.RowView(j)) / mat.Norm(x.RowView(i), 2) / mat.Norm(y.RowView(j), 2)
			require.InDelta(t, 1-cos, c.At(i, j), 1e-12)
		}
	}
}

func TestMetricsOfEqualUnits(t *testing.T) {
	x := mat.NewDense(3, 3, []float64{0.1, 0.7, -0.3, 0, 0, 0, 1e9, 1e9 / 3, 0.3})
	g := ot.NewGram(x, x)
	for name, m := range map[string]ot.Metric{"euclidean": ot.Euclidean{}, "squared": ot.SqEuclidean{}} {
		c, err := m.Cost(g)
		require.NoError(t, err)
		for i := range 3 {
			require.Zero(t, c.At(i, i), name)
		}
		require.Positive(t, c.At(0, 1))
	}
	c, err := ot.Cosine{}.Cost(g)
	require.NoError(t, err)
	require.InDelta(t, 0, c.At(0, 0), 1e-15)
	require.Equal(t, 1.0, c.At(1, 1), "no length, no direction")
	require.Equal(t, 1.0, c.At(1, 2))
}

func TestMetricsReject(t *testing.T) {
	xy := mat.NewDense(1, 2, []float64{1, 2})
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		g    ot.Gram
		want error
	}{
		{ot.Gram{}, ot.ErrShape},
		{ot.NewGram(mat.NewDense(2, 3, nil), mat.NewDense(2, 4, nil)), ot.ErrShape},
		{ot.NewGram(nil, xy), ot.ErrShape},
		{ot.Gram{XX: []float64{1}, YY: []float64{1}, XY: xy}, ot.ErrShape},
		{ot.Gram{XX: []float64{nan}, YY: []float64{1, 1}, XY: xy}, ot.ErrNotFinite},
		{ot.Gram{XX: []float64{1}, YY: []float64{1, inf}, XY: xy}, ot.ErrNotFinite},
		{ot.Gram{XX: []float64{1}, YY: []float64{1, 1}, XY: mat.NewDense(1, 2, []float64{0, nan})}, ot.ErrNotFinite},
		{ot.Gram{XX: []float64{1e308}, YY: []float64{1e308, 1e308}, XY: xy}, ot.ErrNotFinite},
	} {
		for _, m := range []ot.Metric{ot.Euclidean{}, ot.SqEuclidean{}} {
			_, err := m.Cost(c.g)
			require.ErrorIs(t, err, c.want)
			require.ErrorAs(t, err, new(*ot.InvalidError))
		}
	}
	_, err := ot.Scaled{}.Cost(ot.NewGram(xy, xy))
	require.ErrorIs(t, err, ot.ErrOption)
	_, err = ot.Scaled{Metric: ot.Cosine{}}.Cost(ot.Gram{})
	require.ErrorIs(t, err, ot.ErrShape)
}

// fixed is a metric whose costs are what it says.
type fixed struct{ cost *mat.Dense }

func (f fixed) Cost(ot.Gram) (*mat.Dense, error) { return mat.DenseCopyOf(f.cost), nil }

func TestScales(t *testing.T) {
	c := mat.NewDense(2, 3, []float64{4, 0, 1, 8, 2, 3})
	for _, s := range []struct {
		by   ot.Scale
		want func(float64) float64
	}{
		{nil, func(v float64) float64 { return v }},
		{ot.ScaleMax{}, func(v float64) float64 { return v / 8 }},
		{ot.ScaleMean{}, func(v float64) float64 { return v / 3 }},
		{ot.ScaleMedian{}, func(v float64) float64 { return v / 2 }}, // the lower of 2 and 3
		{ot.ScaleLog{}, math.Log1p},
	} {
		got, err := ot.Scaled{Metric: fixed{c}, By: s.by}.Cost(ot.Gram{})
		require.NoError(t, err)
		var want mat.Dense
		want.Apply(func(_, _ int, v float64) float64 { return s.want(v) }, c)
		near(t, &want, got, 1e-15)
		if s.by == nil {
			continue
		}
		for _, edge := range []*mat.Dense{mat.NewDense(2, 2, nil), mat.NewDense(1, 4, []float64{0, 0, 0, 5}),
			mat.NewDense(1, 2, []float64{5e-324, 1.7e308})} {
			d := mat.DenseCopyOf(edge)
			s.by.Apply(d)
			require.NoError(t, ot.Problem{Cost: d}.Validate(), "%T %v", s.by, edge.RawMatrix().Data)
			if edge.At(0, 0) == 0 {
				require.Zero(t, d.At(0, 0))
			}
		}
		s.by.Apply(&mat.Dense{})
	}
}

func TestMedianIsTheLowerOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for n := 1; n < 60; n++ {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(1 + rng.IntN(1+n/2)) // with repeats
		}
		d := mat.NewDense(1, n, slices.Clone(x))
		ot.ScaleMedian{}.Apply(d)
		slices.Sort(x)
		require.InDelta(t, x[n-1]/x[(n-1)/2], mat.Max(d), 1e-15)
	}
}

func TestCorrelation(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 9))
	x, y := mat.NewDense(4, 60, nil), mat.NewDense(5, 60, nil)
	for k, d := range []*mat.Dense{x, y} {
		d.Apply(func(i, _ int, _ float64) float64 { return float64(3*i+k) + rng.NormFloat64() }, d)
	}
	x.SetRow(3, slices.Repeat([]float64{0.1}, 60))
	got, err := ot.Correlation{}.Cost(ot.NewGram(x, y))
	require.NoError(t, err)
	for i := range 4 {
		for j := range 5 {
			want := 1.0 // where nothing varies
			if i < 3 {
				want = 1 - stat.Correlation(x.RawRowView(i), y.RawRowView(j), nil)
			}
			require.InDelta(t, want, got.At(i, j), 1e-12)
		}
	}
	// Centred moments do not need the sums.
	for _, d := range []*mat.Dense{x, y} {
		r, _ := d.Dims()
		for i := range r {
			floats.AddConst(-stat.Mean(d.RawRowView(i), nil), d.RawRowView(i))
		}
	}
	g := ot.NewGram(x, y)
	fromMoments, err := ot.Correlation{}.Cost(ot.Gram{XX: g.XX, YY: g.YY, XY: g.XY})
	require.NoError(t, err)
	for j := range 5 {
		require.InDelta(t, got.At(1, j), fromMoments.At(1, j), 1e-12)
	}
	_, err = ot.Correlation{}.Cost(ot.Gram{XX: g.XX, YY: g.YY, XY: g.XY, X: g.X[1:], Features: 60})
	require.ErrorIs(t, err, ot.ErrShape)
	_, err = ot.Correlation{}.Cost(ot.Gram{XX: g.XX, YY: g.YY, XY: g.XY, X: g.X, Y: g.Y})
	require.ErrorIs(t, err, ot.ErrShape)
}

// Features may come in blocks of any size.
func TestGramInBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	x, y := mat.NewDense(6, 50, nil), mat.NewDense(4, 50, nil)
	for _, d := range []*mat.Dense{x, y} {
		d.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, d)
	}
	var g ot.Gram
	for lo := 0; lo < 50; lo += 17 {
		hi := min(lo+17, 50)
		require.NoError(t, g.Add(x.Slice(0, 6, lo, hi), y.Slice(0, 4, lo, hi)))
	}
	whole := ot.NewGram(x, y)
	near(t, whole.XY, g.XY, 1e-13)
	require.InDeltaSlice(t, whole.XX, g.XX, 1e-13)
	require.InDeltaSlice(t, whole.Y, g.Y, 1e-13)
	require.Equal(t, 50, g.Features)
	require.ErrorIs(t, g.Add(x, x), ot.ErrShape)
	near(t, whole.XY, g.XY, 1e-13)
}

func TestPNorm(t *testing.T) {
	x := mat.NewDense(2, 3, []float64{0, 0, 0, 1e8, 1e8, 1e8})
	y := mat.NewDense(2, 3, []float64{1, -2, 2, 1e8 + 3, 1e8 + 4, 1e8})
	for p, want := range map[float64][2]float64{1: {5, 7}, 2: {3, 5}, math.Inf(1): {2, 4}} {
		c, err := ot.PNorm(p, x, y)
		require.NoError(t, err)
		require.InDelta(t, want[0], c.At(0, 0), 1e-12)
		require.InDelta(t, want[1], c.At(1, 1), 1e-12, "points far from the origin")
	}
	_, err := ot.PNorm(0.5, x, y)
	require.ErrorIs(t, err, ot.ErrOption)
	_, err = ot.PNorm(1, x, y.T())
	require.ErrorIs(t, err, ot.ErrShape)
	_, err = ot.PNorm(1, nil, y)
	require.ErrorIs(t, err, ot.ErrShape)
	x.Set(0, 1, math.NaN())
	_, err = ot.PNorm(1, x, y)
	require.EqualError(t, err, "ot: x[0,1] = NaN: not a finite number")
}
