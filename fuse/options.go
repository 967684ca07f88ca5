package fuse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
	"gonum.org/v1/gonum/mat"
)

// QK says how the queries and keys of an attention layer are aligned.
type QK uint8

// The modes.
const (
	Separate QK = iota // one plan for each
	Shared             // one plan found from both
	Joint              // one plan over the units of both, stacked
)

// A Calibration collects statistics of activations. models/gomlx has one.
type Calibration interface {
	Collect(ctx context.Context, src, anchor *models.Model, want align.Want) (*align.Stats, error)
}

// Options says how models are fused. The zero value, and a nil *Options, is the
// paper's recipe on weights: unit-norm rows, Euclidean cost over its maximum,
// Sinkhorn with reg 0.06, residuals averaged.
type Options struct {
	Aligner     align.Aligner
	Residual    graph.Policy // nil means graph.Average
	QK          QK
	Weights     []float64        // of the anchor, then of each other model; sum 1; nil means equal
	Calibration Calibration      // for aligners and policies that need activations
	Matching    *Matching        // by exact symmetries, instead of Aligner, Residual and QK; may be nil
	Ridge       float64          // of a [Refit] after the mean; 0 for none
	Maps        bool             // the report keeps every [NodeReport.Push], units² each; else Observe alone sees them
	Observe     func(NodeReport) // called after each node; may be nil
}

// OnWeights is the paper's recipe without data.
func OnWeights() align.Aligner {
	return align.Units{Features: align.Weights{Prep: []align.Prep{align.UnitNorm{}}},
		Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}, Solver: ot.Sinkhorn{Reg: 0.06}}
}

// OnActivations is the paper's recipe with calibration data.
func OnActivations() align.Aligner {
	return align.Units{Features: align.Activations{Prep: []align.Prep{align.Standardize{}}},
		Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}, Solver: ot.Sinkhorn{Reg: 0.08}}
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Aligner == nil {
		c.Aligner = OnWeights()
	}
	if c.Residual == nil {
		c.Residual = graph.Average{}
	}
	if c.Observe == nil {
		c.Observe = func(NodeReport) {}
	}
	return c
}

// observed tells of a node and returns what the report keeps of it.
func (o Options) observed(r NodeReport) NodeReport {
	o.Observe(r)
	if !o.Maps {
		r.push = nil
	}
	return r
}

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
// nil for the identity, and for one that was not kept: see Options.Maps.
func (r NodeReport) Push() *mat.Dense {
	if r.push == nil {
		return nil
	}
	return r.push()
}

// ErrWeights reports weights that are no convex weights of the models.
var ErrWeights = errors.New("weights must be finite, one for each model, and sum to 1")

// shares returns the weights of n models.
func shares(w []float64, n int) ([]float64, error) {
	if w == nil {
		w = make([]float64, n)
		for i := range w {
			w[i] = 1 / float64(n)
		}
	}
	var sum float64
	for _, v := range w {
		sum += v
	}
	if len(w) != n || !(math.Abs(sum-1) <= 1e-6) {
		return nil, fmt.Errorf("fuse: weights %v for %d models: %w", w, n, ErrWeights)
	}
	return w, nil
}

// A MismatchError reports models whose graphs do not correspond.
type MismatchError struct {
	What           string // such as "depth" or the name of a node
	Source, Anchor string
}

// Error implements error.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("fuse: %s differs: the source has %s, the anchor has %s", e.What, e.Source, e.Anchor)
}

// Check reports models that cannot be fused, as a [*MismatchError]: their graphs
// must match node by node, and they must agree along every axis that is not
// transported.
func Check(src, anchor *models.Model) error {
	if src.Arch.Class != anchor.Arch.Class {
		return &MismatchError{"architecture", src.Arch.Class, anchor.Arch.Class}
	}
	if a, b := src.Dims().Depth, anchor.Dims().Depth; a != b {
		return &MismatchError{"depth", fmt.Sprintf("%d layers", a), fmt.Sprintf("%d layers", b)}
	}
	if a, b := len(src.Graph.Nodes), len(anchor.Graph.Nodes); a != b {
		return &MismatchError{"size", fmt.Sprintf("%d nodes", a), fmt.Sprintf("%d nodes", b)}
	}
	for i, s := range src.Graph.Nodes {
		a := anchor.Graph.Nodes[i]
		if s.Op != a.Op || s.Name != a.Name || s.Fn != a.Fn {
			return &MismatchError{"node " + fmt.Sprint(i), fmt.Sprint(s.Op, " ", s.Name, " ", s.Fn), fmt.Sprint(a.Op, " ", a.Name, " ", a.Fn)}
		}
		if x, y := len(s.Params), len(a.Params); x != y {
			return &MismatchError{fmt.Sprint("number of tensors of ", s.Op, " ", s.Name), fmt.Sprint(x), fmt.Sprint(y)}
		}
		for k, p := range s.Params {
			for x, axis := range p.Axes {
				pinned := axis == graph.Fixed || axis == graph.Out && s.Flow() == graph.Fix
				if pinned && p.Shape[x] != a.Params[k].Shape[x] {
					return &MismatchError{fmt.Sprintf("axis %d of tensor %q", x, p.Name), fmt.Sprint(p.Shape), fmt.Sprint(a.Params[k].Shape)}
				}
			}
		}
	}
	return nil
}
