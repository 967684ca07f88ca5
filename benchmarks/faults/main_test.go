package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(jobVariable); job != "" {
		os.Exit(child(job, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// TestFaults makes a few tries of each kind.
func TestFaults(t *testing.T) {
	rows, err := plan{kills: 10, pairs: 1, seed: 3}.run(t.Context(), func(row) {})
	require.NoError(t, err)
	var table bytes.Buffer
	printTable(&table, rows)
	for _, r := range rows {
		require.Zero(t, r.faults(), table.String())
		require.Positive(t, r.tries, r.what)
	}
}

// TestTable: faults are counted, and the first is told.
func TestTable(t *testing.T) {
	r := row{what: "killed"}
	r.add(good, "")
	r.add(torn, "half of it")
	r.add(hung, "")
	r.leak([]string{".draft"})
	require.Equal(t, 3, r.faults())
	require.Equal(t, 3, r.tries)
	var b bytes.Buffer
	printTable(&b, []row{r})
	require.Contains(t, b.String(), "killed: torn: half of it")
	require.Regexp(t, `in all +3 +1 +0 +1 +0 +1`, b.String())
}
