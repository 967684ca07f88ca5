package modeltest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/otfuse/otfuse/models"
)

// TestArchitecture runs the laws of this library on an architecture of anybody
// at one configuration, which should be small: two layers, some eight units. It
// draws models with random gains and biases and computes them in float64. The
// laws build on each other, so that the first that does not hold ends the test:
//
//   - graph: every part of every tensor belongs to one node.
//   - inputs: what a batch may not hold is refused: sizes, kinds, ids, labels.
//   - relabelling: units in another order compute the same.
//   - mutations: an axis that is wrong anywhere does not go unnoticed.
//   - recovery: exact transport carries a relabelled copy back onto the model.
//   - matching: models that are matched compute what they did.
//   - weights: all weight on the anchor gives the anchor, and others commute.
//   - parameters: tensors of the wrong length or with values that are not finite
//     are refused.
//   - checkpoint: what is saved is opened bit for bit, also with a configuration
//     that was changed, and tensors that do not fit are named.
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

// A law returns what speaks against it. It may write to the directory.
type law struct {
	name  string
	check func(ctx context.Context, s subject, dir string) error
}

// holds runs a law. A panic speaks against the architecture as well: axes that
// contradict the shapes of parameters end in one.
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
		{"recovery", recoveryLaw}, {"matching", matchingLaw}, {"weights", weightsLaw}, {"parameters", parametersLaw},
		{"checkpoint", checkpointLaw},
	}
}

// A subject is what the laws are about.
type subject struct {
	arch   models.Architecture
	config models.Config
	model  *models.Model
	batch  models.Batch
	logits []float64 // of the model on the batch
	library
}

// A library is what is asked to refuse things. Tests put in one that does not.
type library struct {
	bind     func(models.Architecture, models.Config, models.Params) (*models.Model, error)
	complete func(*models.Model, models.Batch) (models.Batch, error)
}

// samples is the size of batches that logits are compared on.
const samples = 3

// minSpread is how far apart logits have to be for a comparison of them to tell
// anything.
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
	s := subject{arch, c, m, b, Logits(m, b), library{models.New, (*models.Model).Complete}}
	if spread := slices.Max(s.logits) - slices.Min(s.logits); !(spread > minSpread) {
		return s, fmt.Errorf("modeltest: logits lie within %.2g of each other: every law about them would hold", spread)
	}
	return s, nil
}

// spread is how far apart the logits are, at least 1: what errors are relative
// to.
func (s subject) spread() float64 {
	return max(1, slices.Max(s.logits)-slices.Min(s.logits))
}
