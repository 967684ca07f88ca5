package gomlx

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// Products are those of gonum, for sides within one tile, of several tiles and between,
// stored either way and with room behind each row.
func TestProducts(t *testing.T) {
	d := openDevice(t)
	straight, transposed := blas.NoTrans, blas.Trans
	for _, of := range [][2]blas.Transpose{{straight, straight}, {straight, transposed}, {transposed, straight},
		{transposed, transposed}} {
		checkProducts(t, d, [3]int{257, 300, 270}, of)
	}
	checkProducts(t, d, [3]int{1030, 260, 2100}, [2]blas.Transpose{straight, transposed})
	checkProducts(t, d, [3]int{100, 300, 300}, [2]blas.Transpose{straight, straight})
}

// After the device was closed products are made without it.
func TestProductsWithoutDevice(t *testing.T) {
	d := openDevice(t)
	require.NoError(t, d.Close())
	checkProducts(t, d, [3]int{256, 257, 258}, [2]blas.Transpose{blas.NoTrans, blas.Trans})
}

// What gonum refuses is refused as gonum does it.
func TestProductsRefuse(t *testing.T) {
	p := openDevice(t).Products()
	short, enough := make([]float64, 300*300-1), make([]float64, 300*300)
	require.PanicsWithValue(t, "blas: insufficient length of a", func() {
		p.Dgemm(blas.NoTrans, blas.NoTrans, 300, 300, 300, 1, short, 300, enough, 300, 0, enough, 300)
	})
}

// checkProducts compares products of both precisions with those of gonum.
func checkProducts(t *testing.T, d *Device, size [3]int, transposes [2]blas.Transpose) {
	t.Helper()
	m, n, k := size[0], size[1], size[2]
	rng := rand.New(rand.NewPCG(uint64(m), uint64(n)))
	a, lda := drawn(rng, m, k, transposes[0])
	b, ldb := drawn(rng, k, n, transposes[1])
	c, ldc := drawn(rng, m, n, blas.NoTrans)
	want, got := append([]float64(nil), c...), append([]float64(nil), c...)
	gonum.Implementation{}.Dgemm(transposes[0], transposes[1], m, n, k, 0.5, a, lda, b, ldb, -2, want, ldc)
	d.Products().Dgemm(transposes[0], transposes[1], m, n, k, 0.5, a, lda, b, ldb, -2, got, ldc)
	require.InDeltaSlice(t, want, got, 1e-11, "%v %v", size, transposes)
	single := narrowed(c)
	d.Products().Sgemm(transposes[0], transposes[1], m, n, k, 0.5, narrowed(a), lda, narrowed(b), ldb, -2, single, ldc)
	for i, v := range single {
		if diff := float64(v) - want[i]; diff > 2e-3 || diff < -2e-3 {
			require.Fail(t, fmt.Sprintf("%v %v: entry %d is %g, want %g", size, transposes, i, v, want[i]))
		}
	}
}

// drawn is a random matrix as it is stored, with three values behind each row.
func drawn(rng *rand.Rand, rows, columns int, t blas.Transpose) (data []float64, stride int) {
	if t != blas.NoTrans {
		rows, columns = columns, rows
	}
	data = make([]float64, rows*(columns+3))
	for i := range data {
		data[i] = rng.NormFloat64()
	}
	return data, columns + 3
}

func narrowed(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// BenchmarkProducts compares products of float32 by gonum with those on the device.
func BenchmarkProducts(b *testing.B) {
	d := openDevice(b)
	for _, n := range []int{512, 1024, 2048} {
		x, out := make([]float32, n*n), make([]float32, n*n)
		for i := range x {
			x[i] = float32(i % 7)
		}
		for name, by := range map[string]blas.Float32Level3{"gonum": gonum.Implementation{}, "device": d.Products()} {
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				for b.Loop() {
					by.Sgemm(blas.NoTrans, blas.Trans, n, n, n, 1, x, n, x, n, 0, out, n)
				}
			})
		}
	}
}
