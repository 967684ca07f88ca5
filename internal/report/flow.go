package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
)

// The grid of a section of the graph, in units of its view box.
const (
	flowWidth = 330
	flowLane  = 16 // at the right, for edges that skip nodes
	flowRow   = 58 // from one rank to the next
	boxHeight = 38
	boxWidth  = 154 // at most
	boxGap    = 8
)

// flowChart is a flow graph cut into sections, one per block of the network, each
// small enough for a narrow screen.
type flowChart struct {
	Measures []nodeMeasure
	Sections []section
}

type section struct {
	Title         string
	Width, Height int
	Boxes         []box
	Edges         []edge
}

// box is a node. Values are those of the measures, in their order.
type box struct {
	X, Y, W, H        string
	MidX, TextY, SubY string
	Op, Name, Class   string
	Title             string
	Values            []nodeValue
}

type edge struct{ Path, Class string }

// newFlowChart cuts g into sections, ranks the nodes of each, and colours them by the
// means over the other models of what the report says of them.
func newFlowChart(g *graph.Graph, reported []fuse.NodeReport) *flowChart {
	m := newNodeMeans(reported)
	f := &flowChart{Measures: m.measures()}
	for _, s := range blocks(g) {
		f.Sections = append(f.Sections, newSection(s, m))
	}
	return f
}

// blocks splits the nodes, in order, into runs of one block.
func blocks(g *graph.Graph) [][]*graph.Node {
	var out [][]*graph.Node
	for i, n := range g.Nodes {
		if i == 0 || blockName(n.Name) != blockName(g.Nodes[i-1].Name) {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], n)
	}
	return out
}

// blockName is the part of a module's name that says which of many equal blocks it
// belongs to: up to its first number, if more follows.
func blockName(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts[:len(parts)-1] {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			return strings.Join(parts[:i+1], ".")
		}
	}
	return ""
}

// position is where a node stands.
type position struct {
	node    *graph.Node
	outside bool // belongs to another section
	rank    int
	x, w    float64
}

func (s position) top() float64    { return float64(s.rank*flowRow) + 4 }
func (s position) bottom() float64 { return s.top() + boxHeight }
func (s position) middle() float64 { return s.x + s.w/2 }

// newSection lays out one section: nodes in rows by rank, edges between them, and
// along a lane at the right where they pass other nodes by.
func newSection(nodes []*graph.Node, m *nodeMeans) section {
	positions := rankNodes(nodes)
	ranks := 0
	for _, s := range positions {
		ranks = max(ranks, s.rank+1)
	}
	for r := range ranks {
		spreadOut(slices.DeleteFunc(slices.Clone(positions), func(s *position) bool { return s.rank != r }))
	}
	positionOf := map[*graph.Node]*position{}
	for _, s := range positions {
		positionOf[s.node] = s
	}
	out := section{Title: sectionTitle(nodes), Width: flowWidth, Height: ranks*flowRow - flowRow + boxHeight + 8}
	for _, s := range positions {
		out.Boxes = append(out.Boxes, s.box(positions, m))
		if s.outside {
			continue
		}
		for _, a := range s.node.Args {
			out.Edges = append(out.Edges, connect(*positionOf[a], *s))
		}
	}
	return out
}

func sectionTitle(nodes []*graph.Node) string {
	b := blockName(nodes[0].Name)
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

// rankNodes gives every node of a section, and every node of another section that
// it reads, its rank: one more than what it reads, and where it reads nothing,
// one less than its first reader.
func rankNodes(nodes []*graph.Node) []*position {
	var positions []*position
	positionOf := map[*graph.Node]*position{}
	inside := map[*graph.Node]bool{}
	for _, n := range nodes {
		inside[n] = true
	}
	for _, n := range nodes {
		for _, a := range n.Args {
			if !inside[a] && positionOf[a] == nil {
				positionOf[a] = &position{node: a, outside: true}
				positions = append(positions, positionOf[a])
			}
		}
		positionOf[n] = &position{node: n}
		positions = append(positions, positionOf[n])
		for _, a := range n.Args {
			positionOf[n].rank = max(positionOf[n].rank, positionOf[a].rank+1)
		}
	}
	first := map[*graph.Node]int{}
	for _, n := range nodes {
		for _, a := range n.Args {
			if r, ok := first[a]; !ok || positionOf[n].rank < r {
				first[a] = positionOf[n].rank
			}
		}
	}
	for _, s := range positions {
		if r, ok := first[s.node]; ok && (s.outside || len(s.node.Args) == 0) {
			s.rank = r - 1
		}
	}
	return positions
}

// spreadOut spreads the nodes of one rank over the width, in the order of the
// graph.
func spreadOut(row []*position) {
	slices.SortFunc(row, func(a, b *position) int { return cmp.Compare(a.node.ID, b.node.ID) })
	room := float64(flowWidth - 2*flowLane)
	w := min(boxWidth, (room-float64(len(row)-1)*boxGap)/float64(len(row)))
	x := flowLane + (room-w*float64(len(row))-boxGap*float64(len(row)-1))/2
	for _, s := range row {
		s.x, s.w = x, w
		x += w + boxGap
	}
}

// connect draws the edge from one node to another that reads it; dashed where
// the map ends.
func connect(a, b position) edge {
	class := "ends"
	n := b.node
	if n.Flow() == graph.Join || n.Flow() == graph.Carry && a.node == n.Carrier() {
		class = "carries"
	}
	if b.rank-a.rank <= 1 {
		y0, y1 := a.bottom(), b.top()
		return edge{fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", a.middle(), y0, a.middle(), y0+12, b.middle(),
			y1-12, b.middle(), y1), class}
	}
	x, lane := a.x+a.w, float64(flowWidth-5)
	y0, y1, end := a.top()+boxHeight/2, b.top()+boxHeight/2, b.x+b.w
	return edge{fmt.Sprintf("M%.1f %.1fH%.1fQ%.1f %.1f %.1f %.1fV%.1fQ%.1f %.1f %.1f %.1fH%.1f",
		x, y0, lane-8, lane, y0, lane, y0+8, y1-8, lane, y1, lane-8, y1, end), class}
}

func (s position) box(all []*position, m *nodeMeans) box {
	n := s.node
	b := box{X: coordinate(s.x), Y: coordinate(s.top()), W: coordinate(s.w), H: coordinate(boxHeight),
		MidX: coordinate(s.middle()), TextY: coordinate(s.top() + 15), SubY: coordinate(s.top() + 30),
		Op: n.Op.String(), Class: n.Flow().String()}
	b.Name = shorten(s.label(all), int(s.w/6.9))
	b.Title = fmt.Sprintf("%s %s: %s, %d units", n.Op, n.Name, n.Flow(), n.Units)
	if s.outside {
		b.Class = "outside"
		return b
	}
	b.Values = m.values(n)
	for _, v := range b.Values {
		if v.Text != "" {
			b.Title += fmt.Sprintf(", %s %s", v.Key, v.Text)
		}
	}
	return b
}

// shorten returns as much of a name as there is room for: the end of one with dots, the
// start of another.
func shorten(name string, room int) string {
	switch {
	case len(name) <= room:
		return name
	case strings.Contains(name, "."):
		return "…" + name[len(name)-room+1:]
	}
	return name[:room-1] + "…"
}

// label is what a box calls its node: within a block the end of the module's
// name, from the dot on that tells it from the others there and is followed by
// more than a number.
func (s position) label(all []*position) string {
	local := func(s position) string {
		name := strings.TrimPrefix(s.node.Name, blockName(s.node.Name)+".")
		if s.outside {
			name = s.node.Name
		}
		return name
	}
	parts := strings.Split(local(s), ".")
	for i := len(parts) - 1; i > 0; i-- {
		tail := strings.Join(parts[i:], ".")
		alike := slices.ContainsFunc(all, func(o *position) bool {
			return o.node != s.node &&
				strings.HasSuffix("."+local(*o), "."+tail)
		})
		if !alike && strings.Trim(parts[i], "0123456789") != "" {
			return tail
		}
	}
	return local(s)
}
