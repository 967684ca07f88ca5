package fuse_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/ot"
)

// turned is how far logits may move by weights that were rotated in float32.
const turned = 2e-5

// TestCanonical: the canonical form computes the same.
func TestCanonical(t *testing.T) {
	for _, net := range modeltest.Nets() {
		m := model(t, net, 1)
		c, err := fuse.Canonical(m)
		require.NoError(t, err)
		batch := net.Batch(3, 1)
		require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(m, batch), modeltest.Logits(c, batch)), turned,
			net.Arch.Class)
	}
}

// TestMatchIsExact: what matching transports computes what it did before.
func TestMatchIsExact(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for _, mix := range []float64{0, 0.5, 1} {
			t.Run(fmt.Sprint(net.Arch.Class, mix), func(t *testing.T) {
				a, b := model(t, net, 1), model(t, net, 2)
				method, set := fuse.Matching{Mix: mix, Restarts: 1},
					&fuse.Settings{Calibration: modeltest.Calibration{Data: net.Batch(8, 9), Tokens: align.All{}}}
				p, rep, err := transported(t, b, a, method, set)
				require.NoError(t, err)
				batch := net.Batch(3, 4)
				require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(b, batch), modeltest.Logits(a.With(p), batch)), turned)
				require.Len(t, rep.Nodes, len(a.Graph.Nodes))
			})
		}
	}
}

// TestMatchRecovers: matching with a relabelled copy of a model finds the model
// again, in canonical form.
func TestMatchRecovers(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for _, mix := range []float64{0, 0.3} {
			t.Run(fmt.Sprint(net.Arch.Class, mix), func(t *testing.T) {
				a := model(t, net, 1)
				method, set := fuse.Matching{Mix: mix}, &fuse.Settings{Calibration: modeltest.Calibration{Data: net.Batch(16, 9),
					Tokens: align.All{}}}
				fused, rep, err := fuse.Into(t.Context(), a, []*models.Model{permuted(t, a, 3)}, method, set)
				require.NoError(t, err)
				c, err := fuse.Canonical(a)
				require.NoError(t, err)
				for name, p := range c.Params {
					require.LessOrEqual(t, modeltest.Apart(t, p.Data, fused.Params[name].Data), turned, name)
				}
				for _, n := range rep.Nodes {
					require.InDelta(t, 0, n.Cost, 1e-6, n.Name)
				}
			})
		}
	}
}

// TestMatchUnequal: a narrow model keeps what it computes in the basis of a
// wide one, and a wide one takes the shapes of a narrow one.
func TestMatchUnequal(t *testing.T) {
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			narrow, wide := model(t, net, 1), model(t, widened(net), 2)
			method, set := fuse.Matching{}, &fuse.Settings{}
			p, _, err := transported(t, wide, narrow, method, set)
			if net.Arch.Class == modeltest.SimpleViT().Arch.Class {
				var mismatch *fuse.MismatchError
				require.ErrorAs(t, err, &mismatch, "the basis of the stream is fixed")
				method.Inexact = true
				_, _, err = transported(t, wide, narrow, method, set)
				require.ErrorAs(t, err, &mismatch)
				return
			}
			require.NoError(t, err)
			require.Equal(t, narrow.Params.Shapes(), p.Shapes())
			p, _, err = transported(t, narrow, wide, method, set)
			require.NoError(t, err)
			require.Equal(t, wide.Params.Shapes(), p.Shapes())
			if !turns(narrow) {
				return // a norm over units that nothing writes to changes what it lets through
			}
			batch := net.Batch(3, 4)
			require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(narrow, batch), modeltest.Logits(wide.With(p), batch)),
				5*turned)
		})
	}
}

// TestCutReturns: out of a wide network that computes what a narrow one does, in other bases,
// matching into a drawn one of weight 0 cuts the narrow one, whatever was drawn.
func TestCutReturns(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for _, mix := range []float64{0, 0.3} {
			t.Run(fmt.Sprint(net.Arch.Class, mix), func(t *testing.T) {
				narrow, frame := model(t, net, 1), model(t, widened(net), 2)
				if !turns(narrow) {
					return // a norm over units that nothing writes to changes what it lets through
				}
				p, _, err := transported(t, narrow, frame, fuse.Matching{}, nil)
				require.NoError(t, err)
				set := &fuse.Settings{Weights: []float64{0, 1},
					Calibration: modeltest.Calibration{Data: widened(net).Batch(16, 9)}}
				cut, _, err := fuse.Into(t.Context(), model(t, net, 3), []*models.Model{permuted(t, frame.With(p), 4)},
					fuse.Matching{Mix: mix}, set)
				require.NoError(t, err)
				batch := net.Batch(3, 4)
				require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(narrow, batch), modeltest.Logits(cut, batch)), 20*turned)
			})
		}
	}
}

// TestCutRefitted: a refit brings a network that is narrower than a model nearer to what the
// model computes, though not one of its layers writes in the model's own units.
func TestCutRefitted(t *testing.T) {
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			if net.Arch.Class == modeltest.SimpleViT().Arch.Class {
				return // its stream is pinned, so that widths are equal
			}
			wide, narrow, batch := model(t, widened(net), 1), model(t, net, 2), net.Batch(32, 9)
			set := &fuse.Settings{Weights: []float64{0, 1}, Calibration: modeltest.Calibration{Data: batch}}
			distance := func() float64 {
				cut, _, err := fuse.Into(t.Context(), narrow, []*models.Model{wide}, fuse.Matching{}, set)
				require.NoError(t, err)
				require.Equal(t, narrow.Params.Shapes(), cut.Params.Shapes())
				return squaredDistance(modeltest.Logits(cut, batch), modeltest.Logits(wide, batch))
			}
			carried := distance()
			set.Refit = &fuse.Refit{Ridge: 1e-3}
			require.Less(t, distance(), 0.9*carried)
		})
	}
}

// TestMatchHidden: more hidden units, and wider heads where an architecture may
// have them, take a narrow model in exactly, whatever holds the stream.
func TestMatchHidden(t *testing.T) {
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			wider := net
			wider.Config.MLP += 5
			if net.Config.HeadDim > 0 {
				wider.Config.HeadDim++
			}
			narrow, wide, batch := model(t, net, 1), model(t, wider, 2), net.Batch(3, 4)
			p, _, err := transported(t, narrow, wide, fuse.Matching{}, nil)
			require.NoError(t, err)
			require.Equal(t, wide.Params.Shapes(), p.Shapes())
			require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(narrow, batch), modeltest.Logits(wide.With(p), batch)),
				2*turned)
		})
	}
}

// TestUniverse: copies of a model, relabelled, fuse into the model; different
// ones, narrower than the anchor where they may be, keep what they compute.
func TestUniverse(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for _, mix := range []float64{0, 0.3} {
			t.Run(fmt.Sprint(net.Arch.Class, mix), func(t *testing.T) {
				a := model(t, net, 1)
				method, set := fuse.Matching{Mix: mix}, &fuse.Settings{Calibration: modeltest.Calibration{Data: net.Batch(16, 9),
					Tokens: align.All{}}}
				fused, _, err := fuse.Into(t.Context(), a, []*models.Model{permuted(t, a, 3), permuted(t, a, 4), permuted(t, a, 5)},
					method, set)
				require.NoError(t, err)
				c, err := fuse.Canonical(a)
				require.NoError(t, err)
				for name, p := range c.Params {
					require.LessOrEqual(t, modeltest.Apart(t, p.Data, fused.Params[name].Data), turned, name)
				}
				others := []*models.Model{model(t, net, 2), model(t, net, 3)}
				wide := a
				if net.Arch.Class != modeltest.SimpleViT().Arch.Class { // where the stream is pinned, widths are equal
					wide = model(t, widened(net), 1)
				}
				aligned, rep, err := fuse.Align(t.Context(), wide, others, method, set)
				require.NoError(t, err)
				require.Len(t, rep.Nodes, 2*len(a.Graph.Nodes))
				require.Equal(t, 1, rep.Nodes[len(rep.Nodes)-1].Source)
				batch := net.Batch(3, 4)
				for i, m := range others {
					if wide == a || turns(m) {
						require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(m, batch),
							modeltest.Logits(wide.With(aligned.Others[i]), batch)), 5*turned)
					}
				}
			})
		}
	}
}

// invertible is a Learner that answers at random, all heads after the first
// singular where broken.
type invertible struct{ broken bool }

func (l invertible) Learn(_ context.Context, aligned []*models.Model, spaces []graph.Space) ([][]*mat.Dense, error) {
	rng, out := rand.New(rand.NewPCG(1, 2)), make([][]*mat.Dense, len(aligned)-1)
	for i := range out {
		for _, s := range spaces {
			turn := mat.NewDense(s.Units, s.Units, nil)
			turn.Apply(func(x, y int, _ float64) float64 {
				switch d := s.Units / max(s.Heads, 1); {
				case l.broken && x >= d || x/d != y/d:
					return 0
				case x == y:
					return 1 + 0.3*rng.NormFloat64()
				}
				return 0.3 * rng.NormFloat64()
			}, turn)
			out[i] = append(out[i], turn)
		}
	}
	return out, nil
}

// TestLearnedIsExact: whatever invertible maps a learner returns within heads,
// the models compute what they did; keys take the inverse of what queries take.
func TestLearnedIsExact(t *testing.T) {
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			a, others, batch := model(t, net, 1), []*models.Model{model(t, net, 2), model(t, net, 3)}, net.Batch(3, 4)
			method, set := fuse.Matching{}, &fuse.Settings{}
			plain, _, err := fuse.Align(t.Context(), a, others, method, set)
			require.NoError(t, err)
			method.Learner = invertible{}
			learned, _, err := fuse.Align(t.Context(), a, others, method, set)
			require.NoError(t, err)
			for i, m := range others {
				require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(m, batch),
					modeltest.Logits(a.With(learned.Others[i]), batch)), 5*turned)
				require.NotEqual(t, plain.Others[i], learned.Others[i])
			}
			method.Learner = invertible{broken: true}
			_, _, err = fuse.Align(t.Context(), a, others, method, set)
			attend := slices.IndexFunc(a.Graph.Nodes, func(n *graph.Node) bool { return n.Op == graph.Attend })
			first := a.Graph.Nodes[attend].Shared() // after those that share keys with head 0
			require.ErrorContains(t, err, fmt.Sprintf("head %d of", first))
		})
	}
}

// TestInexact: a learner turns streams that may only be permuted, or are pinned,
// where it is let to; other networks stay exact.
func TestInexact(t *testing.T) {
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			a, b, batch := model(t, net, 1), model(t, net, 2), net.Batch(3, 4)
			method, set := fuse.Matching{Learner: invertible{}}, &fuse.Settings{}
			exact, _, err := transported(t, b, a, method, set)
			require.NoError(t, err)
			method.Inexact = true
			p, _, err := transported(t, b, a, method, set)
			require.NoError(t, err)
			spaces, _ := a.Graph.Spaces()
			free := !slices.ContainsFunc(append(spaces, a.Graph.FixedStreams()...),
				func(s graph.Space) bool { return s.IsResidual() && !s.Group.Rotates() })
			require.Equal(t, free, modeltest.Apart(t, modeltest.Logits(b, batch),
				modeltest.Logits(a.With(p), batch)) <= 5*turned)
			if free {
				require.Equal(t, exact, p)
				return
			}
			require.NotEqual(t, exact, p)
			for name, x := range p { // a rotation of what is written to a stream keeps its norm
				if strings.HasSuffix(name, "output.dense.weight") && !strings.Contains(name, "attention") {
					require.InDelta(t, norm(exact[name].Data), norm(x.Data), 1e-4, name)
				}
			}
		})
	}
}

func norm(x []float32) (sum float64) {
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

// TestSoft: soft plans within the groups are no symmetries.
func TestSoft(t *testing.T) {
	a, b, batch := model(t, modeltest.ViT(), 1), model(t, modeltest.ViT(), 2), modeltest.ViT().Batch(3, 4)
	p, _, err := transported(t, b, a, fuse.Matching{Solver: ot.Sinkhorn{Reg: 0.1}}, nil)
	require.NoError(t, err)
	require.Greater(t, modeltest.Apart(t, modeltest.Logits(b, batch), modeltest.Logits(a.With(p), batch)), 100*turned)
}

// widened is the same architecture, half as wide again.
func widened(net modeltest.Net) modeltest.Net {
	net.Config.Hidden += net.Config.Hidden / 2
	net.Config.MLP += net.Config.MLP / 2
	if net.Config.HeadDim > 0 {
		net.Config.HeadDim++
	}
	return net
}

// turns reports whether every norm of m lies in a space that may turn.
func turns(m *models.Model) bool {
	spaces, of := m.Graph.Spaces()
	for _, n := range m.Graph.Nodes {
		if n.Op == graph.Norm && (of[n.ID] < 0 || !spaces[of[n.ID]].Group.Rotates()) {
			return false
		}
	}
	return true
}

// TestRefit: fitted layers bring the logits nearer to the mean of those of the
// models, and leave models alone that agree.
func TestRefit(t *testing.T) {
	for _, net := range []modeltest.Net{modeltest.ViT(), modeltest.SimpleViT(), modeltest.Classifier()} {
		t.Run(net.Arch.Class, func(t *testing.T) {
			a, b, batch := model(t, net, 1), model(t, net, 2), net.Batch(40, 9)
			method, set := fuse.Matching{}, &fuse.Settings{Calibration: modeltest.Calibration{Data: batch, Tokens: align.All{},
				Narrow: true}}
			off := func(m *models.Model) (sum float64) {
				x, y, z := modeltest.Logits(a, batch), modeltest.Logits(b, batch), modeltest.Logits(m, batch)
				for i := range x {
					d := (x[i]+y[i])/2 - z[i]
					sum += d * d
				}
				return sum
			}
			plain, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, method, set)
			require.NoError(t, err)
			set.Refit = &fuse.Refit{Ridge: 1e-3}
			fitted, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, method, set)
			require.NoError(t, err)
			require.Less(t, off(fitted), 0.9*off(plain))
			same, _, err := fuse.Into(t.Context(), a, []*models.Model{permuted(t, a, 3)}, method, set)
			require.NoError(t, err)
			require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(a, batch), modeltest.Logits(same, batch)), 10*turned)
			set.Calibration = nil
			_, _, err = fuse.Into(t.Context(), a, []*models.Model{b}, method, set)
			require.ErrorIs(t, err, fuse.ErrNoCalibration)
		})
	}
}
