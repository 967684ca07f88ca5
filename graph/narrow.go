package graph

import "slices"

// markNarrow marks the nodes of which only the first token is ever read: those
// between the Select of it and the keys and values of the attention before it.
func (g *Graph) markNarrow() {
	wide := make([]bool, len(g.Nodes)) // some reader needs every token
	for i, n := range slices.Backward(g.Nodes) {
		for k, a := range n.Args {
			switch {
			case n.Op == Select && n.Token == 0:
			case n.Op == Output && a.Op == Linear && isSelected(a):
			case n.Op == Attend && k > 0, n.Op == Mean, n.Op == Output, n.Op == Select:
				wide[a.ID] = true
			default:
				wide[a.ID] = wide[a.ID] || wide[i]
			}
		}
		n.narrow = !wide[i] && n.Op != Output && !isSelected(n)
	}
}

// isSelected reports whether n comes after a Select or Mean: it has one token.
func isSelected(n *Node) bool {
	for n != nil && n.Op != Select && n.Op != Mean {
		if n.Op != Linear && n.Op != Act && n.Op != Norm {
			return false
		}
		n = n.Source()
	}
	return n != nil
}
