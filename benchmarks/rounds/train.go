package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A strategy is a way to train together.
type strategy struct {
	name   string
	common bool        // all sites start from one network
	every  int         // updates between two means; 0 for none
	share  float64     // of the way to the mean that models go: at 1 it takes their place
	method fuse.Method // brings models into one basis before a mean is taken
	last   int         // updates, the last of all, that learn the answers of all models in place of labels
	ends   []ending    // ways to make one model of all when they are trained
}

// An ending makes one model of those of all sites.
type ending struct {
	name   string
	method fuse.Method
	refits bool // on images without labels that all sites have
}

// strategies lists the ways.
func (o options) strategies() []strategy {
	round := o.updates / o.rounds
	mean := []ending{{name: "mean", method: fuse.Vanilla{}}}
	return []strategy{
		{name: "alone", ends: []ending{{"mean, matched", fuse.Matching{}, false},
			{"matched, refit", fuse.Matching{Mix: 0.3}, true}, {"side by side, refit", fuse.Concatenation{}, true}}},
		{name: "common-start", common: true, every: round, share: 1, method: fuse.Vanilla{}, ends: mean},
		{name: "own-starts", every: round, share: 1, method: fuse.Vanilla{}, ends: mean},
		{name: "own-starts-matched", every: round, share: 1, method: fuse.Matching{}, ends: mean},
		{name: "drawn-together", every: 10, share: 0.01, method: fuse.Vanilla{}, ends: mean},
		{name: "distilled", last: round},
	}
}

// A row is what one model finds.
type row struct {
	Model    string  `json:"model"`
	Accuracy float64 `json:"accuracy"`
	Loss     float64 `json:"loss"`
}

// A result is what is kept of an item.
type result struct {
	Strategy string  `json:"strategy"`
	Run      int     `json:"run"`
	Data     string  `json:"data"`
	Skew     float64 `json:"skew"`
	Updates  int     `json:"updates"`
	Rounds   int     `json:"rounds"`
	Tests    int     `json:"tests"`
	Rows     []row   `json:"rows"`
}

// A site trains one model on its own data.
type site struct {
	task    *lab.Images
	trainer *gomlx.Trainer
	batches gomlx.Batches
}

// A federation is all sites of an item.
type federation struct {
	options
	item
	device *gomlx.Device
	images *lab.Images // of all sites
	sites  []site
}

// item1 works on an item unless it is done.
func (o options) item1(ctx context.Context, d *gomlx.Device, images *lab.Images, i item) (err error) {
	if _, err := os.Stat(o.file(i)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f := &federation{options: o, item: i, device: d, images: images}
	defer func() {
		for _, s := range f.sites {
			err = errors.Join(err, s.trainer.Close())
		}
	}()
	if err := f.open(); err != nil {
		return err
	}
	if err := f.train(ctx); err != nil {
		return err
	}
	return f.report(ctx)
}

// open draws the networks and deals the data.
func (f *federation) open() error {
	for k := range f.options.sites {
		task := *f.images
		if f.skew >= 0 {
			part := lab.Split{Part: k + 1, Parts: f.options.sites, Skew: f.skew, Seed: uint64(f.run)}
			if err := task.Restrict(part); err != nil {
				return err
			}
			task.Norm = f.images.Norm // sites agree on it before they begin
		}
		seed := uint64(100*f.run + k)
		net := lab.Net{Width: f.width, Depth: 4, Heads: heads, Patch: 8, Seed: seed}
		if f.common {
			net.Seed = uint64(100 * f.run)
		}
		m, err := task.Network(net)
		if err != nil {
			return err
		}
		trainer, err := f.device.Trainer(m, f.config())
		if err != nil {
			return err
		}
		f.sites = append(f.sites, site{&task, trainer, data.Prefetch(1, task.Batches(nil, f.batch, seed).At)})
	}
	return nil
}

// config is the schedule of a site over all rounds.
func (f *federation) config() gomlx.TrainConfig {
	return gomlx.TrainConfig{Steps: f.updates, Warmup: f.updates / 12, LR: 1e-3, MinLR: 1e-5, WeightDecay: 0.05, Clip: 1}
}

// train makes the updates of all sites, round by round.
func (f *federation) train(ctx context.Context) error {
	bar := cli.NewProgress(f.name, f.updates, 0)
	for step := range f.updates - f.last {
		var loss float64
		for _, s := range f.sites {
			batch, err := s.batches(step)
			if err != nil {
				return err
			}
			if loss, err = s.trainer.Update(ctx, batch); err != nil {
				return err
			}
		}
		bar.Step(fmt.Sprintf("loss %.3f", loss))
		if f.every > 0 && (step+1)%f.every == 0 {
			if err := f.meet(ctx); err != nil {
				return err
			}
		}
	}
	bar.Done()
	return nil
}

// models are those of the sites.
func (f *federation) models() ([]*models.Model, error) {
	var out []*models.Model
	for _, s := range f.sites {
		m, err := s.trainer.Model()
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// meet moves the models of all sites towards their mean.
func (f *federation) meet(ctx context.Context) error {
	ms, err := f.models()
	if err != nil {
		return err
	}
	mean, _, err := fuse.Into(ctx, ms[0], ms[1:], f.method, nil)
	if err != nil {
		return err
	}
	for k, s := range f.sites {
		to := mean
		if f.share < 1 {
			between := fuse.Aligned{Anchor: ms[k], Others: []models.Params{mean.Params}}
			if to, err = between.Line(f.share); err != nil {
				return err
			}
		}
		if err := s.trainer.Move(to); err != nil {
			return err
		}
	}
	return nil
}

// report scores the models of the sites and what is made of them.
func (f *federation) report(ctx context.Context) error {
	ms, err := f.models()
	if err != nil {
		return err
	}
	out := result{Strategy: f.name, Run: f.run, Data: f.images.Label, Skew: f.skew, Updates: f.updates,
		Rounds: f.rounds, Tests: f.images.Tests()}
	add := func(name string, ms ...*models.Model) error {
		s, err := f.images.Score(ctx, f.device, ms...)
		cli.Notice("%s, run %d: %s %.2f %%, %.3f nats", f.name, f.run, name, 100*s.Accuracy, s.Loss)
		out.Rows = append(out.Rows, row{name, s.Accuracy, s.Loss})
		return err
	}
	if f.last > 0 {
		if ms, err = f.distil(ctx, ms); err != nil {
			return err
		}
	}
	if f.share < 1 {
		for k, m := range ms {
			if err := add(fmt.Sprintf("site %d", k), m); err != nil {
				return err
			}
		}
		if err := add("ensemble", ms...); err != nil {
			return err
		}
	}
	for _, e := range f.ends {
		one, err := f.end(ctx, e, ms)
		if err != nil {
			return err
		}
		if err := add(e.name, one); err != nil {
			return err
		}
	}
	return report.WriteJSON(f.file(f.item), out)
}

// refitted is the number of images that a refit looks at, of those that all sites have.
const refitted = 200

// end makes one model of those of all sites.
func (f *federation) end(ctx context.Context, e ending, ms []*models.Model) (*models.Model, error) {
	var set fuse.Settings
	if e.refits {
		samples, err := f.images.Samples(lab.Draw(f.images, min(f.samples, refitted), f.run))
		if err != nil {
			return nil, err
		}
		set.Calibration, set.Refit = f.device.Calibration(samples, nil), &fuse.Refit{Ridge: lab.Ridge}
	}
	one, _, err := fuse.Into(ctx, ms[0], ms[1:], e.method, &set)
	return one, err
}

// distil trains every model on the answers of all, on images that all sites have.
func (f *federation) distil(ctx context.Context, ms []*models.Model) ([]*models.Model, error) {
	idx := lab.Draw(f.images, f.samples, f.run)
	batches := data.Prefetch(1, f.images.Batches(idx, f.batch, uint64(f.run)).At)
	out := make([]*models.Model, len(ms))
	for k, m := range ms {
		l := f.device.Distiller(batches)
		l.Config = gomlx.TrainConfig{Steps: f.last, LR: 5e-4, Warmup: f.last / 10, WeightDecay: 0.05, Clip: 1}
		var err error
		if out[k], err = l.Distil(ctx, m, ms, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}
