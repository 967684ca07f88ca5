package data

import (
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

func TestRealCIFAR10JPEG(t *testing.T) {
	realData(t, "cifar10-jpeg-q75.tar.gz")
	train, test, label, err := Open(t.Context(), "cifar10", Options{})
	require.NoError(t, err)
	assert.Equal(t, "CIFAR-10 (JPEG q75)", label)
	assert.Equal(t, 50000, train.Len())
	assert.Equal(t, 10000, test.Len())
	assert.Equal(t, []int32{6, 9, 9, 4, 1, 1, 2, 7, 8, 3}, train.Labels[:10])
	assert.Equal(t, []int32{3, 8, 8, 0, 6, 6, 1, 6, 3, 1}, test.Labels[:10])
	n := train.Norm()
	assert.InDeltaSlice(t, []float32{0.4912, 0.4821, 0.4465}, n.Mean[:], 2e-4)
	assert.InDeltaSlice(t, []float32{0.245, 0.243, 0.261}, n.Std[:], 6e-4)
	for _, s := range []*Set{train, test} {
		counts := make([]int, 10)
		for _, l := range s.Labels {
			counts[l]++
		}
		for c, got := range counts {
			assert.Equal(t, s.Len()/10, got, s.Classes[c])
		}
	}
}
