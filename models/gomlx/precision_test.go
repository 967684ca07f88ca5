package gomlx

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/floats"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestBfloat16 compares training in bfloat16 with float32: the losses differ, by
// rounding alone, and the weights move in the same way though each update is smaller
// than what bfloat16 can tell apart, so that they are kept in float32.
func TestBfloat16(t *testing.T) {
	d := openDevice(t)
	nets := []modeltest.Net{modeltest.ViT()}
	if d.Name() == "go" { // XLA would compile for a long time
		nets = append(nets, modeltest.MaskedLM())
	}
	for _, net := range nets {
		t.Run(net.Arch.Class, func(t *testing.T) {
			m, err := net.Model(1)
			require.NoError(t, err)
			batch := net.Batch(8, 2)
			losses, moved := map[Precision][]float64{}, map[Precision][]float64{}
			for _, precision := range []Precision{Float32, Bfloat16} {
				tr := trainer(t, d, m, TrainConfig{Steps: 5, LR: 1e-5, Precision: precision})
				for range 5 {
					loss, err := tr.Update(t.Context(), batch)
					require.NoError(t, err)
					losses[precision] = append(losses[precision], loss)
				}
				moved[precision] = changes(m.Params, trained(t, tr))
			}
			require.NotEqual(t, losses[Float32], losses[Bfloat16])
			for i, want := range losses[Float32] {
				assert.InEpsilon(t, want, losses[Bfloat16][i], 2e-2)
			}
			a, b := moved[Float32], moved[Bfloat16]
			assert.Greater(t, floats.Dot(a, b)/floats.Norm(a, 2)/floats.Norm(b, 2), 0.9)
		})
	}
}

// changes are what was added to every number of some parameters but the biases of
// keys, whose gradient is rounding.
func changes(from, to models.Params) []float64 {
	var out []float64
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if strings.Contains(name, "key.bias") {
			continue
		}
		for i, v := range from[name].Data {
			out = append(out, float64(to[name].Data[i]-v))
		}
	}
	return out
}
