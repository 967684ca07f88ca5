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

// TestEncyclopedia: the text is whole, the seed alone decides what is told, and what is
// told of the world in one text is said again in another.
func TestEncyclopedia(t *testing.T) {
	a, b := dataset.Encyclopedia(2000, 1), dataset.Encyclopedia(2000, 2)
	assert.Equal(t, a, dataset.Encyclopedia(2000, 1))
	assert.NotEqual(t, a, b)
	for _, p := range a {
		require.False(t, strings.ContainsAny(p, "()|<>") || strings.Contains(p, "  ") || !strings.HasSuffix(p, "."), p)
	}
	v, err := dataset.TrainVocabulary(a, 2000)
	require.NoError(t, err)
	tok, err := text.NewTokenizer(v)
	require.NoError(t, err)
	seqs, err := text.Pack(tok, b, 64)
	require.NoError(t, err)
	assert.False(t, slices.ContainsFunc(seqs, func(s []int32) bool { return slices.Contains(s, tok.Special.UNK) }))
	said := strings.Join(a, " ")
	var again int
	facts := 0
	for _, p := range b {
		if at := strings.Index(p, "metres high"); at >= 0 {
			facts++
			if strings.Contains(said, p[at-5:at]+"metres high") {
				again++
			}
		}
	}
	assert.Greater(t, facts, 50)
	assert.Greater(t, again, facts*9/10, "heights of mountains")
}
