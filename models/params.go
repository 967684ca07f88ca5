package models

import (
	"math/rand/v2"

	"github.com/otfuse/otfuse/graph"
)

// Init draws fresh parameters for g from a seed: weights and tables from a
// normal distribution of standard deviation std, gains 1, biases 0. The same
// seed gives the same bytes on every machine.
func Init(g *graph.Graph, seed uint64, std float64) Params {
	rng := rand.New(rand.NewPCG(seed, 0x6f7466757365))
	out := Params{}
	for _, p := range g.Params() {
		if _, ok := out[p.Name]; ok {
			continue
		}
		t := Tensor{Shape: p.Full()}
		size, _ := count(t.Shape)
		t.Data = make([]float32, size)
		for i := range t.Data {
			switch p.Role {
			case graph.RoleBias:
			case graph.RoleGain:
				t.Data[i] = 1
			default:
				t.Data[i] = float32(std * rng.NormFloat64())
			}
		}
		out[p.Name] = t
	}
	return out
}
