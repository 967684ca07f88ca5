package graph

import (
	"fmt"
	"slices"
)

// A Group is a group of changes of basis of a [Space] that leave what the
// network computes as it is.
type Group uint8

// The groups. Those of heads permute the heads of an attention, those of keys and
// values with the queries that share them and these among themselves, and then take
// one map within each head of keys and values and all that share it.
const (
	Trivial           Group = iota // nothing: the basis is fixed
	Permutation                    // any permutation
	SignedPermutation              // any permutation, then any sign of each unit, see [Space.TakesSigns]
	HeadSigns                      // heads; within each one sign for each plane
	HeadPlanes                     // heads; within each one complex number for each plane, any invertible map of the rest
	Headwise                       // heads; within each any invertible map, see [Space.Dual]
	MeanKeeping                    // any orthogonal map that keeps (1, …, 1), once norms are folded into their readers
	Orthogonal                     // any orthogonal map, once norms are folded into their readers
	free                           // any invertible map; no space of Spaces has it
)

// String returns the name of the group.
func (g Group) String() string {
	if g > free {
		return fmt.Sprintf("Group(%d)", uint8(g))
	}
	return [...]string{"trivial", "permutation", "signed permutation", "head signs", "head planes", "headwise",
		"mean-keeping", "orthogonal", "free"}[g]
}

// WithinHeads reports whether the group permutes heads and acts within each.
func (g Group) WithinHeads() bool { return g == HeadSigns || g == HeadPlanes || g == Headwise }

// Rotates reports whether the group holds orthogonal maps of all units.
func (g Group) Rotates() bool { return g == MeanKeeping || g == Orthogonal }

// Permutes reports whether the group moves units as they are, but for signs.
func (g Group) Permutes() bool { return g == Permutation || g == SignedPermutation }

// IsContinuous reports whether the group holds maps as near to each other as one likes,
// so that the best one can be approached step by step.
func (g Group) IsContinuous() bool { return g.Rotates() || g == Headwise || g == HeadPlanes }

// contains reports whether h is a subgroup of g, as far as the library knows.
func (g Group) contains(h Group) bool {
	switch g {
	case Orthogonal:
		return h == MeanKeeping || h == SignedPermutation || h == Permutation || h == g || h == Trivial
	case MeanKeeping, SignedPermutation:
		return h == Permutation || h == g || h == Trivial
	case Headwise, HeadPlanes:
		return h >= HeadSigns && h <= g || h == Trivial
	}
	return g == free || h == g || h == Trivial
}

// intersection returns what both groups have in common, as far as the library knows.
func intersection(a, b Group) Group {
	switch {
	case b.contains(a):
		return a
	case a.contains(b):
		return b
	case a.contains(Permutation) && b.contains(Permutation):
		return Permutation
	}
	return Trivial // heads that an activation acts on have no group of ours
}

func anything(*Graph, Space, *Node) Group { return free }

func permutations(*Graph, Space, *Node) Group { return Permutation }

// orthogonal is what the product with a table grants that takes the same map.
func orthogonal(*Graph, Space, *Node) Group { return Orthogonal }

// headwise is what attention grants to queries, keys and values and to its own
// output.
func headwise(*Graph, Space, *Node) Group { return Headwise }

// grantedByRotary returns what rotary positions grant. Each plane of a head is turned
// by an angle of its own, which commutes with the complex numbers of that plane and
// with nothing that mixes planes.
func grantedByRotary(_ *Graph, s Space, n *Node) Group {
	if s.Attend == nil || len(n.Rope.Frequencies) != s.Planes {
		return Trivial
	}
	return HeadPlanes
}

// planes returns the number of planes of each head of a space, 0 without rotary
// positions.
func planes(s Space) int {
	for _, n := range s.Nodes {
		if n.Op == Rotary {
			return len(n.Rope.Frequencies)
		}
	}
	return 0
}

// grantedByNorm returns what a norm grants.
//
// LN(x O) = LN(x) O for every orthogonal O with O 1 = 1. With a gain γ that holds
// only once γ is folded into the linear layers that read the norm, and the mean of
// the units taken out of all that writes to the space, which must therefore be read
// through norms alone. Where that cannot be done, permutations remain.
//
// A norm without means lets every orthogonal O through, nothing is centred for it,
// and signs remain where its gain cannot be folded. Within heads its gain, which all
// heads share, leaves signs of the planes that rotary positions turn after it.
func (g *Graph) grantedByNorm(s Space, n *Node) Group {
	_, foldable := g.Readers(n)
	switch {
	case n.Heads > 0 && s.Planes > 0 && s.Attend != nil:
		return HeadSigns
	case n.Heads > 0:
		return Trivial
	case foldable && n.RMS:
		return Orthogonal
	case foldable && g.readThroughNorms(s):
		return MeanKeeping
	case n.RMS:
		return SignedPermutation
	}
	return Permutation
}

// grantedByAct returns what an activation grants: permutations, and signs where the
// function is odd or, being that of a gate, leaves them to the other factor.
func (g *Graph) grantedByAct(s Space, n *Node) Group {
	if n.Fn == Tanh || s.gated[n] {
		return SignedPermutation
	}
	return Permutation
}

// grantedByMul returns what a product grants: permutations of both factors, and
// where one of them is a gate, signs of the other.
func (g *Graph) grantedByMul(s Space, _ *Node) Group {
	if s.gated != nil {
		return SignedPermutation
	}
	return Permutation
}

// gatedNodes returns the nodes of a space that lead to the gate of its product. It
// returns nil where that is not the only place at which signs matter: without a
// product, with several, where both factors or none come through an activation,
// where they meet before, or where branches are added.
func gatedNodes(s Space) map[*Node]bool {
	var product *Node
	activations := 0
	for _, n := range s.Nodes {
		switch n.Op {
		case Act:
			activations++
		case Mul:
			if product != nil {
				return nil
			}
			product = n
		case Add, Norm:
			return nil
		}
	}
	if product == nil || activations != 1 {
		return nil
	}
	for i, factor := range product.Args {
		gated, other := chain(factor), chain(product.Args[1-i])
		meet := slices.ContainsFunc(other, func(n *Node) bool { return slices.Contains(gated, n) })
		if slices.ContainsFunc(gated, isAct) && !meet {
			out := map[*Node]bool{}
			for _, n := range gated {
				out[n] = true
			}
			return out
		}
	}
	return nil
}

func isAct(n *Node) bool { return n.Op == Act }

// chain returns n and the nodes whose map it carries on.
func chain(n *Node) []*Node {
	out := []*Node{n}
	for n.Flow() == Carry {
		n = n.Carrier()
		out = append(out, n)
	}
	return out
}

// granted returns the group that all nodes which touch the units of a space
// grant: the nodes within it and the readers outside of it.
func (g *Graph) granted(s Space, within func(*Node) bool) Group {
	group, table := free, operations()
	for _, n := range g.Nodes {
		if !within(n) && !slices.ContainsFunc(n.Args, within) {
			continue
		}
		grants := table[n.Op].grants
		if grants == nil {
			return Trivial
		}
		group = intersection(group, grants(g, s, n))
	}
	if group == free {
		return Permutation // more would be exact and gains nothing: only linear layers see the units
	}
	return group
}

// Readers returns the linear layers that read n, through carries, and whether
// nothing else does: then the gain of a norm n can be folded into them, and its
// bias where each has a bias of its own.
func (g *Graph) Readers(n *Node) (readers []*Node, foldable bool) {
	carried := map[*Node]bool{n: true}
	foldable = true
	for _, u := range g.Nodes[n.ID+1:] {
		for i, a := range u.Args {
			switch {
			case !carried[a]:
			case u.Op == Select || u.Op == Mean:
				carried[u] = true
			case u.Op == Linear && i == 0:
				readers = append(readers, u)
			default:
				foldable = false
			}
		}
	}
	return readers, foldable && len(readers) > 0
}

// readThroughNorms reports whether the layers outside a space see it through
// norms alone that remove the mean of the units.
func (g *Graph) readThroughNorms(s Space) bool {
	raw := map[*Node]bool{}
	for _, n := range s.Nodes {
		raw[n] = (n.Op != Norm || n.RMS) && !((n.Op == Select || n.Op == Mean) && !raw[n.Args[0]])
	}
	for _, n := range g.Nodes {
		switch n.Op {
		case Unembed, Linear, Norm:
			if raw[n.Args[0]] && (n.Op != Norm || n.RMS) {
				return false
			}
		case Output:
			if slices.ContainsFunc(n.Args, func(a *Node) bool { return raw[a] }) {
				return false
			}
		}
	}
	return true
}
