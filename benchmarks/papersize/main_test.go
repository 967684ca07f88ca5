package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "go")
	file := filepath.Join(t.TempDir(), "results.json")
	o, err := parse([]string{"-dim", "8", "-layers", "1", "-heads", "2", "-mlp", "16", "-images", "3", "-json", file})
	require.NoError(t, err)
	var table bytes.Buffer
	require.NoError(t, run(context.Background(), o, &table))
	require.Contains(t, table.String(), "calibration on 24 images")

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var r results
	require.NoError(t, json.Unmarshal(text, &r))
	require.NotZero(t, r.Parameters)
	require.NotEmpty(t, r.Rows)
}

func TestParse(t *testing.T) {
	for name, args := range map[string][]string{
		"heads":    {"-heads", "5"},
		"images":   {"-images", "0"},
		"argument": {"DIR"},
	} {
		_, err := parse(args)
		require.Error(t, err, name)
	}
}
