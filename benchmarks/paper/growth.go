package main

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// growthUpdates is the number of updates that are timed, after one that
// compiles.
const growthUpdates = 15

// theGrowth is a table of times and memory, which do not need trained parents.
func theGrowth() table {
	trials := join([]trial{vanilla(), weights(), activations()}, matching(), []trial{vanilla().refitted()})
	return table{name: "growth", title: "How time and memory grow with width and depth, random weights", parents: sizes, trials: trials,
		profiled: true, make: (*study).growth}
}

// sizes are pairs of random networks of half, once and twice a width and a depth
// near those of the main ones, all with heads of the same width.
func sizes(s scale) (out [][]kind) {
	width, depth := s.Main.Width*3/2, 2*max(s.Main.Depth/2, 1)
	for _, by := range [][2]int{{width / 2, depth}, {width, depth}, {2 * width, depth}, {width, depth / 2}, {width, 2 * depth}} {
		k := kind{Net: s.Main.Net}
		k.Width, k.Depth, k.Heads = by[0], by[1], by[0]*s.Main.Heads/s.Main.Width
		out = append(out, []kind{k.seed(0), k.seed(1)})
	}
	return out
}

// sized is what something took at a size.
type sized struct {
	Width int `json:"width"`
	Depth int `json:"depth"`
	meter.Usage
}

// over is the memory that was taken beside what was held before, in MiB; nil
// where the system does not tell.
func (z sized) over() *float64 {
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

// grown fits exponents to what get tells of sizes, nil where that is not
// positive or the sizes do not differ enough.
func grown(sizes []sized, get func(sized) *float64) *exponents {
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
	learned := trial{Label: "an update of learned matching", Recipe: recipe.Recipe{Method: "learned", Rounds: 1, Steps: 1 + growthUpdates, Batch: min(128, s.scale.Tune.Batch)}}
	for _, t := range append(s.table.trials, learned) {
		rec, err := t.resolved()
		if err != nil {
			return err
		}
		measure := func(g []*models.Model) (meter.Usage, error) {
			if rec.Method == "learned" {
				return s.oneLearning(ctx, rec, g)
			}
			return s.oneFusion(ctx, rec, g)
		}
		if err := s.everySize(report.Row{Method: rec.Method, Label: t.Label, Options: rec}, measure); err != nil {
			return err
		}
	}
	batch := learned.Recipe.Batch
	tuning := gomlx.TrainConfig{Steps: 1 + growthUpdates, LR: s.scale.Tune.LR}
	return s.everySize(report.Row{Method: "parent", Label: "an update of finetuning", Options: tuning},
		func(g []*models.Model) (meter.Usage, error) { return s.oneFinetuning(ctx, tuning, batch, g[0]) })
}

// everySize adds a row that is measured on the parents of every size, on a device
// that holds no compiled graphs.
func (s *study) everySize(r report.Row, measure func(parents []*models.Model) (meter.Usage, error)) error {
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
		z := sized{g[0].Dims().Width, g[0].Dims().Depth, u}
		x.Sizes = append(x.Sizes, z)
		cli.Notice("%-28s %4d wide, %2d deep: %s", r.Label, z.Width, z.Depth, z)
	}
	x.Time = grown(x.Sizes, func(z sized) *float64 { return &z.Seconds })
	x.Memory = grown(x.Sizes, sized.over)
	s.result.Rows = append(s.result.Rows, x)
	return nil
}

// oneFusion measures a fusion once all that it takes is compiled.
func (s *study) oneFusion(ctx context.Context, rec recipe.Recipe, g []*models.Model) (meter.Usage, error) {
	first := rec
	first.Rounds = 1
	if _, err := s.fuseOnce(ctx, way{recipe: first}, g); err != nil {
		return meter.Usage{}, err
	}
	f, err := s.fuseOnce(ctx, way{recipe: rec}, g)
	return f.stages.Usage, err
}

// A pace measures updates after the first one.
type pace struct {
	held    *float64 // before all of them
	meter   meter.Meter
	updates int
}

func newPace() *pace {
	meter.Settle()
	return &pace{held: meter.Held()}
}

// tick is called after every update.
func (p *pace) tick() {
	if p.updates == 0 {
		p.meter = meter.Start()
	}
	p.updates++
}

// read returns what one update took and what all together held.
func (p *pace) read() meter.Usage {
	u := p.meter.Read()
	u.Seconds /= float64(p.updates - 1)
	if u.CPU != nil {
		*u.CPU /= float64(p.updates - 1)
	}
	u.HeldMiB = p.held
	return u
}

// oneLearning measures an update of learned matching.
func (s *study) oneLearning(ctx context.Context, rec recipe.Recipe, g []*models.Model) (meter.Usage, error) {
	_, set, err := s.method(ctx, way{recipe: rec}, g)
	if err != nil {
		return meter.Usage{}, err
	}
	p := newPace()
	l := s.learner(way{recipe: rec}, s.draw(rec.Samples, 0))
	l.Observe = func(models.Progress) { p.tick() }
	method, _, err := rec.Build(l, s.device)
	if err != nil {
		return meter.Usage{}, err
	}
	if _, _, err = fuse.Align(ctx, g[0], g[1:], method, set); err != nil {
		return meter.Usage{}, err
	}
	return p.read(), nil
}

// oneFinetuning measures an update of finetuning.
func (s *study) oneFinetuning(ctx context.Context, r gomlx.TrainConfig, batch int, m *models.Model) (meter.Usage, error) {
	p := newPace()
	t, err := s.device.Trainer(m, r)
	if err != nil {
		return meter.Usage{}, err
	}
	defer t.Close()
	f := s.field.feed(nil, batch, feedSeed)
	for step := range r.Steps {
		b, err := f.batch(step)
		if err != nil {
			return meter.Usage{}, err
		}
		if _, err := t.Update(ctx, b); err != nil {
			return meter.Usage{}, err
		}
		p.tick()
	}
	return p.read(), nil
}

// String is a cell of a table.
func (z sized) String() string {
	text := fmt.Sprintf("%.3f s", z.Seconds)
	if mib := z.over(); mib != nil {
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
		out = append(out, column(fmt.Sprintf("%d wide, %d deep", z.Width, z.Depth), func(x row) string { return x.Sizes[k].String() }))
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
