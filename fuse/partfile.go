package fuse

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// digests are those of models by their address, each taken once.
type digests map[*models.Model]string

// A pairDigest tells a pair of models from others.
type pairDigest struct{ source, anchor string }

// pair returns the digests of two models.
func (d digests) pair(source, anchor *models.Model) (p pairDigest, err error) {
	if p.source, err = d.of(source); err == nil {
		p.anchor, err = d.of(anchor)
	}
	return p, err
}

// of returns the digest of a model.
func (d digests) of(m *models.Model) (string, error) {
	if digest, ok := d[m]; ok {
		return digest, nil
	}
	digest, err := m.Digest()
	if err == nil {
		d[m] = digest
	}
	return digest, err
}

// all returns all digests, sorted.
func (d digests) all() []string { return slices.Compact(slices.Sorted(maps.Values(d))) }

// siteKey begins the names of the tensors of a site.
func siteKey(p pairDigest, site []*graph.Node) string {
	var names []string
	for _, n := range site {
		names = append(names, n.Name)
	}
	return p.source + "/" + p.anchor + "/" + strings.Join(names, "+") + "/"
}

// magnitudeKey begins the names of the tensors of the magnitudes of a node.
func magnitudeKey(p pairDigest, n *graph.Node) string {
	return p.source + "/" + p.anchor + "/" + n.Name + "/magnitude/"
}

// storeMoments puts moments among tensors, whose names begin with a key.
func storeMoments(into map[string]safetensors.Tensor, key string, m *align.Moments) error {
	rows, columns := m.Cross.Dims()
	for _, f := range []struct {
		name  string
		shape []int
		data  []float64
	}{
		{"count", []int{1}, []float64{m.N}},
		{"mean_x", []int{rows}, m.MeanX}, {"mean_y", []int{columns}, m.MeanY},
		{"scatter_x", []int{rows}, m.ScatterX}, {"scatter_y", []int{columns}, m.ScatterY},
		{"cross", []int{rows, columns}, mat.DenseCopyOf(m.Cross).RawMatrix().Data},
	} {
		if err := storeValues(into, key+f.name, f.shape, f.data); err != nil {
			return err
		}
	}
	if m.Self == nil {
		return nil
	}
	return storeValues(into, key+"self", []int{columns, columns}, mat.DenseCopyOf(m.Self).RawMatrix().Data)
}

// storeMagnitude does the same for the magnitudes of a node.
func storeMagnitude(into map[string]safetensors.Tensor, key string, mean []float64, count float64) error {
	if err := storeValues(into, key+"mean", []int{len(mean)}, mean); err != nil {
		return err
	}
	return storeValues(into, key+"count", []int{1}, []float64{count})
}

func storeValues(into map[string]safetensors.Tensor, name string, shape []int, data []float64) (err error) {
	into[name], err = safetensors.FromFloat64(shape, data)
	return err
}

// A tensorReader reads a tensor by its name.
type tensorReader func(name string) (safetensors.Tensor, error)

// values reads the values of a tensor of so many.
func (read tensorReader) values(name string, n int) ([]float64, error) {
	t, err := read(name)
	if err != nil {
		return nil, err
	}
	v, err := t.Float64s()
	if err == nil && len(v) != n {
		err = fmt.Errorf("%w: %s has %d values, want %d", ErrPart, name, len(v), n)
	}
	return v, err
}

// loadMoments reads what storeMoments has stored under a key, with Self where it is wanted.
//
//nolint:revive // as a Request says
func loadMoments(read tensorReader, key string, self bool) (*align.Moments, error) {
	cross, err := read(key + "cross")
	if err != nil {
		return nil, err
	}
	if len(cross.Shape) != 2 {
		return nil, fmt.Errorf("%w: %scross is no matrix", ErrPart, key)
	}
	rows, columns := cross.Shape[0], cross.Shape[1]
	m := &align.Moments{}
	var count, squares, products []float64
	for _, f := range []struct {
		name string
		n    int
		to   *[]float64
	}{
		{"count", 1, &count}, {"mean_x", rows, &m.MeanX}, {"mean_y", columns, &m.MeanY},
		{"scatter_x", rows, &m.ScatterX}, {"scatter_y", columns, &m.ScatterY},
		{"cross", rows * columns, &products}, {"self", columns * columns, &squares},
	} {
		if f.name == "self" && !self {
			continue
		}
		if *f.to, err = read.values(key+f.name, f.n); err != nil {
			return nil, err
		}
	}
	m.N, m.Cross = count[0], mat.NewDense(rows, columns, products)
	if self {
		m.Self = mat.NewDense(columns, columns, squares)
	}
	return m, nil
}

// loadMagnitude reads what storeMagnitude has stored under a key.
func loadMagnitude(read tensorReader, key string) (mean []float64, count float64, err error) {
	t, err := read(key + "mean")
	if err == nil {
		mean, err = t.Float64s()
	}
	if err != nil {
		return nil, 0, err
	}
	n, err := read.values(key+"count", 1)
	if err != nil {
		return nil, 0, err
	}
	return mean, n[0], nil
}
