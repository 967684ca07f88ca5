package models

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/otfuse/otfuse/graph"
)

// Narrow returns a network to be trained from scratch, or to be made of m by package fuse,
// that is like m but for its width: the residual stream has so many units, and MLPs and,
// where they have a width of their own, heads shrink with it. Under rotary positions, which
// say what the units of a head are, there are fewer heads instead. [Init] draws its
// parameters from the seed. The files of m, such as a tokenizer, go along.
//
// It is an error where m is no wider, where numbers in config.json do not shrink to whole
// ones, or where width goes by a name there that no family of this package uses.
func Narrow(m *Model, width int, seed uint64) (*Model, error) {
	narrow, err := narrowed(m, width, seed)
	if err != nil {
		return nil, fmt.Errorf("models: narrowing %s: %w", m.Arch.Class, err)
	}
	return narrow, nil
}

// narrowStd is the standard deviation of the weights that Narrow draws.
const narrowStd = 0.02

func narrowed(m *Model, width int, seed uint64) (*Model, error) {
	full := m.Dims().Width
	if width < 1 || width >= full {
		return nil, fmt.Errorf("a width of %d units, want 1 to %d: the model has %d", width, full-1, full)
	}
	current, err := configMembers(m.Config)
	if err != nil {
		return nil, err
	}
	var changes []member
	for _, c := range current {
		var n int
		if !slices.Contains(widthKeys(m), c.key) || json.Unmarshal(c.value, &n) != nil || n <= 0 {
			continue
		}
		if n*width%full != 0 {
			return nil, fmt.Errorf("%d of %d units leave no whole number of %s, which is %d", width, full, c.key, n)
		}
		changes = append(changes, member{key: c.key, value: strconv.AppendInt(nil, int64(n*width/full), 10)})
	}
	config, err := m.configWith(changes...)
	if err != nil {
		return nil, err
	}
	narrow, err := Fresh(m.Arch, config, seed, narrowStd)
	if err != nil {
		return nil, err
	}
	if got := narrow.Dims().Width; got != width {
		return nil, fmt.Errorf("%s names the width by a key that is not known: it would be %d units", configName, got)
	}
	narrow.Files = m.Files
	return narrow, nil
}

// widthKeys are the names in config.json of what shrinks with the residual stream.
func widthKeys(m *Model) []string {
	spaces, _ := m.Graph.Spaces()
	if slices.ContainsFunc(spaces, func(s graph.Space) bool { return s.Planes > 0 }) {
		return []string{"hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"}
	}
	return []string{"hidden_size", "intermediate_size", "head_dim", // of most families
		"n_embd", "n_inner", // of GPT-2
		"dim", "hidden_dim"} // of DistilBERT
}
