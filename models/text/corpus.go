package text

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// maxText is the size of the largest text that is read, in bytes.
const maxText = 1 << 30

// A Corpus holds paragraphs to train on and others to test on.
type Corpus struct{ Train, Test []string }

// Open reads a corpus from a .tar.gz that holds train.txt and valid.txt in some
// folder, one paragraph a line, as WikiText-2 comes. The <unk> of WikiText
// becomes [UNK]. The error is [ErrCorpus] where one of them is not there and
// [ErrEmpty] where it holds no paragraph.
func Open(archive string) (Corpus, error) {
	f, err := os.Open(archive)
	if err != nil {
		return Corpus{}, fmt.Errorf("text: %w", err)
	}
	defer f.Close()
	c, err := read(f)
	if err != nil {
		return Corpus{}, fmt.Errorf("%w (%s)", err, archive)
	}
	return c, nil
}

// read reads the archive.
func read(r io.Reader) (Corpus, error) {
	packed, err := gzip.NewReader(r)
	if err != nil {
		return Corpus{}, fmt.Errorf("%w: %w", ErrCorpus, err)
	}
	found := map[string][]string{}
	for files := tar.NewReader(packed); ; {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Corpus{}, fmt.Errorf("%w: %w", ErrCorpus, err)
		}
		name := path.Base(head.Name)
		if head.Typeflag != tar.TypeReg || name != "train.txt" && name != "valid.txt" {
			continue
		}
		if head.Size > maxText {
			return Corpus{}, fmt.Errorf("%w: %s has %d bytes, at most %d are read", ErrCorpus, name, head.Size, maxText)
		}
		raw, err := io.ReadAll(files)
		if err != nil {
			return Corpus{}, fmt.Errorf("%w: %s: %w", ErrCorpus, name, err)
		}
		found[name] = Paragraphs(string(raw))
	}
	if _, err := io.Copy(io.Discard, packed); err != nil { // up to the checksum
		return Corpus{}, fmt.Errorf("%w: %w", ErrCorpus, err)
	}
	for _, name := range []string{"train.txt", "valid.txt"} {
		lines, ok := found[name]
		if !ok {
			return Corpus{}, fmt.Errorf("%w: no %s", ErrCorpus, name)
		}
		if len(lines) == 0 {
			return Corpus{}, fmt.Errorf("%w: %s", ErrEmpty, name)
		}
	}
	return Corpus{Train: found["train.txt"], Test: found["valid.txt"]}, nil
}

// Paragraphs returns the lines of a text that are neither blank nor headings in
// the style of WikiText, "= Title =". What WikiText took apart within words and
// numbers is put together again: "well @-@ known", "4 @,@ 000".
func Paragraphs(s string) []string {
	var out []string
	whole := strings.NewReplacer("<unk>", special[1], " @-@ ", "-", " @,@ ", ",", " @.@ ", ".")
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "= ") && strings.HasSuffix(line, " =") {
			continue
		}
		out = append(out, whole.Replace(line))
	}
	return out
}

// Pack joins the word pieces of paragraphs, one after the other, and cuts them
// into sequences of length T: [CLS], T-2 pieces, [SEP]. What is left over at the
// end is dropped. Where not one sequence is filled the error is [ErrEmpty].
func Pack(t *Tokenizer, paragraphs []string, length int) ([][]int32, error) {
	if length < 3 {
		return nil, fmt.Errorf("text: sequences of length %d, want at least 3", length)
	}
	var seqs [][]int32
	seq := []int32{t.Special.Start}
	for _, p := range paragraphs {
		for _, id := range t.Encode(p) {
			seq = append(seq, id)
			if len(seq) == length-1 {
				seqs = append(seqs, append(seq, t.Special.End))
				seq = []int32{t.Special.Start}
			}
		}
	}
	if len(seqs) == 0 {
		return nil, fmt.Errorf("%w: %d word pieces do not fill a sequence of %d", ErrEmpty, len(seq)-1, length)
	}
	return seqs, nil
}
