package fuse_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// values names the values and the output of the first attention of a network.
type values struct{ value, output string }

// circuit is VᵀO of head h of the values and the heads that share it, beside each
// other [inputs × outputs].
func (n values) circuit(m models.Params, h, d int) *mat.Dense {
	float := func(name string) *mat.Dense {
		t := m[name]
		out := mat.NewDense(t.Shape[0], t.Shape[1], nil)
		for i, v := range t.Data {
			out.Set(i/t.Shape[1], i%t.Shape[1], float64(v))
		}
		return out
	}
	v, o := float(n.value), float(n.output)
	units, inputs := v.Dims()
	outputs, all := o.Dims()
	shared := all / units
	var out mat.Dense
	for k := h * shared; k < (h+1)*shared; k++ {
		var part, wider mat.Dense
		part.Mul(v.Slice(h*d, (h+1)*d, 0, inputs).T(), o.Slice(0, outputs, k*d, (k+1)*d).T())
		if out.IsEmpty() {
			out = part
			continue
		}
		wider.Augment(&out, &part)
		out = wider
	}
	return &out
}

// TestMeanOfCircuits: what the heads of a mean compute is as near to the mean of
// what the models' heads compute as their width allows, and nearer than the
// product of mean factors, where heads share values, too.
func TestMeanOfCircuits(t *testing.T) {
	const vit, llama = "vit.encoder.layer.0.attention.", "model.layers.0.self_attn."
	for _, c := range []struct {
		net      modeltest.Net
		names    values
		heads, d int // of the values
	}{
		{modeltest.ViT(), values{vit + "attention.value.weight", vit + "output.dense.weight"}, modeltest.ViT().Config.Heads,
			modeltest.ViT().Config.Hidden / modeltest.ViT().Config.Heads},
		{modeltest.Llama(), values{llama + "v_proj.weight", llama + "o_proj.weight"}, modeltest.Llama().Config.Heads / 2, 4},
	} {
		anchor, others := model(t, c.net, 1), []*models.Model{model(t, c.net, 2)}
		aligned, _, err := fuse.Align(t.Context(), anchor, others, fuse.Matching{}, nil)
		require.NoError(t, err)
		require.True(t, aligned.Circuits)
		weights := []float64{0.4, 0.6}
		circuits, err := aligned.Mean(weights)
		require.NoError(t, err)
		aligned.Circuits = false
		factors, err := aligned.Mean(weights)
		require.NoError(t, err)
		for h := range c.heads {
			var want, part mat.Dense
			want.Scale(weights[0], c.names.circuit(aligned.Anchor.Params, h, c.d))
			part.Scale(weights[1], c.names.circuit(aligned.Others[0], h, c.d))
			want.Add(&want, &part)
			off := func(m *models.Model) float64 {
				var apart mat.Dense
				apart.Sub(c.names.circuit(m.Params, h, c.d), &want)
				return mat.Norm(&apart, 2)
			}
			var svd mat.SVD
			require.True(t, svd.Factorize(&want, mat.SVDNone))
			least := mat.NewVecDense(len(svd.Values(nil))-c.d, svd.Values(nil)[c.d:]).Norm(2) // Eckart and Young
			require.InEpsilon(t, least, off(circuits), 0.05)
			require.Less(t, 1.2*off(circuits), off(factors))
		}
	}
}

// TestCircuitsOfOneModel: a weight of 1 gives the model itself, bit for bit, and the
// mean of a model with itself computes the same.
func TestCircuitsOfOneModel(t *testing.T) {
	for _, net := range modeltest.Nets() {
		a, b, batch := model(t, net, 1), model(t, net, 2), net.Batch(3, 4)
		aligned, _, err := fuse.Align(t.Context(), a, []*models.Model{b}, fuse.Matching{}, nil)
		require.NoError(t, err)
		start, err := aligned.Line(0)
		require.NoError(t, err)
		require.Equal(t, aligned.Anchor.Params, start.Params)
		aligned.Others[0] = aligned.Anchor.Params
		same, err := aligned.Mean(nil)
		require.NoError(t, err)
		require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(a, batch), modeltest.Logits(same, batch)), turned)
	}
}
