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
		Class:   "ViTForImageClassification",
		Type:    "vit",
		Parse:   Parser(vitDefaults()),
		Prefix:  "vit.",
		Renamed: vitModules(),
		Ignored: []string{"mask_token"},
	}
}

// vitModules leads from the names of modules in transformers 5 to those in files,
// which are of version 4.
func vitModules() []string {
	return []string{
		".layers.", ".encoder.layer.",
		".attention.q_proj.", ".attention.attention.query.",
		".attention.k_proj.", ".attention.attention.key.",
		".attention.v_proj.", ".attention.attention.value.",
		".attention.o_proj.", ".attention.output.dense.",
		".mlp.fc1.", ".intermediate.dense.",
		".mlp.fc2.", ".output.dense.",
	}
}

func vitDefaults() ViTConfig { return ViTConfig{Act: graph.GELU, Eps: 1e-12, Channels: 3} }

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
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x := c.encoder(&b, "vit.")
	g, err := b.Output(b.Linear("classifier", b.Select("cls", x), classes(c.Labels)))
	return Spec{g, []Input{pixels(c.Channels, c.Image)}, c.layout(1)}, err
}

// check reports the first size that a ViT cannot have.
func (c ViTConfig) check() error {
	return imageSizes(c.Image, c.Patch, c.Channels, size{"hidden_size", c.Hidden}, size{"num_hidden_layers", c.Layers},
		size{"num_attention_heads", c.Heads}, size{"intermediate_size", c.MLP})
}

// layout returns how the tokens lie: some that were put before the image, then the
// grid of its patches.
func (c ViTConfig) layout(lead int) align.Layout {
	side := c.Image / c.Patch
	return align.Layout{Lead: lead, Rows: side, Cols: side}
}

// encoder declares the layers that ViT and DeiT share, whose names begin with
// prefix. Further tokens stand between the class token and the patches.
func (c ViTConfig) encoder(b *graph.Builder, prefix string, further ...string) *graph.Node {
	var qkv []graph.LinearOption
	if c.QKVBias != nil && !*c.QKVBias {
		qkv = append(qkv, graph.NoBias)
	}
	e, positions := prefix+"embeddings", (c.Image/c.Patch)*(c.Image/c.Patch)+1+len(further)
	x := b.Linear(e+".patch_embeddings.projection", b.Input("pixel_values"), c.Hidden, graph.Conv(c.Channels, c.Patch))
	for _, token := range further {
		x = b.Prepend(e+".tokens."+token, x, b.Table(e+"."+token, c.Hidden, 1, 1))
	}
	x = b.Prepend(e+".tokens", x, b.Table(e+".cls_token", c.Hidden, 1, 1))
	x = b.Add(e, x, b.Table(e+".position_embeddings", c.Hidden, 1, positions))
	for i := range c.Layers {
		l := fmt.Sprintf("%sencoder.layer.%d.", prefix, i)
		h := b.Norm(l+"layernorm_before", x, c.Eps)
		h = b.Attend(l+"attention.attention", graph.Attention{Heads: c.Heads},
			b.Linear(l+"attention.attention.query", h, c.Hidden, qkv...),
			b.Linear(l+"attention.attention.key", h, c.Hidden, qkv...),
			b.Linear(l+"attention.attention.value", h, c.Hidden, qkv...))
		x = b.Add(l+"attention", b.Linear(l+"attention.output.dense", h, c.Hidden), x)
		h = b.Norm(l+"layernorm_after", x, c.Eps)
		h = b.Act(l+"intermediate", b.Linear(l+"intermediate.dense", h, c.MLP), c.Act)
		x = b.Add(l+"output", b.Linear(l+"output.dense", h, c.Hidden), x)
	}
	return b.Norm(prefix+"layernorm", x, c.Eps)
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
