package main

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/models"
)

// shipped holds the parents that come with the program; parents/README.md says
// how they were made.
//
//go:embed parents
var shipped embed.FS

// openParents opens the models of -parents, or the pair shipped for a data set.
func openParents(o options, set string) ([]*models.Model, error) {
	dirs := o.dirs()
	if len(dirs) == 1 {
		return nil, fmt.Errorf("vit-cifar: -parents names one directory, want at least two")
	}
	if len(dirs) > 1 {
		var out []*models.Model
		for _, d := range dirs {
			m, err := models.Open(d)
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
		return out, nil
	}
	var out []*models.Model
	for _, name := range []string{set + "-seed0", set + "-seed1"} {
		m, err := openShipped(name)
		if err != nil {
			return nil, fmt.Errorf("vit-cifar: no parents are shipped for %s; give two with -parents: %w", set, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// openShipped opens a checkpoint within the program by way of a temporary copy.
func openShipped(name string) (*models.Model, error) {
	sub, err := fs.Sub(shipped, "parents/"+name)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "vit-cifar-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	dir := filepath.Join(tmp, name)
	if err := os.CopyFS(dir, sub); err != nil {
		return nil, err
	}
	return models.Open(dir)
}
