// Package data reads labelled images and makes batches of them for training,
// calibration and evaluation.
//
//	train, test, label, err := data.Open(ctx, "cifar10", data.Options{})
//	…
//	norm, err := train.Norm()
//	…
//	sampler := data.Sampler{N: train.Len(), Batch: 64, Seed: 1}
//	batch, err := train.Batch(sampler.Indices(step), norm, data.Augment{Pad: 4, Flip: 0.5}, rng)
//
// [Open] finds a set by name in a folder, in $OTFUSE_DATA or in the user's cache,
// downloads the official archive where none of them has it, and says under which
// label results must be reported. The readers that it uses take a path:
// [OpenCIFAR10], [OpenCIFAR100] and [OpenCIFAR10JPEG] for the official records
// and a lossy copy of them, [OpenImageFolder] for any images in one folder a class,
// with or without splits.
//
// A [Set] holds images as bytes, or, where it is larger than memory, the places
// of their files: then images are decoded when they are asked for, on all cores.
// [Set.Batch] makes samples of a network of them, normalised and augmented, and
// [Sampler] says which images make up a training step; both depend on nothing
// but their arguments, so that training resumes exactly. [Prefetch] prepares the
// next batches while one is in use. An [ImageProcessor] says how a checkpoint
// wants its images.
//
// Archives are verified by SHA-256 when they are downloaded and whenever a
// download is used again, read as they are and never unpacked to disk. Their
// entries are not trusted: names that lead out of the archive, absurd sizes and
// truncated images are errors of type [*FileError] that name the entry.
package data
