package text

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otfuse/otfuse/internal/bounded/boundedtest"
)

// FuzzTokenizer: whatever its files, a tokenizer makes ids of any text that are below
// its size, or is an error.
func FuzzTokenizer(f *testing.F) {
	const vocabulary = `{"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "##b": 6}`
	f.Add([]byte(`{"model": {"type": "WordPiece", "vocab": `+vocabulary+`}}`), []byte(`{}`), "a ab [MASK]")
	f.Add([]byte(`{"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]},
		"pre_tokenizer": {"type": "BertPreTokenizer"}, "added_tokens": [{"id": 7, "content": "ab", "lstrip": true}],
		"model": {"type": "WordPiece", "max_input_chars_per_word": 2, "vocab": `+vocabulary+`}}`),
		[]byte(`{"do_lower_case": false, "mask_token": {"content": "a"}}`), "\u0130 \u4e00ab\u0301")
	f.Add([]byte(`{"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true},
		"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"], "ignore_merges": true}}`),
		[]byte(`{"added_tokens_decoder": {"3": {"content": "<s>"}}}`), "abba it's 12")
	f.Fuzz(func(t *testing.T, raw, settings []byte, s string) {
		if len(s) > 1<<10 {
			s = s[:1<<10]
		}
		boundedtest.Require(t, boundedtest.Hostile, func() {
			tok, err := ReadTokenizer(map[string][]byte{tokenizerFile: raw, settingsFile: settings})
			if err != nil {
				if !errors.Is(err, ErrVocabulary) {
					t.Fatalf("an error of another kind: %v", err)
				}
				return
			}
			for _, id := range tok.Encode(s) {
				if id < -1 || int(id) >= tok.Size() {
					t.Fatalf("%q has the id %d of %d", s, id, tok.Size())
				}
			}
		})
	})
}

// FuzzVocabulary: whatever the lines of a vocab.txt, or a vocab.json and its merges,
// they are a tokenizer or an error.
func FuzzVocabulary(f *testing.F) {
	f.Add(strings.Join(append(SpecialPieces(), "a", "##b"), "\n"), "", "a ab")
	f.Add(`{"a": 0, "b": 1, "ab": 2}`, "#version: 0.2\na b", "abba")
	f.Fuzz(func(t *testing.T, vocabulary, merges, s string) {
		files := map[string][]byte{lineFile: []byte(vocabulary)}
		if merges != "" {
			files = map[string][]byte{pairFile: []byte(vocabulary), mergeFile: []byte(merges)}
		}
		tok, err := ReadTokenizer(files)
		if err != nil {
			return
		}
		for _, id := range tok.Encode(s[:min(len(s), 1<<10)]) {
			if id < -1 || int(id) >= tok.Size() {
				t.Fatalf("%q has the id %d of %d", s, id, tok.Size())
			}
		}
	})
}

// FuzzCorpus: whatever the bytes, an archive is a corpus with paragraphs or an error.
func FuzzCorpus(f *testing.F) {
	var tgz, zipped bytes.Buffer
	z := gzip.NewWriter(&tgz)
	tw, zw := tar.NewWriter(z), zip.NewWriter(&zipped)
	const content = "= x =\n<unk> a @-@ b\n"
	for _, name := range []string{"w/wiki.train.tokens", "valid.txt"} {
		w, err := zw.Create(name)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		err = errors.Join(err, tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(content))}))
		if _, e := tw.Write([]byte(content)); err != nil || e != nil {
			f.Fatal(err, e)
		}
	}
	if err := errors.Join(tw.Close(), z.Close(), zw.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(tgz.Bytes())
	f.Add(zipped.Bytes())
	f.Add([]byte("PK"))
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		boundedtest.Require(t, boundedtest.Hostile, func() {
			c, err := Open(t.Context(), path)
			if err == nil && (len(c.Train) == 0 || len(c.Test) == 0) {
				t.Fatal("an empty corpus without an error")
			}
			if err != nil && !errors.Is(err, ErrCorpus) && !errors.Is(err, ErrEmpty) {
				t.Fatalf("an error of another kind: %v", err)
			}
		})
	})
}

// FuzzTable: whatever the text, a table has a label for each sentence, or is an error.
func FuzzTable(f *testing.F) {
	f.Add("sentence\tlabel\na b\t1\n")
	f.Add("label\tx\tsentence\r\n0\t\ta\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		table, err := readTable(strings.NewReader(s))
		if err == nil && (len(table.Sentences) == 0 || len(table.Sentences) != len(table.Labels)) {
			t.Fatalf("%d sentences and %d labels", len(table.Sentences), len(table.Labels))
		}
	})
}
