package mlx

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Recipe says how to train: AdamW (Loshchilov and Hutter, ICLR 2019) with a
// linear warm-up and a cosine schedule. The zero value of a field means what
// its comment says.
type Recipe struct {
	Steps       int     // updates in all
	LR          float64 // peak learning rate
	MinLR       float64 // learning rate at the end
	Warmup      int     // updates of linear warm-up
	WeightDecay float64 // decoupled; spares biases, norms and tables
	Beta1       float64 // 0 means 0.9
	Beta2       float64 // 0 means 0.999
	Eps         float64 // 0 means 1e-8
	Clip        float64 // largest norm of the gradient; 0 means no clipping
	Smoothing   float64 // of the labels, 0 to 1
	Accumulate  int     // batches per update; 0 means 1
}

func (r Recipe) withDefaults() Recipe {
	if r.Beta1 == 0 {
		r.Beta1 = 0.9
	}
	if r.Beta2 == 0 {
		r.Beta2 = 0.999
	}
	if r.Eps == 0 {
		r.Eps = 1e-8
	}
	r.Accumulate = max(r.Accumulate, 1)
	return r
}

// rate returns the learning rate of update step = 0, 1, ….
func (r Recipe) rate(step int) float64 {
	if step < r.Warmup {
		return r.LR * float64(step+1) / float64(r.Warmup)
	}
	done := min(float64(step-r.Warmup)/float64(max(r.Steps-r.Warmup, 1)), 1)
	return r.MinLR + (r.LR-r.MinLR)*(1+math.Cos(math.Pi*done))/2
}

// A Trainer holds a model in training: parameters and both moments of AdamW,
// on the device between updates. It serves one goroutine at a time.
type Trainer struct {
	backend compute.Backend
	model   *models.Model
	recipe  Recipe
	inputs  []string // of a batch, labels last
	step    int
	state   []*tensors.Tensor // parameters, first moments, second moments
	sums    []*tensors.Tensor // gradients of an unfinished accumulation
	add     *gx.Exec          // accumulates gradients
	update  *gx.Exec          // makes an update
}

// ErrDiverged reports a loss that is not finite; the trainer keeps the state
// before the update that made it.
var ErrDiverged = errors.New("mlx: the loss is not finite")

// NewTrainer returns a trainer that starts from the parameters of m.
func NewTrainer(b compute.Backend, m *models.Model, r Recipe) (*Trainer, error) {
	if r.Steps <= 0 || r.LR <= 0 {
		return nil, fmt.Errorf("mlx: a recipe of %d steps at learning rate %g", r.Steps, r.LR)
	}
	t := &Trainer{backend: b, model: m, recipe: r.withDefaults(), inputs: append(m.Graph.Inputs(), models.Labels)}
	var err error
	if t.state, err = fresh(m); err != nil {
		return nil, err
	}
	if t.add, err = gx.NewExec(b, t.addGraph); err != nil {
		return nil, fmt.Errorf("mlx: %w", err)
	}
	if t.update, err = gx.NewExec(b, t.updateGraph); err != nil {
		return nil, fmt.Errorf("mlx: %w", err)
	}
	return t, nil
}

// Reset starts anew from the parameters of m, which must be of the same
// architecture and size. Nothing is compiled again.
func (t *Trainer) Reset(m *models.Model) error {
	if signature(m.Graph) != signature(t.model.Graph) {
		return errors.New("mlx: a trainer cannot be reset to a model of another size or architecture")
	}
	state, err := fresh(m)
	if err != nil {
		return err
	}
	old := t.state
	t.model, t.state, t.step = m, state, 0
	return free(old...)
}

// fresh returns the state of a training that starts at m.
func fresh(m *models.Model) ([]*tensors.Tensor, error) {
	state, err := upload(m.Graph, m.Params)
	if err != nil {
		return nil, err
	}
	params := state
	for range 2 {
		for _, p := range params {
			state = append(state, tensors.FromShape(p.Shape()))
		}
	}
	return state, nil
}

// Step returns the number of updates made.
func (t *Trainer) Step() int { return t.step }

// Update makes one update from Recipe.Accumulate batches of equal size, each
// with its labels, and returns their mean loss in nats.
func (t *Trainer) Update(ctx context.Context, batches ...models.Batch) (float64, error) {
	if len(batches) != t.recipe.Accumulate {
		return 0, fmt.Errorf("mlx: an update takes %d batches, got %d", t.recipe.Accumulate, len(batches))
	}
	n := len(t.state) / 3
	var total float64
	defer func() { _, t.sums = free(t.sums...), nil }() // of an update that was broken off
	for i, batch := range batches {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		batch, err := fitting(t.model, batch)
		if err != nil {
			return 0, err
		}
		in, err := feed(batch, t.inputs)
		if err != nil {
			return 0, err
		}
		last := i == len(batches)-1
		var out []*tensors.Tensor
		if last {
			in = append(in, t.rates()...)
			out, err = t.update.Call(args(in, t.state, t.sums)...)
		} else {
			out, err = t.add.Call(args(in, t.state[:n], t.sums)...)
		}
		if err = errors.Join(err, free(in...), free(t.sums...)); err != nil {
			return 0, fmt.Errorf("mlx: update %d: %w", t.step, err)
		}
		t.sums = nil
		loss, err := scalar(out[0])
		if err = errors.Join(err, free(out[0])); err != nil {
			return 0, err
		}
		total += loss / float64(len(batches))
		if math.IsNaN(total) || math.IsInf(total, 0) {
			return total, errors.Join(fmt.Errorf("%w at update %d", ErrDiverged, t.step), free(out[1:]...))
		}
		if !last {
			t.sums = out[1:]
			continue
		}
		err = free(t.state...)
		if t.state = out[1:]; err != nil {
			return 0, err
		}
	}
	t.step++
	return total, nil
}

// rates are the numbers of this update that change from one to the next: the
// learning rate and the bias corrections of both moments.
func (t *Trainer) rates() []*tensors.Tensor {
	k := float64(t.step + 1)
	return []*tensors.Tensor{tensors.FromFlatDataAndDimensions([]float32{
		float32(t.recipe.rate(t.step)),
		float32(1 - math.Pow(t.recipe.Beta1, k)),
		float32(1 - math.Pow(t.recipe.Beta2, k))}, 3)}
}

// Model returns the model as trained so far.
func (t *Trainer) Model() (*models.Model, error) {
	p, err := download(t.model.Graph, t.state[:len(t.state)/3], t.model.Params)
	if err != nil {
		return nil, err
	}
	return t.model.With(p), nil
}

// Close frees the memory of the trainer on the device.
func (t *Trainer) Close() error {
	t.add.Finalize()
	t.update.Finalize()
	return errors.Join(free(t.state...), free(t.sums...))
}

// addGraph: inputs.., params.., sums.. → loss, sums...
func (t *Trainer) addGraph(in []*gx.Node) []*gx.Node {
	k, n := len(t.inputs), len(t.state)/3
	loss, grads := t.gradients(in[:k], in[k:k+n])
	return append([]*gx.Node{loss}, added(grads, in[k+n:])...)
}

// updateGraph: inputs.., rates, params.., first.., second.., sums.. → loss,
// params.., first.., second...
func (t *Trainer) updateGraph(in []*gx.Node) []*gx.Node {
	k, n := len(t.inputs), len(t.state)/3
	rates, params, first, second := in[k], in[k+1:k+1+n], in[k+1+n:k+1+2*n], in[k+1+2*n:k+1+3*n]
	loss, grads := t.gradients(in[:k], params)
	grads = added(grads, in[k+1+3*n:])
	square := gx.ScalarZero(loss.Graph(), dtypes.Float32)
	for _, d := range grads {
		square = gx.Add(square, gx.ReduceAllSum(gx.Square(d)))
	}
	scale := gx.Const(loss.Graph(), float32(1)/float32(t.recipe.Accumulate))
	if c := t.recipe.Clip; c > 0 {
		norm := gx.MulScalar(gx.Sqrt(square), 1/float64(t.recipe.Accumulate))
		scale = gx.Mul(scale, gx.MinScalar(gx.Div(gx.Const(loss.Graph(), float32(c)), gx.AddScalar(norm, 1e-6)), 1))
	}
	rate := func(i int) *gx.Node { return gx.Squeeze(gx.Slice(rates, gx.AxisElem(i))) }
	decayed := decays(t.model.Graph)
	out := make([]*gx.Node, 1+3*n)
	out[0] = loss
	for i := range params {
		d := gx.Mul(grads[i], scale)
		m := gx.Add(gx.MulScalar(first[i], t.recipe.Beta1), gx.MulScalar(d, 1-t.recipe.Beta1))
		v := gx.Add(gx.MulScalar(second[i], t.recipe.Beta2), gx.MulScalar(gx.Square(d), 1-t.recipe.Beta2))
		w := params[i]
		if decayed[i] && t.recipe.WeightDecay > 0 {
			w = gx.Mul(w, gx.OneMinus(gx.MulScalar(rate(0), t.recipe.WeightDecay)))
		}
		by := gx.Div(gx.Div(m, rate(1)), gx.AddScalar(gx.Sqrt(gx.Div(v, rate(2))), t.recipe.Eps))
		out[1+i], out[1+n+i], out[1+2*n+i] = gx.Sub(w, gx.Mul(rate(0), by)), m, v
	}
	return out
}

// gradients is the loss of a batch and its gradient by every parameter.
func (t *Trainer) gradients(batch, params []*gx.Node) (loss *gx.Node, grads []*gx.Node) {
	k := len(batch) - 1
	values := interpret(t.model.Graph, zip(names(t.model.Graph), params), zip(t.inputs[:k], batch[:k]))
	loss = crossEntropy(values[len(values)-1], batch[k], t.recipe.Smoothing)
	return loss, gx.Gradient(loss, params...)
}

// added is a + b, or a where b is empty.
func added(a, b []*gx.Node) []*gx.Node {
	if len(b) == 0 {
		return a
	}
	out := make([]*gx.Node, len(a))
	for i := range a {
		out[i] = gx.Add(a[i], b[i])
	}
	return out
}

// decays says which tensors weight decay holds for: matrices, not biases,
// norms and tables.
func decays(g *graph.Graph) []bool {
	by := map[string]bool{}
	for n, p := range g.Params() {
		by[p.Name] = n.Op == graph.Linear && len(p.Axes) > 1
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
	keep := gx.ConvertDType(gx.GreaterOrEqual(labels, gx.ScalarZero(labels.Graph(), labels.DType())), dtypes.Float32)
	classes := logits.Shape().Dim(-1)
	logp := gx.LogSoftmax(logits, -1)
	target := gx.OneHot(gx.MaxScalar(labels, 0), classes, dtypes.Float32)
	if smoothing > 0 {
		target = gx.AddScalar(gx.MulScalar(target, 1-smoothing), smoothing/float64(classes))
	}
	each := gx.Neg(gx.ReduceSum(gx.Mul(target, logp), -1))
	return gx.Div(gx.ReduceAllSum(gx.Mul(each, keep)), gx.MaxScalar(gx.ReduceAllSum(keep), 1))
}
