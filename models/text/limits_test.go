package text

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCorpusLimits: memory is bounded, whatever an archive unpacks to.
func TestCorpusLimits(t *testing.T) {
	read := func(s string) error {
		return corpusReader{map[string][]string{}, 12, 3}.readFile(t.Context(), "w/train.txt", strings.NewReader(s))
	}
	require.NoError(t, read("aaa\nbbb\nccc\n"))
	for _, s := range []string{"a\nb\nc\nd\n", "aaaaaaaaaaaaa", "\n\n\n\n\n\n\n\n\n\n\n\n\na"} {
		assert.ErrorContains(t, read(s), "w/train.txt is longer than 12 bytes or 3 paragraphs", "%q", s)
	}
}
