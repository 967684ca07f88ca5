package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/parents"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
)

// OpenParents opens the models of a comma-separated list of directories, or ids of the
// Hugging Face hub, the anchor first. It returns nil where the list is empty. The others
// come in the conventions of the anchor, see [fuse.Translate], so that one batch of
// samples is for all; what cannot be translated is left to [CheckParents].
func OpenParents(ctx context.Context, list string) ([]*models.Model, error) {
	if len(listed(list)) == 1 {
		return nil, errors.New("-parents names one checkpoint, want at least two")
	}
	return OpenModels(ctx, list)
}

// OpenModels is OpenParents of any number.
func OpenModels(ctx context.Context, list string) ([]*models.Model, error) {
	names := listed(list)
	dirs, err := cli.Checkpoints(ctx, names...)
	if err != nil {
		return nil, err
	}
	var out []*models.Model
	for _, dir := range dirs {
		m, err := models.Open(dir)
		if err != nil {
			return nil, err
		}
		if len(out) > 0 {
			if translated, err := fuse.Translate(m, out[0]); err == nil {
				m = translated
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// listed splits a comma-separated list.
func listed(list string) []string {
	names := strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
	for k, name := range names {
		names[k] = strings.TrimSpace(name)
	}
	return names
}

// CheckOutputs reports, before any work is done, that a comparison cannot write into
// out: checkpoints of some names cannot be saved there, or what is written would be put
// in place of a parent, into one, or in place of a file that no program wrote. The parents are those of [OpenParents].
func CheckOutputs(out, parents string, names ...string) error {
	dirs := listed(parents)
	for _, dir := range dirs {
		if atomicfile.Holds(dir, out) {
			return fmt.Errorf("%s is or lies in %s, a parent, to which nothing is added", out, dir)
		}
	}
	for _, name := range names {
		if err := cli.Replaceable(filepath.Join(out, name), dirs...); err != nil {
			return err
		}
	}
	if err := report.Replaceable(out); err != nil {
		return err
	}
	return cli.Writable(out)
}

// ShippedParents opens the pair that is shipped for a data set.
func ShippedParents(set string) ([]*models.Model, error) {
	pair, err := parents.Pair(set)
	if err != nil {
		return nil, fmt.Errorf("no parents are shipped for %s; give two with -parents: %w", set, err)
	}
	return pair, nil
}

// CheckParents reports, before any work is done, a parent that cannot be fused
// into the first.
func CheckParents(all []*models.Model) error {
	for k, m := range all[1:] {
		if err := fuse.Check(m, all[0]); err != nil {
			return fmt.Errorf("parent %d: %w", k+1, err)
		}
	}
	return nil
}

// sameSize reports whether two models have the same widths.
func sameSize(a, b *models.Model) bool {
	return a.Dims().Width == b.Dims().Width && a.Dims().MLP == b.Dims().MLP
}

// parentNames are the labels of the rows of parents.
func parentNames(all []*models.Model) []string {
	out := []string{"parent 0 (anchor)"}
	for k := range all[1:] {
		out = append(out, fmt.Sprintf("parent %d", k+1))
	}
	return out
}
