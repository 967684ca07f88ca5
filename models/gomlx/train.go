package gomlx

import (
	"context"
	"errors"
	"slices"

	gx "github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Trainer holds a model in training: parameters and both moments of AdamW,
// on the device between updates. It serves one goroutine at a time.
type Trainer struct {
	optimizer
	network  *models.Model // that graphs are made of
	model    *models.Model // whose parameters it starts from; of the same graph
	inputs   []string      // of a batch, labels last where they are learned from
	teachers []*models.Model
	data     string    // what the batches are of: see [FitOptions]
	memory   *memory   // what checkpoints keep beside the state; nil for nothing
	weights  []float64 // of the teachers
}

// Trainer returns a trainer that starts from the parameters of m.
func (d *Device) Trainer(m *models.Model, c TrainConfig) (*Trainer, error) {
	done, err := d.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	params, err := d.upload(context.Background(), m)
	if err != nil {
		return nil, err
	}
	t := &Trainer{network: m, model: m, inputs: append(m.Graph.Inputs(), models.Labels)}
	t.optimizer = optimizer{device: d, what: m.Arch.Class, config: c,
		loss: t.lossGraph, decaying: decayingTensors(m.Graph)}
	return t.ready(params)
}

// ready prepares the optimizer of a new trainer.
func (t *Trainer) ready(params []*array) (*Trainer, error) {
	if err := t.prepare(params); err != nil {
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
	if err := t.takes(m); err != nil {
		return located("Reset", err)
	}
	params, err := t.device.upload(context.Background(), m)
	if err != nil {
		return err
	}
	t.model = m
	return t.restart(params)
}

// Move puts the parameters of m, which must be of the same architecture and size, in
// place of those that were reached, and keeps the moments and the number of updates: the
// training goes on from there. So are networks trained that are averaged now and then.
func (t *Trainer) Move(m *models.Model) error {
	done, err := t.acquire()
	if err != nil {
		return err
	}
	defer done()
	if err := t.takes(m); err != nil {
		return located("Move", err)
	}
	params, err := t.device.upload(context.Background(), m)
	if err != nil {
		return err
	}
	t.model = m
	old := slices.Clone(t.params())
	copy(t.state, params)
	return free(old...)
}

// takes reports why the trainer cannot go on from m.
func (t *Trainer) takes(m *models.Model) error {
	if err := usable(m); err != nil {
		return err
	}
	if signature(m.Graph) != signature(t.model.Graph) || m.ProblemType() != t.model.ProblemType() {
		return errors.New("the model is of another size, architecture or problem type than the trainer")
	}
	return nil
}

// Step returns the number of updates made.
func (t *Trainer) Step() int { return t.step }

// Update makes one update from TrainConfig.Accumulate batches of equal size, each
// with its labels but for a distiller, and returns their mean loss in nats. Where ctx
// ends before the device is done, the update is not made and the trainer is as before.
func (t *Trainer) Update(ctx context.Context, batches ...models.Batch) (float64, error) {
	var fit []models.Batch
	for _, batch := range batches {
		batch, err := completed(t.model, batch)
		if err != nil {
			return 0, err
		}
		fit = append(fit, withTargets(t.model, batch))
	}
	return t.update(ctx, t.reads(fit[0]), fit)
}

// reads lists the arrays of a batch that the trainer looks at.
func (t *Trainer) reads(batch models.Batch) []string {
	if _, labelled := batch[models.Labels]; labelled && t.teachers != nil {
		return append(slices.Clip(t.inputs), models.Labels)
	}
	return t.inputs
}

// Loss returns the mean loss in nats of a batch at the parameters as they are, with
// labels or answers of teachers as for [Trainer.Update]. It changes nothing.
func (t *Trainer) Loss(ctx context.Context, batch models.Batch) (float64, error) {
	batch, err := completed(t.model, batch)
	if err != nil {
		return 0, err
	}
	return t.lossOf(ctx, t.reads(batch), withTargets(t.model, batch))
}

// Model returns the model as trained so far.
func (t *Trainer) Model() (*models.Model, error) {
	values, err := t.values()
	if err != nil {
		return nil, err
	}
	return t.modelOf(values), nil
}

// modelOf is the model with such parameters.
func (t *Trainer) modelOf(values [][]float32) *models.Model {
	p := models.Params{}
	for i, name := range tensorNames(t.model.Graph) {
		shape := t.params()[i].Shape().Clone().Dimensions
		p[name] = models.Tensor{DType: t.model.Params[name].DType, Shape: shape, Data: values[i]}
	}
	return t.model.With(p)
}

// Close frees the memory of the trainer on the device.
func (t *Trainer) Close() error { return t.close() }

// decayingTensors says which tensors weight decay holds for: matrices, not biases,
// norms and tables.
func decayingTensors(g *graph.Graph) []bool {
	by := map[string]bool{}
	for _, p := range g.Params() {
		by[p.Name] = p.Role == graph.RoleWeight
	}
	var out []bool
	for _, name := range tensorNames(g) {
		out = append(out, by[name])
	}
	return out
}

// lossGraph is the mean loss of a batch.
func (t *Trainer) lossGraph(batch, params []*gx.Node) *gx.Node {
	k := len(t.inputs) - 1
	values := interpret(t.network.Graph, t.rounded(params), byName(t.inputs[:k], batch[:k]))
	c, logits, labels := criterionOf(t.network), logitsOf(values), batch[k]
	return meanOver(labels, c.losses(logits, c.target(logits, labels, t.config.Smoothing)))
}

// rounded are the parameters by name, as products read them.
func (t *Trainer) rounded(params []*gx.Node) nodes {
	return t.config.Precision.rounded(t.network.Graph, byName(tensorNames(t.network.Graph), params))
}
