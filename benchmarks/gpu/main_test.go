package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakePython is an interpreter that prints a row.
func fakePython(t *testing.T, lines string) string {
	path := filepath.Join(t.TempDir(), "python3")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o755))
	return path
}

func TestRun(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "go")
	file := filepath.Join(t.TempDir(), "results.json")
	python := fakePython(t, `[ "$1" = -I ] &&
		echo '{"tool": "abacus", "call": "update", "precision": "beads", "seconds": 2}'`)
	o, err := parse([]string{"-batch", "2", "-repeat", "1", "-python", python, "-report", file})
	require.NoError(t, err)
	var table bytes.Buffer
	require.NoError(t, run(t.Context(), o, &table))
	require.Contains(t, table.String(), "abacus: update, beads")

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var r results
	require.NoError(t, json.Unmarshal(text, &r))
	calls := map[string]int{}
	for _, x := range r.Rows {
		require.Positive(t, x.Seconds, x.Call)
		calls[x.Call]++
	}
	require.Equal(t, map[string]int{"forward pass and loss": 2, "update": 3, "calibration of two networks": 1,
		"Sinkhorn 0.08, 128 units": 1}, calls)
}

// TestNoPython: a Python that is not there is no error.
func TestNoPython(t *testing.T) {
	b := &bench{size: sizes()["small"], results: &results{}}
	b.peers(t.Context(), filepath.Join(t.TempDir(), "python3"))
	b.peers(t.Context(), fakePython(t, "echo no row"))
	b.peers(t.Context(), fakePython(t, "exit 3"))
	require.Empty(t, b.results.Rows)
}

func TestParse(t *testing.T) {
	for name, args := range map[string][]string{
		"argument": {"DIR"}, "size": {"-size", "huge"}, "batch": {"-batch", "-1"},
	} {
		_, err := parse(args)
		require.Error(t, err, name)
	}
	o, err := parse(nil)
	require.NoError(t, err)
	require.Equal(t, 384, o.sizeOr("paper").Units)
	require.Equal(t, 64, o.sizeOr("small").Units)
}
