// Package recipe reads the JSON in which the programs are told how to fuse and
// turns it into a method and settings of package fuse.
package recipe

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/otfuse/otfuse/fuse"
)

// A Recipe says how to fuse. Absent keys mean the recipe of the paper; see
// [Recipe.Resolve].
type Recipe struct {
	Method   string    `json:"method"`                // flow, vanilla, match, learned, concatenate, head, distil or best
	Features string    `json:"features,omitempty"`    // activations | weights
	Prep     []string  `json:"prep"`                  // center, standardize, unit-norm, pca:K
	Samples  int       `json:"samples,omitempty"`     // the first K of the calibration data
	MaxLoss  *float64  `json:"max_loss,omitempty"`    // keep samples with a loss below it, nats
	Tokens   string    `json:"tokens,omitempty"`      // all | cls | window:K | mean
	Narrow   *bool     `json:"narrow,omitempty"`      // nodes read at the selected token only use that token
	Metric   string    `json:"metric,omitempty"`      // euclidean | sqeuclidean | cosine
	Scale    string    `json:"scale,omitempty"`       // max | mean | median | log | none
	Aligner  string    `json:"aligner,omitempty"`     // units | heads
	Solver   string    `json:"solver,omitempty"`      // emd | sinkhorn | widening | sinkhorn-device
	Reg      float64   `json:"reg,omitempty"`         // of Sinkhorn, in units of the scaled cost
	Residual string    `json:"residual,omitempty"`    // main, skip, identity, average, weighted-scalar or -matrix
	QK       string    `json:"qk,omitempty"`          // separate | shared | joint
	Mix      *float64  `json:"mix,omitempty"`         // match: share of activations beside weights, 0 to 1
	Rounds   int       `json:"rounds,omitempty"`      // match: most rounds over the spaces
	Restarts int       `json:"restarts,omitempty"`    // match: further starts, from random maps
	Steps    int       `json:"steps,omitempty"`       // learned, distil: updates of the maps, of the model
	Batch    int       `json:"batch,omitempty"`       // learned, distil: samples of an update
	LR       float64   `json:"lr,omitempty"`          // learned, distil: peak learning rate
	Inexact  bool      `json:"inexact,omitempty"`     // learned: streams turn where that is no symmetry
	Refit    float64   `json:"refit,omitempty"`       // ridge of a refit; 0 for none, 0.01 of head, concatenate and best
	Weights  []float64 `json:"weights,omitempty"`     // anchor first; absent means equal
	Beyond   bool      `json:"extrapolate,omitempty"` // weights may be below 0
	Start    *Recipe   `json:"start,omitempty"`       // distil: makes the model to start from; absent means the anchor
	HeldOut  *float64  `json:"held_out,omitempty"`    // learned, distil: share of the samples that answers are compared on
}

// Parse reads a recipe. Keys that are not known are errors.
func Parse(text []byte) (Recipe, error) {
	var r Recipe
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			err = fmt.Errorf("%w; known keys are %s", err, strings.Join(keys(), ", "))
		}
		return Recipe{}, fmt.Errorf("recipe: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Recipe{}, errors.New("recipe: more than one JSON value")
	}
	return r, nil
}

// keys lists the keys of a recipe.
func keys() []string {
	var out []string
	for f := range reflect.TypeFor[Recipe]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, name)
	}
	return out
}

// Data says whether there is calibration data.
type Data int

// The cases.
const (
	Uncalibrated Data = iota
	Calibrated
)

// Resolve fills in what is absent: the paper's recipe on activations where
// there is calibration data, on weights where there is none. Matching takes all
// tokens, mixes a share of activations into the weights and keeps to hard plans:
// soft ones are not symmetries. It reports the first value that is not allowed.
func (r Recipe) Resolve(calibrated Data) (Recipe, error) {
	if r.Method == Distil {
		return r.resolveDistil(calibrated)
	}
	features := "weights"
	sideBySide := r.Method == Concatenate && r.Features == "" // else weights alone are meant
	if calibrated == Calibrated && (sideBySide || r.Method == Best) {
		r.Refit = cmp.Or(r.Refit, headRidge)
	}
	if calibrated == Calibrated && r.Method != Concatenate { // which weights alone do best for
		features = "activations"
	}
	r.Method, r.Features = cmp.Or(r.Method, Flow), cmp.Or(r.Features, features)
	prep, reg, mix := "standardize", 0.08, 0.3
	if r.Features == "weights" {
		prep, reg, mix = "unit-norm", 0.06, 0
	}
	tokens, solver, narrow := "window:6", "sinkhorn", true
	if r.matches() {
		tokens, solver = "all", "emd"
	}
	if r.Method == Head {
		tokens, r.Refit = "all", cmp.Or(r.Refit, headRidge)
	}
	if r.Prep == nil {
		r.Prep = []string{prep}
	}
	if r.Narrow == nil {
		r.Narrow = &narrow
	}
	if r.Mix == nil {
		r.Mix = &mix
	}
	r.Samples, r.Tokens = cmp.Or(r.Samples, 200), cmp.Or(r.Tokens, tokens)
	r.Metric, r.Scale = cmp.Or(r.Metric, "euclidean"), cmp.Or(r.Scale, "max")
	r.Aligner, r.Solver, r.Reg = cmp.Or(r.Aligner, "units"), cmp.Or(r.Solver, solver), cmp.Or(r.Reg, reg)
	r.Residual, r.QK = cmp.Or(r.Residual, "average"), cmp.Or(r.QK, "separate")
	if r.Learns() {
		r.holdOut()
	}
	r.Rounds, r.Steps, r.Batch, r.LR = cmp.Or(r.Rounds, 20), cmp.Or(r.Steps, 250), cmp.Or(r.Batch, 256), cmp.Or(r.LR, 1e-2)
	return r, r.check()
}

// The methods.
const (
	Flow    = "flow"    // transport of the paper
	Vanilla = "vanilla" // the mean of the models as they are
	Match   = "match"   // exact symmetries
	Learned = "learned" // exact symmetries, refined by gradient
	// Concatenate lays the models side by side, each cut to its share of the width.
	Concatenate = "concatenate"
	Head        = "head"   // the anchor with its output layer fitted to the answers of all models
	Distil      = "distil" // training on the answers of all models
	Best        = "best"   // match or concatenate, whichever the library finds better; see [Recipe.Chosen]
)

// methods lists the methods.
func methods() []string { return append(untrained(), Distil, Best) }

// untrained lists the methods that a distillation can start from.
func untrained() []string { return []string{Flow, Vanilla, Match, Learned, Concatenate, Head} }

// headRidge is the ridge of [Head], [Concatenate] and [Best] where none is given.
const headRidge = 0.01

// matches reports whether the method works on exact symmetries.
func (r Recipe) matches() bool {
	return r.Method == Match || r.Method == Learned || r.Method == Concatenate || r.Method == Best
}

// Alignment returns the recipe by which models are aligned: that of the start of a
// distillation, nil where nothing but the anchor is used, and the recipe itself otherwise.
func (r *Recipe) Alignment() *Recipe {
	switch {
	case r == nil || r.Method == Head:
		return nil
	case r.Method == Distil:
		return r.Start.Alignment()
	}
	return r
}

// Chosen returns, of a resolved recipe of [Best], that of the method which a report says was
// found better; another recipe is returned as it is.
func (r Recipe) Chosen(m fuse.Method) Recipe {
	if r.Method != Best {
		return r
	}
	r.Method = Match
	if _, ok := m.(fuse.Concatenation); ok {
		none := 0.0
		r.Method, r.Features, r.Mix = Concatenate, "weights", &none
	}
	return r
}

// Learns reports whether a resolved recipe refines maps by gradient, which needs
// calibration samples.
func (r Recipe) Learns() bool {
	a := r.Alignment()
	return a != nil && a.Method == Learned
}

// Distils reports whether a resolved recipe trains a model, which needs samples.
func (r Recipe) Distils() bool { return r.Method == Distil }

// UsesSamples reports whether a resolved recipe looks at calibration samples.
func (r Recipe) UsesSamples() bool {
	switch {
	case r.Refit > 0 || r.Learns() || r.Distils():
		return true
	case r.matches():
		return *r.Mix > 0
	}
	return r.Method != Vanilla && (r.Features == "activations" || strings.HasPrefix(r.Residual, "weighted"))
}
