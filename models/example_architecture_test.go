package models_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Tagger is the configuration of a small text classifier: one pre-norm layer
// over word and position embeddings, and the mean over the words. Its fields are
// the keys of its config.json.
type Tagger struct {
	Width   int `json:"d_model"`
	Heads   int `json:"n_heads"`
	Words   int `json:"vocab_size"`
	Longest int `json:"max_length"`
	Classes int `json:"n_classes"`
}

// Spec is the network: its forward pass, and what it reads.
func (c Tagger) Spec() (models.Spec, error) {
	var b graph.Builder
	x := b.Add("embeddings",
		b.Embed("words", c.Width, c.Words, b.Input("ids")),
		b.Positions("positions", c.Width, c.Longest))
	h := b.Norm("norm", x, 1e-5)
	h = b.Attend("attention", graph.Attention{Heads: c.Heads},
		b.Linear("query", h, c.Width), b.Linear("key", h, c.Width), b.Linear("value", h, c.Width))
	x = b.Add("residual", b.Linear("projection", h, c.Width), x)
	g, err := b.Output(b.Linear("classifier", b.Mean("mean", x), c.Classes))
	return models.Spec{
		Graph:  g,
		Inputs: []models.Input{{Name: "ids", Shape: []int{models.Any}, Longest: c.Longest, Below: c.Words}},
	}, err
}

// An architecture of one's own is saved, opened and given samples like those of
// the package. Keys that config.json leaves out are those given to Parser.
func ExampleArchitecture() {
	arch := models.Architecture{Class: "Tagger", Parse: models.Parser(Tagger{Heads: 2})}
	m, err := models.Fresh(arch, Tagger{Width: 8, Heads: 2, Words: 100, Longest: 16, Classes: 3}, 1, 0.02)
	if err != nil {
		fmt.Println(err)
		return
	}
	parent, err := os.MkdirTemp("", "models")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "tagger")
	if err := m.Save(dir); err != nil {
		fmt.Println(err)
		return
	}
	if m, err = models.Open(dir, arch); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Config.(Tagger).Words, "words,", m.Classes(), "classes,", m.Size(), "parameters")

	batch := models.Batch{"ids": {Shape: []int{1, 3}, Ints: []int32{7, 99, 100}}}
	_, err = m.Complete(batch)
	fmt.Println(err)
	// Output:
	// 100 words, 3 classes, 1259 parameters
	// models: ids is 100 at position 2, want 0 to 99
}
