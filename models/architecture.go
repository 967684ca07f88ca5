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

// An Architecture ties a class of checkpoints to the configuration that describes
// their network. To add an architecture, write its [Config]: the fields of its
// config.json and a forward pass. Every field but Class may be left out; without
// Parse, models can be made by [New] and saved, but not opened.
type Architecture struct {
	Class   string                              // as in "architectures" of config.json
	Type    string                              // as in "model_type"; written where there was no config.json before
	Parse   func(config []byte) (Config, error) // reads the text of a config.json: see [Parser]
	Prefix  string                              // of the encoder's tensors, such as "bert."; absent in encoders alone
	Renamed []string                            // parts of tensor names, old and new by turns, as ".q_proj.", ".query."
	Aliases map[string]string                   // from other names of whole tensors to those of the graph
	Ignored []string                            // buffers and tied tensors: full names, or their ends after a dot
}

// A Config holds the hyperparameters of one checkpoint and describes the network
// that they give. [Model.Save] marshals it for config.json, so JSON tags give its
// fields the keys of Hugging Face. [ViTConfig] is an example.
type Config interface {
	// Spec returns the network. An error names the key of config.json that is
	// to blame.
	Spec() (Spec, error)
}

// A Spec describes a network. Everything that the library does with a network
// follows from it.
type Spec struct {
	Graph  *graph.Graph // the forward pass
	Inputs []Input      // what the graph reads; inputs left out are derived from it
	Layout align.Layout // of the tokens; the zero value for texts
}

// Parser returns a function that reads the text of a config.json into a
// configuration of the type of defaults. Keys that the text lacks keep the values
// of defaults. Other ways to say the same that transformers takes are understood: see
// id2label, num_labels, sizes as lists and the names of activations.
func Parser[C Config](defaults C) func(config []byte) (Config, error) {
	return func(config []byte) (Config, error) {
		c := defaults
		config, err := standard(config)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(config, &c); err != nil {
			return nil, fmt.Errorf("%s: %w", configName, err)
		}
		return c, nil
	}
}

// Known returns the architectures of this package.
func Known() []Architecture {
	return []Architecture{
		ViT(), ViTEncoder(), DeiT(), DeiTWithTeacher(), SimpleViT(),
		BERTForMaskedLM(), BERTForClassification(), BERTForPreTraining(), BERTEncoder(),
		RoBERTaForMaskedLM(), RoBERTaForClassification(),
		DistilBERTForMaskedLM(), DistilBERTForClassification(), GPT2(), GPTNeoX(), Llama(), Mistral(), Qwen2(), Qwen3(),
	}
}

// ErrArchitecture reports a checkpoint whose class no architecture has.
var ErrArchitecture = errors.New("unknown architecture")

// Find returns the first architecture whose class is among the given ones, which
// are those of a config.json. Without architectures it searches [Known]. The error
// is [ErrArchitecture] where none matches.
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
	return Architecture{}, fmt.Errorf("%w: %s names %q, known are %s",
		ErrArchitecture, configName, classes, strings.Join(known, ", "))
}

// Dims are the sizes of a transformer, as its graph shows them. A size is 0 where
// the network lacks the layer.
type Dims struct {
	Depth int // attention layers
	Width int // units of the residual stream
	Heads int // of the first attention layer
	MLP   int // hidden units of the first MLP
}

// Dims returns the sizes of the network. They are read from the graph, so that
// they hold for every architecture.
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

// Classes returns the number of logits: of each sample, or of each token where the
// output is one for every token. Of a network that puts out features it is their
// number.
func (s Spec) Classes() int { return s.output().Units }

// output returns the node that ends the forward pass.
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

// Upper limits of sizes in a config.json. A graph takes memory for every layer
// before a single weight is read, so a hostile file must not ask for billions.
const (
	maxSize   = 1 << 24
	maxLayers = 1 << 12
)

// checkSizes reports the first size that is below 1 or beyond its limit.
func checkSizes(sizes ...size) error {
	for _, s := range sizes {
		limit := maxSize
		if s.key == "num_hidden_layers" || s.key == "n_layers" {
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
