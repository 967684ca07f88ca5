package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// growthUpdates is the number of updates that are timed, after one that
// compiles.
const growthUpdates = 15

// growthTable is a table of times and memory, which do not need trained parents.
func growthTable() table {
	trials := slices.Concat([]lab.Trial{vanilla(), weights(), activations()}, matching(), []lab.Trial{refitted(vanilla())})
	return table{name: "growth", title: "How time and memory grow with width and depth, random weights",
		parents: sizedPairs, trials: trials, profiled: true, make: (*study).growth}
}

// sizedPairs are pairs of random networks of half, once and twice a width and a depth
// near those of the main ones, all with heads of the same width.
func sizedPairs(s scale) (out [][]kind) {
	width, depth := s.Main.Width*3/2, 2*max(s.Main.Depth/2, 1)
	for _, by := range [][2]int{{width / 2, depth}, {width, depth}, {2 * width, depth}, {width, depth / 2},
		{width, 2 * depth}} {
		k := kind{Net: s.Main.Net}
		k.Width, k.Depth, k.Heads = by[0], by[1], by[0]*s.Main.Heads/s.Main.Width
		out = append(out, []kind{k.seed(0), k.seed(1)})
	}
	return out
}

// sizeUsage is what something took at a size.
type sizeUsage struct {
	Width int `json:"width"`
	Depth int `json:"depth"`
	meter.Usage
}

// beyondHeld is the memory that was taken beside what was held before, in MiB; nil
// where the system does not tell.
func (z sizeUsage) beyondHeld() *float64 {
	if z.PeakMiB == nil || z.HeldMiB == nil {
		return nil
	}
	mib := *z.PeakMiB - *z.HeldMiB
	return &mib
}

// exponents says how something grows: as width^Width · depth^Depth, by least
// squares of logarithms.
type exponents struct {
	Width float64 `json:"width"`
	Depth float64 `json:"depth"`
}

// fitExponents fits exponents to what get tells of sizes. It returns nil where that is not
// positive or the sizes do not differ enough.
func fitExponents(sizes []sizeUsage, get func(sizeUsage) *float64) *exponents {
	x, y := mat.NewDense(max(len(sizes), 1), 3, nil), mat.NewVecDense(max(len(sizes), 1), nil)
	for i, z := range sizes {
		v := get(z)
		if v == nil || !(*v > 0) {
			return nil
		}
		x.SetRow(i, []float64{1, math.Log(float64(z.Width)), math.Log(float64(z.Depth))})
		y.SetVec(i, math.Log(*v))
	}
	var fit mat.VecDense
	if len(sizes) < 3 || fit.SolveVec(x, y) != nil {
		return nil
	}
	return &exponents{fit.AtVec(1), fit.AtVec(2)}
}

// growth measures every trial at every size, then an update of learned matching
// and one of finetuning on batches of the same size.
func (s *study) growth(ctx context.Context) error {
	s.result.Samples = 0 // nothing is scored
	learned := lab.Trial{Label: "an update of learned matching",
		Recipe: recipe.Recipe{Method: recipe.Learned, Rounds: 1, Steps: 1 + growthUpdates,
			Batch: min(128, s.scale.Tune.Batch)}}
	for _, t := range s.table.trials {
		if err := s.everySize(ctx, t, s.oneFusion); err != nil {
			return err
		}
	}
	if err := s.everySize(ctx, learned, s.oneLearning); err != nil {
		return err
	}
	config := gomlx.TrainConfig{Steps: 1 + growthUpdates, LR: s.scale.Tune.LR}
	row := report.Row{Method: report.Parent, Label: "an update of finetuning", Options: config}
	return s.addSizes(row, func(g []*models.Model) (meter.Usage, error) {
		return s.oneFinetuning(ctx, config, learned.Recipe.Batch, g[0])
	})
}

// everySize adds a row of what a trial takes at every size.
func (s *study) everySize(ctx context.Context, t lab.Trial, measure func(context.Context, lab.Attempt) (meter.Usage,
	error)) error {
	t, err := t.Resolved()
	if err != nil {
		return err
	}
	row := report.Row{Method: t.Recipe.Method, Label: t.Label, Options: t.Recipe}
	return s.addSizes(row, func(g []*models.Model) (meter.Usage, error) { return measure(ctx, s.attempt(t, g)) })
}

// addSizes adds a row that is measured on the parents of every size, on a device
// that holds no compiled graphs.
func (s *study) addSizes(r report.Row, measure func(parents []*models.Model) (meter.Usage, error)) error {
	x := row{Row: r}
	for _, g := range s.groups {
		err := s.device.FreePrograms()
		var u meter.Usage
		if err == nil {
			u, err = measure(g)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.Label, err)
		}
		z := sizeUsage{g[0].Dims().Width, g[0].Dims().Depth, u}
		x.Sizes = append(x.Sizes, z)
		cli.Notice("%-28s %4d wide, %2d deep: %s", r.Label, z.Width, z.Depth, z)
	}
	x.Time = fitExponents(x.Sizes, func(z sizeUsage) *float64 { return &z.Seconds })
	x.Memory = fitExponents(x.Sizes, sizeUsage.beyondHeld)
	s.result.Rows = append(s.result.Rows, x)
	return nil
}

// oneFusion measures a fusion once all that it takes is compiled.
func (s *study) oneFusion(ctx context.Context, a lab.Attempt) (meter.Usage, error) {
	first := a
	first.Trial.Recipe.Rounds = 1
	if _, err := first.Fuse(ctx); err != nil {
		return meter.Usage{}, err
	}
	f, err := a.Fuse(ctx)
	if err != nil {
		return meter.Usage{}, err
	}
	return f.Stages.Usage, nil
}

// updateMeter measures updates after the first one, which compiles.
type updateMeter struct {
	held    *float64 // before all of them
	meter   meter.Meter
	updates int
}

func newUpdateMeter() *updateMeter {
	meter.Settle()
	return &updateMeter{held: meter.Held()}
}

// count is called after every update.
func (u *updateMeter) count() {
	if u.updates == 0 {
		u.meter = meter.Start()
	}
	u.updates++
}

// read returns what one update took and what all together held.
func (u *updateMeter) read() meter.Usage {
	used := u.meter.Read()
	used.Seconds /= float64(u.updates - 1)
	if used.CPU != nil {
		*used.CPU /= float64(u.updates - 1)
	}
	used.HeldMiB = u.held
	return used
}

// oneLearning measures an update of learned matching.
func (s *study) oneLearning(ctx context.Context, a lab.Attempt) (used meter.Usage, err error) {
	u := newUpdateMeter()
	a.Profile = false
	a.Observe = func(p models.Progress) {
		if u.count(); p.Done == p.Total {
			used = u.read()
		}
	}
	_, err = a.Fuse(ctx)
	return used, err
}

// oneFinetuning measures an update of finetuning.
func (s *study) oneFinetuning(ctx context.Context, c gomlx.TrainConfig, size int,
	m *models.Model) (meter.Usage, error) {
	u := newUpdateMeter()
	t, err := s.device.Trainer(m, c)
	if err != nil {
		return meter.Usage{}, err
	}
	defer t.Close()
	batches := lab.TuneBatches(s.task, size, 0)
	for step := range c.Steps {
		b, err := batches.At(step)
		if err != nil {
			return meter.Usage{}, err
		}
		if _, err := t.Update(ctx, b); err != nil {
			return meter.Usage{}, err
		}
		u.count()
	}
	return u.read(), nil
}

// String is a cell of a table.
func (z sizeUsage) String() string {
	text := fmt.Sprintf("%.3f s", z.Seconds)
	if mib := z.beyondHeld(); mib != nil {
		text += fmt.Sprintf(", %.0f MiB", *mib)
	}
	return text
}

// sizeColumns are those of sizes and of how rows grow over them.
func (r *result) sizeColumns() (out []report.Column[row]) {
	if len(r.Rows) == 0 || len(r.Rows[0].Sizes) == 0 {
		return nil
	}
	for k, z := range r.Rows[0].Sizes {
		out = append(out, column(fmt.Sprintf("%d wide, %d deep", z.Width, z.Depth),
			func(x row) string { return x.Sizes[k].String() }))
	}
	exponent := func(get func(row) *exponents, of func(exponents) float64) func(row) string {
		return func(x row) string {
			if e := get(x); e != nil {
				return fmt.Sprintf("%.1f", of(*e))
			}
			return ""
		}
	}
	time, memory := func(x row) *exponents { return x.Time }, func(x row) *exponents { return x.Memory }
	width, depth := func(e exponents) float64 { return e.Width }, func(e exponents) float64 { return e.Depth }
	return append(out, column("time, exponent of width", exponent(time, width)), column("of depth", exponent(time, depth)),
		column("memory, exponent of width", exponent(memory, width)), column("of depth", exponent(memory, depth)))
}
