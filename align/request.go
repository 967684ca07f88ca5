package align

import "github.com/otfuse/otfuse/graph"

// Request says what a calibration pass is to collect. Nodes are those of the
// anchor's graph; the source has the same ones under the same IDs.
type Request struct {
	Sites      [][]*graph.Node // nodes whose moments are wanted, units of one site stacked
	Magnitudes []*graph.Node   // nodes whose mean |activation| in the anchor is wanted
	Self       bool            // with Moments.Self
}

// Statistics is what a calibration pass collected.
type Statistics struct {
	Moments    []*Moments        // one for each of Request.Sites
	Magnitudes map[int][]float64 // mean |activation| of each unit by node ID
}
