package fuse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// ErrPart reports a part of a calibration that is missing, of something else, or
// unfinished.
var ErrPart = errors.New("fuse: a part of the calibration does not fit")

// partName is the name of a part of so many in its directory.
func partName(part, parts int) string { return fmt.Sprintf("part-%d-of-%d", part, parts) }

// partManifest is the file that a finished part has beside its statistics.
const partManifest = "part.json"

// A manifest says what a part is of.
type manifest struct {
	Samples string   `json:"samples"` // that all parts share, in words or as a digest
	Models  []string `json:"models"`  // digests of what was asked about, in the order of asking
	Files   int      `json:"files"`   // with statistics
}

// readManifest reads that of a finished part. Its error wraps [fs.ErrNotExist] where there
// is none.
func readManifest(dir string) (m manifest, err error) {
	text, err := os.ReadFile(filepath.Join(dir, partManifest))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	return m, err
}

// statisticsFile is the name of a file with statistics, from 0.
func statisticsFile(i int) string { return fmt.Sprintf("statistics-%04d.safetensors", i) }

// A Part is a [Calibration] that keeps on disk what another collects from a share of the
// samples, so that several processes, on as many machines as there are, calibrate
// together: each makes a part with [Collect], and [OpenParts] adds them up.
type Part struct {
	calibration Calibration
	dir         string
	manifest    manifest
	digests     digests
	stored      map[string]bool // keys of what is in a file
}

// NewPart begins part number part, from 1, of parts in a directory. The calibration has the
// samples of that part; samples says what all parts together are of, and is the same for
// each. A part that is finished is an [fs.ErrExist], one of other samples an [ErrPart].
// What an interrupted process has left is made anew.
func NewPart(dir string, part, parts int, samples string, c Calibration) (*Part, error) {
	if part < 1 || part > parts {
		return nil, fmt.Errorf("fuse: part %d of %d, want 1 to the number of parts", part, parts)
	}
	p := &Part{calibration: c, dir: filepath.Join(dir, partName(part, parts)), manifest: manifest{Samples: samples},
		digests: digests{}, stored: map[string]bool{}}
	switch had, err := readManifest(p.dir); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("fuse: %s: %w", p.dir, err)
	case had.Samples != samples:
		return nil, foreign(p.dir, had.Samples, samples)
	default:
		return nil, fmt.Errorf("fuse: %s is finished: %w", p.dir, fs.ErrExist)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, fmt.Errorf("fuse: %w", err)
	}
	return p, nil
}

// foreign reports a part of other samples.
func foreign(dir, got, want string) error {
	return fmt.Errorf("%w: %s is of other samples: %q, want %q", ErrPart, dir, got, want)
}

// Collect implements [Calibration].
func (p *Part) Collect(ctx context.Context, src, anchor *models.Model, want align.Request) (*align.Statistics,
	error) {
	stats, err := p.calibration.Collect(ctx, src, anchor, want)
	if err == nil {
		err = checkStatistics(stats, want, src)
	}
	if err != nil {
		return nil, err
	}
	pair, err := p.digests.pair(src, anchor)
	if err != nil {
		return nil, err
	}
	tensors := map[string]safetensors.Tensor{}
	for i, site := range want.Sites {
		if key := siteKey(pair, site); !p.stored[key] {
			p.stored[key] = true
			if err := storeMoments(tensors, key, stats.Moments[i]); err != nil {
				return nil, err
			}
		}
	}
	for _, n := range want.Magnitudes {
		if key := magnitudeKey(pair, n); !p.stored[key] {
			p.stored[key] = true
			if err := storeMagnitude(tensors, key, stats.Magnitudes[n.ID], stats.Counts[n.ID]); err != nil {
				return nil, err
			}
		}
	}
	path := filepath.Join(p.dir, statisticsFile(p.manifest.Files))
	if err := safetensors.WriteFile(path, tensors, map[string]string{"samples": p.manifest.Samples}); err != nil {
		return nil, err
	}
	p.manifest.Files++
	return stats, nil
}

// Finish writes down that the part is whole. One that is not finished is refused.
func (p *Part) Finish() error {
	p.manifest.Models = p.digests.all()
	text, err := json.MarshalIndent(p.manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("fuse: %w", err)
	}
	err = atomicfile.WriteFile(filepath.Join(p.dir, partManifest), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("fuse: %w", err)
	}
	return nil
}
