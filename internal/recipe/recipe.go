// Package recipe reads the JSON in which the programs are told how to fuse and
// turns it into the options of package fuse.
package recipe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/ot"
)

// Recipe says how to fuse. Absent keys mean the recipe of the paper; see
// [Recipe.Resolve].
type Recipe struct {
	Method   string    `json:"method"`             // flow | vanilla | match | learned
	Features string    `json:"features,omitempty"` // activations | weights
	Prep     []string  `json:"prep"`               // center, standardize, unit-norm, pca:K
	Samples  int       `json:"samples,omitempty"`  // the first K of the calibration data
	MaxLoss  *float64  `json:"max_loss,omitempty"` // keep samples with a loss below it, nats
	Tokens   string    `json:"tokens,omitempty"`   // all | cls | window:K | mean
	Narrow   *bool     `json:"narrow,omitempty"`   // nodes read at the selected token only use that token
	Metric   string    `json:"metric,omitempty"`   // euclidean | sqeuclidean | cosine
	Scale    string    `json:"scale,omitempty"`    // max | mean | median | log | none
	Aligner  string    `json:"aligner,omitempty"`  // units | heads
	Solver   string    `json:"solver,omitempty"`   // emd | sinkhorn | widening | sinkhorn-device
	Reg      float64   `json:"reg,omitempty"`      // of Sinkhorn, in units of the scaled cost
	Residual string    `json:"residual,omitempty"` // main | skip | identity | average | weighted-scalar | weighted-matrix
	QK       string    `json:"qk,omitempty"`       // separate | shared | joint
	Mix      *float64  `json:"mix,omitempty"`      // match: share of activations beside weights, 0 to 1
	Rounds   int       `json:"rounds,omitempty"`   // match: most rounds over the spaces
	Restarts int       `json:"restarts,omitempty"` // match: further starts, from random maps
	Steps    int       `json:"steps,omitempty"`    // learned: updates of the maps
	Batch    int       `json:"batch,omitempty"`    // learned: samples of an update
	LR       float64   `json:"lr,omitempty"`       // learned: peak learning rate
	Inexact  bool      `json:"inexact,omitempty"`  // learned: streams turn where that is no symmetry
	Refit    float64   `json:"refit,omitempty"`    // ridge of a refit of the linear layers; 0 for none
	Weights  []float64 `json:"weights,omitempty"`  // anchor first; absent means equal
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
	if _, err := d.Token(); err != io.EOF {
		return Recipe{}, fmt.Errorf("recipe: more than one JSON value")
	}
	return r, nil
}

func keys() []string {
	return []string{"method", "features", "prep", "samples", "max_loss", "tokens", "narrow", "metric", "scale", "aligner", "solver",
		"reg", "residual", "qk", "mix", "rounds", "restarts", "steps", "batch", "lr", "inexact", "refit", "weights"}
}

// Resolve fills in what is absent: the paper's recipe on activations where
// there is calibration data, on weights where there is none. Matching takes all
// tokens, mixes a share of activations into the weights and keeps to hard plans:
// soft ones are no symmetries.
func (r Recipe) Resolve(calibrated Data) (Recipe, error) {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&r.Method, Flow)
	if calibrated == Calibrated {
		def(&r.Features, "activations")
	}
	def(&r.Features, "weights")
	if r.Prep == nil {
		r.Prep = []string{"standardize"}
		if r.Features == "weights" {
			r.Prep = []string{"unit-norm"}
		}
	}
	if r.Samples == 0 {
		r.Samples = 200
	}
	if r.matches() {
		def(&r.Tokens, "all")
		def(&r.Solver, "emd")
	}
	def(&r.Tokens, "window:6")
	if r.Narrow == nil {
		yes := true
		r.Narrow = &yes
	}
	def(&r.Metric, "euclidean")
	def(&r.Scale, "max")
	def(&r.Aligner, "units")
	def(&r.Solver, "sinkhorn")
	if r.Reg == 0 {
		r.Reg = 0.08
		if r.Features == "weights" {
			r.Reg = 0.06
		}
	}
	def(&r.Residual, "average")
	def(&r.QK, "separate")
	if r.Mix == nil {
		mix := 0.0
		if r.Features == "activations" {
			mix = 0.3
		}
		r.Mix = &mix
	}
	if r.Rounds == 0 {
		r.Rounds = 20
	}
	if r.Steps == 0 {
		r.Steps = 250
	}
	if r.Batch == 0 {
		r.Batch = 256
	}
	if r.LR == 0 {
		r.LR = 1e-2
	}
	return r, r.check()
}

// The methods.
const (
	Flow    = "flow"    // transport of the paper
	Vanilla = "vanilla" // the mean of the models as they are
	Match   = "match"   // exact symmetries
	Learned = "learned" // exact symmetries, refined by gradient
)

// methods lists the methods.
func methods() []string { return []string{Flow, Vanilla, Match, Learned} }

// matches reports whether the method works on exact symmetries.
func (r Recipe) matches() bool { return r.Method == Match || r.Method == Learned }

// Learns reports whether a resolved recipe refines maps by gradient, which needs
// calibration samples.
func (r Recipe) Learns() bool { return r.Method == Learned }

// UsesSamples reports whether a resolved recipe looks at calibration samples.
func (r Recipe) UsesSamples() bool {
	switch {
	case r.Refit > 0 || r.Learns():
		return true
	case r.matches():
		return *r.Mix > 0
	}
	return r.Method != Vanilla && (r.Features == "activations" || strings.HasPrefix(r.Residual, "weighted"))
}

// Data says whether there is calibration data.
type Data int

// The cases.
const (
	Uncalibrated Data = iota
	Calibrated
)

// check reports the first value that is not allowed, with those that are.
func (r Recipe) check() error {
	if err := one("method", r.Method, methods()...); err != nil {
		return err
	}
	if r.Samples < 0 {
		return fmt.Errorf("recipe: samples is %d, want at least 1", r.Samples)
	}
	if !(r.Reg > 0) {
		return fmt.Errorf("recipe: reg is %g, want more than 0", r.Reg)
	}
	if !(*r.Mix >= 0 && *r.Mix <= 1) {
		return fmt.Errorf("recipe: mix is %g, want 0 to 1", *r.Mix)
	}
	for key, n := range map[string]int{"rounds": r.Rounds, "steps": r.Steps, "batch": r.Batch} {
		if n < 0 {
			return fmt.Errorf("recipe: %s is %d, want at least 1", key, n)
		}
	}
	if r.Restarts < 0 {
		return fmt.Errorf("recipe: restarts is %d, want at least 0", r.Restarts)
	}
	if !(r.Refit >= 0) {
		return fmt.Errorf("recipe: refit is %g, want at least 0", r.Refit)
	}
	if !(r.LR > 0) {
		return fmt.Errorf("recipe: lr is %g, want more than 0", r.LR)
	}
	_, _, err := r.Build(nil, nil)
	if err == nil {
		_, err = r.Keep()
	}
	return err
}

func one(key, got string, allowed ...string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return fmt.Errorf("recipe: %s is %q, allowed are %s", key, got, strings.Join(allowed, ", "))
}

// choose returns the value under its name, or an error that lists the names.
func choose[T any](key, got string, names []string, values ...T) (T, error) {
	i := slices.Index(names, got)
	if i < 0 {
		var none T
		return none, one(key, got, names...)
	}
	return values[i], nil
}

// numbered splits name:K.
func numbered(key, s, name string) (int, error) {
	k, err := strconv.Atoi(strings.TrimPrefix(s, name+":"))
	if err != nil || k < 1 {
		return 0, fmt.Errorf("recipe: %s is %q, want %s:K with K at least 1", key, s, name)
	}
	return k, nil
}

// Keep returns the token filter of a resolved recipe.
func (r Recipe) Keep() (align.Tokens, error) {
	if strings.HasPrefix(r.Tokens, "window:") {
		k, err := numbered("tokens", r.Tokens, "window")
		return align.Window{Size: k}, err
	}
	if r.Tokens == "window" {
		return nil, one("tokens", r.Tokens, "all", "cls", "window:K", "mean")
	}
	t, err := choose[align.Tokens]("tokens", r.Tokens, []string{"all", "cls", "mean"}, align.All{}, align.Lead{}, align.Pool{})
	if err != nil {
		return nil, one("tokens", r.Tokens, "all", "cls", "window:K", "mean")
	}
	return t, nil
}

// Build returns the method and the settings of package fuse for a resolved
// recipe, the latter without a calibration. The learner is for method learned,
// the device for a solver that is OnDevice.
func (r Recipe) Build(learner fuse.Learner, device *gomlx.Device) (fuse.Method, *fuse.Settings, error) {
	transport, err := r.transport(device)
	if err != nil {
		return nil, nil, err
	}
	s := &fuse.Settings{Weights: r.Weights}
	if r.Refit > 0 {
		s.Refit = &fuse.Refit{Ridge: r.Refit}
	}
	matching := fuse.Matching{Mix: *r.Mix, Rounds: r.Rounds, Restarts: r.Restarts, Inexact: r.Inexact}
	if r.Solver == "sinkhorn" || r.OnDevice() {
		matching.Solver = r.entropic(device)
	}
	learned := matching
	learned.Learner = learner
	m, err := choose[fuse.Method]("method", r.Method, methods(),
		transport, fuse.Vanilla{}, matching, learned)
	return m, s, err
}

// OnDevice reports whether the solver runs on the device.
func (r Recipe) OnDevice() bool { return r.Solver == "sinkhorn-device" }

// entropic returns the solver that regularises by entropy.
func (r Recipe) entropic(device *gomlx.Device) ot.Solver {
	if r.OnDevice() {
		return device.Sinkhorn(ot.Sinkhorn{Reg: r.Reg})
	}
	return ot.Sinkhorn{Reg: r.Reg}
}

// transport returns the method of the paper.
func (r Recipe) transport(device *gomlx.Device) (o fuse.Transport, err error) {
	features, err := r.features()
	if err != nil {
		return o, err
	}
	metric, err := choose[ot.Metric]("metric", r.Metric, []string{"euclidean", "sqeuclidean", "cosine"},
		ot.Euclidean{}, ot.SqEuclidean{}, ot.Cosine{})
	if err != nil {
		return o, err
	}
	scale, err := choose[ot.Scale]("scale", r.Scale, []string{"max", "mean", "median", "log", "none"},
		ot.ScaleMax{}, ot.ScaleMean{}, ot.ScaleMedian{}, ot.ScaleLog{}, nil)
	if err != nil {
		return o, err
	}
	if scale != nil {
		metric = ot.Scaled{Metric: metric, By: scale}
	}
	units := align.Units{Features: features, Metric: metric, Solver: r.entropic(device)}
	exact := units
	exact.Solver = ot.EMD{}
	if o.Aligner, err = choose[align.Aligner]("solver", r.Solver, []string{"emd", "sinkhorn", "widening", "sinkhorn-device"},
		exact, units, align.Widening{Units: units, Exact: ot.EMD{}}, units); err != nil {
		return o, err
	}
	if err := one("aligner", r.Aligner, "units", "heads"); err != nil {
		return o, err
	}
	if r.Aligner == "heads" {
		if o.Aligner, err = choose[align.Aligner]("solver of aligner heads", r.Solver, []string{"emd", "sinkhorn", "sinkhorn-device"},
			align.Heads{Units: exact}, align.Heads{Units: units}, align.Heads{Units: units}); err != nil {
			return o, err
		}
	}
	if o.Residual, err = choose[graph.Policy]("residual", r.Residual,
		[]string{"main", "skip", "identity", "average", "weighted-scalar", "weighted-matrix"},
		graph.Main{}, graph.Skip{}, graph.Identity{}, graph.Average{}, graph.WeightedScalar{}, graph.WeightedMatrix{}); err != nil {
		return o, err
	}
	o.QK, err = choose("qk", r.QK, []string{"separate", "shared", "joint"}, fuse.Separate, fuse.Shared, fuse.Joint)
	return o, err
}

func (r Recipe) features() (align.Features, error) {
	preps := []align.Prep{}
	for _, s := range r.Prep {
		if strings.HasPrefix(s, "pca:") {
			k, err := numbered("prep", s, "pca")
			if err != nil {
				return nil, err
			}
			preps = append(preps, align.PCA{K: k})
			continue
		}
		p, err := choose[align.Prep]("prep", s, []string{"center", "standardize", "unit-norm"},
			align.Center{}, align.Standardize{}, align.UnitNorm{})
		if err != nil {
			return nil, one("prep", s, "center", "standardize", "unit-norm", "pca:K")
		}
		preps = append(preps, p)
	}
	return choose[align.Features]("features", r.Features, []string{"activations", "weights"},
		align.Activations{Prep: preps}, align.Weights{Prep: preps})
}
