package ot

import "golang.org/x/sys/cpu"

// hasVectorUnits tells whether the processor has what the assembly needs.
var hasVectorUnits = cpu.X86.HasAVX2 && cpu.X86.HasFMA

//go:noescape
func expRowAVX(dst, cost, pot, sums *float64, n int, f, inv float64)

//go:noescape
func dotAVX(x, y *float64, n int) float64

//go:noescape
func axpyAVX(alpha float64, x, y *float64, n int)

//go:noescape
func leastAVX(cost, v *float64, n int, low *[8]float64, at *[8]int64)

//go:noescape
func lowerAVX(low, row *float64, n int) (top, rest float64)

//go:noescape
func lowerSingleAVX(low, row *float32, n int) (top, rest float32)

//go:noescape
func groupMinimaAVX(cost, v *float64, n int, low *[8]float64)

//go:noescape
func groupMinimaSingleAVX(cost *float32, v *float64, n int, low *[8]float64)

//go:noescape
func markAVX(cost, v *float64, n int, limit float64, to *byte)

//go:noescape
func markSingleAVX(cost *float32, v *float64, n int, limit float64, to *byte)

//go:noescape
func leastTwoAVX(costs *float64, columns *int32, v *float64) (d1, d2 float64, first, second uint64)

//go:noescape
func leastTwoSingleAVX(costs *float32, columns *int32, v *float64) (d1, d2 float64, first, second uint64)

//go:noescape
func leastSingleAVX(cost *float32, v *float64, n int, low *[8]float64, at *[8]int64)
