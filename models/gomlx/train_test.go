package gomlx

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

func trainer(t *testing.T, d *Device, m *models.Model, r TrainConfig) *Trainer {
	tr, err := d.Trainer(m, r)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	return tr
}

func trained(t *testing.T, tr *Trainer) models.Params {
	m, err := tr.Model()
	require.NoError(t, err)
	return m.Params
}

// tiny returns small networks, for gradients by finite differences.
func tiny() []modeltest.Net {
	v, w := modeltest.ViT(), modeltest.Words()
	v.Config.Hidden, v.Config.MLP, v.Config.Layers, v.Config.Image, v.Config.Channels = 4, 5, 1, 4, 1
	w.Config.Hidden, w.Config.MLP, w.Config.Layers, w.Config.Vocab = 4, 5, 1, 7
	return []modeltest.Net{v, w}
}

// lossOf is the smoothed cross entropy of a batch in float64.
func lossOf(m *models.Model, batch models.Batch, smoothing float64) float64 {
	labels := batch[models.Labels].Ints
	logits := modeltest.Logits(m, batch)
	classes := len(logits) / len(labels)
	var sum, count float64
	for i, label := range labels {
		if label < 0 {
			continue
		}
		var total float64
		row := logits[i*classes : (i+1)*classes]
		for _, v := range row {
			total += math.Exp(v)
		}
		for c, v := range row {
			want := smoothing / float64(classes)
			if c == int(label) {
				want += 1 - smoothing
			}
			sum -= want * (v - math.Log(total))
		}
		count++
	}
	return sum / count
}

// slope is the gradient of the loss by finite differences of fourth order.
func slope(m *models.Model, batch models.Batch, smoothing float64) map[string][]float64 {
	out := map[string][]float64{}
	p := models.Params{}
	for name, t := range m.Params {
		t.Data = slices.Clone(t.Data)
		p[name] = t
	}
	probe := m.With(p)
	for name, t := range p {
		for i, v := range t.Data {
			at := func(h float32) (float64, float64) {
				t.Data[i] = v + h
				x := float64(t.Data[i])
				y := lossOf(probe, batch, smoothing)
				t.Data[i] = v
				return x, y
			}
			difference := func(h float32) float64 {
				xa, ya := at(h)
				xb, yb := at(-h)
				return (ya - yb) / (xa - xb)
			}
			out[name] = append(out[name], (4*difference(1./256)-difference(1./128))/3)
		}
	}
	return out
}

// adam is AdamW as its paper has it, in float64.
type adam struct {
	config        TrainConfig
	step          int
	w, first, sec map[string][]float64
}

func newAdam(m *models.Model, r TrainConfig) *adam {
	a := &adam{config: r, w: map[string][]float64{}, first: map[string][]float64{}, sec: map[string][]float64{}}
	for name, t := range m.Params {
		for _, v := range t.Data {
			a.w[name] = append(a.w[name], float64(v))
		}
		a.first[name], a.sec[name] = make([]float64, len(t.Data)), make([]float64, len(t.Data))
	}
	return a
}

// update goes down the gradient at the given rate; decays says which tensors
// shrink.
func (a *adam) update(grad map[string][]float64, rate float64, decays func(string) bool) {
	r := a.config
	a.step++
	var square float64
	for _, g := range grad {
		for _, v := range g {
			square += v * v
		}
	}
	scale := 1.0
	if r.Clip > 0 {
		scale = min(1, r.Clip/math.Sqrt(square))
	}
	for name, w := range a.w {
		for i := range w {
			g := grad[name][i] * scale
			a.first[name][i] = r.Beta1*a.first[name][i] + (1-r.Beta1)*g
			a.sec[name][i] = r.Beta2*a.sec[name][i] + (1-r.Beta2)*g*g
			if decays(name) {
				w[i] -= rate * r.WeightDecay * w[i]
			}
			m := a.first[name][i] / (1 - math.Pow(r.Beta1, float64(a.step)))
			v := a.sec[name][i] / (1 - math.Pow(r.Beta2, float64(a.step)))
			w[i] -= rate * m / (math.Sqrt(v) + r.Eps)
		}
	}
}

func (a *adam) model(m *models.Model) *models.Model {
	p := models.Params{}
	for name, t := range m.Params {
		t.Data = make([]float32, len(a.w[name]))
		for i, v := range a.w[name] {
			t.Data[i] = float32(v)
		}
		p[name] = t
	}
	return m.With(p)
}

// TestAdamW follows five updates by finite differences and AdamW in float64:
// warm-up and cosine, decay of matrices alone, clipping, smoothing, labels
// that do not count.
func TestAdamW(t *testing.T) {
	d := openDevice(t)
	r := TrainConfig{Steps: 5, LR: 0.02, MinLR: 0.002, Warmup: 2, WeightDecay: 0.3, Beta1: 0.8, Beta2: 0.95, Eps: 1e-3,
		Clip: 0.4, Smoothing: 0.1}
	rates := []float64{0.01, 0.02, 0.02, 0.002 + 0.009*(1+0.5), 0.002 + 0.009*(1-0.5)} // cos π/3, cos 2π/3
	matrices := func(name string) bool {
		return strings.HasSuffix(name, ".weight") && !strings.Contains(name, "norm") && name != "words.weight" &&
			name != "types.weight"
	}
	for _, net := range tiny() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			m := randomModel(t, net, 1)
			tr, want := trainer(t, d, m, r), newAdam(m, r)
			for i, rate := range rates {
				batch := net.Batch(4, uint64(i))
				batch[models.Labels].Ints[1] = models.Ignore
				now := want.model(m)
				loss, err := tr.Update(t.Context(), batch)
				require.NoError(t, err)
				require.InDelta(t, lossOf(now, batch, r.Smoothing), loss, 1e-4, "update %d", i)
				want.update(slope(now, batch, r.Smoothing), rate, matrices)
			}
			require.Equal(t, 5, tr.Step())
			got := trained(t, tr)
			for name, w := range want.w {
				require.LessOrEqual(t, modeltest.Apart(t, w, got[name].Data), 5e-5, name)
				require.Greater(t, modeltest.Apart(t, m.Params[name].Data, got[name].Data)+float64(strings.Count(name, "key.bias")),
					1e-3, name)
			}
		})
	}
}

func TestRate(t *testing.T) {
	r := TrainConfig{Steps: 10, LR: 1, MinLR: 0.1, Warmup: 4}
	for step, want := range map[int]float64{0: 0.25, 1: 0.5, 2: 0.75, 3: 1, 4: 1, 5: 0.1 + 0.45*(1+math.Sqrt(3)/2),
		6: 0.1 + 0.45*1.5, 7: 0.55,
		8: 0.1 + 0.45*0.5, 10: 0.1, 11: 0.1, 1000: 0.1} {
		require.InDelta(t, want, r.LearningRate(step), 1e-12, "update %d", step)
	}
	require.Equal(t, 1., TrainConfig{Steps: 10, LR: 1}.LearningRate(0), "without warm-up it starts at the peak")
	d := TrainConfig{}.withDefaults()
	require.Equal(t, TrainConfig{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Accumulate: 1}, d)
}

// TestDecays: matrices decay, biases, norms and tables do not.
func TestDecays(t *testing.T) {
	for _, net := range modeltest.Nets() {
		g, err := net.Graph()
		require.NoError(t, err)
		all := tensorNames(g)
		for i, decays := range decayingTensors(g) {
			matrix := false
			for n, p := range g.Params() {
				matrix = matrix || p.Name == all[i] && n.Op == graph.Linear && len(p.Shape) > 1
			}
			require.Equal(t, matrix, decays, all[i])
		}
	}
}

// TestAccumulate: two batches of eight make the update of one of sixteen.
func TestAccumulate(t *testing.T) {
	d := openDevice(t)
	net := tiny()[0]
	m := randomModel(t, net, 1)
	r := TrainConfig{Steps: 3, LR: 0.01, WeightDecay: 0.1, Clip: 0.5, Eps: 1e-4}
	whole := trainer(t, d, m, r)
	r.Accumulate = 2
	halves := trainer(t, d, m, r)
	for i := range uint64(3) {
		batch := net.Batch(16, i)
		one, err := whole.Update(t.Context(), batch)
		require.NoError(t, err)
		two, err := halves.Update(t.Context(), batch.Slice(0, 8), batch.Slice(8, 16))
		require.NoError(t, err)
		require.InDelta(t, one, two, 1e-4)
	}
	got := trained(t, halves)
	for name, w := range trained(t, whole) {
		require.LessOrEqual(t, modeltest.Apart(t, w.Data, got[name].Data), 1e-4, name)
	}
	_, err := halves.Update(t.Context(), net.Batch(8, 1))
	require.ErrorContains(t, err, "takes 2 batches, got 1")
}

// TestLearns: the loss of a batch that is seen again and again falls.
func TestLearns(t *testing.T) {
	d := openDevice(t)
	net := tiny()[0]
	tr := trainer(t, d, randomModel(t, net, 1), TrainConfig{Steps: 100, LR: 0.05, Warmup: 3})
	batch := net.Batch(8, 1)
	var first, last float64
	for i := range 100 {
		loss, err := tr.Update(t.Context(), batch)
		require.NoError(t, err)
		if last = loss; i == 0 {
			first = loss
		}
	}
	require.Less(t, last, first/4)
}

// TestDiverged: a loss that is no number leaves the state as it was, also
// where it comes in the middle of an update, and training goes on.
func TestDiverged(t *testing.T) {
	d := openDevice(t)
	net := tiny()[0]
	m := randomModel(t, net, 1)
	tr := trainer(t, d, m, TrainConfig{Steps: 4, LR: 0.01, Accumulate: 2})
	good, bad := net.Batch(2, 1), net.Batch(2, 2)
	for i := range bad["pixel_values"].Floats {
		bad["pixel_values"].Floats[i] = math.MaxFloat32
	}
	_, err := tr.Update(t.Context(), good, good)
	require.NoError(t, err)
	before := trained(t, tr)
	for _, batches := range [][]models.Batch{{bad, good}, {good, bad}} {
		_, err = tr.Update(t.Context(), batches...)
		require.ErrorIs(t, err, ErrDiverged)
		require.Equal(t, 1, tr.Step())
		require.Equal(t, before, trained(t, tr))
	}
	_, err = tr.Update(t.Context(), good, good)
	require.NoError(t, err)
	got := trained(t, tr)
	require.NoError(t, tr.Reset(m))
	for range 2 {
		_, err = tr.Update(t.Context(), good, good)
		require.NoError(t, err)
	}
	require.Equal(t, trained(t, tr), got, "what went wrong leaves no trace")
}

func TestUpdateErrors(t *testing.T) {
	d := openDevice(t)
	net := tiny()[0]
	m := randomModel(t, net, 1)
	nan, huge := math.NaN(), math.Inf(1)
	for want, c := range map[string]TrainConfig{
		"Steps is 0": {}, "LR is 0": {Steps: 1}, "Steps is -1": {Steps: -1, LR: 1}, "LR is NaN": {Steps: 1, LR: nan},
		"LR is +Inf":               {Steps: 1, LR: huge},
		"Warmup is 4, want 0 to 2": {Steps: 2, LR: 1, Warmup: 4}, "Warmup is -1": {Steps: 2, LR: 1, Warmup: -1},
		"MinLR is -1":        {Steps: 1, LR: 1, MinLR: -1},
		"WeightDecay is NaN": {Steps: 1, LR: 1, WeightDecay: nan},
		"Beta1 is 1, want at least 0 and below 1": {Steps: 1, LR: 1, Beta1: 1},
		"Beta2 is -1": {Steps: 1, LR: 1, Beta2: -1}, "Eps is -1": {Steps: 1, LR: 1, Eps: -1},
		"Clip is NaN":                 {Steps: 1, LR: 1, Clip: nan},
		"Smoothing is 2, want 0 to 1": {Steps: 1, LR: 1, Smoothing: 2},
		"Accumulate is -1":            {Steps: 1, LR: 1, Accumulate: -1}} {
		_, err := d.Trainer(m, c)
		require.ErrorIs(t, err, ErrTrainConfig)
		require.ErrorContains(t, err, want)
	}
	tr := trainer(t, d, m, TrainConfig{Steps: 1, LR: 0.1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := tr.Update(ctx, net.Batch(2, 1))
	require.ErrorIs(t, err, context.Canceled)
	bare := models.Batch{"pixel_values": net.Batch(2, 1)["pixel_values"]}
	_, err = tr.Update(t.Context(), bare)
	require.ErrorContains(t, err, "labels")
	wrong := net.Batch(2, 1)
	wrong[models.Labels].Ints[0] = 9
	_, err = tr.Update(t.Context(), wrong)
	require.ErrorContains(t, err, "label 0 is 9")
	require.Zero(t, tr.Step())
	require.Equal(t, m.Params, trained(t, tr))
	_, err = tr.Update(t.Context(), net.Batch(2, 1))
	require.NoError(t, err)
	last := trained(t, tr)
	_, err = tr.Update(t.Context(), net.Batch(2, 1))
	require.ErrorIs(t, err, ErrFinished)
	require.Equal(t, last, trained(t, tr))
}
