package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"image"
	"image/color"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

func red() color.Color   { return color.NRGBA{200, 0, 0, 255} }
func green() color.Color { return color.NRGBA{0, 200, 0, 255} }

func folderFiles(t *testing.T) []content {
	return []content{
		{"set/train/zebra/b.png", pngOf(t, flat(8, 8, red()))},
		{"set/train/zebra/a.png", pngOf(t, flat(8, 8, green()))},
		{"set/train/ape/1.PNG", pngOf(t, flat(20, 12, green()))},
		{"set/train/ape/2.jpg", jpegOf(t, flat(8, 8, color.Gray{77}))},
		{"set/train/ape/notes.txt", []byte("ignored")},
		{"set/train/ape/._1.png", []byte("ignored")},
		{"set/train/stray.png", []byte("ignored")},
		{"set/val/ape/v.png", pngOf(t, flat(4, 4, red()))},
	}
}

func TestOpenImageFolder(t *testing.T) {
	for form, p := range stored(t, folderFiles(t)...) {
		train, test, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}})
		require.NoError(t, err, form)
		assert.Equal(t, []string{"ape", "zebra"}, train.Classes)
		assert.Equal(t, []int32{0, 0, 1, 1}, train.Labels, form)
		assert.Equal(t, []int32{0}, test.Labels)
		// the first pixel of every plane: 1.PNG, 2.jpg, a.png, b.png; v.png
		var first []byte
		for i := range train.Len() * 3 {
			first = append(first, train.Pixels[i*64])
		}
		assert.Equal(t, []byte{0, 200, 0, 77, 77, 77, 0, 200, 0, 200, 0, 0}, first, form)
		assert.Equal(t, []byte{200, 0, 0}, []byte{test.Pixels[0], test.Pixels[64], test.Pixels[128]})
	}
}

func TestTestIsPreferredToVal(t *testing.T) {
	files := append(folderFiles(t), content{"set/test/zebra/t.png", pngOf(t, flat(4, 4, green()))})
	_, test, err := OpenImageFolder(t.Context(), stored(t, files...)["folder"], Options{Size: Size{4, 4}})
	require.NoError(t, err)
	assert.Equal(t, []int32{1}, test.Labels)
}

func tinyFiles(t *testing.T) []content {
	img := func(v byte) []byte { return jpegOf(t, flat(64, 64, color.Gray{v})) }
	return []content{
		{"tiny/train/n02/images/n02_0.JPEG", img(20)},
		{"tiny/train/n02/n02_boxes.txt", []byte("ignored")},
		{"tiny/train/n01/images/n01_0.JPEG", img(10)},
		{"tiny/val/images/val_0.JPEG", img(30)},
		{"tiny/val/images/val_1.JPEG", img(40)},
		{"tiny/val/val_annotations.txt", []byte("val_0.JPEG\tn02\t0\t0\t1\t1\nval_1.JPEG\tn01\t0\t0\t1\t1\n")},
		{"tiny/test/images/test_0.JPEG", []byte("no labels: ignored")},
		{"tiny/words.txt", []byte("n00\tentity\nn01\tgoldfish, Carassius auratus\n")},
	}
}

func TestTinyImageNetLayout(t *testing.T) {
	for form, p := range stored(t, tinyFiles(t)...) {
		train, test, err := OpenImageFolder(t.Context(), p, Options{Size: Size{64, 64}})
		require.NoError(t, err, form)
		assert.Equal(t, []string{"goldfish, Carassius auratus", "n02"}, train.Classes)
		assert.Equal(t, []int32{0, 1}, train.Labels)
		assert.Equal(t, []int32{0, 1}, test.Labels)
		assert.Equal(t, []byte{10, 20}, []byte{train.Pixels[0], train.Pixels[train.imageLen()]})
		assert.Equal(t, []byte{40, 30}, []byte{test.Pixels[0], test.Pixels[test.imageLen()]})
	}
}

// Whatever GOMAXPROCS, of several broken images the first one is named.
func TestBrokenImages(t *testing.T) {
	good := jpegOf(t, flat(64, 64, red()))
	for name, tc := range map[string]struct {
		bad  []byte
		want string
	}{
		"cut off":     {good[:len(good)/2], "truncated"},
		"empty":       {nil, "truncated"},
		"PNG cut off": {pngOf(t, flat(30, 30, red()))[:60], "png"},
		"text": {[]byte("this is not an image"),
			"neither a JPEG nor a PNG image, nor WebP, BMP, GIF or TIFF: it begins with \"this is \""},
		"broken PNG":  {bytes.Replace(pngOf(t, flat(30, 30, red())), []byte("IHDR"), []byte("IHDX"), 1), "png: "},
		"broken JPEG": {[]byte("\xff\xd8\xff\xc0\x00\x02"), "JPEG"},
		"narrow":      {pngOf(t, image.NewGray(image.Rect(0, 0, 1, maxSide+1))), "unsafe"},
		"enormous":    {enormous(t), "unsafe"},
	} {
		files := folderFiles(t)
		files[0].data, files[3].data = tc.bad, tc.bad // in the folder 2.jpg comes first, in the archives b.png
		for form, p := range stored(t, files...) {
			entry := "set/train/zebra/b.png"
			if form == "folder" {
				entry = "set/train/ape/2.jpg"
			}
			for _, procs := range []int{1, 4} {
				previous := runtime.GOMAXPROCS(procs)
				_, _, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}, Broken: new(0)})
				runtime.GOMAXPROCS(previous)
				var fe *FileError
				require.ErrorAs(t, err, &fe, "%s, %s", name, form)
				assert.Equal(t, entry, fe.Entry)
				assert.ErrorContains(t, err, tc.want)
			}
		}
	}
}

// enormous is a PNG whose header promises 2³⁰ pixels.
func enormous(t *testing.T) []byte {
	var b bytes.Buffer
	whole := pngOf(t, image.NewNRGBA(image.Rect(0, 0, 1, 1)))
	b.Write(whole[:16])
	b.Write([]byte{0, 0, 128, 0, 0, 0, 128, 0, 8, 6, 0, 0, 0})
	crc := crcOf(b.Bytes()[12:29])
	b.Write(crc[:])
	b.Write(whole[33:])
	return b.Bytes()
}

// TestSkippedFiles: what is not read as an image is counted and named.
func TestSkippedFiles(t *testing.T) {
	files := append(folderFiles(t), content{"set/train/ape/3.heic", nil}, content{"set/val/ape/4.svg", nil},
		content{"set/train/ape/boxes.csv", nil}, content{"set/README", nil})
	for form, p := range stored(t, files...) {
		var first models.Progress
		observe := func(p models.Progress) {
			if first.Stage == "" {
				first = p
			}
		}
		_, _, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}, Observe: observe})
		require.NoError(t, err, form)
		assert.Equal(t, models.Progress{Stage: "skipping", Done: 3,
			Item: "3 files that are no images of a class, such as set/train/ape/3.heic"}, first, form)
	}
}

func TestFolderIsStrict(t *testing.T) {
	img := pngOf(t, flat(4, 4, red()))
	for name, tc := range map[string]struct {
		files []content
		want  string
	}{
		"none to test on": {[]content{{"train/a/1.png", img}}, "no images"},
		"no train":        {[]content{{"val/a/1.png", img}}, "no images"},
		"a class too few": {[]content{{"train/a/1.png", img}, {"val/b/1.png", img}}, `val/b/1.png: train has no class "b"`},
		"not annotated": {[]content{{"train/a/1.png", img}, {"val/images/1.png", img}, {"val/val_annotations.txt", nil}},
			"val/images/1.png: the annotations of val do not name"},
	} {
		for form, p := range stored(t, tc.files...) {
			_, _, err := OpenImageFolder(t.Context(), p, Options{Size: Size{4, 4}})
			require.ErrorContains(t, err, tc.want, "%s, %s", name, form)
		}
	}
	one := content{"train/a/1.png", img}
	dir := write(t, t.TempDir(), content{"x.tgz", tarGz(t, one, one, content{"val/a/1.png", img})})
	_, _, err := OpenImageFolder(t.Context(), filepath.Join(dir, "x.tgz"), Options{Size: Size{4, 4}})
	require.ErrorContains(t, err, "train/a/1.png: the image is there twice")
	_, _, err = OpenImageFolder(t.Context(), t.TempDir(), Options{Size: Size{-1, 1}})
	require.ErrorContains(t, err, "image size -1×1")
}

func TestHostileNames(t *testing.T) {
	for _, name := range []string{
		"../data_batch_1.bin", "/etc/data_batch_1.bin", "a/../../data_batch_1.bin", `..\data_batch_1.bin`, "..",
	} {
		for form, raw := range map[string][]byte{
			"tar": tarGz(t, content{name, records(1, 0, 1)}),
			"zip": zipped(t, content{name, records(1, 0, 1)}),
		} {
			_, _, err := OpenCIFAR10(t.Context(), filepath.Join(write(t, t.TempDir(), content{"x", raw}), "x"))
			require.ErrorIs(t, err, ErrUnsafe, "%s, %s", name, form)
			var fe *FileError
			require.ErrorAs(t, err, &fe)
			assert.Equal(t, name, fe.Entry)
		}
	}
}

// An entry that claims to be huge is refused before anything is allocated.
func TestHostileSize(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	header := &tar.Header{Name: "test_batch.bin", Mode: 0o644, Size: 1 << 50, Typeflag: tar.TypeReg, Format: tar.FormatGNU}
	require.NoError(t, w.WriteHeader(header))
	require.NoError(t, z.Close())
	_, _, err := OpenCIFAR10(t.Context(), filepath.Join(write(t, t.TempDir(), content{"x", b.Bytes()}), "x"))
	require.ErrorIs(t, err, ErrUnsafe)
	require.ErrorContains(t, err, "test_batch.bin")

	big := content{"train/a/1.png", make([]byte, maxImage+1)}
	for form, p := range stored(t, big, content{"val/a/1.png", nil}) {
		_, _, err := OpenImageFolder(t.Context(), p, Options{Size: Size{4, 4}})
		require.ErrorIs(t, err, ErrUnsafe, form)
		require.ErrorContains(t, err, "train/a/1.png")
	}
}

func TestOpenImageFolderReportsAndStops(t *testing.T) {
	p := stored(t, folderFiles(t)...)[".tar.gz"]
	var last models.Progress
	_, _, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}, Observe: func(p models.Progress) { last = p }})
	require.NoError(t, err)
	assert.Equal(t, models.Progress{Stage: "decoding", Item: "images", Done: 5, Total: 5}, last)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = OpenImageFolder(ctx, p, Options{Size: Size{8, 8}})
	require.ErrorIs(t, err, context.Canceled)
}

func cifarJPEGFiles(t *testing.T) []content {
	img := func(v byte) []byte { return jpegOf(t, flat(32, 32, color.Gray{v})) }
	return []content{
		{"order.txt", []byte("train/frog/0000.jpg\ntrain/airplane/0000.jpg\ntrain/frog/0001.jpg\ntest/truck/0000.jpg\n")},
		{"labels.u8", []byte{6, 0, 6, 9}},
		{"test/truck/0000.jpg", img(40)},
		{"train/airplane/0000.jpg", img(20)},
		{"train/frog/0000.jpg", img(10)},
		{"train/frog/0001.jpg", img(30)},
	}
}

func TestOpenCIFAR10JPEG(t *testing.T) {
	for form, p := range stored(t, cifarJPEGFiles(t)...) {
		train, test, err := OpenCIFAR10JPEG(t.Context(), p, nil)
		require.NoError(t, err, form)
		assert.Equal(t, []int32{6, 0, 6}, train.Labels)
		assert.Equal(t, []int32{9}, test.Labels)
		assert.Equal(t, []byte{10, 20, 30}, []byte{train.Pixels[0], train.Pixels[cifarPixels], train.Pixels[2*cifarPixels]})
		assert.Equal(t, byte(40), test.Pixels[0])
	}
}

func TestCIFAR10JPEGIsStrict(t *testing.T) {
	change := func(i int, data string) []content {
		files := cifarJPEGFiles(t)
		files[i].data = []byte(data)
		return files
	}
	for want, files := range map[string][]content{
		"order.txt: the file is missing":                 cifarJPEGFiles(t)[1:],
		"order.txt has 4 lines and labels.u8 3 bytes":    change(1, "\x06\x00\x06"),
		"label 10 of 10 classes":                         change(1, "\x06\x0a\x06\x09"),
		`"train/airplane/0000.jpg" has label automobile`: change(1, "\x06\x01\x06\x09"),
		"neither in train nor in test":                   change(0, "train/frog/0000.jpg\nval/airplane/0000.jpg\na\nb\n"),
		"order.txt: an image occurs twice": slices.Concat(change(0, "train/frog/0000.jpg\ntrain/frog/0000.jpg\n")[:1],
			[]content{{"labels.u8", []byte{6, 6}}}),
		"train/frog/0001.jpg: the image is missing":        cifarJPEGFiles(t)[:5],
		"train/frog/0000.jpg: the image is truncated":      change(4, "\xff\xd8\xff"),
		"labels.u8: the file is missing":                   slices.Delete(cifarJPEGFiles(t), 1, 2),
		"copy/order.txt: the file occurs twice":            append(cifarJPEGFiles(t), content{"copy/order.txt", nil}),
		"record 3: label 255 of 10 classes":                change(1, "\x06\x00\x06\xff"),
		"line 1: \"train/cat/0000.jpg\" has label frog in": change(0, "train/cat/0000.jpg\nb\nc\nd\n"),
	} {
		p := filepath.Join(write(t, t.TempDir(), content{"x", tarGz(t, files...)}), "x")
		_, _, err := OpenCIFAR10JPEG(t.Context(), p, nil)
		require.ErrorContains(t, err, want)
	}
}
