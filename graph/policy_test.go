package graph_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/ot"
)

// coupling returns the plan with that mass and uniform marginals.
func coupling(t *testing.T, n, m int, mass ...float64) ot.Plan {
	p, err := ot.NewPlan(mat.NewDense(n, m, mass), nil, nil)
	require.NoError(t, err)
	return p
}

func merge(t *testing.T, p graph.Policy, bs ...graph.Branch) ot.Plan {
	plan, err := p.Merge(bs)
	require.NoError(t, err)
	return plan
}

func values(m *mat.Dense) []float64 { return m.RawMatrix().Data }

// TestPolicies: each formula on one plan that swaps two units and one that
// mixes them.
func TestPolicies(t *testing.T) {
	main := graph.Branch{Plan: coupling(t, 2, 2, 0, 0.5, 0.5, 0), Magnitudes: []float64{1, 3}}
	skip := graph.Branch{Plan: coupling(t, 2, 2, 0.25, 0.25, 0.25, 0.25), Magnitudes: []float64{3, 9}}
	same := graph.Branch{Magnitudes: []float64{4, 0}}
	for name, c := range map[string]struct {
		policy   graph.Policy
		branches []graph.Branch
		push     []float64
	}{
		"main":            {graph.Main{}, []graph.Branch{main, skip, same}, []float64{0, 1, 1, 0}},
		"skip":            {graph.Skip{}, []graph.Branch{main, skip}, []float64{0.5, 0.5, 0.5, 0.5}},
		"skips":           {graph.Skip{}, []graph.Branch{main, skip, same}, []float64{0.75, 0.25, 0.25, 0.75}},
		"average":         {graph.Average{}, []graph.Branch{main, skip}, []float64{0.25, 0.75, 0.75, 0.25}},
		"average of 3":    {graph.Average{}, []graph.Branch{main, skip, same}, []float64{0.5, 0.5, 0.5, 0.5}},
		"identity first":  {graph.Average{}, []graph.Branch{same, main}, []float64{0.5, 0.5, 0.5, 0.5}},
		"weighted scalar": {graph.WeightedScalar{}, []graph.Branch{main, skip}, []float64{0.375, 0.625, 0.625, 0.375}},
		// 4 : 12
		"scalar of 3": {graph.WeightedScalar{}, []graph.Branch{main, skip, same}, []float64{0.5, 0.5, 0.5, 0.5}},
		// 4 : 12 : 4
		"weighted matrix": {graph.WeightedMatrix{}, []graph.Branch{main, {Plan: skip.Plan, Magnitudes: []float64{1, 0}}},
			[]float64{0.25, 1, 0.75, 0}}, // 1 : 1, then 3 : 0
		"silent units": {graph.WeightedMatrix{}, []graph.Branch{{Plan: main.Plan, Magnitudes: []float64{0, 1}},
			{Plan: skip.Plan, Magnitudes: []float64{0, 0}}},
			[]float64{0.25, 1, 0.75, 0}},
		"silence": {graph.WeightedScalar{}, []graph.Branch{{Plan: main.Plan, Magnitudes: []float64{0, 0}},
			{Plan: skip.Plan, Magnitudes: []float64{0, 0}}},
			[]float64{0.25, 0.75, 0.75, 0.25}},
	} {
		t.Run(name, func(t *testing.T) {
			got := merge(t, c.policy, c.branches...)
			require.InDeltaSlice(t, c.push, values(got.Push()), 1e-12)
			require.InDeltaSlice(t, c.push, values(got.Pull()), 1e-12, "marginals are uniform: both are 2 P")
		})
	}
}

// TestPoliciesBetweenWidths: the marginals are those of the solved plans,
// whatever the weights do to the sums of rows and columns.
func TestPoliciesBetweenWidths(t *testing.T) {
	a := graph.Branch{Plan: coupling(t, 2, 3, 1./3, 1./6, 0, 0, 1./6, 1./3), Magnitudes: []float64{1, 0, 2}}
	b := graph.Branch{Plan: coupling(t, 2, 3, 1./6, 1./6, 1./6, 1./6, 1./6, 1./6), Magnitudes: []float64{1, 5, 0}}
	got := merge(t, graph.Average{}, a, b)
	require.InDeltaSlice(t, []float64{0.75, 0.5, 0.25, 0.25, 0.5, 0.75}, values(got.Push()), 1e-12)
	require.InDeltaSlice(t, []float64{0.5, 1. / 3, 1. / 6, 1. / 6, 1. / 3, 0.5}, values(got.Pull()), 1e-12)

	got = merge(t, graph.WeightedMatrix{}, a, b)
	require.InDeltaSlice(t, []float64{0.75, 0.5, 0, 0.25, 0.5, 1}, values(got.Push()), 1e-12)
	require.InDeltaSlice(t, []float64{0.5, 1. / 3, 0, 1. / 6, 1. / 3, 2. / 3}, values(got.Pull()), 1e-12)

	eye := []float64{1, 0, 0, 0, 1, 0}
	got = merge(t, graph.Identity{}, a, b)
	require.InDeltaSlice(t, eye, values(got.Push()), 1e-12)
	require.InDeltaSlice(t, eye, values(got.Pull()), 1e-12)

	got = merge(t, graph.Average{}, graph.Branch{Plan: b.Plan}, graph.Branch{})
	require.InDeltaSlice(
		t,
		[]float64{0.75, 0.25, 0.25, 0.25, 0.75, 0.25},
		values(got.Push()),
		1e-12,
		"an identity counts as its Push",
	)
}

// TestPoliciesOfIdentities: nothing but identities merge to the identity.
func TestPoliciesOfIdentities(t *testing.T) {
	same := graph.Branch{Magnitudes: []float64{1, 2}}
	for _, p := range []graph.Policy{graph.Main{}, graph.Skip{}, graph.Identity{}, graph.Average{}, graph.WeightedScalar{},
		graph.WeightedMatrix{}} {
		require.True(t, merge(t, p, same, same).IsIdentity(), "%T", p)
	}
	require.True(
		t,
		merge(t, graph.Identity{}, graph.Branch{Plan: coupling(t, 2, 2, 0, 0.5, 0.5, 0)}, same).IsIdentity(),
	)
}

func TestPolicyErrors(t *testing.T) {
	for _, p := range []graph.Policy{graph.Main{}, graph.Skip{}, graph.Identity{}, graph.Average{}, graph.WeightedScalar{},
		graph.WeightedMatrix{}} {
		_, err := p.Merge(nil)
		require.ErrorContains(t, err, "no branch", "%T", p)
	}
	plan := graph.Branch{Plan: coupling(t, 2, 2, 0, 0.5, 0.5, 0)}
	for _, p := range []graph.Policy{graph.WeightedScalar{}, graph.WeightedMatrix{}} {
		_, ok := p.(graph.Weigher)
		require.True(t, ok, "%T", p)
		_, err := p.Merge([]graph.Branch{{Plan: plan.Plan, Magnitudes: []float64{1, 1}}, plan})
		require.ErrorIs(t, err, graph.ErrNoActivations, "%T", p)
		_, err = p.Merge(
			[]graph.Branch{
				{Plan: plan.Plan, Magnitudes: []float64{1, 1}},
				{Plan: plan.Plan, Magnitudes: []float64{1, 1, 1}},
			},
		)
		require.Error(t, err, "%T of magnitudes of different widths", p)
	}
	_, isWeigher := graph.Policy(graph.Average{}).(graph.Weigher)
	require.False(t, isWeigher)
	_, err := graph.Average{}.Merge([]graph.Branch{plan, {Plan: coupling(t, 1, 2, 0.5, 0.5)}})
	require.Error(t, err)
}
