package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
)

// File is an open file whose header has been checked. Its methods may be
// called from several goroutines at once.
type File struct {
	header
	path  string
	data  io.ReaderAt // the data section alone
	close func() error
}

// Open reads and checks the header of a file; tensors are read when asked for.
// The caller closes the file.
func Open(path string) (*File, error) {
	path = Follow(path)
	// Opening a named pipe would block until somebody writes to it.
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, &FormatError{Path: path, Msg: "not a regular file"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	file, err := parseFile(f, info.Size())
	if err == nil {
		err = checkHoles(f, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, inFile(path, err)
	}
	file.path, file.close = path, f.Close
	return file, nil
}

// Parse reads and checks the header of a file of size bytes that is read through
// r. Closing the result does not close r.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	file, err := parseFile(r, size)
	return file, inFile("", err)
}

// parseFile is [Parse] with errors that do not name the package yet.
func parseFile(r io.ReaderAt, size int64) (*File, error) {
	start := make([]byte, min(max(size, 0), describable))
	if err := readFull(r, start, 0); err == nil {
		if kind := Describe(start); kind != "" {
			return nil, malformed("", "it is %s", kind)
		}
	}
	if size < 8 {
		return nil, malformed("", "%d bytes, too short for a header", max(size, 0))
	}
	var prefix [8]byte
	if err := readFull(r, prefix[:], 0); err != nil {
		return nil, fmt.Errorf("length of the header: %w", err)
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader {
		return nil, malformed("", "header of %d bytes, more than %d", n, maxHeader)
	}
	if n > uint64(size-8) {
		return nil, malformed("", "header of %d bytes, but %d bytes follow: the file is truncated", n, size-8)
	}
	text := make([]byte, n)
	if err := readFull(r, text, 8); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	begin := 8 + int64(n)
	h, err := parseHeader(text, size-begin)
	if err != nil {
		return nil, err
	}
	return &File{
		header: h,
		data:   io.NewSectionReader(r, begin, size-begin),
		close:  func() error { return nil },
	}, nil
}

// Names returns the names of the tensors, sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.entries)) }

// Info returns the dtype and shape of a tensor without reading it.
func (f *File) Info(name string) (DType, []int, error) {
	e, err := f.lookup(name)
	return e.dtype, slices.Clone(e.shape), err
}

// Tensor reads a tensor. The result is the caller's own.
func (f *File) Tensor(name string) (Tensor, error) {
	e, err := f.lookup(name)
	if err != nil {
		return Tensor{}, err
	}
	if e.end-e.begin > math.MaxInt {
		return Tensor{}, &FormatError{Path: f.path, Tensor: name, Msg: "larger than the address space"}
	}
	data := make([]byte, e.end-e.begin)
	if err := readFull(f.data, data, e.begin); err != nil {
		return Tensor{}, inFile(f.path, fmt.Errorf("tensor %.200q: %w", name, err))
	}
	return Tensor{DType: e.dtype, Shape: slices.Clone(e.shape), Data: data}, nil
}

// Metadata returns the free-form text of the header, empty if there is none.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Close releases the file.
func (f *File) Close() error { return f.close() }

// holds reports whether the file has a tensor.
func (f *File) holds(name string) bool {
	_, ok := f.entries[name]
	return ok
}

// lookup returns what the header says of a tensor.
func (f *File) lookup(name string) (entry, error) {
	e, ok := f.entries[name]
	if !ok {
		return e, inFile(f.path, fmt.Errorf("tensor %.200q: %w", name, ErrNoTensor))
	}
	return e, nil
}

// readFull fills b or fails. It ignores an io.EOF that comes with a full buffer,
// which io.ReaderAt allows.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
