package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"os"
	"path/filepath"
	"testing"

	"github.com/otfuse/otfuse/internal/bounded/boundedtest"
)

// smallArchive is an archive of two records of one colour, which packs to little: the
// fuzzer spends its time on shortening seeds that are long.
func smallArchive(f *testing.F, pack func(*testing.T, ...content) []byte) []byte {
	var t testing.T
	record := bytes.Repeat([]byte{1}, 1+cifarPixels)
	b := pack(&t, content{"test_batch.bin", record}, content{"data_batch_1.bin", record})
	if t.Failed() {
		f.Fatal("the seed cannot be packed")
	}
	return b
}

// FuzzArchive: whatever the bytes, an archive is a set or an error that names a place,
// and takes no more memory than any hostile file.
func FuzzArchive(f *testing.F) {
	f.Add(smallArchive(f, tarGz))
	f.Add(smallArchive(f, zipped))
	f.Add([]byte("PK"))
	f.Add([]byte{0x1f, 0x8b})
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		boundedtest.Require(t, boundedtest.Hostile, func() {
			train, test, err := OpenCIFAR10(t.Context(), path)
			if err == nil && (train.Len() == 0 || test.Len() == 0) {
				t.Fatal("an empty set without an error")
			}
			if err != nil && !errors.As(err, new(*FileError)) {
				t.Fatalf("an error without a place: %v", err)
			}
		})
	})
}

// FuzzImageFolder: whatever the bytes, an archive is a folder of images or an error.
func FuzzImageFolder(f *testing.F) {
	var t testing.T
	dot := pngOf(&t, flat(1, 1, red()))
	files := []content{{"train/a/1.png", dot}, {"train/b/2.png", dot}, {"val/a/3.png", dot}, {"val/b/4.png", dot}}
	f.Add(tarGz(&t, files...))
	f.Add(zipped(&t, files[0], files[2]))
	f.Add(zipped(&t, content{"a/1.png", dot}, content{"a/2.png", dot}))
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		boundedtest.Require(t, boundedtest.Hostile, func() {
			train, test, err := OpenImageFolder(t.Context(), path, Options{Size: Size{2, 2}})
			if err != nil {
				return
			}
			for _, s := range []*Set{train, test} {
				if err := s.Check(); err != nil || s.Len() == 0 {
					t.Fatalf("%d images: %v", s.Len(), err)
				}
			}
		})
	})
}

// FuzzImage: whatever the bytes, an image is decoded and scaled or is an error, and
// takes no more memory than its header was allowed.
func FuzzImage(f *testing.F) {
	var t testing.T
	f.Add(pngOf(&t, flat(2, 1, red())))
	f.Add(pngOf(&t, image.NewPaletted(image.Rect(0, 0, 3, 3), color.Palette{color.Black, color.White})))
	f.Add(jpegOf(&t, image.NewGray(image.Rect(0, 0, 1, 1))))
	f.Add(promisedJPEG(8, 0))
	var b bytes.Buffer
	if err := gif.Encode(&b, flat(2, 2, red()), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("BM"))
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x00\x00"))
	f.Add([]byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		boundedtest.Require(t, uint64(2*decodeMemory(raw)+boundedtest.Slack), func() {
			m, err := decodeImage(raw)
			if err != nil {
				return
			}
			if len(m.pix) != 3*m.h*m.w || len(m.scaledTo(Size{3, 5}).pix) != 3*3*5 {
				t.Fatalf("%d pixels of %d×%d", len(m.pix), m.w, m.h)
			}
		})
	})
}

// FuzzProcessor: whatever the text, a preprocessor_config.json is a processor that
// reads back as it is written, or an error.
func FuzzProcessor(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"do_resize": false, "do_rescale": false, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}`))
	f.Add([]byte(`{"size": {"shortest_edge": 256}, "rescale_factor": 1, "image_std": [0.5]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p, again ImageProcessor
		if json.Unmarshal(text, &p) != nil {
			return
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", p, err)
		}
		if err := json.Unmarshal(written, &again); err != nil || again != p {
			t.Fatalf("%+v reads back as %+v: %v", p, again, err)
		}
	})
}
