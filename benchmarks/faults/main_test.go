package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
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

// TestLatencies: works are cancelled before their end, and the table says how soon they
// returned and which did not return the error of their context.
func TestLatencies(t *testing.T) {
	// Two runs are not cancelled.
	waits := func(err error) func(context.Context) error {
		calls := 0
		return func(ctx context.Context) error {
			if calls++; calls <= 2 {
				return nil
			}
			<-ctx.Done()
			return cmp.Or(err, ctx.Err())
		}
	}
	c := canceller{tries: 3, moments: rand.New(rand.NewPCG(1, 1))}
	good, err := c.measure(t.Context(), work{"waiting", waits(nil)})
	require.NoError(t, err)
	require.Len(t, good.wall, 3)
	require.Empty(t, good.wrong)
	other := errors.New("another error")
	bad, err := c.measure(t.Context(), work{"erring", waits(other)})
	require.NoError(t, err)
	_, err = c.measure(t.Context(), work{"failing", func(context.Context) error { return other }})
	require.ErrorIs(t, err, other)
	var table bytes.Buffer
	printLatencies(&table, []latency{good, bad})
	require.Regexp(t, `(?m)^waiting +\d+ +\d .*\d $`, table.String())
	require.Regexp(t, `(?m)^erring .* another error$`, table.String())
}
