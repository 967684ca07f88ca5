package lab

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// causalNet is a small network of a class that finds next words.
func causalNet(class string) func(uint64) Net {
	return func(seed uint64) Net {
		return Net{Class: class, Width: 8, Depth: 1, Heads: 2, Words: 100, Length: 12, Seed: seed}
	}
}

// TestNextWords: causal networks are trained on running text with its tokens as
// labels, come with their tokenizer, and continue a prompt.
func TestNextWords(t *testing.T) {
	d := openDevice(t)
	for _, class := range []string{"GPT2LMHeadModel", "LlamaForCausalLM"} {
		texts := fewTexts()
		parents := pair(t, texts, causalNet(class))
		require.Equal(t, class, parents[0].Arch.Class)
		require.Contains(t, parents[0].Files, TokenizerFile)
		samples, err := texts.Samples(texts.First(3))
		require.NoError(t, err)
		require.Equal(t, samples["input_ids"], samples[models.Labels])
		require.Equal(t, []int{3, 12}, samples["input_ids"].Shape)
		s, err := texts.Score(t.Context(), d, parents[0])
		require.NoError(t, err)
		require.Equal(t, texts.Tests()*11, s.Count, "the last token has no next one")

		prompt := texts.Prompt()
		require.NotEmpty(t, prompt)
		require.Contains(t, texts.Test[0], prompt)
		_, err = texts.Continue(t.Context(), d, parents[0], prompt, gomlx.Generation{Tokens: 2})
		require.NoError(t, err)
		_, err = texts.Continue(t.Context(), d, parents[0], "", gomlx.Generation{})
		require.ErrorContains(t, err, "has no tokens")
	}
}

func TestObjectiveErrors(t *testing.T) {
	texts := fewTexts()
	_, err := texts.Network(causalNet("T5ForConditionalGeneration")(1))
	require.ErrorContains(t, err, `no network of class "T5ForConditionalGeneration" is trained on text`)
	gpt2, err := texts.Network(causalNet("GPT2LMHeadModel")(1))
	require.NoError(t, err)
	bert, err := texts.Network(tinyTextNet(1))
	require.NoError(t, err)
	require.ErrorContains(t, texts.Accept([]*models.Model{gpt2, bert}), "parent 1 is a BertForMaskedLM, parent 0 a GPT2")
}

// TestHalved: the weights and what the configuration says of them change, nothing else.
func TestHalved(t *testing.T) {
	m, err := fewTexts().Network(causalNet("GPT2LMHeadModel")(1))
	require.NoError(t, err)
	h, err := Halved(m)
	require.NoError(t, err)
	want, ok := m.Config.(models.GPT2Config)
	require.True(t, ok)
	want.DType = "float16"
	require.Equal(t, want, h.Config)
	require.Equal(t, m.Files, h.Files)
	for name, tensor := range h.Params {
		require.EqualValues(t, "F16", tensor.DType, name)
	}
}
