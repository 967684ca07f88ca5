package models_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestDialects: what transformers takes for the keys of config.json is taken, means
// what it means there, and is written back as it was.
func TestDialects(t *testing.T) {
	labels := func(names ...string) map[string]string {
		out := map[string]string{}
		for i, name := range names {
			out[string(rune('0'+i))] = name
		}
		return out
	}
	type object = map[string]any
	for what, c := range map[string]struct {
		change func(c map[string]any)
		labels map[string]string // of three classes; nil for a, b, c
		act    graph.Activation  // "" for relu
	}{
		"label2id of texts":   {func(c object) { c["label2id"] = object{"a": "0", "b": "1", "c": "2"} }, nil, ""},
		"label2id of floats":  {func(c object) { c["label2id"] = object{"a": 0.0, "b": 1.0, "c": 2.0} }, nil, ""},
		"label2id of nothing": {func(c object) { c["label2id"] = object{"a": nil, "b": "x", "c": 2} }, nil, ""},
		"names as numbers": {func(c object) { c["id2label"] = map[string]any{"0": 7, "1": true, "2": "x"} },
			labels("7", "true", "x"), ""},
		"num_labels": {func(c object) { delete(c, "id2label"); c["num_labels"] = 3 },
			labels("LABEL_0", "LABEL_1", "LABEL_2"), ""},
		"num_labels and nulls": {func(c object) { c["id2label"], c["label2id"], c["num_labels"] = nil, nil, 3 },
			labels("LABEL_0", "LABEL_1", "LABEL_2"), ""},
		"id2label before num_labels": {func(c object) { c["num_labels"] = 5 }, nil, ""},
		"label2id alone": {func(c object) {
			delete(c, "id2label")
			c["label2id"] = object{"z": "0", "y": 1, "x": 2}
		}, labels("z", "y", "x"), ""},
		"sizes as lists":  {func(c object) { c["image_size"], c["patch_size"] = []int{6, 6}, []int{2, 2} }, nil, ""},
		"gelu_python":     {func(c object) { c["hidden_act"] = "gelu_python" }, nil, graph.GELU},
		"gelu by tanh":    {func(c object) { c["hidden_act"] = "gelu_pytorch_tanh" }, nil, graph.GELUTanh},
		"gelu_fast":       {func(c object) { c["hidden_act"] = "gelu_fast" }, nil, graph.GELUTanh},
		"swish":           {func(c object) { c["hidden_act"] = "swish" }, nil, graph.SiLU},
		"quick_gelu":      {func(c object) { c["hidden_act"] = "quick_gelu" }, nil, graph.QuickGELU},
		"gelu_10":         {func(c object) { c["hidden_act"] = "gelu_10" }, nil, graph.ClippedGELU},
		"nulls":           {func(c object) { c["torch_dtype"], c["qkv_bias"], c["num_labels"] = nil, nil, nil }, nil, ""},
		"keys of another": {func(c object) { c["auto_map"] = map[string]any{"a": []int{1}} }, nil, ""},
	} {
		t.Run(what, func(t *testing.T) {
			net := modeltest.ViT()
			net.Config.Act = graph.ReLU
			m := model(t, net)
			dir := saved(t, m)
			configure(t, dir, c.change)
			got, err := models.Open(dir)
			require.NoError(t, err)
			own := got.Config.(models.ViTConfig)
			want := c.labels
			if want == nil {
				want = m.Config.(models.ViTConfig).Labels
			}
			require.Equal(t, want, own.Labels)
			if c.act == "" {
				c.act = graph.ReLU
			}
			require.Equal(t, c.act, own.Act)
			before, err := os.ReadFile(filepath.Join(dir, "config.json"))
			require.NoError(t, err)
			after, err := os.ReadFile(filepath.Join(saved(t, got), "config.json"))
			require.NoError(t, err)
			require.Equal(t, string(before), string(after))

			own.Eps = 0.25 // a changed key leaves the others as they were written
			changed, err := got.WithConfig(own)
			require.NoError(t, err)
			again, err := models.Open(saved(t, changed))
			require.NoError(t, err)
			require.Equal(t, own, again.Config)
		})
	}
}

// TestDialectsRefused: what has no meaning is named.
func TestDialectsRefused(t *testing.T) {
	type object = map[string]any
	for says, change := range map[string]func(c object){
		"image_size is [6 4], want a square": func(c object) { c["image_size"] = []int{6, 4} },
		"num_labels is 0":                    func(c object) { delete(c, "id2label"); c["num_labels"] = 0 },
		"num_labels is 1000000000":           func(c object) { delete(c, "id2label"); c["num_labels"] = 1000000000 },
		"id2label":                           func(c object) { c["id2label"] = []string{"a", "b", "c"} },
		`"hardswish"`:                        func(c object) { c["hidden_act"] = "hardswish" },
		`"leaky_relu"`:                       func(c object) { c["hidden_act"] = "leaky_relu" },
		`problem_type is "ranking"`:          func(c object) { c["problem_type"] = "ranking" },
		"problem_type":                       func(c object) { c["problem_type"] = 3 },
		"architectures":                      func(c object) { c["architectures"] = 3 },
	} {
		dir := saved(t, model(t, modeltest.ViT()))
		configure(t, dir, change)
		_, err := models.Open(dir)
		require.ErrorContains(t, err, says)
		require.Less(t, len(err.Error()), 400)
	}
}
