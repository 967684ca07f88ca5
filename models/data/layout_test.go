package data

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/otfuse/otfuse/models"
)

// names makes a file of each name, all with the same image.
func names(t *testing.T, names ...string) []content {
	img := pngOf(t, flat(4, 4, red()))
	var files []content
	for _, name := range names {
		files = append(files, content{name, img})
	}
	return files
}

// reports collects what an observer is told, by stage.
func reports(into map[string]models.Progress) func(models.Progress) {
	return func(p models.Progress) { into[p.Stage] = p }
}

// TestFolderLayouts: folders as programs and sites write them.
func TestFolderLayouts(t *testing.T) {
	for name, c := range map[string]struct {
		files       []string
		train, test []string // "class" of each image
		skipped     int
	}{
		"hidden": {[]string{"train/.ipynb_checkpoints/0-checkpoint.png", "train/cat/0.png", "train/cat/._0.png",
			"test/.cache/0.png", "test/cat/0.png", "__MACOSX/train/dog/0.png"}, []string{"cat"}, []string{"cat"}, 0},
		"nested": {[]string{"train/cat/a/b/5.png", "train/cat/0.png", "test/cat/c/0.png"},
			[]string{"cat", "cat"}, []string{"cat"}, 0},
		"Roboflow":    {[]string{"train/cat/0.png", "valid/cat/0.png"}, []string{"cat"}, []string{"cat"}, 0},
		"HuggingFace": {[]string{"data/train/cat/0.png", "data/validation/cat/0.png"}, []string{"cat"}, []string{"cat"}, 0},
		"dev":         {[]string{"train/cat/0.png", "dev/cat/0.png"}, []string{"cat"}, []string{"cat"}, 0},
		"capitals":    {[]string{"Training/Cat/0.PNG", "Testing/Cat/0.Png"}, []string{"Cat"}, []string{"Cat"}, 0},
		"Kaggle twice": {[]string{"train/train/cat/0.png", "train/train/dog/0.png", "test/test/dog/0.png"},
			[]string{"cat", "dog"}, []string{"dog"}, 0},
		"Kaggle sets": {[]string{"training_set/training_set/cats/0.png", "test_set/test_set/cats/0.png"},
			[]string{"cats"}, []string{"cats"}, 0},
		"Kaggle Intel": {[]string{"seg_train/seg_train/sea/0.png", "seg_test/seg_test/sea/0.png", "seg_pred/seg_pred/0.png"},
			[]string{"sea"}, []string{"sea"}, 1},
		"test without labels": {[]string{"train/cat/0.png", "val/cat/0.png", "val/stray.png", "test/0.png", "test/1.png"},
			[]string{"cat"}, []string{"cat"}, 2},
		"a class called train": {[]string{"train/car/0.png", "train/train/0.png", "val/train/0.png", "val/car/0.png"},
			[]string{"car", "train"}, []string{"car", "train"}, 0},
		"a class called test_tube": {[]string{"cup/a/0.png", "cup/a/1.png", "test_tube/a/0.png", "test_tube/a/1.png"},
			[]string{"cup", "test_tube"}, []string{"cup", "test_tube"}, 0},
		"within a folder called test": {[]string{"my_test/train/cat/0.png", "my_test/val/cat/0.png"},
			[]string{"cat"}, []string{"cat"}, 0},
		"train alone": {[]string{"train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "train/dog/1.png"},
			[]string{"cat", "dog"}, []string{"cat", "dog"}, 0},
		"no splits": {[]string{"set/cat/0.png", "set/cat/1.png", "set/dog/0.png", "set/dog/1.png", "set/stray.png"},
			[]string{"cat", "dog"}, []string{"cat", "dog"}, 1},
		"one class": {[]string{"set/cat/0.png", "set/cat/1.png"}, []string{"cat"}, []string{"cat"}, 0},
	} {
		for form, p := range stored(t, names(t, c.files...)...) {
			told := map[string]models.Progress{}
			train, test, err := OpenImageFolder(t.Context(), p, Options{Size: Size{4, 4}, Observe: reports(told)})
			require.NoError(t, err, "%s, %s", name, form)
			classes := slices.Clone(c.train)
			assert.Equal(t, slices.Compact(classes), train.Classes, "%s, %s", name, form)
			for i, set := range []*Set{train, test} {
				var got []string
				for _, label := range set.Labels {
					got = append(got, set.Classes[label])
				}
				assert.Equal(t, [][]string{c.train, c.test}[i], got, "%s, %s", name, form)
			}
			assert.Equal(t, c.skipped, told["skipping"].Done, "%s, %s", name, form)
		}
	}
}

// TestHoldOut: a folder without splits is always split in the same way, whatever
// it lies in, class by class.
func TestHoldOut(t *testing.T) {
	var files, wrapped []content
	for i := range 50 {
		v := color.Gray{uint8(i)}
		file := content{fmt.Sprintf("class%d/%02d.png", i%2, i), pngOf(t, flat(2, 2, v))}
		files = append(files, file)
		wrapped = append(wrapped, content{"pictures/" + file.name, file.data})
	}
	files = append(files, content{"single/0.png", pngOf(t, flat(2, 2, red()))})
	wrapped = append(wrapped, content{"pictures/single/0.png", pngOf(t, flat(2, 2, red()))})
	first := func(s *Set) (values []byte) {
		for i := range s.Len() {
			values = append(values, s.Pixels[i*s.imageLen()])
		}
		return values
	}
	told := map[string]models.Progress{}
	o := Options{Size: Size{2, 2}, HeldOut: 0.24, Observe: reports(told)}
	train, test, err := OpenImageFolder(t.Context(), stored(t, files...)["folder"], o)
	require.NoError(t, err)
	assert.Equal(t, "12 images held out to test on, as the folder brings none that have labels", told["splitting"].Item)
	assert.Equal(t, slices.Concat(slices.Repeat([]int32{0}, 6), slices.Repeat([]int32{1}, 6)), test.Labels)
	assert.Equal(t, 39, train.Len())
	all := append(first(train), first(test)...)
	slices.Sort(all)
	assert.Len(t, slices.Compact(all), 51, "no image is in both")
	for form, p := range stored(t, wrapped...) {
		_, again, err := OpenImageFolder(t.Context(), p, o)
		require.NoError(t, err)
		assert.Equal(t, first(test), first(again), form)
	}
	_, _, err = OpenImageFolder(t.Context(), t.TempDir(), Options{HeldOut: 1})
	require.ErrorContains(t, err, "1 of the images are to be held out")
}

// TestLinkedFolders: links to classes, splits and images are followed, in circles
// too, but once.
func TestLinkedFolders(t *testing.T) {
	elsewhere := write(t, t.TempDir(), names(t, "lynx/0.png", "test/cat/0.png", "one.png")...)
	root := write(t, t.TempDir(), names(t, "train/cat/0.png")...)
	for from, to := range map[string]string{
		filepath.Join(elsewhere, "lynx"):    "train/lynx",
		filepath.Join(elsewhere, "test"):    "test",
		filepath.Join(elsewhere, "one.png"): "train/cat/1.png",
		filepath.Join(root, "train"):        "train/cat/circle",
		filepath.Join(elsewhere, "nothing"): "train/cat/2.png",
		"3.png":                             "train/cat/3.png",
	} {
		require.NoError(t, os.Symlink(from, filepath.Join(root, to)))
	}
	linked := filepath.Join(t.TempDir(), "set")
	require.NoError(t, os.Symlink(root, linked))
	for _, memory := range []int64{0, 1} {
		train, test, err := OpenImageFolder(t.Context(), linked, Options{Size: Size{4, 4}, Memory: memory})
		require.NoError(t, err)
		assert.Equal(t, []string{"cat", "lynx"}, train.Classes)
		assert.Equal(t, []int32{0, 0, 1}, train.Labels)
		assert.Equal(t, []int32{0}, test.Labels)
	}
}

// TestImageFormats: every format has the colours that Pillow 13 reads. Go writes no
// WebP, so that those images were written by Pillow.
func TestImageFormats(t *testing.T) {
	img := flat(8, 8, color.NRGBA{220, 30, 40, 255})
	whole := image.NewPaletted(img.Bounds(), color.Palette{color.NRGBA{220, 30, 40, 255}})
	palette := image.NewPaletted(image.Rect(4, 4, 8, 8), color.Palette{color.NRGBA{220, 30, 40, 255}})
	var asGIF, asBMP, asTIFF, frame bytes.Buffer
	require.NoError(t, gif.Encode(&asGIF, whole, nil))
	require.NoError(t, bmp.Encode(&asBMP, img))
	require.NoError(t, tiff.Encode(&asTIFF, img, nil))
	require.NoError(t, gif.EncodeAll(&frame, &gif.GIF{Image: []*image.Paletted{palette}, Delay: []int{0},
		Config: image.Config{ColorModel: palette.Palette, Width: 8, Height: 8}}))
	packed := func(s string) []byte {
		raw, err := base64.StdEncoding.DecodeString(s)
		require.NoError(t, err)
		return raw
	}
	jpg := jpegOf(t, img)
	for name, c := range map[string]struct {
		raw  []byte
		want [3]byte
	}{
		"gif": {asGIF.Bytes(), [3]byte{220, 30, 40}}, "bmp": {asBMP.Bytes(), [3]byte{220, 30, 40}},
		"tif": {asTIFF.Bytes(), [3]byte{220, 30, 40}}, "frame of a GIF": {frame.Bytes(), [3]byte{0, 0, 0}},
		"webp": {packed("UklGRh4AAABXRUJQVlA4TBEAAAAvB8ABAAdQj3IXpf+BiOh/AAA="), [3]byte{220, 30, 40}},
		"lossy webp": {packed("UklGRkAAAABXRUJQVlA4IDQAAAAQAgCdASoIAAgAAMASJaACdLoB+AH4gAPIAP73WS/+jCFD9vwtf/v3X+Av/v3X/350" +
			"AAAA"), [3]byte{221, 30, 40}},
		"lossy green webp": {packed("UklGRjoAAABXRUJQVlA4IC4AAADQAQCdASoIAAgAAMASJaACdLoB+AADsACb/82BXNc+/3/93E/u4n93" +
			"E/+7PgAA"),
			[3]byte{9, 200, 90}},
		"jpg without its end": {jpg[:len(jpg)-2], [3]byte{220, 30, 40}},
	} {
		got, err := decodeImage(c.raw)
		require.NoError(t, err, name)
		require.Equal(t, [2]int{8, 8}, [2]int{got.h, got.w}, name)
		for k := range 3 {
			assert.InDelta(t, c.want[k], got.pix[64*k], 1, "%s, channel %d", name, k)
		}
	}
}

// TestUnsupportedJPEG: what Go's decoder does not know is named, with a remedy.
func TestUnsupportedJPEG(t *testing.T) {
	frame := func(marker, precision byte, samplings ...byte) []byte {
		raw := []byte{0xff, 0xd8, 0xff, marker, 0, byte(8 + 3*len(samplings)), precision, 0, 8, 0, 8, byte(len(samplings))}
		for i, s := range samplings {
			raw = append(raw, byte(i+1), s, 0)
		}
		return append(raw, 0xff, 0xd9)
	}
	for name, raw := range map[string][]byte{
		"12 bits":      frame(0xc1, 12, 0x11),
		"arithmetic":   frame(0xc9, 8, 0x11),
		"lossless":     frame(0xc3, 8, 0x11),
		"three by one": frame(0xc0, 8, 0x31, 0x11, 0x11),
		"two channels": frame(0xc0, 8, 0x11, 0x11),
	} {
		_, err := decodeImage(raw)
		require.ErrorContains(t, err, "magick mogrify -format png", name)
	}
}

// TestBrokenImagesAreLeftOut: some broken images do not end a run, held or streamed.
func TestBrokenImagesAreLeftOut(t *testing.T) {
	files := manyFiles(t, 20)
	files[0].data, files[31].data = nil, []byte("<html>") // class0/0000, class1/0031
	for form, p := range stored(t, files...) {
		told := map[string]models.Progress{}
		o := Options{Size: Size{8, 8}, Observe: reports(told), Broken: new(2)}
		train, _, err := OpenImageFolder(t.Context(), p, o)
		require.NoError(t, err, form)
		assert.Equal(t, slices.Concat(slices.Repeat([]int32{0}, 19), slices.Repeat([]int32{1}, 19),
			slices.Repeat([]int32{2}, 20)), train.Labels)
		require.NoError(t, train.Check())
		assert.Equal(t, 2, told["leaving out"].Done)
		assert.Contains(t, told["leaving out"].Item, "2 images that cannot be decoded, such as")
		o.Broken = new(1)
		_, _, err = OpenImageFolder(t.Context(), p, o)
		require.ErrorContains(t, err, "more than 1 images cannot be decoded", form)
		o.Broken = new(-1)
		_, _, err = OpenImageFolder(t.Context(), p, o)
		require.ErrorContains(t, err, "-1 broken images may be left out")
		if form == ".tar.gz" {
			continue
		}
		o.Broken, o.Memory = new(2), 1
		streamed, _, err := OpenImageFolder(t.Context(), p, o)
		require.NoError(t, err)
		assert.Equal(t, 60, streamed.Len())
		x, y := batch(t, streamed, []int{0, 30})
		again, _ := batch(t, streamed, []int{1, 31})
		assert.Equal(t, again, x, "the next images of their classes")
		assert.Equal(t, []int32{0, 1}, y)
	}
}

// TestBrokenClass: a class must not vanish.
func TestBrokenClass(t *testing.T) {
	files := names(t, "train/cat/0.png", "train/dog/0.png", "val/cat/0.png")
	files[1].data = nil
	p := stored(t, files...)["folder"]
	for _, memory := range []int64{0, 1} {
		_, _, err := OpenImageFolder(t.Context(), p, Options{Size: Size{4, 4}, Memory: memory})
		require.ErrorContains(t, err, `no image of class "dog" can be decoded, such as data: `)
		var fe *FileError
		require.ErrorAs(t, err, &fe)
		assert.Equal(t, "train/dog/0.png", fe.Entry)
	}
	files[1].data, files[2].data = files[0].data, nil
	_, _, err := OpenImageFolder(t.Context(), stored(t, files...)["folder"], Options{Size: Size{4, 4}})
	require.ErrorContains(t, err, "no image to test on can be decoded")
}

// TestPickledCIFAR: the version for Python is named, with what is wanted.
func TestPickledCIFAR(t *testing.T) {
	home(t)
	dir := write(t, t.TempDir(), content{"cifar-10-batches-py/data_batch_1", nil})
	_, _, _, err := Open(t.Context(), "cifar10", Options{Dir: dir, Client: &http.Client{Transport: &web{}}})
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, "is the version for Python, want the binary version cifar-10-binary.tar.gz")
}
