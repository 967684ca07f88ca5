package text_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/text"
)

func table(t *testing.T, content string) string {
	path := filepath.Join(t.TempDir(), "train.tsv")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestTable(t *testing.T) {
	tab, err := text.OpenTable(table(t, "sentence\tlabel\nthe \"unaffable\" don\t1\r\na cafe\t0\n"))
	require.NoError(t, err)
	// bufio drops the carriage return with the line.
	assert.Equal(t, text.Table{Sentences: []string{"the \"unaffable\" don", "a cafe"}, Labels: []string{"1", "0"}}, tab)
	assert.Equal(t, []string{"0", "1"}, tab.Classes())
	ids, err := tab.IDs(tab.Classes())
	require.NoError(t, err)
	assert.Equal(t, []int32{1, 0}, ids)
	_, err = tab.IDs([]string{"0"})
	assert.ErrorIs(t, err, text.ErrTable)

	other, err := text.OpenTable(table(t, "id\tlabel\tsentence\n7\tbad\ta\n"))
	require.NoError(t, err)
	assert.Equal(t, text.Table{Sentences: []string{"a"}, Labels: []string{"bad"}}, other)

	tok := smallTokenizer(t)
	seqs, err := tok.EncodeBatch([]string{"the unaffable", "a", "the the the the the the"}, 6)
	require.NoError(t, err)
	assert.Equal(t, [][]int32{{2, 5, 6, 7, 8, 3}, {2, 14, 3, 0, 0, 0}, {2, 5, 5, 5, 5, 3}}, seqs)
	_, err = tok.EncodeBatch([]string{"a"}, 2)
	require.ErrorContains(t, err, "text: sequences of length 2")
	b := text.Labeled(tok, seqs[:2], ids)
	require.NoError(t, b.Check())
	assert.Equal(t, models.Array{Shape: []int{2}, Ints: ids}, b[models.Labels])
	assert.Equal(t, []int32{1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0}, b["attention_mask"].Ints)
}

func TestTableRefuses(t *testing.T) {
	for content, want := range map[string]error{
		"":                         text.ErrEmpty,
		"sentence\tlabel\n":        text.ErrEmpty,
		"a\tb\nx\ty\n":             text.ErrTable,
		"sentence\tlabel\nalone\n": text.ErrTable,
		"sentence\tlabel\nx\t\n":   text.ErrTable,
	} {
		_, err := text.OpenTable(table(t, content))
		assert.ErrorIs(t, err, want, "%q", content)
	}
	_, err := text.OpenTable("nowhere")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
