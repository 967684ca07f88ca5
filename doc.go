// Package otfuse is the overview of a library that fuses transformers with
// optimal transport. It holds no code: the packages below do.
//
// # The idea
//
// Two networks trained from different seeds compute much the same with their
// units in another order, so the mean of their weights is worthless. Optimal
// transport finds which units of one, the source, play the part of which units
// of the other, the anchor. Transport carries the source into the basis of the
// anchor; there the mean of the weights means something, and a short finetuning
// can make it better than its parents. The models may differ in width, and there
// may be more than two.
//
// In a transformer the maps between units meet at residual connections, at
// attention heads, norms and embeddings. The rules are those of Imfeld et al.,
// "Transformer Fusion with Optimal Transport" (ICLR 2024), and they come down
// to one sentence: run the forward pass, but push transport maps instead of
// tensors. The code is that sentence. An architecture is written once, as a
// forward pass over a small flow graph, and has several readers: one runs it,
// one trains it, one pushes transport maps through it, one checks it against a
// checkpoint.
//
// To a map there are four kinds of node. It is fixed, at the input and the
// output; solved, an optimal transport problem of its own; carried from an
// argument; or joined, where branches meet, by a residual policy. To a
// parameter there are three kinds of axis: fixed ones stay, Out axes are pushed
// by the map that leaves the node, In axes are pulled back by the map that
// enters it. Biases, norms, convolutions, embeddings, packed projections and
// tied decoders need no code of their own.
//
// # Fusing two checkpoints
//
//	anchor, err := models.Open("vit-seed-0") // config.json and safetensors, as Hugging Face writes them
//	…
//	other, err := models.Open("vit-seed-1")
//	…
//	fused, report, err := fuse.Into(ctx, anchor, []*models.Model{other}, nil)
//	…
//	err = fused.Save("vit-fused")
//
// That aligns units by their weights and needs no data and no accelerator.
// Alignment by activations, which is the better one, needs a few hundred
// samples: gomlx.Calibration puts both models to work on them and keeps second
// moments only, in memory that does not grow with the samples.
//
// # Exact symmetries
//
// Averages of transport maps are no symmetries of a transformer. The flow graph
// also says which maps are: fuse.Matching finds the best of them, from weights,
// activations or both, gomlx.Learner refines them by gradient, and fuse.Refit fits
// the linear layers of a fused model to what the aligned models write.
//
// # The layers
//
// Each imports only those above it.
//
//   - [github.com/otfuse/otfuse/ot]: transport problems, costs, solvers from
//     exact to entropic, and the plans they return.
//   - [github.com/otfuse/otfuse/graph]: the flow graph, the spaces that nodes
//     share, the residual policies.
//   - [github.com/otfuse/otfuse/align]: second moments of activations or of
//     weights, their preparation, and the aligners that turn them into plans.
//   - [github.com/otfuse/otfuse/models]: architectures, and checkpoints bound to
//     them.
//   - [github.com/otfuse/otfuse/models/safetensors]: the file format of their
//     tensors.
//   - [github.com/otfuse/otfuse/models/data]: the data sets to train, calibrate
//     and evaluate on.
//   - [github.com/otfuse/otfuse/models/text]: corpora, word pieces and masking for
//     language models, on the tokenizer of go-huggingface.
//   - [github.com/otfuse/otfuse/fuse]: transport of a model onto an anchor, the
//     average, the report.
//   - [github.com/otfuse/otfuse/models/gomlx]: the reader of the graph that runs
//     and trains it through GoMLX, on XLA or in pure Go.
//
// Data flows one way:
//
//	config.json ──► Architecture ──► graph.Graph ──┐
//	*.safetensors ───────────────► models.Params ──┴─► models.Model ─┬─► fuse.Into ──► Model ──► Save, train
//	                              samples ─► gomlx.Calibration ─► moments ┘
//
// Only models/gomlx imports GoMLX. Everything else builds with CGO_ENABLED=0, so a
// program that fuses by weights carries no accelerator library.
//
// # Conventions
//
// Weights are [out × in], plans [source × anchor]. Strategies, such as solvers,
// metrics, aligners and residual policies, are small struct values behind
// interfaces of one or two methods; yours plug in beside them. Inputs are only read. Errors say where, a program is told
// of progress through callbacks, and no panic crosses the API. The same seed gives
// the same bytes at any GOMAXPROCS.
//
// The programs under examples show it at work: vit-cifar and bert-wiki train or
// load parents, fuse, finetune and compare; fuse does it with any two checkpoints.
package otfuse
