package text

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/otfuse/otfuse/internal/bounded"
)

// What is read of one text at most, against archives that unpack to more than
// memory holds.
const (
	maxText       = 1 << 30 // bytes
	maxParagraphs = 1 << 24
	maxTrailer    = 1 << 24 // bytes behind the last entry of a .tar.gz

	// maxRatio is how many times its size an archive may unpack to; text reaches five.
	maxRatio bounded.Ratio = 32
)

// A Corpus holds paragraphs to train on and others to test on.
type Corpus struct{ Train, Test []string }

// The files that a corpus consists of; WikiText-2 calls them otherwise.
const (
	trainFile = "train.txt"
	testFile  = "valid.txt"
)

// Open reads a corpus from a folder, a .zip or a .tar.gz that holds train.txt and
// valid.txt in some folder, one paragraph a line, or wiki.train.tokens and
// wiki.valid.tokens, as WikiText-2 comes. The <unk> of WikiText becomes [UNK].
//
// The error has [ErrCorpus] in its chain where one of the two is missing or
// there twice, where they are larger than 1 GiB or many times as large as their
// archive and where the archive is torn, and [ErrEmpty] where one of them holds no paragraph.
func Open(ctx context.Context, path string) (Corpus, error) {
	found, err := readCorpus(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return Corpus{}, fmt.Errorf("text: %w", err)
	}
	if ctx.Err() != nil {
		return Corpus{}, fmt.Errorf("text: %s: %w", path, ctx.Err())
	}
	if err != nil {
		return Corpus{}, fmt.Errorf("%w: %w (%s)", ErrCorpus, err, path)
	}
	for _, name := range []string{trainFile, testFile} {
		lines, ok := found[name]
		if !ok {
			return Corpus{}, fmt.Errorf("%w: no %s (%s)", ErrCorpus, name, path)
		}
		if len(lines) == 0 {
			return Corpus{}, fmt.Errorf("%w: %s (%s)", ErrEmpty, name, path)
		}
	}
	return Corpus{Train: found[trainFile], Test: found[testFile]}, nil
}

// corpusReader collects the paragraphs of train.txt and valid.txt.
type corpusReader struct {
	found                   map[string][]string
	maxBytes, maxParagraphs int // of a text
}

// readCorpus reads the files of a corpus from whatever is at a path.
func readCorpus(ctx context.Context, path string) (map[string][]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	c := corpusReader{map[string][]string{}, maxText, maxParagraphs}
	if info.IsDir() {
		return c.found, c.readFolder(ctx, os.DirFS(path))
	}
	f, err := bounded.Open(path)
	if errors.Is(err, bounded.ErrIrregular) {
		return nil, errors.New("neither a folder nor a regular file")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	start := bufio.NewReader(f)
	switch magic, _ := start.Peek(2); string(magic) { // shorter files have no magic number
	case "PK":
		z, err := maxRatio.Zip(f, info.Size())
		if err != nil {
			return nil, err
		}
		return c.found, c.readFolder(ctx, z)
	case "\x1f\x8b":
		return c.found, c.readTarGz(ctx, start)
	}
	return nil, fmt.Errorf("neither a folder nor a .zip nor a .tar.gz; "+
		"a plain text is read from a folder that holds it as %s, beside a %s to test on", trainFile, testFile)
}

// readFile reads a file if it belongs to a corpus.
func (c corpusReader) readFile(ctx context.Context, name string, r io.Reader) error {
	file := path.Base(name)
	switch file {
	case trainFile, testFile:
	case "wiki.train.tokens":
		file = trainFile
	case "wiki.valid.tokens":
		file = testFile
	default:
		return nil
	}
	if _, twice := c.found[file]; twice {
		return fmt.Errorf("%s: a second %s", name, file)
	}
	var whole strings.Builder
	n, err := io.Copy(&whole, io.LimitReader(stoppable{ctx, r}, int64(c.maxBytes)+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n > int64(c.maxBytes) || countParagraphs(whole.String()) > c.maxParagraphs {
		return fmt.Errorf("%s is longer than %d bytes or %d paragraphs", name, c.maxBytes, c.maxParagraphs)
	}
	c.found[file] = Paragraphs(whole.String())
	return nil
}

// stoppable is a reader that ends with a context.
type stoppable struct {
	ctx context.Context
	io.Reader
}

func (s stoppable) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Reader.Read(b)
}

// readFolder reads the corpus files of a folder or a .zip.
func (c corpusReader) readFolder(ctx context.Context, files fs.FS) error {
	return fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // nothing was written that it could lose
		return c.readFile(ctx, name, f)
	})
}

// readTarGz reads the corpus files of a .tar.gz, and then as far as the checksum
// at its end.
func (c corpusReader) readTarGz(ctx context.Context, r io.Reader) error {
	packed, err := maxRatio.Gzip(r)
	if err != nil {
		return err
	}
	entries := int64(0)
	for files := tar.NewReader(packed); ; entries++ {
		head, err := files.Next()
		if err := packed.CheckEntries(entries); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && head.Typeflag == tar.TypeReg {
			err = c.readFile(ctx, head.Name, files)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, io.LimitReader(packed, maxTrailer))
	return err
}

// Paragraphs returns the lines of a text that are neither blank nor headings in
// the style of WikiText, "= Title =". What WikiText took apart within words and
// numbers is put together again: "well @-@ known", "4 @,@ 000".
func Paragraphs(s string) []string {
	out := make([]string, 0, countParagraphs(s))
	clean := wikiText()
	for line := range strings.Lines(s) {
		if p, ok := paragraph(line, clean); ok {
			out = append(out, p)
		}
	}
	return out
}

// countParagraphs returns the number of paragraphs of a text. Counting them first
// takes less memory than a slice that grows.
func countParagraphs(s string) int {
	n := 0
	for line := range strings.Lines(s) {
		if _, ok := paragraph(line, nil); ok {
			n++
		}
	}
	return n
}

// wikiText returns what undoes the markup of WikiText.
func wikiText() *strings.Replacer {
	return strings.NewReplacer("<unk>", unknownPiece, " @-@ ", "-", " @,@ ", ",", " @.@ ", ".")
}

// paragraph returns the paragraph in a line, and false where there is none. Most
// share the memory of the line.
func paragraph(line string, clean *strings.Replacer) (string, bool) {
	line = strings.TrimSpace(line)
	heading := strings.HasPrefix(line, "= ") && strings.HasSuffix(line, " =")
	if line == "" || heading {
		return "", false
	}
	if clean == nil || !strings.Contains(line, "<unk>") && !strings.Contains(line, " @") {
		return line, true
	}
	return clean.Replace(line), true
}
