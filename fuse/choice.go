package fuse

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// choices are the methods of which a nil method takes the best, with the settings that it
// adds to those that are given.
func choices(anchor *models.Model, others []*models.Model, s Settings) ([]Method, Settings) {
	matching := []Method{matchingFor(s)}
	if _, ok := s.Calibration.(*Parts); ok || s.Calibration == nil { // parts know nothing of a fused model
		return matching, s
	}
	if s.Refit == nil {
		s.Refit = &Refit{Ridge: defaultRidge}
	}
	sideBySide := Concatenation{}
	if anchor.Graph.Head() == nil || sideBySide.Check(anchor, others, &s) != nil {
		return matching, s
	}
	for _, m := range others {
		if m.Dims() != anchor.Dims() {
			return matching, s
		}
	}
	return append(matching, sideBySide), s
}

// matchingFor is the alignment that is used where no method is given.
func matchingFor(s Settings) Matching {
	if s.Calibration == nil {
		return Matching{}
	}
	return Matching{Mix: defaultMix}
}

// defaultMix is the share of activations beside weights that did best on the
// vision transformers and language models that it was tried on.
const defaultMix = 0.3

// defaultRidge is that of the refit of a nil method. From a tenth to ten times as much
// does about as well.
const defaultRidge = 0.01

// A choice is what a method made.
type choice struct {
	method  Method
	aligned *Aligned
	fused   *models.Model
}

// closest fuses models by each of some methods and returns what answers most like the mean
// of all models.
func closest(ctx context.Context, methods []Method, anchor *models.Model, others []*models.Model, s Settings) (choice,
	error) {
	var best choice
	var least float64
	for _, m := range methods {
		aligned, fused, err := fusedBy(ctx, m, anchor, others, s)
		if err != nil {
			return choice{}, err
		}
		var distance float64
		if len(methods) > 1 {
			if distance, err = answerDistance(ctx, fused, append([]*models.Model{anchor}, others...), s); err != nil {
				return choice{}, fmt.Errorf("fuse: %T: %w", m, err)
			}
		}
		if best.method == nil || distance < least {
			best, least = choice{m, aligned, fused}, distance
		}
	}
	return best, nil
}

// answerDistance returns, in the mean over samples, the squared distance of the logits of a
// fused model from the weighted mean of those of all models, less what is the same for
// every fused model.
func answerDistance(ctx context.Context, fused *models.Model, all []*models.Model, s Settings) (float64, error) {
	request := align.Request{Sites: [][]*graph.Node{{fused.Graph.Head()}}, Self: true}
	var own, shared float64
	for k, m := range all {
		stats, err := s.Calibration.Collect(ctx, m, fused, request)
		if err != nil {
			return 0, err
		}
		moments := stats.Moments[0]
		own = mat.Trace(moments.Self)/moments.N + floats.Dot(moments.MeanY, moments.MeanY)
		shared += s.Weights[k] * (mat.Trace(moments.Cross)/moments.N + floats.Dot(moments.MeanX, moments.MeanY))
	}
	return own - 2*shared, nil
}
