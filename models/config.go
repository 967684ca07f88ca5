package models

import (
	"encoding/json"
	"fmt"

	"github.com/otfuse/otfuse/graph"
)

// Config holds the hyperparameters of a checkpoint under the names that
// Hugging Face gives them in config.json. Keys that are not listed here are
// kept as they are and written back by [Model.Save].
type Config struct {
	Architectures []string          `json:"architectures"`
	ModelType     string            `json:"model_type,omitempty"`
	Hidden        int               `json:"hidden_size"`
	Layers        int               `json:"num_hidden_layers"`
	Heads         int               `json:"num_attention_heads"`
	MLP           int               `json:"intermediate_size"`
	Act           graph.Activation  `json:"hidden_act"`
	Eps           float64           `json:"layer_norm_eps"`
	InitStd       float64           `json:"initializer_range,omitempty"`
	Labels        map[string]string `json:"id2label,omitempty"`
	LabelIDs      map[string]int    `json:"label2id,omitempty"`

	Image    int   `json:"image_size,omitempty"`   // pixels, images are square
	Patch    int   `json:"patch_size,omitempty"`   // pixels
	Channels int   `json:"num_channels,omitempty"` // of the image
	QKVBias  *bool `json:"qkv_bias,omitempty"`     // nil means true
	HeadDim  int   `json:"head_dim,omitempty"`     // of a SimpleViT; 0 means Hidden / Heads

	Vocab     int    `json:"vocab_size,omitempty"`
	Positions int    `json:"max_position_embeddings,omitempty"`
	TypeVocab int    `json:"type_vocab_size,omitempty"`
	TieWords  *bool  `json:"tie_word_embeddings,omitempty"` // nil means true
	PosType   string `json:"position_embedding_type,omitempty"`

	DType string `json:"torch_dtype,omitempty"`

	raw []byte // config.json as it was read
}

// ParseConfig reads the text of a config.json.
func ParseConfig(text []byte) (Config, error) {
	c := Config{Act: graph.GELU, Eps: 1e-12, InitStd: 0.02, Channels: 3}
	if err := json.Unmarshal(text, &c); err != nil {
		return Config{}, fmt.Errorf("models: config.json: %w", err)
	}
	c.raw = append([]byte(nil), text...)
	return c, nil
}

// Classes returns the number of labels; 2 where the configuration names none,
// as in Hugging Face.
func (c Config) Classes() int {
	if len(c.Labels) == 0 {
		return 2
	}
	return len(c.Labels)
}

// JSON returns the text of a config.json: as it was read, or, for a
// configuration made in Go, its fields.
func (c Config) JSON() ([]byte, error) {
	if c.raw != nil {
		return c.raw, nil
	}
	return json.MarshalIndent(c, "", "  ")
}

// positive reports the first of the named sizes that is not at least 1.
func positive(sizes ...size) error {
	for _, s := range sizes {
		if s.value < 1 {
			return fmt.Errorf("config.json: %s is %d, want at least 1", s.key, s.value)
		}
		limit := 1 << 24
		if s.key == "num_hidden_layers" {
			limit = 1 << 12 // every layer takes memory before a weight is read
		}
		if s.value > limit {
			return fmt.Errorf("config.json: %s is %d, which is absurd", s.key, s.value)
		}
	}
	return nil
}

type size struct {
	key   string
	value int
}
