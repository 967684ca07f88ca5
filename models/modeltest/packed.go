package modeltest

import (
	"fmt"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// PackedWords is a causal pre-norm network over words that stores its layers as GPT-2
// does: weights as [inputs, units], queries, keys and values side by side along
// their second axis. Its logits have a layer of their own.
func PackedWords() Net {
	arch := models.Architecture{Class: "PackedWords", Parse: models.Parser(packedWords{})}
	return Net{arch, texts(), func(c Config) models.Config { return packedWords{c.bert()} }}
}

type packedWords struct{ models.BERTConfig }

// Spec implements [models.Config].
func (c packedWords) Spec() (models.Spec, error) {
	var b graph.Builder
	ids, types, mask := b.Input("input_ids"), b.Input("token_type_ids"), b.Input("attention_mask")
	x := b.Add("sum", b.Embed("wte", c.Hidden, c.Vocab, ids), b.Positions("wpe", c.Hidden, c.Positions),
		b.Lookup("types", c.Hidden, c.TypeVocab, types))
	for i := range c.Layers {
		l := fmt.Sprintf("h.%d.", i)
		h := b.Norm(l+"ln_1", x, c.Eps)
		part := func(name string, i int) *graph.Node {
			return b.Linear(l+name, h, c.Hidden, graph.Transposed, graph.Packed(l+"c_attn", i, 3))
		}
		h = b.Attend(l+"attend", graph.Attention{Heads: c.Heads, Mask: mask, Causal: true, Scale: 0.5},
			part("q", 0), part("k", 1), part("v", 2))
		x = b.Add(l+"attention", b.Linear(l+"c_proj", h, c.Hidden, graph.Transposed), x)
		h = b.Act(l+"act", b.Linear(l+"c_fc", b.Norm(l+"ln_2", x, c.Eps), c.MLP, graph.Transposed), c.Act)
		x = b.Add(l+"mlp", b.Linear(l+"mlp.c_proj", h, c.Hidden, graph.Transposed), x)
	}
	g, err := b.Output(b.Linear("lm_head", b.Norm("ln_f", x, c.Eps), c.Vocab, graph.Transposed))
	return models.Spec{Graph: g}, err
}
