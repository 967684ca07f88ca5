package bounded

import (
	"archive/zip"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrUnsafe reports an archive that asks for more than it holds: it unpacks to
// many times its size, or its entries share their bytes.
var ErrUnsafe = errors.New("unsafe archive entry")

// Slack is what an archive may unpack to, in bytes, however small it is.
const Slack = 16 << 20

// A Ratio is how many times its size an archive may unpack to, beyond [Slack].
// Deflate reaches 1032 on zeros; images reach 1, texts 5, drawings 50.
type Ratio int64

// check reports that so many packed bytes became too many unpacked ones.
func (r Ratio) check(packed, unpacked int64) error {
	if unpacked-Slack <= int64(r)*packed {
		return nil
	}
	return fmt.Errorf("%w: it unpacks to more than %d times its size", ErrUnsafe, r)
}

// A Gzip unpacks a gzip stream.
type Gzip struct {
	from     *counter
	gzip     *gzip.Reader
	ratio    Ratio
	unpacked int64
}

// counter counts the bytes that are read through it.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

// Gzip returns a reader of what a gzip stream unpacks to. It fails with
// [ErrUnsafe] where that exceeds the ratio to what was read of the stream.
func (r Ratio) Gzip(packed io.Reader) (*Gzip, error) {
	from := &counter{Reader: packed}
	z, err := gzip.NewReader(from)
	if err != nil {
		return nil, err
	}
	return &Gzip{from: from, gzip: z, ratio: r}, nil
}

// Read implements [io.Reader].
func (g *Gzip) Read(b []byte) (int, error) {
	n, err := g.gzip.Read(b)
	g.unpacked += int64(n)
	if e := g.ratio.check(g.from.n, g.unpacked); e != nil {
		return 0, e
	}
	return n, err
}

// CheckEntries reports that the stream is a .tar of more entries than it has bytes
// for: beyond the first thousand each must take sixteen. An empty file takes ten, an
// image hundreds.
func (g *Gzip) CheckEntries(entries int64) error {
	if entries <= 1000+g.from.n/16 {
		return nil
	}
	return fmt.Errorf("%w: %d entries in %d bytes", ErrUnsafe, entries, g.from.n)
}

// Zip returns a reader of a .zip of size bytes. It fails with [ErrUnsafe] where
// the entries together exceed the ratio to size, or where two of them overlap, by
// which a small file can promise any size.
func (r Ratio) Zip(from io.ReaderAt, size int64) (*zip.Reader, error) {
	z, err := zip.NewReader(from, size)
	if err != nil {
		return nil, err
	}
	type span struct {
		name       string
		begin, end int64
	}
	spans := make([]span, len(z.File))
	var sum int64
	for i, f := range z.File {
		if f.CompressedSize64 > uint64(size) {
			return nil, fmt.Errorf("%w: %s claims %d of %d bytes", ErrUnsafe, f.Name, f.CompressedSize64, size)
		}
		sum += int64(min(f.UncompressedSize64, 1<<62-1-uint64(sum)))
		if err := r.check(size, sum); err != nil {
			return nil, fmt.Errorf("as far as %s: %w", f.Name, err)
		}
		begin, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		spans[i] = span{f.Name, begin, begin + int64(f.CompressedSize64)}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) })
	for i := 1; i < len(spans); i++ {
		// Before the bytes of an entry stands its header.
		const header = 30
		if before, s := spans[i-1], spans[i]; s.begin-header-int64(len(s.name)) < before.end {
			return nil, fmt.Errorf("%w: %s and %s share their bytes", ErrUnsafe, before.name, s.name)
		}
	}
	return z, nil
}
