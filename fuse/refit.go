package fuse

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/models"
)

// A Refit fits the linear layers of a fused model, from input to output, to
// what the aligned models write at the same place, in the mean, when each reads
// what it made itself, carried into the anchor's units where widths differ
// ([Aligned]). The mean of weights does that for layers whose inputs agree; where
// they do not, and behind layers that were fitted already, least squares does
// better:
//
//	min_W,b  E ‖W x + b − y‖² + Ridge · tr(G)/n · ‖W − W_mean‖²
//
// with x what the layer reads in the fused model, y what the aligned ones write,
// and G the covariance [n × n] of x. It needs samples and no labels.
type Refit struct {
	Ridge float64 // above 0; the larger, the nearer to the mean
}

// Fit returns fused, a mean of the aligned models, with its linear layers
// fitted. Of the settings it uses the calibration, which it needs, and the
// weights.
func (r Refit) Fit(ctx context.Context, fused *models.Model, a *Aligned, s *Settings) (*models.Model, error) {
	set, err := s.withDefaults(len(a.Others) + 1)
	if err == nil {
		err = r.check(set.Calibration)
	}
	if err != nil {
		return nil, err
	}
	if fused, err = fused.Load(); err != nil {
		return nil, fmt.Errorf("fuse: refit: %w", err)
	}
	f := r.refitter(fused, a.teachers(), set)
	if err := f.fitAll(ctx); err != nil {
		return nil, fmt.Errorf("fuse: refit: %w", err)
	}
	return f.fused, nil
}

// refitter returns a run that fits a copy of a model to others.
func (r Refit) refitter(fused *models.Model, teachers []Original, s Settings) *refitter {
	return &refitter{Refit: r, settings: s, fused: fused.With(scaledParams(fused.Params, 1)), teachers: teachers}
}

// check reports a refit that cannot be made.
func (r Refit) check(c Calibration) error {
	if !(r.Ridge > 0) || math.IsInf(r.Ridge, 0) {
		return fmt.Errorf("refit: the ridge is %g, want a finite number above 0", r.Ridge)
	}
	if c == nil {
		return fmt.Errorf("refit: %w", ErrNoCalibration)
	}
	return nil
}

// refitter is one run of a Refit; it changes fused in place.
type refitter struct {
	Refit
	settings Settings
	fused    *models.Model
	teachers []Original // anchor first
}

// fitAll fits all layers, those that read the same at once.
func (r *refitter) fitAll(ctx context.Context) error {
	var group []*graph.Node
	for i, n := range r.fused.Graph.Nodes {
		r.settings.observe("refitting", n.Name, i, len(r.fused.Graph.Nodes))
		if n.Op != graph.Linear || n.Source().Op == graph.Input || n.Source().Op == graph.Patches {
			continue // what reads the input reads the same in all models
		}
		if len(group) > 0 && n.Source() != group[0].Source() {
			if err := r.fitLayers(ctx, group); err != nil {
				return err
			}
			group = nil
		}
		group = append(group, n)
	}
	if len(group) == 0 {
		return nil
	}
	return r.fitLayers(ctx, group)
}

// fitLayers fits layers that read the same.
func (r *refitter) fitLayers(ctx context.Context, group []*graph.Node) error {
	site := append([]*graph.Node{group[0].Source()}, group...)
	in := site[0].Units
	problems := make([]least, len(group))
	for k, t := range r.teachers {
		weight := r.settings.Weights[k]
		if weight == 0 {
			continue
		}
		stats, err := r.settings.Calibration.Collect(ctx, t.Model, r.fused,
			align.Request{Sites: [][]*graph.Node{site}, Self: true})
		if err != nil {
			return fmt.Errorf("%s: %w", group[0].Name, err)
		}
		m := stats.Moments[0]
		at := t.Model.Graph.Nodes[site[0].ID].Units
		for i, n := range group {
			to := at + t.Model.Graph.Nodes[n.ID].Units
			p := &problems[i]
			p.gram, p.read, p.count, p.ridge = m.Self.Slice(0, in, 0, in).(*mat.Dense), m.MeanY[:in], m.N, r.Ridge
			cross, written := t.carried(n, m.Cross.Slice(at, to, 0, in), m.MeanX[at:to])
			p.addWritten(weight, cross, written)
			at = to
		}
	}
	for i, n := range group {
		if err := r.solve(ctx, n, problems[i]); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return nil
}

// least is a problem of least squares: sums over samples about the means.
type least struct {
	cross, gram   *mat.Dense // [out × in], [in × in]
	read, written []float64  // means [in], [out]
	count, ridge  float64
}

// addWritten adds what one of the models writes.
func (c *least) addWritten(weight float64, cross mat.Matrix, written []float64) {
	if c.cross == nil {
		rows, columns := cross.Dims()
		c.cross, c.written = mat.NewDense(rows, columns, nil), make([]float64, rows)
	}
	var part mat.Dense
	part.Scale(weight, cross)
	c.cross.Add(c.cross, &part)
	floats.AddScaled(c.written, weight, written)
}

// solve replaces the parameters of n.
func (r *refitter) solve(ctx context.Context, n *graph.Node, c least) error {
	weight, _ := n.Param(graph.RoleWeight)
	bias, biased := n.Param(graph.RoleBias)
	weights := fetchPart(r.fused.Params, weight).unitRows(weight.Axes)
	change, err := interruptible.Value(ctx, func() (*mat.Dense, error) {
		if !biased {
			return c.aboutZero().change(weights)
		}
		return c.change(weights)
	})
	if err != nil || change == nil {
		return err
	}
	weights.Add(weights, change.T())
	storePart(r.fused.Params, weight, fromMatrix(weights, weight.Axes), "")
	if !biased {
		return nil
	}
	b := fetchPart(r.fused.Params, bias)
	for i := range b.data {
		b.data[i] = float32(c.written[i] - mat.Dot(weights.RowView(i), mat.NewVecDense(len(c.read), c.read)))
	}
	storePart(r.fused.Params, bias, b, "")
	return nil
}

// aboutZero is the problem of a layer without a bias.
func (c least) aboutZero() least {
	read := mat.NewVecDense(len(c.read), c.read)
	gram, cross := mat.DenseCopyOf(c.gram), mat.DenseCopyOf(c.cross)
	gram.RankOne(gram, c.count, read, read)
	cross.RankOne(cross, c.count, mat.NewVecDense(len(c.written), c.written), read)
	c.gram, c.cross = gram, cross
	return c
}

// change returns what is to be added to the weights [out × in], transposed; nil where
// nothing is read.
func (c least) change(weights *mat.Dense) (*mat.Dense, error) {
	var missed, change mat.Dense
	missed.Mul(weights, c.gram)
	missed.Sub(c.cross, &missed)
	damp := c.ridge * mat.Trace(c.gram) / float64(len(c.read))
	if damp == 0 {
		return nil, nil
	}
	sym := mat.NewSymDense(len(c.read), nil)
	for i := range c.read {
		for j := i; j < len(c.read); j++ {
			sym.SetSym(i, j, (c.gram.At(i, j)+c.gram.At(j, i))/2)
		}
		sym.SetSym(i, i, sym.At(i, i)+damp)
	}
	var chol mat.Cholesky
	if !chol.Factorize(sym) {
		return nil, errFactor
	}
	return &change, chol.SolveTo(&change, missed.T())
}
