package safetensors

import (
	"errors"
	"fmt"
)

// ErrNoTensor is wrapped by the error for a tensor that is not in the file.
var ErrNoTensor = errors.New("no such tensor")

// ErrDType is wrapped by the error for a conversion that the dtype of a tensor
// does not allow.
var ErrDType = errors.New("unsuitable dtype")

// ErrRange is wrapped by the error for an integer that its new type cannot hold.
var ErrRange = errors.New("integer out of range")

// FormatError says what is malformed in a file, or in a tensor to be written.
type FormatError struct {
	Path   string // the file; empty if the data did not come from a named file
	Tensor string // the tensor; empty if the fault is not in one tensor
	Msg    string // what is wrong
}

// Error puts file, tensor and fault on one line.
func (e *FormatError) Error() string {
	s := "safetensors"
	if e.Path != "" {
		s += ": " + e.Path
	}
	if e.Tensor != "" {
		s += fmt.Sprintf(": tensor %.200q", e.Tensor)
	}
	return s + ": " + e.Msg
}

// malformed returns a [FormatError] about a tensor, or about the whole file where
// tensor is empty. The file is not known yet: see [inFile].
func malformed(tensor, format string, args ...any) error {
	return &FormatError{Tensor: tensor, Msg: fmt.Sprintf(format, args...)}
}

// inFile adds the package and the path of the file, which may be empty, to an
// error that names neither yet.
func inFile(path string, err error) error {
	var f *FormatError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f) && f.Path != "":
		return f
	case f != nil:
		return &FormatError{Path: path, Tensor: f.Tensor, Msg: f.Msg}
	case path == "":
		return fmt.Errorf("safetensors: %w", err)
	}
	return fmt.Errorf("safetensors: %s: %w", path, err)
}
