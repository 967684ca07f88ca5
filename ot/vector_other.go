//go:build !amd64

package ot

// hasVectorUnits is false: there is no assembly.
const hasVectorUnits = false

// The functions in assembly are never called here.

func expRowAVX(_, _, _, _ *float64, _ int, _, _ float64)        {}
func dotAVX(_, _ *float64, _ int) float64                       { return 0 }
func axpyAVX(_ float64, _, _ *float64, _ int)                   {}
func leastAVX(_, _ *float64, _ int, _ *[8]float64, _ *[8]int64) {}

func lowerAVX(_, _ *float64, _ int) (_, _ float64)                                   { return }
func lowerSingleAVX(_, _ *float32, _ int) (_, _ float32)                             { return }
func groupMinimaAVX(_, _ *float64, _ int, _ *[8]float64)                             {}
func groupMinimaSingleAVX(_ *float32, _ *float64, _ int, _ *[8]float64)              {}
func markAVX(_, _ *float64, _ int, _ float64, _ *byte)                               {}
func markSingleAVX(_ *float32, _ *float64, _ int, _ float64, _ *byte)                {}
func leastTwoAVX(_ *float64, _ *int32, _ *float64) (_, _ float64, _, _ uint64)       { return }
func leastTwoSingleAVX(_ *float32, _ *int32, _ *float64) (_, _ float64, _, _ uint64) { return }
func leastSingleAVX(_ *float32, _ *float64, _ int, _ *[8]float64, _ *[8]int64)       {}
