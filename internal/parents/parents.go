// Package parents opens the networks that are shipped: for some data sets a pair
// that was trained from the seeds 0 and 1. They are embedded, so that programs find
// them in any working directory.
package parents

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	text "github.com/otfuse/otfuse/examples/bert-wiki/parents"
	causal "github.com/otfuse/otfuse/examples/gpt-wiki/parents"
	images "github.com/otfuse/otfuse/examples/vit-cifar/parents"
	"github.com/otfuse/otfuse/models"
)

// ErrNone reports a data set and a seed for which no network is shipped.
var ErrNone = errors.New("no network is shipped")

// Open opens the network for a data set that was trained from a seed.
func Open(set string, seed int) (*models.Model, error) {
	name := fmt.Sprintf("%s-seed%d", set, seed)
	for _, files := range []fs.FS{images.Files(), text.Files(), causal.Files()} {
		sub, err := fs.Sub(files, name)
		if err != nil {
			return nil, fmt.Errorf("parents: %w", err)
		}
		if _, err := fs.Stat(sub, "config.json"); err == nil {
			return open(sub, name)
		}
	}
	return nil, fmt.Errorf("parents: %s: %w", name, ErrNone)
}

// Pair opens the two networks for a data set.
func Pair(set string) ([]*models.Model, error) {
	var out []*models.Model
	for seed := range 2 {
		m, err := Open(set, seed)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// open opens a checkpoint by way of a temporary copy.
func open(files fs.FS, name string) (*models.Model, error) {
	tmp, err := os.MkdirTemp("", "parent-")
	if err != nil {
		return nil, fmt.Errorf("parents: %w", err)
	}
	defer os.RemoveAll(tmp)
	dir := filepath.Join(tmp, name)
	if err := os.CopyFS(dir, files); err != nil {
		return nil, fmt.Errorf("parents: %w", err)
	}
	return models.Open(dir)
}
