package models

import (
	"errors"

	"github.com/otfuse/otfuse/graph"
)

// BERTForPreTraining is BertForPreTraining of Hugging Face: a [BERTForMaskedLM] with
// a second head that tells whether one sentence follows another, as BERT was
// published and as the MultiBERTs are (Sellam et al., ICLR 2022). Its logits are those
// of words; the second head is a further output. Its configuration is a
// [BERTPreTrainingConfig].
func BERTForPreTraining() Architecture {
	arch := BERTForMaskedLM()
	arch.Class, arch.Parse = "BertForPreTraining", Parser(BERTPreTrainingConfig{bertDefaults()})
	return arch
}

// A BERTPreTrainingConfig configures a [BERTForPreTraining]. Its network reads what
// that of [BERTConfig] reads.
type BERTPreTrainingConfig struct{ BERTConfig }

// Spec implements [Config].
func (c BERTPreTrainingConfig) Spec() (Spec, error) {
	if err := errors.Join(c.check(), checkTied(c.TieWords)); err != nil {
		return Spec{}, err
	}
	var b graph.Builder
	x, words := c.bert(&b, "bert.")
	logits := c.predictions(&b, x, words)
	g, err := b.Output(logits, b.Linear("cls.seq_relationship", c.pooled(&b, "bert.", x), 2))
	return Spec{Graph: g, Inputs: c.inputs()}, err
}
