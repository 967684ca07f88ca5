package gomlx

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// continued continues a prompt in float64 by the most likely token, reading the
// latest tokens of a window.
func continued(m *models.Model, prompt []int32, tokens, window int) []int32 {
	text := slices.Clone(prompt)
	for range tokens {
		seen := text[max(len(text)-window, 0):]
		logits := modeltest.Logits(m, models.Batch{"input_ids": {Shape: []int{1, len(seen)}, Ints: seen},
			"attention_mask": {Shape: []int{1, len(seen)}, Ints: slices.Repeat([]int32{1}, len(seen))}})
		last := logits[len(logits)-m.Classes():]
		text = append(text, int32(slices.Index(last, slices.Max(last))))
	}
	return text[len(prompt):]
}

// TestGenerate compares with float64, also beyond the positions of the network, and
// compiles one program for all tokens.
func TestGenerate(t *testing.T) {
	var compiled int
	d := openDevice(t)
	told := d.observe
	d.observe = func(p models.Progress) {
		told(p)
		compiled += p.Done
	}
	m := causal(t, 1)[0]
	for _, prompt := range [][]int32{{3}, {1, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}} {
		got, err := d.Generate(t.Context(), m, prompt, Generation{Tokens: 12})
		require.NoError(t, err)
		require.Equal(t, continued(m, prompt, 12, 7), got)
	}
	require.Equal(t, 1, compiled)
	greedy, err := d.Generate(t.Context(), m, []int32{3}, Generation{Tokens: 5, Window: 4})
	require.NoError(t, err)
	require.Equal(t, continued(m, []int32{3}, 5, 4), greedy)
	stopped, err := d.Generate(t.Context(), m, []int32{3}, Generation{Tokens: 5, Window: 4, Stop: greedy[2:3]})
	require.NoError(t, err)
	require.Equal(t, greedy[:slices.Index(greedy, greedy[2])], stopped)
}

// TestGenerateSampled: draws follow from the seed, and their shares from the
// probabilities at the temperature.
func TestGenerateSampled(t *testing.T) {
	d, m := openDevice(t), causal(t, 1)[0]
	o := Generation{Tokens: 20, Temperature: 2, Seed: 1}
	a, err := d.Generate(t.Context(), m, []int32{3}, o)
	require.NoError(t, err)
	b, err := d.Generate(t.Context(), m, []int32{3}, o)
	require.NoError(t, err)
	require.Equal(t, a, b)
	o.Seed = 2
	c, err := d.Generate(t.Context(), m, []int32{3}, o)
	require.NoError(t, err)
	require.NotEqual(t, a, c)

	const draws = 400
	logits := modeltest.Logits(m, models.Batch{"input_ids": {Shape: []int{1, 1}, Ints: []int32{3}},
		"attention_mask": {Shape: []int{1, 1}, Ints: []int32{1}}})
	counts, total := make([]float64, len(logits)), 0.
	for seed := range uint64(draws) {
		one, err := d.Generate(t.Context(), m, []int32{3}, Generation{Tokens: 1, Temperature: 2, Seed: seed})
		require.NoError(t, err)
		counts[one[0]]++
	}
	for _, v := range logits {
		total += math.Exp(v / 2)
	}
	for i, v := range logits {
		want := math.Exp(v/2) / total
		require.InDelta(t, want, counts[i]/draws, 4*math.Sqrt(want*(1-want)/draws)+1/draws, "token %d", i)
	}
}

func TestGenerateErrors(t *testing.T) {
	d, m := openDevice(t), causal(t, 1)[0]
	for want, c := range map[string]struct {
		model  *models.Model
		prompt []int32
		o      Generation
	}{
		"the prompt is empty": {m, nil, Generation{}},
		"want 0 to 10":        {m, []int32{11}, Generation{}},
		"at most 7 tokens":    {m, []int32{1}, Generation{Window: 8}},
		"Temperature is -1":   {m, []int32{1}, Generation{Temperature: -1}},
		"Temperature is NaN":  {m, []int32{1}, Generation{Temperature: math.NaN()}},
		"the model is nil":    {nil, []int32{1}, Generation{}},
		"predict the next":    {randomModel(t, modeltest.Words(), 1), []int32{1}, Generation{}},
	} {
		_, err := d.Generate(t.Context(), c.model, c.prompt, c.o)
		require.ErrorContains(t, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Generate(ctx, m, []int32{1}, Generation{})
	require.ErrorIs(t, err, context.Canceled)
}

// TestTransformersLoss: the loss of the checkpoints that transformers wrote is the
// one that transformers computes, with tokens as labels, padding and the third token
// ignored, and so is the continuation of the first three tokens.
func TestTransformersLoss(t *testing.T) {
	dir := os.Getenv("OTFUSE_GOLDEN")
	if dir == "" {
		t.Skip("OTFUSE_GOLDEN is not set: no checkpoints to score")
	}
	d := openDevice(t)
	for name, want := range map[string]struct {
		loss float64
		text []int32
	}{"gpt2": {5.49949836730957, []int32{11, 1, 1, 1}}, "gpt2u": {4.822039604187012, []int32{7, 7, 7, 7}}} {
		m, err := models.Open(filepath.Join(dir, "families", name))
		require.NoError(t, err)
		batch, err := m.ReadSamples(filepath.Join(dir, "families", name, "inputs.safetensors"))
		require.NoError(t, err)
		labels := models.Array{Shape: batch["input_ids"].Shape, Ints: slices.Clone(batch["input_ids"].Ints)}
		for i, kept := range batch["attention_mask"].Ints {
			if kept == 0 {
				labels.Ints[i] = models.Ignore
			}
		}
		labels.Ints[2] = models.Ignore
		batch[models.Labels] = labels
		score, err := d.Evaluate(t.Context(), batch, 3, m)
		require.NoError(t, err)
		require.InDelta(t, want.loss, score.Loss, 1e-5)
		text, err := d.Generate(t.Context(), m, batch["input_ids"].Ints[:3], Generation{Tokens: 4})
		require.NoError(t, err)
		require.Equal(t, want.text, text)
	}
}
