package data

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Progress is what the observer of a long operation is told.
type Progress struct {
	What        string // such as "decoding images"
	Unit        string // of Done and Total: "images" or "bytes"
	Done, Total int64  // Total is 0 where it is not known
}

// Options of [Open]. The zero value is usable.
type Options struct {
	Dir     string         // folder that is searched first
	Observe func(Progress) // called from one goroutine at a time; may be nil
}

// Open reads the set with a name: "cifar10".
//
// label is what results on the set must be called, such as "CIFAR-10 (JPEG
// q75)".
func Open(ctx context.Context, name string, o Options) (train, test *Set, label string, err error) {
	if name != "cifar10" {
		return nil, nil, "", fmt.Errorf("data: no set is called %q; there is cifar10", name)
	}
	for _, dir := range []string{o.Dir, os.Getenv("OTFUSE_DATA")} {
		if dir == "" {
			continue
		}
		p := filepath.Join(dir, "cifar10-jpeg-q75.tar.gz")
		if _, err := os.Stat(p); err == nil {
			train, test, err = OpenCIFAR10JPEG(ctx, p, o.Observe)
			return train, test, "CIFAR-10 (JPEG q75)", err
		}
	}
	return nil, nil, "", fmt.Errorf("data: %s: %w", name, ErrUnavailable)
}
