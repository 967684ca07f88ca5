package data

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manyFiles is a folder of three classes of n images each, no two alike.
func manyFiles(t *testing.T, n int) []content {
	var files []content
	for i := range 3 * n {
		c := color.NRGBA{uint8(i * 7), uint8(255 - i), uint8(i * i), 255}
		files = append(files, content{fmt.Sprintf("train/class%d/%04d.png", i%3, i), pngOf(t, flat(9+i%5, 12, c))})
	}
	return append(files, content{"val/class1/0.jpg", jpegOf(t, flat(30, 20, red()))},
		content{"val/class0/1.jpg", jpegOf(t, flat(20, 30, green()))})
}

// batch fills a batch of augmented images.
func batch(t *testing.T, s *Set, idx []int) ([]float32, []int32) {
	x, y := make([]float32, len(idx)*s.imageLen()), make([]int32, len(idx))
	norm := Norm{Mean: [3]float32{0.5, 0.4, 0.3}, Std: [3]float32{0.2, 0.3, 0.4}}
	require.NoError(t, s.Fill(x, y, idx, norm, Augment{Pad: 1, Flip: 0.5}, rand.New(rand.NewPCG(1, 2))))
	return x, y
}

// A set that is decoded on demand gives the bytes of one that is held, whatever
// the number of cores, and holds nothing.
func TestStreamedIsHeld(t *testing.T) {
	idx := []int{5, 0, 59, 5, 31}
	for form, p := range stored(t, manyFiles(t, 20)...) {
		if form == ".tar.gz" {
			continue
		}
		held, heldTest, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}})
		require.NoError(t, err)
		for _, procs := range []int{1, 4} {
			previous := runtime.GOMAXPROCS(procs)
			s, test, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}, Memory: 1})
			require.NoError(t, err, form)
			assert.Nil(t, s.Pixels)
			assert.Equal(t, held.Labels, s.Labels)
			assert.Equal(t, held.Classes, s.Classes)
			assert.Equal(t, measured(t, held), measured(t, s), "60 images are measured all")
			x, y := batch(t, held, idx)
			gotX, gotY := batch(t, s, idx)
			assert.Equal(t, x, gotX, form)
			assert.Equal(t, y, gotY)
			x, _ = batch(t, held.Slice(30, 50), []int{0, 19})
			picked, err := s.Pick([]int{49, 30})
			require.NoError(t, err)
			gotX, _ = batch(t, picked, []int{1, 0})
			assert.Equal(t, x, gotX, "a view")
			x, _ = batch(t, heldTest, []int{1, 0})
			gotX, _ = batch(t, test, []int{1, 0})
			assert.Equal(t, x, gotX)
			runtime.GOMAXPROCS(previous)
		}
	}
}

func TestStreamNeedsReach(t *testing.T) {
	p := stored(t, manyFiles(t, 2)...)[".tar.gz"]
	_, _, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}, Memory: 1})
	require.ErrorContains(t, err, p)
	require.ErrorIs(t, err, errNotByName)
	_, _, err = OpenImageFolder(t.Context(), p, Options{Memory: -1})
	require.ErrorContains(t, err, "memory is -1 bytes")
}

// A broken image of a streamed set is an error that names the first of the
// batch, and leaves the batch as it was.
func TestStreamedBrokenImages(t *testing.T) {
	files := manyFiles(t, 20)
	for i := 1; i < 60; i += 2 { // the norm is measured on them, too
		files[i].data = files[i].data[:40]
	}
	p := write(t, t.TempDir(), files...)
	_, _, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}, Memory: 1, Broken: new(0)})
	var fe *FileError
	require.ErrorAs(t, err, &fe)
	require.Equal(t, "train/class0/0003.png", fe.Entry)

	p = write(t, t.TempDir(), manyFiles(t, 2)...)
	s, _, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}, Memory: 1, Broken: new(0)})
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(p, "train/class1/0004.png")))
	require.NoError(t, os.WriteFile(filepath.Join(p, "train/class2/0002.png"), nil, 0o644))
	for _, procs := range []int{1, 4} {
		previous := runtime.GOMAXPROCS(procs)
		x, y := make([]float32, 6*s.imageLen()), make([]int32, 6)
		err = s.Fill(x, y, []int{0, 1, 2, 3, 4, 5}, measured(t, s), Augment{}, nil)
		runtime.GOMAXPROCS(previous)
		require.ErrorAs(t, err, &fe)
		assert.Equal(t, "train/class1/0004.png", fe.Entry)
		require.ErrorIs(t, err, os.ErrNotExist)
		assert.Equal(t, make([]float32, len(x)), x)
		assert.Equal(t, make([]int32, 6), y)
	}
	err = s.Fill(make([]float32, s.imageLen()), nil, []int{4}, measured(t, s), Augment{}, nil)
	require.ErrorContains(t, err, "train/class2/0002.png: the image is truncated")
}

func TestImageNetLayout(t *testing.T) {
	img := func(v byte) []byte { return jpegOf(t, flat(20, 30, color.Gray{v})) }
	files := []content{
		{"ILSVRC/Data/CLS-LOC/train/n02/n02_7.JPEG", img(20)},
		{"ILSVRC/Data/CLS-LOC/train/n01/n01_3.JPEG", img(10)},
		{"ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG", img(30)},
		{"ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000002.JPEG", img(40)},
		{"ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG", []byte("no labels: ignored")},
		{"ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml", []byte("ignored")},
		{"LOC_synset_mapping.txt", []byte("n01 tench, Tinca tinca\nn02 goldfish\n")},
		{"LOC_val_solution.csv", []byte("ImageId,PredictionString\n" +
			"ILSVRC2012_val_00000001,n02 1 2 3 4 n02 5 6 7 8\nILSVRC2012_val_00000002,n01 1 2 3 4\n")},
	}
	for form, p := range stored(t, files...) {
		train, test, err := OpenImageFolder(t.Context(), p, Options{Size: Size{8, 8}})
		require.NoError(t, err, form)
		assert.Equal(t, []string{"tench, Tinca tinca", "goldfish"}, train.Classes)
		assert.Equal(t, []int32{0, 1}, train.Labels)
		assert.Equal(t, []int32{0, 1}, test.Labels)
		assert.Equal(t, []byte{40, 30}, []byte{test.Pixels[0], test.Pixels[test.imageLen()]})
	}
	for form, p := range stored(t, files[:7]...) {
		_, _, err := OpenImageFolder(t.Context(), p, Options{})
		require.ErrorContains(t, err, "ILSVRC2012_val_00000001.JPEG: the image is in no folder of a class", form)
	}
}

// Whatever is asked for, and in whatever order, the results are those of the
// function itself, each made once while it is near.
func TestPrefetch(t *testing.T) {
	var mu sync.Mutex
	calls := map[int]int{}
	odd := errors.New("odd")
	produce := func(step int) (int, error) {
		mu.Lock()
		calls[step]++
		mu.Unlock()
		if step%5 == 3 {
			return 0, odd
		}
		return step * step, nil
	}
	at := Prefetch(3, produce)
	check := func(step int) {
		got, err := at(step)
		if step%5 == 3 {
			require.ErrorIs(t, err, odd)
			return
		}
		require.NoError(t, err)
		require.Equal(t, step*step, got)
	}
	for step := range 20 {
		check(step)
	}
	mu.Lock()
	for step := range 20 {
		require.Equal(t, 1, calls[step], step)
	}
	mu.Unlock()
	for _, step := range []int{100, 7, 8, 0, 2, 2, 1} {
		check(step)
	}
	check0, err := Prefetch(0, produce)(4)
	require.NoError(t, err)
	require.Equal(t, 16, check0)
}

// While one value is in use the next are being made.
func TestPrefetchWorksAhead(t *testing.T) {
	made := make(chan int, 8)
	at := Prefetch(2, func(step int) (int, error) { made <- step; return step, nil })
	_, err := at(0)
	require.NoError(t, err)
	require.ElementsMatch(t, []int{0, 1, 2}, []int{<-made, <-made, <-made})
}

// rezip writes the files of a .tar.gz as a .zip.
func rezip(t *testing.T, archive, to string) {
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	out, err := os.Create(to)
	require.NoError(t, err)
	w := zip.NewWriter(out)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		e, err := w.CreateHeader(&zip.FileHeader{Name: h.Name, Method: zip.Store})
		require.NoError(t, err)
		_, err = io.Copy(e, r)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, out.Close())
}

// streamsAlike checks that the images of an archive, streamed from a .zip at the
// size of those held, are the same.
func streamsAlike(t *testing.T, archive string, train, test *Set) {
	zipped := filepath.Join(t.TempDir(), "set.zip")
	rezip(t, archive, zipped)
	s, held, err := OpenImageFolder(t.Context(), zipped, Options{Size: Size{train.H, train.W}, Memory: 1 << 20})
	require.NoError(t, err)
	assert.Nil(t, s.Pixels)
	assert.Equal(t, train.Labels, s.Labels)
	assert.Equal(t, test.Labels, held.Labels)
	exact, sampled := measured(t, train), measured(t, s)
	assert.InDeltaSlice(t, exact.Mean[:], sampled.Mean[:], 0.02)
	assert.InDeltaSlice(t, exact.Std[:], sampled.Std[:], 0.02)
	order := Sampler{N: s.Len(), Batch: 100, Seed: 3}
	from := func(s *Set) func(step int) ([]float32, error) {
		return func(step int) ([]float32, error) {
			x := make([]float32, 100*s.imageLen())
			rng := rand.New(rand.NewPCG(3, uint64(step)))
			return x, s.Fill(x, nil, order.Indices(step), exact, Augment{Pad: 4, Flip: 0.5}, rng)
		}
	}
	want, got := from(train), Prefetch(2, from(s))
	for step := range 4 {
		x, err := want(step)
		require.NoError(t, err)
		y, err := got(step)
		require.NoError(t, err)
		require.Equal(t, x, y)
	}
}
