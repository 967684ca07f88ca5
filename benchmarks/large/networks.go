package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// A network is what can be fused.
type network struct {
	arch   models.Architecture
	config models.Config
	dtype  safetensors.DType
}

// networks are those of which two random ones are fused.
func networks() map[string]network {
	small := bert(16, 2)
	small.MLP, small.Heads, small.Vocab = 64, 2, 100
	out := map[string]network{
		"vit-l":       {models.ViT(), vitLarge(), safetensors.F32},
		"bert-large":  {models.BERTForMaskedLM(), bert(1024, 24), safetensors.F32},
		"bert-small":  {models.BERTForMaskedLM(), small, safetensors.F32},
		"llama-small": {models.Llama(), llama(128), safetensors.BF16},
		"llama-1b":    {models.Llama(), llama(2048), safetensors.BF16},
	}
	for _, width := range []int{256, 512, 1024} {
		out[fmt.Sprint("llama-", width)] = network{models.Llama(), llama(width), safetensors.BF16}
	}
	return out
}

func vitLarge() models.ViTConfig {
	vit := models.ViTConfig{Hidden: 1024, Layers: 24, Heads: 16, MLP: 4096, Act: graph.GELU, Eps: 1e-12,
		Image: 224, Patch: 16, Channels: 3, Labels: map[string]string{}, DType: "float32"}
	for i := range 1000 {
		vit.Labels[fmt.Sprint(i)] = fmt.Sprint("LABEL_", i)
	}
	return vit
}

func bert(width, layers int) models.BERTConfig {
	return models.BERTConfig{Hidden: width, Layers: layers, Heads: width / 64, MLP: 4 * width, Act: graph.GELU,
		Eps: 1e-12, Vocab: 30_522, Positions: 512, TypeVocab: 2, DType: "float32"}
}

// llama has the shape of TinyLlama, with 1.1 billion parameters at its width of 2048, all
// sizes in proportion.
func llama(width int) models.LlamaConfig {
	return models.LlamaConfig{Hidden: width, Layers: 22, Heads: width / 64, KeyHeads: max(width/512, 1),
		MLP: width * 11 / 4, Act: graph.SiLU, Eps: 1e-5, Vocab: width * 125 / 8, Positions: 2048, Theta: 10000,
		DType: "bfloat16"}
}

// withLayers returns the network with another depth; 0 is its own.
func (n network) withLayers(layers int) network {
	if layers == 0 {
		return n
	}
	switch c := n.config.(type) {
	case models.LlamaConfig:
		c.Layers = layers
		n.config = c
	case models.BERTConfig:
		c.Layers = layers
		n.config = c
	case models.ViTConfig:
		c.Layers = layers
		n.config = c
	}
	return n
}

// draw saves a network with random weights, of which one tensor at a time is in memory.
func (n network) draw(seed uint64, dir string) error {
	m, err := models.Outline(n.arch, n.config, n.dtype)
	if err != nil {
		return err
	}
	roles := map[string]graph.Role{}
	for _, p := range m.Graph.Params() {
		roles[p.Name] = p.Role
	}
	shapes := m.Shapes()
	return m.Computed(func(name string) (models.Tensor, error) {
		hash := fnv.New64()
		hash.Write([]byte(name)) // never fails
		rng, t := rand.New(rand.NewPCG(seed, hash.Sum64())), models.Tensor{Shape: shapes[name]}
		size := 1
		for _, d := range t.Shape {
			size *= d
		}
		t.Data = make([]float32, size)
		for i := range t.Data {
			switch roles[name] {
			case graph.RoleBias:
			case graph.RoleGain:
				t.Data[i] = 1
			default:
				t.Data[i] = float32(0.02 * rng.NormFloat64())
			}
		}
		return t, nil
	}).Save(dir)
}

// knownMethods are the methods that need no data.
func knownMethods() []string { return []string{"vanilla", "flow", "match"} }

// by returns a method by its name in recipes.
func by(name string) fuse.Method {
	switch name {
	case "vanilla":
		return fuse.Vanilla{}
	case "match":
		return fuse.Matching{}
	}
	return fuse.Transport{}
}
