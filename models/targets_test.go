package models_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestTargets: labels of a causal language model are shifted by one token, those of
// other networks are not.
func TestTargets(t *testing.T) {
	labels := models.Array{Shape: []int{2, 3}, Ints: []int32{1, 2, 3, 4, models.Ignore, 6}}
	for _, f := range families() {
		m, err := modeltest.Random(f.arch, f.config, 1)
		require.NoError(t, err)
		want := labels.Ints
		if strings.HasSuffix(f.arch.Class, "LMHeadModel") || strings.HasSuffix(f.arch.Class, "ForCausalLM") {
			want = []int32{2, 3, models.Ignore, models.Ignore, 6, models.Ignore}
		}
		got := m.Targets(labels)
		require.Equal(t, want, got.Ints, f.arch.Class)
		require.Equal(t, labels.Shape, got.Shape)
	}
	require.Equal(t, []int32{1, 2, 3, 4, models.Ignore, 6}, labels.Ints, "inputs are not changed")
}
