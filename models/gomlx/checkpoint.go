package gomlx

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// ErrCheckpoint reports a checkpoint of another network or configuration of
// training.
var ErrCheckpoint = errors.New("gomlx: the checkpoint is of another training")

// statePrefixes are the prefixes of the tensors of a training checkpoint, in the
// order of optimizer.state.
func statePrefixes() [3]string { return [3]string{"param/", "first/", "second/"} }

// A checkpoint is what a file holds of a training beside the state of its optimizer.
type checkpoint struct {
	names    []string          // of the parameters
	identity map[string]string // what the training is of, by the names of identityKeys
	memory   *memory           // nil where no state is chosen
}

// identityKeys are the keys of the metadata that say what a training is of. What is empty
// under the last of them is not asked for.
func identityKeys() []string { return []string{"network", "training", "data"} }

// identityOf says what a training is of.
func identityOf(m *models.Model, c TrainConfig, data string) (map[string]string, error) {
	config, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("gomlx: TrainConfig: %w", err)
	}
	network, err := json.Marshal(m.Config)
	if err != nil {
		return nil, fmt.Errorf("gomlx: configuration of %s: %w", m.Arch.Class, err)
	}
	return map[string]string{"training": string(config), "network": m.Arch.Class + " " + string(network),
		"data": data}, nil
}

// stateName is the name of tensor i of the state.
func (c checkpoint) stateName(i int) string {
	return statePrefixes()[i/len(c.names)] + c.names[i%len(c.names)]
}

// Save writes the state of the training to a safetensors file, whole or not at
// all: parameters, both moments, the number of updates, and what the state is of.
// A trainer of the same network and configuration that loads it goes on exactly
// as this one would.
func (t *Trainer) Save(path string) error {
	c, err := t.checkpoint()
	if err != nil {
		return err
	}
	return t.save(path, c)
}

// Load takes the state of the training from a file that [Trainer.Save] wrote.
// One of another training is an [ErrCheckpoint]; a trainer that cannot load stays
// as it was.
func (t *Trainer) Load(path string) error {
	c, err := t.checkpoint()
	if err != nil {
		return err
	}
	return t.load(path, c)
}

// checkpoint is what the files of the trainer hold beside its state.
func (t *Trainer) checkpoint() (checkpoint, error) {
	identity, err := identityOf(t.model, t.config, t.data)
	return checkpoint{tensorNames(t.model.Graph), identity, t.memory}, err
}

// save writes a checkpoint.
func (o *optimizer) save(path string, c checkpoint) error {
	done, err := o.acquire()
	if err != nil {
		return err
	}
	defer done()
	stored, metadata := map[string]safetensors.Tensor{}, maps.Clone(c.identity)
	metadata["step"] = strconv.Itoa(o.step)
	store := func(name string, shape []int, values []float32) (err error) {
		stored[name], err = safetensors.FromFloat32(safetensors.F32, shape, values)
		return err
	}
	for i, s := range o.state {
		values, err := valuesOf[float32](s)
		if err == nil {
			err = store(c.stateName(i), s.Shape().Dimensions, values)
		}
		if err != nil {
			return fmt.Errorf("gomlx: saving the training: %w", err)
		}
	}
	if c.memory != nil {
		maps.Copy(metadata, c.memory.metadata())
		for i, values := range c.memory.best {
			if err := store(bestPrefix+c.names[i], o.state[i].Shape().Dimensions, values); err != nil {
				return fmt.Errorf("gomlx: saving the training: %w", err)
			}
		}
	}
	if err := safetensors.WriteFile(path, stored, metadata); err != nil {
		return fmt.Errorf("gomlx: saving the training: %w", err)
	}
	return nil
}

// load takes the state, and the memory where there is one, from a checkpoint.
func (o *optimizer) load(path string, c checkpoint) (err error) {
	done, err := o.acquire()
	if err != nil {
		return err
	}
	defer done()
	f, err := safetensors.Open(path)
	if err != nil {
		return fmt.Errorf("gomlx: loading a training: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	read := reading{f, path, c}
	step, err := read.identify(o.config.Steps)
	if err != nil {
		return err
	}
	var found memory
	if c.memory != nil {
		if found, err = read.memory(o.state, step); err != nil {
			return err
		}
	}
	state := make([]*array, len(o.state))
	for i, old := range o.state {
		shape := old.Shape().Dimensions
		values, err := read.tensor(c.stateName(i), shape)
		if err != nil {
			return err
		}
		if state[i], err = o.device.mesh.kept(tensors.FromFlatDataAndDimensions(values, shape...)); err != nil {
			return err
		}
	}
	old := o.state
	o.state, o.step = state, step
	if c.memory != nil {
		*c.memory = found
	}
	return free(old...)
}

// A reading is a checkpoint that is read.
type reading struct {
	file *safetensors.File
	path string
	want checkpoint
}

// tensor reads values that a state can have: all are finite, and those of second moments at
// least 0.
func (r reading) tensor(name string, shape []int) ([]float32, error) {
	raw, err := r.file.Tensor(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	values, err := raw.Float32s()
	if err != nil {
		return nil, fmt.Errorf("gomlx: loading a training: %w", err)
	}
	second := strings.HasPrefix(name, statePrefixes()[2])
	impossible := func(v float32) bool { return v-v != 0 || second && v < 0 }
	if at := slices.IndexFunc(values, impossible); at >= 0 {
		return nil, fmt.Errorf("%w: %s: tensor %q is %v at position %d", ErrCheckpoint, r.path, name, values[at], at)
	}
	if !slices.Equal(raw.Shape, shape) {
		return nil, fmt.Errorf("%w: %s: tensor %q has shape %v, want %v", ErrCheckpoint, r.path, name, raw.Shape, shape)
	}
	return values, nil
}

// identify returns the number of updates of a checkpoint of this training, of so many in all.
func (r reading) identify(steps int) (step int, err error) {
	for _, key := range identityKeys() {
		if key == "data" && r.want.identity[key] == "" {
			continue // nobody says
		}
		if got := r.file.Metadata()[key]; got != r.want.identity[key] {
			is, wanted := nearDifference(got, r.want.identity[key])
			return 0, fmt.Errorf("%w: %s: %s is %q, want %q", ErrCheckpoint, r.path, key, is, wanted)
		}
	}
	if step, err = r.count("step", steps); err != nil {
		return 0, err
	}
	prefixes := statePrefixes()
	most := len(prefixes[:]) * len(r.want.names)
	if r.want.memory != nil {
		most += len(r.want.names)
	}
	if n := len(r.file.Names()); n > most {
		return 0, fmt.Errorf("%w: %s holds %d tensors, want %d", ErrCheckpoint, r.path, n, most)
	}
	return step, nil
}

// count returns a number of the metadata.
func (r reading) count(key string, most int) (int, error) {
	n, err := strconv.Atoi(r.file.Metadata()[key])
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%w: %s: %s is %q, want 0 to %d", ErrCheckpoint, r.path, key, r.file.Metadata()[key], most)
	}
	return n, nil
}

// The keys of the metadata, and the prefix of the tensors, of a memory.
const (
	nextKey     = "next_comparison"
	missedKey   = "comparisons_without_gain"
	lowestKey   = "lowest_loss"
	bestStepKey = "best_step"
	bestPrefix  = "best/"
)

// metadata is what a checkpoint holds of a memory beside the best values.
func (m *memory) metadata() map[string]string {
	out := map[string]string{nextKey: strconv.Itoa(m.next), missedKey: strconv.Itoa(m.missed)}
	if m.best != nil {
		out[lowestKey], out[bestStepKey] = strconv.FormatFloat(m.lowest, 'g', -1, 64), strconv.Itoa(m.bestStep)
	}
	return out
}

// memory reads what had been found after a number of updates.
func (r reading) memory(state []*array, step int) (m memory, err error) {
	if m.next, err = r.count(nextKey, step+1); err != nil {
		return m, err
	}
	if m.missed, err = r.count(missedKey, step+1); err != nil {
		return m, err
	}
	if _, found := r.file.Metadata()[bestStepKey]; !found {
		return m, nil
	}
	if m.bestStep, err = r.count(bestStepKey, step); err != nil {
		return m, err
	}
	text := r.file.Metadata()[lowestKey]
	if m.lowest, err = strconv.ParseFloat(text, 64); err != nil {
		return m, fmt.Errorf("%w: %s: %s is %q, want a number", ErrCheckpoint, r.path, lowestKey, text)
	}
	for i, name := range r.want.names {
		values, err := r.tensor(bestPrefix+name, state[i].Shape().Dimensions)
		if err != nil {
			return m, err
		}
		m.best = append(m.best, values)
	}
	return m, nil
}

// lockCheckpoint keeps other trainings from a checkpoint until unlock is called.
func lockCheckpoint(path string) (unlock func(), err error) {
	unlock, err = atomicfile.Lock(path)
	if errors.Is(err, atomicfile.ErrLocked) {
		return nil, fmt.Errorf("gomlx: another process is training with %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("gomlx: %w", err)
	}
	return unlock, nil
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
