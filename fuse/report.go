package fuse

import (
	"time"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/ot"
)

// A Report says what a fusion did.
type Report struct {
	Nodes   []NodeReport // of every source in turn, nodes in order
	Seconds float64
}

// A NodeReport says what happened to the map at one node of one source.
type NodeReport struct {
	Source   int // index among the other models
	Name     string
	Flow     graph.Flow
	Tied     bool                  // shares the map of another node
	Cost     float64               // of a solved plan, per unit of mass
	Entropy  float64               // of the plan, nats
	Diagonal float64               // share of the plan's mass on its diagonal
	Warning  *ot.NotConvergedError // of a plan that was used as far as it got
	Duration time.Duration         // of finding the map and moving the parameters
	push     func() *mat.Dense     // nil for the identity, or where it was not kept
}

// Push returns the matrix [n × m] by which the node's outputs were carried, or
// nil for the identity, and for one that was not kept: see Settings.KeepMaps.
func (r NodeReport) Push() *mat.Dense {
	if r.push == nil {
		return nil
	}
	return r.push()
}
