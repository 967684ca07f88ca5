package bounded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrIrregular reports a pipe, a device, a socket or a folder where a file is
// wanted. Opening a pipe would wait for somebody to write to it, and a device may
// have no end.
var ErrIrregular = errors.New("not a regular file")

// Open opens a regular file for reading.
func Open(path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrIrregular}
	}
	return os.Open(path)
}

// ReadFile reads a regular file of at most limit bytes.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written that it could lose
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		err := fmt.Errorf("%d bytes, at most %d make sense", info.Size(), limit)
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	// The file may grow while it is read.
	text := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	_, err = text.ReadFrom(io.LimitReader(f, limit))
	return text.Bytes(), err
}
