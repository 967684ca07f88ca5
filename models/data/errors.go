package data

import (
	"errors"
	"fmt"
	"strings"

	"github.com/otfuse/otfuse/internal/bounded"
	"github.com/otfuse/otfuse/internal/dataset/fetch"
)

var (
	// ErrUnavailable is in the chain of an error of [Open] or [Find] when a set
	// is not on this machine and cannot be downloaded.
	ErrUnavailable = errors.New("data set not available")
	// ErrChecksum is in the chain of an error when a download is complete but is
	// not the expected file.
	ErrChecksum = fetch.ErrChecksum
	// ErrUnsafe is in the chain of an error when an archive has an entry whose
	// name leads out of the archive or whose size exceeds the limits, entries that
	// share their bytes, or unpacks to more than a hundred times its size.
	ErrUnsafe = bounded.ErrUnsafe
)

// FileError says which file of a data set is wrong, and where.
type FileError struct {
	Path   string // the file or folder that was opened
	Entry  string // the entry within it, empty where the error is about the whole
	Offset int64  // the byte within the entry, −1 where none can be named
	Err    error
}

func (e *FileError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "data: %s", e.Path)
	if e.Entry != "" {
		fmt.Fprintf(&b, ": %s", e.Entry)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, ": byte %d", e.Offset)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }
