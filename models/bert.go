package models

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// BERTForMaskedLM is BertForMaskedLM of Hugging Face: post-norm, learned
// positions, a decoder tied to the word embeddings (Devlin et al., NAACL 2019).
// Inputs: input_ids, token_type_ids, attention_mask [batch, tokens].
func BERTForMaskedLM() Architecture {
	return Architecture{
		Class:   "BertForMaskedLM",
		Graph:   bertMLM,
		Layout:  func(Config) align.Layout { return align.Layout{} },
		Inputs:  maskedTexts,
		Aliases: map[string]string{},
		Ignored: []string{"position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"},
	}
}

// BERTForClassification is BertForSequenceClassification of Hugging Face.
func BERTForClassification() Architecture {
	return Architecture{
		Class:   "BertForSequenceClassification",
		Graph:   bertClassifier,
		Layout:  func(Config) align.Layout { return align.Layout{} },
		Inputs:  classedTexts,
		Ignored: []string{"position_ids"},
	}
}

// Classify returns a classifier on the encoder of m, a BERT with any head. What
// the encoder lacks, a pooler perhaps and the classifier, is drawn from a seed.
func Classify(m *Model, classes []string, seed uint64) (*Model, error) {
	arch, c := BERTForClassification(), m.Config
	c.raw, c.Architectures = nil, []string{arch.Class}
	c.Labels, c.LabelIDs = map[string]string{}, map[string]int{}
	for i, name := range classes {
		c.Labels[strconv.Itoa(i)], c.LabelIDs[name] = name, i
	}
	g, err := arch.Graph(c)
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", arch.Class, err)
	}
	p := Init(g, seed, c.InitStd)
	for name := range p {
		if t, ok := m.Params[name]; ok && strings.HasPrefix(name, "bert.") {
			p[name] = t
		}
	}
	made, err := New(arch, c, p)
	if err == nil {
		made.Files = m.Files
	}
	return made, err
}

func bertMLM(c Config) (*graph.Graph, error) {
	if c.TieWords != nil && !*c.TieWords {
		return nil, fmt.Errorf("config.json: tie_word_embeddings is false, want a decoder tied to the word embeddings")
	}
	var b graph.Builder
	x, words, err := bert(&b, c)
	if err != nil {
		return nil, err
	}
	h := b.Act("cls.predictions.transform", b.Linear("cls.predictions.transform.dense", x, c.Hidden), c.Act)
	h = b.Norm("cls.predictions.transform.LayerNorm", h, c.Eps)
	return b.Output(b.Unembed(h, words, "cls.predictions.bias"))
}

func bertClassifier(c Config) (*graph.Graph, error) {
	var b graph.Builder
	x, _, err := bert(&b, c)
	if err != nil {
		return nil, err
	}
	x = b.Act("bert.pooler", b.Linear("bert.pooler.dense", b.Select("cls", x), c.Hidden), graph.Tanh)
	return b.Output(b.Linear("classifier", x, c.Classes()))
}

// bert is the encoder; it returns its output and the word embeddings.
func bert(b *graph.Builder, c Config) (x, words *graph.Node, err error) {
	if err := positive(size{"hidden_size", c.Hidden}, size{"num_hidden_layers", c.Layers}, size{"num_attention_heads", c.Heads},
		size{"intermediate_size", c.MLP}, size{"vocab_size", c.Vocab}, size{"max_position_embeddings", c.Positions}, size{"type_vocab_size", c.TypeVocab}); err != nil {
		return nil, nil, err
	}
	if c.PosType != "" && c.PosType != "absolute" {
		return nil, nil, fmt.Errorf("config.json: position_embedding_type is %q, want absolute", c.PosType)
	}
	words = b.Embed("bert.embeddings.word_embeddings", c.Hidden, c.Vocab, b.Input("input_ids"))
	x = b.Add("bert.embeddings", words,
		b.Positions("bert.embeddings.position_embeddings", c.Hidden, c.Positions),
		b.Lookup("bert.embeddings.token_type_embeddings", c.Hidden, c.TypeVocab, b.Input("token_type_ids")))
	x = b.Norm("bert.embeddings.LayerNorm", x, c.Eps)
	mask := b.Input("attention_mask")
	for i := range c.Layers {
		l := fmt.Sprintf("bert.encoder.layer.%d.", i)
		h := b.Attend(l+"attention.self", c.Heads,
			b.Linear(l+"attention.self.query", x, c.Hidden),
			b.Linear(l+"attention.self.key", x, c.Hidden),
			b.Linear(l+"attention.self.value", x, c.Hidden), mask)
		x = b.Add(l+"attention", b.Linear(l+"attention.output.dense", h, c.Hidden), x)
		x = b.Norm(l+"attention.output.LayerNorm", x, c.Eps)
		h = b.Act(l+"intermediate", b.Linear(l+"intermediate.dense", x, c.MLP), c.Act)
		x = b.Add(l+"output", b.Linear(l+"output.dense", h, c.Hidden), x)
		x = b.Norm(l+"output.LayerNorm", x, c.Eps)
	}
	return x, words, nil
}

// maskedTexts checks texts with a word as the label of every position.
func maskedTexts(c Config, b Batch) error {
	if err := texts(c, b); err != nil {
		return err
	}
	return labelled(b, b["input_ids"].Shape, c.Vocab)
}

// classedTexts checks texts with a label each.
func classedTexts(c Config, b Batch) error {
	if err := texts(c, b); err != nil {
		return err
	}
	return labelled(b, b["input_ids"].Shape[:1], c.Classes())
}

// texts checks input_ids [N, T] and fills in a mask of ones and token types 0.
func texts(c Config, b Batch) error {
	x, ok := b["input_ids"]
	if !ok {
		return fmt.Errorf("there are no input_ids")
	}
	if len(x.Shape) != 2 || x.Ints == nil || x.Shape[1] > c.Positions {
		return fmt.Errorf("input_ids has shape %v, want [N T] of integers with T at most %d", x.Shape, c.Positions)
	}
	for _, in := range []struct {
		name        string
		absent, end int32
	}{{"input_ids", 0, int32(c.Vocab)}, {"token_type_ids", 0, int32(c.TypeVocab)}, {"attention_mask", 1, 2}} {
		a, ok := b[in.name]
		if !ok {
			a = Array{Shape: x.Shape, Ints: make([]int32, len(x.Ints))}
			for i := range a.Ints {
				a.Ints[i] = in.absent
			}
			b[in.name] = a
		}
		if !slices.Equal(a.Shape, x.Shape) || a.Ints == nil {
			return fmt.Errorf("%s has shape %v, want %v of integers", in.name, a.Shape, x.Shape)
		}
		for i, v := range a.Ints {
			if v < 0 || v >= in.end {
				return fmt.Errorf("%s is %d at position %d, want 0 to %d", in.name, v, i, in.end-1)
			}
		}
	}
	return nil
}
