// Package safetensors reads and writes tensors in the safetensors format.
//
// A file is the length of its header (8 bytes, little endian), the header (a
// JSON object that gives every tensor its dtype, shape and byte range) and the
// data, raw and little endian. [Open] reads and checks the header alone;
// tensors are read when asked for. [OpenDir] does the same for a checkpoint
// directory, whose tensors may be spread over several files.
//
// Files are not trusted: whatever is wrong with one is a [*FormatError] that
// names the file and the tensor, and memory is bounded by a small multiple of
// what the file really holds, never by what it claims to hold.
//
// [Write] is canonical: equal tensors give equal bytes, in the layout that the
// format's own library produces.
package safetensors
