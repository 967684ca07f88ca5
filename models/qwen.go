package models

import (
	"errors"
	"fmt"
)

// Qwen2 is Qwen2ForCausalLM of Hugging Face: a [Llama] whose queries, keys and values
// have biases, and whose later layers may see a window of tokens (Yang et al., 2024).
// Its configuration is a [Qwen2Config].
func Qwen2() Architecture {
	a := Llama()
	a.Class, a.Type, a.Parse = "Qwen2ForCausalLM", "qwen2", Parser(Qwen2Config{qwenDefaults(), windowDefaults()})
	return a
}

// Qwen3 is Qwen3ForCausalLM of Hugging Face: a [Llama] that normalises queries and keys
// within heads (Yang et al., 2025). Its configuration is a [Qwen3Config].
func Qwen3() Architecture {
	a, c := Llama(), qwenDefaults()
	c.HeadDim = 128
	a.Class, a.Type, a.Parse = "Qwen3ForCausalLM", "qwen3", Parser(Qwen3Config{c, windowDefaults()})
	return a
}

func qwenDefaults() LlamaConfig {
	c := llamaDefaults()
	c.KeyHeads = 32
	return c
}

func windowDefaults() LayerWindows {
	window := 4096
	return LayerWindows{Window: &window, From: 28}
}

// A Qwen2Config configures a [Qwen2].
type Qwen2Config struct {
	LlamaConfig
	LayerWindows
}

// A Qwen3Config configures a [Qwen3]. AttentionBias is that of a [Llama].
type Qwen3Config struct {
	LlamaConfig
	LayerWindows
}

// LayerWindows say which layers see a window of tokens alone.
type LayerWindows struct {
	Windowed bool     `json:"use_sliding_window"`
	Window   *int     `json:"sliding_window"`        // tokens that one sees, itself included
	From     int      `json:"max_window_layers"`     // the first layer with a window, where Kinds is nil
	Kinds    []string `json:"layer_types,omitempty"` // full_attention or sliding_attention, for each layer
}

// Spec implements [Config].
func (c Qwen2Config) Spec() (Spec, error) {
	own, err := c.sibling()
	own.projectionBias = true
	if own.window, err = c.window(own.LlamaConfig, err); err != nil {
		return Spec{}, err
	}
	return own.spec()
}

// Spec implements [Config].
func (c Qwen3Config) Spec() (Spec, error) {
	own, err := c.decoder()
	own.projectionBias, own.outputBias, own.headNorms = c.AttentionBias, c.AttentionBias, true
	if c.MLPBias {
		err = errors.Join(err, errors.New("config.json: mlp_bias is true, want false: the class has no such biases"))
	}
	sizes := checkSizes(size{"num_key_value_heads", c.KeyHeads}, size{"head_dim", c.HeadDim})
	if own.window, err = c.window(own.LlamaConfig, errors.Join(err, sizes)); err != nil {
		return Spec{}, err
	}
	return own.spec()
}

// window returns the window of each layer of a network, unless there is an error before.
func (w LayerWindows) window(c LlamaConfig, before error) (func(layer int) int, error) {
	if before != nil {
		return nil, before
	}
	if w.Kinds != nil && len(w.Kinds) != c.Layers {
		return nil, fmt.Errorf("config.json: layer_types names %d layers, num_hidden_layers is %d", len(w.Kinds), c.Layers)
	}
	sliding := make([]bool, c.Layers)
	for i := range sliding {
		switch {
		case w.Kinds == nil:
			sliding[i] = w.Windowed && w.Window != nil && i >= w.From
		case w.Kinds[i] == "sliding_attention":
			sliding[i] = w.Windowed && w.Window != nil
		case w.Kinds[i] != "full_attention":
			return nil, fmt.Errorf("config.json: layer_types has %q (supported: full_attention, sliding_attention)", w.Kinds[i])
		}
	}
	if w.Windowed && w.Window != nil {
		if err := checkSizes(size{"sliding_window", *w.Window}); err != nil {
			return nil, err
		}
	}
	return func(layer int) int {
		if !sliding[layer] {
			return 0
		}
		return *w.Window
	}, nil
}
