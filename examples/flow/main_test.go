package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

const picture = "../../docs/flow"

// TestPicture compares the picture of the README with what the graph is now.
func TestPicture(t *testing.T) {
	svg, err := os.ReadFile(picture + ".svg")
	require.NoError(t, err)
	nodes := 0
	require.NoError(t, run(picture+".json", &strings.Builder{}, func(s models.Spec) string {
		for _, n := range s.Graph.Nodes {
			nodes++
			assert.Contains(t, string(svg), ">"+n.Op.String()+"</text>")
			assert.Contains(t, string(svg), ">"+n.Name+"</text>")
		}
		return ""
	}))
	assert.Equal(t, nodes, strings.Count(string(svg), `class="node"`),
		"docs/flow.svg is old: see the comment of this program")
}

func TestRun(t *testing.T) {
	var b strings.Builder
	require.NoError(t, run(picture+".json", &b, text))
	assert.Contains(t, b.String(), "vit.encoder.layer.0.attention.attention.query")
	b.Reset()
	require.NoError(t, run(picture+".json", &b, graphviz))
	assert.True(t, strings.HasPrefix(b.String(), "digraph"), b.String())
}

func TestRunRefuses(t *testing.T) {
	for want, config := range map[string]string{
		"unexpected end of JSON": ``,
		"unknown architecture":   `{"architectures": ["Perceptron"]}`,
		"hidden_size":            `{"architectures": ["ViTForImageClassification"]}`,
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
		assert.ErrorContains(t, run(file, &strings.Builder{}, text), want)
	}
}
