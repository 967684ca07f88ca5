package gomlx

import (
	"errors"
	"fmt"
	"math"
)

// A TrainConfig says how to train: AdamW (Loshchilov and Hutter, ICLR 2019) with
// a linear warm-up and a cosine schedule, see [TrainConfig.LearningRate]. The
// zero value of a field means what its comment says.
type TrainConfig struct {
	Steps       int     // updates in all, at least 1
	LR          float64 // peak learning rate, more than 0
	MinLR       float64 // learning rate at the end
	Warmup      int     // updates of linear warm-up, at most Steps
	WeightDecay float64 // decoupled; biases, norms and tables do not decay
	Beta1       float64 // decay of the first moment, below 1; 0 means 0.9
	Beta2       float64 // decay of the second moment, below 1; 0 means 0.999
	Eps         float64 // added to the root of the second moment; 0 means 1e-8
	Clip        float64 // largest norm of the gradient; 0 means no clipping
	Smoothing   float64 // share of the label that is spread over all classes, 0 to 1
	Accumulate  int     // batches per update; 0 means 1

	Precision Precision // of large products
}

// ErrTrainConfig reports a field of a [TrainConfig] that is out of range.
var ErrTrainConfig = errors.New("gomlx: training configuration out of range")

// LearningRate returns the learning rate of update step = 0, 1, …, Steps − 1,
//
//	LR (step + 1) / Warmup                                    for step < Warmup
//	MinLR + (LR − MinLR) (1 + cos π (step − Warmup)/(Steps − Warmup)) / 2   after that.
func (c TrainConfig) LearningRate(step int) float64 {
	if step < c.Warmup {
		return c.LR * float64(step+1) / float64(c.Warmup)
	}
	done := min(float64(step-c.Warmup)/float64(max(c.Steps-c.Warmup, 1)), 1)
	return c.MinLR + (c.LR-c.MinLR)*(1+math.Cos(math.Pi*done))/2
}

// withDefaults returns the configuration with every field set.
func (c TrainConfig) withDefaults() TrainConfig {
	if c.Beta1 == 0 {
		c.Beta1 = 0.9
	}
	if c.Beta2 == 0 {
		c.Beta2 = 0.999
	}
	if c.Eps == 0 {
		c.Eps = 1e-8
	}
	if c.Accumulate == 0 {
		c.Accumulate = 1
	}
	return c
}

// check names the first field that is out of range.
func (c TrainConfig) check() error {
	largest := math.MaxFloat64
	below1 := math.Nextafter(1, 0)
	for _, field := range []struct {
		name             string
		value, low, high float64
	}{
		{"Steps", float64(c.Steps), 1, largest},
		{"LR", c.LR, math.SmallestNonzeroFloat64, largest},
		{"MinLR", c.MinLR, 0, largest},
		{"Warmup", float64(c.Warmup), 0, float64(c.Steps)},
		{"WeightDecay", c.WeightDecay, 0, largest},
		{"Beta1", c.Beta1, 0, below1},
		{"Beta2", c.Beta2, 0, below1},
		{"Eps", c.Eps, 0, largest},
		{"Clip", c.Clip, 0, largest},
		{"Smoothing", c.Smoothing, 0, 1},
		{"Accumulate", float64(c.Accumulate), 0, largest},
		{"Precision", float64(c.Precision), 0, float64(Bfloat16)},
	} {
		if !(field.value >= field.low && field.value <= field.high) { // NaN is neither
			return fmt.Errorf("%w: %s is %g, want %s",
				ErrTrainConfig, field.name, field.value, interval(field.low, field.high))
		}
	}
	return nil
}

// interval says in words which values lie between two bounds.
func interval(low, high float64) string {
	switch {
	case low == math.SmallestNonzeroFloat64:
		return "a finite number above 0"
	case high == math.MaxFloat64:
		return fmt.Sprintf("a finite number of at least %g", low)
	case high < 1:
		return fmt.Sprintf("at least %g and below 1", low)
	}
	return fmt.Sprintf("%g to %g", low, high)
}
