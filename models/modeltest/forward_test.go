package modeltest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
)

// TestActivations: every activation has the values of transformers' ACT2FN in float64.
func TestActivations(t *testing.T) {
	at := []float64{-12, -3, -0.5, 0, 1, 2.5, 12}
	want := map[graph.Activation][]float64{
		graph.GELU:        {0, -0.00404969409489031, -0.154268769362993, 0, 0.841344746068543, 2.48447583668556, 12},
		graph.GELUTanh:    {0, -0.00363739208177299, -0.154285990174856, 0, 0.841191990608277, 2.48491573391, 12},
		graph.ClippedGELU: {0, -0.00404969409489031, -0.154268769362993, 0, 0.841344746068543, 2.48447583668556, 10},
		graph.QuickGELU: {-1.61864178358476e-08, -0.018071309707786, -0.14961156339362, 0, 0.845795765932821,
			2.46501383495143, 11.9999999838136},
		graph.SiLU: {-7.37300952265766e-05, -0.1422776195327, -0.188770334399073, 0, 0.731058578630005,
			2.31035454994689, 11.9999262699048},
		graph.ReLU: {0, 0, 0, 0, 1, 2.5, 12},
		graph.Tanh: {-0.999999999924497, -0.99505475368673, -0.46211715726001, 0, 0.761594155955765,
			0.98661429815143, 0.999999999924497},
	}
	require.Len(t, want, len(graph.Activations()))
	for fn, values := range want {
		require.Contains(t, graph.Activations(), fn)
		for i, x := range at {
			require.InDelta(t, values[i], activate(fn, x), 1e-13, "%s at %g", fn, x)
		}
	}
}
