package gomlx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Learner refines the maps of fuse.Matching by gradient descent on the loss of
// weighted means of the aligned models. It is a fuse.Learner, made by
// [Device.Learner].
//
// Each update draws weights of the models from 0.8 to 1.2 and divides them by
// their sum; those of two models lie between 0.4 and 0.6. The loss is the
// cross-entropy of the mean model with the mean of the probabilities that the
// models answer or, where the first batch has labels, half with that and half with
// the labels. Only rotations of residual streams and invertible maps within heads
// change, so the models compute what they did before, fuse.Matching.Inexact aside.
//
// Theus et al., "Generalized linear mode connectivity for transformers" (NeurIPS
// 2025).
type Learner struct {
	device *Device

	Config TrainConfig // Steps 0 means 250, LR 0 means 1e-2
	Seed   uint64      // of the weights that are drawn

	// Batches are of the inputs of the models, with labels or without. What counts is
	// the number of samples: all training images without labels, augmented as they were
	// in training, serve as well as with their labels. Of a few samples, data.Views
	// makes batches that do not run out.
	Batches Batches

	// HeldOut are samples that no map is learned on, with labels where batches have
	// them. The mean of the models, with equal weights, is scored on them before the
	// first update and now and then after that, and the maps that did best are what
	// Learn returns. Nil returns the last maps.
	HeldOut models.Batch

	Every    int                   // updates between two scores; 0 means a tenth of all
	Patience int                   // scores without gain that end the learning; 0 means never
	Observe  func(models.Progress) // told after each update and each score; nil for nobody

	// Checkpoint is a file with the state of the learning, which is kept and which Learn
	// resumes from as [Fit] does; empty for none. Data says what Batches and HeldOut are of,
	// such as a digest of all samples; the models tell themselves apart.
	Checkpoint, Data string
}

// StageLearn is the Stage under which a [Learner] reports.
const StageLearn = "learning maps"

// Learner returns a learner on the device.
func (d *Device) Learner(batches Batches) *Learner { return &Learner{device: d, Batches: batches} }

// weightsInput is the name under which a batch holds the weights of the models,
// [samples, models], the same for every sample.
const weightsInput = "weights of the models"

// A learningRun is one call of Learn. Its parameters are the maps of each model
// but the anchor in turn, one for each space.
type learningRun struct {
	optimizer
	models   []*models.Model // anchor first
	spaces   []graph.Space
	of       []int    // index of the space of each node, -1 for none
	inputs   []string // of a batch: what the network reads, labels if there are any, the weights
	labelled bool
	size     int // samples of a batch
}

// Learn implements fuse.Learner: it returns for each model but the anchor, the
// first, the map [n × n] of every space.
func (l *Learner) Learn(
	ctx context.Context, aligned []*models.Model, spaces []graph.Space,
) (maps [][]*mat.Dense, err error) {
	if err := l.device.check(); err != nil {
		return nil, err
	}
	if l.Batches == nil {
		return nil, located(StageLearn, errors.New("there are no Batches"))
	}
	if err := usable(aligned...); err != nil {
		return nil, located(StageLearn, err)
	}
	run, err := l.start(ctx, aligned, spaces)
	if err != nil {
		return nil, located(StageLearn, err)
	}
	defer func() { err = errors.Join(err, run.close()) }()
	best, err := l.updates(ctx, run)
	if err != nil {
		return nil, located(StageLearn, err)
	}
	return run.mapsOf(best), nil
}

// start readies a run.
func (l *Learner) start(
	ctx context.Context, aligned []*models.Model, spaces []graph.Space,
) (*learningRun, error) {
	g := aligned[0].Graph
	if !g.HasLogits() {
		return nil, fmt.Errorf("%s puts out features, and what is learned from are logits", aligned[0].Arch.Class)
	}
	first, err := l.Batches(0)
	if err != nil {
		return nil, located("batch of step 0", err)
	}
	run := &learningRun{models: aligned, spaces: spaces, of: make([]int, len(g.Nodes)), inputs: g.Inputs(),
		size: first.Len()}
	if _, run.labelled = first[models.Labels]; run.labelled {
		run.inputs = append(run.inputs, models.Labels)
	}
	run.inputs = append(run.inputs, weightsInput)
	for i := range run.of {
		run.of[i] = -1
	}
	for k, s := range spaces {
		for _, n := range s.Nodes {
			run.of[n.ID] = k
		}
	}
	c := l.Config
	c.Steps, c.LR = cmp.Or(c.Steps, 250), cmp.Or(c.LR, 1e-2)
	run.optimizer = optimizer{device: l.device, what: "maps of " + aligned[0].Arch.Class, config: c,
		loss: run.lossGraph, retract: run.retracted}
	run.share()
	for _, m := range aligned {
		params, err := l.device.upload(ctx, m)
		if err != nil {
			return nil, errors.Join(err, run.release())
		}
		run.fixed = append(run.fixed, params...)
	}
	identities, err := run.identities()
	if err == nil {
		err = run.prepare(identities)
	}
	if err != nil {
		return nil, errors.Join(err, run.release())
	}
	return run, nil
}

// updates makes the updates of a run that are left and returns the best parameters, or the
// last.
func (l *Learner) updates(ctx context.Context, run *learningRun) ([][]float32, error) {
	choice := selection{samples: l.HeldOut, size: run.size, every: l.Every, patience: l.Patience,
		steps: run.config.Steps, loss: run.heldOutLoss, values: run.values, observe: l.report}
	if err := choice.check(); err != nil {
		return nil, err
	}
	keep := func() error { return nil }
	if l.Checkpoint != "" {
		state, unlock, err := l.resume(run, &choice.memory)
		if err != nil {
			return nil, err
		}
		defer unlock()
		keep = func() error { return run.save(l.Checkpoint, state) }
	}
	err := l.remaining(ctx, run, &choice, keep)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return choice.best, errors.Join(err, keep())
}

// remaining makes the updates that are left, and keeps the state now and then.
func (l *Learner) remaining(ctx context.Context, run *learningRun, choice *selection, keep func() error) error {
	random := rand.New(rand.NewPCG(l.Seed, 7))
	for step := range run.config.Steps {
		weights := make([][]float32, run.config.Accumulate)
		for i := range weights {
			weights[i] = run.drawWeights(random)
		}
		if step < run.step {
			continue // made before the run was interrupted
		}
		if ended, err := choice.after(ctx, step); ended || err != nil {
			return err
		}
		loss, err := l.update(ctx, run, weights)
		if err != nil {
			return err
		}
		if run.step%updatesBetweenCheckpoints == 0 {
			if err := keep(); err != nil {
				return err
			}
		}
		l.report(models.Progress{Stage: StageLearn, Done: run.step, Total: run.config.Steps, Loss: loss})
	}
	_, err := choice.after(ctx, run.config.Steps)
	return err
}

// resume takes the state of a run from the checkpoint, if there is one. It returns what the
// checkpoint holds beside the state.
func (l *Learner) resume(run *learningRun, found *memory) (c checkpoint, unlock func(), err error) {
	c.memory = found
	for i := range run.parameters {
		c.names = append(c.names, fmt.Sprintf("model %d, map %d", i/len(run.spaces)+1, i%len(run.spaces)))
	}
	of, err := dataOf(l.Data, run.models, "seed ", l.Seed)
	if err == nil {
		c.identity, err = identityOf(run.models[0], run.config, of)
	}
	if err == nil {
		unlock, err = lockCheckpoint(l.Checkpoint)
	}
	if err != nil {
		return c, nil, err
	}
	if err := run.load(l.Checkpoint, c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		unlock()
		return c, nil, err
	}
	return c, unlock, nil
}

// update makes the next update of a run, at such weights for each of its batches.
func (l *Learner) update(ctx context.Context, run *learningRun, weights [][]float32) (float64, error) {
	batches := make([]models.Batch, len(weights))
	for i, row := range weights {
		at := run.step*len(batches) + i
		batch, err := l.Batches(at)
		if err == nil {
			batches[i], err = run.weighted(batch, row)
		}
		if err != nil {
			return 0, located(fmt.Sprintf("batch of step %d", at), err)
		}
	}
	return run.optimizer.update(ctx, run.inputs, batches)
}

func (l *Learner) report(p models.Progress) {
	if l.Observe != nil {
		l.Observe(p)
	}
}

// heldOutLoss is the loss of the mean of the models, with equal weights.
func (run *learningRun) heldOutLoss(ctx context.Context, portion models.Batch) (float64, error) {
	equal := slices.Repeat([]float32{1 / float32(len(run.models))}, len(run.models))
	batch, err := run.weighted(portion, equal)
	if err != nil {
		return 0, err
	}
	return run.lossOf(ctx, run.inputs, batch)
}

// weighted returns a batch with the weights of the models, the same for every sample.
func (run *learningRun) weighted(batch models.Batch, weights []float32) (models.Batch, error) {
	batch, err := completed(run.models[0], batch)
	if err != nil {
		return nil, err
	}
	batch = maps.Clone(withTargets(run.models[0], batch))
	n := batch.Len()
	batch[weightsInput] = models.Array{Shape: []int{n, len(weights)}, Floats: slices.Repeat(weights, n)}
	return batch, nil
}

// drawWeights draws weights of the models.
func (run *learningRun) drawWeights(random *rand.Rand) []float32 {
	row, sum := make([]float32, len(run.models)), float32(0)
	for i := range row {
		row[i] = 0.8 + 0.4*random.Float32()
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
	return row
}

// mapsOf returns parameters as maps.
func (run *learningRun) mapsOf(params [][]float32) [][]*mat.Dense {
	out := make([][]*mat.Dense, len(run.models)-1)
	for i, values := range params {
		s := run.spaces[i%len(run.spaces)]
		n, d, shared := s.Units, s.Units/max(s.Heads, 1), max(s.Shared, 1)
		m := mat.NewDense(n, n, nil)
		for k, v := range values { // [blocks, d, d]
			for h := range shared {
				at := (k/(d*d)*shared + h) * d
				m.Set(at+k/d%d, at+k%d, float64(v))
			}
		}
		out[i/len(run.spaces)] = append(out[i/len(run.spaces)], m)
	}
	return out
}

// identities are the maps to start from, [heads of keys and values, d, d] within
// attention and [1, n, n] elsewhere.
func (run *learningRun) identities() ([]*array, error) {
	var out []*array
	for i := range (len(run.models) - 1) * len(run.spaces) {
		s := run.spaces[i%len(run.spaces)]
		blocks, d := max(s.Heads, 1)/max(s.Shared, 1), s.Units/max(s.Heads, 1)
		eye := make([]float32, blocks*d*d)
		for k := range blocks * d {
			eye[k/d*d*d+k%d*d+k%d] = 1
		}
		a, err := run.device.mesh.kept(tensors.FromFlatDataAndDimensions(eye, blocks, d, d))
		if err != nil {
			return nil, errors.Join(err, free(out...))
		}
		out = append(out, a)
	}
	return out, nil
}
