package gomlx

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/models/safetensors"
)

// ErrCheckpoint reports a checkpoint of another network or configuration of
// training.
var ErrCheckpoint = errors.New("gomlx: the checkpoint is of another training")

// statePrefixes are the prefixes of the tensors of a training checkpoint, in the
// order of optimizer.state.
func statePrefixes() [3]string { return [3]string{"param/", "first/", "second/"} }

// Save writes the state of the training to a safetensors file, whole or not at
// all: parameters, both moments, the number of updates, and what the state is of.
// A trainer of the same network and configuration that loads it goes on exactly
// as this one would.
func (t *Trainer) Save(path string) error {
	done, err := t.acquire()
	if err != nil {
		return err
	}
	defer done()
	identity, err := t.identity()
	if err != nil {
		return err
	}
	identity["step"] = strconv.Itoa(t.step)
	stored := map[string]safetensors.Tensor{}
	for i, s := range t.state {
		data, err := valuesOf[float32](s)
		if err != nil {
			return fmt.Errorf("gomlx: saving the training: %w", err)
		}
		stored[t.stateName(i)], err = safetensors.FromFloat32(safetensors.F32, s.Shape().Dimensions, data)
		if err != nil {
			return fmt.Errorf("gomlx: saving the training: %w", err)
		}
	}
	if err := safetensors.WriteFile(path, stored, identity); err != nil {
		return fmt.Errorf("gomlx: saving the training: %w", err)
	}
	return nil
}

// identity says what a checkpoint is of.
func (t *Trainer) identity() (map[string]string, error) {
	config, err := json.Marshal(t.config)
	if err != nil {
		return nil, fmt.Errorf("gomlx: TrainConfig: %w", err)
	}
	network, err := json.Marshal(t.model.Config)
	if err != nil {
		return nil, fmt.Errorf("gomlx: configuration of %s: %w", t.model.Arch.Class, err)
	}
	return map[string]string{"training": string(config), "network": t.model.Arch.Class + " " + string(network),
		"data": t.data}, nil
}

// stateName is the name in a checkpoint of tensor i of the state.
func (t *Trainer) stateName(i int) string {
	all := tensorNames(t.model.Graph)
	return statePrefixes()[i/len(all)] + all[i%len(all)]
}

// Load takes the state of the training from a file that [Trainer.Save] wrote.
// One of another training is an [ErrCheckpoint]; a trainer that cannot load stays
// as it was.
func (t *Trainer) Load(path string) (err error) {
	done, err := t.acquire()
	if err != nil {
		return err
	}
	defer done()
	f, err := safetensors.Open(path)
	if err != nil {
		return fmt.Errorf("gomlx: loading a training: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	step, err := t.identify(f, path)
	if err != nil {
		return err
	}
	state := make([]*array, len(t.state))
	for i := range state {
		raw, err := f.Tensor(t.stateName(i))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCheckpoint, err)
		}
		data, err := raw.Float32s()
		if err != nil {
			return fmt.Errorf("gomlx: loading a training: %w", err)
		}
		if at := slices.IndexFunc(data, t.impossible(i)); at >= 0 {
			return fmt.Errorf("%w: %s: tensor %q is %v at position %d", ErrCheckpoint, path, t.stateName(i), data[at], at)
		}
		if want := t.state[i].Shape(); !slices.Equal(raw.Shape, want.Dimensions) {
			return fmt.Errorf("%w: %s: tensor %q has shape %v, want %s",
				ErrCheckpoint, path, t.stateName(i), raw.Shape, want)
		}
		if state[i], err = t.device.mesh.kept(tensors.FromFlatDataAndDimensions(data, raw.Shape...)); err != nil {
			return err
		}
	}
	old := t.state
	t.state, t.step = state, step
	return free(old...)
}

// impossible tells values that tensor i of the state cannot have: those that are not
// finite, and second moments below 0.
func (t *Trainer) impossible(i int) func(float32) bool {
	second := strings.HasPrefix(t.stateName(i), statePrefixes()[2])
	return func(v float32) bool { return v-v != 0 || second && v < 0 }
}

// identify returns the number of updates of a checkpoint of this training.
func (t *Trainer) identify(f *safetensors.File, path string) (step int, err error) {
	want, err := t.identity()
	if err != nil {
		return 0, err
	}
	for _, key := range []string{"network", "training", "data"} {
		if key == "data" && want[key] == "" {
			continue // nobody says
		}
		if got := f.Metadata()[key]; got != want[key] {
			is, wanted := nearDifference(got, want[key])
			return 0, fmt.Errorf("%w: %s: %s is %q, want %q", ErrCheckpoint, path, key, is, wanted)
		}
	}
	step, err = strconv.Atoi(f.Metadata()["step"])
	if err != nil || step < 0 || step > t.config.Steps {
		return 0, fmt.Errorf("%w: %s: step is %q, want 0 to %d",
			ErrCheckpoint, path, f.Metadata()["step"], t.config.Steps)
	}
	if n := len(f.Names()); n > len(t.state) {
		return 0, fmt.Errorf("%w: %s holds %d tensors, want %d", ErrCheckpoint, path, n, len(t.state))
	}
	return step, nil
}

// nearDifference returns two texts, of long ones only what is near their first difference.
func nearDifference(a, b string) (nearA, nearB string) {
	const around = 60 // bytes on either side
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	near := func(s string) string {
		from, to := max(at-around, 0), min(at+around, len(s))
		out := strings.ToValidUTF8(s[from:to], "")
		if from > 0 {
			out = "…" + out
		}
		if to < len(s) {
			out += "…"
		}
		return out
	}
	return near(a), near(b)
}
