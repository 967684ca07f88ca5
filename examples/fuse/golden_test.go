package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/safetensors"
)

// goldenCase is a case of the reference implementation.
type goldenCase struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Parents []string `json:"parents"`
	Parity  string   `json:"parity"`
	Ties    []string `json:"ties"`
	TCase   string   `json:"t_case"`
	solver  string   // instead of that of the case; empty for none
}

// goldenDir returns the folder of reference outputs, or skips.
func goldenDir(t *testing.T) string {
	dir := os.Getenv("OTFUSE_GOLDEN")
	if dir == "" {
		t.Skip("OTFUSE_GOLDEN is not set: no reference outputs to compare with")
	}
	require.DirExists(t, dir, "OTFUSE_GOLDEN")
	return dir
}

func openDevice(t *testing.T) *gomlx.Device {
	d, err := gomlx.Open(context.Background(), func(p models.Progress) { t.Log(p.Item) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func readTensors(t *testing.T, path string) map[string]models.Array {
	f, err := safetensors.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	defer f.Close()
	out := map[string]models.Array{}
	for _, name := range f.Names() {
		raw, err := f.Tensor(name)
		require.NoError(t, err)
		data, err := raw.Float32s()
		require.NoError(t, err)
		out[name] = models.Array{Shape: raw.Shape, Floats: data}
	}
	return out
}

// worst is the largest difference of two arrays.
func worst(t *testing.T, want, got []float32) float64 {
	require.Len(t, got, len(want))
	var d float64
	for i := range want {
		v := math.Abs(float64(want[i]) - float64(got[i]))
		if !(v <= d) {
			d = v
		}
	}
	return d
}

// TestGolden compares with the published implementation, case by case, in one
// process.
func TestGolden(t *testing.T) {
	dir := goldenDir(t)
	text, err := os.ReadFile(filepath.Join(dir, "cases", "index.json"))
	require.NoError(t, err)
	var cases []goldenCase
	require.NoError(t, json.Unmarshal(text, &cases))
	device := openDevice(t)
	compared := 0
	for _, c := range cases {
		if c.Parity == "none" {
			continue
		}
		compared++
		t.Run(c.Name, func(t *testing.T) { c.compare(t, dir, device) })
		if c.Name == "het_sinkhorn" {
			c.solver = "sinkhorn-device"
			t.Run(c.Name+" on the device", func(t *testing.T) { c.compare(t, dir, device) })
		}
	}
	require.Greater(t, compared, 30, "cases compared")
}

func (c goldenCase) compare(t *testing.T, dir string, device *gomlx.Device) {
	ctx := context.Background()
	j := c.load(t, dir, device)
	fused, maps, err := j.fuse(ctx)
	require.NoError(t, err)
	fused, err = fused.Load()
	require.NoError(t, err)
	pushTol, weightTol := 1e-4, 2e-5
	if c.Name == "acts_only_cls_raw" {
		pushTol, weightTol = 3e-3, 3e-4
	}
	t.Run("maps", func(t *testing.T) { c.compareMaps(t, dir, maps, pushTol) })
	if c.Parity != "full" {
		return
	}
	want := readTensors(t, filepath.Join(dir, "cases", c.Name, "fused.safetensors"))
	if want == nil {
		want = c.derived(t, j)
	}
	require.Len(t, fused.Params, len(want))
	for name, w := range want {
		if c.tied(name) {
			continue
		}
		got := fused.Params[name]
		require.Equal(t, w.Shape, got.Shape, name)
		if d := worst(t, w.Floats, got.Data); d > weightTol {
			t.Errorf("%s: off by %.2g", name, d)
		}
	}
	logits := readTensors(t, filepath.Join(dir, "cases", c.Name, "logits.safetensors"))
	if logits == nil || len(c.Ties) > 0 {
		return
	}
	got, err := device.Logits(ctx, fused, j.calib)
	require.NoError(t, err)
	require.LessOrEqual(t, worst(t, logits["logits"].Floats, got.Floats), 1e-4, "logits")
}

// derived is what a case without stored weights must give: the mean of the
// parents for vanilla fusion, the anchor for a permuted copy of it.
func (c goldenCase) derived(t *testing.T, j *job) map[string]models.Array {
	var parents []models.Params
	for _, m := range j.models {
		m, err := m.Load()
		require.NoError(t, err)
		parents = append(parents, m.Params)
	}
	if j.recipe.Method != "vanilla" {
		parents = parents[:1]
	}
	want := map[string]models.Array{}
	for name, p := range parents[0] {
		a := models.Array{Shape: p.Shape, Floats: make([]float32, len(p.Data))}
		for i := range a.Floats {
			var sum float64
			for _, m := range parents {
				sum += float64(m[name].Data[i])
			}
			a.Floats[i] = float32(sum / float64(len(parents)))
		}
		want[name] = a
	}
	return want
}

// load makes the job that the flags of the case would make.
func (c goldenCase) load(t *testing.T, dir string, device *gomlx.Device) *job {
	calib := map[string]string{"vit": "images.safetensors", "bert": "tokens.safetensors"}[c.Kind]
	o := options{shardSize: 5, out: filepath.Join(t.TempDir(), "fused"),
		maps:   filepath.Join(t.TempDir(), "maps.safetensors"),
		config: filepath.Join(dir, "cases", c.Name, "fuse.json"), dirs: []string{filepath.Join(dir, c.Parents[1])},
		calib: filepath.Join(dir, "parents", calib)}
	for i, p := range c.Parents {
		if i != 1 {
			o.dirs = append(o.dirs, filepath.Join(dir, p))
		}
	}
	o.names = o.dirs
	j, err := load(o)
	require.NoError(t, err)
	j.device = device
	if c.solver != "" {
		j.recipe.Solver = c.solver
	}
	return j
}

// tied reports whether a tensor depends on a plan that is not unique.
func (c goldenCase) tied(name string) bool {
	for _, node := range c.Ties {
		if strings.HasPrefix(name, node) {
			return true
		}
	}
	return false
}

func (c goldenCase) compareMaps(t *testing.T, dir string, maps map[string]safetensors.Tensor, tol float64) {
	from := c.Name
	if c.TCase != "" {
		from = c.TCase
	}
	want := readTensors(t, filepath.Join(dir, "cases", from, "maps.safetensors"))
	compared := 0
	for name, w := range want {
		node, ok := strings.CutPrefix(name, "T/")
		node = strings.TrimPrefix(node, "pair0/") // of the first of several others
		ok = ok && !strings.HasPrefix(node, "pair")
		skip := strings.HasSuffix(node, "query_key") || c.tied(node) || strings.HasPrefix(c.Name, "deep7") &&
			strings.HasSuffix(node, "layer.6.attention.attention.query")
		if !ok || skip {
			continue
		}
		raw, ok := maps[node]
		if !ok {
			t.Errorf("%s: no map", node)
			continue
		}
		got, err := raw.Float32s()
		require.NoError(t, err)
		scale := float32(w.Shape[1]) / float32(w.Shape[0]) // the reference scales by n0 where we do by n1
		for i := range w.Floats {
			w.Floats[i] *= scale
		}
		require.Equal(t, w.Shape, raw.Shape, node)
		compared++
		if d := worst(t, w.Floats, got); d > tol {
			t.Errorf("map of %s: off by %.2g", node, d)
		}
	}
	if len(want) > 0 {
		require.NotZero(t, compared)
	}
}

// TestForward compares the logits of every parent with those of transformers.
func TestForward(t *testing.T) {
	dir := goldenDir(t)
	device := openDevice(t)
	want := readTensors(t, filepath.Join(dir, "parents", "parent_logits.safetensors"))
	require.NotEmpty(t, want)
	for name, logits := range want {
		m, err := models.Open(filepath.Join(dir, "parents", name))
		require.NoError(t, err)
		file := "images.safetensors"
		if strings.HasPrefix(name, "bert") {
			file = "tokens.safetensors"
		}
		batch, err := m.ReadSamples(filepath.Join(dir, "parents", file))
		require.NoError(t, err)
		got, err := device.Logits(context.Background(), m, batch.Slice(0, logits.Shape[0]))
		require.NoError(t, err)
		require.Equal(t, logits.Shape, got.Shape, name)
		require.LessOrEqual(t, worst(t, logits.Floats, got.Floats), 1e-4, name)
	}
}
