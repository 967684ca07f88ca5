// Package data reads the image sets that otfuse trains, calibrates and
// evaluates on, and feeds them to a training loop.
//
// A [Set] holds images as bytes, or where it is larger than memory, the places
// where they are: then they are decoded when they are asked for, on all cores.
// [Set.Fill] turns a batch of them into normalised floats, with the usual
// augmentation, and [Sampler] says which images make up a training step; both
// depend on nothing but their arguments, so a run resumes exactly. [Prefetch]
// prepares the next batches while one is in use.
//
// [Open] is the entry point of programs: it finds a set by name in a folder,
// in $OTFUSE_DATA or in the user's cache, downloads the official archive where
// none of them has it, and says under which label results must be reported.
// The readers under it ([OpenCIFAR10], [OpenCIFAR100], [OpenCIFAR10JPEG],
// [OpenImageFolder]) take a path; [Shapes] draws a set of its own.
//
// Archives are verified by SHA-256 when they are downloaded and whenever a
// download is used again, read as they are and never unpacked to disk. Their entries are not trusted: names that leave the
// archive, absurd sizes and truncated images are errors of type [*FileError]
// that name the entry.
package data
