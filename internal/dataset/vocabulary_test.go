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

func TestTrainVocabulary(t *testing.T) {
	// By hand: "abab" 3 times, "ab" 2 times, "b" once. Pairs: a+##b 5, ##b+##a 3,
	// ##a+##b 3; ab first, then ##a+##b (before ab+##a and ##b+##a in order? they
	// are ab+##a 3 and ##a+##b 3: "##a" sorts first), then ab+##ab.
	got, err := dataset.TrainVocabulary([]string{"abab ABAB [UNK] abab", "ab, áb b"}, 100)
	require.NoError(t, err)
	assert.Equal(t, []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##a", "##b", ",", "a", "b", "ab", "##ab",
		"abab"}, got)

	short, err := dataset.TrainVocabulary([]string{"abab abab abab ab, ab b"}, 11)
	require.NoError(t, err)
	assert.Equal(t, got[:11], short)
}

// TestTrainVocabularyCovers: a tokenizer of the vocabulary knows every word of the text,
// and frequent words are one piece.
func TestTrainVocabularyCovers(t *testing.T) {
	lines := []string{strings.Repeat("the river of the valley ", 9), "Zürich’s naïve café, 東京 1984!"}
	v, err := dataset.TrainVocabulary(lines, 60)
	require.NoError(t, err)
	tok, err := text.NewTokenizer(v)
	require.NoError(t, err)
	for _, line := range lines {
		assert.NotContains(t, tok.Encode(line), tok.Special.UNK, line)
	}
	assert.Len(t, tok.Encode("the river of the valley"), 5)
	again, err := dataset.TrainVocabulary(slices.Clone(lines), 60)
	require.NoError(t, err)
	assert.Equal(t, v, again)
}

func TestTrainVocabularyRefuses(t *testing.T) {
	_, err := dataset.TrainVocabulary([]string{"", " [UNK] "}, 100)
	assert.ErrorIs(t, err, text.ErrEmpty)
	_, err = dataset.TrainVocabulary([]string{"abc"}, 7)
	assert.ErrorIs(t, err, text.ErrVocabulary)
}
