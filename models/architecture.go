package models

import (
	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// An Architecture says how a class of checkpoints computes. To add one is to
// write its forward pass; see vit.go.
type Architecture struct {
	Class   string                             // as in "architectures" of config.json
	Graph   func(Config) (*graph.Graph, error) // the forward pass
	Layout  func(Config) align.Layout          // of its tokens
	Inputs  func(Config, Batch) error          // checks a batch and fills in inputs that have a default
	Aliases map[string]string                  // tensor of older checkpoints → tensor of the graph
	Ignored []string                           // buffers that are no parameters
}

// Known returns the architectures of this package.
func Known() []Architecture {
	return []Architecture{ViT(), SimpleViT(), BERTForMaskedLM(), BERTForClassification()}
}

// Complete checks that a batch fits the network and fills in the inputs that
// have a default.
func (a Architecture) Complete(c Config, b Batch) error {
	if a.Inputs != nil {
		if err := a.Inputs(c, b); err != nil {
			return err
		}
	}
	return b.Check()
}
