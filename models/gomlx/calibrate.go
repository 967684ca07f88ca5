package gomlx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/models"
)

// A Calibration collects the second moments of activations over samples. It is
// a fuse.Calibration, made by [Device.Calibration].
//
// A batch is one execution on the device, of both models and of its moments:
// activations never leave the device, and what is kept does not depend on the
// number of samples. Within a batch sums are float32 about the mean of the batch,
// between batches float64. Tokens that attention may not look at, the padding of
// a text, do not count.
type Calibration struct {
	device *Device

	Data   models.Batch // samples; labels are not looked at
	Tokens align.Tokens // positions that count; nil means all

	// Narrow has nodes that the network reads at the selected token alone count
	// that token alone.
	Narrow bool

	// Batch is the number of samples at a time; 0 means at most 50, fewer where
	// their activations are large.
	Batch int

	// Observe is told the samples done after each batch; nil for nobody. It must
	// not call the device.
	Observe func(models.Progress)
}

// StageCalibrate is the Stage under which a [Calibration] reports.
const StageCalibrate = "calibrating"

// Calibration returns a calibration on samples, at the tokens that the filter
// keeps; nil means all.
func (d *Device) Calibration(data models.Batch, tokens align.Tokens) *Calibration {
	return &Calibration{device: d, Data: data, Tokens: tokens}
}

// Collect runs both models over the data and returns what want asks for.
func (c *Calibration) Collect(
	ctx context.Context, src, anchor *models.Model, want align.Request,
) (stats *align.Statistics, err error) {
	done, err := c.device.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	filled, err := c.filled(src, anchor)
	if err != nil {
		return nil, located("calibration", err)
	}
	p, err := filled.compile(ctx, src, anchor, want)
	if err != nil {
		return nil, located("calibration", err)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	sums := newCalibrationSums(want)
	n, size := filled.Data.Len(), filled.batchSize(anchor, want)
	for from := 0; from < n; from += size {
		if err := ctx.Err(); err != nil {
			return nil, located("calibration", err)
		}
		to := min(from+size, n)
		out, err := p.call(ctx, filled.Data.Slice(from, to).Pad(size), to-from)
		if err == nil {
			err = errors.Join(sums.add(ctx, out), free(out...))
		}
		if err != nil {
			return nil, err
		}
		if c.Observe != nil {
			c.Observe(models.Progress{Stage: StageCalibrate, Done: to, Total: n})
		}
	}
	return sums.stats()
}

// filled returns the calibration with the data that both models read and with
// every field set.
func (c *Calibration) filled(src, anchor *models.Model) (*Calibration, error) {
	if c.Batch < 0 {
		return nil, fmt.Errorf("Batch is %d, want at least 0", c.Batch)
	}
	if c.Data.Len() == 0 {
		return nil, errors.New("the data is empty")
	}
	filled := *c
	if filled.Tokens == nil {
		filled.Tokens = align.All{}
	}
	filled.Data = maps.Clone(c.Data)
	delete(filled.Data, models.Labels)
	for _, m := range []*models.Model{src, anchor} {
		var err error
		if filled.Data, err = completed(m, filled.Data); err != nil {
			return nil, err
		}
	}
	return &filled, nil
}

// The largest batch where none is asked for: so many samples, or so many
// activations of one model.
const (
	batchSamples = 50
	batchValues  = 24 << 20
)

// batchSize returns the number of samples in a batch: the fewest batches within
// the limit, of equal size.
func (c *Calibration) batchSize(m *models.Model, want align.Request) int {
	n, limit := c.Data.Len(), c.Batch
	if limit == 0 {
		tokens := m.Layout.Lead + m.Layout.Rows*m.Layout.Cols
		for _, name := range m.Graph.Inputs() {
			if a := c.Data[name]; a.Ints != nil {
				tokens = max(tokens, len(a.Ints)/n) // a text, as long as it is
			}
		}
		kept := tokens
		if groups, err := tokenGroups(c.Tokens, m.Layout, tokens); err == nil {
			kept = len(groups)
		}
		values := 0
		for _, site := range append(singletons(want.Magnitudes), want.Sites...) {
			for _, node := range site {
				values += max(kept, 1) * node.Units
			}
		}
		limit = min(batchSamples, max(batchValues/max(values, 1), 1))
	}
	batches := (n + limit - 1) / limit
	return c.device.mesh.filledUp((n + batches - 1) / batches)
}

// calibrationSums are what was collected so far.
type calibrationSums struct {
	want       align.Request
	sites      []align.Moments
	magnitudes []magnitude
}

func newCalibrationSums(want align.Request) *calibrationSums {
	return &calibrationSums{want: want,
		sites: make([]align.Moments, len(want.Sites)), magnitudes: make([]magnitude, len(want.Magnitudes))}
}

// magnitude is Σ|y| of every unit of a node over so many samples.
type magnitude struct {
	sum   []float64
	count float64
}

// add adds what a pass gave for a batch. Sites are merged side by side, each by
// one goroutine, so how many there are does not show.
func (s *calibrationSums) add(ctx context.Context, out []*array) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.sites)+len(s.magnitudes))
	per := 6 // of batchMoments
	if s.want.Self {
		per++
	}
	for i := range s.sites {
		wg.Go(func() {
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = addSite(&s.sites[i], out[i*per:(i+1)*per])
			}
		})
	}
	wg.Wait()
	out = out[len(s.sites)*per:]
	for k := range s.magnitudes {
		errs[len(s.sites)+k] = s.magnitudes[k].add(out[2*k], out[2*k+1])
	}
	return errors.Join(errs...)
}

// addSite adds the moments of a batch, as batchMoments gives them.
func addSite(to *align.Moments, out []*array) error {
	n, err := scalar(out[0])
	if err != nil {
		return err
	}
	b := align.BatchMoments[float32]{N: n}
	return withValues(out[1:], func(v [][]float32) {
		b.MeanX, b.MeanY, b.ScatterX, b.ScatterY, b.Cross = v[0], v[1], v[2], v[3], v[4]
		if len(v) > 5 {
			b.Self = v[5]
		}
		align.Accumulate(to, b)
	})
}

func (m *magnitude) add(sum, count *array) error {
	n, err := scalar(count)
	if err != nil {
		return err
	}
	return withValues([]*array{sum}, func(v [][]float32) {
		if m.sum == nil {
			m.sum = make([]float64, len(v[0]))
		}
		for i, x := range v[0] {
			m.sum[i] += float64(x)
		}
		m.count += n
	})
}

// stats returns what was collected.
func (s *calibrationSums) stats() (*align.Statistics, error) {
	out := &align.Statistics{Magnitudes: map[int][]float64{}, Counts: map[int]float64{}}
	for i := range s.sites {
		if s.sites[i].N == 0 {
			return nil, fmt.Errorf("gomlx: calibration: the data is padding alone at %s", s.want.Sites[i][0].Name)
		}
		m := s.sites[i] // so that each can be let go by itself
		out.Moments = append(out.Moments, &m)
	}
	for k, n := range s.want.Magnitudes {
		for i := range s.magnitudes[k].sum {
			s.magnitudes[k].sum[i] /= max(s.magnitudes[k].count, 1)
		}
		out.Magnitudes[n.ID], out.Counts[n.ID] = s.magnitudes[k].sum, s.magnitudes[k].count
	}
	return out, nil
}
