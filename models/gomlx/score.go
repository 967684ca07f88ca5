package gomlx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	gx "github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/models"
)

// A Score says how well a network, or several as an ensemble, does. What its numbers are
// depends on what the logits mean.
//
// Of [models.SingleLabel], Accuracy is the share of the labels that are the most likely
// class, and Loss the mean cross entropy in nats. Of [models.MultiLabel], Accuracy is the
// share of the classes of all samples that are told right, being likelier than not where
// their label is above a half, and Loss the mean binary cross entropy in nats. Of
// [models.Regression], Accuracy is 0 and Loss the mean squared error.
type Score struct {
	Accuracy float64
	Loss     float64
	Count    int    // labels that counted; samples, where a sample has several
	Problem  string // what the logits mean; "" for models.SingleLabel
}

// Add returns the score on the labels of both.
func (s Score) Add(t Score) Score {
	n := s.Count + t.Count
	if n == 0 {
		return Score{}
	}
	a, b := float64(s.Count)/float64(n), float64(t.Count)/float64(n)
	return Score{a*s.Accuracy + b*t.Accuracy, a*s.Loss + b*t.Loss, n, cmp.Or(s.Problem, t.Problem)}
}

// ErrNoLabels reports data on which nothing can be scored.
var ErrNoLabels = errors.New("gomlx: no label counts")

// Evaluate scores a network on labelled data, size samples at a time. Several
// networks are scored as their ensemble, the mean of their probabilities or numbers.
func (d *Device) Evaluate(ctx context.Context, data models.Batch, size int, ms ...*models.Model) (Score, error) {
	done, err := d.acquire()
	if err != nil {
		return Score{}, err
	}
	defer done()
	run, err := d.scoreLabels(ctx, data, size, ms...)
	if err != nil {
		return Score{}, err
	}
	s := Score{Problem: ms[0].ProblemType()}
	for i, target := range run.targets {
		if target >= 0 {
			s.Accuracy += float64(run.right[i])
			s.Loss += float64(run.loss[i])
			s.Count++
		}
	}
	if s.Count == 0 {
		return Score{}, ErrNoLabels
	}
	s.Accuracy /= float64(s.Count)
	s.Loss /= float64(s.Count)
	return s, nil
}

// FilterByLoss returns the samples whose loss is strictly below a bound, in nats, in
// every one of the models; the loss of a sample is the mean over its labels.
func (d *Device) FilterByLoss(
	ctx context.Context, data models.Batch, bound float64, ms ...*models.Model,
) (models.Batch, error) {
	done, err := d.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	n := data.Len()
	if _, ok := data[models.Labels]; !ok || n == 0 {
		return nil, fmt.Errorf("gomlx: filtering by loss: %w", ErrNoLabels)
	}
	keep := make([]int, 0, n)
	worst := make([]float64, n)
	for _, m := range ms {
		run, err := d.scoreLabels(ctx, data, min(n, 50), m)
		if err != nil {
			return nil, err
		}
		per := len(run.targets) / n
		for i := range n {
			var sum, count float64
			for k := i * per; k < (i+1)*per; k++ {
				if run.targets[k] >= 0 {
					sum += float64(run.loss[k])
					count++
				}
			}
			worst[i] = max(worst[i], sum/max(count, 1))
		}
	}
	for i, v := range worst {
		if v < bound {
			keep = append(keep, i)
		}
	}
	if len(keep) == 0 {
		return nil, fmt.Errorf("gomlx: none of %d samples has a loss below %g in every model", n, bound)
	}
	return data.Pick(keep), nil
}

// A scoring is a run of models over labelled data.
type scoring struct {
	device      *Device
	program     *program
	models      []*models.Model
	params      [][]*array // of each model
	targets     []int32    // what each of the logits should be; negative where it does not count
	right, loss []float32  // of every target so far: 1 where it is the most likely class, 0 else; nats
}

// scoreLabels scores every label. The parameters of the models are freed when it
// returns.
func (d *Device) scoreLabels(
	ctx context.Context, data models.Batch, size int, ms ...*models.Model,
) (s *scoring, err error) {
	if data.Len() == 0 || size <= 0 || len(ms) == 0 {
		return nil, fmt.Errorf("gomlx: scoring %d models on %d samples, %d at a time", len(ms), data.Len(), size)
	}
	s = &scoring{device: d, models: ms}
	defer func() {
		for _, p := range s.params {
			err = errors.Join(err, free(p...))
		}
	}()
	if data, err = s.start(ctx, data); err != nil {
		return s, err
	}
	size = d.mesh.filledUp(min(size, data.Len()))
	for from := 0; from < data.Len(); from += size {
		if err := ctx.Err(); err != nil {
			return s, located("scoring", err)
		}
		to := min(from+size, data.Len())
		if err := s.add(ctx, data.Slice(from, to).Pad(size), to-from); err != nil {
			return s, err
		}
	}
	return s, nil
}

// start checks and uploads the models and returns the data with all that they
// read.
func (s *scoring) start(ctx context.Context, data models.Batch) (models.Batch, error) {
	if err := usable(s.models...); err != nil {
		return nil, err
	}
	for i, m := range s.models {
		if first := s.models[0]; m.Classes() != first.Classes() {
			return nil, fmt.Errorf("gomlx: scoring: model 0 has %d classes, model %d has %d", first.Classes(), i, m.Classes())
		} else if a, b := first.ProblemType(), m.ProblemType(); a != b {
			return nil, fmt.Errorf("gomlx: scoring: the problem_type of model 0 is %s, that of model %d is %s", a, i, b)
		} else if m.PredictsNext() != first.PredictsNext() {
			return nil, fmt.Errorf("gomlx: scoring: of model 0 and model %d only one predicts the next token", i)
		}
		var err error
		if data, err = completed(m, data); err != nil {
			return nil, err
		}
		params, err := s.device.upload(ctx, m)
		if err != nil {
			return nil, err
		}
		s.params = append(s.params, params)
	}
	data = withTargets(s.models[0], data)
	s.targets = data[models.Labels].Ints
	if data[models.Labels].Floats != nil {
		s.targets = make([]int32, data.Len()) // all count
	}
	c := criterionOf(s.models[0])
	s.program = s.device.cached("score "+s.models[0].ProblemType(), "scoring", computation{
		func(in []*gx.Node) []*gx.Node { return scoreGraph(c, in[0], in[1:]) }, likeFirst(2)})
	return data, nil
}

// add scores a batch, of which the first so many samples count.
func (s *scoring) add(ctx context.Context, batch models.Batch, count int) error {
	in, err := s.device.uploadBatch(batch, []string{models.Labels})
	if err != nil {
		return err
	}
	for i, m := range s.models {
		logits, err := s.device.forward(ctx, m, s.params[i], batch)
		if err != nil {
			return errors.Join(err, free(in...))
		}
		in = append(in, logits)
	}
	out, err := s.program.call(ctx, arguments(in)...)
	if err = errors.Join(err, free(in...)); err != nil {
		return err
	}
	for i, all := range []*[]float32{&s.right, &s.loss} {
		v, err := valuesOf[float32](out[i])
		if err != nil {
			return located("scoring", errors.Join(err, free(out...)))
		}
		*all = append(*all, v[:len(v)/batch.Len()*count]...)
	}
	return free(out...)
}

// scoreGraph compares the logits of models with labels → right, loss of every label.
func scoreGraph(c criterion, labels *gx.Node, logits []*gx.Node) []*gx.Node {
	answers := meanAnswer(c, logits, slices.Repeat([]float64{1 / float64(len(logits))}, len(logits)))
	target := c.target(logits[0], labels, 0)
	loss := c.lossesOf(answers, target)
	if len(logits) == 1 {
		loss = c.losses(logits[0], target)
	}
	return []*gx.Node{c.right(answers, labels), loss}
}
