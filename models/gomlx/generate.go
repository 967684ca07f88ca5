package gomlx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/models"
)

// A Generation says how [Device.Generate] continues a text. The zero value takes the
// most likely token 32 times.
type Generation struct {
	Tokens      int     // most tokens to add; 0 means 32
	Window      int     // tokens that are read to find the next, the latest ones; 0 means all that the network can read
	Temperature float64 // of softmax(logits / Temperature), which tokens are drawn from; 0 takes the most likely one
	Seed        uint64  // of the draws
	Stop        []int32 // ids that end the text; they are not returned
}

// maxWindow bounds a Window that nobody asked for.
const maxWindow = 1024

// Generate returns the tokens with which a causal language model continues a prompt
// of at least one token, without the prompt. Every token is found by a forward pass
// over the whole window, which is filled up to one length, so that a single program
// is compiled: for a look at what a model says, not for serving.
func (d *Device) Generate(ctx context.Context, m *models.Model, prompt []int32, o Generation) ([]int32, error) {
	done, err := d.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := usable(m); err != nil {
		return nil, err
	}
	if o, err = o.filled(m, prompt); err != nil {
		return nil, located("generation", err)
	}
	params, err := d.upload(ctx, m)
	if err != nil {
		return nil, err
	}
	out, err := d.generate(ctx, generation{o, m, params}, prompt)
	return out, located("generation", errors.Join(err, free(params...)))
}

// filled returns the options with every field set, or says which is out of range.
func (o Generation) filled(m *models.Model, prompt []int32) (Generation, error) {
	if !m.PredictsNext() {
		return o, fmt.Errorf("%s does not predict the next token", m.Arch.Class)
	}
	if len(prompt) == 0 {
		return o, errors.New("the prompt is empty")
	}
	if !(o.Temperature >= 0) || math.IsInf(o.Temperature, 0) {
		return o, fmt.Errorf("Temperature is %g, want a finite number of at least 0", o.Temperature)
	}
	in, _ := m.Input("input_ids")
	longest := cmp.Or(in.Longest, max(maxWindow, o.Window))
	if o.Tokens < 0 || o.Window < 0 || o.Window > longest {
		return o, fmt.Errorf("Tokens is %d and Window %d, want at least 0 and at most %d tokens to read",
			o.Tokens, o.Window, longest)
	}
	o.Tokens = cmp.Or(o.Tokens, 32)
	o.Window = cmp.Or(o.Window, min(longest, maxWindow, len(prompt)+o.Tokens))
	return o, nil
}

// A generation is one call of Generate.
type generation struct {
	Generation
	model  *models.Model
	params []*array
}

func (d *Device) generate(ctx context.Context, run generation, prompt []int32) ([]int32, error) {
	random := rand.New(rand.NewPCG(run.Seed, 11))
	text := slices.Clone(prompt)
	for range run.Tokens {
		logits, err := d.nextLogits(ctx, run, text[max(len(text)-run.Window, 0):])
		if err != nil {
			return nil, err
		}
		next := drawToken(logits, run.Temperature, random)
		if slices.Contains(run.Stop, next) {
			break
		}
		text = append(text, next)
	}
	return text[len(prompt):], nil
}

// nextLogits returns the logits of the token that follows a text.
func (d *Device) nextLogits(ctx context.Context, run generation, text []int32) ([]float32, error) {
	g := run.model.Graph
	inputs, all := g.Inputs(), tensorNames(g)
	p := d.cached("next token of "+signature(g), "next token of "+run.model.Arch.Class, computation{
		graph: func(in []*gx.Node) []*gx.Node {
			k := len(inputs)
			logits := logitsOf(interpret(g, byName(all, in[k+1:]), byName(inputs, in[:k]))) // [1, tokens, words]
			at := gx.OneHot(in[k], logits.Shape().Dim(1), dtypes.Float32)                   // [1, tokens]
			return []*gx.Node{gx.Einsum("bt,btv->bv", at, logits)}
		}})
	batch, err := completed(run.model, paddedText(run, text))
	if err != nil {
		return nil, err
	}
	in, err := d.uploadBatch(batch, inputs)
	if err != nil {
		return nil, err
	}
	in = append(in, newArray(tensors.FromFlatDataAndDimensions([]int32{int32(len(text) - 1)}, 1)))
	out, err := p.call(ctx, arguments(in, run.params)...)
	if err = errors.Join(err, free(in...)); err != nil {
		return nil, err
	}
	logits, err := valuesOf[float32](out[0])
	return logits, errors.Join(err, free(out...))
}

// paddedText is a batch of one text, filled up to the window. No token of the text
// sees what comes after it.
func paddedText(run generation, text []int32) models.Batch {
	array := func(values []int32) models.Array {
		return models.Array{Shape: []int{1, run.Window}, Ints: append(values, make([]int32, run.Window-len(text))...)}
	}
	batch := models.Batch{"input_ids": array(slices.Clone(text))}
	if _, masked := run.model.Input("attention_mask"); masked {
		batch["attention_mask"] = array(slices.Repeat([]int32{1}, len(text)))
	}
	return batch
}

// drawToken draws from softmax(logits / temperature), or returns the most likely
// token where the temperature is 0.
func drawToken(logits []float32, temperature float64, random *rand.Rand) int32 {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	if temperature == 0 {
		return int32(best)
	}
	weights, total := make([]float64, len(logits)), 0.
	for i, v := range logits {
		weights[i] = math.Exp(float64(v-logits[best]) / temperature)
		total += weights[i]
	}
	at := random.Float64() * total
	for i, w := range weights {
		if at -= w; at < 0 {
			return int32(i)
		}
	}
	return int32(best) // rounding left a little
}
