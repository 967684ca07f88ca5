package models

import (
	"errors"
	"fmt"

	"github.com/otfuse/otfuse/graph"
)

// DistilBERTForMaskedLM is DistilBertForMaskedLM of Hugging Face: a BERT without
// token types and under other names (Sanh et al., arXiv:1910.01108). Its
// configuration is a [DistilBERTConfig].
func DistilBERTForMaskedLM() Architecture {
	return Architecture{
		Class:   "DistilBertForMaskedLM",
		Type:    "distilbert",
		Parse:   Parser(distilbertDefaults()),
		Prefix:  "distilbert.",
		Aliases: map[string]string{"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
		Ignored: []string{"position_ids", "vocab_projector.weight"},
	}
}

// DistilBERTForClassification is DistilBertForSequenceClassification of Hugging
// Face: a classifier of two layers on the encoder of [DistilBERTForMaskedLM]. Its
// configuration is a [DistilBERTClassifierConfig].
func DistilBERTForClassification() Architecture {
	return Architecture{
		Class:   "DistilBertForSequenceClassification",
		Type:    "distilbert",
		Parse:   Parser(DistilBERTClassifierConfig{DistilBERTConfig: distilbertDefaults()}),
		Prefix:  "distilbert.",
		Ignored: []string{"position_ids"},
	}
}

func distilbertDefaults() DistilBERTConfig { return DistilBERTConfig{Act: graph.GELU} }

// A DistilBERTConfig configures a [DistilBERTForMaskedLM]. Its network reads
// input_ids and attention_mask (1 where it is left out), both [batch, tokens].
// Epsilon is always 1e-12.
type DistilBERTConfig struct {
	Hidden    int              `json:"dim"`
	Layers    int              `json:"n_layers"`
	Heads     int              `json:"n_heads"`
	MLP       int              `json:"hidden_dim"`
	Act       graph.Activation `json:"activation"`
	Vocab     int              `json:"vocab_size"`
	Positions int              `json:"max_position_embeddings"`
	TieWords  *bool            `json:"tie_word_embeddings,omitempty"` // nil means true
	InitStd   float64          `json:"initializer_range,omitempty"`   // of new weights; 0 means 0.02
	DType     string           `json:"torch_dtype,omitempty"`         // of the tensors, such as float32
}

// A DistilBERTClassifierConfig configures a [DistilBERTForClassification]. Its network
// reads what that of [DistilBERTConfig] reads.
type DistilBERTClassifierConfig struct {
	DistilBERTConfig
	Labels   map[string]string `json:"id2label,omitempty"` // none means two classes
	LabelIDs map[string]int    `json:"label2id,omitempty"`
}

// distilbertEps is the epsilon of every norm of a DistilBERT.
const distilbertEps = 1e-12

// Spec implements [Config].
func (c DistilBERTConfig) Spec() (Spec, error) {
	if err := errors.Join(c.check(), checkTied(c.TieWords)); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x, words := c.encoder(&b)
	x = b.Act("vocab_act", b.Linear("vocab_transform", x, c.Hidden), c.Act)
	g, err := b.Output(b.Unembed("vocab_projector.bias", b.Norm("vocab_layer_norm", x, distilbertEps), words))
	return Spec{Graph: g, Inputs: c.inputs()}, err
}

// Spec implements [Config].
func (c DistilBERTClassifierConfig) Spec() (Spec, error) {
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x, _ := c.encoder(&b)
	x = b.Act("pre_classifier.act", b.Linear("pre_classifier", b.Select("cls", x), c.Hidden), graph.ReLU)
	g, err := b.Output(b.Linear("classifier", x, classes(c.Labels)))
	return Spec{Graph: g, Inputs: c.inputs()}, err
}

// check reports the first size that a DistilBERT cannot have.
func (c DistilBERTConfig) check() error {
	return checkSizes(size{"dim", c.Hidden}, size{"n_layers", c.Layers}, size{"n_heads", c.Heads},
		size{"hidden_dim", c.MLP}, size{"vocab_size", c.Vocab}, size{"max_position_embeddings", c.Positions})
}

// inputs are what all DistilBERTs read.
func (c DistilBERTConfig) inputs() []Input {
	const ids = "input_ids"
	return []Input{
		{Name: ids, Shape: []int{Any}, Longest: c.Positions, Below: c.Vocab},
		{Name: "attention_mask", Like: ids, Below: 2, Default: Filled(1)},
	}
}

// encoder declares the layers that all DistilBERTs share. It returns their output
// and the word embeddings.
func (c DistilBERTConfig) encoder(b *graph.Builder) (x, words *graph.Node) {
	const e = "distilbert.embeddings"
	words = b.Embed(e+".word_embeddings", c.Hidden, c.Vocab, b.Input("input_ids"))
	x = b.Add(e, words, b.Positions(e+".position_embeddings", c.Hidden, c.Positions))
	x = b.Norm(e+".LayerNorm", x, distilbertEps)
	mask := b.Input("attention_mask")
	for i := range c.Layers {
		l := fmt.Sprintf("distilbert.transformer.layer.%d.", i)
		h := b.Attend(l+"attention", graph.Attention{Heads: c.Heads, Mask: mask},
			b.Linear(l+"attention.q_lin", x, c.Hidden),
			b.Linear(l+"attention.k_lin", x, c.Hidden),
			b.Linear(l+"attention.v_lin", x, c.Hidden))
		x = b.Add(l+"attention.sum", b.Linear(l+"attention.out_lin", h, c.Hidden), x)
		x = b.Norm(l+"sa_layer_norm", x, distilbertEps)
		h = b.Act(l+"ffn", b.Linear(l+"ffn.lin1", x, c.MLP), c.Act)
		x = b.Add(l+"ffn.sum", b.Linear(l+"ffn.lin2", h, c.Hidden), x)
		x = b.Norm(l+"output_layer_norm", x, distilbertEps)
	}
	return x, words
}
