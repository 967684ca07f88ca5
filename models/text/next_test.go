package text

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

// lettersOf is a tokenizer of the bytes a to e, with an end of text.
func lettersOf(t *testing.T) *Tokenizer {
	tok, err := ParseTokenizer("tokenizer.json", []byte(`{"pre_tokenizer": {"type": "ByteLevel"},
		"added_tokens": [{"id": 5, "content": "<|endoftext|>"}],
		"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}, "merges": []}}`))
	require.NoError(t, err)
	return tok
}

func TestChunks(t *testing.T) {
	tok := lettersOf(t)
	got, err := Chunks(tok, []string{"abc", "de", "a"}, 4)
	require.NoError(t, err)
	require.Equal(t, [][]int32{{0, 1, 2, 5}, {3, 4, 5, 0}}, got, "an end behind each paragraph; the rest is dropped")
	_, err = Chunks(tok, []string{"ab"}, 4)
	require.ErrorIs(t, err, ErrEmpty)
	_, err = Chunks(tok, []string{"ab"}, 1)
	require.ErrorContains(t, err, "want at least 2")
}

func TestNextTokens(t *testing.T) {
	shape := []int{2, 3}
	require.Equal(t, models.Batch{
		"input_ids":      {Shape: shape, Ints: []int32{3, 4, 5, 6, 0, 0}},
		"attention_mask": {Shape: shape, Ints: []int32{1, 1, 1, 1, 0, 0}},
		models.Labels:    {Shape: shape, Ints: []int32{3, 4, 5, 6, models.Ignore, models.Ignore}},
	}, NextTokens([][]int32{{3, 4, 5}, {6}}))
}

// TestDecode: word pieces are put together, byte pairs stand as they are, and ids
// without a word are left out.
func TestDecode(t *testing.T) {
	require.Equal(t, "bad<|endoftext|>a", lettersOf(t).Decode([]int32{1, 0, 3, 5, 0, 6, -1}))
	tok, err := NewTokenizer(append(SpecialPieces(), "river", "##s", "the"))
	require.NoError(t, err)
	require.Equal(t, "the rivers [SEP]", tok.Decode(append(tok.Encode("The rivers"), tok.Special.SEP)))
}
