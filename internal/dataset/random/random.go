// Package random holds what the samplers and painters of data sets need of
// random numbers so that the same seed gives the same data on every machine
// and in every version.
package random

import (
	"math/bits"
	"math/rand/v2"
)

// Below returns an integer of [0, n), with a bias below n/2⁶⁴.
func Below(rng *rand.PCG, n int) int {
	high, _ := bits.Mul64(rng.Uint64(), uint64(n))
	return int(high)
}

// Mix scatters neighbouring seeds over all 64 bits, so that their streams have
// nothing in common: the finaliser of SplitMix64 (Steele et al., "Fast Splittable
// Pseudorandom Number Generators", 2014).
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
