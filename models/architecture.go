package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// An Architecture ties a class of checkpoints to the configuration that says
// how they compute. To add one is to write a [Config]: the fields of its
// config.json, and a forward pass. A nil field means that there is none of it;
// without Parse, models are made by [New] but not opened.
type Architecture struct {
	Class   string                              // as in "architectures" of config.json
	Type    string                              // "model_type" of a config.json that is written afresh
	Parse   func(config []byte) (Config, error) // reads the text of a config.json: see [Parser]
	Aliases map[string]string                   // tensor of older checkpoints → tensor of the graph
	Ignored []string                            // buffers that are not parameters, by name or by what follows a dot of it
}

// A Config holds the hyperparameters of one checkpoint and says what they make
// of its architecture. It is marshalled to JSON for config.json, so its fields
// carry the names that Hugging Face gives them; [ViTConfig] is an example.
type Config interface {
	// Spec returns the network, or an error that names the key of config.json
	// that is at fault.
	Spec() (Spec, error)
}

// A Spec is what the library knows about a network: everything else about an
// architecture is derived from it.
type Spec struct {
	Graph  *graph.Graph // the forward pass
	Inputs []Input      // what it reads; those left out are derived from the graph
	Layout align.Layout // of its tokens
}

// Parser returns a function that reads a config.json into a configuration like
// defaults, whose fields hold for the keys that are left out.
func Parser[C Config](defaults C) func(config []byte) (Config, error) {
	return func(config []byte) (Config, error) {
		c := defaults
		if err := json.Unmarshal(config, &c); err != nil {
			return nil, fmt.Errorf("%s: %w", configName, err)
		}
		return c, nil
	}
}

// Known returns the architectures of this package.
func Known() []Architecture {
	return []Architecture{ViT(), SimpleViT(), BERTForMaskedLM(), BERTForClassification()}
}

// ErrArchitecture reports a checkpoint of a class that is not known.
var ErrArchitecture = errors.New("unknown architecture")

// Find returns the first of the architectures, those of this package where none
// are given, whose class is among the classes of a config.json; else
// [ErrArchitecture].
func Find(classes []string, archs ...Architecture) (Architecture, error) {
	arch, err := find(classes, archs)
	if err != nil {
		return arch, fmt.Errorf("models: %w", err)
	}
	return arch, nil
}

func find(classes []string, archs []Architecture) (Architecture, error) {
	if len(archs) == 0 {
		archs = Known()
	}
	var known []string
	for _, a := range archs {
		if slices.Contains(classes, a.Class) {
			return a, nil
		}
		known = append(known, a.Class)
	}
	return Architecture{}, fmt.Errorf("%w: %s names %q, known are %s", ErrArchitecture, configName, classes, strings.Join(known, ", "))
}

// Dims are the sizes of a transformer, as its graph shows them; 0 where it has
// nothing of the kind.
type Dims struct {
	Depth int // attention layers
	Width int // units of the residual stream
	Heads int // of the first attention layer
	MLP   int // hidden units of the first MLP
}

// Dims returns the sizes of the network.
func (s Spec) Dims() Dims {
	var d Dims
	for _, n := range s.Graph.Nodes {
		switch n.Op {
		case graph.Attend:
			if d.Depth++; d.Heads == 0 {
				d.Heads = n.Heads
			}
		case graph.Add:
			if d.Width == 0 {
				d.Width = n.Units
			}
		case graph.Act:
			if d.MLP == 0 {
				d.MLP = n.Units
			}
		}
	}
	return d
}

// Classes returns the number of logits of a sample, or of each of its tokens.
func (s Spec) Classes() int { return s.output().Units }

// output is the node that ends the forward pass.
func (s Spec) output() *graph.Node { return s.Graph.Nodes[len(s.Graph.Nodes)-1] }

// classes returns the number of labels that a config.json names; 2 where it
// names none, as in transformers.
func classes(labels map[string]string) int {
	if len(labels) == 0 {
		return 2
	}
	return len(labels)
}

// A size is a key of config.json with its value.
type size struct {
	key   string
	value int
}

// Bounds of what a config.json may ask for: memory is taken for every layer
// before a weight is read.
const (
	maxSize   = 1 << 24
	maxLayers = 1 << 12
)

// positive reports the first of the named sizes that is below 1 or absurd.
func positive(sizes ...size) error {
	for _, s := range sizes {
		limit := maxSize
		if s.key == "num_hidden_layers" {
			limit = maxLayers
		}
		switch {
		case s.value < 1:
			return fmt.Errorf("config.json: %s is %d, want at least 1", s.key, s.value)
		case s.value > limit:
			return fmt.Errorf("config.json: %s is %d, want at most %d", s.key, s.value, limit)
		}
	}
	return nil
}
