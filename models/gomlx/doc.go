// Package gomlx runs networks of package models through GoMLX, on XLA (CPU or
// GPU) or in pure Go: forward passes, calibration, scores, training, distillation
// and the learning of maps.
//
// Everything comes from a [Device]:
//
//	device, err := gomlx.Open(ctx, func(p models.Progress) { log.Println(p.Stage, p.Item) })
//	if err != nil {
//		return err
//	}
//	defer device.Close()
//
// # Fusion on activations
//
// A [Calibration] runs two models over samples and keeps the second moments of
// their activations, which is what package fuse aligns by:
//
//	settings := &fuse.Settings{Calibration: device.Calibration(samples, align.Window{Size: 6})}
//	fused, report, err := fuse.Into(ctx, anchor, others, fuse.Transport{}, settings)
//
// [Device.FilterByLoss] picks samples that all models know. A [Learner] refines
// matching by gradient descent (fuse.Matching.Learner), and [Device.Sinkhorn]
// solves transport problems on the device.
//
// # Scores
//
// [Device.Evaluate] returns accuracy and loss of a model, or of several as an
// ensemble. [Device.Logits] returns what a model puts out. Causal language models are
// trained and scored on the next token, with the tokens themselves as labels, so that
// exp of the loss is the perplexity; [Device.Generate] continues a text.
//
// # Training
//
// A [Trainer] makes updates by AdamW as a [TrainConfig] says, and [Fit] is its
// loop: it reports progress, writes a checkpoint now and then, and resumes from it
// to the bit.
//
//	trainer, err := device.Trainer(fused, gomlx.TrainConfig{Steps: 1000, LR: 3e-4, Warmup: 100, Clip: 1})
//	if err != nil {
//		return err
//	}
//	defer trainer.Close()
//	err = gomlx.Fit(ctx, trainer, batches, gomlx.FitOptions{Checkpoint: "training.safetensors"})
//
// [Device.Student] returns a trainer that learns from teachers in place of labels.
// A [Distiller] is the whole of it, for fuse.Distil: it compares with the teachers on
// samples that are held out, and keeps the best state.
//
// # Several devices
//
// [OpenWith] takes a [Spread]: several devices share each batch, and parameters and
// moments too where there is little memory. All of the above then runs on them, and
// gives what one device gives, to rounding:
//
//	device, err := gomlx.OpenWith(ctx, gomlx.Settings{Spread: gomlx.Spread{Devices: 4}})
//
// # Shapes, errors, memory
//
// A graph is compiled once for every combination of a network and the shape of a
// batch, which takes seconds on XLA. Batches of equal size are therefore best;
// [Calibration] and [Device.Evaluate] fill up the last one.
//
// Neither a compilation nor an execution can be interrupted. What is told to stop by its
// context returns all the same, and the device ends by itself what it is at; the next
// call waits for that, and [Device.Close] does not. An update that is left so is not
// made: the trainer stays as it was before.
//
// No panic of GoMLX leaves this package. Its messages come back as errors of one
// line that say which graph, and where they are about a node which node and
// shapes. Use of a device or trainer after Close is [ErrNotOpen].
//
// What a device holds is not Go's memory and is freed by Close alone, not by the
// garbage collector. A device may be used by several goroutines, a trainer by one
// at a time.
//
// This package and package backend below it, which finds and opens plugins, are
// the only ones of the module that import GoMLX.
package gomlx
