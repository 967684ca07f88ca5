// Package boundedtest measures for tests how much memory a reader asks for.
package boundedtest

import (
	"runtime/metrics"
	"testing"
)

// Hostile is the most bytes that reading a small file may allocate in all,
// whatever the file says of itself. It is the bound on every hostile file of the
// tests.
const Hostile = 300 << 20

// Slack is what a reader may allocate besides, for its buffers.
const Slack = 8 << 20

// Allocated returns the bytes that f allocates in all, collected or not: an upper
// bound on the memory that it has at any moment. Nothing else may run meanwhile.
func Allocated(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}

// Require fails a test if f allocates more than limit bytes in all.
func Require(t testing.TB, limit uint64, f func()) {
	t.Helper()
	if got := Allocated(f); got > limit {
		t.Fatalf("%d MB were allocated, at most %d MB may be", got>>20, limit>>20)
	}
}
