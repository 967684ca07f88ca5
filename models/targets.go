package models

import (
	"slices"

	"github.com/otfuse/otfuse/graph"
)

// PredictsNext reports whether the network is a causal language model: no token sees
// those after it, and every token has logits over the words, which are about the
// token that comes next.
func (s Spec) PredictsNext() bool {
	attends, words := false, 0
	for _, n := range s.Graph.Nodes {
		switch n.Op {
		case graph.Attend:
			if attends = true; !n.Causal {
				return false
			}
		case graph.Embed:
			words = max(words, n.Params[0].Shape[0])
		}
	}
	return attends && s.Graph.HasLogits() && !onePerSample(s.output()) && s.Classes() == words
}

// Targets returns the class that each of the logits should be, given [Labels]: of a
// causal language model the label of the next token, and [Ignore] for the last token
// of a sequence, as transformers does; of other networks the labels themselves.
func (s Spec) Targets(labels Array) Array {
	if !s.PredictsNext() || len(labels.Shape) != 2 {
		return labels
	}
	next := Array{Shape: slices.Clone(labels.Shape), Ints: make([]int32, 0, len(labels.Ints))}
	for seq := range slices.Chunk(labels.Ints, max(labels.Shape[1], 1)) {
		next.Ints = append(append(next.Ints, seq[1:]...), Ignore)
	}
	return next
}
