//go:build !amd64

package ot

// hasVectorUnits is false: there is no assembly.
const hasVectorUnits = false

// The functions in assembly are never called here.

func expRowAVX(_, _, _, _ *float64, _ int, _, _ float64)        {}
func dotAVX(_, _ *float64, _ int) float64                       { return 0 }
func axpyAVX(_ float64, _, _ *float64, _ int)                   {}
func leastAVX(_, _ *float64, _ int, _ *[8]float64, _ *[8]int64) {}
