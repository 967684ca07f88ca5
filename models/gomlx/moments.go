package gomlx

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A calibrationPass runs both models on a batch and takes the moments of what they
// compute there:
// the weights of the samples [B], inputs.., params of the source.., of the
// anchor.. → [batchMoments] of each site, then Σ|y| and the samples of each
// magnitude.
type calibrationPass struct {
	run    *program
	inputs []string
	params []*array
}

func (p *calibrationPass) close() error { return free(p.params...) }

// call runs a batch of which the first so many samples count.
func (p *calibrationPass) call(ctx context.Context, batch models.Batch, count int) ([]*array, error) {
	d := p.run.device
	in, err := d.uploadBatch(batch, p.inputs)
	if err != nil {
		return nil, err
	}
	weights := make([]float32, batch.Len())
	for i := range count {
		weights[i] = 1
	}
	counted, err := d.mesh.shared(tensors.FromFlatDataAndDimensions(weights, len(weights)))
	if err != nil {
		return nil, errors.Join(err, free(in...))
	}
	in = slices.Insert(in, 0, counted)
	out, err := p.run.call(ctx, arguments(in, p.params)...)
	return out, errors.Join(err, free(in...))
}

// compile compiles what want asks for.
func (c *Calibration) compile(
	ctx context.Context, src, anchor *models.Model, want align.Request,
) (*calibrationPass, error) {
	inputs, sites, mags := anchor.Graph.Inputs(), nodeIDs(want.Sites), nodeIDs(singletons(want.Magnitudes))
	key := fmt.Sprintf("calibration %#v %v %v %v %v %v %v",
		c.Tokens, c.Narrow, want.Self, sites, mags, src.Layout, anchor.Layout)
	key += signature(src.Graph) + signature(anchor.Graph)
	graph := func(in []*gx.Node) (out []*gx.Node) {
		k := len(inputs) + 1
		given, params := byName(inputs, in[1:k]), in[k:]
		k = len(tensorNames(src.Graph))
		x := c.activations(src, params[:k], given, sites)
		y := c.activations(anchor, params[k:], given, slices.Concat(sites, mags))
		for _, site := range sites {
			u, _ := c.keptTokens(src, x, site, in[0])
			v, counts := c.keptTokens(anchor, y, site, in[0])
			out = append(out, batchMoments(counts, u, v, want)...)
		}
		for _, site := range mags {
			v, counts := c.keptTokens(anchor, y, site, in[0])
			out = append(out, gx.ReduceSum(gx.Mul(gx.Abs(v), gx.InsertAxes(counts, -1)), 0, 1), gx.ReduceAllSum(counts))
		}
		return out
	}
	run := c.device.cached(key, "calibration of "+anchor.Arch.Class, computation{graph: graph})
	p := &calibrationPass{run: run, inputs: inputs}
	for _, m := range []*models.Model{src, anchor} {
		params, err := c.device.upload(ctx, m)
		if p.params = append(p.params, params...); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

// activations runs m and returns the values of its nodes, at all tokens where a site
// needs them.
func (c *Calibration) activations(m *models.Model, params []*gx.Node, given nodes, sites [][]int) []*gx.Node {
	var all []int
	for _, site := range sites {
		if !c.narrow(m.Graph, site) {
			all = append(all, site...)
		}
	}
	return interpret(m.Graph, byName(tensorNames(m.Graph), params), given, all...)
}

// narrow reports whether the selected token alone of a site counts: units that
// are stacked need the same samples.
func (c *Calibration) narrow(g *graph.Graph, site []int) bool {
	return c.Narrow && !slices.ContainsFunc(site, func(id int) bool { return !g.Nodes[id].Narrow() })
}

// keptTokens returns the tokens of a site [B, groups, units], its units stacked,
// and what each counts [B, groups], for samples that count w [B].
func (c *Calibration) keptTokens(m *models.Model, values []*gx.Node, site []int, w *gx.Node) (v, counts *gx.Node) {
	mask := m.Graph.Mask()
	var parts []*gx.Node
	var shares *gx.Node // of each group that are not padding
	for _, id := range site {
		v := values[id]
		switch {
		case v.Rank() == 2:
			v = gx.InsertAxes(v, 1)
		case c.narrow(m.Graph, site):
			v = firstToken(v)
		default:
			groups, err := tokenGroups(c.Tokens, m.Layout, v.Shape().Dim(1))
			if err != nil {
				panic(&graphError{fmt.Sprintf("node %s: %v", m.Graph.Nodes[id].Name, err)})
			}
			if mask == nil {
				v = groupMeans(v, groups)
				break
			}
			kept := gx.InsertAxes(gx.ConvertDType(values[mask.ID], dtypes.Float32), -1)
			shares = groupMeans(kept, groups)
			v = gx.Div(groupMeans(gx.Mul(v, kept), groups), gx.MaxScalar(shares, 1e-9))
		}
		parts = append(parts, v)
	}
	v = gx.Concatenate(parts, -1)
	counts = gx.BroadcastToDims(gx.InsertAxes(w, 1), v.Shape().Dim(0), v.Shape().Dim(1))
	if shares != nil {
		counts = gx.Mul(counts, gx.Sign(gx.Squeeze(shares, -1)))
	}
	return v, counts
}

// tokenGroups returns the groups of n tokens that a filter keeps, and an error
// where it keeps none or what is not there.
func tokenGroups(tokens align.Tokens, layout align.Layout, n int) (groups [][]int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("tokens %T: panic: %v", tokens, r)
		}
	}()
	groups = tokens.Groups(layout, n)
	if len(groups) == 0 {
		return nil, fmt.Errorf("tokens %T: none of %d tokens is kept", tokens, n)
	}
	for i, group := range groups {
		if len(group) == 0 {
			return nil, fmt.Errorf("tokens %T: group %d of %d is empty", tokens, i, len(groups))
		}
		for _, at := range group {
			if at < 0 || at >= n {
				return nil, fmt.Errorf("tokens %T: group %d holds token %d, and there are %d", tokens, i, at, n)
			}
		}
	}
	return groups, nil
}

// batchMoments are the moments of a site over a batch: w [B, G], x [B, G, n],
// y [B, G, m] → samples, means [n], [m], sums of squares about them [n], [m],
// cross sums [n × m] and, where asked for, those of y with itself [m × m].
func batchMoments(w, x, y *gx.Node, want align.Request) []*gx.Node {
	w = gx.Reshape(w, -1, 1)
	rows := gx.ReduceAllSum(w)
	center := func(v *gx.Node) (mean, rest *gx.Node) {
		v = gx.Reshape(v, -1, v.Shape().Dim(2))
		mean = gx.Div(gx.ReduceSum(gx.Mul(v, w), 0), gx.MaxScalar(rows, 1))
		return mean, gx.Mul(gx.Sub(v, gx.InsertAxes(mean, 0)), w)
	}
	mx, x := center(x)
	my, y := center(y)
	cross := func(a, b *gx.Node) *gx.Node { return gx.Einsum("ri,rj->ij", a, b) }
	squares := func(a *gx.Node) *gx.Node { return gx.ReduceSum(gx.Square(a), 0) }
	out := []*gx.Node{rows, mx, my, squares(x), squares(y), cross(x, y)}
	if want.Self {
		out = append(out, cross(y, y))
	}
	return out
}

// nodeIDs are the nodes of sites by their IDs.
func nodeIDs(sites [][]*graph.Node) [][]int {
	out := make([][]int, len(sites))
	for i, site := range sites {
		for _, n := range site {
			out[i] = append(out[i], n.ID)
		}
	}
	return out
}

// singletons makes a site of every node.
func singletons(nodes []*graph.Node) [][]*graph.Node {
	var out [][]*graph.Node
	for _, n := range nodes {
		out = append(out, []*graph.Node{n})
	}
	return out
}

// groupMeans returns the means [B, groups, units] of groups of the tokens of v
// [B, tokens, units].
func groupMeans(v *gx.Node, groups [][]int) *gx.Node {
	single := true
	var at []int32
	for _, g := range groups {
		single = single && len(g) == 1
		at = append(at, int32(g[0]))
	}
	switch {
	case single && len(groups) == v.Shape().Dim(1):
		return v
	case single:
		var runs []*gx.Node
		for i := 0; i < len(at); {
			j := i + 1
			for j < len(at) && at[j] == at[j-1]+1 {
				j++
			}
			runs = append(runs, gx.Slice(v, gx.AxisRange(), gx.AxisRange(int(at[i]), int(at[j-1])+1)))
			i = j
		}
		return gx.Concatenate(runs, 1)
	}
	weights := make([][]float32, len(groups))
	for i, g := range groups {
		weights[i] = make([]float32, v.Shape().Dim(1))
		for _, k := range g {
			weights[i][k] += 1 / float32(len(g))
		}
	}
	return gx.Einsum("gt,btd->bgd", gx.Const(v.Graph(), weights), v)
}
