package text_test

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models/text"
)

// archive writes a .tar.gz of names and contents, one after the other.
func archive(t *testing.T, files ...string) string {
	path := filepath.Join(t.TempDir(), "corpus.tar.gz")
	f, err := os.Create(path)
	require.NoError(t, err)
	packed := gzip.NewWriter(f)
	w := tar.NewWriter(packed)
	for i := 0; i < len(files); i += 2 {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1]))}))
		_, err := w.Write([]byte(files[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, packed.Close())
	require.NoError(t, f.Close())
	return path
}

func TestOpen(t *testing.T) {
	c, err := text.Open(t.Context(), archive(t,
		"w/train.txt", " = Title = \n\n the <unk> a 4 @,@ 000 \r\nb", "w/notes.txt", "no", "w/valid.txt", "c\n"))
	require.NoError(t, err)
	assert.Equal(t, text.Corpus{Train: []string{"the [UNK] a 4,000", "b"}, Test: []string{"c"}}, c)
}

func TestOpenForms(t *testing.T) {
	want, dir := text.Corpus{Train: []string{"a"}, Test: []string{"b"}}, t.TempDir()
	folder, zipped := filepath.Join(dir, "folder", "sub"), filepath.Join(dir, "w.zip")
	require.NoError(t, os.MkdirAll(folder, 0o755))
	f, err := os.Create(zipped)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for name, line := range map[string]string{"train": "a", "valid": "b"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name+".txt"), []byte(line), 0o600))
		w, err := z.Create("w/wiki." + name + ".tokens")
		require.NoError(t, err)
		_, err = w.Write([]byte(line))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	for _, path := range []string{filepath.Dir(folder), zipped} {
		c, err := text.Open(t.Context(), path)
		require.NoError(t, err)
		assert.Equal(t, want, c)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := text.Open(t.Context(), archive(t, "w/train.txt", "a"))
	require.ErrorIs(t, err, text.ErrCorpus)
	assert.ErrorContains(t, err, "valid.txt")
	_, err = text.Open(t.Context(), archive(t, "w/train.txt", " \n= Title =\n", "w/valid.txt", "a"))
	assert.ErrorIs(t, err, text.ErrEmpty)
	_, err = text.Open(t.Context(), filepath.Join(t.TempDir(), "missing"))
	assert.ErrorIs(t, err, os.ErrNotExist)

	_, err = text.Open(t.Context(), archive(t, "a/train.txt", "a", "b/wiki.train.tokens", "b", "b/valid.txt", "c"))
	require.ErrorIs(t, err, text.ErrCorpus)
	assert.ErrorContains(t, err, "b/wiki.train.tokens: a second train.txt")
	plain := filepath.Join(t.TempDir(), "novel.txt")
	require.NoError(t, os.WriteFile(plain, []byte("It was a dark and stormy night.\n"), 0o600))
	_, err = text.Open(t.Context(), plain)
	require.ErrorIs(t, err, text.ErrCorpus)
	assert.ErrorContains(t, err, "a plain text is read from a folder that holds it as train.txt")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = text.Open(ctx, archive(t, "train.txt", "a", "valid.txt", "c"))
	require.ErrorIs(t, err, context.Canceled)

	whole, err := os.ReadFile(archive(t, "train.txt", "a b c", "valid.txt", "d"))
	require.NoError(t, err)
	torn := filepath.Join(t.TempDir(), "torn.tar.gz")
	for _, size := range []int{0, 5, len(whole) / 2, len(whole) - 9} {
		require.NoError(t, os.WriteFile(torn, whole[:size], 0o600))
		_, err = text.Open(t.Context(), torn)
		assert.ErrorIs(t, err, text.ErrCorpus, "cut to %d bytes", size)
	}
}

func TestPack(t *testing.T) {
	tok := smallTokenizer(t)
	seqs, err := text.Pack(tok, []string{"the unaffable", "a a a"}, 5)
	require.NoError(t, err)
	assert.Equal(t, [][]int32{{2, 5, 6, 7, 3}, {2, 8, 14, 14, 3}}, seqs, "the last piece fills no sequence")
	_, err = text.Pack(tok, []string{"", " \t"}, 5)
	assert.ErrorIs(t, err, text.ErrEmpty)
	_, err = text.Pack(tok, []string{"the"}, 2)
	assert.Error(t, err)
}

func TestRealCorpora(t *testing.T) {
	folder := os.Getenv("OTFUSE_DATA")
	if folder == "" {
		t.Skip("OTFUSE_DATA is not set")
	}
	for _, name := range []string{"wikitext-2.tar.gz", "wiki-en-2016.tar.gz"} {
		c, err := text.Open(t.Context(), filepath.Join(folder, name))
		require.NoError(t, err)
		assert.Greater(t, len(c.Train), 5*len(c.Test), name)
	}
}
