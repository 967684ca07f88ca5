// Package testxla has XLA compile the graphs of tests without optimising them.
//
// The networks of tests are so small that LLVM's optimisations take most of the
// time of a test, and what they gain is not noticed. What a graph computes does
// not change. A package whose tests open a device says
//
//	func TestMain(m *testing.M) { testxla.Main(m) }
//
// To test with the optimisations that users get, set XLA_FLAGS to anything, the
// empty text included:
//
//	XLA_FLAGS= go test ./models/gomlx
package testxla

import (
	"os"
	"testing"
)

// flagsVariable holds the options of XLA, which its plugins read when they are
// opened first.
const flagsVariable = "XLA_FLAGS"

// Main runs the tests of a package. Programs that they start compile in the same way.
func Main(m *testing.M) {
	if _, given := os.LookupEnv(flagsVariable); !given {
		_ = os.Setenv(flagsVariable, "--xla_backend_optimization_level=0") // fails for malformed names only
	}
	m.Run()
}

// backendVariable names the backend that package gomlx opens.
const backendVariable = "GOMLX_BACKEND"

// MainInGo runs the tests of a package whose networks are too small to be worth
// compiling at all: on GoMLX's pure Go backend, unless the environment names another.
func MainInGo(m *testing.M) {
	if _, given := os.LookupEnv(backendVariable); !given {
		_ = os.Setenv(backendVariable, "go:ops_sequential")
	}
	Main(m)
}
