package models

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/bounded/boundedtest"
)

// FuzzConfig: whatever the text, a config.json is a network whose parameters have
// shapes, or an error. It takes no more memory than any hostile file, whatever sizes it
// claims. What is written of it reads back, and is then written as it is.
func FuzzConfig(f *testing.F) {
	const sizes = `"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8`
	f.Add(uint8(0), []byte(`{`+sizes+`, "image_size": 4, "patch_size": 2}`))
	f.Add(uint8(0), []byte(`{`+sizes+`, "image_size": [4, 4], "patch_size": [2, 2], "id2label": {"0": 1}}`))
	f.Add(uint8(4), []byte(`{`+sizes+`, "image_size": 16777216, "patch_size": 1, "num_labels": 3}`))
	f.Add(uint8(5), []byte(`{`+sizes+`, "vocab_size": 9, "max_position_embeddings": 4, "type_vocab_size": 2}`))
	f.Add(uint8(11), []byte(`{"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 8, "vocab_size": 9}`))
	f.Add(uint8(13), []byte(`{"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 9, "n_positions": 4}`))
	f.Add(uint8(1), []byte(`{"architectures": ["ViTModel"], "num_hidden_layers": 4096}`))
	known := Known()
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		a := known[int(which)%len(known)]
		boundedtest.Require(t, boundedtest.Hostile, func() {
			named, err := classesIn(text)
			if _, e := find(named, nil); err == nil && e == nil && len(named) == 0 {
				t.Fatal("an architecture without a name")
			}
			m, err := a.parse(text)
			if err != nil {
				return
			}
			for n, p := range m.Graph.Params() {
				if slices.ContainsFunc(p.Full(), func(d int) bool { return d < 1 }) {
					t.Fatalf("%s: %s has shape %v", n.Name, p.Name, p.Full())
				}
			}
			if err := m.Graph.Check(nil); err == nil {
				t.Fatal("a network without parameters")
			}
			written, err := m.configText()
			if err != nil {
				t.Fatalf("it cannot be written: %v", err)
			}
			if m, err = a.parse(written); err != nil {
				t.Fatalf("it is written as %s: %v", written, err)
			}
			if again, err := m.configText(); err != nil || string(again) != string(written) {
				t.Fatalf("it is written as %s and then as %s: %v", written, again, err)
			}
		})
	})
}

// FuzzNames: whatever names tensors have, each is one parameter of the network, is kept
// or is named in an error, and two are never the same one.
func FuzzNames(f *testing.F) {
	a := ViT()
	m, err := a.parse([]byte(`{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
		"intermediate_size": 8, "image_size": 4, "patch_size": 2}`))
	if err != nil {
		f.Fatal(err)
	}
	wanted := map[string]bool{}
	for _, p := range m.Graph.Params() {
		wanted[p.Name] = true
	}
	for _, name := range []string{"vit.layernorm.weight", "module.classifier.bias", "vit.layers.0.mlp.fc1.weight", "", ".",
		"x"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, tensor string) {
		name, ok := a.parameter(tensor, wanted)
		if ok && !wanted[name] || !ok && name != "" {
			t.Fatalf("%q is %q", tensor, name)
		}
		if _, err := a.wrapper(wanted, []string{tensor, "vit.layernorm.weight"}); err != nil && tensor == "" {
			t.Fatal(err)
		}
	})
}

// FuzzCheck: whatever shapes tensors claim, each that does not fit is named.
func FuzzCheck(f *testing.F) {
	var b graph.Builder
	g, err := b.Output(b.Linear("layer", b.Norm("norm", b.Table("rows", 4, 3), 1e-6), 2))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"rows": [3, 4], "norm.weight": [4], "norm.bias": [4], "layer.weight": [2, 4], "layer.bias": [2]}`))
	f.Add([]byte(`{"rows": [], "x": [-1]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		shapes := map[string][]int{}
		if json.Unmarshal(text, &shapes) != nil {
			return
		}
		err := g.Check(shapes)
		fits := true
		for _, p := range g.Params() {
			fits = fits && slices.Equal(shapes[p.Name], p.Full())
		}
		if fits = fits && len(shapes) == 5; fits != (err == nil) {
			t.Fatal(fmt.Errorf("%v: %w", shapes, err))
		}
	})
}
