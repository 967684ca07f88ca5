// Package fuse fuses independently trained transformers.
//
// Two networks trained from different seeds compute alike in different bases:
// the plain mean of their weights computes nothing. A [Method] brings other
// models into the basis of an anchor, after which their weighted mean is a model
// again:
//
//	fused, report, err := fuse.Into(ctx, anchor, []*models.Model{other}, fuse.Matching{}, nil)
//
// Which function to call:
//
//	Into        one fused model: align, average, refit
//	Align       models in one basis, to average at several weights (Aligned.Mean,
//	            Aligned.Line) or to look at
//	Distil.Train a model trained on the answers of all models
//	Refit.Fit   layers of a mean fitted to what the aligned models write
//	Canonical   a model in the form in which Matching returns its anchor
//	Check       what keeps two models from being fused
//
// Which method to take:
//
//	Vanilla     no alignment: the baseline
//	Transport   the method of Imfeld et al., "Transformer Fusion with Optimal Transport"
//	            (ICLR 2024): a plan between the units of each layer, carried through the
//	            flow graph. Widths may differ. It reads models tensor by tensor.
//	Matching    exact symmetries of the architecture: permutations, orthogonal maps of the
//	            residual stream, invertible maps within heads, found by assignment and
//	            Procrustes. The aligned source computes what it did before.
//	Concatenation
//	            the models side by side in a network of the anchor's size, each cut to its
//	            share of the width by Matching. With a refit it answers nearly as their
//	            ensemble, which no mean does.
//	Head        the output layer of the anchor alone, fitted to what all models answer: the
//	            control of what is refitted, and often as good.
//	Random      maps that are drawn, not found: the control where widths differ.
//	Distil      training on what all models answer, from the anchor or from what another
//	            method makes. It needs samples, no labels, and a device that trains.
//	nil         Matching or Concatenation, refitted, whichever answers more like the mean
//	            of all models on the samples; without samples Matching.
//
// [Settings] hold for every method: weights, calibration data, a refit, progress.
// Activations come from a [Calibration], of which models/gomlx has one that runs
// on XLA; without one, weights alone are looked at.
//
// Products of wide layers are made by the BLAS that the program has chosen for gonum, by
// [gonum.org/v1/gonum/blas/blas32.Use] and its like in blas64: on a device where that is
// the one of models/gomlx.
//
// The arguments of every function are left as they are. Models, methods and
// settings may be shared by goroutines. The same arguments give the same bytes,
// whatever GOMAXPROCS is.
package fuse
