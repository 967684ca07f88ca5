package htmlreport

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/cli"
)

// The grid of a section of the graph, in units of its view box.
const (
	flowWidth = 330
	flowLane  = 16 // at the right, for edges that skip nodes
	flowRow   = 58 // from one rank to the next
	boxHeight = 38
	boxMost   = 142 // width
	boxGap    = 8
)

// A flow is a flow graph cut into sections, one per block of the network, each
// small enough for a narrow screen.
type flow struct {
	Measures []measure
	Sections []section
}

type section struct {
	Title         string
	Width, Height int
	Boxes         []box
	Edges         []edge
}

// A box is a node. Values are those of the measures, in their order.
type box struct {
	X, Y, W, H        string
	MidX, TextY, SubY string
	Op, Name, Class   string
	Title             string
	Values            []value
}

type edge struct{ Path, Class string }

// layout cuts g into sections, ranks the nodes of each, and colours them by the
// means over the other models of what the report says of them.
func layout(g *graph.Graph, reported []cli.Node) *flow {
	m := newMeans(reported)
	f := &flow{Measures: m.measures()}
	for _, s := range cut(g) {
		f.Sections = append(f.Sections, place(s, m))
	}
	return f
}

// cut splits the nodes, in order, into runs of one block.
func cut(g *graph.Graph) [][]*graph.Node {
	var out [][]*graph.Node
	for i, n := range g.Nodes {
		if i == 0 || block(n.Name) != block(g.Nodes[i-1].Name) {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], n)
	}
	return out
}

// block is the part of a module's name that says which of many equal blocks it
// belongs to: up to its first number, if more follows.
func block(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts[:len(parts)-1] {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			return strings.Join(parts[:i+1], ".")
		}
	}
	return ""
}

// spot is where a node stands.
type spot struct {
	node    *graph.Node
	outside bool // belongs to another section
	rank    int
	x, w    float64
}

func (s spot) top() float64    { return float64(s.rank*flowRow) + 4 }
func (s spot) bottom() float64 { return s.top() + boxHeight }
func (s spot) mid() float64    { return s.x + s.w/2 }

// place lays out one section: nodes in rows by rank, edges between them, and
// along a lane at the right where they pass other nodes by.
func place(nodes []*graph.Node, m *means) section {
	spots := ranked(nodes)
	ranks := 0
	for _, s := range spots {
		ranks = max(ranks, s.rank+1)
	}
	for r := range ranks {
		arrange(slices.DeleteFunc(slices.Clone(spots), func(s *spot) bool { return s.rank != r }))
	}
	spotOf := map[*graph.Node]*spot{}
	for _, s := range spots {
		spotOf[s.node] = s
	}
	out := section{Title: title(nodes), Width: flowWidth, Height: ranks*flowRow - flowRow + boxHeight + 8}
	for _, s := range spots {
		out.Boxes = append(out.Boxes, s.box(spots, m))
		if s.outside {
			continue
		}
		for _, a := range s.node.Args {
			out.Edges = append(out.Edges, connect(*spotOf[a], *s))
		}
	}
	return out
}

func title(nodes []*graph.Node) string {
	b := block(nodes[0].Name)
	switch {
	case b != "":
		return b
	case nodes[0].ID == 0:
		return "from the input"
	case nodes[len(nodes)-1].Op == graph.Output:
		return "to the output"
	}
	return "between blocks"
}

// ranked gives every node of a section, and every node of another section that
// it reads, its rank: one more than what it reads, and where it reads nothing,
// one less than its first reader.
func ranked(nodes []*graph.Node) []*spot {
	var spots []*spot
	spotOf := map[*graph.Node]*spot{}
	inside := map[*graph.Node]bool{}
	for _, n := range nodes {
		inside[n] = true
	}
	for _, n := range nodes {
		for _, a := range n.Args {
			if !inside[a] && spotOf[a] == nil {
				spotOf[a] = &spot{node: a, outside: true}
				spots = append(spots, spotOf[a])
			}
		}
		spotOf[n] = &spot{node: n}
		spots = append(spots, spotOf[n])
		for _, a := range n.Args {
			spotOf[n].rank = max(spotOf[n].rank, spotOf[a].rank+1)
		}
	}
	first := map[*graph.Node]int{}
	for _, n := range nodes {
		for _, a := range n.Args {
			if r, ok := first[a]; !ok || spotOf[n].rank < r {
				first[a] = spotOf[n].rank
			}
		}
	}
	for _, s := range spots {
		if r, ok := first[s.node]; ok && (s.outside || len(s.node.Args) == 0) {
			s.rank = r - 1
		}
	}
	return spots
}

// arrange spreads the nodes of one rank over the width, in the order of the
// graph.
func arrange(row []*spot) {
	slices.SortFunc(row, func(a, b *spot) int { return cmp.Compare(a.node.ID, b.node.ID) })
	room := float64(flowWidth - 2*flowLane)
	w := min(boxMost, (room-float64(len(row)-1)*boxGap)/float64(len(row)))
	x := flowLane + (room-w*float64(len(row))-boxGap*float64(len(row)-1))/2
	for _, s := range row {
		s.x, s.w = x, w
		x += w + boxGap
	}
}

// connect draws the edge from one node to another that reads it; dashed where
// the map ends.
func connect(a, b spot) edge {
	class := "ends"
	n := b.node
	if n.Flow() == graph.Join || n.Flow() == graph.Carry && a.node == n.Carrier() {
		class = "carries"
	}
	if b.rank-a.rank <= 1 {
		y0, y1 := a.bottom(), b.top()
		return edge{fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", a.mid(), y0, a.mid(), y0+12, b.mid(), y1-12, b.mid(), y1), class}
	}
	x, lane := a.x+a.w, float64(flowWidth-5)
	y0, y1, end := a.top()+boxHeight/2, b.top()+boxHeight/2, b.x+b.w
	return edge{fmt.Sprintf("M%.1f %.1fH%.1fQ%.1f %.1f %.1f %.1fV%.1fQ%.1f %.1f %.1f %.1fH%.1f",
		x, y0, lane-8, lane, y0, lane, y0+8, y1-8, lane, y1, lane-8, y1, end), class}
}

func (s spot) box(all []*spot, m *means) box {
	n := s.node
	b := box{X: at(s.x), Y: at(s.top()), W: at(s.w), H: at(boxHeight), MidX: at(s.mid()), TextY: at(s.top() + 15), SubY: at(s.top() + 30),
		Op: n.Op.String(), Class: n.Flow().String()}
	b.Name = s.label(all)
	if most := int(s.w / 6.4); len(b.Name) > most {
		b.Name = "…" + b.Name[len(b.Name)-most+1:]
	}
	b.Title = fmt.Sprintf("%s %s: %s, %d units", n.Op, n.Name, n.Flow(), n.Units)
	if s.outside {
		b.Class = "outside"
		return b
	}
	b.Values = m.of(n)
	for _, v := range b.Values {
		if v.Text != "" {
			b.Title += fmt.Sprintf(", %s %s", v.Key, v.Text)
		}
	}
	return b
}

// label is what a box calls its node: within a block the end of the module's
// name, from the dot on that tells it from the others there and is followed by
// more than a number.
func (s spot) label(all []*spot) string {
	local := func(s spot) string {
		name := strings.TrimPrefix(s.node.Name, block(s.node.Name)+".")
		if s.outside {
			name = s.node.Name
		}
		return name
	}
	parts := strings.Split(local(s), ".")
	for i := len(parts) - 1; i > 0; i-- {
		tail := strings.Join(parts[i:], ".")
		alike := slices.ContainsFunc(all, func(o *spot) bool { return o.node != s.node && strings.HasSuffix("."+local(*o), "."+tail) })
		if !alike && strings.Trim(parts[i], "0123456789") != "" {
			return tail
		}
	}
	return local(s)
}
