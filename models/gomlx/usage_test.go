package gomlx

import (
	"context"
	"path/filepath"
	"testing"

	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// A slow program squares a number once it is released, which stands for an execution or a
// compilation that takes long.
type slow struct {
	*program
	begun, release chan struct{}
}

func slowProgram(d *Device) slow {
	s := slow{begun: make(chan struct{}), release: make(chan struct{})}
	s.program = d.newProgram("slow", computation{graph: func(in []*gx.Node) []*gx.Node {
		close(s.begun)
		<-s.release
		return []*gx.Node{gx.Square(in[0])}
	}})
	return s
}

// left returns a number that a call of the program, whose context has ended, still reads.
func (s slow) left(t *testing.T) *array {
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-s.begun; cancel() }()
	in := newArray(tensors.FromFlatDataAndDimensions([]float32{3}, 1))
	_, err := s.call(ctx, in)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "gomlx: slow: ")
	return in
}

// TestCallLeftToItself: what a call reads stays until its end, also where it, the program
// and the device were freed before, and is freed then.
func TestCallLeftToItself(t *testing.T) {
	d := openDevice(t)
	s := slowProgram(d)
	in := s.left(t)
	left := d.behind[0]
	require.NoError(t, free(in))
	require.NoError(t, free(in), "a second time")
	s.free()
	require.NoError(t, d.FreePrograms())
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.check(), ErrNotOpen)
	require.True(t, in.placed.(*tensors.Tensor).Ok())
	require.Len(t, s.execs, 1)

	close(s.release)
	<-left.ended
	require.NoError(t, left.err)
	require.False(t, in.placed.(*tensors.Tensor).Ok())
	require.False(t, left.out[0].placed.(*tensors.Tensor).Ok(), "nobody took the result")
	require.Empty(t, s.execs)
	require.Zero(t, d.usage.calls)
}

// TestCallAfterOneLeft: the next call waits for one that was left to itself, as long as
// its own context lasts.
func TestCallAfterOneLeft(t *testing.T) {
	d := openDevice(t)
	defer func() { require.NoError(t, d.Close()) }()
	s := slowProgram(d)
	in := s.left(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.call(ended, in)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, d.behind, 1)

	go close(s.release)
	out, err := s.call(t.Context(), in)
	require.NoError(t, err)
	require.Empty(t, d.behind)
	square, err := valuesOf[float32](out[0])
	require.NoError(t, err)
	require.Equal(t, []float32{9}, square)
	require.NoError(t, free(append(out, in)...))
	s.free()
	require.Empty(t, s.execs)
}

// longWork is everything that takes long on a device, by the stage or program that its
// error names.
func longWork(t *testing.T, d *Device) map[string]func(ctx context.Context) error {
	net := tiny()[0]
	m, other, batch := randomModel(t, net, 1), randomModel(t, net, 2), net.Batch(4, 3)
	batches := func(int) (models.Batch, error) { return batch, nil }
	learner, distiller := d.Learner(batches), d.Distiller(batches)
	learner.Config.Steps, distiller.Config.Steps = 1, 1
	into := func(method fuse.Method) func(context.Context) error {
		return func(ctx context.Context) error {
			_, _, err := fuse.Into(ctx, m, []*models.Model{other}, method, nil)
			return err
		}
	}
	tr := trainer(t, d, m, TrainConfig{Steps: 1, LR: 0.1})
	state := filepath.Join(t.TempDir(), "state.safetensors")
	return map[string]func(ctx context.Context) error{
		"forward pass": func(ctx context.Context) error { _, err := d.Logits(ctx, m, batch); return err },
		"scoring": func(ctx context.Context) error {
			_, err := d.Evaluate(ctx, batch, 2, other)
			return err
		},
		"filtering": func(ctx context.Context) error {
			_, err := d.FilterByLoss(ctx, batch, 100, other)
			return err
		},
		"calibration": func(ctx context.Context) error {
			want := align.Request{Magnitudes: m.Graph.Nodes[len(m.Graph.Nodes)-1:]}
			_, err := d.Calibration(batch, align.All{}).Collect(ctx, other, m, want)
			return err
		},
		"loss":       func(ctx context.Context) error { _, err := tr.Loss(ctx, batch); return err },
		"fit":        func(ctx context.Context) error { return Fit(ctx, tr, batches, FitOptions{Checkpoint: state}) },
		"learning":   into(fuse.Matching{Learner: learner}),
		"distilling": into(fuse.Distil{Distiller: distiller}),
		"Sinkhorn": func(ctx context.Context) error {
			_, err := d.Sinkhorn(ot.Sinkhorn{Reg: 0.1}).Solve(ctx, ot.Problem{Cost: distances(t, 5, 4)})
			return err
		},
		"next token": func(ctx context.Context) error {
			_, err := d.Generate(ctx, causal(t, 1)[0], []int32{1}, Generation{Tokens: 1})
			return err
		},
	}
}

// TestContextEndsOnTheDevice: whatever computes returns when its context ends, while the
// device is still at it, and works afterwards.
func TestContextEndsOnTheDevice(t *testing.T) {
	var busy func() // while the device computes
	d, err := Open(t.Context(), func(p models.Progress) {
		if p.Stage == StageCompile && p.Done == 0 && busy != nil {
			busy()
		}
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	for name, run := range longWork(t, d) {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, d.FreePrograms())
			ctx, cancel := context.WithCancel(t.Context())
			returned := make(chan struct{})
			busy = func() {
				cancel()
				<-returned
			}
			err := run(ctx)
			busy = nil
			close(returned)
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, run(t.Context()))
			require.Empty(t, d.behind)
		})
	}
}

// TestUpdateLeftToItself: an update whose context ends is not made, and the next one is
// that which it would have been.
func TestUpdateLeftToItself(t *testing.T) {
	d, net := openDevice(t), tiny()[0]
	m := randomModel(t, net, 1)
	config := TrainConfig{Steps: 1, LR: 0.1, Accumulate: 2}
	whole := trainer(t, d, m, config)
	want, err := whole.Update(t.Context(), net.Batch(4, 3), net.Batch(4, 4))
	require.NoError(t, err)

	tr := trainer(t, d, m, config)
	for _, p := range []**program{&tr.gradientProgram, &tr.updateProgram} {
		ctx, cancel := context.WithCancel(t.Context())
		returned := make(chan struct{})
		ending, program := d.newProgram("ending", (*p).computation), *p
		ending.graph = func(in []*gx.Node) []*gx.Node {
			cancel()
			<-returned
			return program.graph(in)
		}
		*p = ending
		_, err = tr.Update(ctx, net.Batch(4, 3), net.Batch(4, 4))
		*p = program
		ending.free()
		close(returned)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, tr.Step())
		require.Empty(t, tr.gradients)
	}
	got, err := tr.Update(t.Context(), net.Batch(4, 3), net.Batch(4, 4))
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, trained(t, whole), trained(t, tr))
}
