package dataset_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/models/text"
)

// pairs returns the tokenizer of byte pairs that are learned from lines.
func pairs(t *testing.T, lines []string, size int) *text.Tokenizer {
	raw, err := dataset.TrainPairs(lines, size)
	require.NoError(t, err)
	again, err := dataset.TrainPairs(slices.Clone(lines), size)
	require.NoError(t, err)
	assert.Equal(t, raw, again)
	tok, err := text.ParseTokenizer("tokenizer.json", raw)
	require.NoError(t, err)
	return tok
}

// TestTrainPairs: tokens of text that was learned from give the text back, frequent
// words are one token, and without merges a token is a byte.
func TestTrainPairs(t *testing.T) {
	lines := []string{strings.Repeat("the river of the valley ", 9), "Zürich’s naïve café, 東京 1984!"}
	merged, single := pairs(t, lines, 50), pairs(t, lines, 0)
	assert.Equal(t, 50, merged.Size())
	assert.Less(t, len(merged.Encode(" river of the valley")), 7)
	for _, line := range lines {
		assert.Equal(t, line, merged.Decode(merged.Encode(line)))
		assert.Equal(t, line, single.Decode(single.Encode(line)))
		assert.Len(t, single.Encode(line), len(line))
	}
	assert.Equal(t, int32(0), merged.Special.SEP, "the end of a text")
	assert.Equal(t, "a\ufffd", single.Decode(append(single.Encode("a"), single.Encode("東")[:2]...)), "a cut character")
	assert.Equal(t, []int32{0}, merged.Encode("<|endoftext|>"))
}

func TestTrainPairsRefuses(t *testing.T) {
	_, err := dataset.TrainPairs([]string{""}, 100)
	assert.ErrorIs(t, err, text.ErrEmpty)
	_, err = dataset.TrainPairs([]string{"abc"}, 3)
	assert.ErrorIs(t, err, text.ErrVocabulary)
}
