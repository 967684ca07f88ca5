package fuse

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/models"
)

// A Network is a small network to match. Package modeltest, which has them, fuses
// models itself, so that tests inside of this package are handed its networks by
// those outside.
type Network struct {
	Class       string
	Model       func(seed uint64) (*models.Model, error)
	Calibration Calibration
}

// weightsAgree is what Matching maximises, up to the terms of the moments, from
// the transported weights themselves.
func (m *matcher) weightsAgree(t *testing.T) float64 {
	moved, err := m.moved()
	require.NoError(t, err)
	var sum float64
	for i, n := range m.anchor.Graph.Nodes {
		for _, p := range n.Params {
			x, y := fetchPart(moved.Params, p).data, fetchPart(m.target.Params, p).data
			for k := range x {
				sum += m.scale[i] * float64(x[k]) * float64(y[k])
			}
		}
	}
	return sum
}

// TestingClimb: no update lowers the objective, neither as it is counted nor as
// the weights themselves show it, and the maps stay in their groups.
func TestingClimb(t *testing.T, nets []Network) {
	for _, net := range nets {
		for _, mix := range []float64{0, 0.4} {
			t.Run(fmt.Sprint(net.Class, mix), func(t *testing.T) {
				a, err := net.Model(1)
				require.NoError(t, err)
				b, err := net.Model(2)
				require.NoError(t, err)
				m, err := newMatcher(Matching{Mix: mix}, canonical(b), canonical(a))
				require.NoError(t, err)
				m.anchorMoments, err = m.collect(t.Context(), net.Calibration, m.anchor)
				require.NoError(t, err)
				m.target, err = unitNorm(m.anchor)
				require.NoError(t, err)
				m.moments = m.anchorMoments
				m.resetMaps(0)
				updates := m.updates()
				for _, u := range updates {
					require.NoError(t, parallelUpdates{u}.ascend(t.Context()))
				}
				counted, seen := m.objective, m.weightsAgree(t)
				for range 3 {
					for _, u := range updates {
						require.NoError(t, parallelUpdates{u}.ascend(t.Context()))
						require.GreaterOrEqual(t, m.objective, counted-1e-6, "spaces %v", u.which)
						if mix == 0 {
							now := m.weightsAgree(t)
							require.GreaterOrEqual(t, now, seen-1e-5, "weights, spaces %v", u.which)
							require.InDelta(t, m.objective-counted, now-seen, 1e-4, "gain, spaces %v", u.which)
							seen = now
						}
						counted = m.objective
					}
				}
				for k, found := range m.maps {
					var gram mat.Dense
					s := found.dense()
					gram.Mul(s.T(), s)
					n, _ := gram.Dims()
					eye := mat.NewDiagDense(n, nil)
					for i := range n {
						eye.SetDiag(i, 1)
					}
					require.True(t, mat.EqualApprox(&gram, eye, 1e-9), "map of space %d is no isometry", k)
				}
			})
		}
	}
}

// TestingWaves: updates side by side end as one after the other.
func TestingWaves(t *testing.T, nets []Network) {
	for _, net := range nets {
		a, err := net.Model(1)
		require.NoError(t, err)
		b, err := net.Model(2)
		require.NoError(t, err)
		ascend := func(ways func(*matcher) []parallelUpdates) *matcher {
			m, err := newMatcher(Matching{}, canonical(b), canonical(a))
			require.NoError(t, err)
			m.target, err = unitNorm(m.anchor)
			require.NoError(t, err)
			m.moments = make([]*mat.Dense, len(m.spaces))
			m.resetMaps(1)
			for range 3 {
				for _, w := range ways(m) {
					require.NoError(t, w.ascend(t.Context()))
				}
			}
			return m
		}
		schedule := ascend((*matcher).schedule)
		single := ascend(func(m *matcher) (out []parallelUpdates) {
			for _, u := range m.updates() {
				out = append(out, parallelUpdates{u})
			}
			return out
		})
		require.Less(t, len(schedule.schedule()), len(schedule.updates()), net.Class)
		require.Equal(t, single.maps, schedule.maps, net.Class)
		require.InDelta(t, single.objective, schedule.objective, 1e-12)
	}
}

// TestingSettle: matching each source with all others never lowers what every two
// models agree.
func TestingSettle(t *testing.T, nets []Network) {
	for _, net := range nets {
		t.Run(net.Class, func(t *testing.T) {
			u := multiMatcher{}
			for seed := range uint64(4) {
				m, err := net.Model(seed + 1)
				require.NoError(t, err)
				if m = canonical(m); u.anchor == nil {
					u.anchor = m
					continue
				}
				w, err := newMatcher(Matching{}, m, u.anchor)
				require.NoError(t, err)
				require.NoError(t, w.matchAnchor(t.Context(), nil))
				u.sources = append(u.sources, w)
			}
			pairs, err := u.pairMoments(t.Context(), nil)
			require.NoError(t, err)
			first := u.agreement(t)
			last := first
			for range 3 {
				for i, m := range u.sources {
					require.NoError(t, u.setTarget(i, pairs))
					before := m.objective
					require.NoError(t, m.ascend(t.Context()))
					now := u.agreement(t)
					require.GreaterOrEqual(t, now, last-1e-5)
					require.InDelta(t, m.objective-before, now-last, 1e-4)
					last = now
				}
			}
			require.Greater(t, last, first+1e-3)
		})
	}
}

// agreement is Σ ⟨W, W'⟩ / ‖W‖‖W'‖ over the layers of every two models.
func (u *multiMatcher) agreement(t *testing.T) float64 {
	var all []models.Params
	add := func(m *models.Model, err error) {
		require.NoError(t, err)
		unit, err := unitNorm(m)
		require.NoError(t, err)
		all = append(all, unit.Params)
	}
	add(u.anchor, nil)
	for _, m := range u.sources {
		add(m.moved())
	}
	var sum float64
	for i, p := range all {
		for _, q := range all[:i] {
			for name, own := range p {
				for k, v := range own.Data {
					sum += float64(v) * float64(q[name].Data[k])
				}
			}
		}
	}
	return sum
}
