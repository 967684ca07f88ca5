package fuse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/models"
)

// Settings hold for every [Method]. The zero value, and a nil *Settings, means
// equal weights, no calibration data and no refit.
type Settings struct {
	Weights     []float64             // anchor first, then each other model; 0 to 1, sum 1; nil means equal
	Extrapolate bool                  // Weights may be below 0 or above 1, as on the line beyond a model
	Calibration Calibration           // for what needs activations; nil for none
	Refit       *Refit                // follows the mean in [Into]; nil for none
	KeepMaps    bool                  // the report keeps every [NodeReport.Push], units² values each
	Observe     func(models.Progress) // called after each node, round or layer; may be nil

	// Directory is where [Into] writes the fused model, whose tensors then stay there: it
	// returns a model that is linked to it. Nil keeps the fused model in memory.
	Directory *Directory

	// MomentBytes limits the moments of activations that are held at once, in bytes: sites
	// are collected in groups, each by a pass over the samples, of at least one site. 0 means
	// a quarter of the memory that is free. Other groups round otherwise.
	MomentBytes int64
}

// A Calibration collects statistics of activations. models/gomlx has one.
type Calibration interface {
	Collect(ctx context.Context, src, anchor *models.Model, want align.Request) (*align.Statistics, error)
}

// ErrNoCalibration reports an aligner, a residual policy or a refit that needs
// activations where Settings.Calibration is nil.
var ErrNoCalibration = errors.New("calibration data is needed and none was given: set Settings.Calibration")

// withDefaults fills in the weights of n models and an observer.
func (s *Settings) withDefaults(n int) (Settings, error) {
	var c Settings
	if s != nil {
		c = *s
	}
	var err error
	if c.Weights, err = modelWeights(c.Weights, n); err == nil && !c.Extrapolate && slices.Min(c.Weights) < 0 {
		err = fmt.Errorf("weights %v: %w; set Extrapolate if that is meant", c.Weights, errNegative)
	}
	if err == nil && c.MomentBytes < 0 {
		err = fmt.Errorf("MomentBytes is %d, want at least 0", c.MomentBytes)
	}
	if err == nil && c.Refit != nil {
		err = c.Refit.check(c.Calibration)
	}
	if err != nil {
		return c, fmt.Errorf("fuse: %w", err)
	}
	return c, nil
}

// observe tells the observer, if there is one, how far a stage has come.
func (s Settings) observe(stage, item string, done, total int) {
	if s.Observe != nil {
		s.Observe(models.Progress{Stage: stage, Item: item, Done: done, Total: total})
	}
}

// kept returns what the report keeps of a node.
func (s Settings) kept(r NodeReport) NodeReport {
	if !s.KeepMaps {
		r.push = nil
	}
	return r
}

// ErrWeights reports weights that are not one for each model, do not sum to 1, or are
// beyond a thousand. It also reports those below 0, unless Settings.Extrapolate says
// that they are meant.
var ErrWeights = errors.New("weights must be finite, one for each model, and sum to 1")

// errNegative is ErrWeights for a weight below 0.
var errNegative = fmt.Errorf("one is below 0: %w", ErrWeights)

// maxWeight is the largest weight of a model. A mean of float32 tensors with larger
// ones is rounding, or infinite.
const maxWeight = 1000

// modelWeights returns the weights of n models.
func modelWeights(w []float64, n int) ([]float64, error) {
	if w == nil {
		w = make([]float64, n)
		for i := range w {
			w[i] = 1 / float64(n)
		}
	}
	var sum float64
	for _, v := range w {
		if sum += v; !(math.Abs(v) <= maxWeight) { // NaN is not
			return nil, fmt.Errorf("weights %v, at most %d each: %w", w, maxWeight, ErrWeights)
		}
	}
	if len(w) != n || !(math.Abs(sum-1) <= 1e-6) {
		return nil, fmt.Errorf("weights %v for %d models: %w", w, n, ErrWeights)
	}
	return w, nil
}
