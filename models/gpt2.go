package models

import (
	"fmt"
	"math"

	"github.com/otfuse/otfuse/graph"
)

// GPT2 is GPT2LMHeadModel of Hugging Face: pre-norm, causal, learned positions,
// weights stored as [inputs, units] with queries, keys and values side by side, and
// logits over the word embeddings or over a layer of their own (Radford et al., 2019).
// Its configuration is a [GPT2Config].
func GPT2() Architecture {
	return Architecture{
		Class:   "GPT2LMHeadModel",
		Type:    "gpt2",
		Parse:   Parser(gpt2Defaults()),
		Prefix:  "transformer.",
		Ignored: []string{"attn.bias", "attn.masked_bias", "lm_head.weight"},
	}
}

func gpt2Defaults() GPT2Config {
	return GPT2Config{Act: graph.GELUTanh, Eps: 1e-5, ScaleByWidth: true, Tied: true}
}

// A GPT2Config configures a [GPT2]. Its network reads input_ids and attention_mask (1
// where it is left out), both [batch, tokens].
type GPT2Config struct {
	Hidden       int              `json:"n_embd"`
	Layers       int              `json:"n_layer"`
	Heads        int              `json:"n_head"`
	MLP          *int             `json:"n_inner"` // hidden units; nil means four times Hidden
	Act          graph.Activation `json:"activation_function"`
	Eps          float64          `json:"layer_norm_epsilon"`
	Vocab        int              `json:"vocab_size"`
	Positions    int              `json:"n_positions"`
	ScaleByWidth bool             `json:"scale_attn_weights"`              // scores over √d
	ScaleByLayer bool             `json:"scale_attn_by_inverse_layer_idx"` // scores of layer i, from 0, over i + 1
	Reordered    bool             `json:"reorder_and_upcast_attn"`         // changes the precision of scores alone
	Tied         bool             `json:"tie_word_embeddings"`             // logits over the word embeddings
	InitStd      float64          `json:"initializer_range,omitempty"`     // of new weights; 0 means 0.02
	DType        string           `json:"torch_dtype,omitempty"`           // of the tensors, such as float32
}

// Spec implements [Config].
func (c GPT2Config) Spec() (Spec, error) {
	mlp := 4 * c.Hidden
	if c.MLP != nil {
		mlp = *c.MLP
	}
	if err := checkSizes(size{"n_embd", c.Hidden}, size{"n_layer", c.Layers}, size{"n_head", c.Heads},
		size{"n_inner", mlp}, size{"vocab_size", c.Vocab}, size{"n_positions", c.Positions}); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	ids, mask := b.Input("input_ids"), b.Input("attention_mask")
	words := b.Embed("transformer.wte", c.Hidden, c.Vocab, ids)
	x := b.Add("transformer.embeddings", words, b.Positions("transformer.wpe", c.Hidden, c.Positions))
	for i := range c.Layers {
		l := fmt.Sprintf("transformer.h.%d.", i)
		h := b.Norm(l+"ln_1", x, c.Eps)
		part := func(name string, k int) *graph.Node {
			return b.Linear(l+"attn."+name, h, c.Hidden, graph.Transposed, graph.Packed(l+"attn.c_attn", k, 3))
		}
		attention := graph.Attention{Heads: c.Heads, Mask: mask, Causal: true, Scale: c.scale(i)}
		h = b.Attend(l+"attn", attention, part("q", 0), part("k", 1), part("v", 2))
		x = b.Add(l+"attn.sum", b.Linear(l+"attn.c_proj", h, c.Hidden, graph.Transposed), x)
		h = b.Act(l+"mlp.act", b.Linear(l+"mlp.c_fc", b.Norm(l+"ln_2", x, c.Eps), mlp, graph.Transposed), c.Act)
		x = b.Add(l+"mlp.sum", b.Linear(l+"mlp.c_proj", h, c.Hidden, graph.Transposed), x)
	}
	x = b.Norm("transformer.ln_f", x, c.Eps)
	if c.Tied {
		x = b.Unembed("lm_head", x, words, graph.NoBias)
	} else {
		x = b.Linear("lm_head", x, c.Vocab, graph.NoBias)
	}
	g, err := b.Output(x)
	return Spec{Graph: g, Inputs: causalInputs(c.Positions, c.Vocab)}, err
}

// scale is the factor of the scores of layer i, from 0, on top of 1/√d.
func (c GPT2Config) scale(i int) float64 {
	scale := 1.0
	if !c.ScaleByWidth {
		scale = math.Sqrt(float64(c.Hidden) / float64(c.Heads))
	}
	if c.ScaleByLayer {
		scale /= float64(i + 1)
	}
	return scale
}
