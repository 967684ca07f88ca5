package gomlx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// tensorNames returns the names of the tensors of g, each once, in order.
func tensorNames(g *graph.Graph) []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range g.Params() {
		if !seen[p.Name] {
			seen[p.Name] = true
			out = append(out, p.Name)
		}
	}
	return out
}

// upload copies the parameters of m, in the order of tensorNames.
func (d *Device) upload(ctx context.Context, m *models.Model) ([]*array, error) {
	if err := usable(m); err != nil {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("gomlx: %w", err)
	}
	var out []*array
	for _, name := range tensorNames(m.Graph) {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(located("uploading "+m.Arch.Class, err), free(out...))
		}
		t, err := m.Tensor(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("gomlx: %w", err), free(out...))
		}
		a, err := d.mesh.kept(tensors.FromFlatDataAndDimensions(t.Data, t.Shape...))
		if err != nil {
			return nil, errors.Join(err, free(out...))
		}
		out = append(out, a)
	}
	return out, nil
}

// completed returns batch with the inputs that m has a default for, or what does
// not fit about it: some misfits would go through the arithmetic unnoticed.
func completed(m *models.Model, batch models.Batch) (models.Batch, error) {
	if err := usable(m); err != nil {
		return nil, err
	}
	batch, err := m.Complete(batch)
	if err != nil {
		return nil, fmt.Errorf("gomlx: %w", err)
	}
	if batch.Len() == 0 {
		return nil, errors.New("gomlx: the batch holds no samples")
	}
	return batch, nil
}

// withTargets returns a completed batch with what each of the logits should be in
// place of the labels.
func withTargets(m *models.Model, batch models.Batch) models.Batch {
	labels, ok := batch[models.Labels]
	if !ok || !m.PredictsNext() {
		return batch
	}
	batch = maps.Clone(batch)
	batch[models.Labels] = m.Targets(labels)
	return batch
}

// uploadBatch copies the named arrays of a batch, shared by the devices where they
// divide.
func (d *Device) uploadBatch(batch models.Batch, names []string) ([]*array, error) {
	if err := batch.Check(); err != nil {
		return nil, fmt.Errorf("gomlx: %w", err)
	}
	var out []*array
	for _, name := range names {
		a, ok := batch[name]
		if !ok {
			return nil, errors.Join(fmt.Errorf("gomlx: the batch has no %s", name), free(out...))
		}
		var t *tensors.Tensor
		if a.Floats != nil {
			t = tensors.FromFlatDataAndDimensions(a.Floats, a.Shape...)
		} else {
			t = tensors.FromFlatDataAndDimensions(a.Ints, a.Shape...)
		}
		shared, err := d.mesh.shared(t)
		if err != nil {
			return nil, errors.Join(err, free(out...))
		}
		out = append(out, shared)
	}
	return out, nil
}

// free releases arrays at once, or once the calls that use them have ended: their memory
// is not the collector's.
func free(ts ...*array) error {
	var errs []error
	for _, t := range ts {
		if t != nil && t.usage.free() {
			errs = append(errs, t.FinalizeAll())
		}
	}
	return errors.Join(errs...)
}

// withValues calls f with the values of arrays that are whole or copies on all devices.
// It must not keep them.
func withValues(ts []*array, f func(values [][]float32)) error {
	values := make([][]float32, len(ts))
	view := func() error { f(values); return nil } //nolint:unparam // of the type of those that follow
	for i, a := range slices.Backward(ts) {
		t, _, err := merged(a)
		if err != nil {
			return err
		}
		next := view
		view = func() (err error) {
			seen := tensors.ConstFlatData(t, func(v []float32) { values[i] = v; err = next() })
			return errors.Join(seen, err)
		}
	}
	return view()
}

// arguments makes the arguments of a call.
func arguments(groups ...[]*array) []any {
	var out []any
	for _, g := range groups {
		for _, t := range g {
			out = append(out, t)
		}
	}
	return out
}

// byName gives each value its name.
func byName[T any](names []string, values []T) map[string]T {
	out := make(map[string]T, len(names))
	for i, name := range names {
		out[name] = values[i]
	}
	return out
}

// scalar reads an array of one element.
func scalar(a *array) (float64, error) {
	t, _, err := merged(a)
	if err != nil {
		return 0, err
	}
	switch v := t.Value().(type) {
	case float32:
		return float64(v), nil
	case float64:
		return v, nil
	}
	return 0, fmt.Errorf("gomlx: %s is not the shape of a scalar", t.Shape())
}
