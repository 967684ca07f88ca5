package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRun solves small problems without peers: every plan has its marginals, and
// entropic plans do not cost less than the exact one.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows.json")
	o, err := parse([]string{"-n", "16,40", "-repeat", "1", "-peers", "none", "-json", path,
		"-parents", "../../examples/vit-cifar/parents/shapes-seed0,../../examples/vit-cifar/parents/shapes-seed1"})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), o, &out))
	var rows []row
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &rows))
	require.Len(t, rows, (2*4+4)*6)
	for i, r := range rows {
		require.Contains(t, out.String(), r.Problem)
		require.LessOrEqual(t, r.MarginalError, 2*tolerance, r.Problem)
		require.Greater(t, r.Objective, 0.)
		require.Greater(t, r.Seconds, 0.)
		if exact := rows[i/6*6]; r.Solver != "emd-nonuniform" {
			require.GreaterOrEqual(t, r.Objective, exact.Objective-1e-6, "%s %s", r.Problem, r.Solver)
		}
	}
}

// TestGrow measures small sizes.
func TestGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows.json")
	o, err := parse([]string{"-grow", "64,256", "-json", path})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), o, &out))
	require.Contains(t, out.String(), "seconds ≈")
	var rows []growth
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &rows))
	require.Len(t, rows, 2)
	for _, r := range rows {
		require.EqualValues(t, 4*r.N*r.N, r.CostBytes)
		require.Greater(t, r.Objective, 0.)
		require.Greater(t, r.Seconds, 0.)
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-n", "1"}, {"-n", "x"}, {"-n", ""}, {"-repeat", "0"}, {"-limit", "0s"}, {"-peers", "some"},
		{"-problems", "all"}, {"-grow", "1"}, {"-threads", "0"},
		{"-solvers", "emd,none"}, {"-parents", "a"}, {"stray"},
	} {
		_, err := parse(args)
		require.Error(t, err, args)
	}
}
