package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRow(t *testing.T) {
	barrier := 0.25
	r := row{Pair: "a,b", Recipe: "{}", Accuracy: []float64{0.5, 0.6}, Loss: []float64{1}, Barrier: &barrier}
	require.Equal(t, "a,b\t{}\t55.00 ± 7.07 %\t1.000 nats\tbarrier 0.250", r.String())
}

func TestParse(t *testing.T) {
	o, err := parse(nil)
	require.NoError(t, err)
	trials, err := o.trials()
	require.NoError(t, err)
	require.Len(t, trials, 3)
	require.Equal(t, []string{""}, o.pairs)
	o, err = parse([]string{"-samples", "7", "-recipe", `{"method": "match", "mix": 0.5}`, "a,b", "c,d"})
	require.NoError(t, err)
	trials, err = o.trials()
	require.NoError(t, err)
	require.Equal(t, 7, trials[0].Recipe.Samples)
	require.Equal(t, []string{"a,b", "c,d"}, o.pairs)
	for want, args := range map[string][]string{
		"-draws is 0":                      {"-draws", "0"},
		"allowed are samples, all, labels": {"-learn-on", "x"},
		"allowed are flow, vanilla, match": {"-recipe", `{"method": "x"}`},
	} {
		if o, err = parse(args); err == nil {
			_, err = o.trials()
		}
		require.ErrorContains(t, err, want)
	}
}
