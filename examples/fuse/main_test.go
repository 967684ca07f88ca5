package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/hub"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// parent saves a random ViT.
func parent(t *testing.T, seed uint64, c models.ViTConfig) string {
	m, err := models.Fresh(models.ViT(), c, seed, 0.2)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "model")
	require.NoError(t, m.Save(dir))
	return dir
}

func tiny() models.ViTConfig {
	return models.ViTConfig{Hidden: 8, Layers: 2, Heads: 2, MLP: 16,
		Act: "gelu", Eps: 1e-12, Image: 8, Patch: 2, Channels: 3, Labels: map[string]string{"0": "a", "1": "b", "2": "c"}}
}

// samples writes labelled images.
func samples(t *testing.T, n int) string {
	rng := rand.New(rand.NewPCG(1, 2))
	x, y := make([]float32, n*3*8*8), make([]int32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range y {
		y[i] = int32(i % 3)
	}
	px, err := safetensors.FromFloat32(safetensors.F32, []int{n, 3, 8, 8}, x)
	require.NoError(t, err)
	ly, err := safetensors.FromInt32([]int{n}, y)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "samples.safetensors")
	require.NoError(t, safetensors.WriteFile(path, map[string]safetensors.Tensor{"pixel_values": px, "labels": ly}, nil))
	return path
}

func config(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "fuse.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func program(_ *testing.T, args ...string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	return run(context.Background(), o)
}

func readReport(t *testing.T, path string) report.Report {
	var report report.Report
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &report))
	return report
}

// TestProgram holds the contract of the program's outputs.
func TestProgram(t *testing.T) {
	wide := tiny()
	wide.Hidden, wide.MLP = 12, 24
	a, b, c := parent(t, 1, tiny()), parent(t, 2, tiny()), parent(t, 3, wide)
	tmp, data := t.TempDir(), samples(t, 7)
	out, maps, rep := filepath.Join(tmp, "out"), filepath.Join(tmp, "maps.safetensors"), filepath.Join(tmp, "report.json")
	page := filepath.Join(tmp, "new", "report.html")
	require.NoError(t, program(t, "-out", out, "-calib", data, "-eval", data, "-maps", maps, "-report", rep, "-html", page,
		a, c, b))

	anchor, err := models.Open(a)
	require.NoError(t, err)
	fused, err := models.Open(out)
	require.NoError(t, err)
	require.Equal(t, anchor.Params.Shapes(), fused.Params.Shapes())

	report := readReport(t, rep)
	var methods []string
	for _, r := range report.Rows {
		methods = append(methods, r.Method)
		require.NotNil(t, r.Accuracy)
	}
	require.Equal(t, []string{"parent", "parent", "parent", "ensemble", "flow"}, methods)
	require.Len(t, report.Nodes, 2*len(anchor.Graph.Nodes))
	html, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, r := range report.Rows {
		require.Contains(t, string(html), fmt.Sprintf("<td>%.2f %%</td><td>%.3f</td>", 100**r.Accuracy, *r.Loss))
	}
	require.Contains(t, string(html), "vit.encoder.layer.1.output.dense")

	f, err := safetensors.Open(maps)
	require.NoError(t, err)
	defer f.Close()
	solved := 0
	for _, n := range anchor.Graph.Nodes {
		if n.Flow().String() != "solve" {
			continue
		}
		solved++
		_, shape, err := f.Info(n.Name)
		require.NoError(t, err)
		require.Equal(t, n.Units, shape[1], n.Name)
		require.Equal(t, n.Units*3/2, shape[0], n.Name)
		raw, err := f.Tensor(n.Name)
		require.NoError(t, err)
		push, err := raw.Float32s()
		require.NoError(t, err)
		for j := range shape[1] {
			var sum float64
			for i := range shape[0] {
				sum += float64(push[i*shape[1]+j])
			}
			require.InDelta(t, 1, sum, 1e-5, "columns of %s sum to 1", n.Name)
		}
	}
	require.Len(t, f.Names(), solved)
}

// TestVanilla ignores what it does not need and writes an empty maps file.
func TestVanilla(t *testing.T) {
	a, b := parent(t, 1, tiny()), parent(t, 2, tiny())
	tmp := t.TempDir()
	out, maps := filepath.Join(tmp, "out"), filepath.Join(tmp, "maps.safetensors")
	require.NoError(t, program(t, "-out", out, "-shard-size", "1e-6", "-config",
		config(t, `{"method":"vanilla","weights":[0.25,0.75]}`), "-calib", samples(t, 2), "-maps", maps, a, b))
	f, err := safetensors.Open(maps)
	require.NoError(t, err)
	defer f.Close()
	require.Empty(t, f.Names())
	ma, err := models.Open(a)
	require.NoError(t, err)
	mb, err := models.Open(b)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(out, safetensors.IndexName))
	got, err := models.Open(out)
	require.NoError(t, err)
	for name, p := range got.Params {
		for i, v := range p.Data {
			require.InDelta(t, 0.25*ma.Params[name].Data[i]+0.75*mb.Params[name].Data[i], v, 1e-6)
		}
	}
}

// TestSeveral: three models in a common basis, matched and learned together.
func TestSeveral(t *testing.T) {
	a, b, c, data := parent(t, 1, tiny()), parent(t, 2, tiny()), parent(t, 3, tiny()), samples(t, 7)
	for _, text := range []string{`{"method":"match","restarts":1}`, `{"method":"learned","steps":3,"batch":4}`} {
		out, rep := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "report.json")
		require.NoError(t, program(t, "-out", out, "-config", config(t, text), "-calib", data, "-eval", data, "-report", rep,
			a, b, c))
		anchor, err := models.Open(a)
		require.NoError(t, err)
		fused, err := models.Open(out)
		require.NoError(t, err)
		require.Equal(t, anchor.Params.Shapes(), fused.Params.Shapes())
		report := readReport(t, rep)
		require.Len(t, report.Rows, 5)
		require.Len(t, report.Nodes, 2*len(anchor.Graph.Nodes))
	}
}

// TestSymmetries: matching and learning report as transport does; maps are
// isometries, those of learned queries and keys the inverses of each other.
func TestSymmetries(t *testing.T) {
	a, b, data := parent(t, 1, tiny()), parent(t, 2, tiny()), samples(t, 7)
	for _, c := range []string{`{"method":"match"}`, `{"method":"match","mix":0}`,
		`{"method":"learned","steps":3,"batch":4}`, `{"method":"match","refit":0.1}`, `{"method":"match","restarts":2}`} {
		tmp := t.TempDir()
		out, maps, rep := filepath.Join(tmp, "out"), filepath.Join(tmp, "maps.safetensors"), filepath.Join(tmp, "report.json")
		require.NoError(t, program(t, "-out", out, "-config", config(t, c), "-calib", data, "-eval", data, "-maps", maps,
			"-report", rep, a, b))
		anchor, err := models.Open(a)
		require.NoError(t, err)
		fused, err := models.Open(out)
		require.NoError(t, err)
		require.Equal(t, anchor.Params.Shapes(), fused.Params.Shapes())
		report := readReport(t, rep)
		require.Len(t, report.Rows, 4)
		require.Contains(t, c, report.Rows[3].Method)
		require.Len(t, report.Nodes, len(anchor.Graph.Nodes))
		all := readTensors(t, maps)
		for name, push := range all {
			other := push
			if report.Rows[3].Method == "learned" {
				if strings.HasSuffix(name, "value") {
					continue // its inverse is with what reads it
				}
				if keys, ok := all[strings.Replace(name, "query", "key", 1)]; ok {
					other = keys
				}
				if strings.HasSuffix(name, "key") {
					other = all[strings.Replace(name, "key", "query", 1)]
				}
			}
			n := push.Shape[0]
			for j := range n {
				var sum float64
				for i := range n {
					sum += float64(push.Floats[i*n+j]) * float64(other.Floats[i*n+j])
				}
				require.InDelta(t, 1, sum, 1e-5, "columns of %s are units", name)
			}
		}
	}
}

// TestInexact: under fixed positions the stream turns only where the recipe lets
// it.
func TestInexact(t *testing.T) {
	net := modeltest.SimpleViT()
	net.Config.Image = 8
	var dirs []string
	for seed := range uint64(2) {
		m, err := net.Model(seed)
		require.NoError(t, err)
		dirs = append(dirs, filepath.Join(t.TempDir(), "model"))
		require.NoError(t, m.Save(dirs[seed]))
	}
	data, made := samples(t, 7), map[string]models.Params{}
	for _, c := range []string{`{"method":"match"}`, `{"method":"learned","steps":3,"batch":4}`,
		`{"method":"learned","steps":3,"batch":4,"inexact":true}`} {
		out := filepath.Join(t.TempDir(), "out")
		require.NoError(t, program(t, append([]string{"-out", out, "-config", config(t, c), "-calib", data}, dirs...)...))
		fused, err := models.Open(out)
		require.NoError(t, err)
		made[c] = fused.Params
	}
	written := func(c string) []float32 { return made[c]["to_patch_embedding.2.weight"].Data }
	require.Equal(t, written(`{"method":"match"}`), written(`{"method":"learned","steps":3,"batch":4}`))
	require.NotEqual(t, written(`{"method":"match"}`), written(`{"method":"learned","steps":3,"batch":4,"inexact":true}`))
}

func TestBadInput(t *testing.T) {
	deep, labels := tiny(), tiny()
	deep.Layers, labels.Labels = 3, map[string]string{"0": "a", "1": "b"}
	a, b := parent(t, 1, tiny()), parent(t, 2, tiny())
	torn := parent(t, 2, tiny())
	file := filepath.Join(torn, safetensors.SingleName)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, text[:len(text)-5], 0o644))
	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o644))
	bert, garbled := "../bert-wiki/parents/atlas-seed0", filepath.Join(t.TempDir(), "garbled")
	require.NoError(t, os.CopyFS(garbled, os.DirFS("../bert-wiki/parents/atlas-seed1")))
	words, err := os.ReadFile(filepath.Join(garbled, "vocab.txt"))
	require.NoError(t, err)
	slices.Reverse(words)
	require.NoError(t, os.WriteFile(filepath.Join(garbled, "vocab.txt"), words, 0o644))
	out := filepath.Join(t.TempDir(), "out")
	with := func(text string) []string { return []string{"-out", out, "-config", config(t, text), a, b} }
	for want, args := range map[string][]string{
		"-shard-size is 0 GB":                       {"-out", out, "-shard-size", "0", a, b},
		"-moments is -1 GB":                         {"-out", out, "-moments", "-1", a, b},
		"-controls needs -eval":                     {"-out", out, "-controls", a, b},
		"-out DIR is required":                      {a, b},
		"want ANCHOR and at least one OTHER":        {"-out", out, a},
		"not defined":                               {"-bogus"},
		"no such file":                              {"-out", out, a, "./nowhere"},
		"truncated":                                 {"-out", out, a, torn},
		"depth differs":                             {"-out", out, a, parent(t, 2, deep)},
		"they have different vocabularies":          {"-out", out, bert, garbled},
		"axis 0 of tensor \"classifier.weight\"":    {"-out", out, a, parent(t, 2, labels)},
		"not a directory":                           {"-out", filepath.Join(blocked, "x"), a, b},
		"allowed are flow, vanilla, match, learned": with(`{"method":"magic"}`),
		"allowed are units, heads":                  with(`{"aligner":"bogus"}`),
		"aligner heads is":                          with(`{"aligner":"heads","solver":"widening"}`),
		"allowed are emd, sinkhorn, widening, sinkhorn-device": with(`{"solver":"magic"}`),
		"known keys are method":                                with(`{"solvr":"emd"}`),
		"allowed are center, standardize":                      with(`{"prep":["magic"]}`),
		"mix is 2":                                             with(`{"method":"match","mix":2}`),
		"rounds is -1":                                         with(`{"method":"match","rounds":-1}`),
		"restarts is -1":                                       with(`{"method":"match","restarts":-1}`),
		"refit is -1":                                          with(`{"refit":-1}`),
		"fuse: refit: ":                                        with(`{"refit":0.1}`),
		"lr is -1":                                             with(`{"method":"learned","lr":-1}`),
		"method learned: -calib":                               with(`{"method":"learned"}`),
		"method distil: -calib":                                with(`{"method":"distil"}`),
		"want pca:K":                                           with(`{"prep":["pca:0"]}`),
		"want window:K":                                        with(`{"tokens":"window:x"}`),
		"reg is -1":                                            with(`{"reg":-1}`),
		"sum to 1":                                             with(`{"weights":[0.5,0.4]}`),
		"calibration data is needed":                           with(`{"residual":"weighted-scalar"}`),
		"-calib":                                               {"-out", out, "-calib", "nowhere", a, b},
		"no label": {"-out", out, "-calib", unlabelled(t), "-config",
			config(t, `{"max_loss":1}`), a, b},
		"has no labels": {"-out", out, "-eval", unlabelled(t), a, b},
		"pixel_values has shape [2 3 4 4], want [N": {"-out", out, "-calib", misshapen(t), a, b},
	} {
		err := program(t, args...)
		require.ErrorContains(t, err, want, "%v", args)
		require.NoDirExists(t, out, want)
	}
}

// TestInputs: what is read is never replaced, by whatever path it is named.
func TestInputs(t *testing.T) {
	a, b, data := parent(t, 1, tiny()), parent(t, 2, tiny()), samples(t, 2)
	out, recipe := filepath.Join(t.TempDir(), "out"), config(t, `{"features": "weights"}`)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(b, link))
	before, err := os.ReadFile(filepath.Join(b, safetensors.SingleName))
	require.NoError(t, err)
	for want, args := range map[string][]string{
		"-out: ":    {"-out", link, a, b},
		"-maps: ":   {"-out", out, "-calib", data, "-maps", data, a, b},
		"-report: ": {"-out", out, "-config", recipe, "-report", recipe, a, b},
		"-html: ":   {"-out", out, "-eval", data, "-html", data, a, b},
	} {
		err := program(t, args...)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "is an input")
		require.NoDirExists(t, out)
	}
	after, err := os.ReadFile(filepath.Join(b, safetensors.SingleName))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func unlabelled(t *testing.T) string { return pixels(t, 2, 3, 8, 8) }
func misshapen(t *testing.T) string  { return pixels(t, 2, 3, 4, 4) }

func pixels(t *testing.T, shape ...int) string {
	size := 1
	for _, d := range shape {
		size *= d
	}
	x, err := safetensors.FromFloat32(safetensors.F32, shape, make([]float32, size))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "pixels.safetensors")
	require.NoError(t, safetensors.WriteFile(path, map[string]safetensors.Tensor{"pixel_values": x}, nil))
	return path
}

// TestHubIDs: checkpoints of the hub's cache are fused by their ids, and an id that is
// not to be had is one line before any work.
func TestHubIDs(t *testing.T) {
	home, hash := t.TempDir(), strings.Repeat("ab", 20)
	for key, value := range map[string]string{"HF_HOME": home, "HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "",
		"HF_HUB_OFFLINE": "1"} {
		t.Setenv(key, value)
	}
	folder := filepath.Join(home, "hub", "models--owner--name")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "refs"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "refs", "main"), []byte(hash), 0o600))
	require.NoError(t, os.CopyFS(filepath.Join(folder, "snapshots", hash), os.DirFS(parent(t, 1, tiny()))))
	other, out, rep := parent(t, 2, tiny()), filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "r.json")
	require.NoError(t, program(t, "-out", out, "-report", rep, "owner/name", other))
	require.Contains(t, readReport(t, rep).Rows[0].Label, "owner/name")
	err := program(t, "-out", out, "owner/none", other)
	require.ErrorIs(t, err, hub.ErrUnavailable)
	require.ErrorContains(t, err, "owner/none")
}
