package fuse_test

import (
	"context"
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

// model returns a random model of a net.
func model(t *testing.T, net modeltest.Net, seed uint64) *models.Model {
	m, err := net.Model(seed)
	require.NoError(t, err)
	return m
}

// transported returns the parameters of src that a method makes in the basis of
// anchor.
func transported(t *testing.T, src, anchor *models.Model, m fuse.Method, s *fuse.Settings) (models.Params, *fuse.Report,
	error) {
	aligned, report, err := fuse.Align(t.Context(), anchor, []*models.Model{src}, m, s)
	if err != nil {
		return nil, nil, err
	}
	return aligned.Others[0], report, nil
}

// permuted returns m with the units of every space relabelled.
func permuted(t *testing.T, m *models.Model, seed uint64) *models.Model {
	p, err := modeltest.Relabelled(t.Context(), m, seed)
	require.NoError(t, err)
	return p
}

// TestLaws: the laws hold for networks of every kind.
func TestLaws(t *testing.T) {
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) { modeltest.TestArchitecture(t, net.Arch, net.ModelConfig()) })
	}
}

// exactly is an aligner by exact transport on weights.
func exactly(prep ...align.Prep) align.Aligner {
	return align.Units{Features: align.Weights{Prep: prep}, Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}},
		Solver: ot.EMD{}}
}

// TestRecovery: exact transport carries a relabelled copy back onto the model.
func TestRecovery(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for name, prep := range map[string][]align.Prep{"plain": nil, "unit-norm": {align.UnitNorm{}}} {
			for _, qk := range []fuse.QK{fuse.Separate, fuse.Shared, fuse.Joint} {
				t.Run(net.Arch.Class+"/"+name+"/"+qkName(qk), func(t *testing.T) {
					m := model(t, net, 6)
					method, set := fuse.Transport{Aligner: exactly(prep...), QK: qk}, &fuse.Settings{}
					got, _, err := transported(t, permuted(t, m, 7), m, method, set)
					require.NoError(t, err)
					for name, want := range m.Params {
						if prep != nil && len(want.Data) == m.Dims().Width && len(want.Shape) > 1 {
							continue // one row of unit norm is ±1 everywhere: ties
						}
						require.LessOrEqual(t, modeltest.Apart(t, want.Data, got[name].Data), 1e-6, name)
					}
				})
			}
		}
	}
}

// doubling is an aligner that makes two of every unit of the layers that are twice as
// wide in another network.
type doubling struct{ wide *graph.Graph }

func (doubling) Needs() align.Needs { return align.Needs{} }

func (d doubling) Align(_ context.Context, sites ...align.Site) (align.Result, error) {
	n, m := sites[0].Out, d.wide.Find(sites[0].Name).Units
	mass := mat.NewDense(n, m, nil)
	for j := range m {
		mass.Set(j/(m/n), j, 1/float64(m))
	}
	p, err := ot.NewPlan(mass, nil, nil)
	return align.Result{Plan: p}, err
}

// TestRecoveryOfDoubles: exact transport carries a model whose units were all
// doubled, but for those of heads under rotary positions, back onto the model: doubled
// rows come together, what read both reads the one.
func TestRecoveryOfDoubles(t *testing.T) {
	for _, net := range modeltest.Nets() {
		m, wide := model(t, net, 6), net
		wide.Config.Hidden, wide.Config.MLP, wide.Config.HeadDim = 2*net.Config.Hidden, 2*net.Config.MLP, 2*net.Config.HeadDim
		frame := model(t, wide, 1)
		p, _, err := transported(t, m, frame, fuse.Transport{Aligner: doubling{frame.Graph}, Residual: graph.Main{}}, nil)
		require.NoError(t, err, net.Arch.Class)
		got, _, err := transported(t, frame.With(p), m, fuse.Transport{Aligner: exactly(), Residual: graph.Main{}}, nil)
		require.NoError(t, err, net.Arch.Class)
		near(t, m.Params, got, 1e-6)
	}
}

func qkName(qk fuse.QK) string { return [...]string{"separate", "shared", "joint"}[qk] }

// TestRecoveryOfHeads: heads first, then units, finds the relabelling too.
func TestRecoveryOfHeads(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for _, qk := range []fuse.QK{fuse.Separate, fuse.Shared, fuse.Joint} {
			m := model(t, net, 6)
			method, set := fuse.Transport{Aligner: align.Heads{Units: exactly().(align.Units)}, QK: qk}, &fuse.Settings{}
			got, _, err := transported(t, permuted(t, m, 7), m, method, set)
			require.NoError(t, err)
			for name, want := range m.Params {
				require.LessOrEqual(t, modeltest.Apart(t, want.Data, got[name].Data), 1e-6, "%s: %s", net.Arch.Class, name)
			}
		}
	}
	heads := modeltest.ViT()
	heads.Config.Hidden, heads.Config.Heads = 16, 4 // of the same width they would be refused sooner
	_, _, err := transported(t, model(t, heads, 1), model(t, modeltest.ViT(), 2),
		fuse.Transport{Aligner: align.Heads{Units: exactly().(align.Units)}}, nil)
	var mismatch *align.HeadsError
	require.ErrorAs(t, err, &mismatch)
	require.Equal(t, []int{4, 2}, []int{mismatch.Source, mismatch.Anchor})
}

// TestRecoveryOnActivations is the same with features from data.
func TestRecoveryOnActivations(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for _, qk := range []fuse.QK{fuse.Separate, fuse.Shared, fuse.Joint} {
			t.Run(net.Arch.Class+"/"+qkName(qk), func(t *testing.T) {
				m := model(t, net, 8)
				method, set := fuse.Transport{QK: qk,
					Aligner: align.Units{Features: align.Activations{Prep: []align.Prep{align.Standardize{}}}, Metric: ot.Euclidean{},
						Solver: ot.EMD{}}}, &fuse.Settings{Calibration: modeltest.Calibration{Data: net.Batch(8, 9),
					Tokens: align.Window{Size: 2}}}
				got, _, err := transported(t, permuted(t, m, 10), m, method, set)
				require.NoError(t, err)
				for name, want := range m.Params {
					require.LessOrEqual(t, modeltest.Apart(t, want.Data, got[name].Data), 1e-6, name)
				}
			})
		}
	}
}
