// Package otfuse is the overview of a library that fuses transformers trained
// from different seeds. It holds no code: the packages below do. The example
// uses all of them in one program.
//
// # The idea
//
// Two networks trained from different seeds compute much the same, but in
// different bases: their units come in another order, so the mean of their
// weights is worthless. Optimal transport finds which units of one, the source,
// play the part of which units of the other, the anchor. Once the source is
// carried into the basis of the anchor, the mean of the weights means something,
// and a short finetuning can make it better than its parents. The models may
// differ in width, and there may be more than two.
//
// In a transformer the maps between units meet at residual sums, at attention
// heads, norms and embeddings. The rules are those of Imfeld et al.,
// "Transformer Fusion with Optimal Transport" (ICLR 2024,
// https://arxiv.org/abs/2310.05719), and they come down to one sentence: run the
// forward pass, but push transport maps instead of tensors. The code is that
// sentence. An architecture is written once, as a forward pass over a small flow
// graph, and everything reads it: one reader computes it, one trains it, one
// pushes maps through it, one checks it against a checkpoint, one draws it.
//
// # Fusing two checkpoints
//
//	anchor, err := models.Open("vit-seed-0") // config.json and safetensors, as Hugging Face writes them
//	…
//	other, err := models.Open("vit-seed-1")
//	…
//	fused, report, err := fuse.Into(ctx, anchor, []*models.Model{other}, fuse.Transport{}, nil)
//	…
//	err = fused.Save("vit-fused")
//
// This aligns units by their weights and needs no data and no accelerator.
// Alignment by activations keeps more and takes a few hundred samples without
// labels:
//
//	device, err := gomlx.Open(ctx, nil)
//	…
//	samples, err := anchor.ReadSamples("samples.safetensors")
//	…
//	settings := fuse.Settings{Calibration: device.Calibration(samples, nil)}
//	fused, report, err := fuse.Into(ctx, anchor, []*models.Model{other}, fuse.Transport{}, &settings)
//
// # Methods
//
//   - [github.com/otfuse/otfuse/fuse.Transport] is the paper: a transport plan
//     at every layer, carried through the flow graph.
//   - [github.com/otfuse/otfuse/fuse.Matching] stays among the exact symmetries
//     that the flow graph derives for an architecture, so that the source still
//     computes what it did. With a [github.com/otfuse/otfuse/models/gomlx.Learner]
//     gradient descent refines its maps.
//   - [github.com/otfuse/otfuse/fuse.Concatenation] lays the models side by side in one
//     network of the anchor's size; with a refit it answers nearly as their ensemble.
//   - [github.com/otfuse/otfuse/fuse.Head] fits the output layer of the anchor alone to
//     what all models answer: what a refitted fusion has to beat.
//   - [github.com/otfuse/otfuse/fuse.Distil] trains a model on what all models answer,
//     from the anchor or from what another method makes.
//   - [github.com/otfuse/otfuse/fuse.Vanilla] is the plain mean, for comparison.
//
// Nil tries matching and laying side by side, and takes the better one. A
// [github.com/otfuse/otfuse/fuse.Refit] fits the linear layers of a fused model to what
// the aligned models compute. What all methods have in common is in
// [github.com/otfuse/otfuse/fuse.Settings].
//
// # Packages
//
// Each imports only those above it.
//
//   - [github.com/otfuse/otfuse/ot]: transport problems, costs, solvers from
//     exact to entropic, and the plans they return; of use on its own.
//   - [github.com/otfuse/otfuse/graph]: the flow graph, the spaces that nodes
//     share, the residual policies.
//   - [github.com/otfuse/otfuse/align]: second moments of activations or of
//     weights, their preparation, and the aligners that turn them into plans.
//   - [github.com/otfuse/otfuse/models]: architectures, and checkpoints bound to
//     them; below it
//     [github.com/otfuse/otfuse/models/safetensors] for the file format,
//     [github.com/otfuse/otfuse/models/data] for images,
//     [github.com/otfuse/otfuse/models/text] for text,
//     [github.com/otfuse/otfuse/models/hub] for checkpoints by their id on the hub.
//   - [github.com/otfuse/otfuse/fuse]: the methods, the fusion, the report.
//   - [github.com/otfuse/otfuse/models/gomlx]: the device that computes,
//     calibrates, trains and learns through GoMLX, on XLA or in pure Go.
//
// Two packages test what others write: [github.com/otfuse/otfuse/ot/ottest] a
// solver, [github.com/otfuse/otfuse/models/modeltest] an architecture.
//
// Data flows one way:
//
//	config.json ─► Architecture ─► Spec{Graph, Inputs} ─┐
//	*.safetensors ─► Params ────────────────────────────┴─► Model ─┬─► fuse.Into ─► Model ─► Save, train
//	                         samples ─► gomlx.Calibration ─► moments ┘
//
// Only models/gomlx computes with GoMLX. What stands above it builds with
// CGO_ENABLED=0, so a program that fuses by weights carries no accelerator
// library.
//
// # Conventions
//
// Weights are [out × in], plans [source × anchor]. Strategies, such as solvers,
// metrics, aligners, residual policies and methods, are small struct values
// behind interfaces of one or two methods, and yours plug in beside them. They
// may be shared by goroutines, and so may models. Inputs are only read. Errors
// say where, long work tells an observer what it is at and ends with its context,
// and no panic crosses the API. The same seed gives the same bytes at any
// GOMAXPROCS.
//
// The programs under examples show the library at work: vit-cifar, bert-wiki and
// gpt-wiki train or load parents, fuse, finetune and compare; fuse does it with any
// two checkpoints. https://github.com/otfuse/otfuse/blob/main/docs/design.md
// explains the design and the mathematics.
package otfuse
