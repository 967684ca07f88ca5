// Package align finds the plan between the units of one layer in two models.
//
// What alignment needs to know of two sets of units are their second
// [Moments]. They come from a calibration pass, which accumulates them batch by
// batch ([Activations]), or from the weights themselves, each input of the
// layer being one sample ([Weights]). [Prep] steps such as [Standardize] are
// closed forms of the moments, so no sample is ever kept.
//
// An [Aligner] turns the sites where a plan is wanted into that plan.
package align
