package mlx

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/models"
)

// A Calibration collects the second moments of activations over samples. It
// serves as the calibration of package fuse.
//
// Activations live on the device and only for a batch; what is kept are the
// moments, whose size does not depend on the number of samples. Within a batch
// sums are float32 about the mean of the batch, between batches float64. Tokens
// that attention may not look at, the padding of a text, are no samples.
type Calibration struct {
	Runner *Runner
	Data   models.Batch // labels are not looked at
	Tokens align.Tokens // nil means all
	Narrow bool         // sites that the network reads at the selected token only count that token alone
	Batch  int          // samples at a time; 0 means at most 50, fewer where their activations are large
}

// The largest batch where none is asked for: so many samples, or so many
// activations of one model.
const (
	batchSamples = 50
	batchValues  = 24 << 20
)

// Collect runs both models over the data and returns what want asks for.
func (c *Calibration) Collect(ctx context.Context, src, anchor *models.Model, want align.Want) (stats *align.Stats, err error) {
	if c.Data.Len() == 0 {
		return nil, errors.New("mlx: the calibration data is empty")
	}
	filled := *c
	filled.Data = maps.Clone(c.Data)
	delete(filled.Data, models.Labels)
	for _, m := range []*models.Model{src, anchor} {
		if filled.Data, err = fitting(m, filled.Data); err != nil {
			return nil, err
		}
	}
	sums := newSums(c.Runner, len(want.Sites), len(want.Magnitudes), want.Self)
	defer func() { err = errors.Join(err, sums.close()) }()
	if err := filled.run(ctx, sums, src, anchor, want); err != nil {
		return nil, err
	}
	return sums.stats(want)
}

// run adds all samples to sums.
func (c *Calibration) run(ctx context.Context, sums *sums, src, anchor *models.Model, want align.Want) (err error) {
	n, size := c.Data.Len(), c.size(anchor, want)
	x, err := c.tap(src, want.Sites, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	y, err := c.tap(anchor, want.Sites, want.Magnitudes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	for from := 0; from < n; from += size {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := min(from+size, n)
		if err := sums.addBatch(x, y, c.Data.Slice(from, to).Pad(size), to-from); err != nil {
			return fmt.Errorf("mlx: calibration: %w", err)
		}
	}
	return nil
}

// size returns the number of samples in a batch: the fewest batches within the
// limit, of equal size.
func (c *Calibration) size(m *models.Model, want align.Want) int {
	n, limit := c.Data.Len(), c.Batch
	if limit <= 0 {
		layout := m.Arch.Layout(m.Config)
		tokens := layout.Lead + layout.Rows*layout.Cols
		for _, name := range m.Graph.Inputs() {
			if a := c.Data[name]; a.Ints != nil {
				tokens = max(tokens, len(a.Ints)/n) // a text, as long as it is
			}
		}
		kept := max(len(c.tokens().Groups(layout, tokens)), 1)
		values := 0
		for _, site := range append(single(want.Magnitudes), want.Sites...) {
			for _, node := range site {
				values += kept * node.Units
			}
		}
		limit = min(batchSamples, max(batchValues/max(values, 1), 1))
	}
	batches := (n + limit - 1) / limit
	return (n + batches - 1) / batches
}

// tokens is the token filter.
func (c *Calibration) tokens() align.Tokens {
	if c.Tokens == nil {
		return align.All{}
	}
	return c.Tokens
}

// sums accumulates moments on the device. The state of a site is its count,
// both means, both sums of squares, the cross sums and, where asked for, those
// of the anchor with itself.
type sums struct {
	runner *Runner
	self   bool
	sites  [][]*tensors.Tensor
	mags   [][]float64
	count  []float64
}

func newSums(r *Runner, sites, mags int, self bool) *sums {
	return &sums{runner: r, self: self, sites: make([][]*tensors.Tensor, sites), mags: make([][]float64, mags), count: make([]float64, mags)}
}

func (s *sums) close() error {
	var errs []error
	for _, state := range s.sites {
		errs = append(errs, free(state...))
	}
	s.sites = nil
	return errors.Join(errs...)
}

// addBatch adds the first real samples of a batch.
func (s *sums) addBatch(x, y *tap, batch models.Batch, real int) error {
	vx, err := x.call(batch, real)
	if err != nil {
		return err
	}
	defer func() { _ = free(vx...) }() // freed twice at worst
	vy, err := y.call(batch, real)
	if err != nil {
		return err
	}
	defer func() { _ = free(vy...) }()
	weights := vy[len(vy)/2:]
	for i := range s.sites {
		if err := s.addSite(i, weights[i], vx[i], vy[i]); err != nil {
			return err
		}
	}
	for k := range s.mags {
		if err := s.addMagnitude(k, weights[len(s.sites)+k], vy[len(s.sites)+k]); err != nil {
			return err
		}
	}
	return nil
}

func (s *sums) addSite(i int, w, x, y *tensors.Tensor) error {
	n, m := x.Shape().Dim(2), y.Shape().Dim(2)
	if s.sites[i] == nil {
		for _, d := range s.shape(n, m) {
			s.sites[i] = append(s.sites[i], tensors.FromShape(shapes.Make(dtypes.F64, d...)))
		}
	}
	e, err := s.runner.compiled(fmt.Sprint("moments ", s.self), s.graph)
	if err != nil {
		return err
	}
	out, err := e.Call(args([]*tensors.Tensor{w, x, y}, s.sites[i])...)
	if err != nil {
		return err
	}
	err = free(s.sites[i]...)
	s.sites[i] = out
	return err
}

func (s *sums) shape(n, m int) [][]int {
	out := [][]int{{}, {n}, {m}, {n}, {m}, {n, m}}
	if s.self {
		out = append(out, []int{m, m})
	}
	return out
}

// graph adds a batch to the state of a site, after Chan, Golub and LeVeque
// (1979): w [B, G], x [B, G, n], y [B, G, m], state.. → state...
func (s *sums) graph(in []*gx.Node) []*gx.Node {
	w, state := gx.Reshape(in[0], -1, 1), in[3:]
	rows := gx.ReduceAllSum(gx.ConvertDType(w, dtypes.F64))
	flatten := func(v *gx.Node) *gx.Node { return gx.Reshape(v, -1, v.Shape().Dim(2)) }
	wide := func(v *gx.Node) *gx.Node { return gx.ConvertDType(v, dtypes.F64) }
	center := func(v *gx.Node) (mean, rest *gx.Node) {
		mean = gx.Div(gx.ReduceSum(gx.Mul(v, w), 0), gx.ConvertDType(gx.MaxScalar(rows, 1), v.DType()))
		return wide(mean), gx.Mul(gx.Sub(v, gx.InsertAxes(mean, 0)), w)
	}
	mx, cx := center(flatten(in[1]))
	my, cy := center(flatten(in[2]))
	count := gx.Add(state[0], rows)
	share := gx.Div(rows, gx.MaxScalar(count, 1))
	grow := gx.Mul(state[0], share)
	dx, dy := gx.Sub(mx, state[1]), gx.Sub(my, state[2])
	outer := func(a, b *gx.Node) *gx.Node { return gx.Mul(gx.InsertAxes(a, 1), gx.InsertAxes(b, 0)) }
	cross := func(a, b *gx.Node) *gx.Node { return wide(gx.Einsum("ri,rj->ij", a, b)) }
	squares := func(a *gx.Node) *gx.Node { return wide(gx.ReduceSum(gx.Square(a), 0)) }
	out := []*gx.Node{
		count,
		gx.Add(state[1], gx.Mul(dx, share)),
		gx.Add(state[2], gx.Mul(dy, share)),
		gx.Add(gx.Add(state[3], squares(cx)), gx.Mul(gx.Square(dx), grow)),
		gx.Add(gx.Add(state[4], squares(cy)), gx.Mul(gx.Square(dy), grow)),
		gx.Add(gx.Add(state[5], cross(cx, cy)), gx.Mul(outer(dx, dy), grow))}
	if s.self {
		out = append(out, gx.Add(gx.Add(state[6], cross(cy, cy)), gx.Mul(outer(dy, dy), grow)))
	}
	return out
}

// addMagnitude adds Σ|y| over the samples and tokens of a batch: w [B, G],
// y [B, G, m].
func (s *sums) addMagnitude(k int, w, y *tensors.Tensor) error {
	e, err := s.runner.compiled("magnitude", func(in []*gx.Node) []*gx.Node {
		return []*gx.Node{gx.ReduceSum(gx.Mul(gx.Abs(in[1]), gx.InsertAxes(in[0], -1)), 0, 1), gx.ReduceAllSum(in[0])}
	})
	if err != nil {
		return err
	}
	out, err := e.Call(w, y)
	if err != nil {
		return err
	}
	data, err := tensors.CopyFlatData[float32](out[0])
	if err != nil {
		return err
	}
	n, err := scalar(out[1])
	if err = errors.Join(err, free(out...)); err != nil {
		return err
	}
	if s.mags[k] == nil {
		s.mags[k] = make([]float64, len(data))
	}
	for i, v := range data {
		s.mags[k][i] += float64(v)
	}
	s.count[k] += n
	return nil
}

// stats reads the sums back, and frees those of a site once they are read.
func (s *sums) stats(want align.Want) (*align.Stats, error) {
	out := &align.Stats{Magnitudes: map[int][]float64{}}
	for i, state := range s.sites {
		var flat [][]float64
		for _, t := range state[1:] {
			v, err := tensors.CopyFlatData[float64](t)
			if err != nil {
				return nil, fmt.Errorf("mlx: %w", err)
			}
			flat = append(flat, v)
		}
		count, err := scalar(state[0])
		if err != nil {
			return nil, err
		}
		if count == 0 {
			return nil, fmt.Errorf("mlx: calibration: the data holds padding alone at %s", want.Sites[i][0].Name)
		}
		n, m := len(flat[0]), len(flat[1])
		mo := &align.Moments{N: count, MeanX: flat[0], MeanY: flat[1], VarX: flat[2], VarY: flat[3], Cross: mat.NewDense(n, m, flat[4])}
		if s.self {
			mo.Self = mat.NewDense(m, m, flat[5])
		}
		out.Moments = append(out.Moments, mo)
		s.sites[i] = nil
		if err := free(state...); err != nil {
			return nil, fmt.Errorf("mlx: %w", err)
		}
	}
	for k, n := range want.Magnitudes {
		for i := range s.mags[k] {
			s.mags[k][i] /= max(s.count[k], 1)
		}
		out.Magnitudes[n.ID] = s.mags[k]
	}
	return out, nil
}
