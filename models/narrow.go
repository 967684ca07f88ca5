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

// Shares returns the networks in which k models like m lie side by side: share is like m at
// 1/k of its width ([Narrow]), and whole has the width of m and as many heads as k shares
// have. Its tensors have the shapes of those of m; only the number of heads may differ.
func Shares(m *Model, k int, seed uint64) (share, whole *Model, err error) {
	width := m.Dims().Width
	if k < 2 || width%k != 0 {
		return nil, nil, fmt.Errorf("models: %s: %d units cannot be shared by %d models", m.Arch.Class, width, k)
	}
	if share, err = Narrow(m, width/k, seed); err != nil {
		return nil, nil, err
	}
	if whole, err = wholeOf(m, share, k, seed); err != nil {
		return nil, nil, fmt.Errorf("models: sharing %s: %w", m.Arch.Class, err)
	}
	return share, whole, nil
}

// wholeOf returns a network of the width of m with the heads of k shares.
func wholeOf(m, share *Model, k int, seed uint64) (*Model, error) {
	return rescaled(m, share.Config, seed, func(key string, n int) (int, error) {
		switch {
		case slices.Contains(headKeys(), key):
			return k * n, nil
		case key == "head_dim": // that of a share is narrower than what the width of m leaves
			return n, nil
		}
		return 0, nil
	})
}

// headKeys are the names in config.json of numbers of heads.
func headKeys() []string {
	return []string{"num_attention_heads", "num_key_value_heads", "n_head", "n_heads"}
}

// narrowStd is the standard deviation of the weights that Narrow draws.
const narrowStd = 0.02

func narrowed(m *Model, width int, seed uint64) (*Model, error) {
	full := m.Dims().Width
	if width < 1 || width >= full {
		return nil, fmt.Errorf("a width of %d units, want 1 to %d: the model has %d", width, full-1, full)
	}
	keys := widthKeys(m)
	narrow, err := rescaled(m, m.Config, seed, func(key string, n int) (int, error) {
		if !slices.Contains(keys, key) {
			return 0, nil
		}
		if n*width%full != 0 {
			return 0, fmt.Errorf("%d of %d units leave no whole number of %s, which is %d", width, full, key, n)
		}
		return n * width / full, nil
	})
	if err != nil {
		return nil, err
	}
	if got := narrow.Dims().Width; got != width {
		return nil, fmt.Errorf("%s names the width by a key that is not known: it would be %d units", configName, got)
	}
	return narrow, nil
}

// rescaled draws a network like m in which the positive numbers of a configuration, that of m
// or of one like it, have the values that change returns; 0 leaves that of m.
func rescaled(m *Model, from Config, seed uint64, change func(key string, n int) (int, error)) (*Model, error) {
	members, err := configMembers(from)
	if err != nil {
		return nil, err
	}
	var changes []member
	for _, c := range members {
		var n int
		if json.Unmarshal(c.value, &n) != nil || n <= 0 {
			continue
		}
		value, err := change(c.key, n)
		if err != nil {
			return nil, err
		}
		if value > 0 {
			changes = append(changes, member{key: c.key, value: strconv.AppendInt(nil, int64(value), 10)})
		}
	}
	config, err := m.configWith(changes...)
	if err != nil {
		return nil, err
	}
	out, err := Fresh(m.Arch, config, seed, narrowStd)
	if err != nil {
		return nil, err
	}
	out.Files = m.Files
	return out, nil
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
