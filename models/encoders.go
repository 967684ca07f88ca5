package models

import "github.com/otfuse/otfuse/graph"

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
// [batch, tokens, units]. Those of a fused model come in the basis of the anchor. A
// pooler is not run, and the fused model has that of the anchor. Its configuration is
// a [ViTEncoderConfig].
func ViTEncoder() Architecture {
	return Architecture{
		Class:   "ViTModel",
		Type:    "vit",
		Parse:   Parser(ViTEncoderConfig{vitDefaults()}),
		Renamed: vitModules(),
		Ignored: []string{"mask_token"},
	}
}

// A BERTEncoderConfig configures a [BERTEncoder]. Its network reads what that of
// [BERTConfig] reads.
type BERTEncoderConfig struct{ BERTConfig }

// A ViTEncoderConfig configures a [ViTEncoder]. Its network reads what that of
// [ViTConfig] reads.
type ViTEncoderConfig struct{ ViTConfig }

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
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	g, err := b.Features(c.encoder(&b, ""))
	return Spec{g, []Input{pixels(c.Channels, c.Image)}, c.layout(1)}, err
}
