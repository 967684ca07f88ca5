package fuse

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
)

// normal draws a matrix.
func normal(rng *rand.Rand, n, m int) *mat.Dense {
	out := mat.NewDense(n, m, nil)
	out.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() }, out)
	return out
}

// TestBestTurns: no other turns of planes, and no other map of the rest, are worth more,
// and turns commute with rotary positions.
func TestBestTurns(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		g := normal(rng, 6, 6)
		p, worth, err := bestTurns(g, 2)
		require.NoError(t, err)
		require.InDelta(t, innerProduct(g, p), worth, 1e-12)
		var gram mat.Dense
		gram.Mul(p.T(), p)
		require.True(t, mat.EqualApprox(&gram, identity(6), 1e-12))
		for range 50 {
			other := mat.DenseCopyOf(p)
			for i := range 2 {
				setComplex(other, i, i+2, cmplx.Rect(1, 2*math.Pi*rng.Float64()))
			}
			require.LessOrEqual(t, innerProduct(g, other), worth+1e-12)
		}
		position := identity(6)
		setComplex(position, 0, 2, cmplx.Rect(1, 0.3))
		setComplex(position, 1, 3, cmplx.Rect(1, 1.1))
		require.True(t, mat.EqualApprox(multiply(p, position), multiply(position, p), 1e-12))
		require.True(t, mat.EqualApprox(nearestComplex(p, 2), p, 1e-12))
		commuting := nearestComplex(g, 2)
		require.True(t, mat.EqualApprox(multiply(commuting, position), multiply(position, commuting), 1e-12))
	}
}

// TestBestPlaneSigns: no other signs of planes are worth more.
func TestBestPlaneSigns(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for range 20 {
		g := normal(rng, 5, 5)
		p, worth := bestPlaneSigns(g, 2)
		require.InDelta(t, innerProduct(g, p), worth, 1e-12)
		for signs := range 4 {
			other := identity(5)
			for i := range 2 {
				setComplex(other, i, i+2, complex(float64(1-2*(signs>>i&1)), 0))
			}
			require.LessOrEqual(t, innerProduct(g, other), worth+1e-12)
		}
	}
}

// TestSharedHeads: the map of keys and values from that of the queries that share them
// has the adjoint by which slopes come back.
func TestSharedHeads(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	b := headBlocks{6, 4}
	s, g := normal(rng, 12, 8), normal(rng, 6, 4)
	require.InDelta(t, innerProduct(b.ofShared(newUnitMap(s), 2).dense(), g), innerProduct(s, b.ofSharing(g, 2)), 1e-12)
}

// TestMatchSharing: the queries that share a head of keys are found in any order, with
// the map that all of them take.
func TestMatchSharing(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	const d, shared = 4, 3
	for _, group := range []graph.Group{graph.Headwise, graph.HeadPlanes, graph.HeadSigns} {
		within, _, err := update{m: &matcher{spaces: []graph.Space{{Group: group, Planes: 2}}}, which: []int{0}}.
			within(0, normal(rng, d, d))
		require.NoError(t, err)
		b, order := headBlocks{shared, shared}, rng.Perm(shared)
		truth := mat.NewDense(d*shared, d*shared, nil)
		for h, to := range order {
			b.headBlock(truth, h, to).Copy(within)
		}
		// What a map is worth where the source is the anchor in that order and basis.
		x := normal(rng, 40, d*shared)
		g := multiply(mat.DenseCopyOf(multiply(x, mat.DenseCopyOf(truth.T())).T()), x)
		u := update{m: &matcher{spaces: []graph.Space{{Group: group, Planes: 2, Shared: shared, Heads: shared,
			Units: d * shared}}}, which: []int{0}}
		match, err := u.matchSharing(t.Context(), b, []slope{{maps: g}}, 0, 0)
		require.NoError(t, err)
		require.Equal(t, order, match.order, group)
		require.True(t, mat.EqualApprox(within, match.within[0], 0.3), group)
		require.LessOrEqual(t, innerProduct(g, truth), match.worth+1e-9)
	}
}

// TestSignedSlope: a signed permutation is worth most with the better sign of each pair.
func TestSignedSlope(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	d := slope{maps: normal(rng, 3, 3), magnitudes: normal(rng, 3, 3)}
	for range 100 {
		s := mat.NewDense(3, 3, nil)
		for i, j := range rng.Perm(3) {
			s.Set(i, j, float64(1-2*rng.IntN(2)))
		}
		better := d.withSigns(magnitudesOf(s))
		require.LessOrEqual(t, d.worth(newUnitMap(s)), d.worth(newUnitMap(better))+1e-12)
		require.InDelta(t, innerProduct(d.pairs(), magnitudesOf(s)), d.worth(newUnitMap(better)), 1e-12)
	}
}
