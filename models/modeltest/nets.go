package modeltest

import (
	"fmt"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Net is an architecture at a small size.
type Net struct {
	Arch   models.Architecture
	Config Config
	build  func(Config) models.Config
}

// A Config holds the hyperparameters of all networks of this package. Each network
// takes those that it has.
type Config struct {
	Hidden, Layers, Heads, MLP  int
	Act                         graph.Activation
	Eps                         float64
	Labels                      map[string]string // nil where every token has logits of its own
	Image, Patch, Channels      int
	HeadDim                     int
	QKVBias                     *bool
	Vocab, Positions, TypeVocab int
	TieWords                    *bool
	PosType                     string
}

// Nets returns small networks that have every operation, stored in every way:
// pre-norm with a class token; pre-norm with fixed positions, packed queries, keys
// and values, and no biases; post-norm over masked words with tied logits; the
// BERTs; layers that are transposed and packed; and a decoder with rotary positions,
// gated hidden units and queries that share keys and values.
func Nets() []Net {
	return []Net{ViT(), SimpleViT(), Words(), MaskedLM(), Classifier(), PackedWords(), Llama()}
}

func images() Config {
	return Config{Hidden: 8, Layers: 2, Heads: 2, MLP: 12, Act: graph.GELU, Eps: 1e-6,
		Labels: map[string]string{"0": "a", "1": "b", "2": "c"}, Image: 6, Patch: 2, Channels: 3}
}

func texts() Config {
	return Config{Hidden: 8, Layers: 2, Heads: 2, MLP: 12, Act: graph.GELUTanh, Eps: 1e-6, Vocab: 11, Positions: 7,
		TypeVocab: 2}
}

// ViT is a small ViTForImageClassification.
func ViT() Net {
	return Net{models.ViT(), images(), func(c Config) models.Config {
		return models.ViTConfig{Hidden: c.Hidden, Layers: c.Layers, Heads: c.Heads, MLP: c.MLP, Act: c.Act, Eps: c.Eps,
			Image: c.Image, Patch: c.Patch, Channels: c.Channels, QKVBias: c.QKVBias, Labels: c.Labels}
	}}
}

// SimpleViT is a small SimpleViT whose heads together are narrower than its
// residual stream.
func SimpleViT() Net {
	c := images()
	c.HeadDim = 3
	return Net{models.SimpleViT(), c, func(c Config) models.Config {
		return models.SimpleViTConfig{Hidden: c.Hidden, Layers: c.Layers, Heads: c.Heads, HeadDim: c.HeadDim, MLP: c.MLP,
			Image: c.Image, Patch: c.Patch, Channels: c.Channels, Labels: c.Labels}
	}}
}

// MaskedLM is a small BertForMaskedLM.
func MaskedLM() Net {
	return Net{models.BERTForMaskedLM(), texts(), func(c Config) models.Config { return c.bert() }}
}

// Classifier is a small BertForSequenceClassification.
func Classifier() Net {
	c := texts()
	c.Labels = map[string]string{"0": "a", "1": "b", "2": "c"}
	return Net{models.BERTForClassification(), c, func(c Config) models.Config {
		return models.BERTClassifierConfig{BERTConfig: c.bert(), Labels: c.Labels}
	}}
}

func (c Config) bert() models.BERTConfig {
	return models.BERTConfig{Hidden: c.Hidden, Layers: c.Layers, Heads: c.Heads, MLP: c.MLP, Act: c.Act, Eps: c.Eps,
		Vocab: c.Vocab, Positions: c.Positions, TypeVocab: c.TypeVocab, TieWords: c.TieWords, PosType: c.PosType}
}

// Llama is a small LlamaForCausalLM in which two heads of queries share each of keys
// and values.
func Llama() Net {
	c := texts()
	c.Heads, c.Act = 4, graph.SiLU
	return Net{models.Llama(), c, func(c Config) models.Config {
		return models.LlamaConfig{Hidden: c.Hidden, Layers: c.Layers, Heads: c.Heads, KeyHeads: c.Heads / 2, HeadDim: 4,
			MLP: c.MLP, Act: c.Act, Eps: c.Eps, Vocab: c.Vocab, Positions: c.Positions, Theta: 20}
	}}
}

// Words is an architecture like BertForMaskedLM that package models does not have.
func Words() Net {
	arch := models.Architecture{Class: "MaskedWords", Parse: models.Parser(words{})}
	return Net{arch, texts(), func(c Config) models.Config { return words{c.bert()} }}
}

// words declares no inputs: they are derived from the graph.
type words struct{ models.BERTConfig }

// Spec implements [models.Config].
func (c words) Spec() (models.Spec, error) {
	var b graph.Builder
	ids, types, mask := b.Input("input_ids"), b.Input("token_type_ids"), b.Input("attention_mask")
	word := b.Embed("words", c.Hidden, c.Vocab, ids)
	x := b.Add("sum", word, b.Table("positions", c.Hidden, c.Positions), b.Lookup("types", c.Hidden, c.TypeVocab, types))
	x = b.Norm("sum.norm", x, c.Eps)
	for i := range c.Layers {
		l := fmt.Sprintf("layers.%d.", i)
		h := b.Attend(l+"attend", graph.Attention{Heads: c.Heads, Mask: mask}, b.Linear(l+"query", x, c.Hidden),
			b.Linear(l+"key", x, c.Hidden), b.Linear(l+"value", x, c.Hidden))
		x = b.Norm(l+"norm1", b.Add(l+"attention", b.Linear(l+"out", h, c.Hidden), x), c.Eps)
		h = b.Act(l+"act", b.Linear(l+"up", x, c.MLP), c.Act)
		x = b.Norm(l+"norm2", b.Add(l+"mlp", b.Linear(l+"down", h, c.Hidden), x), c.Eps)
	}
	x = b.Norm("transform.norm", b.Act("transform.act", b.Linear("transform", x, c.Hidden), c.Act), c.Eps)
	g, err := b.Output(b.Unembed("bias", x, word))
	return models.Spec{Graph: g}, err
}

// ModelConfig returns the configuration of the network as package models has it.
func (net Net) ModelConfig() models.Config { return net.build(net.Config) }

// Graph returns the forward pass of the network.
func (net Net) Graph() (*graph.Graph, error) {
	s, err := net.ModelConfig().Spec()
	return s.Graph, err
}

// Model returns a [Random] model of the network.
func (net Net) Model(seed uint64) (*models.Model, error) {
	return Random(net.Arch, net.ModelConfig(), seed)
}

// Batch returns n random samples for the network, as [Batch] draws them. It is nil
// where the configuration is invalid.
func (net Net) Batch(n int, seed uint64) models.Batch {
	m, err := models.Fresh(net.Arch, net.ModelConfig(), 0, 1)
	if err != nil {
		return nil
	}
	b, err := Batch(m, n, seed)
	if err != nil {
		return nil
	}
	return b
}
