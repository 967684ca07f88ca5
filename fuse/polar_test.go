package fuse

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
)

// withSingularValues returns a random matrix of these singular values.
func withSingularValues(rng *rand.Rand, values []float64) *mat.Dense {
	n := len(values)
	rotation := func() *mat.Dense {
		var qr mat.QR
		qr.Factorize(normal(rng, n, n))
		var q mat.Dense
		qr.QTo(&q)
		return &q
	}
	var out mat.Dense
	out.Mul(rotation(), mat.NewDiagDense(n, values))
	out.Mul(&out, rotation())
	return &out
}

// geometric returns n values from 1 to 1/condition.
func geometric(n int, condition float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Pow(condition, -float64(i)/float64(n-1))
	}
	return out
}

// TestNewtonFactor: the iteration gives an orthogonal matrix, that of the singular value
// decomposition, and is worth the nuclear norm, at any scale.
func TestNewtonFactor(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for _, n := range []int{1, 2, 40, newtonUnits} {
		for _, condition := range []float64{1, 10, 1e4, 1e7} {
			for _, size := range []float64{1e-30, 1, 1e30} {
				g := withSingularValues(rng, geometric(n, condition)[:n])
				if n == 1 {
					g = mat.NewDense(1, 1, []float64{-2})
				}
				g.Scale(size, g)
				p := newtonFactor(g)
				require.NotNil(t, p, "%d units, condition %g, size %g", n, condition, size)
				var gram, apart mat.Dense
				gram.Mul(p.T(), p)
				gram.Sub(&gram, identity(n))
				require.Less(t, mat.Norm(&gram, 2), 1e-12*float64(n))
				want, nuclear, err := factorBySVD(g)
				require.NoError(t, err)
				apart.Sub(p, want)
				require.Less(t, mat.Norm(&apart, 2), 1e-13*float64(n)*condition, "%d units, condition %g", n, condition)
				require.InEpsilon(t, nuclear, innerProduct(g, p), 1e-12)
			}
		}
	}
}

// TestNewtonLeaves: what has no unique orthogonal factor, or one that is rounding, goes to
// the singular value decomposition, whose answer is an isometry that is worth as much.
func TestNewtonLeaves(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 2))
	values := geometric(newtonUnits, 10)
	values[newtonUnits-1] = 0
	for name, g := range map[string]*mat.Dense{
		"rank deficient":  withSingularValues(rng, values),
		"ill-conditioned": withSingularValues(rng, geometric(newtonUnits, 1e14)),
		"zero":            mat.NewDense(newtonUnits, newtonUnits, nil),
	} {
		require.Nil(t, newtonFactor(g), name)
		p, nuclear, err := polarFactor(g)
		require.NoError(t, err)
		var gram mat.Dense
		gram.Mul(p.T(), p)
		gram.Sub(&gram, identity(newtonUnits))
		require.Less(t, mat.Norm(&gram, 2), 1e-10, name)
		require.InDelta(t, nuclear, innerProduct(g, p), 1e-10, name)
	}
	require.Nil(t, newtonFactor(mat.NewDense(2, 2, []float64{1, math.NaN(), 0, 1})))
	require.Nil(t, newtonFactor(mat.NewDense(2, 2, []float64{1, math.Inf(1), 0, 1})))
	p, _, err := polarFactor(normal(rng, newtonUnits, newtonUnits+3))
	require.NoError(t, err)
	_, m := p.Dims()
	require.Equal(t, newtonUnits+3, m)
}

// TestSchulzFactor: the iteration gives an orthogonal matrix, that of the singular value
// decomposition as far as float32 knows the matrix, and is worth the nuclear norm, at any
// scale.
func TestSchulzFactor(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 4))
	const n = 64
	for _, condition := range []float64{1, 10, 1e3, 1e5} {
		for _, size := range []float64{1e-200, 1, 1e200} {
			g := withSingularValues(rng, geometric(n, condition))
			want, nuclear, err := factorBySVD(g)
			require.NoError(t, err)
			g.Scale(size, g)
			p := schulzFactor(g)
			require.NotNil(t, p, "condition %g, size %g", condition, size)
			var gram, apart mat.Dense
			gram.Mul(p.T(), p)
			gram.Sub(&gram, identity(n))
			require.Less(t, mat.Norm(&gram, 2), 1e-10)
			apart.Sub(p, want)
			require.Less(t, mat.Norm(&apart, 2), 1e-5*condition, "condition %g", condition)
			require.InEpsilon(t, nuclear, innerProduct(g, p)/size, 1e-5)
		}
	}
	for name, g := range map[string]*mat.Dense{
		"zero":       mat.NewDense(n, n, nil),
		"one column": mat.NewDense(2, 2, []float64{1, 0, 1, 0}),
		"NaN":        mat.NewDense(2, 2, []float64{1, math.NaN(), 0, 1}),
		"infinite":   mat.NewDense(2, 2, []float64{1, math.Inf(1), 0, 1}),
	} {
		require.Nil(t, schulzFactor(g), name)
	}
}

// BenchmarkPolarFactor compares the ways to the orthogonal factor of a random matrix.
func BenchmarkPolarFactor(b *testing.B) {
	for _, n := range []int{64, 128, 256, 512, 1024, 2048, 4096} {
		g := normal(rand.New(rand.NewPCG(5, 3)), n, n)
		b.Run(fmt.Sprint("schulz/", n), func(b *testing.B) {
			for b.Loop() {
				require.NotNil(b, schulzFactor(g))
			}
		})
		b.Run(fmt.Sprint("newton/", n), func(b *testing.B) {
			for b.Loop() {
				require.NotNil(b, newtonFactor(g))
			}
		})
		b.Run(fmt.Sprint("svd/", n), func(b *testing.B) {
			for b.Loop() {
				_, _, err := factorBySVD(g)
				require.NoError(b, err)
			}
		})
	}
}
