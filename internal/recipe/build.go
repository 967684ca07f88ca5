package recipe

import (
	"strings"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/ot"
)

// TokenFilter returns the token filter of a resolved recipe.
func (r Recipe) TokenFilter() (align.Tokens, error) {
	if strings.HasPrefix(r.Tokens, "window:") {
		k, err := parseCount("tokens", r.Tokens, "window")
		return align.Window{Size: k}, err
	}
	if r.Tokens == "window" {
		return nil, checkAllowed("tokens", r.Tokens, "all", "cls", "window:K", "mean")
	}
	t, err := choose[align.Tokens]("tokens", r.Tokens, []string{"all", "cls", "mean"}, align.All{}, align.Lead{},
		align.Pool{})
	if err != nil {
		return nil, checkAllowed("tokens", r.Tokens, "all", "cls", "window:K", "mean")
	}
	return t, nil
}

// Trainers are what methods train by.
type Trainers struct {
	Learner   fuse.Learner   // of method learned, also as the start of a distillation
	Distiller fuse.Distiller // of method distil
}

// Build returns the method, nil for [Best], and the settings of package fuse for a
// resolved recipe, the latter without a calibration. The device is for a solver that is
// OnDevice.
func (r Recipe) Build(by Trainers, device *gomlx.Device) (fuse.Method, *fuse.Settings, error) {
	if r.Distils() {
		return r.distil(by, device)
	}
	transport, err := r.transport(device)
	if err != nil {
		return nil, nil, err
	}
	s := &fuse.Settings{Weights: r.Weights, Extrapolate: r.Beyond}
	if r.Refit > 0 && r.Method != Head {
		s.Refit = &fuse.Refit{Ridge: r.Refit}
	}
	if r.Method == Best {
		return nil, s, nil
	}
	matching := fuse.Matching{Mix: *r.Mix, Rounds: r.Rounds, Restarts: r.Restarts, Inexact: r.Inexact}
	if r.Solver == "sinkhorn" || r.OnDevice() {
		matching.Solver = r.entropic(device)
	}
	learned := matching
	learned.Learner = by.Learner
	m, err := choose[fuse.Method]("method", r.Method, untrained(),
		transport, fuse.Vanilla{}, matching, learned, fuse.Concatenation{Cut: matching}, fuse.Head{Ridge: r.Refit})
	return m, s, err
}

// OnDevice reports whether the solver runs on the device.
func (r Recipe) OnDevice() bool {
	a := r.Alignment()
	return a != nil && a.Solver == "sinkhorn-device"
}

// entropic returns the solver that regularises by entropy.
func (r Recipe) entropic(device *gomlx.Device) ot.Solver {
	if r.OnDevice() {
		return device.Sinkhorn(ot.Sinkhorn{Reg: r.Reg})
	}
	return ot.Sinkhorn{Reg: r.Reg}
}

// transport returns the method of the paper.
func (r Recipe) transport(device *gomlx.Device) (o fuse.Transport, err error) {
	features, err := r.features()
	if err != nil {
		return o, err
	}
	metric, err := choose[ot.Metric]("metric", r.Metric, []string{"euclidean", "sqeuclidean", "cosine"},
		ot.Euclidean{}, ot.SqEuclidean{}, ot.Cosine{})
	if err != nil {
		return o, err
	}
	scale, err := choose[ot.Scale]("scale", r.Scale, []string{"max", "mean", "median", "log", "none"},
		ot.ScaleMax{}, ot.ScaleMean{}, ot.ScaleMedian{}, ot.ScaleLog{}, nil)
	if err != nil {
		return o, err
	}
	if scale != nil {
		metric = ot.Scaled{Metric: metric, By: scale}
	}
	units := align.Units{Features: features, Metric: metric, Solver: r.entropic(device)}
	exact := units
	exact.Solver = ot.EMD{}
	aligners := []align.Aligner{exact, units, align.Widening{Units: units, Exact: ot.EMD{}}, units}
	solvers := []string{"emd", "sinkhorn", "widening", "sinkhorn-device"}
	if o.Aligner, err = choose("solver", r.Solver, solvers, aligners...); err != nil {
		return o, err
	}
	if err := checkAllowed("aligner", r.Aligner, "units", "heads"); err != nil {
		return o, err
	}
	if r.Aligner == "heads" {
		aligners := []align.Aligner{align.Heads{Units: exact}, align.Heads{Units: units}, align.Heads{Units: units}}
		solvers := []string{"emd", "sinkhorn", "sinkhorn-device"}
		if o.Aligner, err = choose("solver of aligner heads", r.Solver, solvers, aligners...); err != nil {
			return o, err
		}
	}
	if o.Residual, err = choose("residual", r.Residual,
		[]string{"main", "skip", "identity", "average", "weighted-scalar", "weighted-matrix"}, policies()...); err != nil {
		return o, err
	}
	o.QK, err = choose("qk", r.QK, []string{"separate", "shared", "joint"}, fuse.Separate, fuse.Shared, fuse.Joint)
	return o, err
}

// policies lists the residual policies.
func policies() []graph.Policy {
	return []graph.Policy{graph.Main{}, graph.Skip{}, graph.Identity{}, graph.Average{}, graph.WeightedScalar{},
		graph.WeightedMatrix{}}
}

// features returns what units are compared by.
func (r Recipe) features() (align.Features, error) {
	preps := []align.Prep{}
	for _, s := range r.Prep {
		if strings.HasPrefix(s, "pca:") {
			k, err := parseCount("prep", s, "pca")
			if err != nil {
				return nil, err
			}
			preps = append(preps, align.PCA{K: k})
			continue
		}
		p, err := choose[align.Prep]("prep", s, []string{"center", "standardize", "unit-norm"},
			align.Center{}, align.Standardize{}, align.UnitNorm{})
		if err != nil {
			return nil, checkAllowed("prep", s, "center", "standardize", "unit-norm", "pca:K")
		}
		preps = append(preps, p)
	}
	return choose[align.Features]("features", r.Features, []string{"activations", "weights"},
		align.Activations{Prep: preps}, align.Weights{Prep: preps})
}
