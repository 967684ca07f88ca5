package models

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/otfuse/otfuse/graph"
)

// BERTForMaskedLM is BertForMaskedLM of Hugging Face: post-norm, learned
// positions, a decoder tied to the word embeddings (Devlin et al., NAACL 2019).
// Its configuration is a [BERTConfig].
func BERTForMaskedLM() Architecture {
	return Architecture{
		Class:  "BertForMaskedLM",
		Type:   "bert",
		Parse:  Parser(bertDefaults()),
		Prefix: "bert.",
		Aliases: map[string]string{
			"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
			"cls.predictions.decoder.bias":   "cls.predictions.bias",
		},
		Ignored: []string{"position_ids", "token_type_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"},
	}
}

// BERTForClassification is BertForSequenceClassification of Hugging Face: a
// pooler and a classifier on the encoder of [BERTForMaskedLM]. Its configuration
// is a [BERTClassifierConfig].
func BERTForClassification() Architecture {
	return Architecture{
		Class:   "BertForSequenceClassification",
		Type:    "bert",
		Parse:   Parser(BERTClassifierConfig{BERTConfig: bertDefaults()}),
		Prefix:  "bert.",
		Ignored: []string{"position_ids", "token_type_ids"},
	}
}

func bertDefaults() BERTConfig { return BERTConfig{Act: graph.GELU, Eps: 1e-12} }

// A BERTConfig configures a [BERTForMaskedLM]. Its network reads input_ids,
// token_type_ids (0 where they are left out) and attention_mask (1 where it is
// left out), all [batch, tokens].
type BERTConfig struct {
	Hidden    int              `json:"hidden_size"`
	Layers    int              `json:"num_hidden_layers"`
	Heads     int              `json:"num_attention_heads"`
	MLP       int              `json:"intermediate_size"`
	Act       graph.Activation `json:"hidden_act"`
	Eps       float64          `json:"layer_norm_eps"`
	Vocab     int              `json:"vocab_size"`
	Positions int              `json:"max_position_embeddings"`
	TypeVocab int              `json:"type_vocab_size"`
	TieWords  *bool            `json:"tie_word_embeddings,omitempty"` // nil means true
	PosType   string           `json:"position_embedding_type,omitempty"`
	InitStd   float64          `json:"initializer_range,omitempty"` // of new weights; 0 means 0.02
	DType     string           `json:"torch_dtype,omitempty"`       // of the tensors, such as float32
}

// A BERTClassifierConfig configures a [BERTForClassification]. Its network reads
// what that of [BERTConfig] reads.
type BERTClassifierConfig struct {
	BERTConfig
	Labels   map[string]string `json:"id2label,omitempty"` // none means two classes
	LabelIDs map[string]int    `json:"label2id,omitempty"`
}

// Spec implements [Config].
func (c BERTConfig) Spec() (Spec, error) {
	if err := errors.Join(c.check(), checkTied(c.TieWords)); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x, words := c.bert(&b, "bert.")
	g, err := b.Output(c.predictions(&b, x, words))
	return Spec{Graph: g, Inputs: c.inputs()}, err
}

// Spec implements [Config].
func (c BERTClassifierConfig) Spec() (Spec, error) {
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x, _ := c.bert(&b, "bert.")
	g, err := b.Output(b.Linear("classifier", c.pooled(&b, "bert.", x), classes(c.Labels)))
	return Spec{Graph: g, Inputs: c.inputs()}, err
}

// check reports the first key whose value a BERT cannot have.
func (c BERTConfig) check() error {
	if c.PosType != "" && c.PosType != "absolute" {
		return fmt.Errorf("config.json: position_embedding_type is %q, want absolute", c.PosType)
	}
	return checkSizes(size{"hidden_size", c.Hidden}, size{"num_hidden_layers", c.Layers},
		size{"num_attention_heads", c.Heads},
		size{"intermediate_size", c.MLP}, size{"vocab_size", c.Vocab}, size{"max_position_embeddings", c.Positions},
		size{"type_vocab_size", c.TypeVocab})
}

// inputs are what all BERTs read.
func (c BERTConfig) inputs() []Input {
	const ids = "input_ids"
	return []Input{
		{Name: ids, Shape: []int{Any}, Longest: c.Positions, Below: c.Vocab},
		{Name: "token_type_ids", Like: ids, Below: c.TypeVocab, Default: Filled(0)},
		{Name: "attention_mask", Like: ids, Below: 2, Default: Filled(1)},
	}
}

// checkTied reports a decoder that is not tied to the word embeddings.
func checkTied(tied *bool) error {
	if tied != nil && !*tied {
		return errors.New("config.json: tie_word_embeddings is false, want a decoder tied to the word embeddings")
	}
	return nil
}

// bert declares the encoder of all BERTs, in which the positions of tokens are those
// in the text. It returns its output and the word embeddings.
func (c BERTConfig) bert(b *graph.Builder, prefix string) (x, words *graph.Node) {
	return c.encoder(b, prefix, func(name string) *graph.Node { return b.Positions(name, c.Hidden, c.Positions) })
}

// predictions declares the logits of words.
func (c BERTConfig) predictions(b *graph.Builder, x, words *graph.Node) *graph.Node {
	x = b.Act("cls.predictions.transform", b.Linear("cls.predictions.transform.dense", x, c.Hidden), c.Act)
	return b.Unembed("cls.predictions.bias", b.Norm("cls.predictions.transform.LayerNorm", x, c.Eps), words)
}

// pooled declares what the heads of whole texts read.
func (c BERTConfig) pooled(b *graph.Builder, prefix string, x *graph.Node) *graph.Node {
	return b.Act(prefix+"pooler", b.Linear(prefix+"pooler.dense", b.Select("cls", x), c.Hidden), graph.Tanh)
}

// encoder declares the layers that BERT and RoBERTa share, whose names begin with
// prefix. It returns their output and the word embeddings.
func (c BERTConfig) encoder(b *graph.Builder, prefix string,
	positions func(name string) *graph.Node) (x, words *graph.Node) {
	e := prefix + "embeddings"
	words = b.Embed(e+".word_embeddings", c.Hidden, c.Vocab, b.Input("input_ids"))
	x = b.Add(e, words, positions(e+".position_embeddings"),
		b.Lookup(e+".token_type_embeddings", c.Hidden, c.TypeVocab, b.Input("token_type_ids")))
	x = b.Norm(e+".LayerNorm", x, c.Eps)
	mask := b.Input("attention_mask")
	for i := range c.Layers {
		l := fmt.Sprintf("%sencoder.layer.%d.", prefix, i)
		h := b.Attend(l+"attention.self", graph.Attention{Heads: c.Heads, Mask: mask},
			b.Linear(l+"attention.self.query", x, c.Hidden),
			b.Linear(l+"attention.self.key", x, c.Hidden),
			b.Linear(l+"attention.self.value", x, c.Hidden))
		x = b.Add(l+"attention", b.Linear(l+"attention.output.dense", h, c.Hidden), x)
		x = b.Norm(l+"attention.output.LayerNorm", x, c.Eps)
		h = b.Act(l+"intermediate", b.Linear(l+"intermediate.dense", x, c.MLP), c.Act)
		x = b.Add(l+"output", b.Linear(l+"output.dense", h, c.Hidden), x)
		x = b.Norm(l+"output.LayerNorm", x, c.Eps)
	}
	return x, words
}

// Classify returns a classifier of the given classes on the encoder of m, a BERT
// with any head. The classifier is drawn from a seed, and so is the pooler where m
// has none.
func Classify(m *Model, classes []string, seed uint64) (*Model, error) {
	c := BERTClassifierConfig{Labels: map[string]string{}, LabelIDs: map[string]int{}}
	switch own := m.Config.(type) {
	case BERTConfig:
		c.BERTConfig = own
	case BERTClassifierConfig:
		c.BERTConfig = own.BERTConfig
	case BERTPreTrainingConfig:
		c.BERTConfig = own.BERTConfig
	default:
		return nil, fmt.Errorf("models: %q is configured by %T, want a BERT to classify with", m.Arch.Class, m.Config)
	}
	for i, name := range classes {
		c.Labels[strconv.Itoa(i)], c.LabelIDs[name] = name, i
	}
	m, err := m.Load()
	if err != nil {
		return nil, err
	}
	spec, err := c.Spec()
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	std := c.InitStd
	if std == 0 {
		std = 0.02
	}
	p := Init(spec.Graph, seed, std)
	for name := range p {
		if t, ok := m.Params[name]; ok && strings.HasPrefix(name, "bert.") {
			p[name] = t
		}
	}
	made, err := New(BERTForClassification(), c, p)
	if err == nil {
		made.Files, made.text = m.Files, m.text
	}
	return made, err
}
