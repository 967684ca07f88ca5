package gomlx

import (
	"context"
	"errors"

	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Trainer holds a model in training: parameters and both moments of AdamW,
// on the device between updates. It serves one goroutine at a time.
type Trainer struct {
	descent
	model    *models.Model
	inputs   []string // of a batch, labels last where they are learned from
	teachers []*models.Model
}

// Trainer returns a trainer that starts from the parameters of m.
func (d *Device) Trainer(m *models.Model, c TrainConfig) (*Trainer, error) {
	done, err := d.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	t := &Trainer{model: m, inputs: append(m.Graph.Inputs(), models.Labels)}
	params, err := upload(m)
	if err != nil {
		return nil, err
	}
	t.descent = descent{device: d, config: c, loss: t.lossGraph, decayed: decays(m.Graph)}
	return t.ready(params)
}

// Distiller returns a trainer that starts from m and learns, in place of
// labels, what teachers of the same inputs and classes answer in the mean
// (Hinton, Vinyals and Dean, 2015, at temperature 1). TrainConfig.Smoothing has no
// part in it.
func (d *Device) Distiller(m *models.Model, teachers []*models.Model, c TrainConfig) (*Trainer, error) {
	done, err := d.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	if len(teachers) == 0 {
		return nil, errors.New("gomlx: nobody to learn from")
	}
	t := &Trainer{model: m, inputs: m.Graph.Inputs(), teachers: teachers}
	t.descent = descent{device: d, config: c, loss: t.softGraph, decayed: decays(m.Graph)}
	for _, m := range teachers {
		ts, err := upload(m)
		if err != nil {
			return nil, errors.Join(err, t.release())
		}
		t.fixed = append(t.fixed, ts...)
	}
	params, err := upload(m)
	if err != nil {
		return nil, errors.Join(err, t.release())
	}
	return t.ready(params)
}

// ready opens the descent of a new trainer.
func (t *Trainer) ready(params []*tensors.Tensor) (*Trainer, error) {
	if err := t.open(params); err != nil {
		return nil, errors.Join(err, t.release())
	}
	return t, nil
}

// Reset starts anew from the parameters of m, which must be of the same
// architecture and size. Nothing is compiled again.
func (t *Trainer) Reset(m *models.Model) error {
	done, err := t.acquire()
	if err != nil {
		return err
	}
	defer done()
	if signature(m.Graph) != signature(t.model.Graph) {
		return errors.New("gomlx: a trainer cannot be reset to a model of another size or architecture")
	}
	params, err := upload(m)
	if err != nil {
		return err
	}
	t.model = m
	return t.start(params)
}

// Step returns the number of updates made.
func (t *Trainer) Step() int { return t.step }

// Update makes one update from TrainConfig.Accumulate batches of equal size, each
// with its labels but for a distiller, and returns their mean loss in nats.
func (t *Trainer) Update(ctx context.Context, batches ...models.Batch) (float64, error) {
	var fit []models.Batch
	for _, batch := range batches {
		batch, err := fitting(t.model, batch)
		if err != nil {
			return 0, err
		}
		fit = append(fit, batch)
	}
	return t.descend(ctx, t.inputs, fit)
}

// Model returns the model as trained so far.
func (t *Trainer) Model() (*models.Model, error) {
	done, err := t.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	p, err := download(t.model.Graph, t.params(), t.model.Params)
	if err != nil {
		return nil, err
	}
	return t.model.With(p), nil
}

// Close frees the memory of the trainer on the device.
func (t *Trainer) Close() error { return t.close() }

// lossGraph is the mean loss of a batch.
func (t *Trainer) lossGraph(batch, params []*gx.Node) *gx.Node {
	k := len(t.inputs) - 1
	values := interpret(t.model.Graph, zip(names(t.model.Graph), params), zip(t.inputs[:k], batch[:k]))
	return crossEntropy(values[len(values)-1], batch[k], t.config.Smoothing)
}

// softGraph is the mean loss of a batch and the parameters of the teachers.
func (t *Trainer) softGraph(batch, params []*gx.Node) *gx.Node {
	k := len(t.inputs)
	inputs := zip(t.inputs, batch[:k])
	var answers []*gx.Node
	for _, m := range t.teachers {
		all := names(m.Graph)
		answers = append(answers, last(interpret(m.Graph, zip(all, batch[k:k+len(all)]), inputs)))
		k += len(all)
	}
	logits := last(interpret(t.model.Graph, zip(names(t.model.Graph), params), inputs))
	return gx.ReduceAllMean(entropies(logits, opinion(answers)))
}

// opinion is the mean of the probabilities of logits, a constant.
func opinion(logits []*gx.Node) *gx.Node {
	p := gx.ZerosLike(logits[0])
	for _, l := range logits {
		p = gx.Add(p, gx.DivScalar(gx.Softmax(l, -1), float64(len(logits))))
	}
	return gx.StopGradient(p)
}

// entropies are the cross-entropies in nats [..] of logits [.., classes] with
// probabilities of the same shape.
func entropies(logits, target *gx.Node) *gx.Node {
	return gx.ConvertDType(gx.Neg(gx.ReduceSum(gx.Mul(target, gx.LogSoftmax(logits, -1)), -1)), dtypes.Float32)
}

func last(values []*gx.Node) *gx.Node { return values[len(values)-1] }

// decays says which tensors weight decay holds for: matrices, not biases,
// norms and tables.
func decays(g *graph.Graph) []bool {
	by := map[string]bool{}
	for _, p := range g.Params() {
		by[p.Name] = p.Role == graph.RoleWeight
	}
	var out []bool
	for _, name := range names(g) {
		out = append(out, by[name])
	}
	return out
}

// crossEntropy is the mean loss in nats of logits [.., classes] over the labels
// [..] that are not models.Ignore.
func crossEntropy(logits, labels *gx.Node, smoothing float64) *gx.Node {
	target := classes(logits, labels)
	if smoothing > 0 {
		target = gx.AddScalar(gx.MulScalar(target, 1-smoothing), smoothing/float64(logits.Shape().Dim(-1)))
	}
	return meanOver(labels, entropies(logits, target))
}

// classes says of every class whether it is the label: 1 or 0 [.., classes].
func classes(logits, labels *gx.Node) *gx.Node {
	return gx.OneHot(gx.MaxScalar(labels, 0), logits.Shape().Dim(-1), dtypes.Float32)
}

// meanOver is the mean of values [..] over the labels that are not models.Ignore.
func meanOver(labels, values *gx.Node) *gx.Node {
	keep := gx.ConvertDType(gx.GreaterOrEqual(labels, gx.ScalarZero(labels.Graph(), labels.DType())), dtypes.Float32)
	return gx.Div(gx.ReduceAllSum(gx.Mul(values, keep)), gx.MaxScalar(gx.ReduceAllSum(keep), 1))
}
