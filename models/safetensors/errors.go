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
	s := e.Path
	if s == "" {
		s = "safetensors"
	}
	if e.Tensor != "" {
		s += fmt.Sprintf(": tensor %.200q", e.Tensor)
	}
	return s + ": " + e.Msg
}

func malformed(tensor, format string, args ...any) error {
	return &FormatError{Tensor: tensor, Msg: fmt.Sprintf(format, args...)}
}

// at names the file in an error that does not know it yet.
func at(path string, err error) error {
	var f *FormatError
	switch {
	case err == nil || path == "":
		return err
	case errors.As(err, &f) && f.Path == "":
		return &FormatError{Path: path, Tensor: f.Tensor, Msg: f.Msg}
	}
	return fmt.Errorf("%s: %w", path, err)
}
