package models

import (
	"cmp"
	"errors"

	"github.com/otfuse/otfuse/graph"
)

// BERTEncoder is BertModel of Hugging Face: the encoder of [BERTForMaskedLM] with its
// pooler, and no head. It puts out features: the last hidden state [batch, tokens,
// units] and, as a further output, what the pooler makes of the first token. Those of
// a fused model come in the basis of the anchor. Its configuration is a
// [BERTEncoderConfig].
func BERTEncoder() Architecture {
	return Architecture{
		Class:   "BertModel",
		Type:    "bert",
		Parse:   Parser(BERTEncoderConfig{bertDefaults()}),
		Ignored: []string{"position_ids", "token_type_ids"},
	}
}

// ViTEncoder is ViTModel of Hugging Face. It puts out features: the last hidden state
// [batch, tokens, units] and, where the checkpoint has a pooler, what that makes of the
// class token as a further output. Those of a fused model come in the basis of the
// anchor. Its configuration is a [ViTEncoderConfig].
func ViTEncoder() Architecture {
	return Architecture{
		Class:   "ViTModel",
		Type:    "vit",
		Parse:   Parser(ViTEncoderConfig{ViTConfig: vitDefaults()}),
		Renamed: vitModules(),
		Ignored: []string{"mask_token"},
	}
}

// A BERTEncoderConfig configures a [BERTEncoder]. Its network reads what that of
// [BERTConfig] reads.
type BERTEncoderConfig struct{ BERTConfig }

// A ViTEncoderConfig configures a [ViTEncoder]. Its network reads what that of
// [ViTConfig] reads.
type ViTEncoderConfig struct {
	ViTConfig

	Pooler     bool             `json:"-"`                            // whether there is one: the tensors tell
	PoolerAct  graph.Activation `json:"pooler_act,omitempty"`         // "" means tanh
	PoolerSize int              `json:"pooler_output_size,omitempty"` // 0 means hidden_size
}

// withPooler implements poolable.
func (c ViTEncoderConfig) withPooler() Config {
	c.Pooler = true
	return c
}

// Spec implements [Config].
func (c BERTEncoderConfig) Spec() (Spec, error) {
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x, _ := c.bert(&b, "")
	g, err := b.Features(x, c.pooled(&b, "", x))
	return Spec{Graph: g, Inputs: c.inputs()}, err
}

// Spec implements [Config].
func (c ViTEncoderConfig) Spec() (Spec, error) {
	if err := errors.Join(c.check(), checkSizes(size{"pooler_output_size", cmp.Or(c.PoolerSize, 1)})); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x := c.encoder(&b, "")
	var further []*graph.Node
	if c.Pooler {
		pooled := b.Linear("pooler.dense", b.Select("cls", x), cmp.Or(c.PoolerSize, c.Hidden))
		further = append(further, b.Act("pooler", pooled, cmp.Or(c.PoolerAct, graph.Tanh)))
	}
	g, err := b.Features(x, further...)
	return Spec{g, []Input{pixels(c.Channels, c.Image)}, c.layout(1)}, err
}
