package main

import (
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
)

// compression is the experiment of narrow networks alone: drawn, cut from one parent and
// cut from all, each distilled and each finetuned on the same budget.
func (o options) compression(c lab.Comparison, images *lab.Images) (lab.Experiment, map[string]string, error) {
	return c.Compression(o.compress, o.finetuning(images))
}

// addNarrow adds a network of half the width, cut from the first parent and distilled,
// beside a drawn one, where the architecture can be narrowed.
func (o options) addNarrow(e *lab.Experiment, c lab.Comparison, budget lab.Tuning) error {
	d := c.Parents[0].Dims()
	if c.Parents[0].Arch.Class != models.ViT().Class || d.Width%(2*d.Heads) != 0 || o.choice.Method != "all" {
		return nil
	}
	var err error
	if e.Narrow, err = c.Narrowed(d.Width / 2); err != nil {
		return err
	}
	if !o.all {
		e.Narrow.Of = e.Narrow.Of[:3]
	}
	budget.Of, budget.Suffix, budget.Teachers = e.Narrow.Trained(), lab.SuffixDistilled, c.Parents
	budget.Config.LR = lab.NarrowRate
	e.Tune = append(e.Tune, budget)
	return nil
}
