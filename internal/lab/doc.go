// Package lab runs experiments: parents are fused in several ways, and what comes
// out is scored, drawn along lines and finetuned on equal budgets.
//
// An [Experiment] is data: a task, groups of parents, trials, tunings. [Run] goes
// through it and returns a report. What one fusion takes is an [Attempt]. A [Task]
// is what networks are about: [Images] or [Text].
package lab
