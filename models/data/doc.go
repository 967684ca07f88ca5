// Package data reads the image sets that otfuse trains, calibrates and
// evaluates on, and feeds them to a training loop.
//
// A [Set] holds images as bytes. [Set.Fill] turns a batch of them into
// normalised floats, with the usual augmentation, and [Order] says which
// images make up a training step; both depend on nothing but their arguments,
// so a run resumes exactly.
//
// [Open] is the entry point of programs: it finds a set by name in a folder,
// in $OTFUSE_DATA or in the user's cache, downloads the official archive where
// none of them has it, and says under which label results must be reported.
// The readers under it ([OpenCIFAR10], [OpenCIFAR100], [OpenCIFAR10JPEG],
// [OpenImageFolder]) take a path; [Shapes] draws a set of its own.
//
// Archives are read as a stream and never unpacked to disk. Their entries are
// not trusted: names that leave the archive, absurd sizes and truncated images
// are errors of type [*FileError] that name the entry.
package data
