package models

import (
	"fmt"
	"math"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// SimpleViT is SimpleViT of vit-pytorch: norms around the patch projection,
// fixed sine-cosine positions, packed queries, keys and values, the mean over
// the tokens (Beyer, Zhai and Kolesnikov, arXiv:2205.01580). Its configuration
// is a [SimpleViTConfig].
func SimpleViT() Architecture {
	return Architecture{Class: "SimpleViT", Parse: Parser(SimpleViTConfig{Channels: 3})}
}

// A SimpleViTConfig configures a [SimpleViT]. Its network reads pixel_values
// [batch, channels, image, image].
//
// Checkpoints of vit-pytorch are state dicts without a config.json, so it takes
// the keys of [ViTConfig] for the arguments of the Python class: hidden_size for
// dim, num_hidden_layers for depth, num_attention_heads for heads, head_dim for
// dim_head, intermediate_size for mlp_dim, and id2label for the number of
// classes. The activation is always GELU and epsilon is always 1e-5.
type SimpleViTConfig struct {
	Hidden   int               `json:"hidden_size"`
	Layers   int               `json:"num_hidden_layers"`
	Heads    int               `json:"num_attention_heads"`
	HeadDim  int               `json:"head_dim,omitempty"` // 0 means Hidden / Heads, not the 64 of the Python class
	MLP      int               `json:"intermediate_size"`
	Image    int               `json:"image_size"`         // pixels, images are square
	Patch    int               `json:"patch_size"`         // pixels
	Channels int               `json:"num_channels"`       // of the image
	Labels   map[string]string `json:"id2label,omitempty"` // none means two classes
	LabelIDs map[string]int    `json:"label2id,omitempty"`
	InitStd  float64           `json:"initializer_range,omitempty"` // of new weights; 0 means 0.02
	DType    string            `json:"torch_dtype,omitempty"`       // of the tensors, such as float32
}

// Spec implements [Config].
func (c SimpleViTConfig) Spec() (Spec, error) {
	if err := imageSizes(c.Image, c.Patch, c.Channels, size{"hidden_size", c.Hidden}, size{"num_hidden_layers", c.Layers},
		size{"num_attention_heads", c.Heads}, size{"intermediate_size", c.MLP}); err != nil {
		return Spec{}, err
	}
	if c.Hidden%4 != 0 || c.Hidden < 8 {
		return Spec{}, fmt.Errorf("config.json: hidden_size is %d, want a multiple of 4 from 8 on for sine-cosine positions",
			c.Hidden)
	}
	if c.HeadDim < 0 || c.HeadDim > maxSize {
		return Spec{}, fmt.Errorf("config.json: head_dim is %d, want at least 1", c.HeadDim)
	}
	g, err := c.graph()
	side := c.Image / c.Patch
	return Spec{g, []Input{pixels(c.Channels, c.Image)}, align.Layout{Rows: side, Cols: side}}, err
}

// graph is the forward pass.
func (c SimpleViTConfig) graph() (*graph.Graph, error) {
	const eps = 1e-5
	inner := c.Heads * c.HeadDim
	if c.HeadDim == 0 {
		inner = c.Hidden
	}
	var b graph.Builder
	x := b.Norm("to_patch_embedding.1", b.Patches("to_patch_embedding.0", b.Input("pixel_values"), c.Channels, c.Patch),
		eps)
	x = b.Norm("to_patch_embedding.3", b.Linear("to_patch_embedding.2", x, c.Hidden), eps)
	side := c.Image / c.Patch
	x = b.Add("embeddings", x, b.ConstFunc("pos_embedding", side*side, c.Hidden, sineCosine(side, c.Hidden)))
	for i := range c.Layers {
		l := fmt.Sprintf("transformer.layers.%d.", i)
		h := b.Norm(l+"0.norm", x, eps)
		part := func(name string, k int) *graph.Node {
			return b.Linear(l+name, h, inner, graph.NoBias, graph.Packed(l+"0.to_qkv", k, 3))
		}
		h = b.Attend(l+"0.attend", graph.Attention{Heads: c.Heads}, part("0.q", 0), part("0.k", 1), part("0.v", 2))
		x = b.Add(l+"0", b.Linear(l+"0.to_out", h, c.Hidden, graph.NoBias), x)
		h = b.Linear(l+"1.net.1", b.Norm(l+"1.net.0", x, eps), c.MLP)
		x = b.Add(l+"1", b.Linear(l+"1.net.3", b.Act(l+"1.net.2", h, graph.GELU), c.Hidden), x)
	}
	x = b.Mean("to_latent", b.Norm("transformer.norm", x, eps))
	return b.Output(b.Linear("linear_head", x, classes(c.Labels)))
}

// sineCosine returns the position of each token of a grid of side × side patches, row
// by row: sin and cos of x ω and of y ω, ω from 1 down to 1e-4.
func sineCosine(side, units int) func(token int) []float64 {
	return func(token int) []float64 {
		row, n := make([]float64, units), units/4
		for k := range n {
			omega := math.Pow(1e4, -float64(k)/float64(n-1))
			row[k], row[n+k] = math.Sincos(float64(token%side) * omega)
			row[2*n+k], row[3*n+k] = math.Sincos(float64(token/side) * omega)
		}
		return row
	}
}
