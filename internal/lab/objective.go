package lab

import (
	"fmt"
	"strings"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/text"
)

// An objective is what networks on text learn: to find words that are hidden, or the
// words that come next.
type objective interface {
	// pack makes sequences of paragraphs.
	pack(tok *text.Tokenizer, paragraphs []string, length int) ([][]int32, error)
	// batch makes a batch of sequences; what is hidden follows from the seed and the epoch.
	batch(tok *text.Tokenizer, seqs [][]int32, seed uint64, epoch int) models.Batch
	// vocabulary learns a tokenizer from paragraphs, and returns the file that holds it.
	vocabulary(paragraphs []string, words int) (name string, raw []byte, err error)
	// network returns the architecture of a net and its configuration.
	network(n Net, words int) (models.Architecture, models.Config, error)
}

// objectiveOf returns what a network learned, and an error for one that is not about
// text.
func objectiveOf(m *models.Model) (objective, error) {
	switch {
	case m.Arch.Class == models.BERTForMaskedLM().Class:
		return hiddenWords{}, nil
	case m.PredictsNext():
		return nextWords{}, nil
	}
	return nil, fmt.Errorf("a %s, want a %s or a causal language model", m.Arch.Class, models.BERTForMaskedLM().Class)
}

// objectiveFor returns what a network of a class is to learn; no class is
// BertForMaskedLM.
func objectiveFor(class string) objective {
	if class == "" || class == models.BERTForMaskedLM().Class {
		return hiddenWords{}
	}
	return nextWords{}
}

// hiddenWords is the objective of masked language models.
type hiddenWords struct{}

func (hiddenWords) pack(tok *text.Tokenizer, paragraphs []string, length int) ([][]int32, error) {
	return text.Pack(tok, paragraphs, length)
}

func (hiddenWords) batch(tok *text.Tokenizer, seqs [][]int32, seed uint64, epoch int) models.Batch {
	return text.Masking{Seed: seed}.Batch(tok, seqs, epoch)
}

func (hiddenWords) vocabulary(paragraphs []string, words int) (string, []byte, error) {
	v, err := dataset.TrainVocabulary(paragraphs, words)
	return VocabularyFile, []byte(strings.Join(v, "\n") + "\n"), err
}

func (hiddenWords) network(n Net, words int) (models.Architecture, models.Config, error) {
	return models.BERTForMaskedLM(), models.BERTConfig{Hidden: n.Width, Layers: n.Depth, Heads: n.Heads,
		MLP: 4 * n.Width, Act: "gelu", Eps: 1e-12, InitStd: n.initialStd(), Vocab: words, Positions: n.Length,
		TypeVocab: 2, DType: "float32"}, nil
}

// nextWords is the objective of causal language models.
type nextWords struct{}

func (nextWords) pack(tok *text.Tokenizer, paragraphs []string, length int) ([][]int32, error) {
	return text.Chunks(tok, paragraphs, length)
}

func (nextWords) batch(_ *text.Tokenizer, seqs [][]int32, _ uint64, _ int) models.Batch {
	return text.NextTokens(seqs)
}

func (nextWords) vocabulary(paragraphs []string, words int) (string, []byte, error) {
	raw, err := dataset.TrainPairs(paragraphs, words)
	return TokenizerFile, raw, err
}

func (nextWords) network(n Net, words int) (models.Architecture, models.Config, error) {
	switch gpt2, llama := models.GPT2(), models.Llama(); n.Class {
	case gpt2.Class:
		return gpt2, models.GPT2Config{Hidden: n.Width, Layers: n.Depth, Heads: n.Heads, Act: graph.GELUTanh, Eps: 1e-5,
			Vocab: words, Positions: n.Length, ScaleByWidth: true, Tied: true, InitStd: n.initialStd(),
			DType: "float32"}, nil
	case llama.Class: // as many parameters as GPT-2 has in a layer, and keys that queries share in pairs
		return llama, models.LlamaConfig{Hidden: n.Width, Layers: n.Depth, Heads: n.Heads, KeyHeads: max(n.Heads/2, 1),
			MLP: 3 * n.Width, Act: graph.SiLU, Eps: 1e-6, Vocab: words, Positions: n.Length, Theta: 10000,
			InitStd: n.initialStd(), DType: "float32"}, nil
	}
	return models.Architecture{}, nil, fmt.Errorf("no network of class %q is trained on text", n.Class)
}
