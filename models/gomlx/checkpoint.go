package gomlx

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/models/safetensors"
)

// parts are the prefixes of the tensors of a training checkpoint, in the order
// of Trainer.state.
func parts() [3]string { return [3]string{"param/", "first/", "second/"} }

// Save writes the state of the training to a file, whole or not at all. A
// trainer of the same model and recipe that loads it goes on exactly as this
// one would.
func (t *Trainer) Save(path string) error {
	done, err := t.acquire()
	if err != nil {
		return err
	}
	defer done()
	ts := map[string]safetensors.Tensor{}
	all := names(t.model.Graph)
	for i, s := range t.state {
		data, err := tensors.CopyFlatData[float32](s)
		if err != nil {
			return fmt.Errorf("gomlx: %w", err)
		}
		st, err := safetensors.FromFloat32(safetensors.F32, s.Shape().Dimensions, data)
		if err != nil {
			return fmt.Errorf("gomlx: %w", err)
		}
		ts[parts()[i/len(all)]+all[i%len(all)]] = st
	}
	recipe, err := json.Marshal(t.config)
	if err != nil {
		return fmt.Errorf("gomlx: %w", err)
	}
	return safetensors.WriteFile(path, ts, map[string]string{"step": strconv.Itoa(t.step), "recipe": string(recipe)})
}

// ErrTrainConfig reports a checkpoint of a training by another configuration.
var ErrTrainConfig = errors.New("gomlx: the checkpoint is of another configuration")

// Load takes the state of the training from a file that [Trainer.Save] wrote.
func (t *Trainer) Load(path string) (err error) {
	done, err := t.acquire()
	if err != nil {
		return err
	}
	defer done()
	f, err := safetensors.Open(path)
	if err != nil {
		return fmt.Errorf("gomlx: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	recipe, err := json.Marshal(t.config)
	if err != nil {
		return fmt.Errorf("gomlx: %w", err)
	}
	if got := f.Metadata()["recipe"]; got != string(recipe) {
		return fmt.Errorf("%w: %s has %s, want %s", ErrTrainConfig, path, got, recipe)
	}
	step, err := strconv.Atoi(f.Metadata()["step"])
	if err != nil || step < 0 {
		return fmt.Errorf("gomlx: %s: step %q", path, f.Metadata()["step"])
	}
	all := names(t.model.Graph)
	if n := len(f.Names()); n > len(t.state) {
		return fmt.Errorf("gomlx: %s holds %d tensors, want %d: it is of another network", path, n, len(t.state))
	}
	state := make([]*tensors.Tensor, len(t.state))
	for i := range state {
		name := parts()[i/len(all)] + all[i%len(all)]
		raw, err := f.Tensor(name)
		if err != nil {
			return fmt.Errorf("gomlx: %w", err)
		}
		data, err := raw.Float32s()
		if err != nil {
			return fmt.Errorf("gomlx: %w", err)
		}
		want := t.state[i].Shape()
		if state[i] = tensors.FromFlatDataAndDimensions(data, raw.Shape...); !state[i].Shape().Equal(want) {
			return fmt.Errorf("gomlx: %s: tensor %q has shape %v, want %s", path, name, raw.Shape, want)
		}
	}
	old := t.state
	t.state, t.step = state, step
	return free(old...)
}
