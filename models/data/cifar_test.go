package data

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// records are n records of a layout with labels from, from+1, …; byte k of the
// planes of label l is l+k.
func records(header, from, n int) []byte {
	var raw []byte
	for i := range n {
		l := from + i
		if header == 2 {
			raw = append(raw, byte(19))
		}
		raw = append(raw, byte(l))
		for k := range cifarPixels {
			raw = append(raw, byte(l+k))
		}
	}
	return raw
}

func cifar10Files() []content {
	return []content{
		{"cifar-10-batches-bin/readme.html", []byte("hello")},
		{"cifar-10-batches-bin/data_batch_10.bin", records(1, 6, 1)},
		{"cifar-10-batches-bin/data_batch_2.bin", records(1, 3, 2)},
		{"cifar-10-batches-bin/data_batch_1.bin", records(1, 0, 3)},
		{"cifar-10-batches-bin/data_batch_x.bin", []byte("ignored")},
		{"cifar-10-batches-bin/._data_batch_1.bin", []byte("ignored")},
		{"cifar-10-batches-bin/test_batch.bin", records(1, 8, 2)},
	}
}

// TestCIFARLimit: the records of an archive are bounded together, however many
// files they are in.
func TestCIFARLimit(t *testing.T) {
	c := cifar10()
	c.limit = 8 * (1 + cifarPixels)
	for form, p := range stored(t, cifar10Files()...) {
		_, _, err := c.open(t.Context(), p)
		require.NoError(t, err, form)
	}
	c.limit--
	for form, p := range stored(t, cifar10Files()...) {
		_, _, err := c.open(t.Context(), p)
		require.ErrorIs(t, err, ErrUnsafe, form)
	}
}

func TestOpenCIFAR10(t *testing.T) {
	paths := stored(t, cifar10Files()...)
	paths["subfolder"] = filepath.Join(paths["folder"], "cifar-10-batches-bin")
	for form, p := range paths {
		train, test, err := OpenCIFAR10(t.Context(), p)
		require.NoError(t, err, form)
		assert.Equal(t, []int32{0, 1, 2, 3, 4, 6}, train.Labels, form)
		assert.Equal(t, []int32{8, 9}, test.Labels, form)
		assert.Equal(t, []int{3, 32, 32}, []int{train.C, train.H, train.W})
		assert.Equal(t, "frog", train.Classes[6])
		for _, s := range []*Set{train, test} {
			require.Len(t, s.Pixels, s.Len()*cifarPixels)
			for i, p := range s.Pixels {
				require.Equal(t, byte(int(s.Labels[i/cifarPixels])+i%cifarPixels), p)
			}
		}
	}
}

func TestOpenCIFAR100(t *testing.T) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("name%02d", i))
	}
	files := []content{
		{"c/train.bin", records(2, 50, 3)}, {"c/test.bin", records(2, 99, 1)},
		{"c/fine_label_names.txt", []byte(strings.Join(names, "\r\n") + "\n\n")},
		{"c/coarse_label_names.txt", []byte("ignored")},
	}
	p := filepath.Join(write(t, t.TempDir(), content{"a.tar.gz", tarGz(t, files...)}), "a.tar.gz")
	train, test, err := OpenCIFAR100(t.Context(), p)
	require.NoError(t, err)
	assert.Equal(t, []int32{50, 51, 52}, train.Labels)
	assert.Equal(t, []int32{99}, test.Labels)
	assert.Equal(t, names, train.Classes)
	assert.Equal(t, []byte{51, 52, 53}, train.Pixels[cifarPixels:cifarPixels+3])
}

func TestCIFARIsStrict(t *testing.T) {
	label := records(1, 0, 2)
	label[3073] = 10
	good := content{"test_batch.bin", records(1, 0, 1)}
	for name, tc := range map[string]struct {
		files  []content
		entry  string
		offset int64
		want   string
	}{
		"cut off": {
			[]content{{"data_batch_1.bin", records(1, 0, 2)[:4000]}, good},
			"data_batch_1.bin", 3073, "927 bytes instead of 3073",
		},
		"one byte":    {[]content{{"data_batch_1.bin", []byte{1}}, good}, "data_batch_1.bin", 0, "1 bytes instead of 3073"},
		"empty":       {[]content{{"data_batch_1.bin", nil}, good}, "data_batch_1.bin", 0, "empty"},
		"label":       {[]content{{"data_batch_1.bin", label}, good}, "data_batch_1.bin", 3073, "label 10 of 10 classes"},
		"no training": {[]content{good}, "", -1, "no training records"},
		"no test":     {[]content{{"data_batch_1.bin", records(1, 0, 1)}}, "", -1, "no test records"},
		"nothing":     {[]content{{"x", nil}}, "", -1, "no training records"},
		"class names": {
			[]content{{"data_batch_1.bin", label}, good, {"batches.meta.txt", []byte("a\nb\n")}},
			"batches.meta.txt", -1, "2 class names, want 10",
		},
		"other record": {
			[]content{{"data_batch_1.bin", records(2, 0, 1)}, good},
			"data_batch_1.bin", 3073, "1 bytes instead of 3073",
		},
	} {
		for form, p := range stored(t, tc.files...) {
			_, _, err := OpenCIFAR10(t.Context(), p)
			var fe *FileError
			require.ErrorAs(t, err, &fe, "%s, %s", name, form)
			assert.Equal(t, p, fe.Path)
			assert.Equal(t, tc.entry, fe.Entry)
			assert.Equal(t, tc.offset, fe.Offset)
			assert.ErrorContains(t, err, tc.want)
			assert.ErrorContains(t, err, tc.entry)
		}
	}
}

func TestCIFARTwice(t *testing.T) {
	raw := tarGz(t, content{"a/data_batch_1.bin", records(1, 0, 1)}, content{"b/data_batch_1.bin", records(1, 0, 1)})
	_, _, err := OpenCIFAR10(t.Context(), filepath.Join(write(t, t.TempDir(), content{"x", raw}), "x"))
	require.ErrorContains(t, err, "b/data_batch_1.bin: the records are there twice, also as a/data_batch_1.bin")
}

// A damaged archive is an error at every length, and never a panic.
func TestTruncatedArchive(t *testing.T) {
	raw := tarGz(t, cifar10Files()...)
	for _, n := range []int{0, 1, 2, 5, 10, 50, len(raw) / 2, len(raw) - 9, len(raw) - 1} {
		p := filepath.Join(write(t, t.TempDir(), content{"x.tar.gz", raw[:n]}), "x.tar.gz")
		_, _, err := OpenCIFAR10(t.Context(), p)
		require.ErrorContains(t, err, p, "%d bytes", n)
		require.ErrorAs(t, err, new(*FileError))
	}
	broken := bytes.Clone(raw)
	broken[len(raw)-6] ^= 1 // in the checksum
	_, _, err := OpenCIFAR10(t.Context(), filepath.Join(write(t, t.TempDir(), content{"x", broken}), "x"))
	require.ErrorContains(t, err, "checksum")
}

func TestOpenMissing(t *testing.T) {
	_, _, err := OpenCIFAR10(t.Context(), filepath.Join(t.TempDir(), "nowhere"))
	require.ErrorContains(t, err, "nowhere")
	p := filepath.Join(write(t, t.TempDir(), content{"x", []byte("plain text")}), "x")
	_, _, err = OpenCIFAR10(t.Context(), p)
	require.ErrorContains(t, err, "neither a folder nor a .tar.gz nor a .zip")
}

func TestOpenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for form, p := range stored(t, cifar10Files()...) {
		_, _, err := OpenCIFAR10(ctx, p)
		require.ErrorIs(t, err, context.Canceled, form)
	}
}

// fuzzCIFAR holds a layout to its word: whole records are read as they stand,
// anything else is an error about a byte of the file.
func fuzzCIFAR(f *testing.F, c cifar) {
	size := c.header + cifarPixels
	f.Add(records(c.header, 0, 2))
	f.Add(records(c.header, 9, 1))
	f.Add(records(c.header, 250, 1))
	f.Add([]byte{})
	f.Add(make([]byte, 5))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := emptySet(cifarSide, cifarSide, c.classes)
		offset, err := c.appendTo(s, raw)
		if err != nil {
			if offset < 0 || offset > int64(len(raw)) {
				t.Fatalf("offset %d of %d bytes", offset, len(raw))
			}
			return
		}
		if len(raw)%size != 0 || s.Len() != len(raw)/size || len(s.Pixels) != s.Len()*cifarPixels {
			t.Fatalf("%d bytes gave %d labels and %d pixels", len(raw), s.Len(), len(s.Pixels))
		}
		for i, l := range s.Labels {
			if record := raw[i*size:]; l != int32(record[c.label]) || l >= int32(len(c.classes)) ||
				!bytes.Equal(record[c.header:size], s.Pixels[i*cifarPixels:(i+1)*cifarPixels]) {
				t.Fatalf("record %d is not what the file says", i)
			}
		}
	})
}

func FuzzCIFAR10(f *testing.F)  { fuzzCIFAR(f, cifar10()) }
func FuzzCIFAR100(f *testing.F) { fuzzCIFAR(f, cifar100()) }
