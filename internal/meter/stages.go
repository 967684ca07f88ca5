package meter

import (
	"context"
	"time"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// Stages is the time that the parts of fusions took.
type Stages struct {
	Collect time.Duration // calibration
	Align   time.Duration // features, costs and plans
	Solve   time.Duration // plans
}

// Watch returns the method and the settings of a fusion so changed that its
// calibration and its aligner tell s what they take. Plans are told apart under
// [align.Units] only.
func (s *Stages) Watch(m fuse.Method, set fuse.Settings) (fuse.Method, *fuse.Settings) {
	if set.Calibration != nil {
		set.Calibration = timedCalibration{set.Calibration, &s.Collect}
	}
	t, ok := m.(fuse.Transport)
	if !ok {
		return m, &set
	}
	if u, ok := t.Aligner.(align.Units); ok {
		u.Solver = timedSolver{u.Solver, &s.Solve}
		t.Aligner = u
	}
	t.Aligner = timedAligner{t.Aligner, &s.Align}
	return t, &set
}

// addSince adds the time from started to spent.
func addSince(started time.Time, spent *time.Duration) { *spent += time.Since(started) }

type timedAligner struct {
	align.Aligner
	spent *time.Duration
}

func (t timedAligner) Align(ctx context.Context, sites ...align.Site) (align.Result, error) {
	defer addSince(time.Now(), t.spent)
	return t.Aligner.Align(ctx, sites...)
}

type timedSolver struct {
	ot.Solver
	spent *time.Duration
}

func (t timedSolver) Solve(ctx context.Context, p ot.Problem) (ot.Plan, error) {
	defer addSince(time.Now(), t.spent)
	return t.Solver.Solve(ctx, p)
}

type timedCalibration struct {
	fuse.Calibration
	spent *time.Duration
}

func (t timedCalibration) Collect(ctx context.Context, src, anchor *models.Model,
	want align.Request) (*align.Statistics, error) {
	defer addSince(time.Now(), t.spent)
	return t.Calibration.Collect(ctx, src, anchor, want)
}
