package models

import (
	"fmt"

	"github.com/otfuse/otfuse/graph"
)

// Llama is LlamaForCausalLM of Hugging Face: pre-norm without means, rotary positions,
// gated hidden units, and keys and values that several queries may share (Touvron et
// al., 2023). Its configuration is a [LlamaConfig].
func Llama() Architecture {
	return Architecture{
		Class:   "LlamaForCausalLM",
		Type:    "llama",
		Parse:   Parser(llamaDefaults()),
		Prefix:  "model.",
		Ignored: []string{"rotary_emb.inv_freq", "lm_head.weight"},
	}
}

func llamaDefaults() LlamaConfig { return LlamaConfig{Act: graph.SiLU, Eps: 1e-6, Theta: 10000} }

// A LlamaConfig configures a [Llama]. Its network reads input_ids and attention_mask (1
// where it is left out), both [batch, tokens].
type LlamaConfig struct {
	Hidden        int              `json:"hidden_size"`
	Layers        int              `json:"num_hidden_layers"`
	Heads         int              `json:"num_attention_heads"`
	KeyHeads      int              `json:"num_key_value_heads,omitempty"` // of keys and values; 0 means Heads
	HeadDim       int              `json:"head_dim,omitempty"`            // units of a head; 0 means Hidden/Heads
	MLP           int              `json:"intermediate_size"`
	Act           graph.Activation `json:"hidden_act"`
	Eps           float64          `json:"rms_norm_eps"`
	Vocab         int              `json:"vocab_size"`
	Positions     int              `json:"max_position_embeddings,omitempty"` // longest text; 0 means any
	Theta         float64          `json:"rope_theta"`
	Scaling       *RopeScaling     `json:"rope_scaling,omitempty"` // nil means as Theta says
	PartRotary    float64          `json:"partial_rotary_factor,omitempty"`
	AttentionBias bool             `json:"attention_bias"` // of queries, keys, values and what reads attention
	MLPBias       bool             `json:"mlp_bias"`
	Tied          bool             `json:"tie_word_embeddings"`         // logits over the word embeddings
	InitStd       float64          `json:"initializer_range,omitempty"` // of new weights; 0 means 0.02
	DType         string           `json:"torch_dtype,omitempty"`       // of the tensors, such as float32
}

// Spec implements [Config].
func (c LlamaConfig) Spec() (Spec, error) {
	own, err := c.decoder()
	own.projectionBias, own.outputBias, own.mlpBias = c.AttentionBias, c.AttentionBias, c.MLPBias
	if err != nil {
		return Spec{}, err
	}
	return own.spec()
}

// decoder returns the sizes of the network without what its siblings do otherwise.
func (c LlamaConfig) decoder() (gatedDecoder, error) {
	if c.KeyHeads == 0 {
		c.KeyHeads = c.Heads
	}
	if err := checkSizes(size{"hidden_size", c.Hidden}, size{"num_hidden_layers", c.Layers},
		size{"num_attention_heads", c.Heads}, size{"num_key_value_heads", c.KeyHeads},
		size{"intermediate_size", c.MLP}, size{"vocab_size", c.Vocab}); err != nil {
		return gatedDecoder{}, err
	}
	if c.HeadDim == 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if err := checkSizes(size{"head_dim", c.HeadDim}); err != nil {
		return gatedDecoder{}, err
	}
	switch {
	case c.Heads%c.KeyHeads != 0:
		return gatedDecoder{}, fmt.Errorf("config.json: num_attention_heads %d is not a multiple of num_key_value_heads %d",
			c.Heads, c.KeyHeads)
	case c.PartRotary != 0 && c.PartRotary != 1:
		return gatedDecoder{}, fmt.Errorf("config.json: partial_rotary_factor is %g, want 1: the class turns whole heads",
			c.PartRotary)
	}
	rope, err := c.Scaling.rope(c.Theta, c.HeadDim, c.Positions)
	return gatedDecoder{LlamaConfig: c, rope: rope, window: func(int) int { return 0 }}, err
}

// A gatedDecoder is a decoder of the family of Llama.
type gatedDecoder struct {
	LlamaConfig
	rope                                graph.Rope
	window                              func(layer int) int // of attention; 0 for all tokens before
	projectionBias, outputBias, mlpBias bool                // of queries, keys and values; of what reads them; of the MLP
	headNorms                           bool                // queries and keys are normalised within heads
}

func (c gatedDecoder) spec() (Spec, error) {
	var b graph.Builder
	ids, mask := b.Input("input_ids"), b.Input("attention_mask")
	words := b.Embed("model.embed_tokens", c.Hidden, c.Vocab, ids)
	x := words
	for i := range c.Layers {
		l := fmt.Sprintf("model.layers.%d.", i)
		h := b.RMSNorm(l+"input_layernorm", x, c.Eps)
		attention := graph.Attention{Heads: c.Heads, Mask: mask, Causal: true, Window: c.window(i)}
		h = b.Attend(l+"self_attn", attention, c.projection(&b, l+"self_attn.q", c.Heads, h),
			c.projection(&b, l+"self_attn.k", c.KeyHeads, h),
			b.Linear(l+"self_attn.v_proj", h, c.KeyHeads*c.HeadDim, biased(c.projectionBias)...))
		x = b.Add(l+"self_attn.sum", b.Linear(l+"self_attn.o_proj", h, c.Hidden, biased(c.outputBias)...), x)
		h = b.RMSNorm(l+"post_attention_layernorm", x, c.Eps)
		gate := b.Linear(l+"mlp.gate_proj", h, c.MLP, biased(c.mlpBias)...)
		up := b.Linear(l+"mlp.up_proj", h, c.MLP, biased(c.mlpBias)...)
		h = b.Mul(l+"mlp.product", b.Act(l+"mlp.act_fn", gate, c.Act), up)
		x = b.Add(l+"mlp.sum", b.Linear(l+"mlp.down_proj", h, c.Hidden, biased(c.mlpBias)...), x)
	}
	x = b.RMSNorm("model.norm", x, c.Eps)
	if c.Tied {
		x = b.Unembed("lm_head", x, words, graph.NoBias)
	} else {
		x = b.Linear("lm_head", x, c.Vocab, graph.NoBias)
	}
	g, err := b.Output(x)
	return Spec{Graph: g, Inputs: causalInputs(c.Positions, c.Vocab)}, err
}

// causalInputs are what decoders read: ids of texts that are at most so long, and a mask.
func causalInputs(longest, vocab int) []Input {
	return []Input{
		{Name: "input_ids", Shape: []int{Any}, Longest: longest, Below: vocab},
		{Name: "attention_mask", Like: "input_ids", Below: 2, Default: Filled(1)},
	}
}

// projection declares queries or keys at their positions.
func (c gatedDecoder) projection(b *graph.Builder, name string, heads int, x *graph.Node) *graph.Node {
	h := b.Linear(name+"_proj", x, heads*c.HeadDim, biased(c.projectionBias)...)
	if c.headNorms {
		h = b.HeadNorm(name+"_norm", heads, h, c.Eps)
	}
	return b.Rotary(name+"_rotary", heads, h, c.rope)
}

// biased returns the options of a linear layer with a bias or without one.
//
//nolint:revive // a key of config.json
func biased(bias bool) []graph.LinearOption {
	if bias {
		return nil
	}
	return []graph.LinearOption{graph.NoBias}
}
