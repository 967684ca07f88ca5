package safetensors

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestErrorsNameThePackageOnce: every error says once, and first, which package
// it comes from.
func TestErrorsNameThePackageOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "good")
	good := map[string]Tensor{"w": {DType: U8, Shape: []int{1}, Data: []byte{1}}}
	require.NoError(t, WriteFile(path, good, nil))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	bad := map[string]Tensor{"w": {DType: U8, Shape: []int{2}, Data: []byte{1}}}
	for name, fail := range map[string]func() error{
		"absent file":      func() error { _, err := Open(filepath.Join(dir, "absent")); return err },
		"a folder":         func() error { _, err := Open(dir); return err },
		"no header":        func() error { _, err := Parse(strings.NewReader(""), 0); return err },
		"torn header":      func() error { _, err := Parse(strings.NewReader(""), 100); return err },
		"no checkpoint":    func() error { _, err := OpenDir(dir); return err },
		"absent directory": func() error { _, err := OpenDir(filepath.Join(dir, "absent")); return err },
		"no tensor":        func() error { _, err := f.Tensor("x"); return err },
		"no info":          func() error { _, _, err := f.Info("x"); return err },
		"bad tensor":       func() error { return Write(io.Discard, bad, nil) },
		"full disk":        func() error { return Write(&fullDisk{0, io.ErrShortWrite}, good, nil) },
		"bad in a file":    func() error { return WriteFile(filepath.Join(dir, "bad"), bad, nil) },
		"into a folder":    func() error { return WriteFile(dir, good, nil) },
		"conversion":       func() error { _, err := good["w"].Float32s(); return err },
		"length":           func() error { _, err := bad["w"].Len(); return err },
	} {
		err := fail()
		require.Error(t, err, name)
		assert.True(t, strings.HasPrefix(err.Error(), "safetensors: "), "%s: %v", name, err)
		assert.Equal(t, 1, strings.Count(err.Error(), "safetensors: "), "%s: %v", name, err)
	}
}
