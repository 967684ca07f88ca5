package lab

import (
	"context"
	"fmt"
	"time"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// Trial is one way to fuse: a recipe under the label of its row.
type Trial struct {
	Label  string        `json:"label"`
	Recipe recipe.Recipe `json:"recipe"`
	// learned matching sees all training samples with labels, else the calibration samples without
	Labels bool `json:"labels,omitempty"`
	Mixed  bool `json:"mixed,omitempty"`  // it, or a distillation, sees the calibration samples laid over each other
	All    bool `json:"all,omitempty"`    // it, or a distillation, sees all training samples without labels
	Untied bool `json:"untied,omitempty"` // the parents' logits get a layer of their own before
	Shown  bool `json:"-"`                // its line is drawn and its maps are shown
}

// parents returns the models that the trial fuses.
func (t Trial) parents(group []*models.Model) ([]*models.Model, error) {
	if !t.Untied {
		return group, nil
	}
	out := make([]*models.Model, len(group))
	for i, m := range group {
		var err error
		if out[i], err = models.Untie(m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Resolved returns the trial with all that its recipe leaves out.
func (t Trial) Resolved() (Trial, error) {
	var err error
	t.Recipe, err = t.Recipe.Resolve(recipe.Calibrated)
	return t, err
}

// seen says what a fusion by the resolved trial takes beside the models.
func (t Trial) seen(samples int, unit string) string {
	r := t.Recipe
	if !r.UsesSamples() {
		return ""
	}
	text := fmt.Sprintf("%d %s", samples, unit)
	if r.Learns() {
		text += t.updates(*r.Alignment(), samples-r.Alignment().HeldOutOf(samples))
	}
	if r.Distils() {
		t.Labels = false // they are those of learned matching
		text += t.updates(r, samples-r.HeldOutOf(samples))
	}
	return text
}

// updates says in words which updates a recipe makes, of how many samples.
func (t Trial) updates(r recipe.Recipe, samples int) string {
	switch {
	case t.Labels:
		return fmt.Sprintf("; %d updates of %d with labels", r.Steps, r.Batch)
	case t.All:
		return fmt.Sprintf("; %d updates of %d without labels", r.Steps, r.Batch)
	}
	return fmt.Sprintf("; %d updates of %d of them", r.Steps, min(r.Batch, samples))
}

// Attempt is what one fusion takes.
type Attempt struct {
	Device  *gomlx.Device
	Task    Task            // that has accepted the parents
	Parents []*models.Model // the anchor first
	Trial   Trial           // resolved
	Samples []int           // training samples to align on
	Seed    uint64          // of the batches of learned matching

	Method   fuse.Method           // in place of that of the recipe; nil for that
	KeepMaps bool                  // the report keeps the maps of all nodes
	Profile  bool                  // the parts of the fusion are timed, see [Stages]
	Observe  func(models.Progress) // told of each update of learned matching; nil for a progress bar
	State    string                // begins the names of the files that trainings resume from; empty for none
}

// Fusion is what came of an attempt.
type Fusion struct {
	Model   *models.Model
	Aligned *fuse.Aligned
	Report  *fuse.Report
	Stages  Stages
	Seconds float64
}

// Stages is what a fusion took, in seconds.
type Stages struct {
	Compile float64 `json:"compile"` // of all runs, not counted below
	Collect float64 `json:"calibration"`
	Costs   float64 `json:"features_and_costs"`
	Plans   float64 `json:"plans"`
	Rest    float64 `json:"rest"` // under matching all but calibration
	meter.Usage
}

// Fuse makes the fusion: others are aligned with the anchor, their mean is taken
// and, where the recipe says so, refitted.
func (a Attempt) Fuse(ctx context.Context) (*Fusion, error) {
	method, settings, err := a.method(ctx)
	if err != nil {
		return nil, err
	}
	var spent meter.Stages
	if a.Profile {
		method, settings = spent.Watch(method, *settings)
		meter.Settle()
	}
	started, used := time.Now(), meter.Start()
	out := &Fusion{}
	if err := out.fuse(ctx, a.Parents, method, settings); err != nil {
		return nil, err
	}
	out.Seconds = time.Since(started).Seconds()
	u := used.Read()
	out.Stages = Stages{Collect: spent.Collect.Seconds(), Costs: (spent.Align - spent.Solve).Seconds(),
		Plans: spent.Solve.Seconds(),
		Rest:  u.Seconds - (spent.Collect + spent.Align).Seconds(), Usage: u}
	return out, nil
}

// FuseAligned is fuse.Into that keeps the aligned models too.
func FuseAligned(ctx context.Context, parents []*models.Model, m fuse.Method, s *fuse.Settings) (*Fusion, error) {
	started, out := time.Now(), &Fusion{}
	if err := out.fuse(ctx, parents, m, s); err != nil {
		return nil, err
	}
	out.Seconds = time.Since(started).Seconds()
	return out, nil
}

// fuse aligns, averages, refits and trains as fuse.Into does.
func (f *Fusion) fuse(ctx context.Context, parents []*models.Model, m fuse.Method, s *fuse.Settings) (err error) {
	if m == nil { // what was chosen is aligned once more, to be looked at
		if f.Model, f.Report, err = fuse.Into(ctx, parents[0], parents[1:], nil, s); err != nil {
			return err
		}
		f.Aligned, _, err = fuse.Align(ctx, parents[0], parents[1:], f.Report.Method, s)
		return err
	}
	if f.Aligned, f.Report, err = fuse.Align(ctx, parents[0], parents[1:], m, s); err != nil {
		return err
	}
	mean := func() (*models.Model, error) { return f.Aligned.Mean(s.Weights) }
	f.Model, err = interruptible.Value(ctx, mean)
	if err == nil && s.Refit != nil {
		f.Model, err = s.Refit.Fit(ctx, f.Model, f.Aligned, s)
	}
	if distil, ok := m.(fuse.Distil); ok && err == nil {
		f.Model, err = distil.Train(ctx, f.Model, parents, s)
	}
	return err
}

// method returns the method and the settings of the recipe, with the samples that
// it collects activations on and the learner that it refines maps by.
func (a Attempt) method(ctx context.Context) (fuse.Method, *fuse.Settings, error) {
	samples, err := a.Task.Samples(a.Samples)
	if err != nil {
		return nil, nil, err
	}
	var by recipe.Trainers
	if by.Learner, err = a.learner(); err != nil {
		return nil, nil, err
	}
	if by.Distiller, err = a.distiller(); err != nil {
		return nil, nil, err
	}
	method, settings, err := a.Trial.Recipe.Build(by, a.Device)
	if err != nil {
		return nil, nil, err
	}
	if a.Method != nil {
		method = a.Method
	}
	settings.KeepMaps = a.KeepMaps
	settings.Calibration, err = a.Trial.Recipe.Calibration(ctx, a.Device, samples, a.Parents...)
	return method, settings, err
}
