package gomlx

import (
	"context"
	"errors"
	"fmt"
	"slices"

	gx "github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/models"
)

// Student returns a trainer that starts from m and learns, in place of labels,
// the mean of the probabilities that teachers answer (Hinton, Vinyals and Dean,
// 2015, at temperature 1), or of the numbers where they answer in numbers. Weights,
// one for each teacher, are those of the mean;
// nil means equal. Teachers must read the inputs of m and answer in its classes;
// widths, depths and architectures may differ. Smoothing of the [TrainConfig] has
// no effect. Where batches have labels, positions whose label is models.Ignore
// count in no loss; the labels are not looked at otherwise.
func (d *Device) Student(
	m *models.Model, teachers []*models.Model, weights []float64, c TrainConfig,
) (*Trainer, error) {
	done, err := d.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	if len(teachers) == 0 {
		return nil, errors.New("gomlx: distillation without teachers")
	}
	if weights == nil {
		weights = slices.Repeat([]float64{1 / float64(len(teachers))}, len(teachers))
	}
	if len(weights) != len(teachers) {
		return nil, fmt.Errorf("gomlx: %d weights of %d teachers", len(weights), len(teachers))
	}
	if err := usable(m); err != nil {
		return nil, err
	}
	t := &Trainer{network: m, model: m, inputs: m.Graph.Inputs(), teachers: teachers, weights: weights}
	t.optimizer = optimizer{device: d, what: m.Arch.Class, config: c,
		loss: t.distillationGraph, decaying: decayingTensors(m.Graph)}
	for i, teacher := range teachers {
		err := teaches(teacher, m)
		if err == nil {
			params, failed := d.upload(context.Background(), teacher)
			t.fixed, err = append(t.fixed, params...), failed
		}
		if err != nil {
			return nil, errors.Join(located(fmt.Sprintf("teacher %d", i), err), t.release())
		}
	}
	params, err := d.upload(context.Background(), m)
	if err != nil {
		return nil, errors.Join(err, t.release())
	}
	return t.ready(params)
}

// teaches reports why one model cannot teach another.
func teaches(teacher, m *models.Model) error {
	if err := usable(teacher); err != nil {
		return err
	}
	theirs, own := slices.Sorted(slices.Values(teacher.Graph.Inputs())), slices.Sorted(slices.Values(m.Graph.Inputs()))
	if !slices.Equal(theirs, own) {
		return fmt.Errorf("%s reads %v, and %s reads %v", teacher.Arch.Class, theirs, m.Arch.Class, own)
	}
	if !teacher.Graph.HasLogits() || !m.Graph.HasLogits() {
		return fmt.Errorf("%s teaches %s: both must put out logits, not features", teacher.Arch.Class, m.Arch.Class)
	}
	if a, b := teacher.ProblemType(), m.ProblemType(); a != b {
		return fmt.Errorf("the problem_type of %s is %s, and that of %s is %s", teacher.Arch.Class, a, m.Arch.Class, b)
	}
	if teacher.Classes() != m.Classes() {
		return fmt.Errorf("%s has %d classes, and %s has %d",
			teacher.Arch.Class, teacher.Classes(), m.Arch.Class, m.Classes())
	}
	for _, in := range m.Inputs {
		if other, ok := teacher.Input(in.Name); ok && !slices.Equal(in.Shape, other.Shape) {
			return fmt.Errorf("%s of shape %v is read by %s, of shape %v by %s",
				in.Name, other.Shape, teacher.Arch.Class, in.Shape, m.Arch.Class)
		}
	}
	return nil
}

// distillationGraph is the mean loss of a batch, with labels or without, and the
// parameters of the teachers.
func (t *Trainer) distillationGraph(batch, params []*gx.Node) *gx.Node {
	k := len(t.inputs)
	inputs := byName(t.inputs, batch[:k])
	labels := batch[k : len(batch)-len(t.fixed)]
	k += len(labels)
	var answers []*gx.Node
	for _, m := range t.teachers {
		all := tensorNames(m.Graph)
		answers = append(answers, logitsOf(interpret(m.Graph, byName(all, batch[k:k+len(all)]), inputs)))
		k += len(all)
	}
	logits := logitsOf(interpret(t.network.Graph, t.rounded(params), inputs))
	c := criterionOf(t.network)
	losses := c.losses(logits, gx.StopGradient(meanAnswer(c, answers, t.weights)))
	if len(labels) > 0 {
		return meanOver(labels[0], losses)
	}
	return gx.ReduceAllMean(losses)
}
