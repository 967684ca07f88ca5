package modeltest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/otfuse/otfuse/models"
)

// checkpointLaw: a saved model is opened as it was, with its configuration changed
// or not, and a model without tensors is not saved.
func checkpointLaw(_ context.Context, s subject, dir string) error {
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	opened, err := s.reopened(s.model, first)
	if err != nil {
		return err
	}
	if _, err := s.reopened(opened, second); err != nil {
		return err
	}
	var texts [2][]byte
	for i, d := range []string{first, second} {
		if texts[i], err = os.ReadFile(filepath.Join(d, "config.json")); err != nil {
			return err
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		return fmt.Errorf("a config.json that was not changed is saved as\n%s\nand was\n%s", texts[1], texts[0])
	}
	if err := s.model.With(models.Params{}).Save(filepath.Join(dir, "empty")); err == nil {
		return fmt.Errorf("a checkpoint without tensors is saved")
	}
	if err := s.changedConfigs(opened, texts[0], filepath.Join(dir, "changed")); err != nil {
		return err
	}
	linked, err := models.Link(first, s.arch)
	if err != nil {
		return err
	}
	return same(s.model, linked)
}

// reopened saves and opens m, and reports how the two models differ.
func (s subject) reopened(m *models.Model, dir string) (*models.Model, error) {
	if err := m.Save(dir); err != nil {
		return nil, err
	}
	opened, err := models.Open(dir, s.arch)
	if err != nil {
		return nil, err
	}
	return opened, same(m, opened)
}

// same reports the first difference between a model and what was opened of it.
func same(saved, opened *models.Model) error {
	if !sameConfig(saved.Config, opened.Config) {
		return fmt.Errorf("the configuration was saved as %+v and opened as %+v", saved.Config, opened.Config)
	}
	if a, b := saved.Graph.String(), opened.Graph.String(); a != b {
		return fmt.Errorf("the graph was\n%s\nand is\n%s", a, b)
	}
	if !slices.Equal(slices.Sorted(maps.Keys(saved.Shapes())), slices.Sorted(maps.Keys(opened.Shapes()))) {
		return fmt.Errorf("tensors were saved that are not opened")
	}
	for name, want := range saved.Params {
		got, err := opened.Tensor(name)
		if err != nil {
			return err
		}
		if !slices.Equal(want.Data, got.Data) || !slices.Equal(want.Shape, got.Shape) {
			return fmt.Errorf("tensor %q was saved as something else than it is opened as", name)
		}
	}
	return nil
}

// sameConfig compares configurations by the JSON that they write, in which an empty
// map is the same as none.
func sameConfig(a, b models.Config) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && reflect.TypeOf(a) == reflect.TypeOf(b) && bytes.Equal(x, y)
}

// changedConfigs doubles each number of config.json in turn. Where the tensors still
// fit, as for an epsilon, the model is saved with that configuration and must be
// opened with it.
func (s subject) changedConfigs(m *models.Model, text []byte, dir string) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return err
	}
	for key, value := range keys {
		var number float64
		if json.Unmarshal(value, &number) != nil {
			continue
		}
		changed := maps.Clone(keys)
		changed[key] = json.RawMessage(fmt.Sprint(2 * number))
		other, err := json.Marshal(changed)
		if err != nil {
			return err
		}
		c, err := s.arch.Parse(other)
		if err != nil {
			continue // a value that the architecture does not take
		}
		with, err := m.WithConfig(c)
		if err != nil || sameConfig(c, m.Config) {
			continue
		}
		if _, err := s.reopened(with, dir); err != nil {
			return fmt.Errorf("%s was changed from %s to %s: %w", key, value, changed[key], err)
		}
	}
	return nil
}
