package models

import (
	"errors"
	"fmt"

	"github.com/otfuse/otfuse/graph"
)

// RoBERTaForMaskedLM is RobertaForMaskedLM of Hugging Face: the encoder of BERT with
// positions that skip padding, and a decoder tied to the word embeddings (Liu et al.,
// arXiv:1907.11692). Its configuration is a [RoBERTaConfig].
func RoBERTaForMaskedLM() Architecture {
	return Architecture{
		Class:  "RobertaForMaskedLM",
		Type:   "roberta",
		Parse:  Parser(robertaDefaults()),
		Prefix: "roberta.",
		Aliases: map[string]string{
			"lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
			"lm_head.decoder.bias":   "lm_head.bias",
		},
		Ignored: []string{"position_ids", "token_type_ids", "lm_head.decoder.weight", "lm_head.decoder.bias"},
	}
}

// RoBERTaForClassification is RobertaForSequenceClassification of Hugging Face: a
// classifier of two layers on the encoder of [RoBERTaForMaskedLM]. Its configuration
// is a [RoBERTaClassifierConfig].
func RoBERTaForClassification() Architecture {
	return Architecture{
		Class:   "RobertaForSequenceClassification",
		Type:    "roberta",
		Parse:   Parser(RoBERTaClassifierConfig{RoBERTaConfig: robertaDefaults()}),
		Prefix:  "roberta.",
		Ignored: []string{"position_ids", "token_type_ids"},
	}
}

func robertaDefaults() RoBERTaConfig { return RoBERTaConfig{BERTConfig: bertDefaults(), Pad: 1} }

// A RoBERTaConfig configures a [RoBERTaForMaskedLM]. Its network reads what that of
// [BERTConfig] reads, and position_ids [batch, tokens]. Where these are left out, the
// tokens of a text that are not Pad count from Pad + 1 on, and those that are Pad have
// position Pad. So a text has at most Positions - Pad - 1 tokens.
type RoBERTaConfig struct {
	BERTConfig
	Pad int `json:"pad_token_id"` // the id of padding in input_ids
}

// A RoBERTaClassifierConfig configures a [RoBERTaForClassification]. Its network reads
// what that of [RoBERTaConfig] reads.
type RoBERTaClassifierConfig struct {
	RoBERTaConfig
	Labels   map[string]string `json:"id2label,omitempty"` // none means two classes
	LabelIDs map[string]int    `json:"label2id,omitempty"`
}

// Spec implements [Config].
func (c RoBERTaConfig) Spec() (Spec, error) {
	if err := errors.Join(c.check(), checkTied(c.TieWords)); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x, words := c.roberta(&b)
	x = b.Act("lm_head.act", b.Linear("lm_head.dense", x, c.Hidden), graph.GELU) // whatever Act is
	g, err := b.Output(b.Unembed("lm_head.bias", b.Norm("lm_head.layer_norm", x, c.Eps), words))
	return Spec{Graph: g, Inputs: c.inputs()}, err
}

// Spec implements [Config].
func (c RoBERTaClassifierConfig) Spec() (Spec, error) {
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x, _ := c.roberta(&b)
	x = b.Act("classifier.act", b.Linear("classifier.dense", b.Select("cls", x), c.Hidden), graph.Tanh)
	g, err := b.Output(b.Linear("classifier.out_proj", x, classes(c.Labels)))
	return Spec{Graph: g, Inputs: c.inputs()}, err
}

// check reports the first key whose value a RoBERTa cannot have.
func (c RoBERTaConfig) check() error {
	if err := c.BERTConfig.check(); err != nil {
		return err
	}
	if c.Pad < 0 || c.Pad > c.Positions-2 {
		return fmt.Errorf("config.json: pad_token_id is %d, want 0 to %d: positions begin after it and "+
			"max_position_embeddings is %d", c.Pad, c.Positions-2, c.Positions)
	}
	return nil
}

// inputs are what all RoBERTas read.
func (c RoBERTaConfig) inputs() []Input {
	inputs := c.BERTConfig.inputs()
	inputs[0].Longest = c.Positions - c.Pad - 1
	return append(inputs, Input{Name: "position_ids", Like: inputs[0].Name, Below: c.Positions, Default: c.positionIDs})
}

// positionIDs returns the positions of the tokens of texts [batch, tokens].
func (c RoBERTaConfig) positionIDs(texts Array) Array {
	out := Array{Shape: texts.Shape, Ints: make([]int32, len(texts.Ints))}
	next := c.Pad + 1
	for i, id := range texts.Ints {
		if i%texts.row() == 0 {
			next = c.Pad + 1
		}
		out.Ints[i] = int32(c.Pad)
		if int(id) != c.Pad {
			out.Ints[i] = int32(next)
			next++
		}
	}
	return out
}

// roberta declares the encoder. It returns its output and the word embeddings.
func (c RoBERTaConfig) roberta(b *graph.Builder) (x, words *graph.Node) {
	return c.encoder(b, "roberta.", func(name string) *graph.Node {
		return b.Lookup(name, c.Hidden, c.Positions, b.Input("position_ids"))
	})
}
