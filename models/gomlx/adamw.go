package gomlx

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/models"
)

// An optimizer minimises a loss by AdamW. Parameters and both moments stay on
// the device between updates.
type optimizer struct {
	device *Device
	what   string // is trained, for messages
	config TrainConfig

	// loss is the graph of the mean loss of a batch, which the fixed arguments
	// follow, at some parameters.
	loss func(batch, params []*gx.Node) *gx.Node
	// retract brings updated parameters back to where they may be; nil for
	// parameters that may be anywhere.
	retract  func(params []*gx.Node) []*gx.Node
	decaying []bool   // parameters that weight decay holds for; nil for none
	fixed    []*array // arguments of loss that do not change

	step      int      // updates made
	state     []*array // parameters, first moments, second moments
	gradients []*array // sums over the batches of an unfinished update; empty between updates

	gradientProgram   *program // the gradients of a batch
	accumulateProgram *program // adds the gradients of a batch to the sums
	updateProgram     *program // makes an update
	lossProgram       *program // the loss of a batch
	closed            bool

	parameters int // number of them
	// shared, unless it is empty, is the key of programs of the device that are called in
	// place of updateProgram and lossProgram: optimizers whose graphs are the same share
	// them. template builds them; it holds no parameters and so keeps nothing alive.
	shared   string
	template *optimizer
}

// ErrDiverged reports a loss that is not finite; the trainer keeps the state
// before the update that made it.
var ErrDiverged = errors.New("gomlx: the loss is not finite")

// ErrFinished reports an update beyond the Steps of a [TrainConfig].
var ErrFinished = errors.New("gomlx: all updates of the training are made")

// prepare readies an optimizer whose configuration and loss are set to start
// from params, which it owns from then on.
func (o *optimizer) prepare(params []*array) error {
	if err := o.config.check(); err != nil {
		return errors.Join(err, free(params...))
	}
	o.config, o.parameters = o.config.withDefaults(), len(params)
	if err := o.restart(params); err != nil {
		return err
	}
	o.gradientProgram = o.device.newProgram("gradients of "+o.what, computation{o.gradientGraph, o.likeParams(1)})
	o.accumulateProgram = o.device.newProgram("gradients of "+o.what, computation{o.accumulateGraph, o.likeParams(2)})
	o.updateProgram = o.device.newProgram("update of "+o.what, computation{o.updateGraph, o.likeState})
	o.lossProgram = o.device.newProgram("loss of "+o.what, computation{graph: o.lossOnlyGraph})
	o.device.hold(o)
	return nil
}

// restart begins anew from params.
func (o *optimizer) restart(params []*array) error {
	old, state := o.state, params
	for range 2 {
		for _, p := range params {
			zeros, err := zerosLike(p)
			if err != nil {
				return errors.Join(err, free(state...))
			}
			state = append(state, zeros)
		}
	}
	o.state, o.step = state, 0
	return free(old...)
}

func (o *optimizer) params() []*array { return o.state[:len(o.state)/3] }

// values copies the parameters as they are.
func (o *optimizer) values() ([][]float32, error) {
	done, err := o.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	var out [][]float32
	for _, p := range o.params() {
		values, err := valuesOf[float32](p)
		if err != nil {
			return nil, fmt.Errorf("gomlx: %s: %w", o.what, err)
		}
		out = append(out, values)
	}
	return out, nil
}

// acquire keeps the device open until done is called.
func (o *optimizer) acquire() (done func(), err error) {
	if done, err = o.device.acquire(); err == nil && o.closed {
		done()
		return nil, ErrNotOpen
	}
	return done, err
}

// close frees the memory on the device, unless closing the device has done so.
func (o *optimizer) close() error {
	done, err := o.acquire()
	if err != nil {
		return nil
	}
	defer done()
	o.device.drop(o)
	return o.release()
}

// release frees the memory on the device.
func (o *optimizer) release() error {
	o.closed = true
	for _, p := range []*program{o.gradientProgram, o.accumulateProgram, o.updateProgram, o.lossProgram} {
		if p != nil {
			p.free()
		}
	}
	return errors.Join(free(o.state...), free(o.gradients...), free(o.fixed...))
}

// update makes one update from TrainConfig.Accumulate batches, of which the
// inputs are read, and returns their mean loss.
func (o *optimizer) update(ctx context.Context, inputs []string, batches []models.Batch) (float64, error) {
	done, err := o.acquire()
	if err != nil {
		return 0, err
	}
	defer done()
	if len(batches) != o.config.Accumulate {
		return 0, fmt.Errorf("gomlx: an update takes %d batches, got %d", o.config.Accumulate, len(batches))
	}
	if o.step >= o.config.Steps {
		return 0, fmt.Errorf("%w: %d of %d", ErrFinished, o.step, o.config.Steps)
	}
	// An update that is broken off leaves no gradients behind.
	defer func() { _, o.gradients = free(o.gradients...), nil }()
	var total float64
	for i, batch := range batches {
		if err := ctx.Err(); err != nil {
			return 0, located(o.place(), err)
		}
		loss, err := o.pass(ctx, inputs, batch, i == len(batches)-1)
		if err != nil {
			return 0, located(o.place(), err)
		}
		total += loss / float64(len(batches))
	}
	o.step++
	return total, nil
}

// lossOf returns the mean loss of a batch, of which the inputs are read.
func (o *optimizer) lossOf(ctx context.Context, inputs []string, batch models.Batch) (float64, error) {
	done, err := o.acquire()
	if err != nil {
		return 0, err
	}
	defer done()
	if err := ctx.Err(); err != nil {
		return 0, located("loss", err)
	}
	in, err := o.device.uploadBatch(batch, inputs)
	if err != nil {
		return 0, err
	}
	out, err := o.evaluator().call(ctx, arguments(in, o.fixed, o.params())...)
	if err = errors.Join(err, free(in...)); err != nil {
		return 0, err
	}
	loss, err := scalar(out[0])
	return loss, errors.Join(err, free(out...))
}

// lossOnlyGraph: batch.., fixed.., params.. → loss.
func (o *optimizer) lossOnlyGraph(in []*gx.Node) []*gx.Node {
	k := len(in) - o.parameters
	return []*gx.Node{o.loss(in[:k], in[k:])}
}

// place says which update is being made.
func (o *optimizer) place() string { return fmt.Sprintf("update %d of %d", o.step+1, o.config.Steps) }

// pass takes in a batch, and makes the update where it is the last one. It
// returns the loss of the batch.
//
//nolint:revive // the last batch of an update also makes it
func (o *optimizer) pass(ctx context.Context, inputs []string, batch models.Batch, last bool) (float64, error) {
	if err := o.device.mesh.even(batch.Len()); err != nil {
		return 0, err
	}
	in, err := o.device.uploadBatch(batch, inputs)
	if err != nil {
		return 0, err
	}
	out, err := o.call(ctx, in, last)
	if err = errors.Join(err, free(in...), free(o.gradients...)); err != nil {
		return 0, err
	}
	o.gradients = nil
	loss, err := scalar(out[0])
	if err == nil && (math.IsNaN(loss) || math.IsInf(loss, 0)) {
		err = ErrDiverged
	}
	if err != nil {
		return 0, errors.Join(err, free(out...))
	}
	if err := free(out[0]); err != nil {
		return 0, err
	}
	if !last {
		o.gradients = out[1:]
		return loss, nil
	}
	err = free(o.state...)
	o.state = out[1:]
	return loss, err
}

// call runs the program for a batch.
func (o *optimizer) call(ctx context.Context, in []*array, last bool) ([]*array, error) {
	switch {
	case !last && len(o.gradients) == 0:
		return o.gradientProgram.call(ctx, arguments(in, o.fixed, o.params())...)
	case !last:
		return o.accumulateProgram.call(ctx, arguments(in, o.fixed, o.params(), o.gradients)...)
	}
	constants := o.constants()
	out, err := o.updater().call(ctx, arguments(in, o.fixed, constants, o.state, o.gradients)...)
	return out, errors.Join(err, free(constants...))
}

// updater returns the program that makes an update.
func (o *optimizer) updater() *program {
	if o.shared == "" {
		return o.updateProgram
	}
	return o.device.cached("update of "+o.shared, "update of "+o.what,
		computation{o.template.updateGraph, o.template.likeState})
}

// evaluator returns the program of the loss of a batch.
func (o *optimizer) evaluator() *program {
	if o.shared == "" {
		return o.lossProgram
	}
	return o.device.cached("loss of "+o.shared, "loss of "+o.what, computation{graph: o.template.lossOnlyGraph})
}

// constants are the numbers that change from update to update: the learning
// rate and the bias corrections 1 − β₁ᵏ and 1 − β₂ᵏ of update k = 1, 2, ….
func (o *optimizer) constants() []*array {
	k := float64(o.step + 1)
	return []*array{newArray(tensors.FromFlatDataAndDimensions([]float32{
		float32(o.config.LearningRate(o.step)),
		float32(1 - math.Pow(o.config.Beta1, k)),
		float32(1 - math.Pow(o.config.Beta2, k))}, 3))}
}

// likeParams has gradients lie as their parameters do, which are the first of so many
// groups of arguments as long, see accumulateGraph.
func (o *optimizer) likeParams(groups int) func(in []any) []any {
	return func(in []any) []any {
		k := len(in) - groups*o.parameters
		return append([]any{nil}, in[k:k+o.parameters]...)
	}
}

// sums is the number of sums of gradients that an update takes beside those of its last
// batch.
func (o *optimizer) sums() int {
	if o.config.Accumulate > 1 {
		return o.parameters
	}
	return 0
}

// likeState has a new state lie as the old one does, see updateGraph.
func (o *optimizer) likeState(in []any) []any {
	n := o.parameters
	k := len(in) - 3*n - o.sums()
	return append([]any{nil}, in[k:k+3*n]...)
}

// gradientGraph: batch.., fixed.., params.. → loss, gradients...
func (o *optimizer) gradientGraph(in []*gx.Node) []*gx.Node {
	k := len(in) - o.parameters
	loss, gradients := o.differentiate(in[:k], in[k:])
	return append([]*gx.Node{loss}, gradients...)
}

// accumulateGraph: batch.., fixed.., params.., gradients.. → loss, gradients...
func (o *optimizer) accumulateGraph(in []*gx.Node) []*gx.Node {
	n := o.parameters
	k := len(in) - 2*n
	loss, gradients := o.differentiate(in[:k], in[k:k+n])
	return append([]*gx.Node{loss}, elementwiseSum(gradients, in[k+n:])...)
}

// updateGraph: batch.., fixed.., constants, params.., first.., second..,
// gradients.. → loss, params.., first.., second... With the gradient g, scaled by
// gradientScale, the learning rate η and the weight decay λ of update k,
//
//	m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,
//	w ← (1 − η λ) w − η (m/(1 − β₁ᵏ)) / (√(v/(1 − β₂ᵏ)) + ε).
func (o *optimizer) updateGraph(in []*gx.Node) []*gx.Node {
	n := o.parameters
	k := len(in) - 1 - 3*n - o.sums()
	constants, params, first, second := in[k], in[k+1:k+1+n], in[k+1+n:k+1+2*n], in[k+1+2*n:k+1+3*n]
	loss, gradients := o.differentiate(in[:k], params)
	gradients = elementwiseSum(gradients, in[k+1+3*n:])
	scale := o.gradientScale(gradients)
	constant := func(i int) *gx.Node { return gx.Squeeze(gx.Slice(constants, gx.AxisElem(i))) }
	out := make([]*gx.Node, 3*n)
	for i, w := range params {
		g := gx.Mul(gradients[i], scale)
		m := gx.Add(gx.MulScalar(first[i], o.config.Beta1), gx.MulScalar(g, 1-o.config.Beta1))
		v := gx.Add(gx.MulScalar(second[i], o.config.Beta2), gx.MulScalar(gx.Square(g), 1-o.config.Beta2))
		if o.decaying != nil && o.decaying[i] && o.config.WeightDecay > 0 {
			w = gx.Mul(w, gx.OneMinus(gx.MulScalar(constant(0), o.config.WeightDecay)))
		}
		step := gx.Div(gx.Div(m, constant(1)), gx.AddScalar(gx.Sqrt(gx.Div(v, constant(2))), o.config.Eps))
		out[i], out[n+i], out[2*n+i] = gx.Sub(w, gx.Mul(constant(0), step)), m, v
	}
	if o.retract != nil {
		copy(out, o.retract(out[:n]))
	}
	return append([]*gx.Node{loss}, out...)
}

// gradientScale is the factor of the summed gradients that makes them the mean
// over the batches, with a norm of at most TrainConfig.Clip.
func (o *optimizer) gradientScale(gradients []*gx.Node) *gx.Node {
	g := gradients[0].Graph()
	scale := gx.Const(g, float32(1)/float32(o.config.Accumulate))
	if o.config.Clip <= 0 {
		return scale
	}
	square := gx.ScalarZero(g, dtypes.Float32)
	for _, gradient := range gradients {
		square = gx.Add(square, gx.ReduceAllSum(gx.Square(gradient)))
	}
	norm := gx.MulScalar(gx.Sqrt(square), 1/float64(o.config.Accumulate))
	return gx.Mul(scale, gx.MinScalar(gx.Div(gx.Const(g, float32(o.config.Clip)), gx.AddScalar(norm, 1e-6)), 1))
}

// differentiate returns the loss of a batch and its gradients by the parameters.
func (o *optimizer) differentiate(batch, params []*gx.Node) (loss *gx.Node, gradients []*gx.Node) {
	loss = o.loss(batch, params)
	return loss, gx.Gradient(loss, params...)
}

// elementwiseSum is a + b, or a where b is empty.
func elementwiseSum(a, b []*gx.Node) []*gx.Node {
	if len(b) == 0 {
		return a
	}
	out := make([]*gx.Node, len(a))
	for i := range a {
		out[i] = gx.Add(a[i], b[i])
	}
	return out
}
