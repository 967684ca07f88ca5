package text

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// maxText is the size of the largest text that is read, in bytes.
const maxText = 1 << 30

// A Corpus holds paragraphs to train on and others to test on.
type Corpus struct{ Train, Test []string }

// Open reads a corpus from a folder, a .zip or a .tar.gz that holds train.txt and
// valid.txt in some folder, one paragraph a line, or wiki.train.tokens and
// wiki.valid.tokens, as WikiText-2 comes. The <unk> of WikiText becomes [UNK].
// The error is [ErrCorpus] where one of them is not there and [ErrEmpty] where it
// holds no paragraph.
func Open(path string) (Corpus, error) {
	found, err := gather(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Corpus{}, fmt.Errorf("text: %w", err)
	}
	if err != nil {
		return Corpus{}, fmt.Errorf("%w: %w (%s)", ErrCorpus, err, path)
	}
	for _, name := range []string{"train.txt", "valid.txt"} {
		lines, ok := found[name]
		if !ok {
			return Corpus{}, fmt.Errorf("%w: no %s (%s)", ErrCorpus, name, path)
		}
		if len(lines) == 0 {
			return Corpus{}, fmt.Errorf("%w: %s (%s)", ErrEmpty, name, path)
		}
	}
	return Corpus{Train: found["train.txt"], Test: found["valid.txt"]}, nil
}

// shelf holds the paragraphs of train.txt and valid.txt.
type shelf map[string][]string

// gather reads what there is at a path.
func gather(path string) (shelf, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	found := shelf{}
	switch {
	case info.IsDir():
		return found, found.walk(os.DirFS(path))
	case strings.HasSuffix(path, ".zip"):
		z, err := zip.OpenReader(path)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return found, found.walk(z)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return found, found.unpack(f)
}

// add reads a file if it is one of a corpus.
func (s shelf) add(name string, size int64, r io.Reader) error {
	switch path.Base(name) {
	case "train.txt", "wiki.train.tokens":
		name = "train.txt"
	case "valid.txt", "wiki.valid.tokens":
		name = "valid.txt"
	default:
		return nil
	}
	if size > maxText {
		return fmt.Errorf("%s has %d bytes, at most %d are read", name, size, maxText)
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxText))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s[name] = Paragraphs(string(raw))
	return nil
}

func (s shelf) walk(files fs.FS) error {
	return fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.add(name, info.Size(), f)
	})
}

// unpack reads a .tar.gz, up to its checksum.
func (s shelf) unpack(r io.Reader) error {
	packed, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	for files := tar.NewReader(packed); ; {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && head.Typeflag == tar.TypeReg {
			err = s.add(head.Name, head.Size, files)
		}
		if err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, packed)
	return err
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
