package models

import (
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// ViT is ViTForImageClassification of Hugging Face: pre-norm, class token,
// learned positions (Dosovitskiy et al., ICLR 2021). Input: pixel_values
// [batch, channels, image, image].
func ViT() Architecture {
	return Architecture{
		Class:  "ViTForImageClassification",
		Graph:  vit,
		Inputs: images,
		Layout: func(c Config) align.Layout {
			return align.Layout{Lead: 1, Rows: c.Image / c.Patch, Cols: c.Image / c.Patch}
		},
	}
}

// images checks pixel_values [N, C, H, W].
func images(c Config, b Batch) error {
	x, ok := b["pixel_values"]
	if !ok {
		return fmt.Errorf("there are no pixel_values")
	}
	if want := []int{c.Channels, c.Image, c.Image}; len(x.Shape) != 4 || !slices.Equal(x.Shape[1:], want) || x.Floats == nil {
		return fmt.Errorf("pixel_values has shape %v, want [N %d %d %d] of floats", x.Shape, c.Channels, c.Image, c.Image)
	}
	return labelled(b, x.Shape[:1], c.Classes())
}

// labelled checks the labels of a batch, if it has any.
func labelled(b Batch, shape []int, classes int) error {
	y, ok := b[Labels]
	if !ok {
		return nil
	}
	if !slices.Equal(y.Shape, shape) || y.Floats != nil {
		return fmt.Errorf("labels has shape %v, want %v of integers", y.Shape, shape)
	}
	for i, v := range y.Ints {
		if v != Ignore && (v < 0 || int(v) >= classes) {
			return fmt.Errorf("label %d is %d, want 0 to %d", i, v, classes-1)
		}
	}
	return nil
}

// imageSizes reports the first size of a network on images that cannot be.
func imageSizes(c Config) error {
	err := positive(size{"hidden_size", c.Hidden}, size{"num_hidden_layers", c.Layers},
		size{"num_attention_heads", c.Heads}, size{"intermediate_size", c.MLP}, size{"image_size", c.Image},
		size{"patch_size", c.Patch}, size{"num_channels", c.Channels})
	if err == nil && c.Image%c.Patch != 0 {
		err = fmt.Errorf("config.json: image_size %d is not a multiple of patch_size %d", c.Image, c.Patch)
	}
	return err
}

func vit(c Config) (*graph.Graph, error) {
	if err := imageSizes(c); err != nil {
		return nil, err
	}
	var qkv []graph.LinearOption
	if c.QKVBias != nil && !*c.QKVBias {
		qkv = append(qkv, graph.NoBias)
	}
	tokens := (c.Image/c.Patch)*(c.Image/c.Patch) + 1
	var b graph.Builder
	x := b.Linear("vit.embeddings.patch_embeddings.projection", b.Input("pixel_values"), c.Hidden, graph.Conv(c.Channels, c.Patch))
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
	return b.Output(b.Linear("classifier", x, c.Classes()))
}
