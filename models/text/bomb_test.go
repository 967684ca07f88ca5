package text

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/bounded"
	"github.com/otfuse/otfuse/internal/bounded/boundedtest"
)

// TestCorpusBombs: a corpus takes a small multiple of the memory of its archive.
func TestCorpusBombs(t *testing.T) {
	for name, c := range map[string]struct{ unit, want string }{
		"zeros":            {"\x00", "unpacks to more than 32 times its size"},
		"blank lines":      {"\n", "unpacks to more than 32 times its size"},
		"small paragraphs": {"a\n", "unpacks to more than 32 times its size"},
	} {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		content := bytes.Repeat([]byte(c.unit), (64<<20)/len(c.unit))
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "wiki.train.tokens", Size: int64(len(content))}))
		_, err := w.Write(content)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.NoError(t, z.Close())
		path := filepath.Join(t.TempDir(), "x")
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
		boundedtest.Require(t, boundedtest.Hostile, func() {
			_, err := Open(t.Context(), path)
			require.ErrorIs(t, err, ErrCorpus, name)
			require.ErrorContains(t, err, c.want, name)
		})
	}
}

// TestEndlessFiles: pipes and devices are refused before they are opened.
func TestEndlessFiles(t *testing.T) {
	dir := t.TempDir()
	boundedtest.MakePipe(t, filepath.Join(dir, tokenizerFile))
	_, err := OpenTokenizer(dir)
	require.ErrorIs(t, err, bounded.ErrIrregular)
	for _, path := range []string{filepath.Join(dir, tokenizerFile), "/dev/zero"} {
		_, err = OpenTokenizer(path)
		require.ErrorIs(t, err, bounded.ErrIrregular)
		_, err = Open(t.Context(), path)
		require.ErrorIs(t, err, ErrCorpus)
	}
}

// TestTokenizersThatWouldNotEnd: what makes a text longer and longer, nests without
// end, searches for anything or makes words of any length is refused.
func TestTokenizersThatWouldNotEnd(t *testing.T) {
	grow := `{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"}`
	const levels = 3000
	nested := strings.Repeat(`{"type": "Sequence", "normalizers": [`, levels) + grow + strings.Repeat("]}", levels)
	sequence := func(key, steps string) string { return fmt.Sprintf(`{"type": "Sequence", %q: [%s]}`, key, steps) }
	for _, c := range []struct{ normalizer, before, longest, want string }{
		{grow, "null", "100", `a normalizer of type "Replace"`},
		{sequence("normalizers", strings.Repeat(grow+",", 5)+grow), "null", "100", `a normalizer of type "Replace"`},
		{nested, "null", "100", `a normalizer of type "Sequence"`},
		{`{"type": "Precompiled"}`, "null", "100", `a normalizer of type "Precompiled"`},
		{"null", `{"type": "Split", "pattern": {"Regex": "(a*)*b"}}`, "100", `a pre_tokenizer of type "Split"`},
		{"null", sequence("pretokenizers", sequence("pretokenizers", "")), "100", `a pre_tokenizer of type "Sequence"`},
		{"null", "null", "1000000000", "max_input_chars_per_word is 1000000000, at most 1000"},
	} {
		raw := fmt.Sprintf(`{"normalizer": %s, "pre_tokenizer": %s, "model": {"type": "WordPiece",
			"max_input_chars_per_word": %s, "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}}}`,
			c.normalizer, c.before, c.longest)
		_, err := ParseTokenizer(tokenizerFile, []byte(raw))
		require.ErrorIs(t, err, ErrVocabulary)
		require.ErrorContains(t, err, c.want)
	}
}
