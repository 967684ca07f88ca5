package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// TestRun: every way to fuse has a row with scores on each file, the parents come
// first, and a planted order is found again.
func TestRun(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "go")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for seed, name := range []string{"a", "b"} {
		m, err := modeltest.MaskedLM().Model(uint64(seed))
		require.NoError(t, err)
		require.NoError(t, m.Save(at(name)))
	}
	for seed, name := range []string{"calib", "heavy", "light"} {
		b := modeltest.MaskedLM().Batch(6, uint64(seed))
		b[models.Labels] = b["input_ids"]
		tensors := map[string]safetensors.Tensor{}
		for input, a := range b {
			var err error
			tensors[input], err = safetensors.FromInt32(a.Shape, a.Ints)
			require.NoError(t, err)
		}
		require.NoError(t, safetensors.WriteFile(at(name+".safetensors"), tensors, nil))
	}
	o, err := parse([]string{"-calib", at("calib.safetensors"), "-eval", at("heavy.safetensors") + "," +
		at("light.safetensors"), "-updates", "2", "-batch", "3", at("a"), at("b")})
	require.NoError(t, err)
	var table bytes.Buffer
	require.NoError(t, run(t.Context(), o, &table))
	lines := bytes.Split(bytes.TrimSpace(table.Bytes()), []byte("\n"))
	require.Len(t, lines, 2+4+len(o.trials())+3, "parents, ensemble, shrunk anchor; controls of refits and distillation")
	require.Contains(t, string(lines[0]), "| heavy: accuracy | loss, nats | light: accuracy | loss, nats |")
	require.Contains(t, string(lines[2]), at("a"))

	o, err = parse([]string{"-planted", "1", "-calib", at("calib.safetensors"), at("a")})
	require.NoError(t, err)
	table.Reset()
	require.NoError(t, run(t.Context(), o, &table))
	require.Regexp(t, `matching, weights \| [\d.]+ \| \d\.\de-0[678] `, table.String())
}

func TestParse(t *testing.T) {
	for says, args := range map[string][]string{
		"-calib FILE is required":                        {"a", "b"},
		"-eval FILE is required":                         {"-calib", "c", "a", "b"},
		"got 1 checkpoints, want ANCHOR and at least":    {"-calib", "c", "-eval", "e", "a"},
		"got 2 checkpoints, want ANCHOR alone with -pla": {"-calib", "c", "-planted", "1", "a", "b"},
	} {
		_, err := parse(args)
		require.ErrorContains(t, err, says)
	}
}
