package gomlx

import (
	"context"
	"errors"
	"fmt"

	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// Products multiplies large matrices on a device, and leaves to gonum all else that the
// interfaces of its BLAS ask for. It is for programs that fuse wide models: gonum's own
// products are many times slower than those of XLA, on a processor, too.
//
//	blas32.Use(device.Products())
//	blas64.Use(device.Products())
//
// Matrices go to the device in tiles, which take 40 MB at most. What the device does not
// do, because it was closed or failed, is done without it. Sums are made in another order
// than by gonum, in the precision of the matrices.
type Products struct {
	gonum.Implementation
	device *Device
}

// Products returns what multiplies matrices on the device.
func (d *Device) Products() Products { return Products{device: d} }

const (
	// leastSide is the number of rows, columns and summands from which a product is worth
	// the way to the device and back.
	leastSide = 256
	// tileSide is the largest number of rows and columns of a tile.
	tileSide = 1024
	// tileDepth is the largest number of summands of a tile.
	tileDepth = 2048
)

// Sgemm implements [blas.Float32Level3]: C = β C + α A B, for A [m × k] and B [k × n], each
// of which may be stored transposed.
//
//nolint:revive // its arguments are those of the interface
func (p Products) Sgemm(ta, tb blas.Transpose, m, n, k int, alpha float32, a []float32, lda int,
	b []float32, ldb int, beta float32, c []float32, ldc int) {
	x, y, out := rowsOf(a, m, k, lda, ta), columnsOf(b, k, n, ldb, tb), rowsOf(c, m, n, ldc, blas.NoTrans)
	if !worthTiles(x, y, out) {
		p.Implementation.Sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	p.Implementation.Sgemm(ta, tb, m, n, 0, alpha, a, lda, b, ldb, beta, c, ldc) // of no summands: β C
	addProduct(p.device, alpha, x, y, out)
}

// Dgemm implements [blas.Float64Level3], see [Products.Sgemm].
//
//nolint:revive // its arguments are those of the interface
func (p Products) Dgemm(ta, tb blas.Transpose, m, n, k int, alpha float64, a []float64, lda int,
	b []float64, ldb int, beta float64, c []float64, ldc int) {
	x, y, out := rowsOf(a, m, k, lda, ta), columnsOf(b, k, n, ldb, tb), rowsOf(c, m, n, ldc, blas.NoTrans)
	if worthTiles(x, y, out) {
		p.Implementation.Dgemm(ta, tb, m, n, 0, alpha, a, lda, b, ldb, beta, c, ldc)
		addProduct(p.device, alpha, x, y, out)
		return
	}
	p.Implementation.Dgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// worthTiles reports whether x yᵀ is large enough. What does not fit its memory is left to
// gonum, which says so.
func worthTiles[T float32 | float64](x, y, out grid[T]) bool {
	return min(x.rows, y.rows, x.columns) >= leastSide && x.fits() && y.fits() && out.fits()
}

// A grid is a matrix [rows × columns] in memory, in which a step along an axis is a fixed
// number of values.
type grid[T float32 | float64] struct {
	data                []T
	rows, columns       int
	rowStep, columnStep int
}

// rowsOf is a matrix [rows × columns] that may be stored transposed.
func rowsOf[T float32 | float64](data []T, rows, columns, stride int, t blas.Transpose) grid[T] {
	if t == blas.NoTrans {
		return grid[T]{data, rows, columns, stride, 1}
	}
	return grid[T]{data, rows, columns, 1, stride}
}

// columnsOf is the transpose of rowsOf.
func columnsOf[T float32 | float64](data []T, rows, columns, stride int, t blas.Transpose) grid[T] {
	g := rowsOf(data, rows, columns, stride, t)
	return grid[T]{data, g.columns, g.rows, g.columnStep, g.rowStep}
}

// fits reports whether the matrix lies within its data, no row or column in another.
func (g grid[T]) fits() bool {
	run, lines, stride := g.columns, g.rows, g.rowStep
	if g.columnStep != 1 {
		run, lines, stride = g.rows, g.columns, g.columnStep
	}
	return stride >= run && len(g.data) >= (lines-1)*stride+run
}

// tile copies what g has of a tile [rows × columns] that begins at (row, column). The rest
// is 0.
func (g grid[T]) tile(row, column, rows, columns int) []T {
	out := make([]T, rows*columns)
	rows, width := min(rows, g.rows-row), min(columns, g.columns-column)
	if g.columnStep == 1 {
		for i := range rows {
			copy(out[i*columns:], g.data[(row+i)*g.rowStep+column:][:width])
		}
		return out
	}
	for j := range width {
		from := g.data[row*g.rowStep+(column+j)*g.columnStep:]
		for i := range rows {
			out[i*columns+j] = from[i*g.rowStep]
		}
	}
	return out
}

// add adds α times a tile [… × columns] that begins at (row, column).
func (g grid[T]) add(row, column, columns int, alpha T, tile []T) {
	width := min(columns, g.columns-column)
	for i := range min(len(tile)/columns, g.rows-row) {
		to := g.data[(row+i)*g.rowStep+column:][:width]
		for j, v := range tile[i*columns : i*columns+width] {
			to[j] += alpha * v
		}
	}
}

// addProduct adds α x yᵀ to c, tile by tile.
func addProduct[T float32 | float64](d *Device, alpha T, x, y, c grid[T]) {
	rows, columns, depth := tileOf(x.rows, tileSide), tileOf(y.rows, tileSide), tileOf(x.columns, tileDepth)
	for at := 0; at < x.columns; at += depth {
		for i := 0; i < x.rows; i += rows {
			left := x.tile(i, at, rows, depth)
			for j := 0; j < y.rows; j += columns {
				right := y.tile(j, at, columns, depth)
				product, err := innerProducts(d, left, right, depth)
				if err != nil {
					product = innerProductsInGo(left, right, depth)
				}
				c.add(i, j, columns, alpha, product)
			}
		}
	}
}

// tileOf returns the side of tiles along an axis: a multiple of leastSide, so that few
// shapes are compiled.
func tileOf(size, most int) int { return min((size+leastSide-1)/leastSide*leastSide, most) }

// innerProducts returns the inner products of the rows of x [n × depth] with those of
// y [m × depth].
func innerProducts[T float32 | float64](d *Device, x, y []T, depth int) ([]T, error) {
	if !d.using.TryRLock() { // whoever closes the device may wait for what calls this
		return nil, ErrNotOpen
	}
	defer d.using.RUnlock()
	if d.closed {
		return nil, ErrNotOpen
	}
	program := d.cached(fmt.Sprintf("inner products of %T", x), "a product of matrices", computation{
		graph: func(in []*gx.Node) []*gx.Node {
			return []*gx.Node{gx.DotGeneral(in[0], []int{1}, nil, in[1], []int{1}, nil)}
		}})
	left := newArray(tensors.FromFlatDataAndDimensions(x, len(x)/depth, depth))
	right := newArray(tensors.FromFlatDataAndDimensions(y, len(y)/depth, depth))
	out, err := program.call(context.Background(), left, right)
	if err = errors.Join(err, free(left, right)); err != nil {
		return nil, err
	}
	values, err := valuesOf[T](out[0])
	return values, errors.Join(err, free(out...))
}

// innerProductsInGo is innerProducts without a device.
func innerProductsInGo[T float32 | float64](x, y []T, depth int) []T {
	n, m := len(x)/depth, len(y)/depth
	out := make([]T, n*m)
	for i := range n {
		for j := range m {
			var sum T
			for k, v := range x[i*depth : (i+1)*depth] {
				sum += v * y[j*depth+k]
			}
			out[i*m+j] = sum
		}
	}
	return out
}
