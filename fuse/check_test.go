package fuse_test

import (
	"context"
	"encoding/json"
	"math"
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

// twoByTwo is every strategy at once, always of the size 2 × 2.
type twoByTwo struct{}

func (twoByTwo) plan() ot.Plan {
	p, err := ot.PermutationPlan([]int{1, 0})
	if err != nil {
		panic(err)
	}
	return p
}
func (t twoByTwo) Solve(context.Context, ot.Problem) (ot.Plan, error) { return t.plan(), nil }
func (t twoByTwo) Merge([]graph.Branch) (ot.Plan, error)              { return t.plan(), nil }
func (t twoByTwo) Cost(ot.Gram) (*mat.Dense, error)                   { return mat.NewDense(2, 2, nil), nil }
func (twoByTwo) Needs() align.Needs                                   { return align.Needs{} }
func (t twoByTwo) Align(context.Context, ...align.Site) (align.Result, error) {
	return align.Result{Plan: t.plan()}, nil
}
func (twoByTwo) Collect(_ context.Context, _, _ *models.Model, want align.Request) (*align.Statistics, error) {
	out := &align.Statistics{Magnitudes: map[int][]float64{}}
	for range want.Sites {
		out.Moments = append(out.Moments, &align.Moments{N: 1, Cross: mat.NewDense(2, 2, nil)})
	}
	return out, nil
}
func (twoByTwo) Learn(_ context.Context, aligned []*models.Model, spaces []graph.Space) ([][]*mat.Dense, error) {
	out := make([][]*mat.Dense, len(aligned)-1)
	for i := range out {
		for range spaces {
			out[i] = append(out[i], mat.NewDense(2, 2, nil))
		}
	}
	return out, nil
}

// silent is a solver that returns neither a plan nor an error.
type silent struct{}

func (silent) Solve(context.Context, ot.Problem) (ot.Plan, error) { return ot.Plan{}, nil }

// careless is a method that returns what it is.
type careless struct{ *fuse.Aligned }

func (c careless) Align(context.Context, *models.Model, []*models.Model, fuse.Settings) (*fuse.Aligned, error) {
	return c.Aligned, nil
}

// TestStrategiesAreChecked: whatever a strategy returns that is of the wrong
// size, and whatever option is out of range, is one error that names it.
func TestStrategiesAreChecked(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	onWeights := align.Weights{}
	for name, c := range map[string]struct {
		method fuse.Method
		set    fuse.Settings
		says   string
	}{
		"aligner": {fuse.Transport{Aligner: twoByTwo{}}, fuse.Settings{},
			"Aligner fuse_test.twoByTwo returned a plan of 2 × 2 for 8 × 8 units"},
		"policy": {fuse.Transport{Residual: twoByTwo{}}, fuse.Settings{},
			"Residual fuse_test.twoByTwo returned a plan of 2 × 2"},
		"metric": {fuse.Transport{Aligner: align.Units{Features: onWeights, Metric: twoByTwo{}}}, fuse.Settings{},
			"Metric fuse_test.twoByTwo"},
		"solver": {fuse.Transport{Aligner: align.Units{Features: onWeights, Solver: twoByTwo{}}}, fuse.Settings{},
			"Solver fuse_test.twoByTwo"},
		"no plan": {fuse.Transport{Aligner: align.Units{Features: onWeights, Solver: silent{}}}, fuse.Settings{},
			"Solver fuse_test.silent returned no plan"},
		"heads": {fuse.Transport{Aligner: align.Heads{Units: align.Units{Features: onWeights, Solver: silent{}}}},
			fuse.Settings{}, "no plan"},
		"statistics": {fuse.Transport{}, fuse.Settings{Calibration: twoByTwo{}}, "the calibration returned"},
		"match data": {fuse.Matching{Mix: 1}, fuse.Settings{Calibration: twoByTwo{}}, "the calibration returned"},
		"magnitudes": {fuse.Transport{Aligner: fuse.OnWeights(), Residual: graph.WeightedScalar{}},
			fuse.Settings{Calibration: twoByTwo{}}, "0 magnitudes for 8"},
		"units":       {fuse.Transport{Aligner: align.Units{}}, fuse.Settings{}, "set Settings.Calibration"},
		"learner":     {fuse.Matching{Learner: twoByTwo{}}, fuse.Settings{}, "is 2 × 2, want"},
		"matching":    {fuse.Matching{Solver: twoByTwo{}}, fuse.Settings{}, "Solver fuse_test.twoByTwo"},
		"match solve": {fuse.Matching{Solver: silent{}}, fuse.Settings{}, "Solver fuse_test.silent"},
		"mix":         {fuse.Matching{Mix: 2}, fuse.Settings{}, "Matching.Mix is 2"},
		"no mix":      {fuse.Matching{Mix: math.NaN()}, fuse.Settings{}, "Matching.Mix is NaN"},
		"rounds":      {fuse.Matching{Rounds: -1}, fuse.Settings{}, "Matching.Rounds is -1"},
		"restarts":    {fuse.Matching{Restarts: -1}, fuse.Settings{}, "Matching.Restarts is -1"},
		"qk":          {fuse.Transport{QK: 7}, fuse.Settings{}, "Transport.QK is 7"},
		"ridge": {fuse.Vanilla{}, fuse.Settings{Refit: &fuse.Refit{Ridge: -1}, Calibration: calibration(net)},
			"the ridge is -1"},
		"nothing": {careless{}, fuse.Settings{}, "returned no models"},
		"too few": {careless{&fuse.Aligned{Anchor: a}}, fuse.Settings{}, "returned 0 models for 1"},
		"empty": {careless{&fuse.Aligned{Anchor: a, Others: []models.Params{{}}}}, fuse.Settings{},
			"number of tensors"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, into := range []func() error{
				func() error { _, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, c.method, &c.set); return err },
				func() error {
					_, _, err := fuse.Align(t.Context(), a, []*models.Model{b}, c.method, &c.set)
					return err
				},
			} {
				var err error
				require.NotPanics(t, func() { err = into() })
				require.ErrorContains(t, err, c.says)
				require.Regexp(t, `^fuse: `, err.Error())
			}
		})
	}
	for _, pair := range [][2]*models.Model{{nil, b}, {a, nil}} {
		_, _, err := fuse.Into(t.Context(), pair[0], []*models.Model{pair[1]}, nil, nil)
		require.ErrorContains(t, err, "the model is nil")
	}
}

// TestNilMethod: without a method models that cannot lie side by side are matched, by weights
// where there are no samples, and with activations where there are but nothing can be refitted.
func TestNilMethod(t *testing.T) {
	net := modeltest.SimpleViT()
	a, b := model(t, net, 1), model(t, net, 2)
	want, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Matching{}, nil)
	require.NoError(t, err)
	got, report, err := fuse.Into(t.Context(), a, []*models.Model{b}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, fuse.Matching{}, report.Method)
	sameBits(t, want.Params, got.Params)

	dir := t.TempDir()
	matched := inParts(t, dir, net.Batch(4, 4), []int{1}, fuse.Matching{Mix: 0.3}, a, b)
	parts, err := fuse.OpenParts(dir, "these")
	require.NoError(t, err)
	defer func() { require.NoError(t, parts.Close()) }()
	got, report, err = fuse.Into(t.Context(), a, []*models.Model{b}, nil, &fuse.Settings{Calibration: parts})
	require.NoError(t, err)
	require.Equal(t, fuse.Matching{Mix: 0.3}, report.Method)
	sameBits(t, matched, got.Params)
}

// TestNilMethodChooses: with samples a nil method is what answers more like the mean of all
// models, of what matching and laying side by side make with a refit.
func TestNilMethodChooses(t *testing.T) {
	net := modeltest.ViT()
	batch := net.Batch(12, 9)
	a, frame := model(t, doubled(net), 1), model(t, doubled(net), 2)
	half := func(seed uint64) *models.Model { // needs half of its width
		p, _, err := transported(t, model(t, net, seed), frame, fuse.Matching{}, nil)
		require.NoError(t, err)
		return frame.With(p)
	}
	for _, c := range []struct {
		a, other *models.Model
		weights  []float64
		refit    *fuse.Refit
		chosen   fuse.Method
	}{
		{a, permuted(t, a, 4), nil, nil, fuse.Matching{Mix: 0.3}},
		{half(3), half(4), []float64{0.3, 0.7}, &fuse.Refit{Ridge: 0.1}, fuse.Concatenation{}},
	} {
		set := fuse.Settings{Weights: c.weights, Calibration: modeltest.Calibration{Data: batch}, Refit: c.refit}
		got, report, err := fuse.Into(t.Context(), c.a, []*models.Model{c.other}, nil, &set)
		require.NoError(t, err)
		require.Equal(t, c.chosen, report.Method)

		weights := c.weights
		if weights == nil {
			weights = []float64{0.5, 0.5}
		}
		answers, others := modeltest.Logits(c.a, batch), modeltest.Logits(c.other, batch)
		for i := range answers {
			answers[i] = weights[0]*answers[i] + weights[1]*others[i]
		}
		if c.refit == nil {
			set.Refit = &fuse.Refit{Ridge: 0.01}
		}
		best := math.Inf(1)
		var want *models.Model
		for _, m := range []fuse.Method{fuse.Matching{Mix: 0.3}, fuse.Concatenation{}} {
			fused, _, err := fuse.Into(t.Context(), c.a, []*models.Model{c.other}, m, &set)
			require.NoError(t, err)
			if d := squaredDistance(modeltest.Logits(fused, batch), answers); d < best {
				best, want = d, fused
			}
		}
		sameBits(t, want.Params, got.Params)
	}
}

// TestNilMethodByWeights: without samples models that read no words are laid side by side,
// unless they are one in other orders; those of words are matched.
func TestNilMethodByWeights(t *testing.T) {
	net, words := doubled(modeltest.ViT()), doubled(modeltest.MaskedLM())
	a, b, text := model(t, net, 1), model(t, net, 2), model(t, words, 1)
	for name, c := range map[string]struct {
		anchor *models.Model
		others []*models.Model
		chosen fuse.Method
	}{
		"others": {a, []*models.Model{b}, fuse.Concatenation{}},
		"copies": {a, []*models.Model{permuted(t, a, 4)}, fuse.Matching{}},
		"four":   {a, []*models.Model{b, a, b}, fuse.Concatenation{}},
		"words":  {text, []*models.Model{model(t, words, 2)}, fuse.Matching{}},
	} {
		want, _, err := fuse.Into(t.Context(), c.anchor, c.others, c.chosen, nil)
		require.NoError(t, err, name)
		got, report, err := fuse.Into(t.Context(), c.anchor, c.others, nil, nil)
		require.NoError(t, err, name)
		require.Equal(t, c.chosen, report.Method, name)
		sameBits(t, want.Params, got.Params)

		needs, err := fuse.Estimate(c.anchor, c.others, nil, nil)
		require.NoError(t, err, name)
		tried := c.chosen
		if name == "copies" { // it takes both to tell
			tried = fuse.Concatenation{}
		}
		most, err := fuse.Estimate(c.anchor, c.others, tried, nil)
		require.NoError(t, err, name)
		require.Equal(t, most, needs, name)
	}
}

// TestNilMethodMatches: where models cannot lie side by side, or have no output layer of
// which answers can be compared, they are matched and refitted.
func TestNilMethodMatches(t *testing.T) {
	for _, c := range []struct {
		net     modeltest.Net
		weights []float64
	}{{modeltest.SimpleViT(), nil}, {modeltest.MaskedLM(), nil}, {doubled(modeltest.ViT()), []float64{1, 0}}} {
		a, b := model(t, c.net, 1), model(t, c.net, 2)
		set := fuse.Settings{Weights: c.weights, Calibration: calibration(c.net)}
		got, report, err := fuse.Into(t.Context(), a, []*models.Model{b}, nil, &set)
		require.NoError(t, err)
		require.Equal(t, fuse.Matching{Mix: 0.3}, report.Method)
		set.Refit = &fuse.Refit{Ridge: 0.01}
		want, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Matching{Mix: 0.3}, &set)
		require.NoError(t, err)
		sameBits(t, want.Params, got.Params)
	}
}

// TestTransportZero: the zero value of Transport is the recipe of the paper, on
// activations where there is a calibration.
func TestTransportZero(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	for _, c := range []struct {
		set     fuse.Settings
		aligner align.Aligner
	}{{fuse.Settings{}, fuse.OnWeights()}, {fuse.Settings{Calibration: calibration(net)}, fuse.OnActivations()},
		{fuse.Settings{Calibration: calibration(net)}, align.Units{}}} {
		want, _, err := fuse.Into(t.Context(), a, []*models.Model{b},
			fuse.Transport{Aligner: c.aligner, Residual: graph.Average{}}, &c.set)
		require.NoError(t, err)
		got, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Transport{}, &c.set)
		require.NoError(t, err)
		sameBits(t, want.Params, got.Params)
	}
}

// TestReport: a report prints as a table of the solved maps and marshals with
// the keys of report.json.
func TestReport(t *testing.T) {
	r := &fuse.Report{Seconds: 1.5, Nodes: []fuse.NodeReport{
		{Source: 0, Name: "first", Flow: graph.Solve, Cost: 0.25, Entropy: 1, Diagonal: 0.5, Seconds: 0.1},
		{Source: 1, Name: "second", Flow: graph.Solve, Warning: &ot.NotConvergedError{Iterations: 3, Residual: 0.02}},
		{Name: "norm", Flow: graph.Carry}}}
	text := r.String()
	for _, part := range []string{"first", "0.2500", "second (not converged: marginals off by 2.0e-02)",
		"3 nodes in 1.500 s"} {
		require.Contains(t, text, part)
	}
	require.NotContains(t, text, "norm")
	got, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"seconds": 1.5, "nodes": [
		{"source": 0, "name": "first", "flow": "solve", "cost": 0.25, "entropy": 1, "diagonal": 0.5, "kept": 1, "seconds": 0.1, "converged": true},
		{"source": 1, "name": "second", "flow": "solve", "cost": 0, "entropy": 0, "diagonal": 0, "kept": 1, "seconds": 0, "converged": false, "residual": 0.02},
		{"source": 0, "name": "norm", "flow": "carry", "cost": 0, "entropy": 0, "diagonal": 0, "kept": 1, "seconds": 0, "converged": true}]}`, string(got))
	var back fuse.Report
	require.NoError(t, json.Unmarshal(got, &back))
	again, err := json.Marshal(back)
	require.NoError(t, err)
	require.JSONEq(t, string(got), string(again))
	require.InDelta(t, 0.02, back.Nodes[1].Warning.Residual, 0)
	var kept fuse.NodeReport
	require.NoError(t, json.Unmarshal([]byte(`{"flow": "join", "kept": 0.25}`), &kept))
	require.InDelta(t, 0.25, kept.Kept(), 0)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"flow": "jump"}`), &kept), `no flow is called "jump"`)
	none, err := json.Marshal(fuse.Report{})
	require.NoError(t, err)
	require.JSONEq(t, `{"nodes": [], "seconds": 0}`, string(none))
}

// TestKept: exact maps keep all of a source, soft plans little, and the report
// says so.
func TestKept(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	blurred := fuse.Transport{Aligner: align.Units{Features: align.Weights{}, Solver: ot.Sinkhorn{Reg: 100}}}
	for name, c := range map[string]struct {
		method fuse.Method
		most   float64
		least  float64
	}{
		"permutations": {fuse.Transport{Aligner: exactly(), Residual: graph.Main{}}, 1 + 1e-6, 1 - 1e-6},
		"symmetries":   {fuse.Matching{}, 1 + 1e-5, 1 - 1e-5},
		"blur":         {blurred, 0.4, 0},
	} {
		_, report, err := fuse.Into(t.Context(), a, []*models.Model{b, b}, c.method, nil)
		require.NoError(t, err)
		kept := report.Kept()
		require.Len(t, kept, 2, name)
		for _, share := range kept {
			require.LessOrEqual(t, share, c.most, name)
			require.GreaterOrEqual(t, share, c.least, name)
		}
		require.Contains(t, report.String(), "of the squares of model 2 is left")
	}
	_, report, err := fuse.Into(t.Context(), a, []*models.Model{b}, blurred, nil)
	require.NoError(t, err)
	for _, n := range report.Nodes {
		if n.Name == "vit.encoder.layer.1.intermediate.dense" { // every unit becomes the mean of all
			require.Less(t, n.Kept(), 0.05)
		}
		if n.Flow == graph.Carry && n.Name == "cls" {
			require.InDelta(t, 1, n.Kept(), 0, "there is nothing to keep")
		}
	}
}
