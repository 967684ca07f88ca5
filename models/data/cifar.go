package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// cifar describes one of the two official binary layouts. A record consists of
// header bytes, one of which is the label, and of the red, green and blue planes
// of 32×32 pixels.
type cifar struct {
	folder  string // of the official distribution
	meta    string // the file with the names of the classes
	header  int    // bytes before the planes
	label   int    // which of them is the label
	classes []string
	limit   int                                 // bytes of all records together
	rank    func(name string) (split, rank int) // of a file; split −1 for unknown names
}

const (
	cifarSide   = 32
	cifarPixels = 3 * cifarSide * cifarSide
	trainSplit  = 0
	testSplit   = 1
)

// OpenCIFAR10 reads CIFAR-10 in the official binary layout from a folder of
// .bin files (or the folder above it) or from a .tar.gz: data_batch_N.bin are
// the training records, test_batch.bin the test records, each a label byte and
// 3072 bytes [3, 32, 32]. Any number of whole records is accepted and other
// files are ignored. A file that is cut off, a label out of range and a
// missing split are a [*FileError] that names file and byte.
func OpenCIFAR10(ctx context.Context, path string) (train, test *Set, err error) {
	return cifar10().open(ctx, path)
}

// OpenCIFAR100 reads CIFAR-100 with its 100 fine classes in the official
// binary layout from a folder of .bin files (or the folder above it) or from a
// .tar.gz: train.bin and test.bin, records of a coarse label, a fine label and
// 3072 bytes [3, 32, 32]. It is as strict as [OpenCIFAR10].
func OpenCIFAR100(ctx context.Context, path string) (train, test *Set, err error) {
	return cifar100().open(ctx, path)
}

func cifar10() cifar {
	return cifar{
		folder: "cifar-10-batches-bin", meta: "batches.meta.txt", header: 1, limit: maxRecords, classes: cifar10Classes(),
		rank: func(name string) (int, int) {
			if name == "test_batch.bin" {
				return testSplit, 0
			}
			number, ok := strings.CutPrefix(strings.TrimSuffix(name, ".bin"), "data_batch_")
			n, err := strconv.Atoi(number)
			if !ok || err != nil || name != fmt.Sprintf("data_batch_%d.bin", n) {
				return -1, 0
			}
			return trainSplit, n
		},
	}
}

func cifar100() cifar {
	classes := make([]string, 100)
	for i := range classes {
		classes[i] = fmt.Sprintf("class %d", i)
	}
	return cifar{
		folder: "cifar-100-binary", meta: "fine_label_names.txt", header: 2, label: 1, limit: maxRecords, classes: classes,
		rank: func(name string) (int, int) {
			return slices.Index([]string{"train.bin", "test.bin"}, name), 0
		},
	}
}

// maxRecords is several times the size of the whole distribution in bytes.
const maxRecords = 1 << 30

// part is one file of records.
type part struct {
	name        string
	split, rank int
	raw         []byte
}

func (c cifar) open(ctx context.Context, where string) (train, test *Set, err error) {
	if sub := filepath.Join(where, c.folder); isDirectory(sub) {
		where = sub
	}
	a, err := openArchive(where, 1)
	if err != nil {
		return nil, nil, err
	}
	parts, err := c.recordFiles(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	sets := []*Set{emptySet(cifarSide, cifarSide, c.classes), emptySet(cifarSide, cifarSide, c.classes)}
	for i, p := range parts {
		if offset, err := c.appendTo(sets[p.split], p.raw); err != nil {
			return nil, nil, a.fileError(p.name, offset, err)
		}
		parts[i].raw = nil
	}
	for i, s := range sets {
		if s.Len() == 0 {
			return nil, nil, a.fileError("", -1, fmt.Errorf("no %s records", []string{"training", "test"}[i]))
		}
	}
	return sets[trainSplit], sets[testSplit], nil
}

// recordFiles reads the class names and the files of records, in their official
// order.
func (c *cifar) recordFiles(ctx context.Context, a archive) ([]part, error) {
	var parts []part
	var total int
	err := a.visitFiles(ctx, func(f file) error {
		base := path.Base(f.name)
		if base == c.meta {
			return c.readNames(a, f)
		}
		split, rank := c.rank(base)
		if split < 0 {
			return nil
		}
		raw, err := a.bytes(f, maxEntry)
		if err != nil {
			return err
		}
		if total += len(raw); total > c.limit {
			return a.fileError(f.name, -1, fmt.Errorf("%w: the records have more than %d bytes together", ErrUnsafe, c.limit))
		}
		parts = append(parts, part{f.name, split, rank, raw})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.rank, b.rank) })
	for i := 1; i < len(parts); i++ {
		if first, second := parts[i-1], parts[i]; path.Base(first.name) == path.Base(second.name) {
			return nil, a.fileError(second.name, -1, fmt.Errorf("the records are there twice, also as %s", first.name))
		}
	}
	return parts, nil
}

func (c *cifar) readNames(a archive, f file) error {
	raw, err := a.bytes(f, maxText)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(strings.Split(string(raw), "\n"), func(s string) bool { return strings.TrimSpace(s) == "" })
	if len(names) != len(c.classes) {
		return a.fileError(f.name, -1, fmt.Errorf("%d class names, want %d", len(names), len(c.classes)))
	}
	for i, n := range names {
		names[i] = strings.TrimSpace(n)
	}
	c.classes = names
	return nil
}

// appendTo adds the records of one file to a set. An error comes with the offset
// of the byte at fault.
func (c cifar) appendTo(s *Set, raw []byte) (int64, error) {
	size := c.header + cifarPixels
	if len(raw) == 0 {
		return 0, errors.New("the file is empty")
	}
	if rest := len(raw) % size; rest != 0 {
		return int64(len(raw) - rest), fmt.Errorf("the last record has %d bytes instead of %d", rest, size)
	}
	n := len(raw) / size
	s.Labels = slices.Grow(s.Labels, n)
	s.Pixels = slices.Grow(s.Pixels, n*cifarPixels)
	for at := 0; at < len(raw); at += size {
		record := raw[at : at+size]
		l := record[c.label]
		if int(l) >= len(c.classes) {
			return int64(at + c.label), fmt.Errorf("label %d of %d classes", l, len(c.classes))
		}
		s.Labels = append(s.Labels, int32(l))
		s.Pixels = append(s.Pixels, record[c.header:]...)
	}
	return 0, nil
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
