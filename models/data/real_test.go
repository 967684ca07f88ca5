package data

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// realData returns the path of a file of the real data sets.
func realData(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("OTFUSE_DATA")
	if dir == "" {
		t.Skip("OTFUSE_DATA is not set: no real data sets")
	}
	p := filepath.Join(dir, name)
	require.FileExists(t, p)
	return p
}

func TestRealCIFAR10(t *testing.T) {
	p := realData(t, "cifar10-exact-6102-bin.tar.gz")
	realData(t, "cifar10-jpeg-q75.tar.gz")
	exact, exactTest, err := OpenCIFAR10(t.Context(), p)
	require.NoError(t, err)
	assert.Equal(t, 5*1017, exact.Len())
	assert.Equal(t, 1017, exactTest.Len())
	assert.Equal(t, cifar10Classes(), exact.Classes)
	assert.Equal(t, []int32{6, 9, 9, 4, 1, 1, 2, 7, 8, 3}, exact.Labels[:10])

	train, test, label, err := Open(t.Context(), "cifar10", Options{})
	require.NoError(t, err)
	assert.Equal(t, "CIFAR-10 (JPEG q75)", label)
	assert.Equal(t, 50000, train.Len())
	assert.Equal(t, 10000, test.Len())
	n := measured(t, train)
	assert.InDeltaSlice(t, []float32{0.4912, 0.4821, 0.4465}, n.Mean[:], 2e-4)
	assert.InDeltaSlice(t, []float32{0.2465, 0.2430, 0.2612}, n.Std[:], 2e-3)
	for _, s := range []*Set{train, test} {
		counts := make([]int, 10)
		for _, l := range s.Labels {
			counts[l]++
		}
		for c, got := range counts {
			assert.Equal(t, s.Len()/10, got, s.Classes[c])
		}
	}
	// The two copies show the same images in the same order.
	for batch := range 5 {
		likeness(t, exact.Slice(1017*batch, 1017*(batch+1)), train.Slice(10000*batch, 10000*batch+1017))
	}
	likeness(t, exactTest, test.Head(1017))
}

// likeness checks that lossy copies are as near to the images as the
// compression leaves them: 30.5 dB on average.
func likeness(t *testing.T, exact, lossy *Set) {
	t.Helper()
	assert.Equal(t, exact.Labels, lossy.Labels)
	var sum float64
	d := exact.imageLen()
	for i := range exact.Len() {
		var square float64
		for k := i * d; k < (i+1)*d; k++ {
			e := float64(exact.Pixels[k]) - float64(lossy.Pixels[k])
			square += e * e
		}
		sum += 10 * math.Log10(255*255*float64(d)/square)
	}
	assert.InDelta(t, 30.5, sum/float64(exact.Len()), 1)
}

func TestRealCIFAR100(t *testing.T) {
	train, test, err := OpenCIFAR100(t.Context(), realData(t, "cifar100-exact-2033-bin.tar.gz"))
	require.NoError(t, err)
	assert.Equal(t, 1117, train.Len())
	assert.Equal(t, 916, test.Len())
	require.Len(t, train.Classes, 100)
	some := []string{train.Classes[0], train.Classes[1], train.Classes[99]}
	assert.Equal(t, []string{"apple", "aquarium_fish", "worm"}, some)
	n := measured(t, train)
	assert.InDeltaSlice(t, []float32{0.507, 0.487, 0.441}, n.Mean[:], 0.02) // those of the whole set
}

func TestRealTinyImageNet(t *testing.T) {
	p := realData(t, "tiny-imagenet-20cls.tar.gz")
	train, test, label, err := Open(t.Context(), "tinyimagenet", Options{})
	require.NoError(t, err)
	assert.Equal(t, "Tiny ImageNet (11000 images)", label)
	assert.Equal(t, []int{10000, 1000, 20}, []int{train.Len(), test.Len(), len(train.Classes)})
	for _, s := range []*Set{train, test} {
		counts := make([]int, 20)
		for _, l := range s.Labels {
			counts[l]++
		}
		for c, got := range counts {
			assert.Equal(t, s.Len()/20, got, s.Classes[c])
		}
	}
	streamsAlike(t, p, train, test)
}
