package gomlx

import (
	"fmt"
	"strings"
)

// share has later runs with the same graphs use what is compiled for this one: XLA
// takes seconds for a compilation and keeps some of its memory. Runs that accumulate
// gradients compile for themselves.
func (run *learningRun) share() {
	c := run.config.withDefaults()
	if c.Accumulate > 1 {
		return
	}
	template := &learningRun{spaces: run.spaces, of: run.of, inputs: run.inputs, labelled: run.labelled}
	for _, m := range run.models {
		template.models = append(template.models, m.With(nil))
	}
	template.optimizer = optimizer{config: c, parameters: (len(run.models) - 1) * len(run.spaces),
		loss: template.lossGraph, retract: template.retracted}
	c.Steps, c.LR, c.MinLR, c.Warmup = 0, 0, 0, 0 // arguments of the graph
	var key strings.Builder
	fmt.Fprintf(&key, "learning of %d models, labels %t, %+v", len(run.models), run.labelled, c)
	for _, s := range run.spaces {
		fmt.Fprintf(&key, ", %d units in %d heads, %v of", s.Units, s.Heads, s.Group)
		for _, n := range s.Nodes {
			fmt.Fprintf(&key, " %d", n.ID)
		}
	}
	run.shared, run.template = key.String()+" "+signature(run.models[0].Graph), &template.optimizer
}
