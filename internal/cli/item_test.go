package cli

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestItems: the flag comes before the index of an array job, and outside of one all
// items are meant.
func TestItems(t *testing.T) {
	parsed := func(args ...string) int {
		f := flag.NewFlagSet("program", flag.ContinueOnError)
		item := ItemFlag(f)
		require.NoError(t, f.Parse(args))
		return *item
	}
	for _, variable := range indexVariables() {
		t.Setenv(variable, "")
	}
	got, err := Items(parsed(), 3)
	require.NoError(t, err)
	assert.Equal(t, []int{0, 1, 2}, got)
	for i, variable := range indexVariables() {
		t.Setenv(variable, "2")
		got, err = Items(parsed(), 3)
		require.NoError(t, err)
		assert.Equal(t, []int{2}, got)
		got, err = Items(parsed("-item", "0"), 3)
		require.NoError(t, err)
		assert.Equal(t, []int{0}, got)
		for _, wrong := range []string{"3", "-1", "two"} {
			t.Setenv(variable, wrong)
			_, err = Items(parsed(), 3)
			require.EqualError(t, err, indexVariables()[i]+" is "+wrong+", and the items are 0 to 2")
		}
		t.Setenv(variable, "")
	}
	_, err = Items(parsed("-item", "3"), 3)
	require.EqualError(t, err, "-item is 3, and the items are 0 to 2")
}
