package models

import (
	"fmt"

	"github.com/otfuse/otfuse/graph"
)

// GPTNeoX is GPTNeoXForCausalLM of Hugging Face: pre-norm, rotary positions on a part of
// each head, attention and MLP side by side on one residual stream, and queries, keys and
// values packed head by head (Black et al., 2022; Biderman et al., "Pythia", 2023). Its
// configuration is a [GPTNeoXConfig].
func GPTNeoX() Architecture {
	return Architecture{
		Class: "GPTNeoXForCausalLM",
		Type:  "gpt_neox",
		Parse: Parser(GPTNeoXConfig{Act: graph.GELU, Eps: 1e-5, Theta: 10000, PartRotary: 0.25, Parallel: true,
			AttentionBias: true}),
		Prefix:  "gpt_neox.",
		Ignored: []string{"attention.bias", "attention.masked_bias", "rotary_emb.inv_freq", "embed_out.weight"},
	}
}

// A GPTNeoXConfig configures a [GPTNeoX]. Its network reads input_ids and attention_mask
// (1 where it is left out), both [batch, tokens].
type GPTNeoXConfig struct {
	Hidden        int              `json:"hidden_size"`
	Layers        int              `json:"num_hidden_layers"`
	Heads         int              `json:"num_attention_heads"`
	MLP           int              `json:"intermediate_size"`
	Act           graph.Activation `json:"hidden_act"`
	Eps           float64          `json:"layer_norm_eps"`
	Vocab         int              `json:"vocab_size"`
	Positions     int              `json:"max_position_embeddings,omitempty"` // longest text; 0 means any
	Theta         float64          `json:"rotary_emb_base"`
	PartRotary    float64          `json:"rotary_pct"`                  // of the units of each head
	Scaling       *RopeScaling     `json:"rope_scaling,omitempty"`      // nil means as Theta says
	Parallel      bool             `json:"use_parallel_residual"`       // the MLP reads what attention reads
	AttentionBias bool             `json:"attention_bias"`              // of queries, keys, values and what reads them
	Tied          bool             `json:"tie_word_embeddings"`         // logits over the word embeddings
	InitStd       float64          `json:"initializer_range,omitempty"` // of new weights; 0 means 0.02
	DType         string           `json:"torch_dtype,omitempty"`       // of the tensors, such as float32
}

// Spec implements [Config].
func (c GPTNeoXConfig) Spec() (Spec, error) {
	if err := checkSizes(size{"hidden_size", c.Hidden}, size{"num_hidden_layers", c.Layers},
		size{"num_attention_heads", c.Heads}, size{"intermediate_size", c.MLP}, size{"vocab_size", c.Vocab}); err != nil {
		return Spec{}, err
	}
	if !(c.PartRotary > 0 && c.PartRotary <= 1) {
		return Spec{}, fmt.Errorf("config.json: rotary_pct is %g, want more than 0 and at most 1", c.PartRotary)
	}
	rope, err := c.Scaling.rope(c.Theta, int(float64(c.Hidden/c.Heads)*c.PartRotary), c.Positions)
	if err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	ids, mask := b.Input("input_ids"), b.Input("attention_mask")
	words := b.Embed("gpt_neox.embed_in", c.Hidden, c.Vocab, ids)
	x := words
	for i := range c.Layers {
		l := fmt.Sprintf("gpt_neox.layers.%d.", i)
		h := c.attention(&b, l+"attention", b.Norm(l+"input_layernorm", x, c.Eps), rope, mask)
		if c.Parallel {
			x = b.Add(l+"sum", c.mlp(&b, l, x), h, x)
			continue
		}
		x = b.Add(l+"attention.sum", h, x)
		x = b.Add(l+"mlp.sum", c.mlp(&b, l, x), x)
	}
	x = b.Norm("gpt_neox.final_layer_norm", x, c.Eps)
	if c.Tied {
		x = b.Unembed("embed_out", x, words, graph.NoBias)
	} else {
		x = b.Linear("embed_out", x, c.Vocab, graph.NoBias)
	}
	g, err := b.Output(x)
	return Spec{Graph: g, Inputs: causalInputs(c.Positions, c.Vocab)}, err
}

// attention declares the attention of a layer, and what reads it.
func (c GPTNeoXConfig) attention(b *graph.Builder, name string, x *graph.Node, rope graph.Rope,
	mask *graph.Node) *graph.Node {
	part := func(k int) *graph.Node {
		packed := graph.PackedPerHead(name+".query_key_value", k, 3, c.Heads)
		return b.Linear(name+[]string{".query", ".key", ".value"}[k], x, c.Hidden, append(biased(c.AttentionBias), packed)...)
	}
	h := b.Attend(name, graph.Attention{Heads: c.Heads, Mask: mask, Causal: true},
		b.Rotary(name+".query_rotary", c.Heads, part(0), rope), b.Rotary(name+".key_rotary", c.Heads, part(1), rope), part(2))
	return b.Linear(name+".dense", h, c.Hidden, biased(c.AttentionBias)...)
}

// mlp declares the MLP of a layer on the residual stream.
func (c GPTNeoXConfig) mlp(b *graph.Builder, l string, x *graph.Node) *graph.Node {
	h := b.Linear(l+"mlp.dense_h_to_4h", b.Norm(l+"post_attention_layernorm", x, c.Eps), c.MLP)
	return b.Linear(l+"mlp.dense_4h_to_h", b.Act(l+"mlp.act", h, c.Act), c.Hidden)
}
