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

// A descent minimises a loss by AdamW. What it moves and both moments stay on
// the device between updates.
type descent struct {
	device  *Device
	what    string // is trained
	config  TrainConfig
	loss    func(batch, params []*gx.Node) *gx.Node // of a batch and, after it, what is fixed
	retract func(params []*gx.Node) []*gx.Node      // brings updated parameters back to where they may be; may be nil
	decayed []bool                                  // parameters that decay; nil for none
	fixed   []*tensors.Tensor                       // arguments of loss that stay
	step    int
	state   []*tensors.Tensor // parameters, first moments, second moments
	sums    []*tensors.Tensor // gradients of an unfinished accumulation
	add     *program          // accumulates gradients
	update  *program          // makes an update
	closed  bool
}

// ErrDiverged reports a loss that is not finite; the trainer keeps the state
// before the update that made it.
var ErrDiverged = errors.New("gomlx: the loss is not finite")

// ErrFinished reports an update beyond the Steps of a [TrainConfig].
var ErrFinished = errors.New("gomlx: all updates of the training are made")

// open readies a descent that has its recipe and its loss.
func (d *descent) open(params []*tensors.Tensor) error {
	if err := d.config.check(); err != nil {
		return errors.Join(err, free(params...))
	}
	d.config = d.config.withDefaults()
	err := d.start(params)
	if err != nil {
		return err
	}
	if d.add, err = d.device.program("gradients of "+d.what, d.addGraph); err != nil {
		return err
	}
	if d.update, err = d.device.program("update of "+d.what, d.updateGraph); err != nil {
		return err
	}
	d.device.hold(d)
	return nil
}

// start begins anew from params.
func (d *descent) start(params []*tensors.Tensor) error {
	old, state := d.state, params
	for range 2 {
		for _, p := range params {
			state = append(state, tensors.FromShape(p.Shape()))
		}
	}
	d.state, d.step = state, 0
	return free(old...)
}

func (d *descent) params() []*tensors.Tensor { return d.state[:len(d.state)/3] }

// acquire keeps the device open until done is called.
func (d *descent) acquire() (done func(), err error) {
	if done, err = d.device.acquire(); err == nil && d.closed {
		done()
		return nil, ErrNotOpen
	}
	return done, err
}

// close frees the memory on the device, unless closing that has done so.
func (d *descent) close() error {
	done, err := d.acquire()
	if err != nil {
		return nil
	}
	defer done()
	d.device.drop(d)
	return d.release()
}

// release frees the memory on the device.
func (d *descent) release() error {
	d.closed = true
	for _, p := range []*program{d.add, d.update} {
		if p != nil {
			p.exec.Finalize()
		}
	}
	return errors.Join(free(d.state...), free(d.sums...), free(d.fixed...))
}

// descend makes one update from TrainConfig.Accumulate batches, of which inputs are
// fed, and returns their mean loss.
func (d *descent) descend(ctx context.Context, inputs []string, batches []models.Batch) (float64, error) {
	done, err := d.acquire()
	if err != nil {
		return 0, err
	}
	defer done()
	if d.step >= d.config.Steps {
		return 0, fmt.Errorf("%w: %d of %d", ErrFinished, d.step, d.config.Steps)
	}
	if len(batches) != d.config.Accumulate {
		return 0, fmt.Errorf("gomlx: an update takes %d batches, got %d", d.config.Accumulate, len(batches))
	}
	var total float64
	defer func() { _, d.sums = free(d.sums...), nil }() // of an update that was broken off
	for i, batch := range batches {
		if err := ctx.Err(); err != nil {
			return 0, located(d.place(), err)
		}
		in, err := feed(batch, inputs)
		if err != nil {
			return 0, err
		}
		last := i == len(batches)-1
		out, err := d.call(in, last)
		if err = errors.Join(err, free(in...), free(d.sums...)); err != nil {
			return 0, located(d.place(), err)
		}
		d.sums = nil
		loss, err := scalar(out[0])
		if err = errors.Join(err, free(out[0])); err != nil {
			return 0, err
		}
		total += loss / float64(len(batches))
		if math.IsNaN(total) || math.IsInf(total, 0) {
			return total, errors.Join(located(d.place(), ErrDiverged), free(out[1:]...))
		}
		if !last {
			d.sums = out[1:]
			continue
		}
		err = free(d.state...)
		if d.state = out[1:]; err != nil {
			return 0, err
		}
	}
	d.step++
	return total, nil
}

// place says which update is being made.
func (d *descent) place() string { return fmt.Sprintf("update %d of %d", d.step+1, d.config.Steps) }

// call adds a batch to the gradients or, with the last one, makes the update.
func (d *descent) call(in []*tensors.Tensor, last bool) ([]*tensors.Tensor, error) {
	if !last {
		return d.add.call(args(in, d.fixed, d.params(), d.sums)...)
	}
	rates := d.rates()
	out, err := d.update.call(args(in, d.fixed, rates, d.state, d.sums)...)
	return out, errors.Join(err, free(rates...))
}

// rates are the numbers of this update that change from one to the next: the
// learning rate and the bias corrections of both moments.
func (d *descent) rates() []*tensors.Tensor {
	k := float64(d.step + 1)
	return []*tensors.Tensor{tensors.FromFlatDataAndDimensions([]float32{
		float32(d.config.LearningRate(d.step)),
		float32(1 - math.Pow(d.config.Beta1, k)),
		float32(1 - math.Pow(d.config.Beta2, k))}, 3)}
}

// addGraph: batch.., fixed.., params.., sums.. → loss, sums...
func (d *descent) addGraph(in []*gx.Node) []*gx.Node {
	n := len(d.state) / 3
	k := len(in) - n - len(d.sums)
	loss, grads := d.gradients(in[:k], in[k:k+n])
	return append([]*gx.Node{loss}, added(grads, in[k+n:])...)
}

// updateGraph: batch.., fixed.., rates, params.., first.., second.., sums.. →
// loss, params.., first.., second...
func (d *descent) updateGraph(in []*gx.Node) []*gx.Node {
	n := len(d.state) / 3
	k := len(in) - 1 - 3*n - len(d.sums)
	rates, params, first, second := in[k], in[k+1:k+1+n], in[k+1+n:k+1+2*n], in[k+1+2*n:k+1+3*n]
	loss, grads := d.gradients(in[:k], params)
	grads = added(grads, in[k+1+3*n:])
	scale := d.scale(grads)
	rate := func(i int) *gx.Node { return gx.Squeeze(gx.Slice(rates, gx.AxisElem(i))) }
	out := make([]*gx.Node, 3*n)
	for i, w := range params {
		by := gx.Mul(grads[i], scale)
		m := gx.Add(gx.MulScalar(first[i], d.config.Beta1), gx.MulScalar(by, 1-d.config.Beta1))
		v := gx.Add(gx.MulScalar(second[i], d.config.Beta2), gx.MulScalar(gx.Square(by), 1-d.config.Beta2))
		if d.decayed != nil && d.decayed[i] && d.config.WeightDecay > 0 {
			w = gx.Mul(w, gx.OneMinus(gx.MulScalar(rate(0), d.config.WeightDecay)))
		}
		by = gx.Div(gx.Div(m, rate(1)), gx.AddScalar(gx.Sqrt(gx.Div(v, rate(2))), d.config.Eps))
		out[i], out[n+i], out[2*n+i] = gx.Sub(w, gx.Mul(rate(0), by)), m, v
	}
	if d.retract != nil {
		copy(out, d.retract(out[:n]))
	}
	return append([]*gx.Node{loss}, out...)
}

// scale is what gradients are multiplied with: for the mean over batches, and
// for a norm of at most TrainConfig.Clip.
func (d *descent) scale(grads []*gx.Node) *gx.Node {
	g := grads[0].Graph()
	scale := gx.Const(g, float32(1)/float32(d.config.Accumulate))
	if d.config.Clip <= 0 {
		return scale
	}
	square := gx.ScalarZero(g, dtypes.Float32)
	for _, grad := range grads {
		square = gx.Add(square, gx.ReduceAllSum(gx.Square(grad)))
	}
	norm := gx.MulScalar(gx.Sqrt(square), 1/float64(d.config.Accumulate))
	return gx.Mul(scale, gx.MinScalar(gx.Div(gx.Const(g, float32(d.config.Clip)), gx.AddScalar(norm, 1e-6)), 1))
}

// gradients is the loss of a batch and its gradient by every parameter.
func (d *descent) gradients(batch, params []*gx.Node) (loss *gx.Node, grads []*gx.Node) {
	loss = d.loss(batch, params)
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
