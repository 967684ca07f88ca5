package models

import "errors"

// Mistral is MistralForCausalLM of Hugging Face: a [Llama] whose tokens may see only a
// window of those before them (Jiang et al., 2023). Its configuration is a
// [MistralConfig].
func Mistral() Architecture {
	a, c := Llama(), llamaDefaults()
	window := 4096
	c.KeyHeads = 8
	a.Class, a.Type, a.Parse = "MistralForCausalLM", "mistral", Parser(MistralConfig{LlamaConfig: c, Window: &window})
	return a
}

// A MistralConfig configures a [Mistral]. No layer but its norms has more than weights.
type MistralConfig struct {
	LlamaConfig
	Window *int `json:"sliding_window"` // tokens that one sees, itself included; nil for all before it
}

// Spec implements [Config].
func (c MistralConfig) Spec() (Spec, error) {
	own, err := c.sibling()
	if err == nil && c.Window != nil {
		window := *c.Window
		err = checkSizes(size{"sliding_window", window})
		own.window = func(int) int { return window }
	}
	if err != nil {
		return Spec{}, err
	}
	return own.spec()
}

// sibling returns the sizes of a network that is not a Llama, and so has the biases of
// its class and names its heads of keys.
func (c LlamaConfig) sibling() (gatedDecoder, error) {
	own, err := c.decoder()
	return own, errors.Join(err, checkSizes(size{"num_key_value_heads", c.KeyHeads}), c.checkBiases())
}

// checkBiases reports biases that a class does not have.
func (c LlamaConfig) checkBiases() error {
	if c.AttentionBias || c.MLPBias {
		return errors.New("config.json: attention_bias or mlp_bias is true, want false: the class has no such biases")
	}
	return nil
}
