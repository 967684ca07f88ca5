package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// TestParts: a calibration that several processes share gives the same bytes in whatever
// order and however often its parts are made, and what one process gives.
func TestParts(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "go:ops_sequential") // has nothing to compile, and these networks are small
	a, b, data := parent(t, 1, tiny()), parent(t, 2, tiny()), samples(t, 7)
	for name, text := range map[string]string{"flow": `{"residual":"weighted-matrix"}`, "match": `{"method":"match"}`} {
		how := config(t, text)
		fused := func(dir string, orders ...int) []byte {
			for _, i := range orders {
				require.NoError(t, program(t, "-parts", dir, "-part", fmt.Sprintf("%d/3", i), "-calib", data, "-config", how, a, b))
			}
			out := filepath.Join(t.TempDir(), "out")
			require.NoError(t, program(t, "-parts", dir, "-out", out, "-calib", data, "-config", how, a, b))
			text, err := os.ReadFile(filepath.Join(out, safetensors.SingleName))
			require.NoError(t, err)
			return text
		}
		dir := t.TempDir()
		first := fused(dir, 1, 2, 3)
		require.Equal(t, first, fused(t.TempDir(), 3, 1, 1, 2), name)
		second := filepath.Join(dir, "part-2-of-3") // whose process is killed
		require.NoError(t, os.Remove(filepath.Join(second, "part.json")))
		out := filepath.Join(t.TempDir(), "out")
		require.ErrorContains(t, program(t, "-parts", dir, "-out", out, "-calib", data, "-config", how, a, b),
			second+" is missing or not finished")
		require.Equal(t, first, fused(dir, 2), name)

		require.NoError(t, program(t, "-out", out, "-calib", data, "-config", how, a, b))
		whole, err := models.Open(out)
		require.NoError(t, err)
		file, err := safetensors.Parse(bytes.NewReader(first), int64(len(first)))
		require.NoError(t, err)
		for name, want := range whole.Params {
			raw, err := file.Tensor(name)
			require.NoError(t, err)
			got, err := raw.Float32s()
			require.NoError(t, err)
			require.LessOrEqual(t, modeltest.Apart(t, want.Data, got), 1e-5, name)
		}
	}
}

// TestPartsRefused: parts of other samples are named, and so are flags that do not fit.
func TestPartsRefused(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "go:ops_sequential")
	a, b, data, dir := parent(t, 1, tiny()), parent(t, 2, tiny()), samples(t, 7), t.TempDir()
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, program(t, "-parts", dir, "-part", "1/1", "-calib", data, a, b))
	t.Setenv("JOB_COMPLETION_INDEX", "1")
	require.NoError(t, program(t, "-parts", t.TempDir(), "-part", "2", "-calib", data, a, b))
	t.Setenv("JOB_COMPLETION_INDEX", "")
	for want, args := range map[string][]string{
		"part-1-of-1 is of other samples": {"-parts", dir, "-out", out, "-calib", samples(t, 6), a, b},
		"holds none":                      {"-parts", t.TempDir(), "-out", out, "-calib", data, a, b},
		"it is of other models":           {"-parts", dir, "-out", out, "-calib", data, a, parent(t, 3, tiny())},
		"-parts needs -calib":             {"-parts", dir, "-out", out, a, b},
		"-part needs -parts":              {"-part", "1/2", "-calib", data, a, b},
		"7 samples do not make 8 parts":   {"-parts", dir, "-part", "1/8", "-calib", data, a, b},
		"part 3 of 2":                     {"-parts", dir, "-part", "3/2", "-calib", data, a, b},
		"outside of an array job":         {"-parts", dir, "-part", "2", "-calib", data, a, b},
		"a refit asks": {"-parts", dir, "-out", out, "-calib", data, "-config",
			config(t, `{"method":"match","refit":0.1}`), a, b},
		"looks at no samples": {"-parts", dir, "-out", out, "-calib", data, "-config",
			config(t, `{"method":"vanilla"}`), a, b},
	} {
		require.ErrorContains(t, program(t, args...), want)
	}
	require.NoDirExists(t, out)
}
