package modeltest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/otfuse/otfuse/models"
)

// TestArchitecture runs the laws of the library on an architecture. The
// configuration should be small, such as two layers of eight units. Models are
// drawn with random gains and biases and computed in float64, without accelerator.
//
// The laws build on each other, so the first that does not hold ends the test:
//
//   - graph: every part of every tensor belongs to exactly one node.
//   - inputs: batches with wrong sizes, kinds, ids or labels are refused.
//   - relabelling: permuting the units of every space leaves the logits unchanged.
//   - mutations: a wrong axis of any parameter would break the law of relabelling.
//   - groups: every map that the group of a space grants leaves the logits unchanged,
//     and one beyond it changes them.
//   - recovery: exact transport carries a relabelled copy back onto the model.
//   - matching: a model computes the same after matching as before.
//   - weights: an anchor of weight 1 is the result, and others may come in any order.
//   - parameters: tensors of a wrong length, shape or name and values that are not
//     finite are refused.
//   - checkpoint: a saved model is opened bit for bit, with the configuration that it
//     was saved with, be it changed or not.
func TestArchitecture(t *testing.T, arch models.Architecture, c models.Config) {
	t.Helper()
	s, err := newSubject(arch, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, law := range laws() {
		held := t.Run(law.name, func(t *testing.T) {
			if err := law.holds(t.Context(), s, t.TempDir()); err != nil {
				t.Error(err)
			}
		})
		if !held {
			return
		}
	}
}

// A law reports how a subject breaks it. It may write to the directory.
type law struct {
	name  string
	check func(ctx context.Context, s subject, dir string) error
}

// holds runs a law and turns a panic into an error, since axes that contradict the
// shapes of their parameters end in one.
func (l law) holds(ctx context.Context, s subject, dir string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return l.check(ctx, s, dir)
}

func laws() []law {
	return []law{
		{"graph", graphLaw}, {"inputs", inputsLaw}, {"relabelling", relabellingLaw}, {"mutations", mutationsLaw},
		{"groups", groupsLaw},
		{"recovery", recoveryLaw}, {"matching", matchingLaw}, {"weights", weightsLaw}, {"parameters", parametersLaw},
		{"checkpoint", checkpointLaw},
	}
}

// A subject is the model that laws are tested on.
type subject struct {
	arch    models.Architecture
	config  models.Config
	model   *models.Model
	batch   models.Batch
	outputs []float64 // of the model on the batch, those of further heads too
	library
}

// A library holds the functions that must refuse invalid data. The tests of the
// laws put in functions that accept everything.
type library struct {
	bind     func(models.Architecture, models.Config, models.Params) (*models.Model, error)
	complete func(*models.Model, models.Batch) (models.Batch, error)
}

// samples is the number of samples that logits are compared on.
const samples = 3

// minSpread is the least spread of logits at which comparing them means anything.
const minSpread = 1e-3

func newSubject(arch models.Architecture, c models.Config) (subject, error) {
	m, err := Random(arch, c, 1)
	if err != nil {
		return subject{}, err
	}
	b, err := Batch(m, samples, 2)
	if err != nil {
		return subject{}, err
	}
	s := subject{arch, c, m, b, Outputs(m, b), library{models.New, (*models.Model).Complete}}
	if spread := slices.Max(s.outputs) - slices.Min(s.outputs); !(spread > minSpread) {
		return s, fmt.Errorf("modeltest: logits lie within %.2g of each other: every law about them would hold", spread)
	}
	return s, nil
}

// spread returns the range of the logits, at least 1. Tolerances are relative to it.
func (s subject) spread() float64 {
	return max(1, slices.Max(s.outputs)-slices.Min(s.outputs))
}
