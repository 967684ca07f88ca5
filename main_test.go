package otfuse_test

import (
	"os"
	"testing"
)

// TestMain has the example run on the pure Go backend: its networks are so small
// that compiling them for XLA would take most of the time.
func TestMain(m *testing.M) {
	if os.Getenv("GOMLX_BACKEND") == "" {
		_ = os.Setenv("GOMLX_BACKEND", "go") // fails for malformed names only
	}
	m.Run()
}
