package graph

import (
	"fmt"
	"strings"
)

// String prints g, one node a line: its number, operation, arguments, flow,
// width and name.
func (g *Graph) String() string {
	var b strings.Builder
	for _, n := range g.Nodes {
		args := make([]string, len(n.Args))
		for i, a := range n.Args {
			args[i] = fmt.Sprintf("t%d", a.ID)
		}
		note := n.Flow().String()
		if n.Tie != nil {
			note += fmt.Sprintf("=t%d", n.Tie.ID)
		}
		if n.narrow {
			note += " narrow"
		}
		line := fmt.Sprintf("t%-3d = %-7s %-14s %-13s %5d  %s", n.ID, n.Op, strings.Join(args, " "), note, n.Units, n.Name)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// Dot draws g in the language of Graphviz, the way the paper draws its flow
// graphs: maps flow along the solid arrows and end at the dashed ones.
func (g *Graph) Dot() string {
	var b strings.Builder
	b.WriteString("digraph flow {\n\trankdir=BT;\n\tnode [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\"];\n")
	fill := map[Flow]string{Fix: "#eeeeee", Solve: "#cfe8ff", Carry: "#ffffff", Join: "#ffe2b8"}
	for _, n := range g.Nodes {
		fmt.Fprintf(&b, "\tt%d [label=%q, fillcolor=%q];\n", n.ID, n.Op.String()+"\n"+n.Name, fill[n.Flow()])
		for i, a := range n.Args {
			style := "solid"
			if n.Flow() == Solve || n.Flow() == Fix || n.Flow() == Carry && a != n.Carrier() || n.Op == Attend && i < 2 {
				style = "dashed"
			}
			fmt.Fprintf(&b, "\tt%d -> t%d [style=%s];\n", a.ID, n.ID, style)
		}
		if n.Tie != nil {
			fmt.Fprintf(&b, "\tt%d -> t%d [style=dotted, constraint=false];\n", n.Tie.ID, n.ID)
		}
	}
	b.WriteString("}\n")
	return b.String()
}
