package fuse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// Parts are the parts of a calibration in a directory, as a [Calibration]: what it
// returns are the sums over all parts, added in their order, so that the same parts give
// the same bytes. It needs neither the samples nor a device.
type Parts struct {
	parts   []storedPart // in their order
	digests digests
}

// A storedPart is a finished part, open for reading.
type storedPart struct {
	dir    string
	models []string // digests of what was asked about
	files  []*safetensors.File
}

// OpenParts opens all parts that are in a directory. Where one of them is missing, not
// finished, or of other samples than said, the error is an [ErrPart] that names it.
func OpenParts(dir, samples string) (_ *Parts, err error) {
	n, err := countParts(dir)
	if err != nil {
		return nil, err
	}
	p := &Parts{digests: digests{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	for i := range n {
		part, err := openPart(filepath.Join(dir, partName(i+1, n)), samples)
		p.parts = append(p.parts, part)
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// countParts tells how many parts those in a directory are of.
func countParts(dir string) (parts int, err error) {
	found, err := filepath.Glob(filepath.Join(dir, "part-*-of-*"))
	if err != nil {
		return 0, fmt.Errorf("fuse: %s: %w", dir, err)
	}
	for _, path := range found {
		var i, n int
		if _, err := fmt.Sscanf(filepath.Base(path), "part-%d-of-%d", &i, &n); err != nil {
			continue // of somebody else
		}
		if parts != 0 && n != parts {
			return 0, fmt.Errorf("%w: %s holds parts of %d and of %d", ErrPart, dir, min(parts, n), max(parts, n))
		}
		parts = n
	}
	if parts == 0 {
		return 0, fmt.Errorf("%w: %s holds none", ErrPart, dir)
	}
	return parts, nil
}

// openPart opens a part. What it returns is to be closed also if there is an error.
func openPart(dir, samples string) (storedPart, error) {
	p := storedPart{dir: dir}
	m, err := readManifest(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, fmt.Errorf("%w: %s is missing or not finished", ErrPart, dir)
	case err != nil:
		return p, fmt.Errorf("%w: %s: %w", ErrPart, dir, err)
	case m.Samples != samples:
		return p, foreign(dir, m.Samples, samples)
	}
	p.models = m.Models
	for i := range m.Files {
		f, err := safetensors.Open(filepath.Join(dir, statisticsFile(i)))
		if err != nil {
			return p, fmt.Errorf("%w: %w", ErrPart, err)
		}
		p.files = append(p.files, f)
	}
	return p, nil
}

// Collect implements [Calibration]. Models that the parts are not of are an [ErrPart], and
// so is what they were not asked for.
func (p *Parts) Collect(ctx context.Context, src, anchor *models.Model, want align.Request) (*align.Statistics,
	error) {
	pair, err := p.digests.pair(src, anchor)
	if err != nil {
		return nil, err
	}
	var sum *align.Statistics
	for _, part := range p.parts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		stats, err := part.read(pair, want)
		if err == nil && sum != nil {
			stats, err = sum.Add(stats)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.dir, err)
		}
		sum = stats
	}
	return sum, nil
}

// read reads what a request asks for.
func (p storedPart) read(pair pairDigest, want align.Request) (*align.Statistics, error) {
	for _, digest := range []string{pair.source, pair.anchor} {
		if !slices.Contains(p.models, digest) {
			return nil, fmt.Errorf("%w: it is of other models, or of another method", ErrPart)
		}
	}
	out := &align.Statistics{Magnitudes: map[int][]float64{}, Counts: map[int]float64{}}
	for _, site := range want.Sites {
		m, err := loadMoments(p.tensor, siteKey(pair, site), want.Self)
		if err != nil {
			return nil, err
		}
		out.Moments = append(out.Moments, m)
	}
	for _, n := range want.Magnitudes {
		var err error
		out.Magnitudes[n.ID], out.Counts[n.ID], err = loadMagnitude(p.tensor, magnitudeKey(pair, n))
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tensor reads a tensor of one of the files.
func (p storedPart) tensor(name string) (safetensors.Tensor, error) {
	for _, f := range p.files {
		if slices.Contains(f.Names(), name) {
			return f.Tensor(name)
		}
	}
	return safetensors.Tensor{}, fmt.Errorf("%w: there is no %s: it was made for another method", ErrPart, name)
}

// Close closes the files.
func (p *Parts) Close() error {
	var errs []error
	for _, part := range p.parts {
		for _, f := range part.files {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
