package modeltest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Net is an architecture at a small size.
type Net struct {
	Arch   models.Architecture
	Config Config
	build  func(Config) models.Config
}

// A Config holds the sizes of a small network of any kind, of which each takes
// those that it has.
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

// Nets returns a network of every kind: pre-norm with a class token, pre-norm
// with fixed positions, packed queries, keys and values and no biases,
// post-norm over masked words with tied logits, the BERTs, and transposed and
// packed layers.
func Nets() []Net {
	return []Net{ViT(), SimpleViT(), Words(), MaskedLM(), Classifier(), PackedWords()}
}

func images() Config {
	return Config{Hidden: 8, Layers: 2, Heads: 2, MLP: 12, Act: graph.GELU, Eps: 1e-6,
		Labels: map[string]string{"0": "a", "1": "b", "2": "c"}, Image: 6, Patch: 2, Channels: 3}
}

func texts() Config {
	return Config{Hidden: 8, Layers: 2, Heads: 2, MLP: 12, Act: graph.GELUTanh, Eps: 1e-6, Vocab: 11, Positions: 7, TypeVocab: 2}
}

// ViT is a small ViTForImageClassification.
func ViT() Net {
	return Net{models.ViT(), images(), func(c Config) models.Config {
		return models.ViTConfig{Hidden: c.Hidden, Layers: c.Layers, Heads: c.Heads, MLP: c.MLP, Act: c.Act, Eps: c.Eps,
			Image: c.Image, Patch: c.Patch, Channels: c.Channels, QKVBias: c.QKVBias, Labels: c.Labels}
	}}
}

// SimpleViT is a small SimpleViT whose heads are narrower than its stream.
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

// Words is an architecture in the manner of Hugging Face's BertForMaskedLM that
// package models does not know.
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
		h := b.Attend(l+"attend", c.Heads, b.Linear(l+"query", x, c.Hidden),
			b.Linear(l+"key", x, c.Hidden), b.Linear(l+"value", x, c.Hidden), mask)
		x = b.Norm(l+"norm1", b.Add(l+"attention", b.Linear(l+"out", h, c.Hidden), x), c.Eps)
		h = b.Act(l+"act", b.Linear(l+"up", x, c.MLP), c.Act)
		x = b.Norm(l+"norm2", b.Add(l+"mlp", b.Linear(l+"down", h, c.Hidden), x), c.Eps)
	}
	x = b.Norm("transform.norm", b.Act("transform.act", b.Linear("transform", x, c.Hidden), c.Act), c.Eps)
	g, err := b.Output(b.Unembed(x, word, "bias"))
	return models.Spec{Graph: g}, err
}

// ModelConfig returns the configuration of the network.
func (net Net) ModelConfig() models.Config { return net.build(net.Config) }

// Graph returns the forward pass of the network.
func (net Net) Graph() (*graph.Graph, error) {
	s, err := net.ModelConfig().Spec()
	return s.Graph, err
}

// Model returns a model of net with random parameters of every kind: weights
// that keep the scale of their inputs, gains about 1, biases about 0.
func (net Net) Model(seed uint64) (*models.Model, error) {
	g, err := net.Graph()
	if err != nil {
		return nil, err
	}
	p := models.Init(g, seed, 1)
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, q := range g.Params() {
		t := p[q.Name]
		scale := 1.0
		if q.Role == graph.RoleWeight {
			scale = 1.5 / math.Sqrt(float64(len(t.Data)/t.Shape[0]))
		}
		for i := range t.Data {
			switch {
			case q.Role == graph.RoleGain:
				t.Data[i] += float32(0.3 * rng.NormFloat64())
			case q.Role == graph.RoleBias:
				t.Data[i] = float32(0.3 * rng.NormFloat64())
			case q.Slice.Part == 0:
				t.Data[i] *= float32(scale)
			}
		}
	}
	return models.New(net.Arch, net.ModelConfig(), p)
}

// Batch returns n random samples for net, with labels: of the samples, or of
// their words, some of which do not count.
func (net Net) Batch(n int, seed uint64) models.Batch {
	c, rng := net.Config, rand.New(rand.NewPCG(seed, 2))
	if c.Vocab == 0 {
		x := models.Array{Shape: []int{n, c.Channels, c.Image, c.Image}}
		for range n * c.Channels * c.Image * c.Image {
			x.Floats = append(x.Floats, float32(rng.NormFloat64()))
		}
		return models.Batch{"pixel_values": x, models.Labels: draw(rng, max(len(c.Labels), 2), n)}
	}
	tokens := c.Positions - 2
	mask := draw(rng, 1, n, tokens)
	labels := draw(rng, c.Vocab, n, tokens)
	for i := range mask.Ints {
		if i%tokens < 1+rng.IntN(tokens) { // the first one always
			mask.Ints[i] = 1
		}
		if i%3 == 1 {
			labels.Ints[i] = models.Ignore
		}
	}
	if c.Labels != nil {
		labels = draw(rng, max(len(c.Labels), 2), n)
	}
	return models.Batch{"input_ids": draw(rng, c.Vocab, n, tokens), "token_type_ids": draw(rng, c.TypeVocab, n, tokens),
		"attention_mask": mask, models.Labels: labels}
}

// draw returns integers below limit.
func draw(rng *rand.Rand, limit int, shape ...int) models.Array {
	size := 1
	for _, d := range shape {
		size *= d
	}
	a := models.Array{Shape: shape}
	for range size {
		a.Ints = append(a.Ints, rng.Int32N(int32(limit)))
	}
	return a
}
