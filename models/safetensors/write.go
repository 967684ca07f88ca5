package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/otfuse/otfuse/internal/atomicfile"
)

// Write writes tensors in canonical form: wide element types first, names
// sorted within a type, a header padded to a multiple of 8 bytes. Equal input
// gives equal bytes, and every tensor is aligned to its element size.
// Checkpoints that PyTorch is to load carry the metadata {"format": "pt"}; nil
// or empty metadata is left out.
func Write(w io.Writer, tensors map[string]Tensor, metadata map[string]string) error {
	return inFile("", writeTensors(w, tensors, metadata))
}

// writeTensors is [Write] with errors that do not name the package yet.
func writeTensors(w io.Writer, tensors map[string]Tensor, metadata map[string]string) error {
	infos := make(map[string]Info, len(tensors))
	for name, t := range tensors {
		if err := t.validate(); err != nil {
			return malformed(name, "%v", err)
		}
		infos[name] = Info{t.DType, t.Shape}
	}
	names := inOrder(infos)
	head, _, err := encodeHeader(names, infos, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	for _, name := range names {
		if _, err := w.Write(tensors[name].Data); err != nil {
			return fmt.Errorf("tensor %.200q: %w", name, err)
		}
	}
	return nil
}

// WriteFile writes a file as [Write] does, atomically: whoever opens path sees
// the old content or the new one.
func WriteFile(path string, tensors map[string]Tensor, metadata map[string]string) error {
	err := atomicfile.WriteFile(path, func(w io.Writer) error { return writeTensors(w, tensors, metadata) })
	if errors.As(err, new(*FormatError)) {
		return inFile(path, err)
	}
	return inFile("", err)
}

// inOrder returns the names in the order in which tensors are stored.
func inOrder(tensors map[string]Info) []string {
	return slices.SortedFunc(maps.Keys(tensors), func(a, b string) int {
		return cmp.Or(cmp.Compare(tensors[a].DType.storageRank(), tensors[b].DType.storageRank()), cmp.Compare(a, b))
	})
}

// encodeHeader returns the length prefix and the padded header, and where the data of
// each tensor begin and the last of them end, in bytes after the header.
func encodeHeader(
	names []string, tensors map[string]Info, metadata map[string]string,
) (head []byte, offsets []int64, err error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	if len(metadata) > 0 {
		if err := encodeMetadata(&b, metadata); err != nil {
			return nil, nil, err
		}
	}
	offsets = append(offsets, 0)
	for k, name := range names {
		end, err := encodeEntry(&b, name, tensors[name], offsets[k])
		if err != nil {
			return nil, nil, err
		}
		offsets = append(offsets, end)
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	head = b.Bytes()
	n := len(head) - 8
	if n > maxHeader {
		return nil, nil, malformed("", "header of %d bytes, more than %d", n, maxHeader)
	}
	binary.LittleEndian.PutUint64(head, uint64(n))
	return head, offsets, nil
}

// encodeMetadata appends the free-form text of the header.
func encodeMetadata(b *bytes.Buffer, metadata map[string]string) error {
	encodeKey(b, metadataKey)
	b.WriteByte('{')
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
			return malformed("", "metadata %.200q is not UTF-8", key)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		encodeString(b, key)
		b.WriteByte(':')
		encodeString(b, metadata[key])
	}
	b.WriteByte('}')
	return nil
}

// encodeEntry appends the description of a tensor whose data start at begin and
// returns where they end.
func encodeEntry(b *bytes.Buffer, name string, t Info, begin int64) (end int64, err error) {
	if name == metadataKey || !utf8.ValidString(name) {
		return 0, malformed(name, "not a name that a tensor can have")
	}
	size, err := byteLen(t.DType, t.Shape)
	if err != nil {
		return 0, malformed(name, "%v", err)
	}
	if size > math.MaxInt64-begin {
		return 0, malformed(name, "the tensors together are too large")
	}
	end = begin + size
	encodeKey(b, name)
	fmt.Fprintf(b, `{"dtype":"%s","shape":[`, t.DType)
	for i, n := range t.Shape {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, "%d", n)
	}
	fmt.Fprintf(b, `],"data_offsets":[%d,%d]}`, begin, end)
	return end, nil
}

// encodeKey starts a member of the top-level object.
func encodeKey(b *bytes.Buffer, key string) {
	if b.Len() > 9 { // the length prefix and the opening brace
		b.WriteByte(',')
	}
	encodeString(b, key)
	b.WriteByte(':')
}

// encodeString appends a JSON string, with < and > as they are.
func encodeString(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)         // a string into a buffer: neither can fail
	b.Truncate(b.Len() - 1) // the newline that Encode adds
}
