package ot

import "gonum.org/v1/gonum/mat"

// DenseFloat32 is a matrix [N × M] of float32 that may serve as a cost. [EMD] reads it
// without a copy, unless costs are negative or span so many orders of magnitude that it
// has to cut them off. All other solvers work with a float64 copy.
type DenseFloat32 struct {
	N, M int
	Data []float32 // row by row
}

// Dims implements [mat.Matrix].
func (f DenseFloat32) Dims() (r, c int) { return f.N, f.M }

// At implements [mat.Matrix].
func (f DenseFloat32) At(i, j int) float64 { return float64(f.Data[i*f.M+j]) }

// T implements [mat.Matrix].
func (f DenseFloat32) T() mat.Matrix { return mat.Transpose{Matrix: f} }

// check returns an error if the shape does not fit the data.
func (f DenseFloat32) check() error {
	if f.N < 0 || f.M < 0 || len(f.Data) != f.N*f.M {
		return invalid("Cost", ErrShape, "%d numbers for %d × %d", len(f.Data), f.N, f.M)
	}
	return nil
}

// toFloat64 returns a float64 copy of x.
func toFloat64(x []float32) []float64 {
	out := make([]float64, len(x))
	for k, v := range x {
		out[k] = float64(v)
	}
	return out
}
