package fuse

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Directory is where [Into] writes a fused model while it makes it.
type Directory struct {
	Path      string // may take the place of an older checkpoint, see [models.Replaceable]
	ShardSize int64  // bytes of tensors in a file; 0 means [safetensors.DefaultShardSize]
}

// A streamer is a method that can make a fused model tensor by tensor, so that none of
// the models needs to be held in memory.
type streamer interface {
	// stream returns nil where all models are needed at once.
	stream(anchor *models.Model, others []*models.Model, s Settings) *stream
}

// A stream makes the parameters of a fused model, each once and in any order.
type stream struct {
	model *models.Model // the fused model, but for its parameters
	run   func(ctx context.Context, put putter) ([]NodeReport, error)
}

// A putter takes a finished tensor.
type putter func(name string, t models.Tensor) error

// into makes the fused model, in memory where there is no directory.
func (s stream) into(ctx context.Context, dir *Directory) (*models.Model, []NodeReport, error) {
	if dir == nil {
		p := models.Params{}
		nodes, err := s.run(ctx, func(name string, t models.Tensor) error {
			p[name] = t
			return nil
		})
		return s.model.With(p), nodes, err
	}
	var nodes []NodeReport
	var failed error // of the method, which has nothing to do with the directory
	err := s.model.SaveEach(dir.Path, dir.ShardSize, func(put func(string, models.Tensor) error) error {
		var unwritten, err error
		nodes, err = s.run(ctx, func(name string, t models.Tensor) error {
			unwritten = put(name, t)
			return unwritten
		})
		if unwritten == nil {
			failed = err
		}
		return err
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		return nil, nil, err
	}
	fused, err := models.Link(dir.Path, s.model.Arch)
	return fused, nodes, err
}

// written returns a model in memory, or linked to the directory that it was saved to.
func written(m *models.Model, dir *Directory) (*models.Model, error) {
	if dir == nil {
		return m, nil
	}
	if err := m.SaveShards(dir.Path, dir.ShardSize); err != nil {
		return nil, err
	}
	return models.Link(dir.Path, m.Arch)
}

// tensors are parameters by name: those of a model, in memory or on disk, or what is made
// of them when they are asked for.
type tensors interface {
	Tensor(name string) (models.Tensor, error)
}

// loadTensors returns all parameters, of the types that those of the anchor have.
func loadTensors(ctx context.Context, from tensors, anchor *models.Model) (models.Params, error) {
	out := models.Params{}
	for name, own := range anchor.Params {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t, err := from.Tensor(name)
		if err != nil {
			return nil, err
		}
		t.DType = own.DType
		out[name] = t
	}
	return out, nil
}

// putMean puts the weighted mean of models in the basis of the anchor, tensor by tensor.
func putMean(ctx context.Context, anchor *models.Model, all []tensors, s Settings, put putter) error {
	names := slices.Sorted(maps.Keys(anchor.Shapes()))
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := meanTensor(all, s.Weights, name)
		if err == nil {
			err = put(name, t)
		}
		if err != nil {
			return err
		}
		s.observe("averaging", name, i+1, len(names))
	}
	return nil
}

// meanTensor returns the weighted mean of a tensor of the anchor, the first, and others.
func meanTensor(all []tensors, weights []float64, name string) (models.Tensor, error) {
	out, err := all[0].Tensor(name)
	if err != nil {
		return out, err
	}
	out.Data = multiplied(out.Data, weights[0])
	for i, from := range all[1:] {
		t, err := from.Tensor(name)
		if err != nil {
			return out, fmt.Errorf("model %d: %w", i+1, err)
		}
		increase(out.Data, t.Data, weights[i+1])
	}
	return out, nil
}

// carriedTensors are the parameters of a source with the names of the anchor and in
// another basis; nil is their own.
type carriedTensors struct {
	source   tensors
	from, to *graph.Graph
	by       basis
	parts    map[string][]partOf // by name in the anchor
}

// A partOf is a parameter, a part of a tensor, by its node and its place there.
type partOf struct{ node, at int }

// partsByName lists the parameters that each tensor consists of.
func partsByName(g *graph.Graph) map[string][]partOf {
	out := map[string][]partOf{}
	for i, n := range g.Nodes {
		for k, p := range n.Params {
			out[p.Name] = append(out[p.Name], partOf{i, k})
		}
	}
	return out
}

// asTheyAre returns the parameters of a source whose shapes are those of the anchor.
func asTheyAre(source, anchor *models.Model) (tensors, error) {
	for i, n := range source.Graph.Nodes {
		for k, p := range n.Params {
			if to := anchor.Graph.Nodes[i].Params[k]; !slices.Equal(p.Shape, to.Shape) {
				return nil, &MismatchError{fmt.Sprintf("tensor %q, which is not transported,", p.Name),
					fmt.Sprint(p.Full()), fmt.Sprint(to.Full())}
			}
		}
	}
	return carriedTensors{source, source.Graph, anchor.Graph, nil, partsByName(anchor.Graph)}, nil
}

// Tensor implements [tensors].
func (c carriedTensors) Tensor(name string) (models.Tensor, error) {
	out := models.Params{}
	for _, part := range c.parts[name] {
		n := c.from.Nodes[part.node]
		p := n.Params[part.at]
		w, err := readPart(c.source, p)
		if err != nil {
			return models.Tensor{}, err
		}
		if c.by != nil {
			w = carry(c.by, n, p, w, -1)
		}
		storePart(out, c.to.Nodes[part.node].Params[part.at], w, "")
	}
	return out[name], nil
}

// A growingSum is a weighted mean to which the parts of tensors are added one by one. It
// gives each tensor to put as soon as it is complete.
type growingSum struct {
	anchor  *models.Model
	weights []float64
	sums    models.Params
	missing map[string]int // parts that are still to come
	put     putter
}

func newSum(anchor *models.Model, weights []float64, put putter) *growingSum {
	m := &growingSum{anchor, weights, models.Params{}, map[string]int{}, put}
	for name, parts := range partsByName(anchor.Graph) {
		m.missing[name] = len(parts) * (len(weights) - 1)
	}
	return m
}

// add adds the part of a tensor that a source makes.
func (m *growingSum) add(source int, p graph.Param, t tensor) error {
	to, ok := m.sums[p.Name]
	if !ok {
		a, err := m.anchor.Tensor(p.Name)
		if err != nil {
			return err
		}
		to = models.Tensor{DType: a.DType, Shape: a.Shape, Data: multiplied(a.Data, m.weights[0])}
		m.sums[p.Name] = to
	}
	add(to, p, t, m.weights[source+1])
	if m.missing[p.Name]--; m.missing[p.Name] > 0 {
		return nil
	}
	delete(m.sums, p.Name)
	return m.put(p.Name, to)
}
