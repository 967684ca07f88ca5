// Package safetensors reads and writes tensors in the safetensors format.
//
// A file is the length of its header (8 bytes, little endian), the header (a
// JSON object that gives every tensor its dtype, shape and byte range) and the
// data, raw and little endian. [Open] reads and checks the header alone;
// tensors are read when asked for. [OpenDir] does the same for a checkpoint
// directory, whose tensors may be spread over several files.
//
// A [Tensor] holds the bytes of its elements as they are stored. [Tensor.Float32s],
// [Tensor.Int64s] and the like decode them, [FromFloat32], [FromInt64] and the like
// encode them.
//
// Files are not trusted. A malformed file gives a [*FormatError] that names the
// file and the tensor, and memory is bounded by a small multiple of the size that
// the file really has, whatever its header claims.
//
// [Write] is canonical: equal tensors give equal bytes, in the layout that the
// reference implementation produces. [WriteFile] replaces a file atomically.
package safetensors
