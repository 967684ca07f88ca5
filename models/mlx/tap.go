package mlx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// tap is a forward pass that gives the activations of sites: the weights of the
// samples [B], inputs.., params.. → [B, groups, units] for each site, then what
// each group of it counts [B, groups].
type tap struct {
	exec   *gx.Exec
	inputs []string
	params []*tensors.Tensor
}

func (t *tap) close() error { return free(t.params...) }

// call runs the forward pass on a batch of which the first real samples count.
func (t *tap) call(batch models.Batch, real int) ([]*tensors.Tensor, error) {
	in, err := feed(batch, t.inputs)
	if err != nil {
		return nil, err
	}
	weights := make([]float32, batch.Len())
	for i := range real {
		weights[i] = 1
	}
	in = slices.Insert(in, 0, tensors.FromFlatDataAndDimensions(weights, len(weights)))
	out, err := t.exec.Call(args(in, t.params)...)
	return out, errors.Join(err, free(in...))
}

// tap compiles the forward pass of m up to the sites and magnitudes wanted.
func (c *Calibration) tap(m *models.Model, sites [][]*graph.Node, mags []*graph.Node) (*tap, error) {
	g := m.Graph
	var ids [][]int
	for _, s := range slices.Concat(sites, single(mags)) {
		var site []int
		for _, n := range s {
			site = append(site, n.ID)
		}
		ids = append(ids, site)
	}
	inputs := g.Inputs()
	key := fmt.Sprintf("tap %T%v %v %v", c.tokens(), c.tokens(), c.Narrow, ids) + signature(g)
	exec, err := c.Runner.compiled(key, func(in []*gx.Node) []*gx.Node {
		w, in := in[0], in[1:]
		values := interpret(g, zip(names(g), in[len(inputs):]), zip(inputs, in[:len(inputs)]))
		out := make([]*gx.Node, 2*len(ids))
		for i, site := range ids {
			out[i], out[len(ids)+i] = c.pick(m, values, site, w)
		}
		return out
	})
	if err != nil {
		return nil, err
	}
	params, err := upload(g, m.Params)
	return &tap{exec, inputs, params}, err
}

// pick returns the kept tokens of a site [B, groups, units], its units stacked,
// and what each counts [B, groups], for samples that count w [B].
func (c *Calibration) pick(m *models.Model, values []*gx.Node, site []int, w *gx.Node) (v, counts *gx.Node) {
	g := m.Graph
	mask := g.Mask()
	// Units that are stacked need the same samples.
	narrow := c.Narrow && !slices.ContainsFunc(site, func(id int) bool { return !g.Nodes[id].Narrow() })
	var parts []*gx.Node
	var shares *gx.Node // of each group that are no padding
	for _, id := range site {
		v := values[id]
		switch {
		case v.Rank() == 2:
			v = gx.InsertAxes(v, 1)
		case narrow:
			v = grouped(v, [][]int{{0}})
		default:
			groups := c.tokens().Groups(m.Arch.Layout(m.Config), v.Shape().Dim(1))
			if mask == nil {
				v = grouped(v, groups)
				break
			}
			real := gx.InsertAxes(gx.ConvertDType(values[mask.ID], dtypes.Float32), -1)
			shares = grouped(real, groups)
			v = gx.Div(grouped(gx.Mul(v, real), groups), gx.MaxScalar(shares, 1e-9))
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

func single(nodes []*graph.Node) [][]*graph.Node {
	var out [][]*graph.Node
	for _, n := range nodes {
		out = append(out, []*graph.Node{n})
	}
	return out
}

// grouped returns the means [B, groups, units] of groups of the tokens of v
// [B, tokens, units].
func grouped(v *gx.Node, groups [][]int) *gx.Node {
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
