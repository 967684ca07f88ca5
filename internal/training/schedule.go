package training

import "github.com/otfuse/otfuse/models/gomlx"

// A Schedule says how long, how fast and in what portions a network learns, by
// AdamW on a cosine.
type Schedule struct {
	Epochs      float64 `json:"epochs"`
	Warmup      float64 `json:"warmup_epochs"`
	Batch       int     `json:"batch"`      // samples at a time
	Accumulate  int     `json:"accumulate"` // batches of an update
	LR          float64 `json:"lr"`         // peak
	MinLR       float64 `json:"min_lr"`     // at the end
	WeightDecay float64 `json:"weight_decay"`
	Clip        float64 `json:"clip"` // norm of the gradient; 0 means no clipping
}

// Recipe is the schedule over a set of which an epoch has so many batches.
func (s Schedule) Recipe(batches int) gomlx.TrainConfig {
	per := float64(batches) / float64(max(s.Accumulate, 1))
	steps := max(int(s.Epochs*per), 1)
	return gomlx.TrainConfig{Steps: steps, Warmup: min(int(s.Warmup*per), steps), Accumulate: s.Accumulate,
		LR: s.LR, MinLR: s.MinLR, WeightDecay: s.WeightDecay, Clip: s.Clip}
}
