package modeltest

import (
	"math"
	"testing"
)

// Apart returns the largest difference between two lists of numbers of one
// length, NaN where one of them is.
func Apart[A, B float32 | float64](t testing.TB, a []A, b []B) float64 {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d numbers are compared with %d", len(a), len(b))
	}
	return apart(a, b)
}

// apart is [Apart]; lists of other lengths are infinitely far from each other.
func apart[A, B float32 | float64](a []A, b []B) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var worst float64
	for i := range a {
		if d := math.Abs(float64(a[i]) - float64(b[i])); !(d <= worst) {
			worst = d
		}
	}
	return worst
}
