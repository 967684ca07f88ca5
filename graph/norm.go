package graph

// Norm declares a layer normalisation with name.weight and name.bias [units].
func (b *Builder) Norm(name string, x *Node, eps float64) *Node {
	args := b.checkedArguments(name, x)
	x = args[0]
	return b.add(Node{Op: Norm, Name: name, Units: x.Units, Eps: eps, Args: args},
		Param{Name: name + ".weight", Role: RoleGain, Axes: []Axis{Gain}, Shape: []int{x.Units}},
		Param{Name: name + ".bias", Role: RoleBias, Axes: []Axis{Out}, Shape: []int{x.Units}})
}

// RMSNorm declares x / √(mean x² + eps), with the mean over the units, times
// name.weight [units] (Zhang and Sennrich, 2019).
func (b *Builder) RMSNorm(name string, x *Node, eps float64) *Node {
	args := b.checkedArguments(name, x)
	x = args[0]
	return b.add(Node{Op: Norm, Name: name, Units: x.Units, Eps: eps, RMS: true, Args: args},
		Param{Name: name + ".weight", Role: RoleGain, Axes: []Axis{Gain}, Shape: []int{x.Units}})
}

// HeadNorm declares an RMSNorm of each head by itself. All heads have the same gain,
// name.weight [units/heads], so what it holds is no factor of a single unit.
func (b *Builder) HeadNorm(name string, heads int, x *Node, eps float64) *Node {
	args := b.checkedArguments(name, x)
	x = args[0]
	if heads <= 0 || x.Units%heads != 0 {
		b.fail("norm %s: %d heads of %d units", name, heads, x.Units)
		heads = max(x.Units, 1)
	}
	return b.add(Node{Op: Norm, Name: name, Units: x.Units, Heads: heads, Eps: eps, RMS: true, Args: args},
		Param{Name: name + ".weight", Role: RoleGain, Axes: []Axis{Fixed}, Shape: []int{x.Units / heads}})
}
