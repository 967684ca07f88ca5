package align_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/ot"
)

// random returns rows whose units differ in mean and scale.
func random(rng *rand.Rand, units, samples int) *mat.Dense {
	m := mat.NewDense(units, samples, nil)
	for i := range units {
		for j := range samples {
			m.Set(i, j, float64(i)-1.5+(0.5+float64(i))*rng.NormFloat64())
		}
	}
	return m
}

func moments(t *testing.T, x, y *mat.Dense) *align.Moments {
	m, err := align.FromRows(x, y)
	require.NoError(t, err)
	return m
}

func slice(m *mat.Dense, from, to int) *mat.Dense {
	n, _ := m.Dims()
	return mat.DenseCopyOf(m.Slice(0, n, from, to))
}

func flat(m mat.Matrix) []float64 { return mat.DenseCopyOf(m).RawMatrix().Data }

func sameMoments(t *testing.T, want, got *align.Moments) {
	t.Helper()
	require.Equal(t, want.N, got.N)
	for name, pair := range map[string][2][]float64{"MeanX": {want.MeanX, got.MeanX}, "MeanY": {want.MeanY, got.MeanY},
		"ScatterX": {want.ScatterX, got.ScatterX}, "ScatterY": {want.ScatterY, got.ScatterY},
		"Cross": {flat(want.Cross), flat(got.Cross)}} {
		require.InDeltaSlice(t, pair[0], pair[1], 1e-9, name)
	}
	require.Equal(t, want.Self == nil, got.Self == nil)
	if want.Self != nil {
		require.InDeltaSlice(t, flat(want.Self), flat(got.Self), 1e-9)
	}
}

// TestFromRows compares with sums written out.
func TestFromRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x, y := random(rng, 3, 7), random(rng, 2, 7)
	got := moments(t, x, y)
	mean := func(m *mat.Dense, i int) float64 { return mat.Sum(m.RowView(i)) / 7 }
	sum := func(a *mat.Dense, i int, b *mat.Dense, j int) (s float64) {
		for k := range 7 {
			s += (a.At(i, k) - mean(a, i)) * (b.At(j, k) - mean(b, j))
		}
		return s
	}
	require.Equal(t, 7., got.N)
	for i := range 3 {
		require.InDelta(t, mean(x, i), got.MeanX[i], 1e-12)
		require.InDelta(t, sum(x, i, x, i), got.ScatterX[i], 1e-12)
		for j := range 2 {
			require.InDelta(t, sum(x, i, y, j), got.Cross.At(i, j), 1e-12)
		}
	}
	for i := range 2 {
		require.InDelta(t, mean(y, i), got.MeanY[i], 1e-12)
		require.InDelta(t, sum(y, i, y, i), got.ScatterY[i], 1e-12)
		for j := range 2 {
			require.InDelta(t, sum(y, i, y, j), got.Self.At(i, j), 1e-12)
		}
	}
	_, err := align.FromRows(x, random(rng, 2, 6))
	require.ErrorContains(t, err, "samples")
}

// TestMomentsAdd: the moments of two halves add up to those of the whole.
func TestMomentsAdd(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, cut := range []int{1, 4, 10} {
		x, y := random(rng, 4, 11), random(rng, 3, 11)
		whole := moments(t, x, y)
		a, b := moments(t, slice(x, 0, cut), slice(y, 0, cut)), moments(t, slice(x, cut, 11), slice(y, cut, 11))
		first := *a
		for _, pair := range [][2]*align.Moments{{a, b}, {b, a}} {
			got, err := pair[0].Add(pair[1])
			require.NoError(t, err)
			sameMoments(t, whole, got)
		}
		sameMoments(t, &first, a)
		for _, pair := range [][2]*align.Moments{{a, {}}, {{}, a}} {
			got, err := pair[0].Add(pair[1])
			require.NoError(t, err)
			sameMoments(t, a, got)
		}
	}
	_, err := moments(t, random(rng, 4, 5), random(rng, 3, 5)).Add(moments(t, random(rng, 3, 5), random(rng, 3, 5)))
	require.ErrorContains(t, err, "do not add")
}

// TestMomentsFarFromZero: a large mean does not drown what varies about it.
func TestMomentsFarFromZero(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	x := random(rng, 2, 400)
	far := mat.DenseCopyOf(x)
	far.Apply(func(_, _ int, v float64) float64 { return v + 1e8 }, far)
	var got = &align.Moments{}
	for at := 0; at < 400; at += 20 {
		var err error
		got, err = got.Add(moments(t, slice(far, at, at+20), slice(far, at, at+20)))
		require.NoError(t, err)
	}
	want := moments(t, x, x)
	for i, v := range want.ScatterX {
		require.InEpsilon(t, v, got.ScatterX[i], 1e-6)
	}
	require.InEpsilon(t, want.Cross.At(0, 0), got.Cross.At(0, 0), 1e-6)
}

// A step is a preparation of rows of both models, written out.
type step func(x, y *mat.Dense) (*mat.Dense, *mat.Dense)

// each applies f to every row of both.
func each(f func(row []float64)) step {
	return func(x, y *mat.Dense) (*mat.Dense, *mat.Dense) {
		for _, m := range []*mat.Dense{x, y} {
			n, _ := m.Dims()
			for i := range n {
				f(m.RawRowView(i))
			}
		}
		return x, y
	}
}

func center(row []float64) {
	var mean float64
	for _, v := range row {
		mean += v / float64(len(row))
	}
	for i := range row {
		row[i] -= mean
	}
}

func standardize(row []float64) {
	center(row)
	std := norm(row) / math.Sqrt(float64(len(row)-1))
	for i := range row {
		if std < 1e-6 {
			row[i] = 0
			continue
		}
		row[i] /= std
	}
}

func norm(row []float64) (s float64) {
	for _, v := range row {
		s = math.Hypot(s, v)
	}
	return s
}

func unitNorm(row []float64) {
	s := max(norm(row), 1e-12)
	for i := range row {
		row[i] /= s
	}
}

// project is PCA by singular values: coordinates along the first k principal
// directions of the rows of y about their mean.
func project(k int) step {
	return func(x, y *mat.Dense) (*mat.Dense, *mat.Dense) {
		m, samples := y.Dims()
		mean := make([]float64, samples)
		for i := range m {
			for j, v := range y.RawRowView(i) {
				mean[j] += v / float64(m)
			}
		}
		less := func(a *mat.Dense) *mat.Dense {
			out := mat.DenseCopyOf(a)
			out.Apply(func(_, j int, v float64) float64 { return v - mean[j] }, out)
			return out
		}
		var svd mat.SVD
		svd.Factorize(less(y), mat.SVDThin)
		var v mat.Dense
		svd.VTo(&v)
		_, have := v.Dims()
		basis := v.Slice(0, samples, 0, min(k, have))
		var px, py mat.Dense
		px.Mul(less(x), basis)
		py.Mul(less(y), basis)
		_, k := py.Dims()
		for c := range k {
			col := mat.Col(nil, c, &py)
			if slices.Max(col) < -slices.Min(col) { // the sign is free: the largest coordinate is positive
				for _, p := range []*mat.Dense{&px, &py} {
					n, _ := p.Dims()
					for i := range n {
						p.Set(i, c, -p.At(i, c))
					}
				}
			}
		}
		return &px, &py
	}
}

// TestPrep: the closed form of each preparation, and of lists of them, equals
// what is computed on the rows.
func TestPrep(t *testing.T) {
	steps := map[string]struct {
		prep align.Prep
		rows step
	}{
		"center": {align.Center{}, each(center)}, "standardize": {align.Standardize{}, each(standardize)},
		"unit-norm": {align.UnitNorm{}, each(unitNorm)}, "pca2": {align.PCA{K: 2}, project(2)},
		"pca3": {align.PCA{K: 3}, project(3)}}
	lists := [][]string{{}, {"center"}, {"standardize"}, {"unit-norm"}, {"pca2"}, {"pca3"},
		{"center", "unit-norm"}, {"unit-norm", "center"}, {"standardize", "unit-norm"}, {"unit-norm", "standardize"},
		{"center", "standardize"},
		{"standardize", "pca2"}, {"unit-norm", "pca3"}, {"pca3", "center"}, {"pca3", "standardize"}, {"pca3", "unit-norm"},
		{"standardize", "pca3", "unit-norm"}, {"pca3", "pca2"},
		{"center", "unit-norm", "center", "pca3", "center", "unit-norm"}}
	rng := rand.New(rand.NewPCG(4, 1))
	for _, list := range lists {
		t.Run(fmt.Sprint(list), func(t *testing.T) {
			x, y := random(rng, 6, 9), random(rng, 5, 9)
			m := moments(t, x, y)
			var prep []align.Prep
			for _, name := range list {
				prep = append(prep, steps[name].prep)
				x, y = steps[name].rows(x, y)
			}
			got, err := align.Activations{Prep: prep}.Gram(align.Site{Moments: m})
			require.NoError(t, err)
			sameGram(t, ot.NewGram(x, y), got, 1e-6)
		})
	}
}

func sameGram(t *testing.T, want, got ot.Gram, tol float64) {
	t.Helper()
	require.NoError(t, got.Validate())
	require.InDeltaSlice(t, want.XX, got.XX, tol)
	require.InDeltaSlice(t, want.YY, got.YY, tol)
	require.InDeltaSlice(t, flat(want.XY), flat(got.XY), tol)
}

// TestFlatUnits: units that do not vary, up to the rounding of float32, become
// 0 and not noise.
func TestFlatUnits(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	x, y := random(rng, 4, 8), random(rng, 4, 8)
	for j := range 8 {
		x.Set(0, j, 3)
		x.Set(1, j, float64(math.Float32frombits(math.Float32bits(0.1)+uint32(j%2))))
		y.Set(2, j, 0)
	}
	for _, prep := range [][]align.Prep{{align.Standardize{}}, {align.Standardize{}, align.UnitNorm{}}} {
		got, err := align.Activations{Prep: prep}.Gram(align.Site{Moments: moments(t, x, y)})
		require.NoError(t, err)
		require.NoError(t, got.Validate())
		require.Zero(t, got.XX[0])
		require.Zero(t, got.XX[1])
		require.Zero(t, got.YY[2])
		require.Greater(t, got.XX[2], 0.5)
		for k := range 4 {
			require.Zero(t, got.XY.At(0, k))
			require.Zero(t, got.XY.At(k, 2))
		}
	}
}

// TestPCAOfAlike: units that are all alike have no principal components.
func TestPCAOfAlike(t *testing.T) {
	y := mat.NewDense(3, 4, []float64{1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4})
	got, err := align.Activations{Prep: []align.Prep{align.PCA{K: 2}}}.Gram(align.Site{Moments: moments(t, y, y)})
	require.NoError(t, err)
	require.NoError(t, got.Validate())
	require.InDeltaSlice(t, []float64{0, 0, 0}, got.YY, 1e-9)
	_, err = align.Activations{Prep: []align.Prep{align.PCA{}}}.Gram(align.Site{Moments: moments(t, y, y)})
	require.ErrorContains(t, err, "PCA")
	m := moments(t, y, y)
	m.Self = nil
	_, err = align.Activations{Prep: []align.Prep{align.PCA{K: 1}}}.Gram(align.Site{Moments: m})
	require.ErrorContains(t, err, "PCA")
}

func weights(x, y *mat.Dense) func() (*mat.Dense, *mat.Dense, error) {
	return func() (*mat.Dense, *mat.Dense, error) { return x, y, nil }
}

// TestWeightsOfSeveralSites: weights are stacked along the inputs, then
// prepared once.
func TestWeightsOfSeveralSites(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	x1, y1, x2, y2 := random(rng, 4, 5), random(rng, 3, 5), random(rng, 4, 7), random(rng, 3, 7)
	var x, y mat.Dense
	x.Augment(x1, x2)
	y.Augment(y1, y2)
	for _, prep := range [][]align.Prep{nil, {align.UnitNorm{}}, {align.Standardize{}}, {align.PCA{K: 2}}} {
		w := align.Weights{Prep: prep}
		want, err := w.Gram(align.Site{Weights: weights(&x, &y)})
		require.NoError(t, err)
		got, err := w.Gram(align.Site{Weights: weights(x1, y1)}, align.Site{Weights: weights(x2, y2)})
		require.NoError(t, err)
		sameGram(t, want, got, 1e-9)
	}
	require.Equal(t, align.Needs{}, align.Weights{Prep: []align.Prep{align.PCA{K: 2}}}.Needs())
	why := errors.New("no weights")
	_, err := align.Weights{}.Gram(align.Site{Weights: func() (*mat.Dense, *mat.Dense, error) { return nil, nil, why }})
	require.ErrorIs(t, err, why)
}

// TestActivationsOfSeveralSites: each site is prepared by itself, then squared
// distances add.
func TestActivationsOfSeveralSites(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	a := align.Site{Name: "a", Moments: moments(t, random(rng, 4, 5), random(rng, 3, 5))}
	b := align.Site{Name: "b", Moments: moments(t, random(rng, 4, 7), random(rng, 3, 7))}
	f := align.Activations{Prep: []align.Prep{align.Standardize{}}}
	cost := func(sites ...align.Site) *mat.Dense {
		g, err := f.Gram(sites...)
		require.NoError(t, err)
		c, err := ot.SqEuclidean{}.Cost(g)
		require.NoError(t, err)
		return c
	}
	var sum mat.Dense
	sum.Add(cost(a), cost(b))
	require.InDeltaSlice(t, flat(&sum), flat(cost(a, b)), 1e-9)
	_, err := f.Gram(a, align.Site{Name: "other", Moments: moments(t, random(rng, 5, 7), random(rng, 3, 7))})
	require.ErrorContains(t, err, "other")
	_, err = f.Gram(align.Site{Name: "bare"})
	require.ErrorContains(t, err, "bare")
	require.Equal(t, align.Needs{Moments: true}, f.Needs())
	require.Equal(t, align.Needs{Moments: true, Self: true},
		align.Activations{Prep: []align.Prep{align.Center{}, align.PCA{K: 2}}}.Needs())
}

// TestTableSite: the rows of a table stand for activations, unprepared.
func TestTableSite(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	x, y := random(rng, 4, 6), random(rng, 4, 6)
	got, err := align.Activations{Prep: []align.Prep{align.Standardize{}}}.Gram(align.Site{Table: true,
		Weights: weights(x, y)})
	require.NoError(t, err)
	sameGram(t, ot.NewGram(x, y), got, 1e-9)
}

// note is a solver that says that it was asked.
type note struct {
	ot.Solver
	asked *int
}

func (n note) Solve(ctx context.Context, p ot.Problem) (ot.Plan, error) {
	*n.asked++
	return n.Solver.Solve(ctx, p)
}

// TestUnits: a permutation of units is found, at the cost of leaving nothing.
func TestUnits(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	x := random(rng, 5, 9)
	perm := rng.Perm(5)
	y := mat.NewDense(5, 9, nil)
	for j, i := range perm {
		y.SetRow(j, x.RawRowView(i))
	}
	u := align.Units{Features: align.Weights{}, Metric: ot.Euclidean{}, Solver: ot.EMD{}}
	match, err := u.Align(t.Context(), align.Site{Weights: weights(x, y)})
	require.NoError(t, err)
	got, ok := match.Plan.Permutation()
	require.True(t, ok)
	require.Equal(t, perm, got)
	require.InDelta(t, 0, match.Cost, 1e-6)

	u.Solver = ot.Sinkhorn{Reg: 1e-3, MaxIter: 1, Tol: 1e-15}
	match, err = u.Align(t.Context(), align.Site{Name: "slow", Weights: weights(x, random(rng, 4, 9))})
	var warning *ot.NotConvergedError
	require.ErrorAs(t, err, &warning)
	require.ErrorContains(t, err, "slow")
	require.False(t, match.Plan.IsIdentity(), "the plan that was reached comes with the error")

	x.Set(1, 2, math.NaN())
	_, err = u.Align(t.Context(), align.Site{Name: "holey", Weights: weights(x, y)})
	require.ErrorIs(t, err, ot.ErrNotFinite)
	require.ErrorContains(t, err, "holey")
}

// headSite is a site of features x and y whose units divide into heads.
func headSite(x, y *mat.Dense, heads int) align.Site {
	return align.Site{Name: "query", Heads: heads, AnchorHeads: heads,
		Weights: func() (*mat.Dense, *mat.Dense, error) { return x, y, nil }}
}

// TestHeads: the plan is the best of all that match whole heads, by trying them
// out, where the best plan of single units crosses heads.
func TestHeads(t *testing.T) {
	units := align.Units{Features: align.Weights{}, Metric: ot.Euclidean{}, Solver: ot.EMD{}}
	orders, crossed := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}, 0
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 9))
		x, y := random(rng, 6, 4), random(rng, 6, 4)
		c, err := ot.Euclidean{}.Cost(ot.NewGram(x, y))
		require.NoError(t, err)
		best := math.Inf(1)
		for _, order := range orders {
			var sum float64
			for g, h := range order {
				i, j := 2*g, 2*h
				sum += min(c.At(i, j)+c.At(i+1, j+1), c.At(i, j+1)+c.At(i+1, j)) / 6
			}
			best = min(best, sum)
		}
		site := headSite(x, y, 3)
		got, err := align.Heads{Units: units}.Align(t.Context(), site)
		require.NoError(t, err)
		require.InDelta(t, best, got.Cost, 1e-12)
		perm, ok := got.Plan.Permutation()
		require.True(t, ok)
		for j := 0; j < 6; j += 2 {
			require.Equal(t, perm[j]/2, perm[j+1]/2, "head %d comes from two", j/2)
		}
		free, err := units.Align(t.Context(), site)
		require.NoError(t, err)
		if free.Cost < got.Cost-1e-9 {
			crossed++
		}
		site.Heads, site.AnchorHeads = 0, 0
		plain, err := align.Heads{Units: units}.Align(t.Context(), site)
		require.NoError(t, err)
		require.Equal(t, free, plain, "without heads it is Units")
	}
	require.Positive(t, crossed)
}

// TestHeadsOfOtherSizes: other widths are transported within heads, another
// number of heads is an error that names both.
func TestHeadsOfOtherSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	h := align.Heads{Units: align.Units{Features: align.Weights{}, Metric: ot.Euclidean{}, Solver: ot.Sinkhorn{Reg: 0.5}}}
	site := headSite(random(rng, 4, 5), random(rng, 6, 5), 2)
	got, err := h.Align(t.Context(), site)
	require.NoError(t, err)
	push := got.Plan.Push()
	for j := range 6 {
		require.InDelta(t, 1, mat.Sum(push.ColView(j)), 1e-6)
		first := push.At(0, j) + push.At(1, j)
		require.InDelta(t, math.Round(first), first, 1e-12, "unit %d comes from two heads", j)
	}
	h.Solver = ot.Sinkhorn{Reg: 1e-3, MaxIter: 1}
	got, err = h.Align(t.Context(), site)
	var warning *ot.NotConvergedError
	require.ErrorAs(t, err, &warning)
	require.False(t, got.Plan.IsIdentity(), "it comes with the plan that was reached")
	site.AnchorHeads = 3
	_, err = h.Align(t.Context(), site)
	var heads *align.HeadsError
	require.ErrorAs(t, err, &heads)
	require.Equal(t, align.HeadsError{Site: "query", Source: 2, Anchor: 3}, *heads)
	require.ErrorContains(t, err, "query: 2 heads")
	site.Heads = 3
	_, err = h.Align(t.Context(), site)
	require.ErrorContains(t, err, "do not divide")
}

// TestWidening: the first solver where a layer has more units than inputs, the
// exact one elsewhere and for tables.
func TestWidening(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 1))
	x := random(rng, 3, 4)
	for _, c := range []struct {
		site  align.Site
		exact int
	}{{align.Site{In: 4, Out: 5}, 0}, {align.Site{In: 5, Out: 5}, 1}, {align.Site{In: 6, Out: 5}, 1},
		{align.Site{Out: 5, Table: true}, 1}} {
		var soft, exact int
		w := align.Widening{Units: align.Units{Features: align.Weights{}, Metric: ot.Euclidean{},
			Solver: note{ot.EMD{}, &soft}}, Exact: note{ot.EMD{}, &exact}}
		c.site.Weights = weights(x, x)
		_, err := w.Align(t.Context(), c.site)
		require.NoError(t, err)
		require.Equal(t, c.exact, exact, "%+v", c.site)
		require.Equal(t, 1-c.exact, soft, "%+v", c.site)
	}
}

func TestTokens(t *testing.T) {
	grid, odd, words := align.Layout{Lead: 1, Rows: 4, Cols: 4}, align.Layout{Lead: 1, Rows: 5, Cols: 3}, align.Layout{}
	bare := align.Layout{Rows: 3, Cols: 3}
	upTo := func(n int) (g [][]int) {
		for i := range n {
			g = append(g, []int{i})
		}
		return g
	}
	at := func(positions ...int) (g [][]int) {
		for _, p := range positions {
			g = append(g, []int{p})
		}
		return g
	}
	for name, c := range map[string]struct {
		tokens align.Tokens
		layout align.Layout
		n      int
		want   [][]int
	}{
		"all":                 {align.All{}, grid, 17, upTo(17)},
		"lead":                {align.Lead{}, grid, 17, at(0)},
		"lead of patches":     {align.Lead{}, grid, 16, upTo(16)},
		"lead without grid":   {align.Lead{}, words, 5, upTo(5)},
		"lead without a lead": {align.Lead{}, bare, 9, upTo(9)},
		"window 2 of 4":       {align.Window{Size: 2}, grid, 17, at(0, 6, 7, 10, 11)},
		"window 1 of 4":       {align.Window{Size: 1}, grid, 17, at(0, 6)}, // offset 3/2 rounds down
		"window 3 of 4":       {align.Window{Size: 3}, grid, 17, at(0, 1, 2, 3, 5, 6, 7, 9, 10, 11)},
		"window of patches":   {align.Window{Size: 2}, grid, 16, upTo(16)},
		"window 2 of 5 × 3":   {align.Window{Size: 2}, odd, 16, at(0, 4, 5, 7, 8)}, // offsets 3/2 and 1/2
		"window 4 of 5 × 3":   {align.Window{Size: 4}, odd, 16, at(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)},
		"window too wide":     {align.Window{Size: 9}, odd, 16, upTo(16)},
		"window, no lead":     {align.Window{Size: 1}, bare, 9, at(4)},
		"window, no grid":     {align.Window{Size: 2}, words, 5, upTo(5)},
		"pool":                {align.Pool{}, grid, 4, [][]int{{0, 1, 2, 3}}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.tokens.Groups(c.layout, c.n)) })
	}
	require.Equal(t, "window:6", align.Window{Size: 6}.String())
}

// TestManySamples: moments that are added up in blocks are those of all samples at once.
func TestManySamples(t *testing.T) {
	const n, m, samples = 3, 2, 9001
	rng := rand.New(rand.NewPCG(8, 1))
	x, y := mat.NewDense(n, samples, nil), mat.NewDense(m, samples, nil)
	for k := range samples {
		for i := range n {
			x.Set(i, k, 5+float64(i)*rng.NormFloat64())
		}
		for j := range m {
			y.Set(j, k, x.At(j+1, k)+0.1*rng.NormFloat64())
		}
	}
	got, err := align.FromRows(x, y)
	require.NoError(t, err)
	for i := range n {
		for j := range m {
			a, b := x.RawRowView(i), y.RawRowView(j)
			require.InDelta(t, stat.Covariance(a, b, nil)*(samples-1), got.Cross.At(i, j), 1e-6)
			require.InDelta(t, stat.Variance(a, nil)*(samples-1), got.ScatterX[i], 1e-6)
			require.InDelta(t, stat.Mean(b, nil), got.MeanY[j], 1e-9)
			require.InDelta(t, got.ScatterY[j], got.Self.At(j, j), 1e-6)
		}
	}
}

// A slowMetric ends a context and goes on until it is released.
type slowMetric struct {
	cancel  context.CancelFunc
	release chan struct{}
}

func (m slowMetric) Cost(g ot.Gram) (*mat.Dense, error) {
	m.cancel()
	<-m.release
	return ot.Euclidean{}.Cost(g)
}

// TestContextEndsInCost: a cost that takes long is not waited for.
func TestContextEndsInCost(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	site := headSite(nil, nil, 2)
	site.Moments = moments(t, random(rng, 4, 20), random(rng, 4, 20))
	for _, a := range []func(align.Units) align.Aligner{
		func(u align.Units) align.Aligner { return u },
		func(u align.Units) align.Aligner { return align.Heads{Units: u} },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		metric := slowMetric{cancel, make(chan struct{})}
		_, err := a(align.Units{Metric: metric}).Align(ctx, site)
		require.ErrorIs(t, err, context.Canceled)
		close(metric.release)
	}
}
