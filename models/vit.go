package models

import (
	"fmt"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// ViT is ViTForImageClassification of Hugging Face: pre-norm, class token,
// learned positions (Dosovitskiy et al., ICLR 2021). Its configuration is a
// [ViTConfig].
func ViT() Architecture {
	return Architecture{
		Class: "ViTForImageClassification",
		Type:  "vit",
		Parse: Parser(ViTConfig{Act: graph.GELU, Eps: 1e-12, Channels: 3}),
	}
}

// A ViTConfig configures a [ViT]. Its network reads pixel_values [batch,
// channels, image, image].
type ViTConfig struct {
	Hidden   int               `json:"hidden_size"`
	Layers   int               `json:"num_hidden_layers"`
	Heads    int               `json:"num_attention_heads"`
	MLP      int               `json:"intermediate_size"`
	Act      graph.Activation  `json:"hidden_act"`
	Eps      float64           `json:"layer_norm_eps"`
	Image    int               `json:"image_size"`         // pixels, images are square
	Patch    int               `json:"patch_size"`         // pixels
	Channels int               `json:"num_channels"`       // of the image
	QKVBias  *bool             `json:"qkv_bias,omitempty"` // nil means true
	Labels   map[string]string `json:"id2label,omitempty"` // none means two classes
	LabelIDs map[string]int    `json:"label2id,omitempty"`
	InitStd  float64           `json:"initializer_range,omitempty"` // of new weights; 0 means 0.02
	DType    string            `json:"torch_dtype,omitempty"`       // of the tensors, such as float32
}

// Spec implements [Config].
func (c ViTConfig) Spec() (Spec, error) {
	if err := imageSizes(c.Image, c.Patch, c.Channels, size{"hidden_size", c.Hidden}, size{"num_hidden_layers", c.Layers},
		size{"num_attention_heads", c.Heads}, size{"intermediate_size", c.MLP}); err != nil {
		return Spec{}, err
	}
	g, err := c.graph()
	side := c.Image / c.Patch
	return Spec{g, []Input{pixels(c.Channels, c.Image)}, align.Layout{Lead: 1, Rows: side, Cols: side}}, err
}

// graph is the forward pass.
func (c ViTConfig) graph() (*graph.Graph, error) {
	var qkv []graph.LinearOption
	if c.QKVBias != nil && !*c.QKVBias {
		qkv = append(qkv, graph.NoBias)
	}
	tokens := (c.Image/c.Patch)*(c.Image/c.Patch) + 1
	var b graph.Builder
	x := b.Linear("vit.embeddings.patch_embeddings.projection", b.Input("pixel_values"), c.Hidden,
		graph.Conv(c.Channels, c.Patch))
	x = b.Prepend("vit.embeddings.tokens", x, b.Table("vit.embeddings.cls_token", c.Hidden, 1, 1))
	x = b.Add("vit.embeddings", x, b.Table("vit.embeddings.position_embeddings", c.Hidden, 1, tokens))
	for i := range c.Layers {
		l := fmt.Sprintf("vit.encoder.layer.%d.", i)
		h := b.Norm(l+"layernorm_before", x, c.Eps)
		h = b.Attend(l+"attention.attention", c.Heads,
			b.Linear(l+"attention.attention.query", h, c.Hidden, qkv...),
			b.Linear(l+"attention.attention.key", h, c.Hidden, qkv...),
			b.Linear(l+"attention.attention.value", h, c.Hidden, qkv...))
		x = b.Add(l+"attention", b.Linear(l+"attention.output.dense", h, c.Hidden), x)
		h = b.Norm(l+"layernorm_after", x, c.Eps)
		h = b.Act(l+"intermediate", b.Linear(l+"intermediate.dense", h, c.MLP), c.Act)
		x = b.Add(l+"output", b.Linear(l+"output.dense", h, c.Hidden), x)
	}
	x = b.Select("cls", b.Norm("vit.layernorm", x, c.Eps))
	return b.Output(b.Linear("classifier", x, classes(c.Labels)))
}

// pixels is the input of networks on square images.
func pixels(channels, side int) Input {
	return Input{Name: "pixel_values", Shape: []int{channels, side, side}}
}

// imageSizes reports the first size that a network on images cannot have.
func imageSizes(image, patch, channels int, others ...size) error {
	others = append(others, size{"image_size", image}, size{"patch_size", patch}, size{"num_channels", channels})
	err := checkSizes(others...)
	if err == nil && image%patch != 0 {
		err = fmt.Errorf("config.json: image_size %d is not a multiple of patch_size %d", image, patch)
	}
	return err
}
