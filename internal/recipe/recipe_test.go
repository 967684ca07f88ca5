package recipe

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/ot"
)

// built parses, resolves and builds a recipe that must be good.
func built(t *testing.T, text string, calibrated Data) (Recipe, fuse.Method, *fuse.Settings) {
	r, err := Parse([]byte(text))
	require.NoError(t, err, text)
	r, err = r.Resolve(calibrated)
	require.NoError(t, err, text)
	method, settings, err := r.Build(Trainers{}, nil)
	require.NoError(t, err, text)
	return r, method, settings
}

// TestDefaults: absent keys mean the recipe of the paper; those of weights and of
// matching are others. What was resolved is written in full and resolves to itself.
func TestDefaults(t *testing.T) {
	flow := `{"method": "flow", "features": "activations", "prep": ["standardize"], "samples": 200, "tokens": "window:6",
		"narrow": true, "metric": "euclidean", "scale": "max", "aligner": "units", "solver": "sinkhorn",
		"reg": 0.08, "residual": "average", "qk": "separate",
		"mix": 0.3, "rounds": 20, "steps": 250, "batch": 256, "lr": 0.01}`
	weights := `{"method": "flow", "features": "weights", "prep": ["unit-norm"], "samples": 200, "tokens": "window:6",
		"narrow": true, "metric": "euclidean", "scale": "max", "aligner": "units", "solver": "sinkhorn",
		"reg": 0.06, "residual": "average", "qk": "separate",
		"mix": 0, "rounds": 20, "steps": 250, "batch": 256, "lr": 0.01}`
	match := `{"method": "match", "features": "activations", "prep": ["standardize"], "samples": 200, "tokens": "all",
		"narrow": true, "metric": "euclidean", "scale": "max", "aligner": "units", "solver": "emd",
		"reg": 0.08, "residual": "average", "qk": "separate",
		"mix": 0.3, "rounds": 20, "steps": 250, "batch": 256, "lr": 0.01}`
	for _, c := range []struct {
		text       string
		calibrated Data
		want       string
	}{
		{`{}`, Calibrated, flow}, {`{"features": "activations"}`, Uncalibrated, flow},
		{`{"method": "flow", "prep": null}`, Calibrated, flow},
		{`{}`, Uncalibrated, weights}, {`{"features": "weights"}`, Calibrated, weights},
		{`{"method": "match"}`, Calibrated, match},
		{`{"method": "distil"}`, Calibrated, `{"method": "distil", "prep": null, "samples": 200, "steps": 300,
			"batch": 64, "lr": 0.0003, "held_out": 0.2}`},
		{`{"method": "distil", "start": {"method": "match"}}`, Calibrated, `{"method": "distil", "prep": null,
			"samples": 200, "steps": 300, "batch": 64, "lr": 0.0003, "held_out": 0.2, "start": ` + match + `}`},
	} {
		r, _, _ := built(t, c.text, c.calibrated)
		text, err := json.Marshal(r)
		require.NoError(t, err)
		require.JSONEq(t, c.want, string(text), c.text)
		again, _, _ := built(t, string(text), 1-c.calibrated)
		require.Equal(t, r, again, c.text)
	}
}

// TestPaper: with no key at all, and with calibration data, the method is what
// package fuse has as the recipe of the paper.
func TestPaper(t *testing.T) {
	units := func(f align.Features, reg float64) fuse.Transport {
		return fuse.Transport{Residual: graph.Average{}, QK: fuse.Separate, Aligner: align.Units{Features: f,
			Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}, Solver: ot.Sinkhorn{Reg: reg}}}
	}
	_, method, settings := built(t, `{}`, Calibrated)
	require.Equal(t, units(align.Activations{Prep: []align.Prep{align.Standardize{}}}, 0.08), method)
	require.Equal(t, &fuse.Settings{}, settings)
	_, method, _ = built(t, `{}`, Uncalibrated)
	require.Equal(t, units(align.Weights{Prep: []align.Prep{align.UnitNorm{}}}, 0.06), method)
}

// TestTransportKeys: every key of transport reaches the method.
func TestTransportKeys(t *testing.T) {
	usual := align.Units{Features: align.Activations{Prep: []align.Prep{align.Standardize{}}},
		Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}, Solver: ot.Sinkhorn{Reg: 0.08}}
	with := func(change func(*align.Units)) align.Units {
		u := usual
		change(&u)
		return u
	}
	exact := with(func(u *align.Units) { u.Solver = ot.EMD{} })
	metric := func(m ot.Metric) align.Units { return with(func(u *align.Units) { u.Metric = m }) }
	prep := func(p ...align.Prep) align.Units {
		return with(func(u *align.Units) { u.Features = align.Activations{Prep: append([]align.Prep{}, p...)} })
	}
	for text, want := range map[string]align.Aligner{
		`{"prep": []}`:                            prep(),
		`{"prep": ["center", "unit-norm"]}`:       prep(align.Center{}, align.UnitNorm{}),
		`{"prep": ["standardize", "pca:12"]}`:     prep(align.Standardize{}, align.PCA{K: 12}),
		`{"metric": "sqeuclidean"}`:               metric(ot.Scaled{Metric: ot.SqEuclidean{}, By: ot.ScaleMax{}}),
		`{"metric": "cosine"}`:                    metric(ot.Scaled{Metric: ot.Cosine{}, By: ot.ScaleMax{}}),
		`{"scale": "mean"}`:                       metric(ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMean{}}),
		`{"scale": "median"}`:                     metric(ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMedian{}}),
		`{"scale": "log"}`:                        metric(ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleLog{}}),
		`{"scale": "none"}`:                       metric(ot.Euclidean{}),
		`{"solver": "emd"}`:                       exact,
		`{"solver": "emd", "reg": 3}`:             exact,
		`{"solver": "widening"}`:                  align.Widening{Units: usual, Exact: ot.EMD{}},
		`{"reg": 0.5}`:                            with(func(u *align.Units) { u.Solver = ot.Sinkhorn{Reg: 0.5} }),
		`{"aligner": "heads"}`:                    align.Heads{Units: usual},
		`{"aligner": "heads", "solver": "emd"}`:   align.Heads{Units: exact},
		`{"mix": 1, "rounds": 3, "restarts": 4}`:  usual,
		`{"steps": 1, "batch": 2, "lr": 3}`:       usual,
		`{"samples": 7, "inexact": true}`:         usual,
		`{"aligner": "units", "narrow": false}`:   usual,
		`{"tokens": "mean", "solver":"sinkhorn"}`: usual,
	} {
		_, method, _ := built(t, text, Calibrated)
		require.Equal(t, fuse.Transport{Aligner: want, Residual: graph.Average{}}, method, text)
	}
	for name, want := range map[string]graph.Policy{"main": graph.Main{}, "skip": graph.Skip{},
		"identity": graph.Identity{}, "average": graph.Average{},
		"weighted-scalar": graph.WeightedScalar{}, "weighted-matrix": graph.WeightedMatrix{}} {
		_, method, _ := built(t, `{"residual": "`+name+`"}`, Calibrated)
		require.Equal(t, want, method.(fuse.Transport).Residual)
	}
	for name, want := range map[string]fuse.QK{"separate": fuse.Separate, "shared": fuse.Shared, "joint": fuse.Joint} {
		_, method, _ := built(t, `{"qk": "`+name+`"}`, Calibrated)
		require.Equal(t, want, method.(fuse.Transport).QK)
	}
}

// TestMethods: every method is a value of package fuse, with its keys.
func TestMethods(t *testing.T) {
	for text, want := range map[string]fuse.Method{
		`{"method": "vanilla"}`: fuse.Vanilla{},
		`{"method": "vanilla", "residual": "main", "solver": "emd"}`: fuse.Vanilla{},
		`{"method": "match"}`:                                          fuse.Matching{Mix: 0.3, Rounds: 20},
		`{"method": "match", "features": "weights"}`:                   fuse.Matching{Rounds: 20},
		`{"method": "match", "mix": 0, "rounds": 5, "restarts": 2}`:    fuse.Matching{Rounds: 5, Restarts: 2},
		`{"method": "match", "mix": 0, "solver": "sinkhorn"}`:          fuse.Matching{Rounds: 20, Solver: ot.Sinkhorn{Reg: 0.08}},
		`{"method": "match", "inexact": true, "residual": "identity"}`: fuse.Matching{Mix: 0.3, Rounds: 20, Inexact: true},
		`{"method": "head"}`:                                           fuse.Head{Ridge: 0.01},
		`{"method": "head", "refit": 0.5}`:                             fuse.Head{Ridge: 0.5},
		`{"method": "learned", "steps": 3, "inexact": true}`:           fuse.Matching{Mix: 0.3, Rounds: 20, Inexact: true},
	} {
		_, method, _ := built(t, text, Calibrated)
		require.Equal(t, want, method, text)
	}
	r, err := Recipe{Method: Learned}.Resolve(Calibrated)
	require.NoError(t, err)
	require.Equal(t, 40, r.HeldOutOf(200))
	learner := &gomlx.Learner{}
	method, _, err := r.Build(Trainers{Learner: learner}, nil)
	require.NoError(t, err)
	require.Same(t, learner, method.(fuse.Matching).Learner)
	method, _, err = Recipe{Method: Match, Features: r.Features, Prep: r.Prep, Metric: r.Metric, Scale: r.Scale,
		Aligner: r.Aligner, Solver: r.Solver, Residual: r.Residual, QK: r.QK, Mix: r.Mix}.Build(
		Trainers{Learner: learner},
		nil,
	)
	require.NoError(t, err)
	require.Nil(t, method.(fuse.Matching).Learner, "a learner is for learned matching alone")
}

// TestDistil: a distillation starts from the anchor or from what another recipe
// makes; samples and weights are those of the start too.
func TestDistil(t *testing.T) {
	r, err := Parse([]byte(`{"method": "distil", "samples": 50, "weights": [0.25, 0.75], "held_out": 0.1,
		"start": {"method": "learned", "refit": 0.5, "solver": "sinkhorn-device"}}`))
	require.NoError(t, err)
	r, err = r.Resolve(Calibrated)
	require.NoError(t, err)
	require.Equal(t, 50, r.Start.Samples)
	require.Equal(t, 5, r.HeldOutOf(50))
	require.True(t, r.OnDevice())
	learner, distiller := &gomlx.Learner{}, &gomlx.Distiller{}
	method, settings, err := r.Build(Trainers{learner, distiller}, nil)
	require.NoError(t, err)
	distil := method.(fuse.Distil)
	require.Same(t, distiller, distil.Distiller)
	require.Same(t, learner, distil.Start.(fuse.Matching).Learner)
	require.Equal(t, &fuse.Settings{Weights: []float64{0.25, 0.75}, Refit: &fuse.Refit{Ridge: 0.5}}, settings)

	r, method, settings = built(t, `{"method": "distil", "start": {"method": "head", "refit": 0.5}}`, Calibrated)
	require.Equal(t, fuse.Head{Ridge: 0.5}, method.(fuse.Distil).Start)
	require.Equal(t, &fuse.Settings{}, settings)
	require.True(t, r.UsesSamples())
	require.Nil(t, r.Alignment())

	r, method, settings = built(t, `{"method": "distil", "weights": [0.25, 0.75]}`, Calibrated)
	require.Equal(t, fuse.Distil{}, method)
	require.Equal(t, []float64{0.25, 0.75}, settings.Weights)
	require.False(t, r.OnDevice())
	require.Nil(t, r.Alignment())
}

func TestSettings(t *testing.T) {
	_, _, settings := built(t, `{"weights": [0.25, 0.75], "refit": 0.5}`, Calibrated)
	require.Equal(t, &fuse.Settings{Weights: []float64{0.25, 0.75}, Refit: &fuse.Refit{Ridge: 0.5}}, settings)
}

func TestTokens(t *testing.T) {
	for name, want := range map[string]align.Tokens{"all": align.All{}, "cls": align.Lead{}, "mean": align.Pool{},
		"window:3": align.Window{Size: 3}} {
		r, _, _ := built(t, `{"tokens": "`+name+`"}`, Calibrated)
		got, err := r.TokenFilter()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestUsesSamples: what a recipe does not need is neither asked for nor told of.
func TestUsesSamples(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`:                                    true,
		`{"features": "weights"}`:               false,
		`{"features": "weights", "refit": 0.1}`: true,
		`{"features": "weights", "residual": "weighted-scalar"}`: true,
		`{"method": "vanilla"}`:                                  false,
		`{"method": "vanilla", "residual": "weighted-matrix"}`:   false,
		`{"method": "vanilla", "refit": 0.1}`:                    true,
		`{"method": "match"}`:                                    true,
		`{"method": "match", "features": "weights"}`:             false,
		`{"method": "match", "features": "weights", "mix": 1}`:   true,
		`{"method": "match", "mix": 0}`:                          false,
		`{"method": "learned", "mix": 0}`:                        true,
		`{"method": "distil"}`:                                   true,
		`{"method": "distil", "start": {"method": "learned"}}`:   true,
	} {
		r, _, _ := built(t, text, Calibrated)
		require.Equal(t, want, r.UsesSamples(), text)
		require.Equal(t, strings.Contains(text, Learned), r.Learns(), text)
		require.Equal(t, strings.Contains(text, Distil), r.Distils(), text)
	}
}

// TestUnknown: keys and values that are not known are errors of one line that list
// what is allowed.
func TestUnknown(t *testing.T) {
	for text, want := range map[string]string{
		`{"solvr": "emd"}`: `unknown field "solvr"; known keys are method, features, prep, samples, max_loss, ` +
			`tokens, narrow, metric, scale, aligner, solver, reg, residual, qk, mix, rounds, ` +
			`restarts, steps, batch, lr, inexact, refit, weights, extrapolate, start, held_out`,
		`{"method": "magic"}`: `method is "magic", allowed are flow, vanilla, match, ` +
			`learned, concatenate, head, distil, best`,
		`{"features": "x"}`:                          `recipe: features is "x", allowed are activations, weights`,
		`{"prep": ["x"]}`:                            `prep is "x", allowed are center, standardize, unit-norm, pca:K`,
		`{"prep": ["pca:0"]}`:                        `recipe: prep is "pca:0", want pca:K with K at least 1`,
		`{"prep": ["pca:x"]}`:                        `want pca:K`,
		`{"samples": -1}`:                            `recipe: samples is -1, want at least 1`,
		`{"tokens": "x"}`:                            `recipe: tokens is "x", allowed are all, cls, window:K, mean`,
		`{"tokens": "window"}`:                       `allowed are all, cls, window:K, mean`,
		`{"tokens": "window:0"}`:                     `recipe: tokens is "window:0", want window:K with K at least 1`,
		`{"metric": "x"}`:                            `recipe: metric is "x", allowed are euclidean, sqeuclidean, cosine`,
		`{"scale": "x"}`:                             `recipe: scale is "x", allowed are max, mean, median, log, none`,
		`{"aligner": "x"}`:                           `recipe: aligner is "x", allowed are units, heads`,
		`{"aligner": "heads", "solver": "widening"}`: `aligner heads is "widening", allowed are emd, sinkhorn, sinkhorn-device`,
		`{"solver": "x"}`:                            `solver is "x", allowed are emd, sinkhorn, widening, sinkhorn-device`,
		`{"reg": -1}`:                                `recipe: reg is -1, want more than 0`,
		`{"residual": "x"}`: `residual is "x", allowed are main, skip, identity, average, ` +
			`weighted-scalar, weighted-matrix`,
		`{"qk": "x"}`:                           `recipe: qk is "x", allowed are separate, shared, joint`,
		`{"mix": 2}`:                            `recipe: mix is 2, want 0 to 1`,
		`{"mix": -0.1}`:                         `recipe: mix is -0.1, want 0 to 1`,
		`{"rounds": -1}`:                        `recipe: rounds is -1, want at least 1`,
		`{"restarts": -1}`:                      `recipe: restarts is -1, want at least 0`,
		`{"steps": -1}`:                         `recipe: steps is -1, want at least 1`,
		`{"batch": -1}`:                         `recipe: batch is -1, want at least 1`,
		`{"lr": -1}`:                            `recipe: lr is -1, want more than 0`,
		`{"refit": -1}`:                         `recipe: refit is -1, want at least 0`,
		`{"method": "learned", "held_out": -1}`: `recipe: held_out is -1, want 0 to 0.5`,
		`{"method": "distil", "held_out": 0.7}`: `recipe: held_out is 0.7, want 0 to 0.5`,
		`{"method": "distil", "refit": 0.1}`:    `recipe: refit is 0.1, and of method distil`,
		`{"method": "distil", "lr": -1}`:        `recipe: lr is -1, want more than 0`,
		`{"method": "distil", "steps": -1}`:     `recipe: steps is -1, want at least 1`,
		`{"method": "distil", "samples": -1}`:   `recipe: samples is -1, want at least 1`,
		`{"method": "distil", "start": {"method": "distil"}}`: `allowed are flow, vanilla, match, learned, ` +
			`concatenate, head, in start`,
		`{"method": "distil", "start": {"method": "best"}}`: `method is "best", allowed are flow, vanilla`,
		`{"method": "distil", "start": {"mix": 2}}`:         `recipe: mix is 2, want 0 to 1, in start`,
		`{"narrow": "yes"}`:                                 `recipe: json: cannot unmarshal string`,
		`{"samples": 1.5}`:                                  `recipe: json: cannot unmarshal number 1.5`,
		`{} {}`:                                             `recipe: more than one JSON value`,
		`[]`:                                                `recipe: json: cannot unmarshal array`,
		``:                                                  `recipe: EOF`,
	} {
		r, err := Parse([]byte(text))
		if err == nil {
			_, err = r.Resolve(Calibrated)
		}
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "\n", text)
	}
}

// TestCalibration: the first samples, of these the ones that every model finds
// easy, at the tokens that are kept.
func TestCalibration(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "go:ops_sequential")
	d, err := gomlx.Open(t.Context(), nil)
	require.NoError(t, err)
	defer d.Close()
	c := models.ViTConfig{Hidden: 8, Layers: 1, Heads: 2, MLP: 8, Act: "gelu", Eps: 1e-12, Image: 4, Patch: 2, Channels: 3,
		Labels: map[string]string{"0": "a", "1": "b"}}
	m, err := models.Fresh(models.ViT(), c, 1, 0.2)
	require.NoError(t, err)
	data := models.Batch{"pixel_values": {Shape: []int{6, 3, 4, 4}, Floats: make([]float32, 6*48)},
		models.Labels: {Shape: []int{6}, Ints: []int32{0, 1, 0, 1, 0, 1}}}
	collect := func(text string) *gomlx.Calibration {
		r, _, _ := built(t, text, Calibrated)
		got, err := r.Calibration(t.Context(), d, data, m, m)
		require.NoError(t, err)
		return got
	}
	got := collect(`{"samples": 4, "tokens": "cls", "narrow": false}`)
	require.Equal(t, 4, got.Data.Len())
	require.Equal(t, align.Lead{}, got.Tokens)
	require.False(t, got.Narrow)
	require.True(t, collect(`{}`).Narrow)
	require.Equal(t, 6, collect(`{}`).Data.Len())
	easy := collect(`{"samples": 5, "max_loss": 0.6931471}`) // ln 2: of equal images one label is likelier
	labels := easy.Data[models.Labels].Ints
	require.Contains(t, []int{2, 3}, len(labels))
	for _, l := range labels {
		require.Equal(t, labels[0], l)
	}
	require.Equal(t, 3, collect(`{"method": "distil", "samples": 3}`).Data.Len())
	require.Equal(t, align.Lead{}, collect(`{"method": "distil", "start": {"tokens": "cls"}}`).Tokens)
	delete(data, models.Labels)
	r, _, _ := built(t, `{"max_loss": 1}`, Calibrated)
	_, err = r.Calibration(t.Context(), d, data, m)
	require.ErrorContains(t, err, "max_loss: ")
}

// TestConcatenateWeights: side by side models are refitted where there are samples, unless
// weights alone are asked for.
func TestConcatenateWeights(t *testing.T) {
	for text, want := range map[string]float64{
		`{"method":"concatenate"}`:                                  0.01,
		`{"method":"concatenate","features":"weights"}`:             0,
		`{"method":"concatenate","features":"weights","refit":0.5}`: 0.5,
	} {
		r, err := Parse([]byte(text))
		require.NoError(t, err)
		r, err = r.Resolve(Calibrated)
		require.NoError(t, err)
		require.Equal(t, want, r.Refit, text)
		require.Equal(t, want > 0, r.UsesSamples(), text)
	}
}

// TestBest: the best is left to package fuse, refitted where there are samples, and what was
// chosen is a recipe that makes the same.
func TestBest(t *testing.T) {
	for calibrated, ridge := range map[Data]float64{Calibrated: 0.01, Uncalibrated: 0} {
		r, err := Recipe{Method: Best}.Resolve(calibrated)
		require.NoError(t, err)
		require.Equal(t, ridge, r.Refit)
		require.Equal(t, calibrated == Calibrated, r.UsesSamples())
		method, set, err := r.Build(Trainers{}, nil)
		require.NoError(t, err)
		require.Nil(t, method)
		require.Equal(t, ridge > 0, set.Refit != nil)

		mix := 0.0
		if calibrated == Calibrated {
			mix = 0.3
		}
		for _, chosen := range []fuse.Method{fuse.Matching{Mix: mix}, fuse.Concatenation{}} {
			made, again, err := r.Chosen(chosen).Build(Trainers{}, nil)
			require.NoError(t, err)
			require.Equal(t, set, again)
			if m, ok := made.(fuse.Matching); ok {
				m.Rounds = 0
				made = m
			}
			if c, ok := made.(fuse.Concatenation); ok {
				c.Cut.Rounds = 0
				made = c
			}
			require.Equal(t, chosen, made)
		}
	}
	flow, err := Recipe{}.Resolve(Calibrated)
	require.NoError(t, err)
	require.Equal(t, flow, flow.Chosen(fuse.Concatenation{}))
}
